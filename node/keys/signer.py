"""Making signatures: one class an algorithm, held in this process. A token or a custody service can be
another Signer.

What always holds: a signature made here verifies in ``verify.py`` under the same rules; with ed25519 and
p256, signing the same message twice gives the same bytes (RFC 8032, RFC 6979), so that signing needs no good
randomness, while an sm2 signature takes its nonce from OpenSSL's generator and is another each time; no text
form of a signer shows its secret.
"""

import secrets
from collections.abc import Mapping
from typing import Final, NoReturn, Protocol

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from nacl.signing import SigningKey

from node.keys import sm2
from node.keys.verify import P256_HALF_ORDER, P256_ORDER
from node.ledger.hashing import GUOMI, INTERNATIONAL, Suite, key_id

SECRET_BYTES: Final = 32

_DETERMINISTIC_ECDSA: Final = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)


class SignerUnavailable(Exception):
    """The key is there, but cannot sign now: a token is gone or its session lost. The text says what to
    do.
    """


class Signer(Protocol):
    """Whatever can sign under one public key."""

    @property
    def algorithm(self) -> str:
        """As the suite names it."""

    @property
    def public_key(self) -> bytes:
        """As it is registered on the ledger."""

    @property
    def key_id(self) -> bytes:
        """The 16 bytes that name the public key."""

    def sign(self, message: bytes) -> bytes:
        """The 64 bytes of a signature of the message. Raises SignerUnavailable where the key is not in this
        process and cannot be reached.
        """


class SoftwareSigner(Signer, Protocol):
    """A signer whose secret is in this process and can be written to a key file."""

    def secret(self) -> bytes:
        """The 32 bytes from which the key is made again: handle them as the key itself."""


class _Software:
    """What the signers of this file share: their public face, and silence about the rest."""

    __slots__ = ("_key_id", "_public_key")
    algorithm: str
    suite: Suite = INTERNATIONAL
    """Whose hash makes the key id: the suite in which a member's key can have the algorithm."""

    def __init__(self, public_key: bytes) -> None:
        self._public_key = public_key
        self._key_id = key_id(self.suite, self.algorithm, public_key)

    @property
    def public_key(self) -> bytes:
        return self._public_key

    @property
    def key_id(self) -> bytes:
        return self._key_id

    def __repr__(self) -> str:
        return f"{type(self).__name__}(key_id={self._key_id.hex()})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a signer is not pickled: its secret would go with it")


class Ed25519Signer(_Software):
    """Signs by RFC 8032 with libsodium."""

    __slots__ = ("_key",)
    algorithm = "ed25519"

    def __init__(self, seed: bytes) -> None:
        """seed: the private key of RFC 8032, 32 bytes. Raises: ValueError for another length."""
        _check_length(seed)
        self._key = SigningKey(seed)
        super().__init__(bytes(self._key.verify_key))

    def sign(self, message: bytes) -> bytes:
        """R || s, 64 bytes."""
        return self._key.sign(message).signature

    def secret(self) -> bytes:
        """The seed, 32 bytes."""
        return bytes(self._key)

    @staticmethod
    def new_secret() -> bytes:
        """A seed from the operating system."""
        return secrets.token_bytes(SECRET_BYTES)


class P256Signer(_Software):
    """Signs by ECDSA on P-256 with SHA-256 and the nonces of RFC 6979; s is the lower of the two that
    verify.
    """

    __slots__ = ("_key",)
    algorithm = "p256"

    def __init__(self, scalar: bytes) -> None:
        """scalar: 32 bytes, big-endian, 1 to the group's order less one. Raises: ValueError for anything
        else.
        """
        _check_length(scalar)
        number = int.from_bytes(scalar, "big")
        if not 0 < number < P256_ORDER:
            raise ValueError("the scalar of a p256 key lies between 1 and the group's order less one")
        self._key = ec.derive_private_key(number, ec.SECP256R1())
        super().__init__(self._key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint))

    def sign(self, message: bytes) -> bytes:
        """The numbers r || s, big-endian, 64 bytes."""
        r, s = decode_dss_signature(self._key.sign(message, _DETERMINISTIC_ECDSA))
        low_s = s if s <= P256_HALF_ORDER else P256_ORDER - s
        return r.to_bytes(32, "big") + low_s.to_bytes(32, "big")

    def secret(self) -> bytes:
        """The scalar, 32 bytes, big-endian."""
        return self._key.private_numbers().private_value.to_bytes(SECRET_BYTES, "big")

    @staticmethod
    def new_secret() -> bytes:
        """A scalar from the operating system."""
        return (1 + secrets.randbelow(P256_ORDER - 1)).to_bytes(SECRET_BYTES, "big")


class Sm2Signer(_Software):
    """Signs by SM2 with SM3 under the identity 1234567812345678, with the system's libcrypto."""

    __slots__ = ("_key", "_secret")
    algorithm = "sm2"
    suite = GUOMI

    def __init__(self, scalar: bytes) -> None:
        """scalar: 32 bytes, big-endian, 1 to the group's order less two. Raises: ValueError for anything
        else, UnsoundLibrary where libcrypto cannot do SM2.
        """
        self._key = sm2.PrivateKey(scalar)
        self._secret = bytes(scalar)
        super().__init__(self._key.public_key)

    def sign(self, message: bytes) -> bytes:
        """The numbers r || s, big-endian, 64 bytes; another each time."""
        return self._key.sign(message)

    def secret(self) -> bytes:
        """The scalar, 32 bytes, big-endian."""
        return self._secret

    @staticmethod
    def new_secret() -> bytes:
        """A scalar from the operating system."""
        return (1 + secrets.randbelow(sm2.ORDER - 2)).to_bytes(SECRET_BYTES, "big")


SignerClass = type[Ed25519Signer] | type[P256Signer] | type[Sm2Signer]

SIGNERS: Final[Mapping[str, SignerClass]] = {
    Ed25519Signer.algorithm: Ed25519Signer,
    P256Signer.algorithm: P256Signer,
    Sm2Signer.algorithm: Sm2Signer,
}
"""The signer of each algorithm that this program can sign with."""


def generate(algorithm: str) -> SoftwareSigner:
    """A signer with a new secret from the operating system. Raises: ValueError for an algorithm not in
    SIGNERS.
    """
    return from_secret(algorithm, _signer_class(algorithm).new_secret())


def from_secret(algorithm: str, secret: bytes) -> SoftwareSigner:
    """The signer made from the 32 bytes that ``secret()`` gave. Raises: ValueError for an unknown algorithm
    or bytes that are no key.
    """
    return _signer_class(algorithm)(secret)


def _signer_class(algorithm: str) -> SignerClass:
    if algorithm not in SIGNERS:
        raise ValueError(f"no such algorithm; there are {', '.join(SIGNERS)}")
    return SIGNERS[algorithm]


def _check_length(secret: bytes) -> None:
    if len(secret) != SECRET_BYTES:
        raise ValueError(f"a secret is {SECRET_BYTES} bytes, not {len(secret)}")
