"""Look-ups derived from the block log: a transaction by its id, a member's transactions and an account's
movements by time.

The index is written behind the head and says how far it is (``position``, ``height``). It is never the
truth: what is damaged is removed and built again from the log. What an event means to an account is told by
the ``movements`` function that app.py plugs in.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import plyvel

from node.ledger.codec import encode, trusted_decoder
from node.ledger.hashing import ZERO_HASH
from node.ledger.types import BlockRecord, Event, Leaf, Receipt
from node.storage import layout
from node.storage.database import MIB, Part, remove_tree, rows_of, suspect_path
from node.storage.errors import StorageCode, StorageError

PAGE_MAX: Final = 1_000
ROWS_A_BATCH: Final = 50_000
CURSOR_BYTES: Final = 24

_decode_leaf: Final = trusted_decoder(Leaf)
_decode_receipt: Final = trusted_decoder(Receipt)


class Movement(NamedTuple):
    """What one event did to one account. amount: minor units, negative where the account is debited."""

    account: str
    asset: str
    amount: int
    kind: str
    counterparty: str
    reference: str


@dataclass(frozen=True, slots=True)
class Position:
    """Where a transaction's receipt stands."""

    height: int
    index: int


@dataclass(frozen=True, slots=True)
class MovementRow:
    """A movement, when and where it happened. cursor: hand it back as ``after`` to go on behind this row."""

    time_ms: int
    height: int
    index: int
    movement: Movement
    cursor: bytes


@dataclass(frozen=True, slots=True)
class TransactionRow:
    """A member's transaction, when and where it was decided. cursor: as in MovementRow."""

    time_ms: int
    height: int
    index: int
    tx_id: bytes
    cursor: bytes


class Blocks(Protocol):
    """The durable blocks that the index follows; ShardedStore and MemoryStore are such."""

    @property
    def durable_count(self) -> int:
        """How many there are."""

    @property
    def first_position(self) -> int:
        """Number of the first that is whole; above 0 where older ones are not kept."""

    def height_at(self, position: int) -> int | None:
        """The height of block number ``position``."""

    def headers(self, first: int, limit: int) -> list[BlockRecord]:
        """Blocks from height ``first`` on, without what they contain."""

    def leaves(self, height: int) -> tuple[bytes, ...] | None:
        """A block's leaves."""

    def receipts(self, height: int) -> tuple[bytes, ...] | None:
        """A block's receipts."""


_decode_movement: Final[Callable[[bytes], tuple[Any, ...]]] = trusted_decoder(tuple[str, int, str, str, str])


