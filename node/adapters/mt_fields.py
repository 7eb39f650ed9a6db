"""SWIFT MT messages as fields: ``:61:`` and what follows it, with the line where it stands.

A file holds one message or many, bare or in SWIFT blocks ({1:..}{2:..}{3:..}{4: ... -}). It is read a line
at a time.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import MINYEAR, date, timedelta
from typing import BinaryIO, Final

from node.adapters.money import decimals_of, parse_money
from node.adapters.records import Money
from node.adapters.refusals import Bad, Problems, Reason

LINE_BYTES_MAX: Final = 10_000
FIELD_LINES_MAX: Final = 200
CHUNK_BYTES: Final = 1 << 16
FIRST_TAG: Final = "20"
"""The field with which every message begins."""
LONE: Final = frozenset({"-", "--"})
"""A line that ends a message, unless it stands in the middle of a text."""
CENTURY_TURN: Final = 80
"""Years of two digits from here on are of the twentieth century."""
MARK: Final = ","

_TAG: Final = re.compile(r":([0-9]{2}[A-Z]?|NS):")
_BLOCK: Final = re.compile(r"\{([1-5S]):")
_TYPE: Final = re.compile(r"\{2:[IO]([0-9]{3})")
_UETR: Final = re.compile(r"\{121:([^}]*)\}")
_BIC1: Final = re.compile(r"\{1:[A-Z][0-9]{2}([A-Z0-9]{8})[A-Z0-9]([A-Z0-9]{3})")


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its tag, its text lines, and the line of its tag in the file."""

    tag: str
    lines: tuple[str, ...]
    line: int

    @property
    def text(self) -> str:
        """The first line."""
        return self.lines[0]

    @property
    def whole(self) -> str:
        """All lines."""
        return "\n".join(self.lines).rstrip()


@dataclass(slots=True)
class MtMessage:
    """One message: what stood before its first field, and its fields in order."""

    line: int = 0
    head: list[str] = field(default_factory=list)
    fields: list[Field] = field(default_factory=list)

    @property
    def number(self) -> str:
        """The message type of the application header, or what its fields show; empty where neither says."""
        found = _TYPE.search("".join(self.head))
        if found:
            return found[1]
        tags = {one.tag for one in self.fields}
        bare = [text for text in self.head if text in {"940", "942", "950"}]
        if bare:
            return bare[-1]
        if tags & {"60F", "60M", "62F", "62M"}:
            return "940"
        if tags & {"34F", "13D", "90D", "90C"} and not tags & {"32A"}:
            return "942"
        if "32A" in tags:
            return "202" if tags & {"58A", "58D"} else "103" if tags & {"59", "59A", "59F"} else ""
        return ""

    @property
    def uetr(self) -> str:
        """Of the user header, or empty."""
        found = _UETR.search("".join(self.head))
        return found[1] if found else ""

    @property
    def terminal(self) -> str:
        """The BIC of the basic header: who received the message (or sent it, where it goes out), or empty."""
        found = _BIC1.search("".join(self.head))
        return found[1] + found[2] if found else ""

    def get(self, *tags: str) -> Field | None:
        """The first field with one of these tags."""
        return next((one for one in self.fields if one.tag in tags), None)

    def require(self, *tags: str) -> Field:
        """As ``get``. Raises Bad ELEMENT_MISSING."""
        found = self.get(*tags)
        if found is None:
            raise Bad(Reason.ELEMENT_MISSING, f":{tags[0]}:", self.line)
        return found


def lines_of(file: BinaryIO, problems: Problems, encoding: str) -> Iterator[tuple[int, str]]:
    """(line number, text without its end) from the start; a line ends with LF, CR LF or CR alone. Raises
    FileRefused ENCODING, NOT_WELL_FORMED.
    """
    for number, raw in enumerate(_raw_lines(file), 1):
        if len(raw) > LINE_BYTES_MAX:
            raise problems.stop(
                number, Reason.NOT_WELL_FORMED, f"a line of more than {LINE_BYTES_MAX:,} bytes"
            )
        if b"\0" in raw:
            raise problems.stop(number, Reason.ENCODING, "a zero byte")
        try:
            text = raw.decode(encoding)
        except UnicodeDecodeError as error:
            detail = f"byte 0x{raw[error.start]:02x} is none of {encoding}; --encoding names another."
            raise problems.stop(number, Reason.ENCODING, detail) from error
        yield number, text.removeprefix("\ufeff") if number == 1 else text


