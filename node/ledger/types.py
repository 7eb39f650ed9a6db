"""The nouns of the ledger: what is hashed, signed, stored and handed out. No logic lives here.

Every struct is written as an array of its fields in declared order (formats.md, "Encoding"). The types are
closed and bounded, so that nesting, maps, floats and absent values are refused by decoding itself. Amounts
are minor units of their asset.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, Literal, NamedTuple

from msgspec import Meta, Struct

if TYPE_CHECKING:
    from node.ledger.transactions import Candidate

INTEGER_MAX: Final = 2**63 - 1
AMOUNT_MAX: Final = 10**18
OPERATIONS_MAX: Final = 100
SIGNATURES_MAX: Final = 16
EVENTS_MAX: Final = 4_096
AUTHORITY_MAX: Final = 1_024
POWER_MAX: Final = 2**40
EVIDENCE_MAX: Final = 1_024
TRANSACTION_BYTES_MAX: Final = 128 * 1024
BUNDLE_BYTES_MAX: Final = 512 * 1024
BUNDLE_ITEMS_MAX: Final = 4_096
BLOCK_BUNDLES_MAX: Final = 1_024
"""Of a proposal, since the signature of each bundle is verified before the vote and weighs nothing."""
DURATION_MAX_MS: Final = 90 * 86_400_000
REQUEST_ID_BYTES: Final = 16
CREATED_AHEAD_MS: Final = 60_000
"""How far a request id may lie ahead of block time: clocks differ."""
SIGNATURE_BYTES: Final = 64

Integer = Annotated[int, Meta(ge=0, le=INTEGER_MAX)]
Height = Annotated[int, Meta(ge=0, le=INTEGER_MAX)]
TimeMs = Annotated[int, Meta(ge=0, le=INTEGER_MAX)]
Count = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Code = Annotated[int, Meta(ge=0, le=2**16 - 1)]
Amount = Annotated[int, Meta(ge=1, le=AMOUNT_MAX)]
Balance = Annotated[int, Meta(ge=0, le=AMOUNT_MAX)]
Hash = Annotated[bytes, Meta(min_length=32, max_length=32)]
ChainPrefix = Annotated[bytes, Meta(min_length=8, max_length=8)]
KeyId = Annotated[bytes, Meta(min_length=16, max_length=16)]
RequestId = Annotated[bytes, Meta(min_length=REQUEST_ID_BYTES, max_length=REQUEST_ID_BYTES)]
Signature = Annotated[bytes, Meta(min_length=SIGNATURE_BYTES, max_length=SIGNATURE_BYTES)]
PublicKey = Annotated[bytes, Meta(min_length=32, max_length=33)]
Algorithm = Annotated[str, Meta(min_length=1, max_length=16)]
MemberId = Annotated[str, Meta(min_length=1, max_length=16), "member"]
"""Told apart from an AssetId, which has the same shape, by who reads what names a member."""
AssetId = Annotated[str, Meta(min_length=1, max_length=16)]
AccountId = Annotated[str, Meta(min_length=3, max_length=52)]
Name = Annotated[str, Meta(min_length=1, max_length=32)]
ValidatorKey = Annotated[bytes, Meta(max_length=33)]
Part = Annotated[int, Meta(ge=1, le=1_000)]
DurationMs = Annotated[int, Meta(ge=0, le=DURATION_MAX_MS)]
Address = Annotated[bytes, Meta(min_length=20, max_length=20)]
Arguments = Annotated[bytes, Meta(max_length=TRANSACTION_BYTES_MAX)]
Fields = Annotated[bytes, Meta(max_length=TRANSACTION_BYTES_MAX)]


class Record(Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """Base of everything that has an encoding: an array of fields, immutable, compared by value."""


class Operation(Record, frozen=True):
    """One call of a contract method."""

    contract: Name
    method: Name
    arguments: Arguments


class Transaction(Record, frozen=True):
    """A member's request: operations that are applied together or not at all."""

    version: Literal[1]
    chain: ChainPrefix
    member: MemberId
    request_id: RequestId
    valid_until_ms: TimeMs
    operations: Annotated[tuple[Operation, ...], Meta(min_length=1, max_length=OPERATIONS_MAX)]


class KeySignature(Record, frozen=True):
    """A signature and the key that is said to have made it."""

    key_id: KeyId
    signature: Signature


