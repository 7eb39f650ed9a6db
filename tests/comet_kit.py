"""Real CometBFT processes for tests: homes in a short temporary directory, on free ports, each over an
application in this process.

A ``Node`` is one CometBFT and one application behind an ABCI socket; either can be stopped, killed and
started again alone. Everything ends with the ``async with`` block, and with this process whatever becomes of
it.
"""

import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from node.config import cometbft_binary
from node.engine.cometbft.abci import Application
from node.engine.cometbft.abci_server import AbciServer, Call
from node.engine.cometbft.home import (
    Home,
    HomeConfig,
    Keys,
    Peer,
    genesis_json,
    new_key,
    node_id,
    public_key,
    write_home,
)
from node.engine.cometbft.install import find_binary
from node.engine.cometbft.rpc import RpcClient, Status
from node.engine.cometbft.supervisor import Restarts, Supervisor, wait_ready
from node.ledger.types import Authority, Genesis
from node.network.local import free_ports

CHAIN: Final = "vostro-test"
SECONDS: Final = 60.0
QUICK: Final = Restarts(first_s=0.05, longest_s=0.2)


@dataclass
class Node:
    """One CometBFT and what serves it."""

    name: str
    folder: Path
    application: Application
    config: HomeConfig
    home: Home
    keys: Keys
    supervisor: Supervisor
    server: AbciServer
    rpc: RpcClient
    traces: list[list[Call]]
    alarms: list[str] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)

    @property
    def peer(self) -> Peer:
        """What others dial."""
        return Peer(node_id(public_key(self.keys.node)), self.config.listen)

    @property
    def log(self) -> Path:
        """CometBFT's."""
        return self.folder / "comet.log"

    async def start_application(self, application: Application | None = None) -> None:
        """Serve an application; a fresh one brings a fresh trace."""
        if application is not None:
            self.application = application
        trace: list[Call] = []
        self.traces.append(trace)
        self.server = AbciServer(
            self.application,
            self.config.abci,
            failed=self.failures.append,
            closed=self.supervisor.expect_end,
            trace=trace.append,
        )
        await self.server.start()

    async def start_comet(self, *, height: int = 0, seconds: float = SECONDS) -> Status:
        """Start CometBFT and wait until it answers, at a height or above."""
        await self.supervisor.start()
        return await wait_ready(self.rpc, self.supervisor, height=height, seconds=seconds)

    async def stop_comet(self) -> None:
        """End CometBFT; it is not started again."""
        await self.supervisor.stop()

    def kill_comet(self) -> None:
        """kill -9; the supervisor starts it again."""
        self.signal_comet(signal.SIGKILL)

    def signal_comet(self, number: signal.Signals) -> None:
        """Any signal, such as SIGSTOP and SIGCONT."""
        pid = self.supervisor.pid
        assert pid is not None, "CometBFT is not running"
        os.kill(pid, number)

    async def wait_height(self, height: int, *, seconds: float = SECONDS) -> Status:
        """CometBFT's status once it is at a height or above."""
        return await wait_ready(self.rpc, self.supervisor, height=height, seconds=seconds)

    async def stop(self) -> None:
        """End both."""
        await self.supervisor.stop()
        await self.server.stop()
        await self.rpc.close()


def binary() -> Path:
    """The CometBFT that scripts/test.py provides."""
    return find_binary(cometbft_binary())


def authority_of(keys: Sequence[Keys], power: int = 10) -> tuple[Authority, ...]:
    """A validator set of equal powers."""
    return tuple([Authority("ed25519", public_key(each.validator or b""), power) for each in keys])


def new_keys(count: int) -> list[Keys]:
    """Fresh keys of so many validators."""
    return [Keys(new_key(), new_key()) for _ in range(count)]


def peers_of(keys: Sequence[Keys]) -> list[Peer]:
    """What others dial of nodes with these keys, each on a free port."""
    ports = free_ports(len(keys))
    return [
        Peer(node_id(public_key(each.node)), f"127.0.0.1:{port}")
        for each, port in zip(keys, ports, strict=True)
    ]


def make_node(
    folder: Path,
    name: str,
    application: Application,
    genesis: bytes,
    keys: Keys,
    config: HomeConfig,
    *,
    restarts: Restarts = QUICK,
) -> Node:
    """A node's home, nothing started."""
    home = write_home(folder / "comet", config, genesis, keys)
    alarms: list[str] = []
    sockets = [config.rpc, *([config.signer] if config.signer else [])]
    supervisor = Supervisor(
        binary(), home, folder / "comet.log", alarm=alarms.append, sockets=sockets, restarts=restarts
    )
    failures: list[BaseException] = []
    server = AbciServer(application, config.abci, failed=failures.append)
    return Node(
        *(name, folder, application, config, home, keys, supervisor, server),
        *(RpcClient(config.rpc), [], alarms, failures),
    )


@asynccontextmanager
async def network(
    genesis: Genesis,
    applications: Sequence[Application],
    *,
    chain_id: str = CHAIN,
    keys: Sequence[Keys] = (),
    initial_height: int = 1,
    start: bool = True,
    adjust: Callable[[HomeConfig], HomeConfig] = lambda config: config,
) -> AsyncIterator[list[Node]]:
    """So many validators of equal power as there are applications, each connected to all others, started.

    genesis: limits and time of the chain; its authority is not used. keys: of the nodes, in order. adjust:
    changes every node's settings.
    """
    folder = Path(tempfile.mkdtemp(prefix="vc-"))
    keys = list(keys) or new_keys(len(applications))
    document = genesis_json(genesis, chain_id, initial_height=initial_height, authority=authority_of(keys))
    peers = peers_of(keys)
    nodes: list[Node] = []
    try:
        for place, (application, own) in enumerate(zip(applications, keys, strict=True)):
            root = folder / f"n{place}"
            root.mkdir()
            config = HomeConfig(
                moniker=f"n{place}",
                abci=root / "abci.sock",
                rpc=root / "rpc.sock",
                listen=peers[place].address,
                peers=tuple([peer for peer in peers if peer is not peers[place]]),
            )
            nodes.append(make_node(root, f"n{place}", application, document, own, adjust(config)))
        if start:
            for node in nodes:
                await node.start_application()
            await asyncio.gather(*(node.start_comet() for node in nodes))
        yield nodes
    finally:
        await asyncio.gather(*(node.stop() for node in nodes))
        shutil.rmtree(folder, ignore_errors=True)


async def until(true: Callable[[], Awaitable[bool]] | Callable[[], bool], what: str) -> None:
    """Return once ``true()``; fail when it takes too long."""
    deadline = time.monotonic() + SECONDS
    while True:
        answer = true()
        if answer is True or (not isinstance(answer, bool) and await answer):
            return
        assert time.monotonic() < deadline, f"not within {SECONDS:.0f} s: {what}"
        await asyncio.sleep(0.02)
