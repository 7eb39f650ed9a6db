"""ConsensusService: hands on what CometBFT beside this node says of the chain, and the hand-overs that this
node keeps.

Nothing is read or judged here: whoever asks is a light client, which verifies signatures itself. What always
holds: only the three questions that a light client needs are passed on.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from node.engine.errors import Degraded, NodeError
from node.pb.vostro.consensus.v1 import consensus_pb2 as pb
from node.pb.vostro.consensus.v1 import consensus_pb2_grpc
from node.services.ports import Call

PER_PAGE_MAX: Final = 100
HANDOVERS_MAX: Final = 100
"""Hand-overs an answer: of a hundred validators each has 20 KiB."""
METHODS: Final = {
    pb.QUESTION_COMMIT: "commit",
    pb.QUESTION_VALIDATORS: "validators",
    pb.QUESTION_CONSENSUS_PARAMS: "consensus_params",
}

AskConsensus = Callable[[str, Mapping[str, str]], Awaitable[bytes]]
"""Asks CometBFT: a method of its RPC and its parameters, to the JSON of the result. Raises Degraded."""

ListHandovers = Callable[[], Sequence[tuple[int, bytes]]]
"""(height, content) of all hand-overs that this node keeps, ascending. Reads the disk. Raises StorageError.
"""


class ConsensusService(consensus_pb2_grpc.ConsensusServiceServicer):
    """See proto/vostro/consensus/v1."""

    def __init__(self, ask: AskConsensus | None, handovers: ListHandovers | None = None) -> None:
        """Both None for a node by itself."""
        self._ask = ask
        self._handovers = handovers

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

    async def ListHandovers(self, request: pb.ListHandoversRequest, call: Call) -> pb.ListHandoversResponse:
        """Those above a height. Raises Degraded METHOD_UNKNOWN, StorageError."""
        if self._handovers is None:
            raise Degraded(NodeError.METHOD_UNKNOWN)
        kept = await asyncio.to_thread(self._handovers)
        later = [pb.Handover(height=at, content=content) for at, content in kept if at > request.after_height]
        return pb.ListHandoversResponse(handovers=later[:HANDOVERS_MAX])
