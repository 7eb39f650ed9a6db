"""What is wrong with a transaction before it runs: told alike at the door and in a block; nothing burns."""

from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from node.ledger import codec, hashing
from node.ledger.errors import ErrorCode, LedgerError, Rejected
from node.ledger.ledger import Discarded
from node.ledger.transactions import OPERATION_WORK, SIGNATURE_WORK, TRANSACTION_WORK, parse
from node.ledger.types import (
    CREATED_AHEAD_MS,
    TRANSACTION_BYTES_MAX,
    Operation,
    Receipt,
    SignedTransaction,
    Transaction,
)
from tests.kit import (
    LIMITS,
    STEP_MS,
    Consortium,
    World,
    applied,
    discarded,
    is_discarded,
    is_refused,
    make_genesis,
    op,
    pay,
    refusal,
    request_id,
)


@pytest.fixture
def world() -> Consortium:
    return Consortium()


def resigned(world: World, transaction: Sequence[Any], *officers: str) -> bytes:
    """Any value at all as a transaction, signed."""
    return world.sign(codec.encode(transaction), *officers)


def fields(world: World, **changed: Any) -> list[Any]:
    """A good transaction's fields, some of them changed."""
    values = {
        "version": 1,
        "chain": world.chain_id[:8],
        "member": "PA",
        "request_id": world.new_request_id(),
        "valid_until_ms": 0,
        "operations": [["transfers", "send", codec.encode(("PA/main", "KB/main", "CZK", 1, "", b"", ""))]],
    }
    return list((values | changed).values())


def test_the_unchanged_transaction_is_applied(world: Consortium) -> None:
    assert applied(world, resigned(world, fields(world), "PA-officer"))
    assert world.balance("PA/main") == (999, 200)


# --- bytes --------------------------------------------------------------------------------------------------

OPERATION = ["transfers", "send", codec.encode(("PA/main", "KB/main", "CZK", 1, "", b"", ""))]


@pytest.mark.parametrize(
    ("_what", "changed", "error"),
    [
        ("another version", {"version": 2}, LedgerError.MALFORMED),
        ("another chain", {"chain": b"\0" * 8}, LedgerError.WRONG_CHAIN),
        ("the whole chain id", {"chain": b"\0" * 32}, LedgerError.MALFORMED),
        ("no member", {"member": ""}, LedgerError.MALFORMED),
        ("a long member", {"member": "M" * 17}, LedgerError.MALFORMED),
        ("no operation", {"operations": []}, LedgerError.MALFORMED),
        ("101 operations", {"operations": [OPERATION] * 101}, LedgerError.MALFORMED),
        ("a negative deadline", {"valid_until_ms": -1}, LedgerError.MALFORMED),
        ("a deadline beyond the integers", {"valid_until_ms": 2**63}, LedgerError.MALFORMED),
        ("a short request id", {"request_id": bytes(15)}, LedgerError.MALFORMED),
        ("a contract without a name", {"operations": [["", "send", b"\x90"]]}, LedgerError.MALFORMED),
        ("a member with a control character", {"member": "PA\0"}, LedgerError.UNKNOWN_MEMBER),
        ("a member nobody knows", {"member": "XX"}, LedgerError.UNKNOWN_MEMBER),
        ("a member suspended", {"member": "GONE"}, LedgerError.MEMBER_SUSPENDED),
        ("a member whose key it is not", {"member": "KB"}, LedgerError.UNKNOWN_KEY),
    ],
)
def test_a_field_that_is_wrong_discards(
    _what: str, changed: dict[str, Any], error: ErrorCode, world: Consortium
) -> None:
    assert is_discarded(discarded(world, resigned(world, fields(world, **changed), "PA-officer")), error)


def test_a_hundred_operations_are_applied(world: Consortium) -> None:
    assert applied(world, world.make("PA", *[pay("PA/main", "KB/main", 1)] * 100))
    assert world.balance("KB/main") == (600, 0)


