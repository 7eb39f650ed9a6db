"""Receipt files against both implementations: honest files verify, and whatever is changed in one is refused
by both for one reason.
"""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from node.genesis_file import format_genesis
from node.json_form import to_json, write_document
from node.ledger import codec, hashing
from node.ledger.genesis import authority_root
from node.ledger.hashing import INTERNATIONAL
from node.ledger.merkle import merkle_root
from node.ledger.types import Authority, Header, Receipt
from node.receipts import ReceiptProblem, make_checkpoint
from tests.vectors import golden, independent
from tests.vectors.two_opinions import File, at, both_on, hex_fields, put

FOLDER = Path(__file__).parent
GENESIS = (FOLDER / "genesis.json").read_bytes()
CHECKPOINT = (FOLDER / "checkpoint.json").read_bytes()
NAMES = ("receipt.json", "receipt_refused.json", "receipt_later.json")


def load(name: str) -> File:
    document: File = json.loads((FOLDER / name).read_bytes())
    return document


def both(file: File | bytes, trust: bytes = GENESIS) -> ReceiptProblem | None:
    """What both implementations say of a file; they must agree."""
    return both_on(file, trust)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("trust", [GENESIS, CHECKPOINT], ids=["genesis", "checkpoint"])
def test_an_honest_file_verifies(name: str, trust: bytes) -> None:
    assert both(load(name), trust) is None


# --- every byte -----------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.evidence(
    "ACT13", asset="receipts", threat="a changed receipt file", mitigation="every byte is bound"
)
def test_a_change_of_any_byte_of_any_hex_field_is_refused_by_both(name: str) -> None:
    chance = random.Random(name)
    file = load(name)
    tried = 0
    for place in list(hex_fields(file)):
        good = bytes.fromhex(at(file, place))
        for position in range(len(good)):
            bad = bytearray(good)
            bad[position] ^= 1 << chance.randrange(8)
            put(file, place, bad.hex())
            assert both(file) is not None, (place, position)
            tried += 1
        for cut in (good[:-1], good + b"\0", b""):
            put(file, place, cut.hex())
            assert both(file) is not None, (place, "length")
            tried += 1
        put(file, place, good.hex())
    assert both(file) is None
    print(f"{name}: {tried} changes tried, {tried} refused by both implementations with the same code")
    assert tried > 800


# --- what is exchanged -----------------------------------------------


def other_world() -> golden.World:
    """The same transactions on another chain with the same sequencer."""
    return golden.populate(golden.World("another"))


def from_file(place: tuple[Any, ...], make: Callable[[], File]) -> Callable[[File], None]:
    """An edit: the field is that of another file."""
    return lambda file: put(file, place, at(make(), place))


def of(height: int, index: int, certified_height: int | None = None) -> Callable[[], File]:
    return lambda: golden.golden().receipt_file(height, index, certified_height)


def elsewhere(height: int, index: int, certified_height: int | None = None) -> Callable[[], File]:
    return lambda: other_world().receipt_file(height, index, certified_height)


def edit(**fields: Any) -> Callable[[File], None]:
    return lambda file: file.update(fields)


def certificate(**fields: Any) -> Callable[[File], None]:
    return lambda file: file["certificate"].update(fields)


def swap(first: str, second: str) -> Callable[[File], None]:
    return lambda file: file.update({first: file[second], second: file[first]})


def reverse(name: str) -> Callable[[File], None]:
    return lambda file: file[name].reverse()


def other_side(file: File) -> None:
    file["history_path"][0]["side"] = "left"


def all_of(*edits: Callable[[File], None]) -> Callable[[File], None]:
    def run(file: File) -> None:
        for one in edits:
            one(file)

    return run


