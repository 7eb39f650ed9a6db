"""Spent request ids on disk: one small LevelDB a minute of creation, dropped whole once nothing in it can
be alive.

A request id is a UUIDv7, so its first 48 bits say when it was made (milliseconds). Every bucket that should
exist is named in STAMP with the position of its last batch: a bucket that is missing, damaged or behind its
entry means that all are rebuilt from the log.
"""

import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import plyvel

from node.ledger.codec import NotCanonical, encode, trusted_decoder
from node.ledger.genesis import decode_genesis
from node.ledger.hashing import ZERO_HASH
from node.ledger.ports import Spent
from node.ledger.types import Leaf
from node.storage import layout
from node.storage.database import Part, make_directory, remove_tree, sealed, unsealed, write_file
from node.storage.errors import StorageCode, StorageError

MINUTE_MS: Final = 60_000
MARGIN_MS: Final = 60_000
BUCKET_WRITE_BUFFER_BYTES: Final = 4 * 1024 * 1024
BUCKET_CACHE_BYTES: Final = 1024 * 1024
FILTER_BYTES: Final = 1024 * 1024
"""A bucket of 600,000 ids (10,000 a second) reads in vain for 2 of 100 unspent ones."""
FILTER_MASK: Final = FILTER_BYTES * 8 - 1
FILTER_SHIFT: Final = 24

_ROW: Final = struct.Struct(">32sQI")
_decode_stamp: Final = trusted_decoder(tuple[int, tuple[tuple[int, int], ...]])
_decode_leaf: Final = trusted_decoder(Leaf)


def spent_key(member: str, request_id: bytes) -> bytes:
    """The key of a spent id."""
    return member.encode() + b"\0" + request_id


def minute_of(key: bytes) -> int:
    """The minute in which the request id at the end of a spent key was made."""
    return int.from_bytes(key[-16:-10], "big") // MINUTE_MS


def floor_minute(head_time_ms: int, lifetime_ms: int) -> int:
    """The first minute whose ids may still be alive, or asked for, at the head's time."""
    return max(0, head_time_ms - lifetime_ms - MARGIN_MS) // MINUTE_MS


def lifetime_of(document: bytes, given: int) -> int:
    """How long request ids are remembered: as the genesis document in the log says, ``given`` without one."""
    try:
        return decode_genesis(document).limits.lifetime_ms
    except NotCanonical:
        return given


def spent_of_leaves(leaves: Iterable[bytes], height: int) -> dict[bytes, Spent]:
    """The ids that a block spent, from its leaves; a system receipt (tx id of zeros) spends none."""
    decoded = ((index, _decode_leaf(leaf)) for index, leaf in enumerate(leaves))
    return {
        spent_key(leaf.member, leaf.request_id): Spent(leaf.tx_id, height, index)
        for index, leaf in decoded
        if leaf.tx_id != ZERO_HASH
    }


