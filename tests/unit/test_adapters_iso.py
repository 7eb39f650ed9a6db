"""ISO 20022 in and out: samples that public packages carry are read, what we write is held against the
published schemas, and what we write we read back.
"""

import importlib
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from lxml import etree
from xsdata.formats.dataclass.parsers import XmlParser
from xsdata.formats.dataclass.parsers.config import ParserConfig
from xsdata.formats.dataclass.serializers import XmlSerializer

from node.adapters import iso_write
from node.adapters.iso_securities import write_sese
from node.adapters.iso_write_statements import write_camt
from node.adapters.reading import Source, check_file
from node.adapters.records import (
    Entry,
    Kind,
    Message,
    Money,
    Original,
    Party,
    PaymentInstruction,
    Recall,
    RecallAnswer,
    Return,
    Settlement,
    Statement,
    StatementKind,
    Status,
)
from node.adapters.refusals import Bad, FileRefused
from tests.adapters_kit import (
    CREATED,
    NAMESPACE,
    UETR,
    check_schema,
    entry,
    instruction,
    package,
    records,
    statement,
    written,
)

ENVELOPE = iso_write.Envelope("VS-1", CREATED, "ABABCZPP", "CDCDDEFF", "Payer")
ORIGINAL = Original("MSG-1", "pacs.008.001.08", replace(instruction().references, uetr=UETR))
RETURN = Return(
    "", "R1", ORIGINAL, Money(1_050, "CZK"), Money(1_050, "CZK"), date(2026, 1, 31), "AC04", ("closed",)
)
RECALL = Recall(
    "",
    "C1",
    ORIGINAL,
    "ABABCZPP",
    "CDCDDEFF",
    "CASE-1",
    Money(1_050, "CZK"),
    date(2026, 1, 31),
    "DUPL",
    ("twice",),
)


# --- samples of others ------------------------------------------------------------------------------------


def test_payment_initiations_of_the_package_pain001_are_read_or_refused_for_what_they_ask() -> None:
    """Its market and coverage corpora: every country's transfers, and every element of each version."""
    read, refused, payments, kept = 0, set(), 0, 0
    for path in sorted((package("pain001") / "corpus" / "data").rglob("*pain.001.*/*.xml")) + sorted(
        (package("pain001") / "corpus" / "data" / "market").rglob("*pain.001*.xml")
    ):
        try:
            found = records(path)
        except FileRefused as error:
            refused |= {
                (problem.reason.value, problem.detail.partition(":")[0]) for problem in error.problems
            }
            continue
        read += 1
        payments += sum(isinstance(record, PaymentInstruction) for record in found)
        kept += sum(len(record.unmapped) for record in found if isinstance(record, PaymentInstruction))
    print(f"pain.001: {read} files read, {payments} payments, {kept} texts unmapped; refused for {refused}")
    assert read >= 130
    assert payments >= 130
    assert kept > 1_000
    assert {reason for reason, _ in refused} <= {"UNSUPPORTED", "CURRENCIES_DIFFER"}
    assert {detail for reason, detail in refused if reason == "UNSUPPORTED"} == {"EqvtAmt", "PmtMtd CHK"}


def test_interbank_messages_of_the_package_pacs008_are_read() -> None:
    found = {}
    for path in sorted((package("pacs008") / "templates").rglob("pacs.00[2489]*.xml")):
        if path.name == "pacs.008.001.01.xml":
            continue  # a version that is not read
        plan = check_file(Source(path))
        found[plan.version] = plan.counts
    print(f"pacs: {len(found)} versions read: {' '.join(sorted(found))}")
    assert len(found) >= 15
    assert all(sum(counts.values()) >= 2 for counts in found.values())


# --- what we write, against published schemas -------------------------------------------------------------


