"""A CometBFT home: the directory with its configuration, the chain's genesis file and this node's keys.

The same input gives the same bytes on every machine: the genesis file is compared between banks. What always
holds: a key and the record of what a validator signed last are never written over; secrets are readable by
their owner only; CometBFT listens to its peers and, beyond them, on unix sockets only. Forms are those of
CometBFT 0.39.4 (config/toml.go, types/genesis.go, p2p/key.go, privval/file.go).
"""

import base64
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from nacl.signing import SigningKey

from node.engine.cometbft.abci import ConsensusParams
from node.engine.cometbft.abci_server import SOCKET_PATH_BYTES_MAX
from node.ledger.types import Authority, Genesis

VERSION: Final = "0.39.4"
"""The CometBFT that the node is made for."""
HOME_VERSION: Final = b"vostro-home 1\n"
"""What this release makes of a home; one that knows more says so here."""
KEY_BYTES: Final = 32
ADDRESS_BYTES: Final = 20
CHAIN_ID_CHARACTERS_MAX: Final = 50
KEY_ALGORITHM: Final = "ed25519"
PUBLIC_KEY_TYPE: Final = "tendermint/PubKeyEd25519"
PRIVATE_KEY_TYPE: Final = "tendermint/PrivKeyEd25519"

EVIDENCE_BYTES_MAX: Final = 64 * 1024
EVIDENCE_AGE_BLOCKS: Final = 100_000
EVIDENCE_AGE_NS: Final = 48 * 3_600 * 1_000_000_000
"""Evidence is void once it is older than both: blocks that young must stay."""
BLOCK_OVERHEAD_BYTES: Final = 256 * 1024
"""What a CometBFT block holds beside signed transactions: evidence, the commit of the block before with up to
1,024 signatures, and what bundles add.
"""
BLOCK_BYTES_MAX: Final = 100 * 1024 * 1024
"""CometBFT's own bound."""

RATE_BYTES: Final = 200_000_000
PACKET_BYTES: Final = 65_536
GOSSIP_MS: Final = 5
LATE_VOTES: Final = ("timeout_prevote", "timeout_precommit")
"""Waited for at the end of a round without a proposal, by default a second."""
MEMPOOL_COUNT: Final = 20_000
MEMPOOL_CACHE: Final = 100_000
MEMPOOL_BYTES: Final = 256 * 1024 * 1024
TX_BYTES_MAX: Final = 1024 * 1024
RPC_BODY_BYTES_MAX: Final = 2 * TX_BYTES_MAX
"""A transaction in base64, and the call around it."""


class HomeRefused(Exception):
    """A home that cannot be made or used; the text says why."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Another node's CometBFT: 40 hexadecimal digits, and where it listens."""

    node_id: str
    address: str

    def __str__(self) -> str:
        return f"{self.node_id}@{self.address}"

    @staticmethod
    def parse(text: str) -> "Peer":
        """From ``id@host:port``. Raises HomeRefused."""
        node_id, _, address = text.partition("@")
        port = address.rpartition(":")[2]
        digits = len(node_id) == 2 * ADDRESS_BYTES and set(node_id) <= set("0123456789abcdef")
        if not digits or not address.rpartition(":")[0] or not port.isdecimal():
            raise HomeRefused(f"a peer is 40 hexadecimal digits, @, host:port; not {text[:80]!r}")
        return Peer(node_id, address)


@dataclass(frozen=True, slots=True)
class StateSync:
    """Begin from peers' snapshot. rpc_servers: two or more addresses whose answers a light client compares.
    trust_height, trust_hash: a header that somebody vouches for.
    """

    rpc_servers: tuple[str, ...]
    trust_height: int
    trust_hash: bytes
    trust_period_s: int = EVIDENCE_AGE_NS // 1_000_000_000
    discovery_s: int = 5
    chunk_fetchers: int = 4


@dataclass(frozen=True, slots=True)
class HomeConfig:
    """What differs between nodes, and what tests set. abci, rpc, signer: paths of unix sockets; without
    ``signer`` CometBFT signs with the key file in the home. listen: host:port for peers; external: the
    host:port that peers are told. broadcast: whether the mempool relays to peers. filter_peers: whether
    CometBFT asks the application who may connect.
    """

    moniker: str
    abci: Path
    rpc: Path
    listen: str
    external: str = ""
    peers: tuple[Peer, ...] = ()
    signer: Path | None = None
    state_sync: StateSync | None = None
    heartbeat_ms: int = 1_000
    timeout_propose_ms: int = 1_000
    timeout_commit_ms: int = 20
    double_sign_check_height: int = 0
    broadcast: bool = True
    filter_peers: bool = False
    metrics_listen: str = ""
    log_level: str = "info"


