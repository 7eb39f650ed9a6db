"""What bounds a vault: portions, the disk's reserve, threads; and that looking after it neither ends nor goes
unsaid.
"""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from node.app import open_vault
from node.client.vault import CHUNK_BYTES
from node.engine import vault as vault_module
from node.engine.errors import Degraded, NodeError
from node.engine.vault import Keeper
from node.engine.vault_door import VaultDoor
from node.ledger.errors import ErrorCode
from node.storage.vault import INCOMING, Condition, VaultFiles
from tests.certificates_kit import Pki
from tests.kit import Consortium, op
from tests.services_kit import config_of
from tests.unit.test_vault_keeper import town

pytestmark = pytest.mark.asyncio


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


async def test_a_look_ends_at_the_last_id_there_is(
    tmp_path: Path, pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vault_module, "PAGE", 1)
    async with town(tmp_path, pki) as t:
        keeper = t.banks["PA"].keeper
        sealed, size = await t.caller("PA", "PA").store([b"sealed" * 20])
        t.world.apply("PA", op("vault", "store", b"\xff" * 32, sealed, size, "text/plain", 0, ()))
        await t.stored()
        await asyncio.wait_for(keeper.look(), 10)
        assert keeper.holdings.documents == 2


async def test_a_look_that_fails_for_good_is_an_alarm(
    tmp_path: Path, pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def look(_: Keeper) -> None:
        raise OverflowError("too big")

    async with town(tmp_path, pki) as t:
        bank = t.banks["PA"]
        monkeypatch.setattr(Keeper, "look", look)
        bank.keeper.start()
        for _ in range(1_000):
            if bank.alarms:
                break
            await asyncio.sleep(0.01)
        assert bank.alarms == ["the vault is looked after no more: OverflowError: too big"]
        await bank.keeper.stop()


async def test_a_portion_that_is_empty_or_does_not_come_ends_a_store(
    tmp_path: Path, pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def portions(*, hang: bool) -> AsyncIterator[bytes]:
        yield b"sealed"
        if hang:
            await asyncio.Event().wait()
        yield b""
        yield b"more"

    monkeypatch.setattr(vault_module, "PORTION_SECONDS", 0.05)
    async with town(tmp_path, pki) as t:
        keeper = t.banks["PA"].keeper
        for hang in (False, True):
            with pytest.raises(Degraded) as refused:
                await asyncio.wait_for(keeper.store(portions(hang=hang)), 10)
            assert refused.value.error is NodeError.BAD_REQUEST
        monkeypatch.undo()
        assert list((tmp_path / "PA" / "vault" / INCOMING).iterdir()) == []
        sealed, size = await t.caller("PA", "PA").store([bytes(CHUNK_BYTES)])
        assert (size, t.banks["PA"].files.size_of(sealed)) == (CHUNK_BYTES, CHUNK_BYTES)


async def test_a_vault_leaves_the_ledger_twice_its_reserve(tmp_path: Path) -> None:
    world = Consortium()
    opened = SimpleNamespace(ledger=world.ledger)
    node: Any = SimpleNamespace(opened=opened, engine=SimpleNamespace(alarm=print))
    keeper = open_vault(config_of(tmp_path / "node", disk_reserve_mb=3), node)
    assert keeper is not None
    assert keeper.files._reserve_bytes == 6 << 20
    await keeper.stop()


async def test_documents_are_read_through_one_at_a_time(
    tmp_path: Path, pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once, most, turn = 0, 0, threading.Lock()
    examine = VaultFiles.examine

    def slow(files: VaultFiles, sealed: bytes) -> Condition:
        nonlocal at_once, most
        with turn:
            at_once += 1
            most = max(most, at_once)
        try:
            time.sleep(0.02)
            return examine(files, sealed)
        finally:
            with turn:
                at_once -= 1

    async with town(tmp_path, pki) as t:
        sealer, keeper = await t.stored(), t.banks["PA"].keeper
        monkeypatch.setattr(VaultFiles, "examine", slow)
        found = await asyncio.gather(*(keeper.examine(sealer.document) for _ in range(8)), keeper.look())
        assert found == [*["whole"] * 8, None]
        assert most == 1
        await keeper.stop()


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (grpc.StatusCode.PERMISSION_DENIED, NodeError.DOCUMENT_NOT_READABLE),
        (grpc.StatusCode.NOT_FOUND, NodeError.DOCUMENT_NOT_READABLE),
        (grpc.StatusCode.FAILED_PRECONDITION, NodeError.DOCUMENT_NOT_READABLE),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, NodeError.OVERLOADED),
        (grpc.StatusCode.DATA_LOSS, NodeError.CORRUPTED),
        (grpc.StatusCode.UNAVAILABLE, NodeError.OWNER_AWAY),
    ],
)
async def test_what_a_peer_refuses_is_told_as_what_it_is(
    code: grpc.StatusCode, error: ErrorCode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(*_: Any, **__: Any) -> AsyncIterator[bytes]:
        for failed in [code]:
            raise grpc.aio.AioRpcError(failed, grpc.aio.Metadata(), grpc.aio.Metadata())
        yield b""

    door = VaultDoor("127.0.0.1:1", None)
    monkeypatch.setattr(door, "_stub", SimpleNamespace(Fetch=refused))
    with pytest.raises(Degraded) as told:
        await anext(door.fetch(bytes(32)))
    assert told.value.error is error
    await door.close()
