"""What all tests share: keys, request ids, a genesis and a world to run blocks in. Nothing is left to chance.

Every key comes from its name, every request id from a counter, every time from the caller, so that a test
that fails fails again. ``World`` is one chain over one store; ``Consortium`` is a world with banks, money and
accounts in every condition.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

from msgspec import structs

from contracts import assemble
from contracts.institutions import NewKey, Roles
from node.client import signing
from node.genesis_file import GOVERNANCE_DEFAULT
from node.keys.signer import SoftwareSigner, from_secret
from node.keys.verify import VERIFIERS
from node.ledger import codec
from node.ledger.contract import Contract
from node.ledger.errors import ErrorCode, Rejected
from node.ledger.hashing import INTERNATIONAL, SUITES, Suite
from node.ledger.ledger import Discarded, Finalized, Ledger
from node.ledger.ports import Check, Verifier
from node.ledger.types import (
    Activation,
    AdministratorKey,
    Authority,
    Block,
    BlockRecord,
    Event,
    Genesis,
    Limits,
    Node,
    Operation,
    Receipt,
)
from node.storage.memory import MemoryStore

START_MS: Final = 1_700_000_000_000
STEP_MS: Final = 1_000
ADMINISTRATOR: Final = "ADMIN"
ADMINISTRATORS: Final = ("chair", "deputy", "secretary")
NO_TERMS: Final = bytes(32)
LIMITS: Final = Limits(
    lifetime_ms=600_000, heartbeat_ms=1_000, block_work_max=1_000_000, block_bytes_max=4 * 1024 * 1024
)
RULES: Final = structs.replace(GOVERNANCE_DEFAULT, lifetime_ms=3_600_000)

op = signing.operation


_SUITES: Final = [INTERNATIONAL]


@contextmanager
def using(suite: Suite) -> Iterator[None]:
    """Keys and geneses are of this suite while it lasts: how a test runs on a second one."""
    _SUITES.append(suite)
    try:
        yield
    finally:
        _SUITES.pop()


def spoilt(data: bytes) -> bytes:
    """The same bytes but for the last: of a signed transaction or bundle, with a signature that is false."""
    return data[:-1] + bytes((data[-1] ^ 1,))


def officer(name: str) -> SoftwareSigner:
    """The key that belongs to a name, in the suite in use."""
    return _key_of(_SUITES[-1].algorithms[0], name)


@cache
def _key_of(algorithm: str, name: str) -> SoftwareSigner:
    return from_secret(algorithm, hashlib.sha256(name.encode()).digest())


def new_key(name: str, holder: str = "", scopes: tuple[str, ...] = ("*",)) -> NewKey:
    """A name's key, to be registered."""
    return NewKey(officer(name).algorithm, officer(name).public_key, holder or name, scopes)


def request_id(created_ms: int, number: int) -> bytes:
    """A UUIDv7 of this time; ``number`` stands where others have chance."""
    tail = (0b10 << 62 | number).to_bytes(8, "big")
    return created_ms.to_bytes(6, "big") + b"\x70\x00" + tail


def make_genesis(
    *,
    limits: Limits = LIMITS,
    contracts: Sequence[tuple[str, int]] = (
        ("members", 0),
        ("validators", 0),
        ("governance", 0),
        ("assets", 0),
        ("transfers", 0),
        ("blacklist", 0),
        ("encryption", 0),
        ("registration", 0),
        ("servicing", 0),
        ("settlement", 0),
        ("trading", 0),
        ("anchors", 0),
        ("approvals", 0),
        ("vault", 0),
        ("cycles", 0),
        ("offsets", 0),
        ("exchange", 0),
        ("reconciliation", 0),
        ("main_account", 0),
        ("calendars", 0),
        ("participants", 0),
        ("queues", 0),
        ("clearing", 0),
    ),
    time_ms: int = START_MS,
) -> Genesis:
    """Three administrators of whom two sign, one sequencer's key, every contract active from the start."""
    return Genesis(
        version=2,
        name="test",
        suite=_SUITES[-1].name,
        protocol=1,
        time_ms=time_ms,
        limits=limits,
        administrator=ADMINISTRATOR,
        threshold=2,
        administrators=tuple(
            AdministratorKey(officer(name).algorithm, officer(name).public_key, name)
            for name in ADMINISTRATORS
        ),
        founders=(),
        authority=(Authority(officer("sequencer").algorithm, officer("sequencer").public_key, 1),),
        nodes=(Node(ADMINISTRATOR, officer("node").algorithm, officer("node").public_key, b""),),
        governance=RULES,
        contracts=tuple(Activation(name, height) for name, height in contracts),
    )


