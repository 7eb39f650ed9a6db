"""What the node has published: the state after its last durable block, and the pages of the contracts'
queries over it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from node.engine.errors import Degraded, NodeError
from node.ledger import codec
from node.ledger.hashing import HASH_BYTES
from node.ledger.ledger import Ledger
from node.services.paging import Pages, page_size
from node.services.ports import Blocks

QUERY_PAGE_MAX = 100
"""Rows that a contract's list answers at once."""

R = TypeVar("R")


class Stand(NamedTuple):
    """The last durable block: its height, and its time in ms since 1970."""

    height: int
    time_ms: int


class Published:
    """Reads the published state. Called on the event loop's thread, but for ``still``."""

    def __init__(self, ledger: Ledger, blocks: Blocks) -> None:
        self._ledger = ledger
        self._blocks = blocks
        self._stand = Stand(-1, 0)
        self.pages = Pages(ledger.chain.chain_id)

    def stand(self) -> Stand:
        """The block after which a read made now speaks."""
        return self._stand_at(self._ledger.view.reader.height)

    def ask(self, contract: str, query: str, *arguments: Any) -> Any:
        """A contract's answer. Raises Rejected, and Degraded STARTING where the chain has not begun here: a
        node that takes a snapshot in has nothing yet that a contract counts on.
        """
        self._check_begun()
        return self._ledger.query(contract, query, codec.encode(arguments))

    def still(self, contract: str, query: str) -> tuple[Stand, Callable[..., Any]]:
        """``ask`` for one query over one block's state, for whoever asks much in a thread; and that block.
        Raises Degraded STARTING, Rejected UNKNOWN_METHOD.
        """
        self._check_begun()
        height, ask = self._ledger.still(contract, query)
        return self._stand_at(height), lambda *arguments: ask(codec.encode(arguments))

    def page(
        self,
        query: tuple[str, str],
        leading: tuple[Any, ...],
        start: R,
        after: Callable[[Any], R],
        size: int,
        token: str,
    ) -> tuple[list[Any], str]:
        """A page of a contract's list, and the token of the next.

        query: contract and name; its last argument is the position behind which to go on. leading: its other
        arguments. after: the position of a row. Raises Rejected, Degraded BAD_PAGE_TOKEN.
        """
        position = self.pages.cursor(token, start, *query, *leading)  # type: ignore[type-var]
        rows = self.ask(*query, *leading, position)
        size = page_size(size, QUERY_PAGE_MAX)
        shown = list(rows[:size])
        more = len(rows) > size or len(rows) == QUERY_PAGE_MAX
        return shown, self.pages.token(after(shown[-1]), *query, *leading) if more else ""  # type: ignore[arg-type]

    def _check_begun(self) -> None:
        if not any(self._ledger.info().app_hash):
            raise Degraded(NodeError.STARTING)

    def _stand_at(self, height: int) -> Stand:
        stand = self._stand
        if height != stand.height:
            found = self._blocks.headers(height, 1)
            stand = self._stand = Stand(height, found[0].time_ms if found else self._ledger.genesis.time_ms)
        return stand


def checked_id(tx_id: bytes) -> bytes:
    """A transaction id as it came. Raises Degraded BAD_REQUEST where it can be none."""
    if len(tx_id) != HASH_BYTES or not any(tx_id):
        raise Degraded(NodeError.BAD_REQUEST, reason=f"a transaction id is {HASH_BYTES} bytes, not all zero")
    return tx_id
