"""Snapshots of the store in dictionaries: the same bytes as on disk, made the plain way."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from node.ledger.hashing import HASH_BYTES, STATE_KEY, Suite
from node.ledger.snapshot import Plan, Snapshot
from node.ledger.snapshot_cut import COUNTED_DEPTH, Counted, Row, make_snapshot
from node.ledger.state_tree import FAN_OUT, PAIR_BYTES
from node.ledger.types import BlockRecord, Write


class Kept(Protocol):
    """What is cut."""

    @property
    def durable_count(self) -> int:
        """How many blocks are durable."""

    def kept(self, position: int) -> BlockRecord:
        """Durable block number ``position``."""

    def first_leaf(self, position: int) -> bytes:
        """The app hash of header number ``position``."""

    def history_node(self, level: int, index: int) -> bytes | None:
        """A complete node of the history tree."""

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """All records."""


def cut_snapshot(store: Kept, suite: Suite, lifetime_ms: int) -> tuple[Snapshot, list[bytes]]:
    """A snapshot of the last block, which must be durable, and its chunks."""
    chunks: dict[int, bytes] = {}
    plan = make_snapshot(suite, lifetime_ms, _Source(store, suite), chunks.__setitem__)
    return plan.snapshot, [chunks[at] for at in sorted(chunks)]


class _Source:
    """A store in memory as snapshot_cut.Source."""

    def __init__(self, store: Kept, suite: Suite) -> None:
        self.position = store.durable_count - 1
        self.first_leaf = store.first_leaf
        self.history_node = store.history_node
        self._kept = store.kept
        self._rows = sorted((suite.digest(STATE_KEY + key), key, value) for key, value in store.scan(b""))

    def block(self, position: int, *, leaves: bool) -> BlockRecord:
        return self._kept(position)

    def count(self) -> Counted:
        found = Counter(int.from_bytes(k[:2], "big") >> 4 for k, _, _ in self._rows)
        counts = [found[at] for at in range(FAN_OUT**COUNTED_DEPTH)]
        return Counted(counts, sum(len(key) + len(value) for _, key, value in self._rows))

    def batches(self) -> Iterator[list[Row]]:
        return ([row for row in self._rows if row[0][0] == byte] for byte in range(256))


class MemoryInstallation:
    """Implements ports.Installation. ``done`` takes it once it is whole."""

    def __init__(self, plan: Plan, done: Callable[["MemoryInstallation"], None]) -> None:
        self.plan = plan
        self.blocks: dict[int, BlockRecord] = {}
        self.records: list[Write] = []
        self.pairs: list[Write] = []
        self.chunks = {0: plan.raw}
        self._done = done

    def add_window(self, position: int, blocks: Sequence[BlockRecord]) -> None:
        """Take blocks."""
        self.blocks.update(enumerate(blocks, position))

    def add_state(self, records: Sequence[bytes], pairs: bytes) -> None:
        """Take records."""
        self.records += zip(records[::2], records[1::2], strict=True)
        self.pairs += [
            (pairs[at : at + HASH_BYTES], pairs[at + HASH_BYTES : at + PAIR_BYTES])
            for at in range(0, len(pairs), PAIR_BYTES)
        ]

    def keep(self, index: int, chunk: bytes) -> None:
        """Take a chunk's bytes."""
        self.chunks[index] = chunk

    def finish(self) -> None:
        """Put it in place."""
        self._done(self)

    def abandon(self) -> None:
        """Nothing stands anywhere."""
