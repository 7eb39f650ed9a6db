"""Bank files against a real node: payments in, statements out, fed twice, repaired, returned, recalled and
watched.
"""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from node.adapters import iso_write
from node.adapters.reading import Source, check_file, records_of, statement_entries
from node.adapters.records import Message, Original, Recall, RecallAnswer, Return, Status
from tests import mock_bank as bank
from tests.adapters_kit import CREATED, IBAN, OTHER, UETR, check_schema, instruction, pain, records, written
from tests.processes import Answer, RunningNode, clean_environment, running_node

LARGE = 4_000
ENVELOPE = iso_write.Envelope("IN-1", CREATED, "CDCDDEFF", "ABABCZPP", "Payer")


class Desk:
    """A bank's clerk: member PA with PA/main behind IBAN, AB/main behind OTHER."""

    def __init__(self, node: RunningNode) -> None:
        self.node = node
        self.folder = node.folder
        self.accounts = node.folder / "accounts.toml"
        self.accounts.write_text(f'[accounts]\n"{IBAN}" = "PA/main"\n"{OTHER}" = "AB/main"\n')

    def by(self, member: str, *arguments: str | Path) -> Any:
        key = ("--key", self.folder / f"{member}.json")
        return self.node.json("--member", member, *key, *arguments)

    def run(self, *arguments: str | Path, member: str = "PA") -> Answer:
        key = ("--key", self.folder / f"{member}.json")
        return self.node.vostro("-o", "json", "--member", member, *key, *arguments)

    def feed(self, path: Path, journal: Path, *more: str | Path, member: str = "PA") -> Answer:
        options = ("--accounts", self.accounts, "--journal", journal)
        return self.run("import", path, *options, *more, member=member)

    def balance(self, account: str) -> str:
        rows = self.node.json("accounts", "show", account)["balances"]
        return str(rows[0]["posted"]) if rows else "0.00"

    def fund(self, amount: str) -> None:
        self.by("CNB", "assets", "issue", "CZK", "PA/main", amount)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with running_node(tmp_path_factory.mktemp("files")) as node:
        found = Desk(node)
        administrators = [str(node.folder / f"administrator-{number}.json") for number in (1, 2)]
        for member, role in (("CNB", "issuer"), ("PA", "participant"), ("AB", "participant")):
            key = node.new_key(member)
            keys = ("--key", administrators[0], "--key", administrators[1])
            admit = ("members", "admit", member, member, "--role", role, "--member-key", f"payments={key}")
            node.json("--member", "ADMIN", *keys, *admit)
        found.by("CNB", "assets", "register", "CZK", "--cap", "1000000000.00")
        found.by("PA", "accounts", "open", "PA/main")
        found.by("AB", "accounts", "open", "AB/main")
        yield found


@pytest.mark.evidence(
    "BNK3", asset="balances", threat="a file is fed twice", mitigation="a journal of references"
)
def test_payments_are_settled_once_however_often_the_file_is_fed(desk: Desk, tmp_path: Path) -> None:
    desk.fund("21.00")
    path, journal, status = tmp_path / "pay.xml", tmp_path / "journal", tmp_path / "status.xml"
    path.write_text(pain(3))
    planned = desk.run("import", path, "--plan")
    assert planned.json["records"] == {"Message": 1, "PaymentInstruction": 3}
    first = desk.feed(path, journal, "--answer", status)
    assert (first.code, first.json["settled"], first.json["refused"]) == (1, 2, 1)
    assert first.json["not_settled"][0]["code"] == "assets/14 INSUFFICIENT_BALANCE"
    check_status(status, ["PART", "ACSC", "ACSC", "RJCT"], "AM04")
    desk.fund("10.50")
    second = desk.feed(path, journal)
    assert (second.code, second.json["settled"], second.json["settled_before"]) == (0, 3, 2)
    third = desk.feed(path, journal)
    assert (third.code, third.error["problems"][0]["reason"]) == (5, "FED_TWICE")
    path.write_text(pain(3) + "\n")
    again = desk.feed(path, journal)
    assert (again.code, again.error["problems"][0]["reason"]) == (5, "DUPLICATE_MESSAGE")
    assert (desk.balance("PA/main"), desk.balance("AB/main")) == ("0.00", "31.50")


