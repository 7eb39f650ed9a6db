"""SM2 signatures as Vostro has them, and the start-up test of everything that the suite ``guomi`` is made of
(formats.md, "Hashes and keys").

A signature is r || s, big-endian, 64 bytes, with SM3 under the signer's identity 1234567812345678
(GB/T 32918.2; GM/T 0009, section 10); a public key is a compressed point of sm2p256v1, 33 bytes. DER stays
between this file and libcrypto.py. What always holds: an answer depends on the question alone; bytes of a
wrong shape are an invalid signature or no key, never an exception; nothing answers before the published
vectors came out right in this process.

Nobody but the signer can change an SM2 signature into another valid one of the same message: with r and the
key given, s (1 + d) + r d may only change its sign, which takes d. So there is no rule of a low s here. The
one key for which s does not matter at all, the negative of the base point (d = n - 1, which the standard
excludes), is no key.
"""

from functools import cache, lru_cache
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from node.keys import libcrypto
from node.keys.sm4 import Sm4Gcm
from node.keys.unsound import UnsoundLibrary
from node.ledger.errors import InvariantViolated
from node.ledger.hashing import GUOMI
from node.ledger.types import SIGNATURE_BYTES

IDENTITY: Final = b"1234567812345678"
"""The identity of every signer: the default of GM/T 0009, section 10."""
KEY_BYTES: Final = 33
SECRET_BYTES: Final = 32
ORDER: Final = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123
"""n, the number of points of sm2p256v1 (GB/T 32918.5)."""
PARSED_KEYS_MAX: Final = 4_096
NO_KEY: Final = bytes.fromhex("0332c4ae2c1f1981195f9904466a39c9948fe30bbff2660be1715a4589334c74c7")
"""The negative of the base point: every s would verify under it."""

# GB/T 32918.5-2017 (GM/T 0003.5-2012), appendix A.2: the key, the message and the signature.
_SECRET: Final = bytes.fromhex("3945208f7b2144b13f36e38ac6d39f95889393692860b51a42fb81ef4df7c5b8")
_PUBLIC: Final = bytes.fromhex("0309f9df311e5421a150dd7d161e4bc5c672179fad1833fc076bb08ff356f35020")
_MESSAGE: Final = b"message digest"
_SIGNATURE: Final = bytes.fromhex(
    "f5a03b0648d2c4630eeac513e1bb81a15944da3827d5b74143ac7eaceee720b3"
    "b1b6aa29df212fd8763182bc0d421ca1bb9038fd1f7f42d4840b69c485bbc1aa"
)
# GB/T 32905-2016 (GM/T 0004-2012), appendix A: the digests of "abc" and of "abcd" sixteen times.
_DIGESTS: Final = (
    (b"abc", "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"),
    (b"abcd" * 16, "debe9ff92275b8a138604889c18e5a4d6fdb70e5387e5765293dcba39c0c5732"),
)
# RFC 8998, appendix A.1: SM4-GCM.
_SM4_KEY: Final = bytes.fromhex("0123456789abcdeffedcba9876543210")
_SM4_NONCE: Final = bytes.fromhex("00001234567800000000abcd")
_SM4_AAD: Final = bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
_SM4_PLAIN: Final = b"".join([bytes([byte]) * 8 for byte in bytes.fromhex("aabbccddeeffeeaa")])
_SM4_SEALED: Final = bytes.fromhex(
    "17f399f08c67d5ee19d0dc9969c4bb7d5fd46fd3756489069157b282bb200735"
    "d82710ca5c22f0ccfa7cbf93d496ac15a56834cbcf98c397b4024a2691233b8d"
    "83de3541e4c2b58177e065a9bf7b62ec"
)


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether 64 bytes are a signature of the message under a public key of 33 bytes. Raises: MemoryError."""
    key = _key(public_key)
    if key is None or len(signature) != SIGNATURE_BYTES:
        return False
    r = int.from_bytes(signature[:32], "big")
    s = int.from_bytes(signature[32:], "big")
    if not (0 < r < ORDER and 0 < s < ORDER) or r + s == ORDER:
        return False
    return key.verify(IDENTITY, message, encode_dss_signature(r, s))


def is_valid_key(public_key: bytes) -> bool:
    """Whether the bytes are the one encoding of a point that can be a key. Raises: MemoryError."""
    return _key(public_key) is not None


def encrypt(public_key: bytes, message: bytes) -> bytes:
    """What only the holder of the key opens: SM2 with SM3 (GB/T 32918.4), in DER (GM/T 0009, 7.2). Another
    each time. Raises: ValueError where the bytes are no key, MemoryError.
    """
    key = _key(public_key)
    if key is None:
        raise ValueError("no sm2 key")
    return key.encrypt(message)


class PrivateKey:
    """The private key of a signer, held by libcrypto."""

    __slots__ = ("_key", "public_key")

    def __init__(self, secret: bytes) -> None:
        """secret: 32 bytes, big-endian, 1 to n - 2. Raises: ValueError for anything else, UnsoundLibrary."""
        check_libraries()
        if len(secret) != SECRET_BYTES or not 0 < int.from_bytes(secret, "big") < ORDER - 1:
            raise ValueError("the secret of an sm2 key is 32 bytes between 1 and the group's order less two")
        self.public_key = libcrypto.multiply_base(secret)
        """33 bytes."""
        key = libcrypto.private_key(secret, self.public_key)
        if key is None:
            raise ValueError("libcrypto does not take the secret for an sm2 key")
        self._key = key

    def sign(self, message: bytes) -> bytes:
        """R || s, 64 bytes. Another each time: the nonce is chance from OpenSSL's generator."""
        r, s = decode_dss_signature(self._key.sign(IDENTITY, message))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def decrypt(self, der: bytes) -> bytes | None:
        """What ``encrypt`` was given; None for anything that was not encrypted for this key. Raises:
        MemoryError.
        """
        return self._key.decrypt(der)


