"""Trading: how two members come to a deal, each by a transaction of its own.

A member offers to sell or to buy lots of an asset against another, to one, some or all members; or it asks
for offers by a request, which has no price. Others take an offer, whole or in part, or answer it: with a
counter-offer, or with a quote to a request. An answer is an offer too, open to the one that it answers alone;
taking it takes as many lots of what it answers, so that nothing is sold twice over. The maker's signature
stands under the offer and the taker's under the taking: together they are the deal, which settlement.py
keeps. A secured offer holds what its maker would deliver while it is open, and a deal from it holds both
legs.

State       offer / maker, offer -> Offer
            open / asset, offer -> Listed
            due / queue, time, maker, offer -> Place
            led / maker, offer -> Place
Life        open --last lot taken--> filled    open --cancel--> cancelled    open --block time--> expired
Invariants  O1 the lots of an offer's deals and those left add up to its lots: none is taken twice.
            O2 from its expiry time on an offer can only expire; a filled or cancelled one changes no more.
            O3 a secured open offer holds what its open lots need, an ended one nothing.
            O4 nobody deals with itself; only the audience takes or answers.
            O5 lots go to whoever takes them first in the order of blocks: no other priority.
            O6 an offer that a scenario leads is taken and ended in its steps alone, and not answered.
Privacy     who runs a node sees all offers in clear. A query shows a member the offers that are made to all,
            to it, or by it; of others it does not say that they exist.
"""

from itertools import islice
from typing import Annotated, Any, Final

from msgspec import Meta
from msgspec.structs import replace

from contracts.assets import PAGE_MAX, Assets
from contracts.deals import (
    OPEN_PAGE_MAX,
    Accounts,
    Audience,
    Conditions,
    Deal,
    Kind,
    Listed,
    Lots,
    NamedOffer,
    Offer,
    Offered,
    OfferEnded,
    OfferStatus,
    OfferTaken,
    OpenOffers,
    Place,
    Side,
    Weighed,
    both_legs,
)
from contracts.members import Members
from contracts.settlement import Settlement
from node.ledger.contract import Category, Context, Contract, Rejected, error, method, query, table
from node.ledger.types import AMOUNT_MAX, Amount, AssetId, Hash, MemberId, Name, TimeMs

EXPIRY_MAX: Final = 500
"""Offers that one block expires; the rest follow in the next."""
DURATION_MAX_MS: Final = 90 * 86_400_000
LOOKED_THROUGH_MAX: Final = 1_000
"""Open offers that one page looks through."""
QUEUE: Final = "expiry"

TRANSITIONS: Final[dict[OfferStatus, tuple[OfferStatus, ...]]] = {
    "open": ("filled", "cancelled", "expired"),
    "filled": (),
    "cancelled": (),
    "expired": (),
}
OPPOSITE: Final[dict[Side, Side]] = {"sell": "buy", "buy": "sell"}


