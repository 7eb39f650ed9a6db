"""What a transaction asked for, what became of it and who certified that, in JSON values that people can
read.

A release explains the methods, events and refusals of its own contracts; what it does not know it shows as
the bytes that were signed.
"""

from functools import cache
from typing import Any, Final

from contracts import assemble
from node.engine.cometbft.light import ALGORITHM, SignedHeader, powers
from node.json_form import to_json
from node.ledger import codec
from node.ledger.contract import Method
from node.ledger.errors import ErrorCode, LedgerError, Rejected
from node.ledger.types import Authority, Event, Operation, Receipt

_APPLIED: Final = 0


@cache
def _methods() -> dict[tuple[str, str], Method]:
    return {
        (contract.name, method.name): method
        for contract in assemble()
        for method in contract.methods.values()
    }


@cache
def _facts() -> dict[tuple[str, str], Any]:
    return {
        (contract.name, fact.__name__): codec.decoder(fact)
        for contract in assemble()
        for fact in contract.facts
    }


@cache
def _errors() -> dict[tuple[str, int], ErrorCode]:
    own = [value for value in vars(LedgerError).values() if isinstance(value, ErrorCode)]
    return {
        (error.codespace, error.code): error for error in [*own, *(e for c in assemble() for e in c.errors)]
    }


def explain_operation(operation: Operation) -> dict[str, Any]:
    """contract, method, and ``arguments`` by name, or ``encoded`` where this release cannot read them."""
    told: dict[str, Any] = {"contract": operation.contract, "method": operation.method}
    method = _methods().get((operation.contract, operation.method))
    if method is not None:
        try:
            values = method.decode(operation.arguments)
        except Rejected:
            method = None
        else:
            return {
                **told,
                "arguments": {
                    name: to_json(value) for name, value in zip(method.arguments, values, strict=True)
                },
            }
    return {**told, "encoded": operation.arguments.hex()}


def explain_event(event: Event) -> dict[str, Any]:
    """contract, event, and ``fields`` by name, or ``encoded`` where this release cannot read them."""
    told: dict[str, Any] = {"contract": event.contract, "event": event.event}
    decode = _facts().get((event.contract, event.event))
    if decode is not None:
        try:
            return {**told, "fields": to_json(decode(event.fields))}
        except codec.NotCanonical:
            decode = None
    return {**told, "encoded": event.fields.hex()}


def explain_refusal(receipt: Receipt) -> dict[str, Any] | None:
    """codespace, code, operation, and the name, category and sentence that this release has for it; None
    where it was applied.
    """
    if receipt.code == _APPLIED:
        return None
    told: dict[str, Any] = {
        "codespace": receipt.codespace,
        "code": receipt.code,
        "operation": receipt.failed_operation,
    }
    return told | explain_code(receipt.codespace, receipt.code)


def explain_code(codespace: str, code: int) -> dict[str, Any]:
    """The name, category and sentence that this release has for a refusal."""
    error = _errors().get((codespace, code))
    if error is None:
        return {"name": "", "category": "", "sentence": "A refusal that this release does not know."}
    return {"name": error.name, "category": error.category.name, "sentence": error.sentence}


def explain_link(signed: SignedHeader) -> dict[str, Any]:
    """Who signed a header of CometBFT: its height and time, the power of the votes, of how much, and each
    validator with its power and when it voted (ms since 1970; None: its vote is not in the file).
    """
    votes = {vote.validator: vote.seconds * 1_000 + vote.nanos // 1_000_000 for vote in signed.votes}
    voted, total = powers(signed)
    return {
        "kind": "cometbft",
        "height": signed.height,
        "time_ms": signed.header.seconds * 1_000 + signed.header.nanos // 1_000_000,
        "power": voted,
        "of_power": total,
        "signers": [
            {
                "algorithm": ALGORITHM,
                "public_key": one.public_key.hex(),
                "power": one.power,
                "voted_ms": votes.get(place),
            }
            for place, one in enumerate(signed.validators)
        ],
    }


def explain_sequencer(height: int, authority: tuple[Authority, ...]) -> dict[str, Any]:
    """Who signed a header as its sequencer: the one key with more than two thirds of the power."""
    sequencer = max(authority, key=lambda entry: entry.power)
    return {
        "kind": "embedded",
        "height": height,
        "power": sequencer.power,
        "of_power": sum([entry.power for entry in authority]),
        "signers": [to_json(sequencer)],
    }
