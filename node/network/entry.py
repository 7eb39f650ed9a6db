"""A bank's entry: what it contributes to a network before there is one. Who it is, its first officers' keys,
its node's keys, where its node is reached; signed with every one of these keys.

    {"format": "vostro entry", "version": 1, "network": text, ..., "proofs": {"keys": [hex], ...}}

What always holds: an entry that was checked proves that whoever made it held every key in it (no bank can
enter another's key), that nothing in it was changed since, and for which network it was meant. Every
signature covers ``"vostro/sign/entry/1" || 0x00 || H("vostro/entry/1", encoding of the entry without its
proofs)``, H and the encoding being those of the chain (formats.md). JSON is another spelling and is never
signed.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from msgspec import Meta

from contracts.institutions import VOTER, Bic, FullName, NewKey, NewMemberId
from contracts.powers import NewNode, NewValidator
from node.client.signing import operation
from node.engine.cometbft.home import Peer, node_id
from node.json_form import JsonRefused, from_json, parse_document, to_json, write_document
from node.keys.signer import Signer
from node.keys.verify import VERIFIERS
from node.ledger import codec, hashing
from node.ledger.ports import Check
from node.ledger.types import AdministratorKey, Founder, Node, Operation, Record
from node.network.errors import Code, NetworkRefused

FORMAT: Final = "vostro entry"
FILE_BYTES_MAX: Final = 64 * 1024
LABEL_CHARACTERS_MAX: Final = 64
POWER: Final = 10
"""Of each founding validator: alike, with room for smaller steps."""
CONSENSUS_ALGORITHM: Final = "ed25519"
"""Of validators and of nodes among one another, whatever the suite: CometBFT's."""

_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f]")

NetworkName = Annotated[str, Meta(min_length=1, max_length=64)]
Place = Annotated[
    str, Meta(max_length=261, pattern=r"\A([A-Za-z0-9.-]{1,253}|\[[0-9a-fA-F:.]{2,45}\]):[0-9]{1,5}\Z")
]
"""host:port, an IPv6 address in brackets."""
EntryRole = Literal["issuer", "participant", "observer", "regulator", "voter"]
RawKey = Annotated[bytes, Meta(min_length=32, max_length=32)]
RawKeyOrNone = Annotated[bytes, Meta(max_length=32)]
Proof = Annotated[bytes, Meta(min_length=64, max_length=64)]
ProofOrNone = Annotated[bytes, Meta(max_length=64)]


class Entry(Record, frozen=True):
    """What a bank says. network: the name of the network that it is meant for. keys: of its first officers.
    node: signs its node's bundles. validator: votes on blocks; empty for a node that only follows. peer: by
    which other nodes know its CometBFT. address: where they reach it; grpc: where clients do.
    """

    version: Literal[1]
    network: NetworkName
    suite: Annotated[str, Meta(min_length=1, max_length=32)]
    member: NewMemberId
    full_name: FullName
    bic: Bic
    roles: Annotated[tuple[EntryRole, ...], Meta(min_length=1, max_length=5)]
    keys: Annotated[tuple[AdministratorKey, ...], Meta(min_length=1, max_length=16)]
    node: NewNode
    validator: RawKeyOrNone
    peer: RawKey
    address: Place
    grpc: Place


class Proofs(Record, frozen=True):
    """A signature of each key, in the entry's order. validator: empty where the entry has none."""

    keys: Annotated[tuple[Proof, ...], Meta(min_length=1, max_length=16)]
    node: Proof
    validator: ProofOrNone
    peer: Proof


@dataclass(frozen=True, slots=True)
class SignedEntry:
    """An entry with its proofs. One that ``read_entry`` or ``sign_entry`` gave is checked."""

    entry: Entry
    proofs: Proofs

    @property
    def member(self) -> str:
        """Whose it is."""
        return self.entry.member

    @property
    def peer(self) -> Peer:
        """What other nodes dial."""
        return Peer(node_id(self.entry.peer), self.entry.address)


def sign_entry(
    entry: Entry, officers: Sequence[Signer], node: Signer, validator: Signer | None, peer: Signer
) -> SignedEntry:
    """The entry with a signature of every key in it. Raises NetworkRefused where a signer's key is not the
    entry's, or the entry is refused.
    """
    message = message_of(entry)
    signed = SignedEntry(
        entry,
        Proofs(
            tuple([officer.sign(message) for officer in officers]),
            node.sign(message),
            validator.sign(message) if validator else b"",
            peer.sign(message),
        ),
    )
    return parse_entry(format_entry(signed), f"the entry of {entry.member}")


def message_of(entry: Entry) -> bytes:
    """What every signature of an entry covers. Raises NetworkRefused for an unknown suite."""
    suite = hashing.SUITES.get(entry.suite)
    if suite is None:
        raise NetworkRefused(
            Code.MALFORMED, f"there is no suite {entry.suite!r}, but {', '.join(hashing.SUITES)}"
        )
    return hashing.SIGN_ENTRY + suite.digest(hashing.ENTRY + codec.encode(entry))


def format_entry(signed: SignedEntry) -> bytes:
    """The file's bytes."""
    fields: dict[str, Any] = to_json(signed.entry)
    return write_document({"format": FORMAT, **fields, "proofs": to_json(signed.proofs)})


