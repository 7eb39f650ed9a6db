"""What the tests and the benchmark of reconciliation share: movements without a node, and their statement."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from node.adapters.ledger_statements import Sums, entries_of, statement_of
from node.adapters.records import Entry, Statement, StatementKind
from node.reconciliation.items import ledger_items, period_of, statement_items
from node.reconciliation.report import Reconciled, reconcile
from node.reconciliation.rules import Rules

BEGINS_MS = 1_767_225_600_000
DAY_MS = 86_400_000
OPENING = 1_000_000


@dataclass(frozen=True, slots=True)
class Moved:
    """A movement as the client tells it."""

    tx_id: bytes
    height: int
    index: int
    time_ms: int
    asset: str
    amount: int
    counterparty: str
    reference: str


def movements(count: int, days: int = 30) -> list[Moved]:
    """Payments in and out, each under a reference of its own, over so many days from 1 January 2026 on."""
    return [
        Moved(
            hashlib.sha256(b"%d" % number).digest(),
            number // 10 + 1,
            number % 10,
            BEGINS_MS + number * days * DAY_MS // count,
            "CZK",
            ((number % 97 + 1) * 100 + number % 7) * (1 if number % 3 else -1),
            "AB/main",
            f"E2E-{number}",
        )
        for number in range(count)
    ]


def stated(moved: Sequence[Moved], days: int = 30) -> tuple[Statement, list[Entry]]:
    """The ledger's own statement over them."""
    sums = Sums()
    for movement in moved:
        sums.add(movement.amount)
    ends_ms = BEGINS_MS + days * DAY_MS - 1
    statement = statement_of(
        "PA/main",
        "CZK",
        kind=StatementKind.STATEMENT,
        opening=OPENING,
        sums=sums,
        begins_ms=BEGINS_MS,
        ends_ms=ends_ms,
        created_ms=ends_ms,
    )
    return statement, list(entries_of(moved))


def reconciled(
    statement: Statement, entries: Iterable[Entry], moved: Sequence[Moved], rules: Rules
) -> Reconciled:
    """A statement matched with these movements."""
    ours = statement_items(entries, rules.reference)
    theirs = ledger_items(moved, rules.reference, *period_of(statement))
    return reconcile(statement, ours, theirs, rules, OPENING)
