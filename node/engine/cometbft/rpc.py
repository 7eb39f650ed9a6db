"""Asking CometBFT: its JSON-RPC over HTTP/1.1 on a unix socket, the only way to it that is open.

Connections are kept alive and shared. What always holds: every call ends within its deadline, with an answer
or with ``RpcError``; an answer that cannot be read is an error and never a default. What ``commit`` and
``validators`` return is CometBFT's JSON unread and unverified; answers.py reads it and light.py judges it.
"""

import asyncio
import base64
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import h11
import msgspec

from node.engine.cometbft.abci import CODE_OK

SECONDS_DEFAULT: Final = 5.0
CONNECTIONS_MAX: Final = 32
IDLE_SECONDS_MAX: Final = 5.0
"""Below the ten seconds after which CometBFT closes an idle connection."""
ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
READ_BYTES: Final = 64 * 1024
PAGE: Final = 100
"""The longest page of validators that CometBFT gives."""
PAGES_MAX: Final = 100
LOG_CHARACTERS_MAX: Final = 500

# Texts of CometBFT 0.39 (mempool/errors.go, rpc/core/mempool.go): its errors carry no codes of their own.
_IN_CACHE: Final = "tx already exists in cache"
_FULL: Final = "mempool is full"
_CATCHING_UP: Final = "endpoint is closed while node is catching up"
_TOO_LARGE: Final = "Tx too large"


class RpcError(Exception):
    """CometBFT did not answer, or answered with an error. ``answered`` tells which; the text says why."""

    def __init__(self, sentence: str, *, answered: bool = False) -> None:
        super().__init__(sentence)
        self.answered = answered


class BroadcastKind(StrEnum):
    """What became of a transaction that was handed to the mempool."""

    ACCEPTED = "accepted"
    PENDING = "pending"
    """CometBFT has seen these bytes: they wait, or a block has them."""
    REFUSED = "refused"
    """check_tx said no, with its code."""
    FULL = "full"
    TOO_LARGE = "too large"
    CATCHING_UP = "catching up"


@dataclass(frozen=True, slots=True)
class Broadcast:
    """The mempool's answer. ``code`` and ``log`` are check_tx's, or say why there was none."""

    kind: BroadcastKind
    code: int = CODE_OK
    log: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """Where CometBFT stands. ``height`` is its last block's, 0 before the first; ``app_hash`` the one that
    block carries, of the height before. ``power`` is this validator's now, 0 if it is none.
    """

    node_id: str
    moniker: str
    chain_id: str
    version: str
    height: int
    app_hash: bytes
    block_hash: bytes
    time: str
    earliest_height: int
    catching_up: bool
    validator_address: bytes
    validator_key: bytes
    power: int


@dataclass(frozen=True, slots=True)
class ConnectedPeer:
    """A CometBFT that this one is connected to."""

    node_id: str
    moniker: str
    host: str
    is_outbound: bool


@dataclass(frozen=True, slots=True)
class Commit:
    """``signed_header`` as /commit gives it; ``is_canonical``: the commit that the next block carries, not
    just the one that this node saw.
    """

    signed_header: Mapping[str, Any]
    is_canonical: bool


@dataclass(frozen=True, slots=True)
class Waiting:
    """What is in the mempool."""

    count: int
    bytes: int


