"""What every statement must keep, whatever its format: one currency, opening plus entries is closing, dates
ascend, and no statement is missing between two of the same account.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from node.adapters.records import Balance, Entry, Statement, StatementKind
from node.adapters.refusals import Problems, Reason

BOOKED = "BOOK"
INTERIM = "ITBD"
FINAL = frozenset({"CLBD"})
"""Balances after which nothing more is booked."""


@dataclass(slots=True)
class Tally:
    """Counts one statement's entries while they are read: signed sums of what is booked, by currency."""

    number: int
    count: int = 0
    refused: int = 0
    credit_count: int = 0
    debit_count: int = 0
    credits: int = 0
    debits: int = 0
    booked: int = 0
    currencies: dict[str, int] = field(default_factory=dict)

    def add(self, entry: Entry) -> None:
        """Count one entry."""
        self.count += 1
        minor = entry.amount.minor
        self.currencies.setdefault(entry.amount.currency, entry.line)
        if minor >= 0:
            self.credit_count += 1
            self.credits += minor
        else:
            self.debit_count += 1
            self.debits -= minor
        if entry.status == BOOKED:
            self.booked += minor

    def counted(self, statement: Statement) -> Statement:
        """The statement with what was counted."""
        return replace(
            statement,
            entry_count=self.count,
            credit_count=self.credit_count,
            debit_count=self.debit_count,
            credits=self.credits,
            debits=self.debits,
        )


def check_statement(problems: Problems, statement: Statement, tally: Tally) -> None:
    """Note what one statement does not keep."""
    line = statement.line
    currencies = dict(tally.currencies)
    for balance in statement.balances:
        currencies.setdefault(balance.amount.currency, line)
    for currency, at in currencies.items():
        if statement.currency and currency != statement.currency:
            detail = f"{currency} on an account of {statement.currency}"
            problems.add(at or line, Reason.CURRENCIES_DIFFER, detail)
    opening, closing = statement.opening, statement.closing
    if statement.begins and statement.ends and statement.begins[:10] > statement.ends[:10]:
        problems.add(line, Reason.DATES_OUT_OF_ORDER, f"from {statement.begins} to {statement.ends}")
    if not opening or not closing:
        return
    if opening.day > closing.day:
        problems.add(line, Reason.DATES_OUT_OF_ORDER, f"opens {opening.day}, closes {closing.day}")
    if statement.kind is StatementKind.REPORT and closing.code not in FINAL:
        return  # an interim report may bring all entries of the day, or those since the last report
    if set(currencies) <= {statement.currency} and not tally.refused:
        due = opening.amount.minor + tally.booked
        if due != closing.amount.minor:
            detail = (
                f"{due} by the entries, {closing.amount.minor} stated, in minor units of {statement.currency}"
            )
            problems.add(line, Reason.BALANCE_DIFFERS, detail)


@dataclass(frozen=True, slots=True)
class Link:
    """The end of the last statement of an account: where the next one must begin."""

    account: str
    currency: str
    sequence: str = ""
    closing: Balance | None = None
    ends: str = ""


def link_of(statement: Statement) -> Link:
    """What the next statement of the same account must follow."""
    closing = statement.closing
    ends = closing.day.isoformat() if closing else statement.ends[:10]
    return Link(statement.account, statement.currency, statement.sequence, closing, ends)


def gap(before: Link, statement: Statement) -> tuple[Reason, str] | None:
    """What is wrong between two statements that follow one another, or None.

    Balances decide where both are stated, sequence numbers elsewhere: banks number by day, or begin anew
    each year. Where the balances join, an opening that is dated a day too early is no fault; an interim
    report continues nothing.
    """
    opening, closing = statement.opening, statement.closing
    begins = opening.day.isoformat() if opening else statement.begins[:10]
    ends = closing.day.isoformat() if closing else statement.ends[:10]
    if statement.kind is StatementKind.REPORT and not (closing and closing.code in FINAL):
        return None
    joins = before.closing and opening and before.closing.amount == opening.amount and ends >= before.ends
    if before.ends and begins and begins < before.ends and not joins:
        return Reason.DATES_OUT_OF_ORDER, f"begins {begins}, the one before ended {before.ends}"
    if before.closing and opening:
        if before.closing.amount != opening.amount:
            detail = (
                f"closed with {before.closing.amount.minor}, opens with {opening.amount.minor} minor units"
            )
            return Reason.STATEMENT_GAP, detail
        return None
    last, this = _number(before.sequence), _number(statement.sequence)
    if last and this and this not in {last, last + 1, 1}:
        return Reason.STATEMENT_GAP, f"number {before.sequence} is followed by {statement.sequence}"
    return None


def pages_of(statements: Sequence[Statement]) -> list[list[int]]:
    """The places of a file's statements, those together that are pages of one, or parts of one day."""
    groups: list[list[int]] = []
    last: dict[tuple[str, str], list[int]] = {}
    for place, statement in enumerate(statements):
        key = statement.account, statement.currency
        group = last.get(key)
        if group and _continues(statements[group[-1]], statement):
            group.append(place)
        else:
            last[key] = [place]
            groups.append(last[key])
    return groups


def _continues(before: Statement, statement: Statement) -> bool:
    if before.kind is not statement.kind:
        return False
    closing, opening, end = before.closing, statement.opening, statement.closing
    if closing and opening:
        is_page = INTERIM in {closing.code, opening.code}
        is_same_day = end is not None and end.day == closing.day
        return closing.amount == opening.amount and (is_page or is_same_day)
    same = before.statement_id == statement.statement_id and before.sequence == statement.sequence
    return bool(statement.statement_id) and same


def joined(pages: Sequence[Statement]) -> Statement:
    """Pages as the one statement that they are."""
    first, last = pages[0], pages[-1]
    balances = [balance for balance in (first.opening, last.closing) if balance]
    return replace(
        first,
        ends=last.ends,
        balances=tuple(balances),
        entry_count=sum(page.entry_count for page in pages),
        credit_count=sum(page.credit_count for page in pages),
        debit_count=sum(page.debit_count for page in pages),
        credits=sum(page.credits for page in pages),
        debits=sum(page.debits for page in pages),
    )


def check_chain(problems: Problems, statements: Iterable[Statement]) -> None:
    """Note gaps between the statements of one file, account by account."""
    links: dict[tuple[str, str], Link] = {}
    seen: dict[tuple[str, str, Balance | None], int] = {}
    for statement in statements:
        key = statement.account, statement.currency
        wrong = gap(links[key], statement) if key in links else None
        if wrong:
            problems.add(statement.line, *wrong)
        links[key] = link_of(statement)
        name = statement.statement_id, statement.account, statement.opening
        if statement.statement_id and seen.setdefault(name, statement.line) != statement.line:
            detail = f"statement {statement.statement_id} stands at line {seen[name]} too"
            problems.add(statement.line, Reason.DUPLICATE_ID, detail)


def _number(sequence: str) -> int:
    text = sequence.partition("/")[0]
    return int(text) if text.isdecimal() and text.isascii() else 0
