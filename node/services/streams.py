"""What streams are cut into: blocks into parts, a backup into chunks. Every message stays near PART_BYTES."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterator
from typing import Any, Final, Protocol

from node.engine.errors import Degraded, NodeError
from node.ledger.types import BlockRecord
from node.pb.vostro.ledger.v1 import ledger_pb2 as pb
from node.services import convert
from node.services.ports import Backup

PART_BYTES: Final = 1024 * 1024
CHUNKS_MAX: Final = 8
"""Chunks of a backup that wait for the client."""


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