def _raw_lines(file: BinaryIO) -> Iterator[bytes]:
    """Lines without their ends; one that does not end is handed on when it is too long."""
    file.seek(0)
    rest = b""
    while chunk := file.read(CHUNK_BYTES):
        chunk += file.read(1) if chunk.endswith(b"\r") else b""
        *whole, rest = (rest + chunk + b".").splitlines()
        rest = rest[:-1]
        yield from whole
        if len(rest) > LINE_BYTES_MAX:
            break
    if rest:
        yield rest


@dataclass(slots=True)
class _Open:
    """The field whose lines are being read. doubtful: lines behind a lone ``-``, which ends a message or is
    text: the next field says which.
    """

    tag: str = ""
    line: int = 0
    lines: list[str] = field(default_factory=list)
    doubtful: list[str] = field(default_factory=list)

    def take(self) -> Iterator[Field]:
        """The field, if there is one; nothing is open afterwards."""
        if self.lines:
            yield Field(self.tag, tuple(self.lines), self.line)
        self.lines, self.doubtful = [], []


def messages_of(
    file: BinaryIO, problems: Problems, encoding: str
) -> "Iterator[tuple[MtMessage, Field | None]]":
    """Every message, a field at a time: (message, field), and (message, None) when it ends. A field is not
    yet in ``message.fields``: the caller keeps there what it needs. Raises FileRefused.
    """
    message, now = MtMessage(), _Open()
    for number, text in lines_of(file, problems, encoding):
        bare = text.strip(" \t\1\3\x1a")
        found = _TAG.match(text) or _TAG.match(bare)
        is_end = bare.startswith("-}") or _BLOCK.match(bare) is not None
        if found and now.doubtful and found[1] != FIRST_TAG:
            now.lines, now.doubtful = [*now.lines, *now.doubtful], []
        if is_end or (found and (now.doubtful or (found[1] == FIRST_TAG and now.lines))):
            head = now.doubtful[1:]
            yield from ((message, one) for one in now.take())
            if message.line:
                yield message, None
                message = MtMessage(head=head)
            message.head += [bare[at.start() :]] if is_end and (at := _BLOCK.search(bare)) else []
        if found:
            yield from ((message, one) for one in now.take())
            message.line = message.line or number
            now.tag, now.line = found[1], number
            now.lines = [(text if _TAG.match(text) else bare)[found.end() :]]
        elif is_end:
            continue
        elif now.doubtful or (now.lines and bare in LONE):
            now.doubtful.append(text)
        elif now.lines:
            now.lines.append(text)
        elif bare:
            message.head.append(bare)
        if len(now.lines) + len(now.doubtful) > FIELD_LINES_MAX:
            detail = f":{now.tag}: has more than {FIELD_LINES_MAX} lines"
            raise problems.stop(number, Reason.NOT_WELL_FORMED, detail)
    yield from ((message, one) for one in now.take())
    if message.line:
        yield message, None


def day_of(text: str, line: int) -> date:
    """A date YYMMDD. A day past the end of its month is taken for the month's last, as banks with months of
    30 days write it. Raises Bad BAD_DATE.
    """
    if not (len(text) == 6 and text.isdecimal() and text.isascii()):  # noqa: PLR2004 - YYMMDD
        raise Bad(Reason.BAD_DATE, repr(text[:10]), line)
    short, month, day = int(text[:2]), int(text[2:4]), int(text[4:])
    year = short + (1900 if short >= CENTURY_TURN else 2000)
    if month == 2 and day in {29, 30}:  # noqa: PLR2004 - February
        return date(year, 3, 1) - timedelta(days=1)
    try:
        return date(year, month, day)
    except ValueError as error:
        raise Bad(Reason.BAD_DATE, repr(text), line) from error


def near(month_day: str, to: date, line: int) -> date:
    """The date MMDD that lies nearest to another: statements give an entry's booking day without its year."""
    found = [
        day_of(f"{year % 100:02}{month_day}", line)
        for year in (to.year - 1, to.year, to.year + 1)
        if year > MINYEAR
    ]
    return min(found, key=lambda day: abs(day - to))


def amount_of(text: str, currency: str, line: int) -> Money:
    """``1234,5`` of a currency. Raises Bad."""
    decimals_of(currency)
    return parse_money(text.strip(), currency, mark=MARK, line=line)
