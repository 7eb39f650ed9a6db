"""Files that must be refused: each with its reason and line, nothing of it handed on, and nothing read from
outside.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from node.adapters.csv_files import load_mapping
from node.adapters.identifiers import check_bic, check_iban, check_isin, check_lei, check_uetr
from node.adapters.iso_write_statements import write_camt
from node.adapters.reading import Source, check_file, records_of
from node.adapters.refusals import Bad, FileRefused
from tests.adapters_kit import IBAN, NAMESPACE, OTHER, UETR, entry, pain, refusal, statement, written

BOMB = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))


def with_doctype(inside: str, use: str) -> str:
    text = pain(**{"<Nm>Payer</Nm>": f"<Nm>{use}</Nm>"})
    return text.replace("<Document", f"<!DOCTYPE Document [{inside}]>\n<Document", 1)


def camt(**change: str) -> str:
    amounts = [1_050, -250]
    raw = written(write_camt, statement(amounts), [entry(n, minor) for n, minor in enumerate(amounts, 1)])
    text = raw.decode()
    for old, new in change.items():
        assert old in text, old
        text = text.replace(old, new, 1)
    return text


def chained(
    second_opening: str = "108.00", sequence: str = "2", days: tuple[str, str] = ("2026-02-01", "2026-02-28")
) -> str:
    """Two statements of one account in one message, the second without entries."""
    text = camt()
    begin, end = text.index("  <Stmt>\n"), text.index("  </Stmt>\n") + len("  </Stmt>\n")
    first = text[begin:end]
    head, tail = first[: first.index("   <TxsSummry>")], "  </Stmt>\n"
    later = head.replace("<Id>VS1</Id>", "<Id>VS2</Id>").replace(
        "<ElctrncSeqNb>1", f"<ElctrncSeqNb>{sequence}"
    )
    later = later.replace(">100.00<", f">{second_opening}<").replace(">108.00<", f">{second_opening}<")
    later = later.replace("2026-01-31T23", f"{days[1]}T23").replace("2026-01-01T00", f"{days[0]}T00")
    later = later.replace("<Dt>2026-01-31</Dt>", f"<Dt>{days[1]}</Dt>").replace(
        "<Dt>2026-01-01</Dt>", f"<Dt>{days[0]}</Dt>"
    )
    return text[:end] + later + tail + text[end:]


def twice() -> str:
    """One statement twice in one message."""
    text = camt()
    begin, end = text.index("  <Stmt>\n"), text.index("  </Stmt>\n") + len("  </Stmt>\n")
    return text[:end] + text[begin:]


MT940 = f""":20:REF1
:25:{IBAN}
:28C:1/1
:60F:C260101CZK100,00
:61:2601310131C10,50NTRFE-1//BANK1
:86:/EREF/E-1
:62F:C260131CZK110,50
-
"""
MT103 = f""":20:OWN1
:23B:CRED
:32A:260131CZK10,50
:50K:/{IBAN}
PAYER
:59:/{OTHER}
PAYEE
:71A:SHA
-
"""


def mt(text: str, **change: str) -> str:
    for old, new in change.items():
        assert old in text, old
        text = text.replace(old, new, 1)
    return text


# name -> (content, reason that must be told, line or 0 for any, --as)
Case = tuple[str | bytes, str, int, str]
ROW = "<CdtTrfTxInf>"
XML: dict[str, Case] = {
    "a bomb of entities": (with_doctype('<!ENTITY e0 "ha">' + BOMB, "&e9;"), "DOCTYPE", 0, ""),
    "a bomb of one long entity": (
        with_doctype(f'<!ENTITY a "{"x" * 50_000}">', "&a;" * 1_000),
        "DOCTYPE",
        0,
        "",
    ),
    "an external entity": (
        with_doctype('<!ENTITY x SYSTEM "file:///etc/hostname">', "&x;"),
        "DOCTYPE",
        0,
        "",
    ),
    "an external parameter entity": (
        with_doctype('<!ENTITY % x SYSTEM "file:///etc/hostname"> %x;', "a"),
        "DOCTYPE",
        0,
        "",
    ),
    "an external document type": (
        pain().replace("<Document", '<!DOCTYPE Document SYSTEM "http://127.0.0.1:9/x.dtd">\n<Document', 1),
        "DOCTYPE",
        0,
        "",
    ),
    "an entity that nobody declared": (pain(**{"Creditor 1": "&x;"}), "DOCTYPE", 0, ""),
    "no ISO 20022 namespace": (pain(**{NAMESPACE: "urn:other:"}), "FORMAT_UNKNOWN", 0, ""),
    "another message's namespace": (pain(**{"pain.001.001.09": "pacs.008.001.08"}), "ELEMENT_MISSING", 0, ""),
    "a message that is not read": (pain(**{"pain.001.001.09": "pain.008.001.08"}), "FORMAT_UNKNOWN", 0, ""),
    "a version to come": (pain(**{"pain.001.001.09": "pain.001.001.99"}), "VERSION_UNKNOWN", 0, ""),
    "a variant": (pain(**{"pain.001.001.09": "pain.001.002.09"}), "VERSION_UNKNOWN", 0, ""),
    "another format than --as says": (pain(), "FORMAT_UNKNOWN", 0, "camt.053"),
    "a format that nobody knows": (pain(), "FORMAT_UNKNOWN", 0, "edifact"),
    "a wrong count": (pain(**{"<NbOfTxs>2": "<NbOfTxs>3"}), "COUNT_DIFFERS", 4, ""),
    "a wrong control sum": (pain(**{"<CtrlSum>21.00": "<CtrlSum>21.01"}), "TOTAL_DIFFERS", 4, ""),
    "a wrong sum of a block": (
        pain(**{"<PmtMtd>": "<NbOfTxs>2</NbOfTxs><CtrlSum>9</CtrlSum><PmtMtd>"}),
        "TOTAL_DIFFERS",
        11,
        "",
    ),
    "a wrong count of a block": (
        pain(**{"<PmtMtd>": "<NbOfTxs>1</NbOfTxs><PmtMtd>"}),
        "COUNT_DIFFERS",
        11,
        "",
    ),
    "a control sum that is no number": (pain(**{"<CtrlSum>21.00": "<CtrlSum>1e400"}), "BAD_AMOUNT", 4, ""),
    "a wrong check digit of an IBAN": (pain(**{OTHER: "DE88" + OTHER[4:]}), "BAD_IBAN", 22, ""),
    "an IBAN of the wrong length": (pain(**{OTHER: OTHER[:-1]}), "BAD_IBAN", 22, ""),
    "a wrong debtor's IBAN": (pain(**{IBAN: "CZ66" + IBAN[4:]}), "BAD_IBAN", 16, ""),
    "a BIC of no country": (pain(ABABCZPP="GIBAZZPX"), "BAD_BIC", 17, ""),
    "a BIC that is too short": (pain(ABABCZPP="GIBACZ"), "BAD_BIC", 17, ""),
    "a wrong LEI": (
        pain(
            **{
                "<Dbtr><Nm>Payer</Nm>": "<Dbtr><Nm>P</Nm><Id><OrgId><LEI>529900T8BM49AURSDO56</LEI></OrgId>"
                "</Id>"
            }
        ),
        "BAD_LEI",
        15,
        "",
    ),
    "a UETR of another version": (
        pain(**{"<EndToEndId>E-1": f"<UETR>{UETR[:14]}1{UETR[15:]}</UETR><EndToEndId>E-1"}),
        "BAD_UETR",
        19,
        "",
    ),
    "a UETR twice": (
        pain().replace("<EndToEndId>", f"<UETR>{UETR}</UETR><EndToEndId>"),
        "DUPLICATE_ID",
        24,
        "",
    ),
    "a payment information twice": (
        pain().replace(
            "  <PmtInf>",
            pain()[pain().index("  <PmtInf>") : pain().index(" </CstmrCdtTrfInitn>")] + "  <PmtInf>",
            1,
        ),
        "DUPLICATE_ID",
        0,
        "",
    ),
    "no currency": (pain(**{' Ccy="CZK"': ""}), "CURRENCY_UNKNOWN", 20, ""),
    "a currency of nowhere": (pain(**{'Ccy="CZK"': 'Ccy="ZZZ"'}), "CURRENCY_UNKNOWN", 20, ""),
    "a currency other than the account's": (
        pain(**{"</DbtrAcct>": "<Ccy>EUR</Ccy></DbtrAcct>"}),
        "CURRENCIES_DIFFER",
        18,
        "",
    ),
    "more decimals than the currency has": (pain(**{">10.50<": ">10.501<"}), "BAD_AMOUNT", 20, ""),
    "an amount of zero": (pain(**{">10.50<": ">0.00<"}), "BAD_AMOUNT", 18, ""),
    "a negative amount": (pain(**{">10.50<": ">-10.50<"}), "BAD_AMOUNT", 20, ""),
    "digits of another script": (pain(**{">10.50<": ">\u0661\u0660<"}), "BAD_AMOUNT", 20, ""),
    "an exponent": (pain(**{">10.50<": ">1e3<"}), "BAD_AMOUNT", 20, ""),
    "an amount of forty digits": (pain(**{">10.50<": f">{'9' * 40}<"}), "BAD_AMOUNT", 20, ""),
    "a day that is none": (pain(**{"<Dt>2026-01-31": "<Dt>2026-02-31"}), "BAD_DATE", 14, ""),
    "no message id": (pain(**{"<MsgId>MSG-1</MsgId>": ""}), "ELEMENT_MISSING", 4, ""),
    "a message id that is too long": (pain(**{"MSG-1": "M" * 36}), "BAD_VALUE", 4, ""),
    "no group header": (pain(**{"<GrpHdr>": "<Hdr>", "</GrpHdr>": "</Hdr>"}), "ELEMENT_MISSING", 0, ""),
    "no amount": (pain(**{'<InstdAmt Ccy="CZK">10.50</InstdAmt>': ""}), "ELEMENT_MISSING", 18, ""),
    "no payment": (pain(0), "ELEMENT_MISSING", 11, ""),
    "a cheque": (pain(TRF="CHK"), "UNSUPPORTED", 11, ""),
    "a cut file": (pain()[:-40], "NOT_WELL_FORMED", 0, ""),
    "text after the end": (pain() + "x", "NOT_WELL_FORMED", 0, ""),
    "a broken tag": (pain(**{"</EndToEndId>": "</EndToEnd>"}), "NOT_WELL_FORMED", 19, ""),
    "bytes that are no UTF-8": (pain().encode().replace(b"Creditor 1", b"Cr\xe9diteur"), "ENCODING", 21, ""),
    "an encoding that is not read": (pain(**{"UTF-8": "EUC-JP"}), "ENCODING", 1, ""),
    "an encoding of nowhere": (pain(**{"UTF-8": "KLINGON"}), "ENCODING", 0, ""),
    "UTF-8 that says UTF-16": (pain(**{"UTF-8": "UTF-16"}), "", 0, ""),
    "too many levels": (pain(**{"<Nm>Creditor 1</Nm>": "<a>" * 60 + "</a>" * 60}), "NOT_WELL_FORMED", 0, ""),
    "more levels than a parser bears": (
        pain(**{"<Nm>Creditor 1</Nm>": "<a>" * 300 + "</a>" * 300}),
        "NOT_WELL_FORMED",
        0,
        "",
    ),
    "a record without end": (
        pain(**{"<Nm>Creditor 1</Nm>": "<Nm>x</Nm>" * 450_000}),
        "RECORD_TOO_LARGE",
        0,
        "",
    ),
    "a text without end": (pain(**{"Creditor 1": "x" * 11_000_000}), "", 0, ""),
    "an empty file": ("", "EMPTY", 0, ""),
    "blanks": ("   \n", "FORMAT_UNKNOWN", 0, ""),
    "a picture": (b"\x89PNG\r\n\x1a\n\x00\x00", "ENCODING", 0, ""),
    "HTML": ("<!DOCTYPE html><html><body>Not found</body></html>", "DOCTYPE", 0, ""),
}
STATEMENTS: dict[str, Case] = {
    "a balance that does not follow": (camt(**{">108.00<": ">108.01<"}), "BALANCE_DIFFERS", 0, ""),
    "an entry in another currency": (
        camt(**{'<Amt Ccy="CZK">10.50</Amt>': '<Amt Ccy="EUR">10.50</Amt>'}), "CURRENCIES_DIFFER", 0, ""),
    "a balance in another currency": (
        camt(**{'<Amt Ccy="CZK">100.00</Amt>': '<Amt Ccy="EUR">100.00</Amt>'}), "CURRENCIES_DIFFER", 0, ""),
    "a wrong number of entries": (camt(**{"<NbOfNtries>2": "<NbOfNtries>3"}), "COUNT_DIFFERS", 0, ""),
    "a wrong sum of entries": (camt(**{"<Sum>13.00": "<Sum>13.01"}), "TOTAL_DIFFERS", 0, ""),
    "neither credit nor debit": (camt(**{"<CdtDbtInd>DBIT": "<CdtDbtInd>BOTH"}), "BAD_VALUE", 0, ""),
    "a period that ends before it begins": (
        camt(**{"<FrDtTm>2026-01-01": "<FrDtTm>2026-03-01"}), "DATES_OUT_OF_ORDER", 0, ""),
    "balances out of order": (
        camt(**{"<Dt>2026-01-01</Dt>": "<Dt>2026-03-01</Dt>"}), "DATES_OUT_OF_ORDER", 0, ""),
    "a wrong account": (camt(**{IBAN: "CZ66" + IBAN[4:]}), "BAD_IBAN", 0, ""),
    "no account": (camt(**{f"<Id><IBAN>{IBAN}</IBAN></Id>": ""}), "ELEMENT_MISSING", 0, ""),
    "a statement that is missing": (chained("999.00", "3"), "STATEMENT_GAP", 0, ""),
    "statements out of order": (
        chained("120.00", "2", ("2025-11-01", "2025-11-30")), "DATES_OUT_OF_ORDER", 0, ""),
    "a statement twice": (twice(), "DUPLICATE_ID", 0, ""),
    "an MT940 that does not add up": (mt(MT940, **{"110,50": "110,51"}), "BALANCE_DIFFERS", 1, ""),
    "an MT940 without its closing": (mt(MT940, **{":62F:C260131CZK110,50\n": ":62F:\n"}), "BAD_VALUE", 7, ""),
    "an MT940 in two currencies": (mt(MT940, **{"CZK110,50": "EUR110,50"}), "CURRENCIES_DIFFER", 1, ""),
    "an MT940 out of order": (mt(MT940, C260101="C260301"), "DATES_OUT_OF_ORDER", 1, ""),
    "an MT940 with a gap": (
        MT940 + mt(MT940, **{"1/1": "3/1", "REF1": "REF3", "C260101CZK100,00": "C260131CZK200,00",
                                                "110,50": "210,50"}), "STATEMENT_GAP", 9, ""),
    "an MT940 twice in one file": (MT940 + MT940, "DUPLICATE_ID", 9, ""),
    "an MT940 with a bad entry": (mt(MT940, **{":61:26": ":61:XX"}), "BAD_VALUE", 5, ""),
    "an MT940 with a day that is none": (mt(MT940, **{":61:260131": ":61:261331"}), "BAD_DATE", 5, ""),
    "an MT940 with a wrong count": (mt(MT940, **{"-\n": ":90C:2CZK10,50\n-\n"}), "COUNT_DIFFERS", 8, ""),
    "an MT940 with a wrong sum": (mt(MT940, **{"-\n": ":90C:1CZK10,51\n-\n"}), "TOTAL_DIFFERS", 8, ""),
    "an MT940 that is no UTF-8": (MT940.encode().replace(b"/EREF/E-1", b"/EREF/\xe9"), "ENCODING", 6, ""),
    "an MT940 with a zero byte": (MT940.encode().replace(b"/EREF/E-1", b"/EREF/\0"), "ENCODING", 6, ""),
    "an MT940 with a line without end": (mt(MT940, **{"/EREF/E-1": "x" * 20_000}), "NOT_WELL_FORMED", 6, ""),
    "an MT940 with a field without end": (mt(MT940, **{"/EREF/E-1": "x\n" * 300}), "NOT_WELL_FORMED", 0, ""),
    "an MT103 to a wrong IBAN": (mt(MT103, **{OTHER: "DE88" + OTHER[4:]}), "BAD_IBAN", 6, ""),
    "an MT103 without a creditor": (MT103.replace(":59:", ":79:"), "ELEMENT_MISSING", 0, "mt103"),
    "an MT103 of nothing": (mt(MT103, **{"10,50": "0,00"}), "BAD_AMOUNT", 3, ""),
    "an MT103 twice": (MT103 + MT103, "DUPLICATE_ID", 10, ""),
    "an MT103 with too many decimals": (mt(MT103, **{"10,50": "10,505"}), "BAD_AMOUNT", 3, ""),
}  # fmt: skip


@pytest.mark.evidence(
    "BNK1",
    asset="balances",
    threat="a bad file is carried out by half",
    mitigation="all of it is checked first",
)
def test_every_bad_file_is_refused_with_its_reason_and_line(tmp_path: Path) -> None:
    wrong: list[str] = []
    cases = XML | STATEMENTS
    for number, (name, (content, reason, line, form)) in enumerate(cases.items()):
        path = tmp_path / f"{number}.txt"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        found = refusal(path, form)
        told = [one for one in found if (not reason or one[0] == reason) and (not line or one[1] == line)]
        if not told:
            wrong.append(f"{name}: {found[:3]} instead of {reason}, line {line}")
    print(f"{len(cases)} bad files tried, {len(cases) - len(wrong)} refused as they must be")
    assert wrong == [], "\n".join(wrong)


def test_the_files_that_were_changed_are_right_as_they_stand(tmp_path: Path) -> None:
    for number, content in enumerate((pain(), camt(), chained(), MT940, MT103)):
        path = tmp_path / f"{number}.txt"
        path.write_text(content)
        assert refusal(path) == []


@pytest.mark.evidence(
    "BNK2",
    asset="the importer's machine",
    threat="a file that is made to hurt",
    mitigation="bounds, and no entities",
)
def test_an_external_entity_is_never_fetched(tmp_path: Path) -> None:
    pipe = tmp_path / "secret"
    os.mkfifo(pipe)  # reading it would block for ever
    path = tmp_path / "outside.xml"
    path.write_text(with_doctype(f'<!ENTITY x SYSTEM "{pipe}">', "&x;"))
    assert refusal(path)[0][0] == "DOCTYPE"


def test_all_problems_of_a_file_are_told_at_once_in_its_order(tmp_path: Path) -> None:
    path = tmp_path / "three.xml"
    path.write_text(pain(3).replace(OTHER, "DE88" + OTHER[4:]))
    assert refusal(path) == [("BAD_IBAN", 22), ("BAD_IBAN", 28), ("BAD_IBAN", 34)]
    path.write_text(pain(1_200).replace(OTHER, "DE88" + OTHER[4:]))
    assert len(refusal(path)) == 1_000


@pytest.mark.evidence(
    "BNK2",
    asset="the importer's machine",
    threat="a file that is made to hurt",
    mitigation="bounds, and no entities",
)
def test_a_file_above_the_bound_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "large.xml"
    path.write_text(pain())
    with pytest.raises(FileRefused) as refused:
        check_file(Source(path), bytes_max=100)
    assert refused.value.problems[0].reason.value == "TOO_LARGE"


def test_a_file_that_changed_since_it_was_checked_hands_nothing_on(tmp_path: Path) -> None:
    path = tmp_path / "changed.xml"
    path.write_text(pain())
    plan = check_file(Source(path))
    path.write_text(pain(3))
    with pytest.raises(FileRefused) as refused:
        next(records_of(plan))
    assert refused.value.problems[0].reason.value == "CHANGED_WHILE_READ"


def test_identifiers_are_refused_for_one_wrong_sign() -> None:
    checks: list[tuple[Callable[[str], str], str]] = [
        (check_iban, OTHER),
        (check_iban, "GB29NWBK60161331926819"),  # the example of ISO 13616's registry
        (check_lei, "529900T8BM49AURSDO55"),  # the first LEI, of its issuer
        (check_isin, "US0378331005"),  # the example of ISO 6166's annex
        (check_isin, "AU0000XVGZA3"),
        (check_uetr, UETR),
    ]
    tried = 0
    for check, right in checks:
        assert check(right) == right
        last = int(right[-1], 16) if check is check_uetr else int(right[-1])
        wrong = right[:14] + "1" + right[15:] if check is check_uetr else right[:-1] + str((last + 1) % 10)
        for text in (wrong, right[:-1], right + "0", "", right.replace("0", "O", 1) + "!"):
            tried += 1
            with pytest.raises(Bad):
                check(text)
    assert check_bic("ABABCZPPXXX") == "ABABCZPPXXX"
    for text in ("GIBACZP", "GIBAXXPX", "ABABCZPP1", "1234", ""):
        tried += 1
        with pytest.raises(Bad):
            check_bic(text)
    print(f"{tried} wrong identifiers refused")


def test_a_mapping_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "columns.toml"
    bad = (
        "kind = 1", "strange = 1", 'kind = "orders"',
        '[columns]\nstrange = "x"', "[columns]\namount = 1", 'decimal = ";"',
        'delimiter = ";;"', "skip = -1", "not toml", "[constants]\nstrange = 'x'", "encoding = 7",
    )  # fmt: skip
    for text in bad:
        path.write_text(text)
        with pytest.raises(FileRefused) as refused:
            load_mapping(path)
        assert refused.value.problems[0].reason.value == "MAPPING"
    print(f"{len(bad)} bad mappings refused")
