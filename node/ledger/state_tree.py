"""The commitment to all state: one root, and proofs that a record is, or is not, in it (formats.md, "State").

A 16-ary tree over ``K = H(STATE_KEY, key)``, ``V = H(STATE_VALUE, value)``. A subtree without records is 32
zero bytes; one with at most LEAF_MAX records is a leaf, ``H(STATE_LEAF, K1 || V1 || K2 || V2 ...)`` ascending
by K; a larger one is ``H(STATE_NODE, its 16 children)``, split on the next 4 bits of K, most significant
first. So the shape depends on content only, never on history or shards (docs/adr/0001-state-tree-shape.md).

Inner nodes live in memory as immutable values that share what did not change (``Version``). A block is
applied beside the current version, then committed or dropped without a trace; and a reader that holds a
version sees all of its inner nodes, whatever a writer commits meanwhile. Leaves that the cache does not have
are read from the store. A leaf is cached under its own hash, and checked against it when read, so a wrong
content can never be used; what a reader may meet is a leaf that is gone (``Superseded``). One writer at a
time; readers on any thread.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, groupby, pairwise, repeat
from operator import itemgetter
from typing import Annotated, Final, NamedTuple

from msgspec import Meta, Struct

from node.ledger.errors import InvariantViolated
from node.ledger.hashing import HASH_BYTES, STATE_KEY, STATE_LEAF, STATE_NODE, STATE_VALUE, ZERO_HASH, Suite
from node.ledger.types import Record, Write

FAN_OUT: Final = 16
LEAF_MAX: Final = 32
PAIR_BYTES: Final = 2 * HASH_BYTES
LEAF_BYTES_MAX: Final = LEAF_MAX * PAIR_BYTES
SIBLINGS_BYTES: Final = (FAN_OUT - 1) * HASH_BYTES
DEPTH_MAX: Final = 63
"""Levels of inner nodes at most: 63 nibbles leave room for 16 keys, which are a leaf."""

CACHED_LEAF_OVERHEAD_BYTES: Final = 200
SUPERSEDED_KEPT_MAX: Final = 4
"""Commits for which a replaced leaf is kept for readers of older versions, as long as the cache has room."""
PROVE_TRIES_MAX: Final = 16
FEW_CHANGES: Final = 4
"""Up to so many changes of one leaf are spliced in one by one; that is faster than taking it apart."""

Siblings = Annotated[bytes, Meta(min_length=SIBLINGS_BYTES, max_length=SIBLINGS_BYTES)]
Keep = Callable[[bytes, bytes], None]
Scan = Callable[[bytes, bytes | None], Iterable[tuple[bytes, bytes]]]
"""Pairs (K, V) with low <= K < high, ascending; no upper bound where high is None (ports.Store.tree_scan)."""


class Superseded(Exception):
    """The leaf has changed since the version that was asked and its old content is gone: ask again, at a
    newer one.
    """


class Proof(Record, frozen=True):
    """That a key has a value, or none.

    leaf: the content of the leaf where its K belongs. siblings: the other 15 children of each inner node on
    the way there, joined, from the root down.
    """

    leaf: Annotated[bytes, Meta(max_length=LEAF_BYTES_MAX)]
    siblings: Annotated[tuple[Siblings, ...], Meta(max_length=DEPTH_MAX)]


class _Node(Struct, frozen=True, gc=False):
    """An inner node.

    hashes: of its 16 children, joined. count: of the records below. inner: by nibble those children that are
    inner nodes themselves; () where none is.
    """

    hashes: bytes
    count: int
    inner: "tuple[_Node | None, ...]"


class _Subtree(NamedTuple):
    """A subtree with ``size`` records. content: of a leaf; empty for an inner node."""

    hash: bytes
    size: int
    node: _Node | None
    content: bytes


_EMPTY: Final = _Subtree(ZERO_HASH, 0, None, b"")


class Version(Struct, frozen=True, gc=False):
    """The whole tree at one moment: its root hash and the number of its records."""

    root: bytes
    count: int
    node: _Node | None


class Applied(Struct, frozen=True):
    """A block's changes, computed and not installed. Commit it, or drop it."""

    base: Version
    version: Version
    leaves: dict[bytes, bytes]
    replaced: list[bytes]

    @property
    def root(self) -> bytes:
        """The root with the changes."""
        return self.version.root