@dataclass(frozen=True, slots=True)
class Keys:
    """The seeds (32 bytes each) of a node's Ed25519 keys. validator: none where a signer holds it, or for a
    node that does not validate: CometBFT then has a key of its own that no set contains.
    """

    node: bytes
    validator: bytes | None = None

    def __repr__(self) -> str:
        return f"Keys(node={node_id(public_key(self.node))})"


@dataclass(frozen=True, slots=True)
class Home:
    """The files of a home."""

    root: Path

    @property
    def version(self) -> Path:
        """Which release's home this is."""
        return self.root / "VERSION"

    @property
    def config(self) -> Path:
        """CometBFT's settings."""
        return self.root / "config" / "config.toml"

    @property
    def genesis(self) -> Path:
        """What the chain begins with, the same at every bank."""
        return self.root / "config" / "genesis.json"

    @property
    def node_key(self) -> Path:
        """The key by which peers know this node."""
        return self.root / "config" / "node_key.json"

    @property
    def validator_key(self) -> Path:
        """The key that votes, where no signer holds it."""
        return self.root / "config" / "priv_validator_key.json"

    @property
    def validator_state(self) -> Path:
        """What that key signed last: never brought back from a copy."""
        return self.root / "data" / "priv_validator_state.json"


def new_key() -> bytes:
    """A seed."""
    return SigningKey.generate().encode()


def public_key(seed: bytes) -> bytes:
    """The 32 bytes of the public key."""
    return SigningKey(seed).verify_key.encode()


def address(key: bytes) -> bytes:
    """The 20 bytes by which CometBFT names a public key."""
    return hashlib.sha256(key).digest()[:ADDRESS_BYTES]


def node_id(key: bytes) -> str:
    """The 40 digits by which peers name a node's public key."""
    return address(key).hex()


def write_home(root: Path, config: HomeConfig, genesis: bytes, keys: Keys) -> Home:
    """Make a home, or bring one up to date: settings are written again; the genesis file and keys only where
    they are missing. Raises HomeRefused where what is there belongs to another chain or node.
    """
    home = write_keys(root, keys, own_validator=config.signer is None)
    return complete_home(home.root, config, genesis)


def write_keys(root: Path, keys: Keys, *, own_validator: bool = True) -> Home:
    """Begin a home with its keys, before there is a genesis file. own_validator: whether the home has a key
    that votes; false where a signer holds it. Raises HomeRefused where other keys are there.
    """
    home = Home(root)
    for folder in (root, home.config.parent, home.validator_state.parent):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check_version(home)
    _keep(home.node_key, node_key_json(keys.node), "another node's key")
    if own_validator:
        seed = keys.validator
        if seed is None and not home.validator_key.exists():
            seed = new_key()
        if seed is not None:
            _keep(home.validator_key, validator_key_json(seed), "another validator's key")
        if not home.validator_state.exists():
            _write(home.validator_state, validator_state_json())
    return home


def complete_home(root: Path, config: HomeConfig, genesis: bytes) -> Home:
    """Give a home that has its keys the chain and settings. Raises HomeRefused where it has no keys or
    another chain.
    """
    home = Home(root)
    if not home.node_key.exists():
        raise HomeRefused(f"{root} has no node key: make it with `vostro consortium entry`")
    _keep(home.genesis, genesis, "another chain's genesis file")
    _write(home.config, config_toml(config))
    return home


def renew_settings(root: Path, config: HomeConfig) -> Home:
    """Write a home's settings again, as the node that starts has them. Raises HomeRefused where there is no
    home.
    """
    home = Home(root)
    if not home.genesis.exists():
        raise HomeRefused(f"{root} is no home of CometBFT: make it with `vostro consortium home`")
    _check_version(home)
    _write(home.config, config_toml(config))
    return home


def load_initial_height(home: Home) -> int:
    """The first height that CometBFT decides under this home. Raises HomeRefused."""
    try:
        return int(msgspec.json.decode(home.genesis.read_bytes())["initial_height"])
    except (OSError, KeyError, TypeError, ValueError, msgspec.MsgspecError) as error:
        raise HomeRefused(f"{home.genesis} cannot be read: {error}") from error


def load_node_id(home: Home) -> str:
    """The id of the node whose home this is. Raises HomeRefused."""
    try:
        key = msgspec.json.decode(home.node_key.read_bytes())["priv_key"]["value"]
        return node_id(base64.b64decode(key)[KEY_BYTES:])
    except (OSError, KeyError, TypeError, ValueError, msgspec.MsgspecError) as error:
        raise HomeRefused(f"{home.node_key} cannot be read: {error}") from error


