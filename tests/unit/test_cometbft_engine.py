"""The door of a node under CometBFT, by what CometBFT says of itself."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from contracts import assemble
from node.engine.cometbft.engine import CometEngine
from node.engine.cometbft.rpc import RpcClient
from node.engine.errors import NodeError
from node.keys.verify import CachedVerifier, InternationalVerifier
from node.ledger.ledger import Ledger
from node.storage.memory import MemoryStore
from tests.kit import make_genesis, officer

pytestmark = pytest.mark.asyncio


class Comet:
    """A CometBFT that is well."""

    async def status(self) -> SimpleNamespace:
        return SimpleNamespace(catching_up=False, height=1)


@pytest.fixture
def engine(tmp_path: Path) -> CometEngine:
    store, verifier = MemoryStore(), CachedVerifier(InternationalVerifier(), 100)
    return CometEngine(
        Ledger(make_genesis(), assemble, store, verifier),
        store,
        verifier,
        None,
        signer=officer("node"),
        home=tmp_path,
        abci_socket=tmp_path / "abci.sock",
        rpc=cast("RpcClient", Comet()),
        version="test",
        queue_max=10,
    )


async def test_a_door_that_is_closing_is_not_opened_because_cometbft_is_well(engine: CometEngine) -> None:
    engine._blocks = 1
    engine._block_began = 10**9
    await engine._look()
    assert engine.status().serving
    engine._close()
    await engine._look()
    assert not engine.status().serving
    (refused,) = await engine.submit([b"anything"])
    assert refused.error is NodeError.STARTING
