"""Servicing: coupons, distributions and redemptions, from the record date to the last payment.

An issuer announces what it will pay for every so many units held at a record date: an amount of its own, or
the interest that its terms promise for the time since the last coupon. When block time reaches
that date the asset's books close: nothing of it moves. The issuer or a regulator then names the holders, in
pieces of up to 1,000 accounts, and every other member may name its own; each account's position is taken from
the ledger, and the list is complete when the positions found add up to all that is out, which nobody can
bring about by leaving a holder out or naming one twice.
The books open again (for a redemption: once all are paid), and the issuer pays in pieces of up to 1,000. What
is not paid stands on the ledger for all to see. A redemption takes the units back as it pays; the issuer then
redeems them in assets.py.

State       action / asset, number -> Action
            counted / asset -> Counted
            found / asset, number -> Found
            claim / asset, number, account -> Claim
            due / queue, time, asset, number -> Place
Life        announced --block time--> fixing --last holder found--> fixed --last holder paid--> paid
            announced, fixing --cancel--> cancelled
Invariants  S1 the claims of a fixed action cover every unit that was out at its record date, once each.
            S2 a claim is paid once; owed less paid is what the unpaid claims add up to.
            S3 one action of an asset at a time has its books closed.
            S4 units pass only through ``Assets.move``, and out of a holder's account only when its units'
            redemption is paid into that account in the same operation.
Privacy     who runs a node sees all holders and claims in clear. What an issuer owes and has paid in all is
            public once all holders are found; who holds and claims is for the issuer, and each claim for its
            holder. How the finding comes on is the issuer's to know.
"""

from itertools import islice
from typing import Annotated, Any, Final

from msgspec import Meta
from msgspec.structs import replace

from contracts.assets import PAGE_MAX, Assets
from contracts.positions import Asset, Stop
from contracts.registration import REGULATOR, Registration
from contracts.terms import (
    PIECE_MAX,
    Accrued,
    Action,
    ActionEnded,
    ActionKind,
    ActionStatus,
    Announced,
    BooksClosed,
    Claim,
    Counted,
    Found,
    Holders,
    HoldersFixed,
    HoldersPaid,
    NamedAction,
    NamedClaim,
    Number,
    Payment,
    Piece,
    Place,
    accrued,
    interest,
)
from node.ledger.contract import Category, Context, Contract, Rejected, error, method, query, table
from node.ledger.types import AMOUNT_MAX, AccountId, Amount, AssetId, Name, TimeMs

EXPIRY_MAX: Final = 500
"""Record dates that one block meets; the rest follow in the next."""
AHEAD_MAX_MS: Final = 366 * 86_400_000
LOOKED_THROUGH_MAX: Final = 10_000
"""Balances that one page of holders looks through."""
LAST_ACTIONS_MAX: Final = 100
QUEUE: Final = "record"
_NEW: Final = ("announced", 0, 0, 0, 0, 0)

TRANSITIONS: Final[dict[ActionStatus, tuple[ActionStatus, ...]]] = {
    "announced": ("fixing", "cancelled"),
    "fixing": ("fixed", "cancelled"),
    "fixed": ("paid", "cancelled"),  # cancelled: a redemption that a holder keeps from its end
    "paid": (),
    "cancelled": (),
}