@pytest.mark.parametrize(
    "identifier",
    [
        request_id(1_700_000_000_000, 1)[:6] + b"\x40\x00" + request_id(0, 1)[8:],  # version 4
        request_id(1_700_000_000_000, 1)[:6] + b"\x80\x00" + request_id(0, 1)[8:],
        request_id(1_700_000_000_000, 1)[:8] + b"\x00" + bytes(7),  # variant 0
        request_id(1_700_000_000_000, 1)[:8] + b"\xc0" + bytes(7),
        bytes(16),
        b"\xff" * 16,
    ],
)
def test_a_request_id_that_is_no_uuid_of_version_7_discards(identifier: bytes, world: Consortium) -> None:
    assert is_discarded(
        discarded(world, resigned(world, fields(world, request_id=identifier), "PA-officer")),
        LedgerError.MALFORMED,
    )


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x00",
        b"\xc1" * 100,
        b"\x92\xc4\x00\x90",
        b"\x91" * 5_000,
        b"\xc0",
        b"null",
        b"\x80",
        bytes(TRANSACTION_BYTES_MAX),
    ],
)
def test_bytes_that_are_no_transaction_discard(raw: bytes, world: Consortium) -> None:
    assert is_discarded(discarded(world, raw), LedgerError.MALFORMED)


@pytest.mark.evidence(
    "TX2", asset="balances", threat="altered transactions", mitigation="signatures over canonical bytes"
)
def test_every_truncation_and_every_flipped_bit_of_a_transaction_discards(world: Consortium) -> None:
    good = world.make("PA", pay("PA/main", "KB/main", 1))
    broken = [good[:length] for length in range(len(good))]
    broken += [good[:at] + bytes([good[at] ^ 1 << at % 8]) + good[at + 1 :] for at in range(len(good))]
    before = world.state()
    outcomes = world.block(*broken, good)
    assert all(isinstance(outcome, Discarded) for outcome in outcomes[:-1])
    assert len({refusal(outcome) for outcome in outcomes[:-1]}) >= 4
    assert isinstance(outcomes[-1], Receipt)
    assert outcomes[-1].code == 0
    assert outcomes[-1].index == 0
    assert world.state() != before


def of_size(world: World, size: int) -> bytes:
    """A signed transaction of exactly so many bytes, otherwise good; its one operation is unknown."""
    room = size - len(world.make("PA", Operation("none", "none", bytes(70_000)))) + 70_000
    return world.make("PA", Operation("none", "none", bytes(room)))


def test_128_kib_are_decided_and_one_byte_more_is_discarded(world: Consortium) -> None:
    largest = of_size(world, TRANSACTION_BYTES_MAX)
    assert len(largest) == TRANSACTION_BYTES_MAX
    (outcome,) = world.block(largest)
    assert is_refused(outcome, LedgerError.UNKNOWN_METHOD)
    larger = of_size(world, TRANSACTION_BYTES_MAX + 1)
    assert len(larger) == TRANSACTION_BYTES_MAX + 1
    assert is_discarded(discarded(world, larger), LedgerError.TOO_LARGE)


def test_too_much_work_for_any_block_is_discarded_and_just_enough_is_not() -> None:
    genesis = make_genesis(limits=replace(LIMITS, block_work_max=100_000))
    world = World(genesis)
    world.admit("PA")
    legs = [["KB/main-account", 1, "x" * 35]] * 1_000

    def sized(reference: str, legs_count: int) -> bytes:
        batch = op(
            "transfers",
            "send_many",
            "PA/main",
            "CZK",
            1,
            tuple(map(tuple, legs[:legs_count])),
            b"",
            reference,
        )
        return world.make("PA", batch, batch)

    heavy = [sized("", count) for count in range(900, 1_001, 2)]
    generous = world.ledger.chain._replace(limits=LIMITS)
    works = [parse(raw, generous).work for raw in heavy]
    fits = sum(work <= 100_000 for work in works)
    assert works == sorted(works)
    assert 0 < fits < len(heavy), "the sizes straddle the bound"
    for raw, work in zip(heavy[:fits], works, strict=False):
        assert parse(raw, world.ledger.chain).work == work
    for raw in heavy[fits:]:
        assert is_discarded(discarded(world, raw), LedgerError.TOO_MUCH_WORK)


