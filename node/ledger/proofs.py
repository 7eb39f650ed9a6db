"""What contracts may ask of cryptography, answered with the chain's suite (ports.Proofs). Pure: the same on
every node of a release.
"""

from node.ledger import codec, hashing
from node.ledger.ports import Verifier
from node.ledger.types import Operation


class SuiteProofs:
    """ports.Proofs."""

    def __init__(self, suite: hashing.Suite, verifier: Verifier) -> None:
        self._suite = suite
        self._verifier = verifier

    def is_valid_key(self, algorithm: str, public_key: bytes) -> bool:
        """Whether the chain's suite admits this public key."""
        return algorithm in self._suite.algorithms and self._verifier.is_valid_key(algorithm, public_key)

    def key_id(self, algorithm: str, public_key: bytes) -> bytes:
        """The 16 bytes that name a public key."""
        return hashing.key_id(self._suite, algorithm, public_key)

    def unique_id(self, tx_id: bytes, operation: int) -> bytes:
        """32 bytes that name what an operation made."""
        return self._suite.digest(hashing.UNIQUE_ID + tx_id + operation.to_bytes(2, "big"))

    def content_hash(self, content: tuple[Operation, ...]) -> bytes:
        """32 bytes that stand for exactly these operations."""
        return self._suite.digest(hashing.CONTENT + codec.encode(content))

    def validator_address(self, public_key: bytes) -> bytes:
        """The 20 bytes by which consensus names a validator."""
        return hashing.validator_address(public_key)
