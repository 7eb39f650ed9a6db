"""Approvals: how officers of one member sign for the same thing one after the other, over days.

Officers that sign one transaction have as long as a transaction lives. What takes longer is drafted here: one
key proposes operations, other keys of the same member approve exactly these by the hash of their content, and
once the holders suffice for the member's signing policy anybody of the member has them run, as that member,
all or none. What would be asked of a transaction with these operations is asked of the draft, at the time at
which it runs: which keys are active, what they may sign for, and what the policy says.

State       draft / member, number -> Draft           content / member, number -> Content
            approval / member, number, key id -> Approval
            counter / member -> Counter               due / queue, time, member, number -> Place
Life        open --execute--> executed    open --withdraw, and no approval counts--> withdrawn
            open --block time--> expired
Invariants  P1 operations of a draft run at most once, before its time, as the member whose keys approved it.
            P2 they run only if the distinct holders of approving keys, of those alone that could sign these
               operations now, are as many as the member's signing policy asks for now.
            P3 a draft's content never changes; an approval names it by its hash and counts for it alone.
            P4 a draft that has ended keeps its record and neither content nor approvals.
Privacy     who runs a node sees drafts in clear, before anything is paid; a query shows a member its own.
"""

from collections.abc import Iterable
from itertools import islice
from typing import Annotated, Final, Literal

from msgspec import Meta
from msgspec.structs import replace

from contracts.members import Members
from node.ledger.contract import (
    Category,
    Charge,
    Context,
    Contract,
    Fact,
    Rejected,
    error,
    method,
    query,
    table,
)
from node.ledger.types import Count, Hash, KeyId, MemberId, Name, Operation, Record, TimeMs

EXPIRY_MAX: Final = 50
"""Drafts that one block ends; the rest follow in the next."""
DURATION_MAX_MS: Final = 90 * 86_400_000
OPEN_MAX: Final = 64
"""Drafts of one member that are open at once."""
APPROVALS_MAX: Final = 64
"""Keys that approve one draft: what an execution scans."""
PAGE_MAX: Final = 50
EXECUTION_WORK: Final = 20_000
"""What an execution costs, whatever it runs, and so the most that a draft's operations may cost."""
QUEUE: Final = "due"

Number = Annotated[int, Meta(ge=1, le=2**32 - 1)]
Reason = Annotated[str, Meta(max_length=140)]
Operations = Annotated[tuple[Operation, ...], Meta(min_length=1, max_length=100)]
Status = Literal["open", "executed", "withdrawn", "expired"]
Switch = Annotated[int, Meta(ge=0, le=1)]

TRANSITIONS: Final[dict[Status, tuple[Status, ...]]] = {
    "open": ("executed", "withdrawn", "expired"),
    "executed": (),
    "withdrawn": (),
    "expired": (),
}


class Draft(Record, frozen=True):
    """Operations that a member's officers approve. ended_ms 0: it is open."""

    content_hash: Hash
    reason: Reason
    status: Status
    opened_ms: TimeMs
    expires_ms: TimeMs
    ended_ms: TimeMs


class Content(Record, frozen=True):
    """What an open draft would do, together or not at all."""

    operations: Operations


class Approval(Record, frozen=True):
    """When a key approved."""

    time_ms: TimeMs


class Counter(Record, frozen=True):
    """The number of a member's last draft, and how many are open."""

    last: Count
    open: Count


class Place(Record, frozen=True):
    """A place in the queue."""

    version: Literal[1]


class Proposed(Fact, frozen=True):
    """A member's officers are asked to approve; an approval names number and hash."""

    member: MemberId
    number: Number
    content_hash: Hash
    expires_ms: TimeMs
    reason: Reason


class Approved(Fact, frozen=True):
    """A key approved a draft."""

    member: MemberId
    number: Number
    key_id: KeyId
    holder: Name


class Withdrawn(Fact, frozen=True):
    """A key took its approval back."""

    member: MemberId
    number: Number
    key_id: KeyId


