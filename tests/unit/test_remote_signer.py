"""The remote signer: what it answers, what it refuses and alarms, and what it does when it is cut off."""

import asyncio
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from node.engine.cometbft.guard import Guard, GuardRefused, SigningRefused, delimited, vote_sign_bytes
from node.engine.cometbft.identity import hold_against_chain, hold_back
from node.engine.cometbft.rpc import RpcClient, RpcError
from node.engine.cometbft.signer import (
    PRECOMMITS_MAX,
    REQUEST_BYTES_MAX,
    RemoteSigner,
    SeenVote,
    is_ours_unsigned,
    serve,
)
from node.keys.signer import Ed25519Signer, P256Signer, SignerUnavailable
from node.keys.verify import VERIFIERS
from node.ledger.hashing import validator_address
from node.ledger.ports import Check
from node.pb.cometbft.privval.v1 import privval_pb2 as wire
from tests.byzantine import ByzantineSigner

CHAIN = "vostro-00112233445566778899aabbccddeeff"
KEY = Ed25519Signer(bytes(range(32)))
PREVOTE, PRECOMMIT = wire.SIGNED_MSG_TYPE_PREVOTE, wire.SIGNED_MSG_TYPE_PRECOMMIT
DEADLINE = 20.0


class World:
    """A record, its signer, and the alarms."""

    def __init__(self, folder: Path) -> None:
        self.record = folder / "last-vote"
        Guard.create(self.record, CHAIN, KEY.public_key)
        self.alarms: list[str] = []
        self.remote = self.opened()

    def opened(self, make: Callable[..., RemoteSigner] = RemoteSigner, **options: object) -> RemoteSigner:
        return make(KEY, CHAIN, self.record, self.alarms.append, **options)

    def again(self) -> RemoteSigner:
        self.remote.close()
        self.remote = self.opened()
        return self.remote


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.remote.close()


def vote(
    height: int, round_: int = 0, kind: int = PRECOMMIT, block: int = 1, seconds: int = 100
) -> wire.Vote:
    made = wire.Vote(type=kind, height=height, round=round_)  # type: ignore[arg-type]
    if block:
        made.block_id.hash = bytes([block]) * 32
        made.block_id.part_set_header.total = 1
        made.block_id.part_set_header.hash = bytes([block]) * 32
    made.timestamp.seconds = seconds
    return made


def asked(made: wire.Vote, chain: str = CHAIN) -> wire.Message:
    return wire.Message(sign_vote_request=wire.SignVoteRequest(vote=made, chain_id=chain))


def proposal(height: int, seconds: int = 100) -> wire.Message:
    made = wire.Proposal(type=wire.SIGNED_MSG_TYPE_PROPOSAL, height=height, pol_round=-1)
    made.block_id.CopyFrom(vote(1).block_id)
    made.timestamp.seconds = seconds
    return wire.Message(sign_proposal_request=wire.SignProposalRequest(proposal=made, chain_id=CHAIN))


def verifies(message: bytes, signature: bytes) -> bool:
    (verdict,) = VERIFIERS["international"]().verify([Check("ed25519", KEY.public_key, message, signature)])
    return bool(verdict)


def test_a_vote_is_signed_over_its_canonical_bytes_and_its_extension_apart(world: World) -> None:
    signed = world.remote.sign_vote(vote(1))
    assert verifies(vote_sign_bytes(CHAIN, vote(1)), signed.signature)
    assert signed.extension_signature
    assert not world.remote.sign_vote(vote(2, kind=PREVOTE)).extension_signature
    assert not world.remote.sign_vote(vote(2, block=0)).extension_signature


def test_the_key_the_ping_and_a_proposal_are_answered(world: World) -> None:
    key = world.remote.answer(wire.Message(pub_key_request=wire.PubKeyRequest(chain_id=CHAIN)))
    assert key.pub_key_response.pub_key.ed25519 == KEY.public_key
    pong = world.remote.answer(wire.Message(ping_request=wire.PingRequest()))
    assert pong.WhichOneof("sum") == "ping_response"
    assert world.remote.answer(proposal(1)).signed_proposal_response.proposal.signature
    assert world.alarms == []


