"""A node killed at any moment and at any write: what it acknowledged stands, once, on a chain that verifies
by replay.
"""

import asyncio
import random
import re
import secrets
import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.checker import check_ledger
from tests.fault.node_kit import (
    BLOCKS,
    WORLD,
    Load,
    NodeFolder,
    checked,
    connected,
    transfers,
    under_load,
)

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(300)]
CALLS = {
    "pwrite64": (1, 2, 31),
    "fdatasync": (1, 2, 25),
    "write": (2, 33, 150),
}


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> NodeFolder:
    return NodeFolder(tmp_path_factory.mktemp("pristine") / "node").make()


@pytest.mark.evidence(
    "ENG1",
    asset="acknowledged transactions",
    threat="SIGKILL under load",
    mitigation="told only when durable",
)
async def test_a_node_that_is_killed_again_and_again_under_load_loses_and_doubles_nothing(
    pristine: NodeFolder, tmp_path: Path, long_run: bool
) -> None:
    seed = secrets.randbits(32)
    chance = random.Random(seed)
    kills = 60 if long_run else 8
    print(f"kill -9 under load: seed {seed}, {kills} kills")
    folder = pristine.copy(tmp_path / "node")
    folder.configure(verify_workers=1)
    load = Load(transfers(600 * kills, seed))
    total = len(load.open)
    async with connected(folder) as stubs:
        with folder.running():
            for _ in range(kills):
                async with under_load(stubs, load):
                    more = len(load.acknowledged) + chance.randrange(1, 500)
                    await load.until_acknowledged(more)
                    await asyncio.sleep(chance.random() / 50)  # any moment of a block's way
                    folder.process.kill()
                folder.start()
            await load.run(stubs)
            status = await stubs.status()
            assert folder.process.stop() == 0
    result = checked(folder, load)
    assert len(load.acknowledged) == total
    assert result.applied == total + check_ledger(BLOCKS, WORLD.genesis).applied
    assert status.height >= result.blocks - 1
    print(f"kill -9 under load: {kills} tried, {kills} held; {total} transfers, {load.resent} resent")


@pytest.mark.needs("strace")
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.evidence(
    "ENG1",
    asset="acknowledged transactions",
    threat="SIGKILL under load",
    mitigation="told only when durable",
)
async def test_a_node_killed_at_a_write_has_all_that_it_acknowledged(
    call: str, pristine: NodeFolder, tmp_path: Path
) -> None:
    outcomes: Counter[str] = Counter()
    for number in CALLS[call]:
        folder = pristine.copy(tmp_path / f"{call}-{number}")
        load = Load(transfers(800, number), batch=5)
        async with connected(folder) as stubs:
            with folder.running():
                tracer = attach(folder, call, number)
                async with under_load(stubs, load) as task:
                    await load.until(lambda: tracer.poll() is not None or task.done())  # noqa: B023
                if task.done() and not load.open:
                    outcomes["ran to the end"] += 1
                else:
                    outcomes["killed"] += 1
                tracer.kill()
                tracer.communicate()
                folder.process.kill()
                before = dict(load.acknowledged)
                folder.start()
                await load.run(stubs)
                assert {raw: load.acknowledged[raw] for raw in before} == before
                assert folder.process.stop() == 0
        checked(folder, load)
        assert len(load.acknowledged) == 800
    tried = outcomes.total()
    print(f"node killed at {call}: {tried} tried, {tried} held: {dict(outcomes)}")
    assert outcomes["killed"] > 0


def attach(folder: NodeFolder, call: str, number: int) -> "subprocess.Popen[str]":
    """An strace that kills the running node at its ``number``-th call from now; returns once it watches."""
    report = folder.path / "strace"
    inject = f"inject={call}:signal=KILL:when={number}"
    command = ["strace", "-f", "-o", str(report), "-e", f"trace={call}", "-e", inject]
    tracer = subprocess.Popen(
        [*command, "-p", str(folder.process.pid)],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    assert tracer.stderr
    said = tracer.stderr.readline()
    assert re.search("attached", said), said
    return tracer


async def test_sigterm_under_load_loses_nothing_that_was_acknowledged(
    pristine: NodeFolder, tmp_path: Path
) -> None:
    folder = pristine.copy(tmp_path / "node")
    load = Load(transfers(2_000, 5))
    async with connected(folder) as stubs:
        with folder.running():
            for rounds in range(3):
                async with under_load(stubs, load):
                    more = len(load.acknowledged) + 300
                    await load.until_acknowledged(more)
                    assert folder.process.stop() == 0
                checked(folder, load)
                folder.start()
                assert (await stubs.status()).serving, rounds
            await load.run(stubs)
            assert folder.process.stop() == 0
    checked(folder, load)
    assert len(load.acknowledged) == 2_000
    assert "Traceback" not in folder.log()
    print(f"SIGTERM under load: 3 tried, 3 held; {load.resent} resent")


async def test_a_node_that_is_stopped_for_a_while_goes_on(pristine: NodeFolder, tmp_path: Path) -> None:
    folder = pristine.copy(tmp_path / "node")
    load = Load(transfers(3_000, 6))
    async with connected(folder) as stubs:
        with folder.running():
            async with under_load(stubs, load) as task:
                await load.until(lambda: len(load.acknowledged) > 200)
                process = folder.process._process
                assert process
                process.send_signal(signal.SIGSTOP)
                before = len(load.acknowledged)
                await asyncio.sleep(3)  # the length of the pause is what is tested
                process.send_signal(signal.SIGCONT)
                await task
            assert len(load.acknowledged) == 3_000 > before
            assert (await stubs.status()).serving
            assert folder.process.stop() == 0
    checked(folder, load)
    print("SIGSTOP for 3 s under load: 1 tried, 1 held")
