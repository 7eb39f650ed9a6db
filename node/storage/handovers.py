"""The shelf of hand-overs: one small sealed file for each change of validators, kept for ever.

A hand-over is signed by validators who may be gone tomorrow, and CometBFT prunes what it no longer needs; a
receipt needs all of them. What always holds: a file that is there is whole, or is reported and counts as
missing; writing one is atomic and synced.
"""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from node.storage import layout
from node.storage.database import make_directory, sealed, translated, unsealed, write_file
from node.storage.errors import StorageCode

_MARK: Final = struct.Struct(">QQ")


class HandoverShelf:
    """Implements engine.cometbft.certificates.Shelf over a folder."""

    def __init__(self, data_dir: Path) -> None:
        """Open the shelf of a data directory, made first if there is none. Raises StorageError IO_FAILED."""
        self._path = data_dir / layout.HANDOVERS
        self.reports: list[str] = []
        """Damaged files that ``load`` met."""
        if not self._path.exists():
            with translated(StorageCode.IO_FAILED, self._path):
                make_directory(self._path)

    def load(self) -> Sequence[tuple[int, bytes]]:
        """(height, content) of all hand-overs that are whole, ascending. Raises StorageError IO_FAILED."""
        found = []
        with translated(StorageCode.IO_FAILED, self._path):
            for path in sorted(self._path.iterdir()):
                if not path.name.isdigit():
                    continue
                content = unsealed(path.read_bytes())
                if content is None:
                    self.reports.append(f"the hand-over {path} is damaged: it is fetched again")
                else:
                    found.append((int(path.name), content))
        return found

    def save(self, height: int, content: bytes) -> None:
        """Keep a hand-over, durably. Raises StorageError."""
        self._write(layout.handover_name(height), content)

    @property
    def mark(self) -> tuple[int, int]:
        """Up to which height the log was searched, and how many hand-overs were kept then; zeros where
        nobody knows. Raises StorageError IO_FAILED.
        """
        path = self._path / layout.HANDOVERS_MARK
        with translated(StorageCode.IO_FAILED, self._path):
            content = unsealed(path.read_bytes()) if path.exists() else None
        return _MARK.unpack(content) if content and len(content) == _MARK.size else (0, 0)

    @mark.setter
    def mark(self, mark: tuple[int, int]) -> None:
        self._write(layout.HANDOVERS_MARK, _MARK.pack(*mark))

    def _write(self, name: str, content: bytes) -> None:
        path = self._path / name
        with translated(StorageCode.IO_FAILED, path):
            write_file(path, sealed(content), path.with_name(name + layout.PENDING_SUFFIX))
