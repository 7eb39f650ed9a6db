"""One value has one encoding: everything else is refused, whatever it looks like."""

from collections.abc import Callable

import msgspec
import pytest

from node.ledger import codec
from node.ledger.types import (
    INTEGER_MAX,
    AccountId,
    Amount,
    Genesis,
    Hash,
    KeySignature,
    Operation,
    Record,
    SignedTransaction,
    Transaction,
)
from tests.kit import make_genesis


class Sample(Record, frozen=True):
    """One field of each kind."""

    number: Amount
    text: AccountId
    data: Hash


HASH = bytes(range(32))
TEXT = b"\xa4PA/m"
DATA = b"\xc4\x20" + HASH
GOOD = b"\x93\x05" + TEXT + DATA
decode: Callable[[bytes], Sample] = codec.decoder(Sample)


def test_a_record_is_an_array_of_its_fields_and_comes_back() -> None:
    value = Sample(5, "PA/m", HASH)
    assert codec.encode(value) == GOOD
    assert decode(GOOD) == value


@pytest.mark.parametrize(
    ("_what", "data"),
    [
        ("nothing", b""),
        ("a longer array header", b"\xdc\x00\x03" + GOOD[1:]),
        ("a still longer array header", b"\xdd\x00\x00\x00\x03" + GOOD[1:]),
        ("an integer in 8 bits", b"\x93\xcc\x05" + TEXT + DATA),
        ("an integer in 16 bits", b"\x93\xcd\x00\x05" + TEXT + DATA),
        ("an integer in 32 bits", b"\x93\xce\x00\x00\x00\x05" + TEXT + DATA),
        ("an integer in 64 bits", b"\x93\xcf" + bytes(7) + b"\x05" + TEXT + DATA),
        ("a signed integer", b"\x93\xd0\x05" + TEXT + DATA),
        ("a text with a longer header", b"\x93\x05\xd9\x04PA/m" + DATA),
        ("a text with the longest header", b"\x93\x05\xdb\x00\x00\x00\x04PA/m" + DATA),
        ("bytes with a longer header", b"\x93\x05" + TEXT + b"\xc5\x00\x20" + HASH),
        ("nil for an integer", b"\x93\xc0" + TEXT + DATA),
        ("nil for a text", b"\x93\x05\xc0" + DATA),
        ("nil for the whole", b"\xc0"),
        ("true for an integer", b"\x93\xc3" + TEXT + DATA),
        ("false for an integer", b"\x93\xc2" + TEXT + DATA),
        ("a float of 64 bits", b"\x93\xcb\x40\x14" + bytes(6) + TEXT + DATA),
        ("a float of 32 bits", b"\x93\xca\x40\xa0\x00\x00" + TEXT + DATA),
        ("a map for the whole", b"\x83\xa6number\x05\xa4text" + TEXT + b"\xa4data" + DATA),
        ("an empty map for a text", b"\x93\x05\x80" + DATA),
        ("an extension for bytes", b"\x93\x05" + TEXT + b"\xc7\x20\x01" + HASH),
        ("a time stamp for an integer", b"\x93\xd6\xff\x00\x00\x00\x05" + TEXT + DATA),
        ("a text for an integer", b"\x93\xa15" + TEXT + DATA),
        ("a text for bytes", b"\x93\x05" + TEXT + b"\xd9\x20" + b"a" * 32),
        ("bytes for a text", b"\x93\x05\xc4\x04PA/m" + DATA),
        ("an array for bytes", b"\x93\x05" + TEXT + b"\xdc\x00\x20" + HASH),
        ("a trailing byte", GOOD + b"\x00"),
        ("the same again", GOOD + GOOD),
        ("a trailing field", b"\x94" + GOOD[1:] + b"\x00"),
        ("a field too few", b"\x92" + GOOD[1:7]),
        ("a header that promises more than there is", b"\xdd\xff\xff\xff\xff" + GOOD[1:]),
        ("bytes cut short", GOOD[:-1]),
        ("zero for an amount", b"\x93\x00" + TEXT + DATA),
        ("a negative integer", b"\x93\xff" + TEXT + DATA),
        ("an amount above the largest", b"\x93\xcf" + (10**18 + 1).to_bytes(8, "big") + TEXT + DATA),
        ("the largest integer of the format", b"\x93\xcf" + b"\xff" * 8 + TEXT + DATA),
        ("a text too short", b"\x93\x05\xa2PA" + DATA),
        ("a text too long", b"\x93\x05\xd9\x35" + b"P" * 53 + DATA),
        ("a hash of 31 bytes", b"\x93\x05" + TEXT + b"\xc4\x1f" + HASH[:31]),
        ("a hash of 33 bytes", b"\x93\x05" + TEXT + b"\xc4\x21" + HASH + b"\x00"),
        ("a byte that begins no character", b"\x93\x05\xa4PA/\xff" + DATA),
        ("a character cut short", b"\x93\x05\xa4PA/\xc3" + DATA),
        ("an overlong character", b"\x93\x05\xa4P/\xc0\xaf" + DATA),
        ("a surrogate", b"\x93\x05\xa5P/\xed\xa0\x80" + DATA),
        ("a pair of surrogates", b"\x93\x05\xa8P/\xed\xa0\xbd\xed\xb8\x80" + DATA),
        ("a character beyond Unicode", b"\x93\x05\xa6P/\xf4\x90\x80\x80" + DATA),
        ("the byte that MessagePack never uses", b"\xc1"),
        ("arrays 1,000 deep", b"\x91" * 1_000 + b"\x00"),
        ("arrays 100,000 deep", b"\x91" * 100_000 + b"\x00"),
        ("arrays 100,000 deep in a field", b"\x93\x05" + b"\x91" * 100_000 + DATA),
        ("maps 1,000 deep", b"\x81\x00" * 1_000 + b"\x00"),
    ],
)
@pytest.mark.evidence(
    "TX2", asset="balances", threat="two encodings of one thing", mitigation="decoding encodes again"
)
def test_what_is_not_the_one_encoding_is_refused(_what: str, data: bytes) -> None:
    with pytest.raises(codec.NotCanonical):
        decode(data)


