"""``vostro accounts``: open, look, close, freeze; balances and statements."""

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated

import typer

from contracts.positions import NamedAccount, NamedPosition, Position
from node.cli.output import Row, usage, when
from node.cli.session import session_of
from node.client import BalanceAt, BlockingClient, Declined

app = typer.Typer(no_args_is_help=True, help="Accounts: MEMBER/local, one balance an asset.")

AccountArgument = Annotated[str, typer.Argument(help="MEMBER/local.")]
LIMIT_DEFAULT = 1_000


@app.command("open")
def open_(
    ctx: typer.Context, accounts: Annotated[list[str], typer.Argument(help="MEMBER/local, up to 1,000.")]
) -> None:
    """Open accounts of the acting member.

    Example: `vostro --member AB --key ab.json accounts open AB/59972357 AB/87144583`
    """
    session = session_of(ctx)
    with session.client() as client:
        session.act(client, "assets", "open_accounts", tuple(accounts))


@app.command("list")
def list_(
    ctx: typer.Context,
    member: Annotated[str, typer.Argument(help="Whose; default the acting member.")] = "",
    limit: Annotated[int, typer.Option(help="At most so many; 0: all.", min=0)] = LIMIT_DEFAULT,
) -> None:
    """List a member's accounts, ascending."""
    session = session_of(ctx)
    owner = member or session.member
    with session.client() as client:
        found = accounts_of(client, owner, limit)
    columns = {"account": "Account", "status": "Status", "opened": "Opened"}
    session.output.rows(f"Accounts of {owner}", columns, [_row(account) for account in found])


@app.command("show")
def show(ctx: typer.Context, account: AccountArgument) -> None:
    """Show an account with its balances."""
    session = session_of(ctx)
    with session.client() as client:
        found = NamedAccount(account, client.query("assets", "get_account", account))
        balances = [_balance(session.told_amount, client, entry) for entry in _balances(client, account)]
    if session.output.is_json:
        session.output.json({**_row(found), "balances": balances})
        return
    session.output.record(account, _row(found))
    columns = {"asset": "Asset", "posted": "Posted", "held": "Held", "available": "Available"}
    session.output.rows("Balances", columns, balances, numbers=("posted", "held", "available"))


@app.command("balances")
def balances(
    ctx: typer.Context,
    asset: Annotated[str, typer.Argument(help="The asset.")],
    accounts: Annotated[list[str], typer.Argument(help="MEMBER/local, up to 1,000.")],
) -> None:
    """Show what accounts have of one asset, all after the same block.

    Example: `vostro accounts balances EUR AB/1 AB/2`
    """
    session = session_of(ctx)
    with session.client() as client:
        found = client.balances([(account, asset) for account in accounts])
        rows: list[Row] = [
            {"account": account, "refusal": told.code}
            if isinstance(told, Declined)
            else {
                "account": account,
                **_amounts(session.told_amount, client, asset, told),
                "height": told.height,
            }
            for account, told in zip(accounts, found, strict=True)
        ]
    names = ("account", "posted", "held", "available", "height", "refusal")
    columns = {name: name.capitalize() for name in names}
    session.output.rows(f"Balances of {asset}", columns, rows, numbers=names[1:5])


@app.command("statement")
def statement(
    ctx: typer.Context,
    account: AccountArgument,
    from_: Annotated[
        str, typer.Option("--from", help="From this time on, for example 2026-01-31 or 2026-01-31T09:00:00.")
    ] = "",
    to: Annotated[str, typer.Option(help="Until this time, inclusive; UTC.")] = "",
    newest: Annotated[bool, typer.Option("--newest", help="Newest first.")] = False,
    limit: Annotated[int, typer.Option(help="At most so many movements; 0: all.", min=0)] = LIMIT_DEFAULT,
) -> None:
    """Show an account's movements in order of time.

    Example: `vostro accounts statement PA/1 --newest --limit 20`
    """
    session = session_of(ctx)
    with session.client() as client:
        found = client.movements(account, from_ms=time_ms(from_), to_ms=time_ms(to), reverse=newest)
        rows: list[Row] = [
            {
                "time": when(movement.time_ms),
                "amount": session.told_amount(client, movement.asset, movement.amount),
                "asset": movement.asset,
                "counterparty": movement.counterparty,
                "reference": movement.reference,
                "height": movement.height,
                "tx_id": movement.tx_id,
            }
            for movement in islice(found, limit or None)
        ]
    columns = {
        name: name.capitalize() for name in ("time", "amount", "asset", "counterparty", "reference", "height")
    }
    session.output.rows(f"Statement of {account}", columns, rows, numbers=("amount", "height"))


@app.command("close")
def close(ctx: typer.Context, account: AccountArgument) -> None:
    """Close an empty account for ever."""
    session = session_of(ctx)
    with session.client() as client:
        session.act(client, "assets", "close_account", account)


@app.command("freeze")
def freeze(ctx: typer.Context, account: AccountArgument) -> None:
    """Stop debits and credits of an account."""
    session = session_of(ctx)
    with session.client() as client:
        session.act(client, "assets", "freeze_account", account)


@app.command("release")
def release(ctx: typer.Context, account: AccountArgument) -> None:
    """Lift the freeze."""
    session = session_of(ctx)
    with session.client() as client:
        session.act(client, "assets", "release_account", account)


def accounts_of(client: BlockingClient, member: str, limit: int = 0) -> list[NamedAccount]:
    """A member's accounts, ascending; at most ``limit`` where that is not 0."""
    found: list[NamedAccount] = []
    while page := client.query("assets", "list_accounts", member, found[-1].id if found else ""):
        found += page
        if limit and len(found) >= limit:
            return found[:limit]
    return found


def _balances(client: BlockingClient, account: str) -> list[NamedPosition]:
    found: list[NamedPosition] = []
    while page := client.query("assets", "list_balances", account, found[-1].asset if found else ""):
        found += page
    return found


def _balance(
    told: Callable[[BlockingClient, str, int], str], client: BlockingClient, entry: NamedPosition
) -> Row:
    return {"asset": entry.asset, **_amounts(told, client, entry.asset, entry.position)}


def _amounts(
    told: Callable[[BlockingClient, str, int], str],
    client: BlockingClient,
    asset: str,
    position: Position | BalanceAt,
) -> Row:
    posted, held = position.posted, position.held
    amounts = {"posted": posted, "held": held, "available": posted - held}
    return {name: told(client, asset, minor) for name, minor in amounts.items()}


def _row(named: NamedAccount) -> dict[str, object]:
    account = named.account
    return {
        "account": named.id,
        "member": account.member,
        "status": account.status,
        "opened": when(account.opened_ms),
    }


def time_ms(text: str) -> int:
    """Ms since 1970 of a time in UTC; 0 for none. Raises Failure."""
    if not text:
        return 0
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise usage(f"{text!r} is no time: write 2026-01-31 or 2026-01-31T09:00:00") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * 1_000 + moment.microsecond // 1_000
