"""SWIFT MT in and out: statements of real banks, held against the package mt-940 as an independent reader;
what we write is read back by both.
"""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any

import mt940.models
import mt940.tags
import pytest

from node.adapters.mt_statements import read_mt9
from node.adapters.mt_write import swift_text, write_mt9, write_mt103, write_mt202
from node.adapters.records import (
    Entry,
    Kind,
    Money,
    Party,
    PaymentInstruction,
    References,
    Statement,
    StatementKind,
)
from node.adapters.refusals import Bad, Problems
from tests.adapters_kit import IBAN, UETR, entry, instruction, records, refusal, statement, written

SAMPLES = Path(__file__).parent.parent / "vectors" / "mt"
REFUSED = {
    "cmxl_mt940.sta": "DATES_OUT_OF_ORDER",
    "jejik_abnamro.sta": "BALANCE_DIFFERS",
    "jejik_ing.sta": "BALANCE_DIFFERS",
    "jejik_postfinance.sta": "BALANCE_DIFFERS",
    "self-provided_mt942.sta": "TOTAL_DIFFERS",
    "self-provided_raiffeisen-cmi.sta": "BALANCE_DIFFERS",
    "self-provided_sparkassen.sta": "BAD_VALUE",
}
"""Samples whose makers changed or cut them -> what no longer holds."""


def encoding_of(path: Path) -> str:
    try:
        path.read_bytes().decode()
    except UnicodeDecodeError:
        return "iso-8859-1"
    return "utf-8"


def amounts_of(path: Path) -> list[tuple[Decimal, date]]:
    """Amount and value date of every entry, refused or not, as we read them."""
    with path.open("rb") as file:
        found = list(read_mt9(file, Problems(path.name), encoding_of(path)))
    return [(Decimal(one.amount.minor), one.valued) for one in found if isinstance(one, Entry) and one.valued]


def of_others(path: Path) -> list[tuple[Decimal, date]]:
    """The same as the package mt-940 reads it: one text, statement after statement."""
    text = path.read_bytes().decode(encoding_of(path))
    found: list[tuple[Decimal, date]] = []
    special = mt940.tags.StatementASNB()
    tags: dict[Any, Any] = {special.id: special} if path.name.startswith("ASNB") else {}
    transactions = mt940.models.Transactions(tags=tags)
    transactions.parse(text)
    for one in transactions:
        data: dict[str, Any] = one.data
        if "amount" in data:
            value = data["date"]
            found.append((data["amount"].amount * 100, date(value.year, value.month, value.day)))
    return found


def test_samples_of_real_banks_are_read_or_refused_for_what_no_longer_holds() -> None:
    read, entries, statements = 0, 0, 0
    for path in sorted(SAMPLES.glob("*.sta")):
        encoding = encoding_of(path)
        reasons = {reason for reason, _ in refusal(path, encoding=encoding)}
        if path.name in REFUSED:
            assert REFUSED[path.name] in reasons, path.name
            continue
        assert reasons == set(), path.name
        found = records(path, encoding=encoding)
        read += 1
        entries += sum(isinstance(one, Entry) for one in found)
        statements += sum(isinstance(one, Statement) for one in found)
    print(
        f"MT samples: {read} files read, {statements} statements, {entries} entries; {len(REFUSED)} refused"
    )
    assert read >= 11
    assert entries >= 130


def test_amounts_and_days_are_those_that_another_reader_sees() -> None:
    compared, turned = 0, 0
    for path in sorted(SAMPLES.glob("*.sta")):
        if path.name == "self-provided_sparkassen.sta":
            continue  # cut in the middle of its only entry
        ours, theirs = amounts_of(path), of_others(path)
        # A reversed credit (RC) is a debit; mt-940 leaves it a credit, with which the balances do not add up.
        assert sorted((abs(minor), day) for minor, day in ours) == sorted(
            (abs(minor), day) for minor, day in theirs
        ), path.name
        turned += sum(minor != other for (minor, _), (other, _) in zip(ours, theirs, strict=True))
        compared += len(ours)
    print(f"{compared} entries read alike by mt-940, {turned} reversals on the other side")
    assert turned <= 2
    assert compared >= 130


