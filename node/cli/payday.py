"""``vostro demo``: a payment day of fifteen banks on a real node."""

from pathlib import Path
from typing import Annotated

import typer

from node.cli.output import Exit, Failure
from node.cli.session import SuiteOption, session_of, suite_named
from node.demo.orders import SEED_DEFAULT, BadOrders
from node.ledger.hashing import INTERNATIONAL


def demo(
    ctx: typer.Context,
    orders: Annotated[
        Path | None,
        typer.Option(
            help="A file of payment orders to play; default a generated day (docs/demonstration.md)."
        ),
    ] = None,
    directory: Annotated[
        Path | None, typer.Option(help="Where to play; new or empty. Default a temporary directory.")
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the directory, to look into it afterwards.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of the generated day.", min=0)] = SEED_DEFAULT,
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
    from node.demo.play import DemoFailed, play

    session = session_of(ctx)
    chosen = suite_named(suite)
    try:
        play(session.output, orders=orders, directory=directory, keep=keep, seed=seed, suite=chosen)
    except BadOrders as error:
        raise Failure(Exit.LOCAL, str(error)) from error
    except DemoFailed as error:
        raise Failure(Exit.UNVERIFIED, str(error)) from error
