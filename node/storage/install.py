"""Parts of a data directory that are filled from outside: made empty, filled from a snapshot, and put in
place.

A snapshot is taken in beside the empty parts, in ``installing/``. COMPLETE there, the last thing written,
makes it count: ``settle_install`` then moves its parts into place, at once or at the next opening, or
throws away what is incomplete. So a crash leaves an empty data directory or a whole one.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from node.ledger.hashing import HASH_BYTES
from node.ledger.snapshot import Plan, Records
from node.ledger.state_tree import PAIR_BYTES
from node.ledger.types import BlockRecord
from node.storage import layout
from node.storage.database import (
    MIB,
    Part,
    make_directory,
    remove_tree,
    sync_directory,
    sync_files,
    translated,
    write_file,
)
from node.storage.directory import HeadFile, raise_file_limit
from node.storage.errors import StorageCode, StorageError
from node.storage.log import Base, BlockLog
from node.storage.records import shard_of
from node.storage.shards import Shards, shard_options
from node.storage.spent import SpentIds, spent_of_leaves

LOG_WRITE_BUFFER_BYTES: Final = 32 * MIB
FILL_WRITE_BUFFER_BYTES: Final = 64 * MIB
PLACED: Final = (layout.LOG, layout.STATE, layout.SPENT, layout.SNAPSHOTS)


def fill(path: Path, shards: int, genesis: bytes) -> BlockLog:
    """Make all parts of a data directory that is being created, and hand out its log, to be filled and
    closed.
    """
    log = BlockLog(path / layout.LOG, create=True, cache_bytes=MIB, write_buffer_bytes=LOG_WRITE_BUFFER_BYTES)
    try:
        log.set_genesis(genesis)
        Shards.create(path / layout.STATE, shards)
        SpentIds(path / layout.SPENT, 0, 0).close()
    except BaseException:
        log.close()
        raise
    return log


class Filler:
    """Writes a snapshot's records into shards that are empty."""

    def __init__(self, parts: Sequence[Part], count: int, *, synced: bool) -> None:
        """parts: those to fill, of ``count`` shards. synced: else sync their files once closed."""
        self._synced = synced
        self._parts = {part.place[0]: part for part in parts}
        self._count = count

    def add(self, content: Records) -> None:
        """Put the records, and the pairs of the state tree, that belong into these shards."""
        count, pairs = self._count, content.pairs
        entries: dict[int, dict[bytes, bytes | None]] = {number: {} for number in self._parts}
        record, tree = layout.RECORD, layout.TREE
        rows = zip(content.records[::2], content.records[1::2], strict=True)
        for at, (key, value) in zip(range(0, len(pairs), PAIR_BYTES), rows, strict=True):
            number = shard_of(key, count)
            if number in entries:
                entries[number][record + key] = value
            number = pairs[at] % count
            if number in entries:
                entries[number][tree + pairs[at : at + HASH_BYTES]] = pairs[at + HASH_BYTES : at + PAIR_BYTES]
        for number, part in self._parts.items():
            part.commit(entries[number], 0, synced=self._synced)  # stamped, so that none can vanish unseen


