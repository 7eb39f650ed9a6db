"""What a node answers when it cannot decide now: the third kind of "no", beside a refusal and a stop.

None of these is a decision (``decided`` is false in the answer): the caller backs off, asks, or sends the
same bytes again.
"""

from typing import Final

from node.ledger.errors import Category, ErrorCode


class NodeError:
    """Codes of the node itself; they never stand in a receipt."""

    codespace: Final = "node"

    OVERLOADED = ErrorCode(
        1, Category.OVERLOADED, "The node's queue is full: back off, then send the same bytes again."
    )
    STARTING = ErrorCode(2, Category.UNAVAILABLE, "The node is starting or stopping: try again.")
    DISK_LOW = ErrorCode(
        3, Category.UNAVAILABLE, "The node's disk is nearly full: it answers reads and takes no new work."
    )
    UNKNOWN_OUTCOME = ErrorCode(
        4, Category.UNKNOWN_OUTCOME, "Not decided in time: send the same bytes again or ask for the receipt."
    )
    RECEIPT_UNKNOWN = ErrorCode(
        5, Category.NOT_FOUND, "No receipt of such a transaction; it may still be waiting to be decided."
    )
    BLOCK_UNKNOWN = ErrorCode(6, Category.OUT_OF_RANGE, "There is no block at this height.")
    BAD_REQUEST = ErrorCode(7, Category.INVALID, "The request is malformed or a field is outside its bounds.")
    BAD_PAGE_TOKEN = ErrorCode(
        8, Category.INVALID, "The page token is not one that this node gave for this list."
    )
    STOPPED = ErrorCode(9, Category.UNAVAILABLE, "The node has halted: its operator must act.")
    CORRUPTED = ErrorCode(10, Category.CORRUPTED, "Stored data is damaged: the node's operator must act.")
    INTERNAL = ErrorCode(11, Category.INTERNAL, "The node failed to answer; its operator sees why.")
    METHOD_UNKNOWN = ErrorCode(12, Category.UNIMPLEMENTED, "The node has no such method.")
    PROOF_PENDING = ErrorCode(
        13, Category.UNAVAILABLE, "The certificate of this height does not exist yet: ask again shortly."
    )
    SYNCING = ErrorCode(
        14, Category.UNAVAILABLE, "The node catches up with the others: try again, or ask another node."
    )
    NO_QUORUM = ErrorCode(
        15, Category.UNAVAILABLE, "Too few validators are there to decide anything: try again later."
    )
    UNIDENTIFIED = ErrorCode(
        16, Category.UNAUTHENTICATED, "The certificate that was shown is not one that this node accepts."
    )
    NOT_PERMITTED = ErrorCode(
        17, Category.PERMISSION_DENIED, "The certificate's member and roles do not permit this."
    )
    QUOTA_USED_UP = ErrorCode(
        18, Category.OVERLOADED, "The member's quota is used up: back off, then send the same bytes again."
    )
    DOCUMENT_ELSEWHERE = ErrorCode(
        19, Category.PRECONDITION, "Another node keeps this document, and this one knows no way to it."
    )
    DOCUMENT_NOT_READABLE = ErrorCode(
        20, Category.PERMISSION_DENIED, "The caller's member is not granted this document."
    )
    VAULT_FULL = ErrorCode(
        21, Category.PRECONDITION, "The vault has no room left: delete documents, or raise vault_mb."
    )
    OWNER_AWAY = ErrorCode(
        22, Category.UNAVAILABLE, "The node of the document's owner does not answer: ask again later."
    )


class Degraded(Exception):
    """Raised where an answer cannot be given now. Never inside the ledger."""

    def __init__(self, error: ErrorCode, **details: str | int) -> None:
        super().__init__(error, details)
        self.error = error
        self.details = details
