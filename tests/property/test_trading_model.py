"""Random trading against a second opinion: who may take what, what is held, and what settlement moves.

The reference keeps offers, deals and balances in dictionaries and says of every call whether it is applied;
the ledger must agree, block after block, and the checker of invariants must find nothing in the blocks: both
legs or none, no lot twice, supply unchanged, holds to the unit.
"""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.ledger.types import Receipt
from tests.checker import check_ledger
from tests.contracts.market import CLOSES_MS, DUE_MS, EXPIRES_MS, Market, made, offer, opened, passes
from tests.kit import op

BANKS = ("PA", "KB", "CNB")
LOT = 5
HELD_ELSEWHERE = {("PA", "CZK"): 200}
pytestmark = pytest.mark.xdist_group("counted")
"""What the last test counts must have happened in its own process."""

COUNTS = {"applied": 0, "refused": 0, "settled": 0, "in a cycle": 0, "taken out": 0}

bank = st.sampled_from(BANKS)
pair = st.permutations(BANKS).map(lambda order: order[:2])
number = st.integers(0, 4)
lots = st.integers(1, 4)
price = st.integers(1, 60)
call = st.one_of(
    st.tuples(st.just("make_offer"), bank, st.sampled_from(("sell", "buy")), lots, price, st.booleans()),
    st.tuples(st.just("answer"), bank, number, lots, price),
    st.tuples(st.just("take"), bank, number, lots),
    st.tuples(st.just("take"), bank, number, lots),
    st.tuples(st.just("cancel"), bank, number),
    st.tuples(st.just("settle"), bank, number, st.integers(0, 3)),
    st.tuples(st.just("settle"), bank, number, st.just(0)),
    st.tuples(st.just("secure"), bank, number),
    st.tuples(st.just("enter"), bank, number, st.sampled_from((2, 3))),
    st.tuples(st.just("enter"), bank, number, st.just(3)),
    st.tuples(st.just("leave"), bank, number),
)
day = st.lists(call, min_size=20, max_size=50)


