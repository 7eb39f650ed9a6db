"""Registration: how an asset that is more than a currency comes onto the ledger, and how it leaves.

An issuer applies with identifiers, terms and the hash of the terms' document; a registrar, never the
applicant itself, takes the application up and approves or rejects it. Approval puts the asset on the
register, under its issuer, who then issues and redeems in assets.py up to the cap; a supplement to the cap
takes the same way. A registrar or a regulator stops an asset for a legal order, which says who alone may lift
it. An asset of which nothing is out is retired for ever. Liabilities (placements, loans, deposits) are assets
like all others: the debtor is the issuer, the creditor the holder.

The terms' hash is of a file that the issuer keeps as it likes, or the id of a document in its vault
(vault.py), which commits to one content and is looked up on the ledger. Such a document is not deleted while
the asset lives; a registrar and holders that it was granted to fetch it.

State       application / asset -> Application
            waiting / queue, asset -> Place
            entry / asset -> Entry
            taken / kind, identifier -> Taken
            order / asset, reference -> Order
            document / asset, document -> Place
Life        submitted --take_up--> reviewing --approve--> approved    reviewing --reject--> rejected
            submitted, reviewing --withdraw--> withdrawn
Invariants  R1 an ISIN, and a terms document, belong to one asset or one application that is under way.
            R2 nobody reviews an application of its own.
            R3 an asset is stopped while an order is in force, and its named lifter alone ends that;
               a regulator does where the lifter was removed.
            R4 an application that has ended changes no more; another may take its place.
            R5 the terms of an asset that are a document in a vault stay there until it is retired.
Privacy     everything here is public to all members. Documents stay with their owner, their hashes or ids
            stand here.
"""

from itertools import islice
from typing import Annotated, Final

from msgspec import Meta
from msgspec.structs import replace

from contracts.assets import ISSUER, PAGE_MAX, Assets
from contracts.identifiers import Isin, Lei, Taken, is_isin, is_lei
from contracts.institutions import REGISTRAR, REGULATOR
from contracts.members import Members
from contracts.positions import Asset, AssetClass, Decimals, NewAssetId, Reference, Stop
from contracts.terms import (
    Application,
    ApplicationMoved,
    ApplicationStatus,
    Applied,
    CapRaised,
    Entry,
    NamedApplication,
    NamedOrder,
    Order,
    OrderImposed,
    OrderLifted,
    OrderReference,
    Place,
    Retired,
    Terms,
    TermsDocument,
    TermsKept,
)
from contracts.vault import Vault
from node.ledger.contract import Category, Context, Contract, Rejected, error, method, query, table
from node.ledger.types import AMOUNT_MAX, Amount, AssetId, Hash, MemberId, Name

ORDERS_MAX: Final = 32
"""Legal orders of an asset in its life."""
DOCUMENTS_MAX: Final = 32
"""Documents of an asset's terms in its issuer's vault: what its retirement lets go."""
WAITING: Final = "waiting"
NO_TERMS: Final = bytes(32)

TRANSITIONS: Final[dict[ApplicationStatus, tuple[ApplicationStatus, ...]]] = {
    "submitted": ("reviewing", "withdrawn"),
    "reviewing": ("approved", "rejected", "withdrawn"),
    "approved": (),
    "rejected": (),
    "withdrawn": (),
}

Identifier = Annotated[str, Meta(max_length=64)]


