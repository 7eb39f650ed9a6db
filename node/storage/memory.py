"""The store in dictionaries: for tests, simulations and nodes that keep nothing. It passes the same tests
as the store on disk.

``sync`` makes staged blocks durable in the same sense: only then do snapshots, ``block`` and ``receipt``
see them.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from node.ledger.hashing import INTERNATIONAL, Suite
from node.ledger.ports import Spent
from node.ledger.snapshot import Plan, Snapshot
from node.ledger.types import BlockRecord, Write
from node.storage import layout
from node.storage.errors import StorageCode, StorageError
from node.storage.memory_snapshots import MemoryInstallation, cut_snapshot
from node.storage.spent import floor_minute, minute_of, spent_key, spent_of_leaves

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
        self._spent_floor = 0
        self._absent = 0
        self._base_height = -1
        self._first_leaves: dict[int, bytes] = {}
        self._snapshots: dict[int, tuple[Snapshot, list[bytes]]] = {}
        self._durable = Table()
        self._view = MemoryReader(0, Table())

    @property
    def header_count(self) -> int:
        """How many blocks there are, the staged ones included."""
        return self._absent + len(self._blocks) + len(self._staged)

    @property
    def durable_count(self) -> int:
        """How many blocks are durable."""
        return self._absent + len(self._blocks)

    @property
    def first_position(self) -> int:
        """Number of the first block that is whole; above 0 after a snapshot was taken in."""
        return self._positions[self._base_height] + 1 if self._base_height >= 0 else 0

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
            self._positions[record.height] = self.durable_count
            self._blocks.append(replace(record, tree=(), spent=()))
            self._durable.put(record.writes)
        if self._staged:
            floor = floor_minute(self._staged[-1].time_ms, self._lifetime_ms)
            if floor != self._spent_floor:
                self._spent_floor = floor
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
        if height <= self._base_height:
            raise StorageError(StorageCode.PRUNED, height=height, kept_from=self._base_height + 1)
        position = self._positions.get(height)
        return None if position is None else self._blocks[position - self._absent]

    def blocks(self, first: int = 0, last: int | None = None) -> Iterator[BlockRecord]:
        """Whole durable blocks from height ``first`` to ``last``, both inclusive."""
        if first <= self._base_height:
            raise StorageError(StorageCode.PRUNED, height=first, kept_from=self._base_height + 1)
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
        at = position - self._absent
        return self._blocks[at].height if 0 <= at < len(self._blocks) else None

    def position_of(self, height: int) -> int | None:
        """The number of the durable block at ``height``."""
        return self._positions.get(height)

    def drop_bodies(self, height: int) -> None:
        """Delete the bodies of one durable block."""
        position = self._positions[height] - self._absent
        self._blocks[position] = replace(self._blocks[position], bodies=())

    def snapshots(self) -> list[Snapshot]:
        """The snapshots that were made, newest first."""
        return [self._snapshots[height][0] for height in sorted(self._snapshots, reverse=True)]

    def snapshot_chunk(self, height: int, index: int) -> bytes:
        """A chunk of one; empty where there is no such chunk."""
        chunks = self._snapshots[height][1] if height in self._snapshots else []
        return chunks[index] if 0 <= index < len(chunks) else b""

    def make_snapshot(self, suite: Suite = INTERNATIONAL) -> Snapshot:
        """Make a snapshot of the last durable block. suite: of the chain."""
        made, chunks = cut_snapshot(self, suite, self._lifetime_ms)
        self._snapshots[made.height] = made, chunks
        return made

    def install(self, plan: Plan) -> MemoryInstallation:
        """Begin to take a snapshot in. Raises StorageError BEGUN."""
        if self.header_count:
            raise StorageError(StorageCode.BEGUN, blocks=self.header_count)
        return MemoryInstallation(plan, self._taken_in)

    def kept(self, position: int) -> BlockRecord:
        """Durable block number ``position``; only headers and leaves of those from before a snapshot."""
        return self._blocks[position - self._absent]

    def first_leaf(self, position: int) -> bytes:
        """The app hash of header number ``position``, also where only a snapshot told it."""
        return self._first_leaves.get(position) or self.kept(position).app_hash

    def _taken_in(self, taken: MemoryInstallation) -> None:
        plan, blocks = taken.plan, taken.blocks
        self._absent, self._base_height = min(blocks), plan.header.height
        for position in sorted(blocks):
            record = blocks[position]
            self._positions[record.height] = position
            self._blocks.append(record)
            for key, spent in spent_of_leaves(record.leaves, record.height).items():
                self._spent[key] = spent
        self._first_leaves = dict(plan.peaks())
        self._history = {(level, index): node for level, index, node in plan.history()}
        self._state.put(taken.records)
        self._durable.put(taken.records)
        self._tree.put(taken.pairs)
        self.height = plan.header.height
        self._snapshots[self.height] = plan.snapshot, [taken.chunks[at] for at in sorted(taken.chunks)]

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
