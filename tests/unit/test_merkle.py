"""Merkle trees against a recursive reference written from RFC 9162, and the history tree beside a store."""

from collections.abc import Sequence
from hashlib import sha256

import pytest

from node.ledger.errors import InvariantViolated
from node.ledger.hashing import INTERNATIONAL
from node.ledger.merkle import History, check_inclusion, inclusion_path, merkle_root

DIGEST = INTERNATIONAL.digest
SIZES = [1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100]


def reference_root(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 9162, 2.1.1, word for word."""
    if len(leaves) <= 1:
        return sha256(b"\0" + leaves[0] if leaves else b"").digest()
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return sha256(b"\1" + reference_root(leaves[:k]) + reference_root(leaves[k:])).digest()


def leaves_of(size: int) -> list[bytes]:
    return [b"leaf %d" % index for index in range(size)]


class Stored:
    """A store of history nodes that can forget one."""

    def __init__(self) -> None:
        self.nodes: dict[tuple[int, int], bytes] = {}

    def __call__(self, level: int, index: int) -> bytes | None:
        return self.nodes.get((level, index))

    def keep(self, fresh: Sequence[tuple[int, int, bytes]]) -> None:
        for level, index, hash_ in fresh:
            assert (level, index) not in self.nodes, "a complete node is completed once"
            self.nodes[level, index] = hash_


def grown(size: int) -> tuple[History, Stored]:
    stored = Stored()
    history = History.opened(DIGEST, 0, stored)
    for leaf in leaves_of(size):
        history, fresh = history.appended(leaf)
        stored.keep(fresh)
    return history, stored


@pytest.mark.parametrize("size", [0, *SIZES])
def test_the_root_is_the_recursive_definition(size: int) -> None:
    assert merkle_root(DIGEST, leaves_of(size)) == reference_root(leaves_of(size))


@pytest.mark.parametrize("size", SIZES)
def test_every_leaf_has_a_path_that_fits_it_and_nothing_else(size: int) -> None:
    leaves = leaves_of(size)
    root = merkle_root(DIGEST, leaves)
    for index, leaf in enumerate(leaves):
        path = inclusion_path(DIGEST, leaves, index)
        assert check_inclusion(DIGEST, leaf, index, size, path, root)
        assert not check_inclusion(DIGEST, leaf + b"!", index, size, path, root)
        assert not check_inclusion(DIGEST, leaf, index, size, [*path, root], root)
        assert not check_inclusion(DIGEST, leaf, index, size, path, DIGEST(root))
        assert not any(
            check_inclusion(DIGEST, leaf, other, size, path, root) for other in range(size) if other != index
        )
        for level, sibling in enumerate(path):
            changed = [*path[:level], DIGEST(sibling), *path[level + 1 :]]
            assert not check_inclusion(DIGEST, leaf, index, size, changed, root)
            assert not check_inclusion(DIGEST, leaf, index, size, path[:level], root)


@pytest.mark.parametrize(("index", "size"), [(1, 1), (3, 3), (0, 0), (-1, 3), (4, 3)])
def test_an_index_outside_the_tree_is_refused(index: int, size: int) -> None:
    leaves = leaves_of(size)
    assert not check_inclusion(DIGEST, b"leaf 0", index, size, [], merkle_root(DIGEST, [b"leaf 0"]))
    with pytest.raises(ValueError):
        inclusion_path(DIGEST, leaves, index)


def test_a_path_is_not_longer_than_the_tree_is_high() -> None:
    other, leaf = leaves_of(2)
    root = merkle_root(DIGEST, [other, leaf])
    assert check_inclusion(DIGEST, leaf, 1, 2, [DIGEST(b"\0" + other)], root)
    assert not check_inclusion(DIGEST, leaf, 0, 1, [DIGEST(b"\0" + other)], root)


def test_a_sibling_of_another_length_is_refused_before_it_is_hashed() -> None:
    leaves = leaves_of(2)
    leaf, sibling = (DIGEST(b"\0" + leaf) for leaf in leaves)
    # The same bytes, cut elsewhere: a leaf that ends in what the sibling began with would have the same root.
    assert check_inclusion(DIGEST, leaves[0], 0, 2, [sibling], DIGEST(b"\1" + leaf + sibling))
    assert not check_inclusion(
        DIGEST, leaves[0], 0, 2, [sibling + b"x"], DIGEST(b"\1" + leaf + sibling + b"x")
    )


def test_the_history_is_the_same_tree_at_every_size_and_for_every_older_size() -> None:
    size = 40
    leaves = leaves_of(size)
    history, stored = grown(size)
    assert history.root() == reference_root(leaves)
    for old in range(1, size + 1):
        opened = History.opened(DIGEST, old, stored)
        assert opened.root() == reference_root(leaves[:old])
        for index in range(old):
            path = history.path(index, old)
            assert path == inclusion_path(DIGEST, leaves[:old], index) == opened.path(index, old)


def test_an_abandoned_append_leaves_no_trace() -> None:
    history, _ = grown(5)
    before = history.root()
    first, first_nodes = history.appended(b"abandoned")
    assert first.root() != before
    assert (history.size, history.root()) == (5, before)
    again, again_nodes = history.appended(b"abandoned")
    assert (again, again_nodes) == (first, first_nodes)


def test_a_path_needs_only_what_was_stored_before_the_last_append() -> None:
    history, _ = grown(7)
    history, _unstored = history.appended(b"leaf 7")
    for index in range(8):
        path = history.path(index, 8)
        assert check_inclusion(DIGEST, leaves_of(8)[index], index, 8, path, history.root())


@pytest.mark.parametrize("missing", [(0, 3), (1, 0), (2, 0)])
def test_a_missing_node_stops_the_node(missing: tuple[int, int]) -> None:
    history, stored = grown(6)
    del stored.nodes[missing]
    with pytest.raises(InvariantViolated):
        [history.path(index, 6) for index in range(6)]


def test_a_history_whose_peak_is_missing_does_not_open() -> None:
    _, stored = grown(6)
    del stored.nodes[2, 0]
    with pytest.raises(InvariantViolated):
        History.opened(DIGEST, 6, stored)


@pytest.mark.parametrize(("index", "size"), [(6, 6), (-1, 6), (0, 7), (0, 0), (6, 7)])
def test_a_path_outside_the_history_is_refused(index: int, size: int) -> None:
    history, _ = grown(6)
    with pytest.raises(ValueError):
        history.path(index, size)
