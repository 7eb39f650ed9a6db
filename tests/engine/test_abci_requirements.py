"""The requirements of the ABCI specification for an application ("Requirements for the Application", formal
requirements 1 to 13, results, validator updates, crash recovery), one test each: two applications over
ledgers of their own stand for two correct processes.

Requirements 6, 7, 8 and 10 are of vote extensions, which this chain does not have.
"""

import asyncio
import json
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contracts import assemble
from contracts.powers import NewNode, NewValidator
from node.client import signing
from node.engine.cometbft.abci import DecidedBlock, FinalizeAnswer, InfoRequest, InitChainRequest, Proposal
from node.engine.cometbft.abci import ValidatorPower as Power
from node.engine.cometbft.application import LedgerApplication
from node.engine.cometbft.bundles import Bundles
from node.engine.cometbft.home import genesis_json, new_key, public_key
from node.engine.cometbft.light import comet_chain_id
from node.engine.counters import Counters
from node.engine.record import RecordFile
from node.keys.verify import CachedVerifier, InternationalVerifier
from node.ledger.bundles import signed_bundle
from node.ledger.genesis import chain_id
from node.ledger.hashing import INTERNATIONAL
from node.ledger.ledger import Finalized, Ledger
from node.ledger.types import BundleBody, Genesis, Limits
from node.storage.memory import MemoryStore
from tests.comet_kit import new_keys
from tests.engine.comet_bench import HereWorkers, founding
from tests.kit import officer, op, spoilt

pytestmark = pytest.mark.asyncio

TIGHT = Limits(600_000, 500, 100_000, 512 * 1024)
ASKED = InfoRequest("0.39.4", 11, 8, "2.0.0")
TIMEOUT_PROPOSE_SECONDS = 1.0
"""node.toml's default."""
VALIDATOR_POWER_MAX = 2**63 // 8
"""CometBFT's bound of a set's power (types/validator_set.go)."""


class Process:
    """One correct process: an application, its ledger and store."""

    def __init__(self, genesis: Genesis, folder: Path, own: int, store: MemoryStore | None = None) -> None:
        self.genesis, self.folder = genesis, folder
        folder.mkdir(exist_ok=True)
        self.store = store or MemoryStore()
        verifier = CachedVerifier(InternationalVerifier(), 1_000)
        self.ledger = Ledger(genesis, assemble, self.store, verifier)
        self.alarms: list[str] = []
        self.counters = Counters()
        self.workers = HereWorkers()
        self.finalized: list[Finalized] = []
        self.bundles = Bundles(
            self.ledger,
            verifier,
            self.workers,
            own=officer(f"node-{own}").key_id,
            alarm=self.alarms.append,
            counters=self.counters,
        )
        self.application = LedgerApplication(
            self.ledger,
            self.store,
            self.bundles,
            folder,
            chain_id=comet_chain_id(chain_id(genesis)),
            version="test",
            on_decide=self.decide,
            committed=self.committed,
            restored=self.ledger.publish,
            alarm=self.alarms.append,
        )

    async def decide(self, function: Any, *arguments: Any) -> Any:
        """As the engine's thread does."""
        return function(*arguments)

    def committed(self, _height: int, finalized: Finalized, _candidates: object) -> None:
        self.finalized.append(finalized)
        self.ledger.publish()

    async def begin(self) -> None:
        powers = tuple([Power(each.public_key, each.power) for each in self.genesis.authority])
        name = comet_chain_id(chain_id(self.genesis))
        await self.application.init_chain(InitChainRequest(0, name, 1, powers, None))
        self.ledger.publish()

    async def block(self, height: int, *txs: bytes) -> FinalizeAnswer:
        """Finalize and commit."""
        answer = await self.application.finalize_block(self.decided(height, *txs))
        await self.application.commit()
        return answer

    def decided(self, height: int, *txs: bytes) -> DecidedBlock:
        return DecidedBlock(height, (self.genesis.time_ms + 1_000 * height) * 1_000_000, txs, bytes(32))


