"""What the ledger asks of the world, as small Protocols. storage/ and keys/ implement them; app.py plugs them
in.

The ledger never learns where bytes live or which library verifies a signature, and a test can hand it plain
dictionaries.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from node.ledger.snapshot import Plan, Snapshot
from node.ledger.types import BlockRecord, Operation, Record


class Check(NamedTuple):
    """One question to a Verifier: did the holder of ``public_key`` sign ``message``?"""

    algorithm: str
    public_key: bytes
    message: bytes
    signature: bytes


class Verifier(Protocol):
    """Decides signatures. The same question has the same answer on every node of a release."""

    def verify(self, checks: Sequence[Check]) -> Sequence[bool]:
        """Answer each check, in order. A list, so that batch verification can come in without a change."""

    def is_valid_key(self, algorithm: str, public_key: bytes) -> bool:
        """Whether a public key may be registered (formats.md, "Suites, hashes, keys")."""


class Proofs(Protocol):
    """What a contract may ask of cryptography: pure, the same on every node of a release."""

    def is_valid_key(self, algorithm: str, public_key: bytes) -> bool:
        """Whether the chain's suite admits this public key."""

    def is_valid_authority_key(self, algorithm: str, public_key: bytes) -> bool:
        """Whether the chain's suite admits this public key of somebody who certifies headers."""

    def is_valid_encryption_key(self, algorithm: str, public_key: bytes) -> bool:
        """Whether the chain's suite admits this public key for encryption."""

    def key_id(self, algorithm: str, public_key: bytes) -> bytes:
        """The 16 bytes that name it."""

    def unique_id(self, tx_id: bytes, operation: int) -> bytes:
        """32 bytes that name what an operation of a transaction made; anybody who has the transaction can
        compute them.
        """

    def content_hash(self, content: tuple[Operation, ...]) -> bytes:
        """32 bytes that stand for exactly these operations, in this order."""

    def subject(self, contract: str, parts: tuple[str | int | bytes, ...]) -> bytes:
        """32 bytes that stand for what these parts name within a contract, the same for whoever names it."""

    def validator_address(self, public_key: bytes) -> bytes:
        """The 20 bytes by which consensus names a validator."""


class Spent(Record, frozen=True):
    """Who spent a request id: the transaction and where its receipt stands."""

    tx_id: bytes
    height: int
    index: int


class Reader(Protocol):
    """Records of the state at one height, in bytes."""

    @property
    def height(self) -> int:
        """Height of the last block whose writes are in view; 0 before genesis."""

    def get(self, key: bytes) -> bytes | None:
        """The record's encoding, or None."""

    def scan(
        self, prefix: bytes, start: bytes = b"", *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Records whose key begins with ``prefix``, in order of keys, from ``start`` on (inclusive; a full
        key; empty = from the end of the range where the direction begins). With ``reverse``, downwards from
        ``start``.
        """


class Installation(Protocol):
    """A snapshot on its way into an empty store. Whatever is handed in was proved. Until ``finish`` returns,
    and after a crash before that, the store is as empty as it was.
    """

    def add_window(self, position: int, blocks: Sequence[BlockRecord]) -> None:
        """Headers and leaves of blocks, the first of them number ``position``."""

    def add_state(self, records: Sequence[bytes], pairs: bytes) -> None:
        """Records as key, value, key, value ..., and of each K || V, joined."""

    def keep(self, index: int, chunk: bytes) -> None:
        """Keep the bytes of a chunk, from 1 on, for others, and to rebuild from."""

    def finish(self) -> None:
        """Everything is there: the store stands at the snapshot's header from now on."""

    def abandon(self) -> None:
        """Throw away what was handed in."""


class SnapshotStore(Protocol):
    """Snapshots that a store keeps, and the way in for one of another node."""

    def snapshots(self) -> Sequence[Snapshot]:
        """The complete ones, newest first."""

    def snapshot_chunk(self, height: int, index: int) -> bytes:
        """A chunk of one; empty where there is no such chunk."""

    def install(self, plan: Plan) -> Installation:
        """Begin to take a snapshot in. Raises StoreFailed where the store has a block already."""


class Store(Reader, SnapshotStore, Protocol):
    """The state as the next block sees it, and the block log. ``get`` and ``scan`` see everything staged."""

    def stage(self, record: BlockRecord) -> None:
        """Take a finished block: its writes are visible to ``get`` at once, durable after ``sync``."""

    def sync(self) -> int:
        """Make every staged block durable, each by one synced log record; return the durable height."""

    def snapshot(self) -> Reader:
        """A view of the last durable block, unmoved by later ones."""

    def spent(self, member: str, request_id: bytes) -> Spent | None:
        """Who spent this request id within the transaction lifetime, if anybody; staged blocks included."""

    def tree_scan(self, low: bytes, high: bytes | None) -> Iterable[tuple[bytes, bytes]]:
        """The state tree's pairs (K, V) with ``low <= K < high``, ascending; no upper bound where ``high`` is
        None. Staged blocks included.
        """

    def history_node(self, level: int, index: int) -> bytes | None:
        """A complete node of the history tree (merkle.History), staged blocks included."""

    @property
    def header_count(self) -> int:
        """How many headers there are, the staged ones and that of genesis included."""

    def head(self) -> BlockRecord | None:
        """The last staged block without its bodies, receipts and writes (header, certificate); None before
        genesis.
        """
