"""The indexer keeps behind the head, gives way while transactions wait, and tells when it stands still."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest

from node.engine.indexer import BLOCKS_MAX, BUSY_SHARE, LAG_MAX, Indexer
from node.ledger.errors import StoreFailed

pytestmark = pytest.mark.asyncio
SECONDS = 10.0


@dataclass
class Head:
    """The part of an engine that an indexer sees: heights up to a head that the test moves."""

    height: int = 0
    pending: int = 0
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    def status(self) -> "Head":
        return self

    async def heights(self, after: int) -> AsyncIterator[int]:
        while True:
            while after < self.height:
                after += 1
                yield after
            self.moved.clear()
            await self.moved.wait()

    def move(self, height: int) -> None:
        self.height = height
        self.moved.set()


@dataclass
class Counted:
    """An index that counts; failure: what the next advance raises."""

    head: Head
    height: int = 0
    slices: list[tuple[float, int]] = field(default_factory=list)
    failure: Exception | None = None
    seconds: float = 0.0

    def advance(self, store: Any, *, blocks_max: int) -> int:
        if self.failure:
            raise self.failure
        taken = min(blocks_max, self.head.height - self.height)
        time.sleep(self.seconds if taken else 0)  # what the work takes
        self.height += taken
        self.slices.append((time.perf_counter(), taken))
        return taken


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not true():  # noqa: ASYNC110 - the index tells nobody
            await asyncio.sleep(0.001)


def indexer_of(index: Counted, alarms: list[str]) -> Indexer:
    engine: Any = index.head
    return Indexer(index, None, engine, alarms.append)


async def test_it_catches_up_in_slices_and_follows_the_head() -> None:
    index = Counted(Head(height=3 * BLOCKS_MAX + 1))
    alarms: list[str] = []
    indexer = indexer_of(index, alarms)
    indexer.start()
    await until(lambda: index.height == 3 * BLOCKS_MAX + 1)
    index.head.move(index.height + 1)
    await until(lambda: index.height == index.head.height)
    await indexer.stop()
    assert max(taken for _, taken in index.slices) <= BLOCKS_MAX
    assert alarms == []


async def test_while_transactions_wait_it_rests_longer_than_it_worked() -> None:
    index = Counted(Head(height=4 * BLOCKS_MAX, pending=1), seconds=0.02)
    indexer = indexer_of(index, [])
    indexer.start()
    await until(lambda: index.height == index.head.height)
    await indexer.stop()
    ends = [at for at, taken in index.slices if taken]
    pauses = [later - earlier for earlier, later in pairwise(ends)]
    assert min(pauses) >= (BUSY_SHARE + 1) * index.seconds * 0.9


async def test_far_behind_it_does_not_rest() -> None:
    index = Counted(Head(height=LAG_MAX + 5 * BLOCKS_MAX, pending=1), seconds=0.02)
    indexer = indexer_of(index, [])
    began = time.perf_counter()
    indexer.start()
    await until(lambda: index.height >= 4 * BLOCKS_MAX)
    took = time.perf_counter() - began
    await indexer.stop()
    assert took < 4 * index.seconds * BUSY_SHARE


@pytest.mark.parametrize(
    "failure", [StoreFailed("the index is damaged"), KeyError("planted")], ids=["store", "bug"]
)
async def test_an_index_that_stands_still_alarms(failure: Exception) -> None:
    index = Counted(Head(height=1))
    alarms: list[str] = []
    indexer = indexer_of(index, alarms)
    indexer.start()
    await until(lambda: index.height == 1)
    index.failure = failure
    index.head.move(2)
    await until(lambda: bool(alarms))
    await indexer.stop()
    assert alarms == [f"the index stands still at height 1: {failure}"]
