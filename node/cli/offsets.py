"""``vostro offsets``: what two members owe one another, set off without cash."""

from typing import Annotated, Final

import typer

from contracts.offsets import NamedOffset, Offset
from node.cli.output import Row, hex_bytes, when
from node.cli.session import Session, session_of
from node.client import BlockingClient

app = typer.Typer(
    no_args_is_help=True, help="Offsets: set off placements, loans and deposits of two members."
)

ID_BYTES: Final = 32
HOUR_MS: Final = 3_600_000

ProposerArgument = Annotated[str, typer.Argument(help="The member that proposed it.")]
OffsetArgument = Annotated[str, typer.Argument(help="Its id, 64 hexadecimal digits.")]
AccountOption = Annotated[str, typer.Option(help="Your account that holds your claim, MEMBER/local.")]


@app.command("propose")
def propose(
    ctx: typer.Context,
    other: Annotated[str, typer.Argument(help="The member that owes you, and that you owe.")],
    claim: Annotated[str, typer.Argument(help="What it owes you: its placement, loan or deposit.")],
    units: Annotated[str, typer.Argument(help="How much of it you give up.")],
    debt: Annotated[str, typer.Argument(help="What you owe it.")],
    debt_units: Annotated[str, typer.Argument(help="How much of that it gives up.")],
    account: AccountOption,
    hours: Annotated[int, typer.Option(help="How long the other may agree.", min=1)] = 24,
) -> None:
    """Propose an offset; its id stands in the event that is shown.

    Example: `vostro --member PA --key pa.json offsets propose KB KB-DEPOSIT 70 PA-LOAN 60 --account PA/main`
    """
    session = session_of(ctx)
    with session.client() as client:
        mine, its = session.amount(client, claim, units), session.amount(client, debt, debt_units)
        expires_ms = client.status().time_ms + hours * HOUR_MS
        session.act(client, "offsets", "propose", other, claim, mine, debt, its, account, expires_ms)


@app.command("agree")
def agree(
    ctx: typer.Context, proposer: ProposerArgument, offset: OffsetArgument, account: AccountOption
) -> None:
    """Agree to an offset: both claims are reduced now, or neither."""
    session = session_of(ctx)
    with session.client() as client:
        found = _offset(session, client, proposer, offset)
        units = (found.claim_units, found.debt_units)
        session.act(client, "offsets", "agree", proposer, _id(offset), *units, account)


@app.command("withdraw")
def withdraw(ctx: typer.Context, offset: OffsetArgument) -> None:
    """Take a proposal of yours back."""
    session = session_of(ctx)
    with session.client() as client:
        session.act(client, "offsets", "withdraw", _id(offset))


@app.command("list")
def list_(ctx: typer.Context) -> None:
    """List the offsets that your member proposed."""
    session = session_of(ctx)
    with session.client() as client:
        found: list[NamedOffset] = []
        while page := client.query("offsets", "list_offsets", session.member, found[-1].id if found else b""):
            found += page
        rows = [_row(session, client, named) for named in found]
    columns = {"offset": "Offset", "other": "With", "claim": "Claim", "units": "Units", "debt": "Debt"}
    columns |= {"debt_units": "Units of it", "expires": "Expires", "status": "Status"}
    session.output.rows(f"Offsets of {session.member}", columns, rows, numbers=("units", "debt_units"))


@app.command("show")
def show(ctx: typer.Context, proposer: ProposerArgument, offset: OffsetArgument) -> None:
    """Show one offset."""
    session = session_of(ctx)
    with session.client() as client:
        named = NamedOffset(proposer, _id(offset), _offset(session, client, proposer, offset))
        session.output.record("Offset", _row(session, client, named))


def _offset(session: Session, client: BlockingClient, proposer: str, offset: str) -> Offset:
    found: Offset = client.query("offsets", "get_offset", session.member, proposer, _id(offset))
    return found


def _id(text: str) -> bytes:
    return hex_bytes(text, ID_BYTES, "an id")


def _row(session: Session, client: BlockingClient, named: NamedOffset) -> Row:
    offset = named.offset
    return {
        "proposer": named.proposer,
        "offset": named.id,
        "other": offset.other,
        "claim": offset.claim,
        "units": session.told_amount(client, offset.claim, offset.claim_units),
        "debt": offset.debt,
        "debt_units": session.told_amount(client, offset.debt, offset.debt_units),
        "expires": when(offset.expires_ms),
        "status": offset.status,
    }
