"""Decoders of what is found on disk or carried there: backups, the block log's records, hand-overs, the
sequencer's record, the index's and the spent ids' marks.
"""

import hashlib
import io
import os
import tempfile
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec

from node.engine.cometbft.answers import read_signed_header
from node.engine.cometbft.inherited import decode_link as decode_handover
from node.engine.cometbft.light import CommitRefused, SequencerHeader, SignedHeader, check_signed_header
from node.engine.record import CHECK_DIGITS
from node.engine.sequencer import SLOT_BYTES, LastSigned, Sequencer, SequencerRefused
from node.keys.verify import VERIFIERS
from node.ledger import codec
from node.ledger.errors import InvariantViolated
from node.ledger.hashing import INTERNATIONAL
from node.storage import layout
from node.storage.backup import MAGIC, _backup_block, _frame, suite_of_backup, verify_backup
from node.storage.database import sealed
from node.storage.directory import HEAD_BYTES, HeadFile
from node.storage.errors import StorageCode, StorageError
from node.storage.handovers import HandoverShelf
from node.storage.log import BlockLog, LogReader
from tests.fuzz.comet_targets import commits
from tests.fuzz.ledger_targets import world
from tests.fuzz.target import Target, expect
from tests.kit import officer, pay

_pack: Final = msgspec.msgpack.Encoder().encode


@cache
def folder() -> Path:
    """A folder of this process, in memory where the system has one."""
    shared = Path("/dev/shm")  # noqa: S108 - a folder of one's own is made inside
    return Path(tempfile.mkdtemp(prefix="vostro-fuzz-", dir=shared if os.access(shared, os.W_OK) else None))


@cache
def records() -> tuple[Any, ...]:
    """Blocks of the consortium, the genesis block included."""
    bank = world()
    bank.apply("PA", pay("PA/main", "KB/main", 1))
    return tuple(bank.blocks()[:3])


def backups() -> list[bytes]:
    """The frames of a backup: [[kind || content], ...]; the checksums and the end are put in by ``run``."""
    document = codec.encode(world().genesis)
    blocks = [b"b" + codec.encode(_backup_block(record)) for record in records()]
    return [_pack([b"g" + document, *blocks]), _pack([b"g" + document])]


def run_backup(data: bytes) -> None:
    """A stream as it came, and one whose checksums and end are right whatever stands in it."""
    streams = [MAGIC + data]
    try:
        frames = msgspec.msgpack.decode(data)
    except ValueError:
        frames = None
    if isinstance(frames, list) and all(isinstance(each, bytes) for each in frames):
        streams.append(_stream(frames))
    for stream in streams:
        file = io.BytesIO(stream)
        try:
            suite = suite_of_backup(file)
            assert file.tell() == 0
            summary = verify_backup(file, suite)
        except StorageError as error:
            expect(error.error is StorageCode.BACKUP_DAMAGED, error)
        except InvariantViolated as error:  # documented: a suite that this release does not have
            expect("suite" in str(error), error)
        else:
            assert summary.stream_bytes == len(stream)


def _stream(frames: Sequence[bytes]) -> bytes:
    """A backup with these frames, whole to its end."""
    body = MAGIC + b"".join(_frame(each) for each in frames)
    blocks = [each for each in frames if each[:1] == b"b"]
    head: Any = b""
    if blocks:
        try:
            head = msgspec.msgpack.decode(blocks[-1][1:])[2]
        except (ValueError, TypeError, IndexError, KeyError):
            head = b""
    end = _pack((len(blocks), head if isinstance(head, bytes) else b"", hashlib.sha256(body).digest()))
    return body + _frame(b"e" + end)


class Rows:
    """A database of a few rows, as far as the log reads one."""

    def __init__(self, rows: dict[bytes, bytes]) -> None:
        self._rows = rows
        self._keys = sorted(rows)

    def get(self, key: bytes, default: bytes | None = None, **_: Any) -> bytes | None:
        """The value of a key."""
        return self._rows.get(key, default)

    @contextmanager
    def iterator(
        self, start: bytes = b"", stop: bytes = b"", **_: Any
    ) -> Iterator[Iterator[tuple[bytes, bytes]]]:
        """The rows of a range."""
        low = bisect_left(self._keys, start)
        high = bisect_left(self._keys, stop) if stop else len(self._keys)
        yield iter([(key, self._rows[key]) for key in self._keys[low:high]])

    @contextmanager
    def raw_iterator(self, **_: Any) -> Iterator["Cursor"]:
        """A cursor over all rows."""
        yield Cursor(self._keys, self._rows)


class Cursor:
    """A position among rows."""

    def __init__(self, keys: list[bytes], rows: dict[bytes, bytes]) -> None:
        self._keys, self._rows, self._at = keys, rows, 0

    def seek(self, key: bytes) -> None:
        """The first row at or above a key."""
        self._at = bisect_left(self._keys, key)

    def seek_to_last(self) -> None:
        """The last row."""
        self._at = len(self._keys) - 1

    def valid(self) -> bool:
        """Whether there is a row here."""
        return 0 <= self._at < len(self._keys)

    def prev(self) -> None:
        """One row down."""
        self._at -= 1

    def next(self) -> None:
        """One row up."""
        self._at += 1

    def key(self) -> bytes:
        """The row's key."""
        return self._keys[self._at]

    def item(self) -> tuple[bytes, bytes]:
        """The row."""
        return self._keys[self._at], self._rows[self._keys[self._at]]


