"""Keys in a token: real SoftHSM sessions, lost and opened again; nothing that leaves; URIs as RFC 7512 has
them.
"""

import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pkcs11
import pytest
from pkcs11 import Attribute, KeyType, ObjectClass
from pkcs11.exceptions import PKCS11Error

from node.client import load_key
from node.keys.keystore import KeystoreError, PassphraseExposed
from node.keys.loader import load_signer, read_public
from node.keys.pkcs11 import (
    TokenSigner,
    TokenUnavailable,
    generate_in_token,
    list_token_keys,
    start_library,
)
from node.keys.signer import SignerUnavailable
from node.keys.token_uri import TokenRefused, parse_uri
from node.keys.verify import VERIFIERS
from node.ledger.ports import Check
from tests import hsm_kit
from tests.hsm_kit import MODULE, PIN, Hsm

pytestmark = pytest.mark.needs("softhsm2-util")
ALGORITHMS = ("ed25519", "p256")
NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hsm")
    hsm_kit.prepare(path)
    return path


@pytest.fixture
def hsm(folder: Path) -> Hsm:
    made = hsm_kit.new_token(folder, f"bank-{next(NUMBERS)}")
    start_library(MODULE)  # what is open may not see a token that another process made
    return made


def made(hsm: Hsm, algorithm: str, label: str = "key", sessions: int = 4) -> TokenSigner:
    uri = parse_uri(hsm.uri(label))
    generate_in_token(uri, PIN, algorithm)
    return TokenSigner(uri, PIN, sessions=sessions)


def verifies(signer: TokenSigner, message: bytes, signature: bytes) -> bool:
    check = Check(signer.algorithm, signer.public_key, message, signature)
    return all(VERIFIERS["international"]().verify([check]))


def opened(hsm: Hsm) -> Any:
    """A logged-in session of the library itself, as an attacker in the process would have it."""
    token = pkcs11.lib(str(MODULE)).get_token(token_label=hsm.token)
    try:
        return token.open(user_pin=PIN.decode(), rw=True)
    except PKCS11Error:
        return token.open(rw=True)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_a_token_signs_verifies_as_any_other_signature(hsm: Hsm, algorithm: str) -> None:
    signer = made(hsm, algorithm)
    for size in (0, 1, 32, 100, 5_000):
        assert verifies(signer, bytes(size), signer.sign(bytes(size)))
    assert signer.algorithm == algorithm
    assert VERIFIERS["international"]().is_valid_key(algorithm, signer.public_key)
    assert PIN.decode() not in repr(signer)


def test_the_loader_takes_a_file_and_a_token_alike(hsm: Hsm) -> None:
    signer = made(hsm, "ed25519")
    by_source = load_signer(hsm.uri("key", pin_source=True), lambda: pytest.fail("nobody is asked"))
    by_passphrase = load_signer(Path(hsm.uri("key")), PIN)
    by_client = load_key(hsm.uri("key"), hsm.pin_file)
    public = read_public(hsm.uri("key"))
    names = {(s.public_key, s.key_id) for s in (signer, by_source, by_passphrase, by_client, public)}
    assert len(names) == 1
    assert (public.label, public.algorithm) == ("key", "ed25519")
    hsm.pin_file.chmod(0o640)
    try:
        with pytest.raises(PassphraseExposed):
            load_signer(hsm.uri("key", pin_source=True), b"")
    finally:
        hsm.pin_file.chmod(0o600)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.evidence(
    "KEY4",
    asset="signing keys",
    threat="a key is copied out of a token",
    mitigation="attributes that forbid it",
)
def test_a_key_never_leaves_its_token(hsm: Hsm, algorithm: str) -> None:
    made(hsm, algorithm)
    session = opened(hsm)
    private = session.get_key(object_class=ObjectClass.PRIVATE_KEY, label="key")
    assert (private[Attribute.SENSITIVE], private[Attribute.EXTRACTABLE]) == (True, False)
    wrapping = session.generate_key(KeyType.AES, 256)
    loose, bare = (Attribute.EXTRACTABLE, True), (Attribute.SENSITIVE, False)
    attempts: dict[str, Callable[[], object]] = {
        "read its value": lambda: private[Attribute.VALUE],
        "wrap it": lambda: wrapping.wrap_key(private),
        "make it extractable": lambda: private.__setitem__(*loose),
        "make it insensitive": lambda: private.__setitem__(*bare),
        "copy it extractable": lambda: private.copy({Attribute.EXTRACTABLE: True}),
    }
    for what, attempt in attempts.items():
        with pytest.raises(PKCS11Error):
            attempt()
        print(f"{algorithm}: refused to {what}")


