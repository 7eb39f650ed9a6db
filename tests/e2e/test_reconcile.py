"""Reconciliation against a real node: what we export has no break, ten planted differences are each found and
named, and brought to the ledger as cases once; two banks attest an account.
"""

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node.adapters import iso_write
from node.adapters.iso_write_statements import write_camt
from node.adapters.reading import Source, check_file, statement_entries
from node.reconciliation.planting import Spoilt, plant
from tests.adapters_kit import CREATED, IBAN, OTHER, instruction, written
from tests.processes import Answer, running_node

PAYMENTS = 24


class Books:
    """Member PA with PA/main, serviced by KB."""

    def __init__(self, node: Any) -> None:
        self.node = node
        self.folder = node.folder
        self.good = node.folder / "good.xml"

    def run(self, member: str, *arguments: str | Path) -> Answer:
        key = ("--key", self.folder / f"{member}.json")
        answer: Answer = self.node.vostro("-o", "json", "--member", member, *key, *arguments)
        return answer

    def by(self, member: str, *arguments: str | Path) -> Any:
        answer = self.run(member, *arguments)
        assert answer.code == 0, answer.err
        return answer.json

    def export(self, path: Path) -> None:
        options = ("--account", "PA/main", "--asset", "CZK", "--from", "2020-01-01")
        assert self.by("PA", "export", "camt.053", path, *options)["account"] == "PA/main"

    def statement(self, path: Path, *more: str | Path) -> Answer:
        return self.run("PA", "reconcile", "statement", path, *more)


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Books]:
    with running_node(tmp_path_factory.mktemp("reconcile")) as node:
        found = Books(node)
        administrators = [str(node.folder / f"administrator-{number}.json") for number in (1, 2)]
        for member, role in (("CNB", "issuer"), ("PA", "participant"), ("KB", "participant")):
            key = node.new_key(member)
            keys = ("--key", administrators[0], "--key", administrators[1])
            admit = ("members", "admit", member, member, "--role", role, "--member-key", f"payments={key}")
            node.json("--member", "ADMIN", *keys, *admit)
        found.by("CNB", "assets", "register", "CZK", "--cap", "1000000000.00")
        found.by("PA", "accounts", "open", "PA/main")
        found.by("KB", "accounts", "open", "KB/main")
        found.by("CNB", "assets", "issue", "CZK", "PA/main", "10000.00")
        accounts = node.folder / "accounts.toml"
        accounts.write_text(f'[accounts]\n"{IBAN}" = "PA/main"\n"{OTHER}" = "KB/main"\n')
        payments = [instruction(number, 1_000 + 17 * number) for number in range(1, PAYMENTS + 1)]
        envelope = iso_write.Envelope("IN-1", CREATED, "CDCDDEFF", "ABABCZPP", "Payer")
        path = node.folder / "payments.xml"
        path.write_bytes(written(iso_write.write_pacs008, envelope, payments))
        told = found.by(
            "PA", "import", path, "--accounts", accounts, "--journal", node.folder / "imports.journal"
        )
        assert told["settled"] == PAYMENTS
        found.export(found.good)
        yield found


def spoilt(good: Path, path: Path) -> Spoilt:
    """The statement with ten differences planted, written to a file."""
    plan = check_file(Source(good))
    planted = plant(plan.statements[0], [entry for _, entry in statement_entries(plan)])
    path.write_bytes(written(write_camt, planted.statement, planted.entries))
    return planted


def test_what_we_export_has_no_break_and_ten_planted_differences_become_cases_once(
    books: Books, tmp_path: Path
) -> None:
    good = books.good
    (clean,) = books.by("PA", "reconcile", "statement", good)
    assert (clean["entries"], clean["movements"], clean["breaks"], clean["list"]) == (
        PAYMENTS + 1,
        PAYMENTS + 1,
        {},
        [],
    )
    assert (clean["difference"], clean["unexplained"]) == ("0.00", "0.00")
    bad, table = tmp_path / "bad.xml", tmp_path / "breaks.csv"
    planted = spoilt(good, bad)
    options = ("--open", "--counterparty", "KB", "--patience", "2")
    first = books.statement(bad, "--csv", table, *options)
    assert (first.code, first.error["message"]) == (1, "10 breaks")
    (told,) = first.json
    found = Counter((row["kind"], frozenset(row["reference"].split(", "))) for row in told["list"])
    expected = Counter((each.kind.value, frozenset(each.references or ("",))) for each in planted.planted)
    assert found == expected
    assert told["unexplained"] == "0.00"
    rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
    assert [row["kind"] for row in rows] == [row["kind"] for row in told["list"]]
    assert all(row["sentence"] for row in rows)
    print(f"{len(rows)} planted differences found and named: {', '.join(row['kind'] for row in rows)}")
    cases = books.by("PA", "reconcile", "cases")
    assert Counter(row["kind"] for row in cases) == Counter(row["kind"] for row in rows)
    assert {(row["status"], row["counterparty"], row["days"]) for row in cases} == {("open", "KB", 0)}
    again = books.statement(bad, *options)
    assert again.code == 1
    assert books.by("PA", "reconcile", "cases") == cases
    assert books.by("KB", "reconcile", "cases", "--against") == cases