def test_what_was_signed_is_given_again_with_its_first_time_across_restarts(world: World) -> None:
    first = world.remote.sign_vote(vote(3, seconds=100))
    for _ in range(2):
        later = world.again().sign_vote(vote(3, seconds=999))
        assert (later.signature, later.timestamp.seconds) == (first.signature, 100)
    one = world.remote.answer(proposal(4, 5)).signed_proposal_response.proposal
    two = world.again().answer(proposal(4, 6)).signed_proposal_response.proposal
    assert (two.signature, two.timestamp.seconds) == (one.signature, 5)


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (asked(vote(5, block=2)), "conflict"),
        (asked(vote(5, block=0)), "conflict"),
        (asked(vote(5, kind=PREVOTE)), "behind"),
        (asked(vote(4)), "behind"),
        (proposal(5), "behind"),
        (asked(vote(9), "another-chain"), "signs for"),
        (asked(vote(9, kind=wire.SIGNED_MSG_TYPE_PROPOSAL)), "neither"),
        (asked(vote(0)), "no height"),
        (asked(vote(9, -1)), "no round"),
        (asked(wire.Vote(type=PREVOTE, height=9, block_id=wire.BlockID(hash=b"short"))), "32 bytes"),
        (asked(wire.Vote(type=PREVOTE, height=9, extension=b"x")), "extension"),
    ],
)
def test_a_refusal_carries_no_signature_is_told_to_cometbft_and_alarmed(
    world: World, request_: wire.Message, text: str
) -> None:
    world.remote.sign_vote(vote(5))
    answered = world.remote.answer(request_)
    response = getattr(answered, answered.WhichOneof("sum") or "")
    assert text in response.error.description
    assert not getattr(
        response, "vote" if "vote" in response.DESCRIPTOR.fields_by_name else "proposal"
    ).signature
    assert len(world.alarms) == 1
    assert text in world.alarms[0]
    assert world.again().sign_vote(vote(6)).signature


