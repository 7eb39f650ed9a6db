"""``vostro cycles``: deals that settle together, assets gross or net and cash in net."""

from typing import Annotated, Final

import typer

from contracts.settlement_cycles import NamedCycle
from node.cli.output import Row, hex_bytes, when
from node.cli.session import session_of

app = typer.Typer(no_args_is_help=True, help="Settlement cycles: open, enter, settle, show.")

ID_BYTES: Final = 32
MINUTE_MS: Final = 60_000

CycleArgument = Annotated[str, typer.Argument(help="The cycle's id, 64 hexadecimal digits.")]
DealArgument = Annotated[str, typer.Argument(help="The deal's id, 64 hexadecimal digits.")]


@app.command("open")
def open_(
    ctx: typer.Context,
    against: Annotated[str, typer.Argument(help="The asset in which its deals are paid.")],
    model: Annotated[int, typer.Option(help="2: assets deal by deal, cash in net. 3: both in net.")] = 3,
    minutes: Annotated[int, typer.Option(help="How long deals may enter.", min=1)] = 60,
) -> None:
    """Open a cycle; its id stands in the event that is shown.

    Example: `vostro --member KB --key kb.json cycles open CZK --model 2 --minutes 30`
    """
    session = session_of(ctx)
    with session.client() as client:
        closes_ms = client.status().time_ms + minutes * MINUTE_MS
        session.act(client, "cycles", "open", model, against, closes_ms)


@app.command("enter")
def enter(ctx: typer.Context, cycle: CycleArgument, deal: DealArgument) -> None:
    """Ask that a deal settle with a cycle, or agree to what its other side has asked."""
    _act(ctx, "enter", _id(cycle), _id(deal))


@app.command("leave")
def leave(ctx: typer.Context, deal: DealArgument) -> None:
    """Take back what you asked for; a deal that has entered stays."""
    _act(ctx, "leave", _id(deal))


@app.command("settle")
def settle(ctx: typer.Context, cycle: CycleArgument) -> None:
    """Settle a cycle whose time has come: all that can be; the events say who was taken out."""
    _act(ctx, "settle", _id(cycle))


@app.command("list")
def list_(ctx: typer.Context) -> None:
    """List the cycles, open and settled."""
    session = session_of(ctx)
    with session.client() as client:
        rows = [_row(named) for named in client.market(lambda market: market.cycles())]
    columns = {"cycle": "Cycle", "opener": "Opener", "model": "Model", "against": "Against"}
    columns |= {"closes": "Closes", "deals": "Deals", "status": "Status"}
    session.output.rows("Settlement cycles", columns, rows, numbers=("deals",))


@app.command("show")
def show(ctx: typer.Context, cycle: CycleArgument) -> None:
    """Show a cycle, and your deals in it while it is open."""
    session = session_of(ctx)
    with session.client() as client:
        found, own = client.market(lambda market: market.cycle(session.member, _id(cycle)))
        row = _row(NamedCycle(_id(cycle), found))
        session.output.record("Cycle", {**row, "own": [named.id.hex() for named in own]})


def _act(ctx: typer.Context, method: str, *arguments: object) -> None:
    session = session_of(ctx)
    with session.client() as client:
        session.act(client, "cycles", method, *arguments)


def _id(text: str) -> bytes:
    return hex_bytes(text, ID_BYTES, "an id")


def _row(named: NamedCycle) -> Row:
    cycle = named.cycle
    return {
        "cycle": named.id,
        "opener": cycle.opener,
        "model": cycle.model,
        "against": cycle.against,
        "closes": when(cycle.closes_ms),
        "deals": cycle.deals,
        "status": cycle.status,
    }
