"""The shards of the state: opened, checked against one another, and those that are damaged moved aside and
begun anew.

A shard begun anew is at position 0, so that the store's replay of the log fills it. How many shards there
are is in every stamp; the names of the directories settle it only where no stamp can be read.
"""

from pathlib import Path
from typing import Any, Final

from node.storage import layout
from node.storage.database import (
    MIB,
    OPEN_FILES_MAX,
    Database,
    Part,
    suspect_path,
    sync_directory,
    translated,
)
from node.storage.directory import raise_file_limit
from node.storage.errors import StorageCode, StorageError

SHARDS_DEFAULT: Final = 8
BLOCK_BYTES: Final = 1024
WRITE_BUFFER_BYTES_MIN: Final = 256 * 1024
FILE_BYTES: Final = 4 * MIB


class Shards:
    """All shards, in order. ``reports`` tells what was damaged."""

    def __init__(self, state: Path, cache_bytes: int, write_buffer_bytes: int, blocks: int) -> None:
        """Open the shards in ``state``. blocks: how many the log has, for the names of shards moved aside."""
        self.reports: list[str] = []
        if not state.exists():
            state.mkdir(mode=layout.DIRECTORY_MODE)
            sync_directory(state.parent)
        names = _numbers(state)
        raise_file_limit(len(names))
        options = shard_options(len(names), cache_bytes, write_buffer_bytes)
        opened: dict[int, Part] = {}
        try:
            for number in names:
                self._open(state / layout.shard_name(number), number, options, opened)
            count = _agreed_count(opened, names)
            for number in [number for number in opened if opened[number].place != (number, count)]:
                self.reports.append(f"state shard {number} belongs to another set of shards")
                opened.pop(number).close()
            self.parts = tuple(
                opened.get(number)
                or self._begin_anew(state / layout.shard_name(number), (number, count), options, blocks)
                for number in range(count)
            )
        except BaseException:
            for part in opened.values():
                part.close()
            raise
        self.databases: tuple[Database, ...] = tuple(part.db for part in self.parts)

    @staticmethod
    def create(state: Path, count: int) -> None:
        """Make ``count`` empty shards in ``state``."""
        raise_file_limit(count)
        options = shard_options(count, MIB, MIB)
        for number, path in enumerate(layout.shard_paths(state, count)):
            Part.create(path, StorageCode.SHARD_DAMAGED, (number, count), **options).close()

    def snapshots(self) -> tuple[Database, ...]:
        """Every shard as it is now."""
        return tuple(database.snapshot() for database in self.databases)

    def close(self) -> None:
        """Close all shards."""
        for part in self.parts:
            part.close()

    def _open(self, path: Path, number: int, options: dict[str, Any], opened: dict[int, Part]) -> None:
        if not path.exists():
            return  # reported where it is begun anew
        if suspect_path(path).exists():
            self.reports.append(f"state shard {number} is damaged and is rebuilt from the log")
            return
        try:
            opened[number] = Part.open(path, StorageCode.SHARD_DAMAGED, **options)
        except StorageError as error:
            if error.error is not StorageCode.SHARD_DAMAGED:
                raise
            cause = error.details.get("cause", "")
            self.reports.append(f"state shard {number} is damaged and is rebuilt from the log: {cause}")

    def _begin_anew(self, path: Path, place: tuple[int, int], options: dict[str, Any], blocks: int) -> Part:
        if path.exists():
            aside = path.with_name(f"{path.name}{layout.DAMAGED_INFIX}{blocks}")
            attempt = 0
            while aside.exists():
                attempt += 1
                aside = aside.with_name(f"{path.name}{layout.DAMAGED_INFIX}{blocks}.{attempt}")
            with translated(StorageCode.SHARD_DAMAGED, path):
                path.rename(aside)
        else:
            self.reports.append(f"state shard {place[0]} is missing and is rebuilt from the log")
        part = Part.create(path, StorageCode.SHARD_DAMAGED, place, **options)
        suspect_path(path).unlink(missing_ok=True)
        sync_directory(path.parent)
        return part


def _numbers(state: Path) -> list[int]:
    """Numbers 0 to the highest of which there is a trace: a shard, or one moved aside."""
    traces = [int(entry.name[:3]) for entry in state.iterdir() if entry.name[:3].isdigit()]
    return list(range(max(traces, default=SHARDS_DEFAULT - 1) + 1))


def _agreed_count(opened: dict[int, Part], names: list[int]) -> int:
    """How many shards there are, by the majority of stamps; by the names where no stamp can be read."""
    votes = [part.place[1] for part in opened.values()]
    return max(set(votes), key=votes.count) if votes else len(names)


def checked_count(shards: int) -> int:
    """``shards``, if it is a number of shards that there can be. Raises ValueError."""
    if not 1 <= shards <= layout.SHARDS_MAX:
        raise ValueError(f"1 to {layout.SHARDS_MAX} shards, not {shards}")
    return shards


def shard_options(count: int, cache_bytes: int, write_buffer_bytes: int) -> dict[str, Any]:
    """LevelDB's settings for one of ``count`` shards that share a budget. Uncompressed 1 KB blocks: a cold
    read falls from 12 us to 2.5.
    """
    return {
        "cache_bytes": max(MIB // 4, cache_bytes // count),
        "write_buffer_bytes": max(WRITE_BUFFER_BYTES_MIN, write_buffer_bytes // count),
        "block_bytes": BLOCK_BYTES,
        "file_bytes": FILE_BYTES,
        "open_files": max(80, OPEN_FILES_MAX // count),
    }