def test_work_is_a_function_of_signatures_operations_and_argument_bytes(world: Consortium) -> None:
    one = parse(world.make("PA", pay("PA/main", "KB/main", 1)), world.ledger.chain)
    arguments = len(one.transaction.operations[0].arguments)
    assert one.work == TRANSACTION_WORK + SIGNATURE_WORK + OPERATION_WORK + arguments // 8
    two = parse(
        world.make("PA", *[pay("PA/main", "KB/main", 1)] * 2, officers=("a", "b", "c")), world.ledger.chain
    )
    assert two.work == TRANSACTION_WORK + 3 * SIGNATURE_WORK + 2 * OPERATION_WORK + 2 * arguments // 8
    batch = op("transfers", "send_many", "PA/main", "CZK", 5, (("KB/main", 5, ""),), b"", "")
    many = parse(world.make("PA", batch), world.ledger.chain)
    assert many.work == TRANSACTION_WORK + SIGNATURE_WORK + OPERATION_WORK + len(batch.arguments)
    unknown = parse(world.make("PA", Operation("x", "y", bytes(800))), world.ledger.chain)
    assert unknown.work == TRANSACTION_WORK + SIGNATURE_WORK + OPERATION_WORK + 100


# --- the life of a transaction ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("late_ms", "valid_ms", "error"),
    [
        (-CREATED_AHEAD_MS, 0, None),
        (-CREATED_AHEAD_MS - 1, 0, LedgerError.NOT_YET_ALIVE),
        (LIMITS.lifetime_ms, 0, None),
        (LIMITS.lifetime_ms + 1, 0, LedgerError.EXPIRED),
        (5_000, 5_000, None),
        (5_001, 5_000, LedgerError.EXPIRED),
        (LIMITS.lifetime_ms + 1, LIMITS.lifetime_ms * 2, LedgerError.EXPIRED),  # no deadline revives it
        (-10, -5, None),
        (0, -1, LedgerError.EXPIRED),
    ],
)
def test_a_transaction_is_alive_exactly_between_its_bounds(
    late_ms: int, valid_ms: int, error: ErrorCode | None, world: Consortium
) -> None:
    time_ms = world.time_ms + 10_000
    created = time_ms - late_ms
    valid_until = created + valid_ms if valid_ms else 0
    raw = world.make("PA", pay("PA/main", "KB/main", 1), created_ms=created, valid_until_ms=valid_until)
    if error:
        assert is_discarded(discarded(world, raw, time_ms=time_ms, door=False), error)
        assert world.time_ms < time_ms
    else:
        assert applied(world, raw, time_ms=time_ms)


def test_the_door_judges_by_the_time_of_the_head(world: Consortium) -> None:
    ahead = world.make("PA", pay("PA/main", "KB/main", 1), created_ms=world.time_ms + CREATED_AHEAD_MS + 1)
    with pytest.raises(Rejected) as refused:
        world.knock(ahead)
    assert refused.value.error is LedgerError.NOT_YET_ALIVE
    world.apply("PA", pay("PA/main", "KB/main", 1), time_ms=world.time_ms + 1)
    assert len(world.knock(ahead)) == 1


