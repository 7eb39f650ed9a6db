"""Key files: round trips, wrong input, permissions, atomic writing, and a second reader of the format."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from node.keys import keystore
from node.keys.keystore import (
    COST_DEFAULT,
    COST_MAX,
    COST_MIN,
    PASSPHRASE_BYTES_MAX,
    CostRefused,
    KeyFileExists,
    KeyFileInaccessible,
    KeyFileMalformed,
    KeyFileMissing,
    KeystoreError,
    LabelRefused,
    PassphraseExposed,
    PassphraseRefused,
    list_keys,
    load_signer,
    read_passphrase,
    save_signer,
)
from node.keys.signer import SoftwareSigner, generate

PASSPHRASE = "correct horse ě".encode()
GOLDEN = Path(__file__).parents[1] / "vectors" / "keyfile.json"
GOLDEN_SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
Document = dict[str, Any]


def save(
    path: Path, algorithm: str = "ed25519", label: str = "", *, overwrite: bool = False
) -> SoftwareSigner:
    signer = generate(algorithm)
    save_signer(path, signer, PASSPHRASE, label=label, cost=COST_MIN, overwrite=overwrite)
    return signer


def changed(path: Path, change: Callable[[Document], object]) -> Path:
    """A copy of the golden file with something changed in it."""
    document = json.loads(GOLDEN.read_text())
    change(document)
    path.write_text(json.dumps(document))
    return path


def no_work(*_: object) -> None:
    pytest.fail("scrypt ran")


@pytest.mark.parametrize("algorithm", ["ed25519", "p256"])
def test_a_saved_signer_is_loaded_again(tmp_path: Path, algorithm: str) -> None:
    path = tmp_path / "bank.json"
    signer = save(path, algorithm, "payments")
    loaded = load_signer(path, PASSPHRASE)
    assert (loaded.algorithm, loaded.public_key, loaded.key_id) == (
        algorithm,
        signer.public_key,
        signer.key_id,
    )
    assert loaded.sign(b"message") == signer.sign(b"message")


def test_a_key_file_is_its_owners_alone_and_nothing_else_is_left_beside_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        save(tmp_path / "bank.json")
    finally:
        os.umask(before)
    assert [path.name for path in tmp_path.iterdir()] == ["bank.json"]
    assert (tmp_path / "bank.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.evidence(
    "ACT12",
    asset="signing keys",
    threat="a key file is altered or copied",
    mitigation="encrypted and authenticated",
)
def test_the_secret_and_the_passphrase_are_not_in_the_file_and_no_two_files_share_salt_or_nonce(
    tmp_path: Path,
) -> None:
    signer = generate("ed25519")
    documents = []
    for name in ("one.json", "two.json"):
        save_signer(tmp_path / name, signer, PASSPHRASE, cost=COST_MIN)
        text = (tmp_path / name).read_text()
        assert signer.secret().hex() not in text
        assert "correct horse" not in text
        documents.append(json.loads(text))
    one, two = documents
    assert one["kdf"]["salt"] != two["kdf"]["salt"]
    assert one["cipher"]["nonce"] != two["cipher"]["nonce"]
    assert one["ciphertext"] != two["ciphertext"]


def test_the_default_cost_is_the_stated_one(tmp_path: Path) -> None:
    assert COST_DEFAULT == 2**17
    save_signer(tmp_path / "bank.json", generate("ed25519"), PASSPHRASE)
    kdf = json.loads((tmp_path / "bank.json").read_text())["kdf"]
    assert (kdf["function"], kdf["n"], kdf["r"], kdf["p"]) == ("scrypt", 2**17, 8, 1)
    load_signer(tmp_path / "bank.json", PASSPHRASE)


# --- the format, as an outsider reads it ----


def test_the_golden_file_opens_and_says_what_it_says() -> None:
    signer = load_signer(GOLDEN, PASSPHRASE)
    (entry,) = [key for key in list_keys(GOLDEN.parent).keys if key.path == GOLDEN]
    assert entry.public_key == signer.public_key
    assert entry.key_id == signer.key_id
    assert (entry.label, entry.created) == ("Zahlungsverkehr Köln", "2026-01-31T12:00:00Z")


@pytest.mark.parametrize("golden", [True, False], ids=["golden", "fresh"])
def test_a_second_reader_written_from_the_docstring_finds_the_secret(tmp_path: Path, golden: bool) -> None:
    if golden:
        path, secret = GOLDEN, GOLDEN_SEED
    else:
        path = tmp_path / "bank.json"
        secret = save(path, "p256", "ř" * 64).secret()
    document = json.loads(path.read_text())
    kdf, cipher = document["kdf"], document["cipher"]
    salt, nonce = bytes.fromhex(kdf["salt"]), bytes.fromhex(cipher["nonce"])
    names = [bytes.fromhex(document["public_key"]), bytes.fromhex(document["key_id"])]
    array = [document["version"], document["algorithm"], *names, document["label"], document["created"]]
    array += ["scrypt", kdf["n"], kdf["r"], kdf["p"], salt, "aes-256-gcm", nonce]
    associated = b"vostro/keyfile/1\0" + msgspec.msgpack.encode(array)
    key = hashlib.scrypt(PASSPHRASE, salt=salt, n=kdf["n"], r=kdf["r"], p=kdf["p"], maxmem=2**26, dklen=32)
    assert AESGCM(key).decrypt(nonce, bytes.fromhex(document["ciphertext"]), associated) == secret


# --- what does not open ----


def test_a_wrong_passphrase_is_refused(tmp_path: Path) -> None:
    for wrong in (
        b"x",
        PASSPHRASE + b"\n",
        PASSPHRASE[:-1],
        PASSPHRASE.upper(),
        b"",
        b"x" * (PASSPHRASE_BYTES_MAX + 1),
    ):
        with pytest.raises(PassphraseRefused) as refused:
            load_signer(GOLDEN, wrong)
        assert refused.value.code == "PASSPHRASE_REFUSED"
    for none in (b"", b"x" * (PASSPHRASE_BYTES_MAX + 1)):
        with pytest.raises(PassphraseRefused):
            save_signer(tmp_path / "bank.json", generate("ed25519"), none, cost=COST_MIN)
    assert list(tmp_path.iterdir()) == []


CHANGES: dict[str, Callable[[Document], object]] = {
    "algorithm": lambda document: document.update(algorithm="p256"),
    "public key": lambda document: document.update(public_key="00" * 32),
    "key id": lambda document: document.update(key_id="00" * 16),
    "label": lambda document: document.update(label="Zahlungsverkehr Bonn"),
    "created": lambda document: document.update(created="2026-01-31T12:00:01Z"),
    "n": lambda document: document["kdf"].update(n=2**15),
    "r": lambda document: document["kdf"].update(r=9),
    "p": lambda document: document["kdf"].update(p=2),
    "salt": lambda document: document["kdf"].update(salt="01" + document["kdf"]["salt"][2:]),
    "shorter salt": lambda document: document["kdf"].update(salt=document["kdf"]["salt"][2:]),
    "nonce": lambda document: document["cipher"].update(nonce="01" + document["cipher"]["nonce"][2:]),
    "ciphertext": lambda document: document.update(ciphertext="00" + document["ciphertext"][2:]),
    "tag": lambda document: document.update(ciphertext=document["ciphertext"][:-2] + "00"),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.evidence(
    "ACT12",
    asset="signing keys",
    threat="a key file is altered or copied",
    mitigation="encrypted and authenticated",
)
def test_a_change_of_anything_in_the_file_is_noticed(tmp_path: Path, name: str) -> None:
    assert json.loads(GOLDEN.read_text()) != json.loads(
        changed(tmp_path / "key.json", CHANGES[name]).read_text()
    )
    with pytest.raises(PassphraseRefused, match="the file was changed"):
        load_signer(tmp_path / "key.json", PASSPHRASE)


MALFORMED: dict[str, Callable[[Document], object]] = {
    "another version": lambda document: document.update(version=2),
    "no ciphertext": lambda document: document.pop("ciphertext"),
    "short ciphertext": lambda document: document.update(ciphertext=document["ciphertext"][2:]),
    "empty ciphertext": lambda document: document.update(ciphertext=""),
    "unknown field": lambda document: document.update(comment=""),
    "unknown kdf": lambda document: document["kdf"].update(function="argon2id"),
    "unknown kdf parameter": lambda document: document["kdf"].update(dklen=32),
    "unknown cipher": lambda document: document["cipher"].update(function="aes-128-ctr"),
    "unknown algorithm": lambda document: document.update(algorithm="sm2"),
    "upper case": lambda document: document.update(public_key=document["public_key"].upper()),
    "no hex": lambda document: document.update(key_id="zz" * 16),
    "hex with a newline": lambda document: document.update(key_id=document["key_id"] + "\n"),
    "short nonce": lambda document: document["cipher"].update(nonce="00" * 11),
    "short salt": lambda document: document["kdf"].update(salt="00" * 15),
    "long salt": lambda document: document["kdf"].update(salt="00" * 65),
    "control character": lambda document: document.update(label="\x1b[2J"),
    "long label": lambda document: document.update(label="x" * 65),
    "no time": lambda document: document.update(created="yesterday"),
    "negative cost": lambda document: document["kdf"].update(n=-1),
    "cost as text": lambda document: document["kdf"].update(n="16384"),
    "cost as float": lambda document: document["kdf"].update(n=16384.5),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_no_key_file_of_this_version_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(keystore, "_cipher", no_work)
    with pytest.raises(KeyFileMalformed) as refused:
        load_signer(changed(tmp_path / "key.json", MALFORMED[name]), PASSPHRASE)
    assert refused.value.code == "KEY_FILE_MALFORMED"
    assert str(tmp_path / "key.json") in str(refused.value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"{" * 10_000,
        GOLDEN.read_bytes()[:-10],
        GOLDEN.read_bytes() + b" " * 16_384,
    ],
)
def test_bytes_that_are_no_document_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "key.json"
    path.write_bytes(data)
    with pytest.raises(KeyFileMalformed):
        load_signer(path, PASSPHRASE)


@pytest.mark.parametrize(
    ("n", "r", "p"),
    [
        (COST_MIN // 2, 8, 1),
        (2, 8, 1),
        (COST_MIN, 7, 1),
        (COST_MIN + 1, 8, 1),
        (3 * COST_MIN, 8, 1),
        (COST_MAX * 2, 8, 1),
        (2**32, 8, 1),
        (COST_MAX, 9, 1),
        (COST_MIN, 2**16, 1),
        (COST_MIN, 8, 2**16),
        (COST_MAX, 8, 3),
    ],
)
@pytest.mark.evidence(
    "KEY1",
    asset="availability",
    threat="a key file with an absurd cost",
    mitigation="costs are checked before any work",
)
def test_absurd_and_too_low_costs_are_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n: int, r: int, p: int
) -> None:
    monkeypatch.setattr(keystore, "_cipher", no_work)
    path = changed(tmp_path / "key.json", lambda document: document["kdf"].update(n=n, r=r, p=p))
    with pytest.raises(CostRefused) as refused:
        load_signer(path, PASSPHRASE)
    assert refused.value.code == "KEY_FILE_COST_REFUSED"


@pytest.mark.parametrize("cost", [0, 1, COST_MIN // 2, COST_MIN + 1, COST_MAX * 2])
def test_a_file_of_a_refused_cost_is_not_written(tmp_path: Path, cost: int) -> None:
    with pytest.raises(CostRefused):
        save_signer(tmp_path / "bank.json", generate("ed25519"), PASSPHRASE, cost=cost)
    assert list(tmp_path.iterdir()) == []


def test_a_file_whose_writer_named_another_key_is_refused(tmp_path: Path) -> None:
    class Liar:
        """A signer that says it is another."""

        algorithm = "ed25519"
        public_key = generate("ed25519").public_key
        key_id = bytes(16)

        def sign(self, message: bytes) -> bytes:
            raise AssertionError("nobody signs with a liar")

        def secret(self) -> bytes:
            return GOLDEN_SEED

    save_signer(tmp_path / "bank.json", Liar(), PASSPHRASE, cost=COST_MIN)
    with pytest.raises(KeyFileMalformed, match="not that of the public key"):
        load_signer(tmp_path / "bank.json", PASSPHRASE)


@pytest.mark.evidence(
    "KEY11", asset="secrets", threat="an error that quotes a secret", mitigation="texts name places only"
)
def test_no_error_shows_a_secret(tmp_path: Path) -> None:
    told = []
    for change in [*CHANGES.values(), *MALFORMED.values()]:
        with pytest.raises(KeystoreError) as refused:
            load_signer(changed(tmp_path / "key.json", change), PASSPHRASE)
        told.append(f"{refused.value!s} {refused.value!r} {refused.value.__cause__!r}")
    assert len(told) == len(CHANGES) + len(MALFORMED)
    assert not [text for text in told if "correct horse" in text or GOLDEN_SEED.hex() in text]


# --- files ----


def test_an_existing_file_is_replaced_only_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "bank.json"
    first = save(path)
    with pytest.raises(KeyFileExists) as refused:
        save(path)
    assert refused.value.code == "KEY_FILE_EXISTS"
    assert load_signer(path, PASSPHRASE).public_key == first.public_key
    second = save(path, overwrite=True)
    assert load_signer(path, PASSPHRASE).public_key == second.public_key != first.public_key
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_appears_while_the_key_is_encrypted_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bank.json"
    encrypt = keystore._cipher

    def slow(*arguments: Any) -> Any:
        path.write_text("another's")
        return encrypt(*arguments)

    monkeypatch.setattr(keystore, "_cipher", slow)
    with pytest.raises(KeyFileExists):
        save(path)
    assert path.read_text() == "another's"
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bank.json"
    first = save(path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(KeyFileInaccessible, match="No space left"):
        save(path, overwrite=True)
    with pytest.raises(KeyFileInaccessible, match="No space left"):
        save(tmp_path / "other.json")
    assert list(tmp_path.iterdir()) == [path]
    assert load_signer(path, PASSPHRASE).public_key == first.public_key


def test_a_missing_file_or_directory_is_told(tmp_path: Path) -> None:
    for act in (
        lambda: load_signer(tmp_path / "absent.json", PASSPHRASE),
        lambda: read_passphrase(tmp_path / "absent"),
        lambda: list_keys(tmp_path / "absent"),
        lambda: save(tmp_path / "absent" / "bank.json"),
    ):
        with pytest.raises(KeyFileMissing, match="check the path") as refused:
            act()
        assert refused.value.code == "KEY_FILE_MISSING"


def test_a_directory_is_no_key_file_and_a_file_no_directory(tmp_path: Path) -> None:
    for act in (
        lambda: load_signer(tmp_path, PASSPHRASE),
        lambda: read_passphrase(tmp_path),
        lambda: list_keys(GOLDEN),
        lambda: save(GOLDEN / "bank.json"),
    ):
        with pytest.raises(KeyFileInaccessible):
            act()


@pytest.mark.parametrize("label", ["x" * 65, "two\nlines", "\x1b[2J", "\x9b"])
def test_a_label_that_could_not_be_shown_is_refused(tmp_path: Path, label: str) -> None:
    with pytest.raises(LabelRefused):
        save(tmp_path / "bank.json", label=label)
    assert list(tmp_path.iterdir()) == []


def test_keys_are_listed_without_a_passphrase_and_what_is_none_is_named(tmp_path: Path) -> None:
    one, two = save(tmp_path / "a.json", label="payments"), save(tmp_path / "b.json", "p256")
    (tmp_path / "c.json").write_text("{}")
    (tmp_path / "notes.txt").write_text("not looked at")
    listing = list_keys(tmp_path)
    assert [(key.path.name, key.algorithm, key.label) for key in listing.keys] == [
        ("a.json", "ed25519", "payments"),
        ("b.json", "p256", ""),
    ]
    assert [key.public_key for key in listing.keys] == [one.public_key, two.public_key]
    assert [key.key_id for key in listing.keys] == [one.key_id, two.key_id]
    (refused,) = listing.refused
    assert isinstance(refused, KeyFileMalformed)
    assert "c.json" in str(refused)


# --- passphrase files ----


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"secret", b"secret"),
        (b"secret\n", b"secret"),
        (b"secret\n\n", b"secret\n"),
        (b" secret ", b" secret "),
    ],
)
def test_a_passphrase_file_loses_one_newline_at_its_end(
    tmp_path: Path, content: bytes, expected: bytes
) -> None:
    path = tmp_path / "passphrase"
    path.write_bytes(content)
    path.chmod(0o600)
    assert read_passphrase(path) == expected


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644, 0o610])
def test_a_passphrase_that_others_can_reach_is_refused_with_what_to_do(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "passphrase"
    path.write_text("secret")
    path.chmod(mode)
    with pytest.raises(PassphraseExposed, match="chmod 600") as refused:
        read_passphrase(path)
    assert refused.value.code == "PASSPHRASE_EXPOSED"
    path.chmod(0o400)
    assert read_passphrase(path) == b"secret"


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"x" * (PASSPHRASE_BYTES_MAX + 1), b"x" * PASSPHRASE_BYTES_MAX + b"\n\n"]
)
def test_an_empty_or_endless_passphrase_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "passphrase"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(PassphraseRefused):
        read_passphrase(path)
    path.write_bytes(b"x" * PASSPHRASE_BYTES_MAX + b"\n")
    assert len(read_passphrase(path)) == PASSPHRASE_BYTES_MAX
