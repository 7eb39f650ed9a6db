"""The libraries behind the suite guomi: what a process asks them before it trusts them, several threads, want
of memory, and key files under SM4.
"""

import asyncio
import ctypes
import ctypes.util
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag

from bench_load import resident_kib
from node.cli.directory import make_directory
from node.keys import libcrypto, sm2, verify
from node.keys.keystore import (
    COST_MIN,
    KeyFileMalformed,
    PassphraseRefused,
    load_signer,
    read_metadata,
    save_signer,
)
from node.keys.signer import Sm2Signer, from_secret, generate
from node.keys.sm4 import Sm4Gcm
from node.keys.unsound import UnsoundLibrary
from node.keys.verify import GuomiVerifier, verify_many
from node.keys.workers import VerifyWorkers
from node.ledger import hashing
from node.ledger.errors import InvariantViolated
from node.ledger.hashing import GUOMI, Suite
from node.ledger.ports import Check
from node.ledger.types import AdministratorKey
from tests.vectors.guomi_chain import FOLDER, KEY_FILE_PASSPHRASE, PAYER

PASSPHRASE = b"a passphrase"
KEY_FILE = FOLDER / "keyfile.json"
SIGNER = from_secret("sm2", hashlib.sha256(b"signer").digest())


def good(number: int) -> Check:
    message = b"message %d" % number
    return Check("sm2", SIGNER.public_key, message, SIGNER.sign(message))


@pytest.fixture
def unasked() -> Iterator[None]:
    """Let the start-up test run anew, before and after."""
    for cached in (sm2.check_libraries, libcrypto.library, sm2._key):
        cached.cache_clear()
    yield
    for cached in (sm2.check_libraries, libcrypto.library, sm2._key):
        cached.cache_clear()


# --- the start-up test ----


@pytest.mark.usefixtures("unasked")
def test_sound_libraries_are_asked_once_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    known = sm2._check_sm2

    def asking() -> None:
        asked.append("sm2")
        known()

    monkeypatch.setattr(sm2, "_check_sm2", asking)
    for _ in range(3):
        GuomiVerifier()
    assert asked == ["sm2"]


@pytest.mark.usefixtures("unasked")
@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("_SIGNATURE", bytes([1]) * 64, "SM2"),
        ("_SECRET", bytes([1]) * 32, "SM2"),
        ("_DIGESTS", ((b"abc", "00" * 32),), "SM3"),
        ("_SM4_SEALED", bytes(80), "SM4"),
    ],
)
@pytest.mark.evidence(
    "GM2",
    asset="signing keys",
    threat="a library that answers wrongly",
    mitigation="published vectors at the start",
)
def test_a_library_that_gives_another_answer_than_published_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: Any, told: str
) -> None:
    monkeypatch.setattr(sm2, name, value)
    for start in (GuomiVerifier, lambda: generate("sm2"), verify.VERIFIERS["guomi"]):
        with pytest.raises(UnsoundLibrary, match=told):
            start()


@pytest.mark.usefixtures("unasked")
def test_a_libcrypto_that_calls_every_signature_good_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libcrypto.Sm2Key, "verify", lambda *_: True)
    with pytest.raises(UnsoundLibrary, match="not that of GB/T 32918"):
        GuomiVerifier()


@pytest.mark.usefixtures("unasked")
def test_a_system_without_libcrypto_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libcrypto, "SONAME", "libcrypto.so.of.another.day")
    monkeypatch.setattr(ctypes.util, "find_library", lambda _: None)
    with pytest.raises(UnsoundLibrary, match="lacks: install it"):
        GuomiVerifier()


@pytest.mark.usefixtures("unasked")
def test_a_library_without_the_functions_or_of_an_older_version_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(libcrypto, "VERSION_MIN", 0xF0000000)
    with pytest.raises(UnsoundLibrary, match="older"):
        GuomiVerifier()
    monkeypatch.setattr(libcrypto, "SONAME", "libc.so.6")
    with pytest.raises(UnsoundLibrary, match="needs OpenSSL 3"):
        GuomiVerifier()


@pytest.mark.usefixtures("unasked")
def test_a_python_without_sm3_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(name: str) -> None:
        raise ValueError(f"unsupported hash type {name}")

    monkeypatch.setattr(hashlib, "new", lacking)
    digest = hashing._sm3_function()
    with pytest.raises(InvariantViolated, match="SM3"):
        digest(b"abc")
    monkeypatch.setattr(sm2, "GUOMI", Suite("guomi", digest, ("sm2",)))
    with pytest.raises(UnsoundLibrary, match="needs SM3"):
        GuomiVerifier()


MISSING = "libcrypto.SONAME = 'libcrypto.so.none'; ctypes.util.find_library = lambda _: None"
WRONG = "libcrypto.SM2_CURVE = 415"  # P-256


