"""The ledger: a pure function from an order of signed transactions to receipts, state and one hash that
commits to all of it.

An engine calls the verbs of ABCI: ``init_chain`` once, then ``finalize_block`` and ``commit`` in turn, with
``read`` and ``check_at_door`` before and ``query`` beside. The ledger knows no clock, disk or thread; the
same blocks give the same app hashes on every node.

What always holds: a transaction is applied whole or leaves no trace but its receipt; an item without a
receipt spent nothing; nothing is changed for good before ``commit``; the app hash commits to state,
receipts, transactions and all earlier app hashes.
"""

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from node.ledger import codec, hashing
from node.ledger.bundles import Judged, check_bundle, is_acceptable, prepare
from node.ledger.contract import Context, Contract, Signatories
from node.ledger.errors import ErrorCode, InvariantViolated, LedgerError, Rejected, StoreFailed
from node.ledger.genesis import authority_root, chain_id, suite_of
from node.ledger.intake import SnapshotVerbs
from node.ledger.merkle import History, merkle_root
from node.ledger.ports import Check, Spent, Store, Verifier
from node.ledger.state import Delta, State, View
from node.ledger.state_tree import Applied, Proof, StateTree, pairs_of
from node.ledger.transactions import Candidate, Chain, authorise, check_alive, parse
from node.ledger.types import Block, BlockRecord, Genesis, Header, Leaf, Receipt

PROTOCOL: Final = 1
"""The rules of this release. A header carries the number; a chain of other rules is refused."""

_SYSTEM_LEAF: Final = Leaf(hashing.ZERO_HASH, "", bytes(16), hashing.ZERO_HASH)


class Info(NamedTuple):
    """Where the ledger stands."""

    height: int
    time_ms: int
    app_hash: bytes
    state_root: bytes


@dataclass(frozen=True, slots=True)
class Discarded:
    """An item without a receipt: why, and who spent its request id if that is the reason."""

    error: ErrorCode
    details: dict[str, str | int]
    spent: Spent | None = None


@dataclass(frozen=True, slots=True)
class Finalized:
    """A block's result, not yet committed.

    outcomes: one an item, in order. app_hash: unchanged in a quiet block, whose record is None. alarms:
    contract faults, for operators.
    """

    height: int
    time_ms: int
    app_hash: bytes
    outcomes: tuple[Receipt | Discarded, ...]
    record: BlockRecord | None
    alarms: tuple[str, ...]


class _Pending(NamedTuple):
    finalized: Finalized
    applied: Applied | None
    history: History | None


