"""What a node tells about the chain, in types that do not change with the wire. Times are ms since 1970,
amounts minor units.
"""

from dataclasses import dataclass

from node.client.errors import Declined
from node.ledger.types import Event, Receipt
from node.pb.vostro.fund.v1 import fund_pb2
from node.pb.vostro.ledger.v1 import ledger_pb2
from node.pb.vostro.transaction.v1 import transaction_pb2


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """Where a node stands. index_height None: it keeps no index."""

    target: str
    chain_name: str
    chain_id: bytes
    engine: str
    version: str
    protocol: int
    serving: bool
    height: int
    time_ms: int
    app_hash: bytes
    pending: int
    pending_max: int
    index_height: int | None
    disk_free_bytes: int
    alarms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Head:
    """A block's header with what certifies it."""

    height: int
    time_ms: int
    app_hash: bytes
    previous_app_hash: bytes
    history_root: bytes
    transaction_count: int
    transactions_root: bytes
    receipts_root: bytes
    state_root: bytes
    authority_root: bytes
    protocol: int
    certificate: bytes
    encoded: bytes


@dataclass(frozen=True, slots=True)
class BlockContent:
    """A whole block: encodings, equally many, as far as they were asked for."""

    head: Head
    leaves: tuple[bytes, ...]
    receipts: tuple[bytes, ...]
    bodies: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class TransactionRecord:
    """A decided transaction. receipt None in lists, which carry ``code`` and where it stands only."""

    tx_id: bytes
    height: int
    index: int
    time_ms: int
    member: str
    request_id: bytes
    codespace: str
    code: int
    raw: bytes
    receipt: Receipt | None


@dataclass(frozen=True, slots=True)
class BalanceAt:
    """A balance as it was after the block of this height and time."""

    posted: int
    held: int
    height: int
    time_ms: int


@dataclass(frozen=True, slots=True)
class Movement:
    """A change of an account's posted balance: positive a credit, negative a debit."""

    tx_id: bytes
    height: int
    index: int
    time_ms: int
    account: str
    asset: str
    amount: int
    counterparty: str
    reference: str


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in the order of all events."""

    height: int = 0
    index: int = 0
    event: int = 0


@dataclass(frozen=True, slots=True)
class EventAt:
    """An event, the transaction that told it, and where to go on after it."""

    event: Event
    tx_id: bytes
    time_ms: int
    at: Cursor
    next: Cursor


def status_from(message: ledger_pb2.GetStatusResponse, target: str) -> NodeStatus:
    """The status that the node tells."""
    return NodeStatus(
        target,
        message.chain_name,
        message.chain_id,
        message.engine,
        message.version,
        message.protocol,
        message.serving,
        message.height,
        message.time_ms,
        message.app_hash,
        message.pending,
        message.pending_max,
        message.index_height if message.HasField("index_height") else None,
        message.disk_free_bytes,
        tuple(message.alarms),
    )


def head_from(message: ledger_pb2.Header) -> Head:
    """A header as the node tells it."""
    return Head(
        message.height,
        message.time_ms,
        message.app_hash,
        message.previous_app_hash,
        message.history_root,
        message.transaction_count,
        message.transactions_root,
        message.receipts_root,
        message.state_root,
        message.authority_root,
        message.protocol,
        message.certificate,
        message.encoded,
    )


def transaction_from(message: transaction_pb2.Transaction, receipt: Receipt | None) -> TransactionRecord:
    """A decided transaction as the node tells it."""
    told = message.receipt
    return TransactionRecord(
        told.tx_id,
        told.height,
        told.index,
        message.time_ms,
        message.member,
        message.request_id,
        told.codespace,
        told.code,
        message.signed_transaction,
        receipt,
    )


def balance_from(message: fund_pb2.BalanceEntry, height: int, time_ms: int) -> BalanceAt | Declined:
    """One of many balances, or why the node does not tell it."""
    if message.HasField("error"):
        error = message.error
        return Declined(error.codespace, error.code, details=error.details)
    return BalanceAt(message.balance.posted, message.balance.held, height, time_ms)


def movement_from(message: fund_pb2.Movement) -> Movement:
    """A movement as the node tells it."""
    return Movement(
        message.tx_id,
        message.height,
        message.index,
        message.time_ms,
        message.account,
        message.asset,
        message.amount,
        message.counterparty,
        message.reference,
    )


def cursor_from(message: ledger_pb2.Cursor) -> Cursor:
    """A place in the stream of events."""
    return Cursor(message.height, message.index, message.event)
