"""A real CometBFT over the socket, the home and the supervisor: transactions become blocks, either side may
end and return, and the calls come in the order of the ABCI specification.
"""

import asyncio
import time
from collections import Counter
from itertools import pairwise

import pytest

from node.engine.cometbft.rpc import BroadcastKind, RpcError
from tests.comet_kit import CHAIN, Node, network, until
from tests.engine.abci_order import check_order
from tests.engine.comet_counter import CountingApplication
from tests.kit import make_genesis

GENESIS = make_genesis()


def check_traces(node: Node) -> int:
    """Every trace of a node is in the grammar; how many calls there were."""
    committed = 0
    for trace in node.traces:
        committed = check_order(trace, committed=committed)
    application = node.application
    assert isinstance(application, CountingApplication)
    assert committed == application.disk.height
    assert not node.failures
    return sum(map(len, node.traces))


async def has_peers(node: Node, count: int) -> bool:
    return len(await node.rpc.net_info()) == count


async def broadcast(node: Node, *txs: bytes) -> None:
    for tx in txs:
        assert (await node.rpc.broadcast_sync(tx)).kind is BroadcastKind.ACCEPTED


@pytest.mark.asyncio
async def test_transactions_become_blocks_and_each_is_applied_once() -> None:
    application = CountingApplication()
    began = time.monotonic()
    async with network(GENESIS, [application]) as [node]:
        print(f"one node answers after {time.monotonic() - began:.2f} s")
        txs = [b"tx %d" % number for number in range(50)]
        await broadcast(node, *txs)
        await until(lambda: application.disk.counts == Counter(txs), "50 transactions applied")

        assert (await node.rpc.broadcast_sync(txs[0])).kind is BroadcastKind.PENDING
        refused = await node.rpc.broadcast_sync(b"bad")
        assert (refused.kind, refused.code, refused.log) == (BroadcastKind.REFUSED, 7, "bad")
        assert (await node.rpc.broadcast_sync(bytes(1024 * 1024 + 1))).kind is BroadcastKind.TOO_LARGE
        assert (await node.rpc.broadcast_async(b"later")).kind is BroadcastKind.ACCEPTED
        await until(lambda: application.disk.counts[b"later"] == 1, "the last transaction applied")

        begun = application.begun
        assert begun is not None
        assert begun.chain_id == CHAIN
        assert begun.time_ns == GENESIS.time_ms * 1_000_000
        assert begun.params is not None
        assert begun.params.block_gas_max == GENESIS.limits.block_work_max
        assert begun.params.app_version == GENESIS.protocol
        assert check_traces(node) > 100


@pytest.mark.asyncio
async def test_an_idle_node_makes_a_block_each_heartbeat_only() -> None:
    application = CountingApplication()
    async with network(GENESIS, [application]) as [node]:
        await node.wait_height(4)
        times = [block.time_ns for block in application.blocks[1:4]]
        assert all(later - earlier > 800_000_000 for earlier, later in pairwise(times))


@pytest.mark.asyncio
async def test_the_rpc_answers_what_a_node_and_a_doctor_ask() -> None:
    application = CountingApplication()
    async with network(GENESIS, [application]) as [node]:
        status = await node.wait_height(2)
        assert (status.node_id, status.chain_id, status.version) == (node.peer.node_id, CHAIN, "0.39.4")
        assert (status.power, status.catching_up) == (10, False)
        commit = await node.rpc.commit(1)
        assert commit.is_canonical
        assert commit.signed_header["header"]["height"] == "1"
        (validator,) = await node.rpc.validators(1)
        assert validator["voting_power"] == "10"
        assert (await node.rpc.header(2))["chain_id"] == CHAIN
        assert (await node.rpc.genesis())["chain_id"] == CHAIN
        assert (await node.rpc.waiting()).count == 0
        assert await node.rpc.net_info() == ()
        assert "round_state" in await node.rpc.consensus_state()
        with pytest.raises(RpcError, match="height"):
            await node.rpc.commit(10_000)


@pytest.mark.asyncio
async def test_cometbft_killed_and_started_again_goes_on_with_the_application() -> None:
    application = CountingApplication()
    async with network(GENESIS, [application]) as [node]:
        for number in range(3):
            await broadcast(node, b"before %d" % number)
            await until(lambda: sum(application.disk.counts.values()) > number, "applied")  # noqa: B023
            node.kill_comet()
            await until(lambda: node.supervisor.restart_count > number, "started again")  # noqa: B023
            await node.wait_height(application.disk.height)
        await broadcast(node, b"after")
        await until(lambda: application.disk.counts[b"after"] == 1, "applied after the restarts")
        assert set(application.disk.counts.values()) == {1}
        assert len(node.alarms) == 3
        assert all("SIGKILL" in alarm for alarm in node.alarms)
        assert len({call.run for call in node.traces[0]}) == 4
        check_traces(node)


@pytest.mark.asyncio
async def test_the_application_started_again_is_told_what_it_lost() -> None:
    first = CountingApplication()
    async with network(GENESIS, [first]) as [node]:
        await broadcast(node, b"one")
        await until(lambda: first.disk.counts[b"one"] == 1, "applied")
        await node.server.stop()  # CometBFT ends itself; its supervisor starts it again
        second = CountingApplication(first.disk)
        await node.start_application(second)
        await until(lambda: node.supervisor.restart_count > 0, "CometBFT started again")
        await node.wait_height(second.disk.height)
        await broadcast(node, b"two")
        await until(lambda: second.disk.counts[b"two"] == 1, "applied after the restart")
        check_traces(node)

        await node.stop_comet()
        await node.server.stop()
        empty = CountingApplication()
        await node.start_application(empty)
        await node.start_comet()
        assert empty.disk.counts == second.disk.counts, "replay from genesis"
        assert check_order(node.traces[-1]) == empty.disk.height


@pytest.mark.asyncio
async def test_an_application_that_fails_ends_cometbft_and_the_node_learns_why() -> None:
    application = CountingApplication()
    async with network(GENESIS, [application]) as [node]:
        await node.rpc.broadcast_async(b"fail")
        await until(lambda: bool(node.failures), "the failure reported")
        assert isinstance(node.failures[0], ArithmeticError)
        await until(lambda: bool(node.alarms), "CometBFT ended")
        assert application.disk.counts[b"fail"] == 0


@pytest.mark.asyncio
async def test_four_validators_agree_and_one_may_be_gone() -> None:
    applications = [CountingApplication() for _ in range(4)]
    began = time.monotonic()
    async with network(GENESIS, applications) as nodes:
        await asyncio.gather(*(node.wait_height(1) for node in nodes))
        print(f"four nodes are at height 1 after {time.monotonic() - began:.2f} s")
        txs = [b"tx %d" % number for number in range(40)]
        for place, tx in enumerate(txs):
            await broadcast(nodes[place % 4], tx)
        await until(lambda: all(a.disk.counts == Counter(txs) for a in applications), "all applied all")
        await nodes[0].rpc.dial_peers([str(node.peer) for node in nodes[1:]])
        await until(lambda: has_peers(nodes[0], 3), "everybody connected")

        await nodes[3].stop_comet()
        await broadcast(nodes[0], b"without the fourth")
        await until(
            lambda: all(a.disk.counts[b"without the fourth"] == 1 for a in applications[:3]),
            "three of four decide",
        )
        await nodes[3].start_comet(height=applications[0].disk.height)
        await until(lambda: applications[3].disk.counts == applications[0].disk.counts, "caught up")
        calls = [check_traces(node) for node in nodes]
        print(f"calls in order, a node: {calls}")
