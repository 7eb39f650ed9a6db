"""The store on disk across closing, crashes, re-sharding and lost parts. A crash is a copy of the directory
while it is open.
"""

import random
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from node.ledger.codec import encode
from node.ledger.hashing import INTERNATIONAL
from node.ledger.types import BlockRecord, Limits
from node.storage import directory, layout
from node.storage.errors import StorageCode, StorageError
from node.storage.reshard import reshard
from node.storage.sharded import Budget, ShardedStore
from node.storage.spent import lifetime_of
from tests.kit import make_genesis
from tests.storage_blocks import LIFETIME_MS, Chain, check_store


def create(path: Path, shards: int = 3, **options: Any) -> ShardedStore:
    return ShardedStore.create(path, INTERNATIONAL, shards=shards, lifetime_ms=LIFETIME_MS, **options)


def reopen(path: Path, **options: Any) -> ShardedStore:
    return ShardedStore.open(path, INTERNATIONAL, lifetime_ms=LIFETIME_MS, **options)


def crashed(store: ShardedStore, target: Path) -> Path:
    """What a crash now would leave of the store's directory."""
    shutil.copytree(store.path, target)
    return target


def filled(path: Path, blocks: int, shards: int = 3) -> list[BlockRecord]:
    """A closed data directory with ``blocks`` blocks."""
    chain = Chain(seed=blocks)
    with create(path, shards) as store:
        for _ in range(blocks):
            store.stage(chain.next(writes=20, transactions=3))
            store.sync()
    return chain.blocks


def refused(path: Path, **options: Any) -> StorageError:
    with pytest.raises(StorageError) as caught:
        reopen(path, **options).close()
    return caught.value


def test_a_crash_loses_what_was_staged_and_nothing_that_was_synced(tmp_path: Path) -> None:
    chain = Chain(seed=4)
    store = create(tmp_path / "data")
    for number in range(40):
        store.stage(chain.next())
        store.sync()
        if number % 8 == 0:
            store.stage(chain.next())
            with reopen(crashed(store, tmp_path / f"crash{number}")) as found:
                assert found.reports == []
                check_store(found, chain.blocks[:-1], len(chain.blocks) - 1)
            store.sync()
    store.close()


def test_closing_flushes_so_that_the_next_open_replays_nothing(tmp_path: Path) -> None:
    blocks = filled(tmp_path / "data", 5)
    with reopen(tmp_path / "data") as store:
        assert store.layers == ()
        check_store(store, blocks, len(blocks))


def test_layers_are_dropped_once_every_shard_has_them(tmp_path: Path) -> None:
    chain = Chain(seed=8)
    with create(tmp_path / "data") as store:
        most = 0
        for _ in range(100):
            store.stage(chain.next(writes=10, transactions=1))
            store.sync()
            most = max(most, len(store.layers))
        assert most <= 40
        assert store._newest == {key: store.get(key) for layer in store.layers for key, _ in layer.writes}


@pytest.mark.parametrize("shards", [1, 3, 8, 256])
def test_the_number_of_shards_changes_nothing_but_files(tmp_path: Path, shards: int) -> None:
    chain = Chain(seed=6)
    with create(tmp_path / "data", shards) as store:
        for _ in range(20):
            store.stage(chain.next(writes=60))
            store.sync()
        check_store(store, chain.blocks, 20)
    with reopen(tmp_path / "data") as store:
        assert store.shard_count == shards
        check_store(store, chain.blocks, 20)
    assert len([path for path in (tmp_path / "data/state").iterdir() if path.is_dir()]) == shards


@pytest.mark.parametrize(("before", "after"), [(1, 8), (8, 3), (3, 40), (40, 1)])
def test_a_reshard_keeps_every_record(tmp_path: Path, before: int, after: int) -> None:
    blocks = filled(tmp_path / "data", 20, before)
    told = []
    reshard(tmp_path / "data", INTERNATIONAL, after, lambda done, of: told.append((done, of)))
    assert told[-1] == (before, before)
    with reopen(tmp_path / "data") as store:
        assert store.shard_count == after
        assert store.reports == []
        assert store.layers == ()
        check_store(store, blocks, len(blocks))


