"""One day, many ledgers, one snapshot: the same bytes from every store, and whoever takes it in goes on as if
it had always been there.
"""

import threading
from functools import partial
from pathlib import Path

import pytest

from node.ledger.snapshot import Snapshot
from node.storage.sharded import ShardedStore
from tests.sim.workload import Day, make_day
from tests.snapshot_kit import Bank, carry, in_memory, on_disk, reopened

SEEDS = (3, 11)
CUTS = (5, 20, 45)
SHARDS = (1, 8, 64)


@pytest.fixture(scope="module", params=SEEDS)
def day(request: pytest.FixtureRequest) -> Day:
    return make_day(request.param)


def test_every_store_cuts_the_same_bytes_and_whoever_takes_them_in_goes_on_alike(
    day: Day, tmp_path: Path
) -> None:
    banks: dict[str, Bank] = {"memory": in_memory(day.genesis)}
    banks |= {f"{shards} shards": on_disk(day.genesis, tmp_path / f"{shards}", shards) for shards in SHARDS}
    for bank in banks.values():
        bank.begin()
    done = carried = 0
    for cut in CUTS:
        for bank in banks.values():
            assert bank.run(day.blocks[done:cut]) == day.app_hashes[done:cut]
        banks["8 shards"].store.flush()
        cuts = [bank.snapshot() for bank in banks.values()]
        assert all(one == cuts[0] for one in cuts)
        snapshot, chunks = cuts[0]
        head = banks["memory"].ledger.info()
        shards = SHARDS[CUTS.index(cut)]
        path = tmp_path / f"taken-{cut}"
        for number, target in enumerate((in_memory(day.genesis), on_disk(day.genesis, path, shards))):
            carry(snapshot, chunks, head.app_hash, target)
            assert target.snapshot() == (snapshot, chunks)
            middle = (cut + len(day.blocks)) // 2
            assert target.run(day.blocks[cut:middle]) == day.app_hashes[cut:middle]
            if number:
                target.store.close()
                target = reopened(day.genesis, path)  # noqa: PLW2901
                assert target.store.reports == []  # type: ignore[union-attr]
            later = target.snapshot()
            assert target.run(day.blocks[middle:]) == day.app_hashes[middle:]
            last = target.snapshot()
            assert later != last
            target.store.close()
            carried += 1
            if number == 0:
                again = in_memory(day.genesis)
                carry(*last, day.app_hashes[-1], again)
        done = cut
    for bank in banks.values():
        bank.run(day.blocks[done:])
    assert all(bank.snapshot() == last for bank in banks.values())
    for bank in banks.values():
        bank.store.close()
    print(
        f"snapshots: {len(CUTS)} cuts from {len(banks)} stores alike, {carried} taken in and continued alike"
    )


def test_snapshots_are_made_beside_the_commits_at_the_same_heights_everywhere(
    day: Day, tmp_path: Path
) -> None:
    every, shards = 10, 8
    plain, busy = in_memory(day.genesis).begin(), on_disk(day.genesis, tmp_path / "busy", shards).begin()
    assert isinstance(busy.store, ShardedStore)
    busy.store.snapshot_every = every
    expected: dict[int, tuple[Snapshot, list[bytes]]] = {}
    makers: list[threading.Thread] = []
    before = 0
    for at in range(len(day.blocks)):
        plain.run(day.blocks[at : at + 1])
        assert busy.run(day.blocks[at : at + 1]) == day.app_hashes[at : at + 1]
        height = plain.store.height
        if height // every > before // every:
            expected[height] = plain.snapshot()
        before = height
        view = busy.store.due_snapshot()
        if view:
            make = partial(busy.store.make_snapshot, view, share=0.5, keep=100)
            makers.append(threading.Thread(target=make))
            makers[-1].start()
    for maker in makers:
        maker.join(60)
    assert [one.height for one in busy.store.snapshots()] == sorted(expected, reverse=True)
    for one in busy.store.snapshots():
        chunks = [busy.store.snapshot_chunk(one.height, at) for at in range(one.chunks)]
        assert (one, chunks) == expected[one.height]
    busy.store.close()
    print(f"made beside {len(day.blocks)} blocks: {len(expected)} snapshots, as a store at rest makes them")
    assert len(expected) > 3
