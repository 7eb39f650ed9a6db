"""Calendars: on which days and between which hours payments in an asset settle.

The issuer of an asset, for a currency the central bank, keeps its calendar: where its day begins, when
settlement opens and when it is cut off, which weekdays and which dates are holidays. A day is a number, days
since 1 January 1970; a time of day is minutes since its midnight there. A calendar that replaces another
holds from the next local day on, as the other reckons it: the day that runs keeps its number, its hours and
the limits that were used on it. What holds for an instruction is worked out when it comes in, by the calendar
that holds on its value day, so that a calendar set later moves nothing that is under way.

State       calendar / asset -> Schedule
Invariants  C1 a calendar opens before its cut-off, and some weekday is a business day.
            C2 its holidays ascend, each once.
            C3 the number of an asset's local day never goes back, and no calendar ends a day that runs.
Privacy     calendars are public to all members.
"""

from bisect import bisect_left
from itertools import pairwise
from typing import Annotated, Final

from msgspec import Meta

from contracts.assets import Assets
from node.ledger.contract import Category, Context, Contract, Fact, Rejected, error, method, query, table
from node.ledger.types import AssetId, Record, TimeMs

DAY_MS: Final = 86_400_000
MINUTE_MS: Final = 60_000
DAY_MINUTES: Final = 1_440
HOLIDAYS_MAX: Final = 1_000
WEEKDAY_OF_DAY_0: Final = 3
"""1 January 1970 was a Thursday; Monday is 0."""
WEEK: Final = 7

Day = Annotated[int, Meta(ge=0, le=2**24)]
Minute = Annotated[int, Meta(ge=0, le=DAY_MINUTES)]
Offset = Annotated[int, Meta(ge=0, le=840)]
Weekday = Annotated[int, Meta(ge=0, le=WEEK - 1)]
Weekdays = Annotated[tuple[Weekday, ...], Meta(max_length=WEEK)]
Holidays = Annotated[tuple[Day, ...], Meta(max_length=HOLIDAYS_MAX)]


class Calendar(Record, frozen=True):
    """When payments settle. ahead, behind: minutes that local time is ahead of UTC or behind it, one of them
    0. opens, cut_off: minutes of the local day. weekend: weekdays without settlement, Monday 0. holidays:
    days without.
    """

    ahead: Offset
    behind: Offset
    opens: Minute
    cut_off: Minute
    weekend: Weekdays
    holidays: Holidays


class Schedule(Record, frozen=True):
    """The calendar of an asset, and the one that holds from the local day ``day`` on, which begins at
    ``from_ms``; the same where none was set to follow.
    """

    calendar: Calendar
    follows: Calendar
    day: Day
    from_ms: TimeMs


class CalendarSet(Fact, frozen=True):
    """An asset's calendar was set, or the one that follows it. from_ms: from when on it holds."""

    asset: AssetId
    calendar: Calendar
    from_ms: TimeMs


class Calendars(Contract):
    """See the module's docstring."""

    name = "calendars"
    facts = (CalendarSet,)

    NOT_KEEPER = error(1, Category.PERMISSION_DENIED, "Only its issuer keeps an asset's calendar.")
    HOURS_UNFIT = error(2, Category.INVALID, "Settlement opens before its cut-off.")
    DAYS_UNFIT = error(3, Category.INVALID, "Holidays ascend, each once, and a weekday is left for business.")
    CALENDAR_UNKNOWN = error(4, Category.NOT_FOUND, "The asset has no calendar.")

    calendar = table(Schedule, asset=AssetId)

    def __init__(self, assets: Assets) -> None:
        self.assets = assets

    @method
    def set_calendar(self, ctx: Context, asset: AssetId, calendar: Calendar) -> None:
        """Set the calendar of an asset whose issuer signs; where it has one, from the next local day on."""
        if self.assets.require_asset(asset).issuer != ctx.member:
            raise Rejected(self.NOT_KEEPER)
        if calendar.opens >= calendar.cut_off or (calendar.ahead and calendar.behind):
            raise Rejected(self.HOURS_UNFIT)
        if len(dict.fromkeys(calendar.weekend)) == WEEK or any(
            a >= b for a, b in pairwise(calendar.holidays)
        ):
            raise Rejected(self.DAYS_UNFIT)
        now = calendar_at(known, ctx.time_ms) if (known := self.calendar.get(asset)) else calendar
        day = day_of(now, ctx.time_ms) + 1
        from_ms = time_of(now, day, 0) if known else ctx.time_ms
        self.calendar.put(Schedule(now, calendar, day, from_ms), asset)
        ctx.emit(CalendarSet(asset, calendar, from_ms))

    @query
    def get_calendar(self, ctx: Context, asset: AssetId) -> Calendar:
        """The calendar that holds now."""
        return calendar_at(self.require_schedule(asset), ctx.time_ms)

    @query
    def get_schedule(self, ctx: Context, asset: AssetId) -> Schedule:
        """An asset's calendar, and the one that follows it."""
        return self.require_schedule(asset)

    def require_schedule(self, asset: str) -> Schedule:
        """The calendar and the one that follows. Raises CALENDAR_UNKNOWN."""
        found = self.calendar.get(asset)
        if found is None:
            raise Rejected(self.CALENDAR_UNKNOWN, asset=asset)
        return found

    def day(self, ctx: Context, asset: str) -> int:
        """The asset's local day. Raises CALENDAR_UNKNOWN."""
        return day_of(calendar_at(self.require_schedule(asset), ctx.time_ms), ctx.time_ms)


def calendar_at(schedule: Schedule, time_ms: int) -> Calendar:
    """The calendar that holds at a block time."""
    return schedule.follows if time_ms >= schedule.from_ms else schedule.calendar


def calendar_for(schedule: Schedule, time_ms: int, day: int) -> Calendar:
    """The calendar that will hold on a local day, as known at a block time."""
    return schedule.follows if day >= schedule.day else calendar_at(schedule, time_ms)


def day_of(calendar: Calendar, time_ms: int) -> int:
    """The local day in which a block time lies."""
    return (time_ms + (calendar.ahead - calendar.behind) * MINUTE_MS) // DAY_MS


def time_of(calendar: Calendar, day: int, minute: int) -> int:
    """The block time, in ms, at which a minute of a local day begins."""
    return day * DAY_MS + (minute - calendar.ahead + calendar.behind) * MINUTE_MS


def is_business_day(calendar: Calendar, day: int) -> bool:
    """Whether payments settle on a day."""
    at = bisect_left(calendar.holidays, day)
    holiday = at < len(calendar.holidays) and calendar.holidays[at] == day
    return not holiday and (day + WEEKDAY_OF_DAY_0) % WEEK not in calendar.weekend


def next_business_day(schedule: Schedule, time_ms: int) -> int:
    """The first business day from the local day of a block time on; holidays are so few that one always
    comes.
    """
    day = day_of(calendar_at(schedule, time_ms), time_ms)
    while not is_business_day(calendar_for(schedule, time_ms, day), day):
        day += 1
    return day
