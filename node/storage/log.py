"""The block log: the truth from which everything else on disk can be rebuilt.

A block is appended by one synced batch, its commit point. Header, leaves, bodies, receipts and writes have
keys of their own, in chunks of CHUNK items, so that one receipt is cheap to read and bodies can be dropped
alone. The header counts what belongs to the block: a chunk that is not there is damage, never an absent
value. Blocks are numbered from 0 without gaps (their position); heights may skip.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import plyvel

from node.ledger.codec import encode, trusted_decoder
from node.ledger.hashing import HEADER, Suite
from node.ledger.types import BlockRecord, Count, Header, Height, Record, Write
from node.storage import layout
from node.storage.database import MIB, Database, open_database, rows_of, sync_directory, translate
from node.storage.errors import StorageCode, StorageError

CHUNK: Final = 64
HEIGHT_BYTES: Final = 8
CHECKED_ON_OPEN: Final = 10_000


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
        height = self.height_at(position)
        found = None if height is None else self.stored_header(height)
        if found is None or found.position != position:
            raise self._damage(f"block number {position} is missing")
        return found

    def stored_header(self, height: int) -> StoredHeader | None:
        """The header at ``height``, or None where no block has that height."""
        found = self._get(layout.block_key(height, layout.HEADER))
        return None if found is None else self._decoded(_decode_header, found)

    def position_from(self, height: int) -> int | None:
        """The number of the first block at or above ``height``; None where there is none."""
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
        header = self.stored_header(height)
        return None if header is None else self._block(header, bodies=True)

    def blocks(self, first: int = 0, last: int | None = None) -> Iterator[BlockRecord]:
        """Whole blocks from height ``first`` to ``last``, both inclusive; to the end where ``last`` is
        None.
        """
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
        """The blocks numbered ``start`` to ``stop`` - 1, without bodies."""
        for header in self.stored_headers(start, stop):
            yield self._block(header, bodies=False)

    def leaves(self, height: int) -> tuple[bytes, ...] | None:
        """All leaves of the block at ``height``; None where no block has that height."""
        header = self.stored_header(height)
        return None if header is None else self._items(header, layout.LEAVES, header.leaves)

    def receipts(self, height: int) -> tuple[bytes, ...] | None:
        """All receipts of the block at ``height``; None where no block has that height."""
        header = self.stored_header(height)
        return None if header is None else self._items(header, layout.RECEIPTS, header.receipts)

    def receipt(self, height: int, index: int) -> bytes | None:
        """One receipt, or None where the block or the index does not exist."""
        header = self.stored_header(height)
        if header is None or not 0 <= index < header.receipts:
            return None
        found = self._get(layout.block_key(height, layout.RECEIPTS, index // CHUNK))
        receipts: tuple[bytes, ...] = () if found is None else self._decoded(_decode_items, found)
        if index % CHUNK >= len(receipts):
            raise self._damage(f"receipt {index} of block {height} is missing")
        return receipts[index % CHUNK]

    def body(self, height: int, index: int) -> bytes | None:
        """One signed transaction's bytes, or None where block or index does not exist or bodies were
        dropped.
        """
        found = self._get(layout.block_key(height, layout.BODIES, index // CHUNK)) if index >= 0 else None
        chunk: tuple[bytes, ...] = () if found is None else self._decoded(_decode_items, found)
        return chunk[index % CHUNK] if index % CHUNK < len(chunk) else None

    def history_node(self, level: int, index: int) -> bytes | None:
        """A complete node of the history tree, or None."""
        return self._get(layout.history_key(level, index))

    def check_chain(self, suite: Suite, start: int, stop: int) -> None:
        """Check that each header of blocks ``start`` to ``stop`` - 1 hashes to its app hash and links to
        the block before.

        Raises StorageError LOG_DAMAGED. Cost: about 15 microseconds a header.
        """
        previous = self.header_at(start - 1).app_hash if start > 0 else None
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
            leaves=self._items(header, layout.LEAVES, header.leaves),
            bodies=self._bodies(header) if bodies else (),
            receipts=self._items(header, layout.RECEIPTS, header.receipts),
            writes=self._items(header, layout.WRITES, header.writes, _decode_writes),
            history=header.history,
            certificate=header.certificate,
        )

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
