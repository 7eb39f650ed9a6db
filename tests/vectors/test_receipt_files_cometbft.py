"""Receipt files that validators certify, against both implementations: honest ones verify; forged, mixed and
incomplete ones are refused by both for one reason.
"""

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from node.engine.cometbft import light
from node.engine.cometbft.light import SequencerHeader, SignedHeader, Validator
from node.json_form import to_json
from node.keys.signer import Ed25519Signer
from node.ledger import codec
from node.ledger.types import Authority
from node.receipts import ReceiptProblem
from tests.vectors import golden, golden_cometbft
from tests.vectors.golden_cometbft import SIGNERS, A, B, C, Powers, authority, checkpoint, header, signed
from tests.vectors.two_opinions import File, at, both_on, hex_fields, put

FOLDER = Path(__file__).parent
GENESIS = (FOLDER / "genesis_cometbft.json").read_bytes()
CHECKPOINT = (FOLDER / "checkpoint_cometbft.json").read_bytes()
SEQUENCED = (FOLDER / "genesis.json").read_bytes()
P = ReceiptProblem
CONSORTIUM = golden_cometbft.consortium()
CHAIN = CONSORTIUM.chain_id
OTHER_CHAIN = golden_cometbft.Consortium("another").chain_id
NEWEST = CONSORTIUM.newest
HANDOVERS = [link for link in NEWEST.handovers if isinstance(link, SignedHeader)]
HEAD = NEWEST.signed.header.app_hash
D: Powers = {0: 5, 4: 1}

Link = SignedHeader | SequencerHeader


def load(name: str) -> File:
    document: File = json.loads((FOLDER / name).read_bytes())
    return document


def both(file: File, trust: bytes = GENESIS) -> ReceiptProblem | None:
    return both_on(file, trust)


def in_file(link: Link) -> File:
    """A link as a file has it."""
    if isinstance(link, SignedHeader):
        return {"kind": "cometbft", "signed_header": codec.encode(link).hex()}
    key = {"algorithm": link.algorithm, "public_key": link.public_key.hex()}
    header_ = link.header.hex()
    return {"kind": "embedded", "header": header_, "key": key, "signature": link.signature.hex()}


def file_of(certificate: SignedHeader = NEWEST.signed, handovers: Sequence[Link] = HANDOVERS) -> File:
    """The frozen file with other links."""
    return {
        **load("receipt_cometbft.json"),
        "certificate": in_file(certificate),
        "handovers": [in_file(link) for link in handovers],
    }


def moved(certificate: SignedHeader | None = None, handovers: Sequence[Link] | None = None) -> File:
    """The frozen file of the chain that moved, with other links."""
    newest = golden_cometbft.Moved().newest
    return {
        **load("receipt_moved.json"),
        "certificate": in_file(certificate or newest.signed),
        "handovers": [in_file(link) for link in (newest.handovers if handovers is None else handovers)],
    }


def by(
    powers: Powers, height: int = 10, app_hash: bytes = HEAD, voters: Sequence[int] | None = None
) -> SignedHeader:
    """A certificate of a set."""
    return signed(header(CHAIN, height, app_hash, powers), powers, voters)


def handing(height: int, before: Powers, after: Powers) -> SignedHeader:
    """A hand-over."""
    return signed(header(CHAIN, height, bytes(32), before, after), before)


@pytest.mark.parametrize(
    ("name", "trust"),
    [
        ("receipt_cometbft.json", GENESIS),
        ("receipt_cometbft.json", CHECKPOINT),
        ("receipt_moved.json", SEQUENCED),
    ],
)
def test_an_honest_file_verifies(name: str, trust: bytes) -> None:
    assert both(load(name), trust) is None


def test_the_frozen_files_are_those_that_the_program_makes() -> None:
    for name, content in golden_cometbft.files().items():
        assert (FOLDER / name).read_bytes() == content, name


