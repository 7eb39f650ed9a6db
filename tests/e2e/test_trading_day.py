"""The trading day, through its command: a part of the generated day, and a file with too few banks."""

import hashlib
from pathlib import Path
from typing import Any

from node.demo.orders import generated_day, write_orders
from node.genesis_file import load_genesis
from node.ledger.hashing import INTERNATIONAL
from node.storage.sharded import ShardedStore
from tests.checker import check_ledger
from tests.processes import vostro


def test_a_small_trading_day_is_cleared_traded_and_reconciled_to_the_heller(tmp_path: Path) -> None:
    orders = generated_day(7)[:600]
    write_orders(tmp_path / "day.csv", orders)
    command = ("demo", "trading-day", "--orders", tmp_path / "day.csv", "--directory", tmp_path / "play")
    answer = vostro("-o", "json", *command)
    assert answer.code == 0, answer.err
    told = answer.json
    assert (told["orders"], told["total_hellers"]) == (600, sum(order.amount for order in orders))
    for row in told["by_bank_and_purpose"]:
        own = [o.amount for o in orders if (o.bank_to, o.purpose) == (row["bank"], row["purpose"])]
        assert (row["orders"], row["hellers"]) == (len(own), sum(own))
    assert sum(row["count"] for row in told["liquidity"]) == told["instructions"] == 1_200
    assert sum(row["gross"] for row in told["liquidity"]) == told["instructed_hellers"]
    first, second = told["cycles"]
    assert first["net"] < first["gross"]
    assert [reason for _, reason in first["taken_out"]] == ["short"]
    assert (first["attempts"], second["taken_out"]) == (2, [])
    assert len(told["deals"]) == 9
    assert all(deal["amount"] == deal["lots"] * deal["price"] > 0 for deal in told["deals"])
    assert told["failed_deal"]["code"] == "assets/14 INSUFFICIENT_BALANCE"
    check_together(told["together"])
    check_books(told, tmp_path / "play" / "statements")
    verified = vostro("--config", tmp_path / "play" / "node" / "node.toml", "-o", "json", "verify")
    assert verified.json["app_hash"] == told["app_hash"]
    with ShardedStore.open(tmp_path / "play" / "node" / "data", INTERNATIONAL) as store:
        genesis = load_genesis(tmp_path / "play" / "node" / "genesis.json")
        checked = check_ledger(store.blocks(), genesis, replay=False)  # ``verify`` has replayed it
    print(f"{checked.instructions} instructions in {checked.blocks} blocks, {checked.cycles} cycles reckoned")
    assert (checked.instructions, checked.cycles) == (1_200, 2)


def check_together(rows: list[dict[str, Any]]) -> None:
    """Cycles of models 2 and 3, a linked set and an offset: what passed is what their names promise."""
    gross, net, linked, offset = rows
    assert [row["deals"] for row in rows] == [3, 3, 2, 2]
    assert (gross["how"], gross["bonds_moved"]) == ("Cycle, model 2", gross["bonds_gross"])
    assert (net["how"], 3 * net["bonds_moved"]) == ("Cycle, model 3", net["bonds_gross"])
    assert 0 < gross["cash_moved"] < gross["cash_gross"] // 10
    assert 0 < net["cash_moved"] < net["cash_gross"] // 2
    assert linked["cash_moved"] == linked["cash_gross"] > 0
    assert (offset["cash_gross"] > 0, offset["cash_moved"]) == (True, 0)


def check_books(told: Any, folder: Path) -> None:
    """All statements without a break, and ten planted differences each under its name."""
    assert len(told["statements"]) == 28
    for row in told["statements"]:
        assert (row["breaks"], row["difference"], row["unexplained"]) == ({}, "0.00", "0.00")
        assert row["entries"] == row["movements"] > 0
        assert row["sha256"] == hashlib.sha256((folder / row["file"]).read_bytes()).hexdigest()
    kinds = [row["kind"] for row in told["differences"]]
    print(f"{len(kinds)} planted differences found and named: {', '.join(kinds)}")
    assert (len(kinds), len(set(kinds))) == (10, 9)
    assert sum(told["spoilt"]["breaks"].values()) == 10
    assert told["spoilt"]["unexplained"] == "0.00"


def test_orders_to_too_few_banks_make_no_trading_day(tmp_path: Path) -> None:
    write_orders(tmp_path / "day.csv", [each for each in generated_day(7) if each.bank_to < "GH"])
    answer = vostro("-o", "json", "demo", "trading-day", "--orders", tmp_path / "day.csv")
    assert (answer.code, "to 4 banks" in answer.error["message"]) == (5, True)
