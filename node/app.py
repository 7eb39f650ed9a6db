"""The composition root: the only file that knows all parts. store -> ledger -> engine -> services.

Read it top-down to learn what a node is made of. Disk, keys and index are reached through Protocols that
their users declare; the ledger is used as it is.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import grpc
import structlog

from contracts import assemble
from node.config import ConfigError, ConsortiumConfig, NodeConfig
from node.engine.cometbft.abci import DecidedBlock
from node.engine.cometbft.certificates import ValidatorCertificates
from node.engine.cometbft.engine import CometEngine
from node.engine.cometbft.home import (
    HomeConfig,
    Peer,
    StateSync,
    load_initial_height,
    renew_settings,
)
from node.engine.cometbft.identity import hold_against_chain, hold_back, look_for_ourselves
from node.engine.cometbft.install import find_binary
from node.engine.cometbft.light import comet_chain_id
from node.engine.cometbft.rpc import RpcClient, RpcError
from node.engine.cometbft.signer import RemoteSigner, serve
from node.engine.cometbft.state_sync import Keeping, LedgerSnapshots
from node.engine.cometbft.supervisor import Comet, ExternalComet, Supervisor
from node.engine.cometbft.tunnel import PeerDoor, RpcTunnel, TunnelFailed, hold
from node.engine.custody import Desk, now_ms
from node.engine.embedded import EmbeddedEngine
from node.engine.indexer import Indexer
from node.engine.running import RunningLedger
from node.engine.sequencer import Sequencer
from node.engine.vault import Keeper
from node.engine.vault_door import VaultDoor
from node.garbage import collect_garbage
from node.genesis_file import load_genesis
from node.keys.custody_books import Books
from node.keys.custody_policy import load_policy
from node.keys.custody_queue import load_root
from node.keys.files import check_private
from node.keys.keystore import read_passphrase
from node.keys.loader import load_signer
from node.keys.verify import VERIFIERS, CachedVerifier
from node.keys.workers import VerifyWorkers
from node.ledger import codec
from node.ledger.errors import InvariantViolated
from node.ledger.genesis import suite_of
from node.ledger.ledger import Ledger
from node.ledger.types import Event, Genesis
from node.logs import configure_logs
from node.metrics import NodeMetrics, serve_metrics
from node.receipts.build import build_receipt_file
from node.services.server import Parts, build_server
from node.storage import layout
from node.storage.backup import write_backup
from node.storage.handovers import HandoverShelf
from node.storage.index import Index, Movement
from node.storage.sharded import Budget, ShardedStore
from node.storage.vault import VaultFiles

MIB = 1024 * 1024
VERDICTS_MAX = 100_000
"""Signatures whose verdict is remembered, so that each is verified once."""


VERSION = version("vostro")
COMET_LOG = "comet.log"
GRACE_SECONDS = 5.0
"""How long calls under way may take to finish when the node stops."""

log = structlog.get_logger("vostro.node")


class NodeHalted(Exception):
    """The node met what must never happen and has stopped; the text says what."""


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
    engine: RunningLedger
    certificates: ValidatorCertificates | None
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
    """A node that decides, until the block is left. Raises what ``open_offline`` raises, SequencerRefused,
    KeystoreError; and in a consortium HomeRefused, CometFailed, SocketRefused, InstallFailed.
    """
    for path in config.private_files:
        if path.exists():  # a missing one is told where it is needed
            check_private(path)
    start = consortium_start if config.consortium else sequencer_start
    opened = open_offline(config)
    store, ledger = opened.store, opened.ledger
    index = (
        Index(config.data_dir / layout.INDEX, movements_of, blocks=store.durable_count)
        if config.index
        else None
    )
    workers = VerifyWorkers(ledger.suite.name, config.verify_workers) if config.verify_workers else None
    try:
        if workers:
            await workers.start()
        engine, certificates = await start(opened, index, workers)
        for report in [*store.reports, *(index.reports if index else [])]:
            engine.alarm(report)
        indexer = Indexer(index, store, engine, engine.alarm) if index else None
        if indexer:
            indexer.start()
        try:
            yield Node(opened, engine, certificates, index, indexer, workers)
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


async def sequencer_start(
    opened: Opened, index: Index | None, workers: VerifyWorkers | None
) -> tuple[RunningLedger, None]:
    """Start the engine of a node by itself."""
    config, ledger = opened.config, opened.ledger
    files = config.sequencer
    signer = load_signer(files.key, files.passphrase_file)
    sequencer = Sequencer(signer, ledger.chain.chain_id, files.last_signed)
    engine = EmbeddedEngine(
        ledger, opened.store, opened.verifier, workers, sequencer, queue_max=config.queue_max, index=index
    )
    try:
        await engine.start()
    except BaseException:
        sequencer.close()
        raise
    return engine, None


async def consortium_start(
    opened: Opened, index: Index | None, workers: VerifyWorkers | None
) -> tuple[RunningLedger, ValidatorCertificates]:
    """Start the engine of a consortium's node, and its CometBFT."""
    config, ledger, store = opened.config, opened.ledger, opened.store
    consortium = config.consortium
    if consortium is None:
        raise InvariantViolated("a node without [consortium] has no CometBFT")
    peers = tuple([Peer.parse(text) for text in consortium.peers])
    doors = [PeerDoor(target, credentials_of(config)) for target in consortium.state_sync_peers]
    tunnels = [RpcTunnel(consortium.home / f"peer-{at}.sock", door.ask) for at, door in enumerate(doors)]
    admits = admitted(consortium, peers)
    settings = home_config(consortium, opened.genesis, peers, from_snapshot=begins_from_snapshot(store))
    home = renew_settings(consortium.home, settings)
    rpc = RpcClient(settings.rpc)
    witnesses: list[tuple[RemoteSigner, CometEngine]] = []
    store.snapshot_every = consortium.snapshot_blocks
    settled: list[Callable[[], int]] = [lambda: index.height] if index else []
    engine = CometEngine(
        ledger,
        store,
        opened.verifier,
        workers,
        signer=load_signer(consortium.node_key, consortium.node_passphrase_file),
        home=home.root,
        abci_socket=settings.abci,
        rpc=rpc,
        version=VERSION,
        queue_max=config.queue_max,
        peers=peers,
        admits=admits,
        index=index,
        snapshots=partial(LedgerSnapshots, ledger, store, Keeping(consortium.keep_blocks), settled),
        witness=partial(look_for_us, witnesses),
    )
    remote = remote_signer(consortium, ledger, engine)
    witnesses += [(remote, engine)] if remote else []
    comet: Comet = ExternalComet()
    if consortium.supervised:
        binary = find_binary(config.cometbft)
        log_file = consortium.home / COMET_LOG
        sockets = [settings.rpc, *([settings.signer] if settings.signer else [])]
        comet = Supervisor(binary, home, log_file, alarm=engine.alarm, sockets=sockets, said=engine.hear)
    certificates = ValidatorCertificates(
        rpc,
        store,
        HandoverShelf(config.data_dir),
        opened.verifier,
        opened.genesis,
        initial_height=load_initial_height(home),
        alarm=engine.alarm,
        rpc_errors=(RpcError, TunnelFailed),
        elders=[door.handovers for door in doors],
    )
    settled.append(lambda: certificates.settled)
    try:
        for tunnel in tunnels:
            await tunnel.start()
        beside = [hold(tunnels, doors)]
        if remote and settings.signer:
            hold_back(remote)
            beside += [serve(remote, settings.signer), hold_against_chain(remote, rpc, engine.alarm)]
        await engine.start(comet, certificates, *beside)
    except BaseException:
        await engine.stop()
        raise
    return engine, certificates