class Trading(Contract):
    """See the module's docstring."""

    name = "trading"
    facts = (Offered, OfferTaken, OfferEnded)

    SAME_ASSET = error(1, Category.INVALID, "An asset is not traded against itself.")
    LEAST_TOO_LARGE = error(2, Category.INVALID, "The least part is more than there are lots.")
    TOO_MUCH = error(3, Category.INVALID, "The offer's amounts exceed what can be counted.")
    EXPIRY_OUT_OF_RANGE = error(
        4, Category.INVALID, "An offer expires later than block time and within 90 days."
    )
    DATES_OUT_OF_ORDER = error(
        5,
        Category.INVALID,
        "A deal is due after the offer's expiry and its value date; buy-in comes no earlier.",
    )
    AUDIENCE_UNFIT = error(6, Category.INVALID, "The audience names others than the maker, each once.")
    OFFER_UNKNOWN = error(7, Category.NOT_FOUND, "The member has no such offer.")
    OWN_OFFER = error(8, Category.PERMISSION_DENIED, "Nobody deals with itself.")
    NOT_FOR_THIS_MEMBER = error(9, Category.PERMISSION_DENIED, "The offer is made to other members.")
    OFFER_ENDED = error(10, Category.PRECONDITION, "The offer is filled, cancelled or expired already.")
    OFFER_EXPIRED = error(11, Category.PRECONDITION, "The offer's time is over.")
    NO_PRICE = error(12, Category.PRECONDITION, "A request has no price: answer it with a quote.")
    MORE_THAN_LEFT = error(13, Category.PRECONDITION, "Fewer lots are open.")
    BELOW_LEAST = error(14, Category.INVALID, "The part is smaller than the least that the maker accepts.")
    TERMS_CHANGED = error(15, Category.PRECONDITION, "The price or the asset is not the one that is signed.")

    LED = error(16, Category.PRECONDITION, "The offer belongs to an exchange: take the steps there.")

    offer = table(Offer, maker=MemberId, offer=Hash)
    open = table(Listed, asset=AssetId, offer=Hash)
    due = table(Place, queue=Name, time_ms=TimeMs, maker=MemberId, offer=Hash)
    led = table(Place, maker=MemberId, offer=Hash)

    def __init__(self, members: Members, assets: Assets, settlement: Settlement) -> None:
        self.members = members
        self.assets = assets
        self.settlement = settlement

    def on_block(self, ctx: Context) -> None:
        """Expire what is due, oldest first."""
        for (_, time_ms, maker, offer_id), _place in islice(self.due.scan(QUEUE), EXPIRY_MAX):
            if time_ms > ctx.time_ms:
                break
            self._end(ctx, maker, offer_id, self._require_offer(maker, offer_id), "expired")

    # --- offers ---------------------------------------------------------------------------------------------

    def _weight_of_offer(self, *terms: Any) -> tuple[Weighed, ...]:
        """Both legs of its lots."""
        _, asset, lot, lots, _, against, price, *_ = terms
        return both_legs(asset, lot, lots, against, price)

    def _weight_of_answer(
        self, maker: str, offer: bytes, lots: int, price: int, *_: Any
    ) -> tuple[Weighed, ...]:
        """Both legs of its lots."""
        found = self._require_offer(maker, offer)
        return both_legs(found.asset, found.lot, lots, found.against, price)

    def _weight_of_taking(self, maker: str, offer: bytes, lots: int, *_: Any) -> tuple[Weighed, ...]:
        """Both legs of the lots taken."""
        found = self._require_offer(maker, offer)
        return both_legs(found.asset, found.lot, lots, found.against, found.price)

    @method(weight=_weight_of_offer, flat=60)
    def make_offer(
        self,
        ctx: Context,
        side: Side,
        asset: AssetId,
        lot: Amount,
        lots: Lots,
        least: Lots,
        against: AssetId,
        price: Amount,
        accounts: Accounts,
        audience: Audience,
        expires_ms: TimeMs,
        conditions: Conditions,
    ) -> None:
        """Offer to sell or to buy lots of an asset at a price a lot. Its id is in the receipt."""
        terms = (side, asset, lot, lots, lots, least, against, price, accounts, audience, expires_ms)
        self._open(ctx, Offer("offer", *terms, conditions, "", b"", "open"))

    @method(flat=60)
    def request(
        self,
        ctx: Context,
        side: Side,
        asset: AssetId,
        lot: Amount,
        lots: Lots,
        least: Lots,
        against: AssetId,
        accounts: Accounts,
        audience: Audience,
        expires_ms: TimeMs,
        conditions: Conditions,
    ) -> None:
        """Ask members for quotes at which the signing member could sell or buy."""
        terms = (side, asset, lot, lots, lots, least, against, 0, accounts, audience, expires_ms)
        self._open(ctx, Offer("request", *terms, conditions, "", b"", "open"))

    @method(weight=_weight_of_answer, flat=80)
    def answer(
        self,
        ctx: Context,
        maker: MemberId,
        offer: Hash,
        lots: Lots,
        price: Amount,
        accounts: Accounts,
        expires_ms: TimeMs,
    ) -> None:
        """Answer an offer with a counter-offer, or a request with a quote: another price, for the maker only,
        under the same conditions. It ends with the lots of what it answers.
        """
        found = self._require_open(ctx, maker, offer)
        self._check_not_led(maker, offer)
        if lots > found.left:
            raise Rejected(self.MORE_THAN_LEFT, left=found.left)
        root = (found.root_maker, found.root) if found.root else (maker, offer)
        terms = (OPPOSITE[found.side], found.asset, found.lot, lots, lots, min(found.least, lots))
        money = (found.against, price, accounts, (maker,), expires_ms, found.conditions)
        self._open(ctx, Offer("offer", *terms, *money, *root, "open"))

    @method(weight=_weight_of_taking, flat=150)
    def take(
        self,
        ctx: Context,
        maker: MemberId,
        offer: Hash,
        lots: Lots,
        against: AssetId,
        amount: Amount,
        accounts: Accounts,
    ) -> None:
        """Take lots of an offer: the two signatures make the deal. ``amount`` of ``against`` is their price
        in all, which the taker signs.
        """
        self._check_not_led(maker, offer)
        self.strike(ctx, maker, offer, lots, against, amount, accounts)

    @method
    def cancel(self, ctx: Context, offer: Hash) -> None:
        """Take an offer or a request back; deals from it stand."""
        self._check_not_led(ctx.member, offer)
        self.end(ctx, ctx.member, offer)

    # --- queries --------------------------------------------------------------------------------------------

    @query
    def get_offer(self, ctx: Context, member: MemberId, maker: MemberId, offer: Hash) -> Offer:
        """An offer, open or ended, that a member may see."""
        found = self._require_offer(maker, offer)
        if not _sees(member, maker, found):
            raise Rejected(self.OFFER_UNKNOWN)
        return found

    @query
    def list_offers(
        self, ctx: Context, member: MemberId, after: Annotated[bytes, Meta(max_length=32)]
    ) -> tuple[NamedOffer, ...]:
        """Up to 100 offers by a member, ended ones too, ascending by id, from behind ``after`` on."""
        page = self.offer.scan(member, start=(member, after.ljust(32, b"\0")))
        return tuple(
            islice(
                (NamedOffer(member, parts[1], offer) for parts, offer in page if parts[1] != after), PAGE_MAX
            )
        )

    @query
    def list_open(
        self, ctx: Context, member: MemberId, asset: AssetId, after: Annotated[bytes, Meta(max_length=32)]
    ) -> OpenOffers:
        """Open offers and requests for an asset that a member may see, ascending by id, from behind ``after``
        on: up to 100 of the next 1,000.
        """
        found: list[NamedOffer] = []
        offer_id = b""
        page = self.open.scan(asset, start=(asset, after.ljust(32, b"\0")))
        for looked, ((_, place), listed) in enumerate(page):
            if looked > LOOKED_THROUGH_MAX or len(found) == OPEN_PAGE_MAX:
                return OpenOffers(tuple(found), offer_id)
            offer_id = place
            offer = self._require_offer(listed.maker, offer_id)
            if offer_id != after and _sees(member, listed.maker, offer):
                found.append(NamedOffer(listed.maker, offer_id, offer))
        return OpenOffers(tuple(found), b"")

    # --- what scenarios build on ----------------------------------------------------------------------------

    def lead(self, maker: str, offer_id: bytes) -> None:
        """Let an offer be taken and ended by whoever calls this alone."""
        self.led.put(Place(1), maker, offer_id)

    def strike(
        self,
        ctx: Context,
        maker: str,
        offer: bytes,
        lots: int,
        against: str,
        amount: int,
        accounts: Accounts,
    ) -> None:
        """As ``take``, of an offer that is led, too."""
        found = self._require_open(ctx, maker, offer)
        if not found.price:
            raise Rejected(self.NO_PRICE)
        if lots > found.left:
            raise Rejected(self.MORE_THAN_LEFT, left=found.left)
        if lots < min(found.least, found.left):
            raise Rejected(self.BELOW_LEAST, least=found.least)
        if (against, amount) != (found.against, lots * found.price):
            raise Rejected(self.TERMS_CHANGED)
        self.members.check_active(maker)
        self._check_assets(found)
        self._check_accounts(ctx.member, accounts)
        self._check_accounts(maker, found.accounts)
        root = self._require_root(ctx, found, lots)
        self._fill(ctx, maker, offer, found, lots)
        if root:
            self._fill(ctx, found.root_maker, found.root, root, lots)
        sides = ((maker, found.accounts), (ctx.member, accounts))
        (seller, sold), (buyer, bought) = sides if found.side == "sell" else sides[::-1]
        held = found.conditions.secured
        deal = self.settlement.agree(
            ctx,
            Deal(
                seller, buyer, found.asset, found.lot, lots, lots, against, found.price, sold, bought,
                found.conditions, held, held, "", b"", "agreed",
            ),
        )  # fmt: skip
        ctx.emit(OfferTaken(maker, offer, ctx.member, lots, found.left - lots, deal))

    def end(self, ctx: Context, maker: str, offer_id: bytes) -> None:
        """Cancel an offer; whoever calls has asked whether the signing member may. Raises OFFER_UNKNOWN,
        OFFER_ENDED, OFFER_EXPIRED.
        """
        found = self._require_offer(maker, offer_id)
        self._check_alive(ctx, found)
        self._end(ctx, maker, offer_id, found, "cancelled")

    # --- guards ---------------------------------------------------------------------------------------------

    def _require_offer(self, maker: str, offer_id: bytes) -> Offer:
        found = self.offer.get(maker, offer_id)
        if found is None:
            raise Rejected(self.OFFER_UNKNOWN)
        return found

    def _check_alive(self, ctx: Context, found: Offer) -> None:
        if found.status != "open":
            raise Rejected(self.OFFER_ENDED, status=found.status)
        if ctx.time_ms >= found.expires_ms:
            raise Rejected(self.OFFER_EXPIRED)

    def _require_open(self, ctx: Context, maker: str, offer_id: bytes) -> Offer:
        """An open offer that the signing member may take or answer."""
        found = self._require_offer(maker, offer_id)
        if maker == ctx.member:
            raise Rejected(self.OWN_OFFER)
        if found.audience and ctx.member not in found.audience:
            raise Rejected(self.NOT_FOR_THIS_MEMBER)
        self._check_alive(ctx, found)
        return found

    def _check_not_led(self, maker: str, offer_id: bytes) -> None:
        if self.led.get(maker, offer_id):
            raise Rejected(self.LED)

    def _require_root(self, ctx: Context, found: Offer, lots: int) -> Offer | None:
        """What an answer answers, if it still has the lots."""
        if not found.root:
            return None
        root = self._require_offer(found.root_maker, found.root)
        self._check_alive(ctx, root)
        if lots > root.left:
            raise Rejected(self.MORE_THAN_LEFT, left=root.left)
        return root

    def _check_accounts(self, member: str, accounts: Accounts) -> None:
        """Both accounts are the member's own and usable."""
        for name in dict.fromkeys((accounts.asset, accounts.cash)):
            account = self.assets.require_account(name)
            if account.member != member:
                raise Rejected(self.assets.NOT_OWNER, account=name)
            self.assets.check_usable(account)

    def _check_assets(self, offer: Offer) -> None:
        self.assets.check_active(self.assets.require_asset(offer.asset))
        self.assets.check_active(self.assets.require_asset(offer.against))

    def _check_offer(self, ctx: Context, offer: Offer) -> None:
        """What every offer must satisfy, in the public order of precedence."""
        if offer.asset == offer.against:
            raise Rejected(self.SAME_ASSET)
        if offer.least > offer.lots:
            raise Rejected(self.LEAST_TOO_LARGE)
        if offer.lots * max(offer.lot, offer.price) > AMOUNT_MAX:
            raise Rejected(self.TOO_MUCH)
        if not ctx.time_ms < offer.expires_ms <= ctx.time_ms + DURATION_MAX_MS:
            raise Rejected(self.EXPIRY_OUT_OF_RANGE, block_time_ms=ctx.time_ms)
        at = offer.conditions
        if not max(offer.expires_ms, at.value_ms) < at.due_ms <= at.buy_in_ms:
            raise Rejected(self.DATES_OUT_OF_ORDER)
        if len(dict.fromkeys((ctx.member, *offer.audience))) != len(offer.audience) + 1:
            raise Rejected(self.AUDIENCE_UNFIT)
        self._check_assets(offer)
        self._check_accounts(ctx.member, offer.accounts)

    # --- effects --------------------------------------------------------------------------------------------

    def _open(self, ctx: Context, offer: Offer) -> None:
        self._check_offer(ctx, offer)
        offer_id = ctx.proofs.unique_id(ctx.tx_id, ctx.operation)
        if offer.conditions.secured and offer.price:
            self.assets.hold(*_delivers(offer, offer.lots))
        self.offer.put(offer, ctx.member, offer_id)
        self.open.put(Listed(ctx.member), offer.asset, offer_id)
        self.due.put(Place(1), QUEUE, offer.expires_ms, ctx.member, offer_id)
        kind: Kind = offer.kind
        what = (kind, offer.side, offer.asset, offer.lot, offer.lots, offer.against, offer.price)
        ctx.emit(Offered(ctx.member, offer_id, *what, offer.audience, offer.expires_ms, offer.root))

    def _fill(self, ctx: Context, maker: str, offer_id: bytes, offer: Offer, lots: int) -> None:
        """Lots leave an offer, and what was held for them is free for the deal."""
        if offer.conditions.secured and offer.price:
            self.assets.release(*_delivers(offer, lots))
        left = offer.left - lots
        if left:
            self.offer.put(replace(offer, left=left), maker, offer_id)
            return
        self._end(ctx, maker, offer_id, replace(offer, left=0), "filled")

    def _end(self, ctx: Context, maker: str, offer_id: bytes, offer: Offer, status: OfferStatus) -> None:
        """An offer takes one of its transitions, and what it held is free."""
        if status not in TRANSITIONS[offer.status]:
            raise Rejected(self.OFFER_ENDED, status=offer.status)
        if offer.conditions.secured and offer.price and offer.left:
            self.assets.release(*_delivers(offer, offer.left))
        self.offer.put(replace(offer, status=status), maker, offer_id)
        self.open.delete(offer.asset, offer_id)
        self.due.delete(QUEUE, offer.expires_ms, maker, offer_id)
        ctx.emit(OfferEnded(maker, offer_id, offer.audience, status))


def _sees(member: str, maker: str, offer: Offer) -> bool:
    """Whether an offer is made by the member, to it, or to all."""
    return member == maker or not offer.audience or member in offer.audience


def _delivers(offer: Offer, lots: int) -> tuple[str, str, int]:
    """(account, asset, amount) that the maker gives for so many lots."""
    if offer.side == "sell":
        return offer.accounts.asset, offer.asset, lots * offer.lot
    return offer.accounts.cash, offer.against, lots * offer.price
