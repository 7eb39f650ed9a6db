"""The refusals of ``registration`` and ``servicing`` (cases.py says how to read a table)."""

from typing import Any, Final

from contracts.assets import Assets
from contracts.members import Members
from contracts.registration import ORDERS_MAX, Registration
from contracts.servicing import AHEAD_MAX_MS, Servicing
from contracts.terms import Terms
from tests.contracts.cases import Case, Flaw
from tests.contracts.market import (
    DAY_MS,
    DOCUMENT,
    HOUR_MS,
    ISIN,
    LEI,
    OTHER_DOCUMENT,
    OTHER_ISIN,
    RECORD_MS,
    TERMS,
    announced,
    apply_for,
    fixed,
    fixing,
    open_market,
)
from tests.kit import ADMINISTRATOR, NO_TERMS, START_MS, STEP_MS, Consortium, op

ASKED: Final[dict[str, Any]] = {
    "asset": "NOTE",
    "asset_class": "placement",
    "decimals": 2,
    "cap": 500,
    "terms_hash": OTHER_DOCUMENT,
    "isin": OTHER_ISIN,
    "lei": LEI,
    "terms": TERMS,
}
NEVER_STARTS: Final = Terms("CZK", 100, 50_000, "ACT/360", 0, 0)
ENDS_FIRST: Final = Terms("CZK", 100, 50_000, "ACT/360", START_MS, START_MS - 1)
IN_NOTHING_KNOWN: Final = Terms("NONE", 100, 50_000, "ACT/360", START_MS, 0)


def _applied(world: Consortium) -> None:
    open_market(world)
    world.apply("CNB", apply_for("NOTE", isin=OTHER_ISIN, terms_hash=OTHER_DOCUMENT))


def _reviewing(world: Consortium) -> None:
    _applied(world)
    world.apply("REG", op("registration", "take_up", "NOTE"))


def _rejected(world: Consortium) -> None:
    world.apply("REG", op("registration", "reject", "NOTE", ""))


def _taken_up(world: Consortium) -> None:
    world.apply("REG", op("registration", "take_up", "NOTE"))


def _all_one(world: Consortium) -> None:
    """The issuer becomes a registrar, too."""
    world.apply(ADMINISTRATOR, op("members", "change", "CNB", "Bank", "", ("issuer", "registrar")))


def _frozen(world: Consortium) -> None:
    world.apply("CNB", op("assets", "freeze_asset", "BOND"))


def impose(reference: str = "A-1", lifter: str = "LAW") -> Any:
    return op("registration", "impose", "BOND", reference, lifter, NO_TERMS)


def _ordered(world: Consortium) -> None:
    open_market(world)
    world.apply("REG", impose())


def _more_orders(world: Consortium) -> None:
    world.apply("REG", *[impose(f"B-{number}") for number in range(ORDERS_MAX)])


def _empty(world: Consortium) -> None:
    """SHARE is on the register, and nothing of it is out."""
    open_market(world)
    world.apply("CNB", apply_for("SHARE", isin=OTHER_ISIN, terms_hash=NO_TERMS))
    world.apply(
        "REG",
        op("registration", "take_up", "SHARE"),
        op("registration", "approve", "SHARE", NO_TERMS, "seen"),
    )


def _retired(world: Consortium) -> None:
    world.apply("CNB", op("registration", "retire", "SHARE"))


