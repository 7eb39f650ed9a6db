"""Many balances in one call: each as if it were read alone, all after one block, and off the event loop."""

import gc
import threading
import weakref
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from contracts import assemble
from node.engine.errors import Degraded, NodeError
from node.keys.verify import InternationalVerifier
from node.ledger import codec
from node.ledger.errors import LedgerError, Rejected
from node.ledger.ledger import Ledger
from node.pb.vostro.fund.v1 import fund_pb2 as pb
from node.pb.vostro.transaction.v1 import transaction_pb2
from node.services.fund_service import BALANCES_MAX
from node.services.published import Published, Stand
from node.storage.memory import MemoryStore
from tests.kit import Consortium, make_genesis, pay
from tests.services_kit import Face, Refusal, is_code, refused, serving

pytestmark = pytest.mark.asyncio

KEYS = [
    ("PA/main", "CZK"), ("PA/main", "EUR"), ("PA/empty", "CZK"), ("PA/closed", "CZK"), ("PA/no", "CZK"),
    ("KB/main", "CZK"), ("PA/main", "NONE"), ("", "CZK"), ("x" * 53, "CZK"), ("PA/main\0", "CZK"),
    ("PA/main", ""), ("PA/main", "CZK"),
]  # fmt: skip


@pytest_asyncio.fixture
async def face(tmp_path: Path) -> AsyncIterator[Face]:
    async with serving(tmp_path) as served:
        yield served


def request(*keys: tuple[str, str]) -> pb.GetBalancesRequest:
    return pb.GetBalancesRequest(
        keys=[pb.BalanceKey(account=account, asset=asset) for account, asset in keys]
    )


def same(told: transaction_pb2.Error, alone: Refusal) -> bool:
    """Whether an entry's error is the refusal that the call for it alone ended with."""
    said = dict(alone.info.metadata)
    plain = {name: said.pop(name) for name in ("codespace", "code", "decided")}
    said.pop("height", None)
    return (
        (told.codespace, str(told.code), told.decided)
        == (plain["codespace"], plain["code"], plain["decided"] == "true")
        and (told.name, told.sentence) == (alone.info.reason, alone.message)
        and dict(told.details) == said
    )


async def test_each_balance_is_answered_in_its_place_as_if_it_were_read_alone(face: Face) -> None:
    answer = await face.client.funds.GetBalances(request(*KEYS))
    assert (answer.height, answer.time_ms) == (face.world.height, face.world.time_ms)
    assert len(answer.entries) == len(KEYS)
    told = 0
    for (account, asset), entry in zip(KEYS, answer.entries, strict=True):
        alone = face.client.funds.GetBalance(pb.GetBalanceRequest(account=account, asset=asset))
        if entry.HasField("balance"):
            assert entry.balance == (await alone).balance
            told += 1
        else:
            assert same(entry.error, await refused(alone)), (account, asset, entry.error)
            assert entry.error.height == face.world.height
    names = {entry.error.name for entry in answer.entries if entry.HasField("error")}
    assert {"ACCOUNT_UNKNOWN", "BAD_TEXT", "BAD_ARGUMENTS"} <= names
    print(f"many balances: {len(KEYS)} keys, {told} told, {len(KEYS) - told} refused in their places")


async def test_none_and_too_many_are_refused_and_as_many_as_may_be_are_answered(face: Face) -> None:
    for count in (0, BALANCES_MAX + 1, 50_000):
        answer = await refused(face.client.funds.GetBalances(request(*[("PA/main", "CZK")] * count)))
        assert is_code(answer, NodeError.BAD_REQUEST), count
        assert answer.info.metadata["keys"] == str(count)
    many = await face.client.funds.GetBalances(request(*[("PA/main", "CZK")] * BALANCES_MAX))
    assert [entry.balance.posted for entry in many.entries] == [1_000] * BALANCES_MAX


async def test_blocks_that_come_while_balances_are_read_do_not_move_them(
    face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Money moves before every single look-up; in another thread than the event loop's."""
    original, threads = Published.still, set[int]()

    def still(published: Published, *query: str) -> tuple[Stand, Callable[..., Any]]:
        stand, ask = original(published, *query)

        def moved(*arguments: str) -> Any:
            face.world.apply("PA", pay("PA/main", "KB/main", 1))
            threads.add(threading.get_ident())
            return ask(*arguments)

        return stand, moved

    before = face.world.height, face.world.time_ms
    with monkeypatch.context() as patched:
        patched.setattr(Published, "still", still)
        answer = await face.client.funds.GetBalances(request(*[("PA/main", "CZK"), ("KB/main", "CZK")] * 5))
    assert (answer.height, answer.time_ms) == before
    assert [entry.balance.posted for entry in answer.entries] == [1_000, 500] * 5
    assert threading.get_ident() not in threads
    after = await face.client.funds.GetBalances(request(("PA/main", "CZK"), ("KB/main", "CZK")))
    assert [entry.balance.posted for entry in after.entries] == [990, 510]
    assert (after.height, after.time_ms) == (face.world.height, face.world.time_ms)
    assert after.height == before[0] + 10


async def test_a_still_state_is_shared_until_the_next_one_is_published_and_let_go_then() -> None:
    world = Consortium()
    ledger, key = world.ledger, codec.encode(("PA/main", "CZK"))
    height, ask = ledger.still("assets", "get_balance")
    seen = weakref.ref(ledger.view.reader)
    assert (height, ask(key).posted) == (world.height, 1_000)
    world.apply("PA", pay("PA/main", "KB/main", 7))
    assert (ask(key).posted, ledger.query("assets", "get_balance", key).posted) == (1_000, 993)
    del ask
    gc.collect()
    assert seen() is None, "a snapshot that nobody reads any more is held"
    assert ledger.still("assets", "get_balance")[1](key).posted == 993
    with pytest.raises(Rejected) as unknown:
        ledger.still("assets", "steal")
    assert unknown.value.error is LedgerError.UNKNOWN_METHOD


async def test_a_chain_that_has_not_begun_here_has_no_still_state() -> None:
    store = MemoryStore()
    published = Published(Ledger(make_genesis(), assemble, store, InternationalVerifier()), store)
    with pytest.raises(Degraded) as caught:
        published.still("assets", "get_balance")
    assert caught.value.error is NodeError.STARTING
