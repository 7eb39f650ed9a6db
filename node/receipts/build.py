"""Making receipt files and checkpoints out of what a node keeps.

What always holds: nothing here is secret or judged; a file that a sound node makes verifies, and a file that
an unsound one makes does not.
"""

from collections.abc import Sequence
from typing import Any, Final, Protocol

from node.engine.cometbft.light import Certified, SignedHeader
from node.engine.errors import Degraded, NodeError
from node.json_form import to_json
from node.ledger import codec, hashing
from node.ledger.genesis import authority_root, chain_id, suite_of
from node.ledger.merkle import inclusion_path
from node.ledger.running import SYSTEM
from node.ledger.types import Authority, BlockRecord, Genesis, Header, SignedTransaction, Transaction
from node.receipts.document import (
    CHECKPOINT_FORMAT,
    COMETBFT,
    EMBEDDED,
    RECEIPT_FORMAT,
    VERSION,
    Certificate,
    Checkpoint,
    Handover,
    ReceiptFile,
    SequencerHandover,
    SignerKey,
    Step,
    ValidatorsCertificate,
)

_decode_signed: Final = codec.trusted_decoder(SignedTransaction)
_decode_transaction: Final = codec.trusted_decoder(Transaction)
_decode_header: Final = codec.trusted_decoder(Header)


class Blocks(Protocol):
    """The durable blocks of a store."""

    @property
    def durable_count(self) -> int:
        """How many blocks there are."""

    def headers(self, first: int, limit: int) -> Sequence[BlockRecord]:
        """At most ``limit`` blocks from height ``first`` on: headers, hashes and certificates."""

    def leaves(self, height: int) -> Sequence[bytes] | None:
        """All leaves of the block at ``height``."""

    def receipts(self, height: int) -> Sequence[bytes] | None:
        """All receipts of the block at ``height``."""

    def body(self, height: int, index: int) -> bytes | None:
        """One signed transaction; None where it is no longer kept."""

    def position_of(self, height: int) -> int | None:
        """The number of the block at ``height``, from 0."""

    def height_at(self, position: int) -> int | None:
        """The height of block number ``position``."""


class History(Protocol):
    """The ledger's tree over all app hashes."""

    def history_path(self, number: int, size: int) -> Sequence[bytes]:
        """The path of header ``number`` in the tree of the first ``size`` headers."""


class Key(Protocol):
    """A member's key on the ledger."""

    @property
    def algorithm(self) -> str:
        """As the suite names it."""

    @property
    def public_key(self) -> bytes:
        """As it was registered."""


class Keys(Protocol):
    """The table of members' keys: ``ledger.readers["members"].key``."""

    def get(self, member: str, key_id: bytes, /) -> Key | None:
        """The member's key of this id, whatever became of it."""


class Certificates(Protocol):
    """The certificates of an engine that certifies a header after the block is decided
    (engine/cometbft/certificates.py).
    """

    @property
    def newest(self) -> Certified | None:
        """The newest; None where there is none yet."""


def build_receipt_file(
    height: int,
    index: int,
    *,
    genesis: Genesis,
    blocks: Blocks,
    keys: Keys,
    history: History,
    certified_height: int | None = None,
    certificates: Certificates | None = None,
) -> dict[str, Any]:
    """The receipt file of the transaction at ``index`` of the block at ``height``, as a JSON object
    (json_form.write_document).

    certified_height: of the header whose certificate the file carries; by default the block's own, or where
    that has none the newest. certificates: of the validators, where they certify; then theirs is preferred,
    since a sequencer that has handed over is nobody's authority any more. Raises Degraded RECEIPT_UNKNOWN,
    BLOCK_UNKNOWN, PROOF_PENDING.
    """
    suite = suite_of(genesis)
    own = _require_header(blocks, height)
    leaves, receipts, body = blocks.leaves(height), blocks.receipts(height), blocks.body(height, index)
    if not body or not leaves or not receipts or leaves[index] == SYSTEM:
        raise Degraded(NodeError.RECEIPT_UNKNOWN, height=height, index=index)
    proven = certificates.newest if certificates is not None else None
    if proven is not None and proven.height >= height and certified_height in (None, proven.height):
        certified = _require_header(blocks, proven.height)
        certificate, handovers = _certificate(proven), _handovers(proven)
    else:
        certified = _certified(blocks, own, certified_height)
        certificate, handovers = Certificate(EMBEDDED, certified.certificate), ()
    later = certified.height != height
    file = ReceiptFile(
        body,
        _signer_keys(body, keys),
        receipts[index],
        leaves[index],
        tuple(inclusion_path(suite.digest, leaves, index)),
        tuple(inclusion_path(suite.digest, receipts, index)),
        own.header,
        own.app_hash,
        _history_path(blocks, history, height, certified.height) if later else (),
        certified.header if later else b"",
        certificate,
        handovers,
    )
    fields: dict[str, Any] = to_json(file)
    return {"format": RECEIPT_FORMAT, "version": VERSION, **fields}


