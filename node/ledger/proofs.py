"""What contracts may ask of cryptography, answered with the chain's suite (ports.Proofs). Pure: the same on
every node of a release.
"""

from typing import Final

from node.ledger import codec, hashing
from node.ledger.ports import Verifier
from node.ledger.types import Operation

X25519: Final = "x25519"
X25519_BYTES: Final = 32
FIELD_PRIME: Final = 2**255 - 19
SMALL_ORDER: Final = (
    0,
    1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
    FIELD_PRIME - 1,
)
"""The canonical u-coordinates of order 8 and less on Curve25519 and its twist: with them everybody knows the
shared secret (RFC 7748, 6.1; the list is that of https://cr.yp.to/ecdh.html).
"""


def is_x25519_key(public_key: bytes) -> bool:
    """Whether bytes are the one canonical form of a u-coordinate (RFC 7748, 5) of large order."""
    u = int.from_bytes(public_key, "little")
    return len(public_key) == X25519_BYTES and u < FIELD_PRIME and u not in SMALL_ORDER


class SuiteProofs:
    """ports.Proofs."""

    def __init__(self, suite: hashing.Suite, verifier: Verifier) -> None:
        self._suite = suite
        self._verifier = verifier

    def is_valid_key(self, algorithm: str, public_key: bytes) -> bool:
        """Whether the chain's suite admits this public key."""
        return algorithm in self._suite.algorithms and self._verifier.is_valid_key(algorithm, public_key)

    def is_valid_authority_key(self, algorithm: str, public_key: bytes) -> bool:
        """Whether the chain's suite admits this public key of somebody who certifies headers."""
        admitted = algorithm in self._suite.authority_algorithms
        return admitted and self._verifier.is_valid_key(algorithm, public_key)

    def is_valid_encryption_key(self, algorithm: str, public_key: bytes) -> bool:
        """Whether others may encrypt with this public key on a chain of this suite."""
        if algorithm not in self._suite.encryption:
            return False
        if algorithm == X25519:
            return is_x25519_key(public_key)
        return self._verifier.is_valid_key(algorithm, public_key)

    def key_id(self, algorithm: str, public_key: bytes) -> bytes:
        """The 16 bytes that name a public key."""
        return hashing.key_id(self._suite, algorithm, public_key)

    def unique_id(self, tx_id: bytes, operation: int) -> bytes:
        """32 bytes that name what an operation made."""
        return self._suite.digest(hashing.UNIQUE_ID + tx_id + operation.to_bytes(2, "big"))

    def content_hash(self, content: tuple[Operation, ...]) -> bytes:
        """32 bytes that stand for exactly these operations."""
        return self._suite.digest(hashing.CONTENT + codec.encode(content))

    def subject(self, contract: str, parts: tuple[str | int | bytes, ...]) -> bytes:
        """32 bytes that stand for what these parts name within a contract."""
        return self._suite.digest(hashing.SUBJECT + codec.encode((contract, *parts)))

    def validator_address(self, public_key: bytes) -> bytes:
        """The 20 bytes by which consensus names a validator."""
        return hashing.validator_address(public_key)
