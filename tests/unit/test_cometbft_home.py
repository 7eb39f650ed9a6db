"""A CometBFT home has the same bytes everywhere, the settings that the design asks for, and never loses a
key.
"""

import json
import subprocess
import tomllib
from pathlib import Path

import pytest

from node.engine.cometbft.home import (
    Home,
    HomeConfig,
    HomeRefused,
    Keys,
    Peer,
    StateSync,
    address,
    config_toml,
    genesis_json,
    load_node_id,
    new_key,
    node_id,
    node_key_json,
    public_key,
    validator_key_json,
    write_home,
)
from node.ledger.types import Authority
from tests.comet_kit import binary
from tests.kit import make_genesis

SEED = bytes(range(32))
OTHER = bytes(32)
CONFIG = HomeConfig("bank-a", Path("/run/v/abci.sock"), Path("/run/v/rpc.sock"), "127.0.0.1:26656")
PEER = Peer("ab" * 20, "bank-b.example:26656")
GENESIS = make_genesis()
AUTHORITY = (Authority("ed25519", public_key(SEED), 10), Authority("ed25519", public_key(OTHER), 7))


def document(**options: object) -> bytes:
    return genesis_json(GENESIS, "vostro-0011", authority=AUTHORITY, **options)  # type: ignore[arg-type]


def test_the_genesis_file_is_the_same_bytes_in_whatever_order_the_keys_come() -> None:
    backwards = genesis_json(GENESIS, "vostro-0011", authority=AUTHORITY[::-1])
    assert document() == backwards
    told = json.loads(document(initial_height=9, names={public_key(SEED): "Bank A"}))
    assert (told["chain_id"], told["initial_height"], told["app_hash"]) == ("vostro-0011", "9", "")
    by_name = {entry["name"]: entry for entry in told["validators"]}
    assert by_name["Bank A"]["power"] == "10"
    assert by_name["Bank A"]["address"] == address(public_key(SEED)).hex().upper()
    params = told["consensus_params"]
    assert params["block"]["max_gas"] == str(GENESIS.limits.block_work_max)
    assert int(params["block"]["max_bytes"]) > GENESIS.limits.block_bytes_max
    assert params["evidence"]["max_bytes"] == "65536"
    assert params["version"]["app"] == str(GENESIS.protocol)


@pytest.mark.parametrize(
    ("time_ms", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_700_000_000_120, "2023-11-14T22:13:20.12Z"),
        (1_500, "1970-01-01T00:00:01.5Z"),
    ],
)
def test_the_genesis_time_is_written_as_go_writes_it(time_ms: int, text: str) -> None:
    genesis = make_genesis(time_ms=time_ms)
    assert json.loads(genesis_json(genesis, "x", authority=AUTHORITY))["genesis_time"] == text


def test_a_chain_id_or_a_key_that_cometbft_does_not_take_is_refused() -> None:
    with pytest.raises(HomeRefused, match="50 characters"):
        genesis_json(GENESIS, "x" * 51)
    with pytest.raises(HomeRefused, match="ed25519"):
        genesis_json(GENESIS, "x", authority=[Authority("p256", bytes(33), 1)])


def test_every_setting_of_the_design_is_written() -> None:
    settings = tomllib.loads(config_toml(CONFIG).decode())
    assert settings["proxy_app"] == "unix:///run/v/abci.sock"
    assert settings["rpc"]["laddr"] == "unix:///run/v/rpc.sock"
    assert settings["priv_validator_laddr"] == ""
    consensus, p2p, mempool = settings["consensus"], settings["p2p"], settings["mempool"]
    assert (consensus["timeout_commit"], consensus["skip_timeout_commit"]) == ("20ms", True)
    assert consensus["timeout_propose"] == "1000ms"
    assert consensus["timeout_prevote"] == consensus["timeout_precommit"] == "500ms"
    assert consensus["peer_gossip_sleep_duration"] == p2p["flush_throttle_timeout"] == "5ms"
    assert (p2p["send_rate"], p2p["recv_rate"]) == (200_000_000, 200_000_000)
    assert p2p["max_packet_msg_payload_size"] == 65_536
    assert (mempool["recheck"], mempool["size"], mempool["cache_size"]) == (False, 20_000, 100_000)
    assert (mempool["max_tx_bytes"], mempool["max_txs_bytes"]) == (2**20, 2**28)
    assert settings["tx_index"]["indexer"] == "null"
    assert settings["storage"]["discard_abci_responses"] is True
    assert consensus["create_empty_blocks"] is False
    assert consensus["create_empty_blocks_interval"] == "1000ms"
    assert settings["statesync"] == {"enable": False}


