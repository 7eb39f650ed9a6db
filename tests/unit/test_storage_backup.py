"""Backups: taken while blocks arrive, refused when altered anywhere, restored to the same chain."""

import io
import random
from pathlib import Path

import pytest

from node.ledger.hashing import INTERNATIONAL
from node.storage.backup import restore_backup, verify_backup, write_backup
from node.storage.errors import StorageCode, StorageError
from node.storage.sharded import ShardedStore
from tests.storage_blocks import LIFETIME_MS, Chain, check_store


def made(
    path: Path, blocks: int = 12, genesis: bytes = b"the genesis document"
) -> tuple[Chain, ShardedStore]:
    chain = Chain(seed=21)
    store = ShardedStore.create(path, INTERNATIONAL, shards=3, genesis=genesis, lifetime_ms=LIFETIME_MS)
    for _ in range(blocks):
        store.stage(chain.next(transactions=5, writes=10))
        store.sync()
    return chain, store


def backup_of(store: ShardedStore) -> bytes:
    out = io.BytesIO()
    write_backup(store, out.write)
    return out.getvalue()


@pytest.mark.parametrize("shards", [1, 5])
def test_a_restored_backup_is_the_same_chain(tmp_path: Path, shards: int) -> None:
    chain, store = made(tmp_path / "data")
    data = backup_of(store)
    store.close()
    summary = restore_backup(
        io.BytesIO(data), tmp_path / "restored", INTERNATIONAL, shards=shards, lifetime_ms=LIFETIME_MS
    )
    assert summary.blocks == 12
    assert summary.transactions == 60
    assert summary.head_app_hash == chain.blocks[-1].app_hash
    assert summary.stream_bytes == len(data)
    with ShardedStore.open(tmp_path / "restored", INTERNATIONAL, lifetime_ms=LIFETIME_MS) as found:
        assert found.reports == []
        assert found.genesis() == b"the genesis document"
        assert found.shard_count == shards
        check_store(found, chain.blocks, 12)
        assert backup_of(found) == data


def test_a_backup_shows_one_moment_although_blocks_go_on(tmp_path: Path) -> None:
    chain, store = made(tmp_path / "data", 3)
    out = io.BytesIO()

    def go_on(_done: int, of: int) -> None:
        assert of == 3
        store.stage(chain.next())
        store.sync()

    summary = write_backup(store, out.write, go_on)
    store.close()
    assert summary.head_app_hash == chain.blocks[2].app_hash
    out.seek(0)
    assert verify_backup(out, INTERNATIONAL) == summary
    assert len(chain.blocks) == 6


def test_a_store_without_blocks_is_backed_up(tmp_path: Path) -> None:
    _, store = made(tmp_path / "data", 0)
    data = backup_of(store)
    store.close()
    assert restore_backup(io.BytesIO(data), tmp_path / "restored", INTERNATIONAL).blocks == 0


def test_dropped_bodies_are_represented(tmp_path: Path) -> None:
    chain, store = made(tmp_path / "data", 3)
    store.drop_bodies(chain.blocks[1].height)
    data = backup_of(store)
    store.close()
    restore_backup(io.BytesIO(data), tmp_path / "restored", INTERNATIONAL)
    with ShardedStore.open(tmp_path / "restored", INTERNATIONAL) as found:
        assert found.body(chain.blocks[1].height, 0) is None
        assert found.body(chain.blocks[2].height, 0) == chain.blocks[2].bodies[0]
        assert found.receipts(chain.blocks[1].height) == chain.blocks[1].receipts


@pytest.mark.evidence(
    "ENG2", asset="backups", threat="a damaged backup", mitigation="frames, hashes and an end"
)
def test_every_cut_and_every_flipped_bit_is_refused_with_its_offset(tmp_path: Path) -> None:
    _, store = made(tmp_path / "data", 4)
    data = backup_of(store)
    store.close()
    chance = random.Random(5)
    altered = [data[: chance.randrange(len(data))] for _ in range(100)] + [data + b"\0"]
    for _ in range(300):
        at = chance.randrange(len(data))
        altered.append(data[:at] + bytes((data[at] ^ 1 << chance.randrange(8),)) + data[at + 1 :])
    held = 0
    for stream in altered:
        with pytest.raises(StorageError) as caught:
            verify_backup(io.BytesIO(stream), INTERNATIONAL)
        assert caught.value.error is StorageCode.BACKUP_DAMAGED
        assert 0 <= int(caught.value.details["offset"]) <= len(data)
        held += 1
    print(f"altered backups: {len(altered)} tried, {held} refused")


def test_a_damaged_backup_leaves_no_data_directory_and_can_be_tried_again(tmp_path: Path) -> None:
    _, store = made(tmp_path / "data", 4)
    data = backup_of(store)
    store.close()
    with pytest.raises(StorageError):
        restore_backup(io.BytesIO(data[:-10]), tmp_path / "restored", INTERNATIONAL)
    with pytest.raises(StorageError) as caught:
        ShardedStore.open(tmp_path / "restored", INTERNATIONAL)
    assert caught.value.error is StorageCode.MISSING
    assert restore_backup(io.BytesIO(data), tmp_path / "restored", INTERNATIONAL).blocks == 4


def test_a_directory_in_use_is_not_restored_over(tmp_path: Path) -> None:
    _, store = made(tmp_path / "data", 2)
    data = backup_of(store)
    store.close()
    with pytest.raises(StorageError) as caught:
        restore_backup(io.BytesIO(data), tmp_path / "data", INTERNATIONAL)
    assert caught.value.error is StorageCode.NOT_EMPTY
