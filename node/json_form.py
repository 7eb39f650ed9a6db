"""The JSON spelling of records, for people and files: what stands in genesis.json and what a receipt file
tells.

A record is an object of its fields, a tuple is a list, bytes are lower-case hex, integers and text are
themselves; where one of several records can stand, its first field ``kind`` tells which. What always holds:
``from_json(type, to_json(value)) == value``; JSON is never hashed or signed. Every refusal names the place in
the document.
"""

import json
import re
from types import UnionType
from typing import Annotated, Any, Final, NoReturn, get_args, get_origin

import msgspec

from node.ledger.types import Record

_HEX: Final = re.compile(r"([0-9a-f]{2})*")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class JsonRefused(ValueError):
    """A JSON document that is not what it should be; the text says where and why, for people."""


def to_json(value: Any) -> Any:
    """The JSON values of a record, a tuple, bytes, text or an integer."""
    if isinstance(value, Record):
        return {name: to_json(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    return value.hex() if isinstance(value, bytes) else value


def from_json(annotation: Any, value: Any, place: str = "") -> Any:
    """The value of type ``annotation`` that ``value`` spells.

    place: where in the document, for the refusal. Raises JsonRefused.
    """
    base = annotation
    while get_origin(base) is Annotated:
        base = get_args(base)[0]
    if get_origin(base) is UnionType:
        base = _of_kind(get_args(base), value, place)
    if isinstance(base, type) and issubclass(base, Record):
        return _record(base, value, place)
    plain: Any = value
    if get_origin(base) is tuple:
        if not isinstance(value, list):
            _refuse(place, "expected a list")
        plain = tuple([from_json(get_args(base)[0], item, f"{place}[{at}]") for at, item in enumerate(value)])
        annotation = _bounded(tuple[Any, ...], annotation)  # the items are what they should be already
    elif base is bytes:
        plain = parse_hex(value, place)
    elif isinstance(value, str) and _SURROGATE.search(value):
        _refuse(place, "the text is not Unicode")
    try:
        return msgspec.convert(plain, annotation)
    except msgspec.ValidationError as error:
        _refuse(place, str(error).partition(" - at")[0])


def parse_document(data: bytes, bytes_max: int) -> dict[str, Any]:
    """The JSON object in ``data``: UTF-8, at most ``bytes_max`` bytes, no name twice in one object. Raises
    JsonRefused.
    """
    if len(data) > bytes_max:
        raise JsonRefused(f"the file is larger than {bytes_max} bytes")
    try:
        document = json.loads(
            data.decode(), object_pairs_hook=_object, parse_float=_no_float, parse_constant=_no_float
        )
    except JsonRefused:
        raise
    except (ValueError, RecursionError) as error:
        raise JsonRefused(f"not JSON in UTF-8: {error}") from error
    if not isinstance(document, dict):
        raise JsonRefused("not a JSON object")
    return document


def write_document(document: dict[str, Any]) -> bytes:
    """A JSON document as it is written to a file."""
    return json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n"


def parse_hex(value: Any, place: str) -> bytes:
    """The bytes that lower-case hex spells. Raises JsonRefused."""
    if not isinstance(value, str) or not _HEX.fullmatch(value):
        _refuse(place, "expected bytes as lower-case hex, two digits each")
    return bytes.fromhex(value)


def check_names(value: Any, names: tuple[str, ...], place: str) -> dict[str, Any]:
    """``value`` as an object with exactly these names. Raises JsonRefused."""
    if not isinstance(value, dict):
        _refuse(place, "expected an object")
    if missing := [name for name in names if name not in value]:
        _refuse(place, f"{missing[0]} is missing")
    if unknown := [name for name in value if name not in names]:
        _refuse(place, f"{unknown[0]} is not known here")
    return value


def _bounded(base: Any, annotation: Any) -> Any:
    """``base`` with the bounds of another annotation."""
    while get_origin(annotation) is Annotated:
        annotation, *bounds = get_args(annotation)
        for bound in bounds:
            base = Annotated[base, bound]
    return base


def _of_kind(records: tuple[type[Record], ...], value: Any, place: str) -> type[Record]:
    """Which of several records stands here: each has a first field ``kind`` with one value."""
    if not isinstance(value, dict):
        _refuse(place, "expected an object")
    kinds = {get_args(msgspec.structs.fields(record)[0].type)[0]: record for record in records}
    kind = value.get("kind")
    if not isinstance(kind, str) or kind not in kinds:
        _refuse(place, "its kind is not known here")
    return kinds[kind]


def _record(record: type[Record], value: Any, place: str) -> Record:
    fields = msgspec.structs.fields(record)
    given = check_names(value, tuple([field.name for field in fields]), place)
    return record(
        *[
            from_json(field.type, given[field.name], f"{place}.{field.name}" if place else field.name)
            for field in fields
        ]
    )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise JsonRefused("an object has a name twice")
    return members


def _no_float(text: str) -> NoReturn:
    raise JsonRefused(f"{text} is not an integer")


def _refuse(place: str, reason: str) -> NoReturn:
    raise JsonRefused(f"{place or 'the document'}: {reason[:1].lower()}{reason[1:]}")
