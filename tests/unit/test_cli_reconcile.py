"""What ``vostro reconcile`` decides by itself: when a statement begins, what is yet to be attested, what goes
to the ledger. A consortium in memory answers.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from contracts.scenarios.main_account import Books
from node.adapters.records import Balance, Statement
from node.cli.attesting import MainAccount, Period, attest, due, statement_books
from node.cli.reconciling import Done, Taken, case_operations, movements_of, told
from node.client.reads import BalanceAt, NodeStatus
from node.ledger import codec
from node.ledger.hashing import INTERNATIONAL
from node.reconciliation.items import StatementItems
from node.reconciliation.planting import plant
from node.reconciliation.rules import load_rules
from tests.kit import Consortium, pay
from tests.reconciliation_kit import BEGINS_MS, DAY_MS, OPENING, Moved, movements, reconciled, stated

RULES = load_rules()
EVERY = 1_000
MAIN = MainAccount("PA/main", "CZK", "KB")


class Answers:
    """Stands for a client: queries and blocks are the consortium's, movements are given."""

    suite = INTERNATIONAL

    def __init__(self, moved: list[Moved] | None = None) -> None:
        self.world = Consortium()
        self.moved = moved or []

    def status(self) -> NodeStatus:
        time_ms = self.world.time_ms
        return NodeStatus("", "", b"", "", "", 1, True, 9, time_ms, b"", 0, 0, 9, 0, ())  # noqa: FBT003

    def query(self, contract: str, name: str, *arguments: Any) -> Any:
        return self.world.ledger.query(contract, name, codec.encode(arguments))

    def balance(self, account: str, asset: str) -> BalanceAt:
        return BalanceAt(OPENING + sum(each.amount for each in self.moved), 0, 9, BEGINS_MS + 400 * DAY_MS)

    def movements(self, account: str, *, from_ms: int, to_ms: int) -> Iterator[Moved]:
        return iter([each for each in self.moved if from_ms <= each.time_ms <= to_ms])


def asked(client: Answers, member: str) -> list[int]:
    """Where the periods begin that a member has yet to attest, from the first that there was."""
    found: Any = client
    return [period.begins_ms for period in due(found, MAIN, member, EVERY)]


def test_periods_are_due_once_and_what_the_other_side_attested_comes_first() -> None:
    client = Answers()
    world = client.world
    last_ms = world.time_ms // EVERY * EVERY
    assert asked(client, "PA") == [last_ms - EVERY]
    books = Books(0, bytes(32), "credit", 0)
    world.apply("PA", attest(MAIN, Period(last_ms - EVERY, last_ms), books))
    assert asked(client, "KB") == [last_ms - EVERY, last_ms]
    assert asked(client, "PA") == [last_ms]
    world.apply("KB", attest(MAIN, Period(last_ms - EVERY, last_ms), books))
    assert asked(client, "KB") == [last_ms, last_ms + EVERY]
    world.apply("PA", pay("PA/main", "KB/main", 1), time_ms=world.time_ms + 3 * EVERY)
    assert len(asked(client, "PA")) == len(asked(client, "KB")) == 5


def without_period(statement: Statement, opening: date) -> Statement:
    """As MT940 says it: balances with their days, no period."""
    balances = tuple(
        Balance(each.code, each.amount, opening if each.code == "OPBD" else each.day)
        for each in statement.balances
    )
    return replace(statement, begins="", ends="", balances=balances)


@pytest.mark.parametrize("earlier", [0, 1])
def test_a_statement_begins_on_the_day_of_its_opening_balance_or_the_next_as_the_ledger_says(
    earlier: int,
) -> None:
    moved = movements(300)
    before = [replace(moved[0], time_ms=BEGINS_MS - DAY_MS // 2, height=0, amount=77, reference="OLD-1")]
    client: Any = Answers(before + moved)
    statement, entries = stated(moved)
    opened = replace(
        statement,
        balances=tuple(
            replace(each, amount=replace(each.amount, minor=each.amount.minor + 77))
            for each in statement.balances
        ),
    )
    told_so = without_period(opened, date(2026, 1, 1) - timedelta(days=earlier))
    items, opening = movements_of(client, "PA/main", "CZK", told_so, RULES)
    assert opening == OPENING + 77
    assert [item.margin for item in items[:2]] == [True, False]
    assert sum(1 for item in items if not item.margin) == len(entries)


def test_breaks_go_to_the_ledger_in_batches_and_only_new_ones_are_opened() -> None:
    moved = movements(600)
    client: Any = Answers()
    world = client.world
    spoilt = plant(*stated(moved), 151)
    done = Done("CZK", reconciled(spoilt.statement, spoilt.entries, moved, RULES))
    operations = case_operations(client, done, bytes(32), "KB", 0, "PA")
    assert [operation.method for operation in operations] == ["open_cases", "open_cases"]
    for operation in (*operations, *operations):
        world.apply("PA", operation)
    cases = world.rows("reconciliation", "case")
    assert len(cases) == len(done.result.breaks) == 151
    clean = Done("CZK", reconciled(*stated(moved), moved, RULES))
    (ending,) = case_operations(client, clean, bytes(32), "KB", 0, "PA")
    assert ending.method == "match_cases"
    world.apply("PA", ending)
    statuses = [row.status for row in world.rows("reconciliation", "case").values() if row.kind != "balance"]
    missing = [row for row in cases.values() if row.kind == "missing-in-statement"]
    assert statuses.count("matched") == len(missing) > 15
    print(f"{len(cases)} cases opened once in two runs, {len(missing)} explained by a later statement")


def test_a_banks_own_statement_gives_the_books_that_it_attests() -> None:
    moved = movements(50)
    statement, entries = stated(moved)
    taken = StatementItems(RULES.reference)
    for entry in entries:
        taken.add(entry)
    plan: Any = type("Plan", (), {"statements": (statement,)})
    client: Any = Answers()
    books = statement_books(client, Taken(plan, {0: taken}))
    closing = OPENING + sum(each.amount for each in moved)
    assert (books.count, books.side, books.closing) == (50, "credit", closing)
    owed = replace(
        statement, balances=tuple(replace(b, amount=replace(b.amount, minor=-5)) for b in statement.balances)
    )
    plan.statements = (owed,)
    assert statement_books(client, Taken(plan, {})) == Books(
        0, INTERNATIONAL.digest(b"vostro/movements/1\0"), "debit", 5
    )
    assert [told(minor, "CZK") for minor in (-5, 0, 123_456)] == [
        "-0.05",
        "0.00",
        "1,234.56".replace(",", ""),
    ]
