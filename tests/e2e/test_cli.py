"""The command against a real node: every noun once, its JSON, and the exit codes that programs rely on."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node.keys.certificates import Role
from node.keys.files import write_file
from tests.certificates_kit import Pki
from tests.processes import RunningNode, running_node, vostro

TOKEN = "9f" * 32


class Bank:
    """A node and the members that the tests act as."""

    def __init__(self, node: RunningNode) -> None:
        self.node = node
        paths = [node.folder / f"administrator-{number}.json" for number in (1, 2)]
        self.administrators = ("--key", paths[0], "--key", paths[1])

    def by(self, member: str, *arguments: str | Path) -> Any:
        """A command of a member that must succeed; its JSON."""
        return self.node.json("--member", member, *self.keys(member), *arguments)

    def keys(self, member: str) -> tuple[str | Path, ...]:
        if member == "ADMIN":
            return self.administrators
        return ("--key", self.node.folder / f"{member}.json")


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bank]:
    """A node with CNB, PA and AB; CZK; PA/main with 1,000.00 crowns, AB/main with nothing."""
    with running_node(tmp_path_factory.mktemp("cli")) as node:
        found = Bank(node)
        for member, role in (("CNB", "issuer"), ("PA", "participant"), ("AB", "participant")):
            key = node.new_key(member)
            admit = (
                "members",
                "admit",
                member,
                f"Bank {member}",
                "--role",
                role,
                "--member-key",
                f"payments={key}",
            )
            assert found.by("ADMIN", *admit)["outcome"] == "applied"
        found.by("CNB", "assets", "register", "CZK", "--cap", "1000000000.00")
        found.by("PA", "accounts", "open", "PA/main", "PA/other")
        found.by("AB", "accounts", "open", "AB/main")
        found.by("CNB", "assets", "issue", "CZK", "PA/main", "1000.00", "--reference", "opening")
        yield found


def balance(bank: Bank, account: str) -> dict[str, str]:
    rows: list[dict[str, str]] = bank.node.json("accounts", "show", account)["balances"]
    return rows[0] if rows else {"posted": "0.00", "held": "0.00", "available": "0.00"}


def test_a_transfer_is_settled_shown_exported_and_verified(bank: Bank, tmp_path: Path) -> None:
    before = balance(bank, "AB/main")
    send = (
        "transfer",
        "send",
        "PA/main",
        "AB/main",
        "12.50",
        "CZK",
        "--id",
        "e2e-1",
        "--purpose",
        "SIPO",
        "--uetr",
    )
    receipt = bank.by("PA", *send)
    assert (receipt["outcome"], receipt["events"][0]["end_to_end_id"]) == ("applied", "e2e-1")
    assert float(balance(bank, "AB/main")["posted"]) - float(before["posted"]) == 12.5
    shown = bank.node.json("receipt", "show", receipt["tx_id"], "--wait")
    assert shown["height"] == receipt["height"]
    block = bank.node.json("blocks", "show", str(receipt["height"]))
    assert receipt["tx_id"] in [row["tx_id"] for row in block["receipts"]]
    proof, trust = tmp_path / "proof.json", bank.node.config.parent / "genesis.json"
    bank.node.json("receipt", "export", receipt["tx_id"], proof)
    verified = vostro("-o", "json", "receipt", "verify", proof, "--trust", trust)
    assert verified.code == 0, verified.err
    assert verified.json["tx_id"] == receipt["tx_id"]
    proof.write_text(
        proof.read_text().replace(receipt["tx_id"][:8], "0" * 8).replace('"height": ', '"height": 1')
    )
    damaged = vostro("-o", "json", "receipt", "verify", proof, "--trust", trust)
    assert damaged.code == 4
    assert damaged.error["problem"]


def test_a_statement_tells_every_movement(bank: Bank) -> None:
    bank.by("PA", "transfer", "send", "PA/main", "PA/other", "1.00", "CZK", "--id", "s-1")
    bank.by("PA", "transfer", "send", "PA/other", "AB/main", "0.25", "CZK", "--id", "s-2")
    height = bank.node.json("status")["height"]
    while bank.node.json("status")["index_height"] < height:
        pass
    rows = bank.node.json("accounts", "statement", "PA/other", "--newest")
    assert [(row["amount"], row["counterparty"], row["reference"]) for row in rows] == [
        ("-0.25", "AB/main", "s-2"),
        ("1.00", "PA/main", "s-1"),
    ]


def test_balances_of_many_accounts_are_of_one_block_and_an_unknown_one_says_why(bank: Bank) -> None:
    main, none, other = bank.node.json("accounts", "balances", "CZK", "PA/main", "PA/none", "AB/main")
    assert none == {"account": "PA/none", "refusal": "assets/9 ACCOUNT_UNKNOWN"}
    assert (main["account"], other["account"], main["height"]) == ("PA/main", "AB/main", other["height"])
    shown = balance(bank, "PA/main")
    assert {name: main[name] for name in ("posted", "held", "available")} == {
        name: shown[name] for name in ("posted", "held", "available")
    }


def test_a_hold_is_reserved_posted_in_part_and_another_voided(bank: Bank) -> None:
    before = balance(bank, "PA/main")
    hold = bank.by("PA", "holds", "reserve", "PA/main", "AB/main", "10.00", "CZK")["events"][0]["hold"]
    other = bank.by("PA", "holds", "reserve", "PA/main", "AB/main", "5.00", "CZK")["events"][0]["hold"]
    assert float(balance(bank, "PA/main")["held"]) == 15
    bank.by("PA", "holds", "post", "PA/main", hold, "--amount", "4.00")
    bank.by("AB", "holds", "void", "PA/main", other)
    states = {
        row["hold"]: (row["status"], row["posted"]) for row in bank.node.json("holds", "list", "PA/main")
    }
    assert states[hold] == ("posted", "4.00")
    assert states[other] == ("voided", "0.00")
    assert float(before["posted"]) - float(balance(bank, "PA/main")["posted"]) == 4


def test_members_keys_and_policies_are_managed(bank: Bank) -> None:
    node = bank.node
    second = node.new_key("AB-second")
    registered = bank.by("AB", "members", "key", "register", second, "--holder", "clearing", "--scope", "*")
    assert registered["events"][0]["holder"] == "clearing"
    bank.by("AB", "members", "policy", "set", "--rule", "transfers.send,CZK,500.00,2")
    shown = node.json("members", "show", "AB")
    assert shown["active_keys"] == 2
    assert shown["policy"][0]["from_amount"] == 50_000
    key_id = node.json("keys", "show", second)["key_id"]
    alone = node.vostro("--member", "AB", *bank.keys("AB"), "-o", "json", "members", "policy", "set")
    assert (alone.code, alone.error["code"]) == (1, "ledger/14 POLICY_NOT_MET")
    bank.by("AB", "--key", second, "members", "policy", "set")
    bank.by("AB", "members", "key", "revoke", key_id)
    bank.by("ADMIN", "members", "suspend", "AB", "--reason", "test")
    late = ("--member", "AB", *bank.keys("AB"), "-o", "json", "accounts", "open", "AB/late")
    refused = node.vostro(*late)
    assert (refused.code, refused.error["code"]) == (1, "ledger/9 MEMBER_SUSPENDED")
    bank.by("ADMIN", "members", "resume", "AB")
    assert {row["member"]: row["status"] for row in node.json("members", "list")}["AB"] == "active"


def test_members_propose_vote_and_see_who_governs(bank: Bank) -> None:
    for member in ("CNB", "PA", "AB"):
        role = "issuer" if member == "CNB" else "participant"
        bank.by("ADMIN", "members", "change", member, f"Bank {member}", "--role", role, "--role", "voter")
    rules = bank.node.json("governance", "rules")
    assert (rules["by"], rules["voters"]) == ("administrators", ["AB", "CNB", "PA"])
    bic = '{"member": "AB", "full_name": "Bank AB", "bic": "ABABCZPP", "roles": ["participant", "voter"]}'
    bank.by("PA", "governance", "propose", f"members.change={bic}", "--reason", "a BIC")
    (row,) = bank.node.json("governance", "list")
    assert (row["number"], row["approvals"], row["required"], row["status"]) == (1, 1, 2, "open")
    shown = bank.node.json("governance", "show", "1")
    assert shown["operations"][0]["arguments"]["bic"] == "ABABCZPP"
    content = shown["content_hash"]
    for given, code in ((("1",), 2), (("1", "ab"), 2), (("1", "00" * 32), 4)):
        blind = bank.node.vostro(
            "--member", "AB", *bank.keys("AB"), "-o", "json", "governance", "approve", *given
        )
        assert blind.code == code, blind
    assert blind.error["message"] == "the proposal is not the one that was shown"
    bank.by("CNB", "governance", "reject", "1", content)
    bank.by("AB", "governance", "approve", "1", content)
    assert bank.node.json("governance", "list") == []
    assert bank.node.json("governance", "list", "--all")[0]["status"] == "executed"
    assert bank.node.json("members", "show", "AB")["bic"] == "ABABCZPP"
    late = bank.node.vostro("--member", "PA", *bank.keys("PA"), "-o", "json", "governance", "withdraw", "1")
    assert (late.code, late.error["code"]) == (1, "governance/6 PROPOSAL_ENDED")


def test_a_recovery_is_proposed_and_refused_while_the_member_has_keys(bank: Bank) -> None:
    fresh = bank.node.new_key("PA-fresh")
    administrators = ("--member", "ADMIN", *bank.keys("ADMIN"), "-o", "json")
    early = bank.node.vostro(*administrators, "members", "recover", "PA", fresh, "--holder", "PA-fresh")
    assert (early.code, early.error["code"]) == (1, "members/13 KEYS_REMAIN")
    assert bank.node.json("governance", "rules")["requirements"]["recovery"]["waiting_ms"] == 3 * 86_400_000


def test_validators_and_the_pre_flight_are_shown(bank: Bank) -> None:
    told = bank.node.json("validators")
    (sequencer,) = told["validators"]
    assert (sequencer["power"], told["margin"]["may_fail"]) == (1, 0)
    key_id = sequencer["key_id"]
    judged = bank.node.vostro("-o", "json", "governance", "preflight", f"{key_id}=0")
    assert (judged.code, judged.json["refusal"]) == (4, "QUORUM_LOST")
    few = bank.node.vostro("-o", "json", "governance", "preflight", f"{key_id}=3")
    assert (few.code, few.json["refusal"]) == (4, "TOO_MUCH_POWER")
    (margin,) = [row for row in bank.node.json("doctor") if row["check"] == "safety margin"]
    assert margin["found"] == "0 of 1 validators may fail now"


def test_assets_and_accounts_are_frozen_released_and_closed(bank: Bank) -> None:
    bank.by("PA", "accounts", "open", "PA/brief")
    bank.by("PA", "accounts", "freeze", "PA/brief")
    bank.by("PA", "accounts", "release", "PA/brief")
    bank.by("PA", "accounts", "close", "PA/brief")
    assert {row["account"]: row["status"] for row in bank.node.json("accounts", "list", "PA")}[
        "PA/brief"
    ] == "closed"
    bank.by("CNB", "assets", "register", "BILL", "--cap", "5", "--decimals", "0", "--class", "bill")
    bank.by("CNB", "assets", "freeze", "BILL")
    assert bank.node.json("assets", "show", "BILL")["status"] == "frozen"
    bank.by("CNB", "assets", "release", "BILL")
    assert [row["asset"] for row in bank.node.json("assets", "list")] == ["BILL", "CZK"]


def test_a_party_is_listed_looked_up_appealed_upheld_and_retracted(bank: Bank) -> None:
    bank.by("AB", "blacklist", "list", TOKEN, "--reason", "fraud", "--days", "30")
    found = bank.by("PA", "blacklist", "lookup", TOKEN, "--purpose", "onboarding")
    assert [(row["member"], row["reason"]) for row in found["listings"]] == [("AB", "fraud")]
    bank.by("PA", "blacklist", "appeal", TOKEN, "AB")
    bank.by("AB", "blacklist", "uphold", TOKEN)
    bank.by("AB", "blacklist", "retract", TOKEN)
    assert bank.by("PA", "blacklist", "lookup", TOKEN, "--purpose", "payment")["listings"] == []
    assert [(row["member"], row["count"]) for row in bank.node.json("blacklist", "lookups", TOKEN)] == [
        ("PA", 2)
    ]


def test_a_file_of_payments_is_paid_once_however_often_it_is_run(bank: Bank, tmp_path: Path) -> None:
    bank.by("AB", "accounts", "open", "AB/csv")
    lines = ["source,destination,asset,amount,end_to_end_id,purpose"]
    lines += [f"PA/main,AB/csv,CZK,0.{n:02},csv-{n},SIPO" for n in range(1, 51)]
    lines += ["PA/main,AB/nobody,CZK,1.00,csv-51,", "PA/main,AB/csv,CZK,999999.00,csv-52,"]
    path, report = tmp_path / "payday.csv", tmp_path / "refused.csv"
    path.write_text("\n".join(lines) + "\n")
    run = ("--member", "PA", *bank.keys("PA"), "-o", "json", "transfer", "many", path)
    first = bank.node.vostro(*run, "--report", report)
    assert first.code == 1
    assert (first.json["applied"], first.json["refused"]) == (50, 2)
    codes = [row["code"] for row in first.json["not_applied"]]
    assert codes == ["assets/9 ACCOUNT_UNKNOWN", "assets/14 INSUFFICIENT_BALANCE"]
    assert "ACCOUNT_UNKNOWN" in report.read_text()
    second = bank.node.vostro(*run)
    assert second.code == 1
    assert second.json["not_applied"] == first.json["not_applied"]
    assert balance(bank, "AB/csv")["posted"] == "12.75"
    path.write_text("\n".join([*lines[:51], "PA/main,AB/csv,CZK,0.01,csv-51,", ""]))
    third = bank.node.vostro(*run)
    assert third.code == 0, third.err
    assert balance(bank, "AB/csv")["posted"] == "12.76"


def test_exit_codes_tell_a_refusal_from_a_mistake_from_a_node_that_is_away(
    bank: Bank, tmp_path: Path
) -> None:
    node, pa = bank.node, ("--member", "PA", *bank.keys("PA"), "-o", "json")
    refused = node.vostro(*pa, "transfer", "send", "PA/main", "AB/main", "999999.00", "CZK")
    assert (refused.code, refused.out) == (1, "")
    assert refused.error["code"] == "assets/14 INSUFFICIENT_BALANCE"
    assert refused.error["decided"] is True
    unknown = node.vostro("-o", "json", "accounts", "show", "PA/none")
    assert (unknown.code, unknown.error["code"]) == (1, "assets/9 ACCOUNT_UNKNOWN")
    usage = [
        node.vostro(*pa, "transfer", "send", "PA/main", "AB/main", "1.005", "CZK"),
        node.vostro("transfer", "send", "PA/main", "AB/main", "1.00", "CZK"),
        node.vostro("--member", "PA", "transfer", "send", "PA/main", "AB/main", "1.00", "CZK"),
        node.vostro("receipt", "show", "xyz"),
        node.vostro("nonsense"),
    ]
    assert [answer.code for answer in usage] == [2] * 5
    away = vostro("--node", "127.0.0.1:1", "--seconds", "0.3", "-o", "json", "status")
    assert (away.code, away.error["exit_code"]) == (3, 3)
    assert node.vostro("--seconds", "1", "receipt", "show", "ab" * 32).code == 3
    wrong = tmp_path / "wrong"
    wrong.touch(mode=0o600)
    wrong.write_text("not it\n")
    locked = node.vostro(*pa, "accounts", "open", "PA/x", passphrase=wrong)
    assert locked.code == 5
    assert vostro("--config", tmp_path / "none.toml", "status").code == 5


def test_a_backup_of_the_running_node_is_verified_and_restored_with_the_same_app_hash(
    bank: Bank, tmp_path: Path
) -> None:
    made = bank.node.json("backup", "create", tmp_path / "b.backup")
    assert vostro("backup", "verify", tmp_path / "b.backup").code == 0
    restored = vostro("-o", "json", "backup", "restore", tmp_path / "b.backup", tmp_path / "data")
    assert restored.code == 0, restored.err
    assert restored.json["app_hash"] == made["app_hash"]
    data = bytearray((tmp_path / "b.backup").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "bad.backup").write_bytes(data)
    assert vostro("backup", "verify", tmp_path / "bad.backup").code == 4


def test_blocks_are_listed_and_followed(bank: Bank) -> None:
    head = bank.node.json("status")["height"]
    assert bank.node.json("blocks", "list", "--limit", "3")[-1]["height"] == head
    followed = bank.node.vostro("-o", "json", "blocks", "follow", "--from", "0", "--limit", "2")
    assert [line for line in followed.out.splitlines() if '"height":' in line.replace(" ", "")]
    assert len(followed.out.splitlines()) == 2


def test_the_doctor_finds_a_sound_node_sound_and_an_open_key_file_wrong(bank: Bank) -> None:
    rows = bank.node.json("doctor")
    assert {row["verdict"] for row in rows} <= {"ok", "warning"}
    assert {"genesis", "sequencer key", "disk", "node", "clock", "index", "last-signed"} <= {
        row["check"] for row in rows
    }
    key = bank.node.config.parent / "keys" / "sequencer.json"
    key.chmod(0o644)
    answer = bank.node.vostro("doctor")
    key.chmod(0o600)
    assert answer.code == 4
    assert "chmod 600" in answer.out


def test_a_support_bundle_holds_what_helps_and_no_secret(bank: Bank, tmp_path: Path) -> None:
    import zipfile

    passphrase = (bank.node.config.parent / "keys" / "sequencer.passphrase").read_text().strip()
    log = tmp_path / "node.log"
    log.write_text(f'{{"event": "x", "passphrase": "{passphrase}"}}\n{{"event": "kept"}}\n')
    bank.node.json("support-bundle", tmp_path / "b.zip", "--log", log)
    with zipfile.ZipFile(tmp_path / "b.zip") as bundle:
        parts = {name: bundle.read(name).decode() for name in bundle.namelist()}
    assert set(parts) == {
        "configuration.toml", "genesis.json", "status.json", "doctor.json", "versions.json", "log-tail.jsonl"
    }  # fmt: skip
    assert "kept" in parts["log-tail.jsonl"]
    assert passphrase not in "".join(parts.values())
    assert '"chain_name": "Vostro"' in parts["status.json"]


def test_the_stopped_nodes_chain_is_verified_resharded_and_verified_again(tmp_path: Path) -> None:
    with running_node(tmp_path) as node:
        bank = Bank(node)
        key = node.new_key("CNB")
        bank.by("ADMIN", "members", "admit", "CNB", "Central", "--role", "issuer", "--member-key", f"a={key}")
        busy = node.vostro("-o", "json", "verify")
        assert busy.code == 5
        assert node.process.stop() == 0
        first = node.json("verify")
        assert (first["blocks"], first["transactions"]) == (2, 1)
        assert node.json("reshard", "5")["shards"] == 5
        assert node.json("verify")["app_hash"] == first["app_hash"]
        node.process.start()
        node.process.wait_ready()
        assert node.json("status")["app_hash"] == first["app_hash"]


def test_the_command_speaks_mutual_tls_and_without_a_certificate_gets_no_answer(tmp_path: Path) -> None:
    ours, theirs = Pki(tmp_path / "ours"), Pki(tmp_path / "theirs", "theirs")
    issued = {
        "node": ours.server(),
        "bank": ours.leaf("PA", Role.READER),
        "operator": ours.leaf("PA", Role.OPERATOR),
        "stranger": theirs.leaf("PA", Role.READER),
    }
    write_file(tmp_path / "tls_ca", ours.bundle)
    for name, pair in issued.items():
        write_file(tmp_path / f"{name}.pem", pair.certificate)
        write_file(tmp_path / f"{name}.key", pair.key, private=True)
    paths = {"tls_certificate": "node.pem", "tls_key": "node.key", "tls_ca": "tls_ca"}
    paths |= {"operator_certificate": "operator.pem", "operator_key": "operator.key"}
    settings = "".join(f'{name} = "{tmp_path / path}"\n' for name, path in paths.items())
    with running_node(tmp_path, settings=settings) as node:
        target = ("--node", node.process.listen, "--seconds", "3", "-o", "json")
        ca = ("--tls-ca", tmp_path / "tls_ca")

        def by(name: str) -> tuple[str | Path, ...]:
            pair = ("--tls-certificate", tmp_path / f"{name}.pem", "--tls-key", tmp_path / f"{name}.key")
            return (*target, *ca, *pair)

        assert node.json("status")["height"] == 0, "by the files of the configuration"
        known = vostro(*by("bank"), "status")
        assert known.code == 0, known.err
        denied = vostro(*by("bank"), "backup", "create", tmp_path / "b.backup")
        assert (denied.code, denied.error["code"]) == (1, "node/17 NOT_PERMITTED")
        assert vostro(*by("operator"), "backup", "create", tmp_path / "o.backup").code == 0
        found = {row["check"]: row["verdict"] for row in node.json("doctor")}
        assert found["node certificate"] == found["authority consortium root"] == "ok"
        assert vostro(*by("stranger"), "status").code == 3
        assert vostro(*target, "status").code == 3
        assert vostro(*target, *ca, "status").code == 2, "three files or none"


def test_help_teaches_every_command_with_what_it_does() -> None:
    top = vostro("--help")
    assert top.code == 0
    for noun in (
        "init",
        "run",
        "status",
        "demo",
        "keys",
        "members",
        "assets",
        "accounts",
        "transfer",
        "holds",
    ):
        assert noun in top.out
    for noun in (
        "approvals",
        "register",
        "servicing",
        "offers",
        "deals",
        "cycles",
        "offsets",
        "exchange",
        "blacklist",
        "blocks",
        "receipt",
        "verify",
        "reshard",
        "backup",
        "doctor",
        "support-bundle",
    ):
        assert noun in top.out
    assert "Exit codes" in top.out
    assert "Example" in vostro("transfer", "many", "--help").out
