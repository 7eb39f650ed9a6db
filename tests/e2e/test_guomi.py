"""A chain of the suite guomi by the command line alone: founded, run, used, proven, backed up; and a small
day of the demonstration.
"""

import json
from pathlib import Path

import pytest

from node.demo.child import NodeProcess, free_port
from node.demo.orders import generated_day, write_orders
from tests.processes import RunningNode, vostro, write_passphrase


@pytest.mark.timeout(240)
@pytest.mark.evidence(
    "GM3",
    asset="the ledger",
    threat="a suite that is not carried through",
    mitigation="the whole life of a chain on it",
)
def test_a_guomi_chain_is_founded_used_proven_and_restored_by_the_command_line(tmp_path: Path) -> None:
    passphrase = write_passphrase(tmp_path / "passphrase")
    listen = f"127.0.0.1:{free_port()}"
    made = vostro(
        "-o", "json", "init", tmp_path / "node", "--suite", "guomi", "--listen", listen, "--shards", "2",
        passphrase=passphrase,
    )  # fmt: skip
    assert made.code == 0, made.err
    assert made.json["suite"] == "guomi"
    [administrator] = made.json["keys"]
    genesis = json.loads((tmp_path / "node" / "genesis.json").read_bytes())
    assert genesis["suite"] == "guomi"
    assert {genesis["administrators"][0]["algorithm"], genesis["authority"][0]["algorithm"]} == {"sm2"}
    for path in (tmp_path / "node" / "keys").glob("*.json"):
        assert json.loads(path.read_bytes())["cipher"]["function"] == "sm4-gcm"

    process = NodeProcess(tmp_path / "node" / "node.toml", listen, tmp_path / "node.log")
    process.start()
    process.wait_ready()
    node = RunningNode(tmp_path, process)
    try:
        bank, wrong = tmp_path / "bank.json", tmp_path / "wrong.json"
        assert node.json("keys", "new", bank)["algorithm"] == "sm2"
        assert node.json("keys", "new", wrong, "--algorithm", "ed25519")["algorithm"] == "ed25519"
        admit = ("members", "admit", "CB", "Central Bank", "--role", "issuer", "--member", "ADMIN")
        refused = node.vostro("-o", "json", *admit, "--member-key", f"one={wrong}", "--key", administrator)
        assert (refused.code, refused.error["code"]) == (1, "members/6 KEY_INVALID")
        node.json(*admit, "--member-key", f"one={bank}", "--key", administrator)
        by_bank = ("--member", "CB", "--key", bank)
        node.json(*by_bank, "assets", "register", "CNY", "--cap", "1000000.00")
        node.json(*by_bank, "accounts", "open", "CB/reserve", "CB/payments")
        node.json(*by_bank, "assets", "issue", "CNY", "CB/reserve", "2500.00")
        sent = node.json(*by_bank, "transfer", "send", "CB/reserve", "CB/payments", "12.50", "CNY")
        stranger = node.vostro(
            "-o", "json", "--member", "CB", "--key", wrong, "transfer", "send",
            "CB/reserve", "CB/payments", "1.00", "CNY",
        )  # fmt: skip
        assert stranger.error["code"] == "ledger/10 UNKNOWN_KEY"
        receipt = tmp_path / "receipt.json"
        node.json("receipt", "export", sent["tx_id"], receipt)
        backup = tmp_path / "guomi.backup"
        node.json("backup", "create", backup)
    finally:
        process.stop()
    trust = tmp_path / "node" / "genesis.json"
    proven = node.json("receipt", "verify", receipt, "--trust", trust)
    assert proven["applied"] is True
    assert proven["signers"][0]["algorithm"] == "sm2"
    head = node.json("verify")
    assert node.json("backup", "verify", backup)["app_hash"] == head["app_hash"]
    restored = node.json("backup", "restore", backup, tmp_path / "restored")
    assert restored["app_hash"] == head["app_hash"]
    doctor = node.vostro("-o", "json", "doctor")
    assert "sm2 " in doctor.out


def test_a_small_day_of_guomi_comes_out_to_the_heller_through_a_sigkill(tmp_path: Path) -> None:
    orders = generated_day(11)[:400]
    write_orders(tmp_path / "day.csv", orders)
    place = tmp_path / "play"
    answer = vostro(
        "-o", "json", "demo", "--suite", "guomi", "--orders", tmp_path / "day.csv", "--directory", place
    )
    assert answer.code == 0, answer.err
    told = answer.json
    assert (told["suite"], told["orders"]) == ("guomi", 400)
    assert told["total_hellers"] == sum(order.amount for order in orders)
    assert told["resent"] > 0
    assert len(told["refused"]) == 10
    assert told["receipt"]["signers"][0]["algorithm"] == "sm2"
    again = vostro("receipt", "verify", place / "receipt.json", "--trust", place / "node" / "genesis.json")
    assert again.code == 0, again.err


def test_a_suite_that_does_not_exist_is_refused_with_those_there_are(tmp_path: Path) -> None:
    for words in (("init", tmp_path / "node"), ("demo", "--directory", tmp_path / "play")):
        answer = vostro("-o", "json", *words, "--suite", "national")
        assert answer.code == 2
        assert "international, guomi" in answer.error["message"]
    assert list(tmp_path.iterdir()) == []
