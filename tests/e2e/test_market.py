"""Interbank asset transfer on the command line of a real node: the register, a guided transfer with both
sides' statements, an offer to one member, a cycle, accrued interest.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_cli import Bank
from tests.e2e.test_encryption_keys import openssl_pair
from tests.processes import running_node


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bank]:
    """A node with CNB (issuer), REG (registrar), PA and KB; PA/main and KB/main with 1,000.00 crowns."""
    with running_node(tmp_path_factory.mktemp("market")) as node:
        found = Bank(node)
        for member, role in (
            ("CNB", "issuer"),
            ("REG", "registrar"),
            ("PA", "issuer"),
            ("KB", "issuer"),
        ):
            admit = ("members", "admit", member, f"Bank {member}", "--role", role)
            found.by("ADMIN", *admit, "--member-key", f"officer={node.new_key(member)}")
        found.by("CNB", "assets", "register", "CZK", "--cap", "1000000000.00")
        for member in ("PA", "KB"):
            found.by(member, "accounts", "open", f"{member}/main")
            found.by("CNB", "assets", "issue", "CZK", f"{member}/main", "1000.00")
        yield found


def made(receipt: dict[str, Any], event: str, field: str) -> str:
    """What an event of a receipt names."""
    return str(next(told[field] for told in receipt["events"] if told["event"] == event))


def holdings(bank: Bank, account: str) -> dict[str, str]:
    return {row["asset"]: row["posted"] for row in bank.node.json("accounts", "show", account)["balances"]}


def test_a_bond_goes_from_the_application_to_both_sides_statements(bank: Bank, tmp_path: Path) -> None:
    terms = tmp_path / "terms.txt"
    terms.write_text("Five per cent, actual over 360.")
    interest = ("--currency", "CZK", "--nominal", "10.00", "--rate", "50000", "--day-count", "ACT/360")
    head = ("register", "apply", "PA-BOND", "--class", "bond", "--cap", "100", "--starts", "2024-01-01")
    bank.by("PA", *head, *interest, "--terms", terms)
    (row,) = bank.node.json("register", "waiting")
    assert (row["asset"], row["applicant"], row["status"]) == ("PA-BOND", "PA", "submitted")
    bank.by("REG", "register", "take-up", "PA-BOND")
    bank.by("REG", "register", "approve", "PA-BOND", "--terms", terms)
    shown = bank.node.json("register", "show", "PA-BOND")
    assert (shown["status"], shown["reviewer"], shown["day_count"]) == ("approved", "REG", "ACT/360")
    bank.by("PA", "assets", "issue", "PA-BOND", "PA/main", "50")

    opened = bank.by("PA", "exchange", "open", "KB", "20", "PA-BOND", "190.00", "CZK", "--account", "PA/main")
    exchange = made(opened, "ExchangeOpened", "exchange")
    (listed,) = bank.by("KB", "exchange", "list")
    assert (listed["exchange"], listed["status"], listed["next"].split()[0]) == (exchange, "offered", "KB")
    accepted = bank.by("KB", "exchange", "accept", exchange, "--account", "KB/main")
    assert made(accepted, "ExchangeMoved", "status") == "settled"
    assert holdings(bank, "KB/main") == {"CZK": "810.00", "PA-BOND": "20"}
    assert holdings(bank, "PA/main") == {"CZK": "1190.00", "PA-BOND": "30"}
    for member in ("PA", "KB"):
        statement = tmp_path / f"{member}.xml"
        of = ("--account", f"{member}/main", "--asset", "CZK", "--from", "2024-01-01")
        bank.node.json("export", "camt.053", statement, *of)
        bank.by(member, "exchange", "confirm", exchange, statement)
    shown = bank.by("PA", "exchange", "show", exchange)
    assert (shown["status"], shown["next"]) == ("confirmed", "")


def test_terms_in_a_vault_are_found_from_the_register_and_kept(bank: Bank, tmp_path: Path) -> None:
    terms = tmp_path / "terms.txt"
    terms.write_text("On demand, at par.")
    privates: dict[str, Path] = {}
    for member in ("PA", "REG"):
        privates[member], public = openssl_pair(tmp_path, member)
        bank.by(member, "members", "encryption-key", "register", public)
    document = bank.by("PA", "vault", "put", terms, "--reader", "REG")["document"]
    unknown = ("--document", "ab" * 32)
    wrong = bank.node.vostro(
        "--member",
        "PA",
        *bank.keys("PA"),
        "register",
        "apply",
        "PA-BILL",
        "--class",
        "bill",
        "--cap",
        "9",
        *unknown,
    )
    assert (wrong.code, "DOCUMENT_UNKNOWN" in wrong.err) == (1, True)
    bank.by("PA", "register", "apply", "PA-BILL", "--class", "bill", "--cap", "9", "--document", document)
    bank.by("REG", "register", "take-up", "PA-BILL")
    shown = bank.node.json("register", "show", "PA-BILL")
    assert shown["terms"] == [f"document {document} in the vault of PA"]
    fetched = tmp_path / "fetched.txt"
    (command,) = shown["fetch"]
    words = command.replace("FILE", str(fetched)).replace("KEY", str(privates["REG"])).split()
    bank.by("REG", *words[1:])
    assert fetched.read_bytes() == terms.read_bytes()
    bank.by("REG", "register", "approve", "PA-BILL", "--document", document)
    kept = bank.node.vostro("--member", "PA", *bank.keys("PA"), "vault", "delete", document)
    assert (kept.code, "TERMS_IN_FORCE" in kept.err) == (1, True)


def test_an_offer_to_one_becomes_a_deal_in_a_cycle_and_a_bond_accrues(bank: Bank) -> None:
    terms = ("PA-BOND", "5", "2", "48.00", "CZK", "--account", "PA/main", "--to", "KB")
    offer = made(bank.by("PA", "offers", "make", "sell", *terms), "Offered", "offer")
    (seen,) = bank.by("KB", "offers", "list", "PA-BOND")
    assert (seen["offer"], seen["audience"]) == (offer, "KB")
    assert bank.by("REG", "offers", "list", "PA-BOND") == []
    deal = made(bank.by("KB", "offers", "take", "PA", offer, "2", "--account", "KB/main"), "Agreed", "deal")
    cycle = made(bank.by("KB", "cycles", "open", "CZK", "--model", "2"), "CycleOpened", "cycle")
    for member in ("PA", "KB"):
        bank.by(member, "cycles", "enter", cycle, deal)
    shown = bank.by("PA", "cycles", "show", cycle)
    assert (shown["deals"], shown["own"], shown["status"]) == (1, [deal], "open")
    early = bank.node.vostro("--member", "KB", *bank.keys("KB"), "cycles", "settle", cycle)
    assert (early.code, "CYCLE_OPEN" in early.err) == (1, True)
    accrued = bank.node.json("servicing", "accrued", "KB/main", "PA-BOND")
    assert (accrued["currency"], accrued["days"] > 365) == ("CZK", True)


def test_two_banks_set_off_a_loan_and_a_deposit(bank: Bank) -> None:
    for debtor, creditor, asset, kind in (
        ("PA", "KB", "PA-LOAN", "loan"),
        ("KB", "PA", "KB-DEPOSIT", "deposit"),
    ):
        bank.by(debtor, "register", "apply", asset, "--class", kind, "--cap", "100")
        bank.by("REG", "register", "take-up", asset)
        bank.by("REG", "register", "approve", asset)
        bank.by(debtor, "assets", "issue", asset, f"{creditor}/main", "100")
    asked = bank.by(
        "PA", "offsets", "propose", "KB", "KB-DEPOSIT", "70", "PA-LOAN", "60", "--account", "PA/main"
    )
    offset = made(asked, "OffsetProposed", "offset")
    (row,) = bank.by("PA", "offsets", "list")
    assert (row["offset"], row["units"], row["status"]) == (offset, "70", "proposed")
    bank.by("KB", "offsets", "agree", "PA", offset, "--account", "KB/main")
    assert bank.by("KB", "offsets", "show", "PA", offset)["status"] == "settled"
    assert (holdings(bank, "PA/main")["KB-DEPOSIT"], holdings(bank, "KB/main")["PA-LOAN"]) == ("30", "40")
    assert bank.node.json("assets", "show", "PA-LOAN")["redeemed"] == "60"
