"""The trading day's deals that settle together: two settlement cycles (delivery versus payment, models 2 and
3), a linked set that settles all or none, and what two banks owe one another set off without cash.

Each is compared with the balances before and after; what was promised in words is held in figures.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from contracts.terms import Terms
from node.client import Refused, operation
from node.demo.consortium import ASSET, CENTRAL, DemoFailed
from node.demo.delivered import PRICES, Traded, agree, bond_of, named
from node.demo.desk import Desk, events, main
from node.ledger.types import Operation, Receipt

CYCLE_MS: Final = 5_000
"""A settlement cycle of this play is open for so long: many times as long as its deals take to enter."""
HOUR_MS: Final = 3_600_000
PAUSE_SECONDS: Final = 0.2
WAIT_SECONDS: Final = 60.0
LOTS_MAX: Final = 5
MARGIN: Final = 150
"""Hellers a bond, by which each bank of a chain sells dearer than it bought."""
LOAN: Final = 90_000_000
DEPOSIT: Final = 65_000_000
"""What two banks owe one another, in hellers."""
OPEN: Final = "cycles/8 CYCLE_OPEN"
LINKED: Final = "settlement/5 DEAL_LINKED"


@dataclass(frozen=True, slots=True)
class Together:
    """What settled together. how: one of the four ways. cash_gross, bonds_gross: what the deals come to one
    by one; cash_moved, bonds_moved: what passed. story: who with whom.
    """

    how: str
    deals: int
    cash_gross: int
    cash_moved: int
    bonds_gross: int
    bonds_moved: int
    story: str


@dataclass(frozen=True, slots=True)
class Sale:
    """A deal to be made: so many bonds at hellers each."""

    seller: str
    buyer: str
    bond: str
    price: int
    lots: int


@dataclass(frozen=True, slots=True)
class Cycle:
    """An open settlement cycle with its deals."""

    model: int
    id: bytes
    sales: tuple[Sale, ...]


def settle_together(desk: Desk, issuers: Sequence[str], deals: Sequence[Traded]) -> list[Together]:
    """All four ways; without bonds to sell on, the offset alone. While the cycles are open the linked set and
    the offset take place. deals: those before, by which banks have bonds to sell. Raises DemoFailed where
    anything moved otherwise than it should.
    """
    one, two, three = issuers
    offset = _set_off(desk, one, two)
    buyers = list(dict.fromkeys(deal.buyer for deal in deals))
    if len(deals) < len(issuers) * len(buyers) or len(buyers) < len(issuers):
        return [offset]
    first, second, third = buyers[:3]
    lots = min(LOTS_MAX, *(deal.lots for deal in deals))
    ring = (
        Sale(one, first, bond_of(one), PRICES[0], lots),
        Sale(first, second, bond_of(two), PRICES[1], lots),
        Sale(second, one, bond_of(three), PRICES[2], lots),
    )
    passed_on = (
        Sale(two, first, bond_of(two), PRICES[1], lots),
        Sale(first, second, bond_of(two), PRICES[1] + MARGIN, lots),
        Sale(second, third, bond_of(two), PRICES[1] + 2 * MARGIN, lots),
    )
    agreed = [(2, ring, _agreed(desk, ring)), (3, passed_on, _agreed(desk, passed_on))]
    cycles = [_open(desk, model, sales, deals_of) for model, sales, deals_of in agreed]
    swap = (
        Sale(third, one, bond_of(one), PRICES[0], lots),
        Sale(three, third, bond_of(three), PRICES[2], lots),
    )
    linked = _settle_linked(desk, swap)
    return [*(_settle(desk, cycle) for cycle in cycles), linked, offset]


# --- settlement cycles --------------------------------------------------------------------------------------


def _agreed(desk: Desk, sales: Sequence[Sale]) -> list[bytes]:
    """The deals' ids."""
    return [
        agree(desk, sale.seller, sale.buyer, sale.lots, sale.price, secured=0, bond=sale.bond)
        for sale in sales
    ]


def _open(desk: Desk, model: int, sales: tuple[Sale, ...], deals: Sequence[bytes]) -> Cycle:
    """Open a cycle and have both sides of each deal enter it."""
    opener = sales[0].seller
    closes_ms = desk.client.status().time_ms + CYCLE_MS
    opened = desk.act(opener, operation("cycles", "open", model, ASSET, closes_ms))
    cycle = named(events(opened, "CycleOpened"), "cycle")
    enters: dict[str, list[Operation]] = {}
    for sale, deal in zip(sales, deals, strict=True):
        for member in (sale.seller, sale.buyer):
            enters.setdefault(member, []).append(operation("cycles", "enter", cycle, deal))
    for member, calls in enters.items():
        desk.act(member, *calls)
    return Cycle(model, cycle, sales)


def _settle(desk: Desk, cycle: Cycle) -> Together:
    """Settle a cycle once its time has come."""
    places = _places(cycle.sales)
    before = _balances(desk, places)
    receipt = _when_closed(desk, cycle)
    told, sums = (next(events(receipt, name)) for name in ("CycleSettled", "CycleSums"))
    if (told["settled"], told["taken_out"]) != (len(cycle.sales), 0):
        raise DemoFailed(f"the cycle of model {cycle.model} settled {told}")
    _check_moved(desk, cycle.sales, before)
    passed = [each for each in events(receipt, "Passed") if each["asset"] != ASSET]
    chain = " > ".join([*(sale.seller for sale in cycle.sales), cycle.sales[-1].buyer])
    bonds = "each deal's bonds pass" if cycle.model == 2 else "bonds pass once"  # noqa: PLR2004 - the model
    return Together(
        f"Cycle, model {cycle.model}",
        len(cycle.sales),
        int(sums["gross"]),
        int(sums["net"]),
        sum(sale.lots for sale in cycle.sales),
        sum(int(each["amount"]) for each in passed),
        f"{chain}: {bonds}, the difference in cash",
    )


