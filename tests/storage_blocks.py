"""Blocks for the tests of storage: a chain of valid headers over chance writes, and the plain model of what
a store must answer.
"""

import random
from dataclasses import dataclass, field, replace

from node.ledger.codec import encode
from node.ledger.hashing import HEADER, INTERNATIONAL, ZERO_HASH
from node.ledger.merkle import merkle_root
from node.ledger.ports import Reader, Spent
from node.ledger.state_tree import pairs_of
from node.ledger.types import BlockRecord, Header, Leaf
from node.storage.memory import MemoryStore
from node.storage.sharded import ShardedStore

DIGEST = INTERNATIONAL.digest
GENESIS_MS = 1_700_000_000_000
LIFETIME_MS = 600_000
CONTRACTS = (b"assets", b"transfers")
TABLES = (b"balance", b"hold")
LOOSE_KEYS = (b"", b"one", b"two\0parts", b"two\0parts\0", b"\xff", b"\xff\xff\0\0\0\0", b"\0\0\0\0")


def key_of(chance: random.Random, accounts: int) -> bytes:
    """A key of the usual shape (contract, table, account, asset), sometimes a short or odd one."""
    if chance.random() < 0.05:
        return chance.choice(LOOSE_KEYS)
    account = f"BANK{chance.randrange(5)}/{chance.randrange(accounts)}".encode()
    return (
        b"\0".join(
            (chance.choice(CONTRACTS), chance.choice(TABLES), account, chance.choice((b"CZK", b"EUR")))
        )
        + b"\0"
    )


@dataclass
class Chain:
    """Makes blocks that follow one another, and remembers what they did."""

    seed: int
    accounts: int = 40
    blocks: list[BlockRecord] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)

    def next(
        self, *, transactions: int | None = None, writes: int | None = None, skip: int | None = None
    ) -> BlockRecord:
        """The next block; sizes by chance where not given. skip: heights left out before it."""
        chance = self.chance
        last = self.blocks[-1] if self.blocks else None
        height = (last.height if last else 0) + 1 + (chance.choice((0, 0, 0, 1, 5)) if skip is None else skip)
        time_ms = (last.time_ms if last else GENESIS_MS) + chance.choice((1, 200, 1_000, 30_000))
        count = chance.choice((0, 1, 3, 70, 130)) if transactions is None else transactions
        keys = {
            key_of(chance, self.accounts)
            for _ in range(chance.choice((0, 1, 5, 200)) if writes is None else writes)
        }
        changes = tuple(
            (key, None if chance.random() < 0.2 else chance.randbytes(chance.randrange(30)))
            for key in sorted(keys)
        )
        leaves = [_leaf(chance, time_ms) for _ in range(count)]
        if leaves and chance.random() < 0.1:
            leaves[0] = Leaf(ZERO_HASH, "", bytes(16), ZERO_HASH)
        receipts = tuple(chance.randbytes(40) for _ in leaves)
        roots = merkle_root(DIGEST, [encode(leaf) for leaf in leaves]), merkle_root(DIGEST, receipts)
        header = encode(
            Header(
                1,
                ZERO_HASH,
                1,
                height,
                time_ms,
                last.app_hash if last else ZERO_HASH,
                ZERO_HASH,
                count,
                *roots,
                ZERO_HASH,
                ZERO_HASH,
            )
        )
        record = BlockRecord(
            height,
            time_ms,
            INTERNATIONAL.digest(HEADER + header),
            header,
            leaves=tuple(encode(leaf) for leaf in leaves),
            bodies=tuple(chance.randbytes(60) for _ in leaves),
            receipts=receipts,
            writes=changes,
            tree=pairs_of(INTERNATIONAL, changes),
            history=(
                (0, len(self.blocks), chance.randbytes(32)),
                (1, len(self.blocks), chance.randbytes(32)),
            ),
            spent=tuple(
                (leaf.member, leaf.request_id, leaf.tx_id, index)
                for index, leaf in enumerate(leaves)
                if leaf.tx_id != ZERO_HASH
            ),
            certificate=chance.randbytes(64),
        )
        self.blocks.append(record)
        return record


