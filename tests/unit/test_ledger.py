"""Discarded or decided: what burns a request id, what does not, and what is told about one that is spent."""

import pytest

from node.ledger import codec
from node.ledger.errors import InvariantViolated, LedgerError, Rejected
from node.ledger.hashing import INTERNATIONAL, ZERO_HASH
from node.ledger.ledger import Discarded
from node.ledger.ports import Spent
from node.ledger.types import KeySignature, Leaf, Receipt, SignedTransaction
from tests.checker import check_ledger
from tests.kit import (
    STEP_MS,
    Consortium,
    World,
    is_discarded,
    is_refused,
    make_genesis,
    new_key,
    op,
    pay,
    refusal,
    told,
)


@pytest.fixture
def world() -> Consortium:
    return Consortium()


def stripped(world: World, good: bytes) -> list[bytes]:
    """Copies of a transaction of two officers whose signatures somebody broke, cut or exchanged."""
    signed: SignedTransaction = codec.decoder(SignedTransaction)(good)
    one, two = signed.signatures
    flipped = KeySignature(one.key_id, bytes(63) + b"\1")
    exchanged = KeySignature(one.key_id, two.signature), KeySignature(two.key_id, one.signature)
    other: SignedTransaction = codec.decoder(SignedTransaction)(world.sign(signed.transaction, "stranger"))
    (stranger,) = other.signatures
    return [
        codec.encode(SignedTransaction(signed.transaction, entries))
        for entries in ((one,), (two,), (flipped, two), exchanged, (stranger,))
    ]


@pytest.mark.evidence(
    "TX3",
    asset="availability",
    threat="a broken copy ordered first",
    mitigation="what is discarded spends nothing",
)
def test_copies_with_broken_signatures_ordered_first_burn_nothing(world: Consortium) -> None:
    resume = op("members", "resume", "GONE")
    for place in ("same block", "next block"):
        good = world.make("ADMIN", resume)
        copies = stripped(world, good)
        if place == "same block":
            *discarded, decided = world.block(*copies, good)
        else:
            discarded = list(world.block(*copies))
            (decided,) = world.block(good)
        assert [refusal(outcome)[1] for outcome in discarded] == [14, 14, 13, 13, 10]
        assert all(isinstance(outcome, Discarded) and outcome.spent is None for outcome in discarded)
        assert isinstance(decided, Receipt)
        assert (decided.code, decided.index) == (0, 0)
        resume = op("members", "suspend", "GONE", "again")
    check_ledger(world.blocks(), world.genesis)


@pytest.mark.evidence(
    "ACT9", asset="balances", threat="a transaction is sent again", mitigation="spent request ids"
)
def test_the_same_bytes_again_are_told_where_their_receipt_stands(world: Consortium) -> None:
    other, good = (world.make("PA", pay("PA/main", "KB/main", 5)) for _ in range(2))
    outcomes = world.block(other, good, good)
    height = world.height
    assert world.balance("KB/main") == (510, 0)
    later = world.block(good)
    much_later = world.block(good, other, time_ms=world.time_ms + 500_000)
    for outcome, index in ((outcomes[2], 1), (later[0], 1), (much_later[0], 1), (much_later[1], 0)):
        assert is_discarded(outcome, LedgerError.DUPLICATE)
        assert isinstance(outcome, Discarded)
        assert outcome.spent is not None
        first = outcomes[index]
        assert isinstance(first, Receipt)
        assert outcome.spent == Spent(first.tx_id, height, index)
        assert outcome.details["spent_by"] == first.tx_id.hex()
    assert world.balance("KB/main") == (510, 0)


def test_a_copy_with_another_set_of_officers_is_the_same_transaction(world: Consortium) -> None:
    world.apply("PA", op("members", "register_key", new_key("PA-second")))
    body = world.body("PA", pay("PA/main", "KB/main", 5))
    first, second = world.block(world.sign(body, "PA-second"), world.sign(body, "PA-officer", "PA-second"))
    assert isinstance(first, Receipt)
    assert first.code == 0
    assert is_discarded(second, LedgerError.DUPLICATE)


