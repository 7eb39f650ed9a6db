"""How every engine fails: what is wrong with one transaction, the disk or a worker costs nobody else; what
must never happen halts it, with everybody answered.
"""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any, NoReturn

import pytest
from msgspec import structs

from node.engine.errors import NodeError
from node.keys.workers import VerifyWorkers
from node.ledger.errors import InvariantViolated, LedgerError, StoreFailed
from tests.checker import check_ledger
from tests.engine.kit import (
    DURABLE,
    FACTORIES,
    LIMITS,
    Bench,
    Factory,
    SlowWorkers,
    crashed_copy,
    is_applied,
    is_error,
    running,
    transfer,
    until,
    world,
)
from tests.kit import op, spoilt

pytestmark = pytest.mark.asyncio
every_engine = pytest.mark.parametrize("factory", FACTORIES, ids=lambda factory: factory.name)
on_disk = pytest.mark.parametrize("factory", DURABLE, ids=lambda factory: factory.name)


def raising(error: BaseException) -> Callable[..., NoReturn]:
    """A function that raises."""

    def function(*_: Any, **__: Any) -> NoReturn:
        raise type(error)(*error.args)

    return function


@every_engine
async def test_a_contract_fault_is_a_receipt_and_an_alarm_and_the_engine_goes_on(
    factory: Factory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(factory, tmp_path) as bench:
        method = bench.ledger.chain.methods["transfers", "send_many"]
        monkeypatch.setattr(method, "function", raising(KeyError("planted")))
        legs = (("KB/main", 1, ""),)
        many = world.make(
            "PA", op("transfers", "send_many", "PA/main", "CZK", sum(leg[1] for leg in legs), legs, b"", "")
        )
        before, fault, after = await bench.submit(transfer(), many, transfer())
        assert is_applied(before)
        assert is_applied(after)
        assert fault.receipt
        assert (fault.receipt.codespace, fault.receipt.code) == ("ledger", LedgerError.CONTRACT_FAULT.code)
        (alarm,) = bench.engine.status().alarms
        assert fault.receipt.tx_id.hex() in alarm
        assert "Traceback" not in alarm
        assert bench.engine.status().serving


@every_engine
@pytest.mark.parametrize(
    "error",
    [
        InvariantViolated("planted"),
        StoreFailed("planted"),
        RecursionError("planted"),
        MemoryError("planted"),
        KeyError("planted"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_what_must_never_happen_halts_with_everybody_answered(
    factory: Factory, error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(factory, tmp_path) as bench:
        gate = bench.faults.gate = Event()
        first = asyncio.create_task(bench.submit(transfer(), transfer()))
        await until(lambda: bench.store.height > bench.engine.status().height)
        finalize = bench.ledger.finalize_block
        stop = raising(error)
        monkeypatch.setattr(
            bench.ledger, "finalize_block", lambda block: (stop if block.items else finalize)(block)
        )
        for outcome in await bench.submit(transfer(), transfer()):
            assert outcome.receipt is None
            assert outcome.error in (NodeError.UNKNOWN_OUTCOME, NodeError.STOPPED)
            assert not outcome.decided
        gate.set()
        assert all(map(is_applied, await first)), "that block was decided before"
        await asyncio.wait_for(bench.engine.halted.wait(), 5)
        status = bench.engine.status()
        assert not status.serving
        assert status.pending == 0
        assert "planted" in " ".join(status.alarms)
        assert is_error(await bench.one(transfer()), NodeError.STOPPED, decided=False)


@every_engine
@pytest.mark.evidence(
    "ENG3",
    asset="acknowledged transactions",
    threat="a disk that lies about a sync",
    mitigation="the node halts",
)
async def test_a_failed_sync_halts_and_nobody_is_told_what_a_crash_could_undo(
    factory: Factory, tmp_path: Path
) -> None:
    async with running(factory, tmp_path) as bench:
        durable = bench.engine.status()
        gate = bench.faults.gate = Event()
        bench.faults.failing = True
        first = asyncio.create_task(bench.submit(transfer(), transfer()))
        await until(lambda: bench.store.height > durable.height)
        staged = bench.store.height
        second = asyncio.create_task(bench.submit(transfer()))
        await until(lambda: bench.store.height > staged)
        third = asyncio.create_task(bench.submit(transfer()))  # stays in the queue: two blocks are under way
        await until(lambda: bench.engine.status().pending == 4)
        gate.set()
        outcomes = [*await first, *await second, *await third]
        assert all(each.receipt is None and not each.decided for each in outcomes)
        await asyncio.wait_for(bench.engine.halted.wait(), 5)
        status = bench.engine.status()
        assert (status.serving, status.pending) == (False, 0)
        assert (status.height, status.app_hash) == (durable.height, durable.app_hash)
        assert len(status.alarms) == 1


@every_engine
async def test_a_failed_sync_halts_at_once_and_not_with_the_next_heartbeat(
    factory: Factory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(factory, tmp_path) as bench:
        monkeypatch.setattr(bench.engine, "_heartbeat", 3_600)
        bench.faults.failing = True
        assert is_error(await bench.one(transfer()), NodeError.UNKNOWN_OUTCOME, decided=False)
        await asyncio.wait_for(bench.engine.halted.wait(), 5)


@every_engine
async def test_a_last_sync_that_fails_while_the_engine_stops_is_not_hushed_up(
    factory: Factory, tmp_path: Path
) -> None:
    async with running(factory, tmp_path) as bench:
        gate = bench.faults.gate = Event()
        bench.faults.failing = True
        waiting = asyncio.create_task(bench.submit(transfer()))
        await until(lambda: bench.store.height > bench.engine.status().height)
        stopping = asyncio.create_task(bench.stop())
        await until(lambda: not bench.engine.status().serving)
        gate.set()
        await stopping
        assert is_error((await waiting)[0], NodeError.UNKNOWN_OUTCOME, decided=False)
        assert bench.engine.halted.is_set()
        assert "the disk failed" in " ".join(bench.engine.status().alarms)


@on_disk
async def test_after_a_halt_the_same_bytes_are_decided_by_the_next_engine(
    factory: Factory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raws = [transfer() for _ in range(6)]
    async with running(factory, tmp_path) as bench:
        assert all(map(is_applied, await bench.submit(*raws[:3])))
        monkeypatch.setattr(bench.ledger, "finalize_block", raising(InvariantViolated("planted")))
        assert not any(map(is_applied, await bench.submit(*raws)))
    async with running(factory, tmp_path, again=bench) as bench:
        assert all(map(is_applied, await bench.submit(*raws)))
        checked = check_ledger(bench.blocks(), world.genesis)
    assert checked.applied == check_ledger(world.blocks(), world.genesis).applied + 6


@every_engine
async def test_low_disk_refuses_new_work_reads_go_on_and_it_recovers(
    factory: Factory, tmp_path: Path
) -> None:
    async with running(factory, tmp_path) as bench:
        receipt = (await bench.one(transfer())).receipt
        assert receipt
        bench.faults.low = True
        await until(lambda: not bench.engine.status().serving)
        assert is_error(await bench.one(transfer()), NodeError.DISK_LOW, decided=False)
        assert bench.engine.find(receipt.tx_id) == (receipt.height, receipt.index)
        assert await bench.engine.between_blocks(lambda: bench.ledger.info().height) == receipt.height
        assert len(bench.engine.status().alarms) == 1
        bench.faults.low = False
        await until(lambda: bench.engine.status().serving)
        assert is_applied(await bench.one(transfer()))


@every_engine
async def test_an_idle_node_whose_store_will_never_write_again_halts(
    factory: Factory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(factory, tmp_path) as bench:
        assert is_applied(await bench.one(transfer()))
        stopped = StoreFailed("a flush failed")
        stopped.final = True

        def never_again() -> None:
            raise stopped

        monkeypatch.setattr(bench.faults, "check_space", never_again)
        await until(bench.engine.halted.is_set)
        assert is_error(await bench.one(transfer()), NodeError.STOPPED, decided=False)


@every_engine
async def test_a_disk_that_has_room_again_does_not_open_a_door_that_is_closing(
    factory: Factory, tmp_path: Path
) -> None:
    workers = SlowWorkers()
    async with running(factory, tmp_path, workers=workers) as bench:
        waiting = asyncio.create_task(bench.submit(transfer()))
        bench.faults.low = True
        await until(lambda: not bench.engine.status().serving)
        stopping = asyncio.create_task(bench.stop())
        bench.faults.low = False
        checks = bench.faults.space_checks
        await until(lambda: bench.faults.space_checks > checks + 1)
        late = await bench.one(transfer())
        workers.may_answer.set()
        await stopping
        assert is_error(late, NodeError.STARTING, decided=False)
        assert all(map(is_applied, await waiting))


@every_engine
async def test_a_store_that_fails_at_the_door_costs_no_places_in_the_queue(
    factory: Factory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(factory, tmp_path) as bench:
        with monkeypatch.context() as patch:
            patch.setattr(bench.ledger, "check_at_door", raising(StoreFailed("a shard does not read")))
            with pytest.raises(StoreFailed):
                await bench.submit(transfer(), transfer())
        assert bench.engine.status().pending == 0
        assert is_applied(await bench.one(transfer()))


@every_engine
async def test_a_verify_worker_that_dies_loses_nothing(factory: Factory, tmp_path: Path) -> None:
    workers = VerifyWorkers("international", 2)
    await workers.start()
    raws = [transfer() for _ in range(300)]
    broken = spoilt(raws[0])
    try:
        async with running(factory, tmp_path, workers=workers, queue_max=2_000) as bench:
            calls = [asyncio.create_task(bench.submit(*raws[at : at + 50])) for at in range(0, 300, 50)]
            await until(lambda: bench.engine.status().pending > 0)
            for pid in workers.pids:
                os.kill(pid, signal.SIGKILL)
            outcomes = [each for call in calls for each in await call]
            assert all(map(is_applied, outcomes))
            assert is_error(await bench.one(broken), LedgerError.BAD_SIGNATURE, decided=False)
            await until(lambda: workers.restarts == 2)
    finally:
        await workers.close()


@on_disk
async def test_what_is_acknowledged_is_in_a_copy_made_at_that_moment(
    factory: Factory, tmp_path: Path
) -> None:
    acknowledged: list[tuple[bytes, Any]] = []
    copies: list[Path] = []
    tried = 0
    async with running(factory, tmp_path) as bench:
        for number in range(8):
            raws = [transfer() for _ in range(3)]
            acknowledged += zip(raws, await bench.submit(*raws), strict=True)
            copies.append(crashed_copy(bench, tmp_path / f"copy-{number}"))
    for number, copy in enumerate(copies, 1):
        reopened = await factory.make(copy)
        for raw, outcome in acknowledged[: 3 * number]:
            tried += 1
            assert await reopened.one(raw) == outcome
        await reopened.close()
    print(f"copies of a running store: {len(copies)} tried, {tried} receipts asked for, all there")
    assert all(is_applied(outcome) for _, outcome in acknowledged)


@every_engine
async def test_the_way_of_a_block_is_decide_sync_record_tell(
    factory: Factory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(factory, tmp_path) as bench:
        calls = bench.faults.calls
        calls.clear()
        record_calls(bench, monkeypatch, calls)
        for number in range(5):
            waiting = bench.submit(*[transfer() for _ in range(number + 1)])
            assert all(map(is_applied, await waiting))
            calls.append("tell")
        steps = [call for call in calls if call not in ("finalize", "commit")]
        assert steps == ["certify", "stage", "sync", "record", "publish", "tell"] * 5
        assert calls[: calls.index("certify")][-1] == "finalize"


def record_calls(bench: Bench, monkeypatch: pytest.MonkeyPatch, calls: list[str]) -> None:
    """Write down each call of the parts' verbs before it is made (``sync`` writes itself down)."""
    for part, name, word in (
        (bench.ledger, "finalize_block", "finalize"),
        (bench.ledger, "commit", "commit"),
        (bench.ledger, "publish", "publish"),
        (bench.sequencer, "certify", "certify"),
        (bench.sequencer, "record", "record"),
        (bench.store, "stage", "stage"),
    ):
        inner = getattr(part, name)

        def call(*arguments: Any, inner: Any = inner, word: str = word) -> Any:
            calls.append(word)
            return inner(*arguments)

        monkeypatch.setattr(part, name, call)


@every_engine
@pytest.mark.parametrize("bounds", [(100_000, 4 << 20), (10_000_000, 600_000)], ids=["work", "bytes"])
async def test_a_block_keeps_its_bounds_of_work_and_bytes(
    factory: Factory, bounds: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work_max, bytes_max = bounds
    legs = tuple(("KB/main", 1, f"{number:035}") for number in range(600))
    many = op("transfers", "send_many", "PA/main", "CZK", 600, legs, b"", "")
    big = [world.make("PA", many) for _ in range(40)]
    limits = structs.replace(LIMITS, block_work_max=work_max, block_bytes_max=bytes_max)
    async with running(factory, tmp_path) as bench:
        monkeypatch.setattr(bench.ledger, "genesis", structs.replace(world.genesis, limits=limits))
        monkeypatch.setattr(bench.ledger._runner, "chain", bench.ledger.chain._replace(limits=limits))
        gate = bench.faults.gate = Event()
        calls = [asyncio.create_task(bench.submit(*big[at : at + 5])) for at in range(0, 40, 5)]
        await until(lambda: bench.engine.status().pending == 40)
        gate.set()
        outcomes = [each for call in calls for each in await call]
        assert all(each.receipt for each in outcomes)
        heights = {each.receipt.height for each in outcomes if each.receipt}
        bodies = [block.bodies for block in bench.blocks() if block.height in heights]
        work = [sum(bench.ledger.read(body).work for body in block) for block in bodies]
        size = [sum(map(len, block)) for block in bodies]
        assert max(work) <= work_max
        assert max(size) <= bytes_max
        assert max(work) > work_max // 2 or max(size) > bytes_max // 2, "and it is used"
        assert len(heights) >= 2
