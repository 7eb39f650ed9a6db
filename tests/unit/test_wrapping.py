"""Keys wrapped for readers: published vectors, a second implementation, and what does not open."""

import json
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from node.keys import sm2
from node.keys.keystore import COST_MIN, KeystoreError, save_signer
from node.keys.signer import generate
from node.keys.wrapping import (
    Opener,
    Sm2Opener,
    WrapRefused,
    X25519Opener,
    context_of,
    load_opener,
    wrap,
)

VECTORS: Final[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "wrapping.json").read_text()
)
SECRET: Final = bytes(range(64))
CHAIN, DOCUMENT = b"\1" * 32, b"\2" * 32
PASSWORD: Final = b"only for a test"

# --- RFC 9180 a second time, from its text: base mode, DHKEM(X25519, HKDF-SHA256), AES-256-GCM -------------

KEM: Final = b"KEM" + (32).to_bytes(2, "big")
HPKE: Final = b"HPKE" + (32).to_bytes(2, "big") + (1).to_bytes(2, "big") + (2).to_bytes(2, "big")


def extract(suite: bytes, salt: bytes, label: bytes, data: bytes) -> bytes:
    mac = hmac.HMAC(salt or bytes(32), hashes.SHA256())
    mac.update(b"HPKE-v1" + suite + label + data)
    return mac.finalize()


def expand(suite: bytes, key: bytes, label: bytes, info: bytes, length: int) -> bytes:
    labelled = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    return HKDFExpand(hashes.SHA256(), length, labelled).derive(key)


def shared_secret(private: bytes, enc: bytes) -> bytes:
    key = X25519PrivateKey.from_private_bytes(private)
    exchanged = key.exchange(X25519PublicKey.from_public_bytes(enc))
    context = enc + key.public_key().public_bytes_raw()
    return expand(KEM, extract(KEM, b"", b"eae_prk", exchanged), b"shared_secret", context, 32)


def schedule(secret: bytes, info: bytes) -> tuple[bytes, bytes]:
    context = b"\0" + extract(HPKE, b"", b"psk_id_hash", b"") + extract(HPKE, b"", b"info_hash", info)
    made = extract(HPKE, secret, b"secret", b"")
    return expand(HPKE, made, b"key", context, 32), expand(HPKE, made, b"base_nonce", context, 12)


def opened(private: bytes, wrapped: bytes, info: bytes, aad: bytes = b"") -> bytes:
    key, nonce = schedule(shared_secret(private, wrapped[:32]), info)
    return AESGCM(key).decrypt(nonce, wrapped[32:], aad)


@pytest.mark.evidence(
    "VLT2", asset="documents", threat="a home-made key wrapping", mitigation="RFC 9180 and GB/T 32918.4"
)
def test_the_published_vectors_of_hpke_come_out_and_the_library_agrees_with_them() -> None:
    v = {name: bytes.fromhex(str(value)) for name, value in VECTORS["hpke"].items() if name not in NUMBERS}
    secret = shared_secret(v["skRm"], v["enc"])
    assert secret == v["shared_secret"]
    assert schedule(secret, v["info"]) == (v["key"], v["base_nonce"])
    assert opened(v["skRm"], v["enc"] + v["ct"], v["info"], v["aad"]) == v["pt"]
    agreed = 0
    for number in range(40):  # the library has no associated data, which the vector has: so through ours
        context = context_of(CHAIN, bytes([number]) * 32, "KB")
        wrapped = wrap("x25519", v["pkRm"], SECRET, context)
        assert opened(v["skRm"], wrapped, context) == SECRET
        agreed += 1
    print(f"HPKE: the published vector, and {agreed} keys that one implementation wrapped and another opened")


NUMBERS: Final = ("source", "mode", "kem_id", "kdf_id", "aead_id")


def der(*parts: bytes) -> bytes:
    """A sequence of two integers and two octet strings (GM/T 0009, 7.2)."""
    content = b""
    for number, part in enumerate(parts):
        integer = number < 2
        data = part.lstrip(b"\0") if integer else part
        data = b"\0" + data if integer and data[0] & 0x80 else data
        content += bytes([2 if integer else 4, len(data)]) + data
    assert len(content) < 128
    return b"\x30" + bytes([len(content)]) + content