def pairs_of(suite: Suite, writes: Iterable[Write]) -> tuple[Write, ...]:
    """A block's writes, each key at most once, as pairs (K, V) ascending by K; V is None where the record is
    gone.
    """
    digest = suite.digest
    pairs = [
        (digest(STATE_KEY + key), None if value is None else digest(STATE_VALUE + value))
        for key, value in writes
    ]
    pairs.sort(key=itemgetter(0))
    return tuple(pairs)


def check_proof(suite: Suite, root: bytes, key: bytes, value: bytes | None, proof: Proof) -> bool:
    """Whether ``proof`` shows that, under ``root``, the record at ``key`` is ``value``, or, if that is None,
    absent.
    """
    leaf, siblings, depth = proof.leaf, proof.siblings, len(proof.siblings)
    if len(leaf) % PAIR_BYTES or len(leaf) > LEAF_BYTES_MAX or depth > DEPTH_MAX:
        return False
    if any(len(level) != SIBLINGS_BYTES for level in siblings):
        return False
    k = suite.digest(STATE_KEY + key)
    keys = [leaf[at : at + HASH_BYTES] for at in range(0, len(leaf), PAIR_BYTES)]
    if any(one >= next_ for one, next_ in pairwise(keys)):
        return False
    prefix = k.hex()[:depth]
    if not all(one.hex().startswith(prefix) for one in keys):
        return False
    v = leaf[keys.index(k) * PAIR_BYTES + HASH_BYTES :][:HASH_BYTES] if k in keys else None
    if v != (None if value is None else suite.digest(STATE_VALUE + value)):
        return False
    node = _leaf_hash(suite, leaf)
    for level in reversed(range(depth)):
        at = _nibble(k, level) * HASH_BYTES
        node = suite.digest(STATE_NODE + siblings[level][:at] + node + siblings[level][at:])
    return node == root


def subtree_hash(suite: Suite, content: bytes, depth: int) -> bytes:
    """The hash of the subtree over joined pairs, ascending, that share their first ``depth`` nibbles."""
    return _grown(suite, content, depth, lambda _hash, _content: None).hash


