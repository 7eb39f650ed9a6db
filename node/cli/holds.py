"""``vostro holds``: two-step transfers, an amount set aside and then posted, voided, or expired by block
time.
"""

from typing import Annotated, Final

import typer

from contracts.transfers import NamedHold
from node.cli.output import Row, hex_bytes, when
from node.cli.session import Session, session_of
from node.client import BlockingClient

app = typer.Typer(no_args_is_help=True, help="Holds: reserve an amount, then post or void it.")

SourceArgument = Annotated[str, typer.Argument(help="The account in which the amount is held, MEMBER/local.")]
HoldArgument = Annotated[str, typer.Argument(help="The hold's id, 64 hexadecimal digits.")]
HOLD_BYTES: Final = 32


@app.command("reserve")
def reserve(
    ctx: typer.Context,
    source: SourceArgument,
    destination: Annotated[str, typer.Argument(help="The account it can be paid to.")],
    amount: Annotated[str, typer.Argument(help="Digits and at most one point.")],
    asset: Annotated[str, typer.Argument(help="The asset's id.")],
    minutes: Annotated[
        int, typer.Option(help="How long it stays pending, counted from block time.", min=1)
    ] = 60,
    end_to_end_id: Annotated[
        str, typer.Option("--id", help="End-to-end reference, at most 35 characters.")
    ] = "",
) -> None:
    """Set an amount aside; the hold's id stands in the event that is shown.

    Example: `vostro --member PA --key pa.json holds reserve PA/1 AB/7 100.00 CZK --minutes 30`
    """
    session = session_of(ctx)
    with session.client() as client:
        minor = session.amount(client, asset, amount)
        expires_ms = client.status().time_ms + minutes * 60_000
        session.act(
            client, "transfers", "reserve", source, destination, asset, minor, expires_ms, end_to_end_id
        )


@app.command("post")
def post(
    ctx: typer.Context,
    source: SourceArgument,
    hold: HoldArgument,
    amount: Annotated[str, typer.Option(help="A part of it; default all. The rest is released.")] = "",
) -> None:
    """Pay a pending hold. Signed by the debtor's member."""
    session = session_of(ctx)
    hold_id = _hold_id(hold)
    with session.client() as client:
        found = client.query("transfers", "get_hold", source, hold_id)
        minor = session.amount(client, found.asset, amount) if amount else found.amount
        session.act(client, "transfers", "post", source, hold_id, minor)


@app.command("void")
def void(ctx: typer.Context, source: SourceArgument, hold: HoldArgument) -> None:
    """Give a pending hold back. Signed by either side's member."""
    session = session_of(ctx)
    with session.client() as client:
        session.act(client, "transfers", "void", source, _hold_id(hold))


@app.command("list")
def list_(ctx: typer.Context, source: SourceArgument) -> None:
    """List an account's holds, pending and ended."""
    session = session_of(ctx)
    with session.client() as client:
        found: list[NamedHold] = []
        while page := client.query("transfers", "list_holds", source, found[-1].id if found else b""):
            found += page
        rows = [_row(session, client, named) for named in found]
    columns = {
        "hold": "Hold",
        "destination": "Destination",
        "amount": "Amount",
        "asset": "Asset",
        "status": "Status",
        "expires": "Expires",
    }
    session.output.rows(f"Holds of {source}", columns, rows, numbers=("amount",))


@app.command("show")
def show(ctx: typer.Context, source: SourceArgument, hold: HoldArgument) -> None:
    """Show one hold."""
    session = session_of(ctx)
    with session.client() as client:
        named = NamedHold(_hold_id(hold), client.query("transfers", "get_hold", source, _hold_id(hold)))
        session.output.record("Hold", _row(session, client, named))


def _hold_id(text: str) -> bytes:
    return hex_bytes(text, HOLD_BYTES, "a hold's id")


def _row(session: Session, client: BlockingClient, named: NamedHold) -> Row:
    hold = named.hold
    return {
        "hold": named.id,
        "destination": hold.destination,
        "amount": session.told_amount(client, hold.asset, hold.amount),
        "asset": hold.asset,
        "status": hold.status,
        "posted": session.told_amount(client, hold.asset, hold.posted),
        "expires": when(hold.expires_ms),
        "end_to_end_id": hold.end_to_end_id,
    }
