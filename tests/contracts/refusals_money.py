"""The refusals of ``assets`` and ``transfers`` (cases.py says how to read a table)."""

from typing import Final

from contracts.assets import Assets
from contracts.transfers import Leg, Transfers
from tests.contracts.cases import DAY_MS, UNKNOWN_HOLD, Case, Flaw, hold
from tests.kit import NO_TERMS, START_MS, STEP_MS, op

# --- assets -------------------------------------------------------------------------------------------------

LEFT_TO_ISSUE: Final = 2**63 - 1 - 9 * 10**18
"""Of an asset of which the largest amount was issued and redeemed nine times."""

ASSETS: Final = (
    Case(
        "assets",
        "register",
        "CNB",
        {"asset": "BOND", "asset_class": "bond", "decimals": 2, "cap": 1_000, "terms_hash": NO_TERMS},
        (
            Flaw(Assets.NOT_ISSUER, by="PA"),
            Flaw(Assets.REGISTRATION_REQUIRED, given=lambda world: world.admit("REG", "registrar")),
            Flaw(Assets.ASSET_EXISTS, asset="CZK"),
        ),
    ),
    Case(
        "assets",
        "issue",
        "CNB",
        {"asset": "CZK", "account": "PA/main", "amount": 5, "reference": "r"},
        (
            Flaw(Assets.ASSET_UNKNOWN, asset="NONE"),
            Flaw(Assets.NOT_ISSUER, by="PA"),
            Flaw(Assets.ASSET_FROZEN, asset="EUR"),
            Flaw(Assets.CAP_EXCEEDED, amount=998_001),
            Flaw(Assets.ACCOUNT_UNKNOWN, account="PA/none"),
            Flaw(Assets.ACCOUNT_FROZEN, account="KB/frozen"),
            Flaw(Assets.ACCOUNT_CLOSED, account="KB/closed"),
        ),
    ),
    Case(
        "assets",
        "issue",
        "CNB",
        {"asset": "BIG", "account": "CNB/main", "amount": LEFT_TO_ISSUE, "reference": ""},
        (
            # The largest amount was issued and redeemed nine times; all issues together are bounded.
            Flaw(Assets.BALANCE_OVERFLOW, amount=LEFT_TO_ISSUE + 1),
            Flaw(Assets.ACCOUNT_UNKNOWN, account="PA/none"),
        ),
        given=lambda world: world.apply(
            "CNB",
            op("assets", "register", "BIG", "other", 0, 10**18, NO_TERMS),
            *[op("assets", method, "BIG", "CNB/main", 10**18, "") for method in ("issue", "redeem") * 9],
        ),
        label=" at the largest amount",
    ),
    Case(
        "assets",
        "redeem",
        "CNB",
        {"asset": "CZK", "account": "CNB/main", "amount": 400, "reference": ""},
        (
            Flaw(Assets.ASSET_UNKNOWN, asset="NONE"),
            Flaw(Assets.NOT_ISSUER, by="PA"),
            Flaw(Assets.ASSET_FROZEN, asset="EUR"),
            Flaw(Assets.ACCOUNT_UNKNOWN, account="PA/none"),
            Flaw(Assets.NOT_OWNER, account="PA/main"),
            Flaw(
                Assets.ACCOUNT_FROZEN,
                given=lambda w: w.apply("CNB", op("assets", "freeze_account", "CNB/main")),
            ),
            Flaw(
                Assets.ACCOUNT_CLOSED,
                account="CNB/closed",
                given=lambda w: w.apply(
                    "CNB",
                    op("assets", "open_accounts", ("CNB/closed",)),
                    op("assets", "close_account", "CNB/closed"),
                ),
            ),
            Flaw(Assets.INSUFFICIENT_BALANCE, amount=401),
        ),
    ),
    Case(
        "assets",
        "freeze_asset",
        "CNB",
        {"asset": "CZK"},
        (
            Flaw(Assets.ASSET_UNKNOWN, asset="NONE"),
            Flaw(Assets.NOT_ISSUER, by="PA"),
            Flaw(Assets.STATUS_UNCHANGED, asset="EUR"),
        ),
    ),
    Case(
        "assets",
        "release_asset",
        "CNB",
        {"asset": "EUR"},
        (
            Flaw(Assets.ASSET_UNKNOWN, asset="NONE"),
            Flaw(Assets.NOT_ISSUER, by="PA"),
            Flaw(Assets.STATUS_UNCHANGED, asset="CZK"),
        ),
    ),
    Case(
        "assets",
        "open_accounts",
        "PA",
        {"accounts": ("PA/one", "PA/two")},
        (
            Flaw(Assets.NOT_OWN_MEMBER, by="KB"),
            Flaw(Assets.NOT_OWN_MEMBER, accounts=("PA/one", "PAX/two")),
            Flaw(Assets.ACCOUNT_EXISTS, accounts=("PA/one", "PA/main")),
            Flaw(Assets.ACCOUNT_EXISTS, accounts=("PA/one", "PA/one")),
        ),
    ),
    Case(
        "assets",
        "close_account",
        "PA",
        {"account": "PA/empty"},
        (
            Flaw(Assets.ACCOUNT_UNKNOWN, account="PA/none"),
            Flaw(Assets.NOT_OWNER, by="KB"),
            Flaw(Assets.ACCOUNT_CLOSED, account="PA/closed"),
            Flaw(Assets.BALANCE_REMAINS, account="PA/main"),
            Flaw(Assets.BALANCE_REMAINS, account="PA/frozen"),
        ),
    ),
    Case(
        "assets",
        "freeze_account",
        "PA",
        {"account": "PA/main"},
        (
            Flaw(Assets.ACCOUNT_UNKNOWN, account="PA/none"),
            Flaw(Assets.NOT_OWNER, by="KB"),
            Flaw(Assets.ACCOUNT_CLOSED, account="PA/closed"),
            Flaw(Assets.STATUS_UNCHANGED, account="PA/frozen"),
        ),
    ),
    Case(
        "assets",
        "release_account",
        "PA",
        {"account": "PA/frozen"},
        (
            Flaw(Assets.ACCOUNT_UNKNOWN, account="PA/none"),
            Flaw(Assets.NOT_OWNER, by="KB"),
            Flaw(Assets.ACCOUNT_CLOSED, account="PA/closed"),
            Flaw(Assets.STATUS_UNCHANGED, account="PA/main"),
        ),
    ),
)