class RpcClient(AbstractAsyncContextManager["RpcClient"]):
    """CometBFT behind one unix socket. Use it from one event loop."""

    def __init__(self, path: Path, *, seconds: float = SECONDS_DEFAULT) -> None:
        """path: the socket's. seconds: the deadline of a call that names none."""
        self._path = path
        self._seconds = seconds
        self._idle: list[_Connection] = []
        self._turns = asyncio.Semaphore(CONNECTIONS_MAX)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections that are idle."""
        while self._idle:
            self._idle.pop().close()

    async def broadcast_sync(self, tx: bytes, *, seconds: float | None = None) -> Broadcast:
        """Hand a transaction to the mempool and wait for check_tx. Raises RpcError: then it may be in the
        mempool or not.
        """
        return await self._broadcast("broadcast_tx_sync", tx, seconds)

    async def broadcast_async(self, tx: bytes, *, seconds: float | None = None) -> Broadcast:
        """Hand a transaction to the mempool and do not wait for check_tx, which may refuse it unheard."""
        return await self._broadcast("broadcast_tx_async", tx, seconds)

    async def status(self, *, seconds: float | None = None) -> Status:
        """Where CometBFT stands. Raises RpcError."""
        said = await self._call("status", {}, seconds)
        with _reading("status"):
            return _status(said)

    async def net_info(self, *, seconds: float | None = None) -> tuple[ConnectedPeer, ...]:
        """The peers that CometBFT is connected to. Raises RpcError."""
        said = await self._call("net_info", {}, seconds)
        with _reading("net_info"):
            return tuple([_connected(peer) for peer in said["peers"]])

    async def commit(self, height: int | None = None, *, seconds: float | None = None) -> Commit:
        """The signed header of a height; of the last block without one. Raises RpcError."""
        said = await self._call("commit", _at(height), seconds)
        with _reading("commit"):
            return Commit(said["signed_header"], said["canonical"])

    async def validators(
        self, height: int | None = None, *, seconds: float | None = None
    ) -> tuple[Mapping[str, Any], ...]:
        """The whole validator set that signs a height. Raises RpcError."""
        entries: list[Mapping[str, Any]] = []
        where = _at(height)
        for page in range(1, PAGES_MAX + 1):
            fields = {**where, "page": str(page), "per_page": str(PAGE)}
            said = await self._call("validators", fields, seconds)
            with _reading("validators"):
                where = _at(int(said["block_height"]))  # every page of one height
                entries += said["validators"]
                if len(entries) >= int(said["total"]):
                    return tuple(entries)
        raise RpcError(f"CometBFT has more than {PAGES_MAX * PAGE} validators", answered=True)

    async def header(self, height: int | None = None, *, seconds: float | None = None) -> Mapping[str, Any]:
        """A block's header, as CometBFT's JSON. Raises RpcError."""
        said = await self._call("header", _at(height), seconds)
        header: Mapping[str, Any] | None = said.get("header")
        if header is None:
            raise RpcError(f"CometBFT has no header of height {height}", answered=True)
        return header

    async def genesis(self, *, seconds: float | None = None) -> Mapping[str, Any]:
        """The genesis file that CometBFT runs with, as JSON. Raises RpcError."""
        said = await self._call("genesis", {}, seconds)
        with _reading("genesis"):
            genesis: Mapping[str, Any] = said["genesis"]
            return genesis

    async def relay(self, method: str, parameters: Mapping[str, str]) -> bytes:
        """The JSON of a result, unread, for whoever judges it. Raises RpcError."""
        return msgspec.json.encode(await self._call(method, parameters, None))

    async def waiting(self, *, seconds: float | None = None) -> Waiting:
        """What is in the mempool. Raises RpcError."""
        said = await self._call("num_unconfirmed_txs", {}, seconds)
        with _reading("num_unconfirmed_txs"):
            return Waiting(int(said["total"]), int(said["total_bytes"]))

    async def consensus_state(self, *, seconds: float | None = None) -> Mapping[str, Any]:
        """This node's round and what its peers have told of theirs, for people to read: not a stable form.
        Raises RpcError.
        """
        return await self._call("dump_consensus_state", {}, seconds)

    async def dial_peers(self, peers: Sequence[str], *, seconds: float | None = None) -> None:
        """Connect to peers (``id@host:port``) now and keep to them. After a hundred seconds without a peer
        CometBFT itself tries ever more rarely, in the end never; and a name that it could not resolve when it
        started it does not try at all. Raises RpcError.
        """
        fields = {"peers": list(peers), "persistent": True, "unconditional": True, "private": False}
        await self._call("dial_peers", fields, seconds)

    async def _broadcast(self, method: str, tx: bytes, seconds: float | None) -> Broadcast:
        try:
            said = await self._call(method, {"tx": base64.b64encode(tx).decode()}, seconds)
        except RpcError as error:
            kind = _kind_of(str(error)) if error.answered else None
            if kind is None:
                raise
            return Broadcast(kind, log=str(error))
        with _reading(method):
            code = int(said["code"])
            kind = BroadcastKind.REFUSED if code else BroadcastKind.ACCEPTED
            return Broadcast(kind, code, said["log"])

    async def _call(self, method: str, fields: Mapping[str, Any], seconds: float | None) -> Mapping[str, Any]:
        """The result of one call. Raises RpcError."""
        body = msgspec.json.encode({"jsonrpc": "2.0", "id": 1, "method": method, "params": fields})
        limit = self._seconds if seconds is None else seconds
        try:
            async with asyncio.timeout(limit), self._turns:
                answer = await self._post(body)
        except TimeoutError as error:
            raise RpcError(f"CometBFT did not answer {method} within {limit:g} s") from error
        except (OSError, h11.ProtocolError) as error:
            raise RpcError(f"CometBFT cannot be asked at {self._path}: {error}") from error
        return _result(answer)

    async def _post(self, body: bytes) -> bytes:
        """Ask on a connection that is kept, or on a new one."""
        while (kept := self._kept()) is not None:
            try:
                return await self._ask(kept, body)
            except (ConnectionError, h11.RemoteProtocolError):
                if kept.answering:
                    raise
                # It was closed while it waited for us: CometBFT has not begun to answer.
        return await self._ask(await _Connection.open(self._path), body)

    def _kept(self) -> "_Connection | None":
        """An idle connection that is still good."""
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection = self._idle.pop()
            if now - connection.idle_since < IDLE_SECONDS_MAX and not connection.is_closing():
                return connection
            connection.close()
        return None

    async def _ask(self, connection: "_Connection", body: bytes) -> bytes:
        try:
            answer = await connection.post(body)
        except BaseException:
            connection.close()
            raise
        if connection.renew():
            self._idle.append(connection)
        return answer


class _Connection:
    """One HTTP connection. ``answering``: the present answer has begun to arrive."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.CLIENT)
        self.answering = False
        self.idle_since = 0.0

    @classmethod
    async def open(cls, path: Path) -> "_Connection":
        """Connect. Raises OSError."""
        return cls(*await asyncio.open_unix_connection(str(path)))

    async def post(self, body: bytes) -> bytes:
        """The body of the answer. Raises OSError, h11.ProtocolError."""
        self.answering = False
        request = h11.Request(
            method="POST",
            target="/",
            headers=[
                ("Host", "cometbft"),
                ("Content-Type", "application/json"),
                ("Content-Length", str(len(body))),
            ],
        )
        self._send(request, h11.Data(body), h11.EndOfMessage())
        await self._writer.drain()
        parts: list[bytes] = []
        size = 0
        while not isinstance(event := await self._next(), h11.EndOfMessage):
            self.answering = True
            if isinstance(event, h11.Data):
                parts.append(bytes(event.data))
                size += len(event.data)
                if size > ANSWER_BYTES_MAX:
                    raise h11.RemoteProtocolError(f"an answer of more than {ANSWER_BYTES_MAX} bytes")
        return b"".join(parts)

    def renew(self) -> bool:
        """Ready the connection for another request; False, closed, where the other side has had enough."""
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            self.idle_since = asyncio.get_running_loop().time()
            return True
        self.close()
        return False

    def is_closing(self) -> bool:
        return self._writer.is_closing() or self._reader.at_eof()

    def close(self) -> None:
        self._writer.close()

    def _send(self, *events: h11.Event) -> None:
        self._writer.write(b"".join([self._http.send(event) or b"" for event in events]))

    async def _next(self) -> h11.Event:
        """The next part of the answer. Raises ConnectionError, h11.RemoteProtocolError."""
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                self._http.receive_data(await self._reader.read(READ_BYTES))
            elif isinstance(event, h11.Event):
                return event
            else:
                raise ConnectionResetError("CometBFT closed the connection")


def _at(height: int | None) -> dict[str, str]:
    return {} if height is None else {"height": str(height)}


@contextmanager
def _reading(method: str) -> Iterator[None]:
    """Read an answer. Raises RpcError where it does not have its form."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise RpcError(f"CometBFT's answer to {method} cannot be read: {error!r}", answered=True) from error


def _status(said: Mapping[str, Any]) -> Status:
    node, sync, validator = said["node_info"], said["sync_info"], said["validator_info"]
    key = validator["pub_key"] or {}
    return Status(
        node_id=node["id"],
        moniker=node["moniker"],
        chain_id=node["network"],
        version=node["version"],
        height=int(sync["latest_block_height"]),
        app_hash=bytes.fromhex(sync["latest_app_hash"]),
        block_hash=bytes.fromhex(sync["latest_block_hash"]),
        time=sync["latest_block_time"],
        earliest_height=int(sync["earliest_block_height"]),
        catching_up=sync["catching_up"],
        validator_address=bytes.fromhex(validator["address"]),
        validator_key=base64.b64decode(key.get("value", "")),
        power=int(validator["voting_power"]),
    )


def _connected(peer: Mapping[str, Any]) -> ConnectedPeer:
    node = peer["node_info"]
    return ConnectedPeer(node["id"], node["moniker"], peer["remote_ip"], peer["is_outbound"])


def _kind_of(sentence: str) -> BroadcastKind | None:
    """What an error of broadcasting means; None: nothing that is known."""
    kinds = {
        _IN_CACHE: BroadcastKind.PENDING,
        _FULL: BroadcastKind.FULL,
        _TOO_LARGE: BroadcastKind.TOO_LARGE,
        _CATCHING_UP: BroadcastKind.CATCHING_UP,
    }
    return next((kind for text, kind in kinds.items() if text in sentence), None)


def _result(answer: bytes) -> Mapping[str, Any]:
    """The result in a JSON-RPC answer. Raises RpcError."""
    try:
        said = msgspec.json.decode(answer, type=dict[str, Any])
    except (ValueError, msgspec.MsgspecError) as error:
        told = answer[:LOG_CHARACTERS_MAX].decode(errors="replace")
        raise RpcError(f"CometBFT's answer cannot be read: {told!r}", answered=True) from error
    if failure := said.get("error"):
        named = isinstance(failure, dict)
        told = f"{failure.get('message', '')}: {failure.get('data', '')}" if named else str(failure)
        told = told[:LOG_CHARACTERS_MAX]
        raise RpcError(f"CometBFT refused: {told}", answered=True)
    result = said.get("result")
    if not isinstance(result, dict):
        raise RpcError("CometBFT's answer has no result", answered=True)
    return result
