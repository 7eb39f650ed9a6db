"""The configuration: defaults, file, environment and flags in their order, and a sentence for whatever cannot
be used.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from node.config import ConfigError, NodeConfig, load_config

LINES = (
    'data_dir = "data"',
    'genesis = "genesis.json"',
    'sequencer_key = "keys/sequencer.json"',
    'sequencer_passphrase_file = "keys/passphrase"',
    'last_signed = "last-signed"',
)


def loaded(
    folder: Path,
    *lines: str,
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> NodeConfig:
    """The configuration of a file with the five paths and these lines."""
    path = folder / "node.toml"
    path.write_text("\n".join((*LINES, *lines)) + "\n")
    return load_config(path, flags, environment or {})


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    config = loaded(tmp_path, 'tls_ca = "/etc/ca.pem"', 'tls_key = "k"', 'tls_certificate = "c"')
    assert config.data_dir == tmp_path / "data"
    assert config.sequencer_key == tmp_path / "keys/sequencer.json"
    assert (config.tls_ca, config.tls_key) == (Path("/etc/ca.pem"), tmp_path / "k")


def test_flags_beat_the_environment_beats_the_file_beats_defaults(tmp_path: Path) -> None:
    assert loaded(tmp_path).shards == 8
    assert loaded(tmp_path, "shards = 2").shards == 2
    environment = {"VOSTRO_SHARDS": "3", "VOSTRO_INDEX": "false", "HOME": "x"}
    config = loaded(tmp_path, "shards = 2", environment=environment)
    assert (config.shards, config.index) == (3, False)
    config = loaded(tmp_path, "shards = 2", environment=environment, flags={"shards": 4, "listen": None})
    assert (config.shards, config.listen) == (4, "127.0.0.1:7600")


@pytest.mark.parametrize("name", ["CONFIG", "PASSPHRASE_FILE", "OTHER_PASSPHRASE_FILE"])
def test_a_file_that_the_environment_names_for_commands_is_no_setting(name: str, tmp_path: Path) -> None:
    assert loaded(tmp_path, environment={f"VOSTRO_{name}": "elsewhere"}).shards == 8


CONSORTIUM = (
    "[consortium]",
    'home = "comet"',
    'node_key = "node.json"',
    'node_passphrase_file = "passphrase"',
    'listen = "127.0.0.1:1"',
)
PEERS = 'state_sync_peers = ["a:7600", "b:7600"]'
TRUST = f'trust_hash = "{"5d" * 32}"'


def test_a_node_begins_from_a_snapshot_with_two_peers_and_a_header_to_trust(tmp_path: Path) -> None:
    config = loaded(tmp_path, *CONSORTIUM, PEERS, "trust_height = 7", TRUST, "keep_blocks = 5")
    assert config.consortium is not None
    assert config.consortium.state_sync_peers == ("a:7600", "b:7600")
    assert (config.consortium.snapshot_blocks, config.consortium.keep_blocks) == (10_000, 5)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ((PEERS, "trust_height = 7"), "vostro trust"),
        ((PEERS, TRUST), "vostro trust"),
        (("trust_height = 7", TRUST), "vostro trust"),
        (('state_sync_peers = ["a:7600"]', "trust_height = 7", TRUST), "two or more"),
        ((PEERS, "trust_height = 7", 'trust_hash = "xx"'), "64 hexadecimal digits"),
        (("snapshot_blocks = 0", "keep_blocks = 5"), "keep_blocks needs snapshot_blocks"),
        (("snapshot_blocks = -1",), "0 or more"),
    ],
)
def test_what_keeps_the_past_or_begins_from_a_snapshot_is_whole_or_refused(
    tmp_path: Path, lines: tuple[str, ...], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        loaded(tmp_path, *CONSORTIUM, *lines)


@pytest.mark.parametrize("guest", ["b" * 39, "B" * 40, "b" * 40 + "@h:1", ""])
def test_a_guest_is_a_node_id(tmp_path: Path, guest: str) -> None:
    config = loaded(tmp_path, *CONSORTIUM, f'guests = ["{"b" * 40}"]')
    assert config.consortium is not None
    assert config.consortium.guests == ("b" * 40,)
    with pytest.raises(ConfigError, match="guests"):
        loaded(tmp_path, *CONSORTIUM, f'guests = ["{guest}"]')


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("shard = 3", "unknown setting shard"),
        ("shards = 0", "between 1 and 256"),
        ("shards = 257", "between 1 and 256"),
        ('shards = "many"', "shards"),
        ("verify_workers = 65", "between 0 and 64"),
        ("verify_workers = -1", "between 0 and 64"),
        ('tls_key = "k"', "all three"),
        ('listen = "0.0.0.0:7600"', "not loopback"),
        ('listen = "10.0.0.1:7600"', "not loopback"),
        ("index = 7", "index"),
        ("= 3", "not TOML"),
    ],
)
def test_what_cannot_be_used_is_told_with_the_files_name(line: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        loaded(tmp_path, line)
    assert "node.toml" in str(refused.value)


def test_an_unknown_name_in_the_environment_is_an_error_too(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown setting shard"):
        loaded(tmp_path, environment={"VOSTRO_SHARD": "1"})


def test_a_missing_file_and_a_missing_path_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="vostro init"):
        load_config(tmp_path / "node.toml", environment={})
    (tmp_path / "node.toml").write_text("shards = 1\n")
    with pytest.raises(ConfigError, match="data_dir"):
        load_config(tmp_path / "node.toml", environment={})


@pytest.mark.parametrize("place", ["data/last-signed", "data/../data/x/last-signed"])
def test_a_last_signed_record_inside_the_data_directory_is_refused(place: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="move it"):
        loaded(tmp_path, flags={"last_signed": place})


def test_beyond_loopback_a_node_listens_with_all_three_tls_files(tmp_path: Path) -> None:
    files = ('tls_ca = "a"', 'tls_key = "k"', 'tls_certificate = "c"')
    assert loaded(tmp_path, 'listen = "0.0.0.0:7600"', *files).listen == "0.0.0.0:7600"
    for listen in ("127.0.0.1:1", "[::1]:1", "localhost:1"):
        assert loaded(tmp_path, f'listen = "{listen}"').listen == listen
