"""What the services ask of the rest of a node, as small Protocols. app.py plugs the parts in; a test can plug
in a store in memory.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from node.ledger.types import BlockRecord
from node.storage.index import MovementRow, Position, TransactionRow

ReceiptFile = Callable[[int, int], Mapping[str, Any]]
"""Height and index of a receipt -> its receipt file's JSON document. Raises Degraded RECEIPT_UNKNOWN or
PROOF_PENDING.
"""

Backup = Callable[[Callable[[bytes], None]], Mapping[str, Any]]
"""Streams a backup to the function that it is given, and returns a summary, by names: integers, texts, bytes.
Runs in a thread.
"""


class Call(Protocol):
    """The call that a servicer answers, as far as it needs to know."""

    def time_remaining(self) -> float | None:
        """Seconds until the client's deadline; None where it set none."""


class Blocks(Protocol):
    """The durable blocks. Any thread reads."""

    def headers(self, first: int, limit: int) -> list[BlockRecord]:
        """At most ``limit`` blocks from height ``first`` on, each without what it contains."""

    def block(self, height: int) -> BlockRecord | None:
        """A whole block, or None."""

    def leaves(self, height: int) -> tuple[bytes, ...] | None:
        """A block's leaves, or None where there is no such block."""

    def receipts(self, height: int) -> tuple[bytes, ...] | None:
        """A block's receipts, or None where there is no such block."""

    def receipt(self, height: int, index: int) -> bytes | None:
        """One receipt, or None."""

    def body(self, height: int, index: int) -> bytes | None:
        """One signed transaction; None also where bodies were dropped."""

    def height_at(self, position: int) -> int | None:
        """The height of block number ``position``, counted from 0."""

    def free_bytes(self) -> int:
        """Bytes left on the disk."""


class Index(Protocol):
    """Look-ups by time, written behind the head. Any thread reads. A row's cursor, handed back as ``after``,
    goes on behind the row.
    """

    @property
    def position(self) -> int:
        """How many blocks are indexed."""

    def transaction(self, tx_id: bytes) -> Position | None:
        """Where a transaction's receipt stands."""

    def movements(
        self, account: str, *, after: bytes, since_ms: int, before_ms: int | None, limit: int, reverse: bool
    ) -> list[MovementRow]:
        """What moved an account's balances, ``since_ms <= time < before_ms``."""

    def transactions(
        self, member: str, *, after: bytes, since_ms: int, before_ms: int | None, limit: int, reverse: bool
    ) -> list[TransactionRow]:
        """What a member signed, ``since_ms <= time < before_ms``."""
