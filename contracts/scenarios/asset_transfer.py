"""Interbank asset transfer and exchange: from the register to both sides' statements, as one guided flow.

A seller opens an exchange for an asset that is on the register: so many units, to one buyer, against cash or
any other asset. Opening makes a secured offer to that buyer alone, so that what is to be delivered is set
aside. The buyer accepts: the offer becomes a deal and the deal is settled in the same operation, both legs or
neither. Then each side draws the statements of its accounts and confirms the exchange with their hash; a side
whose statements do not show what was agreed disputes it, until both confirm. Whatever happens to offer and
deal happens in trading.py and settlement.py, under their rules, and by the steps of the exchange alone: its
offer is neither taken, answered nor cancelled there. The exchange keeps offer and deal together under one id
(the offer's), says whose turn it is, and ends with what both sides have signed about their books.

State       exchange / exchange -> Exchange
            party / member, exchange -> Place
Life        offered --accept--> settled --confirm, both--> confirmed
            offered --decline--> declined    offered --withdraw--> withdrawn
            offered --block time--> expired
            settled --dispute--> disputed --confirm, both--> confirmed
Invariants  T1 an exchange is settled if and only if its deal is; its units passed in ``accept``, both legs.
            T2 the seller's leg is held while the exchange is offered and its offer's time is not over.
            T3 a confirmed exchange has a statement's hash of each side.
            T4 only its two sides act on an exchange.
Privacy     an exchange is shown to its two sides. Statements stay with them, their hashes stand here.
"""

from itertools import islice
from typing import Annotated, Any, Final, Literal

from msgspec import Meta
from msgspec.structs import replace

from contracts.assets import PAGE_MAX, Assets
from contracts.deals import Accounts, Conditions, OptionalId, Place, Weighed, both_legs
from contracts.positions import Reference
from contracts.registration import Registration
from contracts.settlement import Settlement
from contracts.trading import Trading
from node.ledger.contract import Category, Context, Contract, Fact, Rejected, error, method, query, table
from node.ledger.types import Amount, AssetId, Hash, MemberId, Record, TimeMs

ExchangeStatus = Literal["offered", "settled", "confirmed", "disputed", "declined", "withdrawn", "expired"]

TRANSITIONS: Final[dict[ExchangeStatus, tuple[ExchangeStatus, ...]]] = {
    "offered": ("settled", "declined", "withdrawn", "expired"),
    "settled": ("confirmed", "disputed"),
    "disputed": ("confirmed",),
    "confirmed": (),
    "declined": (),
    "withdrawn": (),
    "expired": (),
}


class Exchange(Record, frozen=True):
    """A transfer of ``units`` of an asset against ``amount`` of another, in minor units. expires_ms: until
    when the buyer may accept. deal: once it is settled. seller_statement, buyer_statement: hashes of the
    statements with which the sides confirmed; empty: not yet.
    """

    seller: MemberId
    buyer: MemberId
    asset: AssetId
    units: Amount
    against: AssetId
    amount: Amount
    reference: Reference
    expires_ms: TimeMs
    deal: OptionalId
    seller_statement: OptionalId
    buyer_statement: OptionalId
    status: ExchangeStatus


class ExchangeOpened(Fact, frozen=True):
    """A seller offers a transfer to a buyer."""

    exchange: Hash
    seller: MemberId
    buyer: MemberId
    asset: AssetId
    units: Amount
    against: AssetId
    amount: Amount
    reference: Reference
    expires_ms: TimeMs


class ExchangeMoved(Fact, frozen=True):
    """``member`` took an exchange on."""

    exchange: Hash
    seller: MemberId
    buyer: MemberId
    member: MemberId
    status: ExchangeStatus
    reason: Reference


class ExchangeConfirmed(Fact, frozen=True):
    """``member``'s statements show what was agreed."""

    exchange: Hash
    seller: MemberId
    buyer: MemberId
    member: MemberId
    statement_hash: Hash
    status: ExchangeStatus