@pytest.mark.parametrize(
    ("name", "trust"), [("receipt_cometbft.json", GENESIS), ("receipt_moved.json", SEQUENCED)]
)
@pytest.mark.evidence(
    "ACT13", asset="receipts", threat="a changed receipt file", mitigation="every byte is bound"
)
def test_a_change_of_any_byte_of_what_certifies_is_refused_by_both(name: str, trust: bytes) -> None:
    chance = random.Random(name)
    file = load(name)
    tried: dict[str, int] = {}
    for place in [place for place in hex_fields(file) if place[0] in ("certificate", "handovers")]:
        good = bytes.fromhex(at(file, place))
        changed = []
        for position in range(len(good)):
            bad = bytearray(good)
            bad[position] ^= 1 << chance.randrange(8)
            changed.append(bytes(bad))
        for bad_bytes in (*changed, good[:-1], good + b"\0", b""):
            put(file, place, bad_bytes.hex())
            problem = both(file, trust)
            assert problem is not None, place
            tried[problem.name] = tried.get(problem.name, 0) + 1
        put(file, place, good.hex())
    assert both(file, trust) is None
    count = sum(tried.values())
    print(f"{name}: {count} changes tried, {count} refused by both with the same code: {tried}")
    assert count > 800


# --- what is exchanged, left out or forged -----------------------------------------------


def edited(link: SignedHeader, **fields: object) -> SignedHeader:
    return replace(link, **fields)


def with_vote(link: SignedHeader, place: int, **fields: object) -> SignedHeader:
    votes = list(link.votes)
    votes[place] = replace(votes[place], **fields)
    return replace(link, votes=tuple(votes))


def swapped_signatures(link: SignedHeader) -> SignedHeader:
    first, second, *rest = link.votes
    votes = (replace(first, signature=second.signature), replace(second, signature=first.signature), *rest)
    return replace(link, votes=votes)


def raised(link: SignedHeader) -> SignedHeader:
    first, *rest = link.validators
    return replace(link, validators=(replace(first, power=first.power + 1), *rest))


def doubled() -> SignedHeader:
    """A set that names one key twice, under its true hash."""
    validators = (*light.validators_of(authority(C)), Validator(SIGNERS[4].public_key, 1))
    head = replace(NEWEST.signed.header, validators_hash=light.validators_hash(validators))
    return replace(NEWEST.signed, header=head, validators=validators)


SEQUENCER_LINK = golden_cometbft.sequencer_header(authority(A))
CERTIFIED_AFTER_MOVE = golden_cometbft.Moved().newest.signed
NIL = signed(header(CHAIN, 10, HEAD, C), C, (1, 3, 4), nil=(4,))
IN_PART: File = {"kind": "embedded", "header": "00", "signature": "00" * 64}

