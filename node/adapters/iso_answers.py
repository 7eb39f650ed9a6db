"""ISO 20022 answers in: pacs.002 (from .03), pacs.004 (from .02), and recalls with their answers, camt.056
and camt.029 (from .01). Every record says which payment it speaks of.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from node.adapters.iso_payments import Envelope, Places, agent
from node.adapters.records import Message, Original, Recall, RecallAnswer, Record, References, Return, Status
from node.adapters.refusals import Bad, Problems, Reason
from node.adapters.xml_in import ANY, Element, Fields, elements

PACS_002: Final[Places] = {
    "AppHdr": (ANY,),
    "GrpHdr": ("FIToFIPmtStsRpt",),
    "OrgnlGrpInfAndSts": ("FIToFIPmtStsRpt",),
    "TxInfAndSts": ("FIToFIPmtStsRpt",),
}
PACS_004: Final[Places] = {
    "AppHdr": (ANY,),
    "GrpHdr": ("PmtRtr",),
    "OrgnlGrpInf": ("PmtRtr",),
    "TxInf": ("PmtRtr",),
}
CAMT_056: Final[Places] = {
    "AppHdr": (ANY,),
    "Assgnmt": ("FIToFIPmtCxlReq",),
    "Case": ("FIToFIPmtCxlReq",),
    "CtrlData": ("FIToFIPmtCxlReq",),
    "OrgnlGrpInfAndCxl": ("Undrlyg",),
    "TxInf": ("Undrlyg",),
}
CAMT_029: Final[Places] = {
    "AppHdr": (ANY,),
    "Assgnmt": ("RsltnOfInvstgtn",),
    "RslvdCase": ("RsltnOfInvstgtn",),
    "Sts": ("RsltnOfInvstgtn",),
    "OrgnlGrpInfAndSts": ("CxlDtls",),
    "TxInfAndSts": ("CxlDtls",),
}
CONFIRMATIONS: Final = {"CNCL": "ACCR", "RJCR": "RJCR", "PDCR": "PDCR", "ACCR": "ACCR"}
"""Status of an investigation -> status of the transaction that it resolves."""


@dataclass(slots=True)
class Shared:
    """What the records of one message share."""

    original: Original = field(default_factory=Original)
    case_id: str = ""
    status: str = ""


def original_of(fields: Fields, shared: Original) -> Original:
    """The payment that a record speaks of: its own group information, or the message's."""
    return Original(
        fields.take("OrgnlGrpInf/OrgnlMsgId", "OrgnlMsgId") or shared.message_id,
        fields.take("OrgnlGrpInf/OrgnlMsgNmId", "OrgnlMsgNmId") or shared.message_name,
        fields.references("", "Orgnl"),
    )


def _named(original: Original, fields: Fields) -> Original:
    if original.references == References():
        raise Bad(Reason.ELEMENT_MISSING, "OrgnlEndToEndId, OrgnlTxId or OrgnlUETR", fields.line)
    return original


def _reason(fields: Fields, part: str) -> tuple[str, tuple[str, ...]]:
    return fields.take(f"{part}/Rsn/Cd", f"{part}/Rsn/Prtry"), fields.take_all(f"{part}/AddtlInf")


def _group(element: Element, envelope: Envelope) -> tuple[Message, Fields]:
    fields = element.fields()
    return envelope.open(element, agent(fields, "InstgAgt"), agent(fields, "InstdAgt"), fields), fields


def read_pacs002(file: BinaryIO, version: str, problems: Problems) -> Iterator[Record]:
    """Status reports between banks. Raises FileRefused."""
    envelope, shared = Envelope("pacs.002", version, problems), Shared()
    for element in elements(file, problems, PACS_002):
        try:
            match element.name:
                case "AppHdr":
                    envelope.application_header(element)
                case "GrpHdr":
                    yield _group(element, envelope)[0]
                case "OrgnlGrpInfAndSts":
                    fields = element.fields()
                    shared.original = Original(fields.require("OrgnlMsgId"), fields.take("OrgnlMsgNmId"))
                    status = fields.take("GrpSts")
                    if status:
                        yield _status(fields, envelope, shared.original, status)
                case _:
                    fields = element.fields()
                    found = _named(original_of(fields, shared.original), fields)
                    yield _status(fields, envelope, found, fields.require("TxSts"))
        except Bad as bad:
            problems.note(bad, element.line)
    envelope.close()


def _status(fields: Fields, envelope: Envelope, original: Original, status: str) -> Status:
    reason, information = _reason(fields, "StsRsnInf")
    status_id = fields.take("StsId")
    return Status(
        envelope.message_id, status_id, original, status, reason, information, fields.line, fields.rest()
    )


def read_pacs004(file: BinaryIO, version: str, problems: Problems) -> Iterator[Record]:
    """Returns of payments. Raises FileRefused."""
    envelope, shared = Envelope("pacs.004", version, problems), Shared()
    day = None
    for element in elements(file, problems, PACS_004):
        try:
            match element.name:
                case "AppHdr":
                    envelope.application_header(element)
                case "GrpHdr":
                    fields = element.fields()
                    day = fields.day("IntrBkSttlmDt")
                    yield envelope.open(element, agent(fields, "InstgAgt"), agent(fields, "InstdAgt"), fields)
                case "OrgnlGrpInf":
                    fields = element.fields()
                    shared.original = Original(fields.require("OrgnlMsgId"), fields.take("OrgnlMsgNmId"))
                case _:
                    envelope.count += 1
                    fields = element.fields()
                    amount = fields.require_money("RtrdIntrBkSttlmAmt")
                    envelope.sum.add(amount)
                    yield _return(
                        fields, envelope, shared, amount=amount, day=fields.day("IntrBkSttlmDt") or day
                    )
        except Bad as bad:
            problems.note(bad, element.line)
    envelope.close()


