"""How interest counts days, in whole numbers: ACT/360, ACT/365 and 30E/360.

Actual days are whole periods of 24 hours of block time. 30E/360 (ISDA 2006 definitions, 4.16(g), the Eurobond
basis; ISO 20022 code A007) counts by the civil date in UTC: a month has 30 days, the 31st is the 30th. Block
time is ms since 1970; the civil date follows from the Gregorian calendar's 400 years of 146,097 days.
"""

from typing import Final, Literal

DAY_MS: Final = 86_400_000
DAYS_OF_400_YEARS: Final = 146_097
DAYS_BEFORE_1970: Final = 719_468
"""From the 1st of March of year 0 to the 1st of January 1970."""

DayCount = Literal["ACT/360", "ACT/365", "30E/360"]

YEAR: Final[dict[DayCount, int]] = {"ACT/360": 360, "ACT/365": 365, "30E/360": 360}
"""Days of a year."""


def days_between(day_count: DayCount, from_ms: int, to_ms: int) -> int:
    """Whole days of interest from one time to another, 0 where that is not later."""
    if to_ms <= from_ms:
        return 0
    if day_count != "30E/360":
        return (to_ms - from_ms) // DAY_MS
    (y1, m1, d1), (y2, m2, d2) = civil_date(from_ms), civil_date(to_ms)
    return 360 * (y2 - y1) + 30 * (m2 - m1) + min(d2, 30) - min(d1, 30)


def civil_date(time_ms: int) -> tuple[int, int, int]:
    """(year, month, day) in UTC. A year is taken to begin in March, so that a leap day is its last."""
    eras, day = divmod(time_ms // DAY_MS + DAYS_BEFORE_1970, DAYS_OF_400_YEARS)
    year = (day - day // 1_460 + day // 36_524 - day // 146_096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153  # from March on, the months' lengths repeat every five: 31 30 31 30 31
    day -= (153 * month + 2) // 5
    later, month = divmod(month + 2, 12)
    return eras * 400 + year + later, month + 1, day + 1
