"""What a receipt file and a checkpoint hold, and everything that can be wrong with them.

Both are JSON objects in the form of node/json_form.py. What always holds: nothing in a receipt file can be
changed without a refusal, because every field is bound by a hash or a signature, or is one of the few values
that the file must have. Two things may be missing, and the file proves the same: votes that two thirds can do
without, and hand-overs from before a checkpoint that is trusted.
"""

from enum import Enum
from typing import Annotated, Any, Final, Literal, NamedTuple

from msgspec import Meta

from node.genesis_file import FILE_BYTES_MAX as GENESIS_FILE_BYTES_MAX
from node.genesis_file import FORMAT as GENESIS_FORMAT
from node.genesis_file import genesis_from_document
from node.json_form import JsonRefused, check_names, from_json, parse_document
from node.ledger.errors import InvariantViolated
from node.ledger.genesis import chain_id, suite_of
from node.ledger.hashing import SUITES, Suite
from node.ledger.types import (
    AUTHORITY_MAX,
    SIGNATURES_MAX,
    Algorithm,
    Authority,
    Hash,
    Height,
    Name,
    PublicKey,
    Record,
    Signature,
)

RECEIPT_FORMAT: Final = "vostro receipt"
CHECKPOINT_FORMAT: Final = "vostro checkpoint"
VERSION: Final = 1
EMBEDDED: Final = "embedded"
COMETBFT: Final = "cometbft"

FILE_BYTES_MAX: Final = 64 * 1024 * 1024
"""A receipt may hold thousands of events; hex doubles it."""
PATH_MAX: Final = 64
"""Levels of a tree with 2**63 leaves, and one to spare."""
HANDOVERS_MAX: Final = 4_096
"""Changes of authority from genesis on: two a week for forty years."""