def test_a_reshard_that_was_cut_off_is_undone(tmp_path: Path) -> None:
    blocks = filled(tmp_path / "data", 5)
    shutil.copytree(tmp_path / "data/state", tmp_path / "data/state.new")
    with reopen(tmp_path / "data") as store:
        check_store(store, blocks, len(blocks))
    assert not (tmp_path / "data/state.new").exists()


@pytest.mark.parametrize("done", ["complete", "old moved", "new moved"])
def test_a_reshard_that_was_complete_is_finished(tmp_path: Path, done: str) -> None:
    blocks = filled(tmp_path / "data", 5, 3)
    shutil.copytree(tmp_path / "data", tmp_path / "other")
    reshard(tmp_path / "other", INTERNATIONAL, 5)
    state, new, old = (tmp_path / "data" / name for name in ("state", "state.new", "state.old"))
    shutil.copytree(tmp_path / "other/state", new)
    (new / layout.COMPLETE).touch()
    if done != "complete":
        state.rename(old)
    if done == "new moved":
        new.rename(state)
    with reopen(tmp_path / "data") as store:
        assert store.shard_count == 5
        check_store(store, blocks, len(blocks))
    assert not new.exists()
    assert not old.exists()


def test_a_second_opener_is_refused(tmp_path: Path) -> None:
    with create(tmp_path / "data"):
        assert refused(tmp_path / "data").error is StorageCode.DIRECTORY_IN_USE
    reopen(tmp_path / "data").close()


def test_only_its_owner_may_enter_the_directory(tmp_path: Path) -> None:
    create(tmp_path / "data").close()
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


def test_what_is_no_data_directory_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path / "nothing").error is StorageCode.MISSING
    create(tmp_path / "data").close()
    (tmp_path / "data" / layout.VERSION).write_bytes(b"vostro-storage 2\n")
    assert refused(tmp_path / "data").error is StorageCode.VERSION_UNKNOWN
    (tmp_path / "full").mkdir()
    (tmp_path / "full/letter").touch()
    with pytest.raises(StorageError) as caught:
        create(tmp_path / "full")
    assert caught.value.error is StorageCode.NOT_EMPTY


def test_a_creation_that_was_cut_off_is_begun_again(tmp_path: Path) -> None:
    create(tmp_path / "data").close()
    (tmp_path / "data" / layout.VERSION).rename(tmp_path / "data" / layout.VERSION_PENDING)
    assert refused(tmp_path / "data").error is StorageCode.MISSING
    with create(tmp_path / "data", genesis=b"document") as store:
        check_store(store, [], 0)
        assert store.genesis() == b"document"


def test_a_log_older_than_the_state_is_refused(tmp_path: Path) -> None:
    filled(tmp_path / "data", 5)
    shutil.copytree(tmp_path / "data/log", tmp_path / "log")
    chain = Chain(seed=5)
    for _ in range(5):
        chain.next(writes=20, transactions=3)
    with reopen(tmp_path / "data") as store:
        store.stage(chain.next(writes=20))
        store.sync()
    shutil.rmtree(tmp_path / "data/log")
    (tmp_path / "log").rename(tmp_path / "data/log")
    assert refused(tmp_path / "data").error is StorageCode.LOST_TAIL
    (tmp_path / "data" / layout.HEAD).unlink()  # the shards' stamps alone say it too
    assert refused(tmp_path / "data").error is StorageCode.LOST_TAIL


def test_a_log_that_lost_acknowledged_blocks_is_refused_even_where_no_shard_has_them(tmp_path: Path) -> None:
    chain = Chain(seed=5)
    store = create(tmp_path / "data")
    store.stage(chain.next())
    store.sync()
    older = crashed(store, tmp_path / "older")
    store.stage(chain.next())
    store.sync()
    newer = crashed(store, tmp_path / "newer")
    store.close()
    shutil.rmtree(newer / layout.LOG)
    (older / layout.LOG).rename(newer / layout.LOG)
    assert refused(newer).error is StorageCode.LOST_TAIL