FILES: dict[str, tuple[Callable[[], File], ReceiptProblem]] = {
    "a certificate of an unknown kind": (
        lambda: {**file_of(), "certificate": {"kind": "raft"}},
        P.CERTIFICATE_UNKNOWN,
    ),
    "a hand-over of an unknown kind": (
        lambda: {**file_of(), "handovers": [{"kind": "raft"}]},
        P.HANDOVERS_UNKNOWN,
    ),
    "a hand-over that is text": (lambda: {**file_of(), "handovers": ["00"]}, P.MALFORMED),
    "a sequencer's hand-over without its key": (lambda: {**file_of(), "handovers": [IN_PART]}, P.MALFORMED),
    "a certificate with a signature besides": (
        lambda: {**file_of(), "certificate": {**in_file(NEWEST.signed), "signature": "00" * 64}},
        P.MALFORMED,
    ),
    "a signed header of another version": (lambda: file_of(edited(NEWEST.signed, version=2)), P.BAD_ENCODING),
    "no votes": (lambda: file_of(edited(NEWEST.signed, votes=())), P.BAD_ENCODING),
    "a validator without power": (
        lambda: file_of(
            edited(NEWEST.signed, validators=(Validator(bytes(32), 0), *NEWEST.signed.validators))
        ),
        P.BAD_ENCODING,
    ),
    # two chains mixed
    "the certificate of another chain": (
        lambda: file_of(signed(header(OTHER_CHAIN, 10, HEAD, C), C)),
        P.OTHER_VALIDATORS_CHAIN,
    ),
    "a hand-over of another chain": (
        lambda: file_of(handovers=[signed(header(OTHER_CHAIN, 5, HEAD, A, B), A), HANDOVERS[1]]),
        P.OTHER_VALIDATORS_CHAIN,
    ),
    "a sequencer's header of another chain": (
        lambda: file_of(by(A), [SEQUENCER_LINK]),
        P.OTHER_VALIDATORS_CHAIN,
    ),
    # wrong order
    "hand-overs in another order": (lambda: file_of(handovers=HANDOVERS[::-1]), P.OUT_OF_ORDER),
    "a hand-over twice": (lambda: file_of(handovers=[HANDOVERS[0], *HANDOVERS]), P.OUT_OF_ORDER),
    "a certificate below its hand-over": (lambda: file_of(by(C, 8)), P.OUT_OF_ORDER),
    "a certificate at the height that it certifies": (lambda: file_of(by(C, 9)), P.OUT_OF_ORDER),
    # wrong sets
    "the set before for the set that signed": (
        lambda: file_of(edited(NEWEST.signed, validators=HANDOVERS[1].validators)),
        P.SET_DIFFERS,
    ),
    "a set in another order": (
        lambda: file_of(edited(NEWEST.signed, validators=NEWEST.signed.validators[::-1])),
        P.SET_DIFFERS,
    ),
    "a validator with more power": (lambda: file_of(raised(NEWEST.signed)), P.SET_DIFFERS),
    "a validator of a hand-over with more power": (
        lambda: file_of(handovers=[raised(HANDOVERS[0]), HANDOVERS[1]]),
        P.SET_DIFFERS,
    ),
    "a validator twice": (lambda: file_of(doubled()), P.SET_DIFFERS),
    # the trusted authority, and gaps
    "a set that genesis does not name": (lambda: file_of(by(B), []), P.AUTHORITY_DIFFERS),
    "the first hand-over left out": (lambda: file_of(handovers=HANDOVERS[1:]), P.AUTHORITY_DIFFERS),
    "the last hand-over left out": (lambda: file_of(handovers=HANDOVERS[:1]), P.HANDOVER_MISSING),
    "all hand-overs left out": (lambda: file_of(handovers=[]), P.AUTHORITY_DIFFERS),
    "a hand-over in the middle left out": (
        lambda: file_of(by(D, 12), [*HANDOVERS[:1], handing(10, C, D)]),
        P.HANDOVER_MISSING,
    ),
    "a set that nobody handed over to": (lambda: file_of(by(D)), P.HANDOVER_MISSING),
    "a retired set's certificate behind its hand-over": (lambda: file_of(by(A)), P.HANDOVER_MISSING),
    "a retired set's hand-over": (
        lambda: file_of(by(D, 12), [*HANDOVERS, handing(11, A, D)]),
        P.HANDOVER_MISSING,
    ),
    # votes
    "a vote twice": (
        lambda: file_of(edited(NEWEST.signed, votes=(NEWEST.signed.votes[0], *NEWEST.signed.votes))),
        P.VOTES_MALFORMED,
    ),
    "votes in another order": (
        lambda: file_of(edited(NEWEST.signed, votes=NEWEST.signed.votes[::-1])),
        P.VOTES_MALFORMED,
    ),
    "a vote of nobody": (lambda: file_of(with_vote(NEWEST.signed, -1, validator=4)), P.VOTES_MALFORMED),
    "a hand-over with a vote of nobody": (
        lambda: file_of(handovers=[with_vote(HANDOVERS[0], -1, validator=4), HANDOVERS[1]]),
        P.VOTES_MALFORMED,
    ),
    # power
    "exactly two thirds of the power": (lambda: file_of(by(C, voters=(1, 3))), P.TOO_LITTLE_POWER),
    "half of the power": (
        lambda: file_of(handovers=[signed(header(CHAIN, 5, HEAD, A, B), A, (0, 1)), HANDOVERS[1]]),
        P.TOO_LITTLE_POWER,
    ),
    "three of four validators without the heavy one": (
        lambda: file_of(by(C, voters=(2, 3, 4))),
        P.TOO_LITTLE_POWER,
    ),
    "a vote for nil left out": (
        lambda: file_of(edited(NIL, votes=tuple(NIL.votes[:1] + NIL.votes[2:]))),
        P.TOO_LITTLE_POWER,
    ),
    # what is carried
    "the certificate of another header of ours": (
        lambda: file_of(by(C, 10, CONSORTIUM.store.headers(8, 1)[0].app_hash)),
        P.NOT_CARRIED,
    ),
    # signatures
    "a vote for nil counted": (lambda: file_of(NIL), P.BAD_CERTIFICATE),
    "signatures exchanged": (lambda: file_of(swapped_signatures(NEWEST.signed)), P.BAD_CERTIFICATE),
    "signatures of a hand-over exchanged": (
        lambda: file_of(handovers=[HANDOVERS[0], swapped_signatures(HANDOVERS[1])]),
        P.BAD_CERTIFICATE,
    ),
    "votes of another round": (lambda: file_of(edited(NEWEST.signed, round=1)), P.BAD_CERTIFICATE),
    "other parts": (lambda: file_of(edited(NEWEST.signed, parts_total=2)), P.BAD_CERTIFICATE),
    "a vote at another time": (
        lambda: file_of(with_vote(NEWEST.signed, 0, nanos=7)),
        P.BAD_CERTIFICATE,
    ),
    "votes for another height": (
        lambda: file_of(edited(by(C, 10), votes=by(C, 11).votes)),
        P.BAD_CERTIFICATE,
    ),
    "a header that nobody signed, with another following set": (
        lambda: file_of(
            by(D, 12),
            [*HANDOVERS, edited(handing(11, C, C), header=header(CHAIN, 11, bytes(32), C, D))],
        ),
        P.BAD_CERTIFICATE,
    ),
}


