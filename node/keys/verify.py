"""Which signatures are valid, and which public keys may be registered (formats.md, "Suites, hashes, keys").

One library decides for each algorithm, and its version is part of a release's protocol: two libraries
disagree at the edges, and two nodes that disagree about one signature have forked. What always holds: every
question has an answer; bytes of a wrong shape are an invalid signature or an invalid key, never an exception.
Answers depend on the question alone.

* ed25519: ed25519-zebra, by ZIP-215: cofactored equation, s below the group's order, any encoding of a point
  of the curve for A and R.
* p256: OpenSSL through ``cryptography``: ECDSA with SHA-256, compressed keys, r || s in 64 bytes, low s.
* sm2: the system's OpenSSL (sm2.py): SM2 with SM3, compressed keys, r || s in 64 bytes.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from threading import Lock
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from ed25519_zebra import ed_verify
from nacl.bindings import crypto_core_ed25519_is_valid_point

from node.keys import sm2
from node.keys.unsound import UnsoundLibrary
from node.ledger import hashing
from node.ledger.ports import Check, Verifier
from node.ledger.types import SIGNATURE_BYTES

ED25519_KEY_BYTES: Final = 32
P256_KEY_BYTES: Final = 33
P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
P256_HALF_ORDER: Final = P256_ORDER // 2
P256_PARSED_KEYS_MAX: Final = 4_096

GENERATIONS: Final = 2

_ECDSA_SHA256: Final = ec.ECDSA(hashes.SHA256())

MIXED_ORDER_POINT: Final = bytes.fromhex("9599999999999999999999999999999999999999999999999999999999999999")
"""The base point of Ed25519 plus the point of order two: what libsodium accepts as a key where CVE-2025-69277
is not mended."""


class InternationalVerifier:
    """The verifier of the suite ``international``: ed25519 and p256. Has no state."""

    def __init__(self) -> None:
        """Raises: UnsoundLibrary where the installed libsodium lets a key of mixed order pass."""
        _check_libsodium()

    def verify(self, checks: Sequence[Check]) -> list[bool]:
        """Answer each check, in order. An unknown algorithm is an invalid signature."""
        return _decided(_SIGNATURES, checks)

    def is_valid_key(self, algorithm: str, public_key: bytes) -> bool:
        """Whether the bytes are the one encoding of a point that can be a key."""
        decide = _KEYS.get(algorithm)
        return decide is not None and decide(public_key)


class GuomiVerifier:
    """The verifier of the suite ``guomi``: sm2 for everybody, ed25519 for authorities (the ledger admits no
    such key of a member). Has no state.
    """

    def __init__(self) -> None:
        """Raises: UnsoundLibrary where a library of the suite is missing or fails its published vectors."""
        sm2.check_libraries()
        _check_libsodium()

    def verify(self, checks: Sequence[Check]) -> list[bool]:
        """Answer each check, in order. An unknown algorithm is an invalid signature."""
        return _decided(_GUOMI_SIGNATURES, checks)

    def is_valid_key(self, algorithm: str, public_key: bytes) -> bool:
        """Whether the bytes are the one encoding of a point that can be a key."""
        decide = _GUOMI_KEYS.get(algorithm)
        return decide is not None and decide(public_key)


Signatures = Mapping[str, Callable[[bytes, bytes, bytes], bool]]


def _decided(signatures: Signatures, checks: Sequence[Check]) -> list[bool]:
    return [
        (decide := signatures.get(algorithm)) is not None and decide(public_key, message, signature)
        for algorithm, public_key, message, signature in checks
    ]


def _check_libsodium() -> None:
    if crypto_core_ed25519_is_valid_point(MIXED_ORDER_POINT):
        raise UnsoundLibrary(
            "the installed libsodium accepts Ed25519 keys of mixed order (CVE-2025-69277): "
            "install PyNaCl 1.6.2 or newer"
        )


def _verify_ed25519(public_key: bytes, message: bytes, signature: bytes) -> bool:
    if len(public_key) != ED25519_KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    return bool(ed_verify(signature, message, public_key))


def _verify_p256(public_key: bytes, message: bytes, signature: bytes) -> bool:
    key = _p256_key(public_key)
    if key is None or len(signature) != SIGNATURE_BYTES:
        return False
    r = int.from_bytes(signature[:32], "big")
    s = int.from_bytes(signature[32:], "big")
    if not (0 < r < P256_ORDER and 0 < s <= P256_HALF_ORDER):
        return False
    try:
        key.verify(encode_dss_signature(r, s), message, _ECDSA_SHA256)
    except InvalidSignature:
        return False
    return True


@lru_cache(maxsize=P256_PARSED_KEYS_MAX)
def _p256_key(public_key: bytes) -> ec.EllipticCurvePublicKey | None:
    """A key ready for use, or None: of 33 bytes, only the compressed form is a key.

    Kept, since finding y costs as much as a third of a verification.
    """
    if len(public_key) != P256_KEY_BYTES:
        return None
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public_key)
    except ValueError:
        return None


def _is_valid_ed25519_key(public_key: bytes) -> bool:
    """A canonical encoding of a point of the prime-order subgroup, not the identity."""
    return len(public_key) == ED25519_KEY_BYTES and bool(crypto_core_ed25519_is_valid_point(public_key))


def _is_valid_p256_key(public_key: bytes) -> bool:
    return _p256_key(public_key) is not None


_SIGNATURES: Final[Signatures] = {
    "ed25519": _verify_ed25519,
    "p256": _verify_p256,
}
_KEYS: Final[Mapping[str, Callable[[bytes], bool]]] = {
    "ed25519": _is_valid_ed25519_key,
    "p256": _is_valid_p256_key,
}
_GUOMI_SIGNATURES: Final[Signatures] = {"sm2": sm2.verify, "ed25519": _verify_ed25519}
_GUOMI_KEYS: Final[Mapping[str, Callable[[bytes], bool]]] = {
    "sm2": sm2.is_valid_key,
    "ed25519": _is_valid_ed25519_key,
}

VERIFIERS: Final[Mapping[str, Callable[[], Verifier]]] = {
    hashing.INTERNATIONAL.name: InternationalVerifier,
    hashing.GUOMI.name: GuomiVerifier,
}
"""How to make the verifier of a suite, by the suite's name."""