class World:
    """One chain over one store in memory, its genesis committed, and who signs for each member."""

    def __init__(
        self,
        genesis: Genesis | None = None,
        *,
        contracts: Callable[[], tuple[Contract, ...]] = assemble,
        store: MemoryStore | None = None,
        verifier: Verifier | None = None,
        records: int = 100_000,
        leaf_bytes: int = 64 * 1024 * 1024,
    ) -> None:
        self.genesis = genesis or make_genesis()
        self.store = store or MemoryStore(lifetime_ms=self.genesis.limits.lifetime_ms)
        self.contracts = contracts
        self.ledger = Ledger(
            self.genesis,
            contracts,
            self.store,
            verifier or VERIFIERS[self.genesis.suite](),
            records=records,
            leaf_bytes=leaf_bytes,
        )
        self.officers: dict[str, tuple[str, ...]] = {ADMINISTRATOR: ADMINISTRATORS[:2]}
        self.numbers = 0
        self.height = 0
        self._records: list[BlockRecord] = []
        if self.store.head() is None:
            self.commit(self.ledger.init_chain())

    @property
    def time_ms(self) -> int:
        """Time of the last block with a header."""
        return self.ledger.info().time_ms

    @property
    def chain_id(self) -> bytes:
        return self.ledger.chain.chain_id

    def blocks(self) -> list[BlockRecord]:
        """All committed blocks, as they were handed to the store."""
        return self._records

    # --- making transactions --------------------------------------------------------------------------------

    def new_request_id(self, created_ms: int | None = None) -> bytes:
        """A request id never used in this world, created at the head's time unless told."""
        self.numbers += 1
        return request_id(self.time_ms if created_ms is None else created_ms, self.numbers)

    def body(
        self,
        member: str,
        *operations: Operation,
        created_ms: int | None = None,
        use_id: bytes | None = None,
        valid_until_ms: int = 0,
    ) -> bytes:
        """The bytes of an unsigned transaction."""
        identifier = use_id or self.new_request_id(created_ms)
        return signing.transaction(
            self.chain_id, member, operations, request_id=identifier, valid_until_ms=valid_until_ms
        )

    def sign(self, body: bytes, *officers: str) -> bytes:
        """A transaction signed by these officers."""
        suite = SUITES[self.genesis.suite]
        return signing.sign(suite, self.chain_id, body, [officer(name) for name in officers])

    def make(
        self, member: str, *operations: Operation, officers: Sequence[str] = (), **options: Any
    ) -> bytes:
        """A transaction signed by the member's usual officers, or by those given."""
        return self.sign(self.body(member, *operations, **options), *(officers or self.officers[member]))

    def knock(self, raw: bytes) -> tuple[Check, ...]:
        """Hand a transaction in at the door; the signature checks that remain. Raises Rejected."""
        return self.ledger.check_at_door(self.ledger.read(raw), self.time_ms)

    # --- running blocks -------------------------------------------------------------------------------------

    def finalize(self, *items: bytes, time_ms: int | None = None) -> Finalized:
        """Run a block at the next height, a second after the last header unless told; not committed."""
        at = self.time_ms + STEP_MS if time_ms is None else time_ms
        return self.ledger.finalize_block(Block(self.height + 1, at, items))

    def commit(self, finalized: Finalized) -> None:
        """Commit, make durable and publish what was finalized."""
        self.ledger.commit()
        if finalized.record:
            self._records.append(finalized.record)
        self.store.sync()
        self.ledger.publish()

    def block(self, *items: bytes, time_ms: int | None = None) -> tuple[Receipt | Discarded, ...]:
        """Run and commit a block; one outcome an item."""
        finalized = self.finalize(*items, time_ms=time_ms)
        self.height += 1
        self.commit(finalized)
        return finalized.outcomes

    def send(
        self, member: str, *operations: Operation, time_ms: int | None = None, **options: Any
    ) -> Receipt:
        """Run one transaction in a block of its own; it must be decided."""
        (outcome,) = self.block(self.make(member, *operations, **options), time_ms=time_ms)
        assert isinstance(outcome, Receipt), outcome
        return outcome

    def apply(
        self, member: str, *operations: Operation, time_ms: int | None = None, **options: Any
    ) -> Receipt:
        """Run one transaction that must be applied."""
        receipt = self.send(member, *operations, time_ms=time_ms, **options)
        assert receipt.code == 0, (
            f"{receipt.codespace}/{receipt.code} at operation {receipt.failed_operation}"
        )
        return receipt

    def admit(self, member: str, *roles: str, officers: tuple[str, ...] = ()) -> None:
        """The administrators admit a member with a key for each officer."""
        self.officers[member] = officers or (f"{member}-officer",)
        self.apply(ADMINISTRATOR, admission(member, roles or ("participant",), self.officers[member]))

    # --- reading --------------------------------------------------------------------------------------------

    def record(self, contract: str, table: str, *parts: str | int | bytes) -> Any:
        """A record of the published state, or None."""
        return getattr(self.ledger.readers[contract], table).get(*parts)

    def rows(self, contract: str, table: str) -> dict[tuple[Any, ...], Any]:
        """All records of a table in the published state."""
        return dict(getattr(self.ledger.readers[contract], table).scan())

    def balance(self, account: str, asset: str = "CZK") -> tuple[int, int]:
        """(posted, held) of an account."""
        position = self.record("assets", "balance", account, asset)
        return (position.posted, position.held) if position else (0, 0)

    def state(self) -> dict[bytes, bytes]:
        """Every record there is."""
        return dict(self.store.scan(b""))


