"""Hostile and excessive calls on a live port: every answer is coded, no text of Python leaks, and a good
transfer works after each.
"""

import asyncio
import random
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

import grpc
import pytest
import pytest_asyncio
from google.rpc import error_details_pb2, status_pb2

from node.client.signing import new_request_id
from node.ledger import codec
from node.ledger.types import KeySignature, SignedTransaction
from node.pb.vostro.transaction.v1 import transaction_pb2 as pb
from node.services.server import RPCS
from tests.fault.node_kit import SECONDS, WORLD, NodeFolder, Stubs, connected, transfers
from tests.kit import op, pay, request_id

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(200)]
LEAKS: Final = ("Traceback", 'File "', "Error:", "Exception", ".py")
SUBMIT: Final = "/vostro.transaction.v1.TransactionService/Submit"
BATCH: Final = "/vostro.transaction.v1.TransactionService/SubmitBatch"
QUEUE_MAX: Final = 40


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeFolder]:
    folder = NodeFolder(tmp_path_factory.mktemp("live") / "node", {"queue_max": QUEUE_MAX}).make()
    with folder.running():
        yield folder


@pytest_asyncio.fixture
async def stubs(node: NodeFolder) -> AsyncIterator[Stubs]:
    """Calls to the node; behind every test it is alive, answers at once and has written no stack trace."""
    async with connected(node) as made:
        yield made
        node.process.check_alive()
        await good(made)
        assert "Traceback" not in node.log()
        assert (await made.status()).pending == 0


async def good(stubs: Stubs) -> None:
    """A good transfer is applied, promptly."""
    async with asyncio.timeout(10):
        assert (await stubs.submit(transfers(1)[0])).code == 0


def check_clean(text: str) -> None:
    """Nothing of Python in what a client sees."""
    assert not [leak for leak in LEAKS if leak in text], text


def told(error: grpc.aio.AioRpcError) -> tuple[str, float]:
    """The reason in an error's ErrorInfo and the pause in its RetryInfo; all its text is clean."""
    check_clean(f"{error.details()}")
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    for key, value in error.trailing_metadata() or ():
        if isinstance(value, bytes) and key == "grpc-status-details-bin":
            status = status_pb2.Status.FromString(value)
            check_clean(str(status))
            for detail in status.details:
                if not detail.Unpack(info):
                    detail.Unpack(retry)
    return info.reason, retry.retry_delay.ToMilliseconds()


async def called(stubs: Stubs, method: str, data: bytes, seconds: float = 0.3) -> str:
    """The outcome of a call with raw bytes: the reason, the gRPC status where there is none, or OK. seconds:
    by default few, since a stream may have nothing to say.
    """
    call: Any = stubs.channel.unary_stream(method)
    if method.endswith(("SubmitStream", "ReflectionInfo")):
        call = stubs.channel.stream_stream(method)
        data = iter([data])  # type: ignore[assignment]
    answers = call(data, timeout=seconds)
    try:
        async for answer in answers:
            assert isinstance(answer, bytes)
    except grpc.aio.AioRpcError as error:
        reason, _ = told(error)
        return reason or f"gRPC {error.code().name}"
    return "OK"


def fields(chance: random.Random) -> bytes:
    """A well-formed protobuf message of nobody's."""
    data = b""
    for _ in range(chance.randrange(1, 5)):
        number = chance.randrange(1, 8)
        if chance.random() < 0.4:
            data += bytes((number << 3, chance.randrange(128)))
        else:
            text = chance.choice(
                (b"", b"PA", b"PA/0", b"CZK", b"\0", b"%s{}", bytes(32), chance.randbytes(9))
            )
            data += bytes((number << 3 | 2, len(text))) + text
    return data


