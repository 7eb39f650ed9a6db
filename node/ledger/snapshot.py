"""Snapshots: the state after one header as bytes that prove themselves (formats.md, "Snapshot").

A snapshot is a manifest (chunk 0), window chunks and state chunks. Whoever trusts the app hash of its header
can check every chunk by itself: state chunks carry the records of whole subtrees, whose hashes the manifest
lists and which hash up to the header's state root; window chunks carry the headers and leaves of the blocks
whose request ids may still be alive, linked by their previous app hashes up to the header; and the manifest
carries of the history tree what it takes to go on, with the proof of its size.

What always holds: the bytes depend on the chain alone, never on shards, flushes or the node (snapshot_cut.py
makes them); a chunk that is not the one that the manifest names is its sender's fault, and one that the
manifest names and that does not hash up is the snapshot's. Nothing here knows where anything is stored.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from operator import lt
from typing import Annotated, Final, Literal, NamedTuple

from msgspec import Meta

from node.ledger import codec
from node.ledger.hashing import (
    HASH_BYTES,
    HEADER,
    SNAPSHOT,
    SNAPSHOT_CHUNK,
    STATE_KEY,
    STATE_NODE,
    STATE_VALUE,
    ZERO_HASH,
    Suite,
)
from node.ledger.merkle import LEAF, NODE, History, Node, merkle_root
from node.ledger.state_tree import FAN_OUT, PAIR_BYTES, subtree_hash
from node.ledger.types import CREATED_AHEAD_MS, BlockRecord, Hash, Header, Height, Integer, Record

FORMAT: Final = 1
CHUNK_BYTES: Final = 2 * 1024 * 1024
"""A chunk takes subtrees, or blocks, in order until it holds so many bytes."""
CHUNK_BYTES_MAX: Final = 15 * 1024 * 1024
"""What one message of the consensus engine carries is 16 MB at most."""
CHUNKS_MIN: Final = 3
CHUNKS_MAX: Final = 65_536
SUBTREE_BYTES: Final = 256 * 1024
"""The cut is deep enough for subtrees of about this size."""
DEPTH_MAX: Final = 4
CUT_BYTES_MAX: Final = FAN_OUT**DEPTH_MAX * HASH_BYTES
HEADER_BYTES_MAX: Final = 512
LEVELS_MAX: Final = 63
KEY_BITS: Final = 8 * HASH_BYTES

Bytes = Annotated[bytes, Meta(max_length=CHUNK_BYTES_MAX)]
HeaderBytes = Annotated[bytes, Meta(max_length=HEADER_BYTES_MAX)]
Path = Annotated[tuple[Hash, ...], Meta(max_length=LEVELS_MAX)]


class Edge(Record, frozen=True):
    """The left edge of one complete subtree (peak) of the history tree: the data of its first leaf, and the
    siblings from there up to the peak, as many as its level.
    """

    leaf: Hash
    siblings: Path


class WindowEntry(Record, frozen=True):
    """A window chunk: its hash, the app hash of its last block, and how many blocks are in it."""

    hash: Hash
    app_hash: Hash
    blocks: Annotated[int, Meta(ge=1, le=2**32 - 1)]


class StateEntry(Record, frozen=True):
    """A state chunk: its hash, and the number of its first subtree in the cut. It goes on to the next."""

    hash: Hash
    first: Annotated[int, Meta(ge=0, le=FAN_OUT**DEPTH_MAX - 1)]


class Manifest(Record, frozen=True):
    """What a snapshot is made of.

    header: of the block that it stands behind. position: how many headers are before it. edges: of the
    history tree's peaks, largest first. right: the siblings of the last leaf up to the last peak. cut: the
    hashes of all subtrees of the state tree at ``depth``, joined, in the order of K.
    """

    version: Literal[1]
    header: HeaderBytes
    position: Integer
    edges: Annotated[tuple[Edge, ...], Meta(max_length=LEVELS_MAX)]
    right: Path
    depth: Annotated[int, Meta(ge=0, le=DEPTH_MAX)]
    cut: Annotated[bytes, Meta(max_length=CUT_BYTES_MAX)]
    window: Annotated[tuple[WindowEntry, ...], Meta(min_length=1, max_length=CHUNKS_MAX)]
    state: Annotated[tuple[StateEntry, ...], Meta(min_length=1, max_length=CHUNKS_MAX)]


class WindowBlock(Record, frozen=True):
    """A block of the window: its header's encoding and its leaves'."""

    header: HeaderBytes
    leaves: Annotated[tuple[Bytes, ...], Meta(max_length=2**32 - 1)]


class WindowChunk(Record, frozen=True):
    """Blocks that follow one another. before: in the first chunk the header before the window, empty where
    the window begins with block 0; in all others empty.
    """

    before: HeaderBytes
    blocks: Annotated[tuple[WindowBlock, ...], Meta(min_length=1, max_length=2**32 - 1)]


class StateChunk(Record, frozen=True):
    """Records of whole subtrees: key, value, key, value ..., ascending by K."""

    first: Annotated[int, Meta(ge=0, le=FAN_OUT**DEPTH_MAX - 1)]
    records: Annotated[tuple[Bytes, ...], Meta(max_length=2**32 - 1)]


class Snapshot(NamedTuple):
    """A snapshot as one node tells another of it. metadata: the header's encoding. hash: of the manifest."""

    height: Height
    format: int
    chunks: int
    hash: bytes
    metadata: bytes


