"""A peer's CometBFT as a unix socket of this machine, for CometBFT's own light client.

State sync wants the RPC of two other nodes, and theirs is open to nobody but themselves. So the light client
here asks a local socket, which passes its three questions on to the peer's node, over the door that peer
keeps anyway (ConsensusService). What always holds: what comes back is passed on unread; the light client
believes nothing that it has not verified.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import grpc
import h11
import msgspec
import structlog
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from node.pb.vostro.consensus.v1 import consensus_pb2 as pb
from node.pb.vostro.consensus.v1 import consensus_pb2_grpc

READ_BYTES: Final = 64 * 1024
REQUEST_BYTES_MAX: Final = 64 * 1024
ASK_SECONDS: Final = 10.0
HANDOVERS_MAX: Final = 100_000
DETAILS: Final = "grpc-status-details-bin"
QUESTIONS: Final = {
    "commit": pb.QUESTION_COMMIT,
    "validators": pb.QUESTION_VALIDATORS,
    "consensus_params": pb.QUESTION_CONSENSUS_PARAMS,
}

Ask = Callable[[str, Mapping[str, str]], Awaitable[bytes]]
"""Asks a peer: method and parameters, to the JSON of the result. Raises TunnelFailed."""

log = structlog.get_logger("vostro.engine")


class TunnelFailed(Exception):
    """The peer did not answer; the text says why."""


class RpcTunnel:
    """Serves JSON-RPC over HTTP/1.1 on a unix socket, as CometBFT does."""

    def __init__(self, path: Path, ask: Ask) -> None:
        self._path = path
        self._ask = ask
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen. Raises OSError."""
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, str(self._path))
        self._path.chmod(0o600)

    async def stop(self) -> None:
        """Close the socket."""
        if self._server:
            self._server.close()
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection until it ends."""
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=REQUEST_BYTES_MAX)
        try:
            while (body := await _request(http, reader)) is not None:
                answer = await self._answer(body)
                headers = [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))]
                for event in (
                    h11.Response(status_code=200, headers=headers),
                    h11.Data(answer),
                    h11.EndOfMessage(),
                ):
                    writer.write(http.send(event) or b"")
                await writer.drain()
                if http.our_state is h11.MUST_CLOSE:
                    return
                http.start_next_cycle()
        except (OSError, h11.ProtocolError) as error:
            log.debug("a light client's connection ended", reason=str(error))
        finally:
            writer.close()

    async def _answer(self, body: bytes) -> bytes:
        """The answer to a JSON-RPC request."""
        asked: dict[str, Any] = {}
        try:
            asked = msgspec.json.decode(body, type=dict[str, Any])
            method, parameters = str(asked.get("method")), asked.get("params") or {}
            if method not in QUESTIONS or not isinstance(parameters, dict):
                raise TunnelFailed(f"{method} is no question of a light client")
            result = await self._ask(method, {str(key): str(value) for key, value in parameters.items()})
        except (msgspec.MsgspecError, TunnelFailed) as error:
            failure = {"code": -32603, "message": "Internal error", "data": str(error)}
            return msgspec.json.encode({"jsonrpc": "2.0", "id": asked.get("id", -1), "error": failure})
        return msgspec.json.encode(
            {"jsonrpc": "2.0", "id": asked.get("id", -1), "result": msgspec.Raw(result)}
        )


async def _request(http: h11.Connection, reader: asyncio.StreamReader) -> bytes | None:
    """The body of the next request; None when the other side is through. Raises h11.ProtocolError."""
    parts: list[bytes] = []
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(await reader.read(READ_BYTES))
        elif isinstance(event, h11.Data):
            parts.append(bytes(event.data))
            if sum(map(len, parts)) > REQUEST_BYTES_MAX:
                raise h11.RemoteProtocolError("a request of too many bytes")
        elif isinstance(event, h11.EndOfMessage):
            return b"".join(parts)
        elif isinstance(event, h11.ConnectionClosed):
            return None


class PeerDoor:
    """Another node's gRPC face, as far as a light client needs it."""

    def __init__(self, target: str, credentials: grpc.ChannelCredentials | None) -> None:
        """target: host:port. credentials: of mutual TLS; None on loopback."""
        self._target = target
        self._channel = (
            grpc.aio.secure_channel(target, credentials) if credentials else grpc.aio.insecure_channel(target)
        )
        self._stub = consensus_pb2_grpc.ConsensusServiceStub(self._channel)

    async def ask(self, method: str, parameters: Mapping[str, str]) -> bytes:
        """One answer of the peer's CometBFT. Raises TunnelFailed."""
        try:
            request = pb.AskRequest(
                question=QUESTIONS[method],
                height=int(parameters.get("height", "0")),
                page=int(parameters.get("page", "0")),
                per_page=int(parameters.get("per_page", "0")),
            )
            answer = await self._stub.Ask(request, timeout=ASK_SECONDS)
        except ValueError as error:
            raise TunnelFailed(f"{self._target} is asked for {method} with {parameters}") from error
        except grpc.aio.AioRpcError as error:
            raise TunnelFailed(f"{self._target} does not answer {method}: {_reason(error)}") from error
        return bytes(answer.result_json)

    async def handovers(self) -> Sequence[tuple[int, bytes]]:
        """(height, content) of the hand-overs that the peer keeps, ascending, unread. Raises TunnelFailed."""
        found: dict[int, bytes] = {}
        try:
            while len(found) < HANDOVERS_MAX:
                request = pb.ListHandoversRequest(after_height=max(found, default=0))
                answer = await self._stub.ListHandovers(request, timeout=ASK_SECONDS)
                more = {each.height: each.content for each in answer.handovers}
                if not more or min(more) <= max(found, default=0):
                    break
                found |= more
        except grpc.aio.AioRpcError as error:
            raise TunnelFailed(f"{self._target} hands out no hand-overs: {_reason(error)}") from error
        return sorted(found.items())

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()


def _reason(failure: grpc.aio.AioRpcError) -> str:
    """What the peer's CometBFT said: a light client reads off that text whether a height is yet to come."""
    texts = [failure.details() or failure.code().name]
    for key, value in failure.trailing_metadata() or ():
        if key == DETAILS:
            status, info = status_pb2.Status(), error_details_pb2.ErrorInfo()
            try:
                status.ParseFromString(value)
            except DecodeError:
                continue
            texts += [info.metadata["reason"] for detail in status.details if detail.Unpack(info)]
    return ": ".join(filter(None, texts))


async def hold(tunnels: Sequence[RpcTunnel], doors: Sequence[PeerDoor]) -> None:
    """Keep tunnels that are open, and the connections behind them, until cancelled."""
    try:
        await asyncio.Event().wait()
    finally:
        for tunnel in tunnels:
            await tunnel.stop()
        for door in doors:
            await door.close()
