"""Records in the order of K with bounded memory: a bucket sort on disk.

Records are spread over 256 files by the first byte of K and read back one file at a time, sorted. In memory
are at most PENDING_ROWS records while they are spread, and one file's, a 256th of the state, while they are
read back.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from node.ledger.codec import encode, trusted_decoder
from node.ledger.hashing import STATE_KEY, Suite
from node.ledger.snapshot_cut import COUNTED_DEPTH, Counted, Row
from node.ledger.state_tree import FAN_OUT
from node.storage.database import make_directory, remove_tree

BUCKETS: Final = 256
PENDING_ROWS: Final = 65_536
REST_ROWS: Final = 1_024
LENGTH_BYTES: Final = 4

_decode_rows: Final = trusted_decoder(list[bytes])


class Stopped(Exception):
    """Somebody wants the work given up."""


def never() -> bool:
    """Nobody wants it given up."""
    return False


class Pace:
    """Keeps work to a share of one core, so that what else runs in the process goes on."""

    def __init__(self, share: float, stopped: Callable[[], bool] = never) -> None:
        """share: of the time, above 0 and at most 1; 1 never rests. stopped: whether to give up."""
        self._rest = 1 / share - 1
        self._stopped = stopped
        self._since = time.thread_time()

    def rest(self) -> None:
        """Sleep as long as the work since the last call asks for. Raises Stopped."""
        if self._stopped():
            raise Stopped
        if self._rest:
            time.sleep((time.thread_time() - self._since) * self._rest)
            self._since = time.thread_time()


class Sorter:
    """One sort, in a folder of its own, which ``close`` removes."""

    def __init__(self, folder: Path, suite: Suite, pace: Pace) -> None:
        self._folder = folder
        self._digest = suite.digest
        self._pace = pace
        self._pending: list[list[bytes]] = [[] for _ in range(BUCKETS)]
        make_directory(folder)

    def spread(self, records: Iterable[tuple[bytes, bytes]]) -> Counted:
        """Take all records, as (key, value) in any order."""
        digest, pending, pace = self._digest, self._pending, self._pace
        counts = [0] * FAN_OUT**COUNTED_DEPTH
        size = 0
        for number, (key, value) in enumerate(records, 1):
            k = digest(STATE_KEY + key)
            pending[k[0]] += (k, key, value)
            counts[k[0] << 4 | k[1] >> 4] += 1
            size += len(key) + len(value)
            if number % REST_ROWS == 0:
                pace.rest()
                if number % PENDING_ROWS == 0:
                    self._spill()
        self._spill()
        return Counted(counts, size)

    def batches(self) -> Iterator[list[Row]]:
        """What was taken, as 256 lists ascending by K."""
        for bucket in range(BUCKETS):
            flat: list[bytes] = []
            path = self._folder / str(bucket)
            data = path.read_bytes() if path.exists() else b""
            at = 0
            while at < len(data):
                end = at + LENGTH_BYTES + int.from_bytes(data[at : at + LENGTH_BYTES], "big")
                flat += _decode_rows(data[at + LENGTH_BYTES : end])
                at = end
            rows = list(zip(flat[0::3], flat[1::3], flat[2::3], strict=True))
            rows.sort()
            yield rows
            self._pace.rest()

    def close(self) -> None:
        """Remove what was written."""
        remove_tree(self._folder)

    def _spill(self) -> None:
        for bucket, rows in enumerate(self._pending):
            if rows:
                frame = encode(rows)
                with (self._folder / str(bucket)).open("ab") as file:
                    file.write(len(frame).to_bytes(LENGTH_BYTES, "big") + frame)
                rows.clear()
