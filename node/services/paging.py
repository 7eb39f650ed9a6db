"""Page tokens: opaque to clients, and good for one list with one set of parameters only.

A token is a check and a cursor in base64url. The check binds the cursor to the chain, the list and its
parameters, so that a token that was altered, or that belongs to another list, is refused instead of answered
with something else. It guards against mistakes; a cursor gives no right that the list would not give without
it.
"""

import base64
from hashlib import blake2b
from typing import Any, Final, TypeVar

import msgspec

from node.engine.errors import Degraded, NodeError

C = TypeVar("C", str, bytes, int)

PAGE_DEFAULT: Final = 100
CHECK_BYTES: Final = 8
TOKEN_CHARACTERS_MAX: Final = 256

_encode: Final = msgspec.msgpack.Encoder().encode


class Pages:
    """Makes and reads the page tokens of one chain."""

    def __init__(self, chain_id: bytes) -> None:
        self._key = chain_id

    def token(self, cursor: str | bytes | int, *parameters: Any) -> str:
        """The token of a position in the list that ``parameters`` name; empty for an empty cursor."""
        if cursor in ("", b""):
            return ""
        content = _encode(cursor)
        return base64.urlsafe_b64encode(self._check(content, parameters) + content).decode()

    def cursor(self, token: str, start: C, *parameters: Any) -> C:
        """The position in a token, ``start`` where it is empty. Raises Degraded BAD_PAGE_TOKEN."""
        if not token:
            return start
        try:
            data = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
            if len(token) > TOKEN_CHARACTERS_MAX or data[:CHECK_BYTES] != self._check(
                data[CHECK_BYTES:], parameters
            ):
                raise Degraded(NodeError.BAD_PAGE_TOKEN)
            return msgspec.msgpack.decode(data[CHECK_BYTES:], type=type(start))
        except ValueError as error:
            raise Degraded(NodeError.BAD_PAGE_TOKEN) from error

    def _check(self, content: bytes, parameters: tuple[Any, ...]) -> bytes:
        return blake2b(_encode((parameters, content)), digest_size=CHECK_BYTES, key=self._key).digest()


def page_size(asked: int, most: int = PAGE_DEFAULT) -> int:
    """How many rows a page has: what was asked for, at most ``most``; the default for 0."""
    return min(asked or PAGE_DEFAULT, most)
