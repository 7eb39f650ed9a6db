"""ISO 20022 payments in: pain.001 (from .03), pacs.008 (from .02) and pacs.009 (from .02).

One instruction a credit transfer. Counts and control sums of the message and of each payment information
are held against what was read; a transaction id or UETR stands once in a message.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from node.adapters.money import ControlSum
from node.adapters.records import Kind, Message, Money, Party, PaymentInstruction, Record, References
from node.adapters.refusals import Bad, Problems, Reason
from node.adapters.xml_in import ANY, Element, Fields, elements

ID_MAX: Final = 35
CHEQUE: Final = "CHK"
NOT_PROVIDED: Final = "NOTPROVIDED"

Places = dict[str, Collection[str]]

PAIN_001: Final[Places] = {
    "AppHdr": (ANY,),
    "GrpHdr": ("CstmrCdtTrfInitn",),
    "CdtTrfTxInf": ("PmtInf",),
    "PmtInf": ("CstmrCdtTrfInitn",),
}
PACS_008: Final[Places] = {
    "AppHdr": (ANY,),
    "GrpHdr": ("FIToFICstmrCdtTrf",),
    "CdtTrfTxInf": ("FIToFICstmrCdtTrf",),
}
PACS_009: Final[Places] = {
    "AppHdr": (ANY,),
    "GrpHdr": ("FICdtTrf", "FinInstnCdtTrf"),
    "CdtTrfTxInf": ("FICdtTrf", "FinInstnCdtTrf"),
}


@dataclass(slots=True)
class Envelope:
    """What is known of the message while its records are read."""

    family: str
    version: str
    problems: Problems
    message: Message | None = None
    header: tuple[str, str] = ("", "")
    unmapped: tuple[tuple[str, str], ...] = ()
    sum: ControlSum = field(default_factory=ControlSum)
    count: int = 0
    ids: dict[tuple[str, str], int] = field(default_factory=dict)

    @property
    def message_id(self) -> str:
        """Of the message being read."""
        return self.message.message_id if self.message else ""

    def application_header(self, element: Element) -> None:
        """Keep an application header's parties (head.001)."""
        fields = element.fields()
        self.header = tuple(fields.take(f"{side}/FIId/FinInstnId/BICFI") for side in ("Fr", "To"))  # type: ignore[assignment]
        self.unmapped = fields.rest("AppHdr/")

    def open(self, element: Element, sender: str, receiver: str, fields: Fields) -> Message:
        """The message of a group header."""
        line = element.line
        message = Message(
            self.family,
            self.version,
            fields.require("MsgId", longest=ID_MAX),
            fields.take("CreDtTm"),
            sender or self.header[0],
            receiver or self.header[1],
            _count(fields.take("NbOfTxs"), line),
            fields.take("CtrlSum"),
            line,
            self.unmapped + fields.rest("GrpHdr/"),
        )
        self.message = message
        return message

    def once(self, references: References, line: int) -> None:
        """A transaction id or UETR stands once. Raises Bad DUPLICATE_ID."""
        for kind, text in (("TxId", references.transaction_id), ("UETR", references.uetr)):
            if not text:
                continue
            first = self.ids.setdefault((kind, text), line)
            if first != line or self.ids[kind, text] != line:
                raise Bad(Reason.DUPLICATE_ID, f"{kind} {text} stands at line {first} too", line)

    def close(self) -> None:
        """Hold the message's count and sum against what was read."""
        message = self.message
        if message is None:
            self.problems.add(0, Reason.ELEMENT_MISSING, "GrpHdr")
            return
        check_totals(self.problems, message.line, message.count, message.total, self.count, self.sum)


def check_totals(
    problems: Problems, line: int, count: int, total: str, counted: int, added: ControlSum
) -> None:
    """Note where a stated count (0: none) or control sum (empty: none) is not what was read."""
    if count and count != counted:
        problems.add(line, Reason.COUNT_DIFFERS, f"{count:,} stated, {counted:,} read")
    if total:
        try:
            if counted == added.count and not added.agrees(total):
                problems.add(line, Reason.TOTAL_DIFFERS, f"{total} stated, {added.text} read")
        except Bad as bad:
            problems.note(bad, line)


def _count(text: str, line: int) -> int:
    if text and not (text.isdecimal() and text.isascii() and len(text) <= 15):  # noqa: PLR2004 - Max15NumericText
        raise Bad(Reason.BAD_VALUE, f"{text[:40]!r} is no number of transactions", line)
    return int(text or "0")


