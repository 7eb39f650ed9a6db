"""What a store on disk does with snapshots: make, list, hand out, take in, rebuild from, and prune behind.

What always holds: the log is never begun above what rebuilding needs. A base moves only behind a snapshot
that was read back and proved whole, and only once every shard is durably past it; from then on a shard that
is lost is filled from a snapshot and the blocks above it.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from node.ledger.hashing import Suite
from node.ledger.snapshot import Plan, Records, Window, window_floor_ms
from node.ledger.snapshot import Snapshot as Advertised
from node.storage.database import Part, mark_suspect
from node.storage.errors import StorageCode, StorageError
from node.storage.install import Installing, fill_from
from node.storage.log import Base, BlockLog
from node.storage.shards import Shards
from node.storage.snapshots import KEPT, SHARE, SnapshotFolder
from node.storage.sorting import Pace, Stopped, never
from node.storage.view import Snapshot


class KeptSnapshots:
    """Implements ports.SnapshotStore for ShardedStore, which is the only one to build on this class.

    snapshot_every: ``due_snapshot`` hands out the state after the first block at or above each multiple of
    so many heights, the same on every node; 0: never.
    """

    path: Path
    suite: Suite
    log: BlockLog
    reports: list[str]
    snapshot_every: int = 0
    _folder: SnapshotFolder
    _chain_lifetime_ms: int
    _count: int
    _durable: int
    _shards: Shards
    _view: Snapshot
    _due: Snapshot | None = None

    # -- ports.SnapshotStore --

    def snapshots(self) -> Sequence[Advertised]:
        """The complete snapshots, newest first."""
        return self._folder.listed()

    def snapshot_chunk(self, height: int, index: int) -> bytes:
        """A chunk of one; empty where there is no such chunk."""
        return self._folder.chunk(height, index)

    def install(self, plan: Plan) -> Installing:
        """Begin to take a snapshot in. Raises StorageError BEGUN where there is a block already."""
        if self._count:
            raise StorageError(StorageCode.BEGUN, blocks=self._count)
        genesis = self.log.genesis() or b""
        count = len(self._shards.parts)
        return Installing(self.path, plan, count, genesis, self._chain_lifetime_ms, self._reopen)

    # -- making --

    def due_snapshot(self) -> Snapshot | None:
        """The state that is to be made a snapshot of now, once; hand it to ``make_snapshot`` in a thread."""
        due, self._due = self._due, None
        return due

    def make_snapshot(
        self,
        view: Snapshot | None = None,
        *,
        share: float = SHARE,
        keep: int = KEPT,
        stopped: Callable[[], bool] = never,
    ) -> Advertised:
        """Make a snapshot of ``view``, or of the last durable block, beside the commits, and remove all but
        the newest ``keep``. share: of one core. stopped: whether to give up.

        Memory: one 256th of the state and 65,536 records; disk: twice the state, given up before it takes the
        reserve that the log needs. Raises StorageError: MISSING where there is no block yet, SHARD_DAMAGED,
        CHUNK_TOO_LARGE, DISK_LOW; Stopped.
        """
        if self._durable == 0:
            raise StorageError(StorageCode.MISSING, path=str(self.path), cause="there is no block yet")
        view = view or self._view

        def given_up() -> bool:
            self.check_space()
            return stopped()

        made = self._folder.make(view, view.height, self.log.snapshot(), Pace(share, given_up))
        self._folder.keep_newest(keep)
        return made

    def _note_due(self, before: int, view: Snapshot) -> None:
        every = self.snapshot_every
        if every and view.height // every > before // every:
            self._due = view

    # -- checking and rebuilding --

    def checked_snapshot(self, height: int, stopped: Callable[[], bool] = never) -> Plan:
        """A snapshot's plan after every byte of it was proved against the log's own header of its height.

        Raises StorageError: SNAPSHOT_DAMAGED, PRUNED; Stopped.
        """
        header = self.log.stored_header(height)
        if header is None:
            raise StorageError(StorageCode.SNAPSHOT_DAMAGED, height=height, cause="no block has this height")
        plan = self._folder.plan(height, header.app_hash)
        if plan.manifest.position != header.position:
            raise StorageError(StorageCode.SNAPSHOT_DAMAGED, height=height, cause="not this log's block")
        for _ in self._folder.contents(plan):
            if stopped():
                raise Stopped
        return plan

    def base_snapshot(self) -> Plan:
        """The oldest snapshot from which the log goes on to its head, proved. Raises StorageError
        NO_SNAPSHOT.
        """
        least = self.log.base.height if self.log.base else 0
        for height in sorted(height for height in self._folder.heights() if height >= least):
            try:
                return self.checked_snapshot(height)
            except StorageError as error:
                if error.error is not StorageCode.SNAPSHOT_DAMAGED:
                    raise
                self.reports.append(str(error))
        raise StorageError(StorageCode.NO_SNAPSHOT, path=str(self.path), kept_from=least + 1)

    def snapshot_contents(self, plan: Plan) -> Iterator[tuple[int, bytes, Window | Records]]:
        """Number, bytes and content of each chunk but the manifest, checked once more."""
        return self._folder.contents(plan)

    def _fill_lost_parts(self) -> None:
        """Fill shards that are begun anew, where the log no longer reaches back far enough to."""
        behind = [part for part in self._shards.parts if part.position < self.log.first_position]
        if not behind:
            return
        self._check_empty(behind)
        plan = self.base_snapshot()
        blocks = plan.manifest.position + 1
        contents = (content for _, _, content in self._folder.contents(plan))
        fill_from(contents, behind, len(self._shards.parts), blocks)
        names = ", ".join(str(part.place[0]) for part in behind)
        self.reports.append(f"state shards {names}: filled from the snapshot at height {plan.header.height}")

    @staticmethod
    def _check_empty(parts: Sequence[Part]) -> None:
        for part in parts:
            if part.position:  # older than the log reaches: only a new one can be filled
                mark_suspect(part.path)
                raise StorageError(StorageCode.SHARD_DAMAGED, path=str(part.path), blocks=part.position)

    # -- pruning --

    def prune(self, keep_from: int) -> int:
        """Drop all blocks below height ``keep_from``, behind a snapshot; how many were dropped.

        Called by the thread that calls ``sync``; a running node calls the three steps itself. Raises
        StorageError: NOT_PRUNABLE, SNAPSHOT_DAMAGED.
        """
        base = self.plan_prune(keep_from)
        if base is None:
            return 0
        before = self.log.first_position
        self.begin_prune(base)
        self.finish_prune()
        return base.position + 1 - before

    def plan_prune(self, keep_from: int, stopped: Callable[[], bool] = never) -> Base | None:
        """Where the log would begin, once a snapshot at or above that is read back and proved; None where
        nothing is to be dropped. Any thread; takes as long as reading a snapshot.
        """
        log, newest = self.log, max(self._folder.heights(), default=-1)
        if keep_from > newest + 1:
            raise StorageError(StorageCode.NOT_PRUNABLE, keep_from=keep_from, newest_snapshot=newest)
        if keep_from <= (log.base.height + 1 if log.base else 0):
            return None
        start = log.position_from(keep_from)
        position = (log.header_count if start is None else start) - 1
        if position < log.first_position:
            return None
        least = min(height for height in self._folder.heights() if height >= keep_from - 1)
        self.checked_snapshot(least, stopped)
        header = log.header_at(position)
        floor_ms, first = window_floor_ms(header.time_ms, self._chain_lifetime_ms), position
        while first > log.first_header and log.header_at(first).time_ms >= floor_ms:
            first -= 1
        return Base(first, log.header_at(first).height, position, header.height)

    def begin_prune(self, base: Base) -> None:
        """Move the log's base; from then on what is below is not there. Called by the thread that calls
        ``sync``; quick.
        """
        self.flush()
        self._require_running()
        peaks = [
            (base.position >> level) - 1 << level
            for level in range(base.position.bit_length())
            if base.position >> level & 1
        ]
        self.log.begin_at(base, [(first, self.log.app_hash_of(first)) for first in peaks])

    def finish_prune(self) -> None:
        """Delete what is below the base. Any thread; a crash leaves the rest to the next opening."""
        self.log.finish_pruning()

    def flush(self) -> None:
        """Bring all shards up to the last durable block."""

    def check_space(self) -> None:
        """Raises StorageError DISK_LOW where less than the reserve is left."""

    def _require_running(self) -> None:
        """Raises StorageError STOPPED where writing has failed."""

    def _reopen(self) -> None:
        """Open what was put in place."""
