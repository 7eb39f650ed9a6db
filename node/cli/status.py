"""``vostro status``: where a node stands, in one look."""

import time
from dataclasses import asdict

import typer

from node.cli.output import when
from node.cli.session import session_of


def status(ctx: typer.Context) -> None:
    """Show where the node stands: height, time, queue, index, alarms.

    Examples: `vostro status`, `vostro --node 10.0.0.7:7600 status -o json`
    """
    session = session_of(ctx)
    with session.client() as client:
        found = client.status()
    fields = asdict(found) | {
        "time": when(found.time_ms),
        "age_seconds": max(int(time.time() - found.time_ms / 1000), 0),
    }
    session.output.record(f"{found.chain_name} at {found.target}", fields)
