"""ISO 20022 payments and answers out, one stated version each. What a record does not say is not written.

Versions: pain.001.001.09, pacs.008.001.08, pacs.009.001.08, pacs.002.001.10, pacs.004.001.09,
camt.056.001.08, camt.029.001.09.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import BinaryIO, Final

from node.adapters.identifiers import is_iban
from node.adapters.money import ControlSum
from node.adapters.records import (
    Kind,
    Money,
    Original,
    Party,
    PaymentInstruction,
    Recall,
    RecallAnswer,
    References,
    Return,
    Status,
)
from node.adapters.xml_out import XmlOut

WRITTEN: Final = {
    "pain.001": "pain.001.001.09",
    "pacs.008": "pacs.008.001.08",
    "pacs.009": "pacs.009.001.08",
    "pacs.002": "pacs.002.001.10",
    "pacs.004": "pacs.004.001.09",
    "camt.056": "camt.056.001.08",
    "camt.029": "camt.029.001.09",
}
"""Family -> the version that is written."""
ID_MAX: Final = 35
NAME_MAX: Final = 140
INFORMATION_MAX: Final = 105
CODE_LENGTH: Final = 4
NOT_PROVIDED: Final = "NOTPROVIDED"


@dataclass(frozen=True, slots=True)
class Envelope:
    """What a message says of itself. created: ISO 8601 with a zone. sender, receiver: BICs, or empty."""

    message_id: str
    created: str
    sender: str = ""
    receiver: str = ""
    name: str = ""


# --- parts --------------------------------------------------------------------------------------


def write_account(out: XmlOut, name: str, account: str) -> None:
    """An account by its IBAN, or by the bank's own number."""
    if account:
        out.leaf(f"{name}/Id/IBAN" if is_iban(account) else f"{name}/Id/Othr/Id", account, 34)


def write_agent(out: XmlOut, name: str, bic: str, *, needed: bool = False) -> None:
    """A bank by its BIC; where one is needed and not known, the message says so."""
    if bic:
        out.leaf(f"{name}/FinInstnId/BICFI", bic)
    elif needed:
        out.leaf(f"{name}/FinInstnId/Othr/Id", NOT_PROVIDED)


def _customer(out: XmlOut, name: str, party: Party) -> None:
    out.open(name)
    out.leaf("Nm", party.name or (NOT_PROVIDED if not party.bic else ""), NAME_MAX)
    if party.bic or party.lei:
        out.open("Id", "OrgId")
        out.leaf("AnyBIC", party.bic)
        out.leaf("LEI", party.lei)
        out.close(2)
    out.close()


def _bank(out: XmlOut, name: str, party: Party) -> None:
    out.open(name, "FinInstnId")
    out.leaf("BICFI", party.bic)
    out.leaf("LEI", party.lei)
    out.leaf("Nm", party.name or ("" if party.bic or party.lei else NOT_PROVIDED), NAME_MAX)
    out.close(2)


def _header(out: XmlOut, envelope: Envelope, count: int, total: ControlSum) -> None:
    out.leaf("MsgId", envelope.message_id, ID_MAX)
    out.leaf("CreDtTm", envelope.created)
    out.leaf("NbOfTxs", str(count))
    out.leaf("CtrlSum", total.text)


def _identification(out: XmlOut, references: References, *, transaction: bool = True) -> None:
    out.open("PmtId")
    out.leaf("InstrId", references.instruction_id, ID_MAX)
    out.leaf("EndToEndId", references.end_to_end_id or NOT_PROVIDED, ID_MAX)
    if transaction:
        out.leaf("TxId", references.transaction_id, ID_MAX)
    out.leaf("UETR", references.uetr)
    out.close()


