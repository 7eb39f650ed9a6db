"""The state tree's life: growth and collapse, commit and abandon, the cache, readers beside a writer, and
what a verifier refuses.
"""

from collections.abc import Callable, Iterable

import pytest

from node.ledger.codec import NotCanonical, decoder, encode
from node.ledger.errors import InvariantViolated
from node.ledger.hashing import (
    INTERNATIONAL,
    STATE_KEY,
    STATE_LEAF,
    STATE_NODE,
    STATE_VALUE,
    ZERO_HASH,
    Suite,
)
from node.ledger.state_tree import (
    CACHED_LEAF_OVERHEAD_BYTES,
    LEAF_MAX,
    PROVE_TRIES_MAX,
    SUPERSEDED_KEPT_MAX,
    Proof,
    StateTree,
    Superseded,
    check_proof,
    pairs_of,
)
from node.ledger.types import Write

MEBIBYTE = 1 << 20
DIGEST = INTERNATIONAL.digest


class Pairs:
    """Stored pairs; ``before_scan`` lets a writer in just before a reader's scan."""

    def __init__(self) -> None:
        self.stored: dict[bytes, bytes] = {}
        self.scans = 0
        self.before_scan: Callable[[], None] | None = None

    def scan(self, low: bytes, high: bytes | None) -> list[tuple[bytes, bytes]]:
        self.scans += 1
        if self.before_scan is not None:
            self.before_scan()
        return [(k, v) for k, v in sorted(self.stored.items()) if low <= k and (high is None or k < high)]

    def stage(self, pairs: Iterable[Write]) -> None:
        for k, v in pairs:
            if v is None:
                self.stored.pop(k, None)
            else:
                self.stored[k] = v


def key(index: int) -> bytes:
    return b"record %d" % index


def writes(*indexes: int, value: bytes | None = b"value") -> tuple[Write, ...]:
    return pairs_of(INTERNATIONAL, [(key(index), value) for index in indexes])


def commit(tree: StateTree, pairs: Pairs, changes: tuple[Write, ...]) -> None:
    applied = tree.apply(changes)
    pairs.stage(changes)
    tree.commit(applied)


def tree_of(size: int, leaf_cache: int = MEBIBYTE, suite: Suite = INTERNATIONAL) -> tuple[StateTree, Pairs]:
    pairs = Pairs()
    tree = StateTree(suite, pairs.scan, leaf_cache)
    commit(tree, pairs, writes(*range(size)))
    pairs.scans = 0
    return tree, pairs


def test_pairs_ascend_by_hashed_key_and_carry_deletions() -> None:
    pairs = pairs_of(INTERNATIONAL, [(key(1), b"one"), (key(2), None), (key(3), b"three")])
    expected = [
        (key(1), DIGEST(STATE_VALUE + b"one")),
        (key(2), None),
        (key(3), DIGEST(STATE_VALUE + b"three")),
    ]
    assert pairs == tuple(sorted((DIGEST(STATE_KEY + k), v) for k, v in expected))


def test_the_empty_tree_is_zero_and_proves_absence() -> None:
    tree, _ = tree_of(0)
    assert tree.root == tree.build() == ZERO_HASH
    proof = tree.prove(key(1))
    assert proof == Proof(b"", ())
    assert check_proof(INTERNATIONAL, ZERO_HASH, key(1), None, proof)
    assert not check_proof(INTERNATIONAL, ZERO_HASH, key(1), b"value", proof)


def test_a_leaf_splits_over_leaf_max_and_collapses_again() -> None:
    tree, pairs = tree_of(LEAF_MAX)
    root = tree.root
    assert tree.prove(key(0)).siblings == ()
    commit(tree, pairs, writes(LEAF_MAX))
    assert len(tree.prove(key(0)).siblings) == 1
    commit(tree, pairs, writes(LEAF_MAX, value=None))
    assert tree.prove(key(0)).siblings == ()
    assert tree.root == root


