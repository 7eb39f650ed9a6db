"""State as layers over shards: the newest blocks' writes in memory, newest first, above LevelDBs that hold
all older ones.

A layer is one block's writes and never changes; a tuple of layers is replaced, never edited. So a reader
that holds a tuple and the sources below it reads without a lock. Where a source is newer than the tuple's
oldest layers, those layers say the same or newer again, so what is read is right. State records and the
tree's pairs share the shards, each under its own first byte.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import merge
from itertools import chain
from typing import Any, Final
from zlib import crc32

import plyvel

from node.ledger.ports import Spent
from node.ledger.types import BlockRecord, Write
from node.storage import layout
from node.storage.database import Database, Part, rows_of

Row = tuple[bytes, bytes]
_Ranked = tuple[bytes, int, bytes | None]

PARTITION_NULS: Final = 3

MISSING: Final[Any] = object()
_RECORD: Final = layout.RECORD
_TREE: Final = layout.TREE
_TREE_END: Final = bytes((_TREE[0] + 1,))
_PAST_ANY_KEY: Final = b"\xff" * 33


def shard_of(key: bytes, shards: int) -> int:
    """The shard of a state record: by the hash of its partition, the key up to and including its third NUL
    byte.
    """
    if shards == 1:
        return 0
    parts = key.split(b"\0", PARTITION_NULS)
    return crc32(key[: len(key) - len(parts[-1])] if len(parts) > PARTITION_NULS else key) % shards


def home_of(stored: bytes, shards: int) -> int:
    """The shard of a stored key: a record by its partition, a pair of the tree by the first byte of K."""
    return stored[1] % shards if stored.startswith(_TREE) else shard_of(stored[1:], shards)


class Layer:
    """What one block changed, sorted by shard: stored key -> value, None where it was deleted."""

    __slots__ = (
        "_keys",
        "byte_count",
        "height",
        "history",
        "position",
        "shards",
        "spent",
        "time_ms",
        "writes",
    )

    def __init__(
        self,
        record: BlockRecord,
        tree: Iterable[Write],
        spent: Mapping[bytes, Spent],
        position: int,
        shards: int,
    ) -> None:
        """position: how many blocks there are up to and with this one. tree: the pairs (K, V) that the
        writes change.
        """
        self.position = position
        self.height = record.height
        self.time_ms = record.time_ms
        self.spent = spent
        self.writes = record.writes
        self.history = {(level, index): node for level, index, node in record.history}
        self.shards: tuple[dict[bytes, bytes | None], ...] = tuple({} for _ in range(shards))
        self._keys: list[Sequence[bytes] | None] = [None] * shards
        parts = self.shards
        count = 0
        for key, value in tree:
            parts[key[0] % shards][_TREE + key] = value
            count += 65
        for key, value in record.writes:
            parts[shard_of(key, shards)][_RECORD + key] = value
            count += len(key) + len(value or b"")
        self.byte_count = count + 80 * len(spent)

    def ranked(
        self, shard: int, low: bytes, high: bytes, rank: int, *, reverse: bool
    ) -> Iterator[_Ranked] | None:
        """This layer's rows of a shard with ``low <= key < high``, for a merge; None where there are none."""
        rows = self.shards[shard]
        keys = self._keys[shard]
        if keys is None:  # sorted at the first need; two threads may both do it, with the same result
            keys = self._keys[shard] = sorted(rows)
        start = bisect_left(keys, low)
        stop = bisect_left(keys, high, start)
        if start == stop:
            return None
        span = range(stop - 1, start - 1, -1) if reverse else range(start, stop)
        return ((keys[at], rank, rows[keys[at]]) for at in span)


