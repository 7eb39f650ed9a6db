"""The ledger under real CometBFT: every transaction exactly once, whatever is repeated, lost or killed."""

import asyncio
import os
import shutil
import signal
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from contracts import assemble
from node.client import signing
from node.engine.cometbft.abci import (
    DecidedBlock,
    InfoRequest,
    InitChainRequest,
    Proposal,
    ValidatorPower,
)
from node.engine.cometbft.home import Keys, new_key, node_id, public_key
from node.engine.cometbft.light import comet_chain_id
from node.engine.cometbft.rpc import BroadcastKind
from node.engine.cometbft.supervisor import wait_ready
from node.engine.errors import NodeError
from node.keys.verify import InternationalVerifier
from node.ledger import codec
from node.ledger.errors import InvariantViolated, LedgerError
from node.ledger.ledger import Ledger
from node.ledger.running import contents
from node.ledger.types import Block, Leaf, Limits
from node.storage.memory import MemoryStore
from tests.engine.abci_order import check_order
from tests.engine.comet_bench import Validator, applied, consortium, until
from tests.kit import spoilt

pytestmark = pytest.mark.asyncio

decode_leaf = codec.trusted_decoder(Leaf)
ASKED = InfoRequest("0.39.4", 11, 8, "2.0.0")


def check_exactly_once(validator: Validator) -> None:
    """No transaction stands in the log twice."""
    leaves = [decode_leaf(leaf) for record in validator.store.blocks() for leaf in record.leaves]
    counted = Counter(leaf.tx_id for leaf in leaves if any(leaf.tx_id))
    assert counted
    assert max(counted.values()) == 1


def replayed(validator: Validator, genesis: Any) -> bytes:
    """The app hash that a ledger comes to which runs the logged blocks by itself, without CometBFT."""
    ledger = Ledger(genesis, assemble, MemoryStore(), InternationalVerifier())
    for record in validator.store.blocks():
        if record.height == 0:
            finalized = ledger.init_chain()
        else:
            items, evidence = contents(record)
            finalized = ledger.finalize_block(Block(record.height, record.time_ms, items, evidence))
        ledger.commit()
        assert finalized.app_hash == record.app_hash, f"height {record.height}"
    return ledger.info().app_hash


async def test_what_is_handed_in_is_decided_once_and_the_same_bytes_get_the_first_outcome() -> None:
    async with consortium() as made:
        (only,) = made.validators
        raws = [made.pay(amount) for amount in range(1, 41)]
        first = await only.submit(*raws)
        assert all(applied(outcome) for outcome in first)
        assert [outcome.receipt for outcome in await only.submit(*raws)] == [o.receipt for o in first]
        assert only.balance("KB/main") == sum(range(1, 41))
        assert replayed(only, made.genesis) == only.ledger.info().app_hash
        check_exactly_once(only)
    check_order(only.trace)


async def test_other_content_under_a_spent_request_id_is_refused_for_good() -> None:
    async with consortium() as made:
        (only,) = made.validators
        request_id = signing.new_request_id()
        (first,) = await only.submit(made.pay(1, request_id=request_id))
        (second,) = await only.submit(made.pay(2, request_id=request_id))
        assert applied(first)
        assert (second.error, second.decided) == (LedgerError.REQUEST_ID_SPENT, True)


async def test_a_transaction_in_two_bundles_of_two_nodes_and_a_bundle_twice_are_decided_once() -> None:
    async with consortium(4) as made:
        raws = [made.pay() for _ in range(30)]
        bundles = [made.bundle(*raws[at:], node=node) for node in range(4) for at in (0, 10)]
        for node, bundle in enumerate(bundles):
            for rpc in (made.validators[node % 4].rpc, made.validators[(node + 1) % 4].rpc):
                said = await rpc.broadcast_sync(bundle)
                assert said.kind in (BroadcastKind.ACCEPTED, BroadcastKind.PENDING), said
        answers = await asyncio.gather(*(each.submit(*raws) for each in made.validators))
        assert all(applied(outcome) for answer in answers for outcome in answer)
        assert len({tuple(outcome.receipt.tx_id for outcome in answer) for answer in answers}) == 1  # type: ignore[union-attr]
        await made.level()
        assert [each.balance("KB/main") for each in made.validators] == [30] * 4
        for each in made.validators:
            check_exactly_once(each)
            check_order(each.trace)


async def test_a_copy_with_broken_signatures_ordered_first_burns_nothing() -> None:
    async with consortium(2) as made:
        honest, _ = made.validators
        good = made.pay(7)
        broken = spoilt(good)
        await honest.rpc.broadcast_sync(made.bundle(broken, node=1))
        (outcome,) = await honest.submit(good)
        assert applied(outcome)
        assert honest.balance("KB/main") == 7


