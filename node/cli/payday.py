"""``vostro demo``: a payment day of fifteen banks on a real node, and a trading day."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from node.cli.output import Exit, Failure
from node.cli.session import SuiteOption, session_of, suite_named
from node.demo.orders import SEED_DEFAULT, BadOrders
from node.ledger.hashing import INTERNATIONAL

if TYPE_CHECKING:
    from node.demo.performance import Performance

app = typer.Typer(invoke_without_command=True)

OrdersOption = Annotated[
    Path | None,
    typer.Option(help="A file of payment orders to play; default a generated day (docs/demonstration.md)."),
]
DirectoryOption = Annotated[
    Path | None, typer.Option(help="Where to play; new or empty. Default a temporary directory.")
]
KeepOption = Annotated[bool, typer.Option("--keep", help="Keep the directory, to look into it afterwards.")]
SeedOption = Annotated[int, typer.Option(help="Of the generated day.", min=0)]


@app.callback()
def demo(
    ctx: typer.Context,
    orders: OrdersOption = None,
    directory: DirectoryOption = None,
    keep: KeepOption = False,
    seed: SeedOption = SEED_DEFAULT,
    suite: SuiteOption = INTERNATIONAL.name,
) -> None:
    """Play a payment day: fifteen banks, a real node, thousands of signed orders, and a SIGKILL in the
    middle.

    Examples:
        vostro demo

        vostro demo --suite guomi

        vostro demo --orders pkdd99_orders.csv --directory payday --keep

    Exit code 4: an amount, an order or a hash is not what it must be.
    """
    from node.demo.play import PaymentDay

    if ctx.invoked_subcommand is None:
        _perform(ctx, PaymentDay, orders, directory, keep, seed, suite)


@app.command("trading-day")
def trading_day(
    ctx: typer.Context,
    orders: OrdersOption = None,
    directory: DirectoryOption = None,
    keep: KeepOption = False,
    seed: SeedOption = SEED_DEFAULT,
    suite: SuiteOption = INTERNATIONAL.name,
) -> None:
    """Play a trading day: the payment day through queues, limits and netting, bonds against money, every
    bank's statements reconciled, and ten planted differences found.

    Examples:
        vostro demo trading-day

        vostro demo trading-day --orders pkdd99_orders.csv --directory tradingday

    Exit code 4: an amount, an order, a statement or a hash is not what it must be.
    """
    from node.demo.trading_day import TradingDay

    _perform(ctx, TradingDay, orders, directory, keep, seed, suite)


def _perform(
    ctx: typer.Context,
    play: "type[Performance]",
    orders: Path | None,
    directory: Path | None,
    keep: bool,
    seed: int,
    suite: str,
) -> None:
    """Play, and tell what went wrong. Raises Failure."""
    from node.demo.consortium import DemoFailed
    from node.demo.performance import perform

    chosen = suite_named(suite)
    output = session_of(ctx).output
    try:
        perform(play, output, orders=orders, directory=directory, keep=keep, seed=seed, suite=chosen)
    except BadOrders as error:
        raise Failure(Exit.LOCAL, str(error)) from error
    except DemoFailed as error:
        raise Failure(Exit.UNVERIFIED, str(error)) from error
