"""A node that bundles false signatures: what its blocks cost the others, how they shun it, and that no honest
node is ever taken for one.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import cast

import pytest
import pytest_asyncio

from contracts import assemble
from node.engine.cometbft import bundles as module
from node.engine.cometbft.bundler import Bundler
from node.engine.cometbft.rpc import RpcClient
from node.engine.door import Entry, Request
from node.keys.verify import InternationalVerifier
from node.ledger.errors import LedgerError
from node.ledger.ledger import Discarded, Ledger
from node.ledger.running import contents
from node.ledger.types import Block, Receipt
from node.storage.memory import MemoryStore
from tests.engine.comet_bench import HereWorkers
from tests.engine.kit import FACTORIES, LIMITS, NOW_MS, running, transfer
from tests.engine.kit import world as banks
from tests.engine.test_abci_requirements import Process, World
from tests.kit import officer, op, spoilt

pytestmark = pytest.mark.asyncio

LIAR = 2


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> World:
    return await World(tmp_path).begin()


def lies(world: World, count: int, items: int = 10) -> list[bytes]:
    """Bundles of the liar in which no signature is true, and none was seen before."""
    return [world.bundle(*[spoilt(world.pay()) for _ in range(items)], node=LIAR) for _ in range(count)]


def chance_block(world: World) -> list[bytes]:
    """Bundles of all nodes; some of the liar's items are false."""
    made = []
    for _ in range(world.chance.randrange(1, 12)):
        node = world.chance.randrange(4)
        raws = [world.pay() for _ in range(world.chance.randrange(1, 6))]
        if node == LIAR:
            raws = [spoilt(raw) if world.chance.random() < 0.3 else raw for raw in raws]
        made.append(world.bundle(*raws, node=node))
    return made


def words(process: Process) -> list[str]:
    """What the last block's items came to."""
    return [
        "applied" if isinstance(outcome, Receipt) else outcome.error.name
        for outcome in process.finalized[-1].outcomes
    ]


async def test_what_a_node_verified_before_decides_nothing(world: World) -> None:
    """One has seen everything in its mempool and as a proposal, the other sees decided blocks alone."""
    tried: dict[str, int] = {}
    for height in range(2, 32):
        txs = chance_block(world)
        for raw in txs:
            if world.chance.random() < 0.7:
                await world.p.application.check_tx(raw, recheck=False)
        if world.chance.random() < 0.7:
            assert await world.p.application.process_proposal(world.p.decided(height, *txs))
        if world.chance.random() < 0.3:
            world.q.bundles._workers = None  # the block verifies for itself
        assert await world.p.block(height, *txs) == await world.q.block(height, *txs)
        assert world.p.finalized[-1].outcomes == world.q.finalized[-1].outcomes
        for word in words(world.p):
            tried[word] = tried.get(word, 0) + 1
    assert tried["NODE_DISTRUSTED"]
    assert set(tried) == {"applied", "BAD_SIGNATURE", "NODE_DISTRUSTED"}
    ledger = Ledger(world.genesis, assemble, MemoryStore(), InternationalVerifier())
    ledger.init_chain()
    ledger.commit()
    for record in list(world.p.store.blocks())[1:]:
        ledger.finalize_block(Block(record.height, record.time_ms, *contents(record)))
        ledger.commit()
    assert ledger.info() == world.p.ledger.info(), "as an engine that makes no bundles, and a replay, have it"
    print(f"30 blocks on two nodes and in a replay: {tried}")


async def test_a_block_of_a_shunned_node_costs_one_verification_and_others_beside_it_none_less(
    world: World,
) -> None:
    first, *more = lies(world, 40)
    await world.q.block(2, first)
    assert world.q.counters.false_bundles == 1
    before = world.q.workers.looked_at
    honest = [world.bundle(world.pay(), world.pay(), node=node) for node in (0, 3)]
    txs = [*more[:20], honest[0], *more[20:], honest[1]]
    assert await world.q.application.process_proposal(world.q.decided(3, *txs))
    await world.q.block(3, *txs)
    said = words(world.q)
    assert [said.count(word) for word in ("applied", "BAD_SIGNATURE", "NODE_DISTRUSTED")] == [4, 1, 389]
    assert world.q.workers.looked_at - before == 5
    before = world.q.workers.looked_at
    sound = [world.bundle(world.pay(), node=LIAR) for _ in range(5)]
    await world.q.block(4, *sound, *lies(world, 20))
    assert words(world.q)[:6] == [*["applied"] * 5, "BAD_SIGNATURE"], "in a block it counts as any other's"
    assert world.q.workers.looked_at - before == 7, "twice as many bundles each time: 1, 2, 4"


async def test_before_it_is_shunned_each_bundle_costs_one_verification(world: World) -> None:
    txs = lies(world, 20)
    before = world.q.workers.looked_at
    assert await world.q.application.process_proposal(world.q.decided(2, *txs))
    await world.q.block(2, *txs)
    assert world.q.workers.looked_at - before == 20
    assert words(world.q) == ["BAD_SIGNATURE", *["NODE_DISTRUSTED"] * 199]