class World:
    """Two processes and a client."""

    def __init__(self, folder: Path) -> None:
        self.seed = random.SystemRandom().randrange(10**6)
        print("seed", self.seed)
        self.chance = random.Random(self.seed)
        self.genesis = founding(4, new_keys(4), TIGHT)
        self.chain = chain_id(self.genesis)
        self.p = Process(self.genesis, folder / "p", 0)
        self.q = Process(self.genesis, folder / "q", 1)
        self.number = 0

    async def begin(self) -> "World":
        funds = self.make(
            op("assets", "register", "CZK", "currency", 2, 10**18, bytes(32)),
            op("assets", "open_accounts", ("PA/main", "PA/other")),
            op("assets", "issue", "CZK", "PA/main", 10**12, "funds"),
        )
        first = self.bundle(funds)
        for process in (self.p, self.q):
            await process.begin()
            await process.block(1, first)
        assert self.p.ledger.info() == self.q.ledger.info()
        return self

    def make(self, *operations: Any, member: str = "PA") -> bytes:
        body = signing.transaction(self.chain, member, operations)
        return signing.sign(INTERNATIONAL, self.chain, body, [officer(member)])

    def pay(self) -> bytes:
        self.number += 1
        return self.make(op("transfers", "send", "PA/main", "PA/other", "CZK", 1, f"n{self.number}", b"", ""))

    def bundle(self, *items: bytes, node: int = 0) -> bytes:
        self.number += 1
        signer = officer(f"node-{node}")
        return signed_bundle(
            self.p.ledger.chain, BundleBody(1, signer.key_id, self.number, items), signer.sign
        )

    def mixed(self, count: int) -> list[bytes]:
        """Bundles good and bad, some of them twice."""
        made: list[bytes] = []
        for _ in range(count):
            good = self.bundle(
                *[self.pay() for _ in range(self.chance.randrange(1, 30))], node=self.chance.randrange(4)
            )
            kind = self.chance.randrange(8)
            if kind == 0:
                good = spoilt(good)
            elif kind == 1:
                good = self.bundle(self.pay()[:-3])
            elif kind == 2:
                good = self.chance.randbytes(100)
            elif kind == 3:
                good = self.bundle(self.pay(), node=9)
            elif kind == 4:
                pay = self.pay()
                good = self.bundle(spoilt(pay), node=2)
            elif kind == 5 and made:
                good = self.chance.choice(made)
            made.append(good)
        return made


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def in_block(txs: Sequence[bytes]) -> int:
    """Bytes of transactions as a block has them: each with a tag and its length (types/tx.go)."""
    return sum(len(tx) + 1 + (1 if len(tx) < 2**7 else 2 if len(tx) < 2**14 else 3) for tx in txs)


async def test_requirement_1_a_full_mempool_is_made_a_proposal_well_within_the_time_to_propose(
    world: World,
) -> None:
    await world.begin()
    full = tuple([world.bundle(*[world.pay() for _ in range(20)]) for _ in range(100)])
    began = time.monotonic()
    proposed = await world.p.application.prepare_proposal(Proposal(2, 0, full, 4 << 20))
    took = time.monotonic() - began
    assert len(proposed) > 10
    assert took < TIMEOUT_PROPOSE_SECONDS
    began = time.monotonic()
    assert list(await world.p.application.prepare_proposal(Proposal(2, 0, full, 4 << 20))) == list(proposed)
    assert time.monotonic() - began < TIMEOUT_PROPOSE_SECONDS / 2, "what was judged is not judged again"


async def test_requirement_2_a_proposal_never_exceeds_the_bytes_granted(world: World) -> None:
    await world.begin()
    mempool = tuple(world.mixed(25))
    for _ in range(60):
        granted = world.chance.randrange(0, in_block(mempool) + 100)
        proposed = await world.p.application.prepare_proposal(Proposal(2, 0, mempool, granted))
        assert in_block(proposed) <= granted
    whole = await world.p.application.prepare_proposal(Proposal(2, 0, mempool, 1 << 30))
    assert whole
    assert in_block(whole) <= in_block(mempool)


