"""What a chain commits to, computed by the definitions in docs/formats.md: no code of the product is used.

The checker of invariants (checker.py) compares the product's roots with these.
"""

import hashlib
from collections.abc import Iterable
from typing import Final

ZERO: Final = bytes(32)
LEAF_MAX: Final = 32


def digest(tag: str, data: bytes) -> bytes:
    """H(tag, data)."""
    return hashlib.sha256(tag.encode() + b"\0" + data).digest()


class Tree:
    """RFC 6962, section 2.1, as it is written: MTH over a list, its complete subtrees remembered."""

    def __init__(self) -> None:
        self.leaves: list[bytes] = []
        self._known: dict[tuple[int, int], bytes] = {}

    def root(self) -> bytes:
        return self.range(0, len(self.leaves)) if self.leaves else hashlib.sha256(b"").digest()

    def range(self, low: int, high: int) -> bytes:
        size = high - low
        if size == 1:
            return hashlib.sha256(b"\0" + self.leaves[low]).digest()
        if found := self._known.get((low, high)):
            return found
        split = 1
        while split * 2 < size:
            split *= 2
        node = hashlib.sha256(b"\1" + self.range(low, low + split) + self.range(low + split, high)).digest()
        if size == split * 2:
            self._known[low, high] = node
        return node


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The Merkle tree hash of a list."""
    tree = Tree()
    tree.leaves = list(leaves)
    return tree.root()


def state_root(records: dict[bytes, bytes]) -> bytes:
    """The root over all records, from nothing."""
    pairs = sorted(
        (digest("vostro/state-key/1", k), digest("vostro/state-value/1", v)) for k, v in records.items()
    )
    return _subtree([(key.hex(), key, value) for key, value in pairs], 0)


def _subtree(pairs: list[tuple[str, bytes, bytes]], depth: int) -> bytes:
    if not pairs:
        return ZERO
    if len(pairs) <= LEAF_MAX:
        return digest("vostro/state-leaf/1", b"".join(key + value for _, key, value in pairs))
    children = [[pair for pair in pairs if pair[0][depth] == nibble] for nibble in "0123456789abcdef"]
    return digest("vostro/state-node/1", b"".join(_subtree(child, depth + 1) for child in children))
