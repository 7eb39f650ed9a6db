"""A log that begins above genesis: pruned behind a snapshot or begun with one, it opens, replays, rebuilds,
refuses damage, and says what it no longer has.
"""

import errno
import io
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from msgspec import structs

from node.cli.replay import replay
from node.ledger import intake
from node.ledger.genesis import chain_id
from node.ledger.hashing import INTERNATIONAL, SIGN_HEADER
from node.ledger.merkle import check_inclusion
from node.ledger.snapshot import Apply, Forged, Offer
from node.ledger.types import BlockRecord
from node.storage import layout
from node.storage.backup import restore_backup, verify_backup, write_backup
from node.storage.errors import StorageCode, StorageError
from node.storage.index import Index
from node.storage.reshard import reshard
from node.storage.sharded import ShardedStore
from tests.kit import LIMITS, officer
from tests.sim.workload import Day, make_day
from tests.snapshot_kit import ACCEPTED, BUDGET, Bank, carry, in_memory, on_disk, reopened

SHARDS = 3
CUT, PRUNED, HEAD = 48, 44, 58


@cache
def day() -> Day:
    """A day that is much longer than a transaction lives, so that the window leaves most of it out."""
    return make_day(7, structs.replace(LIMITS, lifetime_ms=20_000))


@cache
def state() -> list[tuple[bytes, bytes]]:
    """All records after block HEAD."""
    bank = in_memory(day().genesis).begin()
    bank.run(day().blocks[:HEAD])
    return list(bank.store.snapshot().scan(b""))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed directory with a snapshot at block CUT and blocks up to HEAD."""
    path = tmp_path_factory.mktemp("kept") / "data"
    bank = on_disk(day().genesis, path, SHARDS).begin()
    bank.run(day().blocks[:CUT])
    bank.snapshot()
    bank.run(day().blocks[CUT:HEAD])
    bank.store.close()
    return path


@pytest.fixture
def pruned(kept: Path, tmp_path: Path) -> Path:
    path = tmp_path / "data"
    shutil.copytree(kept, path)
    with ShardedStore.open(path, INTERNATIONAL, budget=BUDGET) as store:
        assert store.prune(day().blocks[PRUNED].height) > 0
    return path


@pytest.fixture
def begun(kept: Path, tmp_path: Path) -> Path:
    """A directory that began with the snapshot, and blocks up to HEAD."""
    path = tmp_path / "begun"
    bank = on_disk(day().genesis, path, SHARDS)
    with ShardedStore.open(kept, INTERNATIONAL, budget=BUDGET) as source:
        (snapshot,) = source.snapshots()
        chunks = [source.snapshot_chunk(snapshot.height, at) for at in range(snapshot.chunks)]
    carry(snapshot, chunks, day().app_hashes[CUT - 1], bank)
    bank.run(day().blocks[CUT:HEAD])
    bank.store.close()
    return path


@pytest.fixture(params=["pruned", "begun"])
def short(request: pytest.FixtureRequest) -> Path:
    """Either kind of directory whose log does not reach genesis."""
    path: Path = request.getfixturevalue(request.param)
    return path


def opened(path: Path) -> Bank:
    return reopened(day().genesis, path)


def check_goes_on(path: Path, *, reports: bool = False) -> None:
    """The directory opens and goes on to the day's app hashes."""
    bank = opened(path)
    store = bank.store
    assert isinstance(store, ShardedStore)
    assert bool(store.reports) == reports, store.reports
    assert bank.ledger.info().app_hash == day().app_hashes[HEAD - 1]
    assert bank.run(day().blocks[HEAD:]) == day().app_hashes[HEAD:]
    store.close()


def test_a_short_log_opens_and_goes_on(short: Path) -> None:
    check_goes_on(short)


