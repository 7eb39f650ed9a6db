"""Settlement: delivery versus payment, model 1: asset and cash pass at the same instant or not at all.

A deal comes here from trading.py, signed by both sides. Either side settles it with one operation: the asset
goes from the seller to the buyer and the cash from the buyer to the seller, four balances in one transaction
(BIS, Delivery versus payment in securities settlement systems, 1992, model 1: gross for gross). The cash may
be any other asset. A leg can be held beforehand, by ``secure`` or by a secured offer; with both legs held
nothing but an order or a freeze can keep a deal from settling. From its due time on a deal is failing: it can
still settle, and from the buy-in date on the buyer may end it by naming the later deal with which it bought
elsewhere, and a side that waits in vain for the other may have its leg back. Up to 16 deals can be linked:
once every party has consented they settle together, all or none, each leg as soon as its account can.

State       deal / deal -> Deal
            party / member, deal -> Made
            due / queue, time, deal -> Place
            linked / set -> Set
Life        agreed, failing --settle--> settled    agreed, failing --both cancel--> cancelled
            agreed --block time--> failing         failing --buy in--> bought-in
            set: proposed --last consent--> linked --settle_set--> settled
            set: proposed, linked --dissolve--> dissolved
Invariants  D1 both legs pass, in ``_settle_lots`` and ``_settle_legs`` through ``Assets.move``, or neither.
            D2 a deal's open lots never grow; what was settled and what is open add up to what was agreed.
            D3 a held leg holds what its open lots need, no more and no less.
            D4 a deal of a linked set settles with the whole set or not at all.
            D5 a deal replaces one deal at most, that was made before it.
Privacy     who runs a node sees all deals in clear. A query shows a member the deals to which it is a party.
"""

from itertools import islice
from typing import Annotated, Final

from msgspec import Meta
from msgspec.structs import replace

from contracts.assets import PAGE_MAX, Assets
from contracts.deals import (
    SET_TRANSITIONS,
    TRANSITIONS,
    Agreed,
    BoughtIn,
    CancelAsked,
    Deal,
    DealEnded,
    DealIds,
    DealStatus,
    Failing,
    Leg,
    Linked,
    Lots,
    Made,
    NamedDeal,
    Place,
    Released,
    Secured,
    Set,
    SetEnded,
    SetJoined,
    SetStatus,
    Settled,
    Weighed,
    both_legs,
    legs_of,
    parties_of,
)
from contracts.members import Members
from contracts.positions import Reference
from node.ledger.contract import Category, Context, Contract, Rejected, error, method, query, table
from node.ledger.types import Hash, MemberId, Name, TimeMs

EXPIRY_MAX: Final = 500
"""Deals that one block finds failing; the rest follow in the next."""
QUEUE: Final = "due"


