"""The ledger on the suite guomi: roots against arithmetic written out, and which keys its genesis admits."""

import random
from typing import Any

import pytest

from contracts import assemble
from contracts.members import Members
from contracts.powers import NewNode, NewValidator
from node.client.signing import operation, sign, transaction
from node.genesis_file import GenesisRefused, format_genesis, make_genesis, parse_genesis
from node.json_form import write_document
from node.keys.signer import SoftwareSigner, generate
from node.keys.verify import GuomiVerifier
from node.ledger import codec, hashing
from node.ledger.genesis import chain_id
from node.ledger.hashing import GUOMI, INTERNATIONAL, SUITES, Suite
from node.ledger.ledger import Ledger
from node.ledger.merkle import merkle_root
from node.ledger.state_tree import LEAF_MAX, StateTree, check_proof, pairs_of
from node.ledger.types import AdministratorKey, Authority, Block, Genesis, Node
from node.receipts import ReceiptRefused, build_receipt_file, verify_receipt_file
from node.storage.memory import MemoryStore
from tests.kit import ADMINISTRATOR, START_MS, World, is_refused, officer, op, request_id, using
from tests.vectors.independent_guomi import guomi, sm3


def tagged(tag: str, data: bytes) -> bytes:
    return sm3(tag.encode() + b"\0" + data)


def state_root(pairs: dict[bytes, bytes], depth: int = 0) -> bytes:
    """Section 8 of the document with SM3, by its words."""
    if not pairs:
        return bytes(32)
    if len(pairs) <= LEAF_MAX:
        return tagged("vostro/state-leaf/1", b"".join(k + pairs[k] for k in sorted(pairs)))
    children = [
        state_root({k: v for k, v in pairs.items() if k.hex()[depth] == f"{digit:x}"}, depth + 1)
        for digit in range(16)
    ]
    return tagged("vostro/state-node/1", b"".join(children))


def stored(tree: StateTree, pairs: dict[bytes, bytes], records: list[tuple[bytes, bytes | None]]) -> bytes:
    writes = pairs_of(GUOMI, records)
    applied = tree.apply(writes)
    for k, v in writes:
        if v is None:
            pairs.pop(k, None)
        else:
            pairs[k] = v
    tree.commit(applied)
    return tree.root


@pytest.mark.parametrize("size", [1, 32, 33, 700])
def test_a_state_root_of_guomi_is_that_of_the_document(size: int) -> None:
    pairs: dict[bytes, bytes] = {}
    tree = StateTree(
        GUOMI,
        lambda low, high: sorted((k, v) for k, v in pairs.items() if low <= k < (high or b"\xff" * 33)),
        0,
    )
    root = stored(tree, pairs, [(b"record %d" % number, b"value") for number in range(size)])
    assert root == state_root(pairs)
    key = b"record 0"
    proof = tree.prove(key)
    assert check_proof(GUOMI, root, key, b"value", proof)
    assert not check_proof(INTERNATIONAL, root, key, b"value", proof)
    chance = random.Random(size)
    gone = [(b"record %d" % number, None) for number in range(size) if chance.random() < 0.5]
    assert stored(tree, pairs, [*gone]) == state_root(pairs)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 8, 33])
def test_a_merkle_root_of_guomi_is_that_of_the_document(size: int) -> None:
    leaves = [b"leaf %d" % number for number in range(size)]
    assert merkle_root(GUOMI.digest, leaves) == guomi.root_of(leaves)
    assert merkle_root(GUOMI.digest, leaves) != merkle_root(INTERNATIONAL.digest, leaves)


def test_the_two_suites_name_a_key_differently_and_every_hash_has_32_bytes() -> None:
    for suite in SUITES.values():
        assert len(suite.digest(b"")) == hashing.HASH_BYTES
    key = generate("sm2")
    assert key.key_id == sm3(b"vostro/key/1\0sm2\0" + key.public_key)[:16]
    assert key.key_id != hashing.key_id(INTERNATIONAL, "sm2", key.public_key)


