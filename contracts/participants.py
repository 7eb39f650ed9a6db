"""Participants: who takes part in an asset's clearing, their limits, and the lanes of their instructions.

The issuer of an asset operates its clearing; members join over an account of their own and get a seat, a
number that never changes. A participant has three lanes, urgent, high and normal. A lane is a row of places;
what is taken out of one leaves a mark there, so that a place never changes its meaning, and where an
instruction stands is found by its number. Places are kept many to a record, so that a cycle can read a
hundred thousand of them within its time, and settling them writes the heads of lanes alone.

State       scheme / asset -> Scheme                     roster / asset -> Roster
            queue / member, asset -> Queue               caps / member, asset -> Caps
            page / member, asset, lane, number -> Page   parked / member, asset, number -> Parked
            where / member, asset, number -> Whereabouts passed / member, asset, lane, place -> Passed
            tails / asset -> Tails
Invariants  P1 what was paid less what was received in a day never grows beyond a limit, since it stands.
            P2 a queue's amount is the sum of the live instructions in its lanes, ``aside`` of those parked;
               a lane's ``live`` is their number between its head and its tail.
            P3 what is behind a lane's head is done: paid, offset, netted, cancelled, lapsed or refused.
            P4 limits, accounts and heads do not change while a cycle is sealed, but by its settlement.
Privacy     the node, and every member that it lets in, sees all queues in clear.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Annotated, Final, NamedTuple

from msgspec import Meta
from msgspec.structs import replace

from contracts.assets import PAGE_MAX, Assets
from contracts.calendars import Calendars
from contracts.instructions import (
    CANCELLED,
    CAPS_MAX,
    EVERYBODY,
    LANES,
    LIVE,
    MOVED,
    PAGE,
    PARKED,
    PRIORITIES,
    SEATS_MAX,
    Cap,
    Caps,
    ClearingSet,
    Entry,
    Joined,
    Lane,
    Limit,
    LimitsSet,
    Number,
    Page,
    Parked,
    Passed,
    Place,
    PlacedEntry,
    Priority,
    Queue,
    Roster,
    Scheme,
    Seated,
    Tails,
    Whereabouts,
)
from contracts.members import Members
from node.ledger.contract import Category, Context, Contract, Rejected, error, method, query, table
from node.ledger.types import INTEGER_MAX, AccountId, AssetId, Count, MemberId

SKIP_MAX: Final = 256
"""Places without a live instruction that one call passes over."""
EMPTY: Final = Lane(0, 0, 0)


class Found(NamedTuple):
    """Where an instruction stands. lane -1: it is parked, and ``place`` says nothing."""

    lane: int
    place: int
    entry: Entry


class Participants(Contract):
    """See the module's docstring."""

    name = "participants"
    facts = (ClearingSet, Joined, LimitsSet)

    NOT_OPERATOR = error(1, Category.PERMISSION_DENIED, "Only an asset's issuer operates its clearing.")
    NOT_CLEARED = error(2, Category.NOT_FOUND, "The asset is not cleared here.")
    NOT_SEATED = error(3, Category.NOT_FOUND, "The member takes no part in the asset's clearing.")
    SEATS_TAKEN = error(
        4, Category.PRECONDITION, "The asset's clearing has as many participants as it takes."
    )
    FROZEN = error(5, Category.PRECONDITION, "A sealed cycle holds this: wait until it has ended.")
    LIMITS_UNFIT = error(6, Category.INVALID, "Limits name other participants, each once.")
    OWN_ACCOUNT = error(
        7, Category.PRECONDITION, "The account for net positions is no participant's, and no other way round."
    )
    INSTRUCTION_UNKNOWN = error(8, Category.NOT_FOUND, "The participant has no such instruction.")

    scheme = table(Scheme, asset=AssetId)
    roster = table(Roster, asset=AssetId)
    tails = table(Tails, asset=AssetId)
    queue = table(Queue, member=MemberId, asset=AssetId)
    caps = table(Caps, member=MemberId, asset=AssetId)
    page = table(Page, member=MemberId, asset=AssetId, lane=Count, page=Place)
    where = table(Whereabouts, member=MemberId, asset=AssetId, page=Place)
    parked = table(Parked, member=MemberId, asset=AssetId, number=Number)
    passed = table(Passed, member=MemberId, asset=AssetId, lane=Count, place=Place)

    def __init__(self, assets: Assets, calendars: Calendars) -> None:
        self.assets = assets
        self.calendars = calendars

    # --- taking part ----------------------------------------------------------------------------------------

    @method
    def set_clearing(self, ctx: Context, asset: AssetId, account: AccountId) -> None:
        """Clear an asset whose issuer signs; net positions pass through this account of its own."""
        self.check_operator(ctx, asset)
        self.calendars.require_schedule(asset)
        self.assets.check_debit(ctx, account)
        if any(seated.account == account for seated in self.seats(asset)):
            raise Rejected(self.OWN_ACCOUNT)
        scheme = self.scheme.get(asset) or Scheme(account, 0, 0)
        self.scheme.put(replace(scheme, account=account), asset)
        ctx.emit(ClearingSet(asset, account))

    @method(flat=100)
    def join(self, ctx: Context, asset: AssetId, account: AccountId) -> None:
        """Take part over an account of one's own, or settle over another from now on."""
        scheme = self.require_scheme(asset)
        self.assets.check_debit(ctx, account)
        if account == scheme.account:
            raise Rejected(self.OWN_ACCOUNT)
        seats = self.seats(asset)
        queue = self.queue.get(ctx.member, asset)
        if queue is None:
            if len(seats) == SEATS_MAX:
                raise Rejected(self.SEATS_TAKEN)
            queue = Queue(len(seats), account, 0, (EMPTY,) * LANES, 0, 0)
        elif scheme.sealed:
            raise Rejected(self.FROZEN)
        seated = (*seats[: queue.seat], Seated(ctx.member, account), *seats[queue.seat + 1 :])
        self.roster.put(Roster(seated), asset)
        self.queue.put(replace(queue, account=account), ctx.member, asset)
        ctx.emit(Joined(asset, account, queue.seat))

    @method(flat=100)
    def set_limits(
        self,
        ctx: Context,
        asset: AssetId,
        limits: Annotated[tuple[Limit, ...], Meta(max_length=CAPS_MAX)],
    ) -> None:
        """Replace one's limits: how much more to pay another, or all, in a day than comes from there."""
        scheme, queue = self.require_scheme(asset), self.require_queue(ctx.member, asset)
        if scheme.sealed:
            raise Rejected(self.FROZEN)
        seats = [self._seat(limit.counterparty, asset) for limit in limits]
        if queue.seat in seats or len(dict.fromkeys(seats)) != len(seats):
            raise Rejected(self.LIMITS_UNFIT)
        day = self.day(ctx, asset)
        before = {cap.seat: cap for cap in self.caps_of(ctx.member, asset, day)}
        counted = [before.get(seat) or Cap(seat, 0, 0, 0) for seat in seats]
        caps = tuple([replace(cap, most=limit.most) for cap, limit in zip(counted, limits, strict=True)])
        self.caps.put(Caps(day, caps), ctx.member, asset)
        ctx.emit(LimitsSet(asset, queue.account))

    # --- queries --------------------------------------------------------------------------------------------

    @query
    def get_scheme(self, ctx: Context, asset: AssetId) -> Scheme:
        """How an asset is cleared."""
        return self.require_scheme(asset)

    @query
    def get_roster(self, ctx: Context, asset: AssetId) -> Roster:
        """The participants of an asset's clearing, by seat."""
        self.require_scheme(asset)
        return Roster(self.seats(asset))

    @query
    def get_queue(self, ctx: Context, member: MemberId, asset: AssetId) -> Queue:
        """A participant's lanes."""
        return self.require_queue(member, asset)

    @query
    def get_limits(self, ctx: Context, member: MemberId, asset: AssetId) -> Caps:
        """A participant's limits, and how far the day's payments have used them."""
        self.require_queue(member, asset)
        return self.caps.get(member, asset) or Caps(0, ())

    @query
    def list_entries(
        self, ctx: Context, member: MemberId, asset: AssetId, priority: Priority, place: Place
    ) -> tuple[PlacedEntry, ...]:
        """Up to 64 entries of a lane, from a place on: to the end of the record that holds it."""
        lane = PRIORITIES.index(priority)
        end = min((place // PAGE + 1) * PAGE, self.require_queue(member, asset).lanes[lane].tail)
        return tuple([PlacedEntry(*each) for each in self.entries(member, asset, lane, place, end)])

    @query
    def list_parked(self, ctx: Context, member: MemberId, asset: AssetId, after: Place) -> tuple[Parked, ...]:
        """Up to 100 instructions outside of the lanes, ascending by number, from behind ``after`` on."""
        self.require_queue(member, asset)
        rows = self.parked.scan(member, asset, start=(member, asset, after + 1))
        return tuple(islice((row for _, row in rows if row.entry.mark == LIVE), PAGE_MAX))

    # --- what queues and clearing build on ------------------------------------------------------------------

    def require_scheme(self, asset: str) -> Scheme:
        """How the asset is cleared. Raises NOT_CLEARED."""
        found = self.scheme.get(asset)
        if found is None:
            raise Rejected(self.NOT_CLEARED, asset=asset)
        return found

    def require_queue(self, member: str, asset: str) -> Queue:
        """A participant's seat and lanes. Raises NOT_SEATED."""
        found = self.queue.get(member, asset)
        if found is None:
            raise Rejected(self.NOT_SEATED, member=member)
        return found

    def check_operator(self, ctx: Context, asset: str) -> None:
        """Raises ASSET_UNKNOWN, NOT_OPERATOR."""
        if self.assets.require_asset(asset).issuer != ctx.member:
            raise Rejected(self.NOT_OPERATOR)

    def seats(self, asset: str) -> tuple[Seated, ...]:
        """The participants, by seat."""
        found = self.roster.get(asset)
        return found.seats if found else ()

    def day(self, ctx: Context, asset: str) -> int:
        """The asset's local day. Raises CALENDAR_UNKNOWN."""
        return self.calendars.day(ctx, asset)

    # --- limits

    def caps_of(self, member: str, asset: str, day: int) -> tuple[Cap, ...]:
        """A participant's limits as of a day: on another than they were last used, they are unused."""
        found = self.caps.get(member, asset)
        if found is None or found.day == day:
            return found.caps if found else ()
        return tuple([replace(cap, paid=0, received=0) for cap in found.caps])

    def fits(self, caps: tuple[Cap, ...], pays: Mapping[int, int], receives: Mapping[int, int]) -> bool:
        """Whether limits allow paying and receiving so much, by seat, EVERYBODY's being the sums."""
        for cap in caps:
            more, less = pays.get(cap.seat, 0), receives.get(cap.seat, 0)
            if more > less and cap.paid + more > cap.received + less + cap.most:
                return False
        return True

    def count(
        self, member: str, asset: str, day: int, pays: Mapping[int, int], receives: Mapping[int, int]
    ) -> None:
        """Count what was paid and received, by seat and in all, against a participant's limits."""
        caps = self.caps_of(member, asset, day)
        if caps:
            counted = [_counted(cap, pays.get(cap.seat, 0), receives.get(cap.seat, 0)) for cap in caps]
            self.caps.put(Caps(day, tuple(counted)), member, asset)

    # --- lanes

    def entries(
        self, member: str, asset: str, lane: int, start: int, end: int
    ) -> Iterator[tuple[int, Entry]]:
        """(place, entry) of a lane's places from ``start`` up to ``end``."""
        for number in range(start // PAGE, -(-end // PAGE)):
            entries = self._page(member, asset, lane, number)
            low, high = max(start - number * PAGE, 0), min(end - number * PAGE, PAGE)
            yield from enumerate(entries[low:high], number * PAGE + low)

    def append(self, member: str, asset: str, lane: int, entry: Entry) -> None:
        """Put an entry behind what stands in a lane."""
        place = self.require_queue(member, asset).lanes[lane].tail
        self.write(member, asset, lane, place, entry)
        self.locate(member, asset, entry.number, 1 + place * LANES + lane)
        queue = self.require_queue(member, asset)
        row, live = queue.lanes[lane], int(entry.mark == LIVE)
        queue = replace(queue, amount=queue.amount + live * entry.amount)
        done = not live and row.head == place and not self.require_scheme(asset).sealed
        head = place + 1 if done else row.head  # what is paid at once leaves nothing to walk
        self._put_lane(member, asset, queue, lane, Lane(head, place + 1, row.live + live))

    def take_out(self, member: str, asset: str, found: Found, mark: int) -> None:
        """Mark a live instruction of a lane."""
        self.write(member, asset, found.lane, found.place, replace(found.entry, mark=mark))
        queue = self.require_queue(member, asset)
        row = queue.lanes[found.lane]
        queue = replace(queue, amount=queue.amount - found.entry.amount)
        self._put_lane(member, asset, queue, found.lane, replace(row, live=row.live - 1))

    def skip(self, member: str, asset: str, time_ms: int, most: int) -> Found | None:
        """Let the heads pass what is done or has lapsed; the first live instruction, if one is found within
        so many places. No cycle is sealed.
        """
        for lane in range(LANES):
            queue = self.require_queue(member, asset)
            row = queue.lanes[lane]
            end = min(row.tail, row.head + most)
            head, live, amount = row.head, row.live, queue.amount
            found: Found | None = None
            for place, entry in self.entries(member, asset, lane, row.head, end):
                if entry.mark == LIVE and time_ms < entry.until_ms:
                    found = Found(lane, place, entry)
                    break
                head = place + 1
                if entry.mark == LIVE:
                    live, amount = live - 1, amount - entry.amount
            most -= head - row.head
            if head != row.head:
                self._put_lane(
                    member, asset, replace(queue, amount=amount), lane, replace(row, head=head, live=live)
                )
            if found or head < row.tail:
                return found
        return None

    def find(self, member: str, asset: str, number: int) -> Found:
        """Where an instruction stands. Raises INSTRUCTION_UNKNOWN."""
        page = self.where.get(member, asset, number // PAGE)
        if page is None or number % PAGE >= len(page.codes):
            raise Rejected(self.INSTRUCTION_UNKNOWN, number=number)
        code = page.codes[number % PAGE]
        if code == PARKED:
            return Found(-1, 0, self.require_parked(member, asset, number).entry)
        place, lane = divmod(code - 1, LANES)
        return Found(lane, place, self._page(member, asset, lane, place // PAGE)[place % PAGE])

    def is_frozen(self, asset: str, queue: Queue, found: Found) -> bool:
        """Whether a sealed cycle holds what stands there. A cycle is sealed."""
        tails = self.require_tails(asset)
        return (
            found.lane >= 0
            and queue.seat < len(tails)
            and queue.lanes[found.lane].head <= found.place < tails[queue.seat][found.lane]
        )

    def can_settle(self, members: Members, member: str, account: str) -> bool:
        """Whether a participant may pay and be paid: it is active, and so is its account."""
        found = self.assets.account.get(account)
        return found is not None and found.status == "open" and members.is_active(member)

    def move(self, member: str, asset: str, found: Found, place: int) -> None:
        """Put a lane's entry directly before another's place; what lies between moves up or down."""
        low, high = min(found.place, place), max(found.place, place)
        row = [entry for _, entry in self.entries(member, asset, found.lane, low, high + 1)]
        row.pop(found.place - low)
        row.insert(place - low - (found.place < place), found.entry)
        for at, entry in enumerate(row, low):
            self.write(member, asset, found.lane, at, entry)
            if entry.mark != MOVED:
                self.locate(member, asset, entry.number, 1 + at * LANES + found.lane)

    def number(self, member: str, asset: str, number: int) -> int:
        """Note how many instructions a participant has given; what those that wait amount to."""
        queue = self.require_queue(member, asset)
        self.queue.put(replace(queue, numbers=number), member, asset)
        return queue.amount + queue.aside

    # --- cycles

    def seal(self, asset: str, scheme: Scheme, tails: Tails) -> None:
        """Freeze the lanes up to these tails: a new cycle has begun."""
        self.tails.put(tails, asset)
        self.scheme.put(replace(scheme, cycle=scheme.cycle + 1, sealed=1), asset)

    def unseal(self, asset: str) -> None:
        """The cycle has ended."""
        self.tails.delete(asset)
        self.scheme.put(replace(self.require_scheme(asset), sealed=0), asset)

    def require_tails(self, asset: str) -> tuple[tuple[int, ...], ...]:
        """Where the lanes of each seat ended when the sealed cycle began. A cycle is sealed."""
        found = self.tails.get(asset)
        if found is None:
            raise LookupError(f"no cycle of {asset} is sealed")
        return found.tails

    def passed_in(self, member: str, asset: str, found: Found) -> int:
        """The cycle that passed a place behind the head; 0: none did, it was skipped."""
        start = (member, asset, found.lane, found.place + 1)
        return next((row.cycle for _, row in self.passed.scan(*start[:3], start=start)), 0)

    # --- what stands aside

    def require_parked(self, member: str, asset: str, number: int) -> Parked:
        """An instruction that is known to stand aside."""
        found = self.parked.get(member, asset, number)
        if found is None:
            raise LookupError(f"instruction {number} of {member} does not stand aside")
        return found

    def park(self, member: str, asset: str, parked: Parked) -> None:
        """Put an instruction aside."""
        self.parked.put(parked, member, asset, parked.entry.number)
        self.locate(member, asset, parked.entry.number, PARKED)
        self._set_aside(member, asset, parked.entry.amount)

    def unpark(self, member: str, asset: str, parked: Parked) -> None:
        """An instruction stands aside no longer."""
        self.parked.delete(member, asset, parked.entry.number)
        self._set_aside(member, asset, -parked.entry.amount)

    def cancel_parked(self, member: str, asset: str, parked: Parked) -> None:
        """Mark an instruction that stands aside as cancelled."""
        entry = replace(parked.entry, mark=CANCELLED)
        self.parked.put(Parked(parked.priority, 0, entry), member, asset, entry.number)
        self._set_aside(member, asset, -entry.amount)

    # --- records

    def _set_aside(self, member: str, asset: str, amount: int) -> None:
        queue = self.require_queue(member, asset)
        self.queue.put(replace(queue, aside=queue.aside + amount), member, asset)

    def write(self, member: str, asset: str, lane: int, place: int, entry: Entry) -> None:
        """Put an entry at a place."""
        number, at = divmod(place, PAGE)
        entries = self._page(member, asset, lane, number)
        self.page.put(Page((*entries[:at], entry, *entries[at + 1 :])), member, asset, lane, number)

    def locate(self, member: str, asset: str, number: int, code: int) -> None:
        """Note where an instruction stands from now on."""
        page, at = divmod(number, PAGE)
        found = self.where.get(member, asset, page)
        codes = found.codes if found else (PARKED,) * at  # there is no number 0
        self.where.put(Whereabouts((*codes[:at], code, *codes[at + 1 :])), member, asset, page)

    def _page(self, member: str, asset: str, lane: int, number: int) -> tuple[Entry, ...]:
        found = self.page.get(member, asset, lane, number)
        return found.entries if found else ()

    def _put_lane(self, member: str, asset: str, queue: Queue, lane: int, row: Lane) -> None:
        lanes = (*queue.lanes[:lane], row, *queue.lanes[lane + 1 :])
        self.queue.put(replace(queue, lanes=lanes), member, asset)

    def _seat(self, member: str, asset: str) -> int:
        return self.require_queue(member, asset).seat if member else EVERYBODY


def _counted(cap: Cap, pays: int, receives: int) -> Cap:
    """A limit's use. Beyond what can be counted both sums go down alike: their difference is what counts."""
    paid, received = cap.paid + pays, cap.received + receives
    over = max(paid, received, INTEGER_MAX) - INTEGER_MAX
    return replace(cap, paid=max(paid - over, 0), received=max(received - over, 0))
