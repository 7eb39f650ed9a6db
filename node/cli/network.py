"""``vostro network``: a whole network of banks on this machine, in one directory."""

import asyncio
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text

from node.cli.consortium import refusals
from node.cli.output import Exit, Failure, Output, Row, table_of
from node.cli.session import SuiteOption, session_of
from node.ledger import hashing

if TYPE_CHECKING:
    from node.network.local import LocalBank, LocalNetwork
    from node.network.watch import Standing, Watch

LOOK_SECONDS: Final = 1.0
ALARMS_SHOWN: Final = 3
COLUMNS: Final = {
    "bank": "Bank",
    "pid": "Process",
    "state": "State",
    "role": "Role",
    "height": "Height",
    "app_hash": "App hash",
    "decided": "Decided",
    "peers": "Peers",
    "rate": "tx/s",
    "pending": "Pending",
}
NUMBERS: Final = ("pid", "height", "decided", "peers", "rate", "pending")

app = typer.Typer(
    no_args_is_help=True, help="A network of banks on this machine: make it, run it, look at it, end it."
)

DirectoryArgument = Annotated[Path, typer.Argument(help="The network's directory.", metavar="DIR")]
BanksArgument = Annotated[list[str] | None, typer.Argument(help="Some of its banks.", metavar="[BANK]...")]


@app.command("new")
def new(
    ctx: typer.Context,
    directory: Annotated[Path, typer.Argument(help="Where; new or empty.", metavar="DIR")],
    members: Annotated[str, typer.Option(help="The banks, with commas.")] = "bank-a,bank-b,bank-c,bank-d",
    validators: Annotated[
        int, typer.Option(help="How many of them vote on blocks; default: all.", min=0)
    ] = 0,
    name: Annotated[str, typer.Option(help="The network's name.")] = "Local network",
    base_port: Annotated[
        int, typer.Option(help="The first of two ports a bank; default: some that are free.", min=0)
    ] = 0,
    suite: SuiteOption = hashing.INTERNATIONAL.name,
) -> None:
    """Make a network of banks on this machine, as banks on many machines would: each has keys of its own and
    enters, and all make the same genesis.

    The first bank may issue assets. Passphrases lie beside the keys: it is for trying, not for money.

    Example: `vostro network new demo --members bank-a,bank-b,bank-c,bank-d`
    """
    from node.keys.keystore import COST_MIN
    from node.network.local import make_network

    session = session_of(ctx)
    names = [word.strip() for word in members.split(",") if word.strip()]
    with refusals():
        made = make_network(
            directory,
            names,
            name=name,
            time_ms=time.time_ns() // 1_000_000,
            validators=validators or len(names),
            suite=suite,
            base_port=base_port,
            cost=COST_MIN,  # the passphrases lie beside the keys
        )
    session.output.record(
        "Made",
        {
            "directory": str(directory),
            "chain_id": made.assembled.network.chain,
            "banks": [bank.name for bank in made.banks],
            "validators": [bank.name for bank in made.banks if bank.validates],
            "may_fail": made.assembled.may_fail,
            "grpc": {bank.name: bank.grpc for bank in made.banks},
        },
    )
    session.output.say(f"Start it with: vostro network up {directory}")


@app.command("up")
def up(
    ctx: typer.Context,
    directory: DirectoryArgument,
    banks: BanksArgument = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return once the nodes serve; they go on without this terminal.")
    ] = False,
) -> None:
    """Run the nodes of a network, all or some, each a process of its own, and show how they stand.

    Without --detach they end with Ctrl-C, and with this process whatever becomes of it.

    Example: `vostro network up demo`
    """
    from node.network.local import read_network
    from node.network.processes import pid_of

    session = session_of(ctx)
    with refusals():
        network = read_network(directory)
        chosen = [network.bank(name) for name in banks] if banks else list(network.banks)
        chosen = [bank for bank in chosen if pid_of(network, bank) is None]
        if detach:
            _up_detached(session.output, network, chosen)
        else:
            asyncio.run(_up(session.output, network, chosen))


@app.command("status")
def status(
    ctx: typer.Context,
    directory: DirectoryArgument,
    watch: Annotated[bool, typer.Option("--watch", help="Go on, once a second, until Ctrl-C.")] = False,
) -> None:
    """Show how every node stands: its last header's height and app hash, peers, load, role.

    Exit code 3: not all of them serve.
    """
    from node.network.local import read_network

    session = session_of(ctx)
    with refusals():
        network = read_network(directory)
        found = asyncio.run(_status(session.output, network, watch=watch))
    if any(standing.state != "serving" for standing in found):
        raise Failure(Exit.UNAVAILABLE, "not every node serves")


@app.command("logs")
def logs(
    ctx: typer.Context,
    directory: DirectoryArgument,
    banks: BanksArgument = None,
    lines: Annotated[int, typer.Option(help="Of each bank's node.", min=1)] = 20,
) -> None:
    """Show the end of the nodes' logs.

    CometBFT's own is DIR/BANK/comet/comet.log.

    Example: `vostro network logs demo bank-a`
    """
    from node.network.local import read_network
    from node.network.processes import log_tail

    output = session_of(ctx).output
    with refusals():
        network = read_network(directory)
        chosen = [network.bank(name) for name in banks] if banks else network.banks
    told = {bank.name: log_tail(bank, 400 * lines).splitlines()[-lines:] for bank in chosen}
    if output.is_json:
        output.json(told)
        return
    for bank in chosen:
        for line in told[bank.name]:
            print(f"{bank.name}  {line}")


