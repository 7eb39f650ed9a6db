"""A whole network in one directory of one machine: to try it, to develop against it, to test.

    genesis.json, network.json   as every bank has them
    BANK/                        a bank's directory (bank.py), with keys/officer.passphrase beside its key
    run/BANK.json                which process runs it (processes.py)

It is made of the same steps as a network of many machines, each bank's in a directory of its own. Here all
passphrases lie beside the keys: what it guards is nothing.
"""

import random
import re
import secrets
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from node.genesis_file import LIMITS_DEFAULT
from node.keys.keystore import COST_DEFAULT
from node.ledger.hashing import INTERNATIONAL
from node.ledger.types import Limits
from node.network.assembly import GENESIS, NETWORK, Assembled, assemble, read_foundation, write_assembled
from node.network.bank import (
    CONFIG,
    KEYS,
    OFFICER,
    PASSPHRASE_BYTES,
    Particulars,
    Settings,
    make_entry,
    make_home,
)
from node.network.entry import EntryRole
from node.network.errors import Code, NetworkRefused

HOST: Final = "127.0.0.1"
BANKS_MAX: Final = 64
PORTS: Final = range(20_000, 32_000)
"""Below the ports that Linux gives to outgoing connections (net.ipv4.ip_local_port_range)."""
PORTS_A_BANK: Final = 2
RESERVED: Final = ("run",)
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,15}")


@dataclass(frozen=True, slots=True)
class LocalBank:
    """A bank of a local network."""

    name: str
    member: str
    folder: Path
    grpc: str
    address: str
    validates: bool

    @property
    def config(self) -> Path:
        """Its node's configuration."""
        return self.folder / CONFIG

    @property
    def officer(self) -> Path:
        """Its officer's key file."""
        return self.folder / KEYS / f"{OFFICER}.json"

    @property
    def passphrase(self) -> Path:
        """Its passphrase."""
        return self.folder / KEYS / f"{OFFICER}.passphrase"

    @property
    def log(self) -> Path:
        """What its node writes."""
        return self.folder / "node.log"


@dataclass(frozen=True, slots=True)
class LocalNetwork:
    """The directory of a local network."""

    folder: Path
    assembled: Assembled
    banks: tuple[LocalBank, ...]

    def bank(self, name: str) -> LocalBank:
        """By its name or member id. Raises NetworkRefused."""
        for bank in self.banks:
            if name in (bank.name, bank.member):
                return bank
        raise NetworkRefused(
            Code.DIRECTORY,
            f"{self.folder} has no {name!r}, but {', '.join(bank.name for bank in self.banks)}",
        )


def make_network(
    folder: Path,
    names: Sequence[str],
    *,
    name: str,
    time_ms: int,
    validators: int,
    suite: str = INTERNATIONAL.name,
    base_port: int = 0,
    limits: Limits = LIMITS_DEFAULT,
    settings: Settings | None = None,
    cost: int = COST_DEFAULT,
    timeout_propose_ms: int = 1_000,
) -> LocalNetwork:
    """Make every bank's directory under ``folder``, which is new or empty.

    names: of the banks; the first ``validators`` of them vote on blocks, and the first may issue assets.
    base_port: the first of two ports a bank; 0: some that are free now. settings: further ones of every
    node.toml. Raises NetworkRefused, KeystoreError, HomeRefused, OSError.
    """
    _check_names(folder, names, validators)
    ports = free_ports(PORTS_A_BANK * len(names)) if not base_port else _ports_from(base_port, len(names))
    entries = []
    for place, bank in enumerate(names):
        grpc, address = (f"{HOST}:{port}" for port in ports[PORTS_A_BANK * place :][:PORTS_A_BANK])
        roles: tuple[EntryRole, ...] = ("participant", "voter")
        told = Particulars(
            *(name, bank.upper(), bank.replace("-", " ").title(), roles if place else ("issuer", *roles)),
            *(address, grpc),
            suite=suite,
            validates=place < validators,
        )
        secret = secrets.token_urlsafe(PASSPHRASE_BYTES).encode()
        keys = folder / bank / KEYS
        keys.mkdir(parents=True, mode=0o700)
        passphrase = keys / f"{OFFICER}.passphrase"
        passphrase.touch(mode=0o600)
        passphrase.write_bytes(secret + b"\n")
        entries.append(make_entry(folder / bank, told, passphrase=secret, cost=cost))
    assembled = assemble(entries, name, time_ms, limits=limits)
    write_assembled(folder, assembled)
    for bank in names:
        make_home(folder / bank, assembled, settings=settings, timeout_propose_ms=timeout_propose_ms)
    return read_network(folder)


def read_network(folder: Path) -> LocalNetwork:
    """The network in a directory. Raises NetworkRefused."""
    assembled = read_foundation(folder / GENESIS, folder / NETWORK)
    banks = tuple(
        [
            LocalBank(
                node.member.lower(),
                node.member,
                folder / node.member.lower(),
                node.grpc,
                node.address,
                bool(node.validates),
            )
            for node in assembled.network.nodes
        ]
    )
    for bank in banks:
        if not bank.config.is_file():
            raise NetworkRefused(
                Code.DIRECTORY,
                f"{bank.config} is missing: {folder} was not made by `vostro network new`, or only in part",
            )
    return LocalNetwork(folder, assembled, banks)


def free_ports(count: int) -> list[int]:
    """Ports on loopback that were free a moment ago, each another."""
    found: list[int] = []
    tried = random.sample(PORTS, len(PORTS))
    for port in tried:
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise NetworkRefused(Code.DIRECTORY, f"there are no {count} free ports between 20000 and 32000")


def _ports_from(base_port: int, banks: int) -> list[int]:
    ports = list(range(base_port, base_port + PORTS_A_BANK * banks))
    if not base_port > 0 or ports[-1] >= 2**16:
        raise NetworkRefused(Code.DIRECTORY, f"{base_port} leaves no room for {len(ports)} ports")
    return ports


def _check_names(folder: Path, names: Sequence[str], validators: int) -> None:
    if folder.exists() and any(folder.iterdir()):
        raise NetworkRefused(Code.DIRECTORY, f"{folder} is not empty: name a directory that is new or empty")
    if not 1 <= len(names) <= BANKS_MAX or len(set(names)) != len(names):
        raise NetworkRefused(Code.DIRECTORY, f"a local network has 1 to {BANKS_MAX} banks, each name once")
    for name in names:
        if not _NAME.fullmatch(name) or name in RESERVED:
            raise NetworkRefused(
                Code.DIRECTORY, f"{name!r}: 1 to 16 small letters, digits and hyphens, such as bank-a"
            )
    if not 1 <= validators <= len(names):
        raise NetworkRefused(Code.NO_VALIDATOR, f"of {len(names)} banks, 1 to {len(names)} can validate")
