"""Domain-separated hashes of a chain's suite.

Every hash names its purpose: ``H(tag || 0x00 || data)``. All tags stand here and nowhere else, with their
separator already appended, so that a use reads ``suite.digest(TX + transaction)``. Merkle trees have prefixes
of their own (merkle.py, RFC 6962).
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from node.ledger.errors import InvariantViolated

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
SUBJECT: Final = b"vostro/subject/1\0"
MOVEMENTS: Final = b"vostro/movements/1\0"
ENTRY: Final = b"vostro/entry/1\0"
SNAPSHOT: Final = b"vostro/snapshot/1\0"
SNAPSHOT_CHUNK: Final = b"vostro/snapshot-chunk/1\0"
DOCUMENT: Final = b"vostro/vault/document/1\0"
SEALED: Final = b"vostro/vault/sealed/1\0"
DOCUMENT_KEY: Final = b"vostro/vault/key/1\0"

# What a signature covers begins with its context; it is signed, not hashed, by the algorithms of the suite.
SIGN_TX: Final = b"vostro/sign/tx/1\0"
SIGN_BUNDLE: Final = b"vostro/sign/bundle/1\0"
SIGN_HEADER: Final = b"vostro/sign/header/1\0"
SIGN_ENTRY: Final = b"vostro/sign/entry/1\0"


@dataclass(frozen=True, slots=True)
class Suite:
    """The cryptography of one chain, fixed in its genesis.

    name: as genesis spells it. digest: bytes -> 32 bytes. algorithms: the signature algorithms that the keys
    of its members and their nodes may have, the usual one first. authority_only: what the keys that certify
    headers may have besides. encryption: what the keys may be with which others encrypt for a member.
    """

    name: str
    digest: Callable[[bytes], bytes]
    algorithms: tuple[str, ...]
    authority_only: tuple[str, ...] = ()
    encryption: tuple[str, ...] = ()

    @property
    def authority_algorithms(self) -> tuple[str, ...]:
        """Of the keys that certify headers, the usual one first."""
        return self.algorithms + self.authority_only


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _sm3_function() -> Callable[[bytes], bytes]:
    """SM3 (GB/T 32905) by copying an empty hash: a quarter faster than making one by its name.

    Where Python's OpenSSL has no SM3, a function that raises InvariantViolated: chains of the suite cannot be
    opened there, others can.
    """
    try:
        empty = hashlib.new("sm3")
    except ValueError:
        return _no_sm3

    def _sm3(data: bytes) -> bytes:
        made = empty.copy()
        made.update(data)
        return made.digest()

    return _sm3


def _no_sm3(_data: bytes) -> bytes:
    raise InvariantViolated(
        "the suite guomi needs SM3, which the OpenSSL of this Python lacks: install a Python with OpenSSL 3"
    )


INTERNATIONAL: Final = Suite("international", _sha256, ("ed25519", "p256"), encryption=("x25519",))
GUOMI: Final = Suite("guomi", _sm3_function(), ("sm2",), ("ed25519",), ("sm2",))

_NAMES: Final = {INTERNATIONAL.name: "sha256", GUOMI.name: "sm3"}
"""As hashlib calls the suites' hashes."""

SUITES: Final = {INTERNATIONAL.name: INTERNATIONAL, GUOMI.name: GUOMI}


def streamed(suite: Suite, tag: bytes) -> "hashlib._Hash":
    """A hash of the suite to which a tag was given and which is fed the rest piece by piece: for what is too
    large to be held whole. Raises InvariantViolated where Python's OpenSSL lacks the suite's.
    """
    suite.digest(b"")
    return hashlib.new(_NAMES[suite.name], tag)


def key_id(suite: Suite, algorithm: str, public_key: bytes) -> bytes:
    """The 16 bytes by which a public key is named everywhere."""
    return suite.digest(KEY + algorithm.encode() + b"\0" + public_key)[:16]


def validator_address(public_key: bytes) -> bytes:
    """The 20 bytes by which CometBFT names an Ed25519 key (its crypto/ed25519: the truncated SHA-256 of the
    key), whatever the chain's suite.
    """
    return _sha256(public_key)[:20]
