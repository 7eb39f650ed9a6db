"""The golden bytes, held by the product and by the second implementation, and the document that both are
written from.
"""

import ast
import hashlib
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest

import gen_formats
from contracts import assemble
from node.ledger import codec, hashing
from node.ledger.ledger import Discarded
from node.ledger.transactions import parse
from node.ledger.types import Header, Leaf, Receipt, SignedTransaction, Transaction
from node.receipts import ReceiptProblem, verify_receipt_file
from tests.vectors import golden, independent, independent_receipts

FOLDER = Path(__file__).parent
DOCUMENT = gen_formats.DOCUMENT.read_text()
PINNED = json.loads((FOLDER / "formats.json").read_bytes())
GENESIS = json.loads((FOLDER / "genesis.json").read_bytes())


def from_hex(name: str) -> bytes:
    return bytes.fromhex(PINNED[name])


@pytest.mark.parametrize("name", list(golden.files()))
def test_a_golden_file_is_what_the_program_makes_today(name: str) -> None:
    assert (FOLDER / name).read_bytes() == golden.files()[name]


# --- the document -----------------------------------------------


def test_the_generated_parts_of_the_document_are_up_to_date() -> None:
    assert gen_formats.renewed(DOCUMENT) == DOCUMENT


def test_a_proposals_content_is_hashed_as_the_document_says() -> None:
    pinned = PINNED["content"]
    operations = bytes.fromhex(pinned["operations"])
    assert independent.tagged("vostro/content/1", operations).hex() == pinned["hash"]
    assert (
        PINNED["evidence"]
        == independent.encode([("duplicate-vote", bytes(range(20)), 7, golden.BEGIN_MS, 10, 40)]).hex()
    )
    key = PINNED["validator_address"]
    assert hashlib.sha256(bytes.fromhex(key["public_key"])).digest()[:20].hex() == key["address"]


def test_the_document_names_every_tag_context_and_golden_file() -> None:
    tags = [
        value[:-1].decode() for value in vars(hashing).values() if isinstance(value, bytes) and b"/" in value
    ]
    files = [path.name for path in FOLDER.glob("*.json")]
    missing = [name for name in [*tags, *files] if f"`{name}`" not in DOCUMENT]
    assert len(tags) >= 12
    assert not missing


def test_the_document_names_every_method_event_refusal_and_problem() -> None:
    names = [f"`{c.name}.{name}`" for c in assemble() for name in c.methods]
    names += [f"`{fact.__name__}`" for contract in assemble() for fact in contract.facts]
    names += [f"`{error.name}`" for contract in assemble() for error in contract.errors]
    names += [f"`{problem.name}`" for problem in ReceiptProblem]
    assert not [name for name in names if name not in DOCUMENT]


def test_the_document_states_the_work_of_a_transaction_as_the_ledger_counts_it() -> None:
    world = golden.golden()
    raw = world.signed("PAYER", [golden.PAYER], golden.send(1, "a"), golden.send(2, "b"), height=9)
    candidate = parse(raw, world.ledger.chain)
    stated = re.search(
        r"= (\d+) \+ (\d+) a signature \+ (\d+) an operation .* / (\d+), rounded", DOCUMENT.replace("\n", " ")
    )
    assert stated
    fixed, signature, operation, share = map(int, stated.groups())
    argument_bytes = sum(len(one.arguments) for one in candidate.transaction.operations)
    assert candidate.work == fixed + signature + 2 * operation + argument_bytes // share


def test_the_second_implementation_imports_nothing_of_the_product() -> None:
    imported: list[str] = []
    for name in ("independent.py", "independent_receipts.py"):
        nodes = list(ast.walk(ast.parse((FOLDER / name).read_text())))
        imported += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
        imported += [one.name for node in nodes if isinstance(node, ast.Import) for one in node.names]
    assert {name.split(".")[0] for name in imported if name != "tests.vectors.independent"} == {
        "hashlib",
        "json",
        "itertools",
        "collections",
        "typing",
        "cryptography",
    }


# --- the encoding -----------------------------------------------