def test_a_short_log_says_what_it_no_longer_has(short: Path) -> None:
    bank = opened(short)
    store = bank.store
    assert isinstance(store, ShardedStore)
    base = store.log.base
    assert base
    assert 0 < base.first < base.position
    for ask in (
        lambda: store.block(base.height),
        lambda: store.receipts(base.height),
        lambda: store.receipt(base.height, 0),
        lambda: store.body(base.height, 0),
        lambda: list(store.blocks()),
        lambda: list(store.blocks(base.height)),
        lambda: store.block(0),
        lambda: store.leaves(0),
        lambda: store.log.header_at(base.first - 1) if base.first else store.block(0),
    ):
        with pytest.raises(StorageError) as caught:
            ask()
        assert caught.value.error is StorageCode.PRUNED
        assert int(caught.value.details["kept_from"]) <= base.height + 1
    whole = list(store.blocks(base.height + 1))
    assert [block.height for block in whole] == [
        block.height for block in day().world.blocks() if base.height < block.height <= store.height
    ]
    assert store.first_position == base.position + 1 == store.position_of(whole[0].height)
    assert store.leaves(base.height) is not None
    assert store.headers(base.height, 1)[0].height == base.height
    store.close()


def test_ids_spent_in_the_window_stay_spent_also_once_they_are_rebuilt(short: Path) -> None:
    shutil.rmtree(short / layout.SPENT)
    bank = opened(short)
    store, full = bank.store, day().world.store
    tried = 0
    for block in day().world.blocks():
        for member, request_id, _, _ in block.spent:
            created = int.from_bytes(request_id[:6], "big")
            alive = created + day().genesis.limits.lifetime_ms >= bank.ledger.time_ms
            if block.height <= store.height and alive:
                assert store.spent(member, request_id) == full.spent(member, request_id)
                tried += 1
    store.close()
    print(f"ids alive in the window: {tried} tried, {tried} remembered")
    assert tried > 5
    check_goes_on(short)


def test_every_lost_or_damaged_shard_is_filled_from_the_snapshot_and_the_log(short: Path) -> None:
    tried = 0
    for lost in ((0,), (1, 2), (0, 1, 2)):
        path = short.with_name(f"copy-{tried}")
        shutil.copytree(short, path)
        for shard in lost:
            shutil.rmtree(path / layout.STATE / layout.shard_name(shard))
            (path / layout.STATE / f"{layout.shard_name(shard)}.suspect").touch()
        check_goes_on(path, reports=True)
        check_again = opened(path)
        assert check_again.ledger.info().app_hash == day().app_hashes[-1]
        check_again.store.close()
        tried += 1
    print(f"lost shards: {tried} tried, {tried} rebuilt")


def test_without_a_snapshot_a_lost_shard_is_refused_in_words(short: Path) -> None:
    shutil.rmtree(short / layout.STATE / layout.shard_name(1))
    chunk = next((short / layout.SNAPSHOTS).glob("*/000002"))
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    chunk.write_bytes(content)
    with pytest.raises(StorageError) as caught:
        opened(short)
    assert caught.value.error is StorageCode.NO_SNAPSHOT
    shutil.rmtree(short / layout.SNAPSHOTS)
    with pytest.raises(StorageError) as caught:
        opened(short)
    assert caught.value.error is StorageCode.NO_SNAPSHOT


def test_a_short_log_can_be_given_other_shards(short: Path) -> None:
    reshard(short, INTERNATIONAL, 5)
    check_goes_on(short)


def test_the_next_snapshot_of_a_short_log_is_that_of_a_whole_one(short: Path) -> None:
    whole = in_memory(day().genesis).begin()
    whole.run(day().blocks[:HEAD])
    bank = opened(short)
    assert bank.snapshot() == whole.snapshot()
    for at in range(HEAD, len(day().blocks)):
        bank.run(day().blocks[at : at + 1])
        whole.run(day().blocks[at : at + 1])
        assert bank.snapshot() == whole.snapshot()
    assert isinstance(bank.store, ShardedStore)
    kept_heights = [one.height for one in bank.store.snapshots()]
    assert len(kept_heights) == 2
    assert kept_heights[0] == bank.store.height
    bank.store.close()


