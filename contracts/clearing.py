"""Clearing: all queues of an asset netted at once, so that far less money settles them.

The issuer seals a cycle: what stands in the lanes is frozen. Whoever has a solver proposes, for each
participant, how far its queue settles: so many places from its front. Nothing else can be said, so first in
first out holds by itself. The contract walks the proposal in pieces, each within a block's work, and adds up
who pays whom; with the last piece it holds the sums against limits and balances, and the proposal stands if
no other that was checked passes more. Then one operation settles it: each participant's net position passes
to the issuer's account, or from there, and the heads of lanes go forward. No instruction is written: what
became of it is read from the lane and the cycle that passed it. A participant that cannot pay its net
position at that moment is taken out: it pays nothing, and the cycle has to be solved again without it. One
that may not settle at all is not paid either, and what was for it is refused. (CPMI, A glossary of terms used
in payments and settlement systems: multilateral netting, queuing arrangements; Monetary Authority of
Singapore, Project Ubin phase 2.)

State       cycle / asset, cycle -> Cycle                 totals / asset, cycle -> Totals
            proposal / asset, member -> Proposal          lines / asset, cycle -> Lines
            walk / member, asset, seat -> Walk
Life        cycle: sealed --settle--> settled             sealed --abandon--> abandoned
Invariants  N1 units pass through ``Assets.move`` alone: net debits first, then net credits, the same in sum.
            N2 each account's change is what its instructions that settled, one by one, would have made of it.
            N3 no participant pays more than it has, or than its limits allow.
            N4 at most one cycle of an asset is sealed; what it froze changes by its settlement alone.
Privacy     who takes part, a cycle's totals and who was taken out are public to all members; what a
            participant paid and was paid is shown to it alone; who runs a node sees it. A proposal's
            sums are public, so who proposes prefixes learns what the first instructions of a queue amount to.
"""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from contracts.assets import Assets
from contracts.calendars import MINUTE_MS
from contracts.cycles import (
    Absence,
    Checked,
    Cuts,
    Cycle,
    CycleAbandoned,
    CycleSealed,
    CycleSettled,
    CycleStatus,
    Excluded,
    Left,
    Line,
    Lines,
    NetPassed,
    Proposal,
    Proposed,
    Sums,
    Totals,
    Walk,
    flows,
)
from contracts.instructions import (
    CANCELLED,
    LANES,
    LIVE,
    PRIORITIES,
    Number,
    Passed,
    Seated,
    Standing,
    State,
    Tails,
)
from contracts.members import Members
from contracts.participants import Found, Participants
from node.ledger.contract import Category, Context, Contract, Rejected, error, method, query, table
from node.ledger.types import AssetId, Count, MemberId

CHECK_MAX: Final = 5_000
"""Places that one call walks."""
CYCLE_MAX_MS: Final = 60 * MINUTE_MS
"""How long a cycle may stay sealed."""

TRANSITIONS: Final[dict[CycleStatus, tuple[CycleStatus, ...]]] = {
    "sealed": ("settled", "abandoned"),
    "settled": (),
    "abandoned": (),
}