def test_the_published_vector_of_sm2_encryption_opens() -> None:
    v = {name: bytes.fromhex(value) for name, value in VECTORS["sm2"].items() if name != "source"}
    key = sm2.PrivateKey(v["secret"])
    assert key.decrypt(der(v["x1"], v["y1"], v["c3"], v["c2"])) == v["message"]
    flipped = bytes([v["c2"][0] ^ 1]) + v["c2"][1:]
    assert key.decrypt(der(v["x1"], v["y1"], v["c3"], flipped)) is None


def pair(algorithm: str) -> tuple[Opener, bytes]:
    """A private key and its public half."""
    if algorithm == "sm2":
        signer = generate("sm2")
        return Sm2Opener(signer.secret()), signer.public_key
    key = X25519PrivateKey.generate()
    return X25519Opener(key), key.public_key().public_bytes_raw()


@pytest.mark.parametrize("algorithm", ["x25519", "sm2"])
@pytest.mark.evidence(
    "VLT2", asset="documents", threat="wrapped keys are exchanged", mitigation="bound to document and reader"
)
def test_a_wrapped_key_opens_for_its_reader_and_document_alone(algorithm: str) -> None:
    mine, public = pair(algorithm)
    other, _ = pair(algorithm)
    context = context_of(CHAIN, DOCUMENT, "KB")
    wrapped = wrap(algorithm, public, SECRET, context)
    assert mine.unwrap(wrapped, context) == SECRET
    assert 112 <= len(wrapped) <= 256
    assert wrap(algorithm, public, SECRET, context) != wrapped, "chance is in it"
    tried = 0
    for chain, document, reader in (
        (b"\3" * 32, DOCUMENT, "KB"),
        (CHAIN, b"\3" * 32, "KB"),
        (CHAIN, DOCUMENT, "PA"),
    ):
        with pytest.raises(WrapRefused):
            mine.unwrap(wrapped, context_of(chain, document, reader))
        tried += 1
    with pytest.raises(WrapRefused):
        other.unwrap(wrapped, context)
    changed = [wrapped[:at] + bytes([wrapped[at] ^ 1]) + wrapped[at + 1 :] for at in range(len(wrapped))]
    for wrong in (*changed, b"", wrapped[:-1], wrapped[:40]):
        with pytest.raises(WrapRefused):
            mine.unwrap(wrong, context)
        tried += 1
    print(f"{algorithm}: {tried} wrapped keys that were changed, cut or exchanged, none opened")


def test_nothing_is_wrapped_for_a_key_that_cannot_be_one() -> None:
    for algorithm, public in (("x25519", bytes(31)), ("sm2", b"\2" + b"\xff" * 32), ("ed25519", bytes(32))):
        with pytest.raises(WrapRefused):
            wrap(algorithm, public, SECRET, b"")
    with pytest.raises(WrapRefused):
        wrap("x25519", bytes(32), SECRET, b"")


def test_private_keys_are_read_from_pem_and_from_key_files(tmp_path: Path) -> None:
    key, signer = X25519PrivateKey.generate(), generate("sm2")
    asked: list[int] = []

    def passphrase() -> bytes:
        asked.append(1)
        return PASSWORD

    for name, protection in (("plain", NoEncryption()), ("locked", BestAvailableEncryption(PASSWORD))):
        (tmp_path / name).write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection))
        opener = load_opener(tmp_path / name, passphrase)
        assert opener.key_id == X25519Opener(key).key_id
    assert asked == [1], "a passphrase is asked for where one is needed"
    save_signer(tmp_path / "sm2.json", signer, PASSWORD, cost=COST_MIN)
    assert load_opener(tmp_path / "sm2.json", passphrase).key_id == signer.key_id
    save_signer(tmp_path / "signs.json", generate("ed25519"), PASSWORD, cost=COST_MIN)
    (tmp_path / "torn").write_bytes((tmp_path / "plain").read_bytes()[:60])
    for name in ("signs.json", "torn", "none"):
        with pytest.raises(KeystoreError):
            load_opener(tmp_path / name, passphrase)
    with pytest.raises(KeystoreError):
        load_opener(tmp_path / "locked", lambda: b"another")