def check_status(path: Path, words: list[str], reason: str) -> None:
    found = [one for one in records(path) if isinstance(one, Status)]
    assert [one.status for one in found] == words
    assert reason in {one.reason for one in found}
    assert found[1].original.references.end_to_end_id == "E-1"
    assert found[0].original == Original("MSG-1", "pain.001.001.09")


@pytest.mark.evidence(
    "BNK1",
    asset="balances",
    threat="a bad file is carried out by half",
    mitigation="all of it is checked first",
)
def test_a_bad_file_moves_nothing_and_a_repaired_one_completes_the_rest(desk: Desk, tmp_path: Path) -> None:
    desk.fund("21.00")
    before = desk.balance("PA/main")
    path, journal = tmp_path / "pay.xml", tmp_path / "journal"
    right = pain(2).replace("MSG-1", "MSG-R")
    path.write_text(right.replace(OTHER, "DE88" + OTHER[4:], 1))
    refused = desk.feed(path, journal)
    assert (refused.code, refused.error["problems"][0]["reason"], refused.error["problems"][0]["line"]) == (
        5,
        "BAD_IBAN",
        22,
    )
    assert desk.balance("PA/main") == before
    unknown = "GB29NWBK60161331926819"
    path.write_text(right.replace(OTHER, unknown, 1))
    report = tmp_path / "report.csv"
    partly = desk.feed(path, journal, "--report", report)
    assert (partly.code, partly.json["settled"], partly.json["not_settled"][0]["code"]) == (
        1,
        1,
        "CREDITOR_NOT_MAPPED",
    )
    assert "CREDITOR_NOT_MAPPED" in report.read_text()
    path.write_text(right)
    done = desk.feed(path, journal)
    assert (done.code, done.json["settled"], done.json["settled_before"]) == (0, 2, 1)
    assert desk.balance("PA/main") == "0.00"


@pytest.mark.evidence(
    "BNK3", asset="balances", threat="a file is fed twice", mitigation="a journal of references"
)
def test_a_payment_that_was_settled_is_not_paid_again_with_another_amount(desk: Desk, tmp_path: Path) -> None:
    desk.fund("100.00")
    path, journal = tmp_path / "pay.xml", tmp_path / "journal"
    right = pain(2).replace("MSG-1", "MSG-A")
    path.write_text(right.replace(OTHER, "GB29NWBK60161331926819", 1))
    assert desk.feed(path, journal).json["settled"] == 1
    changed = right.replace(">10.50<", ">11.50<").replace("<CtrlSum>21.00", "<CtrlSum>23.00")
    path.write_text(changed)
    found = desk.feed(path, journal)
    assert [row["code"] for row in found.json["not_settled"]] == ["PAID_BEFORE"]
    day = right.replace("<Dt>2026-01-31", "<Dt>2999-01-31").replace("MSG-A", "MSG-D")
    path.write_text(day)
    later = desk.feed(path, journal)
    assert {row["code"] for row in later.json["not_settled"]} == {"NOT_YET_DUE"}


