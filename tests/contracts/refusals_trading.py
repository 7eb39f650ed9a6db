"""The refusals of ``settlement`` and ``trading`` (cases.py says how to read a table)."""

from typing import Any, Final

from contracts.assets import Assets
from contracts.members import Members
from contracts.settlement import Settlement
from contracts.trading import DURATION_MAX_MS, Trading
from tests.contracts.cases import Case, Flaw, Situation, hold
from tests.contracts.market import (
    BUY_IN_MS,
    DUE_MS,
    EXPIRES_MS,
    HOUR_MS,
    KB,
    OPEN,
    PA,
    SECURED,
    WHOLE,
    dealt,
    made,
    offered,
    open_market,
    take,
)
from tests.kit import ADMINISTRATOR, START_MS, STEP_MS, Consortium, op

UNKNOWN: Final = b"\x44" * 32


def _with(name: str, make: Any, *rest: Situation) -> Situation:
    """A market in which something has been made, kept under a name."""

    def situation(world: Consortium) -> None:
        open_market(world)
        world.holds[name] = ("", make(world))
        for more in rest:
            more(world)

    return situation


def suspended(member: str) -> Situation:
    return lambda world: world.apply(ADMINISTRATOR, op("members", "suspend", member, "late"))


def does(member: str, contract: str, method: str, *arguments: Any) -> Situation:
    """A member acts on what the world keeps: an argument that is a function is asked for its value."""
    return lambda world: world.apply(
        member, op(contract, method, *[value(world) if callable(value) else value for value in arguments])
    )


THE_OFFER: Final = hold("offer")
THE_DEAL: Final = hold("deal")
THE_SET: Final = hold("set")

OFFER_FLAWS: Final = (
    Flaw(Trading.SAME_ASSET, against="BOND"),
    Flaw(Trading.LEAST_TOO_LARGE, least=7),
    Flaw(Trading.TOO_MUCH, lot=10**18),
    Flaw(Trading.EXPIRY_OUT_OF_RANGE, expires_ms=lambda world: world.time_ms + STEP_MS),
    Flaw(Trading.EXPIRY_OUT_OF_RANGE, expires_ms=START_MS + 2 * DURATION_MAX_MS),
    Flaw(Trading.DATES_OUT_OF_ORDER, conditions=(0, EXPIRES_MS, BUY_IN_MS, 0, 1)),
    Flaw(Trading.DATES_OUT_OF_ORDER, conditions=(DUE_MS, DUE_MS, BUY_IN_MS, 0, 1)),
    Flaw(Trading.DATES_OUT_OF_ORDER, conditions=(0, DUE_MS, DUE_MS - 1, 0, 1)),
    Flaw(Trading.AUDIENCE_UNFIT, audience=("KB", "PA")),
    Flaw(Trading.AUDIENCE_UNFIT, audience=("KB", "KB")),
    Flaw(Assets.ASSET_UNKNOWN, against="NONE"),
    Flaw(Assets.ASSET_FROZEN, against="EUR"),
    Flaw(Assets.ACCOUNT_UNKNOWN, accounts=("PA/none", "PA/main")),
    Flaw(Assets.NOT_OWNER, accounts=("PA/main", "KB/main")),
    Flaw(Assets.ACCOUNT_FROZEN, accounts=("PA/main", "PA/frozen")),
    Flaw(Assets.ACCOUNT_CLOSED, accounts=("PA/closed", "PA/main")),
)
OFFER: Final[dict[str, Any]] = {
    "side": "sell",
    "asset": "BOND",
    "lot": 5,
    "lots": 6,
    "least": 2,
    "against": "CZK",
    "price": 20,
    "accounts": PA,
    "audience": ("KB",),
    "expires_ms": EXPIRES_MS,
    "conditions": OPEN,
}


def _answered(world: Consortium) -> bytes:
    """KB's counter-offer to PA's offer; the offer's other lots go to CNB."""
    found = offered(world)
    answer = op("trading", "answer", "PA", found, 6, 18, KB, EXPIRES_MS)
    world.holds["root"] = ("PA", found)
    return made(world.apply("KB", answer), "Offered")


