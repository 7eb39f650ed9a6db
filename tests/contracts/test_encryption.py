"""Encryption keys: their life, whose they are, and who may change them; on both suites."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from contracts.encryption import Encryption, EncryptionKey, NamedEncryptionKey
from contracts.institutions import Rule
from contracts.members import Members
from node.ledger import codec
from node.ledger.errors import LedgerError, Rejected
from node.ledger.hashing import GUOMI, INTERNATIONAL, key_id
from node.ledger.proofs import FIELD_PRIME, SMALL_ORDER, is_x25519_key
from tests.contracts.refusals_encryption import FIRST, SECOND, encryption_key, registered
from tests.kit import Consortium, discarded, is_discarded, is_refused, new_key, officer, op, told, using

A, B = encryption_key(FIRST), encryption_key(SECOND)


@pytest.fixture
def world() -> Consortium:
    return Consortium()


def ask(world: Consortium, query: str, member: str) -> Any:
    return world.ledger.query("encryption", query, codec.encode((member,)))


@pytest.mark.evidence(
    "KEY10",
    asset="encryption keys",
    threat="a key that everybody knows, or of another purpose",
    mitigation="checked when it is registered",
)
def test_a_key_is_registered_replaced_and_revoked(world: Consortium) -> None:
    receipt = world.apply("PA", registered(FIRST))
    first = world.height
    assert told(receipt) == [("encryption.EncryptionKeyRegistered", ["PA", A, "x25519"])]
    in_use = EncryptionKey("x25519", FIRST, first, 0, "")
    assert ask(world, "get_key", "PA") == NamedEncryptionKey("PA", A, in_use)
    receipt = world.apply("PA", op("encryption", "replace", A, "x25519", SECOND))
    second = world.height
    assert told(receipt) == [("encryption.EncryptionKeyReplaced", ["PA", A, B])]
    assert ask(world, "get_key", "PA").key_id == B
    receipt = world.apply("PA", op("encryption", "revoke", B))
    assert told(receipt) == [("encryption.EncryptionKeyRevoked", ["PA", B])]
    with pytest.raises(Rejected) as refused:
        ask(world, "get_key", "PA")
    assert refused.value.error is Encryption.KEY_UNKNOWN
    ended = {(named.key_id, named.key.ended, named.key.ended_at) for named in ask(world, "list_keys", "PA")}
    assert ended == {(A, "replaced", second), (B, "revoked", world.height)}


@pytest.mark.evidence(
    "KEY10",
    asset="encryption keys",
    threat="a key that everybody knows, or of another purpose",
    mitigation="checked when it is registered",
)
def test_a_key_that_signs_for_a_member_is_no_key_to_encrypt_with_nor_the_other_way_round() -> None:
    with using(GUOMI):
        world = Consortium()
        signing, other = officer("KB-officer").public_key, officer("sealed").public_key
        same = world.send("PA", op("encryption", "register", "sm2", signing))
        assert is_refused(same, Encryption.KEY_KNOWN)
        world.apply("PA", op("encryption", "register", "sm2", other))
        assert ask(world, "get_key", "PA").key_id == key_id(GUOMI, "sm2", other)
        for member in ("PA", "KB"):
            as_signer = world.send(member, op("members", "register_key", new_key("sealed")))
            assert is_refused(as_signer, Members.KEY_KNOWN)
        world.apply("PA", op("encryption", "revoke", key_id(GUOMI, "sm2", other)))
        ended = world.send("PA", op("members", "register_key", new_key("sealed")))
        assert is_refused(ended, Members.KEY_KNOWN)
        x25519 = world.send("KB", registered(FIRST))
        assert is_refused(x25519, Encryption.KEY_INVALID)
        off = world.send("KB", op("encryption", "register", "sm2", b"\x02" + b"\xff" * 32))
        assert is_refused(off, Encryption.KEY_INVALID)


@pytest.mark.evidence(
    "ACT2",
    asset="encryption keys",
    threat="one officer puts a key of its own in place",
    mitigation="the strictest rule decides",
)
def test_one_officer_cannot_put_a_key_in_place_where_the_policy_asks_for_two(world: Consortium) -> None:
    second = op("members", "register_key", new_key("PA-second"))
    policy = op("members", "set_policy", (Rule("transfers", "send", "CZK", 10**6, 2),))
    world.apply("PA", second)
    world.apply("PA", policy)
    assert is_discarded(discarded(world, world.make("PA", registered(FIRST))), LedgerError.POLICY_NOT_MET)
    world.apply("PA", registered(FIRST), officers=("PA-officer", "PA-second"))
    assert ask(world, "get_key", "PA").key_id == A


@pytest.mark.evidence(
    "KEY10",
    asset="encryption keys",
    threat="a key that everybody knows, or of another purpose",
    mitigation="checked when it is registered",
)
def test_the_coordinates_refused_are_those_with_which_everybody_knows_the_secret() -> None:
    """Against OpenSSL: it refuses an exchange whose shared secret is zero, and only that."""
    key, tried = X25519PrivateKey.generate(), 0
    for u in range(300):
        for data in (u.to_bytes(32, "little"), (FIELD_PRIME - 1 - u).to_bytes(32, "little")):
            tried += 1
            assert is_x25519_key(data) == shares_a_secret(key, data), data.hex()
    for u in SMALL_ORDER:
        tried += 1
        assert not shares_a_secret(key, u.to_bytes(32, "little"))
    for u in range(FIELD_PRIME, 2**255):
        tried += 1
        assert not is_x25519_key(u.to_bytes(32, "little")), "not the canonical form"
    print(f"x25519: {tried} coordinates tried, all as OpenSSL says")
    assert key_id(INTERNATIONAL, "x25519", FIRST) == A


def shares_a_secret(key: X25519PrivateKey, public_key: bytes) -> bool:
    try:
        return any(key.exchange(X25519PublicKey.from_public_bytes(public_key)))
    except ValueError:
        return False