class NamedExchange(Record, frozen=True):
    """An exchange with its id."""

    id: Hash
    exchange: Exchange


class AssetTransfer(Contract):
    """See the module's docstring."""

    name = "exchange"
    facts = (ExchangeOpened, ExchangeMoved, ExchangeConfirmed)

    NOT_ON_REGISTER = error(
        1, Category.PRECONDITION, "No registrar has approved the asset: apply for it first."
    )
    EXCHANGE_UNKNOWN = error(2, Category.NOT_FOUND, "The member has no such exchange.")
    NOT_SELLER = error(3, Category.PERMISSION_DENIED, "Only the seller may do this.")
    NOT_BUYER = error(4, Category.PERMISSION_DENIED, "Only the buyer may do this.")
    NOT_IN_THIS_STATE = error(5, Category.PRECONDITION, "The exchange is in no state that allows this.")
    CONFIRMED_ALREADY = error(6, Category.PRECONDITION, "The member has confirmed: it is for the other side.")

    exchange = table(Exchange, exchange=Hash)
    party = table(Place, member=MemberId, exchange=Hash)

    def __init__(
        self, assets: Assets, registration: Registration, trading: Trading, settlement: Settlement
    ) -> None:
        self.assets = assets
        self.registration = registration
        self.trading = trading
        self.settlement = settlement

    # --- the steps ------------------------------------------------------------------------------------------

    def _weight_of_offer(
        self, buyer: str, asset: str, units: int, against: str, amount: int, *_: Any
    ) -> tuple[Weighed, ...]:
        """Both legs."""
        return both_legs(asset, units, 1, against, amount)

    def _weight_of_acceptance(
        self, exchange: bytes, against: str, amount: int, *_: Any
    ) -> tuple[Weighed, ...]:
        """Both legs."""
        found = self.exchange.get(exchange)
        return both_legs(found.asset, found.units, 1, against, amount) if found else ((against, amount),)

    @method(weight=_weight_of_offer, flat=150)
    def open(
        self,
        ctx: Context,
        buyer: MemberId,
        asset: AssetId,
        units: Amount,
        against: AssetId,
        amount: Amount,
        accounts: Accounts,
        expires_ms: TimeMs,
        reference: Reference,
    ) -> None:
        """Offer a transfer to a buyer; the units are set aside. The exchange's id is in the receipt."""
        registered = self.assets.require_asset(asset)
        if registered.asset_class != "currency" and self.registration.entry.get(asset) is None:
            raise Rejected(self.NOT_ON_REGISTER, asset=asset)
        soon = expires_ms + 1
        conditions = Conditions(0, soon, soon, secured=1, partial=0)
        price = (against, amount, accounts, (buyer,), expires_ms)
        self.trading.make_offer(ctx, "sell", asset, units, 1, 1, *price, conditions)
        exchange_id = ctx.proofs.unique_id(ctx.tx_id, ctx.operation)
        self.trading.lead(ctx.member, exchange_id)
        asked = (ctx.member, buyer, asset, units, against, amount, reference, expires_ms)
        self.exchange.put(Exchange(*asked, b"", b"", b"", "offered"), exchange_id)
        for member in (ctx.member, buyer):
            self.party.put(Place(1), member, exchange_id)
        ctx.emit(ExchangeOpened(exchange_id, *asked))

    @method(weight=_weight_of_acceptance, flat=250)
    def accept(
        self, ctx: Context, exchange: Hash, against: AssetId, amount: Amount, accounts: Accounts
    ) -> None:
        """Accept what is offered, at the price that the buyer signs, and settle it: both legs, or neither."""
        found = self._require(ctx, exchange)
        if ctx.member != found.buyer:
            raise Rejected(self.NOT_BUYER)
        self._check_may(found, "settled")
        deal = ctx.proofs.unique_id(ctx.tx_id, ctx.operation)
        self.trading.strike(ctx, found.seller, exchange, 1, against, amount, accounts)
        self.settlement.settle(ctx, deal)
        self._move_on(ctx, exchange, replace(found, deal=deal), "settled", "")

    @method
    def decline(self, ctx: Context, exchange: Hash, reason: Reference) -> None:
        """Turn down what is offered; the seller's units are free."""
        found = self._require(ctx, exchange)
        if ctx.member != found.buyer:
            raise Rejected(self.NOT_BUYER)
        self._check_may(found, "declined")
        self.trading.end(ctx, found.seller, exchange)
        self._move_on(ctx, exchange, found, "declined", reason)

    @method
    def withdraw(self, ctx: Context, exchange: Hash, reason: Reference) -> None:
        """Take back what is offered; the seller's units are free."""
        found = self._require(ctx, exchange)
        if ctx.member != found.seller:
            raise Rejected(self.NOT_SELLER)
        self._check_may(found, "withdrawn")
        self.trading.end(ctx, found.seller, exchange)
        self._move_on(ctx, exchange, found, "withdrawn", reason)

    @method
    def confirm(self, ctx: Context, exchange: Hash, statement_hash: Hash) -> None:
        """Confirm that the signing member's statements, whose hash this is, show what was agreed. With both
        sides' the exchange is confirmed.
        """
        found = self._require(ctx, exchange)
        self._check_may(found, "confirmed")
        sells = ctx.member == found.seller
        if found.seller_statement if sells else found.buyer_statement:
            raise Rejected(self.CONFIRMED_ALREADY)
        found = replace(found, **{"seller_statement" if sells else "buyer_statement": statement_hash})
        if found.seller_statement and found.buyer_statement:
            found = replace(found, status="confirmed")
        self.exchange.put(found, exchange)
        sides = (found.seller, found.buyer)
        ctx.emit(ExchangeConfirmed(exchange, *sides, ctx.member, statement_hash, found.status))

    @method
    def dispute(self, ctx: Context, exchange: Hash, reason: Reference) -> None:
        """Say that the signing member's statements do not show what was agreed; both confirm anew."""
        found = self._require(ctx, exchange)
        self._check_may(found, "disputed")
        self._move_on(
            ctx, exchange, replace(found, seller_statement=b"", buyer_statement=b""), "disputed", reason
        )

    # --- queries --------------------------------------------------------------------------------------------

    @query
    def get_exchange(self, ctx: Context, member: MemberId, exchange: Hash) -> Exchange:
        """An exchange of a member."""
        found = self.exchange.get(exchange)
        if found is None or member not in (found.seller, found.buyer):
            raise Rejected(self.EXCHANGE_UNKNOWN)
        if found.status == "offered" and ctx.time_ms >= found.expires_ms:
            return replace(found, status="expired")  # as its offer is; nothing has to be written for that
        return found

    @query
    def list_exchanges(
        self, ctx: Context, member: MemberId, after: Annotated[bytes, Meta(max_length=32)]
    ) -> tuple[NamedExchange, ...]:
        """Up to 100 exchanges of a member, ascending by id, from behind ``after`` on."""
        page = self.party.scan(member, start=(member, after.ljust(32, b"\0")))
        ids = islice((exchange for (_, exchange), _ in page if exchange != after), PAGE_MAX)
        return tuple([NamedExchange(exchange, self.get_exchange(ctx, member, exchange)) for exchange in ids])

    # --- guards and effects ---------------------------------------------------------------------------------

    def _require(self, ctx: Context, exchange: bytes) -> Exchange:
        """An exchange of the signing member's; of another it is not said that it exists."""
        return self.get_exchange(ctx, ctx.member, exchange)

    def _check_may(self, found: Exchange, status: ExchangeStatus) -> None:
        if status not in TRANSITIONS[found.status]:
            raise Rejected(self.NOT_IN_THIS_STATE, status=found.status)

    def _move_on(
        self, ctx: Context, exchange: bytes, found: Exchange, status: ExchangeStatus, reason: str
    ) -> None:
        """An exchange takes one of its transitions."""
        self.exchange.put(replace(found, status=status), exchange)
        ctx.emit(ExchangeMoved(exchange, found.seller, found.buyer, ctx.member, status, reason))