class Offer(Enum):
    """What becomes of an offered snapshot (ABCI, OfferSnapshot)."""

    ACCEPT = 1
    ABORT = 2
    REJECT = 3
    REJECT_FORMAT = 4
    REJECT_SENDER = 5


class Apply(Enum):
    """What becomes of a chunk (ABCI, ApplySnapshotChunk)."""

    ACCEPT = 1
    ABORT = 2
    RETRY = 3
    RETRY_SNAPSHOT = 4
    REJECT_SNAPSHOT = 5


class Applied(NamedTuple):
    """The answer to a chunk. refetch: chunks to fetch again. reject_senders: whose chunks to take no more."""

    result: Apply
    refetch: tuple[int, ...] = ()
    reject_senders: tuple[str, ...] = ()


class WrongChunk(Exception):
    """The bytes are not the chunk that the snapshot names: whoever sent them is at fault."""


class Forged(Exception):
    """The chunk is the one that the snapshot names and does not hash up to the app hash: the snapshot is at
    fault.
    """


@dataclass(frozen=True, slots=True)
class Plan:
    """A manifest that hashes up to a trusted app hash, and so tells what its chunks must be."""

    suite: Suite
    manifest: Manifest
    raw: bytes
    header: Header
    app_hash: bytes
    floor_ms: int

    @property
    def chunks(self) -> int:
        """How many chunks there are, the manifest included."""
        return 1 + len(self.manifest.window) + len(self.manifest.state)

    @property
    def snapshot(self) -> Snapshot:
        """What one node tells another of it."""
        digest = self.suite.digest(SNAPSHOT + self.raw)
        return Snapshot(self.header.height, FORMAT, self.chunks, digest, self.manifest.header)

    def history(self) -> Iterator[Node]:
        """The nodes of the history tree that the manifest proves."""
        digest, begin = self.suite.digest, 0
        for edge in self.manifest.edges:
            node = digest(LEAF + edge.leaf)
            yield 0, begin, node
            for level, sibling in enumerate(edge.siblings):
                yield level, (begin >> level) + 1, sibling
                node = digest(NODE + node + sibling)
                yield level + 1, begin >> level + 1, node
            begin += 1 << len(edge.siblings)
        for level, sibling in enumerate(self.manifest.right):
            yield level, (begin - 1 >> level) - 1, sibling

    def peaks(self) -> Iterator[tuple[int, bytes]]:
        """Of each peak of the history tree, largest first, the number and data of its first leaf."""
        begin = 0
        for edge in self.manifest.edges:
            yield begin, edge.leaf
            begin += 1 << len(edge.siblings)


class Window(NamedTuple):
    """What a window chunk holds: blocks with their leaves, the first of them number ``position``. The header
    before the window counts as a block without leaves.
    """

    position: int
    blocks: tuple[BlockRecord, ...]


class Records(NamedTuple):
    """What a state chunk holds. records: key, value, key, value ... pairs: K || V of each, joined."""

    records: tuple[bytes, ...]
    pairs: bytes


def window_floor_ms(time_ms: int, lifetime_ms: int) -> int:
    """Blocks at or after this time may have spent a request id that is still alive after a header of
    ``time_ms``.
    """
    return max(0, time_ms - lifetime_ms - CREATED_AHEAD_MS)


def check_offer(suite: Suite, chain: bytes, snapshot: Snapshot, app_hash: bytes) -> Offer:
    """Whether a snapshot may be one of this chain behind the header with this app hash."""
    if snapshot.format != FORMAT:
        return Offer.REJECT_FORMAT
    if not CHUNKS_MIN <= snapshot.chunks <= CHUNKS_MAX or len(snapshot.hash) != HASH_BYTES:
        return Offer.REJECT_SENDER
    try:
        header = _decode_header(snapshot.metadata)
    except codec.NotCanonical:
        return Offer.REJECT_SENDER
    if suite.digest(HEADER + snapshot.metadata) != app_hash or header.chain != chain:
        return Offer.REJECT_SENDER
    return Offer.ACCEPT if header.height == snapshot.height else Offer.REJECT_SENDER


