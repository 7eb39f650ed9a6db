"""A file of payments: read strictly, sent in batches, and safe to send again.

Beside FILE lies FILE.requests: one line a payment, ``line number;SHA-256 of the line's fields;request id``.
A request id is on disk before its payment is sent, and a signature follows from the bytes and the key
alone, so a second run sends the very same bytes. A line that was changed meanwhile gets a new request id:
it is another payment.
"""

import csv
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TextIO

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from node.cli.output import Output, usage
from node.cli.session import Session, told_outcome
from node.client import BlockingClient, Outcome
from node.client.amounts import BadAmount, parse_amount
from node.client.signing import new_request_id, operation
from node.ledger.errors import LedgerError
from node.ledger.types import REQUEST_ID_BYTES

COLUMNS: Final = ("source", "destination", "asset", "amount", "end_to_end_id", "purpose")
PAYMENTS_MAX: Final = 10_000_000
IDS_AHEAD: Final = 1_000
"""Request ids that are made durable at a time, just before they are sent: they age from then on."""
_REQUEST: Final = re.compile(rf"([0-9]{{1,12}});([0-9a-f]{{64}});([0-9a-f]{{{2 * REQUEST_ID_BYTES}}})")
"""A line of the file of request ids."""
SHOWN_MAX: Final = 50


class BadPayments(ValueError):
    """The file is no file of payments; the text says where and why."""


@dataclass(frozen=True, slots=True)
class Payment:
    """One line. amount is text until its asset's decimals are known; line counts from 1, the header
    included.
    """

    line: int
    source: str
    destination: str
    asset: str
    amount: str
    end_to_end_id: str
    purpose: str

    @property
    def digest(self) -> str:
        """What the line says, in 64 hexadecimal digits."""
        return hashlib.sha256("\0".join(getattr(self, name) for name in COLUMNS).encode()).hexdigest()


@dataclass(slots=True)
class Result:
    """What became of a file. Lists of (payment, outcome)."""

    total: int
    applied: int = 0
    refused: list[tuple[Payment, Outcome]] = field(default_factory=list)
    unknown: list[tuple[Payment, Outcome]] = field(default_factory=list)
    resent: int = 0


def read_payments(path: Path) -> list[Payment]:
    """The payments of a file. Raises: BadPayments, OSError."""
    with path.open(encoding="utf-8", newline="") as file:
        try:
            first = file.readline()
            file.seek(0)
            rows = csv.reader(file, delimiter=";" if ";" in first else ",", strict=True)
            if tuple(next(rows, ())) != COLUMNS:
                raise BadPayments(f"{path}: the first line must name the columns {','.join(COLUMNS)}")
            payments = [_payment(path, rows.line_num, row) for row in rows if row]
        except (csv.Error, UnicodeDecodeError) as error:
            raise BadPayments(f"{path}: {error}") from error
    if not 1 <= len(payments) <= PAYMENTS_MAX:
        raise BadPayments(f"{path}: a file holds 1 to {PAYMENTS_MAX:,} payments, this one {len(payments):,}")
    return payments


def send_all(
    session: Session,
    client: BlockingClient,
    path: Path,
    payments: Sequence[Payment],
    *,
    renew: bool,
    window: int,
) -> Result:
    """Sign and send every payment, with a progress bar on stderr. Raises Failure where an amount is none."""
    amounts = [_amount(session, client, payment) for payment in payments]
    result = Result(len(payments))
    requests = path.with_name(path.name + ".requests")
    known = {} if not requests.exists() else _read_requests(requests)
    if renew:
        known = _without_dead(session, client, payments, amounts, known)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=session.output.errors,
    )
    with bar, requests.open("a", encoding="ascii") as side:
        task = bar.add_task("Paying", total=len(payments))
        items = _signed(session, client, side, payments, amounts, known)
        for index, outcome in client.submit_stream(items, window=window, seconds=session.seconds):
            bar.advance(task)
            if outcome.applied:
                result.applied += 1
            else:
                (result.unknown if outcome.word == "unknown" else result.refused).append(
                    (payments[index], outcome)
                )
    result.resent = client.resent
    return result


def write_report(path: Path, result: Result) -> None:
    """What was not applied, as CSV. Raises OSError."""
    with path.open("x", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("line", *COLUMNS, "outcome", "code", "sentence", "tx_id"))
        for payment, outcome in sorted(result.refused + result.unknown, key=lambda entry: entry[0].line):
            refusal = outcome.refusal
            told = (refusal.code, refusal.sentence) if refusal else ("", outcome.reason)
            fields = [getattr(payment, name) for name in COLUMNS]
            rows.writerow((payment.line, *fields, outcome.word, *told, outcome.tx_id.hex()))


