"""What did not match, named: each break says what it is about in the words of an operations clerk."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from node.reconciliation.items import STRENGTHS, TEXT, Item, Side, same_names
from node.reconciliation.matching import PAIRS_MAX, Matched, contradict
from node.reconciliation.rules import Rules


class Kind(StrEnum):
    """What kind of break: the words of the ledger's cases (contracts/cases.py)."""

    MISSING_ON_LEDGER = "missing-on-ledger"
    MISSING_IN_STATEMENT = "missing-in-statement"
    AMOUNT = "amount"
    DIRECTION = "direction"
    DATE = "date"
    REFERENCE = "reference"
    DUPLICATE_IN_STATEMENT = "duplicate-in-statement"
    DUPLICATE_ON_LEDGER = "duplicate-on-ledger"
    SUM = "sum"
    AMBIGUOUS = "ambiguous"
    BALANCE = "balance"


SENTENCES: Final = {
    Kind.MISSING_ON_LEDGER: "The statement has this entry, the ledger has no such movement.",
    Kind.MISSING_IN_STATEMENT: "The ledger has this movement, the statement has no such entry.",
    Kind.AMOUNT: "The same payment, but the amounts differ.",
    Kind.DIRECTION: "The same payment, but one side books a credit, the other a debit.",
    Kind.DATE: "The same payment, but the days lie further apart than the rules allow.",
    Kind.REFERENCE: "The same amount on the same day, but the references differ.",
    Kind.DUPLICATE_IN_STATEMENT: "The statement books this payment twice.",
    Kind.DUPLICATE_ON_LEDGER: "The ledger has this payment twice, the statement once.",
    Kind.SUM: "The parts do not add up to the whole.",
    Kind.AMBIGUOUS: "More than one set of parts would add up: a person has to say which.",
    Kind.BALANCE: "The balance at the beginning is not the one that the ledger had.",
}

TO_DO: Final = {
    Kind.MISSING_ON_LEDGER: "Find the payment it books: instruct it, or ask the bank what the entry is.",
    Kind.MISSING_IN_STATEMENT: "Wait for the next statement; then ask the bank why it has not booked it.",
    Kind.AMOUNT: "Compare with the order: a charge that was kept, or a wrong amount; ask for the difference.",
    Kind.DIRECTION: "Ask the bank to reverse the entry and book it the other way.",
    Kind.DATE: "Compare the value days; ask for interest if they cost any.",
    Kind.REFERENCE: "See whether it is the same payment; if so, match it by hand.",
    Kind.DUPLICATE_IN_STATEMENT: "Ask the bank to reverse one of the two.",
    Kind.DUPLICATE_ON_LEDGER: "Was it paid twice? Then recall one of the two (camt.056).",
    Kind.SUM: "Ask the bank for the parts of the entry.",
    Kind.AMBIGUOUS: "Say which parts are meant: match them by hand.",
    Kind.BALANCE: "A statement before this one is missing, or was changed: reconcile that one first.",
}
"""What a clerk does about each."""


@dataclass(frozen=True, slots=True)
class Break:
    """One difference. difference: statement less ledger, in minor units."""

    kind: Kind
    statement: tuple[Item, ...]
    ledger: tuple[Item, ...]
    difference: int

    @property
    def sentence(self) -> str:
        """What it means."""
        return SENTENCES[self.kind]

    @property
    def to_do(self) -> str:
        """What is to be done about it."""
        return TO_DO[self.kind]

    @property
    def first(self) -> Item | None:
        """The item by which people know it; a balance has none."""
        return next(iter((*self.statement, *self.ledger)), None)

    @property
    def minor(self) -> int:
        """What it is about, signed: the difference, or where there is none the amount of the payment."""
        return self.difference or (self.first.minor if self.first else 0)

    @property
    def parts(self) -> tuple[str, ...]:
        """What names it for ever: its kind and what it is about, whichever run finds it."""
        return self.kind.value, *sorted(item.identity for item in (*self.statement, *self.ledger))


def breaks_of(matched: Matched, rules: Rules) -> list[Break]:
    """Everything that no rule matched, named; a ledger movement outside the statement's period is none.

    In the order: statement entries as they stand in the statement, then movements in the ledger's order.
    """
    left = _Left(matched, rules)
    left.duplicates()
    left.by_reference()
    left.by_amount()
    left.rest()
    order = {Side.STATEMENT: 0, Side.LEDGER: 1}
    return sorted(
        left.breaks, key=lambda each: (order[each.first.side], each.first.number) if each.first else (2, 0)
    )


