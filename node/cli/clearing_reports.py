"""``vostro clearing`` reports: a queue, an instruction, a cycle, and the end of a day."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from contracts.calendars import DAY_MS, MINUTE_MS
from node.cli import day_end
from node.cli.output import Row, usage, when
from node.cli.session import Session, session_of
from node.client import BlockingClient, Declined
from node.client.clearing import CycleAt, CycleLine, Instruction

ROWS_DEFAULT: Final = 100

MEMBER: Final = typer.Argument(help="The participant; default: --member.")
ASSET: Final = typer.Argument(help="The asset that is cleared.")


def add_to(app: typer.Typer) -> None:
    """Put the reports under ``vostro clearing``."""
    app.command("queue")(queue)
    app.command("list")(list_)
    app.command("show")(show)
    app.command("cycle")(cycle)
    app.command("end-of-day")(end_of_day)


def queue(ctx: typer.Context, asset: Annotated[str, ASSET], member: Annotated[str, MEMBER] = "") -> None:
    """Show a participant's queue: what it can spend, what waits, and its limits."""
    session = session_of(ctx)
    with session.client() as client:
        name = member or session.member
        found = client.clearing(lambda reads: reads.queue(name, asset))
        limits = [
            f"{each.counterparty or 'all'}: {session.told_amount(client, asset, each.most)}, "
            f"used {_signed(session, client, asset, each.paid - each.received)}"
            for each in found.limits
        ]
        fields: dict[str, object] = {
            "participant": name,
            "account": found.account,
            "can spend": session.told_amount(client, asset, found.available),
            "waits": session.told_amount(client, asset, found.queued),
            "instructions": {priority: count for priority, count in found.lanes.items() if count},
            "stands aside": session.told_amount(client, asset, found.aside),
            "limits": limits,
            "frozen by a cycle": found.frozen,
        }
        session.output.record(f"Queue of {name} in {asset}", fields)


def list_(
    ctx: typer.Context,
    asset: Annotated[str, ASSET],
    member: Annotated[str, MEMBER] = "",
    state: Annotated[str, typer.Option(help="Only those in this state, such as queued.")] = "",
    rows: Annotated[int, typer.Option(help="At most so many.", min=1)] = ROWS_DEFAULT,
) -> None:
    """List a participant's instructions, newest first, with what became of each."""
    session = session_of(ctx)
    with session.client() as client:
        name = member or session.member
        found: list[Row] = []
        for each in client.instructions(name, asset):
            if not state or each.state == state:
                found.append(_row(session, client, asset, each))
            if len(found) == rows:
                break
        columns = {
            "number": "No.",
            "to": "To",
            "amount": "Amount",
            "priority": "Priority",
            "until": "Lapses",
            "reference": "Reference",
            "state": "State",
            "cycle": "Cycle",
        }
        title = f"Instructions of {name} in {asset}"
        session.output.rows(title, columns, found, numbers=("number", "amount", "cycle"))


def show(
    ctx: typer.Context,
    asset: Annotated[str, ASSET],
    number: Annotated[int, typer.Argument(help="The instruction's number.", min=1)],
    member: Annotated[str, MEMBER] = "",
) -> None:
    """Show one instruction and what became of it."""
    session = session_of(ctx)
    with session.client() as client:
        name = member or session.member
        found = client.clearing(lambda reads: reads.instruction(name, asset, number))
        session.output.record("Instruction", _row(session, client, asset, found))


def cycle(
    ctx: typer.Context,
    asset: Annotated[str, ASSET],
    number: Annotated[int, typer.Argument(help="The cycle; default: the last one.", min=0)] = 0,
) -> None:
    """Show a cycle's report: gross against net, who was taken out, and the lines you may read."""
    session = session_of(ctx)
    with session.client() as client:
        show_cycle(session, client, asset, number)


