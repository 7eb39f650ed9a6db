"""The light client against what real nodes of CometBFT signed (cometbft.json), and against the second
implementation.
"""

import json
import random
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from node.engine.cometbft import light
from node.engine.cometbft.answers import AnswerRefused, read_signed_header
from node.engine.cometbft.light import CommitRefused, SignedHeader, check_signed_header
from node.keys.verify import InternationalVerifier
from node.ledger import codec
from node.ledger.types import Authority
from tests.vectors import independent, independent_receipts

RECORDED = json.loads((Path(__file__).parent / "cometbft.json").read_bytes())
VERIFIER = InternationalVerifier()


class Answer(NamedTuple):
    """What the RPC said of a height."""

    run: str
    what: str
    commit: dict[str, Any]
    validators: list[dict[str, Any]]

    @property
    def signed(self) -> SignedHeader:
        return read_signed_header(self.commit, self.validators)


def answers() -> Iterator[Answer]:
    for run in RECORDED["runs"]:
        for entry in run["heights"]:
            yield Answer(run["name"], entry["what"], entry["commit"], entry["validators"])


ANSWERS = list(answers())
NAMES = [f"{answer.run}: {answer.what}" for answer in ANSWERS]
CHANGED = [(before, after) for before, after in pairwise(ANSWERS) if "hands over" in before.what]


@pytest.mark.parametrize("answer", ANSWERS, ids=NAMES)
def test_what_cometbft_signed_is_certified_by_both_implementations(answer: Answer) -> None:
    signed = answer.signed
    check_signed_header(signed, VERIFIER)
    assert light.header_hash(signed.header).hex().upper() == answer.commit["commit"]["block_id"]["hash"]
    decoded = independent.read(codec.encode(signed), independent_receipts.SIGNED_HEADER)
    assert independent_receipts.comet_header_hash(decoded[1]) == light.header_hash(signed.header)
    assert independent_receipts.set_hash(decoded[5]) == signed.header.validators_hash
    for vote, check in zip(decoded[6], light.checks_of(signed), strict=True):
        assert independent_receipts.vote_message(decoded, vote) == check.message
        assert independent.is_signed("ed25519", check.public_key, check.message, check.signature)


def test_the_recording_holds_what_it_should() -> None:
    sizes = {len(answer.validators) for answer in ANSWERS}
    absent = [
        vote for a in ANSWERS for vote in a.commit["commit"]["signatures"] if vote["block_id_flag"] == 1
    ]
    assert (len(ANSWERS), sizes, len(CHANGED)) == (12, {1, 4, 5}, 3)
    assert absent
    assert any(not answer.signed.header.last_block.hash for answer in ANSWERS)


@pytest.mark.parametrize("pair", CHANGED, ids=[before.what for before, _ in CHANGED])
def test_a_header_names_the_set_of_the_next_height(pair: tuple[Answer, Answer]) -> None:
    before, after = (answer.signed for answer in pair)
    assert after.height == before.height + 1
    assert before.header.next_validators_hash == light.validators_hash(after.validators)
    assert before.header.validators_hash != before.header.next_validators_hash


@pytest.mark.parametrize("answer", ANSWERS, ids=NAMES)
def test_a_set_keeps_cometbfts_order_and_addresses(answer: Answer) -> None:
    signed = answer.signed
    authority = light.authority_of(signed.validators)
    assert light.validators_of(authority) == signed.validators
    addresses = [light.address(one.public_key).hex().upper() for one in signed.validators]
    assert addresses == [entry["address"] for entry in answer.validators]


@pytest.mark.evidence(
    "CFT1", asset="receipts", threat="a forged commit", mitigation="more than two thirds of the power signed"
)
def test_every_changed_byte_of_a_real_commit_is_refused() -> None:
    chance = random.Random(4)
    tried = 0
    for answer in ANSWERS:
        good = codec.encode(answer.signed)
        for position in range(len(good)):
            bad = bytearray(good)
            bad[position] ^= 1 << chance.randrange(8)
            with pytest.raises((CommitRefused, codec.NotCanonical)):
                check_signed_header(light.decode_signed_header(bytes(bad)), VERIFIER)
            tried += 1
    print(f"cometbft.json: {tried} changes of {len(ANSWERS)} signed headers tried, {tried} refused")
    assert tried > 8_000


FOUR = next(answer for answer in ANSWERS if answer.run == "four validators")