@pytest.mark.evidence(
    "PRT7",
    asset="blocks",
    threat="a stranger's node connects to a consortium's",
    mitigation="a closed node turns it away by its node id",
)
async def test_a_closed_node_turns_a_stranger_away_and_lets_a_guest_catch_up() -> None:
    guest = Keys(new_key(), new_key())
    named = node_id(public_key(guest.node))

    def close(validator: Validator) -> None:
        validator.config = replace(validator.config, filter_peers=True)
        validator.options = {"admits": {named}}

    async with consortium(adjust=close) as made:
        (host,) = made.validators
        stranger, known = made.add_observer(), made.add_observer()
        known.keys = guest
        for joining in (stranger, known):
            joining.config = replace(joining.config, filter_peers=False)
        await stranger.start()
        await until(lambda: "query" in [call.name for call in host.trace], "it knocks")
        await known.start()
        height = host.ledger.info().height
        await until(lambda: known.ledger.info().height == height > 0, "the guest catches up")
        assert [peer.node_id for peer in await host.rpc.net_info()] == [named]
        assert stranger.ledger.info().height == 0
    print("a closed node: 2 nodes tried, the stranger turned away, the guest level")


@pytest.mark.evidence(
    "CFT3",
    asset="acknowledged transactions",
    threat="CometBFT or a node is killed",
    mitigation="replay from the last durable height",
)
async def test_cometbft_killed_under_load_loses_nothing_that_was_accepted() -> None:
    async with consortium() as made:
        (only,) = made.validators
        calls = [asyncio.ensure_future(only.submit(*[made.pay() for _ in range(20)])) for _ in range(10)]
        await asyncio.sleep(0)
        for _ in range(3):
            await killed(only)
            calls.append(asyncio.ensure_future(only.submit(made.pay())))
            await until(lambda: only.engine.comet_height > 0 and only.engine.status().serving, "it serves")
        outcomes = [outcome for answer in await asyncio.gather(*calls) for outcome in answer]
        refused = [each for each in outcomes if not applied(each)]
        assert all(each.error in (NodeError.STARTING, NodeError.SYNCING) for each in refused), refused
        assert only.balance("KB/main") == len(outcomes) - len(refused) >= 200
        assert replayed(only, made.genesis) == only.ledger.info().app_hash


async def killed(validator: Validator) -> None:
    """kill -9 of CometBFT alone, and its supervisor has started it again."""
    before = validator.comet.restart_count
    assert validator.comet.pid
    os.kill(validator.comet.pid, signal.SIGKILL)
    await until(lambda: validator.comet.restart_count > before, "CometBFT is started again")
    await wait_ready(validator.rpc, validator.comet)


@pytest.mark.parametrize("step", ["before finalize", "behind finalize", "before commit", "behind commit"])
@pytest.mark.evidence(
    "CFT3",
    asset="acknowledged transactions",
    threat="CometBFT or a node is killed",
    mitigation="replay from the last durable height",
)
async def test_a_node_that_crashes_at_any_step_of_a_block_comes_to_the_same_state(step: str) -> None:
    """The moment, told by what CometBFT had been answered; kill -9 takes both processes of a node."""
    async with consortium() as made:
        (only,) = made.validators
        reached, application = asyncio.Event(), only.application
        name = "finalize_block" if "finalize" in step else "commit"
        call = getattr(application, name)

        async def stuck(*arguments: Any) -> Any:
            answer = await call(*arguments) if step.startswith("behind") else None
            reached.set()
            await asyncio.Event().wait()
            return answer

        raws = [made.pay() for _ in range(5)]
        setattr(application, name, stuck)
        waiting = asyncio.ensure_future(only.engine.submit(raws))
        await asyncio.wait_for(reached.wait(), 10)
        await only.crash()
        waiting.cancel()
        await only.start()
        await only.serving()
        outcomes = await only.submit(*raws)
        assert all(applied(outcome) for outcome in outcomes), outcomes
        assert only.balance("KB/main") == 5
        assert replayed(only, made.genesis) == only.ledger.info().app_hash
        check_exactly_once(only)


async def test_quiet_blocks_are_not_run_again_after_a_restart_and_make_no_headers() -> None:
    async with consortium() as made:
        (only,) = made.validators
        head = only.ledger.info()
        await until(lambda: only.engine.comet_height >= head.height + 4, "heartbeats pass")
        assert only.ledger.info() == head
        said = await only.application.info(ASKED)
        assert said.height > head.height
        await only.stop()
        await only.start()
        replayed_blocks = [call for call in only.trace if call.name == "finalize_block"]
        assert not [call for call in replayed_blocks if call.height <= said.height - 1]
        await only.serving()
        (outcome,) = await only.submit(made.pay())
        assert applied(outcome)


async def test_too_much_is_refused_at_once_and_nothing_of_it_is_ordered() -> None:
    async with consortium(queue_max=50) as made:
        (only,) = made.validators
        outcomes = await only.submit(*[made.pay() for _ in range(80)])
        assert [applied(outcome) for outcome in outcomes] == [True] * 50 + [False] * 30
        assert {outcome.error for outcome in outcomes[50:]} == {NodeError.OVERLOADED}
        assert only.balance("KB/main") == 50


