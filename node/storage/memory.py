"""The store in dictionaries: for tests, simulations and nodes that keep nothing. It passes the same tests
as the store on disk.

``sync`` makes staged blocks durable in the same sense: only then do snapshots, ``block`` and ``receipt``
see them.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from node.ledger.ports import Spent
from node.ledger.types import BlockRecord, Write
from node.storage import layout
from node.storage.errors import StorageCode, StorageError
from node.storage.spent import floor_minute, minute_of, spent_key

LIFETIME_MS_DEFAULT = 600_000


class Table:
    """A dictionary that can be read in the order of its keys."""

    def __init__(self, rows: Mapping[bytes, bytes] | None = None) -> None:
        self._rows = dict(rows or {})
        self._keys = sorted(self._rows)

    def get(self, key: bytes) -> bytes | None:
        """The value, or None."""
        return self._rows.get(key)

    def put(self, writes: Iterable[Write]) -> None:
        """Apply writes; None deletes."""
        for key, value in writes:
            if value is not None:
                if key not in self._rows:
                    insort(self._keys, key)
                self._rows[key] = value
            elif self._rows.pop(key, None) is not None:
                del self._keys[bisect_left(self._keys, key)]

    def range(self, low: bytes, high: bytes | None) -> list[tuple[bytes, bytes]]:
        """Rows with ``low <= key < high``, as they are now."""
        stop = len(self._keys) if high is None else bisect_left(self._keys, high)
        return [(key, self._rows[key]) for key in self._keys[bisect_left(self._keys, low) : stop]]

    def scan(self, prefix: bytes, start: bytes, *, reverse: bool) -> Iterator[tuple[bytes, bytes]]:
        """Rows below a prefix from ``start`` on (ports.Reader.scan)."""
        low, high = prefix, layout.successor(prefix)
        if start and reverse:
            high = min(start + b"\0", high) if high is not None else start + b"\0"
        elif start:
            low = max(low, start)
        rows = self.range(low, high)
        return iter(reversed(rows) if reverse else rows)

    def copy(self) -> "Table":
        """The same rows, to be changed apart."""
        return Table(self._rows)


class MemoryReader:
    """The state after one block. Implements ports.Reader."""

    def __init__(self, height: int, state: Table) -> None:
        self.height = height
        self._state = state

    def get(self, key: bytes) -> bytes | None:
        """The record's encoding, or None."""
        return self._state.get(key)

    def scan(
        self, prefix: bytes, start: bytes = b"", *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Records whose key begins with ``prefix`` (ports.Reader)."""
        return self._state.scan(prefix, start, reverse=reverse)


class MemoryStore(MemoryReader):
    """Implements ports.Store, and what ShardedStore offers beyond it. One thread at a time."""

    def __init__(self, *, lifetime_ms: int = LIFETIME_MS_DEFAULT, genesis: bytes = b"") -> None:
        super().__init__(0, Table())
        self._lifetime_ms = lifetime_ms
        self._genesis = genesis
        self._tree = Table()
        self._spent: dict[bytes, Spent] = {}
        self._history: dict[tuple[int, int], bytes] = {}
        self._staged: list[BlockRecord] = []
        self._blocks: list[BlockRecord] = []
        self._positions: dict[int, int] = {}
        self._durable = Table()
        self._view = MemoryReader(0, Table())

    @property
    def header_count(self) -> int:
        """How many blocks there are, the staged ones included."""
        return len(self._blocks) + len(self._staged)

    @property
    def durable_count(self) -> int:
        """How many blocks are durable."""
        return len(self._blocks)

    def head(self) -> BlockRecord | None:
        """The last staged block without leaves, bodies, receipts and writes."""
        last = self._staged[-1:] or self._blocks[-1:]
        return _header_of(last[0]) if last else None

    def stage(self, record: BlockRecord) -> None:
        """Take a finished block. Raises StorageError OUT_OF_ORDER."""
        if self.header_count and record.height <= self.height:
            raise StorageError(StorageCode.OUT_OF_ORDER, height=record.height, head=self.height)
        self._state.put(record.writes)
        self._tree.put(record.tree)
        self._history.update({(level, index): node for level, index, node in record.history})
        for member, request_id, tx_id, index in record.spent:
            self._spent[spent_key(member, request_id)] = Spent(tx_id, record.height, index)
        self._staged.append(record)
        self.height = record.height

    def sync(self) -> int:
        """Make every staged block durable; return the durable height."""
        for record in self._staged:
            self._positions[record.height] = len(self._blocks)
            self._blocks.append(replace(record, tree=(), spent=()))
            self._durable.put(record.writes)
        if self._staged:
            floor = floor_minute(self._staged[-1].time_ms, self._lifetime_ms)
            self._spent = {key: spent for key, spent in self._spent.items() if minute_of(key) >= floor}
        self._staged.clear()
        return self._blocks[-1].height if self._blocks else 0

    def snapshot(self) -> MemoryReader:
        """A view of the last durable block; a copy, made once a block."""
        height = self._blocks[-1].height if self._blocks else 0
        if self._view.height != height:
            self._view = MemoryReader(height, self._durable.copy())
        return self._view

    def spent(self, member: str, request_id: bytes) -> Spent | None:
        """Who spent this request id within the transaction lifetime."""
        return self._spent.get(spent_key(member, request_id))

    def tree_scan(self, low: bytes, high: bytes | None) -> Iterable[tuple[bytes, bytes]]:
        """The state tree's pairs (K, V) with ``low <= K < high``, ascending."""
        return self._tree.range(low, high)

    def history_node(self, level: int, index: int) -> bytes | None:
        """A complete node of the history tree."""
        return self._history.get((level, index))

    def genesis(self) -> bytes | None:
        """The genesis document's bytes."""
        return self._genesis or None

    def set_genesis(self, document: bytes) -> None:
        """Keep the genesis document's bytes."""
        self._genesis = document

    def headers(self, first: int, limit: int) -> list[BlockRecord]:
        """At most ``limit`` durable blocks from height ``first`` on, without what they contain."""
        start = bisect_left(self._blocks, first, key=lambda record: record.height)
        return [_header_of(record) for record in self._blocks[start : start + limit]]

    def block(self, height: int) -> BlockRecord | None:
        """The whole durable block at ``height``, or None."""
        position = self._positions.get(height)
        return None if position is None else self._blocks[position]

    def blocks(self, first: int = 0, last: int | None = None) -> Iterator[BlockRecord]:
        """Whole durable blocks from height ``first`` to ``last``, both inclusive."""
        start = bisect_left(self._blocks, first, key=lambda record: record.height)
        return (record for record in self._blocks[start:] if last is None or record.height <= last)

    def leaves(self, height: int) -> tuple[bytes, ...] | None:
        """All leaves of the durable block at ``height``."""
        record = self.block(height)
        return None if record is None else record.leaves

    def receipts(self, height: int) -> tuple[bytes, ...] | None:
        """All receipts of the durable block at ``height``."""
        record = self.block(height)
        return None if record is None else record.receipts

    def receipt(self, height: int, index: int) -> bytes | None:
        """One receipt of a durable block."""
        return _item(self.receipts(height), index)

    def body(self, height: int, index: int) -> bytes | None:
        """One signed transaction of a durable block; None also where bodies were dropped."""
        record = self.block(height)
        return None if record is None else _item(record.bodies, index)

    def height_at(self, position: int) -> int | None:
        """The height of durable block number ``position``, counted from 0."""
        return self._blocks[position].height if 0 <= position < len(self._blocks) else None

    def position_of(self, height: int) -> int | None:
        """The number of the durable block at ``height``."""
        return self._positions.get(height)

    def drop_bodies(self, height: int) -> None:
        """Delete the bodies of one durable block."""
        position = self._positions[height]
        self._blocks[position] = replace(self._blocks[position], bodies=())

    def free_bytes(self) -> int:
        """As much as anybody could ask for: memory is not watched here."""
        return 2**63 - 1

    def check_space(self) -> None:
        """There is always space."""

    def flush(self) -> None:
        """Nothing stands behind memory."""

    def close(self) -> None:
        """Nothing is open."""


def _item(items: tuple[bytes, ...] | None, index: int) -> bytes | None:
    return items[index] if items is not None and 0 <= index < len(items) else None


def _header_of(record: BlockRecord) -> BlockRecord:
    return BlockRecord(
        record.height, record.time_ms, record.app_hash, record.header, certificate=record.certificate
    )