@pytest.mark.evidence(
    "PRT1", asset="the port", threat="random and oversized requests", mitigation="decoded behind limits"
)
async def test_random_bytes_on_every_rpc_get_coded_answers(stubs: Stubs, long_run: bool) -> None:
    chance = random.Random(11)
    outcomes: Counter[str] = Counter()
    for method in RPCS:
        for number in range(100 if long_run else 14):
            noise = chance.randbytes(chance.choice((1, 7, 40, 300)))
            outcomes[await called(stubs, method, noise if number < 5 else fields(chance))] += 1
    await good(stubs)
    total = outcomes.total()
    print(f"random bytes on {len(RPCS)} RPCs: {total} tried, {total} held: {dict(outcomes)}")
    own = {name for name in outcomes if name.startswith("gRPC ")}
    assert own <= {"gRPC DEADLINE_EXCEEDED", "gRPC INTERNAL", "gRPC NOT_FOUND", "gRPC UNKNOWN"}, outcomes
    assert outcomes["BAD_REQUEST"] > len(RPCS)
    assert outcomes["INTERNAL"] == 0


async def test_methods_that_do_not_exist_are_refused_with_a_code(stubs: Stubs) -> None:
    unfinished = "/grpc.health.v1.Health/List"  # declared by the library's service, which does not have it
    for method in ("/vostro.transaction.v1.TransactionService/Steal", "/nothing/at/all", "/x", unfinished):
        assert await called(stubs, method, b"") == "METHOD_UNKNOWN"


@pytest.mark.evidence(
    "PRT1", asset="the port", threat="random and oversized requests", mitigation="decoded behind limits"
)
async def test_oversized_messages_are_refused_and_the_next_call_works(stubs: Stubs) -> None:
    outcomes: Counter[str] = Counter()
    for method in (SUBMIT, BATCH, "/vostro.fund.v1.FundService/GetBalance"):
        for size in (5 << 20, 9 << 20, 20 << 20):
            length = size.to_bytes(4, "little")
            varint = bytes((b & 0x7F) | 0x80 for b in (size, size >> 7, size >> 14)) + bytes((size >> 21,))
            assert len(length) == 4
            outcomes[await called(stubs, method, b"\x0a" + varint + bytes(size), SECONDS)] += 1
            await good(stubs)
    print(f"oversized messages: {outcomes.total()} tried, {outcomes.total()} held: {dict(outcomes)}")
    assert set(outcomes) <= {
        "BAD_REQUEST",
        "gRPC RESOURCE_EXHAUSTED",
        "TOO_LARGE",
        "OK",
    }
    assert outcomes["gRPC RESOURCE_EXHAUSTED"] >= 4


def http2(*frames: bytes) -> bytes:
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"".join(frames)


