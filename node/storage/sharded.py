"""The store on disk: one block log behind N shards of state.

What always holds: a block is durable when its one synced batch in the log is, and nothing is acknowledged
before. Everything else follows the log: shards and spent ids are flushed behind it, each stamped with how
far it is, and ``open`` replays what they lack. Three threads may use a store at once: one executes
(``stage``, ``get``, ``scan``, ``spent``), one makes durable (``sync``), and any read snapshots. They share
immutable tuples; ``_swap`` guards their exchange only.

Each shard is flushed in its turn, a few after every block, so that all had theirs once FLUSH_BLOCKS blocks
or FLUSH_BYTES bytes have passed and no single ``sync`` pays for all.
"""

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from node.ledger.hashing import Suite
from node.ledger.ports import Spent
from node.ledger.state_tree import pairs_of
from node.ledger.types import BlockRecord
from node.storage import directory, layout
from node.storage.database import MIB, translated
from node.storage.durable import DurableBlocks
from node.storage.errors import StorageCode, StorageError
from node.storage.install import fill, settle_install
from node.storage.keeping import KeptSnapshots
from node.storage.log import CHECKED_ON_OPEN, BlockLog
from node.storage.records import MISSING, Layer, Records, shard_of
from node.storage.shards import SHARDS_DEFAULT, Shards, checked_count
from node.storage.snapshots import SnapshotFolder
from node.storage.spent import SpentIds, lifetime_of, spent_key, spent_of_leaves
from node.storage.view import Snapshot

LIFETIME_MS_DEFAULT: Final = 600_000
FLUSH_BLOCKS: Final = 16
FLUSH_BYTES: Final = 16 * MIB
IDLE_BLOCKS_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class Budget:
    """What a node grants storage, over all shards. reserve_bytes: disk space below which new work is
    refused.
    """

    cache_bytes: int = 256 * MIB
    write_buffer_bytes: int = 64 * MIB
    log_cache_bytes: int = 32 * MIB
    log_write_buffer_bytes: int = 32 * MIB
    reserve_bytes: int = 512 * MIB