class Servicing(Contract):
    """See the module's docstring."""

    name = "servicing"
    facts = (Announced, BooksClosed, HoldersFixed, HoldersPaid, ActionEnded)

    ACTION_UNKNOWN = error(1, Category.NOT_FOUND, "The asset has no such action.")
    NOT_IN_THIS_STATE = error(2, Category.PRECONDITION, "The action is in no state that allows this.")
    RECORD_OUT_OF_RANGE = error(
        3, Category.INVALID, "A record date is later than block time and within 366 days."
    )
    ACTION_PENDING = error(
        4, Category.PRECONDITION, "The last action's holders are not fixed, or its redemption is not paid."
    )
    SAME_ASSET = error(5, Category.INVALID, "An asset does not pay in itself.")
    HOLDER_FIXED = error(6, Category.ALREADY_EXISTS, "The holder is fixed already, or named twice.")
    HOLDS_NOTHING = error(7, Category.INVALID, "The account holds nothing of the asset.")
    CLAIM_UNKNOWN = error(8, Category.NOT_FOUND, "The account has no claim.")
    CLAIM_PAID = error(9, Category.PRECONDITION, "The claim is paid already.")
    TOO_MUCH = error(10, Category.INVALID, "What would be owed exceeds what can be counted.")
    NO_INTEREST = error(11, Category.PRECONDITION, "By its terms nothing has accrued until then.")
    NOT_BY_ITS_TERMS = error(
        12,
        Category.PRECONDITION,
        "A redemption pays at least the registered nominal, in its currency, from maturity on.",
    )
    NOT_ITS_HOLDERS = error(
        13, Category.PERMISSION_DENIED, "Others than the issuer and a regulator name their own accounts only."
    )

    action = table(Action, asset=AssetId, number=Number)
    counted = table(Counted, asset=AssetId)
    found = table(Found, asset=AssetId, number=Number)
    claim = table(Claim, asset=AssetId, number=Number, account=AccountId)
    due = table(Place, queue=Name, time_ms=TimeMs, asset=AssetId, number=Number)

    def __init__(self, assets: Assets, registration: Registration) -> None:
        self.assets = assets
        self.registration = registration

    def on_block(self, ctx: Context) -> None:
        """Close the books of what has come to its record date, oldest first."""
        for (_, time_ms, asset, number), _place in islice(self.due.scan(QUEUE), EXPIRY_MAX):
            if time_ms > ctx.time_ms:
                break
            self._close_books(ctx, asset, number)

    # --- by the issuer --------------------------------------------------------------------------------------

    @method
    def announce(
        self,
        ctx: Context,
        asset: AssetId,
        kind: ActionKind,
        currency: AssetId,
        pays: Amount,
        per: Amount,
        record_ms: TimeMs,
    ) -> None:
        """Announce that the holders of a date will be paid ``pays`` of a currency for every ``per`` units."""
        registered = self._require_issuer(ctx, asset)
        self._announce(ctx, asset, registered, Action(kind, currency, pays, per, record_ms, *_NEW))

    @method(flat=100)
    def announce_interest(self, ctx: Context, asset: AssetId, record_ms: TimeMs) -> None:
        """Announce a coupon of what the asset's terms promise from the last coupon's record date, or from the
        start, until a record date.
        """
        registered = self._require_issuer(ctx, asset)
        terms = self.registration.require_entry(asset).terms
        pays, per, _days = interest(terms, self._last_coupon_ms(asset), record_ms)
        if not pays:
            raise Rejected(self.NO_INTEREST)
        if pays > AMOUNT_MAX:
            raise Rejected(self.TOO_MUCH)
        coupon = Action("coupon", terms.currency, pays, per, record_ms, *_NEW)
        self._announce(ctx, asset, registered, coupon)

    def _announce(self, ctx: Context, asset: str, registered: Asset, action: Action) -> None:
        currency, record_ms = action.currency, action.record_ms
        if asset == currency:
            raise Rejected(self.SAME_ASSET)
        self.assets.require_asset(currency)
        if registered.status == "retired":
            raise Rejected(self.assets.ASSET_RETIRED)
        if not ctx.time_ms < record_ms <= ctx.time_ms + AHEAD_MAX_MS:
            raise Rejected(self.RECORD_OUT_OF_RANGE, block_time_ms=ctx.time_ms)
        if action.kind == "redemption":
            self._check_redemption(asset, action)
        if registered.cap * action.pays // action.per > AMOUNT_MAX:
            raise Rejected(self.TOO_MUCH)
        last = self.counted.get(asset)
        number = last.last + 1 if last else 1
        if last and self._closes_books(self.require_action(asset, last.last)):
            raise Rejected(self.ACTION_PENDING)
        self.counted.put(Counted(number), asset)
        self.action.put(action, asset, number)
        self.due.put(Place(1), QUEUE, record_ms, asset, number)
        paid = (action.kind, currency, action.pays, action.per, record_ms)
        ctx.emit(Announced(asset, number, *paid))

    @method
    def cancel(self, ctx: Context, asset: AssetId, number: Number) -> None:
        """Take an announcement back before its holders are fixed, or end a redemption that is not paid in
        whole: who is not paid keeps its units. The books open again.
        """
        self._require_issuer(ctx, asset)
        action = self.require_action(asset, number)
        if action.status == "fixed" and action.kind != "redemption":
            raise Rejected(self.NOT_IN_THIS_STATE, status=action.status)
        self._put(asset, number, action, "cancelled")
        self.found.delete(asset, number)
        self.due.delete(QUEUE, action.record_ms, asset, number)
        if action.status != "announced":
            self.assets.resume_asset(ctx, asset, _reason(number))
        ctx.emit(ActionEnded(asset, number, "cancelled"))

    def _weight_of_payment(self, asset: str, number: int, *_: Any) -> tuple[tuple[str, int], ...]:
        """All that is owed still, whatever the piece, and what the same transaction may yet fix."""
        action = self.require_action(asset, number)
        owed = action.owed
        if action.status == "fixing":
            owed = action.outstanding * action.pays // action.per
        return ((action.currency, owed - action.paid),)

    @method(weight=_weight_of_payment, work=24)
    def pay(
        self,
        ctx: Context,
        asset: AssetId,
        number: Number,
        source: AccountId,
        taken_back: AccountId,
        holders: Piece,
    ) -> None:
        """Pay a piece of the holders out of an account of the issuer's, all or none. A redemption takes their
        units into ``taken_back``, another account of the issuer's or the same.
        """
        registered = self._require_issuer(ctx, asset)
        if registered.status == "ordered":
            raise Rejected(self.assets.ASSET_ORDERED)
        action = self.require_action(asset, number)
        if action.status != "fixed":
            raise Rejected(self.NOT_IN_THIS_STATE, status=action.status)
        self.assets.check_active(self.assets.require_asset(action.currency))
        self.assets.check_debit(ctx, source)
        self.assets.check_debit(ctx, taken_back)
        payments = tuple(
            [self._pay_one(asset, number, action, source, taken_back, holder) for holder in holders]
        )
        paid = action.paid + sum([payment.amount for payment in payments])
        claims = action.claims - len(payments)
        action = replace(action, paid=paid, claims=claims)
        self.action.put(action, asset, number)
        ctx.emit(
            HoldersPaid(asset, number, action.currency, source, taken_back, payments, action.owed - paid)
        )
        if not claims:
            self._end(ctx, asset, number, action)

    # --- by any member --------------------------------------------------------------------------------------

    @method(work=16)
    def fix(self, ctx: Context, asset: AssetId, number: Number, holders: Piece) -> None:
        """Name a piece of the holders of the record date; what they hold is read off the ledger. By the
        issuer or a regulator; by any other member for accounts of its own. The list is right or refused.
        """
        action = self.require_action(asset, number)
        if action.status != "fixing":
            raise Rejected(self.NOT_IN_THIS_STATE, status=action.status)
        issuer = self.assets.require_asset(asset).issuer
        if ctx.member != issuer and not self.registration.members.has_role(ctx.member, REGULATOR):
            self._check_own(ctx, holders)
        before = self.found.get(asset, number) or Found(0, 0, 0)
        fixed, owed, claims = before.fixed, before.owed, before.claims
        for holder in holders:
            owner = self.assets.require_account(holder).member
            units = self.assets.position(holder, asset).posted
            if not units:
                raise Rejected(self.HOLDS_NOTHING, account=holder)
            if self.claim.get(asset, number, holder):
                raise Rejected(self.HOLDER_FIXED, account=holder)
            fixed += units
            if owner == issuer:  # an issuer owes itself nothing
                self.claim.put(Claim(units, 0, "paid"), asset, number, holder)
                continue
            amount = units * action.pays // action.per
            self.claim.put(Claim(units, amount, "unpaid"), asset, number, holder)
            owed, claims = owed + amount, claims + 1
        if owed > AMOUNT_MAX:
            raise Rejected(self.TOO_MUCH)
        self.found.put(Found(fixed, owed, claims), asset, number)
        ctx.emit(HoldersFixed(asset, number, issuer, len(holders)))
        if fixed == action.outstanding:
            self._complete(ctx, asset, number, replace(action, fixed=fixed, owed=owed, claims=claims))

    # --- queries --------------------------------------------------------------------------------------------

    @query
    def get_action(self, ctx: Context, asset: AssetId, number: Number) -> Action:
        """What an issuer owes the holders of a date, and how much of it is not paid."""
        return self.require_action(asset, number)

    @query
    def get_found(self, ctx: Context, asset: AssetId, number: Number) -> Found:
        """How far the holders are found, while they are not all."""
        self.require_action(asset, number)
        return self.found.get(asset, number) or Found(0, 0, 0)

    @query
    def list_actions(
        self, ctx: Context, asset: AssetId, after: Annotated[int, Meta(ge=0, le=2**32 - 1)]
    ) -> tuple[NamedAction, ...]:
        """Up to 100 actions of an asset, ascending by number, from behind ``after`` on."""
        page = self.action.scan(asset, start=(asset, after + 1))
        return tuple(islice((NamedAction(number, action) for (_, number), action in page), PAGE_MAX))

    @query
    def list_claims(
        self, ctx: Context, asset: AssetId, number: Number, after: Annotated[str, Meta(max_length=52)]
    ) -> tuple[NamedClaim, ...]:
        """Up to 100 claims, ascending by account, from behind ``after`` on; the unpaid ones say so."""
        page = self.claim.scan(asset, number, start=(asset, number, after))
        return tuple(
            islice(
                (NamedClaim(account, claim) for (_, _, account), claim in page if account != after), PAGE_MAX
            )
        )

    @query
    def get_accrued(self, ctx: Context, account: AccountId, asset: AssetId, at_ms: TimeMs) -> Accrued:
        """Simple interest accrued on what an account holds now, from the last coupon's record date, or from
        the start of the terms, until a time.
        """
        units = self.assets.position(account, asset).posted
        terms = self.registration.require_entry(asset).terms
        return accrued(terms, units, self._last_coupon_ms(asset), at_ms)

    @query
    def get_claim(self, ctx: Context, account: AccountId, asset: AssetId, number: Number) -> Claim:
        """What an account had at the record date, and whether it is paid for it."""
        return self._require_claim(asset, number, account)

    @query
    def list_holders(
        self, ctx: Context, asset: AssetId, after: Annotated[str, Meta(max_length=52)]
    ) -> Holders:
        """Accounts that hold an asset, ascending: up to 1,000 among the next 10,000 balances of all accounts
        from behind ``after`` on, and where to go on.
        """
        found: list[str] = []
        last, looked = "", 0
        for (account, held), position in self.assets.balance.scan(start=(after,)):
            if account <= after:
                continue
            if account != last and (looked >= LOOKED_THROUGH_MAX or len(found) == PIECE_MAX):
                return Holders(tuple(found), last)
            last, looked = account, looked + 1
            if held == asset and position.posted:
                found.append(account)
        return Holders(tuple(found), "")

    # --- guards and effects ---------------------------------------------------------------------------------

    def require_action(self, asset: str, number: int) -> Action:
        """An action. Raises ACTION_UNKNOWN."""
        action = self.action.get(asset, number)
        if action is None:
            raise Rejected(self.ACTION_UNKNOWN)
        return action

    def _require_claim(self, asset: str, number: int, account: str) -> Claim:
        claim = self.claim.get(asset, number, account)
        if claim is None:
            raise Rejected(self.CLAIM_UNKNOWN, account=account)
        return claim

    def _require_issuer(self, ctx: Context, asset: str) -> Asset:
        registered = self.assets.require_asset(asset)
        if registered.issuer != ctx.member:
            raise Rejected(self.assets.NOT_ISSUER)
        return registered

    def _check_own(self, ctx: Context, holders: Piece) -> None:
        if any(holder.partition("/")[0] != ctx.member for holder in holders):
            raise Rejected(self.NOT_ITS_HOLDERS)

    def _check_redemption(self, asset: str, action: Action) -> None:
        """An issuer takes units back for what was promised; for else, holders sign a deal."""
        terms = self.registration.require_entry(asset).terms
        kept = action.currency == terms.currency and action.pays >= terms.nominal * action.per
        if not (kept and terms.nominal and action.record_ms >= terms.matures_ms):
            raise Rejected(self.NOT_BY_ITS_TERMS)

    def _last_coupon_ms(self, asset: str) -> int:
        """The record date of the last coupon that was not cancelled; 0 where there was none among the last
        hundred actions.
        """
        last = islice(self.action.scan(asset, reverse=True), LAST_ACTIONS_MAX)
        dates = (a.record_ms for _, a in last if a.kind == "coupon" and a.status != "cancelled")
        return next(dates, 0)

    def _closes_books(self, action: Action) -> bool:
        """Whether the books are closed for it, or will be."""
        waits = action.status in ("announced", "fixing")
        return waits or (action.kind == "redemption" and action.status == "fixed")

    def _put(self, asset: str, number: int, action: Action, status: ActionStatus) -> Action:
        """An action takes one of its transitions."""
        if status not in TRANSITIONS[action.status]:
            raise Rejected(self.NOT_IN_THIS_STATE, status=action.status)
        action = replace(action, status=status)
        self.action.put(action, asset, number)
        return action

    def _close_books(self, ctx: Context, asset: str, number: int) -> None:
        action = self.require_action(asset, number)
        self.due.delete(QUEUE, action.record_ms, asset, number)
        registered = self.assets.require_asset(asset)
        action = replace(action, outstanding=registered.issued - registered.redeemed)
        action = self._put(asset, number, action, "fixing")
        self.assets.stop_asset(ctx, asset, _reason(number), Stop("record-date"))
        ctx.emit(BooksClosed(asset, number, action.outstanding))
        if not action.outstanding:
            self._complete(ctx, asset, number, action)

    def _complete(self, ctx: Context, asset: str, number: int, action: Action) -> None:
        """Every unit is found: the books open again, but for a redemption."""
        self.found.delete(asset, number)
        action = self._put(asset, number, action, "fixed")
        if action.kind != "redemption":
            self.assets.resume_asset(ctx, asset, _reason(number))
        if not action.claims:
            self._end(ctx, asset, number, action)

    def _end(self, ctx: Context, asset: str, number: int, action: Action) -> None:
        """Every holder is paid."""
        self._put(asset, number, action, "paid")
        if action.kind == "redemption":
            self.assets.resume_asset(ctx, asset, _reason(number))
        ctx.emit(ActionEnded(asset, number, "paid"))

    def _pay_one(
        self, asset: str, number: int, action: Action, source: str, taken_back: str, holder: str
    ) -> Payment:
        claim = self._require_claim(asset, number, holder)
        if claim.status == "paid":
            raise Rejected(self.CLAIM_PAID, account=holder)
        self.assets.check_credit(holder)
        self.claim.put(replace(claim, status="paid"), asset, number, holder)
        if claim.amount:
            self.assets.move(source, holder, action.currency, claim.amount)
        if action.kind != "redemption":
            return Payment(holder, claim.amount, 0)
        self.assets.move(holder, taken_back, asset, claim.units)
        return Payment(holder, claim.amount, claim.units)


def _reason(number: int) -> str:
    return f"record/{number}"
