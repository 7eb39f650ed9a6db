"""LevelDB as Vostro opens it: checked everywhere, written only in synced batches, its errors translated
once.

`paranoid_checks` and `verify_checksums` are never off: without them a flipped bit in a write-ahead log
opens with silent loss. `Part` is a database that follows the block log. Every batch that it commits carries
a numbered stamp that says up to which block it is complete, and the last STAMPS_KEPT stamps stay: a gap in
their numbers shows a batch that vanished from the middle.
"""

import errno
import os
import shutil
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import plyvel

from node.ledger.errors import ErrorCode
from node.storage import layout
from node.storage.errors import StorageCode, StorageError

MIB: Final = 1024 * 1024
STAMPS_KEPT: Final = 256
OPEN_FILES_MAX: Final = 2_000
BLOOM_BITS: Final = 10
CRC_BYTES: Final = 4

Database = Any  # plyvel.DB, which has no types

_STAMP: Final = struct.Struct(">QHH")


@contextmanager
def translated(damaged: ErrorCode, path: Path) -> Iterator[None]:
    """Turn errors of LevelDB and of the system inside the block into StorageError; ``damaged`` is the code
    for broken data.
    """
    try:
        yield
    except (plyvel.Error, OSError, RuntimeError) as error:
        raise translate(error, damaged, path) from error


def translate(error: Exception, damaged: ErrorCode, path: Path) -> StorageError:
    """The StorageError for an error of LevelDB or of the system."""
    text = str(error)
    if (isinstance(error, OSError) and error.errno == errno.ENOSPC) or "No space left" in text:
        return StorageError(StorageCode.DISK_LOW, path=str(path))
    if isinstance(error, plyvel.CorruptionError) or "does not exist" in text or "No such file" in text:
        return StorageError(damaged, path=str(path), cause=text)
    if "IO error: lock " in text:
        return StorageError(StorageCode.DIRECTORY_IN_USE, path=str(path))
    if isinstance(error, plyvel.IOError) and "Invalid argument" in text:  # points outside its file
        return StorageError(damaged, path=str(path), cause=text)
    return StorageError(StorageCode.IO_FAILED, path=str(path), cause=text)


def open_database(
    path: Path,
    damaged: ErrorCode,
    *,
    create: bool,
    cache_bytes: int,
    write_buffer_bytes: int,
    block_bytes: int = 4096,
    compression: str | None = None,
    file_bytes: int = 2 * MIB,
    open_files: int = 1_000,
) -> Database:
    """Open a LevelDB, or create a new one. Never creates where one is expected: that would hide its loss."""
    with translated(damaged, path):
        return plyvel.DB(
            str(path),
            create_if_missing=create,
            error_if_exists=create,
            paranoid_checks=True,
            write_buffer_size=write_buffer_bytes,
            max_open_files=open_files,
            lru_cache_size=cache_bytes,
            block_size=block_bytes,
            max_file_size=file_bytes,
            compression=compression,
            bloom_filter_bits=BLOOM_BITS,
        )


class Part:
    """A LevelDB that follows the log: complete up to block number ``position`` (blocks 0 to position - 1
    are in it).

    ``place`` is (index, of): which of how many parts it is, kept in its stamps.
    """

    __slots__ = ("_damaged", "_sequence", "db", "path", "place", "position", "stamped")

    def __init__(self, path: Path, damaged: ErrorCode, db: Database, place: tuple[int, int]) -> None:
        self.path = path
        self.db = db
        self.place = place
        self.position = 0
        self.stamped = 0
        self._damaged = damaged
        self._sequence = 0

    @classmethod
    def create(
        cls,
        path: Path,
        damaged: ErrorCode,
        place: tuple[int, int] = (0, 1),
        position: int = 0,
        **options: Any,
    ) -> "Part":
        """A new, empty part whose first stamp says ``position``."""
        part = cls(path, damaged, open_database(path, damaged, create=True, **options), place)
        part.commit({}, position)
        sync_directory(path.parent)
        return part

    @classmethod
    def open(cls, path: Path, damaged: ErrorCode, **options: Any) -> "Part":
        """Open an existing part. Raises StorageError(damaged) where its stamps have a gap or it does not
        open.
        """
        part = cls(path, damaged, open_database(path, damaged, create=False, **options), (0, 1))
        try:
            part._read_stamps()
        except BaseException:
            part.close()
            raise
        return part

    def commit(self, entries: Mapping[bytes, bytes | None], position: int, *, synced: bool = True) -> None:
        """Write ``entries`` (None deletes) and the stamp ``position`` in one batch, durable on return if
        ``synced``. Damage that LevelDB met behind the scenes, when it merged tables, is told here.
        """
        try:
            batch = self.db.write_batch(sync=synced)
            put, delete = batch.put, batch.delete
            for key, value in entries.items():
                if value is None:
                    delete(key)
                else:
                    put(key, value)
            self._sequence += 1
            put(_stamp_key(self._sequence), _STAMP.pack(position, *self.place))
            if self._sequence > STAMPS_KEPT:
                delete(_stamp_key(self._sequence - STAMPS_KEPT))
            batch.write()
        except (plyvel.Error, OSError, RuntimeError) as error:
            raise self.damage(error) from error
        self.position = self.stamped = position

    def damage(self, error: Exception) -> StorageError:
        """What to raise for ``error``, met while reading or writing. Broken data is marked, so that the next
        open rebuilds this part.
        """
        found = translate(error, self._damaged, self.path)
        if found.error is self._damaged:
            mark_suspect(self.path)
        return found

    def close(self) -> None:
        """Close the database."""
        self.db.close()

    def _read_stamps(self) -> None:
        with translated(self._damaged, self.path):
            stamps = list(rows_of(self.db, layout.STAMP, layout.successor(layout.STAMP) or b""))
        numbers = [int.from_bytes(key[1:], "big") for key, _ in stamps]
        last = numbers[-1] if numbers else 0
        if not numbers or numbers != list(range(max(1, last - STAMPS_KEPT + 1), last + 1)):
            raise StorageError(self._damaged, path=str(self.path), cause="a committed batch is missing")
        position, index, of = _STAMP.unpack(stamps[-1][1])
        self.position = self.stamped = position
        self.place = (index, of)
        self._sequence = last


