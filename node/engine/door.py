"""The door of a node: what a client hands in is judged here before any engine orders it.

A transaction that can never be valid, or would be discarded now, is answered without being ordered, and so is
what finds the queue full. Of the rest, the signatures go to the workers, and what they bear out is handed to
the engine as entries. Small requests that come within a millisecond are judged together, and their signatures
travel together: that takes a tenth off what a node spends on a single transfer. What always holds: everything
handed in is answered exactly once, in its caller's order, whatever becomes of the caller; no more is under
way than the queue has room for.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from msgspec import Struct

from node.engine.counters import Counters
from node.engine.engine import Outcome
from node.engine.errors import NodeError
from node.engine.ports import DurableStore, Workers
from node.keys.verify import CachedVerifier
from node.keys.workers import WorkersClosed
from node.ledger.errors import ErrorCode, InvariantViolated, LedgerError, Rejected, StoreFailed
from node.ledger.ledger import Ledger
from node.ledger.ports import Check
from node.ledger.transactions import Candidate

QUEUE_BYTES_MAX: Final = 64 * 1024 * 1024
"""Bytes of transactions accepted and not yet decided; decoded they take several times as much."""

TOGETHER_SECONDS: Final = 0.001
"""How far apart requests are judged; the first after a pause is judged at once."""
TOGETHER_MAX: Final = 64
"""Transactions of a request that is large enough to be judged without waiting for others."""

DECIDED: Final = (LedgerError.WRONG_CHAIN, LedgerError.EXPIRED, LedgerError.REQUEST_ID_SPENT)
"""Answers without a receipt that are final for these bytes (formats.md, "Discarded or decided")."""


@dataclass(slots=True, eq=False)
class Request:
    """One call of ``submit``: what its transactions came to, and how many are still open."""

    outcomes: list[Outcome]
    open: int
    done: "asyncio.Future[list[Outcome]]"
    size: int = 0


class Entry(Struct, frozen=True, gc=False):
    """One transaction under way: accepted, not yet answered."""

    candidate: Candidate
    request: Request
    position: int


Passed = list[tuple[Entry, tuple[Check, ...]]]


class Door:
    """Lets transactions in and answers them. All calls from the event loop's thread."""

    def __init__(
        self,
        ledger: Ledger,
        store: DurableStore,
        verifier: CachedVerifier,
        workers: Workers | None,
        counters: Counters,
        *,
        queue_max: int,
        now_ms: Callable[[], int],
        enter: Callable[[list[Entry]], None],
        drained: Callable[[], None],
    ) -> None:
        """workers: None verifies in the event loop. queue_max: transactions. now_ms: engine time. enter: told
        of entries that may be ordered. drained: told when nothing is under way any more.
        """
        self._ledger = ledger
        self._store = store
        self._verifier = verifier
        self._workers = workers
        self._counters = counters
        self._now_ms = now_ms
        self._enter = enter
        self._drained = drained
        self.queue_max = queue_max
        self.pending = 0
        """Transactions accepted and not yet answered."""
        self._pending_bytes = 0
        self._arrived: deque[tuple[Request, Sequence[bytes]]] = deque()
        self._judged_at = 0.0
        self.height = 0
        """The last durable height, which every answer without a receipt tells."""
        self.refusing: ErrorCode | None = NodeError.STARTING
        """Why nothing is let in now; None when the door is open."""

    def submit(self, items: Sequence[bytes]) -> "asyncio.Future[list[Outcome]]":
        """Let signed transactions in; the future has their outcomes, in order, once all are known."""
        done: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
        if self.refusing:
            done.set_result([Outcome(error=self.refusing, height=self.height)] * len(items))
            return done
        accepted = items[: self._room(items)]
        overloaded = Outcome(error=NodeError.OVERLOADED, height=self.height)
        request = Request([overloaded] * len(items), len(accepted), done)
        self._counters.overloaded += len(items) - len(accepted)
        if not accepted:
            done.set_result(request.outcomes)
            return done
        request.size = sum([len(item) for item in accepted])
        self.pending += len(accepted)
        self._pending_bytes += request.size
        self._arrived.append((request, accepted))
        if len(accepted) >= TOGETHER_MAX:
            done.get_loop().call_soon(self._judge_arrived)
        elif len(self._arrived) == 1:
            done.get_loop().call_at(self._judged_at + TOGETHER_SECONDS, self._judge_arrived)
        return done

    def answer(self, entry: Entry, outcome: Outcome) -> None:
        """An entry's outcome is known."""
        self._settle(entry.request, entry.position, outcome)

    def answer_all(self, entries: Sequence[Entry], error: ErrorCode) -> None:
        """Entries of which the node cannot tell more than this."""
        outcome = Outcome(error=error, height=self.height)
        for entry in entries:
            self._settle(entry.request, entry.position, outcome)

    def refused(self, error: ErrorCode, details: dict[str, str | int]) -> Outcome:
        """The answer to what is not ordered, or was discarded."""
        return Outcome(None, error, details, error in DECIDED, self.height)

    def _room(self, items: Sequence[bytes]) -> int:
        """How many of the items the queue has room for, by number and by bytes."""
        room = max(self.queue_max - self.pending, 0)
        left = QUEUE_BYTES_MAX - self._pending_bytes
        for at, item in enumerate(items[:room]):
            left -= len(item)
            if left < 0:
                return at
        return min(room, len(items))

    def _judge_arrived(self) -> None:
        """Judge what has come, request by request, and ask for the signatures of all that passes."""
        loop = asyncio.get_running_loop()
        self._judged_at = loop.time()
        passed: Passed = []
        try:
            while self._arrived:
                passed += self._judged(*self._arrived.popleft())
        finally:
            if self._arrived:  # one could not be judged; that is no fault of the others
                loop.call_soon(self._judge_arrived)
            self._verify(passed)

    def _judged(self, request: Request, items: Sequence[bytes]) -> Passed:
        try:
            return self._judge(request, items)
        except (StoreFailed, InvariantViolated) as error:
            self._abandon(request, error)
            return []
        except BaseException as error:
            self._abandon(request, error)
            raise

    def _judge(self, request: Request, items: Sequence[bytes]) -> Passed:
        """The items that pass the door, with the signature checks that remain; the others are answered.

        What is dead by time passes, and so does a spent request id: only the next block, behind all that was
        decided before, can tell the first outcome of bytes whose keys or time have ended since. Their
        signatures are checked all the same: other nodes, to whom they may still be alive, hold us to that.
        """
        now = self._now_ms()
        passed: Passed = []
        for position, raw in enumerate(items):
            try:
                entry = Entry(self._ledger.read(raw), request, position)
                passed.append((entry, self._checks(entry.candidate, now)))
            except Rejected as rejected:
                self._settle(request, position, self.refused(rejected.error, rejected.details))
        return passed

    def _checks(self, candidate: Candidate, now: int) -> tuple[Check, ...]:
        """The signature checks that a candidate must pass to be ordered. Raises Rejected."""
        try:
            return self._ledger.check_at_door(candidate, now)
        except Rejected as rejected:
            if rejected.error is LedgerError.EXPIRED or self._is_spent(candidate):
                return self._ledger.check_signed(candidate)
            raise

    def _is_spent(self, candidate: Candidate) -> bool:
        transaction = candidate.transaction
        return self._store.spent(transaction.member, transaction.request_id) is not None

    def _verify(self, passed: Passed) -> None:
        """Ask for the signatures; what is known already, or nobody else verifies, goes on at once."""
        checks = [check for _, asked in passed for check in asked]
        if self._workers and checks:
            verdicts = self._workers.verify(checks)
            verdicts.add_done_callback(partial(self._verified, passed, checks))
        else:
            self._let_in(passed, self._verifier.verify(checks))

    def _verified(
        self, passed: Passed, checks: Sequence[Check], verdicts: "asyncio.Future[list[bool]]"
    ) -> None:
        try:
            answers = verdicts.result()
        except WorkersClosed as error:
            for request in dict.fromkeys([entry.request for entry, _ in passed]):
                self._abandon(request, error)
        else:
            self._verifier.remember(checks, answers)  # for when the block runs
            self._let_in(passed, answers)

    def _let_in(self, passed: Passed, verdicts: Sequence[bool]) -> None:
        """Hand on what its signatures bear out."""
        answers = iter(verdicts)
        entries: list[Entry] = []
        for entry, asked in passed:
            borne_out = [next(answers) for _ in asked]
            if not all(borne_out):
                self.answer(entry, self.refused(LedgerError.BAD_SIGNATURE, {}))
            elif self.refusing is NodeError.STOPPED:
                self.answer(entry, Outcome(error=NodeError.STOPPED, height=self.height))
            else:
                entries.append(entry)
        if entries:
            self._enter(entries)

    def _abandon(self, request: Request, error: BaseException) -> None:
        """Whatever stopped a request before its entries were handed on is the caller's to hear."""
        self.pending -= request.open
        self._pending_bytes -= request.size if request.open else 0
        request.open = 0
        if not request.done.done():
            request.done.set_exception(error)
        self._check_drained()

    def _settle(self, request: Request, position: int, outcome: Outcome) -> None:
        request.outcomes[position] = outcome
        request.open -= 1
        self.pending -= 1
        if not request.open:
            self._pending_bytes -= request.size
            if not request.done.done():  # a caller that went away has cancelled it
                request.done.set_result(request.outcomes)
            self._check_drained()

    def _check_drained(self) -> None:
        if not self.pending:
            self._drained()
