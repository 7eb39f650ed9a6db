"""What every store does: the same tests run on memory and on disk with 1, 3 and 8 shards."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from node.ledger import ports
from node.ledger.hashing import INTERNATIONAL
from node.storage.errors import StorageCode, StorageError
from node.storage.memory import MemoryStore
from node.storage.sharded import ShardedStore
from tests.storage_blocks import LIFETIME_MS, Chain, Model, check_state, check_store, header_of, stored

Store = MemoryStore | ShardedStore


@pytest.fixture(params=["memory", 1, 3, 8])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made: Store
    if request.param == "memory":
        made = MemoryStore(lifetime_ms=LIFETIME_MS)
    else:
        made = ShardedStore.create(
            tmp_path / "data", INTERNATIONAL, shards=request.param, lifetime_ms=LIFETIME_MS
        )
    port: ports.Store = made  # the type checker holds both to the port
    assert port.height == 0
    yield made
    made.close()


def filled(store: Store, blocks: int, *, each: Callable[[], object] = lambda: None, **sizes: int) -> Chain:
    chain = Chain(seed=7)
    for _ in range(blocks):
        store.stage(chain.next(**sizes))
        store.sync()
        each()
    return chain


def test_a_new_store_is_empty(store: Store) -> None:
    check_store(store, [], 0)
    assert store.block(1) is None
    assert store.receipt(1, 0) is None
    assert store.height_at(0) is None


def test_what_is_staged_is_seen_at_once_and_by_snapshots_only_after_sync(store: Store) -> None:
    chain = Chain(seed=1)
    store.stage(chain.next(writes=50, transactions=3))
    store.stage(chain.next(writes=50, transactions=3))
    check_store(store, chain.blocks, 0)
    assert store.sync() == chain.blocks[-1].height
    check_store(store, chain.blocks, 2)


def test_a_store_answers_as_the_model_after_every_one_of_sixty_blocks(store: Store) -> None:
    chain = Chain(seed=2)
    for number in range(1, 61):
        store.stage(chain.next())
        if number % 3:
            store.sync()
        if number % 10 == 0:
            check_store(store, chain.blocks, number if number % 3 else number - 1)


def test_a_snapshot_is_not_moved_by_later_blocks_and_flushes(store: Store) -> None:
    chain = Chain(seed=3)
    kept = []
    for number in range(40):
        store.stage(chain.next(writes=30))
        store.sync()
        if number % 7 == 0:
            kept.append((store.snapshot(), Model(list(chain.blocks))))
    store.flush()
    for snapshot, model in kept:
        check_state(snapshot, model)


def test_a_block_is_given_back_whole_and_in_parts(store: Store) -> None:
    chain = filled(store, 5, transactions=130, skip=2)
    block = chain.blocks[3]
    assert store.block(block.height) == stored(block)
    assert store.block(block.height - 1) is None
    assert store.leaves(block.height) == block.leaves
    assert store.receipts(block.height) == block.receipts
    assert [store.receipt(block.height, index) for index in (-1, 0, 63, 64, 129, 130)] == [
        None, block.receipts[0], block.receipts[63], block.receipts[64], block.receipts[129], None,
    ]  # fmt: skip
    assert [store.body(block.height, index) for index in (-1, 0, 127, 130)] == [
        None,
        block.bodies[0],
        block.bodies[127],
        None,
    ]
    assert store.headers(block.height - 1, 1) == [header_of(block)]
    assert list(store.blocks(chain.blocks[1].height, chain.blocks[2].height)) == [
        stored(one) for one in chain.blocks[1:3]
    ]
    assert [store.height_at(position) for position in range(6)] == [
        *(one.height for one in chain.blocks),
        None,
    ]
    assert store.position_of(block.height) == 3
    assert store.position_of(block.height + 1) is None


def test_bodies_are_dropped_alone(store: Store) -> None:
    chain = filled(store, 3, transactions=70)
    block = chain.blocks[1]
    store.drop_bodies(block.height)
    found = store.block(block.height)
    assert found is not None
    assert found.bodies == ()
    assert (found.leaves, found.receipts, found.writes) == (block.leaves, block.receipts, block.writes)
    assert store.body(block.height, 0) is None
    assert store.body(chain.blocks[2].height, 0) == chain.blocks[2].bodies[0]


def test_a_block_that_does_not_follow_is_refused(store: Store) -> None:
    chain = filled(store, 2)
    with pytest.raises(StorageError) as refused:
        store.stage(chain.blocks[-1])
    assert refused.value.error is StorageCode.OUT_OF_ORDER


def test_an_id_too_old_to_be_alive_is_forgotten(store: Store) -> None:
    chain = Chain(seed=5)
    store.stage(chain.next(transactions=3))
    while chain.blocks[-1].time_ms < chain.blocks[0].time_ms + 3 * LIFETIME_MS:
        store.stage(chain.next(transactions=1, writes=1))
        store.sync()
        store.flush()
    member, request_id, _, _ = chain.blocks[0].spent[-1]
    assert store.spent(member, request_id) is None
    check_store(store, chain.blocks, len(chain.blocks))


def test_genesis_is_kept(store: Store) -> None:
    assert store.genesis() is None
    store.set_genesis(b"document")
    assert store.genesis() == b"document"


def test_scans_agree_with_the_model_from_every_start_in_both_directions(store: Store) -> None:
    chain = filled(store, 30, writes=20)
    model = Model(chain.blocks)
    chance = random.Random(9)
    keys = sorted(model.state)
    for key in chance.sample(keys, min(20, len(keys))):
        for start in (key, key + b"\0", key[:-1]):
            for prefix in (b"", b"assets\0", key[:20], key):
                for reverse in (False, True):
                    assert list(store.scan(prefix, start, reverse=reverse)) == model.rows(
                        prefix, start, reverse=reverse
                    )
