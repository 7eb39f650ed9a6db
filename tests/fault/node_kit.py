"""A real node for the fault tests: made in this process in a moment, then run, loaded and mistreated.

``WORLD`` is a small ledger (CNB, PA and KB, with money) whose blocks are in the directory before the first
start. ``Load`` keeps account of every transaction: what was acknowledged, with which receipt, and what is
still open and is sent again. ``checked`` is the judgement over a directory that nobody has open.
"""

import asyncio
import json
import random
import shutil
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc

from node.cli.directory import write_secret
from node.client.signing import new_request_id
from node.demo.child import NodeProcess, free_port
from node.engine.sequencer import Sequencer
from node.genesis_file import save_genesis
from node.keys.keystore import COST_MIN, save_signer
from node.ledger import codec
from node.ledger.hashing import INTERNATIONAL
from node.ledger.types import Receipt
from node.pb.vostro.fund.v1 import fund_pb2
from node.pb.vostro.fund.v1.fund_pb2_grpc import FundServiceStub
from node.pb.vostro.ledger.v1 import ledger_pb2
from node.pb.vostro.ledger.v1.ledger_pb2_grpc import LedgerServiceStub
from node.pb.vostro.transaction.v1 import transaction_pb2 as pb
from node.pb.vostro.transaction.v1.transaction_pb2_grpc import TransactionServiceStub
from node.storage.sharded import ShardedStore
from tests.checker import Checked, check_ledger
from tests.kit import World, make_genesis, officer, op, pay, register

SECONDS: Final = 60.0
"""How long a test waits for what should take a moment."""
START_BALANCE: Final = 100_000_000
ACCOUNTS: Final = 20
SETTINGS: Final[dict[str, Any]] = {
    "shards": 2,
    "verify_workers": 0,
    "leveldb_mb": 16,
    "leaf_cache_mb": 8,
    "disk_reserve_mb": 8,
    "log_level": "warning",
}
OPTIONS: Final = (("grpc.max_send_message_length", 32 << 20), ("grpc.max_receive_message_length", 32 << 20))

_decode_receipt: Final[Callable[[bytes], Receipt]] = codec.decoder(Receipt)