class StateTree:
    """The tree of the current state, over the stored pairs."""

    def __init__(self, suite: Suite, scan: Scan, leaf_cache: int) -> None:
        """scan: reads the current version's stored pairs. leaf_cache: bytes of leaves to keep in memory."""
        self._suite = suite
        self._scan = scan
        self._cache = _LeafCache(leaf_cache)
        self._superseded: deque[list[bytes]] = deque()
        self._version = Version(ZERO_HASH, 0, None)

    @property
    def root(self) -> bytes:
        """The root of the current version."""
        return self._version.root

    @property
    def version(self) -> Version:
        """The current version, to prove against it later."""
        return self._version

    def build(self) -> bytes:
        """Compute every inner node from the stored pairs, in one pass over them, and fill the cache; return
        the root.
        """
        keep = self._cache.put
        by_byte = [_EMPTY] * 256
        for first, pairs in groupby(self._scan(ZERO_HASH, None), key=_first_byte):
            by_byte[first] = _grown(self._suite, b"".join(chain.from_iterable(pairs)), 2, keep)
        by_nibble = [_joined(self._suite, by_byte[at : at + FAN_OUT], keep) for at in range(0, 256, FAN_OUT)]
        top = _joined(self._suite, by_nibble, keep)
        self._version = Version(top.hash, top.size, top.node)
        return top.hash

    def apply(self, pairs: Sequence[Write]) -> Applied:
        """What the changes make of the current version; installs nothing. pairs: as ``pairs_of`` gives them.

        Raises InvariantViolated where a stored leaf is not what the tree committed to.
        """
        base = self._version
        if not pairs:
            return Applied(base, base, {}, [])
        change = _Change(self._suite, pairs, self._load)
        top = base.node
        if top is None:
            root, node, delta = change.leaf(base.root, 0, 0, len(pairs))
        else:
            root, node, delta = change.node(top, 0, 0, len(pairs))
        return Applied(base, Version(root, base.count + delta, node), change.leaves, change.replaced)

    def commit(self, applied: Applied) -> None:
        """Make the changes the current version. Stage their pairs in the store first: readers of that version
        scan it.

        Raises InvariantViolated where the changes were not applied to the current version.
        """
        if applied.base is not self._version:
            raise InvariantViolated(
                "changes of the state tree were applied to another version than the current one"
            )
        self._cache.put_all(applied.leaves)
        self._version = applied.version
        self._superseded.append(applied.replaced)
        if len(self._superseded) > SUPERSEDED_KEPT_MAX:
            self._cache.drop(self._superseded.popleft())

    def prove(self, key: bytes, version: Version | None = None) -> Proof:
        """A proof of the record at ``key``, or of its absence, at ``version``, or at the current one.

        Raises Superseded where the leaf changed since: with no version given, only if it keeps changing
        meanwhile.
        """
        k = self._suite.digest(STATE_KEY + key)
        for _ in range(PROVE_TRIES_MAX):
            proof = self._prove(k, version or self._version)
            if proof is not None:
                return proof
            if version is not None:
                break
        raise Superseded

    def _prove(self, k: bytes, version: Version) -> Proof | None:
        """A proof whose leaf is the one that the version commits to; None where that is gone."""
        hash_, node = version.root, version.node
        siblings: list[bytes] = []
        while node is not None:
            nibble = _nibble(k, len(siblings))
            at = nibble * HASH_BYTES
            hash_ = node.hashes[at : at + HASH_BYTES]
            siblings.append(node.hashes[:at] + node.hashes[at + HASH_BYTES :])
            node = node.inner[nibble] if node.inner else None
        content = b"" if hash_ == ZERO_HASH else self._cache.get(hash_)
        if content is None:
            content = self._stored(k, len(siblings))
            if _leaf_hash(self._suite, content) != hash_:
                return None
        return Proof(content, tuple(siblings))

    def _load(self, hash_: bytes, k: bytes, depth: int) -> bytes:
        """The content of the leaf with this hash, at this depth on the way to ``k``.

        Raises InvariantViolated where something else is stored.
        """
        if hash_ == ZERO_HASH:
            return b""
        content = self._cache.get(hash_)
        if content is None:
            content = self._stored(k, depth)
            if _leaf_hash(self._suite, content) != hash_:
                raise InvariantViolated(
                    f"the stored pairs {k.hex()[:depth]}... are not what the state root commits to"
                )
            self._cache.put(hash_, content)
        return content

    def _stored(self, k: bytes, depth: int) -> bytes:
        """The stored pairs that share the first ``depth`` nibbles of ``k``, joined."""
        free_bits = 4 * (2 * HASH_BYTES - depth)
        low = int.from_bytes(k) >> free_bits << free_bits
        high = low + (1 << free_bits)
        until = None if high >> 8 * HASH_BYTES else high.to_bytes(HASH_BYTES)
        return b"".join(chain.from_iterable(self._scan(low.to_bytes(HASH_BYTES), until)))


Load = Callable[[bytes, bytes, int], bytes]