@cache
def check_libraries() -> None:
    """Let every library of the suite answer its published vectors, once a process.

    Raises: UnsoundLibrary, whose text says which one and what to do.
    """
    try:
        digests = [(GUOMI.digest(data).hex(), expected) for data, expected in _DIGESTS]
    except InvariantViolated as violated:
        raise UnsoundLibrary(str(violated)) from violated
    if any(digest != expected for digest, expected in digests):
        raise UnsoundLibrary("SM3 of Python's hashlib is not that of GB/T 32905: install another Python")
    try:
        sealed = Sm4Gcm(_SM4_KEY).encrypt(_SM4_NONCE, _SM4_PLAIN, _SM4_AAD)
    except UnsupportedAlgorithm as error:
        raise UnsoundLibrary(f"the package cryptography here has no SM4: {error}") from error
    if sealed != _SM4_SEALED:
        raise UnsoundLibrary("SM4-GCM of the package cryptography is not that of RFC 8998: install another")
    _check_sm2()


def _check_sm2() -> None:
    public, private = libcrypto.public_key(_PUBLIC), libcrypto.private_key(_SECRET, _PUBLIC)
    r, s = int.from_bytes(_SIGNATURE[:32], "big"), int.from_bytes(_SIGNATURE[32:], "big")
    known = encode_dss_signature(r, s)
    sound = (
        public is not None
        and private is not None
        and libcrypto.multiply_base(_SECRET) == _PUBLIC
        and public.verify(IDENTITY, _MESSAGE, known)
        and not public.verify(IDENTITY, _MESSAGE + b"\0", known)
        and not public.verify(IDENTITY[::-1], _MESSAGE, known)
        and not public.verify(IDENTITY, _MESSAGE, encode_dss_signature(r, s - 1))
        and public.verify(IDENTITY, _MESSAGE, private.sign(IDENTITY, _MESSAGE))
    )
    if not sound:
        raise UnsoundLibrary(
            "SM2 of the system's libcrypto is not that of GB/T 32918: install another OpenSSL"
        )


@lru_cache(maxsize=PARSED_KEYS_MAX)
def _key(public_key: bytes) -> libcrypto.Sm2Key | None:
    """A key ready for use, or None: of 33 bytes, only the compressed form is a key."""
    check_libraries()
    if len(public_key) != KEY_BYTES or public_key[0] not in (2, 3) or public_key == NO_KEY:
        return None
    return libcrypto.public_key(public_key)