@pytest.mark.evidence(
    "KEY4",
    asset="signing keys",
    threat="a key is copied out of a token",
    mitigation="attributes that forbid it",
)
def test_a_key_that_may_leave_is_not_used(hsm: Hsm) -> None:
    session = opened(hsm)
    parameters = session.create_domain_parameters(
        KeyType.EC, {Attribute.EC_PARAMS: bytes.fromhex("06082a8648ce3d030107")}, local=True
    )
    parameters.generate_keypair(
        store=True, label="loose", private_template={Attribute.SENSITIVE: False, Attribute.EXTRACTABLE: True}
    )
    with pytest.raises(TokenRefused, match="may leave"):
        TokenSigner(parse_uri(hsm.uri("loose")), PIN)


def test_a_name_that_is_taken_or_unknown_or_not_one_key_is_refused(hsm: Hsm) -> None:
    made(hsm, "ed25519")
    with pytest.raises(TokenRefused, match="already"):
        generate_in_token(parse_uri(hsm.uri("key")), PIN, "p256")
    with pytest.raises(TokenRefused, match="no such key"):
        TokenSigner(parse_uri(hsm.uri("other")), PIN)
    with pytest.raises(TokenRefused, match="names no key"):
        TokenSigner(parse_uri(hsm.uri()), PIN)
    with pytest.raises(TokenRefused, match="makes keys of"):
        generate_in_token(parse_uri(hsm.uri("rsa")), PIN, "rsa")
    with pytest.raises(TokenRefused, match="object=LABEL"):
        generate_in_token(parse_uri(hsm.uri("x" * 33)), PIN, "p256")
    generate_in_token(parse_uri(hsm.uri("second")), PIN, "p256")
    found = list_token_keys(parse_uri(hsm.uri()))
    assert [(key.label, key.algorithm) for key in found] == [("key", "ed25519"), ("second", "p256")]


@pytest.mark.evidence(
    "KEY5",
    asset="signing keys",
    threat="a token that answers wrongly or locks",
    mitigation="signatures are checked, PINs sent once",
)
def test_a_wrong_pin_is_refused_and_not_sent_again(hsm: Hsm, monkeypatch: pytest.MonkeyPatch) -> None:
    signer = made(hsm, "ed25519", sessions=1)
    start_library(MODULE)  # the login is lost
    with pytest.raises(TokenRefused, match="refuses the PIN") as refused:
        TokenSigner(parse_uri(hsm.uri("key")), b"00000000")
    assert "00000000" not in str(refused.value)
    monkeypatch.setattr(signer, "_pin", b"11111111")
    for _ in range(20):
        with pytest.raises(SignerUnavailable):
            signer.sign(b"message")
    assert TokenSigner(parse_uri(hsm.uri("key")), PIN).sign(b"message"), "the token is not locked"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_lost_session_is_opened_again_with_a_new_login(hsm: Hsm, algorithm: str) -> None:
    signer = made(hsm, algorithm, sessions=3)
    generate_in_token(parse_uri(hsm.uri("another")), PIN, algorithm)
    tried = 0
    for _ in range(5):
        start_library(MODULE)  # every session and the login are gone; numbers begin anew
        for _ in range(4):
            message = f"after loss {tried}".encode()
            assert verifies(signer, message, signer.sign(message))
            tried += 1
    print(f"{algorithm}: 5 losses of all sessions, {tried} of {tried} signatures verify")


