"""The ledger: a pure function from an order of signed transactions to receipts, state and one hash that
commits to all of it.

An engine calls the verbs of ABCI: ``init_chain`` once, then ``finalize_block`` and ``commit`` in turn, with
``read`` and ``check_at_door`` before and ``query`` beside. The ledger knows no clock, disk or thread; the
same blocks give the same app hashes on every node.

What always holds: a transaction is applied whole or leaves no trace but its receipt; an item without a
receipt spent nothing; nothing is changed for good before ``commit``; the app hash commits to state,
receipts, transactions and all earlier app hashes.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any, Final, NamedTuple

from node.ledger import codec, hashing
from node.ledger.bundles import Judged, check_bundle, is_acceptable, prepare
from node.ledger.contract import Bound, Contract
from node.ledger.errors import ErrorCode, InvariantViolated, LedgerError, Rejected
from node.ledger.genesis import suite_of
from node.ledger.intake import SnapshotVerbs
from node.ledger.merkle import History, merkle_root
from node.ledger.ports import Check, Reader, Spent, Store, Verifier
from node.ledger.proofs import SuiteProofs
from node.ledger.running import SYSTEM_LEAF, Pass, Runner, bound
from node.ledger.standing import NO_KEEPERS, Standing, changes, keepers_of, standing_of
from node.ledger.state import Delta, View
from node.ledger.state_tree import Applied, Proof, StateTree, pairs_of
from node.ledger.transactions import Candidate, Chain, authorise, check_alive, parse, signature_checks
from node.ledger.types import (
    Block,
    BlockRecord,
    Genesis,
    Header,
    Leaf,
    PowerChange,
    Receipt,
)

PROTOCOL: Final = 1
"""The rules of a chain that begins with this release. A header carries the number of those that hold."""
PROTOCOLS: Final = (PROTOCOL,)
"""All rules that this release has; where a chain goes on under others, it stops and says so."""

Query = Callable[[bytes], Any]
"""Encoded arguments -> a contract's answer. Raises Rejected BAD_ARGUMENTS, or the query's own refusals."""


class Info(NamedTuple):
    """Where the ledger stands."""

    height: int
    time_ms: int
    app_hash: bytes
    state_root: bytes


@dataclass(frozen=True, slots=True)
class Discarded:
    """An item without a receipt: why, and who spent its request id if that is the reason. node: by whose
    bundle it was discarded unseen, where that is the reason; in another it may be sound.
    """

    error: ErrorCode
    details: dict[str, str | int]
    spent: Spent | None = None
    node: bytes = b""


@dataclass(frozen=True, slots=True)
class Finalized:
    """A block's result, not yet committed.

    outcomes: one an item, in order. app_hash: unchanged in a quiet block, whose record is None. alarms:
    contract faults and evidence, for operators. updates: how the authority wanted after this block differs
    from that before it; consensus puts it in force two heights later.
    """

    height: int
    time_ms: int
    app_hash: bytes
    outcomes: tuple[Receipt | Discarded, ...]
    record: BlockRecord | None
    alarms: tuple[str, ...]
    updates: tuple[PowerChange, ...] = ()


class _Pending(NamedTuple):
    finalized: Finalized
    applied: Applied | None
    history: History | None
    standing: Standing


class Ledger(SnapshotVerbs):
    """One chain's state machine over a store."""

    _store: Store
    _info: Info

    def __init__(
        self,
        genesis: Genesis,
        assemble: Callable[[], tuple[Contract, ...]],
        store: Store,
        verifier: Verifier,
        *,
        records: int = 100_000,
        leaf_bytes: int = 64 * 1024 * 1024,
        protocols: tuple[int, ...] = PROTOCOLS,
    ) -> None:
        """assemble: makes one set of contracts, the one that keeps members first. records, leaf_bytes:
        budgets of the caches. protocols: rules that this release has. Raises ReleaseTooOld where the next
        block needs others.
        """
        self.genesis = genesis
        self.suite = suite_of(genesis)
        self._store = store
        self._verifier = verifier
        self._delta = Delta(store, records)
        self._runner = Runner(
            genesis, self.suite, assemble(), self._delta, SuiteProofs(self.suite, verifier), protocols
        )
        self.view = View(store.snapshot())
        self._assemble = assemble
        self._still: tuple[Reader, Bound] | None = None
        self.door = bound(assemble(), self.view)
        """The contracts over the published state."""
        self.readers = self.door.contracts
        self._keepers = keepers_of(genesis, self.readers)
        self._tree = StateTree(self.suite, store.tree_scan, leaf_bytes)
        self._history = History.opened(self.suite.digest, max(store.header_count - 1, 0), store.history_node)
        self._pending: _Pending | None = None
        self._info = self._opened()
        self.time_ms = self._info.time_ms
        """Block time, quiet blocks included: what queries and the door go by."""
        begun = self._info.app_hash != hashing.ZERO_HASH
        self.standing = standing_of(genesis, self.suite, self._runner.keepers if begun else NO_KEEPERS)
        """How the chain stands after the last committed block: authority, nodes, contracts, protocol."""
        self._runner.turn_to(self.standing, self._info.height + 1 if begun else 0)

    def _opened(self) -> Info:
        head = self._store.head()
        if head is None:
            return Info(0, 0, hashing.ZERO_HASH, hashing.ZERO_HASH)
        header: Header = _decode_header(head.header)
        if header.chain != self.chain.chain_id:
            raise InvariantViolated("the data directory belongs to another chain than the genesis document")
        root = self._tree.build()
        if root != header.state_root:
            raise InvariantViolated(
                f"the stored state has root {root.hex()}, the header of {head.height} says "
                f"{header.state_root.hex()}: move state/ aside, and the next start rebuilds it from the log"
            )
        if self._history.root() != header.history_root:
            raise InvariantViolated(
                f"the stored history is not the one that the header of {head.height} names"
            )
        return Info(head.height, head.time_ms, head.app_hash, root)

    # --- the verbs ------------------------------------------------------------------------------------------

    def info(self) -> Info:
        """The last committed block."""
        return self._info

    def init_chain(self) -> Finalized:
        """Write what genesis says as block 0. Commit it like any block."""
        if self._info.app_hash != hashing.ZERO_HASH:
            raise InvariantViolated("the chain has begun already")
        self._delta.rollback()
        self._runner.begin()
        return self._seal(0, self.genesis.time_ms, Pass(), ())

    def read(self, raw: bytes) -> Candidate:
        """What a client handed in, if it could ever be valid. Raises Rejected TOO_LARGE, MALFORMED,
        WRONG_CHAIN, TOO_MUCH_WORK.
        """
        return parse(raw, self.chain)

    def check_at_door(self, candidate: Candidate, time_ms: int) -> tuple[Check, ...]:
        """Judge a candidate against the published state at ``time_ms``; the signature checks that remain.

        Raises Rejected for what would be discarded now.
        """
        check_alive(candidate, max(time_ms, self._info.time_ms), self.genesis.limits)
        return authorise(candidate, self.door, self.chain, self.view.reader.height + 1)

    def check_signed(self, candidate: Candidate) -> tuple[Check, ...]:
        """The signature checks of a candidate that ``check_at_door`` turns away, by keys that may have ended
        since. Raises Rejected UNKNOWN_KEY.
        """
        return signature_checks(candidate, self.door, self.chain)

    def judge(self, raw: bytes) -> Judged:
        """A bundle that may stand in a block, by the one predicate; whoever keeps the answer need not ask
        again. Raises Rejected (bundles.check_bundle).
        """
        return check_bundle(raw, self._runner.founding, self.standing.nodes, self._verifier)

    def check_tx(self, bundle: Judged) -> int:
        """May this bundle wait in the mempool? Its work. Raises Rejected NODE_INACTIVE for one of a node that
        may not hand in new ones; in a block it would pass.
        """
        keeper = self._keepers.authorities
        if keeper and not keeper.is_node_active(bundle.node):
            raise Rejected(LedgerError.NODE_INACTIVE, key_id=bundle.node.hex())
        return bundle.work

    def prepare_proposal(self, bundles: Sequence[Judged], bytes_max: int) -> list[bytes]:
        """This node's proposal: a prefix of the bundles given."""
        return prepare(bundles, bytes_max, self._runner.founding)

    def process_proposal(self, bundles: Sequence[Judged]) -> bool:
        """Whether another node's proposal, of which every bundle passes the predicate, may be voted for."""
        return is_acceptable(bundles, self._runner.founding)

    def silenced(self, bundles: Sequence[Judged]) -> list[bool]:
        """Of which bundles the items are discarded in the next block: those of nodes that are retired, or of
        members that are suspended, after the last committed block. Abandons what is finalized and not
        committed.
        """
        self._pending = None
        self._delta.rollback()
        inactive = self._inactive([bundle.node for bundle in bundles])
        return [bundle.node in inactive for bundle in bundles]

    def finalize_block(self, block: Block) -> Finalized:
        """Run a block. May be repeated or abandoned: nothing is changed for good before ``commit``. Items of
        silenced nodes are discarded unseen, and so is all that stands behind a false signature and was
        bundled by the same node: whoever bundles has verified. Raises ReleaseTooOld, before anything else,
        where this release does not have the rules of its height.
        """
        if self._info.app_hash == hashing.ZERO_HASH:
            raise InvariantViolated("the chain has not begun: init_chain comes first")
        if block.height <= self._info.height:
            raise InvariantViolated(f"block {block.height} after block {self._info.height}")
        self._pending = None  # a run that fails half-way must not leave an earlier one to commit
        self._delta.rollback()
        self._runner.turn_to(self.standing, block.height)
        time_ms = max(block.time_ms, self._info.time_ms + 1)
        run = Pass()
        unheard = self._inactive(block.nodes)
        self._runner.run_scheduled(run, block, time_ms)
        outcomes: list[Receipt | Discarded] = []
        for item, node in zip(block.items, block.nodes or repeat(b""), strict=bool(block.nodes)):
            outcome = unheard.get(node) or self._decide(run, self._candidate(item), block.height, time_ms)
            outcomes.append(outcome)
            if node and isinstance(outcome, Discarded) and outcome.error is LedgerError.BAD_SIGNATURE:
                unheard[node] = _unseen(LedgerError.NODE_DISTRUSTED, node)
        return self._seal(block.height, time_ms, run, tuple(outcomes))

    def next_protocol(self) -> int:
        """The number of the rules that hold one height above the block finalized last."""
        pending = self._pending
        if pending is None:
            return self.standing.protocol(self._info.height + 1)
        return pending.standing.protocol(pending.finalized.height + 1)

    def commit(self, certificate: bytes = b"") -> Info:
        """Hand the finalized block to the store: the next block sees it; it is durable once synced."""
        if self._pending is None:
            raise InvariantViolated("nothing is finalized")
        finalized, applied, history, standing = self._pending
        self._pending = None
        if finalized.record is not None and applied is not None and history is not None:
            self._store.stage(replace(finalized.record, certificate=certificate))
            self._tree.commit(applied)
            self._history = history
            self._info = Info(finalized.height, finalized.time_ms, finalized.app_hash, applied.root)
        self.standing = standing
        self.time_ms = finalized.time_ms
        self._delta.settle()
        return self._info

    def publish(self) -> None:
        """Let queries and the door see the last durable block."""
        self.view.move(self._store.snapshot())
        self._still = None  # what nobody asks any more is not to hold a snapshot

    def query(self, contract: str, name: str, arguments: bytes) -> Any:
        """Ask a contract about the published state. Raises Rejected UNKNOWN_METHOD, BAD_ARGUMENTS, or the
        query's own refusals.
        """
        return self._asking(self.door, self.view.reader.height, contract, name)(arguments)

    def still(self, contract: str, name: str) -> tuple[int, Query]:
        """A query over the state that is published now, and its height: it stays when others are published.
        Any thread asks, as often as it likes. Raises Rejected UNKNOWN_METHOD.
        """
        reader = self.view.reader
        still = self._still
        if still is None or still[0] is not reader:
            still = self._still = reader, bound(self._assemble(), View(reader))
        return reader.height, self._asking(still[1], reader.height, contract, name)

    def _asking(self, door: Bound, height: int, contract: str, name: str) -> Query:
        reader = door.contracts.get(contract)
        method = reader.queries.get(name) if reader and contract in self.contracts() else None
        if reader is None or method is None:
            raise Rejected(LedgerError.UNKNOWN_METHOD, method=f"{contract}.{name}")
        ctx = self._runner.reading(door, height, self.time_ms)
        return lambda arguments: method.function(reader, ctx, *method.decode(arguments))

    def contracts(self) -> dict[str, int]:
        """The contracts of this chain that this release has, in the order of scheduled work, each with the
        height from which it first acts.
        """
        first: dict[str, int] = {}
        for span in self.standing.spans:
            if span.contract in self.readers:
                first.setdefault(span.contract, span.from_height)
        return first

    @property
    def chain(self) -> Chain:
        """What bounds a transaction now, and the methods that it may call."""
        return self._runner.chain

    def prove(self, key: bytes) -> Proof:
        """That a record is what it is in the last committed state (membership), or is not there."""
        return self._tree.prove(key)

    def stored(self, key: bytes) -> bytes | None:
        """A record's encoding in the state that ``prove`` speaks of. To be asked where ``commit`` runs:
        ``view`` may not be there yet.
        """
        return self._store.get(key)

    def history_path(self, number: int, size: int) -> list[bytes]:
        """The path of header ``number`` in the history of the first ``size`` headers."""
        return self._history.path(number, size)

    # --- one block ------------------------------------------------------------------------------------------

    def _inactive(self, nodes: Iterable[bytes]) -> dict[bytes, Discarded]:
        """Of these nodes, those that may hand in nothing, and what becomes of their items."""
        keeper = self._runner.keepers.authorities
        return {
            node: _unseen(LedgerError.NODE_INACTIVE, node)
            for node in dict.fromkeys(nodes)
            if keeper is not None and not keeper.is_node_active(node)
        }

    def _candidate(self, item: bytes | Candidate) -> Candidate | Discarded:
        if isinstance(item, Candidate):
            if item.edition == self.chain.edition:
                return item
            item = item.raw  # read before other methods came into force
        try:
            return parse(item, self.chain)
        except Rejected as rejected:
            return Discarded(rejected.error, rejected.details)

    def _decide(
        self, run: Pass, candidate: Candidate | Discarded, height: int, time_ms: int
    ) -> Receipt | Discarded:
        """Discard one item, or run it and write its receipt."""
        if isinstance(candidate, Discarded):
            return candidate
        try:
            self._check_genuine(run, candidate, height, time_ms)
        except Rejected as rejected:
            return Discarded(rejected.error, rejected.details, self._spender(run, candidate))
        run.work += candidate.work
        transaction = candidate.transaction
        receipt = self._runner.execute(run, candidate, height, time_ms)
        run.seen[transaction.member, transaction.request_id] = Spent(candidate.tx_id, height, receipt.index)
        run.leaves.append(
            Leaf(candidate.tx_id, transaction.member, transaction.request_id, candidate.signed_hash)
        )
        run.bodies.append(candidate.raw)
        run.receipts.append(receipt)
        return receipt

    def _check_genuine(self, run: Pass, candidate: Candidate, height: int, time_ms: int) -> None:
        """Raises Rejected for an item that is to be discarded."""
        check_alive(candidate, time_ms, self.genesis.limits)
        if spent := self._spender(run, candidate):
            same = spent.tx_id == candidate.tx_id
            raise Rejected(
                LedgerError.DUPLICATE if same else LedgerError.REQUEST_ID_SPENT, spent_by=spent.tx_id.hex()
            )
        if not all(self._verifier.verify(authorise(candidate, self._runner.bound, self.chain, height))):
            raise Rejected(LedgerError.BAD_SIGNATURE)
        if run.work + candidate.work > self.genesis.limits.block_work_max:
            raise Rejected(LedgerError.BLOCK_FULL)

    def _spender(self, run: Pass, candidate: Candidate) -> Spent | None:
        member, request_id = candidate.transaction.member, candidate.transaction.request_id
        return run.seen.get((member, request_id)) or self._store.spent(member, request_id)

    def _seal(
        self, height: int, time_ms: int, run: Pass, outcomes: tuple[Receipt | Discarded, ...]
    ) -> Finalized:
        """Roots, header and record of the block that ran; nothing of it if the block was quiet."""
        writes = self._delta.writes()
        before = self._info
        alarms = tuple(run.alarms)
        if not run.leaves and not writes:
            finalized = Finalized(height, time_ms, before.app_hash, outcomes, None, alarms)
            self._pending = _Pending(finalized, None, None, self.standing)
            return finalized
        standing = self.standing
        if height == 0 or self._runner.keepers.wrote(writes):
            standing = standing_of(self.genesis, self.suite, self._runner.keepers)
        pairs = pairs_of(self.suite, writes)
        applied = self._tree.apply(pairs)
        history, nodes = (
            (self._history, ())
            if before.app_hash == hashing.ZERO_HASH
            else self._history.appended(before.app_hash)
        )
        leaves = tuple([codec.encode(leaf) for leaf in run.leaves])
        receipts = tuple([codec.encode(receipt) for receipt in run.receipts])
        digest = self.suite.digest
        header = codec.encode(
            Header(
                1,
                self.chain.chain_id,
                self.standing.protocol(height),
                height,
                time_ms,
                before.app_hash,
                history.root(),
                len(leaves),
                merkle_root(digest, leaves),
                merkle_root(digest, receipts),
                applied.root,
                standing.authority_root,
            )
        )
        app_hash = digest(hashing.HEADER + header)
        spent = tuple(
            [
                (leaf.member, leaf.request_id, leaf.tx_id, at)
                for at, leaf in enumerate(run.leaves)
                if leaf is not SYSTEM_LEAF
            ]
        )
        record = BlockRecord(
            height,
            time_ms,
            app_hash,
            header,
            leaves,
            tuple(run.bodies),
            receipts,
            writes,
            pairs,
            tuple(nodes),
            spent,
        )
        updates = changes(self.standing.authority, standing.authority) if height else ()
        finalized = Finalized(height, time_ms, app_hash, outcomes, record, alarms, updates)
        self._pending = _Pending(finalized, applied, history, standing)
        return finalized

    def _stand(self) -> None:
        """Stand where the store stands now: a snapshot was taken in. Raises ReleaseTooOld."""
        self._delta.forget()
        count = self._store.header_count - 1
        self._history = History.opened(self.suite.digest, count, self._store.history_node)
        self._info = self._opened()
        self.time_ms = self._info.time_ms
        self.standing = standing_of(self.genesis, self.suite, self._runner.keepers)
        self._runner.turn_to(self.standing, self._info.height + 1)
        self.publish()


def _unseen(error: ErrorCode, node: bytes) -> Discarded:
    return Discarded(error, {"key_id": node.hex()}, node=node)


_decode_header = codec.trusted_decoder(Header)