def _ending(out: XmlOut, instruction: PaymentInstruction) -> None:
    purpose = instruction.purpose
    out.leaf("Purp/Cd" if len(purpose) == CODE_LENGTH else "Purp/Prtry", purpose, ID_MAX)
    if instruction.remittance:
        out.open("RmtInf")
        for text in instruction.remittance:
            out.leaf("Ustrd", text, NAME_MAX)
        out.close()


def _sum(amounts: Sequence[Money]) -> ControlSum:
    total = ControlSum()
    for money in amounts:
        total.add(money)
    return total


# --- payments -----------------------------------------------------------------------------------


def write_pain001(file: BinaryIO, envelope: Envelope, instructions: Sequence[PaymentInstruction]) -> None:
    """A payment initiation; instructions that follow one another with the same payment information are one
    block.

    Raises Bad.
    """
    with XmlOut(file, WRITTEN["pain.001"]) as out:
        out.open("CstmrCdtTrfInitn", "GrpHdr")
        _header(out, envelope, len(instructions), _sum([one.amount for one in instructions]))
        out.leaf("InitgPty/Nm", envelope.name or NOT_PROVIDED, NAME_MAX)
        out.close()
        shared = groupby(
            instructions, key=lambda one: (one.payment_information_id, one.debtor, one.requested)
        )
        for number, ((name, debtor, requested), group) in enumerate(shared, 1):
            block = list(group)
            out.open("PmtInf")
            out.leaf("PmtInfId", name or str(number), ID_MAX)
            out.leaf("PmtMtd", "TRF")
            out.leaf("NbOfTxs", str(len(block)))
            out.leaf("CtrlSum", _sum([one.amount for one in block]).text)
            out.leaf("ReqdExctnDt/Dt", requested.isoformat() if requested else envelope.created[:10])
            _customer(out, "Dbtr", debtor)
            write_account(out, "DbtrAcct", debtor.account)
            write_agent(out, "DbtrAgt", debtor.agent, needed=True)
            for one in block:
                out.open("CdtTrfTxInf")
                _identification(out, one.references, transaction=False)
                out.open("Amt")
                out.money("InstdAmt", one.amount)
                out.close()
                write_agent(out, "CdtrAgt", one.creditor.agent)
                _customer(out, "Cdtr", one.creditor)
                write_account(out, "CdtrAcct", one.creditor.account)
                _ending(out, one)
                out.close()
            out.close()


def write_pacs008(file: BinaryIO, envelope: Envelope, instructions: Sequence[PaymentInstruction]) -> None:
    """Customers' payments between banks. Raises Bad."""
    _write_pacs(file, envelope, instructions, "pacs.008", "FIToFICstmrCdtTrf")


def write_pacs009(file: BinaryIO, envelope: Envelope, instructions: Sequence[PaymentInstruction]) -> None:
    """Banks' own payments. Raises Bad."""
    _write_pacs(file, envelope, instructions, "pacs.009", "FICdtTrf")


def _write_pacs(
    file: BinaryIO, envelope: Envelope, instructions: Sequence[PaymentInstruction], family: str, root: str
) -> None:
    with XmlOut(file, WRITTEN[family]) as out:
        out.open(root, "GrpHdr")
        _header(out, envelope, len(instructions), _sum([one.amount for one in instructions]))
        out.leaf("SttlmInf/SttlmMtd", "CLRG")
        write_agent(out, "InstgAgt", envelope.sender)
        write_agent(out, "InstdAgt", envelope.receiver)
        out.close()
        for one in instructions:
            out.open("CdtTrfTxInf")
            _identification(out, one.references)
            out.money("IntrBkSttlmAmt", one.amount)
            out.leaf("IntrBkSttlmDt", one.requested.isoformat() if one.requested else envelope.created[:10])
            out.leaf("SttlmPrty", one.priority)
            _parties(out, one)
            _ending(out, one)
            out.close()