def test_what_differs_between_nodes_is_written_when_it_is_asked_for() -> None:
    sync = StateSync(("unix:///a", "unix:///b"), 100, b"\xab" * 32)
    config = HomeConfig(
        'a "bank"\n', Path("/a"), Path("/r"), "0.0.0.0:1", "bank-a.example:1", (PEER, PEER), Path("/s"), sync,
        heartbeat_ms=500, timeout_propose_ms=400, broadcast=False, filter_peers=True,
        metrics_listen="127.0.0.1:9",
    )  # fmt: skip
    settings = tomllib.loads(config_toml(config).decode())
    assert settings["moniker"] == 'a "bank"\n'
    assert settings["priv_validator_laddr"] == "unix:///s"
    assert settings["filter_peers"] is True
    assert settings["p2p"]["persistent_peers"] == f"{PEER},{PEER}"
    assert settings["p2p"]["external_address"] == "bank-a.example:1"
    assert settings["statesync"]["rpc_servers"] == "unix:///a,unix:///b"
    assert (settings["statesync"]["trust_height"], settings["statesync"]["trust_hash"]) == (100, "AB" * 32)
    assert settings["consensus"]["timeout_propose"] == "400ms"
    assert settings["mempool"]["broadcast"] is False
    assert settings["instrumentation"] == {"prometheus": True, "prometheus_listen_addr": "127.0.0.1:9"}


def test_a_socket_path_that_is_too_long_is_refused() -> None:
    with pytest.raises(HomeRefused, match="107 bytes"):
        config_toml(HomeConfig("m", Path("/" + "x" * 107), Path("/r"), "127.0.0.1:1"))


def test_a_peer_is_read_back_from_its_text() -> None:
    assert Peer.parse(str(PEER)) == PEER
    for wrong in ("", "ab@h:1", f"{'AB' * 20}@h:1", f"{'ab' * 20}@h", f"{'ab' * 20}@:1", f"{'ab' * 20}@h:x"):
        with pytest.raises(HomeRefused, match="40 hexadecimal"):
            Peer.parse(wrong)


def test_keys_and_the_last_signed_record_are_never_written_over(tmp_path: Path) -> None:
    home = write_home(tmp_path, CONFIG, document(), Keys(SEED, OTHER))
    signed = b'{"height": "70", "round": 0, "step": 3}'
    home.validator_state.write_bytes(signed)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.json")}
    moved = HomeConfig("bank-a", Path("/run/v/abci.sock"), Path("/run/v/rpc.sock"), "127.0.0.1:1")

    write_home(tmp_path, moved, document(), Keys(SEED, OTHER))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.json")} == before
    assert tomllib.loads(home.config.read_text())["p2p"]["laddr"] == "tcp://127.0.0.1:1"
    assert all((path.stat().st_mode & 0o777) == 0o600 for path in before)
    for genesis, keys, whose in (
        (document(initial_height=2), Keys(SEED, OTHER), "another chain's"),
        (document(), Keys(OTHER, OTHER), "another node's"),
        (document(), Keys(SEED, SEED), "another validator's"),
    ):
        with pytest.raises(HomeRefused, match=whose):
            write_home(tmp_path, moved, genesis, keys)


def test_a_home_without_a_validator_key_gets_one_of_its_own_and_one_with_a_signer_none(
    tmp_path: Path,
) -> None:
    own = write_home(tmp_path / "own", CONFIG, document(), Keys(SEED))
    write_home(tmp_path / "own", CONFIG, document(), Keys(SEED))
    assert own.validator_key.exists()
    signer = HomeConfig("m", Path("/a"), Path("/r"), "127.0.0.1:1", signer=Path("/s"))
    remote = write_home(tmp_path / "remote", signer, document(), Keys(SEED, OTHER))
    assert not remote.validator_key.exists()
    assert not remote.validator_state.exists()
    assert SEED.hex() not in repr(Keys(SEED, OTHER))


def test_cometbft_itself_reads_the_keys_as_we_do(tmp_path: Path) -> None:
    home = write_home(tmp_path, CONFIG, document(), Keys(new_key(), SEED))
    command = [str(binary()), "--home", str(tmp_path)]
    shown = subprocess.run([*command, "show-node-id"], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == load_node_id(home)
    shown = subprocess.run([*command, "show-validator"], capture_output=True, text=True, check=True)
    assert json.loads(shown.stdout) == json.loads(validator_key_json(SEED))["pub_key"]
    assert load_node_id(home) != node_id(public_key(SEED))


def test_a_node_key_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.node_key.parent.mkdir()
    for content in (b"", b"{}", node_key_json(SEED)[:40]):
        home.node_key.write_bytes(content)
        with pytest.raises(HomeRefused, match="cannot be read"):
            load_node_id(home)
