"""The audit log: every decision of the custody service, one JSON object a line, bound to the line before.

    {"sequence":7,"time_ms":...,"kind":"approval", ... ,"previous":"<hash of line 6>","hash":"<of this line>"}

The hash is SHA-256 of ``vostro/audit/1`` 0x00 and the line's bytes before ``,"hash":``, of which ``previous``
is a part; line 1 follows 32 zero bytes. Beside the log lies its head: sequence and hash of the last line,
signed by the custody key, so that a tail that was cut is missed. Both are synced before what a line tells of
has any effect.

What always holds: a line is never changed and never removed; no field is free text of a request; a log that
does not verify is not written to. ``vostro audit verify`` recomputes all of it, and compares with the hashes
that the ledger keeps (contracts/anchors.py).
"""

import errno
import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import msgspec
from msgspec import Meta

from node.keys.files import PRIVATE_MODE, read_file, write_file
from node.keys.signer import Signer
from node.keys.verify import VERIFIERS
from node.ledger import codec
from node.ledger.hashing import INTERNATIONAL
from node.ledger.ports import Check

LOG: Final = "audit.jsonl"
HEAD: Final = "audit.head"
LINE_BYTES_MAX: Final = 256 * 1024
PROBLEMS_MAX: Final = 100
START: Final = "0" * 64
CONTEXT: Final = b"vostro/audit/1\0"
HEAD_CONTEXT: Final = b"vostro/audit/head/1\0"
_LINE: Final = re.compile(rb'(\{.*),"hash":"([0-9a-f]{64})"\}', re.DOTALL)
_Hex = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]


class AuditDamaged(Exception):
    """The log, or its head, is not what this program wrote; the text says at which line."""


class Line(msgspec.Struct, frozen=True):
    """What every line has. What else a kind has stands in docs/formats.md."""

    sequence: int
    time_ms: int
    kind: str
    previous: _Hex
    hash: _Hex


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The last line, and the custody key's signature of that."""

    sequence: int
    hash: _Hex
    signature: Annotated[str, Meta(pattern=r"\A[0-9a-f]{128}\Z")]


class Problem(NamedTuple):
    """What is wrong, and at which line of the file, from 1; 0: with no line in particular."""

    line: int
    text: str


class Anchor(NamedTuple):
    """A hash that the ledger keeps, and since when."""

    number: int
    hash: bytes
    time_ms: int


class Report(NamedTuple):
    """What a verification found. anchored: the last line that the ledger vouches for."""

    lines: int
    head: str
    problems: tuple[Problem, ...]
    anchors: int = 0
    anchored: int = 0


_read_line: Final = msgspec.json.Decoder(Line).decode
_read_any: Final = msgspec.json.Decoder(dict[str, Any]).decode
_read_head: Final = msgspec.json.Decoder(Head).decode


