"""SWIFT MT payments in: the essentials of MT103 and MT202 (and COV, whose cover is kept as unmapped)."""

import re
from collections.abc import Iterator
from typing import BinaryIO, Final

from node.adapters.identifiers import check_bic, check_iban, check_uetr
from node.adapters.mt_fields import Field, MtMessage, amount_of, day_of, messages_of
from node.adapters.records import Kind, Message, Party, PaymentInstruction, Record, References
from node.adapters.refusals import Bad, Problems, Reason

_VALUE: Final = re.compile(r"([0-9]{6})([A-Z]{3})([0-9]{1,15},[0-9]{0,4})")
_ROC: Final = re.compile(r"/ROC/([^/\n]{1,35})")
_IBAN_LIKE: Final = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{8,30}")
UNDERSTOOD: Final = (
    "20",
    "21",
    "32A",
    "50A",
    "50F",
    "50K",
    "52A",
    "57A",
    "58A",
    "58D",
    "59",
    "59A",
    "59F",
    "70",
)


def read_mt_payments(file: BinaryIO, problems: Problems, encoding: str, number: str = "") -> Iterator[Record]:
    """Payments of MT103 and MT202 messages, each with its envelope before it. number: 103 or 202, or empty.

    Raises FileRefused.
    """
    seen: dict[str, int] = {}
    for message, one in messages_of(file, problems, encoding):
        if one is not None:
            message.fields.append(one)
            continue
        try:
            envelope, instruction = _payment(message, number or message.number)
            name = f"{envelope.sender} {envelope.message_id}"
            if seen.setdefault(name, message.line) != message.line:
                detail = f":20:{envelope.message_id} stands at line {seen[name]} too"
                raise Bad(Reason.DUPLICATE_ID, detail, message.line)
            yield envelope
            yield instruction
        except Bad as bad:
            problems.note(bad, message.line)


def _payment(message: MtMessage, number: str) -> tuple[Message, PaymentInstruction]:
    if number not in {"103", "202"}:
        raise Bad(Reason.FORMAT_UNKNOWN, f"MT{number} is no MT103 and no MT202", message.line)
    own, value = message.require("20"), message.require("32A")
    found = _VALUE.fullmatch(value.text.strip())
    if found is None:
        raise Bad(Reason.BAD_VALUE, f":32A:{value.text[:40]}", value.line)
    money = amount_of(found[3], found[2], value.line)
    if money.minor <= 0:
        raise Bad(Reason.BAD_AMOUNT, "an amount of zero", value.line)
    customer = number == "103"
    debtor = _party(message, "50A", "50F", "50K") if customer else _party(message, "52A")
    creditor = _party(message, "59", "59A", "59F") if customer else _party(message, "58A", "58D")
    if customer:
        debtor, creditor = _with_agent(message, debtor, "52A"), _with_agent(message, creditor, "57A")
        message.require("59", "59A", "59F")
    else:
        message.require("58A", "58D")
    remittance = message.get("70")
    roc = _ROC.search(remittance.whole) if remittance else None
    related = message.get("21")
    end_to_end = roc[1].strip() if roc else related.text.strip() if related and not customer else ""
    uetr = check_uetr(message.uetr) if message.uetr else ""
    reference = own.text.strip()
    envelope = Message(
        f"MT{number}", f"MT{number}", reference, sender=message.terminal, count=1, line=message.line
    )
    instruction = PaymentInstruction(
        reference,
        References("" if end_to_end == "NONREF" else end_to_end, reference, "", uetr),
        money,
        debtor,
        creditor,
        Kind.CUSTOMER if customer else Kind.INSTITUTION,
        requested=day_of(found[1], value.line),
        remittance=remittance.lines if remittance else (),
        line=message.line,
        unmapped=tuple((f":{one.tag}:", one.whole) for one in message.fields if one.tag not in UNDERSTOOD),
    )
    return envelope, instruction


def _party(message: MtMessage, *tags: str) -> Party:
    one = message.get(*tags)
    if one is None:
        return Party()
    lines = [text.strip() for text in one.lines]
    account = _account(lines.pop(0)[1:], one) if lines[0].startswith("/") else ""
    if one.tag.endswith("A") and lines:
        return Party(account=account, bic=_bic(lines[0], one))
    names = [re.sub(r"^[1-8]/", "", text) for text in lines] if one.tag.endswith("F") else lines
    return Party(name=" ".join(names[:1]), account=account)


def _account(text: str, one: Field) -> str:
    text = text.removeprefix("C/").removeprefix("D/")
    bare = text.replace(" ", "")
    if not _IBAN_LIKE.fullmatch(bare):
        return text
    try:
        return check_iban(bare)
    except Bad as bad:
        raise Bad(bad.reason, bad.detail, one.line) from bad


def _bic(text: str, one: Field) -> str:
    try:
        return check_bic(text)
    except Bad as bad:
        raise Bad(bad.reason, bad.detail, one.line) from bad


def _with_agent(message: MtMessage, party: Party, tag: str) -> Party:
    one = message.get(tag)
    agent = _bic(one.lines[-1].strip(), one) if one else ""
    return Party(party.name, party.account, party.bic, party.lei, agent)