TRADING: Final = (
    Case("trading", "make_offer", "PA", OFFER, OFFER_FLAWS, given=open_market),
    Case(
        "trading",
        "make_offer",
        "PA",
        OFFER | {"conditions": SECURED},
        (Flaw(Assets.INSUFFICIENT_BALANCE, lots=13),),
        given=open_market,
        label=" secured",
    ),
    Case(
        "trading",
        "request",
        "PA",
        {name: value for name, value in OFFER.items() if name != "price"},
        OFFER_FLAWS,
        given=open_market,
    ),
    Case(
        "trading",
        "answer",
        "KB",
        {
            "maker": "PA",
            "offer": THE_OFFER,
            "lots": 6,
            "price": 18,
            "accounts": KB,
            "expires_ms": EXPIRES_MS,
        },
        (
            Flaw(Trading.OFFER_UNKNOWN, offer=UNKNOWN),
            Flaw(Trading.OWN_OFFER, by="PA"),
            Flaw(Trading.NOT_FOR_THIS_MEMBER, by="CNB"),
            Flaw(Trading.OFFER_ENDED, given=does("PA", "trading", "cancel", THE_OFFER)),
            Flaw(Trading.OFFER_EXPIRED, late=True),
            Flaw(Trading.MORE_THAN_LEFT, lots=7),
            Flaw(Trading.TOO_MUCH, price=10**18),
            Flaw(Trading.EXPIRY_OUT_OF_RANGE, expires_ms=START_MS),
            Flaw(Trading.DATES_OUT_OF_ORDER, expires_ms=DUE_MS),
            Flaw(Assets.NOT_OWNER, accounts=PA),
        ),
        given=_with("offer", lambda world: offered(world, audience=("KB",))),
    ),
    Case(
        "trading",
        "take",
        "KB",
        {"maker": "PA", "offer": THE_OFFER, "lots": 4, "against": "CZK", "amount": 80, "accounts": KB},
        (
            Flaw(Trading.OFFER_UNKNOWN, maker="CNB"),
            Flaw(Trading.OWN_OFFER, by="PA"),
            Flaw(Trading.NOT_FOR_THIS_MEMBER, by="CNB"),
            Flaw(Trading.OFFER_ENDED, given=does("PA", "trading", "cancel", THE_OFFER)),
            Flaw(Trading.OFFER_EXPIRED, late=True),
            Flaw(Trading.MORE_THAN_LEFT, lots=7),
            Flaw(Trading.BELOW_LEAST, lots=1),
            Flaw(Trading.TERMS_CHANGED, amount=79),
            Flaw(Trading.TERMS_CHANGED, against="EUR"),
            Flaw(Assets.ASSET_FROZEN, given=does("CNB", "assets", "freeze_asset", "BOND")),
            Flaw(Assets.NOT_OWNER, accounts=PA),
            Flaw(Assets.ACCOUNT_FROZEN, given=does("PA", "assets", "freeze_account", "PA/main")),
        ),
        given=_with("offer", lambda world: offered(world, audience=("KB",))),
    ),
    Case(
        "trading",
        "take",
        "KB",
        {"maker": "PA", "offer": THE_OFFER, "lots": 4, "against": "CZK", "amount": 80, "accounts": KB},
        (
            Flaw(
                Trading.OFFER_ENDED, given=does("KB", "trading", "take", "PA", THE_OFFER, 6, "CZK", 120, KB)
            ),
            Flaw(Members.MEMBER_INACTIVE, given=suspended("PA")),
            Flaw(Assets.INSUFFICIENT_BALANCE, accounts=("KB/main", "KB/empty")),
        ),
        given=_with("offer", lambda world: offered(world, conditions=SECURED)),
        label=" secured",
    ),
    Case(
        "trading",
        "take",
        "PA",
        {"maker": "KB", "offer": THE_OFFER, "lots": 6, "against": "CZK", "amount": 108, "accounts": PA},
        (
            Flaw(
                Trading.OFFER_ENDED, given=lambda w: w.apply("PA", op("trading", "cancel", hold("root")(w)))
            ),
            Flaw(
                Trading.MORE_THAN_LEFT,
                given=lambda w: w.apply("CNB", take("PA", hold("root")(w), 2, 40, "CNB")),
            ),
        ),
        given=_with("offer", _answered),
        label=" of an answer",
    ),
    Case(
        "trading",
        "take",
        "KB",
        {"maker": "PA", "offer": THE_OFFER, "lots": 4, "against": "CZK", "amount": 80, "accounts": KB},
        (
            Flaw(
                Trading.NO_PRICE,
                offer=lambda w: made(
                    w.apply("PA", op("trading", "request", *[OFFER[n] for n in OFFER if n != "price"])),
                    "Offered",
                ),
            ),
        ),
        given=_with("offer", offered),
        label=" of a request",
    ),
    Case(
        "trading",
        "cancel",
        "PA",
        {"offer": THE_OFFER},
        (
            Flaw(Trading.OFFER_UNKNOWN, by="KB"),
            Flaw(Trading.OFFER_ENDED, given=does("PA", "trading", "cancel", THE_OFFER)),
            Flaw(Trading.OFFER_EXPIRED, late=True),
        ),
        given=_with("offer", offered),
    ),
)