class Batch(dict[bytes, bytes]):
    """A batch that is only looked at."""

    def put(self, key: bytes, value: bytes) -> None:
        """A row more."""
        self[key] = value


class Appending(BlockLog):
    """The log's own way of laying out a block, over a batch that nobody writes."""

    def __init__(self) -> None:
        self._source = self

    def write_batch(self, **_: Any) -> Batch:
        """An empty batch."""
        return Batch()


def logs() -> list[bytes]:
    """The rows of three blocks."""
    rows: dict[bytes, bytes] = {}
    for position, record in enumerate(records()):
        rows |= Appending().prepared(record, position)
    return [_pack([[key, value] for key, value in rows.items()])]


def run_log(data: bytes) -> None:
    """Whatever rows there are, reading the log gives blocks or LOG_DAMAGED."""
    rows = _rows_in(data)
    if rows is None:
        return
    source: Any = Rows(rows)
    try:
        log = LogReader(source, Path("log"))
    except StorageError as error:  # what a pruned log begins with is read at once
        expect(error.error is StorageCode.LOG_DAMAGED, error)
        return
    for read in (
        log.head,
        lambda: list(log.blocks()),
        lambda: list(log.replayed(0, min(log.header_count, 8))),
        lambda: log.check_chain(INTERNATIONAL, 0, min(log.header_count, 8)),
        lambda: log.headers(0, 8),
        lambda: [log.receipt(height, index) for height in (0, 1, 2) for index in (0, 1)],
        lambda: [log.body(height, index) for height in (0, 1, 2) for index in (0, 1)],
    ):
        try:
            read()
        except StorageError as error:
            expect(error.error is StorageCode.LOG_DAMAGED, error)


def _rows_in(data: bytes) -> dict[bytes, bytes] | None:
    try:
        pairs = msgspec.msgpack.decode(data, type=list[tuple[bytes, bytes]])
    except ValueError:
        return None
    return dict(pairs)


def handovers() -> list[bytes]:
    """A validator set's hand-over and a sequencer's, as they lie on the shelf."""
    document = msgspec.json.decode(commits()[0])
    signed = read_signed_header(document["commit"], document["validators"])
    key = officer("sequencer")
    first = SequencerHeader(1, records()[0].header, key.algorithm, key.public_key, bytes(64))
    return [b"v" + codec.encode(signed), b"s" + codec.encode(first)]


def run_handover(data: bytes) -> None:
    """A file on the shelf is whole and of a form that is known, or does not count."""
    shelf = _shelf()
    for content in (data, sealed(data)):
        for name in (layout.handover_name(7), layout.HANDOVERS_MARK):
            (folder() / layout.HANDOVERS / name).write_bytes(content)
        for _, whole in shelf.load():
            link = decode_handover(whole)
            if isinstance(link, SignedHeader):
                assert b"v" + codec.encode(link) == whole
                try:
                    check_signed_header(link, VERIFIERS["international"]())
                except CommitRefused:
                    continue
        assert len(shelf.mark) == 2
    shelf.reports.clear()


@cache
def _shelf() -> HandoverShelf:
    return HandoverShelf(folder())


def last_signed() -> list[bytes]:
    """Records of a sequencer's last signature, without their check digits."""
    chain = world().ledger.chain.chain_id.hex()
    return [msgspec.json.encode(LastSigned(chain, height, "ab" * 32)) for height in (0, 7)]


def run_last_signed(data: bytes) -> None:
    """A slot that is intact is read, any other is passed over; without one nothing is signed."""
    whole = hashlib.sha256(data.rstrip()).hexdigest()[:CHECK_DIGITS].encode() + data
    for slot in (data, whole):
        path = folder() / "last-signed"
        path.write_bytes(slot[:SLOT_BYTES].ljust(2 * SLOT_BYTES))
        try:
            Sequencer(officer("sequencer"), world().ledger.chain.chain_id, path).close()
        except SequencerRefused:
            continue


def marks() -> list[bytes]:
    """Contents of the store's small sealed files."""
    return [codec.encode((3, ((28_333_333, 2),))), codec.encode((7, bytes(32)))]


def run_mark(data: bytes) -> None:
    """HEAD is a guard and the spent ids are derived: what cannot be read is none, or built anew."""
    content = bytes((len(data) % 256,)) + data
    head = folder() / "HEAD"
    for written in (data, sealed(content)):
        head.write_bytes(written[:HEAD_BYTES].ljust(HEAD_BYTES, b"\0"))
        file = HeadFile(head)
        try:
            read = file.read()
        finally:
            file.close()
        assert read is None or len(read) == 2


TARGETS: Final = (
    Target("backup", "msgpack", backups, run_backup),
    Target("block-log", "msgpack", logs, run_log),
    Target("handover", "msgpack", handovers, run_handover),
    Target("last-signed", "json", last_signed, run_last_signed, 512),
    Target("head", "msgpack", marks, run_mark, 512),
)
