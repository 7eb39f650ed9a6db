"""The refusals of ``exchange`` (cases.py says how to read a table)."""

from typing import Any, Final

from contracts.assets import Assets
from contracts.members import Members
from contracts.scenarios.asset_transfer import AssetTransfer
from contracts.trading import Trading
from tests.contracts.cases import Case, Flaw, hold
from tests.contracts.market import EXPIRES_MS, KB, PA, made, offered, open_market
from tests.contracts.refusals_trading import UNKNOWN, does, suspended
from tests.kit import NO_TERMS, START_MS, Consortium, op

THE_EXCHANGE: Final = hold("exchange")
STATEMENT: Final = b"\x21" * 32
OPEN: Final[dict[str, Any]] = {
    "buyer": "KB",
    "asset": "BOND",
    "units": 20,
    "against": "CZK",
    "amount": 400,
    "accounts": PA,
    "expires_ms": EXPIRES_MS,
    "reference": "swap 7",
}


def opened_exchange(world: Consortium, **changed: Any) -> bytes:
    """PA offers KB twenty bonds for 400; the exchange's id."""
    return made(world.apply("PA", op("exchange", "open", *(OPEN | changed).values())), "Offered")


def exchange_offered(world: Consortium) -> None:
    open_market(world)
    world.holds["exchange"] = ("", opened_exchange(world))


def exchange_settled(world: Consortium) -> None:
    exchange_offered(world)
    world.apply("KB", op("exchange", "accept", THE_EXCHANGE(world), "CZK", 400, KB))


def _with_a_note(world: Consortium) -> None:
    """A market, and a note that no registrar has seen: it was registered before there was one."""
    world.apply("CNB", op("assets", "register", "NOTE", "bill", 0, 10, NO_TERMS))
    open_market(world)


def _beside_an_offer(world: Consortium) -> None:
    """An exchange, and an offer of the same seller to the same buyer."""
    exchange_offered(world)
    world.holds["offer"] = ("", offered(world, audience=("KB",), lots=4))


THE_OFFER: Final = hold("offer")
DECLINED: Final = does("KB", "exchange", "decline", THE_EXCHANGE, "no")

EXCHANGE: Final = (
    Case(
        "exchange",
        "open",
        "PA",
        OPEN,
        (
            Flaw(Assets.ASSET_UNKNOWN, asset="NONE"),
            Flaw(AssetTransfer.NOT_ON_REGISTER, asset="NOTE"),
            Flaw(Trading.SAME_ASSET, against="BOND"),
            Flaw(Trading.EXPIRY_OUT_OF_RANGE, expires_ms=START_MS),
            Flaw(Trading.AUDIENCE_UNFIT, buyer="PA"),
            Flaw(Assets.NOT_OWNER, accounts=KB),
            Flaw(Assets.INSUFFICIENT_BALANCE, units=61),
        ),
        given=_with_a_note,
    ),
    Case(
        "exchange",
        "accept",
        "KB",
        {"exchange": THE_EXCHANGE, "against": "CZK", "amount": 400, "accounts": KB},
        (
            Flaw(AssetTransfer.EXCHANGE_UNKNOWN, exchange=UNKNOWN),
            Flaw(AssetTransfer.EXCHANGE_UNKNOWN, by="CNB"),
            Flaw(AssetTransfer.NOT_BUYER, by="PA"),
            Flaw(AssetTransfer.NOT_IN_THIS_STATE, given=DECLINED),
            Flaw(AssetTransfer.NOT_IN_THIS_STATE, late=True),
            Flaw(Trading.TERMS_CHANGED, amount=399),
            Flaw(Trading.TERMS_CHANGED, against="EUR"),
            Flaw(Members.MEMBER_INACTIVE, by="KB", given=suspended("PA")),
            Flaw(Assets.NOT_OWNER, accounts=PA),
            Flaw(Assets.INSUFFICIENT_BALANCE, accounts=("KB/main", "KB/empty")),
        ),
        given=exchange_offered,
    ),
    Case(
        "exchange",
        "decline",
        "KB",
        {"exchange": THE_EXCHANGE, "reason": "price"},
        (
            Flaw(AssetTransfer.EXCHANGE_UNKNOWN, exchange=UNKNOWN),
            Flaw(AssetTransfer.NOT_BUYER, by="PA"),
            Flaw(AssetTransfer.NOT_IN_THIS_STATE, given=DECLINED),
            Flaw(AssetTransfer.NOT_IN_THIS_STATE, late=True),
        ),
        given=exchange_offered,
    ),
    Case(
        "exchange",
        "withdraw",
        "PA",
        {"exchange": THE_EXCHANGE, "reason": "mistyped"},
        (
            Flaw(AssetTransfer.EXCHANGE_UNKNOWN, exchange=UNKNOWN),
            Flaw(AssetTransfer.NOT_SELLER, by="KB"),
            Flaw(AssetTransfer.NOT_IN_THIS_STATE, given=DECLINED),
            Flaw(AssetTransfer.NOT_IN_THIS_STATE, late=True),
        ),
        given=exchange_offered,
    ),
    Case(
        "exchange",
        "confirm",
        "PA",
        {"exchange": THE_EXCHANGE, "statement_hash": STATEMENT},
        (
            Flaw(AssetTransfer.EXCHANGE_UNKNOWN, exchange=UNKNOWN),
            Flaw(AssetTransfer.EXCHANGE_UNKNOWN, by="CNB"),
            Flaw(AssetTransfer.NOT_IN_THIS_STATE, exchange=opened_exchange),
            Flaw(
                AssetTransfer.CONFIRMED_ALREADY,
                given=does("PA", "exchange", "confirm", THE_EXCHANGE, STATEMENT),
            ),
        ),
        given=exchange_settled,
    ),
    Case(
        "exchange",
        "dispute",
        "KB",
        {"exchange": THE_EXCHANGE, "reason": "two units short"},
        (
            Flaw(AssetTransfer.EXCHANGE_UNKNOWN, exchange=UNKNOWN),
            Flaw(AssetTransfer.NOT_IN_THIS_STATE, exchange=opened_exchange),
            Flaw(
                AssetTransfer.NOT_IN_THIS_STATE,
                given=does("PA", "exchange", "dispute", THE_EXCHANGE, "amount"),
            ),
        ),
        given=exchange_settled,
    ),
    Case(
        "trading",
        "take",
        "KB",
        {"maker": "PA", "offer": THE_OFFER, "lots": 4, "against": "CZK", "amount": 80, "accounts": KB},
        (Flaw(Trading.LED, offer=THE_EXCHANGE),),
        given=_beside_an_offer,
        label=" of an exchange",
    ),
    Case(
        "trading",
        "answer",
        "KB",
        {"maker": "PA", "offer": THE_OFFER, "lots": 1, "price": 19, "accounts": KB, "expires_ms": EXPIRES_MS},
        (Flaw(Trading.LED, offer=THE_EXCHANGE),),
        given=_beside_an_offer,
        label=" of an exchange",
    ),
    Case(
        "trading",
        "cancel",
        "PA",
        {"offer": THE_OFFER},
        (Flaw(Trading.LED, offer=THE_EXCHANGE),),
        given=_beside_an_offer,
        label=" of an exchange",
    ),
)