READY_FLAWS: Final = (
    Flaw(Settlement.DEAL_UNKNOWN, deal=UNKNOWN),
    Flaw(Settlement.NOT_A_PARTY, by="CNB"),
    Flaw(Settlement.DEAL_ENDED, given=does("KB", "settlement", "settle", THE_DEAL)),
    Flaw(Settlement.DEAL_LINKED, given=lambda world: _link(world, hold("deal")(world))),
    Flaw(Members.MEMBER_INACTIVE, given=suspended("PA")),
    Flaw(Assets.ASSET_FROZEN, given=does("CNB", "assets", "freeze_asset", "BOND")),
    Flaw(Assets.ASSET_FROZEN, given=does("CNB", "assets", "freeze_asset", "CZK")),
    Flaw(Assets.ACCOUNT_FROZEN, given=does("PA", "assets", "freeze_account", "PA/main")),
    Flaw(Assets.INSUFFICIENT_BALANCE, given=lambda w: w.apply("PA", _all_bonds_away())),
    Flaw(Assets.INSUFFICIENT_BALANCE, given=lambda w: w.apply("KB", _all_cash_away())),
)


def _all_bonds_away() -> Any:
    return op("transfers", "send", "PA/main", "PA/empty", "BOND", 60, "", b"", "")


def _all_cash_away() -> Any:
    return op("transfers", "send", "KB/main", "KB/empty", "CZK", 500, "", b"", "")


def _link(world: Consortium, *deals: bytes) -> bytes:
    """A set of these deals and one more, to which both have consented."""
    return _bind(world, *deals, dealt(world, 1))


def _bind(world: Consortium, *deals: bytes) -> bytes:
    set_id = made(world.apply("PA", op("settlement", "link", deals)), "Linked")
    world.apply("KB", op("settlement", "join", set_id))
    return set_id


def _failing(world: Consortium) -> None:
    """The deal was due, and KB has bought as much from CNB."""
    world.block(time_ms=BUY_IN_MS)
    world.apply("PA", op("transfers", "send", "PA/main", "CNB/main", "BOND", 60, "", b"", ""))
    at: dict[str, Any] = {
        "expires_ms": BUY_IN_MS + HOUR_MS,
        "conditions": (0, BUY_IN_MS + 2 * HOUR_MS, 2 * BUY_IN_MS, 0, 1),
    }
    other = offered(world, "CNB", lots=4, least=1, price=25, **at)
    deal = made(world.apply("KB", take("CNB", other, 4, 100)), "Agreed")
    world.apply("CNB", op("settlement", "settle", deal))
    world.holds["other"] = ("", deal)


def _secured_in_vain(world: Consortium) -> None:
    """PA has set its bonds aside, KB has set nothing aside, and the buy-in date has come."""
    world.apply("PA", op("settlement", "secure", hold("deal")(world)))
    world.block(time_ms=BUY_IN_MS)


def _proposed(world: Consortium) -> bytes:
    deals = (dealt(world, 1), dealt(world, 1))
    world.holds["deal"] = ("", deals[0])
    return made(world.apply("PA", op("settlement", "link", deals)), "Linked")


def _linked(world: Consortium) -> bytes:
    world.holds["deal"] = ("", dealt(world, 1))
    return _link(world, hold("deal")(world))


