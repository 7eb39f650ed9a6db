"""Merkle trees of RFC 6962: roots and inclusion proofs of a block's leaves and receipts, and of all app
hashes.

A leaf is ``digest(0x00 || data)``, an inner node ``digest(0x01 || left || right)``, the empty tree
``digest("")``; the left subtree of a tree of n leaves holds the largest power of two below n. An odd node at
the end of a level is therefore carried up as it is, which is what lets all of this be loops over levels.
Always holds: a path that ``check_inclusion`` accepts was made of that leaf, at that index of a tree of that
size.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from node.ledger.errors import InvariantViolated
from node.ledger.hashing import HASH_BYTES

Digest = Callable[[bytes], bytes]
Node = tuple[int, int, bytes]
"""A complete node: (level, index, hash). It covers 2**level leaves from index * 2**level on; level 0 are leaf
hashes.
"""

LEAF: Final = b"\x00"
NODE: Final = b"\x01"


def merkle_root(digest: Digest, leaves: Sequence[bytes]) -> bytes:
    """The root over the leaves' data (RFC 9162, 2.1.1)."""
    if not leaves:
        return digest(b"")
    level = [digest(LEAF + leaf) for leaf in leaves]
    while len(level) > 1:
        level = _parents(digest, level)
    return level[0]


def inclusion_path(digest: Digest, leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The siblings from the leaf at ``index`` up to the root (RFC 9162, 2.1.3.1).

    Raises ValueError where there is no such leaf.
    """
    _check_index(index, len(leaves))
    level = [digest(LEAF + leaf) for leaf in leaves]
    path = []
    while len(level) > 1:
        sibling = index ^ 1
        if sibling < len(level):
            path.append(level[sibling])
        level = _parents(digest, level)
        index >>= 1
    return path


def check_inclusion(
    digest: Digest, leaf_data: bytes, index: int, size: int, path: Sequence[bytes], root: bytes
) -> bool:
    """Whether ``path`` shows that ``leaf_data`` is leaf ``index`` of the tree of ``size`` leaves with this
    root.

    The algorithm is RFC 9162's, 2.1.3.2.
    """
    if not 0 <= index < size or any(len(sibling) != HASH_BYTES for sibling in path):
        return False
    last = size - 1
    node = digest(LEAF + leaf_data)
    for sibling in path:
        if last == 0:
            return False  # longer than the tree is high
        if index & 1 or index == last:
            node = digest(NODE + sibling + node)
            while index and not index & 1:  # levels at which the node was carried up without a sibling
                index >>= 1
                last >>= 1
        else:
            node = digest(NODE + node + sibling)
        index >>= 1
        last >>= 1
    return last == 0 and node == root


@dataclass(frozen=True, slots=True)
class History:
    """The append-only tree over all earlier app hashes, as a value: what an abandoned block appended is just
    dropped.

    digest: of the chain's suite. size: leaves so far. node: reads a stored complete node by (level, index).
    peaks: the complete subtrees that the tree consists of, largest first. fresh: the nodes of the last
    append, which need not be stored yet; those of all earlier appends have to be before a path is asked for.
    """

    digest: Digest
    size: int
    node: Callable[[int, int], bytes | None]
    peaks: tuple[bytes, ...]
    fresh: tuple[Node, ...] = field(default=(), repr=False)

    @classmethod
    def opened(cls, digest: Digest, size: int, node: Callable[[int, int], bytes | None]) -> "History":
        """The tree of the first ``size`` leaves, from its stored nodes.

        Raises InvariantViolated where one is missing.
        """
        empty = cls(digest, size, node, ())
        levels = [level for level in reversed(range(size.bit_length())) if size >> level & 1]
        return cls(digest, size, node, tuple(empty.complete(level, (size >> level) - 1) for level in levels))

    def appended(self, leaf: bytes) -> tuple["History", tuple[Node, ...]]:
        """The tree with one more leaf, and the nodes that it completed, for the store."""
        node, level, index = self.digest(LEAF + leaf), 0, self.size
        peaks, fresh = list(self.peaks), [(0, self.size, node)]
        while index & 1:
            node, level, index = self.digest(NODE + peaks.pop() + node), level + 1, index >> 1
            fresh.append((level, index, node))
        grown = History(self.digest, self.size + 1, self.node, (*peaks, node), tuple(fresh))
        return grown, grown.fresh

    def root(self) -> bytes:
        """The root over all leaves; reads nothing."""
        if not self.peaks:
            return self.digest(b"")
        root = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            root = self.digest(NODE + peak + root)
        return root

    def path(self, index: int, size: int) -> list[bytes]:
        """The siblings of leaf ``index`` in the tree of the first ``size`` leaves, for ``check_inclusion``.

        Raises ValueError where that tree has no such leaf or was not reached yet, InvariantViolated where a
        node is missing.
        """
        _check_index(index, min(size, self.size))
        if size > self.size:
            raise ValueError(f"the history has {self.size} leaves, not {size}")
        begin, end, path = 0, size, []
        while end - begin > 1:
            middle = begin + (1 << (end - begin - 1).bit_length() - 1)
            if index < middle:
                path.append(self.subtree(middle, end))
                end = middle
            else:
                path.append(self.subtree(begin, middle))
                begin = middle
        return path[::-1]

    def subtree(self, begin: int, end: int) -> bytes:
        """The root over the leaves ``begin`` up to ``end``, where ``begin`` is a multiple of 2**n >= end -
        begin.
        """
        parts = []
        while begin < end:
            level = (end - begin).bit_length() - 1
            parts.append(self.complete(level, begin >> level))
            begin += 1 << level
        root = parts.pop()
        while parts:
            root = self.digest(NODE + parts.pop() + root)
        return root

    def complete(self, level: int, index: int) -> bytes:
        """A complete node. Raises InvariantViolated where it is neither stored nor of the last append."""
        stored = self.node(level, index)
        if stored is not None:
            return stored
        for fresh_level, fresh_index, fresh in self.fresh:
            if (fresh_level, fresh_index) == (level, index):
                return fresh
        raise InvariantViolated(
            f"node {index} of level {level} is missing from a history of {self.size} leaves"
        )


def _parents(digest: Digest, level: list[bytes]) -> list[bytes]:
    """The level above; an odd last node is carried up."""
    parents = [digest(NODE + left + right) for left, right in zip(level[::2], level[1::2], strict=False)]
    if len(level) & 1:
        parents.append(level[-1])
    return parents


def _check_index(index: int, size: int) -> None:
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} of a tree of {size} leaves")
