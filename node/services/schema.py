"""JSON Schema of a method's arguments, as the project spells JSON (json_form.py): records are objects, bytes
are hexadecimal digits.

msgspec writes the schema; what it is asked about are twins of the wire types in which a record is no array
and bytes are a text. So a contract's own bounds stand in the schema, and nothing is stated twice.
"""

from functools import cache
from typing import Annotated, Any, Final, get_args, get_origin

import msgspec
from msgspec import Meta

from node.ledger.contract import Method
from node.ledger.types import Record

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
HEXADECIMAL: Final = "^([0-9a-f]{2})*$"


def arguments_schema(contract: str, method: Method) -> dict[str, Any]:
    """The JSON Schema of an object with one property an argument, all of them required."""
    names = list(method.arguments)
    twins = [_twin(annotation) for annotation in method.arguments.values()]
    schemas, components = msgspec.json.schema_components(twins, ref_template="#/$defs/{name}")
    return {
        "$schema": DIALECT,
        "title": f"{contract}.{method.name}",
        "description": method.sentence,
        "type": "object",
        "properties": dict(zip(names, schemas, strict=True)),
        "required": names,
        "additionalProperties": False,
        "$defs": components,
    }


def _twin(annotation: Any) -> Any:
    """The type that describes how a value of a wire type is spelled in JSON."""
    base, *metas = get_args(annotation) if get_origin(annotation) is Annotated else (annotation,)
    if isinstance(base, type) and issubclass(base, Record):
        base = _object(base)
    elif get_origin(base) is tuple:
        item: Any = _twin(get_args(base)[0])
        base = tuple[item, ...]
    elif base is bytes:
        return Annotated[str, _digits(metas)]
    return Annotated.__class_getitem__((base, *metas)) if metas else base  # type: ignore[attr-defined]


@cache
def _object(record: type[Record]) -> type[msgspec.Struct]:
    fields = [(field.name, _twin(field.type)) for field in msgspec.structs.fields(record)]
    twin = msgspec.defstruct(record.__name__, fields, forbid_unknown_fields=True)
    twin.__doc__ = record.__doc__
    return twin


def _digits(metas: list[Meta]) -> Meta:
    """The bounds of a text of digits, two a byte."""
    least = [2 * meta.min_length for meta in metas if meta.min_length is not None]
    most = [2 * meta.max_length for meta in metas if meta.max_length is not None]
    return Meta(pattern=HEXADECIMAL, min_length=max(least, default=None), max_length=min(most, default=None))