def _linked_later(world: Consortium) -> bytes:
    return _bind(world, _quiet_deal(world), _quiet_deal(world))


def _in_a_late_set(world: Consortium) -> bytes:
    deal = _quiet_deal(world)
    _bind(world, deal, _quiet_deal(world))
    return deal


def _quiet_deal(world: Consortium) -> bytes:
    """A deal that is not due yet, whatever the time."""
    at = world.time_ms + HOUR_MS
    return dealt(world, 1, expires_ms=at, conditions=(0, at + 1, at + 1, 0, 1))


def _ended_deal(world: Consortium) -> bytes:
    world.apply("KB", op("settlement", "settle", hold("deal")(world)))
    return hold("deal")(world)


def _quiet_secured_deal(world: Consortium) -> bytes:
    """As ``_quiet_deal``, with the seller's leg set aside."""
    deal = _quiet_deal(world)
    world.apply("PA", op("settlement", "secure", deal))
    return deal


SETTLEMENT: Final = (
    Case(
        "settlement",
        "settle",
        "KB",
        {"deal": THE_DEAL},
        READY_FLAWS,
        given=_with("deal", dealt),
    ),
    Case(
        "settlement",
        "settle_partly",
        "KB",
        {"deal": THE_DEAL, "lots": 2},
        (*READY_FLAWS[:-2], Flaw(Settlement.MORE_THAN_LEFT, lots=5), *READY_FLAWS[-2:]),
        given=_with("deal", dealt),
    ),
    Case(
        "settlement",
        "settle_partly",
        "KB",
        {"deal": dealt, "lots": 2},
        (
            Flaw(
                Settlement.BEFORE_VALUE_DATE,
                deal=lambda world: dealt(world, conditions=(DUE_MS - 1, DUE_MS, DUE_MS, 0, 1)),
            ),
            Flaw(Settlement.PARTIAL_NOT_AGREED, deal=lambda world: dealt(world, conditions=WHOLE)),
        ),
        given=open_market,
        label=" under conditions",
    ),
    Case(
        "settlement",
        "secure",
        "PA",
        {"deal": THE_DEAL},
        (
            Flaw(Settlement.DEAL_UNKNOWN, deal=UNKNOWN),
            Flaw(Settlement.NOT_A_PARTY, by="CNB"),
            Flaw(Settlement.DEAL_ENDED, given=does("KB", "settlement", "settle", THE_DEAL)),
            Flaw(Settlement.SECURED_ALREADY, given=does("PA", "settlement", "secure", THE_DEAL)),
            Flaw(Assets.ASSET_FROZEN, given=does("CNB", "assets", "freeze_asset", "BOND")),
            Flaw(Assets.ACCOUNT_FROZEN, given=does("PA", "assets", "freeze_account", "PA/main")),
            Flaw(Assets.INSUFFICIENT_BALANCE, given=lambda w: w.apply("PA", _all_bonds_away())),
        ),
        given=_with("deal", dealt),
    ),
    Case(
        "settlement",
        "cancel",
        "PA",
        {"deal": THE_DEAL, "reason": "typing error"},
        (
            Flaw(Settlement.DEAL_UNKNOWN, deal=UNKNOWN),
            Flaw(Settlement.NOT_A_PARTY, by="CNB"),
            Flaw(Settlement.DEAL_ENDED, given=does("KB", "settlement", "settle", THE_DEAL)),
            Flaw(Settlement.DEAL_LINKED, given=lambda world: _link(world, hold("deal")(world))),
            Flaw(Settlement.CANCEL_ASKED, given=does("PA", "settlement", "cancel", THE_DEAL, "")),
        ),
        given=_with("deal", dealt),
    ),
    Case(
        "settlement",
        "buy_in",
        "KB",
        {"deal": THE_DEAL, "replacement": hold("other")},
        (
            Flaw(Settlement.DEAL_UNKNOWN, deal=UNKNOWN),
            Flaw(Settlement.NOT_A_PARTY, by="CNB"),
            Flaw(Settlement.NOT_BUYER, by="PA"),
            Flaw(Settlement.DEAL_UNKNOWN, replacement=UNKNOWN),
            Flaw(Settlement.REPLACEMENT_UNFIT, replacement=THE_DEAL),
        ),
        given=_with("deal", dealt, _failing),
    ),
    Case(
        "settlement",
        "release",
        "PA",
        {"deal": THE_DEAL},
        (
            Flaw(Settlement.DEAL_UNKNOWN, deal=UNKNOWN),
            Flaw(Settlement.NOT_A_PARTY, by="CNB"),
            Flaw(Settlement.DEAL_ENDED, deal=_ended_deal),
            Flaw(Settlement.DEAL_LINKED, deal=_in_a_late_set),
            Flaw(Settlement.NOT_SECURED, by="KB"),
            Flaw(Settlement.BEFORE_RELEASE, deal=_quiet_secured_deal),
            Flaw(Settlement.BOTH_SECURED, by="PA", given=does("KB", "settlement", "secure", THE_DEAL)),
        ),
        given=_with("deal", dealt, _secured_in_vain),
    ),
    Case(
        "settlement",
        "buy_in",
        "KB",
        {"deal": THE_DEAL, "replacement": hold("other")},
        (
            Flaw(Settlement.DEAL_ENDED, deal=hold("other")),
            Flaw(Settlement.DEAL_LINKED, deal=_in_a_late_set),
            Flaw(Settlement.BEFORE_BUY_IN, deal=_quiet_deal),
        ),
        given=_with("deal", dealt, _failing),
        label=" of another",
    ),
    Case(
        "settlement",
        "link",
        "PA",
        {"deals": lambda world: (hold("deal")(world), dealt(world, 1))},
        (
            Flaw(Settlement.DEAL_TWICE, deals=lambda world: (hold("deal")(world),) * 2),
            Flaw(Settlement.DEAL_UNKNOWN, deals=(UNKNOWN, b"\x45" * 32)),
            Flaw(Settlement.NOT_A_PARTY, by="CNB"),
            Flaw(Settlement.DEAL_ENDED, given=does("KB", "settlement", "settle", THE_DEAL)),
            Flaw(Settlement.DEAL_LINKED, given=lambda world: _link(world, hold("deal")(world))),
        ),
        given=_with("deal", dealt),
        label=" of two deals",
    ),
    Case(
        "settlement",
        "join",
        "KB",
        {"set_id": THE_SET},
        (
            Flaw(Settlement.SET_UNKNOWN, set_id=UNKNOWN),
            Flaw(Settlement.SET_ENDED, given=does("PA", "settlement", "dissolve", THE_SET)),
            Flaw(Settlement.JOINED_ALREADY, by="PA"),
            Flaw(Settlement.DEAL_ENDED, given=does("KB", "settlement", "settle", THE_DEAL)),
            Flaw(Settlement.DEAL_LINKED, given=lambda world: _link(world, hold("deal")(world))),
        ),
        given=_with("set", _proposed),
    ),
    Case(
        "settlement",
        "settle_set",
        "KB",
        {"set_id": THE_SET},
        (
            Flaw(Settlement.SET_UNKNOWN, set_id=UNKNOWN),
            Flaw(Settlement.SET_ENDED, given=does("KB", "settlement", "settle_set", THE_SET)),
            Flaw(Settlement.NOT_A_PARTY, by="CNB"),
            Flaw(Members.MEMBER_INACTIVE, given=suspended("PA")),
            Flaw(Assets.ASSET_FROZEN, given=does("CNB", "assets", "freeze_asset", "BOND")),
            Flaw(Settlement.GRIDLOCK, given=lambda w: w.apply("PA", _all_bonds_away())),
        ),
        given=_with("set", _linked),
    ),
    Case(
        "settlement",
        "dissolve",
        "KB",
        {"set_id": THE_SET},
        (
            Flaw(Settlement.SET_UNKNOWN, set_id=UNKNOWN),
            Flaw(Settlement.NOT_A_PARTY, by="CNB"),
            Flaw(Settlement.SET_ENDED, given=does("KB", "settlement", "dissolve", THE_SET)),
        ),
        given=_with("set", _proposed),
    ),
    Case(
        "settlement",
        "dissolve",
        "KB",
        {"set_id": THE_SET},
        (Flaw(Settlement.SET_IN_TIME, set_id=_linked_later),),
        given=_with("set", _linked, lambda world: world.block(time_ms=DUE_MS)),
        label=" of a set that binds",
    ),
)
