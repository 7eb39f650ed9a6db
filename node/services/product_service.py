"""ProductService: registered assets, what the register says of them and what their issuers owe, as the
published state has them.
"""

from typing import Any

from contracts.positions import NamedAsset
from contracts.terms import NamedApplication, NamedClaim
from node.pb.vostro.product.v1 import product_pb2 as pb
from node.pb.vostro.product.v1 import product_pb2_grpc
from node.services import convert, convert_trading
from node.services.ports import Call
from node.services.published import Published


class ProductService(product_pb2_grpc.ProductServiceServicer):
    """See proto/vostro/product/v1."""

    def __init__(self, published: Published) -> None:
        self._published = published

    async def GetAsset(self, request: pb.GetAssetRequest, call: Call) -> pb.GetAssetResponse:
        """One asset. Raises Rejected ASSET_UNKNOWN."""
        found = self._published.ask("assets", "get_asset", request.asset)
        height, time_ms = self._published.stand()
        named = NamedAsset(request.asset, found)
        return pb.GetAssetResponse(asset=convert.asset(named), height=height, time_ms=time_ms)

    async def ListAssets(self, request: pb.ListAssetsRequest, call: Call) -> pb.ListAssetsResponse:
        """All assets."""
        rows, token = self._published.page(
            ("assets", "list_assets"), (), "", lambda row: str(row.id), request.page_size, request.page_token
        )
        height, time_ms = self._published.stand()
        assets = [convert.asset(row) for row in rows]
        return pb.ListAssetsResponse(assets=assets, next_page_token=token, height=height, time_ms=time_ms)

    async def GetEntry(self, request: pb.GetEntryRequest, call: Call) -> pb.GetEntryResponse:
        """An entry. Raises Rejected APPLICATION_UNKNOWN."""
        found = self._published.ask("registration", "get_entry", request.asset)
        height, time_ms = self._published.stand()
        entry = convert_trading.entry(request.asset, found)
        return pb.GetEntryResponse(
            entry=entry, height=height, time_ms=time_ms, terms_documents=self._terms(request.asset)
        )

    async def GetApplication(
        self, request: pb.GetApplicationRequest, call: Call
    ) -> pb.GetApplicationResponse:
        """An application. Raises Rejected APPLICATION_UNKNOWN."""
        found = self._published.ask("registration", "get_application", request.asset)
        height, time_ms = self._published.stand()
        application = convert_trading.application(NamedApplication(request.asset, found))
        return pb.GetApplicationResponse(
            application=application,
            height=height,
            time_ms=time_ms,
            terms_documents=self._terms(request.asset),
        )

    async def ListApplications(
        self, request: pb.ListApplicationsRequest, call: Call
    ) -> pb.ListApplicationsResponse:
        """Applications under way."""
        rows, token = self._page("registration", "list_waiting", (), "", "asset", request)
        height, time_ms = self._published.stand()
        return pb.ListApplicationsResponse(
            applications=[convert_trading.application(row) for row in rows],
            next_page_token=token,
            height=height,
            time_ms=time_ms,
        )

    async def ListOrders(self, request: pb.ListOrdersRequest, call: Call) -> pb.ListOrdersResponse:
        """An asset's legal orders."""
        rows = self._published.ask("registration", "list_orders", request.asset)
        height, time_ms = self._published.stand()
        orders = [convert_trading.order(row) for row in rows]
        return pb.ListOrdersResponse(orders=orders, height=height, time_ms=time_ms)

    async def ListActions(self, request: pb.ListActionsRequest, call: Call) -> pb.ListActionsResponse:
        """An asset's coupons, distributions and redemptions."""
        rows, token = self._page("servicing", "list_actions", (request.asset,), 0, "number", request)
        height, time_ms = self._published.stand()
        actions = [convert_trading.action(row) for row in rows]
        return pb.ListActionsResponse(actions=actions, next_page_token=token, height=height, time_ms=time_ms)

    async def ListClaims(self, request: pb.ListClaimsRequest, call: Call) -> pb.ListClaimsResponse:
        """The claims from an action."""
        leading = (request.asset, request.number)
        rows, token = self._page("servicing", "list_claims", leading, "", "account", request)
        height, time_ms = self._published.stand()
        claims = [convert_trading.claim(row) for row in rows]
        return pb.ListClaimsResponse(claims=claims, next_page_token=token, height=height, time_ms=time_ms)

    async def GetClaim(self, request: pb.GetClaimRequest, call: Call) -> pb.GetClaimResponse:
        """An account's claim. Raises Rejected CLAIM_UNKNOWN."""
        found = self._published.ask("servicing", "get_claim", request.account, request.asset, request.number)
        height, time_ms = self._published.stand()
        claim = convert_trading.claim(NamedClaim(request.account, found))
        return pb.GetClaimResponse(claim=claim, height=height, time_ms=time_ms)

    async def GetAccrued(self, request: pb.GetAccruedRequest, call: Call) -> pb.GetAccruedResponse:
        """Interest. Raises Rejected APPLICATION_UNKNOWN."""
        height, time_ms = self._published.stand()
        found = self._published.ask(
            "servicing", "get_accrued", request.account, request.asset, request.at_ms or time_ms
        )
        return pb.GetAccruedResponse(
            currency=found.currency, amount=found.amount, days=found.days, height=height, time_ms=time_ms
        )

    def _terms(self, asset: str) -> list[pb.TermsDocument]:
        return [
            pb.TermsDocument(document=each.document, owner=each.owner)
            for each in self._published.ask("registration", "list_terms", asset)
        ]

    def _page(
        self, contract: str, query: str, leading: tuple[Any, ...], start: str | int, key: str, request: Any
    ) -> tuple[list[Any], str]:
        """A page of a contract's list. key: the field of a row behind which the next page begins."""
        return self._published.page(
            (contract, query),
            leading,
            start,
            lambda row: getattr(row, key),
            request.page_size,
            request.page_token,
        )