class _Pass:
    """What accumulates while a block's transactions run."""

    __slots__ = ("alarms", "bodies", "leaves", "receipts", "seen", "work")

    def __init__(self) -> None:
        self.leaves: list[Leaf] = []
        self.bodies: list[bytes] = []
        self.receipts: list[Receipt] = []
        self.seen: dict[tuple[str, bytes], Spent] = {}
        self.alarms: list[str] = []
        self.work = 0


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
    ) -> None:
        """assemble: makes one set of contracts, the one that keeps members first. records, leaf_bytes:
        budgets of the caches.
        """
        self.genesis = genesis
        self.suite = suite_of(genesis)
        if genesis.protocol != PROTOCOL:
            raise InvariantViolated(
                f"the chain begins with protocol {genesis.protocol}, this release has {PROTOCOL}"
            )
        self._store = store
        self._verifier = verifier
        self._contracts = {contract.name: contract for contract in assemble()}
        self._active_from = {activation.contract: activation.height for activation in genesis.contracts}
        if unknown := [name for name in self._active_from if name not in self._contracts]:
            raise InvariantViolated(
                f"genesis names contracts that this release does not have: {', '.join(unknown)}"
            )
        self._names = {fact: (c.name, fact.__name__) for c in self._contracts.values() for fact in c.facts}
        self.chain = Chain(
            chain_id(genesis),
            self.suite,
            genesis.limits,
            {
                (c.name, m.name): m
                for c in self._contracts.values()
                if c.name in self._active_from
                for m in c.methods.values()
            },
        )
        self._delta = Delta(store, records)
        self._signatories = _bound(self._contracts, self._delta)
        self.view = View(store.snapshot())
        self.readers = {contract.name: contract for contract in assemble()}
        self._door = _bound(self.readers, self.view)
        self._authority_root = authority_root(self.suite, genesis.authority)
        self._tree = StateTree(self.suite, store.tree_scan, leaf_bytes)
        self._history = History.opened(self.suite.digest, max(store.header_count - 1, 0), store.history_node)
        self._nodes = {
            hashing.key_id(self.suite, node.algorithm, node.public_key): node for node in genesis.nodes
        }
        self._pending: _Pending | None = None
        self._info = self._opened()
        self.time_ms = self._info.time_ms
        """Block time, quiet blocks included: what queries and the door go by."""

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
        ctx = self._context("", hashing.ZERO_HASH, 0, self.genesis.time_ms)
        for name in self._active_from:
            self._contracts[name].on_genesis(ctx, self.genesis)
        return self._seal(0, self.genesis.time_ms, _Pass(), ())

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
        return authorise(candidate, self._door, self.chain, self.view.reader.height + 1)

    def check_tx(self, raw: bytes) -> int:
        """Judge a bundle for the mempool; its work. Raises Rejected (bundles.check_bundle)."""
        return check_bundle(raw, self.chain, self._nodes, self._verifier).work

    def prepare_proposal(self, bundles: Sequence[bytes], bytes_max: int) -> list[bytes]:
        """This node's proposal: a prefix of the bundles given, without any that fails the predicate."""
        return prepare(self._judged(bundles), bytes_max, self.chain)

    def process_proposal(self, bundles: Sequence[bytes]) -> bool:
        """Whether another node's proposal may be voted for."""
        judged = self._judged(bundles)
        return len(judged) == len(bundles) and is_acceptable(judged, self.chain)

    def _judged(self, bundles: Sequence[bytes]) -> list[tuple[bytes, Judged]]:
        judged: list[tuple[bytes, Judged]] = []
        for raw in bundles:
            try:
                judged.append((raw, check_bundle(raw, self.chain, self._nodes, self._verifier)))
            except Rejected:
                continue
        return judged

    def finalize_block(self, block: Block) -> Finalized:
        """Run a block. May be repeated or abandoned: nothing is changed for good before ``commit``."""
        if self._info.app_hash == hashing.ZERO_HASH:
            raise InvariantViolated("the chain has not begun: init_chain comes first")
        if block.height <= self._info.height:
            raise InvariantViolated(f"block {block.height} after block {self._info.height}")
        self._pending = None  # a run that fails half-way must not leave an earlier one to commit
        self._delta.rollback()
        time_ms = max(block.time_ms, self._info.time_ms + 1)
        run = _Pass()
        self._run_scheduled(run, block.height, time_ms)
        candidates = [self._candidate(item) for item in block.items]
        outcomes = tuple([self._decide(run, candidate, block.height, time_ms) for candidate in candidates])
        return self._seal(block.height, time_ms, run, outcomes)

    def commit(self, certificate: bytes = b"") -> Info:
        """Hand the finalized block to the store: the next block sees it; it is durable once synced."""
        if self._pending is None:
            raise InvariantViolated("nothing is finalized")
        finalized, applied, history = self._pending
        self._pending = None
        if finalized.record is not None and applied is not None and history is not None:
            self._store.stage(replace(finalized.record, certificate=certificate))
            self._tree.commit(applied)
            self._history = history
            self._info = Info(finalized.height, finalized.time_ms, finalized.app_hash, applied.root)
        self.time_ms = finalized.time_ms
        self._delta.settle()
        return self._info

    def publish(self) -> None:
        """Let queries and the door see the last durable block."""
        self.view.move(self._store.snapshot())

    def query(self, contract: str, name: str, arguments: bytes) -> Any:
        """Ask a contract about the published state. Raises Rejected UNKNOWN_METHOD, BAD_ARGUMENTS, or the
        query's own refusals.
        """
        reader = self.readers.get(contract)
        method = reader.queries.get(name) if reader and contract in self._active_from else None
        if reader is None or method is None:
            raise Rejected(LedgerError.UNKNOWN_METHOD, method=f"{contract}.{name}")
        ctx = self._context("", hashing.ZERO_HASH, self.view.reader.height, self.time_ms)
        return method.function(reader, ctx, *method.decode(arguments))

    def prove(self, key: bytes) -> Proof:
        """That a record is what it is in the last committed state (membership), or is not there."""
        return self._tree.prove(key)

    def history_path(self, number: int, size: int) -> list[bytes]:
        """The path of header ``number`` in the history of the first ``size`` headers."""
        return self._history.path(number, size)

    # --- one block ------------------------------------------------------------------------------------------

    def _candidate(self, item: bytes | Candidate) -> Candidate | Discarded:
        if isinstance(item, Candidate):
            return item
        try:
            return parse(item, self.chain)
        except Rejected as rejected:
            return Discarded(rejected.error, rejected.details)

    def _decide(
        self, run: _Pass, candidate: Candidate | Discarded, height: int, time_ms: int
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
        receipt = self._execute(run, candidate, height, time_ms)
        run.seen[transaction.member, transaction.request_id] = Spent(candidate.tx_id, height, receipt.index)
        run.leaves.append(
            Leaf(candidate.tx_id, transaction.member, transaction.request_id, candidate.signed_hash)
        )
        run.bodies.append(candidate.raw)
        run.receipts.append(receipt)
        return receipt

    def _check_genuine(self, run: _Pass, candidate: Candidate, height: int, time_ms: int) -> None:
        """Raises Rejected for an item that is to be discarded."""
        check_alive(candidate, time_ms, self.genesis.limits)
        if spent := self._spender(run, candidate):
            same = spent.tx_id == candidate.tx_id
            raise Rejected(
                LedgerError.DUPLICATE if same else LedgerError.REQUEST_ID_SPENT, spent_by=spent.tx_id.hex()
            )
        if not all(self._verifier.verify(authorise(candidate, self._signatories, self.chain, height))):
            raise Rejected(LedgerError.BAD_SIGNATURE)
        if run.work + candidate.work > self.genesis.limits.block_work_max:
            raise Rejected(LedgerError.BLOCK_FULL)

    def _spender(self, run: _Pass, candidate: Candidate) -> Spent | None:
        member, request_id = candidate.transaction.member, candidate.transaction.request_id
        return run.seen.get((member, request_id)) or self._store.spent(member, request_id)

    def _execute(self, run: _Pass, candidate: Candidate, height: int, time_ms: int) -> Receipt:
        """Apply every operation or none."""
        tx_id, index = candidate.tx_id, len(run.leaves)
        if candidate.failure:
            error, operation = candidate.failure
            return Receipt(1, tx_id, height, index, error.codespace, error.code, operation, ())
        ctx = self._context(candidate.transaction.member, tx_id, height, time_ms)
        mark = self._delta.savepoint()
        refusal = self._attempt(
            run, ctx, [(call.contract, call.method.function, call.arguments) for call in candidate.calls]
        )
        if refusal is None:
            return Receipt(1, tx_id, height, index, "", 0, 0, tuple(ctx.events or ()))
        self._delta.rollback(mark)
        return Receipt(1, tx_id, height, index, refusal.codespace, refusal.code, ctx.operation, ())

    def _run_scheduled(self, run: _Pass, height: int, time_ms: int) -> None:
        """Let every contract do what is due; if that changed anything, its system receipt is leaf 0."""
        ctx = self._context("", hashing.ZERO_HASH, height, time_ms)
        for name in self._active_from:
            mark = self._delta.savepoint()
            told = len(ctx.events or ())
            refusal = self._attempt(run, ctx, [(name, type(self._contracts[name]).on_block, ())])
            if refusal is not None:
                if refusal is not LedgerError.CONTRACT_FAULT:  # which has raised its own alarm
                    run.alarms.append(f"scheduled work of {name} at height {height} was undone: {refusal}")
                self._delta.rollback(mark)
                del (ctx.events or [])[told:]
        if ctx.events or self._delta.savepoint():
            run.leaves.append(_SYSTEM_LEAF)
            run.bodies.append(b"")
            run.receipts.append(Receipt(1, hashing.ZERO_HASH, height, 0, "", 0, 0, tuple(ctx.events or ())))

    def _attempt(
        self, run: _Pass, ctx: Context, steps: Sequence[tuple[str, Callable[..., Any], tuple[Any, ...]]]
    ) -> ErrorCode | None:
        """Run steps (contract, function, arguments) in order; the refusal that ended them, or None.

        A contract's fault must not stop the consortium: it becomes a refusal and an alarm. What says that
        this node itself is no longer sound passes through and stops it.
        """
        try:
            for name, function, arguments in steps:
                ctx.operation += 1
                if self._active_from.get(name, ctx.height + 1) > ctx.height:
                    return LedgerError.UNKNOWN_METHOD
                function(self._contracts[name], ctx, *arguments)
        except Rejected as rejected:
            return rejected.error
        except (InvariantViolated, StoreFailed, RecursionError, MemoryError):
            raise
        except Exception:
            run.alarms.append(
                f"contract fault in {name} at height {ctx.height}, transaction {ctx.tx_id.hex()}\n"
                f"{traceback.format_exc()}"
            )
            return LedgerError.CONTRACT_FAULT
        return None

    def _seal(
        self, height: int, time_ms: int, run: _Pass, outcomes: tuple[Receipt | Discarded, ...]
    ) -> Finalized:
        """Roots, header and record of the block that ran; nothing of it if the block was quiet."""
        writes = self._delta.writes()
        before = self._info
        alarms = tuple(run.alarms)
        if not run.leaves and not writes:
            finalized = Finalized(height, time_ms, before.app_hash, outcomes, None, alarms)
            self._pending = _Pending(finalized, None, None)
            return finalized
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
                PROTOCOL,
                height,
                time_ms,
                before.app_hash,
                history.root(),
                len(leaves),
                merkle_root(digest, leaves),
                merkle_root(digest, receipts),
                applied.root,
                self._authority_root,
            )
        )
        app_hash = digest(hashing.HEADER + header)
        spent = tuple(
            [
                (leaf.member, leaf.request_id, leaf.tx_id, at)
                for at, leaf in enumerate(run.leaves)
                if leaf is not _SYSTEM_LEAF
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
        finalized = Finalized(height, time_ms, app_hash, outcomes, record, alarms)
        self._pending = _Pending(finalized, applied, history)
        return finalized

    def _stand(self) -> None:
        """Stand where the store stands now: a snapshot was taken in."""
        self._delta.forget()
        count = self._store.header_count - 1
        self._history = History.opened(self.suite.digest, count, self._store.history_node)
        self._info = self._opened()
        self.time_ms = self._info.time_ms
        self.publish()

    def _context(self, member: str, tx_id: bytes, height: int, time_ms: int) -> Context:
        return Context(member, tx_id, height, time_ms, self, self._names)

    # --- what contracts may ask of cryptography (ports.Proofs) ----------------------------------------------

    def is_valid_key(self, algorithm: str, public_key: bytes) -> bool:
        """Whether the chain's suite admits this public key."""
        return algorithm in self.suite.algorithms and self._verifier.is_valid_key(algorithm, public_key)

    def key_id(self, algorithm: str, public_key: bytes) -> bytes:
        """The 16 bytes that name a public key."""
        return hashing.key_id(self.suite, algorithm, public_key)

    def unique_id(self, tx_id: bytes, operation: int) -> bytes:
        """32 bytes that name what an operation made."""
        return self.suite.digest(hashing.UNIQUE_ID + tx_id + operation.to_bytes(2, "big"))


_decode_header = codec.trusted_decoder(Header)


def _bound(contracts: dict[str, Contract], state: State) -> Signatories:
    """Put the contracts over a state; the one that keeps members and keys is the first."""
    for contract in contracts.values():
        contract.bind(state)
    first: Any = next(iter(contracts.values()))
    signatories: Signatories = first
    return signatories
