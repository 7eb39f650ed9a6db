"""A node's configuration: one frozen value, read once. Nobody else reads configuration files or the
environment. No message repeats a value: a secret may stand in the wrong place.

Defaults < TOML file < environment (``VOSTRO_`` and the name in capitals) < flags. An unknown name is an
error, never a silent default. Paths in the file are relative to the file.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec


class ConfigError(Exception):
    """The configuration cannot be used; the text says what to change."""


class SequencerFiles(NamedTuple):
    """What a node by itself certifies headers with."""

    key: Path
    passphrase_file: Path
    last_signed: Path


class ConsortiumConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The table ``[consortium]``: CometBFT decides the order, with the other members' nodes.

    home: CometBFT's directory. node_key, node_passphrase_file: the key file, or ``pkcs11:`` URI, that signs
    this node's bundles, and its passphrase or PIN. listen: host:port for the other nodes' CometBFT; external:
    the one that they are told, where it differs. peers: ``id@host:port`` of each. moniker: what people call
    this node. supervised: false where something else runs CometBFT over ``home``. timeout_propose_ms: what a
    dead proposer costs. validator_key, validator_passphrase_file, validator_record: a key file or ``pkcs11:``
    URI that votes through this node, and the record of what it signed last, outside data_dir and home;
    without them CometBFT votes with the key in its home. snapshot_blocks: a snapshot is made at each multiple
    of so many heights; 0: never. keep_blocks: heights below the head that are kept, at the least; 0: all.
    closed: whether nobody's CometBFT may connect but that of ``peers`` and ``guests``, node ids of 40
    hexadecimal digits. state_sync_peers: host:port of two or more nodes' gRPC faces; with them a node whose
    directories are empty begins from a snapshot, below the header of CometBFT's with this trust_height and
    trust_hash.
    """

    home: Path
    node_key: Path
    node_passphrase_file: Path
    listen: str
    external: str = ""
    peers: tuple[str, ...] = ()
    closed: bool = False
    guests: tuple[Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{40}$")], ...] = ()
    moniker: str = "vostro"
    supervised: bool = True
    timeout_propose_ms: int = 1_000
    validator_key: Path | None = None
    validator_passphrase_file: Path | None = None
    validator_record: Path | None = None
    snapshot_blocks: int = 10_000
    keep_blocks: int = 0
    state_sync_peers: tuple[str, ...] = ()
    trust_height: int = 0
    trust_hash: str = ""


class NodeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything an operator may set.

    data_dir: the ledger's directory. genesis: the genesis document (JSON). listen: host:port of the gRPC
    face; beyond loopback it needs the three TLS files. metrics_listen: host:port of the Prometheus page, on
    loopback; empty: none. sequencer_key: the key file that certifies headers, or a ``pkcs11:`` URI;
    sequencer_passphrase_file: its passphrase, or the token's PIN. last_signed: the record of what the
    sequencer signed last; keep it outside data_dir and out of backups. shards: only when the data directory
    is made. Budgets: records and bytes kept in memory. queue_max: transactions accepted and not yet
    decided. disk_reserve_mb: below this much free space new work is refused. member: who runs this node;
    operators, makers and checkers of others are none here. tls_crl: revocation lists (PEM). tls_identities:
    which certificates of a bank's own PKI are whose (TOML). operator_certificate and operator_key: what
    commands on this machine show the node. local_access: what a caller on loopback without TLS is. Quotas
    hold for one member with all its certificates: calls and transactions a second, streams at once; 0: none.
    custody_policy: what the node may sign for its member, and who must approve (TOML); none: it signs
    nothing. custody_keys: key files or ``pkcs11:`` URIs with which it signs; custody_passphrase_file: of them
    and of the custody key. custody_dir: the queue and the audit log; custody_anchor_hours: how often the
    log's hash is put on the ledger; 0: never. vault_dir: the sealed documents of this node's member; none:
    ``vault`` beside data_dir. vault_document_mb: how large one may be, vault_mb: all together. vault_peers:
    ``MEMBER=host:port`` of nodes from which documents are fetched; vault_certificate and vault_key: what is
    shown there; none: the node's own. cometbft: the CometBFT binary; none: where `vostro engine
    install` puts it. consortium: with it the node is one of many; without, the three settings of its
    sequencer are needed.
    """

    data_dir: Path
    genesis: Path
    sequencer_key: Path | None = None
    sequencer_passphrase_file: Path | None = None
    last_signed: Path | None = None
    consortium: ConsortiumConfig | None = None
    listen: str = "127.0.0.1:7600"
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_ca: Path | None = None
    tls_crl: Path | None = None
    tls_identities: Path | None = None
    operator_certificate: Path | None = None
    operator_key: Path | None = None
    member: str = ""
    local_access: str = "operator"
    quota_calls: int = 10_000
    quota_transactions: int = 50_000
    quota_streams: int = 256
    connections_max: int = 4_096
    cometbft: Path | None = None
    custody_policy: Path | None = None
    custody_keys: tuple[str, ...] = ()
    custody_passphrase_file: Path | None = None
    custody_dir: Path = Path("custody")
    custody_anchor_hours: int = 24
    vault_dir: Path | None = None
    vault_document_mb: int = 256
    vault_mb: int = 65_536
    vault_peers: tuple[str, ...] = ()
    vault_certificate: Path | None = None
    vault_key: Path | None = None
    metrics_listen: str = ""
    shards: int = 8
    verify_workers: int = 2
    cache_records: int = 200_000
    leaf_cache_mb: int = 256
    leveldb_mb: int = 256
    queue_max: int = 6_000
    disk_reserve_mb: int = 512
    index: bool = True
    log_level: str = "info"

    @property
    def sequencer(self) -> SequencerFiles:
        """The sequencer's files. Raises ConfigError for a node of a consortium, which has none."""
        if not (self.sequencer_key and self.sequencer_passphrase_file and self.last_signed):
            raise ConfigError("this node is one of a consortium: it has no sequencer")
        return SequencerFiles(self.sequencer_key, self.sequencer_passphrase_file, self.last_signed)

    @property
    def vault(self) -> Path:
        """Where the vault's files lie."""
        return self.vault_dir or self.data_dir.parent / "vault"

    @property
    def peers_of_vault(self) -> dict[str, str]:
        """Member -> host:port of its node."""
        named = [peer.partition("=") for peer in self.vault_peers]
        return {member: target for member, _, target in named}

    @property
    def private_files(self) -> tuple[Path, ...]:
        """Files that nobody but the node's user may use, but for passphrases, which are checked when read."""
        files = [Path(key) for key in self.custody_keys if not key.startswith(SCHEMES)]
        own: tuple[Path | None, ...] = (self.vault_key, *files)
        if self.consortium:
            consortium = self.consortium
            own += (consortium.node_key, consortium.validator_key, consortium.validator_record)
        else:
            own += (self.sequencer.key, self.sequencer.last_signed)
        return tuple([path for path in own if path])

    @property
    def passphrase_files(self) -> tuple[Path, ...]:
        """Where the passphrases of these files lie."""
        own: tuple[Path | None, ...] = (self.custody_passphrase_file,)
        if self.consortium:
            own += (self.consortium.node_passphrase_file, self.consortium.validator_passphrase_file)
        else:
            own += (self.sequencer.passphrase_file,)
        return tuple([path for path in own if path])


PASSPHRASE_FILE = "VOSTRO_PASSPHRASE_FILE"  # noqa: S105 - a name
OTHER_PASSPHRASE_FILE = "VOSTRO_OTHER_PASSPHRASE_FILE"  # noqa: S105 - a name
OF_COMMANDS = ("VOSTRO_CONFIG", PASSPHRASE_FILE, OTHER_PASSPHRASE_FILE)
"""What commands read before there is a node, and what is no setting of one."""
SHARDS_MAX = 256
WORKERS_MAX = 64
PEERS_MIN = 2
HASH_DIGITS = 64
HEX = frozenset("0123456789abcdef")
ANCHOR_HOURS_MAX = 31 * 24
DOCUMENT_MB_MAX = 16_384
VAULT_MB_MAX = 2**30
LOOPBACK = ("127.0.0.1", "::1", "localhost")
SCHEMES = ("pkcs11:",)
"""How a reference begins that is no path: a key in a token (node/keys/pkcs11.py)."""
LOCAL_ACCESS = ("operator", "none")
LOG_LEVELS = ("debug", "info", "warning", "error")
PATHS = (
    "data_dir",
    "genesis",
    "sequencer_key",
    "sequencer_passphrase_file",
    "last_signed",
    "tls_certificate",
    "tls_key",
    "tls_ca",
    "tls_crl",
    "tls_identities",
    "operator_certificate",
    "operator_key",
    "cometbft",
    "custody_policy",
    "custody_passphrase_file",
    "custody_dir",
    "vault_dir",
    "vault_certificate",
    "vault_key",
)
CONSORTIUM_PATHS = (
    "home",
    "node_key",
    "node_passphrase_file",
    "validator_key",
    "validator_passphrase_file",
    "validator_record",
)


def load_config(
    path: Path, flags: Mapping[str, Any] | None = None, environment: Mapping[str, str] | None = None
) -> NodeConfig:
    """The configuration from a TOML file, the environment and flags. Raises ConfigError."""
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror}. Make a node with `vostro init`, or name its file with --config."
        ) from error
    except ValueError as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
    base = path.resolve().parent
    known = NodeConfig.__struct_fields__
    for name, value in (os.environ if environment is None else environment).items():
        if name.startswith("VOSTRO_") and name not in OF_COMMANDS:
            values[name.removeprefix("VOSTRO_").lower()] = value
    values.update({name: value for name, value in (flags or {}).items() if value is not None})
    if unknown := sorted(name for name in values if name not in known):
        raise ConfigError(f"{path}: unknown setting {', '.join(unknown)}. Known: {', '.join(known)}.")
    for name in PATHS:
        _anchor(values, name, base)
    _place_custody(values, base)
    if isinstance(peers := values.get("vault_peers"), str):  # the environment has no lists
        values["vault_peers"] = [peer for peer in peers.split(",") if peer]
    if isinstance(consortium := values.get("consortium"), dict):
        for name in CONSORTIUM_PATHS:
            _anchor(consortium, name, base)
    try:
        config: NodeConfig = msgspec.convert(
            values, NodeConfig, strict=False, dec_hook=lambda type_, value: type_(value)
        )
    except (TypeError, ValueError) as error:  # also a text that is not Unicode, or a path that is no text
        raise ConfigError(f"{path}: {error}") from error
    _check(config, path)
    return config


def cometbft_binary(environment: Mapping[str, str] | None = None) -> Path | None:
    """``VOSTRO_COMETBFT``, for what has no configuration to read: the CometBFT binary."""
    return _named("VOSTRO_COMETBFT", environment)


def passphrase_file(environment: Mapping[str, str] | None = None) -> Path | None:
    """``VOSTRO_PASSPHRASE_FILE``: of the keys that a command opens or makes; relative to where it runs."""
    return _named(PASSPHRASE_FILE, environment)


def other_passphrase_file(environment: Mapping[str, str] | None = None) -> Path | None:
    """``VOSTRO_OTHER_PASSPHRASE_FILE``: as above, where a command takes a second passphrase."""
    return _named(OTHER_PASSPHRASE_FILE, environment)


def child_environment(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a node that another program starts: without settings, which would hold for every
    node alike, but with the CometBFT binary, which may.
    """
    given = os.environ if environment is None else environment
    return {
        name: value
        for name, value in given.items()
        if not name.startswith("VOSTRO_") or name == "VOSTRO_COMETBFT"
    }


def host_of(listen: str) -> str:
    """The host in ``host:port``."""
    return listen.rpartition(":")[0].strip("[]")


def _named(name: str, environment: Mapping[str, str] | None) -> Path | None:
    value = (os.environ if environment is None else environment).get(name, "")
    return Path(value) if value else None


def _anchor(values: dict[str, Any], name: str, base: Path) -> None:
    """Make a path relative to the file absolute; what is no text is left for the types to refuse."""
    value = values.get(name)
    if isinstance(value, str) and "\0" in value:
        raise ConfigError(f"{name}: a path holds a NUL character")
    if isinstance(value, str) and value and not value.startswith(SCHEMES):
        values[name] = str(base / value)


def _check_doors(config: NodeConfig, path: Path) -> None:
    tls = (config.tls_certificate, config.tls_key, config.tls_ca)
    if bool(config.operator_certificate) != bool(config.operator_key):
        raise ConfigError(f"{path}: operator_certificate and operator_key go together")
    if (config.tls_crl or config.tls_identities) and not all(tls):
        raise ConfigError(f"{path}: tls_crl and tls_identities belong to mutual TLS: set the three TLS files")
    if min(config.quota_calls, config.quota_transactions, config.quota_streams) < 0:
        raise ConfigError(f"{path}: a quota is a number from 0 on; 0 is none")
    if config.connections_max < 1:
        raise ConfigError(f"{path}: connections_max must be at least 1")
    if config.local_access not in LOCAL_ACCESS:
        raise ConfigError(f"{path}: local_access is one of {', '.join(LOCAL_ACCESS)}")


def _check(config: NodeConfig, path: Path) -> None:
    _check_doors(config, path)
    if not 1 <= config.shards <= SHARDS_MAX:
        raise ConfigError(f"{path}: shards must lie between 1 and 256")
    if not 0 <= config.verify_workers <= WORKERS_MAX:
        raise ConfigError(f"{path}: verify_workers must lie between 0 and 64")
    tls = (config.tls_certificate, config.tls_key, config.tls_ca)
    if any(tls) and not all(tls):
        raise ConfigError(f"{path}: mutual TLS takes all three of tls_certificate, tls_key and tls_ca")
    if host_of(config.listen) not in LOOPBACK and not all(tls):
        raise ConfigError(
            f"{path}: {config.listen} is not loopback: "
            "set tls_certificate, tls_key and tls_ca, or listen on 127.0.0.1"
        )
    _check_custody(config, path, all(tls))
    _check_vault(config, path)
    if config.metrics_listen and host_of(config.metrics_listen) not in LOOPBACK:
        raise ConfigError(
            f"{path}: metrics are served on loopback only: set metrics_listen to 127.0.0.1:PORT"
        )
    if config.log_level not in LOG_LEVELS:
        raise ConfigError(f"{path}: log_level is one of {', '.join(LOG_LEVELS)}")
    if config.consortium is None and not (
        config.sequencer_key and config.sequencer_passphrase_file and config.last_signed
    ):
        raise ConfigError(
            f"{path}: a node by itself needs sequencer_key, sequencer_passphrase_file and last_signed; one "
            "of a consortium needs the table [consortium]"
        )
    voting = config.consortium and (
        config.consortium.validator_key,
        config.consortium.validator_passphrase_file,
        config.consortium.validator_record,
    )
    if voting and any(voting) and not all(voting):
        raise ConfigError(
            f"{path}: a validator's key beside CometBFT takes all three of validator_key, "
            "validator_passphrase_file and validator_record"
        )
    if config.consortium:
        _check_keeping(config.consortium, path)
    if config.last_signed and config.last_signed.resolve().is_relative_to(config.data_dir.resolve()):
        raise ConfigError(
            f"{path}: last_signed lies inside data_dir, where a restored copy would bring it back: move it"
        )


def _check_keeping(consortium: ConsortiumConfig, path: Path) -> None:
    if consortium.snapshot_blocks < 0 or consortium.keep_blocks < 0:
        raise ConfigError(f"{path}: snapshot_blocks and keep_blocks are 0 or more")
    if consortium.keep_blocks and not consortium.snapshot_blocks:
        raise ConfigError(f"{path}: keep_blocks needs snapshot_blocks: blocks are dropped behind snapshots")
    peers, height, digits = consortium.state_sync_peers, consortium.trust_height, consortium.trust_hash
    if not (peers or height or digits):
        return
    if len(peers) < PEERS_MIN or height < 1 or len(digits) != HASH_DIGITS or set(digits.lower()) - HEX:
        raise ConfigError(
            f"{path}: beginning from a snapshot takes state_sync_peers, two or more, and trust_height and "
            "trust_hash (64 hexadecimal digits), as `vostro trust` at another bank prints them"
        )


def _place_custody(values: dict[str, Any], base: Path) -> None:
    """Custody's paths, relative to the file; the environment, which has no lists, divides keys by a colon."""
    values.setdefault("custody_dir", str(base / "custody"))
    given = values.get("custody_keys", [])
    listed = given.split(os.pathsep) if isinstance(given, str) else given
    if isinstance(listed, list) and all(isinstance(each, str) for each in listed):
        values["custody_keys"] = [
            each if each.startswith(SCHEMES) else str(base / each) for each in listed if each
        ]


def _check_vault(config: NodeConfig, path: Path) -> None:
    if not 1 <= config.vault_document_mb <= DOCUMENT_MB_MAX:
        raise ConfigError(f"{path}: vault_document_mb must lie between 1 and {DOCUMENT_MB_MAX}")
    if not config.vault_document_mb <= config.vault_mb <= VAULT_MB_MAX:
        raise ConfigError(f"{path}: vault_mb must lie between vault_document_mb and {VAULT_MB_MAX}")
    if bool(config.vault_certificate) != bool(config.vault_key):
        raise ConfigError(f"{path}: vault_certificate and vault_key go together")
    if not all(member and ":" in target for member, target in config.peers_of_vault.items()):
        raise ConfigError(f"{path}: each of vault_peers is MEMBER=host:port")
    if config.vault.resolve().is_relative_to(config.data_dir.resolve()):
        raise ConfigError(f"{path}: vault_dir lies inside data_dir, which is the ledger's: move it")


def _check_custody(config: NodeConfig, path: Path, is_mutual: bool) -> None:
    if not 0 <= config.custody_anchor_hours <= ANCHOR_HOURS_MAX:
        raise ConfigError(f"{path}: custody_anchor_hours must lie between 0 and {ANCHOR_HOURS_MAX}")
    if config.custody_policy is None:
        if config.custody_keys or config.custody_passphrase_file:
            raise ConfigError(
                f"{path}: custody keys are given and custody_policy is not: nothing may be signed"
            )
        return
    if not config.custody_keys or not config.custody_passphrase_file:
        raise ConfigError(f"{path}: custody_policy takes custody_keys and custody_passphrase_file")
    if not is_mutual:
        raise ConfigError(
            f"{path}: custody tells makers and checkers by their certificates: it takes mutual TLS, so set "
            "tls_certificate, tls_key and tls_ca"
        )
