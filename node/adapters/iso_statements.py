"""ISO 20022 statements in: camt.052 reports, camt.053 statements, camt.054 notifications (each from .02).

Entries are yielded as they are read, their statement after them. A counterparty's account is kept as the
bank wrote it: a bank's statement is not refused for what its customer's debtor typed.
"""

from collections.abc import Iterator
from datetime import date
from typing import BinaryIO, Final

from node.adapters.iso_payments import NOT_PROVIDED, Envelope, Places, agent
from node.adapters.money import ControlSum
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
from node.adapters.xml_in import ANY, Element, Fields, elements, parse_day

ROOTS: Final = {
    "camt.052": ("BkToCstmrAcctRpt", "Rpt", StatementKind.REPORT),
    "camt.053": ("BkToCstmrStmt", "Stmt", StatementKind.STATEMENT),
    "camt.054": ("BkToCstmrDbtCdtNtfctn", "Ntfctn", StatementKind.NOTIFICATION),
}
CREDIT: Final = "CRDT"
DEBIT: Final = "DBIT"
BALANCES_MAX: Final = 100


def read_camt(file: BinaryIO, version: str, problems: Problems) -> Iterator[Record]:
    """Reports, statements or notifications. Raises FileRefused."""
    family = version[:8]
    root, part, kind = ROOTS[family]
    places: Places = {"AppHdr": (ANY,), "GrpHdr": (root,), "Ntry": (part,), part: (root,)}
    envelope = Envelope(family, version, problems)
    statements: list[Statement] = []
    tally = Tally(0)
    for element in elements(file, problems, places):
        try:
            match element.name:
                case "AppHdr":
                    envelope.application_header(element)
                case "GrpHdr":
                    yield _message(element, envelope)
                case "Ntry":
                    entry = _entry(element, tally.number)
                    tally.add(entry)
                    yield entry
                case _:
                    statement = _statement(element, envelope, kind, tally)
                    check_statement(problems, statement, tally)
                    statements.append(statement)
                    tally = Tally(len(statements))
                    yield statement
        except Bad as bad:
            tally.refused += 1
            problems.note(bad, element.line)
    if envelope.message is None:
        problems.add(0, Reason.ELEMENT_MISSING, "GrpHdr")
    check_chain(problems, statements)


def _message(element: Element, envelope: Envelope) -> Message:
    fields = element.fields()
    return envelope.open(element, "", "", fields)


def _sign(text: str, line: int) -> int:
    if text not in {CREDIT, DEBIT}:
        raise Bad(Reason.BAD_VALUE if text else Reason.ELEMENT_MISSING, f"CdtDbtInd {text[:20]}", line)
    return 1 if text == CREDIT else -1


def _statement(element: Element, envelope: Envelope, kind: StatementKind, tally: Tally) -> Statement:
    fields = element.fields(apart=("Bal",))
    parts = element.parts("Bal")
    if len(parts) > BALANCES_MAX:
        raise Bad(Reason.BAD_VALUE, f"more than {BALANCES_MAX} balances", element.line)
    balances = tuple(_balance(part) for part in parts)
    account = fields.iban("Acct/Id/IBAN") or fields.take(
        "Acct/Id/Othr/Id", "Acct/Id/PrtryAcct/Id", "Acct/Id/BBAN"
    )
    if not account:
        raise Bad(Reason.ELEMENT_MISSING, "Acct/Id", element.line)
    currency = fields.take("Acct/Ccy") or next(
        (code for code in (*(balance.amount.currency for balance in balances), *tally.currencies)), ""
    )
    if tally.count or kind is not StatementKind.REPORT:  # a report may bring balances and sums alone
        _check_summary(fields, envelope.problems, tally, element.line)
    statement = Statement(
        envelope.message_id,
        fields.take("Id"),
        kind,
        account,
        currency,
        fields.take("ElctrncSeqNb") or fields.take("LglSeqNb"),
        fields.take("CreDtTm"),
        fields.take("FrToDt/FrDtTm"),
        fields.take("FrToDt/ToDtTm"),
        fields.take("Acct/Ownr/Nm"),
        agent(fields, "Acct/Svcr"),
        balances,
        line=element.line,
        unmapped=fields.rest() + tuple(row for part in parts for row in part.rest("Bal/")),
    )
    return tally.counted(statement)


def _balance(fields: Fields) -> Balance:
    """A balance. One without a sign, as a settlement system writes them, is a credit: entries that lead from
    the opening to the closing one show whether it is.
    """
    code = fields.require("Tp/CdOrPrtry/Cd", "Tp/CdOrPrtry/Prtry", "Tp/Cd")
    money = fields.require_money("Amt")
    sign = _sign(fields.take("CdtDbtInd") or CREDIT, fields.line)
    day = fields.day("Dt/Dt", "Dt/DtTm")
    if day is None:
        raise Bad(Reason.ELEMENT_MISSING, "Bal/Dt", fields.line)
    return Balance(code, Money(sign * money.minor, money.currency), day)


