"""Nodes that join, lose their disk or stay away: block sync, state sync, pruning behind snapshots."""

import asyncio
import json
import shutil
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from threading import Lock
from typing import Any

import grpc
import pytest

from node.engine.cometbft.answers import read_signed_header
from node.engine.cometbft.home import StateSync, public_key
from node.engine.cometbft.light import header_hash
from node.engine.cometbft.state_sync import Keeping
from node.engine.cometbft.tunnel import PeerDoor, RpcTunnel
from node.genesis_file import format_genesis
from node.json_form import write_document
from node.ledger.hashing import INTERNATIONAL, key_id
from node.pb.vostro.consensus.v1.consensus_pb2_grpc import add_ConsensusServiceServicer_to_server
from node.receipts import verify_receipt_file
from node.receipts.build import build_receipt_file
from node.services.consensus_service import ConsensusService
from node.services.doors import Doors
from node.services.identity import LOCAL_OPERATOR
from node.services.interceptors import Registrar
from node.services.quotas import Quotas
from node.services.reading import Reading
from node.services.server import RPCS
from node.storage.errors import StorageError
from node.storage.handovers import HandoverShelf
from tests.engine.comet_bench import Consortium, Validator, applied, consortium, op, until
from tests.engine.test_comet_engine import check_exactly_once, decode_leaf
from tests.kit import spoilt

pytestmark = pytest.mark.asyncio

EVERY = 10
LYING = Lock()
"""Chunks are asked for by several at once, each in a thread."""
JOIN_SECONDS = 90.0


@asynccontextmanager
async def doors(validators: Sequence[Validator]) -> AsyncIterator[list[PeerDoor]]:
    """A ConsensusService over gRPC for each, and the ways in."""
    servers, opened = [], []
    for each in validators:
        server = grpc.aio.server()
        limits = {method: rpc.request_bytes_max for method, rpc in RPCS.items()}
        reading = Reading(each.ledger, each.store, each.engine)
        open_doors = Doors(None, LOCAL_OPERATOR, Quotas(10_000, 10_000, 100), reading)
        registrar: Any = Registrar(limits, lambda *_: None, each.engine.halt, open_doors, access_log=False)
        shelf = HandoverShelf(each.folder / "data")
        add_ConsensusServiceServicer_to_server(ConsensusService(each.engine.ask, shelf.load), registrar)
        registrar.serve(server)
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


async def trusted(validator: Validator, height: int = 0) -> tuple[int, bytes]:
    """A height, by default a late one, and the hash of CometBFT's header there, as a bank reads it out by
    telephone.
    """
    height = height or max(1, validator.engine.comet_height - 2)
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


async def sent_again(made: Consortium, raws: Sequence[bytes]) -> int:
    """Hand in transactions that are decided, as clients and as a bundle straight to the network; the first
    outcome comes back, and nothing moves.
    """
    first = made.validators[0]
    before = first.balance("KB/main")
    for answer in await asyncio.gather(*(each.submit(*raws) for each in made.validators[:4])):
        assert all(applied(outcome) for outcome in answer)
    await first.rpc.broadcast_sync(made.bundle(*raws, sequence=77))
    (marker,) = await first.submit(made.pay(1))
    assert applied(marker)
    await made.level()
    await until(lambda: all(each.balance("KB/main") > before for each in made.validators), "all paid")
    assert [each.balance("KB/main") for each in made.validators] == [before + 1] * len(made.validators)
    return len(raws)


def check_window(made: Consortium, late: Validator) -> int:
    """Every request id that was spent before is known at a node that did not see it spent; how many."""
    checked = 0
    for record in made.validators[0].store.blocks(1):
        for leaf in map(decode_leaf, record.leaves):
            if any(leaf.tx_id):
                found = late.store.spent(leaf.member, leaf.request_id)
                assert found is not None
                assert found.tx_id == leaf.tx_id
                checked += 1
    return checked


async def test_vostro_trust_tells_the_header_that_another_bank_may_believe() -> None:
    async with consortium() as made, doors(made.validators) as (way,):
        command = [sys.executable, "-m", "node.cli", "--node", way.target, "-o", "json", "trust"]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        said, _ = await asyncio.wait_for(process.communicate(), JOIN_SECONDS)
        assert process.returncode == 0
        told = json.loads(said)
        height, digest = await trusted(made.validators[0], told["trust_height"])
        assert (told["trust_height"], told["trust_hash"]) == (height, digest.hex())