@pytest.mark.parametrize("what", FILES)
@pytest.mark.evidence(
    "ACT13", asset="receipts", threat="a changed receipt file", mitigation="every byte is bound"
)
def test_what_was_exchanged_or_forged_is_refused_by_both_for_the_same_reason(what: str) -> None:
    make, problem = FILES[what]
    assert both(make()) is problem


def as_authority(entries: Sequence[Authority]) -> list[File]:
    told: list[File] = to_json(tuple(entries))
    return told


STRANGER = Ed25519Signer(bytes([99]) * 32)
SIX = {**json.loads((FOLDER / "checkpoint.json").read_bytes()), "height": 6}
HALVES = [Authority("ed25519", one.public_key, 1) for one in (golden.SEQUENCER, STRANGER)]
MOVED: dict[str, tuple[Callable[[], File], File, ReceiptProblem | None]] = {
    "as it is": (moved, SIX, None),
    "a sequencer's signature by another key": (
        lambda: moved(handovers=[replace(SEQUENCER_LINK, signature=STRANGER.sign(b""))]),
        SIX,
        P.BAD_CERTIFICATE,
    ),
    "another key": (
        lambda: moved(handovers=[replace(SEQUENCER_LINK, public_key=STRANGER.public_key)]),
        SIX,
        P.AUTHORITY_DIFFERS,
    ),
    "another algorithm": (
        lambda: moved(handovers=[replace(SEQUENCER_LINK, algorithm="p256")]),
        SIX,
        P.AUTHORITY_DIFFERS,
    ),
    "no key with two thirds": (moved, {**SIX, "authority": as_authority(HALVES)}, P.NO_SEQUENCER),
    "another set than the sequencer named": (
        lambda: moved(handovers=[golden_cometbft.sequencer_header(authority(B))]),
        SIX,
        P.HANDOVER_MISSING,
    ),
    "no hand-over": (lambda: moved(handovers=[]), SIX, P.AUTHORITY_DIFFERS),
    "a hand-over of validators before it": (
        lambda: moved(handovers=[CERTIFIED_AFTER_MOVE, SEQUENCER_LINK]),
        SIX,
        P.OUT_OF_ORDER,
    ),
    "a sequencer behind validators": (
        lambda: moved(
            handovers=[signed(header(golden.golden().chain_id, 5, bytes(32), A), A), SEQUENCER_LINK]
        ),
        {**SIX, "height": 3, "authority": as_authority(authority(A))},
        P.OUT_OF_ORDER,
    ),
    "a sequencer's header that does not decode": (
        lambda: moved(handovers=[replace(SEQUENCER_LINK, header=b"\x90")]),
        SIX,
        P.BAD_ENCODING,
    ),
    "a certificate by the sequencer behind a hand-over": (
        lambda: {**moved(), "certificate": load("receipt.json")["certificate"]},
        SIX,
        P.HANDOVERS_UNKNOWN,
    ),
}


