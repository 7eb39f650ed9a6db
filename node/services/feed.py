"""The feed of events: each block is read once, however many streams listen, and a stream is woken only for
what it asked for.

A thousand idle streams must not cost the others anything: at the head one task looks at each new block and
wakes those whose filter and reading rights it meets, found by the accounts that the block names; the rest
sleep, but for a word now and then about how far the chain is, to a few of them at a time.
"""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import suppress
from itertools import islice
from typing import Any, Final, NamedTuple

import msgspec

from node.engine.engine import Engine
from node.engine.errors import Degraded, NodeError
from node.ledger.types import Event
from node.pb.vostro.ledger.v1 import ledger_pb2 as pb
from node.services import convert
from node.services.convert import Converter
from node.services.identity import Identity
from node.services.ports import Blocks
from node.services.reading import Parties, Reading

PROGRESS_BLOCKS: Final = 64
"""After so many blocks and seconds without an event that fits, a stream says how far it is, when its turn
comes.
"""
PROGRESS_SECONDS: Final = 30.0
PROGRESS_AT_ONCE: Final = 2
"""Streams that say so at one block: all at once would keep others waiting."""
BLOCKS_KEPT: Final = 32
PENDING_MAX: Final = 256
SCAN: Final = 100
SMALL_BLOCK: Final = 64
"""Transactions of a block that is read without a thread."""


class Told(NamedTuple):
    """One event of a block. at: its transaction's place in the block; number: its own among its events."""

    at: int
    number: int
    tx_id: bytes
    event: Event
    parties: Parties
    signer: str


class BlockEvents(NamedTuple):
    """The events of a block. kinds: (contract, event) of all; texts: every text in their fields; members:
    whom they concern; shared: whether any concerns everybody.
    """

    height: int
    time_ms: int
    events: tuple[Told, ...]
    kinds: frozenset[tuple[str, str]]
    texts: frozenset[str]
    members: frozenset[str]
    shared: bool


class Filter(NamedTuple):
    """What a stream wants. member: its reader's, where it sees only what concerns that; empty: everything."""

    contract: str
    event: str
    account: str
    member: str

    def may_want(self, block: BlockEvents) -> bool:
        """Whether something in the block may fit."""
        if not block.events or (self.account and self.account not in block.texts):
            return False
        if self.member and not block.shared and self.member not in block.members:
            return False
        return not (self.contract or self.event) or any(
            self.contract in ("", contract) and self.event in ("", event) for contract, event in block.kinds
        )

    def wants(self, event: Event) -> bool:
        """Whether an event fits."""
        if (self.contract and event.contract != self.contract) or (self.event and event.event != self.event):
            return False
        account = self.account
        return not account or (
            account.encode() in event.fields and account in _texts(msgspec.msgpack.decode(event.fields))
        )


class _Listener:
    """A stream at the head: what it is to look at. heard: the number of the block for which it was woken
    last, and when, in seconds of the feed's clock.
    """

    def __init__(self, wanted: Filter, heard: tuple[int, float]) -> None:
        self.wanted = wanted
        self.heard = heard
        self.pending: deque[int] = deque()
        self.missed = False
        self.woken = asyncio.Event()

    def wake(self, height: int) -> None:
        """Let the stream look at a block."""
        if len(self.pending) >= PENDING_MAX:
            self.missed = True
        else:
            self.pending.append(height)
        self.woken.set()

    async def wait(self) -> None:
        """Return at the next offer, or at once where one was missed."""
        if not self.missed:
            await self.woken.wait()


