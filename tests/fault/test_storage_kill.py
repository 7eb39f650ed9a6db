"""Killed at any write, or out of disk at any block: every acknowledged block is there when the store opens
again.
"""

import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.ledger.hashing import INTERNATIONAL
from node.storage import layout
from node.storage.errors import StorageCode, StorageError
from node.storage.sharded import ShardedStore
from tests.fault.storage_child import BUDGET, SHARDS, chain_of
from tests.storage_blocks import LIFETIME_MS, Model, check_store, stored

CHILD = Path(__file__).with_name("storage_child.py")
SEED = 31
BEFORE = 8
BLOCKS = 20
CALLS = {"write": 90, "fdatasync": 45, "fsync": 14, "rename": 7, "unlink": 10, "openat": 240, "pwrite64": 12}


def killed(path: Path, start: int, call: str, number: int) -> list[int]:
    """Let a child write blocks ``start`` to BLOCKS until its ``number``-th ``call`` kills it; what it
    acknowledged.
    """
    inject = f"inject={call}:signal=KILL:when={number}"
    command = ["strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={call}", "-e", inject]
    done = subprocess.run(
        [*command, sys.executable, CHILD, "write", path, str(SEED), str(start), str(BLOCKS)],
        env={"PYTHONPATH": ".", "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return [int(line) for line in done.stdout.split()]


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the first blocks, as a crash leaves it."""
    place = tmp_path_factory.mktemp("begun")
    store = ShardedStore.create(
        place / "data", INTERNATIONAL, shards=SHARDS, budget=BUDGET, lifetime_ms=LIFETIME_MS
    )
    for record in chain_of(SEED, BEFORE).blocks:
        store.stage(record)
        store.sync()
    shutil.copytree(place / "data", place / "crashed")
    store.close()
    return place / "crashed"


@pytest.mark.needs("strace")
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.evidence(
    "ENG1",
    asset="acknowledged transactions",
    threat="SIGKILL at any write",
    mitigation="one synced batch a block",
)
def test_every_acknowledged_block_survives_a_kill_at_any_write(
    call: str, begun: Path, tmp_path: Path
) -> None:
    chance = random.Random(call)
    tried: Counter[str] = Counter()
    for number in sorted(chance.sample(range(1, CALLS[call]), min(7, CALLS[call] - 1))):
        path = tmp_path / str(number)
        shutil.copytree(begun, path)
        acknowledged = killed(path, BEFORE, call, number)
        tried["killed" if acknowledged != list(range(BEFORE + 1, BLOCKS + 1)) else "ran to the end"] += 1
        least = acknowledged[-1] if acknowledged else BEFORE
        with ShardedStore.open(path, INTERNATIONAL, budget=BUDGET, lifetime_ms=LIFETIME_MS) as store:
            assert store.durable_count >= least
            assert store.durable_count <= least + 1
            assert store.reports == []
            check_store(store, chain_of(SEED, BLOCKS).blocks[: store.durable_count], store.durable_count)
        shutil.rmtree(path)
    print(f"kill at {call}: {tried.total()} tried, {tried.total()} held: {dict(tried)}")
    assert tried["killed"] > 0


@pytest.mark.needs("strace")
@pytest.mark.parametrize("call", ["write", "fsync", "rename", "mkdir"])
def test_a_kill_while_the_directory_is_made_leaves_it_unmade_or_whole(call: str, tmp_path: Path) -> None:
    outcomes: Counter[str] = Counter()
    for number in {"write": (5, 25, 50), "fsync": (2, 9, 14), "rename": (2, 7, 12), "mkdir": (2, 4, 9)}[call]:
        path = tmp_path / str(number)
        acknowledged = killed(path, 0, call, number)
        if (path / layout.VERSION).exists():
            outcomes["whole"] += 1
            store = ShardedStore.open(path, INTERNATIONAL, budget=BUDGET, lifetime_ms=LIFETIME_MS)
        else:
            outcomes["unmade"] += 1
            assert acknowledged == []
            store = ShardedStore.create(path, INTERNATIONAL, shards=SHARDS, lifetime_ms=LIFETIME_MS)
        with store:
            assert store.durable_count >= len(acknowledged)
            check_store(store, chain_of(SEED, BLOCKS).blocks[: store.durable_count], store.durable_count)
    print(
        f"kill at {call} while creating: {outcomes.total()} tried, {outcomes.total()} held: {dict(outcomes)}"
    )


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, grown by remounting."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.needs("mount")
@pytest.mark.evidence(
    "ENG1",
    asset="acknowledged transactions",
    threat="SIGKILL at any write",
    mitigation="one synced batch a block",
)
def test_a_full_disk_stops_writing_loses_nothing_and_lets_reads_go_on(small_disk: Path) -> None:
    held = 0
    refused = None
    for number, kibibytes in enumerate((500, 700, 900, 1_150, 1_300, 1_700)):
        path = small_disk / "data"
        subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
        store = ShardedStore.create(
            path, INTERNATIONAL, shards=SHARDS, budget=BUDGET, lifetime_ms=LIFETIME_MS
        )
        subprocess.run(["mount", "-o", f"remount,size={kibibytes}k", small_disk], check=True)
        chain = chain_of(number, 600)
        acknowledged = 0
        while acknowledged < len(chain.blocks):
            try:
                store.stage(chain.blocks[acknowledged])
                store.sync()
            except StorageError as error:
                refused = error.error
                break
            acknowledged += 1
        assert refused is StorageCode.DISK_LOW
        with pytest.raises(StorageError) as caught:
            store.sync()
        assert caught.value.error is StorageCode.DISK_LOW
        durable = store.durable_count
        assert durable >= acknowledged
        seen = chain.blocks[:durable]
        assert list(store.snapshot().scan(b"")) == Model(seen).rows()
        assert list(store.blocks()) == [stored(block) for block in seen]
        store.close()
        subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
        with ShardedStore.open(path, INTERNATIONAL, budget=BUDGET, lifetime_ms=LIFETIME_MS) as found:
            assert found.durable_count >= acknowledged
            check_store(found, chain.blocks[: found.durable_count], found.durable_count)
            more = chain_of(number, found.durable_count + 1).blocks[-1]
            found.stage(more)
            assert found.sync() == more.height
        shutil.rmtree(path)
        held += acknowledged > 0
    print(f"full disks: 6 tried, {held} held")
    assert held == 6
