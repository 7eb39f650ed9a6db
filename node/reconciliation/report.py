"""A statement reconciled with the ledger: what matched, what did not, and the proof that this is all.

    statement's closing - ledger's closing = difference at the opening + breaks + tolerances + timing

Timing is what the rules matched across the period's ends. What the equation does not explain would be a fault
of ours, and is told as such.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from node.adapters.records import Statement
from node.reconciliation.breaks import SENTENCES, Break, Kind, breaks_of
from node.reconciliation.items import Item
from node.reconciliation.matching import Match, match
from node.reconciliation.rules import Rules

COLUMNS: Final = (
    "kind",
    "day",
    "reference",
    "counterparty",
    "statement",
    "ledger",
    "difference",
    "line",
    "transaction",
    "sentence",
    "to_do",
)
"""The fields of a break as tables and CSV show it."""


@dataclass(frozen=True, slots=True)
class Reconciled:
    """One account and currency over one period. Amounts in minor units; opening and closing of the statement
    are None where it states none.
    """

    account: str
    currency: str
    statement_id: str
    entries: int
    movements: int
    matches: tuple[Match, ...]
    breaks: tuple[Break, ...]
    opening: int | None
    closing: int | None
    ledger_opening: int
    ledger_closing: int

    @property
    def by_rule(self) -> dict[str, int]:
        """Matches by the rule that found them, in the rules' order."""
        counts: dict[str, int] = {}
        for each in self.matches:
            counts[each.rule] = counts.get(each.rule, 0) + 1
        return counts

    @property
    def by_kind(self) -> dict[str, int]:
        """Breaks by their kind."""
        counts = dict.fromkeys(SENTENCES, 0)
        for each in self.breaks:
            counts[each.kind] += 1
        return {kind.value: count for kind, count in counts.items() if count}

    @property
    def tolerated(self) -> int:
        """What the rules' tolerances bore."""
        return sum(each.difference for each in self.matches if not _margin(each))

    @property
    def timing(self) -> int:
        """What one side has within the period and the other before or after it."""
        return sum(
            sum(item.minor for item in each.statement)
            - sum(item.minor for item in each.ledger if not item.margin)
            for each in self.matches
            if _margin(each)
        )

    @property
    def explained(self) -> int:
        """What breaks, tolerances and timing come to."""
        return sum(each.difference for each in self.breaks) + self.tolerated + self.timing

    @property
    def unexplained(self) -> int:
        """What the two closing balances differ by beyond all that; 0, or the statement states no balance."""
        if self.closing is None:
            return 0
        return self.closing - self.ledger_closing - self.explained


def _margin(found: Match) -> bool:
    return any(item.margin for item in found.ledger)


def reconcile(
    statement: Statement,
    ours: Sequence[Item],
    theirs: Sequence[Item],
    rules: Rules,
    opening: int,
    account: str = "",
) -> Reconciled:
    """Match a statement's items with the ledger's.

    theirs: movements of the account and asset, those within ``rules.days`` before and after the period among
    them. opening: what the ledger had before the period, in minor units. account: on the ledger.
    """
    matched = match(ours, theirs, rules)
    breaks = breaks_of(matched, rules)
    stated = statement.opening.amount.minor if statement.opening else None
    if stated is not None and stated != opening:
        breaks.insert(0, Break(Kind.BALANCE, (), (), stated - opening))
    moved = [item.minor for item in theirs if not item.margin]
    return Reconciled(
        account or statement.account,
        statement.currency,
        statement.statement_id,
        len(ours),
        len(moved),
        tuple(matched.matches),
        tuple(breaks),
        stated,
        statement.closing.amount.minor if statement.closing else None,
        opening,
        opening + sum(moved),
    )


def break_row(found: Break, told: Callable[[int], str]) -> dict[str, object]:
    """A break's fields as tables and CSV show them. told: writes an amount."""
    first = found.first
    return {
        "kind": found.kind.value,
        "day": first.date.isoformat() if first else "",
        "reference": ", ".join(dict.fromkeys(item.said for item in (*found.statement, *found.ledger))),
        "counterparty": first.counterparty if first else "",
        "statement": told(_sum(found.statement)) if found.statement else "",
        "ledger": told(_sum(found.ledger)) if found.ledger else "",
        "difference": told(found.difference),
        "line": ", ".join(str(item.line) for item in found.statement),
        "transaction": ", ".join(item.identity.partition("|")[0] for item in found.ledger),
        "sentence": found.sentence,
        "to_do": found.to_do,
    }


def _sum(items: Sequence[Item]) -> int:
    return sum(item.minor for item in items)
