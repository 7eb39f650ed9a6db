"""XML in: the one place that touches lxml. A file of any size is read a record at a time, in bounded
memory.

What always holds: no document type, no entity, no network; a chunk is parsed, its records are handed out
and taken out of the tree, and a record that does not end within RECORD_BYTES_MAX ends the reading.
"""

import re
from collections.abc import Collection, Iterator
from datetime import date
from typing import Any, BinaryIO, Final

from lxml import etree

from node.adapters.identifiers import check_bic, check_iban, check_lei, check_uetr
from node.adapters.money import parse_money
from node.adapters.records import Money, References, Unmapped
from node.adapters.refusals import Bad, Problems, Reason

CHUNK_BYTES: Final = 1 << 16
RECORD_BYTES_MAX: Final = 4 << 20
PROLOG_BYTES_MAX: Final = 1 << 20
"""The message must begin within this."""
ENVELOPE_DEPTH_MAX: Final = 4
"""How deep inside an envelope the message may begin."""
DEPTH_MAX: Final = 40
DECLARATION_BYTES_MAX: Final = 400
TEXT_MAX: Final = 40
ANY: Final = "*"
ENCODINGS: Final = frozenset(
    {
        "UTF-8",
        "UTF-16",
        "US-ASCII",
        "ASCII",
        "ISO-8859-1",
        "ISO-8859-2",
        "ISO-8859-15",
        "WINDOWS-1250",
        "WINDOWS-1252",
    }
)
OPTIONS: Final = {
    "resolve_entities": False,
    "load_dtd": False,
    "dtd_validation": False,
    "no_network": True,
    "huge_tree": False,
    "remove_comments": True,
    "remove_pis": True,
}

_ENCODING: Final = re.compile(rb"[^<]{0,8}<\?xml[^>]*?encoding\s*=\s*[\"']([A-Za-z0-9._-]+)")
_NAMESPACE: Final = re.compile(
    r"(?:urn:iso:std:iso:20022:tech:xsd:|https?://www\.six-interbank-clearing\.com/[a-z]{2}/|ISO:)"
    r"([a-z]{4}\.[0-9]{3})\.([0-9]{3})\.([0-9]{2})(?:[.:][A-Za-z0-9.:]{1,60})?"
)
"""A message's namespace, in the forms of ISO 20022, of the Swiss recommendations and of the Austrian ones."""
_DAY: Final = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})(?:T.*|Z|[+-][0-9]{2}:[0-9]{2})?")


def probe(file: BinaryIO, problems: Problems) -> tuple[str, str]:
    """The family (``camt.053``) and version (``camt.053.001.08``) of an ISO 20022 message; empty texts
    where the XML is something else. The file is read from its beginning. Raises FileRefused.
    """
    parser = etree.XMLPullParser(events=("start",), **OPTIONS)
    file.seek(0)
    said = _ENCODING.match(file.read(DECLARATION_BYTES_MAX).replace(b"\0", b""))
    if said and said[1].decode().upper() not in ENCODINGS:
        raise problems.stop(1, Reason.ENCODING, f"{said[1].decode()} is not read.")
    file.seek(0)
    depth, seen = 0, 0
    try:
        while seen < PROLOG_BYTES_MAX:
            chunk = file.read(CHUNK_BYTES)
            seen += len(chunk)
            if not chunk:
                parser.close()
                break
            parser.feed(chunk)
            for _, element in parser.read_events():
                _check_prolog(element, problems)
                found = _NAMESPACE.fullmatch(_namespace(element.tag))
                if found and _local(element.tag) == "Document":
                    return found[1], ".".join(found.groups())
                depth += 1
            if depth > CHUNK_BYTES:
                break
    except etree.XMLSyntaxError as error:
        raise _broken(error, problems) from error
    return "", ""


def _check_prolog(element: Any, problems: Problems) -> None:
    information = element.getroottree().docinfo
    if information.internalDTD is not None or information.doctype:
        raise problems.stop(element.sourceline or 1, Reason.DOCTYPE)