class Pit:
    """The reference. Offers and deals are dictionaries, numbered as they come."""

    def __init__(self) -> None:
        self.posted = {("PA", "BOND"): 60, ("KB", "BOND"): 40, ("CNB", "BOND"): 0}
        self.posted |= {("PA", "CZK"): 1_000, ("KB", "CZK"): 500, ("CNB", "CZK"): 400}
        self.offers: list[dict[str, Any]] = []
        self.deals: list[dict[str, Any]] = []

    def held(self, who: str, asset: str) -> int:
        total = HELD_ELSEWHERE.get((who, asset), 0)
        for row in self.offers:
            if row["secured"] and row["open"]:
                total += self._gives(row["side"], row["left"], row["price"], asset) * (row["maker"] == who)
        for deal in self.deals:
            for side, party in (("sell", "seller"), ("buy", "buyer")):
                if deal[party] == who and deal[f"{party}_held"]:
                    total += self._gives(side, deal["left"], deal["price"], asset)
        return total

    @staticmethod
    def _gives(side: str, count: int, price: int, asset: str) -> int:
        if side == "sell":
            return count * LOT if asset == "BOND" else 0
        return count * price if asset == "CZK" else 0

    def free(self, who: str, asset: str) -> int:
        return self.posted[who, asset] - self.held(who, asset)

    def _may_hold(self, *who: str) -> bool:
        return all(self.free(each, asset) >= 0 for each in who for asset in ("BOND", "CZK"))

    def make_offer(
        self, who: str, side: str, count: int, price: int, secured: bool, root: Any = None
    ) -> bool:
        row = {"maker": who, "side": side, "left": count, "price": price, "secured": secured}
        self.offers.append({**row, "open": True, "root": root})
        if secured and not self._may_hold(who):
            self.offers.pop()
            return False
        return True

    def answer(self, who: str, row: dict[str, Any], count: int, price: int) -> bool:
        if not row["open"] or row["maker"] == who or row["for"] not in ("", who) or count > row["left"]:
            return False
        side = "buy" if row["side"] == "sell" else "sell"
        return self.make_offer(who, side, count, price, row["secured"], row["root"] or row)

    def take(self, who: str, row: dict[str, Any], count: int) -> bool:
        root = row["root"]
        if not row["open"] or row["maker"] == who or row["for"] not in ("", who) or count > row["left"]:
            return False
        if root and (not root["open"] or count > root["left"]):
            return False
        before = [dict(each) for each in self.offers]
        for each in (row, root) if root else (row,):
            each["left"] -= count
            each["open"] = each["left"] > 0
        seller, buyer = (row["maker"], who) if row["side"] == "sell" else (who, row["maker"])
        deal = {"seller": seller, "buyer": buyer, "left": count, "price": row["price"]}
        deal |= {"seller_held": row["secured"], "buyer_held": row["secured"], "cycle": 0}
        self.deals.append({**deal, "lent": False, "wish": None})
        if row["secured"] and not self._may_hold(seller, buyer):
            self.deals.pop()
            for each, was in zip(self.offers, before, strict=True):
                each.update(was)
            return False
        return True

    def cancel(self, who: str, row: dict[str, Any]) -> bool:
        if row["maker"] != who or not row["open"]:
            return False
        row["open"] = False
        return True

    def settle(self, who: str, deal: dict[str, Any], count: int) -> bool:
        count = count or deal["left"]
        if deal["cycle"] or who not in (deal["seller"], deal["buyer"]) or not 0 < count <= deal["left"]:
            return False
        seller, buyer = deal["seller"], deal["buyer"]
        bonds = self.free(seller, "BOND") + deal["seller_held"] * count * LOT
        money = self.free(buyer, "CZK") + deal["buyer_held"] * count * deal["price"]
        if bonds < count * LOT or money < count * deal["price"]:
            return False
        deal["left"] -= count
        for asset, giver, taker, amount in (
            ("BOND", seller, buyer, count * LOT),
            ("CZK", buyer, seller, count * deal["price"]),
        ):
            self.posted[giver, asset] -= amount
            self.posted[taker, asset] += amount
        COUNTS["settled"] += 1
        return True

    def secure(self, who: str, deal: dict[str, Any]) -> bool:
        party = next((side for side in ("seller", "buyer") if deal[side] == who), "")
        if not party or not deal["left"] or deal[f"{party}_held"]:
            return False
        deal[f"{party}_held"] = True
        if not self._may_hold(who):
            deal[f"{party}_held"] = False
            return False
        return True

    def enter(self, who: str, deal: dict[str, Any], model: int) -> bool:
        if who not in (deal["seller"], deal["buyer"]) or not deal["left"] or deal["cycle"]:
            return False
        if deal["wish"] == (model, who):
            return False
        if deal["wish"] is None or deal["wish"][0] != model:
            deal["wish"] = (model, who)
            return True
        if model == 2 and not deal["seller_held"]:
            if self.free(deal["seller"], "BOND") < deal["left"] * LOT:
                return False
            deal |= {"seller_held": True, "lent": True}
        deal |= {"cycle": model, "wish": None}
        return True

    def leave(self, who: str, deal: dict[str, Any]) -> bool:
        mine = bool(deal["left"]) and deal["wish"] is not None and deal["wish"][1] == who
        if mine:
            deal["wish"] = None
        return mine

    def settle_cycle(self, model: int) -> None:
        """All that can be paid: while a bank lacks something, the one that lacks most, cash first, goes."""
        kept = [deal for deal in self.deals if deal["cycle"] == model]
        while lacking := sorted(self._lacks(kept, model)):
            out = lacking[0][2]
            for deal in [deal for deal in kept if out in (deal["seller"], deal["buyer"])]:
                COUNTS["taken out"] += 1
                kept.remove(deal)
        for deal in [deal for deal in self.deals if deal["cycle"] == model and deal not in kept]:
            deal |= {"cycle": 0, "seller_held": deal["seller_held"] and not deal["lent"], "lent": False}
        for deal in kept:
            COUNTS["in a cycle"] += 1
            for who, asset, amount in self._changes(deal):
                self.posted[who, asset] += amount
            deal["left"] = 0

    @staticmethod
    def _changes(deal: dict[str, Any]) -> list[tuple[str, str, int]]:
        units, money = deal["left"] * LOT, deal["left"] * deal["price"]
        seller, buyer = deal["seller"], deal["buyer"]
        return [
            (seller, "BOND", -units),
            (buyer, "BOND", units),
            (buyer, "CZK", -money),
            (seller, "CZK", money),
        ]

    def _lacks(self, kept: list[dict[str, Any]], model: int) -> list[tuple[int, int, str]]:
        found = []
        for who in BANKS:
            for kind, asset, party in ((0, "CZK", "buyer"), (1, "BOND", "seller")):
                if asset == "BOND" and model == 2:
                    continue
                changes = [change for deal in kept for change in self._changes(deal)]
                net = sum(amount for each, what, amount in changes if (each, what) == (who, asset))
                own = [deal for deal in kept if deal[party] == who and deal[f"{party}_held"]]
                held = sum(deal["left"] * (deal["price"] if kind == 0 else LOT) for deal in own)
                left = self.free(who, asset) + held + net
                if net < 0 and left < 0:
                    found.append((kind, left, who))
        return found


