"""The checker's part of trading: offers, deals and what they hold, kept a second time (checker.py).

I8 delivery versus payment: what a deal's facts say was settled is, in both legs, what its open lots lost;
what passes in a cycle is, for every account, what the legs of its deals come to. No lot is taken or settled
twice: an offer's deals and its open lots add up to its lots. What offers and deals hold is part of the
accounts' held balances, to the unit.
"""

from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from contracts.deals import OfferTaken, Settled
from contracts.settlement_cycles import Passed, SettledInCycle
from node.ledger.contract import Fact

OPEN_DEALS = ("agreed", "failing")


class Market:
    """Rows of offers and deals as the writes show them. pending: the checker's sums of holds, added to."""

    def __init__(
        self, pending: dict[tuple[str, str], int], fail: Callable[[str, int, str], NoReturn]
    ) -> None:
        self.pending = pending
        self.fail = fail
        self.offers: dict[bytes, list[Any]] = {}
        self.deals: dict[bytes, list[Any]] = {}
        self.open: dict[bytes, bytes] = {}
        self.taken: dict[bytes, int] = {}
        self.settled: dict[bytes, int] = {}
        self.netted: dict[tuple[str, str], int] = {}
        self.tables: dict[bytes, Callable[[int, bytes, bytes, Any], None]] = {
            b"trading\0offer\0": self._offer,
            b"trading\0open\0": self._open,
            b"settlement\0deal\0": self._deal,
        }

    def _offer(self, height: int, key: bytes, prefix: bytes, row: Any) -> None:
        before = self.offers.get(key)
        if row is None or (
            before and (before[:5] + before[6:15] != row[:5] + row[6:15] or row[5] > before[5])
        ):
            self.fail("I2", height, f"offer {key.hex()} changed from {before} to {row}")
        if before and before[15] != "open":
            self.fail("I2", height, f"offer {key.hex()} had ended and became {row}")
        if (row[5] == 0) != (row[15] == "filled"):
            self.fail("I2", height, f"offer {key.hex()} is {row[15]} with {row[5]} lots left")
        self._change(offer_holds(before), -1)
        self._change(offer_holds(row), 1)
        self.offers[key] = row

    def _open(self, height: int, key: bytes, prefix: bytes, row: Any) -> None:
        if row is None:
            self.open.pop(key[-32:], None)
        else:
            self.open[key[-32:]] = key

    def _deal(self, height: int, key: bytes, prefix: bytes, row: Any) -> None:
        before = self.deals.get(key)
        if row is None or (
            before and (before[:5] + before[6:11] != row[:5] + row[6:11] or row[5] > before[5])
        ):
            self.fail("I2", height, f"deal {key.hex()} changed from {before} to {row}")
        if before and before[15] not in OPEN_DEALS:
            self.fail("I2", height, f"deal {key.hex()} had ended and became {row}")
        self._change(deal_holds(before), -1)
        self._change(deal_holds(row), 1)
        self.deals[key] = row

    def _change(self, holds: Iterable[tuple[str, str, int]], sign: int) -> None:
        for account, asset, amount in holds:
            self.pending[account, asset] = self.pending.get((account, asset), 0) + sign * amount

    def held(self) -> dict[tuple[str, str], int]:
        """What offers and deals hold, by account and asset."""
        sums: dict[tuple[str, str], int] = {}
        rows = [*map(offer_holds, self.offers.values()), *map(deal_holds, self.deals.values())]
        for account, asset, amount in [hold for holds in rows for hold in holds]:
            sums[account, asset] = sums.get((account, asset), 0) + amount
        return sums

    def check_settled(self, height: int, facts: Iterable[Fact]) -> None:
        """What was told of lots is what the rows say: both legs, in the deal's proportion, once."""
        for fact in facts:
            if isinstance(fact, Settled):
                self._settle(height, fact)
            elif isinstance(fact, SettledInCycle):
                self._settle_in_cycle(height, fact)
            elif isinstance(fact, Passed):
                self._pass(fact.source, fact.asset, -fact.amount)
                self._pass(fact.destination, fact.asset, fact.amount)
            elif isinstance(fact, OfferTaken):
                for offer in (fact.offer, self._root(fact.offer)):
                    self.taken[offer] = self.taken.get(offer, 0) + fact.lots
        if unpaid := {place: amount for place, amount in self.netted.items() if amount}:
            self.fail("I8", height, f"a cycle's transfers are not its deals' legs: {unpaid}")
        for key, row in self.deals.items():
            if row[4] - row[5] != self.settled.get(key, 0) or (row[15] == "settled") != (row[5] == 0):
                self.fail(
                    "I8", height, f"deal {key.hex()} has settled {self.settled.get(key, 0)}, and is {row}"
                )
        for key, row in self.offers.items():
            if row[4] - row[5] != self.taken.get(key[-32:], 0):
                self.fail(
                    "I8",
                    height,
                    f"of offer {key.hex()} {self.taken.get(key[-32:], 0)} lots were taken: {row}",
                )
            if (key[-32:] in self.open) != (row[15] == "open"):
                self.fail(
                    "I2", height, f"offer {key.hex()} is {row[15]}, its place on the list says otherwise"
                )

    def _settle_in_cycle(self, height: int, fact: SettledInCycle) -> None:
        """A deal's legs, which the cycle's transfers must come to, over all its deals."""
        row = self.deals[fact.deal]
        lots = fact.units // row[3]
        if (fact.units, fact.amount) != (lots * row[3], lots * row[7]):
            self.fail("I8", height, f"{fact} is not of {row}")
        legs = ((row[8][0], row[9][0], row[2], fact.units), (row[9][1], row[8][1], row[6], fact.amount))
        for source, destination, asset, amount in legs:
            self._pass(source, asset, amount)
            self._pass(destination, asset, -amount)
        self.settled[fact.deal] = self.settled.get(fact.deal, 0) + lots

    def _pass(self, account: str, asset: str, amount: int) -> None:
        self.netted[account, asset] = self.netted.get((account, asset), 0) + amount

    def _root(self, offer: bytes) -> bytes:
        """What an answer answers; empty for other offers."""
        return next(bytes(row[14]) for key, row in self.offers.items() if key.endswith(offer))

    def _settle(self, height: int, fact: Settled) -> None:
        row = self.deals[fact.deal]
        lots = fact.units // row[3]
        said = (fact.asset, fact.units, fact.asset_from, fact.asset_to)
        paid = (fact.against, fact.amount, fact.cash_from, fact.cash_to)
        if said != (row[2], lots * row[3], row[8][0], row[9][0]):
            self.fail("I8", height, f"a settlement of {fact} is not of {row}")
        if paid != (row[6], lots * row[7], row[9][1], row[8][1]):
            self.fail("I8", height, f"a settlement paid {paid} for {lots} lots of {row}")
        self.settled[fact.deal] = self.settled.get(fact.deal, 0) + lots


def offer_holds(row: Any) -> list[tuple[str, str, int]]:
    """(account, asset, amount) that an offer holds."""
    if row is None or row[15] != "open" or not row[12][3] or not row[8]:
        return []
    if row[1] == "sell":
        return [(row[9][0], row[2], row[5] * row[3])]
    return [(row[9][1], row[7], row[5] * row[8])]


def deal_holds(row: Any) -> list[tuple[str, str, int]]:
    """(account, asset, amount) that a deal holds, a leg each."""
    if row is None or row[15] not in OPEN_DEALS:
        return []
    legs = [(row[11], row[8][0], row[2], row[5] * row[3]), (row[12], row[9][1], row[6], row[5] * row[7])]
    return [(account, asset, amount) for held, account, asset, amount in legs if held]