def as_value(shown: Any) -> Any:
    if isinstance(shown, list):
        return tuple(as_value(item) for item in shown)
    return bytes.fromhex(shown["bytes"]) if isinstance(shown, dict) else shown


def test_both_implementations_encode_the_examples_alike() -> None:
    for example in PINNED["encoding"]:
        value, encoded = as_value(example["value"]), bytes.fromhex(example["encoded"])
        assert independent.encode(value) == codec.encode(value) == encoded
        assert independent.decode(encoded) == value


def test_both_implementations_encode_and_decode_random_values_alike() -> None:
    chance = random.Random(20260101)
    for _ in range(2_000):
        value = random_value(chance, 4)
        assert independent.decode(codec.encode(value)) == value
        assert independent.encode(value) == codec.encode(value)


def random_value(chance: random.Random, depth: int) -> Any:
    kind = chance.randrange(4 if depth else 3)
    size = chance.choice((0, 1, 15, 16, 31, 32, 255, 256))
    if kind == 0:
        return chance.getrandbits(chance.randrange(64))
    if kind == 1:
        return "".join(chance.choices("aZ/ěščř€😀", k=size))
    return (
        chance.randbytes(size)
        if kind == 2
        else tuple(random_value(chance, depth - 1) for _ in range(size % 20))
    )


NOT_CANONICAL = {
    "an integer in a longer form than needed": "cc05",
    "a text in a longer form than needed": "d90161",
    "bytes in a longer form than needed": "c50001ff",
    "an array in a longer form than needed": "dc000101",
    "a byte behind the end": "0500",
    "an array cut short": "9201",
    "a text cut short": "a361",
    "text that is not UTF-8": "a1ff",
    "a negative integer": "ff",
    "nil": "c0",
    "a boolean": "c3",
    "a float": "cb3ff0000000000000",
    "a map": "80",
    "an extension": "d40100",
    "an integer of 2^63": "cf8000000000000000",
    "nothing": "",
    "a promise of four billion values": "ddffffffff",
}


@pytest.mark.parametrize("what", NOT_CANONICAL)
def test_what_is_not_canonical_is_refused_by_both(what: str) -> None:
    data = bytes.fromhex(NOT_CANONICAL[what])
    with pytest.raises(independent.RefusedError):
        independent.decode(data)
    for record in (SignedTransaction, Transaction, Receipt, Leaf, Header):
        with pytest.raises(codec.NotCanonical):
            codec.decoder(record)(data)


# --- hashes and signatures -----------------------------------------------


def test_the_second_implementation_finds_the_chain_and_its_authority_in_genesis() -> None:
    assert independent.genesis_bytes(GENESIS) == from_hex("genesis")
    assert independent.chain_id(GENESIS) == from_hex("chain_id")
    entry = GENESIS["authority"][0]
    leaf = independent.encode((entry["algorithm"], bytes.fromhex(entry["public_key"]), entry["power"]))
    assert independent.root_of([leaf]) == from_hex("authority_root")


def test_the_second_implementation_finds_every_hash_of_the_golden_transaction() -> None:
    body, signed = from_hex("transaction"), from_hex("signed_transaction")
    tx_id = independent.tagged("vostro/tx/1", body)
    assert tx_id == from_hex("tx_id")
    assert b"vostro/sign/tx/1\0" + from_hex("chain_id") + tx_id == from_hex("signed_message")
    assert independent.tagged("vostro/signed/1", signed) == from_hex("signed_hash")
    transaction = independent.read(body, independent.TRANSACTION)
    leaf = (tx_id, transaction[2], transaction[3], from_hex("signed_hash"))
    assert independent.encode(leaf) == from_hex("leaf")
    assert independent.tagged("vostro/unique-id/1", tx_id + b"\x00\x01").hex() == PINNED["unique_id"]["id"]
    assert independent.tagged("vostro/header/1", from_hex("header")) == from_hex("app_hash")


