"""``vostro deals``: what members have agreed, and settling it: delivery against payment, both or neither."""

from typing import Annotated, Final

import typer

from contracts.deals import Deal, NamedDeal
from node.cli.output import Row, hex_bytes, when
from node.cli.session import Session, session_of
from node.client import BlockingClient

app = typer.Typer(no_args_is_help=True, help="Deals: settle, secure, cancel, buy in; linked sets.")

ID_BYTES: Final = 32

DealArgument = Annotated[str, typer.Argument(help="The deal's id, 64 hexadecimal digits.")]
SetArgument = Annotated[str, typer.Argument(help="The linked set's id, 64 hexadecimal digits.")]


@app.command("settle")
def settle(
    ctx: typer.Context,
    deal: DealArgument,
    lots: Annotated[int, typer.Option(help="Only so many lots, where the deal allows parts.", min=0)] = 0,
) -> None:
    """Settle a deal: the asset against what is paid, at the same instant or not at all.

    Example: `vostro --member KB --key kb.json deals settle 9f86...0f00a08`
    """
    if lots:
        _act(ctx, "settle_partly", _id(deal), lots)
    else:
        _act(ctx, "settle", _id(deal))


@app.command("secure")
def secure(ctx: typer.Context, deal: DealArgument) -> None:
    """Set your leg aside until the deal ends."""
    _act(ctx, "secure", _id(deal))


@app.command("cancel")
def cancel(
    ctx: typer.Context,
    deal: DealArgument,
    reason: Annotated[str, typer.Option(help="At most 35 characters.")] = "",
) -> None:
    """Ask to cancel a deal; it is cancelled once both sides have asked."""
    _act(ctx, "cancel", _id(deal), reason)


@app.command("release")
def release(ctx: typer.Context, deal: DealArgument) -> None:
    """Have your leg of a failing deal back after its buy-in date, if the other side has not secured its."""
    _act(ctx, "release", _id(deal))


@app.command("buy-in")
def buy_in(
    ctx: typer.Context,
    deal: DealArgument,
    replacement: Annotated[str, typer.Argument(help="The settled deal in which you bought elsewhere.")],
) -> None:
    """End a failing deal after its buy-in date."""
    _act(ctx, "buy_in", _id(deal), _id(replacement))


@app.command("link")
def link(ctx: typer.Context, deals: Annotated[list[str], typer.Argument(help="2 to 16 deals' ids.")]) -> None:
    """Propose that deals settle all or none; the other parties consent with ``join``."""
    _act(ctx, "link", tuple([_id(deal) for deal in deals]))


@app.command("join")
def join(ctx: typer.Context, linked: SetArgument) -> None:
    """Consent to a linked set."""
    _act(ctx, "join", _id(linked))


@app.command("settle-set")
def settle_set(ctx: typer.Context, linked: SetArgument) -> None:
    """Settle all deals of a linked set, or none."""
    _act(ctx, "settle_set", _id(linked))


@app.command("dissolve")
def dissolve(ctx: typer.Context, linked: SetArgument) -> None:
    """Let a set's deals stand alone again."""
    _act(ctx, "dissolve", _id(linked))


@app.command("list")
def list_(
    ctx: typer.Context, member: Annotated[str, typer.Argument(help="The member whose deals to list.")]
) -> None:
    """List a member's deals, open and ended."""
    session = session_of(ctx)
    with session.client() as client:
        found = client.market(lambda market: market.deals(member))
        rows = [_row(session, client, named) for named in found]
    columns = {"deal": "Deal", "seller": "Seller", "buyer": "Buyer", "units": "Units", "asset": "Asset"}
    columns |= {
        "amount": "Amount",
        "against": "Against",
        "left": "Lots left",
        "due": "Due",
        "status": "Status",
    }
    session.output.rows(f"Deals of {member}", columns, rows, numbers=("units", "amount", "left"))


@app.command("show")
def show(ctx: typer.Context, deal: DealArgument) -> None:
    """Show one deal."""
    session = session_of(ctx)
    with session.client() as client:
        found: Deal = client.query("settlement", "get_deal", session.member, _id(deal))
        session.output.record("Deal", _row(session, client, NamedDeal(_id(deal), found)))


def _act(ctx: typer.Context, method: str, *arguments: object) -> None:
    session = session_of(ctx)
    with session.client() as client:
        session.act(client, "settlement", method, *arguments)


def _id(text: str) -> bytes:
    return hex_bytes(text, ID_BYTES, "an id")


def _row(session: Session, client: BlockingClient, named: NamedDeal) -> Row:
    deal = named.deal
    return {
        "deal": named.id,
        "seller": deal.seller,
        "buyer": deal.buyer,
        "units": session.told_amount(client, deal.asset, deal.lots * deal.lot),
        "asset": deal.asset,
        "amount": session.told_amount(client, deal.against, deal.lots * deal.price),
        "against": deal.against,
        "lots": deal.lots,
        "left": deal.left,
        "due": when(deal.conditions.due_ms),
        "linked": deal.linked,
        "status": deal.status,
    }
