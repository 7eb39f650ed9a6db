"""What is wrong with a transaction before it runs: each fault is told alike at the door and in a block, and burns nothing."""

from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from contracts.members import Rule
from node.ledger import codec, hashing
from node.ledger.errors import ErrorCode, LedgerError, Rejected
from node.ledger.ledger import Discarded
from node.ledger.transactions import CREATED_AHEAD_MS, OPERATION_WORK, SIGNATURE_WORK, TRANSACTION_WORK, parse
from node.ledger.types import (
    TRANSACTION_BYTES_MAX,
    KeySignature,
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
    is_discarded,
    is_refused,
    make_genesis,
    new_key,
    officer,
    op,
    pay,
    refusal,
    request_id,
)


@pytest.fixture
def world() -> Consortium:
    return Consortium()


def expect_discarded(
    world: World, raw: bytes, error: ErrorCode, *, time_ms: int | None = None, door: bool = True
) -> Discarded:
    """The item is refused at the door and discarded in a block, for the same reason, without a trace."""
    if door:
        with pytest.raises(Rejected) as refused:
            world.knock(raw)
        assert refused.value.error is error
    before, head = world.state(), world.ledger.info()
    (outcome,) = world.block(raw, time_ms=time_ms)
    assert is_discarded(outcome, error), outcome
    assert (world.state(), world.ledger.info()) == (before, head)
    assert isinstance(outcome, Discarded)
    return outcome


def applied(world: World, raw: bytes, *, time_ms: int | None = None) -> bool:
    (outcome,) = world.block(raw, time_ms=time_ms)
    return isinstance(outcome, Receipt) and outcome.code == 0


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


# --- bytes --------------------------------------------------------------------------------------------------------------

OPERATION = ["transfers", "send", codec.encode(("PA/main", "KB/main", "CZK", 1, "", b"", ""))]