def test_deleting_everything_in_one_block_empties_the_tree() -> None:
    tree, pairs = tree_of(5_000, leaf_cache=0)
    commit(tree, pairs, writes(*range(5_000), value=None))
    assert (tree.root, tree.version.count) == (ZERO_HASH, 0)


def test_changes_that_change_nothing_keep_the_root() -> None:
    tree, pairs = tree_of(600)
    version = tree.version
    for changes in ((), writes(1, 2, 3), writes(1_000, 1_001, value=None)):
        commit(tree, pairs, changes)
        assert tree.version == version


def test_a_change_that_changes_nothing_keeps_its_leaf_in_the_cache() -> None:
    tree, pairs = tree_of(300)
    for _ in range(SUPERSEDED_KEPT_MAX + 2):
        commit(tree, pairs, writes(7))
    assert pairs.scans == 0


def test_a_key_that_stands_in_the_leaf_as_a_value_is_not_taken_for_its_record() -> None:
    tree, pairs = tree_of(0)
    first, second, third = (bytes([n]) * 32 for n in (1, 2, 3))
    commit(tree, pairs, ((first, second),))
    commit(tree, pairs, ((second, third),))
    assert tree.version.count == 2
    assert tree.root == DIGEST(STATE_LEAF + first + second + second + third)


def test_applied_changes_are_nowhere_until_they_are_committed() -> None:
    tree, _ = tree_of(300)
    version, proof = tree.version, tree.prove(key(7))
    applied = tree.apply(writes(7, value=b"new"))
    assert applied.root != version.root
    assert tree.version is version
    assert tree.prove(key(7)) == proof
    assert tree.apply(writes(7, value=b"new")).version == applied.version


def test_a_tree_that_shrank_holds_no_more_than_one_that_was_built() -> None:
    tree, pairs = tree_of(600)
    assert any(tree.version.node.inner if tree.version.node else ())
    commit(tree, pairs, writes(*range(300), value=None))
    built = StateTree(INTERNATIONAL, pairs.scan, MEBIBYTE)
    built.build()
    assert tree.version == built.version


def test_a_block_hashes_each_leaf_and_node_that_it_touches_once() -> None:
    hashed: list[bytes] = []

    def counting(data: bytes) -> bytes:
        hashed.append(data)
        return DIGEST(data)

    tree, _ = tree_of(300, suite=Suite("counting", counting, ()))
    changes = writes(*range(0, 300, 2), value=b"new")
    hashed.clear()
    tree.apply(changes)
    leaves, nodes = ([data for data in hashed if data.startswith(tag)] for tag in (STATE_LEAF, STATE_NODE))
    assert len(leaves) == len({k[0] >> 4 for k, _ in changes}) == 16
    assert len(nodes) == 1
    assert len(hashed) == len(leaves) + len(nodes)


@pytest.mark.parametrize("leaf_cache", [0, 5_000, MEBIBYTE])
def test_the_cache_never_shows_in_the_root(leaf_cache: int) -> None:
    full, pairs = tree_of(2_000, leaf_cache)
    for block in range(6):
        commit(full, pairs, writes(*range(block * 100, block * 100 + 300), value=b"block %d" % block))
    assert StateTree(INTERNATIONAL, pairs.scan, 0).build() == full.root


def test_a_cached_tree_does_not_read_the_store_and_an_uncached_one_does() -> None:
    for leaf_cache, scans in ((MEBIBYTE, 0), (0, 3)):
        tree, pairs = tree_of(300, leaf_cache)
        first_in_leaf = {DIGEST(STATE_KEY + key(index))[0] >> 4: index for index in range(300)}
        tree.apply(writes(*list(first_in_leaf.values())[:3], value=b"new"))
        assert pairs.scans == scans


def test_build_fills_the_cache() -> None:
    _, pairs = tree_of(300)
    tree = StateTree(INTERNATIONAL, pairs.scan, MEBIBYTE)
    tree.build()
    pairs.scans = 0
    tree.apply(writes(*range(300), value=b"new"))
    assert pairs.scans == 0


