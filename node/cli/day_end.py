"""The end of a day: trial balance, statements and general ledger of an asset, from the ledger, as CSV files.

The books are those of whoever operates the asset: what is in circulation stands against all accounts. What
always holds, or nothing is written: every posting has a debit and a credit; an account's opening balance,
debits and credits give its closing balance; all closing balances are what is in circulation.
"""

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Final

from node.cli.exporting import await_index
from node.cli.output import usage, when
from node.cli.session import unverified
from node.client import BlockingClient, Movement
from node.client.amounts import format_amount

EPOCH: Final = date(1970, 1, 1)
CIRCULATION: Final = "(in circulation)"
"""The account against which units are issued and redeemed."""

TRIAL: Final = ("account", "opening", "debits", "credits", "closing")
LEDGER: Final = ("time", "transaction", "debit", "credit", "amount", "reference")
STATEMENT: Final = ("time", "transaction", "counterparty", "reference", "amount", "balance")


@dataclass(frozen=True, slots=True)
class Posting:
    """An amount that passed from the account debited to the one credited."""

    time_ms: int
    tx_id: bytes
    debit: str
    credit: str
    amount: int
    reference: str


@dataclass(slots=True)
class Row:
    """An account's day."""

    account: str
    opening: int
    debits: int = 0
    credits: int = 0
    movements: list[Movement] = field(default_factory=list)

    @property
    def closing(self) -> int:
        """What it then has."""
        return self.opening - self.debits + self.credits


@dataclass(frozen=True, slots=True)
class Books:
    """An asset's day. circulation: what of it there is at the day's end."""

    asset: str
    rows: tuple[Row, ...]
    postings: tuple[Posting, ...]
    circulation: int

    @property
    def debits(self) -> int:
        """All debits, from the accounts, and of what is in circulation."""
        return sum(row.debits for row in self.rows) + self._against("debit")

    @property
    def credits(self) -> int:
        """All credits, likewise."""
        return sum(row.credits for row in self.rows) + self._against("credit")

    def _against(self, side: str) -> int:
        return sum(each.amount for each in self.postings if getattr(each, side) == CIRCULATION)


def read_books(client: BlockingClient, asset: str, begins_ms: int, ends_ms: int) -> Books:
    """The books of a period, both ends inclusive. Raises Failure where they do not add up, and what the
    client raises.
    """
    head = client.status()
    await_index(client, head.height)
    ends_ms = min(ends_ms, head.time_ms)
    if begins_ms > ends_ms:
        raise usage("the day has not begun")
    rows: list[Row] = []
    posted = 0
    for account in _accounts(client):
        row, now = _read(client, account, asset, begins_ms, ends_ms)
        posted += now
        if row.opening or row.movements:
            rows.append(row)
    supply = client.query("assets", "get_asset", asset)
    if client.status().height == head.height and posted != supply.issued - supply.redeemed:
        raise unverified(f"the accounts have {posted} of {asset}, in circulation is another amount")
    return balanced(asset, rows)


def balanced(asset: str, rows: Sequence[Row]) -> Books:
    """The books of these accounts. Raises Failure where a debit has no credit or a credit no debit."""
    moved = [movement for row in rows for movement in row.movements]
    given = Counter(_sides(each) for each in moved if each.amount < 0 and each.counterparty)
    taken = Counter(_sides(each) for each in moved if each.amount > 0 and each.counterparty)
    if given != taken:
        side = next(iter((given - taken) or (taken - given)))
        raise unverified(f"a posting from {side[2]} to {side[3]} stands in one account only")
    postings = [_posting(each) for each in moved if each.amount > 0 or not each.counterparty]
    postings.sort(key=lambda each: (each.time_ms, each.tx_id, each.debit, each.credit))
    return Books(asset, tuple(rows), tuple(postings), sum(row.closing for row in rows))


def write_books(books: Books, folder: Path, decimals: int) -> list[Path]:
    """Write the files into a new folder; their paths."""
    (folder / "statements").mkdir(parents=True)

    def told(*minor: int) -> list[str]:
        return [format_amount(each, decimals) for each in minor]

    trial = [[row.account, *told(row.opening, row.debits, row.credits, row.closing)] for row in books.rows]
    issued = sum(each.amount for each in books.postings if each.debit == CIRCULATION)
    redeemed = sum(each.amount for each in books.postings if each.credit == CIRCULATION)
    opening = issued - redeemed - books.circulation
    trial.append([CIRCULATION, *told(opening, issued, redeemed, -books.circulation)])
    trial.append(["total", *told(0, books.debits, books.credits, 0)])
    entries = [
        [when(each.time_ms), each.tx_id.hex(), each.debit, each.credit, *told(each.amount), each.reference]
        for each in books.postings
    ]
    files = [
        _write(folder / "trial-balance.csv", TRIAL, trial),
        _write(folder / "general-ledger.csv", LEDGER, entries),
    ]
    for row in books.rows:
        lines: list[list[str]] = [["", "", "", "opening", "", *told(row.opening)]]
        balance = row.opening
        for each in row.movements:
            balance += each.amount
            sides = [when(each.time_ms), each.tx_id.hex(), each.counterparty, _inert(each.reference)]
            lines.append([*sides, *told(each.amount, balance)])
        name = row.account.replace("/", "_")
        files.append(_write(folder / "statements" / f"{name}.csv", STATEMENT, lines))
    return files


def day_number(text: str) -> int:
    """Days since 1970 of YYYY-MM-DD. Raises Failure."""
    try:
        return (date.fromisoformat(text) - EPOCH).days
    except ValueError:
        raise usage(f"{text!r} is no day: write 2026-01-31") from None


def day_name(number: int) -> str:
    """YYYY-MM-DD of a day."""
    return (EPOCH + timedelta(days=number)).isoformat()


def _accounts(client: BlockingClient) -> Iterator[str]:
    """Every account of every member."""
    after = ""
    while members := client.query("members", "list_members", after):
        for member in members:
            last = ""
            while accounts := client.query("assets", "list_accounts", member.member, last):
                yield from (named.id for named in accounts)
                last = accounts[-1].id
        after = members[-1].member


def _read(client: BlockingClient, account: str, asset: str, begins_ms: int, ends_ms: int) -> tuple[Row, int]:
    """An account's day, and what it has now."""
    now = client.balance(account, asset)
    await_index(client, now.height)
    row, since = Row(account, 0), 0
    for movement in client.movements(account, from_ms=max(begins_ms, 1), to_ms=now.time_ms):
        if movement.asset == asset:
            since += movement.amount
            if movement.time_ms <= ends_ms:
                row.movements.append(movement)
                row.debits += max(0, -movement.amount)
                row.credits += max(0, movement.amount)
    row.opening = now.posted - since
    return row, now.posted


def _sides(each: Movement) -> tuple[int, bytes, str, str, int, str]:
    """A movement as its posting, the same from either account."""
    posting = _posting(each)
    return (each.time_ms, each.tx_id, posting.debit, posting.credit, posting.amount, each.reference)


def _posting(each: Movement) -> Posting:
    other = each.counterparty or CIRCULATION
    debit, credit = (each.account, other) if each.amount < 0 else (other, each.account)
    return Posting(each.time_ms, each.tx_id, debit, credit, abs(each.amount), each.reference)


def _inert(text: str) -> str:
    """Text that another member chose, as a spreadsheet shows it and does not run it."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def _write(path: Path, heading: Sequence[str], rows: Sequence[Sequence[str]]) -> Path:
    with path.open("x", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(heading)
        writer.writerows(rows)
    return path