class SpentIds:
    """The buckets, complete up to block number ``position``. One thread flushes; another may ask at the
    same time.
    """

    def __init__(self, path: Path, lifetime_ms: int, head_time_ms: int) -> None:
        """Open what is at ``path``. What is missing or damaged is removed and ``position`` is 0: replay
        from there, or from ``skip_to``. ``rebuilt`` says so.
        """
        self.position = 0
        self.rebuilt = ""
        self._path = path
        self._lifetime_ms = lifetime_ms
        self._floor = floor_minute(head_time_ms, lifetime_ms)
        self._buckets: dict[int, Part] = {}
        self._filters: dict[int, _Filter] = {}
        self._closing: list[Part] = []
        try:
            self._load()
        except StorageError as error:
            if error.error is not StorageCode.SPENT_DAMAGED:
                raise
            self.rebuilt = str(error.details.get("cause", error))
            self._start_anew()

    @property
    def floor_ms(self) -> int:
        """Blocks older than this hold no id that could still be asked for."""
        return self._floor * MINUTE_MS - MARGIN_MS

    def skip_to(self, position: int) -> None:
        """Count blocks below ``position`` as done: they are older than ``floor_ms``."""
        self.position = max(self.position, position)

    def get(self, key: bytes) -> Spent | None:
        """Who spent the id. None for an id too old to be alive. Raises StorageError SPENT_DAMAGED."""
        minute = minute_of(key)
        bucket = self._buckets.get(minute)
        if bucket is None or minute < self._floor:
            return None
        known = self._filters.get(minute)
        if known is not None and not known.may_hold(key):
            return None
        try:
            row = bucket.db.get(key, verify_checksums=True)
        except (plyvel.Error, RuntimeError) as error:
            raise bucket.damage(error) from error
        return None if row is None else Spent(*_ROW.unpack(row))

    def flush(self, layers: Iterable[Mapping[bytes, Spent]], position: int, head_time_ms: int) -> None:
        """Write the ids of ``layers``, complete up to ``position``, and drop buckets that the head's time
        has left behind.
        """
        self._close_dropped()
        self._floor = max(self._floor, floor_minute(head_time_ms, self._lifetime_ms))
        rows: dict[int, dict[bytes, bytes | None]] = {}
        for layer in layers:
            for key, spent in layer.items():
                minute = minute_of(key)
                if minute >= self._floor:
                    rows.setdefault(minute, {})[key] = _ROW.pack(spent.tx_id, spent.height, spent.index)
        for minute, entries in rows.items():
            bucket = self._bucket(minute)
            if known := self._filters.get(minute):
                known.add(entries)
            bucket.commit(entries, position)
        for minute in [minute for minute in self._buckets if minute < self._floor]:
            self._closing.append(self._buckets.pop(minute))
            self._filters.pop(minute, None)
        buckets = tuple((minute, part.position) for minute, part in sorted(self._buckets.items()))
        self._write_stamp(position, buckets)
        self.position = position

    def close(self) -> None:
        """Close all buckets."""
        for part in (*self._buckets.values(), *self._closing):
            part.close()
        self._buckets.clear()
        self._filters.clear()
        self._closing.clear()

    def _bucket(self, minute: int) -> Part:
        part = self._buckets.get(minute)
        if part is None:
            path = self._path / str(minute)
            remove_tree(path)  # made by a flush that never reached STAMP
            part = Part.create(path, StorageCode.SPENT_DAMAGED, **_options())
            self._filters[minute] = _Filter()
            self._buckets[minute] = part
        return part

    def _close_dropped(self) -> None:
        """Close buckets dropped by the flush before: nobody has asked them since."""
        for part in self._closing:
            part.close()
            remove_tree(part.path)
        self._closing.clear()

    def _write_stamp(self, position: int, buckets: tuple[tuple[int, int], ...]) -> None:
        stamp = self._path / layout.SPENT_STAMP
        write_file(stamp, sealed(encode((position, buckets))), stamp.with_suffix(".new"))

    def _load(self) -> None:
        stamp = self._path / layout.SPENT_STAMP
        content = unsealed(stamp.read_bytes()) if stamp.is_file() else None
        if content is None:
            raise StorageError(
                StorageCode.SPENT_DAMAGED, path=str(stamp), cause="the stamp is missing or damaged"
            )
        try:
            position, buckets = _decode_stamp(content)
        except msgspec.MsgspecError as error:
            raise StorageError(
                StorageCode.SPENT_DAMAGED,
                path=str(stamp),
                cause="the stamp is of no form that this release knows",
            ) from error
        self._remove_all_but({str(minute) for minute, _ in buckets})
        for minute, committed in buckets:
            path = self._path / str(minute)
            if minute < self._floor:
                remove_tree(path)
                continue
            part = Part.open(path, StorageCode.SPENT_DAMAGED, **_options())
            self._buckets[minute] = part
            if part.position < committed or path.with_name(path.name + layout.SUSPECT_SUFFIX).exists():
                raise StorageError(StorageCode.SPENT_DAMAGED, path=str(path), cause="the bucket lost ids")
        self.position = position

    def _remove_all_but(self, named: set[str]) -> None:
        """Remove buckets that a flush made and never named, or dropped and never removed."""
        for path in self._path.iterdir():
            if path.is_dir() and path.name not in named:
                remove_tree(path)

    def _start_anew(self) -> None:
        self.close()
        self.position = 0
        remove_tree(self._path)
        make_directory(self._path)
        self._write_stamp(0, ())


class _Filter:
    """A Bloom filter over a bucket's ids, so that an unspent id costs no read: the end of a UUIDv7 is chance,
    and serves as its own two hashes. A client that spoils the chance costs itself a read.
    """

    __slots__ = ("_bits",)

    def __init__(self) -> None:
        self._bits = bytearray(FILTER_BYTES)

    def add(self, keys: Iterable[bytes]) -> None:
        """Take ids in; before anybody may ask for them."""
        bits = self._bits
        for key in keys:
            chance = int.from_bytes(key[-8:], "big")
            for place in (chance & FILTER_MASK, chance >> FILTER_SHIFT & FILTER_MASK):
                bits[place >> 3] |= 1 << (place & 7)

    def may_hold(self, key: bytes) -> bool:
        """False: the id is certainly not in the bucket."""
        bits = self._bits
        chance = int.from_bytes(key[-8:], "big")
        first, second = chance & FILTER_MASK, chance >> FILTER_SHIFT & FILTER_MASK
        return bool(bits[first >> 3] >> (first & 7) & 1 and bits[second >> 3] >> (second & 7) & 1)


def _options() -> dict[str, Any]:
    return {
        "cache_bytes": BUCKET_CACHE_BYTES,
        "write_buffer_bytes": BUCKET_WRITE_BUFFER_BYTES,
        "open_files": 100,
    }
