"""``vostro blocks compare``: the first header in which two nodes differ, and in which of its roots.

A header commits to all before it, so one that is the same on both nodes proves everything below it the same:
the first that differs is found by bisection, with some twenty questions for a million blocks.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple, Protocol

from node.client import BlockingClient, Head
from node.config import NodeConfig
from node.ledger import codec
from node.ledger.types import BlockRecord, Header

ROOTS: Final = {
    "transactions_root": "transactions root",
    "receipts_root": "receipts root",
    "state_root": "state root",
    "authority_root": "authority root",
    "history_root": "history root",
}
OTHERS: Final = {
    "previous_app_hash": "previous app hash",
    "time_ms": "time",
    "protocol": "protocol",
    "transaction_count": "transaction count",
}


class Headers(Protocol):
    """A node's headers."""

    @property
    def height(self) -> int:
        """The last one's."""

    def headers(self, first: int, limit: int) -> Sequence[Head]:
        """At most ``limit`` from height ``first`` on, ascending."""


class Difference(NamedTuple):
    """height: the first that differs. mine, theirs: the headers there; None where that node's block was
    quiet. roots: the names of what differs, roots first.
    """

    height: int
    mine: Head | None
    theirs: Head | None
    roots: tuple[str, ...]


class NodeHeaders:
    """A running node's."""

    def __init__(self, client: BlockingClient) -> None:
        self._client = client
        self.height = client.status().height

    def headers(self, first: int, limit: int) -> list[Head]:
        """As Headers."""
        return self._client.headers(first, limit)


class Store(Protocol):
    """The durable blocks of a data directory."""

    @property
    def durable_count(self) -> int:
        """How many there are."""

    def height_at(self, position: int) -> int | None:
        """The height of block number ``position``."""

    def headers(self, first: int, limit: int) -> Sequence[BlockRecord]:
        """At most ``limit`` from height ``first`` on."""


class KeptHeaders:
    """Those in a data directory."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.height = store.height_at(store.durable_count - 1) or 0

    def headers(self, first: int, limit: int) -> list[Head]:
        """As Headers."""
        return [_head(record) for record in self._store.headers(first, limit)]


@contextmanager
def kept_headers(config: NodeConfig) -> Iterator[KeptHeaders]:
    """The headers of a node that is stopped. Raises GenesisRefused, StorageError."""
    from node.genesis_file import load_genesis
    from node.ledger.genesis import suite_of
    from node.storage.sharded import ShardedStore

    genesis = load_genesis(config.genesis)
    store = ShardedStore.open(config.data_dir, suite_of(genesis), lifetime_ms=genesis.limits.lifetime_ms)
    try:
        yield KeptHeaders(store)
    finally:
        store.close()


def first_difference(mine: Headers, theirs: Headers) -> Difference | None:
    """None: the same headers up to the lower of both heads."""
    last = min(mine.height, theirs.height)
    if _agree(mine, theirs, last):
        return None
    low, high = 0, last  # everything below ``low`` agrees; from ``high`` on it does not
    while low < high:
        middle = (low + high) // 2
        if _agree(mine, theirs, middle):
            low = middle + 1
        else:
            high = middle
    one, other = _from(mine, high), _from(theirs, high)
    height = min([header.height for header in (one, other) if header])
    one, other = (header if header and header.height == height else None for header in (one, other))
    names = {**ROOTS, **OTHERS}
    differ = (
        tuple([told for field, told in names.items() if getattr(one, field) != getattr(other, field)])
        if one and other
        else ()
    )
    return Difference(height, one, other, differ)


def _agree(mine: Headers, theirs: Headers, height: int) -> bool:
    """Whether the first headers from a height on are the same: then so is everything up to them."""
    one, other = _from(mine, height), _from(theirs, height)
    return one is not None and other is not None and one.app_hash == other.app_hash


def _from(node: Headers, height: int) -> Head | None:
    return next(iter(node.headers(height, 1)), None)


def _head(record: BlockRecord) -> Head:
    header = _decode_header(record.header)
    return Head(
        header.height,
        header.time_ms,
        record.app_hash,
        header.previous_app_hash,
        header.history_root,
        header.transaction_count,
        header.transactions_root,
        header.receipts_root,
        header.state_root,
        header.authority_root,
        header.protocol,
        record.certificate,
        record.header,
    )


_decode_header: Final[Callable[[bytes], Header]] = codec.trusted_decoder(Header)
