"""``vostro run``: the node itself, in the foreground, until SIGTERM or SIGINT."""

import typer

from node.cli.session import session_of


def run(ctx: typer.Context) -> None:
    """Run a node until it is told to stop (SIGTERM or Ctrl-C); what it accepted is decided first.

    Logs are JSON lines on stderr. A supervisor such as systemd starts it again after a crash: no
    acknowledged transaction is lost.

    Example: `vostro --config first/node.toml run`
    """
    import uvloop

    from node.app import run_node

    uvloop.run(run_node(session_of(ctx).config))
