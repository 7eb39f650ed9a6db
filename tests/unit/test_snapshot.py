"""Snapshots in memory: what is refused, of whom, and what a forger may try."""

import random
from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from msgspec.structs import replace as changed

from node.ledger import codec, snapshot, snapshot_cut
from node.ledger.hashing import HASH_BYTES, INTERNATIONAL, SNAPSHOT, SNAPSHOT_CHUNK, STATE_KEY
from node.ledger.merkle import History
from node.ledger.snapshot import (
    Applied,
    Apply,
    Edge,
    Forged,
    Manifest,
    Offer,
    Snapshot,
    StateChunk,
    WindowChunk,
    check_offer,
    lowest_key,
    read_manifest,
    root_of_cut,
)
from node.ledger.snapshot_cut import Counted, TooLarge, depth_of, edges_of, window_chunks
from node.ledger.state_tree import StateTree, pairs_of, subtree_hash
from node.ledger.types import BlockRecord, Header
from node.storage.errors import StorageCode, StorageError
from node.storage.memory import Table
from tests.kit import LIMITS, Consortium, World, make_genesis, op, pay
from tests.snapshot_kit import ACCEPTED, Bank, carry, in_memory

DIGEST = INTERNATIONAL.digest
SENDER = "peer"
decode_manifest: Callable[[bytes], Manifest] = codec.decoder(Manifest)
decode_window: Callable[[bytes], WindowChunk] = codec.decoder(WindowChunk)
decode_state: Callable[[bytes], StateChunk] = codec.decoder(StateChunk)
decode_header: Callable[[bytes], Header] = codec.decoder(Header)


@cache
def consortium() -> Consortium:
    """A chain with transactions on both sides of the window's beginning."""
    world = Consortium()
    for _ in range(2):
        world.apply("PA", pay("PA/main", "KB/main", 1), time_ms=world.time_ms + 500_000)
    for _ in range(6):
        world.apply("PA", pay("PA/main", "KB/main", 1))
    return world


@cache
def made() -> tuple[Snapshot, tuple[bytes, ...]]:
    world = consortium()
    one, chunks = Bank(world.ledger, world.store).snapshot()
    return one, tuple(chunks)


def app_hash() -> bytes:
    return consortium().ledger.info().app_hash


def target() -> Bank:
    return in_memory(consortium().genesis)


def offered(one: Snapshot) -> Bank:
    bank = target()
    assert bank.ledger.offer_snapshot(one, app_hash()) is Offer.ACCEPT
    return bank


def forged(manifest: Manifest, chunks: dict[int, bytes] | None = None) -> tuple[Snapshot, list[bytes]]:
    """The snapshot with another manifest, as a liar would offer it: its hashes agree with one another."""
    one, honest = made()
    all_chunks = list(honest)
    for index, chunk in (chunks or {}).items():
        all_chunks[index] = chunk
        digest = DIGEST(SNAPSHOT_CHUNK + chunk)
        at = index - 1 - len(manifest.window)
        if at < 0:
            window = list(manifest.window)
            window[index - 1] = changed(window[index - 1], hash=digest)
            manifest = changed(manifest, window=tuple(window))
        else:
            state = list(manifest.state)
            state[at] = changed(state[at], hash=digest)
            manifest = changed(manifest, state=tuple(state))
    all_chunks[0] = codec.encode(manifest)
    count = 1 + len(manifest.window) + len(manifest.state)
    return one._replace(hash=DIGEST(SNAPSHOT + all_chunks[0]), chunks=count), all_chunks


def outcome(one: Snapshot, chunks: list[bytes]) -> Applied:
    """The first answer that is not ACCEPT."""
    bank = offered(one)
    for index, chunk in enumerate(chunks):
        applied = bank.ledger.apply_snapshot_chunk(index, chunk, SENDER)
        if applied != ACCEPTED:
            assert bank.ledger.info().height == 0
            return applied
    return ACCEPTED


def test_a_snapshot_is_taken_in_and_told_like_any_other() -> None:
    one, chunks = made()
    bank = target()
    carry(one, chunks, app_hash(), bank)
    assert bank.ledger.info() == consortium().ledger.info()
    assert list(bank.ledger.list_snapshots()) == [one]
    assert [bank.ledger.load_snapshot_chunk(one.height, 1, at) for at in range(one.chunks)] == list(chunks)
    assert bank.ledger.load_snapshot_chunk(one.height, 2, 0) == b""
    assert bank.ledger.load_snapshot_chunk(one.height, 1, one.chunks) == b""
    assert bank.ledger.load_snapshot_chunk(one.height + 1, 1, 0) == b""
    assert dict(bank.store.scan(b"")) == consortium().state()