def test_refusing_is_one_kind_of_value_error() -> None:
    assert issubclass(codec.NotCanonical, ValueError)


def test_the_bounds_themselves_are_admitted() -> None:
    for value in (Sample(1, "P/m", HASH), Sample(10**18, "P" * 52, bytes(32))):
        assert decode(codec.encode(value)) == value


def test_deep_arrays_are_refused_even_where_any_type_may_stand() -> None:
    anything: Callable[[bytes], object] = codec.decoder(object)
    with pytest.raises(codec.NotCanonical):
        anything(b"\x91" * 100_000 + b"\x00")


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (Operation, Operation("assets", "issue", b"\x90")),
        (Transaction, Transaction(1, bytes(8), "PA", bytes(16), INTEGER_MAX, (Operation("a", "b", b""),))),
        (SignedTransaction, SignedTransaction(b"x", (KeySignature(bytes(16), bytes(64)),))),
        (Genesis, make_genesis()),
    ],
)
def test_consensus_types_come_back_as_they_were(type_: type, value: Record) -> None:
    assert codec.decoder(type_)(codec.encode(value)) == value


@pytest.mark.parametrize("version", [0, 2, 127])
def test_an_unknown_version_is_refused(version: int) -> None:
    data = codec.encode((version, bytes(8), "PA", bytes(16), 0, (("a", "b", b""),)))
    with pytest.raises(codec.NotCanonical):
        codec.decoder(Transaction)(data)


def test_a_trusted_decoder_reads_the_same_bytes_and_still_refuses_other_types() -> None:
    trusted = codec.trusted_decoder(Sample)
    assert trusted(GOOD) == decode(GOOD)
    with pytest.raises(msgspec.ValidationError):
        trusted(b"\x93\xc0" + TEXT + DATA)
