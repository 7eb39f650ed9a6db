"""The words of clearing: cycles, proposals, reports, their sums, and the facts that tell of them. None of it
acts (clearing.py).
"""

from typing import Annotated, Literal, NamedTuple

from msgspec import Meta

from contracts.instructions import (
    EVERYBODY,
    LANES,
    SEATS_MAX,
    Cap,
    OptionalMember,
    Place,
    Queued,
    Seat,
    two_movements,
)
from node.ledger.contract import Fact, Movement
from node.ledger.types import AccountId, Amount, AssetId, Balance, Count, Integer, MemberId, Record, TimeMs

Out = Literal["short", "limit", "barred"]


class Absence(Record, frozen=True):
    """A participant that pays nothing in a cycle: it had too little, a limit of its own forbade it, or it may
    not settle at all; then nothing is paid to it either.
    """

    seat: Seat
    reason: Out


Outs = Annotated[tuple[Absence, ...], Meta(max_length=SEATS_MAX)]
Cuts = Annotated[tuple[Place, ...], Meta(max_length=SEATS_MAX)]
CycleStatus = Literal["sealed", "settled", "abandoned"]


class Cycle(Record, frozen=True):
    """One run of multilateral netting. count, gross: of all instructions that were frozen. attempt: goes up
    when a settlement takes somebody out. proposals: how many were made. best, best_amount: whose proposal
    passes most, among those checked in this attempt; empty and 0: none yet.
    """

    status: CycleStatus
    sealed_ms: TimeMs
    count: Count
    gross: Integer
    attempt: Count
    proposals: Count
    outs: Outs
    best: OptionalMember
    best_amount: Integer


class Proposal(Record, frozen=True):
    """How far each seat's queue is to settle: so many places from its front. seat: the next to be walked;
    as many as there are cuts: checked. serial: its number in the cycle. count, gross, net: of what would
    settle.
    """

    cycle: Count
    attempt: Count
    serial: Count
    cuts: Cuts
    seat: Seat
    count: Count
    gross: Integer
    net: Integer


class Walk(Record, frozen=True):
    """How far one seat's part of a proposal has been walked, and what it came to. pays: to each seat.
    passed: instructions, a lane each, with those that lapse or are refused; amount: of all of them.
    """

    cycle: Count
    serial: Count
    at: Place
    pays: Annotated[tuple[Integer, ...], Meta(max_length=SEATS_MAX)]
    count: Count
    passed: Annotated[tuple[Count, ...], Meta(min_length=LANES, max_length=LANES)]
    amount: Queued


class Line(Record, frozen=True):
    """A participant in a cycle's report: what it could spend before and after, what it paid and was paid
    gross, how many of its instructions settled, and what its queue amounts to after it.
    """

    member: MemberId
    before: Balance
    after: Balance
    pays: Integer
    receives: Integer
    count: Count
    left: Queued


class Excluded(Record, frozen=True):
    """Who was taken out of a cycle, and why."""

    member: MemberId
    reason: Out


class Totals(Record, frozen=True):
    """What a cycle came to. frozen_count, frozen_gross: all instructions in it. count, gross: those that
    settled; net: what passed for them: the sum of the net debits.
    """

    frozen_count: Count
    frozen_gross: Integer
    count: Count
    gross: Integer
    net: Integer
    attempts: Count
    settled_ms: TimeMs
    proposer: MemberId
    excluded: Annotated[tuple[Excluded, ...], Meta(max_length=SEATS_MAX)]


class Lines(Record, frozen=True):
    """A cycle's report, a line a participant that paid, was paid or still waits."""

    lines: Annotated[tuple[Line, ...], Meta(max_length=SEATS_MAX)]


class Sums(NamedTuple):
    """What a proposal comes to, by seat: walks, what is paid and received in all."""

    walks: tuple[Walk, ...]
    pays: tuple[int, ...]
    receives: tuple[int, ...]

    @property
    def gross(self) -> int:
        """All that is paid."""
        return sum(self.pays)

    @property
    def net(self) -> int:
        """All net debits."""
        return sum([max(0, out - back) for out, back in zip(self.pays, self.receives, strict=True)])


class CycleSealed(Fact, frozen=True):
    """All instructions that stand in queues are frozen, to be netted."""

    asset: AssetId
    cycle: Count
    count: Count
    gross: Integer


class Proposed(Fact, frozen=True):
    """Somebody proposes how far the queues can settle."""

    asset: AssetId
    cycle: Count
    attempt: Count
    proposer: MemberId


class Checked(Fact, frozen=True):
    """A proposal was checked as far as the seat; with the last one it stands."""

    asset: AssetId
    cycle: Count
    proposer: MemberId
    seat: Seat
    count: Count
    gross: Integer
    net: Integer


class Left(Fact, frozen=True):
    """A participant was taken out of a cycle, which has to be solved again."""

    asset: AssetId
    cycle: Count
    attempt: Count
    member: MemberId
    reason: Out


class NetPassed(Fact, frozen=True):
    """A participant's net position of a cycle passed: to the issuer's account or from there."""

    asset: AssetId
    cycle: Count
    source: AccountId
    destination: AccountId
    amount: Amount

    def movements(self) -> tuple[Movement, ...]:
        """A debit and a credit."""
        return two_movements(self.source, self.destination, self.asset, self.amount, f"cycle {self.cycle}")


class CycleSettled(Fact, frozen=True):
    """A cycle was settled."""

    asset: AssetId
    cycle: Count
    count: Count
    gross: Integer
    net: Integer


class CycleAbandoned(Fact, frozen=True):
    """A cycle ended without settlement; its instructions stand in their queues as before."""

    asset: AssetId
    cycle: Count


def flows(sums: Sums, seat: int, caps: tuple[Cap, ...]) -> tuple[dict[int, int], dict[int, int]]:
    """(pays, receives) of a seat, as far as limits ask for them: by the other's seat, and in all."""
    others = [cap.seat for cap in caps if cap.seat < len(sums.walks)]
    pays = {other: sums.walks[seat].pays[other] for other in others}
    receives = {other: sums.walks[other].pays[seat] for other in others}
    return pays | {EVERYBODY: sums.pays[seat]}, receives | {EVERYBODY: sums.receives[seat]}
