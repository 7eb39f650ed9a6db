"""The process collects its garbage by the clock, whether or not blocks are made."""

import asyncio
import contextlib
import gc
import weakref
from collections.abc import Callable, Iterator

import pytest

from node import garbage


class Cycle:
    """Refers to itself, so that only a collection ends it."""

    def __init__(self) -> None:
        self.itself = self


async def until(holds: Callable[[], bool]) -> None:
    """Wait for it."""
    for _ in range(10_000):
        if holds():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("not within ten seconds")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Collections every few milliseconds; the test process's own way of collecting comes back afterwards."""
    monkeypatch.setattr(garbage, "LOOK_SECONDS", 0.001)
    monkeypatch.setattr(garbage, "ALL_SECONDS", 0.004)
    monkeypatch.setattr(garbage, "AGAIN_ROUNDS", 2)
    yield
    gc.unfreeze()
    gc.enable()


@pytest.mark.asyncio
@pytest.mark.usefixtures("quick")
async def test_a_cycle_ends_without_a_block_also_one_that_outlived_a_full_collection() -> None:
    task = asyncio.create_task(garbage.collect_garbage())
    young = Cycle()
    looked = weakref.ref(young)
    del young
    await until(lambda: looked() is None)
    kept = [Cycle()]
    await until(lambda: all(each is not kept[0] for each in gc.get_objects()))  # set aside
    looked = weakref.ref(kept.pop())
    await until(lambda: looked() is None)
    assert not gc.isenabled()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