def genesis_json(
    genesis: Genesis,
    chain_id: str,
    *,
    initial_height: int = 1,
    authority: Sequence[Authority] | None = None,
    names: Mapping[bytes, str] | None = None,
) -> bytes:
    """CometBFT's genesis file for a chain of ours.

    chain_id: CometBFT's name of the chain. initial_height: of CometBFT's first block; above 1 where a ledger
    moves here. authority: the first validator set; default: that of genesis. names: public key -> what people
    call the validator. The app hash is empty: init_chain answers it. Raises HomeRefused.
    """
    if not 0 < len(chain_id) <= CHAIN_ID_CHARACTERS_MAX:
        raise HomeRefused(f"CometBFT takes 1 to {CHAIN_ID_CHARACTERS_MAX} characters as a chain's id")
    params = params_of(genesis, genesis.protocol)
    validators = sorted(
        genesis.authority if authority is None else authority, key=lambda entry: entry.public_key
    )
    for entry in validators:
        if entry.algorithm != KEY_ALGORITHM:
            raise HomeRefused(f"CometBFT's validators sign with {KEY_ALGORITHM}, not {entry.algorithm}")
    document = {
        "genesis_time": _rfc3339(genesis.time_ms),
        "chain_id": chain_id,
        "initial_height": str(initial_height),
        "consensus_params": {
            "block": {"max_bytes": str(params.block_bytes_max), "max_gas": str(params.block_gas_max)},
            "evidence": {
                "max_age_num_blocks": str(params.evidence_age_blocks),
                "max_age_duration": str(params.evidence_age_ns),
                "max_bytes": str(params.evidence_bytes_max),
            },
            "validator": {"pub_key_types": [KEY_ALGORITHM]},
            "version": {"app": str(params.app_version)},
            "abci": {"vote_extensions_enable_height": "0"},
            "authority": {"authority": ""},
        },
        "validators": [
            {
                "address": address(entry.public_key).hex().upper(),
                "pub_key": _typed(PUBLIC_KEY_TYPE, entry.public_key),
                "power": str(entry.power),
                "name": (names or {}).get(entry.public_key, ""),
            }
            for entry in validators
        ],
        "app_hash": "",
    }
    return _json(document)


def params_of(genesis: Genesis, protocol: int) -> ConsensusParams:
    """What CometBFT holds a chain of ours to; but for the protocol it never changes."""
    limits = genesis.limits
    return ConsensusParams(
        min(limits.block_bytes_max + BLOCK_OVERHEAD_BYTES, BLOCK_BYTES_MAX),
        limits.block_work_max,
        EVIDENCE_AGE_BLOCKS,
        EVIDENCE_AGE_NS,
        EVIDENCE_BYTES_MAX,
        protocol,
    )


def node_key_json(seed: bytes) -> bytes:
    """The key by which peers know a node."""
    return _json({"priv_key": _typed(PRIVATE_KEY_TYPE, seed + public_key(seed))})


def validator_key_json(seed: bytes) -> bytes:
    """The key that votes."""
    key = public_key(seed)
    return _json(
        {
            "address": address(key).hex().upper(),
            "pub_key": _typed(PUBLIC_KEY_TYPE, key),
            "priv_key": _typed(PRIVATE_KEY_TYPE, seed + key),
        }
    )


def validator_state_json() -> bytes:
    """The record of a key that has signed nothing."""
    return _json({"height": "0", "round": 0, "step": 0})


def config_toml(config: HomeConfig) -> bytes:
    """CometBFT's settings. Raises HomeRefused for a socket whose path is too long."""
    for path in (config.abci, config.rpc, config.signer):
        if path and len(os.fsencode(path)) > SOCKET_PATH_BYTES_MAX:
            raise HomeRefused(f"{path} is too long for a unix socket: {SOCKET_PATH_BYTES_MAX} bytes at most")
    lines: list[str] = []
    for section, settings in _settings(config).items():
        lines += ["", f"[{section}]"] if section else []
        lines += [f"{name} = {_toml(value)}" for name, value in settings.items()]
    return ("\n".join(lines) + "\n").encode()


def _check_version(home: Home) -> None:
    """Mark a home that has no version yet. Raises HomeRefused for another's."""
    if not home.version.exists():
        _write(home.version, HOME_VERSION)
    elif (found := home.version.read_bytes()) != HOME_VERSION:
        raise HomeRefused(
            f"{home.root} is marked {found.decode(errors='replace').strip()!r} and this release knows "
            f"{HOME_VERSION.decode().strip()!r}: start the release that marked it again; nothing was changed"
        )


