"""Bodies to sign: what ContractService and TradingService prepare. Nothing changes by it."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from node.client.signing import new_request_id, transaction
from node.engine.errors import Degraded, NodeError
from node.ledger import codec, hashing
from node.ledger.errors import Rejected
from node.ledger.ledger import Ledger
from node.ledger.transactions import parse, required_officers
from node.ledger.types import (
    INTEGER_MAX,
    REQUEST_ID_BYTES,
    SIGNATURE_BYTES,
    KeySignature,
    Operation,
    SignedTransaction,
)

_UNSIGNED: Final = (KeySignature(bytes(16), bytes(SIGNATURE_BYTES)),)
"""Stands in for the officers' signatures while a body is checked."""


class Body(NamedTuple):
    """A transaction without signatures, what each officer's key signs, and how many officers it takes now."""

    transaction: bytes
    tx_id: bytes
    message: bytes
    required_officers: int
    request_id: bytes


def prepare(
    ledger: Ledger, member: str, operations: Sequence[Operation], request_id: bytes, valid_until_ms: int
) -> Body:
    """A body of a member's. request_id: empty: a new one. valid_until_ms: 0: the chain's lifetime.

    Raises Degraded BAD_REQUEST, Rejected BAD_ARGUMENTS, BAD_TEXT, TOO_LARGE, TOO_MUCH_WORK.
    """
    if len(request_id) not in (0, REQUEST_ID_BYTES):
        raise Degraded(NodeError.BAD_REQUEST, reason="a request id is a UUIDv7 of 16 bytes")
    if valid_until_ms > INTEGER_MAX:
        raise Degraded(NodeError.BAD_REQUEST, reason="valid_until_ms is out of range")
    request_id = request_id or new_request_id()
    chain = ledger.chain
    body = transaction(
        chain.chain_id, member, operations, request_id=request_id, valid_until_ms=valid_until_ms
    )
    candidate = parse(codec.encode(SignedTransaction(body, _UNSIGNED)), chain)
    if candidate.failure:
        raise Rejected(candidate.failure.error)
    message = hashing.SIGN_TX + chain.chain_id + candidate.tx_id
    return Body(body, candidate.tx_id, message, required_officers(candidate, ledger.door), request_id)
