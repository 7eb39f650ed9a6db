"""What CometBFT's own code makes of votes and proposals, and what its file signer would sign after what:
privval.json was made with it, and ours agrees.
"""

import json
from collections import Counter
from pathlib import Path

import pytest

from node.engine.cometbft.guard import (
    LastVote,
    Position,
    SigningRefused,
    Step,
    extension_sign_bytes,
    judge,
    proposal_sign_bytes,
    vote_sign_bytes,
)
from node.pb.cometbft.privval.v1 import privval_pb2 as wire

VECTORS = json.loads((Path(__file__).parent / "privval.json").read_text())
CHAIN = "test_chain_id"
CONTENTS = {"same": (1, 0), "later": (1, 1), "other": (9, 0), "nil": (0, 0)}


def test_sign_bytes_are_those_of_cometbft() -> None:
    tried: Counter[str] = Counter()
    for kind, chain, message, sign_bytes, extension in VECTORS["sign_bytes"]:
        if kind == "vote":
            vote = wire.Vote.FromString(bytes.fromhex(message))
            assert vote_sign_bytes(chain, vote).hex() == sign_bytes
            assert extension_sign_bytes(chain, vote).hex() == extension
        else:
            proposal = wire.Proposal.FromString(bytes.fromhex(message))
            assert proposal_sign_bytes(chain, proposal).hex() == sign_bytes
        tried[kind] += 1
    print(f"sign bytes: {tried['vote']} votes with their extensions, {tried['proposal']} proposals agree")
    assert min(tried["vote"], tried["proposal"]) > 50


def sign_bytes(height: int, round_: int, step: Step, content: str) -> bytes:
    """The canonical bytes of a content of the table; the block ids are any that differ."""
    seed, seconds = CONTENTS[content]
    block_id = wire.BlockID()
    if seed:
        parts = wire.PartSetHeader(total=seed, hash=bytes([seed]) * 32)
        block_id = wire.BlockID(hash=bytes([seed]) * 32, part_set_header=parts)
    if step is Step.PROPOSE:
        proposal = wire.Proposal(height=height, round=round_, pol_round=-1, block_id=block_id)
        proposal.timestamp.seconds = 1_767_225_600 + seconds
        return proposal_sign_bytes(CHAIN, proposal)
    kind = wire.SIGNED_MSG_TYPE_PREVOTE if step is Step.PREVOTE else wire.SIGNED_MSG_TYPE_PRECOMMIT
    vote = wire.Vote(type=kind, height=height, round=round_, block_id=block_id)
    vote.timestamp.seconds = 1_767_225_600 + seconds
    return vote_sign_bytes(CHAIN, vote)


@pytest.mark.evidence(
    "VAL1",
    asset="validators' keys",
    threat="two votes of one position",
    mitigation="a guard as CometBFT's own",
)
def test_the_guard_decides_every_transition_as_cometbft_does() -> None:
    tried: Counter[str] = Counter()
    for row in VECTORS["transitions"]:
        last_step, position, content, wanted = row.split()
        height, round_, step = (int(part) for part in position.split("."))
        signed = sign_bytes(5, 2, Step(int(last_step)), "same")
        last = LastVote(CHAIN, "", 5, 2, Step(int(last_step)), signed.hex(), "aa" * 64)
        asked = Position(height, round_, Step(step))
        try:
            before = judge(last, asked, sign_bytes(height, round_, Step(step), content))
        except SigningRefused:
            got = "refused"
        else:
            got = "again" if before else "new"
            assert before in {None, (signed, bytes.fromhex("aa" * 64))}
        assert got == wanted, row
        tried[got] += 1
    print(f"transitions of (height, round, step): {sum(tried.values())} tried, {dict(tried)}")
    assert tried == {"new": 156, "refused": 162, "again": 6}