def admission(member: str, roles: tuple[str, ...], officers: tuple[str, ...]) -> Operation:
    """The operation that admits a member."""
    typed: Roles = roles  # type: ignore[assignment]  # the decoder refuses others
    return op(
        "members", "admit", member, f"Bank {member}", "", typed, tuple(new_key(name) for name in officers)
    )


def told(receipt: Receipt) -> list[tuple[str, list[Any]]]:
    """A receipt's events as (contract.event, fields)."""
    return [(f"{event.contract}.{event.event}", fields_of(event)) for event in receipt.events]


def fields_of(event: Event) -> list[Any]:
    """An event's fields, in order."""
    values: list[Any] = _decode_any(event.fields)
    return values


def refusal(outcome: Receipt | Discarded) -> tuple[str, int]:
    """The (codespace, code) of a refused or discarded item; ("", 0) of an applied one."""
    if isinstance(outcome, Discarded):
        return outcome.error.codespace, outcome.error.code
    return outcome.codespace, outcome.code


def is_refused(outcome: Receipt | Discarded, error: ErrorCode) -> bool:
    """Decided, and refused with this code."""
    return isinstance(outcome, Receipt) and refusal(outcome) == (error.codespace, error.code)


def is_discarded(outcome: Receipt | Discarded | None, error: ErrorCode) -> bool:
    """Not decided, for this reason."""
    return isinstance(outcome, Discarded) and outcome.error is error


def discarded(world: World, raw: bytes, *, time_ms: int | None = None, door: bool = True) -> Discarded | None:
    """The item as a block discards it; None where the block does not, where it leaves a trace, or where the
    door gives another answer.
    """
    at_door = None
    if door:
        try:
            world.knock(raw)
        except Rejected as refused:
            at_door = refused.error
    before, head = world.state(), world.ledger.info()
    (outcome,) = world.block(raw, time_ms=time_ms)
    if not isinstance(outcome, Discarded) or (world.state(), world.ledger.info()) != (before, head):
        return None
    return outcome if at_door is outcome.error or not door else None


