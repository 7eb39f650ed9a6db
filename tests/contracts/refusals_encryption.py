"""The refusals of ``encryption`` (cases.py says how to read a table)."""

import hashlib
from typing import Any, Final

from contracts.encryption import KEYS_EVER_MAX, Encryption
from node.ledger.hashing import INTERNATIONAL, key_id
from node.ledger.proofs import FIELD_PRIME, SMALL_ORDER
from node.ledger.types import Operation
from tests.contracts.cases import Case, Flaw
from tests.kit import Consortium, officer, op

FIRST: Final = bytes([9]) + bytes(31)
"""The base point's coordinate: a good public key, of the private key 1."""
SECOND: Final = hashlib.sha256(b"second").digest()[:31] + b"\x11"
BAD: Final = (
    *(u.to_bytes(32, "little") for u in SMALL_ORDER),
    FIELD_PRIME.to_bytes(32, "little"),
    (FIELD_PRIME + 9).to_bytes(32, "little"),
    b"\xff" * 32,
    FIRST + b"\0",
)
"""Of small order, or not the one form of a coordinate."""


def encryption_key(public_key: bytes) -> bytes:
    """The id of an encryption key."""
    return key_id(INTERNATIONAL, "x25519", public_key)


def registered(public_key: bytes) -> Operation:
    """The operation that registers an encryption key."""
    return op("encryption", "register", "x25519", public_key)


def _has_one(world: Consortium) -> None:
    world.apply("PA", registered(FIRST))


def _others_has(world: Consortium) -> None:
    world.apply("KB", registered(SECOND))


def _revoked(world: Consortium) -> None:
    _has_one(world)
    world.apply("PA", op("encryption", "revoke", encryption_key(FIRST)))


def _many(world: Consortium) -> None:
    keys = [hashlib.sha256(b"%d" % number).digest()[:31] + b"\1" for number in range(KEYS_EVER_MAX)]
    for start in range(0, KEYS_EVER_MAX, 32):
        steps: list[Any] = []
        for public_key in keys[start : start + 32]:
            steps += [registered(public_key), op("encryption", "revoke", encryption_key(public_key))]
        world.apply("PA", *steps)


_KEY_FLAWS: Final = (
    *(Flaw(Encryption.KEY_INVALID, public_key=bad) for bad in BAD),
    Flaw(Encryption.KEY_INVALID, algorithm="ed25519", public_key=officer("fresh").public_key),
    Flaw(Encryption.KEY_INVALID, algorithm="sm2"),
)

ENCRYPTION: Final = (
    Case(
        "encryption",
        "register",
        "PA",
        {"algorithm": "x25519", "public_key": SECOND},
        (
            Flaw(Encryption.KEY_IN_USE, given=_has_one),
            *_KEY_FLAWS,
            Flaw(Encryption.KEY_KNOWN, given=_others_has),
            Flaw(Encryption.TOO_MANY_KEYS, given=_many),
        ),
    ),
    Case(
        "encryption",
        "register",
        "PA",
        {"algorithm": "x25519", "public_key": SECOND},
        (Flaw(Encryption.KEY_KNOWN, public_key=FIRST),),
        given=_revoked,
        label=" after a revocation",
    ),
    Case(
        "encryption",
        "replace",
        "PA",
        {"old": encryption_key(FIRST), "algorithm": "x25519", "public_key": SECOND},
        (
            Flaw(Encryption.KEY_UNKNOWN, by="KB"),
            Flaw(Encryption.KEY_UNKNOWN, old=encryption_key(SECOND)),
            *_KEY_FLAWS,
            Flaw(Encryption.KEY_KNOWN, given=_others_has),
            Flaw(Encryption.KEY_KNOWN, public_key=FIRST),
        ),
        given=_has_one,
    ),
    Case(
        "encryption",
        "revoke",
        "PA",
        {"key_id": encryption_key(FIRST)},
        (
            Flaw(Encryption.KEY_UNKNOWN, by="KB"),
            Flaw(Encryption.KEY_UNKNOWN, key_id=encryption_key(SECOND)),
            Flaw(
                Encryption.KEY_UNKNOWN,
                given=lambda w: w.apply("PA", op("encryption", "revoke", encryption_key(FIRST))),
            ),
        ),
        given=_has_one,
    ),
)
