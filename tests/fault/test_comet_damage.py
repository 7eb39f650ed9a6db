"""A validator whose files are damaged, lost, or find no room: the chain goes on without it, and it comes
back.
"""

import asyncio
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node.engine.cometbft.supervisor import CometFailed
from node.engine.errors import NodeError
from node.ledger.errors import InvariantViolated
from node.storage.sharded import Budget
from tests.comet_checks import check_consortium
from tests.engine.comet_bench import Consortium, Validator, applied, consortium, until
from tests.fault.small_disk import MIB, SmallDisk

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(200)]

BACK_SECONDS = 60.0


async def load(made: Consortium, nodes: Any, count: int = 40) -> list[Any]:
    """So many payments at each node; (bytes, outcome) of each, all applied."""
    batches = [[made.pay() for _ in range(count)] for _ in nodes]
    calls = [node.submit(*raws) for node, raws in zip(nodes, batches, strict=True)]
    told = [
        pair
        for raws, answer in zip(batches, await asyncio.gather(*calls), strict=True)
        for pair in zip(raws, answer, strict=True)
    ]
    assert all(applied(outcome) for _, outcome in told)
    return told


def wal_of(validator: Validator) -> Path:
    """CometBFT's write-ahead log."""
    return validator.home.root / "data" / "cs.wal" / "wal"


def truncate(path: Path, chance: random.Random) -> str:
    size = path.stat().st_size
    left = chance.randrange(size)
    os.truncate(path, left)
    return f"cut from {size} to {left}"


def flip(path: Path, chance: random.Random) -> str:
    data = bytearray(path.read_bytes())
    places = [chance.randrange(len(data)) for _ in range(5)]
    for place in places:
        data[place] ^= 1 << chance.randrange(8)
    path.write_bytes(data)
    return f"bits flipped at {places}"


def empty(path: Path, chance: random.Random) -> str:
    path.write_bytes(b"")
    return f"emptied ({chance.random():.1f})"


def lose(path: Path, chance: random.Random) -> str:
    for each in path.parent.iterdir():
        each.unlink()
    return f"lost ({chance.random():.1f})"


async def test_a_validator_with_a_damaged_write_ahead_log_comes_back(long_run: bool) -> None:
    seed = random.SystemRandom().randrange(10**6)
    chance = random.Random(seed)
    print("seed", seed)
    cases = [truncate, truncate, flip, flip, empty, lose] * (5 if long_run else 1)
    async with consortium(4) as made:
        *others, struck = made.validators
        told = await load(made, made.validators)
        for at, damage in enumerate(cases):
            await struck.crash()
            what = damage(wal_of(struck), chance)
            told += await load(made, others, 20)
            await struck.start()
            await until(lambda: struck.engine.status().serving, f"case {at}: {what}", BACK_SECONDS)
            told += await load(made, [struck], 5)
        held = await check_consortium(made, acknowledged=told)
        print(f"damaged write-ahead logs: {len(cases)} tried, {len(cases)} held:", held)


@pytest.mark.parametrize("lost", ["data", "both"])
async def test_a_validator_that_lost_its_ledger_or_everything_gets_it_back_from_the_others(lost: str) -> None:
    async with consortium(4) as made:
        *others, struck = made.validators
        told = await load(made, made.validators)
        await struck.stop()
        told += await load(made, others)
        struck.lose_data()
        if lost == "both":
            struck.lose_home()
        await struck.start()
        await until(lambda: struck.engine.status().serving, "it is back", BACK_SECONDS)
        told += await load(made, made.validators)
        print(f"lost {lost}: 1 tried, 1 held:", await check_consortium(made, acknowledged=told))


async def test_a_validator_that_lost_cometbfts_home_alone_says_what_to_do_and_that_helps() -> None:
    """CometBFT would begin at height 1 over a ledger that is far beyond: nothing fits on it."""
    async with consortium(4) as made:
        *others, struck = made.validators
        told = await load(made, made.validators)
        await struck.stop()
        struck.lose_home()
        with pytest.raises(InvariantViolated, match="let an empty data directory catch up"):
            await struck.start()
        await struck.stop()
        told += await load(made, others)
        struck.lose_data()
        struck.lose_home()
        await struck.start()
        await until(lambda: struck.engine.status().serving, "it is back", BACK_SECONDS)
        print("lost home: 1 tried, 1 held:", await check_consortium(made, acknowledged=told))


async def test_a_validator_whose_cometbft_cannot_open_its_databases_says_what_to_do_and_that_helps() -> None:
    """As a kill in the first moments of a home can leave it: the manifest is there and has no content."""
    async with consortium(4) as made:
        *others, struck = made.validators
        told = await load(made, made.validators)
        await struck.stop()
        data = struck.home.root / "data"
        (manifest,) = (data / "state.db").glob("MANIFEST-*")
        manifest.write_bytes(b"")
        with pytest.raises(CometFailed, match="put priv_validator_state"):
            await struck.start()
        await struck.stop()
        told += await load(made, others)
        (struck.folder / "data").rename(struck.folder / "aside")
        data.rename(data.with_name("aside"))
        data.mkdir()
        shutil.copy(data.with_name("aside") / struck.home.validator_state.name, data)
        await struck.start()
        await until(lambda: struck.engine.status().serving, "it is back", BACK_SECONDS)
        told += await load(made, made.validators)
        print("databases damaged: 1 tried, 1 held:", await check_consortium(made, acknowledged=told))


class Tight:
    """Puts one validator's ledger on a small disk."""

    def __init__(self, place: int) -> None:
        self.place = place
        self.disk: Any = None

    def __call__(self, validator: Validator) -> None:
        if validator.place == self.place:
            self.disk = SmallDisk(validator.folder / "data", 64)
            validator.budget = Budget(1 << 20, 1 << 20, log_write_buffer_bytes=1 << 18, reserve_bytes=8 * MIB)


@pytest.fixture
def tight() -> Iterator[Tight]:
    made = Tight(3)
    yield made
    if made.disk:
        made.disk.close()
        shutil.rmtree(made.disk.path.parents[1], ignore_errors=True)


@pytest.mark.needs("mount")
async def test_a_validator_whose_disk_is_full_refuses_new_work_and_comes_back_with_room(tight: Tight) -> None:
    async with consortium(4, adjust=tight) as made:
        *others, struck = made.validators
        told = await load(made, made.validators)
        tight.disk.fill(leave_mib=7)
        await until(lambda: not struck.engine.status().serving, "it takes nothing new")
        (refused,) = await struck.submit(made.pay())
        assert refused.error is NodeError.DISK_LOW
        told += await load(made, others)
        await until(lambda: struck.ledger.info().height >= others[0].ledger.info().height, "it follows")
        tight.disk.fill(leave_mib=0)
        for _ in range(40):
            told += await load(made, others, 100)
            if struck.engine.halted.is_set():
                break
        assert struck.engine.halted.is_set(), "a disk without any room halts it"
        told += await load(made, others)
        await struck.crash()
        tight.disk.resize(256)
        await struck.start()
        await until(lambda: struck.engine.status().serving, "it is back", BACK_SECONDS)
        told += await load(made, [struck])
        print("disk full on one: 1 tried, 1 held:", await check_consortium(made, acknowledged=told))
