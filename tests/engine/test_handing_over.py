"""The embedded engine hands the chain over when that is decided, and never signs another header behind it; a
node whose release lacks what was scheduled stops before its height.
"""

from pathlib import Path

import pytest

from node.engine.errors import NodeError
from node.engine.sequencer import SequencerRefused
from node.ledger import codec
from node.ledger.genesis import authority_root
from node.ledger.hashing import INTERNATIONAL
from node.ledger.types import Header
from tests.checker import check_ledger
from tests.contracts.refusals_validators import validator
from tests.engine.kit import FACTORIES, Factory, is_applied, is_error, running, transfer, until, world
from tests.engine.test_living import is_certified
from tests.kit import ADMINISTRATOR, op

pytestmark = pytest.mark.asyncio
every_engine = pytest.mark.parametrize("factory", FACTORIES, ids=lambda factory: factory.name)


@every_engine
async def test_a_chain_that_was_handed_over_gets_no_further_header_from_its_sequencer(
    factory: Factory, tmp_path: Path
) -> None:
    four = tuple(validator(f"v{at}") for at in range(4))
    move = world.make(ADMINISTRATOR, op("validators", "move", four, ""))
    async with running(factory, tmp_path) as bench:
        assert is_applied(await bench.one(move))
        last = bench.blocks()[-1]
        header: Header = codec.decoder(Header)(last.header)
        assert header.authority_root == authority_root(INTERNATIONAL, bench.ledger.standing.authority)
        assert is_certified(bench, last.app_hash, last.certificate)
        await until(bench.engine.halted.is_set)
        assert "handed over to other validators" in " ".join(bench.engine.status().alarms)
        assert is_error(await bench.one(transfer()), NodeError.STOPPED, decided=False)
        assert bench.blocks()[-1] == last
        check_ledger(bench.blocks(), world.genesis)
    again = await factory.make(tmp_path / "node", again=bench, start=False)
    with pytest.raises(SequencerRefused, match="handed over"):
        await again.engine.start()
    await again.close()


@every_engine
async def test_a_node_left_behind_stops_before_the_scheduled_height_and_says_so(
    factory: Factory, tmp_path: Path
) -> None:
    async with running(factory, tmp_path) as bench:
        height = bench.ledger.info().height + 3
        schedule = world.make(ADMINISTRATOR, op("governance", "schedule_protocol", 2, height))
        assert is_applied(await bench.one(schedule))
        assert is_applied(await bench.one(transfer()))
        await until(bench.engine.halted.is_set)
        told = " ".join(bench.engine.status().alarms)
        assert f"protocol 2 at height {height} and this release has protocol 1" in told
        assert bench.blocks()[-1].height == height - 1
        assert is_error(await bench.one(transfer()), NodeError.STOPPED, decided=False)
        check_ledger(bench.blocks(), world.genesis)