@pytest.mark.parametrize(
    ("fault", "told"), [(MISSING, "which this system lacks"), (WRONG, "not that of GB/T 32918")]
)
@pytest.mark.evidence(
    "GM2",
    asset="signing keys",
    threat="a library that answers wrongly",
    mitigation="published vectors at the start",
)
def test_a_node_whose_libcrypto_fails_refuses_to_start_with_a_sentence(
    tmp_path: Path, fault: str, told: str
) -> None:
    signer = generate("sm2")
    node = make_directory(
        tmp_path / "node",
        name="national",
        administrators=[AdministratorKey("sm2", signer.public_key, "one")],
        threshold=1,
        suite=GUOMI,
        cost=COST_MIN,
    )
    program = (
        f"import ctypes.util; from node.keys import libcrypto; {fault}; import node.cli.main as m; m.app()"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program, "--config", node.config, "run"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.returncode == 5
    assert told in " ".join(answer.stderr.split())
    assert "Traceback" not in answer.stderr
    assert not (tmp_path / "node" / "data").exists()


# --- verifying ----


def test_a_check_is_answered_by_worker_processes_as_here() -> None:
    checks = [good(number) if number % 3 else good(number)._replace(message=b"other") for number in range(40)]
    expected = [number % 3 != 0 for number in range(40)]

    async def ask() -> list[bool]:
        workers = VerifyWorkers("guomi", 1)
        await workers.start()
        try:
            return await workers.verify(checks)
        finally:
            await workers.close()

    assert asyncio.run(ask()) == expected
    assert list(verify_many("guomi", checks)) == [int(answer) for answer in expected]


def test_authorities_may_have_ed25519_keys_and_members_may_not() -> None:
    authority = generate("ed25519")
    check = Check("ed25519", authority.public_key, b"header", authority.sign(b"header"))
    assert GuomiVerifier().verify([check, check._replace(message=b"other")]) == [True, False]
    assert GUOMI.algorithms == ("sm2",)
    assert GUOMI.authority_algorithms == ("sm2", "ed25519")
    p256 = generate("p256")
    assert GuomiVerifier().verify([Check("p256", p256.public_key, b"m", p256.sign(b"m"))]) == [False]


def test_four_threads_that_share_keys_sign_and_verify_without_a_wrong_answer() -> None:
    signers = [generate("sm2") for _ in range(3)]
    wrong: list[int] = []
    done: list[int] = []

    def work(thread: int) -> None:
        for number in range(60):
            signer = signers[number % 3]
            message = b"%d of %d" % (number, thread)
            signature = signer.sign(message)
            if not sm2.verify(signer.public_key, message, signature):
                wrong.append(number)
            if sm2.verify(signer.public_key, message + b"!", signature):
                wrong.append(number)
            done.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"{len(done)} signatures made and verified by 4 threads, {len(wrong)} wrong answers")
    assert (len(done), wrong) == (240, [])


def test_keys_are_kept_within_a_bound_and_freed() -> None:
    before = resident_kib(os.getpid())
    for _ in range(20_000):
        assert libcrypto.public_key(SIGNER.public_key) is not None
    grown = resident_kib(os.getpid()) - before
    print(f"20,000 keys loaded and dropped: {grown} KiB more")
    assert grown < 8_192  # each takes more than a KiB
    assert sm2._key.cache_info().maxsize == sm2.PARSED_KEYS_MAX


