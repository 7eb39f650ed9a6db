"""Statements and payments in the manners of many banks, written for these tests with made-up parties: what
each says of an entry is understood, and what is only another way to write it is no fault.
"""

from datetime import date
from pathlib import Path

import pytest

from node.adapters.accounts import Accounts
from node.adapters.reading import Source, check_file
from node.adapters.records import Entry, EntryDetail, Message, PaymentInstruction, Statement
from node.adapters.statement_rules import joined, pages_of
from tests.adapters_kit import IBAN, NAMESPACE, OTHER, pain, records, refusal

HEAD = f":20:STARTUMS\n:25:{IBAN}\n:28C:00001/001\n:60F:C260130CZK100,00\n"
TAIL = ":62F:C260131CZK110,50\n-\n"
C = ":61:2601310131CR10,50N051"


def one(path: Path, lines: str, encoding: str = "utf-8") -> Entry:
    """The only entry of a statement that brings CZK 10.50."""
    path.write_bytes((HEAD + lines + TAIL).encode(encoding))
    (found,) = (record for record in records(path, encoding=encoding) if isinstance(record, Entry))
    assert found.amount.minor == 1_050
    return found


# manner -> (lines, end-to-end reference, the other side's name, account and bank, remittance)
Said = tuple[str, str, str, str, str, str]
MANNERS: dict[str, Said] = {
    "sub-fields, a reference over two of them": (
        f"{C}NONREF\n:86:?00X?20EREF+ORDER/2026/00000000017?21D-9?23SVWZ+A b?30CD?31{OTHER}?32P\n",
        "ORDER/2026/00000000017D-9", "P", OTHER, "CD", "A b",
    ),
    "sub-fields, a reference that fills its own and goes on": (
        f"{C}KREF+\n:86:166?00X?20EREF+1234567890123456789012?213456?22SVWZ+Rent\n",
        "12345678901234567890123456", "", "", "", "Rent",
    ),
    "sub-fields that say no reference": (
        f"{C}NONREF\n:86:166?00X?20EREF+NOTPROVIDED SVWZ+Rent?32Payer\n", "", "Payer", "", "", "Rent",
    ),
    "sub-fields behind tildes, a line each, and a code alone before them": (
        f"{C}NONREF\n:86:073\n:86:073~00X\n~20Invoice 17\n~301020\n~3110201\n~32Payer\n~33Ltd\n~38{OTHER}\n",
        "", "PayerLtd", OTHER, "1020", "Invoice 17",
    ),
    "words between slashes": (
        f"{C}EREF\n:86:/TRTP/X/IBAN/{OTHER}/BIC/CDCDDEFF/NAME/Payer/REMI/Rent May/2026/EREF/E-1\n7\n",
        "E-17", "Payer", OTHER, "CDCDDEFF", "Rent May/2026",
    ),
    "words between slashes, the other side in one": (
        f"{C}EREF//26031\n/TRCD/00100/\n:86:/EREF/E-17//CNTP/{OTHER}/CDCDDEFF/Payer///REMI/USTD//Rent/\n",
        "E-17", "Payer", OTHER, "CDCDDEFF", "Rent",
    ),
    "the account of the other side on a line of its own": (
        f"{C}EREF\n{OTHER}\n:86:/EREF/E-17/ORDP//NAME/Payer/REMI/Rent\n", "E-17", "Payer", OTHER, "", "Rent",
    ),
    "words with a plus": (
        f"{C}NONREF\n:86:EREF+E-17 KREF+K-1 SVWZ+Rent\n", "E-17", "", "", "", "Rent",
    ),
    "a number and a name where the reference would be": (
        ":61:260131C000000000010,50N071P002445588      Payer and Sons\n:86:Rent\n", "", "", "", "", "",
    ),
    "a text": (f"{C}E-17//BANK1\n/OCMT/EUR0,42/\n:86:Rent of May\n", "E-17", "", "", "", ""),
}  # fmt: skip


