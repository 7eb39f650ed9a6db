"""``vostro blocks``: the chain's headers and what a block holds."""

from contextlib import ExitStack
from typing import Annotated, Any

import typer

from node.cli.compare import OTHERS, ROOTS, Headers, NodeHeaders, first_difference, kept_headers
from node.cli.output import when
from node.cli.session import session_of, unverified
from node.client import BlockingClient, Head, Refused
from node.client.describe import event_fields
from node.client.outcome import decode_receipt

app = typer.Typer(no_args_is_help=True, help="Blocks: list, look inside, follow.")


@app.command("list")
def list_(
    ctx: typer.Context,
    first: Annotated[
        int | None, typer.Option("--from", help="From this height on; default the newest.", min=0)
    ] = None,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1, max=10_000)] = 20,
) -> None:
    """List headers. Heights may skip: a quiet block has none."""
    session = session_of(ctx)
    with session.client() as client:
        heads = _newest(client, limit) if first is None else client.headers(first, limit)
    columns = {"height": "Height", "time": "Time", "transactions": "Transactions", "app_hash": "App hash"}
    session.output.rows("Blocks", columns, [_row(head) for head in heads], numbers=("height", "transactions"))


@app.command("show")
def show(
    ctx: typer.Context, height: Annotated[int, typer.Argument(help="A height that has a header.", min=0)]
) -> None:
    """Show a block: its commitments and its receipts."""
    session = session_of(ctx)
    with session.client() as client:
        block = client.block(height)
    receipts = [decode_receipt(encoded) for encoded in block.receipts]
    rows: list[dict[str, Any]] = [
        {
            "index": receipt.index,
            "tx_id": receipt.tx_id,
            "code": f"{receipt.codespace}/{receipt.code}" if receipt.code else "",
            "outcome": "refused" if receipt.code else "applied",
            "events": [event_fields(event) for event in receipt.events],
        }
        for receipt in receipts
    ]
    head = _row(block.head) | {
        "previous_app_hash": block.head.previous_app_hash,
        "history_root": block.head.history_root,
        "transactions_root": block.head.transactions_root,
        "receipts_root": block.head.receipts_root,
        "state_root": block.head.state_root,
        "authority_root": block.head.authority_root,
        "certificate": block.head.certificate,
    }
    if session.output.is_json:
        session.output.json(head | {"receipts": rows})
        return
    session.output.record(f"Block {height}", head)
    for row in rows:
        row["events"] = [entry["event"] for entry in row["events"]]
    columns = {
        "index": "Index",
        "tx_id": "Transaction",
        "outcome": "Outcome",
        "code": "Code",
        "events": "Events",
    }
    session.output.rows("Receipts", columns, rows, numbers=("index",))


@app.command("follow")
def follow(
    ctx: typer.Context,
    first: Annotated[
        int | None, typer.Option("--from", help="From this height on; default the newest.", min=0)
    ] = None,
    limit: Annotated[int, typer.Option(help="End after so many; 0: never.", min=0)] = 0,
) -> None:
    """Show headers as they become durable, one a line; goes on after a cut. End with Ctrl-C."""
    session = session_of(ctx)
    with session.client() as client:
        start = client.status().height + 1 if first is None else first
        heads = client.follow_blocks(start)
        for count, head in enumerate(heads, 1):
            if session.output.is_json:
                session.output.line(_row(head))
            else:
                place = f"{head.height:>10}  {when(head.time_ms)}"
                session.output.console.print(
                    f"{place}  {head.transaction_count:>6} tx  {head.app_hash.hex()}"
                )
            if count == limit:
                break


@app.command("compare")
def compare(
    ctx: typer.Context,
    other: Annotated[str, typer.Argument(help="host:port of the other node.")],
    offline: Annotated[
        bool, typer.Option(help="Read the configuration's data directory, whose node is stopped.")
    ] = False,
) -> None:
    """Find the first header that differs between this node and another, and say in which root.

    Exit code 4: one differs.

    Example: `vostro --config node/node.toml blocks compare bank-b.example:7600 --offline`
    """
    session = session_of(ctx)
    with ExitStack() as stack:
        mine: Headers
        if offline:
            mine = stack.enter_context(kept_headers(session.config))
        else:
            mine = NodeHeaders(stack.enter_context(session.client()))
        client = stack.enter_context(BlockingClient.connect(other, tls=session.tls, seconds=session.seconds))
        theirs = NodeHeaders(client)
        difference = first_difference(mine, theirs)
        last = min(mine.height, theirs.height)
    if difference is None:
        session.output.record("The same", {"up_to_height": last, "other": other})
        return
    rows = [
        {
            "what": told,
            "here": getattr(difference.mine, field, "quiet: no header"),
            "there": getattr(difference.theirs, field, "quiet: no header"),
            "differs": "yes"
            if told in difference.roots or None in (difference.mine, difference.theirs)
            else "",
        }
        for field, told in {**ROOTS, **OTHERS}.items()
    ]
    columns = {"what": "What", "here": "Here", "there": "There", "differs": "Differs"}
    session.output.rows(f"The first header that differs: height {difference.height}", columns, rows)
    told = " and ".join(difference.roots) if difference.roots else "one of the two has no header there"
    raise unverified(f"height {difference.height} differs: {told}")


def _newest(client: Any, limit: int) -> list[Head]:
    """The last headers, ascending: heights may skip, so the start is sought."""
    height = client.status().height
    span = limit
    while True:
        start = max(height - span + 1, 0)
        try:
            heads: list[Head] = client.headers(start, span)
        except Refused as refused:  # older ones were pruned
            if "kept_from" not in refused.details:
                raise
            kept: list[Head] = client.headers(int(refused.details["kept_from"]), span)
            return kept[-limit:]
        if len(heads) >= limit or start == 0:
            return heads[-limit:]
        span *= 4


def _row(head: Head) -> dict[str, Any]:
    return {
        "height": head.height,
        "time": when(head.time_ms),
        "transactions": head.transaction_count,
        "app_hash": head.app_hash,
        "protocol": head.protocol,
    }