def test_the_second_implementation_finds_every_key_id_and_signature_good() -> None:
    keys = {
        bytes.fromhex(key["key_id"]): (key["algorithm"], bytes.fromhex(key["public_key"]))
        for key in PINNED["keys"].values()
    }
    for key_id, key in keys.items():
        assert independent.key_id(*key) == key_id
    for key_id, signature in PINNED["signatures"]:
        key = keys[bytes.fromhex(key_id)]
        assert independent.is_signed(*key, from_hex("signed_message"), bytes.fromhex(signature))
        assert not independent.is_signed(*key, from_hex("sequencer_message"), bytes.fromhex(signature))
    sequencer = keys[bytes.fromhex(PINNED["keys"]["sequencer"]["key_id"])]
    assert from_hex("sequencer_message") == b"vostro/sign/header/1\0" + from_hex("chain_id") + from_hex(
        "app_hash"
    )
    assert independent.is_signed(*sequencer, from_hex("sequencer_message"), from_hex("sequencer_signature"))


def test_the_second_implementation_finds_the_state_root_from_a_proof() -> None:
    expected_keys = {
        "assets/balance": b"assets\0balance\0PAYER/main\0CZK\0",
        "members/key": b"members\0key\0PAYER\0" + bytes.fromhex(PINNED["keys"]["PAYER/treasury"]["key_id"]),
    }
    for name, vector in PINNED["state"].items():
        assert bytes.fromhex(vector["key"]) == expected_keys[name]
        k = independent.tagged("vostro/state-key/1", expected_keys[name])
        v = independent.tagged("vostro/state-value/1", bytes.fromhex(vector["value"]))
        assert (k.hex(), v.hex()) == (vector["K"], vector["V"])
        leaf = bytes.fromhex(vector["proof"]["leaf"])
        pairs = [leaf[at : at + 64] for at in range(0, len(leaf), 64)]
        assert k + v in pairs
        assert sorted(pairs) == pairs
        node = independent.tagged("vostro/state-leaf/1", leaf)
        siblings = [bytes.fromhex(level) for level in vector["proof"]["siblings"]]
        assert len(siblings) == 1  # state_tree.json holds deeper trees
        for depth, level in reversed(list(enumerate(siblings))):
            at = 32 * int(k.hex()[depth], 16)
            node = independent.tagged("vostro/state-node/1", level[:at] + node + level[at:])
        assert node == bytes.fromhex(PINNED["head"]["state_root"])


# --- a transaction made by the second implementation -----------------------------------------------


def test_the_ledger_applies_a_transaction_that_the_second_implementation_signed() -> None:
    world = golden.populate(golden.World())
    request_id = world.time_ms(20).to_bytes(6, "big") + bytes.fromhex("70008000") + bytes(6)
    arguments = ("PAYER/main", "BANK/two", "CZK", 12_345, "second implementation", b"", "")
    chain = independent.chain_id(GENESIS)
    operations = [("transfers", "send", arguments)]
    raw = independent.sign_transaction(chain, "PAYER", request_id, operations, golden.PAYER.secret())
    [receipt] = world.block(20, raw).outcomes
    assert not isinstance(receipt, Discarded)
    assert (receipt.code, receipt.events[0].event) == (0, "Sent")
    data = json.dumps(world.receipt_file(20, 0)).encode()
    trust = (FOLDER / "genesis.json").read_bytes()
    assert verify_receipt_file(data, trust).operations[0]["arguments"]["amount"] == 12_345
    assert independent_receipts.verify_receipt(data, trust)["applied"]


@pytest.mark.evidence(
    "TX1", asset="balances", threat="replay on another chain", mitigation="signatures name the chain"
)
def test_the_ledger_discards_what_the_second_implementation_signed_for_another_chain() -> None:
    world = golden.populate(golden.World())
    request_id = world.time_ms(20).to_bytes(6, "big") + bytes.fromhex("70008000") + bytes(6)
    other = from_hex("chain_id")[:8] + bytes(
        24
    )  # the prefix in the transaction is this chain's, the chain signed for is not
    operations = [("assets", "freeze_asset", ("CZK",))]
    raw = independent.sign_transaction(other, "PAYER", request_id, operations, golden.PAYER.secret())
    [outcome] = world.block(20, raw).outcomes
    assert isinstance(outcome, Discarded)
    assert outcome.error.name == "BAD_SIGNATURE"
