"""Killed at any write while a snapshot is made or taken in, or a log is pruned: what is found then is as it
was before or as it should be after.
"""

import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from node.ledger.hashing import INTERNATIONAL
from node.storage import layout
from node.storage.sharded import ShardedStore
from tests.fault.snapshot_child import SHARDS, install
from tests.sim.workload import Day, make_day
from tests.snapshot_kit import BUDGET, on_disk, reopened

CHILD = Path(__file__).with_name("snapshot_child.py")
CUT, PRUNED, HEAD = 24, 20, 36
TRIES = 4
LAST = 24
"""Half of the kills fall among so many last calls, where things are put in place."""
INSTALL = ("write", "fdatasync", "fsync", "rename", "unlink", "mkdir", "openat")
PRUNE = ("write", "fdatasync", "unlink", "openat")
MAKE = ("write", "fsync", "rename", "unlinkat", "openat")


@cache
def day() -> Day:
    return make_day(13)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed directory with a snapshot at CUT and blocks up to HEAD."""
    path = tmp_path_factory.mktemp("kept") / "data"
    bank = on_disk(day().genesis, path, SHARDS).begin()
    bank.run(day().blocks[:CUT])
    bank.snapshot()
    bank.run(day().blocks[CUT:HEAD])
    bank.store.close()
    return path


def traced(call: str, *words: str | Path, kill_at: int | None = None) -> tuple[bool, int]:
    """Run the child under strace; whether it came to its end, and how many of these calls there were."""
    log = Path(str(words[1]) + ".trace")
    inject = () if kill_at is None else ("-e", f"inject={call}:signal=KILL:when={kill_at}")
    done = subprocess.run(
        ["strace", "-f", "-qq", "-o", log, "-e", f"trace={call}", *inject, sys.executable, CHILD, *words],
        env={"PYTHONPATH": ".", "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if kill_at is None:
        assert done.stdout == "done\n", done.stderr
    return done.stdout == "done\n", len(log.read_text(encoding="utf-8").splitlines())


def places(call: str, *words: str | Path) -> list[int]:
    """At which of its calls to kill the child."""
    _, count = traced(call, *words)
    chance = random.Random(call)
    last = range(max(1, count - LAST), count + 1)
    chosen = chance.sample(last, min(TRIES // 2, len(last)))
    return sorted({*chosen, *(chance.randint(1, count) for _ in range(TRIES // 2))})


def told(call: str, while_: str, outcomes: Counter[str]) -> None:
    count = outcomes.total()
    print(f"kill at {call} while {while_}: {count} tried, {count} held: {dict(outcomes)}")


def check_whole(path: Path, blocks: int) -> ShardedStore:
    """The directory opens without a complaint, stands after so many of the day's blocks and goes on."""
    bank = reopened(day().genesis, path)
    store = bank.store
    assert isinstance(store, ShardedStore)
    assert store.reports == []
    assert bank.ledger.info().app_hash == day().app_hashes[blocks - 1]
    assert bank.run(day().blocks[blocks:]) == day().app_hashes[blocks:]
    store.close()
    return store


@pytest.mark.needs("strace")
@pytest.mark.parametrize("call", INSTALL)
def test_a_kill_while_a_snapshot_is_taken_in_leaves_nothing_or_all_of_it(
    call: str, kept: Path, tmp_path: Path
) -> None:
    outcomes: Counter[str] = Counter()
    for number in places(call, "install", tmp_path / "trial", kept):
        path = tmp_path / str(number)
        ended, _ = traced(call, "install", path, kept, kill_at=number)
        if not (path / layout.VERSION).exists():
            outcomes["no directory"] += 1
        else:
            with ShardedStore.open(path, INTERNATIONAL, budget=BUDGET) as store:
                assert store.reports == []
                assert not (path / layout.INSTALLING).exists()
                assert store.height in (0, day().blocks[CUT - 1].height)
                outcomes["all" if store.height else "nothing"] += 1
        assert not ended or outcomes["all"]
        install(path, kept).store.close()
        check_whole(path, CUT)
        shutil.rmtree(path)
    print(
        f"kill at {call} while taking in: {outcomes.total()} tried, {outcomes.total()} held: {dict(outcomes)}"
    )


@pytest.mark.needs("strace")
@pytest.mark.parametrize("call", PRUNE)
def test_a_kill_while_a_log_is_pruned_leaves_it_long_or_short(call: str, kept: Path, tmp_path: Path) -> None:
    height = day().blocks[PRUNED].height
    shutil.copytree(kept, tmp_path / "trial")
    outcomes: Counter[str] = Counter()
    for number in places(call, "prune", tmp_path / "trial", str(height)):
        path = tmp_path / str(number)
        shutil.copytree(kept, path)
        traced(call, "prune", path, str(height), kill_at=number)
        first = check_whole(path, HEAD).first_position
        outcomes["short" if first else "long"] += 1
        with ShardedStore.open(path, INTERNATIONAL, budget=BUDGET) as store:
            assert (store.prune(height) > 0) == (first == 0)
            assert store.log._get(layout.PRUNING) is None
            assert list(store.log._surplus(store.log.base)) == []  # type: ignore[arg-type]
        shutil.rmtree(path)
    print(
        f"kill at {call} while pruning: {outcomes.total()} tried, {outcomes.total()} held: {dict(outcomes)}"
    )


@pytest.mark.needs("strace")
@pytest.mark.parametrize("call", MAKE)
def test_a_kill_while_a_snapshot_is_made_leaves_none_or_a_whole_one(
    call: str, kept: Path, tmp_path: Path
) -> None:
    shutil.copytree(kept, tmp_path / "trial")
    outcomes: Counter[str] = Counter()
    for number in places(call, "make", tmp_path / "trial"):
        path = tmp_path / str(number)
        shutil.copytree(kept, path)
        traced(call, "make", path, kill_at=number)
        with ShardedStore.open(path, INTERNATIONAL, budget=BUDGET) as store:
            made = [one.height for one in store.snapshots()]
            for height in made:
                store.checked_snapshot(height)
            assert not list((path / layout.SNAPSHOTS).glob("*.tmp"))
            outcomes["whole" if store.height in made else "none"] += 1
        check_whole(path, HEAD)
        shutil.rmtree(path)
    told(call, "making", outcomes)
