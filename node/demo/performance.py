"""What both plays have in common: the orders, a place to play, a node's address, and the chain recomputed at
the end.
"""

import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from node.cli.output import Output, usage
from node.cli.replay import Replayed
from node.cli.verify import verify_directory
from node.client import Client
from node.demo.child import ChildFailed, free_port
from node.demo.consortium import Consortium, DemoFailed
from node.demo.orders import Order, generated_day, read_orders
from node.demo.stage import Stage
from node.ledger.hashing import Suite

CONNECT_SECONDS: Final = 60.0


class Performance(ABC):
    """One performance of a play."""

    def __init__(
        self, stage: Stage, place: Path, orders: Sequence[Order], source: str, seed: int, suite: Suite
    ) -> None:
        """seed: of whatever a play generates beside its orders."""
        self.stage = stage
        self.place = place
        self.orders = orders
        self.source = source
        self.seed = seed
        self.suite = suite
        self.listen = f"127.0.0.1:{free_port()}"

    @abstractmethod
    def run(self) -> None:
        """All acts, in order. Raises DemoFailed, Failure, OSError."""

    def connect(self, cast: Consortium) -> Awaitable[Client]:
        """A client of the play's node."""
        return Client.connect(self.listen, chain_id=cast.node.chain_id, seconds=CONNECT_SECONDS)

    def recompute(self, cast: Consortium, app_hash: bytes) -> Replayed:
        """The whole chain from its log, once the node has been stopped. Raises DemoFailed where it does not
        end with the hash that the node told last.
        """
        with self.stage.step("The whole chain is recomputed from its log") as step:
            replayed = verify_directory(self.stage.output, cast.node.path / "data", cast.node.genesis)
            count = f"{replayed.blocks:,} blocks, {replayed.transactions:,} transactions"
            step.told = f"{count}, every root and certificate"
        if replayed.app_hash != app_hash:
            raise DemoFailed("the recomputed app hash is not the one that the node told last")
        return replayed


def perform(
    play: type[Performance],
    output: Output,
    *,
    orders: Path | None,
    directory: Path | None,
    keep: bool,
    seed: int,
    suite: Suite,
) -> None:
    """Play. orders: a file, or None for the generated day. directory: new or empty, or None for a temporary
    one. suite: the chain's cryptography.

    Raises: DemoFailed, BadOrders, Failure, OSError.
    """
    day = read_orders(orders) if orders else generated_day(seed)
    source = str(orders) if orders else f"generated from seed {seed} (docs/demonstration.md)"
    stage = Stage(output)
    with _place_of(stage, directory, keep=keep) as place:
        play(stage, place, day, source, seed, suite).run()


@contextmanager
def _place_of(stage: Stage, directory: Path | None, *, keep: bool) -> Iterator[Path]:
    """Where to play, gone afterwards unless it was named, is to be kept, or what was played there failed.
    Raises: DemoFailed, Failure, OSError.
    """
    place = _place(directory)
    try:
        yield place
    except (ChildFailed, DemoFailed) as error:
        keep = True  # whoever looks for the reason finds it there
        raise DemoFailed(str(error)) from error
    finally:
        if keep or directory:
            stage.note(f"Kept in {place}")
        else:
            shutil.rmtree(place, ignore_errors=True)


def _place(directory: Path | None) -> Path:
    if directory is None:
        return Path(tempfile.mkdtemp(prefix="vostro-demo-"))
    if directory.exists() and any(directory.iterdir()):
        raise usage(f"{directory} is not empty: name a directory that is new or empty")
    directory.mkdir(parents=True, exist_ok=True)
    return directory