@cache
def _verifier(suite_name: str) -> Verifier:
    return VERIFIERS[suite_name]()


UNSEEN: Final = 2
"""The answer to a check behind a false one that was not looked at."""


def verify_many(suite_name: str, checks: Sequence[Check], *, until_false: bool = False) -> bytes:
    """Answer each check with one byte, 1 or 0, in order; until_false: what stands behind the first 0 is
    UNSEEN. For worker processes and threads: plain arguments, plain answer.

    Raises: KeyError for a suite that does not exist.
    """
    verifier = _verifier(suite_name)
    if not until_false:
        return bytes(verifier.verify(checks))
    answers = bytearray()
    for check in checks:
        answers += bytes(verifier.verify([check]))
        if not answers[-1]:
            break
    return bytes(answers).ljust(len(checks), bytes((UNSEEN,)))


class CachedVerifier:
    """A verifier that decides a question once. It verifies inline what it does not know.

    Every answer it gives was computed by ``inner`` or told to it with ``remember``, for exactly these bytes:
    the whole Check is the key. It holds at most ``capacity`` answers in two generations; when the young one
    is full it becomes the old one, which is forgotten. Reading takes no lock: a reader that meets the change
    of generations verifies once more than it had to.
    """

    def __init__(self, inner: Verifier, capacity: int) -> None:
        """capacity: answers kept, at least 2; an answer about a transaction takes about 600 bytes."""
        if capacity < GENERATIONS:
            raise ValueError("a cache of signatures holds at least two answers")
        self._inner = inner
        self._generation_max = capacity // GENERATIONS
        self._young: dict[Check, bool] = {}
        self._old: dict[Check, bool] = {}
        self._writing = Lock()

    def __len__(self) -> int:
        """Answers held."""
        return len(self._young) + len(self._old)

    def verify(self, checks: Sequence[Check]) -> list[bool]:
        """Answer each check, in order; what is unknown is verified here and remembered."""
        if len(checks) == 1 and (answer := self.known(checks[0])) is not None:
            return [answer]
        answers = [self.known(check) for check in checks]
        unknown = [check for check, answer in zip(checks, answers, strict=True) if answer is None]
        if not unknown:
            return [answer is True for answer in answers]
        decided = self._inner.verify(unknown)
        self.remember(unknown, decided)
        fresh = iter(decided)
        return [next(fresh) if answer is None else answer for answer in answers]

    def remember(self, checks: Sequence[Check], results: Sequence[bool]) -> None:
        """Take answers that a verifier of the same suite gave elsewhere (VerifyWorkers).

        Raises: ValueError where the answers are not as many as the checks.
        """
        if len(checks) != len(results):
            raise ValueError("as many answers as checks")
        with self._writing:
            for check, result in zip(checks, results, strict=True):
                if len(self._young) >= self._generation_max:
                    self._old, self._young = self._young, {}
                self._young[check] = bool(result)

    def is_valid_key(self, algorithm: str, public_key: bytes) -> bool:
        """As the inner verifier; keys are registered too seldom to be remembered."""
        return self._inner.is_valid_key(algorithm, public_key)

    def known(self, check: Check) -> bool | None:
        """The answer that ``verify`` would give without computing it, if there is one."""
        answer = self._young.get(check)
        return self._old.get(check) if answer is None else answer
