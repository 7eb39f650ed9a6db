"""The state as a block changes it: one overlay of decoded records with a journal, and typed tables above it.

``Delta`` is at once the block's overlay, the rollback journal and the bounded record cache: a record is
decoded once, changed as a value, and encoded once, at the end of the block. What always holds: after
``rollback(mark)`` every ``get`` answers as it did at ``savepoint()``; the write set is ordered by key and
depends on the transactions alone.

Keys (formats.md, "State"): ``contract 00 table 00 parts``; text is UTF-8 and 00, bytes have their declared
length, an integer is 8 bytes big-endian. Text reaches a key only after the check for control characters
(contract.py), so no part can run into the next.
"""

import heapq
from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Annotated, Any, Generic, Protocol, Self, TypeVar, get_args, get_origin

from msgspec import Meta

from node.ledger import codec
from node.ledger.errors import InvariantViolated
from node.ledger.ports import Reader
from node.ledger.types import Record, Write

R = TypeVar("R", bound=Record)
Decode = Callable[[bytes], Any]
Part = str | int | bytes

_UNREAD: Any = object()

HEADS_MAX = 64
"""Prefixes of which is remembered where they begin."""

TEXT, INTEGER = 0, 8
"""Kinds of a key's part; bytes have minus their length."""


class _Owner(Protocol):
    """A class that declares tables."""

    name: str


class State(Protocol):
    """What a table needs: records by key. ``Delta`` changes them, ``View`` only reads."""

    def get(self, key: bytes, decode: Decode) -> Any:
        """The record under ``key``, or None."""

    def put(self, key: bytes, record: Record | None) -> None:
        """Set the record under ``key``; None deletes it."""

    def scan(
        self, prefix: bytes, start: bytes, decode: Decode, *, reverse: bool
    ) -> Iterator[tuple[bytes, Any]]:
        """Records under ``prefix`` from ``start`` on."""


def _decoded(key: bytes, data: bytes, decode: Decode) -> Any:
    """A stored record. One that does not decode is this node's damage, never a contract's fault."""
    try:
        return decode(data)
    except ValueError as error:
        raise InvariantViolated(f"the stored record {key!r} does not decode") from error


