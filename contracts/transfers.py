"""Transfers: money between accounts, at once or in two steps.

``send`` and ``send_many`` settle when they are applied. ``reserve`` sets an amount aside for one destination;
the debtor then posts it (all or a part, the rest is released) or voids it, the creditor's bank may also void
it, and block time expires it.

State       hold / account, hold -> Hold
            due / queue, time, account, hold -> Due
Life        pending --post--> posted        pending --void--> voided        pending --block time--> expired
Invariants  T1 units move only through ``Assets.spread``.
            T2 a pending hold's amount is part of its account's held balance, no other is.
            T3 a hold ends once; from its expiry time on it can only expire.
            T4 the legs of a ``send_many`` add up to its total.
Privacy     who runs a node sees all transfers in clear; a query shows a member its own. References are for
            identifiers, not for names or free text.
"""

from itertools import islice
from typing import Annotated, Final, Literal

from msgspec import Meta
from msgspec.structs import replace

from contracts.assets import PAGE_MAX, Assets
from contracts.positions import Reference
from node.ledger.contract import (
    Category,
    Context,
    Contract,
    Fact,
    Movement,
    Rejected,
    error,
    method,
    query,
    table,
)
from node.ledger.types import AccountId, Amount, AssetId, Hash, Name, Record, TimeMs

LEGS_MAX: Final = 1_000
EXPIRY_MAX: Final = 500
"""Holds that one block expires; the rest follow in the next."""
DURATION_MAX_MS: Final = 90 * 86_400_000
QUEUE: Final = "expiry"

EndToEndId = Reference
Uetr = Annotated[bytes, Meta(max_length=16)]
Purpose = Annotated[str, Meta(max_length=35)]
Status = Literal["pending", "posted", "voided", "expired"]

TRANSITIONS: Final = {"pending": ("posted", "voided", "expired"), "posted": (), "voided": (), "expired": ()}


class Leg(Record, frozen=True):
    """One credit of a ``send_many``."""

    account: AccountId
    amount: Amount
    end_to_end_id: EndToEndId


class Hold(Record, frozen=True):
    """An amount set aside in an account for one destination. ``posted`` is what was paid of it in the end."""

    destination: AccountId
    asset: AssetId
    amount: Amount
    expires_ms: TimeMs
    end_to_end_id: EndToEndId
    status: Status
    posted: Annotated[int, Meta(ge=0, le=10**18)]


class Due(Record, frozen=True):
    """A place in the queue of holds that will expire."""

    version: Literal[1]


class Sent(Fact, frozen=True):
    """A transfer settled."""

    source: AccountId
    destination: AccountId
    asset: AssetId
    amount: Amount
    end_to_end_id: EndToEndId
    uetr: Uetr
    purpose: Purpose

    def movements(self) -> tuple[Movement, ...]:
        """A debit and a credit."""
        return _two(self.source, self.destination, self.asset, self.amount, self.end_to_end_id)


class SentMany(Fact, frozen=True):
    """Transfers from one account settled together."""

    source: AccountId
    asset: AssetId
    total: Amount
    legs: Annotated[tuple[Leg, ...], Meta(max_length=LEGS_MAX)]
    uetr: Uetr
    purpose: Purpose

    def movements(self) -> tuple[Movement, ...]:
        """A debit and a credit a leg."""
        return tuple(
            [
                m
                for leg in self.legs
                for m in _two(self.source, leg.account, self.asset, leg.amount, leg.end_to_end_id)
            ]
        )


class Reserved(Fact, frozen=True):
    """An amount was set aside."""

    source: AccountId
    hold: Hash
    destination: AccountId
    asset: AssetId
    amount: Amount
    expires_ms: TimeMs
    end_to_end_id: EndToEndId


class Posted(Fact, frozen=True):
    """A hold was paid, in whole or in part."""

    source: AccountId
    hold: Hash
    destination: AccountId
    asset: AssetId
    amount: Amount
    end_to_end_id: EndToEndId

    def movements(self) -> tuple[Movement, ...]:
        """A debit and a credit."""
        return _two(self.source, self.destination, self.asset, self.amount, self.end_to_end_id)


class Voided(Fact, frozen=True):
    """A hold was given back."""

    source: AccountId
    hold: Hash


