"""What the embedded engine knows of transactions long decided, and says where it cannot know; for whom a
block waits; and what is judged together.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from node.engine import door, embedded, telling
from node.engine.door import Entry
from node.engine.errors import NodeError
from node.keys.verify import InternationalVerifier
from node.ledger.errors import LedgerError
from node.ledger.ports import Check
from tests.engine.kit import (
    FACTORIES,
    LIMITS,
    NOW_MS,
    SECONDS,
    Bench,
    is_applied,
    is_error,
    running,
    transfer,
)

pytestmark = pytest.mark.asyncio
MEMORY = FACTORIES[0]


class Places:
    """An index that stands where it is told to."""

    def __init__(self, height: int) -> None:
        self.height = height
        self.is_whole = True
        self.rows: dict[bytes, Any] = {}

    def transaction(self, tx_id: bytes) -> Any:
        return self.rows.get(tx_id)


async def outlived(bench: Bench) -> None:
    """Let so much time pass, in headers, that request ids made before are forgotten."""
    for _ in range(3):
        bench.clock.now_ms += LIMITS.lifetime_ms
        assert is_applied(await bench.one(transfer(created_ms=bench.clock.now_ms)))


async def test_dead_bytes_are_not_called_undecided_while_the_index_lags(tmp_path: Path) -> None:
    old, never = transfer(), transfer()
    async with running(MEMORY, tmp_path) as bench:
        first = await bench.one(old)
        await outlived(bench)
    assert first.receipt
    index = Places(first.receipt.height - 1)
    async with running(MEMORY, tmp_path, again=bench, index=index) as bench:
        for raw in (old, never):
            assert is_error(await bench.one(raw), NodeError.UNKNOWN_OUTCOME, decided=False)
        index.height = bench.engine.status().height
        place = SimpleNamespace(height=first.receipt.height, index=first.receipt.index)
        index.rows[first.receipt.tx_id] = place
        assert await bench.one(old) == first
        assert is_error(await bench.one(never), LedgerError.EXPIRED, decided=True)


async def test_without_an_index_what_is_long_dead_and_unknown_stays_unknown(tmp_path: Path) -> None:
    never = transfer()
    async with running(MEMORY, tmp_path) as bench:
        await outlived(bench)
        assert is_error(await bench.one(never), NodeError.UNKNOWN_OUTCOME, decided=False)


async def test_bytes_that_may_have_been_decided_before_the_index_begins_are_not_called_dead(
    tmp_path: Path,
) -> None:
    old = transfer()
    async with running(MEMORY, tmp_path) as bench:
        assert is_applied(await bench.one(old))
        await outlived(bench)
    index = Places(bench.ledger.info().height)
    async with running(MEMORY, tmp_path, again=bench, index=index) as bench:
        assert is_error(await bench.one(old), LedgerError.EXPIRED, decided=True), "the index lied"
        index.is_whole = False
        assert is_error(await bench.one(old), NodeError.UNKNOWN_OUTCOME, decided=False)


async def test_bytes_whose_receipt_is_no_longer_kept_are_not_called_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = transfer(valid_until_ms=NOW_MS + 5_000)
    async with running(MEMORY, tmp_path) as bench:
        assert is_applied(await bench.one(raw))
        bench.clock.now_ms += 10_000
        monkeypatch.setattr(telling, "kept_receipt", lambda *_place: None)
        assert is_error(await bench.one(raw), NodeError.UNKNOWN_OUTCOME, decided=False)


async def test_a_snapshot_that_was_taken_in_leaves_what_was_decided_before_to_the_index(
    tmp_path: Path,
) -> None:
    never = transfer()
    async with running(MEMORY, tmp_path, index=(index := Places(0))) as bench:
        index.height = bench.engine.status().height
        await outlived(bench)
        bench.engine._telling.begin_above(bench.engine.status().height)
        assert is_error(await bench.one(never), NodeError.UNKNOWN_OUTCOME, decided=False)


async def test_receipts_that_are_forgotten_must_be_in_the_index_before_anything_is_called_undecided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "RECENT_MAX", 2)
    never = transfer()
    async with running(MEMORY, tmp_path, index=(index := Places(0))) as bench:
        index.height = bench.engine.status().height
        await outlived(bench)
        assert bench.engine.status().height > index.height
        assert is_error(await bench.one(never), NodeError.UNKNOWN_OUTCOME, decided=False)
        index.height = bench.engine.status().height
        assert is_error(await bench.one(never), LedgerError.EXPIRED, decided=True)


async def test_a_block_waits_for_those_who_were_answered_and_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    callers, rounds = 8, 40
    monkeypatch.setattr(embedded, "GATHER_SECONDS_EACH", 1.0)  # in vain for every block: 40 seconds
    monkeypatch.setattr(embedded, "GATHER_SECONDS_MAX", 1.0)
    async with running(MEMORY, tmp_path, overlap_min=2 * callers) as bench:

        async def call() -> None:
            for _ in range(rounds):
                assert is_applied(await bench.one(transfer()))

        before = bench.engine.counters.blocks
        async with asyncio.timeout(SECONDS):
            await asyncio.gather(*[call() for _ in range(callers)])
        assert rounds <= bench.engine.counters.blocks - before <= rounds + 2


@pytest.mark.parametrize(("told", "came", "again"), [(8, 5, True), (8, 6, False), (1, 0, True)])
async def test_after_a_wait_to_which_too_few_came_the_next_blocks_wait_for_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: int, came: int, again: bool
) -> None:
    monkeypatch.setattr(embedded, "GATHER_SECONDS_MAX", 0.05)
    monkeypatch.setattr(embedded, "GATHER_SECONDS_EACH", 1.0)
    async with running(MEMORY, tmp_path) as bench:
        engine, entry = bench.engine, cast("Entry", None)
        engine._told, engine._likely = told, 10
        async with engine._turn:  # no block takes what is put into the queue
            waiting = asyncio.ensure_future(engine._gather())
            await asyncio.sleep(0)
            engine._queue.extend([entry] * came)
            await waiting
            engine._queue.clear()
            assert engine._unlikely == (embedded.GATHER_AGAIN if again else 0)
            monkeypatch.setattr(embedded, "GATHER_SECONDS_MAX", 2 * SECONDS)
            async with asyncio.timeout(SECONDS):
                while engine._unlikely:
                    await engine._gather()


class CountingWorkers:
    """Workers that verify at once and remember how many checks came together."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def verify(self, checks: Sequence[Check]) -> "asyncio.Future[list[bool]]":
        self.asked.append(len(checks))
        answers: asyncio.Future[list[bool]] = asyncio.get_running_loop().create_future()
        answers.set_result(InternationalVerifier().verify(checks))
        return answers


