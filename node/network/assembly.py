"""The genesis that every bank makes of the same entries, and where all nodes are reached.

What always holds: the same entries, name and time give the same bytes on every machine, in whatever order
they are named; so banks need not trust whoever assembles: each does, and all compare the chain id. Founders
govern from the first block on; there are no administrators.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from msgspec import Meta

from contracts.institutions import VOTER
from contracts.powers import may_fail
from node.engine.cometbft.home import Peer
from node.engine.cometbft.light import comet_chain_id
from node.genesis_file import LIMITS_DEFAULT, GenesisRefused, format_genesis, make_genesis, parse_genesis
from node.json_form import JsonRefused, from_json, parse_document, to_json, write_document
from node.ledger.genesis import chain_id
from node.ledger.types import Authority, Genesis, Hash, Limits, Record
from node.network.entry import (
    CONSENSUS_ALGORITHM,
    POWER,
    NetworkName,
    Place,
    SignedEntry,
    founder_of,
    keys_of,
    node_of,
)
from node.network.errors import Code, NetworkRefused

GENESIS: Final = "genesis.json"
NETWORK: Final = "network.json"
FORMAT: Final = "vostro network"
FILE_BYTES_MAX: Final = 1024 * 1024
NODES_MAX: Final = 256


class NetworkNode(Record, frozen=True):
    """Where a member's node is reached. peer: CometBFT's id of it, 40 hexadecimal digits."""

    member: Annotated[str, Meta(min_length=1, max_length=16)]
    peer: Annotated[str, Meta(pattern=r"\A[0-9a-f]{40}\Z")]
    address: Place
    grpc: Place
    validates: Annotated[int, Meta(ge=0, le=1)]


class Network(Record, frozen=True):
    """What network.json says: the founders' nodes, by member. chain: the identity that banks compare."""

    version: Literal[1]
    name: NetworkName
    chain: Hash
    comet_chain: Annotated[str, Meta(min_length=1, max_length=50)]
    nodes: Annotated[tuple[NetworkNode, ...], Meta(min_length=1, max_length=NODES_MAX)]

    def others(self, peer: str) -> tuple[Peer, ...]:
        """The peers of the node that CometBFT knows by this id."""
        return tuple([Peer(node.peer, node.address) for node in self.nodes if node.peer != peer])


@dataclass(frozen=True, slots=True)
class Assembled:
    """What a set of entries comes to."""

    genesis: Genesis
    network: Network

    @property
    def may_fail(self) -> int:
        """How many validators may fail without stopping the chain."""
        return may_fail([key.power for key in self.genesis.authority])


def assemble(
    entries: Sequence[SignedEntry], name: str, time_ms: int, *, limits: Limits = LIMITS_DEFAULT
) -> Assembled:
    """The genesis of checked entries, and the network. Raises NetworkRefused."""
    ordered = sorted(entries, key=lambda signed: signed.member)
    if not ordered:
        raise NetworkRefused(Code.NO_VALIDATOR, "there are no entries")
    _check_together(ordered, name)
    validators = sorted(signed.entry.validator for signed in ordered if signed.entry.validator)
    if not validators:
        raise NetworkRefused(Code.NO_VALIDATOR, "no entry has a validator: somebody must vote on blocks")
    if not any(VOTER in signed.entry.roles for signed in ordered):
        raise NetworkRefused(Code.FOUNDATION, f"no entry has the role {VOTER}: somebody must decide")
    try:
        genesis = make_genesis(
            name,
            (),
            tuple([Authority(CONSENSUS_ALGORITHM, key, POWER) for key in validators]),
            time_ms=time_ms,
            founders=tuple([founder_of(signed.entry) for signed in ordered]),
            nodes=tuple([node_of(signed.entry) for signed in ordered]),
            limits=limits,
            suite=ordered[0].entry.suite,
        )
    except GenesisRefused as refused:
        raise NetworkRefused(Code.FOUNDATION, f"these entries make no genesis: {refused}") from refused
    chain = chain_id(genesis)
    nodes = tuple(
        [
            NetworkNode(
                *(signed.member, signed.peer.node_id, signed.entry.address, signed.entry.grpc),
                1 if signed.entry.validator else 0,
            )
            for signed in ordered
        ]
    )
    return Assembled(genesis, Network(1, name, chain, comet_chain_id(chain), nodes))


