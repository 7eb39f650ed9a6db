"""ISO 20022 statements out: camt.052.001.08, camt.053.001.08 and camt.054.001.08, one statement a message.

Entries are written as they come; what was written is held against the statement's own counts and sums, so a
statement that does not add up is never completed.
"""

from collections.abc import Iterable
from typing import BinaryIO, Final

from node.adapters.identifiers import is_iban
from node.adapters.iso_payments import NOT_PROVIDED
from node.adapters.iso_statements import CREDIT, DEBIT, ROOTS
from node.adapters.iso_write import ID_MAX, NAME_MAX, write_account, write_agent
from node.adapters.money import ControlSum
from node.adapters.records import Balance, Entry, EntryDetail, Money, Statement, StatementKind
from node.adapters.refusals import Bad, Reason
from node.adapters.statement_rules import Tally
from node.adapters.xml_out import XmlOut

VERSION: Final = "001.08"
INFORMATION_MAX: Final = 500
ACCOUNT_MAX: Final = 34


def write_camt(file: BinaryIO, statement: Statement, entries: Iterable[Entry]) -> None:
    """A statement, report or notification by its kind. Raises Bad COUNT_DIFFERS, TOTAL_DIFFERS, BAD_VALUE."""
    family = next(name for name, (_, _, kind) in ROOTS.items() if kind is statement.kind)
    root, part, _ = ROOTS[family]
    with XmlOut(file, f"{family}.{VERSION}") as out:
        out.open(root, "GrpHdr")
        out.leaf("MsgId", statement.message_id, ID_MAX)
        out.leaf("CreDtTm", statement.created)
        out.close()
        out.open(part)
        _head(out, statement)
        tally = Tally(0)
        for entry in entries:
            tally.add(entry)
            _entry(out, entry)
        check_written(statement, tally)


def check_written(statement: Statement, tally: Tally) -> None:
    """Raises Bad where the entries are not those that the statement counts, or do not lead to its closing
    balance.
    """
    if (tally.credit_count, tally.debit_count) != (statement.credit_count, statement.debit_count):
        raise Bad(Reason.COUNT_DIFFERS, f"{statement.entry_count:,} stated, {tally.count:,} written")
    opening, closing = statement.opening, statement.closing
    if (tally.credits, tally.debits) != (statement.credits, statement.debits):
        raise Bad(Reason.TOTAL_DIFFERS, f"{tally.credits} and {tally.debits} written")
    if opening and closing and opening.amount.minor + tally.booked != closing.amount.minor:
        raise Bad(
            Reason.BALANCE_DIFFERS, f"{opening.amount.minor} + {tally.booked} is not {closing.amount.minor}"
        )


def _head(out: XmlOut, statement: Statement) -> None:
    out.leaf("Id", statement.statement_id, ID_MAX)
    out.leaf("ElctrncSeqNb", statement.sequence if statement.sequence.isdecimal() else "")
    out.leaf("CreDtTm", statement.created)
    if statement.begins and statement.ends:
        out.open("FrToDt")
        out.leaf("FrDtTm", statement.begins)
        out.leaf("ToDtTm", statement.ends)
        out.close()
    out.open("Acct")
    _account_id(out, statement.account)
    out.leaf("Ccy", statement.currency)
    out.leaf("Ownr/Nm", statement.owner, NAME_MAX)
    write_agent(out, "Svcr", statement.servicer)
    out.close()
    if statement.kind is not StatementKind.NOTIFICATION:
        for balance in statement.balances:
            _balance(out, balance)
    _summary(out, statement)


def _account_id(out: XmlOut, account: str) -> None:
    out.leaf("Id/IBAN" if is_iban(account) else "Id/Othr/Id", account, ACCOUNT_MAX)


def _balance(out: XmlOut, balance: Balance) -> None:
    out.open("Bal")
    out.leaf("Tp/CdOrPrtry/Cd", balance.code)
    _amount(out, balance.amount)
    out.leaf("Dt/Dt", balance.day.isoformat())
    out.close()


