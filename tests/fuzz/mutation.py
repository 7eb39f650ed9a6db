"""Changing an input in its parts: a JSON document stays JSON, an encoding stays MessagePack, and what is
nested in bytes is changed inside, so that changes reach behind the decoders that are not Python.

Everything follows from the seed that the fuzzer draws.
"""

import json
import random
from collections.abc import Callable
from typing import Any, Final

import msgspec

from tests.fuzz.target import Form

Change = Callable[[bytes, int], bytes]

INTEGERS: Final = (
    *(0, 1, -1, 2, 7, 31, 32, 127, 128, 255, 256, 65_535, 65_536, 10**18, 2**31 - 1, 2**31, 2**32),
    *(2**53, 2**63 - 1, 2**63, 2**64 - 1, -(2**63)),
)
TEXTS: Final = (
    *(
        "",
        "0",
        "-1",
        "9" * 30,
        "1e999",
        "00",
        "a" * 65,
        "\x00",
        "\ud7ff",
        "\uff46",
        "\u0663",
        "é",
        "*",
        "../x",
        "ed25519",
    ),
    *("p256", "sm2", "embedded", "cometbft", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z", "=="),
)
OTHERS: Final[tuple[Any, ...]] = (None, True, False, [], {}, 1.5, 1e308)
CHANGES_MAX: Final = 4
DEEP: Final = 0.6
"""How often what is nested in bytes is changed inside."""


def changed(data: bytes, form: Form, bytes_max: int, seed: int, change: Change) -> bytes:
    """The input, changed in a few places. change: the fuzzer's own way with bytes."""
    chance = random.Random(seed)
    if form == "bytes" or chance.random() < 0.2:
        return change(data, bytes_max)
    read, write = _CODECS[form]
    try:
        value = read(data)
        for _ in range(chance.randint(1, CHANGES_MAX)):
            value = _anywhere(value, form, chance, change)
        made = write(value)
    except (ValueError, TypeError, RecursionError, OverflowError):
        return change(data, bytes_max)
    return made if len(made) <= bytes_max else change(data, bytes_max)


def _anywhere(value: Any, form: Form, chance: random.Random, change: Change) -> Any:
    """The value, changed at one place, at any depth."""
    if isinstance(value, dict) and value and chance.random() < 0.9:
        name = chance.choice(list(value))
        if chance.random() < 0.85:
            return {**value, name: _anywhere(value[name], form, chance, change)}
        return _names_changed(value, name, chance)
    if isinstance(value, list) and value and chance.random() < 0.9:
        at = chance.randrange(len(value))
        if chance.random() < 0.85:
            return [*value[:at], _anywhere(value[at], form, chance, change), *value[at + 1 :]]
        return _items_changed(value, at, chance)
    return _leaf(value, form, chance, change)


def _names_changed(value: dict[str, Any], name: str, chance: random.Random) -> dict[str, Any]:
    match chance.randrange(3):
        case 0:
            return {key: item for key, item in value.items() if key != name}
        case 1:
            return {**value, chance.choice(TEXTS): value[name]}
    other = chance.choice(list(value))
    return {**value, name: value[other], other: value[name]}


def _items_changed(value: list[Any], at: int, chance: random.Random) -> list[Any]:
    match chance.randrange(4):
        case 0:
            return value[:at] + value[at + 1 :]
        case 1:
            return [*value[:at], value[at], *value[at:]]
        case 2:
            return value * chance.choice((2, 3, 17))
    other = chance.randrange(len(value))
    made = list(value)
    made[at], made[other] = made[other], made[at]
    return made


def _leaf(value: Any, form: Form, chance: random.Random, change: Change) -> Any:
    if isinstance(value, bytes):
        return _nested(value, chance, change)
    if isinstance(value, str) and chance.random() < 0.7:
        return _text(value, chance, change)
    if isinstance(value, int) and not isinstance(value, bool) and chance.random() < 0.8:
        return chance.choice((value + 1, value - 1, value * 2, value ^ 1 << chance.randrange(63), *INTEGERS))
    bins = (b"", bytes(32)) if form == "msgpack" else ()
    return chance.choice((*INTEGERS, *TEXTS, *OTHERS, *bins))


def _nested(value: bytes, chance: random.Random, change: Change) -> bytes:
    if value[:1] >= b"\x90" and chance.random() < DEEP:
        try:
            inner = _read_msgpack(value)
        except ValueError:
            inner = None
        if isinstance(inner, list):
            return _write_msgpack(_anywhere(inner, "msgpack", chance, change))
    if value and chance.random() < 0.5:
        at = chance.randrange(len(value))
        return value[:at] + bytes((value[at] ^ 1 << chance.randrange(8),)) + value[at + 1 :]
    return change(value, max(2 * len(value), 64))


def _text(value: str, chance: random.Random, change: Change) -> str:
    """Of hexadecimal digits the bytes are changed, or the text as such."""
    if chance.random() < DEEP:
        try:
            return _nested(bytes.fromhex(value), chance, change).hex()
        except ValueError:
            return change(value.encode(), max(2 * len(value), 64)).decode(errors="replace")
    return chance.choice((value.upper(), value[:-1], value + "0", " " + value, *TEXTS))


def _read_json(data: bytes) -> Any:
    return json.loads(data)


def _write_json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass")


_read_msgpack: Final = msgspec.msgpack.Decoder().decode
_write_msgpack: Final = msgspec.msgpack.Encoder().encode
_CODECS: Final[dict[str, tuple[Callable[[bytes], Any], Callable[[Any], bytes]]]] = {
    "json": (_read_json, _write_json),
    "msgpack": (_read_msgpack, _write_msgpack),
}