def write_assembled(folder: Path, assembled: Assembled) -> None:
    """Write genesis.json and network.json. Raises NetworkRefused where others are there."""
    folder.mkdir(parents=True, exist_ok=True)
    write_once(folder / GENESIS, format_genesis(assembled.genesis))
    write_once(folder / NETWORK, format_network(assembled.network))


def write_once(path: Path, data: bytes) -> None:
    """Write a file, or find it as it shall be. Raises NetworkRefused where it is another."""
    try:
        with path.open("xb") as file:
            file.write(data)
    except FileExistsError as error:
        if path.read_bytes() != data:
            raise NetworkRefused(
                Code.DIRECTORY, f"{path} is there and says something else: choose another directory"
            ) from error


def format_network(network: Network) -> bytes:
    """The bytes of network.json."""
    fields: dict[str, Any] = to_json(network)
    return write_document({"format": FORMAT, **fields})


def read_foundation(genesis_path: Path, network_path: Path) -> Assembled:
    """Both files, of one chain. Raises NetworkRefused."""
    try:
        genesis = parse_genesis(genesis_path.read_bytes())
        document = parse_document(network_path.read_bytes(), FILE_BYTES_MAX)
        if document.pop("format", None) != FORMAT:
            raise JsonRefused(f'it does not begin with "format": "{FORMAT}"')
        network: Network = from_json(Network, document)
    except OSError as error:
        raise NetworkRefused(Code.DIRECTORY, f"{error.filename}: {error.strerror}") from error
    except JsonRefused as refused:
        raise NetworkRefused(Code.FOUNDATION, f"{genesis_path}, {network_path}: {refused}") from refused
    if network.chain != chain_id(genesis) or network.comet_chain != comet_chain_id(network.chain):
        raise NetworkRefused(Code.FOUNDATION, f"{genesis_path} and {network_path} are of different chains")
    return Assembled(genesis, network)


def parse_time(text: str) -> int:
    """Milliseconds since 1970 of an ISO 8601 time with its zone. Raises NetworkRefused."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise NetworkRefused(Code.FOUNDATION, f"{text!r} is no time: 2026-01-05T09:00:00Z is one") from error
    if moment.tzinfo is None or moment.timestamp() <= 0:
        raise NetworkRefused(
            Code.FOUNDATION, f"{text!r} names no zone, or lies before 1970: 2026-01-05T09:00:00Z is a time"
        )
    return round(moment.timestamp() * 1_000)


def _check_together(ordered: Sequence[SignedEntry], name: str) -> None:
    """What one entry does not show: all of one network, nothing of two banks."""
    first = ordered[0].entry
    keys: dict[bytes, str] = {}
    places: dict[str, str] = {}
    members: set[str] = set()
    for signed in ordered:
        entry, member = signed.entry, signed.member
        if member in members:
            raise NetworkRefused(
                Code.MEMBER_TWICE, f"{member} stands in two entries: take its last one alone"
            )
        members.add(member)
        if entry.network != name:
            raise NetworkRefused(
                Code.OTHER_NETWORK,
                f"{member} entered {entry.network!r}, not {name!r}: ask it for another entry",
            )
        if entry.suite != first.suite:
            raise NetworkRefused(
                Code.OTHER_SUITE, f"{member} has the suite {entry.suite}, {first.member} {first.suite}"
            )
        for what, _, key in keys_of(entry):
            if before := keys.get(key):
                raise NetworkRefused(
                    Code.KEY_TWICE, f"the {what} key of {member} is a key of {before} too: both make new ones"
                )
            keys[key] = member
        for place in (entry.address, entry.grpc):
            if before := places.get(place):
                raise NetworkRefused(Code.ADDRESS_TWICE, f"{member} and {before} name the same place {place}")
            places[place] = member