@pytest.mark.evidence(
    "CFT1", asset="receipts", threat="a forged commit", mitigation="more than two thirds of the power signed"
)
def test_more_than_two_thirds_means_strictly_more() -> None:
    signed = FOUR.signed
    for count, enough in ((1, False), (2, False), (3, True)):
        assert light.has_two_thirds(replace(signed, votes=signed.votes[:count])) is enough
    three = replace(signed, validators=signed.validators[:3], votes=signed.votes[:2])
    voters = tuple([replace(vote, validator=place) for place, vote in enumerate(three.votes)])
    assert light.powers(replace(three, votes=voters)) == (2, 3)
    assert not light.has_two_thirds(replace(three, votes=voters))


@pytest.mark.evidence(
    "CFT1", asset="receipts", threat="a forged commit", mitigation="more than two thirds of the power signed"
)
def test_absent_votes_and_votes_for_nil_are_not_counted() -> None:
    commit = json.loads(json.dumps(FOUR.commit))
    voted = [vote for vote in commit["commit"]["signatures"] if vote["block_id_flag"] == 2]
    voted[0]["block_id_flag"] = 3
    signed = read_signed_header(commit, FOUR.validators)
    assert len(signed.votes) == 2
    with pytest.raises(CommitRefused, match="votes of 2 of 4"):
        check_signed_header(signed, VERIFIER)


ANSWERS_REFUSED: dict[str, Callable[[Any, Any], object]] = {
    "votes of another header": lambda c, _: c["header"].update(height="4"),
    "a vote too few": lambda c, _: c["commit"]["signatures"].pop(),
    "votes of another validator": lambda c, _: c["commit"]["signatures"].reverse(),
    "another kind of key": lambda _, v: v[0]["pub_key"].update(type="tendermint/PubKeySecp256k1"),
    "a key that is no base64": lambda _, v: v[0]["pub_key"].update(value="!"),
    "a key that is too short": lambda _, v: v[0]["pub_key"].update(value="AAAA"),
    "no power": lambda _, v: v[0].update(voting_power="0"),
    "a time that is none": lambda c, _: c["commit"]["signatures"][1].update(timestamp="yesterday"),
    "no header": lambda c, _: c.pop("header"),
    "a null": lambda c, _: c.update(commit=None),
    "a round below zero": lambda c, _: c["commit"].update(round=-1),
}


@pytest.mark.parametrize("what", ANSWERS_REFUSED)
def test_an_answer_that_is_not_what_it_should_be_is_refused(what: str) -> None:
    commit, validators = json.loads(json.dumps([FOUR.commit, FOUR.validators]))
    ANSWERS_REFUSED[what](commit, validators)
    with pytest.raises(AnswerRefused):
        read_signed_header(commit, validators)


def test_a_signed_header_that_its_set_did_not_certify_is_refused_with_a_reason() -> None:
    signed = FOUR.signed
    head = signed.votes[0]
    cases = {
        "not those that the header names": replace(signed, validators=signed.validators[::-1]),
        "two of one validator": replace(signed, votes=(head, *signed.votes)),
        "votes of 2 of 4": replace(signed, votes=signed.votes[:2]),
        "does not verify": replace(signed, round=1),
    }
    for reason, bad in cases.items():
        with pytest.raises(CommitRefused, match=reason):
            check_signed_header(bad, VERIFIER)


def test_only_ed25519_keys_can_be_validators() -> None:
    with pytest.raises(ValueError, match="ed25519"):
        light.validators_of((Authority("p256", bytes(33), 1),))


def test_the_name_that_cometbft_knows_a_chain_by_fits_its_bound() -> None:
    name = light.comet_chain_id(bytes(range(32)))
    assert name == "vostro-000102030405060708090a0b0c0d0e0f"
    assert len(name) == 39


def test_a_votes_bytes_are_those_of_cometbfts_own_test() -> None:
    """From types/vote_test.go of CometBFT: a precommit for nil at height 1 and round 1, without a chain."""
    year_one = -62_135_596_800  # Go's zero time, which no vote here can have, takes ten digits of seven bits
    time = bytes([0x2A, 0xB, 0x8]) + bytes([0x80, 0x92, 0xB8, 0xC3, 0x98, 0xFE, 0xFF, 0xFF, 0xFF, 0x1])
    assert light.vote_bytes("", 1, 1, b"", year_one + 2**64, 0) == bytes(
        [0x21, 0x8, 0x2, 0x11, 1, 0, 0, 0, 0, 0, 0, 0, 0x19, 1, 0, 0, 0, 0, 0, 0, 0, *time]
    )