def _parties(out: XmlOut, one: PaymentInstruction) -> None:
    bank = one.kind is Kind.INSTITUTION
    write = _bank if bank else _customer
    if not bank:
        out.leaf("ChrgBr", "SHAR")
    write(out, "Dbtr", one.debtor)
    write_account(out, "DbtrAcct", one.debtor.account)
    write_agent(out, "DbtrAgt", one.debtor.agent, needed=not bank)
    write_agent(out, "CdtrAgt", one.creditor.agent, needed=not bank)
    write(out, "Cdtr", one.creditor)
    write_account(out, "CdtrAcct", one.creditor.account)


# --- answers ------------------------------------------------------------------------------------


def _reason(out: XmlOut, name: str, reason: str, information: Sequence[str]) -> None:
    if not reason and not information:
        return
    out.open(name)
    code = len(reason) == CODE_LENGTH and reason.isalnum() and reason.isupper()
    out.leaf("Rsn/Cd" if code else "Rsn/Prtry", reason[:ID_MAX])
    for text in information:
        for start in range(0, len(text), INFORMATION_MAX):
            out.leaf("AddtlInf", text[start : start + INFORMATION_MAX])
    out.close()


def _original(out: XmlOut, original: Original, *, group: bool = True, uetr: bool = True) -> None:
    if group and original.message_id:
        out.open("OrgnlGrpInf")
        out.leaf("OrgnlMsgId", original.message_id, ID_MAX)
        out.leaf("OrgnlMsgNmId", original.message_name or NOT_PROVIDED, ID_MAX)
        out.close()
    out.leaf("OrgnlInstrId", original.references.instruction_id, ID_MAX)
    out.leaf("OrgnlEndToEndId", original.references.end_to_end_id, ID_MAX)
    out.leaf("OrgnlTxId", original.references.transaction_id, ID_MAX)
    if uetr:
        out.leaf("OrgnlUETR", original.references.uetr)


def write_pacs002(file: BinaryIO, envelope: Envelope, statuses: Sequence[Status]) -> None:
    """A status report. Statuses without references speak of whole messages and come first. Raises Bad."""
    groups = [status for status in statuses if status.original.references == References()]
    with XmlOut(file, WRITTEN["pacs.002"]) as out:
        out.open("FIToFIPmtStsRpt", "GrpHdr")
        out.leaf("MsgId", envelope.message_id, ID_MAX)
        out.leaf("CreDtTm", envelope.created)
        write_agent(out, "InstgAgt", envelope.sender)
        write_agent(out, "InstdAgt", envelope.receiver)
        out.close()
        for status in groups:
            out.open("OrgnlGrpInfAndSts")
            out.leaf("OrgnlMsgId", status.original.message_id or NOT_PROVIDED, ID_MAX)
            out.leaf("OrgnlMsgNmId", status.original.message_name or NOT_PROVIDED, ID_MAX)
            out.leaf("GrpSts", status.status)
            _reason(out, "StsRsnInf", status.reason, status.information)
            out.close()
        for status in statuses:
            if status.original.references == References():
                continue
            out.open("TxInfAndSts")
            out.leaf("StsId", status.status_id, ID_MAX)
            _original(out, status.original)
            out.leaf("TxSts", status.status)
            _reason(out, "StsRsnInf", status.reason, status.information)
            out.close()


def write_pacs004(file: BinaryIO, envelope: Envelope, returns: Sequence[Return]) -> None:
    """Returns of payments. Raises Bad."""
    with XmlOut(file, WRITTEN["pacs.004"]) as out:
        out.open("PmtRtr", "GrpHdr")
        _header(out, envelope, len(returns), _sum([one.amount for one in returns]))
        out.leaf("SttlmInf/SttlmMtd", "CLRG")
        write_agent(out, "InstgAgt", envelope.sender)
        write_agent(out, "InstdAgt", envelope.receiver)
        out.close()
        for one in returns:
            out.open("TxInf")
            out.leaf("RtrId", one.return_id, ID_MAX)
            _original(out, one.original)
            if one.original_amount:
                out.money("OrgnlIntrBkSttlmAmt", one.original_amount)
            out.money("RtrdIntrBkSttlmAmt", one.amount)
            out.leaf("IntrBkSttlmDt", one.requested.isoformat() if one.requested else "")
            _reason(out, "RtrRsnInf", one.reason, one.information)
            out.close()