P = ReceiptProblem
OWN, LATER = of(4, 6), of(4, 2, 9)
EDITS: dict[str, tuple[Callable[[], File], Callable[[File], None], ReceiptProblem]] = {
    "another format": (OWN, edit(format="vostro genesis"), P.MALFORMED),
    "no version": (OWN, lambda file: file.pop("version"), P.MALFORMED),
    "a version that is true": (OWN, edit(version=True), P.MALFORMED),
    "a name too many": (OWN, edit(note="approved"), P.MALFORMED),
    "a field missing": (OWN, lambda file: file.pop("leaf_path"), P.MALFORMED),
    "capital hex": (OWN, lambda file: file.update(app_hash=file["app_hash"].upper()), P.MALFORMED),
    "hex with a space": (OWN, lambda file: file.update(header=file["header"] + " "), P.MALFORMED),
    "a number for hex": (OWN, edit(leaf=1), P.MALFORMED),
    "null for a list": (OWN, edit(history_path=None), P.MALFORMED),
    "no keys": (OWN, edit(keys=[]), P.MALFORMED),
    "seventeen keys": (OWN, lambda file: file.update(keys=file["keys"][:1] * 17), P.MALFORMED),
    "a path of 65 steps": (OWN, lambda file: file.update(leaf_path=file["leaf_path"][:1] * 65), P.MALFORMED),
    "an unknown side": (LATER, lambda file: file["history_path"][0].update(side="up"), P.MALFORMED),
    "a certificate that is text": (OWN, edit(certificate="good"), P.MALFORMED),
    "a certificate with more": (OWN, certificate(note=""), P.MALFORMED),
    "a certificate of a number kind": (OWN, certificate(kind=1), P.MALFORMED),
    "hand-overs that are text": (OWN, edit(handovers="none"), P.MALFORMED),
    "an algorithm that is a lone surrogate": (
        OWN,
        lambda file: file["keys"][0].update(algorithm="\ud800"),
        P.MALFORMED,
    ),
    "a later version": (OWN, edit(version=2), P.VERSION_UNKNOWN),
    "the certificate of another engine": (OWN, certificate(kind="raft"), P.CERTIFICATE_UNKNOWN),
    "a hand-over": (OWN, edit(handovers=["00"]), P.HANDOVERS_UNKNOWN),
    "nothing for the transaction": (OWN, edit(transaction=""), P.BAD_ENCODING),
    "leaf for receipt": (OWN, swap("leaf", "receipt"), P.BAD_ENCODING),
    "all of another chain": (elsewhere(4, 6), edit(), P.OTHER_CHAIN),
    "the transaction of another chain": (OWN, from_file(("transaction",), elsewhere(4, 6)), P.OTHER_CHAIN),
    "the header of another chain": (OWN, from_file(("header",), elsewhere(4, 6)), P.OTHER_CHAIN),
    "the certified header of another chain": (
        LATER,
        from_file(("certified_header",), elsewhere(4, 2, 9)),
        P.OTHER_CHAIN,
    ),
    "keys in another order": (OWN, reverse("keys"), P.KEYS_DIFFER),
    "a key too few": (OWN, lambda file: file["keys"].pop(), P.KEYS_DIFFER),
    "a key under another algorithm": (
        OWN,
        lambda file: file["keys"][0].update(algorithm="p256"),
        P.KEYS_DIFFER,
    ),
    "another transaction": (LATER, from_file(("transaction",), of(4, 1)), P.LEAF_DIFFERS),
    "another leaf": (OWN, from_file(("leaf",), of(4, 5)), P.LEAF_DIFFERS),
    "another receipt of the block": (OWN, from_file(("receipt",), of(4, 5)), P.LEAF_NOT_IN_BLOCK),
    "the leaf's path of another place": (OWN, from_file(("leaf_path",), of(4, 5)), P.LEAF_NOT_IN_BLOCK),
    "the paths exchanged": (OWN, swap("leaf_path", "receipt_path"), P.LEAF_NOT_IN_BLOCK),
    "the leaf's path turned round": (OWN, reverse("leaf_path"), P.LEAF_NOT_IN_BLOCK),
    "the leaf's path too short": (OWN, lambda file: file["leaf_path"].pop(), P.LEAF_NOT_IN_BLOCK),
    "the leaf's path too long": (OWN, lambda file: file["leaf_path"].append("00" * 32), P.LEAF_NOT_IN_BLOCK),
    "the header of another block": (OWN, from_file(("header",), of(5, 0)), P.LEAF_NOT_IN_BLOCK),
    "the receipt's path of another place": (
        OWN,
        from_file(("receipt_path",), of(4, 5)),
        P.RECEIPT_NOT_IN_BLOCK,
    ),
    "no receipt's path": (OWN, edit(receipt_path=[]), P.RECEIPT_NOT_IN_BLOCK),
    "the app hash of another block": (OWN, from_file(("app_hash",), of(5, 0)), P.HEADER_DIFFERS),
    "a history path that leads nowhere": (
        OWN,
        lambda file: file.update(history_path=[{"side": "left", "hash": file["app_hash"]}]),
        P.NOT_IN_HISTORY,
    ),
    "a history path turned round": (LATER, reverse("history_path"), P.NOT_IN_HISTORY),
    "a history path cut short": (LATER, lambda file: file["history_path"].pop(), P.NOT_IN_HISTORY),
    "a node on the other side": (LATER, other_side, P.NOT_IN_HISTORY),
    "another later header": (LATER, from_file(("certified_header",), of(4, 2, 8)), P.NOT_IN_HISTORY),
    "an earlier header": (
        LATER,
        lambda file: file.update(certified_header=of(2, 0)()["header"]),
        P.NOT_IN_HISTORY,
    ),
    "the block's own header as the later one": (
        LATER,
        lambda file: file.update(certified_header=file["header"]),
        P.NOT_IN_HISTORY,
    ),
    "the certificate of another height": (OWN, from_file(("certificate",), of(5, 0)), P.BAD_CERTIFICATE),
    "the certificate of another chain": (
        OWN,
        from_file(("certificate",), elsewhere(4, 6)),
        P.BAD_CERTIFICATE,
    ),
    "the certificate of the own header for a later one": (
        LATER,
        from_file(("certificate",), OWN),
        P.BAD_CERTIFICATE,
    ),
}


