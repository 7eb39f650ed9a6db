"""A netting cycle on disk, crashed at every step: after any crash it goes on to the same app hash, and of a
settlement there is all or nothing.
"""

import shutil
from pathlib import Path
from typing import NamedTuple

from node.client.netting import solve
from node.ledger.ledger import Finalized
from node.ledger.types import Block, Genesis
from node.storage.sharded import ShardedStore
from tests.contracts.queue_world import (
    ClearedConsortium,
    available,
    instruct,
    order,
    problem,
    propose,
)
from tests.kit import op
from tests.snapshot_kit import Bank, on_disk, reopened

STEPS = ("decided", "staged", "synced")
ACCOUNTS = ("PA/main", "KB/main", "CNB/main", "CNB/clearing")


class Recorded(NamedTuple):
    """blocks: of the whole history; cycle: the first of the cycle's. app_hashes: after each."""

    genesis: Genesis
    blocks: list[Block]
    app_hashes: list[bytes]
    cycle: int
    before: list[int]
    after: list[int]


class Tape(ClearedConsortium):
    """A world that keeps what it was told to run."""

    def __init__(self) -> None:
        self.tape: list[Block] = []
        self.hashes: list[bytes] = []
        super().__init__()

    def finalize(self, *items: bytes, time_ms: int | None = None) -> Finalized:
        finalized = super().finalize(*items, time_ms=time_ms)
        self.tape.append(Block(self.height + 1, finalized.time_ms, items))
        self.hashes.append(finalized.app_hash)
        return finalized


def record() -> Recorded:
    """A cycle in which a bank is taken out and the rest is solved again."""
    world = Tape()
    for bank, orders in {
        "PA": (order("KB", 2_600), order("CNB", 300)),
        "KB": (order("CNB", 650), order("PA", 1_700)),
        "CNB": (order("KB", 450), order("PA", 800)),
    }.items():
        world.apply(bank, instruct(*orders))
    first = len(world.tape)
    before = [available(world, account) for account in ACCOUNTS]
    world.apply("CNB", op("clearing", "seal", "CZK"))
    propose(world, solve(problem(world)).cuts)
    world.apply("PA", op("transfers", "send", "PA/main", "PA/empty", "CZK", 700, "", b"", ""))
    world.apply("CNB", op("clearing", "settle", "CZK", 1))
    assert world.record("clearing", "cycle", "CZK", 1).attempt == 2, "PA is taken out"
    propose(world, solve(problem(world)).cuts)
    before[0] -= 700
    world.apply("CNB", op("clearing", "settle", "CZK", 1))
    assert world.record("clearing", "totals", "CZK", 1).gross == 1_100
    after = [available(world, account) for account in ACCOUNTS]
    return Recorded(world.genesis, world.tape, world.hashes, first, before, after)


def _money(bank: Bank) -> list[int]:
    reader = bank.ledger.readers["assets"]
    found = [reader.position(account, "CZK") for account in ACCOUNTS]  # type: ignore[attr-defined]
    return [position.posted - position.held for position in found]


def _crash(store: ShardedStore, target: Path) -> Path:
    return Path(shutil.copytree(store.path, target))


def test_a_cycle_that_is_crashed_at_any_step_comes_to_the_same(tmp_path: Path) -> None:
    told = record()
    assert told.before != told.after
    bank = on_disk(told.genesis, tmp_path / "data", 2).begin()
    bank.run(told.blocks[: told.cycle])
    crashes = 0
    last = len(told.blocks) - 1
    for at in range(told.cycle, len(told.blocks)):
        for step in STEPS:
            if step == "decided":
                bank.ledger.finalize_block(told.blocks[at])
            elif step == "staged":
                bank.ledger.commit()
            else:
                bank.store.sync()
                bank.ledger.publish()
            assert isinstance(bank.store, ShardedStore)
            again = reopened(told.genesis, _crash(bank.store, tmp_path / f"{at}-{step}"))
            done = at + (step == "synced")
            assert again.ledger.info().app_hash == told.app_hashes[done - 1]
            if at == last:
                assert _money(again) == (told.after if step == "synced" else told.before)
            assert again.run(told.blocks[done:]) == told.app_hashes[done:]
            assert _money(again) == told.after
            again.store.close()
            crashes += 1
    bank.store.close()
    print(f"cycle crashed at {crashes} steps")
    assert crashes == 3 * (len(told.blocks) - told.cycle)
