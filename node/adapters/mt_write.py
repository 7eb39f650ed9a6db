"""SWIFT MT out: MT940, MT942, MT950 statements, MT103 and MT202 payments, with bare text blocks or in SWIFT
blocks.

Text is held to SWIFT's character set x: what it lacks is written as a full stop, so that nothing in a
reference can begin a field. Lines and fields keep the lengths of the standard.
"""

import re
from collections.abc import Iterable
from datetime import date
from typing import BinaryIO, Final

from node.adapters.iso_write_statements import check_written
from node.adapters.money import format_money
from node.adapters.records import Balance, Entry, Money, Party, PaymentInstruction, Statement
from node.adapters.refusals import Bad, Reason
from node.adapters.statement_rules import Tally

LINE_MAX: Final = 65
LINES_MAX: Final = 6
REFERENCE_MAX: Final = 16
ACCOUNT_MAX: Final = 35
PARTY_LINE_MAX: Final = 35
END: Final = "\r\n"

_X: Final = re.compile(r"[^A-Za-z0-9/\-?:().,'+ ]")


def swift_text(text: str) -> str:
    """A text in SWIFT's character set x, on one line."""
    return _X.sub(".", text)


def write_mt9(file: BinaryIO, number: str, statement: Statement, entries: Iterable[Entry]) -> None:
    """A statement as MT940, MT942 or MT950. Raises Bad COUNT_DIFFERS, TOTAL_DIFFERS, BAD_VALUE."""
    opening, closing = statement.opening, statement.closing
    interim = number == "942"
    if not interim and (opening is None or closing is None):
        raise Bad(Reason.ELEMENT_MISSING, "an opening and a closing balance")
    put = _Put(file)
    put.field("20", _short(statement.statement_id))
    put.field("25", swift_text(statement.account)[:ACCOUNT_MAX])
    put.field("28C", f"{statement.sequence or '1'}/1")
    if interim:
        put.field("34F", f"{statement.currency}0,")
        moment = re.sub(r"[^0-9]", "", statement.created)
        put.field("13D", f"{moment[2:12]}+0000")
    elif opening is not None:
        put.field("60F", _balance(opening))
    tally = Tally(0)
    for entry in entries:
        tally.add(entry)
        _entry(put, entry, described=number != "950")
    if interim:
        put.field("90D", f"{tally.debit_count}{_plain(Money(tally.debits, statement.currency))}")
        put.field("90C", f"{tally.credit_count}{_plain(Money(tally.credits, statement.currency))}")
    elif closing is not None:
        put.field("62F", _balance(closing))
        available = [balance for balance in statement.balances if balance.code == "CLAV"]
        for balance in available[:1]:
            put.field("64", _balance(balance))
    put.end()
    check_written(statement, tally)


