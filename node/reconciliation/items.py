"""What is matched: statement entries and ledger movements in one form, their references made comparable.

A reference carries its name space: ``leg`` (the ledger's place of a movement), ``tx`` (the ledger's
transaction, or a servicer's own number) and ``text`` (what the parties call the payment). References are only
compared within a name space.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Final

from node.adapters.ledger_statements import REFERENCE_BYTES, Movement
from node.adapters.records import Entry, References, Statement
from node.adapters.statement_rules import BOOKED
from node.reconciliation.rules import Normalisation

LEG: Final = "leg:"
TX: Final = "tx:"
TEXT: Final = "text:"
STRENGTHS: Final = (LEG, TX, TEXT)
"""Name spaces, the strongest first."""
TX_DIGITS: Final = (2 * REFERENCE_BYTES, 16)
"""So many hexadecimal digits of a transaction's id stand in an ISO 20022 file, and in an MT file."""


class Side(StrEnum):
    """Whose word it is."""

    STATEMENT = "statement"
    LEDGER = "ledger"


@dataclass(frozen=True, slots=True)
class Item:
    """One entry or movement. number: its place on its side, from 0. minor: signed, minor units. day: ordinal.

    said: the reference as it stood, for people. identity: what stays the same however often and in whatever
    file it is fed. margin: a ledger movement outside the statement's period, which may match and is never
    missed. line: in the statement's file.
    """

    side: Side
    number: int
    minor: int
    day: int
    references: tuple[str, ...]
    said: str
    identity: str
    counterparty: str = ""
    margin: bool = False
    line: int = 0

    @property
    def date(self) -> date:
        """The day as a date."""
        return date.fromordinal(self.day)


class StatementItems:
    """The booked entries of one statement, taken as they are read. lines: what a digest is made over
    (books.py): amount and end-to-end reference of every entry.
    """

    def __init__(self, normalisation: Normalisation) -> None:
        self.items: list[Item] = []
        self.lines: list[tuple[int, str]] = []
        self._plain = normalisation.plain
        self._seen: dict[str, int] = {}

    def add(self, entry: Entry) -> None:
        """Take an entry. An identity is of its content; equal entries are counted."""
        day = entry.booked or entry.valued
        if entry.status != BOOKED or day is None:
            return
        texts = [text for detail in entry.details for text in _texts(detail.references)]
        plain = dict.fromkeys([self._plain(text) for text in texts])
        references = [TEXT + text for text in plain if text]
        if entry.reference and self._plain(entry.reference):
            references.append(TX + entry.reference.lower())
        if entry.entry_reference:
            references.append(LEG + entry.entry_reference)
        minor, counterparty = entry.amount.minor, entry.detail.counterparty
        identity = f"{day}|{minor}|{'|'.join(sorted(references))}"
        count = self._seen[identity] = self._seen.get(identity, 0) + 1
        self.lines.append((minor, entry.detail.references.end_to_end_id))
        self.items.append(
            Item(
                Side.STATEMENT,
                len(self.items),
                minor,
                day.toordinal(),
                tuple(references),
                texts[0] if texts else entry.reference,
                f"{identity}|{count}",
                counterparty.account or counterparty.name,
                line=entry.line,
            )
        )


def joined_items(pages: Iterable[StatementItems]) -> list[Item]:
    """The items of a statement that stands on several pages, counted through."""
    found: list[Item] = []
    seen: dict[str, int] = {}
    for item in (item for page in pages for item in page.items):
        identity = item.identity.rpartition("|")[0]
        count = seen[identity] = seen.get(identity, 0) + 1
        found.append(replace(item, number=len(found), identity=f"{identity}|{count}"))
    return found


def statement_items(entries: Iterable[Entry], normalisation: Normalisation) -> list[Item]:
    """The booked entries of a statement."""
    taken = StatementItems(normalisation)
    for entry in entries:
        taken.add(entry)
    return taken.items


def _texts(references: References) -> list[str]:
    """What a payment is called, by whoever."""
    names = (
        references.end_to_end_id,
        references.uetr,
        references.transaction_id,
        references.instruction_id,
    )
    return [name for name in names if name]


def ledger_items(
    movements: Iterable[Movement], normalisation: Normalisation, begins_ms: int = 0, ends_ms: int = 0
) -> list[Item]:
    """The movements of one account and asset, in the ledger's order. begins_ms, ends_ms: the statement's
    period, both inclusive; 0: without end.
    """
    found: list[Item] = []
    for leg, movement in _legs(movements):
        tx = movement.tx_id.hex()
        text = normalisation.plain(movement.reference)
        references = [TEXT + text] if text else []
        references += [TX + tx[:digits] for digits in TX_DIGITS]
        place = f"{movement.height}.{movement.index}.{leg}"
        time_ms = movement.time_ms
        found.append(
            Item(
                Side.LEDGER,
                len(found),
                movement.amount,
                _EPOCH + time_ms // 86_400_000,
                (*references, LEG + place),
                movement.reference or tx[:16],
                f"{tx}|{leg}",
                movement.counterparty,
                margin=time_ms < begins_ms or (0 < ends_ms < time_ms),
            )
        )
    return found


def period_of(statement: Statement) -> tuple[int, int]:
    """A statement's period in ms since 1970, both ends inclusive, 0 where it says none: by its own words, or
    by the days of its balances.
    """
    opening, closing = statement.opening, statement.closing
    begins = statement.begins or (opening.day.isoformat() if opening else "")
    ends = statement.ends or (closing.day.isoformat() if closing else "")
    return _ms(begins, last=False), _ms(ends, last=True)


_EPOCH: Final = date(1970, 1, 1).toordinal()


def _ms(text: str, *, last: bool) -> int:
    if not text:
        return 0
    moment = datetime.fromisoformat(text)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    found = int(moment.timestamp()) * 1_000 + moment.microsecond // 1_000
    return found + 86_399_999 if last and "T" not in text else found


def _legs(movements: Iterable[Movement]) -> Iterator[tuple[int, Movement]]:
    """Every movement with its number within its transaction, from 1, as statements are exported with it."""
    place, leg = (0, 0), 0
    for movement in movements:
        leg = leg + 1 if place == (movement.height, movement.index) else 1
        place = movement.height, movement.index
        yield leg, movement


def same_names(statement: Iterable[Item], ledger: Iterable[Item]) -> bool:
    """Whether the statement speaks of the ledger's own transactions: then its numbers contradict others."""
    known = {name for item in ledger for name in item.references if name.startswith(TX)}
    return any(name in known for item in statement for name in item.references if name.startswith(TX))
