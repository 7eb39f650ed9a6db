"""Validators that misbehave with their key: they vote twice, at wrong times, or not at all. The chain goes
on, what is proved of them stands on the ledger, and power is taken only where four others remain.
"""

import asyncio
import base64
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from node.engine.cometbft.guard import Guard
from node.engine.cometbft.home import address, public_key
from node.engine.cometbft.rpc import RpcError
from node.engine.cometbft.signer import RemoteSigner
from node.keys.signer import Ed25519Signer
from node.ledger import codec
from node.ledger.running import contents
from node.ledger.types import Receipt
from node.pb.cometbft.privval.v1 import privval_pb2 as wire
from tests.byzantine import ByzantineSigner
from tests.comet_checks import check_consortium
from tests.engine.comet_bench import Consortium, Validator, applied, consortium, until

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(150)]

CLOCK_SECONDS = 5.0
"""How far block time may be from the clock while at most a third of the power tells another time."""


SILENCE_SECONDS = 40.0
"""Within so long eighty payments are decided though one of four does not vote."""


class Misbehaving:
    """Gives one validator's key to a signer that misbehaves."""

    def __init__(self, place: int, **how: Any) -> None:
        self.place, self.how = place, how
        self.signer: Any = None

    def __call__(self, validator: Validator) -> None:
        if validator.place == self.place:
            validator.make_remote = self.make

    def make(self, validator: Validator) -> RemoteSigner:
        key = Ed25519Signer(validator.keys.validator or b"")
        record = validator.folder / "last-vote"
        if not record.exists():
            Guard.create(record, validator.comet_chain, key.public_key)
        signer = ByzantineSigner(key, validator.comet_chain, record, validator.engine.alarm, **self.how)
        self.signer = signer
        return signer


