"""The words of registration and servicing: applications, legal orders, terms, claims, and the facts that
tell of them (registration.py, servicing.py). Nothing here acts.
"""

from math import gcd
from typing import Annotated, Final, Literal

from msgspec import Meta

from contracts.identifiers import Isin, Lei
from contracts.positions import AssetClass, Decimals, Reference
from node.ledger.contract import Fact, Movement
from node.ledger.types import (
    AccountId,
    Amount,
    AssetId,
    Balance,
    Count,
    Hash,
    Integer,
    MemberId,
    Record,
    TimeMs,
)

PIECE_MAX: Final = 1_000
"""Holders fixed or paid in one operation."""
MILLION: Final = 1_000_000
DAY_MS: Final = 86_400_000
DAYS_OF_400_YEARS: Final = 146_097
DAYS_BEFORE_1970: Final = 719_468
"""From the 1st of March of year 0 to the 1st of January 1970."""

DayCount = Literal["ACT/360", "ACT/365", "30E/360"]
YEAR: Final[dict[DayCount, int]] = {"ACT/360": 360, "ACT/365": 365, "30E/360": 360}
"""Days of a year."""


OptionalAsset = Annotated[str, Meta(max_length=16)]
Rate = Annotated[int, Meta(ge=0, le=MILLION)]
"""A year's interest in millionths."""
ApplicationStatus = Literal["submitted", "reviewing", "approved", "rejected", "withdrawn"]
ActionStatus = Literal["announced", "fixing", "fixed", "paid", "cancelled"]
ActionKind = Literal["coupon", "distribution", "redemption"]
OrderReference = Annotated[str, Meta(min_length=1, max_length=35)]
Number = Annotated[int, Meta(ge=1, le=2**32 - 1)]
Piece = Annotated[tuple[AccountId, ...], Meta(min_length=1, max_length=PIECE_MAX)]


class Terms(Record, frozen=True):
    """What an asset promises, as far as the ledger reckons with it; all else is in the document whose hash is
    registered. currency: in which it pays, empty: in none. nominal: minor units of it that a minor unit of
    the asset stands for. rate: a year's interest. starts_ms, matures_ms: 0: none.
    """

    currency: OptionalAsset
    nominal: Balance
    rate: Rate
    day_count: DayCount
    starts_ms: TimeMs
    matures_ms: TimeMs


class Application(Record, frozen=True):
    """What an issuer asks of the registrars: a new asset, or a supplement to the cap of one. terms_hash: of
    the document of terms, zero: none. reviewer: who has taken it up, empty: nobody.
    """

    kind: Literal["new", "supplement"]
    applicant: MemberId
    asset_class: AssetClass
    decimals: Decimals
    cap: Amount
    terms_hash: Hash
    isin: Isin
    lei: Lei
    terms: Terms
    status: ApplicationStatus
    reviewer: Annotated[str, Meta(max_length=16)]


class Entry(Record, frozen=True):
    """An asset on the register: its identifiers and its terms."""

    isin: Isin
    lei: Lei
    terms: Terms
    registrar: MemberId


class Order(Record, frozen=True):
    """A legal order that stops an asset; ``lifter`` alone may lift it. document_hash: zero: none."""

    imposer: MemberId
    lifter: MemberId
    document_hash: Hash
    imposed_ms: TimeMs
    status: Literal["in force", "lifted"]


class Applied(Fact, frozen=True):
    """An issuer applied for an asset, or for more of one."""

    asset: AssetId
    kind: Literal["new", "supplement"]
    applicant: MemberId
    cap: Amount
    terms_hash: Hash


class ApplicationMoved(Fact, frozen=True):
    """An application took one of its transitions."""

    asset: AssetId
    status: ApplicationStatus
    by: MemberId
    reason: Reference


class CapRaised(Fact, frozen=True):
    """More of an asset may be issued."""

    asset: AssetId
    cap: Amount


class OrderImposed(Fact, frozen=True):
    """A legal order stops an asset."""

    asset: AssetId
    reference: OrderReference
    imposer: MemberId
    lifter: MemberId


class OrderLifted(Fact, frozen=True):
    """A legal order was lifted by the member that it names."""

    asset: AssetId
    reference: OrderReference


class Retired(Fact, frozen=True):
    """An asset ended."""

    asset: AssetId


class Action(Record, frozen=True):
    """What an issuer owes the holders of a date. pays of ``currency`` for every ``per`` minor units held.

    outstanding: units at the record date; fixed: of those, how many are found at their holders; owed and
    paid: minor units of the currency. claims: how many holders have not been paid. fixed, owed and claims are
    0 until all holders are found: piece by piece they would tell what single holders have.
    """

    kind: ActionKind
    currency: AssetId
    pays: Amount
    per: Amount
    record_ms: TimeMs
    status: ActionStatus
    outstanding: Integer
    fixed: Integer
    owed: Integer
    paid: Integer
    claims: Count


class Found(Record, frozen=True):
    """How far the holders of an action are found: units, what is owed for them, how many are to be paid."""

    fixed: Integer
    owed: Integer
    claims: Count


class Claim(Record, frozen=True):
    """What a holder had at the record date, and what it is paid for it."""

    units: Amount
    amount: Balance
    status: Literal["unpaid", "paid"]


class Counted(Record, frozen=True):
    """The number of an asset's last action."""

    last: Count


