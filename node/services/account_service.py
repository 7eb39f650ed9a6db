"""AccountService: accounts, as the published state has them."""

from contracts.positions import NamedAccount
from node.pb.vostro.account.v1 import account_pb2 as pb
from node.pb.vostro.account.v1 import account_pb2_grpc
from node.services import convert
from node.services.ports import Call
from node.services.published import Published


class AccountService(account_pb2_grpc.AccountServiceServicer):
    """See proto/vostro/account/v1."""

    def __init__(self, published: Published) -> None:
        self._published = published

    async def GetAccount(self, request: pb.GetAccountRequest, call: Call) -> pb.GetAccountResponse:
        """One account. Raises Rejected ACCOUNT_UNKNOWN."""
        found = self._published.ask("assets", "get_account", request.account)
        height, time_ms = self._published.stand()
        named = NamedAccount(request.account, found)
        return pb.GetAccountResponse(account=convert.account(named), height=height, time_ms=time_ms)

    async def ListAccounts(self, request: pb.ListAccountsRequest, call: Call) -> pb.ListAccountsResponse:
        """A member's accounts."""
        rows, token = self._published.page(
            ("assets", "list_accounts"),
            (request.member,),
            "",
            lambda row: str(row.id),
            request.page_size,
            request.page_token,
        )
        height, time_ms = self._published.stand()
        accounts = [convert.account(row) for row in rows]
        return pb.ListAccountsResponse(
            accounts=accounts, next_page_token=token, height=height, time_ms=time_ms
        )
