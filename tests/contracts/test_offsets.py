"""Liabilities: registered, accrued, transferred, netted: by two in an offset, by more in a cycle."""

from typing import Any

from contracts.assets import Assets
from contracts.terms import Accrued
from node.ledger import codec
from tests.checker import check_ledger
from tests.contracts.market import CLOSES_MS, DAY_MS, cycled, made, opened, passes
from tests.contracts.refusals_offsets import EXPIRES_MS, mutual, propose
from tests.kit import START_MS, Consortium, is_refused, op, told


def _world() -> Consortium:
    world = Consortium()
    mutual(world)
    return world


def _query(world: Consortium, contract: str, name: str, *arguments: Any) -> Any:
    return world.ledger.query(contract, name, codec.encode(arguments))


def test_two_members_set_off_what_they_owe_and_no_cash_passes() -> None:
    world = _world()
    offset = propose(world)
    cash = [world.balance(f"{bank}/main") for bank in ("PA", "KB")]
    receipt = world.apply("KB", op("offsets", "agree", "PA", offset, 70, 60, "KB/main"))
    assert [name for name, _ in told(receipt)] == ["offsets.SetOff", "assets.Redeemed", "assets.Redeemed"]
    assert (world.balance("KB/main", "PA-LOAN")[0], world.balance("PA/main", "KB-DEPOSIT")[0]) == (40, 0)
    supply = [world.record("assets", "asset", asset) for asset in ("PA-LOAN", "KB-DEPOSIT")]
    assert [(asset.issued, asset.redeemed) for asset in supply] == [(100, 60), (70, 70)]
    assert [world.balance(f"{bank}/main") for bank in ("PA", "KB")] == cash
    assert _query(world, "offsets", "get_offset", "KB", "PA", offset).status == "settled"
    check_ledger(world.blocks(), world.genesis)


def test_neither_claim_is_reduced_where_one_side_has_it_no_longer() -> None:
    world = _world()
    offset = propose(world)
    world.apply("KB", op("transfers", "send", "KB/main", "CNB/main", "PA-LOAN", 50, "", b"", ""))
    before = world.state()
    refused = world.send("KB", op("offsets", "agree", "PA", offset, 70, 60, "KB/main"))
    assert is_refused(refused, Assets.INSUFFICIENT_BALANCE)
    assert world.state() == before


def test_a_proposal_lapses_by_block_time() -> None:
    world = _world()
    offset = propose(world)
    passes(world, EXPIRES_MS)
    assert _query(world, "offsets", "get_offset", "PA", "PA", offset).status == "expired"
    assert world.send("KB", op("offsets", "agree", "PA", offset, 70, 60, "KB/main")).codespace == "offsets"


def test_a_loan_accrues_to_whoever_holds_it() -> None:
    world = _world()
    world.apply("KB", op("transfers", "send", "KB/main", "CNB/main", "PA-LOAN", 40, "", b"", ""))
    at = START_MS + 36 * DAY_MS
    accrued = [
        _query(world, "servicing", "get_accrued", f"{bank}/main", "PA-LOAN", at) for bank in ("KB", "CNB")
    ]
    assert accrued == [Accrued("CZK", 30, 36), Accrued("CZK", 20, 36)]


def test_three_members_net_liabilities_in_a_cycle() -> None:
    """KB sells PA's loan to CNB, CNB sells it on to PA, its own debtor: the loan comes home in net."""
    world = _world()
    cycle = opened(world, 3)
    deals = []
    for seller, buyer, price in (("KB", "CNB", 90), ("CNB", "PA", 95)):
        accounts, taker = [(f"{bank}/main", f"{bank}/main") for bank in (seller, buyer)]
        at = (0, CLOSES_MS + 2, CLOSES_MS + 2, 0, 0)
        terms = ("sell", "PA-LOAN", 100, 1, 1, "CZK", price, accounts, (buyer,), CLOSES_MS, at)
        found = made(world.apply(seller, op("trading", "make_offer", *terms)), "Offered")
        taking = op("trading", "take", seller, found, 1, "CZK", price, taker)
        deals.append(made(world.apply(buyer, taking), "Agreed"))
    cycled(world, cycle, *deals)
    passes(world, CLOSES_MS)
    world.apply("CNB", op("cycles", "settle", cycle))
    world.apply("PA", op("assets", "redeem", "PA-LOAN", "PA/main", 100, ""))
    assert [world.balance(f"{bank}/main")[0] for bank in ("PA", "KB", "CNB")] == [905, 590, 405]
    check_ledger(world.blocks(), world.genesis)