class _Change:
    """One application of ascending changes: every leaf and node that they touch is read and hashed once."""

    def __init__(self, suite: Suite, pairs: Sequence[Write], load: Load) -> None:
        self.leaves: dict[bytes, bytes] = {}
        self.replaced: list[bytes] = []
        self._suite = suite
        self._pairs = pairs
        self._keys = b"".join([k for k, _ in pairs])
        self._load = load

    def leaf(self, hash_: bytes, depth: int, begin: int, end: int) -> tuple[bytes, _Node | None, int]:
        """The leaf with the changes ``begin`` up to ``end``.

        Returns its hash, its node if it is more than a leaf now, and by how many records it grew.
        """
        pairs = self._pairs
        old = self._load(hash_, pairs[begin][0], depth)
        new = _merged(old, pairs, begin, end)
        delta = (len(new) - len(old)) // PAIR_BYTES
        if new == old:
            return hash_, None, 0
        self.replaced.append(hash_)
        if len(new) > LEAF_BYTES_MAX:
            subtree = _grown(self._suite, new, depth, self.leaves.__setitem__)
            return subtree.hash, subtree.node, delta
        return self._kept(new), None, delta

    def node(self, node: _Node, depth: int, begin: int, end: int) -> tuple[bytes, _Node | None, int]:
        """The inner node with the changes ``begin`` up to ``end``; returns as ``leaf`` does."""
        hashes, inner, count = node.hashes, node.inner, node.count
        column = self._keys[begin * HASH_BYTES + (depth >> 1) : end * HASH_BYTES : HASH_BYTES]  # as in _grown
        shift, below = (0, 0) if depth & 1 else (4, 15)
        at = begin
        while at < end:
            byte = column[at - begin]
            nibble = byte >> shift & 15
            after = begin + bisect_left(column, (byte | below) + 1, at - begin)
            place = nibble * HASH_BYTES
            child = inner[nibble] if inner else None
            if child is None:
                hash_, new, delta = self.leaf(hashes[place : place + HASH_BYTES], depth + 1, at, after)
            else:
                hash_, new, delta = self.node(child, depth + 1, at, after)
            hashes = hashes[:place] + hash_ + hashes[place + HASH_BYTES :]
            count += delta
            if new is not child:
                whole = inner or (None,) * FAN_OUT
                inner = (*whole[:nibble], new, *whole[nibble + 1 :])
            at = after
        if count <= LEAF_MAX:
            old = self._content(node, self._pairs[begin][0], depth)
            return self._kept(_merged(old, self._pairs, begin, end)), None, count - node.count
        if not any(inner):
            inner = ()
        return self._suite.digest(STATE_NODE + hashes), _Node(hashes, count, inner), count - node.count

    def _kept(self, content: bytes) -> bytes:
        """The hash of a new leaf, whose content is kept for the cache."""
        hash_ = _leaf_hash(self._suite, content)
        if content:
            self.leaves[hash_] = content
        return hash_

    def _content(self, node: _Node, k: bytes, depth: int) -> bytes:
        """All records under an inner node as it was, joined. k: any key below it."""
        parts = []
        free_bits = 4 * (2 * HASH_BYTES - depth - 1)
        low = int.from_bytes(k) >> free_bits + 4 << 4
        for nibble in range(FAN_OUT):
            below = (low + nibble << free_bits).to_bytes(HASH_BYTES)
            child = node.inner[nibble] if node.inner else None
            if child is None:
                hash_ = node.hashes[nibble * HASH_BYTES : (nibble + 1) * HASH_BYTES]
                parts.append(self._load(hash_, below, depth + 1))
            else:
                parts.append(self._content(child, below, depth + 1))
        return b"".join(parts)