async def test_requests_that_come_together_are_judged_together_and_a_large_one_waits_for_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = CountingWorkers()
    async with running(MEMORY, tmp_path, workers=workers) as bench:
        for sizes, apart in (([1], 0.0), ([1] * 5, 0.1), ([door.TOGETHER_MAX], 3_600.0)):
            monkeypatch.setattr(door, "TOGETHER_SECONDS", apart)
            asked = [bench.engine.submit([transfer() for _ in range(size)]) for size in sizes]
            outcomes = await asyncio.wait_for(asyncio.gather(*asked), SECONDS)
            assert all(is_applied(outcome) for told in outcomes for outcome in told)
        assert workers.asked == [1, 5, door.TOGETHER_MAX]


async def test_a_request_that_cannot_be_judged_costs_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, bad, last = transfer(), transfer(), transfer()
    async with running(MEMORY, tmp_path) as bench:
        read = bench.ledger.read

        def reading(raw: bytes) -> Any:
            if raw == bad:
                raise KeyError("planted")
            return read(raw)

        monkeypatch.setattr(bench.ledger, "read", reading)
        asked = [bench.engine.submit((raw,)) for raw in (first, bad, last)]
        with pytest.raises(KeyError):
            await asyncio.wait_for(asked[1], SECONDS)
        for good in (asked[0], asked[2]):
            assert all(map(is_applied, await asyncio.wait_for(good, SECONDS)))
        assert bench.engine.status().pending == 0
