"""One transaction before it runs: is it canonical, of this chain, alive, and signed as its member's own rules
demand?

``parse`` looks at the bytes alone, ``check_alive`` at the block's time, ``authorise`` at the members' keys
and policy. Whatever fails here is *discarded*: it has no receipt and spends no request id, so a copy with
broken signatures, ordered first by somebody else, burns nothing. (Arguments that do not decode are different:
the transaction is genuine, so it is decided, and refused.)
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any, Final, NamedTuple

from msgspec import Struct

from node.ledger import codec, hashing
from node.ledger.contract import EIGHTHS_PER_BYTE, Bound, Charge, Method
from node.ledger.errors import ErrorCode, LedgerError, Rejected
from node.ledger.ports import Check
from node.ledger.types import (
    CREATED_AHEAD_MS,
    TRANSACTION_BYTES_MAX,
    Limits,
    Operation,
    SignedTransaction,
    Transaction,
)

UUID_VERSION_AND_VARIANT: Final = (0x70, 0x80)
"""The high bits of bytes 6 and 8 of a UUIDv7 (RFC 9562, 5.7)."""

# A unit of work is about a microsecond on the reference machine (two cores). Work depends on the bytes alone.
TRANSACTION_WORK: Final = 10
SIGNATURE_WORK: Final = 30
OPERATION_WORK: Final = 15
BYTES_PER_WORK: Final = 8

_decode_signed: Callable[[bytes], SignedTransaction] = codec.decoder(SignedTransaction)
_decode_transaction: Callable[[bytes], Transaction] = codec.decoder(Transaction)


class Call(NamedTuple):
    """An operation with its arguments decoded."""

    contract: str
    method: Method
    arguments: tuple[Any, ...]


class Failure(NamedTuple):
    """Why a genuine transaction cannot run, and at which operation (from 1)."""

    error: ErrorCode
    operation: int


class Candidate(Struct, frozen=True, gc=False):
    """A canonical transaction of this chain. What it says may still be refused; that it is well formed is
    certain.
    """

    raw: bytes
    signed: SignedTransaction
    transaction: Transaction
    tx_id: bytes
    signed_hash: bytes
    created_ms: int
    calls: tuple[Call, ...]
    failure: Failure | None
    work: int
    edition: int


class Chain(NamedTuple):
    """What identifies and bounds a chain, from genesis and never changed, and the methods that transactions
    may call. edition: told apart from other sets of methods by this number, within one process.
    """

    chain_id: bytes
    suite: hashing.Suite
    limits: Limits
    methods: Mapping[tuple[str, str], Method]
    edition: int = 0


def parse(raw: bytes, chain: Chain) -> Candidate:
    """The candidate in ``raw``. Raises Rejected TOO_LARGE, MALFORMED, WRONG_CHAIN, TOO_MUCH_WORK."""
    if len(raw) > TRANSACTION_BYTES_MAX:
        raise Rejected(LedgerError.TOO_LARGE, bytes=len(raw), most=TRANSACTION_BYTES_MAX)
    try:
        signed = _decode_signed(raw)
        transaction = _decode_transaction(signed.transaction)
    except codec.NotCanonical as reason:
        raise Rejected(LedgerError.MALFORMED, reason=str(reason)) from reason
    if transaction.chain != chain.chain_id[:8]:
        raise Rejected(LedgerError.WRONG_CHAIN)
    signatures = signed.signatures
    if len(signatures) > 1 and any(a.key_id >= b.key_id for a, b in pairwise(signatures)):
        raise Rejected(
            LedgerError.MALFORMED, reason="signatures are not in ascending order of distinct key ids"
        )
    request_id = transaction.request_id
    if (request_id[6] & 0xF0, request_id[8] & 0xC0) != UUID_VERSION_AND_VARIANT:
        raise Rejected(LedgerError.MALFORMED, reason="the request id is no UUIDv7")
    calls, failure, work = _read_operations(transaction.operations, chain)
    work += TRANSACTION_WORK + SIGNATURE_WORK * len(signatures)
    if work > chain.limits.block_work_max:
        raise Rejected(LedgerError.TOO_MUCH_WORK, work=work, most=chain.limits.block_work_max)
    digest = chain.suite.digest
    return Candidate(
        raw,
        signed,
        transaction,
        digest(hashing.TX + signed.transaction),
        digest(hashing.SIGNED + raw),
        int.from_bytes(request_id[:6], "big"),
        calls,
        failure,
        work,
        chain.edition,
    )


def _read_operations(
    operations: Iterable[Operation], chain: Chain
) -> tuple[tuple[Call, ...], Failure | None, int]:
    calls: list[Call] = []
    failure: Failure | None = None
    eighths = flat = number = 0
    for number, operation in enumerate(operations, 1):
        method = chain.methods.get((operation.contract, operation.method))
        eighths += len(operation.arguments) * (method.work if method else EIGHTHS_PER_BYTE)
        flat += method.flat if method else 0
        if method is None:
            failure = failure or Failure(LedgerError.UNKNOWN_METHOD, number)
            continue
        try:
            calls.append(Call(operation.contract, method, method.decode(operation.arguments)))
        except Rejected as rejected:
            failure = failure or Failure(rejected.error, number)
    flat += OPERATION_WORK * number
    return tuple(calls), failure, flat + eighths // BYTES_PER_WORK


def check_alive(candidate: Candidate, time_ms: int, limits: Limits) -> None:
    """Raises Rejected NOT_YET_ALIVE or EXPIRED (formats.md: ``created - 60 s <= block time <= deadline``)."""
    created = candidate.created_ms
    if time_ms < created - CREATED_AHEAD_MS:
        raise Rejected(LedgerError.NOT_YET_ALIVE, created_ms=created, block_time_ms=time_ms)
    deadline = created + limits.lifetime_ms
    if valid_until := candidate.transaction.valid_until_ms:
        deadline = min(deadline, valid_until)
    if time_ms > deadline:
        raise Rejected(LedgerError.EXPIRED, deadline_ms=deadline, block_time_ms=time_ms)


def authorise(candidate: Candidate, bound: Bound, chain: Chain, height: int) -> tuple[Check, ...]:
    """The signature checks that remain once keys, scopes and the signing policy are satisfied.

    Raises Rejected UNKNOWN_MEMBER, MEMBER_SUSPENDED, UNKNOWN_KEY, KEY_NOT_ACTIVE, KEY_OUT_OF_SCOPE,
    POLICY_NOT_MET.
    """
    transaction = candidate.transaction
    member = transaction.member
    message = hashing.SIGN_TX + chain.chain_id + candidate.tx_id
    checks: list[Check] = []
    holders: dict[str, None] = {}
    for entry in candidate.signed.signatures:
        key = bound.signatories.require_signatory(member, entry.key_id, height)
        if "*" not in key.scopes:
            _check_scopes(transaction, key.scopes)
        holders[key.holder] = None
        checks.append(Check(key.algorithm, key.public_key, message, entry.signature))
    required = required_officers(candidate, bound)
    if len(holders) < required:
        raise Rejected(LedgerError.POLICY_NOT_MET, officers=len(holders), required=required)
    return tuple(checks)


def signature_checks(candidate: Candidate, bound: Bound, chain: Chain) -> tuple[Check, ...]:
    """Whether somebody signed who could have at any time: for what is ordered though it may not run, so that
    its first outcome is told. Raises Rejected UNKNOWN_KEY.
    """
    message = hashing.SIGN_TX + chain.chain_id + candidate.tx_id
    checks: list[Check] = []
    for entry in candidate.signed.signatures:
        key = bound.signatories.get_signatory(candidate.transaction.member, entry.key_id)
        if key is None:
            raise Rejected(LedgerError.UNKNOWN_KEY, key_id=entry.key_id.hex())
        checks.append(Check(key.algorithm, key.public_key, message, entry.signature))
    return tuple(checks)


def _check_scopes(transaction: Transaction, scopes: tuple[str, ...]) -> None:
    for operation in transaction.operations:
        if operation.contract not in scopes and f"{operation.contract}.{operation.method}" not in scopes:
            raise Rejected(LedgerError.KEY_OUT_OF_SCOPE, method=f"{operation.contract}.{operation.method}")


def required_officers(candidate: Candidate, bound: Bound) -> int:
    """How many distinct officers the member's own policy asks for."""
    charges = (charge for call in candidate.calls for charge in _charges(call, bound))
    return bound.signatories.required_officers(candidate.transaction.member, charges)


def weigh(operations: Iterable[Operation], chain: Chain, bound: Bound) -> tuple[tuple[Charge, ...], int]:
    """contract.Weigh, over one state."""
    calls, failure, work = _read_operations(operations, chain)
    if failure:
        raise Rejected(failure.error, operation=failure.operation)
    return tuple([charge for call in calls for charge in _charges(call, bound)]), work


def weights(call: Call, bound: Bound) -> tuple[tuple[str, int], ...]:
    """(asset, amount) of what a call commits its member to; ("", 0) where its method says nothing of that.
    Raises Rejected where the state does not know what the call is about.
    """
    method = call.method
    if method.weight:
        return tuple(method.weight(bound.contracts[call.contract], *call.arguments)) or (("", 0),)
    amount = call.arguments[method.amount] if method.amount >= 0 else 0
    asset = call.arguments[method.asset] if method.asset >= 0 else ""
    return ((asset, amount),)


def _charges(call: Call, bound: Bound) -> Iterator[Charge]:
    """A call about what the state does not know weighs nothing: its method will refuse it."""
    try:
        found = weights(call, bound)
    except Rejected:
        found = (("", 0),)
    for asset, amount in found:
        yield Charge(call.contract, call.method.name, asset, amount)
