"""A consortium of real node processes for tests: each bank a ``vostro run`` with its CometBFT, made by the
library that banks use, in a short temporary directory, small and quick.

    async with consortium(4) as banks:
        await banks.fund({"BANK-A/1": 10_000, "BANK-D/1": 0})
        receipt = await banks["bank-a"].send("BANK-A/1", "BANK-D/1", 250)
        await banks.wait_converged(receipt.height)

Python process and CometBFT can be stopped, killed, paused and started each alone. What always holds: every
wait has a deadline, and everything has ended behind the ``async with`` block, and with this process whatever
becomes of it. If the block fails, the ends of all logs are printed.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar, overload

import msgspec

from node.client import Client, ClientError, NodeStatus, load_key, operation
from node.client.client import Signed
from node.engine.cometbft.rpc import RpcClient, RpcError
from node.genesis_file import LIMITS_DEFAULT
from node.keys.keystore import COST_MIN
from node.keys.signer import Signer
from node.ledger.types import Limits, Operation, Receipt
from node.network import processes
from node.network.bank import COMET, Settings
from node.network.local import LocalBank, LocalNetwork, make_network

SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.03
STOP_SECONDS: Final = 30.0
LOG_LINES: Final = 25
ASSET: Final = "EUR"
ISSUER: Final = 0
"""The bank that may issue: the first (local.py)."""
SMALL: Final[Settings] = {
    "verify_workers": 1,
    "shards": 1,
    "cache_records": 20_000,
    "leaf_cache_mb": 16,
    "leveldb_mb": 16,
    "disk_reserve_mb": 16,
    "index": False,
}
LIMITS: Final = msgspec.structs.replace(LIMITS_DEFAULT, heartbeat_ms=250)
NAMES: Final = tuple(f"bank-{letter}" for letter in "abcdefghijklmnop")

T = TypeVar("T")


@dataclass
class Bank:
    """A bank with its node. ``signer``: its officer's."""

    network: LocalNetwork
    local: LocalBank
    signer: Signer
    rpc: RpcClient
    process: "subprocess.Popen[bytes] | None" = None
    _client: Client | None = None
    _paused: set[int] = field(default_factory=set)

    @property
    def name(self) -> str:
        return self.local.name

    @property
    def member(self) -> str:
        return self.local.member

    # --- the processes ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the node; it is not ready yet. It starts its CometBFT."""
        assert not self.is_running, f"{self.name} runs already"
        self.process = processes.start(self.network, self.local, detached=False)

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        """Of the Python process."""
        assert self.process is not None, f"{self.name} was not started"
        assert self.process.poll() is None, f"{self.name} has ended\n{self.log_tail()}"
        return self.process.pid

    def comet_pid(self) -> int | None:
        """Of the CometBFT that the node runs now, if any."""
        home = str(self.local.folder / COMET).encode()
        for child in children_of(self.pid):
            words = command_of(child)
            if b"--home" in words and home in words:
                return child
        return None

    async def wait_comet(self, *, other_than: int = 0, seconds: float = SECONDS) -> int:
        """CometBFT's pid, once there is one; other_than: one that was there before."""

        def found() -> int:
            pid = self.comet_pid() or 0
            return 0 if pid == other_than else pid

        return await until(found, f"{self.name} runs CometBFT", seconds=seconds)

    async def stop(self, *, seconds: float = STOP_SECONDS) -> int:
        """SIGTERM; the node's exit code. Fails where it does not end in time."""
        return await self._end(signal.SIGTERM, seconds)

    async def kill(self) -> None:
        """kill -9 of the Python process; its CometBFT dies with it."""
        comet = self.comet_pid()
        await self._end(signal.SIGKILL, SECONDS)
        if comet is not None:
            await until(lambda: not command_of(comet), f"the CometBFT of {self.name} dies with it")

    async def kill_comet(self) -> int:
        """kill -9 of CometBFT, which the node starts again; the pid it had."""
        pid = await self.wait_comet()
        os.kill(pid, signal.SIGKILL)
        return pid

    def pause(self) -> None:
        """SIGSTOP of the Python process."""
        self._pause(self.pid)

    async def pause_comet(self) -> None:
        """SIGSTOP of CometBFT."""
        self._pause(await self.wait_comet())

    def resume(self) -> None:
        """SIGCONT of whatever was paused."""
        for pid in self._paused:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self._paused.clear()

    def _pause(self, pid: int) -> None:
        os.kill(pid, signal.SIGSTOP)
        self._paused.add(pid)

    async def _end(self, number: signal.Signals, seconds: float) -> int:
        process = self.process
        assert process is not None, f"{self.name} was not started"
        self.resume()
        if process.poll() is None:
            process.send_signal(number)
        ended = lambda: process.poll() is not None  # noqa: E731
        try:
            await until(ended, f"{self.name} ends after {number.name}", seconds=seconds)
        except AssertionError:
            process.kill()
            process.wait(SECONDS)
            raise
        self.process = None
        processes.record_of(self.network, self.local).unlink(missing_ok=True)
        return process.wait()

    # --- asking it --------------------------------------------------------------------------------------

    async def client(self) -> Client:
        """The SDK's client of this node; the same one, whatever becomes of the node."""
        if self._client is None:
            chain = self.network.assembled.network.chain
            self._client = await Client.connect(self.local.grpc, chain_id=chain, seconds=SECONDS)
        return self._client

    async def status(self) -> NodeStatus:
        return await (await self.client()).status()

    async def wait_serving(self, *, seconds: float = SECONDS) -> NodeStatus:
        """The node's status once it takes transactions."""

        async def serving() -> NodeStatus | None:
            assert self.is_running, f"{self.name} has ended\n{self.log_tail()}"
            with suppress(ClientError):
                status = await self.status()
                return status if status.serving else None
            return None

        return await until(serving, f"{self.name} serves", seconds=seconds)

    async def wait_height(self, height: int, *, seconds: float = SECONDS) -> NodeStatus:
        """The node's status once its last header is at a height or above."""

        async def there() -> NodeStatus | None:
            with suppress(ClientError):
                status = await self.status()
                return status if status.height >= height else None
            return None

        return await until(there, f"{self.name} is at height {height}", seconds=seconds)

    async def wait_decided(self, height: int, *, seconds: float = SECONDS) -> int:
        """The last height that its CometBFT knows, once that is ``height`` or above; quiet blocks count."""

        async def there() -> int:
            with suppress(RpcError):
                said = await self.rpc.status()
                return said.height if said.height >= height else 0
            return 0

        return await until(there, f"the CometBFT of {self.name} is at height {height}", seconds=seconds)

    async def app_hash_at(self, height: int) -> bytes:
        """The app hash of the header at this height."""
        (head,) = await (await self.client()).headers(height, 1)
        assert head.height == height, f"{self.name} has no header at height {height}"
        return head.app_hash

    # --- acting -----------------------------------------------------------------------------------------

    async def sign(self, *operations: Operation) -> Signed:
        """A transaction of this bank, signed by its officer."""
        return (await self.client()).sign(self.member, operations, [self.signer])

    async def act(self, contract: str, method: str, *arguments: Any, seconds: float | None = None) -> Receipt:
        """Sign one operation, hand it in at this bank's node, wait for the decision. Raises Refused."""
        signed = await self.sign(operation(contract, method, *arguments))
        return await (await self.client()).submit(signed.raw, seconds=seconds)

    def payment(self, source: str, destination: str, amount: int, reference: str = "") -> Operation:
        """A transfer's operation."""
        return operation("transfers", "send", source, destination, ASSET, amount, reference, b"", "")

    async def send(self, source: str, destination: str, amount: int, reference: str = "") -> Receipt:
        """Pay, and wait for the decision."""
        signed = await self.sign(self.payment(source, destination, amount, reference))
        return await (await self.client()).submit(signed.raw)

    async def balance(self, account: str) -> int:
        """What an account owns, as this node has it."""
        client = await self.client()
        found = await client.query("assets", "get_balance", account, ASSET)
        posted: int = found.posted
        return posted

    def log_tail(self) -> str:
        """The end of the node's log."""
        return processes.log_tail(self.local)

    async def close(self) -> None:
        if self._client:
            await self._client.close()
        await self.rpc.close()


