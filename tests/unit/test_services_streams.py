"""Streams: blocks and events resume where they were left, and a backup arrives whole or not at all."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from node.engine.errors import NodeError
from node.ledger.types import BlockRecord
from node.pb.vostro.ledger.v1 import ledger_pb2 as pb
from node.services.convert import decode_receipt
from node.services.feed import (
    PROGRESS_AT_ONCE,
    PROGRESS_BLOCKS,
    PROGRESS_SECONDS,
    BlockEvents,
    Feed,
    Filter,
    Told,
    _Listener,
)
from node.services.streams import PART_BYTES, block_parts
from tests.kit import pay
from tests.services_kit import WORD_SECONDS, Face, is_code, refused, serving

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def face(tmp_path: Path) -> AsyncIterator[Face]:
    async with serving(tmp_path) as served:
        yield served


async def read(call: Any) -> Any:
    return await asyncio.wait_for(call.read(), WORD_SECONDS)


def cursor_request(cursor: pb.Cursor, **filters: str) -> pb.StreamEventsRequest:
    fields: dict[str, Any] = {"from": cursor, **filters}
    return pb.StreamEventsRequest(**fields)


async def test_blocks_come_from_a_height_on_and_then_as_they_are_made(face: Face) -> None:
    last = face.world.height
    call = face.client.chain.StreamBlocks(pb.StreamBlocksRequest(from_height=last - 1, include_receipts=True))
    assert [(await read(call)).header.height for _ in range(2)] == [last - 1, last]
    waiting = asyncio.ensure_future(read(call))
    receipt = face.world.apply("PA", pay("PA/main", "KB/main", 1))
    face.engine.tell()
    block = await waiting
    assert (block.header.height, block.last, block.first_index) == (receipt.height, True, 0)
    stored = face.world.store.receipts(receipt.height)
    assert (tuple(block.receipts), len(block.leaves), len(block.bodies)) == (stored, 0, 0)
    call.cancel()


async def test_the_stream_from_zero_begins_with_genesis(face: Face) -> None:
    call = face.client.chain.StreamBlocks(pb.StreamBlocksRequest())
    assert [(await read(call)).header.height for _ in range(3)] == [0, 1, 2]
    call.cancel()


async def test_a_large_block_comes_in_parts_that_put_together_are_the_block(face: Face) -> None:
    header = face.world.store.headers(1, 1)[0]
    leaves = tuple(bytes([n]) * 100 for n in range(40))
    bodies = tuple(bytes([n]) * 100_000 for n in range(40))
    block = BlockRecord(1, header.time_ms, header.app_hash, header.header, leaves=leaves, bodies=bodies)
    parts = list(block_parts(block, pb.StreamBlocksRequest(include_leaves=True, include_bodies=True)))
    assert len(parts) == 4
    assert tuple(leaf for part in parts for leaf in part.leaves) == leaves
    assert tuple(body for part in parts for body in part.bodies) == bodies
    assert [part.last for part in parts] == [False, False, False, True]
    assert all(part.ByteSize() < PART_BYTES * 1.2 for part in parts)
    at = 0
    for part in parts:
        assert part.first_index == at
        at += len(part.leaves)


async def test_events_resume_at_the_cursor_of_the_last_message_without_gap_or_repeat(face: Face) -> None:
    call = face.client.chain.StreamEvents(pb.StreamEventsRequest())
    expected = sum(len(r.events) for r in _receipts(face))
    everything = [await read(call) for _ in range(expected)]
    call.cancel()
    assert expected > 30
    for cut in (1, expected // 2, expected - 2):
        call = face.client.chain.StreamEvents(cursor_request(everything[cut - 1].next))
        assert [await read(call) for _ in range(2)] == everything[cut : cut + 2]
        call.cancel()


async def test_events_are_filtered_by_contract_name_and_account(face: Face) -> None:
    for filters, fits in (
        ({"contract": "transfers"}, lambda e: e.contract == "transfers"),
        ({"contract": "assets", "event": "Issued"}, lambda e: e.event == "Issued"),
        ({"account": "PA/frozen"}, lambda e: b"PA/frozen" in e.fields),
    ):
        wanted = [(e.contract, e.event, e.fields) for r in _receipts(face) for e in r.events if fits(e)]
        call = face.client.chain.StreamEvents(pb.StreamEventsRequest(**filters))
        told = [(await read(call)).event for _ in wanted]
        call.cancel()
        assert [(e.contract, e.event, e.fields) for e in told] == wanted
        assert wanted


async def test_an_account_is_found_whole_and_not_as_a_part_of_another(face: Face) -> None:
    face.world.apply("PA", pay("PA/main", "KB/main", 1, reference="PA/mai"))
    face.engine.tell()
    call = face.client.chain.StreamEvents(pb.StreamEventsRequest(account="PA/mai"))
    told = await read(call)
    assert json.loads(told.event.fields_json)["end_to_end_id"] == "PA/mai"
    assert told.at.height == face.world.height
    call.cancel()


async def test_a_silent_stream_of_events_says_how_far_it_is(face: Face) -> None:
    for _ in range(PROGRESS_BLOCKS):
        face.world.apply("PA", pay("PA/main", "KB/main", 1))
    call = face.client.chain.StreamEvents(pb.StreamEventsRequest(contract="nothing"))
    told = await read(call)
    assert not told.HasField("event")
    assert told.next == pb.Cursor(height=PROGRESS_BLOCKS + 1)
    call.cancel()


async def test_of_many_silent_streams_few_are_told_at_one_block_and_all_in_turn(face: Face) -> None:
    """What all of them would be told at once, or again and again on a busy chain, kept others waiting."""
    nothing: Any = None
    moments = [0.0]
    feed, count = Feed(face.engine, face.world.store, nothing, nothing, lambda: moments[-1]), 200
    listeners = [_Listener(Filter("", "", f"PA/{number}", ""), (0, 0.0)) for number in range(count)]
    for listener in listeners:
        feed._listen(listener)
    moments.append(PROGRESS_SECONDS * 1.01)
    woken: list[int] = []
    for height in range(1, PROGRESS_BLOCKS + count // PROGRESS_AT_ONCE + 1):
        feed._offer(_block_of(height))
        woken.append(sum(height in listener.pending for listener in listeners))
    assert max(woken) == PROGRESS_AT_ONCE
    assert woken[:PROGRESS_BLOCKS] == [0] * PROGRESS_BLOCKS
    assert [len(listener.pending) for listener in listeners] == [1] * count
    for height in range(1_000, 1_000 + 2 * PROGRESS_BLOCKS):
        feed._offer(_block_of(height))
    assert [len(listener.pending) for listener in listeners] == [1] * count, "many blocks in no time"
    moments.append(PROGRESS_SECONDS * 3)
    feed._offer(_block_of(10**6, "PA/7"))
    told = [at for at, each in enumerate(listeners) if 10**6 in each.pending]
    assert told == [0, 1, 7]  # whom the block names, and whose turn has come
    for listener in listeners:
        feed._leave(listener)
    assert (feed._listeners, feed._of_account, feed._running) == ({}, {}, None)


def _block_of(height: int, *texts: str) -> BlockEvents:
    """A block with an event that names these; none without."""
    event: Any = None
    events = (Told(0, 0, bytes(32), event, event, ""),) if texts else ()
    return BlockEvents(
        height, 0, events, frozenset({("a", "b")}), frozenset(texts), frozenset(), shared=False
    )


async def test_a_height_that_cannot_be_is_refused(face: Face) -> None:
    for call in (
        face.client.chain.StreamBlocks(pb.StreamBlocksRequest(from_height=2**63)),
        face.client.chain.StreamEvents(cursor_request(pb.Cursor(height=2**64 - 1))),
    ):
        assert is_code(await refused(call), NodeError.BLOCK_UNKNOWN)


async def test_a_backup_arrives_in_order_and_ends_with_its_summary(face: Face) -> None:
    parts = [
        part async for part in face.client.chain.StreamBackup(pb.StreamBackupRequest(), timeout=WORD_SECONDS)
    ]
    data = b"".join(part.chunk for part in parts)
    assert data == b"".join(bytes([n]) * (1 << 20) for n in range(3))
    assert max(len(part.chunk) for part in parts) <= PART_BYTES
    assert json.loads(parts[-1].summary_json) == {"height": 7, "app_hash": "01ff"}


async def test_a_second_backup_waits_its_turn_and_an_abandoned_one_ends(tmp_path: Path) -> None:
    ended = threading.Event()

    def endless(write: Any) -> dict[str, Any]:
        try:
            while True:
                write(bytes(PART_BYTES))
        finally:
            ended.set()

    async with serving(tmp_path, backup=endless) as face:
        first = face.client.chain.StreamBackup(pb.StreamBackupRequest())
        await read(first)
        second = face.client.chain.StreamBackup(pb.StreamBackupRequest())
        assert is_code(await refused(second), NodeError.OVERLOADED)
        first.cancel()
        assert await asyncio.to_thread(ended.wait, WORD_SECONDS)


async def test_a_backup_that_fails_says_so_after_its_chunks(tmp_path: Path) -> None:
    def failing(write: Any) -> dict[str, Any]:
        write(b"abc")
        raise OSError("disk on fire")

    async with serving(tmp_path, backup=failing) as face:
        call = face.client.chain.StreamBackup(pb.StreamBackupRequest())
        assert (await read(call)).chunk == b"abc"
        assert is_code(await refused(call.read()), NodeError.INTERNAL)


def _receipts(face: Face) -> list[Any]:
    return [decode_receipt(receipt) for block in face.world.store.blocks() for receipt in block.receipts]