class Feed:
    """The events of one node, for all its streams. clock: seconds, of a clock that never goes back."""

    def __init__(
        self,
        engine: Engine,
        blocks: Blocks,
        converter: Converter,
        reading: Reading,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._blocks = blocks
        self._converter = converter
        self._reading = reading
        self._clock = clock
        self._kept: OrderedDict[int, asyncio.Future[BlockEvents]] = OrderedDict()
        self._listeners: OrderedDict[_Listener, None] = OrderedDict()
        """Whoever has been silent for longest comes first."""
        self._of_account: dict[str, dict[_Listener, None]] = {}
        """By the account that they want; empty: any."""
        self._number = 0
        """Blocks that came to the head since the node started."""
        self._running: asyncio.Task[None] | None = None

    async def events(
        self, identity: Identity, request: pb.StreamEventsRequest
    ) -> AsyncGenerator[pb.StreamEventsResponse, None]:
        """Events that fit and that the reader may see, for as long as it listens, and now and then how far
        it is. Raises Degraded BLOCK_UNKNOWN.
        """
        start = getattr(request, "from")
        narrow = "" if self._reading.sees_all(identity) else identity.member
        wanted = Filter(request.contract, request.event, request.account, narrow)
        listener = _Listener(wanted, (self._number, self._clock()))
        said = start.height - 1
        self._listen(listener)
        try:
            async for block in self._blocks_of(listener, start.height - 1):
                first = (start.index, start.event) if block.height == start.height else (0, 0)
                for told in block.events:
                    message = self._message(identity, wanted, block, told, first)
                    if message is not None:
                        said = block.height
                        yield message
                if block.height - said > PROGRESS_BLOCKS:
                    said = block.height
                    yield pb.StreamEventsResponse(
                        next=pb.Cursor(height=block.height + 1), time_ms=block.time_ms
                    )
        finally:
            self._leave(listener)

    # --- where a stream is ----------------------------------------------------------------------------------

    async def _blocks_of(self, listener: _Listener, after: int) -> AsyncIterator[BlockEvents]:
        """Every block above ``after`` up to the head, then those that the listener is woken for."""
        while True:
            async for height in self._up_to_head(after):
                after = height
                yield await self._block(height)
            listener.missed = False
            while not listener.missed:
                while listener.pending:
                    height = listener.pending.popleft()
                    if height > after:
                        after = height
                        yield await self._block(height)
                listener.woken.clear()
                await listener.wait()
            listener.pending.clear()

    async def _up_to_head(self, after: int) -> AsyncIterator[int]:
        while True:
            head = self._engine.status().height
            found = [b.height for b in self._blocks.headers(after + 1, SCAN) if b.height <= head]
            if not found:
                return
            for height in found:
                after = height
                yield height

    def _listen(self, listener: _Listener) -> None:
        self._listeners[listener] = None
        self._of_account.setdefault(listener.wanted.account, {})[listener] = None
        if self._running is None:
            self._running = asyncio.create_task(self._run(self._engine.status().height))

    def _leave(self, listener: _Listener) -> None:
        self._listeners.pop(listener, None)
        account = listener.wanted.account
        self._of_account[account].pop(listener)
        if not self._of_account[account]:
            del self._of_account[account]
        if not self._listeners and self._running:
            self._running.cancel()
            self._running = None

    async def _run(self, after: int) -> None:
        async for height in self._engine.heights(after):
            with suppress(Degraded):  # the streams themselves will say so
                self._offer(await self._block(height))

    def _offer(self, block: BlockEvents) -> None:
        """A new block: wake those who may want it, and a few of those who have heard nothing for long."""
        self._number += 1
        now = self._clock()
        for account in ("", *(block.texts & self._of_account.keys())):
            for listener in self._of_account.get(account, ()):
                if listener.wanted.may_want(block):
                    self._wake(listener, block.height, now)
        for listener in list(islice(self._listeners, PROGRESS_AT_ONCE)):
            number, moment = listener.heard
            if self._number - number > PROGRESS_BLOCKS and now - moment > PROGRESS_SECONDS:
                self._wake(listener, block.height, now)

    def _wake(self, listener: _Listener, height: int, now: float) -> None:
        listener.heard = self._number, now
        self._listeners.move_to_end(listener)
        listener.wake(height)

    # --- one block ------------------------------------------------------------------------------------------

    async def _block(self, height: int) -> BlockEvents:
        """The events of a block, read once: a small one here, a large one in a thread, which takes longer.

        Raises Degraded BLOCK_UNKNOWN.
        """
        reading = self._kept.get(height)
        if reading is None:
            found = self._blocks.headers(height, 1)
            if found and convert.decode_header(found[0].header).transaction_count <= SMALL_BLOCK:
                reading = asyncio.get_running_loop().create_future()
                reading.set_result(self._read(height))
            else:
                reading = asyncio.create_task(asyncio.to_thread(self._read, height))
            self._kept[height] = reading
            while len(self._kept) > BLOCKS_KEPT:
                self._kept.popitem(last=False)
        if reading.done() and not reading.exception():
            return reading.result()
        try:
            return await asyncio.shield(reading)
        except Degraded:
            self._kept.pop(height, None)
            raise

    def _read(self, height: int) -> BlockEvents:
        receipts, header = self._blocks.receipts(height), self._blocks.headers(height, 1)
        leaves = self._blocks.leaves(height)
        if receipts is None or leaves is None or not header:
            raise Degraded(NodeError.BLOCK_UNKNOWN, height=height)
        events: list[Told] = []
        texts: set[str] = set()
        for index, data in enumerate(receipts):
            receipt = convert.decode_receipt(data)
            signer = convert.decode_leaf(leaves[index]).member if receipt.events else ""
            for number, event in enumerate(receipt.events):
                texts.update(_texts(msgspec.msgpack.decode(event.fields)))
                parties = self._reading.parties(event)
                events.append(Told(index, number, receipt.tx_id, event, parties, signer))
        return BlockEvents(
            height,
            header[0].time_ms,
            tuple(events),
            frozenset((told.event.contract, told.event.event) for told in events),
            frozenset(texts),
            frozenset(member for told in events for member in (told.signer, *told.parties.members)),
            any(told.parties.shared for told in events),
        )

    def _message(
        self, identity: Identity, wanted: Filter, block: BlockEvents, told: Told, first: tuple[int, int]
    ) -> pb.StreamEventsResponse | None:
        if (told.at, told.number) < first or not wanted.wants(told.event):
            return None
        whole = True
        if wanted.member:
            shown = self._reading.shown(identity, told.parties, told.signer)
            if not shown.at_all:
                return None
            whole = shown.whole
        event = self._converter.event(told.event)
        if not whole:
            event.fields, event.fields_json = b"", ""
        return pb.StreamEventsResponse(
            event=event,
            tx_id=told.tx_id,
            at=pb.Cursor(height=block.height, index=told.at, event=told.number),
            next=pb.Cursor(height=block.height, index=told.at, event=told.number + 1),
            time_ms=block.time_ms,
        )


def _texts(value: Any) -> set[str]:
    """Every text in decoded fields."""
    if isinstance(value, str):
        return {value}
    return {text for item in value for text in _texts(item)} if isinstance(value, list) else set()