@pytest.mark.evidence(
    "VAL3",
    asset="validators' keys",
    threat="a record that cannot be written",
    mitigation="no signature without a record",
)
def test_a_signature_that_could_not_be_kept_does_not_leave(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.engine.record.os.pwrite", lambda *_: 3)
    response = world.remote.answer(asked(vote(1))).signed_vote_response
    assert "cannot be kept" in response.error.description
    assert response.vote == wire.Vote()
    assert "cannot be kept" in world.alarms[0]


def test_a_key_that_is_out_of_reach_refuses_and_the_next_attempt_signs(world: World) -> None:
    class Flaky:
        public_key = KEY.public_key
        down = True

        def sign(self, message: bytes) -> bytes:
            if self.down:
                raise SignerUnavailable("the token is gone")
            return KEY.sign(message)

    world.remote.close()
    flaky = Flaky()
    world.remote = RemoteSigner(flaky, CHAIN, world.record, world.alarms.append)
    assert "token is gone" in world.remote.answer(asked(vote(1))).signed_vote_response.error.description
    flaky.down = False
    assert world.remote.answer(asked(vote(1))).signed_vote_response.vote.signature


@pytest.mark.evidence(
    "VAL4",
    asset="validators' keys",
    threat="the same validator runs twice",
    mitigation="a lock, and a look at the chain",
)
def test_the_guard_stands_on_a_record_of_its_own_validator_and_in_one_process(
    world: World, tmp_path: Path
) -> None:
    with pytest.raises(GuardRefused, match="runs twice"):
        world.opened()
    with pytest.raises(GuardRefused, match="missing"):
        Guard(tmp_path / "elsewhere", CHAIN, KEY.public_key)
    world.remote.close()
    for chain, key in (("other", KEY.public_key), (CHAIN, bytes(32))):
        with pytest.raises(GuardRefused, match="another chain or another validator"):
            Guard(world.record, chain, key)
    world.remote = world.opened()
    with pytest.raises(ValueError, match="Ed25519"):
        RemoteSigner(P256Signer(bytes([1] * 32)), CHAIN, world.record, world.alarms.append)


def test_a_record_made_above_a_height_signs_nothing_at_it_or_below(tmp_path: Path) -> None:
    Guard.create(tmp_path / "adopted", CHAIN, KEY.public_key, 100)
    remote = RemoteSigner(KEY, CHAIN, tmp_path / "adopted", lambda _: None)
    for height in (1, 99, 100):
        assert remote.answer(asked(vote(height, 7))).signed_vote_response.error.description
    assert remote.sign_vote(vote(101)).signature
    remote.close()


@pytest.mark.evidence(
    "VAL4",
    asset="validators' keys",
    threat="the same validator runs twice",
    mitigation="a lock, and a look at the chain",
)
def test_a_vote_of_our_key_that_was_not_given_here_is_noticed(world: World) -> None:
    world.remote.sign_vote(vote(10))
    remote = world.again()  # knows (10, 0) from the record, and everything above 10
    given = {height: remote.sign_vote(vote(height, 2)).signature for height in (11, 12)}
    ours, other = validator_address(KEY.public_key), bytes(20)
    assert ours == hashlib.sha256(KEY.public_key).digest()[:20]
    recorded = remote.own_votes.precommits[10, 0]
    cases = [
        (SeenVote(ours, 11, 2, given[11]), False),
        (SeenVote(ours, 11, 2), False),
        (SeenVote(ours, 11, 2, given[12]), True),
        (SeenVote(ours, 11, 1), True),
        (SeenVote(ours, 13, 0), True),
        (SeenVote(other, 13, 0), False),
        (SeenVote(ours, 10, 0, recorded), False),
        (SeenVote(ours, 10, 0, given[11]), True),
        (SeenVote(ours, 10, 1), False),
        (SeenVote(ours, 9, 0, given[11]), False),
    ]
    for seen, noticed in cases:
        assert is_ours_unsigned(seen, remote.own_votes) is noticed, seen
    print(f"votes seen on the chain: {len(cases)} tried, {sum(noticed for _, noticed in cases)} noticed")


class Chain:
    """CometBFT at height 12, which has pruned what is below 8 and is silent for its first answers. In every
    commit is a vote of our key.
    """

    def __init__(self, silent: int) -> None:
        self.silent = silent

    async def status(self) -> SimpleNamespace:
        return SimpleNamespace(height=12)

    async def commit(self, height: int) -> SimpleNamespace:
        self.silent -= 1
        if self.silent >= 0:
            raise RpcError("CometBFT did not answer commit within 5 s")
        if height < 8:
            raise RpcError("CometBFT refused: height is not available", answered=True)
        ours = validator_address(KEY.public_key).hex()
        signatures = [{"validator_address": ""}, {"validator_address": ours}]
        return SimpleNamespace(signed_header={"commit": {"round": 0, "signatures": signatures}})


@pytest.mark.asyncio
@pytest.mark.parametrize("silent", [0, 3])
async def test_nothing_is_signed_before_the_chain_was_seen_even_if_cometbft_is_slow_to_answer(
    world: World, silent: int
) -> None:
    world.remote.sign_vote(vote(10))
    remote = world.again()
    hold_back(remote)
    await hold_against_chain(remote, cast("RpcClient", Chain(silent)), world.alarms.append)
    assert len(world.alarms) == 1
    with pytest.raises(SigningRefused, match="the same identity runs twice"):
        remote.sign_vote(vote(13))


@pytest.mark.asyncio
async def test_commits_that_are_no_longer_there_keep_nobody_from_signing(world: World) -> None:
    for height in range(8, 13):
        world.remote.sign_vote(vote(height))
    hold_back(world.remote)
    await hold_against_chain(world.remote, cast("RpcClient", Chain(0)), world.alarms.append)
    assert world.remote.sign_vote(vote(13)).signature
    assert not world.alarms


def test_the_memory_of_precommits_is_bounded_and_what_it_forgot_proves_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.engine.record.os.pwrite", lambda _file, data, _at: len(data))
    for height in range(1, PRECOMMITS_MAX + 11):
        world.remote.sign_vote(vote(height))
    own = world.remote.own_votes
    assert (len(own.precommits), own.known_above) == (PRECOMMITS_MAX, 10)
    assert not is_ours_unsigned(SeenVote(own.address, 10, 0), own)
    assert is_ours_unsigned(SeenVote(own.address, 11, 1), own)


# --- over the socket --------------------------------------------------------------------------------------


class Listener:
    """CometBFT's side: listens, and asks whoever dials."""

    def __init__(self) -> None:
        self.dialed: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()

    async def start(self, path: Path) -> asyncio.Server:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.dialed.put_nowait((reader, writer))

        return await asyncio.start_unix_server(accept, path)

    async def ask(self, data: bytes) -> bytes:
        """One connection, one request; what came back, or nothing where the signer hung up."""
        reader, writer = await asyncio.wait_for(self.dialed.get(), DEADLINE)
        try:
            writer.write(data)
            size = await asyncio.wait_for(reader.readexactly(1), DEADLINE)
            return size + await asyncio.wait_for(reader.read(4_096), DEADLINE)
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""
        finally:
            writer.close()


@pytest.mark.asyncio
async def test_it_dials_again_whatever_ended_the_connection(world: World, tmp_path: Path) -> None:
    ping = delimited(wire.Message(ping_request=wire.PingRequest()).SerializeToString())
    pong = delimited(wire.Message(ping_response=wire.PingResponse()).SerializeToString())
    task = asyncio.create_task(serve(world.remote, tmp_path / "privval.sock"))  # nobody listens yet
    listener = Listener()
    server = await listener.start(tmp_path / "privval.sock")
    bad = [
        b"\xff" * 6,
        delimited(b"\xff" * 20),
        delimited(b""),
        b"\xff\xff\x7f",
        pong,
        delimited(bytes(REQUEST_BYTES_MAX + 1)),
    ]
    try:
        for request in bad:
            assert await listener.ask(ping) == pong
            assert await listener.ask(request) == b""
        assert await listener.ask(ping) == pong
    finally:
        task.cancel()
        server.close()
    assert len(world.alarms) == len(bad)
    print(f"malformed requests: {len(bad)} tried, each ended its connection only")


@pytest.mark.asyncio
async def test_a_listener_of_another_user_is_not_answered(world: World, tmp_path: Path) -> None:
    listener = Listener()
    server = await listener.start(tmp_path / "privval.sock")
    task = asyncio.create_task(serve(world.remote, tmp_path / "privval.sock", peer_uid=os.geteuid() + 1))
    try:
        assert await listener.ask(asked(vote(1)).SerializeToString()) == b""
    finally:
        task.cancel()
        server.close()
    assert "of user" in world.alarms[0]
    assert world.remote.guard.last.height == 0


# --- the validator that misbehaves ------------------------------------------------------------------------


def test_the_byzantine_signer_equivocates_skews_and_keeps_silent(world: World) -> None:
    world.remote.close()
    bad = world.opened(ByzantineSigner, equivocate=True)
    assert isinstance(bad, ByzantineSigner)
    one, two = bad.sign_vote(vote(5, block=1)), bad.sign_vote(vote(5, block=2))
    assert one.signature != two.signature
    pairs = bad.equivocations
    assert [verifies(vote_sign_bytes(CHAIN, v), v.signature) for pair in pairs for v in pair] == [True] * 4
    assert pairs[0][0].block_id != pairs[0][1].block_id
    bad.close()
    skewed = world.opened(ByzantineSigner, skew_seconds=3_600)
    assert skewed.sign_vote(vote(6)).timestamp.seconds > 1_700_000_000
    skewed.close()
    world.remote = world.opened(ByzantineSigner, silent_from=8)
    assert world.remote.answer(asked(vote(7))).signed_vote_response.vote.signature
    assert world.remote.answer(asked(vote(8))).signed_vote_response.error.description
