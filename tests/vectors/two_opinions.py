"""Receipt files before both implementations, and ways to change one place of a file."""

import json
from collections.abc import Iterator
from typing import Any

from node.receipts import ReceiptProblem, ReceiptRefused, verify_receipt_file
from tests.vectors import independent, independent_receipts

File = dict[str, Any]
Place = tuple[Any, ...]


def problem_of(data: bytes, trust: bytes) -> int | None:
    """The code by which the product refuses, or None."""
    try:
        verify_receipt_file(data, trust)
    except ReceiptRefused as refused:
        return refused.problem.code
    return None


def second_opinion(data: bytes, trust: bytes) -> int | None:
    """The code by which the second implementation refuses, or None."""
    try:
        independent_receipts.verify_receipt(data, trust)
    except independent.RefusedError as refused:
        return int(refused.args[0])
    return None


def both_on(file: File | bytes, trust: bytes) -> ReceiptProblem | None:
    """What both implementations say of a file; they must agree."""
    data = file if isinstance(file, bytes) else json.dumps(file).encode()
    code = problem_of(data, trust)
    assert second_opinion(data, trust) == code
    return next((problem for problem in ReceiptProblem if problem.code == code), None)


def hex_fields(value: Any, place: Place = ()) -> Iterator[Place]:
    """The places of all hex in a file."""
    if isinstance(value, dict | list):
        for name, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from hex_fields(item, (*place, name))
    elif isinstance(value, str) and value and place[-1] not in ("format", "algorithm", "kind", "side"):
        yield place


def at(file: File, place: Place) -> Any:
    """What stands at a place."""
    for name in place:
        file = file[name]
    return file


def put(file: File, place: Place, value: Any) -> None:
    """Let ``value`` stand at a place."""
    at(file, place[:-1])[place[-1]] = value