class _LeafCache:
    """Leaves' contents by their hash, bounded in bytes: where there are too many, the oldest go, which are
    those that were not changed for longest. Only the writer changes it; readers ``get``.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._leaves: dict[bytes, bytes] = {}

    def get(self, hash_: bytes) -> bytes | None:
        """A leaf's content, if it is here."""
        return self._leaves.get(hash_)

    def put(self, hash_: bytes, content: bytes) -> None:
        """Keep a leaf's content."""
        self.put_all({hash_: content})

    def put_all(self, leaves: Mapping[bytes, bytes]) -> None:
        """Keep leaves' contents, by their hash."""
        kept = self._leaves
        self.drop(kept.keys() & leaves.keys())
        kept.update(leaves)
        self._bytes += sum(map(len, leaves.values())) + CACHED_LEAF_OVERHEAD_BYTES * len(leaves)
        if self._bytes > self._bytes_max:
            self._make_room(self._bytes - self._bytes_max + self._bytes_max // 16)

    def drop(self, hashes: Iterable[bytes]) -> None:
        """Forget leaves that no current version needs."""
        gone = [content for content in map(self._leaves.pop, hashes, repeat(None)) if content is not None]
        self._bytes -= sum(map(len, gone)) + CACHED_LEAF_OVERHEAD_BYTES * len(gone)

    def _make_room(self, count: int) -> None:
        """Let the oldest go, ``count`` bytes or a little more."""
        oldest: list[bytes] = []
        for hash_, content in self._leaves.items():
            if count <= 0:
                break
            oldest.append(hash_)
            count -= len(content) + CACHED_LEAF_OVERHEAD_BYTES
        self.drop(oldest)


def _grown(suite: Suite, data: bytes, depth: int, keep: Keep) -> _Subtree:
    """The subtree over joined pairs, ascending, that share their first ``depth`` nibbles."""
    count = len(data) // PAIR_BYTES
    if count <= LEAF_MAX:
        return _leaf_of(suite, data, count, keep)
    # Of every K the byte that holds the next nibble; they ascend, so where a child begins can be bisected.
    column = data[depth >> 1 :: PAIR_BYTES]
    first, step = (column[0] & 0xF0, 1) if depth & 1 else (0, 16)
    bounds = [bisect_left(column, first + nibble * step) * PAIR_BYTES for nibble in range(FAN_OUT)]
    bounds.append(len(data))
    children = [_grown(suite, data[low:high], depth + 1, keep) for low, high in pairwise(bounds)]
    return _node_of(suite, children, count)


def _joined(suite: Suite, children: Sequence[_Subtree], keep: Keep) -> _Subtree:
    """The subtree over 16 children, which is a leaf again where they hold few records."""
    count = sum(child.size for child in children)
    if count > LEAF_MAX:
        return _node_of(suite, children, count)
    return _leaf_of(suite, b"".join([child.content for child in children]), count, keep)


def _leaf_of(suite: Suite, content: bytes, count: int, keep: Keep) -> _Subtree:
    if not content:
        return _EMPTY
    hash_ = suite.digest(STATE_LEAF + content)
    keep(hash_, content)
    return _Subtree(hash_, count, None, content)


def _node_of(suite: Suite, children: Sequence[_Subtree], count: int) -> _Subtree:
    hashes = b"".join([child.hash for child in children])
    inner = tuple([child.node for child in children])
    node = _Node(hashes, count, inner if any(inner) else ())
    return _Subtree(suite.digest(STATE_NODE + hashes), count, node, b"")


def _merged(content: bytes, pairs: Sequence[Write], begin: int, end: int) -> bytes:
    """A leaf's content with the changes ``begin`` up to ``end``."""
    if end - begin <= FEW_CHANGES:
        for at in range(begin, end):
            content = _spliced(content, *pairs[at])
        return content
    starts = range(0, len(content), PAIR_BYTES)
    records = {content[at : at + HASH_BYTES]: content[at + HASH_BYTES : at + PAIR_BYTES] for at in starts}
    for at in range(begin, end):
        k, v = pairs[at]
        if v is None:
            records.pop(k, None)
        else:
            records[k] = v
    return b"".join(chain.from_iterable(sorted(records.items())))


def _spliced(content: bytes, k: bytes, v: bytes | None) -> bytes:
    """A leaf's content with one change."""
    at = content.find(k)
    while at > 0 and at % PAIR_BYTES:  # found, but not where a K stands
        at = content.find(k, at + 1)
    if at >= 0:
        return content[:at] + (k + v if v is not None else b"") + content[at + PAIR_BYTES :]
    if v is None:
        return content
    low, high = 0, len(content) // PAIR_BYTES
    while low < high:
        middle = (low + high) // 2
        if content[middle * PAIR_BYTES : middle * PAIR_BYTES + HASH_BYTES] < k:
            low = middle + 1
        else:
            high = middle
    return content[: low * PAIR_BYTES] + k + v + content[low * PAIR_BYTES :]


def _leaf_hash(suite: Suite, content: bytes) -> bytes:
    return suite.digest(STATE_LEAF + content) if content else ZERO_HASH


def _nibble(k: bytes, depth: int) -> int:
    """The 4 bits of ``k`` that choose the child of an inner node at ``depth``."""
    return k[depth >> 1] >> (0 if depth & 1 else 4) & 15


def _first_byte(pair: tuple[bytes, bytes]) -> int:
    return pair[0][0]
