"""Every "no" of a node as gRPC says it: one status a category, and a ``google.rpc.ErrorInfo`` with the
permanent code.

An answer whose ErrorInfo has ``decided`` true is a decision; a refusal that is a receipt carries the receipt
among its details. What always holds: a client sees sentences that this project wrote, never the text of a
foreign exception, and no detail outgrows the metadata that statuses travel in.
"""

from collections.abc import Mapping
from typing import Final

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from node.engine.errors import Degraded, NodeError
from node.ledger.errors import Category, ErrorCode, Rejected
from node.pb.vostro.transaction.v1 import transaction_pb2
from node.storage.errors import StorageCode, StorageError

DOMAIN: Final = "vostro"
DETAIL_CHARACTERS_MAX: Final = 200
ATTACHED_BYTES_MAX: Final = 4_096
"""A status travels in metadata, of which common clients take 8 KiB."""

CODES: Final = {
    Category.INVALID: grpc.StatusCode.INVALID_ARGUMENT,
    Category.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    Category.PERMISSION_DENIED: grpc.StatusCode.PERMISSION_DENIED,
    Category.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Category.ALREADY_EXISTS: grpc.StatusCode.ALREADY_EXISTS,
    Category.PRECONDITION: grpc.StatusCode.FAILED_PRECONDITION,
    Category.CONFLICT: grpc.StatusCode.ABORTED,
    Category.OUT_OF_RANGE: grpc.StatusCode.OUT_OF_RANGE,
    Category.OVERLOADED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Category.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    Category.UNKNOWN_OUTCOME: grpc.StatusCode.DEADLINE_EXCEEDED,
    Category.UNIMPLEMENTED: grpc.StatusCode.UNIMPLEMENTED,
    Category.CORRUPTED: grpc.StatusCode.DATA_LOSS,
    Category.INTERNAL: grpc.StatusCode.INTERNAL,
}

RETRY_MS: Final = {Category.OVERLOADED: 100, Category.UNAVAILABLE: 1_000}
"""When to try again, where that helps."""


class NotApplied(Exception):
    """A submitted transaction that was refused or not executed: what unary Submit ends with.

    attachment: our Receipt or Error message. decided: whether that is final for these bytes.
    """

    def __init__(
        self,
        error: ErrorCode,
        attachment: transaction_pb2.Receipt | transaction_pb2.Error,
        *,
        decided: bool,
        height: int,
        details: Mapping[str, str | int] | None = None,
    ) -> None:
        super().__init__(error)
        self.error = error
        self.attachment = attachment
        self.decided = decided
        self.height = height
        self.details = details or {}


def status_of(error: Exception) -> status_pb2.Status | None:
    """The status that answers an exception; None for one that is a bug."""
    if isinstance(error, NotApplied):
        return _status(
            error.error,
            error.details,
            decided=error.decided,
            height=error.height,
            attachment=error.attachment,
        )
    if isinstance(error, Rejected | Degraded):
        return _status(error.error, error.details)
    if isinstance(
        error, StorageError
    ):  # its particulars are paths and causes: the operator's, not the client's
        kept = error.error is StorageCode.PRUNED  # nothing is wrong; it says from where on
        return _status(error.error, error.details) if kept else _status(_of_storage(error.error))
    return None


def internal_status() -> status_pb2.Status:
    """What a client hears of a bug."""
    return _status(NodeError.INTERNAL)


def code_of(status: status_pb2.Status) -> grpc.StatusCode:
    """The name that gRPC gives of a status's number."""
    return _BY_NUMBER[status.code]


def told(details: Mapping[str, str | int]) -> dict[str, str]:
    """Particulars as text, each cut to a length."""
    return {name: str(value)[:DETAIL_CHARACTERS_MAX] for name, value in details.items()}


def _status(
    error: ErrorCode,
    details: Mapping[str, str | int] | None = None,
    *,
    decided: bool = False,
    height: int = 0,
    attachment: Message | None = None,
) -> status_pb2.Status:
    details = details or {}
    metadata = told(details)
    if height:
        metadata["height"] = str(height)
    metadata |= {
        "codespace": error.codespace,
        "code": str(error.code),
        "decided": "true" if decided else "false",
    }
    status = status_pb2.Status(code=CODES[error.category].value[0], message=error.sentence)
    status.details.add().Pack(
        error_details_pb2.ErrorInfo(reason=error.name, domain=DOMAIN, metadata=metadata)
    )
    if error.category in RETRY_MS:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(int(details.get("retry_ms", RETRY_MS[error.category])))
        status.details.add().Pack(retry)
    if attachment is not None and attachment.ByteSize() <= ATTACHED_BYTES_MAX:
        status.details.add().Pack(attachment)
    return status


def _of_storage(error: ErrorCode) -> ErrorCode:
    if error.category is Category.CORRUPTED:
        return NodeError.CORRUPTED
    return NodeError.DISK_LOW if error is StorageCode.DISK_LOW else NodeError.STOPPED


_BY_NUMBER: Final = {code.value[0]: code for code in grpc.StatusCode}
