"""Queues: payment instructions that wait for their time, their turn and the money.

An instruction settles at once, gross, when nothing as urgent or more of its participant waits, the account
has what it takes and no limit forbids it. Otherwise it waits: until ``advance`` finds the money, until an
``offset`` with another participant's first instructions, or until a cycle (clearing.py) nets all queues. In
every way a participant's instructions settle in the order of its lanes, first in first out within each: the
sequence constraint of Bech and Soramaki, Gridlock resolution in interbank payment systems (2001). What is
held, or before its time, stands aside and holds up nobody.

State       due / queue, time, member, asset, number -> Due; the rest in participants.py
Life        waiting --block time--> queued        queued --hold--> held --release--> queued
            queued --liquidity, offset, cycle--> settled        waiting, queued, held --cancel--> cancelled
            queued --end of its window--> lapsed        queued --cycle, creditor barred--> refused
Invariants  Q1 units pass through ``Assets.move`` alone.
            Q2 a participant's instructions settle in the order of its lanes; a lapsed one settles no more.
            Q3 what a sealed cycle froze is neither paid, held, moved nor cancelled before the cycle ends.
Privacy     the node, and every member that it lets in, sees all instructions in clear. References are for
            identifiers, not for names or free text.
"""

from itertools import islice
from typing import Annotated, Final, Literal

from msgspec import Meta
from msgspec.structs import replace

from contracts.assets import Assets
from contracts.calendars import Schedule, calendar_at, calendar_for, day_of, is_business_day, time_of
from contracts.instructions import (
    CANCELLED,
    EVERYBODY,
    LIVE,
    MOVED,
    OFFSET,
    ORDERS_MAX,
    PAID,
    PRIORITIES,
    QUEUED_MAX,
    Advanced,
    Due,
    Entry,
    Instructed,
    InstructionChanged,
    Number,
    OffsetSettled,
    Order,
    Paid,
    Parked,
    Priority,
)
from contracts.members import Members
from contracts.participants import SKIP_MAX, Found, Participants
from node.ledger.contract import Category, Context, Contract, Rejected, error, method, table
from node.ledger.types import Amount, AssetId, MemberId, Name, TimeMs

DUE_MAX: Final = 500
"""Instructions whose time has come that one block takes in; the rest follow in the next."""
AHEAD_MAX: Final = 90
"""Days that a value day may lie ahead."""
TAKE_MAX: Final = 100
"""Instructions of a queue that one call pays."""
REORDER_MAX: Final = 1_000
"""Places by which an instruction is moved at most."""
QUEUE: Final = "value-time"

Take = Annotated[int, Meta(ge=1, le=TAKE_MAX)]


