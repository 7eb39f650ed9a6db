"""The words of assets and accounts: what is registered, what is owned, and the facts that tell of it
(assets.py). Nothing here acts.
"""

from typing import Annotated, Final, Literal

from msgspec import Meta

from node.ledger.contract import Fact, Movement
from node.ledger.types import AccountId, Amount, AssetId, Balance, Hash, Integer, MemberId, Record, TimeMs

ACCOUNTS_MAX: Final = 1_000
"""Accounts opened in one operation."""

NewAssetId = Annotated[str, Meta(min_length=1, max_length=16, pattern=r"\A[A-Z0-9][A-Z0-9.-]*\Z")]
NewAccountId = Annotated[
    str,
    Meta(min_length=3, max_length=52, pattern=r"\A[A-Z0-9][A-Z0-9-]{0,15}/[A-Za-z0-9][A-Za-z0-9._-]{0,33}\Z"),
]
AssetClass = Literal[
    "currency",
    "deposit-certificate",
    "bill",
    "bond",
    "receivable",
    "fund-share",
    "other",
    "placement",
    "loan",
    "deposit",
]
Decimals = Annotated[int, Meta(ge=0, le=18)]
Reference = Annotated[str, Meta(max_length=35)]
Status = Literal["active", "frozen", "ordered", "record-date", "retired"]


class Asset(Record, frozen=True):
    """An asset, as registered, and how much of it there is. Amounts in minor units; terms_hash zero: no terms
    document.
    """

    issuer: MemberId
    asset_class: AssetClass
    decimals: Decimals
    cap: Amount
    terms_hash: Hash
    status: Status
    issued: Integer
    redeemed: Integer


StopReason = Annotated[str, Meta(max_length=48)]


class Stop(Record, frozen=True):
    """A reason why an asset does not move, and the status that it gives."""

    status: Literal["frozen", "ordered", "record-date"]


class Account(Record, frozen=True):
    """An account's owner and life."""

    member: MemberId
    status: Literal["open", "frozen", "closed"]
    opened_ms: TimeMs


class Position(Record, frozen=True):
    """An account's balance of one asset."""

    posted: Balance
    held: Balance


class AssetRegistered(Fact, frozen=True):
    """An asset exists."""

    asset: AssetId
    issuer: MemberId
    asset_class: AssetClass
    decimals: Decimals
    cap: Amount
    terms_hash: Hash


class AssetStatusChanged(Fact, frozen=True):
    """An asset was frozen, stopped, or released."""

    asset: AssetId
    status: Status


class AccountsOpened(Fact, frozen=True):
    """Accounts exist."""

    accounts: Annotated[tuple[AccountId, ...], Meta(max_length=ACCOUNTS_MAX)]


class AccountStatusChanged(Fact, frozen=True):
    """An account was frozen, released or closed."""

    account: AccountId
    status: Literal["open", "frozen", "closed"]


class Issued(Fact, frozen=True):
    """Units came into being in an account."""

    asset: AssetId
    account: AccountId
    amount: Amount
    reference: Reference

    def movements(self) -> tuple[Movement, ...]:
        """One credit."""
        return (Movement(self.account, self.asset, self.amount, "", self.reference),)


class Redeemed(Fact, frozen=True):
    """Units ceased to be, out of an account of their issuer."""

    asset: AssetId
    account: AccountId
    amount: Amount
    reference: Reference

    def movements(self) -> tuple[Movement, ...]:
        """One debit."""
        return (Movement(self.account, self.asset, -self.amount, "", self.reference),)


class NamedAsset(Record, frozen=True):
    """An asset with its id."""

    id: AssetId
    asset: Asset


class NamedAccount(Record, frozen=True):
    """An account with its id."""

    id: AccountId
    account: Account


class NamedPosition(Record, frozen=True):
    """A balance with its asset."""

    asset: AssetId
    position: Position


NOTHING: Final = Position(0, 0)
"""The balance of an asset that an account never had."""