class _Left:
    """What is left of both sides, taken away as it gets its name."""

    def __init__(self, matched: Matched, rules: Rules) -> None:
        self.matched = matched
        self.rules = rules
        self.statement = {item.number: item for item in matched.statement}
        self.ledger = {item.number: item for item in matched.ledger}
        everything = [item for match in matched.matches for item in (*match.statement, *match.ledger)]
        everything += [*matched.statement, *matched.ledger]
        self.names = same_names(
            [item for item in everything if item.side is Side.STATEMENT],
            [item for item in everything if item.side is Side.LEDGER],
        )
        self.breaks: list[Break] = []

    def name(self, kind: Kind, statement: Sequence[Item], ledger: Sequence[Item]) -> None:
        """Enter a break; its items are accounted for."""
        for item in statement:
            del self.statement[item.number]
        for item in ledger:
            del self.ledger[item.number]
        difference = sum(item.minor for item in statement)
        difference -= sum(item.minor for item in ledger if not item.margin)
        self.breaks.append(Break(kind, tuple(statement), tuple(ledger), difference))

    def duplicates(self) -> None:
        """What is like something that was matched: the same reference and amount again, not far away."""
        for side, kind in (
            (Side.STATEMENT, Kind.DUPLICATE_IN_STATEMENT),
            (Side.LEDGER, Kind.DUPLICATE_ON_LEDGER),
        ):
            left = self.statement if side is Side.STATEMENT else self.ledger
            wanted = {name for item in left.values() for name in _own(item)}
            if not wanted:
                continue
            days: dict[tuple[str, int], list[int]] = {}
            for match in self.matched.matches:
                for item in match.statement if side is Side.STATEMENT else match.ledger:
                    for name in _own(item):
                        if name in wanted:
                            days.setdefault((name, item.minor), []).append(item.day)
            for item in list(left.values()):
                near = [day for name in _own(item) for day in days.get((name, item.minor), ())]
                if any(abs(day - item.day) <= self.rules.duplicates.days for day in near):
                    if side is Side.STATEMENT:
                        self.name(kind, (item,), ())
                    elif not item.margin:
                        self.name(kind, (), (item,))

    def by_reference(self) -> None:
        """What shares a reference and yet does not match: sums, amounts, directions, days. The strongest name
        space first, so that payments of one transaction are told apart by what names each of them.
        """
        for space in STRENGTHS:
            self._by_reference(space)

    def _by_reference(self, space: str) -> None:
        by_name: dict[str, list[Item]] = {}
        for item in self.ledger.values():
            for name in item.references:
                if name.startswith(space):
                    by_name.setdefault(name, []).append(item)
        claimed: dict[int, list[Item]] = {}
        for one in self.statement.values():
            for other in self._partners(one, by_name):
                claimed.setdefault(other.number, []).append(one)
        for one in list(self.statement.values()):
            if one.number not in self.statement:
                continue
            others = self._partners(one, by_name)
            if not others:
                continue
            claims = [each for each in claimed[others[0].number] if each.number in self.statement]
            if len(others) > 1 and len(claims) == 1:
                self.name(Kind.SUM, (one,), others)
            elif (
                len(others) == 1 and len(claims) > 1 and all(item.minor != others[0].minor for item in claims)
            ):
                self.name(Kind.SUM, claims, others)
            else:
                self._differing(one, others)

    def _partners(self, one: Item, by_name: dict[str, list[Item]]) -> list[Item]:
        """What is left of the ledger under one of its names, and is not named otherwise by the parties."""
        near = {item.number: item for name in one.references for item in by_name.get(name, ())}
        return [
            near[number]
            for number in sorted(near)
            if number in self.ledger and not contradict(one, near[number], names=False)
        ]

    def _differing(self, one: Item, others: list[Item]) -> None:
        other = min(
            others,
            key=lambda item: (
                item.minor != one.minor,
                item.minor != -one.minor,
                abs(item.minor - one.minor),
                abs(item.day - one.day),
                item.number,
            ),
        )
        if one.identity in self.matched.ambiguous or other.identity in self.matched.ambiguous:
            return
        same, opposite = other.minor == one.minor, other.minor == -one.minor
        self.name(Kind.DATE if same else Kind.DIRECTION if opposite else Kind.AMOUNT, (one,), (other,))

    def by_amount(self) -> None:
        """What has the same amount and day under another reference, and nothing else has."""
        days = max(rule.days for rule in self.rules.rule)
        theirs: dict[int, list[Item]] = {}
        for item in self.ledger.values():
            theirs.setdefault(item.minor, []).append(item)
        ours: dict[int, list[Item]] = {}
        for item in self.statement.values():
            ours.setdefault(item.minor, []).append(item)
        for minor, items in ours.items():
            others = theirs.get(minor, [])
            if len(items) * len(others) > PAIRS_MAX:
                continue
            pairs = [
                (one, other)
                for one in items
                for other in others
                if abs(one.day - other.day) <= days and contradict(one, other, names=self.names)
            ]
            for one, other in pairs:
                if sum(1 for pair in pairs if one is pair[0] or other is pair[1]) == 1:
                    self.name(Kind.REFERENCE, (one,), (other,))

    def rest(self) -> None:
        """What nothing on the other side has to do with."""
        for one in list(self.statement.values()):
            is_ambiguous = one.identity in self.matched.ambiguous
            self.name(Kind.AMBIGUOUS if is_ambiguous else Kind.MISSING_ON_LEDGER, (one,), ())
        for other in list(self.ledger.values()):
            if not other.margin:
                is_ambiguous = other.identity in self.matched.ambiguous
                self.name(Kind.AMBIGUOUS if is_ambiguous else Kind.MISSING_IN_STATEMENT, (), (other,))


def _own(item: Item) -> list[str]:
    """The references by which a payment is told from others of its side: what its parties call it, or where
    they call it nothing, all.
    """
    return [name for name in item.references if name.startswith(TEXT)] or list(item.references)
