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
import gc
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, TypeVar

import structlog
from msgspec import Struct

from node.engine.counters import Counters
from node.engine.engine import EngineStatus, Outcome
from node.engine.errors import NodeError
from node.engine.kept import kept_receipt
from node.engine.ports import DurableStore, Places, Workers
from node.engine.sequencer import Sequencer
from node.keys.verify import CachedVerifier
from node.keys.workers import WorkersClosed
from node.ledger import codec
from node.ledger.errors import ErrorCode, InvariantViolated, LedgerError, Rejected, StoreFailed
from node.ledger.ledger import Discarded, Finalized, Ledger
from node.ledger.ports import Check
from node.ledger.transactions import Candidate
from node.ledger.types import Block, Receipt

T = TypeVar("T")

RECENT_MAX: Final = 200_000
"""Receipts' places that are kept in memory until the index has them."""
QUEUE_BYTES_MAX: Final = 64 * 1024 * 1024
"""Bytes of transactions accepted and not yet decided; decoded they take several times as much."""
COLLECT_ALL_EVERY: Final = 1_000
"""Blocks between two full collections of garbage; after each of the others only what is new is looked at."""

DECIDED: Final = (LedgerError.WRONG_CHAIN, LedgerError.EXPIRED, LedgerError.REQUEST_ID_SPENT)
"""Answers without a receipt that are final for these bytes (formats.md, "Discarded or decided")."""

log = structlog.get_logger("vostro.engine")


@dataclass(slots=True)
class _Request:
    """One call of ``submit``: what its transactions came to, and how many are still open."""

    outcomes: list[Outcome]
    open: int
    done: asyncio.Future[None]
    size: int = 0


class _Entry(Struct, frozen=True, gc=False):
    """One transaction in the queue."""

    candidate: Candidate
    request: _Request
    position: int