class _Put:
    """Fields, each on a line of its own."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def field(self, tag: str, *lines: str) -> None:
        self._file.write(f":{tag}:{END.join(lines)}{END}".encode("ascii"))

    def end(self) -> None:
        self._file.write(f"-{END}".encode("ascii"))


def _plain(money: Money) -> str:
    text = format_money(money, mark=",")
    return f"{money.currency}{text if ',' in text else text + ','}"


def _amount(money: Money) -> str:
    return _plain(money)[3:]


def _balance(balance: Balance) -> str:
    sign = "C" if balance.amount.minor >= 0 else "D"
    return f"{sign}{balance.day.strftime('%y%m%d')}{_plain(balance.amount)}"


def _short(text: str) -> str:
    """A reference of 16 characters; a longer one is refused where it names a message, never cut."""
    found = swift_text(text)
    if not found or len(found) > REFERENCE_MAX or found[0] == "/" or found[-1] == "/" or "//" in found:
        raise Bad(Reason.BAD_VALUE, f"{text[:40]!r} is no SWIFT reference of 1 to {REFERENCE_MAX} characters")
    return found


def _entry(put: _Put, entry: Entry, *, described: bool) -> None:
    """``:61:`` carries a reference only where it fits whole; ``:86:`` carries it in any case."""
    detail = entry.detail
    own = swift_text(detail.references.end_to_end_id)
    fits = own and len(own) <= REFERENCE_MAX and "//" not in own and own.strip("/") == own
    mark = "C" if entry.amount.minor >= 0 else "D"
    if entry.reversal:
        mark = "RD" if mark == "C" else "RC"
    valued = entry.valued or entry.booked
    if valued is None:
        raise Bad(Reason.ELEMENT_MISSING, "a value date")
    booked = entry.booked.strftime("%m%d") if entry.booked else ""
    kind = entry.code if re.fullmatch(r"[NSF][A-Z0-9]{3}", entry.code) else "NTRF"
    bank = swift_text(entry.reference)[:REFERENCE_MAX].strip("/")
    line = (
        f"{valued.strftime('%y%m%d')}{booked}{mark}{_amount(entry.amount)}{kind}{own if fits else 'NONREF'}"
    )
    put.field("61", line + (f"//{bank}" if bank else ""))
    if described:
        put.field("86", *_described(entry))


def _described(entry: Entry) -> list[str]:
    detail = entry.detail
    words = [("EREF", detail.references.end_to_end_id), ("ORDP" if entry.amount.minor >= 0 else "BENM", "")]
    party = " ".join(part for part in (detail.counterparty.account, detail.counterparty.name) if part)
    words[1] = (words[1][0], party)
    words += [("PURP", detail.purpose), ("REMI", " ".join(detail.remittance) or entry.information)]
    text = "".join(f"/{word}/{swift_text(value).strip('/')}" for word, value in words if value) or "/REMI/"
    lines = [text[start : start + LINE_MAX] for start in range(0, len(text), LINE_MAX)][:LINES_MAX]
    return [line if not line.startswith((":", "-")) else f".{line[1:]}" for line in lines]


# --- payments -----------------------------------------------------------------------------------


def write_mt103(
    file: BinaryIO, instruction: PaymentInstruction, *, sender: str = "", receiver: str = ""
) -> None:
    """A customer's credit transfer. sender, receiver: BICs; with both the message stands in SWIFT blocks.

    Raises Bad.
    """
    put = _headed(file, "103", instruction, sender, receiver)
    put.field("20", _reference(instruction))
    put.field("23B", "CRED")
    put.field("32A", _value(instruction))
    put.field("50K", *_party(instruction.debtor))
    if instruction.debtor.agent:
        put.field("52A", instruction.debtor.agent)
    if instruction.creditor.agent:
        put.field("57A", instruction.creditor.agent)
    put.field("59", *_party(instruction.creditor))
    reference = instruction.references.end_to_end_id
    text = swift_text(f"/ROC/{reference}" if reference else " ".join(instruction.remittance))
    if text:
        put.field("70", *[text[start : start + 35] for start in range(0, len(text), 35)][:4])
    put.field("71A", "SHA")
    _tail(file, sender, receiver)


def write_mt202(
    file: BinaryIO, instruction: PaymentInstruction, *, sender: str = "", receiver: str = ""
) -> None:
    """A bank's own transfer. Raises Bad."""
    put = _headed(file, "202", instruction, sender, receiver)
    put.field("20", _reference(instruction))
    put.field("21", _short(instruction.references.end_to_end_id or "NONREF"))
    put.field("32A", _value(instruction))
    for tag, party in (("52A", instruction.debtor), ("58A", instruction.creditor)):
        if not party.bic:
            raise Bad(Reason.ELEMENT_MISSING, f":{tag}: a bank's BIC", instruction.line)
        put.field(tag, *([f"/{swift_text(party.account)[:34]}"] if party.account else []), party.bic)
    _tail(file, sender, receiver)


def _headed(file: BinaryIO, number: str, one: PaymentInstruction, sender: str, receiver: str) -> _Put:
    if sender and receiver:
        user = f"{{3:{{121:{one.references.uetr}}}}}" if one.references.uetr else ""
        blocks = f"{{1:F01{_terminal(sender)}0000000000}}{{2:I{number}{_terminal(receiver)}N}}{user}{{4:{END}"
        file.write(blocks.encode("ascii"))
    return _Put(file)


def _terminal(bic: str) -> str:
    return f"{bic[:8]}X{bic[8:].ljust(3, 'X')}"


def _tail(file: BinaryIO, sender: str, receiver: str) -> None:
    file.write((f"-}}{END}" if sender and receiver else f"-{END}").encode("ascii"))


def _reference(instruction: PaymentInstruction) -> str:
    references = instruction.references
    return _short(references.instruction_id or references.transaction_id or instruction.message_id)


def _value(instruction: PaymentInstruction) -> str:
    if instruction.requested is None:
        raise Bad(Reason.ELEMENT_MISSING, ":32A: a value date", instruction.line)
    return f"{_day(instruction.requested)}{_plain(instruction.amount)}"


def _day(day: date) -> str:
    return day.strftime("%y%m%d")


def _party(party: Party) -> list[str]:
    name = swift_text(party.name or party.bic or "NOTPROVIDED")
    lines = [name[start : start + PARTY_LINE_MAX] for start in range(0, len(name), PARTY_LINE_MAX)][:4]
    return ([f"/{swift_text(party.account)[:34]}"] if party.account else []) + lines
