"""A consortium with a market: a registrar, a regulator, two issuers, a bond with holders, money, and offers.

Everything has its time from ``START_MS``: offers expire after an hour, deals settle from the beginning, are
due after two hours and may be bought in after three.
"""

from typing import Any, Final

from contracts.deals import Accounts, Conditions
from contracts.terms import Terms
from node.ledger.types import Operation, Receipt
from tests.kit import START_MS, Consortium, fields_of, op

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000
EXPIRES_MS: Final = START_MS + HOUR_MS
DUE_MS: Final = START_MS + 2 * HOUR_MS
BUY_IN_MS: Final = START_MS + 3 * HOUR_MS
RECORD_MS: Final = START_MS + HOUR_MS // 2
CLOSES_MS: Final = START_MS + HOUR_MS // 2

ISIN: Final = "US0378331005"
"""Of a share that everybody knows; its digits are public."""
OTHER_ISIN: Final = "DE000BAY0017"
LEI: Final = "5493001KJTIIGC8Y1R12"
TERMS: Final = Terms("CZK", 100, 50_000, "ACT/360", START_MS, START_MS + 360 * DAY_MS)
NOTHING: Final = Terms("", 0, 0, "ACT/365", 0, 0)
DOCUMENT: Final = b"\x11" * 32
OTHER_DOCUMENT: Final = b"\x12" * 32

PA: Final = Accounts("PA/main", "PA/main")
KB: Final = Accounts("KB/main", "KB/main")
CNB: Final = Accounts("CNB/main", "CNB/main")
OPEN: Final = Conditions(0, DUE_MS, BUY_IN_MS, 0, 1)
WHOLE: Final = Conditions(0, DUE_MS, BUY_IN_MS, 0, 0)
SECURED: Final = Conditions(0, DUE_MS, BUY_IN_MS, 1, 1)


def apply_for(asset: str, **changed: Any) -> Operation:
    asked: dict[str, Any] = {
        "asset_class": "bond",
        "decimals": 0,
        "cap": 1_000,
        "terms_hash": DOCUMENT,
        "isin": ISIN,
        "lei": LEI,
        "terms": TERMS,
    }
    return op("registration", "apply", asset, *(asked | changed).values())


def offer(maker: str, side: str = "sell", **changed: Any) -> Operation:
    asked: dict[str, Any] = {
        "side": side,
        "asset": "BOND",
        "lot": 5,
        "lots": 6,
        "least": 2,
        "against": "CZK",
        "price": 20,
        "accounts": {"PA": PA, "KB": KB, "CNB": CNB}[maker],
        "audience": (),
        "expires_ms": EXPIRES_MS,
        "conditions": OPEN,
    }
    return op("trading", "make_offer", *(asked | changed).values())


class Market(Consortium):
    """PA holds 60 BOND and KB 40, of CNB's; PA has 1,000 CZK (200 held) and KB 500."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        open_market(self)


def open_market(world: Consortium) -> None:
    """What a market needs, in a consortium."""
    world.admit("REG", "registrar")
    world.admit("LAW", "regulator")
    world.apply("CNB", apply_for("BOND"))
    world.apply("REG", op("registration", "take_up", "BOND"))
    world.apply("REG", op("registration", "approve", "BOND", DOCUMENT, ""))
    world.apply(
        "CNB",
        op("assets", "issue", "BOND", "PA/main", 60, ""),
        op("assets", "issue", "BOND", "KB/main", 40, ""),
    )


def made(receipt: Receipt, name: str) -> bytes:
    """The id of what an operation made: the field that follows from the event of this name."""
    return all_made(receipt, name)[0]


def all_made(receipt: Receipt, name: str) -> list[bytes]:
    """As ``made``, of every such event."""
    at = {"Offered": 1, "Agreed": 0, "Linked": 0, "CycleOpened": 0}[name]
    return [fields_of(event)[at] for event in receipt.events if event.event == name]


def offered(world: Consortium, maker: str = "PA", side: str = "sell", **changed: Any) -> bytes:
    """Make an offer; its id."""
    return made(world.apply(maker, offer(maker, side, **changed)), "Offered")


def take(maker: str, offer_id: bytes, lots: int, amount: int, taker: str = "KB") -> Operation:
    accounts = {"PA": PA, "KB": KB, "CNB": CNB}[taker]
    return op("trading", "take", maker, offer_id, lots, "CZK", amount, accounts)


def dealt(world: Consortium, lots: int = 4, price: int = 20, **changed: Any) -> bytes:
    """PA sells lots of 5 BOND to KB; the deal's id."""
    offer_id = offered(world, lots=lots, least=1, price=price, **changed)
    return made(world.apply("KB", take("PA", offer_id, lots, lots * price)), "Agreed")


def opened(
    world: Consortium, model: int, against: str = "CZK", *, by: str = "PA", closes_ms: int = CLOSES_MS
) -> bytes:
    """Open a settlement cycle; its id."""
    return made(world.apply(by, op("cycles", "open", model, against, closes_ms)), "CycleOpened")


def cycled(world: Consortium, cycle: bytes, *deals: bytes) -> None:
    """Both sides of every deal let it settle with the cycle."""
    for deal_id in deals:
        deal = world.record("settlement", "deal", deal_id)
        for side in (deal.seller, deal.buyer):
            world.apply(side, op("cycles", "enter", cycle, deal_id))


def passes(world: Consortium, time_ms: int) -> None:
    """A block at this time, with something in it: a quiet one moves no clock."""
    world.apply(
        "CNB",
        op("transfers", "send", "CNB/main", "PA/main", "CZK", 1, "", b"", ""),
        time_ms=time_ms,
        created_ms=time_ms,
    )
    world.apply("PA", op("transfers", "send", "PA/main", "CNB/main", "CZK", 1, "", b"", ""))


def announced(world: Consortium, kind: str = "coupon", record_ms: int = RECORD_MS) -> None:
    world.apply("CNB", op("servicing", "announce", "BOND", kind, "CZK", 5, 2, record_ms))


def fixing(world: Consortium, kind: str = "coupon") -> None:
    """A market in which the record date of an action has come."""
    open_market(world)
    announced(world, kind)
    world.block(time_ms=RECORD_MS)


def fixed(world: Consortium, kind: str = "coupon") -> None:
    fixing(world, kind)
    world.apply("CNB", op("servicing", "fix", "BOND", 1, ("PA/main", "KB/main")))