@pytest.mark.evidence(
    "TX3", asset="balances", threat="a transaction counts twice", mitigation="spent request ids"
)
def test_a_request_id_spent_by_other_content_names_the_spender(world: Consortium) -> None:
    identifier = world.new_request_id()
    one, two = (world.make("PA", pay("PA/main", "KB/main", amount), use_id=identifier) for amount in (1, 2))
    first, second = world.block(one, two)
    (third,) = world.block(two)
    assert isinstance(first, Receipt)
    assert first.code == 0
    for outcome in (second, third):
        assert is_discarded(outcome, LedgerError.REQUEST_ID_SPENT)
        assert isinstance(outcome, Discarded)
        assert outcome.spent == Spent(first.tx_id, world.height - 1, 0)
    assert world.balance("KB/main") == (501, 0)


@pytest.mark.evidence(
    "TX3", asset="balances", threat="a transaction counts twice", mitigation="spent request ids"
)
def test_a_refused_transaction_spends_its_id_too(world: Consortium) -> None:
    raw = world.make("PA", pay("PA/main", "KB/main", 10_000))
    first, second = world.block(raw, raw)
    assert isinstance(first, Receipt)
    assert refusal(first) == ("assets", 14)
    assert is_discarded(second, LedgerError.DUPLICATE)


def test_the_same_request_id_of_two_members_is_two_ids(world: Consortium) -> None:
    identifier = world.new_request_id()
    outcomes = world.block(
        world.make("PA", pay("PA/main", "KB/main", 1), use_id=identifier),
        world.make("KB", pay("KB/main", "PA/main", 2), use_id=identifier),
    )
    assert [refusal(outcome) for outcome in outcomes] == [("", 0)] * 2
    assert world.balance("KB/main") == (499, 0)


@pytest.mark.evidence(
    "TX3", asset="balances", threat="a transaction counts twice", mitigation="spent request ids"
)
def test_a_spent_id_is_dead_by_its_time_before_it_is_forgotten(world: Consortium) -> None:
    raw = world.make("PA", pay("PA/main", "KB/main", 1))
    world.block(raw)
    created = world.time_ms - STEP_MS
    for after, error in (
        (600_000, LedgerError.DUPLICATE),
        (600_001, LedgerError.EXPIRED),
        (10**9, LedgerError.EXPIRED),
    ):
        keep_alive = world.make("PA", pay("PA/main", "KB/main", 1), created_ms=created + after)
        outcome, kept = world.block(raw, keep_alive, time_ms=created + after)
        assert is_discarded(outcome, error)
        assert isinstance(kept, Receipt)
        assert kept.code == 0


@pytest.mark.evidence(
    "ACT1", asset="balances", threat="a part of a transaction counts", mitigation="savepoints"
)
def test_of_two_operations_the_failing_one_is_named_and_both_are_undone(world: Consortium) -> None:
    before = world.state()
    (outcome,) = world.block(
        world.make("PA", pay("PA/main", "KB/main", 5), pay("PA/main", "KB/main", 796), pay("x/1", "y/1", 1))
    )
    assert isinstance(outcome, Receipt)
    assert (refusal(outcome), outcome.failed_operation, outcome.events) == (("assets", 14), 2, ())
    assert world.state() == before
    later = world.apply("PA", pay("PA/main", "KB/main", 5), pay("PA/main", "KB/main", 795))
    assert [event for event, _ in told(later)] == ["transfers.Sent"] * 2


def test_receipts_leaves_and_bodies_are_those_of_the_decided_in_their_order(world: Consortium) -> None:
    good, poor = (
        world.make("PA", pay("PA/main", "KB/main", 1)),
        world.make("PA", pay("PA/main", "KB/main", 10_000)),
    )
    outcomes = world.block(b"junk", poor, good, poor)
    record = world.blocks()[-1]
    assert [isinstance(outcome, Receipt) for outcome in outcomes] == [False, True, True, False]
    assert record.bodies == (poor, good)
    assert record.receipts == tuple(codec.encode(outcome) for outcome in outcomes[1:3])
    leaves: list[Leaf] = [codec.decoder(Leaf)(leaf) for leaf in record.leaves]
    assert [leaf.signed_hash for leaf in leaves] == [
        INTERNATIONAL.digest(b"vostro/signed/1\0" + raw) for raw in (poor, good)
    ]
    assert [(spent[2], spent[3]) for spent in record.spent] == [
        (leaf.tx_id, at) for at, leaf in enumerate(leaves)
    ]