def test_a_token_that_is_gone_is_told_and_back_again_signs(hsm: Hsm) -> None:
    signer = made(hsm, "ed25519", sessions=2)
    held = hsm.folder / "tokens"
    aside = hsm.folder / "aside"
    held.rename(aside)
    held.mkdir()
    start_library(MODULE)
    try:
        for _ in range(3):
            with pytest.raises(TokenUnavailable):
                signer.sign(b"message")
    finally:
        held.rmdir()
        aside.rename(held)
    assert verifies(signer, b"message", signer.sign(b"message"))


def test_many_threads_share_few_sessions(hsm: Hsm) -> None:
    signer = made(hsm, "p256", sessions=3)
    barrier = threading.Barrier(8)

    def work(number: int) -> bool:
        barrier.wait(timeout=20)
        return all(verifies(signer, m, signer.sign(m)) for m in (bytes([number, i]) for i in range(25)))

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(work, range(8)))


@pytest.mark.evidence(
    "KEY5",
    asset="signing keys",
    threat="a token that answers wrongly or locks",
    mitigation="signatures are checked, PINs sent once",
)
def test_an_answer_that_does_not_verify_does_not_leave(hsm: Hsm, monkeypatch: pytest.MonkeyPatch) -> None:
    signer = made(hsm, "ed25519", sessions=1)
    made(hsm, "ed25519", label="other")
    other = opened(hsm).get_key(object_class=ObjectClass.PRIVATE_KEY, label="other")

    def stray() -> None:
        seat = signer._pool.get(timeout=5)
        seat.key = other
        signer._pool.put(seat)

    stray()
    assert verifies(signer, b"message", signer.sign(b"message")), "the session was opened again"
    stray()
    monkeypatch.setattr("node.keys.pkcs11._private", lambda *_: other)
    with pytest.raises(TokenUnavailable, match="does not verify"):
        signer.sign(b"message")


BAD_URIS = (
    "pkcs11:", "pkcs11:token=a;object=b", "pkcs11:token=a;object=b?module-path=relative.so",
    f"pkcs11:token=a;object=b?module-path={MODULE}&pin-value=1234",
    f"pkcs11:token=a;token=b;object=c?module-path={MODULE}", f"pkcs11:token=;object=c?module-path={MODULE}",
    f"pkcs11:token=a;object=b;slot-id=0?module-path={MODULE}",
    f"pkcs11:token=a;object=b;type=public?module-path={MODULE}", "file:/key.json", "pkcs11:" + "a" * 2_000,
)  # fmt: skip


@pytest.mark.parametrize("text", BAD_URIS)
def test_a_uri_that_says_too_little_or_too_much_is_refused(text: str) -> None:
    with pytest.raises(TokenRefused) as refused:
        parse_uri(text)
    assert "1234" not in str(refused.value)


def test_a_uri_is_read_as_rfc_7512_has_it() -> None:
    uri = parse_uri(
        "pkcs11:token=My%20token;object=a%3Bb;id=%69%95%3e;type=private"
        "?module-path=/usr/lib/x.so&pin-source=file:///run/pin%201"
    )
    assert (uri.token, uri.object, uri.id) == ("My token", "a;b", b"i\x95>")
    assert (uri.module, uri.pin_source) == (Path("/usr/lib/x.so"), Path("/run/pin 1"))


@pytest.mark.usefixtures("hsm")
def test_a_library_that_is_none_or_a_token_that_is_not_there_is_told(tmp_path: Path) -> None:
    (tmp_path / "no.so").write_bytes(b"not a library")
    with pytest.raises(KeystoreError):
        load_signer(f"pkcs11:token=a;object=b?module-path={tmp_path / 'no.so'}", PIN)
    with pytest.raises(TokenUnavailable, match="NoSuchToken"):
        load_signer(f"pkcs11:token=nowhere;object=b?module-path={MODULE}", PIN)
