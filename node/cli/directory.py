"""A node's directory, made once: configuration, genesis, the sequencer's key, and the record of what it
signed last.

    node.toml                     every path in it is relative to it
    genesis.json                  the chain
    last-signed                   outside data/, so that a restored copy of data/ cannot bring an old one back
    data/                         the ledger; made by the node
    keys/sequencer.json           signs headers; encrypted; not made where a key of one's own is named
    keys/sequencer.passphrase     mode 0600; move it to a secret store and name it in node.toml
    keys/administrator-N.json     only where no keys of administrators were given
"""

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from node.engine.sequencer import Sequencer
from node.genesis_file import make_genesis, save_genesis
from node.keys import keystore
from node.keys.signer import SoftwareSigner, generate
from node.ledger import hashing
from node.ledger.genesis import chain_id
from node.ledger.types import AdministratorKey, Authority, Genesis

CONFIG: Final = "node.toml"
GENESIS: Final = "genesis.json"
LAST_SIGNED: Final = "last-signed"
DATA: Final = "data"
KEYS: Final = "keys"
SEQUENCER: Final = "sequencer"
PASSPHRASE_BYTES: Final = 24


@dataclass(frozen=True, slots=True)
class SequencerKey:
    """The public half of the sequencer's key, and what node.toml says of it."""

    algorithm: str
    public_key: bytes
    reference: str
    passphrase_file: str


@dataclass(frozen=True, slots=True)
class NodeDirectory:
    """What was made. made_keys: key files of administrators that were made here."""

    path: Path
    genesis: Genesis
    made_keys: tuple[Path, ...]

    @property
    def config(self) -> Path:
        """The configuration's path."""
        return self.path / CONFIG

    @property
    def chain_id(self) -> bytes:
        """The new chain's identity."""
        return chain_id(self.genesis)


def make_directory(
    path: Path,
    *,
    name: str,
    administrators: Sequence[AdministratorKey],
    threshold: int,
    administrator: str = "ADMIN",
    settings: Mapping[str, str | int | bool] | None = None,
    made_keys: Sequence[Path] = (),
    cost: int = keystore.COST_DEFAULT,
    suite: hashing.Suite = hashing.INTERNATIONAL,
    sequencer: SequencerKey | None = None,
) -> NodeDirectory:
    """Make a node's directory for a new chain. settings: what node.toml is to say besides paths. cost: of
    the sequencer's key file. suite: the chain's cryptography. sequencer: a key that is there already; None:
    one is made.

    Raises: GenesisRefused, KeystoreError, OSError.
    """
    (path / KEYS).mkdir(parents=True, exist_ok=True, mode=0o700)
    if sequencer is None:
        sequencer = _made_sequencer(path / KEYS, suite.authority_algorithms[0], cost)
    authority = (Authority(sequencer.algorithm, sequencer.public_key, 1),)
    genesis = make_genesis(
        name,
        administrators,
        authority,
        time_ms=time.time_ns() // 1_000_000,
        administrator=administrator,
        threshold=threshold,
        suite=suite.name,
    )
    save_genesis(path / GENESIS, genesis)
    Sequencer.create_record(path / LAST_SIGNED, chain_id(genesis))
    (path / CONFIG).write_text(_configuration(sequencer, settings or {}), encoding="utf-8")
    return NodeDirectory(path, genesis, tuple(made_keys))


def _made_sequencer(folder: Path, algorithm: str, cost: int) -> SequencerKey:
    key, passphrase = folder / f"{SEQUENCER}.json", folder / f"{SEQUENCER}.passphrase"
    write_secret(passphrase, secrets.token_urlsafe(PASSPHRASE_BYTES).encode())
    signer = generate(algorithm)
    save_key(key, signer, passphrase, label="sequencer", cost=cost)
    return SequencerKey(
        signer.algorithm, signer.public_key, f"{KEYS}/{key.name}", f"{KEYS}/{passphrase.name}"
    )


def save_key(
    path: Path, signer: SoftwareSigner, passphrase: Path, *, label: str, cost: int = keystore.COST_DEFAULT
) -> None:
    """Write a key file encrypted under the passphrase in a file. Raises: KeystoreError."""
    keystore.save_signer(path, signer, keystore.read_passphrase(passphrase), label=label, cost=cost)


def write_secret(path: Path, secret: bytes) -> None:
    """Write a file that only its owner reads. Raises: FileExistsError."""
    path.touch(mode=0o600, exist_ok=False)
    path.write_bytes(secret + b"\n")


def _configuration(sequencer: SequencerKey, settings: Mapping[str, str | int | bool]) -> str:
    lines = [
        "# A Vostro node. Paths are relative to this file; `vostro doctor` checks what stands here.",
        f'data_dir = "{DATA}"',
        f'genesis = "{GENESIS}"',
        f'sequencer_key = "{sequencer.reference}"',
        f'sequencer_passphrase_file = "{sequencer.passphrase_file}"',
        "# Outside data_dir and out of backups: it keeps a restored copy from signing old heights again.",
        f'last_signed = "{LAST_SIGNED}"',
    ]
    for name, value in settings.items():
        told = (
            str(value).lower()
            if isinstance(value, bool)
            else f'"{value}"'
            if isinstance(value, str)
            else str(value)
        )
        lines.append(f"{name} = {told}")
    return "\n".join(lines) + "\n"
