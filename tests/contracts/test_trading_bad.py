"""Trading gone wrong: what two members may do to one another, at the same moment, too late or without means.

Where two do something at once, both stand in one block, in either order: one of them comes first, and nothing
is sold or paid twice.
"""

from itertools import permutations
from typing import Any

import pytest

from contracts.assets import Assets
from contracts.members import Members
from contracts.settlement import Settlement
from contracts.trading import Trading
from node.ledger.errors import LedgerError
from node.ledger.types import Receipt
from tests.checker import check_ledger
from tests.contracts.market import (
    CLOSES_MS,
    CNB,
    EXPIRES_MS,
    KB,
    OPEN,
    PA,
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
from tests.kit import ADMINISTRATOR, is_discarded, is_refused, op, refusal

OK = ("", 0)


def code(error: Any) -> tuple[str, int]:
    return error.codespace, error.code


def holdings(world: Market) -> list[tuple[int, int]]:
    return [world.balance(f"{bank}/main", asset) for bank in ("PA", "KB", "CNB") for asset in ("BOND", "CZK")]


def both_orders(*calls: tuple[str, Any]) -> Any:
    """Every order of calls, each with a market of its own."""
    return [(Market(), order) for order in permutations(calls)]


# --- accepting twice ----------------------------------------------------------------------------------------


def test_the_same_acceptance_handed_in_twice_makes_one_deal() -> None:
    world = Market()
    found = offered(world, lots=4, least=1)
    raw = world.make("KB", take("PA", found, 2, 40))
    first, again = world.block(raw, raw)
    assert (refusal(first), is_discarded(again, LedgerError.DUPLICATE)) == (OK, True)
    (later,) = world.block(raw)
    assert is_discarded(later, LedgerError.DUPLICATE)
    assert len(world.rows("settlement", "deal")) == 1


def test_an_offer_accepted_whole_is_not_accepted_again() -> None:
    world = Market()
    found = offered(world)
    outcomes = world.block(*[world.make("KB", take("PA", found, 6, 120)) for _ in range(3)])
    assert [refusal(each) for each in outcomes] == [OK, *[code(Trading.OFFER_ENDED)] * 2]
    assert len(world.rows("settlement", "deal")) == 1


def test_an_answer_and_the_offer_that_it_answers_are_not_both_accepted_for_the_same_lots() -> None:
    for world, order in both_orders(("CNB", "root"), ("PA", "answer")):
        root = offered(world)
        answer = made(
            world.apply("KB", op("trading", "answer", "PA", root, 6, 18, KB, EXPIRES_MS)), "Offered"
        )
        calls = {
            "root": take("PA", root, 6, 120, "CNB"),
            "answer": op("trading", "take", "KB", answer, 6, "CZK", 108, PA),
        }
        outcomes = world.block(*[world.make(member, calls[what]) for member, what in order])
        assert [refusal(each) for each in outcomes] == [OK, code(Trading.OFFER_ENDED)]
        assert sum(deal.lots for deal in world.rows("settlement", "deal").values()) == 6


# --- own offers ---------------------------------------------------------------------------------------------


def test_nobody_deals_with_itself_in_any_way() -> None:
    world = Market()
    own = offered(world, lots=4, least=1)
    counter = made(world.apply("KB", op("trading", "answer", "PA", own, 4, 18, KB, EXPIRES_MS)), "Offered")
    taking_its_answer = op("trading", "take", "KB", counter, 4, "CZK", 72, KB)
    for member, operation in (
        ("PA", take("PA", own, 1, 20, "PA")),
        ("PA", op("trading", "answer", "PA", own, 1, 21, PA, EXPIRES_MS)),
        ("KB", taking_its_answer),
    ):
        assert is_refused(world.send(member, operation), Trading.OWN_OFFER)
    assert world.rows("settlement", "deal") == {}


# --- after expiry -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("late_ms", [0, 1, 1_000])
def test_from_its_time_on_an_offer_is_neither_taken_nor_answered_nor_cancelled(late_ms: int) -> None:
    world = Market()
    found, held = offered(world), offered(world, lots=1, least=1, conditions=SECURED)
    answer = op("trading", "answer", "PA", found, 6, 18, KB, EXPIRES_MS + 1)
    at = EXPIRES_MS + late_ms
    items = [
        world.make("KB", take("PA", found, 6, 120), created_ms=at),
        world.make("KB", answer, created_ms=at),
        world.make("PA", op("trading", "cancel", found), created_ms=at),
        world.make("KB", take("PA", held, 1, 20), created_ms=at),
    ]
    outcomes = world.block(*items, time_ms=at)
    assert [refusal(each) for each in outcomes] == [code(Trading.OFFER_ENDED)] * 4
    assert world.balance("PA/main", "BOND") == (60, 0), "what the offer held is free"


def test_a_millisecond_before_its_time_an_offer_is_still_taken() -> None:
    world = Market()
    found = offered(world)
    at = EXPIRES_MS - 1
    (outcome,) = world.block(world.make("KB", take("PA", found, 6, 120), created_ms=at), time_ms=at)
    assert refusal(outcome) == OK


# --- without holdings ---------------------------------------------------------------------------------------


def test_who_has_nothing_makes_no_secured_offer_and_takes_none() -> None:
    world = Market()
    empty = ("CNB/main", "CNB/main")
    terms = ("sell", "BOND", 5, 1, 1, "CZK", 20, empty, (), EXPIRES_MS, SECURED)
    assert is_refused(world.send("CNB", op("trading", "make_offer", *terms)), Assets.INSUFFICIENT_BALANCE)
    found = offered(world, lots=6, least=6, price=100, conditions=SECURED)
    before = holdings(world)
    assert is_refused(world.send("KB", take("PA", found, 6, 600)), Assets.INSUFFICIENT_BALANCE)
    assert holdings(world) == before
    assert world.record("trading", "offer", "PA", found).left == 6


@pytest.mark.parametrize(("seller", "lots", "price"), [("CNB", 1, 20), ("PA", 4, 200)])
def test_a_deal_without_holdings_stands_and_settles_neither_leg(seller: str, lots: int, price: int) -> None:
    """Once the seller lacks the bonds, once the buyer lacks the money."""
    world = Market()
    found = offered(world, seller, lots=lots, least=1, price=price)
    deal = made(world.apply("KB", take(seller, found, lots, lots * price)), "Agreed")
    before = holdings(world)
    for side in (seller, "KB"):
        assert is_refused(world.send(side, op("settlement", "settle", deal)), Assets.INSUFFICIENT_BALANCE)
    assert holdings(world) == before
    assert world.record("settlement", "deal", deal).status == "agreed"


# --- crossing cancellations ---------------------------------------------------------------------------------


def test_a_cancellation_and_an_acceptance_cross_and_the_first_counts() -> None:
    for world, order in both_orders(("PA", "cancel"), ("KB", "take")):
        found = offered(world, conditions=SECURED)
        calls = {"cancel": op("trading", "cancel", found), "take": take("PA", found, 6, 120)}
        outcomes = world.block(*[world.make(member, calls[what]) for member, what in order])
        assert [refusal(each) for each in outcomes] == [OK, code(Trading.OFFER_ENDED)]
        taken = order[0][1] == "take"
        assert len(world.rows("settlement", "deal")) == int(taken)
        assert world.balance("PA/main", "BOND")[1] == (30 if taken else 0)
        check_ledger(world.blocks(), world.genesis)


def test_both_sides_cancel_a_deal_at_once_and_it_is_cancelled_once() -> None:
    world = Market()
    deal = dealt(world, conditions=SECURED)
    cancel = op("settlement", "cancel", deal, "")
    outcomes = world.block(*[world.make(bank, cancel) for bank in ("PA", "KB", "PA", "KB")])
    assert [refusal(each) for each in outcomes] == [OK, OK, *[code(Settlement.DEAL_ENDED)] * 2]
    assert [world.balance(f"{bank}/main", "BOND")[1] for bank in ("PA", "KB")] == [0, 0]
    assert world.balance("KB/main")[1] == 0


def test_a_cancellation_and_a_settlement_cross_and_the_deal_ends_one_way() -> None:
    for world, order in both_orders(("PA", "cancel"), ("KB", "settle")):
        deal = dealt(world)
        world.apply("KB", op("settlement", "cancel", deal, ""))
        calls = {"cancel": op("settlement", "cancel", deal, ""), "settle": op("settlement", "settle", deal)}
        outcomes = world.block(*[world.make(member, calls[what]) for member, what in order])
        assert [refusal(each) for each in outcomes] == [OK, code(Settlement.DEAL_ENDED)]
        settled = order[0][1] == "settle"
        assert world.record("settlement", "deal", deal).status == ("settled" if settled else "cancelled")
        assert world.balance("KB/main", "BOND")[0] == (60 if settled else 40)


# --- both sides at the same moment --------------------------------------------------------------------------


def test_two_members_take_the_last_lots_at_once_and_one_has_them() -> None:
    for world, order in both_orders(("KB", "KB"), ("CNB", "CNB")):
        found = offered(world, lots=2, least=1)
        outcomes = world.block(*[world.make(bank, take("PA", found, 2, 40, bank)) for bank, _ in order])
        assert [refusal(each) for each in outcomes] == [OK, code(Trading.OFFER_ENDED)]
        (deal,) = world.rows("settlement", "deal").values()
        assert (deal.buyer, deal.lots) == (order[0][0], 2)


def test_two_members_answer_and_take_one_anothers_offers_at_once() -> None:
    """PA sells to KB while KB buys from PA: two offers, two deals, neither more than was offered."""
    world = Market()
    sells, buys = offered(world, "PA", lots=2, least=2), offered(world, "KB", "buy", lots=2, least=2)
    items = [world.make("KB", take("PA", sells, 2, 40)), world.make("PA", take("KB", buys, 2, 40, "PA"))]
    assert [refusal(each) for each in world.block(*items)] == [OK, OK]
    assert [(deal.seller, deal.lots) for deal in world.rows("settlement", "deal").values()] == [("PA", 2)] * 2


def test_both_sides_settle_and_settle_in_parts_at_once_and_every_lot_passes_once() -> None:
    calls = ("settle", "settle_partly", "settle_partly")
    for at, order in enumerate(permutations(calls)):
        world = Market()
        deal = dealt(world)
        items = []
        for number, call in enumerate(order):
            arguments = (deal, 3) if call == "settle_partly" else (deal,)
            items.append(world.make(("PA", "KB")[(number + at) % 2], op("settlement", call, *arguments)))
        outcomes = [refusal(each) for each in world.block(*items)]
        assert outcomes.count(OK) in (1, 2), order
        left = world.record("settlement", "deal", deal).left
        assert world.balance("KB/main", "BOND")[0] == 40 + (4 - left) * 5
        assert world.balance("KB/main")[0] == 500 - (4 - left) * 20
        check_ledger(world.blocks(), world.genesis)


# --- a suspended member -------------------------------------------------------------------------------------


def _suspend(world: Market, member: str) -> None:
    world.apply(ADMINISTRATOR, op("members", "suspend", member, "late"))


def test_a_suspended_member_makes_takes_and_settles_nothing_and_nobody_does_with_it() -> None:
    world = Market()
    its, others, deal = offered(world), offered(world, "KB", lots=2, least=1), dealt(world)
    before = holdings(world)
    _suspend(world, "PA")
    for operation in (
        take("KB", others, 1, 20, "PA"),
        op("trading", "cancel", its),
        op("settlement", "settle", deal),
        op("settlement", "cancel", deal, ""),
    ):
        (outcome,) = world.block(world.make("PA", operation))
        assert not isinstance(outcome, Receipt), "discarded: its signature counts for nothing"
    assert is_refused(world.send("KB", take("PA", its, 2, 40)), Members.MEMBER_INACTIVE)
    assert is_refused(world.send("KB", op("settlement", "settle", deal)), Members.MEMBER_INACTIVE)
    assert holdings(world) == before
    world.apply(ADMINISTRATOR, op("members", "resume", "PA"))
    world.apply("KB", op("settlement", "settle", deal))
    assert world.balance("KB/main", "BOND")[0] == 60


def test_a_member_suspended_in_a_cycle_is_taken_out_and_the_others_settle() -> None:
    world = Market()
    cycle = opened(world, 3)
    with_it, without = (
        dealt(world, 1),
        made(world.apply("CNB", take("KB", offered(world, "KB", lots=2, least=1), 2, 40, "CNB")), "Agreed"),
    )
    cycled(world, cycle, with_it, without)
    passes(world, CLOSES_MS)
    _suspend(world, "PA")
    world.apply("CNB", op("cycles", "settle", cycle))
    found = [world.record("settlement", "deal", deal) for deal in (with_it, without)]
    assert [(deal.status, deal.linked) for deal in found] == [("agreed", b""), ("settled", cycle)]
    assert world.balance("CNB/main", "BOND")[0] == 10
    check_ledger(world.blocks(), world.genesis)


def test_conditions_and_accounts_that_do_not_fit_are_refused_before_anything_is_held() -> None:
    world = Market()
    asked = ("sell", "BOND", 5, 4, 1, "CZK")
    for accounts, error in ((KB, Assets.NOT_OWNER), (("PA/none", "PA/main"), Assets.ACCOUNT_UNKNOWN)):
        operation = op("trading", "make_offer", *asked, 20, accounts, (), EXPIRES_MS, OPEN)
        assert is_refused(world.send("PA", operation), error)
    found = offered(world, conditions=SECURED)
    assert is_refused(
        world.send("KB", op("trading", "take", "PA", found, 6, "CZK", 120, CNB)), Assets.NOT_OWNER
    )
    assert world.balance("PA/main", "BOND") == (60, 30)