def show_cycle(
    session: Session, client: BlockingClient, asset: str, number: int, notes: Sequence[str] = ()
) -> None:
    """A cycle's totals, and its lines as far as the reader may see them. notes: what happened on the way."""
    found = cycle_of(client, asset, number)

    def told(minor: int) -> str:
        return session.told_amount(client, asset, minor)

    fields: dict[str, object] = {
        "cycle": found.cycle,
        "status": found.status,
        "sealed": when(found.sealed_ms),
        "settled": when(found.settled_ms),
        "instructions frozen": found.frozen_count,
        "worth": told(found.frozen_gross),
        "instructions settled": found.count,
        "liquidity needed gross": told(found.gross),
        "liquidity needed net": told(found.net),
        "liquidity saved": told(found.gross - found.net),
        "attempts": found.attempt,
        "taken out": [f"{member} ({reason})" for member, reason in found.excluded],
        "best proposal": found.best,
    }
    if notes:
        fields["on the way"] = list(notes)
    rows = _lines(session, client, asset, found.cycle, found.seats) if found.status == "settled" else []
    if session.output.is_json:
        session.output.json(fields | {"lines": rows})
        return
    session.output.record(f"Cycle {found.cycle} in {asset}", fields)
    if rows:
        columns = {
            "member": "Participant",
            "before": "Before",
            "pays": "Pays gross",
            "receives": "Receives gross",
            "net": "Net",
            "after": "After",
            "settled": "Settled",
            "left": "Still waits",
        }
        session.output.rows("Participants", columns, rows, numbers=tuple(columns)[1:])


def cycle_of(client: BlockingClient, asset: str, number: int = 0) -> CycleAt:
    """A cycle; 0: the last one. Raises what the client raises."""
    return client.clearing(lambda reads: reads.cycle(asset, number))


def line_of(client: BlockingClient, member: str, asset: str, number: int) -> CycleLine | None:
    """A participant's line; None where it is another's to read, or the participant joined later."""
    try:
        return client.clearing(lambda reads: reads.line(member, asset, number))
    except Declined:
        return None


def end_of_day(
    ctx: typer.Context,
    asset: Annotated[str, ASSET],
    day: Annotated[str, typer.Option(help="YYYY-MM-DD; default: today.")] = "",
    out: Annotated[Path, typer.Option(help="A new folder for the files.")] = Path("end-of-day"),
) -> None:
    """Write a day's trial balance, statements and general ledger as CSV files, and see that they add up.

    The day is the asset's local day. Takes a reader of all accounts.
    """
    session = session_of(ctx)
    with session.client() as client:
        business = client.clearing(lambda reads: reads.business_day(asset))
        number = day_end.day_number(day) if day else business.today
        begins_ms = number * DAY_MS - business.zone * MINUTE_MS
        if out.exists():
            raise usage(f"{out} exists already: name a new folder")
        books = day_end.read_books(client, asset, begins_ms, begins_ms + DAY_MS - 1)
        decimals = session.decimals(client, asset)
        files = day_end.write_books(books, out, decimals)
        fields: dict[str, object] = {
            "asset": asset,
            "day": day_end.day_name(number),
            "accounts": len(books.rows),
            "postings": len(books.postings),
            "debits": session.told_amount(client, asset, books.debits),
            "credits": session.told_amount(client, asset, books.credits),
            "in circulation": session.told_amount(client, asset, books.circulation),
            "files": [str(file) for file in files],
        }
        session.output.record("End of day: everything adds up", fields)


def _lines(
    session: Session, client: BlockingClient, asset: str, number: int, seats: tuple[str, ...]
) -> list[Row]:
    rows: list[Row] = []
    for member in seats:
        line = line_of(client, member, asset, number)
        if line is None:
            continue
        rows.append(
            {
                "member": line.member,
                "before": session.told_amount(client, asset, line.before),
                "pays": session.told_amount(client, asset, line.pays),
                "receives": session.told_amount(client, asset, line.receives),
                "net": _signed(session, client, asset, line.receives - line.pays),
                "after": session.told_amount(client, asset, line.after),
                "settled": line.count,
                "left": session.told_amount(client, asset, line.left),
            }
        )
    return rows


def _row(session: Session, client: BlockingClient, asset: str, found: Instruction) -> Row:
    return {
        "number": found.number,
        "from": found.member,
        "to": found.creditor,
        "amount": session.told_amount(client, asset, found.amount),
        "asset": asset,
        "priority": found.priority,
        "value_day": day_end.day_name(found.value_day),
        "until": when(found.until_ms),
        "reference": found.reference,
        "state": found.state,
        "cycle": found.cycle or "",
    }


def _signed(session: Session, client: BlockingClient, asset: str, minor: int) -> str:
    told = session.told_amount(client, asset, abs(minor))
    return f"-{told}" if minor < 0 else told
