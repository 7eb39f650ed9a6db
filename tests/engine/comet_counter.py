"""A tiny application for CometBFT: it counts how often each transaction was applied. Not the ledger: it shows
that the socket, the home and the supervisor do their part.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from node.engine.cometbft.abci import (
    ApplyAnswer,
    ApplyResult,
    CheckTxAnswer,
    DecidedBlock,
    FinalizeAnswer,
    InfoAnswer,
    InfoRequest,
    InitChainAnswer,
    InitChainRequest,
    OfferResult,
    Proposal,
    QueryAnswer,
    QueryRequest,
    Snapshot,
    TxResult,
    ValidatorPower,
)


@dataclass
class Disk:
    """What a counter has committed; another counter over it is the same application started again."""

    height: int = 0
    counts: Counter[bytes] = field(default_factory=Counter)

    @property
    def app_hash(self) -> bytes:
        told = b"".join(b"%b=%d;" % item for item in sorted(self.counts.items()))
        return hashlib.sha256(told).digest()


class CountingApplication:
    """Transactions are any bytes but those that begin with ``bad``; ``fail`` in a block raises."""

    def __init__(self, disk: Disk | None = None) -> None:
        self.disk = disk or Disk()
        self.next: Disk | None = None
        self.begun: InitChainRequest | None = None
        self.blocks: list[DecidedBlock] = []
        self.updates: dict[int, tuple[ValidatorPower, ...]] = {}

    async def info(self, request: InfoRequest) -> InfoAnswer:
        assert request.abci_version == "2.0.0"
        return InfoAnswer(
            self.disk.height, self.disk.app_hash if self.disk.height else b"", 1, data="counter"
        )

    async def init_chain(self, request: InitChainRequest) -> InitChainAnswer:
        self.begun = request
        return InitChainAnswer(Disk().app_hash)

    async def check_tx(self, tx: bytes, *, recheck: bool) -> CheckTxAnswer:
        if tx.startswith(b"bad"):
            return CheckTxAnswer(7, log="bad", codespace="counter")
        return CheckTxAnswer(gas_wanted=1)

    async def prepare_proposal(self, proposal: Proposal) -> Sequence[bytes]:
        return proposal.txs

    async def process_proposal(self, block: DecidedBlock) -> bool:
        return not any(tx.startswith(b"bad") for tx in block.txs)

    async def finalize_block(self, block: DecidedBlock) -> FinalizeAnswer:
        if b"fail" in block.txs:
            raise ArithmeticError("told to fail")
        self.blocks.append(block)
        self.next = Disk(block.height, self.disk.counts + Counter(block.txs))
        results = tuple([TxResult() for _ in block.txs])
        return FinalizeAnswer(self.next.app_hash, results, self.updates.get(block.height, ()))

    async def commit(self) -> int:
        assert self.next is not None
        self.disk.height, self.disk.counts = self.next.height, self.next.counts
        return 0

    async def list_snapshots(self) -> Sequence[Snapshot]:
        return ()

    async def offer_snapshot(self, snapshot: Snapshot, app_hash: bytes) -> OfferResult:
        return OfferResult.REJECT

    async def load_snapshot_chunk(self, height: int, format_: int, chunk: int) -> bytes:
        return b""

    async def apply_snapshot_chunk(self, index: int, chunk: bytes, sender: str) -> ApplyAnswer:
        return ApplyAnswer(ApplyResult.ABORT)

    async def query(self, request: QueryRequest) -> QueryAnswer:
        return QueryAnswer(value=b"%d" % self.disk.counts[request.data], height=self.disk.height)