def _when_closed(desk: Desk, cycle: Cycle) -> Receipt:
    """The receipt of its settlement; nobody can settle it before its time. Raises DemoFailed."""
    until = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            return desk.act(cycle.sales[0].seller, operation("cycles", "settle", cycle.id))
        except Refused as refused:
            if refused.code != OPEN or time.monotonic() > until:
                raise DemoFailed(f"a cycle of model {cycle.model}: {refused.code}") from refused
        time.sleep(PAUSE_SECONDS)


# --- a linked set -------------------------------------------------------------------------------------------


def _settle_linked(desk: Desk, sales: tuple[Sale, ...]) -> Together:
    """Two deals of three banks that settle together or not at all; one alone is refused."""
    deals = _agreed(desk, sales)
    before = _balances(desk, _places(sales))
    proposer = sales[0].seller
    proposed = desk.act(proposer, operation("settlement", "link", tuple(deals)))
    linked = named(events(proposed, "Linked"), "set_id")
    for member in dict.fromkeys(each for sale in sales for each in (sale.seller, sale.buyer)):
        if member != proposer:
            desk.act(member, operation("settlement", "join", linked))
    try:
        desk.act(sales[0].buyer, operation("settlement", "settle", deals[0]))
    except Refused as refused:
        if refused.code != LINKED:
            raise
    else:
        raise DemoFailed("a deal of a linked set was settled alone")
    desk.act(proposer, operation("settlement", "settle_set", linked))
    _check_moved(desk, sales, before)
    cash, bonds = sum(sale.lots * sale.price for sale in sales), sum(sale.lots for sale in sales)
    first, second = sales
    story = (
        f"{proposer} sells {first.bond} to {first.buyer} only if it gets {second.bond} from {second.seller}"
    )
    return Together("Linked set", len(sales), cash, cash, bonds, bonds, story)


# --- an offset ----------------------------------------------------------------------------------------------


def _set_off(desk: Desk, one: str, two: str) -> Together:
    """A loan and a deposit of two banks, set off as far as they meet."""
    loan, deposit = f"{one[:10]}-LOAN", f"{two[:7]}-DEPOSIT"
    for debtor, creditor, asset, kind, units in (
        (one, two, loan, "loan", LOAN),
        (two, one, deposit, "deposit", DEPOSIT),
    ):
        terms = Terms("", 0, 0, "ACT/365", 0, 0)
        call = operation("registration", "apply", asset, kind, 2, units, bytes(32), "", "", terms)
        desk.act(debtor, call)
        desk.act(
            CENTRAL,
            operation("registration", "take_up", asset),
            operation("registration", "approve", asset, bytes(32), "terms seen"),
        )
        desk.act(debtor, operation("assets", "issue", asset, main(creditor), units, "drawn"))
    units = min(LOAN, DEPOSIT)
    until = desk.client.status().time_ms + HOUR_MS
    asked = operation("offsets", "propose", two, deposit, units, loan, units, main(one), until)
    offset = named(events(desk.act(one, asked), "OffsetProposed"), "offset")
    desk.act(two, operation("offsets", "agree", one, offset, units, units, main(two)))
    left = [desk.client.balance(main(bank), asset).posted for bank, asset in ((two, loan), (one, deposit))]
    if left != [LOAN - units, DEPOSIT - units]:
        raise DemoFailed(f"after the offset {left} are left")
    story = (
        f"{one} owes {two} {LOAN // 100:,}, {two} owes {one} {DEPOSIT // 100:,}: {left[0] // 100:,} is left"
    )
    return Together("Loan against deposit", 2, LOAN + DEPOSIT, 0, 0, 0, story)


# --- what must have moved -----------------------------------------------------------------------------------

Place = tuple[str, str]
"""A bank and an asset."""


def _places(sales: Sequence[Sale]) -> list[Place]:
    return list(_expected(sales))


def _expected(sales: Sequence[Sale]) -> dict[Place, int]:
    """What deals change of each bank's bonds and money."""
    change: dict[Place, int] = {}
    for sale in sales:
        for bank, sign in ((sale.seller, 1), (sale.buyer, -1)):
            for asset, units in ((ASSET, sale.lots * sale.price), (sale.bond, -sale.lots)):
                change[bank, asset] = change.get((bank, asset), 0) + sign * units
    return change


def _balances(desk: Desk, places: Sequence[Place]) -> dict[Place, int]:
    return {(bank, asset): desk.client.balance(main(bank), asset).posted for bank, asset in places}


def _check_moved(desk: Desk, sales: Sequence[Sale], before: Mapping[Place, int]) -> None:
    """Raises DemoFailed where balances changed by anything but the deals."""
    expected = _expected(sales)
    after = _balances(desk, list(expected))
    wrong = {
        place: after[place] - before[place]
        for place in expected
        if after[place] - before[place] != expected[place]
    }
    if wrong:
        raise DemoFailed(f"deals that settled together moved {wrong}")


def rows_of(found: Sequence[Together], amount: Any) -> Iterator[dict[str, str]]:
    """What settled together, as a table shows it. amount: writes hellers."""
    for each in found:
        yield {
            "how": each.how,
            "deals": f"{each.deals}",
            "gross": amount(each.cash_gross),
            "moved": amount(each.cash_moved),
            "bonds": f"{each.bonds_gross:,}" if each.bonds_gross else "",
            "bonds_moved": f"{each.bonds_moved:,}" if each.bonds_gross else "",
            "story": each.story,
        }
