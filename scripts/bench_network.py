"""Consortia for benchmarks: four nodes of one machine, each with its own CometBFT, and the load on them.

Everything is real: `vostro run` processes over homes and configuration files like any operator's, and every
node verifies every signature. One bank, PA, is a founder and hands its transactions in at all four nodes.
"""

import asyncio
import json
import shutil
import signal
import subprocess
import time
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import environment
from bench_load import START_SECONDS, BenchNode, Cast, cast_of, free_port, now_ms
from node.app import home_config
from node.config import ConsortiumConfig
from node.engine.cometbft.home import (
    Home,
    Keys,
    Peer,
    genesis_json,
    load_node_id,
    new_key,
    node_id,
    public_key,
    write_home,
)
from node.engine.cometbft.light import comet_chain_id
from node.genesis_file import load_genesis, make_genesis, save_genesis
from node.keys.keystore import COST_MIN, save_signer
from node.keys.signer import generate
from node.ledger.genesis import chain_id
from node.ledger.hashing import INTERNATIONAL
from node.ledger.types import AdministratorKey, Authority, Founder, Genesis, Node

MEMBERS: Final = ("PA", "KB", "CS", "RB")
POWER: Final = 10
PASSPHRASE: Final = b"bench"


class ConsortiumNode(BenchNode):
    """One of a consortium's nodes."""

    def __init__(self, directory: Path, chain: bytes, settings: dict[str, Any]) -> None:
        super().__init__(directory, settings)
        self.chain = chain
        self.admits = False

    def launch(self) -> None:
        """Start the process; ``ready`` waits for it."""
        log = (self.directory / "log").open("ab")
        vostro = environment.ROOT / ".venv" / "bin" / "vostro"
        self.target, self.metrics = self.settings["listen"], self.settings["metrics_listen"]
        self.process = subprocess.Popen(
            [str(vostro), "run", "--config", str(self.directory / "node.toml")], stdout=log, stderr=log
        )

    async def ready(self) -> None:
        """Until it serves. Raises RuntimeError."""
        await self._ready(time.perf_counter() + START_SECONDS)


