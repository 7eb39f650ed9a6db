"""The words of payment queues: instructions, lanes, limits, and the facts that tell of them (participants.py,
queues.py). Nothing here acts.
"""

from typing import Annotated, Final, Literal

from msgspec import Meta

from contracts.calendars import Day, Minute
from contracts.positions import Reference
from node.ledger.contract import Fact, Movement
from node.ledger.types import (
    INTEGER_MAX,
    AccountId,
    Amount,
    AssetId,
    Balance,
    Count,
    Integer,
    MemberId,
    Record,
    TimeMs,
)

SEATS_MAX: Final = 256
"""Participants of one asset: what one settlement can work through."""
EVERYBODY: Final = SEATS_MAX
"""Stands where a seat stands: all other participants together."""
PAGE: Final = 64
"""Instructions that one record of a lane holds."""
ORDERS_MAX: Final = 1_000
CAPS_MAX: Final = 64
QUEUED_MAX: Final = INTEGER_MAX // SEATS_MAX
"""Minor units that a participant's queue may amount to, so that all queues together can be counted."""
PLACE_MAX: Final = 2**40

Priority = Literal["urgent", "high", "normal"]
PRIORITIES: Final[tuple[Priority, ...]] = ("urgent", "high", "normal")
LANES: Final = len(PRIORITIES)
Seat = Annotated[int, Meta(ge=0, le=SEATS_MAX)]
Number = Annotated[int, Meta(ge=1, le=PLACE_MAX)]
Place = Annotated[int, Meta(ge=0, le=PLACE_MAX)]
Switch = Literal[0, 1]
OptionalMember = Annotated[str, Meta(max_length=16)]
Queued = Annotated[int, Meta(ge=0, le=QUEUED_MAX)]


class Order(Record, frozen=True):
    """What a participant asks to be paid: to whom, how urgently, on which day and between which minutes of
    it. latest 0: until the cut-off.
    """

    creditor: MemberId
    amount: Amount
    priority: Priority
    value_day: Day
    earliest: Minute
    latest: Minute
    reference: Reference


Mark = Annotated[int, Meta(ge=0, le=4)]
LIVE: Final = 0
PAID: Final = 1
OFFSET: Final = 2
CANCELLED: Final = 3
MOVED: Final = 4
"""What a lane says of an instruction by itself. What a cycle made of a live one, the cycle says; a moved one
stands elsewhere.
"""


class Entry(Record, frozen=True):
    """An instruction as it stands in a lane. until_ms: from then on it lapses."""

    number: Number
    creditor: Seat
    amount: Amount
    value_day: Day
    until_ms: TimeMs
    reference: Reference
    mark: Mark


Entries = Annotated[tuple[Entry, ...], Meta(max_length=PAGE)]


class Page(Record, frozen=True):
    """Neighbours in a lane: places ``PAGE`` times the page's number and on."""

    entries: Entries


class Lane(Record, frozen=True):
    """A queue of one participant and priority: places from ``head`` up to ``tail``, in the order in which
    they settle. live: how many of them hold an instruction that is neither done nor elsewhere.
    """

    head: Place
    tail: Place
    live: Count


class Queue(Record, frozen=True):
    """A participant: its seat, the account over which it settles, how many instructions it ever gave, its
    lanes, most urgent first, what the live instructions in them amount to, and what those that stand aside.
    """

    seat: Seat
    account: AccountId
    numbers: Place
    lanes: Annotated[tuple[Lane, ...], Meta(min_length=LANES, max_length=LANES)]
    amount: Queued
    aside: Queued


class Whereabouts(Record, frozen=True):
    """Where instructions are that were given one after the other: of each 1 + ``place * LANES + lane``, or
    PARKED.
    """

    codes: Annotated[tuple[Integer, ...], Meta(max_length=PAGE)]


PARKED: Final = 0


class Parked(Record, frozen=True):
    """An instruction outside of its lane: held by its member, or before its time. due_ms 0: held."""

    priority: Priority
    due_ms: TimeMs
    entry: Entry


class Cap(Record, frozen=True):
    """How much more a participant will pay another, or all, in a day than it gets from there. seat: the
    other, or EVERYBODY. paid, received: on the day of the limits, since it stands.
    """

    seat: Seat
    most: Balance
    paid: Integer
    received: Integer


