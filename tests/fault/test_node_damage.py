"""Every kind of file in a node's directory, damaged: the node refuses with a sentence that says what to do,
or mends it and says the same as before; never a silently wrong value.
"""

import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from node.engine.sequencer import Sequencer
from tests.fault.node_kit import WORLD, Load, NodeFolder, connected, transfers

pytestmark = pytest.mark.timeout(300)
CHILD = Path(__file__).with_name("node_child.py")
PAGE = 4096
KINDS = {
    "log table": "data/log/*.ldb",
    "log write-ahead": "data/log/*.log",
    "log manifest": "data/log/MANIFEST*",
    "shard table": "data/state/0*/*.ldb",
    "shard write-ahead": "data/state/0*/*.log",
    "spent": "data/spent/*/*.l*",
    "spent stamp": "data/spent/STAMP",
    "index": "data/index/*.l*",
    "head": "data/HEAD",
    "version": "data/VERSION",
    "last-signed": "last-signed",
    "genesis": "genesis.json",
    "sequencer's key": "sequencer.json",
    "passphrase": "passphrase",
    "configuration": "node.toml",
}
MENDED = {"shard table", "shard write-ahead", "spent", "spent stamp", "index", "head"}
Damage = Callable[[bytes, random.Random], bytes]


def flip(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data))
    return data[:at] + bytes((data[at] ^ 1 << chance.randrange(8),)) + data[at + 1 :]


def cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data))]


