"""The block log: the truth from which everything else on disk can be rebuilt.

A block is appended by one synced batch, its commit point. Header, leaves, bodies, receipts and writes have
keys of their own, in chunks of CHUNK items, so that one receipt is cheap to read and bodies can be dropped
alone. The header counts what belongs to the block: a chunk that is not there is damage, never an absent
value. Blocks are numbered from 0 without gaps (their position); heights may skip.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import plyvel

from node.ledger.codec import encode, trusted_decoder
from node.ledger.hashing import HEADER, Suite
from node.ledger.merkle import Node
from node.ledger.types import BlockRecord, Count, Header, Height, Record, Write
from node.storage import layout
from node.storage.database import MIB, Database, open_database, rows_of, sync_directory, translate, translated
from node.storage.errors import StorageCode, StorageError

CHUNK: Final = 64
HEIGHT_BYTES: Final = 8
CHECKED_ON_OPEN: Final = 10_000
DELETIONS_A_BATCH: Final = 10_000


class Base(Record, frozen=True):
    """Where a log begins that does not reach genesis.

    first: number of the first block whose header is here; of that nothing else is. The blocks after it up to
    and with number ``position`` have headers and leaves; those above are whole.
    """

    first: int
    first_height: int
    position: int
    height: int


class StoredHeader(Record, frozen=True):
    """What the log keeps under a block's header key. The counts are of items, whether or not bodies were
    dropped since.
    """

    position: Height
    height: Height
    time_ms: Height
    app_hash: bytes
    header: bytes
    certificate: bytes
    leaves: Count
    bodies: Count
    receipts: Count
    writes: Count
    history: tuple[tuple[int, int, bytes], ...]

    def record(self) -> BlockRecord:
        """The block without leaves, bodies, receipts and writes."""
        return BlockRecord(
            self.height, self.time_ms, self.app_hash, self.header, certificate=self.certificate
        )


_decode_header: Final = trusted_decoder(StoredHeader)
_decode_base: Final = trusted_decoder(Base)
_decode_items: Final[Callable[[bytes], tuple[bytes, ...]]] = trusted_decoder(tuple[bytes, ...])
_decode_writes: Final[Callable[[bytes], tuple[Write, ...]]] = trusted_decoder(tuple[Write, ...])
_decode_block_header: Final = trusted_decoder(Header)


class LogReader:
    """Blocks of the log, read from ``source``: the database itself, or a snapshot of it that later blocks
    do not move.
    """

    def __init__(self, source: Database, path: Path) -> None:
        self._source = source
        self._path = path
        found = self._get(layout.BASE)
        self.base: Base | None = None if found is None else self._decoded(_decode_base, found)

    @property
    def first_position(self) -> int:
        """Number of the first block that is whole; 0 where the log reaches genesis."""
        return self.base.position + 1 if self.base else 0

    @property
    def first_header(self) -> int:
        """Number of the first block whose header is here."""
        return self.base.first if self.base else 0

    @property
    def header_count(self) -> int:
        """How many blocks there are."""
        for key, _ in self._iterate(layout.POSITION, reverse=True):
            if len(key) != layout.POSITION_KEY_BYTES:
                raise self._damage("the number of a block is none")
            return int.from_bytes(key[1:], "big") + 1
        return 0

    def genesis(self) -> bytes | None:
        """The genesis document's bytes, once set."""
        return self._get(layout.GENESIS)

    def head(self) -> StoredHeader | None:
        """The last block's header."""
        count = self.header_count
        return self.header_at(count - 1) if count else None

    def height_at(self, position: int) -> int | None:
        """The height of block number ``position``, counted from 0; None beyond the last."""
        found = self._get(layout.position_key(position))
        if found is not None and len(found) != HEIGHT_BYTES:
            raise self._damage(f"the height of block number {position} is none")
        return None if found is None else int.from_bytes(found, "big")

    def header_at(self, position: int) -> StoredHeader:
        """The header of block number ``position``. Raises StorageError LOG_DAMAGED where it should be and
        is not.
        """
        if position < self.first_header:
            raise StorageError(StorageCode.PRUNED, block=position, kept_from=self.first_header)
        height = self.height_at(position)
        found = None if height is None else self.stored_header(height)
        if found is None or found.position != position:
            if position < self.first_header:  # it went while it was read
                raise StorageError(StorageCode.PRUNED, block=position, kept_from=self.first_header)
            raise self._damage(f"block number {position} is missing")
        return found

    def stored_header(self, height: int) -> StoredHeader | None:
        """The header at ``height``, or None where no block has that height. Raises StorageError PRUNED."""
        base = self.base
        if base and height < base.first_height:
            raise StorageError(StorageCode.PRUNED, height=height, kept_from=base.first_height)
        found = self._get(layout.block_key(height, layout.HEADER))
        return None if found is None else self._decoded(_decode_header, found)

    def position_from(self, height: int) -> int | None:
        """The number of the first block at or above ``height``; None where there is none. Raises StorageError
        PRUNED where blocks there are no longer kept.
        """
        if self.base and height < self.base.first_height:
            raise StorageError(StorageCode.PRUNED, height=height, kept_from=self.base.first_height)
        for key, _ in self._iterate(layout.BLOCK, layout.block_key(height, b"")):
            header = self.stored_header(layout.block_height(key))
            if header is None:
                raise self._damage(f"the header at height {layout.block_height(key)} is missing")
            return header.position
        return None

    def stored_headers(self, start: int, stop: int) -> Iterator[StoredHeader]:
        """Headers of the blocks numbered ``start`` to ``stop`` - 1."""
        for position in range(start, stop):
            yield self.header_at(position)

    def headers(self, first: int, limit: int) -> list[BlockRecord]:
        """At most ``limit`` blocks from height ``first`` on, each without leaves, bodies, receipts and
        writes.
        """
        start = self.position_from(first)
        if start is None:
            return []
        return [
            header.record() for header in self.stored_headers(start, min(start + limit, self.header_count))
        ]

    def block(self, height: int) -> BlockRecord | None:
        """The whole block at ``height``, or None. Its ``bodies`` are empty where they were dropped;
        ``tree`` and ``spent`` follow from the rest and are empty.
        """
        header = self._whole(height)
        return None if header is None else self._block(header, bodies=True)

    def blocks(self, first: int = 0, last: int | None = None) -> Iterator[BlockRecord]:
        """Whole blocks from height ``first`` to ``last``, both inclusive; to the end where ``last`` is
        None.
        """
        self._require_whole(first)
        start = self.position_from(first)
        for header in self.stored_headers(start, self.header_count) if start is not None else ():
            if last is not None and header.height > last:
                return
            yield self._block(header, bodies=True)

    def block_at(self, position: int) -> BlockRecord:
        """The whole block number ``position``, as ``block`` gives it. Raises StorageError LOG_DAMAGED where
        there is none.
        """
        return self._block(self.header_at(position), bodies=True)

    def replayed(self, start: int, stop: int) -> Iterator[BlockRecord]:
        """The blocks numbered ``start`` to ``stop`` - 1, without bodies; of those that are not whole headers
        and leaves.
        """
        for header in self.stored_headers(start, stop):
            yield (
                self._block(header, bodies=False)
                if header.position >= self.first_position
                else self.unwhole(header)
            )

    def unwhole(self, header: StoredHeader) -> BlockRecord:
        """A block with its leaves and nothing else; the very first header that is kept has not even those."""
        leaves = () if self.base and header.position <= self.base.first else self._leaves(header)
        record = header.record()
        return BlockRecord(record.height, record.time_ms, record.app_hash, record.header, leaves=leaves)

    def leaves(self, height: int) -> tuple[bytes, ...] | None:
        """All leaves of the block at ``height``; None where no block has that height."""
        header = self.stored_header(height)
        self._require_kept(height, layout.LEAVES)
        return None if header is None else self._leaves(header)

    def receipts(self, height: int) -> tuple[bytes, ...] | None:
        """All receipts of the block at ``height``; None where no block has that height."""
        header = self._whole(height)
        return None if header is None else self._items(header, layout.RECEIPTS, header.receipts)

    def receipt(self, height: int, index: int) -> bytes | None:
        """One receipt, or None where the block or the index does not exist."""
        header = self._whole(height)
        if header is None or not 0 <= index < header.receipts:
            return None
        found = self._get(layout.block_key(height, layout.RECEIPTS, index // CHUNK))
        receipts: tuple[bytes, ...] = () if found is None else self._decoded(_decode_items, found)
        if index % CHUNK >= len(receipts):
            self._require_whole(height)  # it may have gone while it was read
            raise self._damage(f"receipt {index} of block {height} is missing")
        return receipts[index % CHUNK]

    def body(self, height: int, index: int) -> bytes | None:
        """One signed transaction's bytes, or None where block or index does not exist or bodies were
        dropped. Raises StorageError PRUNED where the whole block was.
        """
        self._require_whole(height)
        found = self._get(layout.block_key(height, layout.BODIES, index // CHUNK)) if index >= 0 else None
        chunk: tuple[bytes, ...] = () if found is None else self._decoded(_decode_items, found)
        return chunk[index % CHUNK] if index % CHUNK < len(chunk) else None

    def history_node(self, level: int, index: int) -> bytes | None:
        """A complete node of the history tree, or None."""
        return self._get(layout.history_key(level, index))

    def app_hash_of(self, position: int) -> bytes:
        """The app hash of header number ``position``; below the first that is kept, of one that begins a peak
        of the history tree.
        """
        found = self._get(layout.edge_key(position))
        return self.header_at(position).app_hash if found is None else found

    def check_chain(self, suite: Suite, start: int, stop: int) -> None:
        """Check that each header of blocks ``start`` to ``stop`` - 1 hashes to its app hash and links to
        the block before.

        Raises StorageError LOG_DAMAGED. Cost: about 15 microseconds a header.
        """
        start = max(start, self.first_header)
        previous = self.header_at(start - 1).app_hash if start > self.first_header else None
        for stored in self.stored_headers(start, stop):
            header = self._decoded(_decode_block_header, stored.header)
            if suite.digest(HEADER + stored.header) != stored.app_hash or header.height != stored.height:
                raise self._damage(f"the header at height {stored.height} is not the one that was committed")
            if previous is not None and header.previous_app_hash != previous:
                raise self._damage(f"the header at height {stored.height} does not follow the one before it")
            previous = stored.app_hash

    def _block(self, header: StoredHeader, *, bodies: bool) -> BlockRecord:
        return BlockRecord(
            header.height,
            header.time_ms,
            header.app_hash,
            header.header,
            leaves=self._leaves(header),
            bodies=self._bodies(header) if bodies else (),
            receipts=self._items(header, layout.RECEIPTS, header.receipts),
            writes=self._items(header, layout.WRITES, header.writes, _decode_writes),
            history=header.history,
            certificate=header.certificate,
        )

    def _require_whole(self, height: int) -> None:
        """Raises StorageError PRUNED for a height at or below the base."""
        if self.base and height <= self.base.height:
            raise StorageError(StorageCode.PRUNED, height=height, kept_from=self.base.height + 1)

    def _require_kept(self, height: int, kind: bytes) -> None:
        """Raises StorageError PRUNED where the base leaves out this part of a block."""
        if kind != layout.LEAVES:
            self._require_whole(height)
        elif self.base and height <= self.base.first_height:
            raise StorageError(StorageCode.PRUNED, height=height, kept_from=self.base.height + 1)

    def _whole(self, height: int) -> StoredHeader | None:
        """The header of a block that is whole, or None. Raises StorageError PRUNED."""
        self._require_whole(height)
        return self.stored_header(height)

    def _leaves(self, header: StoredHeader) -> tuple[bytes, ...]:
        leaves: tuple[bytes, ...] = self._items(header, layout.LEAVES, header.leaves)
        return leaves

    def _bodies(self, header: StoredHeader) -> tuple[bytes, ...]:
        found = self._chunks(header.height, layout.BODIES, _decode_items)
        if found and len(found) != header.bodies:
            raise self._damage(f"bodies of block {header.height} are missing")
        return found

    def _items(
        self, header: StoredHeader, kind: bytes, count: int, decode: Callable[[bytes], Any] = _decode_items
    ) -> Any:
        found = self._chunks(header.height, kind, decode) if count else ()
        if len(found) != count:
            self._require_kept(header.height, kind)  # it may have gone while it was read
            raise self._damage(f"a part of block {header.height} is missing")
        return found

    def _chunks(
        self, height: int, kind: bytes, decode: Callable[[bytes], tuple[Any, ...]]
    ) -> tuple[Any, ...]:
        prefix = layout.block_key(height, kind)[:-4]
        return tuple(item for _, chunk in self._iterate(prefix) for item in self._decoded(decode, chunk))

    def _get(self, key: bytes) -> bytes | None:
        try:
            found: bytes | None = self._source.get(key, verify_checksums=True)
        except (plyvel.Error, RuntimeError) as error:
            raise translate(error, StorageCode.LOG_DAMAGED, self._path) from error
        return found

    def _iterate(
        self, prefix: bytes, start: bytes = b"", *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        try:
            yield from rows_of(
                self._source, start or prefix, layout.successor(prefix) or b"", reverse=reverse
            )
        except (plyvel.Error, RuntimeError) as error:
            raise translate(error, StorageCode.LOG_DAMAGED, self._path) from error

    def _decoded(self, decode: Callable[[bytes], Any], data: bytes) -> Any:
        try:
            return decode(data)
        except msgspec.MsgspecError as error:
            raise self._damage(f"a record does not decode: {error}") from error

    def _damage(self, cause: str) -> StorageError:
        return StorageError(StorageCode.LOG_DAMAGED, path=str(self._path), cause=cause)


class BlockLog(LogReader):
    """The log's database, open for appending. One thread appends; any thread reads."""

    def __init__(self, path: Path, *, create: bool, cache_bytes: int, write_buffer_bytes: int) -> None:
        """Open the log at ``path``, or create it."""
        database = open_database(
            path,
            StorageCode.LOG_DAMAGED,
            create=create,
            cache_bytes=cache_bytes,
            write_buffer_bytes=write_buffer_bytes,
            file_bytes=8 * MIB,
        )
        super().__init__(database, path)
        if create:
            sync_directory(path.parent)

    def append(self, record: BlockRecord, position: int, *, synced: bool = True) -> None:
        """Write a block in one batch. Raises as ``write``."""
        self.write(self.prepared(record, position, synced=synced))

    def prepared(self, record: BlockRecord, position: int, *, synced: bool = True) -> Any:
        """The batch that appends a block, for ``write``; any thread may make it."""
        batch = self._source.write_batch(sync=synced)
        put, height = batch.put, record.height
        stored = StoredHeader(
            position=position,
            height=height,
            time_ms=record.time_ms,
            app_hash=record.app_hash,
            header=record.header,
            certificate=record.certificate,
            leaves=len(record.leaves),
            bodies=len(record.bodies),
            receipts=len(record.receipts),
            writes=len(record.writes),
            history=record.history,
        )
        put(layout.block_key(height, layout.HEADER), encode(stored))
        put(layout.position_key(position), height.to_bytes(8, "big"))
        for level, index, node in record.history:
            put(layout.history_key(level, index), node)
        kinds: tuple[tuple[bytes, Sequence[Any]], ...] = (
            (layout.LEAVES, record.leaves),
            (layout.BODIES, record.bodies),
            (layout.RECEIPTS, record.receipts),
            (layout.WRITES, record.writes),
        )
        for kind, items in kinds:
            for start in range(0, len(items), CHUNK):
                put(layout.block_key(height, kind, start // CHUNK), encode(items[start : start + CHUNK]))
        return batch

    def set_genesis(self, document: bytes) -> None:
        """Keep the genesis document's bytes."""
        batch = self._source.write_batch(sync=True)
        batch.put(layout.GENESIS, document)
        self.write(batch)

    def begin_at(self, base: Base, edges: Iterable[tuple[int, bytes]], history: Iterable[Node] = ()) -> None:
        """Begin the log above ``base``, its new commit point; what is then too much is deleted by
        ``finish_pruning``, at the next opening if need be.

        edges: of the peaks of the history of ``base.position`` headers, number and app hash of the first.
        """
        batch = self._source.write_batch(sync=True)
        for position, app_hash in edges:
            batch.put(layout.edge_key(position), app_hash)
        for level, index, node in history:
            batch.put(layout.history_key(level, index), node)
        batch.put(layout.BASE, encode(base))
        batch.put(layout.PRUNING, b"")
        self.write(batch)
        self.base = base

    def finish_pruning(self) -> None:
        """Delete what is below the base, if ``begin_at`` left that to be done. Repeatable."""
        base = self.base
        if base is None or self._get(layout.PRUNING) is None:
            return
        with translated(StorageCode.LOG_DAMAGED, self._path):
            batch = self._source.write_batch()
            for count, key in enumerate(self._surplus(base), 1):
                batch.delete(key)
                if count % DELETIONS_A_BATCH == 0:
                    batch.write()
                    batch = self._source.write_batch()
            batch.write()
            end = layout.block_key(base.height + 1, b"")
            self._source.compact_range(start=layout.block_key(0, b""), stop=end)
        last = self._source.write_batch(sync=True)
        last.delete(layout.PRUNING)
        self.write(last)

    def _surplus(self, base: Base) -> Iterator[bytes]:
        """Keys of what a log with this base does not hold. Raises errors of LevelDB: a block that were read
        unchecked would be answered from the cache later.
        """
        for key, _ in rows_of(self._source, layout.block_key(0, b""), layout.block_key(base.height + 1, b"")):
            height, kind = layout.block_height(key), key[9:10]
            kept = (layout.HEADER, layout.LEAVES) if height > base.first_height else (layout.HEADER,)
            if height < base.first_height or kind not in kept:
                yield key
        for key, _ in rows_of(self._source, layout.position_key(0), layout.position_key(base.first)):
            yield key

    def drop_bodies(self, height: int) -> None:
        """Delete the bodies of one block; all else of it stays."""
        batch = self._source.write_batch(sync=True)
        prefix = layout.block_key(height, layout.BODIES)[:-4]
        for key, _ in self._iterate(prefix):
            batch.delete(key)
        self.write(batch)

    def snapshot(self) -> LogReader:
        """The log as it is now."""
        return LogReader(self._source.snapshot(), self._path)

    def close(self) -> None:
        """Close the database."""
        self._source.close()

    def write(self, batch: Any) -> None:
        """Write a batch. Raises StorageError; after that nothing more may be written until the log is opened
        anew.
        """
        try:
            batch.write()
        except (plyvel.Error, RuntimeError) as error:
            raise translate(error, StorageCode.LOG_DAMAGED, self._path) from error