class BenchNetwork:
    """Four nodes, made in a directory."""

    def __init__(self, directory: Path, consortium: Mapping[str, Any] | None = None, **settings: Any) -> None:
        """consortium: further settings of the table ``[consortium]``; settings: of the others."""
        self.directory = directory
        self._consortium = consortium or {}
        self.cast: Cast = cast_of(INTERNATIONAL.name)
        self.nodes: list[ConsortiumNode] = []
        self._settings = settings

    @property
    def targets(self) -> list[str]:
        """Where the nodes take calls."""
        return [node.target for node in self.nodes]

    def make(self) -> None:
        """Write genesis, keys, homes and configuration into an empty directory."""
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        keys = [Keys(new_key(), new_key()) for _ in MEMBERS]
        bundlers = [generate("ed25519") for _ in MEMBERS]
        genesis = _genesis(self.cast, [public_key(key.validator or b"") for key in keys], bundlers)
        document = genesis_json(genesis, comet_chain_id(chain_id(genesis)))
        ports = [free_port() for _ in range(3 * len(MEMBERS))]
        peers = [Peer(node_id(public_key(key.node)), f"127.0.0.1:{ports[at]}") for at, key in enumerate(keys)]
        for at, (key, bundler) in enumerate(zip(keys, bundlers, strict=True)):
            home = self.directory / f"n{at}"
            home.mkdir()
            save_genesis(home / "genesis.json", genesis)
            (home / "passphrase").write_bytes(PASSPHRASE + b"\n")
            (home / "passphrase").chmod(0o600)
            save_signer(home / "node.json", bundler, PASSPHRASE, cost=COST_MIN)
            others = tuple([peer for peer in peers if peer is not peers[at]])
            consortium = ConsortiumConfig(
                home=home / "comet",
                node_key=home / "node.json",
                node_passphrase_file=home / "passphrase",
                listen=peers[at].address,
                peers=tuple(map(str, others)),
                moniker=f"n{at}",
            )
            write_home(home / "comet", home_config(consortium, genesis, others), document, key)
            settings = {
                "data_dir": "data",
                "genesis": "genesis.json",
                "listen": f"127.0.0.1:{ports[len(MEMBERS) + at]}",
                "metrics_listen": f"127.0.0.1:{ports[2 * len(MEMBERS) + at]}",
                "log_level": "error",
                "verify_workers": 1,
                "queue_max": 20_000,
                **self._settings,
            }
            lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
            lines += [
                "[consortium]",
                'home = "comet"',
                'node_key = "node.json"',
                'node_passphrase_file = "passphrase"',
                f'listen = "{peers[at].address}"',
                f'moniker = "n{at}"',
                f"peers = {json.dumps([str(peer) for peer in others])}",
                *[f"{name} = {json.dumps(value)}" for name, value in self._consortium.items()],
            ]
            (home / "node.toml").write_text("\n".join(lines) + "\n")
            self.nodes.append(ConsortiumNode(home, chain_id(genesis), settings))

    def open(self) -> None:
        """Take a set-up that was kept, its ports included."""
        for at in range(len(MEMBERS)):
            home = self.directory / f"n{at}"
            settings = tomllib.loads((home / "node.toml").read_text())
            self.nodes.append(ConsortiumNode(home, chain_id(load_genesis(home / "genesis.json")), settings))

    def add_observer(self, **consortium: Any) -> ConsortiumNode:
        """A fifth node with empty directories, not started, that follows and does not vote."""
        first, home = self.nodes[0], self.directory / "observer"
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        for name in ("genesis.json", "passphrase", "node.json"):
            shutil.copy(first.directory / name, home / name)
        peers = []
        for node in self.nodes:
            table = tomllib.loads((node.directory / "node.toml").read_text())["consortium"]
            peers.append(f"{load_node_id(Home(node.directory / 'comet'))}@{table['listen']}")
        listen, *ports = [free_port() for _ in range(3)]
        table = {
            "home": "comet", "node_key": "node.json", "node_passphrase_file": "passphrase",
            "listen": f"127.0.0.1:{listen}", "moniker": "observer", "peers": peers, **consortium,
        }  # fmt: skip
        settings = {
            **{name: value for name, value in first.settings.items() if name != "consortium"},
            "listen": f"127.0.0.1:{ports[0]}",
            "metrics_listen": f"127.0.0.1:{ports[1]}",
        }
        lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
        lines += ["[consortium]", *[f"{name} = {json.dumps(value)}" for name, value in table.items()]]
        (home / "node.toml").write_text("\n".join(lines) + "\n")
        document = (first.directory / "comet" / "config" / "genesis.json").read_bytes()
        config = home_config(
            ConsortiumConfig(
                home=home / "comet", node_key=home / "node.json", node_passphrase_file=home / "passphrase",
                listen=table["listen"],
            ),
            load_genesis(home / "genesis.json"),
            (),
        )  # fmt: skip
        write_home(home / "comet", config, document, Keys(new_key()))
        return ConsortiumNode(home, first.chain, settings)

    def start(self) -> None:
        """Start all nodes and wait until they serve."""
        for node in self.nodes:
            node.launch()
        asyncio.run(self._ready())

    async def _ready(self) -> None:
        await asyncio.gather(*(node.ready() for node in self.nodes))

    def stop(self) -> None:
        """End all nodes in order."""
        for node in self.nodes:
            if node.process:
                node.process.send_signal(signal.SIGTERM)
        for node in self.nodes:
            node.stop()


def _genesis(cast: Cast, validators: list[bytes], bundlers: list[Any]) -> Genesis:
    founders = [
        Founder(
            member,
            f"{member} Bank",
            "",
            ("issuer", "participant", "voter"),
            (AdministratorKey(cast.bank.algorithm, cast.bank.public_key, "bench"),)
            if member == MEMBERS[0]
            else (AdministratorKey("ed25519", generate("ed25519").public_key, "chief"),),
        )
        for member in MEMBERS
    ]
    nodes = [
        Node(member, "ed25519", bundler.public_key, validator)
        for member, bundler, validator in zip(MEMBERS, bundlers, validators, strict=True)
    ]
    return make_genesis(
        "bench",
        [],
        [Authority("ed25519", validator, POWER) for validator in validators],
        time_ms=now_ms(),
        founders=founders,
        nodes=nodes,
    )