def genesis_with(
    administrator: SoftwareSigner, authority: SoftwareSigner, node: SoftwareSigner, suite: Suite = GUOMI
) -> Genesis:
    return make_genesis(
        "national",
        [AdministratorKey(administrator.algorithm, administrator.public_key, "one")],
        [Authority(authority.algorithm, authority.public_key, 1)],
        nodes=[Node("ADMIN", node.algorithm, node.public_key, b"")],
        time_ms=START_MS,
        suite=suite.name,
    )


def test_a_genesis_of_guomi_admits_sm2_keys_and_ed25519_authorities_alone() -> None:
    sm2, ed25519, p256 = generate("sm2"), generate("ed25519"), generate("p256")
    genesis = genesis_with(sm2, generate("sm2"), generate("sm2"))
    assert parse_genesis(format_genesis(genesis)) == genesis
    genesis_with(sm2, ed25519, generate("sm2"))
    for keys, told in (
        ((ed25519, sm2, sm2), r"administrators\[0\].algorithm: the suite guomi has sm2"),
        ((p256, sm2, sm2), r"administrators\[0\].algorithm"),
        ((sm2, p256, sm2), r"authority\[0\].algorithm: the suite guomi has sm2, ed25519"),
        ((sm2, sm2, ed25519), r"nodes\[0\].algorithm"),
    ):
        with pytest.raises(GenesisRefused, match=told):
            genesis_with(*keys)
    with pytest.raises(GenesisRefused, match="the suite international has ed25519, p256"):
        genesis_with(sm2, ed25519, ed25519, INTERNATIONAL)


def test_a_chain_of_guomi_moves_to_validators_that_vote_with_ed25519_and_no_member_signs_with_it() -> None:
    with using(GUOMI):
        world = World()
        world.admit("PA")
        nodes = [NewNode("sm2", officer(f"node-{at}").public_key) for at in range(4)]
        voters = [
            NewValidator("PA", "ed25519", generate("ed25519").public_key, 10, f"v{at}", node)
            for at, node in enumerate(nodes)
        ]
        move = op("validators", "move", tuple(voters), "")
        assert world.send(ADMINISTRATOR, move).code == 0
        assert {entry.algorithm for entry in world.ledger.standing.authority} == {"ed25519"}
        member = op("members", "register_key", ("ed25519", voters[0].public_key, "one", ("*",)))
        assert is_refused(world.send("PA", member), Members.KEY_INVALID)


def test_a_genesis_that_differs_in_its_suite_is_another_chain() -> None:
    with using(GUOMI):
        one, other = World(), World()
    assert one.chain_id == other.chain_id
    assert one.chain_id == guomi.tagged("vostro/genesis/1", codec.encode(one.genesis))
    assert chain_id(one.genesis) != World().chain_id


def test_a_receipt_certified_by_an_ed25519_authority_of_guomi_verifies() -> None:
    administrator, authority, bank = generate("sm2"), generate("ed25519"), generate("sm2")
    genesis = genesis_with(administrator, authority, generate("sm2"))
    store = MemoryStore()
    ledger = Ledger(genesis, assemble, store, GuomiVerifier())
    chain = ledger.chain.chain_id
    keys = ((bank.algorithm, bank.public_key, "one", ("*",)),)
    admit = operation("members", "admit", "PA", "Bank PA", "", ("participant",), keys)
    body = transaction(chain, "ADMIN", [admit], request_id=request_id(START_MS + 1_000, 1))
    raw = sign(GUOMI, chain, body, [administrator])
    for number in range(2):
        block = Block(1, START_MS + 1_000, (raw,))
        finalized = ledger.finalize_block(block) if number else ledger.init_chain()
        ledger.commit(authority.sign(hashing.SIGN_HEADER + chain + finalized.app_hash))
        store.sync()
        ledger.publish()
    readers: Any = ledger.readers
    file = build_receipt_file(
        1, 0, genesis=genesis, blocks=store, keys=readers["members"].key, history=ledger
    )
    assert verify_receipt_file(write_document(file), format_genesis(genesis)).applied
    file["certificate"]["signature"] = generate("ed25519").sign(b"another").hex()
    with pytest.raises(ReceiptRefused):
        verify_receipt_file(write_document(file), format_genesis(genesis))
