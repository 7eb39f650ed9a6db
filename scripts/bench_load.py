"""What the benchmark's cases share: a real node in a process of its own, signed transactions made
beforehand, and load.

The node is `vostro run` on loopback with the default configuration but for what a case names. The load
generator is this process: it sends what was signed before the clock started, and a transaction counts when
its receipt, applied, has come back.
"""

import asyncio
import itertools
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final, Self

import grpc

import environment
from node.client import signing
from node.client.connection import Tls
from node.engine.sequencer import Sequencer
from node.genesis_file import load_genesis, make_genesis, save_genesis
from node.keys.keystore import save_signer
from node.keys.signer import Ed25519Signer, SoftwareSigner, from_secret
from node.keys.verify import InternationalVerifier
from node.ledger.genesis import chain_id
from node.ledger.hashing import INTERNATIONAL, SUITES, Suite
from node.ledger.ports import Check
from node.ledger.types import AdministratorKey, Authority
from node.pb.vostro.ledger.v1 import ledger_pb2, ledger_pb2_grpc
from node.pb.vostro.transaction.v1 import transaction_pb2 as pb
from node.pb.vostro.transaction.v1 import transaction_pb2_grpc

BANK: Final = Ed25519Signer(bytes([3]) * 32)
KEYFILE_COST: Final = 2**14
START_SECONDS: Final = 180.0
CHANNELS: Final = 4
OPTIONS: Final = [("grpc.max_send_message_length", 16 << 20), ("grpc.max_receive_message_length", 16 << 20)]

op = signing.operation


@dataclass(frozen=True, slots=True)
class Cast:
    """Who signs on a benchmark's chain, and the chain's cryptography."""

    suite: Suite
    administrator: SoftwareSigner
    sequencer: SoftwareSigner
    bank: SoftwareSigner


@cache
def cast_of(suite_name: str) -> Cast:
    """The cast of a suite: the same keys in every run."""
    suite = SUITES[suite_name]
    made = [from_secret(suite.algorithms[0], bytes([number]) * 32) for number in (1, 2, 3)]
    return Cast(suite, *made)


@dataclass(slots=True)
class Measured:
    """What one run of load came to. seconds: wall clock; latencies: of calls, in seconds; applied: units of
    value.
    """

    applied: int
    seconds: float
    latencies: list[float] = field(default_factory=list)
    refused: int = 0
    total: int = 0
    """Applied in all runs of which this is the median, the warm-up included."""

    @property
    def rate(self) -> float:
        """Applied units a second."""
        return self.applied / self.seconds if self.seconds else 0.0

    def percentile(self, share: float) -> float:
        """A latency in milliseconds."""
        ordered = sorted(self.latencies)
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1_000 if ordered else 0.0


