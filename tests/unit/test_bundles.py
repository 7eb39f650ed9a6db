"""One predicate judges a bundle, whatever the state: for the mempool, and for every node's proposal."""

import pytest

from node.ledger.bundles import PROPOSED_BYTES, signed_bundle
from node.ledger.errors import ErrorCode, LedgerError, Rejected
from node.ledger.types import BLOCK_BUNDLES_MAX, BUNDLE_BYTES_MAX, BundleBody, Limits
from tests.kit import Consortium, make_genesis, officer, pay

NODE = officer("node")
STRANGER = officer("stranger")


@pytest.fixture(scope="module")
def world() -> Consortium:
    return Consortium()


def bundle(
    world: Consortium, *items: bytes, sequence: int = 0, node: str = "node", signer: str = "node"
) -> bytes:
    body = BundleBody(1, officer(node).key_id, sequence, items)
    return signed_bundle(world.ledger.chain, body, officer(signer).sign)


def payment(world: Consortium, amount: int = 1) -> bytes:
    return world.make("PA", pay("PA/main", "KB/main", amount))


def test_a_bundle_weighs_what_its_items_weigh(world: Consortium) -> None:
    item = payment(world)
    single = world.ledger.judge(bundle(world, item)).work
    assert single == world.ledger.read(item).work
    two = world.ledger.judge(bundle(world, item, payment(world)))
    assert world.ledger.check_tx(two) == two.work == 2 * single
    assert two.candidates[0] == world.ledger.read(item), "what is read once need not be read again"


def refused_bundles(world: Consortium) -> list[tuple[str, bytes, ErrorCode]]:
    item = payment(world)
    good = bundle(world, item)
    elsewhere = Consortium(make_genesis(limits=Limits(500_000, 1_000, 1_000_000, BUNDLE_BYTES_MAX)))
    broken = bytearray(good)
    broken[-1] ^= 1
    return [
        ("oversized", bytes(BUNDLE_BYTES_MAX + 1), LedgerError.TOO_LARGE),
        ("garbage", b"\x00", LedgerError.MALFORMED),
        ("trailing byte", good + b"\x00", LedgerError.MALFORMED),
        ("empty", bundle(world), LedgerError.MALFORMED),
        (
            "of an unknown node",
            bundle(world, item, node="stranger", signer="stranger"),
            LedgerError.UNKNOWN_KEY,
        ),
        ("with a malformed item", bundle(world, b"\x93"), LedgerError.MALFORMED),
        ("of another chain's item", bundle(world, payment(elsewhere)), LedgerError.WRONG_CHAIN),
        ("with a flipped bit", bytes(broken), LedgerError.BAD_SIGNATURE),
        ("signed by another", bundle(world, item, signer="stranger"), LedgerError.BAD_SIGNATURE),
        ("signed for another chain", bundle(elsewhere, item), LedgerError.BAD_SIGNATURE),
    ]


@pytest.mark.evidence(
    "ACT11", asset="order", threat="a node signs a wrong bundle", mitigation="one predicate on every node"
)
def test_every_wrong_bundle_is_refused_with_its_code(world: Consortium) -> None:
    for what, raw, error in refused_bundles(world):
        with pytest.raises(Rejected) as caught:
            world.ledger.judge(raw)
        assert caught.value.error is error, what


def test_a_bundle_above_the_block_bound_is_refused() -> None:
    world = Consortium(make_genesis(limits=Limits(600_000, 1_000, 100_000, BUNDLE_BYTES_MAX)))
    items = [payment(world)] * (100_000 // world.ledger.read(payment(world)).work + 1)
    with pytest.raises(Rejected) as caught:
        world.ledger.judge(bundle(world, *items))
    assert caught.value.error is LedgerError.TOO_MUCH_WORK


def test_a_proposal_is_a_prefix_within_bytes(world: Consortium) -> None:
    bundles = [world.ledger.judge(bundle(world, payment(world), sequence=n)) for n in range(4)]
    raws = [judged.raw for judged in bundles]
    assert world.ledger.prepare_proposal(bundles, 10**7) == raws
    two = sum(len(raw) + PROPOSED_BYTES for raw in raws[:2])
    assert world.ledger.prepare_proposal(bundles, two) == raws[:2]
    assert world.ledger.prepare_proposal(bundles, two - 1) == raws[:1]
    assert world.ledger.process_proposal(bundles)


@pytest.mark.evidence(
    "ACT11", asset="order", threat="a node signs a wrong bundle", mitigation="one predicate on every node"
)
def test_a_proposal_with_a_doubled_bundle_is_not_voted_for(world: Consortium) -> None:
    good = world.ledger.judge(bundle(world, payment(world)))
    assert world.ledger.process_proposal([good])
    assert not world.ledger.process_proposal([good, good])


def test_a_proposal_over_the_block_bounds_is_not_voted_for() -> None:
    world = Consortium(make_genesis(limits=Limits(600_000, 1_000, 100_000, BUNDLE_BYTES_MAX)))
    half = [payment(world)] * (60_000 // world.ledger.read(payment(world)).work)
    heavy = [world.ledger.judge(bundle(world, *half, sequence=n)) for n in range(2)]
    assert world.ledger.process_proposal(heavy[:1])
    assert not world.ledger.process_proposal(heavy)
    assert world.ledger.prepare_proposal(heavy, 10**7) == [heavy[0].raw]


def test_a_proposal_of_too_many_bundles_is_not_voted_for(world: Consortium) -> None:
    item = payment(world)
    many = [world.ledger.judge(bundle(world, item, sequence=n)) for n in range(BLOCK_BUNDLES_MAX + 1)]
    assert not world.ledger.process_proposal(many)
    assert world.ledger.process_proposal(many[:-1])
    assert world.ledger.prepare_proposal(many, 10**7) == [judged.raw for judged in many[:-1]]


def test_the_predicate_looks_at_no_state(world: Consortium) -> None:
    poor = bundle(world, world.make("PA", pay("PA/nowhere", "KB/main", 10**17)))
    assert world.ledger.judge(poor).work > 0
