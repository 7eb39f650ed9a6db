"""What custody weighs of the operations that a member's people ask for: the arguments, and what the ledger
knows of what they are about.

A deal is weighed by both its legs, a draft (contracts/approvals.py) by all that it would run, so that nothing
becomes small by being asked for in another way. What the ledger does not know cannot be weighed: that request
is refused.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from node.client.signing import transaction
from node.keys.custody_policy import Facts, facts_of
from node.ledger import codec
from node.ledger.contract import Bound
from node.ledger.errors import LedgerError, Rejected
from node.ledger.ledger import Ledger
from node.ledger.transactions import Call, Candidate, Chain, parse, weights
from node.ledger.types import SIGNATURE_BYTES, KeySignature, Operation, SignedTransaction

DRAFTS: Final = "approvals"
FACTS_BYTES_MAX: Final = 256 * 1024
"""What the queue keeps beside a request, so that its file can be read again."""
TOLD_BYTES_MAX: Final = 200 * 1024
"""Of what a line of the audit log says of them, so that what else it says has room."""
_UNSIGNED: Final = (KeySignature(bytes(16), bytes(SIGNATURE_BYTES)),)
"""Stands in for the signatures while a body is checked."""


def candidate_of(operations: Sequence[Operation], member: str, chain: Chain) -> Candidate:
    """The operations as a transaction of this chain. Raises Rejected for what no node would run."""
    body = transaction(chain.chain_id, member, operations)
    candidate = parse(codec.encode(SignedTransaction(body, _UNSIGNED)), chain)
    if candidate.failure:
        raise Rejected(candidate.failure.error, operation=candidate.failure.operation)
    return candidate


def facts(operations: Sequence[Operation], member: str, ledger: Ledger) -> list[Facts]:
    """What a policy weighs of operations, each with its number. Raises Rejected for what no node would run,
    and where the published state does not know what an operation is about.
    """
    calls = candidate_of(operations, member, ledger.chain).calls
    found: list[Facts] = []
    for number, call in enumerate(calls, 1):
        found += facts_of_call(number, call, ledger.door)
        if call.contract == DRAFTS and (drafted := tuple(_drafted(call, member, ledger))):
            for inner in candidate_of(drafted, member, ledger.chain).calls:
                found += facts_of_call(number, inner, ledger.door)
    if len(codec.encode(found)) > FACTS_BYTES_MAX:
        raise Rejected(LedgerError.TOO_LARGE, most=FACTS_BYTES_MAX)
    if len(msgspec.json.encode([told(each) for each in found])) > TOLD_BYTES_MAX:
        raise Rejected(LedgerError.TOO_LARGE, most=TOLD_BYTES_MAX)
    return found


def facts_of_call(number: int, call: Call, bound: Bound) -> list[Facts]:
    """What a policy weighs of one call, once for each asset that it commits. Raises Rejected."""
    found = weights(call, bound)
    return [facts_of(number, call.contract, call.method, call.arguments, weight) for weight in found]


def told(facts: Facts) -> dict[str, str | int]:
    """What a line of the audit log says of an operation."""
    said: dict[str, str | int] = {
        "method": facts.name,
        "asset": facts.asset,
        "amount": facts.amount,
        "source": facts.source,
    }
    return {name: value for name, value in said.items() if value}


def _drafted(call: Call, member: str, ledger: Ledger) -> Iterator[Operation]:
    """What a draft would run, if the call is for it."""
    named = dict(zip(call.method.arguments, call.arguments, strict=True))
    if "operations" in named:
        yield from named["operations"]
    elif call.method.name != "withdraw":
        drafts: Any = ledger.readers[DRAFTS]
        content = drafts.content.get(member, named["number"])
        if content is None:
            raise Rejected(drafts.DRAFT_UNKNOWN)
        yield from content.operations