def test_paths_of_kept_headers_still_verify(pruned: Path) -> None:
    bank = opened(pruned)
    store = bank.store
    assert isinstance(store, ShardedStore)
    size = store.header_count - 1
    hashes = [block.app_hash for block in day().world.blocks()][:size]
    root = bank.ledger._history.root()
    for number, app_hash in enumerate(hashes):
        path = bank.ledger.history_path(number, size)
        assert check_inclusion(INTERNATIONAL.digest, app_hash, number, size, path, root)
    store.close()


def test_the_index_begins_where_the_log_does(short: Path) -> None:
    bank = opened(short)
    store = bank.store
    assert isinstance(store, ShardedStore)
    index = Index(short / layout.INDEX, lambda _event: (), blocks=store.durable_count)
    while index.advance(store):
        pass
    assert index.position == store.durable_count
    assert index.height == store.height
    block = next(block for block in store.blocks(store.log.base.height + 1) if block.leaves)  # type: ignore[union-attr]
    found = index.transaction(day().world.blocks()[store.position_of(block.height) or 0].spent[0][2])
    assert found
    assert found.height == block.height
    index.close()
    index = Index(short / layout.INDEX, lambda _event: (), blocks=store.durable_count)
    assert not index.is_whole
    index.close()
    store.close()


@pytest.mark.parametrize("keep", [0, 1, CUT + 2, 10**9])
def test_nothing_is_pruned_that_rebuilding_would_need(kept: Path, tmp_path: Path, keep: int) -> None:
    path = tmp_path / "data"
    shutil.copytree(kept, path)
    with ShardedStore.open(path, INTERNATIONAL, budget=BUDGET) as store:
        newest = store.snapshots()[0].height
        if keep <= newest + 1:
            assert store.prune(keep) == (1 if keep == 1 else 0)
        else:
            with pytest.raises(StorageError) as caught:
                store.prune(keep)
            assert caught.value.error is StorageCode.NOT_PRUNABLE
            assert store.prune(newest + 1) > 0
            assert store.prune(newest + 1) == 0
    check_goes_on(path)


def test_pruning_again_and_again_loses_nothing(begun: Path) -> None:
    bank = opened(begun)
    store = bank.store
    assert isinstance(store, ShardedStore)
    for at in range(HEAD, len(day().blocks)):
        assert bank.run(day().blocks[at : at + 1]) == day().app_hashes[at : at + 1]
        if at % 3 == 0:
            made, _ = bank.snapshot()
            store.prune(made.height + 1)
    store.close()
    shutil.rmtree(begun / layout.STATE / layout.shard_name(0))
    again = opened(begun)
    assert again.ledger.info().app_hash == day().app_hashes[-1]
    again.store.close()


def test_a_flipped_bit_in_a_file_of_a_short_log_is_rebuilt_or_refused_and_never_believed(short: Path) -> None:
    chance = random.Random(5)
    files = sorted(path for path in short.rglob("*") if path.is_file() and path.stat().st_size)
    outcomes: Counter[str] = Counter()
    for number in range(40):
        file = chance.choice(files)
        path = short.with_name(f"flipped-{number}")
        shutil.copytree(short, path)
        target = path / file.relative_to(short)
        content = bytearray(target.read_bytes())
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        target.write_bytes(content)
        outcomes[outcome_of(path)] += 1
        shutil.rmtree(path)
    held = sum(count for outcome, count in outcomes.items() if outcome in REFUSALS | {"went on"})
    print(f"flipped bits: {outcomes.total()} tried, {held} held: {dict(outcomes)}")
    assert (outcomes.total(), held) == (40, 40), outcomes
    assert outcomes["went on"], "most of what is flipped is rebuilt, or is no row"


REFUSALS = {
    "LOG_DAMAGED",
    "LOST_TAIL",
    "NO_SNAPSHOT",
    "SHARD_DAMAGED",
    "SNAPSHOT_DAMAGED",
    "SPENT_DAMAGED",
    "VERSION_UNKNOWN",
}


