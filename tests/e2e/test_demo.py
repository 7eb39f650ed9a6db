"""The demonstration, through its command: a generated day, a day of a file, and the real one where it is at
hand.
"""

from pathlib import Path

import pytest

from node.demo.orders import generated_day, write_orders
from tests.processes import vostro

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "pkdd99_orders.csv"


def test_a_small_day_comes_out_to_the_heller_through_a_sigkill(tmp_path: Path) -> None:
    orders = generated_day(7)[:400]
    write_orders(tmp_path / "day.csv", orders)
    answer = vostro("-o", "json", "demo", "--orders", tmp_path / "day.csv", "--directory", tmp_path / "play")
    assert answer.code == 0, answer.err
    told = answer.json
    assert told["orders"] == 400
    assert told["total_hellers"] == sum(order.amount for order in orders)
    for row in told["by_bank_and_purpose"]:
        own = [o.amount for o in orders if (o.bank_to, o.purpose) == (row["bank"], row["purpose"])]
        assert (row["orders"], row["hellers"]) == (len(own), sum(own))
    assert told["acknowledged_before_kill"] >= 200
    assert told["resent"] > 0
    assert len(told["refused"]) == 10
    assert told["receipt"]["applied"] is True
    assert told["transactions"] > 400
    trust = tmp_path / "play" / "node" / "genesis.json"
    again = vostro("receipt", "verify", tmp_path / "play" / "receipt.json", "--trust", trust)
    assert again.code == 0, again.err
    verified = vostro("--config", tmp_path / "play" / "node" / "node.toml", "-o", "json", "verify")
    assert verified.code == 0, verified.err
    assert verified.json["app_hash"] == told["app_hash"]


def test_a_file_that_is_no_day_is_refused_with_its_line(tmp_path: Path) -> None:
    write_orders(tmp_path / "day.csv", generated_day(7)[:3])
    text = (tmp_path / "day.csv").read_text(encoding="ascii")
    (tmp_path / "day.csv").write_text(text.replace(".00", ".005"), encoding="ascii")
    answer = vostro("-o", "json", "demo", "--orders", tmp_path / "day.csv")
    assert answer.code == 5
    assert "line 2" in answer.error["message"]


@pytest.mark.timeout(300)
def test_the_real_day_comes_out_to_the_heller_or_else_the_generated_one(tmp_path: Path) -> None:
    if REAL.exists():
        answer = vostro("-o", "json", "demo", "--orders", REAL, "--directory", tmp_path / "play")
    else:
        print(f"{REAL.name} is not at hand: the generated day is played")
        answer = vostro("-o", "json", "demo", "--directory", tmp_path / "play")
    assert answer.code == 0, answer.err
    told = answer.json
    banks = {row["bank"] for row in told["by_bank_and_purpose"]}
    assert told["orders"] == 6_471
    assert len(banks) == 13
    assert told["debited_accounts"] == 3_758
    assert sum(row["orders"] for row in told["by_bank_and_purpose"]) == 6_471
    assert told["day_seconds"] < 60
    if REAL.exists():
        assert told["total_hellers"] == 2_122_899_360
        purposes = {row["purpose"]: 0 for row in told["by_bank_and_purpose"]}
        for row in told["by_bank_and_purpose"]:
            purposes[row["purpose"]] += row["orders"]
        assert purposes == {"SIPO": 3_502, "": 1_379, "UVER": 717, "POJISTNE": 532, "LEASING": 341}
        assert told["credited_accounts"] == 6_446