class BenchNode:
    """A node made for a benchmark, in a directory that can be kept between runs."""

    def __init__(
        self, directory: Path, settings: dict[str, Any] | None = None, suite: str = INTERNATIONAL.name
    ) -> None:
        self.directory = directory
        self.settings = settings or {}
        self.tls: Tls | None = None
        self.cast = cast_of(suite)
        self.process: subprocess.Popen[bytes] | None = None
        self.target = ""
        self.metrics = ""
        self.admits = True
        """Whether the set-up admits its bank; in a consortium it is a founder."""
        self.chain: bytes

    @property
    def is_made(self) -> bool:
        """Whether the directory holds a finished set-up."""
        return (self.directory / "made").exists()

    def make(self) -> None:
        """Write genesis, keys and configuration into an empty directory."""
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        cast = self.cast
        genesis = make_genesis(
            "bench",
            [AdministratorKey(cast.administrator.algorithm, cast.administrator.public_key, "bench")],
            [Authority(cast.sequencer.algorithm, cast.sequencer.public_key, 1)],
            time_ms=now_ms(),
            suite=cast.suite.name,
        )
        save_genesis(self.directory / "genesis.json", genesis)
        (self.directory / "passphrase").write_text("bench\n")
        (self.directory / "passphrase").chmod(0o600)
        save_signer(self.directory / "sequencer.json", cast.sequencer, b"bench", cost=KEYFILE_COST)
        Sequencer.create_record(self.directory / "last-signed", chain_id(genesis))

    def start(self) -> float:
        """Start the node and wait until it serves; the seconds that took. Raises RuntimeError when it does
        not.
        """
        port = free_port()
        self.target, self.metrics = f"127.0.0.1:{port}", f"127.0.0.1:{free_port()}"
        self.chain = chain_id(load_genesis(self.directory / "genesis.json"))
        values = {
            "data_dir": "data",
            "genesis": "genesis.json",
            "sequencer_key": "sequencer.json",
            "sequencer_passphrase_file": "passphrase",
            "last_signed": "last-signed",
            "listen": self.target,
            "metrics_listen": self.metrics,
            "log_level": "error",
            **self.settings,
        }
        lines = [f"{name} = {json.dumps(value)}" for name, value in values.items()]
        (self.directory / "node.toml").write_text("\n".join(lines) + "\n")
        log = (self.directory / "log").open("ab")
        vostro = environment.ROOT / ".venv" / "bin" / "vostro"
        began = time.perf_counter()
        self.process = subprocess.Popen(
            [str(vostro), "run", "--config", str(self.directory / "node.toml")], stdout=log, stderr=log
        )
        asyncio.run(self._ready(began + START_SECONDS))
        return time.perf_counter() - began

    async def _ready(self, deadline: float) -> None:
        async with self.channel(self.target, self.tls) as channel:
            stub = ledger_pb2_grpc.LedgerServiceStub(channel)
            while time.perf_counter() < deadline:
                if self.process is None or self.process.poll() is not None:
                    raise RuntimeError(f"the node ended: {(self.directory / 'log').read_text()[-2000:]}")
                try:
                    status = await stub.GetStatus(ledger_pb2.GetStatusRequest(), timeout=1)
                except grpc.aio.AioRpcError:
                    await asyncio.sleep(0.02)
                    continue
                if status.serving:
                    return
        raise RuntimeError("the node does not serve")

    @staticmethod
    def channel(target: str, tls: Tls | None) -> grpc.aio.Channel:
        """A connection of its own: a subchannel pool of its own each, so that two are not one after all."""
        options = [*OPTIONS, ("grpc.use_local_subchannel_pool", 1)]
        if tls is None:
            return grpc.aio.insecure_channel(target, options=options)
        files = (tls.ca.read_bytes(), tls.key.read_bytes(), tls.certificate.read_bytes())
        return grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(*files), options=options)

    def stop(self) -> None:
        """End the node in order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the node as a power cut would."""
        self._end(signal.SIGKILL)

    def _end(self, number: int) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(timeout=START_SECONDS)
        self.process = None

    def resident_mib(self) -> float:
        """Resident memory of the node and its workers."""
        pids = [self.process.pid, *children_of(self.process.pid)] if self.process else []
        return sum(resident_kib(pid) for pid in pids) / 1024

    def figures(self) -> dict[str, float]:
        """Seconds that the node has spent deciding and syncing, from its metrics."""
        page = urllib.request.urlopen(f"http://{self.metrics}/metrics", timeout=10).read().decode()
        lines = dict(line.split(" ", 1) for line in page.splitlines() if not line.startswith("#"))
        return {name: float(lines[f"vostro_{name}_seconds_total"]) for name in ("decide", "sync")}

    def disk_bytes(self) -> int:
        """Bytes in the data directory."""
        return sum(f.stat().st_size for f in (self.directory / "data").rglob("*") if f.is_file())

    def transaction(self, signer: SoftwareSigner, member: str, *operations: Any) -> bytes:
        """A signed transaction of this chain."""
        return signing.sign(
            self.cast.suite, self.chain, signing.transaction(self.chain, member, operations), [signer]
        )


def children_of(pid: int) -> list[int]:
    """Process ids of the children of a process."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def resident_kib(pid: int) -> int:
    """Resident memory of one process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")), 0)


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    import socket  # noqa: PLC0415 - only here

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def now_ms() -> int:
    """Unix time."""
    return time.time_ns() // 1_000_000