def test_ids_spent_before_the_snapshot_stay_spent() -> None:
    world = consortium()
    bank = target()
    carry(*made(), app_hash(), bank)
    known = dict(world.store._spent)
    alive = {
        key: found
        for key, found in known.items()
        if int.from_bytes(key[-16:-10], "big") + LIMITS.lifetime_ms >= world.time_ms
    }
    assert alive
    assert len(alive) < len(world.blocks())
    for key, found in alive.items():
        member, _, request_id = key.partition(b"\0")
        assert bank.store.spent(member.decode(), request_id) == found


def test_every_flipped_byte_is_its_senders_fault() -> None:
    one, chunks = made()
    bank = offered(one)
    chance = random.Random(8)
    tried = 0
    for index, chunk in enumerate(chunks):
        places = range(len(chunk)) if len(chunk) < 1_500 else sorted(chance.sample(range(len(chunk)), 1_500))
        for at in places:
            altered = chunk[:at] + bytes((chunk[at] ^ 1 << chance.randrange(8),)) + chunk[at + 1 :]
            applied = bank.ledger.apply_snapshot_chunk(index, altered, SENDER)
            assert applied == Applied(Apply.RETRY, (index,), (SENDER,))
            tried += 1
        for altered in (b"", chunk[:-1], chunk + b"\0", chunks[(index + 1) % len(chunks)]):
            assert bank.ledger.apply_snapshot_chunk(index, altered, SENDER).result is Apply.RETRY
            tried += 1
        assert bank.ledger.apply_snapshot_chunk(index, chunk, SENDER) == ACCEPTED
    assert bank.ledger.info() == consortium().ledger.info()
    print(f"altered chunks: {tried} tried, {tried} refused, their sender named")


def test_every_flipped_byte_in_a_chunk_that_a_forged_manifest_names_is_refused() -> None:
    manifest = decode_manifest(made()[1][0])
    chance = random.Random(9)
    results: Counter[Apply] = Counter()
    for index, chunk in list(enumerate(made()[1]))[1:]:
        for at in sorted(chance.sample(range(len(chunk)), min(len(chunk), 150))):
            altered = chunk[:at] + bytes((chunk[at] ^ 1 << chance.randrange(8),)) + chunk[at + 1 :]
            results[outcome(*forged(manifest, {index: altered})).result] += 1
    assert set(results) == {Apply.REJECT_SNAPSHOT}
    print(f"forged chunks: {results.total()} tried, {results.total()} ended in REJECT_SNAPSHOT")


def test_every_flipped_byte_of_a_forged_manifest_is_refused() -> None:
    one, chunks = made()
    chance = random.Random(10)
    results: Counter[Apply] = Counter()
    for at in range(len(chunks[0])):
        raw = chunks[0][:at] + bytes((chunks[0][at] ^ 1 << chance.randrange(8),)) + chunks[0][at + 1 :]
        liar = one._replace(hash=DIGEST(SNAPSHOT + raw))
        results[outcome(liar, [raw, *chunks[1:]]).result] += 1
    assert Apply.ACCEPT not in results
    assert set(results) <= {Apply.REJECT_SNAPSHOT, Apply.RETRY}  # RETRY: it names another hash of a chunk
    print(f"forged manifests: {results.total()} tried, none accepted: {dict(results)}")


def test_chunks_may_come_in_any_order_and_twice_once_the_manifest_is_there() -> None:
    one, chunks = made()
    bank = offered(one)
    for index in range(1, one.chunks):
        assert bank.ledger.apply_snapshot_chunk(index, chunks[index], SENDER).result is Apply.RETRY_SNAPSHOT
    assert bank.ledger.apply_snapshot_chunk(one.chunks, b"", SENDER).result is Apply.RETRY_SNAPSHOT
    assert bank.ledger.apply_snapshot_chunk(-1, b"", SENDER).result is Apply.RETRY_SNAPSHOT
    order = [0, *reversed(range(2, one.chunks)), 0, 2, 1]
    for index in order:
        assert bank.ledger.apply_snapshot_chunk(index, chunks[index], SENDER) == ACCEPTED
    assert bank.ledger.info() == consortium().ledger.info()
    assert bank.ledger.apply_snapshot_chunk(1, chunks[1], SENDER).result is Apply.ABORT


