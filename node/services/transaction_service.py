"""TransactionService: where every change enters. It hands signed bytes to the engine and tells what became of
them.

What always holds: a transaction that the engine accepted stays accepted, whatever becomes of the call that
brought it: a deadline or a cut line ends the waiting, never the deciding. The same bytes again are answered
with the first outcome.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any, Final

from node.engine.engine import Engine, Outcome
from node.engine.errors import Degraded, NodeError
from node.ledger.errors import InvariantViolated, LedgerError
from node.ledger.types import Receipt
from node.pb.vostro.transaction.v1 import transaction_pb2 as pb
from node.pb.vostro.transaction.v1 import transaction_pb2_grpc
from node.services import convert
from node.services.convert import Converter
from node.services.history import History, place_of
from node.services.ports import Blocks, Call
from node.services.published import Published, checked_id
from node.services.status import NotApplied, status_of

BATCH_MAX: Final = 1_000
STREAM_BATCHES_MAX: Final = 64
"""Batches of one stream that wait to be decided; beyond it the stream is not read."""
WAIT_SECONDS_MAX: Final = 60.0
TRANSACTIONS_PAGE_MAX: Final = 100

# An answer must reach the client before its own clock ends the call: stop waiting a little earlier.
MARGIN_SECONDS: Final = 0.05
MARGIN_SHARE: Final = 0.1


Place = tuple[int, int]
"""Height and index of a receipt."""
Answer = Callable[[int, Sequence[bytes]], Coroutine[Any, Any, None]]


class TransactionService(transaction_pb2_grpc.TransactionServiceServicer):
    """See proto/vostro/transaction/v1."""

    def __init__(
        self, engine: Engine, blocks: Blocks, published: Published, converter: Converter, history: History
    ) -> None:
        self._engine = engine
        self._blocks = blocks
        self._published = published
        self._converter = converter
        self._history = history

    # --- changes --------------------------------------------------------------------------------------------

    async def Submit(self, request: pb.SubmitRequest, call: Call) -> pb.SubmitResponse:
        """One transaction. Raises NotApplied for a refusal, Degraded UNKNOWN_OUTCOME when the deadline
        passes.
        """
        outcome, spent = self._told((await self._decide((request.signed_transaction,), call))[0])
        response = pb.SubmitResponse()
        if outcome.receipt is None:
            raise self._not_executed(outcome, spent)
        self._converter.fill_receipt(response.receipt, outcome.receipt)
        if outcome.receipt.code:
            refusal = self._converter.refusal(outcome.receipt)
            raise NotApplied(refusal, response.receipt, decided=True, height=outcome.receipt.height)
        return response

    async def SubmitBatch(self, request: pb.SubmitBatchRequest, call: Call) -> pb.SubmitBatchResponse:
        """A batch. Raises Degraded BAD_REQUEST for its size, UNKNOWN_OUTCOME when the deadline passes."""
        items = _checked_batch(request.signed_transactions)
        response = pb.SubmitBatchResponse()
        self._fill(response, await self._decide(items, call))
        return response

    async def SubmitStream(
        self, requests: AsyncIterator[pb.SubmitStreamRequest], call: Call
    ) -> AsyncIterator[pb.SubmitStreamResponse]:
        """Batches, each answered when it is decided. A request that is none ends the stream once those before
        it are answered.
        """
        answers: asyncio.Queue[pb.SubmitStreamResponse | None] = asyncio.Queue()
        room = asyncio.Semaphore(STREAM_BATCHES_MAX)

        async def answer(correlation: int, items: Sequence[bytes]) -> None:
            response = pb.SubmitStreamResponse(correlation=correlation)
            self._fill(response, await self._engine.submit(items))
            answers.put_nowait(response)

        async def read() -> None:
            try:
                async with asyncio.TaskGroup() as batches:
                    bad = await self._read_stream(requests, room, answer, batches)
                if bad:
                    raise bad
            finally:
                answers.put_nowait(None)

        reading = asyncio.create_task(read())
        try:
            while (response := await answers.get()) is not None:
                room.release()
                yield response
            await reading
        except ExceptionGroup as group:
            raise max(group.exceptions, key=_gravity) from group
        finally:
            reading.cancel()

    # --- reads ----------------------------------------------------------------------------------------------

    async def GetTransaction(
        self, request: pb.GetTransactionRequest, call: Call
    ) -> pb.GetTransactionResponse:
        """A decided transaction. Raises Degraded RECEIPT_UNKNOWN, BAD_REQUEST."""
        place = self._engine.find(checked_id(request.tx_id))
        if place is None:
            raise Degraded(NodeError.RECEIPT_UNKNOWN)
        height, time_ms = self._published.stand()
        response = pb.GetTransactionResponse(height=height, time_ms=time_ms)
        self._fill_transaction(response.transaction, place)
        return response

    async def WaitTransaction(
        self, request: pb.WaitTransactionRequest, call: Call
    ) -> pb.WaitTransactionResponse:
        """A transaction once it is decided. Raises Degraded UNKNOWN_OUTCOME when the deadline passes,
        BAD_REQUEST.
        """
        tx_id = checked_id(request.tx_id)
        patience = _patience(call)
        try:
            async with asyncio.timeout(
                WAIT_SECONDS_MAX if patience is None else min(patience, WAIT_SECONDS_MAX)
            ):
                place = await self._await_place(tx_id)
        except TimeoutError as error:
            raise Degraded(NodeError.UNKNOWN_OUTCOME) from error
        height, time_ms = self._published.stand()
        response = pb.WaitTransactionResponse(height=height, time_ms=time_ms)
        self._fill_transaction(response.transaction, place)
        return response

    async def ListTransactions(
        self, request: pb.ListTransactionsRequest, call: Call
    ) -> pb.ListTransactionsResponse:
        """Transactions of an account or a member, by time. Raises Degraded METHOD_UNKNOWN where the node
        keeps no index, BAD_REQUEST.
        """
        height, time_ms = self._published.stand()
        index_height = self._history.height() or 0
        listed, token = await asyncio.to_thread(self._list, request)
        return pb.ListTransactionsResponse(
            transactions=listed,
            next_page_token=token,
            index_height=index_height,
            height=height,
            time_ms=time_ms,
        )

    # --- deciding -------------------------------------------------------------------------------------------

    async def _decide(self, items: Sequence[bytes], call: Call) -> list[Outcome]:
        """Wait for the outcomes as long as the call may. Raises Degraded UNKNOWN_OUTCOME when it is over."""
        deciding = self._engine.submit(items)
        patience = _patience(call)
        if patience is None or deciding.done():
            return await deciding
        ending = deciding.get_loop().call_later(patience, _give_up, deciding)
        try:
            return await deciding
        finally:
            ending.cancel()

    async def _read_stream(
        self,
        requests: AsyncIterator[pb.SubmitStreamRequest],
        room: asyncio.Semaphore,
        answer: Answer,
        batches: asyncio.TaskGroup,
    ) -> Exception | None:
        """Start every batch that comes; what ended the reading, if it was not the client."""
        try:
            async for request in requests:
                items = _checked_batch(request.signed_transactions)
                await room.acquire()
                batches.create_task(answer(request.correlation, items))
        except Degraded as bad:
            return bad
        return None

    def _fill(
        self, response: pb.SubmitBatchResponse | pb.SubmitStreamResponse, outcomes: Sequence[Outcome]
    ) -> None:
        add, fill, fill_receipt = (
            response.outcomes.add,
            self._converter.fill_outcome,
            self._converter.fill_receipt,
        )
        for outcome in outcomes:
            if outcome.receipt is not None:
                fill_receipt(add().receipt, outcome.receipt)
            else:
                fill(add(), *self._told(outcome))

    def _told(self, outcome: Outcome) -> tuple[Outcome, Receipt | None]:
        """The outcome to tell, and who spent the request id. The same bytes again have the first outcome:
        their receipt.
        """
        spender = convert.spent_by(outcome)
        place = self._engine.find(spender) if spender else None
        encoded = self._blocks.receipt(*place) if place else None
        if encoded is None:
            return outcome, None
        receipt = convert.decode_receipt(encoded)
        if outcome.error is LedgerError.DUPLICATE:
            return Outcome(receipt=receipt, decided=True, height=receipt.height), None
        return outcome, receipt

    def _not_executed(self, outcome: Outcome, spent: Receipt | None) -> Exception:
        error = outcome.error or NodeError.INTERNAL
        message = pb.Error()
        convert.fill_error(message, error, outcome)
        if spent is not None:  # without its encoding: a status has little room
            self._converter.fill_receipt(message.spent_receipt, spent, b"")
        return NotApplied(
            error, message, decided=outcome.decided, height=outcome.height, details=outcome.details
        )

    # --- looking up -----------------------------------------------------------------------------------------

    async def _await_place(self, tx_id: bytes) -> Place:
        head = self._engine.status().height
        place = self._engine.find(tx_id)
        if place is None:
            async for _ in self._engine.heights(head):
                place = self._engine.find(tx_id)
                if place is not None:
                    break
        if place is None:
            raise Degraded(NodeError.STARTING)
        return place

    def _fill_transaction(self, message: pb.Transaction, place: Place) -> None:
        """Raises Degraded RECEIPT_UNKNOWN."""
        receipt = self._blocks.receipt(*place)
        header = self._blocks.headers(place[0], 1)
        if receipt is None or not header:
            raise Degraded(NodeError.RECEIPT_UNKNOWN)
        body = self._blocks.body(*place)
        leaves = () if body else self._blocks.leaves(place[0]) or ()
        leaf = leaves[place[1]] if leaves else None
        self._converter.fill_transaction(message, receipt, body, leaf, header[0].time_ms)

    def _list(self, request: pb.ListTransactionsRequest) -> tuple[list[pb.Transaction], str]:
        rows_of, page = self._history.index, self._history.page
        if request.WhichOneof("of") == "member":
            found, _, token = page(
                "of member", request.member, request, rows_of.transactions, TRANSACTIONS_PAGE_MAX
            )
            return self._summaries([(row.height, row.index, row.time_ms) for row in found]), token
        rows, after, token = page(
            "of account", request.account, request, rows_of.movements, TRANSACTIONS_PAGE_MAX
        )
        places = dict.fromkeys((row.height, row.index, row.time_ms) for row in rows)
        if after:  # a transaction of several movements may have begun on the page before
            time_ms, height, index = place_of(after)
            places.pop((height, index, time_ms), None)
        return self._summaries(list(places)), token

    def _summaries(self, places: list[tuple[int, int, int]]) -> list[pb.Transaction]:
        listed = []
        leaves: dict[int, tuple[bytes, ...]] = {}
        for height, index, time_ms in places:
            if height not in leaves:
                leaves[height] = self._blocks.leaves(height) or ()
            receipt = self._blocks.receipt(height, index)
            if receipt is not None and index < len(leaves[height]):
                listed.append(
                    self._converter.summary(receipt, convert.decode_leaf(leaves[height][index]), time_ms)
                )
        return listed


def _patience(call: Call) -> float | None:
    """Seconds to wait for a decision; None where the client set no deadline."""
    remaining = call.time_remaining()
    return None if remaining is None else max(0.0, remaining - min(MARGIN_SECONDS, remaining * MARGIN_SHARE))


def _give_up(deciding: "asyncio.Future[list[Outcome]]") -> None:
    """End the waiting; the engine decides all the same, and finds nobody to tell."""
    if not deciding.done():
        deciding.set_exception(Degraded(NodeError.UNKNOWN_OUTCOME))


def _checked_batch(items: Sequence[bytes]) -> list[bytes]:
    if not 1 <= len(items) <= BATCH_MAX:
        raise Degraded(
            NodeError.BAD_REQUEST,
            reason=f"a batch has 1 to {BATCH_MAX} transactions",
            transactions=len(items),
        )
    return list(items)


def _gravity(error: Exception) -> int:
    """Which of several that end a stream is told: what stops the node, then a bug, then what is an answer."""
    return 2 if isinstance(error, InvariantViolated) else int(status_of(error) is None)
