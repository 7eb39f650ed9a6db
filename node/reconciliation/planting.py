"""Differences planted in a statement, to see each found and named: of every kind that people make.

The statement stays one that a bank could have sent: its entries still lead from its opening to its closing
balance. Nothing is left to chance: the same statement is spoilt in the same way.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from node.adapters.records import Entry, EntryDetail, Money, References, Statement
from node.reconciliation.breaks import Break, Kind
from node.reconciliation.report import Reconciled

TEN: Final = 10
DAYS: Final = 20
"""So many days off is further than any rule reaches."""
BALANCE: Final = 12_345
MINOR_MIN: Final = 100
"""A smaller amount is not spoilt: what comes out could be right by chance."""


@dataclass(frozen=True, slots=True)
class Planted:
    """One difference: what kind of break it must be found as, the references that it must name, and in words
    what was done.
    """

    kind: Kind
    references: tuple[str, ...]
    story: str


@dataclass(frozen=True, slots=True)
class Spoilt:
    """A statement with its entries and what was planted in it."""

    statement: Statement
    entries: tuple[Entry, ...]
    planted: tuple[Planted, ...]


def plant(statement: Statement, entries: Sequence[Entry], count: int = TEN) -> Spoilt:
    """Plant differences in a statement that had none: one at its opening balance, the others in entries that
    lie as far apart as they can, each kind in its turn. Raises ValueError where it has too few entries with
    references of their own.
    """
    counts: dict[str, int] = {}
    for entry in entries:
        counts[_reference(entry)] = counts.get(_reference(entry), 0) + 1
    good = [
        at
        for at, entry in enumerate(entries)
        if _reference(entry) and counts[_reference(entry)] == 1 and abs(entry.amount.minor) >= MINOR_MIN
    ]
    step = len(good) // (count - 1)
    if step < 1:
        raise ValueError(f"{len(good)} entries can be spoilt, {count - 1} are needed")
    work = _Work(list(entries))
    acts = itertools.cycle(
        (
            work.lose,
            work.invent,
            work.miskey,
            work.turn,
            work.misdate,
            work.double,
            work.rename,
            work.overcharge,
            work.split,
        )
    )
    for number, act in zip(range(count - 1), acts, strict=False):
        act(good[number * step])
    told = Planted(Kind.BALANCE, (), f"the opening balance is {BALANCE} minor units too high")
    return _closed(statement, work, (*work.planted, told))


@dataclass(frozen=True, slots=True)
class Found:
    """A planted difference and the break that was found for it; None: it was missed."""

    planted: Planted
    found: Break | None


def found_in(spoilt: Spoilt, result: Reconciled) -> tuple[list[Found], list[Break]]:
    """Which planted differences were found under their name, and the breaks that nobody planted."""
    left: dict[tuple[Kind, frozenset[str]], list[Break]] = {}
    for each in result.breaks:
        said = frozenset(item.said for item in (*each.statement, *each.ledger))
        left.setdefault((each.kind, said), []).append(each)
    told: list[Found] = []
    for planted in spoilt.planted:
        hits = left.get((planted.kind, frozenset(planted.references)), [])
        told.append(Found(planted, hits.pop(0) if hits else None))
    return told, [each for hits in left.values() for each in hits]


class _Work:
    """Entries that are spoilt one after the other; None where one was taken out."""

    def __init__(self, entries: list[Entry]) -> None:
        self.entries: list[tuple[Entry, ...]] = [(entry,) for entry in entries]
        self.planted: list[Planted] = []

    def _put(self, at: int, kind: Kind, story: str, *entries: Entry, names: Iterable[str] = ()) -> None:
        names = tuple(names) or (_reference(self.entries[at][0]),)
        self.planted.append(Planted(kind, names, story))
        self.entries[at] = entries

    def lose(self, at: int) -> None:
        """An entry is missing."""
        self._put(at, Kind.MISSING_IN_STATEMENT, "an entry was left out")

    def invent(self, at: int) -> None:
        """There is one more that the ledger knows nothing of."""
        entry, name = self.entries[at][0], f"INVENTED-{at}"
        new = _named(entry, name, _money(entry, entry.amount.minor + 777))
        self._put(at, Kind.MISSING_ON_LEDGER, "an entry was added", entry, new, names=[name])

    def miskey(self, at: int) -> None:
        """An amount was typed wrong."""
        entry = self.entries[at][0]
        sign = 1 if entry.amount.minor >= 0 else -1
        wrong = _money(entry, entry.amount.minor + sign * 900)
        self._put(at, Kind.AMOUNT, "an amount was typed wrong", wrong)

    def turn(self, at: int) -> None:
        """A credit was booked as a debit, or the reverse."""
        entry = self.entries[at][0]
        self._put(at, Kind.DIRECTION, "credit and debit were exchanged", _money(entry, -entry.amount.minor))

    def misdate(self, at: int) -> None:
        """An entry stands on a day far off."""
        entry = self.entries[at][0]
        booked = entry.booked - timedelta(days=DAYS) if entry.booked else None
        self._put(at, Kind.DATE, f"an entry was booked {DAYS} days off", replace(entry, booked=booked))

    def double(self, at: int) -> None:
        """An entry was booked twice."""
        entry = self.entries[at][0]
        self._put(at, Kind.DUPLICATE_IN_STATEMENT, "an entry was booked twice", entry, entry)

    def rename(self, at: int) -> None:
        """An entry carries the reference of something else."""
        entry, name = self.entries[at][0], f"RENAMED-{at}"
        names = [name, _reference(entry)]
        new = _named(entry, name, entry)
        self._put(at, Kind.REFERENCE, "an entry carries another reference", new, names=names)

    def overcharge(self, at: int) -> None:
        """A charge was added to an amount."""
        entry = self.entries[at][0]
        sign = 1 if entry.amount.minor >= 0 else -1
        more = _money(entry, entry.amount.minor + sign * 250)
        self._put(at, Kind.AMOUNT, "a charge of 250 minor units was added", more)

    def split(self, at: int) -> None:
        """One payment was booked in two parts that do not add up."""
        entry = self.entries[at][0]
        sign = 1 if entry.amount.minor >= 0 else -1
        half = entry.amount.minor // 2
        parts = _money(entry, half + sign * 31), _money(entry, entry.amount.minor - half + sign * 5)
        self._put(at, Kind.SUM, "a payment was booked in two parts that do not add up", *parts)


def _reference(entry: Entry) -> str:
    return entry.detail.references.end_to_end_id


def _money(entry: Entry, minor: int) -> Entry:
    """The entry with another amount."""
    money = Money(minor, entry.amount.currency)
    details = tuple(replace(each, amount=Money(abs(minor), money.currency)) for each in entry.details)
    return replace(entry, amount=money, details=details)


def _named(entry: Entry, reference: str, amount: Entry) -> Entry:
    """The entry under another reference, and under no number of the ledger's."""
    detail = EntryDetail(References(reference), amount.detail.amount, entry.detail.counterparty)
    return replace(amount, reference=reference.lower(), entry_reference="", details=(detail,))


def _closed(statement: Statement, work: _Work, planted: tuple[Planted, ...]) -> Spoilt:
    """The statement over what its entries are now."""
    entries = tuple(entry for each in work.entries for entry in each)
    received = [entry.amount.minor for entry in entries if entry.amount.minor >= 0]
    paid = [-entry.amount.minor for entry in entries if entry.amount.minor < 0]
    opening, closing = statement.opening, statement.closing
    if opening is None or closing is None:
        raise ValueError("the statement states no balances")
    at_first = opening.amount.minor + BALANCE
    moved = {
        opening.code: at_first,
        closing.code: at_first + sum(received) - sum(paid),
    }
    balances = tuple(
        replace(each, amount=Money(moved.get(each.code, each.amount.minor), each.amount.currency))
        for each in statement.balances
    )
    told = replace(
        statement,
        balances=balances,
        entry_count=len(entries),
        credit_count=len(received),
        debit_count=len(paid),
        credits=sum(received),
        debits=sum(paid),
    )
    return Spoilt(told, entries, planted)
