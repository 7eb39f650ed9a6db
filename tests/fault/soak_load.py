"""Mixed load on a real node for as long as a test likes: what a day's clients do, at a modest pace, through
restarts of the node. Whatever is not acknowledged is sent again, the same bytes.

``Mix`` remembers of every acknowledgement where it says that the transaction stands, and hashes: half an hour
of receipts would fill the memory that the test looks at beside it.
"""

import asyncio
import hashlib
import itertools
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final

import grpc

from node.client.signing import new_request_id
from node.ledger import codec
from node.ledger.types import Operation, Receipt
from node.pb.vostro.fund.v1 import fund_pb2
from node.pb.vostro.ledger.v1 import ledger_pb2
from node.pb.vostro.transaction.v1 import transaction_pb2 as pb
from tests.fault.node_kit import ACCOUNTS, BLOCKS, OPTIONS, SECONDS, WORLD, NodeFolder, Stubs
from tests.fault.test_live_door import attack, hostile, malformed
from tests.kit import fields_of, op, pay

BATCH: Final = 100
LEGS: Final = 20
AWAY_SECONDS: Final = 10 * SECONDS
"""Within this, a node that was ended has been started again and has answered."""
PAUSE_SECONDS: Final = 0.1
"""Between two sendings while the node is away."""
HOLD_MS: Final = 300_000
BRIEF_HOLD_MS: Final = 2_000

SINGLE_SECONDS: Final = 0.05
BATCH_SECONDS: Final = 0.6
MANY_SECONDS: Final = 0.25
HOLD_SECONDS: Final = 0.7
READ_SECONDS: Final = 0.1
COMER_SECONDS: Final = 0.5
REFUSED_SECONDS: Final = 0.2
BAD_SECONDS: Final = 0.3
GARBAGE_SECONDS: Final = 2.0
"""How often each of them begins: some 200 transactions a second together."""

Place = tuple[int, int, int]
"""Of an event: height, index, number."""

_decode_receipt: Final[Callable[[bytes], Receipt]] = codec.decoder(Receipt)


@asynccontextmanager
async def alone(folder: NodeFolder) -> AsyncIterator[Stubs]:
    """Stubs over a connection that nobody shares."""
    options = (*OPTIONS, ("grpc.use_local_subchannel_pool", 1), ("grpc.max_reconnect_backoff_ms", 100))
    async with grpc.aio.insecure_channel(folder.target, options=options) as channel:
        yield Stubs(channel)


