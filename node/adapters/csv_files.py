"""CSV with a mapping file (TOML): payments or a statement's entries, in the columns and spellings of
whoever made them.

    kind = "payments"            # or "statement"
    delimiter = ";"
    encoding = "utf-8"
    decimal = ","                # decimal mark; `group` is the mark between thousands, removed
    date = "%d.%m.%Y"
    skip = 0                     # lines before the header
    [columns]                    # our field = their column
    amount = "Betrag"
    creditor_account = "IBAN"
    [constants]                  # what the file does not say
    currency = "EUR"

Fields of payments: debtor_account, debtor_name, creditor_account, creditor_name, amount, currency,
end_to_end_id, uetr, requested, purpose, remittance, message_id. Of statements: account, currency, booked,
valued, amount (signed, or ``debit`` and ``credit``), reference, end_to_end_id, counterparty_name,
counterparty_account, information, opening, closing. Columns that the mapping does not name are kept as
unmapped.
"""

import csv
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

from node.adapters.identifiers import check_iban, check_uetr
from node.adapters.money import parse_money
from node.adapters.mt_fields import lines_of
from node.adapters.records import (
    Balance,
    Entry,
    EntryDetail,
    Message,
    Money,
    Party,
    PaymentInstruction,
    Record,
    References,
    Statement,
    StatementKind,
)
from node.adapters.refusals import Bad, Problems, Reason
from node.adapters.statement_rules import Tally, check_statement

KEYS: Final = frozenset(
    {"kind", "delimiter", "encoding", "decimal", "group", "date", "skip", "columns", "constants"}
)
PAYMENT_FIELDS: Final = frozenset(
    {
        *("debtor_account", "debtor_name", "creditor_account", "creditor_name", "amount", "currency", "uetr"),
        *("end_to_end_id", "requested", "purpose", "remittance", "message_id"),
    }
)
STATEMENT_FIELDS: Final = frozenset(
    {
        *(
            "account",
            "currency",
            "booked",
            "valued",
            "amount",
            "debit",
            "credit",
            "reference",
            "end_to_end_id",
        ),
        *("counterparty_name", "counterparty_account", "information", "opening", "closing", "message_id"),
    }
)
MAPPING_BYTES_MAX: Final = 65_536
_IBAN_LIKE: Final = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{8,30}")


@dataclass(frozen=True, slots=True)
class Columns:
    """What a mapping file says."""

    kind: str
    delimiter: str = ","
    encoding: str = "utf-8"
    decimal: str = "."
    group: str = ""
    date: str = "%Y-%m-%d"
    skip: int = 0
    columns: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)


def load_mapping(path: Path) -> Columns:
    """A mapping file. Raises FileRefused MAPPING, OSError."""
    problems = Problems(path.name)
    raw = path.read_bytes()
    try:
        if len(raw) > MAPPING_BYTES_MAX:
            raise Bad(Reason.MAPPING, f"more than {MAPPING_BYTES_MAX:,} bytes")
        return _mapping(tomllib.loads(raw.decode()))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise problems.stop(0, Reason.MAPPING, str(error)) from error
    except Bad as bad:
        raise problems.stop(0, bad.reason, bad.detail) from bad


def _mapping(told: dict[str, Any]) -> Columns:
    unknown = sorted(set(told) - KEYS)
    if unknown:
        raise Bad(Reason.MAPPING, f"unknown key {unknown[0]}")
    kind = told.get("kind", "payments")
    known = {"payments": PAYMENT_FIELDS, "statement": STATEMENT_FIELDS}.get(kind, frozenset())
    if not known:
        raise Bad(Reason.MAPPING, 'kind is "payments" or "statement"')
    for part in ("columns", "constants"):
        table = told.get(part, {})
        if not isinstance(table, dict) or not all(isinstance(value, str) for value in table.values()):
            raise Bad(Reason.MAPPING, f"{part} is a table of texts")
        strange = sorted(set(table) - known)
        if strange:
            raise Bad(Reason.MAPPING, f"{part}: {strange[0]} is no field of {kind}")
    for key in ("delimiter", "encoding", "decimal", "group", "date"):
        if not isinstance(told.get(key, ""), str):
            raise Bad(Reason.MAPPING, f"{key} is a text")
    if told.get("decimal", ".") not in {".", ","} or len(told.get("delimiter", ",")) != 1:
        raise Bad(Reason.MAPPING, "decimal is a point or a comma, delimiter one character")
    skip = told.get("skip", 0)
    if not isinstance(skip, int) or not 0 <= skip <= 1_000:  # noqa: PLR2004 - lines before the header
        raise Bad(Reason.MAPPING, "skip is a number of lines")
    return Columns(**{**told, "kind": kind})


def read_csv(file: BinaryIO, mapping: Columns, problems: Problems, name: str) -> Iterator[Record]:
    """The records of a CSV file; name: its message id where no column gives one. Raises FileRefused."""
    read = _payments if mapping.kind == "payments" else _statement
    return read(_rows(file, mapping, problems), mapping, problems, name)


Row = tuple[int, dict[str, str], tuple[tuple[str, str], ...]]


