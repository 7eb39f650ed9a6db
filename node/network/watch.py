"""Where the nodes of a local network stand, asked of each in turn of a second: of its gRPC face as a client
would, and of its CometBFT over its socket.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from node.client import Client, ClientError, NodeStatus
from node.client.reads import Head
from node.engine.cometbft.rpc import RpcClient, RpcError
from node.network.bank import COMET
from node.network.errors import Code, NetworkRefused
from node.network.local import LocalBank, LocalNetwork
from node.network.processes import log_tail, pid_of, was_started

ASK_SECONDS: Final = 2.0
READY_SECONDS: Final = 90.0
POLL_SECONDS: Final = 0.1
RATE_MS: Final = 10_000
RATE_HEADERS: Final = 256
HASH_DIGITS: Final = 8


@dataclass(frozen=True, slots=True)
class Standing:
    """One node. state: serving, waiting (it answers and takes nothing), starting, stopped, ended. height and
    app_hash: of its last header; decided: the last height that its CometBFT knows, blocks without a header
    included; rate: transactions a second over the last ten seconds that had any.
    """

    bank: str
    pid: int | None
    state: str
    role: str = ""
    height: int | None = None
    app_hash: str = ""
    decided: int | None = None
    peers: int | None = None
    rate: float | None = None
    pending: int | None = None
    alarms: tuple[str, ...] = ()


class Watch:
    """Keeps connections to the nodes of a network. Use it from one event loop."""

    def __init__(self, network: LocalNetwork) -> None:
        self._network = network
        self._clients: dict[str, Client] = {}
        self._rpcs = {bank.name: RpcClient(bank.folder / COMET / "rpc.sock") for bank in network.banks}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for client in self._clients.values():
            await client.close()
        for rpc in self._rpcs.values():
            await rpc.close()

    async def look(self, banks: Sequence[LocalBank] | None = None) -> list[Standing]:
        """All nodes, or some, asked at once."""
        asked = self._network.banks if banks is None else banks
        return list(await asyncio.gather(*[self._look(bank) for bank in asked]))

    async def wait_serving(
        self, banks: Sequence[LocalBank], seconds: float = READY_SECONDS
    ) -> list[Standing]:
        """How the nodes stand once all of them serve, or when the time is up. Raises NetworkRefused where one
        ends meanwhile.
        """
        deadline = time.monotonic() + seconds
        while True:
            found = await self.look(banks)
            for standing, bank in zip(found, banks, strict=True):
                if standing.state == "ended":
                    raise NetworkRefused(
                        Code.PROCESS, f"the node of {bank.name} has ended; {bank.log} ends:\n{log_tail(bank)}"
                    )
            if all(standing.state == "serving" for standing in found) or time.monotonic() > deadline:
                return found
            await asyncio.sleep(POLL_SECONDS)

    async def _look(self, bank: LocalBank) -> Standing:
        pid = pid_of(self._network, bank)
        if pid is None:
            return Standing(bank.name, None, "ended" if was_started(self._network, bank) else "stopped")
        try:
            client = await self._client(bank)
            status = await client.status()
            heads = await client.headers(max(0, status.height - RATE_HEADERS), RATE_HEADERS + 1)
        except ClientError:
            return Standing(bank.name, pid, "starting")
        role, decided, peers = "", None, None
        with suppress(RpcError):
            rpc = self._rpcs[bank.name]
            said = await rpc.status(seconds=ASK_SECONDS)
            role, decided = "validator" if said.power else "follower", said.height
            peers = len(await rpc.net_info(seconds=ASK_SECONDS))
        return Standing(
            *(bank.name, pid, "serving" if status.serving else "waiting", role, status.height),
            *(status.app_hash.hex()[:HASH_DIGITS], decided, peers, rate_of(heads, status), status.pending),
            status.alarms,
        )

    async def _client(self, bank: LocalBank) -> Client:
        client = self._clients.get(bank.name)
        if client is None:
            client = await Client.connect(
                bank.grpc, chain_id=self._network.assembled.network.chain, seconds=ASK_SECONDS
            )
            self._clients[bank.name] = client
        return client


def rate_of(heads: Sequence[Head], status: NodeStatus) -> float:
    """Transactions a second in the last ``RATE_MS`` of block time, or in as much of it as these headers
    cover.
    """
    since = status.time_ms - RATE_MS
    if heads and len(heads) > RATE_HEADERS:
        since = max(since, heads[0].time_ms)
    count = sum(head.transaction_count for head in heads if head.time_ms > since)
    return count * 1_000 / max(status.time_ms - since, 1)