class SignedTransaction(Record, frozen=True):
    """A transaction's bytes, as received, and its signatures in ascending order of distinct key ids."""

    transaction: Annotated[bytes, Meta(max_length=TRANSACTION_BYTES_MAX)]
    signatures: Annotated[tuple[KeySignature, ...], Meta(min_length=1, max_length=SIGNATURES_MAX)]


BundleItems = Annotated[
    tuple[Annotated[bytes, Meta(max_length=TRANSACTION_BYTES_MAX)], ...],
    Meta(min_length=1, max_length=BUNDLE_ITEMS_MAX),
]


class BundleBody(Record, frozen=True):
    """A bundle without its signature: what the signature covers. ``sequence`` only makes bytes distinct."""

    version: Literal[1]
    node: KeyId
    sequence: Integer
    items: BundleItems


class Bundle(Record, frozen=True):
    """Signed transactions carried as one through consensus, signed by the node that accepted them."""

    version: Literal[1]
    node: KeyId
    sequence: Integer
    items: BundleItems
    signature: Signature


class Event(Record, frozen=True):
    """A fact emitted by an applied transaction; ``fields`` is the encoding of the event's own record."""

    contract: Name
    event: Name
    fields: Fields


class Receipt(Record, frozen=True):
    """The decided outcome of a transaction. ``code`` 0 is applied; a refused one has no events."""

    version: Literal[1]
    tx_id: Hash
    height: Height
    index: Count
    codespace: Annotated[str, Meta(max_length=32)]
    code: Code
    failed_operation: Code
    events: Annotated[tuple[Event, ...], Meta(max_length=EVENTS_MAX)]


class Leaf(Record, frozen=True):
    """A transaction as the transactions root commits to it."""

    tx_id: Hash
    member: Annotated[str, Meta(max_length=16)]
    request_id: RequestId
    signed_hash: Hash


class Header(Record, frozen=True):
    """A block's commitments; its hash is the app hash."""

    version: Literal[1]
    chain: Hash
    protocol: Count
    height: Height
    time_ms: TimeMs
    previous_app_hash: Hash
    history_root: Hash
    transaction_count: Count
    transactions_root: Hash
    receipts_root: Hash
    state_root: Hash
    authority_root: Hash


class Authority(Record, frozen=True):
    """One key whose signature certifies headers, with its power."""

    algorithm: Algorithm
    public_key: PublicKey
    power: Annotated[int, Meta(ge=1, le=POWER_MAX)]


class PowerChange(NamedTuple):
    """The power that a key of the authority has from now on; 0: none, it is removed."""

    algorithm: str
    public_key: bytes
    power: int


class NodeKey(NamedTuple):
    """A key that signs bundles."""

    algorithm: str
    public_key: bytes


class AdministratorKey(Record, frozen=True):
    """A member's key in genesis, and the officer who holds it."""

    algorithm: Algorithm
    public_key: PublicKey
    holder: Name


class Node(Record, frozen=True):
    """A member's node. ``algorithm`` and ``public_key``: of the key with which it signs bundles. validator:
    the public key with which it votes on blocks, whose power stands in ``authority``; empty where it only
    follows.
    """

    member: MemberId
    algorithm: Algorithm
    public_key: PublicKey
    validator: ValidatorKey


class Founder(Record, frozen=True):
    """A member from the beginning, with its first keys; each may sign everything."""

    member: MemberId
    full_name: Annotated[str, Meta(min_length=1, max_length=140)]
    bic: Annotated[str, Meta(max_length=11)]
    roles: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=8)]
    keys: Annotated[tuple[AdministratorKey, ...], Meta(min_length=1, max_length=16)]


class Requirement(Record, frozen=True):
    """What a kind of change takes: approval by at least ``numerator`` of ``denominator`` parts of the voters,
    and then, where ``waiting_ms`` is not 0, so long a time in which members can veto it.
    """

    numerator: Part
    denominator: Part
    waiting_ms: DurationMs


class GovernanceRules(Record, frozen=True):
    """How the members change what they have in common. Each kind of change has its requirement: members;
    validators and nodes; upgrades, which are contracts and the protocol; these rules and who governs;
    recovery of a member without keys. veto: ends a proposal once so large a part of the voters rejects it.
    lifetime_ms: how long a proposal takes ballots.
    """

    members: Requirement
    validators: Requirement
    upgrades: Requirement
    rules: Requirement
    recovery: Requirement
    veto_numerator: Part
    veto_denominator: Part
    lifetime_ms: Annotated[int, Meta(ge=1_000, le=DURATION_MAX_MS)]