async def test_an_observer_joins_by_state_sync_and_goes_on_with_the_same_hashes() -> None:
    async with consortium(4, snapshot_every=EVERY) as made:
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
            known = check_window(made, late)
            print(f"joined by state sync; sent again: {held}, none twice; request ids known: {known}")
            assert known >= held


async def test_a_chunk_that_a_peer_changed_is_refused_and_taken_from_another() -> None:
    async with consortium(4, snapshot_every=EVERY) as made:
        await paid(made, EVERY + 2)
        await snapshots_made(made)
        lied: list[int] = []
        for each in made.validators:
            lie_once(each, lied)
        late = made.add_observer()
        async with from_snapshot(made, late):
            await late.start()
            await level_with(made, late)
            assert len(lied) == 1
            refused = [text for text in late.engine.status().alarms if "is refused (RETRY)" in text]
            assert len(refused) == 1, late.engine.status().alarms
            await paid(made, 2)
            await level_with(made, late)
        print(f"chunks changed by a peer: {len(lied)}, refused: {len(refused)}")


def lie_once(validator: Validator, lied: list[int]) -> None:
    """Whoever hands out the first chunk changes a byte of it."""
    snapshots: Any = validator.application._snapshots
    load = snapshots.load

    def changed(height: int, format_: int, chunk: int) -> bytes:
        data: bytes = load(height, format_, chunk)
        with LYING:
            if lied or not data:
                return data
            lied.append(chunk)
        return spoilt(data)

    snapshots.load = changed


async def test_a_crash_between_the_last_chunk_and_cometbft_begins_from_the_snapshot_again() -> None:
    async with consortium(4, snapshot_every=EVERY) as made:
        await paid(made, EVERY + 2)
        await snapshots_made(made)
        late = made.add_observer()
        async with from_snapshot(made, late):
            await late.start()
            taken, apply = asyncio.Event(), late.application.apply_snapshot_chunk

            async def stuck(index: int, chunk: bytes, sender: str) -> Any:
                answer = await apply(index, chunk, sender)
                if late.ledger.info().height:
                    taken.set()
                    await asyncio.Event().wait()
                return answer

            late.application.apply_snapshot_chunk = stuck  # type: ignore[method-assign]
            await asyncio.wait_for(taken.wait(), JOIN_SECONDS)
            await late.crash()
            await late.start()
            await level_with(made, late)
            await paid(made, 2)
            await level_with(made, late)


def lose_disk(validator: Validator) -> None:
    """What a new disk means: no ledger, no blocks of CometBFT's; the key and the record of what it signed are
    brought back, because they are kept elsewhere.
    """
    shutil.rmtree(validator.folder / "data")
    comet = validator.folder / "comet"
    (comet / "vostro-place").unlink()
    for entry in (comet / "data").iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)


@pytest.mark.parametrize("way", ["block sync", "state sync"])
async def test_a_validator_whose_disk_was_lost_returns_and_votes(way: str) -> None:
    async with consortium(4, snapshot_every=EVERY) as made:
        late = made.validators[3]
        await paid(made, EVERY + 2)
        await snapshots_made(made)
        await late.stop()
        lose_disk(late)
        if way == "state sync":
            async with from_snapshot(made, late):
                await late.start()
                await level_with(made, late)
        else:
            await late.start()
            await level_with(made, late)
        await made.validators[1].stop()  # the votes of the one that returned are needed now
        outcomes = await made.validators[0].submit(*[made.pay() for _ in range(5)])
        assert all(applied(outcome) for outcome in outcomes)
        await level_with(made, late)
        await made.validators[1].start()
        await level_with(made, made.validators[1])
        assert (late.store.log.base is not None) == (way == "state sync")


KEEP_LITTLE = Keeping(blocks=5, evidence_blocks=0, evidence_ms=0, look_every=1)


