"""The words of trading and settlement: offers, deals, linked sets, and the facts that tell of them
(trading.py, settlement.py). Nothing here acts.
"""

from typing import Annotated, Final, Literal, NamedTuple

from msgspec import Meta

from contracts.positions import Reference
from node.ledger.contract import Fact, Movement
from node.ledger.types import AccountId, Amount, AssetId, Balance, Hash, MemberId, Record, TimeMs

AUDIENCE_MAX: Final = 32
OPEN_PAGE_MAX: Final = 100
SET_MAX: Final = 16
"""Deals of a linked set: what one operation settles."""

Side = Literal["sell", "buy"]
Lots = Annotated[int, Meta(ge=1, le=10**9)]
LotsOrNone = Annotated[int, Meta(ge=0, le=10**9)]
Switch = Literal[0, 1]
Audience = Annotated[tuple[MemberId, ...], Meta(max_length=AUDIENCE_MAX)]
OptionalId = Annotated[bytes, Meta(max_length=32)]
OptionalMember = Annotated[str, Meta(max_length=16)]
Kind = Literal["offer", "request"]
OfferStatus = Literal["open", "filled", "cancelled", "expired"]
DealStatus = Literal["agreed", "failing", "settled", "cancelled", "bought-in"]
SetStatus = Literal["proposed", "linked", "settled", "dissolved"]
DealIds = Annotated[tuple[Hash, ...], Meta(min_length=2, max_length=SET_MAX)]
Parties = Annotated[tuple[MemberId, ...], Meta(max_length=2 * SET_MAX)]

Weighed = tuple[str, int]
"""(asset, amount), as a signing policy weighs them."""

TRANSITIONS: Final[dict[DealStatus, tuple[DealStatus, ...]]] = {
    "agreed": ("failing", "settled", "cancelled"),
    "failing": ("settled", "cancelled", "bought-in"),
    "settled": (),
    "cancelled": (),
    "bought-in": (),
}
SET_TRANSITIONS: Final[dict[SetStatus, tuple[SetStatus, ...]]] = {
    "proposed": ("linked", "dissolved"),
    "linked": ("settled", "dissolved"),
    "settled": (),
    "dissolved": (),
}


class Accounts(Record, frozen=True):
    """Where one side of a deal keeps the asset, and where the other asset or the cash against it."""

    asset: AccountId
    cash: AccountId


class Conditions(Record, frozen=True):
    """How a deal is settled. value_ms: not before. due_ms: from then on it is failing. buy_in_ms: from then
    on the buyer of a failing deal may buy elsewhere. secured: both legs are held from the agreement on.
    partial: it may be settled in parts of whole lots.
    """

    value_ms: TimeMs
    due_ms: TimeMs
    buy_in_ms: TimeMs
    secured: Switch
    partial: Switch


class Offer(Record, frozen=True):
    """What a member offers to others, or asks them for.

    side: whether the maker sells the asset or buys it. lot: minor units; ``lots`` of them, ``left`` still
    open, and at least ``least`` at once (or all that are left). price: minor units of ``against`` a lot; 0 in
    a request, which nobody can take. audience: who may take or answer it, empty: every member. root_maker and
    root: the offer or request that it answers, empty: none.
    """

    kind: Kind
    side: Side
    asset: AssetId
    lot: Amount
    lots: Lots
    left: LotsOrNone
    least: Lots
    against: AssetId
    price: Balance
    accounts: Accounts
    audience: Audience
    expires_ms: TimeMs
    conditions: Conditions
    root_maker: OptionalMember
    root: OptionalId
    status: OfferStatus


class Deal(Record, frozen=True):
    """What a seller and a buyer have agreed: ``lots`` of ``lot`` minor units of an asset against ``price``
    minor units of another a lot; ``left`` lots are not settled. seller_held, buyer_held: whether what is left
    of that leg is set aside. cancels: the side that wants to cancel, empty: neither. linked: its set, empty:
    none.
    """

    seller: MemberId
    buyer: MemberId
    asset: AssetId
    lot: Amount
    lots: Lots
    left: LotsOrNone
    against: AssetId
    price: Amount
    seller_accounts: Accounts
    buyer_accounts: Accounts
    conditions: Conditions
    seller_held: Switch
    buyer_held: Switch
    cancels: OptionalMember
    linked: OptionalId
    status: DealStatus


class Made(Record, frozen=True):
    """When a member made a deal. replaces: the one for which it is the buyer's buy-in; empty: none."""

    made_ms: TimeMs
    replaces: OptionalId


class Place(Record, frozen=True):
    """A place in a queue or on a list."""

    version: Literal[1]


class Listed(Record, frozen=True):
    """Whose an open offer is."""

    maker: MemberId


class Set(Record, frozen=True):
    """Deals that settle all or none. missing: parties whose consent it still needs."""

    deals: DealIds
    missing: Parties
    status: SetStatus


class Offered(Fact, frozen=True):
    """A member offers, or asks for offers. audience: whom, empty: everybody."""

    maker: MemberId
    offer: Hash
    kind: Kind
    side: Side
    asset: AssetId
    lot: Amount
    lots: Lots
    against: AssetId
    price: Balance
    audience: Audience
    expires_ms: TimeMs
    root: OptionalId


