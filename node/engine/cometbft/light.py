"""What CometBFT signs, and when a header of it is certified: the rules of a light client, as pure functions.

CometBFT 0.39's data structures (its specification, "Data Structures" and "Light Client"), as far as a receipt
needs them: the header's hash, the validator set's hash, the bytes of a vote. They are protobuf messages in
one canonical form, written by the few functions at the end; nothing here reads protobuf. What always holds:
no disk, no network, no clock; signatures are questions (``Check``) that the project's verifier answers by
ZIP-215, which is CometBFT's own rule.

The records have an encoding of ours (docs/formats.md, "Encoding"), in which receipt files carry them. Votes
for nil and absent votes have no place there: they certify nothing.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Annotated, Final, Literal, NamedTuple

from msgspec import Meta

from node.ledger import codec
from node.ledger.hashing import INTERNATIONAL
from node.ledger.merkle import merkle_root
from node.ledger.ports import Check, Verifier
from node.ledger.types import (
    AUTHORITY_MAX,
    Algorithm,
    Authority,
    Count,
    Hash,
    Integer,
    PublicKey,
    Record,
    Signature,
)

ALGORITHM: Final = "ed25519"
"""The only algorithm of validators' keys here; CometBFT knows others, this ledger's authorities do not."""
CHAIN_PREFIX: Final = "vostro-"
CHAIN_ID_BYTES: Final = 16
CHAIN_ID_MAX: Final = 50
ADDRESS_BYTES: Final = 20
PRECOMMIT: Final = 2
LOW_BITS: Final = 0x7F
MORE: Final = 0x80

MaybeHash = Annotated[bytes, Meta(max_length=32)]
"""32 bytes, or none in a chain's first header; the header's hash tells them apart."""
Height = Annotated[int, Meta(ge=1, le=2**63 - 1)]
Nanos = Annotated[int, Meta(ge=0, le=999_999_999)]


class BlockId(Record, frozen=True):
    """A block's name: its header's hash, and the number and root of the parts in which it was sent."""

    hash: MaybeHash
    parts_total: Count
    parts_hash: MaybeHash


class CometHeader(Record, frozen=True):
    """A header of CometBFT, field by field. Times are seconds and nanoseconds since 1970.

    validators_hash: of the set that signs this height; next_validators_hash: of the one that signs the next.
    app_hash: the ledger's after the height before.
    """

    block_protocol: Integer
    app_protocol: Integer
    chain_id: Annotated[str, Meta(min_length=1, max_length=CHAIN_ID_MAX)]
    height: Height
    seconds: Integer
    nanos: Nanos
    last_block: BlockId
    last_commit_hash: MaybeHash
    data_hash: MaybeHash
    validators_hash: Hash
    next_validators_hash: Hash
    consensus_hash: MaybeHash
    app_hash: Annotated[bytes, Meta(max_length=64)]
    last_results_hash: MaybeHash
    evidence_hash: MaybeHash
    proposer: Annotated[bytes, Meta(min_length=ADDRESS_BYTES, max_length=ADDRESS_BYTES)]


class Validator(Record, frozen=True):
    """A member of a validator set: its Ed25519 key and its power."""

    public_key: Hash
    power: Annotated[int, Meta(ge=1, le=2**40)]


class Vote(Record, frozen=True):
    """A precommit for the header. validator: its place in the set, from 0; the time is the voter's own."""

    validator: Count
    seconds: Integer
    nanos: Nanos
    signature: Signature


class SignedHeader(Record, frozen=True):
    """A header of CometBFT, the set that signs at its height (in CometBFT's order: by power, greatest first,
    then by address) and the votes for it, ascending by place.
    """

    version: Literal[1]
    header: CometHeader
    round: Annotated[int, Meta(ge=0, le=2**31 - 1)]
    parts_total: Count
    parts_hash: Hash
    validators: Annotated[tuple[Validator, ...], Meta(min_length=1, max_length=AUTHORITY_MAX)]
    votes: Annotated[tuple[Vote, ...], Meta(min_length=1, max_length=AUTHORITY_MAX)]

    @property
    def height(self) -> int:
        """Of the header."""
        return self.header.height