class AuditLog:
    """A log that is written to. One process, one thread at a time."""

    def __init__(self, folder: Path, signer: Signer) -> None:
        """Open the log in a folder, made where there is none; signer: the custody key. A line that was torn
        while it was written, and so had no effect, is cut off and told. Raises AuditDamaged, KeystoreError.
        """
        self._path, self._head_path, self._signer = folder / LOG, folder / HEAD, signer
        self._head = (0, START)
        self.last: dict[str, Any] = {}
        """The fields of the last line."""
        self.torn = 0
        """Bytes of a torn line that were cut off at opening."""
        self.last_of: dict[str, int] = {}
        """Sequence of the last line of each request."""
        self.before_last = 0
        """Sequence of the line before, of the request that the last line is about; 0: there is none."""
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, PRIVATE_MODE)
        try:
            self._open()
        except BaseException:
            os.close(self._descriptor)
            raise

    @property
    def head(self) -> tuple[int, str]:
        """(sequence, hash) of the last line."""
        return self._head

    def append(self, kind: str, time_ms: int, **fields: Any) -> int:
        """Write a line and its head, both durable when this returns; its sequence. Raises OSError, and
        before anything is written where the line is longer than can be read again.
        """
        sequence, previous = self._head[0] + 1, self._head[1]
        told = {"sequence": sequence, "time_ms": time_ms, "kind": kind, **fields, "previous": previous}
        body = msgspec.json.encode(told)[:-1]
        digest = line_hash(body)
        line = body + b',"hash":"' + digest.encode() + b'"}\n'
        if len(line) > LINE_BYTES_MAX:
            raise OSError(errno.EMSGSIZE, f"a line of the audit log is too long: {len(line)} bytes")
        if os.write(self._descriptor, line) != len(line):
            raise OSError(errno.ENOSPC, "a line of the audit log was not written whole")
        os.fsync(self._descriptor)
        self._head, self.last = (sequence, digest), told
        self._note(told)
        self._write_head()
        return sequence

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _open(self) -> None:
        size = os.fstat(self._descriptor).st_size
        problems: list[Problem] = []
        whole = 0
        for number, raw in enumerate(_raw_lines(self._path), 1):
            if not raw.endswith(b"\n"):
                self.torn = len(raw)
                break
            line, told = _checked(number, raw, self._head, problems)
            if problems or line is None:
                raise AuditDamaged(f"{self._path}: line {problems[0].line}: {problems[0].text}")
            self._head = line.sequence, line.hash
            self.last = told
            self._note(told)
            whole += len(raw)
        self._check_head()
        if size != whole:
            os.ftruncate(self._descriptor, whole)
            os.fsync(self._descriptor)
        self._write_head()

    def _note(self, told: Mapping[str, Any]) -> None:
        """Keep which line is the last of a request that the queue must know."""
        before = self.last_of.get(str(told.get("request")), 0)
        self.before_last = int(told["before"]) if told["kind"] == "void" else before
        gone = told.get("requests", ()) if told["kind"] == "forgotten" else ()
        for request in (*gone, *([told["request"]] if told.get("gone") else [])):
            self.last_of.pop(str(request), None)
        if "request" in told and not told.get("gone"):
            self.last_of[str(told["request"])] = told["sequence"]

    def _check_head(self) -> None:
        """The head tells of the last line, or, where the process ended in between, of the one before."""
        if not self._head_path.exists():
            if self._head[0] > 1:
                raise AuditDamaged(f"{self._head_path}: missing beside a log of {self._head[0]} lines")
            return
        head = load_head(self._head_path)
        if not is_signed(head, self._signer.public_key):
            raise AuditDamaged(f"{self._head_path}: not signed by this custody key")
        if (head.sequence, head.hash) not in (self._head, self._before()):
            raise AuditDamaged(
                f"{self._path}: ends at line {self._head[0]}, but its head says line {head.sequence}: lines "
                "were removed, or the files are not of one time"
            )

    def _before(self) -> tuple[int, str]:
        return self._head[0] - 1, self.last.get("previous", START)

    def _write_head(self) -> None:
        sequence, digest = self._head
        signature = self._signer.sign(_head_message(sequence, digest)).hex()
        written = msgspec.json.encode(Head(sequence, digest, signature)) + b"\n"
        write_file(self._head_path, written, private=True, replace=True)


def line_hash(body: bytes) -> str:
    """The hash of a line, from its bytes before ``,"hash":``."""
    return hashlib.sha256(CONTEXT + body).hexdigest()


def load_head(path: Path) -> Head:
    """The head in a file. Raises AuditDamaged, KeystoreError."""
    try:
        return _read_head(read_file(path, 4_096))
    except msgspec.DecodeError as error:
        raise AuditDamaged(f"{path}: not the head of an audit log: {error}") from error


def is_signed(head: Head, public_key: bytes) -> bool:
    """Whether the custody key signed the head."""
    message = _head_message(head.sequence, head.hash)
    check = Check("ed25519", public_key, message, bytes.fromhex(head.signature))
    return list(VERIFIERS[INTERNATIONAL.name]().verify([check])) == [True]