class Delta:
    """The overlay of the block in progress above a store, and the cache of the records that recent blocks
    used.
    """

    def __init__(self, reader: Reader, capacity: int) -> None:
        """capacity: how many decoded records stay in memory between blocks."""
        self._reader = reader
        self._capacity = capacity
        self._records: dict[bytes, Record | None] = {}
        self._journal: list[tuple[bytes, Any]] = []
        self._sorted: list[bytes] = []
        self._sorted_count = 0
        self._written: list[bytes] = []
        self._heads: dict[bytes, bytes | None] = {}

    def get(self, key: bytes, decode: Decode) -> Any:
        """The record under ``key``, or None."""
        record = self._records.get(key, _UNREAD)
        if record is _UNREAD:
            data = self._reader.get(key)
            record = self._records[key] = None if data is None else _decoded(key, data, decode)
        return record

    def put(self, key: bytes, record: Record | None) -> None:
        """Set the record under ``key``; None deletes it."""
        self._journal.append((key, self._records.get(key, _UNREAD)))
        self._records[key] = record

    def scan(
        self, prefix: bytes, start: bytes, decode: Decode, *, reverse: bool
    ) -> Iterator[tuple[bytes, Any]]:
        """Records under ``prefix`` from ``start`` on, this block's changes included."""
        changed = dict.fromkeys(self._changed(prefix))
        first = start or (prefix + b"\xff" * 64 if reverse else prefix)
        fresh = sorted(
            (key for key in changed if (key <= first if reverse else key >= first)), reverse=reverse
        )
        stored = (key for key in self._stored(prefix, start, reverse=reverse) if key not in changed)
        for key in heapq.merge(stored, fresh, reverse=reverse):
            record = self.get(key, decode)
            if record is not None:
                yield key, record

    def _stored(self, prefix: bytes, start: bytes, *, reverse: bool) -> Iterator[bytes]:
        """Keys that the store has under ``prefix`` from ``start`` on. Where all of them begin is remembered
        until a block writes there: every block looks where its queues begin, and most are empty or not due.
        """
        scan = self._reader.scan
        if start or reverse:
            yield from (key for key, _ in scan(prefix, start, reverse=reverse))
            return
        head = self._heads.get(prefix, _UNREAD)
        if head is _UNREAD:
            if len(self._heads) == HEADS_MAX:
                self._heads.clear()
            head = self._heads[prefix] = next((key for key, _ in scan(prefix)), None)
        if head is not None:
            yield head
            yield from (key for key, _ in islice(scan(prefix, head), 1, None))

    def _changed(self, prefix: bytes) -> Iterator[bytes]:
        """Keys under ``prefix`` that this block changed, ascending, and perhaps some that it changed back.

        Sorted as scans ask for it: a block without scans pays nothing, one with many sorts each key once.
        """
        keys = self._sorted
        for key, _ in self._journal[self._sorted_count :]:
            at = bisect_left(keys, key)
            if at == len(keys) or keys[at] != key:
                keys.insert(at, key)
        self._sorted_count = len(self._journal)
        for at in range(bisect_left(keys, prefix), len(keys)):
            if not keys[at].startswith(prefix):
                return
            yield keys[at]

    def savepoint(self) -> int:
        """A mark to which ``rollback`` returns."""
        return len(self._journal)

    def rollback(self, mark: int = 0) -> None:
        """Undo every change since the mark; without one, the whole block."""
        records = self._records
        for key, before in reversed(self._journal[mark:]):
            if before is _UNREAD:
                del records[key]
            else:
                records[key] = before
        del self._journal[mark:]
        self._sorted_count = min(self._sorted_count, mark)

    def writes(self) -> tuple[Write, ...]:
        """The block's write set, ascending by key."""
        records, encode = self._records, codec.encode
        self._written = sorted(dict.fromkeys([key for key, _ in self._journal]))
        return tuple(
            [(key, None if (record := records[key]) is None else encode(record)) for key in self._written]
        )

    def settle(self) -> None:
        """The store has the write set: begin the next block, and let the oldest records go where there are
        too many.
        """
        self._journal.clear()
        self._sorted.clear()
        self._sorted_count = 0
        self._forget_heads()
        surplus = len(self._records) - self._capacity
        if surplus > 0:
            for key in list(islice(self._records, surplus + self._capacity // 8)):
                del self._records[key]

    def _forget_heads(self) -> None:
        """What begins elsewhere since the block wrote there is to be read again."""
        written = self._written
        for prefix in list(self._heads):
            at = bisect_left(written, prefix)
            if at < len(written) and written[at].startswith(prefix):
                del self._heads[prefix]
        self._written = []

    def forget(self) -> None:
        """Begin anew above a store that holds something else now."""
        self.settle()
        self._records.clear()
        self._heads.clear()


class View:
    """Records at one height, for queries and for the door. ``move`` puts it at another; nothing is ever
    written through it.
    """

    RECORDS_MAX = 50_000

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self._records: dict[bytes, Record | None] = {}

    def move(self, reader: Reader) -> None:
        """Look at another height from now on."""
        self.reader = reader
        self._records = {}

    def get(self, key: bytes, decode: Decode) -> Any:
        """The record under ``key``, or None."""
        records, reader = self._records, self.reader  # in this order: ``move`` may run on another thread
        record = records.get(key, _UNREAD)
        if record is _UNREAD:
            if len(records) >= self.RECORDS_MAX:
                records.clear()
            data = reader.get(key)
            record = records[key] = None if data is None else decode(data)
        return record

    def put(self, key: bytes, record: Record | None) -> None:
        """Refused: a query that writes is a bug."""
        raise TypeError(f"a view is only read: {key!r} {record!r}")

    def scan(
        self, prefix: bytes, start: bytes, decode: Decode, *, reverse: bool
    ) -> Iterator[tuple[bytes, Any]]:
        """Records under ``prefix`` from ``start`` on."""
        for key, data in self.reader.scan(prefix, start, reverse=reverse):
            yield key, decode(data)


def _encode_part(kind: int, part: Any) -> bytes:
    if kind == TEXT:
        return str(part).encode() + b"\0"
    return part.to_bytes(8, "big") if kind == INTEGER else bytes(part)


def _key_maker(prefix: bytes, kinds: tuple[int, ...]) -> Callable[..., bytes]:
    """The function that makes a table's keys; the shapes that every transfer and settlement uses are spelled
    out because they run ten times in each.
    """
    if kinds == (TEXT,):
        return lambda a: prefix + a.encode() + b"\0"
    if kinds == (-32,):
        return lambda a: prefix + a
    if kinds == (TEXT, TEXT):
        return lambda a, b: prefix + f"{a}\0{b}\0".encode()
    if kinds in ((TEXT, -16), (TEXT, -32)):
        return lambda a, b: prefix + a.encode() + b"\0" + b
    return lambda *parts: prefix + b"".join(map(_encode_part, kinds, parts))


class Table(Generic[R]):
    """Records of one type under typed keys: ``holds = table(Hold, account=AccountId, hold=Hash)`` in a
    contract's class.

    The first part is the partition: records that agree in it live in one shard and are scanned together.
    """

    def __init__(self, record: type[R], parts: dict[str, Any]) -> None:
        self.record = record
        self.parts = parts
        self.name = ""
        self.prefix = b""
        self._decode = codec.trusted_decoder(record)
        self._state: State
        self._kinds = tuple(_kind(annotation) for annotation in parts.values())
        self.key = _key_maker(b"", self._kinds)
        """The stored key of all the parts."""

    def __set_name__(self, owner: type[_Owner], name: str) -> None:
        self.name = name
        self.prefix = f"{owner.name}\0{name}\0".encode()
        self.key = _key_maker(self.prefix, self._kinds)

    def bound(self, state: State) -> Self:
        """This table over ``state``."""
        table = type(self)(self.record, self.parts)
        table.name, table.prefix, table.key, table._state = self.name, self.prefix, self.key, state  # noqa: SLF001 - its own class
        return table

    def split(self, key: bytes) -> tuple[Any, ...]:
        """The parts of a stored key."""
        parts: list[Any] = []
        at = len(self.prefix)
        for kind in self._kinds:
            end = key.index(0, at) if kind == TEXT else at + abs(kind)
            piece = key[at:end]
            parts.append(
                piece.decode() if kind == TEXT else int.from_bytes(piece, "big") if kind == INTEGER else piece
            )
            at = end + (kind == TEXT)
        return tuple(parts)

    def stem(self, *leading: Part) -> bytes:
        """What the keys begin with that share the leading parts."""
        return self.prefix + b"".join(map(_encode_part, self._kinds, leading))

    def get(self, *parts: Part) -> R | None:
        """The record at ``parts``, or None."""
        record: R | None = self._state.get(self.key(*parts), self._decode)
        return record

    def put(self, record: R, *parts: Part) -> None:
        """Set the record at ``parts``."""
        self._state.put(self.key(*parts), record)

    def delete(self, *parts: Part) -> None:
        """Remove the record at ``parts``."""
        self._state.put(self.key(*parts), None)

    def load(self, key: bytes) -> R | None:
        """``get`` by a key made before: for the one place that reads and writes the same record thousands of
        times a block.
        """
        record: R | None = self._state.get(key, self._decode)
        return record

    def save(self, key: bytes, record: R) -> None:
        """``put`` by a key made before."""
        self._state.put(key, record)

    def scan(
        self, *leading: Part, start: tuple[Part, ...] = (), reverse: bool = False
    ) -> Iterator[tuple[tuple[Any, ...], R]]:
        """(parts, record) of all records that share ``leading``, ascending, from the parts ``start`` on."""
        first = self.stem(*start) if start else b""
        for key, record in self._state.scan(self.stem(*leading), first, self._decode, reverse=reverse):
            yield self.split(key), record


def table(record: type[R], **parts: Any) -> Table[R]:
    """Declare a table: the record's type, and the key's parts as consensus types (text, integer, bytes of
    fixed length).
    """
    return Table(record, parts)


def _kind(annotation: Any) -> int:
    """TEXT, INTEGER, or minus the length for bytes."""
    base, *metas = get_args(annotation) if get_origin(annotation) is Annotated else (annotation,)
    if base is str:
        return TEXT
    if base is int:
        return INTEGER
    length = next((m.max_length for m in metas if isinstance(m, Meta) and m.max_length == m.min_length), None)
    if base is not bytes or length is None:
        raise TypeError(f"a key's part is text, an integer or bytes of one length, not {annotation}")
    return -length