def _broken(error: Any, problems: Problems) -> Exception:
    """What the parser said; an exception without a line says nothing, the log says why."""
    last = None if error.lineno else next((entry for entry in reversed(error.error_log) if entry.line), None)
    told = str(last.message if last else error.msg or error)
    line = (last.line if last else error.lineno) or 0
    if "ntity" in told or "DOCTYPE" in told:
        return problems.stop(line, Reason.DOCTYPE, told)
    if "ncoding" in told or "not proper UTF-8" in told or "Invalid bytes" in told:
        return problems.stop(line, Reason.ENCODING, told)
    return problems.stop(line, Reason.NOT_WELL_FORMED, told)


def _namespace(tag: Any) -> str:
    return tag[1:].partition("}")[0] if isinstance(tag, str) and tag.startswith("{") else ""


def _local(tag: Any) -> str:
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


class Element:
    """An element that has just ended: its name, its parent's, and its content as fields."""

    __slots__ = ("_element", "line", "name")

    def __init__(self, name: str, element: Any) -> None:
        self.name = name
        self.line: int = element.sourceline or 0
        self._element = element

    def fields(self, *, apart: Collection[str] = ()) -> "Fields":
        """Its leaves, less those below children named ``apart``."""
        return Fields(self._element, apart)

    def parts(self, *names: str) -> "list[Fields]":
        """The elements reached by this path of local names, each as fields of its own."""
        space = _namespace(self._element.tag)
        found = [self._element]
        for name in names:
            found = [child for element in found for child in element.iterchildren(f"{{{space}}}{name}")]
        return [Fields(element, ()) for element in found]

    def holder(self, *, apart: Collection[str]) -> "Fields":
        """What its parent says so far, less what lies below children named ``apart``."""
        return Fields(self._element.getparent(), apart)

    @property
    def parent(self) -> object:
        """Its parent: while a caller keeps it, the same object for every child of it."""
        return self._element.getparent()


