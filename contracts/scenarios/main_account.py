"""Main-account reconciliation in real time: two banks vouch for an account; a difference is a case at once.

The member that owns an account and the one that services it for the clearing of both keep books of it, each
its own. For a day, or any part of one, each attests what its books say: how many movements, a digest over
them (docs/formats.md, "Attestations") and the balance at the end. Where the two agree, the ledger keeps the
proof that both signed; where they do not, a case of the owner's is open in the same block, and it is matched
once a corrected attestation agrees. The node's command (``vostro reconcile attest``) makes the digest and
signs; nobody has to compare by eye.

State       day / account, asset, servicer, begins, ends -> Day
Life        unattested --> attested
            attested --the other, the same--> agreed    attested --the other, otherwise--> differs
            differs --corrected--> agreed, differs      attested --corrected--> attested
Invariants  R1 an agreed day carries the attestations of both, equal in all that they state, and changes no
               more.
            R2 an attestation is of a period that is over.
            R3 a day that differs has a case of the owner's against the servicer, opened in the same block.
Privacy     counts, digests and balances are in clear in every node; movements are, too, as part of the
            ledger.
"""

from itertools import islice
from typing import Annotated, Final, Literal

from msgspec import Meta
from msgspec.structs import replace

from contracts.assets import PAGE_MAX, Assets
from contracts.cases import NewCase
from contracts.deals import OptionalId
from contracts.members import Members
from contracts.reconciliation import Reconciliation
from node.ledger.contract import Category, Context, Contract, Fact, Rejected, error, method, query, table
from node.ledger.types import AMOUNT_MAX, AccountId, AssetId, Balance, Count, Hash, MemberId, Record, TimeMs

DAY_MS_MAX: Final = 25 * 3_600_000
"""The longest day of the year has an hour more."""
PATIENCE_MS: Final = 86_400_000
"""A difference is escalated after a day, and again."""

DayStatus = Literal["unattested", "attested", "agreed", "differs"]
Side = Literal["credit", "debit"]

TRANSITIONS: Final[dict[DayStatus, tuple[DayStatus, ...]]] = {
    "unattested": ("attested",),
    "attested": ("attested", "agreed", "differs"),
    "differs": ("agreed", "differs"),
    "agreed": (),
}


class Books(Record, frozen=True):
    """What a bank's books say of an account at the end of a period: movements in it, a digest over them, and
    the closing balance from the account's point of view, in minor units.
    """

    count: Count
    digest: Hash
    side: Side
    closing: Balance


class Attestation(Record, frozen=True):
    """A bank's books, the transaction under which its signature stands, and when."""

    books: Books
    tx_id: Hash
    time_ms: TimeMs


OneAttestation = Annotated[tuple[Attestation, ...], Meta(max_length=1)]


class Day(Record, frozen=True):
    """A period of an account: what its owner and its servicer attested, each empty until it did. subject: of
    the case that a difference opened; empty: none.
    """

    owner: OneAttestation
    servicer: OneAttestation
    status: DayStatus
    subject: OptionalId


NOBODY: Final = Day((), (), "unattested", b"")


class Attested(Fact, frozen=True):
    """A bank vouches for its books of an account."""

    account: AccountId
    asset: AssetId
    servicer: MemberId
    begins_ms: TimeMs
    ends_ms: TimeMs
    by: MemberId
    books: Books
    status: DayStatus


class NamedDay(Record, frozen=True):
    """A period and what was attested of it."""

    asset: AssetId
    servicer: MemberId
    begins_ms: TimeMs
    ends_ms: TimeMs
    day: Day


