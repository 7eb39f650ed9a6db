"""ProductService: registered assets, as the published state has them."""

from contracts.positions import NamedAsset
from node.pb.vostro.product.v1 import product_pb2 as pb
from node.pb.vostro.product.v1 import product_pb2_grpc
from node.services import convert
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