class Fields:
    """The leaves of one element in document order, each taken at most once; what is left is what nobody
    understood.
    """

    __slots__ = ("_places", "_rows", "line")

    def __init__(self, element: Any, apart: Collection[str]) -> None:
        self.line: int = element.sourceline or 0
        self._rows: list[tuple[str, str, Any] | None] = []
        self._places: dict[str, list[int]] = {}
        self._add(element, "", _namespace(element.tag), apart, 0)

    def _add(self, element: Any, above: str, space: str, apart: Collection[str], depth: int) -> None:
        if depth > DEPTH_MAX:
            raise Bad(Reason.NOT_WELL_FORMED, f"more than {DEPTH_MAX} levels", element.sourceline or 0)
        prefix, rows, places = f"{{{space}}}", self._rows, self._places
        for child in element:
            tag = child.tag
            if not isinstance(tag, str):
                raise Bad(Reason.DOCTYPE, "an entity is referred to", child.sourceline or 0)
            name = tag.removeprefix(prefix)
            if depth == 0 and name in apart:
                continue
            path = f"{above}/{name}" if above else name
            if len(child):
                self._add(child, path, space, apart, depth + 1)
            else:
                places.setdefault(path, []).append(len(rows))
                rows.append((path, (child.text or "").strip(), child))
            for key, value in child.items():
                places.setdefault(f"{path}/@{key}", []).append(len(rows))
                rows.append((f"{path}/@{key}", value, child))

    def take(self, *paths: str) -> str:
        """The first text that is left at the first of these paths that has one; empty where none has."""
        for path in paths:
            places = self._places.get(path)
            if places:
                return self._taken(path, places)[1]
        return ""

    def take_all(self, *paths: str) -> tuple[str, ...]:
        """All texts that are left at these paths."""
        found: list[str] = []
        for path in paths:
            while self._places.get(path):
                found.append(self.take(path))
        return tuple(found)

    def require(self, *paths: str, longest: int = 0) -> str:
        """As ``take``. Raises Bad ELEMENT_MISSING, BAD_VALUE (longer than ``longest``)."""
        text = self.take(*paths)
        if not text:
            raise Bad(Reason.ELEMENT_MISSING, paths[0], self.line)
        if longest and len(text) > longest:
            raise Bad(Reason.BAD_VALUE, f"{paths[0]} is longer than {longest}", self.line)
        return text

    def has(self, path: str) -> bool:
        """Whether anything is left at or below a path."""
        return any(row and (row[0] == path or row[0].startswith(path + "/")) for row in self._rows)

    def money(self, *paths: str) -> Money | None:
        """An amount with its currency, or None. Raises Bad."""
        for path in paths:
            places = self._places.get(path)
            if places:
                _, text, at = self._taken(path, places)
                try:
                    return parse_money(text, self.take(f"{path}/@Ccy"))
                except Bad as bad:
                    raise Bad(bad.reason, bad.detail, at.sourceline or 0) from bad
        return None

    def require_money(self, *paths: str) -> Money:
        """As ``money``. Raises Bad ELEMENT_MISSING."""
        money = self.money(*paths)
        if money is None:
            raise Bad(Reason.ELEMENT_MISSING, paths[0], self.line)
        return money

    def day(self, *paths: str) -> date | None:
        """A calendar date, of a date or of a time, or None. Raises Bad BAD_DATE."""
        for path in paths:
            places = self._places.get(path)
            if places:
                _, text, at = self._taken(path, places)
                return parse_day(text, at.sourceline or 0)
        return None

    def iban(self, path: str) -> str:
        """An IBAN, or empty. Raises Bad BAD_IBAN."""
        return self._checked(check_iban, path)

    def bic(self, *paths: str) -> str:
        """A BIC, or empty. Raises Bad BAD_BIC."""
        return self._checked(check_bic, *paths)

    def lei(self, *paths: str) -> str:
        """An LEI, or empty. Raises Bad BAD_LEI."""
        return self._checked(check_lei, *paths)

    def references(self, prefix: str, original: str = "") -> References:
        """The four identifications of a payment. Raises Bad BAD_UETR."""
        return References(
            self.take(f"{prefix}{original}EndToEndId"),
            self.take(f"{prefix}{original}InstrId"),
            self.take(f"{prefix}{original}TxId"),
            self._checked(check_uetr, f"{prefix}{original}UETR"),
        )

    def rest(self, prefix: str = "") -> Unmapped:
        """What nobody took: (path, text), in document order."""
        return tuple((prefix + row[0], row[1]) for row in self._rows if row)

    def _checked(self, check: Any, *paths: str) -> str:
        for path in paths:
            places = self._places.get(path)
            if places:
                _, text, at = self._taken(path, places)
                try:
                    return str(check(text))
                except Bad as bad:
                    raise Bad(bad.reason, bad.detail, at.sourceline or 0) from bad
        return ""

    def _taken(self, path: str, places: list[int]) -> tuple[str, str, Any]:
        place = places.pop(0)
        if not places:
            del self._places[path]
        row = self._rows[place]
        self._rows[place] = None
        if row is None:
            raise KeyError(path)
        return row


def parse_day(text: str, line: int = 0) -> date:
    """The calendar date of an ISO 8601 date or time. Raises Bad BAD_DATE."""
    found = _DAY.fullmatch(text[:TEXT_MAX])
    try:
        return date(*map(int, found.groups())) if found else date(0, 0, 0)
    except ValueError as error:
        raise Bad(Reason.BAD_DATE, repr(text[:TEXT_MAX]), line) from error


def elements(file: BinaryIO, problems: Problems, places: dict[str, Collection[str]]) -> Iterator[Element]:
    """Walk a file and yield every element named in ``places`` that ends below a parent named there; each is
    taken out of the tree afterwards. places: name -> names of its parents, or ANY. Raises FileRefused.
    """
    parser = etree.XMLPullParser(events=("end",), tag=[f"{{*}}{name}" for name in places], **OPTIONS)
    file.seek(0)
    since = 0
    try:
        while chunk := file.read(CHUNK_BYTES):
            parser.feed(chunk)
            since += len(chunk)
            for _, element in parser.read_events():
                parent = element.getparent()
                name = _local(element.tag)
                if parent is None or not {_local(parent.tag), ANY} & set(places[name]):
                    continue
                since = 0
                yield Element(name, element)
                parent.remove(element)
            if since > RECORD_BYTES_MAX:
                raise problems.stop(0, Reason.RECORD_TOO_LARGE, f"{RECORD_BYTES_MAX:,} bytes at most.")
        parser.close()
    except etree.XMLSyntaxError as error:
        raise _broken(error, problems) from error
