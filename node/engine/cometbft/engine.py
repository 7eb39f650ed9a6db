"""The engine of a consortium: CometBFT decides the order, this node's ledger runs it.

A transaction's way: ``submit`` judges it at the door and has its signatures verified, as under any engine;
the bundler packs it into a bundle that this node signs and hands to CometBFT (bundler.py); every node judges
the bundle and verifies what is inside (bundles.py); more than two thirds of the validators' power decide a
block; the ledger runs it and Commit makes it durable (application.py); then, and only then, whoever waits
here is answered.

What always holds: the door closes while CometBFT is not there, catches up or has no quorum, and says which;
what is accepted and not decided is bounded by what this network has lately decided in WAIT_SECONDS, so that
too much is refused at once instead of waiting for long; nothing but Commit makes anything durable.
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol

import structlog

from node.engine.cometbft.abci import DecidedBlock
from node.engine.cometbft.abci_server import AbciServer, Call
from node.engine.cometbft.application import LedgerApplication, Snapshots, unwitnessed
from node.engine.cometbft.bundler import Bundler, NodeSigner
from node.engine.cometbft.bundles import Bundles
from node.engine.cometbft.disagreement import (
    Complaint,
    Disagreement,
    check_agreed,
    keep,
    read_complaint,
    read_round,
    report,
)
from node.engine.cometbft.home import Peer
from node.engine.cometbft.light import comet_chain_id
from node.engine.cometbft.rpc import RpcClient, RpcError
from node.engine.cometbft.supervisor import Comet, wait_ready
from node.engine.door import Entry
from node.engine.errors import Degraded, NodeError
from node.engine.ports import DurableStore, Places, Workers
from node.engine.running import RunningLedger, now_ms
from node.keys.verify import CachedVerifier
from node.ledger.errors import ErrorCode, InvariantViolated, LedgerError
from node.ledger.ledger import Discarded, Finalized, Ledger
from node.ledger.transactions import Candidate

STATUS_SECONDS: Final = 1.0
DIAL_SECONDS: Final = 5.0
QUORUM_LOST_HEARTBEATS: Final = 10
QUORUM_LOST_SECONDS_MIN: Final = 10.0
"""No block for so many heartbeats, and at least so long, means that no quorum is there to decide."""
STUCK_HEARTBEATS: Final = 3
STUCK_SECONDS: Final = 3.0
"""After so many heartbeats, and at least so long, without a block CometBFT is asked for its round."""
WAIT_SECONDS: Final = 1.0
"""What this node accepts and has not had decided is at most what it had decided lately in this time."""
PENDING_MIN: Final = 1_000
"""Transactions that may wait in any case: a first burst, or a few large requests."""
RATE_SHARE: Final = 0.2
"""How much of the present rate goes into the one that is remembered, a block."""
DRAIN_SECONDS: Final = 10.0
"""How long a node that stops waits for what it accepted."""

log = structlog.get_logger("vostro.engine")


MakeSnapshots = Callable[[Callable[[str], None]], Snapshots]


class Certificates(Protocol):
    """Keeps what proves receipts (certificates.py)."""

    def notice(self, height: int) -> None:
        """CometBFT decided a height, and our block of it is durable."""

    async def run(self) -> None:
        """Follow until cancelled."""


class CometEngine(RunningLedger):
    """Implements engine.Engine over one CometBFT process."""

    name = "cometbft"

    def __init__(
        self,
        ledger: Ledger,
        store: DurableStore,
        verifier: CachedVerifier,
        workers: Workers | None,
        *,
        signer: NodeSigner,
        home: Path,
        abci_socket: Path,
        rpc: RpcClient,
        version: str,
        queue_max: int,
        peers: Sequence[Peer] = (),
        admits: Collection[str] | None = None,
        index: Places | None = None,
        clock_ms: Callable[[], int] = now_ms,
        snapshots: MakeSnapshots | None = None,
        witness: Callable[[DecidedBlock], None] = unwitnessed,
        trace: Callable[[Call], None] | None = None,
    ) -> None:
        """signer: signs this node's bundles. home: CometBFT's directory. abci_socket: where CometBFT calls.
        peers: kept connected. admits: the node ids that may connect; None: any. queue_max: transactions,
        however fast the network is. snapshots: gives the part that makes and takes them, told where its
        alarms go from any thread. witness: sees every decided block before it runs. Raises RecordUnusable.
        """
        super().__init__(
            ledger, store, verifier, workers, queue_max=queue_max, index=index, clock_ms=clock_ms
        )
        self._queue_max = queue_max
        self._rpc = rpc
        self._home = home
        self._peers = tuple(peers)
        self._bundles = Bundles(
            ledger, verifier, workers, own=signer.key_id, alarm=self.alarm, counters=self.counters
        )
        self._bundler = Bundler(
            ledger, self._bundles, signer, rpc,
            sequence=clock_ms() * 1_000_000, refused=self._door.answer_all,
        )  # fmt: skip
        self._snapshots = snapshots(self._alarm_soon) if snapshots else None
        self._application = LedgerApplication(
            ledger, store, self._bundles, home,
            chain_id=comet_chain_id(ledger.chain.chain_id), version=version, on_decide=self._on_decide,
            committed=self._committed, alarm=self.alarm, restored=self._restored, snapshots=self._snapshots,
            witness=witness, admits=admits,
        )  # fmt: skip
        self._server = AbciServer(
            self._application, abci_socket, failed=self.halt, closed=self._lost, trace=trace
        )
        self._comet: Comet | None = None
        self._certificates: Certificates | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._needed: list[asyncio.Task[None]] = []
        self._rate = 0.0
        self._block_began = 0.0
        self._blocks = 0
        self._runs = 0
        self._disputed = -1
        self._idle = asyncio.Event()
        self.comet_height = 0
        """The last height that CometBFT decided, quiet ones included."""

    # --- life -----------------------------------------------------------------------------------------------

    async def start(
        self,
        comet: Comet,
        certificates: Certificates | None = None,
        *beside: Coroutine[Any, Any, None],
    ) -> None:
        """Serve CometBFT, start it, and go on once it answers. beside: what CometBFT needs while it runs: who
        answers for the validator's key, ways to peers. Raises SocketRefused, CometFailed, and Disagreement
        where this ledger is the one that stopped by it.
        """
        self._loop = asyncio.get_running_loop()
        self._comet = comet
        self._certificates = certificates
        await self._server.start()
        for follower in beside:
            self._needed.append(self._run_beside(follower))
        check_agreed(self._home, self._ledger.info().app_hash, self._store)
        await comet.start()
        await self._ready(comet)
        self._ledger.publish()
        self._open()
        self._door.refusing = NodeError.STARTING  # until the first block shows a quorum
        self._block_began = asyncio.get_running_loop().time()
        await self._look()
        followers = [self._follow(), self._bundler.run(), self._keep_dialling()]
        if certificates:
            followers.append(certificates.run())
        if self._snapshots:
            followers.append(self._snapshots.run(self._on_decide))
        for follower in followers:
            self._tasks.append(self._run_beside(follower))

    async def _ready(self, comet: Comet) -> None:
        """Until CometBFT answers. Raises CometFailed, and InvariantViolated where the ledger halts first."""
        ready = asyncio.ensure_future(wait_ready(self._rpc, comet))
        halted = asyncio.ensure_future(self.halted.wait())
        try:
            await asyncio.wait((ready, halted), return_when=asyncio.FIRST_COMPLETED)
            if self.halted.is_set():
                raise InvariantViolated(self.halt_reason)
            ready.result()
        finally:
            await _end((ready, halted))

    def _alarm_soon(self, text: str) -> None:
        """An alarm from any thread."""
        self._loop.call_soon_threadsafe(self.alarm, text)

    def _run_beside(self, follower: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.ensure_future(follower)
        task.add_done_callback(self._ended)
        return task

    async def stop(self) -> None:
        """Take nothing new, wait a bounded time for what was accepted, end CometBFT, then the rest."""
        self._close()
        self._idle.clear()
        if self._door.pending and not self.halted.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(DRAIN_SECONDS):
                    await self._idle.wait()
        await _end(self._tasks)  # they ask CometBFT, and must not miss it
        if self._comet:
            await self._comet.stop()
        await _end(self._needed)
        self._door.answer_all(self._bundler.give_up(), NodeError.UNKNOWN_OUTCOME)
        await self._server.stop()
        await self._rpc.close()
        self._decide.shutdown()
        self._application.close()

    def _enter(self, entries: list[Entry]) -> None:
        self._bundler.put(entries)

    def _drained(self) -> None:
        self._idle.set()

    def _waiting(self) -> Sequence[Entry]:
        return self._bundler.give_up()

    async def _all_durable(self) -> None:
        """Commit makes durable at once."""

    # --- blocks ---------------------------------------------------------------------------------------------

    def _committed(self, height: int, finalized: Finalized, candidates: Sequence[Candidate]) -> None:
        """A block is durable: answer whoever waits for its transactions here."""
        self.comet_height = height
        self._published(finalized)
        answers = []
        settle, told, count = self._bundler.settle, self._telling.told, self._telling.count
        time_ms = self._durable.time_ms
        for candidate, outcome in zip(candidates, finalized.outcomes, strict=True):
            count(outcome)
            waiting = settle(candidate, outcome)
            answers += [(entry, told(entry.candidate, outcome, time_ms)) for entry in waiting]
        self._tell(answers, finalized)
        self._admit(len(answers))
        if self._certificates:
            self._certificates.notice(height)
        self._blocks += 1

    def _restored(self) -> None:
        """A snapshot was taken in: readers and the door see it, and wait until CometBFT is level."""
        info = self._ledger.info()
        self._ledger.publish()
        self.comet_height = self._begun_at = info.height
        self._telling.begin_above(info.height)
        self._durable, self._door.height, self._time_ms = info, info.height, info.time_ms
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    def _admit(self, decided: int) -> None:
        """Bound what may wait by what was decided lately."""
        now = asyncio.get_running_loop().time()
        took, self._block_began = now - self._block_began, now
        if decided:
            self._rate += RATE_SHARE * (decided / max(took, 0.001) - self._rate)
        wanted = max(PENDING_MIN, int(self._rate * WAIT_SECONDS))
        self._door.queue_max = min(self._queue_max, wanted)

    # --- CometBFT -------------------------------------------------------------------------------------------

    def _lost(self, pid: int) -> None:
        """A CometBFT has closed its connections."""
        if self._comet:
            self._comet.expect_end(pid)

    def hear(self, line: str) -> None:
        """CometBFT wrote an error. For ``Supervisor(said=...)``."""
        if complaint := read_complaint(line):
            self._dispute(complaint)

    def _dispute(self, complaint: Complaint) -> None:
        """An app hash is not this node's: halt where more than two thirds voted for it, else tell of it."""
        height = self._application.height
        if complaint.is_decided:
            keep(self._home, height, complaint)
            self.halt(Disagreement(report(height, complaint, self._store)))
        elif self._disputed != height:
            self._disputed = height
            self.alarm(
                f"a block {height + 1} was proposed upon app hash {complaint.theirs.hex()}; this node's is "
                f"{complaint.ours.hex()}: the proposer's ledger differs, or this one"
            )

    async def _follow(self) -> None:
        """Look after CometBFT, the door and what is dead, until cancelled."""
        while True:
            await asyncio.sleep(STATUS_SECONDS)
            await self._look()
            self._check_disk()
            limits = self._ledger.genesis.limits
            for entry in self._bundler.sweep(self._durable.time_ms, limits.lifetime_ms):
                dead = Discarded(LedgerError.EXPIRED, {"block_time_ms": self._durable.time_ms})
                self._door.answer(entry, self._telling.told(entry.candidate, dead, self._durable.time_ms))

    async def _look(self) -> None:
        """Open or close the door by what CometBFT says of itself."""
        if self._door.refusing in (NodeError.STOPPED, NodeError.DISK_LOW):
            return
        try:
            status = await self._rpc.status()
        except RpcError as error:
            self._refuse(NodeError.STARTING, f"CometBFT does not answer: {error}")
            return
        if self._server.run_count != self._runs:
            self._runs = self._server.run_count
            self._bundler.hand_in_again()
        heartbeat = self._ledger.genesis.limits.heartbeat_ms / 1_000
        idle = asyncio.get_running_loop().time() - self._block_began
        if status.catching_up:
            self._refuse(NodeError.SYNCING, f"CometBFT catches up, at height {status.height}")
        elif idle > max(QUORUM_LOST_SECONDS_MIN, QUORUM_LOST_HEARTBEATS * heartbeat):
            self._refuse(NodeError.NO_QUORUM, f"no block was decided for {idle:.0f} s")
        elif self._blocks:
            self._refuse(None, "")
        if idle > max(STUCK_SECONDS, STUCK_HEARTBEATS * heartbeat) and not status.catching_up:
            await self._look_at_round()

    async def _look_at_round(self) -> None:
        """Why is there no block? Where another supervisor has CometBFT's log, its round still tells."""
        info = self._ledger.info()
        try:
            said = await self._rpc.consensus_state()
        except RpcError:
            return
        if complaint := read_round(said, self._application.height, info.app_hash):
            self._dispute(complaint)

    def _refuse(self, error: ErrorCode | None, why: str) -> None:
        """Close the door for a reason, told once; or open it, unless the node stops."""
        door = self._door
        if self._closing or door.refusing is error or door.refusing is NodeError.STOPPED:
            return
        if error is NodeError.NO_QUORUM:
            self.alarm(f"the node takes nothing new: {why}")
        elif error:
            log.warning("the node takes nothing new", why=why)
        else:
            log.info("the node takes transactions", height=self._durable.height)
        door.refusing = error

    async def ask(self, method: str, parameters: Mapping[str, str]) -> bytes:
        """What CometBFT says, unread, for another node's light client. Raises Degraded BLOCK_UNKNOWN,
        STARTING.
        """
        try:
            return await self._rpc.relay(method, parameters)
        except RpcError as error:
            code = NodeError.BLOCK_UNKNOWN if error.answered else NodeError.STARTING
            raise Degraded(code, reason=str(error)) from error

    async def _keep_dialling(self) -> None:
        """Keep the configured peers connected: CometBFT itself gives up on one that was away for long."""
        while self._peers:
            await asyncio.sleep(DIAL_SECONDS)
            try:
                there = {peer.node_id for peer in await self._rpc.net_info()}
                missing = [str(peer) for peer in self._peers if peer.node_id not in there]
                if missing:
                    await self._rpc.dial_peers(missing)
            except RpcError:  # it is starting; ``_look`` says so
                continue


async def _end(tasks: Sequence["asyncio.Future[Any]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
