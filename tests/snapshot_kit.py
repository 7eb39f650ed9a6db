"""Snapshots for tests: days of business run by ledgers over every kind of store, and a snapshot carried from
one to another.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from contracts import assemble
from node.keys.verify import VERIFIERS
from node.ledger import codec
from node.ledger.hashing import INTERNATIONAL
from node.ledger.ledger import Ledger
from node.ledger.snapshot import Applied, Apply, Offer, Snapshot
from node.ledger.types import Block, Genesis
from node.storage.memory import MemoryStore
from node.storage.sharded import Budget, ShardedStore

Store = MemoryStore | ShardedStore

BUDGET: Final = Budget(cache_bytes=1 << 20, write_buffer_bytes=1 << 20, log_write_buffer_bytes=1 << 17)
ACCEPTED: Final = Applied(Apply.ACCEPT)


class Bank(NamedTuple):
    """A ledger and its store."""

    ledger: Ledger
    store: Store

    def run(self, blocks: Iterable[Block]) -> list[bytes]:
        """Run blocks; the app hash after each."""
        hashes = []
        for block in blocks:
            self.ledger.finalize_block(block)
            self.commit()
            hashes.append(self.ledger.info().app_hash)
        return hashes

    def begin(self) -> "Bank":
        """Write block 0."""
        self.ledger.init_chain()
        self.commit()
        return self

    def commit(self) -> None:
        self.ledger.commit()
        self.store.sync()
        self.ledger.publish()

    def snapshot(self) -> tuple[Snapshot, list[bytes]]:
        """A snapshot of where the bank stands, and its chunks."""
        if isinstance(self.store, ShardedStore):
            made = self.store.make_snapshot(share=1)
        else:
            made = self.store.make_snapshot()
        return made, [self.ledger.load_snapshot_chunk(made.height, 1, at) for at in range(made.chunks)]


def in_memory(genesis: Genesis) -> Bank:
    """A ledger over a new store in memory."""
    return bank_over(genesis, MemoryStore(lifetime_ms=genesis.limits.lifetime_ms))


def on_disk(genesis: Genesis, path: Path, shards: int) -> Bank:
    """A ledger over a new data directory."""
    document = codec.encode(genesis)
    return bank_over(
        genesis, ShardedStore.create(path, INTERNATIONAL, shards=shards, budget=BUDGET, genesis=document)
    )


def reopened(genesis: Genesis, path: Path) -> Bank:
    """A ledger over the data directory at ``path``."""
    store = ShardedStore.open(path, INTERNATIONAL, budget=BUDGET)
    try:
        return bank_over(genesis, store)
    except BaseException:
        store.close()
        raise


def bank_over(genesis: Genesis, store: Store) -> Bank:
    return Bank(Ledger(genesis, assemble, store, VERIFIERS["international"](), leaf_bytes=1 << 20), store)


def carry(snapshot: Snapshot, chunks: Sequence[bytes], app_hash: bytes, to: Bank) -> None:
    """Take a snapshot in, every chunk of which must be accepted."""
    assert to.ledger.offer_snapshot(snapshot, app_hash) is Offer.ACCEPT
    for at, chunk in enumerate(chunks):
        assert to.ledger.apply_snapshot_chunk(at, chunk, "peer") == ACCEPTED
    assert to.ledger.info().app_hash == app_hash
