"""The benchmark's cases of the doors: what mutual TLS costs, and whether idle streams and half-open
connections cost others anything.

The idle ones live in a process of their own, so that what they cost is the node's and not the load
generator's.
"""

import asyncio
import contextlib
import multiprocessing
import socket
import statistics
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import grpc
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from grpc_health.v1 import health_pb2, health_pb2_grpc

from bench_load import BenchNode, Load, Measured, batched, closed, paced, sign_sends
from node.client.connection import Tls
from node.keys.certificates import BUNDLE, CRL, Authority, Holder, Kind, Role
from node.keys.files import write_file
from node.pb.vostro.ledger.v1 import ledger_pb2, ledger_pb2_grpc
from node.pb.vostro.transaction.v1 import transaction_pb2 as pb
from node.pb.vostro.transaction.v1 import transaction_pb2_grpc

if TYPE_CHECKING:
    from bench import Bench

KEYFILE_COST: Final = 2**14
STREAMS: Final = 1_000
STREAMS_A_CHANNEL: Final = 100
HALF_OPEN: Final = 500
OPENING_SECONDS: Final = 2.0
READY_SECONDS: Final = 60.0
PROMISED_TIMES: Final = 1.5


def make_tls(folder: Path) -> tuple[dict[str, Any], Tls]:
    """An authority in a folder, and what it issued: a node's settings, and a client's files."""
    node, client = folder / "node", folder / "client"
    if not (folder / "made").exists():
        root = Authority.create_root(folder / "top", "bench root", b"bench", cost=KEYFILE_COST)
        issuing = root.create_issuing(folder / "issuing", "bench issuing", b"bench", cost=KEYFILE_COST)
        roles = (Role.READER, Role.SUBMITTER, Role.OPERATOR)
        for place, holder in (
            (node, Holder(Kind.SERVER, "node", ("127.0.0.1",))),
            (client, Holder(Kind.APPLICATION, "bench", (), "PA", roles)),
        ):
            key = ec.generate_private_key(ec.SECP256R1())
            request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
            pem = issuing.issue(request.sign(key, hashes.SHA256()), holder)
            secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            write_file(place.with_suffix(".pem"), pem)
            write_file(place.with_suffix(".key"), secret, private=True)
        lists = b"".join((folder / part / CRL).read_bytes() for part in ("top", "issuing"))
        write_file(folder / "crl.pem", lists)
        (folder / "made").touch()
    bundle = folder / "issuing" / BUNDLE
    settings = {
        "tls_certificate": str(node.with_suffix(".pem")),
        "tls_key": str(node.with_suffix(".key")),
        "tls_ca": str(bundle),
        "tls_crl": str(folder / "crl.pem"),
        "quota_calls": 0,
        "quota_transactions": 0,
        "quota_streams": 2 * STREAMS,
    }
    return settings, Tls(bundle, client.with_suffix(".pem"), client.with_suffix(".key"))


def guarded(node: BenchNode, settings: dict[str, Any], tls: Tls) -> BenchNode:
    """The same directory, behind mutual TLS."""
    made = BenchNode(node.directory, {**node.settings, **settings})
    made.tls = tls
    return made


