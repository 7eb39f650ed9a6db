"""ConsensusService: hands on what CometBFT beside this node says of the chain.

Nothing is read or judged here: whoever asks is a light client, which verifies signatures itself. What always
holds: only the three questions that a light client needs are passed on.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from node.engine.errors import Degraded, NodeError
from node.pb.vostro.consensus.v1 import consensus_pb2 as pb
from node.pb.vostro.consensus.v1 import consensus_pb2_grpc
from node.services.ports import Call

PER_PAGE_MAX: Final = 100
METHODS: Final = {
    pb.QUESTION_COMMIT: "commit",
    pb.QUESTION_VALIDATORS: "validators",
    pb.QUESTION_CONSENSUS_PARAMS: "consensus_params",
}

AskConsensus = Callable[[str, Mapping[str, str]], Awaitable[bytes]]
"""Asks CometBFT: a method of its RPC and its parameters, to the JSON of the result. Raises Degraded."""


class ConsensusService(consensus_pb2_grpc.ConsensusServiceServicer):
    """See proto/vostro/consensus/v1."""

    def __init__(self, ask: AskConsensus | None) -> None:
        """ask: None for a node by itself."""
        self._ask = ask

    async def Ask(self, request: pb.AskRequest, call: Call) -> pb.AskResponse:
        """One answer. Raises Degraded METHOD_UNKNOWN where there is no CometBFT, BAD_REQUEST, BLOCK_UNKNOWN,
        STARTING.
        """
        if self._ask is None:
            raise Degraded(NodeError.METHOD_UNKNOWN)
        method = METHODS.get(request.question)
        if method is None or request.per_page > PER_PAGE_MAX:
            raise Degraded(NodeError.BAD_REQUEST, reason="no question of a light client")
        parameters = {"height": str(request.height)} if request.height else {}
        if request.question == pb.QUESTION_VALIDATORS:
            parameters |= {"page": str(request.page or 1), "per_page": str(request.per_page or PER_PAGE_MAX)}
        return pb.AskResponse(result_json=await self._ask(method, parameters))