@dataclass
class Consortium:
    """All banks, in order."""

    network: LocalNetwork
    banks: list[Bank]

    def __getitem__(self, name: str) -> Bank:
        (found,) = [bank for bank in self.banks if bank.name == name]
        return found

    def __iter__(self) -> Iterator[Bank]:
        return iter(self.banks)

    @property
    def genesis(self) -> Path:
        """genesis.json."""
        return self.network.folder / "genesis.json"

    @property
    def running(self) -> list[Bank]:
        return [bank for bank in self.banks if bank.is_running]

    async def start(self, banks: Iterable[Bank] | None = None, *, seconds: float = SECONDS) -> None:
        """Start nodes, and wait until they serve."""
        started = list(self.banks if banks is None else banks)
        for bank in started:
            bank.start()
        await asyncio.gather(*[bank.wait_serving(seconds=seconds) for bank in started])

    async def fund(self, accounts: Mapping[str, int]) -> None:
        """Register the asset if it is new, open these accounts (``MEMBER/local``), and issue what each shall
        have.
        """
        issuer = self.banks[ISSUER]
        client = await issuer.client()
        if not any(named.id == ASSET for named in await client.query("assets", "list_assets", "")):
            await issuer.act("assets", "register", ASSET, "currency", 2, 10**18, bytes(32))
        for bank in self.banks:
            own = [account for account in accounts if account.partition("/")[0] == bank.member]
            if own:
                signed = await bank.sign(operation("assets", "open_accounts", tuple(own)))
                await client.submit(signed.raw)
        issues = [
            operation("assets", "issue", ASSET, account, amount, "")
            for account, amount in accounts.items()
            if amount
        ]
        if issues:
            await client.submit((await issuer.sign(*issues)).raw)

    async def wait_converged(
        self, height: int = 0, banks: Sequence[Bank] | None = None, *, seconds: float = SECONDS
    ) -> tuple[int, bytes]:
        """(height, app hash), once all these nodes (default: those that run) stand at one height, at least
        ``height``, with one app hash. Fails at once where two app hashes differ at one height. While a load
        goes on use ``check_same``.
        """
        asked = self.running if banks is None else banks

        async def level() -> tuple[int, bytes] | None:
            with suppress(ClientError):
                found = await asyncio.gather(*[bank.status() for bank in asked])
                places = {(status.height, status.app_hash) for status in found}
                heights = {place for place, _ in places}
                assert len(heights) == len(places), f"the ledgers differ: {places}"
                return places.pop() if len(places) == 1 and max(heights) >= height else None
            return None

        names = ", ".join(bank.name for bank in asked)
        return await until(level, f"{names} are level at height {height} or above", seconds=seconds)

    async def check_same(self, banks: Sequence[Bank] | None = None) -> int:
        """Compare the app hashes of these nodes (default: those that run) at the last height that all have;
        that height.
        """
        asked = self.running if banks is None else banks
        lowest = min([await bank.status() for bank in asked], key=lambda status: status.height).height
        hashes = {bank.name: (await bank.app_hash_at(lowest)).hex() for bank in asked}
        assert len(set(hashes.values())) == 1, f"at height {lowest} the ledgers differ: {hashes}"
        return lowest