def zero(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(0, len(data), PAGE)
    return data[:at] + bytes(len(data[at : at + PAGE])) + data[at + PAGE :]


class Child:
    """The process that opens damaged directories; a new one where one died."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True, env={"PYTHONPATH": ".", "PATH": os.environ["PATH"]},
        )  # fmt: skip

    def open(self, folder: NodeFolder) -> dict[str, Any]:
        """What becomes of a node that starts there."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{folder.config}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            self.close()
            self.__init__()  # type: ignore[misc]
            return {"died": True}
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        for stream in (self.process.stdin, self.process.stdout):
            if stream:
                stream.close()
        self.process.wait()


@pytest.fixture(scope="module")
def child() -> Iterator[Child]:
    made = Child()
    yield made
    made.close()


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> NodeFolder:
    """A node that has run and was stopped, so that every kind of file is there."""
    import asyncio

    folder = NodeFolder(tmp_path_factory.mktemp("pristine") / "node", {"leveldb_mb": 4}).make()

    async def live() -> None:
        async with connected(folder) as stubs:
            for seed in range(3):
                with folder.running():
                    await Load(transfers(150, seed), batch=5).run(stubs)
                    if seed < 2:
                        assert folder.process.stop() == 0

    asyncio.run(live())
    return folder


@pytest.fixture(scope="module")
def truth(pristine: NodeFolder, child: Child, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the undamaged node says."""
    copy = pristine.copy(tmp_path_factory.mktemp("truth") / "node")
    answer = child.open(copy)
    assert "answer" in answer, answer
    return str(answer["answer"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_refused_with_advice_or_mended(
    kind: str, pristine: NodeFolder, child: Child, truth: str, tmp_path: Path, long_run: bool
) -> None:
    chance = random.Random(kind)
    files = sorted(file for file in pristine.path.glob(KINDS[kind]) if file.stat().st_size)
    assert files, "there is no file of this kind"
    outcomes: Counter[str] = Counter()
    for number in range(30 if long_run else 4):
        damage = (flip, cut, flip, zero)[number % 4]
        copy = pristine.copy(tmp_path / str(number))
        target = copy.path / chance.choice(files).relative_to(pristine.path)
        before = target.read_bytes()
        target.write_bytes(damage(before, chance))
        answer = child.open(copy)
        if "answer" in answer:
            assert answer["answer"] == truth, f"{damage.__name__} of {target.name}: another answer"
            outcomes["mended" if answer["told"] else "same"] += 1
        else:
            assert "refused" in answer, f"{damage.__name__} of {target.name}: {answer}"
            assert " " in answer["refused"]
            outcomes["refused"] += 1
            assert kind not in MENDED, f"{damage.__name__} of {target.name}: {answer}"
        shutil.rmtree(copy.path)
    print(f"{kind}: {outcomes.total()} tried, {outcomes.total()} held: {dict(outcomes)}")


REFUSED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "data/VERSION": (lambda path: path.write_text("vostro-storage 9\n"), "use the release that wrote it"),
    "data/HEAD": (lambda path: shutil.rmtree(path.parent / "log"), "restore a"),
    "last-signed": (Path.unlink, "vostro backup adopt"),
    "genesis.json": (lambda path: path.write_text("{}"), "no genesis document"),
    "sequencer.json": (Path.unlink, "sequencer.json"),
    "passphrase": (lambda path: path.write_text("another\n"), "passphrase"),
    "node.toml": (lambda path: path.write_text(path.read_text() + "shard = 3\n"), "unknown setting shard"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_vostro_run_ends_with_its_exit_code_and_a_sentence(
    name: str, pristine: NodeFolder, tmp_path: Path
) -> None:
    damage, advice = REFUSED[name]
    copy = pristine.copy(tmp_path / "node")
    damage(copy.path / name)
    copy.process.start()
    try:
        code = copy.end()
    finally:
        copy.process.kill()
    said = " ".join(copy.log().split())
    assert code == 5, said
    assert advice in said, said
    assert "Traceback" not in said
    print(f"{name} damaged: 1 tried, 1 held: {said[-160:]}")


def test_a_second_process_on_the_same_directory_is_refused_and_the_first_goes_on(
    pristine: NodeFolder, tmp_path: Path
) -> None:
    copy = pristine.copy(tmp_path / "node")
    second = NodeFolder(copy.path)
    with copy.running():
        copy.config.write_text(copy.config.read_text().replace(copy.target, second.target))
        second.process.start()
        try:
            code = second.end()
        finally:
            second.process.kill()
        said = " ".join(copy.log().split())
        assert code == 5, said
        assert "Another process has this data directory open" in said
        assert "Traceback" not in said
        copy.process.check_alive()
        assert copy.process.stop() == 0
    print("a second process: 1 tried, 1 held")


@pytest.mark.asyncio
@pytest.mark.evidence(
    "ENG4", asset="one history", threat="an old copy goes on", mitigation="the last-signed record"
)
async def test_a_restored_copy_does_not_sign_old_heights_and_the_newest_log_brings_the_node_back(
    pristine: NodeFolder, tmp_path: Path
) -> None:
    node = pristine.copy(tmp_path / "node")
    old = tmp_path / "old"
    async with connected(node) as stubs:
        with node.running():
            assert node.process.stop() == 0
            shutil.copytree(node.data, old)
            node.start()
            load = Load(transfers(50))
            await load.run(stubs)
            assert node.process.stop() == 0
        newest = tmp_path / "newest"
        node.data.rename(newest)
        old.rename(node.data)
        node.process.start()
        try:
            code = node.end()
        finally:
            node.process.kill()
        said = " ".join(node.log().split())
        assert code == 5, said
        assert "Restore the newest log" in said
        assert "Traceback" not in said
        shutil.rmtree(node.data)
        newest.rename(node.data)
        with node.running():
            status = await stubs.status()
            assert status.serving
            more = Load(transfers(20, 1))
            await more.run(stubs)
            assert node.process.stop() == 0
    assert len(more.acknowledged) == 20
    print("a restored copy with a newer record: 1 tried, 1 held")


def test_a_record_of_another_chain_is_refused(pristine: NodeFolder, tmp_path: Path) -> None:
    copy = pristine.copy(tmp_path / "node")
    (copy.path / "last-signed").unlink()
    Sequencer.create_record(copy.path / "last-signed", bytes(reversed(WORLD.chain_id)))
    copy.process.start()
    try:
        code = copy.end()
    finally:
        copy.process.kill()
    assert code == 5
    assert "another chain" in copy.log()
