"""The double-sign guard: what a validator may sign after what it signed last, kept on a synced record.

A position is (height, round, step); it may only ascend. At the same position the same bytes get the same
signature again, bytes that differ in their time alone get the earlier time and signature, anything else is
refused. So a validator that is killed between signing and telling goes on where it was, and one that is asked
for two votes of one position gives one. The meaning is that of CometBFT's own file signer (privval/file.go);
it differs in that the record is bound to the chain and the key, has two slots, and is held against a second
process.
"""

from enum import IntEnum
from pathlib import Path
from typing import Final, NamedTuple

from google.protobuf.message import DecodeError

from node.engine.record import RecordFile, RecordInUse, RecordMissing, RecordUnusable
from node.ledger.types import Record
from node.pb.cometbft.privval.v1 import privval_pb2 as wire

SLOT_BYTES: Final = 2_048
SIGN_BYTES_MAX: Final = 512
"""Canonical votes and proposals have at most some 200 bytes and the chain's name."""
HASH_BYTES: Final = 32
ROUND_MAX: Final = 2**31 - 1
HEIGHT_MAX: Final = 2**63 - 1


class Step(IntEnum):
    """The order of what a validator signs within a round."""

    NONE = 0
    PROPOSE = 1
    PREVOTE = 2
    PRECOMMIT = 3


VOTE_STEPS: Final = {
    wire.SIGNED_MSG_TYPE_PREVOTE: Step.PREVOTE,
    wire.SIGNED_MSG_TYPE_PRECOMMIT: Step.PRECOMMIT,
}


class Position(NamedTuple):
    """Where in the chain something is signed; ordered."""

    height: int
    round: int
    step: Step


class LastVote(Record, frozen=True):
    """What a validator signed last. chain: CometBFT's text. Bytes in hexadecimal digits; the time stands in
    the sign bytes. No sign bytes: nothing at this position or below may be signed.
    """

    chain: str
    public_key: str
    height: int
    round: int
    step: Step
    sign_bytes: str
    signature: str

    @property
    def position(self) -> Position:
        """Where it was signed."""
        return Position(self.height, self.round, self.step)


class SigningRefused(Exception):
    """This must not be signed, or not here; the text says why and is told to CometBFT and the operator."""


class GuardRefused(Exception):
    """The guard cannot stand; the text says what an operator does about it."""


class Again(NamedTuple):
    """The answer to something signed before: the earlier bytes with the signature over them."""

    sign_bytes: bytes
    signature: bytes


def judge(last: LastVote, position: Position, sign_bytes: bytes) -> Again | None:
    """May this be signed after ``last``? None: yes, it is new; ``Again``: it was, take that. Raises
    SigningRefused.
    """
    if position > last.position:
        return None
    if position < last.position:
        raise SigningRefused(f"{_told(position)} is behind {_told(last.position)}, which was signed before")
    if not last.sign_bytes:
        raise SigningRefused(f"{_told(position)} lies in what was declared as signed before")
    signed = bytes.fromhex(last.sign_bytes)
    if sign_bytes == signed or _timeless(position.step, sign_bytes) == _timeless(position.step, signed):
        return Again(signed, bytes.fromhex(last.signature))
    raise SigningRefused(f"{_told(position)} was signed before with other content: a conflict")


class Guard:
    """One validator's last-signed record, held by this process alone."""

    def __init__(self, path: Path, chain: str, public_key: bytes) -> None:
        """Raises GuardRefused where the record is missing, damaged, another validator's, or held."""
        try:
            self._record = RecordFile(path, LastVote, SLOT_BYTES, lambda last: last.position, exclusive=True)
        except RecordMissing as error:
            raise GuardRefused(
                f"{path} is missing: without the record of what this validator signed it must not sign. "
                "Bring the record back, or, if it is lost for good and the validator runs nowhere else, make "
                "one above the chain's height with `vostro validator record`."
            ) from error
        except RecordInUse as error:
            raise GuardRefused(
                f"{path} is held by another process: this validator runs twice on this machine. Stop one."
            ) from error
        except RecordUnusable as error:
            raise GuardRefused(str(error)) from error
        if (self.last.chain, self.last.public_key) != (chain, public_key.hex()):
            self.close()
            raise GuardRefused(f"{path} is the record of another chain or another validator")

    @staticmethod
    def create(path: Path, chain: str, public_key: bytes, height: int = 0) -> None:
        """Write the record of a validator that signs nothing at ``height`` or below. Raises
        FileExistsError.
        """
        end = Position(height, ROUND_MAX, Step.PRECOMMIT)
        RecordFile.create(path, LastVote(chain, public_key.hex(), *end, "", ""), SLOT_BYTES)

    @property
    def last(self) -> LastVote:
        """What was signed last."""
        return self._record.last

    def keep(self, position: Position, sign_bytes: bytes, signature: bytes) -> None:
        """Put on record, synced; the signature may leave when this returns. Raises SigningRefused where it
        could not be kept.
        """
        last = self.last
        if position <= last.position:
            raise SigningRefused(f"{_told(position)} is not above {_told(last.position)}")
        kept = LastVote(last.chain, last.public_key, *position, sign_bytes.hex(), signature.hex())
        try:
            self._record.write(kept)
        except RecordUnusable as error:
            raise SigningRefused(f"nothing is signed that cannot be kept: {error}") from error

    def close(self) -> None:
        """Close the record; another process may hold it then."""
        self._record.close()


