"""A bank's statement against the ledger: read, matched, told, and its breaks brought to it as cases."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from contracts.cases import CASES_MAX, Direction, NamedCase, NewCase
from node.adapters.accounts import Accounts
from node.adapters.money import decimals_of
from node.adapters.reading import Plan, Source, check_file
from node.adapters.records import Entry, Record, Statement
from node.adapters.statement_rules import joined, pages_of
from node.cli.exporting import DAY_MS, await_index
from node.cli.output import Exit, Failure, Output, usage
from node.client import BlockingClient, Movement
from node.client.amounts import format_amount
from node.client.signing import operation
from node.ledger.types import Operation
from node.reconciliation.breaks import Break
from node.reconciliation.items import Item, StatementItems, joined_items, ledger_items, period_of
from node.reconciliation.report import COLUMNS, Reconciled, break_row, reconcile
from node.reconciliation.rules import Rules
from node.reconciliation.subjects import explained_by, subject_of_break

T = TypeVar("T")

SHOWN_MAX: Final = 50
OPEN: Final = ("open", "unmatched", "disputed")
"""Statuses of a case that is not ended."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A checked file and its statements' items."""

    plan: Plan
    items: dict[int, StatementItems]


@dataclass(frozen=True, slots=True)
class Done:
    """One statement reconciled. asset: on the ledger."""

    asset: str
    result: Reconciled


def take(source: Source, rules: Rules) -> Taken:
    """Read a file of statements once, and check all of it. Raises FileRefused, Failure."""
    items: dict[int, StatementItems] = {}

    def keep(record: Record) -> None:
        if isinstance(record, Entry):
            if record.statement not in items:
                items[record.statement] = StatementItems(rules.reference)
            items[record.statement].add(record)

    plan = check_file(source, keep=keep)
    if not plan.statements:
        raise usage(f"{source.path.name} holds no statement: {', '.join(plan.counts)}")
    return Taken(plan, items)


def compare(
    client: BlockingClient, taken: Taken, rules: Rules, accounts: Accounts, account: str
) -> list[Done]:
    """Every statement of a file, its pages as one, against the ledger. account: the one that it is about,
    where no mapping says so; empty: as the file says. Raises Failure, and what the client raises.
    """
    done: list[Done] = []
    statements = taken.plan.statements
    for places in pages_of(statements):
        statement = joined([statements[place] for place in places])
        number = statement.account
        name = account or accounts.of_statement(number, statement.servicer, statement.currency)
        if not name:
            line = f'"{number}" = "MEMBER/local"'
            raise usage(
                f"which account is {number}? Say --account, or write {line} into the file of --accounts"
            )
        asset = accounts.asset_of(statement.currency)
        ours = joined_items(taken.items[place] for place in places if place in taken.items)
        theirs, opening = movements_of(client, name, asset, statement, rules)
        done.append(Done(asset, reconcile(statement, ours, theirs, rules, opening, name)))
    return done


def movements_of(
    client: BlockingClient, account: str, asset: str, statement: Statement, rules: Rules
) -> tuple[list[Item], int]:
    """An account's movements around a statement's period, and what it had before. Raises what the client
    raises.

    A statement that says no period begins on the day of its opening balance or, where that is what the ledger
    had a day later, on the next: some banks date it by the day that it closed.
    """
    begins_ms, ends_ms = period_of(statement)
    now = client.balance(account, asset)
    await_index(client, now.height)
    until_ms = ends_ms or now.time_ms
    margin_ms = rules.days * DAY_MS
    kept: list[Movement] = []
    since = [0, 0]
    for movement in client.movements(account, from_ms=max(begins_ms - margin_ms, 1), to_ms=now.time_ms):
        if movement.asset != asset:
            continue
        for days in (0, 1):
            if movement.time_ms >= begins_ms + days * DAY_MS:
                since[days] += movement.amount
        if movement.time_ms <= until_ms + margin_ms:
            kept.append(movement)
    opening, next_day = (now.posted - each for each in since)
    stated = statement.opening.amount.minor if statement.opening else opening
    if not statement.begins and begins_ms + DAY_MS <= until_ms and next_day == stated != opening:
        begins_ms, opening = begins_ms + DAY_MS, next_day
    return ledger_items(kept, rules.reference, begins_ms, until_ms), opening


# --- cases --------------------------------------------------------------------------------------------------


def case_operations(
    client: BlockingClient, done: Done, evidence: bytes, counterparty: str, patience_ms: int, member: str
) -> list[Operation]:
    """What brings a reconciled statement to the ledger, a hundred cases an operation: its breaks as cases,
    and an end for the member's earlier cases that it explains.
    """
    digest = client.suite.digest
    result, asset = done.result, done.asset
    new = {
        subject: new_case(found, subject, done, counterparty, evidence, patience_ms)
        for found in result.breaks
        for subject in [subject_of_break(digest, result.account, asset, found, result.statement_id)]
    }
    known = {named.subject for named in cases_of(client, member) if named.case.status in OPEN}
    ended = list(dict.fromkeys(s for s in explained_by(digest, result.account, asset, result) if s in known))
    operations = [operation("reconciliation", "open_cases", tuple(part)) for part in _cut(list(new.values()))]
    operations += [operation("reconciliation", "match_cases", tuple(part), evidence) for part in _cut(ended)]
    return operations


