"""What an engine asks of the parts it stands on, as small Protocols; app.py plugs them in."""

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from node.ledger.ports import Check, Store


class DurableStore(Store, Protocol):
    """What the engine asks of the store beyond what the ledger does."""

    def receipt(self, height: int, index: int) -> bytes | None:
        """One receipt of a durable block."""

    def headers(self, first: int, limit: int) -> Sequence[Any]:
        """Durable blocks from a height on, without their contents."""

    def check_space(self) -> None:
        """Raises StoreFailed where the disk is nearly full."""


class Position(Protocol):
    """A receipt's place."""

    @property
    def height(self) -> int:
        """Of its block."""

    @property
    def index(self) -> int:
        """In its block."""


class Places(Protocol):
    """Where receipts stand, by transaction; may lag behind the head."""

    @property
    def height(self) -> int:
        """The last height whose receipts it has."""

    @property
    def is_whole(self) -> bool:
        """Whether it has them from the chain's beginning on."""

    def transaction(self, tx_id: bytes) -> Position | None:
        """The place, if it is known."""


class Workers(Protocol):
    """Processes that verify signatures."""

    def verify(self, checks: Sequence[Check], *, until_false: bool = False) -> "asyncio.Future[list[bool]]":
        """Answer each check, in order; until_false: the first false answer is the last one given."""
