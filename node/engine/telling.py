"""What became of a transaction, as its block left it or as the log knows it: the answers of every engine.

What always holds: bytes that were decided before are answered with their first outcome; where the node cannot
know whether there was one, it says so instead of calling them dead.
"""

from collections.abc import Callable
from typing import Final

from node.engine.counters import Counters
from node.engine.door import Door
from node.engine.engine import Outcome
from node.engine.errors import NodeError
from node.engine.kept import kept_receipt
from node.engine.ports import DurableStore, Places
from node.ledger import codec
from node.ledger.errors import LedgerError
from node.ledger.ledger import Discarded, Ledger
from node.ledger.transactions import Candidate
from node.ledger.types import Receipt

RECENT_MAX: Final = 200_000
"""Receipts' places that are kept in memory until the index has them."""


class Telling:
    """Turns what a durable block says of an item into the answer to whoever waits for it."""

    def __init__(
        self, ledger: Ledger, store: DurableStore, index: Places | None, door: Door, counters: Counters
    ) -> None:
        """index: where receipts stand by transaction id."""
        self._ledger = ledger
        self._store = store
        self._index = index
        self._door = door
        self._counters = counters
        self._recent: dict[bytes, tuple[int, int]] = {}
        self._recent_above = ledger.info().height

    def find(self, tx_id: bytes) -> tuple[int, int] | None:
        """(height, index) of a decided transaction's receipt."""
        place = self._recent.get(tx_id)
        if place is None and self._index and (found := self._index.transaction(tx_id)):
            return found.height, found.index
        return place

    def told(self, candidate: Candidate, outcome: Receipt | Discarded, time_ms: int) -> Outcome:
        """The answer to an item of a durable block. time_ms: of the last durable header."""
        if isinstance(outcome, Receipt):
            return Outcome(outcome)
        if outcome.error in (LedgerError.DUPLICATE, LedgerError.EXPIRED):
            spent = outcome.spent
            same = spent is not None and spent.tx_id == candidate.tx_id
            place = (spent.height, spent.index) if spent and same else self.find(candidate.tx_id)
            if place and (data := kept_receipt(self._store, *place)):
                return Outcome(decode_receipt(data))
            if place or not self._knows_outcome_of(candidate, time_ms):
                return Outcome(error=NodeError.UNKNOWN_OUTCOME, height=self._door.height)
        return self._door.refused(outcome.error, outcome.details)

    def begin_above(self, height: int) -> None:
        """A snapshot was taken in: of what was decided up to its height only an index can tell."""
        self._recent_above = height

    def count(self, outcome: Receipt | Discarded) -> None:
        """Take an item of a durable block into the figures, and its receipt's place into memory."""
        counters = self._counters
        if not isinstance(outcome, Receipt):
            counters.discarded += 1
            return
        if outcome.code:
            counters.refused += 1
        else:
            counters.applied += 1
        recent = self._recent
        recent[outcome.tx_id] = (outcome.height, outcome.index)
        if len(recent) > RECENT_MAX:
            self._recent_above, _ = recent.pop(next(iter(recent)))

    def _knows_outcome_of(self, candidate: Candidate, time_ms: int) -> bool:
        """Whether a transaction without a known receipt was never decided: its request id would still be
        remembered, or ``find`` has every receipt there is.
        """
        if candidate.created_ms + self._ledger.genesis.limits.lifetime_ms >= time_ms:
            return True
        index = self._index
        return index is not None and index.is_whole and index.height >= self._recent_above


decode_receipt: Final[Callable[[bytes], Receipt]] = codec.trusted_decoder(Receipt)