REGISTRATION: Final = (
    Case(
        "registration",
        "apply",
        "CNB",
        ASKED,
        (
            Flaw(Assets.NOT_ISSUER, by="PA"),
            Flaw(Registration.ISIN_INVALID, isin="DE000BAY0018"),
            Flaw(Registration.LEI_INVALID, lei="5493001KJTIIGC8Y1R13"),
            Flaw(Assets.ASSET_UNKNOWN, terms=IN_NOTHING_KNOWN),
            Flaw(Registration.TERMS_INCONSISTENT, terms=NEVER_STARTS),
            Flaw(Registration.TERMS_INCONSISTENT, terms=ENDS_FIRST),
            Flaw(Assets.ASSET_EXISTS, asset="BOND"),
            Flaw(
                Registration.APPLICATION_PENDING,
                given=lambda w: w.apply("CNB", apply_for("NOTE", isin="", terms_hash=NO_TERMS)),
            ),
            Flaw(Registration.IDENTIFIER_TAKEN, isin=ISIN),
            Flaw(Registration.IDENTIFIER_TAKEN, terms_hash=DOCUMENT),
        ),
        given=open_market,
    ),
    Case(
        "registration",
        "supplement",
        "CNB",
        {"asset": "BOND", "cap": 500, "terms_hash": OTHER_DOCUMENT},
        (
            Flaw(Assets.ASSET_UNKNOWN, asset="NONE"),
            Flaw(Assets.NOT_ISSUER, by="PA"),
            Flaw(Assets.ASSET_FROZEN, given=_frozen),
            Flaw(Registration.CAP_TOO_LARGE, cap=10**18),
            Flaw(
                Registration.APPLICATION_PENDING,
                given=lambda w: w.apply("CNB", op("registration", "supplement", "BOND", 1, NO_TERMS)),
            ),
            Flaw(Registration.IDENTIFIER_TAKEN, terms_hash=DOCUMENT),
        ),
        given=open_market,
    ),
    Case(
        "registration",
        "withdraw",
        "CNB",
        {"asset": "NOTE", "reason": "market"},
        (
            Flaw(Registration.APPLICATION_UNKNOWN, asset="NONE"),
            Flaw(Registration.NOT_APPLICANT, by="PA"),
            Flaw(Registration.NOT_IN_THIS_STATE, given=_rejected),
        ),
        given=_reviewing,
    ),
    Case(
        "registration",
        "retire",
        "CNB",
        {"asset": "SHARE"},
        (
            Flaw(Assets.ASSET_UNKNOWN, asset="NONE"),
            Flaw(Assets.NOT_ISSUER, by="PA"),
            Flaw(Assets.ASSET_RETIRED, given=_retired),
            Flaw(
                Registration.UNITS_REMAIN,
                given=lambda w: w.apply("CNB", op("assets", "issue", "SHARE", "PA/main", 1, "")),
            ),
        ),
        given=_empty,
    ),
    Case(
        "registration",
        "take_up",
        "REG",
        {"asset": "NOTE"},
        (
            Flaw(Registration.NOT_REGISTRAR, by="PA"),
            Flaw(Registration.APPLICATION_UNKNOWN, asset="NONE"),
            Flaw(Registration.OWN_APPLICATION, by="CNB", given=_all_one),
            Flaw(Registration.NOT_IN_THIS_STATE, given=_taken_up),
        ),
        given=_applied,
    ),
    Case(
        "registration",
        "approve",
        "REG",
        {"asset": "NOTE", "terms_hash": OTHER_DOCUMENT, "reason": "seen"},
        (
            Flaw(Registration.NOT_REGISTRAR, by="CNB"),
            Flaw(Registration.APPLICATION_UNKNOWN, asset="NONE"),
            Flaw(Registration.OWN_APPLICATION, by="CNB", given=_all_one),
            Flaw(Registration.TERMS_DIFFER, terms_hash=DOCUMENT),
            Flaw(Registration.NOT_IN_THIS_STATE, given=_rejected),
        ),
        given=_reviewing,
    ),
    Case(
        "registration",
        "reject",
        "REG",
        {"asset": "NOTE", "reason": "incomplete"},
        (
            Flaw(Registration.NOT_REGISTRAR, by="CNB"),
            Flaw(Registration.APPLICATION_UNKNOWN, asset="NONE"),
            Flaw(Registration.OWN_APPLICATION, by="CNB", given=_all_one),
            Flaw(Registration.NOT_IN_THIS_STATE, given=_rejected),
        ),
        given=_reviewing,
    ),
    Case(
        "registration",
        "impose",
        "REG",
        {"asset": "BOND", "reference": "C-9", "lifter": "LAW", "document_hash": NO_TERMS},
        (
            Flaw(Registration.NOT_AUTHORITY, by="PA"),
            Flaw(Assets.ASSET_UNKNOWN, asset="NONE"),
            Flaw(Members.MEMBER_UNKNOWN, lifter="NOBODY"),
            Flaw(Members.MEMBER_INACTIVE, lifter="GONE"),
            Flaw(Registration.ORDER_EXISTS, given=lambda w: w.apply("REG", impose("C-9"))),
            Flaw(Registration.TOO_MANY_ORDERS, given=_more_orders),
        ),
        given=open_market,
    ),
    Case(
        "registration",
        "impose",
        "REG",
        {"asset": "SHARE", "reference": "C-9", "lifter": "LAW", "document_hash": NO_TERMS},
        (Flaw(Assets.ASSET_RETIRED, given=_retired),),
        given=_empty,
        label=" on what may be retired",
    ),
    Case(
        "registration",
        "lift",
        "LAW",
        {"asset": "BOND", "reference": "A-1"},
        (
            Flaw(Registration.ORDER_UNKNOWN, reference="A-2"),
            Flaw(Registration.NOT_LIFTER, by="REG"),
            Flaw(
                Registration.ORDER_LIFTED,
                given=lambda w: w.apply("LAW", op("registration", "lift", "BOND", "A-1")),
            ),
        ),
        given=_ordered,
    ),
)


