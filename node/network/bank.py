"""A bank's directory: its keys and its entry, made before there is a network; then what its node runs with.

    entry.json                  what the bank hands to the others
    keys/officer.json           its first officer's key, encrypted; its holder's, not the node's
    keys/node.json              signs the node's bundles; encrypted
    keys/node.passphrase        mode 0600; move it to a secret store and name it in node.toml
    keys/validator.json         votes on blocks, where the node guards that key; else it is in comet/config/
    votes                       what the guarded key signed last; out of every backup, as comet/data/ is
    comet/config/               CometBFT's settings and keys: its name among peers, its votes
    genesis.json, network.json  the chain and its nodes, as the banks assembled them
    node.toml                   the configuration; paths in it are relative to it
    data/                       the ledger; made by the node

What always holds: no secret leaves the directory, and none that is there is written over.
"""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from contracts.powers import NewNode
from node.app import home_config
from node.config import ConsortiumConfig
from node.engine.cometbft.guard import Guard
from node.engine.cometbft.home import (
    Home,
    Keys,
    Peer,
    complete_home,
    genesis_json,
    load_node_id,
    new_key,
    write_keys,
)
from node.genesis_file import format_genesis
from node.json_form import JsonRefused, from_json, to_json
from node.keys.keystore import COST_DEFAULT, save_signer
from node.keys.signer import Ed25519Signer, Signer, SoftwareSigner, generate
from node.ledger import hashing
from node.ledger.types import AdministratorKey
from node.network.assembly import GENESIS, NETWORK, Assembled, format_network, write_once
from node.network.entry import Entry, EntryRole, SignedEntry, format_entry, read_entry, sign_entry
from node.network.errors import Code, NetworkRefused

ENTRY: Final = "entry.json"
CONFIG: Final = "node.toml"
KEYS: Final = "keys"
OFFICER: Final = "officer"
NODE: Final = "node"
COMET: Final = "comet"
DATA: Final = "data"
VALIDATOR: Final = "validator"
VOTES: Final = "votes"
PASSPHRASE_BYTES: Final = 24

Settings = Mapping[str, str | int | bool]


@dataclass(frozen=True, slots=True)
class Particulars:
    """What a bank says of itself; see entry.Entry. validates: whether its node votes on blocks."""

    network: str
    member: str
    full_name: str
    roles: tuple[EntryRole, ...]
    address: str
    grpc: str
    bic: str = ""
    suite: str = hashing.INTERNATIONAL.name
    validates: bool = True


@dataclass(frozen=True, slots=True)
class Officer:
    """A key that signs for the bank, and who holds it."""

    holder: str
    signer: Signer


@dataclass(frozen=True, slots=True)
class Readied:
    """A bank's directory from which ``vostro run`` starts. founder: whether it stands in genesis; else the
    members must admit it first. kept: node.toml was there and was left as it is.
    """

    config: Path
    founder: bool
    kept: bool


def make_entry(
    folder: Path,
    told: Particulars,
    officers: Sequence[Officer] = (),
    *,
    passphrase: bytes = b"",
    node: Signer | None = None,
    guarded: bool = False,
    cost: int = COST_DEFAULT,
) -> SignedEntry:
    """Make a bank's keys and its entry, in a directory that is new or holds no entry.

    officers: keys that are there already; none: one is made, encrypted under ``passphrase``. node: signs the
    node's bundles; none: a key is made, under a passphrase of its own. guarded: the node votes itself, with
    an encrypted key and a record of its own; else CometBFT does. cost: of the key files.
    Raises NetworkRefused, KeystoreError, HomeRefused, OSError.
    """
    if (folder / ENTRY).exists():
        raise NetworkRefused(Code.DIRECTORY, f"{folder / ENTRY} is there: a bank enters a network once")
    suite = hashing.SUITES.get(told.suite)
    if suite is None:
        raise NetworkRefused(Code.MALFORMED, f"there is no suite {told.suite!r}")
    _check_told(told)
    (folder / KEYS).mkdir(mode=0o700, parents=True, exist_ok=True)
    if not officers:
        officer = generate(suite.algorithms[0])
        save_signer(folder / KEYS / f"{OFFICER}.json", officer, passphrase, label=told.member, cost=cost)
        officers = (Officer(f"{OFFICER}-1", officer),)
    if node is None:
        node = generate(suite.algorithms[0])
        _save_with_passphrase(folder / KEYS, NODE, node, cost)
    peer = Ed25519Signer(new_key())
    validator = Ed25519Signer(new_key()) if told.validates else None
    if guarded and validator:
        _save_with_passphrase(folder / KEYS, VALIDATOR, validator, cost)
        write_keys(folder / COMET, Keys(peer.secret()), own_validator=False)
    else:
        write_keys(folder / COMET, Keys(peer.secret(), validator.secret() if validator else None))
    signed = sign_entry(
        _entry(told, officers, node, validator.public_key if validator else b"", peer.public_key),
        [officer.signer for officer in officers],
        node,
        validator,
        peer,
    )
    write_once(folder / ENTRY, format_entry(signed))
    return signed