class Queues(Contract):
    """See the module's docstring."""

    name = "queues"
    facts = (Instructed, Paid, OffsetSettled, InstructionChanged, Advanced)

    TOTAL_DIFFERS = error(1, Category.INVALID, "The orders do not add up to the total.")
    OWN_ORDER = error(2, Category.INVALID, "A participant does not pay itself here.")
    NO_BUSINESS_DAY = error(3, Category.INVALID, "The value day is no business day of the asset's calendar.")
    WINDOW_UNFIT = error(
        4, Category.INVALID, "The window is empty, over already, or outside the hours of settlement."
    )
    TOO_FAR_AHEAD = error(5, Category.INVALID, "A value day lies within 90 days.")
    QUEUE_FULL = error(6, Category.PRECONDITION, "The queue amounts to more than can be netted.")
    INSTRUCTION_ENDED = error(
        7, Category.PRECONDITION, "The instruction is settled, cancelled, lapsed or refused already."
    )
    NOT_QUEUED = error(8, Category.PRECONDITION, "The instruction does not stand in the queue.")
    NOT_ASIDE = error(9, Category.PRECONDITION, "The instruction stands in the queue already.")
    BEFORE_VALUE_DAY = error(10, Category.PRECONDITION, "The instruction's time has not come.")
    PLACE_UNFIT = error(11, Category.INVALID, "An instruction moves among those that wait in its own lane.")
    NOTHING_PAYABLE = error(12, Category.PRECONDITION, "The front of the queue cannot be paid now.")
    NOT_BETWEEN = error(
        13, Category.PRECONDITION, "The first instructions of both queues are not so many for one another."
    )
    LIMIT_EXCEEDED = error(14, Category.PRECONDITION, "A limit forbids paying so much more than is received.")

    due = table(Due, queue=Name, time_ms=TimeMs, member=MemberId, asset=AssetId, number=Number)

    def __init__(self, members: Members, assets: Assets, participants: Participants) -> None:
        self.members = members
        self.assets = assets
        self.participants = participants

    def on_block(self, ctx: Context) -> None:
        """Let instructions into their lanes whose time has come, oldest first."""
        for (_, time_ms, member, asset, number), _place in islice(self.due.scan(QUEUE), DUE_MAX):
            if time_ms > ctx.time_ms:
                break
            self._let_in(ctx, member, asset, number)

    # --- instructions ---------------------------------------------------------------------------------------

    @method(amount="total", asset="asset", work=16)
    def instruct(
        self,
        ctx: Context,
        asset: AssetId,
        total: Amount,
        orders: Annotated[tuple[Order, ...], Meta(min_length=1, max_length=ORDERS_MAX)],
    ) -> None:
        """Give up to 1,000 payment instructions, which add up to the total. Each settles at once where it
        can, and waits where it cannot.
        """
        scheme = self.participants.require_scheme(asset)
        queue = self.participants.require_queue(ctx.member, asset)
        if sum([order.amount for order in orders]) != total:
            raise Rejected(self.TOTAL_DIFFERS)
        self.assets.check_active(self.assets.require_asset(asset))
        self.assets.check_debit(ctx, queue.account)
        schedule = self.participants.calendars.require_schedule(asset)
        first = queue.numbers + 1
        ctx.emit(Instructed(asset, queue.account, first, len(orders), total))
        if not scheme.sealed:
            self.participants.skip(ctx.member, asset, ctx.time_ms, SKIP_MAX)
        for number, order in enumerate(orders, first):
            creditor = self.participants.require_queue(order.creditor, asset).seat
            if order.creditor == ctx.member:
                raise Rejected(self.OWN_ORDER)
            from_ms, until_ms = self._window(ctx, schedule, order)
            terms = (order.amount, order.value_day, until_ms, order.reference)
            entry = Entry(number, creditor, *terms, LIVE)
            if self.participants.number(ctx.member, asset, number) + order.amount > QUEUED_MAX:
                raise Rejected(self.QUEUE_FULL)
            if ctx.time_ms < from_ms:
                self.due.put(Due(1), QUEUE, from_ms, ctx.member, asset, number)
                self.participants.park(ctx.member, asset, Parked(order.priority, from_ms, entry))
            else:
                self._enter(ctx, ctx.member, asset, PRIORITIES.index(order.priority), entry)

    @method
    def hold(self, ctx: Context, asset: AssetId, number: Number) -> None:
        """Take an instruction of one's own out of its lane until it is released."""
        found = self._require_queued(ctx, asset, number)
        self.participants.take_out(ctx.member, asset, found, MOVED)
        self.participants.park(ctx.member, asset, Parked(PRIORITIES[found.lane], 0, found.entry))
        self._tell(ctx, asset, number, "held")

    @method
    def release(self, ctx: Context, asset: AssetId, number: Number) -> None:
        """Let a held instruction back in, behind what waits in its lane."""
        if self._require_live(ctx, asset, number).lane >= 0:
            raise Rejected(self.NOT_ASIDE)
        if self.participants.require_parked(ctx.member, asset, number).due_ms:
            raise Rejected(self.BEFORE_VALUE_DAY)
        self._tell(ctx, asset, number, "released")
        self._let_in(ctx, ctx.member, asset, number)

    @method
    def prefer(self, ctx: Context, asset: AssetId, number: Number, priority: Priority) -> None:
        """Put an instruction of one's own behind what waits in a lane: another, or its own."""
        found = self._require_queued(ctx, asset, number)
        self.participants.take_out(ctx.member, asset, found, MOVED)
        self._tell(ctx, asset, number, "moved")
        self._enter(ctx, ctx.member, asset, PRIORITIES.index(priority), found.entry)

    @method(flat=10_000)
    def reorder(self, ctx: Context, asset: AssetId, number: Number, before: Number) -> None:
        """Move an instruction of one's own directly before another of the same lane."""
        found = self._require_queued(ctx, asset, number)
        other = self._require_queued(ctx, asset, before)
        distance = abs(found.place - other.place)
        if found.lane != other.lane or not 0 < distance <= REORDER_MAX:
            raise Rejected(self.PLACE_UNFIT)
        self.participants.move(ctx.member, asset, found, other.place)
        self._tell(ctx, asset, number, "moved")

    @method
    def cancel(self, ctx: Context, asset: AssetId, number: Number) -> None:
        """Take an instruction of one's own back for good; one that is held also where its time is over."""
        found = self._require_live(ctx, asset, number, also_lapsed=True)
        if found.lane >= 0:
            self.participants.take_out(ctx.member, asset, found, CANCELLED)
        else:
            parked = self.participants.require_parked(ctx.member, asset, number)
            if parked.due_ms:
                self.due.delete(QUEUE, parked.due_ms, ctx.member, asset, number)
            self.participants.cancel_parked(ctx.member, asset, parked)
        self._tell(ctx, asset, number, "cancelled")

    # --- settlement without a cycle -------------------------------------------------------------------------

    @method(flat=20_000)
    def advance(self, ctx: Context, asset: AssetId, member: MemberId, most: Take) -> None:
        """Pay a participant's first instructions, one after the other, as long as the money lasts. By the
        participant, or the asset's issuer.
        """
        scheme = self.participants.require_scheme(asset)
        queue = self.participants.require_queue(member, asset)
        if ctx.member != member:
            self.participants.check_operator(ctx, asset)
        if scheme.sealed:
            raise Rejected(self.participants.FROZEN)
        paid = 0
        while paid < most:
            front = self.participants.skip(member, asset, ctx.time_ms, SKIP_MAX)
            if front is None or not self._pay(ctx, member, asset, front.entry):
                break
            self.participants.take_out(member, asset, front, PAID)
            paid += 1
        if self.participants.require_queue(member, asset) == queue:
            raise Rejected(self.NOTHING_PAYABLE)
        ctx.emit(Advanced(asset, queue.account, paid))

    @method(flat=20_000)
    def offset(self, ctx: Context, asset: AssetId, member: MemberId, own: Take, others: Take) -> None:
        """Settle one's first instructions together with another's first ones: so many of either, all of them
        for one another. Whose are worth more pays the difference.
        """
        scheme = self.participants.require_scheme(asset)
        mine = self.participants.require_queue(ctx.member, asset)
        theirs = self.participants.require_queue(member, asset)
        if scheme.sealed:
            raise Rejected(self.participants.FROZEN)
        self.assets.check_active(self.assets.require_asset(asset))
        self.members.check_active(member)
        self.assets.check_credit(mine.account)
        self.assets.check_credit(theirs.account)
        first = (ctx.member, mine, own, self._take_first(ctx, ctx.member, asset, own, theirs.seat))
        second = (member, theirs, others, self._take_first(ctx, member, asset, others, mine.seat))
        payer, payee = (first, second) if first[3] >= second[3] else (second, first)
        seats, worth = (payer[1].seat, payee[1].seat), (payer[3], payee[3])
        if not self._count(ctx, asset, (payer[0], payee[0]), seats, worth):
            raise Rejected(self.LIMIT_EXCEEDED)
        accounts = (payer[1].account, payee[1].account)
        if worth[0] > worth[1]:
            self.assets.move(*accounts, asset, worth[0] - worth[1])
        ctx.emit(OffsetSettled(asset, *accounts, payer[2], worth[0], payee[2], worth[1]))

    # --- guards ---------------------------------------------------------------------------------------------

    def _window(self, ctx: Context, schedule: Schedule, order: Order) -> tuple[int, int]:
        """(from, until) in block time. Raises NO_BUSINESS_DAY, TOO_FAR_AHEAD, WINDOW_UNFIT."""
        day = order.value_day
        calendar = calendar_for(schedule, ctx.time_ms, day)
        if not is_business_day(calendar, day):
            raise Rejected(self.NO_BUSINESS_DAY, day=day)
        if day > day_of(calendar_at(schedule, ctx.time_ms), ctx.time_ms) + AHEAD_MAX:
            raise Rejected(self.TOO_FAR_AHEAD, day=day)
        from_ms = time_of(calendar, day, max(calendar.opens, order.earliest))
        until_ms = time_of(calendar, day, min(calendar.cut_off, order.latest or calendar.cut_off))
        if not from_ms < until_ms or until_ms <= ctx.time_ms:
            raise Rejected(self.WINDOW_UNFIT, from_ms=from_ms, until_ms=until_ms)
        return from_ms, until_ms

    def _require_live(self, ctx: Context, asset: str, number: int, *, also_lapsed: bool = False) -> Found:
        """An instruction of the signing member's that may still settle. also_lapsed: or is aside. Raises
        NOT_CLEARED, NOT_SEATED, INSTRUCTION_UNKNOWN, FROZEN, INSTRUCTION_ENDED.
        """
        scheme = self.participants.require_scheme(asset)
        queue = self.participants.require_queue(ctx.member, asset)
        found = self.participants.find(ctx.member, asset, number)
        if scheme.sealed and self.participants.is_frozen(asset, queue, found):
            raise Rejected(self.participants.FROZEN)
        done = found.lane >= 0 and found.place < queue.lanes[found.lane].head
        over = ctx.time_ms >= found.entry.until_ms and not (also_lapsed and found.lane < 0)
        if done or found.entry.mark != LIVE or over:
            raise Rejected(self.INSTRUCTION_ENDED)
        return found

    def _require_queued(self, ctx: Context, asset: str, number: int) -> Found:
        """As ``_require_live``, and in its lane. Raises NOT_QUEUED, too."""
        found = self._require_live(ctx, asset, number)
        if found.lane < 0:
            raise Rejected(self.NOT_QUEUED)
        return found

    # --- effects --------------------------------------------------------------------------------------------

    def _let_in(self, ctx: Context, member: str, asset: str, number: int) -> None:
        """A parked instruction comes into its lane, or is paid."""
        parked = self.participants.require_parked(member, asset, number)
        if parked.due_ms:
            self.due.delete(QUEUE, parked.due_ms, member, asset, number)
        self.participants.unpark(member, asset, parked)
        self._enter(ctx, member, asset, PRIORITIES.index(parked.priority), parked.entry)

    def _enter(self, ctx: Context, member: str, asset: str, lane: int, entry: Entry) -> None:
        """Pay an instruction if nothing stands before it and it can be paid; else put it into its lane."""
        lanes = self.participants.require_queue(member, asset).lanes
        waits = any(row.live for row in lanes[: lane + 1])
        if not waits and self._pay(ctx, member, asset, entry):
            entry = replace(entry, mark=PAID)
        self.participants.append(member, asset, lane, entry)

    def _pay(self, ctx: Context, member: str, asset: str, entry: Entry) -> bool:
        """Pay an instruction gross; False where it cannot be paid now, and then nothing has changed."""
        source = self.participants.require_queue(member, asset)
        creditor = self.participants.seats(asset)[entry.creditor]
        position = self.assets.position(source.account, asset)
        if (
            ctx.time_ms >= entry.until_ms
            or position.posted - position.held < entry.amount
            or self.assets.require_asset(asset).status != "active"
            or not self.participants.can_settle(self.members, member, source.account)
            or not self.participants.can_settle(self.members, creditor.member, creditor.account)
            or not self._count(
                ctx, asset, (member, creditor.member), (source.seat, entry.creditor), (entry.amount, 0)
            )
        ):
            return False
        self.assets.move(source.account, creditor.account, asset, entry.amount)
        told = (source.account, creditor.account, entry.amount, entry.reference)
        ctx.emit(Paid(asset, entry.number, *told))
        return True

    def _count(
        self,
        ctx: Context,
        asset: str,
        members: tuple[str, str],
        seats: tuple[int, int],
        worth: tuple[int, int],
    ) -> bool:
        """Count what passes between two against their limits; False where one forbids it. worth: from the
        first to the second, and back, which is no more.
        """
        day = self.participants.day(ctx, asset)
        pays, back = ({seat: worth[at], EVERYBODY: worth[at]} for at, seat in enumerate(seats[::-1]))
        caps = self.participants.caps_of(members[0], asset, day)
        if not self.participants.fits(caps, pays, {seats[1]: worth[1], EVERYBODY: worth[1]}):
            return False
        self.participants.count(members[0], asset, day, pays, {seats[1]: worth[1], EVERYBODY: worth[1]})
        self.participants.count(members[1], asset, day, back, {seats[0]: worth[0], EVERYBODY: worth[0]})
        return True

    def _take_first(self, ctx: Context, member: str, asset: str, count: int, seat: int) -> int:
        """Mark a queue's first instructions offset, all of which are for a seat; their worth. Raises
        NOT_BETWEEN.
        """
        worth = 0
        for _ in range(count):
            front = self.participants.skip(member, asset, ctx.time_ms, SKIP_MAX)
            if front is None or front.entry.creditor != seat:
                raise Rejected(self.NOT_BETWEEN, member=member)
            self.participants.take_out(member, asset, front, OFFSET)
            worth += front.entry.amount
        return worth

    def _tell(
        self,
        ctx: Context,
        asset: str,
        number: int,
        change: Literal["held", "released", "moved", "cancelled"],
    ) -> None:
        account = self.participants.require_queue(ctx.member, asset).account
        ctx.emit(InstructionChanged(asset, account, number, change))