class SequencerHeader(Record, frozen=True):
    """The header of ours with which a sequencer hands over to validators: its encoding, the sequencer's key
    and signature (docs/formats.md, section 7). Its ``authority_root`` is that of the first validator set.
    """

    height: Height
    header: Annotated[bytes, Meta(max_length=1_024)]
    algorithm: Algorithm
    public_key: PublicKey
    signature: Signature


class Certified(NamedTuple):
    """What validators have certified: the height of the newest header of ours whose app hash a signed header
    of CometBFT carries, that signed header, and all hand-overs of the authority before it, in order.
    """

    height: int
    signed: SignedHeader
    handovers: tuple[SequencerHeader | SignedHeader, ...]


decode_signed_header: Final[Callable[[bytes], SignedHeader]] = codec.decoder(SignedHeader)
"""A SignedHeader from its encoding. Raises codec.NotCanonical."""


class CommitRefused(Exception):
    """A signed header that certifies nothing; the text says why."""


def comet_chain_id(chain_id: bytes) -> str:
    """The name under which CometBFT knows the chain with this id of 32 bytes."""
    return CHAIN_PREFIX + chain_id[:CHAIN_ID_BYTES].hex()


def address(public_key: bytes) -> bytes:
    """The 20 bytes by which CometBFT names an Ed25519 key."""
    return INTERNATIONAL.digest(public_key)[:ADDRESS_BYTES]


def validators_of(authority: tuple[Authority, ...]) -> tuple[Validator, ...]:
    """An authority as CometBFT's validator set, in its order. Raises ValueError for another algorithm."""
    if any(entry.algorithm != ALGORITHM for entry in authority):
        raise ValueError(f"validators have keys of {ALGORITHM}")
    validators = [Validator(entry.public_key, entry.power) for entry in authority]
    return tuple(sorted(validators, key=lambda one: (-one.power, address(one.public_key))))


def authority_of(validators: tuple[Validator, ...]) -> tuple[Authority, ...]:
    """A validator set as an authority of the ledger, ascending by key."""
    entries = [Authority(ALGORITHM, one.public_key, one.power) for one in validators]
    return tuple(sorted(entries, key=lambda entry: entry.public_key))


def validators_hash(validators: tuple[Validator, ...]) -> bytes:
    """The set's hash, as headers name it (types/validator.go, SimpleValidator)."""
    return merkle_root(
        INTERNATIONAL.digest,
        [_message(1, _bytes(1, one.public_key)) + _number(2, one.power) for one in validators],
    )


def header_hash(header: CometHeader) -> bytes:
    """The hash of a header: the root over its fields in their order (types/block.go, Header.Hash)."""
    last = header.last_block
    return merkle_root(
        INTERNATIONAL.digest,
        [
            _number(1, header.block_protocol) + _number(2, header.app_protocol),
            _bytes(1, header.chain_id.encode()),
            _number(1, header.height),
            _time(header.seconds, header.nanos),
            _block_id(last.hash, last.parts_total, last.parts_hash),
            _bytes(1, header.last_commit_hash),
            _bytes(1, header.data_hash),
            _bytes(1, header.validators_hash),
            _bytes(1, header.next_validators_hash),
            _bytes(1, header.consensus_hash),
            _bytes(1, header.app_hash),
            _bytes(1, header.last_results_hash),
            _bytes(1, header.evidence_hash),
            _bytes(1, header.proposer),
        ],
    )


def is_own_set(signed: SignedHeader) -> bool:
    """Whether the validators are those that the header names, each key once."""
    keys = {one.public_key for one in signed.validators}
    return len(keys) == len(signed.validators) and (
        validators_hash(signed.validators) == signed.header.validators_hash
    )


