"""Running sums over a time that slides: what was signed within the hours before, without counting it again.

A sum costs what has entered or left since it was asked for last, and nothing for what stays. What always
holds: it is the sum of the amounts of the entries later than ``since``, wherever ``since`` was before; a
clock that goes back asks for what had left, and gets it.
"""

from bisect import bisect_right, insort
from operator import attrgetter
from typing import Final

_time: Final = attrgetter("time_ms")


class Entry:
    """An amount and its time. One that is struck out has the amount 0 and keeps its place."""

    __slots__ = ("amount", "time_ms")

    def __init__(self, time_ms: int, amount: int) -> None:
        self.time_ms = time_ms
        self.amount = amount


class RunningSum:
    """The amounts later than a moment."""

    __slots__ = ("_entries", "_first", "_since", "_total")

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._since = -1
        self._first = 0
        """Index of the first entry that counts."""
        self._total = 0

    def add(self, time_ms: int, amount: int) -> Entry:
        """Count an amount from its time on; what ``strike`` takes."""
        entry = Entry(time_ms, amount)
        if self._entries and time_ms < self._entries[-1].time_ms:
            insort(self._entries, entry, key=_time)
        else:
            self._entries.append(entry)
        if time_ms > self._since:
            self._total += amount
        else:
            self._first += 1
        return entry

    def strike(self, entry: Entry) -> None:
        """Count an entry no more."""
        if entry.time_ms > self._since:
            self._total -= entry.amount
        entry.amount = 0

    def after(self, since_ms: int) -> int:
        """The sum of all amounts later than a moment."""
        if since_ms < self._since:
            first = bisect_right(self._entries, since_ms, key=_time)
            self._total += sum(entry.amount for entry in self._entries[first : self._first])
            self._first = first
        while self._first < len(self._entries) and self._entries[self._first].time_ms <= since_ms:
            self._total -= self._entries[self._first].amount
            self._first += 1
        self._since = since_ms
        return self._total
