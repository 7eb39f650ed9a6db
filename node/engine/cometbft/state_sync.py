"""Snapshots under CometBFT: made beside the commits, handed to peers, taken in from them (state sync), and
how much of the past may be forgotten behind them.

What is right or wrong about a snapshot the ledger judges (node/ledger/intake.py); here its answers become
ABCI's. What always holds: nothing is forgotten that a peer needs who begins from one of the last two
snapshots, nor anything against which evidence may still be brought; and forgetting is off unless an operator
asks for it.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol, TypeVar

import structlog

from node.engine.cometbft.abci import ApplyAnswer, ApplyResult, OfferResult, Snapshot
from node.engine.cometbft.home import EVIDENCE_AGE_BLOCKS, EVIDENCE_AGE_NS
from node.ledger import snapshot as ours
from node.ledger.errors import StoreFailed
from node.ledger.ledger import Ledger

NS_PER_MS: Final = 1_000_000
OFFERS: Final = {
    ours.Offer.ACCEPT: OfferResult.ACCEPT,
    ours.Offer.ABORT: OfferResult.ABORT,
    ours.Offer.REJECT: OfferResult.REJECT,
    ours.Offer.REJECT_FORMAT: OfferResult.REJECT_FORMAT,
    ours.Offer.REJECT_SENDER: OfferResult.REJECT_SENDER,
}
APPLIED: Final = {
    ours.Apply.ACCEPT: ApplyResult.ACCEPT,
    ours.Apply.ABORT: ApplyResult.ABORT,
    ours.Apply.RETRY: ApplyResult.RETRY,
    ours.Apply.RETRY_SNAPSHOT: ApplyResult.RETRY_SNAPSHOT,
    ours.Apply.REJECT_SNAPSHOT: ApplyResult.REJECT_SNAPSHOT,
}

T = TypeVar("T")
OnDecide = Callable[..., Awaitable[Any]]

log = structlog.get_logger("vostro.engine")


class SnapshotDisk(Protocol):
    """What is asked of the store beyond the ledger's verbs."""

    @property
    def durable_count(self) -> int:
        """How many blocks there are."""

    @property
    def first_position(self) -> int:
        """Number of the first block that is whole."""

    def height_at(self, position: int) -> int | None:
        """The height of block number ``position``."""

    def headers(self, first: int, limit: int) -> Sequence[Any]:
        """At most ``limit`` blocks from height ``first`` on."""

    def due_snapshot(self) -> Any | None:
        """The state that is to be made a snapshot of now, once."""

    def make_snapshot(self, view: Any, *, stopped: Callable[[], bool]) -> ours.Snapshot:
        """Make it, beside the commits. Raises StoreFailed, Stopped."""

    def plan_prune(self, keep_from: int, stopped: Callable[[], bool]) -> Any | None:
        """Where the log would begin; None where nothing is to be dropped. Raises StoreFailed, Stopped."""

    def begin_prune(self, base: Any) -> None:
        """Move the log's beginning. Called by the thread that commits. Raises StoreFailed."""

    def finish_prune(self) -> None:
        """Delete what is below it. Raises StoreFailed."""


@dataclass(frozen=True, slots=True)
class Keeping:
    """How much of the past a node keeps. blocks: heights below the head; 0: everything. evidence_blocks,
    evidence_ms: evidence younger than either may still be brought. look_every: heights between two looks.
    """

    blocks: int = 0
    evidence_blocks: int = EVIDENCE_AGE_BLOCKS
    evidence_ms: int = EVIDENCE_AGE_NS // NS_PER_MS
    look_every: int = 100


