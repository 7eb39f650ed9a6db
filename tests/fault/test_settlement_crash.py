"""A settlement and a crash at every one of its steps: both legs or none, in the process and on the disk.

Six blocks settle in every way there is: whole, in part, out of holds, a linked set, a cycle of either model.
Once the process dies at each change that a block makes to state; once a process that writes them to
a real store is killed at its writes, and the store is opened again under a ledger.
"""

import os
import pickle
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from contracts import assemble
from node.keys.verify import InternationalVerifier
from node.ledger.hashing import INTERNATIONAL
from node.ledger.ledger import Ledger
from node.ledger.state import Delta
from node.ledger.types import Block
from node.storage.sharded import ShardedStore
from tests.checker import check_ledger
from tests.contracts.market import (
    CLOSES_MS,
    SECURED,
    Market,
    cycled,
    dealt,
    made,
    opened,
    passes,
)
from tests.fault.storage_child import BUDGET, SHARDS
from tests.kit import op
from tests.storage_blocks import LIFETIME_MS

CHILD = Path(__file__).with_name("settlement_child.py")
BANKS = ("PA", "KB", "CNB")
KILLS = {"write": 14, "fdatasync": 8}
"""Calls at which a child is killed, spread over all that it makes."""


class Dies(BaseException):
    """The process is gone."""


class Day:
    """A market up to its settlements, and each of these as a transaction that was not handed in yet."""

    def __init__(self) -> None:
        world = self.world = Market()
        whole, partly = dealt(world, 1), dealt(world, 2)
        held = dealt(world, 2, conditions=SECURED)
        linked = made(
            world.apply("PA", op("settlement", "link", (dealt(world, 1), dealt(world, 1)))), "Linked"
        )
        world.apply("KB", op("settlement", "join", linked))
        cycles = [opened(world, model) for model in (2, 3)]
        for cycle in cycles:
            cycled(world, cycle, dealt(world, 1), dealt(world, 1))
        passes(world, CLOSES_MS)
        self.steps = [
            ("KB", op("settlement", "settle", whole)),
            ("PA", op("settlement", "settle_partly", partly, 1)),
            ("KB", op("settlement", "settle", held)),
            ("PA", op("settlement", "settle_set", linked)),
            ("KB", op("cycles", "settle", cycles[0])),
            ("PA", op("cycles", "settle", cycles[1])),
        ]


def standing(readers: Any) -> dict[str, Any]:
    """Every deal and every balance, as a ledger's published state has them."""
    settlement, assets = readers["settlement"], readers["assets"]
    return {
        "deals": dict(settlement.deal.scan()),
        "sets": dict(settlement.linked.scan()),
        "cycles": dict(readers["cycles"].cycle.scan()),
        "balances": dict(assets.balance.scan()),
    }


def test_a_process_that_dies_at_any_change_of_a_settlement_leaves_both_legs_or_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    day = Day()
    world, tried = day.world, 0
    put = Delta.put
    for member, step in day.steps:
        raw = world.make(member, step)
        before = world.state()
        alive = 0
        while True:
            left = [alive]

            def dying(self: Delta, key: bytes, record: Any, left: list[int] = left) -> None:
                if not left[0]:
                    raise Dies
                left[0] -= 1
                put(self, key, record)

            monkeypatch.setattr(Delta, "put", dying)
            ledger = Ledger(
                world.genesis, assemble, world.store, InternationalVerifier(), records=100, leaf_bytes=0
            )
            try:
                block = Block(world.height + 1, world.time_ms + 1_000, (raw,))
                ledger.finalize_block(block)
            except Dies:
                tried += 1
                alive += 1
                assert world.state() == before, step
            else:
                break
            finally:
                monkeypatch.setattr(Delta, "put", put)
        (outcome,) = world.block(raw)
        assert getattr(outcome, "code", -1) == 0, (step, outcome)
        assert world.state() != before
    check_ledger(world.blocks(), world.genesis)
    print(f"died at every change of {len(day.steps)} settlements: {tried} tried, {tried} held")
    assert tried > 50


@pytest.mark.needs("strace")
@pytest.mark.parametrize("call", KILLS)
@pytest.mark.evidence(
    "ENG1",
    asset="delivery versus payment",
    threat="SIGKILL at any write",
    mitigation="one synced batch a block",
)
def test_a_node_killed_at_a_write_of_a_settlement_has_both_legs_or_none(call: str, tmp_path: Path) -> None:
    day = Day()
    world = day.world
    first = len(world.blocks())
    standings = [standing(world.ledger.readers)]
    for member, step in day.steps:
        world.apply(member, step)
        standings.append(standing(world.ledger.readers))
    blocks = world.blocks()
    records = tmp_path / "records"
    records.write_bytes(pickle.dumps(blocks))
    begun = _begun(tmp_path, blocks[:first])
    calls = _calls(_copy(begun, tmp_path / "whole"), records, first, call)
    outcomes: Counter[int] = Counter()
    for number in sorted({max(1, calls * at // KILLS[call]) for at in range(1, KILLS[call] + 1)}):
        path = _copy(begun, tmp_path / f"{call}-{number}")
        acknowledged = _killed(path, records, first, call, number)
        with ShardedStore.open(path, INTERNATIONAL, budget=BUDGET, lifetime_ms=LIFETIME_MS) as store:
            settled = store.durable_count - first
            assert acknowledged <= settled <= acknowledged + 1
            ledger = Ledger(
                world.genesis, assemble, store, InternationalVerifier(), records=100, leaf_bytes=1 << 20
            )
            assert standing(ledger.readers) == standings[settled]
            check_ledger(list(store.blocks()), world.genesis)
        outcomes[settled] += 1
        shutil.rmtree(path)
    tried = outcomes.total()
    print(f"killed at {call} while settling: {tried} tried, {tried} held; settlements kept: {dict(outcomes)}")
    assert len(outcomes) > 2


def _begun(folder: Path, blocks: list[Any]) -> Path:
    """A directory with the blocks before the settlements, as a crash leaves it."""
    store = ShardedStore.create(
        folder / "begun", INTERNATIONAL, shards=SHARDS, budget=BUDGET, lifetime_ms=LIFETIME_MS
    )
    for record in blocks:
        store.stage(record)
        store.sync()
    _copy(folder / "begun", folder / "crashed")
    store.close()
    return folder / "crashed"


def _copy(source: Path, to: Path) -> Path:
    shutil.copytree(source, to)
    return to


def _run(path: Path, records: Path, first: int, *tracing: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["strace", "-f", "-qq", *tracing, sys.executable, CHILD, path, records, str(first)],
        env={"PYTHONPATH": ".", "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def _calls(path: Path, records: Path, first: int, call: str) -> int:
    """How often a child that nobody kills makes a call."""
    report = path.with_suffix(".strace")
    assert _run(path, records, first, "-o", str(report), "-e", f"trace={call}").returncode == 0
    return len(report.read_text().splitlines())


def _killed(path: Path, records: Path, first: int, call: str, number: int) -> int:
    """Kill a child at its ``number``-th call; how many blocks it said were durable."""
    inject = f"inject={call}:signal=KILL:when={number}"
    return len(
        _run(path, records, first, "-o", os.devnull, "-e", f"trace={call}", "-e", inject).stdout.split()
    )