def test_chunks_of_another_snapshot_of_the_same_chain_are_their_senders_fault() -> None:
    world = Consortium()
    bank = Bank(world.ledger, world.store)
    early, early_chunks = bank.snapshot()
    world.apply("PA", pay("PA/main", "KB/main", 1))
    later, later_chunks = bank.snapshot()
    taker = in_memory(world.genesis)
    assert taker.ledger.offer_snapshot(later, world.ledger.info().app_hash) is Offer.ACCEPT
    for index, (wrong, right) in enumerate(zip(early_chunks, later_chunks, strict=True)):
        applied = taker.ledger.apply_snapshot_chunk(index, wrong, SENDER)
        assert applied == Applied(Apply.RETRY, (index,), (SENDER,))
        assert taker.ledger.apply_snapshot_chunk(index, right, SENDER) == ACCEPTED
    assert early.height < later.height == taker.ledger.info().height


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"format": 2}, Offer.REJECT_FORMAT),
        ({"chunks": 0}, Offer.REJECT_SENDER),
        ({"chunks": 2**40}, Offer.REJECT_SENDER),
        ({"hash": b""}, Offer.REJECT_SENDER),
        ({"metadata": b""}, Offer.REJECT_SENDER),
        ({"metadata": b"\xc1" * 40}, Offer.REJECT_SENDER),
        ({"height": 7}, Offer.REJECT_SENDER),
        ({}, Offer.ACCEPT),
    ],
)
def test_an_offer_is_judged_by_its_format_and_by_the_trusted_app_hash(
    change: dict[str, object], expected: Offer
) -> None:
    one = made()[0]._replace(**change)  # type: ignore[arg-type]
    assert target().ledger.offer_snapshot(one, app_hash()) is expected
    assert target().ledger.offer_snapshot(one, bytes(HASH_BYTES)) is not Offer.ACCEPT


def test_a_snapshot_of_another_chain_is_refused() -> None:
    one, _ = made()
    stranger = DIGEST(b"another chain")
    assert check_offer(INTERNATIONAL, stranger, one, app_hash()) is Offer.REJECT_SENDER
    other = in_memory(make_genesis(time_ms=5))
    assert other.ledger.offer_snapshot(one, app_hash()) is Offer.REJECT_SENDER


def test_a_ledger_that_has_begun_takes_no_snapshot() -> None:
    one, _ = made()
    bank = target().begin()
    assert bank.ledger.offer_snapshot(one, app_hash()) is Offer.ABORT
    assert bank.ledger.apply_snapshot_chunk(0, b"").result is Apply.ABORT
    with pytest.raises(StorageError) as refused:
        bank.store.install(read_manifest(INTERNATIONAL, app_hash(), LIMITS.lifetime_ms, made()[1][0]))
    assert refused.value.error is StorageCode.BEGUN


def test_a_new_offer_takes_the_place_of_one_under_way() -> None:
    one, chunks = made()
    bank = offered(one)
    for index in range(2):
        assert bank.ledger.apply_snapshot_chunk(index, chunks[index]) == ACCEPTED
    carry(one, chunks, app_hash(), bank)


class Leaves:
    """A history as snapshot_cut.Source, as far as edges need it."""

    def __init__(self, size: int) -> None:
        self.position = size
        self.leaves = [DIGEST(bytes((number,))) for number in range(size)]
        self.nodes: dict[tuple[int, int], bytes] = {}
        history = History(DIGEST, 0, self.history_node, ())
        for leaf in self.leaves:
            history, fresh = history.appended(leaf)
            self.nodes.update({(level, index): node for level, index, node in fresh})
        self.root = history.root()

    def history_node(self, level: int, index: int) -> bytes | None:
        return self.nodes.get((level, index))

    def first_leaf(self, position: int) -> bytes:
        return self.leaves[position]

    def manifest(self) -> tuple[Manifest, Header]:
        """A manifest and a header with this history."""
        manifest = decode_manifest(made()[1][0])
        source: Any = self
        edges, right = edges_of(INTERNATIONAL, source)
        header = changed(
            decode_header(manifest.header), previous_app_hash=self.leaves[-1], history_root=self.root
        )
        return changed(manifest, position=self.position, edges=edges, right=right), header


