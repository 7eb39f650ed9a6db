"""Validators and nodes: whose votes certify blocks, and whose keys sign bundles.

Each change of power is judged before it is made (``flaw``), against every set that may still be voting when
it comes into force: the one in force, and those decided since, which consensus takes up two heights after
the block that made them. So no sequence of changes, within one block or over several, can leave the members
without a quorum. Who may change anything here is said in members.py.

State       validator / set, key id -> Validator
            named / set, address -> Named
            node / register, key id -> NodeEntry
            shift / log, height, key id -> Shift
            offence / address, kind, height -> Offence
Invariants  V1 the authority is the validators with power; it is never empty.
            V2 a key stands once, for ever; who has lost its power can be given it again.
            V3 a change leaves the validators of each set in force, or decided and not yet in force, more
               than two thirds of the new power, and moves at most a third against each; only ``move``
               replaces the whole set.
            V4 fewer than four validators, or none that may fail, only by explicit override.
            V5 evidence takes power at once only where four other validators remain, and leaves V3's two
               thirds.
Privacy     which member runs which validator, with what power, and its misbehaviour are public to members.
"""

from typing import Annotated, Final

from msgspec import Meta
from msgspec.structs import replace

from contracts.members import Members
from contracts.powers import (
    VALIDATORS_MAX,
    VALIDATORS_MIN,
    AuthorityMoved,
    Change,
    Judgement,
    Label,
    Margin,
    Misbehaved,
    Named,
    NamedNode,
    NamedOffence,
    NamedValidator,
    NewNode,
    NewValidator,
    NodeEntry,
    NodeRegistered,
    NodeRetired,
    Offence,
    Override,
    Power,
    PowerKept,
    PowerSet,
    Shift,
    Validator,
    Weights,
    carries,
    margin_of,
    may_fail,
    moved,
    positive,
)
from node.ledger.contract import Category, Context, Contract, Rejected, error, method, query, table
from node.ledger.errors import ErrorCode
from node.ledger.types import (
    Address,
    Authority,
    Evidence,
    Genesis,
    Height,
    KeyId,
    MemberId,
    Name,
    NodeKey,
)

NODES_MAX: Final = 1_024
IN_FORCE_HEIGHTS: Final = 2
"""Consensus takes up a change so many heights after the block that made it (CometBFT, ABCI 2.0)."""
CONSENSUS_ALGORITHM: Final = "ed25519"
SET: Final = "set"
REGISTER: Final = "register"
LOG: Final = "log"
NO_NODE: Final = bytes(16)


