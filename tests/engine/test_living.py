"""How every engine lives: heights are followed, time beats, proofs hold, and it ends in order."""

import asyncio
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from node.engine.errors import NodeError
from node.engine.sequencer import Sequencer, SequencerRefused
from node.keys.verify import InternationalVerifier
from node.ledger import codec
from node.ledger.hashing import INTERNATIONAL
from node.ledger.ports import Check
from node.ledger.state_tree import check_proof
from node.ledger.types import Header
from tests.checker import check_ledger
from tests.engine.kit import (
    FACTORIES,
    NOW_MS,
    SECONDS,
    Bench,
    Factory,
    SlowWorkers,
    is_applied,
    is_error,
    running,
    transfer,
    until,
    world,
)
from tests.kit import fields_of, op

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.parametrize("factory", FACTORIES, ids=lambda factory: factory.name),
]


async def test_heights_resume_behind_what_the_caller_has_and_follow_the_head(
    factory: Factory, tmp_path: Path
) -> None:
    async with running(factory, tmp_path) as bench:
        start = bench.engine.status().height
        for _ in range(3):
            assert is_applied(await bench.one(transfer()))
        told: list[int] = []

        async def follow(after: int) -> None:
            async for height in bench.engine.heights(after):
                told.append(height)  # noqa: PERF401 - the test reads it as it grows

        following = asyncio.create_task(follow(start - 2))
        await until(lambda: len(told) == 5)
        receipt = (await bench.one(transfer())).receipt
        await until(lambda: len(told) == 6)
        following.cancel()
        expected = [block.height for block in bench.blocks()]
        assert told == expected[-6:]
        assert receipt
        assert told[-1] == receipt.height


async def test_a_height_is_not_told_before_its_block_is_durable_and_on_record(
    factory: Factory, tmp_path: Path
) -> None:
    async with running(factory, tmp_path) as bench:
        head = bench.engine.status().height
        gate = bench.faults.after_sync = Event()
        waiting = asyncio.create_task(bench.one(transfer()))
        await until(lambda: bench.store.headers(head + 1, 1) != [])
        next_height = asyncio.create_task(anext(bench.engine.heights(head)))
        early = await asyncio.wait([next_height], timeout=0.05)
        gate.set()
        assert not early[0]
        assert not waiting.done()
        assert await asyncio.wait_for(next_height, SECONDS) > head
        assert is_applied(await waiting)


async def test_between_blocks_a_proof_verifies_against_the_last_durable_header(
    factory: Factory, tmp_path: Path
) -> None:
    key = b"assets\0balance\0KB/main\0CZK\0"
    async with running(factory, tmp_path) as bench:
        load = [asyncio.create_task(bench.submit(*[transfer() for _ in range(5)])) for _ in range(10)]
        for _ in range(10):

            def read() -> tuple[Header, bytes | None, Any]:
                (head,) = bench.store.headers(bench.engine.status().height, 1)
                value = bench.ledger.view.reader.get(key)
                return codec.decoder(Header)(head.header), value, bench.ledger.prove(key)

            header, value, proof = await asyncio.wait_for(bench.engine.between_blocks(read), SECONDS)
            assert header.height == bench.ledger.info().height or bench.engine.status().pending
            assert value is not None
            assert check_proof(INTERNATIONAL, header.state_root, key, value, proof)
        await asyncio.gather(*load)


async def test_an_idle_node_makes_no_headers_and_its_time_goes_on(factory: Factory, tmp_path: Path) -> None:
    async with running(factory, tmp_path) as bench:
        blocks, app_hash = len(bench.blocks()), bench.engine.status().app_hash
        for _ in range(10):
            bench.clock.now_ms += 1_000
            await until(lambda: bench.engine.status().time_ms >= bench.clock.now_ms)
        assert len(bench.blocks()) == blocks
        assert bench.engine.status().app_hash == app_hash


async def test_a_hold_expires_on_an_idle_node_within_a_heartbeat_of_its_time(
    factory: Factory, tmp_path: Path
) -> None:
    async with running(factory, tmp_path) as bench:
        expires_ms = NOW_MS + 5_000
        reserve = op("transfers", "reserve", "PA/main", "KB/main", "CZK", 7, expires_ms, "")
        receipt = (await bench.one(world.make("PA", reserve))).receipt
        assert receipt
        hold = fields_of(receipt.events[0])[1]
        blocks = len(bench.blocks())

        def status() -> str:
            return str(bench.ledger.readers["transfers"].hold.get("PA/main", hold).status)  # type: ignore[attr-defined]

        bench.clock.now_ms = expires_ms - 1
        await until(lambda: bench.engine.status().time_ms >= expires_ms - 1)
        assert status() == "pending"
        bench.clock.now_ms = expires_ms + 1
        await until(lambda: status() == "expired")
        assert bench.engine.status().time_ms <= expires_ms + 1
        assert len(bench.blocks()) == blocks + 1


