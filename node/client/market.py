"""Trading and the register from the client's side: offers, deals and cycles as a member may see them, and
what assets promise and owe. Records are the contracts' own; amounts are minor units, times ms since 1970.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import grpc

from contracts.deals import Accounts, Conditions, Deal, NamedDeal, NamedOffer, Offer, Set
from contracts.settlement_cycles import Cycle, NamedCycle
from contracts.terms import (
    Accrued,
    Action,
    Application,
    Claim,
    DayCount,
    Entry,
    NamedAction,
    NamedApplication,
    NamedClaim,
    NamedOrder,
    Order,
    Terms,
    TermsDocument,
)
from node.client.connection import ask
from node.pb.vostro.product.v1 import product_pb2
from node.pb.vostro.product.v1.product_pb2_grpc import ProductServiceStub
from node.pb.vostro.trading.v1 import trading_pb2 as pb
from node.pb.vostro.trading.v1.trading_pb2_grpc import TradingServiceStub

R = TypeVar("R")


class Market:
    """The trading and product services of one node. Every call raises Declined, Unreachable."""

    def __init__(self, channel: grpc.aio.Channel, target: str, seconds: float) -> None:
        """See Client."""
        stub: Any = channel
        self._trading = TradingServiceStub(stub)
        self._products = ProductServiceStub(stub)
        self._target = target
        self._seconds = seconds

    # --- trading ------------------------------------------------------------------------------------------

    async def offer(self, member: str, maker: str, offer: bytes) -> Offer:
        """An offer that a member may see."""
        request = pb.GetOfferRequest(member=member, maker=maker, offer=offer)
        return _offer((await self._ask(self._trading.GetOffer, request)).offer).offer

    async def offers(self, member: str) -> list[NamedOffer]:
        """All offers and requests by a member, ended ones too."""
        request = pb.ListOffersRequest(member=member)
        return await self._all(self._trading.ListOffers, request, "offers", _offer)

    async def open_offers(self, member: str, asset: str) -> list[NamedOffer]:
        """All open offers and requests for an asset that a member may see."""
        request = pb.ListOpenOffersRequest(member=member, asset=asset)
        return await self._all(self._trading.ListOpenOffers, request, "offers", _offer)

    async def deal(self, member: str, deal: bytes) -> Deal:
        """A deal of a member."""
        request = pb.GetDealRequest(member=member, deal=deal)
        return _deal((await self._ask(self._trading.GetDeal, request)).deal).deal

    async def deals(self, member: str) -> list[NamedDeal]:
        """All deals of a member, ended ones too."""
        return await self._all(self._trading.ListDeals, pb.ListDealsRequest(member=member), "deals", _deal)

    async def linked_set(self, member: str, set_id: bytes) -> Set:
        """A linked set in which a member has a deal."""
        request = pb.GetLinkedSetRequest(member=member, set_id=set_id)
        found = (await self._ask(self._trading.GetLinkedSet, request)).linked_set
        return Set(tuple(found.deals), tuple(found.missing), cast("Any", found.status))

    async def cycle(self, member: str, cycle: bytes) -> tuple[Cycle, list[NamedDeal]]:
        """A settlement cycle, and a member's deals in it while it is open."""
        request = pb.GetCycleRequest(member=member, cycle=cycle)
        answer = await self._ask(self._trading.GetCycle, request)
        return _cycle(answer.cycle).cycle, [_deal(deal) for deal in answer.deals]

    async def cycles(self) -> list[NamedCycle]:
        """All settlement cycles."""
        return await self._all(self._trading.ListCycles, pb.ListCyclesRequest(), "cycles", _cycle)

    # --- the register -------------------------------------------------------------------------------------

    async def entry(self, asset: str) -> Entry:
        """Identifiers and terms of an asset that a registrar approved."""
        request = product_pb2.GetEntryRequest(asset=asset)
        found = (await self._ask(self._products.GetEntry, request)).entry
        return Entry(found.isin, found.lei, _terms(found.terms), found.registrar)

    async def terms_documents(self, asset: str) -> list[TermsDocument]:
        """The documents of an asset's terms, and of its application's, that are in a vault."""
        request = product_pb2.GetApplicationRequest(asset=asset)
        told = await self._ask(self._products.GetApplication, request)
        return [TermsDocument(each.document, each.owner) for each in told.terms_documents]

    async def application(self, asset: str) -> Application:
        """The last application for an asset."""
        request = product_pb2.GetApplicationRequest(asset=asset)
        answer = await self._ask(self._products.GetApplication, request)
        return _application(answer.application).application

    async def applications(self) -> list[NamedApplication]:
        """All applications that are not decided."""
        request = product_pb2.ListApplicationsRequest()
        return await self._all(self._products.ListApplications, request, "applications", _application)

    async def orders(self, asset: str) -> list[NamedOrder]:
        """All legal orders of an asset."""
        request = product_pb2.ListOrdersRequest(asset=asset)
        return [_order(found) for found in (await self._ask(self._products.ListOrders, request)).orders]

    async def actions(self, asset: str) -> list[NamedAction]:
        """All coupons, distributions and redemptions of an asset."""
        request = product_pb2.ListActionsRequest(asset=asset)
        return await self._all(self._products.ListActions, request, "actions", _action)

    async def claims(self, asset: str, number: int) -> list[NamedClaim]:
        """All claims from an action; for the asset's issuer."""
        request = product_pb2.ListClaimsRequest(asset=asset, number=number)
        return await self._all(self._products.ListClaims, request, "claims", _claim)

    async def claim(self, account: str, asset: str, number: int) -> Claim:
        """An account's claim from an action."""
        request = product_pb2.GetClaimRequest(account=account, asset=asset, number=number)
        return _claim((await self._ask(self._products.GetClaim, request)).claim).claim

    async def accrued(self, account: str, asset: str, at_ms: int = 0) -> Accrued:
        """Interest accrued on what an account holds, until a time, or until the last block."""
        request = product_pb2.GetAccruedRequest(account=account, asset=asset, at_ms=at_ms)
        found = await self._ask(self._products.GetAccrued, request)
        return Accrued(found.currency, found.amount, found.days)

    # --- asking -------------------------------------------------------------------------------------------

    async def _ask(self, call: Any, request: Any) -> Any:
        return await ask(call, request, target=self._target, seconds=self._seconds)

    async def _all(self, call: Any, request: Any, field: str, read: Callable[[Any], R]) -> list[R]:
        """Every row of a list, page after page."""
        found: list[R] = []
        while True:
            page = await self._ask(call, request)
            found += [read(row) for row in getattr(page, field)]
            request.page_token = page.next_page_token
            if not request.page_token:
                return found