def outcome_of(path: Path) -> str:
    """What becomes of an opener; damage met while reading is rebuilt by the next. Otherwise, what it believed
    and should not have.
    """
    refused = ""
    for _ in range(4):
        try:
            bank = opened(path)
        except StorageError as error:
            refused = error.error.name
            continue
        try:
            begun = bank.ledger.info().height
            if begun == day().blocks[HEAD - 1].height and list(bank.store.snapshot().scan(b"")) != state():
                return "believed a state that is another"
            left = [at for at, block in enumerate(day().blocks) if at >= HEAD and block.height > begun]
            hashes = bank.run([day().blocks[at] for at in left])
        except StorageError as error:
            refused = error.error.name
            continue
        finally:
            bank.store.close()
        came_out = hashes == [day().app_hashes[at] for at in left]
        return "went on" if came_out else "came to other app hashes"
    return refused


def test_a_backup_of_a_short_log_carries_a_snapshot_and_is_restored_to_the_same_chain(
    short: Path, tmp_path: Path
) -> None:
    with ShardedStore.open(short, INTERNATIONAL, budget=BUDGET) as store:
        out = io.BytesIO()
        summary = write_backup(store, out.write)
    data = out.getvalue()
    assert verify_backup(io.BytesIO(data), INTERNATIONAL) == summary
    assert summary.head_app_hash == day().app_hashes[HEAD - 1]
    path = tmp_path / "restored"
    assert restore_backup(io.BytesIO(data), path, INTERNATIONAL, shards=2) == summary
    with ShardedStore.open(path, INTERNATIONAL, budget=BUDGET) as store:
        again = io.BytesIO()
        write_backup(store, again.write)
        assert again.getvalue() == data
    check_goes_on(path)
    chance, tried = random.Random(6), 0
    for _ in range(200):
        at = chance.randrange(len(data))
        altered = data[:at] + bytes((data[at] ^ 1 << chance.randrange(8),)) + data[at + 1 :]
        for stream in (altered, data[:at]):
            with pytest.raises(StorageError) as caught:
                verify_backup(io.BytesIO(stream), INTERNATIONAL)
            assert caught.value.error is StorageCode.BACKUP_DAMAGED
            tried += 1
    print(f"altered backups of a short log: {tried} tried, {tried} refused")


def test_a_base_moved_and_nothing_deleted_is_finished_by_the_next_opening(tmp_path: Path) -> None:
    bank = on_disk(day().genesis, tmp_path / "data", SHARDS).begin()
    store = bank.store
    assert isinstance(store, ShardedStore)
    bank.run(day().blocks[:HEAD])
    bank.snapshot()
    base = store.plan_prune(store.height - 1)
    assert base
    store.begin_prune(base)  # with blocks in memory that no shard had yet
    shutil.copytree(tmp_path / "data", tmp_path / "crashed")
    store.close()
    with ShardedStore.open(tmp_path / "crashed", INTERNATIONAL, budget=BUDGET) as found:
        assert found.log.base == base
        assert list(found.log._surplus(base)) == []
    check_goes_on(tmp_path / "crashed")