def test_what_was_read_at_the_door_is_judged_anew_in_the_block(world: Consortium) -> None:
    raw = world.make("PA", pay("PA/main", "KB/main", 1))
    world.knock(raw)
    suspend = world.make("ADMIN", op("members", "suspend", "PA", "now"))
    first, second = world.block(suspend, raw)
    assert isinstance(first, Receipt)
    assert first.code == 0
    assert is_discarded(second, LedgerError.MEMBER_SUSPENDED)
    with pytest.raises(Rejected) as refused:
        world.knock(raw)
    assert refused.value.error is LedgerError.MEMBER_SUSPENDED


def test_a_suspended_member_can_be_credited_and_signs_again_when_resumed(world: Consortium) -> None:
    world.apply("ADMIN", op("members", "suspend", "KB", "now"))
    world.apply("PA", pay("PA/main", "KB/main", 5))
    assert is_discarded(
        world.block(world.make("KB", pay("KB/main", "PA/main", 5)))[0], LedgerError.MEMBER_SUSPENDED
    )
    world.apply("ADMIN", op("members", "resume", "KB"))
    world.apply("KB", pay("KB/main", "PA/main", 5))


def test_a_contract_acts_from_its_height_on() -> None:
    names = (("members", 0), ("assets", 0), ("transfers", 0), ("blacklist", 4))
    world = World(make_genesis(contracts=names))
    world.admit("PA")
    look_up = op("blacklist", "look_up", bytes(32), "lending")
    for _ in range(2):
        assert is_refused(world.send("PA", look_up), LedgerError.UNKNOWN_METHOD)
    world.apply("PA", look_up)
    assert world.height == 4


def test_a_contract_that_genesis_does_not_name_never_acts() -> None:
    world = World(make_genesis(contracts=(("members", 0), ("assets", 0))))
    world.admit("PA")
    assert is_refused(
        world.send("PA", op("blacklist", "look_up", bytes(32), "lending")), LedgerError.UNKNOWN_METHOD
    )
    with pytest.raises(Rejected) as refused:
        world.ledger.query("blacklist", "list_listings", codec.encode((bytes(32),)))
    assert refused.value.error is LedgerError.UNKNOWN_METHOD


def test_a_genesis_that_names_a_contract_this_release_lacks_is_not_run() -> None:
    with pytest.raises(InvariantViolated, match="lottery"):
        World(make_genesis(contracts=(("members", 0), ("lottery", 0))))


def test_a_query_reads_the_published_state_and_refuses_like_a_method(world: Consortium) -> None:
    def ask(contract: str, query: str, *arguments: object) -> object:
        return world.ledger.query(contract, query, codec.encode(arguments))

    assert ask("assets", "get_balance", "PA/main", "CZK") == world.record(
        "assets", "balance", "PA/main", "CZK"
    )
    for contract, query, arguments, error in (
        ("assets", "get_balance", ("PA/none", "CZK"), ("assets", 9)),
        ("assets", "get_balance", ("PA/main",), ("ledger", 16)),
        ("assets", "get_balance", ("PA/main\n", "CZK"), ("ledger", 17)),
        ("assets", "issue", ("CZK", "PA/main", 1, ""), ("ledger", 15)),
        ("nobody", "get", (), ("ledger", 15)),
    ):
        with pytest.raises(Rejected) as refused:
            ask(contract, query, *arguments)
        assert (refused.value.error.codespace, refused.value.error.code) == error


def test_a_ledger_opens_a_store_where_the_last_one_left_it(world: Consortium) -> None:
    again = World(world.genesis, store=world.store)
    assert again.ledger.info() == world.ledger.info()
    again.numbers, again.height, again.officers = world.numbers, world.height, world.officers
    raw = world.make("PA", pay("PA/main", "KB/main", 5))
    assert again.finalize(raw) == world.finalize(raw)


def test_a_store_of_another_chain_or_with_another_state_is_not_opened(world: Consortium) -> None:
    with pytest.raises(InvariantViolated, match="another chain"):
        World(make_genesis(time_ms=1), store=world.store)
    world.store._tree.put([(b"\1" * 32, b"\2" * 32)])
    with pytest.raises(InvariantViolated, match="stored state"):
        World(world.genesis, store=world.store)


def test_genesis_is_block_zero_and_begins_only_once() -> None:
    world = World()
    (record,) = world.blocks()
    assert (record.height, record.leaves, record.receipts, record.bodies) == (0, (), (), ())
    assert world.ledger.info().app_hash == record.app_hash != ZERO_HASH
    with pytest.raises(InvariantViolated, match="begun"):
        world.ledger.init_chain()
    check_ledger(world.blocks(), world.genesis)