class Settlement(Contract):
    """See the module's docstring."""

    name = "settlement"
    facts = (
        Agreed, Secured, Released, Settled, Failing, CancelAsked, DealEnded, BoughtIn,
        Linked, SetJoined, SetEnded,
    )  # fmt: skip

    DEAL_UNKNOWN = error(1, Category.NOT_FOUND, "No such deal.")
    NOT_A_PARTY = error(2, Category.PERMISSION_DENIED, "Only the seller and the buyer may do this.")
    DEAL_ENDED = error(3, Category.PRECONDITION, "The deal is settled, cancelled or bought in already.")
    BEFORE_VALUE_DATE = error(4, Category.PRECONDITION, "The deal settles from its value date on.")
    DEAL_LINKED = error(5, Category.PRECONDITION, "The deal belongs to a linked set: it settles with it.")
    PARTIAL_NOT_AGREED = error(6, Category.PRECONDITION, "The sides have not agreed on settling in parts.")
    MORE_THAN_LEFT = error(7, Category.INVALID, "The deal has fewer lots open.")
    SECURED_ALREADY = error(8, Category.PRECONDITION, "The member's leg is set aside already.")
    CANCEL_ASKED = error(9, Category.PRECONDITION, "The member has asked already: it is for the other side.")
    NOT_BUYER = error(10, Category.PERMISSION_DENIED, "Only the buyer buys in.")
    BEFORE_BUY_IN = error(11, Category.PRECONDITION, "The buyer may buy in from the buy-in date on.")
    REPLACEMENT_UNFIT = error(
        12, Category.PRECONDITION, "The buyer names a later, settled deal for as much, and each once."
    )
    SET_UNKNOWN = error(13, Category.NOT_FOUND, "No such linked set.")
    SET_ENDED = error(14, Category.PRECONDITION, "The set is in no state that allows this.")
    DEAL_TWICE = error(15, Category.INVALID, "The set names a deal twice.")
    JOINED_ALREADY = error(16, Category.PRECONDITION, "The member has consented already, or is no party.")
    SET_IN_TIME = error(17, Category.PRECONDITION, "A set that binds is dissolved once a deal of it fails.")
    GRIDLOCK = error(18, Category.PRECONDITION, "In no order can the set's legs pass: an account is short.")
    NOT_SECURED = error(19, Category.PRECONDITION, "The member's leg is not set aside.")
    BEFORE_RELEASE = error(20, Category.PRECONDITION, "A leg is set aside until the buy-in date.")
    BOTH_SECURED = error(21, Category.PRECONDITION, "Both legs are set aside, and the deal can be settled.")

    deal = table(Deal, deal=Hash)
    party = table(Made, member=MemberId, deal=Hash)
    due = table(Place, queue=Name, time_ms=TimeMs, deal=Hash)
    linked = table(Set, set_id=Hash)

    def __init__(self, members: Members, assets: Assets) -> None:
        self.members = members
        self.assets = assets

    def on_block(self, ctx: Context) -> None:
        """Say of what was due that it is failing, oldest first."""
        for (_, time_ms, deal_id), _place in islice(self.due.scan(QUEUE), EXPIRY_MAX):
            if time_ms > ctx.time_ms:
                break
            deal = self.require_deal(deal_id)
            self._put(deal_id, deal, "failing")
            ctx.emit(Failing(deal_id, deal.seller, deal.buyer))

    # --- a deal ---------------------------------------------------------------------------------------------

    def weight_of_deal(self, deal: bytes, lots: int = 0) -> tuple[Weighed, ...]:
        """Both legs of the lots concerned."""
        found = self.require_deal(deal)
        return both_legs(found.asset, found.lot, lots or found.left, found.against, found.price)

    def _weight_of_set(self, set_id: bytes) -> tuple[Weighed, ...]:
        """All legs of the set."""
        deals = self._require_set(set_id).deals
        return tuple([weighed for deal in deals for weighed in self.weight_of_deal(deal)])

    @method(weight=weight_of_deal, flat=80)
    def settle(self, ctx: Context, deal: Hash) -> None:
        """Settle all that is open of a deal: both legs, or neither. By either side."""
        found = self._require_ready(ctx, deal)
        self._settle_lots(ctx, deal, found, found.left)

    @method(weight=weight_of_deal, flat=80)
    def settle_partly(self, ctx: Context, deal: Hash, lots: Lots) -> None:
        """Settle some lots of a deal whose sides have agreed on that. By either side."""
        found = self._require_ready(ctx, deal)
        if not found.conditions.partial:
            raise Rejected(self.PARTIAL_NOT_AGREED)
        if lots > found.left:
            raise Rejected(self.MORE_THAN_LEFT, left=found.left)
        self._settle_lots(ctx, deal, found, lots)

    @method(weight=weight_of_deal)
    def secure(self, ctx: Context, deal: Hash) -> None:
        """Set the signing member's leg aside until the deal ends."""
        found = self.require_open(ctx, deal)
        sells = ctx.member == found.seller
        if found.seller_held if sells else found.buyer_held:
            raise Rejected(self.SECURED_ALREADY)
        leg = legs_of(found, found.left)[0 if sells else 1]
        self.assets.check_active(self.assets.require_asset(leg.asset))
        self.assets.check_debit(ctx, leg.source)
        self.assets.hold(leg.source, leg.asset, leg.amount)
        self.deal.put(replace(found, **{"seller_held" if sells else "buyer_held": 1}), deal)
        ctx.emit(Secured(deal, found.seller, found.buyer, ctx.member))

    @method
    def release(self, ctx: Context, deal: Hash) -> None:
        """Have the signing member's leg back from the buy-in date on, where the other side has not set aside
        its own, or the deal cannot be settled. The deal is failing still.
        """
        found = self.require_open(ctx, deal)
        if found.linked:
            raise Rejected(self.DEAL_LINKED)
        sells = ctx.member == found.seller
        if not (found.seller_held if sells else found.buyer_held):
            raise Rejected(self.NOT_SECURED)
        if ctx.time_ms < found.conditions.buy_in_ms:
            raise Rejected(self.BEFORE_RELEASE, buy_in_ms=found.conditions.buy_in_ms)
        if found.seller_held and found.buyer_held and self._is_ready(ctx, found):
            raise Rejected(self.BOTH_SECURED)
        leg = legs_of(found, found.left)[0 if sells else 1]
        self.assets.release(leg.source, leg.asset, leg.amount)
        self.deal.put(replace(found, **{"seller_held" if sells else "buyer_held": 0}), deal)
        ctx.emit(Released(deal, found.seller, found.buyer, ctx.member))

    @method
    def cancel(self, ctx: Context, deal: Hash, reason: Reference) -> None:
        """Ask to cancel a deal; it is cancelled once the other side has asked, too."""
        found = self.require_open(ctx, deal)
        if found.linked:
            raise Rejected(self.DEAL_LINKED)
        if found.cancels == ctx.member:
            raise Rejected(self.CANCEL_ASKED)
        ctx.emit(CancelAsked(deal, found.seller, found.buyer, ctx.member, reason))
        if not found.cancels:
            self.deal.put(replace(found, cancels=ctx.member), deal)
            return
        self._end(ctx, deal, found, "cancelled")

    @method
    def buy_in(self, ctx: Context, deal: Hash, replacement: Hash) -> None:
        """End a failing deal by naming the later, settled one in which the buyer bought elsewhere."""
        found = self.require_open(ctx, deal)
        if found.buyer != ctx.member:
            raise Rejected(self.NOT_BUYER)
        if found.linked:
            raise Rejected(self.DEAL_LINKED)
        if found.status != "failing" or ctx.time_ms < found.conditions.buy_in_ms:
            raise Rejected(self.BEFORE_BUY_IN)
        other = self.require_deal(replacement)
        if found.seller_held:  # who has set aside what it delivers is not the side that fails
            raise Rejected(self.REPLACEMENT_UNFIT)
        wanted = (found.buyer, found.asset, found.against, found.left * found.lot, "settled")
        if wanted != (other.buyer, other.asset, other.against, other.lots * other.lot, other.status):
            raise Rejected(self.REPLACEMENT_UNFIT)
        failed, later = self.party.get(ctx.member, deal), self.party.get(ctx.member, replacement)
        if failed is None or later is None or later.replaces or later.made_ms <= failed.made_ms:
            raise Rejected(self.REPLACEMENT_UNFIT)
        self.party.put(replace(later, replaces=deal), ctx.member, replacement)
        cost, would_have = other.lots * other.price, found.left * found.price
        ctx.emit(BoughtIn(deal, found.seller, found.buyer, replacement, found.against, cost, would_have))
        self._end(ctx, deal, found, "bought-in")

    # --- linked sets ----------------------------------------------------------------------------------------

    @method(flat=400)
    def link(self, ctx: Context, deals: DealIds) -> None:
        """Propose that deals, of one of which the signing member is a party, settle all or none."""
        if len(dict.fromkeys(deals)) != len(deals):
            raise Rejected(self.DEAL_TWICE)
        found = [self.require_deal(deal) for deal in deals]
        parties = parties_of(found)
        if ctx.member not in parties:
            raise Rejected(self.NOT_A_PARTY)
        for deal in found:
            self.check_open(deal)
            if deal.linked:
                raise Rejected(self.DEAL_LINKED)
        set_id = ctx.proofs.unique_id(ctx.tx_id, ctx.operation)
        missing = tuple([member for member in parties if member != ctx.member])
        self.linked.put(Set(deals, missing, "proposed"), set_id)
        ctx.emit(Linked(set_id, deals, ctx.member, missing))

    @method(flat=400)
    def join(self, ctx: Context, set_id: Hash) -> None:
        """Consent to a linked set; with the last party's consent its deals settle together only."""
        found = self._require_set(set_id)
        if found.status != "proposed":
            raise Rejected(self.SET_ENDED, status=found.status)
        if ctx.member not in found.missing:
            raise Rejected(self.JOINED_ALREADY)
        missing = tuple([member for member in found.missing if member != ctx.member])
        found = replace(found, missing=missing)
        deals = [(deal_id, self.require_deal(deal_id)) for deal_id in found.deals]
        if missing:
            self.linked.put(found, set_id)
        else:
            found = self._put_set(set_id, found, "linked")
            for deal_id, deal in deals:
                self.check_open(deal)
                if deal.linked:
                    raise Rejected(self.DEAL_LINKED)
                self.deal.put(replace(deal, linked=set_id), deal_id)
        ctx.emit(SetJoined(set_id, parties_of([deal for _, deal in deals]), ctx.member, found.status))

    @method(weight=_weight_of_set, flat=3_000)
    def settle_set(self, ctx: Context, set_id: Hash) -> None:
        """Settle all deals of a linked set, or none. By any party."""
        found = self._require_set(set_id)
        if found.status != "linked":
            raise Rejected(self.SET_ENDED, status=found.status)
        deals = [(deal_id, self.require_deal(deal_id)) for deal_id in found.deals]
        parties = self._require_parties(ctx, deals)
        for _, deal in deals:
            self.check_ready(ctx, deal)
        legs: list[Leg] = []
        for deal_id, deal in deals:
            own = legs_of(deal, deal.left)
            self._release(deal, own)
            self._put_settled(ctx, deal_id, deal, deal.left, own)
            legs += own
        self._settle_legs(legs)
        self._put_set(set_id, found, "settled")
        ctx.emit(SetEnded(set_id, parties, "settled"))

    @method(flat=400)
    def dissolve(self, ctx: Context, set_id: Hash) -> None:
        """Let a set's deals stand alone again: while it is proposed, or once one of its deals is failing. By
        any party.
        """
        found = self._require_set(set_id)
        deals = [(deal_id, self.require_deal(deal_id)) for deal_id in found.deals]
        parties = self._require_parties(ctx, deals)
        if not SET_TRANSITIONS[found.status]:
            raise Rejected(self.SET_ENDED, status=found.status)
        if found.status == "linked" and all(ctx.time_ms < deal.conditions.due_ms for _, deal in deals):
            raise Rejected(self.SET_IN_TIME)
        for deal_id, deal in deals:
            if deal.linked == set_id:
                self.deal.put(replace(deal, linked=b""), deal_id)
        self._put_set(set_id, found, "dissolved")
        ctx.emit(SetEnded(set_id, parties, "dissolved"))

    # --- queries --------------------------------------------------------------------------------------------

    @query
    def get_deal(self, ctx: Context, member: MemberId, deal: Hash) -> Deal:
        """A deal of a member, open or ended."""
        found = self.require_deal(deal)
        if member not in (found.seller, found.buyer):
            raise Rejected(self.DEAL_UNKNOWN)
        return found

    @query
    def list_deals(
        self, ctx: Context, member: MemberId, after: Annotated[bytes, Meta(max_length=32)]
    ) -> tuple[NamedDeal, ...]:
        """Up to 100 deals of a member, ascending by id, from behind ``after`` (an id, or empty) on."""
        page = self.party.scan(member, start=(member, after.ljust(32, b"\0")))
        ids = islice((deal for (_, deal), _ in page if deal != after), PAGE_MAX)
        return tuple([NamedDeal(deal, self.require_deal(deal)) for deal in ids])

    @query
    def get_set(self, ctx: Context, member: MemberId, set_id: Hash) -> Set:
        """A linked set in which a member has a deal."""
        found = self._require_set(set_id)
        if member not in parties_of([self.require_deal(deal) for deal in found.deals]):
            raise Rejected(self.SET_UNKNOWN)
        return found

    # --- what trading builds on -----------------------------------------------------------------------------

    def agree(self, ctx: Context, deal: Deal) -> bytes:
        """Enter a deal that both sides have signed; a secured one holds both legs. Raises
        INSUFFICIENT_BALANCE. The deal's id.
        """
        deal_id = ctx.proofs.unique_id(ctx.tx_id, ctx.operation)
        asset, cash = legs_of(deal, deal.lots)
        if deal.conditions.secured:
            self.assets.hold(asset.source, asset.asset, asset.amount)
            self.assets.hold(cash.source, cash.asset, cash.amount)
        self.deal.put(deal, deal_id)
        for member in (deal.seller, deal.buyer):
            self.party.put(Made(ctx.time_ms, b""), member, deal_id)
        self.due.put(Place(1), QUEUE, deal.conditions.due_ms, deal_id)
        legs = (deal.asset, asset.amount, deal.against, cash.amount)
        ctx.emit(Agreed(deal_id, deal.seller, deal.buyer, *legs, deal.conditions.due_ms))
        return deal_id

    def require_deal(self, deal_id: bytes) -> Deal:
        """A deal. Raises DEAL_UNKNOWN."""
        deal = self.deal.get(deal_id)
        if deal is None:
            raise Rejected(self.DEAL_UNKNOWN)
        return deal

    def tie(self, deal_id: bytes, deal: Deal, group: bytes, *, hold_asset: bool) -> None:
        """Let a deal settle with its group only: a linked set or a cycle. Raises INSUFFICIENT_BALANCE where
        its asset is to be set aside for that.
        """
        if hold_asset:
            leg = legs_of(deal, deal.left)[0]
            self.assets.hold(leg.source, leg.asset, leg.amount)
        self.deal.put(replace(deal, linked=group, seller_held=deal.seller_held or int(hold_asset)), deal_id)

    def untie(self, deal_id: bytes, deal: Deal, *, free_asset: bool) -> None:
        """Let a deal stand alone again, as ``tie`` found it."""
        if free_asset:
            leg = legs_of(deal, deal.left)[0]
            self.assets.release(leg.source, leg.asset, leg.amount)
        self.deal.put(replace(deal, linked=b"", seller_held=0 if free_asset else deal.seller_held), deal_id)

    def finish(self, deal_id: bytes, deal: Deal) -> None:
        """A deal of a group is settled: what was held of it is free to be moved by the caller."""
        self._release(deal, legs_of(deal, deal.left))
        self._put(deal_id, deal, "settled", left=0, seller_held=0, buyer_held=0)

    # --- guards ---------------------------------------------------------------------------------------------

    def check_open(self, deal: Deal) -> None:
        """Raises DEAL_ENDED."""
        if not TRANSITIONS[deal.status]:
            raise Rejected(self.DEAL_ENDED, status=deal.status)

    def require_open(self, ctx: Context, deal_id: bytes) -> Deal:
        """A deal of the signing member's that has not ended."""
        deal = self.require_deal(deal_id)
        if ctx.member not in (deal.seller, deal.buyer):
            raise Rejected(self.NOT_A_PARTY)
        self.check_open(deal)
        return deal

    def _require_ready(self, ctx: Context, deal_id: bytes) -> Deal:
        """A deal of the signing member's that settles by itself, now."""
        deal = self.require_open(ctx, deal_id)
        if deal.linked:
            raise Rejected(self.DEAL_LINKED)
        self.check_ready(ctx, deal)
        return deal

    def check_ready(self, ctx: Context, deal: Deal) -> None:
        """What every settlement must satisfy, in the public order of precedence."""
        self.check_open(deal)
        if ctx.time_ms < deal.conditions.value_ms:
            raise Rejected(self.BEFORE_VALUE_DATE, value_ms=deal.conditions.value_ms)
        self.members.check_active(deal.buyer if ctx.member == deal.seller else deal.seller)
        if ctx.member not in (deal.seller, deal.buyer):
            self.members.check_active(deal.buyer)
        self.assets.check_active(self.assets.require_asset(deal.asset))
        self.assets.check_active(self.assets.require_asset(deal.against))
        for accounts in (deal.seller_accounts, deal.buyer_accounts):
            self.assets.check_credit(accounts.asset)
            if accounts.cash != accounts.asset:
                self.assets.check_credit(accounts.cash)

    def _is_ready(self, ctx: Context, deal: Deal) -> bool:
        try:
            self.check_ready(ctx, deal)
        except Rejected:
            return False
        return True

    def _require_parties(self, ctx: Context, deals: list[tuple[bytes, Deal]]) -> tuple[str, ...]:
        parties = parties_of([deal for _, deal in deals])
        if ctx.member not in parties:
            raise Rejected(self.NOT_A_PARTY)
        return parties

    def _require_set(self, set_id: bytes) -> Set:
        found = self.linked.get(set_id)
        if found is None:
            raise Rejected(self.SET_UNKNOWN)
        return found

    # --- effects --------------------------------------------------------------------------------------------

    def _settle_lots(self, ctx: Context, deal_id: bytes, deal: Deal, lots: int) -> None:
        """Both legs of some lots; what is held for the rest stays held."""
        legs = legs_of(deal, lots)
        self._release(deal, legs)
        for leg in legs:
            self.assets.move(*leg)
        self._put_settled(ctx, deal_id, deal, lots, legs)

    def _settle_legs(self, legs: list[Leg]) -> None:
        """All legs, each once its account has what it takes; a leg that waits goes after those that feed it.
        Raises GRIDLOCK.
        """
        while legs:
            waiting: list[Leg] = []
            for leg in legs:
                position = self.assets.position(leg.source, leg.asset)
                if position.posted - position.held < leg.amount:
                    waiting.append(leg)
                else:
                    self.assets.move(*leg)
            if len(waiting) == len(legs):
                raise Rejected(self.GRIDLOCK, legs=len(legs))
            legs = waiting

    def _put_settled(
        self, ctx: Context, deal_id: bytes, deal: Deal, lots: int, legs: tuple[Leg, Leg]
    ) -> None:
        left = deal.left - lots
        if left:
            self.deal.put(replace(deal, left=left), deal_id)
        else:
            self._put(deal_id, deal, "settled", left=0, seller_held=0, buyer_held=0)
        asset, cash = legs
        told = (asset.asset, asset.amount, asset.source, asset.destination)
        against = (cash.asset, cash.amount, cash.source, cash.destination)
        ctx.emit(Settled(deal_id, *told, *against, left))

    def _release(self, deal: Deal, legs: tuple[Leg, Leg]) -> None:
        """What is held of these legs is free."""
        for held, leg in zip((deal.seller_held, deal.buyer_held), legs, strict=True):
            if held:
                self.assets.release(leg.source, leg.asset, leg.amount)

    def _end(self, ctx: Context, deal_id: bytes, deal: Deal, status: DealStatus) -> None:
        self._release(deal, legs_of(deal, deal.left))
        self._put(deal_id, deal, status, seller_held=0, buyer_held=0)
        ctx.emit(DealEnded(deal_id, deal.seller, deal.buyer, status))

    def _put(self, deal_id: bytes, deal: Deal, status: DealStatus, **changed: int) -> None:
        """A deal takes one of its transitions."""
        if status not in TRANSITIONS[deal.status]:
            raise Rejected(self.DEAL_ENDED, status=deal.status)
        if deal.status == "agreed":
            self.due.delete(QUEUE, deal.conditions.due_ms, deal_id)
        self.deal.put(replace(deal, status=status, **changed), deal_id)

    def _put_set(self, set_id: bytes, found: Set, status: SetStatus) -> Set:
        """A linked set takes one of its transitions."""
        if status not in SET_TRANSITIONS[found.status]:
            raise Rejected(self.SET_ENDED, status=found.status)
        found = replace(found, status=status)
        self.linked.put(found, set_id)
        return found
