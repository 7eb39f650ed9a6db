"""Contracts' own types on the client's side: a query's arguments by name, its result as the contract's
record, events by field.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from contracts import assemble
from node.json_form import from_json, to_json
from node.ledger.contract import Contract, Method
from node.ledger.types import Event
from node.receipts.explain import explain_event

CONTRACTS: Final[Mapping[str, Contract]] = {contract.name: contract for contract in assemble()}
"""Every contract of this release, for its declarations only."""


def require_query(contract: str, name: str) -> Method:
    """A query's declaration. Raises TypeError where this release has none of that name."""
    known = CONTRACTS.get(contract)
    method = known.queries.get(name) if known else None
    if method is None:
        raise TypeError(f"this release has no query {contract}.{name}")
    return method


def arguments_json(query: Method, arguments: tuple[Any, ...]) -> str:
    """A query's arguments as the JSON object that ContractService takes. Raises TypeError where their
    number differs.
    """
    if len(arguments) != len(query.arguments):
        raise TypeError(f"{query.name} takes {', '.join(query.arguments) or 'no arguments'}")
    named = {name: to_json(value) for name, value in zip(query.arguments, arguments, strict=True)}
    return msgspec.json.encode(named).decode()


def read_result(query: Method, result_json: str) -> Any:
    """The record, or the tuple of records, that a query answered. Raises json_form.JsonRefused."""
    return from_json(query.result, msgspec.json.decode(result_json))


def event_fields(event: Event) -> dict[str, Any]:
    """An event as JSON values: contract, event, and its fields by name."""
    told = explain_event(event)
    return {**told, **told.pop("fields", {})}
