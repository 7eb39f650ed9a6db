"""Whatever the bytes: one encoding a value, a coded answer for the rest, and no trace of what was refused."""

from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from contracts import assemble
from node.ledger import codec
from node.ledger.contract import Method, Rejected
from node.ledger.errors import LedgerError
from node.ledger.ledger import Discarded
from node.ledger.types import Operation, Receipt, SignedTransaction, Transaction
from tests.checker import check_ledger
from tests.contracts.refusals import ALL
from tests.kit import Consortium, op, pay

METHODS = {
    (contract.name, name): method for contract in assemble() for name, method in contract.methods.items()
}
DECODERS: list[Any] = [codec.decoder(SignedTransaction), codec.decoder(Transaction), *METHODS.values()]
WORLD = Consortium()
GOOD = WORLD.make("PA", pay("PA/main", "KB/main", 1))

scalars = st.one_of(
    st.integers(-(2**63), 2**64 - 1),
    st.text(max_size=8),
    st.binary(max_size=40),
    st.booleans(),
    st.none(),
    st.floats(),
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=6), max_leaves=8)


def decode(decoder: Any, data: bytes) -> Any:
    return decoder.decode(data) if isinstance(decoder, Method) else decoder(data)


@settings(max_examples=150, deadline=None)
@given(
    data=st.one_of(st.binary(max_size=200), values.map(msgspec.msgpack.encode)),
    at=st.integers(0, len(DECODERS) - 1),
)
@example(data=b"\x90", at=0)
def test_bytes_are_refused_or_are_the_encoding_of_what_was_decoded(data: bytes, at: int) -> None:
    try:
        value = decode(DECODERS[at], data)
    except (codec.NotCanonical, Rejected):
        return
    assert codec.encode(value) == data


def plain(case: Any) -> list[Any]:
    wire: list[Any] = msgspec.msgpack.decode(
        codec.encode([bytes(32) if callable(value) else value for value in case.arguments.values()])
    )
    return wire


@settings(max_examples=120, deadline=None)
@given(case=st.sampled_from([case for case in ALL if case.arguments]), data=st.data())
def test_arguments_one_value_of_which_is_exchanged_are_refused_or_canonical(
    case: Any, data: st.DataObject
) -> None:
    arguments = plain(case)
    at = data.draw(st.integers(0, len(arguments) - 1))
    arguments[at] = data.draw(values)
    wire = msgspec.msgpack.encode(arguments)
    try:
        decoded = METHODS[case.contract, case.method].decode(wire)
    except Rejected as refused:
        assert refused.error in (LedgerError.BAD_ARGUMENTS, LedgerError.BAD_TEXT)  # noqa: PT017
    else:
        assert codec.encode(decoded) == wire


edits = st.lists(
    st.tuples(st.sampled_from(("flip", "cut", "insert")), st.integers(0, len(GOOD) - 1), st.integers(0, 255)),
    min_size=1,
    max_size=6,
)


def edited(data: bytes, changes: list[tuple[str, int, int]]) -> bytes:
    for how, at, byte in changes:
        if how == "flip":
            data = data[:at] + bytes([data[at] ^ (byte or 1)]) + data[at + 1 :] if at < len(data) else data
        elif how == "cut":
            data = data[:at] + data[at + 1 + byte % 4 :]
        else:
            data = data[:at] + bytes([byte]) + data[at:]
    return data


@settings(max_examples=200, deadline=None)
@given(edits)
def test_an_edited_transaction_is_discarded_and_changes_nothing(changes: list[tuple[str, int, int]]) -> None:
    raw = edited(GOOD, changes)
    finalized = WORLD.finalize(raw)
    (outcome,) = finalized.outcomes
    if raw == GOOD:
        assert isinstance(outcome, Receipt)
        return
    assert isinstance(outcome, Discarded)
    assert finalized.record is None
    assert not finalized.alarms


def decided(outcome: Receipt | Discarded) -> tuple[str, int, tuple[Any, ...]]:
    assert isinstance(outcome, Receipt)
    return outcome.codespace, outcome.code, outcome.events


ops = st.sampled_from(
    (
        pay("PA/main", "KB/main", 7),
        pay("PA/main", "CNB/main", 900),
        op("assets", "open_accounts", ("PA/x", "PA/y")),
        pay("PA/main", "PA/x", 3),
        op("assets", "close_account", "PA/empty"),
        op("assets", "freeze_account", "PA/main"),
        op("assets", "release_account", "PA/main"),
        op("transfers", "reserve", "PA/main", "KB/main", "CZK", 5, 1_700_000_900_000, ""),
        op("transfers", "void", *WORLD.holds["pending"]),
        op("transfers", "post", *WORLD.holds["pending"], 20),
        op("blacklist", "list_party", bytes(32), "fraud", bytes(32), 1_700_000_900_000),
        op("blacklist", "retract", bytes(32)),
        op("blacklist", "look_up", bytes(32), "lending"),
        op("members", "set_policy", ()),
    )
)


@settings(max_examples=120, deadline=None)
@given(before=st.lists(ops, max_size=4), doomed=st.lists(ops, max_size=6), after=st.lists(ops, max_size=4))
def test_a_refused_transaction_leaves_no_trace_but_its_receipt(
    before: list[Operation], doomed: list[Operation], after: list[Operation]
) -> None:
    others = [WORLD.make("PA", operation) for operation in (*before, *after)]
    refused = WORLD.make("PA", *doomed, pay("PA/main", "PA/main", 1))
    with_it = WORLD.finalize(*others[: len(before)], refused, *others[len(before) :])
    without = WORLD.finalize(*others)
    assert with_it.record is not None
    assert decided(with_it.outcomes[len(before)])[1]
    assert with_it.record.writes == (without.record.writes if without.record else ())
    codes = [decided(outcome) for outcome in with_it.outcomes]
    del codes[len(before)]
    assert codes == [decided(outcome) for outcome in without.outcomes]


def test_the_world_that_these_tests_shared_is_sound() -> None:
    WORLD.apply("PA", pay("PA/main", "KB/main", 1))
    with pytest.raises(AssertionError):
        check_ledger(WORLD.blocks()[:-1] + WORLD.blocks()[-2:], WORLD.genesis)
    assert check_ledger(WORLD.blocks(), WORLD.genesis).applied > 20
