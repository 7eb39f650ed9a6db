"""The vault's files: sealed documents under the hash of their bytes, as their owner's node keeps them.

    <vault_dir>/<first two digits>/<64 hexadecimal digits>    a document, sealed (keys/sealing.py); mode 0600
    <vault_dir>/incoming/<32 digits>                          one that is on its way

What always holds: a file is under its name only once all its bytes are durable and their hash is the name; a
file is never changed; whatever a process that ended left in ``incoming`` is removed by the next.
"""

import os
import secrets
import shutil
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple

from node.ledger import hashing
from node.ledger.hashing import HASH_BYTES, Suite
from node.storage.database import translated
from node.storage.directory import free_bytes
from node.storage.errors import StorageCode, StorageError

INCOMING: Final = "incoming"
READ_BYTES: Final = 256 * 1024
FILE_MODE: Final = 0o600
FOLDER_MODE: Final = 0o700
NAME_DIGITS: Final = 2 * HASH_BYTES


class Condition(StrEnum):
    """Of a document's bytes."""

    WHOLE = "whole"
    MISSING = "missing"
    DAMAGED = "damaged"


class Kept(NamedTuple):
    """A document on the disk. sealed: its name. changed: seconds since 1970."""

    sealed: bytes
    size_bytes: int
    changed: float


class VaultFiles:
    """One node's sealed documents. Any thread; each ``Incoming`` belongs to one caller."""

    def __init__(self, path: Path, suite: Suite, *, reserve_bytes: int) -> None:
        """path: made first if it is not there. reserve_bytes: below so much free space nothing is taken in.

        Raises StorageError IO_FAILED.
        """
        self._path = path
        self._suite = suite
        self._reserve_bytes = reserve_bytes
        incoming = path / INCOMING
        with translated(StorageCode.IO_FAILED, path):
            path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            if incoming.exists():
                shutil.rmtree(incoming)
            incoming.mkdir(mode=FOLDER_MODE)
            _sync_folder(path)

    def check_space(self, size_bytes: int) -> None:
        """Raises StorageError DISK_LOW where the disk would be nearly full with so many bytes more."""
        with translated(StorageCode.IO_FAILED, self._path):
            free = free_bytes(self._path)
        if free - size_bytes < self._reserve_bytes:
            raise StorageError(StorageCode.DISK_LOW, path=str(self._path), free_bytes=free)

    def incoming(self) -> "Incoming":
        """A document on its way. Raises StorageError IO_FAILED."""
        return Incoming(self._path, self._suite)

    def read(self, sealed: bytes) -> Iterator[bytes]:
        """A document's bytes, in portions. Not checked: whoever hands them on hashes them on the way.

        Raises StorageError IO_FAILED, FileNotFoundError where it is not there.
        """
        path = self._file(sealed)
        try:
            with path.open("rb") as file:
                while portion := file.read(READ_BYTES):
                    yield portion
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StorageError(StorageCode.IO_FAILED, path=str(path), reason=str(error)) from error

    def size_of(self, sealed: bytes) -> int | None:
        """How large a document's file is; None where there is none. Raises StorageError IO_FAILED."""
        path = self._file(sealed)
        with translated(StorageCode.IO_FAILED, path):
            return path.stat().st_size if path.exists() else None

    def examine(self, sealed: bytes) -> Condition:
        """Read a document through. Raises StorageError IO_FAILED."""
        found = hashing.streamed(self._suite, hashing.SEALED)
        try:
            for portion in self.read(sealed):
                found.update(portion)
        except FileNotFoundError:
            return Condition.MISSING
        return Condition.WHOLE if found.digest() == sealed else Condition.DAMAGED

    def destroy(self, sealed: bytes) -> bool:
        """Remove a document's bytes, durably; whether there were any. Raises StorageError IO_FAILED."""
        path = self._file(sealed)
        with translated(StorageCode.IO_FAILED, path):
            was_there = path.exists()
            path.unlink(missing_ok=True)
            if path.parent.exists():
                _sync_folder(path.parent)
        return was_there

    def all(self) -> Iterator[Kept]:
        """Every document on the disk, by name. Raises StorageError IO_FAILED."""
        with translated(StorageCode.IO_FAILED, self._path):
            for folder in sorted(self._path.iterdir()):
                for file in sorted(folder.iterdir()) if folder.name != INCOMING else []:
                    if len(file.name) == NAME_DIGITS:
                        found = file.stat()
                        yield Kept(bytes.fromhex(file.name), found.st_size, found.st_mtime)

    def size_bytes(self) -> int:
        """Of all documents on the disk. Raises StorageError IO_FAILED."""
        return sum(kept.size_bytes for kept in self.all())

    def _file(self, sealed: bytes) -> Path:
        return _place(self._path, sealed)


class Incoming:
    """A document that is being written. ``keep`` or ``drop`` ends it; both may be called after either."""

    def __init__(self, root: Path, suite: Suite) -> None:
        self._root = root
        self._path = root / INCOMING / secrets.token_hex(16)
        self._hash = hashing.streamed(suite, hashing.SEALED)
        self.size_bytes = 0
        with translated(StorageCode.IO_FAILED, self._path):
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
            self._file = os.fdopen(descriptor, "wb")

    def write(self, portion: bytes) -> None:
        """Add bytes. Raises StorageError IO_FAILED."""
        with translated(StorageCode.IO_FAILED, self._path):
            self._file.write(portion)
        self._hash.update(portion)
        self.size_bytes += len(portion)

    def keep(self) -> bytes:
        """Make what was written durable under its hash, which is returned. Raises StorageError IO_FAILED."""
        sealed = self._hash.digest()
        path = _place(self._root, sealed)
        with translated(StorageCode.IO_FAILED, path):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            if not path.parent.exists():
                path.parent.mkdir(mode=FOLDER_MODE, exist_ok=True)
                _sync_folder(self._root)
            self._path.replace(path)
            _sync_folder(path.parent)
        return sealed

    def drop(self) -> None:
        """Leave nothing behind. Raises StorageError IO_FAILED."""
        with translated(StorageCode.IO_FAILED, self._path):
            self._file.close()
            self._path.unlink(missing_ok=True)


def _place(root: Path, sealed: bytes) -> Path:
    name = sealed.hex()
    return root / name[:2] / name


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
