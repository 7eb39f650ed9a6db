"""The RPC client reads what CometBFT answers, keeps connections, and every failure is one error in time."""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from node.engine.cometbft.rpc import Broadcast, BroadcastKind, RpcClient, RpcError

Answer = Callable[[dict[str, Any]], Any]


@dataclass
class Double:
    """An HTTP server of a few lines: what ``say`` returns is the result; bytes are sent as they are."""

    say: Answer
    chunked: bool = False
    close_after: bool = False
    connections: int = 0
    asked: list[dict[str, Any]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
                request = json.loads(await reader.readexactly(length))
                self.asked.append(request)
                said = self.say(request)
                if isinstance(said, Awaitable):
                    said = await said
                writer.write(said if isinstance(said, bytes) else self.form(said))
                await writer.drain()
                if self.close_after:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    def form(self, said: Any) -> bytes:
        key = "error" if "code" in said and "message" in said else "result"
        body = json.dumps({"jsonrpc": "2.0", "id": 1, key: said}).encode()
        if self.chunked:
            parts = [body[:10], body[10:]]
            chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
            return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


@asynccontextmanager
async def speaking(double: Double, *, seconds: float = 10.0) -> AsyncIterator[RpcClient]:
    with tempfile.TemporaryDirectory(prefix="vr-") as folder:
        path = Path(folder) / "rpc.sock"
        server = await asyncio.start_unix_server(double.serve, str(path))
        async with RpcClient(path, seconds=seconds) as client:
            yield client
        server.close()


def failure(data: str) -> dict[str, Any]:
    return {"code": -32603, "message": "Internal error", "data": data}


KINDS = [
    ({"code": 0, "log": ""}, Broadcast(BroadcastKind.ACCEPTED)),
    ({"code": 9, "log": "why"}, Broadcast(BroadcastKind.REFUSED, 9, "why")),
    (failure("tx already exists in cache"), BroadcastKind.PENDING),
    (failure("mempool is full: number of txs 5 (max: 5), total txs bytes 1 (max: 9)"), BroadcastKind.FULL),
    (failure("Tx too large. Max size is 1, but got 2"), BroadcastKind.TOO_LARGE),
    (failure("endpoint is closed while node is catching up"), BroadcastKind.CATCHING_UP),
]


@pytest.mark.asyncio
@pytest.mark.parametrize(("said", "wanted"), KINDS)
async def test_what_becomes_of_a_broadcast_is_told_by_kind(said: Any, wanted: Any) -> None:
    double = Double(lambda _: said)
    async with speaking(double) as client:
        got = await client.broadcast_sync(b"\x00\xff")
    assert (got if isinstance(wanted, Broadcast) else got.kind) == wanted
    assert double.asked[0]["method"] == "broadcast_tx_sync"
    assert double.asked[0]["params"] == {"tx": "AP8="}


@pytest.mark.asyncio
async def test_an_error_of_another_kind_is_raised_with_its_text() -> None:
    async with speaking(Double(lambda _: failure("something else"))) as client:
        with pytest.raises(RpcError, match="something else") as raised:
            await client.broadcast_async(b"x")
    assert raised.value.answered


@pytest.mark.asyncio
async def test_validators_are_read_to_the_last_page_of_one_height() -> None:
    everybody = [{"voting_power": str(number)} for number in range(230)]

    def say(request: dict[str, Any]) -> dict[str, Any]:
        page = int(request["params"]["page"])
        return {
            "block_height": "12",
            "total": "230",
            "validators": everybody[100 * (page - 1) : 100 * page],
        }

    double = Double(say)
    async with speaking(double) as client:
        assert list(await client.validators()) == everybody
    assert [request["params"].get("height") for request in double.asked] == [None, "12", "12"]


@pytest.mark.asyncio
@pytest.mark.parametrize("chunked", [False, True])
async def test_one_connection_serves_many_calls(chunked: bool) -> None:
    double = Double(lambda _: {"total": "3", "total_bytes": "70"}, chunked=chunked)
    async with speaking(double) as client:
        for _ in range(20):
            waiting = await client.waiting()
            assert (waiting.count, waiting.bytes) == (3, 70)
    assert double.connections == 1


@pytest.mark.asyncio
async def test_a_kept_connection_that_was_closed_is_replaced_unnoticed() -> None:
    double = Double(lambda _: {"total": "0", "total_bytes": "0"}, close_after=True)
    async with speaking(double) as client:
        for _ in range(5):
            assert (await client.waiting()).count == 0
    assert double.connections == 5


BROKEN = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nabc",
    b"noise\r\n\r\n",
]


@pytest.mark.asyncio
@pytest.mark.parametrize("said", BROKEN)
async def test_an_answer_that_cannot_be_read_is_an_error(said: bytes) -> None:
    async with speaking(Double(lambda _: said, close_after=True)) as client:
        with pytest.raises(RpcError, match="CometBFT"):
            await client.status()


@pytest.mark.asyncio
async def test_an_answer_of_another_form_is_an_error_of_every_call() -> None:
    async with speaking(Double(lambda _: {"unknown": 1})) as client:
        calls = [client.status(), client.net_info(), client.commit(), client.validators(), client.waiting()]
        for call in (*calls, client.genesis(), client.header(3), client.broadcast_sync(b"x")):
            with pytest.raises(RpcError):
                await call


@pytest.mark.asyncio
async def test_silence_ends_at_the_deadline_and_no_socket_at_once() -> None:
    forever = asyncio.Event()

    async def hang() -> None:
        await forever.wait()

    async with speaking(Double(lambda _: hang()), seconds=0.1) as client:
        with pytest.raises(RpcError, match=r"within 0\.1 s") as raised:
            await client.status()
        assert not raised.value.answered
        forever.set()
    with pytest.raises(RpcError, match="cannot be asked"):
        await RpcClient(Path("nowhere.sock")).status()
