"""``vostro doctor``: is this node sound, and if not, what is to be done?"""

import datetime as dt
import stat
import time
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple

import typer

from node.cli.output import Exit, Failure, Row
from node.cli.session import Session, pinned_chain, session_of
from node.client import BlockingClient, ClientError, NodeStatus
from node.config import ConfigError, ConsortiumConfig, NodeConfig
from node.engine.cometbft.home import VERSION, Home, HomeRefused, load_node_id
from node.engine.cometbft.install import InstallFailed, find_binary
from node.engine.sequencer import Sequencer, SequencerRefused
from node.genesis_file import GenesisRefused, load_genesis
from node.keys.audit import HEAD, LOG
from node.keys.custody_queue import QUEUE, ROOT
from node.keys.files import check_private
from node.keys.keystore import KeystoreError
from node.keys.loader import load_signer
from node.keys.token_uri import is_token_uri
from node.keys.unsound import UnsoundLibrary
from node.ledger.ledger import PROTOCOLS
from node.services.identity import announced
from node.services.tls import CertificateFiles
from node.storage.directory import free_bytes

VAULT_PERCENT: Final = 80
"""Of its room, from which on a vault is nearly full."""
CLOCK_MS_MAX: Final = 5_000
"""How far block time and this machine's clock may differ while the node serves."""
INDEX_LAG_MAX: Final = 1_000
QUEUE_SHARE_MAX: Final = 0.9
MIB: Final = 1024 * 1024


class Verdict(StrEnum):
    """Of one check."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


class Finding(NamedTuple):
    """One line of the report. advice: what to do, empty where all is well."""

    check: str
    verdict: Verdict
    found: str
    advice: str = ""


def doctor(ctx: typer.Context) -> None:
    """Check configuration, genesis, keys, disk, clock, the running node, its alarms and its index.

    Exit code 0: sound, perhaps with warnings. Exit code 3: the node does not answer. Exit code 4: something
    failed.

    Example: `vostro --config node/node.toml doctor`
    """
    session = session_of(ctx)
    findings = examine(session)
    rows: list[Row] = [finding._asdict() | {"verdict": finding.verdict.value} for finding in findings]
    columns = {"check": "Check", "verdict": "Verdict", "found": "Found", "advice": "What to do"}
    session.output.rows("Doctor", columns, rows)
    failed = [finding.check for finding in findings if finding.verdict is Verdict.FAILED]
    if failed == ["node"]:
        raise Failure(Exit.UNAVAILABLE, "the node does not answer")
    if failed:
        raise Failure(Exit.UNVERIFIED, f"failed: {', '.join(failed)}")


def examine(session: Session) -> list[Finding]:
    """Every check, in order; none raises."""
    findings: list[Finding] = []
    if session.has_config:
        findings += _local(session)
    findings += _remote(session)
    return findings


# --- this machine -----------------------------------------------------------------------------------------


def _local(session: Session) -> Iterator[Finding]:
    try:
        config = session.config
    except ConfigError as error:
        yield Finding("configuration", Verdict.FAILED, str(error), "correct the file")
        return
    yield Finding("configuration", Verdict.OK, f"listens on {config.listen}, {config.shards} shards")
    yield _guarded(
        "genesis", lambda: f"{load_genesis(config.genesis).name}, chain {pinned_chain(config).hex()[:16]}"
    )
    if config.consortium:
        yield from _consortium(config, config.consortium)
    else:
        yield _guarded("sequencer key", lambda: _sequencer_key(config))
    yield from _private_files(config)
    yield from _certificates(config)
    yield _disk(config)


def _consortium(config: NodeConfig, consortium: ConsortiumConfig) -> Iterator[Finding]:
    """What a node of a consortium has beside its ledger."""
    yield _guarded("node key", lambda: _node_key(config, consortium))
    yield _guarded("CometBFT", lambda: f"{VERSION} at {find_binary(config.cometbft)}")
    yield _guarded("CometBFT's home", lambda: f"node {load_node_id(Home(consortium.home))}")


def _node_key(config: NodeConfig, consortium: ConsortiumConfig) -> str:
    signer = load_signer(consortium.node_key, consortium.node_passphrase_file)
    named = {node.public_key: node.member for node in load_genesis(config.genesis).nodes}
    of = named.get(signer.public_key)
    told = f"of {of}, named in genesis" if of else "not named in genesis: governance must have registered it"
    return f"{signer.algorithm} {signer.key_id.hex()}, {told}"


def _private_files(config: NodeConfig) -> Iterator[Finding]:
    """Owner and modes of what nobody but the node's user may use."""
    files = [path for path in config.private_files if not is_token_uri(path)]
    yield from [_private(f"mode of {path.name}", path) for path in [*files, *config.passphrase_files]]
    folders = {"data directory": config.data_dir, "vault directory": config.vault}
    if config.custody_policy:
        folders["custody directory"] = config.custody_dir
    for check, path in folders.items():
        if path.exists():
            yield _private(check, path)
    if config.custody_policy:
        yield from _custody(config.custody_dir)