def make_home(
    folder: Path,
    assembled: Assembled,
    *,
    listen: str = "",
    grpc_listen: str = "",
    settings: Settings | None = None,
    timeout_propose_ms: int = 1_000,
) -> Readied:
    """Give a bank's directory the chain: genesis, CometBFT's home, and node.toml where there is none.

    listen: host:port for other nodes, grpc_listen: for clients; default: as the entry says. settings: what
    node.toml is to say besides. Raises NetworkRefused, HomeRefused, OSError.
    """
    signed = read_entry(folder / ENTRY)
    entry, genesis, network = signed.entry, assembled.genesis, assembled.network
    if network.name != entry.network:
        raise NetworkRefused(Code.OTHER_NETWORK, f"{folder} entered {entry.network!r}, not {network.name!r}")
    founders = {founder.member: founder for founder in genesis.founders}
    nodes = {node.member: node.peer for node in network.nodes}
    founder = founders.get(entry.member)
    if founder is not None and (founder.keys != entry.keys or nodes.get(entry.member) != signed.peer.node_id):
        raise NetworkRefused(
            Code.FOUNDATION,
            f"genesis has {entry.member} with other keys than {folder / ENTRY}: assemble it from this entry",
        )
    if load_node_id(Home(folder / COMET)) != signed.peer.node_id:
        raise NetworkRefused(Code.DIRECTORY, f"the node key in {folder / COMET} is not that of the entry")
    fresh = not (folder / GENESIS).exists()
    write_once(folder / GENESIS, format_genesis(genesis))
    write_once(folder / NETWORK, format_network(network))
    voting, voting_passphrase, record = _guard(folder, network.comet_chain, entry.validator, fresh=fresh)
    consortium = ConsortiumConfig(
        home=(folder / COMET).resolve(),
        node_key=folder / KEYS / f"{NODE}.json",
        node_passphrase_file=folder / KEYS / f"{NODE}.passphrase",
        listen=listen or entry.address,
        external=entry.address if listen and listen != entry.address else "",
        peers=tuple([str(peer) for peer in network.others(signed.peer.node_id)]),
        moniker=entry.member.lower(),
        timeout_propose_ms=timeout_propose_ms,
        validator_key=voting,
        validator_passphrase_file=voting_passphrase,
        validator_record=record,
    )
    _complete(assembled, consortium)
    config = folder / CONFIG
    kept = config.exists()
    if not kept:
        config.write_text(
            _configuration(
                network.name,
                consortium,
                {"listen": grpc_listen or entry.grpc, "member": entry.member, **(settings or {})},
            ),
            encoding="utf-8",
        )
    return Readied(config, founder is not None, kept)


def _complete(assembled: Assembled, consortium: ConsortiumConfig) -> None:
    """CometBFT's home, with the genesis file that every bank's has alike."""
    genesis = assembled.genesis
    peers = tuple([Peer.parse(text) for text in consortium.peers])
    document = genesis_json(
        genesis,
        assembled.network.comet_chain,
        names={node.validator: node.member for node in genesis.nodes if node.validator},
    )
    complete_home(consortium.home, home_config(consortium, genesis, peers), document)


def _guard(folder: Path, comet_chain: str, validator: bytes, *, fresh: bool) -> tuple[Path | None, ...]:
    """Key, passphrase and record of a validator that the node guards; nothing where CometBFT has the key.
    fresh: the key has signed nothing yet, so its record is made. A record that was lost later is not: the key
    may have signed.
    """
    key, record = folder / KEYS / f"{VALIDATOR}.json", folder / VOTES
    if not key.exists():
        return None, None, None
    if fresh:
        Guard.create(record, comet_chain, validator)
    return key, folder / KEYS / f"{VALIDATOR}.passphrase", record


def _check_told(told: Particulars) -> None:
    """What a person types, refused before any key is made."""
    draft = _entry(told, (), NewNode("", bytes(32)), b"", bytes(32))
    for field in msgspec.structs.fields(Entry):
        if field.name not in ("keys", "node", "validator", "peer"):
            try:
                from_json(field.type, to_json(getattr(draft, field.name)), field.name)
            except JsonRefused as refused:
                raise NetworkRefused(Code.MALFORMED, str(refused)) from refused


def _save_with_passphrase(folder: Path, name: str, signer: SoftwareSigner, cost: int) -> None:
    """Write a key under a passphrase of its own beside it."""
    passphrase = folder / f"{name}.passphrase"
    secret = secrets.token_urlsafe(PASSPHRASE_BYTES).encode()
    passphrase.touch(mode=0o600, exist_ok=False)
    passphrase.write_bytes(secret + b"\n")
    save_signer(folder / f"{name}.json", signer, secret, label=name, cost=cost)


def _entry(
    told: Particulars, officers: Sequence[Officer], node: Signer | NewNode, validator: bytes, peer: bytes
) -> Entry:
    keys = [
        AdministratorKey(officer.signer.algorithm, officer.signer.public_key, officer.holder)
        for officer in officers
    ]
    return Entry(
        *(1, told.network, told.suite, told.member, told.full_name, told.bic, told.roles, tuple(keys)),
        NewNode(node.algorithm, node.public_key),
        *(validator, peer, told.address, told.grpc),
    )


def _configuration(name: str, consortium: ConsortiumConfig, settings: Settings) -> str:
    top = {
        "data_dir": DATA,
        "genesis": GENESIS,
        **settings,
    }
    table = {
        "home": COMET,
        "node_key": f"{KEYS}/{NODE}.json",
        "node_passphrase_file": f"{KEYS}/{NODE}.passphrase",
        "listen": consortium.listen,
        "external": consortium.external,
        "peers": list(consortium.peers),
        "moniker": consortium.moniker,
        "timeout_propose_ms": consortium.timeout_propose_ms,
    }
    if consortium.validator_key:
        table |= {
            "validator_key": f"{KEYS}/{VALIDATOR}.json",
            "validator_passphrase_file": f"{KEYS}/{VALIDATOR}.passphrase",
            "validator_record": VOTES,
        }
    lines = [
        f"# A Vostro node of the network {json.dumps(name, ensure_ascii=False)}.",
        "# Paths are relative to this file; `vostro doctor` checks what stands here.",
        *[f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in top.items()],
        "",
        "[consortium]",
        *[f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in table.items()],
    ]
    return "\n".join(lines) + "\n"