class Twin:
    """The ledger and the reference side by side."""

    def __init__(self) -> None:
        self.world, self.pit = Market(), Pit()
        self.offers: list[tuple[str, bytes]] = []
        self.deals: list[bytes] = []
        self.cycles = {model: opened(self.world, model) for model in (2, 3)}
        self.run("make_offer", "PA", "sell", 4, 20, False)  # noqa: FBT003 - unsecured
        self.run("make_offer", "KB", "buy", 4, 30, True)  # noqa: FBT003 - secured
        self.run("take", "KB", 0, 2)
        self.run("take", "PA", 1, 1)

    def run(self, method: str, who: str, *rest: Any) -> None:
        listed = self.deals if method in ("settle", "secure", "enter", "leave") else self.offers
        if method != "make_offer" and rest[0] >= len(listed):
            return
        operation, expected = getattr(self, f"_{method}")(who, *rest)
        outcome = self.world.send(who, operation)
        assert (outcome.code == 0) == expected, (method, who, rest, outcome.codespace, outcome.code)
        COUNTS["applied" if expected else "refused"] += 1
        if expected:
            self._remember(who, outcome)
        self.compare((method, who, rest))

    def compare(self, after: Any) -> None:
        """Posted and held of every bank and asset."""
        for member in BANKS:
            for asset in ("BOND", "CZK"):
                said = (self.pit.posted[member, asset], self.pit.held(member, asset))
                assert self.world.balance(f"{member}/main", asset) == said, after

    def settle_cycles(self) -> None:
        """The cycles' time has come."""
        passes(self.world, CLOSES_MS)
        for model, cycle in self.cycles.items():
            self.world.apply("PA", op("cycles", "settle", cycle))
            self.pit.settle_cycle(model)
            self.compare(f"cycle of model {model}")
            for row, deal in zip(self.pit.deals, self.deals, strict=True):
                found = self.world.record("settlement", "deal", deal)
                assert (found.left == 0) == (row["left"] == 0), f"cycle of model {model}"

    def _remember(self, who: str, outcome: Receipt) -> None:
        names = [event.event for event in outcome.events]
        if "Offered" in names:
            self.offers.append((who, made(outcome, "Offered")))
        if "Agreed" in names:
            self.deals.append(made(outcome, "Agreed"))

    def _make_offer(self, who: str, side: str, count: int, price: int, secured: bool) -> Any:
        expected = self.pit.make_offer(who, side, count, price, secured)
        if expected:
            self.pit.offers[-1]["for"] = ""
        at = (0, DUE_MS, DUE_MS, int(secured), 1)
        return offer(who, side, lots=count, least=1, price=price, conditions=at), expected

    def _answer(self, who: str, at: int, count: int, price: int) -> Any:
        maker, offer_id = self.offers[at]
        expected = self.pit.answer(who, self.pit.offers[at], count, price)
        if expected:
            self.pit.offers[-1]["for"] = maker
        accounts = (f"{who}/main", f"{who}/main")
        return op("trading", "answer", maker, offer_id, count, price, accounts, EXPIRES_MS), expected

    def _take(self, who: str, at: int, count: int) -> Any:
        maker, offer_id = self.offers[at]
        row = self.pit.offers[at]
        amount, accounts = count * row["price"], (f"{who}/main", f"{who}/main")
        operation = op("trading", "take", maker, offer_id, count, "CZK", amount, accounts)
        return operation, self.pit.take(who, row, count)

    def _cancel(self, who: str, at: int) -> Any:
        expected = self.pit.cancel(who, self.pit.offers[at])
        return op("trading", "cancel", self.offers[at][1]), expected

    def _settle(self, who: str, at: int, count: int) -> Any:
        deal = self.deals[at]
        operation = (
            op("settlement", "settle_partly", deal, count) if count else op("settlement", "settle", deal)
        )
        return operation, self.pit.settle(who, self.pit.deals[at], count)

    def _enter(self, who: str, at: int, model: int) -> Any:
        operation = op("cycles", "enter", self.cycles[model], self.deals[at])
        return operation, self.pit.enter(who, self.pit.deals[at], model)

    def _leave(self, who: str, at: int) -> Any:
        return op("cycles", "leave", self.deals[at]), self.pit.leave(who, self.pit.deals[at])

    def _secure(self, who: str, at: int) -> Any:
        return op("settlement", "secure", self.deals[at]), self.pit.secure(who, self.pit.deals[at])


