"""Domain-separated hashes of a chain's suite.

Every hash names its purpose: ``H(tag || 0x00 || data)``. All tags stand here and nowhere else, with their
separator already appended, so that a use reads ``suite.digest(TX + transaction)``. Merkle trees have prefixes
of their own (merkle.py, RFC 6962).
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

HASH_BYTES: Final = 32
ZERO_HASH: Final = bytes(HASH_BYTES)

GENESIS: Final = b"vostro/genesis/1\0"
KEY: Final = b"vostro/key/1\0"
TX: Final = b"vostro/tx/1\0"
SIGNED: Final = b"vostro/signed/1\0"
HEADER: Final = b"vostro/header/1\0"
BUNDLE: Final = b"vostro/bundle/1\0"
STATE_KEY: Final = b"vostro/state-key/1\0"
STATE_VALUE: Final = b"vostro/state-value/1\0"
STATE_LEAF: Final = b"vostro/state-leaf/1\0"
STATE_NODE: Final = b"vostro/state-node/1\0"
UNIQUE_ID: Final = b"vostro/unique-id/1\0"
CONTENT: Final = b"vostro/content/1\0"

# What a signature covers begins with its context; it is signed, not hashed, by the algorithms of the suite.
SIGN_TX: Final = b"vostro/sign/tx/1\0"
SIGN_BUNDLE: Final = b"vostro/sign/bundle/1\0"
SIGN_HEADER: Final = b"vostro/sign/header/1\0"


@dataclass(frozen=True, slots=True)
class Suite:
    """The cryptography of one chain, fixed in its genesis.

    name: as genesis spells it. digest: bytes -> 32 bytes. algorithms: the signature algorithms that its
    members' keys may have.
    """

    name: str
    digest: Callable[[bytes], bytes]
    algorithms: tuple[str, ...]


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


INTERNATIONAL: Final = Suite("international", _sha256, ("ed25519", "p256"))

SUITES: Final = {INTERNATIONAL.name: INTERNATIONAL}


def key_id(suite: Suite, algorithm: str, public_key: bytes) -> bytes:
    """The 16 bytes by which a public key is named everywhere."""
    return suite.digest(KEY + algorithm.encode() + b"\0" + public_key)[:16]


def validator_address(public_key: bytes) -> bytes:
    """The 20 bytes by which CometBFT names an Ed25519 key (its crypto/ed25519: the truncated SHA-256 of the
    key), whatever the chain's suite.
    """
    return _sha256(public_key)[:20]