@pytest.mark.parametrize("kind", list(StatementKind))
def test_a_statement_is_valid_by_its_full_schema_and_read_back_as_it_was(
    tmp_path: Path, kind: StatementKind
) -> None:
    amounts = [1_050, -250, 1, -10_700]
    told, entries = (
        statement(amounts, kind),
        [entry(number, minor) for number, minor in enumerate(amounts, 1)],
    )
    raw = written(write_camt, told, entries)
    version = {"statement": "camt.053", "report": "camt.052", "notification": "camt.054"}[
        kind.value
    ] + ".001.08"
    check_schema(raw, version)
    path = tmp_path / "statement.xml"
    path.write_bytes(raw)
    found = records(path)
    assert [replace(one, line=0) for one in found if isinstance(one, Entry)] == entries
    assert [replace(one, line=0) for one in found if isinstance(one, Statement)] == [
        replace(told, unmapped=one.unmapped) for one in found if isinstance(one, Statement)
    ]


def test_a_statement_that_does_not_add_up_is_never_completed() -> None:
    told = statement([1_050])
    for wrong in (
        [entry(1, 1_051)],
        [entry(1, 1_050), entry(2, -1)],
        [],
    ):
        with pytest.raises(Bad) as refused:
            written(write_camt, told, wrong)
        assert refused.value.reason.value in {"COUNT_DIFFERS", "TOTAL_DIFFERS"}


def test_payments_are_valid_by_their_full_schemas_and_read_back_as_they_were(tmp_path: Path) -> None:
    orders = [instruction(number) for number in range(1, 4)]
    for write, family, shown in (
        (iso_write.write_pain001, "pain.001", {"message_id": "VS-1"}),
        (iso_write.write_pacs008, "pacs.008", {"message_id": "VS-1", "payment_information_id": ""}),
    ):
        raw = written(write, ENVELOPE, orders)
        check_schema(raw, iso_write.WRITTEN[family])
        path = tmp_path / f"{family}.xml"
        path.write_bytes(raw)
        read = [one for one in records(path) if isinstance(one, PaymentInstruction)]
        for before, after in zip(orders, read, strict=True):
            lacking = (
                replace(before.references, transaction_id="") if family == "pain.001" else before.references
            )
            others: dict[str, Any] = {**shown, "references": lacking}
            assert replace(after, line=0, unmapped=()) == replace(before, **others)


def parsed(raw: bytes, version: str) -> list[str]:
    """The elements that pyiso20022's classes, made from the published schema, write after reading ours:
    they refuse what they do not know or miss, and write in the schema's order.
    """
    area = version.partition(".")[0]
    module = importlib.import_module(f"pyiso20022.{area}.{version.replace('.', '_')}")
    config = ParserConfig(fail_on_unknown_properties=True, fail_on_unknown_attributes=True)
    message = XmlParser(config=config).from_bytes(raw, module.Document)
    again = XmlSerializer().render(message, ns_map={None: NAMESPACE + version})
    return [element.tag for element in etree.fromstring(again.encode()).iter()]


BANKS = replace(
    instruction(),
    kind=Kind.INSTITUTION,
    debtor=Party(bic="ABABCZPP"),
    creditor=Party(bic="CDCDDEFF"),
    purpose="CASH",
)
ANSWER = iso_write.answer_to(RECALL, "S1", "RJCR", "CUST", "the customer does not agree")
STATUSES = [
    Status("", "", Original("MSG-1", "pain.001.001.09"), "PART"),
    Status("", "S1", ORIGINAL, "RJCT", "AM04", ("assets/14", "x" * 200)),
]


