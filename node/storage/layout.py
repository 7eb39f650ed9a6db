"""Every path and every LevelDB key of a data directory, declared once.

A data directory holds::

    VERSION        the storage version; its appearance, by rename, ends the creation of the directory
    LOCK           held (flock) by the one process that has the directory open
    HEAD           how far the log is known to be durable: written after each sync, so never ahead of the log
    log/           the block log, the truth
    state/000..    the state, in 1 to 256 shards; a shard to be rebuilt has 003.suspect beside it,
                   one moved aside is 003.damaged-<blocks>
    state.new/     a re-shard under way; COMPLETE inside it means that it takes the place of state/
    spent/<minute> spent request ids by minute of creation, and STAMP
    index/         look-ups derived from the log
    handovers/     under CometBFT: each change of validators, signed by those before; MARK says how far the
                   log was searched for them
    snapshots/<height>/000000..   chunks of a snapshot, the manifest first; <height>.tmp is one being made
    installing/    a snapshot being taken in, laid out as a data directory; COMPLETE inside it means that its
                   parts take the place of the empty ones

Integers in keys are big-endian, so that the order of bytes is the order of values.
"""

from pathlib import Path
from typing import Final

STORAGE_VERSION: Final = b"vostro-storage 1\n"

VERSION: Final = "VERSION"
VERSION_PENDING: Final = "VERSION.new"
LOCK: Final = "LOCK"
HEAD: Final = "HEAD"
LOG: Final = "log"
STATE: Final = "state"
STATE_NEW: Final = "state.new"
STATE_OLD: Final = "state.old"
COMPLETE: Final = "COMPLETE"
SPENT: Final = "spent"
SPENT_STAMP: Final = "STAMP"
INDEX: Final = "index"
HANDOVERS: Final = "handovers"
HANDOVERS_MARK: Final = "MARK"
PENDING_SUFFIX: Final = ".new"
SNAPSHOTS: Final = "snapshots"
SNAPSHOT_PENDING_SUFFIX: Final = ".tmp"
INSTALLING: Final = "installing"
SUSPECT_SUFFIX: Final = ".suspect"
DAMAGED_INFIX: Final = ".damaged-"

SHARDS_MAX: Final = 256
DIRECTORY_MODE: Final = 0o700

# Keys of every database that follows the log (database.Part).
STAMP: Final = b"!"

# Keys of the block log. A block's keys begin with its height: LevelDB appends them and seldom rewrites them.
BASE: Final = b"b"
BLOCK: Final = b"B"
EDGE: Final = b"e"
GENESIS: Final = b"g"
POSITION: Final = b"n"
POSITION_KEY_BYTES: Final = 9
PRUNING: Final = b"p"
HISTORY: Final = b"t"

# What follows the height in a block's key.
BODIES: Final = b"b"
HEADER: Final = b"h"
LEAVES: Final = b"l"
RECEIPTS: Final = b"r"
WRITES: Final = b"w"

# Keys of a state shard.
TREE: Final = b"k"
RECORD: Final = b"s"

# Keys of the index.
BY_ACCOUNT: Final = b"a"
BY_MEMBER: Final = b"m"
BY_TX: Final = b"t"
INDEX_BEGIN: Final = b"b"
INDEX_HEIGHT: Final = b"h"


def block_key(height: int, kind: bytes, chunk: int = 0) -> bytes:
    """Key in the log of one chunk of a block."""
    return BLOCK + height.to_bytes(8, "big") + kind + chunk.to_bytes(4, "big")


def block_height(key: bytes) -> int:
    """The height in a block's key."""
    return int.from_bytes(key[1:9], "big")


def position_key(position: int) -> bytes:
    """Key in the log of the height at which the block number ``position``, counted from 0, stands."""
    return POSITION + position.to_bytes(8, "big")


def history_key(level: int, index: int) -> bytes:
    """Key in the log of a node of the history tree."""
    return HISTORY + level.to_bytes(1, "big") + index.to_bytes(8, "big")


def edge_key(position: int) -> bytes:
    """Key in the log of the app hash of a header that is gone and begins a peak of the history tree."""
    return EDGE + position.to_bytes(8, "big")


def chunk_name(index: int) -> str:
    """Name of a chunk's file in a snapshot's directory."""
    return f"{index:06d}"


def shard_name(shard: int) -> str:
    """Name of a shard's directory inside state/."""
    return f"{shard:03d}"


def successor(prefix: bytes) -> bytes | None:
    """The least key above all keys that begin with ``prefix``; None where there is none."""
    stripped = prefix.rstrip(b"\xff")
    return stripped[:-1] + bytes((stripped[-1] + 1,)) if stripped else None


def shard_paths(state: Path, shards: int) -> list[Path]:
    """Directories of all shards."""
    return [state / shard_name(shard) for shard in range(shards)]


def handover_name(height: int) -> str:
    """Name of a hand-over's file inside handovers/."""
    return f"{height:020d}"