@pytest.mark.parametrize("looks", [0, 1, 40])
def test_a_snapshot_gives_up_before_it_takes_the_space_that_the_log_needs(
    kept: Path, tmp_path: Path, looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "data"
    shutil.copytree(kept, path)
    before = sorted(path.joinpath(layout.SNAPSHOTS).iterdir())
    left = iter([2_000] * looks)
    with ShardedStore.open(path, INTERNATIONAL, budget=replace(BUDGET, reserve_bytes=1_000)) as store:
        monkeypatch.setattr(store, "free_bytes", lambda: next(left, 10))
        with pytest.raises(StorageError) as caught:
            store.make_snapshot(share=1)
        assert caught.value.error is StorageCode.DISK_LOW
        assert sorted(path.joinpath(layout.SNAPSHOTS).iterdir()) == before
        monkeypatch.setattr(store, "free_bytes", lambda: 2_000)
        assert store.make_snapshot(share=1).height == store.height


def test_a_snapshot_that_could_not_be_written_leaves_nothing(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "data"
    shutil.copytree(kept, path)
    before = sorted(path.joinpath(layout.SNAPSHOTS).iterdir())

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with ShardedStore.open(path, INTERNATIONAL, budget=BUDGET) as store:
        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_bytes", full)
            with pytest.raises(StorageError) as caught:
                store.make_snapshot(share=1)
        assert caught.value.error is StorageCode.DISK_LOW
        assert sorted(path.joinpath(layout.SNAPSHOTS).iterdir()) == before


def test_nothing_is_pruned_behind_a_damaged_snapshot(kept: Path, tmp_path: Path) -> None:
    path = tmp_path / "data"
    shutil.copytree(kept, path)
    chunk = next((path / layout.SNAPSHOTS).glob("*/000002"))
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    chunk.write_bytes(content)
    with ShardedStore.open(path, INTERNATIONAL, budget=BUDGET) as store:
        with pytest.raises(StorageError) as caught:
            store.prune(day().blocks[PRUNED].height)
        assert caught.value.error is StorageCode.SNAPSHOT_DAMAGED
        assert store.first_position == 0
    check_goes_on(path)


def test_what_was_begun_to_be_taken_in_and_rejected_leaves_nothing(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ShardedStore.open(kept, INTERNATIONAL, budget=BUDGET) as source:
        (snapshot,) = source.snapshots()
        chunks = [source.snapshot_chunk(snapshot.height, at) for at in range(snapshot.chunks)]
    bank = on_disk(day().genesis, tmp_path / "data", SHARDS)
    assert bank.ledger.offer_snapshot(snapshot, day().app_hashes[CUT - 1]) is Offer.ACCEPT
    assert bank.ledger.apply_snapshot_chunk(0, chunks[0]) == ACCEPTED
    assert (tmp_path / "data" / layout.INSTALLING).exists()

    def forged(*_: object) -> None:
        raise Forged("as told")

    with monkeypatch.context() as patched:
        patched.setattr(intake, "open_chunk", forged)
        assert bank.ledger.apply_snapshot_chunk(1, chunks[1]).result is Apply.REJECT_SNAPSHOT
    assert not (tmp_path / "data" / layout.INSTALLING).exists()
    assert bank.ledger.apply_snapshot_chunk(1, chunks[1]).result is Apply.ABORT
    carry(snapshot, chunks, day().app_hashes[CUT - 1], bank)
    assert bank.run(day().blocks[CUT:]) == day().app_hashes[CUT:]
    bank.store.close()


def test_the_chain_is_recomputed_from_the_oldest_snapshot(short: Path, tmp_path: Path) -> None:
    with ShardedStore.open(short, INTERNATIONAL, budget=BUDGET) as store:
        log = Certified(store)
        found = replay(log, day().genesis, tmp_path / "scratch", lambda _blocks, _transactions: None)
        assert found.snapshot == store.snapshots()[0].height
        assert found.app_hash == day().app_hashes[HEAD - 1]
        assert found.blocks == len(list(store.blocks(found.snapshot + 1)))


class Certified:
    """A store's blocks with the sequencer's signatures, which the ledgers of these tests do without."""

    def __init__(self, store: ShardedStore) -> None:
        self._store = store
        self.first_position = store.first_position
        self.base_snapshot = store.base_snapshot
        self.snapshot_chunk = store.snapshot_chunk

    def blocks(self, first: int = 0, last: int | None = None) -> Iterator[BlockRecord]:
        chain = chain_id(day().genesis)
        for block in self._store.blocks(first, last):
            signature = officer("sequencer").sign(SIGN_HEADER + chain + block.app_hash)
            yield replace(block, certificate=signature)
