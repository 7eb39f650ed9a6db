"""A document's key, encrypted for one reader: with the reader's registered encryption key, on either suite.

    x25519   HPKE, base mode, one shot (RFC 9180, section 6.1): DHKEM(X25519, HKDF-SHA256), HKDF-SHA256,
             AES-256-GCM; info is the context, associated data is empty. enc (32 bytes) || ciphertext.
    sm2      SM2 encryption with SM3 (GB/T 32918.4), in DER (GM/T 0009, 7.2), of SM3(context) || secret.

The context says what for: chain, document and reader. A key that was encrypted for another document, or is
handed to another reader, does not open, whoever put it there.

What always holds: no message of an error holds a secret, and whatever does not open says no more than that.
"""

import hmac
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from node.keys import sm2
from node.keys.files import read_file
from node.keys.keystore import KeyFileMalformed, KeystoreError, PassphraseRefused, load_signer
from node.ledger import codec, hashing
from node.ledger.hashing import GUOMI, HASH_BYTES, INTERNATIONAL
from node.ledger.proofs import X25519

SM2: Final = "sm2"
PEM_BYTES_MAX: Final = 16 * 1024
_HPKE: Final = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


class WrapRefused(KeystoreError):
    """A wrapped key does not open with this private key for this purpose, or a key cannot be wrapped."""

    code = "WRAP_REFUSED"


class Opener(Protocol):
    """The private half of a reader's encryption key."""

    @property
    def key_id(self) -> bytes:
        """The 16 bytes that name the key."""

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """The secret that was wrapped. Raises WrapRefused."""


def context_of(chain_id: bytes, document: bytes, reader: str) -> bytes:
    """What a document's key is wrapped for."""
    return hashing.DOCUMENT_KEY + codec.encode((chain_id, document, reader))


def wrap(algorithm: str, public_key: bytes, secret: bytes, context: bytes) -> bytes:
    """Encrypt a secret for the holder of a registered key. Raises WrapRefused."""
    try:
        if algorithm == X25519:
            key = X25519PublicKey.from_public_bytes(public_key)
            return _HPKE.encrypt(secret, key, info=context)
        if algorithm == SM2:
            return sm2.encrypt(public_key, GUOMI.digest(context) + secret)
    except ValueError as error:
        raise WrapRefused("the reader's public key cannot be used to encrypt") from error
    raise WrapRefused(f"nothing is encrypted with {algorithm} keys")


class X25519Opener:
    """An X25519 private key in this process."""

    __slots__ = ("_key", "key_id")

    def __init__(self, key: X25519PrivateKey) -> None:
        self._key = key
        self.key_id = hashing.key_id(INTERNATIONAL, X25519, key.public_key().public_bytes_raw())

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """See Opener."""
        try:
            return _HPKE.decrypt(wrapped, self._key, info=context)
        except (InvalidTag, ValueError):
            raise _refused() from None


class Sm2Opener:
    """An SM2 private key, held by libcrypto."""

    __slots__ = ("_key", "key_id")

    def __init__(self, secret: bytes) -> None:
        """secret: 32 bytes. Raises: ValueError, UnsoundLibrary."""
        self._key = sm2.PrivateKey(secret)
        self.key_id = hashing.key_id(GUOMI, SM2, self._key.public_key)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """See Opener."""
        opened = self._key.decrypt(wrapped)
        if opened is None or not hmac.compare_digest(opened[:HASH_BYTES], GUOMI.digest(context)):
            raise _refused()
        return opened[HASH_BYTES:]


def load_opener(path: Path, passphrase: Callable[[], bytes]) -> Opener:
    """A private key: X25519 in PEM (PKCS #8, encrypted or not), or an SM2 key file.

    passphrase: asked where the file needs one. Raises KeystoreError.
    """
    data = read_file(path, PEM_BYTES_MAX)
    if b"PRIVATE KEY" not in data:
        signer = load_signer(path, passphrase())
        if signer.algorithm != SM2:
            raise KeyFileMalformed(f"{path}: {signer.algorithm} keys only sign: give the encryption key")
        return Sm2Opener(signer.secret())
    try:
        given = passphrase() if b"ENCRYPTED" in data else None
        key = load_pem_private_key(data, given)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise PassphraseRefused(f"{path}: not a private key in PEM, or of another passphrase") from None
    if not isinstance(key, X25519PrivateKey):
        raise KeyFileMalformed(f"{path}: a private key of another kind than X25519")
    return X25519Opener(key)


def _refused() -> WrapRefused:
    return WrapRefused("the wrapped key is not for this document and reader, or for another private key")
