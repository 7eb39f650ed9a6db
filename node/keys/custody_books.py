"""The custody books: what became of every request, in the audit log first and then in the queue.

One decision at a time: a line of the log, synced; the request's file, synced; then the answer. So after a
crash at most the last line tells of something that the queue does not know. A decision of a person is then
carried out from its line, which says all of it; what the node itself was about to do is declared void and
done again. Bytes are sent only behind a line that says so: a signature that is declared void was never sent.

What always holds: the file of a request carries the sequence of the last line about it, so that a file that
is missing, or an old one that was put back, is found when the books are opened, and then they stay shut.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from node.keys.audit import AuditLog
from node.keys.custody import (
    COUNTED,
    CustodyError,
    Request,
    cancelled,
    expired,
    rejected,
    with_approval,
)
from node.keys.custody_policy import WINDOW_HOURS_MAX, Person, Policy, Spent, Sums
from node.keys.custody_queue import Queue, QueueDamaged
from node.keys.custody_sums import Entry, RunningSum
from node.keys.signer import Signer
from node.ledger.errors import Rejected

WAITING_MAX: Final = 10_000
WAITING: Final = "waiting"
SHARE: Final = 10
"""One maker's requests take at most one part of so many of the places."""
FORGOTTEN_MAX: Final = 1_000
"""How many requests one line forgets, so that it stays a line that can be read again."""
KEPT_MS: Final = 30 * 86_400_000
"""How long a request that has ended is kept; the log keeps its lines for ever."""
WINDOW_MS: Final = WINDOW_HOURS_MAX * 3_600_000


class BookSums(Sums):
    """Sums that follow what becomes of requests."""

    def __init__(self, policy: Policy) -> None:
        """Nothing was signed yet."""
        super().__init__(policy.document.rule)
        self._counted: dict[bytes, list[tuple[RunningSum, Entry]]] = {}

    def note(self, request: Request) -> None:
        """Count a request from its signature on, and no more once it is known that no money moved."""
        known = self._counted.get(request.id)
        if known is None and request.status in COUNTED:
            spent = [Spent(request.signed_ms, facts) for facts in request.facts]
            self._counted[request.id] = [place for each in spent for place in self.add(each)]
        elif known and request.status not in COUNTED:
            for running, entry in self._counted.pop(request.id):
                running.strike(entry)


class BooksShut(Exception):
    """A decision could not be written whole. What it came to is found when the books are opened again."""