def _return(fields: Fields, envelope: Envelope, shared: Shared, **more: object) -> Return:
    original = _named(original_of(fields, shared.original), fields)
    envelope.once(References(transaction_id=fields.take("RtrId")), fields.line)
    before = fields.money("OrgnlIntrBkSttlmAmt")
    reason, information = _reason(fields, "RtrRsnInf")
    amount, day = more["amount"], more["day"]
    if before and getattr(amount, "currency", "") != before.currency:
        raise Bad(Reason.CURRENCIES_DIFFER, "the amount returned and the original's", fields.line)
    return Return(
        envelope.message_id,
        fields.take("RtrId"),
        original,
        amount,  # type: ignore[arg-type]
        before,
        day,  # type: ignore[arg-type]
        reason,
        information,
        fields.line,
        fields.rest(),
    )


# --- recalls ------------------------------------------------------------------------------------


def _assignment(element: Element, envelope: Envelope) -> Message:
    fields = element.fields()
    sender, receiver = agent(fields, "Assgnr/Agt"), agent(fields, "Assgne/Agt")
    message_id = fields.require("Id", longest=35)
    envelope.message = Message(
        envelope.family,
        envelope.version,
        message_id,
        fields.take("CreDtTm"),
        sender or envelope.header[0],
        receiver or envelope.header[1],
        line=element.line,
        unmapped=envelope.unmapped + fields.rest("Assgnmt/"),
    )
    return envelope.message


def read_camt056(file: BinaryIO, version: str, problems: Problems) -> Iterator[Record]:
    """Requests to cancel payments. Raises FileRefused."""
    envelope, shared = Envelope("camt.056", version, problems), Shared()
    count = 0
    for element in elements(file, problems, CAMT_056):
        try:
            match element.name:
                case "AppHdr":
                    envelope.application_header(element)
                case "Assgnmt":
                    yield _assignment(element, envelope)
                case "Case":
                    shared.case_id = element.fields().take("Id")
                case "CtrlData":
                    text = element.fields().take("NbOfTxs")
                    count = int(text) if text.isdecimal() and text.isascii() else 0
                case "OrgnlGrpInfAndCxl":
                    fields = element.fields()
                    shared.original = Original(fields.require("OrgnlMsgId"), fields.take("OrgnlMsgNmId"))
                    if fields.take("GrpCxl") == "true":
                        yield _recall(fields, envelope, shared, shared.original)
                case _:
                    envelope.count += 1
                    fields = element.fields()
                    yield _recall(
                        fields, envelope, shared, _named(original_of(fields, shared.original), fields)
                    )
        except Bad as bad:
            problems.note(bad, element.line)
    _close_assignment(envelope, count)


def _close_assignment(envelope: Envelope, count: int = 0) -> None:
    message = envelope.message
    if message is None:
        envelope.problems.add(0, Reason.ELEMENT_MISSING, "Assgnmt")
    elif count and count != envelope.count:
        detail = f"{count:,} stated, {envelope.count:,} read"
        envelope.problems.add(message.line, Reason.COUNT_DIFFERS, detail)


def _recall(fields: Fields, envelope: Envelope, shared: Shared, original: Original) -> Recall:
    message = envelope.message
    reason, information = _reason(fields, "CxlRsnInf")
    return Recall(
        envelope.message_id,
        fields.take("CxlId", "GrpCxlId"),
        original,
        message.sender if message else "",
        message.receiver if message else "",
        fields.take("Case/Id") or shared.case_id,
        fields.money("OrgnlIntrBkSttlmAmt"),
        fields.day("OrgnlIntrBkSttlmDt"),
        reason,
        information,
        fields.line,
        fields.rest(),
    )


def read_camt029(file: BinaryIO, version: str, problems: Problems) -> Iterator[Record]:
    """Answers to requests. Raises FileRefused."""
    envelope, shared = Envelope("camt.029", version, problems), Shared()
    for element in elements(file, problems, CAMT_029):
        try:
            match element.name:
                case "AppHdr":
                    envelope.application_header(element)
                case "Assgnmt":
                    yield _assignment(element, envelope)
                case "RslvdCase":
                    shared.case_id = element.fields().take("Id")
                case "Sts":
                    shared.status = element.fields().take("Conf")
                case _:
                    fields = element.fields()
                    named = element.name == "TxInfAndSts"
                    original = original_of(fields, shared.original)
                    envelope.count += 1
                    yield _answer(fields, envelope, shared, _named(original, fields) if named else original)
        except Bad as bad:
            problems.note(bad, element.line)
    _close_assignment(envelope)
    if not envelope.count and shared.status and envelope.message is not None:
        status = CONFIRMATIONS.get(shared.status, shared.status)
        yield RecallAnswer(envelope.message_id, "", Original(), status, case_id=shared.case_id)


def _answer(fields: Fields, envelope: Envelope, shared: Shared, original: Original) -> RecallAnswer:
    message = envelope.message
    reason, information = _reason(fields, "CxlStsRsnInf")
    status = fields.take("TxCxlSts", "GrpCxlSts")
    status = status or CONFIRMATIONS.get(shared.status, shared.status)
    return RecallAnswer(
        envelope.message_id,
        fields.take("CxlStsId"),
        original,
        status,
        message.sender if message else "",
        message.receiver if message else "",
        fields.take("RslvdCase/Id") or shared.case_id,
        reason,
        information,
        fields.line,
        fields.rest(),
    )
