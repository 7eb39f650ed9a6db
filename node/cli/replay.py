"""The whole chain recomputed: every transaction run again by a new ledger over an empty store, every hash
compared. Where the log was pruned, the recomputing begins with a snapshot that hashes up to the log's header.

What is trusted is the genesis document and this program. The block log gives the order of transactions and
what the node says came of them; signatures, receipts, roots, the app hash and the sequencer's certificate
of every block are made or checked anew.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from contracts import assemble
from node.keys.verify import VERIFIERS
from node.ledger import codec
from node.ledger.errors import StoreFailed
from node.ledger.genesis import suite_of
from node.ledger.hashing import SIGN_HEADER
from node.ledger.ledger import Finalized, Ledger
from node.ledger.ports import Check
from node.ledger.running import contents
from node.ledger.snapshot import Apply, Offer, Plan
from node.ledger.types import Authority, Block, BlockRecord, Genesis
from node.storage.sharded import ShardedStore

SYNC_BLOCKS: Final = 64
SCRATCH_SHARDS: Final = 1


class Disagreement(Exception):
    """The log says otherwise than the recomputation; the text names the height and what differs."""


class Log(Protocol):
    """What is replayed."""

    @property
    def first_position(self) -> int:
        """Number of the first block that is whole; 0 where the log reaches genesis."""

    def blocks(self, first: int = 0, last: int | None = None) -> Iterator[BlockRecord]:
        """Whole blocks, ascending."""

    def base_snapshot(self) -> Plan:
        """The oldest snapshot from which the log goes on, proved against the log's header."""

    def snapshot_chunk(self, height: int, index: int) -> bytes:
        """A chunk of it."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What was recomputed and found equal. snapshot: the height of the snapshot that it began with, None
    where it began with genesis.
    """

    snapshot: int | None
    blocks: int
    transactions: int
    height: int
    app_hash: bytes
    state_root: bytes


def replay(log: Log, genesis: Genesis, scratch: Path, progress: Callable[[int, int], None]) -> Replayed:
    """Recompute a chain in ``scratch``, an empty or new directory. progress: called with (blocks done,
    transactions done).

    Raises: Disagreement, and StorageError where the log or the scratch disk fails.
    """
    suite = suite_of(genesis)
    ShardedStore.create(scratch, suite, shards=SCRATCH_SHARDS, genesis=codec.encode(genesis)).close()
    store = ShardedStore.open(scratch, suite, lifetime_ms=genesis.limits.lifetime_ms)
    try:
        ledger = Ledger(genesis, assemble, store, VERIFIERS[genesis.suite]())
        count = transactions = 0
        snapshot = _take_in(ledger, log) if log.first_position else None
        for record in log.blocks(0 if snapshot is None else snapshot + 1):
            transactions += _again(ledger, record)
            count += 1
            if count % SYNC_BLOCKS == 0:
                store.sync()
            progress(count, transactions)
        store.sync()
    finally:
        store.close()
    if count == 0 and snapshot is None:
        raise Disagreement("the log holds no block, not even that of genesis")
    info = ledger.info()
    return Replayed(snapshot, count, transactions, info.height, info.app_hash, info.state_root)


def _take_in(ledger: Ledger, log: Log) -> int:
    """Begin with the snapshot below the log's first blocks; its height."""
    plan = log.base_snapshot()
    height = plan.header.height
    offered = ledger.offer_snapshot(plan.snapshot, plan.app_hash) is Offer.ACCEPT
    for index in range(plan.chunks if offered else 0):
        applied = ledger.apply_snapshot_chunk(index, log.snapshot_chunk(height, index))
        if applied.result is not Apply.ACCEPT:
            raise Disagreement(f"height {height}: chunk {index} of the snapshot is not what the header says")
    if ledger.info().app_hash != plan.app_hash:
        raise Disagreement(f"height {height}: the snapshot is not one of this chain")
    return height


def _again(ledger: Ledger, record: BlockRecord) -> int:
    """Run one block again and compare; how many transactions were in it."""
    try:
        items, evidence = contents(record)
    except codec.NotCanonical as reason:
        raise Disagreement(f"height {record.height}: the evidence is damaged: {reason}") from reason
    authority = ledger.standing.authority
    if record.leaves and len(record.bodies) != len(record.leaves):
        raise Disagreement(
            f"height {record.height}: bodies were dropped from the log, so it cannot be recomputed"
        )
    if record.height == 0:
        finalized = ledger.init_chain()
    else:
        finalized = ledger.finalize_block(Block(record.height, record.time_ms, items, evidence))
    _compare(record, finalized)
    _check_certificate(ledger, record, authority)
    ledger.commit(record.certificate)
    return len(items)


def _compare(record: BlockRecord, finalized: Finalized) -> None:
    again = finalized.record
    if again is None:
        raise Disagreement(f"height {record.height}: the log has a header where nothing happened")
    pairs = (
        ("the transactions", record.leaves, again.leaves),
        ("the receipts", record.receipts, again.receipts),
        ("what was written", record.writes, again.writes),
        ("the header", record.header, again.header),
        ("the app hash", record.app_hash, again.app_hash),
    )
    for what, told, found in pairs:
        if told != found:
            raise Disagreement(f"height {record.height}: {what} in the log and in the recomputation differ")


def _check_certificate(ledger: Ledger, record: BlockRecord, authority: Sequence[Authority]) -> None:
    """The key that had more than two thirds of the power before this block signed its header. Where there is
    none, validators certify the block elsewhere.
    """
    total = sum([key.power for key in authority])
    deciding = [key for key in authority if key.power * 3 > total * 2]
    message = SIGN_HEADER + ledger.chain.chain_id + record.app_hash
    checks = [Check(key.algorithm, key.public_key, message, record.certificate) for key in deciding]
    if deciding and not all(VERIFIERS[ledger.suite.name]().verify(checks)):
        raise Disagreement(
            f"height {record.height}: the certificate is not the sequencer's signature of this header"
        )


__all__ = ["Disagreement", "Replayed", "StoreFailed", "replay"]