def rows_of(
    source: Database, low: bytes, high: bytes, *, reverse: bool = False
) -> Iterator[tuple[bytes, bytes]]:
    """Rows of a database or snapshot with ``low <= key < high``; downwards with ``reverse``. Raises errors
    of LevelDB.

    Upwards, the end is looked at again by hand: plyvel's own iterator ends without a word where the last
    block of a table is damaged, and only moving by hand tells. Downwards it moves by hand throughout: the
    reverse iterator yields nothing where the range holds one key and ``high`` exists.
    """
    if not reverse:
        last = low
        with source.iterator(start=low, stop=high, verify_checksums=True) as rows:
            for row in rows:
                last = row[0]
                yield row
        with source.raw_iterator(verify_checksums=True) as cursor:
            cursor.seek(last)
            if cursor.valid() and cursor.key() == last:
                cursor.next()
            cursor.valid()  # raises where the end was no end
        return
    with source.raw_iterator(verify_checksums=True) as cursor:
        cursor.seek(high)
        if cursor.valid():
            cursor.prev()
        else:
            cursor.seek_to_last()
        while cursor.valid():
            key, value = cursor.item()
            if key < low:
                return
            yield key, value
            cursor.prev()


def _stamp_key(sequence: int) -> bytes:
    return layout.STAMP + sequence.to_bytes(8, "big")


def mark_suspect(path: Path) -> None:
    """Remember that the database at ``path`` holds broken data."""
    try:
        suspect_path(path).touch()
    except OSError:  # a disk that takes no marker must not hide the damage that is being reported
        return


def suspect_path(path: Path) -> Path:
    """The marker beside the database at ``path``."""
    return path.with_name(path.name + layout.SUSPECT_SUFFIX)


def sync_directory(path: Path) -> None:
    """Make creations, renames and removals inside a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_files(path: Path) -> None:
    """Make all files in a directory durable, whoever wrote them."""
    for file in path.iterdir():
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    sync_directory(path)


def untold(*_done: object) -> None:
    """Progress that nobody asked to see."""


def write_file(path: Path, content: bytes, pending: Path) -> None:
    """Put a small file in place durably and at once: written as ``pending``, synced, renamed."""
    descriptor = os.open(pending, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    pending.rename(path)
    sync_directory(path.parent)


def sealed(content: bytes) -> bytes:
    """``content`` behind its CRC-32."""
    return zlib.crc32(content).to_bytes(CRC_BYTES, "big") + content


def unsealed(data: bytes) -> bytes | None:
    """The content of ``sealed``, or None where it is damaged."""
    content = data[CRC_BYTES:]
    return content if content and zlib.crc32(content).to_bytes(CRC_BYTES, "big") == data[:CRC_BYTES] else None


def remove_tree(path: Path) -> None:
    """Remove a directory and what is in it, if it is there; durable on return."""
    if path.exists():
        shutil.rmtree(path)
        sync_directory(path.parent)


def make_directory(path: Path) -> None:
    """Make a directory that only its owner can enter, durably."""
    path.mkdir(mode=layout.DIRECTORY_MODE)
    sync_directory(path.parent)