class Place(Record, frozen=True):
    """A place in a queue or on a list."""

    version: Literal[1]


class Announced(Fact, frozen=True):
    """An issuer will pay the holders of a date."""

    asset: AssetId
    number: Number
    kind: ActionKind
    currency: AssetId
    pays: Amount
    per: Amount
    record_ms: TimeMs


class BooksClosed(Fact, frozen=True):
    """The record date has come: so many units are out."""

    asset: AssetId
    number: Number
    outstanding: Integer


class HoldersFixed(Fact, frozen=True):
    """A piece of the holders of the record date was found. What they hold is not told: the issuer reads the
    claims.
    """

    asset: AssetId
    number: Number
    issuer: MemberId
    holders: Count


class Payment(Record, frozen=True):
    """What one holder was paid; units: given back to the issuer for it."""

    account: AccountId
    amount: Balance
    units: Balance


class HoldersPaid(Fact, frozen=True):
    """A piece of the holders was paid. taken_back: the issuer's account that received units."""

    asset: AssetId
    number: Number
    currency: AssetId
    source: AccountId
    taken_back: AccountId
    payments: Annotated[tuple[Payment, ...], Meta(max_length=PIECE_MAX)]
    unpaid: Integer

    def movements(self) -> tuple[Movement, ...]:
        """A debit and a credit a payment, and the same for units given back."""
        result: list[Movement] = []
        for paid in self.payments:
            if paid.amount:
                result += [
                    Movement(self.source, self.currency, -paid.amount, paid.account, ""),
                    Movement(paid.account, self.currency, paid.amount, self.source, ""),
                ]
            if paid.units:
                result += [
                    Movement(paid.account, self.asset, -paid.units, self.taken_back, ""),
                    Movement(self.taken_back, self.asset, paid.units, paid.account, ""),
                ]
        return tuple(result)


class ActionEnded(Fact, frozen=True):
    """Every holder is paid, or the action was cancelled before its record date."""

    asset: AssetId
    number: Number
    status: ActionStatus


class Holders(Record, frozen=True):
    """Accounts that hold an asset, and behind which account the next page begins; empty: there is none."""

    accounts: Annotated[tuple[AccountId, ...], Meta(max_length=PIECE_MAX)]
    next: Annotated[str, Meta(max_length=52)]


class NamedApplication(Record, frozen=True):
    """An application with the asset that it is for."""

    asset: AssetId
    application: Application


class NamedOrder(Record, frozen=True):
    """A legal order with its reference."""

    reference: OrderReference
    order: Order


class NamedAction(Record, frozen=True):
    """An action with its number."""

    number: Number
    action: Action


class NamedClaim(Record, frozen=True):
    """A claim with its holder's account."""

    account: AccountId
    claim: Claim


class Accrued(Record, frozen=True):
    """Interest accrued on a holding, in minor units of ``currency``, over so many whole days."""

    currency: OptionalAsset
    amount: Integer
    days: Integer


def accrued(terms: Terms, units: int, since_ms: int, at_ms: int) -> Accrued:
    """Interest on units since a time, or since the start of the terms where that is later, until another, or
    until maturity where that is before; rounded down.

    units x nominal x rate x days / (days of a year x 1,000,000): simple interest.
    """
    pays, per, days = interest(terms, since_ms, at_ms)
    return Accrued(terms.currency, min(units * pays // per, 2**63 - 1), days)


def interest(terms: Terms, since_ms: int, at_ms: int) -> tuple[int, int, int]:
    """(pays, per, days): so many minor units of the currency accrue on so many units, in lowest terms, and
    over how many days.
    """
    ends_ms = min(at_ms, terms.matures_ms) if terms.matures_ms else at_ms
    days = days_between(terms.day_count, max(since_ms, terms.starts_ms), ends_ms)
    pays, per = terms.nominal * terms.rate * days, YEAR[terms.day_count] * MILLION
    common = gcd(pays, per)
    return pays // common, per // common, days


def days_between(day_count: DayCount, from_ms: int, to_ms: int) -> int:
    """Whole days of interest from one time to another, 0 where that is not later.

    Actual days are whole periods of 24 hours of block time. 30E/360 (ISDA 2006 definitions, 4.16(g); ISO
    20022 code A007) counts by the civil date in UTC: a month has 30 days, the 31st is the 30th.
    """
    if to_ms <= from_ms:
        return 0
    if day_count != "30E/360":
        return (to_ms - from_ms) // DAY_MS
    (y1, m1, d1), (y2, m2, d2) = civil_date(from_ms), civil_date(to_ms)
    return 360 * (y2 - y1) + 30 * (m2 - m1) + min(d2, 30) - min(d1, 30)


def civil_date(time_ms: int) -> tuple[int, int, int]:
    """(year, month, day) in UTC, by the Gregorian calendar's 400 years of 146,097 days. A year is taken to
    begin in March, so that a leap day is its last.
    """
    eras, day = divmod(time_ms // DAY_MS + DAYS_BEFORE_1970, DAYS_OF_400_YEARS)
    year = (day - day // 1_460 + day // 36_524 - day // 146_096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153  # from March on, the months' lengths repeat every five: 31 30 31 30 31
    day -= (153 * month + 2) // 5
    later, month = divmod(month + 2, 12)
    return eras * 400 + year + later, month + 1, day + 1
