"""When to try again: exponential back-off with full jitter, never later than a deadline, never sooner than
the node asked.

What is tried again is always the same bytes, so that nothing can happen twice.
"""

import asyncio
import random
import time
from typing import Final

FIRST_SECONDS: Final = 0.05
LONGEST_SECONDS: Final = 5.0
FACTOR: Final = 2.0


class Backoff:
    """The waits of one request. Full jitter (each wait drawn evenly up to a bound that doubles) keeps many
    clients from coming at once.
    """

    def __init__(self, seconds: float) -> None:
        """seconds: until the deadline, from now."""
        self._seconds = seconds
        self.renew()

    def renew(self) -> None:
        """There was progress: the deadline and the waits begin anew."""
        self._deadline = time.monotonic() + self._seconds
        self._bound = FIRST_SECONDS

    @property
    def remaining(self) -> float:
        """Seconds until the deadline; not below 0."""
        return max(self._deadline - time.monotonic(), 0.0)

    async def wait(self, asked: float = 0.0) -> bool:
        """Wait before the next attempt; False at once where that would pass the deadline. asked: what the
        node's RetryInfo says.
        """
        seconds = asked + random.uniform(0, self._bound)  # noqa: S311 - spreads load, keeps no secret
        self._bound = min(self._bound * FACTOR, LONGEST_SECONDS)
        if seconds >= self.remaining:
            return False
        await asyncio.sleep(seconds)
        return True
