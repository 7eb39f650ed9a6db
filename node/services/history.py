"""Lists over time, read from the index: pages of rows, each with where the index ends."""

from collections.abc import Callable
from typing import Protocol, TypeVar

from node.engine.errors import Degraded, NodeError
from node.services.paging import Pages, page_size
from node.services.ports import Blocks, Index
from node.storage.index import CURSOR_BYTES

TIME_MAX_MS = 2**63 - 1


class Row(Protocol):
    """A row of the index."""

    @property
    def cursor(self) -> bytes:
        """Handed back as ``after``, it goes on behind this row."""


class Window(Protocol):
    """The fields that every list over time has. Times in ms since 1970, both inclusive; 0: unbounded."""

    from_ms: int
    to_ms: int
    reverse: bool
    page_size: int
    page_token: str


R = TypeVar("R", bound=Row)
Read = Callable[..., list[R]]


class History:
    """Pages over an index that may be absent."""

    def __init__(self, index: Index | None, blocks: Blocks, pages: Pages) -> None:
        self._index = index
        self._blocks = blocks
        self._pages = pages

    @property
    def index(self) -> Index:
        """The index. Raises Degraded METHOD_UNKNOWN where the node keeps none."""
        if self._index is None:
            raise Degraded(NodeError.METHOD_UNKNOWN, reason="this node is configured to keep no index")
        return self._index

    def height(self) -> int | None:
        """Height up to which the index speaks; None where the node keeps none."""
        if self._index is None:
            return None
        position = self._index.position
        return (self._blocks.height_at(position - 1) or 0) if position else 0

    def page(
        self, list_name: str, whose: str, window: Window, read: Read[R], most: int
    ) -> tuple[list[R], bytes, str]:
        """A page of rows, the cursor behind which it began (empty: from the start), and the token of the next
        page.

        Raises Degraded BAD_REQUEST, BAD_PAGE_TOKEN.
        """
        if window.from_ms > TIME_MAX_MS or window.to_ms >= TIME_MAX_MS:
            raise Degraded(NodeError.BAD_REQUEST, reason="a time is out of range")
        if "\0" in whose or not whose:
            raise Degraded(NodeError.BAD_REQUEST, reason="no account and no member has this id")
        bound = (list_name, whose, window.from_ms, window.to_ms, window.reverse)
        after = self._pages.cursor(window.page_token, b"", *bound)
        if len(after) not in (0, CURSOR_BYTES):
            raise Degraded(NodeError.BAD_PAGE_TOKEN)
        size = page_size(window.page_size, most)
        before_ms = window.to_ms + 1 if window.to_ms else None
        rows = read(
            whose,
            after=after,
            since_ms=window.from_ms,
            before_ms=before_ms,
            limit=size,
            reverse=window.reverse,
        )
        token = self._pages.token(rows[-1].cursor, *bound) if len(rows) == size else ""
        return rows, after, token


def place_of(cursor: bytes) -> tuple[int, int, int]:
    """(time in ms, height, index) of the transaction that a cursor of the index points at."""
    return (
        int.from_bytes(cursor[:8], "big"),
        int.from_bytes(cursor[8:16], "big"),
        int.from_bytes(cursor[16:20], "big"),
    )
