"""The one canonical encoding: what is hashed and signed (formats.md, "Encoding").

MessagePack as msgspec writes it for array-like structs. One value has one encoding: decoding encodes again
and compares. Received bytes are hashed and signed as received, never as re-encoded.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

_encoder = msgspec.msgpack.Encoder()

encode: Callable[[Any], bytes] = _encoder.encode
"""The encoding of a record, or of a tuple of arguments."""


class NotCanonical(ValueError):
    """Bytes that are not the canonical encoding of the type they are said to have."""


def decoder(type_: type[T] | Any) -> Callable[[bytes], T]:
    """A function that decodes canonical bytes into ``type_`` and raises NotCanonical for all others."""
    read = msgspec.msgpack.Decoder(type_).decode
    write = _encoder.encode

    def decode(data: bytes) -> T:
        try:
            value: T = read(data)
        except (ValueError, RecursionError) as error:  # msgspec's own errors and bad UTF-8 are ValueErrors
            raise NotCanonical(str(error)) from error
        if write(value) != data:
            raise NotCanonical("not in canonical form")
        return value

    return decode


def trusted_decoder(type_: type[T]) -> Callable[[bytes], T]:
    """A function that decodes what this program encoded itself and a checksum protects, without encoding it
    again.
    """
    return msgspec.msgpack.Decoder(type_).decode