def open_manifest(suite: Suite, snapshot: Snapshot, app_hash: bytes, lifetime_ms: int, raw: bytes) -> Plan:
    """The plan in chunk 0 of an accepted snapshot. Raises WrongChunk, Forged."""
    if suite.digest(SNAPSHOT + raw) != snapshot.hash:
        raise WrongChunk("the manifest does not have the snapshot's hash")
    plan = read_manifest(suite, app_hash, lifetime_ms, raw)
    if plan.chunks != snapshot.chunks:
        raise Forged(f"the manifest names {plan.chunks} chunks, the snapshot {snapshot.chunks}")
    return plan


def read_manifest(suite: Suite, app_hash: bytes, lifetime_ms: int, raw: bytes) -> Plan:
    """The plan in a manifest, checked against a trusted app hash. Raises Forged."""
    try:
        manifest = _decode_manifest(raw)
        header = _decode_header(manifest.header)
    except codec.NotCanonical as error:
        raise Forged(f"the manifest does not decode: {error}") from error
    if suite.digest(HEADER + manifest.header) != app_hash:
        raise Forged("the manifest's header is not the one with the trusted app hash")
    if len(manifest.cut) != FAN_OUT**manifest.depth * HASH_BYTES:
        raise Forged("the cut has not as many hashes as its depth asks for")
    if root_of_cut(suite, manifest.cut) != header.state_root:
        raise Forged("the cut does not hash up to the state root")
    firsts = [entry.first for entry in manifest.state]
    if firsts[0] != 0 or firsts[-1] >= FAN_OUT**manifest.depth or not all(map(lt, firsts, firsts[1:])):
        raise Forged("the state chunks do not cover the cut in order")
    if manifest.window[-1].app_hash != app_hash:
        raise Forged("the window does not end with the header")
    if sum(entry.blocks for entry in manifest.window) > manifest.position + 1:
        raise Forged("the window holds more blocks than there are")
    _check_history(suite, manifest, header)
    floor_ms = window_floor_ms(header.time_ms, lifetime_ms)
    return Plan(suite, manifest, raw, header, app_hash, floor_ms)


def manifest_header(raw: bytes) -> bytes:
    """The header's encoding in a manifest, unchecked; empty where the manifest does not decode."""
    try:
        return _decode_manifest(raw).header
    except codec.NotCanonical:
        return b""


def open_chunk(plan: Plan, index: int, raw: bytes) -> Window | Records:
    """What chunk number ``index``, from 1 on, holds, proved. Raises WrongChunk, Forged."""
    window = plan.manifest.window
    entry = window[index - 1] if index <= len(window) else plan.manifest.state[index - 1 - len(window)]
    if plan.suite.digest(SNAPSHOT_CHUNK + raw) != entry.hash:
        raise WrongChunk(f"chunk {index} does not have the hash that the manifest names")
    try:
        if index <= len(window):
            return _window(plan, index - 1, _decode_window(raw))
        return _records(plan, index - 1 - len(window), _decode_state(raw))
    except codec.NotCanonical as error:
        raise Forged(f"chunk {index} does not decode: {error}") from error


def root_of_cut(suite: Suite, cut: bytes) -> bytes:
    """The state root above the hashes of all subtrees at one depth."""
    digest, step = suite.digest, FAN_OUT * HASH_BYTES
    while len(cut) > HASH_BYTES:
        cut = b"".join([digest(STATE_NODE + cut[at : at + step]) for at in range(0, len(cut), step)])
    return cut


def pairs_of_records(suite: Suite, records: Sequence[bytes]) -> tuple[list[bytes], bytes]:
    """Of key, value, key, value ...: every K, and K || V of each, joined."""
    digest = suite.digest
    keys = [digest(STATE_KEY + key) for key in records[::2]]
    return keys, b"".join(
        [
            part
            for k, value in zip(keys, records[1::2], strict=True)
            for part in (k, digest(STATE_VALUE + value))
        ]
    )


def lowest_key(number: int, depth: int) -> bytes:
    """The least K of subtree ``number`` of a cut; above every K where ``number`` is one after the last."""
    if number == FAN_OUT**depth:
        return b"\xff" * (HASH_BYTES + 1)
    return (number << KEY_BITS - 4 * depth).to_bytes(HASH_BYTES, "big")


# --- private --------------------------------------------------------------------------------------------


