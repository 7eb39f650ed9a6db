"""The trading day's market: bonds come onto the register, are offered and sold, and are settled delivery
versus payment; and a deal of which one leg is lacking moves neither.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from contracts.deals import Accounts, Conditions
from contracts.terms import Terms
from node.client import Refused, operation
from node.demo.consortium import ASSET, CENTRAL, DemoFailed
from node.demo.desk import Desk, events, main

ISSUERS: Final = 3
BUYERS: Final = 3
NOMINAL: Final = 100_000
"""Hellers that a bond stands for."""
PRICES: Final = (99_250, 100_400, 98_725)
"""Hellers that a bond of each issuer costs."""
LOTS_MAX: Final = 40
SHARE: Final = 8
"""A buyer spends at most an eighth of its money on one issuer's bonds."""
RATE: Final = 35_000
"""Of a year, in millionths: 3.5%."""
HOUR_MS: Final = 3_600_000
YEAR_MS: Final = 365 * 24 * HOUR_MS
NO_MONEY: Final = "assets/14 INSUFFICIENT_BALANCE"


@dataclass(frozen=True, slots=True)
class Traded:
    """A settled deal: so many bonds against so many hellers, both at the height of one block."""

    bond: str
    seller: str
    buyer: str
    lots: int
    price: int
    height: int

    @property
    def amount(self) -> int:
        """Hellers in all."""
        return self.lots * self.price


@dataclass(frozen=True, slots=True)
class Failed:
    """A deal that could not be settled: the code that it got."""

    bond: str
    seller: str
    buyer: str
    lots: int
    price: int
    code: str

    @property
    def amount(self) -> int:
        """Hellers in all."""
        return self.lots * self.price


def bond_of(bank: str) -> str:
    """The asset's name."""
    return f"{bank[:11]}-BOND"


def roles(issuers: list[str]) -> dict[str, tuple[str, ...]]:
    """CNB issues CZK and keeps the register of securities; the others issue bonds."""
    return dict.fromkeys(issuers, ("issuer", "participant")) | {
        CENTRAL: ("issuer", "registrar", "participant")
    }


def register_bonds(desk: Desk, issuers: list[str]) -> int:
    """Each issuer applies, CNB reviews and approves, the issuer issues to itself; how many bonds are out."""
    starts_ms = desk.client.status().time_ms
    for bank in issuers:
        bond = bond_of(bank)
        document = hashlib.sha256(f"{bond}: 3.5 per cent, five years".encode()).digest()
        terms = Terms(ASSET, NOMINAL, RATE, "ACT/360", starts_ms, starts_ms + 5 * YEAR_MS)
        cap = LOTS_MAX * (BUYERS + 1)
        desk.act(bank, operation("registration", "apply", bond, "bond", 0, cap, document, "", "", terms))
        desk.act(
            CENTRAL,
            operation("registration", "take_up", bond),
            operation("registration", "approve", bond, document, "terms seen"),
        )
        desk.act(bank, operation("assets", "issue", bond, main(bank), cap, "first issue"))
    return len(issuers) * LOTS_MAX * (BUYERS + 1)


def richest(desk: Desk, issuers: list[str]) -> list[str]:
    """The banks that have most to spend."""
    others = [bank for bank in desk.banks if bank not in issuers]
    return sorted(others, key=lambda bank: (-desk.spendable(bank, ASSET), bank))[:BUYERS]


def trade(desk: Desk, issuers: list[str]) -> list[Traded]:
    """Every issuer sells to each of the richest banks, as far as their money goes."""
    buyers = richest(desk, issuers)
    wanted = {
        (bank, buyer): min(LOTS_MAX, desk.spendable(buyer, ASSET) // SHARE // price)
        for bank, price in zip(issuers, PRICES, strict=True)
        for buyer in buyers
    }
    return [
        _deliver(desk, seller, buyer, lots, PRICES[issuers.index(seller)])
        for (seller, buyer), lots in wanted.items()
        if lots
    ]


def _deliver(desk: Desk, seller: str, buyer: str, lots: int, price: int) -> Traded:
    """Offer, take, settle. Raises: DemoFailed where not both legs passed."""
    before = _holdings(desk, seller, buyer, bond_of(seller))
    deal = agree(desk, seller, buyer, lots, price, secured=1)
    receipt = desk.act(buyer, operation("settlement", "settle", deal))
    after = _holdings(desk, seller, buyer, bond_of(seller))
    moved = [now - then for now, then in zip(after, before, strict=True)]
    if moved != [-lots, lots, lots * price, -lots * price]:
        raise DemoFailed(f"deal {deal.hex()} moved {moved}")
    return Traded(bond_of(seller), seller, buyer, lots, price, receipt.height)


def fail(desk: Desk, seller: str) -> Failed:
    """A deal for which its buyer, the poorest bank, lacks the money: neither leg moves. Raises:
    DemoFailed.
    """
    bond, price = bond_of(seller), PRICES[0]
    others = [bank for bank in desk.banks if bank != seller]
    buyer = min(others, key=lambda bank: (desk.spendable(bank, ASSET), bank))
    lots = LOTS_MAX
    price = max(price, desk.spendable(buyer, ASSET) // lots + 1)
    deal = agree(desk, seller, buyer, lots, price, secured=0)
    before = _holdings(desk, seller, buyer, bond)
    try:
        desk.act(buyer, operation("settlement", "settle", deal))
    except Refused as refused:
        if refused.code != NO_MONEY or _holdings(desk, seller, buyer, bond) != before:
            raise DemoFailed(f"the deal without money: {refused.code}") from refused
        return Failed(bond, seller, buyer, lots, price, refused.code)
    raise DemoFailed("a deal was settled without money")


def agree(
    desk: Desk, seller: str, buyer: str, lots: int, price: int, *, secured: int, bond: str = ""
) -> bytes:
    """An offer to one, taken whole; the deal's id. bond: the seller's own, where none is named."""
    now = desk.client.status().time_ms
    conditions = Conditions(0, now + 2 * HOUR_MS, now + 3 * HOUR_MS, 1 if secured else 0, 0)
    accounts = Accounts(main(seller), main(seller))
    terms = ("sell", bond or bond_of(seller), 1, lots, lots, ASSET, price, accounts, (buyer,), now + HOUR_MS)
    made = desk.act(seller, operation("trading", "make_offer", *terms, conditions))
    offer = named(events(made, "Offered"), "offer")
    money = (ASSET, lots * price, Accounts(main(buyer), main(buyer)))
    taken = desk.act(buyer, operation("trading", "take", seller, offer, lots, *money))
    return named(events(taken, "OfferTaken"), "deal")


def named(found: Iterator[dict[str, object]], field: str) -> bytes:
    """An id that an event names."""
    return bytes.fromhex(str(next(found)[field]))


def _holdings(desk: Desk, seller: str, buyer: str, bond: str) -> list[int]:
    """(seller's bonds, buyer's bonds, seller's money, buyer's money), held or not."""
    return [
        desk.client.balance(main(bank), asset).posted for asset in (bond, ASSET) for bank in (seller, buyer)
    ]
