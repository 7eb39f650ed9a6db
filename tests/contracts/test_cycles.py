"""Settlement cycles: models 2 and 3, who is taken out, and that what passes is what the deals say."""

from collections.abc import Callable
from itertools import combinations, permutations
from typing import Any

import pytest
from msgspec.structs import replace

from contracts.assets import Assets
from contracts.deals import Accounts, Conditions, Deal, legs_of
from contracts.positions import Position
from contracts.settlement import Settlement
from contracts.settlement_cycles import Model, Sums, _transfers
from node.ledger import codec
from tests.checker import check_ledger
from tests.contracts.market import (
    CLOSES_MS,
    OPEN,
    SECURED,
    Market,
    cycled,
    dealt,
    made,
    offered,
    opened,
    passes,
    take,
)
from tests.kit import Consortium, is_refused, op, told

BANKS = ("PA", "KB", "CNB")


@pytest.fixture
def market() -> Market:
    return Market()


def sold(world: Consortium, seller: str, buyer: str, lots: int, price: int, **changed: Any) -> bytes:
    """A deal of lots of 5 BOND; its id."""
    found = offered(world, seller, lots=lots, least=1, price=price, **changed)
    return made(world.apply(buyer, take(seller, found, lots, lots * price, buyer)), "Agreed")


def settle(world: Consortium, cycle: bytes, by: str = "PA") -> list[tuple[str, list[Any]]]:
    """Let the cycle's time come and settle it; what was told."""
    passes(world, CLOSES_MS)
    return told(world.apply(by, op("cycles", "settle", cycle)))


def balances(world: Consortium, asset: str) -> list[tuple[int, int]]:
    return [world.balance(f"{bank}/main", asset) for bank in BANKS]


def test_model_2_passes_assets_deal_by_deal_and_cash_in_net(market: Market) -> None:
    cycle = opened(market, 2)
    deals = (
        sold(market, "PA", "KB", 4, 20),
        sold(market, "KB", "PA", 2, 25),
        sold(market, "PA", "CNB", 1, 30),
    )
    cycled(market, cycle, *deals)
    assert [held for _, held in balances(market, "BOND")] == [25, 10, 0]
    assert is_refused(market.send("KB", op("settlement", "settle", deals[0])), Settlement.DEAL_LINKED)
    facts = settle(market, cycle)
    passed = [fields[1:] for name, fields in facts if name == "cycles.Passed"]
    assert sorted(fields[1] for fields in passed if fields[0] == "BOND") == [5, 10, 20]
    cash = sorted(fields for fields in passed if fields[0] == "CZK")
    assert cash == [["CZK", 30, "CNB/main", "PA/main"], ["CZK", 30, "KB/main", "PA/main"]]
    assert balances(market, "BOND") == [(45, 0), (50, 0), (5, 0)]
    assert balances(market, "CZK") == [(1_060, 200), (470, 0), (370, 0)]
    assert facts[-1] == ("cycles.CycleSettled", [cycle, 2, "CZK", 3, 0])
    assert facts[-2] == ("cycles.CycleSums", [cycle, 160, 60])
    assert {deal.status for deal in market.rows("settlement", "deal").values()} == {"settled"}
    check_ledger(market.blocks(), market.genesis)


def test_model_3_lets_a_bank_sell_on_what_it_never_held(market: Market) -> None:
    cycle = opened(market, 3)
    cycled(market, cycle, sold(market, "PA", "CNB", 4, 20), sold(market, "CNB", "KB", 4, 30))
    assert balances(market, "BOND") == [(60, 0), (40, 0), (0, 0)]
    facts = settle(market, cycle, "CNB")
    assert sorted(fields[1:] for name, fields in facts if name == "cycles.Passed") == [
        ["BOND", 20, "PA/main", "KB/main"],
        ["CZK", 40, "KB/main", "CNB/main"],
        ["CZK", 80, "KB/main", "PA/main"],
    ]
    assert (facts[-2][1][1:], facts[-1][1][3:]) == ([200, 120], [2, 0])
    check_ledger(market.blocks(), market.genesis)


def test_who_cannot_pay_its_net_is_taken_out_with_all_its_deals(market: Market) -> None:
    cycle = opened(market, 3)
    poor, good, of_poor = (
        sold(market, "PA", "KB", 4, 200),
        sold(market, "PA", "CNB", 2, 20),
        sold(market, "KB", "CNB", 1, 30),
    )
    cycled(market, cycle, poor, good, of_poor)
    facts = settle(market, cycle)
    out = {
        (fields[1], fields[4], fields[5], fields[6]) for name, fields in facts if name == "cycles.TakenOut"
    }
    assert out == {(poor, "KB", "assets", 14), (of_poor, "KB", "assets", 14)}
    assert [market.record("settlement", "deal", deal).status for deal in (poor, good, of_poor)] == [
        "agreed",
        "settled",
        "agreed",
    ]
    assert balances(market, "CZK") == [(1_040, 200), (500, 0), (360, 0)]
    market.apply("KB", op("settlement", "settle", of_poor))
    check_ledger(market.blocks(), market.genesis)


def test_a_deal_is_taken_out_as_it_was_when_its_asset_is_stopped(market: Market) -> None:
    cycle = opened(market, 2)
    free, secured = sold(market, "PA", "KB", 4, 20), sold(market, "PA", "KB", 1, 20, conditions=SECURED)
    cycled(market, cycle, free, secured)
    before = {deal: market.record("settlement", "deal", deal) for deal in (free, secured)}
    market.apply("CNB", op("assets", "freeze_asset", "BOND"))
    facts = settle(market, cycle)
    assert [fields[4:] for name, fields in facts if name == "cycles.TakenOut"] == [["", "assets", 4]] * 2
    after = {deal: market.record("settlement", "deal", deal) for deal in (free, secured)}
    assert after[free] == replace(before[free], linked=b"", seller_held=0)
    assert after[secured] == replace(before[secured], linked=b"")
    assert (market.balance("PA/main", "BOND"), market.balance("KB/main")) == ((60, 5), (500, 20))
    check_ledger(market.blocks(), market.genesis)