class EmbeddedEngine:
    """Implements engine.Engine."""

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
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        """workers: None verifies in the event loop. index: where receipts stand by transaction
        id. queue_max: transactions.
        """
        self._ledger = ledger
        self._store = store
        self._verifier = verifier
        self._workers = workers
        self._sequencer = sequencer
        self._queue_max = queue_max
        self._index = index
        self._clock_ms = clock_ms
        self._heartbeat = ledger.genesis.limits.heartbeat_ms / 1_000
        self._queue: deque[_Entry] = deque()
        self._pending = self._pending_bytes = 0
        self._work = asyncio.Event()
        self._turn = asyncio.Lock()
        self._moved = asyncio.Event()
        self._durable = ledger.info()
        self._time_ms = self._durable.time_ms
        self._entering: set[asyncio.Task[None]] = set()
        self._recent: dict[bytes, tuple[int, int]] = {}
        self._recent_above = 0
        self._decided = 0
        self._durability: asyncio.Task[None] | None = None
        self._loop: asyncio.Task[None] | None = None
        self._decide = ThreadPoolExecutor(1, "decide")
        self._disk = ThreadPoolExecutor(1, "disk")
        self._refusing: ErrorCode | None = NodeError.STARTING
        self._stopping = False
        self.counters = Counters()
        self.halted = asyncio.Event()
        """Set when the engine has stopped for good; the last alarm says why."""

    # --- life -----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to decide: write genesis where there is no block yet, then open the door. Raises
        SequencerRefused, StoreFailed.
        """
        loop = asyncio.get_running_loop()
        info = self._ledger.info()
        if not info.height and not any(info.app_hash):
            self._sequencer.check_head(0, b"")
            finalized = await loop.run_in_executor(self._decide, self._begin)
            await self._make_durable(finalized, ())
        else:
            self._sequencer.check_head(info.height, info.app_hash)
        self._durable = self._ledger.info()
        self._time_ms = self._durable.time_ms
        self._recent_above = self._durable.height
        self._refusing = None
        self._loop = loop.create_task(self._run(), name="sequencer")
        self._loop.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Take nothing new, decide what was accepted, make it durable."""
        if self._refusing is not NodeError.STOPPED:
            self._refusing = NodeError.STARTING
        self._stopping = True
        self._work.set()
        if self._loop:
            await asyncio.wait([self._loop])  # what ended it has been told by ``halt``
        if self._durability:
            await asyncio.wait([self._durability])
        self._decide.shutdown()
        self._disk.shutdown()
        self._sequencer.close()

    def status(self) -> EngineStatus:
        """The last durable block and the queue."""
        return EngineStatus(
            "embedded",
            self._refusing is None,
            self._durable.height,
            self._time_ms,
            self._durable.app_hash,
            self._pending,
            self._queue_max,
            tuple(self.counters.alarms),
        )

    def alarm(self, text: str) -> None:
        """Tell operators: a log line, a metric, a line in ``vostro doctor``."""
        self.counters.alarm_count += 1
        self.counters.alarms.append(text.partition("\n")[0])
        log.error("alarm", text=text)

    # --- the door -------------------------------------------------------------------------------------------

    async def submit(self, items: Sequence[bytes]) -> list[Outcome]:
        """Decide signed transactions; outcomes in the same order, each after its block is durable."""
        if self._refusing:
            return [Outcome(error=self._refusing, height=self._durable.height)] * len(items)
        accepted = items[: self._room(items)]
        request = _Request(
            [_NO_OUTCOME] * len(items), len(accepted), asyncio.get_running_loop().create_future()
        )
        for position in range(len(accepted), len(items)):
            request.outcomes[position] = Outcome(error=NodeError.OVERLOADED, height=self._durable.height)
        self.counters.overloaded += len(items) - len(accepted)
        if not accepted:
            return request.outcomes
        request.size = sum([len(item) for item in accepted])
        self._pending += len(accepted)
        self._pending_bytes += request.size
        entering = asyncio.create_task(self._enter(request, accepted))
        self._entering.add(entering)  # a caller that goes away does not take what it handed in with it
        entering.add_done_callback(self._entering.discard)
        await request.done
        return request.outcomes

    def _room(self, items: Sequence[bytes]) -> int:
        """How many of the items the queue has room for, by number and by bytes."""
        room = max(self._queue_max - self._pending, 0)
        left = QUEUE_BYTES_MAX - self._pending_bytes
        for at, item in enumerate(items[:room]):
            left -= len(item)
            if left < 0:
                return at
        return min(room, len(items))

    async def _enter(self, request: _Request, items: Sequence[bytes]) -> None:
        """Bring items into the queue; what stops that is the caller's to hear."""
        try:
            await self._enqueue(request, self._judge(request, items))
        except (StoreFailed, InvariantViolated, WorkersClosed) as error:
            self._abandon(request, error)
        except BaseException as error:
            self._abandon(request, error)
            raise

    def _abandon(self, request: _Request, error: BaseException) -> None:
        self._pending -= request.open
        self._pending_bytes -= request.size if request.open else 0
        self._work.set()
        if not request.done.done():
            request.done.set_exception(error)

    def _judge(self, request: _Request, items: Sequence[bytes]) -> list[tuple[_Entry, tuple[Check, ...]]]:
        """The items that pass the door, with the signature checks that remain; the others are answered.

        What is dead by time passes, and so does a spent request id: only the next block, behind all that was
        decided before, can tell the first outcome of bytes whose keys or time have ended since.
        """
        now = self._now_ms()
        passed: list[tuple[_Entry, tuple[Check, ...]]] = []
        for position, raw in enumerate(items):
            entry = None
            try:
                entry = _Entry(self._ledger.read(raw), request, position)
                passed.append((entry, self._ledger.check_at_door(entry.candidate, now)))
            except Rejected as rejected:
                if entry and (rejected.error is LedgerError.EXPIRED or self._is_spent(entry.candidate)):
                    passed.append((entry, ()))
                else:
                    self._settle(request, position, self._refused(rejected.error, rejected.details))
        return passed

    def _is_spent(self, candidate: Candidate) -> bool:
        transaction = candidate.transaction
        return self._store.spent(transaction.member, transaction.request_id) is not None

    async def _enqueue(self, request: _Request, passed: list[tuple[_Entry, tuple[Check, ...]]]) -> None:
        """Queue what its signatures bear out. The verdicts are kept for when the block runs."""
        checks = [check for _, asked in passed for check in asked]
        if self._workers:
            verdicts = await self._workers.verify(checks)
            self._verifier.remember(checks, verdicts)
        else:
            verdicts = self._verifier.verify(checks)
        answers = iter(verdicts)
        for entry, asked in passed:
            borne_out = [next(answers) for _ in asked]
            if not all(borne_out):
                self._answer(entry, self._refused(LedgerError.BAD_SIGNATURE, {}))
            elif self._refusing is NodeError.STOPPED:
                self._answer(entry, Outcome(error=NodeError.STOPPED, height=self._durable.height))
            else:
                self._queue.append(entry)
        self._work.set()

    # --- the sequencer --------------------------------------------------------------------------------------

    async def _run(self) -> None:
        """Decide block after block, until stopped and nothing is left, or halted."""
        while not self.halted.is_set() and (self._pending or not self._stopping):
            await self._wait_for_work()
            self._check_disk()
            async with self._turn:
                await self._next_block()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A task of the engine is over: whatever it met that it did not expect halts the node."""
        if not task.cancelled() and (error := task.exception()):
            self.halt(error)

    def _now_ms(self) -> int:
        """Engine time: the clock, but never before a time that was told."""
        return max(self._clock_ms(), self._ledger.time_ms)

    async def _wait_for_work(self) -> None:
        """Until something waits, the heartbeat is due, or all is told and the engine stops."""
        if self._queue or (self._stopping and not self._pending):
            return
        self._work.clear()
        try:
            async with asyncio.timeout(self._heartbeat):
                await self._work.wait()
        except TimeoutError:
            return

    async def _next_block(self) -> None:
        """Decide what waits, up to a block's bounds; hand it to the disk once the block before is there."""
        entries = self._take()
        try:
            decide = asyncio.get_running_loop().run_in_executor(self._decide, self._decide_block, entries)
            finalized = await decide
            for text in finalized.alarms:
                self.alarm(text)
            if self._durability:
                await self._durability
        except BaseException:
            self._answer_unknown(entries)
            raise
        self._durability = asyncio.create_task(self._make_durable(finalized, entries), name="durability")
        self._durability.add_done_callback(self._ended)

    def _take(self) -> tuple[_Entry, ...]:
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

    def _decide_block(self, entries: tuple[_Entry, ...]) -> Finalized:
        """Thread *decide*: run a block, certify and commit it."""
        began = time.perf_counter()
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
        self._decided += 1
        gc.collect(2 if self._decided % COLLECT_ALL_EVERY == 0 else 0)
        self.counters.decide_seconds += time.perf_counter() - began
        return finalized

    async def _make_durable(self, finalized: Finalized, entries: tuple[_Entry, ...]) -> None:
        """Sync a block, put its certificate on record, then tell."""
        try:
            if finalized.record:
                await asyncio.get_running_loop().run_in_executor(self._disk, self._sync, finalized)
                self._durable = self._durable._replace(
                    height=finalized.height, time_ms=finalized.time_ms, app_hash=finalized.app_hash
                )
                self._ledger.publish()
                self.counters.blocks += 1
            decided = zip(entries, finalized.outcomes, strict=True)
            answers = [(entry, self._told(entry, outcome)) for entry, outcome in decided]
        except BaseException:
            self._answer_unknown(entries)
            raise
        for entry, answer in answers:
            self._answer(entry, answer)
        self._time_ms = finalized.time_ms  # not before: who sees it takes what has no receipt for dead
        if finalized.record:
            moved, self._moved = self._moved, asyncio.Event()
            moved.set()

    def _sync(self, finalized: Finalized) -> None:
        """Thread *disk*: the commit point, then the record of the certificate."""
        began = time.perf_counter()
        self._store.sync()
        self._sequencer.record(finalized.height, finalized.app_hash)
        self.counters.sync_seconds += time.perf_counter() - began

    def _check_disk(self) -> None:
        """Refuse new work before the log cannot be written; take it again when there is room. Raises
        StoreFailed where the store will never write again.
        """
        try:
            self._store.check_space()
        except StoreFailed as error:
            if error.final:
                raise
            if self._refusing is None:
                self._refusing = NodeError.DISK_LOW
                self.alarm(str(error))
        else:
            if self._refusing is NodeError.DISK_LOW:
                self._refusing = None

    def halt(self, error: BaseException) -> None:
        """Never again: answer everybody that waits, and let the node stop. The first reason is told."""
        if self.halted.is_set():
            return
        self._refusing = NodeError.STOPPED
        self.halted.set()
        self.alarm(f"the node halts: {type(error).__name__}: {error}")
        while self._queue:
            self._answer(self._queue.popleft(), Outcome(error=NodeError.STOPPED, height=self._durable.height))
        self._work.set()

    # --- telling --------------------------------------------------------------------------------------------

    def _told(self, entry: _Entry, outcome: Receipt | Discarded) -> Outcome:
        """What became of an item of a durable block; of bytes that were decided before, what did then."""
        if isinstance(outcome, Receipt):
            self._remember(outcome)
            if outcome.code:
                self.counters.refused += 1
            else:
                self.counters.applied += 1
            return Outcome(outcome)
        self.counters.discarded += 1
        if outcome.error in (LedgerError.DUPLICATE, LedgerError.EXPIRED):
            candidate, spent = entry.candidate, outcome.spent
            same = spent is not None and spent.tx_id == candidate.tx_id
            place = (spent.height, spent.index) if spent and same else self.find(candidate.tx_id)
            if place and (data := kept_receipt(self._store, *place)):
                return Outcome(_decode_receipt(data))
            if not self._knows_outcome_of(candidate):
                return Outcome(error=NodeError.UNKNOWN_OUTCOME, height=self._durable.height)
        return self._refused(outcome.error, outcome.details)

    def _knows_outcome_of(self, candidate: Candidate) -> bool:
        """Whether a transaction without a known receipt was never decided: its request id would still be
        remembered, or ``find`` has every receipt there is.
        """
        if candidate.created_ms + self._ledger.genesis.limits.lifetime_ms >= self._durable.time_ms:
            return True
        return self._index is not None and self._index.height >= self._recent_above

    def _refused(self, error: ErrorCode, details: dict[str, str | int]) -> Outcome:
        return Outcome(None, error, details, error in DECIDED, self._durable.height)

    def _answer_unknown(self, entries: Sequence[_Entry]) -> None:
        """A block whose end nobody saw: after a restart the same bytes get the first outcome."""
        for entry in entries:
            self._answer(entry, Outcome(error=NodeError.UNKNOWN_OUTCOME, height=self._durable.height))

    def _remember(self, receipt: Receipt) -> None:
        recent = self._recent
        recent[receipt.tx_id] = (receipt.height, receipt.index)
        if len(recent) > RECENT_MAX:
            self._recent_above, _ = recent.pop(next(iter(recent)))

    def _answer(self, entry: _Entry, outcome: Outcome) -> None:
        self._settle(entry.request, entry.position, outcome)

    def _settle(self, request: _Request, position: int, outcome: Outcome) -> None:
        request.outcomes[position] = outcome
        request.open -= 1
        self._pending -= 1
        if not request.open:
            self._pending_bytes -= request.size
            if not request.done.done():
                request.done.set_result(None)
        if self._stopping and not self._pending:
            self._work.set()

    # --- reading --------------------------------------------------------------------------------------------

    def find(self, tx_id: bytes) -> tuple[int, int] | None:
        """(height, index) of a decided transaction's receipt."""
        place = self._recent.get(tx_id)
        if place is None and self._index and (found := self._index.transaction(tx_id)):
            return found.height, found.index
        return place

    async def heights(self, after: int) -> AsyncIterator[int]:
        """Heights of headers above ``after``, each once it is durable."""
        while True:
            moved = self._moved
            for record in self._store.headers(after + 1, 100):
                if record.height > self._durable.height:
                    break  # synced, and its certificate not yet on record
                after = record.height
                yield after
            if after >= self._durable.height:
                await moved.wait()

    async def between_blocks(self, read: Callable[[], T]) -> T:
        """Run ``read`` while no block is in progress and what is committed is durable."""
        async with self._turn:
            if self._durability:
                await self._durability
            return await asyncio.get_running_loop().run_in_executor(self._decide, read)


_NO_OUTCOME: Final = Outcome(error=NodeError.UNKNOWN_OUTCOME)

_decode_receipt: Callable[[bytes], Receipt] = codec.trusted_decoder(Receipt)
