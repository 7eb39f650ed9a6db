"""The vault from the client's side: sealed bytes to a node and back. Documents are sealed and opened here, by
the client's own process (node/keys/sealing.py); a node sees neither their content nor their keys.
"""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any, Final

import grpc

from node.client.connection import answer_of, ask
from node.pb.vostro.vault.v1 import vault_pb2 as pb
from node.pb.vostro.vault.v1.vault_pb2_grpc import VaultServiceStub

CHUNK_BYTES: Final = 512 * 1024
TRANSFER_SECONDS: Final = 3_600.0
"""How long the bytes of one document may take."""


@dataclass(frozen=True, slots=True)
class VaultHoldings:
    """What a node last found of its vault. missing, damaged: ids of documents, at most 100 each. disk_bytes:
    of all files; bytes_max: how many there may be, 0: not told.
    """

    documents: int
    size_bytes: int
    orphans: int
    missing: tuple[bytes, ...]
    damaged: tuple[bytes, ...]
    disk_bytes: int = 0
    bytes_max: int = 0


class Vault:
    """The vault of one node. Every call raises Declined, Unreachable."""

    def __init__(self, channel: grpc.aio.Channel, target: str, seconds: float) -> None:
        """See Client."""
        stub: Any = channel
        self._stub = VaultServiceStub(stub)
        self._target = target
        self._seconds = seconds

    async def store(self, pieces: Iterable[bytes]) -> tuple[bytes, int]:
        """Hand sealed bytes in; their hash and number, once they are durable there."""

        async def requests() -> AsyncIterator[pb.StoreRequest]:
            held = b""
            for piece in pieces:
                held += piece
                if len(held) >= CHUNK_BYTES:
                    yield pb.StoreRequest(chunk=held)
                    held = b""
            if held:
                yield pb.StoreRequest(chunk=held)

        try:
            sealed, size_bytes = b"", 0
            async for answer in self._stub.Store(requests(), timeout=TRANSFER_SECONDS):
                sealed, size_bytes = answer.sealed, answer.size_bytes
        except grpc.aio.AioRpcError as failure:
            raise answer_of(failure, self._target).error from failure
        return sealed, size_bytes

    async def fetch(self, document: bytes) -> AsyncIterator[bytes]:
        """A document's sealed bytes, in portions; whole only at the end."""
        try:
            request = pb.FetchRequest(document=document)
            async for answer in self._stub.Fetch(request, timeout=TRANSFER_SECONDS):
                yield answer.chunk
        except grpc.aio.AioRpcError as failure:
            raise answer_of(failure, self._target).error from failure

    async def destroy(self, document: bytes) -> bool:
        """Have the bytes of a closed document destroyed; whether there were any."""
        request = pb.DestroyRequest(document=document)
        answer = await ask(self._stub.Destroy, request, target=self._target, seconds=self._seconds)
        return bool(answer.was_there)

    async def examine(self, document: bytes) -> str:
        """Have a document's bytes read through where they lie: whole, missing or damaged."""
        request = pb.ExamineRequest(document=document)
        answer = await ask(self._stub.Examine, request, target=self._target, seconds=TRANSFER_SECONDS)
        return pb.Condition.Name(answer.condition).removeprefix("CONDITION_").lower()

    async def holdings(self) -> VaultHoldings:
        """What the node last found."""
        request = pb.GetHoldingsRequest()
        answer = await ask(self._stub.GetHoldings, request, target=self._target, seconds=self._seconds)
        return VaultHoldings(
            answer.documents,
            answer.size_bytes,
            answer.orphans,
            tuple(answer.missing),
            tuple(answer.damaged),
            answer.disk_bytes,
            answer.bytes_max,
        )
