"""What every engine does around the order that it decides: the door, the last durable block, waking whoever
follows the head, alarms, and the one way to halt.

An engine is a RunningLedger that says how transactions are ordered. What always holds: the ledger is touched
by the thread *decide* alone, between blocks under ``_turn``; whatever an engine's task meets that it did not
expect halts the node, and then everybody who waits is answered.
"""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import structlog

from node.engine.counters import Counters
from node.engine.door import Door, Entry
from node.engine.engine import EngineStatus, Outcome
from node.engine.errors import NodeError
from node.engine.ports import DurableStore, Places, Workers
from node.engine.telling import Telling
from node.keys.verify import CachedVerifier
from node.ledger.errors import StoreFailed
from node.ledger.ledger import Discarded, Finalized, Ledger
from node.ledger.types import Receipt

T = TypeVar("T")

HEADERS_PAGE: Final = 100

log = structlog.get_logger("vostro.engine")


def now_ms() -> int:
    """The machine's clock."""
    return time.time_ns() // 1_000_000


class RunningLedger(ABC):
    """A ledger, its store and its door, in a running node. Implements engine.Engine but for the order."""

    name: str

    def __init__(
        self,
        ledger: Ledger,
        store: DurableStore,
        verifier: CachedVerifier,
        workers: Workers | None,
        *,
        queue_max: int,
        index: Places | None = None,
        clock_ms: Callable[[], int] = now_ms,
    ) -> None:
        """workers: None verifies in the event loop. index: where receipts stand by transaction id.
        queue_max: transactions.
        """
        self._ledger = ledger
        self._store = store
        self._clock_ms = clock_ms
        self.counters = Counters()
        self._door = Door(
            ledger,
            store,
            verifier,
            workers,
            self.counters,
            queue_max=queue_max,
            now_ms=self._now_ms,
            enter=self._enter,
            drained=self._drained,
        )
        self._telling = Telling(ledger, store, index, self._door, self.counters)
        self.find = self._telling.find
        self._durable = ledger.info()
        self._time_ms = self._durable.time_ms
        self._moved = asyncio.Event()
        self._begun_at = 0
        """The height of a snapshot that was taken in while the engine ran: no blocks below it are here."""
        self._closing = False
        self._turn = asyncio.Lock()
        self._decide = ThreadPoolExecutor(1, "decide")
        self.halted = asyncio.Event()
        """Set when the engine has stopped for good."""
        self.halt_reason = ""
        """Why, for operators."""

    # --- what an engine adds --------------------------------------------------------------------------------

    @abstractmethod
    async def stop(self) -> None:
        """Take nothing new, decide what was accepted, make it durable, end."""

    @abstractmethod
    def _enter(self, entries: list[Entry]) -> None:
        """Take entries that the door let in."""

    @abstractmethod
    def _drained(self) -> None:
        """Nothing is under way any more."""

    @abstractmethod
    def _waiting(self) -> Sequence[Entry]:
        """Give up the entries that no block has taken: the engine halts."""

    @abstractmethod
    async def _all_durable(self) -> None:
        """Until what is committed is durable. Called between blocks."""

    # --- what all engines answer ----------------------------------------------------------------------------

    def submit(self, items: Sequence[bytes]) -> "asyncio.Future[list[Outcome]]":
        """Decide signed transactions; outcomes in the same order, each after its block is durable."""
        return self._door.submit(items)

    def status(self) -> EngineStatus:
        """The last durable block and the queue."""
        return EngineStatus(
            self.name,
            self._door.refusing is None,
            self._durable.height,
            self._time_ms,
            self._durable.app_hash,
            self._door.pending,
            self._door.queue_max,
            tuple(self.counters.alarms),
        )

    def alarm(self, text: str) -> None:
        """Tell operators: a log line, a metric, a line in ``vostro doctor``."""
        self.counters.alarm_count += 1
        self.counters.alarms.append(text.partition("\n")[0])
        log.error("alarm", text=text)

    def halt(self, error: BaseException) -> None:
        """Never again: answer everybody that waits, and let the node stop. The first reason is told."""
        if self.halted.is_set():
            return
        self._door.refusing = NodeError.STOPPED
        self.halt_reason = f"the node halts: {type(error).__name__}: {error}"
        self.halted.set()
        self.alarm(self.halt_reason)
        self._door.answer_all(self._waiting(), NodeError.STOPPED)

    async def heights(self, after: int) -> AsyncIterator[int]:
        """Heights of headers above ``after``, each once it is durable."""
        while True:
            moved = self._moved
            for record in self._store.headers(after + 1, HEADERS_PAGE):
                if record.height > self._durable.height:
                    break  # synced, and its certificate not yet on record
                after = record.height
                yield after
            if after >= self._durable.height:
                await moved.wait()
                after = max(after, self._begun_at)

    async def between_blocks(self, read: Callable[[], T]) -> T:
        """Run ``read`` while no block is in progress and what is committed is durable."""
        async with self._turn:
            await self._all_durable()
            return await self._on_decide(read)

    # --- for engines ----------------------------------------------------------------------------------------

    async def _on_decide(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run a function on the thread *decide*."""
        return await asyncio.get_running_loop().run_in_executor(self._decide, function, *arguments)

    def _now_ms(self) -> int:
        """Engine time: the clock, but never before a time that was told."""
        return max(self._clock_ms(), self._ledger.time_ms)

    def _open(self) -> None:
        """The ledger stands where it will go on: open the door."""
        self._durable = self._ledger.info()
        self._door.height = self._durable.height
        self._time_ms = self._ledger.time_ms
        self._door.refusing = None

    def _close(self) -> None:
        """Take nothing new, ever again."""
        self._closing = True
        if self._door.refusing is not NodeError.STOPPED:
            self._door.refusing = NodeError.STARTING

    def _ended(self, task: "asyncio.Task[None]") -> None:
        """A task of the engine is over: whatever it met that it did not expect halts the node."""
        if not task.cancelled() and (error := task.exception()):
            self.halt(error)

    def _published(self, finalized: Finalized) -> None:
        """A block is durable: let readers and the door see it."""
        if finalized.record:
            self._durable = self._durable._replace(
                height=finalized.height, time_ms=finalized.time_ms, app_hash=finalized.app_hash
            )
            self._door.height = finalized.height
            self._ledger.publish()
            self.counters.blocks += 1

    def _answers(
        self, entries: Sequence[Entry], outcomes: Sequence[Receipt | Discarded]
    ) -> list[tuple[Entry, Outcome]]:
        """What to tell of a durable block, as many outcomes as entries. Nobody is told yet."""
        told, count, time_ms = self._telling.told, self._telling.count, self._durable.time_ms
        answers = []
        for entry, outcome in zip(entries, outcomes, strict=True):
            count(outcome)
            answers.append((entry, told(entry.candidate, outcome, time_ms)))
        return answers

    def _tell(self, answers: Sequence[tuple[Entry, Outcome]], finalized: Finalized) -> None:
        """Answer whoever waits for a durable block, then wake whoever follows the head."""
        for entry, outcome in answers:
            self._door.answer(entry, outcome)
        self._time_ms = finalized.time_ms  # not before: who sees it takes what has no receipt for dead
        if finalized.record:
            moved, self._moved = self._moved, asyncio.Event()
            moved.set()

    def _check_disk(self) -> None:
        """Refuse new work before the log cannot be written; take it again when there is room. Raises
        StoreFailed where the store will never write again.
        """
        door = self._door
        try:
            self._store.check_space()
        except StoreFailed as error:
            if error.final:
                raise
            if door.refusing is None:
                door.refusing = NodeError.DISK_LOW
                self.alarm(str(error))
        else:
            if door.refusing is NodeError.DISK_LOW:
                door.refusing = None
