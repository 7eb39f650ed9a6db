"""How contracts run inside one block: operations, scheduled work, evidence, and what the members decided.

Everything runs in a savepoint: whole, or without a trace. Which contracts act, and which methods may be
called, follows from the chain's standing and the block's height. What always holds: a contract's fault
becomes a refusal and an alarm and stops nobody; what says that this node itself is no longer sound passes
through.
"""

import traceback
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final

from msgspec.structs import replace

from node.ledger import codec, hashing
from node.ledger.contract import Bound, Charge, Context, Contract, Method, Signatories
from node.ledger.errors import ErrorCode, InvariantViolated, LedgerError, Rejected, StoreFailed
from node.ledger.genesis import chain_id
from node.ledger.ports import Proofs, Spent
from node.ledger.standing import Standing, check_release, keepers_of
from node.ledger.state import Delta, State
from node.ledger.transactions import Candidate, Chain, weigh
from node.ledger.types import Block, BlockRecord, Evidence, EvidenceList, Genesis, Leaf, Operation, Receipt

SYSTEM_LEAF: Final = Leaf(hashing.ZERO_HASH, "", bytes(16), hashing.ZERO_HASH)

_Step = tuple[str, Callable[..., Any], tuple[Any, ...]]


SYSTEM: Final = codec.encode(SYSTEM_LEAF)
_decode_evidence: Final[Callable[[bytes], tuple[Evidence, ...]]] = codec.decoder(EvidenceList)


def contents(record: BlockRecord) -> tuple[tuple[bytes, ...], tuple[Evidence, ...]]:
    """(transactions, evidence) of a block: what a replay hands in again. Raises codec.NotCanonical."""
    bodies = record.bodies
    if not record.leaves or record.leaves[0] != SYSTEM:
        return bodies, ()
    return bodies[1:], _decode_evidence(bodies[0]) if bodies and bodies[0] else ()


class Pass:
    """What accumulates while a block's transactions run."""

    __slots__ = ("alarms", "bodies", "leaves", "receipts", "seen", "work")

    def __init__(self) -> None:
        self.leaves: list[Leaf] = []
        self.bodies: list[bytes] = []
        self.receipts: list[Receipt] = []
        self.seen: dict[tuple[str, bytes], Spent] = {}
        self.alarms: list[str] = []
        self.work = 0


