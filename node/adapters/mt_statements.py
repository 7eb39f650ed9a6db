"""SWIFT MT statements in: MT940 and MT950 statements, MT942 interim reports.

An entry is a ``:61:`` with each ``:86:`` behind it. Of ``:86:`` the text is kept as it stands; what its
structured forms say of references and of the other side is understood (mt_information.py).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from typing import BinaryIO, Final

from node.adapters.identifiers import is_iban
from node.adapters.money import format_money
from node.adapters.mt_fields import Field, MtMessage, amount_of, day_of, messages_of, near
from node.adapters.mt_information import information_of, reference
from node.adapters.records import (
    Balance,
    Entry,
    EntryDetail,
    Message,
    Money,
    Party,
    Record,
    References,
    Statement,
    StatementKind,
)
from node.adapters.refusals import Bad, Problems, Reason
from node.adapters.statement_rules import Tally, check_chain, check_statement

OWN_REFERENCE_MAX: Final = 16
"""A longer text with blanks in it is none: some banks write the other side's account and name there."""
BALANCE_CODES: Final = {
    "60F": "OPBD",
    "60M": "ITBD",
    "62F": "CLBD",
    "62M": "ITBD",
    "64": "CLAV",
    "65": "FWAV",
}
KINDS: Final = {"940": StatementKind.STATEMENT, "950": StatementKind.STATEMENT, "942": StatementKind.REPORT}

_ENTRY: Final = re.compile(
    r"(?P<valued>[0-9]{6})(?P<booked>[0-9]{6}|[0-9]{4}|\s{4})?(?P<mark>R?[CD]|E[CD])(?P<funds>[A-Z])?"
    r"(?P<amount>[0-9]{1,18}[,.]?[0-9]{0,4})\s?(?P<type>[NSF][A-Z0-9 ]{3}|[A-Z][A-Z0-9 ]{3}|(?=//))"
    r"(?P<reference>.{0,80}?)(?://(?P<bank>.{0,34}))?"
)
_BALANCE: Final = re.compile(r"([CD])([0-9]{6})([A-Z]{3})([0-9]{1,18}[,.]?[0-9]{0,4})\s*")
_SUM: Final = re.compile(r"([0-9]{1,9})([A-Z]{3})([0-9]{1,15}[,.]?[0-9]{0,4})\s*")


@dataclass(slots=True)
class Reading:
    """One statement while its fields come."""

    tally: Tally
    balances: list[Balance] = field(default_factory=list)
    pending: Entry | None = None
    is_described: bool = False
    information: list[tuple[str, str]] = field(default_factory=list)
    closed: bool = False


def read_mt9(file: BinaryIO, problems: Problems, encoding: str, number: str = "") -> Iterator[Record]:
    """Statements and interim reports. number: 940, 942 or 950 if the caller says so. Raises FileRefused."""
    statements: list[Statement] = []
    reading = Reading(Tally(0))
    for message, one in messages_of(file, problems, encoding):
        try:
            if one is not None:
                yield from _field(message, one, reading)
                continue
        except Bad as bad:
            reading.tally.refused += 1
            problems.note(bad, one.line if one else message.line)
            continue
        yield from _flushed(reading)
        try:
            envelope, statement = _statement(message, reading, problems, number)
            statements.append(statement)
            yield envelope
            yield statement
        except Bad as bad:
            problems.note(bad, message.line)
        reading = Reading(Tally(len(statements)))
    check_chain(problems, statements)


def _flushed(reading: Reading) -> Iterator[Entry]:
    """The entry that waited for its ``:86:``."""
    if reading.pending is not None:
        entry, reading.pending, reading.is_described = reading.pending, None, False
        reading.tally.add(entry)
        yield entry


def _field(message: MtMessage, one: Field, reading: Reading) -> Iterator[Entry]:
    if one.tag == "86" and reading.pending is not None:
        reading.pending = _described(reading.pending, one, again=reading.is_described)
        reading.is_described = True
        return
    yield from _flushed(reading)
    if one.tag == "61":
        reading.pending = _entry(one, reading, _currency(reading) or _floor_currency(message))
    elif one.tag in BALANCE_CODES:
        reading.balances.append(_balance(one))
    elif one.tag in {"20", "21", "25", "28", "28C", "13", "13D", "34F", "90D", "90C"}:
        message.fields.append(one)
    else:
        reading.information.append((f":{one.tag}:", one.whole))
    if one.tag in BALANCE_CODES:
        message.fields.append(one)


def _currency(reading: Reading) -> str:
    return reading.balances[0].amount.currency if reading.balances else ""


def _entry(one: Field, reading: Reading, currency: str) -> Entry:
    found = _ENTRY.fullmatch(one.text.rstrip())
    if found is None:
        raise Bad(Reason.BAD_VALUE, f":61:{one.text[:60]}", one.line)
    valued = day_of(found["valued"], one.line)
    booked = _booked((found["booked"] or "").strip(), valued, one.line)
    mark = found["mark"]
    credit = mark in {"C", "RD", "EC"}
    text = found["amount"].replace(".", ",")
    money = amount_of(text, currency, one.line)
    own, bank = reference(found["reference"] or ""), reference(found["bank"] or "")
    after = one.lines[1:]
    if len(own) > OWN_REFERENCE_MAX and " " in own:
        own, after = "", (own, *after)
    return Entry(
        reading.tally.number,
        Money(money.minor if credit else -money.minor, money.currency),
        booked,
        valued,
        bank,
        status="PDNG" if mark.startswith("E") else "BOOK",
        code=found["type"].strip(),
        reversal=mark.startswith("R"),
        information="\n".join(after).strip(),
        details=(EntryDetail(References(own)),) if own else (),
        line=one.line,
    )


