"""Backups: the whole block log in one stream, taken while the node runs, checked without a node, restored
into a new directory.

    MAGIC, then frames: length (4 bytes, big-endian) || CRC-32 of the content (4) || content
    the content's first byte is its kind:
    g   the genesis document                        first
    s   a chunk of a snapshot, in order             where the log does not reach genesis; blocks follow on it
    b   a block (BackupBlock), in order             one each; bodies are empty where they were dropped
    e   (blocks, app hash of the last, SHA-256 of all bytes before this frame)      last

A stream that is cut short or altered is refused with the offset of the frame; nothing restored from it
counts as a data directory.
"""

import hashlib
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from node.ledger.codec import NotCanonical, decoder, encode
from node.ledger.genesis import decode_genesis, suite_of
from node.ledger.hashing import HEADER, INTERNATIONAL, Suite
from node.ledger.merkle import merkle_root
from node.ledger.snapshot import (
    Forged,
    Plan,
    Records,
    Window,
    WrongChunk,
    manifest_header,
    open_chunk,
    read_manifest,
)
from node.ledger.types import BlockRecord, Header, Record, Write
from node.storage import directory, layout
from node.storage.database import MIB, sync_files, translated, untold
from node.storage.errors import StorageCode, StorageError
from node.storage.install import LOG_WRITE_BUFFER_BYTES, Installing, fill, settle_install
from node.storage.log import BlockLog
from node.storage.sharded import LIFETIME_MS_DEFAULT, ShardedStore
from node.storage.shards import SHARDS_DEFAULT, checked_count
from node.storage.spent import lifetime_of

MAGIC: Final = b"vostro-backup 1\n"
FRAME_BYTES_MAX: Final = 1 << 30

_FRAME_HEAD_BYTES: Final = 8
_GENESIS: Final = b"g"
_BLOCK: Final = b"b"
_CHUNK: Final = b"s"
_END: Final = b"e"


class BackupBlock(Record, frozen=True):
    """A block as a backup holds it."""

    height: int
    time_ms: int
    app_hash: bytes
    header: bytes
    certificate: bytes
    leaves: tuple[bytes, ...]
    bodies: tuple[bytes, ...]
    receipts: tuple[bytes, ...]
    writes: tuple[Write, ...]
    history: tuple[tuple[int, int, bytes], ...]

    def record(self) -> BlockRecord:
        """The block for the log."""
        return BlockRecord(
            self.height,
            self.time_ms,
            self.app_hash,
            self.header,
            leaves=self.leaves,
            bodies=self.bodies,
            receipts=self.receipts,
            writes=self.writes,
            history=self.history,
            certificate=self.certificate,
        )


@dataclass(frozen=True, slots=True)
class Summary:
    """What a backup holds. head_app_hash is empty where there is no block."""

    blocks: int
    transactions: int
    head_height: int
    head_time_ms: int
    head_app_hash: bytes
    genesis: bytes
    stream_bytes: int


_decode_block: Final[Callable[[bytes], BackupBlock]] = decoder(BackupBlock)
_decode_end: Final[Callable[[bytes], tuple[int, bytes, bytes]]] = decoder(tuple[int, bytes, bytes])
_decode_header: Final[Callable[[bytes], Header]] = decoder(Header)


def write_backup(
    store: ShardedStore,
    out: Callable[[bytes], object],
    progress: Callable[[int, int], None] = untold,
) -> Summary:
    """Stream the durable blocks, as they are now, to ``out``, while the node goes on. progress: called with
    (blocks done, blocks).

    ``out`` takes bytes in order, for instance a file's ``write``. Raises StorageError LOG_DAMAGED.
    """
    log = store.log_snapshot()
    count = log.header_count
    digest = hashlib.sha256()
    size = 0

    def put(data: bytes) -> None:
        nonlocal size
        digest.update(data)
        size += len(data)
        out(data)

    genesis = log.genesis() or b""
    put(MAGIC)
    put(_frame(_GENESIS + genesis))
    transactions, head, first = 0, BlockRecord(0, 0, b"", b""), 0
    if log.base:
        plan = store.base_snapshot()
        put(_frame(_CHUNK + plan.raw))
        for _, chunk, _ in store.snapshot_contents(plan):
            put(_frame(_CHUNK + chunk))
        head, first = _head_of(plan), plan.manifest.position + 1
    for number in range(first, count):
        head = log.block_at(number)
        put(_frame(_BLOCK + encode(_backup_block(head))))
        transactions += len(head.leaves)
        progress(number + 1 - first, count - first)
    put(_frame(_END + encode((count - first, head.app_hash, digest.digest()))))
    return Summary(count - first, transactions, head.height, head.time_ms, head.app_hash, genesis, size)


