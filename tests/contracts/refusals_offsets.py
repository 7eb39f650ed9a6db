"""The refusals of ``offsets`` (cases.py says how to read a table)."""

from typing import Any, Final

from contracts.assets import Assets
from contracts.offsets import DURATION_MAX_MS, Offsets
from tests.contracts.cases import Case, Flaw, hold
from tests.contracts.market import HOUR_MS, apply_for, open_market
from tests.contracts.refusals_trading import UNKNOWN, does
from tests.kit import ADMINISTRATOR, NO_TERMS, START_MS, Consortium, fields_of, op

THE_OFFSET: Final = hold("offset")
EXPIRES_MS: Final = START_MS + HOUR_MS
PROPOSAL: Final[dict[str, Any]] = {
    "other": "KB",
    "claim": "KB-DEPOSIT",
    "claim_units": 70,
    "debt": "PA-LOAN",
    "debt_units": 60,
    "account": "PA/main",
    "expires_ms": EXPIRES_MS,
}


def mutual(world: Consortium) -> None:
    """PA owes KB a loan of 100, KB owes PA a deposit of 70."""
    open_market(world)
    for debtor, creditor, asset, kind, units in (
        ("PA", "KB", "PA-LOAN", "loan", 100),
        ("KB", "PA", "KB-DEPOSIT", "deposit", 70),
    ):
        roles = ("participant", "issuer")
        world.apply(ADMINISTRATOR, op("members", "change", debtor, f"Bank {debtor}", "", roles))
        world.apply(debtor, apply_for(asset, asset_class=kind, isin="", terms_hash=NO_TERMS, cap=units))
        world.apply("REG", op("registration", "take_up", asset))
        world.apply("REG", op("registration", "approve", asset, NO_TERMS, ""))
        world.apply(debtor, op("assets", "issue", asset, f"{creditor}/main", units, ""))


def proposed(world: Consortium) -> None:
    mutual(world)
    world.holds["offset"] = ("PA", propose(world))


def propose(world: Consortium, **changed: Any) -> bytes:
    """PA proposes; the offset's id."""
    receipt = world.apply("PA", op("offsets", "propose", *(PROPOSAL | changed).values()))
    found: bytes = fields_of(receipt.events[0])[2]
    return found


OFFSETS: Final = (
    Case(
        "offsets",
        "propose",
        "PA",
        PROPOSAL,
        (
            Flaw(Assets.ASSET_UNKNOWN, claim="NONE"),
            Flaw(Offsets.NO_LIABILITY, claim="BOND"),
            Flaw(Assets.ASSET_FROZEN, given=does("KB", "assets", "freeze_asset", "KB-DEPOSIT")),
            Flaw(Offsets.NOT_THE_DEBTOR, other="CNB"),
            Flaw(Offsets.NOT_THE_DEBTOR, by="KB"),
            Flaw(Offsets.EXPIRY_OUT_OF_RANGE, expires_ms=START_MS),
            Flaw(Offsets.EXPIRY_OUT_OF_RANGE, expires_ms=START_MS + 2 * DURATION_MAX_MS),
            Flaw(Assets.ACCOUNT_UNKNOWN, account="PA/none"),
            Flaw(Assets.NOT_OWNER, account="KB/main"),
        ),
        given=mutual,
    ),
    Case(
        "offsets",
        "agree",
        "KB",
        {"proposer": "PA", "offset": THE_OFFSET, "claim_units": 70, "debt_units": 60, "account": "KB/main"},
        (
            Flaw(Offsets.OFFSET_UNKNOWN, offset=UNKNOWN),
            Flaw(Offsets.NOT_ITS_OTHER, by="CNB"),
            Flaw(Offsets.OFFSET_ENDED, given=does("PA", "offsets", "withdraw", THE_OFFSET)),
            Flaw(Offsets.OFFSET_ENDED, late=True),
            Flaw(Offsets.TERMS_CHANGED, claim_units=69),
            Flaw(Offsets.TERMS_CHANGED, debt_units=61),
            Flaw(Assets.ASSET_FROZEN, given=does("KB", "assets", "freeze_asset", "KB-DEPOSIT")),
            Flaw(Assets.NOT_OWNER, account="PA/main"),
            Flaw(Assets.ACCOUNT_FROZEN, given=does("PA", "assets", "freeze_account", "PA/main")),
            Flaw(Assets.INSUFFICIENT_BALANCE, account="KB/empty"),
        ),
        given=proposed,
    ),
    Case(
        "offsets",
        "withdraw",
        "PA",
        {"offset": THE_OFFSET},
        (
            Flaw(Offsets.OFFSET_UNKNOWN, by="KB"),
            Flaw(Offsets.OFFSET_ENDED, given=does("PA", "offsets", "withdraw", THE_OFFSET)),
        ),
        given=proposed,
    ),
)