def _accounts(found: pb.Accounts) -> Accounts:
    return Accounts(found.asset, found.cash)


def _conditions(found: pb.Conditions) -> Conditions:
    switches = (1 if found.secured else 0, 1 if found.partial else 0)
    return Conditions(found.value_ms, found.due_ms, found.buy_in_ms, *cast("Any", switches))


def _offer(found: pb.Offer) -> NamedOffer:
    offer = Offer(
        cast("Any", found.kind),
        cast("Any", found.side),
        found.asset,
        found.lot,
        found.lots,
        found.left,
        found.least,
        found.against,
        found.price,
        _accounts(found.accounts),
        tuple(found.audience),
        found.expires_ms,
        _conditions(found.conditions),
        found.root_maker,
        found.root,
        cast("Any", found.status),
    )
    return NamedOffer(found.maker, found.id, offer)


def _deal(found: pb.Deal) -> NamedDeal:
    deal = Deal(
        found.seller,
        found.buyer,
        found.asset,
        found.lot,
        found.lots,
        found.left,
        found.against,
        found.price,
        _accounts(found.seller_accounts),
        _accounts(found.buyer_accounts),
        _conditions(found.conditions),
        1 if found.seller_held else 0,
        1 if found.buyer_held else 0,
        found.cancels,
        found.linked,
        cast("Any", found.status),
    )
    return NamedDeal(found.id, deal)


def _cycle(found: pb.Cycle) -> NamedCycle:
    model, status = cast("Any", found.model), cast("Any", found.status)
    cycle = Cycle(found.opener, model, found.against, found.closes_ms, found.deal_count, status)
    return NamedCycle(found.id, cycle)


def _terms(found: product_pb2.Terms) -> Terms:
    day_count = cast("DayCount", found.day_count)
    return Terms(found.currency, found.nominal, found.rate, day_count, found.starts_ms, found.matures_ms)


def _application(found: product_pb2.Application) -> NamedApplication:
    application = Application(
        cast("Any", found.kind),
        found.applicant,
        cast("Any", found.asset_class),
        found.decimals,
        found.cap,
        found.terms_hash,
        found.isin,
        found.lei,
        _terms(found.terms),
        cast("Any", found.status),
        found.reviewer,
    )
    return NamedApplication(found.asset, application)


def _order(found: product_pb2.Order) -> NamedOrder:
    status = cast("Any", found.status)
    order = Order(found.imposer, found.lifter, found.document_hash, found.imposed_ms, status)
    return NamedOrder(found.reference, order)


def _action(found: product_pb2.Action) -> NamedAction:
    action = Action(
        cast("Any", found.kind),
        found.currency,
        found.pays,
        found.per,
        found.record_ms,
        cast("Any", found.status),
        found.outstanding,
        found.fixed,
        found.owed,
        found.paid,
        found.unpaid_claims,
    )
    return NamedAction(found.number, action)


def _claim(found: product_pb2.Claim) -> NamedClaim:
    return NamedClaim(found.account, Claim(found.units, found.amount, cast("Any", found.status)))