def suite_of_backup(file: BinaryIO) -> Suite:
    """The suite of the chain that a backup holds, by the genesis document with which it begins; the file is
    where it was afterwards.

    Raises StorageError BACKUP_DAMAGED, InvariantViolated where this release has no such suite.
    """
    start = file.tell()
    reading = _Reading(file, INTERNATIONAL)  # nothing is hashed before the first block
    file.seek(start)
    try:
        return suite_of(decode_genesis(reading.genesis))
    except NotCanonical as error:
        raise StorageError(
            StorageCode.BACKUP_DAMAGED, offset=start, cause=f"the genesis does not decode: {error}"
        ) from error


def verify_backup(file: BinaryIO, suite: Suite, progress: Callable[[int], None] = untold) -> Summary:
    """Check a backup from its first byte to its last: frames, hashes, the chain of headers, the roots of
    leaves and receipts.

    progress: called with the bytes read. Raises StorageError BACKUP_DAMAGED with the offset of what is
    wrong.
    """
    reading = _Reading(file, suite)
    for _ in reading.blocks():
        progress(reading.offset)
    return reading.summary()


def restore_backup(
    file: BinaryIO,
    path: Path,
    suite: Suite,
    *,
    shards: int = SHARDS_DEFAULT,
    lifetime_ms: int = LIFETIME_MS_DEFAULT,
    progress: Callable[[int], None] = untold,
) -> Summary:
    """Make a data directory at ``path``, new or empty, from a backup, checked while it is read; the state
    is replayed from the log.

    progress: called with the bytes read. Raises StorageError: NOT_EMPTY, BACKUP_DAMAGED, DISK_LOW.
    """
    checked_count(shards)
    reading = _Reading(file, suite)
    with translated(StorageCode.IO_FAILED, path), directory.creating(path):
        target = _Target(path, shards, reading.genesis, lifetime_of(reading.genesis, lifetime_ms))
        try:
            for record in reading.blocks(target.take):
                target.append(record)
                progress(reading.offset)
            target.begin()
        finally:
            target.close()
        sync_files(path / layout.LOG)
    summary = reading.summary()
    ShardedStore.open(path, suite, lifetime_ms=lifetime_ms).close()
    return summary


class _Target:
    """A data directory that is being filled: from a snapshot, if the backup has one, and from blocks."""

    def __init__(self, path: Path, shards: int, genesis: bytes, lifetime_ms: int) -> None:
        self._path = path
        self._shards = shards
        self._genesis = genesis
        self._lifetime_ms = lifetime_ms
        self._installing: Installing | None = None
        self._log: BlockLog | None = None
        self._position = 0

    def take(self, plan: Plan, index: int, chunk: bytes, content: Window | Records | None) -> None:
        """Take a chunk of the snapshot; content: None for the manifest."""
        if content is None:
            genesis, lifetime_ms = self._genesis, self._lifetime_ms
            self._installing = Installing(self._path, plan, self._shards, genesis, lifetime_ms, untold)
            self._position = plan.manifest.position + 1
        elif self._installing is not None:
            if isinstance(content, Window):
                self._installing.add_window(content.position, content.blocks)
            else:
                self._installing.add_state(content.records, content.pairs)
            self._installing.keep(index, chunk)

    def begin(self) -> BlockLog:
        """The log, behind the snapshot if there was one."""
        if self._log is None:
            if self._installing is None:
                self._log = fill(self._path, self._shards, self._genesis)
            else:
                (self._path / layout.STATE).rmdir()
                self._installing.finish()
                self._installing = None
                settle_install(self._path)
                self._log = BlockLog(
                    self._path / layout.LOG,
                    create=False,
                    cache_bytes=MIB,
                    write_buffer_bytes=LOG_WRITE_BUFFER_BYTES,
                )
        return self._log

    def append(self, record: BlockRecord) -> None:
        """Put a block behind the last one, not synced."""
        self.begin().append(record, self._position, synced=False)
        self._position += 1

    def close(self) -> None:
        """Close what is open."""
        if self._installing is not None:
            self._installing.abandon()
        if self._log is not None:
            self._log.close()


Take = Callable[[Plan, int, bytes, Window | Records | None], None]