async def test_requirement_3_what_one_correct_process_prepares_every_other_accepts(world: World) -> None:
    await world.begin()
    tried = 0
    for _ in range(25):
        mempool = tuple(world.mixed(12))
        for raw in mempool[::2]:
            await world.p.application.check_tx(raw, recheck=False)
        distinct = tuple(dict.fromkeys(mempool))  # a mempool holds no bytes twice
        granted = world.chance.randrange(10_000, 1 << 20)
        proposed = await world.p.application.prepare_proposal(Proposal(2, 0, distinct, granted))
        tried += len(proposed) > 0
        assert await world.q.application.process_proposal(world.q.decided(2, *proposed)), proposed
    assert tried > 15
    print(f"prepared proposals: 25 tried, 25 accepted by another process, {tried} of them not empty")


async def test_requirements_4_and_5_a_verdict_depends_on_block_and_state_alone(world: World) -> None:
    """Neither on what a process saw before, nor on round, time, proposer, or being asked again."""
    await world.begin()
    verdicts = []
    for _ in range(60):
        txs = tuple(world.mixed(world.chance.randrange(1, 3)))
        if world.chance.randrange(2):
            for raw in world.mixed(2) + list(txs):
                await world.p.application.check_tx(raw, recheck=False)
            await asyncio.sleep(0)  # workers answer, and may shun a node
        block = world.p.decided(2, *txs)
        other = replace(block, time_ns=1, proposer=bytes(20), hash=bytes(range(32)))
        given = [
            await process.application.process_proposal(each)
            for process in (world.p, world.q)
            for each in (block, other, block)
        ]
        assert len(set(given)) == 1, given
        verdicts.append(given[0])
    assert 10 < sum(verdicts) < 50, "both kinds were tried"
    print(f"verdicts: 60 blocks tried, 6 equal verdicts each, {sum(verdicts)} accepted")


async def test_requirements_6_7_8_10_there_are_no_vote_extensions(world: World) -> None:
    document = json.loads(genesis_json(world.genesis, "vostro-test"))
    assert document["consensus_params"]["abci"]["vote_extensions_enable_height"] == "0"
    await world.begin()
    answer = await world.p.application.finalize_block(world.p.decided(2))
    assert answer.params is None, "nothing enables them later"


async def test_requirement_9_proposing_and_judging_leave_no_trace_in_the_state(world: World) -> None:
    await world.begin()
    txs = (world.bundle(world.pay(), world.pay()), world.bundle(world.pay(), node=2))
    before = world.p.ledger.info(), world.p.store.durable_count
    for _ in range(20):
        mempool = tuple(world.mixed(8))
        await world.p.application.prepare_proposal(Proposal(2, 0, mempool, 1 << 20))
        await world.p.application.process_proposal(world.p.decided(2, *mempool))
    assert (world.p.ledger.info(), world.p.store.durable_count) == before
    assert await world.p.block(2, *txs) == await world.q.block(2, *txs), "who did neither comes to the same"
    assert world.p.ledger.info() == world.q.ledger.info()


async def test_requirements_11_and_12_blocks_alone_determine_state_and_results(world: World) -> None:
    await world.begin()
    for height in range(2, 22):
        txs = tuple(world.mixed(world.chance.randrange(0, 6)))
        if world.chance.randrange(2):  # a round that came to nothing, with other content
            await world.p.application.finalize_block(world.p.decided(height, *world.mixed(3)))
        if world.chance.randrange(2):
            for raw in txs:
                await world.q.application.check_tx(raw, recheck=False)
        first, second = await world.p.block(height, *txs), await world.q.block(height, *txs)
        assert first == second
        assert len(first.results) == len(txs), "one result a transaction, in order"
        assert {result.code for result in first.results} <= {0}
        assert world.p.ledger.info() == world.q.ledger.info()
    assert world.p.ledger.info().height > 10
    print("blocks: 20 tried, 20 with equal results, updates and app hashes")


async def test_requirement_13_check_tx_does_not_oscillate_over_an_unchanged_state(world: World) -> None:
    await world.begin()
    for raw in (
        world.bundle(world.pay()),
        world.bundle(world.pay(), node=9),
        b"garbage",
        world.bundle(b"\x90"),
    ):
        verdicts = {
            (await world.q.application.check_tx(raw, recheck=again)).code for again in (False, True) * 5
        }
        assert len(verdicts) == 1
    assert (await world.p.application.check_tx(world.bundle(world.pay()), recheck=False)).code == 0