def make_world() -> World:
    """PA pays from ACCOUNTS accounts to as many of KB; the chain began a few minutes ago."""
    world = World(make_genesis(time_ms=time.time_ns() // 1_000_000 - 300_000))
    for member, role in (("CNB", "issuer"), ("PA", "participant"), ("KB", "participant")):
        world.admit(member, role)
    world.apply("CNB", register("CZK", cap=10**15))
    for bank in ("PA", "KB"):
        names = tuple(f"{bank}/{number}" for number in range(ACCOUNTS))
        world.apply(bank, op("assets", "open_accounts", names))
    issues = [op("assets", "issue", "CZK", f"PA/{number}", START_BALANCE, "") for number in range(ACCOUNTS)]
    world.apply("CNB", *issues)
    return world


WORLD: Final = make_world()
BLOCKS: Final = tuple(WORLD.blocks())


def transfers(count: int, seed: int = 0) -> list[bytes]:
    """Signed transfers of 1 each, made now."""
    chance = random.Random(seed)
    made = []
    for _ in range(count):
        source, destination = (f"{bank}/{chance.randrange(ACCOUNTS)}" for bank in ("PA", "KB"))
        made.append(WORLD.make("PA", pay(source, destination, 1), use_id=new_request_id()))
    return made


@dataclass
class NodeFolder:
    """A node's directory, with the paths that ``vostro init`` would choose."""

    path: Path
    settings: dict[str, Any] = field(default_factory=dict)
    target: str = ""

    def __post_init__(self) -> None:
        self.target = self.target or f"127.0.0.1:{free_port()}"
        self.process = NodeProcess(self.config, self.target, self.path / "log")

    @property
    def config(self) -> Path:
        return self.path / "node.toml"

    @property
    def data(self) -> Path:
        return self.path / "data"

    def make(self) -> "NodeFolder":
        """Everything that a first start needs, and the world's blocks."""
        self.path.mkdir(parents=True, exist_ok=True)
        save_genesis(self.path / "genesis.json", WORLD.genesis)
        write_secret(self.path / "passphrase", b"only for a test")
        key = self.path / "sequencer.json"
        save_signer(key, officer("sequencer"), b"only for a test", cost=COST_MIN)
        Sequencer.create_record(self.path / "last-signed", WORLD.chain_id)
        document = codec.encode(WORLD.genesis)
        with ShardedStore.create(self.data, INTERNATIONAL, shards=2, genesis=document) as store:
            for block in BLOCKS:
                store.stage(block)
            store.sync()
        self.configure()
        return self

    def configure(self, **settings: Any) -> None:
        """Write node.toml; ``settings`` besides those of the folder."""
        self.settings |= settings
        values: dict[str, Any] = {
            "data_dir": "data",
            "genesis": "genesis.json",
            "sequencer_key": "sequencer.json",
            "sequencer_passphrase_file": "passphrase",
            "last_signed": "last-signed",
            "listen": self.target,
            **SETTINGS,
            **self.settings,
        }
        lines = [f"{name} = {json.dumps(value)}\n" for name, value in values.items()]
        self.config.write_text("".join(lines))

    def copy(self, path: Path) -> "NodeFolder":
        """The same node elsewhere, on another port."""
        shutil.copytree(self.path, path)
        other = NodeFolder(path, dict(self.settings))
        other.configure()
        return other

    def start(self) -> None:
        """Start the node and wait until it serves."""
        self.process.start()
        self.process.wait_ready(SECONDS)

    @contextmanager
    def running(self) -> Iterator["NodeFolder"]:
        """The node serves inside the block; behind it, it is gone, whatever the test did."""
        try:
            self.start()
            yield self
        finally:
            self.process.kill()

    def end(self) -> int:
        """Wait until a node that cannot go on has ended by itself; its exit code."""
        return self.process._process.wait(SECONDS) if self.process._process else 0

    def log(self) -> str:
        """All that the node wrote."""
        return (self.path / "log").read_text(errors="replace") if (self.path / "log").exists() else ""


class Stubs:
    """What tests call, over one channel."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        stub_channel: Any = channel
        self.channel = channel
        self.transactions = TransactionServiceStub(stub_channel)
        self.chain = LedgerServiceStub(stub_channel)
        self.funds = FundServiceStub(stub_channel)

    async def status(self) -> Any:
        """GetStatus."""
        return await self.chain.GetStatus(ledger_pb2.GetStatusRequest(), timeout=SECONDS)

    async def balance(self, account: str) -> int:
        """Posted CZK."""
        request = fund_pb2.GetBalanceRequest(account=account, asset="CZK")
        return int((await self.funds.GetBalance(request, timeout=SECONDS)).balance.posted)

    async def submit(self, raw: bytes) -> Receipt:
        """The receipt of a transaction that must be decided."""
        request = pb.SubmitRequest(signed_transaction=raw)
        answer = await self.transactions.Submit(request, timeout=SECONDS, wait_for_ready=True)
        return _decode_receipt(answer.receipt.encoded)


@asynccontextmanager
async def connected(folder: NodeFolder) -> AsyncIterator[Stubs]:
    """Stubs of a node; the channel finds it again after a restart."""
    options = (*OPTIONS, ("grpc.max_reconnect_backoff_ms", 100), ("grpc.initial_reconnect_backoff_ms", 20))
    async with grpc.aio.insecure_channel(folder.target, options=options) as channel:
        yield Stubs(channel)


class Load:
    """Transactions sent in batches by a few callers at once, each again until it is decided."""

    def __init__(self, raws: list[bytes], batch: int = 20) -> None:
        self.open = deque(raws)
        self.total = len(raws)
        self.acknowledged: dict[bytes, bytes] = {}
        self.codes: dict[str, int] = {}
        self.resent = 0
        self._batch = batch

    async def run(self, stubs: Stubs, callers: int = 4) -> None:
        """Send until all is acknowledged, or cancelled."""
        await asyncio.gather(*(self._call(stubs) for _ in range(callers)))

    async def _call(self, stubs: Stubs) -> None:
        while self.open:
            batch = [self.open.popleft() for _ in range(min(self._batch, len(self.open)))]
            request = pb.SubmitBatchRequest(signed_transactions=batch)
            try:
                answer = await stubs.transactions.SubmitBatch(request, timeout=SECONDS)
            except grpc.aio.AioRpcError as error:
                self._again(batch, error.code().name)
                await asyncio.sleep(0.02)  # a node that is away refuses at once
            except asyncio.CancelledError:
                self._again(batch, "cancelled")
                raise
            else:
                for raw, outcome in zip(batch, answer.outcomes, strict=True):
                    if outcome.HasField("receipt"):
                        self.acknowledged[raw] = outcome.receipt.encoded
                    else:
                        assert not outcome.error.decided, outcome
                        self._again([raw], outcome.error.name)

    def _again(self, batch: list[bytes], code: str) -> None:
        self.codes[code] = self.codes.get(code, 0) + len(batch)
        self.resent += len(batch)
        self.open.extend(batch)

    async def until_acknowledged(self, count: int) -> None:
        """Return once so many are acknowledged, or nothing is left to send."""
        await self.until(lambda: len(self.acknowledged) >= min(count, self.total))

    async def until(self, true: Callable[[], bool]) -> None:
        """Return once ``true()``."""
        async with asyncio.timeout(SECONDS):
            while not true():  # noqa: ASYNC110 - the conditions are of several parts that tell nobody
                await asyncio.sleep(0.002)


@asynccontextmanager
async def under_load(stubs: Stubs, load: Load, callers: int = 4) -> AsyncIterator["asyncio.Task[None]"]:
    """The load runs beside the block, and no longer."""
    task = asyncio.create_task(load.run(stubs, callers))
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def checked(folder: NodeFolder, load: Load) -> Checked:
    """I1 to I7 and I9 on the directory, and I4: every acknowledged receipt stands where it says."""
    with ShardedStore.open(folder.data, INTERNATIONAL) as store:
        result = check_ledger(store.blocks(), WORLD.genesis)
        for encoded in load.acknowledged.values():
            receipt = _decode_receipt(encoded)
            assert receipt.code == 0
            assert store.receipt(receipt.height, receipt.index) == encoded
        decided = [body for block in store.blocks(BLOCKS[-1].height + 1) for body in block.bodies if body]
    assert len(decided) == len(set(decided))
    assert load.acknowledged.keys() <= set(decided)
    return result
