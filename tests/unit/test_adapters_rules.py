"""MT103, MT202, sese.023 and sese.025 as we write them, held against the published rules by a second, small
reading of them that shares nothing with our readers: SWIFT's field formats in SWIFT's own notation, and order
and needs of the ISO 20022 schemas of version 11.
"""

import re
from dataclasses import replace
from datetime import date
from typing import Final

import pytest
from lxml import etree

from node.adapters.iso_securities import write_sese
from node.adapters.mt_write import write_mt103, write_mt202
from node.adapters.records import Kind, Money, Party, PaymentInstruction, Settlement
from node.adapters.refusals import Bad
from tests.adapters_kit import UETR, instruction, written

# --- MT -----------------------------------------------------------------------------------------------------

CLASSES: Final = {"n": "[0-9]", "a": "[A-Z]", "c": "[A-Z0-9]", "x": r"[A-Za-z0-9/\-?:().,'+ ]", "d": "[0-9,]"}
BIC: Final = "4!a2!a2!c[3!c]"
FORMATS: Final = {
    "20": "16x", "21": "16x", "23B": "4!c", "32A": "6!n3!a15d", "33B": "3!a15d", "50A": f"[/34x$]{BIC}",
    "50K": "[/34x$]4*35x", "52A": f"[/34x$]{BIC}", "57A": f"[/34x$]{BIC}", "58A": f"[/34x$]{BIC}",
    "59": "[/34x$]4*35x", "70": "4*35x", "71A": "3!a", "72": "6*35x",
}  # fmt: skip
"""Tag -> its format; ``$`` is the end of a line."""
MT103: Final = "20! 13C 23B! 23E 26T 32A! 33B 36 50A|50K! 51A 52A 53A 54A 56A 57A 59! 70 71A! 71F 71G 72 77B"
MT202: Final = "20! 21! 13C 32A! 52A 53A 54A 56A 57A 58A! 72"


def expression(form: str) -> str:
    """A format in SWIFT's notation as a regular expression."""
    found = ""
    while form:
        if form[0] == "[":
            found += f"(?:{expression(form[1 : form.index(']')])})?"
            form = form[form.index("]") + 1 :]
        elif form[0] in "/$":
            found += "\n" if form[0] == "$" else "/"
            form = form[1:]
        elif lines := re.match(r"([0-9]+)\*([0-9]+)x", form):
            line = f"{CLASSES['x']}{{1,{lines[2]}}}"
            found += f"{line}(?:\n{line}){{0,{int(lines[1]) - 1}}}"
            form = form[lines.end() :]
        else:
            part = re.match(r"([0-9]+)(!?)([nacxd])", form)
            assert part is not None, form
            found += CLASSES[part[3]] + (f"{{{part[1]}}}" if part[2] else f"{{1,{part[1]}}}")
            form = form[part.end() :]
    return found


def broken_rules(text: str, order: str) -> list[str]:
    """What a message's fields do not keep of the format: empty where it is right."""
    body = re.fullmatch(
        r"(?:\{1:F01[A-Z0-9]{12}[0-9]{10}\}\{2:I[0-9]{3}[A-Z0-9]{12}N\}.*\{4:)?(.*?)\n-\}?\n", text, re.DOTALL
    )
    if body is None:
        return ["its blocks"]
    fields = re.findall(r"(?:^|\n):([0-9]{2}[A-Z]?):(.*?)(?=\n:[0-9]{2}[A-Z]?:|$)", body[1], re.DOTALL)
    slots = [(slot.rstrip("!").split("|"), slot.endswith("!")) for slot in order.split()]
    wrong, at = [], 0
    for tag, value in fields:
        places = [place for place in range(at, len(slots)) if tag in slots[place][0]]
        if not places:
            wrong.append(f":{tag}: stands where it may not")
            continue
        wrong += [f":{slots[each][0][0]}: is missing" for each in range(at, places[0]) if slots[each][1]]
        at = places[0] + 1
        if tag not in FORMATS or not re.fullmatch(expression(FORMATS[tag]), value):
            wrong.append(f":{tag}:{value!r} is not {FORMATS.get(tag)}")
    wrong += [f":{tags[0]}: is missing" for tags, needed in slots[at:] if needed]
    told = dict(fields)
    amount = told.get("32A", "")[9:]
    wrong += ["the amount lacks its comma"] if "," not in amount or not amount[0].isdigit() else []
    return wrong + [
        f":{tag}: begins or ends with a slash"
        for tag in ("20", "21")
        if f"/{told.get(tag, 'x')}/".count("//")
    ]