async def test_nothing_of_a_finalized_block_is_durable_before_commit(world: World) -> None:
    await world.begin()
    before = world.p.store.durable_count
    raw = world.bundle(world.pay())
    answer = await world.p.application.finalize_block(world.p.decided(2, raw))
    assert world.p.store.durable_count == before
    assert (await world.p.application.info(ASKED)).height == 1
    again = Process(world.genesis, world.p.folder, 0, world.p.store)  # as after a crash
    assert (await again.application.info(ASKED)).height == 1
    assert await again.block(2, raw) == answer, "replayed, it comes to the same"
    assert (await again.application.info(ASKED)).height == 2
    assert again.store.durable_count == before + 1


class Killed(Exception):
    """The process ends here."""


@pytest.mark.parametrize("at", ["place", "ledger", "behind sync"])
async def test_a_home_whose_first_commit_was_cut_off_goes_on(
    world: World, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, store = world.p, world.p.store
    await process.begin()
    raw = world.bundle(world.make(op("assets", "open_accounts", ("PA/main",))))
    answer = await process.application.finalize_block(process.decided(1, raw))

    def killed(*_: object) -> None:
        raise Killed

    sync = store.sync

    def synced_and_killed() -> None:
        sync()
        raise Killed

    with monkeypatch.context() as patch:
        if at == "place":
            patch.setattr(RecordFile, "create", killed)
        elif at == "ledger":
            patch.setattr(process.ledger, "commit", killed)
        else:
            patch.setattr(store, "sync", synced_and_killed)
        with pytest.raises(Killed):
            await process.application.commit()
    again = Process(world.genesis, process.folder, 0, store)
    height = (await again.application.info(ASKED)).height
    assert height == (1 if at == "behind sync" else 0)
    if not height:  # CometBFT begins anew, and hands in the block that it has
        await again.begin()
        assert await again.block(1, raw) == answer
    assert (await again.application.info(ASKED)).height == 1
    assert (await again.block(2)).app_hash == answer.app_hash


async def test_validator_updates_are_the_difference_one_entry_a_key_within_bounds(world: World) -> None:
    await world.begin()
    keys = [public_key(new_key()) for _ in range(3)]

    def new(at: int, member: str) -> NewValidator:
        node = NewNode("ed25519", officer(f"node-{4 + at}").public_key)
        return NewValidator(member, "ed25519", keys[at], 10, f"v{at}", node)

    powers = {each.public_key: each.power for each in world.genesis.authority}
    height, seen = 1, 0
    changes = [
        [op("validators", "add", new(0, "PA"), "")],
        [op("validators", "add", new(1, "KB"), "")],
        [],
    ]
    for operations in changes:
        proposing: tuple[bytes, ...] = ()
        if operations:
            proposing = (world.bundle(world.make(op("governance", "propose", tuple(operations), ""))),)
        height += 1
        updates = (await world.p.block(height, *proposing)).updates
        await world.q.block(height, *proposing)
        assert not updates
        if operations:
            query: Any = world.p.ledger.readers["governance"]
            number = query.counter.get("due").last
            content = query.proposal.get(number).content_hash
            height += 1
            ballot = world.bundle(world.make(op("governance", "approve", number, content), member="KB"))
            answer = await world.p.block(height, ballot)
            assert answer == await world.q.block(height, ballot)
            names = [update.public_key for update in answer.updates]
            assert len(names) == len(set(names)) == 1
            for update in answer.updates:
                assert update.power or update.public_key in powers, "nobody is removed who is not there"
                powers[update.public_key] = update.power
                seen += 1
            for _ in range(2):  # until it is in force
                height += 1
                raw = world.bundle(world.pay())
                assert not (await world.p.block(height, raw)).updates
                assert not (await world.q.block(height, raw)).updates
    assert seen == 2
    assert sum(powers.values()) <= VALIDATOR_POWER_MAX
    wanted = {each.public_key: each.power for each in world.p.ledger.standing.authority}
    assert wanted == {key: power for key, power in powers.items() if power}