@pytest.mark.parametrize("what", EDITS)
@pytest.mark.evidence(
    "ACT13", asset="receipts", threat="a changed receipt file", mitigation="every byte is bound"
)
def test_what_was_exchanged_is_refused_by_both_for_the_same_reason(what: str) -> None:
    make, change, problem = EDITS[what]
    file = make()
    change(file)
    assert both(file) is problem


# --- what an unsound sequencer would certify -----------------------------------------------


def certified(header: Header, file: File) -> File:
    """The file with another header, certified by the chain's own sequencer."""
    encoded = codec.encode(header)
    app_hash = INTERNATIONAL.digest(hashing.HEADER + encoded)
    signature = golden.SEQUENCER.sign(hashing.SIGN_HEADER + header.chain + app_hash)
    return {
        **file,
        "header": encoded.hex(),
        "app_hash": app_hash.hex(),
        "certificate": {"kind": "embedded", "signature": signature.hex()},
    }


def header_of(file: File) -> Header:
    header: Header = codec.decoder(Header)(bytes.fromhex(file["header"]))
    return header


def alone_with(receipt: Receipt) -> File:
    """A certified block that holds the transaction of height 5 alone, with this receipt."""
    file = golden.golden().receipt_file(5, 0)
    encoded = codec.encode(receipt)
    file["receipt"] = encoded.hex()
    return certified(
        replace(header_of(file), receipts_root=merkle_root(INTERNATIONAL.digest, [encoded])), file
    )


def receipt_of(file: File) -> Receipt:
    receipt: Receipt = codec.decoder(Receipt)(bytes.fromhex(file["receipt"]))
    return receipt


@pytest.mark.evidence(
    "ACT10",
    asset="receipts",
    threat="an operator forges a receipt",
    mitigation="hashes and signatures bind every field",
)
def test_a_receipt_of_another_transaction_or_height_is_refused_even_where_it_is_certified() -> None:
    honest = receipt_of(golden.golden().receipt_file(5, 0))
    assert both(alone_with(honest)) is None
    assert both(alone_with(replace(honest, tx_id=bytes(32)))) is P.RECEIPT_DIFFERS
    assert both(alone_with(replace(honest, height=6))) is P.RECEIPT_DIFFERS


@pytest.mark.evidence(
    "ACT10",
    asset="receipts",
    threat="an operator forges a receipt",
    mitigation="hashes and signatures bind every field",
)
def test_a_bad_signature_of_a_member_is_refused_even_where_it_is_certified() -> None:
    file = golden.golden().receipt_file(5, 0)
    signed = bytearray.fromhex(file["transaction"])
    signed[-1] ^= 1
    leaf = independent.decode(bytes.fromhex(file["leaf"]))
    assert isinstance(leaf, tuple)
    encoded = independent.encode((*leaf[:3], independent.tagged("vostro/signed/1", bytes(signed))))
    file.update(transaction=signed.hex(), leaf=encoded.hex())
    header = replace(header_of(file), transactions_root=merkle_root(INTERNATIONAL.digest, [encoded]))
    assert both(certified(header, file)) is P.BAD_SIGNATURE


def test_a_header_that_names_another_authority_is_refused() -> None:
    file = golden.golden().receipt_file(5, 0)
    assert both(certified(replace(header_of(file), authority_root=bytes(32)), file)) is P.AUTHORITY_DIFFERS


@pytest.mark.evidence(
    "ACT10",
    asset="receipts",
    threat="an operator forges a receipt",
    mitigation="hashes and signatures bind every field",
)
def test_a_header_that_another_key_signed_is_refused() -> None:
    file = golden.golden().receipt_file(5, 0)
    message = hashing.SIGN_HEADER + golden.golden().chain_id + bytes.fromhex(file["app_hash"])
    file["certificate"]["signature"] = golden.NODE.sign(message).hex()
    assert both(file) is P.BAD_CERTIFICATE


