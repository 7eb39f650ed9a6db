"""The state tree against a naive recursive reference written from formats.md, over random histories.

Keys are crafted to share long prefixes, which honest hashes never do: the suite of these tests takes a
32-byte key as its own K.
"""

from collections.abc import Iterable
from hashlib import sha256
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from node.ledger.hashing import INTERNATIONAL, STATE_KEY, Suite
from node.ledger.state_tree import Proof, StateTree, check_proof, pairs_of
from node.ledger.types import Write

Records = dict[bytes, bytes]


def crafting(data: bytes) -> bytes:
    if data.startswith(STATE_KEY) and len(data) == len(STATE_KEY) + 32:
        return data[len(STATE_KEY) :]
    return INTERNATIONAL.digest(data)


SUITE = Suite("crafted keys", crafting, ())


def reference_root(pairs: Records, depth: int = 0) -> bytes:
    """formats.md, "State", word for word."""
    if not pairs:
        return bytes(32)
    if len(pairs) <= 32:
        return sha256(b"vostro/state-leaf/1\0" + b"".join(k + pairs[k] for k in sorted(pairs))).digest()
    children = [
        reference_root({k: v for k, v in pairs.items() if k.hex()[depth] == nibble}, depth + 1)
        for nibble in "0123456789abcdef"
    ]
    return sha256(b"vostro/state-node/1\0" + b"".join(children)).digest()


def key(base: int, common: int, tail: int) -> bytes:
    """A key that shares its first ``common`` bytes with all others of its base."""
    own = bytes([tail]) + sha256(b"%d" % tail).digest()
    return sha256(b"base %d" % base).digest()[:common] + own[: 32 - common]


@st.composite
def runs(draw: st.DrawFn) -> dict[bytes, bytes | None]:
    """A run of keys of one family, set or deleted. Few families, so that runs meet, split and collapse."""
    base, common = draw(st.sampled_from([(0, 0), (0, 2), (1, 31)]))
    first, count = draw(st.sampled_from([0, 5, 30, 33, 60])), draw(st.sampled_from([1, 10, 32, 33, 70, 120]))
    value = draw(st.sampled_from([None, None, b"", b"one", b"two"]))
    return {key(base, common, tail): value for tail in range(first, first + count)}


def blocks() -> st.SearchStrategy[dict[bytes, bytes | None]]:
    """A block's changes: a few runs, of which the last has the last word."""
    return st.lists(runs(), min_size=1, max_size=3).map(
        lambda made: {k: v for run in made for k, v in run.items()}
    )


histories = st.lists(blocks(), min_size=2, max_size=6)
budgets = st.sampled_from([0, 3_000, 1 << 20])


class Ledger:
    """A tree over a dictionary of pairs, kept in step as the real ledger does it: apply, stage, commit."""

    def __init__(self, leaf_cache: int) -> None:
        self.records: Records = {}
        self.pairs: Records = {}
        self.tree = StateTree(SUITE, self.scan, leaf_cache)

    def scan(self, low: bytes, high: bytes | None) -> list[tuple[bytes, bytes]]:
        return [(k, v) for k, v in sorted(self.pairs.items()) if low <= k and (high is None or k < high)]

    def commit(self, block: dict[bytes, bytes | None]) -> None:
        pairs = pairs_of(SUITE, block.items())
        applied = self.tree.apply(pairs)
        put(self.pairs, pairs)
        put(self.records, block.items())
        self.tree.commit(applied)


def put(records: Records, changes: Iterable[Write]) -> None:
    for k, v in changes:
        if v is None:
            records.pop(k, None)
        else:
            records[k] = v


@settings(deadline=None)
@given(histories, budgets)
def test_the_root_after_every_block_is_the_naive_reference_and_build_finds_it_again(
    history: list[dict[bytes, bytes | None]], budget: int
) -> None:
    ledger = Ledger(budget)
    for block in history:
        ledger.commit(block)
        assert ledger.tree.root == reference_root(ledger.pairs)
        assert ledger.tree.version.count == len(ledger.pairs)
    reopened = StateTree(SUITE, ledger.scan, budget)
    assert reopened.build() == ledger.tree.root
    assert reopened.version == ledger.tree.version