class Clearing(Contract):
    """See the module's docstring."""

    name = "clearing"
    facts = (CycleSealed, Proposed, Checked, Left, NetPassed, CycleSettled, CycleAbandoned)

    SEALED_ALREADY = error(1, Category.PRECONDITION, "A cycle of the asset is sealed already.")
    NOTHING_QUEUED = error(2, Category.PRECONDITION, "No instruction waits in any queue.")
    NOT_SEALED = error(3, Category.PRECONDITION, "The cycle is settled or abandoned already.")
    CUTS_UNFIT = error(
        4,
        Category.INVALID,
        "A proposal has a cut for each seat, within its queue, and 0 for who was taken out.",
    )
    BEST_STANDS = error(5, Category.PRECONDITION, "The member's own proposal is the best that was checked.")
    PROPOSAL_UNKNOWN = error(6, Category.NOT_FOUND, "The member has no proposal in this attempt.")
    CHECKED_ALREADY = error(7, Category.PRECONDITION, "The proposal is checked already.")
    BEYOND_LIQUIDITY = error(8, Category.PRECONDITION, "A participant's net position is more than it has.")
    BEYOND_LIMIT = error(9, Category.PRECONDITION, "A participant's limit forbids its net position.")
    NOTHING_CHECKED = error(10, Category.PRECONDITION, "No proposal has been checked in this attempt.")
    TOO_LATE = error(11, Category.PRECONDITION, "The cycle was sealed over an hour ago: abandon it.")
    NOT_YET = error(12, Category.PRECONDITION, "Others than the issuer end a cycle once it is an hour old.")
    CYCLE_UNKNOWN = error(13, Category.NOT_FOUND, "The asset has no such cycle, or it has no report.")

    cycle = table(Cycle, asset=AssetId, cycle=Count)
    proposal = table(Proposal, asset=AssetId, member=MemberId)
    walk = table(Walk, member=MemberId, asset=AssetId, seat=Count)
    totals = table(Totals, asset=AssetId, cycle=Count)
    lines = table(Lines, asset=AssetId, cycle=Count)

    def __init__(self, members: Members, assets: Assets, participants: Participants) -> None:
        self.members = members
        self.assets = assets
        self.participants = participants

    # --- a cycle --------------------------------------------------------------------------------------------

    @method(flat=6_000)
    def seal(self, ctx: Context, asset: AssetId) -> None:
        """Freeze all that stands in the lanes. By the asset's issuer."""
        scheme = self.participants.require_scheme(asset)
        self.participants.check_operator(ctx, asset)
        if scheme.sealed:
            raise Rejected(self.SEALED_ALREADY)
        seats = self.participants.seats(asset)
        queues = [self.participants.require_queue(seated.member, asset) for seated in seats]
        count = sum([lane.live for queue in queues for lane in queue.lanes])
        if not count:
            raise Rejected(self.NOTHING_QUEUED)
        tails = Tails(tuple([tuple([lane.tail for lane in queue.lanes]) for queue in queues]))
        gross = sum([queue.amount for queue in queues])
        outs = [Absence(seat, "barred") for seat, seated in enumerate(seats) if not self._settles(seated)]
        cycle = Cycle("sealed", ctx.time_ms, count, gross, 1, 0, tuple(outs), "", 0)
        self.participants.seal(asset, scheme, tails)
        self.cycle.put(cycle, asset, scheme.cycle + 1)
        ctx.emit(CycleSealed(asset, scheme.cycle + 1, count, gross))

    @method(flat=3_000)
    def propose(self, ctx: Context, asset: AssetId, cycle: Count, cuts: Cuts) -> None:
        """Propose how far each seat's queue settles. By any member; a later proposal replaces its first."""
        frozen = self._require_sealed(asset, cycle)
        if frozen.best == ctx.member:
            raise Rejected(self.BEST_STANDS)
        tails = self.participants.require_tails(asset)
        outs = dict.fromkeys([out.seat for out in frozen.outs])
        seats = self.participants.seats(asset)
        if len(cuts) != len(tails):
            raise Rejected(self.CUTS_UNFIT, cuts=len(cuts), seats=len(tails))
        for seat, cut in enumerate(cuts):
            queue = self.participants.require_queue(seats[seat].member, asset)
            places = sum([tails[seat][lane] - queue.lanes[lane].head for lane in range(LANES)])
            if cut > places or (cut and seat in outs):
                raise Rejected(self.CUTS_UNFIT, member=seats[seat].member)
        serial = frozen.proposals + 1
        self.cycle.put(replace(frozen, proposals=serial), asset, cycle)
        self.proposal.put(Proposal(cycle, frozen.attempt, serial, cuts, 0, 0, 0, 0), asset, ctx.member)
        ctx.emit(Proposed(asset, cycle, frozen.attempt, ctx.member))

    @method(flat=15_000)
    def check(self, ctx: Context, asset: AssetId, cycle: Count, proposer: MemberId) -> None:
        """Walk up to 5,000 more places of a proposal; with the last it stands, if limits and balances allow
        it. By any member.
        """
        frozen = self._require_sealed(asset, cycle)
        found = self.proposal.get(asset, proposer)
        if found is None or (found.cycle, found.attempt) != (cycle, frozen.attempt):
            raise Rejected(self.PROPOSAL_UNKNOWN)
        if found.seat == len(found.cuts):
            raise Rejected(self.CHECKED_ALREADY)
        found = self._walk_on(asset, proposer, found, frozen)
        if found.seat == len(found.cuts):
            sums = self._sums(asset, proposer, found)
            failing = self._failing(ctx, asset, sums)
            if failing:
                unfit = self.BEYOND_LIMIT if failing[0].reason == "limit" else self.BEYOND_LIQUIDITY
                raise Rejected(unfit, member=self.participants.seats(asset)[failing[0].seat].member)
            count = sum([walk.count for walk in sums.walks])
            found = replace(found, count=count, gross=sums.gross, net=sums.net)
            if not frozen.best or sums.gross > frozen.best_amount:
                self.cycle.put(replace(frozen, best=proposer, best_amount=sums.gross), asset, cycle)
        self.proposal.put(found, asset, proposer)
        ctx.emit(Checked(asset, cycle, proposer, found.seat, found.count, found.gross, found.net))

    @method(flat=40_000)
    def settle(self, ctx: Context, asset: AssetId, cycle: Count) -> None:
        """Settle the best proposal, one net position a participant; or take out who cannot pay, so that the
        cycle is solved again. By the asset's issuer.
        """
        scheme = self.participants.require_scheme(asset)
        self.participants.check_operator(ctx, asset)
        frozen = self._require_sealed(asset, cycle)
        if not frozen.best:
            raise Rejected(self.NOTHING_CHECKED)
        if ctx.time_ms > frozen.sealed_ms + CYCLE_MAX_MS:
            raise Rejected(self.TOO_LATE)
        self.assets.check_active(self.assets.require_asset(asset))
        self.assets.check_debit(ctx, scheme.account)
        proposal = self.get_proposal(ctx, asset, frozen.best)
        sums = self._sums(asset, frozen.best, proposal)
        failing = self._barred(asset, sums) or self._failing(ctx, asset, sums)
        if failing:
            self._take_out(ctx, asset, cycle, frozen, failing)
            return
        lines = self._lines(asset, sums)
        self._pass_net(ctx, asset, cycle, scheme.account, sums)
        self._count(ctx, asset, sums)
        left = self._go_forward(asset, cycle, proposal, sums)
        report = [replace(line, left=left[at]) for at, line in enumerate(lines)]
        self.lines.put(Lines(tuple(report)), asset, cycle)
        self.totals.put(self._totals(ctx, asset, frozen, proposal), asset, cycle)
        self._end(asset, cycle, frozen, "settled")
        ctx.emit(CycleSettled(asset, cycle, proposal.count, proposal.gross, proposal.net))

    @method
    def abandon(self, ctx: Context, asset: AssetId, cycle: Count) -> None:
        """End a cycle without settlement. By the asset's issuer; by any member once it is an hour old."""
        frozen = self._require_sealed(asset, cycle)
        operates = self.assets.require_asset(asset).issuer == ctx.member
        if not operates and ctx.time_ms <= frozen.sealed_ms + CYCLE_MAX_MS:
            raise Rejected(self.NOT_YET)
        self._end(asset, cycle, frozen, "abandoned")
        ctx.emit(CycleAbandoned(asset, cycle))

    # --- queries --------------------------------------------------------------------------------------------

    @query
    def get_cycle(self, ctx: Context, asset: AssetId, cycle: Count) -> Cycle:
        """A cycle by its number; 0: the last one."""
        return self._require_cycle(asset, cycle or self.participants.require_scheme(asset).cycle)

    @query
    def get_tails(self, ctx: Context, asset: AssetId, cycle: Count) -> Tails:
        """Where the lanes ended that the sealed cycle holds, by seat."""
        self._require_sealed(asset, cycle)
        return Tails(self.participants.require_tails(asset))

    @query
    def get_proposal(self, ctx: Context, asset: AssetId, proposer: MemberId) -> Proposal:
        """A member's last proposal."""
        found = self.proposal.get(asset, proposer)
        if found is None:
            raise Rejected(self.PROPOSAL_UNKNOWN)
        return found

    @query
    def get_totals(self, ctx: Context, asset: AssetId, cycle: Count) -> Totals:
        """What a settled cycle came to."""
        found = self.totals.get(asset, cycle)
        if found is None:
            raise Rejected(self.CYCLE_UNKNOWN)
        return found

    @query
    def get_line(self, ctx: Context, member: MemberId, asset: AssetId, cycle: Count) -> Line:
        """A participant's line in a settled cycle's report."""
        seat = self.participants.require_queue(member, asset).seat
        found = self.lines.get(asset, cycle)
        if found is None or seat >= len(found.lines):
            raise Rejected(self.CYCLE_UNKNOWN)
        return found.lines[seat]

    @query
    def get_instruction(self, ctx: Context, member: MemberId, asset: AssetId, number: Number) -> Standing:
        """An instruction, and what became of it."""
        self.participants.require_queue(member, asset)
        found = self.participants.find(member, asset, number)
        entry = found.entry
        state, cycle = self._state(ctx, member, asset, found)
        priority = (
            PRIORITIES[found.lane]
            if found.lane >= 0
            else self.participants.require_parked(member, asset, number).priority
        )
        creditor = self.participants.seats(asset)[entry.creditor].member
        terms = (creditor, entry.amount, priority, entry.value_day, entry.until_ms, entry.reference)
        return Standing(member, number, *terms, state, cycle, found.place)

    # --- guards ---------------------------------------------------------------------------------------------

    def _require_cycle(self, asset: str, number: int) -> Cycle:
        found = self.cycle.get(asset, number)
        if found is None:
            raise Rejected(self.CYCLE_UNKNOWN)
        return found

    def _require_sealed(self, asset: str, number: int) -> Cycle:
        """A cycle that is sealed. Raises CYCLE_UNKNOWN, NOT_SEALED."""
        found = self._require_cycle(asset, number)
        if found.status != "sealed":
            raise Rejected(self.NOT_SEALED, status=found.status)
        return found

    def _settles(self, seated: Seated) -> bool:
        return self.participants.can_settle(self.members, seated.member, seated.account)

    def _barred(self, asset: str, sums: Sums) -> list[Absence]:
        """Who would pay or be paid and may not."""
        seats = self.participants.seats(asset)
        moved = [seat for seat, out in enumerate(sums.pays) if out or sums.receives[seat]]
        return [Absence(seat, "barred") for seat in moved if not self._settles(seats[seat])]

    def _failing(self, ctx: Context, asset: str, sums: Sums) -> list[Absence]:
        """Who cannot pay what it would have to, or may not by its own limits."""
        day = self.participants.day(ctx, asset)
        found: list[Absence] = []
        for seat, seated in enumerate(self.participants.seats(asset)[: len(sums.walks)]):
            if sums.pays[seat] - sums.receives[seat] > self._available(asset, seated):
                found.append(Absence(seat, "short"))
                continue
            caps = self.participants.caps_of(seated.member, asset, day)
            if caps and not self.participants.fits(caps, *flows(sums, seat, caps)):
                found.append(Absence(seat, "limit"))
        return found

    def _available(self, asset: str, seated: Seated) -> int:
        position = self.assets.position(seated.account, asset)
        return position.posted - position.held

    # --- walking a proposal ---------------------------------------------------------------------------------

    def _walk_on(self, asset: str, proposer: str, proposal: Proposal, cycle: Cycle) -> Proposal:
        """Walk so many places on as one call may; the proposal, further on."""
        tails, seats = self.participants.require_tails(asset), self.participants.seats(asset)
        barred = [False] * len(tails)
        for out in cycle.outs:
            barred[out.seat] = out.reason == "barred"
        left, seat = CHECK_MAX, proposal.seat
        while seat < len(tails):
            walk = self._walk_of(proposer, asset, proposal, seat)
            cut = proposal.cuts[seat]
            if left == 0 and walk.at < cut:
                break
            until = min(cut, walk.at + left)
            left -= until - walk.at
            walk = self._walk_lanes(asset, seats[seat].member, tails[seat], walk, until, cycle, barred)
            self.walk.put(walk, proposer, asset, seat)
            if until < cut:
                break
            seat += 1
        return replace(proposal, seat=seat)

    def _walk_of(self, proposer: str, asset: str, proposal: Proposal, seat: int) -> Walk:
        found = self.walk.get(proposer, asset, seat)
        if found and (found.cycle, found.serial) == (proposal.cycle, proposal.serial):
            return found
        none = (0,) * len(proposal.cuts)
        return Walk(proposal.cycle, proposal.serial, 0, none, 0, (0,) * LANES, 0)

    def _walk_lanes(
        self,
        asset: str,
        member: str,
        tails: tuple[int, ...],
        walk: Walk,
        until: int,
        cycle: Cycle,
        barred: list[bool],
    ) -> Walk:
        """Walk a seat's places from where the walk is up to another, and add up."""
        queue = self.participants.require_queue(member, asset)
        pays, passed, count, amount = list(walk.pays), list(walk.passed), walk.count, walk.amount
        base = 0
        for lane in range(LANES):
            head = queue.lanes[lane].head
            low, high = max(walk.at - base, 0), min(until - base, tails[lane] - head)
            for _, entry in self.participants.entries(member, asset, lane, head + low, head + high):
                if entry.mark == LIVE:
                    passed[lane] += 1
                    amount += entry.amount
                    if cycle.sealed_ms < entry.until_ms and not barred[entry.creditor]:
                        pays[entry.creditor] += entry.amount
                        count += 1
            base += tails[lane] - head
        return replace(walk, at=until, pays=tuple(pays), count=count, passed=tuple(passed), amount=amount)

    def _sums(self, asset: str, proposer: str, proposal: Proposal) -> Sums:
        walks = tuple([self._walk_of(proposer, asset, proposal, seat) for seat in range(len(proposal.cuts))])
        rows = [walk.pays for walk in walks]
        return Sums(
            walks,
            tuple([sum(row) for row in rows]),
            tuple([sum(column) for column in zip(*rows, strict=True)]),
        )

    # --- effects of a settlement ----------------------------------------------------------------------------

    def _take_out(
        self, ctx: Context, asset: str, number: int, cycle: Cycle, failing: Sequence[Absence]
    ) -> None:
        """The cycle is to be solved again, without those who cannot settle."""
        known = dict.fromkeys([out.seat for out in failing])
        outs = (*[out for out in cycle.outs if out.seat not in known], *failing)
        attempt = cycle.attempt + 1
        self.cycle.put(replace(cycle, attempt=attempt, outs=outs, best="", best_amount=0), asset, number)
        seats = self.participants.seats(asset)
        for out in failing:
            ctx.emit(Left(asset, number, cycle.attempt, seats[out.seat].member, out.reason))

    def _lines(self, asset: str, sums: Sums) -> list[Line]:
        """The report's lines, before anything moves."""
        lines: list[Line] = []
        for seat, walk in enumerate(sums.walks):
            seated = self.participants.seats(asset)[seat]
            before, pays, receives = self._available(asset, seated), sums.pays[seat], sums.receives[seat]
            after = before - pays + receives
            lines.append(Line(seated.member, before, after, pays, receives, walk.count, 0))
        return lines

    def _pass_net(self, ctx: Context, asset: str, number: int, through: str, sums: Sums) -> None:
        """Every net debit goes to the issuer's account, then every net credit comes from there."""
        seats = self.participants.seats(asset)
        net = [back - out for out, back in zip(sums.pays, sums.receives, strict=True)]
        for seat, amount in enumerate(net):
            if amount < 0:
                self.assets.move(seats[seat].account, through, asset, -amount)
                ctx.emit(NetPassed(asset, number, seats[seat].account, through, -amount))
        for seat, amount in enumerate(net):
            if amount > 0:
                self.assets.move(through, seats[seat].account, asset, amount)
                ctx.emit(NetPassed(asset, number, through, seats[seat].account, amount))

    def _count(self, ctx: Context, asset: str, sums: Sums) -> None:
        """Count what passed against everybody's limits."""
        day = self.participants.day(ctx, asset)
        for seat, seated in enumerate(self.participants.seats(asset)[: len(sums.walks)]):
            caps = self.participants.caps_of(seated.member, asset, day)
            if caps:
                self.participants.count(seated.member, asset, day, *flows(sums, seat, caps))

    def _go_forward(self, asset: str, number: int, proposal: Proposal, sums: Sums) -> list[int]:
        """Let the heads of lanes pass what the cycle settled; what each queue then amounts to, by seat."""
        tails = self.participants.require_tails(asset)
        left: list[int] = []
        for seat, seated in enumerate(self.participants.seats(asset)[: len(tails)]):
            queue = self.participants.require_queue(seated.member, asset)
            walk, cut = sums.walks[seat], proposal.cuts[seat]
            lanes = list(queue.lanes)
            for lane, row in enumerate(lanes):
                step = min(cut, tails[seat][lane] - row.head)
                cut -= step
                if step:
                    head = row.head + step
                    lanes[lane] = replace(row, head=head, live=row.live - walk.passed[lane])
                    self.participants.passed.put(Passed(number), seated.member, asset, lane, head)
            if proposal.cuts[seat]:
                queue = replace(queue, lanes=tuple(lanes), amount=queue.amount - walk.amount)
                self.participants.queue.put(queue, seated.member, asset)
            left.append(queue.amount)
        return left

    def _totals(self, ctx: Context, asset: str, cycle: Cycle, proposal: Proposal) -> Totals:
        seats = self.participants.seats(asset)
        excluded = tuple([Excluded(seats[out.seat].member, out.reason) for out in cycle.outs])
        came_to = (proposal.count, proposal.gross, proposal.net)
        return Totals(cycle.count, cycle.gross, *came_to, cycle.attempt, ctx.time_ms, cycle.best, excluded)

    def _end(self, asset: str, number: int, cycle: Cycle, status: CycleStatus) -> None:
        """A cycle takes one of its transitions, and what it froze is free."""
        if status not in TRANSITIONS[cycle.status]:
            raise Rejected(self.NOT_SEALED)
        self.cycle.put(replace(cycle, status=status), asset, number)
        self.participants.unseal(asset)

    # --- what became of an instruction ----------------------------------------------------------------------

    def _state(self, ctx: Context, member: str, asset: str, found: Found) -> tuple[State, int]:
        """(state, cycle) of an instruction: what its lane says, or the cycle that passed it."""
        entry, queue = found.entry, self.participants.require_queue(member, asset)
        if entry.mark != LIVE:
            return ("cancelled" if entry.mark == CANCELLED else "settled"), 0
        if found.lane < 0:
            if ctx.time_ms >= entry.until_ms:
                return "lapsed", 0
            parked = self.participants.require_parked(member, asset, entry.number)
            return ("waiting" if parked.due_ms else "held"), 0
        scheme = self.participants.require_scheme(asset)
        if found.place >= queue.lanes[found.lane].head:
            if scheme.sealed and self.participants.is_frozen(asset, queue, found):
                return "frozen", scheme.cycle
            return ("lapsed" if ctx.time_ms >= entry.until_ms else "queued"), 0
        number = self.participants.passed_in(member, asset, found)
        if number == 0 or self._require_cycle(asset, number).sealed_ms >= entry.until_ms:
            return "lapsed", 0
        outs = self._require_cycle(asset, number).outs
        refused = any(out.seat == entry.creditor and out.reason == "barred" for out in outs)
        return ("refused" if refused else "settled"), number
