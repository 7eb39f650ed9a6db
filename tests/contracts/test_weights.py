"""What a signing policy weighs of trading: every call that commits a bank to a deal, by both its legs."""

from collections.abc import Callable
from typing import Any, Final

import pytest

from contracts.institutions import Rule
from node.ledger.errors import LedgerError
from node.ledger.types import Operation
from tests.contracts.market import EXPIRES_MS as EXPIRES
from tests.contracts.market import (
    KB,
    PA,
    SECURED,
    Market,
    dealt,
    fixing,
    made,
    offer,
    offered,
    take,
)
from tests.kit import Consortium, discarded, is_discarded, new_key, op, refusal

Made = Callable[[Market], Operation]


def _answer(world: Market) -> Operation:
    request = op("trading", "request", "buy", "BOND", 5, 6, 1, "CZK", KB, (), EXPIRES, SECURED)
    asked = made(world.apply("KB", request), "Offered")
    return op("trading", "answer", "KB", asked, 4, 21, PA, EXPIRES)


def _take(world: Market) -> Operation:
    return take("KB", offered(world, "KB", "buy", price=21), 4, 84, taker="PA")


def _take_quote(world: Market) -> Operation:
    request = op("trading", "request", "buy", "BOND", 5, 6, 1, "CZK", PA, (), EXPIRES, SECURED)
    asked = made(world.apply("PA", request), "Offered")
    quote = op("trading", "answer", "PA", asked, 4, 21, KB, EXPIRES)
    return take("KB", made(world.apply("KB", quote), "Offered"), 4, 84, taker="PA")


def _of_deal(method: str, *rest: Any, lots: int = 4) -> Made:
    return lambda world: op("settlement", method, dealt(world, lots=lots, price=21), *rest)


def _settle_set(world: Market) -> Operation:
    deals = (dealt(world, lots=3, price=21), dealt(world, lots=1, price=21))
    linked = made(world.apply("PA", op("settlement", "link", deals)), "Linked")
    world.apply("KB", op("settlement", "join", linked))
    return op("settlement", "settle_set", linked)


WEIGHED: Final[dict[str, Made]] = {
    "make_offer to sell": lambda _: offer("PA", lots=4, price=21),
    "make_offer to buy": lambda _: offer("PA", "buy", lots=4, price=21),
    "answer with a quote": _answer,
    "take": _take,
    "take a quote": _take_quote,
    "settle": _of_deal("settle"),
    "settle_partly": _of_deal("settle_partly", 4, lots=5),
    "secure": _of_deal("secure"),
    "settle_set": _settle_set,
}
"""Calls of PA's that commit 4 lots: 20 BOND one way and 84 CZK the other."""


@pytest.mark.parametrize("asset", ["BOND", "CZK", ""])
@pytest.mark.parametrize("name", WEIGHED)
@pytest.mark.evidence(
    "ACT2",
    asset="balances",
    threat="one officer trades what takes two",
    mitigation="a deal is weighed by both legs",
)
def test_a_rule_by_amount_binds_what_commits_value(name: str, asset: str) -> None:
    world, total = Market(), {"BOND": 20, "CZK": 84, "": 104}[asset]
    world.apply("PA", op("members", "register_key", new_key("second")))
    call = WEIGHED[name](world)
    both = ("PA-officer", "second")
    world.apply("PA", op("members", "set_policy", (Rule("*", "*", asset, total, 2),)))
    alone = world.make("PA", call)
    assert is_discarded(discarded(world, alone), LedgerError.POLICY_NOT_MET)
    world.apply("PA", op("members", "set_policy", (Rule("*", "*", asset, total + 1, 2),)), officers=both)
    (outcome,) = world.block(world.make("PA", call))
    assert refusal(outcome) == ("", 0), name


def test_amounts_that_are_split_over_offers_of_one_transaction_are_weighed_together() -> None:
    world = Market()
    world.apply("PA", op("members", "register_key", new_key("second")))
    world.apply("PA", op("members", "set_policy", (Rule("trading", "*", "CZK", 84, 2),)))
    parts = [offer("PA", lots=2, price=21), offer("PA", lots=2, price=21)]
    assert is_discarded(discarded(world, world.make("PA", *parts)), LedgerError.POLICY_NOT_MET)
    world.apply("PA", parts[0])


def test_a_payment_to_holders_weighs_all_that_is_owed_still_whatever_the_piece() -> None:
    world = Consortium()
    fixing(world)
    holders = ("PA/main", "KB/main")
    world.apply("CNB", op("servicing", "fix", "BOND", 1, holders))
    owed = world.record("servicing", "action", "BOND", 1).owed
    world.apply("CNB", op("members", "register_key", new_key("second")))
    world.apply("CNB", op("members", "set_policy", (Rule("*", "*", "CZK", owed, 2),)))
    for piece in (holders, holders[:1], holders[1:]):
        call = op("servicing", "pay", "BOND", 1, "CNB/main", "CNB/main", piece)
        assert is_discarded(discarded(world, world.make("CNB", call)), LedgerError.POLICY_NOT_MET)
    world.apply("CNB", call, officers=("CNB-officer", "second"))
    rest = op("servicing", "pay", "BOND", 1, "CNB/main", "CNB/main", holders[:1])
    world.apply("CNB", rest)  # less is owed now


def test_a_call_about_a_deal_that_nobody_knows_is_refused_and_weighs_nothing() -> None:
    world = Market()
    world.apply("PA", op("members", "register_key", new_key("second")))
    world.apply("PA", op("members", "set_policy", (Rule("*", "*", "CZK", 1, 2),)))
    outcomes = world.block(
        world.make("PA", op("settlement", "settle", bytes(32))),
        world.make("PA", take("KB", bytes(32), 1, 21, taker="PA")),
    )
    assert [refusal(outcome) for outcome in outcomes] == [("settlement", 1), ("trading", 7)]
