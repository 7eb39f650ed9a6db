"""Many ledgers, one order: the same receipts and app hashes, whatever differs between the nodes."""

import hashlib
import os
import subprocess
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from node.keys.verify import VERIFIERS
from node.ledger.errors import Rejected
from node.ledger.hashing import GUOMI, INTERNATIONAL
from node.ledger.ledger import Discarded, Finalized
from node.ledger.transactions import Candidate
from node.ledger.types import Receipt
from tests import commitments
from tests.checker import check_ledger
from tests.kit import START_MS, World, refusal, using
from tests.sim.workload import Day, make_day

ROOT = Path(__file__).resolve().parents[2]
SEEDS = (1, 2, 3, 4)
GUOMI_SEED = 5


@pytest.fixture(scope="module", params=[*SEEDS, GUOMI_SEED])
def day(request: pytest.FixtureRequest) -> Day:
    """A day of each seed; the last is one of a chain of the suite guomi."""
    print("seed", request.param)
    with using(GUOMI if request.param == GUOMI_SEED else INTERNATIONAL):
        return make_day(request.param)


def run(
    world: World, day: Day, *, repeats: bool = False, stage: int = 1, door: bool = False
) -> list[Finalized]:
    """Run the day's blocks. repeats: run other orders before. stage: blocks a sync. door: judge before."""
    results = []
    for number, block in enumerate(day.blocks):
        if door:
            for raw in block.items:
                try_door(world, raw)
        if repeats:
            for items in (block.items[::-1], block.items[: number % 5], ()):
                world.ledger.finalize_block(type(block)(block.height, block.time_ms + number, items))
        finalized = world.ledger.finalize_block(block)
        world.ledger.commit()
        if number % stage == stage - 1:
            world.store.sync()
            world.ledger.publish()
        results.append(finalized)
    world.store.sync()
    return results


def try_door(world: World, raw: bytes | Candidate) -> None:
    assert isinstance(raw, bytes)
    try:
        world.knock(raw)
    except Rejected:
        return


@pytest.mark.parametrize(
    ("records", "leaf_bytes", "repeats", "stage", "door"),
    [
        (100_000, 64 * 1024 * 1024, False, 1, False),
        (0, 64 * 1024 * 1024, False, 1, False),
        (10, 0, False, 7, False),
        (100_000, 2_000, True, 1, False),
        (10, 2_000, True, 100, True),
        (0, 0, True, 3, True),
        (50, 10**6, False, 1, True),
    ],
)
def test_caches_repeats_and_grouping_change_nothing(
    day: Day, records: int, leaf_bytes: int, repeats: bool, stage: int, door: bool
) -> None:
    world = World(day.genesis, records=records, leaf_bytes=leaf_bytes)
    results = run(world, day, repeats=repeats, stage=stage, door=door)
    assert [result.app_hash for result in results] == day.app_hashes
    records_made = [result.record for result in results if result.record]
    assert records_made == day.world.blocks()[1:]


def test_a_ledger_that_is_opened_anew_before_every_block_comes_to_the_same(day: Day) -> None:
    first = World(day.genesis)
    for block, app_hash in zip(day.blocks, day.app_hashes, strict=True):
        again = World(day.genesis, store=first.store, records=5, leaf_bytes=1_000)
        assert again.ledger.finalize_block(block).app_hash == app_hash
        again.ledger.commit()
        first.store.sync()


@pytest.mark.evidence(
    "TX6", asset="balances", threat="money appears or vanishes", mitigation="one checker of invariants"
)
def test_the_day_keeps_every_invariant(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    if day.genesis.suite == GUOMI.name:  # the checker calls its own hash by name
        monkeypatch.setattr(commitments, "hashlib", SimpleNamespace(sha256=partial(hashlib.new, "sm3")))
    verifier = VERIFIERS[day.genesis.suite]()
    checked = check_ledger(day.world.blocks(), day.genesis, verifier=verifier)
    assert checked.applied > 60
    assert checked.refused > 50
    assert checked.system > 3
    assert checked.movements > 60


def test_the_day_is_worth_running() -> None:
    """Of each kind of outcome there is something, or the comparisons above would say little."""
    counted: Counter[str] = Counter()
    for seed in SEEDS:
        day = make_day(seed)
        for result in run(World(day.genesis), day):
            for outcome in result.outcomes:
                kind = "discarded" if isinstance(outcome, Discarded) else "decided"
                counted[f"{kind} {refusal(outcome)}"] += 1
                counted[kind] += 1
            counted["quiet"] += result.record is None
            assert result.time_ms > START_MS
    assert all(isinstance(count, int) for count in counted.values())
    print(dict(counted))
    assert counted["quiet"] > 2
    assert counted["decided"] > 300
    assert counted["discarded"] > 100
    assert len(counted) > 25


def test_processes_that_hash_strings_differently_come_to_the_same() -> None:
    printed = []
    for seed in ("0", "1", "4242"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        child = subprocess.run(
            [sys.executable, "-m", "tests.sim.workload", "1"],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        printed.append(child.stdout.split())
    assert printed[0] == printed[1] == printed[2]
    assert printed[0][:-1] == [app_hash.hex() for app_hash in make_day(1).app_hashes]
    assert len(set(printed[0])) > 30


def test_another_seed_is_another_day() -> None:
    assert len({make_day(seed).app_hashes[-1] for seed in SEEDS}) == len(SEEDS)


def test_a_receipt_says_what_the_other_ledger_says(day: Day) -> None:
    mine, theirs = run(World(day.genesis), day), run(World(day.genesis, records=0), day, repeats=True)
    for one, other in zip(mine, theirs, strict=True):
        assert one.outcomes == other.outcomes
        assert one.alarms == other.alarms == ()
    assert any(
        isinstance(outcome, Receipt) and outcome.events for result in mine for outcome in result.outcomes
    )