def _custody(folder: Path) -> Iterator[Finding]:
    """The custody key, the audit log with its head, and the queue."""
    for path in [folder / name for name in (ROOT, LOG, HEAD, QUEUE)]:
        if path.exists():
            yield _private(f"mode of {folder.name}/{path.name}", path)
    queue = folder / QUEUE
    if queue.exists():
        yield _guarded("custody queue", lambda: f"{_check_all(queue)} requests, its owner's alone")


def _check_all(folder: Path) -> int:
    files = list(folder.iterdir())
    for path in files:
        check_private(path)
    return len(files)


def _guarded(check: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(check, Verdict.OK, look())
    except (
        ClientError,
        GenesisRefused,
        KeystoreError,
        SequencerRefused,
        UnsoundLibrary,
        HomeRefused,
        InstallFailed,
        OSError,
    ) as error:
        return Finding(check, Verdict.FAILED, str(error), "see the sentence")


def _sequencer_key(config: NodeConfig) -> str:
    signer = load_signer(config.sequencer.key, config.sequencer.passphrase_file)
    genesis = load_genesis(config.genesis)
    if signer.public_key not in {key.public_key for key in genesis.authority}:
        raise SequencerRefused("the key is not the one that genesis names: restore the right key file")
    return f"{signer.algorithm} {signer.key_id.hex()}, named in genesis"


def _private(check: str, path: Path) -> Finding:
    """Only its owner, who runs the node, may use what lies there."""

    def look() -> str:
        check_private(path)
        return f"{stat.S_IMODE(path.stat().st_mode):04o}, its owner's alone"

    return _guarded(check, look)


def _certificates(config: NodeConfig) -> Iterator[Finding]:
    """What of the doors ends, announced 30, 14 and 3 days ahead."""
    try:
        files = CertificateFiles.of(config)
    except ConfigError as error:
        yield Finding("certificates", Verdict.FAILED, str(error), "correct the files or the configuration")
        return
    now = dt.datetime.now(dt.UTC)
    for ending in files.endings() if files else []:
        due, told = announced(ending, now), f"until {ending.until:%Y-%m-%d %H:%M} UTC"
        if due is None:
            yield Finding(ending.what, Verdict.OK, told)
        elif due:
            yield Finding(ending.what, Verdict.WARNING, f"{told}, within {due} days", "renew it")
        else:
            yield Finding(ending.what, Verdict.FAILED, f"ended: {told}", "renew it now")


def _disk(config: NodeConfig) -> Finding:
    place = config.data_dir if config.data_dir.exists() else config.data_dir.parent
    free = free_bytes(place) // MIB
    told = f"{free:,} MiB free, {config.disk_reserve_mb:,} in reserve"
    if free < config.disk_reserve_mb:
        return Finding("disk", Verdict.FAILED, told, "free space: new work is refused below the reserve")
    if free < 4 * config.disk_reserve_mb:
        return Finding("disk", Verdict.WARNING, told, "plan for more space")
    return Finding("disk", Verdict.OK, told)


# --- the running node -------------------------------------------------------------------------------------


def _remote(session: Session) -> Iterator[Finding]:
    try:
        with session.client() as client:
            status = client.status()
            shared = [*_shared(client, status.height), *_vault(client)]
    except (ClientError, ConfigError, GenesisRefused, OSError) as error:
        yield Finding(
            "node", Verdict.FAILED, str(error), "start it with `vostro run`, or name it with --node"
        )
        return
    yield Finding(
        "node",
        Verdict.OK,
        f"{status.target}, {status.engine} engine, version {status.version}, height {status.height}",
    )
    yield _serving(status)
    yield _clock(status)
    yield _queue(status)
    yield _index(status)
    yield from shared
    yield from _alarms(status)
    if session.has_config and not session.node and not session.config.consortium:
        yield _guarded("last-signed", lambda: _last_signed(session))


def _shared(client: BlockingClient, height: int) -> Iterator[Finding]:
    """What the members have in common: how many validators may fail, and which rules are to come."""
    try:
        margin = client.query("validators", "margin")
        protocols = client.query("governance", "list_protocols")
    except ClientError:  # a chain without these contracts
        return
    told = f"{margin.may_fail} of {margin.validators} validators may fail now"
    alone = margin.validators > 1 and not margin.may_fail
    yield Finding(
        "safety margin",
        Verdict.WARNING if alone else Verdict.OK,
        told,
        "one failure stops the chain: add validators" if alone else "",
    )
    for entry in protocols:
        if entry.height > height and entry.number not in PROTOCOLS:
            yield Finding(
                "upgrade",
                Verdict.WARNING,
                f"protocol {entry.number} holds from height {entry.height:,}; this release does not have it",
                "install a release that has it before that height",
            )


def _vault(client: BlockingClient) -> Iterator[Finding]:
    """Documents whose bytes are to lie at the node, and do not."""
    try:
        held = client.vault(lambda vault: vault.holdings())
    except ClientError:  # a release without a vault, or a certificate that does not open it
        return
    told = f"{held.documents:,} documents, {held.size_bytes:,} bytes, {held.orphans:,} files of no document"
    lost = {"missing": held.missing, "damaged": held.damaged}
    for condition, documents in lost.items():
        for document in documents:
            yield Finding(
                "vault",
                Verdict.FAILED,
                f"the bytes of {document.hex()} are {condition}",
                "restore a copy of the file",
            )
    if held.bytes_max and held.disk_bytes * 100 >= held.bytes_max * VAULT_PERCENT:
        yield Finding(
            "vault room",
            Verdict.WARNING,
            f"{held.disk_bytes:,} of {held.bytes_max:,} bytes are taken",
            "delete documents whose time is over, or raise vault_mb and start again",
        )
    if not any(lost.values()):
        yield Finding("vault", Verdict.OK, told)


def _serving(status: NodeStatus) -> Finding:
    if status.serving:
        return Finding("serving", Verdict.OK, "takes new work")
    return Finding("serving", Verdict.FAILED, "takes no new work", "see the alarms and the log")


def _clock(status: NodeStatus) -> Finding:
    off = time.time_ns() // 1_000_000 - status.time_ms
    told = f"block time is {abs(off):,} ms {'behind' if off >= 0 else 'ahead of'} this machine's clock"
    if abs(off) > CLOCK_MS_MAX:
        return Finding("clock", Verdict.WARNING, told, "check NTP here and on the node")
    return Finding("clock", Verdict.OK, told)


def _queue(status: NodeStatus) -> Finding:
    told = f"{status.pending:,} of {status.pending_max:,}"
    full = status.pending > status.pending_max * QUEUE_SHARE_MAX
    return Finding(
        "queue", Verdict.WARNING if full else Verdict.OK, told, "clients are told to back off" if full else ""
    )


def _index(status: NodeStatus) -> Finding:
    if status.index_height is None:
        return Finding("index", Verdict.OK, "none is kept here")
    lag = status.height - status.index_height
    told = f"at height {status.index_height:,}, {lag:,} behind"
    if lag > INDEX_LAG_MAX:
        return Finding("index", Verdict.WARNING, told, "statements lag; it catches up by itself")
    return Finding("index", Verdict.OK, told)


def _alarms(status: NodeStatus) -> Iterator[Finding]:
    if not status.alarms:
        yield Finding("alarms", Verdict.OK, "none")
    for alarm in status.alarms:
        yield Finding("alarm", Verdict.WARNING, alarm, "docs/operations.md says what it means")


def _last_signed(session: Session) -> str:
    config = session.config
    signer = load_signer(config.sequencer.key, config.sequencer.passphrase_file)
    sequencer = Sequencer(signer, pinned_chain(config), config.sequencer.last_signed, exclusive=False)
    last = sequencer.last
    sequencer.close()
    with session.client() as client:
        head = client.status().height  # asked after the record was read: the node goes on meanwhile
    if last.height > head:
        raise SequencerRefused(
            f"signed height {last.height:,}, but the head is {head:,}: another copy is running?"
        )
    return f"signed up to height {last.height:,}, head {head:,}"