def remote_signer(consortium: ConsortiumConfig, ledger: Ledger, engine: CometEngine) -> RemoteSigner | None:
    """What votes for this node's validator where CometBFT's home does not hold the key. Raises GuardRefused,
    KeystoreError.
    """
    key, passphrase, record = (
        consortium.validator_key,
        consortium.validator_passphrase_file,
        consortium.validator_record,
    )
    if not (key and passphrase and record):
        return None
    loop = asyncio.get_running_loop()

    def alarm(text: str) -> None:
        loop.call_soon_threadsafe(engine.alarm, text)

    return RemoteSigner(load_signer(key, passphrase), comet_chain_id(ledger.chain.chain_id), record, alarm)


def look_for_us(witnesses: Sequence[tuple[RemoteSigner, CometEngine]], block: DecidedBlock) -> None:
    """What the chain shows of our validator's key."""
    for remote, engine in witnesses:
        look_for_ourselves(remote, engine.alarm, block)


def credentials_of(
    config: NodeConfig, certificate: Path | None = None, key: Path | None = None
) -> grpc.ChannelCredentials | None:
    """With what this node opens other nodes' doors: a certificate, or its own; None where all is on
    loopback.
    """
    certificate, key = certificate or config.tls_certificate, key or config.tls_key
    if not (config.tls_ca and key and certificate):
        return None
    return grpc.ssl_channel_credentials(
        config.tls_ca.read_bytes(), key.read_bytes(), certificate.read_bytes()
    )


def begins_from_snapshot(store: ShardedStore) -> bool:
    """Whether a node that may begin from a snapshot does: there is no block yet, or none above a snapshot
    that a crash kept CometBFT from hearing of. A CometBFT that has blocks does not ask for one.
    """
    return store.durable_count == 0 or store.durable_count == store.first_position > 0


