"""What CometBFT asks of its application, in the node's own words: ABCI 2.0 without protobuf.

``Application`` is what the socket (abci_server.py) calls and the node implements. Times are nanoseconds since
1970 in UTC, addresses the 20 bytes of CometBFT (the first of SHA-256 of the public key), hashes raw. What
CometBFT and the application say to each other is described in the ABCI specification, "Methods" and "Expected
behavior"; vote extensions are never enabled and have no place here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, Protocol

NS_PER_MS: Final = 1_000_000
CODE_OK: Final = 0


@dataclass(frozen=True, slots=True)
class ValidatorPower:
    """A validator's Ed25519 key (32 bytes) and power; power 0 in an update takes it out of the set."""

    public_key: bytes
    power: int


@dataclass(frozen=True, slots=True)
class ConsensusParams:
    """What CometBFT itself holds a chain to. ``app_version`` is the protocol number that headers carry."""

    block_bytes_max: int
    block_gas_max: int
    evidence_age_blocks: int
    evidence_age_ns: int
    evidence_bytes_max: int
    app_version: int = 0


@dataclass(frozen=True, slots=True)
class InfoRequest:
    """The CometBFT that asks where the application stands."""

    version: str
    block_version: int
    p2p_version: int
    abci_version: str


@dataclass(frozen=True, slots=True)
class InfoAnswer:
    """Where the application stands: the last height that it committed, 0 before the first, and its app hash
    there. CometBFT replays what is above.
    """

    height: int
    app_hash: bytes
    app_version: int
    version: str = ""
    data: str = ""


@dataclass(frozen=True, slots=True)
class InitChainRequest:
    """The chain as CometBFT's genesis file says it; asked while Info answers height 0."""

    time_ns: int
    chain_id: str
    initial_height: int
    validators: tuple[ValidatorPower, ...]
    params: ConsensusParams | None
    app_state: bytes = b""