def vote_json(vote: wire.Vote) -> dict[str, Any]:
    """A vote as CometBFT's RPC reads it."""
    moment = datetime.fromtimestamp(vote.timestamp.seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return {
        "type": vote.type,
        "height": str(vote.height),
        "round": vote.round,
        "block_id": {
            "hash": vote.block_id.hash.hex().upper(),
            "parts": {
                "total": vote.block_id.part_set_header.total,
                "hash": vote.block_id.part_set_header.hash.hex().upper(),
            },
        },
        "timestamp": f"{moment}.{vote.timestamp.nanos:09d}Z",
        "validator_address": vote.validator_address.hex().upper(),
        "validator_index": vote.validator_index,
        "signature": base64.b64encode(vote.signature).decode(),
        "extension": None,
        "extension_signature": None,
    }


async def accuse(judge: Validator, pair: tuple[wire.Vote, wire.Vote], power: int, total: int) -> None:
    """Hand two votes of one position to a node, as its peers would that saw both. Raises RpcError."""
    first, second = sorted(pair, key=lambda vote: vote.block_id.hash)
    header = await judge.rpc.header(first.height)
    evidence = {
        "vote_a": vote_json(first),
        "vote_b": vote_json(second),
        "TotalVotingPower": str(total),
        "ValidatorPower": str(power),
        "Timestamp": header["time"],
    }
    wrapped = {"type": "tendermint/DuplicateVoteEvidence", "value": evidence}
    await judge.rpc._call("broadcast_evidence", {"evidence": wrapped}, None)


async def alarmed(node: Validator, text: str) -> None:
    """Until a node's operators are told."""
    await until(lambda: text in " ".join(node.engine.status().alarms), f"an alarm of {text}")


async def recorded_at(made: Consortium, who: bytes, place: int, count: int) -> None:
    """Until so many offences of a validator stand on a node's ledger."""
    await until(
        lambda: len(made.query("validators", "list_offences", who, place=place)) == count, "it is recorded"
    )


def facts(height: int, node: Validator) -> list[str]:
    """What the system receipt of a block tells."""
    receipt: Receipt = codec.decoder(Receipt)((node.store.receipts(height) or [b""])[0])
    return [event.event for event in receipt.events]


@pytest.mark.evidence(
    "BFT2",
    asset="consensus",
    threat="a validator that votes twice",
    mitigation="evidence is recorded on the ledger",
)
@pytest.mark.parametrize("count", [4, 5])
async def test_a_double_vote_is_recorded_and_costs_power_only_where_four_others_remain(count: int) -> None:
    culprit = Misbehaving(count - 1, equivocate=True)
    async with consortium(count, adjust=culprit) as made:
        *honest, guilty = made.validators
        await until(lambda: len(culprit.signer.equivocations) > 2, "it has voted twice")
        who = address(public_key(guilty.keys.validator or b""))
        tried = 0
        pair = culprit.signer.equivocations[0]
        with pytest.raises(RpcError, match="refused"):
            await accuse(honest[1], (pair[0], pair[0]), 10, 10 * count)
        for pair in culprit.signer.equivocations[:2]:
            await accuse(honest[1], pair, 10, 10 * count)
            tried += 1
        for place, node in enumerate(honest):
            await alarmed(node, "duplicate-vote")
            await recorded_at(made, who, place, tried)
            recorded = made.query("validators", "list_offences", who, place=place)
            assert [entry.kind for entry in recorded] == ["duplicate-vote"] * tried
        first, second = made.query("validators", "list_offences", who)
        assert first.offence.taken + second.offence.taken == (count == 5)
        height = min(first.offence.recorded_height, second.offence.recorded_height)
        told = facts(height, honest[0])
        assert told[:2] == ["Misbehaved", "PowerSet" if count == 5 else "PowerKept"], told
        record = next(record for record in honest[0].store.blocks() if record.height == height)
        assert [entry.address for entry in contents(record)[1]][:1] == [who], "a replay has it too"
        powers = {key.public_key: key.power for key in honest[0].ledger.standing.authority}
        assert len(powers) == 4
        assert (public_key(guilty.keys.validator or b"") in powers) == (count == 4)
        print(f"double votes of {count}: {tried} tried, {tried} held:", await check_consortium(made))
        power = await honest[0].rpc.validators()
        assert len(power) == 4
        assert guilty.engine.status().serving, "its node still hands in bundles; members decide about that"


@pytest.mark.parametrize("skew", [30, -30, 90, -90])
async def test_one_that_votes_with_another_time_moves_no_block_time(skew: int) -> None:
    culprit = Misbehaving(3, skew_seconds=skew)
    async with consortium(4, adjust=culprit) as made:
        for _ in range(5):
            assert applied((await made.validators[0].submit(made.pay()))[0])
            off = time.time() - made.validators[0].ledger.time_ms / 1_000
            assert abs(off) < CLOCK_SECONDS, off
        assert culprit.signer.signed > 5
        print(f"time {skew:+} s: 1 tried, 1 held:", await check_consortium(made))


async def test_one_that_falls_silent_is_missed_and_the_others_go_on_and_it_comes_back() -> None:
    culprit = Misbehaving(2, silent_from=10)
    async with consortium(4, adjust=culprit) as made:
        silent = made.validators[2]
        await until(lambda: silent.engine.comet_height >= 12, "it is silent and follows")
        assert "silent on purpose" in " ".join(silent.engine.status().alarms)
        began = time.monotonic()
        calls = [each.submit(*[made.pay() for _ in range(20)]) for each in made.validators]
        assert all(applied(outcome) for answer in await asyncio.gather(*calls) for outcome in answer)
        assert time.monotonic() - began < SILENCE_SECONDS
        silent_held = await check_consortium(made)
        culprit.signer.silent_from = None
        voted = culprit.signer.signed
        await until(lambda: culprit.signer.signed > voted + 3, "it votes again")
        print("silence: 1 tried, 1 held:", silent_held, "; again:", await check_consortium(made))