class _Reading:
    """Reads a backup once, checking everything on the way."""

    def __init__(self, file: BinaryIO, suite: Suite) -> None:
        """Read the magic and the genesis document."""
        self._file = file
        self._suite = suite
        self._digest = hashlib.sha256()
        self._done = False
        self._count = self._transactions = self._chunks = 0
        self._plan: Plan | None = None
        self._head = BlockRecord(0, 0, b"", b"")
        self.offset = self._frame_offset = 0
        if self._read(len(MAGIC)) != MAGIC:
            raise self._damage("not a backup of this version")
        kind, self.genesis = self._frame()
        if kind != _GENESIS:
            raise self._damage("the genesis document does not come first")

    def blocks(self, take: Take = untold) -> Iterator[BlockRecord]:
        """Every block, each checked before it is handed out; the end of the iteration is the checked end of
        the backup. take: gets the chunks of a snapshot before, each proved, with its plan and number.
        """
        while True:
            before = self._digest.digest()
            kind, content = self._frame()
            try:
                if kind == _CHUNK and self._count == 0:
                    take(*self._chunk(content))
                    continue
                if self._plan and self._chunks < self._plan.chunks:
                    raise self._damage("chunks of the snapshot are missing")
                if kind == _END:
                    self._check_end(content, before)
                    return
                if kind != _BLOCK:
                    raise self._damage("a frame of unknown kind")
                record = _decode_block(content).record()
                self._check_block(record)
            except NotCanonical as error:
                raise self._damage(f"a frame does not decode: {error}") from error
            self._count += 1
            self._transactions += len(record.leaves)
            self._head = record
            yield record

    def _chunk(self, raw: bytes) -> tuple[Plan, int, bytes, Window | Records | None]:
        """The next chunk of the snapshot, proved."""
        index, plan = self._chunks, self._plan
        self._chunks += 1
        try:
            if plan is None:
                app_hash = self._suite.digest(HEADER + manifest_header(raw))
                lifetime_ms = lifetime_of(self.genesis, LIFETIME_MS_DEFAULT)
                plan = self._plan = read_manifest(self._suite, app_hash, lifetime_ms, raw)
                self._head = _head_of(plan)
                return plan, index, raw, None
            if index < plan.chunks:
                return plan, index, raw, open_chunk(plan, index, raw)
        except (Forged, WrongChunk) as error:
            raise self._damage(str(error)) from error
        raise self._damage("more chunks than the snapshot has")

    def summary(self) -> Summary:
        """What was read."""
        head = self._head
        return Summary(
            self._count,
            self._transactions,
            head.height,
            head.time_ms,
            head.app_hash,
            self.genesis,
            self.offset,
        )

    def _check_block(self, record: BlockRecord) -> None:
        digest = self._suite.digest
        header = _decode_header(record.header)
        if digest(HEADER + record.header) != record.app_hash:
            raise self._damage("a header does not hash to its app hash")
        if (self._count or self._plan) and header.previous_app_hash != self._head.app_hash:
            raise self._damage("a block does not follow the one before it")
        if (header.height, header.time_ms) != (record.height, record.time_ms):
            raise self._damage("a block is not at its header's height and time")
        if merkle_root(digest, record.leaves) != header.transactions_root:
            raise self._damage("the transactions are not those of the header")
        if merkle_root(digest, record.receipts) != header.receipts_root:
            raise self._damage("the receipts are not those of the header")
        if len(record.bodies) not in (0, len(record.leaves)):
            raise self._damage("bodies are missing")

    def _check_end(self, content: bytes, digest: bytes) -> None:
        if _decode_end(content) != (self._count, self._head.app_hash, digest):
            raise self._damage("the end does not match what came before")
        if self._file.read(1):
            raise self._damage("something follows the end")

    def _frame(self) -> tuple[bytes, bytes]:
        """The next frame, as (kind, content)."""
        self._frame_offset = self.offset
        head = self._read(_FRAME_HEAD_BYTES)
        length, crc = int.from_bytes(head[:4], "big"), int.from_bytes(head[4:], "big")
        if not 1 <= length <= FRAME_BYTES_MAX:
            raise self._damage("a frame has no possible length")
        content = self._read(length)
        if zlib.crc32(content) != crc:
            raise self._damage("a frame's checksum is wrong")
        return content[:1], content[1:]

    def _read(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) != size:
            raise self._damage("the backup ends early")
        self._digest.update(data)
        self.offset += size
        return data

    def _damage(self, cause: str) -> StorageError:
        return StorageError(StorageCode.BACKUP_DAMAGED, offset=self._frame_offset, cause=cause)


def _head_of(plan: Plan) -> BlockRecord:
    """The header behind which a snapshot stands."""
    return BlockRecord(plan.header.height, plan.header.time_ms, plan.app_hash, plan.manifest.header)


def _frame(content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + zlib.crc32(content).to_bytes(4, "big") + content


def _backup_block(record: BlockRecord) -> BackupBlock:
    return BackupBlock(
        record.height,
        record.time_ms,
        record.app_hash,
        record.header,
        record.certificate,
        record.leaves,
        record.bodies,
        record.receipts,
        record.writes,
        record.history,
    )