def home_config(
    consortium: ConsortiumConfig, genesis: Genesis, peers: tuple[Peer, ...], *, from_snapshot: bool = False
) -> HomeConfig:
    """CometBFT's settings for a node. from_snapshot: begin from one, if the configuration names peers."""
    servers = tuple(
        [f"unix://{consortium.home / f'peer-{at}.sock'}" for at in range(len(consortium.state_sync_peers))]
    )
    state_sync = (
        StateSync(servers, consortium.trust_height, bytes.fromhex(consortium.trust_hash))
        if servers and from_snapshot
        else None
    )
    return HomeConfig(
        moniker=consortium.moniker,
        abci=consortium.home / "abci.sock",
        rpc=consortium.home / "rpc.sock",
        listen=consortium.listen,
        signer=consortium.home / "signer.sock" if consortium.validator_key else None,
        external=consortium.external,
        peers=peers,
        state_sync=state_sync,
        heartbeat_ms=genesis.limits.heartbeat_ms,
        timeout_propose_ms=consortium.timeout_propose_ms,
        filter_peers=consortium.closed,
    )


def admitted(consortium: ConsortiumConfig, peers: Sequence[Peer]) -> frozenset[str] | None:
    """The node ids whose CometBFT may connect; None: any that knows the chain."""
    return frozenset([*[peer.node_id for peer in peers], *consortium.guests]) if consortium.closed else None


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
        desk = open_custody(config, node)
        vault = open_vault(config, node)
        if vault:
            vault.start()
        metrics = metrics_of(node)
        face = build_server(config, parts_of(node, desk, vault), metrics.observe, node.engine.halt)
        metrics.doors, metrics.vault = face.doors, vault
        stop_metrics = serve_metrics(config.metrics_listen, metrics) if config.metrics_listen else None
        if desk:
            await desk.start()  # behind the doors, which know whose certificates are revoked
        await face.start()
        collecting = asyncio.create_task(collect_garbage(), name="garbage")
        log.info("serving", listen=config.listen, height=node.engine.status().height, version=VERSION)
        ends = [asyncio.create_task(event.wait()) for event in (stop, node.engine.halted)]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        log.info("stopping", height=node.engine.status().height)
        collecting.cancel()
        await face.stop(GRACE_SECONDS)
        if vault:
            await vault.stop()
        if desk:
            await desk.stop()
        if stop_metrics:
            stop_metrics()
        if node.engine.halted.is_set():
            raise NodeHalted(node.engine.halt_reason)


def open_custody(config: NodeConfig, node: Node) -> Desk | None:
    """The node's custody desk, not started; None where the configuration has none. Raises ConfigError,
    PolicyRefused, KeystoreError, AuditDamaged, QueueDamaged.
    """
    if not (config.custody_policy and config.custody_passphrase_file):
        return None
    ledger, passphrase = node.opened.ledger, config.custody_passphrase_file
    policy = load_policy(config.custody_policy, known_methods())
    if config.member and config.member != policy.member:
        raise ConfigError(f"the custody policy is of {policy.member}, but {config.member} runs this node")
    signers = [load_signer(reference, passphrase) for reference in config.custody_keys]
    root = load_root(config.custody_dir, read_passphrase(passphrase))
    books = Books(config.custody_dir, root, ledger.chain.chain_id, now_ms())
    return Desk(policy, books, ledger, node.engine, signers, config.custody_anchor_hours)


def open_vault(config: NodeConfig, node: Node) -> Keeper | None:
    """The node's vault, not started; None where other machines reach a node that is no member's: it would
    keep everybody's documents. Raises StorageError, FileExposed; OSError where a certificate cannot be read.
    """
    if config.tls_certificate and not config.member:
        log.warning("the node keeps no vault: its configuration names no member")
        return None
    ledger = node.opened.ledger
    reserve = 2 * config.disk_reserve_mb * MIB  # documents stop first, blocks go on
    files = VaultFiles(config.vault, ledger.suite, reserve_bytes=reserve)
    check_private(config.vault)
    shown = credentials_of(config, config.vault_certificate, config.vault_key)
    doors = {member: VaultDoor(target, shown) for member, target in config.peers_of_vault.items()}
    return Keeper(
        ledger,
        files,
        config.member,
        doors,
        node.engine.alarm,
        document_bytes_max=config.vault_document_mb * MIB,
        bytes_max=config.vault_mb * MIB,
    )


def known_methods() -> list[str]:
    """Every ``contract.method`` of this release."""
    return [f"{contract.name}.{name}" for contract in assemble() for name in contract.methods]


def parts_of(node: Node, custody: Desk | None = None, vault: Keeper | None = None) -> Parts:
    """What the services serve."""
    store, ledger = node.opened.store, node.opened.ledger

    def receipt_file(height: int, index: int) -> dict[str, Any]:
        members: Any = ledger.readers["members"]
        sources: dict[str, Any] = {
            "genesis": ledger.genesis,
            "blocks": store,
            "keys": members.key,
            "history": ledger,
            "certificates": node.certificates,
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
        custody=custody,
        vault=vault,
        consensus=node.engine.ask if isinstance(node.engine, CometEngine) else None,
        handovers=HandoverShelf(node.opened.config.data_dir).load if node.certificates else None,
    )


def metrics_of(node: Node) -> NodeMetrics:
    """The figures of a running node."""
    return NodeMetrics(
        node.engine,
        free_bytes=node.opened.store.free_bytes,
        index=node.index,
        restarts=lambda: node.workers.restarts if node.workers else 0,
    )
