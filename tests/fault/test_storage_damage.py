"""Damaged files: whatever bit, page or tail of a data directory is damaged, nobody ever reads a wrong
value.

Each case damages a copy of one directory and opens it in a child process: it either refuses with a code or
has exactly the right content, rebuilt where need be. A child that dies says nothing to an operator and
counts as a failure.
"""

import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from node.ledger.hashing import INTERNATIONAL
from node.storage import layout
from node.storage.sharded import ShardedStore
from tests.fault.storage_child import BUDGET, SHARDS, chain_of, check_index
from tests.storage_blocks import LIFETIME_MS

CHILD = Path(__file__).with_name("storage_child.py")
SEED = 77
BLOCKS = 45
PAGE = 4096
KINDS = {
    "log table": ("log", "*.ldb"),
    "log write-ahead": ("log", "*.log"),
    "log manifest": ("log", "MANIFEST*"),
    "log current": ("log", "CURRENT"),
    "shard table": ("state/0*", "*.ldb"),
    "shard write-ahead": ("state/0*", "*.log"),
    "shard manifest": ("state/0*", "MANIFEST*"),
    "shard current": ("state/0*", "CURRENT"),
    "spent table": ("spent/*", "*.ldb"),
    "spent write-ahead": ("spent/*", "*.log"),
    "spent manifest": ("spent/*", "MANIFEST*"),
    "spent stamp": ("spent", "STAMP"),
    "index table": ("index", "*.ldb"),
    "index write-ahead": ("index", "*.log"),
    "index manifest": ("index", "MANIFEST*"),
    "head": ("", "HEAD"),
    "version": ("", "VERSION"),
}
REFUSED = {"LOG_DAMAGED", "LOST_TAIL", "VERSION_UNKNOWN", "MISSING"}


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory as a crash leaves it, with tables and write-ahead files of every database."""
    place = tmp_path_factory.mktemp("pristine")
    blocks = chain_of(SEED, BLOCKS).blocks
    path = place / "data"
    ShardedStore.create(path, INTERNATIONAL, shards=SHARDS).close()
    for start, stop in ((0, 20), (20, 35), (35, BLOCKS)):
        store = ShardedStore.open(path, INTERNATIONAL, budget=BUDGET, lifetime_ms=LIFETIME_MS)
        for number, record in enumerate(blocks[start:stop]):
            store.stage(record)
            store.sync()
            if number % 4 == 0:
                store.flush()
                check_index(store)
        if stop == BLOCKS:
            shutil.copytree(path, place / "crashed")
        store.close()
    return place / "crashed"


Damage = tuple[Path, Callable[[bytes], bytes]]


class Child:
    """A process that opens damaged directories and says what it found."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, CHILD, "check"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={"PYTHONPATH": ".", "PATH": ""},
        )  # fmt: skip

    def check(self, path: Path) -> str:
        """The outcome of opening ``path``; "DIED" where the process did."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{path} {SEED} {BLOCKS}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        if not answer:
            self.process.wait()
            self.close()
            self.__init__()  # type: ignore[misc]
        return answer or "DIED"

    def close(self) -> None:
        """End the process."""
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
        self.process.wait()


@pytest.fixture(scope="module")
def child() -> Iterator[Child]:
    made = Child()
    yield made
    made.close()


def files_of(path: Path, kind: str) -> list[Path]:
    folder, pattern = KINDS[kind]
    places = path.glob(folder) if folder else [path]
    return sorted(file for place in places for file in place.glob(pattern) if file.stat().st_size)


def tried(pristine: Path, child: Child, place: Path, kind: str, damages: list[Damage]) -> Counter[str]:
    """Outcomes of opening one copy for each damage, a function of a file's bytes to other bytes."""
    outcomes: Counter[str] = Counter()
    for number, (file, damage) in enumerate(damages):
        copy = place / f"{number}"
        shutil.copytree(pristine, copy)
        target = copy / file.relative_to(pristine)
        target.write_bytes(damage(target.read_bytes()))
        outcomes[child.check(copy)] += 1
        shutil.rmtree(copy)
    print(f"{kind}: {outcomes.total()} tried, {held(outcomes)} held: {dict(outcomes)}")
    return outcomes