class Validators(Contract):
    """See the module's docstring."""

    name = "validators"
    facts = (PowerSet, AuthorityMoved, NodeRegistered, NodeRetired, Misbehaved, PowerKept)

    KEY_INVALID = error(
        1, Category.INVALID, "The public key is not admissible: validators have Ed25519 keys."
    )
    VALIDATOR_EXISTS = error(2, Category.ALREADY_EXISTS, "The validator is known: change its power.")
    VALIDATOR_UNKNOWN = error(3, Category.NOT_FOUND, "No such validator.")
    POWER_UNCHANGED = error(4, Category.PRECONDITION, "The validator has that power already.")
    TOO_MANY_VALIDATORS = error(5, Category.OVERLOADED, "At most 128 validators, former ones included.")
    NODE_EXISTS = error(6, Category.ALREADY_EXISTS, "The node's key is registered already: make a new one.")
    NODE_UNKNOWN = error(7, Category.NOT_FOUND, "No such node.")
    NODE_RETIRED = error(8, Category.PRECONDITION, "The node is retired.")
    TOO_MANY_NODES = error(9, Category.OVERLOADED, "At most 1,024 nodes, retired ones included.")
    QUORUM_LOST = error(
        10,
        Category.PRECONDITION,
        "The validators in force would not keep more than two thirds of the power: make smaller steps.",
    )
    TOO_MUCH_POWER = error(
        11, Category.PRECONDITION, "More than a third of the power would move at once: make smaller steps."
    )
    TOO_FEW_VALIDATORS = error(
        12, Category.PRECONDITION, "Fewer than four validators would remain: this needs an explicit override."
    )
    NO_MARGIN = error(
        13,
        Category.PRECONDITION,
        "One validator alone could stop the chain: this needs an explicit override.",
    )

    validator = table(Validator, set=Name, key_id=KeyId)
    named = table(Named, set=Name, address=Address)
    node = table(NodeEntry, register=Name, key_id=KeyId)
    shift = table(Shift, log=Name, height=Height, key_id=KeyId)
    offence = table(Offence, address=Address, kind=Name, height=Height)

    def __init__(self, members: Members) -> None:
        self.members = members

    def on_genesis(self, ctx: Context, genesis: Genesis) -> None:
        """The authority and the nodes that genesis names."""
        owners = {node.validator: node for node in genesis.nodes if node.validator}
        for node in genesis.nodes:
            entry = NodeEntry(node.member, node.algorithm, node.public_key, "", 0, 0)
            self.node.put(entry, REGISTER, ctx.proofs.key_id(node.algorithm, node.public_key))
        for key in genesis.authority:
            owner = owners.get(key.public_key)
            node_id = ctx.proofs.key_id(owner.algorithm, owner.public_key) if owner else NO_NODE
            member = owner.member if owner else ""
            self._name(ctx, Validator(key.algorithm, key.public_key, key.power, member, node_id, ""))

    # --- by the administrators, or by decision --------------------------------------------------------------

    @method(flat=2_000)
    def add(self, ctx: Context, validator: NewValidator, override: Override) -> None:
        """Add a validator, and register the key of its node if that is new."""
        self.members.check_governs(ctx)
        self._check_new(ctx, validator)
        self._check_room(1)
        key_id = ctx.proofs.key_id(validator.algorithm, validator.public_key)
        self._check_safe(ctx, {key_id: validator.power}, override)
        self._enter(ctx, validator)

    @method(flat=2_000)
    def reweigh(self, ctx: Context, key_id: KeyId, power: Power, override: Override) -> None:
        """Give a validator another power, also one that had lost it."""
        self.members.check_governs(ctx)
        self._set_power(ctx, key_id, power, override)

    @method(flat=2_000)
    def remove(self, ctx: Context, key_id: KeyId, override: Override) -> None:
        """Take a validator's power; it stays known."""
        self.members.check_governs(ctx)
        self._set_power(ctx, key_id, 0, override)

    @method(flat=4_000)
    def move(
        self,
        ctx: Context,
        validators: Annotated[tuple[NewValidator, ...], Meta(min_length=1, max_length=VALIDATORS_MAX)],
        override: Override,
    ) -> None:
        """Hand the chain over to another engine with these validators, in place of all there are."""
        self.members.check_governs(ctx)
        for new in validators:
            self._check_new(ctx, new)
        self._check_room(len(validators))
        powers = {ctx.proofs.key_id(new.algorithm, new.public_key): new.power for new in validators}
        if len(powers) != len(validators):
            raise Rejected(self.VALIDATOR_EXISTS)
        if flaw := _thin(powers) if not override else None:
            raise Rejected(flaw)
        for key_id in self._wanted():
            self._put_power(ctx, key_id, 0)
        for new in validators:
            self._enter(ctx, new)
        ctx.emit(AuthorityMoved(len(powers), sum(powers.values())))

    @method(flat=1_000)
    def register_node(self, ctx: Context, member: MemberId, node: NewNode, label: Label) -> None:
        """Let a member's node hand in bundles."""
        self.members.check_governs(ctx)
        self.members.check_active(member)
        if not ctx.proofs.is_valid_key(node.algorithm, node.public_key):
            raise Rejected(self.KEY_INVALID)
        if self.node.get(REGISTER, ctx.proofs.key_id(node.algorithm, node.public_key)):
            raise Rejected(self.NODE_EXISTS)
        self._register(ctx, member, node, label)

    @method
    def retire_node(self, ctx: Context, key_id: KeyId) -> None:
        """Let a node hand in no new bundles; those under way are still ordered."""
        self.members.check_governs(ctx)
        entry = self.node.get(REGISTER, key_id)
        if entry is None:
            raise Rejected(self.NODE_UNKNOWN)
        if entry.retired_height:
            raise Rejected(self.NODE_RETIRED)
        self.node.put(replace(entry, retired_height=ctx.height), REGISTER, key_id)
        ctx.emit(NodeRetired(entry.member, key_id))

    # --- what the ledger asks -------------------------------------------------------------------------------

    def authority(self) -> tuple[Authority, ...]:
        """The set wanted."""
        return tuple(
            [
                Authority(entry.algorithm, entry.public_key, entry.power)
                for _, entry in self.validator.scan(SET)
                if entry.power
            ]
        )

    def node_keys(self) -> dict[bytes, NodeKey]:
        """Every key ever registered that signs bundles."""
        return {
            key_id: NodeKey(entry.algorithm, entry.public_key)
            for (_, key_id), entry in self.node.scan(REGISTER)
        }

    def is_node_active(self, key_id: bytes) -> bool:
        """Whether the node may hand in bundles now."""
        entry = self.node.get(REGISTER, key_id)
        return entry is not None and not entry.retired_height and self.members.is_active(entry.member)

    def on_evidence(self, ctx: Context, evidence: Evidence) -> None:
        """Record misbehaviour, once; a validator that has power loses it where four others remain, and
        those in force their quorum.
        """
        address, kind, height = evidence.address, evidence.kind, evidence.height
        if self.offence.get(address, kind, height):
            return
        known = self.named.get(SET, address)
        found = self.validator.get(SET, known.key_id) if known else None
        member = found.member if found else ""
        wanted = self._wanted()
        others = len(wanted) - 1
        guilty = known.key_id if known and known.key_id in wanted else b""
        taken = bool(guilty) and others >= VALIDATORS_MIN and self._leaves_quorum(ctx, guilty)
        offence = Offence(
            known.key_id if known else b"",
            evidence.time_ms,
            evidence.power,
            evidence.total_power,
            ctx.height,
            int(taken),
        )
        self.offence.put(offence, address, kind, height)
        ctx.emit(
            Misbehaved(kind, address, member, height, evidence.time_ms, evidence.power, evidence.total_power)
        )
        if taken:
            self._put_power(ctx, guilty, 0)
        elif guilty:
            ctx.emit(PowerKept(guilty, member, others))

    # --- queries --------------------------------------------------------------------------------------------

    @query
    def list_validators(self, ctx: Context) -> tuple[NamedValidator, ...]:
        """Every validator ever named, ascending by id; power 0: no longer."""
        return tuple(
            [
                NamedValidator(key_id, entry, int(not entry.member or self.members.is_active(entry.member)))
                for (_, key_id), entry in self.validator.scan(SET)
            ]
        )

    @query
    def list_nodes(self, ctx: Context) -> tuple[NamedNode, ...]:
        """Every node ever registered, ascending by id."""
        return tuple(
            [
                NamedNode(key_id, entry, int(self.is_node_active(key_id)))
                for (_, key_id), entry in self.node.scan(REGISTER)
            ]
        )

    @query
    def list_offences(self, ctx: Context, address: Address) -> tuple[NamedOffence, ...]:
        """What was proved of one validator."""
        return tuple(
            [
                NamedOffence(address, kind, height, row)
                for (_, kind, height), row in self.offence.scan(address)
            ]
        )

    @query
    def margin(self, ctx: Context) -> Margin:
        """How many validators may fail now."""
        return margin_of(self._wanted())

    @query
    def preflight(
        self,
        ctx: Context,
        changes: Annotated[tuple[Change, ...], Meta(min_length=1, max_length=VALIDATORS_MAX)],
        override: Override,
    ) -> Judgement:
        """What these changes, made together in the next block, would come to."""
        weights = self._weights(ctx.height + 1, {change.key_id: change.power for change in changes})
        refusal = flaw(weights, override=bool(override))
        entering, leaving = moved(weights.earlier[0], weights.wanted)
        return Judgement(
            refusal.name if refusal else "",
            refusal.sentence if refusal else "",
            entering,
            leaving,
            margin_of(weights.wanted),
        )

    # --- guards and effects ---------------------------------------------------------------------------------

    def _check_new(self, ctx: Context, new: NewValidator) -> None:
        """What every new validator must satisfy, in the public order of precedence."""
        self.members.check_active(new.member)
        votes = new.algorithm == CONSENSUS_ALGORITHM
        if not (votes and ctx.proofs.is_valid_authority_key(new.algorithm, new.public_key)):
            raise Rejected(self.KEY_INVALID)
        if not ctx.proofs.is_valid_key(new.node.algorithm, new.node.public_key):
            raise Rejected(self.KEY_INVALID)
        if self.validator.get(SET, ctx.proofs.key_id(new.algorithm, new.public_key)):
            raise Rejected(self.VALIDATOR_EXISTS)
        node = self.node.get(REGISTER, ctx.proofs.key_id(new.node.algorithm, new.node.public_key))
        if node and node.member != new.member:
            raise Rejected(self.NODE_EXISTS)
        if node and node.retired_height:
            raise Rejected(self.NODE_RETIRED)

    def _check_room(self, more: int) -> None:
        if len([key_id for (_, key_id), _ in self.validator.scan(SET)]) + more > VALIDATORS_MAX:
            raise Rejected(self.TOO_MANY_VALIDATORS)

    def _check_safe(self, ctx: Context, changes: dict[bytes, int], override: Override) -> None:
        if refusal := flaw(self._weights(ctx.height, changes), override=bool(override)):
            raise Rejected(refusal)

    def _leaves_quorum(self, ctx: Context, key_id: bytes) -> bool:
        weights = self._weights(ctx.height, {key_id: 0})
        return all(carries(before, weights.wanted) for before in weights.earlier)

    def _weights(self, height: int, changes: dict[bytes, int]) -> Weights:
        """The sets of the blocks before a height, from the one in force at it on, and the set wanted once
        ``changes`` are made.
        """
        wanted = self._wanted()
        ended = [self._ended(wanted, height - age) for age in range(IN_FORCE_HEIGHTS, 0, -1)]
        return Weights(tuple(ended), positive(wanted | changes))

    def _ended(self, wanted: dict[bytes, int], height: int) -> dict[bytes, int]:
        """The set at the end of the block at a height: what blocks since then changed is taken back."""
        earliest: dict[bytes, int] = {}
        for (_, _, key_id), shift in self.shift.scan(LOG, start=(LOG, max(height + 1, 0))):
            earliest.setdefault(key_id, shift.power)
        return positive(wanted | earliest)

    def _wanted(self) -> dict[bytes, int]:
        return {key_id: entry.power for (_, key_id), entry in self.validator.scan(SET) if entry.power}

    def _set_power(self, ctx: Context, key_id: bytes, power: int, override: Override) -> None:
        entry = self.validator.get(SET, key_id)
        if entry is None:
            raise Rejected(self.VALIDATOR_UNKNOWN)
        if entry.power == power:
            raise Rejected(self.POWER_UNCHANGED)
        if power and entry.member:
            self.members.check_active(entry.member)
        self._check_safe(ctx, {key_id: power}, override)
        self._put_power(ctx, key_id, power)

    def _put_power(self, ctx: Context, key_id: bytes, power: int) -> None:
        """Change a power, and keep what it was until that is no longer in force."""
        entry = self.validator.get(SET, key_id)
        if entry is None:
            raise Rejected(self.VALIDATOR_UNKNOWN)
        self._note(ctx, key_id, entry.power)
        self.validator.put(replace(entry, power=power), SET, key_id)
        ctx.emit(PowerSet(key_id, entry.member, power))

    def _note(self, ctx: Context, key_id: bytes, power: int) -> None:
        for (_, height, old), _shift in [*self.shift.scan(LOG)]:
            if height <= ctx.height - IN_FORCE_HEIGHTS:
                self.shift.delete(LOG, height, old)
        if self.shift.get(LOG, ctx.height, key_id) is None:
            self.shift.put(Shift(power), LOG, ctx.height, key_id)

    def _enter(self, ctx: Context, new: NewValidator) -> None:
        node_id = ctx.proofs.key_id(new.node.algorithm, new.node.public_key)
        if self.node.get(REGISTER, node_id) is None:
            self._register(ctx, new.member, new.node, new.label)
        key_id = self._name(
            ctx, Validator(new.algorithm, new.public_key, new.power, new.member, node_id, new.label)
        )
        self._note(ctx, key_id, 0)
        ctx.emit(PowerSet(key_id, new.member, new.power))

    def _name(self, ctx: Context, entry: Validator) -> bytes:
        key_id = ctx.proofs.key_id(entry.algorithm, entry.public_key)
        self.validator.put(entry, SET, key_id)
        self.named.put(Named(key_id), SET, ctx.proofs.validator_address(entry.public_key))
        return key_id

    def _register(self, ctx: Context, member: str, node: NewNode, label: str) -> None:
        if len([key_id for (_, key_id), _ in self.node.scan(REGISTER)]) >= NODES_MAX:
            raise Rejected(self.TOO_MANY_NODES)
        key_id = ctx.proofs.key_id(node.algorithm, node.public_key)
        self.node.put(
            NodeEntry(member, node.algorithm, node.public_key, label, ctx.height, 0), REGISTER, key_id
        )
        ctx.emit(NodeRegistered(member, key_id, label))


# --- the pre-flight: pure functions of powers ---------------------------------------------------------------


def flaw(weights: Weights, *, override: bool) -> ErrorCode | None:
    """Why the wanted set must not follow the earlier ones, in the public order of precedence."""
    if not all(carries(before, weights.wanted) for before in weights.earlier):
        return Validators.QUORUM_LOST
    after = sum(weights.wanted.values())
    for before in weights.earlier:
        entering, leaving = moved(before, weights.wanted)
        if entering * 3 > after or leaving * 3 > sum(before.values()):
            return Validators.TOO_MUCH_POWER
    return None if override else _thin(weights.wanted)


def _thin(powers: dict[bytes, int]) -> ErrorCode | None:
    if len(powers) < VALIDATORS_MIN:
        return Validators.TOO_FEW_VALIDATORS
    return None if may_fail(powers.values()) else Validators.NO_MARGIN
