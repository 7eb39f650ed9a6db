"""``vostro servicing``: coupons, distributions and redemptions, from the record date to the last payment."""

from typing import Annotated, Final

import typer

from contracts.terms import PIECE_MAX, Holders, NamedAction
from node.cli.exporting import time_ms
from node.cli.output import Row, when
from node.cli.session import Session, session_of
from node.client import BlockingClient

app = typer.Typer(no_args_is_help=True, help="Coupons, distributions, redemptions: announce, fix, pay, show.")

AssetArgument = Annotated[str, typer.Argument(help="The asset's id.")]
NumberArgument = Annotated[int, typer.Argument(help="The action's number.", min=1)]
RecordOption = Annotated[str, typer.Option("--record", help="The record date, 2026-01-31T16:00:00, UTC.")]
SourceOption = Annotated[str, typer.Option(help="Your account that pays, MEMBER/local.")]

PIECE: Final = PIECE_MAX


@app.command("announce")
def announce(
    ctx: typer.Context,
    asset: AssetArgument,
    kind: Annotated[str, typer.Argument(help="coupon, distribution or redemption.")],
    pays: Annotated[str, typer.Argument(help="What is paid, in the currency.")],
    currency: Annotated[str, typer.Argument(help="In which it is paid.")],
    per: Annotated[str, typer.Option(help="For how much of the asset.")],
    record: RecordOption,
) -> None:
    """Announce what the holders of a date will be paid, as the asset's issuer.

    Example: `vostro --member PA --key pa.json servicing announce BOND coupon 2.50 CZK --per 100 --record
    2026-06-30`
    """
    session = session_of(ctx)
    with session.client() as client:
        paid = (session.amount(client, currency, pays), session.amount(client, asset, per))
        session.act(
            client, "servicing", "announce", asset, kind, currency, *paid, time_ms(record, last=False)
        )


@app.command("interest")
def interest(ctx: typer.Context, asset: AssetArgument, record: RecordOption) -> None:
    """Announce a coupon of what the asset's terms promise since the last one."""
    session = session_of(ctx)
    with session.client() as client:
        session.act(client, "servicing", "announce_interest", asset, time_ms(record, last=False))


@app.command("cancel")
def cancel(ctx: typer.Context, asset: AssetArgument, number: NumberArgument) -> None:
    """Take an announcement back before its holders are fixed."""
    session = session_of(ctx)
    with session.client() as client:
        session.act(client, "servicing", "cancel", asset, number)


@app.command("fix")
def fix(
    ctx: typer.Context,
    asset: AssetArgument,
    number: NumberArgument,
    account: Annotated[
        list[str] | None, typer.Argument(help="Your own accounts, if you are not the issuer.")
    ] = None,
) -> None:
    """Find the holders of the record date and put them on record, in pieces of up to 1,000, as the issuer or
    a regulator; other members name their own accounts.
    """
    session = session_of(ctx)
    with session.client() as client:
        for holders in _cut(account or _holders(client, asset, number)):
            session.act(client, "servicing", "fix", asset, number, holders)


@app.command("pay")
def pay(
    ctx: typer.Context,
    asset: AssetArgument,
    number: NumberArgument,
    source: SourceOption,
    taken_back: Annotated[str, typer.Option(help="Your account that takes redeemed units back.")] = "",
) -> None:
    """Pay all holders that are not paid, in pieces of up to 1,000."""
    session = session_of(ctx)
    with session.client() as client:
        claims = client.market(lambda market: market.claims(asset, number))
        unpaid = [named.account for named in claims if named.claim.status == "unpaid"]
        for holders in _cut(unpaid):
            session.act(client, "servicing", "pay", asset, number, source, taken_back or source, holders)


@app.command("list")
def list_(ctx: typer.Context, asset: AssetArgument) -> None:
    """List an asset's coupons, distributions and redemptions, with what is unpaid."""
    session = session_of(ctx)
    with session.client() as client:
        rows = [_action(session, client, named) for named in client.market(lambda m: m.actions(asset))]
    columns = {"number": "Number", "kind": "Kind", "record": "Record date", "status": "Status"}
    columns |= {"owed": "Owed", "paid": "Paid", "unpaid": "Unpaid", "holders": "Holders unpaid"}
    session.output.rows(f"Actions of {asset}", columns, rows, numbers=("owed", "paid", "unpaid", "holders"))


@app.command("claims")
def claims(ctx: typer.Context, asset: AssetArgument, number: NumberArgument) -> None:
    """List who is owed what, as the issuer or a regulator."""
    session = session_of(ctx)
    with session.client() as client:
        found = client.market(lambda market: market.claims(asset, number))
        currency = client.query("servicing", "get_action", asset, number).currency
        rows: list[Row] = [
            {
                "account": named.account,
                "units": session.told_amount(client, asset, named.claim.units),
                "amount": session.told_amount(client, currency, named.claim.amount),
                "status": named.claim.status,
            }
            for named in found
        ]
    columns = {"account": "Account", "units": "Units", "amount": "Amount", "status": "Status"}
    session.output.rows(f"Claims from {asset} {number}", columns, rows, numbers=("units", "amount"))


@app.command("accrued")
def accrued(
    ctx: typer.Context,
    account: Annotated[str, typer.Argument(help="MEMBER/local.")],
    asset: AssetArgument,
    at: Annotated[str, typer.Option(help="Until when; default: now.")] = "",
) -> None:
    """Show the interest accrued on what an account holds since the last coupon."""
    session = session_of(ctx)
    with session.client() as client:
        found = client.market(lambda market: market.accrued(account, asset, time_ms(at, last=False)))
        amount = session.told_amount(client, found.currency, found.amount) if found.currency else "0"
        row = {"account": account, "asset": asset, "amount": amount, "currency": found.currency}
        session.output.record("Accrued", {**row, "days": found.days})


def _holders(client: BlockingClient, asset: str, number: int) -> list[str]:
    """Accounts that hold the asset now, while its books are closed, and are not fixed."""
    done = {named.account for named in client.market(lambda market: market.claims(asset, number))}
    found: list[str] = []
    after = ""
    while True:
        page: Holders = client.query("servicing", "list_holders", asset, after)
        found += [account for account in page.accounts if account not in done]
        after = page.next
        if not after:
            return found


def _cut(accounts: list[str]) -> list[tuple[str, ...]]:
    return [tuple(accounts[at : at + PIECE]) for at in range(0, len(accounts), PIECE)]


def _action(session: Session, client: BlockingClient, named: NamedAction) -> Row:
    action = named.action
    return {
        "number": named.number,
        "kind": action.kind,
        "currency": action.currency,
        "pays": session.told_amount(client, action.currency, action.pays),
        "per": action.per,
        "record": when(action.record_ms),
        "status": action.status,
        "owed": session.told_amount(client, action.currency, action.owed),
        "paid": session.told_amount(client, action.currency, action.paid),
        "unpaid": session.told_amount(client, action.currency, action.owed - action.paid),
        "holders": action.claims,
    }