def applied(world: World, raw: bytes, *, time_ms: int | None = None) -> bool:
    (outcome,) = world.block(raw, time_ms=time_ms)
    return isinstance(outcome, Receipt) and outcome.code == 0


_decode_any: Callable[[bytes], Any] = codec.decoder(Any)


class Consortium(World):
    """Banks with money: CNB issues CZK and EUR; PA and KB have accounts in every condition, and PA has holds.

    CZK: PA/main 1,000 of which 200 are held; PA/frozen 100 of which 50; KB/main 500; CNB/main 400. EUR is
    frozen: PA/main 300 of which 10 are held. Holds, named in ``holds``, expire ``HOLD_MS`` after the start.
    """

    HOLD_MS: Final = 3_600_000

    def __init__(self, genesis: Genesis | None = None, **options: Any) -> None:
        super().__init__(genesis, **options)
        self.holds: dict[str, tuple[str, bytes]] = {}
        self._admit_all()
        self._fund()
        self._reserve_all()
        self.apply("CNB", op("assets", "freeze_asset", "EUR"))
        self.apply(
            "PA", op("assets", "freeze_account", "PA/frozen"), op("assets", "close_account", "PA/closed")
        )
        self.apply(
            "KB", op("assets", "freeze_account", "KB/frozen"), op("assets", "close_account", "KB/closed")
        )

    def _admit_all(self) -> None:
        for member, role in (
            ("CNB", "issuer"),
            ("PA", "participant"),
            ("KB", "participant"),
            ("GONE", "participant"),
        ):
            self.admit(member, role)
        self.apply(ADMINISTRATOR, op("members", "suspend", "GONE", "left"))
        self.apply("CNB", register("CZK", "currency"), register("EUR", "currency"))
        self.apply("CNB", op("assets", "open_accounts", ("CNB/main",)))
        for bank in ("PA", "KB"):
            names = ("main", "empty", "frozen", "closed")
            self.apply(bank, op("assets", "open_accounts", tuple(f"{bank}/{name}" for name in names)))

    def _fund(self) -> None:
        self.apply(
            "CNB",
            op("assets", "issue", "CZK", "PA/main", 1_000, ""),
            op("assets", "issue", "CZK", "PA/frozen", 100, ""),
            op("assets", "issue", "CZK", "KB/main", 500, ""),
            op("assets", "issue", "CZK", "CNB/main", 400, ""),
            op("assets", "issue", "EUR", "PA/main", 300, ""),
        )

    def _reserve_all(self) -> None:
        for name, source, destination, asset, amount in (
            ("pending", "PA/main", "KB/main", "CZK", 50),
            ("voided", "PA/main", "KB/main", "CZK", 50),
            ("frozen-asset", "PA/main", "KB/main", "EUR", 10),
            ("frozen-source", "PA/frozen", "KB/main", "CZK", 50),
            ("closed-destination", "PA/main", "KB/closed", "CZK", 50),
            ("frozen-destination", "PA/main", "KB/frozen", "CZK", 100),
        ):
            expires_ms = START_MS + self.HOLD_MS
            receipt = self.apply(
                "PA", op("transfers", "reserve", source, destination, asset, amount, expires_ms, name[:35])
            )
            self.holds[name] = (source, fields_of(receipt.events[0])[1])
        self.apply("PA", op("transfers", "void", *self.holds["voided"]))


def register(asset: str, asset_class: str = "currency", cap: int = 1_000_000) -> Operation:
    """The operation that registers an asset."""
    return op("assets", "register", asset, asset_class, 2, cap, NO_TERMS)


def pay(source: str, destination: str, amount: int, asset: str = "CZK", reference: str = "") -> Operation:
    """The operation that pays an amount."""
    return op("transfers", "send", source, destination, asset, amount, reference, b"", "")
