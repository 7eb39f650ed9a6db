"""The vault's files: whole under their names or not there, private, and never on a full disk."""

import os
import random
import stat
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from node.ledger import hashing
from node.ledger.hashing import INTERNATIONAL
from node.storage.errors import StorageCode, StorageError
from node.storage.vault import INCOMING, Condition, VaultFiles

CHILD: Final = """
import sys
from pathlib import Path
from node.ledger.hashing import INTERNATIONAL
from node.storage.vault import VaultFiles
files = VaultFiles(Path(sys.argv[1]), INTERNATIONAL, reserve_bytes=0)
for number in range(4):
    incoming = files.incoming()
    for _ in range(8):
        incoming.write(bytes([number]) * 100_000)
    print(incoming.keep().hex(), flush=True)
"""
CALLS: Final = {"write": (1, 9, 33), "fsync": (1, 2, 3, 5, 8), "rename": (1, 2, 4), "openat": ()}


@pytest.fixture
def files(tmp_path: Path) -> VaultFiles:
    return VaultFiles(tmp_path / "vault", INTERNATIONAL, reserve_bytes=0)


def put(files: VaultFiles, data: bytes) -> bytes:
    incoming = files.incoming()
    for at in range(0, len(data), 1_000):
        incoming.write(data[at : at + 1_000])
    sealed = incoming.keep()
    incoming.drop()
    return sealed


def path_of(tmp_path: Path, sealed: bytes) -> Path:
    return tmp_path / "vault" / sealed.hex()[:2] / sealed.hex()


def test_bytes_lie_under_their_hash_for_their_owner_alone(tmp_path: Path, files: VaultFiles) -> None:
    data = random.Random(1).randbytes(5_000)
    sealed = put(files, data)
    path = path_of(tmp_path, sealed)
    assert sealed == INTERNATIONAL.digest(hashing.SEALED + data)
    assert (path.read_bytes(), b"".join(files.read(sealed)), files.size_of(sealed)) == (data, data, 5_000)
    assert put(files, data) == sealed, "the same bytes again are the same file"
    modes = {stat.S_IMODE(found.stat().st_mode) for found in (path, path.parent, tmp_path / "vault")}
    assert modes == {0o600, 0o700}
    assert [kept.sealed for kept in files.all()] == [sealed]
    assert (files.examine(sealed), files.examine(bytes(32))) == (Condition.WHOLE, Condition.MISSING)
    assert files.destroy(sealed)
    assert not files.destroy(sealed)
    assert (list(files.all()), files.size_of(sealed)) == ([], None)
    with pytest.raises(FileNotFoundError):
        list(files.read(sealed))


def test_a_document_that_is_given_up_leaves_nothing(tmp_path: Path, files: VaultFiles) -> None:
    incoming = files.incoming()
    incoming.write(b"x")
    assert len(list((tmp_path / "vault" / INCOMING).iterdir())) == 1
    incoming.drop()
    assert list((tmp_path / "vault" / INCOMING).iterdir()) == []


@pytest.mark.evidence(
    "VLT1", asset="documents", threat="a file is changed on the disk", mitigation="its name is its hash"
)
def test_every_flipped_bit_and_every_cut_of_a_file_is_found(tmp_path: Path, files: VaultFiles) -> None:
    data = random.Random(2).randbytes(60)
    sealed = put(files, data)
    path, tried = path_of(tmp_path, sealed), 0
    for at in range(8 * len(data)):
        changed = bytearray(data)
        changed[at // 8] ^= 1 << at % 8
        path.write_bytes(changed)
        assert files.examine(sealed) is Condition.DAMAGED, at
        tried += 1
    for length in range(len(data)):
        path.write_bytes(data[:length])
        assert files.examine(sealed) is Condition.DAMAGED, length
        tried += 1
    path.write_bytes(data)
    assert files.examine(sealed) is Condition.WHOLE
    print(f"{tried} flipped bits and cuts, every one found")


def test_a_disk_that_is_nearly_full_is_told_before_anything_is_written(tmp_path: Path) -> None:
    files = VaultFiles(tmp_path / "vault", INTERNATIONAL, reserve_bytes=1 << 62)
    with pytest.raises(StorageError) as refused:
        files.check_space(1)
    assert refused.value.error is StorageCode.DISK_LOW


@pytest.mark.needs("strace")
@pytest.mark.evidence(
    "VLT3", asset="documents", threat="a crash while a document comes in", mitigation="sync, then rename"
)
def test_killed_at_any_step_a_document_is_whole_or_not_there(tmp_path: Path) -> None:
    kills = acknowledged = 0
    for call, numbers in CALLS.items():
        for number in numbers:
            place = tmp_path / f"{call}-{number}"
            inject = f"inject={call}:signal=KILL:when={number}"
            traced = ["strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={call}", "-e", inject]
            done = subprocess.run(
                [*traced, sys.executable, "-c", CHILD, place],
                env={"PYTHONPATH": ".", "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"},
                capture_output=True,
                text=True,
                check=False,
            )
            told = [bytes.fromhex(line) for line in done.stdout.split() if len(line) == 64]
            kills += done.returncode != 0
            acknowledged += len(told)
            files = VaultFiles(place, INTERNATIONAL, reserve_bytes=0)
            assert list((place / INCOMING).iterdir()) == []
            lying = [kept.sealed for kept in files.all()]
            assert set(told) <= set(lying), (call, number)
            assert {files.examine(sealed) for sealed in lying} <= {Condition.WHOLE}
    assert kills >= 8
    print(f"{kills} kills; {acknowledged} acknowledged documents, all of them whole")
