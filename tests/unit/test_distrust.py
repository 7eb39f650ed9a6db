"""Behind a false signature nothing more of the node that bundled it counts in a block, and nothing else of
the block is touched.
"""

import random
from collections.abc import Sequence
from itertools import product

import pytest
from msgspec.structs import replace

from contracts import assemble
from node.keys.verify import InternationalVerifier
from node.ledger.errors import LedgerError
from node.ledger.ledger import Discarded, Ledger
from node.ledger.ports import Check
from node.ledger.running import contents
from node.ledger.types import Block, Node, Receipt
from node.storage.memory import MemoryStore
from tests.kit import ADMINISTRATOR, Consortium, make_genesis, officer, op, pay, spoilt

FALSE = LedgerError.BAD_SIGNATURE.name
UNSEEN = LedgerError.NODE_DISTRUSTED.name
NODE, OTHER, THIRD = (officer(name).key_id for name in ("node", "node-2", "node-3"))
GENESIS = replace(
    make_genesis(),
    nodes=tuple(
        [
            Node(ADMINISTRATOR, "ed25519", officer(name).public_key, b"")
            for name in ("node", "node-2", "node-3")
        ]
    ),
)


class Counting(InternationalVerifier):
    """Counts what it verifies."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def verify(self, checks: Sequence[Check]) -> list[bool]:
        self.count += len(checks)
        return super().verify(checks)


def payment(world: Consortium, *, true: bool = True) -> bytes:
    raw = world.make("PA", pay("PA/main", "KB/main", 1))
    return raw if true else spoilt(raw)


def run(world: Consortium, *bundles: tuple[bytes, Sequence[bytes]]) -> list[str]:
    """What becomes of each item of a block of such bundles, in a word."""
    items = tuple([item for _, content in bundles for item in content])
    nodes = tuple([node for node, content in bundles for _ in content])
    world.height += 1
    finalized = world.ledger.finalize_block(Block(world.height, world.time_ms + 1_000, items, (), nodes))
    world.commit(finalized)
    return [
        "applied" if isinstance(outcome, Receipt) and not outcome.code else _name(outcome)
        for outcome in finalized.outcomes
    ]


def _name(outcome: Receipt | Discarded) -> str:
    assert isinstance(outcome, Discarded), outcome
    return outcome.error.name


def replayed(world: Consortium) -> bytes:
    """The app hash that the log's bodies alone come to, which no bundle carries any more."""
    ledger = Ledger(world.genesis, assemble, MemoryStore(), InternationalVerifier())
    ledger.init_chain()
    ledger.commit()
    for record in world.blocks()[1:]:
        finalized = ledger.finalize_block(Block(record.height, record.time_ms, *contents(record)))
        ledger.commit()
        assert finalized.app_hash == record.app_hash
    return ledger.info().app_hash


@pytest.fixture
def world() -> Consortium:
    return Consortium(GENESIS, verifier=Counting())


def verified(world: Consortium) -> int:
    verifier = world.ledger._verifier
    assert isinstance(verifier, Counting)
    return verifier.count


@pytest.mark.parametrize("place", [0, 1, 4])
def test_from_a_false_signature_on_a_bundle_is_discarded_unverified(place: int, world: Consortium) -> None:
    items = [payment(world, true=at != place) for at in range(5)]
    before = verified(world)
    assert run(world, (NODE, items)) == ["applied"] * place + [FALSE] + [UNSEEN] * (4 - place)
    assert verified(world) - before == place + 1
    assert run(world, (NODE, items[place + 1 :])) == ["applied"] * (4 - place), "they spent nothing"
    assert replayed(world) == world.ledger.info().app_hash


def test_every_later_bundle_of_the_node_goes_with_it_and_no_other_nodes(world: Consortium) -> None:
    bundles = [
        (NODE, [payment(world)]),
        (OTHER, [payment(world), payment(world)]),
        (NODE, [payment(world), payment(world, true=False)]),
        (OTHER, [payment(world)]),
        (NODE, [payment(world)]),
    ]
    told = run(world, *bundles)
    assert told[:3] == ["applied"] * 3
    assert told[3:7] == ["applied", FALSE, "applied", UNSEEN]
    single = world.block(payment(world, true=False), payment(world))
    assert isinstance(single[1], Receipt), "what nobody bundled stands each for itself"
    assert run(world, bundles[4]) == ["applied"], "in the next block the node is heard again"
    assert replayed(world) == world.ledger.info().app_hash


def test_what_the_state_says_of_an_item_is_no_ones_fault(world: Consortium) -> None:
    """Its key was changed between the door and the block, it is dead, spent, or its member is suspended."""
    spent = payment(world)
    world.block(spent)
    falsely_spent = spoilt(spent)
    revocation = world.make("KB", op("members", "revoke_key", officer("KB-officer").key_id))
    late = world.make("KB", pay("KB/main", "PA/main", 1))
    dead = world.make("PA", pay("PA/main", "KB/main", 1), created_ms=world.time_ms - 10**9)
    gone = world.make("GONE", pay("PA/main", "KB/main", 1))
    told = run(world, (NODE, [revocation, late, dead, gone, spent, falsely_spent, payment(world)]))
    expected = ["KEY_NOT_ACTIVE", "EXPIRED", "MEMBER_SUSPENDED", "DUPLICATE", "DUPLICATE"]
    assert told == ["applied", *expected, "applied"]


def test_whatever_the_order_honest_bundles_come_to_what_they_come_to_alone() -> None:
    """Blocks of bundles in chance order, of a node that lies and two that do not, against a model."""
    seed = random.SystemRandom().randrange(10**6)
    print("seed", seed)
    chance = random.Random(seed)
    world, alone = Consortium(GENESIS), Consortium(GENESIS)
    tried = 0
    for _ in range(25):
        bundles = []
        for node, _ in product((NODE, OTHER, THIRD), range(3)):
            truth = [node != NODE or chance.random() < 0.7 for _ in range(chance.randrange(1, 5))]
            bundles.append((node, [payment(world, true=true) for true in truth], truth))
        chance.shuffle(bundles)
        expected, lied = [], False
        for node, _, truth in bundles:
            for true in truth:
                expected.append(UNSEEN if lied and node == NODE else "applied" if true else FALSE)
                lied = lied or not true
        told = run(world, *[(node, items) for node, items, _ in bundles])
        assert told == expected
        items = [item for _, content, _ in bundles for item in content]
        genuine = [item for item, word in zip(items, told, strict=True) if word == "applied"]
        alone.block(*genuine)
        assert alone.ledger.info() == world.ledger.info(), "as under an engine that makes no bundles"
        tried += len(items)
    assert replayed(world) == world.ledger.info().app_hash
    print(f"items: {tried} tried in 25 blocks, all as the model says")


def test_a_block_names_a_node_for_every_item_or_for_none(world: Consortium) -> None:
    with pytest.raises(ValueError, match="shorter"):
        world.ledger.finalize_block(
            Block(world.height + 1, world.time_ms + 1, (payment(world), payment(world)), (), (NODE,))
        )