class Registration(Contract):
    """See the module's docstring."""

    name = "registration"
    facts = (Applied, ApplicationMoved, TermsKept, CapRaised, OrderImposed, OrderLifted, Retired)

    NOT_REGISTRAR = error(
        1, Category.PERMISSION_DENIED, "Only a member with the role of registrar may do this."
    )
    NOT_APPLICANT = error(2, Category.PERMISSION_DENIED, "Only the member that applied may do this.")
    OWN_APPLICATION = error(3, Category.PERMISSION_DENIED, "Another registrar must review this member's own.")
    APPLICATION_UNKNOWN = error(4, Category.NOT_FOUND, "No application for this asset.")
    APPLICATION_PENDING = error(5, Category.ALREADY_EXISTS, "An application for this asset is under way.")
    NOT_IN_THIS_STATE = error(6, Category.PRECONDITION, "The application is in no state that allows this.")
    ISIN_INVALID = error(7, Category.INVALID, "The check digit of the ISIN is wrong.")
    LEI_INVALID = error(8, Category.INVALID, "The check digits of the LEI are wrong.")
    TERMS_INCONSISTENT = error(
        9, Category.INVALID, "Terms with interest name currency, nominal and start; maturity comes after it."
    )
    IDENTIFIER_TAKEN = error(
        10, Category.ALREADY_EXISTS, "The ISIN or the terms document is another asset's."
    )
    NOT_AUTHORITY = error(
        11, Category.PERMISSION_DENIED, "Only a registrar or a regulator stops an asset for a legal order."
    )
    ORDER_EXISTS = error(12, Category.ALREADY_EXISTS, "The asset has an order of this reference.")
    ORDER_UNKNOWN = error(13, Category.NOT_FOUND, "The asset has no such order.")
    ORDER_LIFTED = error(14, Category.PRECONDITION, "The order is lifted already.")
    NOT_LIFTER = error(15, Category.PERMISSION_DENIED, "Only the member that the order names may lift it.")
    TOO_MANY_ORDERS = error(16, Category.OVERLOADED, "An asset has at most 32 legal orders in its life.")
    UNITS_REMAIN = error(17, Category.PRECONDITION, "Units are still out: redeem them first.")
    CAP_TOO_LARGE = error(18, Category.INVALID, "The cap would exceed what can be counted.")

    TERMS_DIFFER = error(19, Category.PRECONDITION, "The application names another terms document.")
    TOO_MANY_DOCUMENTS = error(20, Category.OVERLOADED, "An asset has at most 32 documents in a vault.")

    application = table(Application, asset=AssetId)
    waiting = table(Place, queue=Name, asset=AssetId)
    entry = table(Entry, asset=AssetId)
    taken = table(Taken, kind=Name, identifier=Identifier)
    order = table(Order, asset=AssetId, reference=OrderReference)
    document = table(Place, asset=AssetId, document=Hash)

    def __init__(self, members: Members, assets: Assets, vault: Vault) -> None:
        self.members = members
        self.assets = assets
        self.vault = vault

    # --- by the issuer --------------------------------------------------------------------------------------

    @method
    def apply(
        self,
        ctx: Context,
        asset: NewAssetId,
        asset_class: AssetClass,
        decimals: Decimals,
        cap: Amount,
        terms_hash: Hash,
        isin: Isin,
        lei: Lei,
        terms: Terms,
    ) -> None:
        """Apply for an asset of which the signing member will be the issuer."""
        if not self.members.has_role(ctx.member, ISSUER):
            raise Rejected(self.assets.NOT_ISSUER)
        if isin and not is_isin(isin):
            raise Rejected(self.ISIN_INVALID, isin=isin)
        if lei and not is_lei(lei):
            raise Rejected(self.LEI_INVALID, lei=lei)
        self._check_terms(terms)
        if self.assets.asset.get(asset):
            raise Rejected(self.assets.ASSET_EXISTS, asset=asset)
        self._check_none_pending(asset)
        for kind, identifier in _identifiers(isin, terms_hash):
            if self.taken.get(kind, identifier):
                raise Rejected(self.IDENTIFIER_TAKEN, kind=kind)
            self.taken.put(Taken(asset), kind, identifier)
        asked = (asset_class, decimals, cap, terms_hash, isin, lei, terms)
        self._submit(ctx, asset, Application("new", ctx.member, *asked, "submitted", ""))

    @method
    def supplement(self, ctx: Context, asset: AssetId, cap: Amount, terms_hash: Hash) -> None:
        """Apply for ``cap`` more units that may be out of an asset of the signing member's."""
        registered = self.assets.require_asset(asset)
        if registered.issuer != ctx.member:
            raise Rejected(self.assets.NOT_ISSUER)
        self.assets.check_active(registered)
        if registered.cap + cap > AMOUNT_MAX:
            raise Rejected(self.CAP_TOO_LARGE)
        self._check_none_pending(asset)
        for kind, identifier in _identifiers("", terms_hash):
            if self.taken.get(kind, identifier):
                raise Rejected(self.IDENTIFIER_TAKEN, kind=kind)
            self.taken.put(Taken(asset), kind, identifier)
        entry = self.entry.get(asset)
        known = (entry.isin, entry.lei, entry.terms) if entry else ("", "", _PROMISES_NOTHING)
        asked = (registered.asset_class, registered.decimals, cap, terms_hash, *known)
        self._submit(ctx, asset, Application("supplement", ctx.member, *asked, "submitted", ""))

    @method(flat=60)
    def keep_terms(self, ctx: Context, asset: AssetId, document: Hash) -> None:
        """Say that the terms' hash of the signing member's last application is the id of a document in its
        vault: it stays there as long as the asset lives.
        """
        application = self._require_application(asset)
        if application.applicant != ctx.member:
            raise Rejected(self.NOT_APPLICANT)
        if application.status in ("rejected", "withdrawn"):
            raise Rejected(self.NOT_IN_THIS_STATE, status=application.status)
        if application.terms_hash != document:
            raise Rejected(self.TERMS_DIFFER)
        if application.status == "approved" and self.assets.require_asset(asset).status == "retired":
            raise Rejected(self.assets.ASSET_RETIRED)
        if sum(1 for _ in self.document.scan(asset)) >= DOCUMENTS_MAX:
            raise Rejected(self.TOO_MANY_DOCUMENTS)
        self.vault.keep_terms(ctx, document, asset)
        self.document.put(Place(1), asset, document)
        ctx.emit(TermsKept(asset, document, ctx.member))

    @method
    def withdraw(self, ctx: Context, asset: AssetId, reason: Reference) -> None:
        """Take an application back that is not decided."""
        application = self._require_application(asset)
        if application.applicant != ctx.member:
            raise Rejected(self.NOT_APPLICANT)
        self._move_on(ctx, asset, application, "withdrawn", reason)
        self._give_back(asset, application)

    @method(flat=120)
    def retire(self, ctx: Context, asset: AssetId) -> None:
        """End an asset of which nothing is out, for ever. By its issuer or a registrar."""
        registered = self.assets.require_asset(asset)
        if registered.issuer != ctx.member and not self.members.has_role(ctx.member, REGISTRAR):
            raise Rejected(self.assets.NOT_ISSUER)
        self.assets.check_active(registered)
        if registered.issued != registered.redeemed:
            raise Rejected(self.UNITS_REMAIN, units=registered.issued - registered.redeemed)
        self.assets.retire(ctx, asset)
        for (_, document), _place in list(self.document.scan(asset)):
            self._let_go(asset, document)
        ctx.emit(Retired(asset))

    # --- by a registrar -------------------------------------------------------------------------------------

    @method
    def take_up(self, ctx: Context, asset: AssetId) -> None:
        """Begin to review an application."""
        self._check_registrar(ctx)
        application = self._require_application(asset)
        if application.applicant == ctx.member:
            raise Rejected(self.OWN_APPLICATION)
        self._move_on(ctx, asset, application, "reviewing", "")

    @method
    def approve(self, ctx: Context, asset: AssetId, terms_hash: Hash, reason: Reference) -> None:
        """Put what was applied for on the register, under the terms whose hash the registrar has seen."""
        self._check_registrar(ctx)
        application = self._require_application(asset)
        if application.applicant == ctx.member:
            raise Rejected(self.OWN_APPLICATION)
        if application.terms_hash != terms_hash:
            raise Rejected(self.TERMS_DIFFER)
        self._move_on(ctx, asset, application, "approved", reason)
        a = application
        if a.kind == "supplement":
            self._raise_cap(ctx, asset, a.cap)
            return
        self.assets.enter(
            ctx, asset, Asset(a.applicant, a.asset_class, a.decimals, a.cap, terms_hash, "active", 0, 0)
        )
        self.entry.put(Entry(a.isin, a.lei, a.terms, ctx.member), asset)

    @method
    def reject(self, ctx: Context, asset: AssetId, reason: Reference) -> None:
        """Decline an application."""
        self._check_registrar(ctx)
        application = self._require_application(asset)
        if application.applicant == ctx.member:
            raise Rejected(self.OWN_APPLICATION)
        self._move_on(ctx, asset, application, "rejected", reason)
        self._give_back(asset, application)

    @method(flat=60)
    def impose(
        self, ctx: Context, asset: AssetId, reference: OrderReference, lifter: MemberId, document_hash: Hash
    ) -> None:
        """Stop an asset for a legal order, which the lifter alone may lift. By a registrar or a regulator."""
        if not (self.members.has_role(ctx.member, REGISTRAR) or self.members.has_role(ctx.member, REGULATOR)):
            raise Rejected(self.NOT_AUTHORITY)
        registered = self.assets.require_asset(asset)
        self.members.check_active(lifter)
        if registered.status == "retired":
            raise Rejected(self.assets.ASSET_RETIRED)
        if self.order.get(asset, reference):
            raise Rejected(self.ORDER_EXISTS)
        if sum(1 for _ in self.order.scan(asset)) >= ORDERS_MAX:
            raise Rejected(self.TOO_MANY_ORDERS)
        self.order.put(Order(ctx.member, lifter, document_hash, ctx.time_ms, "in force"), asset, reference)
        self.assets.stop_asset(ctx, asset, _reason(reference), Stop("ordered"))
        ctx.emit(OrderImposed(asset, reference, ctx.member, lifter))

    @method(flat=60)
    def lift(self, ctx: Context, asset: AssetId, reference: OrderReference) -> None:
        """Lift a legal order. By the member that the order names, or a regulator where that was removed."""
        order = self.order.get(asset, reference)
        if order is None:
            raise Rejected(self.ORDER_UNKNOWN)
        stands_in = self.members.is_removed(order.lifter) and self.members.has_role(ctx.member, REGULATOR)
        if order.lifter != ctx.member and not stands_in:
            raise Rejected(self.NOT_LIFTER)
        if order.status != "in force":
            raise Rejected(self.ORDER_LIFTED)
        self.order.put(replace(order, status="lifted"), asset, reference)
        self.assets.resume_asset(ctx, asset, _reason(reference))
        ctx.emit(OrderLifted(asset, reference))

    # --- queries --------------------------------------------------------------------------------------------

    @query
    def get_application(self, ctx: Context, asset: AssetId) -> Application:
        """The last application for an asset."""
        return self._require_application(asset)

    @query
    def list_waiting(
        self, ctx: Context, after: Annotated[str, Meta(max_length=16)]
    ) -> tuple[NamedApplication, ...]:
        """Up to 100 applications that are not decided, ascending by asset, from behind ``after`` on."""
        page = self.waiting.scan(WAITING, start=(WAITING, after))
        return tuple(
            islice(
                (
                    NamedApplication(asset, self._require_application(asset))
                    for (_, asset), _ in page
                    if asset != after
                ),
                PAGE_MAX,
            )
        )

    @query
    def get_entry(self, ctx: Context, asset: AssetId) -> Entry:
        """Identifiers and terms of an asset that a registrar approved."""
        return self.require_entry(asset)

    @query
    def list_terms(
        self, ctx: Context, asset: AssetId
    ) -> Annotated[tuple[TermsDocument, ...], Meta(max_length=DOCUMENTS_MAX)]:
        """The documents of an asset's terms, and of its application's, that are in a vault."""
        found = [parts[1] for parts, _ in self.document.scan(asset)]
        return tuple([TermsDocument(each, self.vault.require_document(each).owner) for each in found])

    @query
    def list_orders(self, ctx: Context, asset: AssetId) -> tuple[NamedOrder, ...]:
        """All legal orders of an asset, lifted ones too."""
        return tuple([NamedOrder(reference, order) for (_, reference), order in self.order.scan(asset)])

    # --- guards and effects ---------------------------------------------------------------------------------

    def require_entry(self, asset: str) -> Entry:
        """What the register says of an asset. Raises APPLICATION_UNKNOWN where none was approved."""
        entry = self.entry.get(asset)
        if entry is None:
            raise Rejected(self.APPLICATION_UNKNOWN, asset=asset)
        return entry

    def _check_registrar(self, ctx: Context) -> None:
        if not self.members.has_role(ctx.member, REGISTRAR):
            raise Rejected(self.NOT_REGISTRAR)

    def _check_terms(self, terms: Terms) -> None:
        if terms.currency:
            self.assets.require_asset(terms.currency)
        bears = not terms.rate or (terms.currency and terms.nominal and terms.starts_ms)
        if not bears or 0 < terms.matures_ms <= terms.starts_ms:
            raise Rejected(self.TERMS_INCONSISTENT)

    def _require_application(self, asset: str) -> Application:
        application = self.application.get(asset)
        if application is None:
            raise Rejected(self.APPLICATION_UNKNOWN, asset=asset)
        return application

    def _check_none_pending(self, asset: str) -> None:
        if self.waiting.get(WAITING, asset):
            raise Rejected(self.APPLICATION_PENDING)

    def _submit(self, ctx: Context, asset: str, application: Application) -> None:
        self.application.put(application, asset)
        self.waiting.put(Place(1), WAITING, asset)
        a = application
        ctx.emit(Applied(asset, a.kind, a.applicant, a.cap, a.terms_hash))

    def _move_on(
        self, ctx: Context, asset: str, application: Application, status: ApplicationStatus, reason: str
    ) -> None:
        """An application takes one of its transitions."""
        if status not in TRANSITIONS[application.status]:
            raise Rejected(self.NOT_IN_THIS_STATE, status=application.status)
        reviewer = ctx.member if status == "reviewing" else application.reviewer
        self.application.put(replace(application, status=status, reviewer=reviewer), asset)
        if not TRANSITIONS[status]:
            self.waiting.delete(WAITING, asset)
        ctx.emit(ApplicationMoved(asset, status, ctx.member, reason))

    def _give_back(self, asset: str, application: Application) -> None:
        """Nothing was registered: the identifiers are free, and so is the document."""
        if self.document.get(asset, application.terms_hash):
            self._let_go(asset, application.terms_hash)
        isin = application.isin if application.kind == "new" else ""
        for kind, identifier in _identifiers(isin, application.terms_hash):
            self.taken.delete(kind, identifier)

    def _let_go(self, asset: str, document: bytes) -> None:
        self.document.delete(asset, document)
        self.vault.let_terms_go(document)

    def _raise_cap(self, ctx: Context, asset: str, more: int) -> None:
        registered = self.assets.require_asset(asset)
        self.assets.check_active(registered)
        cap = registered.cap + more
        self.assets.asset.put(replace(registered, cap=cap), asset)
        ctx.emit(CapRaised(asset, cap))


_PROMISES_NOTHING: Final = Terms("", 0, 0, "ACT/365", 0, 0)


def _identifiers(isin: str, terms_hash: bytes) -> list[tuple[str, str]]:
    """(kind, identifier) of all that must be unique."""
    named = [("isin", isin)] if isin else []
    return named if terms_hash == NO_TERMS else [*named, ("terms", terms_hash.hex())]


def _reason(reference: str) -> str:
    return f"order/{reference}"