class Limits(Record, frozen=True):
    """Constants of a chain: no governance changes them, because every node must judge a bundle alike before
    it knows the state.

    lifetime_ms: how long a transaction lives from its creation. heartbeat_ms: how stale block time may
    become. block_work_max and block_bytes_max: what one block may hold, in units of work (transactions.py)
    and bytes of signed transactions.
    """

    lifetime_ms: Annotated[int, Meta(ge=1_000, le=86_400_000)]
    heartbeat_ms: Annotated[int, Meta(ge=10, le=60_000)]
    block_work_max: Annotated[int, Meta(ge=100_000, le=INTEGER_MAX)]
    block_bytes_max: Annotated[int, Meta(ge=BUNDLE_BYTES_MAX, le=64 * 1024 * 1024)]


class Activation(Record, frozen=True):
    """From which height a contract acts."""

    contract: Name
    height: Height


class Genesis(Record, frozen=True):
    """What a chain begins with. The hash of its encoding is the chain's identity.

    administrator: the member id under which ``administrators`` sign, ``threshold`` of their holders together;
    empty, none and 0 where founders govern from the beginning. founders: members from the beginning.
    authority: whose signatures certify headers. nodes: which may sign bundles. governance: how members
    decide. contracts: which act from which height; their order is the order of scheduled work.
    """

    version: Literal[2]
    name: Annotated[str, Meta(min_length=1, max_length=64)]
    suite: Name
    protocol: Count
    time_ms: TimeMs
    limits: Limits
    administrator: Annotated[str, Meta(max_length=16)]
    threshold: Annotated[int, Meta(ge=0, le=SIGNATURES_MAX)]
    administrators: Annotated[tuple[AdministratorKey, ...], Meta(max_length=64)]
    founders: Annotated[tuple[Founder, ...], Meta(max_length=256)]
    authority: Annotated[tuple[Authority, ...], Meta(min_length=1, max_length=AUTHORITY_MAX)]
    nodes: Annotated[tuple[Node, ...], Meta(max_length=AUTHORITY_MAX)]
    governance: GovernanceRules
    contracts: Annotated[tuple[Activation, ...], Meta(min_length=1, max_length=64)]


class Evidence(Record, frozen=True):
    """A validator's misbehaviour, as the engine proved it. address: the first 20 bytes of SHA-256 of its
    public key. height and time_ms: of the misbehaviour. power: the validator's then, of ``total_power``.
    """

    kind: Literal["duplicate-vote", "light-client-attack"]
    address: Address
    height: Height
    time_ms: TimeMs
    power: Integer
    total_power: Integer


EvidenceList = Annotated[tuple[Evidence, ...], Meta(max_length=EVIDENCE_MAX)]
"""What one block tells of; its encoding is the body of the block's system leaf."""

Write = tuple[bytes, bytes | None]
"""A record's key and its new encoding; None deletes it."""


@dataclass(frozen=True, slots=True)
class Block:
    """What an engine hands to ``Ledger.finalize_block``: an order of signed transactions at a height and a
    time, with the evidence that the engine found. An item that ``Ledger.read`` has read already may be
    handed in as it was read. nodes: the key id of the node that bundled each item; none where an engine makes
    no bundles, and for a replay, which hands in what was decided.
    """

    height: int
    time_ms: int
    items: "tuple[bytes | Candidate, ...]" = ()
    evidence: tuple[Evidence, ...] = ()
    nodes: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class BlockRecord:
    """A finished block as the store keeps it.

    header: its encoding; app_hash: its hash. leaves, bodies, receipts: encodings, equally many, in order (the
    body of a system receipt is the evidence, empty where there is none). writes: ascending by key. tree: the
    pairs (K, V) that the writes change in the state tree, V None where the record is gone. history: nodes
    completed in the history tree, as (level, index, hash). spent: (member, request id, tx id, index) of each
    transaction, as the leaves say it. certificate: the sequencer's signature of the header; empty where
    consensus certifies it elsewhere.
    """

    height: int
    time_ms: int
    app_hash: bytes
    header: bytes
    leaves: tuple[bytes, ...] = ()
    bodies: tuple[bytes, ...] = ()
    receipts: tuple[bytes, ...] = ()
    writes: tuple[Write, ...] = ()
    tree: tuple[Write, ...] = ()
    history: tuple[tuple[int, int, bytes], ...] = ()
    spent: tuple[tuple[str, bytes, bytes, int], ...] = ()
    certificate: bytes = b""