class LedgerSnapshots:
    """Implements application.Snapshots over the ledger's verbs."""

    def __init__(
        self,
        ledger: Ledger,
        disk: SnapshotDisk,
        keeping: Keeping,
        settled: Sequence[Callable[[], int]],
        alarm: Callable[[str], None],
    ) -> None:
        """settled: heights up to which others who read the log (certificates, index) need it no more. alarm:
        called in any thread.
        """
        self._ledger = ledger
        self._disk = disk
        self._keeping = keeping
        self._alarm = alarm
        self._settled = settled
        self._noticed = asyncio.Event()
        self._stopped = threading.Event()
        self._here_already = False
        self._behind = self._second_newest()
        self._looked = self._retain = 0

    # --- what CometBFT asks ---------------------------------------------------------------------------------

    def list(self) -> Sequence[Snapshot]:
        """Those that are whole, newest first. Any thread. Raises StoreFailed."""
        return [
            Snapshot(each.height, each.format, each.chunks, each.hash, each.metadata)
            for each in self._ledger.list_snapshots()
        ]

    def load(self, height: int, format_: int, chunk: int) -> bytes:
        """One chunk; empty if there is none. Any thread. Raises StoreFailed."""
        return self._ledger.load_snapshot_chunk(height, format_, chunk)

    def offer(self, snapshot: Snapshot, app_hash: bytes) -> OfferResult:
        """Shall it be restored? Thread *decide*. One that is here already, because a crash came before
        CometBFT knew, is accepted again and not looked at.
        """
        info = self._ledger.info()
        self._here_already = (info.height, info.app_hash) == (snapshot.height, app_hash)
        if self._here_already:
            return OfferResult.ACCEPT
        offered = ours.Snapshot(
            snapshot.height, snapshot.format, snapshot.chunks, snapshot.hash, snapshot.metadata
        )
        offer = self._ledger.offer_snapshot(offered, app_hash)
        if offer is ours.Offer.ABORT:
            self._alarm(
                f"a snapshot of height {snapshot.height} cannot be taken in, the ledger stands at "
                f"{info.height}: empty the data directory to begin from a snapshot"
            )
        else:
            log.info("a snapshot is offered", height=snapshot.height, answer=offer.name)
        return OFFERS[offer]

    def apply(self, index: int, chunk: bytes, sender: str) -> ApplyAnswer:
        """Take one chunk. Thread *decide*. Raises StoreFailed where the disk does."""
        if self._here_already:
            return ApplyAnswer(ApplyResult.ACCEPT)
        applied = self._ledger.apply_snapshot_chunk(index, chunk, sender)
        if applied.result is not ours.Apply.ACCEPT:
            self._alarm(
                f"chunk {index} of a snapshot, from peer {sender}, is refused "
                f"({applied.result.name}): {self._ledger.intake_fault}"
            )
        return ApplyAnswer(APPLIED[applied.result], applied.refetch, applied.reject_senders)

    def retain_height(self, height: int) -> int:
        """The height below which CometBFT may forget blocks, once ``height`` is committed; 0: keep all."""
        if self._keeping.blocks and height >= self._looked + self._keeping.look_every:
            self._looked = height
            self._retain = max(self._retain, self._bound(height))
        return self._retain

    # --- beside the commits ---------------------------------------------------------------------------------

    def notice(self) -> None:
        """A block is durable."""
        self._noticed.set()

    async def run(self, on_decide: OnDecide) -> None:
        """Make snapshots that are due and forget behind them, until cancelled. Failures are alarmed."""
        while True:
            await self._noticed.wait()
            self._noticed.clear()
            view = await on_decide(self._disk.due_snapshot)
            if view is None:
                continue
            try:
                await self._make(view)
                if self._keeping.blocks:
                    await self._prune(on_decide)
            except StoreFailed as error:
                self._alarm(f"no snapshot, or nothing forgotten behind it: {error}")

    async def _make(self, view: Any) -> None:
        made = await self._beside(partial(self._disk.make_snapshot, view, stopped=self._stopped.is_set))
        log.info("a snapshot is made", height=made.height, chunks=made.chunks)
        self._behind = await self._beside(self._second_newest)

    async def _prune(self, on_decide: OnDecide) -> None:
        """Let our own log begin where CometBFT's blocks do, once all who read it are past that."""
        keep_from = self._bound(self._ledger.info().height)
        if keep_from <= 0:
            return
        base = await self._beside(partial(self._disk.plan_prune, keep_from, self._stopped.is_set))
        if base is not None:
            await on_decide(self._disk.begin_prune, base)
            await self._beside(self._disk.finish_prune)
            log.info("the log is pruned", kept_from=keep_from)

    async def _beside(self, function: Callable[[], T]) -> T:
        """Run in another thread; whoever cancels waits until that is through, because the store is closed
        next.
        """
        work = asyncio.get_running_loop().run_in_executor(None, function)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            self._stopped.set()
            await asyncio.wait([work])
            work.exception()  # looked at: nobody else will
            raise

    # --- private --------------------------------------------------------------------------------------------

    def _second_newest(self) -> int:
        heights = [each.height for each in self._ledger.list_snapshots()]
        return heights[1] if len(heights) > 1 else 0

    def _bound(self, height: int) -> int:
        """The lowest height that must stay; at most 0: all must."""
        keeping = self._keeping
        bounds = [self._behind, height - keeping.blocks, height - keeping.evidence_blocks]
        bound = min([*bounds, *[settled() for settled in self._settled]])
        if bound <= 0:
            return 0
        return min(bound, self._older_than(self._ledger.info().time_ms - keeping.evidence_ms))

    def _older_than(self, time_ms: int) -> int:
        """The height of our newest header that is so old; 0 where none is that is still kept."""
        low, high = self._disk.first_position - 1, self._disk.durable_count - 1
        found = 0
        while low < high:
            middle = (low + high + 1) // 2
            at = self._disk.height_at(middle)
            header = self._disk.headers(at, 1)[0] if at is not None else None
            if header is not None and header.time_ms <= time_ms:
                low, found = middle, header.height
            else:
                high = middle - 1
        return found