def test_a_statement_that_explains_a_case_matches_it_and_a_clerk_ends_the_others(
    books: Books, tmp_path: Path
) -> None:
    good = books.good
    spoilt(good, tmp_path / "bad.xml")
    books.statement(tmp_path / "bad.xml", "--open", "--counterparty", "KB")
    before = books.by("PA", "reconcile", "cases")
    books.by("PA", "reconcile", "statement", good, "--open")
    after = books.by("PA", "reconcile", "cases")
    gone = [row["kind"] for row in before if row["subject"] not in {each["subject"] for each in after}]
    assert gone == ["missing-in-statement"]
    lost = next(row["subject"] for row in before if row["kind"] == "missing-in-statement")
    assert books.by("PA", "reconcile", "show", lost)["status"] == "matched"
    letter = tmp_path / "letter.pdf"
    letter.write_bytes(b"we will correct this on Monday")
    first, second = after[0]["subject"], after[1]["subject"]
    books.by("PA", "reconcile", "assign", first, "desk-7")
    books.by("KB", "reconcile", "note", first, "--of", "PA", "--document", str(letter))
    books.by("KB", "reconcile", "dispute", first, "--of", "PA", "--document", str(letter))
    shown = books.by("KB", "reconcile", "show", first, "--of", "PA")
    assert (shown["status"], shown["desk"], len(shown["notes"])) == ("disputed", "desk-7", 1)
    books.by("PA", "reconcile", "unmatched", first)
    books.by("PA", "reconcile", "force", first, "--document", str(letter))
    books.by("PA", "reconcile", "match", second, "--document", str(letter))
    ended = books.by("PA", "reconcile", "cases", "--status", "all")
    assert Counter(row["status"] for row in ended) == {"open": 7, "matched": 2, "forced": 1}
    refused = books.run("PA", "reconcile", "force", first, "--document", str(letter))
    assert (refused.code, refused.error["code"]) == (1, "reconciliation/6 NOT_OPEN_TO_THIS")