# --- transfers ----------------------------------------------------------------------------------------------

_DEBIT_FLAWS: Final = (
    Flaw(Assets.ASSET_UNKNOWN, asset="NONE"),
    Flaw(Assets.ASSET_FROZEN, asset="EUR"),
    Flaw(Assets.ACCOUNT_UNKNOWN, source="PA/none"),
    Flaw(Assets.NOT_OWNER, by="KB"),
    Flaw(Assets.ACCOUNT_FROZEN, source="PA/frozen"),
    Flaw(Assets.ACCOUNT_CLOSED, source="PA/closed"),
)
_CREDIT_FLAWS: Final = (
    Flaw(Transfers.SAME_ACCOUNT, destination="PA/main"),
    Flaw(Assets.ACCOUNT_UNKNOWN, destination="KB/none"),
    Flaw(Assets.ACCOUNT_FROZEN, destination="KB/frozen"),
    Flaw(Assets.ACCOUNT_CLOSED, destination="KB/closed"),
)

TRANSFERS: Final = (
    Case(
        "transfers",
        "send",
        "PA",
        {
            "source": "PA/main",
            "destination": "KB/main",
            "asset": "CZK",
            "amount": 800,
            "end_to_end_id": "e",
            "uetr": b"",
            "purpose": "p",
        },
        (
            Flaw(Transfers.UETR_LENGTH, uetr=bytes(15)),
            *_DEBIT_FLAWS,
            *_CREDIT_FLAWS,
            Flaw(Assets.INSUFFICIENT_BALANCE, amount=801),  # 1,000 posted of which 200 are held
        ),
    ),
    Case(
        "transfers",
        "send_many",
        "PA",
        {
            "source": "PA/main",
            "asset": "CZK",
            "total": 800,
            "legs": (Leg("KB/main", 300, "a"), Leg("CNB/main", 500, "b")),
            "uetr": bytes(16),
            "purpose": "",
        },
        (
            Flaw(Transfers.UETR_LENGTH, uetr=b"\1"),
            *_DEBIT_FLAWS,
            Flaw(Transfers.TOTAL_DIFFERS, total=801),
            Flaw(Transfers.SAME_ACCOUNT, legs=(Leg("KB/main", 300, ""), Leg("PA/main", 500, ""))),
            Flaw(Assets.ACCOUNT_UNKNOWN, legs=(Leg("KB/main", 300, ""), Leg("KB/none", 500, ""))),
            Flaw(Assets.ACCOUNT_FROZEN, legs=(Leg("KB/frozen", 800, ""),)),
            Flaw(Assets.ACCOUNT_CLOSED, legs=(Leg("KB/closed", 800, ""),)),
            Flaw(
                Assets.INSUFFICIENT_BALANCE,
                legs=(Leg("KB/main", 300, ""), Leg("CNB/main", 501, "")),
                total=801,
            ),
        ),
    ),
    Case(
        "transfers",
        "reserve",
        "PA",
        {
            "source": "PA/main",
            "destination": "KB/main",
            "asset": "CZK",
            "amount": 800,
            "expires_ms": START_MS + DAY_MS,
            "end_to_end_id": "",
        },
        (
            *_DEBIT_FLAWS,
            *_CREDIT_FLAWS,
            Flaw(Transfers.EXPIRY_OUT_OF_RANGE, expires_ms=lambda world: world.time_ms + STEP_MS),
            Flaw(Transfers.EXPIRY_OUT_OF_RANGE, expires_ms=START_MS),
            Flaw(Transfers.EXPIRY_OUT_OF_RANGE, expires_ms=START_MS + 91 * DAY_MS),
            Flaw(Assets.INSUFFICIENT_BALANCE, amount=801),
        ),
    ),
    Case(
        "transfers",
        "post",
        "PA",
        {"source": "PA/main", "hold": hold("pending"), "amount": 50},
        (
            Flaw(Assets.ACCOUNT_UNKNOWN, source="PA/none"),
            Flaw(Assets.NOT_OWNER, by="KB"),
            Flaw(Assets.ACCOUNT_FROZEN, source="PA/frozen", hold=hold("frozen-source")),
            Flaw(Assets.ACCOUNT_CLOSED, source="PA/closed"),
            Flaw(Transfers.HOLD_UNKNOWN, hold=UNKNOWN_HOLD),
            Flaw(Transfers.HOLD_ENDED, hold=hold("voided")),
            Flaw(Transfers.HOLD_EXPIRED, late=True),
            Flaw(Transfers.MORE_THAN_HELD, amount=101),
            Flaw(Assets.ASSET_FROZEN, hold=hold("frozen-asset"), amount=10),
            Flaw(Assets.ACCOUNT_FROZEN, hold=hold("frozen-destination")),
            Flaw(Assets.ACCOUNT_CLOSED, hold=hold("closed-destination")),
        ),
    ),
    Case(
        "transfers",
        "void",
        "PA",
        {"source": "PA/main", "hold": hold("pending")},
        (
            Flaw(Transfers.HOLD_UNKNOWN, source="KB/main"),
            Flaw(Transfers.HOLD_UNKNOWN, hold=UNKNOWN_HOLD),
            Flaw(Transfers.NOT_A_PARTY, by="CNB"),
            Flaw(Transfers.HOLD_ENDED, hold=hold("voided")),
            Flaw(Transfers.HOLD_EXPIRED, late=True),
        ),
    ),
)