class Runner:
    """One set of contracts over the overlay of the block in progress."""

    def __init__(
        self,
        genesis: Genesis,
        suite: hashing.Suite,
        contracts: tuple[Contract, ...],
        delta: Delta,
        proofs: Proofs,
        protocols: tuple[int, ...],
    ) -> None:
        """Raises InvariantViolated where genesis names a contract that is not in the set."""
        self._genesis = genesis
        self._delta = delta
        self._proofs = proofs
        self._protocols = protocols
        self._versions = {(contract.name, contract.version): contract for contract in contracts}
        self._named = tuple([activation.contract for activation in genesis.contracts])
        if unknown := [name for name in self._named if (name, 1) not in self._versions]:
            raise InvariantViolated(
                f"genesis names contracts that this release does not have: {', '.join(unknown)}"
            )
        self._names = {fact: (c.name, fact.__name__) for c in contracts for fact in c.facts}
        self.bound = bound(contracts, delta)
        self.contracts = self.bound.contracts
        """By name; of a contract that acts, the version that does."""
        self.keepers = keepers_of(genesis, self.contracts)
        self.founding = Chain(chain_id(genesis), suite, genesis.limits, self._methods({}))
        """Bundles are judged by the methods of genesis's contracts in their first version, for ever."""
        self.chain = self.founding
        self.acting: dict[str, int] = {}
        self._protocol = genesis.protocol

    def turn_to(self, standing: Standing, height: int) -> None:
        """Let those contracts act, and those methods be callable, that are due at a height. Raises
        ReleaseTooOld.
        """
        check_release(standing, height, self._protocols, self._versions)
        self._protocol = standing.protocol(height)
        acting = standing.acting(height)
        if acting == self.acting:
            return
        self.acting = acting
        self.contracts.update({name: self._versions[name, version] for name, version in acting.items()})
        methods = self._methods(acting)
        if methods != self.chain.methods:
            self.chain = self.chain._replace(methods=methods, edition=self.chain.edition + 1)

    def _methods(self, acting: dict[str, int]) -> dict[tuple[str, str], Method]:
        """What transactions may call: methods of genesis's contracts, also of those that do not act, and of
        those that came later and act.
        """
        versions = dict.fromkeys(self._named, 1) | acting
        contracts = [self._versions[entry] for entry in versions.items()]
        return {(c.name, m.name): m for c in contracts for m in c.methods.values()}

    def context(self, run: Pass, member: str, tx_id: bytes, height: int, time_ms: int) -> Context:
        """The surroundings of one transaction, or of scheduled work."""
        perform = partial(self._perform, run)
        surroundings = (height, time_ms, self._protocol, self._proofs, self._names)
        return Context(member, tx_id, *surroundings, perform, self._weigh)

    def reading(self, bound: Bound, height: int, time_ms: int) -> Context:
        """The surroundings of a query, which looks at another state than the block in progress."""
        ctx = self.context(Pass(), "", hashing.ZERO_HASH, height, time_ms)
        ctx.weigh = partial(weigh, chain=self.chain, bound=bound)
        return ctx

    def begin(self) -> None:
        """Let every contract that genesis names write what genesis says."""
        ctx = self.context(Pass(), "", hashing.ZERO_HASH, 0, self._genesis.time_ms)
        for name in self._named:
            self.contracts[name].on_genesis(ctx, self._genesis)

    def execute(self, run: Pass, candidate: Candidate, height: int, time_ms: int) -> Receipt:
        """Apply every operation or none."""
        tx_id, index = candidate.tx_id, len(run.leaves)
        if candidate.failure:
            error, operation = candidate.failure
            return Receipt(1, tx_id, height, index, error.codespace, error.code, operation, ())
        ctx = self.context(run, candidate.transaction.member, tx_id, height, time_ms)
        ctx.keys = tuple([entry.key_id for entry in candidate.signed.signatures])
        mark = self._delta.savepoint()
        refusal = self._attempt(
            run, ctx, [(call.contract, call.method.function, call.arguments) for call in candidate.calls]
        )
        if refusal is None:
            return Receipt(1, tx_id, height, index, "", 0, 0, tuple(ctx.events or ()))
        self._delta.rollback(mark)
        return Receipt(1, tx_id, height, index, refusal.codespace, refusal.code, ctx.operation, ())

    def run_scheduled(self, run: Pass, block: Block, time_ms: int) -> None:
        """Record the evidence, then let every contract do what is due; if that changed anything, its system
        receipt is leaf 0, whose body is the evidence.
        """
        ctx = self.context(run, "", hashing.ZERO_HASH, block.height, time_ms)
        told = self._run_evidence(run, ctx, block.evidence)
        for name in self.acting:
            self._run_whole(run, ctx, (name, type(self.contracts[name]).on_block, ()))
        if ctx.events or self._delta.savepoint():
            events = tuple(ctx.events or ())
            run.leaves.append(SYSTEM_LEAF)
            run.bodies.append(codec.encode(told) if told else b"")
            run.receipts.append(Receipt(1, hashing.ZERO_HASH, block.height, 0, "", 0, 0, events))

    def _run_evidence(self, run: Pass, ctx: Context, evidence: tuple[Evidence, ...]) -> tuple[Evidence, ...]:
        """Hand evidence to the contract that keeps validators; what of it changed or told anything."""
        keeper: Any = self.keepers.authorities
        kept: list[Evidence] = []
        for entry in evidence if keeper else ():
            mark, told = self._delta.savepoint(), len(ctx.events or ())
            self._run_whole(run, ctx, (keeper.name, type(keeper).on_evidence, (entry,)))
            if (self._delta.savepoint(), len(ctx.events or ())) != (mark, told):
                kept.append(entry)
                run.alarms.append(
                    f"evidence of {entry.kind} at height {entry.height} by validator {entry.address.hex()}"
                )
        return tuple(kept)

    def _run_whole(self, run: Pass, ctx: Context, step: _Step) -> None:
        """Run a contract's own work, whole or not at all."""
        mark, told = self._delta.savepoint(), len(ctx.events or ())
        refusal = self._attempt(run, ctx, [step])
        if refusal is None:
            return
        if refusal is not LedgerError.CONTRACT_FAULT:  # which has raised its own alarm
            run.alarms.append(f"scheduled work of {step[0]} at height {ctx.height} was undone: {refusal}")
        self._undo(ctx, mark, told)

    def _undo(self, ctx: Context, mark: int, told: int) -> None:
        self._delta.rollback(mark)
        del (ctx.events or [])[told:]

    def _perform(
        self,
        run: Pass,
        ctx: Context,
        operations: Iterable[Operation],
        *,
        rehearsal: bool = False,
        member: str = "",
    ) -> ErrorCode | None:
        """contract.Perform: run what was decided or approved, whole or not at all."""
        if ctx.events is None:
            ctx.events = []  # shared with the run inside
        mark, told = self._delta.savepoint(), len(ctx.events)
        inner = replace(ctx, member=member, keys=(), decided=not member)
        if member:  # what it makes is named apart from what the transaction's other operations make
            inner.tx_id, inner.operation = ctx.proofs.unique_id(ctx.tx_id, ctx.operation), 0
        refusal: ErrorCode | None = None
        try:
            steps = [self._decided_step(operation) for operation in operations]
        except Rejected as rejected:
            refusal = rejected.error
        else:
            refusal = self._attempt(run, inner, steps)
        if refusal is not None or rehearsal:
            self._undo(ctx, mark, told)
        return refusal

    def _weigh(self, operations: Iterable[Operation]) -> tuple[tuple[Charge, ...], int]:
        """contract.Weigh, over the block in progress."""
        return weigh(operations, self.chain, self.bound)

    def _decided_step(self, operation: Operation) -> _Step:
        """Raises Rejected UNKNOWN_METHOD, BAD_ARGUMENTS, BAD_TEXT."""
        method = self.chain.methods.get((operation.contract, operation.method))
        if method is None:
            raise Rejected(LedgerError.UNKNOWN_METHOD)
        return operation.contract, method.function, method.decode(operation.arguments)

    def _attempt(self, run: Pass, ctx: Context, steps: Sequence[_Step]) -> ErrorCode | None:
        """Run steps (contract, function, arguments) in order; the refusal that ended them, or None.

        A contract's fault must not stop the consortium: it becomes a refusal and an alarm. What says that
        this node itself is no longer sound passes through and stops it.
        """
        try:
            for name, function, arguments in steps:
                ctx.operation += 1
                if name not in self.acting:
                    return LedgerError.UNKNOWN_METHOD
                function(self.contracts[name], ctx, *arguments)
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


def bound(contracts: tuple[Contract, ...], state: State) -> Bound:
    """Put the contracts over a state; the one that keeps members and keys is the first."""
    for contract in contracts:
        contract.bind(state)
    first: Any = contracts[0]
    signatories: Signatories = first
    return Bound(signatories, {contract.name: contract for contract in contracts})
