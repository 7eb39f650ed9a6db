"""``vostro exchange``: a transfer of an asset between two banks, step by step: open, accept, confirm."""

import hashlib
from pathlib import Path
from typing import Annotated, Final

import typer

from contracts.deals import Accounts
from contracts.scenarios.asset_transfer import Exchange, NamedExchange
from node.cli.output import Row, hex_bytes, when
from node.cli.session import Session, session_of
from node.client import BlockingClient

app = typer.Typer(no_args_is_help=True, help="Transfer or exchange an asset with another bank, step by step.")

ID_BYTES: Final = 32
HOUR_MS: Final = 3_600_000

ExchangeArgument = Annotated[str, typer.Argument(help="The exchange's id, 64 hexadecimal digits.")]
AccountOption = Annotated[str, typer.Option(help="Your account for the asset, MEMBER/local.")]
CashOption = Annotated[str, typer.Option(help="Your account for what is paid; default: the same.")]
ReasonOption = Annotated[str, typer.Option(help="At most 35 characters.")]


@app.command("open")
def open_(
    ctx: typer.Context,
    buyer: Annotated[str, typer.Argument(help="The member that is offered the asset.")],
    units: Annotated[str, typer.Argument(help="How much of it.")],
    asset: Annotated[str, typer.Argument(help="The asset, which is on the register.")],
    amount: Annotated[str, typer.Argument(help="What is paid for it, in all.")],
    against: Annotated[str, typer.Argument(help="In which asset: cash or any other.")],
    account: AccountOption,
    cash: CashOption = "",
    hours: Annotated[int, typer.Option(help="How long the buyer may accept.", min=1)] = 24,
    reference: Annotated[str, typer.Option(help="At most 35 characters; an identifier.")] = "",
) -> None:
    """Open an exchange as the seller: what you will deliver is set aside. The id stands in the event shown.

    Example: `vostro --member PA --key pa.json exchange open KB 20 BOND 400.00 CZK --account PA/securities`
    """
    session = session_of(ctx)
    with session.client() as client:
        given, paid = session.amount(client, asset, units), session.amount(client, against, amount)
        expires_ms = client.status().time_ms + hours * HOUR_MS
        head = (buyer, asset, given, against, paid, Accounts(account, cash or account))
        session.act(client, "exchange", "open", *head, expires_ms, reference)


@app.command("accept")
def accept(
    ctx: typer.Context, exchange: ExchangeArgument, account: AccountOption, cash: CashOption = ""
) -> None:
    """Accept an exchange as its buyer: it is settled at once, both legs or neither."""
    session = session_of(ctx)
    with session.client() as client:
        found = _exchange(session, client, exchange)
        price = (found.against, found.amount, Accounts(account, cash or account))
        session.act(client, "exchange", "accept", _id(exchange), *price)


@app.command("decline")
def decline(ctx: typer.Context, exchange: ExchangeArgument, reason: ReasonOption = "") -> None:
    """Turn an exchange down as its buyer."""
    _act(ctx, "decline", _id(exchange), reason)


@app.command("withdraw")
def withdraw(ctx: typer.Context, exchange: ExchangeArgument, reason: ReasonOption = "") -> None:
    """Take an exchange back as its seller."""
    _act(ctx, "withdraw", _id(exchange), reason)


@app.command("confirm")
def confirm(
    ctx: typer.Context,
    exchange: ExchangeArgument,
    statement: Annotated[
        list[Path], typer.Argument(help="Your statements that show it (vostro export); their hash is signed.")
    ],
) -> None:
    """Confirm that your statements show what was agreed; with both sides' the exchange is closed."""
    _act(ctx, "confirm", _id(exchange), hashlib.sha256(b"".join(map(_hash, statement))).digest())


@app.command("dispute")
def dispute(ctx: typer.Context, exchange: ExchangeArgument, reason: ReasonOption = "") -> None:
    """Say that your statements do not show what was agreed; both sides confirm anew."""
    _act(ctx, "dispute", _id(exchange), reason)


@app.command("list")
def list_(ctx: typer.Context) -> None:
    """List your member's exchanges."""
    session = session_of(ctx)
    with session.client() as client:
        found: list[NamedExchange] = []
        while page := client.query(
            "exchange", "list_exchanges", session.member, found[-1].id if found else b""
        ):
            found += page
        rows = [_row(session, client, named) for named in found]
    columns = {
        "exchange": "Exchange",
        "seller": "Seller",
        "buyer": "Buyer",
        "units": "Units",
        "asset": "Asset",
    }
    columns |= {"amount": "Amount", "against": "Against", "status": "Status", "next": "Next"}
    session.output.rows(f"Exchanges of {session.member}", columns, rows, numbers=("units", "amount"))


@app.command("show")
def show(ctx: typer.Context, exchange: ExchangeArgument) -> None:
    """Show an exchange, and whose turn it is."""
    session = session_of(ctx)
    with session.client() as client:
        named = NamedExchange(_id(exchange), _exchange(session, client, exchange))
        session.output.record("Exchange", _row(session, client, named))


def _act(ctx: typer.Context, method: str, *arguments: object) -> None:
    session = session_of(ctx)
    with session.client() as client:
        session.act(client, "exchange", method, *arguments)


def _exchange(session: Session, client: BlockingClient, exchange: str) -> Exchange:
    found: Exchange = client.query("exchange", "get_exchange", session.member, _id(exchange))
    return found


def _id(text: str) -> bytes:
    return hex_bytes(text, ID_BYTES, "an id")


def _hash(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


def _next(exchange: Exchange) -> str:
    """Whose turn it is, and with what."""
    if exchange.status == "offered":
        return f"{exchange.buyer} accepts until {when(exchange.expires_ms)}"
    if exchange.status in ("settled", "disputed"):
        sides = ((exchange.seller, exchange.seller_statement), (exchange.buyer, exchange.buyer_statement))
        return f"{' and '.join([side for side, statement in sides if not statement])} confirm with statements"
    return ""


def _row(session: Session, client: BlockingClient, named: NamedExchange) -> Row:
    exchange = named.exchange
    return {
        "exchange": named.id,
        "seller": exchange.seller,
        "buyer": exchange.buyer,
        "units": session.told_amount(client, exchange.asset, exchange.units),
        "asset": exchange.asset,
        "amount": session.told_amount(client, exchange.against, exchange.amount),
        "against": exchange.against,
        "reference": exchange.reference,
        "deal": exchange.deal,
        "status": exchange.status,
        "next": _next(exchange),
    }
