"""Upgrades of a consortium: from one protocol to the next, node by node and under load; who is left behind
stops and says so; who goes back is told how to come forward.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

import pytest

from contracts import assemble
from node.engine.cometbft.home import Home, HomeRefused, renew_settings
from node.keys.verify import InternationalVerifier
from node.ledger import codec
from node.ledger.errors import ReleaseTooOld
from node.ledger.hashing import INTERNATIONAL
from node.ledger.ledger import Ledger
from node.ledger.types import Header
from node.storage.errors import StorageError
from node.storage.sharded import ShardedStore
from tests.engine.comet_bench import Consortium, Validator, applied, consortium, op, until
from tests.engine.test_comet_engine import check_exactly_once
from tests.fault.test_comet_sync import from_snapshot, level_with
from tests.unit.test_standing import newer

pytestmark = pytest.mark.asyncio

OLD: Final = (1,)
BOTH: Final = (1, 2)
AHEAD: Final = 40
"""Heights between the decision and the activation."""
WAIT_SECONDS: Final = 120.0
EVERY: Final = 10

decode_header = codec.trusted_decoder(Header)


@dataclass
class Load:
    """A client that sends payments at whoever serves, and the same bytes again until they are applied."""

    made: Consortium
    acknowledged: list[bytes] = field(default_factory=list)
    retries: int = 0
    is_over: bool = False

    async def run(self) -> None:
        """Until it is over."""
        at = 0
        while not self.is_over:
            at += 1
            raws = [self.made.pay() for _ in range(2)]
            await self._until_applied(raws, at)
            self.acknowledged += raws

    async def _until_applied(self, raws: Sequence[bytes], at: int) -> None:
        while True:
            at += 1
            validator = self.made.validators[at % 4]
            with suppress(AttributeError, AssertionError, TimeoutError):  # one that is being started again
                if validator.engine.status().serving:
                    outcomes = await asyncio.wait_for(validator.engine.submit(raws), 10)
                    if all(applied(outcome) for outcome in outcomes):
                        return
            self.retries += 1
            await asyncio.sleep(0.02)


@asynccontextmanager
async def loaded(made: Consortium) -> AsyncIterator[Load]:
    """Load while the block runs."""
    load = Load(made)
    task = asyncio.create_task(load.run())
    try:
        yield load
    finally:
        load.is_over = True
        await asyncio.wait_for(task, WAIT_SECONDS)


async def upgrade(validator: Validator) -> None:
    """Stop a node, install the next release, start it over the same directories."""
    await validator.stop()
    validator.protocols, validator.contracts = BOTH, newer
    await validator.start()
    await validator.serving()


async def test_a_rolling_upgrade_under_load_and_a_node_that_was_left_behind() -> None:
    async with consortium(4, snapshot_every=EVERY) as made:
        *three, behind = made.validators
        async with loaded(made) as load:
            for each in three:
                await upgrade(each)
            start = made.validators[0].engine.comet_height + AHEAD
            await made.decide(
                op("governance", "schedule_protocol", 2, start),
                op("governance", "activate", "later", 1, start),
            )
            await until(behind.engine.halted.is_set, "the one left behind stops", WAIT_SECONDS)
            await until(lambda: three[0].ledger.info().height > start, "the others go on", WAIT_SECONDS)
            said = behind.engine.halt_reason
            assert f"protocol 2 at height {start}" in said
            assert "install a release that has it; nothing is lost" in said
            assert behind.ledger.info().height < start
            await upgrade(behind)
            await until(lambda: behind.ledger.info().height > start, "it comes back", WAIT_SECONDS)
        await made.level()
        (looked,) = await three[0].submit(made.make(op("later", "look", "x")))
        assert applied(looked), looked
        await made.level()
        for each in made.validators:
            check_exactly_once(each)
            protocols = {decode_header(record.header).protocol for record in each.store.headers(start, 99)}
            assert protocols == {2}
            assert decode_header(each.store.headers(0, 1)[0].header).protocol == 1
        assert len({each.balance("KB/main") for each in made.validators}) == 1
        for height, app in ((start - 1, "1"), (start, "2")):
            assert (await three[0].rpc.header(height))["version"]["app"] == app
        print(f"acknowledged under the upgrade: {len(load.acknowledged)}, tried again: {load.retries}")
        await check_downgrade(made, behind)
        await check_state_sync_behind(made, start)


async def check_downgrade(made: Consortium, validator: Validator) -> None:
    """The old release over a directory that has gone on is refused, and loses nothing."""
    await validator.stop()
    validator.protocols, validator.contracts = OLD, assemble
    with pytest.raises(ReleaseTooOld, match="install a release that has it; nothing is lost"):
        await validator.start()
    validator.store.close()
    validator.protocols, validator.contracts = BOTH, newer
    await validator.start()
    await made.level()


async def check_state_sync_behind(made: Consortium, start: int) -> None:
    """A node of the new release begins from a snapshot of the new protocol: CometBFT holds it to that."""
    four = made.validators[:4]
    while four[0].store.snapshots()[0].height <= start:
        await four[0].submit(made.pay())
    newest = four[0].store.snapshots()[0].height
    await until(lambda: all(each.engine.comet_height > newest + 2 for each in four), "two blocks above")
    late = made.add_observer(protocols=BOTH)
    async with from_snapshot(made, late):
        await late.start()
        await level_with(made, late)
        assert late.store.log.base is not None
        assert late.store.log.base.height > start


async def test_going_back_before_the_activation_is_allowed() -> None:
    async with consortium() as made:
        (only,) = made.validators
        await upgrade(only)
        start = only.engine.comet_height + 1_000_000
        await made.decide(op("governance", "schedule_protocol", 2, start))
        await only.stop()
        only.protocols, only.contracts = OLD, assemble
        await only.start()
        await only.serving()
        (outcome,) = await only.submit(made.pay())
        assert applied(outcome)


async def test_directories_of_a_later_release_are_refused_with_the_way_back() -> None:
    async with consortium() as made:
        (only,) = made.validators
        await only.stop()
        comet, data = Home(only.folder / "comet"), only.folder / "data"
        assert comet.version.read_bytes() == b"vostro-home 1\n"
        kept = (data / "VERSION").read_bytes()
        comet.version.write_bytes(b"vostro-home 2\n")
        with pytest.raises(HomeRefused, match="start the release that marked it again; nothing was changed"):
            renew_settings(comet.root, only.config)
        (data / "VERSION").write_bytes(b"vostro-storage 2\n")
        with pytest.raises(StorageError, match="vostro-storage 2"):
            ShardedStore.open(data, INTERNATIONAL)
        comet.version.unlink()
        (data / "VERSION").write_bytes(kept)
        await only.start()
        assert comet.version.exists(), "a home from before has its mark now"
        ledger = Ledger(made.genesis, only.contracts, only.store, InternationalVerifier())
        assert ledger.info() == only.ledger.info()