class Mix:
    """The load. ``acknowledged``: SHA-256 of what was sent -> height, index and SHA-256 of its receipt.
    ``latencies``: seconds of the single transfers since they were last taken; ``counts``: what came of all.
    """

    def __init__(self, folder: NodeFolder, stubs: Stubs, seed: int) -> None:
        self.acknowledged: dict[bytes, tuple[int, int, bytes]] = {}
        self.latencies: list[float] = []
        self.counts: Counter[str] = Counter()
        self.events = 0
        self.resume: Place = (BLOCKS[-1].height + 1, 0, 0)
        """From where on events have not been seen yet."""
        self._folder, self._stubs = folder, stubs
        self._chance = random.Random(seed)
        self._bad = malformed(self._chance)
        self._endings = itertools.cycle(("post", "void", "expire"))
        self._ended = False

    @asynccontextmanager
    async def going(self) -> AsyncIterator[None]:
        """The load runs beside the block; behind it all that was sent is acknowledged and the stream has told
        it.
        """
        acts: tuple[tuple[float, Callable[[], Awaitable[object]]], ...] = (
            (SINGLE_SECONDS, self._pay_one),
            (BATCH_SECONDS, self._pay_batch),
            (MANY_SECONDS, self._pay_many),
            (HOLD_SECONDS, self._reserve),
            (REFUSED_SECONDS, self._be_refused),
            (READ_SECONDS, self._read),
            (COMER_SECONDS, self._come_and_go),
            (BAD_SECONDS, self._send_malformed),
            (GARBAGE_SECONDS, self._send_garbage),
        )
        async with asyncio.TaskGroup() as tasks:
            following = tasks.create_task(self._follow())
            async with asyncio.TaskGroup() as calls:
                for seconds, act in acts:
                    calls.create_task(self._again_and_again(seconds, act))
                yield
                self._ended = True
            last = await self._pay_one()
            async with asyncio.timeout(SECONDS):
                while self.resume <= (last.height, last.index, 0):  # noqa: ASYNC110 - the stream tells nobody
                    await asyncio.sleep(PAUSE_SECONDS)
            following.cancel()

    async def _again_and_again(self, seconds: float, act: Callable[[], Awaitable[object]]) -> None:
        """At a pace; what was missed while the node was away is not made up for."""
        due = time.monotonic()
        while not self._ended:
            async with asyncio.timeout(AWAY_SECONDS):
                await act()
            due = max(due + seconds, time.monotonic())
            await asyncio.sleep(due - time.monotonic())

    # --- transactions ---------------------------------------------------------------------------------------

    def _accounts(self) -> tuple[str, str]:
        return f"PA/{self._chance.randrange(ACCOUNTS)}", f"KB/{self._chance.randrange(ACCOUNTS)}"

    def _transfer(self) -> bytes:
        return _signed(pay(*self._accounts(), 1))

    async def _pay_one(self) -> Receipt:
        raw, again = _signed(pay(*self._accounts(), 1)), False
        request = pb.SubmitRequest(signed_transaction=raw)
        while True:
            began = time.monotonic()
            try:
                answer = await self._stubs.transactions.Submit(request, timeout=SECONDS)
            except grpc.aio.AioRpcError as error:
                again = True
                await self._resend(1, error.code().name)
            else:
                break
        if not again:
            self.latencies.append(time.monotonic() - began)
        receipt = self._acknowledge(raw, answer.receipt.encoded)
        assert receipt.code == 0
        self.counts["single"] += 1
        return receipt

    async def _pay_batch(self) -> None:
        receipts = await self._decide([self._transfer() for _ in range(BATCH)])
        assert all(receipt.code == 0 for receipt in receipts)
        self.counts["batch"] += 1

    async def _pay_many(self) -> None:
        legs = [(f"KB/{number}", 1, f"L{number}") for number in range(LEGS)]
        source, _ = self._accounts()
        (receipt,) = await self._decide(
            [_signed(op("transfers", "send_many", source, "CZK", LEGS, legs, b"", ""))]
        )
        assert receipt.code == 0
        self.counts["send_many"] += 1

    async def _reserve(self) -> None:
        """A hold that is posted, voided, or left to expire; what has ended is refused a second time."""
        ending = next(self._endings)
        source, destination = self._accounts()
        until = time.time_ns() // 1_000_000 + (BRIEF_HOLD_MS if ending == "expire" else HOLD_MS)
        (reserved,) = await self._decide(
            [_signed(op("transfers", "reserve", source, destination, "CZK", 5, until, ""))]
        )
        self.counts[f"reserve, {ending}" if reserved.code == 0 else "reserve, too late"] += 1
        if reserved.code or ending == "expire":
            return
        _, hold, *_ = fields_of(reserved.events[0])
        arguments = (source, hold, 3) if ending == "post" else (source, hold)
        (first,) = await self._decide([_signed(op("transfers", ending, *arguments))])
        (second,) = await self._decide([_signed(op("transfers", ending, *arguments))])
        assert (first.code == 0, second.code == 0) == (True, False)

    async def _be_refused(self) -> None:
        source, destination = self._accounts()
        (receipt,) = await self._decide([_signed(pay(source, destination, 10**15))])
        assert receipt.code
        self.counts["refused"] += 1

    async def _decide(self, raws: list[bytes]) -> list[Receipt]:
        """The receipts of all, in one batch, each sent again until there is one."""
        found: dict[bytes, Receipt] = {}
        while left := [raw for raw in raws if raw not in found]:
            request = pb.SubmitBatchRequest(signed_transactions=left)
            try:
                answer = await self._stubs.transactions.SubmitBatch(request, timeout=SECONDS)
            except grpc.aio.AioRpcError as error:
                await self._resend(len(left), error.code().name)
                continue
            for raw, outcome in zip(left, answer.outcomes, strict=True):
                if outcome.HasField("receipt"):
                    found[raw] = self._acknowledge(raw, outcome.receipt.encoded)
                else:
                    assert not outcome.error.decided, outcome
                    await self._resend(1, outcome.error.name)
        return [found[raw] for raw in raws]

    async def _resend(self, count: int, why: str) -> None:
        self.counts["resent"] += count
        self.counts[f"not acknowledged: {why}"] += count
        await asyncio.sleep(PAUSE_SECONDS)  # a node that is away refuses at once

    def _acknowledge(self, raw: bytes, encoded: bytes) -> Receipt:
        receipt = _decode_receipt(encoded)
        told = (receipt.height, receipt.index, _digest(encoded))
        assert self.acknowledged.setdefault(_digest(raw), told) == told, "two receipts of one transaction"
        return receipt

    # --- reads, streams, clients that come and go, and bad ones ---------------------------------------------

    async def _read(self) -> None:
        account, _ = self._accounts()
        keys = [fund_pb2.BalanceKey(account=f"PA/{n}", asset="CZK") for n in range(ACCOUNTS)]
        try:
            await self._stubs.balance(account)
            await self._stubs.funds.GetBalances(fund_pb2.GetBalancesRequest(keys=keys), timeout=SECONDS)
            await self._stubs.funds.ListMovements(
                fund_pb2.ListMovementsRequest(account=account, page_size=10), timeout=SECONDS
            )
        except grpc.aio.AioRpcError as error:
            await self._missed("read", error)
        else:
            self.counts["reads"] += 3

    async def _follow(self) -> None:
        """A stream of events that stays open; begun again where it was cut."""
        while True:
            height, index, event = self.resume
            wanted: dict[str, Any] = {"from": ledger_pb2.Cursor(height=height, index=index, event=event)}
            try:
                async for told in self._stubs.chain.StreamEvents(ledger_pb2.StreamEventsRequest(**wanted)):
                    at = (told.at.height, told.at.index, told.at.event)
                    if told.HasField("event"):
                        assert at >= self.resume, "an event twice, or out of order"
                        self.events += 1
                    self.resume = (told.next.height, told.next.index, told.next.event)
            except grpc.aio.AioRpcError as error:
                await self._missed("stream", error)

    async def _come_and_go(self) -> None:
        """A new connection, a stream on it that is left in the middle, a payment."""
        try:
            async with alone(self._folder) as stubs:
                await stubs.chain.GetStatus(ledger_pb2.GetStatusRequest(), timeout=SECONDS)
                stream = stubs.chain.StreamEvents(ledger_pb2.StreamEventsRequest())
                async for _ in stream:
                    break
                stream.cancel()
        except grpc.aio.AioRpcError as error:
            await self._missed("client", error)
        else:
            self.counts["clients"] += 1

    async def _send_malformed(self) -> None:
        kind = self._chance.choice(sorted(self._bad))
        raw = self._bad[kind]()
        request = pb.SubmitBatchRequest(signed_transactions=[raw])
        try:
            answer = await self._stubs.transactions.SubmitBatch(request, timeout=SECONDS)
        except grpc.aio.AioRpcError as error:
            await self._missed("malformed", error)
            return
        (outcome,) = answer.outcomes
        assert outcome.error.code or outcome.receipt.code, f"{kind} was applied"
        assert outcome.error.name not in {"INTERNAL", "CONTRACT_FAULT"}, f"{kind}: {outcome}"
        if outcome.HasField("receipt"):
            self._acknowledge(raw, outcome.receipt.encoded)
        self.counts["malformed"] += 1

    async def _send_garbage(self) -> None:
        data = self._chance.choice(hostile(self._chance))
        try:
            await asyncio.to_thread(attack, self._folder.target, data)
        except OSError:
            self.counts["missed: garbage"] += 1
        else:
            self.counts["garbage"] += 1

    async def _missed(self, what: str, error: grpc.aio.AioRpcError) -> None:
        self.counts[f"missed: {what}, {error.code().name}"] += 1
        await asyncio.sleep(PAUSE_SECONDS)


def _signed(operation: Operation) -> bytes:
    return WORLD.make("PA", operation, use_id=new_request_id())


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def digests(items: Iterable[bytes]) -> list[bytes]:
    """As ``Mix`` remembers what it sent and was told."""
    return [_digest(item) for item in items]
