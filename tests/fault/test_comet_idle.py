"""An idle network: it makes no headers, and yet what falls due is done by the first heartbeat behind it."""

import time
from statistics import median
from typing import Final

import pytest
from msgspec.structs import replace

from node.engine.cometbft.home import public_key
from node.genesis_file import GOVERNANCE_DEFAULT
from node.ledger import codec
from node.ledger.hashing import INTERNATIONAL, key_id
from node.ledger.types import Header, Limits, Receipt
from tests.engine.comet_bench import Consortium, applied, consortium, op, until

pytestmark = pytest.mark.asyncio

HEARTBEAT_MS: Final = 500
LIFETIME_MS: Final = 2_000
IDLE_BLOCKS: Final = 8
HOLDS: Final = 5
HURRIED: Final = replace(GOVERNANCE_DEFAULT, lifetime_ms=LIFETIME_MS)
LIMITS: Final = Limits(600_000, HEARTBEAT_MS, 1_000_000, 4 * 1024 * 1024)

decode_header = codec.trusted_decoder(Header)
decode_receipt = codec.trusted_decoder(Receipt)


async def test_what_falls_due_on_an_idle_network_is_done_by_the_next_heartbeat() -> None:
    async with consortium(4, limits=LIMITS, governance=HURRIED) as made:
        first = made.validators[0]
        beats: list[int] = []
        first.application._witness = lambda block: beats.append(block.time_ms)
        due = [first.ledger.time_ms + 4_000 + 700 * at for at in range(HOLDS)]
        holds = [
            made.make(op("transfers", "reserve", "PA/main", "KB/main", "CZK", 5, at, f"h{at}")) for at in due
        ]
        key = key_id(INTERNATIONAL, "ed25519", public_key(first.keys.validator or b""))
        proposal = made.make(
            op("governance", "propose", (op("validators", "reweigh", key, 11, ""),), "never approved")
        )
        outcomes = await first.submit(*holds, proposal)
        assert all(applied(outcome) for outcome in outcomes), outcomes
        decided = first.ledger.info()
        ended = [*due, decided.time_ms + LIFETIME_MS]
        await until(lambda: len(ends(made, decided.height)) == len(ended), "all have ended")
        at = sorted(ends(made, decided.height))
        assert at == sorted(min(beat for beat in beats if beat >= due_ms) for due_ms in ended)
        late = [done - due_ms for done, due_ms in zip(at, sorted(ended), strict=True)]
        assert median(late) <= HEARTBEAT_MS, "a heartbeat comes as often as genesis says"
        await made.level()
        print(f"ended on an idle network: {len(late)}, late by at most {max(late)} ms of block time")


def ends(made: Consortium, after: int) -> list[int]:
    """The block times at which scheduled work ended something, one each."""
    found = []
    store = made.validators[0].store
    for record in store.headers(after + 1, 100):
        for raw in store.receipts(record.height) or ():
            receipt = decode_receipt(raw)
            events = [event for event in receipt.events if not any(receipt.tx_id)]
            found += [record.time_ms] * len(events)
    return found


async def test_an_idle_network_makes_no_headers() -> None:
    async with consortium(4, limits=LIMITS) as made:
        await made.level()
        before = [each.ledger.info() for each in made.validators]
        start = made.validators[0].engine.comet_height
        began = time.monotonic()
        await until(
            lambda: min(each.engine.comet_height for each in made.validators) >= start + IDLE_BLOCKS,
            "heartbeats",
        )
        took = time.monotonic() - began
        assert [each.ledger.info() for each in made.validators] == before
        hashes = {(await each.rpc.status()).app_hash for each in made.validators}
        assert hashes == {before[0].app_hash}
        assert all(each.ledger.time_ms > before[0].time_ms + HEARTBEAT_MS for each in made.validators)
        print(f"idle: {IDLE_BLOCKS} blocks in {took:.1f} s, no header")
