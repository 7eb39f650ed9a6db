"""Reconciliation: breaks between a bank's books and the ledger are cases, and every case has an end.

Statements are matched with the ledger's movements off the ledger (node/reconciliation); what does not match
is opened here, in batches. A case's subject is a hash of what it is about, so a run that is made again opens
nothing twice, and a break that was ended stays ended. Its member ends it: matched, once something explains
it; or forced, which states the amount that is let go, so that the member's signing policy weighs it like a
payment. The member that a case names as counterparty may dispute it. What stays open too long is escalated,
by block time.

State       case / member, subject -> Case
            against / counterparty, member, subject -> Place
            note / member, subject, number -> Note
            due / queue, time, member, subject -> Place
Life        open --examined--> unmatched    open, unmatched --by the counterparty--> disputed
            disputed --examined--> unmatched    open, unmatched, disputed --> matched, forced
Invariants  C1 a member has a subject at most once, whatever became of it.
            C2 only the member ends a case, only the named counterparty disputes it, and a matched or forced
               one changes no more.
            C3 a forced case was forced for its own asset and amount.
            C4 a case that is not ended is in the queue as long as it will be escalated, an ended one never.
Privacy     that a member has a break, in which account, over how much and with whom, is in clear in every
            node; what explains it is a hash of a document in the vault.
"""

from itertools import islice
from typing import Annotated, Final

from msgspec import Meta
from msgspec.structs import replace

from contracts.assets import PAGE_MAX, Assets
from contracts.cases import (
    CASES_MAX,
    LEVELS_MAX,
    NOTES_MAX,
    Case,
    CaseAssigned,
    CaseChanged,
    CaseEscalated,
    CaseNoted,
    CaseOpened,
    CasesReviewed,
    CaseStatus,
    Desk,
    NamedCase,
    NamedNote,
    NewCase,
    Note,
    Subjects,
)
from contracts.deals import Place
from contracts.members import Members
from node.ledger.contract import Category, Context, Contract, Rejected, error, method, query, table
from node.ledger.types import AssetId, Balance, Count, Hash, MemberId, Name, TimeMs

EXPIRY_MAX: Final = 500
"""Cases that one block escalates; the rest follow in the next."""
QUEUE: Final = "escalation"
NOTHING: Final = bytes(32)

TRANSITIONS: Final[dict[CaseStatus, tuple[CaseStatus, ...]]] = {
    "open": ("unmatched", "disputed", "matched", "forced"),
    "unmatched": ("disputed", "matched", "forced"),
    "disputed": ("unmatched", "matched", "forced"),
    "matched": (),
    "forced": (),
}


