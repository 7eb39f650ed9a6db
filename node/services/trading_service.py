"""TradingService: offers, deals, linked sets and cycles as a member may see them, and bodies to sign for the
steps between.
"""

from typing import Any, NamedTuple

from contracts.deals import Accounts, Conditions, NamedDeal, NamedOffer, Offer
from contracts.settlement_cycles import NamedCycle
from node.client.signing import operation
from node.engine.errors import Degraded, NodeError
from node.ledger.ledger import Ledger
from node.ledger.types import Operation
from node.pb.vostro.trading.v1 import trading_pb2 as pb
from node.pb.vostro.trading.v1 import trading_pb2_grpc
from node.services import convert_trading as convert
from node.services.ports import Call
from node.services.preparing import Body, prepare
from node.services.published import Published


class Step(NamedTuple):
    """An operation, and what its signer pays by it at once."""

    operation: Operation
    amount: int = 0


class TradingService(trading_pb2_grpc.TradingServiceServicer):
    """See proto/vostro/trading/v1."""

    def __init__(self, ledger: Ledger, published: Published) -> None:
        self._ledger = ledger
        self._published = published

    async def GetOffer(self, request: pb.GetOfferRequest, call: Call) -> pb.GetOfferResponse:
        """An offer. Raises Rejected OFFER_UNKNOWN."""
        found = self._offer(request.member, request.maker, request.offer)
        height, time_ms = self._published.stand()
        offer = convert.offer(NamedOffer(request.maker, request.offer, found))
        return pb.GetOfferResponse(offer=offer, height=height, time_ms=time_ms)

    async def ListOffers(self, request: pb.ListOffersRequest, call: Call) -> pb.ListOffersResponse:
        """A member's own offers."""
        rows, token = self._published.page(
            ("trading", "list_offers"), (request.member,), b"", _id, request.page_size, request.page_token
        )
        height, time_ms = self._published.stand()
        offers = [convert.offer(row) for row in rows]
        return pb.ListOffersResponse(offers=offers, next_page_token=token, height=height, time_ms=time_ms)

    async def ListOpenOffers(
        self, request: pb.ListOpenOffersRequest, call: Call
    ) -> pb.ListOpenOffersResponse:
        """Open offers that a member may see. Raises Degraded BAD_PAGE_TOKEN."""
        query = ("trading", "list_open", request.member, request.asset)
        after = self._published.pages.cursor(request.page_token, b"", *query)
        page = self._published.ask(*query, after)
        height, time_ms = self._published.stand()
        return pb.ListOpenOffersResponse(
            offers=[convert.offer(row) for row in page.offers],
            next_page_token=self._published.pages.token(page.next, *query),
            height=height,
            time_ms=time_ms,
        )

    async def GetDeal(self, request: pb.GetDealRequest, call: Call) -> pb.GetDealResponse:
        """A deal. Raises Rejected DEAL_UNKNOWN."""
        found = self._published.ask("settlement", "get_deal", request.member, request.deal)
        height, time_ms = self._published.stand()
        deal = convert.deal(NamedDeal(request.deal, found))
        return pb.GetDealResponse(deal=deal, height=height, time_ms=time_ms)

    async def ListDeals(self, request: pb.ListDealsRequest, call: Call) -> pb.ListDealsResponse:
        """A member's deals."""
        rows, token = self._published.page(
            ("settlement", "list_deals"), (request.member,), b"", _id, request.page_size, request.page_token
        )
        height, time_ms = self._published.stand()
        deals = [convert.deal(row) for row in rows]
        return pb.ListDealsResponse(deals=deals, next_page_token=token, height=height, time_ms=time_ms)

    async def GetLinkedSet(self, request: pb.GetLinkedSetRequest, call: Call) -> pb.GetLinkedSetResponse:
        """A linked set. Raises Rejected SET_UNKNOWN."""
        found = self._published.ask("settlement", "get_set", request.member, request.set_id)
        height, time_ms = self._published.stand()
        linked = pb.LinkedSet(
            id=request.set_id, deals=found.deals, missing=found.missing, status=found.status
        )
        return pb.GetLinkedSetResponse(linked_set=linked, height=height, time_ms=time_ms)

    async def GetCycle(self, request: pb.GetCycleRequest, call: Call) -> pb.GetCycleResponse:
        """A cycle, with the member's deals in it. Raises Rejected CYCLE_UNKNOWN."""
        found = self._published.ask("cycles", "get_cycle", request.cycle)
        deals = self._published.ask("cycles", "list_deals", request.member, request.cycle)
        height, time_ms = self._published.stand()
        return pb.GetCycleResponse(
            cycle=convert.cycle(NamedCycle(request.cycle, found)),
            deals=[convert.deal(named) for named in deals],
            height=height,
            time_ms=time_ms,
        )

    async def ListCycles(self, request: pb.ListCyclesRequest, call: Call) -> pb.ListCyclesResponse:
        """All cycles."""
        rows, token = self._published.page(
            ("cycles", "list_cycles"), (), b"", _id, request.page_size, request.page_token
        )
        height, time_ms = self._published.stand()
        cycles = [convert.cycle(row) for row in rows]
        return pb.ListCyclesResponse(cycles=cycles, next_page_token=token, height=height, time_ms=time_ms)

    async def PrepareStep(self, request: pb.PrepareStepRequest, call: Call) -> pb.PrepareStepResponse:
        """A body to sign. Raises Degraded BAD_REQUEST, Rejected OFFER_UNKNOWN, BAD_ARGUMENTS, BAD_TEXT."""
        step = self._step(request)
        body: Body = prepare(
            self._ledger, request.member, [step.operation], request.request_id, request.valid_until_ms
        )
        height, time_ms = self._published.stand()
        return pb.PrepareStepResponse(**body._asdict(), amount=step.amount, height=height, time_ms=time_ms)

    def _offer(self, member: str, maker: str, offer: bytes) -> Offer:
        found: Offer = self._published.ask("trading", "get_offer", member, maker, offer)
        return found

    def _step(self, request: pb.PrepareStepRequest) -> Step:
        """The operation that a step is, with what the offer says filled in."""
        match request.WhichOneof("step"):
            case "make_offer":
                return Step(_made(request.make_offer.offer))
            case "answer":
                answer = request.answer
                found = self._offer(request.member, answer.maker, answer.offer)
                named = (answer.maker, answer.offer, answer.lots, answer.price)
                accounts = _accounts(answer.accounts)
                return Step(operation("trading", "answer", *named, accounts, found.expires_ms))
            case "take":
                take = request.take
                found = self._offer(request.member, take.maker, take.offer)
                amount = take.lots * found.price
                lots = (take.maker, take.offer, take.lots)
                accounts = _accounts(take.accounts)
                return Step(operation("trading", "take", *lots, found.against, amount, accounts), amount)
            case "cancel_offer":
                return Step(operation("trading", "cancel", request.cancel_offer))
            case "settle":
                settle = request.settle
                if settle.lots:
                    return Step(operation("settlement", "settle_partly", settle.deal, settle.lots))
                return Step(operation("settlement", "settle", settle.deal))
        raise Degraded(NodeError.BAD_REQUEST, reason="no step is named")


def _id(row: Any) -> bytes:
    return bytes(row.id)


def _accounts(message: pb.Accounts) -> Accounts:
    return Accounts(message.asset, message.cash or message.asset)


def _made(offer: pb.Offer) -> Operation:
    """An offer, or without a price a request."""
    at = offer.conditions
    conditions = Conditions(
        at.value_ms, at.due_ms, at.buy_in_ms, 1 if at.secured else 0, 1 if at.partial else 0
    )
    head = (offer.side, offer.asset, offer.lot, offer.lots, offer.least or 1, offer.against)
    rest = (_accounts(offer.accounts), tuple(offer.audience), offer.expires_ms, conditions)
    if offer.price:
        return operation("trading", "make_offer", *head, offer.price, *rest)
    return operation("trading", "request", *head, *rest)