class OfferTaken(Fact, frozen=True):
    """Lots of an offer were taken; ``left`` stay open."""

    maker: MemberId
    offer: Hash
    taker: MemberId
    lots: Lots
    left: LotsOrNone
    deal: Hash


class OfferEnded(Fact, frozen=True):
    """An offer is open no longer. audience: whom it was made to, empty: everybody."""

    maker: MemberId
    offer: Hash
    audience: Audience
    status: OfferStatus


class Agreed(Fact, frozen=True):
    """Two members have a deal: each has signed its side."""

    deal: Hash
    seller: MemberId
    buyer: MemberId
    asset: AssetId
    units: Amount
    against: AssetId
    amount: Amount
    due_ms: TimeMs


class Secured(Fact, frozen=True):
    """``member``'s leg of a deal is set aside."""

    deal: Hash
    seller: MemberId
    buyer: MemberId
    member: MemberId


class Released(Fact, frozen=True):
    """``member``'s leg of a deal that was not settled in its time is set aside no longer."""

    deal: Hash
    seller: MemberId
    buyer: MemberId
    member: MemberId


class Settled(Fact, frozen=True):
    """A deal, or lots of it, was settled: the asset against the other, at the same instant."""

    deal: Hash
    asset: AssetId
    units: Amount
    asset_from: AccountId
    asset_to: AccountId
    against: AssetId
    amount: Amount
    cash_from: AccountId
    cash_to: AccountId
    left: LotsOrNone

    def movements(self) -> tuple[Movement, ...]:
        """Two debits and two credits."""
        return (
            Movement(self.asset_from, self.asset, -self.units, self.asset_to, ""),
            Movement(self.asset_to, self.asset, self.units, self.asset_from, ""),
            Movement(self.cash_from, self.against, -self.amount, self.cash_to, ""),
            Movement(self.cash_to, self.against, self.amount, self.cash_from, ""),
        )


class Failing(Fact, frozen=True):
    """A deal was not settled in its time; it still may be."""

    deal: Hash
    seller: MemberId
    buyer: MemberId


class CancelAsked(Fact, frozen=True):
    """``member`` wants to cancel a deal."""

    deal: Hash
    seller: MemberId
    buyer: MemberId
    member: MemberId
    reason: Reference


class DealEnded(Fact, frozen=True):
    """A deal ended otherwise than by settlement: cancelled by both, or bought in."""

    deal: Hash
    seller: MemberId
    buyer: MemberId
    status: DealStatus


class BoughtIn(Fact, frozen=True):
    """The buyer bought elsewhere what was not delivered. cost and would_have: what it paid, and what the
    failing deal's open lots would have been; who bears the difference is for the parties.
    """

    deal: Hash
    seller: MemberId
    buyer: MemberId
    replacement: Hash
    against: AssetId
    cost: Amount
    would_have: Amount


class Linked(Fact, frozen=True):
    """Deals are proposed to be settled all or none. missing: the parties that are asked to consent."""

    set_id: Hash
    deals: DealIds
    proposer: MemberId
    missing: Parties


class SetJoined(Fact, frozen=True):
    """``member`` consents to a linked set; with the last consent it binds."""

    set_id: Hash
    parties: Parties
    member: MemberId
    status: SetStatus


class SetEnded(Fact, frozen=True):
    """A linked set was settled, or its deals stand alone again."""

    set_id: Hash
    parties: Parties
    status: SetStatus


class NamedOffer(Record, frozen=True):
    """An offer with its maker and id."""

    maker: MemberId
    id: Hash
    offer: Offer


class OpenOffers(Record, frozen=True):
    """A page of open offers, and where the next begins; empty: there is none."""

    offers: Annotated[tuple[NamedOffer, ...], Meta(max_length=OPEN_PAGE_MAX)]
    next: OptionalId


class NamedDeal(Record, frozen=True):
    """A deal with its id."""

    id: Hash
    deal: Deal


def both_legs(asset: str, lot: int, lots: int, against: str, price: int) -> tuple[Weighed, Weighed]:
    """What a signing policy weighs of so many lots: what passes one way and what passes the other, for a
    member that sells too cheaply loses as much as one that buys too dearly.
    """
    return (asset, lots * lot), (against, lots * price)


class Leg(NamedTuple):
    """One side of a settlement."""

    source: str
    destination: str
    asset: str
    amount: int


def legs_of(deal: Deal, lots: int) -> tuple[Leg, Leg]:
    """(asset from the seller to the buyer, cash from the buyer to the seller) of so many lots."""
    seller, buyer = deal.seller_accounts, deal.buyer_accounts
    return (
        Leg(seller.asset, buyer.asset, deal.asset, lots * deal.lot),
        Leg(buyer.cash, seller.cash, deal.against, lots * deal.price),
    )


def parties_of(deals: list[Deal]) -> tuple[str, ...]:
    """All sellers and buyers, each once."""
    return tuple(dict.fromkeys([member for deal in deals for member in (deal.seller, deal.buyer)]))
