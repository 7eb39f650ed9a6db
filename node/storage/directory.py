"""The data directory as a whole: who may open it, whether it is ours, how its creation and a re-shard end
or are undone.

Creation writes VERSION.new first and renames it to VERSION last, so that a directory with VERSION is
complete and one with VERSION.new alone holds nothing that anybody was promised. HEAD is written after each
sync of the log and therefore never ahead of it: a log that ends before HEAD has lost blocks.
"""

import fcntl
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from node.ledger.codec import encode, trusted_decoder
from node.storage import layout
from node.storage.database import (
    CRC_BYTES,
    make_directory,
    remove_tree,
    sealed,
    sync_directory,
    translated,
    unsealed,
    write_file,
)
from node.storage.errors import StorageCode, StorageError

HEAD_BYTES: Final = CRC_BYTES + 64
FILES_A_SHARD: Final = 12
FILES_BESIDE_SHARDS: Final = 1_024
REMADE: Final = (layout.LOG, layout.STATE, layout.SPENT, layout.INDEX, layout.HANDOVERS)

_decode_head: Final = trusted_decoder(tuple[int, bytes])


class DirectoryLock:
    """The right to use a data directory, held until ``release`` or the end of the process."""

    def __init__(self, path: Path) -> None:
        """Take the lock. Raises StorageError DIRECTORY_IN_USE."""
        self._descriptor = os.open(path / layout.LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._descriptor)
            raise StorageError(StorageCode.DIRECTORY_IN_USE, path=str(path)) from error

    def release(self) -> None:
        """Give the lock back."""
        os.close(self._descriptor)


class HeadFile:
    """How many blocks are durable and the last one's app hash, outside the log. A guard: a damaged one is
    reported and made anew.
    """

    def __init__(self, path: Path) -> None:
        """Open or make the file at ``path``."""
        self.path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def read(self) -> tuple[int, bytes] | None:
        """(blocks, app hash of the last), or None where nothing readable is there."""
        data = os.pread(self._descriptor, HEAD_BYTES, 0)
        size = data[CRC_BYTES] if len(data) == HEAD_BYTES else 0
        content = unsealed(data[: CRC_BYTES + 1 + size])
        try:
            return _decode_head(content[1:]) if content is not None and size else None
        except msgspec.MsgspecError:  # whole, and not of this release
            return None

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever written."""
        return os.fstat(self._descriptor).st_size == 0

    def write(self, blocks: int, app_hash: bytes) -> None:
        """Put the head in place: one write inside one sector, not synced, since it may lag behind the log
        but never lead it.
        """
        content = encode((blocks, app_hash))
        with translated(StorageCode.IO_FAILED, self.path):
            os.pwrite(self._descriptor, sealed(bytes((len(content),)) + content).ljust(HEAD_BYTES, b"\0"), 0)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


@contextmanager
def creating(path: Path) -> Iterator[None]:
    """Create a data directory at ``path``: the body makes its parts, and it counts as created when the body
    ends.

    What a creation that was cut off left there is removed. Raises StorageError NOT_EMPTY where anything
    else is there.
    """
    path.mkdir(mode=layout.DIRECTORY_MODE, parents=True, exist_ok=True)
    lock = DirectoryLock(path)
    try:
        names = {entry.name for entry in path.iterdir()} - {layout.LOCK}
        if names and (layout.VERSION in names or layout.VERSION_PENDING not in names):
            raise StorageError(StorageCode.NOT_EMPTY, path=str(path))
        for name in (*REMADE, layout.SNAPSHOTS, layout.INSTALLING):
            remove_tree(path / name)
        (path / layout.HEAD).unlink(missing_ok=True)
        (path / layout.VERSION_PENDING).write_bytes(layout.STORAGE_VERSION)
        sync_directory(path)
        make_directory(path / layout.STATE)
        yield
        write_file(path / layout.VERSION, layout.STORAGE_VERSION, path / layout.VERSION_PENDING)
    finally:
        lock.release()


def is_created(path: Path) -> bool:
    """Whether a complete data directory is at ``path``."""
    return (path / layout.VERSION).is_file()


def check_version(path: Path) -> None:
    """Raises StorageError MISSING or VERSION_UNKNOWN."""
    if not is_created(path):
        raise StorageError(StorageCode.MISSING, path=str(path))
    found = (path / layout.VERSION).read_bytes()
    if found != layout.STORAGE_VERSION:
        raise StorageError(StorageCode.VERSION_UNKNOWN, path=str(path), found=repr(found[:40]))


def complete_reshard(path: Path) -> None:
    """Let the new shards, all of them written, take the place of the old ones."""
    complete = path / layout.STATE_NEW / layout.COMPLETE
    write_file(complete, b"complete\n", complete.with_suffix(".new"))
    settle_reshard(path)


def settle_reshard(path: Path) -> None:
    """Finish a re-shard that was complete, undo one that was not. Idempotent; each step is durable before
    the next.
    """
    state, new, old = path / layout.STATE, path / layout.STATE_NEW, path / layout.STATE_OLD
    if new.exists() and not (new / layout.COMPLETE).exists():
        remove_tree(new)
    if new.exists():
        if state.exists():
            remove_tree(old)
            state.rename(old)
            sync_directory(path)
        new.rename(state)
        sync_directory(path)
    if (state / layout.COMPLETE).exists():
        remove_tree(old)
        (state / layout.COMPLETE).unlink()
        sync_directory(state)


def raise_file_limit(shards: int) -> None:
    """Let this process open the files that so many shards need, as far as the system permits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_BESIDE_SHARDS + FILES_A_SHARD * shards
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def free_bytes(path: Path) -> int:
    """Bytes that this process may still write on the disk of ``path``."""
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize
