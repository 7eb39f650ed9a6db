"""The same bytes at all nodes at once, and other validators while the load goes on: decided once each, and
receipts of before and after verify with genesis alone.
"""

import asyncio
from collections import Counter

import pytest

from contracts.powers import NewNode, NewValidator
from node.engine.cometbft.home import public_key
from node.engine.engine import Outcome
from node.genesis_file import format_genesis
from node.ledger import hashing
from node.ledger.hashing import INTERNATIONAL
from node.receipts import verify_receipt_file
from tests.comet_checks import check_consortium, receipt_file
from tests.engine.comet_bench import Consortium, Validator, applied, consortium, until
from tests.kit import officer, op

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(200)]

RETRIES = 300


async def test_one_transaction_at_all_four_nodes_at_once_is_decided_once_hundreds_of_times() -> None:
    async with consortium(4) as made:
        raws = [made.pay() for _ in range(RETRIES)]
        calls = [
            asyncio.ensure_future(node.submit(raw))
            for raw in raws
            for node in made.validators
            for _ in range(2)
        ]
        outcomes = [outcome for answer in await asyncio.gather(*calls) for outcome in answer]
        assert all(applied(outcome) for outcome in outcomes), Counter(str(o.error) for o in outcomes)
        places = [(o.receipt.height, o.receipt.index) for o in outcomes if o.receipt]
        assert len(set(places)) == RETRIES, "each answer is of the one decision"
        await made.level()
        assert [node.balance("KB/main") for node in made.validators] == [RETRIES] * 4
        told = list(zip([raw for raw in raws for _ in range(8)], outcomes, strict=True))
        held = await check_consortium(made, acknowledged=told)
        print(f"retries: {len(calls)} submissions of {RETRIES} transactions tried, {RETRIES} held:", held)


class Load:
    """Payments at nodes in turn until told to stop; all must be applied."""

    def __init__(self, made: Consortium, nodes: list[Validator]) -> None:
        self.made, self.nodes = made, nodes
        self.told: list[tuple[bytes, Outcome]] = []
        self.going = True

    async def run(self) -> None:
        at = 0
        while self.going:
            raws = [self.made.pay() for _ in range(10)]
            outcomes = await self.nodes[at % len(self.nodes)].submit(*raws)
            assert all(applied(outcome) for outcome in outcomes)
            self.told += zip(raws, outcomes, strict=True)
            at += 1

    async def more(self) -> None:
        """Until some more was applied."""
        count = len(self.told)
        await until(lambda: len(self.told) >= count + 30, "the load goes on")


def new_validator(validator: Validator, member: str = "PA", power: int = 10) -> NewValidator:
    """What names a node that joined to the members."""
    node = NewNode("ed25519", officer(f"node-{validator.place}").public_key)
    key = public_key(validator.keys.validator or b"")
    return NewValidator(member, "ed25519", key, power, f"n{validator.place}", node)


def key_id(validator: Validator) -> bytes:
    """How the ledger names its validator."""
    return hashing.key_id(INTERNATIONAL, "ed25519", public_key(validator.keys.validator or b""))


async def test_validators_join_are_reweighed_and_leave_under_load_and_all_receipts_verify() -> None:
    async with consortium(4) as made:
        first, second, _third, fourth = made.validators
        load = Load(made, [first, second])
        running = asyncio.ensure_future(load.run())
        try:
            await load.more()
            fifth = made.add_observer()
            await fifth.start()
            await until(lambda: fifth.engine.status().serving, "it has caught up", 60)
            await made.decide(op("validators", "add", new_validator(fifth), ""))
            await load.more()
            await signs(made, fifth, 10)
            assert applied((await fifth.submit(made.pay()))[0]), "its own bundles are taken"
            await made.decide(op("validators", "reweigh", key_id(first), 14, ""))
            await load.more()
            await signs(made, first, 14)
            await made.decide(op("validators", "remove", key_id(fourth), ""))
            await load.more()
            await signs(made, fourth, 0)
            await fourth.stop()
            made.validators.remove(fourth)
            await load.more()
        finally:
            load.going = False
            await running
        powers = sorted(key.power for key in first.ledger.standing.authority)
        assert powers == [10, 10, 10, 14]
        held = await check_consortium(made, acknowledged=load.told)
        trust = format_genesis(made.genesis)
        tried = 0
        for node in made.validators:
            for _, outcome in load.told[:: max(1, len(load.told) // 20)]:
                assert outcome.receipt
                place = outcome.receipt.height, outcome.receipt.index
                proven = verify_receipt_file(receipt_file(made, node, *place), trust)
                assert proven.applied
                assert len(proven.handovers) == 3, "one for each change of the validators"
                tried += 1
        print(
            f"validators changed under load: 3 changes, {len(load.told)} transactions; {tried} receipts:",
            held,
        )


async def signs(made: Consortium, validator: Validator, power: int) -> None:
    """Until a validator's power in CometBFT is this."""
    async with asyncio.timeout(30):
        while (await validator.rpc.status()).power != power:  # noqa: ASYNC110 - CometBFT is asked
            await asyncio.sleep(0.1)
    key = public_key(validator.keys.validator or b"")
    standing = {entry.public_key: entry.power for entry in made.validators[0].ledger.standing.authority}
    assert standing.get(key, 0) == power