class Index:
    """One LevelDB of look-ups. One thread advances it; any thread reads."""

    def __init__(
        self,
        path: Path,
        movements: Callable[[Event], Iterable[Movement]],
        *,
        blocks: int,
        cache_bytes: int = 32 * MIB,
        write_buffer_bytes: int = 16 * MIB,
    ) -> None:
        """Open the index at ``path``, or begin it anew where it is missing, damaged or ahead of the log.
        blocks: how many the log has.
        """
        self.reports: list[str] = []
        self._movements = movements
        options = {
            "cache_bytes": cache_bytes,
            "write_buffer_bytes": write_buffer_bytes,
            "compression": "snappy",
            "open_files": 200,
        }
        self._height = self._begin = 0
        self._part = self._opened(path, blocks, options)

    @property
    def is_whole(self) -> bool:
        """Whether it begins with the chain: a transaction that it does not have was decided in no block up to
        ``height``.
        """
        return not self._begin

    @property
    def height(self) -> int:
        """Height of the last block that is indexed; 0 before the first."""
        return self._height

    @property
    def position(self) -> int:
        """How many blocks are indexed."""
        return self._part.position

    def advance(self, store: Blocks, *, blocks_max: int = 64) -> int:
        """Index at most ``blocks_max`` more durable blocks, in synced batches; return how many were
        indexed.
        """
        start = self._part.position
        if start < store.first_position:
            start = self._begin_at(store)
        stop = min(start + blocks_max, store.durable_count)
        first = store.height_at(start) if start < stop else None
        if first is None:
            return 0
        rows: dict[bytes, bytes | None] = {}
        done = start
        for header in store.headers(first, stop - start):
            self._index_block(
                header, store.leaves(header.height) or (), store.receipts(header.height) or (), rows
            )
            done += 1
            if len(rows) >= ROWS_A_BATCH or done == stop:
                rows[layout.INDEX_HEIGHT] = header.height.to_bytes(8, "big")
                self._part.commit(rows, done)
                self._height = header.height
                rows = {}
        return done - start

    def _begin_at(self, store: Blocks) -> int:
        """Leave out the blocks that the store does not keep; where to go on."""
        start = store.first_position
        self._begin, self._height = start, store.height_at(start - 1) or 0
        rows: dict[bytes, bytes | None] = {
            layout.INDEX_BEGIN: start.to_bytes(8, "big"),
            layout.INDEX_HEIGHT: self._height.to_bytes(8, "big"),
        }
        self._part.commit(rows, start)
        return start

    def transaction(self, tx_id: bytes) -> Position | None:
        """Where the receipt of a transaction stands; None where it is not (yet) indexed."""
        try:
            found = self._part.db.get(layout.BY_TX + tx_id, verify_checksums=True)
        except (plyvel.Error, RuntimeError) as error:
            raise self._part.damage(error) from error
        return (
            None
            if found is None
            else Position(int.from_bytes(found[:8], "big"), int.from_bytes(found[8:], "big"))
        )

    def movements(
        self,
        account: str,
        *,
        after: bytes = b"",
        since_ms: int = 0,
        before_ms: int | None = None,
        limit: int = PAGE_MAX,
        reverse: bool = False,
    ) -> list[MovementRow]:
        """A page of an account's movements by time, ``since_ms <= time < before_ms``; downwards in time
        with ``reverse``.

        A page costs a seek and its rows, however many there are. after: the cursor of the last row of the
        page before.
        """
        return [
            MovementRow(*_place(cursor), Movement(account, *_decode_movement(value)), cursor)
            for cursor, value in self._page(
                layout.BY_ACCOUNT, account, after, since_ms, before_ms, limit, reverse=reverse
            )
        ]

    def transactions(
        self,
        member: str,
        *,
        after: bytes = b"",
        since_ms: int = 0,
        before_ms: int | None = None,
        limit: int = PAGE_MAX,
        reverse: bool = False,
    ) -> list[TransactionRow]:
        """A page of a member's transactions by time; arguments as of ``movements``."""
        return [
            TransactionRow(*_place(cursor), value, cursor)
            for cursor, value in self._page(
                layout.BY_MEMBER, member, after, since_ms, before_ms, limit, reverse=reverse
            )
        ]

    def close(self) -> None:
        """Close the database."""
        self._part.close()

    def _opened(self, path: Path, blocks: int, options: dict[str, Any]) -> Part:
        if path.exists() and not suspect_path(path).exists():
            try:
                part = Part.open(path, StorageCode.INDEX_DAMAGED, **options)
                height, begin = _number(part, layout.INDEX_HEIGHT), _number(part, layout.INDEX_BEGIN)
            except StorageError as error:
                if error.error is not StorageCode.INDEX_DAMAGED:
                    raise
                self.reports.append(
                    f"the index is damaged and is built again: {error.details.get('cause', '')}"
                )
            else:
                if part.position <= blocks:
                    self._height, self._begin = height, begin
                    return part
                part.close()
                self.reports.append("the index is ahead of the log and is built again")
        remove_tree(path)
        suspect_path(path).unlink(missing_ok=True)
        return Part.create(path, StorageCode.INDEX_DAMAGED, **options)

    def _index_block(
        self,
        header: BlockRecord,
        leaves: tuple[bytes, ...],
        receipts: tuple[bytes, ...],
        rows: dict[bytes, bytes | None],
    ) -> None:
        when = header.time_ms.to_bytes(8, "big") + header.height.to_bytes(8, "big")
        height = header.height.to_bytes(8, "big")
        for index, (leaf_bytes, receipt_bytes) in enumerate(zip(leaves, receipts, strict=True)):
            at = index.to_bytes(4, "big")
            leaf = _decode_leaf(leaf_bytes)
            if leaf.tx_id != ZERO_HASH:
                rows[layout.BY_TX + leaf.tx_id] = height + at
                rows[layout.BY_MEMBER + leaf.member.encode() + b"\0" + when + at + bytes(4)] = leaf.tx_id
            number = 0
            for event in _decode_receipt(receipt_bytes).events:
                for account, *rest in self._movements(event):
                    key = layout.BY_ACCOUNT + account.encode() + b"\0" + when + at + number.to_bytes(4, "big")
                    rows[key] = encode(rest)
                    number += 1

    def _page(
        self,
        kind: bytes,
        name: str,
        after: bytes,
        since_ms: int,
        before_ms: int | None,
        limit: int,
        *,
        reverse: bool,
    ) -> Iterator[tuple[bytes, bytes]]:
        prefix = kind + name.encode() + b"\0"
        low = prefix + since_ms.to_bytes(8, "big")
        high = prefix[:-1] + b"\1" if before_ms is None else prefix + before_ms.to_bytes(8, "big")
        if after and reverse:
            high = min(high, prefix + after)
        elif after:
            low = max(low, prefix + after + b"\0")
        if low >= high:
            return
        try:
            for key, value in islice(
                rows_of(self._part.db, low, high, reverse=reverse), min(limit, PAGE_MAX)
            ):
                yield key[-CURSOR_BYTES:], value
        except (plyvel.Error, RuntimeError) as error:
            raise self._part.damage(error) from error


def _place(cursor: bytes) -> tuple[int, int, int]:
    """(time, height, index) in a cursor."""
    return (
        int.from_bytes(cursor[:8], "big"),
        int.from_bytes(cursor[8:16], "big"),
        int.from_bytes(cursor[16:20], "big"),
    )


def _number(part: Part, key: bytes) -> int:
    """A number that the index keeps of itself; 0 where it has none. Raises StorageError, the part closed."""
    try:
        return int.from_bytes(part.db.get(key, b"", verify_checksums=True), "big")
    except (plyvel.Error, RuntimeError) as error:
        found = part.damage(error)
        part.close()
        raise found from error