def in_another_manner(rows: list[dict[str, Any]], change: str = "") -> str:
    """The account's movements as another bank would tell them: MT940 over two pages, its own numbers, our
    references in sub-fields. change: the reference of an entry that it books with 0.01 more.
    """
    day, at, text = rows[0]["time"][2:10].replace("-", ""), 0, ""
    halves = (rows[: len(rows) // 2], rows[len(rows) // 2 :])
    for page, half in enumerate(halves, 1):
        opening, closing = ("60F", "62M") if page == 1 else ("60M", "62F")
        text += f":20:STARTUMSE\n:25:1017.490.554 CZK\n:28C:00042/00{page}\n:{opening}:C{day}CZK{told(at)}\n"
        for number, row in enumerate(half):
            minor = round(float(row["amount"]) * 100) + (row["reference"] == change != "")
            at += minor
            when = row["time"][2:10].replace("-", "") + row["time"][5:10].replace("-", "")
            text += f":61:{when}{'C' if minor >= 0 else 'D'}R{told(minor)}NTRFNONREF//{page}{number:07}\n"
            reference = f"?20EREF+{row['reference']}" if row["reference"] else "?20MONEY ISSUED"
            text += f":86:166?00TRANSFER?109310{reference}?21SVWZ+A PAYMENT?30CDCDDEFF?32SOMEBODY\n"
        text += f":{closing}:C{rows[-1]['time'][2:10].replace('-', '')}CZK{told(at)}\n-\n"
    return text


def told(minor: int) -> str:
    return f"{abs(minor) // 100},{abs(minor) % 100:02}"


def test_a_statement_in_another_banks_manner_is_matched_and_its_difference_found(
    books: Books, tmp_path: Path
) -> None:
    rows = books.node.json("accounts", "statement", "PA/main", "--limit", "0")
    path, accounts = tmp_path / "theirs.sta", tmp_path / "accounts.toml"
    path.write_text(in_another_manner(rows), newline="\r\n")
    strange = books.statement(path)
    assert (strange.code, "1017.490.554 CZK" in strange.error["message"]) == (2, True)
    accounts.write_text('[accounts]\n"1017490554" = "PA/main"\n')
    (clean,) = books.by("PA", "reconcile", "statement", path, "--accounts", accounts)
    assert (clean["account"], clean["entries"], clean["movements"]) == ("PA/main", len(rows), len(rows))
    assert (clean["breaks"], clean["difference"], clean["unexplained"]) == ({}, "0.00", "0.00")
    wrong = next(row["reference"] for row in rows if row["reference"])
    path.write_text(in_another_manner(rows, wrong))
    found = books.statement(path, "--accounts", accounts)
    assert (found.code, [row["kind"] for row in found.json[0]["list"]]) == (1, ["amount"])
    assert found.json[0]["list"][0]["reference"] == wrong
    print(f"{len(rows)} entries over two pages in another bank's manner: all matched, one difference found")


def test_two_banks_attest_a_main_account_and_a_difference_is_a_case_at_once(
    books: Books, tmp_path: Path
) -> None:
    main = ("--account", "PA/main", "--asset", "CZK", "--servicer", "KB")
    rows = books.node.json("accounts", "statement", "PA/main", "--limit", "0")
    period = ("--from", rows[0]["time"], "--to", after(rows[-1]["time"]))
    good = books.good
    books.by("CNB", "assets", "issue", "CZK", "PA/main", "1.00")  # later than the period
    mine = books.by("PA", "reconcile", "attest", *main, *period, "--statement", good)
    assert (mine["status"], mine["owner_count"], mine["servicer_count"]) == ("attested", PAYMENTS + 1, "")
    theirs = books.by("KB", "reconcile", "attest", *main, *period)
    assert (theirs["status"], theirs["case"]) == ("agreed", "")
    assert (theirs["owner_digest"], theirs["owner_closing"]) == (
        theirs["servicer_digest"],
        theirs["servicer_closing"],
    )
    spoilt(good, tmp_path / "bad.xml")
    later = ("--from", after(rows[0]["time"]), "--to", period[3])
    books.by("KB", "reconcile", "attest", *main, *later)
    wrong = books.by("PA", "reconcile", "attest", *main, *later, "--statement", tmp_path / "bad.xml")
    assert wrong["status"] == "differs"
    case = books.by("PA", "reconcile", "show", wrong["case"])
    assert (case["kind"], case["status"], case["counterparty"]) == ("attestation", "open", "KB")
    corrected = books.by("PA", "reconcile", "attest", *main, *later)
    assert corrected["status"] == "agreed"
    assert books.by("PA", "reconcile", "show", wrong["case"])["status"] == "matched"
    listed = books.by("PA", "reconcile", "days", *main)
    assert [row["status"] for row in listed] == ["agreed", "agreed"]


def after(time: str) -> str:
    """A millisecond later."""
    from datetime import datetime, timedelta

    moment = datetime.fromisoformat(time) + timedelta(milliseconds=1)
    return moment.isoformat(timespec="milliseconds")


def test_periods_are_attested_by_themselves_as_they_are_over(books: Books) -> None:
    main = ("--account", "KB/main", "--asset", "CZK", "--servicer", "PA")
    options = ("--every", "1", "--rounds", "2")
    told = [books.run(member, "reconcile", "attest", *main, *options) for member in ("KB", "PA")]
    assert [each.err for each in told] == ["", ""]
    statuses = Counter(row["status"] for row in books.by("PA", "reconcile", "days", *main))
    print(f"periods of a second, attested by themselves: {dict(statuses)}")
    assert statuses["agreed"] >= 1 or statuses["attested"] >= 2
    assert statuses["differs"] == 0


def test_rules_are_shown_checked_and_refused(books: Books, tmp_path: Path) -> None:
    shown = books.node.vostro("reconcile", "rules")
    path = tmp_path / "rules.toml"
    path.write_text(shown.out)
    assert len(books.node.json("reconcile", "rules", path)) == 7
    path.write_text(shown.out.replace("days = 3", "days = 99", 1))
    refused = books.run("PA", "reconcile", "rules", path)
    assert refused.code == 5
    assert "rules.toml" in refused.error["message"]
