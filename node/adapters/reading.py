"""One door for every file: what it is, whether all of it is right, and then its records as a stream.

A file is read twice. The first reading checks everything and keeps only what a decision needs (the plan);
the second hands the records on, and refuses the file if it is not the same any more. So nothing of a bad
file is ever handed on, and a file of any size needs the memory of one record.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from node.adapters.csv_files import Columns, read_csv
from node.adapters.iso_answers import read_camt029, read_camt056, read_pacs002, read_pacs004
from node.adapters.iso_payments import read_pacs008, read_pacs009, read_pain001
from node.adapters.iso_securities import read_sese
from node.adapters.iso_statements import read_camt
from node.adapters.mt_fields import messages_of
from node.adapters.mt_payments import read_mt_payments
from node.adapters.mt_statements import read_mt9
from node.adapters.records import Entry, Message, PaymentInstruction, Record, Return, Statement
from node.adapters.refusals import Problems, Reason
from node.adapters.xml_in import probe

IMPORT_BYTES_MAX: Final = 256 << 20
"""A larger file is refused before it is read."""
HASH_BYTES: Final = 1 << 20
MESSAGES_MAX: Final = 100_000
"""Messages in one file."""

IsoReader = Callable[[BinaryIO, str, Problems], Iterator[Record]]

ISO_READERS: Final[dict[str, tuple[IsoReader, int, int]]] = {
    "pain.001": (read_pain001, 3, 13),
    "pacs.002": (read_pacs002, 3, 15),
    "pacs.004": (read_pacs004, 2, 14),
    "pacs.008": (read_pacs008, 2, 13),
    "pacs.009": (read_pacs009, 2, 12),
    "camt.029": (read_camt029, 3, 13),
    "camt.052": (read_camt, 2, 14),
    "camt.053": (read_camt, 2, 14),
    "camt.054": (read_camt, 2, 14),
    "camt.056": (read_camt056, 1, 11),
    "sese.023": (read_sese, 1, 12),
    "sese.025": (read_sese, 1, 12),
}
"""Family -> its reader, and the first and last version that is read."""
NATIONAL: Final = frozenset({"pain.001.002.03", "pain.001.003.03"})
"""Versions that one country made of a message, of the same elements (DK, Germany)."""
MT_STATEMENTS: Final = ("940", "942", "950")
MT_PAYMENTS: Final = ("103", "202")
FORMATS: Final = (*ISO_READERS, *(f"mt{number}" for number in MT_STATEMENTS + MT_PAYMENTS), "csv")
"""What ``--as`` takes."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file and how it is to be read. form: one of FORMATS, or empty: find out. encoding: of MT and CSV."""

    path: Path
    form: str = ""
    encoding: str = "utf-8"
    columns: Columns | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A file that is right as a whole. digest: SHA-256 of its bytes. counts: kind of record -> how many."""

    source: Source
    form: str
    version: str
    digest: str
    size: int
    messages: tuple[Message, ...]
    statements: tuple[Statement, ...]
    counts: dict[str, int]
    currencies: tuple[str, ...] = ()

    @property
    def message_id(self) -> str:
        """Of the first message."""
        return self.messages[0].message_id if self.messages else ""

    @property
    def name(self) -> str:
        """What the messages are, who sent them and how they call them: the same name twice is the same
        message.
        """
        parts = [f"{one.family}|{one.sender}|{one.message_id}" for one in self.messages]
        if len(parts) == 1 and self.form != "csv":
            return parts[0]
        return f"{self.form}|{hashlib.sha256(chr(0).join(parts or [self.digest]).encode()).hexdigest()[:32]}"


def check_file(
    source: Source, *, bytes_max: int = IMPORT_BYTES_MAX, keep: Callable[[Record], None] | None = None
) -> Plan:
    """Read a whole file and check all of it. keep: is handed every record, for who does nothing with them
    unless this returns: it saves the second reading. Raises FileRefused, OSError.
    """
    problems = Problems(source.path.name)
    with source.path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > bytes_max:
            raise problems.stop(0, Reason.TOO_LARGE, f"{size:,} bytes, {bytes_max:,} at most.")
        if not size:
            raise problems.stop(0, Reason.EMPTY)
        digest = _digest(file)
        form, version = _form(file, source, problems)
        messages: list[Message] = []
        statements: list[Statement] = []
        counts: dict[str, int] = {}
        currencies: dict[str, None] = {}
        for record in _records(file, source, form, version, problems):
            if keep is not None:
                keep(record)
            kind = type(record).__name__
            counts[kind] = counts.get(kind, 0) + 1
            if isinstance(record, Message):
                messages.append(record)
                if len(messages) > MESSAGES_MAX:
                    raise problems.stop(record.line, Reason.TOO_LARGE, f"more than {MESSAGES_MAX:,} messages")
            elif isinstance(record, Statement):
                statements.append(record)
            elif isinstance(record, PaymentInstruction | Return):
                currencies[record.amount.currency] = None
        problems.refuse()
        if sum(counts.values()) <= len(messages):
            raise problems.stop(0, Reason.EMPTY)
    return Plan(
        source, form, version, digest, size, tuple(messages), tuple(statements), counts, tuple(currencies)
    )


def records_of(plan: Plan) -> Iterator[Record]:
    """The records of a plan, read again. Raises FileRefused CHANGED_WHILE_READ before the first one where
    the file is another now, and after the last one where it was changed meanwhile.
    """
    problems = Problems(plan.source.path.name)
    with plan.source.path.open("rb") as file:
        if _digest(file) != plan.digest:
            raise problems.stop(0, Reason.CHANGED_WHILE_READ)
        yield from _records(file, plan.source, plan.form, plan.version, problems)
        if problems.found or _digest(file) != plan.digest:
            raise problems.stop(0, Reason.CHANGED_WHILE_READ)


def statement_entries(plan: Plan) -> Iterator[tuple[Statement, Entry]]:
    """Every entry with its statement."""
    for record in records_of(plan):
        if isinstance(record, Entry):
            yield plan.statements[record.statement], record


def _digest(file: BinaryIO) -> str:
    file.seek(0)
    digest = hashlib.sha256()
    while chunk := file.read(HASH_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


def _form(file: BinaryIO, source: Source, problems: Problems) -> tuple[str, str]:
    """The format of a file and its version. Raises FileRefused."""
    said = source.form.lower()
    if said and said not in FORMATS:
        raise problems.stop(0, Reason.FORMAT_UNKNOWN, f"--as is one of {', '.join(FORMATS)}")
    if said == "csv" or (not said and source.columns is not None):
        if source.columns is None:
            raise problems.stop(0, Reason.MAPPING, "CSV is read with a mapping file: --mapping FILE")
        return "csv", "csv"
    file.seek(0)
    first = file.read(64).lstrip(b"\xef\xbb\xbf\xff\xfe\0 \t\r\n")
    if first.startswith(b"<"):
        family, version = probe(file, problems)
        if family not in ISO_READERS or (said and said != family):
            wanted = f", not the {said} that --as says" if said else ""
            raise problems.stop(
                0, Reason.FORMAT_UNKNOWN, f"XML {version or 'of no ISO 20022 namespace'}{wanted}"
            )
        _, least, most = ISO_READERS[family]
        is_read = least <= int(version[-2:]) <= most and version[9:12] == "001"
        if not is_read and version not in NATIONAL:
            raise problems.stop(
                0, Reason.VERSION_UNKNOWN, f"{version}; {family}.001.{least:02} to .{most:02} are read"
            )
        return family, version
    if said in ISO_READERS:
        raise problems.stop(1, Reason.FORMAT_UNKNOWN, f"no XML, not the {said} that --as says")
    number = said.removeprefix("mt") or _mt_number(file, source, problems)
    if number not in MT_STATEMENTS + MT_PAYMENTS:
        raise problems.stop(0, Reason.FORMAT_UNKNOWN, f"MT{number}" if number else "")
    return f"mt{number}", f"MT{number}"


def _mt_number(file: BinaryIO, source: Source, problems: Problems) -> str:
    for message, field in messages_of(file, problems, source.encoding):
        if field is None:
            return message.number
        if len(message.fields) < HASH_BYTES:
            message.fields.append(field)
        if field.tag == "61":
            return message.number or "942"
    return ""


def _records(file: BinaryIO, source: Source, form: str, version: str, problems: Problems) -> Iterator[Record]:
    if form == "csv" and source.columns is not None:
        return read_csv(file, source.columns, problems, source.path.name)
    if form in ISO_READERS:
        return ISO_READERS[form][0](file, version, problems)
    number = form.removeprefix("mt")
    if number in MT_STATEMENTS:
        return read_mt9(file, problems, source.encoding, number if source.form else "")
    return read_mt_payments(file, problems, source.encoding, number if source.form else "")
