"""The engine as the services see it: something that orders signed transactions and answers each with its
outcome.

``embedded.py`` is one in-process sequencer; ``running.py`` has what every engine does around its order.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from msgspec import Struct

from node.ledger.errors import ErrorCode
from node.ledger.types import Receipt

T = TypeVar("T")


class Outcome(Struct, frozen=True, gc=False):
    """The answer to one submitted transaction.

    receipt: the decision, applied or refused; then ``error`` is None. Otherwise ``error`` says why there is
    none, ``decided`` whether that is final for these bytes (dead by time, another chain, id spent by other
    content), ``height`` where it was judged.
    """

    receipt: Receipt | None = None
    error: ErrorCode | None = None
    details: dict[str, str | int] = {}
    decided: bool = False
    height: int = 0


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """Where the engine stands. ``time_ms`` is block time, fresh within a heartbeat; ``pending`` what waits to
    be decided.
    """

    engine: str
    serving: bool
    height: int
    time_ms: int
    app_hash: bytes
    pending: int
    pending_max: int
    alarms: tuple[str, ...]


class Engine(Protocol):
    """Orders transactions. All calls from the event loop's thread."""

    async def stop(self) -> None:
        """Decide what was accepted, make it durable, end."""

    def submit(self, items: Sequence[bytes]) -> "asyncio.Future[list[Outcome]]":
        """Decide signed transactions; outcomes in the same order, each after its block is durable. Never
        raises for an item's sake. Whoever cancels the future gives up the answer, not the decision.
        """

    def status(self) -> EngineStatus:
        """The last durable block and the queue."""

    def find(self, tx_id: bytes) -> tuple[int, int] | None:
        """(height, index) of a decided transaction's receipt."""

    def heights(self, after: int) -> AsyncIterator[int]:
        """Heights of headers above ``after``, each once it is durable; waits for more."""

    async def between_blocks(self, read: Callable[[], T]) -> T:
        """Run ``read`` while no block is in progress and what is committed is durable: for proofs against the
        last header.
        """