class Expired(Fact, frozen=True):
    """A hold was given back because its time was over."""

    source: AccountId
    hold: Hash


class NamedHold(Record, frozen=True):
    """A hold with its id."""

    id: Hash
    hold: Hold


class Transfers(Contract):
    """See the module's docstring."""

    name = "transfers"
    facts = (Sent, SentMany, Reserved, Posted, Voided, Expired)

    SAME_ACCOUNT = error(1, Category.INVALID, "Debited and credited account are the same.")
    UETR_LENGTH = error(2, Category.INVALID, "A UETR is a UUID of 16 bytes, or empty.")
    TOTAL_DIFFERS = error(3, Category.INVALID, "The legs do not add up to the total.")
    EXPIRY_OUT_OF_RANGE = error(
        4, Category.INVALID, "A hold expires later than block time and within 90 days."
    )
    HOLD_UNKNOWN = error(5, Category.NOT_FOUND, "The account has no such hold.")
    HOLD_ENDED = error(6, Category.PRECONDITION, "The hold is posted, voided or expired already.")
    HOLD_EXPIRED = error(7, Category.PRECONDITION, "The hold's time is over.")
    MORE_THAN_HELD = error(8, Category.INVALID, "The amount is more than the hold.")
    NOT_A_PARTY = error(
        9, Category.PERMISSION_DENIED, "Only the banks of the debited and the credited account may do this."
    )

    hold = table(Hold, account=AccountId, hold=Hash)
    due = table(Due, queue=Name, time_ms=TimeMs, account=AccountId, hold=Hash)

    def __init__(self, assets: Assets) -> None:
        self.assets = assets

    def on_block(self, ctx: Context) -> None:
        """Expire what is due, oldest first."""
        for (_, time_ms, account, hold), _due in islice(self.due.scan(QUEUE), EXPIRY_MAX):
            if time_ms > ctx.time_ms:
                break
            self._end(account, hold, self._require_hold(account, hold), "expired", 0)
            ctx.emit(Expired(account, hold))

    @method(amount="amount", asset="asset")
    def send(
        self,
        ctx: Context,
        source: AccountId,
        destination: AccountId,
        asset: AssetId,
        amount: Amount,
        end_to_end_id: EndToEndId,
        uetr: Uetr,
        purpose: Purpose,
    ) -> None:
        """Pay an amount from one account to another."""
        self._check_transfer(ctx, source, asset, uetr)
        self._check_destination(source, destination)
        self.assets.move(source, destination, asset, amount)
        ctx.emit(Sent(source, destination, asset, amount, end_to_end_id, uetr, purpose))

    @method(amount="total", asset="asset", work=8)
    def send_many(
        self,
        ctx: Context,
        source: AccountId,
        asset: AssetId,
        total: Amount,
        legs: Annotated[tuple[Leg, ...], Meta(min_length=1, max_length=LEGS_MAX)],
        uetr: Uetr,
        purpose: Purpose,
    ) -> None:
        """Pay up to 1,000 amounts from one account, all or none."""
        self._check_transfer(ctx, source, asset, uetr)
        if sum([leg.amount for leg in legs]) != total:
            raise Rejected(self.TOTAL_DIFFERS)
        for leg in legs:
            self._check_destination(source, leg.account)
        self.assets.spread(source, asset, total, [(leg.account, leg.amount) for leg in legs])
        ctx.emit(SentMany(source, asset, total, legs, uetr, purpose))

    @method(amount="amount", asset="asset")
    def reserve(
        self,
        ctx: Context,
        source: AccountId,
        destination: AccountId,
        asset: AssetId,
        amount: Amount,
        expires_ms: TimeMs,
        end_to_end_id: EndToEndId,
    ) -> None:
        """Set an amount aside for a destination until a time. The hold's id is in the receipt and follows
        from the transaction.
        """
        self._check_transfer(ctx, source, asset, b"")
        self._check_destination(source, destination)
        if not ctx.time_ms < expires_ms <= ctx.time_ms + DURATION_MAX_MS:
            raise Rejected(self.EXPIRY_OUT_OF_RANGE, block_time_ms=ctx.time_ms)
        self.assets.hold(source, asset, amount)
        hold = ctx.proofs.unique_id(ctx.tx_id, ctx.operation)
        self.hold.put(Hold(destination, asset, amount, expires_ms, end_to_end_id, "pending", 0), source, hold)
        self.due.put(Due(1), QUEUE, expires_ms, source, hold)
        ctx.emit(Reserved(source, hold, destination, asset, amount, expires_ms, end_to_end_id))

    @method(amount="amount")
    def post(self, ctx: Context, source: AccountId, hold: Hash, amount: Amount) -> None:
        """Pay a pending hold, or a part of it; the rest is released."""
        self.assets.check_debit(ctx, source)
        pending = self._require_pending(ctx, source, hold)
        if amount > pending.amount:
            raise Rejected(self.MORE_THAN_HELD)
        self.assets.check_active(self.assets.require_asset(pending.asset))
        self.assets.check_credit(pending.destination)
        self._end(source, hold, pending, "posted", amount)
        self.assets.move(source, pending.destination, pending.asset, amount)
        ctx.emit(Posted(source, hold, pending.destination, pending.asset, amount, pending.end_to_end_id))

    @method
    def void(self, ctx: Context, source: AccountId, hold: Hash) -> None:
        """Give a pending hold back."""
        found = self._require_hold(source, hold)
        parties = (
            self.assets.require_account(source).member,
            self.assets.require_account(found.destination).member,
        )
        if ctx.member not in parties:
            raise Rejected(self.NOT_A_PARTY)
        self._end(source, hold, self._require_pending(ctx, source, hold), "voided", 0)
        ctx.emit(Voided(source, hold))

    @query
    def get_hold(self, ctx: Context, account: AccountId, hold: Hash) -> Hold:
        """A hold, pending or ended."""
        return self._require_hold(account, hold)

    @query
    def list_holds(
        self, ctx: Context, account: AccountId, after: Annotated[bytes, Meta(max_length=32)]
    ) -> tuple[NamedHold, ...]:
        """Up to 100 holds of an account, ascending by id, from behind ``after`` (an id, or empty) on."""
        self.assets.require_account(account)
        page = self.hold.scan(account, start=(account, after.ljust(32, b"\0")))
        return tuple(
            islice((NamedHold(parts[1], hold) for parts, hold in page if parts[1] != after), PAGE_MAX)
        )

    # --- guards and effects ---------------------------------------------------------------------------------

    def _check_transfer(self, ctx: Context, source: str, asset: str, uetr: bytes) -> None:
        """What every debit must satisfy, in the public order of precedence."""
        if len(uetr) not in (0, 16):
            raise Rejected(self.UETR_LENGTH)
        self.assets.check_active(self.assets.require_asset(asset))
        self.assets.check_debit(ctx, source)

    def _check_destination(self, source: str, destination: str) -> None:
        if source == destination:
            raise Rejected(self.SAME_ACCOUNT)
        self.assets.check_credit(destination)

    def _require_hold(self, account: str, hold: bytes) -> Hold:
        found = self.hold.get(account, hold)
        if found is None:
            raise Rejected(self.HOLD_UNKNOWN)
        return found

    def _require_pending(self, ctx: Context, account: str, hold: bytes) -> Hold:
        found = self._require_hold(account, hold)
        if found.status != "pending":
            raise Rejected(self.HOLD_ENDED, status=found.status)
        if ctx.time_ms >= found.expires_ms:
            raise Rejected(self.HOLD_EXPIRED)
        return found

    def _end(self, account: str, hold: bytes, pending: Hold, status: Status, posted: int) -> None:
        """A pending hold takes one of its transitions, and what it held is free."""
        if status not in TRANSITIONS[pending.status]:
            raise Rejected(self.HOLD_ENDED, status=pending.status)
        self.hold.put(replace(pending, status=status, posted=posted), account, hold)
        self.due.delete(QUEUE, pending.expires_ms, account, hold)
        self.assets.release(account, pending.asset, pending.amount)


def _two(source: str, destination: str, asset: str, amount: int, reference: str) -> tuple[Movement, Movement]:
    return Movement(source, asset, -amount, destination, reference), Movement(
        destination, asset, amount, source, reference
    )
