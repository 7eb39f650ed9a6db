"""What every engine answers: outcomes in order, each transaction once, the first outcome for the same bytes,
OVERLOADED at once.
"""

import asyncio
from pathlib import Path
from threading import Event

import pytest

from node.engine.engine import Outcome
from node.engine.errors import NodeError
from node.ledger.errors import LedgerError
from tests.engine.kit import (
    FACTORIES,
    LIMITS,
    NOW_MS,
    Factory,
    SlowWorkers,
    is_applied,
    is_error,
    running,
    transfer,
    until,
    world,
)
from tests.kit import officer, op, pay, spoilt

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.parametrize("factory", FACTORIES, ids=lambda factory: factory.name),
]


def seen(outcomes: list[Outcome]) -> list[str]:
    """Each outcome in a word."""
    return [
        ("applied" if is_applied(each) else "refused")
        if each.receipt
        else each.error.name
        if each.error
        else "?"
        for each in outcomes
    ]


async def test_outcomes_come_in_the_order_of_the_items_whatever_becomes_of_them(
    factory: Factory, tmp_path: Path
) -> None:
    async with running(factory, tmp_path) as bench:
        stranger = transfer(officers=("KB-officer",))
        outcomes = await bench.submit(transfer(), b"nonsense", transfer(10**9), stranger, transfer(2))
        assert seen(outcomes) == ["applied", "MALFORMED", "refused", "UNKNOWN_KEY", "applied"]
        assert outcomes[2].receipt
        assert outcomes[2].receipt.codespace == "assets"
        assert [each.decided for each in outcomes if each.error] == [False, False]
        assert bench.engine.status().height == bench.store.headers(0, 10_000)[-1].height


async def test_the_receipt_that_is_told_is_the_one_that_is_stored(factory: Factory, tmp_path: Path) -> None:
    async with running(factory, tmp_path) as bench:
        receipt = (await bench.one(transfer())).receipt
        assert receipt
        assert bench.engine.find(receipt.tx_id) == (receipt.height, receipt.index)
        assert bench.engine.find(bytes(32)) is None
        again = (await bench.one(transfer())).receipt
        assert again
        assert again.height > receipt.height


async def test_the_same_bytes_get_the_first_outcome_in_the_queue_in_the_block_and_later(
    factory: Factory, tmp_path: Path
) -> None:
    async with running(factory, tmp_path) as bench:
        for raw in (transfer(), transfer(10**9)):  # one is applied, one refused
            gate = bench.faults.gate = Event()
            waiting = [asyncio.create_task(bench.submit(raw, raw))]
            waiting += [asyncio.create_task(bench.submit(raw)) for _ in range(3)]
            await until(lambda: bench.engine.status().pending == 5)
            gate.set()
            outcomes = [each for task in waiting for each in await task]
            outcomes += await bench.submit(raw)
            assert {each.receipt for each in outcomes} == {outcomes[0].receipt}
            assert outcomes[0].receipt
        assert world.balance("KB/main")[0] + 1 == balance(bench, "KB/main")


def balance(bench: object, account: str) -> int:
    """Posted CZK."""
    readers = bench.ledger.readers  # type: ignore[attr-defined]
    return int(readers["assets"].balance.get(account, "CZK").posted)


async def test_the_same_bytes_get_the_first_outcome_after_their_key_was_revoked(
    factory: Factory, tmp_path: Path
) -> None:
    async with running(factory, tmp_path) as bench:
        paid, other = transfer(1), transfer(2)
        first = await bench.one(paid)
        revocation = world.make("PA", op("members", "revoke_key", officer("PA-officer").key_id))
        revoked = await bench.one(revocation)
        assert seen([first, revoked]) == ["applied", "applied"]
        assert (await bench.one(paid)).receipt == first.receipt
        assert (await bench.one(revocation)).receipt == revoked.receipt
        assert is_error(await bench.one(other), LedgerError.KEY_NOT_ACTIVE, decided=False)