def _certificate(proven: Certified) -> Certificate | ValidatorsCertificate:
    return ValidatorsCertificate(COMETBFT, codec.encode(proven.signed))


def _handovers(proven: Certified) -> tuple[Handover, ...]:
    return tuple(
        [
            ValidatorsCertificate(COMETBFT, codec.encode(link))
            if isinstance(link, SignedHeader)
            else SequencerHandover(
                EMBEDDED, link.header, SignerKey(link.algorithm, link.public_key), link.signature
            )
            for link in proven.handovers
        ]
    )


def make_checkpoint(
    genesis: Genesis, header: bytes, authority: tuple[Authority, ...] | None = None
) -> dict[str, Any]:
    """A checkpoint of the header with this encoding, as a JSON object.

    authority: the one that the header names; by default genesis's. Whoever makes a checkpoint vouches for it:
    compare the app hash with other members first. Raises ValueError where the header is of another chain, or
    names another authority.
    """
    suite = suite_of(genesis)
    authority = genesis.authority if authority is None else authority
    decoded: Header = codec.decoder(Header)(header)
    if decoded.chain != chain_id(genesis) or decoded.authority_root != authority_root(suite, authority):
        raise ValueError(
            "the header is of another chain, or names another authority, than the genesis document"
        )
    app_hash = suite.digest(hashing.HEADER + header)
    checkpoint = Checkpoint(genesis.name, genesis.suite, decoded.chain, decoded.height, app_hash, authority)
    fields: dict[str, Any] = to_json(checkpoint)
    return {"format": CHECKPOINT_FORMAT, "version": VERSION, **fields}


def _require_header(blocks: Blocks, height: int) -> BlockRecord:
    for record in blocks.headers(height, 1):
        if record.height == height:
            return record
    raise Degraded(NodeError.BLOCK_UNKNOWN, height=height)


def _certified(blocks: Blocks, own: BlockRecord, height: int | None) -> BlockRecord:
    """The header whose certificate the file carries."""
    if height is None:
        newest = blocks.height_at(blocks.durable_count - 1)
        height = own.height if own.certificate or newest is None else newest
    record = own if height == own.height else _require_header(blocks, height)
    if not record.certificate:
        raise Degraded(NodeError.PROOF_PENDING, height=height)
    return record


def _signer_keys(body: bytes, keys: Keys) -> tuple[SignerKey, ...]:
    signed = _decode_signed(body)
    member = _decode_transaction(signed.transaction).member
    found = [keys.get(member, entry.key_id) for entry in signed.signatures]
    return tuple([SignerKey(key.algorithm, key.public_key) for key in found if key is not None])


def _history_path(blocks: Blocks, history: History, height: int, certified_height: int) -> tuple[Step, ...]:
    """From the app hash at ``height`` to the history root of a later header, which covers all headers before
    it.
    """
    number, size = blocks.position_of(height), blocks.position_of(certified_height)
    if number is None or size is None or number >= size:
        raise Degraded(
            NodeError.BLOCK_UNKNOWN, height=certified_height, reason="not later than the receipt's block"
        )
    return tuple(
        [
            Step("left" if left else "right", node)
            for left, node in zip(
                _left_siblings(number, size), history.history_path(number, size), strict=True
            )
        ]
    )


def _left_siblings(index: int, size: int) -> list[bool]:
    """For each sibling of a leaf's path, from the leaf up: whether it stands on the left
    (merkle.inclusion_path's levels).
    """
    sides = []
    last = size - 1
    while last:
        if index & 1 or index < last:  # an odd last node is carried up without a sibling
            sides.append(bool(index & 1))
        index, last = index >> 1, last >> 1
    return sides
