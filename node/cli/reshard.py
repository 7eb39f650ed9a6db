"""``vostro reshard``: another number of LevelDBs behind the state."""

from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from node.cli.session import session_of


def reshard(
    ctx: typer.Context, shards: Annotated[int, typer.Argument(help="1 to 256.", min=1, max=256)]
) -> None:
    """Spread the state over another number of shards. Stop the node first; no hash changes.

    Example: `vostro --config node/node.toml reshard 16`
    """
    from node.genesis_file import load_genesis
    from node.ledger.genesis import suite_of
    from node.storage import reshard as storage

    session = session_of(ctx)
    config = session.config
    suite = suite_of(load_genesis(config.genesis))
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=session.output.errors
    )
    with bar:
        task = bar.add_task("Re-sharding", total=None)
        rows = storage.reshard(
            config.data_dir, suite, shards, lambda done, all_: bar.update(task, completed=done, total=all_)
        )
    session.output.record("Re-sharded", {"shards": shards, "records": rows})
