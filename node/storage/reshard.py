"""Give a data directory another number of shards, with the node stopped.

The new shards are built beside the old ones and take their place by rename, once all of them are complete.
Cut off anywhere, the next open finishes the exchange or undoes it (``directory.settle_reshard``); the log
is not touched, and no hash changes.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import plyvel

from node.ledger.hashing import Suite
from node.storage import directory, layout
from node.storage.database import Part, make_directory, remove_tree, rows_of, sync_directory, untold
from node.storage.errors import StorageCode, StorageError
from node.storage.records import home_of
from node.storage.sharded import ShardedStore
from node.storage.shards import Shards, checked_count, shard_options

ROWS_A_BATCH: Final = 50_000


def reshard(path: Path, suite: Suite, shards: int, progress: Callable[[int, int], None] = untold) -> int:
    """Spread the state over ``shards`` shards, 1 to 256; return how many rows there were.

    progress: called with (old shards done, old shards). Raises StorageError as ``ShardedStore.open`` does,
    and DISK_LOW.
    """
    checked_count(shards)
    with ShardedStore.open(path, suite) as store:
        store.flush()
        store.check_space()  # also tells a flush that failed
        if store.reports:
            raise StorageError(StorageCode.SHARD_DAMAGED, cause="; ".join(store.reports))
        blocks, budget = store.durable_count, store.budget
    lock = directory.DirectoryLock(path)
    try:
        old = Shards(path / layout.STATE, budget.cache_bytes, budget.write_buffer_bytes, blocks)
        try:
            rows = _fill(old, path / layout.STATE_NEW, shards, blocks, progress)
        finally:
            old.close()
        directory.complete_reshard(path)
    finally:
        lock.release()
    return rows


def _fill(old: Shards, target: Path, shards: int, blocks: int, progress: Callable[[int, int], None]) -> int:
    """Copy every row of the old shards to its place among the new ones."""
    remove_tree(target)
    make_directory(target)
    Shards.create(target, shards)
    options = shard_options(shards, 64 * 1024 * 1024, 64 * 1024 * 1024)
    new = [
        Part.open(place, StorageCode.SHARD_DAMAGED, **options) for place in layout.shard_paths(target, shards)
    ]
    count = 0
    try:
        for number, part in enumerate(old.parts):
            batches: list[dict[bytes, bytes | None]] = [{} for _ in new]
            for key, value in _rows(part):
                batches[home_of(key, shards)][key] = value
                count += 1
                if count % ROWS_A_BATCH == 0:
                    _commit(new, batches, 0)
            _commit(new, batches, 0)
            progress(number + 1, len(old.parts))
        for part in new:
            part.commit({}, blocks)
    finally:
        for part in new:
            part.close()
    sync_directory(target)
    return count


def _rows(part: Part) -> Iterator[tuple[bytes, bytes]]:
    try:
        yield from rows_of(part.db, layout.TREE, layout.successor(layout.RECORD) or b"")
    except (plyvel.Error, RuntimeError) as error:
        raise part.damage(error) from error


def _commit(parts: list[Part], batches: list[dict[bytes, bytes | None]], position: int) -> None:
    for part, batch in zip(parts, batches, strict=True):
        if batch:
            part.commit(batch, position)
            batch.clear()