def _own_claims(world: Consortium) -> None:
    fixed(world)
    world.apply("CNB", _pay(("KB/main",)))


def _pay(holders: tuple[str, ...]) -> Any:
    return op("servicing", "pay", "BOND", 1, "CNB/main", "CNB/main", holders)


def _far(world: Consortium) -> None:
    """BIG pays so much that nobody can count it."""
    open_market(world)
    world.apply("CNB", apply_for("BIG", isin="", terms_hash=NO_TERMS, cap=10))
    world.apply(
        "REG", op("registration", "take_up", "BIG"), op("registration", "approve", "BIG", NO_TERMS, "")
    )
    world.apply("CNB", op("assets", "issue", "BIG", "PA/main", 10, ""))
    world.apply("CNB", op("servicing", "announce", "BIG", "coupon", "CZK", 10**17, 1, RECORD_MS))
    world.apply("CNB", op("registration", "supplement", "BIG", 10, NO_TERMS))
    world.apply(
        "REG", op("registration", "take_up", "BIG"), op("registration", "approve", "BIG", NO_TERMS, "")
    )
    world.apply("CNB", op("assets", "issue", "BIG", "KB/main", 10, ""))
    world.block(time_ms=RECORD_MS)


def _rich(world: Consortium) -> str:
    """An asset that pays more than anybody can count."""
    terms = Terms("CZK", 10**18, 10**6, "ACT/365", START_MS, 0)
    world.apply("CNB", apply_for("RICH", isin="", terms_hash=NO_TERMS, cap=10, terms=terms))
    taken = op("registration", "take_up", "RICH")
    world.apply("REG", taken, op("registration", "approve", "RICH", NO_TERMS, ""))
    return "RICH"


def _record_date(world: Consortium) -> None:
    announced(world)
    world.block(time_ms=RECORD_MS)


STOPS: Final = (
    Flaw(Assets.ASSET_FROZEN, given=_frozen),
    Flaw(Assets.ASSET_ORDERED, given=lambda w: w.apply("REG", impose())),
    Flaw(Assets.BOOKS_CLOSED, given=_record_date),
)

