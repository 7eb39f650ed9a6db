"""Submitting through a node that is cut, full or wrong: the same bytes until a decision, each decided once,
none lost.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from node.client import Client, Declined, Outcome, Refused, Unknown, Unreachable, WrongChain, operation
from node.client.retry import Backoff
from node.engine.errors import NodeError
from node.ledger.errors import LedgerError
from tests.client_kit import OVERLOADED, FakeNode, fake_node
from tests.kit import officer

pytestmark = pytest.mark.asyncio


def signed(client: Client, count: int) -> list[bytes]:
    """Distinct transactions."""
    return [client.sign("PA", [operation("a", "b", n)], [officer("pa")]).raw for n in range(count)]


async def test_outcomes_come_back_in_the_places_of_their_transactions() -> None:
    node = FakeNode()
    async with fake_node(node) as target, await Client.connect(target) as client:
        items = signed(client, 2_500)
        node.codes[items[1_700]] = ("assets", 14)
        outcomes = await client.submit_many(items)
    assert [outcome.applied for outcome in outcomes].count(False) == 1
    refusal = outcomes[1_700].refusal
    assert refusal is not None
    assert refusal.code == "assets/14 INSUFFICIENT_BALANCE"
    assert [outcome.receipt for outcome in outcomes] == [node.decided[raw] for raw in items]
    assert set(node.sent.values()) == {1}


async def test_a_cut_stream_is_opened_again_and_only_what_has_no_answer_is_sent_again() -> None:
    node = FakeNode(cuts=[2, 0, 1])
    async with fake_node(node) as target, await Client.connect(target) as client:
        items = signed(client, 100)
        indexes = [
            index
            async for index, outcome in client.submit_stream(items, batch=10, window=3)
            if outcome.applied
        ]
        resent = client.resent
    assert sorted(indexes) == list(range(100)), "each once"
    assert set(node.decided) == set(items)
    assert sum(node.sent.values()) - 100 <= resent
    assert resent > 0
    assert max(node.sent.values()) <= 4


async def test_a_full_node_gets_the_same_bytes_again() -> None:
    node = FakeNode()
    async with fake_node(node) as target, await Client.connect(target) as client:
        items = signed(client, 30)
        node.refusals = {raw: [OVERLOADED, OVERLOADED] for raw in items[::2]}
        outcomes = await client.submit_many(items, seconds=20)
        single = signed(client, 1)[0]
        node.refusals[single] = [OVERLOADED]
        receipt = await client.submit(single, seconds=20)
    assert all(outcome.applied for outcome in outcomes)
    assert {node.sent[raw] for raw in items[::2]} == {3}
    assert receipt.code == 0


async def test_bytes_that_can_never_be_valid_are_declined_at_once() -> None:
    node = FakeNode()
    async with fake_node(node) as target, await Client.connect(target) as client:
        good = signed(client, 1)[0]
        node.refusals[good] = [(LedgerError.BAD_SIGNATURE, False)]
        with pytest.raises(Declined) as caught:
            await client.submit(good)
        node.refusals[b"junk"] = [(LedgerError.MALFORMED, False)]
        (outcome,) = await client.submit_many([b"junk"])
    assert caught.value.code == "ledger/13 BAD_SIGNATURE"
    assert node.sent[good] == 1
    assert (outcome.word, outcome.decided) == ("declined", False)


async def test_a_door_that_says_no_to_bytes_sent_before_does_not_hide_their_receipt() -> None:
    node = FakeNode(cuts=[0])
    async with fake_node(node) as target, await Client.connect(target) as client:
        items = signed(client, 1)
        node.refusals[items[0]] = []
        async for _, outcome in _then_refused(client, node, items[0]):
            assert outcome.applied
            assert outcome.receipt == node.decided[items[0]]


def _then_refused(client: Client, node: FakeNode, raw: bytes) -> AsyncIterator[tuple[int, Outcome]]:
    """Decided and not told; the second sending meets a door that would discard it now."""
    original = node.answer

    def answer(item: bytes) -> Any:
        told = original(item)
        if node.sent[item] == 1:
            node.refusals[item] = [(LedgerError.MEMBER_SUSPENDED, False)]
        return told

    planted: Any = node
    planted.answer = answer
    return client.submit_stream([raw], seconds=20)


async def test_what_died_of_age_after_it_was_decided_keeps_its_receipt() -> None:
    node = FakeNode()
    async with fake_node(node) as target, await Client.connect(target) as client:
        raw = signed(client, 1)[0]
        first = await client.submit(raw)
        node.refusals[raw] = [(LedgerError.EXPIRED, True)]
        assert await client.submit(raw) == first
        dead = signed(client, 1)[0]
        node.refusals[dead] = [(LedgerError.EXPIRED, True)]
        with pytest.raises(Refused) as caught:
            await client.submit(dead)
    assert caught.value.code == "ledger/4 EXPIRED"
    assert not isinstance(caught.value, Declined)


async def test_a_refusal_is_raised_with_its_receipt() -> None:
    node = FakeNode()
    async with fake_node(node) as target, await Client.connect(target) as client:
        raw = signed(client, 1)[0]
        node.codes[raw] = ("assets", 14)
        with pytest.raises(Refused) as caught:
            await client.submit(raw)
    assert caught.value.receipt == node.decided[raw]
    assert "too small" in caught.value.sentence


async def test_a_node_that_never_decides_leaves_the_outcome_unknown_at_the_deadline() -> None:
    node = FakeNode()
    async with fake_node(node) as target, await Client.connect(target) as client:
        items = signed(client, 3)
        node.refusals = {raw: [(NodeError.STARTING, False)] * 1_000 for raw in items}
        with pytest.raises(Unknown) as caught:
            await client.submit(items[0], seconds=0.3)
        full = await client.submit_many(items, seconds=0.3)
        node.cuts = [0] * 1_000
        outcomes = await client.submit_many(items, seconds=0.3)
    assert caught.value.tx_id
    assert [outcome.word for outcome in full] == ["unknown"] * 3
    assert [outcome.word for outcome in outcomes] == ["unknown"] * 3
    assert all(outcome.tx_id and outcome.reason for outcome in outcomes)


async def test_a_node_that_is_starting_is_waited_for_and_one_that_is_not_there_is_told() -> None:
    node = FakeNode(reads_to_fail=3)
    async with fake_node(node) as target, await Client.connect(target, seconds=20) as client:
        assert client.genesis.name == "test"
    with pytest.raises(Unreachable):
        await Client.connect(target, seconds=0.3)


async def test_another_chain_than_the_pinned_one_is_refused() -> None:
    async with fake_node(FakeNode()) as target:
        with pytest.raises(WrongChain):
            await Client.connect(target, chain_id=bytes(32))
        async with await Client.connect(target) as client:
            pinned = client.chain_id
        async with await Client.connect(target, chain_id=pinned) as client:
            assert client.chain_id == pinned


async def test_an_iterator_that_fails_ends_the_stream_with_its_own_error() -> None:
    def items() -> Iterator[bytes]:
        yield b"one"
        raise LookupError("the file ended early")

    async with fake_node(FakeNode()) as target, await Client.connect(target) as client:
        with pytest.raises(LookupError):
            [each async for each in client.submit_stream(items())]


async def test_events_go_on_after_a_cut_without_loss_or_repetition() -> None:
    node = FakeNode(event_cuts=[3, 0, 5])
    seen: list[int] = []
    async with fake_node(node) as target, await Client.connect(target) as client:
        async for event in client.events():
            seen.append(event.at.height)
            if len(seen) == 20:
                break
    assert seen == list(range(20))
    assert node.event_starts == [0, 3, 3, 8]


async def test_a_back_off_never_passes_its_deadline_and_honours_what_was_asked() -> None:
    backoff = Backoff(0.2)
    assert not await backoff.wait(asked=1.0)
    assert await Backoff(30).wait(asked=0.01)
    assert not await Backoff(0).wait()


async def test_a_caller_that_is_slower_than_the_deadline_loses_nothing() -> None:
    node = FakeNode()
    async with fake_node(node) as target, await Client.connect(target) as client:
        words: list[str] = []
        async for _, outcome in client.submit_stream(signed(client, 4), batch=1, window=1, seconds=0.5):
            words.append(outcome.word)
            if len(words) == 1:
                await asyncio.get_running_loop().run_in_executor(None, threading.Event().wait, 0.7)
    assert words == ["applied"] * 4