def verify(folder: Path, public_key: bytes = b"", anchors: Iterable[Anchor] = ()) -> Report:
    """Recompute a log. public_key: of the custody key, where the head is to be checked; anchors: what the
    ledger keeps, in order. Raises AuditDamaged where the head is none, KeystoreError, OSError.
    """
    problems: list[Problem] = []
    at, seen = (0, START), {START: 0}
    listed = tuple(anchors)
    wanted = {anchor.hash.hex() for anchor in listed}
    count = 0
    for number, raw in enumerate(_raw_lines(folder / LOG), 1):
        count = number
        line, _ = _checked(number, raw, at, problems)
        if not raw.endswith(b"\n"):
            problems.append(Problem(number, "the line is cut off"))
        if line is None:
            at = (at[0] + 1, "")
            continue
        at = (line.sequence, line.hash)
        if line.hash in wanted:
            seen[line.hash] = number
    problems += _head_problems(folder / HEAD, at, count, public_key)
    found, vouched = _anchor_problems(listed, seen)
    return Report(count, at[1], tuple((problems + found)[:PROBLEMS_MAX]), len(listed), vouched)


def _checked(
    number: int, raw: bytes, before: tuple[int, str], problems: list[Problem]
) -> tuple[Line | None, dict[str, Any]]:
    """A line, and what is wrong with it. before: sequence and hash of the line before; an empty hash is not
    compared, for that line was no line.
    """
    matched = _LINE.fullmatch(raw.removesuffix(b"\n"))
    try:
        told = _read_any(raw)
        line = _read_line(raw)
    except (ValueError, RecursionError):  # msgspec's own errors are ValueErrors
        matched = None
    if matched is None or len(raw) > LINE_BYTES_MAX:
        problems.append(Problem(number, "the line was changed: it is none of an audit log"))
        return None, {}
    if line_hash(matched[1]) != line.hash or matched[2].decode() != line.hash:
        problems.append(Problem(number, "the line was changed: its hash is another"))
    elif line.sequence > before[0] + 1:
        gap = line.sequence - before[0] - 1
        problems.append(Problem(number, f"{gap} lines before it were removed or moved"))
    elif line.sequence <= before[0]:
        problems.append(Problem(number, f"it is line {line.sequence} of the log, out of its order"))
    elif before[1] and line.previous != before[1]:
        problems.append(Problem(number, "it does not follow the line before, which was changed or replaced"))
    return line, told


def _head_problems(path: Path, at: tuple[int, str], count: int, public_key: bytes) -> list[Problem]:
    if not path.exists():
        return [Problem(0, "the head of the log is missing")] if count else []
    head = load_head(path)
    found = []
    if public_key and not is_signed(head, public_key):
        found.append(Problem(0, "the head of the log is not signed by the custody key"))
    if head.sequence > at[0]:
        found.append(
            Problem(count, f"the log ends here, but its head says line {head.sequence}: a tail was cut")
        )
    elif head.sequence == at[0] and head.hash != at[1]:
        found.append(Problem(count, "the last line is not the one of which the head tells"))
    elif head.sequence < at[0] - 1:
        found.append(Problem(head.sequence + 2, "lines were added behind the head"))
    return found


def _anchor_problems(anchors: Iterable[Anchor], seen: Mapping[str, int]) -> tuple[list[Problem], int]:
    found, last = [], 0
    for anchor in anchors:
        line = seen.get(anchor.hash.hex())
        if line is None:
            text = f"no line has the hash of anchor {anchor.number}: from here on lines were changed or cut"
            found.append(Problem(last + 1, text))
        elif line < last:
            found.append(Problem(line, f"anchor {anchor.number} stands before an earlier anchor"))
        else:
            last = line
    return found, last


def _raw_lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while raw := file.readline(LINE_BYTES_MAX + 2):
            yield raw


def _head_message(sequence: int, digest: str) -> bytes:
    return HEAD_CONTEXT + codec.encode((sequence, bytes.fromhex(digest)))
