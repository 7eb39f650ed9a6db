"""A consortium's node whose three keys are in a token: the member's, the bundles', and the validator's."""

import base64
import json
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.config import load_config
from node.demo.child import NodeProcess, free_port
from node.engine.cometbft.guard import Guard
from node.engine.cometbft.home import HomeConfig, Keys, genesis_json, new_key, write_home
from node.engine.cometbft.light import comet_chain_id
from node.genesis_file import make_genesis, save_genesis
from node.keys.loader import read_public
from node.keys.pkcs11 import generate_in_token, start_library
from node.keys.token_uri import parse_uri
from node.ledger.genesis import chain_id
from node.ledger.types import AdministratorKey, Authority, Founder, Node
from tests import hsm_kit
from tests.hsm_kit import MODULE, PIN, Hsm
from tests.processes import vostro

pytestmark = pytest.mark.needs("softhsm2-util")
KEYS = ("officer", "bundles", "validator")
SECONDS = 60


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="vch-") as made:  # short: a socket's path is bounded
        yield Path(made)


def found(folder: Path, hsm: Hsm) -> NodeProcess:
    """A chain of one founder and one validator, and the directory of its node, without any secret in it."""
    public = {name: read_public(hsm.uri(name)).public_key for name in KEYS}
    chief = AdministratorKey("ed25519", public["officer"], "chief")
    founder = Founder("PA", "Bank PA", "", ("issuer", "participant", "voter"), (chief,))
    genesis = make_genesis(
        "token",
        [],
        [Authority("ed25519", public["validator"], 10)],
        time_ms=time.time_ns() // 1_000_000,
        founders=[founder],
        nodes=[Node("PA", "ed25519", public["bundles"], public["validator"])],
    )
    save_genesis(folder / "genesis.json", genesis)
    chain = comet_chain_id(chain_id(genesis))
    listen, p2p = (f"127.0.0.1:{free_port()}" for _ in range(2))
    home = folder / "comet"
    config = HomeConfig(
        moniker="token",
        abci=home / "abci.sock",
        rpc=home / "rpc.sock",
        signer=home / "signer.sock",
        listen=p2p,
        heartbeat_ms=genesis.limits.heartbeat_ms,
    )
    write_home(home, config, genesis_json(genesis, chain), Keys(new_key(), None))
    Guard.create(folder / "last-vote", chain, public["validator"])
    settings = {
        "home": "comet",
        "node_key": hsm.uri("bundles"),
        "node_passphrase_file": str(hsm.pin_file),
        "validator_key": hsm.uri("validator"),
        "validator_passphrase_file": str(hsm.pin_file),
        "validator_record": "last-vote",
        "listen": p2p,
    }
    lines = [
        'data_dir = "data"',
        'genesis = "genesis.json"',
        f'listen = "{listen}"',
        "shards = 2",
        "[consortium]",
    ]
    lines += [f'{name} = "{value}"' for name, value in settings.items()]
    (folder / "node.toml").write_text("\n".join(lines) + "\n")
    load_config(folder / "node.toml", environment={})
    return NodeProcess(folder / "node.toml", listen, folder / "node.log")


def acted(folder: Path, process: NodeProcess, hsm: Hsm, account: str) -> None:
    """Open an account with the officer's key; retried while the node finds its way back."""
    officer = ("--member", "PA", "--key", hsm.uri("officer", pin_source=True))
    deadline = time.monotonic() + SECONDS
    while True:
        done = vostro("--config", folder / "node.toml", *officer, "accounts", "open", account)
        if done.code == 0:
            return
        assert time.monotonic() < deadline, done.err + process.log_tail()


def comet_of(process: NodeProcess) -> int:
    """The process id of the node's CometBFT, which is younger than the node."""
    for tasks in Path(f"/proc/{process.pid}/task").glob("*/children"):
        for child in tasks.read_text().split():
            if "cometbft" in Path(f"/proc/{child}/cmdline").read_text():
                return int(child)
    raise AssertionError(process.log_tail())


@pytest.mark.evidence(
    "KEY6", asset="signing keys", threat="keys on disk", mitigation="everything signs through PKCS#11"
)
def test_a_consortiums_node_runs_wholly_from_a_token_and_comes_back_from_kills(folder: Path) -> None:
    hsm_kit.prepare(folder)
    hsm = hsm_kit.new_token(folder, "consortium")
    start_library(MODULE)
    for name in KEYS:
        generate_in_token(parse_uri(hsm.uri(name)), PIN, "ed25519")
    process = found(folder, hsm)
    process.start()
    kills = 0
    try:
        process.wait_ready()
        acted(folder, process, hsm, "PA/0")
        for _ in range(2):
            os.kill(comet_of(process), signal.SIGKILL)
            kills += 1
            acted(folder, process, hsm, f"PA/{kills}")
        process.kill()
        kills += 1
        process.start()
        process.wait_ready()
        acted(folder, process, hsm, f"PA/{kills}")
    finally:
        process.stop()
    log = process.log.read_text()
    assert "runs twice" not in log
    stray = json.loads((folder / "comet" / "config" / "priv_validator_key.json").read_text())
    validator = read_public(hsm.uri("validator")).public_key
    assert base64.b64decode(stray["pub_key"]["value"]) != validator, "CometBFT makes one, and never uses it"
    assert PIN.decode() not in log
    print(f"node and CometBFT killed {kills} times, decided after each")