def _amount(out: XmlOut, money: Money) -> None:
    out.money("Amt", money)
    out.leaf("CdtDbtInd", CREDIT if money.minor >= 0 else DEBIT)


def _summary(out: XmlOut, statement: Statement) -> None:
    def total(minor: int) -> str:
        added = ControlSum()
        added.add(Money(minor, statement.currency))
        return added.text

    net = statement.credits - statement.debits
    out.open("TxsSummry", "TtlNtries")
    out.leaf("NbOfNtries", str(statement.entry_count))
    out.leaf("Sum", total(statement.credits + statement.debits))
    out.open("TtlNetNtry")
    out.leaf("Amt", total(abs(net)))
    out.leaf("CdtDbtInd", CREDIT if net >= 0 else DEBIT)
    out.close(2)
    for name, count, minor in (
        ("TtlCdtNtries", statement.credit_count, statement.credits),
        ("TtlDbtNtries", statement.debit_count, statement.debits),
    ):
        out.open(name)
        out.leaf("NbOfNtries", str(count))
        out.leaf("Sum", total(minor))
        out.close()
    out.close()


def _entry(out: XmlOut, entry: Entry) -> None:
    out.open("Ntry")
    out.leaf("NtryRef", entry.entry_reference, ID_MAX)
    _amount(out, entry.amount)
    if entry.reversal:
        out.leaf("RvslInd", "true")
    out.leaf("Sts/Cd", entry.status)
    out.leaf("BookgDt/Dt", entry.booked.isoformat() if entry.booked else "")
    out.leaf("ValDt/Dt", entry.valued.isoformat() if entry.valued else "")
    out.leaf("AcctSvcrRef", entry.reference, ID_MAX)
    _code(out, entry.code)
    if entry.details:
        out.open("NtryDtls")
        for detail in entry.details:
            _detail(out, detail, entry)
        out.close()
    out.leaf("AddtlNtryInf", entry.information, INFORMATION_MAX)
    out.close()


def _code(out: XmlOut, code: str) -> None:
    parts = code.split("/")
    out.open("BkTxCd")
    if len(parts) == 3:  # noqa: PLR2004 - domain, family, sub-family
        out.open("Domn")
        out.leaf("Cd", parts[0])
        out.open("Fmly")
        out.leaf("Cd", parts[1])
        out.leaf("SubFmlyCd", parts[2])
        out.close(2)
    else:
        out.leaf("Prtry/Cd", code or NOT_PROVIDED, ID_MAX)
    out.close()


def _detail(out: XmlOut, detail: EntryDetail, entry: Entry) -> None:
    references, party = detail.references, detail.counterparty
    out.open("TxDtls")
    out.open("Refs")
    out.leaf("InstrId", references.instruction_id, ID_MAX)
    out.leaf("EndToEndId", references.end_to_end_id or NOT_PROVIDED, ID_MAX)
    out.leaf("UETR", references.uetr)
    out.leaf("TxId", references.transaction_id, ID_MAX)
    out.close()
    if detail.amount:
        _amount(
            out,
            Money(abs(detail.amount.minor) * (1 if entry.amount.minor >= 0 else -1), detail.amount.currency),
        )
    role = "Dbtr" if (entry.amount.minor >= 0) != entry.reversal else "Cdtr"
    if party.name or party.account:
        out.open("RltdPties")
        out.leaf(f"{role}/Pty/Nm", party.name, NAME_MAX)
        write_account(out, f"{role}Acct", party.account)
        out.close()
    if party.agent:
        out.open("RltdAgts")
        write_agent(out, f"{role}Agt", party.agent)
        out.close()
    out.leaf("Purp/Cd" if len(detail.purpose) == 4 else "Purp/Prtry", detail.purpose, ID_MAX)  # noqa: PLR2004
    if detail.remittance:
        out.open("RmtInf")
        for text in detail.remittance:
            out.leaf("Ustrd", text, NAME_MAX)
        out.close()
    out.close()