def _rows(file: BinaryIO, mapping: Columns, problems: Problems) -> Iterator[Row]:
    """(line, our fields, unmapped) of every row."""
    numbers: list[int] = [0]

    def texts() -> Iterator[str]:
        for number, text in lines_of(file, problems, mapping.encoding):
            numbers[0] = number
            if number > mapping.skip:
                yield text + "\n"

    rows = csv.reader(texts(), delimiter=mapping.delimiter, strict=True)
    try:
        header = [name.strip() for name in next(rows, [])]
        missing = [column for column in mapping.columns.values() if column not in header]
        if missing:
            raise problems.stop(mapping.skip + 1, Reason.MAPPING, f"the file has no column {missing[0]!r}")
        ours = {column: field for field, column in mapping.columns.items()}
        for row in rows:
            if not row or not any(row):
                continue
            if len(row) != len(header):
                problems.add(numbers[0], Reason.BAD_VALUE, f"{len(row)} fields instead of {len(header)}")
                continue
            found = dict(mapping.constants)
            rest: list[tuple[str, str]] = []
            for column, text in zip(header, row, strict=True):
                if column in ours:
                    found[ours[column]] = text.strip()
                elif text.strip():
                    rest.append((column, text.strip()))
            yield numbers[0], found, tuple(rest)
    except csv.Error as error:
        raise problems.stop(numbers[0], Reason.NOT_WELL_FORMED, str(error)) from error


def _need(row: Mapping[str, str], name: str, line: int) -> str:
    text = row.get(name, "")
    if not text:
        raise Bad(Reason.ELEMENT_MISSING, name, line)
    return text


def _account(text: str, line: int) -> str:
    bare = text.replace(" ", "")
    try:
        return check_iban(bare) if _IBAN_LIKE.fullmatch(bare) else text
    except Bad as bad:
        raise Bad(bad.reason, bad.detail, line) from bad


def _day(text: str, mapping: Columns, line: int) -> date | None:
    if not text:
        return None
    try:
        return datetime.strptime(text, mapping.date).date()  # noqa: DTZ007 - a calendar date has no zone
    except ValueError as error:
        raise Bad(Reason.BAD_DATE, repr(text[:40]), line) from error


def _money(text: str, currency: str, mapping: Columns, line: int) -> Money:
    sign = -1 if text.startswith("-") or text.endswith("-") else 1
    bare = text.strip("+- ")
    bare = bare.replace(mapping.group, "") if mapping.group else bare
    money = parse_money(bare, currency, mark=mapping.decimal, line=line)
    return Money(sign * money.minor, currency)


def _payments(rows: Iterator[Row], mapping: Columns, problems: Problems, name: str) -> Iterator[Record]:
    seen: dict[str, int] = {}
    yield Message("csv", "csv", mapping.constants.get("message_id", name))
    for line, row, rest in rows:
        try:
            money = _money(_need(row, "amount", line), _need(row, "currency", line), mapping, line)
            if money.minor <= 0:
                raise Bad(Reason.BAD_AMOUNT, "a payment is more than zero", line)
            uetr = check_uetr(row["uetr"]) if row.get("uetr") else ""
            if uetr and seen.setdefault(uetr, line) != line:
                raise Bad(Reason.DUPLICATE_ID, f"UETR {uetr} stands at line {seen[uetr]} too", line)
            yield PaymentInstruction(
                row.get("message_id", "") or name,
                References(row.get("end_to_end_id", ""), uetr=uetr),
                money,
                Party(row.get("debtor_name", ""), _account(_need(row, "debtor_account", line), line)),
                Party(row.get("creditor_name", ""), _account(_need(row, "creditor_account", line), line)),
                requested=_day(row.get("requested", ""), mapping, line),
                purpose=row.get("purpose", ""),
                remittance=(row["remittance"],) if row.get("remittance") else (),
                line=line,
                unmapped=rest,
            )
        except Bad as bad:
            problems.note(bad, line)


def _statement(rows: Iterator[Row], mapping: Columns, problems: Problems, name: str) -> Iterator[Record]:
    tally, days = Tally(0), []
    first: dict[str, str] = {}
    yield Message("csv", "csv", mapping.constants.get("message_id", name))
    for line, row, rest in rows:
        first = first or row
        try:
            entry = _entry(line, row, rest, mapping)
            if row.get("account", "") != first.get("account", ""):
                raise Bad(Reason.BAD_VALUE, f"a second account {row['account'][:40]!r}", line)
            if entry.booked:
                days.append(entry.booked)
            tally.add(entry)
            yield entry
        except Bad as bad:
            tally.refused += 1
            problems.note(bad, line)
    if not first:
        return
    try:
        currency = _need(first, "currency", 1)
        begins, ends = (min(days), max(days)) if days else (date.min, date.min)
        balances = tuple(
            Balance(code, _money(first[name], currency, mapping, 1), day)
            for code, name, day in (("OPBD", "opening", begins), ("CLBD", "closing", ends))
            if first.get(name)
        )
        account = _account(_need(first, "account", 1), 1)
        statement = Statement(
            name, name, StatementKind.STATEMENT, account, currency, balances=balances, line=1
        )
        statement = tally.counted(statement)
    except Bad as bad:
        problems.note(bad, 1)
        return
    check_statement(problems, statement, tally)
    yield statement


def _entry(line: int, row: Mapping[str, str], rest: tuple[tuple[str, str], ...], mapping: Columns) -> Entry:
    currency = _need(row, "currency", line)
    if row.get("debit") or row.get("credit"):
        side = "credit" if row.get("credit") else "debit"
        money = _money(row[side], currency, mapping, line)
        money = Money(abs(money.minor) * (1 if side == "credit" else -1), currency)
    else:
        money = _money(_need(row, "amount", line), currency, mapping, line)
    party = Party(row.get("counterparty_name", ""), row.get("counterparty_account", ""))
    return Entry(
        0,
        money,
        _day(_need(row, "booked", line), mapping, line),
        _day(row.get("valued", ""), mapping, line),
        row.get("reference", ""),
        information=row.get("information", ""),
        details=(EntryDetail(References(row.get("end_to_end_id", "")), None, party),),
        line=line,
        unmapped=rest,
    )
