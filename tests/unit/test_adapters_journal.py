"""CSV, account mappings and the import journal: what is remembered, across torn lines and two importers at
once.
"""

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from node.adapters.accounts import load_accounts
from node.adapters.csv_files import load_mapping
from node.adapters.journal import APPLIED, Item, Journal, JournalBusy
from node.adapters.reading import Plan, Source, check_file, records_of
from node.adapters.records import Entry, Kind, Money, Party, PaymentInstruction, References, Statement
from node.adapters.refusals import Bad, FileRefused
from tests.adapters_kit import IBAN, OTHER, UETR, pain, statement

ITEM = Item(
    "k1", "m1", "MSG-1", References("E-1", "I-1", "T-1", UETR), "PA/main", "AB/main", "CZK", 1_050, "00" * 16
)


def csv_plan(tmp_path: Path, columns: str, rows: str) -> Plan:
    (tmp_path / "columns.toml").write_text(columns)
    path = tmp_path / "rows.csv"
    path.write_text(rows, encoding="utf-8")
    return check_file(Source(path, columns=load_mapping(tmp_path / "columns.toml")))


PAYMENTS = """kind = "payments"
delimiter = ";"
decimal = ","
group = "."
date = "%d.%m.%Y"
skip = 1
[columns]
amount = "Betrag"
creditor_account = "An"
end_to_end_id = "Zweck"
requested = "Tag"
[constants]
currency = "EUR"
debtor_account = "PA/main"
"""


def test_payments_of_a_csv_file_are_read_in_its_makers_spelling(tmp_path: Path) -> None:
    rows = "Export vom 31.01.2026\nTag;An;Betrag;Zweck;Notiz\n"
    rows += f"31.01.2026;{OTHER};1.234,50;R-1;x\n\n31.01.2026;AB/main;2;R-2;\n"
    plan = csv_plan(tmp_path, PAYMENTS, rows)
    first, second = [one for one in records_of(plan) if isinstance(one, PaymentInstruction)]
    assert (first.amount, first.creditor.account, first.requested) == (
        Money(123_450, "EUR"),
        OTHER,
        date(2026, 1, 31),
    )
    assert (first.references.end_to_end_id, first.unmapped, first.line) == ("R-1", (("Notiz", "x"),), 3)
    assert (second.amount, second.debtor.account) == (Money(200, "EUR"), "PA/main")


def test_a_bad_row_of_a_csv_file_refuses_the_file_with_its_line(tmp_path: Path) -> None:
    head = "x\nTag;An;Betrag;Zweck;Notiz\n"
    cases = {
        "31.01.2026;DE88370400440532013000;1,00;a;b": "BAD_IBAN",
        f"31.02.2026;{OTHER};1,00;a;b": "BAD_DATE",
        f"31.01.2026;{OTHER};1,005;a;b": "BAD_AMOUNT",
        f"31.01.2026;{OTHER};-1;a;b": "BAD_AMOUNT",
        f"31.01.2026;{OTHER};;a;b": "ELEMENT_MISSING",
        f"31.01.2026;{OTHER};1,00;a": "BAD_VALUE",
        '31.01.2026;"x': "NOT_WELL_FORMED",
    }
    for row, reason in cases.items():
        with pytest.raises(FileRefused) as refused:
            csv_plan(tmp_path, PAYMENTS, head + row + "\n")
        assert (refused.value.problems[0].reason.value, refused.value.problems[0].line) == (reason, 3)
    print(f"{len(cases)} bad rows refused")


def test_a_statement_of_a_csv_file_must_add_up(tmp_path: Path) -> None:
    columns = 'kind = "statement"\n[columns]\nbooked = "day"\ndebit = "out"\ncredit = "in"\n'
    columns += '[constants]\naccount = "X-1"\ncurrency = "CZK"\nopening = "100.00"\nclosing = "{}"\n'
    rows = "day,out,in\n2026-01-02,,10.50\n2026-01-03,2.50,\n"
    plan = csv_plan(tmp_path, columns.format("108.00"), rows)
    assert [one.amount.minor for one in records_of(plan) if isinstance(one, Entry)] == [1_050, -250]
    assert next(one for one in records_of(plan) if isinstance(one, Statement)).closing is not None
    with pytest.raises(FileRefused, match="BALANCE_DIFFERS"):
        csv_plan(tmp_path, columns.format("108.01"), rows)