BANKS: Final = replace(
    instruction(), kind=Kind.INSTITUTION, debtor=Party(bic="ABABCZPP"), creditor=Party(bic="CDCDDEFFXXX")
)
LONG: Final = replace(
    instruction(),
    debtor=Party(
        "A name of more than thirty-five characters: Žižkov & Sons; {1}", instruction().debtor.account
    ),
    references=replace(instruction().references, uetr=UETR),
)


@pytest.mark.parametrize(
    ("write", "order", "one", "blocks"),
    [
        (write_mt103, MT103, instruction(), False),
        (write_mt103, MT103, LONG, True),
        (write_mt202, MT202, BANKS, False),
        (write_mt202, MT202, replace(BANKS, debtor=Party(account="1/2", bic="ABABCZPP")), True),
    ],
)
def test_payments_keep_swifts_formats(
    write: object, order: str, one: PaymentInstruction, blocks: bool
) -> None:
    assert callable(write)
    more = {"sender": "ABABCZPP", "receiver": "CDCDDEFFXXX"} if blocks else {}
    raw = written(lambda file: write(file, one, **more)).decode("ascii")
    assert raw.count("\r\n") == raw.count("\n")
    text = raw.replace("\r\n", "\n")
    assert broken_rules(text, order) == []
    spoilt = {
        "an amount with a point": text.replace(",", ".", 1) if ",50" in text else text,
        "a field out of its order": re.sub(r"(:20:.*?\n)(:2[13]B?:.*?\n)", r"\2\1", text, count=1),
        "no value date": re.sub(r":32A:.*?\n", "", text, count=1),
        "a reference too long": text.replace(":20:", ":20:12345678901234567", 1),
    }
    told = {name: broken_rules(bad, order) for name, bad in spoilt.items()}
    assert all(told.values()), told


# --- sese ---------------------------------------------------------------------------------------------------

PARTIES: Final = "Dpstry Pty1 Pty2 Pty3 Pty4 Pty5"
PARTY: Final = "Id! LEI AltrnId SfkpgAcct BlckChainAdrOrWllt PrcgDt PrcgId AddtlInf"
AMOUNT: Final = "AcrdIntrstInd StmpDtyInd BrkrgAmtInd RsrchFeeInd Amt! CdtDbtInd! FXDtls ValDt"
HEAD: Final = "FinInstrmId! FinInstrmAttrbts QtyAndAcctDtls! SttlmParams! StgSttlmInstrDtls"
BOTH: Final = "DlvrgSttlmPties RcvgSttlmPties CshPties"
SHARED: Final = {
    "TradDt": "Dt", "SttlmDt": "Dt", "FctvSttlmDt": "Dt", "Dt": "Dt DtTm", "FinInstrmId": "ISIN! Desc",
    "SttlmQty": "Qty!", "SttldQty": "Qty!", "Qty": "Unit FaceAmt AmtsdVal", "SfkpgAcct": "Id! Tp Nm",
    "SttlmParams": "SctiesTxTp!", "SctiesTxTp": "Cd", "DlvrgSttlmPties": PARTIES, "RcvgSttlmPties": PARTIES,
    "Pty1": PARTY, "Id": "AnyBIC PrtryId NmAndAdr", "SttlmAmt": AMOUNT, "SttldAmt": AMOUNT,
}  # fmt: skip
SCHEMAS: Final = {
    "sese.023.001.11": SHARED
    | {
        "SctiesSttlmTxInstr": f"TxId! SttlmTpAndAddtlParams! Lnkgs* TradDtls! {HEAD} {BOTH} SttlmAmt",
        "SttlmTpAndAddtlParams": "SctiesMvmntTp! Pmt! CmonId CorpActnEvtId",
        "Lnkgs": "PrcgPos MsgNb Ref! LkdQty RefOwnr",
        "Ref": "SctiesSttlmTxId IntraPosMvmntId AcctSvcrTxId OthrTxId",
        "TradDtls": "TradId* CollTxId* PlcOfTrad PlcOfClr TradDt SttlmDt! LateDlvryDt DealPric",
        "QtyAndAcctDtls": "SttlmQty! DnmtnChc AcctOwnr SfkpgAcct BlckChainAdrOrWllt CshAcct SfkpgPlc",
    },
    "sese.025.001.11": SHARED
    | {
        "SctiesSttlmTxConf": f"TxIdDtls! Lnkgs AddtlParams TradDtls! {HEAD} {BOTH} SttldAmt",
        "TxIdDtls": "AcctOwnrTxId! AcctSvcrTxId MktInfrstrctrTxId PrcrTxId SctiesMvmntTp! Pmt! CmonId PoolId",
        "Lnkgs": "PrcgPos SctiesSttlmTxId!",
        "TradDtls": "TradId* CollTxId* PlcOfTrad PlcOfClr TradDt SttlmDt FctvSttlmDt! DealPric",
        "QtyAndAcctDtls": "SttldQty! PrevslySttldQty RmngToBeSttldQty DnmtnChc AcctOwnr SfkpgAcct CshAcct",
    },
}
"""Element -> what may stand in it, in order; ``!`` must, ``*`` may more than once. As far as we write it."""


