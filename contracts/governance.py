"""Governance: how the members change what they have in common.

A member that votes proposes operations (proposals.py names those that may be decided); others approve or
reject, naming the hash of exactly this content. Once enough approve, as the rules ask for its kind, they run
in that block as a decision of the members, all or none, or after the rules' waiting time unless a veto comes
first. What is proposed is rehearsed at once, so that nothing is put to the vote that would be refused now;
what is refused when its time has come has failed, and says why.

Recoveries of members without keys always wait, whoever decides. Administrators who govern propose them here,
too: their signatures adopt the proposal, nobody votes for it, and one member's rejection ends it.

State       rules / name -> GovernanceRules              counter / name -> Counter
            proposal / number -> Proposal                content / number -> Proposed
            ballot / number, member -> Ballot            due / queue, time, number -> Place
            opened / proposer, number -> Place           protocol / register, height -> Protocol
            activation / register, contract, version -> Activated
Life        proposals.TRANSITIONS
Invariants  G1 only ballots of members that vote now count, one each, at every count.
            G2 a proposal ends once; from its time on it takes no ballots, cleaned up or not.
            G3 the rules always let all voters together decide, and never two halves against one another.
            G4 members, validators and governance are never frozen.
            G5 protocols ascend with their heights; of a contract at most one version acts at a height.
            G6 no recovery runs before it has waited RECOVERY_WAITING_MIN_MS (proposals.py) or longer.
Privacy     proposals, reasons and ballots are public to all members.
"""

from itertools import islice
from typing import Final

from msgspec.structs import replace

from contracts.institutions import ADMINISTRATOR
from contracts.members import Members
from contracts.proposals import (
    KINDS,
    TRANSITIONS,
    Activated,
    ActivationSet,
    Adopted,
    Ballot,
    BallotCast,
    Choice,
    Content,
    Counter,
    Ended,
    Executed,
    Failed,
    FreezeSet,
    NamedActivation,
    NamedBallot,
    NamedProposal,
    NamedProtocol,
    Number,
    Opened,
    Order,
    Place,
    Proposal,
    Proposed,
    Protocol,
    ProtocolSet,
    Reason,
    RulesSet,
    Status,
    Tally,
    Version,
    is_vetoed,
    least,
    meets,
    unsound,
)
from node.ledger.contract import Category, Context, Contract, Rejected, Span, error, method, query, table
from node.ledger.errors import InvariantViolated
from node.ledger.types import (
    Count,
    Genesis,
    GovernanceRules,
    Hash,
    Height,
    MemberId,
    Name,
    Operation,
    Requirement,
    TimeMs,
)

EXPIRY_MAX: Final = 50
"""Proposals whose time has come that one block deals with; the rest follow in the next."""
OPEN_MAX: Final = 16
"""Proposals of one member under way at once."""
PAGE_MAX: Final = 50
RULES: Final = "rules"
QUEUE: Final = "due"
REGISTER: Final = "register"
FIXED: Final = ("members", "validators", "governance")
DECIDING_WORK: Final = 5_000
"""What a call costs that may carry a decision out."""


