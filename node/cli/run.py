"""``vostro run``: the node itself, in the foreground, until SIGTERM or SIGINT."""

import typer

from node.cli.output import Exit, Failure, local
from node.cli.session import session_of
from node.ledger.errors import InvariantViolated


def run(ctx: typer.Context) -> None:
    """Run a node until it is told to stop (SIGTERM or Ctrl-C); what it accepted is decided first.

    Logs are JSON lines on stderr. A supervisor such as systemd starts it again after a crash: no
    acknowledged transaction is lost.

    Example: `vostro --config first/node.toml run`
    """
    import uvloop

    from node.app import NodeHalted, run_node
    from node.engine.sequencer import SequencerRefused

    config = session_of(ctx).config
    try:
        uvloop.run(run_node(config))
    except (SequencerRefused, InvariantViolated) as error:
        raise local(str(error)) from error
    except NodeHalted as error:
        raise Failure(Exit.UNAVAILABLE, f"the node has halted: {error}") from error
