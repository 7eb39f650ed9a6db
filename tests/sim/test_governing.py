"""A year of governance keeps its quorum, and every process and replay comes to the same."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from node.ledger.genesis import authority_root
from node.ledger.hashing import INTERNATIONAL
from tests.checker import check_ledger
from tests.kit import World
from tests.sim.governing import Year, decides, make_year

ROOT = Path(__file__).resolve().parents[2]
SEEDS = (1, 2, 3, 4, 5)


@pytest.fixture(scope="module", params=SEEDS)
def year(request: pytest.FixtureRequest) -> Year:
    print("seed", request.param)
    return make_year(request.param)


@pytest.mark.evidence(
    "ACT14",
    asset="consensus",
    threat="a majority takes the quorum away",
    mitigation="a pre-flight of every change",
)
def test_whoever_is_in_force_carries_every_set_that_follows(year: Year) -> None:
    """Evidence apart, which takes power at once where four others remain: they carry what is left."""
    for height in range(1, max(year.in_force) - 1):
        assert year.in_force[height]
        assert decides(year.in_force[height], year.in_force[height + 2]), height
        assert decides(year.in_force[height], year.in_force[height + 1]), height


def test_what_consensus_was_told_adds_up_to_what_the_state_says(year: Year) -> None:
    standing = year.world.ledger.standing
    assert year.in_force[max(year.in_force)] == {key.public_key: key.power for key in standing.authority}
    assert standing.authority_root == authority_root(INTERNATIONAL, standing.authority)


def test_the_year_keeps_every_invariant_and_replays(year: Year) -> None:
    checked = check_ledger(year.world.blocks(), year.world.genesis)
    assert checked.applied > 60
    assert checked.refused > 30


def test_caches_and_abandoned_blocks_change_nothing(year: Year) -> None:
    world = World(year.world.genesis, records=0, leaf_bytes=0)
    for block, app_hash in zip(year.blocks, year.app_hashes, strict=True):
        world.ledger.finalize_block(type(block)(block.height, block.time_ms + 7, block.items[::-1]))
        assert world.ledger.finalize_block(block).app_hash == app_hash
        world.ledger.commit()
        world.store.sync()
        world.ledger.publish()


def test_processes_that_hash_strings_differently_come_to_the_same() -> None:
    printed = []
    for seed in ("0", "1", "77", "4242"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        child = subprocess.run(
            [sys.executable, "-m", "tests.sim.governing", "1"],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        printed.append(child.stdout.split())
    assert all(lines == printed[0] for lines in printed)
    assert printed[0] == [app_hash.hex() for app_hash in make_year(1).app_hashes]


def test_the_years_are_worth_running() -> None:
    """Of each way in which a proposal can end there is something, and power moved."""
    ended: Counter[str] = Counter()
    codes: Counter[tuple[str, int]] = Counter()
    sets = 0
    for seed in SEEDS:
        year = make_year(seed)
        ended.update(row.status for row in year.world.rows("governance", "proposal").values())
        codes += year.outcomes
        sets += len({tuple(sorted(powers.items())) for powers in year.in_force.values()})
    print(dict(ended), "sets in force:", sets, {f"{space}/{code}": n for (space, code), n in codes.items()})
    assert set(ended) >= {"executed", "failed", "rejected", "expired", "withdrawn"}
    assert sets > 20
    assert len(codes) > 12