def held(outcomes: Counter[str]) -> int:
    """How many refused with a code or had exactly the right content."""
    return sum(count for outcome, count in outcomes.items() if outcome in REFUSED | {"exact", "rebuilt"})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.evidence(
    "ENG2", asset="the ledger", threat="a damaged disk", mitigation="checksums, and rebuilding from the log"
)
def test_a_flipped_bit_is_refused_or_repaired(
    kind: str, pristine: Path, child: Child, tmp_path: Path
) -> None:
    chance = random.Random(kind)
    files = files_of(pristine, kind)

    def flip(data: bytes) -> bytes:
        at = chance.randrange(len(data))
        return data[:at] + bytes((data[at] ^ 1 << chance.randrange(5),)) + data[at + 1 :]

    outcomes = tried(pristine, child, tmp_path, kind, [(chance.choice(files), flip) for _ in range(12)])
    assert held(outcomes) == 12, outcomes
    if kind.startswith("log"):
        assert "rebuilt" not in outcomes
    elif kind not in {"head", "version"}:
        assert not outcomes.keys() & REFUSED


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "table" in kind or "write-ahead" in kind])
@pytest.mark.evidence(
    "ACT12", asset="the ledger", threat="files are altered", mitigation="hashes and checksums"
)
def test_a_zeroed_page_is_refused_or_repaired(
    kind: str, pristine: Path, child: Child, tmp_path: Path
) -> None:
    chance = random.Random(kind)

    def zero(data: bytes) -> bytes:
        at = chance.randrange(0, len(data), PAGE)
        return data[:at] + bytes(len(data[at : at + PAGE])) + data[at + PAGE :]

    files = files_of(pristine, kind)
    outcomes = tried(pristine, child, tmp_path, kind, [(chance.choice(files), zero) for _ in range(5)])
    assert held(outcomes) == 5, outcomes


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "version"])
@pytest.mark.evidence(
    "ENG2", asset="the ledger", threat="a damaged disk", mitigation="checksums, and rebuilding from the log"
)
def test_a_file_cut_short_is_refused_or_repaired(
    kind: str, pristine: Path, child: Child, tmp_path: Path
) -> None:
    chance = random.Random(kind)
    files = files_of(pristine, kind)
    damages = [(chance.choice(files), lambda data: data[: chance.randrange(len(data))]) for _ in range(5)]
    outcomes = tried(pristine, child, tmp_path, kind, damages)
    assert held(outcomes) == 5, outcomes
    if kind == "log write-ahead":
        assert outcomes["exact"] + outcomes["rebuilt"] == 0, (
            "acknowledged blocks were cut off and nobody said so"
        )


def test_a_torn_tail_that_nobody_was_promised_is_dropped(
    pristine: Path, child: Child, tmp_path: Path
) -> None:
    record = chain_of(SEED, BLOCKS + 1).blocks[-1]
    chance = random.Random(3)
    dropped = 0
    for number in range(12):
        copy = tmp_path / str(number)
        shutil.copytree(pristine, copy)
        head = (copy / layout.HEAD).read_bytes()
        with ShardedStore.open(copy, INTERNATIONAL, budget=BUDGET, lifetime_ms=LIFETIME_MS) as store:
            wal = max((copy / "log").glob("*.log"))
            before = wal.stat().st_size
            store.log.append(record, BLOCKS)
            after = wal.stat().st_size
            crash = tmp_path / f"{number}.crash"
            shutil.copytree(copy, crash)
        assert after > before
        (crash / layout.HEAD).write_bytes(head)
        torn = crash / "log" / wal.name
        torn.write_bytes(torn.read_bytes()[: before + chance.randrange(after - before)])
        dropped += child.check(crash) == "exact"
    print(f"torn tails: 12 tried, {dropped} dropped")
    assert dropped == 12