@pytest.mark.parametrize("number", ["940", "942", "950"])
def test_a_statement_is_read_back_as_it_was_by_us_and_by_mt_940(tmp_path: Path, number: str) -> None:
    amounts = [1_050, -250, 1, -10_700]
    kind = StatementKind.REPORT if number == "942" else StatementKind.STATEMENT
    told, entries = statement(amounts, kind), [entry(n, minor) for n, minor in enumerate(amounts, 1)]
    path = tmp_path / "statement.sta"
    path.write_bytes(written(write_mt9, number, told, entries))
    found = records(path, form="" if number != "950" else "mt950")
    read = [one for one in found if isinstance(one, Entry)]
    assert [one.amount for one in read] == [one.amount for one in entries]
    assert [(one.booked, one.valued) for one in read] == [(one.booked, one.valued) for one in entries]
    assert [one.detail.references for one in read] == [one.detail.references for one in entries]
    back = next(one for one in found if isinstance(one, Statement))
    assert (back.account, back.currency, back.kind) == (IBAN, "CZK", kind)
    if number != "942":
        assert (back.opening, back.closing) == (told.opening, told.closing)
    assert [amount for amount, _ in of_others(path)] == amounts


def test_a_reference_that_fits_nowhere_is_carried_by_the_information_and_starts_no_field(
    tmp_path: Path,
) -> None:
    long = replace(entry(1, 1_050), details=())
    detail = replace(entry(1, 1).detail, references=References("REFERENCE-OF-35-CHARACTERS-12345678"))
    evil = replace(detail, remittance=("line\n:62F:C260131CZK0,00", "-}", "\u2013\u00e9"))
    path = tmp_path / "long.sta"
    path.write_bytes(written(write_mt9, "940", statement([1_050]), [replace(long, details=(evil,))]))
    raw = path.read_bytes().decode("ascii")
    assert raw.count("\r\n:62F:") == 1
    assert "NONREF" in raw
    found = next(one for one in records(path) if isinstance(one, Entry))
    assert found.detail.references.end_to_end_id == "REFERENCE-OF-35-CHARACTERS-12345678"
    assert swift_text("ž;{\n") == "...."


def test_payments_are_read_back_as_they_were(tmp_path: Path) -> None:
    one = replace(instruction(), references=replace(instruction().references, uetr=UETR))
    path = tmp_path / "payment.fin"
    file = BytesIO()
    write_mt103(file, one, sender="ABABCZPP", receiver="CDCDDEFFXXX")
    path.write_bytes(file.getvalue())
    found = next(record for record in records(path) if isinstance(record, PaymentInstruction))
    assert (found.amount, found.requested, found.references.uetr) == (one.amount, one.requested, UETR)
    assert found.references.end_to_end_id == "E2E-1"
    assert (found.debtor.account, found.creditor.account) == (one.debtor.account, one.creditor.account)
    assert (found.debtor.agent, found.creditor.agent) == ("ABABCZPP", "CDCDDEFF")
    bank = replace(one, kind=Kind.INSTITUTION, debtor=Party(bic="ABABCZPP"), creditor=Party(bic="CDCDDEFF"))
    file = BytesIO()
    write_mt202(file, bank)
    path.write_bytes(file.getvalue())
    found = next(record for record in records(path) if isinstance(record, PaymentInstruction))
    assert (found.kind, found.debtor.bic, found.creditor.bic) == (Kind.INSTITUTION, "ABABCZPP", "CDCDDEFF")
    assert found.amount == Money(1_050, "CZK")


def test_what_swift_cannot_carry_is_refused_not_cut() -> None:
    long = replace(statement([1_050]), statement_id="AN-ID-OF-MORE-THAN-16")
    with pytest.raises(Bad):
        written(write_mt9, "940", long, [entry(1, 1_050)])
    with pytest.raises(Bad):
        written(write_mt9, "940", replace(statement([1_050]), balances=()), [entry(1, 1_050)])
    with pytest.raises(Bad):
        written(write_mt103, replace(instruction(), requested=None))
    with pytest.raises(Bad):
        written(write_mt202, instruction())