async def test_the_same_bytes_get_the_first_outcome_after_a_restart(factory: Factory, tmp_path: Path) -> None:
    applied, refused = transfer(), transfer(10**9)
    async with running(factory, tmp_path) as bench:
        first = await bench.submit(applied, refused)
    async with running(factory, tmp_path, again=bench) as bench:
        assert await bench.submit(applied, refused) == first
        assert seen(first) == ["applied", "refused"]


async def test_a_request_id_with_other_content_names_its_spender_and_is_decided(
    factory: Factory, tmp_path: Path
) -> None:
    spent = world.new_request_id()
    async with running(factory, tmp_path) as bench:
        first, second = await bench.submit(transfer(1, use_id=spent), transfer(2, use_id=spent))
        third = await bench.one(transfer(3, use_id=spent))
        assert first.receipt
        for other in (second, third):
            assert is_error(other, LedgerError.REQUEST_ID_SPENT, decided=True)
            assert other.details["spent_by"] == first.receipt.tx_id.hex()


async def test_what_is_dead_by_time_is_decided_and_what_is_not_yet_alive_is_not(
    factory: Factory, tmp_path: Path
) -> None:
    async with running(factory, tmp_path) as bench:
        dead, past, future = await bench.submit(
            transfer(created_ms=NOW_MS - LIMITS.lifetime_ms - 1),
            transfer(valid_until_ms=NOW_MS - 1),
            transfer(created_ms=NOW_MS + 60_002),
        )
        assert is_error(dead, LedgerError.EXPIRED, decided=True)
        assert is_error(past, LedgerError.EXPIRED, decided=True)
        assert is_error(future, LedgerError.NOT_YET_ALIVE, decided=False)


async def test_dead_bytes_that_were_decided_alive_get_their_first_outcome(
    factory: Factory, tmp_path: Path
) -> None:
    async with running(factory, tmp_path) as bench:
        raw = transfer(valid_until_ms=NOW_MS + 5_000)
        first = await bench.one(raw)
        bench.clock.now_ms += 10_000
        assert is_applied(first)
        assert await bench.one(raw) == first
        assert is_error(await bench.one(transfer(valid_until_ms=NOW_MS)), LedgerError.EXPIRED, decided=True)
    async with running(factory, tmp_path, again=bench) as bench:
        assert await bench.one(raw) == first


async def test_dead_bytes_whose_block_is_still_running_get_its_outcome(
    factory: Factory, tmp_path: Path
) -> None:
    async with running(factory, tmp_path) as bench:
        raw = transfer(valid_until_ms=NOW_MS + 5_000)
        gate = bench.faults.gate = Event()
        first = asyncio.create_task(bench.one(raw))
        await until(lambda: bench.store.height > bench.engine.status().height)
        bench.clock.now_ms += 10_000
        second = asyncio.create_task(bench.one(raw))
        await until(lambda: bench.engine.status().pending == 2)
        gate.set()
        assert is_applied(await first)
        assert await second == await first


async def test_nobody_is_told_of_a_time_before_the_receipts_up_to_it(
    factory: Factory, tmp_path: Path
) -> None:
    async with running(factory, tmp_path) as bench:
        gate = bench.faults.gate = Event()
        waiting = [asyncio.create_task(bench.one(transfer(valid_until_ms=NOW_MS + 5_000)))]
        await until(lambda: bench.store.height > bench.engine.status().height)
        bench.clock.now_ms += 10_000
        waiting.append(asyncio.create_task(bench.one(transfer())))
        await until(lambda: bench.ledger.time_ms >= bench.clock.now_ms)
        told = bench.engine.status().time_ms
        gate.set()
        outcomes = await asyncio.gather(*waiting)
        assert told < NOW_MS + 5_000, "past the deadline, and the receipt not to be seen"
        assert all(map(is_applied, outcomes))
        assert bench.engine.status().time_ms >= NOW_MS + 10_000