# --- what is signed -----------------------------------------------------------------------------------


def vote_position(vote: wire.Vote) -> Position:
    """Where a vote stands. Raises SigningRefused where it is none."""
    step = VOTE_STEPS.get(vote.type)
    if step is None:
        raise SigningRefused(f"a vote of type {vote.type} is neither prevote nor precommit")
    return _position(vote.height, vote.round, step)


def proposal_position(proposal: wire.Proposal) -> Position:
    """Where a proposal stands. Raises SigningRefused where it is none."""
    if proposal.type != wire.SIGNED_MSG_TYPE_PROPOSAL:
        raise SigningRefused(f"a proposal has type {wire.SIGNED_MSG_TYPE_PROPOSAL}, not {proposal.type}")
    return _position(proposal.height, proposal.round, Step.PROPOSE)


def vote_sign_bytes(chain: str, vote: wire.Vote) -> bytes:
    """The canonical bytes of a vote (types/canonical.go): neither validator nor extension is in them. Raises
    SigningRefused for a block id of wrong shape.
    """
    canonical = wire.CanonicalVote(type=vote.type, height=vote.height, round=vote.round, chain_id=chain)
    _fill(canonical, vote)
    return _delimited(canonical.SerializeToString())


def proposal_sign_bytes(chain: str, proposal: wire.Proposal) -> bytes:
    """The canonical bytes of a proposal. Raises SigningRefused for a block id of wrong shape."""
    canonical = wire.CanonicalProposal(
        type=wire.SIGNED_MSG_TYPE_PROPOSAL,
        height=proposal.height,
        round=proposal.round,
        pol_round=proposal.pol_round,
        chain_id=chain,
    )
    _fill(canonical, proposal)
    return _delimited(canonical.SerializeToString())


def extension_sign_bytes(chain: str, vote: wire.Vote) -> bytes:
    """The canonical bytes of a vote's extension, which is signed by itself."""
    canonical = wire.CanonicalVoteExtension(
        extension=vote.extension, height=vote.height, round=vote.round, chain_id=chain
    )
    return delimited(canonical.SerializeToString())


def is_nil(block_id: wire.BlockID) -> bool:
    """Whether a vote with this block id is for no block."""
    return not (block_id.hash or block_id.part_set_header.total or block_id.part_set_header.hash)


def parse_canonical(step: Step, sign_bytes: bytes) -> wire.CanonicalVote | wire.CanonicalProposal:
    """The canonical form that sign bytes hold. Raises SigningRefused."""
    form = wire.CanonicalProposal() if step is Step.PROPOSE else wire.CanonicalVote()
    length, at = read_varint(sign_bytes)
    try:
        form.ParseFromString(sign_bytes[at:])
    except DecodeError as error:
        raise SigningRefused("the record's sign bytes are no canonical vote or proposal") from error
    if length != len(sign_bytes) - at:
        raise SigningRefused("the record's sign bytes are cut short")
    return form


def read_varint(data: bytes) -> tuple[int, int]:
    """A length and where what follows begins; (0, 0): more bytes are needed. Raises ValueError for a length
    of more than five bytes.
    """
    value = 0
    for at, byte in enumerate(data[:5]):
        value |= (byte & 0x7F) << (7 * at)
        if byte < 0x80:  # noqa: PLR2004 - the bit that says that more follows
            return value, at + 1
    if len(data) >= 5:  # noqa: PLR2004 - as above
        raise ValueError("a length has at most five bytes")
    return 0, 0


def _fill(canonical: wire.CanonicalVote | wire.CanonicalProposal, message: wire.Vote | wire.Proposal) -> None:
    """What both forms share: a nil block id is left out, the time never is, nor a part set header."""
    block_id = message.block_id
    for hash_ in (block_id.hash, block_id.part_set_header.hash):
        if len(hash_) not in {0, HASH_BYTES}:
            raise SigningRefused(f"a block id has hashes of {HASH_BYTES} bytes, not {len(hash_)}")
    if not is_nil(block_id):
        canonical.block_id.hash = block_id.hash
        canonical.block_id.part_set_header.total = block_id.part_set_header.total
        canonical.block_id.part_set_header.hash = block_id.part_set_header.hash
        canonical.block_id.part_set_header.SetInParent()
    canonical.timestamp.seconds = message.timestamp.seconds
    canonical.timestamp.nanos = message.timestamp.nanos
    canonical.timestamp.SetInParent()


def _timeless(step: Step, sign_bytes: bytes) -> bytes:
    form = parse_canonical(step, sign_bytes)
    form.ClearField("timestamp")
    return form.SerializeToString()


def _position(height: int, round_: int, step: Step) -> Position:
    if not (0 < height <= HEIGHT_MAX and 0 <= round_ <= ROUND_MAX):
        raise SigningRefused(f"there is no height {height} or no round {round_}")
    return Position(height, round_, step)


def delimited(content: bytes) -> bytes:
    """Content behind its length as a varint."""
    length, prefix = len(content), bytearray()
    while length >= 0x80:  # noqa: PLR2004 - seven bits a byte
        prefix.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([*prefix, length]) + content


def _delimited(content: bytes) -> bytes:
    signed = delimited(content)
    if len(signed) > SIGN_BYTES_MAX:
        raise SigningRefused(f"{len(signed)} bytes are more than a vote or proposal has")
    return signed


def _told(position: Position) -> str:
    return f"height {position.height}, round {position.round}, {position.step.name.lower()}"
