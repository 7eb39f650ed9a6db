"""Golden vectors of the state tree: roots and proofs of small states, pinned in state_tree.json.

They were made by ``vectors`` below, a naive reference written from formats.md ("State") that shares no code
with node/, and a test holds the file to it. A change of one byte needs an ADR.
"""

import json
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from node.ledger.codec import decoder, encode
from node.ledger.hashing import INTERNATIONAL
from node.ledger.state_tree import Proof, StateTree, check_proof, pairs_of

FILE = Path(__file__).with_name("state_tree.json")
GOLDEN = json.loads(FILE.read_text())
SIZES = (0, 1, 2, 32, 33, 600)
LEAF_MAX = 32

Json = dict[str, Any]


def h(tag: str, data: bytes) -> bytes:
    return sha256(f"vostro/{tag}/1".encode() + b"\0" + data).digest()


def record(index: int) -> tuple[bytes, bytes]:
    return b"transfers\0balance\0BANK/%d\0CZK\0" % index, b"\x92%c\0" % (index % 128)


def subtree(pairs: dict[bytes, bytes], depth: int) -> bytes:
    if not pairs:
        return bytes(32)
    if len(pairs) <= LEAF_MAX:
        return h("state-leaf", b"".join(k + pairs[k] for k in sorted(pairs)))
    return h("state-node", b"".join(subtree(child, depth + 1) for child in children(pairs, depth)))


def children(pairs: dict[bytes, bytes], depth: int) -> Iterator[dict[bytes, bytes]]:
    for nibble in "0123456789abcdef":
        yield {k: v for k, v in pairs.items() if k.hex()[depth] == nibble}


def proof_of(pairs: dict[bytes, bytes], k: bytes) -> Json:
    siblings: list[str] = []
    while len(pairs) > LEAF_MAX:
        depth = len(siblings)
        own = int(k.hex()[depth], 16)
        below = list(children(pairs, depth))
        siblings.append(
            b"".join(subtree(child, depth + 1) for n, child in enumerate(below) if n != own).hex()
        )
        pairs = below[own]
    return {"leaf": b"".join(one + pairs[one] for one in sorted(pairs)).hex(), "siblings": siblings}


def vectors() -> list[Json]:
    made = []
    for size in SIZES:
        records = dict(record(index) for index in range(size))
        pairs = {h("state-key", key): h("state-value", value) for key, value in records.items()}
        proofs = []
        for index in sorted({0, size - 1, size} - {-1}):  # the last one is absent
            key, value = record(index)
            proof = proof_of(pairs, h("state-key", key))
            proofs.append({"key": key.hex(), "value": value.hex() if index < size else None, **proof})
        made.append({"records": size, "root": subtree(pairs, 0).hex(), "proofs": proofs})
    return made


def test_the_file_is_what_the_reference_makes() -> None:
    assert vectors() == GOLDEN


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: f"{golden['records']} records")
def test_roots_and_proofs_are_the_golden_ones(golden: Json) -> None:
    writes = [record(index) for index in range(golden["records"])]
    stored: dict[bytes, bytes] = {}
    tree = StateTree(
        INTERNATIONAL,
        lambda low, high: [
            (k, v) for k, v in sorted(stored.items()) if low <= k and (high is None or k < high)
        ],
        leaf_cache=0,
    )
    pairs = pairs_of(INTERNATIONAL, writes)
    applied = tree.apply(pairs)
    stored.update((k, v) for k, v in pairs if v is not None)
    tree.commit(applied)
    assert tree.root.hex() == golden["root"]
    assert tree.build().hex() == golden["root"]
    decode: Callable[[bytes], Proof] = decoder(Proof)
    assert golden["proofs"]
    for expected in golden["proofs"]:
        key = bytes.fromhex(expected["key"])
        value = None if expected["value"] is None else bytes.fromhex(expected["value"])
        proof = Proof(
            bytes.fromhex(expected["leaf"]), tuple(bytes.fromhex(level) for level in expected["siblings"])
        )
        assert tree.prove(key) == proof
        assert decode(encode(proof)) == proof
        assert check_proof(INTERNATIONAL, bytes.fromhex(golden["root"]), key, value, proof)
