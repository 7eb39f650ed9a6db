"""Decoders of what members, auditors and founders hand in: transactions, bundles, genesis documents, receipt
files and what is to be trusted.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from node.engine.cometbft.light import decode_signed_header
from node.genesis_file import GenesisRefused, check_genesis, format_genesis, parse_genesis
from node.keys.verify import VERIFIERS
from node.ledger import codec
from node.ledger.bundles import check_bundle, is_acceptable, prepare, signed_bundle
from node.ledger.errors import LedgerError, Rejected
from node.ledger.ports import Check
from node.ledger.types import Block, BundleBody, Event, NodeKey
from node.receipts import ReceiptRefused, verify_receipt_file
from node.receipts.document import (
    Certificate,
    Handover,
    ReceiptFile,
    ValidatorsCertificate,
    parse_receipt_file,
    parse_trust,
)
from node.receipts.explain import explain_event, explain_operation
from tests.fuzz.target import Target, expect
from tests.kit import Consortium, World, officer, op, pay

VECTORS: Final = Path(__file__).parent.parent / "vectors"
DOOR: Final = (
    LedgerError.TOO_LARGE,
    LedgerError.MALFORMED,
    LedgerError.WRONG_CHAIN,
    LedgerError.TOO_MUCH_WORK,
)


@cache
def world() -> World:
    """One consortium for all inputs."""
    return Consortium()


@cache
def transactions() -> tuple[bytes, ...]:
    """Signed transactions with operations of every contract."""
    bank = world()
    return (
        bank.make("PA", pay("PA/main", "KB/main", 5)),
        bank.make("PA", pay("PA/main", "KB/main", 5), op("transfers", "void", "PA/main", bytes(32))),
        bank.make("CNB", op("assets", "issue", "CZK", "PA/main", 7, "note")),
        bank.make(
            "PA", op("blacklist", "list", bytes(32), "fraud", bytes(32), bank.time_ms + 10**6), officers=()
        ),
        bank.make("ADMIN", op("members", "suspend", "GONE", "left")),
        bank.make("PA", op("nothing", "at_all", 1, "x", b"y"), op("members", "revoke_key", bytes(16))),
    )


def run_transaction(data: bytes) -> None:
    """What is parsed is canonical, has work, and is told to people without failing."""
    try:
        candidate = world().ledger.read(data)
    except Rejected as refused:
        expect(refused.error in DOOR, refused)
        return
    assert codec.encode(candidate.signed) == data
    assert codec.encode(candidate.transaction) == candidate.signed.transaction
    assert candidate.work > 0
    for operation in candidate.transaction.operations:
        told = explain_operation(operation)
        assert ("arguments" in told) or told["encoded"] == operation.arguments.hex()


def run_door(data: bytes) -> None:
    """The whole way into a block: judged at the door and run, with signatures taken for good."""
    trusting = _trusting()
    (outcome,) = trusting.ledger.finalize_block(
        Block(trusting.height + 1, trusting.time_ms + 1_000, (data,))
    ).outcomes
    assert outcome is not None


class Credulous:
    """A verifier that every signature passes, so that the fuzzer reaches what lies behind."""

    def verify(self, checks: Sequence[Check]) -> list[bool]:
        """All are good."""
        return [True] * len(checks)

    def is_valid_key(self, algorithm: str, public_key: bytes) -> bool:
        """As the real one."""
        return VERIFIERS["international"]().is_valid_key(algorithm, public_key)


@cache
def _trusting() -> World:
    return Consortium(verifier=Credulous())


@cache
def _nodes() -> dict[bytes, NodeKey]:
    signer = officer("node")
    return {signer.key_id: NodeKey(signer.algorithm, signer.public_key)}


def bundles() -> list[bytes]:
    """Bundles of one, of several and of no good transactions."""
    node, chain = officer("node"), world().ledger.chain
    made = [(transactions()[0],), transactions(), (transactions()[0][:-1],)]
    return [
        signed_bundle(chain, BundleBody(1, node.key_id, number, items), node.sign)
        for number, items in enumerate(made)
    ]


def run_bundle(data: bytes) -> None:
    """The predicate refuses or judges; what it judged can be proposed."""
    chain = world().ledger.chain
    try:
        judged = check_bundle(data, chain, _nodes(), Credulous())
    except Rejected as refused:
        expect(refused.error in (*DOOR, LedgerError.UNKNOWN_KEY), refused)
        return
    assert prepare([judged], chain.limits.block_bytes_max, chain) == [data]
    assert is_acceptable([judged], chain)
    assert not is_acceptable([judged, judged], chain)


def geneses() -> list[bytes]:
    """The genesis documents of the vectors."""
    paths = (VECTORS / "genesis.json", VECTORS / "genesis_cometbft.json", VECTORS / "guomi" / "genesis.json")
    return [path.read_bytes() for path in paths]


def run_genesis(data: bytes) -> None:
    """What is read reads back; what passes the check starts a chain."""
    try:
        genesis = parse_genesis(data)
        check_genesis(genesis)
    except GenesisRefused:
        return
    assert parse_genesis(format_genesis(genesis)) == genesis
    World(genesis)


def receipt_files() -> list[bytes]:
    """The receipt files of the vectors, of both kinds and both suites."""
    return [path.read_bytes() for path in sorted(VECTORS.glob("**/receipt*.json"))]


def trusts() -> list[bytes]:
    """The checkpoints and genesis documents of the vectors."""
    return [*geneses(), *(path.read_bytes() for path in sorted(VECTORS.glob("**/checkpoint*.json")))]


@cache
def _trusted() -> tuple[bytes, ...]:
    return tuple(trusts())


def run_receipt(data: bytes) -> None:
    """Whatever is trusted, a file is refused or verifies; nothing but the pinned files verifies, and what may
    be missing of them: hand-overs from before a checkpoint, and votes that two thirds can do without.
    """
    try:
        file = parse_receipt_file(data)
    except ReceiptRefused:
        return
    for trust in _trusted():
        try:
            verified = verify_receipt_file(data, trust)
        except ReceiptRefused:
            continue
        content, links = _content(file)
        known = _known()[content]
        assert known[-len(links) :] == links, verified
        assert verified.trust == "checkpoint" or known == links, verified


def _content(file: ReceiptFile) -> tuple[bytes, tuple[bytes, ...]]:
    """(all but who certified it, who certified it: each hand-over and the certificate, without the votes)."""
    links = tuple([_link(link) for link in (*file.handovers, file.certificate)])
    return codec.encode(replace(file, handovers=(), certificate=Certificate("embedded", bytes(64)))), links


def _link(link: Handover | Certificate) -> bytes:
    if not isinstance(link, ValidatorsCertificate):
        return codec.encode(link)
    signed = decode_signed_header(link.signed_header)
    return codec.encode(replace(signed, votes=()))


@cache
def _known() -> dict[bytes, tuple[bytes, ...]]:
    return dict([_content(parse_receipt_file(data)) for data in receipt_files()])


def run_trust(data: bytes) -> None:
    """A trust is refused or an anchor with somebody who certifies."""
    try:
        anchor = parse_trust(data)
    except ReceiptRefused:
        return
    assert anchor.authority


def events() -> list[bytes]:
    """The events of a receipt."""
    receipt = world().apply("PA", pay("PA/main", "KB/main", 1))
    return [codec.encode(event) for event in receipt.events]


def run_event(data: bytes) -> None:
    """An event of any release is told by its fields or by its bytes."""
    try:
        event: Event = codec.decoder(Event)(data)
    except codec.NotCanonical:
        return
    told = explain_event(event)
    assert ("fields" in told) or told["encoded"] == event.fields.hex()


TARGETS: Final = (
    Target("transaction", "msgpack", transactions, run_transaction),
    Target("door", "msgpack", transactions, run_door),
    Target("bundle", "msgpack", bundles, run_bundle),
    Target("genesis", "json", geneses, run_genesis),
    Target("receipt", "json", receipt_files, run_receipt),
    Target("trust", "json", trusts, run_trust),
    Target("event", "msgpack", events, run_event),
)