def new_case(
    found: Break, subject: bytes, done: Done, counterparty: str, evidence: bytes, patience_ms: int
) -> NewCase:
    """A break as a case."""
    direction: Direction = "credit" if found.minor > 0 else "debit" if found.minor < 0 else "none"
    return NewCase(
        subject,
        found.kind.value,
        done.result.account,
        done.asset,
        direction,
        abs(found.minor),
        counterparty,
        evidence,
        patience_ms,
    )


def cases_of(client: BlockingClient, member: str, *, against: bool = False) -> Iterator[NamedCase]:
    """All cases of a member, or all in which it is the counterparty."""
    last: NamedCase | None = None
    while True:
        after = last.subject if last else b""
        if against:
            opener = last.member if last else ""
            page = client.query("reconciliation", "list_against", member, opener, after)
        else:
            page = client.query("reconciliation", "list_cases", member, after)
        yield from page
        if not page:
            return
        last = page[-1]


def _cut(values: Sequence[T]) -> Iterator[Sequence[T]]:
    for at in range(0, len(values), CASES_MAX):
        yield values[at : at + CASES_MAX]


# --- telling ------------------------------------------------------------------------------------------------


def told(minor: int, currency: str) -> str:
    """An amount with its sign, as a clerk reads it."""
    text = format_amount(abs(minor), decimals_of(currency))
    return f"-{text}" if minor < 0 else text


def summary(done: Done) -> dict[str, object]:
    """A result's fields under their stable names."""
    result, currency = done.result, done.result.currency
    fields: dict[str, object] = {
        "account": result.account,
        "currency": currency,
        "statement": result.statement_id,
        "entries": result.entries,
        "movements": result.movements,
        "matched": result.by_rule,
        "breaks": result.by_kind,
    }
    if result.opening is not None:
        fields["opening_in_statement"] = told(result.opening, currency)
    fields["opening_on_ledger"] = told(result.ledger_opening, currency)
    if result.closing is not None:
        fields |= {
            "closing_in_statement": told(result.closing, currency),
            "closing_on_ledger": told(result.ledger_closing, currency),
            "difference": told(result.closing - result.ledger_closing, currency),
            "explained_by_breaks": told(sum(each.difference for each in result.breaks), currency),
            "within_tolerance": told(result.tolerated, currency),
            "timing": told(result.timing, currency),
            "unexplained": told(result.unexplained, currency),
        }
    else:
        fields["closing_on_ledger"] = told(result.ledger_closing, currency)
    return fields


def rows_of(done: Done) -> list[dict[str, object]]:
    """The breaks of one statement as rows."""
    currency = done.result.currency
    return [break_row(found, lambda minor: told(minor, currency)) for found in done.result.breaks]


def show(output: Output, every: Sequence[Done]) -> None:
    """What became of a file, for people or programs."""
    if output.is_json:
        output.json([summary(done) | {"list": rows_of(done)} for done in every])
        return
    for done in every:
        output.record(f"Statement {done.result.statement_id}", summary(done))
        rows = rows_of(done)
        names = ("kind", "day", "reference", "statement", "ledger", "difference", "sentence")
        columns = {name: name.capitalize() for name in names}
        amounts = ("statement", "ledger", "difference")
        output.rows("Breaks", columns, rows[:SHOWN_MAX], numbers=amounts)
        to_do = {row["kind"]: row["to_do"] for row in rows}
        if to_do:
            columns = {"kind": "Kind", "to_do": "What to do"}
            told = [{"kind": kind, "to_do": text} for kind, text in to_do.items()]
            output.rows("What to do", columns, told)
        if len(rows) > SHOWN_MAX:
            output.say(f"... and {len(rows) - SHOWN_MAX:,} more: --csv FILE writes all")


def write_csv(path: Path, every: Iterable[Done]) -> None:
    """All breaks of a file as CSV. Raises OSError."""
    with path.open("x", encoding="utf-8", newline="") as file:
        rows = csv.DictWriter(file, ("account", "currency", *COLUMNS), lineterminator="\n")
        rows.writeheader()
        for done in every:
            named = {"account": done.result.account, "currency": done.result.currency}
            rows.writerows([named | row for row in rows_of(done)])


def end(every: Sequence[Done]) -> None:
    """Raises Failure where anything does not match."""
    breaks = sum(len(done.result.breaks) for done in every)
    if any(done.result.unexplained for done in every):
        raise Failure(Exit.UNVERIFIED, "the balances differ by more than the breaks explain")
    if breaks:
        raise Failure(Exit.REFUSED, f"{breaks:,} breaks", breaks=breaks)
