"""The Python SDK: connect, sign, submit, wait, follow (client.py shows a first program; errors.py what can
go wrong).
"""

from node.client.blocking import BlockingClient
from node.client.client import Client, Signed
from node.client.connection import Tls
from node.client.errors import ClientError, Declined, Refused, Unknown, Unreachable, WrongChain
from node.client.keys import load_key
from node.client.outcome import Outcome
from node.client.reads import (
    BalanceAt,
    BlockContent,
    Cursor,
    EventAt,
    Head,
    Movement,
    NodeStatus,
    TransactionRecord,
)
from node.client.signing import operation

__all__ = [
    "BalanceAt",
    "BlockContent",
    "BlockingClient",
    "Client",
    "ClientError",
    "Cursor",
    "Declined",
    "EventAt",
    "Head",
    "Movement",
    "NodeStatus",
    "Outcome",
    "Refused",
    "Signed",
    "Tls",
    "TransactionRecord",
    "Unknown",
    "Unreachable",
    "WrongChain",
    "load_key",
    "operation",
]
