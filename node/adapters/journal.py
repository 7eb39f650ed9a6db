"""The import journal: what was imported, so that nothing is imported twice and a run that was cut is
completed.

One append-only file, one JSON object a line, synced before anything that it announces is sent. A torn last
line does not count. Only one process writes it at a time.

    {"begun": name, "digest": ...}                  a file passed all checks
    {"item": key, "of": name, "request": hex, ...}  a payment is about to be sent under this request id
    {"item": key, "outcome": "applied", ...}        its receipt; or "refused" with its code
    {"ended": name, "digest": ..., "state": ...}    "complete" or "partial"
    {"statement": account, ...}                     a statement was taken: where the next must begin
"""

import fcntl
import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from node.adapters.records import Balance, Money, References, Statement
from node.adapters.refusals import Bad, Reason
from node.adapters.statement_rules import Link, gap, link_of

LINES_MAX: Final = 10_000_000
COMPLETE: Final = "complete"
PARTIAL: Final = "partial"
APPLIED: Final = "applied"


class JournalBusy(OSError):
    """Another process writes this journal."""


@dataclass(frozen=True, slots=True)
class Item:
    """One payment of an imported file. source and destination are accounts of the ledger."""

    key: str
    message: str
    message_id: str = ""
    references: References = field(default_factory=References)
    source: str = ""
    destination: str = ""
    asset: str = ""
    minor: int = 0
    request: str = ""
    outcome: str = ""
    code: str = ""
    tx_id: str = ""


@dataclass(slots=True)
class _File:
    digests: list[str] = field(default_factory=list)
    state: str = ""


class Journal:
    """``with Journal(path) as journal``. Raises JournalBusy, OSError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle = -1
        self._files: dict[str, _File] = {}
        self._digests: dict[str, str] = {}
        self._items: dict[str, Item] = {}
        self._links: dict[tuple[str, str, str], Link] = {}

    def __enter__(self) -> Self:
        self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._handle)
            raise JournalBusy(f"{self._path} is written by another import") from error
        self._load()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._handle)

    # --- files -----------------------------------------------------------------------------------

    def check(self, name: str, digest: str) -> None:
        """A file may be imported: it is new or was not completed. Raises Bad FED_TWICE, DUPLICATE_MESSAGE."""
        if self._digests.get(digest) == COMPLETE:
            raise Bad(Reason.FED_TWICE)
        known = self._files.get(name)
        if known is not None and known.state == COMPLETE:
            raise Bad(Reason.DUPLICATE_MESSAGE, name.replace("|", " ").strip())

    def begin(self, name: str, digest: str) -> None:
        """A file passed its checks."""
        self._write([{"begun": name, "digest": digest}])

    def end(self, name: str, digest: str, *, complete: bool) -> None:
        """All that could be done with a file is done; a partial one may be fed again."""
        self._write([{"ended": name, "digest": digest, "state": COMPLETE if complete else PARTIAL}])

    # --- payments --------------------------------------------------------------------------------

    def item(self, key: str) -> Item | None:
        """What is known of a payment."""
        return self._items.get(key)

    def announce(self, items: Iterable[Item]) -> None:
        """Payments that are sent next, with their request ids; durable on return."""
        self._write([_told(item) for item in items])

    def decide(self, key: str, outcome: str, code: str, tx_id: str) -> None:
        """A payment's receipt. Not synced: a lost line makes the next run ask for the same receipt again."""
        self._write([{"item": key, "outcome": outcome, "code": code, "tx": tx_id}], sync=False)

    def find(self, message_id: str, references: References) -> Item | None:
        """The applied payment that an answer speaks of: by UETR, else by message and transaction or
        end-to-end id.
        """
        for item in self._items.values():
            if item.outcome != APPLIED:
                continue
            own = item.references
            if references.uetr and own.uetr:
                if references.uetr == own.uetr:
                    return item
                continue
            if message_id and item.message_id != message_id:
                continue
            pairs = (
                (references.transaction_id, own.transaction_id),
                (references.end_to_end_id, own.end_to_end_id),
                (references.instruction_id, own.instruction_id),
            )
            given = [(asked, has) for asked, has in pairs if asked]
            if given and all(asked == has for asked, has in given if has) and any(has for _, has in given):
                return item
        return None

    # --- statements ------------------------------------------------------------------------------

    def check_statement(self, form: str, statement: Statement) -> None:
        """A statement follows the last one of its account in the same format. Raises Bad STATEMENT_GAP,
        DATES_OUT_OF_ORDER.
        """
        last = self._links.get((form, statement.account, statement.currency))
        wrong = gap(last, statement) if last else None
        if wrong:
            raise Bad(*wrong, line=statement.line)

    def take_statement(self, form: str, statement: Statement) -> None:
        """A statement is taken."""
        link = link_of(statement)
        closing = link.closing
        told: dict[str, Any] = {
            "statement": link.account,
            "currency": link.currency,
            "sequence": link.sequence,
        }
        told |= {"ends": link.ends, "form": form}
        if closing:
            told |= {"closing": closing.amount.minor, "code": closing.code, "day": closing.day.isoformat()}
        self._write([told])

    # --- the file --------------------------------------------------------------------------------

    def _load(self) -> None:
        size = os.fstat(self._handle).st_size
        raw = b"".join(iter(lambda: os.read(self._handle, 1 << 20), b""))
        whole = raw.rfind(b"\n") + 1
        if whole < size:
            os.ftruncate(self._handle, whole)
        for line in raw[:whole].splitlines():
            try:
                self._apply(msgspec.json.decode(line))
            except msgspec.DecodeError as error:
                raise OSError(f"{self._path} holds a line that is none of a journal") from error

    def _apply(self, told: dict[str, Any]) -> None:
        if "begun" in told:
            self._files.setdefault(told["begun"], _File()).digests.append(told["digest"])
        elif "ended" in told:
            self._files.setdefault(told["ended"], _File()).state = told["state"]
            self._digests[told["digest"]] = told["state"]
        elif "statement" in told:
            day = date.fromisoformat(told["day"]) if "day" in told else None
            money = Money(told.get("closing", 0), told["currency"])
            closing = Balance(told.get("code", ""), money, day) if day else None
            link = Link(told["statement"], told["currency"], told["sequence"], closing, told["ends"])
            self._links[told["form"], link.account, link.currency] = link
        elif "outcome" in told:
            item = self._items[told["item"]]
            self._items[item.key] = replace(
                item, outcome=told["outcome"], code=told["code"], tx_id=told["tx"]
            )
        else:
            references = References(*told["refs"])
            source, destination, asset, minor = told["move"]
            self._items[told["item"]] = Item(
                told["item"],
                told["of"],
                told["message"],
                references,
                source,
                destination,
                asset,
                minor,
                told["request"],
            )

    def _write(self, lines: list[dict[str, Any]], *, sync: bool = True) -> None:
        for told in lines:
            self._apply(told)
        raw = b"".join([msgspec.json.encode(told) + b"\n" for told in lines])
        while raw:
            raw = raw[os.write(self._handle, raw) :]
        if sync:
            os.fsync(self._handle)


def _told(item: Item) -> dict[str, Any]:
    own = item.references
    return {
        "item": item.key,
        "of": item.message,
        "message": item.message_id,
        "refs": [own.end_to_end_id, own.instruction_id, own.transaction_id, own.uetr],
        "move": [item.source, item.destination, item.asset, item.minor],
        "request": item.request,
    }
