"""Vouching for an account's books, one period or one after the other (``vostro reconcile attest``)."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from contracts.scenarios.main_account import Books, Day, NamedDay
from node.books import books_digest
from node.cli.exporting import await_index
from node.cli.output import when
from node.cli.reconciling import Taken
from node.client import BlockingClient
from node.client.signing import operation
from node.ledger.types import AMOUNT_MAX, Operation

PAUSE_SECONDS: Final = 1.0
LOOK_BACK_MS: Final = 7 * 86_400_000
"""What is older than a week is attested by hand."""


@dataclass(frozen=True, slots=True)
class MainAccount:
    """An account that two members vouch for: its owner, and the one that services it."""

    account: str
    asset: str
    servicer: str

    @property
    def owner(self) -> str:
        """Whose account it is."""
        return self.account.partition("/")[0]


@dataclass(frozen=True, slots=True)
class Period:
    """From when on, and until when, exclusive; in ms since 1970."""

    begins_ms: int
    ends_ms: int


def ledger_books(client: BlockingClient, main: MainAccount, period: Period) -> Books:
    """What the ledger says, for a bank whose own books are the ledger."""
    await_index(client, client.status().height)
    told = client.books(main.account, main.asset, main.servicer, period.begins_ms, period.ends_ms)
    return Books(*told)  # type: ignore[arg-type]  # the decoder refuses other sides


def statement_books(client: BlockingClient, taken: Taken) -> Books:
    """What a bank's own statement says: all entries of the file, and its last closing balance."""
    lines = [line for each in taken.items.values() for line in each.lines]
    closings = [one.closing.amount.minor for one in taken.plan.statements if one.closing]
    closing = closings[-1] if closings else 0
    digest = books_digest(client.suite.digest, lines)
    return Books(len(lines), digest, "debit" if closing < 0 else "credit", min(abs(closing), AMOUNT_MAX))


def attest(main: MainAccount, period: Period, books: Books) -> Operation:
    """The operation that vouches for books."""
    where = (main.account, main.asset, main.servicer, period.begins_ms, period.ends_ms)
    return operation("main_account", "attest", *where, books)


def day_of(client: BlockingClient, main: MainAccount, period: Period) -> Day:
    """What both have attested of a period."""
    where = (main.account, main.asset, main.servicer, period.begins_ms, period.ends_ms)
    found: Day = client.query("main_account", "get_day", *where)
    return found


def days_of(client: BlockingClient, main: MainAccount, after_ms: int) -> list[NamedDay]:
    """All periods of an account that begin later."""
    found: list[NamedDay] = []
    while True:
        after_ms = found[-1].begins_ms if found else after_ms
        page = client.query("main_account", "list_days", main.account, main.asset, main.servicer, after_ms)
        if not page:
            return found
        found += page


def due(client: BlockingClient, main: MainAccount, member: str, every_ms: int) -> list[Period]:
    """The periods that a member has yet to attest: what the other side attested and it did not, then those of
    ``every_ms`` that are over since the last that anybody did, or only the last one.
    """
    last_ms = client.status().time_ms // every_ms * every_ms
    known = days_of(client, main, max(last_ms - LOOK_BACK_MS, 0))
    missing = [
        Period(named.begins_ms, named.ends_ms)
        for named in known
        if not (named.day.owner if member == main.owner else named.day.servicer)
    ]
    start_ms = max([named.ends_ms for named in known], default=last_ms - every_ms)
    first_ms = -(-start_ms // every_ms) * every_ms
    return missing + [Period(at, at + every_ms) for at in range(first_ms, last_ms, every_ms)]


def keep_attesting(
    client: BlockingClient,
    main: MainAccount,
    member: str,
    every_ms: int,
    send: Callable[[Operation], object],
    tell: Callable[[Period, Day], object],
    rounds: int | None,
) -> None:
    """Attest every period as it is over, ``rounds`` times or until stopped. Raises what the client raises."""
    done = 0
    while rounds is None or done < rounds:
        for period in due(client, main, member, every_ms):
            send(attest(main, period, ledger_books(client, main, period)))
            tell(period, day_of(client, main, period))
        done += 1
        if rounds is None or done < rounds:
            time.sleep(PAUSE_SECONDS)


def row_of(main: MainAccount, period: Period, day: Day, told: Callable[[int], str]) -> dict[str, object]:
    """A period's fields under their stable names. told: writes an amount."""
    fields: dict[str, object] = {
        "account": main.account,
        "asset": main.asset,
        "servicer": main.servicer,
        "from": when(period.begins_ms),
        "to": when(period.ends_ms),
        "status": day.status,
        "case": day.subject,
    }
    for name, attested in (("owner", day.owner), ("servicer", day.servicer)):
        fields |= {f"{name}_{field}": "" for field in ("count", "closing", "digest", "tx_id")}
        for one in attested:
            sign = "-" if one.books.side == "debit" and one.books.closing else ""
            fields |= {
                f"{name}_count": one.books.count,
                f"{name}_closing": sign + told(one.books.closing),
                f"{name}_digest": one.books.digest,
                f"{name}_tx_id": one.tx_id,
            }
    return fields
