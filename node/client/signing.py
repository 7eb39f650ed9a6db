"""Making a signed transaction: the bytes that a member's officers put their names to (formats.md,
"Transaction").

Pure functions; nothing here talks to a node. A transaction carries the chain's identity, so it is good on one
chain only, and a request id that tells when it was made, so it dies by itself.
"""

import secrets
import time
from collections.abc import Sequence
from typing import Any, Protocol

from node.ledger import codec, hashing
from node.ledger.types import KeySignature, Operation, SignedTransaction, Transaction


class Signer(Protocol):
    """A private key, wherever it is kept."""

    @property
    def key_id(self) -> bytes:
        """16 bytes that name the key."""

    def sign(self, message: bytes) -> bytes:
        """64 bytes."""


def new_request_id(time_ms: int | None = None) -> bytes:
    """A UUIDv7 (RFC 9562, 5.7): 48 bits of Unix time in ms, version and variant, 74 random bits."""
    milliseconds = time.time_ns() // 1_000_000 if time_ms is None else time_ms
    chance = bytearray(secrets.token_bytes(10))
    chance[0] = 0x70 | chance[0] & 0x0F
    chance[2] = 0x80 | chance[2] & 0x3F
    return milliseconds.to_bytes(6, "big") + bytes(chance)


def operation(contract: str, method: str, *arguments: Any) -> Operation:
    """One call of a contract's method."""
    return Operation(contract, method, codec.encode(arguments))


def transaction(
    chain_id: bytes,
    member: str,
    operations: Sequence[Operation],
    *,
    request_id: bytes | None = None,
    valid_until_ms: int = 0,
) -> bytes:
    """The bytes of an unsigned transaction; ``request_id`` None makes a new one."""
    return codec.encode(
        Transaction(
            1, chain_id[:8], member, request_id or new_request_id(), valid_until_ms, tuple(operations)
        )
    )


def transaction_id(suite: hashing.Suite, body: bytes) -> bytes:
    """The 32 bytes by which a transaction is known."""
    return suite.digest(hashing.TX + body)


def sign(suite: hashing.Suite, chain_id: bytes, body: bytes, signers: Sequence[Signer]) -> bytes:
    """The signed transaction: ``body`` with the signature of each signer, in order of key ids."""
    message = hashing.SIGN_TX + chain_id + transaction_id(suite, body)
    entries = sorted(
        (KeySignature(signer.key_id, signer.sign(message)) for signer in signers),
        key=lambda entry: entry.key_id,
    )
    return codec.encode(SignedTransaction(body, tuple(entries)))