async def test_old_blocks_are_pruned_everywhere_and_receipts_from_them_still_verify() -> None:
    async with consortium(4, snapshot_every=EVERY, keeping=KEEP_LITTLE) as made:
        first = made.validators[0]
        await paid(made, 4)
        old = first.store.headers(2, 1)[0].height
        kept = [await receipt_of(made, each, old) for each in made.validators]
        while min(len(each.store.snapshots()) for each in made.validators) < 2 or not pruned(made):
            await paid(made, 4)
        earliest = [(await each.rpc.status()).earliest_height for each in made.validators]
        assert min(earliest) > old
        for each in made.validators:
            with pytest.raises(StorageError, match="so old"):
                each.store.block(old)
        trust = format_genesis(made.genesis)
        verified = [verify_receipt_file(file, trust) for file in kept]
        assert {each.height for each in verified} == {old}
        new = await receipt_of(made, first, first.ledger.info().height)
        assert verify_receipt_file(new, trust).height > old
        late = made.add_observer()
        async with from_snapshot(made, late):
            await late.start()
            await level_with(made, late)
        await first.stop()
        await first.start()
        await first.serving()
        (outcome,) = await first.submit(made.pay())
        assert applied(outcome)
        print(f"pruned: CometBFT keeps from {earliest}; receipts of height {old} verify: {len(kept)}")


def pruned(made: Consortium) -> bool:
    """Whether no log reaches back to genesis."""
    return all(each.store.log.base is not None for each in made.validators)


async def receipt_of(made: Consortium, validator: Validator, height: int) -> bytes:
    """The file of a block's first receipt, once it is certified."""

    def certified() -> bool:
        newest = validator.certificates.newest
        return newest is not None and newest.height >= height

    await until(certified, "its certificate")
    members: Any = validator.ledger.readers["members"]
    document = build_receipt_file(
        height, 0, genesis=made.genesis, blocks=validator.store, keys=members.key,
        history=validator.ledger, certificates=validator.certificates,
    )  # fmt: skip
    return write_document(document)


async def test_a_node_that_was_away_catches_up_while_the_others_go_on() -> None:
    async with consortium(4) as made:
        late = made.validators[3]
        await late.stop()
        for at in range(30):
            outcomes = await made.validators[at % 3].submit(*[made.pay() for _ in range(3)])
            assert all(applied(outcome) for outcome in outcomes)
        began = time.monotonic()
        await late.start()
        await level_with(made, late)
        print(f"30 blocks missed, level after {time.monotonic() - began:.1f} s")
        await late.serving()
        assert late.balance("KB/main") == 90
        check_exactly_once(late)


async def test_hand_overs_from_before_the_snapshot_are_inherited_and_a_false_one_is_not_believed() -> None:
    async with consortium(4, snapshot_every=EVERY) as made:
        first = made.validators[0]
        for at, power in enumerate((11, 12)):
            key = key_id(INTERNATIONAL, "ed25519", public_key(made.validators[at].keys.validator or b""))
            await made.decide(op("validators", "reweigh", key, power, ""))
        await paid(made, EVERY + 2)
        await snapshots_made(made)
        await until(lambda: len(handovers(first)) == 2, "two hand-overs")
        late = made.add_observer()
        async with from_snapshot(made, late):
            true = late.elders[0]
            asked: list[str] = []

            async def forged() -> Sequence[tuple[int, bytes]]:
                asked.append("forged")
                (height, content), *rest = await true()
                return [(height, spoilt(content)), *rest]

            async def gap() -> Sequence[tuple[int, bytes]]:
                asked.append("gap")
                return (await true())[1:]

            late.elders = [forged, gap, true]
            await late.start()
            await level_with(made, late)
            await paid(made, 2)
            await until(lambda: late.certificates.newest is not None, "it proves receipts", JOIN_SECONDS)
            assert asked[:2] == ["forged", "gap"]
            assert handovers(late) == handovers(first)
            await level_with(made, late)
            file = await receipt_of(made, late, late.ledger.info().height)
            assert verify_receipt_file(file, format_genesis(made.genesis)).height > EVERY


def handovers(validator: Validator) -> list[int]:
    """The heights of those that a node proves receipts with."""
    newest = validator.certificates.newest
    return [link.height for link in newest.handovers] if newest else []