@settings(max_examples=30, deadline=None)
@given(day)
def test_trading_and_settlement_do_what_the_reference_does(calls: list[Any]) -> None:
    twin = Twin()
    for each in calls:
        twin.run(*each)
    twin.settle_cycles()
    twin.world.block(time_ms=EXPIRES_MS)
    assert not twin.world.rows("trading", "open")
    for row in twin.pit.offers:
        row["open"] = False
    for member in BANKS:
        assert twin.world.balance(f"{member}/main", "BOND")[1] == twin.pit.held(member, "BOND")
    twin.world.block(time_ms=DUE_MS)
    check_ledger(twin.world.blocks(), twin.world.genesis)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(pair, lots, st.integers(1, 200), st.booleans()), min_size=3, max_size=9),
    st.sampled_from((2, 3, 3)),
)
def test_a_cycle_settles_what_the_reference_settles(agreed: list[Any], model: int) -> None:
    """Deals between any two banks, dear enough that some cannot be paid, all in one cycle."""
    twin = Twin()
    for (seller, buyer), count, price, secure in agreed:
        twin.run("make_offer", seller, "sell", count, price, False)  # noqa: FBT003 - unsecured
        twin.run("take", buyer, len(twin.offers) - 1, count)
        if secure:
            twin.run("secure", seller, len(twin.deals) - 1)
        for side in (seller, buyer):
            twin.run("enter", side, len(twin.deals) - 1, model)
    twin.settle_cycles()
    check_ledger(twin.world.blocks(), twin.world.genesis)


def test_the_random_calls_were_worth_something() -> None:
    print(COUNTS)
    assert COUNTS["settled"] >= 10
    assert COUNTS["applied"] >= 100
    assert COUNTS["refused"] >= 100
    assert COUNTS["in a cycle"] >= 20
    assert COUNTS["taken out"] >= 10
