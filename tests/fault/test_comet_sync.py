"""Nodes that join, lose their disk or stay away: block sync, state sync from a snapshot, pruning behind it."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from node.engine.cometbft.answers import read_signed_header
from node.engine.cometbft.home import StateSync
from node.engine.cometbft.light import header_hash
from node.engine.cometbft.state_sync import Keeping
from node.engine.cometbft.tunnel import PeerDoor, RpcTunnel
from node.ledger.errors import LedgerError
from node.pb.vostro.consensus.v1.consensus_pb2_grpc import add_ConsensusServiceServicer_to_server
from node.services.consensus_service import ConsensusService
from node.services.interceptors import Registrar
from node.services.server import RPCS
from node.storage.handovers import HandoverShelf
from tests.engine.comet_bench import Consortium, Validator, applied, consortium, until
from tests.engine.test_comet_engine import check_exactly_once

pytestmark = pytest.mark.asyncio

EVERY = 10
JOIN_SECONDS = 90.0


@asynccontextmanager
async def doors(validators: Sequence[Validator]) -> AsyncIterator[list[PeerDoor]]:
    """A ConsensusService over gRPC for each, and the ways in."""
    servers, opened = [], []
    for each in validators:
        server = grpc.aio.server()
        limits = {method: rpc.request_bytes_max for method, rpc in RPCS.items()}
        registrar: Any = Registrar(server, limits, lambda *_: None, each.engine.halt, access_log=False)
        shelf = HandoverShelf(each.folder / "data")
        add_ConsensusServiceServicer_to_server(ConsensusService(each.engine.ask, shelf.load), registrar)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        servers.append(server)
        opened.append(PeerDoor(f"127.0.0.1:{port}", None))
    try:
        yield opened
    finally:
        for door in opened:
            await door.close()
        for server in servers:
            await server.stop(0)


async def trusted(validator: Validator) -> tuple[int, bytes]:
    """A height and the hash of CometBFT's header there, as a bank reads it out by telephone."""
    height = max(1, validator.engine.comet_height - 2)
    commit, validators = await validator.rpc.commit(height), await validator.rpc.validators(height)
    return height, header_hash(read_signed_header(commit.signed_header, validators).header)


@asynccontextmanager
async def from_snapshot(made: Consortium, observer: Validator) -> AsyncIterator[None]:
    """Ways of a node to two others' light client answers and hand-overs, over gRPC."""
    async with doors(made.validators[:2]) as ways:
        tunnels = [RpcTunnel(observer.folder / f"peer-{at}.sock", way.ask) for at, way in enumerate(ways)]
        for tunnel in tunnels:
            await tunnel.start()
        servers = tuple([f"unix://{observer.folder / f'peer-{at}.sock'}" for at in range(2)])
        observer.config = replace(
            observer.config,
            state_sync=StateSync(servers, *(await trusted(made.validators[0])), discovery_s=5),
        )
        observer.elders = [way.handovers for way in ways]
        try:
            yield
        finally:
            for tunnel in tunnels:
                await tunnel.stop()


async def paid(made: Consortium, blocks: int, each: int = 3) -> list[bytes]:
    """So many blocks of payments; the transactions."""
    raws: list[bytes] = []
    for at in range(blocks):
        some = [made.pay() for _ in range(each)]
        outcomes = await made.validators[at % 4].submit(*some)
        assert all(applied(outcome) for outcome in outcomes)
        raws += some
    return raws


async def snapshots_made(made: Consortium, count: int = 1) -> None:
    """Until four validators have so many snapshots, and CometBFT has two blocks above."""
    four = made.validators[:4]
    await until(lambda: all(len(each.store.snapshots()) >= count for each in four), "snapshots are made")
    newest = four[0].store.snapshots()[0].height
    await until(lambda: all(each.engine.comet_height > newest + 2 for each in four), "two blocks above")


async def level_with(made: Consortium, late: Validator) -> None:
    """Until a node stands where the first one does."""
    first = made.validators[0]
    await until(
        lambda: late.ledger.info().app_hash == first.ledger.info().app_hash, "it is level", JOIN_SECONDS
    )


async def test_an_observer_joins_by_block_sync_and_comes_to_the_same_hashes() -> None:
    async with consortium(4) as made:
        await paid(made, 5)
        late = made.add_observer()
        await late.start()
        await level_with(made, late)
        await paid(made, 3)
        await level_with(made, late)
        assert late.balance("KB/main") == 24
        heights = [record.height for record in late.store.blocks()]
        assert heights == [record.height for record in made.validators[0].store.blocks()]
        print(f"joined by block sync: {len(heights)} blocks, the same app hash")


async def test_an_observer_joins_by_state_sync_and_goes_on_with_the_same_hashes() -> None:
    async with consortium(4, snapshot_every=EVERY) as made:
        first = made.validators[0]
        before = await paid(made, EVERY + 2)
        await snapshots_made(made)
        assert len({each.store.snapshots()[-1].hash for each in made.validators}) == 1
        late = made.add_observer(snapshot_every=EVERY)
        async with from_snapshot(made, late):
            await late.start()
            await level_with(made, late)
            assert late.store.log.base is not None, "it began from a snapshot"
            assert not [call for call in late.trace if call.name == "init_chain"]
            more = await paid(made, 3)
            await level_with(made, late)
            await until(lambda: late.certificates.newest is not None, "it proves receipts")
        held = await sent_again(made, [*before, *more])
        check_window(made, late)
        assert late.balance("KB/main") == first.balance("KB/main") == len(before) + len(more)
        print(f"joined by state sync; sent again: {held} transactions, none twice")


async def sent_again(made: Consortium, raws: Sequence[bytes]) -> int:
    """Hand in transactions that are decided, as clients and as a bundle straight to the network."""
    first = made.validators[0]
    balance = first.balance("KB/main")
    for answer in await asyncio.gather(*(each.submit(*raws) for each in made.validators[:4])):
        assert all(applied(outcome) for outcome in answer)
    await first.rpc.broadcast_sync(made.bundle(*raws, sequence=77))
    (marker,) = await first.submit(made.pay(1000))
    assert applied(marker)
    await made.level()
    assert [each.balance("KB/main") for each in made.validators] == [balance + 1000] * len(made.validators)
    (undone,) = await first.submit(made.make(*back(1000), member="KB"))
    assert applied(undone), undone
    await made.level()
    return len(raws)


def back(amount: int) -> list[Any]:
    from tests.engine.comet_bench import op

    return [op("transfers", "send", "KB/main", "PA/main", "CZK", amount, "back", b"", "")]


def check_window(made: Consortium, late: Validator) -> None:
    """Every transaction decided before the snapshot is known as spent at the node that began from it."""
    first = made.validators[0]
    checked = 0
    for record in first.store.blocks(1):
        for member, request, tx_id, _ in first_spent(first, record.height):
            found = late.store.spent(member, request)
            assert found is not None
            assert found.tx_id == tx_id
            checked += 1
    assert checked
    print(f"request ids remembered: {checked}")


def first_spent(validator: Validator, height: int) -> list[tuple[str, bytes, bytes, int]]:
    from tests.engine.test_comet_engine import decode_leaf

    leaves = [decode_leaf(leaf) for leaf in validator.store.leaves(height) or ()]
    return [
        (each.member, each.request_id, each.tx_id, at) for at, each in enumerate(leaves) if any(each.tx_id)
    ]