def test_accounts_are_found_by_number_by_bank_or_by_being_the_ledgers_own(tmp_path: Path) -> None:
    path = tmp_path / "accounts.toml"
    path.write_text(
        f'[accounts]\n"{IBAN}" = "PA/main"\n[banks]\nABABCZPP = "CS/nostro"\n[assets]\nCZK = "CZK2"\n'
    )
    found = load_accounts(path)
    assert found.account_of(Party(account=IBAN), Kind.CUSTOMER) == "PA/main"
    assert found.account_of(Party(account="AB/x"), Kind.CUSTOMER) == "AB/x"
    assert found.account_of(Party(account=OTHER), Kind.CUSTOMER) == ""
    assert found.account_of(Party(bic="ABABCZPPXXX"), Kind.INSTITUTION) == "CS/nostro"
    assert found.account_of(Party(bic="ABABCZPP"), Kind.CUSTOMER) == ""
    assert (found.asset_of("CZK"), found.asset_of("EUR")) == ("CZK2", "EUR")
    assert (found.name_of("PA/main"), found.name_of("PA/x")) == (IBAN, "PA/x")
    assert load_accounts(None).accounts == {}
    for text in (
        "[other]\n",
        '[accounts]\nX = "no account"\n',
        "[accounts]\nX = 1\n",
        "broken",
        "accounts = 1",
    ):
        path.write_text(text)
        with pytest.raises(FileRefused, match="MAPPING"):
            load_accounts(path)


@pytest.mark.evidence(
    "BNK3", asset="balances", threat="a file is fed twice", mitigation="a journal of references"
)
def test_a_complete_file_is_refused_under_its_bytes_and_under_its_name(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal") as journal:
        journal.begin("m1", "d1")
        journal.end("m1", "d1", complete=False)
        journal.check("m1", "d1")
        journal.check("m1", "d2")
        journal.end("m1", "d1", complete=True)
    with Journal(tmp_path / "journal") as journal:
        for name, digest, reason in (
            ("m1", "d1", "FED_TWICE"),
            ("m2", "d1", "FED_TWICE"),
            ("m1", "d2", "DUPLICATE_MESSAGE"),
        ):
            with pytest.raises(Bad) as refused:
                journal.check(name, digest)
            assert refused.value.reason.value == reason
        journal.check("m2", "d2")


def test_payments_are_remembered_and_found_by_each_of_their_references(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with Journal(path) as journal:
        journal.announce([ITEM])
        assert journal.find("MSG-1", ITEM.references) is None
        journal.decide("k1", APPLIED, "", "aa")
    with Journal(path) as journal:
        found = replace(ITEM, outcome=APPLIED, tx_id="aa")
        assert journal.item("k1") == found
        for message, references in (
            ("", References(uetr=UETR)),
            ("MSG-1", References("E-1")),
            ("MSG-1", References(transaction_id="T-1")),
            ("MSG-1", References(instruction_id="I-1")),
        ):
            assert journal.find(message, references) == found
        for message, references in (
            ("", References(uetr=UETR[:-1] + "b")),
            ("MSG-2", References("E-1")),
            ("MSG-1", References("E-1", transaction_id="T-2")),
            ("MSG-1", References()),
        ):
            assert journal.find(message, references) is None


def test_a_torn_last_line_does_not_count_and_is_written_over(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with Journal(path) as journal:
        journal.announce([ITEM])
        whole = path.read_bytes()
        journal.decide("k1", APPLIED, "", "aa")
    full = path.read_bytes()
    tried = 0
    for size in range(len(whole), len(full)):
        tried += 1
        path.write_bytes(full[:size])
        with Journal(path) as journal:
            assert journal.item("k1") == ITEM
            journal.decide("k1", APPLIED, "", "aa")
        assert path.read_bytes() == full
    print(f"{tried} torn journals completed")
    path.write_bytes(b"{broken}\n")
    with pytest.raises(OSError, match="none of a journal"), Journal(path):
        pass


def test_two_importers_never_write_one_journal(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal") as journal:
        with pytest.raises(JournalBusy), Journal(tmp_path / "journal"):
            pass
        journal.begin("m1", "d1")


def test_the_next_statement_of_an_account_must_follow_the_last_in_its_format(tmp_path: Path) -> None:
    first = statement([1_050])
    opening = first.closing
    assert opening is not None
    following = replace(
        first,
        statement_id="VS2",
        sequence="2",
        balances=(replace(opening, code="OPBD", day=date(2026, 2, 1)),),
    )
    with Journal(tmp_path / "journal") as journal:
        journal.take_statement("camt.053", first)
        journal.check_statement("camt.053", following)
        journal.check_statement("mt940", replace(following, balances=first.balances))
    with Journal(tmp_path / "journal") as journal:
        gap = replace(
            following, balances=(replace(opening, code="OPBD", amount=Money(1, "CZK"), day=date(2026, 2, 1)),)
        )
        for wrong, reason in ((gap, "STATEMENT_GAP"), (first, "DATES_OUT_OF_ORDER")):
            with pytest.raises(Bad) as refused:
                journal.check_statement("camt.053", wrong)
            assert refused.value.reason.value == reason
        bare = replace(first, balances=(), begins="", ends="", sequence="5")
        journal.take_statement("camt.052", bare)
        with pytest.raises(Bad, match="STATEMENT_GAP"):
            journal.check_statement("camt.052", replace(bare, sequence="7"))
        journal.check_statement("camt.052", replace(bare, sequence="6"))


def test_a_message_is_named_by_its_family_sender_and_id(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text(pain())
    plan = check_file(Source(path))
    assert plan.name == "pain.001|Payer|MSG-1"
    assert plan.currencies == ("CZK",)
    assert plan.counts == {"Message": 1, "PaymentInstruction": 2}