def test_the_cache_stays_within_its_bytes() -> None:
    budget = 100_000
    tree, pairs = tree_of(3_000, budget)
    for block in range(10):
        commit(tree, pairs, writes(*range(block * 300, block * 300 + 300), value=b"new"))
        assert 0 < sum(map(len, tree._cache._leaves.values())) <= budget


def test_a_full_cache_lets_go_what_was_not_changed_for_longest() -> None:
    leaves = {b"%c" % letter: b"%c" % letter for letter in range(97, 117)}
    cache = StateTree(INTERNATIONAL, Pairs().scan, 20 * (CACHED_LEAF_OVERHEAD_BYTES + 1))._cache
    cache.put_all(leaves)
    cache.put(b"a", b"a")
    assert [*cache._leaves] == [*list(leaves)[1:], b"a"]
    cache.put(b"z", b"z")
    assert [cache.get(leaf) for leaf in (b"a", b"b", b"t", b"z")] == [b"a", None, b"t", b"z"]
    assert cache._bytes == len(cache._leaves) * (CACHED_LEAF_OVERHEAD_BYTES + 1)


def test_replaced_leaves_leave_the_cache_after_a_few_commits() -> None:
    tree, pairs = tree_of(300)
    leaves = len(tree._cache._leaves)
    for block in range(3 * SUPERSEDED_KEPT_MAX):
        commit(tree, pairs, writes(*range(300), value=b"block %d" % block))
    assert len(tree._cache._leaves) == leaves * (1 + SUPERSEDED_KEPT_MAX)


def test_a_stored_leaf_that_is_not_what_the_root_commits_to_stops_the_node() -> None:
    tree, pairs = tree_of(300, leaf_cache=0)
    tree.apply(writes(7, value=b"new"))
    pairs.stored[DIGEST(STATE_KEY + key(7))] = ZERO_HASH
    with pytest.raises(InvariantViolated):
        fresh_cache(tree).apply(writes(7, value=b"new"))


def fresh_cache(tree: StateTree) -> StateTree:
    tree._cache = StateTree(INTERNATIONAL, tree._scan, 0)._cache
    return tree


def test_changes_are_committed_only_to_the_version_they_were_applied_to() -> None:
    tree, pairs = tree_of(300)
    stale = tree.apply(writes(1, value=b"first"))
    commit(tree, pairs, writes(2, value=b"second"))
    root = tree.root
    with pytest.raises(InvariantViolated):
        tree.commit(stale)
    assert tree.root == root


def test_an_older_version_proves_while_its_leaves_are_kept_and_says_when_they_are_gone() -> None:
    tree, pairs = tree_of(300)
    old = tree.version
    for block in range(SUPERSEDED_KEPT_MAX):
        commit(tree, pairs, writes(7, value=b"block %d" % block))
        assert check_proof(INTERNATIONAL, old.root, key(7), b"value", tree.prove(key(7), old))
    commit(tree, pairs, writes(7, value=b"one too many"))
    with pytest.raises(Superseded):
        tree.prove(key(7), old)
    assert pairs.scans == 1, "what is gone is not looked for again"
    proof = tree.prove(key(7))
    assert check_proof(INTERNATIONAL, tree.root, key(7), b"one too many", proof)
    assert not check_proof(INTERNATIONAL, old.root, key(7), b"one too many", proof)


def test_a_reader_whose_leaf_changes_while_it_reads_proves_the_newer_version() -> None:
    tree, pairs = tree_of(300, leaf_cache=0)
    late = tree.apply(writes(7, value=b"newer"))
    tree = fresh_cache(tree)

    def write_once() -> None:
        pairs.before_scan = None
        pairs.stage(writes(7, value=b"newer"))
        tree.commit(late)

    pairs.before_scan = write_once
    proof = tree.prove(key(7))
    assert tree.root == late.root
    assert check_proof(INTERNATIONAL, late.root, key(7), b"newer", proof)