@dataclass(frozen=True, slots=True)
class InitChainAnswer:
    """The app hash that the first block's header carries. validators: the set to begin with; none: the
    genesis file's.
    """

    app_hash: bytes
    validators: tuple[ValidatorPower, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckTxAnswer:
    """Whether the mempool takes a transaction: code 0. ``gas_wanted`` counts against the block's gas."""

    code: int = CODE_OK
    gas_wanted: int = 0
    log: str = ""
    codespace: str = ""


class BlockVote(IntEnum):
    """What a validator's signature in a commit stands for."""

    UNKNOWN = 0
    ABSENT = 1
    COMMIT = 2
    NIL = 3


@dataclass(frozen=True, slots=True)
class Vote:
    """One validator of the set that decided the block before."""

    address: bytes
    power: int
    vote: BlockVote


@dataclass(frozen=True, slots=True)
class LastCommit:
    """How the block before was decided. ``round`` above 0: a proposer failed."""

    round: int = 0
    votes: tuple[Vote, ...] = ()


class MisbehaviorKind(IntEnum):
    """What a validator is shown to have done."""

    UNKNOWN = 0
    DUPLICATE_VOTE = 1
    LIGHT_CLIENT_ATTACK = 2


@dataclass(frozen=True, slots=True)
class Misbehavior:
    """Evidence that CometBFT has verified. ``power`` is the validator's, ``total_power`` the set's, both at
    ``height``, where it happened.
    """

    kind: MisbehaviorKind
    address: bytes
    power: int
    height: int
    time_ns: int
    total_power: int


@dataclass(frozen=True, slots=True)
class Proposal:
    """What this node may propose: transactions from its mempool, in its order. ``bytes_max`` bounds those
    that it returns, as they are encoded in a block.
    """

    height: int
    time_ns: int
    txs: tuple[bytes, ...]
    bytes_max: int
    misbehavior: tuple[Misbehavior, ...] = ()
    proposer: bytes = b""
    next_validators_hash: bytes = b""


@dataclass(frozen=True, slots=True)
class DecidedBlock:
    """A block that somebody proposed (process_proposal) or that more than two thirds decided
    (finalize_block).
    """

    height: int
    time_ns: int
    txs: tuple[bytes, ...]
    hash: bytes
    misbehavior: tuple[Misbehavior, ...] = ()
    proposer: bytes = b""
    next_validators_hash: bytes = b""
    last_commit: LastCommit = field(default_factory=LastCommit)

    @property
    def time_ms(self) -> int:
        """Whole milliseconds."""
        return self.time_ns // NS_PER_MS


@dataclass(frozen=True, slots=True)
class TxResult:
    """What a transaction came to, as far as CometBFT commits to it (its last_results_hash)."""

    code: int = CODE_OK
    data: bytes = b""
    gas_wanted: int = 0
    gas_used: int = 0


@dataclass(frozen=True, slots=True)
class FinalizeAnswer:
    """What a decided block came to. results: one a transaction, in order. updates: the difference to the
    validator set wanted, one entry a key, acting from height + 2. params: new consensus parameters, whole.
    """

    app_hash: bytes
    results: tuple[TxResult, ...]
    updates: tuple[ValidatorPower, ...] = ()
    params: ConsensusParams | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot that a node offers. ``hash`` is equal only where the snapshot is identical."""

    height: int
    format: int
    chunks: int
    hash: bytes
    metadata: bytes = b""


class OfferResult(IntEnum):
    """What becomes of a snapshot that a peer offers."""

    ACCEPT = 1
    ABORT = 2
    REJECT = 3
    REJECT_FORMAT = 4
    REJECT_SENDER = 5


class ApplyResult(IntEnum):
    """What becomes of a chunk, and of its snapshot."""

    ACCEPT = 1
    ABORT = 2
    RETRY = 3
    RETRY_SNAPSHOT = 4
    REJECT_SNAPSHOT = 5


@dataclass(frozen=True, slots=True)
class ApplyAnswer:
    """refetch: indices of chunks to fetch again. reject_senders: peers whose chunks were bad."""

    result: ApplyResult
    refetch: tuple[int, ...] = ()
    reject_senders: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class QueryRequest:
    """A question to the application; ``/p2p/filter/...`` asks whether a peer may stay."""

    path: str
    data: bytes = b""
    height: int = 0
    prove: bool = False


@dataclass(frozen=True, slots=True)
class QueryAnswer:
    """Code 0 and a value, or why not."""

    code: int = CODE_OK
    value: bytes = b""
    key: bytes = b""
    height: int = 0
    log: str = ""
    codespace: str = ""


class Application(Protocol):
    """The node as CometBFT sees it. Called on the event loop; what takes long goes to a thread.

    CometBFT opens four connections. Calls on one are made one after the other, calls on different ones side
    by side: consensus (init_chain, prepare_proposal, process_proposal, finalize_block, commit), mempool
    (check_tx), query (info, query), snapshots (the rest). An exception from any of them stops the node.
    """

    async def info(self, request: InfoRequest) -> InfoAnswer:
        """Where the application stands."""

    async def init_chain(self, request: InitChainRequest) -> InitChainAnswer:
        """Begin the chain."""

    async def check_tx(self, tx: bytes, *, recheck: bool) -> CheckTxAnswer:
        """May this transaction wait in the mempool?"""

    async def prepare_proposal(self, proposal: Proposal) -> Sequence[bytes]:
        """The transactions to propose, in order."""

    async def process_proposal(self, block: DecidedBlock) -> bool:
        """Is this a block to vote for?"""

    async def finalize_block(self, block: DecidedBlock) -> FinalizeAnswer:
        """Run a decided block; nothing is durable yet."""

    async def commit(self) -> int:
        """Make the last finalized block durable. The height below which CometBFT may forget blocks; 0: keep
        all.
        """

    async def list_snapshots(self) -> Sequence[Snapshot]:
        """The snapshots to offer to peers."""

    async def offer_snapshot(self, snapshot: Snapshot, app_hash: bytes) -> OfferResult:
        """Shall this snapshot be restored? ``app_hash``: what the light client verified at its height."""

    async def load_snapshot_chunk(self, height: int, format_: int, chunk: int) -> bytes:
        """One chunk of an offered snapshot; empty if there is none."""

    async def apply_snapshot_chunk(self, index: int, chunk: bytes, sender: str) -> ApplyAnswer:
        """Take one chunk of the accepted snapshot."""

    async def query(self, request: QueryRequest) -> QueryAnswer:
        """Answer from the last committed state."""