def _check_summary(fields: Fields, problems: Problems, tally: Tally, line: int) -> None:
    """Hold a statement's summary of its entries against what was read; a summary may leave out what it
    will.
    """
    if tally.refused:
        return
    read = (
        ("TtlNtries", tally.count, tally.credits + tally.debits),
        ("TtlCdtNtries", tally.credit_count, tally.credits),
        ("TtlDbtNtries", tally.debit_count, tally.debits),
    )
    currency = next(iter(tally.currencies), "")
    for name, count, minor in read:
        stated, total = fields.take(f"TxsSummry/{name}/NbOfNtries"), fields.take(f"TxsSummry/{name}/Sum")
        if stated and stated != str(count) and stated.lstrip("0") != str(count).lstrip("0"):
            problems.add(line, Reason.COUNT_DIFFERS, f"{name}: {stated[:20]} stated, {count:,} read")
        if total and currency:
            added = ControlSum()
            added.add(Money(minor, currency))
            if not added.agrees(total):
                problems.add(line, Reason.TOTAL_DIFFERS, f"{name}: {total} stated, {added.text} read")


def _entry(element: Element, number: int) -> Entry:
    fields = element.fields(apart=("NtryDtls",))
    money = fields.require_money("Amt")
    credit = _sign(fields.take("CdtDbtInd"), fields.line)
    reversal = fields.take("RvslInd") in {"true", "1"}
    batches = element.parts("NtryDtls", "Btch")
    details = tuple(
        _detail(part, credit=(credit > 0) != reversal) for part in element.parts("NtryDtls", "TxDtls")
    )
    booked, valued = fields.day("BookgDt/Dt", "BookgDt/DtTm"), fields.day("ValDt/Dt", "ValDt/DtTm")
    return Entry(
        number,
        Money(credit * money.minor, money.currency),
        booked if booked or valued else _day_of_statement(element),
        valued,
        fields.take("AcctSvcrRef"),
        fields.take("NtryRef"),
        fields.take("Sts/Cd", "Sts", "Sts/Prtry") or "BOOK",
        _code(fields),
        reversal,
        fields.take("AddtlNtryInf"),
        details,
        fields.line,
        fields.rest() + tuple(row for batch in batches for row in batch.rest("NtryDtls/Btch/")),
    )


def _day_of_statement(element: Element) -> date | None:
    """For an entry without a day: the last balance's, the end of the period, or when it was made."""
    told = element.holder(apart=("Ntry",))
    days = told.take_all("Bal/Dt/Dt", "Bal/Dt/DtTm")[-1:]
    texts = [*days, told.take("FrToDt/ToDtTm"), told.take("CreDtTm")]
    return next((parse_day(text, element.line) for text in texts if text), None)


def _code(fields: Fields) -> str:
    names = ("Domn/Cd", "Domn/Fmly/Cd", "Domn/Fmly/SubFmlyCd")
    found = [text for text in (fields.take(f"BkTxCd/{name}") for name in names) if text]
    return "/".join(found) or fields.take("BkTxCd/Prtry/Cd")


def _detail(fields: Fields, *, credit: bool) -> EntryDetail:
    end_to_end_id = fields.take("Refs/EndToEndId")
    references = References(
        "" if end_to_end_id == NOT_PROVIDED else end_to_end_id,
        fields.take("Refs/InstrId"),
        fields.take("Refs/TxId"),
        fields.take("Refs/UETR"),
    )
    fields.take("CdtDbtInd")  # the entry's, said again
    return EntryDetail(
        references,
        fields.money("Amt", "AmtDtls/TxAmt/Amt", "AmtDtls/InstdAmt/Amt"),
        _counterparty(fields, "Dbtr" if credit else "Cdtr"),
        fields.take("Purp/Cd", "Purp/Prtry"),
        fields.take_all("RmtInf/Ustrd", "RmtInf/Strd/CdtrRefInf/Ref"),
        fields.rest(),
    )


def _counterparty(fields: Fields, role: str) -> Party:
    party, account = f"RltdPties/{role}", f"RltdPties/{role}Acct/Id"
    return Party(
        fields.take(f"{party}/Pty/Nm", f"{party}/Nm", f"{party}/Agt/FinInstnId/Nm"),
        fields.take(f"{account}/IBAN", f"{account}/Othr/Id"),
        fields.take(
            f"{party}/Pty/Id/OrgId/AnyBIC", f"{party}/Id/OrgId/AnyBIC", f"{party}/Agt/FinInstnId/BICFI"
        ),
        agent=fields.take(f"RltdAgts/{role}Agt/FinInstnId/BICFI", f"RltdAgts/{role}Agt/FinInstnId/BIC"),
    )