def party(fields: Fields, role: str) -> Party:
    """A debtor or creditor with its account and its agent."""
    return Party(
        fields.take(f"{role}/Nm", f"{role}/Pty/Nm", f"{role}/FinInstnId/Nm", f"{role}/Agt/FinInstnId/Nm"),
        fields.iban(f"{role}Acct/Id/IBAN")
        or fields.take(f"{role}Acct/Id/Othr/Id", f"{role}Acct/Id/PrtryAcct/Id"),
        fields.bic(
            *(
                f"{role}/{path}"
                for path in ("FinInstnId/BICFI", "FinInstnId/BIC", "Id/OrgId/AnyBIC", "Id/OrgId/BICOrBEI")
            ),
            *(f"{role}/{path}" for path in ("Pty/Id/OrgId/AnyBIC", "Agt/FinInstnId/BICFI", "Id/OrgId/BIC")),
        ),
        fields.lei(f"{role}/Id/OrgId/LEI", f"{role}/FinInstnId/LEI", f"{role}/Pty/Id/OrgId/LEI"),
        agent(fields, f"{role}Agt"),
    )


def agent(fields: Fields, role: str) -> str:
    """The BIC of a bank, or empty."""
    return fields.bic(f"{role}/FinInstnId/BICFI", f"{role}/FinInstnId/BIC")


def _instruction(
    fields: Fields,
    envelope: Envelope,
    amount: Money,
    debtor: Party,
    rest: tuple[tuple[str, str], ...],
    **more: object,
) -> PaymentInstruction:
    references = fields.references("PmtId/")
    if references.end_to_end_id == NOT_PROVIDED:
        references = References("", references.instruction_id, references.transaction_id, references.uetr)
    purpose = fields.take("Purp/Cd", "Purp/Prtry")
    envelope.once(references, fields.line)
    creditor = party(fields, "Cdtr")
    remittance = fields.take_all("RmtInf/Ustrd", "RmtInf/Strd/CdtrRefInf/Ref")
    return PaymentInstruction(
        envelope.message_id,
        references,
        amount,
        debtor,
        creditor,
        purpose=purpose,
        remittance=remittance,
        line=fields.line,
        unmapped=rest + fields.rest(),
        **more,  # type: ignore[arg-type]
    )


# --- pain.001 -----------------------------------------------------------------------------------


@dataclass(slots=True)
class Batch:
    """One payment information: what its transfers share."""

    holder: object
    fields: Fields
    payment_information_id: str
    debtor: Party
    account_currency: str
    unmapped: tuple[tuple[str, str], ...]
    more: dict[str, object]
    count: int = 0
    total: str = ""
    counted: int = 0
    added: ControlSum = field(default_factory=ControlSum)


def read_pain001(file: BinaryIO, version: str, problems: Problems) -> Iterator[Record]:
    """A customer's payment initiation. Raises FileRefused."""
    envelope = Envelope("pain.001", version, problems)
    batch: Batch | None = None
    refused: object = (
        None  # the payment information whose own fields are wrong: told once, not for every transfer
    )
    names: dict[str, int] = {}
    for element in elements(file, problems, PAIN_001):
        try:
            match element.name:
                case "AppHdr":
                    envelope.application_header(element)
                case "GrpHdr":
                    fields = element.fields()
                    yield envelope.open(element, fields.take("InitgPty/Nm"), agent(fields, "FwdgAgt"), fields)
                case "CdtTrfTxInf":
                    envelope.count += 1
                    if element.parent is refused:
                        continue
                    if batch is None or batch.holder is not element.parent:
                        refused = element.parent
                        batch = _batch(element.parent, element.holder(apart=("CdtTrfTxInf",)), names)
                        refused = None
                    batch.counted += 1
                    yield _transfer(element.fields(), envelope, batch)
                case _:
                    if batch is not None:
                        check_totals(
                            problems, element.line, batch.count, batch.total, batch.counted, batch.added
                        )
                    elif refused is None:
                        problems.add(element.line, Reason.ELEMENT_MISSING, "CdtTrfTxInf")
                    batch, refused = None, None
        except Bad as bad:
            problems.note(bad, element.line)
    envelope.close()