def test_what_we_export_is_imported_without_a_break(desk: Desk, tmp_path: Path) -> None:
    desk.fund("5.00")
    rows = desk.node.json("accounts", "statement", "PA/main", "--limit", "0")
    checked = 0
    for form in ("camt.053", "camt.052", "camt.054", "mt940", "mt942", "mt950"):
        path = tmp_path / f"out.{form}"
        options = (
            "--account",
            "PA/main",
            "--asset",
            "CZK",
            "--from",
            "2020-01-01",
            "--accounts",
            desk.accounts,
        )
        told = desk.run("export", form, path, *options)
        assert told.code == 0, told.err
        if form.startswith("camt"):
            check_schema(path.read_bytes(), f"{form}.001.08")
        plan = check_file(Source(path, form if form == "mt950" else ""))
        assert (plan.statements[0].account, plan.statements[0].currency) == (IBAN, "CZK")
        found = [entry for _, entry in statement_entries(plan)]
        ours = [
            (
                f"{'-' if e.amount.minor < 0 else ''}{abs(e.amount.minor) / 100:.2f}",
                e.detail.references.end_to_end_id,
            )
            for e in found
        ]
        assert ours == [(row["amount"], row["reference"]) for row in rows]
        assert all(row["tx_id"].startswith(e.reference[:16]) for row, e in zip(rows, found, strict=True))
        closing = plan.statements[0].closing
        if closing is not None:
            assert f"{closing.amount.minor / 100:.2f}" == desk.balance("PA/main")
        checked += len(found)
        taken = desk.feed(path, tmp_path / f"journal-{form}")
        assert taken.code == 0, taken.err
    print(f"{checked} entries exported in 6 formats and read back without a break")
    assert checked >= 6


