"""A last-signed record: a small value in a file of two slots, written in turn, synced before anybody is told.

A write that a crash tore leaves the slot before it. Whoever signs keeps what it signed here, outside the data
directory, so that a restored copy of the ledger cannot bring an old record back.
"""

import fcntl
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import msgspec

CHECK_DIGITS: Final = 16
PENDING_SUFFIX: Final = ".new"

Value = TypeVar("Value", bound=msgspec.Struct)


class RecordMissing(Exception):
    """There is no such file."""


class RecordUnusable(Exception):
    """The file cannot be opened, holds no intact slot, or could not be written; the text says which."""


class RecordInUse(Exception):
    """Another process holds the file: the same identity runs twice."""


class RecordFile(Generic[Value]):
    """One value of one kind, and the one before it until it is durable."""

    def __init__(
        self,
        path: Path,
        kind: type[Value],
        slot_bytes: int,
        order: Callable[[Value], Any],
        *,
        exclusive: bool = False,
    ) -> None:
        """order: what ascends from one value to the next, so that the newer slot is known. exclusive: hold
        the file against other processes of this machine until it is closed.

        Raises RecordMissing, RecordUnusable, RecordInUse.
        """
        self._path, self._kind, self._slot_bytes = path, kind, slot_bytes
        try:
            self._file = os.open(path, os.O_RDWR | os.O_DSYNC | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise RecordMissing(f"{path} is missing") from error
        except OSError as error:
            raise RecordUnusable(f"{path} cannot be opened: {error.strerror}") from error
        try:
            if exclusive:
                self._hold()
            self.last, self._turn = self._load(order)
        except BaseException:
            os.close(self._file)
            raise

    @staticmethod
    def create(path: Path, value: Value, slot_bytes: int) -> None:
        """Write a new record: whole and durable under its name, or not there. Raises FileExistsError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(path.name + PENDING_SUFFIX)
        file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(file, _sealed(value, slot_bytes))
            os.fsync(file)
        finally:
            os.close(file)
        try:
            os.link(fresh, path)  # unlike a rename it takes nobody's place
        finally:
            fresh.unlink()
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def write(self, value: Value) -> None:
        """Put on record, synced. Raises RecordUnusable, and then nothing may be told."""
        turn = self._turn ^ 1
        sealed = _sealed(value, self._slot_bytes)
        try:
            written = os.pwrite(self._file, sealed, turn * self._slot_bytes)
        except OSError as error:
            raise RecordUnusable(f"{self._path} cannot be written: {error.strerror}") from error
        if written != len(sealed):
            raise RecordUnusable(f"{self._path} was written in part: the disk is full")
        self.last, self._turn = value, turn

    def close(self) -> None:
        """Close the file; others may hold it then."""
        os.close(self._file)

    def _hold(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RecordInUse(f"{self._path} is held by another process") from error

    def _load(self, order: Callable[[Value], Any]) -> tuple[Value, int]:
        """The newer of the slots that are intact, and which it is."""
        slots = [
            (self._unsealed(os.pread(self._file, self._slot_bytes, turn * self._slot_bytes)), turn)
            for turn in (0, 1)
        ]
        known = [(value, turn) for value, turn in slots if value is not None]
        if not known:
            raise RecordUnusable(f"{self._path} is damaged: bring back an intact copy")
        return max(known, key=lambda slot: order(slot[0]))

    def _unsealed(self, slot: bytes) -> Value | None:
        check, content = slot[:CHECK_DIGITS], slot[CHECK_DIGITS:].rstrip()
        if hashlib.sha256(content).hexdigest()[:CHECK_DIGITS].encode() != check:
            return None
        try:
            return msgspec.json.decode(content, type=self._kind)
        except ValueError as error:  # msgspec's own errors and bad UTF-8 are ValueErrors
            raise RecordUnusable(f"{self._path} is a record of another kind: {error}") from error


def _sealed(value: msgspec.Struct, slot_bytes: int) -> bytes:
    content = msgspec.json.encode(value)
    sealed = hashlib.sha256(content).hexdigest()[:CHECK_DIGITS].encode() + content
    if len(sealed) > slot_bytes:
        raise RecordUnusable(f"a record of {len(sealed)} bytes does not fit its slot of {slot_bytes}")
    return sealed.ljust(slot_bytes)