def disorder(element: etree._Element, rules: dict[str, str]) -> list[str]:
    """Where an element and all below it do not keep a schema."""
    name = etree.QName(element).localname
    children = [etree.QName(child).localname for child in element]
    if not children:
        return []
    if name not in rules:
        return [f"{name} has children"]
    slots = rules[name].split()
    names = [slot.rstrip("!*") for slot in slots]
    wrong = [f"{name}: {child} is unknown" for child in children if child not in names]
    places = [names.index(child) for child in children if child in names]
    wrong += [f"{name}: order"] if places != sorted(places) else []
    wrong += [
        f"{name}: {slot[:-1]} is missing"
        for slot in slots
        if slot.endswith("!") and slot[:-1] not in children
    ]
    wrong += [
        f"{name}: {each} twice" for each in names if children.count(each) > 1 and f"{each}*" not in slots
    ]
    return wrong + [told for child in element for told in disorder(child, rules)]


@pytest.mark.parametrize("confirmed", [False, True])
def test_securities_messages_keep_the_schemas_order_and_needs(confirmed: bool) -> None:
    one = Settlement(
        transaction_id="TX-1",
        confirmed=confirmed,
        delivers=True,
        against_payment=True,
        isin="CZ0000000001",
        quantity=5,
        amount=Money(495_000, "CZK"),
        counterparty_id="CP-1" if confirmed else "",
        traded=date(2026, 1, 30),
        settles=date(2026, 1, 31),
        safekeeping_account="SAFE-1",
        delivering="ABABCZPP",
        receiving="CDCDDEFF",
        linked=("TX-0",),
    )
    raw = written(write_sese, one)
    rules = SCHEMAS["sese.025.001.11" if confirmed else "sese.023.001.11"]
    (message,) = etree.fromstring(raw)
    assert disorder(message, rules) == []
    turned = etree.fromstring(
        raw.replace(b"<Pmt>APMT</Pmt>", b"").replace(b"<SctiesMvmntTp>", b"<Pmt>APMT</Pmt><SctiesMvmntTp>")
    )
    other = etree.fromstring(raw.replace(b"SctiesSttlmTxId>", b"OtherTxId>"))
    assert [len(disorder(each[0], rules)) > 0 for each in (turned, other)] == [True, True]
    with pytest.raises(Bad, match="settlement date"):
        write_nothing(replace(one, settles=None))
    if confirmed:
        with pytest.raises(Bad, match="one link"):
            write_nothing(replace(one, linked=("TX-0", "TX-2")))


def write_nothing(settlement: Settlement) -> None:
    """Write what must be refused."""
    written(write_sese, settlement)
