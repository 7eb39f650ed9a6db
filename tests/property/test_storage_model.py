"""Any order of staging, syncing, flushing, crashing, closing and re-sharding leaves what a plain dictionary
says.
"""

import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.ledger.hashing import INTERNATIONAL
from node.storage.reshard import reshard
from node.storage.sharded import ShardedStore
from node.storage.view import Snapshot
from tests.storage_blocks import LIFETIME_MS, Chain, Model, check_state, check_store

STEPS = st.lists(
    st.one_of(
        st.sampled_from(("stage", "stage", "sync", "sync", "flush", "crash", "restart", "keep")),
        st.sampled_from((1, 2, 5, 16)),
    ),
    min_size=5,
    max_size=25,
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32), shards=st.sampled_from((1, 3, 8)), steps=STEPS)
def test_a_store_is_its_model_whatever_happens(seed: int, shards: int, steps: list[str | int]) -> None:
    with tempfile.TemporaryDirectory() as place:
        _Run(Path(place), seed, shards).play(steps)


class _Run:
    """One store, its chain, and how much of the chain is durable."""

    def __init__(self, place: Path, seed: int, shards: int) -> None:
        self.place = place
        self.path = place / "0"
        self.opened = 0
        self.chain = Chain(seed)
        self.durable = 0
        self.kept: list[tuple[Snapshot, Model]] = []
        self.store = ShardedStore.create(self.path, INTERNATIONAL, shards=shards, lifetime_ms=LIFETIME_MS)

    def play(self, steps: list[str | int]) -> None:
        for step in steps:
            if isinstance(step, int):
                self.close()
                reshard(self.path, INTERNATIONAL, step)
                self.open()
                assert self.store.shard_count == step
            else:
                getattr(self, step)()
        check_store(self.store, self.chain.blocks, self.durable)
        self.close()
        self.open()
        check_store(self.store, self.chain.blocks, self.durable)
        self.store.close()

    def stage(self) -> None:
        self.store.stage(self.chain.next())

    def sync(self) -> None:
        self.store.sync()
        self.durable = len(self.chain.blocks)

    def flush(self) -> None:
        self.store.flush()

    def keep(self) -> None:
        self.kept.append((self.store.snapshot(), Model(self.chain.blocks[: self.durable])))

    def crash(self) -> None:
        """Go on with a copy of the directory, made while the store was open."""
        self.check_kept()
        self.opened += 1
        copy = self.place / str(self.opened)
        shutil.copytree(self.path, copy)
        self.store.close()
        self.path = copy
        self.open()

    def restart(self) -> None:
        self.close()
        self.open()

    def close(self) -> None:
        self.check_kept()
        self.store.close()

    def open(self) -> None:
        del self.chain.blocks[self.durable :]
        self.store = ShardedStore.open(self.path, INTERNATIONAL, lifetime_ms=LIFETIME_MS)
        assert self.store.reports == []

    def check_kept(self) -> None:
        for snapshot, model in self.kept:
            check_state(snapshot, model)
        self.kept.clear()