class Executed(Fact, frozen=True):
    """A draft's operations were applied. holders: whose approvals counted."""

    member: MemberId
    number: Number
    content_hash: Hash
    holders: Annotated[tuple[Name, ...], Meta(max_length=APPROVALS_MAX)]


class Ended(Fact, frozen=True):
    """A draft ended without being executed."""

    member: MemberId
    number: Number
    status: Status


class NamedApproval(Record, frozen=True):
    """An approval with its key. holder: empty where the key may not sign for the content now, so that the
    approval has lapsed.
    """

    key_id: KeyId
    time_ms: TimeMs
    holder: Annotated[str, Meta(max_length=32)]


class NamedDraft(Record, frozen=True):
    """A draft with what it would do and who approved; both empty once it has ended. officers: how many
    distinct holders count now; required: how many the policy asks for now, 0 where its operations can not
    run.
    """

    number: Number
    draft: Draft
    operations: Annotated[tuple[Operation, ...], Meta(max_length=100)]
    approvals: Annotated[tuple[NamedApproval, ...], Meta(max_length=APPROVALS_MAX)]
    officers: Count
    required: Count


class Approvals(Contract):
    """See the module's docstring."""

    name = "approvals"
    facts = (Proposed, Approved, Withdrawn, Executed, Ended)

    NOT_DRAFTED = error(1, Category.INVALID, "Approvals themselves are not drafted.")
    TOO_LARGE = error(
        2, Category.INVALID, "The operations are more work than an execution may be: split them."
    )
    EXPIRY_OUT_OF_RANGE = error(
        3, Category.INVALID, "A draft expires later than block time and within 90 days."
    )
    TOO_MANY_DRAFTS = error(4, Category.OVERLOADED, "A member has at most 64 drafts open.")
    DRAFT_UNKNOWN = error(5, Category.NOT_FOUND, "The member has no such draft.")
    CONTENT_DIFFERS = error(6, Category.INVALID, "The hash is not that of the draft: look at it again.")
    DRAFT_ENDED = error(7, Category.PRECONDITION, "The draft is executed, withdrawn or expired already.")
    DRAFT_EXPIRED = error(8, Category.PRECONDITION, "The draft's time is over.")
    APPROVED_ALREADY = error(9, Category.ALREADY_EXISTS, "The keys that sign have approved already.")
    TOO_MANY_APPROVALS = error(10, Category.OVERLOADED, "At most 64 keys approve a draft.")
    NOT_APPROVED = error(
        11, Category.PERMISSION_DENIED, "The member's signing policy asks for approval by more officers."
    )
    NO_APPROVAL = error(12, Category.PRECONDITION, "None of the keys that sign has approved the draft.")

    draft = table(Draft, member=MemberId, number=Number)
    content = table(Content, member=MemberId, number=Number)
    approval = table(Approval, member=MemberId, number=Number, key_id=KeyId)
    counter = table(Counter, member=MemberId)
    due = table(Place, queue=Name, time_ms=TimeMs, member=MemberId, number=Number)

    def __init__(self, members: Members) -> None:
        self.members = members

    def on_block(self, ctx: Context) -> None:
        """Let drafts expire, oldest first."""
        for (_, time_ms, member, number), _place in [*islice(self.due.scan(QUEUE), EXPIRY_MAX)]:
            if time_ms > ctx.time_ms:
                break
            self._close(ctx, member, number, self._require_draft(member, number), "expired")
            ctx.emit(Ended(member, number, "expired"))

    # --- by a member's officers -----------------------------------------------------------------------------

    @method(work=2, flat=300)
    def propose(self, ctx: Context, operations: Operations, expires_ms: TimeMs, reason: Reason) -> None:
        """Draft operations of the signing member; the keys that sign approve them. The number is in the
        receipt.
        """
        if any(operation.contract == self.name for operation in operations):
            raise Rejected(self.NOT_DRAFTED)
        self._weigh(ctx, operations)
        if not ctx.time_ms < expires_ms <= ctx.time_ms + DURATION_MAX_MS:
            raise Rejected(self.EXPIRY_OUT_OF_RANGE, block_time_ms=ctx.time_ms)
        counter = self.counter.get(ctx.member) or Counter(0, 0)
        if counter.open >= OPEN_MAX:
            raise Rejected(self.TOO_MANY_DRAFTS)
        number = counter.last + 1
        content_hash = ctx.proofs.content_hash(operations)
        self.counter.put(Counter(number, counter.open + 1), ctx.member)
        self.draft.put(Draft(content_hash, reason, "open", ctx.time_ms, expires_ms, 0), ctx.member, number)
        self.content.put(Content(operations), ctx.member, number)
        self.due.put(Place(1), QUEUE, expires_ms, ctx.member, number)
        ctx.emit(Proposed(ctx.member, number, content_hash, expires_ms, reason))
        self._approve(ctx, number, ctx.keys)

    @method(flat=200)
    def approve(self, ctx: Context, number: Number, content_hash: Hash) -> None:
        """Approve a draft of the signing member's, with the keys that sign."""
        self._require_open(ctx, number, content_hash)
        given = [parts[2] for parts, _ in self.approval.scan(ctx.member, number)]
        fresh = tuple([key_id for key_id in ctx.keys if key_id not in given])
        if not fresh:
            raise Rejected(self.APPROVED_ALREADY)
        if len(given) + len(fresh) > APPROVALS_MAX:
            raise Rejected(self.TOO_MANY_APPROVALS)
        self._approve(ctx, number, fresh)

    @method(flat=8_000)
    def withdraw(self, ctx: Context, number: Number, content_hash: Hash) -> None:
        """Take back the approvals of the keys that sign; a draft of whose approvals none counts now ends."""
        found = self._require_open(ctx, number, content_hash)
        operations = self._require_content(ctx.member, number).operations
        back = [key_id for key_id in ctx.keys if self.approval.get(ctx.member, number, key_id)]
        if not back and self._holders(ctx, ctx.member, number, operations):
            raise Rejected(self.NO_APPROVAL)
        for key_id in back:
            self.approval.delete(ctx.member, number, key_id)
            ctx.emit(Withdrawn(ctx.member, number, key_id))
        if not self._holders(ctx, ctx.member, number, operations):
            self._close(ctx, ctx.member, number, found, "withdrawn")
            ctx.emit(Ended(ctx.member, number, "withdrawn"))

    @method(flat=EXECUTION_WORK)
    def execute(self, ctx: Context, number: Number, content_hash: Hash) -> None:
        """Run a draft that enough officers have approved. What refuses it then is told, and it stays open."""
        found = self._require_open(ctx, number, content_hash)
        operations = self._require_content(ctx.member, number).operations
        charges = self._weigh(ctx, operations)
        holders = self._holders(ctx, ctx.member, number, operations)
        required = self.members.required_officers(ctx.member, charges)
        if len(holders) < required:
            raise Rejected(self.NOT_APPROVED, officers=len(holders), required=required)
        self._close(ctx, ctx.member, number, found, "executed")
        if refusal := ctx.perform(ctx, operations, member=ctx.member):
            raise Rejected(refusal)
        ctx.emit(Executed(ctx.member, number, content_hash, holders))

    # --- queries --------------------------------------------------------------------------------------------

    @query
    def get_draft(self, ctx: Context, member: MemberId, number: Number) -> NamedDraft:
        """A draft of a member."""
        return self._named(ctx, member, number)

    @query
    def list_drafts(self, ctx: Context, member: MemberId, before: Count) -> tuple[NamedDraft, ...]:
        """Up to 50 drafts of a member, newest first, below the number ``before``; 0: from the newest on."""
        counter = self.counter.get(member)
        last = counter.last if counter else 0
        newest = min(before - 1, last) if before else last
        return tuple([self._named(ctx, member, n) for n in range(newest, max(newest - PAGE_MAX, 0), -1)])

    def _named(self, ctx: Context, member: str, number: int) -> NamedDraft:
        found = self._require_draft(member, number)
        if found.status != "open":
            return NamedDraft(number, found, (), (), 0, 0)
        operations = self._require_content(member, number).operations
        holders, required = self._holders(ctx, member, number, operations), 0
        try:
            required = self.members.required_officers(member, self._weigh(ctx, operations))
        except Rejected:
            required = 0
        approvals = tuple(
            [
                NamedApproval(parts[2], row.time_ms, self._holder(ctx, member, parts[2], operations))
                for parts, row in self.approval.scan(member, number)
            ]
        )
        return NamedDraft(number, found, operations, approvals, len(holders), required)

    # --- guards ---------------------------------------------------------------------------------------------

    def _require_draft(self, member: str, number: int) -> Draft:
        found = self.draft.get(member, number)
        if found is None:
            raise Rejected(self.DRAFT_UNKNOWN)
        return found

    def _require_content(self, member: str, number: int) -> Content:
        found = self.content.get(member, number)
        if found is None:
            raise Rejected(self.DRAFT_UNKNOWN)
        return found

    def _require_open(self, ctx: Context, number: int, content_hash: bytes) -> Draft:
        """A draft of the signing member's whose content is the one that is signed for."""
        found = self._require_draft(ctx.member, number)
        if found.content_hash != content_hash:
            raise Rejected(self.CONTENT_DIFFERS)
        if found.status != "open":
            raise Rejected(self.DRAFT_ENDED, status=found.status)
        if ctx.time_ms >= found.expires_ms:
            raise Rejected(self.DRAFT_EXPIRED)
        return found

    def _weigh(self, ctx: Context, operations: tuple[Operation, ...]) -> Iterable[Charge]:
        """What the policy weighs. Raises Rejected TOO_LARGE, and for operations that are no calls."""
        charges, work = ctx.weigh(operations)
        if work > EXECUTION_WORK:
            raise Rejected(self.TOO_LARGE, work=work, most=EXECUTION_WORK)
        return charges

    def _holders(
        self, ctx: Context, member: str, number: int, operations: tuple[Operation, ...]
    ) -> tuple[str, ...]:
        """Who has approved and could sign these operations now, each once."""
        keys = [parts[2] for parts, _ in self.approval.scan(member, number)]
        named = [self._holder(ctx, member, key_id, operations) for key_id in keys]
        return tuple(dict.fromkeys([holder for holder in named if holder]))

    def _holder(self, ctx: Context, member: str, key_id: bytes, operations: tuple[Operation, ...]) -> str:
        """Whose key it is, if it could sign these operations now; otherwise empty."""
        try:
            key = self.members.require_signatory(member, key_id, ctx.height)
        except Rejected:
            return ""
        for operation in operations:
            wide = ("*", operation.contract, f"{operation.contract}.{operation.method}")
            if not any(scope in key.scopes for scope in wide):
                return ""
        return key.holder

    # --- effects --------------------------------------------------------------------------------------------

    def _approve(self, ctx: Context, number: int, keys: Iterable[bytes]) -> None:
        for key_id in keys:
            holder = self.members.require_signatory(ctx.member, key_id, ctx.height).holder
            self.approval.put(Approval(ctx.time_ms), ctx.member, number, key_id)
            ctx.emit(Approved(ctx.member, number, key_id, holder))

    def _close(self, ctx: Context, member: str, number: int, found: Draft, status: Status) -> None:
        """A draft takes its last transition, and what it would have done is forgotten."""
        if status not in TRANSITIONS[found.status]:
            raise Rejected(self.DRAFT_ENDED, status=found.status)
        self.draft.put(replace(found, status=status, ended_ms=ctx.time_ms), member, number)
        self.content.delete(member, number)
        for parts, _ in [*self.approval.scan(member, number)]:
            self.approval.delete(*parts)
        self.due.delete(QUEUE, found.expires_ms, member, number)
        counter = self.counter.get(member) or Counter(number, 1)
        self.counter.put(replace(counter, open=counter.open - 1), member)