@pytest.mark.evidence(
    "ACT11",
    asset="availability",
    threat="a node hands on false signatures",
    mitigation="it is shunned, ever longer, and forgiven",
)
async def test_a_node_is_shunned_twice_as_long_each_time_and_forgotten_in_the_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    passed, began = 0.0, loop.time()
    monkeypatch.setattr(loop, "time", lambda: began + passed)

    async def code(raw: bytes) -> int:
        answer = await world.q.application.check_tx(raw, recheck=False)
        await asyncio.sleep(0)  # the workers answer
        await asyncio.sleep(0)
        return answer.code

    lasted = []
    for _ in range(9):
        assert await code(lies(world, 1)[0]) == 0
        distrusted = LedgerError.NODE_DISTRUSTED.code
        assert await code(world.bundle(world.pay(), node=LIAR)) == distrusted
        assert await code(world.bundle(world.pay(), node=3)) == 0, "no other node"
        (shun,) = world.q.bundles._shunned.values()
        lasted.append(round(shun.seconds))
        passed += shun.seconds - 1
        assert await code(world.bundle(world.pay(), node=LIAR)) == distrusted
        passed += 2
    assert lasted == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert len(world.q.alarms) == world.q.counters.false_bundles == 9, "told once each time"
    assert f"node {officer(f'node-{LIAR}').key_id.hex()} handed on false signatures" in world.q.alarms[-1]
    assert await code(world.bundle(world.pay(), node=LIAR)) == 0
    passed += module.FORGOTTEN_SECONDS
    await code(lies(world, 1)[0])
    (shun,) = world.q.bundles._shunned.values()
    assert shun.seconds == module.SHUNNED_SECONDS


async def test_a_lie_that_is_known_already_is_one_all_the_same(world: World) -> None:
    lie, before = spoilt(world.pay()), world.q.workers.looked_at
    for _ in range(2):
        world.q.bundles._shunned.clear()
        await world.q.application.check_tx(world.bundle(lie, world.pay(), node=LIAR), recheck=False)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert world.q.bundles._shunned
    assert world.q.workers.looked_at - before == 1


async def test_who_claims_to_be_another_node_does_not_have_it_shunned(world: World) -> None:
    for raw in lies(world, 5):
        answer = await world.q.application.check_tx(spoilt(raw), recheck=False)
        assert answer.code == LedgerError.BAD_SIGNATURE.code
    await asyncio.sleep(0)
    assert not world.q.bundles._shunned
    good = await world.q.application.check_tx(world.bundle(world.pay(), node=LIAR), recheck=False)
    assert good.code == 0


# --- an honest node -------------------------------------------------------------------------------------


def tampered(raw: bytes) -> list[bytes]:
    """The same transaction with its signature spoilt in several ways."""
    return [spoilt(raw), raw[:-64] + bytes(64), raw[:-1] + b"\xff"]


def note(entered: list[Entry], enter: Callable[[list[Entry]], None], entries: list[Entry]) -> None:
    """Hand entries on, and remember them."""
    entered += entries
    enter(entries)


async def test_an_honest_node_orders_nothing_of_which_a_signature_is_false(tmp_path: Path) -> None:
    """Whatever its state makes of the transaction: fresh, dead, spent, or of a key that has ended."""
    tried = 0
    for name, workers in (("none", None), ("here", HereWorkers())):
        folder = tmp_path / name
        folder.mkdir()
        async with running(FACTORIES[0], folder, workers=workers) as bench:
            spent, other_id = transfer(1), banks.new_request_id()
            await bench.submit(spent, transfer(2, use_id=other_id))
            dead = transfer(created_ms=NOW_MS - LIMITS.lifetime_ms - 1)
            conflicting = transfer(3, use_id=other_id)
            late = transfer(4)
            revocation = banks.make("PA", op("members", "revoke_key", officer("PA-officer").key_id))
            entered: list[Entry] = []
            bench.engine._door._enter = partial(note, entered, bench.engine._door._enter)
            kinds = [spent, dead, conflicting, transfer(5)]
            for raw in [bad for kind in kinds for bad in tampered(kind)]:
                outcome = await bench.one(raw)
                assert outcome.receipt is None
                tried += 1
            assert not entered
            await bench.submit(spent, revocation)
            for raw in [bad for kind in (spent, late) for bad in tampered(kind)]:
                assert (await bench.one(raw)).receipt is None
                tried += 1
            await bench.submit(spent, late)
            for entry in entered:
                signed = banks.ledger.check_signed(entry.candidate)
                assert all(InternationalVerifier().verify(signed))
            assert len(entered) >= 3
    print(f"an honest door: {tried} transactions with a false signature tried, none ordered")


async def test_what_another_nodes_bundle_took_with_it_is_not_told_to_this_nodes_client(world: World) -> None:
    """Whoever copies a transaction out of a bundle and orders the copy behind a lie answers nobody here."""
    own = officer("node-0")
    bundler = Bundler(
        world.p.ledger, world.p.bundles, own, cast("RpcClient", None), sequence=1, refused=lambda *_: None
    )
    entry = Entry(world.p.ledger.read(world.pay()), cast("Request", None), 0)
    bundler.put([entry])
    bundler._make()
    liar = officer(f"node-{LIAR}").key_id
    for error in (LedgerError.NODE_DISTRUSTED, LedgerError.NODE_INACTIVE):
        assert bundler.settle(entry.candidate, Discarded(error, {}, node=liar)) == []
    assert bundler.settle(entry.candidate, Discarded(LedgerError.BAD_SIGNATURE, {})) == [entry]
    bundler.put([entry])
    bundler._make()
    outcome = Discarded(LedgerError.NODE_INACTIVE, {}, node=own.key_id)
    assert bundler.settle(entry.candidate, outcome) == [entry], "its own node's suspension is its own matter"
