"""Another member's node, as far as the vault needs it: documents are fetched over the door that it keeps for
everybody. What comes is checked by whoever asked.
"""

from collections.abc import AsyncIterator
from typing import Final

import grpc

from node.engine.errors import Degraded, NodeError
from node.pb.vostro.vault.v1 import vault_pb2 as pb
from node.pb.vostro.vault.v1 import vault_pb2_grpc

FETCH_SECONDS: Final = 3_600.0
_ERRORS: Final = {
    grpc.StatusCode.PERMISSION_DENIED: NodeError.DOCUMENT_NOT_READABLE,
    grpc.StatusCode.UNAUTHENTICATED: NodeError.DOCUMENT_NOT_READABLE,
    grpc.StatusCode.NOT_FOUND: NodeError.DOCUMENT_NOT_READABLE,
    grpc.StatusCode.FAILED_PRECONDITION: NodeError.DOCUMENT_NOT_READABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED: NodeError.OVERLOADED,
    grpc.StatusCode.DATA_LOSS: NodeError.CORRUPTED,
}


class VaultDoor:
    """A member's node. Implements vault.Peer."""

    def __init__(self, target: str, credentials: grpc.ChannelCredentials | None) -> None:
        """target: host:port. credentials: of mutual TLS; None on loopback."""
        self.target = target
        self._channel = (
            grpc.aio.secure_channel(target, credentials) if credentials else grpc.aio.insecure_channel(target)
        )
        self._stub = vault_pb2_grpc.VaultServiceStub(self._channel)

    async def fetch(self, document: bytes) -> AsyncIterator[bytes]:
        """See vault.Peer."""
        try:
            async for answer in self._stub.Fetch(pb.FetchRequest(document=document), timeout=FETCH_SECONDS):
                yield answer.chunk
        except grpc.aio.AioRpcError as error:
            raise _degraded(error, self.target) from error

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()


def _degraded(error: grpc.aio.AioRpcError, target: str) -> Degraded:
    told = f"{target}: {error.details() or error.code().name}"
    return Degraded(_ERRORS.get(error.code(), NodeError.OWNER_AWAY), reason=told)