def test_a_log_of_another_chain_is_refused(tmp_path: Path) -> None:
    filled(tmp_path / "one", 5)
    filled(tmp_path / "two", 6)
    shutil.rmtree(tmp_path / "one/log")
    (tmp_path / "two/log").rename(tmp_path / "one/log")
    assert refused(tmp_path / "one").error is StorageCode.LOG_DAMAGED


@pytest.mark.parametrize("at", [0, 7, 19])
def test_a_header_that_does_not_link_is_refused(tmp_path: Path, at: int) -> None:
    blocks = filled(tmp_path / "data", 20)
    with reopen(tmp_path / "data") as store:
        forged = Chain(seed=99)
        other = [forged.next(writes=1, transactions=0, skip=0) for _ in range(at + 1)][-1]
        record = BlockRecord(blocks[at].height, other.time_ms, other.app_hash, other.header)
        store.log.append(record, at)
    assert refused(tmp_path / "data").error is StorageCode.LOG_DAMAGED


def test_missing_chunks_of_a_block_are_damage_and_never_absent_values(tmp_path: Path) -> None:
    blocks = filled(tmp_path / "data", 5)
    height = blocks[2].height
    with reopen(tmp_path / "data") as store:
        for kind in (layout.RECEIPTS, layout.LEAVES, layout.WRITES):
            store.log._source.delete(layout.block_key(height, kind))
        for read in (
            lambda: store.receipt(height, 0),
            lambda: store.receipts(height),
            lambda: store.leaves(height),
            lambda: store.block(height),
        ):
            with pytest.raises(StorageError) as caught:
                read()
            assert caught.value.error is StorageCode.LOG_DAMAGED


@pytest.mark.parametrize(
    "lost", ["state", "state/001", "state/002", "spent", "spent/STAMP", "HEAD", "a bucket"]
)
def test_what_follows_the_log_is_rebuilt_where_it_is_missing(tmp_path: Path, lost: str) -> None:
    blocks = filled(tmp_path / "data", 30)
    path = tmp_path / "data" / lost
    if lost == "a bucket":
        path = max(entry for entry in (tmp_path / "data/spent").iterdir() if entry.is_dir())
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with reopen(tmp_path / "data") as store:
        assert bool(store.reports) == (lost != "HEAD")
        check_store(store, blocks, len(blocks))

        assert lost == "state" or store.shard_count == 3


def test_a_batch_that_vanished_from_the_middle_of_a_shard_is_noticed(tmp_path: Path) -> None:
    blocks = filled(tmp_path / "data", 60)
    with reopen(tmp_path / "data") as store:
        part = store._parts[1]
        stamps = [key for key, _ in part.db.iterator(prefix=layout.STAMP)]
        assert len(stamps) > 3
        part.db.delete(stamps[-2])
    with reopen(tmp_path / "data") as store:
        assert any("shard 1" in report for report in store.reports)
        check_store(store, blocks, len(blocks))
    assert list((tmp_path / "data/state").glob("001.damaged-*"))


def test_a_crash_while_a_shard_is_rebuilt_is_survived(tmp_path: Path) -> None:
    blocks = filled(tmp_path / "data", 10)
    state = tmp_path / "data/state"
    (state / "001").rename(state / "001.damaged-10")
    (state / "001").mkdir()
    with reopen(tmp_path / "data") as store:
        check_store(store, blocks, len(blocks))


def test_too_little_space_is_refused_and_reads_go_on(tmp_path: Path) -> None:
    blocks = filled(tmp_path / "data", 3)
    with reopen(tmp_path / "data", budget=Budget(reserve_bytes=2**62)) as store:
        with pytest.raises(StorageError) as caught:
            store.check_space()
        assert caught.value.error is StorageCode.DISK_LOW
        check_store(store, blocks, len(blocks))
    with reopen(tmp_path / "data", budget=Budget(reserve_bytes=1)) as store:
        store.check_space()