@pytest.mark.parametrize("what", MOVED)
def test_a_move_from_a_sequencer_to_validators_is_judged_alike_by_both(what: str) -> None:
    make, trust, problem = MOVED[what]
    assert both(make(), json.dumps(trust).encode()) is problem


# --- checkpoints -----------------------------------------------


@pytest.mark.parametrize(
    ("height", "powers", "problem"),
    [
        (1, A, None),
        (3, A, None),
        (4, A, P.AUTHORITY_DIFFERS),
        (4, B, None),
        (6, B, None),
        (7, B, P.AUTHORITY_DIFFERS),
        (7, C, None),
        (9, C, None),
        (9, A, P.AUTHORITY_DIFFERS),
    ],
)
def test_a_checkpoint_pins_the_set_that_signs_from_two_heights_later(
    height: int, powers: Powers, problem: ReceiptProblem | None
) -> None:
    assert both(file_of(), json.dumps(checkpoint(height, powers)).encode()) is problem


def test_a_checkpoint_needs_no_hand_over_from_before_it() -> None:
    trust = json.dumps(checkpoint(7, C)).encode()
    assert both(file_of(handovers=[]), trust) is None
    assert both(file_of(handovers=HANDOVERS[1:]), trust) is None
    assert both(file_of(handovers=HANDOVERS[:1]), trust) is P.HANDOVER_MISSING


def test_a_hand_over_from_before_a_checkpoint_must_be_sound_all_the_same() -> None:
    trust = json.dumps(checkpoint(7, C)).encode()
    bad = swapped_signatures(HANDOVERS[0])
    assert both(file_of(handovers=[bad, HANDOVERS[1]]), trust) is P.BAD_CERTIFICATE


def test_a_retired_set_can_forge_for_who_trusts_genesis_alone_and_not_past_a_checkpoint() -> None:
    forged = file_of(by(A), [])
    assert both(forged) is None
    assert both(forged, CHECKPOINT) is P.AUTHORITY_DIFFERS
    with_own = file_of(by(D, 12), [handing(11, A, D)])
    assert both(with_own) is None
    assert both(with_own, CHECKPOINT) is P.AUTHORITY_DIFFERS


def test_a_file_with_fewer_votes_above_two_thirds_proves_the_same() -> None:
    assert both(file_of(by(C, voters=(1, 2, 3, 4)))) is None
    assert both(file_of(by(C, voters=(1, 3, 4)))) is None


def test_every_problem_of_validators_has_a_case() -> None:
    reached = {problem for _, problem in FILES.values()}
    assert {problem for problem in P if problem.code > P.BAD_CERTIFICATE.code} <= reached