def test_want_of_memory_is_never_an_answer_about_a_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenSSL reports it in its queue of errors and answers 0, as for a bad signature."""
    library = libcrypto.library()
    out_of_memory = 256 | 0x40000 | 0x80000
    library.ERR_new.restype = None
    library.ERR_set_error.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_void_p)
    bad = good(1)._replace(message=b"other")
    assert not sm2.verify(*bad[1:])

    class Starving:
        """libcrypto in a process that has no memory left."""

        def __getattr__(self, name: str) -> Any:
            return getattr(library, name)

        def EVP_DigestVerify(self, *_: Any) -> int:  # noqa: N802 - OpenSSL's name
            library.ERR_new()
            library.ERR_set_error(53, out_of_memory, None)
            return 0

    key = libcrypto.public_key(SIGNER.public_key)
    assert key is not None
    monkeypatch.setattr(key, "_library", Starving())
    with pytest.raises(MemoryError):
        key.verify(sm2.IDENTITY, b"message", bytes(8))
    assert library.ERR_get_error() == 0


def test_a_refused_signature_leaves_no_error_behind_for_pythons_own_openssl() -> None:
    library = libcrypto.library()
    assert not sm2.verify(*good(1)._replace(message=b"other")[1:])
    assert not sm2.is_valid_key(b"\2" + b"\xff" * 32)
    assert not libcrypto.public_key(b"\2" + bytes(31) + b"\5")
    assert library.ERR_get_error() == 0


def test_a_key_without_its_private_half_does_not_sign() -> None:
    key = libcrypto.public_key(SIGNER.public_key)
    assert key is not None
    with pytest.raises((ValueError, UnsoundLibrary)):
        key.sign(sm2.IDENTITY, b"message")


@pytest.mark.parametrize("scalar", [0, sm2.ORDER - 1, sm2.ORDER, 2**256 - 1])
def test_a_scalar_that_the_standard_excludes_is_no_secret(scalar: int) -> None:
    with pytest.raises(ValueError, match="less two"):
        from_secret("sm2", scalar.to_bytes(32, "big"))


@pytest.mark.parametrize("scalar", [1, 2, sm2.ORDER - 2])
def test_the_least_and_the_greatest_scalars_sign(scalar: int) -> None:
    signer = from_secret("sm2", scalar.to_bytes(32, "big"))
    assert sm2.is_valid_key(signer.public_key)
    assert sm2.verify(signer.public_key, b"message", signer.sign(b"message"))


def test_libcrypto_has_no_point_for_a_multiple_of_the_order() -> None:
    for scalar in (0, sm2.ORDER):
        with pytest.raises(ValueError, match="no point"):
            libcrypto.multiply_base(scalar.to_bytes(32, "big"))


def test_new_keys_differ_and_two_signatures_of_one_message_differ_and_hold() -> None:
    signers = [generate("sm2") for _ in range(20)]
    assert len({signer.public_key for signer in signers}) == 20
    signatures = {SIGNER.sign(b"message") for _ in range(20)}
    assert len(signatures) == 20
    assert all(sm2.verify(SIGNER.public_key, b"message", signature) for signature in signatures)


# --- key files ----


def saved(path: Path) -> dict[str, Any]:
    save_signer(path, SIGNER, PASSPHRASE, label="treasury", cost=COST_MIN)
    document: dict[str, Any] = json.loads(path.read_bytes())
    return document


def test_an_sm2_key_is_kept_under_sm4_and_comes_back(tmp_path: Path) -> None:
    document = saved(tmp_path / "key.json")
    assert document["cipher"]["function"] == "sm4-gcm"
    assert document["algorithm"] == "sm2"
    assert SIGNER.secret().hex() not in json.dumps(document)
    again = load_signer(tmp_path / "key.json", PASSPHRASE)
    assert isinstance(again, Sm2Signer)
    assert (again.public_key, again.secret()) == (SIGNER.public_key, SIGNER.secret())
    assert read_metadata(tmp_path / "key.json").key_id == hashing.key_id(GUOMI, "sm2", SIGNER.public_key)
    with pytest.raises(PassphraseRefused):
        load_signer(tmp_path / "key.json", b"another")


def test_the_golden_key_file_of_guomi_opens() -> None:
    signer = load_signer(KEY_FILE, KEY_FILE_PASSPHRASE)
    assert isinstance(signer, Sm2Signer)
    assert signer.secret() == PAYER.secret()
    assert signer.public_key == PAYER.public_key


def test_a_flipped_bit_anywhere_in_an_sm2_key_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    document = saved(path)
    tried = 0
    for part, name in (("", "ciphertext"), ("", "public_key"), ("", "key_id"), ("cipher", "nonce")):
        holder = document[part] if part else document
        text = holder[name]
        for at in range(0, len(text), 7):
            holder[name] = text[:at] + format(int(text[at], 16) ^ 1, "x") + text[at + 1 :]
            path.write_text(json.dumps(document))
            with pytest.raises((PassphraseRefused, KeyFileMalformed)):
                load_signer(path, PASSPHRASE)
            tried += 1
        holder[name] = text
    print(f"{tried} single bits flipped in an SM4 key file, {tried} refused")
    assert tried > 25


@pytest.mark.parametrize(("algorithm", "function"), [("sm2", "aes-256-gcm"), ("ed25519", "sm4-gcm")])
def test_a_key_file_whose_cipher_is_not_its_algorithms_is_malformed(
    tmp_path: Path, algorithm: str, function: str
) -> None:
    path = tmp_path / "key.json"
    save_signer(path, generate(algorithm), PASSPHRASE, cost=COST_MIN)
    document = json.loads(path.read_bytes())
    document["cipher"]["function"] = function
    path.write_text(json.dumps(document))
    with pytest.raises(KeyFileMalformed, match="another cipher"):
        load_signer(path, PASSPHRASE)


def test_sm4_takes_keys_of_16_bytes_and_refuses_a_ciphertext_without_its_tag() -> None:
    with pytest.raises(ValueError, match="key size"):
        Sm4Gcm(bytes(32))
    for data in (b"", bytes(15), bytes(16), bytes(40)):
        with pytest.raises(InvalidTag):
            Sm4Gcm(bytes(16)).decrypt(bytes(12), data, b"")