class Caps(Record, frozen=True):
    """A participant's limits and the local day for which they count."""

    day: Day
    caps: Annotated[tuple[Cap, ...], Meta(max_length=CAPS_MAX)]


class Limit(Record, frozen=True):
    """A limit as its member sets it. counterparty empty: all others together."""

    counterparty: OptionalMember
    most: Balance


class Seated(Record, frozen=True):
    """Who sits on a seat, and the account over which it settles."""

    member: MemberId
    account: AccountId


class Roster(Record, frozen=True):
    """The participants of an asset, by seat."""

    seats: Annotated[tuple[Seated, ...], Meta(max_length=SEATS_MAX)]


class Scheme(Record, frozen=True):
    """How an asset is cleared. account: of its issuer, through which net positions pass. cycle: the last
    one's number; sealed: whether it still freezes what stands in the lanes.
    """

    account: AccountId
    cycle: Count
    sealed: Switch


Three = Annotated[tuple[Place, ...], Meta(min_length=LANES, max_length=LANES)]


class Tails(Record, frozen=True):
    """Where each seat's lanes ended when the cycle was sealed: what comes behind is not part of it."""

    tails: Annotated[tuple[Three, ...], Meta(max_length=SEATS_MAX)]


class Passed(Record, frozen=True):
    """The cycle that passed all of a lane below a place."""

    cycle: Count


class Due(Record, frozen=True):
    """A place in the queue of instructions whose time will come."""

    version: Literal[1]


State = Literal["queued", "frozen", "held", "waiting", "settled", "cancelled", "lapsed", "refused"]


class Standing(Record, frozen=True):
    """An instruction and what became of it. cycle: in which; 0: none."""

    member: MemberId
    number: Number
    creditor: MemberId
    amount: Amount
    priority: Priority
    value_day: Day
    until_ms: TimeMs
    reference: Reference
    state: State
    cycle: Count
    place: Place


class PlacedEntry(Record, frozen=True):
    """An entry and its place in the lane."""

    place: Place
    entry: Entry


class ClearingSet(Fact, frozen=True):
    """An asset is cleared, over this account of its issuer."""

    asset: AssetId
    account: AccountId


class Joined(Fact, frozen=True):
    """A member takes part in an asset's clearing, over this account."""

    asset: AssetId
    account: AccountId
    seat: Seat


class LimitsSet(Fact, frozen=True):
    """A participant replaced its limits."""

    asset: AssetId
    account: AccountId


class Instructed(Fact, frozen=True):
    """Instructions came in, numbered one after the other."""

    asset: AssetId
    account: AccountId
    first: Number
    count: Count
    total: Amount


class Paid(Fact, frozen=True):
    """An instruction was settled gross, by itself."""

    asset: AssetId
    number: Number
    source: AccountId
    destination: AccountId
    amount: Amount
    reference: Reference

    def movements(self) -> tuple[Movement, ...]:
        """A debit and a credit."""
        return two_movements(self.source, self.destination, self.asset, self.amount, self.reference)


class OffsetSettled(Fact, frozen=True):
    """The first instructions of two participants for one another were settled together: ``count`` of the one
    that pays the difference, worth ``gross``, and ``count_back``, worth less or as much.
    """

    asset: AssetId
    source: AccountId
    destination: AccountId
    count: Count
    gross: Integer
    count_back: Count
    gross_back: Integer

    def movements(self) -> tuple[Movement, ...]:
        """The difference, where there is one."""
        net = self.gross - self.gross_back
        return two_movements(self.source, self.destination, self.asset, net, "offset") if net else ()


class InstructionChanged(Fact, frozen=True):
    """A participant changed an instruction of its own: held, released, moved or cancelled it."""

    asset: AssetId
    account: AccountId
    number: Number
    change: Literal["held", "released", "moved", "cancelled"]


class Advanced(Fact, frozen=True):
    """The front of a queue was looked at again: so many instructions were paid from it."""

    asset: AssetId
    account: AccountId
    paid: Count


def two_movements(
    source: str, destination: str, asset: str, amount: int, reference: str
) -> tuple[Movement, Movement]:
    """A debit and a credit."""
    return Movement(source, asset, -amount, destination, reference), Movement(
        destination, asset, amount, source, reference
    )
