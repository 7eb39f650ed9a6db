"""Random trading against a second opinion: who may take what, what is held, and what settlement moves.

The reference keeps offers, deals and balances in dictionaries and says of every call whether it is applied;
the ledger must agree, block after block, and the checker of invariants must find nothing in the blocks: both
legs or none, no lot twice, supply unchanged, holds to the unit.
"""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from node.ledger.types import Receipt
from tests.checker import check_ledger
from tests.contracts.market import DUE_MS, EXPIRES_MS, Market, made, offer
from tests.kit import op

BANKS = ("PA", "KB", "CNB")
LOT = 5
HELD_ELSEWHERE = {("PA", "CZK"): 200}
COUNTS = {"applied": 0, "refused": 0, "settled": 0}

bank = st.sampled_from(BANKS)
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
        self.deals.append({**deal, "seller_held": row["secured"], "buyer_held": row["secured"]})
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
        if who not in (deal["seller"], deal["buyer"]) or not 0 < count <= deal["left"]:
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


class Twin:
    """The ledger and the reference side by side."""

    def __init__(self) -> None:
        self.world, self.pit = Market(), Pit()
        self.offers: list[tuple[str, bytes]] = []
        self.deals: list[bytes] = []
        self.run("make_offer", "PA", "sell", 4, 20, False)  # noqa: FBT003 - unsecured
        self.run("make_offer", "KB", "buy", 4, 30, True)  # noqa: FBT003 - secured
        self.run("take", "KB", 0, 2)
        self.run("take", "PA", 1, 1)

    def run(self, method: str, who: str, *rest: Any) -> None:
        listed = self.deals if method in ("settle", "secure") else self.offers
        if method != "make_offer" and rest[0] >= len(listed):
            return
        operation, expected = getattr(self, f"_{method}")(who, *rest)
        outcome = self.world.send(who, operation)
        assert (outcome.code == 0) == expected, (method, who, rest, outcome.codespace, outcome.code)
        COUNTS["applied" if expected else "refused"] += 1
        if expected:
            self._remember(who, outcome)
        for member in BANKS:
            for asset in ("BOND", "CZK"):
                said = (self.pit.posted[member, asset], self.pit.held(member, asset))
                assert self.world.balance(f"{member}/main", asset) == said, (method, who, rest)

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

    def _secure(self, who: str, at: int) -> Any:
        return op("settlement", "secure", self.deals[at]), self.pit.secure(who, self.pit.deals[at])


@settings(max_examples=30, deadline=None)
@given(day)
def test_trading_and_settlement_do_what_the_reference_does(calls: list[Any]) -> None:
    twin = Twin()
    for each in calls:
        twin.run(*each)
    twin.world.block(time_ms=EXPIRES_MS)
    assert not twin.world.rows("trading", "open")
    for row in twin.pit.offers:
        row["open"] = False
    for member in BANKS:
        assert twin.world.balance(f"{member}/main", "BOND")[1] == twin.pit.held(member, "BOND")
    twin.world.block(time_ms=DUE_MS)
    check_ledger(twin.world.blocks(), twin.world.genesis)


def test_the_random_calls_were_worth_something() -> None:
    print(COUNTS)
    assert COUNTS["settled"] >= 10
    assert COUNTS["applied"] >= 100
    assert COUNTS["refused"] >= 100