@pytest.mark.parametrize(
    ("what", "changed", "error"),
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
    what: str, changed: dict[str, Any], error: ErrorCode, world: Consortium
) -> None:
    expect_discarded(world, resigned(world, fields(world, **changed), "PA-officer"), error)


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
    expect_discarded(
        world, resigned(world, fields(world, request_id=identifier), "PA-officer"), LedgerError.MALFORMED
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
    expect_discarded(world, raw, LedgerError.MALFORMED)


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
    expect_discarded(world, larger, LedgerError.TOO_LARGE)


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
    works = []
    for raw in heavy:
        try:
            works.append(parse(raw, world.ledger.chain).work)
        except Rejected as refused:
            assert refused.error is LedgerError.TOO_MUCH_WORK
            assert refused.details["most"] == 100_000
            expect_discarded(world, raw, LedgerError.TOO_MUCH_WORK)
    assert works == sorted(works)
    assert 0 < len(works) < len(heavy), "the sizes straddle the bound"
    assert works[-1] <= 100_000


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


# --- signatures ---------------------------------------------------------------------------------------------------------


def with_signatures(world: World, body: bytes, entries: Sequence[KeySignature]) -> bytes:
    return codec.encode((body, tuple((entry.key_id, entry.signature) for entry in entries)))


def entries_of(raw: bytes) -> list[KeySignature]:
    return list(codec.decoder(SignedTransaction)(raw).signatures)


def team(world: Consortium, size: int) -> tuple[str, ...]:
    """PA has so many officers more."""
    names = tuple(f"PA-{number}" for number in range(size))
    world.apply("PA", *(op("members", "register_key", new_key(name)) for name in names))
    return names


def test_one_to_sixteen_signatures_are_admitted_in_order_of_distinct_key_ids(world: Consortium) -> None:
    names = team(world, 17)
    body = world.body("PA", pay("PA/main", "KB/main", 1))
    for error, chosen in ((LedgerError.MALFORMED, names[:17]), (LedgerError.MALFORMED, ())):
        expect_discarded(world, world.sign(body, *chosen), error)
    assert applied(world, world.sign(body, *names[:16]))


def test_unsorted_and_duplicate_signatures_discard(world: Consortium) -> None:
    names = team(world, 3)
    body = world.body("PA", pay("PA/main", "KB/main", 1))
    first, second, third = entries_of(world.sign(body, *names))
    for wrong in ([second, first], [first, first], [first, third, second], [first, second, second]):
        expect_discarded(world, with_signatures(world, body, wrong), LedgerError.MALFORMED)
    assert applied(world, with_signatures(world, body, [first, second, third]))


def test_a_signature_by_the_wrong_key_over_the_wrong_words_or_with_a_flipped_bit_discards(
    world: Consortium,
) -> None:
    names = team(world, 2)
    body = world.body("PA", pay("PA/main", "KB/main", 1))
    one, two = entries_of(world.sign(body, *names))
    tx_id = hashing.INTERNATIONAL.digest(hashing.TX + body)
    signer = next(officer(name) for name in names if officer(name).key_id == one.key_id)
    wrong = [
        two.signature,
        bytes(64),
        one.signature[:-1] + bytes([one.signature[-1] ^ 0x10]),
        signer.sign(body),
        signer.sign(tx_id),
        signer.sign(hashing.SIGN_TX + tx_id),
        signer.sign(hashing.SIGN_TX + bytes(32) + tx_id),
        signer.sign(hashing.SIGN_BUNDLE + world.chain_id + tx_id),
        signer.sign(hashing.SIGN_HEADER + world.chain_id + tx_id),
    ]
    for signature in wrong:
        raw = with_signatures(world, body, [KeySignature(one.key_id, signature), two])
        expect_discarded(world, raw, LedgerError.BAD_SIGNATURE, door=False)
    assert applied(world, with_signatures(world, body, [one, two]))


def test_every_signature_counts_even_where_one_would_do(world: Consortium) -> None:
    stranger = KeySignature(officer("stranger").key_id, bytes(64))
    body = world.body("PA", pay("PA/main", "KB/main", 1))
    entries = sorted([*entries_of(world.sign(body, "PA-officer")), stranger], key=lambda entry: entry.key_id)
    expect_discarded(world, with_signatures(world, body, entries), LedgerError.UNKNOWN_KEY)


def test_a_retired_key_signs_up_to_the_height_before_its_retirement(world: Consortium) -> None:
    (name,) = team(world, 1)
    last = world.height + 4
    world.apply("PA", op("members", "retire_key", officer(name).key_id, last))
    while world.height < last - 1:
        world.apply("PA", pay("PA/main", "KB/main", 1), officers=(name,))
    expect_discarded(
        world, world.make("PA", pay("PA/main", "KB/main", 1), officers=(name,)), LedgerError.KEY_NOT_ACTIVE
    )


def test_a_key_signs_from_the_next_transaction_on_and_a_revoked_one_no_more_from_there(
    world: Consortium,
) -> None:
    early = world.make("PA", pay("PA/main", "KB/main", 1), officers=("new",))
    register = world.make("PA", op("members", "register_key", new_key("new")))
    late = world.make("PA", pay("PA/main", "KB/main", 2), officers=("new",))
    revoke = world.make("PA", op("members", "revoke_key", officer("new").key_id))
    after = world.make("PA", pay("PA/main", "KB/main", 4), officers=("new",))
    outcomes = world.block(early, register, late, revoke, after)
    assert is_discarded(outcomes[0], LedgerError.UNKNOWN_KEY)
    assert [refusal(outcome) for outcome in outcomes[1:4]] == [("", 0)] * 3
    assert is_discarded(outcomes[4], LedgerError.KEY_NOT_ACTIVE)
    assert world.balance("KB/main") == (502, 0)


@pytest.mark.parametrize(
    ("scopes", "error"),
    [
        (("*",), None),
        (("transfers",), None),
        (("transfers.send",), None),
        (("assets", "transfers.reserve", "transfers.send"), None),
        (("transfers.reserve",), LedgerError.KEY_OUT_OF_SCOPE),
        (("transfers.send_many",), LedgerError.KEY_OUT_OF_SCOPE),
        (("assets",), LedgerError.KEY_OUT_OF_SCOPE),
        (("send",), LedgerError.KEY_OUT_OF_SCOPE),
    ],
)
def test_a_key_signs_within_its_scopes_only(
    scopes: tuple[str, ...], error: ErrorCode | None, world: Consortium
) -> None:
    world.apply("PA", op("members", "register_key", new_key("scoped", scopes=scopes)))
    raw = world.make("PA", pay("PA/main", "KB/main", 1), officers=("scoped",))
    if error:
        expect_discarded(world, raw, error)
    else:
        assert applied(world, raw)


def test_a_key_must_be_in_scope_for_every_operation_and_every_key_of_them(world: Consortium) -> None:
    world.apply("PA", op("members", "register_key", new_key("scoped", scopes=("transfers.send",))))
    both = (pay("PA/main", "KB/main", 1), op("assets", "freeze_account", "PA/empty"))
    for officers in (("scoped",), ("scoped", "PA-officer")):
        expect_discarded(world, world.make("PA", *both, officers=officers), LedgerError.KEY_OUT_OF_SCOPE)
    assert applied(world, world.make("PA", *both))


# --- the signing policy -------------------------------------------------------------------------------------------------


def policed(world: Consortium, *rules: Rule) -> None:
    """PA has three officers, one of them with two keys, and this policy."""
    keys = (new_key("two"), new_key("three"), new_key("two-again", holder="two"))
    world.apply("PA", *(op("members", "register_key", key) for key in keys))
    world.apply("PA", op("members", "set_policy", rules))


@pytest.mark.parametrize(
    ("amount", "officers", "enough"),
    [
        (99, ("PA-officer",), True),
        (100, ("PA-officer",), False),
        (100, ("PA-officer", "two"), True),
        (100, ("two", "two-again"), False),  # one holder with two keys
        (499, ("PA-officer", "two", "two-again"), True),
        (500, ("PA-officer", "two"), False),
        (500, ("PA-officer", "two", "three"), True),
    ],
)
def test_the_strictest_rule_that_fits_says_how_many_officers(
    amount: int, officers: tuple[str, ...], enough: bool, world: Consortium
) -> None:
    policed(
        world,
        Rule("transfers", "send", "CZK", 500, 3),
        Rule("*", "*", "CZK", 100, 2),
        Rule("transfers", "send", "EUR", 0, 3),
        Rule("transfers", "reserve", "CZK", 0, 3),
    )
    raw = world.make("PA", pay("PA/main", "KB/main", amount), officers=officers)
    if enough:
        assert applied(world, raw)
    else:
        assert expect_discarded(world, raw, LedgerError.POLICY_NOT_MET).details["required"] > 1


def test_an_amount_split_inside_one_transaction_is_weighed_as_one(world: Consortium) -> None:
    policed(world, Rule("transfers", "send", "CZK", 100, 2))
    split = [pay("PA/main", "KB/main", 50), pay("PA/main", "CNB/main", 50)]
    expect_discarded(world, world.make("PA", *split), LedgerError.POLICY_NOT_MET)
    assert applied(world, world.make("PA", split[0], pay("PA/main", "CNB/main", 49)))
    assert applied(world, world.make("PA", *split, officers=("PA-officer", "three")))


def test_the_total_of_a_batch_is_what_the_policy_weighs(world: Consortium) -> None:
    policed(world, Rule("transfers", "*", "CZK", 100, 2))
    legs = (("KB/main", 60, ""), ("CNB/main", 40, ""))
    raw = world.make("PA", op("transfers", "send_many", "PA/main", "CZK", 100, legs, b"", ""))
    expect_discarded(world, raw, LedgerError.POLICY_NOT_MET)


def test_a_rule_without_an_amount_binds_methods_that_have_none(world: Consortium) -> None:
    policed(world, Rule("assets", "*", "", 0, 2))
    raw = world.make("PA", op("assets", "freeze_account", "PA/empty"))
    expect_discarded(world, raw, LedgerError.POLICY_NOT_MET)
    assert applied(world, world.make("PA", pay("PA/main", "KB/main", 1)))


def test_administrators_need_as_many_as_genesis_says(world: Consortium) -> None:
    resume = op("members", "resume", "GONE")
    expect_discarded(world, world.make("ADMIN", resume, officers=("chair",)), LedgerError.POLICY_NOT_MET)
    assert applied(world, world.make("ADMIN", resume, officers=("deputy", "secretary")))


# --- the life of a transaction ------------------------------------------------------------------------------------------


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
        expect_discarded(world, raw, error, time_ms=time_ms, door=False)
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


# --- arguments: genuine, so decided and refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "error"),
    [
        (pay("PA/main", "KB/main", 0), LedgerError.BAD_ARGUMENTS),
        (pay("PA/main", "KB/main", -1), LedgerError.BAD_ARGUMENTS),
        (pay("PA/main", "KB/main", 10**18 + 1), LedgerError.BAD_ARGUMENTS),
        (pay("PA/main", "KB/main", 2**63), LedgerError.BAD_ARGUMENTS),
        (op("transfers", "send", "PA/main", "KB/main", "CZK", 1.0, "", b"", ""), LedgerError.BAD_ARGUMENTS),
        (op("transfers", "send", "PA/main", "KB/main", "CZK", "١٢", "", b"", ""), LedgerError.BAD_ARGUMENTS),
        (op("transfers", "send", "PA/main", "KB/main", "CZK", True, "", b"", ""), LedgerError.BAD_ARGUMENTS),
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
    signed = codec.decoder(SignedTransaction)(raw)
    transaction = codec.decoder(Transaction)(signed.transaction)
    candidate = parse(raw, world.ledger.chain)
    assert candidate.tx_id == hashing.INTERNATIONAL.digest(b"vostro/tx/1\0" + signed.transaction)
    assert candidate.signed_hash == hashing.INTERNATIONAL.digest(b"vostro/signed/1\0" + raw)
    assert candidate.created_ms == int.from_bytes(transaction.request_id[:6], "big") == world.time_ms
