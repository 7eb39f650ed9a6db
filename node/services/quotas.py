"""Quotas: what one member, with all its certificates, may ask of a node: calls and transactions a second,
calls that last at once, and of all calls a share at once.

Token buckets: each fills at its rate and holds two seconds of it, so that a burst passes and a flood does
not. What does not fit is refused at once with the time after which it would.
"""

import time
from collections.abc import Callable
from typing import Final

from node.engine.errors import Degraded, NodeError

BURST_SECONDS: Final = 2.0
MEMBERS_MAX: Final = 4_096
CALLS_MAX: Final = 4_096
"""Calls that a node answers at once."""
UNDER_WAY_MAX: Final = CALLS_MAX // 4
"""Of one member: while its transactions wait for a chain that stands still, others are answered."""


class Bucket:
    """Tokens that come back at ``rate`` a second."""

    __slots__ = ("_at", "_clock", "_full", "_rate", "_tokens")

    def __init__(self, rate: float, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._full = rate * BURST_SECONDS
        self._tokens = self._full
        self._clock = clock
        self._at = clock()

    def take(self, count: int) -> float:
        """Take so many; 0, or the seconds after which they would be there, and nothing is taken.

        A request that is larger than a full bucket is let through once the bucket is full.
        """
        now = self._clock()
        self._tokens = min(self._full, self._tokens + (now - self._at) * self._rate)
        self._at = now
        needed = min(count, self._full)
        if self._tokens >= needed:
            self._tokens -= count
            return 0.0
        return (needed - self._tokens) / self._rate

    def owe(self, count: int) -> None:
        """Take so many, whether they are there or not: what comes next waits for them."""
        self._tokens -= count


class Quota:
    """What one member may ask. Rates of 0 are none."""

    __slots__ = ("_calls", "_streams", "_streams_max", "_transactions", "_under_way")

    def __init__(self, calls: int, transactions: int, streams: int, clock: Callable[[], float]) -> None:
        self._calls = Bucket(calls, clock) if calls else None
        self._transactions = Bucket(transactions, clock) if transactions else None
        self._streams = 0
        self._streams_max = streams
        self._under_way = 0

    def begin(self) -> None:
        """Count a call, and that it is under way until ``end``. Raises Degraded QUOTA_USED_UP, OVERLOADED."""
        if self._under_way >= UNDER_WAY_MAX:
            raise Degraded(NodeError.OVERLOADED, reason=f"{UNDER_WAY_MAX} calls of the member are under way")
        self.call()
        self._under_way += 1

    def end(self) -> None:
        """A call is over."""
        self._under_way -= 1

    def call(self) -> None:
        """Count a call. Raises Degraded QUOTA_USED_UP."""
        if self._calls and (wait := self._calls.take(1)):
            raise _used_up("calls", wait)

    def owe(self, calls: int) -> None:
        """Count a call that was let in for so many more."""
        if self._calls:
            self._calls.owe(max(calls, 0))

    def transactions(self, count: int) -> None:
        """Count transactions. Raises Degraded QUOTA_USED_UP."""
        if wait := self.transactions_wait(count):
            raise _used_up("transactions", wait)

    def transactions_wait(self, count: int) -> float:
        """Count transactions; 0, or the seconds after which they would be taken."""
        return self._transactions.take(count) if self._transactions else 0.0

    def open_stream(self) -> None:
        """Count a stream, or a call that waits, until ``close_stream``. Raises Degraded QUOTA_USED_UP."""
        if self._streams_max and self._streams >= self._streams_max:
            raise _used_up("streams", 1.0)
        self._streams += 1

    def close_stream(self) -> None:
        """It is over."""
        self._streams -= 1


class Quotas:
    """Every member's quota."""

    def __init__(
        self, calls: int, transactions: int, streams: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """calls, transactions: a second. streams: and calls that wait, at once. 0: no quota."""
        self._limits = (calls, transactions, streams)
        self._clock = clock
        self._members: dict[str, Quota] = {}

    def of(self, member: str) -> Quota:
        """A member's quota."""
        found = self._members.get(member)
        if found is None:
            if len(self._members) >= MEMBERS_MAX:
                raise Degraded(NodeError.OVERLOADED, reason="more members than this node counts")
            found = self._members[member] = Quota(*self._limits, self._clock)
        return found


def _used_up(what: str, wait: float) -> Degraded:
    return Degraded(NodeError.QUOTA_USED_UP, quota=what, retry_ms=max(1, round(wait * 1_000)))