# --- making transactions
# --------------------------------------------------------------------------------------


def _sign_many(task: tuple[str, bytes, int, int, int, int]) -> list[bytes]:
    suite, chain, seed, count, accounts, operations = task
    cast = cast_of(suite)
    chance = random.Random(seed)  # noqa: S311 - a workload
    made = []
    half = accounts // 2
    for number in range(count):
        calls = []
        for _ in range(operations):
            source, destination = chance.randrange(half), half + chance.randrange(half)
            amount, reference = chance.randrange(1, 1_000), f"E{seed}-{number}"
            between = (f"PA/{source}", f"PA/{destination}")
            calls.append(op("transfers", "send", *between, "CZK", amount, reference, b"", "SALA"))
        body = signing.transaction(chain, "PA", calls)
        made.append(signing.sign(cast.suite, chain, body, [cast.bank]))
    return made


def sign_sends(node: BenchNode, count: int, *, accounts: int, operations: int = 1) -> list[bytes]:
    """``count`` signed transactions of single transfers between accounts drawn uniformly, made on all
    cores.
    """
    share = max(count // 16, 1)
    shares = [min(share, count - at) for at in range(0, count, share)]
    seeds = [next(_SEEDS) for _ in shares]
    suite = node.cast.suite.name
    tasks = [
        (suite, node.chain, seed, n, accounts, operations) for seed, n in zip(seeds, shares, strict=True)
    ]
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        return [raw for made in pool.map(_sign_many, tasks) for raw in made]


_SEEDS: Final = itertools.count(1)


def batched(raws: Sequence[bytes], size: int) -> list[pb.SubmitBatchRequest]:
    """Requests of ``size`` transactions each."""
    return [
        pb.SubmitBatchRequest(signed_transactions=raws[at : at + size]) for at in range(0, len(raws), size)
    ]


# --- load
# -----------------------------------------------------------------------------------------------------


class Load:
    """Calls from this process to one node, or to several in turn."""

    def __init__(self, *targets: str, tls: Tls | None = None) -> None:
        self.channels = [BenchNode.channel(targets[at % len(targets)], tls) for at in range(CHANNELS)]
        self.stubs = [transaction_pb2_grpc.TransactionServiceStub(channel) for channel in self.channels]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for channel in self.channels:
            await channel.close()

    async def batch(self, request: pb.SubmitBatchRequest, number: int) -> tuple[int, int]:
        """(applied, not applied) of one batch."""
        answer = await self.stubs[number % CHANNELS].SubmitBatch(request, timeout=60)
        applied = sum(
            [
                outcome.WhichOneof("outcome") == "receipt" and not outcome.receipt.code
                for outcome in answer.outcomes
            ]
        )
        return applied, len(answer.outcomes) - applied

    async def single(self, request: pb.SubmitRequest, number: int) -> tuple[int, int]:
        """(applied, not applied) of one transaction."""
        await self.stubs[number % CHANNELS].Submit(request, timeout=60)
        return 1, 0


Send = Callable[[Any, int], Awaitable[tuple[int, int]]]


async def closed(send: Send, requests: Sequence[Any], concurrency: int, seconds: float) -> Measured:
    """Keep ``concurrency`` calls under way until the requests or the seconds are over."""
    result = Measured(0, 0.0)
    waiting: Iterator[tuple[int, Any]] = iter(enumerate(requests))
    began = time.perf_counter()

    async def client() -> None:
        for number, request in waiting:
            sent = time.perf_counter()
            applied, refused = await send(request, number)
            ended = time.perf_counter()
            result.latencies.append(ended - sent)
            result.applied += applied
            result.refused += refused
            if ended - began > seconds:
                return

    await asyncio.gather(*[client() for _ in range(concurrency)])
    result.seconds = time.perf_counter() - began
    return result


async def paced(send: Send, requests: Sequence[Any], calls_a_second: float, seconds: float) -> Measured:
    """Offer calls at a rate, whatever becomes of them; latency counts from the moment a call was due."""
    result = Measured(0, 0.0)
    tasks: list[asyncio.Task[None]] = []
    began = time.perf_counter()

    async def call(number: int, request: Any, due: float) -> None:
        applied, refused = await send(request, number)
        if not refused:
            result.latencies.append(time.perf_counter() - due)
        result.applied += applied
        result.refused += refused

    for number, request in enumerate(requests):
        due = began + number / calls_a_second
        if due - began > seconds:
            break
        delay = due - time.perf_counter()
        if delay > 0:
            await asyncio.sleep(delay)
        tasks.append(asyncio.create_task(call(number, request, due)))
    await asyncio.gather(*tasks)
    result.seconds = time.perf_counter() - began
    return result


# --- set-up
# ---------------------------------------------------------------------------------------------------


async def populate(node: BenchNode, accounts: int, tell: Callable[[str], None]) -> None:
    """A bank, a currency, and ``accounts`` funded accounts of the bank; the funds come out of PA/treasury
    by ``send_many``.
    """
    issuer = ("members", "admit", "PA", "Bench Bank", "", ("issuer", "participant"))
    administrator, bank = node.cast.administrator, node.cast.bank
    key = (bank.algorithm, bank.public_key, "bench", ("*",))
    async with Load(node.target) as load:

        async def must(*raws: bytes) -> None:
            applied, refused = await load.batch(pb.SubmitBatchRequest(signed_transactions=raws), 0)
            if refused:
                raise RuntimeError(f"set-up: {applied} applied, {refused} refused")

        if node.admits:
            await must(node.transaction(administrator, "ADMIN", op(*issuer, (key,))))
        await must(
            node.transaction(
                bank, "PA",
                op("assets", "register", "CZK", "currency", 2, 10**18, bytes(32)),
                op("assets", "open_accounts", ("PA/treasury",)),
                op("assets", "issue", "CZK", "PA/treasury", 10**17, "funds"),
            )
        )  # fmt: skip
        for at in range(0, accounts, 1_000):
            names = [f"PA/{number}" for number in range(at, min(at + 1_000, accounts))]
            legs = [(name, 10**9, f"F{name[3:]}") for name in names]
            await must(
                node.transaction(bank, "PA", op("assets", "open_accounts", names)),
            )
            await must(
                node.transaction(
                    bank,
                    "PA",
                    op("transfers", "send_many", "PA/treasury", "CZK", 10**9 * len(legs), legs, b"", ""),
                )
            )
            if at and at % 100_000 == 0:
                tell(f"{at:,} accounts")
    (node.directory / "made").touch()


def _verify_rate(_: int) -> float:
    check = Check("ed25519", BANK.public_key, b"message" * 10, BANK.sign(b"message" * 10))
    verifier = InternationalVerifier()
    began = time.perf_counter()
    verifier.verify([check] * 10_000)
    return 10_000 / (time.perf_counter() - began)


def calibration() -> dict[str, float]:
    """What the machine does by itself now: Ed25519 verifications a second on one core and on all cores at
    once, synced 4 KiB writes a second.
    """
    verify = _verify_rate(0)
    cores = os.cpu_count() or 1
    with multiprocessing.get_context("spawn").Pool(cores) as pool:
        pool.map(_verify_rate, range(cores))
        together = sum(pool.map(_verify_rate, range(cores), chunksize=1))
    probe = environment.ROOT / ".bench-fsync"
    file = os.open(probe, os.O_WRONLY | os.O_CREAT, 0o600)
    began = time.perf_counter()
    for _ in range(300):
        os.pwrite(file, bytes(4096), 0)
        os.fdatasync(file)
    sync = 300 / (time.perf_counter() - began)
    os.close(file)
    probe.unlink()
    return {
        "verify_per_s": round(verify),
        "verify_per_s_all_cores": round(together),
        "fsync_per_s": round(sync),
        "cores": os.cpu_count() or 0,
        "python": sys.version_info.minor,
    }