@pytest.mark.parametrize("manner", MANNERS)
def test_what_a_bank_says_of_an_entry_is_understood(tmp_path: Path, manner: str) -> None:
    lines, reference, name, account, bank, remittance = MANNERS[manner]
    found = one(tmp_path / "statement.sta", lines)
    detail = found.detail
    other = detail.counterparty
    assert (detail.references.end_to_end_id, other.name, other.account) == (reference, name, account)
    assert (other.agent, "".join(detail.remittance)) == (bank, remittance)
    assert lines.rpartition(":86:")[2].splitlines()[0][:20] in found.information


WAYS = {
    "a blank before the type": ":61:2601310131C10,50 NTRFE-1\n",
    "no type, the currency's last letter, a bank's reference": ":61:2601310131CK10,50//26031\n",
    "both days with their years": ":61:260131260131C10,50NTRFE-1\n",
    "blanks for the booking day": ":61:260131    C10,50NTRFE-1\n",
    "a decimal point and zeros in front": ":61:260131C000000000010.50N544NONREF\n",
    "no decimals but the mark, twice": ":61:260131C10,NTRFE-1\n:61:260131C,50NTRFE-2\n",
    "a lone dash in the text": ":61:260131C10,50NTRFE-1\n:86:goods -\n-\nand services\n",
    "an unknown field": ":61:260131C10,50NTRFE-1\n:NS:01something\n",
}


def test_ways_to_write_the_same_are_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "statement.sta"
    wrong = {}
    for way, lines in WAYS.items():
        path.write_text(HEAD + lines + TAIL)
        if refusal(path):
            wrong[way] = refusal(path)
    ends = {"LF": "\n", "CR LF": "\r\n", "CR": "\r", "a mark before each": "\r\n\x01"}
    for name, end in ends.items():
        path.write_bytes((HEAD + WAYS["a lone dash in the text"] + TAIL).replace("\n", end).encode())
        if refusal(path):
            wrong[name] = refusal(path)
    print(f"{len(WAYS) + len(ends)} ways to write an entry or a line tried")
    assert wrong == {"no decimals but the mark, twice": [("BAD_VALUE", 6)]}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "iso-8859-1", "cp1250", "cp852"])
def test_a_statement_is_read_in_the_encoding_of_its_bank(tmp_path: Path, encoding: str) -> None:
    text = "Müller" if encoding == "iso-8859-1" else "Čížek"
    if encoding == "utf-8-sig":
        path = tmp_path / "statement.sta"
        path.write_bytes((HEAD + f"{C}E-1\n:86:{text}\n" + TAIL).encode(encoding))
        found = next(record for record in records(path) if isinstance(record, Entry))
    else:
        found = one(tmp_path / "statement.sta", f"{C}E-1\n:86:{text}\n", encoding)
        assert refusal(tmp_path / "statement.sta")[0][0] == "ENCODING"
    assert found.information == text


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "iso-8859-2", "windows-1250", "windows-1252"])
def test_a_message_is_read_in_the_encoding_that_it_declares(tmp_path: Path, encoding: str) -> None:
    name = "Müller" if encoding == "windows-1252" else "Čížek"
    said = encoding.removesuffix("-sig")
    text = pain(1, **{'encoding="UTF-8"': f'encoding="{said}"', "Creditor 1": name})
    (tmp_path / "pain.xml").write_bytes(text.encode(encoding))
    found = next(one for one in records(tmp_path / "pain.xml") if isinstance(one, PaymentInstruction))
    assert found.creditor.name == name


