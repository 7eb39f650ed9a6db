"""The process that fault tests of storage kill, starve and mistreat.

storage_child.py write PATH SEED FROM TO     stage and sync blocks of the chain, acknowledging each on
standard output storage_child.py check                       read "PATH SEED BLOCKS" lines; answer each with
what an opener would see
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from node.ledger.codec import encode
from node.ledger.hashing import INTERNATIONAL
from node.ledger.types import Event, Receipt
from node.storage import layout
from node.storage.errors import StorageError
from node.storage.index import Index, Movement
from node.storage.sharded import Budget, ShardedStore
from tests.storage_blocks import LIFETIME_MS, Chain, check_store

BUDGET = Budget(cache_bytes=1 << 20, write_buffer_bytes=1 << 20, log_write_buffer_bytes=1 << 17)
SHARDS = 2


def chain_of(seed: int, blocks: int) -> Chain:
    """The chain that every process of a test makes from its seed."""
    chain = Chain(seed)
    for _ in range(blocks):
        chain.next(writes=25, transactions=4)
    return chain


def write(path: Path, seed: int, start: int, stop: int) -> None:
    """Open or create the store and add blocks number ``start`` to ``stop`` - 1; a line for each that is
    durable.
    """
    if (path / layout.VERSION).exists():
        store = ShardedStore.open(path, INTERNATIONAL, budget=BUDGET, lifetime_ms=LIFETIME_MS)
    else:
        store = ShardedStore.create(
            path, INTERNATIONAL, shards=SHARDS, budget=BUDGET, lifetime_ms=LIFETIME_MS
        )
    for number, record in enumerate(chain_of(seed, stop).blocks[start:], start + 1):
        store.stage(record)
        store.sync()
        if number % 3 == 0:
            store.flush()
        print(number, flush=True)
    store.close()


def check(path: Path, seed: int, blocks: int) -> str:
    """What becomes of an opener: "exact", "rebuilt", or the code of the refusal. Raises AssertionError for
    a wrong value.
    """
    expected = chain_of(seed, blocks).blocks
    outcome = "exact"
    for _ in range(4):  # damage met while reading is rebuilt by the next open; one attempt a part
        try:
            with ShardedStore.open(path, INTERNATIONAL, budget=BUDGET, lifetime_ms=LIFETIME_MS) as store:
                if store.reports:
                    outcome = "rebuilt"
                check_store(store, expected, blocks)
                check_index(store)
        except StorageError as error:
            if error.error.name not in {"SHARD_DAMAGED", "SPENT_DAMAGED", "INDEX_DAMAGED"}:
                return error.error.name
            outcome = "rebuilt"
        else:
            return outcome
    return "NOT REBUILT"


def movements(event: Event) -> Iterator[Movement]:
    """The account in the event's fields moves by one."""
    yield Movement(event.fields.decode(), "CZK", 1, "", "", "")


class IndexedBlocks:
    """A store's blocks with receipts that decode, made from its leaves: the index tests need no ledger."""

    def __init__(self, store: ShardedStore) -> None:
        self.store = store
        self.durable_count = store.durable_count
        self.first_position = store.first_position
        self.height_at = store.height_at
        self.headers = store.headers
        self.leaves = store.leaves

    def receipts(self, height: int) -> tuple[bytes, ...]:
        events = (Event("c", "e", b"A/1"),)
        return tuple(
            encode(Receipt(1, bytes(32), height, at, "", 0, 0, events))
            for at, _ in enumerate(self.store.leaves(height) or ())
        )


def check_index(store: ShardedStore) -> None:
    """Bring the index up to the store and compare it with the log."""
    index = Index(
        store.path / layout.INDEX, movements, blocks=store.durable_count, write_buffer_bytes=1 << 17
    )
    try:
        while index.advance(IndexedBlocks(store), blocks_max=16):
            pass
        expected = [(height, at) for height, leaves in _leaves(store) for at, _ in enumerate(leaves)]
        found = []
        after = b""
        while page := index.movements("A/1", after=after):
            found += [(row.height, row.index) for row in page]
            after = page[-1].cursor
        assert found == expected
    finally:
        index.close()


def _leaves(store: ShardedStore) -> list[tuple[int, tuple[bytes, ...]]]:
    return [(header.height, store.leaves(header.height) or ()) for header in store.headers(0, 10**6)]


def main() -> None:
    """Do what the command line says."""
    if sys.argv[1] == "write":
        write(Path(sys.argv[2]), *map(int, sys.argv[3:]))
        return
    for line in sys.stdin:
        path, seed, blocks = line.split()
        try:
            print(check(Path(path), int(seed), int(blocks)), flush=True)
        except AssertionError as error:
            print("WRONG", repr(error)[:200].replace("\n", " "), flush=True)


if __name__ == "__main__":
    main()
