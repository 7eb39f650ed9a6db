"""Statements of any account over any period, from the ledger, in a bank's formats (``vostro export``).

The opening balance is the balance now less all movements since: it holds at one height, for movements are
read up to the very block after which the balance was told.
"""

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, cast

from node.adapters.iso_write_statements import write_camt
from node.adapters.ledger_statements import Sums, check_currency, entries_of, statement_of
from node.adapters.money import format_money
from node.adapters.mt_write import write_mt9
from node.adapters.records import Money, Statement, StatementKind
from node.adapters.refusals import Bad
from node.cli import accounts
from node.cli.output import Exit, Failure, local, usage
from node.client import BlockingClient, Movement

Form = Literal["camt.052", "camt.053", "camt.054", "mt940", "mt942", "mt950"]
KINDS: Final[dict[str, StatementKind]] = {
    "camt.052": StatementKind.REPORT,
    "camt.053": StatementKind.STATEMENT,
    "camt.054": StatementKind.NOTIFICATION,
    "mt940": StatementKind.STATEMENT,
    "mt942": StatementKind.REPORT,
    "mt950": StatementKind.STATEMENT,
}
INDEX_SECONDS: Final = 30.0
INDEX_PAUSE: Final = 0.05
DAY_MS: Final = 86_400_000
DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@dataclass(frozen=True, slots=True)
class Period:
    """Both ends inclusive, ms since 1970."""

    begins_ms: int
    ends_ms: int


def form_named(text: str) -> Form:
    """A format by its name, with or without its point. Raises Failure."""
    name = text if text in KINDS else f"{text[:4]}.{text[4:]}"
    if name not in KINDS:
        raise usage(f"{text} is none of {', '.join(KINDS)}")
    return cast("Form", name)


def period_of(begins: str, ends: str) -> Period:
    """A period as typed; an empty end: until now. Raises Failure."""
    return Period(time_ms(begins, last=False), time_ms(ends, last=True))


def export_statement(
    client: BlockingClient,
    path: Path,
    form: Form,
    account: str,
    asset: str,
    decimals: int,
    period: Period,
    **more: str,
) -> Statement:
    """Write one statement; more: name, sequence, servicer as ``statement_for`` takes them. Raises Failure."""
    try:
        check_currency(asset, decimals)
        statement, movements = statement_for(client, account, asset, KINDS[form], period, **more)
        write_statement(path, form, statement, movements)
    except Bad as bad:
        raise Failure(Exit.REFUSED, f"{account} cannot be told as {form}: {bad}") from bad
    return statement


def told_statement(statement: Statement, path: Path) -> dict[str, object]:
    """A statement's fields under their stable names."""
    opening, closing = statement.opening, statement.closing
    return {
        "file": str(path),
        "statement": statement.statement_id,
        "account": statement.account,
        "entries": statement.entry_count,
        "credits": format_money(Money(statement.credits, statement.currency)),
        "debits": format_money(Money(statement.debits, statement.currency)),
        "opening": format_money(opening.amount) if opening else "",
        "closing": format_money(closing.amount) if closing else "",
    }


def statement_for(
    client: BlockingClient,
    account: str,
    asset: str,
    kind: StatementKind,
    period: Period,
    *,
    name: str = "",
    sequence: str = "",
    servicer: str = "",
) -> tuple[Statement, Iterator[Movement]]:
    """The statement of a period, and its movements, read again from the index. Raises Failure, and what the
    client raises.
    """
    now = client.balance(account, asset)
    await_index(client, now.height)
    ends_ms = min(period.ends_ms or now.time_ms, now.time_ms)
    if period.begins_ms > ends_ms:
        raise usage("the period begins after its end, or after the last block")
    sums, after = Sums(), 0
    for movement in client.movements(account, from_ms=max(period.begins_ms, 1), to_ms=now.time_ms):
        if movement.asset != asset:
            continue
        if movement.time_ms <= ends_ms:
            sums.add(movement.amount)
        else:
            after += movement.amount
    opening = now.posted - after - sums.net
    statement = statement_of(
        account,
        asset,
        kind=kind,
        opening=opening,
        sums=sums,
        begins_ms=period.begins_ms,
        ends_ms=ends_ms,
        created_ms=now.time_ms,
        sequence=sequence,
        owner=account.partition("/")[0],
        servicer=servicer,
        name=name,
    )
    movements = client.movements(account, from_ms=max(period.begins_ms, 1), to_ms=ends_ms)
    return statement, (movement for movement in movements if movement.asset == asset)


def write_statement(path: Path, form: Form, statement: Statement, movements: Iterator[Movement]) -> None:
    """Write a statement whole or not at all. Raises Bad, Failure."""
    if path.exists():
        raise usage(f"{path} exists already: name a new file")
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            if form.startswith("camt"):
                write_camt(file, statement, entries_of(movements))
            else:
                write_mt9(file, form[2:], statement, entries_of(movements))
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)


def await_index(client: BlockingClient, height: int) -> None:
    """Until the index speaks of a height. Raises Failure."""
    deadline = time.monotonic() + INDEX_SECONDS
    while True:
        at = client.status().index_height
        if at is None:
            raise local("this node keeps no index: export from another")
        if at >= height:
            return
        if time.monotonic() > deadline:
            raise Failure(Exit.UNAVAILABLE, f"the index is at height {at}, not yet at {height}")
        time.sleep(INDEX_PAUSE)


def time_ms(text: str, *, last: bool) -> int:
    """Ms since 1970 of a time in UTC, 0 for none; of a day its first or its last millisecond. Raises
    Failure.
    """
    found = accounts.time_ms(text)
    return found + DAY_MS - 1 if last and DAY.fullmatch(text) else found