def _settings(config: HomeConfig) -> dict[str, dict[str, Any]]:
    """Section -> key -> value; what is not named stays as CometBFT has it."""
    return {
        "": {
            "version": VERSION,
            "proxy_app": f"unix://{config.abci}",
            "moniker": config.moniker,
            "db_backend": "goleveldb",
            "db_dir": "data",
            "log_level": config.log_level,
            "log_format": "json",
            "genesis_file": "config/genesis.json",
            "priv_validator_key_file": "config/priv_validator_key.json",
            "priv_validator_state_file": "data/priv_validator_state.json",
            "priv_validator_laddr": f"unix://{config.signer}" if config.signer else "",
            "node_key_file": "config/node_key.json",
            "abci": "socket",
            "filter_peers": config.filter_peers,
        },
        "rpc": {
            "laddr": f"unix://{config.rpc}",
            "grpc_laddr": "",
            "unsafe": True,  # for dial_peers; the socket is the owner's alone
            "max_body_bytes": RPC_BODY_BYTES_MAX,
            "pprof_laddr": "",
        },
        "p2p": {
            "laddr": f"tcp://{config.listen}",
            "external_address": config.external,
            "seeds": "",
            "persistent_peers": ",".join(map(str, config.peers)),
            "unconditional_peer_ids": ",".join(peer.node_id for peer in config.peers),
            "addr_book_strict": False,
            "allow_duplicate_ip": True,
            "pex": False,
            "flush_throttle_timeout": f"{GOSSIP_MS}ms",
            "max_packet_msg_payload_size": PACKET_BYTES,
            "send_rate": RATE_BYTES,
            "recv_rate": RATE_BYTES,
        },
        "mempool": {
            "type": "flood",
            "recheck": False,
            "broadcast": config.broadcast,
            "size": MEMPOOL_COUNT,
            "max_txs_bytes": MEMPOOL_BYTES,
            "cache_size": MEMPOOL_CACHE,
            "keep-invalid-txs-in-cache": False,
            "max_tx_bytes": TX_BYTES_MAX,
        },
        "statesync": _state_sync(config.state_sync),
        "blocksync": {"version": "v0"},
        "consensus": {
            "wal_file": "data/cs.wal/wal",
            "timeout_propose": f"{config.timeout_propose_ms}ms",
            **dict.fromkeys(LATE_VOTES, f"{config.timeout_propose_ms // 2}ms"),
            "timeout_commit": f"{config.timeout_commit_ms}ms",
            "skip_timeout_commit": True,
            "double_sign_check_height": config.double_sign_check_height,
            "create_empty_blocks": False,
            "create_empty_blocks_interval": f"{config.heartbeat_ms}ms",
            "peer_gossip_sleep_duration": f"{GOSSIP_MS}ms",
        },
        "storage": {"discard_abci_responses": True},
        "tx_index": {"indexer": "null"},
        "instrumentation": {
            "prometheus": bool(config.metrics_listen),
            "prometheus_listen_addr": config.metrics_listen,
        },
    }


def _state_sync(wanted: StateSync | None) -> dict[str, Any]:
    if wanted is None:
        return {"enable": False}
    return {
        "enable": True,
        "rpc_servers": ",".join(wanted.rpc_servers),
        "trust_height": wanted.trust_height,
        "trust_hash": wanted.trust_hash.hex().upper(),
        "trust_period": f"{wanted.trust_period_s}s",
        "discovery_time": f"{wanted.discovery_s}s",
        "chunk_fetchers": str(wanted.chunk_fetchers),
    }


def _toml(value: str | bool | int) -> str:
    """A TOML value. JSON's escapes of text are TOML's."""
    return json.dumps(value, ensure_ascii=False)


def _json(document: Mapping[str, Any]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def _typed(kind: str, key: bytes) -> dict[str, str]:
    return {"type": kind, "value": base64.b64encode(key).decode()}


def _rfc3339(time_ms: int) -> str:
    """UTC, without trailing zeros behind the second, as Go writes it."""
    moment = datetime.fromtimestamp(time_ms // 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{time_ms % 1_000:03}".rstrip("0").rstrip(".")
    return f"{moment}{fraction}Z"


def _keep(path: Path, content: bytes, other: str) -> None:
    """Write a file once. Raises HomeRefused where another content is there."""
    if not path.exists():
        _write(path, content)
    elif path.read_bytes() != content:
        raise HomeRefused(f"{path} is {other}: this home belongs to it; choose another directory")


def _write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, for its owner only."""
    fresh = path.with_name(path.name + ".new")
    file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(file, content)
        os.fsync(file)
    finally:
        os.close(file)
    fresh.replace(path)
