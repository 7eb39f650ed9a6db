"""Judging a receipt file by its bytes and by what the reader trusts; no node, no network, no clock.

The steps stand in their public order (``STEPS``), which is that of docs/formats.md; the first that fails is
the answer. What a verified file proves: the authority certified a chain in which exactly these signed bytes
stand at this place and had exactly this outcome. Since the ledger decides only transactions whose every key
was active, in scope and sufficient for its member's policy, and discards all others, it proves by the
authority's word, and not by its own, that the keys were the member's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from node.json_form import to_json
from node.keys.verify import VERIFIERS
from node.ledger import codec, hashing
from node.ledger.genesis import authority_root
from node.ledger.merkle import LEAF, NODE, check_inclusion
from node.ledger.ports import Check
from node.ledger.types import Header, Leaf, Receipt, SignedTransaction, Transaction
from node.receipts import validators
from node.receipts.document import (
    Anchor,
    Certificate,
    ReceiptFile,
    ReceiptProblem,
    ReceiptRefused,
    parse_receipt_file,
    parse_trust,
)
from node.receipts.explain import (
    explain_event,
    explain_link,
    explain_operation,
    explain_refusal,
    explain_sequencer,
)
from node.receipts.validators import Succession, decode_succession, sequencer_of


@dataclass(frozen=True, slots=True)
class Verified:
    """What a receipt file proves, in JSON values: bytes as hex, times in ms since 1970, amounts in minor
    units.

    trust: ``genesis`` or ``checkpoint``. operations, events, refusal: see explain.py. signers: key_id,
    algorithm, public_key of each. certified_height: of the header that the certificate signs, from
    ``height`` on. certificate: who certified it, with which power of how much, and for validators at which
    height of CometBFT; handovers: the same of each authority before, in order.
    """

    trust: str
    chain_name: str
    chain_id: str
    tx_id: str
    member: str
    request_id: str
    created_ms: int
    valid_until_ms: int
    signers: tuple[dict[str, str], ...]
    operations: tuple[dict[str, Any], ...]
    applied: bool
    refusal: dict[str, Any] | None
    events: tuple[dict[str, Any], ...]
    height: int
    index: int
    time_ms: int
    app_hash: str
    certified_height: int
    certificate_kind: str
    certificate: dict[str, Any]
    handovers: tuple[dict[str, Any], ...]


class _Claim(NamedTuple):
    """A file with everything in it decoded and nothing yet believed."""

    anchor: Anchor
    file: ReceiptFile
    signed: SignedTransaction
    transaction: Transaction
    tx_id: bytes
    receipt: Receipt
    leaf: Leaf
    header: Header
    certified: Header
    certified_hash: bytes
    succession: Succession | None


_decode_signed: Final[Callable[[bytes], SignedTransaction]] = codec.decoder(SignedTransaction)
_decode_transaction: Final[Callable[[bytes], Transaction]] = codec.decoder(Transaction)
_decode_receipt: Final[Callable[[bytes], Receipt]] = codec.decoder(Receipt)
_decode_leaf: Final[Callable[[bytes], Leaf]] = codec.decoder(Leaf)
_decode_header: Final[Callable[[bytes], Header]] = codec.decoder(Header)


def verify_receipt_file(data: bytes, trust: bytes) -> Verified:
    """What the receipt file ``data`` proves to whoever trusts ``trust``, the bytes of a genesis.json or of a
    checkpoint.

    Raises ReceiptRefused with the first ReceiptProblem, in their order.
    """
    claim = _decode(parse_trust(trust), parse_receipt_file(data))
    for step in STEPS:
        step(claim)
    if claim.succession is None:
        for step in SEQUENCER_STEPS:
            step(claim)
    else:
        for judge in validators.STEPS:
            judge(claim.succession)
    return _told(claim)


def _decode(anchor: Anchor, file: ReceiptFile) -> _Claim:
    """Raises ReceiptRefused BAD_ENCODING."""
    digest = anchor.suite.digest
    try:
        signed = _decode_signed(file.transaction)
        encoded = file.certified_header or file.header
        claim = _Claim(
            anchor,
            file,
            signed,
            _decode_transaction(signed.transaction),
            digest(hashing.TX + signed.transaction),
            _decode_receipt(file.receipt),
            _decode_leaf(file.leaf),
            _decode_header(file.header),
            _decode_header(encoded),
            digest(hashing.HEADER + encoded),
            None,
        )
        if isinstance(file.certificate, Certificate):
            return claim
        certified = (claim.certified, claim.certified_hash)
        return claim._replace(
            succession=decode_succession(anchor, file.handovers, file.certificate, *certified)
        )
    except codec.NotCanonical as reason:
        raise ReceiptRefused(ReceiptProblem.BAD_ENCODING, str(reason)) from reason


# --- the steps, in their public order -----------------------------------------------------


def _check_chain(claim: _Claim) -> None:
    chain = claim.anchor.chain_id
    if (claim.header.chain, claim.certified.chain, claim.transaction.chain) != (chain, chain, chain[:8]):
        raise ReceiptRefused(ReceiptProblem.OTHER_CHAIN)


def _check_keys(claim: _Claim) -> None:
    named = [entry.key_id for entry in claim.signed.signatures]
    if named != [_key_id(claim.anchor, key.algorithm, key.public_key) for key in claim.file.keys]:
        raise ReceiptRefused(ReceiptProblem.KEYS_DIFFER)


def _check_signatures(claim: _Claim) -> None:
    message = hashing.SIGN_TX + claim.anchor.chain_id + claim.tx_id
    pairs = zip(claim.file.keys, claim.signed.signatures, strict=True)
    checks = [Check(key.algorithm, key.public_key, message, entry.signature) for key, entry in pairs]
    if not all(VERIFIERS[claim.anchor.suite.name]().verify(checks)):
        raise ReceiptRefused(ReceiptProblem.BAD_SIGNATURE)


def _check_leaf(claim: _Claim) -> None:
    signed_hash = claim.anchor.suite.digest(hashing.SIGNED + claim.file.transaction)
    if claim.leaf != Leaf(claim.tx_id, claim.transaction.member, claim.transaction.request_id, signed_hash):
        raise ReceiptRefused(ReceiptProblem.LEAF_DIFFERS)


def _check_leaf_in_block(claim: _Claim) -> None:
    file, header = claim.file, claim.header
    if not _is_included(claim, file.leaf, file.leaf_path, header.transactions_root):
        raise ReceiptRefused(ReceiptProblem.LEAF_NOT_IN_BLOCK)


def _check_receipt_in_block(claim: _Claim) -> None:
    file, header = claim.file, claim.header
    if not _is_included(claim, file.receipt, file.receipt_path, header.receipts_root):
        raise ReceiptRefused(ReceiptProblem.RECEIPT_NOT_IN_BLOCK)


def _check_receipt(claim: _Claim) -> None:
    if (claim.receipt.tx_id, claim.receipt.height) != (claim.tx_id, claim.header.height):
        raise ReceiptRefused(ReceiptProblem.RECEIPT_DIFFERS)


def _check_app_hash(claim: _Claim) -> None:
    if claim.file.app_hash != claim.anchor.suite.digest(hashing.HEADER + claim.file.header):
        raise ReceiptRefused(ReceiptProblem.HEADER_DIFFERS)


def _check_history(claim: _Claim) -> None:
    file, digest = claim.file, claim.anchor.suite.digest
    if not file.certified_header:
        if file.history_path:
            raise ReceiptRefused(ReceiptProblem.NOT_IN_HISTORY, "a path and no header that it leads to")
        return
    node = digest(LEAF + file.app_hash)
    for step in file.history_path:
        node = digest(NODE + step.hash + node if step.side == "left" else NODE + node + step.hash)
    if node != claim.certified.history_root or claim.header.height >= claim.certified.height:
        raise ReceiptRefused(ReceiptProblem.NOT_IN_HISTORY)


def _check_checkpoint(claim: _Claim) -> None:
    anchor = claim.anchor
    for header, app_hash in ((claim.header, claim.file.app_hash), (claim.certified, claim.certified_hash)):
        if header.height == anchor.height and app_hash != anchor.app_hash:
            raise ReceiptRefused(ReceiptProblem.CHECKPOINT_CONTRADICTED)


def _check_authority(claim: _Claim) -> None:
    if claim.certified.authority_root != authority_root(claim.anchor.suite, claim.anchor.authority):
        raise ReceiptRefused(ReceiptProblem.AUTHORITY_DIFFERS)


def _check_certificate(claim: _Claim) -> None:
    certificate = claim.file.certificate
    sequencer = sequencer_of(claim.anchor.authority)
    message = hashing.SIGN_HEADER + claim.anchor.chain_id + claim.certified_hash
    signature = certificate.signature if isinstance(certificate, Certificate) else b""
    check = Check(sequencer.algorithm, sequencer.public_key, message, signature)
    if not all(VERIFIERS[claim.anchor.suite.name]().verify([check])):
        raise ReceiptRefused(ReceiptProblem.BAD_CERTIFICATE)


STEPS: Final = (
    _check_chain,
    _check_keys,
    _check_signatures,
    _check_leaf,
    _check_leaf_in_block,
    _check_receipt_in_block,
    _check_receipt,
    _check_app_hash,
    _check_history,
    _check_checkpoint,
)
"""What is checked once everything is decoded, in this order; then who certified it."""

SEQUENCER_STEPS: Final = (_check_authority, _check_certificate)
"""What is checked of a certificate of kind ``embedded``, in this order."""


def _key_id(anchor: Anchor, algorithm: str, public_key: bytes) -> bytes:
    return hashing.key_id(anchor.suite, algorithm, public_key)


def _is_included(claim: _Claim, data: bytes, path: tuple[bytes, ...], root: bytes) -> bool:
    """Leaf and receipt stand at the same index, the one that the receipt states."""
    return check_inclusion(
        claim.anchor.suite.digest, data, claim.receipt.index, claim.header.transaction_count, path, root
    )


def _told(claim: _Claim) -> Verified:
    transaction, receipt, header = claim.transaction, claim.receipt, claim.header
    named = zip(claim.signed.signatures, claim.file.keys, strict=True)
    return Verified(
        trust=claim.anchor.kind,
        chain_name=claim.anchor.name,
        chain_id=claim.anchor.chain_id.hex(),
        tx_id=claim.tx_id.hex(),
        member=transaction.member,
        request_id=transaction.request_id.hex(),
        created_ms=int.from_bytes(transaction.request_id[:6], "big"),
        valid_until_ms=transaction.valid_until_ms,
        signers=tuple([{"key_id": entry.key_id.hex(), **to_json(key)} for entry, key in named]),
        operations=tuple([explain_operation(operation) for operation in transaction.operations]),
        applied=receipt.code == 0,
        refusal=explain_refusal(receipt),
        events=tuple([explain_event(event) for event in receipt.events]),
        height=header.height,
        index=receipt.index,
        time_ms=header.time_ms,
        app_hash=claim.file.app_hash.hex(),
        certified_height=claim.certified.height,
        certificate_kind=claim.file.certificate.kind,
        certificate=_told_certificate(claim),
        handovers=_told_handovers(claim.succession),
    )


def _told_certificate(claim: _Claim) -> dict[str, Any]:
    if claim.succession is not None:
        return explain_link(claim.succession.certificate)
    return explain_sequencer(claim.certified.height, claim.anchor.authority)


def _told_handovers(succession: Succession | None) -> tuple[dict[str, Any], ...]:
    """What stands before the trusted authority's own link is told too: it was checked."""
    told = []
    for link in succession.links[:-1] if succession else ():
        if isinstance(link, validators.Sequenced):
            told.append({"kind": link.handover.kind, "height": link.height, **to_json(link.handover.key)})
        else:
            told.append(explain_link(link))
    return tuple(told)