def test_a_reader_whose_leaf_keeps_changing_is_told_so() -> None:
    tree, pairs = tree_of(300, leaf_cache=0)
    fresh_cache(tree)
    pairs.before_scan = lambda: pairs.stored.update({DIGEST(STATE_KEY + key(7)): DIGEST(b"%d" % pairs.scans)})
    with pytest.raises(Superseded):
        tree.prove(key(7))
    assert pairs.scans == PROVE_TRIES_MAX


def leaf_of(*keys: bytes) -> bytes:
    return b"".join(k + DIGEST(STATE_VALUE + b"value") for k in keys)


K = DIGEST(STATE_KEY + key(7))
BELOW, ABOVE = K[:-1] + bytes([K[-1] - 1]), K[:-1] + bytes([K[-1] + 1])
ELSEWHERE = bytes([K[0] ^ 0x10]) + K[1:]
CROWD = tuple(sorted([K, *(K[:-1] + bytes([(K[-1] + n) % 256]) for n in range(1, LEAF_MAX + 1))]))


@pytest.mark.parametrize(
    ("leaf", "depth", "accepted"),
    [
        (leaf_of(BELOW, K, ABOVE), 0, True),
        (leaf_of(BELOW, K, ABOVE), 2, True),
        (leaf_of(*CROWD[:LEAF_MAX]), 2, True),
        pytest.param(leaf_of(K, BELOW), 0, False, id="descending"),
        pytest.param(leaf_of(K, K), 0, False, id="one key twice"),
        pytest.param(leaf_of(*sorted([K, ELSEWHERE])), 2, False, id="a key of another subtree"),
        pytest.param(leaf_of(*sorted([K, ELSEWHERE])), 0, True, id="the same keys where they belong"),
        pytest.param(leaf_of(K) + b"x", 0, False, id="not whole pairs"),
        pytest.param(leaf_of(K)[:-1], 0, False, id="cut short"),
        pytest.param(leaf_of(*CROWD), 2, False, id="more than LEAF_MAX"),
        pytest.param(leaf_of(K), 63, True, id="as deep as a tree can be"),
        pytest.param(leaf_of(K), 64, False, id="deeper than a tree can be"),
    ],
)
def test_a_leaf_without_the_shape_of_one_is_refused_even_under_a_root_that_commits_to_it(
    leaf: bytes, depth: int, accepted: bool
) -> None:
    assert K in CROWD[:LEAF_MAX]
    proof, root = Proof(leaf, (bytes(480),) * depth), DIGEST(STATE_LEAF + leaf)
    for level in reversed(range(depth)):
        nibble = int(K.hex()[level], 16)
        root = DIGEST(STATE_NODE + bytes(32 * nibble) + root + bytes(32 * (15 - nibble)))
    assert check_proof(INTERNATIONAL, root, key(7), b"value", proof) is accepted


def test_siblings_of_another_length_are_refused_even_if_the_bytes_add_up() -> None:
    leaf = leaf_of(K)
    short = Proof(leaf, (bytes(479),))
    at = 32 * (K[0] >> 4)
    root = DIGEST(STATE_NODE + bytes(at) + DIGEST(STATE_LEAF + leaf) + bytes(479 - at))
    assert not check_proof(INTERNATIONAL, root, key(7), b"value", short)


@pytest.mark.parametrize(
    "proof",
    [
        Proof(bytes(64 * LEAF_MAX + 1), ()),
        Proof(b"", (bytes(479),)),
        Proof(b"", (bytes(481),)),
        Proof(b"", (bytes(480),) * 64),
    ],
)
def test_a_proof_beyond_its_bounds_does_not_decode(proof: Proof) -> None:
    with pytest.raises(NotCanonical):
        decoder(Proof)(encode(proof))