def test_a_forged_size_of_the_history_is_refused() -> None:
    """Sizes of as many peaks hash up to the same root, and only the edges tell them apart."""
    tried = 0
    for size in range(1, 65):
        manifest, header = Leaves(size).manifest()
        snapshot._check_history(INTERNATIONAL, manifest, header)
        for other in range(130):
            edges = [
                changed(edge, siblings=(*edge.siblings, *[bytes(HASH_BYTES)] * 7)[:level])
                for edge, level in zip(manifest.edges, levels_of(other), strict=False)
            ]
            right = (*manifest.right, *[bytes(HASH_BYTES)] * 7)[: (other & -other).bit_length() - 1]
            if other == size:
                continue
            for changes in ({}, {"edges": tuple(edges)}, {"edges": tuple(edges), "right": right}):
                with pytest.raises(Forged):
                    snapshot._check_history(
                        INTERNATIONAL, changed(manifest, position=other, **changes), header
                    )
                tried += 1
    print(f"forged history sizes: {tried} tried, {tried} refused")


def test_what_is_right_of_a_peak_is_not_passed_off_as_one_complete_peak() -> None:
    """19 leaves, peaks of 16, 2 and 1, told as 20: 16 and 4. The left edges agree; the last leaf does not."""
    true = Leaves(19)
    manifest, header = true.manifest()
    leaf, pair = true.nodes[0, 17], true.nodes[1, 8]
    edges = (manifest.edges[0], Edge(true.leaves[16], (leaf, true.nodes[0, 18])))
    for right in ((), (pair,), (leaf, pair), (pair, pair), (true.nodes[0, 18], pair)):
        liar = changed(manifest, position=20, edges=edges, right=right)
        with pytest.raises(Forged, match="last leaf"):
            snapshot._check_history(INTERNATIONAL, liar, header)


def levels_of(size: int) -> list[int]:
    return [level for level in reversed(range(size.bit_length())) if size >> level & 1]


def test_a_window_that_begins_too_late_is_refused() -> None:
    manifest = decode_manifest(made()[1][0])
    first = decode_window(made()[1][1])
    assert first.before
    shorter = WindowChunk(first.blocks[0].header, first.blocks[1:])
    window = (changed(manifest.window[0], blocks=manifest.window[0].blocks - 1), *manifest.window[1:])
    liar = forged(changed(manifest, window=window), {1: codec.encode(shorter)})
    assert outcome(*liar).result is Apply.REJECT_SNAPSHOT
    without = WindowChunk(b"", first.blocks)
    assert outcome(*forged(manifest, {1: codec.encode(without)})).result is Apply.REJECT_SNAPSHOT


def test_records_left_out_added_or_moved_are_refused() -> None:
    manifest, last = decode_manifest(made()[1][0]), len(made()[1]) - 1
    chunk = decode_state(made()[1][last])
    rows = chunk.records
    for records in (
        rows[2:],
        (*rows, b"assets\0extra\0", b"value"),
        (*rows[2:4], *rows[:2], *rows[4:]),
        (*rows[:2], *rows),
        rows[:-1],
        (),
    ):
        forgery = codec.encode(StateChunk(chunk.first, records))
        assert outcome(*forged(manifest, {last: forgery})).result is Apply.REJECT_SNAPSHOT
    assert outcome(*forged(manifest)) == ACCEPTED


def test_records_forged_together_with_the_cut_are_refused() -> None:
    manifest, last = decode_manifest(made()[1][0]), len(made()[1]) - 1
    rows = list(decode_state(made()[1][last]).records)
    assert manifest.depth == 0
    rows[1] += b"\0"
    _, pairs = snapshot.pairs_of_records(INTERNATIONAL, rows)
    lying = changed(manifest, cut=subtree_hash(INTERNATIONAL, pairs, 0))
    liar = forged(lying, {last: codec.encode(StateChunk(0, tuple(rows)))})
    assert outcome(*liar) == Applied(Apply.REJECT_SNAPSHOT, (), (SENDER,))