def show(output: Output, result: Result) -> None:
    """The result for people or programs."""
    rest = [
        {
            "line": payment.line,
            "source": payment.source,
            "destination": payment.destination,
            "amount": payment.amount,
        }
        | told_outcome(outcome)
        for payment, outcome in sorted(result.refused + result.unknown, key=lambda entry: entry[0].line)
    ]
    counts = {
        "payments": result.total,
        "applied": result.applied,
        "refused": len(result.refused),
        "unknown": len(result.unknown),
        "resent": result.resent,
    }
    if output.is_json:
        output.json(counts | {"not_applied": rest})
        return
    output.record("Payments", counts)
    if rest:
        columns = {
            name: name.capitalize()
            for name in ("line", "source", "destination", "amount", "outcome", "code", "sentence")
        }
        output.rows("Not applied", columns, rest[:SHOWN_MAX], numbers=("line", "amount"))
    if len(rest) > SHOWN_MAX:
        output.say(f"... and {len(rest) - SHOWN_MAX:,} more: --report FILE writes all")


def _payment(path: Path, line: int, row: Sequence[str]) -> Payment:
    if len(row) != len(COLUMNS):
        raise BadPayments(f"{path}, line {line}: {len(row)} fields instead of {len(COLUMNS)}")
    return Payment(line, *row)


def _amount(session: Session, client: BlockingClient, payment: Payment) -> int:
    try:
        return parse_amount(payment.amount, session.decimals(client, payment.asset))
    except BadAmount as error:
        raise usage(f"line {payment.line}: {error}") from error


def _signed(
    session: Session,
    client: BlockingClient,
    side: TextIO,
    payments: Sequence[Payment],
    amounts: Sequence[int],
    known: dict[int, tuple[str, bytes]],
) -> Iterator[bytes]:
    """The signed transactions in order; request ids are on disk before the first of their batch is handed
    out.
    """
    for start in range(0, len(payments), IDS_AHEAD):
        part = payments[start : start + IDS_AHEAD]
        for payment in part:
            digest = payment.digest
            if known.get(payment.line, ("", b""))[0] != digest:
                known[payment.line] = digest, new_request_id()
                side.write(f"{payment.line};{digest};{known[payment.line][1].hex()}\n")
        side.flush()
        os.fsync(side.fileno())
        for payment, amount in zip(part, amounts[start : start + IDS_AHEAD], strict=True):
            yield _sign(session, client, payment, amount, known[payment.line][1])


def _sign(
    session: Session, client: BlockingClient, payment: Payment, amount: int, request_id: bytes
) -> bytes:
    call = operation(
        "transfers",
        "send",
        payment.source,
        payment.destination,
        payment.asset,
        amount,
        payment.end_to_end_id,
        b"",
        payment.purpose,
    )
    return client.sign(session.member, [call], session.signers, request_id=request_id).raw


def _read_requests(path: Path) -> dict[int, tuple[str, bytes]]:
    """Line number -> (digest, request id); the last entry of a line counts, and a torn last line does not."""
    known: dict[int, tuple[str, bytes]] = {}
    for text in path.read_text(encoding="ascii", errors="replace").splitlines():
        if found := _REQUEST.fullmatch(text):
            line, digest, request_id = found.groups()
            known[int(line)] = digest, bytes.fromhex(request_id)
    return known


def _without_dead(
    session: Session,
    client: BlockingClient,
    payments: Sequence[Payment],
    amounts: Sequence[int],
    known: dict[int, tuple[str, bytes]],
) -> dict[int, tuple[str, bytes]]:
    """What was known, less the request ids that died without a receipt: only these may be signed anew."""
    old = [
        (payment, amount) for payment, amount in zip(payments, amounts, strict=True) if payment.line in known
    ]
    items = [_sign(session, client, payment, amount, known[payment.line][1]) for payment, amount in old]
    for (payment, _), outcome in zip(old, client.submit_many(items, seconds=session.seconds), strict=True):
        refusal = outcome.refusal
        dead = refusal and (refusal.codespace, refusal.number) == (
            LedgerError.codespace,
            LedgerError.EXPIRED.code,
        )
        if dead and outcome.receipt is None:
            del known[payment.line]
    return known
