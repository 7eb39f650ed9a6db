"""``vostro verify``: the whole chain recomputed from its log."""

import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from node.cli.output import Exit, Failure, Output
from node.cli.replay import Disagreement, Replayed, replay
from node.cli.session import session_of
from node.ledger.errors import Category
from node.ledger.types import Genesis
from node.storage.errors import StorageError
from node.storage.sharded import ShardedStore


def verify(
    ctx: typer.Context,
    scratch: Annotated[
        Path | None,
        typer.Option(help="Where to recompute, with as much room as the ledger has; default the system's."),
    ] = None,
) -> None:
    """Recompute the whole chain from genesis and compare every receipt, root, app hash and certificate with
    the log. Where blocks were pruned, recompute from the oldest snapshot that is here, and say so.

    Stop the node first, or copy or restore a backup elsewhere and verify that. Exit code 4: something
    differs.

    Example: `vostro --config node/node.toml verify`
    """
    from node.genesis_file import load_genesis

    session = session_of(ctx)
    config = session.config
    started = time.monotonic()
    found = verify_directory(session.output, config.data_dir, load_genesis(config.genesis), scratch)
    seconds = time.monotonic() - started
    fields = {
        "recomputed_from": "genesis"
        if found.snapshot is None
        else f"the snapshot at height {found.snapshot}; older blocks are pruned or only linked",
        "blocks": found.blocks,
        "transactions": found.transactions,
        "height": found.height,
        "app_hash": found.app_hash,
        "state_root": found.state_root,
        "seconds": f"{seconds:.1f}",
    }
    session.output.record("Everything agrees", fields)


def verify_directory(output: Output, data: Path, genesis: Genesis, scratch: Path | None = None) -> Replayed:
    """Recompute a data directory that no node has open, with a progress bar. Raises Failure, StorageError."""
    from node.ledger.genesis import suite_of

    try:
        store = ShardedStore.open(data, suite_of(genesis), lifetime_ms=genesis.limits.lifetime_ms)
    except StorageError as error:
        if error.error.category is Category.CORRUPTED:
            raise Failure(Exit.UNVERIFIED, str(error)) from error
        raise
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    shown = output.errors.is_terminal  # elsewhere a bar that goes leaves an empty line
    bar = Progress(*columns, console=output.errors, transient=True, disable=not shown)
    try:
        with bar, tempfile.TemporaryDirectory(prefix="vostro-verify-", dir=scratch) as place:
            task = bar.add_task("Recomputing blocks", total=store.durable_count - store.first_position)
            return replay(
                store,
                genesis,
                Path(place) / "ledger",
                lambda blocks, _transactions: bar.update(task, completed=blocks),
            )
    except Disagreement as error:
        raise Failure(Exit.UNVERIFIED, str(error)) from error
    finally:
        store.close()
