"""What is matched: statement entries and ledger movements in one form, their references made comparable.

A reference carries its name space: ``leg`` (the ledger's place of a movement), ``tx`` (the ledger's
transaction, or a servicer's own number) and ``text`` (what the parties call the payment). References are only
compared within a name space.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Final

from node.adapters.ledger_statements import REFERENCE_BYTES, Movement
from node.adapters.records import Entry, Statement
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


def statement_items(entries: Iterable[Entry], normalisation: Normalisation) -> list[Item]:
    """The booked entries of a statement. An identity is of the entry's content; equal entries are counted."""
    seen: dict[str, int] = {}
    found: list[Item] = []
    for entry in entries:
        booked = entry.booked or entry.valued
        if entry.status != "BOOK" or booked is None:
            continue
        texts = [
            text
            for detail in entry.details
            for references in (detail.references,)
            for text in (
                references.end_to_end_id,
                references.uetr,
                references.transaction_id,
                references.instruction_id,
            )
            if text
        ]
        plain = dict.fromkeys(normalisation.plain(text) for text in texts)
        references = [TEXT + text for text in plain if text]
        if entry.reference and normalisation.plain(entry.reference):
            references.append(TX + entry.reference.lower())
        if entry.entry_reference:
            references.append(LEG + entry.entry_reference)
        said = next(iter(texts), "") or entry.reference
        identity = f"{booked}|{entry.amount.minor}|{'|'.join(sorted(references))}"
        count = seen[identity] = seen.get(identity, 0) + 1
        found.append(
            Item(
                Side.STATEMENT,
                len(found),
                entry.amount.minor,
                booked.toordinal(),
                tuple(references),
                said,
                f"{identity}|{count}",
                entry.detail.counterparty.account or entry.detail.counterparty.name,
                line=entry.line,
            )
        )
    return found


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


def books_of(entries: Iterable[Entry]) -> Iterator[tuple[int, str]]:
    """What a digest is made over (books.py): amount and end-to-end reference of every booked entry."""
    for entry in entries:
        if entry.status == "BOOK":
            yield entry.amount.minor, entry.detail.references.end_to_end_id


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