@pytest.mark.parametrize(
    ("powers", "problem"), [((2, 1), P.NO_SEQUENCER), ((21, 10), None), ((10, 21), P.BAD_CERTIFICATE)]
)
def test_a_single_signature_certifies_only_with_more_than_two_thirds_of_the_power(
    powers: tuple[int, int], problem: ReceiptProblem | None
) -> None:
    keys = (golden.SEQUENCER.public_key, golden.NODE.public_key)
    authority = tuple([Authority("ed25519", key, power) for key, power in zip(keys, powers, strict=True)])
    world = golden.golden()
    file = world.receipt_file(5, 0)
    file = certified(replace(header_of(file), authority_root=authority_root(INTERNATIONAL, authority)), file)
    checkpoint = {**json.loads(CHECKPOINT), "authority": to_json(authority)}
    assert both(file, json.dumps(checkpoint).encode()) is problem


# --- what is trusted -----------------------------------------------


def test_a_checkpoint_pins_the_header_at_its_height() -> None:
    world = golden.golden()
    pinned = make_checkpoint(world.genesis, world.store.headers(4, 1)[0].header)
    forked = write_document({**pinned, "app_hash": "00" * 32})
    assert both(world.receipt_file(4, 6), write_document(pinned)) is None
    assert both(world.receipt_file(4, 6), forked) is P.CHECKPOINT_CONTRADICTED
    assert both(world.receipt_file(4, 6, 9), forked) is P.CHECKPOINT_CONTRADICTED
    assert both(world.receipt_file(3, 0, 4), forked) is P.CHECKPOINT_CONTRADICTED
    assert both(world.receipt_file(5, 0), forked) is None


def test_the_genesis_and_the_checkpoint_of_another_chain_are_refused() -> None:
    other = other_world()
    head = other.store.headers(9, 1)[0].header
    assert both(load("receipt.json"), format_genesis(other.genesis)) is P.OTHER_CHAIN
    assert both(load("receipt.json"), write_document(make_checkpoint(other.genesis, head))) is P.OTHER_CHAIN


@pytest.mark.parametrize(
    ("trust", "problem"),
    [
        (b"", P.TRUST_MALFORMED),
        (b"[]", P.TRUST_MALFORMED),
        (b"{}", P.TRUST_MALFORMED),
        ((FOLDER / "receipt.json").read_bytes(), P.TRUST_MALFORMED),
        (GENESIS.replace(b'"international"', b'"esperanto"'), P.TRUST_MALFORMED),
        (CHECKPOINT.replace(b'"international"', b'"esperanto"'), P.TRUST_MALFORMED),
        (GENESIS.replace(b'"limits"', b'"bounds"'), P.TRUST_MALFORMED),
        (CHECKPOINT.replace(b'"version": 1', b'"version": 2'), P.VERSION_UNKNOWN),
        (GENESIS.replace(b'"lifetime_ms": 600000', b'"lifetime_ms": 600001'), P.OTHER_CHAIN),
    ],
)
def test_what_cannot_be_trusted_is_told_before_the_file_is_judged(
    trust: bytes, problem: ReceiptProblem
) -> None:
    assert both(load("receipt.json"), trust) is problem


TEXTS: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda _: b"",
    "a list": lambda data: b"[" + data + b"]",
    "cut short": lambda data: data[:-10],
    "something behind": lambda data: data + b"{}",
    "UTF-16": lambda data: data.decode().encode("utf-16"),
    "a byte that is not UTF-8": lambda data: data.replace(b"embedded", b"embedde\xff"),
    "a float": lambda data: data.replace(b'"version": 1', b'"version": 1.0'),
    "not a number": lambda data: data.replace(b'"version": 1', b'"version": NaN'),
    "a name given twice": lambda data: data.replace(b'"version": 1', b'"version": 1, "version": 1'),
    "a number of ten thousand digits": lambda data: data.replace(
        b'"version": 1', b'"version": ' + b"9" * 10_000
    ),
    "a hundred thousand brackets": lambda data: data.replace(
        b'"handovers": []', b'"handovers": ' + b"[" * 100_000
    ),
}


@pytest.mark.parametrize("what", TEXTS)
def test_a_file_that_is_not_the_json_it_should_be_is_refused_by_both(what: str) -> None:
    assert both(TEXTS[what]((FOLDER / "receipt.json").read_bytes())) is P.MALFORMED


def test_every_problem_has_a_case() -> None:
    reached = {problem for _, _, problem in EDITS.values()}
    elsewhere_in_this_file = {
        *(P.TRUST_MALFORMED, P.BAD_SIGNATURE, P.RECEIPT_DIFFERS, P.CHECKPOINT_CONTRADICTED),
        *(P.AUTHORITY_DIFFERS, P.NO_SEQUENCER),
    }
    of_validators = {problem for problem in ReceiptProblem if problem.code > P.BAD_CERTIFICATE.code}
    assert reached | elsewhere_in_this_file | of_validators == set(ReceiptProblem)