def test_periods_join_without_a_gap(desk: Desk, tmp_path: Path) -> None:
    desk.fund("1.00")
    rows = desk.node.json("accounts", "statement", "PA/main", "--limit", "0")
    middle = rows[len(rows) // 2]["time"]
    times = [("2020-01-01", middle), (middle.replace("Z", "+00:00"), "")]
    closings = []
    for number, (begins, ends) in enumerate(times):
        path = tmp_path / f"{number}.xml"
        limits = ("--from", begins, *(("--to", ends) if ends else ()))
        assert (
            desk.run("export", "camt053", path, "--account", "PA/main", "--asset", "CZK", *limits).code == 0
        )
        statement = check_file(Source(path)).statements[0]
        assert statement.opening is not None
        assert statement.closing is not None
        closings.append(
            (statement.opening.amount.minor, statement.closing.amount.minor, statement.entry_count)
        )
    at_middle = [row for row in rows if row["time"] == middle]
    shared = sum(round(float(row["amount"]) * 100) for row in at_middle)
    assert closings[0][1] - shared == closings[1][0]
    assert closings[0][2] + closings[1][2] == len(rows) + len(at_middle)


def test_a_return_and_a_recall_find_the_payment_that_they_speak_of(desk: Desk, tmp_path: Path) -> None:
    desk.fund("10.50")
    journal = tmp_path / "journal"
    one = replace(instruction(), requested=date(2026, 1, 31))
    paid = tmp_path / "paid.xml"
    paid.write_bytes(written(iso_write.write_pacs008, replace(ENVELOPE, message_id="MSG-8"), [one]))
    assert desk.feed(paid, journal).code == 0
    original = Original("MSG-8", "pacs.008.001.08", one.references)
    recall = Recall("", "C-1", original, amount=one.amount, reason="DUPL", case_id="CASE-1")
    asked, answer = tmp_path / "recall.xml", tmp_path / "answer.xml"
    asked.write_bytes(written(iso_write.write_camt056, replace(ENVELOPE, message_id="MSG-56"), [recall]))
    found = desk.feed(asked, journal, "--recall", "reject:CUST", "--answer", answer)
    assert (found.code, found.json["answers"][0]["destination"]) == (0, "AB/main")
    told = next(record for record in records(answer) if isinstance(record, RecallAnswer))
    assert (told.status, told.reason, told.original, told.case_id) == ("RJCR", "CUST", original, "CASE-1")
    message = next(record for record in records(answer) if isinstance(record, Message))
    assert (message.sender, message.receiver) == ("ABABCZPP", "CDCDDEFF")
    before = desk.balance("PA/main")
    back = tmp_path / "return.xml"
    money = Return("", "R-1", original, one.amount, one.amount, date(2026, 1, 31), "AC04")
    back.write_bytes(written(iso_write.write_pacs004, replace(ENVELOPE, message_id="MSG-4"), [money]))
    done = desk.feed(back, journal, member="AB")
    assert (done.code, done.json["settled"]) == (0, 1), done.err
    assert float(desk.balance("PA/main")) == float(before) + 10.5
    strange = replace(money, return_id="R-2", original=replace(original, message_id="MSG-9"))
    back.write_bytes(written(iso_write.write_pacs004, replace(ENVELOPE, message_id="MSG-5"), [strange]))
    assert desk.feed(back, journal, member="AB").json["not_settled"][0]["code"] == "ORIGINAL_UNKNOWN"


def test_a_watched_folder_takes_each_file_to_where_it_belongs(desk: Desk, tmp_path: Path) -> None:
    desk.fund("10.50")
    inbox = tmp_path / "in"
    inbox.mkdir()
    (inbox / "1-bad.xml").write_text(pain(1).replace("MSG-1", "W-1").replace("<NbOfTxs>1", "<NbOfTxs>2"))
    (inbox / "2-good.xml").write_text(pain(1).replace("MSG-1", "W-2"))
    (inbox / "3-unfunded.xml").write_text(pain(1).replace("MSG-1", "W-3").replace("10.50", "99999999.00"))
    (inbox / "4-later.xml.part").write_text("half a fi")
    options = ("--accounts", desk.accounts, "--journal", tmp_path / "journal")
    assert desk.run("import", "--watch", tmp_path, "--once", *options).code == 0
    assert sorted(path.name for path in (tmp_path / "done").iterdir()) == [
        "2-good.xml", "2-good.xml.pacs.002.xml", "2-good.xml.report.json"
    ]  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "refused").iterdir()) == [
        "1-bad.xml", "1-bad.xml.reason.txt", "3-unfunded.xml", "3-unfunded.xml.pacs.002.xml",
        "3-unfunded.xml.reason.csv",
        "3-unfunded.xml.reason.txt", "3-unfunded.xml.report.json",
    ]  # fmt: skip
    assert "COUNT_DIFFERS" in (tmp_path / "refused" / "1-bad.xml.reason.txt").read_text()
    assert [path.name for path in inbox.iterdir()] == ["4-later.xml.part"]
    assert list((tmp_path / "processing").iterdir()) == []
    (tmp_path / "processing" / "0-left.xml").write_text(pain(1).replace("MSG-1", "W-2"))
    assert desk.run("import", "--watch", tmp_path, "--once", *options).code == 0
    assert "was imported before" in (tmp_path / "refused" / "0-left.xml.reason.txt").read_text()
    assert len(list(records_of(check_file(Source(tmp_path / "done" / "2-good.xml"))))) == 2