def has_distinct_votes(signed: SignedHeader) -> bool:
    """Whether every vote is of another validator of the set, in ascending order."""
    places = [vote.validator for vote in signed.votes]
    ascending = all(before < after for before, after in pairwise(places))
    return ascending and places[-1] < len(signed.validators)


def powers(signed: SignedHeader) -> tuple[int, int]:
    """(power of the votes, power of the whole set). The votes must be distinct."""
    voted = sum([signed.validators[vote.validator].power for vote in signed.votes])
    return voted, sum([one.power for one in signed.validators])


def has_two_thirds(signed: SignedHeader) -> bool:
    """Whether the votes have strictly more than two thirds of the set's power."""
    voted, total = powers(signed)
    return 3 * voted > 2 * total


def checks_of(signed: SignedHeader) -> list[Check]:
    """One question a vote: did this validator sign this header, at this height and round, on this chain?"""
    header = signed.header
    block_id = _block_id(header_hash(header), signed.parts_total, signed.parts_hash)
    return [
        Check(
            ALGORITHM,
            signed.validators[vote.validator].public_key,
            vote_bytes(header.chain_id, header.height, signed.round, block_id, vote.seconds, vote.nanos),
            vote.signature,
        )
        for vote in signed.votes
    ]


def check_signed_header(signed: SignedHeader, verifier: Verifier) -> None:
    """Whether the header's own set certified it; whose set that is, the caller judges. Raises
    CommitRefused.
    """
    if not is_own_set(signed):
        raise CommitRefused(f"height {signed.height}: the validators are not those that the header names")
    if not has_distinct_votes(signed):
        raise CommitRefused(f"height {signed.height}: a vote of nobody, or two of one validator")
    if not has_two_thirds(signed):
        voted, total = powers(signed)
        raise CommitRefused(f"height {signed.height}: votes of {voted} of {total}, not over two thirds")
    if not all(verifier.verify(checks_of(signed))):
        raise CommitRefused(f"height {signed.height}: a signature does not verify")


def block_id_bytes(signed: SignedHeader) -> bytes:
    """The block id of the signed header, as votes carry it."""
    return _block_id(header_hash(signed.header), signed.parts_total, signed.parts_hash)


def vote_bytes(chain_id: str, height: int, round_: int, block_id: bytes, seconds: int, nanos: int) -> bytes:
    """What a precommit's signature covers (CanonicalVote, its length in front).

    block_id: ``block_id_bytes``; empty for a vote for nil.
    """
    vote = (
        _number(1, PRECOMMIT)
        + _fixed(2, height)
        + _fixed(3, round_)
        + (_message(4, block_id) if block_id else b"")
        + _message(5, _time(seconds, nanos))
        + _bytes(6, chain_id.encode())
    )
    return _varint(len(vote)) + vote


# --- protobuf, as far as it is hashed and signed: fields ascending, zero and empty ones left out ----------


def _block_id(hash_: bytes, parts_total: int, parts_hash: bytes) -> bytes:
    return _bytes(1, hash_) + _message(2, _number(1, parts_total) + _bytes(2, parts_hash))


def _time(seconds: int, nanos: int) -> bytes:
    return _number(1, seconds) + _number(2, nanos)


def _number(field: int, value: int) -> bytes:
    return bytes((field << 3,)) + _varint(value) if value else b""


def _fixed(field: int, value: int) -> bytes:
    return bytes((field << 3 | 1,)) + value.to_bytes(8, "little") if value else b""


def _bytes(field: int, value: bytes) -> bytes:
    return _message(field, value) if value else b""


def _message(field: int, value: bytes) -> bytes:
    """A message or bytes that stand there even where they are empty."""
    return bytes((field << 3 | 2,)) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    digits = []
    while value > LOW_BITS:
        digits.append(value & LOW_BITS | MORE)
        value >>= 7
    return bytes((*digits, value))