class MainAccount(Contract):
    """See the module's docstring."""

    name = "main_account"
    facts = (Attested,)

    PERIOD_UNFIT = error(1, Category.INVALID, "A period ends later than it begins, and within a day.")
    OWNER_SERVICES = error(2, Category.INVALID, "An account is serviced by another member than its owner.")
    SERVICER_UNKNOWN = error(3, Category.NOT_FOUND, "The servicer is no member.")
    NOT_A_PARTY = error(
        4, Category.PERMISSION_DENIED, "Only the account's owner and its servicer attest its books."
    )
    NOT_OVER = error(5, Category.PRECONDITION, "The period is not over yet.")
    AGREED_ALREADY = error(6, Category.PRECONDITION, "Both have attested the same: the period is closed.")
    ATTESTED_ALREADY = error(7, Category.ALREADY_EXISTS, "The member has attested just this already.")

    day = table(Day, account=AccountId, asset=AssetId, servicer=MemberId, begins_ms=TimeMs, ends_ms=TimeMs)

    def __init__(self, members: Members, assets: Assets, reconciliation: Reconciliation) -> None:
        self.members = members
        self.assets = assets
        self.reconciliation = reconciliation

    @method(flat=60)
    def attest(
        self,
        ctx: Context,
        account: AccountId,
        asset: AssetId,
        servicer: MemberId,
        begins_ms: TimeMs,
        ends_ms: TimeMs,
        books: Books,
    ) -> None:
        """Vouch for what the signing member's books say of an account, its own or one that it services; again
        to correct it, until both agree.
        """
        owner = self._check_attest(ctx, account, asset, servicer, begins_ms, ends_ms)
        key = (account, asset, servicer, begins_ms, ends_ms)
        before = self.day.get(*key) or NOBODY
        if not TRANSITIONS[before.status]:
            raise Rejected(self.AGREED_ALREADY)
        mine = before.owner if ctx.member == owner else before.servicer
        if mine and mine[0].books == books:
            raise Rejected(self.ATTESTED_ALREADY)
        told = (Attestation(books, ctx.tx_id, ctx.time_ms),)
        day = replace(before, **{"owner" if ctx.member == owner else "servicer": told})
        day = self._compared(ctx, owner, key, day)
        self.day.put(day, *key)
        ctx.emit(Attested(*key, ctx.member, books, day.status))

    @query
    def get_day(
        self,
        ctx: Context,
        account: AccountId,
        asset: AssetId,
        servicer: MemberId,
        begins_ms: TimeMs,
        ends_ms: TimeMs,
    ) -> Day:
        """What both have attested of a period; nothing where nobody has."""
        return self.day.get(account, asset, servicer, begins_ms, ends_ms) or NOBODY

    @query
    def list_days(
        self, ctx: Context, account: AccountId, asset: AssetId, servicer: MemberId, after_ms: TimeMs
    ) -> tuple[NamedDay, ...]:
        """Up to 100 periods of an account that begin later than ``after_ms``, in order of time."""
        start = (account, asset, servicer, after_ms + 1, 0)
        page = self.day.scan(account, asset, servicer, start=start)
        rows = (NamedDay(at[1], at[2], at[3], at[4], day) for at, day in page)
        return tuple(islice(rows, PAGE_MAX))

    def _check_attest(
        self, ctx: Context, account: str, asset: str, servicer: str, begins_ms: int, ends_ms: int
    ) -> str:
        """The account's owner, if all that is said of the period may be said, in the public order."""
        if not begins_ms < ends_ms <= begins_ms + DAY_MS_MAX:
            raise Rejected(self.PERIOD_UNFIT)
        owner = self.assets.require_account(account).member
        self.assets.require_asset(asset)
        if servicer == owner:
            raise Rejected(self.OWNER_SERVICES)
        if self.members.institution.get(servicer) is None:
            raise Rejected(self.SERVICER_UNKNOWN)
        if ctx.member not in (owner, servicer):
            raise Rejected(self.NOT_A_PARTY)
        if ends_ms > ctx.time_ms:
            raise Rejected(self.NOT_OVER, block_time_ms=ctx.time_ms)
        return owner

    def _compared(self, ctx: Context, owner: str, key: tuple[str, str, str, int, int], day: Day) -> Day:
        """The day with its status: a difference opens a case, agreement ends it."""
        if not (day.owner and day.servicer):
            return replace(day, status="attested")
        ours, theirs = day.owner[0].books, day.servicer[0].books
        if ours == theirs:
            if day.subject:
                self.reconciliation.end_case(ctx, owner, day.subject, ours.digest)
            return replace(day, status="agreed")
        subject = day.subject or ctx.proofs.subject(self.name, key)
        gap = _signed(ours) - _signed(theirs)
        direction: Literal["credit", "debit", "none"] = (
            "none" if not gap else "credit" if gap > 0 else "debit"
        )
        new = NewCase(
            subject,
            "attestation",
            key[0],
            key[1],
            direction,
            min(abs(gap), AMOUNT_MAX),
            key[2],
            theirs.digest,
            PATIENCE_MS,
        )
        self.reconciliation.open_case(ctx, owner, new)
        return replace(day, status="differs", subject=subject)


def _signed(books: Books) -> int:
    return books.closing if books.side == "credit" else -books.closing
