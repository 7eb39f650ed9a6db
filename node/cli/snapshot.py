"""``vostro snapshot`` and ``vostro prune``: one height's state in chunks that prove themselves, and a log
that need not keep every block for ever.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from node.cli.output import Exit, Failure, when
from node.cli.session import Session, session_of
from node.storage.errors import StorageCode, StorageError
from node.storage.sharded import ShardedStore
from node.storage.snapshots import KEPT

app = typer.Typer(no_args_is_help=True, help="Snapshots of a stopped node: create, list, verify.")


@app.command("create")
def create(
    ctx: typer.Context,
    keep: Annotated[int, typer.Option(help="Keep so many, the newest; remove older ones.", min=1)] = KEPT,
) -> None:
    """Make a snapshot of the last block. Stop the node first.

    Every node makes the same bytes at the same height; another node can be begun with them, damaged shards
    are rebuilt from them, and blocks below them can be pruned.

    Example: `vostro --config node/node.toml snapshot create`
    """
    session = session_of(ctx)
    with _store(session) as store:
        made = store.make_snapshot(share=1, keep=keep)
    fields = {"height": made.height, "chunks": made.chunks, "hash": made.hash}
    session.output.record("Snapshot made", fields)


@app.command("list")
def list_(ctx: typer.Context) -> None:
    """List the snapshots, newest first."""
    session = session_of(ctx)
    with _store(session) as store:
        rows = [
            {"height": one.height, "format": one.format, "chunks": one.chunks, "hash": one.hash}
            for one in store.snapshots()
        ]
    columns = {"height": "Height", "format": "Format", "chunks": "Chunks", "hash": "Hash"}
    session.output.rows("Snapshots", columns, rows, numbers=("height", "format", "chunks"))


@app.command("verify")
def verify(
    ctx: typer.Context,
    height: Annotated[int | None, typer.Argument(help="Of the snapshot; default the newest.")] = None,
) -> None:
    """Prove every byte of a snapshot against the log's header. Exit code 4: something differs."""
    session = session_of(ctx)
    with _store(session) as store:
        newest = next((one.height for one in store.snapshots()), 0)
        try:
            plan = store.checked_snapshot(newest if height is None else height)
        except StorageError as error:
            if error.error is StorageCode.SNAPSHOT_DAMAGED:
                raise Failure(Exit.UNVERIFIED, str(error)) from error
            raise
    fields = {
        "height": plan.header.height,
        "time": when(plan.header.time_ms),
        "app_hash": plan.app_hash,
        "state_root": plan.header.state_root,
        "chunks": plan.chunks,
    }
    session.output.record("Verified", fields)


def prune(
    ctx: typer.Context,
    keep_from: Annotated[int, typer.Option("--keep-from", help="The lowest height to keep.", min=1)],
) -> None:
    """Drop all blocks below a height, behind a snapshot that is proved first. Stop the node first.

    Receipt files of dropped blocks still verify, but no node can make another from this directory: export
    or back up first what auditors may ask for.

    Example: `vostro --config node/node.toml prune --keep-from 1000000`
    """
    session = session_of(ctx)
    with _store(session) as store:
        dropped = store.prune(keep_from)
        base = store.log.base
    session.output.record("Pruned", {"blocks": dropped, "kept_from": base.height + 1 if base else 0})


@contextmanager
def _store(session: Session) -> Iterator[ShardedStore]:
    """The data directory, which no node may have open."""
    from node.genesis_file import load_genesis
    from node.ledger.genesis import suite_of

    genesis = load_genesis(session.config.genesis)
    with ShardedStore.open(
        session.config.data_dir, suite_of(genesis), lifetime_ms=genesis.limits.lifetime_ms
    ) as store:
        yield store