@app.command("down")
def down(ctx: typer.Context, directory: DirectoryArgument, banks: BanksArgument = None) -> None:
    """End the nodes of a network, all or some: what they accepted is decided first, if a quorum is there.

    Only processes that `vostro network up` started are ended.
    """
    from node.network.local import read_network
    from node.network.processes import stop

    session = session_of(ctx)
    with refusals():
        network = read_network(directory)
        chosen = [network.bank(name) for name in banks] if banks else network.banks
        told = stop(network, chosen)
    session.output.rows(
        "Down",
        {"bank": "Bank", "outcome": "Outcome"},
        [{"bank": bank.name, "outcome": told[bank.name]} for bank in chosen],
    )


def _up_detached(output: Output, network: "LocalNetwork", banks: "Sequence[LocalBank]") -> None:
    from node.network.processes import start, stop

    begun: list[LocalBank] = []
    try:
        for bank in banks:
            start(network, bank, detached=True)
            begun.append(bank)
        found = asyncio.run(_ready(network))
    except BaseException:
        stop(network, begun)
        raise
    _show(output, network, found)
    if any(standing.state != "serving" for standing in found):
        raise Failure(Exit.UNAVAILABLE, "not every node serves: see `vostro network logs`")


async def _ready(network: "LocalNetwork") -> "list[Standing]":
    """Once every node that runs serves."""
    from node.network.processes import pid_of
    from node.network.watch import Watch

    running = [bank for bank in network.banks if pid_of(network, bank) is not None]
    async with Watch(network) as watch:
        await watch.wait_serving(running)
        return await watch.look()


async def _up(output: Output, network: "LocalNetwork", banks: "Sequence[LocalBank]") -> None:
    """Start, show, and end all that was started here: by a signal, or once nothing of it is left."""
    from node.network.processes import ended_with, pid_of, start
    from node.network.watch import Watch

    over = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, over.set)
    with ended_with(network, banks):
        children = [start(network, bank, detached=False) for bank in banks]
        output.say(f"Starting {', '.join(bank.name for bank in banks)}; Ctrl-C ends them.")
        async with Watch(network) as watch:
            ready = asyncio.create_task(watch.wait_serving(banks))
            ended = asyncio.create_task(over.wait())
            await asyncio.wait([ready, ended], return_when=asyncio.FIRST_COMPLETED)
            if not ready.done():
                ready.cancel()
                return
            ready.result()

            def goes_on() -> bool:
                for child in children:
                    child.poll()
                return not over.is_set() and any(pid_of(network, bank) is not None for bank in banks)

            await _follow(output, network, watch, goes_on, ended)
            ended.cancel()
        output.say("Stopping.")


async def _follow(
    output: Output,
    network: "LocalNetwork",
    watch: "Watch",
    goes_on: Callable[[], bool],
    ended: "asyncio.Future[Any]",
) -> "list[Standing]":
    """Show how the nodes stand while it goes on: on a terminal once a second in one place, else once."""
    found = await watch.look()
    if output.is_json or not output.console.is_terminal:
        _show(output, network, found)
        while goes_on():
            await asyncio.wait([ended], timeout=LOOK_SECONDS)
        return found
    with Live(_table(network, found), console=output.console, auto_refresh=False) as live:
        while goes_on():
            await asyncio.wait([ended], timeout=LOOK_SECONDS)
            found = await watch.look()
            live.update(_table(network, found), refresh=True)
    return found


async def _status(output: Output, network: "LocalNetwork", *, watch: bool) -> "list[Standing]":
    from node.network.watch import Watch

    async with Watch(network) as nodes:
        if watch and output.console.is_terminal and not output.is_json:
            never = asyncio.get_running_loop().create_future()
            return await _follow(output, network, nodes, lambda: True, never)
        while True:
            found = await nodes.look()
            _show(output, network, found)
            if not watch:
                return found
            await asyncio.sleep(LOOK_SECONDS)


def _show(output: Output, network: "LocalNetwork", found: "Sequence[Standing]") -> None:
    output.rows(_title(network), COLUMNS, [_row(standing) for standing in found], numbers=NUMBERS)
    if not output.is_json:
        for line in _alarms(found):
            output.say(line)


def _table(network: "LocalNetwork", found: "Sequence[Standing]") -> Group:
    table = table_of(_title(network), COLUMNS, [_row(standing) for standing in found], numbers=NUMBERS)
    return Group(table, *[Text(line) for line in _alarms(found)])


def _title(network: "LocalNetwork") -> str:
    return f"{network.assembled.network.name}, chain {network.assembled.network.chain.hex()[:16]}"


def _alarms(found: "Sequence[Standing]") -> list[str]:
    return [f"{standing.bank}: {alarm}" for standing in found for alarm in standing.alarms[-ALARMS_SHOWN:]]


def _row(standing: "Standing") -> Row:
    return {
        "bank": standing.bank,
        "pid": standing.pid,
        "state": standing.state,
        "role": standing.role,
        "height": standing.height,
        "app_hash": standing.app_hash,
        "decided": standing.decided,
        "peers": standing.peers,
        "rate": None if standing.rate is None else f"{standing.rate:.1f}",
        "pending": standing.pending,
        "alarms": list(standing.alarms),
    }