def frame(kind: int, flags: int, stream: int, body: bytes, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return struct.pack(">I", size)[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + body


def hostile(chance: random.Random) -> list[bytes]:
    """What a socket may receive from somebody who means no good."""
    settings = frame(4, 0, 0, b"")
    return [
        b"",
        b"\0" * 4096,
        chance.randbytes(64 * 1024),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST " + SUBMIT.encode() + b" HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n{}",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + chance.randbytes(200),
        b"PRI * HT",
        http2(),
        http2(settings),
        http2(settings, frame(1, 4, 1, chance.randbytes(60))),
        http2(settings, frame(1, 4, 1, b"\x82\x84", length=16_000)),
        http2(settings, frame(0, 0, 1, b"\0\0\0\0\xff" + bytes(100))),
        http2(settings, frame(0, 0, 0, bytes(2**14))),
        http2(settings, *[frame(6, 0, 0, chance.randbytes(8)) for _ in range(500)]),
        http2(settings, *[frame(3, 0, 2 * n + 1, bytes(4)) for n in range(300)]),
        http2(settings, *[frame(8, 0, 0, b"\x7f\xff\xff\xff") for _ in range(3)]),
        http2(*[frame(4, 0, 0, struct.pack(">HI", 4, chance.randrange(2**32))) for _ in range(50)]),
        http2(settings, frame(0xEE, 0xFF, 7, chance.randbytes(100))),
    ]


def attack(target: str, data: bytes) -> None:
    """Send bytes, read a little, hang up without manners."""
    host, _, port = target.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=5) as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.settimeout(0.05)
        try:
            peer.sendall(data)
            check_clean(peer.recv(65_536).decode("latin-1"))
        except OSError:
            return


@pytest.mark.evidence(
    "PRT3", asset="availability", threat="garbage and idle connections", mitigation="bounded handshakes"
)
async def test_garbage_on_the_port_costs_nobody_else(node: NodeFolder, stubs: Stubs) -> None:
    attacks = hostile(random.Random(12))
    for data in attacks:
        await asyncio.to_thread(attack, node.target, data)
        await good(stubs)
    print(f"garbage on the port: {len(attacks)} tried, {len(attacks)} held")
    assert len(attacks) > 10


@pytest.mark.evidence(
    "PRT3", asset="availability", threat="garbage and idle connections", mitigation="bounded handshakes"
)
async def test_half_open_connections_by_the_hundred_costs_nobody_else(node: NodeFolder, stubs: Stubs) -> None:
    host, _, port = node.target.rpartition(":")
    peers = [socket.create_connection((host, int(port)), timeout=5) for _ in range(300)]
    try:
        for number, peer in enumerate(peers):
            peer.send((b"", b"PRI", http2(), http2(frame(4, 0, 0, b"")))[number % 4])
        for _ in range(5):
            await good(stubs)
    finally:
        for peer in peers:
            peer.close()
    print("half-open connections: 300 tried, 300 held")
    assert (await stubs.status()).serving


def malformed(chance: random.Random) -> dict[str, Callable[[], bytes]]:
    """Every way in which a transaction can be bad, by name; each call makes another one."""

    def send(**options: Any) -> bytes:
        body = {"use_id": new_request_id(), **options}
        return WORLD.make("PA", pay("PA/0", "KB/0", 1), **body)

    def bent(change: Callable[[bytearray], None]) -> bytes:
        data = bytearray(send())
        change(data)
        return bytes(data)

    def signatures(change: Callable[[list[KeySignature]], list[KeySignature]]) -> bytes:
        signed: SignedTransaction = codec.decoder(SignedTransaction)(send())
        return codec.encode(SignedTransaction(signed.transaction, tuple(change(list(signed.signatures)))))

    def operation(*arguments: Any) -> bytes:
        return WORLD.make("PA", op("transfers", "send", *arguments), use_id=new_request_id())

    now = int.from_bytes(new_request_id()[:6], "big")
    return {
        "random": lambda: chance.randbytes(chance.randrange(1, 400)),
        "empty": lambda: b"",
        "nested": lambda: b"\x91" * 5_000,
        "truncated": lambda: (raw := send())[: chance.randrange(1, len(raw))],
        "trailing": lambda: send() + b"\0",
        "a bit": lambda: bent(
            lambda d: d.__setitem__(at := chance.randrange(len(d)), d[at] ^ chance.randrange(1, 256))
        ),
        "huge": lambda: bytes(200_000),
        "unsigned": lambda: signatures(lambda _: []),
        "a signature twice": lambda: signatures(lambda s: s * 2),
        "another's signature": lambda: signatures(
            lambda s: [KeySignature(s[0].key_id, chance.randbytes(64))]
        ),
        "a zero signature": lambda: signatures(lambda s: [KeySignature(s[0].key_id, bytes(64))]),
        "an unknown key": lambda: signatures(lambda s: [KeySignature(chance.randbytes(16), s[0].signature)]),
        "dead": lambda: send(use_id=request_id(now - 10**7, chance.randrange(2**60))),
        "not yet alive": lambda: send(use_id=request_id(now + 10**7, chance.randrange(2**60))),
        "no UUID": lambda: send(use_id=chance.randbytes(6) + bytes(10)),
        "an unknown member": lambda: WORLD.make(
            "NOBODY", pay("PA/0", "KB/0", 1), officers=("PA-officer",), use_id=new_request_id()
        ),
        "101 operations": lambda: WORLD.make("PA", *[pay("PA/0", "KB/0", 1)] * 101, use_id=new_request_id()),
        "no operation": lambda: WORLD.make("PA", use_id=new_request_id()),
        "zero amount": lambda: operation("PA/0", "KB/0", "CZK", 0, "", b"", ""),
        "negative amount": lambda: operation("PA/0", "KB/0", "CZK", -1, "", b"", ""),
        "overflowing amount": lambda: operation("PA/0", "KB/0", "CZK", 2**63, "", b"", ""),
        "an amount of text": lambda: operation("PA/0", "KB/0", "CZK", "١٢", "", b"", ""),
        "a float": lambda: operation("PA/0", "KB/0", "CZK", 1.5, "", b"", ""),
        "control characters": lambda: operation("PA/0", "KB/0", "CZK", 1, "a\0b\x1b[2J", b"", ""),
        "an unknown account": lambda: operation("PA/0", "XX/0", "CZK", 1, "", b"", ""),
        "another's account": lambda: operation("KB/0", "PA/0", "CZK", 1, "", b"", ""),
        "too much": lambda: operation("PA/0", "KB/0", "CZK", 10**18, "", b"", ""),
        "an unknown method": lambda: WORLD.make("PA", op("transfers", "mint", 1), use_id=new_request_id()),
        "an unknown contract": lambda: WORLD.make("PA", op("nothing", "x"), use_id=new_request_id()),
        "no arguments": lambda: WORLD.make("PA", op("transfers", "send"), use_id=new_request_id()),
    }


@pytest.mark.evidence(
    "ACT7", asset="balances", threat="a client forges a transaction", mitigation="members' signatures"
)
async def test_every_malformed_transaction_gets_its_coded_answer_alone_and_in_batches(
    stubs: Stubs, long_run: bool
) -> None:
    kinds = malformed(random.Random(13))
    outcomes: Counter[str] = Counter()
    before = await stubs.balance("KB/0")
    paid = 0
    for kind, make in kinds.items():
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stubs.submit(make())
        reason, _ = told(refused.value)
        assert reason, f"{kind}: {refused.value.code()}: no ErrorInfo"
        outcomes[reason] += 1
        for _ in range(20 if long_run else 2):
            items = [make() for _ in range(QUEUE_MAX // 2)]
            items[7] = WORLD.make("PA", pay("PA/1", "KB/0", 1), use_id=new_request_id())
            request = pb.SubmitBatchRequest(signed_transactions=items)
            answer = await stubs.transactions.SubmitBatch(request, timeout=SECONDS)
            check_clean(str(answer))
            paid += 1
            for position, outcome in enumerate(answer.outcomes):
                code = outcome.receipt.code if outcome.HasField("receipt") else outcome.error.code
                assert (code == 0) == (position == 7), f"{kind}: {outcome}"
                outcomes[outcome.error.name or outcome.receipt.name or "applied"] += 1
    assert not outcomes["INTERNAL"]
    assert not outcomes["CONTRACT_FAULT"]
    assert await stubs.balance("KB/0") == before + paid
    total = outcomes.total()
    print(f"malformed transactions, {len(kinds)} kinds: {total} tried, {total} held: {dict(outcomes)}")


@pytest.mark.evidence(
    "PRT2", asset="availability", threat="more work than fits", mitigation="OVERLOADED at once"
)
async def test_more_than_the_queue_holds_is_refused_with_a_pause_and_reads_go_on(stubs: Stubs) -> None:
    loop = asyncio.get_running_loop()
    offered = 600
    raws = transfers(offered, 9)
    outcomes: Counter[str] = Counter()
    pauses: set[float] = set()
    codes: set[grpc.StatusCode] = set()

    async def submit(raw: bytes) -> None:
        try:
            await stubs.submit(raw)
            outcomes["applied"] += 1
        except grpc.aio.AioRpcError as error:
            reason, pause = told(error)
            codes.add(error.code())
            outcomes[reason] += 1
            pauses.add(pause)

    reads: list[float] = []
    calls = asyncio.gather(*(submit(raw) for raw in raws))
    while not calls.done():
        began = loop.time()
        await stubs.balance("PA/0")
        reads.append(loop.time() - began)
    await calls
    print(
        f"overload: {offered} offered, {dict(outcomes)}; {len(reads)} reads, the slowest {max(reads):.3f} s"
    )
    assert outcomes["OVERLOADED"] > 0
    assert outcomes["applied"] >= QUEUE_MAX
    assert outcomes["applied"] + outcomes["OVERLOADED"] == offered
    assert codes == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert min(pauses) > 0
    assert max(reads) < 5
    answers = [await stubs.submit(raw) for raw in raws[:60]]
    assert {answer.code for answer in answers} == {0}