async def test_time_increases_when_the_clock_goes_backwards(factory: Factory, tmp_path: Path) -> None:
    async with running(factory, tmp_path) as bench:
        for step in (0, 5_000, -20_000, -1, 0, 30_000):
            bench.clock.now_ms += step
            before = bench.engine.status().time_ms
            assert is_applied(await bench.one(transfer()))
            assert bench.engine.status().time_ms > before
        bench.clock.now_ms += 10_000
        await until(lambda: bench.engine.status().time_ms >= bench.clock.now_ms)
        told = bench.engine.status().time_ms
        bench.clock.now_ms -= 10_000
        late = await bench.one(transfer(valid_until_ms=told - 1))
        assert late.receipt is None, "its deadline had passed by a time that was told"
        times = [block.time_ms for block in bench.blocks()]
        assert times == sorted(set(times))


async def test_stop_decides_what_was_accepted_and_takes_nothing_new(factory: Factory, tmp_path: Path) -> None:
    async with running(factory, tmp_path) as bench:
        gate = bench.faults.gate = Event()
        raws = [transfer() for _ in range(7)]
        accepted = asyncio.create_task(bench.submit(*raws))
        await until(lambda: bench.engine.status().pending == 7)
        stopping = asyncio.create_task(bench.stop())
        await until(lambda: not bench.engine.status().serving)
        late = await bench.one(transfer())
        gate.set()
        await asyncio.wait_for(stopping, SECONDS)
        assert all(map(is_applied, await accepted))
        assert is_error(late, NodeError.STARTING, decided=False)


async def test_stop_decides_what_was_accepted_and_whose_signatures_are_still_verified(
    factory: Factory, tmp_path: Path
) -> None:
    workers = SlowWorkers()
    async with running(factory, tmp_path, workers=workers) as bench:
        waiting = asyncio.create_task(bench.submit(transfer(), transfer()))
        await until(lambda: bench.engine.status().pending == 2)
        stopping = asyncio.create_task(bench.stop())
        await until(lambda: not bench.engine.status().serving)
        workers.may_answer.set()
        await asyncio.wait_for(stopping, SECONDS)
        assert all(map(is_applied, await asyncio.wait_for(waiting, SECONDS)))


async def test_an_engine_that_has_not_started_says_so(factory: Factory, tmp_path: Path) -> None:
    bench = await factory.make(tmp_path, start=False)
    assert not bench.engine.status().serving
    assert is_error(await bench.one(transfer()), NodeError.STARTING, decided=False)
    await bench.engine.start()
    assert bench.engine.status().serving
    assert is_applied(await bench.one(transfer()))
    await bench.close()


async def test_what_an_engine_made_is_a_chain_that_verifies_by_replay(
    factory: Factory, tmp_path: Path
) -> None:
    raws = [transfer(amount) for amount in (1, 2, 10**9, 3)]
    async with running(factory, tmp_path) as bench:
        await asyncio.gather(*(bench.submit(raw, b"", raw) for raw in raws))
        status = bench.engine.status()
        checked = check_ledger(bench.blocks(), world.genesis)
        assert bench.blocks()[-1].app_hash == status.app_hash
    assert checked.replayed
    assert checked.applied == check_ledger(world.blocks(), world.genesis).applied + 3


async def test_what_a_crash_kept_off_the_record_is_on_it_before_anybody_reads(
    factory: Factory, tmp_path: Path
) -> None:
    async with running(factory, tmp_path) as bench:
        before = bench.sequencer.last
        assert is_applied(await bench.one(transfer()))
        after = bench.sequencer.last
    record = bench.folder / "last-signed"
    record.unlink()
    Sequencer.create_record(record, world.chain_id, before.height, bytes.fromhex(before.app_hash))
    async with running(factory, tmp_path, again=bench) as bench:
        assert bench.sequencer.last == after
        with pytest.raises(SequencerRefused, match="An older copy must not be continued"):
            bench.sequencer.check_head(before.height, bytes.fromhex(before.app_hash))


async def test_every_header_is_certified_by_the_sequencers_key(factory: Factory, tmp_path: Path) -> None:
    async with running(factory, tmp_path) as bench:
        before = len(bench.blocks())
        for _ in range(3):
            await bench.one(transfer())
        made = bench.blocks()[before:]
        assert len(made) == 3
        assert [is_certified(bench, block.app_hash, block.certificate) for block in made] == [True] * 3


def is_certified(bench: Bench, app_hash: bytes, certificate: bytes) -> bool:
    """By docs/formats.md: over "vostro/sign/header/1" 0x00, the chain's id and the app hash."""
    (authority,) = world.genesis.authority
    message = b"vostro/sign/header/1\0" + bench.ledger.chain.chain_id + app_hash
    check = Check(authority.algorithm, authority.public_key, message, certificate)
    return list(InternationalVerifier().verify([check])) == [True]