def test_a_seller_without_the_asset_does_not_enter_a_gross_cycle(market: Market) -> None:
    cycle, deal = opened(market, 2), sold(market, "CNB", "KB", 1, 20)
    market.apply("CNB", op("cycles", "enter", cycle, deal))
    assert is_refused(market.send("KB", op("cycles", "enter", cycle, deal)), Assets.INSUFFICIENT_BALANCE)


def test_what_was_secured_pays_in_the_cycle_and_is_free_after_it(market: Market) -> None:
    cycle, deal = opened(market, 3), sold(market, "PA", "KB", 4, 125, conditions=SECURED)
    cycled(market, cycle, deal)
    assert market.balance("KB/main") == (500, 500)
    settle(market, cycle)
    assert (balances(market, "BOND")[:2], balances(market, "CZK")[:2]) == (
        [(40, 0), (60, 0)],
        [(1_500, 200), (0, 0)],
    )


def test_the_sides_wishes_meet_in_one_cycle_only(market: Market) -> None:
    first, second, deal = opened(market, 3), opened(market, 3), dealt(market)
    market.apply("PA", op("cycles", "enter", first, deal))
    market.apply("KB", op("cycles", "enter", second, deal))
    assert market.record("settlement", "deal", deal).linked == b""
    wish = market.ledger.query("cycles", "get_wish", codec.encode(("PA", deal)))
    assert (wish.cycle, wish.member) == (second, "KB")
    market.apply("PA", op("cycles", "enter", second, deal))
    assert market.record("settlement", "deal", deal).linked == second
    listed = market.ledger.query("cycles", "list_deals", codec.encode(("KB", second)))
    assert [named.id for named in listed] == [deal]
    assert market.ledger.query("cycles", "list_deals", codec.encode(("CNB", second))) == ()


def test_an_empty_cycle_is_over_when_its_opener_says_so(market: Market) -> None:
    cycle = opened(market, 2)
    assert [fields[-2:] for _, fields in settle(market, cycle)] == [[0, 0], [0, 0]]
    assert market.record("cycles", "cycle", cycle).status == "settled"


# --- the reckoning against brute force --------------------------------------------------------------------


def _deal(seller: str, buyer: str, lots: int, price: int) -> Deal:
    sold, bought = [Accounts(f"{bank}/main", f"{bank}/main") for bank in (seller, buyer)]
    conditions = Conditions(0, OPEN.due_ms, OPEN.buy_in_ms, 0, 1)
    return Deal(
        seller, buyer, "BOND", 1, lots, lots, "CZK", price, sold, bought, conditions, 0, 0, "", b"", "agreed"
    )  # fmt: skip


def _payable(deals: tuple[Deal, ...], has: dict[tuple[str, str], int]) -> bool:
    """Whether everybody can give its net: reckoned by moving everything and looking for debts."""
    left = dict(has)
    for deal in deals:
        for leg in legs_of(deal, deal.left):
            left[leg.source, leg.asset] -= leg.amount
            left[leg.destination, leg.asset] += leg.amount
    return all(amount >= 0 for amount in left.values())


def test_nobody_is_taken_out_who_can_pay_and_what_remains_can_be_paid() -> None:
    """All cycles of up to four deals of a small world, each with several balances."""
    models: tuple[Model, ...] = (3,)
    tried = out = 0
    sides = list(permutations(BANKS, 2))
    for count in (1, 2, 3, 4):
        for chosen in combinations(sides, count):
            deals = tuple(_deal(*pair, 1 + at % 2, 3 + at) for at, pair in enumerate(chosen))
            for cash, bonds in ((0, 0), (3, 1), (6, 0), (8, 2), (99, 9)):
                has = {(f"{bank}/main", asset): amount for bank in BANKS
                       for asset, amount in (("CZK", cash), ("BOND", bonds))}  # fmt: skip
                for model in models:
                    positions = {place: Position(amount, 0) for place, amount in has.items()}
                    sums = Sums(model, _looked_up(positions))
                    kept = list(deals)
                    for deal in kept:
                        sums.count(deal, 1)
                    while lack := sums.greatest_lack("CZK"):
                        assert not _payable(tuple(kept), has)
                        for deal in [deal for deal in kept if lack.member in (deal.seller, deal.buyer)]:
                            kept.remove(deal)
                            sums.count(deal, -1)
                        out += 1
                    tried += 1
                    assert _payable(tuple(kept), has), (chosen, cash, bonds)
                    _check_transfers(sums)
    print(f"cycles: {tried} small worlds, {out} times a member was taken out")
    assert tried > 250
    assert out > 100


def _looked_up(positions: dict[tuple[str, str], Position]) -> Callable[[str, str], Position]:
    return lambda account, asset: positions[account, asset]


def _check_transfers(sums: Sums) -> None:
    """The transfers give everybody its net, and nobody both gives and receives."""
    legs = _transfers(sums.net)
    total: dict[tuple[str, str], int] = {}
    for leg in legs:
        total[leg.source, leg.asset] = total.get((leg.source, leg.asset), 0) - leg.amount
        total[leg.destination, leg.asset] = total.get((leg.destination, leg.asset), 0) + leg.amount
    assert total == {place: change for place, change in sums.net.items() if change}
    assert len(legs) <= max(0, len(total) - 1)