def _batch(holder: object, fields: Fields, names: dict[str, int]) -> Batch:
    name = fields.require("PmtInfId", longest=ID_MAX)
    if names.setdefault(name, fields.line) != fields.line:
        raise Bad(Reason.DUPLICATE_ID, f"PmtInfId {name} stands at line {names[name]} too", fields.line)
    if fields.take("PmtMtd") == CHEQUE:
        raise Bad(Reason.UNSUPPORTED, "PmtMtd CHK: no cheques are drawn", fields.line)
    requested = fields.day("ReqdExctnDt", "ReqdExctnDt/Dt", "ReqdExctnDt/DtTm")
    priority = fields.take("PmtTpInf/InstrPrty")
    count, total = _count(fields.take("NbOfTxs"), fields.line), fields.take("CtrlSum")
    debtor, currency = party(fields, "Dbtr"), fields.take("DbtrAcct/Ccy")
    more: dict[str, object] = {"requested": requested, "priority": priority, "payment_information_id": name}
    return Batch(holder, fields, name, debtor, currency, fields.rest("PmtInf/"), more, count, total)


def _transfer(fields: Fields, envelope: Envelope, batch: Batch) -> PaymentInstruction:
    if fields.has("Amt/EqvtAmt"):
        raise Bad(Reason.UNSUPPORTED, "EqvtAmt: no currency is exchanged", fields.line)
    amount = fields.require_money("Amt/InstdAmt")
    envelope.sum.add(amount)
    batch.added.add(amount)
    if batch.account_currency and batch.account_currency != amount.currency:
        raise Bad(
            Reason.CURRENCIES_DIFFER,
            f"{amount.currency} from an account of {batch.account_currency}",
            fields.line,
        )
    return _instruction(
        fields, envelope, _positive(amount, fields), batch.debtor, batch.unmapped, **batch.more
    )


def _positive(amount: Money, fields: Fields) -> Money:
    if amount.minor <= 0:
        raise Bad(Reason.BAD_AMOUNT, "an amount of zero", fields.line)
    return amount


# --- pacs.008 and pacs.009 ----------------------------------------------------------------------


@dataclass(slots=True)
class Interbank:
    """What the transfers of an interbank message share."""

    kind: Kind
    fields: Fields | None = None
    total: Money | None = None
    more: dict[str, object] = field(default_factory=dict)


def read_pacs008(file: BinaryIO, version: str, problems: Problems) -> Iterator[Record]:
    """Customers' payments between banks. Raises FileRefused."""
    return _read_pacs(file, Envelope("pacs.008", version, problems), PACS_008, Kind.CUSTOMER)


def read_pacs009(file: BinaryIO, version: str, problems: Problems) -> Iterator[Record]:
    """Banks' own payments. Raises FileRefused."""
    return _read_pacs(file, Envelope("pacs.009", version, problems), PACS_009, Kind.INSTITUTION)


def _read_pacs(file: BinaryIO, envelope: Envelope, places: Places, kind: Kind) -> Iterator[Record]:
    problems = envelope.problems
    shared = Interbank(kind)
    for element in elements(file, problems, places):
        try:
            match element.name:
                case "AppHdr":
                    envelope.application_header(element)
                case "GrpHdr":
                    fields = element.fields()
                    shared.total = fields.money("TtlIntrBkSttlmAmt")
                    day = fields.day("IntrBkSttlmDt")
                    shared.more = {
                        "requested": day,
                        "priority": fields.take("PmtTpInf/InstrPrty"),
                        "kind": kind,
                    }
                    yield envelope.open(element, agent(fields, "InstgAgt"), agent(fields, "InstdAgt"), fields)
                case _:
                    envelope.count += 1
                    yield _interbank(element.fields(), envelope, shared)
        except Bad as bad:
            problems.note(bad, element.line)
    envelope.close()
    total, message = shared.total, envelope.message
    if total and message and envelope.count == envelope.sum.count:
        added = ControlSum()
        added.add(total)
        if added.total != envelope.sum.total:
            problems.add(
                message.line,
                Reason.TOTAL_DIFFERS,
                f"TtlIntrBkSttlmAmt {added.text}, {envelope.sum.text} read",
            )


def _interbank(fields: Fields, envelope: Envelope, shared: Interbank) -> PaymentInstruction:
    amount = fields.require_money("IntrBkSttlmAmt")
    envelope.sum.add(amount)
    if shared.total and shared.total.currency != amount.currency:
        raise Bad(
            Reason.CURRENCIES_DIFFER, f"{amount.currency} in a total of {shared.total.currency}", fields.line
        )
    day = fields.day("IntrBkSttlmDt")
    priority = fields.take("PmtTpInf/InstrPrty") or fields.take("SttlmPrty")
    more = dict(shared.more)
    more |= ({"requested": day} if day else {}) | ({"priority": priority} if priority else {})
    return _instruction(fields, envelope, _positive(amount, fields), party(fields, "Dbtr"), (), **more)