def test_records_outside_a_chunk_s_subtrees_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_cut, "SUBTREE_BYTES", 500)
    monkeypatch.setattr(snapshot_cut, "CHUNK_BYTES", 2_000)
    world = World()
    world.admit("PA")
    for start in range(0, 1_000, 250):
        names = tuple(f"PA/{number}" for number in range(start, start + 250))
        world.apply("PA", op("assets", "open_accounts", names))
    one, chunks = Bank(world.ledger, world.store).snapshot()
    plan = read_manifest(INTERNATIONAL, world.ledger.info().app_hash, LIMITS.lifetime_ms, chunks[0])
    begin = 1 + len(plan.manifest.window)
    assert plan.manifest.depth > 0
    assert one.chunks - begin > 5
    tried = 0
    for index in range(begin, one.chunks):
        honest = decode_state(chunks[index])
        for other in (begin, one.chunks - 1):
            if other == index:
                continue
            extra = decode_state(chunks[other]).records[:2]
            for records in ((*extra, *honest.records), (*honest.records, *extra)):
                with pytest.raises(Forged):
                    snapshot._records(plan, index - begin, StateChunk(honest.first, records))
                tried += 1
        assert snapshot._records(plan, index - begin, honest).records == honest.records
    print(f"records of other subtrees: {tried} tried, {tried} refused")


@pytest.mark.parametrize("accounts", [0, 20, 33, 600, 9_000])
def test_a_cut_of_any_depth_hashes_up_to_the_state_root(
    accounts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot_cut, "SUBTREE_BYTES", 1_000)
    monkeypatch.setattr(snapshot_cut, "CHUNK_BYTES", 8_000)
    world = World()
    world.store._durable.put((b"c\0t\0%d\0" % n, b"v" * (n % 40)) for n in range(accounts))
    rows = dict(world.store.snapshot()._state.range(b"", None)) | dict(world.store._durable.range(b"", None))
    tree = Table({k: v or b"" for k, v in pairs_of(INTERNATIONAL, rows.items())})
    root = StateTree(INTERNATIONAL, tree.range, 0)
    root.build()
    batches = sorted((DIGEST(STATE_KEY + key), key, value) for key, value in rows.items())
    counts = [0] * 4096
    for k, _, _ in batches:
        counts[int.from_bytes(k[:2], "big") >> 4] += 1
    depth = depth_of(Counted(counts, sum(len(key) + len(value) for _, key, value in batches)))
    chunks = list(
        snapshot_cut.state_chunks(
            INTERNATIONAL, depth, ([row for row in batches if row[0][0] == byte] for byte in range(256))
        )
    )
    hashes = [hash_ for _, _, found in chunks for hash_ in found]
    assert len(hashes) == 16**depth
    assert root_of_cut(INTERNATIONAL, b"".join(hashes)) == root.root
    firsts = [first for _, first, _ in chunks]
    assert firsts[0] == 0
    assert firsts == sorted(firsts)
    print(f"{len(rows)} records: depth {depth}, {len(chunks)} chunks")


def test_the_deepest_cut_is_used_only_where_every_node_above_it_is_an_inner_one() -> None:
    full = [40] * 4096
    assert depth_of(Counted(full, 2**34)) == 4
    assert depth_of(Counted([*full[:-1], 32], 2**34)) == 3
    assert depth_of(Counted([2] * 4096, 2**34)) == 2 + (2 * 16 > 32)
    assert depth_of(Counted(full, 0)) == 0
    assert depth_of(Counted(full, 16 * 256 * 1024)) == 1
    assert depth_of(Counted(full, 16 * 256 * 1024 + 1)) == 2


def test_the_subtrees_of_a_cut_tile_all_keys() -> None:
    for depth in range(5):
        bounds = [lowest_key(number, depth) for number in range(16**depth + 1)]
        assert bounds[0] == bytes(HASH_BYTES)
        assert bounds[-1] > b"\xff" * HASH_BYTES
        assert bounds == sorted(bounds)


def test_a_chunk_that_no_message_could_carry_is_not_made() -> None:
    world = World()
    block = BlockRecord(1, 1, bytes(32), b"", leaves=(bytes(16 * 1024 * 1024),))
    with pytest.raises(TooLarge):
        list(window_chunks(INTERNATIONAL, b"", [block]))
    assert world.store.make_snapshot().chunks == 3