def test_messages_in_blocks_on_one_line_keep_their_headers(tmp_path: Path) -> None:
    path = tmp_path / "payments.rje"
    uetr = "86d7da8e-6e41-4466-b9bb-9b41d5814d5a"
    body = f":20:OWN1\n:23B:CRED\n:32A:260131CZK10,50\n:50K:/{IBAN}\nPAYER\n:59:/{OTHER}\nPAYEE\n:71A:SHA\n"
    head = "{1:F01ABABCZPPXXXX0000000000}{2:I103CDCDDEFFXXXXN}{3:{121:" + uetr + "}}{4:\n"
    path.write_text(head + body + "-}{5:{CHK:123456789ABC}}" + head + body.replace("OWN1", "OWN2") + "-}$\n")
    found = records(path)
    paid = [record for record in found if isinstance(record, PaymentInstruction)]
    assert [record.references.uetr for record in paid] == [uetr, uetr]
    assert [record.sender for record in found if isinstance(record, Message)] == ["ABABCZPPXXX"] * 2


def paged(second_opening: str = "60M:C260131CZK110,50") -> str:
    first = HEAD + f"{C}E-1\n:62M:C260131CZK110,50\n-\n"
    second = (
        f":20:STARTUMS\n:25:{IBAN}\n:28C:00001/002\n:{second_opening}\n{C}E-2\n:62F:C260131CZK121,00\n-\n"
    )
    return first + second


def test_pages_of_one_statement_are_one_statement(tmp_path: Path) -> None:
    path = tmp_path / "paged.sta"
    path.write_text(paged())
    statements = check_file(Source(path)).statements
    assert pages_of(statements) == [[0, 1]]
    whole = joined(statements)
    assert (whole.opening, whole.closing) == (statements[0].opening, statements[1].closing)
    assert (whole.entry_count, whole.credits) == (2, 2_100)
    path.write_text(paged("60M:C260131CZK111,50").replace("121,00", "122,00"))
    assert refusal(path) == [("STATEMENT_GAP", 8)]
    path.write_text(
        paged("60F:C260131CZK110,50").replace("62M", "62F").replace("62F:C260131CZK121", "62F:C260201CZK121")
    )
    assert pages_of(check_file(Source(path)).statements) == [[0], [1]]


def test_an_account_is_found_however_its_bank_writes_it() -> None:
    known = Accounts(
        {
            "1017490554": "PA/one",
            "2800320 1324354687": "PA/two",
            "CDCDDEFF/77": "PA/three",
            "77": "PA/four",
            IBAN: "PA/main",
        }
    )
    written = {
        ("1017.490.554EUR", "", "EUR"): "PA/one",
        ("1017.490.554 EUR", "", "EUR"): "PA/one",
        ("28003201324354687", "", "EUR"): "PA/two",
        ("TRIBDEFF/1017490554", "", "EUR"): "PA/one",
        ("77", "CDCDDEFFXXX", "EUR"): "PA/three",
        ("77", "ABABCZPP", "EUR"): "PA/four",
        ("CZ65 0800 0000 1920 0014 5399", "", "CZK"): "PA/main",
        ("99", "", "EUR"): "",
        ("PA/own", "", "EUR"): "PA/own",
    }
    assert {key: known.of_statement(*key) for key in written} == written


NATIONAL = {
    "DK": (f"{NAMESPACE}pain.001.001.09", f"{NAMESPACE}pain.001.003.03"),
    "DK, earlier": (f"{NAMESPACE}pain.001.001.09", f"{NAMESPACE}pain.001.002.03"),
    "Switzerland": (
        f"{NAMESPACE}pain.001.001.09",
        "http://www.six-interbank-clearing.com/de/pain.001.001.03.ch.02.xsd",
    ),
    "Austria": (f"{NAMESPACE}pain.001.001.09", "ISO:pain.001.001.03:APC:STUZZA:payments:003"),
}


@pytest.mark.parametrize("country", NATIONAL)
def test_a_national_form_of_a_message_is_read_as_the_message_that_it_is(tmp_path: Path, country: str) -> None:
    path = tmp_path / "national.xml"
    path.write_text(pain(2, **dict([NATIONAL[country]])))
    plan = check_file(Source(path))
    assert (plan.form, plan.counts["PaymentInstruction"]) == ("pain.001", 2)


