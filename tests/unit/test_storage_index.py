"""The index: pages by time, positions by id, behind the head and rebuilt from the log."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import plyvel
import pytest

from node.ledger.codec import encode
from node.ledger.hashing import INTERNATIONAL, ZERO_HASH
from node.ledger.types import BlockRecord, Event, Leaf, Receipt
from node.services.history import History
from node.services.paging import Pages
from node.storage.database import mark_suspect
from node.storage.errors import StorageCode, StorageError
from node.storage.index import Index, Movement
from node.storage.memory import MemoryStore
from tests.storage_blocks import GENESIS_MS

MOVES = 5


def movements(event: Event) -> Iterator[Movement]:
    """An event named "moved" debits one account and credits another; others move nothing."""
    if event.event == "moved":
        source, destination, amount = event.fields.decode().split()
        yield Movement(source, "CZK", -int(amount), "sent", destination, "ref")
        yield Movement(destination, "CZK", int(amount), "received", source, "ref")


def block(height: int, moves: list[bytes], time_ms: int | None = None) -> BlockRecord:
    """A block in which each move is one transaction, after a system receipt."""
    leaves = [Leaf(ZERO_HASH, "", bytes(16), ZERO_HASH)]
    leaves += [
        Leaf(_tx_id(height, index), "ALFA", bytes(16), ZERO_HASH) for index in range(1, len(moves) + 1)
    ]
    events = [(), *((Event("transfers", "moved", move), Event("transfers", "other", b"")) for move in moves)]
    receipts = [Receipt(1, leaf.tx_id, height, at, "", 0, 0, events[at]) for at, leaf in enumerate(leaves)]
    return BlockRecord(
        height,
        time_ms or GENESIS_MS + height * 1_000,
        ZERO_HASH,
        b"",
        leaves=tuple(map(encode, leaves)),
        bodies=tuple(b"" for _ in leaves),
        receipts=tuple(map(encode, receipts)),
    )


def _tx_id(height: int, index: int) -> bytes:
    return INTERNATIONAL.digest(b"%d %d" % (height, index))


@pytest.fixture
def store() -> MemoryStore:
    made = MemoryStore()
    for height in range(2, 42, 2):
        made.stage(block(height, [b"ALFA/1 BETA/1 %d" % (height * 10 + at) for at in range(MOVES)]))
    made.sync()
    return made


@pytest.fixture
def index(store: MemoryStore, tmp_path: Path) -> Iterator[Index]:
    made = Index(tmp_path / "index", movements, blocks=store.durable_count)
    while made.advance(store, blocks_max=3):
        pass
    yield made
    made.close()


def test_it_follows_the_log_and_says_how_far_it_is(store: MemoryStore, tmp_path: Path) -> None:
    index = Index(tmp_path / "index", movements, blocks=20)
    assert (index.position, index.height) == (0, 0)
    assert index.advance(store, blocks_max=3) == 3
    assert (index.position, index.height) == (3, 6)
    index.close()
    index = Index(tmp_path / "index", movements, blocks=20)
    assert (index.position, index.height) == (3, 6)
    assert [index.advance(store, blocks_max=16), index.advance(store)] == [16, 1]
    assert index.is_whole
    assert index.advance(store) == 0
    assert index.height == 40
    store.stage(block(50, []))
    assert index.advance(store) == 0
    store.sync()
    assert index.advance(store) == 1
    assert index.height == 50
    index.close()


def test_a_transaction_is_found_by_its_id(index: Index) -> None:
    found = index.transaction(_tx_id(8, 3))
    assert found is not None
    assert (found.height, found.index) == (8, 3)
    assert index.transaction(_tx_id(8, MOVES + 1)) is None
    assert index.transaction(ZERO_HASH) is None


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("limit", [1, 7, 1_000])
def test_pages_are_complete_ordered_and_without_overlap(index: Index, limit: int, reverse: bool) -> None:
    amounts, after = [], b""
    while page := index.movements("BETA/1", after=after, limit=limit, reverse=reverse):
        assert len(page) <= limit
        amounts += [row.movement.amount for row in page]
        after = page[-1].cursor
    expected = [height * 10 + at for height in range(2, 42, 2) for at in range(MOVES)]
    assert amounts == (expected[::-1] if reverse else expected)


def test_pages_keep_to_their_time_and_account(index: Index) -> None:
    rows = index.movements("ALFA/1", since_ms=GENESIS_MS + 8_000, before_ms=GENESIS_MS + 12_000)
    assert {row.height for row in rows} == {8, 10}
    assert {row.time_ms for row in rows} == {GENESIS_MS + 8_000, GENESIS_MS + 10_000}
    assert rows[0].movement == Movement("ALFA/1", "CZK", -80, "sent", "BETA/1", "ref")
    assert (rows[0].index, rows[-1].index) == (1, MOVES)
    assert index.movements("ALFA/1", since_ms=GENESIS_MS + 100_000) == []
    assert index.movements("ALFA/") == []
    assert index.movements("ALFA/11") == []


def test_a_members_transactions_are_listed_by_time(index: Index) -> None:
    rows = index.transactions("ALFA", limit=MOVES + 1)
    assert [(row.height, row.index) for row in rows] == [*((2, at) for at in range(1, MOVES + 1)), (4, 1)]
    assert rows[0].tx_id == _tx_id(2, 1)
    last = index.transactions("ALFA", limit=1, reverse=True)[0]
    assert (last.height, last.index) == (40, MOVES)
    assert index.transactions("ALFA", after=last.cursor) == []
    assert index.transactions("", limit=5) == []


@pytest.mark.parametrize("how", ["gone", "suspect", "torn", "ahead"])
def test_a_lost_damaged_or_foreign_index_is_built_again(store: MemoryStore, tmp_path: Path, how: str) -> None:
    path = tmp_path / "index"
    index = Index(path, movements, blocks=20)
    index.advance(store)
    index.close()
    if how == "gone":
        shutil.rmtree(path)
    elif how == "suspect":
        mark_suspect(path)
    elif how == "torn":
        (path / "CURRENT").write_bytes(b"")
    index = Index(path, movements, blocks=5 if how == "ahead" else 20)
    assert index.position == 0
    index.advance(store)
    assert len(index.movements("BETA/1")) == 20 * MOVES
    index.close()
    index = Index(path, movements, blocks=20)
    assert index.position == 20
    index.close()


class Merging:
    """A LevelDB that met damage while it merged tables: from then on it reads and takes no write."""

    def __init__(self, db: Any) -> None:
        self._db = db

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)

    def write_batch(self, **_: Any) -> Any:
        raise plyvel.CorruptionError(b"Corruption: block checksum mismatch")


def test_damage_that_a_write_is_told_of_is_mended_by_the_next_open(
    store: MemoryStore, tmp_path: Path
) -> None:
    path = tmp_path / "index"
    index = Index(path, movements, blocks=20)
    index.advance(store, blocks_max=3)
    part: Any = index._part
    part.db = Merging(part.db)
    with pytest.raises(StorageError) as told:
        index.advance(store)
    assert told.value.error is StorageCode.INDEX_DAMAGED
    index.close()
    index = Index(path, movements, blocks=20)
    assert index.position == 0
    index.close()


def test_an_index_of_a_node_that_has_no_block_yet_speaks_up_to_height_0(tmp_path: Path) -> None:
    store = MemoryStore()
    index = Index(tmp_path / "index", lambda _: iter(()), blocks=0)
    try:
        blocks: Any = store
        history = History(index, blocks, Pages(bytes(32)))
        assert history.height() == 0
    finally:
        index.close()