def test_a_bank_on_the_other_side_is_answered_in_its_own_messages(desk: Desk, tmp_path: Path) -> None:
    desk.fund("100.00")
    start = float(desk.balance("PA/main"))
    inbox = tmp_path / "in"
    inbox.mkdir()
    (inbox / "1-customer.xml").write_text(bank.customers_file("C-1", IBAN, OTHER, ["10.50", "0.25"]))
    (inbox / "2-payment.xml").write_text(bank.interbank("B-1", IBAN, OTHER, "20.00", UETR))
    (inbox / "3-recall.xml").write_text(bank.recall("R-1", "B-1", UETR, "20.00"))
    (inbox / "4-notice.xml").write_text(bank.notification("N-1", IBAN, "1.00"))
    options = ("--accounts", desk.accounts, "--journal", tmp_path / "journal", "--recall", "accept")
    assert desk.run("import", "--watch", tmp_path, "--once", *options).code == 0
    done = tmp_path / "done"
    answers = {path.name for path in done.iterdir() if path.suffix == ".xml"}
    assert answers - {"1-customer.xml", "2-payment.xml", "3-recall.xml", "4-notice.xml"} == {
        "1-customer.xml.pacs.002.xml", "2-payment.xml.pacs.002.xml", "3-recall.xml.camt.029.xml",
    }  # fmt: skip
    status = "pacs.002.001.10"
    assert bank.texts(done / "1-customer.xml.pacs.002.xml", status, "TxSts") == ["ACSC", "ACSC"]
    assert bank.texts(done / "2-payment.xml.pacs.002.xml", status, "OrgnlUETR") == [UETR]
    told = done / "3-recall.xml.camt.029.xml"
    assert bank.texts(told, "camt.029.001.09", "OrgnlUETR") == [UETR]
    assert "ACCR" in told.read_text()
    (inbox / "5-return.xml").write_text(bank.returned("T-1", "B-1", UETR, "20.00"))
    assert desk.run("import", "--watch", tmp_path, "--once", *options, member="AB").code == 0
    assert bank.texts(done / "5-return.xml.pacs.002.xml", status, "TxSts") == ["ACSC"]
    assert float(desk.balance("PA/main")) == pytest.approx(start - 10.75)
    customer, forward = tmp_path / "more.xml", tmp_path / "forward.xml"
    customer.write_text(bank.customers_file("C-2", IBAN, OTHER, ["1.00", "2.00"]))
    assert desk.feed(customer, tmp_path / "journal", "--forward", forward).json["settled"] == 2
    assert bank.texts(forward, "pacs.008.001.08", "IntrBkSttlmAmt") == ["1.00", "2.00"]
    assert bank.texts(forward, "pacs.008.001.08", "Ustrd") == ["Invoice 1", "Invoice 2"]
    assert bank.texts(forward, "pacs.008.001.08", "EndToEndId") == ["C-2-1", "C-2-2"]
    notice = tmp_path / "notice.xml"
    of = ("--account", "PA/main", "--asset", "CZK", "--from", "2020-01-01", "--accounts", desk.accounts)
    assert desk.run("export", "camt.054", notice, *of).code == 0
    names = bank.texts(notice, "camt.054.001.08", "EndToEndId")[-6:]
    assert names == ["C-1-1", "C-1-2", "B-1-E", "B-1-E", "C-2-1", "C-2-2"]


def test_an_import_that_was_killed_is_completed_by_the_next_and_pays_nothing_twice(
    desk: Desk, tmp_path: Path
) -> None:
    before = float(desk.balance("AB/main"))
    desk.fund(f"{LARGE * 10.5:.2f}")
    path, journal = tmp_path / "pay.xml", tmp_path / "journal"
    path.write_text(pain(LARGE).replace("MSG-1", "MSG-K"))
    words = ["--config", desk.node.config, "--member", "PA"]
    words += ["--key", desk.folder / "PA.json", "import", path, "--accounts", desk.accounts]
    kills, left = 0, LARGE
    for _ in range(2):
        command = [sys.executable, "-m", "node.cli", *map(str, words), "--journal", str(journal)]
        named = clean_environment(desk.node.passphrase)
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=named
        ) as running:
            deadline = time.monotonic() + 90
            while decided(journal) <= LARGE - left and running.poll() is None:
                assert time.monotonic() < deadline
                time.sleep(0.005)
            running.kill()
            kills += running.wait() == -signal.SIGKILL
        left = LARGE - decided(journal)
        assert 0 < left < LARGE, "killed while there was something left, and something done"
    done = desk.feed(path, journal)
    assert (done.code, done.json["settled"], done.json["refused"]) == (0, LARGE, 0)
    assert float(desk.balance("AB/main")) == before + LARGE * 10.5
    print(f"{kills} kills in an import of {LARGE:,} payments; the next run settled the rest, each once")
    assert kills == 2


def decided(journal: Path) -> int:
    """Payments whose receipt stands in a journal."""
    return journal.read_bytes().count(b'"outcome"') if journal.exists() else 0
