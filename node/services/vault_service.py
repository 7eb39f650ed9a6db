"""VaultService: the keeper's face (node/engine/vault.py). Bytes come sealed and go sealed: no document's key
passes here.
"""

from collections.abc import AsyncIterator
from itertools import islice
from typing import Final

from node.engine.errors import Degraded, NodeError
from node.engine.vault import NAMED_MAX, Keeper
from node.ledger.hashing import HASH_BYTES
from node.pb.vostro.vault.v1 import vault_pb2 as pb
from node.pb.vostro.vault.v1 import vault_pb2_grpc
from node.services.identity import CALLER, Identity
from node.services.ports import Call
from node.storage.vault import Condition

CHUNK_BYTES_MAX: Final = 1024 * 1024
_CONDITIONS: Final = {
    Condition.WHOLE: pb.CONDITION_WHOLE,
    Condition.MISSING: pb.CONDITION_MISSING,
    Condition.DAMAGED: pb.CONDITION_DAMAGED,
}


class VaultService(vault_pb2_grpc.VaultServiceServicer):
    """See proto/vostro/vault/v1."""

    def __init__(self, keeper: Keeper | None) -> None:
        """keeper: None where the node keeps no vault; then everything is METHOD_UNKNOWN."""
        self._found = keeper

    @property
    def _keeper(self) -> Keeper:
        if self._found is None:
            raise Degraded(NodeError.METHOD_UNKNOWN)
        return self._found

    async def Store(
        self, requests: AsyncIterator[pb.StoreRequest], call: Call
    ) -> AsyncIterator[pb.StoreResponse]:
        """Take sealed bytes in, of the node's own member. Raises Degraded NOT_PERMITTED, and what the keeper
        raises.
        """
        first = await anext(requests, pb.StoreRequest())
        keeper = self._keeper
        _check_own(CALLER.get(), keeper.member)

        async def portions() -> AsyncIterator[bytes]:
            yield first.chunk
            async for request in requests:
                yield request.chunk

        stored = await keeper.store(portions())
        yield pb.StoreResponse(sealed=stored.sealed, size_bytes=stored.size_bytes)

    async def Fetch(self, request: pb.FetchRequest, call: Call) -> AsyncIterator[pb.FetchResponse]:
        """Sealed bytes. Raises what the keeper raises."""
        caller = CALLER.get()
        document = _checked(request.document)
        async for portion in self._keeper.fetch(document, caller.member, whole=caller.whole):
            yield pb.FetchResponse(chunk=portion)

    async def Destroy(self, request: pb.DestroyRequest, call: Call) -> pb.DestroyResponse:
        """Destroy, for the document's owner. Raises Degraded NOT_PERMITTED, and what the keeper raises."""
        keeper, document = self._keeper, _checked(request.document)
        _check_own(CALLER.get(), keeper.owner_of(document))
        return pb.DestroyResponse(was_there=await keeper.destroy(document))

    async def Examine(self, request: pb.ExamineRequest, call: Call) -> pb.ExamineResponse:
        """Read through, for the document's owner. Raises Degraded NOT_PERMITTED, and what the keeper
        raises.
        """
        keeper, document = self._keeper, _checked(request.document)
        _check_own(CALLER.get(), keeper.owner_of(document))
        return pb.ExamineResponse(condition=_CONDITIONS[await keeper.examine(document)])

    async def GetHoldings(self, request: pb.GetHoldingsRequest, call: Call) -> pb.GetHoldingsResponse:
        """As last looked. Raises Degraded NOT_PERMITTED."""
        keeper = self._keeper
        _check_own(CALLER.get(), keeper.member)
        held = keeper.holdings
        return pb.GetHoldingsResponse(
            documents=held.documents,
            size_bytes=held.size_bytes,
            orphans=held.orphans,
            missing=islice(held.missing, NAMED_MAX),
            damaged=islice(held.damaged, NAMED_MAX),
            disk_bytes=held.disk_bytes,
            bytes_max=keeper.bytes_max,
        )


def _check_own(caller: Identity, member: str) -> None:
    """The node keeps what is its own member's, and everybody's where it is nobody's."""
    if not caller.whole and member not in ("", caller.member):
        raise Degraded(NodeError.NOT_PERMITTED, reason="only the node's own member's documents lie here")


def _checked(document: bytes) -> bytes:
    if len(document) != HASH_BYTES:
        raise Degraded(NodeError.BAD_REQUEST, reason=f"a document's id is {HASH_BYTES} bytes")
    return document