def _booked(text: str, valued: date, line: int) -> date:
    """The booking day, of four digits or of six; without any, the value day."""
    if not text:
        return valued
    return near(text, valued, line) if len(text) == len("MMDD") else day_of(text, line)


def _described(entry: Entry, one: Field, *, again: bool) -> Entry:
    """The entry with its information; again: with a further ``:86:``. An end-to-end reference inside goes
    before the one of ``:61:``.
    """
    said, unmapped, information = information_of(one.lines), entry.unmapped, one.whole
    if again:
        information = f"{entry.information}\n{information}"
    elif entry.information:
        unmapped = ((":61:+", entry.information),)
    before, other = entry.detail, said.counterparty
    if is_iban(entry.information) and not other.account:
        other = replace(other, account=entry.information)
    names = [said.references.end_to_end_id, before.references.end_to_end_id]
    names += [said.references.instruction_id, before.references.instruction_id]
    first, second = [*dict.fromkeys(name for name in names if name), "", ""][:2]
    found = EntryDetail(
        References(first, second),
        None,
        before.counterparty if before.counterparty != Party() else other,
        before.purpose or said.purpose,
        before.remittance + said.remittance,
    )
    details = (found,) if found != EntryDetail() else ()
    return replace(entry, information=information, details=details, unmapped=unmapped)


def _balance(one: Field) -> Balance:
    found = _BALANCE.fullmatch(one.text)
    if found is None:
        raise Bad(Reason.BAD_VALUE, f":{one.tag}:{one.text[:60]}", one.line)
    money = amount_of(found[4].replace(".", ","), found[3], one.line)
    sign = 1 if found[1] == "C" else -1
    return Balance(
        BALANCE_CODES[one.tag], Money(sign * money.minor, money.currency), day_of(found[2], one.line)
    )


def account_of(text: str) -> str:
    """The account of ``:25:``: an IBAN in any part of it, else the text; ``BIC/account`` and ``account
    CCY`` occur.
    """
    for part in (*text.split("/"), text):
        bare = part.strip().replace(" ", "")
        for candidate in (bare, bare[:-3]):
            if is_iban(candidate):
                return candidate
    return text.strip()


def _statement(
    message: MtMessage, reading: Reading, problems: Problems, said: str
) -> tuple[Message, Statement]:
    number = said or message.number
    if number not in KINDS:
        raise Bad(
            Reason.FORMAT_UNKNOWN, f"no MT940, MT942 or MT950 begins at line {message.line}", message.line
        )
    reference, account = message.require("20"), message.require("25")
    sequence = message.get("28C", "28")
    tally = reading.tally
    currency = _currency(reading) or _floor_currency(message)
    if not reading.balances and number != "942":
        raise Bad(Reason.ELEMENT_MISSING, ":60F:", message.line)
    created = message.get("13D", "13")
    envelope = Message(
        f"MT{number}", f"MT{number}", reference.text.strip(), sender=message.terminal, line=message.line
    )
    statement = Statement(
        envelope.message_id,
        f"{reference.text.strip()} {sequence.text.strip() if sequence else ''}".strip(),
        KINDS[number],
        account_of(account.text),
        currency,
        sequence.text.strip() if sequence else "",
        created.text.strip() if created else "",
        balances=tuple(reading.balances),
        line=message.line,
        unmapped=tuple(reading.information),
    )
    statement = tally.counted(statement)
    check_statement(problems, statement, tally)
    _check_sums(message, tally, problems)
    return envelope, statement


def _floor_currency(message: MtMessage) -> str:
    floor = message.get("34F", "90D", "90C")
    found = re.search(r"[A-Z]{3}", floor.text) if floor else None
    return found[0] if found else ""


def _check_sums(message: MtMessage, tally: Tally, problems: Problems) -> None:
    """Hold ``:90D:`` and ``:90C:`` against the entries."""
    read = {"90D": (tally.debit_count, tally.debits), "90C": (tally.credit_count, tally.credits)}
    for one in message.fields:
        if one.tag not in read or tally.refused:
            continue
        found = _SUM.fullmatch(one.text)
        if found is None:
            problems.add(one.line, Reason.BAD_VALUE, f":{one.tag}:{one.text[:60]}")
            continue
        count, minor = read[one.tag]
        if int(found[1]) != count:
            problems.add(one.line, Reason.COUNT_DIFFERS, f":{one.tag}: {found[1]} stated, {count:,} read")
        stated = amount_of(found[3].replace(".", ","), found[2], one.line)
        if stated.minor != minor:
            told = format_money(Money(minor, found[2]), mark=",")
            problems.add(one.line, Reason.TOTAL_DIFFERS, f":{one.tag}: {found[3]} stated, {told} read")
