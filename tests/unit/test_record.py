"""A record in two slots: a torn write leaves the one before, a full disk tells nothing, one process holds
it.
"""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from node.engine.record import RecordFile, RecordInUse, RecordMissing, RecordUnusable
from node.ledger.types import Record

SLOT = 128


class Note(Record, frozen=True):
    number: int
    text: str


def opened(path: Path, *, exclusive: bool = False) -> RecordFile[Note]:
    return RecordFile(path, Note, SLOT, lambda note: note.number, exclusive=exclusive)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    RecordFile.create(tmp_path / "deep" / "record", Note(0, "first"), SLOT)
    return tmp_path / "deep" / "record"


def test_the_newest_value_is_found_again_and_the_file_is_its_owners(path: Path) -> None:
    record = opened(path)
    for number in range(1, 8):
        record.write(Note(number, "x"))
        assert record.last.number == number
    record.close()
    assert opened(path).last == Note(7, "x")
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.evidence(
    "VAL3", asset="validators' keys", threat="a torn record", mitigation="two slots in turn"
)
def test_a_write_torn_at_any_byte_leaves_one_of_the_two_values(path: Path) -> None:
    record = opened(path)
    record.write(Note(1, "x" * 40))
    before = path.read_bytes()
    record.write(Note(2, "y" * 40))
    after = path.read_bytes()
    record.close()
    at = 0 if before[:SLOT] != after[:SLOT] else SLOT
    seen = []
    for cut in range(SLOT + 1):
        path.write_bytes(before[:at] + after[at : at + cut] + before[at + cut :])
        seen.append(opened(path).last.number)
    assert set(seen) == {1, 2}
    print(f"torn writes: {len(seen)} tried, {seen.count(1)} left the older value, {seen.count(2)} the newer")


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_record_whose_making_was_cut_off_is_not_there(
    tmp_path: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "record"
    with monkeypatch.context() as patch:
        patch.setattr(f"node.engine.record.os.{call}", killed)
        with pytest.raises(KeyboardInterrupt):
            RecordFile.create(path, Note(1, "never"), SLOT)
    with pytest.raises(RecordMissing):
        opened(path)
    RecordFile.create(path, Note(2, "first"), SLOT)
    with pytest.raises(FileExistsError):
        RecordFile.create(path, Note(3, "second"), SLOT)
    assert opened(path).last == Note(2, "first")
    assert [entry.name for entry in tmp_path.iterdir()] == ["record"]


def test_what_could_not_be_written_is_not_the_last_value(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = opened(path)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for broken in (full, lambda *_: 7):
        monkeypatch.setattr("node.engine.record.os.pwrite", broken)
        with pytest.raises(RecordUnusable):
            record.write(Note(5, ""))
        assert record.last.number == 0
    with pytest.raises(RecordUnusable, match="does not fit"):
        record.write(Note(5, "x" * SLOT))


def test_a_missing_a_damaged_and_a_strange_record_are_told_apart(path: Path) -> None:
    with pytest.raises(RecordMissing):
        opened(path.with_name("elsewhere"))
    with pytest.raises(RecordUnusable, match="cannot be opened"):
        opened(path.parent)
    with pytest.raises(FileExistsError):
        RecordFile.create(path, Note(0, ""), SLOT)

    class Other(Record, frozen=True):
        name: str

    with pytest.raises(RecordUnusable, match="another kind"):
        RecordFile(path, Other, SLOT, lambda other: other.name)
    path.write_bytes(b"")
    with pytest.raises(RecordUnusable, match="damaged"):
        opened(path)


HOLD = """
import sys, pathlib
sys.path.insert(0, {root!r})
from node.engine.record import RecordFile
from node.ledger.types import Record
class Note(Record, frozen=True):
    number: int
    text: str
record = RecordFile(pathlib.Path({path!r}), Note, {slot}, lambda note: note.number, exclusive=True)
print("held", flush=True)
sys.stdin.read()
"""


def test_one_process_holds_a_record_until_it_ends_however_it_ends(path: Path) -> None:
    script = HOLD.format(root=str(Path(__file__).parents[2]), path=str(path), slot=SLOT)
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(RecordInUse):
            opened(path, exclusive=True)
        other.kill()
        other.wait(timeout=20)
    opened(path, exclusive=True).close()