class Installing:
    """A snapshot on its way into an empty data directory. Implements ports.Installation."""

    def __init__(
        self, path: Path, plan: Plan, shards: int, genesis: bytes, lifetime_ms: int, done: Callable[[], None]
    ) -> None:
        """path: of the data directory, whose lock is held. done: called once everything is in place."""
        self._path = path
        self._plan = plan
        self._done = done
        self._base: Base | None = None
        self._opened: list[Any] = []
        place = path / layout.INSTALLING
        self._kept = place / layout.SNAPSHOTS / str(plan.header.height)
        remove_tree(place)
        make_directory(place)
        make_directory(place / layout.STATE)
        make_directory(self._kept.parent)
        make_directory(self._kept)
        try:
            self._log = fill(place, shards, genesis)
            self._opened.append(self._log)
            self._spent = SpentIds(place / layout.SPENT, lifetime_ms, plan.header.time_ms)
            self._opened.append(self._spent)
            raise_file_limit(shards)
            options = shard_options(shards, MIB, FILL_WRITE_BUFFER_BYTES)
            self._parts = []
            for shard in layout.shard_paths(place / layout.STATE, shards):
                self._parts.append(Part.open(shard, StorageCode.SHARD_DAMAGED, **options))
                self._opened.append(self._parts[-1])
        except BaseException:
            self.abandon()
            raise
        self._filler = Filler(self._parts, shards, synced=False)
        self.keep(0, plan.raw)

    def add_window(self, position: int, blocks: Sequence[BlockRecord]) -> None:
        """Keep headers and leaves, and what they spent."""
        for at, block in enumerate(blocks, position):
            self._log.append(block, at, synced=False)
        last = self._plan.manifest.position
        first = last + 1 - sum(entry.blocks for entry in self._plan.manifest.window)
        if position < first or (position, first) == (0, 0):
            # The window's first chunk: the log's first header is the one before it, or that of block 0.
            self._base = Base(position, blocks[0].height, last, self._plan.header.height)
        layers = [spent_of_leaves(block.leaves, block.height) for block in blocks]
        self._spent.flush(layers, 0, self._plan.header.time_ms)

    def add_state(self, records: Sequence[bytes], pairs: bytes) -> None:
        """Put records into the shards."""
        self._filler.add(Records(tuple(records), pairs))

    def keep(self, index: int, chunk: bytes) -> None:
        """Keep the bytes of a chunk."""
        with translated(StorageCode.IO_FAILED, self._kept):
            (self._kept / layout.chunk_name(index)).write_bytes(chunk)

    def finish(self) -> None:
        """Make everything durable, then put it in place."""
        plan, place = self._plan, self._path / layout.INSTALLING
        if self._base is None:
            raise StorageError(StorageCode.SNAPSHOT_DAMAGED, cause="the window has no beginning")
        with translated(StorageCode.IO_FAILED, place):
            self._log.begin_at(self._base, plan.peaks(), plan.history())
            blocks = plan.manifest.position + 1
            self._spent.flush((), blocks, plan.header.time_ms)
            for part in self._parts:
                part.commit({}, blocks)
            self._close()
            for folder in (place / layout.LOG, self._kept, *(part.path for part in self._parts)):
                sync_files(folder)
            for folder in (place / layout.STATE, self._kept.parent):
                sync_directory(folder)
            head = HeadFile(place / layout.HEAD)
            head.write(blocks, plan.app_hash)
            head.close()
            sync_directory(place)
            write_file(place / layout.COMPLETE, b"complete\n", place / f"{layout.COMPLETE}.new")
        self._done()

    def abandon(self) -> None:
        """Throw it away."""
        self._close()
        remove_tree(self._path / layout.INSTALLING)

    def _close(self) -> None:
        for opened in reversed(self._opened):
            opened.close()
        self._opened.clear()


def settle_install(path: Path) -> None:
    """Put in place what was taken in whole, throw away what was not. Idempotent; each step is durable before
    the next.
    """
    place = path / layout.INSTALLING
    if not place.exists():
        return
    if (place / layout.COMPLETE).exists():
        for name in PLACED:
            if (place / name).exists():
                remove_tree(path / name)
                (place / name).rename(path / name)
                sync_directory(path)
        if (place / layout.HEAD).exists():
            (place / layout.HEAD).rename(path / layout.HEAD)
            sync_directory(path)
        (place / layout.COMPLETE).unlink()
        sync_directory(place)
    remove_tree(place)


def fill_from(contents: Iterable[Any], parts: Sequence[Part], count: int, blocks: int) -> None:
    """Fill empty shards from a snapshot's contents, as after block number ``blocks`` - 1."""
    filler = Filler(parts, count, synced=True)
    for content in contents:
        if isinstance(content, Records):
            filler.add(content)
    for part in parts:
        part.commit({}, blocks)
