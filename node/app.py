"""The composition root: the only file that knows all parts. store -> ledger -> engine -> services.

Read it top-down to learn what a node is made of. Disk, keys and index are reached through Protocols that
their users declare; the ledger is used as it is.
"""

import asyncio
import gc
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import structlog

from contracts import assemble
from node.config import NodeConfig
from node.engine.embedded import EmbeddedEngine
from node.engine.indexer import Indexer
from node.engine.sequencer import Sequencer
from node.genesis_file import load_genesis
from node.keys.files import check_private
from node.keys.keystore import load_signer, read_passphrase
from node.keys.verify import VERIFIERS, CachedVerifier
from node.keys.workers import VerifyWorkers
from node.ledger import codec
from node.ledger.genesis import suite_of
from node.ledger.ledger import Ledger
from node.ledger.types import Event, Genesis
from node.logs import configure_logs
from node.metrics import NodeMetrics, serve_metrics
from node.receipts.build import build_receipt_file
from node.services.server import Parts, build_server
from node.storage import layout
from node.storage.backup import write_backup
from node.storage.index import Index, Movement
from node.storage.sharded import Budget, ShardedStore

MIB = 1024 * 1024
VERDICTS_MAX = 100_000
"""Signatures whose verdict is remembered, so that each is verified once."""


VERSION = version("vostro")
GRACE_SECONDS = 5.0
"""How long calls under way may take to finish when the node stops."""

log = structlog.get_logger("vostro.node")


class NodeHalted(Exception):
    """The node met what must never happen and has stopped; the text is its last alarm."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A node's parts without its engine: what an offline command works on."""

    config: NodeConfig
    genesis: Genesis
    store: ShardedStore
    ledger: Ledger
    verifier: CachedVerifier

    def close(self) -> None:
        """Close what is open."""
        self.store.close()


@dataclass(frozen=True, slots=True)
class Node:
    """A running node, for whoever serves it."""

    opened: Opened
    engine: EmbeddedEngine
    index: Index | None
    indexer: Indexer | None
    workers: VerifyWorkers | None


def open_offline(config: NodeConfig) -> Opened:
    """Open the data directory, made first if there is none, and the ledger above it.

    Raises GenesisRefused, StorageError, InvariantViolated, FileExposed where others can use the directory.
    """
    genesis = load_genesis(config.genesis)
    suite = suite_of(genesis)
    budget = Budget(
        cache_bytes=config.leveldb_mb * MIB,
        write_buffer_bytes=config.leveldb_mb * MIB // 4,
        reserve_bytes=config.disk_reserve_mb * MIB,
    )
    if not config.data_dir.exists() or not any(config.data_dir.iterdir()):
        document = codec.encode(genesis)
        ShardedStore.create(config.data_dir, suite, shards=config.shards, genesis=document).close()
    check_private(config.data_dir)
    store = ShardedStore.open(config.data_dir, suite, budget=budget, lifetime_ms=genesis.limits.lifetime_ms)
    try:
        verifier = CachedVerifier(VERIFIERS[genesis.suite](), VERDICTS_MAX)
        leaf_bytes = config.leaf_cache_mb * MIB
        ledger = Ledger(
            genesis, assemble, store, verifier, records=config.cache_records, leaf_bytes=leaf_bytes
        )
    except BaseException:
        store.close()
        raise
    return Opened(config, genesis, store, ledger, verifier)


@asynccontextmanager
async def running(config: NodeConfig) -> AsyncIterator[Node]:
    """A node that decides, until the block is left. Raises what ``open_offline`` raises, SequencerRefused and
    KeystoreError.
    """
    for path in (config.sequencer_key, config.last_signed):
        if path.exists():  # a missing one is told where it is needed
            check_private(path)
    signer = load_signer(config.sequencer_key, read_passphrase(config.sequencer_passphrase_file))
    opened = open_offline(config)
    store, ledger = opened.store, opened.ledger
    index = (
        Index(config.data_dir / layout.INDEX, movements_of, blocks=store.durable_count)
        if config.index
        else None
    )
    workers = VerifyWorkers(ledger.suite.name, config.verify_workers) if config.verify_workers else None
    try:
        sequencer = Sequencer(signer, ledger.chain.chain_id, config.last_signed)
        engine = EmbeddedEngine(
            ledger, store, opened.verifier, workers, sequencer, queue_max=config.queue_max, index=index
        )
        for report in [*store.reports, *(index.reports if index else [])]:
            engine.alarm(report)
        if workers:
            await workers.start()
        await engine.start()
        indexer = Indexer(index, store, engine, engine.alarm) if index else None
        if indexer:
            indexer.start()
        try:
            yield Node(opened, engine, index, indexer, workers)
        finally:
            await engine.stop()
            if indexer:
                await indexer.stop()
    finally:
        if workers:
            await workers.close()
        if index:
            index.close()
        opened.close()


def movements_of(event: Event) -> Iterator[Movement]:
    """What an event did to accounts; nothing where this release does not know the event."""
    decode = _FACTS.get((event.contract, event.event))
    if decode is None:
        return
    for account, asset, amount, counterparty, reference in decode(event.fields).movements():
        yield Movement(account, asset, amount, event.event, counterparty, reference)


_FACTS = {(c.name, fact.__name__): codec.trusted_decoder(fact) for c in assemble() for fact in c.facts}


async def run_node(config: NodeConfig) -> None:
    """Serve until SIGTERM or SIGINT, or until the node halts. Raises NodeHalted for the latter."""
    configure_logs(config.log_level)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with running(config) as node:
        metrics = metrics_of(node)
        face = build_server(config, parts_of(node), metrics.observe, node.engine.halt)
        metrics.doors = face.doors
        stop_metrics = serve_metrics(config.metrics_listen, metrics) if config.metrics_listen else None
        await face.start()
        gc.freeze()  # what is open now stays; the engine collects between blocks
        gc.disable()
        log.info("serving", listen=config.listen, height=node.engine.status().height, version=VERSION)
        ends = [asyncio.create_task(event.wait()) for event in (stop, node.engine.halted)]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        log.info("stopping", height=node.engine.status().height)
        await face.stop(GRACE_SECONDS)
        if stop_metrics:
            stop_metrics()
        if node.engine.halted.is_set():
            raise NodeHalted(node.engine.status().alarms[-1])


def parts_of(node: Node) -> Parts:
    """What the services serve."""
    store, ledger = node.opened.store, node.opened.ledger

    def receipt_file(height: int, index: int) -> dict[str, Any]:
        members: Any = ledger.readers["members"]
        sources: dict[str, Any] = {
            "genesis": ledger.genesis,
            "blocks": store,
            "keys": members.key,
            "history": ledger,
        }
        return build_receipt_file(height, index, **sources)

    def backup(write: Callable[[bytes], None]) -> dict[str, Any]:
        summary = asdict(write_backup(store, write))
        del summary["genesis"]  # it is in the stream
        return summary

    return Parts(
        engine=node.engine,
        ledger=ledger,
        blocks=store,
        index=node.index,
        receipt_file=receipt_file,
        backup=backup,
        version=VERSION,
    )


def metrics_of(node: Node) -> NodeMetrics:
    """The figures of a running node."""
    return NodeMetrics(
        node.engine,
        free_bytes=node.opened.store.free_bytes,
        index=node.index,
        restarts=lambda: node.workers.restarts if node.workers else 0,
    )
