"""Engines to test, one factory each, over a consortium made without them, and faults for their parts.

A ``Bench`` is what a node is made of, below the services: store, ledger, sequencer, engine. It can be opened
again over the same store or over a copy of its directory, with a clock that the test moves, and with a store
that fails when it is told to.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any, Final

from contracts import assemble
from node.engine.embedded import EmbeddedEngine
from node.engine.engine import Outcome
from node.engine.sequencer import Sequencer
from node.keys.verify import CachedVerifier, InternationalVerifier
from node.ledger.errors import ErrorCode, StoreFailed
from node.ledger.hashing import INTERNATIONAL
from node.ledger.ledger import Ledger
from node.ledger.ports import Check
from node.ledger.types import BlockRecord, Limits
from node.storage.memory import MemoryStore
from node.storage.sharded import Budget, ShardedStore
from tests.kit import Consortium, make_genesis, officer, pay

SECONDS: Final = 20.0
"""How long a test waits for what should happen at once."""
LIMITS: Final = Limits(
    lifetime_ms=600_000, heartbeat_ms=20, block_work_max=200_000, block_bytes_max=512 * 1024
)
SMALL: Final = Budget(
    cache_bytes=1 << 20, write_buffer_bytes=1 << 20, log_write_buffer_bytes=1 << 18, reserve_bytes=0
)

world = Consortium(make_genesis(limits=LIMITS))
"""The banks whose transactions the tests sign. Engines start over copies of its blocks; it never moves."""
BLOCKS: Final[tuple[BlockRecord, ...]] = tuple(world.blocks())
NOW_MS: Final = world.time_ms + 1_000


@dataclass
class Clock:
    """Engine time: stands still until a test moves it."""

    now_ms: int = NOW_MS

    def __call__(self) -> int:
        return self.now_ms


class FaultyMemoryStore(MemoryStore):
    """A store in memory with the rest of what an engine asks, and faults on demand."""

    def __init__(self) -> None:
        super().__init__(lifetime_ms=LIMITS.lifetime_ms)
        self.faults = Faults()

    def check_space(self) -> None:
        self.faults.check_space()

    def sync(self) -> int:
        self.faults.before_sync()
        height = super().sync()
        self.faults.behind_sync()
        return height


class FaultyShardedStore(ShardedStore):
    """The store on disk, with faults on demand."""

    faults: "Faults"

    def check_space(self) -> None:
        self.faults.check_space()
        super().check_space()

    def sync(self) -> int:
        self.faults.before_sync()
        height = super().sync()
        self.faults.behind_sync()
        return height


@dataclass
class Faults:
    """What goes wrong. low: little space; failing: the next sync fails; gate: syncs wait until it is set, and
    ``after_sync`` when they are done; calls: what was called, in order.
    """

    low: bool = False
    failing: bool = False
    gate: Event | None = None
    after_sync: Event | None = None
    space_checks: int = 0
    calls: list[str] = field(default_factory=list)

    def check_space(self) -> None:
        self.space_checks += 1
        if self.low:
            raise StoreFailed("little space is left")

    def before_sync(self) -> None:
        if self.gate:
            self.gate.wait(SECONDS)
        if self.failing:
            raise StoreFailed("the disk failed")
        self.calls.append("sync")

    def behind_sync(self) -> None:
        if self.after_sync:
            self.after_sync.wait(SECONDS)


@dataclass
class Bench:
    """One engine and what it stands on."""

    folder: Path
    store: Any
    ledger: Ledger
    engine: Any
    faults: Faults
    clock: Clock
    sequencer: Sequencer
    stopped: bool = False

    async def submit(self, *items: bytes) -> list[Outcome]:
        """Outcomes, within the time that a test waits."""
        return await asyncio.wait_for(self.engine.submit(items), SECONDS)

    async def stop(self) -> None:
        """End the engine."""
        self.stopped = True
        await asyncio.wait_for(self.engine.stop(), SECONDS)

    async def one(self, raw: bytes) -> Outcome:
        (outcome,) = await self.submit(raw)
        return outcome

    async def close(self) -> None:
        """Stop, unless the test has, and close the store."""
        if not self.stopped:
            await self.stop()
        if isinstance(self.store, ShardedStore):
            self.store.close()

    def blocks(self) -> list[BlockRecord]:
        """Every durable block."""
        return list(self.store.blocks())


class SlowWorkers:
    """Workers that answer when they may."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()

    def verify(self, checks: Sequence[Check], *, until_false: bool = False) -> "asyncio.Future[list[bool]]":
        assert not until_false, "the door wants every answer"
        return asyncio.ensure_future(self._verify(checks))

    async def _verify(self, checks: Sequence[Check]) -> list[bool]:
        await self.may_answer.wait()
        return InternationalVerifier().verify(checks)