class Books:
    """The requests of one node, by id, and how they change. One process, one thread at a time."""

    def __init__(self, folder: Path, root: Signer, chain_id: bytes, time_ms: int) -> None:
        """Open what is in a folder, and complete what a crash interrupted. Raises AuditDamaged, QueueDamaged,
        KeystoreError, OSError.
        """
        self.is_shut = False
        self._queue = Queue(folder, root, chain_id)
        self._waiting: dict[bytes, Request] = {}
        self.audit = AuditLog(folder, root)
        try:
            self.requests = self._queue.load()
            self._waiting.update((each.id, each) for each in self.requests.values() if each.status == WAITING)
            if self.audit.torn:
                self.audit.append("torn", time_ms, bytes=self.audit.torn)
            self._recover(time_ms)
            self._compare(folder)
        except BaseException:
            self.audit.close()
            raise

    def close(self) -> None:
        """Close the log."""
        self.audit.close()

    def record(self, kind: str, time_ms: int, request: Request, **fields: Any) -> Request:
        """A decision about a request: the line, then what it tells of. Raises OSError and KeystoreError, and
        from then on BooksShut.
        """
        with self._writing():
            sequence = self.audit.append(kind, time_ms, request=request.id.hex(), **fields)
            return self._put(replace(request, sequence=sequence))

    def note(self, kind: str, time_ms: int, **fields: Any) -> int:
        """A line about no request's state. Raises as ``record``."""
        with self._writing():
            return self.audit.append(kind, time_ms, **fields)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        if self.is_shut:
            raise BooksShut("custody's files could not be written: mend that and start the node again")
        self.is_shut = True
        yield
        self.is_shut = False

    def waiting(self) -> list[Request]:
        """Requests that wait for approvals."""
        return list(self._waiting.values())

    def check_room(self, maker: Person) -> None:
        """Whether one more may wait. Raises Rejected TOO_MANY_WAITING, TOO_MANY_OF_MAKER."""
        if len(self._waiting) >= WAITING_MAX:
            raise Rejected(CustodyError.TOO_MANY_WAITING)
        most, waiting = WAITING_MAX // SHARE, self._waiting.values()
        if len(waiting) >= most and sum(each.maker.key == maker.key for each in waiting) >= most:
            raise Rejected(CustodyError.TOO_MANY_OF_MAKER, most=most)

    def unsettled(self) -> list[Request]:
        """Requests that are signed and whose outcome is not known."""
        return [request for request in self.requests.values() if request.status == "signed"]

    def sums(self, policy: Policy, time_ms: int) -> "BookSums":
        """What was signed within the longest window, money that may have moved, as the policy sums it up."""
        sums = BookSums(policy)
        for request in self.requests.values():
            if request.signed_ms > time_ms - WINDOW_MS:
                sums.note(request)
        return sums

    def forget_old(self, time_ms: int) -> int:
        """Remove requests that ended long ago; how many. Raises as ``record``."""
        old = [
            request.id
            for request in self.requests.values()
            if not request.is_open and request.closed_ms < time_ms - KEPT_MS
        ]
        for start in range(0, len(old), FORGOTTEN_MAX):
            part = old[start : start + FORGOTTEN_MAX]
            with self._writing():
                self.audit.append("forgotten", time_ms, requests=[each.hex() for each in part])
                self._forget(part)
        return len(old)

    def _forget(self, old: Collection[bytes]) -> None:
        for request_id in old:
            self.requests.pop(request_id, None)
            self._queue.remove(request_id)

    def _put(self, request: Request) -> Request:
        self._queue.put(request)
        self.requests[request.id] = request
        if request.status == WAITING:
            self._waiting[request.id] = request
        else:
            self._waiting.pop(request.id, None)
        return request

    # --- after a crash --------------------------------------------------------------------------------------

    def _recover(self, time_ms: int) -> None:
        """Carry out the last line, or declare it void, if the queue does not know of it."""
        line = self.audit.last
        if line.get("kind") == "forgotten":
            self._forget([bytes.fromhex(each) for each in line["requests"]])
        if "request" not in line or line.get("gone"):
            return
        request_id = bytes.fromhex(line["request"])
        known = self.requests.get(request_id)
        if known and known.sequence >= line["sequence"]:
            return
        if (known.sequence if known else 0) != self.audit.before_last:
            return  # no crash leaves this behind: ``_compare`` tells
        done = self._carried_out(known, line) if known else None
        if known and done:
            self._put(replace(done, sequence=line["sequence"]))
            return
        of = {"of": line["sequence"], "before": known.sequence if known else 0, "gone": known is None}
        sequence = self.audit.append("void", time_ms, request=request_id.hex(), **of)
        if known:
            self._put(replace(known, sequence=sequence))

    def _carried_out(self, request: Request, line: dict[str, Any]) -> Request | None:
        """The request after a person's decision, or its expiry, as the line tells it; None for what the node
        itself was about to do.
        """
        time_ms = line["time_ms"]
        roles, path = frozenset(line.get("roles", ())), tuple(line.get("path", ()))
        person = Person(line.get("by", ""), roles, line.get("certificate", ""), path)
        named_hash = bytes.fromhex(line.get("content_hash", ""))
        try:
            match line["kind"]:
                case "approval":
                    return with_approval(request, person, named_hash, time_ms)
                case "rejection":
                    return rejected(request, person, named_hash, "", time_ms)
                case "cancellation":
                    return cancelled(request, person, time_ms)
                case "expiry":
                    return expired(request, time_ms)
                case "void" | "submission":
                    return request
                case _:
                    return None
        except Rejected:
            return None

    def _compare(self, folder: Path) -> None:
        """Raises QueueDamaged where a request's file is not the newest that the log tells of."""
        for named, sequence in self.audit.last_of.items():
            request = self.requests.get(bytes.fromhex(named))
            found = request.sequence if request else 0
            if found != sequence:
                state = f"of line {found}" if request else "missing"
                raise QueueDamaged(
                    f"{folder}: request {named} is {state}, but line {sequence} of the log tells of it: "
                    "files were removed, or are not of one time"
                )
        for request in self.requests.values():
            if request.id.hex() not in self.audit.last_of:
                raise QueueDamaged(f"{folder}: the audit log does not know request {request.id.hex()}")
