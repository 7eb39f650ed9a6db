"""Sending signed transactions until each is decided: many at a time, the same bytes always, through cuts
and restarts of the node.

What always holds: an item leaves with a decision, or declined on its first sending, or unknown at the
deadline, never twice; and nothing is ever signed here, so trying again cannot do anything twice.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

import grpc

from node.client.connection import answer_of
from node.client.errors import ClientError, Declined, Unknown, Unreachable
from node.client.outcome import Outcome, outcome_from, receipt_outcome, transaction_id_of
from node.client.retry import Backoff
from node.ledger.errors import LedgerError
from node.ledger.hashing import Suite
from node.pb.vostro.transaction.v1 import transaction_pb2 as pb
from node.pb.vostro.transaction.v1.transaction_pb2_grpc import TransactionServiceStub

Call = grpc.aio.StreamStreamCall[pb.SubmitStreamRequest, pb.SubmitStreamResponse]

BATCH_MAX: Final = 1_000
BATCH_BYTES_MAX: Final = 512 * 1024
EXPIRED: Final = LedgerError.EXPIRED
WINDOW_DEFAULT: Final = 8
READ_SECONDS_MAX: Final = 120.0
"""A stream on which nothing is answered for so long while batches are in flight is cut and begun again."""


@dataclass(slots=True)
class _Item:
    """One transaction on its way. first_sent: monotonic seconds, 0 before; attempts: sendings so far."""

    index: int
    raw: bytes
    first_sent: float = 0.0
    attempts: int = 0


_Decided = tuple[int, Outcome]
"""Which item, and what became of it."""


@dataclass(slots=True)
class _Work:
    """What is still to be sent, and what is in flight by correlation number."""

    source: Iterator[tuple[int, bytes]]
    batch_max: int = BATCH_MAX
    again: deque[_Item] = field(default_factory=deque)
    flying: dict[int, list[_Item]] = field(default_factory=dict)
    correlation: int = 0
    exhausted: bool = False
    held: _Item | None = None
    not_before: float = 0.0

    def take(self) -> list[_Item]:
        """The next batch: first what must be sent again; empty where nothing is to be sent now."""
        batch: list[_Item] = []
        size = 0
        while len(batch) < self.batch_max:
            item = self._next()
            if item is None:
                break
            if batch and size + len(item.raw) > BATCH_BYTES_MAX:
                self.held = item
                break
            batch.append(item)
            size += len(item.raw)
        return batch

    def _next(self) -> _Item | None:
        if self.held is not None:
            item, self.held = self.held, None
            return item
        if self.again:
            return self.again.popleft()
        if not self.exhausted:
            for index, raw in self.source:
                return _Item(index, raw)
            self.exhausted = True
        return None

    def launch(self, batch: list[_Item]) -> pb.SubmitStreamRequest:
        """Count a batch as in flight; its message."""
        self.correlation += 1
        self.flying[self.correlation] = batch
        now = time.monotonic()
        for item in batch:
            item.attempts += 1
            item.first_sent = item.first_sent or now
        return pb.SubmitStreamRequest(
            correlation=self.correlation, signed_transactions=[item.raw for item in batch]
        )

    def lost(self) -> None:
        """The line was cut: what was in flight is to be sent again, oldest first."""
        for number in sorted(self.flying, reverse=True):
            self.again.extendleft(reversed(self.flying[number]))
        self.flying.clear()

    def delay(self, seconds: float) -> None:
        """Send nothing for so long: the node is full."""
        self.not_before = max(self.not_before, time.monotonic() + seconds)

    @property
    def may_send(self) -> bool:
        """Whether the node has had the rest it asked for."""
        return time.monotonic() >= self.not_before

    async def pause(self) -> None:
        """Where nothing is in flight to wait for, wait out the rest that the node asked for."""
        if not self.flying and not self.may_send:
            await asyncio.sleep(self.not_before - time.monotonic())

    @property
    def done(self) -> bool:
        """Whether nothing is left to send or to be answered."""
        return self.exhausted and self.held is None and not self.again and not self.flying

    def leftovers(self) -> Iterator[_Item]:
        """Everything that has no answer, sent or not."""
        self.lost()
        while (item := self._next()) is not None:
            yield item


UNCERTAIN: Final = (grpc.StatusCode.INTERNAL, grpc.StatusCode.DATA_LOSS, grpc.StatusCode.UNKNOWN)
"""A node that fails may have taken the transaction all the same."""


class Submitter:
    """Sends over one channel. ``resent`` counts transactions that were sent again after a cut or a full
    queue.
    """

    def __init__(self, channel: grpc.aio.Channel, target: str, suite: Suite) -> None:
        self._channel = channel
        self._stub = TransactionServiceStub(channel)
        self._target = target
        self._suite = suite
        self.resent = 0

    async def stream(
        self,
        items: Iterable[bytes],
        *,
        window: int = WINDOW_DEFAULT,
        batch: int = BATCH_MAX,
        seconds: float = 60.0,
    ) -> AsyncIterator[_Decided]:
        """Send all and yield (index, Outcome) as each is decided, in any order.

        window: batches in flight, of at most ``batch`` transactions and 512 KiB. seconds: how long to go on
        without any progress; then what is left is yielded as unknown.
        """
        work = _Work(iter(enumerate(items)), min(batch, BATCH_MAX))
        backoff = Backoff(seconds)
        reason: ClientError = Unreachable(f"{self._target} did not answer in {seconds} s")
        while True:
            try:
                await asyncio.wait_for(self._channel.channel_ready(), backoff.remaining)
                async for decided in self._one_stream(work, window, backoff):
                    yield decided
                    backoff.renew()  # behind the yield: a slow caller is not a silent node
                return
            except grpc.aio.AioRpcError as failure:
                reason = answer_of(failure, self._target).error
            except (TimeoutError, Unreachable) as failure:
                reason = Unreachable(str(failure) or f"{self._target} fell silent")
            work.lost()
            if not await backoff.wait():
                break
        for item in work.leftovers():
            yield item.index, self._unknown(item, str(reason))

    async def one(self, raw: bytes, *, seconds: float) -> Outcome:
        """Send one transaction until it is decided, declined, or the deadline has passed."""
        backoff = Backoff(seconds)
        item = _Item(0, raw, time.monotonic())
        tx_id = transaction_id_of(raw, self._suite)
        while True:
            item.attempts += 1
            self.resent += item.attempts > 1
            asked = 0.0
            try:
                request = pb.SubmitBatchRequest(signed_transactions=[raw])
                response = await self._stub.SubmitBatch(request, timeout=max(backoff.remaining, 0.001))
                taken = outcome_from(
                    response.outcomes[0], tx_id, time.monotonic() - item.first_sent, item.attempts
                )
                if taken is not None:
                    return await self._confirmed(item, taken)
                reason = f"{response.outcomes[0].error.sentence} ({self._target})"
            except grpc.aio.AioRpcError as failure:
                answer = answer_of(failure, self._target)
                certain = failure.code() not in UNCERTAIN
                if isinstance(answer.error, Declined) and item.attempts == 1 and certain:
                    return Outcome(tx_id, None, answer.error)
                reason, asked = str(answer.error), answer.wait
            if not await backoff.wait(asked):
                return self._unknown(item, reason)

    async def _one_stream(self, work: _Work, window: int, backoff: Backoff) -> AsyncIterator[_Decided]:
        """One call of SubmitStream, until all is answered. Raises AioRpcError, TimeoutError, Unreachable
        when the line is cut.
        """
        call = self._stub.SubmitStream()
        outbox: asyncio.Queue[pb.SubmitStreamRequest] = asyncio.Queue()
        # A task apart, so that answers are read while a full line blocks writing.
        writer = asyncio.create_task(_write(call, outbox))
        try:
            while True:
                await work.pause()
                while len(work.flying) < window and work.may_send and (batch := work.take()):
                    self.resent += sum(1 for item in batch if item.attempts)
                    outbox.put_nowait(work.launch(batch))
                if work.done:
                    break
                response = await asyncio.wait_for(call.read(), min(backoff.remaining, READ_SECONDS_MAX))
                if not isinstance(response, pb.SubmitStreamResponse):
                    raise Unreachable(f"{self._target} ended the stream")
                for item, message in zip(
                    work.flying.pop(response.correlation), response.outcomes, strict=True
                ):
                    if decided := await self._judge(work, item, message):
                        yield decided
            await call.done_writing()
        finally:
            writer.cancel()
            call.cancel()
            await asyncio.wait([writer])

    async def _judge(self, work: _Work, item: _Item, message: pb.Outcome) -> _Decided | None:
        tx_id = transaction_id_of(item.raw, self._suite) if not message.HasField("receipt") else b""
        outcome = outcome_from(message, tx_id, time.monotonic() - item.first_sent, item.attempts)
        if outcome is None:
            work.again.append(item)
            work.delay(0.02 * min(2**item.attempts, 64))
            return None
        return item.index, await self._confirmed(item, outcome)

    async def _confirmed(self, item: _Item, outcome: Outcome) -> Outcome:
        """An answer without a receipt may say nothing of earlier sendings: then the receipt is asked for.

        That is so for what is no decision once it was sent twice, and always for what is dead by its time: it
        may have been decided while it lived.
        """
        refusal = outcome.refusal
        expired = refusal and (refusal.codespace, refusal.number) == (EXPIRED.codespace, EXPIRED.code)
        if outcome.receipt is not None or not (expired or (item.attempts > 1 and not outcome.decided)):
            return outcome
        try:
            found = await self._stub.GetTransaction(
                pb.GetTransactionRequest(tx_id=outcome.tx_id), timeout=10.0
            )
        except grpc.aio.AioRpcError as failure:
            if expired and outcome.decided:
                return outcome  # the node has told that these bytes were never decided
            return self._unknown(item, f"{refusal}; and the receipt could not be had: {failure.code().name}")
        return replace(
            receipt_outcome(found.transaction.receipt.encoded, outcome.seconds), attempts=item.attempts
        )

    def _unknown(self, item: _Item, reason: str) -> Outcome:
        tx_id = transaction_id_of(item.raw, self._suite)
        return Outcome(tx_id, attempts=item.attempts, reason=reason)


async def _write(call: Call, outbox: "asyncio.Queue[pb.SubmitStreamRequest]") -> None:
    """Write what stands in the outbox until cancelled or cut; the reader learns of a cut by itself."""
    with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        while True:
            await call.write(await outbox.get())


def raise_for(outcome: Outcome) -> Outcome:
    """The outcome, if it was applied. Raises Refused, Declined, Unknown."""
    if outcome.applied:
        return outcome
    if outcome.refusal is not None:
        raise outcome.refusal
    raise Unknown(outcome.tx_id, outcome.reason)
