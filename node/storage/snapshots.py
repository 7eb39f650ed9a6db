"""Snapshots on disk: made beside the commits, kept as the bytes that are handed out, read back checked.

``snapshots/<height>/`` holds the chunks as files; it appears by rename when all of them are durable, so that
a folder without the suffix of one being made is complete. Making one reads an unmoved view of the state and
of the log and never touches what commits write.
"""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from node.ledger.hashing import HEADER, Suite
from node.ledger.snapshot import (
    Forged,
    Plan,
    Records,
    Snapshot,
    Window,
    WrongChunk,
    manifest_header,
    open_chunk,
    read_manifest,
)
from node.ledger.snapshot_cut import Counted, Row, TooLarge, make_snapshot
from node.ledger.types import BlockRecord
from node.storage import layout
from node.storage import records as state
from node.storage.database import make_directory, remove_tree, sync_directory, sync_files, translated
from node.storage.errors import StorageCode, StorageError
from node.storage.log import LogReader
from node.storage.sorting import Pace, Sorter

KEPT: Final = 2
SHARE: Final = 0.5
SORTING: Final = "sorting"


class SnapshotFolder:
    """The folder ``snapshots`` of a data directory. Any thread reads; one at a time makes."""

    def __init__(self, path: Path, suite: Suite, lifetime_ms: int) -> None:
        """Open the folder at ``path``, which may be missing; what a crash left half made is removed."""
        self._path = path
        self._suite = suite
        self._lifetime_ms = lifetime_ms
        self._making = threading.Lock()
        for entry in path.iterdir() if path.exists() else ():
            if entry.name.endswith(layout.SNAPSHOT_PENDING_SUFFIX):
                remove_tree(entry)

    def heights(self) -> list[int]:
        """Heights of the complete snapshots, newest first."""
        names = [entry.name for entry in self._path.iterdir()] if self._path.exists() else []
        return sorted((int(name) for name in names if name.isdigit()), reverse=True)

    def listed(self) -> list[Snapshot]:
        """The complete snapshots, newest first; one that cannot be read is left out."""
        found = []
        for height in self.heights():
            try:
                found.append(self.plan(height).snapshot)
            except StorageError as error:
                if error.error is not StorageCode.SNAPSHOT_DAMAGED:
                    raise
        return found

    def chunk(self, height: int, index: int) -> bytes:
        """A chunk's bytes, as they are on disk; empty where there is no such chunk."""
        path = self._path / str(height) / layout.chunk_name(index)
        with translated(StorageCode.IO_FAILED, path):
            return path.read_bytes() if index >= 0 and path.is_file() else b""

    def plan(self, height: int, app_hash: bytes | None = None) -> Plan:
        """A snapshot's manifest, checked against a trusted app hash, or else against its own header's.

        Raises StorageError SNAPSHOT_DAMAGED.
        """
        raw = self.chunk(height, 0)
        try:
            return read_manifest(
                self._suite, app_hash or _own_app_hash(self._suite, raw), self._lifetime_ms, raw
            )
        except Forged as error:
            raise self._damage(height, 0, error) from error

    def contents(self, plan: Plan) -> Iterator[tuple[int, bytes, Window | Records]]:
        """Number, bytes and checked content of each chunk but the manifest. Raises StorageError
        SNAPSHOT_DAMAGED.
        """
        height = plan.header.height
        for index in range(1, plan.chunks):
            raw = self.chunk(height, index)
            try:
                yield index, raw, open_chunk(plan, index, raw)
            except (WrongChunk, Forged) as error:
                raise self._damage(height, index, error) from error

    def make(self, view: state.Records, height: int, log: LogReader, pace: Pace) -> Snapshot:
        """Cut a snapshot of ``view``, the state after the block at ``height``; one that is there already is
        left as it is, and nothing is left of one that fails.

        Raises StorageError: SHARD_DAMAGED where the state does not hash up to its header, CHUNK_TOO_LARGE,
        DISK_LOW, IO_FAILED; whatever ``pace`` raises.
        """
        with self._making, translated(StorageCode.IO_FAILED, self._path):
            place = self._path / str(height)
            if place.exists():
                return self.plan(height).snapshot
            pending = place.with_name(place.name + layout.SNAPSHOT_PENDING_SUFFIX)
            remove_tree(pending)
            if not self._path.exists():
                make_directory(self._path)
            make_directory(pending)
            source = _Source(view, height, log, Sorter(pending / SORTING, self._suite, pace))
            try:
                plan = self._cut(source, height, pending)
                sync_files(pending)
            except BaseException:
                remove_tree(pending)
                raise
            pending.rename(place)
            sync_directory(self._path)
            return plan.snapshot

    def _cut(self, source: "_Source", height: int, pending: Path) -> Plan:
        try:
            plan = make_snapshot(
                self._suite,
                self._lifetime_ms,
                source,
                lambda index, chunk: (pending / layout.chunk_name(index)).write_bytes(chunk),
            )
        except Forged as error:
            raise StorageError(
                StorageCode.SHARD_DAMAGED, height=height, cause=f"the state is not its header's: {error}"
            ) from error
        except TooLarge as error:
            raise StorageError(StorageCode.CHUNK_TOO_LARGE, height=height, cause=str(error)) from error
        source.close()
        return plan

    def keep_newest(self, count: int = KEPT) -> None:
        """Remove all snapshots but the newest ``count``."""
        for height in self.heights()[count:]:
            place = self._path / str(height)
            gone = place.with_name(place.name + layout.SNAPSHOT_PENDING_SUFFIX)
            place.rename(gone)
            remove_tree(gone)

    def _damage(self, height: int, index: int, error: Exception) -> StorageError:
        return StorageError(StorageCode.SNAPSHOT_DAMAGED, height=height, chunk=index, cause=str(error))


class _Source:
    """A store's view and log as snapshot_cut.Source."""

    def __init__(self, view: state.Records, height: int, log: LogReader, sorter: Sorter) -> None:
        header = log.stored_header(height)
        if header is None:
            raise StorageError(StorageCode.LOG_DAMAGED, height=height, cause="the header is missing")
        self.position = header.position
        self._view = view
        self._log = log
        self._sorter = sorter
        self.first_leaf = log.app_hash_of
        self.history_node = log.history_node

    def block(self, position: int, *, leaves: bool) -> BlockRecord:
        header = self._log.header_at(position)
        return self._log.unwhole(header) if leaves else header.record()

    def count(self) -> Counted:
        return self._sorter.spread(self._view.unordered())

    def batches(self) -> Iterator[list[Row]]:
        return self._sorter.batches()

    def close(self) -> None:
        self._sorter.close()


def _own_app_hash(suite: Suite, raw: bytes) -> bytes:
    """The hash of the header in a manifest, whatever that is worth."""
    return suite.digest(HEADER + manifest_header(raw))
