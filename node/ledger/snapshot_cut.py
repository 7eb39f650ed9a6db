"""How a snapshot is cut from a ledger: the same bytes on every node (formats.md, "Snapshot").

A ``Source`` hands out what a store keeps; everything that decides a byte stands here: where the window
begins, how deep the cut is, where one chunk ends. Records are read in two passes, once to count and sort
them, once in the order of K, so that memory is bounded by the sorter and not by the state.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple, Protocol

from node.ledger import codec
from node.ledger.hashing import SNAPSHOT_CHUNK, STATE_VALUE, Suite
from node.ledger.merkle import History
from node.ledger.snapshot import (
    CHUNK_BYTES,
    CHUNK_BYTES_MAX,
    DEPTH_MAX,
    SUBTREE_BYTES,
    Edge,
    Manifest,
    Plan,
    StateChunk,
    StateEntry,
    WindowBlock,
    WindowChunk,
    WindowEntry,
    lowest_key,
    read_manifest,
    window_floor_ms,
)
from node.ledger.state_tree import FAN_OUT, LEAF_MAX, subtree_hash
from node.ledger.types import BlockRecord

COUNTED_DEPTH: Final = DEPTH_MAX - 1
"""Records are counted a subtree of this depth: what lies above the deepest cut."""

Row = tuple[bytes, bytes, bytes]
"""(K, key, value) of a record."""
Put = Callable[[int, bytes], object]


class Counted(NamedTuple):
    """What there is to cut. counts: of records, a subtree of COUNTED_DEPTH. size: of all keys and values."""

    counts: Sequence[int]
    size: int


class Source(Protocol):
    """A ledger behind one durable header, unmoved by later blocks."""

    @property
    def position(self) -> int:
        """How many headers are before it."""

    def block(self, position: int, *, leaves: bool) -> BlockRecord:
        """Header number ``position``, on request with its leaves."""

    def first_leaf(self, position: int) -> bytes:
        """The app hash of header number ``position``, where a peak of the history tree begins there."""

    def history_node(self, level: int, index: int) -> bytes | None:
        """A complete node of the history tree."""

    def count(self) -> Counted:
        """The first pass over the records."""

    def batches(self) -> Iterator[list[Row]]:
        """The second: 256 lists, one a first byte of K, each ascending by K."""


class TooLarge(Exception):
    """A chunk would be larger than a message may be: a block or a subtree holds too much."""


def make_snapshot(suite: Suite, lifetime_ms: int, source: Source, put: Put) -> Plan:
    """Cut a snapshot; ``put`` takes its chunks by number, the manifest last.

    Raises TooLarge, and Forged where what is stored does not hash up to the header.
    """
    head = source.block(source.position, leaves=False)
    window: list[WindowEntry] = []
    for chunk, entry in window_chunks(suite, *_window(source, window_floor_ms(head.time_ms, lifetime_ms))):
        window.append(entry)
        put(len(window), chunk)
    counted = source.count()
    depth = depth_of(counted)
    state: list[StateEntry] = []
    cut: list[bytes] = []
    for chunk, first, hashes in state_chunks(suite, depth, source.batches()):
        state.append(StateEntry(suite.digest(SNAPSHOT_CHUNK + chunk), first))
        cut += hashes
        put(len(window) + len(state), chunk)
    edges, right = edges_of(suite, source)
    manifest = Manifest(
        1, head.header, source.position, edges, right, depth, b"".join(cut), tuple(window), tuple(state)
    )
    raw = _bounded(codec.encode(manifest))
    plan = read_manifest(suite, head.app_hash, lifetime_ms, raw)
    put(0, raw)
    return plan


def edges_of(suite: Suite, source: Source) -> tuple[tuple[Edge, ...], tuple[bytes, ...]]:
    """The left edges of the history's peaks and the right edge of the last, at the source's header."""
    size, begin, level = source.position, 0, 0
    history = History(suite.digest, size, source.history_node, ())
    edges = []
    for level in reversed(range(size.bit_length())):
        if size >> level & 1:
            siblings = [history.complete(below, (begin >> below) + 1) for below in range(level)]
            edges.append(Edge(source.first_leaf(begin), tuple(siblings)))
            begin += 1 << level
    lowest = (size & -size).bit_length() - 1
    right = [history.complete(below, (size - 1 >> below) - 1) for below in range(lowest)]
    return tuple(edges), tuple(right)


def depth_of(counted: Counted) -> int:
    """How deep the cut is: until subtrees have about SUBTREE_BYTES, as far as all nodes above are inner
    ones.
    """
    counts, depth = counted.counts, 0
    while depth < DEPTH_MAX and counted.size > FAN_OUT**depth * SUBTREE_BYTES:
        span = FAN_OUT ** (COUNTED_DEPTH - depth)
        if min(sum(counts[at : at + span]) for at in range(0, len(counts), span)) <= LEAF_MAX:
            break
        depth += 1
    return depth


def window_chunks(
    suite: Suite, before: bytes, blocks: Iterable[BlockRecord]
) -> Iterator[tuple[bytes, WindowEntry]]:
    """Window chunks and their entries. before: the header before the first block, or empty."""
    held: list[WindowBlock] = []
    size, last = 0, b""

    def closed() -> tuple[bytes, WindowEntry]:
        chunk = _bounded(codec.encode(WindowChunk(before, tuple(held))))
        return chunk, WindowEntry(suite.digest(SNAPSHOT_CHUNK + chunk), last, len(held))

    for block in blocks:
        held.append(WindowBlock(block.header, block.leaves))
        size += len(block.header) + sum(map(len, block.leaves))
        last = block.app_hash
        if size >= CHUNK_BYTES:
            yield closed()
            before, held, size = b"", [], 0
    if held:
        yield closed()


def state_chunks(
    suite: Suite, depth: int, batches: Iterable[list[Row]]
) -> Iterator[tuple[bytes, int, list[bytes]]]:
    """State chunks, each with the number of its first subtree and the hashes of its subtrees."""
    first, held, hashes, size = 0, list[bytes](), list[bytes](), 0
    for number, (hash_, records) in enumerate(_subtrees(suite, depth, batches)):
        held += records
        hashes.append(hash_)
        size += sum(map(len, records))
        if size >= CHUNK_BYTES:
            yield _bounded(codec.encode(StateChunk(first, tuple(held)))), first, hashes
            first, held, hashes, size = number + 1, [], [], 0
    if hashes:
        yield _bounded(codec.encode(StateChunk(first, tuple(held)))), first, hashes


def _subtrees(suite: Suite, depth: int, batches: Iterable[list[Row]]) -> Iterator[tuple[bytes, list[bytes]]]:
    """Of each subtree of the cut, in order, its hash and its records: key, value, key, value ..."""
    many = FAN_OUT**depth // 256  # subtrees a batch; 0 where a subtree spans several batches
    span = 256 // FAN_OUT**depth or 1
    rows: list[Row] = []
    for byte, batch in enumerate(batches):
        if many <= 1:
            rows += batch
            if (byte + 1) % span == 0:
                yield _subtree(suite, depth, rows)
                rows = []
            continue
        low = 0
        for number in range(byte * many, (byte + 1) * many):
            high = bisect_left(batch, (lowest_key(number + 1, depth),), low)
            yield _subtree(suite, depth, batch[low:high])
            low = high


def _subtree(suite: Suite, depth: int, rows: list[Row]) -> tuple[bytes, list[bytes]]:
    digest = suite.digest
    content = b"".join([part for k, _, value in rows for part in (k, digest(STATE_VALUE + value))])
    return subtree_hash(suite, content, depth), [part for _, key, value in rows for part in (key, value)]


def _window(source: Source, floor_ms: int) -> tuple[bytes, Iterator[BlockRecord]]:
    """The header before the window, and the window's blocks."""
    first = source.position
    while first > 0 and source.block(first - 1, leaves=False).time_ms >= floor_ms:
        first -= 1
    before = source.block(first - 1, leaves=False).header if first else b""
    return before, (source.block(at, leaves=True) for at in range(first, source.position + 1))


def _bounded(chunk: bytes) -> bytes:
    if len(chunk) > CHUNK_BYTES_MAX:
        raise TooLarge(f"a chunk of {len(chunk)} bytes, {CHUNK_BYTES_MAX} at most")
    return chunk