def _assignment(out: XmlOut, envelope: Envelope) -> None:
    out.open("Assgnmt")
    out.leaf("Id", envelope.message_id, ID_MAX)
    for name, bic in (("Assgnr", envelope.sender), ("Assgne", envelope.receiver)):
        out.open(name)
        write_agent(out, "Agt", bic, needed=True)
        out.close()
    out.leaf("CreDtTm", envelope.created)
    out.close()


def _case(out: XmlOut, name: str, case_id: str, creator: str) -> None:
    if case_id:
        out.open(name)
        out.leaf("Id", case_id, ID_MAX)
        out.open("Cretr")
        write_agent(out, "Agt", creator, needed=True)
        out.close(2)


def write_camt056(file: BinaryIO, envelope: Envelope, recalls: Sequence[Recall]) -> None:
    """Requests to cancel payments. Raises Bad."""
    with XmlOut(file, WRITTEN["camt.056"]) as out:
        out.open("FIToFIPmtCxlReq")
        _assignment(out, envelope)
        out.leaf("CtrlData/NbOfTxs", str(len(recalls)))
        out.open("Undrlyg")
        for one in recalls:
            out.open("TxInf")
            out.leaf("CxlId", one.cancellation_id, ID_MAX)
            _case(out, "Case", one.case_id, envelope.sender)
            _original(out, one.original)
            if one.amount:
                out.money("OrgnlIntrBkSttlmAmt", one.amount)
            out.leaf("OrgnlIntrBkSttlmDt", one.settled.isoformat() if one.settled else "")
            _reason(out, "CxlRsnInf", one.reason, one.information)
            out.close()
        out.close(2)


CONFIRMED: Final = {"ACCR": "CNCL", "RJCR": "RJCR", "PDCR": "PDCR"}
"""Status of a transaction -> status of the investigation; several together are partly carried out."""
PARTLY: Final = "PECR"


def write_camt029(file: BinaryIO, envelope: Envelope, answers: Sequence[RecallAnswer]) -> None:
    """Answers to recalls. Raises Bad."""
    statuses = sorted({answer.status for answer in answers})
    with XmlOut(file, WRITTEN["camt.029"]) as out:
        out.open("RsltnOfInvstgtn")
        _assignment(out, envelope)
        out.leaf("Sts/Conf", CONFIRMED.get(statuses[0], PARTLY) if len(statuses) == 1 else PARTLY)
        out.open("CxlDtls")
        for one in answers:
            out.open("TxInfAndSts")
            out.leaf("CxlStsId", one.status_id, ID_MAX)
            _case(out, "RslvdCase", one.case_id, envelope.receiver)
            _original(out, one.original)
            out.leaf("TxCxlSts", one.status)
            _reason(out, "CxlStsRsnInf", one.reason, one.information)
            out.close()
        out.close(2)


def answer_to(
    recall: Recall, status_id: str, status: str, reason: str = "", *information: str
) -> RecallAnswer:
    """An answer linked to its recall and, through it, to the original payment. status: ACCR, RJCR or PDCR."""
    return RecallAnswer(
        "",
        status_id,
        recall.original,
        status,
        recall.assignee,
        recall.assigner,
        recall.case_id,
        reason,
        information,
    )


def return_of(
    instruction: PaymentInstruction, message_name: str, return_id: str, reason: str, *information: str
) -> Return:
    """The return of a whole payment, linked to it. message_name: of the message that ordered it."""
    original = Original(instruction.message_id, message_name, instruction.references)
    return Return("", return_id, original, instruction.amount, instruction.amount, None, reason, information)