SERVICING: Final = (
    Case(
        "transfers",
        "send",
        "PA",
        {
            "source": "PA/main",
            "destination": "KB/main",
            "asset": "BOND",
            "amount": 1,
            "end_to_end_id": "",
            "uetr": b"",
            "purpose": "",
        },
        STOPS,
        given=open_market,
        label=" of a bond",
    ),
    Case("assets", "freeze_asset", "CNB", {"asset": "BOND"}, STOPS[1:], given=open_market, label=" a bond"),
    Case(
        "servicing",
        "announce",
        "CNB",
        {
            "asset": "BOND",
            "kind": "coupon",
            "currency": "CZK",
            "pays": 5,
            "per": 2,
            "record_ms": START_MS + HOUR_MS,
        },
        (
            Flaw(Assets.ASSET_UNKNOWN, asset="NONE"),
            Flaw(Assets.NOT_ISSUER, by="PA"),
            Flaw(Servicing.SAME_ASSET, currency="BOND"),
            Flaw(Assets.ASSET_UNKNOWN, currency="NONE"),
            Flaw(Servicing.RECORD_OUT_OF_RANGE, record_ms=lambda world: world.time_ms + STEP_MS),
            Flaw(Servicing.RECORD_OUT_OF_RANGE, record_ms=START_MS + 2 * AHEAD_MAX_MS),
            Flaw(Servicing.TOO_MUCH, pays=10**18),
            Flaw(Servicing.ACTION_PENDING, given=announced),
        ),
        given=open_market,
    ),
    Case(
        "servicing",
        "announce",
        "CNB",
        {
            "asset": "BOND",
            "kind": "redemption",
            "currency": "CZK",
            "pays": 1_000,
            "per": 10,
            "record_ms": TERMS.matures_ms,
        },
        (
            Flaw(Registration.APPLICATION_UNKNOWN, asset="CZK", currency="EUR"),
            Flaw(Servicing.NOT_BY_ITS_TERMS, currency="EUR"),
            Flaw(Servicing.NOT_BY_ITS_TERMS, pays=999),
            Flaw(Servicing.NOT_BY_ITS_TERMS, record_ms=TERMS.matures_ms - 1),
        ),
        given=open_market,
        label=" a redemption",
    ),
    Case(
        "servicing",
        "announce_interest",
        "CNB",
        {"asset": "BOND", "record_ms": START_MS + 36 * DAY_MS},
        (
            Flaw(Assets.ASSET_UNKNOWN, asset="NONE"),
            Flaw(Assets.NOT_ISSUER, by="PA"),
            Flaw(Registration.APPLICATION_UNKNOWN, asset="CZK"),
            Flaw(Servicing.NO_INTEREST, record_ms=START_MS + HOUR_MS),
            Flaw(Servicing.TOO_MUCH, asset=_rich),
            Flaw(Servicing.RECORD_OUT_OF_RANGE, record_ms=START_MS + 2 * AHEAD_MAX_MS),
            Flaw(Servicing.ACTION_PENDING, given=announced),
        ),
        given=open_market,
    ),
    Case(
        "servicing",
        "announce",
        "CNB",
        {
            "asset": "SHARE",
            "kind": "distribution",
            "currency": "CZK",
            "pays": 5,
            "per": 2,
            "record_ms": START_MS + HOUR_MS,
        },
        (Flaw(Assets.ASSET_RETIRED, given=_retired),),
        given=_empty,
        label=" of what may be retired",
    ),
    Case(
        "servicing",
        "cancel",
        "CNB",
        {"asset": "BOND", "number": 1},
        (
            Flaw(Assets.ASSET_UNKNOWN, asset="NONE"),
            Flaw(Assets.NOT_ISSUER, by="PA"),
            Flaw(Servicing.ACTION_UNKNOWN, number=2),
            Flaw(
                Servicing.NOT_IN_THIS_STATE,
                given=lambda w: w.apply("CNB", op("servicing", "cancel", "BOND", 1)),
            ),
        ),
        given=fixing,
    ),
    Case(
        "servicing",
        "fix",
        "CNB",
        {"asset": "BOND", "number": 1, "holders": ("PA/main",)},
        (
            Flaw(Servicing.ACTION_UNKNOWN, number=2),
            Flaw(
                Servicing.NOT_IN_THIS_STATE,
                given=lambda w: w.apply("CNB", op("servicing", "cancel", "BOND", 1)),
            ),
            Flaw(Servicing.NOT_ITS_HOLDERS, by="KB"),
            Flaw(Assets.ACCOUNT_UNKNOWN, holders=("PA/none",)),
            Flaw(Servicing.HOLDS_NOTHING, holders=("PA/empty",)),
            Flaw(Servicing.HOLDER_FIXED, holders=("PA/main", "PA/main")),
        ),
        given=fixing,
    ),
    Case(
        "servicing",
        "fix",
        "CNB",
        {"asset": "BIG", "number": 1, "holders": ("PA/main",)},
        (Flaw(Servicing.TOO_MUCH, holders=("PA/main", "KB/main")),),
        given=_far,
        label=" of too much",
    ),
    Case(
        "servicing",
        "pay",
        "CNB",
        {
            "asset": "BOND",
            "number": 1,
            "source": "CNB/main",
            "taken_back": "CNB/main",
            "holders": ("PA/main",),
        },
        (
            Flaw(Assets.ASSET_UNKNOWN, asset="NONE"),
            Flaw(Assets.NOT_ISSUER, by="PA"),
            Flaw(Assets.ASSET_ORDERED, given=lambda w: w.apply("REG", impose())),
            Flaw(Servicing.ACTION_UNKNOWN, number=2),
            Flaw(Assets.ASSET_FROZEN, given=lambda w: w.apply("CNB", op("assets", "freeze_asset", "CZK"))),
            Flaw(Assets.ACCOUNT_UNKNOWN, source="CNB/none"),
            Flaw(Assets.NOT_OWNER, source="PA/main"),
            Flaw(Assets.NOT_OWNER, taken_back="PA/main"),
            Flaw(Servicing.CLAIM_UNKNOWN, holders=("PA/empty",)),
            Flaw(Servicing.CLAIM_PAID, holders=("KB/main",)),
            Flaw(
                Assets.ACCOUNT_FROZEN,
                given=lambda w: w.apply("PA", op("assets", "freeze_account", "PA/main")),
            ),
        ),
        given=_own_claims,
    ),
    Case(
        "servicing",
        "pay",
        "CNB",
        {
            "asset": "BOND",
            "number": 1,
            "source": "CNB/main",
            "taken_back": "CNB/main",
            "holders": ("PA/main", "KB/main"),
        },
        (
            Flaw(
                Servicing.NOT_IN_THIS_STATE,
                given=lambda w: w.apply("CNB", _pay(("PA/main", "KB/main"))),
            ),
            Flaw(Servicing.CLAIM_PAID, holders=("PA/main", "PA/main")),
            Flaw(
                Assets.INSUFFICIENT_BALANCE,
                given=lambda w: w.apply("CNB", op("assets", "redeem", "CZK", "CNB/main", 200, "")),
            ),
        ),
        given=fixed,
        label=" all",
    ),
)
