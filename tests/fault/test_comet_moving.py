"""A ledger that a sequencer began goes on under CometBFT: the members hand it over, every node takes a copy
of the directory, and receipts of before and after verify with genesis alone.
"""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts import assemble
from contracts.powers import NewNode, NewValidator
from node.engine.cometbft.home import Keys, genesis_json, public_key
from node.engine.cometbft.light import comet_chain_id
from node.engine.embedded import EmbeddedEngine
from node.engine.sequencer import Sequencer
from node.genesis_file import format_genesis, make_genesis
from node.keys.verify import CachedVerifier, InternationalVerifier
from node.ledger.errors import InvariantViolated
from node.ledger.genesis import chain_id
from node.ledger.hashing import INTERNATIONAL
from node.ledger.ledger import Ledger
from node.ledger.types import AdministratorKey, Authority, Founder, Genesis
from node.receipts import verify_receipt_file
from node.storage.sharded import ShardedStore
from tests.comet_checks import check_consortium, receipt_file
from tests.comet_kit import new_keys
from tests.engine.comet_bench import (
    LIMITS,
    SMALL,
    Consortium,
    HereWorkers,
    Validator,
    applied,
    make_validators,
    until,
)
from tests.kit import officer, op

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(150)]

BANKS = ("PA", "KB")


class Alone:
    """A sequencer's ledger. Submits as a validator does, so that a consortium's client can be lent to it."""

    place = 0

    def __init__(self, folder: Path, genesis: Genesis) -> None:
        self.data = folder / "data"
        record = folder / "last-signed"
        ShardedStore.create(self.data, INTERNATIONAL, shards=2).close()
        self.store = ShardedStore.open(self.data, INTERNATIONAL, budget=SMALL, lifetime_ms=600_000)
        verifier = CachedVerifier(InternationalVerifier(), 10_000)
        self.ledger = Ledger(genesis, assemble, self.store, verifier, records=1_000)
        Sequencer.create_record(record, chain_id(genesis))
        sequencer = Sequencer(officer("sequencer"), chain_id(genesis), record)
        self.engine = EmbeddedEngine(
            self.ledger, self.store, verifier, HereWorkers(), sequencer, queue_max=1_000
        )

    async def submit(self, *raws: bytes) -> Any:
        return await asyncio.wait_for(self.engine.submit(raws), 30)


def sequenced() -> Genesis:
    """A chain of two banks whose headers a sequencer certifies."""
    founders = [
        Founder(
            bank, f"Bank {bank}", "", ("issuer", "participant", "voter"),
            (AdministratorKey("ed25519", officer(bank).public_key, "chief"),),
        )
        for bank in BANKS
    ]  # fmt: skip
    key = officer("sequencer").public_key
    authority = [Authority("ed25519", key, 1)]
    now = time.time_ns() // 1_000_000
    return make_genesis("moving", [], authority, time_ms=now, founders=founders, limits=LIMITS)


def named(place: int, keys: Keys) -> NewValidator:
    """A validator for the members to name."""
    node = NewNode("ed25519", officer(f"node-{place}").public_key)
    key = public_key(keys.validator or b"")
    return NewValidator(BANKS[place % 2], "ed25519", key, 10, f"n{place}", node)


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="vc-"))  # short: a socket's path is bounded
    yield path
    shutil.rmtree(path, ignore_errors=True)


async def test_a_ledger_begun_by_a_sequencer_goes_on_under_four_validators(folder: Path) -> None:
    genesis, keys = sequenced(), new_keys(4)
    alone: Any = Alone(folder, genesis)
    made = Consortium(genesis, [alone], folder)
    await alone.engine.start()
    await made.fund()
    before = [(await alone.submit(raw := made.pay()), raw)[0][0] for _ in range(5)]
    assert all(applied(outcome) for outcome in before)
    four = tuple([named(place, own) for place, own in enumerate(keys)])
    await made.decide(op("validators", "move", four, ""))
    await until(alone.engine.halted.is_set, "the sequencer signs nothing more")
    await alone.engine.stop()
    head, standing = alone.ledger.info(), alone.ledger.standing
    alone.store.close()

    document = genesis_json(
        genesis,
        comet_chain_id(chain_id(genesis)),
        authority=standing.authority,
        initial_height=head.height + 1,
    )
    made.validators = make_validators(folder, genesis, document, keys)
    for validator in made.validators:
        shutil.copytree(alone.data, validator.folder / "data")
        validator.initial_height = head.height + 1
    try:
        await asyncio.gather(*(validator.start() for validator in made.validators))
        await asyncio.gather(*(validator.serving() for validator in made.validators))
        after = [(await node.submit(made.pay()))[0] for node in made.validators]
        assert all(outcome.receipt and outcome.receipt.height > head.height for outcome in after)
        held = await check_consortium(made)
        tried = 0
        trust = format_genesis(genesis)
        for node in made.validators:
            for outcome in before + after:
                place = outcome.receipt.height, outcome.receipt.index
                proven = verify_receipt_file(receipt_file(made, node, *place), trust)
                assert proven.applied
                assert proven.certificate_kind == "cometbft"
                assert [link["kind"] for link in proven.handovers] == ["embedded"]
                tried += 1
        print(f"moved at height {head.height}: {tried} receipts tried, {tried} held:", held)
        await other_heights_are_refused(made.validators[0], genesis, head.height)
    finally:
        await asyncio.gather(*(validator.stop() for validator in made.validators), return_exceptions=True)


async def other_heights_are_refused(validator: Validator, genesis: Genesis, height: int) -> None:
    """A home that begins elsewhere than the sequencer ended."""
    await validator.stop()
    validator.lose_home()
    document = genesis_json(
        genesis,
        validator.comet_chain,
        authority=validator.ledger.standing.authority,
        initial_height=height + 5,
    )
    (validator.folder / "genesis.json").write_bytes(document)
    with pytest.raises(InvariantViolated, match=f"CometBFT begins at height {height + 5}"):
        await validator.start()
