"""The golden snapshot, taken in by the product and read by a second verifier written from the document."""

import json
import random
from pathlib import Path
from typing import Any, Final

import pytest

from contracts import assemble
from node.keys.verify import VERIFIERS
from node.ledger.hashing import HEADER, INTERNATIONAL, SNAPSHOT
from node.ledger.ledger import Ledger
from node.ledger.snapshot import Snapshot
from node.ledger.snapshot_cut import state_chunks
from node.storage.memory import MemoryStore
from tests.sim.workload import make_day
from tests.snapshot_kit import Bank, carry
from tests.vectors import golden
from tests.vectors.independent import RefusedError
from tests.vectors.independent_snapshot import subtree, verify_snapshot

PINNED: Final[dict[str, Any]] = json.loads(Path(__file__).with_name("snapshot.json").read_bytes())
CHUNKS: Final = [bytes.fromhex(chunk) for chunk in PINNED["chunks"]]
APP_HASH: Final = bytes.fromhex(PINNED["app_hash"])
LIFETIME_MS: Final = golden.golden().genesis.limits.lifetime_ms


def test_the_pinned_snapshot_is_taken_in_by_a_new_ledger() -> None:
    world = golden.golden()
    bank = Bank(Ledger(world.genesis, assemble, MemoryStore(), VERIFIERS["international"]()), MemoryStore())
    hash_, metadata = bytes.fromhex(PINNED["hash"]), bytes.fromhex(PINNED["metadata"])
    offered = Snapshot(PINNED["height"], PINNED["format"], len(CHUNKS), hash_, metadata)
    carry(offered, CHUNKS, APP_HASH, bank)
    assert bank.ledger.info() == world.ledger.info()
    assert hash_ == INTERNATIONAL.digest(SNAPSHOT + CHUNKS[0])
    assert INTERNATIONAL.digest(HEADER + metadata) == APP_HASH


def test_a_second_verifier_reads_the_same() -> None:
    world = golden.golden()
    found = verify_snapshot(CHUNKS, APP_HASH, LIFETIME_MS)
    assert found.height == 9
    assert found.records == dict(world.store.scan(b""))
    assert len(found.spent) == 16
    for (member, request_id), tx_id in found.spent.items():
        spent = world.store.spent(member, request_id)
        assert spent
        assert spent.tx_id == tx_id


@pytest.mark.parametrize("seed", [21, 22])
def test_a_second_verifier_reads_the_snapshot_of_a_day(seed: int) -> None:
    day = make_day(seed)
    bank = Bank(day.world.ledger, day.world.store)
    _, chunks = bank.snapshot()
    found = verify_snapshot(chunks, day.app_hashes[-1], day.genesis.limits.lifetime_ms)
    assert found.records == day.world.state()
    assert tuple(found.history) == day.world.ledger._history.peaks


def test_subtrees_at_the_deepest_cut_are_the_document_s() -> None:
    chance = random.Random(2)
    rows = sorted((chance.randbytes(32), chance.randbytes(8), chance.randbytes(5)) for _ in range(3_000))
    batches = [[row for row in rows if row[0][0] == byte] for byte in range(256)]
    for depth in range(5):
        hashes = [hash_ for _, _, found in state_chunks(INTERNATIONAL, depth, batches) for hash_ in found]
        pairs = [(k, k + INTERNATIONAL.digest(b"vostro/state-value/1\0" + value)) for k, _, value in rows]
        below: dict[str, list[bytes]] = {}
        for k, pair in pairs:
            below.setdefault(k.hex()[:depth], []).append(pair)
        names = [f"{number:0{depth}x}" if depth else "" for number in range(16**depth)]
        assert hashes == [subtree(below.get(name, []), depth) for name in names]


def test_the_second_verifier_refuses_what_the_product_refuses() -> None:
    chance = random.Random(4)
    tried = 0
    for at, chunk in enumerate(CHUNKS):
        for place in chance.sample(range(len(chunk)), min(200, len(chunk))):
            altered = chunk[:place] + bytes((chunk[place] ^ 1,)) + chunk[place + 1 :]
            with pytest.raises(RefusedError):
                verify_snapshot([*CHUNKS[:at], altered, *CHUNKS[at + 1 :]], APP_HASH, LIFETIME_MS)
            tried += 1
    print(f"altered golden chunks: {tried} tried, {tried} refused by the second verifier")