@pytest.mark.parametrize(
    ("family", "write", "what"),
    [
        ("pacs.009", iso_write.write_pacs009, [BANKS]),
        ("pacs.002", iso_write.write_pacs002, STATUSES),
        ("pacs.004", iso_write.write_pacs004, [RETURN]),
        ("camt.056", iso_write.write_camt056, [RECALL]),
        ("camt.029", iso_write.write_camt029, [ANSWER]),
    ],
)
def test_what_has_no_full_schema_here_is_read_by_pyiso20022_and_stands_in_its_order(
    tmp_path: Path, family: str, write: object, what: list[object]
) -> None:
    raw = written(write, ENVELOPE, what)
    version = iso_write.WRITTEN[family]
    assert parsed(raw, version) == [element.tag for element in etree.fromstring(raw).iter()]
    path = tmp_path / "answer.xml"
    path.write_bytes(raw)
    read = [one for one in records(path) if not isinstance(one, Message)]
    assert len(read) == len(what)


def test_a_return_a_recall_and_its_answer_name_the_payment_that_they_speak_of(tmp_path: Path) -> None:
    for write, one, kind in (
        (iso_write.write_pacs004, RETURN, Return),
        (iso_write.write_camt056, RECALL, Recall),
        (iso_write.write_camt029, ANSWER, RecallAnswer),
    ):
        path = tmp_path / f"{kind.__name__}.xml"
        path.write_bytes(written(write, ENVELOPE, [one]))
        found = next(record for record in records(path) if isinstance(record, kind))
        assert found.original == ORIGINAL
        assert found.reason == one.reason
        assert found.information == one.information
    assert iso_write.return_of(instruction(), "pacs.008.001.08", "R1", "AC04").original.message_id == "MSG-1"


def test_a_securities_settlement_is_read_back_as_it_was(tmp_path: Path) -> None:
    for confirmed in (False, True):
        one = Settlement(
            "TX-1", confirmed, delivers=True, against_payment=True, isin="US0378331005", quantity=100_500_000,
            decimals=6, amount=Money(1_000_000, "EUR"), counterparty_id="S-1" if confirmed else "",
            traded=date(2026, 1, 29), settles=date(2026, 1, 31), safekeeping_account="SAFE-1",
            delivering="DEUTDEFF", receiving="CDCDDEFF", linked=("TX-0",),
        )  # fmt: skip
        path = tmp_path / f"sese{confirmed}.xml"
        path.write_bytes(written(write_sese, one))
        found = next(record for record in records(path) if isinstance(record, Settlement))
        assert replace(found, line=0, unmapped=()) == one


def test_what_a_reader_does_not_understand_is_kept_in_order(tmp_path: Path) -> None:
    raw = written(iso_write.write_pain001, ENVELOPE, [instruction()]).decode()
    more = "<RgltryRptg><Dtls><Inf>first</Inf></Dtls></RgltryRptg><Tax><RefNb>second</RefNb></Tax>"
    path = tmp_path / "more.xml"
    path.write_text(raw.replace("   <RmtInf>", more + "   <RmtInf>", 1))
    found = next(one for one in records(path) if isinstance(one, PaymentInstruction))
    assert found.unmapped[-2:] == (("RgltryRptg/Dtls/Inf", "first"), ("Tax/RefNb", "second"))


def test_an_application_header_around_a_message_names_sender_and_receiver(tmp_path: Path) -> None:
    raw = written(
        iso_write.write_pacs008, replace(ENVELOPE, sender="", receiver=""), [instruction()]
    ).decode()
    head = (
        '<Envelope><AppHdr xmlns="urn:iso:std:iso:20022:tech:xsd:head.001.001.02">'
        "<Fr><FIId><FinInstnId><BICFI>ABABCZPP</BICFI></FinInstnId></FIId></Fr>"
        "<To><FIId><FinInstnId><BICFI>CDCDDEFF</BICFI></FinInstnId></FIId></To><BizMsgIdr>B1</BizMsgIdr></AppHdr>"
    )
    path = tmp_path / "wrapped.xml"
    path.write_text(raw.replace("<Document", head + "<Document", 1) + "</Envelope>")
    message = next(one for one in records(path) if isinstance(one, Message))
    assert (message.sender, message.receiver) == ("ABABCZPP", "CDCDDEFF")
    assert ("AppHdr/BizMsgIdr", "B1") in message.unmapped
