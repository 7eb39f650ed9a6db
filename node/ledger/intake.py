"""Taking a snapshot in: offered, then chunk by chunk, with the answers that ABCI has for each.

What always holds: nothing reaches the store that does not hash up to the trusted app hash; whatever was
taken in counts for nothing until the last chunk is there; a snapshot or a sender that lied is named.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final, Protocol

from node.ledger.hashing import ZERO_HASH, Suite
from node.ledger.ports import Installation, SnapshotStore
from node.ledger.snapshot import (
    FORMAT,
    Applied,
    Apply,
    Forged,
    Offer,
    Plan,
    Snapshot,
    Window,
    WrongChunk,
    check_offer,
    open_chunk,
    open_manifest,
)
from node.ledger.transactions import Chain
from node.ledger.types import Genesis

_ACCEPTED: Final = Applied(Apply.ACCEPT)


class Intake:
    """One accepted offer. The manifest, chunk 0, comes first; the others in any order."""

    def __init__(
        self, suite: Suite, lifetime_ms: int, store: SnapshotStore, snapshot: Snapshot, app_hash: bytes
    ) -> None:
        self._suite = suite
        self._lifetime_ms = lifetime_ms
        self._store = store
        self._snapshot = snapshot
        self._app_hash = app_hash
        self._plan: Plan | None = None
        self._installation: Installation | None = None
        self._missing: dict[int, None] = dict.fromkeys(range(snapshot.chunks))
        self.fault = ""
        """Why the last chunk that was not accepted was not."""

    @property
    def is_complete(self) -> bool:
        """Every chunk is in, and the store stands at the snapshot's height."""
        return not self._missing

    def apply(self, index: int, chunk: bytes, sender: str) -> Applied:
        """Take one chunk. Raises StoreFailed where the disk does."""
        plan = self._plan
        if not 0 <= index < self._snapshot.chunks or (plan is None and index != 0):
            self.fault = f"chunk {index} out of order"
            return Applied(Apply.RETRY_SNAPSHOT)
        try:
            if plan is None:
                plan = open_manifest(self._suite, self._snapshot, self._app_hash, self._lifetime_ms, chunk)
                self._plan, self._installation = plan, self._store.install(plan)
            elif index in self._missing:
                self._add(plan, index, chunk)
        except WrongChunk as error:
            self.fault = str(error)
            return Applied(Apply.RETRY, (index,), (sender,) if sender else ())
        except Forged as error:
            self.fault = str(error)
            self.abandon()
            return Applied(Apply.REJECT_SNAPSHOT, (), (sender,) if sender else ())
        self._missing.pop(index, None)
        if self.is_complete and self._installation:
            self._installation.finish()
            self._installation = None
        return _ACCEPTED

    def abandon(self) -> None:
        """Throw away what was taken in."""
        if self._installation:
            self._installation.abandon()
        self._plan = self._installation = None
        self._missing = dict.fromkeys(range(self._snapshot.chunks))

    def _add(self, plan: Plan, index: int, chunk: bytes) -> None:
        content = open_chunk(plan, index, chunk)
        installation = self._installation
        if installation is None:
            return
        if isinstance(content, Window):
            installation.add_window(content.position, content.blocks)
        else:
            installation.add_state(content.records, content.pairs)
        installation.keep(index, chunk)


class _Standing(Protocol):
    """Where a ledger stands."""

    @property
    def app_hash(self) -> bytes:
        """Of its last header; zeros before the chain has begun."""


class SnapshotVerbs(ABC):
    """The snapshot verbs of ``Ledger``, which is the only one to build on this class."""

    genesis: Genesis
    suite: Suite
    _store: SnapshotStore
    _info: _Standing
    _intake: Intake | None = None

    @property
    @abstractmethod
    def chain(self) -> Chain:
        """Which chain it is."""

    def list_snapshots(self) -> Sequence[Snapshot]:
        """Snapshots that other nodes may have, newest first."""
        return self._store.snapshots()

    def load_snapshot_chunk(self, height: int, format_: int, index: int) -> bytes:
        """A chunk of one; empty where there is no such chunk."""
        return self._store.snapshot_chunk(height, index) if format_ == FORMAT else b""

    def offer_snapshot(self, snapshot: Snapshot, app_hash: bytes) -> Offer:
        """Whether to take a snapshot in, given the trusted app hash of its height. ABORT: the chain has begun
        here already.
        """
        if self._intake:
            self._intake.abandon()
            self._intake = None
        if self._info.app_hash != ZERO_HASH:
            return Offer.ABORT
        offer = check_offer(self.suite, self.chain.chain_id, snapshot, app_hash)
        if offer is Offer.ACCEPT:
            lifetime_ms = self.genesis.limits.lifetime_ms
            self._intake = Intake(self.suite, lifetime_ms, self._store, snapshot, app_hash)
        return offer

    def apply_snapshot_chunk(self, index: int, chunk: bytes, sender: str = "") -> Applied:
        """Take a chunk of the accepted snapshot; with the last one the ledger stands at its height.

        Raises StoreFailed where the disk does.
        """
        intake = self._intake
        if intake is None:
            return Applied(Apply.ABORT)
        applied = intake.apply(index, chunk, sender)
        self.intake_fault = intake.fault
        if intake.is_complete:
            self._intake = None
            self._stand()
        elif applied.result is Apply.REJECT_SNAPSHOT:
            self._intake = None
        return applied

    @abstractmethod
    def _stand(self) -> None:
        """Stand where the store stands now."""