class Governance(Contract):
    """See the module's docstring."""

    name = "governance"
    facts = (
        Opened,
        BallotCast,
        Adopted,
        Executed,
        Failed,
        Ended,
        RulesSet,
        ActivationSet,
        FreezeSet,
        ProtocolSet,
    )

    NOT_VOTER = error(1, Category.PERMISSION_DENIED, "Only members with the role voter may do this.")
    NOT_GOVERNED = error(2, Category.INVALID, "Members do not decide about this method.")
    TOO_MANY_PROPOSALS = error(3, Category.OVERLOADED, "A member has at most 16 proposals under way.")
    PROPOSAL_UNKNOWN = error(4, Category.NOT_FOUND, "No such proposal.")
    CONTENT_DIFFERS = error(5, Category.INVALID, "The hash is not that of the proposal: look at it again.")
    PROPOSAL_ENDED = error(6, Category.PRECONDITION, "The proposal is decided, expired or withdrawn already.")
    PROPOSAL_EXPIRED = error(7, Category.PRECONDITION, "The proposal's time is over.")
    BALLOT_CAST = error(8, Category.ALREADY_EXISTS, "The member has voted so already.")
    NOT_PROPOSER = error(9, Category.PERMISSION_DENIED, "Only the member that proposed it may withdraw it.")
    RULES_UNSOUND = error(
        10,
        Category.INVALID,
        "A requirement is more than half of the voters and at most all, a veto at most half; a recovery "
        "waits a day or longer.",
    )
    HEIGHT_PASSED = error(11, Category.INVALID, "The height is not later than the present one.")
    CHANGE_PENDING = error(
        12, Category.PRECONDITION, "A change of this contract at a later height is scheduled already."
    )
    VERSION_ACTS = error(13, Category.PRECONDITION, "This version of the contract acts already.")
    CONTRACT_FIXED = error(14, Category.PERMISSION_DENIED, "This contract can not be frozen.")
    NOT_ACTING = error(15, Category.PRECONDITION, "No version of this contract acts at that height.")
    PROTOCOL_ORDER = error(
        16, Category.INVALID, "A protocol is higher, and begins later, than all before it."
    )

    rules = table(GovernanceRules, name=Name)
    counter = table(Counter, name=Name)
    proposal = table(Proposal, number=Number)
    content = table(Proposed, number=Number)
    ballot = table(Ballot, number=Number, member=MemberId)
    due = table(Place, queue=Name, time_ms=TimeMs, number=Number)
    opened = table(Place, proposer=MemberId, number=Number)
    activation = table(Activated, register=Name, contract=Name, version=Version)
    protocol = table(Protocol, register=Name, height=Height)

    def __init__(self, members: Members) -> None:
        self.members = members

    def on_genesis(self, ctx: Context, genesis: Genesis) -> None:
        """The rules, and the contracts that genesis names."""
        self.rules.put(genesis.governance, RULES)
        for entry in genesis.contracts:
            self.activation.put(Activated(entry.height, 0), REGISTER, entry.contract, 1)
        self.protocol.put(Protocol(genesis.protocol), REGISTER, 0)

    def on_block(self, ctx: Context) -> None:
        """Let proposals expire and carry out those that have waited, oldest first."""
        for (_, time_ms, number), _place in [*islice(self.due.scan(QUEUE), EXPIRY_MAX)]:
            if time_ms > ctx.time_ms:
                break
            proposal = self._require_proposal(number)
            if proposal.status == "open":
                self._end(ctx, number, proposal, "expired")
            else:
                self._carry_out_or_drop(ctx, number, proposal)

    # --- by members that vote -------------------------------------------------------------------------------

    @method(flat=DECIDING_WORK)
    def propose(self, ctx: Context, operations: Content, reason: Reason) -> None:
        """Propose operations to the members; the proposer approves. Administrators who govern propose
        recoveries alone, which wait from now on.
        """
        alone = self._is_of_administrators(ctx.member) and all(map(_is_recovery, operations))
        if not alone:
            self._check_voter(ctx)
        elif self.members.by_members():
            raise Rejected(Members.GOVERNED_BY_MEMBERS)
        for operation in operations:
            if (operation.contract, operation.method) not in KINDS:
                raise Rejected(self.NOT_GOVERNED, method=f"{operation.contract}.{operation.method}")
        if len([*islice(self.opened.scan(ctx.member), OPEN_MAX)]) == OPEN_MAX:
            raise Rejected(self.TOO_MANY_PROPOSALS)
        if refusal := ctx.perform(ctx, operations, rehearsal=True):
            raise Rejected(refusal)
        number = self._next_number()
        content_hash = ctx.proofs.content_hash(operations)
        due_ms = ctx.time_ms + self.require_rules().lifetime_ms
        proposal = Proposal(ctx.member, content_hash, reason, "open", ctx.time_ms, due_ms, "", 0)
        self.proposal.put(proposal, number)
        self.content.put(Proposed(operations), number)
        self.due.put(Place(1), QUEUE, due_ms, number)
        self.opened.put(Place(1), ctx.member, number)
        ctx.emit(Opened(number, ctx.member, content_hash, due_ms, reason))
        if alone:
            self._adopt(ctx, number, proposal)
        else:
            self._cast(ctx, number, proposal, "approve")

    @method(flat=DECIDING_WORK)
    def approve(self, ctx: Context, number: Number, content_hash: Hash) -> None:
        """Vote for a proposal; with enough votes it is carried out in this block."""
        self._cast(ctx, number, self._require_ballot(ctx, number, content_hash, "approve"), "approve")

    @method(flat=DECIDING_WORK)
    def reject(self, ctx: Context, number: Number, content_hash: Hash) -> None:
        """Vote against a proposal, also while it waits; enough votes end it. Any member may reject what
        administrators propose, which ends it.
        """
        self._cast(ctx, number, self._require_ballot(ctx, number, content_hash, "reject"), "reject")

    @method
    def withdraw(self, ctx: Context, number: Number) -> None:
        """Take a proposal back that is not decided."""
        proposal = self._require_proposal(number)
        if proposal.proposer != ctx.member:
            raise Rejected(self.NOT_PROPOSER)
        self._check_under_way(ctx, proposal)
        self._end(ctx, number, proposal, "withdrawn")

    # --- by decision, or by administrators who govern -------------------------------------------------------

    @method
    def set_rules(self, ctx: Context, rules: GovernanceRules) -> None:
        """Replace the rules of governance."""
        self.members.check_governs(ctx)
        if told := unsound(rules):
            raise Rejected(self.RULES_UNSOUND, reason=told)
        self.rules.put(rules, RULES)
        ctx.emit(RulesSet(rules))

    @method(flat=500)
    def take_over(self, ctx: Context) -> None:
        """Let the members govern; administrators' methods are closed from then on."""
        self.members.check_governs(ctx)
        self.members.take_over(ctx)

    @method
    def activate(self, ctx: Context, contract: Name, version: Version, height: Height) -> None:
        """Let a version of a contract act from a height on, in place of what acts then. A node whose release
        lacks it stops before that height.
        """
        self.members.check_governs(ctx)
        self._check_later(ctx, height)
        acting = self._acting(ctx, contract, height)
        if acting and acting[0] == version:
            raise Rejected(self.VERSION_ACTS)
        if acting:
            self.activation.put(replace(acting[1], until_height=height), REGISTER, contract, acting[0])
        self.activation.put(Activated(height, 0), REGISTER, contract, version)
        ctx.emit(ActivationSet(contract, version, height))

    @method
    def freeze(self, ctx: Context, contract: Name, height: Height) -> None:
        """Let a contract act no more from a height on; its state stays."""
        self.members.check_governs(ctx)
        if contract in FIXED:
            raise Rejected(self.CONTRACT_FIXED)
        self._check_later(ctx, height)
        acting = self._acting(ctx, contract, height)
        if acting is None:
            raise Rejected(self.NOT_ACTING)
        self.activation.put(replace(acting[1], until_height=height), REGISTER, contract, acting[0])
        ctx.emit(FreezeSet(contract, height))

    @method
    def schedule_protocol(self, ctx: Context, number: Count, height: Height) -> None:
        """Let rules of a higher number hold from a height on; nodes without them stop before it."""
        self.members.check_governs(ctx)
        self._check_later(ctx, height)
        if any(since >= height or number <= before for since, before in self.protocols()):
            raise Rejected(self.PROTOCOL_ORDER)
        self.protocol.put(Protocol(number), REGISTER, height)
        ctx.emit(ProtocolSet(number, height))

    # --- what the ledger asks -------------------------------------------------------------------------------

    def spans(self) -> tuple[Span, ...]:
        """Every version of every contract, with the heights between which it acts."""
        return tuple(
            [
                Span(contract, version, span.from_height, span.until_height)
                for (_, contract, version), span in self.activation.scan(REGISTER)
            ]
        )

    def protocols(self) -> tuple[tuple[int, int], ...]:
        """(height, number of the rules that hold from it on), ascending."""
        return tuple([(height, entry.number) for (_, height), entry in self.protocol.scan(REGISTER)])

    # --- queries --------------------------------------------------------------------------------------------

    @query
    def get_proposal(self, ctx: Context, number: Number) -> NamedProposal:
        """A proposal with its content and its ballots."""
        return self._named(number, self._require_proposal(number))

    @query
    def list_proposals(self, ctx: Context, before: Count) -> tuple[NamedProposal, ...]:
        """Up to 50 proposals, newest first, below the number ``before``; 0: from the newest on."""
        last = self._last_number()
        newest = min(before - 1, last) if before else last
        numbers = range(newest, max(newest - PAGE_MAX, 0), -1)
        return tuple([self._named(number, self._require_proposal(number)) for number in numbers])

    @query
    def get_order(self, ctx: Context) -> Order:
        """Who governs, by which rules, and who votes."""
        return Order(*self.members.governs(), self.require_rules(), self.members.voters())

    @query
    def list_activations(self, ctx: Context) -> tuple[NamedActivation, ...]:
        """From which height on, and below which, versions of contracts act."""
        return tuple(
            [
                NamedActivation(contract, version, span)
                for (_, contract, version), span in self.activation.scan(REGISTER)
            ]
        )

    @query
    def list_protocols(self, ctx: Context) -> tuple[NamedProtocol, ...]:
        """Which rules hold from which height."""
        return tuple([NamedProtocol(*entry) for entry in self.protocols()])

    def _named(self, number: int, proposal: Proposal) -> NamedProposal:
        operations = self._require_content(number).operations
        voters = self.members.voters()
        alone = self._is_of_administrators(proposal.proposer)
        ballots = tuple(
            [
                NamedBallot(member, ballot.choice, int(alone or member in voters))
                for (_, member), ballot in self.ballot.scan(number)
            ]
        )
        if alone:
            return NamedProposal(number, proposal, operations, ballots, len(voters), 0, 1)
        rules, count = self.require_rules(), len(voters)
        asked = [least(r.numerator, r.denominator, count) for r in self._requirements(operations)]
        veto = least(rules.veto_numerator, rules.veto_denominator, count)
        return NamedProposal(number, proposal, operations, ballots, count, max(asked), veto)

    # --- guards ---------------------------------------------------------------------------------------------

    def require_rules(self) -> GovernanceRules:
        """The rules that hold."""
        rules = self.rules.get(RULES)
        if rules is None:
            raise InvariantViolated("the chain has no rules of governance")
        return rules

    def _check_voter(self, ctx: Context) -> None:
        if not self.members.is_voter(ctx.member):
            raise Rejected(self.NOT_VOTER)

    def _require_proposal(self, number: int) -> Proposal:
        proposal = self.proposal.get(number)
        if proposal is None:
            raise Rejected(self.PROPOSAL_UNKNOWN)
        return proposal

    def _require_content(self, number: int) -> Proposed:
        content = self.content.get(number)
        if content is None:
            raise Rejected(self.PROPOSAL_UNKNOWN)
        return content

    def _require_ballot(self, ctx: Context, number: int, content_hash: bytes, choice: Choice) -> Proposal:
        """The proposal, if the member may vote so on it now."""
        found = self.proposal.get(number)
        if choice == "approve" or not found or not self._is_of_administrators(found.proposer):
            self._check_voter(ctx)
        proposal = self._require_proposal(number)
        if proposal.content_hash != content_hash:
            raise Rejected(self.CONTENT_DIFFERS)
        self._check_under_way(ctx, proposal)
        before = self.ballot.get(number, ctx.member)
        if before and before.choice == choice:
            raise Rejected(self.BALLOT_CAST)
        return proposal

    def _check_under_way(self, ctx: Context, proposal: Proposal) -> None:
        if not TRANSITIONS[proposal.status]:
            raise Rejected(self.PROPOSAL_ENDED, status=proposal.status)
        if ctx.time_ms >= proposal.due_ms:
            raise Rejected(self.PROPOSAL_EXPIRED)

    def _check_later(self, ctx: Context, height: int) -> None:
        if height <= ctx.height:
            raise Rejected(self.HEIGHT_PASSED, height=ctx.height)

    def _acting(self, ctx: Context, contract: str, height: int) -> tuple[int, Activated] | None:
        """What acts at a later height; refused where that may change in between."""
        found = None
        for (_, _, version), span in self.activation.scan(REGISTER, contract):
            if span.from_height > ctx.height or span.until_height > ctx.height:
                raise Rejected(self.CHANGE_PENDING)
            if not span.until_height or height < span.until_height:
                found = (version, span)
        return found

    def _is_of_administrators(self, proposer: str) -> bool:
        return self.members.has_role(proposer, ADMINISTRATOR)

    def _requirements(self, operations: Content) -> list[Requirement]:
        rules = self.require_rules()
        kinds = dict.fromkeys(KINDS[operation.contract, operation.method] for operation in operations)
        return [getattr(rules, kind) for kind in kinds]

    # --- effects --------------------------------------------------------------------------------------------

    def _cast(self, ctx: Context, number: int, proposal: Proposal, choice: Choice) -> None:
        self.ballot.put(Ballot(choice), number, ctx.member)
        ctx.emit(BallotCast(number, ctx.member, choice))
        tally = self._tally(number)
        alone = self._is_of_administrators(proposal.proposer)
        ends = choice == "reject" if alone else is_vetoed(tally, self.require_rules())
        if ends:
            self._end(ctx, number, proposal, "rejected")
        elif proposal.status == "open" and self._is_adopted(number, tally):
            self._adopt(ctx, number, proposal)

    def _tally(self, number: int) -> Tally:
        voters = dict.fromkeys(self.members.voters())
        choices = [row.choice for (_, member), row in self.ballot.scan(number) if member in voters]
        return Tally(choices.count("approve"), choices.count("reject"), len(voters))

    def _is_adopted(self, number: int, tally: Tally) -> bool:
        operations = self._require_content(number).operations
        return all(meets(tally, each) for each in self._requirements(operations))

    def _adopt(self, ctx: Context, number: int, proposal: Proposal) -> None:
        requirements = self._requirements(self._require_content(number).operations)
        waiting_ms = max([requirement.waiting_ms for requirement in requirements])
        if not waiting_ms:
            self._carry_out(ctx, number, proposal)
            return
        due_ms = ctx.time_ms + waiting_ms
        self.due.delete(QUEUE, proposal.due_ms, number)
        self.due.put(Place(1), QUEUE, due_ms, number)
        self.proposal.put(replace(proposal, status="waiting", due_ms=due_ms), number)
        ctx.emit(Adopted(number, due_ms))

    def _carry_out_or_drop(self, ctx: Context, number: int, proposal: Proposal) -> None:
        """What has waited is carried out if those who decided it still want it, and still may."""
        if self._is_of_administrators(proposal.proposer):
            wanted = not self.members.by_members()
        else:
            tally = self._tally(number)
            wanted = self._is_adopted(number, tally) and not is_vetoed(tally, self.require_rules())
        if wanted:
            self._carry_out(ctx, number, proposal)
        else:
            self._end(ctx, number, proposal, "rejected")

    def _carry_out(self, ctx: Context, number: int, proposal: Proposal) -> None:
        refusal = ctx.perform(ctx, self._require_content(number).operations)
        if refusal is None:
            self._close(number, proposal, "executed")
            ctx.emit(Executed(number))
            return
        failed = replace(proposal, codespace=refusal.codespace, code=refusal.code)
        self._close(number, failed, "failed")
        ctx.emit(Failed(number, refusal.codespace, refusal.code))

    def _end(self, ctx: Context, number: int, proposal: Proposal, status: Status) -> None:
        self._close(number, proposal, status)
        ctx.emit(Ended(number, status))

    def _close(self, number: int, proposal: Proposal, status: Status) -> None:
        """A proposal takes its last transition and leaves the queue and its proposer's list."""
        if status not in TRANSITIONS[proposal.status]:
            raise Rejected(self.PROPOSAL_ENDED, status=proposal.status)
        self.proposal.put(replace(proposal, status=status), number)
        self.due.delete(QUEUE, proposal.due_ms, number)
        self.opened.delete(proposal.proposer, number)

    def _last_number(self) -> int:
        counter = self.counter.get(QUEUE)
        return counter.last if counter else 0

    def _next_number(self) -> int:
        number = self._last_number() + 1
        self.counter.put(Counter(number), QUEUE)
        return number


def _is_recovery(operation: Operation) -> bool:
    return (operation.contract, operation.method) == ("members", "recover")