@settings(deadline=None)
@given(histories, st.randoms(use_true_random=False), st.integers(1, 60))
def test_order_and_grouping_of_the_changes_do_not_matter(
    history: list[dict[bytes, bytes | None]], chance: Random, size: int
) -> None:
    ledger = Ledger(1 << 20)
    for block in history:
        ledger.commit(block)
    again = Ledger(1 << 20)
    for block in history:  # something else first, that the final content overwrites or deletes
        again.commit(dict.fromkeys(block, b"other"))
    final: list[tuple[bytes, bytes | None]] = [
        (k, ledger.records.get(k)) for k in sorted({k for block in history for k in block})
    ]
    chance.shuffle(final)
    for at in range(0, len(final), size):
        again.commit(dict(final[at : at + size]))
    assert again.records == ledger.records
    assert again.tree.version == ledger.tree.version


@settings(deadline=None)
@given(histories, blocks(), blocks(), budgets)
def test_an_abandoned_block_leaves_no_trace(
    history: list[dict[bytes, bytes | None]],
    abandoned: dict[bytes, bytes | None],
    block: dict[bytes, bytes | None],
    budget: int,
) -> None:
    ledger = Ledger(budget)
    for earlier in history:
        ledger.commit(earlier)
    before = ledger.tree.version
    first = ledger.tree.apply(pairs_of(SUITE, abandoned.items()))
    assert ledger.tree.version is before
    assert ledger.tree.apply(pairs_of(SUITE, abandoned.items())).version == first.version
    ledger.commit(block)
    assert ledger.tree.root == reference_root(ledger.pairs)


@settings(deadline=None)
@given(histories, blocks(), budgets, st.data())
def test_every_proof_verifies_and_no_changed_one_does(
    history: list[dict[bytes, bytes | None]],
    others: dict[bytes, bytes | None],
    budget: int,
    data: st.DataObject,
) -> None:
    ledger = Ledger(budget)
    for block in history:
        ledger.commit(block)
    root = ledger.tree.root
    asked = sorted({*ledger.records, *others, *(k for block in history for k in block)})
    for k in asked[:: max(1, len(asked) // 8)]:
        value, proof = ledger.records.get(k), ledger.tree.prove(k)
        assert check_proof(SUITE, root, k, value, proof)
        assert not check_proof(SUITE, root, k, b"another", proof)
        assert not check_proof(SUITE, sha256(root).digest(), k, value, proof)
        if value is not None:
            assert not check_proof(SUITE, root, k, None, proof)
        for changed in mutations(proof, data):
            assert not check_proof(SUITE, root, k, value, changed)


def mutations(proof: Proof, data: st.DataObject) -> list[Proof]:
    """The proof with a flipped bit in each of its regions, and with parts left out, doubled and swapped."""
    leaf, siblings = proof.leaf, proof.siblings
    found = [Proof(leaf + bytes(64), siblings), Proof(leaf, (*siblings, bytes(480)))]
    if leaf:
        at = data.draw(st.integers(0, len(leaf) // 64 - 1)) * 64
        places = [region + data.draw(st.integers(0, 31)) for region in (at, at + 32)]
        found += [Proof(flipped(leaf, place), siblings) for place in places]
        found += [Proof(leaf[:-1], siblings), Proof(leaf[64:], siblings), Proof(leaf[:64] + leaf, siblings)]
        if len(leaf) > 64:
            found.append(Proof(leaf[64:128] + leaf[:64] + leaf[128:], siblings))
    for level, sibling in enumerate(siblings):
        wrong = flipped(sibling, data.draw(st.integers(0, 479)))
        found.append(Proof(leaf, (*siblings[:level], wrong, *siblings[level + 1 :])))
        found.append(Proof(leaf, (*siblings[:level], *siblings[level + 1 :])))
        found.append(Proof(leaf, (*siblings[:level], sibling[:-32], *siblings[level + 1 :])))
    return found


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
