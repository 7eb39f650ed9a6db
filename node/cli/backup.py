"""``vostro backup``: the whole chain in one file, made while the node runs, checked without it, restored
elsewhere.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO

import typer
from rich.progress import DownloadColumn, Progress, TextColumn, TimeElapsedColumn

from node.cli.output import Exit, Failure, Output, local, usage, when
from node.cli.session import session_of
from node.cli.verify import verify_directory
from node.ledger.genesis import decode_genesis, suite_of
from node.storage.backup import Summary, restore_backup, suite_of_backup, verify_backup, write_backup
from node.storage.errors import StorageCode, StorageError
from node.storage.shards import SHARDS_DEFAULT

app = typer.Typer(no_args_is_help=True, help="Backups: create, verify, restore.")

PathArgument = Annotated[Path, typer.Argument(help="The backup file.")]


@app.command("create")
def create(
    ctx: typer.Context,
    path: PathArgument,
    offline: Annotated[
        bool,
        typer.Option("--offline", help="Read the stopped node's directory instead of asking a running node."),
    ] = False,
) -> None:
    """Write a backup to a new file, by default while the node runs.

    The last-signed record and the keys are no part of it: keep keys apart, and never restore an old
    last-signed record.

    Example: `vostro --config node/node.toml backup create vostro-2026-01-31.backup`
    """
    session = session_of(ctx)
    beside = path.with_name(path.name + ".part")
    if path.exists():
        raise local(f"{path} exists already: name a new file")
    with _bar(session.output, "Backing up") as advance, beside.open("wb") as file:
        if offline:
            _offline(session.config.data_dir, session.config.genesis, file, advance)
        else:
            with session.client() as client:
                for chunk in client.backup():
                    file.write(chunk)
                    advance(file.tell())
        file.flush()
        os.fsync(file.fileno())
    with beside.open("rb") as file:
        summary = _checked(session.output, file)
    beside.rename(path)
    _show(session.output, "Backed up and verified", path, summary)


@app.command("verify")
def verify(ctx: typer.Context, path: PathArgument) -> None:
    """Check a backup from its first byte to its last: frames, hashes, the chain of headers, all roots."""
    session = session_of(ctx)
    with path.open("rb") as file:
        _show(session.output, "Verified", path, _checked(session.output, file))


@app.command("restore")
def restore(
    ctx: typer.Context,
    path: PathArgument,
    data: Annotated[Path, typer.Argument(help="The new data directory; new or empty.")],
    shards: Annotated[int, typer.Option(help="LevelDBs behind the state.", min=1, max=256)] = SHARDS_DEFAULT,
    recompute: Annotated[
        bool, typer.Option(help="Recompute the whole chain, as `vostro verify` does, before it is trusted.")
    ] = True,
) -> None:
    """Make a data directory from a backup, with the same app hash; every signature, receipt and certificate
    is checked by recomputing the chain.

    A sequencer goes on only above what it signed last: keep its last-signed record, which is in no backup,
    and restore a backup that reaches it. `vostro backup adopt` is for the case that the record is lost.

    Example: `vostro backup restore vostro-2026-01-31.backup node/data`
    """
    session = session_of(ctx)
    with path.open("rb") as file, _bar(session.output, "Restoring") as advance:
        summary = _translated(
            lambda: restore_backup(file, data, suite_of_backup(file), shards=shards, progress=advance)
        )
    if recompute:
        verify_directory(session.output, data, decode_genesis(summary.genesis))
    _show(session.output, "Restored", data, summary)


@app.command("adopt")
def adopt(
    ctx: typer.Context,
    yes: Annotated[
        bool, typer.Option("--yes", help="Nobody holds a block above this directory's head.")
    ] = False,
) -> None:
    """Make a lost last-signed record anew, at the head of the data directory: the sequencer will sign above
    it.

    Only when the old node is lost for good: if anybody holds a certificate of a later block, signing on
    from here makes two histories, and both verify.

    Example: `vostro --config node/node.toml backup adopt --yes`
    """
    from node.engine.sequencer import Sequencer
    from node.genesis_file import load_genesis
    from node.ledger.genesis import chain_id
    from node.storage.sharded import ShardedStore

    session = session_of(ctx)
    if not yes:
        raise usage("say --yes if nobody holds a block above this directory's head")
    config = session.config
    genesis = load_genesis(config.genesis)
    with ShardedStore.open(
        config.data_dir, suite_of(genesis), lifetime_ms=genesis.limits.lifetime_ms
    ) as store:
        head = store.head()
    if head is None:
        raise local(f"{config.data_dir} holds no block")
    try:
        Sequencer.create_record(config.sequencer.last_signed, chain_id(genesis), head.height, head.app_hash)
    except FileExistsError as error:
        raise local(f"{config.sequencer.last_signed} exists: the record is not lost") from error
    session.output.record(
        "Adopted",
        {"height": head.height, "app_hash": head.app_hash, "last_signed": str(config.sequencer.last_signed)},
    )


def _offline(data: Path, genesis_file: Path, file: BinaryIO, advance: Callable[[int], None]) -> None:
    from node.genesis_file import load_genesis
    from node.storage.sharded import ShardedStore

    genesis = load_genesis(genesis_file)
    with ShardedStore.open(data, suite_of(genesis), lifetime_ms=genesis.limits.lifetime_ms) as store:
        write_backup(store, file.write, lambda _done, _all: advance(file.tell()))


def _checked(output: Output, file: BinaryIO) -> Summary:
    with _bar(output, "Verifying") as advance:
        return _translated(lambda: verify_backup(file, suite_of_backup(file), advance))


def _translated(work: Callable[[], Summary]) -> Summary:
    """A damaged backup is something that does not verify."""
    try:
        return work()
    except StorageError as error:
        if error.error is StorageCode.BACKUP_DAMAGED:
            raise Failure(Exit.UNVERIFIED, str(error)) from error
        raise


def _show(output: Output, title: str, path: Path, summary: Summary) -> None:
    output.record(
        title,
        {
            "path": str(path),
            "blocks": summary.blocks,
            "transactions": summary.transactions,
            "height": summary.head_height,
            "time": when(summary.head_time_ms),
            "app_hash": summary.head_app_hash,
            "bytes": summary.stream_bytes,
        },
    )


@contextmanager
def _bar(output: Output, what: str) -> Iterator[Callable[[int], None]]:
    bar = Progress(
        TextColumn("{task.description}"), DownloadColumn(), TimeElapsedColumn(), console=output.errors
    )
    with bar:
        task = bar.add_task(what, total=None)
        yield lambda done: bar.update(task, completed=done)