BALANCE = """<Bal><Tp><CdOrPrtry><Cd>{}</Cd></CdOrPrtry></Tp><Amt Ccy="CZK">{}</Amt>
<CdtDbtInd>CRDT</CdtDbtInd><Dt><Dt>2026-01-31</Dt></Dt></Bal>"""
DETAIL = """<TxDtls><Refs><EndToEndId>E-{}</EndToEndId></Refs><AmtDtls><TxAmt>
<Amt Ccy="CZK">5.25</Amt></TxAmt>
</AmtDtls></TxDtls>"""
ENTRY = """<Ntry><Amt Ccy="CZK">10.50</Amt><CdtDbtInd>DBIT</CdtDbtInd><Sts>{}</Sts>
<BookgDt><Dt>2026-01-31</Dt></BookgDt><NtryDtls><Btch><NbOfTxs>2</NbOfTxs></Btch>{}</NtryDtls></Ntry>"""


def report() -> str:
    """A camt.052 under a prefix: 100.00, a batch of two booked and one pending, and then 80.00."""
    batch = DETAIL.format(1) + DETAIL.format(2)
    parts = [BALANCE.format("OPBD", "100.00"), BALANCE.format("ITBD", "80.00")]
    parts += [ENTRY.format("BOOK", batch), ENTRY.format("PDNG", batch)]
    text = f"""<Document><BkToCstmrAcctRpt><GrpHdr><MsgId>M</MsgId></GrpHdr><Rpt><Id>R</Id>
<Acct><Id><IBAN>{IBAN}</IBAN></Id></Acct>{"".join(parts)}</Rpt></BkToCstmrAcctRpt></Document>"""
    text = text.replace("<", "<d:").replace("<d:/", "</d:")
    return text.replace("<d:Document>", f'<d:Document xmlns:d="{NAMESPACE}camt.052.001.02">')


def test_a_settlement_systems_statement_without_signs_and_days_is_read(tmp_path: Path) -> None:
    text = report().replace("camt.052.001.02", "camt.053.001.08").replace("ITBD", "CLBD")
    for old, new in (("BkToCstmrAcctRpt", "BkToCstmrStmt"), ("d:Rpt", "d:Stmt"), (">80.00<", ">89.50<")):
        text = text.replace(old, new)
    bare = text.replace("<d:CdtDbtInd>CRDT</d:CdtDbtInd>", "")
    bare = bare.replace("<d:BookgDt><d:Dt>2026-01-31</d:Dt></d:BookgDt>", "")
    assert text.count("CRDT") == 2
    path = tmp_path / "statement.xml"
    path.write_text(bare)
    found = records(path)
    assert {one.booked for one in found if isinstance(one, Entry)} == {date(2026, 1, 31)}
    told = next(one for one in found if isinstance(one, Statement))
    assert (told.opening and told.opening.amount.minor) == 10_000
    path.write_text(bare.replace(">89.50<", ">89.49<"))
    assert [reason for reason, _ in refusal(path)] == ["BALANCE_DIFFERS"]


def test_an_interim_report_need_not_add_up_and_a_statement_must(tmp_path: Path) -> None:
    path = tmp_path / "report.xml"
    path.write_text(report())
    found = records(path)
    first, second = (record for record in found if isinstance(record, Entry))
    assert (first.status, second.status, first.detail) == ("BOOK", "PDNG", EntryDetail())
    assert [detail.references.end_to_end_id for detail in first.details] == ["E-1", "E-2"]
    assert {detail.amount.minor for detail in first.details if detail.amount} == {525}
    told = next(record for record in found if isinstance(record, Statement))
    assert (told.closing and told.closing.day, told.entry_count) == (date(2026, 1, 31), 2)
    path.write_text(report().replace("ITBD", "CLBD"))
    assert [reason for reason, _ in refusal(path)] == ["BALANCE_DIFFERS"]
