"""Keeps the index behind the head: from the log, in slices, when the node has time.

The index is derived and may lag; under load it takes a small share of the time, so that deciding comes first,
and every read from it says how far it is. LAG_MAX bounds the debt: beyond it the indexer takes whatever time
it needs.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, Protocol

from node.engine.engine import Engine

BLOCKS_MAX: Final = 4
"""Blocks a slice."""
BUSY_SHARE: Final = 9
"""While transactions wait, the indexer rests this many times as long as it worked."""
LAG_MAX: Final = 2_000
"""Blocks behind the head beyond which the indexer no longer rests."""


class Derived(Protocol):
    """What is kept behind the head."""

    @property
    def height(self) -> int:
        """The last height that is in it."""

    def advance(self, store: Any, *, blocks_max: int) -> int:
        """Take in at most so many blocks of the log; how many it were."""


class Indexer:
    """The task that advances an index."""

    def __init__(self, index: Derived, store: Any, engine: Engine, alarm: Callable[[str], None]) -> None:
        """alarm: told when the index stands still for good."""
        self._index = index
        self._alarm = alarm
        self._store = store
        self._engine = engine
        self._thread = ThreadPoolExecutor(1, "index")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run(), name="indexer")
        self._task.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Stop between two slices."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._thread.shutdown()

    async def _run(self) -> None:
        await self._catch_up()
        async for _ in self._engine.heights(self._index.height):
            await self._catch_up()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """The node goes on without its index; reads from it say how far it came."""
        if not task.cancelled() and (error := task.exception()):
            self._alarm(f"the index stands still at height {self._index.height}: {error}")

    async def _catch_up(self) -> None:
        loop = asyncio.get_running_loop()
        advance = partial(self._index.advance, self._store, blocks_max=BLOCKS_MAX)
        while True:
            began = time.perf_counter()
            if not await loop.run_in_executor(self._thread, advance):
                return
            status = self._engine.status()
            if status.pending and status.height - self._index.height < LAG_MAX:
                await asyncio.sleep(BUSY_SHARE * (time.perf_counter() - began))