class Reconciliation(Contract):
    """See the module's docstring."""

    name = "reconciliation"
    facts = (CaseOpened, CasesReviewed, CaseChanged, CaseAssigned, CaseNoted, CaseEscalated)

    SUBJECT_TWICE = error(1, Category.INVALID, "The batch names a subject twice.")
    OWN_COUNTERPARTY = error(2, Category.INVALID, "A member is not its own counterparty.")
    COUNTERPARTY_UNKNOWN = error(3, Category.NOT_FOUND, "The counterparty is no member.")
    CASE_UNKNOWN = error(4, Category.NOT_FOUND, "The member has no such case.")
    NOT_CONCERNED = error(
        5, Category.PERMISSION_DENIED, "Only the case's member and its counterparty may do this."
    )
    NOT_OPEN_TO_THIS = error(6, Category.PRECONDITION, "The case is in no state that allows this.")
    AMOUNT_DIFFERS = error(
        7, Category.PRECONDITION, "The asset or the amount that is signed is not the case's."
    )
    TOO_MANY_NOTES = error(8, Category.OVERLOADED, "The case has as many notes as it may.")

    case = table(Case, member=MemberId, subject=Hash)
    against = table(Place, counterparty=MemberId, member=MemberId, subject=Hash)
    note = table(Note, member=MemberId, subject=Hash, number=Count)
    due = table(Place, queue=Name, time_ms=TimeMs, member=MemberId, subject=Hash)

    def __init__(self, members: Members, assets: Assets) -> None:
        self.members = members
        self.assets = assets

    def on_block(self, ctx: Context) -> None:
        """Escalate what stayed open too long, oldest first."""
        for (_, time_ms, member, subject), _place in islice(self.due.scan(QUEUE), EXPIRY_MAX):
            if time_ms > ctx.time_ms:
                break
            self._escalate(ctx, member, subject, self._require_case(member, subject))

    # --- by the case's member -------------------------------------------------------------------------------

    @method(work=12)
    def open_cases(
        self,
        ctx: Context,
        cases: Annotated[tuple[NewCase, ...], Meta(min_length=1, max_length=CASES_MAX)],
    ) -> None:
        """Open up to 100 breaks in the signing member's accounts; cases that it knows stay as they are."""
        if len(dict.fromkeys([new.subject for new in cases])) != len(cases):
            raise Rejected(self.SUBJECT_TWICE)
        for new in cases:
            self._check_new(ctx, new)
        opened = [self.open_case(ctx, ctx.member, new) for new in cases].count(True)
        ctx.emit(CasesReviewed(ctx.member, opened, len(cases) - opened))

    @method(work=40)
    def match_cases(self, ctx: Context, subjects: Subjects, explained: Hash) -> None:
        """End up to 100 cases that something explains: an entry that came later, a correction, a document."""
        if len(dict.fromkeys(subjects)) != len(subjects):
            raise Rejected(self.SUBJECT_TWICE)
        for subject in subjects:
            self._change(ctx, ctx.member, subject, "matched", explained)

    @method
    def mark_unmatched(self, ctx: Context, subject: Hash, explained: Hash) -> None:
        """Say that a case was examined and is a break, or answer a dispute so."""
        self._change(ctx, ctx.member, subject, "unmatched", explained)

    @method(amount="amount", asset="asset")
    def force_match(
        self, ctx: Context, subject: Hash, asset: AssetId, amount: Balance, explained: Hash
    ) -> None:
        """End a case that nothing explains: so much is let go. The member's signing policy weighs the amount
        as it weighs a payment.
        """
        found = self._require_case(ctx.member, subject)
        if (asset, amount) != (found.asset, found.amount):
            raise Rejected(self.AMOUNT_DIFFERS, amount=found.amount)
        self._change(ctx, ctx.member, subject, "forced", explained)

    @method
    def assign(self, ctx: Context, subject: Hash, desk: Desk) -> None:
        """Put a case on somebody's desk."""
        found = self._require_case(ctx.member, subject)
        self._check_not_ended(found)
        self.case.put(replace(found, desk=desk, changed_ms=ctx.time_ms), ctx.member, subject)
        ctx.emit(CaseAssigned(ctx.member, subject, desk))

    # --- by either side -------------------------------------------------------------------------------------

    @method
    def dispute(self, ctx: Context, member: MemberId, subject: Hash, document: Hash) -> None:
        """As the counterparty of a case: say that it is no break, or not ours; a document says why."""
        found = self._require_case(member, subject)
        if ctx.member != found.counterparty:
            raise Rejected(self.NOT_CONCERNED)
        self._change(ctx, member, subject, "disputed", document)

    @method
    def add_note(self, ctx: Context, member: MemberId, subject: Hash, document: Hash) -> None:
        """Put a note on a case of the signing member, or in which it is the counterparty: the hash of a
        document in the vault.
        """
        found = self._require_case(member, subject)
        if ctx.member not in (member, found.counterparty):
            raise Rejected(self.NOT_CONCERNED)
        if found.notes == NOTES_MAX:
            raise Rejected(self.TOO_MANY_NOTES)
        number = found.notes + 1
        self.note.put(Note(ctx.member, document, ctx.time_ms), member, subject, number)
        self.case.put(replace(found, notes=number, changed_ms=ctx.time_ms), member, subject)
        ctx.emit(CaseNoted(member, found.counterparty, subject, number, ctx.member, document))

    # --- queries --------------------------------------------------------------------------------------------

    @query
    def get_case(self, ctx: Context, member: MemberId, subject: Hash) -> Case:
        """A case of a member, whatever became of it."""
        return self._require_case(member, subject)

    @query
    def list_cases(
        self, ctx: Context, member: MemberId, after: Annotated[bytes, Meta(max_length=32)]
    ) -> tuple[NamedCase, ...]:
        """Up to 100 cases of a member, ended ones too, ascending by subject, from behind ``after`` on."""
        page = self.case.scan(member, start=(member, after.ljust(32, b"\0")))
        rows = (NamedCase(member, parts[1], case) for parts, case in page if parts[1] != after)
        return tuple(islice(rows, PAGE_MAX))

    @query
    def list_against(
        self,
        ctx: Context,
        member: MemberId,
        opener: Annotated[str, Meta(max_length=16)],
        after: Annotated[bytes, Meta(max_length=32)],
    ) -> tuple[NamedCase, ...]:
        """Up to 100 cases in which a member is the counterparty, ascending by whose they are and subject,
        from behind the case ``after`` of ``opener`` on.
        """
        start = (member, opener, after.ljust(32, b"\0"))
        page = ((whose, subject) for (_, whose, subject), _place in self.against.scan(member, start=start))
        names = islice((name for name in page if name != (opener, after)), PAGE_MAX)
        return tuple(
            [NamedCase(whose, subject, self._require_case(whose, subject)) for whose, subject in names]
        )

    @query
    def list_notes(
        self, ctx: Context, member: MemberId, subject: Hash, after: Count
    ) -> tuple[NamedNote, ...]:
        """A case's notes, ascending by number from behind ``after`` on."""
        rows = self.note.scan(member, subject, start=(member, subject, after))
        return tuple(islice((NamedNote(at[2], row) for at, row in rows if at[2] > after), PAGE_MAX))

    # --- what scenarios build on ----------------------------------------------------------------------------

    def open_case(self, ctx: Context, member: str, new: NewCase) -> bool:
        """Enter a case; whether it is new. One that the member has already, ended or not, stays as it is."""
        if self.case.get(member, new.subject) is not None:
            return False
        escalates_ms = ctx.time_ms + new.patience_ms if new.patience_ms else 0
        entered = Case(
            new.kind,
            new.account,
            new.asset,
            new.direction,
            new.amount,
            new.counterparty,
            new.evidence,
            new.patience_ms,
            ctx.time_ms,
            "open",
            "",
            0,
            escalates_ms,
            0,
            NOTHING,
            ctx.time_ms,
        )
        self.case.put(entered, member, new.subject)
        if new.counterparty:
            self.against.put(Place(1), new.counterparty, member, new.subject)
        if escalates_ms:
            self.due.put(Place(1), QUEUE, escalates_ms, member, new.subject)
        what = (new.subject, new.kind, new.account, new.asset, new.direction, new.amount)
        ctx.emit(CaseOpened(member, new.counterparty, *what))
        return True

    def end_case(self, ctx: Context, member: str, subject: bytes, explained: bytes) -> None:
        """Say that a case is explained, unless it was ended before."""
        if TRANSITIONS[self._require_case(member, subject).status]:
            self._change(ctx, member, subject, "matched", explained)

    # --- guards ---------------------------------------------------------------------------------------------

    def _check_new(self, ctx: Context, new: NewCase) -> None:
        """What every new case must satisfy, in the public order of precedence."""
        if new.counterparty == ctx.member:
            raise Rejected(self.OWN_COUNTERPARTY)
        self.assets.require_asset(new.asset)
        account = self.assets.require_account(new.account)
        if account.member != ctx.member:
            raise Rejected(self.assets.NOT_OWNER, account=new.account)
        if new.counterparty and self.members.institution.get(new.counterparty) is None:
            raise Rejected(self.COUNTERPARTY_UNKNOWN)

    def _require_case(self, member: str, subject: bytes) -> Case:
        found = self.case.get(member, subject)
        if found is None:
            raise Rejected(self.CASE_UNKNOWN)
        return found

    def _check_not_ended(self, found: Case) -> None:
        if not TRANSITIONS[found.status]:
            raise Rejected(self.NOT_OPEN_TO_THIS, status=found.status)

    # --- effects --------------------------------------------------------------------------------------------

    def _change(
        self, ctx: Context, member: str, subject: bytes, status: CaseStatus, explained: bytes
    ) -> None:
        """A case takes one of its transitions; an ended one leaves the queue."""
        found = self._require_case(member, subject)
        if status not in TRANSITIONS[found.status]:
            raise Rejected(self.NOT_OPEN_TO_THIS, status=found.status)
        changed = replace(found, status=status, explained=explained, changed_ms=ctx.time_ms)
        if not TRANSITIONS[status] and found.escalates_ms:
            self.due.delete(QUEUE, found.escalates_ms, member, subject)
            changed = replace(changed, escalates_ms=0)
        self.case.put(changed, member, subject)
        ctx.emit(CaseChanged(member, found.counterparty, subject, status, ctx.member, explained))

    def _escalate(self, ctx: Context, member: str, subject: bytes, found: Case) -> None:
        level = found.level + 1
        again_ms = ctx.time_ms + found.patience_ms if level < LEVELS_MAX else 0
        self.due.delete(QUEUE, found.escalates_ms, member, subject)
        if again_ms:
            self.due.put(Place(1), QUEUE, again_ms, member, subject)
        self.case.put(replace(found, level=level, escalates_ms=again_ms), member, subject)
        ctx.emit(CaseEscalated(member, found.counterparty, subject, level))
