"""What streams are cut into: blocks into parts, receipts into events, a backup into chunks. Every message
stays near PART_BYTES.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterator
from typing import Any, Final, Protocol

import msgspec

from node.engine.errors import Degraded, NodeError
from node.ledger.types import BlockRecord, Event
from node.pb.vostro.ledger.v1 import ledger_pb2 as pb
from node.services import convert
from node.services.convert import Converter
from node.services.ports import Backup, Blocks

PART_BYTES: Final = 1024 * 1024
CHUNKS_MAX: Final = 8
"""Chunks of a backup that wait for the client."""
PROGRESS_BLOCKS: Final = 64
"""After so many blocks without an event that fits, a stream says how far it is."""


class Wanted(Protocol):
    """What of a block is asked for."""

    include_leaves: bool
    include_receipts: bool
    include_bodies: bool


def part_end(block: BlockRecord, wanted: Wanted, start: int, stop: int) -> int:
    """The end of a part that begins at item ``start``: before ``stop``, and where PART_BYTES are full; at
    least one item.
    """
    kinds = [
        items
        for items, included in (
            (block.leaves, wanted.include_leaves),
            (block.receipts, wanted.include_receipts),
            (block.bodies, wanted.include_bodies),
        )
        if included and items
    ]
    size = 0
    for at in range(start, stop):
        size += sum([len(items[at]) for items in kinds])
        if size > PART_BYTES and at > start:
            return at
    return stop


def block_parts(block: BlockRecord, wanted: Wanted) -> Iterator[pb.StreamBlocksResponse]:
    """A block as messages, the last of which says so."""
    header = convert.header(block)
    count = (
        len(block.leaves) if wanted.include_leaves or wanted.include_receipts or wanted.include_bodies else 0
    )
    start = 0
    while True:
        end = part_end(block, wanted, start, count)
        yield pb.StreamBlocksResponse(
            header=header,
            first_index=start,
            leaves=block.leaves[start:end] if wanted.include_leaves else (),
            receipts=block.receipts[start:end] if wanted.include_receipts else (),
            bodies=block.bodies[start:end] if wanted.include_bodies else (),
            last=end == count,
        )
        if end == count:
            return
        start = end


def event_messages(
    blocks: Blocks, converter: Converter, request: pb.StreamEventsRequest, height: int, *, progress: bool
) -> list[pb.StreamEventsResponse]:
    """The events of one block that a request asks for, in order. progress: where there is none, a message
    that says how far it is.

    Raises Degraded BLOCK_UNKNOWN.
    """
    receipts, header = blocks.receipts(height), blocks.headers(height, 1)
    if receipts is None or not header:
        raise Degraded(NodeError.BLOCK_UNKNOWN, height=height)
    first = getattr(request, "from")
    start = (first.index, first.event) if first.height == height else (0, 0)
    messages = []
    for index in range(start[0], len(receipts)):
        receipt = convert.decode_receipt(receipts[index])
        for number, event in enumerate(receipt.events):
            if (index, number) < start or not _fits(event, request):
                continue
            messages.append(
                pb.StreamEventsResponse(
                    event=converter.event(event),
                    tx_id=receipt.tx_id,
                    at=pb.Cursor(height=height, index=index, event=number),
                    next=pb.Cursor(height=height, index=index, event=number + 1),
                    time_ms=header[0].time_ms,
                )
            )
    if not messages and progress:
        messages.append(pb.StreamEventsResponse(next=pb.Cursor(height=height + 1), time_ms=header[0].time_ms))
    return messages


def _fits(event: Event, request: pb.StreamEventsRequest) -> bool:
    if request.contract and event.contract != request.contract:
        return False
    if request.event and event.event != request.event:
        return False
    account = request.account
    return not account or (
        account.encode() in event.fields and _names(msgspec.msgpack.decode(event.fields), account)
    )


def _names(value: Any, account: str) -> bool:
    """Whether a text somewhere in the fields is this account."""
    return any(_names(item, account) for item in value) if isinstance(value, list) else bool(value == account)


class _Abandoned(Exception):
    """The client of a backup has gone; its thread ends."""


class BackupStream:
    """One backup at a time, written by a thread and read by a call."""

    def __init__(self, backup: Backup) -> None:
        self._backup = backup
        self._busy = False

    async def stream(self) -> AsyncGenerator[Any, None]:
        """Chunks of bytes, then the summary. Raises Degraded OVERLOADED while another is under way, and what
        the backup raises.
        """
        if self._busy:
            raise Degraded(NodeError.OVERLOADED, reason="a backup is under way already")
        self._busy = True
        loop = asyncio.get_running_loop()
        chunks: asyncio.Queue[bytes | None] = asyncio.Queue(CHUNKS_MAX)
        gone = threading.Event()

        def write(data: bytes) -> None:
            for start in range(0, len(data), PART_BYTES):
                if gone.is_set():
                    raise _Abandoned
                asyncio.run_coroutine_threadsafe(chunks.put(data[start : start + PART_BYTES]), loop).result()

        async def run() -> Any:
            try:
                return await asyncio.to_thread(self._backup, write)
            finally:
                self._busy = False
                if not gone.is_set():
                    await chunks.put(None)

        running = asyncio.create_task(run())
        running.add_done_callback(_retrieved)
        try:
            while (chunk := await chunks.get()) is not None:
                yield chunk
            yield await running
        finally:
            gone.set()
            while not chunks.empty():  # let a thread that waits for room find out
                chunks.get_nowait()


def _retrieved(task: "asyncio.Task[Any]") -> None:
    """What an abandoned backup raised is of no interest."""
    if not task.cancelled():
        task.exception()
