"""A disk that fills up, on a small filesystem of its own: new work is refused before anything acknowledged is
lost, reads go on, and with room again the node does too.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fault.node_kit import Load, NodeFolder, checked, connected, transfers, under_load
from tests.fault.small_disk import SmallDisk

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(200), pytest.mark.needs("mount")]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    made = SmallDisk(tmp_path / "disk", 64)
    yield made
    made.close()


async def test_below_its_reserve_a_node_refuses_new_work_reads_go_on_and_it_takes_work_again(
    disk: SmallDisk,
) -> None:
    folder = NodeFolder(disk.path / "node", {"disk_reserve_mb": 8}).make()
    load = Load(transfers(20_000, 1), batch=100)
    async with connected(folder) as stubs:
        with folder.running():
            disk.fill(leave_mib=10)
            async with under_load(stubs, load):
                await load.until(lambda: "DISK_LOW" in load.codes)
                status = await stubs.status()
                assert not status.serving
                assert await stubs.balance("KB/0") > 0
                acknowledged = len(load.acknowledged)
                assert 0 < acknowledged < 20_000
                folder.process.check_alive()
                disk.free()
                await load.until(lambda: len(load.acknowledged) > acknowledged + 500)
            assert (await stubs.status()).serving
            assert folder.process.stop() == 0
    checked(folder, load)
    print(f"disk below its reserve: 1 tried, 1 held; {acknowledged} acknowledged before")


async def test_a_disk_that_is_full_halts_the_node_and_with_room_again_it_goes_on_with_all_it_acknowledged(
    disk: SmallDisk,
) -> None:
    folder = NodeFolder(disk.path / "node", {"disk_reserve_mb": 0}).make()
    log = disk.path.parent / "log"
    folder.process.log = log  # a full disk must not hush up why
    load = Load(transfers(20_000, 2), batch=100)
    async with connected(folder) as stubs:
        with folder.running():
            disk.fill(leave_mib=2)
            process = folder.process._process
            assert process
            async with under_load(stubs, load):
                await load.until(lambda: process.poll() is not None or "STOPPED" in load.codes)
                code = await asyncio.to_thread(process.wait, 60)
            acknowledged = dict(load.acknowledged)
            said = log.read_text()
            assert code not in (0, 1), said
            assert "the node halts" in said
            assert 0 < len(acknowledged) < 20_000
            disk.resize(256)
            folder.start()
            async with under_load(stubs, load):
                await load.until(lambda: len(load.acknowledged) > len(acknowledged) + 500)
            assert (await stubs.status()).serving
            assert folder.process.stop() == 0
    assert {raw: load.acknowledged[raw] for raw in acknowledged} == acknowledged
    checked(folder, load)
    print(f"disk full: 1 tried, 1 held; {len(acknowledged)} acknowledged before, exit code {code}")
