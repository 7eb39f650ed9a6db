"""ISO 20022 securities settlement: sese.023 instructions and sese.025 confirmations, in and out, the mapped
subset.

Mapped: transaction id, delivery or receipt, against or free of payment, ISIN, quantity in units or face
amount, amount, trade and settlement dates, safekeeping account, both sides' first parties by BIC, links.
All else is kept as unmapped when read and never written. No package of ours carries these schemas: what is
written is held in tests against the order and the needs of the published ones, version 11.
"""

from collections.abc import Iterator
from typing import BinaryIO, Final

from node.adapters.identifiers import check_isin
from node.adapters.iso_payments import Places
from node.adapters.iso_statements import CREDIT, DEBIT
from node.adapters.money import format_minor, scaled
from node.adapters.records import Message, Record, Settlement
from node.adapters.refusals import Bad, Problems, Reason
from node.adapters.xml_in import Fields, elements
from node.adapters.xml_out import XmlOut

INSTRUCTION: Final = "SctiesSttlmTxInstr"
CONFIRMATION: Final = "SctiesSttlmTxConf"
PLACES: Final[Places] = {INSTRUCTION: ("Document",), CONFIRMATION: ("Document",)}
WRITTEN: Final = {False: "sese.023.001.11", True: "sese.025.001.11"}
"""Whether it confirms -> the version that is written."""
QUANTITY_DECIMALS: Final = 6
ID_MAX: Final = 35


def read_sese(file: BinaryIO, version: str, problems: Problems) -> Iterator[Record]:
    """One instruction or confirmation. Raises FileRefused."""
    count = 0
    for element in elements(file, problems, PLACES):
        try:
            count += 1
            settlement = _settlement(element.fields(), confirmed=element.name == CONFIRMATION)
            yield Message(version[:8], version, settlement.transaction_id, count=1, line=element.line)
            yield settlement
        except Bad as bad:
            problems.note(bad, element.line)
    if not count:
        problems.add(0, Reason.ELEMENT_MISSING, INSTRUCTION)


def _settlement(fields: Fields, *, confirmed: bool) -> Settlement:
    about = "TxIdDtls/" if confirmed else "SttlmTpAndAddtlParams/"
    movement = fields.require(f"{about}SctiesMvmntTp")
    payment = fields.require(f"{about}Pmt")
    if movement not in {"DELI", "RECE"} or payment not in {"APMT", "FREE"}:
        raise Bad(Reason.BAD_VALUE, f"{movement[:10]} {payment[:10]}", fields.line)
    part = "SttldQty/Qty" if confirmed else "SttlmQty/Qty"
    text = fields.require(f"QtyAndAcctDtls/{part}/Unit", f"QtyAndAcctDtls/{part}/FaceAmt")
    amount = fields.money("SttldAmt/Amt") if confirmed else fields.money("SttlmAmt/Amt")
    if payment == "APMT" and amount is None:
        raise Bad(Reason.ELEMENT_MISSING, "SttldAmt" if confirmed else "SttlmAmt", fields.line)
    fields.take("SttldAmt/CdtDbtInd", "SttlmAmt/CdtDbtInd")
    return Settlement(
        fields.require("TxIdDtls/AcctOwnrTxId", "TxIdDtls/TxId") if confirmed else fields.require("TxId"),
        confirmed,
        movement == "DELI",
        payment == "APMT",
        check_isin(fields.require("FinInstrmId/ISIN")),
        scaled(text, QUANTITY_DECIMALS),
        QUANTITY_DECIMALS,
        amount,
        fields.take("TxIdDtls/AcctSvcrTxId"),
        fields.day("TradDtls/TradDt/Dt/Dt", "TradDtls/TradDt/Dt", "TradDtls/TradDt/Dt/DtTm"),
        fields.day(
            "TradDtls/FctvSttlmDt/Dt/Dt",
            "TradDtls/FctvSttlmDt/Dt",
            "TradDtls/SttlmDt/Dt/Dt",
            "TradDtls/SttlmDt/Dt",
        ),
        fields.take("QtyAndAcctDtls/SfkpgAcct/Id"),
        fields.bic("DlvrgSttlmPties/Pty1/Id/AnyBIC", "DlvrgSttlmPties/Pty1/Id/BIC"),
        fields.bic("RcvgSttlmPties/Pty1/Id/AnyBIC", "RcvgSttlmPties/Pty1/Id/BIC"),
        fields.take_all("Lnkgs/Ref/SctiesSttlmTxId", "Lnkgs/SctiesSttlmTxId", "Lnkgs/Ref/AcctOwnrTxId"),
        fields.line,
        fields.rest(),
    )


def write_sese(file: BinaryIO, settlement: Settlement) -> None:
    """An instruction, or a confirmation where it is confirmed. Raises Bad where it lacks its day, or confirms
    more links than the one that a confirmation names.
    """
    one, confirmed = settlement, settlement.confirmed
    if one.settles is None:
        raise Bad(Reason.ELEMENT_MISSING, "a settlement date", one.line)
    if confirmed and len(one.linked) > 1:
        raise Bad(Reason.UNSUPPORTED, "a confirmation names one link", one.line)
    with XmlOut(file, WRITTEN[confirmed]) as out:
        out.open(CONFIRMATION if confirmed else INSTRUCTION)
        if confirmed:
            out.open("TxIdDtls")
            out.leaf("AcctOwnrTxId", one.transaction_id, ID_MAX)
            out.leaf("AcctSvcrTxId", one.counterparty_id, ID_MAX)
        else:
            out.leaf("TxId", one.transaction_id, ID_MAX)
            out.open("SttlmTpAndAddtlParams")
        out.leaf("SctiesMvmntTp", "DELI" if one.delivers else "RECE")
        out.leaf("Pmt", "APMT" if one.against_payment else "FREE")
        out.close()
        for link in one.linked:
            out.leaf(f"Lnkgs/{'' if confirmed else 'Ref/'}SctiesSttlmTxId", link, ID_MAX)
        out.open("TradDtls")
        out.leaf("TradDt/Dt/Dt", one.traded.isoformat() if one.traded else "")
        out.leaf("FctvSttlmDt/Dt/Dt" if confirmed else "SttlmDt/Dt/Dt", one.settles.isoformat())
        out.close()
        out.leaf("FinInstrmId/ISIN", one.isin)
        out.open("QtyAndAcctDtls")
        quantity = format_minor(one.quantity, one.decimals)
        quantity = quantity.rstrip("0").rstrip(".") if "." in quantity else quantity
        out.leaf("SttldQty/Qty/Unit" if confirmed else "SttlmQty/Qty/Unit", quantity)
        out.leaf("SfkpgAcct/Id", one.safekeeping_account, ID_MAX)
        out.close()
        out.leaf("SttlmParams/SctiesTxTp/Cd", "TRAD")
        out.leaf("DlvrgSttlmPties/Pty1/Id/AnyBIC", one.delivering)
        out.leaf("RcvgSttlmPties/Pty1/Id/AnyBIC", one.receiving)
        if one.amount:
            out.open("SttldAmt" if confirmed else "SttlmAmt")
            out.money("Amt", one.amount)
            out.leaf("CdtDbtInd", CREDIT if one.delivers else DEBIT)
            out.close()