def test_after_a_failed_write_reads_go_on_and_writing_stops_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = Chain(seed=3)
    store = create(tmp_path / "data")
    store.stage(chain.next())
    store.sync()
    store.stage(chain.next())

    def fail(*_args: object, **_options: object) -> None:
        raise StorageError(StorageCode.DISK_LOW)

    monkeypatch.setattr(store.log, "write", fail)
    with pytest.raises(StorageError):
        store.sync()
    monkeypatch.undo()
    for attempt in (store.sync, store.check_space, lambda: store.stage(chain.next())):
        with pytest.raises(StorageError) as caught:
            attempt()
        assert caught.value.error is StorageCode.DISK_LOW
    check_store(store, chain.blocks[:2], 1)
    store.close()
    with reopen(tmp_path / "data") as found:
        check_store(found, chain.blocks[:1], 1)


def test_one_thread_stages_while_another_syncs_and_readers_read(tmp_path: Path) -> None:
    chain = Chain(seed=12)
    store = create(tmp_path / "data", 8)
    done = threading.Event()
    faults: list[str] = []
    blocks = [chain.next(writes=40, transactions=3) for _ in range(150)]
    marked = [
        BlockRecord(
            **{name: getattr(block, name) for name in BlockRecord.__slots__} | {"writes": _marks(number)}
        )
        for number, block in enumerate(blocks)
    ]

    def read() -> None:
        chance = random.Random(1)
        while not done.is_set():
            snapshot = store.snapshot()
            seen = {value for _, value in snapshot.scan(b"mark")}
            if len(seen) > 1 or (seen and snapshot.get(b"mark%02d" % chance.randrange(16)) not in seen):
                faults.append(f"a torn block at {snapshot.height}: {seen}")

    def sync() -> None:
        while not done.is_set():
            store.sync()

    threads = [threading.Thread(target=target) for target in (read, read, sync)]
    for thread in threads:
        thread.start()
    for number, block in enumerate(marked):
        store.stage(block)
        if store.get(b"mark07") != b"%d" % number:
            faults.append(f"block {number} is not visible to its own thread")
    done.set()
    for thread in threads:
        thread.join()
    assert store.sync() == marked[-1].height
    assert faults == []
    store.close()
    with reopen(tmp_path / "data") as found:
        assert [value for _, value in found.scan(b"mark")] == [b"149"] * 16


def _marks(number: int) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((b"mark%02d" % at, b"%d" % number) for at in range(16))


def test_the_lock_is_given_back_when_opening_fails(tmp_path: Path) -> None:
    filled(tmp_path / "data", 3)
    (tmp_path / "data/log/CURRENT").unlink()
    assert refused(tmp_path / "data").error is StorageCode.LOG_DAMAGED
    directory.DirectoryLock(tmp_path / "data").release()


def test_a_shard_in_anothers_place_is_not_believed(tmp_path: Path) -> None:
    blocks = filled(tmp_path / "data", 10)
    state = tmp_path / "data/state"
    (state / "000").rename(state / "x")
    (state / "001").rename(state / "000")
    (state / "x").rename(state / "001")
    with reopen(tmp_path / "data") as store:
        assert len([report for report in store.reports if "another set" in report]) == 2
        check_store(store, blocks, len(blocks))


def test_request_ids_are_remembered_as_long_as_genesis_says_whatever_the_opener_believes() -> None:
    limits = Limits(lifetime_ms=7_200_000, heartbeat_ms=1_000, block_work_max=10**6, block_bytes_max=2**22)
    document = encode(make_genesis(limits=limits))
    assert lifetime_of(document, 600_000) == 7_200_000
    assert lifetime_of(b"", 600_000) == 600_000


def test_a_store_that_stopped_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ShardedStore.create(tmp_path / "data", INTERNATIONAL, shards=2) as store:
        monkeypatch.setattr(store, "_stopped", StorageError(StorageCode.IO_FAILED, cause="planted"))
        with pytest.raises(StorageError):
            store.check_space()