def read_entry(path: Path) -> SignedEntry:
    """The entry in a file, checked. Raises NetworkRefused."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise NetworkRefused(Code.MALFORMED, f"{path}: {error.strerror}") from error
    return parse_entry(data, str(path))


def parse_entry(data: bytes, place: str) -> SignedEntry:
    """The entry that a file's bytes spell, checked. place: for the refusal. Raises NetworkRefused."""
    try:
        document = parse_document(data, FILE_BYTES_MAX)
        if document.pop("format", None) != FORMAT:
            raise JsonRefused(f'it does not begin with "format": "{FORMAT}"')
        proofs: Proofs = from_json(Proofs, document.pop("proofs", None), "proofs")
        entry: Entry = from_json(Entry, document)
    except JsonRefused as refused:
        raise NetworkRefused(Code.MALFORMED, f"{place} is no entry: {refused}") from refused
    _check_fields(entry, place)
    _check_keys(entry, place)
    _check_proofs(entry, proofs, place)
    return SignedEntry(entry, proofs)


def keys_of(entry: Entry) -> list[tuple[str, str, bytes]]:
    """Every key of an entry: what it is, algorithm, public key; in the order of the proofs."""
    keys = [(f"officer {key.holder}", key.algorithm, key.public_key) for key in entry.keys]
    keys.append(("node", entry.node.algorithm, entry.node.public_key))
    if entry.validator:
        keys.append(("validator", CONSENSUS_ALGORITHM, entry.validator))
    keys.append(("peer", CONSENSUS_ALGORITHM, entry.peer))
    return keys


def founder_of(entry: Entry) -> Founder:
    """The member in genesis."""
    return Founder(entry.member, entry.full_name, entry.bic, entry.roles, entry.keys)


def node_of(entry: Entry) -> Node:
    """The member's node in genesis."""
    return Node(entry.member, entry.node.algorithm, entry.node.public_key, entry.validator)


def joining(entry: Entry, power: int = POWER) -> tuple[Operation, ...]:
    """What the members decide, all of it or nothing, when a bank joins later: its admission, and its
    validator with the node's key, or the node's key alone where the node only follows.
    """
    keys = tuple([NewKey(key.algorithm, key.public_key, key.holder, ("*",)) for key in entry.keys])
    admit = operation("members", "admit", entry.member, entry.full_name, entry.bic, entry.roles, keys)
    label = entry.address[:LABEL_CHARACTERS_MAX]
    if not entry.validator:
        return (admit, operation("validators", "register_node", entry.member, entry.node, label))
    validator = NewValidator(entry.member, CONSENSUS_ALGORITHM, entry.validator, power, label, entry.node)
    return (admit, operation("validators", "add", validator, ""))


def _check_fields(entry: Entry, place: str) -> None:
    """What the types leave open."""
    suite = hashing.SUITES.get(entry.suite)
    if suite is None:
        raise NetworkRefused(Code.MALFORMED, f"{place}: there is no suite {entry.suite!r}")
    if len(set(entry.roles)) != len(entry.roles):
        raise NetworkRefused(Code.MALFORMED, f"{place}: a role stands twice")
    if entry.validator and len(entry.validator) != len(entry.peer):
        raise NetworkRefused(Code.KEY, f"{place}: a validator's key has 32 bytes")
    for text in (entry.network, entry.full_name, *[key.holder for key in entry.keys]):
        if _CONTROL.search(text):
            raise NetworkRefused(Code.MALFORMED, f"{place}: a text holds a control character")
    for text in (entry.address, entry.grpc):
        if not 0 < int(text.rpartition(":")[2]) < 2**16:
            raise NetworkRefused(Code.MALFORMED, f"{place}: {text} has no port between 1 and 65535")
    if entry.address == entry.grpc:
        raise NetworkRefused(Code.ADDRESS_TWICE, f"{place}: other nodes and clients need two ports")


def _check_keys(entry: Entry, place: str) -> None:
    """Every key admissible, and no key twice."""
    suite = hashing.SUITES[entry.suite]
    verifier = VERIFIERS[suite.name]()
    seen: dict[bytes, str] = {}
    for what, algorithm, key in keys_of(entry):
        consensus = what in ("validator", "peer")
        if not consensus and algorithm not in suite.algorithms:
            raise NetworkRefused(
                Code.KEY, f"{place}: the {what} key: the suite {suite.name} has {', '.join(suite.algorithms)}"
            )
        if not verifier.is_valid_key(algorithm, key):
            raise NetworkRefused(Code.KEY, f"{place}: the {what} key is no public key of {algorithm}")
        if before := seen.get(key):
            raise NetworkRefused(Code.KEY_TWICE, f"{place}: the {what} key is the {before} key too")
        seen[key] = what


def _check_proofs(entry: Entry, proofs: Proofs, place: str) -> None:
    """A true signature of every key."""
    signatures = [*proofs.keys, proofs.node, *([proofs.validator] if entry.validator else []), proofs.peer]
    keys = keys_of(entry)
    if len(proofs.keys) != len(entry.keys) or bool(proofs.validator) != bool(entry.validator):
        raise NetworkRefused(Code.SIGNATURE, f"{place}: there must be one signature of each key")
    message = message_of(entry)
    checks = [
        Check(algorithm, key, message, signature)
        for (_, algorithm, key), signature in zip(keys, signatures, strict=True)
    ]
    for (what, _, _), true in zip(keys, VERIFIERS[entry.suite]().verify(checks), strict=True):
        if not true:
            raise NetworkRefused(
                Code.SIGNATURE,
                f"{place}: the {what} key did not sign this: ask {entry.member} for its entry by another way",
            )


def default_roles(*, observer: bool) -> tuple[EntryRole, ...]:
    """Of a bank that names none."""
    return ("observer",) if observer else ("participant", VOTER)