class Records:
    """Reads of layers over sources; implements ports.Reader's ``get`` and ``scan`` and ports.Store's
    ``tree_scan``.

    ``layers``: newest first. ``sources``: one a shard, a LevelDB or a snapshot of one. ``_parts``: told of
    damage met.
    """

    layers: tuple[Layer, ...]
    sources: tuple[Database, ...]
    _parts: Sequence[Part]

    def get(self, key: bytes) -> bytes | None:
        """The record's encoding, or None. Raises StorageError SHARD_DAMAGED."""
        shard = shard_of(key, len(self.sources))
        stored = _RECORD + key
        for layer in self.layers:
            value = layer.shards[shard].get(stored, MISSING)
            if value is not MISSING:
                found: bytes | None = value
                return found
        return self.below(shard, key)

    def below(self, shard: int, key: bytes) -> bytes | None:
        """The record's encoding below the layers. Raises StorageError SHARD_DAMAGED."""
        try:
            found: bytes | None = self.sources[shard].get(_RECORD + key, verify_checksums=True)
        except (plyvel.Error, RuntimeError) as error:
            raise self._parts[shard].damage(error) from error
        return found

    def scan(self, prefix: bytes, start: bytes = b"", *, reverse: bool = False) -> Iterator[Row]:
        """Records whose key begins with ``prefix``, in order of keys (ports.Reader). Raises StorageError
        SHARD_DAMAGED.
        """
        low = _RECORD + prefix
        high = layout.successor(low) or b""  # never empty: a stored key begins with its kind
        if start and reverse:
            high = min(high, _RECORD + start + b"\0")
        elif start:
            low = max(low, _RECORD + start)
        shards = len(self.sources)
        touched = (shard_of(prefix, shards),) if prefix.count(b"\0") >= PARTITION_NULS else range(shards)
        return self._range(touched, low, high, reverse=reverse)

    def unordered(self) -> Iterator[Row]:
        """Every record once, shard after shard. Raises StorageError SHARD_DAMAGED."""
        layers, end = self.layers, layout.successor(_RECORD) or b""
        for shard, source in enumerate(self.sources):
            newer: dict[bytes, bytes | None] = {}
            for layer in reversed(layers):
                newer.update(layer.shards[shard])
            for key, value in self._rows(shard, source, _RECORD, end, reverse=False):
                if key not in newer:
                    yield key[1:], value
            for key, found in newer.items():
                if found is not None and key.startswith(_RECORD):
                    yield key[1:], found

    def tree_scan(self, low: bytes, high: bytes | None) -> Iterable[Row]:
        """The state tree's pairs (K, V) with ``low <= K < high``, ascending. Raises StorageError
        SHARD_DAMAGED.
        """
        shards = len(self.sources)
        if high == b"":
            return ()
        first = low[0] if low else 0
        last = 255 if high is None else high[0] - (not any(high[1:]))
        until = _TREE_END if high is None else _TREE + high
        if first == last:
            return self._range((first % shards,), _TREE + low, until, reverse=False)
        return chain.from_iterable(  # K is sharded by its first byte: range after range, nothing to merge
            self._range(
                (byte % shards,),
                max(_TREE + low, _TREE + bytes((byte,))),
                min(until, _TREE + bytes((byte, *_PAST_ANY_KEY))),
                reverse=False,
            )
            for byte in range(first, last + 1)
        )

    def _range(self, shards: Sequence[int], low: bytes, high: bytes, *, reverse: bool) -> Iterator[Row]:
        """Rows of the given shards with ``low <= stored key < high``, their keys without the first byte."""
        if low >= high:
            return
        layers, sources = self.layers, self.sources
        streams: list[Iterator[_Ranked]] = []
        bottom = -len(layers) if reverse else len(layers)
        for shard in shards:
            overlays = _overlays(layers, shard, low, high, reverse=reverse)
            rows = self._rows(shard, sources[shard], low, high, reverse=reverse)
            if not overlays and len(shards) == 1:  # nothing to merge
                for key, value in rows:
                    yield key[1:], value
                return
            streams += overlays
            streams.append(_at_rank(rows, bottom))
        last = None
        for key, _, newest in merge(*streams, reverse=reverse):
            if key != last:
                last = key
                if newest is not None:
                    yield key[1:], newest

    def _rows(self, shard: int, source: Database, low: bytes, high: bytes, *, reverse: bool) -> Iterator[Row]:
        try:
            yield from rows_of(source, low, high, reverse=reverse)
        except (plyvel.Error, RuntimeError) as error:
            raise self._parts[shard].damage(error) from error


def _at_rank(rows: Iterator[Row], rank: int) -> Iterator[_Ranked]:
    for key, value in rows:
        yield key, rank, value


def _overlays(
    layers: Sequence[Layer], shard: int, low: bytes, high: bytes, *, reverse: bool
) -> list[Iterator[_Ranked]]:
    """The layers' rows of a shard in a range. Ranked so that of equal keys the newest layer's comes first
    in the merge's direction.
    """
    found = (
        layer.ranked(shard, low, high, -age if reverse else age, reverse=reverse)
        for age, layer in enumerate(layers)
    )
    return [rows for rows in found if rows is not None]
