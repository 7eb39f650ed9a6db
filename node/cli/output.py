"""How the command speaks: tables for people, JSON for programs (``-o json``), messages on stderr, and the
exit codes.

What always holds: stdout carries the result and nothing else; JSON is one document with stable field names,
in which an amount is its decimal text and a hash lower-case hex; a failure is a sentence on stderr (with
``-o json`` an object) and an exit code above 0.
"""

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from typing import Any, Final, NoReturn

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

Row = Mapping[str, Any]


PIPE_WIDTH: Final = 160


class Exit(IntEnum):
    """The exit codes of every command."""

    OK = 0
    REFUSED = 1
    USAGE = 2
    UNAVAILABLE = 3
    UNVERIFIED = 4
    LOCAL = 5


EXIT_CODES_TOLD: Final = (
    "Exit codes: 0 done; 1 refused by the ledger; 2 usage; 3 node unavailable or outcome unknown; "
    "4 verification failed; 5 local configuration or file problem."
)


class Format(StrEnum):
    """What ``-o`` takes."""

    TABLE = "table"
    JSON = "json"


class Failure(Exception):
    """Ends a command: a sentence for people, an exit code, and fields for programs."""

    def __init__(self, code: Exit, sentence: str, /, **fields: object) -> None:
        super().__init__(sentence)
        self.code = code
        self.fields = fields


def local(sentence: str) -> Failure:
    """A failure of a local file, its configuration, or what it holds."""
    return Failure(Exit.LOCAL, sentence)


def usage(sentence: str) -> Failure:
    """A failure of what was typed."""
    return Failure(Exit.USAGE, sentence)


class Output:
    """Where one command writes."""

    def __init__(self, form: Format = Format.TABLE) -> None:
        self.form = form
        self.console = Console(highlight=False, soft_wrap=False)
        self.errors = Console(stderr=True, highlight=False)
        for console in (self.console, self.errors):
            if not console.is_terminal:
                console.width = max(console.width, PIPE_WIDTH)  # a pipe has no width to fit

    @property
    def is_json(self) -> bool:
        """Whether a program reads."""
        return self.form is Format.JSON

    def rows(
        self, title: str, columns: Mapping[str, str], rows: Sequence[Row], *, numbers: Sequence[str] = ()
    ) -> None:
        """A list. columns: field -> heading, for people; programs get every field. numbers: fields to be
        aligned right.
        """
        if self.is_json:
            self.json(list(rows))
            return
        if not rows:
            self.say(f"{title}: none")
            return
        self.console.print(table_of(title, columns, rows, numbers=numbers))

    def record(self, title: str, fields: Row) -> None:
        """One thing."""
        if self.is_json:
            self.json(fields)
            return
        table = Table(title=title, title_justify="left", show_header=False)
        table.add_column(style="bold")
        table.add_column(overflow="fold")
        for name, value in fields.items():
            table.add_row(name.replace("_", " "), _cell(value))
        self.console.print(table)

    def json(self, value: object) -> None:
        """One JSON document."""
        sys.stdout.write(told_json(value) + "\n")

    def line(self, value: object) -> None:
        """One JSON document on one line, for streams."""
        sys.stdout.write(msgspec.json.encode(_plain(value)).decode() + "\n")
        sys.stdout.flush()

    def say(self, message: str) -> None:
        """A message for people; never part of the result."""
        self.errors.print(Text(message))

    def fail(self, failure: Failure) -> NoReturn:
        """Tell a failure and end the program."""
        if self.is_json:
            told = {"error": {"exit_code": int(failure.code), "message": str(failure), **failure.fields}}
            sys.stderr.write(msgspec.json.encode(_plain(told)).decode() + "\n")
        else:
            self.errors.print(Text(f"vostro: {failure}", style="bold red"))
        raise SystemExit(int(failure.code))


def table_of(
    title: str, columns: Mapping[str, str], rows: Sequence[Row], *, numbers: Sequence[str] = ()
) -> Table:
    """A list for people, as ``Output.rows`` takes it."""
    table = Table(title=title, title_justify="left", header_style="bold")
    for field, heading in columns.items():
        table.add_column(heading, justify="right" if field in numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*[_cell(row.get(field, "")) for field in columns])
    return table


def told_json(value: object) -> str:
    """One JSON document, for programs and readable."""
    return msgspec.json.format(msgspec.json.encode(_plain(value)), indent=2).decode()


def _plain(value: object) -> object:
    """What JSON can hold: bytes as hex."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, str | int | float) else str(value)


def _cell(value: object) -> Text:
    if isinstance(value, bytes):
        return Text(value.hex())
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, list | tuple):
        return Text(", ".join(str(_cell(item)) for item in value))
    if isinstance(value, Mapping):
        return Text(", ".join(f"{name} {_cell(item)}" for name, item in value.items()))
    return Text("" if value is None else str(value))


def when(time_ms: int) -> str:
    """A time in UTC, RFC 3339 with milliseconds; empty for 0."""
    if not time_ms:
        return ""
    return (
        datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{time_ms % 1000:03}Z"
    )


def hex_bytes(text: str, length: int, what: str) -> bytes:
    """Bytes from hex of a given length. Raises Failure."""
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != length:
        raise usage(f"{what} is {2 * length} hexadecimal digits, not {text[:80]!r}")
    return value