def mtls(bench: "Bench", home: Path, accounts: int) -> None:
    """Batches of 100 over mutual TLS against plain loopback, turn by turn."""
    settings, tls = make_tls(home / "doors-pki")
    plain = bench.node("small", accounts)
    plain.stop()
    nodes = {"plain": plain, "mtls": guarded(plain, settings, tls)}
    raws = sign_sends(plain, int(22_000 * bench.seconds * 2 * (bench.repeats + 1)), accounts=accounts)
    share, at = len(raws) // (2 * bench.repeats), 0
    rates: dict[str, list[Measured]] = {"plain": [], "mtls": []}

    async def run(node: BenchNode, requests: list[Any]) -> Measured:
        async with Load(node.target, tls=node.tls) as load:
            await closed(load.batch, requests[: len(requests) // 10], 24, bench.seconds)
            return await closed(load.batch, requests[len(requests) // 10 :], 24, bench.seconds)

    for _ in range(bench.repeats):
        for name, node in nodes.items():
            node.start()
            rates[name].append(uvloop.run(run(node, batched(raws[at : at + share], 100))))
            at += share
            node.stop()
    for name, found in rates.items():
        median = sorted(found, key=lambda measured: measured.rate)[len(found) // 2]
        bench.tell(
            f"mtls: {name}", median.rate, "tx/s", median.percentile(0.5), median.percentile(0.99),
            refused=median.refused,
        )  # fmt: skip
    shares = [100 * b.rate / a.rate for a, b in zip(rates["plain"], rates["mtls"], strict=True)]
    bench.tell("mtls: of plain", statistics.median(shares), "percent", 0, 0, rounds=len(shares))


def idle_streams(bench: "Bench", home: Path, accounts: int) -> None:
    """Single transfers of others behind mutual TLS at half load: alone, then beside 1,000 idle streams and
    500 half-open connections.
    """
    settings, tls = make_tls(home / "doors-pki")
    plain = bench.node("small", accounts)
    plain.stop()
    node = guarded(plain, settings, tls)
    raws = sign_sends(plain, int(6_000 * bench.seconds * (bench.repeats + 1)), accounts=accounts)
    requests: Iterator[pb.SubmitRequest] = iter([pb.SubmitRequest(signed_transaction=raw) for raw in raws])
    node.start()

    def take(count: int) -> list[pb.SubmitRequest]:
        return [request for request, _ in zip(requests, range(count), strict=False)]

    async def peak() -> float:
        async with Load(node.target, tls=tls) as load:
            found = await closed(load.single, take(int(1_500 * bench.seconds)), 16, bench.seconds)
            return found.rate

    async def offered(rate: float) -> Measured:
        async with Load(node.target, tls=tls) as load:
            return await paced(load.single, take(int(rate * bench.seconds) + 1), rate, bench.seconds)

    rate = uvloop.run(peak()) / 2
    times: list[float] = []
    for number in range(bench.repeats):
        alone = uvloop.run(offered(rate))
        with idlers(node.target, tls):
            beside = uvloop.run(offered(rate))
        times.append(beside.percentile(0.99) / alone.percentile(0.99))
        for name, found in (("alone", alone), ("beside", beside)):
            bench.tell(
                f"idle-streams: {name}, {number + 1}", found.rate, "tx/s", found.percentile(0.5),
                found.percentile(0.99), refused=found.refused, streams=STREAMS, half_open=HALF_OPEN,
            )  # fmt: skip
    bench.tell("idle-streams: others' p99", statistics.median(times), "times", 0, 0, promise=PROMISED_TIMES)
    node.stop()


# --- the idle ones ----------------------------------------------------------------------------------------


@contextmanager
def idlers(target: str, tls: Tls) -> Iterator[None]:
    """Idle streams and half-open connections from another process, for as long as the block lasts."""
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    process = context.Process(target=_idle, args=(target, tls, ready, done), daemon=True)
    process.start()
    try:
        if not ready.wait(READY_SECONDS):
            raise RuntimeError("the idle streams did not open")
        yield
    finally:
        done.set()
        process.join(READY_SECONDS)
        if process.is_alive():
            process.kill()


def _idle(target: str, tls: Tls, ready: Event, done: Event) -> None:
    asyncio.run(_be_idle(target, tls, ready, done))


async def _be_idle(target: str, tls: Tls, ready: Event, done: Event) -> None:
    channels = [BenchNode.channel(target, tls) for _ in range(STREAMS // STREAMS_A_CHANNEL)]
    await asyncio.gather(*(channel.channel_ready() for channel in channels))
    status = await ledger_pb2_grpc.LedgerServiceStub(channels[0]).GetStatus(ledger_pb2.GetStatusRequest())
    calls = [_opened(channels[n % len(channels)], n, status.height + 1) for n in range(STREAMS)]
    reading = [asyncio.create_task(_read(call)) for call in calls]
    half_open = asyncio.create_task(_keep_half_open(target))
    await asyncio.sleep(OPENING_SECONDS)
    if any(task.done() for task in reading):
        raise RuntimeError("a stream that should be idle has ended")
    ready.set()
    await asyncio.to_thread(done.wait)
    for task in (*reading, half_open):
        task.cancel()
    for channel in channels:
        await channel.close()


def _opened(channel: Any, number: int, height: int) -> Any:
    """A stream on which nothing happens: events of an account that never moves, health, or submissions."""
    if number % 4 == 0:
        health: Any = health_pb2_grpc.HealthStub(channel)
        return health.Watch(health_pb2.HealthCheckRequest())
    if number % 4 == 1:
        return transaction_pb2_grpc.TransactionServiceStub(channel).SubmitStream(_never())
    request = ledger_pb2.StreamEventsRequest(account="PA/nothing")
    getattr(request, "from").height = height
    return ledger_pb2_grpc.LedgerServiceStub(channel).StreamEvents(request)


async def _never() -> AsyncIterator[pb.SubmitStreamRequest]:
    await asyncio.Event().wait()
    yield pb.SubmitStreamRequest()


async def _read(call: Any) -> None:
    with contextlib.suppress(asyncio.CancelledError, grpc.aio.AioRpcError):
        async for _ in call:
            pass


async def _keep_half_open(target: str) -> None:
    """As many connections as there shall be that never begin their handshake; the node ends them, others
    take their place. They begin one after the other, so that they do not all end in one instant either.
    """
    host, _, port = target.rpartition(":")
    loop = asyncio.get_running_loop()

    async def one(number: int) -> None:
        await asyncio.sleep(OPENING_SECONDS * number / HALF_OPEN)
        while True:
            with contextlib.suppress(OSError), socket.socket() as connection:
                connection.settimeout(0)
                await loop.sock_connect(connection, (host, int(port)))
                await loop.sock_recv(connection, 1)
            await asyncio.sleep(0.05)

    await asyncio.gather(*(one(number) for number in range(HALF_OPEN)))