# --- arguments: genuine, so decided and refused -------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "error"),
    [
        (pay("PA/main", "KB/main", 0), LedgerError.BAD_ARGUMENTS),
        (pay("PA/main", "KB/main", -1), LedgerError.BAD_ARGUMENTS),
        (pay("PA/main", "KB/main", 10**18 + 1), LedgerError.BAD_ARGUMENTS),
        (pay("PA/main", "KB/main", 2**63), LedgerError.BAD_ARGUMENTS),
        (op("transfers", "send", "PA/main", "KB/main", "CZK", 1.0, "", b"", ""), LedgerError.BAD_ARGUMENTS),
        (op("transfers", "send", "PA/main", "KB/main", "CZK", "١٢", "", b"", ""), LedgerError.BAD_ARGUMENTS),
        (
            op("transfers", "send", "PA/main", "KB/main", "CZK", bool(1), "", b"", ""),
            LedgerError.BAD_ARGUMENTS,
        ),
        (op("transfers", "send", "PA/main", "KB/main", "CZK", 1, "", b""), LedgerError.BAD_ARGUMENTS),
        (op("transfers", "send", "PA/main", "KB/main", "CZK", 1, "", b"", "", 0), LedgerError.BAD_ARGUMENTS),
        (
            op("transfers", "send", "PA/main", "KB/main", "CZK", 1, "x" * 36, b"", ""),
            LedgerError.BAD_ARGUMENTS,
        ),
        (pay("PA/main", "KB/main", 1, reference="a\nb"), LedgerError.BAD_TEXT),
        (pay("PA/main", "KB/main", 1, reference="\x9b"), LedgerError.BAD_TEXT),
        (pay("PA/main\0", "KB/main", 1), LedgerError.BAD_TEXT),
        (op("transfers", "send_all", "PA/main"), LedgerError.UNKNOWN_METHOD),
        (op("transfer", "send", "PA/main"), LedgerError.UNKNOWN_METHOD),
        (
            op("transfers", "get_hold", "PA/main", bytes(32)),
            LedgerError.UNKNOWN_METHOD,
        ),  # a query is no method
        (op("transfers", "on_block"), LedgerError.UNKNOWN_METHOD),
        (op("assets", "move", "PA/main", "KB/main", "CZK", 1), LedgerError.UNKNOWN_METHOD),
        (op("transfers", "send_many", "PA/main", "CZK", 1, (), b"", ""), LedgerError.BAD_ARGUMENTS),
        (
            op("transfers", "send_many", "PA/main", "CZK", 1_001, (("KB/main", 1, ""),) * 1_001, b"", ""),
            LedgerError.BAD_ARGUMENTS,
        ),
    ],
)
def test_arguments_that_do_not_fit_are_refused_and_undo_the_whole(
    operation: Operation, error: ErrorCode, world: Consortium
) -> None:
    raw = world.make("PA", pay("PA/main", "KB/main", 7), operation, pay("PA/main", "KB/main", 8))
    world.knock(raw)  # the door lets it pass: it is genuine, so it will be decided
    before = world.state()
    (outcome,) = world.block(raw)
    assert is_refused(outcome, error)
    assert isinstance(outcome, Receipt)
    assert (outcome.failed_operation, outcome.events) == (2, ())
    assert world.state() == before
    (again,) = world.block(raw)
    assert is_discarded(again, LedgerError.DUPLICATE)


def test_a_batch_of_a_thousand_legs_is_applied(world: Consortium) -> None:
    world.apply("CNB", op("assets", "issue", "CZK", "PA/main", 200, ""))
    legs = tuple((("KB/main", "CNB/main")[n % 2], 1, f"e{n}") for n in range(1_000))
    receipt = world.apply("PA", op("transfers", "send_many", "PA/main", "CZK", 1_000, legs, b"", ""))
    assert len(receipt.events) == 1
    assert world.balance("PA/main") == (200, 200)
    assert (world.balance("KB/main"), world.balance("CNB/main")) == ((1_000, 0), (900, 0))


def test_the_shape_of_a_transaction_is_that_of_the_formats(world: Consortium) -> None:
    raw = world.make("PA", pay("PA/main", "KB/main", 1), valid_until_ms=world.time_ms + STEP_MS)
    signed: SignedTransaction = codec.decoder(SignedTransaction)(raw)
    transaction: Transaction = codec.decoder(Transaction)(signed.transaction)
    candidate = parse(raw, world.ledger.chain)
    assert candidate.tx_id == hashing.INTERNATIONAL.digest(b"vostro/tx/1\0" + signed.transaction)
    assert candidate.signed_hash == hashing.INTERNATIONAL.digest(b"vostro/signed/1\0" + raw)
    assert candidate.created_ms == int.from_bytes(transaction.request_id[:6], "big") == world.time_ms
