"""The asyncio client: one node, one chain, everything a bank's program does with the ledger.

    async with await Client.connect("127.0.0.1:7600") as client:
        key = load_key("keys/payments.json", Path("keys/passphrase"))
        signed = client.sign("PA", [operation("transfers", "send", "PA/1", "AB/7", "CZK", 245_200, "29401",
        b"", "SIPO")], [key]) receipt = await client.submit(signed.raw)

What always holds: a transaction is sent again only with the same bytes; what comes back as decided is
decided for good; the chain that was met first (or pinned by the caller) is the only one that is signed for.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import grpc

from node.client.clearing import ClearingReads
from node.client.connection import Tls, answer_of, ask, open_channel
from node.client.custody import Custody
from node.client.describe import arguments_json, read_result, require_query
from node.client.errors import ClientError, Declined, Unknown, Unreachable, WrongChain
from node.client.market import Market
from node.client.outcome import Outcome, decode_receipt
from node.client.reads import (
    BalanceAt,
    BlockContent,
    Cursor,
    EventAt,
    Head,
    Movement,
    NodeStatus,
    TransactionRecord,
    balance_from,
    cursor_from,
    head_from,
    movement_from,
    status_from,
    transaction_from,
)
from node.client.retry import Backoff
from node.client.signing import Signer, sign, transaction, transaction_id
from node.client.submission import BATCH_MAX, WINDOW_DEFAULT, Submitter, raise_for
from node.client.vault import Vault
from node.engine.errors import NodeError
from node.ledger.genesis import chain_id as chain_id_of
from node.ledger.genesis import decode_genesis, suite_of
from node.ledger.types import Event, Genesis, Operation, Receipt
from node.pb.vostro.contract.v1 import contract_pb2
from node.pb.vostro.contract.v1.contract_pb2_grpc import ContractServiceStub
from node.pb.vostro.fund.v1 import fund_pb2
from node.pb.vostro.fund.v1.fund_pb2_grpc import FundServiceStub
from node.pb.vostro.ledger.v1 import ledger_pb2
from node.pb.vostro.ledger.v1.ledger_pb2_grpc import LedgerServiceStub
from node.pb.vostro.reconciliation.v1 import reconciliation_pb2
from node.pb.vostro.reconciliation.v1.reconciliation_pb2_grpc import ReconciliationServiceStub
from node.pb.vostro.transaction.v1 import transaction_pb2
from node.pb.vostro.transaction.v1.transaction_pb2_grpc import TransactionServiceStub

SECONDS_DEFAULT: Final = 30.0
PAGE_DEFAULT: Final = 100
WAIT_SECONDS_MAX: Final = 55.0


@dataclass(frozen=True, slots=True)
class Signed:
    """A transaction ready to be submitted: keep ``raw`` until it is decided."""

    raw: bytes
    tx_id: bytes


class Client:
    """A connection to one node. Use ``connect``; every call may raise what errors.py lists."""

    def __init__(self, channel: grpc.aio.Channel, target: str, genesis: Genesis, seconds: float) -> None:
        """See ``connect``."""
        self.target = target
        self.genesis = genesis
        self.suite = suite_of(genesis)
        self.chain_id = chain_id_of(genesis)
        self.seconds = seconds
        self._channel = channel
        self._submitter = Submitter(channel, target, self.suite)
        self._transactions = TransactionServiceStub(channel)
        self._ledger = LedgerServiceStub(channel)
        self._contracts = ContractServiceStub(channel)
        self._funds = FundServiceStub(channel)
        self._reconciliation = ReconciliationServiceStub(channel)
        self.custody = Custody(channel, target, seconds)
        """What a bank's people ask their own node to sign."""
        self.vault = Vault(channel, target, seconds)
        """Sealed documents that the node keeps, or fetches."""
        self.market = Market(channel, target, seconds)
        """Offers, deals and cycles; what assets promise and owe."""
        self.clearing = ClearingReads(channel, target, seconds)
        """Queues and netting cycles."""

    @classmethod
    async def connect(
        cls, target: str, *, tls: Tls | None = None, chain_id: bytes = b"", seconds: float = SECONDS_DEFAULT
    ) -> Self:
        """Open a connection to ``host:port`` and learn the chain's genesis.

        tls: for mutual TLS. chain_id: pin this chain. seconds: how long reads go on trying, and this.
        Raises: Unreachable, WrongChain.
        """
        channel = open_channel(target, tls)
        try:
            request = ledger_pb2.GetGenesisRequest()
            answer = await ask(LedgerServiceStub(channel).GetGenesis, request, target=target, seconds=seconds)
            client = cls(channel, target, decode_genesis(answer.encoded), seconds)
        except BaseException:
            await channel.close()
            raise
        if chain_id and client.chain_id != chain_id:
            await channel.close()
            raise WrongChain(f"{target} serves chain {client.chain_id.hex()[:16]}, not {chain_id.hex()[:16]}")
        return client

    async def close(self) -> None:
        """End the connection."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # --- changes ------------------------------------------------------------------------------------------
    # ------------------------------

    def sign(
        self,
        member: str,
        operations: Sequence[Operation],
        signers: Sequence[Signer],
        *,
        request_id: bytes | None = None,
        valid_until_ms: int = 0,
    ) -> Signed:
        """A transaction of this chain, signed. request_id: a UUIDv7 of the caller's own, or None for a new
        one.
        """
        body = transaction(
            self.chain_id, member, operations, request_id=request_id, valid_until_ms=valid_until_ms
        )
        return Signed(sign(self.suite, self.chain_id, body, signers), transaction_id(self.suite, body))

    async def submit(self, raw: bytes, *, seconds: float | None = None) -> Receipt:
        """Send a signed transaction until it is decided; its receipt, durable. Raises: Refused, Declined,
        Unknown.
        """
        outcome = raise_for(
            await self._submitter.one(raw, seconds=self.seconds if seconds is None else seconds)
        )
        if outcome.receipt is None:
            raise Unknown(outcome.tx_id, outcome.reason)
        return outcome.receipt

    async def submit_many(self, items: Sequence[bytes], *, seconds: float | None = None) -> list[Outcome]:
        """Send signed transactions; their outcomes in the same order. Raises nothing for an item's sake."""
        outcomes = [Outcome(b"")] * len(items)
        async for index, outcome in self.submit_stream(items, seconds=seconds):
            outcomes[index] = outcome
        return outcomes

    async def submit_stream(
        self,
        items: Iterable[bytes],
        *,
        window: int = WINDOW_DEFAULT,
        batch: int = BATCH_MAX,
        seconds: float | None = None,
    ) -> AsyncIterator[tuple[int, Outcome]]:
        """Send signed transactions in batches and yield (index, Outcome) as each is decided, in any order.

        window: batches in flight, of at most ``batch`` transactions. seconds: how long to go on trying
        without progress, through cuts and restarts of the node.
        """
        async for decided in self._submitter.stream(
            items, window=window, batch=batch, seconds=self.seconds if seconds is None else seconds
        ):
            yield decided

    @property
    def resent(self) -> int:
        """How many transactions were sent again with the same bytes."""
        return self._submitter.resent

    # --- transactions -------------------------------------------------------------------------------------
    # ------------------------------

    async def get_transaction(self, tx_id: bytes) -> TransactionRecord | None:
        """A decided transaction, or None: not decided, or not yet."""
        try:
            request = transaction_pb2.GetTransactionRequest(tx_id=tx_id)
            answer = await ask(
                self._transactions.GetTransaction, request, target=self.target, seconds=self.seconds
            )
        except Declined as declined:
            if (declined.codespace, declined.number) == (NodeError.codespace, NodeError.RECEIPT_UNKNOWN.code):
                return None
            raise
        return transaction_from(answer.transaction, decode_receipt(answer.transaction.receipt.encoded))

    async def wait(self, tx_id: bytes, *, seconds: float | None = None) -> Receipt:
        """The receipt of a transaction, once it is decided, applied or refused. Raises: Unknown."""
        backoff = Backoff(self.seconds if seconds is None else seconds)
        request = transaction_pb2.WaitTransactionRequest(tx_id=tx_id)
        while True:
            try:
                timeout = max(min(backoff.remaining, WAIT_SECONDS_MAX), 0.001)
                answer = await self._transactions.WaitTransaction(request, timeout=timeout)
                return decode_receipt(answer.transaction.receipt.encoded)
            except grpc.aio.AioRpcError as failure:
                told = answer_of(failure, self.target)
                if isinstance(told.error, Declined) and told.error.number != NodeError.RECEIPT_UNKNOWN.code:
                    raise told.error from failure
                if not await backoff.wait(told.wait):
                    raise Unknown(tx_id, "no receipt before the deadline") from failure

    async def transactions(
        self, *, member: str = "", account: str = "", from_ms: int = 0, to_ms: int = 0, reverse: bool = False
    ) -> AsyncIterator[TransactionRecord]:
        """What a member signed, or what moved an account, in order of time."""
        token = ""
        while True:
            request = transaction_pb2.ListTransactionsRequest(
                from_ms=from_ms, to_ms=to_ms, reverse=reverse, page_token=token
            )
            if account:
                request.account = account
            else:
                request.member = member
            page = await ask(
                self._transactions.ListTransactions, request, target=self.target, seconds=self.seconds
            )
            for message in page.transactions:
                yield transaction_from(message, None)
            token = page.next_page_token
            if not token:
                return

    async def movements(
        self, account: str, *, from_ms: int = 0, to_ms: int = 0, reverse: bool = False, page: int = 1_000
    ) -> AsyncIterator[Movement]:
        """What moved an account's balances, in order of time (the index may lag a little behind the head)."""
        token = ""
        while True:
            request = fund_pb2.ListMovementsRequest(
                account=account,
                from_ms=from_ms,
                to_ms=to_ms,
                reverse=reverse,
                page_size=page,
                page_token=token,
            )
            answer = await ask(self._funds.ListMovements, request, target=self.target, seconds=self.seconds)
            for message in answer.movements:
                yield movement_from(message)
            token = answer.next_page_token
            if not token:
                return

    # --- state --------------------------------------------------------------------------------------------
    # ------------------------------

    async def query(self, contract: str, name: str, *arguments: Any) -> Any:
        """Ask a contract about the last durable state: ``await client.query("assets", "get_balance",
        "PA/1", "CZK")``.

        Arguments and result have the types that the query declares. Raises: Declined where the contract
        refuses.
        """
        query = require_query(contract, name)
        request = contract_pb2.QueryRequest(
            contract=contract, query=name, arguments_json=arguments_json(query, arguments)
        )
        answer = await ask(self._contracts.Query, request, target=self.target, seconds=self.seconds)
        return read_result(query, answer.result_json)

    async def balance(self, account: str, asset: str) -> BalanceAt:
        """An account's balance of one asset, and the block after which it holds."""
        request = fund_pb2.GetBalanceRequest(account=account, asset=asset)
        answer = await ask(self._funds.GetBalance, request, target=self.target, seconds=self.seconds)
        return BalanceAt(answer.balance.posted, answer.balance.held, answer.height, answer.time_ms)

    async def balances(self, keys: Iterable[tuple[str, str]]) -> list[BalanceAt | Declined]:
        """The balances of up to 1,000 (account, asset), all after one block, in their order; in the place of
        one that is not there, or not the caller's to read, why.
        """
        named = [fund_pb2.BalanceKey(account=account, asset=asset) for account, asset in keys]
        request = fund_pb2.GetBalancesRequest(keys=named)
        answer = await ask(self._funds.GetBalances, request, target=self.target, seconds=self.seconds)
        return [balance_from(entry, answer.height, answer.time_ms) for entry in answer.entries]

    async def positions(self, member: str) -> dict[str, tuple[int, int]]:
        """What a member has over all its accounts: asset -> (posted, held), in minor units."""
        sums: dict[str, tuple[int, int]] = {}
        token = ""
        while True:
            request = fund_pb2.ListPositionsRequest(member=member, page_token=token)
            page = await ask(self._funds.ListPositions, request, target=self.target, seconds=self.seconds)
            for entry in page.positions:
                posted, held = sums.get(entry.asset, (0, 0))
                sums[entry.asset] = posted + entry.posted, held + entry.held
            token = page.next_page_token
            if not token:
                return sums

    async def books(
        self, account: str, asset: str, servicer: str, begins_ms: int, ends_ms: int
    ) -> tuple[int, bytes, str, int]:
        """What the ledger's books say of an account from ``begins_ms`` until before ``ends_ms``: how many
        movements, the digest over them, and side and amount of the balance at the end.
        """
        request = reconciliation_pb2.PrepareAttestationRequest(
            account=account, asset=asset, servicer=servicer, begins_ms=begins_ms, ends_ms=ends_ms
        )
        call = self._reconciliation.PrepareAttestation
        told = (await ask(call, request, target=self.target, seconds=self.seconds)).books
        return told.count, told.digest, told.side, told.closing

    # --- the chain ----------------------------------------------------------------------------------------
    # ------------------------------

    async def status(self) -> NodeStatus:
        """Where the node stands."""
        request = ledger_pb2.GetStatusRequest()
        return status_from(
            await ask(self._ledger.GetStatus, request, target=self.target, seconds=self.seconds), self.target
        )

    async def headers(self, first: int = 0, limit: int = PAGE_DEFAULT) -> list[Head]:
        """At most ``limit`` headers from height ``first`` on, ascending."""
        heads: list[Head] = []
        token = ""
        while len(heads) < limit:
            request = ledger_pb2.ListHeadersRequest(
                from_height=first, page_size=min(limit - len(heads), 1_000), page_token=token
            )
            page = await ask(self._ledger.ListHeaders, request, target=self.target, seconds=self.seconds)
            heads += [head_from(message) for message in page.headers]
            token = page.next_page_token
            if not token:
                break
        return heads

    async def block(self, height: int) -> BlockContent:
        """A whole block. Raises: Declined where there is none at this height."""
        leaves: list[bytes] = []
        receipts: list[bytes] = []
        bodies: list[bytes] = []
        token = ""
        while True:
            request = ledger_pb2.GetBlockRequest(
                height=height,
                include_leaves=True,
                include_receipts=True,
                include_bodies=True,
                page_size=1_000,
                page_token=token,
            )
            page = await ask(self._ledger.GetBlock, request, target=self.target, seconds=self.seconds)
            leaves += page.leaves
            receipts += page.receipts
            bodies += page.bodies
            token = page.next_page_token
            if not token:
                return BlockContent(head_from(page.header), tuple(leaves), tuple(receipts), tuple(bodies))

    async def follow_blocks(self, first: int = 0) -> AsyncIterator[Head]:
        """Headers from height ``first`` on, and new ones as they become durable; goes on after a cut. Ends
        by being closed.
        """
        height = first
        backoff = Backoff(self.seconds)
        while True:
            try:
                async for message in self._ledger.StreamBlocks(
                    ledger_pb2.StreamBlocksRequest(from_height=height)
                ):
                    backoff.renew()
                    if message.last:
                        height = message.header.height + 1
                        yield head_from(message.header)
            except grpc.aio.AioRpcError as failure:
                await self._survive(failure, backoff)
            else:
                await self._reopen(backoff)

    async def events(
        self, start: Cursor | None = None, *, contract: str = "", event: str = "", account: str = ""
    ) -> AsyncIterator[EventAt]:
        """Events from a cursor on, and new ones as they become durable; goes on after a cut without loss or
        repetition.

        Keep ``next`` of the last event that was dealt with, to begin there another time.
        """
        cursor = start or Cursor()
        backoff = Backoff(self.seconds)
        while True:
            place = ledger_pb2.Cursor(height=cursor.height, index=cursor.index, event=cursor.event)
            request = ledger_pb2.StreamEventsRequest(contract=contract, event=event, account=account)
            getattr(request, "from").CopyFrom(place)
            try:
                async for message in self._ledger.StreamEvents(request):
                    backoff.renew()
                    cursor = cursor_from(message.next)
                    if message.HasField("event"):
                        told = Event(message.event.contract, message.event.event, message.event.fields)
                        yield EventAt(told, message.tx_id, message.time_ms, cursor_from(message.at), cursor)
            except grpc.aio.AioRpcError as failure:
                await self._survive(failure, backoff)
            else:
                await self._reopen(backoff)

    async def receipt_file(self, tx_id: bytes) -> bytes:
        """The receipt file of a transaction: proof for anybody, without node or network. Raises: Declined
        where there is no receipt.
        """
        request = ledger_pb2.GetReceiptFileRequest(tx_id=tx_id)
        answer = await ask(self._ledger.GetReceiptFile, request, target=self.target, seconds=self.seconds)
        return bytes(answer.file)

    async def backup(self) -> AsyncIterator[bytes]:
        """The bytes of a backup of the running node. Raises: Unreachable where it was cut short."""
        whole = False
        try:
            async for message in self._ledger.StreamBackup(ledger_pb2.StreamBackupRequest()):
                if message.HasField("summary_json"):
                    whole = True
                else:
                    yield message.chunk
        except grpc.aio.AioRpcError as failure:
            raise answer_of(failure, self.target).error from failure
        if not whole:
            raise Unreachable(f"the backup of {self.target} was cut short: begin again")

    async def _reopen(self, backoff: Backoff) -> None:
        """Wait before a stream that the node ended is opened again. Raises Unreachable."""
        if not await backoff.wait():
            raise Unreachable(f"{self.target} ended the stream")

    async def _survive(self, failure: grpc.aio.AioRpcError, backoff: Backoff) -> None:
        """Wait before a stream is opened again. Raises what the failure means where that is useless."""
        told = answer_of(failure, self.target)
        error: ClientError = told.error
        if not told.retry or not await backoff.wait(told.wait):
            raise error from failure
