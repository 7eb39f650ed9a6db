"""The composition root: a directory is made once and opened again, parts are plugged in, and all is closed
whatever happens.
"""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from node.app import NodeHalted, admitted, movements_of, open_offline, parts_of, run_node, running
from node.config import ConsortiumConfig, NodeConfig
from node.engine.cometbft.home import Peer
from node.engine.sequencer import Sequencer, SequencerRefused
from node.genesis_file import save_genesis
from node.keys.files import FileExposed
from node.keys.keystore import COST_MIN, save_signer
from node.ledger import codec
from node.ledger.errors import InvariantViolated
from node.ledger.types import Event
from node.storage.errors import StorageError
from tests.kit import World, make_genesis, officer, op

GENESIS = make_genesis()


def config_of(folder: Path, **options: Any) -> NodeConfig:
    """A node's files, and its configuration."""
    world = World(GENESIS)
    save_genesis(folder / "genesis.json", GENESIS)
    save_signer(folder / "key.json", officer("sequencer"), b"secret", cost=COST_MIN)
    (folder / "passphrase").touch(mode=0o600)
    (folder / "passphrase").write_text("secret\n")
    Sequencer.create_record(folder / "last-signed", world.chain_id)
    defaults: dict[str, Any] = {"shards": 2, "verify_workers": 0, "leveldb_mb": 8, "disk_reserve_mb": 0}
    return NodeConfig(
        data_dir=folder / "data",
        genesis=folder / "genesis.json",
        sequencer_key=folder / "key.json",
        sequencer_passphrase_file=folder / "passphrase",
        last_signed=folder / "last-signed",
        listen="127.0.0.1:0",
        **{**defaults, **options},
    )


@pytest.mark.asyncio
async def test_a_node_makes_its_directory_and_goes_on_there_at_the_next_start(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    async with running(config) as node:
        first = node.engine.status()
        assert first.serving
        assert any(first.app_hash)
    async with running(config) as node:
        assert node.engine.status().app_hash == first.app_hash
        assert parts_of(node).engine is node.engine
    opened = open_offline(config)
    assert opened.ledger.info().app_hash == first.app_hash
    assert opened.store.shard_count == 2
    opened.close()


@pytest.mark.asyncio
async def test_a_start_that_is_refused_leaves_nothing_open(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    (tmp_path / "last-signed").rename(tmp_path / "away")
    with pytest.raises(SequencerRefused, match="missing"):
        async with running(config):
            pass
    (tmp_path / "away").rename(tmp_path / "last-signed")
    async with running(config) as node:
        assert node.engine.status().serving
        with pytest.raises(StorageError, match="Another process"):
            open_offline(config)


@pytest.mark.asyncio
async def test_a_node_that_meets_what_must_never_happen_ends_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(tmp_path, log_level="critical")

    def broken(*_: Any) -> Any:
        raise InvariantViolated("planted")

    monkeypatch.setattr("node.ledger.ledger.Ledger.finalize_block", broken)
    with pytest.raises(NodeHalted, match="planted"):
        await asyncio.wait_for(run_node(config), 20)
    open_offline(config).close()


def test_movements_are_those_that_the_fact_declares_and_unknown_events_have_none() -> None:
    world = World(GENESIS)
    world.admit("CNB", "issuer")
    world.apply("CNB", op("assets", "register", "CZK", "currency", 2, 1_000, bytes(32)))
    world.apply("CNB", op("assets", "open_accounts", ("CNB/1",)))
    (event,) = world.apply("CNB", op("assets", "issue", "CZK", "CNB/1", 7, "")).events
    moved = [(each.account, each.asset, each.amount) for each in movements_of(event)]
    assert ("CNB/1", "CZK", 7) in moved
    assert list(movements_of(Event("nobody", "knows", codec.encode(())))) == []


@pytest.mark.parametrize("own", ["vault", "custody"])
def test_a_key_of_the_vault_or_of_custody_that_others_can_read_is_refused(tmp_path: Path, own: str) -> None:
    key, token = tmp_path / "own.key", "pkcs11:token=t;object=o"
    key.write_bytes(b"a key")
    key.chmod(0o640)
    given: dict[str, Any] = {"vault_key": key} if own == "vault" else {"custody_keys": (token, str(key))}

    config = config_of(tmp_path, **given)

    async def run() -> None:
        async with running(config):
            pass

    with pytest.raises(FileExposed, match=r"chmod 600 .*own\.key"):
        asyncio.run(run())
    key.chmod(0o600)
    asyncio.run(run())


def test_a_closed_node_admits_its_peers_and_guests_and_an_open_one_everybody() -> None:
    peer, guest = Peer("a" * 40, "h:1"), "b" * 40
    told: dict[str, Any] = {
        "home": Path("c"),
        "node_key": Path("k"),
        "node_passphrase_file": Path("p"),
        "listen": "h:2",
    }
    closed = ConsortiumConfig(**told, closed=True, guests=(guest,))
    assert admitted(closed, [peer]) == frozenset((peer.node_id, guest))
    assert admitted(ConsortiumConfig(**told, guests=(guest,)), [peer]) is None
