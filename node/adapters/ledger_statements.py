"""A ledger account's movements as a statement's entries. The ledger is known here only as a stream of
movements.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final, Protocol

from node.adapters.money import decimals_of
from node.adapters.records import (
    Balance,
    Entry,
    EntryDetail,
    Money,
    Party,
    References,
    Statement,
    StatementKind,
)
from node.adapters.refusals import Bad, Reason

RECEIVED: Final = "PMNT/RCDT/OTHR"
SENT: Final = "PMNT/ICDT/OTHR"
ISSUED: Final = "ISSUE"
REDEEMED: Final = "REDEMPTION"
REFERENCE_BYTES: Final = 16
"""The servicer's reference is so many bytes of the transaction id, in hex: enough to be the only one."""


class Movement(Protocol):
    """A change of an account's posted balance, as the client tells it."""

    @property
    def tx_id(self) -> bytes:
        """The transaction that made it."""

    @property
    def height(self) -> int:
        """Of its block."""

    @property
    def index(self) -> int:
        """The transaction's place in the block."""

    @property
    def time_ms(self) -> int:
        """Of its block, in ms since 1970."""

    @property
    def asset(self) -> str:
        """What moved."""

    @property
    def amount(self) -> int:
        """In minor units: positive a credit, negative a debit."""

    @property
    def counterparty(self) -> str:
        """The other account; empty for an issue or a redemption."""

    @property
    def reference(self) -> str:
        """The end-to-end id."""


@dataclass(slots=True)
class Sums:
    """What the movements of a period come to."""

    credit_count: int = 0
    debit_count: int = 0
    credits: int = 0
    debits: int = 0

    def add(self, amount: int) -> None:
        """Count one movement."""
        if amount >= 0:
            self.credit_count += 1
            self.credits += amount
        else:
            self.debit_count += 1
            self.debits -= amount

    @property
    def net(self) -> int:
        """Credits less debits."""
        return self.credits - self.debits


def check_currency(asset: str, decimals: int) -> None:
    """Only an asset that is a currency of ISO 4217, with its decimals, can stand in a bank statement.
    Raises Bad.
    """
    if decimals_of(asset) != decimals:
        raise Bad(
            Reason.CURRENCY_UNKNOWN, f"{asset} has {decimals} decimals here, {decimals_of(asset)} in ISO 4217"
        )


def statement_of(
    account: str,
    asset: str,
    *,
    kind: StatementKind,
    opening: int,
    sums: Sums,
    begins_ms: int,
    ends_ms: int,
    created_ms: int,
    sequence: str = "",
    owner: str = "",
    servicer: str = "",
    name: str = "",
) -> Statement:
    """The statement of a period. name: account to be written (an IBAN), where it is not the ledger's own.

    Times in ms since 1970, both ends inclusive; opening in minor units, before the first of them.
    """
    begins, ends = _day(begins_ms), _day(ends_ms)
    balances = (
        Balance("OPBD", Money(opening, asset), begins),
        Balance("CLBD", Money(opening + sums.net, asset), ends),
    )
    statement_id = statement_name(account, asset, begins_ms, ends_ms)
    return Statement(
        statement_id,
        statement_id,
        kind,
        name or account,
        asset,
        sequence,
        _moment(created_ms),
        _moment(begins_ms),
        _moment(ends_ms),
        owner,
        servicer,
        () if kind is StatementKind.NOTIFICATION else balances,
        sums.credit_count + sums.debit_count,
        sums.credit_count,
        sums.debit_count,
        sums.credits,
        sums.debits,
    )


def statement_name(account: str, asset: str, begins_ms: int, ends_ms: int) -> str:
    """16 characters that follow from account, asset and period: the same statement has the same id for
    ever.
    """
    told = f"{account}\0{asset}\0{begins_ms}\0{ends_ms}"
    return f"VS{hashlib.sha256(told.encode()).hexdigest()[:14].upper()}"


def entries_of(movements: Iterable[Movement]) -> Iterator[Entry]:
    """An entry a movement, in order."""
    place, leg = (0, 0), 0
    for movement in movements:
        leg = leg + 1 if place == (movement.height, movement.index) else 1
        place = movement.height, movement.index
        day = _day(movement.time_ms)
        money = Money(movement.amount, movement.asset)
        credit = movement.amount >= 0
        code = (RECEIVED if credit else SENT) if movement.counterparty else (ISSUED if credit else REDEEMED)
        yield Entry(
            0,
            money,
            day,
            day,
            movement.tx_id[:REFERENCE_BYTES].hex(),
            f"{movement.height}.{movement.index}.{leg}",
            code=code,
            details=(
                EntryDetail(
                    References(movement.reference),
                    Money(abs(movement.amount), movement.asset),
                    Party(account=movement.counterparty),
                ),
            ),
        )


def _day(time_ms: int) -> date:
    return datetime.fromtimestamp(time_ms / 1000, UTC).date()


def _moment(time_ms: int) -> str:
    return (
        datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{time_ms % 1000:03}Z"
    )
