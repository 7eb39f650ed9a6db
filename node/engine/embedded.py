"""The default engine: one sequencer inside the node decides the order.

It is crash-safe and tamper-evident. It is NOT Byzantine fault tolerant: whoever runs the node decides what is
ordered and when; receipts, and whatever backups members take, are what keeps that honest.

A transaction's way: ``submit`` judges it at the door and asks the workers for its signatures; the queue;
``_decide_block`` runs a block of whatever waits (thread *decide*); ``_make_durable`` syncs it and records the
certificate (thread *disk*), while the next block already runs; then, and only then, its outcome is told. So
an idle node answers at once, and a busy one fills its blocks.

What always holds: ``decide`` alone runs blocks and commits them, ``disk`` alone syncs, the event loop alone
tells; a full queue answers OVERLOADED at once; nothing is told that a crash could undo.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from node.engine.door import Entry
from node.engine.errors import NodeError
from node.engine.ports import DurableStore, Places, Workers
from node.engine.running import RunningLedger, now_ms
from node.engine.sequencer import Sequencer
from node.keys.verify import CachedVerifier
from node.ledger.ledger import Finalized, Ledger
from node.ledger.types import Block

OVERLAP_MIN: Final = 100
"""Transactions that make it worth running the next block while this one is synced; fewer gather meanwhile."""
GATHER_SECONDS_EACH: Final = 0.000_3
GATHER_SECONDS_MAX: Final = 0.02
"""How long a block waits for whoever was answered last, since they are likely to come again: so much for each
of them and of those that were under way meanwhile.
"""
GATHER_SHARE: Final = 0.75
"""Of those that were answered so many come again meanwhile, or it was waited in vain."""
GATHER_AGAIN: Final = 16
"""Blocks that do not wait after one that waited in vain."""


class EmbeddedEngine(RunningLedger):
    """Implements engine.Engine."""

    name = "embedded"

    def __init__(
        self,
        ledger: Ledger,
        store: DurableStore,
        verifier: CachedVerifier,
        workers: Workers | None,
        sequencer: Sequencer,
        *,
        queue_max: int,
        index: Places | None = None,
        clock_ms: Callable[[], int] = now_ms,
        overlap_min: int = OVERLAP_MIN,
    ) -> None:
        """As RunningLedger; sequencer: certifies headers. overlap_min: how many transactions must wait for
        the next block to run while this one is synced.
        """
        super().__init__(
            ledger, store, verifier, workers, queue_max=queue_max, index=index, clock_ms=clock_ms
        )
        self._sequencer = sequencer
        self._overlap_min = overlap_min
        self._heartbeat = ledger.genesis.limits.heartbeat_ms / 1_000
        self._queue: deque[Entry] = deque()
        self._work = asyncio.Event()
        self._likely = 0
        """Transactions that were under way when the last block was told, and those that it told of."""
        self._told = 0
        """Transactions that the last block told of."""
        self._unlikely = 0
        """Blocks that still do not wait for anybody."""
        self._durability: asyncio.Task[None] | None = None
        self._loop: asyncio.Task[None] | None = None
        self._disk = ThreadPoolExecutor(1, "disk")
        self._stopping = False

    # --- life -----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to decide: write genesis where there is no block yet, then open the door. Raises
        SequencerRefused, StoreFailed.
        """
        self._sequencer.check_authority(self._ledger.standing.authority)
        info = self._ledger.info()
        if not info.height and not any(info.app_hash):
            self._sequencer.check_head(0, b"")
            await self._make_durable(await self._on_decide(self._begin), ())
        else:
            self._sequencer.check_head(info.height, info.app_hash)
            if self._sequencer.last.height < info.height:  # a crash came between the log and the record
                self._sequencer.record(info.height, info.app_hash)
        self._open()
        self._loop = asyncio.create_task(self._run(), name="sequencer")
        self._loop.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Take nothing new, decide what was accepted, make it durable."""
        self._close()
        self._stopping = True
        self._work.set()
        if self._loop:
            await asyncio.wait([self._loop])  # what ended it has been told by ``halt``
        if self._durability:
            await asyncio.wait([self._durability])
        self._decide.shutdown()
        self._disk.shutdown()
        self._sequencer.close()

    def _enter(self, entries: list[Entry]) -> None:
        self._queue.extend(entries)
        self._work.set()

    def _drained(self) -> None:
        if self._stopping:
            self._work.set()

    def _waiting(self) -> Sequence[Entry]:
        entries = tuple(self._queue)
        self._queue.clear()
        self._work.set()
        return entries

    # --- the sequencer --------------------------------------------------------------------------------------

    async def _run(self) -> None:
        """Decide block after block, until stopped and nothing is left, or halted."""
        while not self.halted.is_set() and (self._door.pending or not self._stopping):
            await self._wait_for_work()
            self._check_disk()
            async with self._turn:
                await self._next_block()

    async def _wait_for_work(self) -> None:
        """Until something waits, the heartbeat is due, or all is told and the engine stops."""
        if self._queue or (self._stopping and not self._door.pending):
            return
        self._work.clear()
        try:
            async with asyncio.timeout(self._heartbeat):
                await self._work.wait()
        except TimeoutError:
            return

    async def _next_block(self) -> None:
        """Decide what waits, up to a block's bounds; hand it to the disk once the block before is there."""
        if self._durability and len(self._queue) < self._overlap_min:
            await self._durability
            await self._gather()
        entries = self._take()
        try:
            finalized = await self._on_decide(self._decide_block, entries)
            for text in finalized.alarms:
                self.alarm(text)
            await self._all_durable()
        except BaseException:
            self._door.answer_all(entries, NodeError.UNKNOWN_OUTCOME)  # after a restart, the first outcome
            raise
        self._durability = asyncio.create_task(self._make_durable(finalized, entries), name="durability")
        self._durability.add_done_callback(self._ended)

    async def _gather(self) -> None:
        """Wait a little for more, where more is likely: fewer and larger blocks serve many callers sooner.
        Where too few came, as callers do who do not wait for answers, the next blocks do not wait.
        """
        likely, told, before = self._likely, self._told, len(self._queue)
        if self._unlikely:
            self._unlikely -= 1
            return
        try:
            async with asyncio.timeout(min(likely * GATHER_SECONDS_EACH, GATHER_SECONDS_MAX)):
                while len(self._queue) < likely:
                    self._work.clear()
                    await self._work.wait()
        except TimeoutError:
            if len(self._queue) - before < GATHER_SHARE * told:
                self._unlikely = GATHER_AGAIN

    async def _all_durable(self) -> None:
        if self._durability:
            await self._durability

    def _take(self) -> tuple[Entry, ...]:
        """From the queue's front, what one block may hold."""
        limits = self._ledger.genesis.limits
        work, size, entries = limits.block_work_max, limits.block_bytes_max, []
        while self._queue:
            candidate = self._queue[0].candidate
            work -= candidate.work
            size -= len(candidate.raw)
            if work < 0 or size < 0:
                break
            entries.append(self._queue.popleft())
        return tuple(entries)

    def _begin(self) -> Finalized:
        finalized = self._ledger.init_chain()
        self._ledger.commit(self._sequencer.certify_genesis(finalized.app_hash))
        return finalized

    def _decide_block(self, entries: tuple[Entry, ...]) -> Finalized:
        """Thread *decide*: run a block, certify and commit it."""
        began = time.perf_counter()
        self._sequencer.check_authority(self._ledger.standing.authority)
        block = Block(
            self._ledger.info().height + 1,
            self._now_ms(),
            tuple([entry.candidate for entry in entries]),
        )
        finalized = self._ledger.finalize_block(block)
        certificate = (
            self._sequencer.certify(finalized.height, finalized.app_hash) if finalized.record else b""
        )
        self._ledger.commit(certificate)
        self.counters.decide_seconds += time.perf_counter() - began
        return finalized

    async def _make_durable(self, finalized: Finalized, entries: tuple[Entry, ...]) -> None:
        """Sync a block, put its certificate on record, then tell."""
        try:
            if finalized.record:
                await asyncio.get_running_loop().run_in_executor(self._disk, self._sync, finalized)
            self._published(finalized)
            answers = self._answers(entries, finalized.outcomes)
        except BaseException:
            self._door.answer_all(entries, NodeError.UNKNOWN_OUTCOME)
            raise
        self._tell(answers, finalized)
        self._told = len(entries)
        self._likely = self._door.pending + self._told

    def _sync(self, finalized: Finalized) -> None:
        """Thread *disk*: the commit point, then the record of the certificate."""
        began = time.perf_counter()
        self._store.sync()
        self._sequencer.record(finalized.height, finalized.app_hash)
        self.counters.sync_seconds += time.perf_counter() - began