def _check_history(suite: Suite, manifest: Manifest, header: Header) -> None:
    """The edges are those of a history of ``position`` leaves with the header's root.

    A root alone says nothing of the size. The left edges tell the levels of the peaks, and that the last
    leaf, the previous app hash, is as deep in the last peak as its level tells that this one is complete.
    """
    digest, size = suite.digest, manifest.position
    levels = [level for level in reversed(range(size.bit_length())) if size >> level & 1]
    if [len(edge.siblings) for edge in manifest.edges] != levels:
        raise Forged("the history's edges are not those of its size")
    peaks = []
    for edge in manifest.edges:
        node = digest(LEAF + edge.leaf)
        for sibling in edge.siblings:
            node = digest(NODE + node + sibling)
        peaks.append(node)
    if History(digest, size, lambda _level, _index: None, tuple(peaks)).root() != header.history_root:
        raise Forged("the history's edges do not hash up to the history root")
    if len(manifest.right) != (levels[-1] if levels else 0):
        raise Forged("the history's last leaf is not where its size says")
    node = digest(LEAF + header.previous_app_hash)
    for sibling in manifest.right:
        node = digest(NODE + sibling + node)
    if peaks and node != peaks[-1]:
        raise Forged("the history's last leaf is not the previous app hash")


def _window(plan: Plan, number: int, chunk: WindowChunk) -> Window:
    entries, digest = plan.manifest.window, plan.suite.digest
    position = plan.manifest.position + 1 - sum(entry.blocks for entry in entries[number:])
    if len(chunk.blocks) != entries[number].blocks:
        raise Forged("a window chunk has not as many blocks as the manifest says")
    blocks: list[BlockRecord] = []
    if number == 0:
        previous = digest(HEADER + chunk.before) if chunk.before else ZERO_HASH
        blocks += _before(plan, position, chunk.before)
    elif chunk.before:
        raise Forged("only the first window chunk has a header before it")
    else:
        previous = entries[number - 1].app_hash
    for block in chunk.blocks:
        header = _decode_header(block.header)
        if header.previous_app_hash != previous:
            raise Forged(f"the window's header at {header.height} does not follow the one before it")
        if header.transaction_count != len(block.leaves) or (
            merkle_root(digest, block.leaves) != header.transactions_root
        ):
            raise Forged(f"the window's leaves at {header.height} are not those of the header")
        previous = digest(HEADER + block.header)
        blocks.append(BlockRecord(header.height, header.time_ms, previous, block.header, leaves=block.leaves))
    if previous != entries[number].app_hash:
        raise Forged("a window chunk does not end with the app hash that the manifest says")
    return Window(position - 1 if chunk.before else position, tuple(blocks))


def _before(plan: Plan, position: int, raw: bytes) -> list[BlockRecord]:
    """The header before the window, which must be too old to matter; none where that is the whole chain."""
    if (position > 0) != bool(raw):
        raise Forged("the window neither begins with block 0 nor has a header before it")
    if not raw:
        return []
    header = _decode_header(raw)
    if header.time_ms >= plan.floor_ms:
        raise Forged("the window leaves out blocks whose request ids may be alive")
    return [BlockRecord(header.height, header.time_ms, plan.suite.digest(HEADER + raw), raw)]


def _records(plan: Plan, number: int, chunk: StateChunk) -> Records:
    manifest, suite = plan.manifest, plan.suite
    depth, first = manifest.depth, manifest.state[number].first
    end = manifest.state[number + 1].first if number + 1 < len(manifest.state) else FAN_OUT**depth
    if chunk.first != first or len(chunk.records) % 2:
        raise Forged("a state chunk is not where the manifest says")
    keys, pairs = pairs_of_records(suite, chunk.records)
    if not all(map(lt, keys, keys[1:])):
        raise Forged("a state chunk's records do not ascend")
    bounds = [bisect_left(keys, lowest_key(subtree, depth)) for subtree in range(first, end + 1)]
    if bounds[0] != 0 or bounds[-1] != len(keys):
        raise Forged("a state chunk has records of other subtrees")
    for at, subtree in enumerate(range(first, end)):
        content = pairs[bounds[at] * PAIR_BYTES : bounds[at + 1] * PAIR_BYTES]
        if subtree_hash(suite, content, depth) != manifest.cut[subtree * HASH_BYTES :][:HASH_BYTES]:
            raise Forged("a state chunk's records do not hash up to the cut")
    return Records(chunk.records, pairs)


_decode_header: Final[Callable[[bytes], Header]] = codec.decoder(Header)
_decode_manifest: Final[Callable[[bytes], Manifest]] = codec.decoder(Manifest)
_decode_window: Final[Callable[[bytes], WindowChunk]] = codec.decoder(WindowChunk)
_decode_state: Final[Callable[[bytes], StateChunk]] = codec.decoder(StateChunk)
