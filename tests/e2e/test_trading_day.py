"""The trading day, through its command: a part of the generated day, and a file with too few banks."""

from pathlib import Path

from node.demo.orders import generated_day, write_orders
from tests.processes import vostro


def test_a_small_trading_day_is_cleared_to_the_heller(tmp_path: Path) -> None:
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


def test_orders_to_too_few_banks_make_no_trading_day(tmp_path: Path) -> None:
    write_orders(tmp_path / "day.csv", [each for each in generated_day(7) if each.bank_to < "GH"])
    answer = vostro("-o", "json", "demo", "trading-day", "--orders", tmp_path / "day.csv")
    assert (answer.code, "at least 4 banks" in answer.error["message"]) == (5, True)
