"""Payment orders of the demonstration: a day that follows from its seed alone, and files that are read
strictly.
"""

import hashlib
from collections import Counter
from pathlib import Path

import pytest

from node.demo.orders import (
    BANKS,
    PURPOSES,
    QUANTILES,
    SEED_DEFAULT,
    BadOrders,
    Chance,
    generated_day,
    read_orders,
    write_orders,
)


def test_chance_is_splitmix64() -> None:
    """The first outputs for seed 1234567 that the generator's reference implementation is published with."""
    chance = Chance(1234567)
    assert [chance.below(2**64) for _ in range(3)] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


def test_the_generated_day_is_the_same_on_every_machine(tmp_path: Path) -> None:
    write_orders(tmp_path / "day.csv", generated_day())
    digest = hashlib.sha256((tmp_path / "day.csv").read_bytes()).hexdigest()
    assert digest == "ff21de99e30f4892fd795fbc46a3d57d465eca64e467bfbda3c73cb579f24732"
    assert generated_day(SEED_DEFAULT + 1) != generated_day()


def test_the_generated_day_has_the_shape_that_is_documented() -> None:
    orders = generated_day()
    assert len(orders) == 6_471
    assert len({order.account_id for order in orders}) == 3_758
    assert {order.bank_to for order in orders} == set(BANKS)
    assert 6_430 <= len({(order.bank_to, order.account_to) for order in orders}) < 6_471
    counts = Counter(order.purpose for order in orders)
    for purpose, share in PURPOSES:
        assert abs(counts[purpose] - share) < 5 * share**0.5
    for order in orders:
        assert (
            QUANTILES[order.purpose][0] * 100 <= max(order.amount, 100) <= QUANTILES[order.purpose][-1] * 100
        )
        assert order.amount % (10 if order.purpose in {"UVER", "LEASING"} else 100) == 0
    medians = {purpose: sorted(o.amount for o in orders if o.purpose == purpose) for purpose in QUANTILES}
    assert 300_000 < medians["SIPO"][len(medians["SIPO"]) // 2] < 340_000


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    orders = generated_day(3)[:50]
    write_orders(tmp_path / "day.csv", orders)
    assert read_orders(tmp_path / "day.csv") == orders


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"order_id"', '"order"', "columns"),
        (";1;", ";1;2;", "line 2"),
        (".00;", ".001;", "line 2"),
        ("3007.00", "-5.00", "line 2"),
        ("10001;", "10002;", "twice"),
        ('"CD"', '"cd"', "bank_to"),
        ('"34660652"', '"3466/652"', "account_to"),
        ("SIPO", "SIP\u00d6", "ascii"),
    ],
)
def test_a_file_that_is_no_day_is_refused_with_its_place(
    old: str, new: str, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "day.csv"
    write_orders(path, generated_day()[:2])
    text = path.read_text(encoding="ascii")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(BadOrders, match=said):
        read_orders(path)
