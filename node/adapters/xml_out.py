"""XML out: escaped text, one element after the other, in constant memory. Empty texts write no element."""

import re
from functools import cache
from types import TracebackType
from typing import BinaryIO, Final, Self

from node.adapters.money import format_money
from node.adapters.records import Money
from node.adapters.refusals import Bad, Reason

NAMESPACE: Final = "urn:iso:std:iso:20022:tech:xsd:"
BUFFER_CHARS: Final = 1 << 16

_FORBIDDEN: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MARKUP: Final = re.compile("[&<>]")


def escaped(text: str) -> str:
    """A text as XML 1.0 carries it. Raises Bad BAD_VALUE for a character that it cannot carry."""
    if _FORBIDDEN.search(text):
        raise Bad(Reason.BAD_VALUE, f"{text[:40]!r} holds a character that XML cannot carry")
    if _MARKUP.search(text):
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text


@cache
def _around(path: str) -> tuple[str, str]:
    """What stands before and behind a text at a path; writers know only so many paths."""
    names = path.split("/")
    return "".join([f"<{name}>" for name in names]), "".join([f"</{name}>" for name in reversed(names)])


class XmlOut:
    """Writes one document: ``with XmlOut(file, "camt.053.001.08") as out``. A document is complete when
    left well.
    """

    def __init__(self, file: BinaryIO, version: str) -> None:
        self._file = file
        self._open: list[str] = []
        self._parts = ['<?xml version="1.0" encoding="UTF-8"?>\n']
        self._size = 0
        self._start("Document", f' xmlns="{NAMESPACE}{version}"')

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close(len(self._open))
            self._flush()

    def open(self, *names: str) -> None:
        """Begin elements, each inside the one before."""
        for name in names:
            self._start(name, "")

    def close(self, count: int = 1) -> None:
        """End the innermost elements."""
        for _ in range(count):
            name = self._open.pop()
            self._put(f"{' ' * len(self._open)}</{name}>\n")

    def leaf(self, path: str, text: str, longest: int = 0) -> None:
        """An element with a text; a path ``a/b/c`` makes those around it. longest: characters at most, 0:
        any.

        Raises Bad BAD_VALUE.
        """
        if not text:
            return
        if longest and len(text) > longest:
            raise Bad(Reason.BAD_VALUE, f"{path}: {text[:40]!r} is longer than {longest}")
        before, after = _around(path)
        self._put(f"{' ' * len(self._open)}{before}{escaped(text)}{after}\n")

    def money(self, name: str, money: Money) -> None:
        """An amount with its currency, without its sign."""
        self._put(f'{" " * len(self._open)}<{name} Ccy="{money.currency}">{format_money(money)}</{name}>\n')

    def _start(self, name: str, attributes: str) -> None:
        self._put(f"{' ' * len(self._open)}<{name}{attributes}>\n")
        self._open.append(name)

    def _put(self, text: str) -> None:
        self._parts.append(text)
        self._size += len(text)
        if self._size > BUFFER_CHARS:
            self._flush()

    def _flush(self) -> None:
        self._file.write("".join(self._parts).encode())
        self._parts.clear()
        self._size = 0
