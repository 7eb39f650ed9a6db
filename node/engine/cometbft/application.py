"""The ledger as CometBFT sees it: its calls become verbs of the ledger, on the one thread that decides.

A bundle becomes a block here: CometBFT hands in the bundles that more than two thirds decided, their
transactions are taken out in order, the ledger discards or decides each, and ``commit`` makes it durable.
What always holds: persisted is what Commit persisted, nothing before; what CometBFT may ask again (a crash
came between) gets the same answer; every result of a bundle is code 0, because each transaction inside has
its own receipt.

Heights. Most blocks of an idle network are quiet: they leave no header of ours, so the ledger's own head does
not tell how far CometBFT came. The place record in CometBFT's home does. A home without one has committed
nothing, and Info says 0, so that a ledger can move here from the embedded engine.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import structlog

from node.engine.cometbft.abci import (
    ApplyAnswer,
    CheckTxAnswer,
    ConsensusParams,
    DecidedBlock,
    FinalizeAnswer,
    InfoAnswer,
    InfoRequest,
    InitChainAnswer,
    InitChainRequest,
    Misbehavior,
    MisbehaviorKind,
    OfferResult,
    Proposal,
    QueryAnswer,
    QueryRequest,
    Snapshot,
    TxResult,
    ValidatorPower,
)
from node.engine.cometbft.bundles import Bundles, Met
from node.engine.cometbft.home import params_of
from node.engine.ports import DurableStore
from node.engine.record import RecordFile, RecordMissing
from node.ledger.errors import InvariantViolated, Rejected
from node.ledger.ledger import Finalized, Ledger
from node.ledger.transactions import Candidate
from node.ledger.types import Authority, Block, Evidence, Height, Record, TimeMs

NS_PER_MS: Final = 1_000_000
PEERS: Final = "/p2p/filter/"
"""Where CometBFT asks whether a peer may connect: ``addr/HOST:PORT`` and ``id/NODE_ID`` below it."""
PLACE_BYTES: Final = 256
PLACE: Final = "vostro-place"
KINDS: Final = {
    MisbehaviorKind.DUPLICATE_VOTE: "duplicate-vote",
    MisbehaviorKind.LIGHT_CLIENT_ATTACK: "light-client-attack",
}
ED25519: Final = "ed25519"

OnDecide = Callable[..., Awaitable[Any]]

log = structlog.get_logger("vostro.engine")


class CometPlace(Record, frozen=True):
    """The last height that was committed under a CometBFT home, quiet ones included, and our app hash there
    (in hexadecimal digits).
    """

    height: Height
    time_ms: TimeMs
    app_hash: str


class Snapshots(Protocol):
    """Makes and takes snapshots (state_sync.py)."""

    def list(self) -> Sequence[Snapshot]:
        """Those that are whole. Any thread."""

    def load(self, height: int, format_: int, chunk: int) -> bytes:
        """One chunk; empty if there is none. Any thread."""

    def offer(self, snapshot: Snapshot, app_hash: bytes) -> OfferResult:
        """Shall it be restored? Thread *decide*."""

    def apply(self, index: int, chunk: bytes, sender: str) -> ApplyAnswer:
        """Take one chunk. Thread *decide*."""

    def retain_height(self, height: int) -> int:
        """The height below which CometBFT may forget blocks, once ``height`` is committed; 0: keep all."""

    def notice(self) -> None:
        """A block is durable."""

    async def run(self, on_decide: OnDecide) -> None:
        """Make snapshots that are due, until cancelled."""


def unwitnessed(block: DecidedBlock) -> None:
    """Nobody looks at decided blocks."""


class LedgerApplication:
    """Implements abci.Application. Calls come on the event loop; blocks run by ``on_decide``."""

    def __init__(
        self,
        ledger: Ledger,
        store: DurableStore,
        bundles: Bundles,
        home: Path,
        *,
        chain_id: str,
        version: str,
        on_decide: OnDecide,
        committed: Callable[[int, Finalized, Sequence[Candidate]], None],
        alarm: Callable[[str], None],
        restored: Callable[[], None],
        snapshots: Snapshots | None = None,
        witness: Callable[[DecidedBlock], None] = unwitnessed,
        admits: Collection[str] | None = None,
    ) -> None:
        """home: CometBFT's directory. chain_id: as CometBFT has it. committed: told of every durable block
        (height, result, its transactions in order) on the event loop; restored: told there that the ledger
        stands at a snapshot now. witness: sees every decided block. admits: the node ids of CometBFTs that
        may connect; None: any. Raises RecordUnusable.
        """
        self._ledger = ledger
        self._store = store
        self._bundles = bundles
        self._place_path = home / PLACE
        self._chain_id = chain_id
        self._version = version
        self._on_decide = on_decide
        self._committed = committed
        self._alarm = alarm
        self._restored = restored
        self._snapshots = snapshots
        self._witness = witness
        self._admits = admits
        self._place = self._opened()
        self._decided: tuple[DecidedBlock, Finalized, tuple[Candidate, ...]] | None = None
        if self._place and self._place.last.app_hash == ledger.info().app_hash.hex():
            ledger.time_ms = max(ledger.time_ms, self._place.last.time_ms)

    def close(self) -> None:
        """Close the place record."""
        if self._place:
            self._place.close()

    # --- where the ledger stands ----------------------------------------------------------------------------

    async def info(self, request: InfoRequest) -> InfoAnswer:
        """Where the application stands under this home."""
        info = self._ledger.info()
        height = self.height
        protocol = self._ledger.standing.protocol(max(info.height, height) + 1)
        return InfoAnswer(height, info.app_hash if height else b"", protocol, self._version)

    @property
    def height(self) -> int:
        """The last height committed under this home: the ledger's head, or a quiet block behind it. A place
        that names another app hash belongs to a newer copy of the ledger, and CometBFT replays what this one
        lacks.
        """
        if self._place is None:
            return 0
        info, last = self._ledger.info(), self._place.last
        return max(info.height, last.height) if last.app_hash == info.app_hash.hex() else info.height

    def _opened(self) -> RecordFile[CometPlace] | None:
        try:
            return RecordFile(self._place_path, CometPlace, PLACE_BYTES, lambda place: place.height)
        except RecordMissing:
            return None

    def _note(self, height: int, time_ms: int, app_hash: bytes) -> None:
        """Thread *decide*: put on record how far this home came. A record that lags only costs a replay."""
        place = CometPlace(height, time_ms, app_hash.hex())
        if self._place is None:
            RecordFile.create(self._place_path, place, PLACE_BYTES)
            self._place = self._opened()
        else:
            self._place.write(place)

    async def init_chain(self, request: InitChainRequest) -> InitChainAnswer:
        """Begin under this home: with genesis, or where a sequencer left the ledger. Raises
        InvariantViolated where this home is another chain's, or begins elsewhere than the ledger ends.
        """
        if request.chain_id != self._chain_id:
            raise InvariantViolated(
                f"CometBFT's home is of chain {request.chain_id}, this ledger of {self._chain_id}"
            )
        info = self._ledger.info()
        if not any(info.app_hash):
            await self._on_decide(self._begin)
            info = self._ledger.info()
        if request.initial_height != info.height + 1:
            raise InvariantViolated(
                f"CometBFT begins at height {request.initial_height} and the ledger ends at {info.height}: "
                "give this home a ledger that ends there, or let an empty data directory catch up"
            )
        wanted = powers_of(self._ledger.standing.authority)
        given = {entry.public_key: entry.power for entry in request.validators}
        if given != wanted:
            raise InvariantViolated(
                "CometBFT's genesis has other validators than the ledger: make it anew from genesis.json"
            )
        return InitChainAnswer(info.app_hash)

    def _begin(self) -> None:
        self._ledger.init_chain()
        self._ledger.commit()
        self._store.sync()

    # --- the mempool and proposals --------------------------------------------------------------------------

    async def check_tx(self, tx: bytes, *, recheck: bool) -> CheckTxAnswer:
        """May this bundle wait in the mempool?"""
        try:
            return CheckTxAnswer(gas_wanted=self._bundles.admit(tx))
        except Rejected as rejected:
            error = rejected.error
            return CheckTxAnswer(error.code, log=str(rejected), codespace=error.codespace)

    async def prepare_proposal(self, proposal: Proposal) -> Sequence[bytes]:
        """The bundles to propose, in the mempool's order."""
        judged = []
        for raw in proposal.txs:
            try:
                judged.append(self._bundles.meet(raw).judged)
            except Rejected:  # it was let in before this release; it stays out of blocks
                continue
        return self._ledger.prepare_proposal(judged, proposal.bytes_max)

    async def process_proposal(self, block: DecidedBlock) -> bool:
        """Is this a block to vote for: every bundle passes the predicate, their sums are within bounds?"""
        met = []
        for raw in block.txs:
            try:
                met.append(self._bundles.meet(raw))
            except Rejected as rejected:
                self._alarm(f"block {block.height} proposed by {block.proposer.hex()} is refused: {rejected}")
                return False
        if self._ledger.process_proposal([each.judged for each in met]):
            self._bundles.begin_all(met)
            return True
        self._alarm(f"block {block.height} proposed by {block.proposer.hex()} breaks a block's bounds")
        return False

    # --- blocks ---------------------------------------------------------------------------------------------

    async def finalize_block(self, block: DecidedBlock) -> FinalizeAnswer:
        """Run a decided block; nothing is durable yet."""
        self._witness(block)
        met = self._met(block)
        judged = [each.judged for each in met]
        silenced = await self._on_decide(self._ledger.silenced, judged)
        await self._bundles.verified([each for each, is_out in zip(met, silenced, strict=True) if not is_out])
        candidates = tuple([candidate for bundle in judged for candidate in bundle.candidates])
        evidence = tuple([_evidence(entry) for entry in block.misbehavior if entry.kind in KINDS])
        nodes = tuple([bundle.node for bundle in judged for _ in bundle.candidates])
        content = Block(block.height, block.time_ms, candidates, evidence, nodes)
        finalized: Finalized = await self._on_decide(self._ledger.finalize_block, content)
        self._decided = block, finalized, candidates
        for text in finalized.alarms:
            self._alarm(text)
        updates = [ValidatorPower(change.public_key, change.power) for change in finalized.updates]
        return FinalizeAnswer(
            finalized.app_hash, (TxResult(),) * len(block.txs), tuple(updates), self._new_params(block.height)
        )

    def _new_params(self, height: int) -> ConsensusParams | None:
        """Where the next height has another protocol, CometBFT's headers say so from there on: a node that
        begins from a snapshot is held to it.
        """
        ledger = self._ledger
        number = ledger.next_protocol()
        return params_of(ledger.genesis, number) if number != ledger.standing.protocol(height) else None

    def _met(self, block: DecidedBlock) -> list[Met]:
        met: list[Met] = []
        for raw in block.txs:
            try:
                met.append(self._bundles.meet(raw))
            except Rejected as rejected:  # more than two thirds voted for it: nothing in it can be read
                self._alarm(f"a bundle of decided block {block.height} counts for nothing: {rejected}")
        return met

    async def commit(self) -> int:
        """Make the last finalized block durable."""
        if self._decided is None:
            raise InvariantViolated("CometBFT commits a block that it did not finalize")
        (block, finalized, candidates), self._decided = self._decided, None
        await self._on_decide(self._persist, block, finalized)
        self._bundles.forget(block.txs)
        self._committed(block.height, finalized, candidates)
        if self._snapshots is None:
            return 0
        self._snapshots.notice()
        return self._snapshots.retain_height(block.height)

    def _persist(self, block: DecidedBlock, finalized: Finalized) -> None:
        """Thread *decide*: the ledger, then the log (the commit point). The place of a quiet block, and a
        home's first, which comes before the log: without it a home that has a block would count as empty,
        and one ahead of the log counts for nothing.
        """
        if finalized.record is None or self._place is None:
            self._note(block.height, finalized.time_ms, finalized.app_hash)
        self._ledger.commit()
        if finalized.record:
            self._store.sync()

    # --- snapshots and questions ----------------------------------------------------------------------------

    async def list_snapshots(self) -> Sequence[Snapshot]:
        """The snapshots to offer to peers."""
        return await asyncio.to_thread(self._snapshots.list) if self._snapshots else ()

    async def offer_snapshot(self, snapshot: Snapshot, app_hash: bytes) -> OfferResult:
        """Shall this snapshot be restored?"""
        if self._snapshots is None:
            return OfferResult.ABORT
        offered: OfferResult = await self._on_decide(self._snapshots.offer, snapshot, app_hash)
        return offered

    async def load_snapshot_chunk(self, height: int, format_: int, chunk: int) -> bytes:
        """One chunk of an offered snapshot."""
        if self._snapshots is None:
            return b""
        return await asyncio.to_thread(self._snapshots.load, height, format_, chunk)

    async def apply_snapshot_chunk(self, index: int, chunk: bytes, sender: str) -> ApplyAnswer:
        """Take one chunk of the accepted snapshot."""
        if self._snapshots is None:
            raise InvariantViolated("a chunk of a snapshot that was not accepted")
        answer: ApplyAnswer = await self._on_decide(self._take, self._snapshots, index, chunk, sender)
        if self.height:
            self._restored()
        return answer

    def _take(self, snapshots: Snapshots, index: int, chunk: bytes, sender: str) -> ApplyAnswer:
        """Thread *decide*. With the last chunk the ledger stands at the snapshot, and so does this home: from
        there CometBFT goes on.
        """
        answer = snapshots.apply(index, chunk, sender)
        info = self._ledger.info()
        if any(info.app_hash) and self._place is None:
            self._note(info.height, info.time_ms, info.app_hash)
        return answer

    async def query(self, request: QueryRequest) -> QueryAnswer:
        """Whether a peer may connect: by its id, for an address proves nothing. Nothing else is read here;
        the node's own API answers questions.
        """
        if not request.path.startswith(PEERS):
            return QueryAnswer(1, log="ask the node's gRPC API")
        kind, _, peer = request.path.removeprefix(PEERS).partition("/")
        if kind == "id" and self._admits is not None and peer not in self._admits:
            return QueryAnswer(1, log=f"{peer} is neither a peer nor a guest of this node")
        return QueryAnswer()


def powers_of(authority: Sequence[Authority]) -> dict[bytes, int]:
    """CometBFT's form of an authority. Raises InvariantViolated for keys that cannot be validators'."""
    if others := [entry.algorithm for entry in authority if entry.algorithm != ED25519]:
        raise InvariantViolated(f"CometBFT's validators sign with {ED25519}, not with {others[0]}")
    return {entry.public_key: entry.power for entry in authority}


def _evidence(entry: Misbehavior) -> Evidence:
    return Evidence(
        KINDS[entry.kind],  # type: ignore[arg-type]  # the two texts that the type names
        entry.address,
        entry.height,
        entry.time_ns // NS_PER_MS,
        entry.power,
        entry.total_power,
    )