@asynccontextmanager
async def consortium(
    count: int = 4,
    *,
    validators: int | None = None,
    limits: Limits = LIMITS,
    settings: Settings = SMALL,
    timeout_propose_ms: int = 500,
    adjust: Callable[[LocalNetwork], None] | None = None,
    start: bool = True,
) -> AsyncIterator[Consortium]:
    """So many banks (``bank-a``, ``bank-b``, ...), the first ``validators`` of which vote on blocks (default:
    all), started and serving. adjust: changes files before the first start, such as peers behind a proxy.
    """
    folder = Path(tempfile.mkdtemp(prefix="vk-"))
    banks: list[Bank] = []
    try:
        network = make_network(
            folder / "n",
            NAMES[:count],
            name="Test",
            time_ms=time.time_ns() // 1_000_000,
            validators=validators or count,
            limits=limits,
            settings=settings,
            cost=COST_MIN,
            timeout_propose_ms=timeout_propose_ms,
        )
        if adjust:
            adjust(network)
        banks += [
            Bank(
                network, local, load_key(local.officer, local.passphrase),
                RpcClient(local.folder / COMET / "rpc.sock"),
            )
            for local in network.banks
        ]  # fmt: skip
        made = Consortium(network, banks)
        if start:
            await made.start()
        yield made
    except BaseException:
        for bank in banks:
            print(f"--- {bank.name}", *bank.log_tail().splitlines()[-LOG_LINES:], sep="\n")
        raise
    finally:
        await asyncio.gather(*[_put_away(bank) for bank in banks])
        shutil.rmtree(folder, ignore_errors=True)


async def _put_away(bank: Bank) -> None:
    """End a bank's processes, gently if they let themselves."""
    await bank.close()
    bank.resume()
    process, bank.process = bank.process, None
    if process is None:
        return
    if process.poll() is None:
        process.terminate()
    with suppress(AssertionError):
        await until(lambda: process.poll() is not None, "it ends", seconds=STOP_SECONDS)
    if process.poll() is None:
        process.kill()
    process.wait(SECONDS)


@overload
async def until(true: Callable[[], Awaitable[T | None]], what: str, *, seconds: float = SECONDS) -> T: ...


@overload
async def until(true: Callable[[], T | None], what: str, *, seconds: float = SECONDS) -> T: ...


async def until(true: Callable[[], Any], what: str, *, seconds: float = SECONDS) -> Any:
    """The first answer of ``true`` that is not empty; fails when it takes too long."""
    deadline = time.monotonic() + seconds
    while True:
        answer = true()
        if isinstance(answer, Awaitable):
            answer = await answer
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        await asyncio.sleep(POLL_SECONDS)


def children_of(pid: int) -> list[int]:
    """The processes that a process has started (proc(5), /proc/PID/task/TID/children)."""
    found: list[int] = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += [int(word) for word in children.read_text().split()]
    return found


def command_of(pid: int) -> list[bytes]:
    """A process's command; nothing where it is gone or a zombie."""
    try:
        return [word for word in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0") if word]
    except OSError:
        return []