def _leaf(chance: random.Random, time_ms: int) -> Leaf:
    created = time_ms - chance.choice((0, 5, 40_000, 300_000))
    request_id = created.to_bytes(6, "big") + chance.randbytes(10)
    return Leaf(chance.randbytes(32), f"BANK{chance.randrange(5)}", request_id, chance.randbytes(32))


class Model:
    """What a store must answer after some blocks: plain dictionaries."""

    def __init__(self, blocks: list[BlockRecord]) -> None:
        self.blocks = blocks
        self.state: dict[bytes, bytes] = {}
        self.tree: dict[bytes, bytes] = {}
        for block in blocks:
            for rows, writes in ((self.state, block.writes), (self.tree, block.tree)):
                for key, value in writes:
                    if value is None:
                        rows.pop(key, None)
                    else:
                        rows[key] = value

    def rows(
        self, prefix: bytes = b"", start: bytes = b"", *, reverse: bool = False
    ) -> list[tuple[bytes, bytes]]:
        """What ``scan`` must yield."""
        kept = [
            key
            for key in self.state
            if key.startswith(prefix) and (not start or (key <= start if reverse else key >= start))
        ]
        return [(key, self.state[key]) for key in sorted(kept, reverse=reverse)]

    def pairs(self, low: bytes = b"", high: bytes | None = None) -> list[tuple[bytes, bytes]]:
        """What ``tree_scan`` must yield."""
        return [
            (key, self.tree[key]) for key in sorted(self.tree) if key >= low and (high is None or key < high)
        ]


def stored(block: BlockRecord) -> BlockRecord:
    """The block as a store gives it back."""
    return replace(block, tree=(), spent=())


def header_of(block: BlockRecord) -> BlockRecord:
    """The block without what it contains."""
    return BlockRecord(
        block.height, block.time_ms, block.app_hash, block.header, certificate=block.certificate
    )


def check_state(reader: Reader, model: Model, chance: random.Random | None = None) -> None:
    """Assert that a store or snapshot has exactly the model's records."""
    assert list(reader.scan(b"")) == model.rows()
    assert list(reader.scan(b"", reverse=True)) == model.rows(reverse=True)
    for key, value in model.state.items():
        assert reader.get(key) == value
    chance = chance or random.Random(0)
    for _ in range(8):
        key = key_of(chance, 60)
        assert reader.get(key) == model.state.get(key)
        for prefix in (key[: chance.randrange(len(key) + 1)], key[: key.find(b"BANK") + 7]):
            start = chance.choice((b"", key, prefix))
            reverse = chance.random() < 0.5
            assert list(reader.scan(prefix, start, reverse=reverse)) == model.rows(
                prefix, start, reverse=reverse
            )


def check_store(store: MemoryStore | ShardedStore, blocks: list[BlockRecord], durable: int) -> None:
    """Assert that a store answers as it must after ``blocks``, of which the first ``durable`` are."""
    model = Model(blocks)
    check_state(store, model)
    assert list(store.tree_scan(b"", None)) == model.pairs()
    for low, high in (
        (b"\x10", b"\x20"),
        (b"\x33", b"\x34"),
        (b"\xf0" * 32, None),
        (b"\x40" + bytes(31), b"\x41" + bytes(31)),
    ):
        assert list(store.tree_scan(low, high)) == model.pairs(low, high)
    assert store.header_count == len(blocks)
    assert store.durable_count == durable
    assert store.height == (blocks[-1].height if blocks else 0)
    assert store.head() == (header_of(blocks[-1]) if blocks else None)
    assert list(store.blocks()) == [stored(block) for block in blocks[:durable]]
    assert store.headers(0, 10**6) == [header_of(block) for block in blocks[:durable]]
    now_ms = blocks[-1].time_ms if blocks else 0
    for block in blocks:
        for level, index, node in block.history:
            assert store.history_node(level, index) == node
        for member, request_id, tx_id, index in block.spent:
            if int.from_bytes(request_id[:6], "big") + LIFETIME_MS >= now_ms:
                assert store.spent(member, request_id) == Spent(tx_id, block.height, index)
    assert store.spent("BANK0", now_ms.to_bytes(6, "big") + bytes(10)) is None
    snapshot = store.snapshot()
    assert snapshot.height == (blocks[durable - 1].height if durable else 0)
    check_state(snapshot, Model(blocks[:durable]))