class ShardedStore(Records, DurableBlocks, KeptSnapshots):
    """Implements ports.Store on disk, and serves the durable blocks of the log. Make one with ``create`` or
    ``open``.
    """

    def __init__(
        self, path: Path, suite: Suite, budget: Budget, lifetime_ms: int, lock: directory.DirectoryLock
    ) -> None:
        """Open a data directory whose lock is held; see ``open``."""
        self.path = path
        self.suite = suite
        self.reports: list[str] = []
        self.budget = budget
        self._lifetime_ms = lifetime_ms
        self._lock = lock
        self._swap = threading.Lock()
        self._stopped: StorageError | None = None
        self._staged: tuple[tuple[Any, bytes, Layer], ...] = ()
        self.layers = ()
        self._recent_ids: dict[bytes, Spent] = {}
        self._newest: dict[bytes, bytes | None] = {}
        """What the layers together say of records."""
        self._head: BlockRecord | None = None
        self._count = self._durable = 0
        self._turn = 0
        self._credit = 0.0
        self._opened: list[BlockLog | Shards | SpentIds | directory.HeadFile] = []
        try:
            self._open_parts()
            self._replay()
        except BaseException:
            self._close_parts()
            raise

    @classmethod
    def create(
        cls,
        path: Path,
        suite: Suite,
        *,
        shards: int = SHARDS_DEFAULT,
        budget: Budget | None = None,
        lifetime_ms: int = LIFETIME_MS_DEFAULT,
        genesis: bytes = b"",
    ) -> Self:
        """Make a new data directory at ``path`` (new or empty) and open it. shards: 1 to 256; no hash
        depends on it.
        """
        checked_count(shards)
        with translated(StorageCode.IO_FAILED, path), directory.creating(path):
            fill(path, shards, genesis).close()
        return cls.open(path, suite, budget=budget, lifetime_ms=lifetime_ms)

    @classmethod
    def open(
        cls, path: Path, suite: Suite, *, budget: Budget | None = None, lifetime_ms: int = LIFETIME_MS_DEFAULT
    ) -> Self:
        """Open a data directory, finish what a crash cut off, rebuild what is damaged and can be (told in
        ``reports``).

        lifetime_ms: the chain's transaction lifetime, from its genesis. Raises StorageError: MISSING,
        VERSION_UNKNOWN, DIRECTORY_IN_USE, LOG_DAMAGED, LOST_TAIL, DISK_LOW, IO_FAILED.
        """
        with translated(StorageCode.IO_FAILED, path):
            directory.check_version(path)
            lock = directory.DirectoryLock(path)
            try:
                return cls(path, suite, budget or Budget(), lifetime_ms, lock)
            except BaseException:
                lock.release()
                raise

    # -- the state as the next block sees it (ports.Store) --

    @property
    def height(self) -> int:
        """Height of the last staged block; 0 before genesis."""
        return 0 if self._head is None else self._head.height

    @property
    def header_count(self) -> int:
        """How many blocks there are, the staged ones included."""
        return self._count

    @property
    def durable_count(self) -> int:
        """How many blocks are durable: what ``blocks``, ``headers`` and the like can see."""
        return self._durable

    def head(self) -> BlockRecord | None:
        """The last staged block without leaves, bodies, receipts and writes; None before genesis."""
        return self._head

    def get(self, key: bytes) -> bytes | None:
        """The record's encoding, or None, staged blocks included: as Records, with one look instead of one a
        layer. Raises StorageError SHARD_DAMAGED.
        """
        found = self._newest.get(key, MISSING)
        return self.below(shard_of(key, self.shard_count), key) if found is MISSING else found

    def stage(self, record: BlockRecord) -> None:
        """Take a finished block: visible at once, durable after ``sync``. Raises StorageError STOPPED or
        OUT_OF_ORDER.
        """
        self._require_running()
        if self._head is not None and record.height <= self._head.height:
            raise StorageError(StorageCode.OUT_OF_ORDER, height=record.height, head=self._head.height)
        position = self._count + 1
        spent = {
            spent_key(member, request): Spent(tx_id, record.height, index)
            for member, request, tx_id, index in record.spent
        }
        layer = Layer(record, record.tree, spent, position, self.shard_count)
        batch = self.log.prepared(record, position - 1)
        self._recent_ids.update(spent)
        with self._swap:
            self._cover(layer)
            self._staged = (*self._staged, (batch, record.app_hash, layer))
        self._count = position
        self._head = _head_of(record)

    def sync(self) -> int:
        """Make every staged block durable, each by one synced log record; return the durable height.

        Raises StorageError; after a failed write STOPPED for ever, until the directory is opened anew.
        """
        self._require_running()
        staged = self._staged
        try:
            for batch, _, layer in staged:
                self.log.write(batch)
                self._publish(layer)
            if staged:
                self._head_file.write(self._durable, staged[-1][1])
        except StorageError as error:
            self._stopped = error
            raise
        for _, _, layer in staged:
            self._flush_in_turn(layer)
        return self._view.height

    def snapshot(self) -> Snapshot:
        """A view of the last durable block, unmoved by later ones. Costs nothing."""
        return self._view

    def spent(self, member: str, request_id: bytes) -> Spent | None:
        """Who spent this request id within the transaction lifetime, staged blocks included."""
        key = spent_key(member, request_id)
        return self._recent_ids.get(key) or self._spent_ids.get(key)

    def history_node(self, level: int, index: int) -> bytes | None:
        """A complete node of the history tree, staged blocks included."""
        for layer in self.layers:
            found = layer.history.get((level, index))
            if found is not None:
                return found
        return self.log.history_node(level, index)

    # -- keeping --

    @property
    def shard_count(self) -> int:
        """How many shards the state is in: a local choice that no hash depends on."""
        return len(self.sources)

    def free_bytes(self) -> int:
        """Bytes left on the disk."""
        return directory.free_bytes(self.path)

    def check_space(self) -> None:
        """Raises StorageError DISK_LOW where less than the reserve is left, STOPPED where writing has
        failed.
        """
        self._require_running()
        free = self.free_bytes()
        if free < self.budget.reserve_bytes:
            raise StorageError(StorageCode.DISK_LOW, free_bytes=free, reserve_bytes=self.budget.reserve_bytes)

    def flush(self) -> None:
        """Bring all shards and the spent ids up to the last durable block. Called by the thread that calls
        ``sync``.
        """
        for _ in range(self.shard_count + 1):
            self._flush_next(force=True)

    def close(self) -> None:
        """Flush what is durable and close. What is staged and not synced is gone, as after a crash."""
        try:
            if self._stopped is None:
                self.flush()
        finally:
            self._close_parts()
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- private --

    def _open_parts(self) -> None:
        path, budget = self.path, self.budget
        settle_install(path)
        directory.settle_reshard(path)
        self.log = BlockLog(
            path / layout.LOG,
            create=False,
            cache_bytes=budget.log_cache_bytes,
            write_buffer_bytes=budget.log_write_buffer_bytes,
        )
        self._opened.append(self.log)
        self.log.finish_pruning()
        self._head_file = directory.HeadFile(path / layout.HEAD)
        self._opened.append(self._head_file)
        self._count = self._durable = self.log.header_count
        self._check_log()
        head = self.log.head()
        self._head = None if head is None else head.record()
        self._shards = Shards(path / layout.STATE, budget.cache_bytes, budget.write_buffer_bytes, self._count)
        self._opened.append(self._shards)
        self.reports += self._shards.reports
        self._parts = self._shards.parts
        self.sources = self._shards.databases
        lifetime_ms = self._chain_lifetime_ms = lifetime_of(self.log.genesis() or b"", self._lifetime_ms)
        self._folder = SnapshotFolder(path / layout.SNAPSHOTS, self.suite, lifetime_ms)
        self._fill_lost_parts()
        self._spent_ids = SpentIds(path / layout.SPENT, lifetime_ms, head.time_ms if head else 0)
        self._opened.append(self._spent_ids)
        if self._spent_ids.rebuilt:
            self.reports.append(f"spent ids are rebuilt from the log: {self._spent_ids.rebuilt}")
            self._spent_ids.skip_to(self._first_with_live_ids())
        ahead = max(self._spent_ids.position, *(part.position for part in self._parts))
        if ahead > self._count:
            raise StorageError(StorageCode.LOST_TAIL, blocks=self._count, state_has=ahead)

    def _check_log(self) -> None:
        """Refuse a log that lost blocks or whose last blocks do not link."""
        known = self._head_file.read()
        if known is None and not self._head_file.is_empty:
            self.reports.append("HEAD was unreadable and is made anew")
        if known is not None and known[0] > self._count:
            raise StorageError(StorageCode.LOST_TAIL, blocks=self._count, acknowledged=known[0])
        if known is not None and known[0] and self.log.header_at(known[0] - 1).app_hash != known[1]:
            raise StorageError(
                StorageCode.LOG_DAMAGED,
                path=str(self.path),
                cause="another chain's log, or another log's HEAD",
            )
        self.log.check_chain(self.suite, max(0, self._count - CHECKED_ON_OPEN), self._count)

    def _first_with_live_ids(self) -> int:
        for position in range(self._count - 1, self.log.first_header - 1, -1):
            if self.log.header_at(position).time_ms < self._spent_ids.floor_ms:
                return position + 1
        return self.log.first_header + 1 if self.log.base else 0

    def _replay(self) -> None:
        """Bring shards and spent ids up to the log, from wherever each of them is."""
        start = min(self._spent_ids.position, *(part.position for part in self._parts))
        if start < self._count:
            self.log.check_chain(self.suite, start, max(start, self._count - CHECKED_ON_OPEN))
        first = self.log.header_at(start - 1).height if start else 0
        self._view = Snapshot(first, (), self._shards.snapshots(), self._shards)
        for position, record in enumerate(self.log.replayed(start, self._count), start + 1):
            layer = Layer(
                record,
                pairs_of(self.suite, record.writes),
                spent_of_leaves(record.leaves, record.height),
                position,
                self.shard_count,
            )
            self._recent_ids.update(layer.spent)
            self._cover(layer)
            self._durable = position
            self._publish(layer)
            self._flush_in_turn(layer)
        self._head_file.write(self._count, b"" if self._head is None else self._head.app_hash)

    def _cover(self, layer: Layer) -> None:
        """Put a block's writes above all others."""
        self.layers = (layer, *self.layers)
        self._newest.update(layer.writes)

    def _uncover(self, layers: Iterable[Layer]) -> None:
        """Take away what all parts have, but for what newer blocks wrote again."""
        newest = self._newest
        for layer in layers:
            for key, value in layer.writes:
                if newest.get(key, MISSING) is value:
                    del newest[key]

    def _publish(self, layer: Layer) -> None:
        """Let snapshots see a block that is durable."""
        view = self._view
        self._view = Snapshot(layer.height, (layer, *view.layers), view.sources, self._shards)
        self._durable = layer.position
        self._note_due(view.height, self._view)
        with self._swap:
            self._staged = self._staged[1:]

    def _flush_in_turn(self, layer: Layer) -> None:
        """Flush as many shards as one block's share of FLUSH_BLOCKS and FLUSH_BYTES asks for."""
        turns = self.shard_count + 1
        self._credit += turns * max(1 / FLUSH_BLOCKS, layer.byte_count / FLUSH_BYTES)
        for _ in range(min(int(self._credit), turns)):
            self._flush_next(force=False)
        self._credit -= int(self._credit)

    def _flush_next(self, *, force: bool) -> None:
        """Flush the shard whose turn it is, or the spent ids. A failure stops the store; the log has
        everything.
        """
        turn, self._turn = self._turn, (self._turn + 1) % (self.shard_count + 1)
        view = self._view
        try:
            with translated(StorageCode.IO_FAILED, self.path):
                if turn == self.shard_count:
                    self._flush_spent(view, force=force)
                else:
                    self._flush_shard(turn, view, force=force)
        except StorageError as error:
            self._stopped = error
            return
        self._drop_layers()

    def _flush_shard(self, shard: int, view: Snapshot, *, force: bool) -> None:
        part = self._parts[shard]
        if part.position > self._durable:  # a replay that other parts need; this one is further on
            return
        entries: dict[bytes, bytes | None] = {}
        for layer in reversed(view.layers):
            if layer.position > part.position:
                entries.update(layer.shards[shard])
        if (
            entries
            or (force and part.stamped < self._durable)
            or self._durable - part.stamped > IDLE_BLOCKS_MAX
        ):
            part.commit(entries, self._durable)
            sources = view.sources
            with translated(StorageCode.SHARD_DAMAGED, part.path):
                fresh = part.db.snapshot()
            self._view = Snapshot(
                view.height, view.layers, (*sources[:shard], fresh, *sources[shard + 1 :]), self._shards
            )
        part.position = self._durable

    def _flush_spent(self, view: Snapshot, *, force: bool) -> None:
        ids = self._spent_ids
        layers = [layer for layer in reversed(view.layers) if layer.position > ids.position]
        if not layers or (
            not force and not any(layer.spent for layer in layers) and len(layers) < IDLE_BLOCKS_MAX
        ):
            return
        ids.flush((layer.spent for layer in layers), self._durable, view.layers[0].time_ms)

    def _drop_layers(self) -> None:
        """Forget the layers that all shards and the spent ids have."""
        floor = min(self._spent_ids.position, *(part.position for part in self._parts))
        view = self._view
        if not view.layers or view.layers[-1].position > floor:
            return
        kept = tuple(layer for layer in view.layers if layer.position > floor)
        self._view = Snapshot(view.height, kept, view.sources, self._shards)
        with self._swap:
            dropped = [layer for layer in self.layers if layer.position <= floor]
            self.layers = tuple(layer for layer in self.layers if layer.position > floor)
            self._uncover(dropped)
        for layer in dropped:
            for key in layer.spent:
                self._recent_ids.pop(key, None)

    def _require_running(self) -> None:
        if self._stopped is not None:
            low = self._stopped.error is StorageCode.DISK_LOW
            code = StorageCode.DISK_LOW if low else StorageCode.STOPPED
            stopped = StorageError(code, cause=str(self._stopped))
            stopped.final = True
            raise stopped from self._stopped

    def _reopen(self) -> None:
        """Open what a snapshot put in place of empty parts."""
        try:
            self._close_parts()
            self._open_parts()
            self._replay()
        except BaseException:
            self._close_parts()
            raise

    def _close_parts(self) -> None:
        for opened in reversed(self._opened):
            opened.close()
        self._opened.clear()


def _head_of(record: BlockRecord) -> BlockRecord:
    return BlockRecord(
        record.height, record.time_ms, record.app_hash, record.header, certificate=record.certificate
    )