async def test_dead_and_spent_bytes_are_not_ordered_with_broken_signatures(
    factory: Factory, tmp_path: Path
) -> None:
    spent = world.make("PA", op("members", "revoke_key", officer("PA-officer").key_id))
    dead = transfer(valid_until_ms=NOW_MS - 1)
    stranger = world.sign(
        world.body("PA", pay("PA/main", "KB/main", 1), valid_until_ms=NOW_MS - 1), "KB-officer"
    )
    async with running(factory, tmp_path) as bench:
        assert is_applied(await bench.one(spent))
        for raw in (spoilt(dead), spoilt(spent)):
            assert is_error(await bench.one(raw), LedgerError.BAD_SIGNATURE, decided=False)
        assert is_error(await bench.one(stranger), LedgerError.UNKNOWN_KEY, decided=False)
        assert bench.engine.counters.discarded == 0
        assert is_error(await bench.one(dead), LedgerError.EXPIRED, decided=True)
        assert is_applied(await bench.one(spent))


async def test_a_copy_with_stripped_or_broken_signatures_burns_nothing(
    factory: Factory, tmp_path: Path
) -> None:
    body = world.body("PA", pay("PA/main", "KB/main", 1))
    good = world.sign(body, "PA-officer")
    broken = spoilt(good)
    stranger = world.sign(body, "KB-officer")
    async with running(factory, tmp_path) as bench:
        outcomes = await bench.submit(broken, stranger, good)
        assert seen(outcomes) == ["BAD_SIGNATURE", "UNKNOWN_KEY", "applied"]
        assert not any(each.decided for each in outcomes[:2])
        body = world.body("PA", pay("PA/main", "KB/main", 1))
        stripped = world.sign(body)
        (first,), (second,) = await bench.submit(stripped), await bench.submit(world.sign(body, "PA-officer"))
        assert first.receipt is None
        assert not first.decided
        assert is_applied(second)


async def test_a_full_queue_refuses_exactly_the_surplus_at_once_and_loses_nothing(
    factory: Factory, tmp_path: Path
) -> None:
    async with running(factory, tmp_path, queue_max=20) as bench:
        gate = bench.faults.gate = Event()
        raws = [transfer() for _ in range(50)]
        first = asyncio.create_task(bench.submit(*raws[:15]))
        await until(lambda: bench.engine.status().pending == 15)
        second = asyncio.create_task(bench.submit(*raws[15:30]))
        await until(lambda: bench.engine.status().pending == 20)
        began = asyncio.get_running_loop().time()
        third = await bench.submit(*raws[30:])
        assert asyncio.get_running_loop().time() - began < 1
        assert not first.done()
        assert all(is_error(each, NodeError.OVERLOADED, decided=False) for each in third)
        gate.set()
        told = seen([*await first, *await second])
        assert told == ["applied"] * 20 + ["OVERLOADED"] * 10
        assert bench.engine.status().pending == 0
        assert seen(await bench.submit(*raws[25:45])) == ["applied"] * 20, (
            "what was turned away can come again"
        )


async def test_a_caller_that_goes_away_does_not_take_its_transactions_or_its_places_along(
    factory: Factory, tmp_path: Path
) -> None:
    workers = SlowWorkers()
    async with running(factory, tmp_path, queue_max=4, workers=workers) as bench:
        raws = [transfer() for _ in range(4)]
        caller = asyncio.ensure_future(bench.engine.submit(raws))
        await until(lambda: bench.engine.status().pending == 4)
        caller.cancel()
        await asyncio.wait([caller])
        workers.may_answer.set()
        await until(lambda: bench.engine.status().pending == 0)
        assert balance(bench, "KB/main") == world.balance("KB/main")[0] + 4
        assert seen(await bench.submit(*raws)) == ["applied"] * 4


async def test_a_multi_operation_transaction_is_all_or_nothing(factory: Factory, tmp_path: Path) -> None:
    async with running(factory, tmp_path) as bench:
        both = world.make("PA", pay("PA/main", "KB/main", 5), pay("PA/main", "KB/main", 10**9))
        outcome = await bench.one(both)
        assert outcome.receipt
        assert outcome.receipt.failed_operation == 2
        assert balance(bench, "KB/main") == world.balance("KB/main")[0]
        unknown = await bench.one(world.make("PA", op("transfers", "nothing")))
        assert unknown.receipt
        assert unknown.receipt.code == LedgerError.UNKNOWN_METHOD.code