Encoded = Annotated[bytes, Meta(max_length=FILE_BYTES_MAX // 2)]
Path = Annotated[tuple[Hash, ...], Meta(max_length=PATH_MAX)]
_ENVELOPE: Final = ("format", "version")


class SignerKey(Record, frozen=True):
    """The public key that a signature of the transaction names by its id."""

    algorithm: Algorithm
    public_key: PublicKey


class Step(Record, frozen=True):
    """A node of the history tree on the way from an app hash to the root, and on which side it stands."""

    side: Literal["left", "right"]
    hash: Hash


class Certificate(Record, frozen=True):
    """The sequencer's signature of the certified header."""

    kind: Literal["embedded"]
    signature: Signature


class ValidatorsCertificate(Record, frozen=True):
    """A header of CometBFT with its validator set and their votes: the encoding of a `SignedHeader`."""

    kind: Literal["cometbft"]
    signed_header: Encoded


class SequencerHandover(Record, frozen=True):
    """A header of ours that the sequencer signed, whose `authority_root` is that of the first validator
    set.
    """

    kind: Literal["embedded"]
    header: Encoded
    key: SignerKey
    signature: Signature


Handover = ValidatorsCertificate | SequencerHandover


class ReceiptFile(Record, frozen=True):
    """One decided transaction, with all that leads from it to a certified header.

    transaction: as received, signed. keys: one a signature, in the same order. leaf_path, receipt_path:
    siblings from the leaf up. certified_header: empty where the block's own header is the certified one;
    then there is no history path either. handovers: of the authority, from the one in genesis to the one that
    certifies.
    """

    transaction: Encoded
    keys: Annotated[tuple[SignerKey, ...], Meta(min_length=1, max_length=SIGNATURES_MAX)]
    receipt: Encoded
    leaf: Encoded
    leaf_path: Path
    receipt_path: Path
    header: Encoded
    app_hash: Hash
    history_path: Annotated[tuple[Step, ...], Meta(max_length=PATH_MAX)]
    certified_header: Encoded
    certificate: Certificate | ValidatorsCertificate
    handovers: Annotated[tuple[Handover, ...], Meta(max_length=HANDOVERS_MAX)]


class Checkpoint(Record, frozen=True):
    """A header that somebody trusts, and who certifies from there on."""

    name: Annotated[str, Meta(min_length=1, max_length=64)]
    suite: Name
    chain: Hash
    height: Height
    app_hash: Hash
    authority: Annotated[tuple[Authority, ...], Meta(min_length=1, max_length=AUTHORITY_MAX)]


class Anchor(NamedTuple):
    """What a verification trusts: a chain, who certifies it, and with a checkpoint one of its headers (else
    -1 and no hash).
    """

    kind: str
    name: str
    suite: Suite
    chain_id: bytes
    authority: tuple[Authority, ...]
    height: int
    app_hash: bytes


class ReceiptProblem(Enum):
    """Why a receipt file proves nothing: a permanent code and its sentence. They are looked for in the order
    that docs/formats.md gives.
    """

    TRUST_MALFORMED = (
        1,
        "What is to be trusted is neither a genesis document nor a checkpoint that this release can read.",
    )
    MALFORMED = (2, "The file is not a receipt file.")
    VERSION_UNKNOWN = (3, "The file is of a version that this release does not know: use a newer release.")
    CERTIFICATE_UNKNOWN = (
        4,
        "The certificate is of a kind that this release does not know: use a newer release.",
    )
    HANDOVERS_UNKNOWN = (
        5,
        "The file holds a hand-over of authority that this release does not know: use a newer release.",
    )
    BAD_ENCODING = (6, "Bytes in the file are not the canonical encoding of what they should be.")
    OTHER_CHAIN = (7, "The receipt is of another chain than the one that is trusted.")
    KEYS_DIFFER = (8, "The public keys are not those that the transaction's signatures name.")
    BAD_SIGNATURE = (9, "A signature of the transaction does not verify.")
    LEAF_DIFFERS = (10, "The leaf is not that of the transaction.")
    LEAF_NOT_IN_BLOCK = (11, "The transaction is not in the block.")
    RECEIPT_NOT_IN_BLOCK = (12, "The receipt is not in the block at the transaction's place.")
    RECEIPT_DIFFERS = (13, "The receipt is of another transaction or another block.")
    HEADER_DIFFERS = (14, "The app hash is not that of the header.")
    NOT_IN_HISTORY = (15, "The block is not in the history of the certified header.")
    CHECKPOINT_CONTRADICTED = (16, "The header differs from the one that the checkpoint pins at its height.")
    AUTHORITY_DIFFERS = (
        17,
        "Another authority certifies than the one that is trusted: use a newer checkpoint, or a newer file.",
    )
    NO_SEQUENCER = (
        18,
        "No single key of the trusted authority has more than two thirds of its power, as a sequencer must.",
    )
    BAD_CERTIFICATE = (19, "The certificate does not verify: the trusted authority did not sign this header.")
    OTHER_VALIDATORS_CHAIN = (20, "A hand-over or the certificate is of another chain.")
    OUT_OF_ORDER = (21, "The hand-overs and the certificate do not follow one another in height.")
    SET_DIFFERS = (22, "A validator set is not the one that its header names.")
    HANDOVER_MISSING = (23, "A set certifies to which the one before it did not hand over.")
    VOTES_MALFORMED = (24, "A vote is of no validator of the set, or two are of one.")
    TOO_LITTLE_POWER = (25, "The votes do not have more than two thirds of the set's power.")
    NOT_CARRIED = (
        26,
        "The header that the validators signed does not carry the certified header's app hash.",
    )

    def __init__(self, code: int, sentence: str) -> None:
        self.code = code
        self.sentence = sentence


class ReceiptRefused(Exception):
    """The file proves nothing. ``reason`` adds what a person may want to know."""

    def __init__(self, problem: ReceiptProblem, reason: str = "") -> None:
        super().__init__(problem, reason)
        self.problem = problem
        self.reason = reason

    def __str__(self) -> str:
        return self.problem.sentence + (f" ({self.reason})" if self.reason else "")


def parse_receipt_file(data: bytes) -> ReceiptFile:
    """The file's content. Raises ReceiptRefused MALFORMED, VERSION_UNKNOWN, CERTIFICATE_UNKNOWN,
    HANDOVERS_UNKNOWN.
    """
    try:
        fields = _opened(parse_document(data, FILE_BYTES_MAX), RECEIPT_FORMAT, ReceiptProblem.MALFORMED)
        check_names(fields, ReceiptFile.__struct_fields__, "")
        kind, handovers = _kind(fields["certificate"]), fields["handovers"]
        if kind is not None and kind not in (EMBEDDED, COMETBFT):
            raise ReceiptRefused(ReceiptProblem.CERTIFICATE_UNKNOWN)
        known = (EMBEDDED, COMETBFT, None) if kind != EMBEDDED else ()  # a sequencer has none before it
        if isinstance(handovers, list) and any(_kind(entry) not in known for entry in handovers):
            raise ReceiptRefused(ReceiptProblem.HANDOVERS_UNKNOWN)
        file: ReceiptFile = from_json(ReceiptFile, fields)
    except JsonRefused as refused:
        raise ReceiptRefused(ReceiptProblem.MALFORMED, str(refused)) from refused
    return file


def parse_trust(data: bytes) -> Anchor:
    """What a genesis.json or a checkpoint says. Raises ReceiptRefused TRUST_MALFORMED, VERSION_UNKNOWN."""
    try:
        document = parse_document(data, GENESIS_FILE_BYTES_MAX)
        if document.get("format") == GENESIS_FORMAT:
            genesis = genesis_from_document(document)
            return Anchor(
                "genesis", genesis.name, suite_of(genesis), chain_id(genesis), genesis.authority, -1, b""
            )
        checkpoint: Checkpoint = from_json(
            Checkpoint, _opened(document, CHECKPOINT_FORMAT, ReceiptProblem.TRUST_MALFORMED)
        )
    except (JsonRefused, InvariantViolated) as refused:
        raise ReceiptRefused(ReceiptProblem.TRUST_MALFORMED, str(refused)) from refused
    suite = SUITES.get(checkpoint.suite)
    if suite is None:
        raise ReceiptRefused(
            ReceiptProblem.TRUST_MALFORMED, f"this release has no suite {checkpoint.suite!r}"
        )
    return Anchor(
        "checkpoint",
        checkpoint.name,
        suite,
        checkpoint.chain,
        checkpoint.authority,
        checkpoint.height,
        checkpoint.app_hash,
    )


def _kind(value: Any) -> str | None:
    """The text by which a certificate or hand-over says what it is, if it does."""
    kind = value.get("kind") if isinstance(value, dict) else None
    return kind if isinstance(kind, str) else None


def _opened(document: dict[str, Any], format_: str, problem: ReceiptProblem) -> dict[str, Any]:
    """The document's fields behind its format and version."""
    if document.get("format") != format_:
        raise ReceiptRefused(problem, f'it does not say "format": "{format_}"')
    version = document.get("version")
    if not isinstance(version, int) or isinstance(version, bool):
        raise ReceiptRefused(problem, "version: expected an integer")
    if version != VERSION:
        raise ReceiptRefused(ReceiptProblem.VERSION_UNKNOWN, f"version {version}")
    return {name: value for name, value in document.items() if name not in _ENVELOPE}