class Factory:
    """Makes benches of one engine over one kind of store. New engines join the list FACTORIES."""

    def __init__(self, name: str, *, on_disk: bool) -> None:
        self.name = name
        self.on_disk = on_disk

    async def make(self, folder: Path, *, again: Bench | None = None, **options: Any) -> Bench:
        """A started engine in ``folder``; ``again``: over what a bench left, which is closed or crashed."""
        store = self._store(folder, again)
        clock = options.pop("clock", None) or (again.clock if again else Clock())
        verifier = CachedVerifier(InternationalVerifier(), 10_000)
        contracts = options.pop("contracts", assemble)
        ledger = Ledger(world.genesis, contracts, store, verifier, records=1_000)
        record = folder / "last-signed"
        if not record.exists():
            Sequencer.create_record(record, world.chain_id)
        sequencer = Sequencer(officer("sequencer"), world.chain_id, record)
        defaults: dict[str, Any] = {"queue_max": 1_000, "clock_ms": clock, "overlap_min": 1}
        workers, start = options.pop("workers", None), options.pop("start", True)
        engine = EmbeddedEngine(ledger, store, verifier, workers, sequencer, **{**defaults, **options})
        bench = Bench(folder, store, ledger, engine, store.faults, clock, sequencer)
        if start:
            await asyncio.wait_for(engine.start(), SECONDS)
        return bench

    def _store(self, folder: Path, again: Bench | None) -> Any:
        if not self.on_disk:
            if again:
                again.store.faults = Faults()
                return again.store
            store = FaultyMemoryStore()
            fill(store)
            return store
        path = folder / "data"
        if not path.exists():
            with ShardedStore.create(path, INTERNATIONAL, shards=2, budget=SMALL) as made:
                fill(made)
        opened = FaultyShardedStore.open(path, INTERNATIONAL, budget=SMALL, lifetime_ms=LIMITS.lifetime_ms)
        opened.faults = Faults()
        return opened


def fill(store: Any) -> None:
    """The consortium's blocks."""
    for block in BLOCKS:
        store.stage(block)
    store.sync()


def crashed_copy(bench: Bench, folder: Path) -> Path:
    """What a crash at this moment leaves, in another folder."""
    shutil.copytree(bench.folder, folder)
    return folder


FACTORIES: Final = (Factory("embedded-memory", on_disk=False), Factory("embedded-disk", on_disk=True))
DURABLE: Final = tuple(factory for factory in FACTORIES if factory.on_disk)


def transfer(amount: int = 1, **options: Any) -> bytes:
    """PA pays KB."""
    return world.make("PA", pay("PA/main", "KB/main", amount), **options)


def is_applied(outcome: Outcome) -> bool:
    return outcome.receipt is not None and outcome.receipt.code == 0


def is_error(outcome: Outcome, error: ErrorCode, *, decided: bool) -> bool:
    """No receipt, for this reason, final or not."""
    return outcome.receipt is None and outcome.error is error and outcome.decided is decided


async def until(true: Callable[[], bool]) -> None:
    """Return once ``true()``; fail when it takes too long."""
    async with asyncio.timeout(SECONDS):
        while not true():  # noqa: ASYNC110 - the conditions are of several parts that tell nobody
            await asyncio.sleep(0.001)


@asynccontextmanager
async def running(
    factory: Factory, folder: Path, *, again: Bench | None = None, **options: Any
) -> AsyncIterator[Bench]:
    """A started engine in a folder, stopped and closed behind the block; ``again``: over what a bench left
    there.
    """
    bench = await factory.make(folder / "node", again=again, **options)
    try:
        yield bench
    finally:
        for gate in (bench.faults.gate, bench.faults.after_sync):
            if gate:
                gate.set()
        await bench.close()
