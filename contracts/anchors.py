"""Anchors: a member puts the hash of something that it keeps itself on the ledger, to be held to it later.

A member's audit log is the first use: the hash of its last line, daily, so that no line before can be changed
or removed without its being seen. What the hash is of, only the member knows.

State       anchor / member, purpose, number -> Anchor
            series / member, purpose -> Series
Invariants  A1 anchors of a purpose are numbered from 1, without a gap, and never change.
            A2 their positions ascend: a member cannot anchor an earlier state of its log after a later one.
Privacy     that a member anchors, when, and how far its log has grown is public to all members; the hash
            tells nothing of the content.
"""

from itertools import islice
from typing import Annotated, Final

from msgspec import Meta

from node.ledger.contract import Category, Context, Contract, Fact, Rejected, error, method, query, table
from node.ledger.types import Count, Hash, Height, Integer, MemberId, Name, Record, TimeMs

PAGE_MAX: Final = 100

Purpose = Annotated[str, Meta(min_length=1, max_length=32, pattern=r"\A[a-z0-9-]+\Z")]
Position = Annotated[int, Meta(ge=1, le=2**63 - 1)]


class Anchor(Record, frozen=True):
    """A hash and how far what it closes had grown; since when."""

    position: Position
    hash: Hash
    height: Height
    time_ms: TimeMs


class Series(Record, frozen=True):
    """The last anchor of a purpose: its number and position."""

    count: Count
    position: Integer


class Anchored(Fact, frozen=True):
    """A member anchored a hash."""

    member: MemberId
    purpose: Name
    number: Count
    position: Position
    hash: Hash


class NamedAnchor(Record, frozen=True):
    """An anchor and its number."""

    number: Count
    anchor: Anchor


class Anchors(Contract):
    """See the module's docstring."""

    name = "anchors"
    facts = (Anchored,)

    NOT_LATER = error(1, Category.PRECONDITION, "An anchor's position lies behind that of the one before.")

    row = table(Anchor, member=MemberId, purpose=Name, number=Count)
    series = table(Series, member=MemberId, purpose=Name)

    @method
    def anchor(self, ctx: Context, purpose: Purpose, position: Position, digest: Hash) -> None:
        """Put a hash on the ledger, under the signing member's name."""
        before = self.series.get(ctx.member, purpose) or Series(0, 0)
        if position <= before.position:
            raise Rejected(self.NOT_LATER, position=before.position)
        number = before.count + 1
        self.series.put(Series(number, position), ctx.member, purpose)
        self.row.put(Anchor(position, digest, ctx.height, ctx.time_ms), ctx.member, purpose, number)
        ctx.emit(Anchored(ctx.member, purpose, number, position, digest))

    @query
    def list_anchors(
        self, ctx: Context, member: MemberId, purpose: Purpose, after: Count
    ) -> tuple[NamedAnchor, ...]:
        """A member's anchors of a purpose, 100 at a time, ascending by number from behind ``after`` on."""
        rows = self.row.scan(member, purpose, start=(member, purpose, after))
        return tuple(
            islice((NamedAnchor(parts[2], row) for parts, row in rows if parts[2] > after), PAGE_MAX)
        )
