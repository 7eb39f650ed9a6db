"""What the adapters' tests share: a small payment file and statement to change, the packages' schemas and
samples, and a refusal's codes.
"""

import importlib.util
from datetime import date
from functools import cache
from io import BytesIO
from pathlib import Path

from lxml import etree

from node.adapters.money import ControlSum
from node.adapters.reading import Source, check_file, records_of
from node.adapters.records import (
    Balance,
    Entry,
    EntryDetail,
    Money,
    Party,
    PaymentInstruction,
    Record,
    References,
    Statement,
    StatementKind,
)
from node.adapters.refusals import FileRefused

IBAN = "CZ6508000000192000145399"
OTHER = "DE89370400440532013000"
UETR = "86d7da8e-6e41-4466-b9bb-9b41d5814d5a"
CREATED = "2026-01-31T18:00:00.000Z"
NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:"


def package(name: str) -> Path:
    """Where an installed package's files lie; none of its code is run."""
    found = importlib.util.find_spec(name)
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent


@cache
def schema(version: str) -> etree.XMLSchema:
    """The full XSD of a message, from the package that carries it."""
    folders = {
        "pain.001": package("pain001") / "templates" / version,
        "pacs.008": package("pacs008") / "templates" / version,
    }
    folder = folders.get(version[:8], package("camt053") / "xsd")
    return etree.XMLSchema(etree.parse(folder / f"{version}.xsd"))


def check_schema(raw: bytes, version: str) -> None:
    """Raises where a document is not valid by its XSD."""
    schema(version).assertValid(etree.fromstring(raw))


def records(path: Path, form: str = "", encoding: str = "utf-8") -> list[Record]:
    """All records of a file that must be right."""
    return list(records_of(check_file(Source(path, form, encoding))))


def refusal(path: Path, form: str = "", encoding: str = "utf-8") -> list[tuple[str, int]]:
    """Why a file is refused: (reason code, line), empty where it is not."""
    try:
        check_file(Source(path, form, encoding))
    except FileRefused as refused:
        return [(problem.reason.value, problem.line) for problem in refused.problems]
    return []


def instruction(number: int = 1, minor: int = 1_050, currency: str = "CZK") -> PaymentInstruction:
    """A payment that every format can carry."""
    return PaymentInstruction(
        "MSG-1",
        References(f"E2E-{number}", f"INSTR-{number}", f"TX-{number}"),
        Money(minor, currency),
        Party("Debtor & Sons <1>", IBAN, agent="ABABCZPP"),
        Party("Creditor", OTHER, agent="CDCDDEFF"),
        payment_information_id="PMT-1",
        requested=date(2026, 1, 31),
        purpose="SALA",
        remittance=("Invoice 17",),
    )


def pain(count: int = 2, /, **change: str) -> str:
    """A pain.001.001.09 of ``count`` payments of CZK 10.50, one element a line; change: placeholder ->
    text.
    """
    total = ControlSum()
    transfers = []
    for number in range(1, count + 1):
        total.add(Money(1_050, "CZK"))
        transfers.append(
            f"""   <CdtTrfTxInf>
    <PmtId><EndToEndId>E-{number}</EndToEndId></PmtId>
    <Amt><InstdAmt Ccy="CZK">10.50</InstdAmt></Amt>
    <Cdtr><Nm>Creditor {number}</Nm></Cdtr>
    <CdtrAcct><Id><IBAN>{OTHER}</IBAN></Id></CdtrAcct>
   </CdtTrfTxInf>
"""
        )
    text = f"""<?xml version="1.0" encoding="UTF-8"?>
<Document xmlns="{NAMESPACE}pain.001.001.09">
 <CstmrCdtTrfInitn>
  <GrpHdr>
   <MsgId>MSG-1</MsgId>
   <CreDtTm>2026-01-31T10:00:00</CreDtTm>
   <NbOfTxs>{count}</NbOfTxs>
   <CtrlSum>{total.text}</CtrlSum>
   <InitgPty><Nm>Payer</Nm></InitgPty>
  </GrpHdr>
  <PmtInf>
   <PmtInfId>PMT-1</PmtInfId>
   <PmtMtd>TRF</PmtMtd>
   <ReqdExctnDt><Dt>2026-01-31</Dt></ReqdExctnDt>
   <Dbtr><Nm>Payer</Nm></Dbtr>
   <DbtrAcct><Id><IBAN>{IBAN}</IBAN></Id></DbtrAcct>
   <DbtrAgt><FinInstnId><BICFI>ABABCZPP</BICFI></FinInstnId></DbtrAgt>
{"".join(transfers)}  </PmtInf>
 </CstmrCdtTrfInitn>
</Document>
"""
    for old, new in change.items():
        assert old in text
        text = text.replace(old, new, 1)
    return text


def entry(number: int, minor: int) -> Entry:
    """A booked movement of 31 January 2026."""
    return Entry(
        0,
        Money(minor, "CZK"),
        date(2026, 1, 31),
        date(2026, 1, 31),
        f"{number:032x}",
        f"{number}.0.1",
        code="PMNT/RCDT/OTHR" if minor >= 0 else "PMNT/ICDT/OTHR",
        details=(
            EntryDetail(
                References(f"E2E-{number}"), Money(abs(minor), "CZK"), Party(account="AB/main"), "SALA"
            ),
        ),
    )


def statement(amounts: list[int], kind: StatementKind = StatementKind.STATEMENT) -> Statement:
    """A statement over entries of these amounts, from an opening balance of CZK 100.00."""
    received = [minor for minor in amounts if minor >= 0]
    paid = [-minor for minor in amounts if minor < 0]
    day = date(2026, 1, 31)
    balances = (
        Balance("OPBD", Money(10_000, "CZK"), date(2026, 1, 1)),
        Balance("CLBD", Money(10_000 + sum(amounts), "CZK"), day),
    )
    return Statement(
        "VS1",
        "VS1",
        kind,
        IBAN,
        "CZK",
        "1",
        CREATED,
        "2026-01-01T00:00:00.000Z",
        "2026-01-31T23:59:59.999Z",
        "PA",
        "ABABCZPP",
        () if kind is StatementKind.NOTIFICATION else balances,
        len(amounts),
        len(received),
        len(paid),
        sum(received),
        sum(paid),
    )


def written(write: object, *arguments: object) -> bytes:
    """What a writer writes."""
    file = BytesIO()
    assert callable(write)
    write(file, *arguments)
    return file.getvalue()