async def test_a_transaction_dead_by_its_deadline_is_told_so_and_never_decided() -> None:
    async with consortium() as made:
        (only,) = made.validators
        deadline = only.ledger.time_ms + 300
        late = made.pay(valid_until_ms=deadline)
        await until(lambda: only.ledger.time_ms > deadline, "its deadline is over")
        (outcome,) = await only.submit(late)
        assert (outcome.error, outcome.decided) == (LedgerError.EXPIRED, True)


@pytest.mark.evidence(
    "ACT11",
    asset="order",
    threat="a validator proposes what is wrong",
    mitigation="one predicate on every node",
)
async def test_proposals_with_wrong_oversized_or_doubled_content_are_not_voted_for() -> None:
    async with consortium(limits=Limits(600_000, 500, 100_000, 512 * 1024)) as made:
        (only,) = made.validators
        application = only.application
        good = made.bundle(made.pay())
        heavy = [made.bundle(*[made.pay() for _ in range(700)], sequence=at) for at in range(3)]

        async def voted(*txs: bytes) -> bool:
            return await application.process_proposal(DecidedBlock(99, 0, txs, b""))

        assert await voted(good)
        assert await voted()
        tried = [
            (good, good),
            (b"garbage",),
            (spoilt(good),),
            (good, made.bundle(b"\x90")),
            (bytes(600_000),),
            tuple(heavy),
        ]
        assert [await voted(*txs) for txs in tried] == [False] * len(tried)
        proposed = await application.prepare_proposal(Proposal(99, 0, (good, b"garbage", *heavy), 10**6))
        assert proposed[0] == good
        assert len(proposed) < 4, "as much as a block may weigh"
        print(f"proposals tried: {len(tried) + 2}, held: {len(tried) + 2}")


@pytest.mark.evidence(
    "ACT11",
    asset="order",
    threat="a validator proposes what is wrong",
    mitigation="one predicate on every node",
)
async def test_a_node_that_hands_on_false_signatures_is_shunned_by_the_others_mempools() -> None:
    async with consortium(4) as made:
        first, *others = made.validators
        good = made.pay()
        false = made.bundle(spoilt(good), node=1)
        assert (await first.rpc.broadcast_sync(false)).kind is BroadcastKind.ACCEPTED
        await until(lambda: "false signatures" in " ".join(first.engine.status().alarms), "an alarm")
        said = await first.rpc.broadcast_sync(made.bundle(made.pay(), node=1, sequence=2))
        assert said.kind is BroadcastKind.REFUSED
        outcomes = [*await first.submit(good), *await others[1].submit(made.pay())]
        assert all(applied(outcome) for outcome in outcomes), "the others go on"


async def test_four_validators_agree_under_load_from_all_sides() -> None:
    async with consortium(4) as made:
        calls = [each.submit(*[made.pay() for _ in range(25)]) for _ in range(4) for each in made.validators]
        outcomes = [outcome for answer in await asyncio.gather(*calls) for outcome in answer]
        assert all(applied(outcome) for outcome in outcomes)
        await made.level()
        assert [each.balance("KB/main") for each in made.validators] == [400] * 4
        assert replayed(made.validators[0], made.genesis) == made.validators[3].ledger.info().app_hash
        for each in made.validators:
            check_order(each.trace)


async def test_a_home_whose_ledger_was_lost_in_part_halts_at_once_and_says_why() -> None:
    async with consortium() as made:
        (only,) = made.validators
        await only.submit(made.pay())
        await only.stop()
        shutil.rmtree(only.folder / "comet" / "data")
        (only.folder / "comet" / "vostro-place").unlink()
        with pytest.raises(InvariantViolated, match="begins at height 1 and the ledger ends at"):
            await only.start()
        await only.stop()
        shutil.rmtree(only.folder / "data")
        await only.start()
        await only.serving()
        await made.fund()  # there was nobody to catch up from: the chain began again


async def test_a_home_that_does_not_fit_the_ledger_is_not_begun() -> None:
    async with consortium() as made:
        (only,) = made.validators
        application, height = only.application, only.ledger.info().height
        powers = tuple([ValidatorPower(each.public_key, each.power) for each in made.genesis.authority])
        other = (ValidatorPower(powers[0].public_key, 9),)
        chain = comet_chain_id(made.chain)
        unfit = {
            "another chain": InitChainRequest(0, "vostro-other", height + 1, powers, None),
            "begins too early": InitChainRequest(0, chain, 1, powers, None),
            "begins too late": InitChainRequest(0, chain, height + 2, powers, None),
            "another power": InitChainRequest(0, chain, height + 1, other, None),
            "no validators": InitChainRequest(0, chain, height + 1, (), None),
        }
        for what, request in unfit.items():
            with pytest.raises(InvariantViolated):
                await application.init_chain(request)
            assert what
        answer = await application.init_chain(InitChainRequest(0, chain, height + 1, powers, None))
        assert answer.app_hash == only.ledger.info().app_hash, "a ledger that ends there may begin a home"
