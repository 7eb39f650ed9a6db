"""FundService: balances and holds from the published state, movements from the index."""

import asyncio
from collections.abc import Sequence
from typing import Final

from node.engine.engine import Outcome
from node.engine.errors import Degraded, NodeError
from node.ledger.errors import Rejected
from node.pb.vostro.fund.v1 import fund_pb2 as pb
from node.pb.vostro.fund.v1 import fund_pb2_grpc
from node.services import convert
from node.services.history import History
from node.services.identity import CALLER, Identity
from node.services.ports import Blocks, Call
from node.services.published import QUERY_PAGE_MAX, Published
from node.services.reading import Reading

MOVEMENTS_PAGE_MAX = 1_000
BALANCES_MAX: Final = 1_000


class FundService(fund_pb2_grpc.FundServiceServicer):
    """See proto/vostro/fund/v1."""

    def __init__(self, published: Published, blocks: Blocks, history: History, reading: Reading) -> None:
        self._published = published
        self._blocks = blocks
        self._history = history
        self._reading = reading
        self._turn = asyncio.Lock()

    async def GetBalance(self, request: pb.GetBalanceRequest, call: Call) -> pb.GetBalanceResponse:
        """A balance. Raises Rejected ACCOUNT_UNKNOWN."""
        position = self._published.ask("assets", "get_balance", request.account, request.asset)
        height, time_ms = self._published.stand()
        balance = convert.balance(request.asset, position)
        return pb.GetBalanceResponse(balance=balance, height=height, time_ms=time_ms)

    async def GetBalances(self, request: pb.GetBalancesRequest, call: Call) -> pb.GetBalancesResponse:
        """Many balances after one block, each or why not. Raises Degraded BAD_REQUEST for their number."""
        if not 1 <= len(request.keys) <= BALANCES_MAX:
            raise Degraded(
                NodeError.BAD_REQUEST,
                reason=f"a request has 1 to {BALANCES_MAX} keys",
                keys=len(request.keys),
            )
        async with self._turn:  # one thread at a time: many would keep the event loop from the interpreter
            return await asyncio.to_thread(self._named, CALLER.get(), request.keys)

    async def ListBalances(self, request: pb.ListBalancesRequest, call: Call) -> pb.ListBalancesResponse:
        """An account's balances. Raises Rejected ACCOUNT_UNKNOWN."""
        rows, token = self._published.page(
            ("assets", "list_balances"),
            (request.account,),
            "",
            lambda row: str(row.asset),
            request.page_size,
            request.page_token,
        )
        height, time_ms = self._published.stand()
        balances = [convert.balance(row.asset, row.position) for row in rows]
        return pb.ListBalancesResponse(
            balances=balances, next_page_token=token, height=height, time_ms=time_ms
        )

    async def GetHold(self, request: pb.GetHoldRequest, call: Call) -> pb.GetHoldResponse:
        """A hold. Raises Rejected HOLD_UNKNOWN."""
        found = self._published.ask("transfers", "get_hold", request.account, request.hold)
        height, time_ms = self._published.stand()
        hold = convert.hold(request.account, request.hold, found)
        return pb.GetHoldResponse(hold=hold, height=height, time_ms=time_ms)

    async def ListHolds(self, request: pb.ListHoldsRequest, call: Call) -> pb.ListHoldsResponse:
        """An account's holds. Raises Rejected ACCOUNT_UNKNOWN."""
        rows, token = self._published.page(
            ("transfers", "list_holds"),
            (request.account,),
            b"",
            lambda row: bytes(row.id),
            request.page_size,
            request.page_token,
        )
        height, time_ms = self._published.stand()
        holds = [convert.hold(request.account, row.id, row.hold) for row in rows]
        return pb.ListHoldsResponse(holds=holds, next_page_token=token, height=height, time_ms=time_ms)

    async def ListMovements(self, request: pb.ListMovementsRequest, call: Call) -> pb.ListMovementsResponse:
        """What moved an account's balances, by time. Raises Rejected ACCOUNT_UNKNOWN, Degraded
        METHOD_UNKNOWN.
        """
        self._published.ask("assets", "get_account", request.account)
        height, time_ms = self._published.stand()
        index_height = self._history.height()
        movements, token = await asyncio.to_thread(self._movements, request)
        return pb.ListMovementsResponse(
            movements=movements,
            next_page_token=token,
            index_height=index_height or 0,
            height=height,
            time_ms=time_ms,
        )

    async def ListPositions(self, request: pb.ListPositionsRequest, call: Call) -> pb.ListPositionsResponse:
        """Sums over a page of a member's accounts."""
        accounts, token = self._published.page(
            ("assets", "list_accounts"),
            (request.member,),
            "",
            lambda row: str(row.id),
            request.page_size,
            request.page_token,
        )
        sums: dict[str, tuple[int, int]] = {}
        for account in accounts:
            for asset, posted, held in self._balances(account.id):
                before = sums.get(asset, (0, 0))
                sums[asset] = (before[0] + posted, before[1] + held)
        height, time_ms = self._published.stand()
        positions = [
            pb.Position(asset=asset, posted=posted, held=held)
            for asset, (posted, held) in sorted(sums.items())
        ]
        return pb.ListPositionsResponse(
            positions=positions,
            account_count=len(accounts),
            next_page_token=token,
            height=height,
            time_ms=time_ms,
        )

    def _named(self, caller: Identity, keys: Sequence[pb.BalanceKey]) -> pb.GetBalancesResponse:
        (height, time_ms), ask = self._published.still("assets", "get_balance")
        response = pb.GetBalancesResponse(height=height, time_ms=time_ms)
        add = response.entries.add
        for key in keys:
            try:
                self._reading.check_account(caller, key.account)
                position = ask(key.account, key.asset)
            except (Degraded, Rejected) as refused:
                told = Outcome(error=refused.error, details=refused.details, height=height)
                convert.fill_error(add().error, refused.error, told)
            else:
                add().balance.CopyFrom(convert.balance(key.asset, position))
        return response

    def _balances(self, account: str) -> list[tuple[str, int, int]]:
        """All balances of an account: (asset, posted, held)."""
        found: list[tuple[str, int, int]] = []
        while True:
            rows = self._published.ask("assets", "list_balances", account, found[-1][0] if found else "")
            found += [(row.asset, row.position.posted, row.position.held) for row in rows]
            if len(rows) < QUERY_PAGE_MAX:
                return found

    def _movements(self, request: pb.ListMovementsRequest) -> tuple[list[pb.Movement], str]:
        index = self._history.index
        rows, _, token = self._history.page(
            "movements", request.account, request, index.movements, MOVEMENTS_PAGE_MAX
        )
        ids: dict[tuple[int, int], bytes] = {}
        for row in rows:
            place = (row.height, row.index)
            if place not in ids:
                receipt = self._blocks.receipt(*place)
                ids[place] = convert.receipt_name(receipt).tx_id if receipt else b""
        return [convert.movement(row, ids[row.height, row.index]) for row in rows], token
