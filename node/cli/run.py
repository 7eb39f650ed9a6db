"""``vostro run``: the node itself, in the foreground, until SIGTERM or SIGINT."""

import ctypes
import resource
import sys
from typing import Final

import typer

from node.cli.output import Exit, Failure, local
from node.cli.session import session_of
from node.ledger.errors import InvariantViolated

PR_SET_DUMPABLE: Final = 4
SWITCH_SECONDS: Final = 0.000_5
"""How long a thread keeps the interpreter where another wants it, in place of Python's 5 ms: a read must not
wait for so much of a block.
"""


def forbid_core_dumps() -> None:
    """Keep what is in memory, secrets among it, out of core files and away from other processes of the user
    (prctl(2); child processes inherit the limit).
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


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
    forbid_core_dumps()
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        uvloop.run(run_node(config))
    except (SequencerRefused, InvariantViolated) as error:
        raise local(str(error)) from error
    except NodeHalted as error:
        raise Failure(Exit.UNAVAILABLE, f"the node has halted: {error}") from error
