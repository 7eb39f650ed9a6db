"""The three ways in which things go wrong, and the ledger's own refusals.

*Refuse*: ``Rejected``, deterministic, part of the receipt. *Stop*: ``InvariantViolated``, never caught; the
node halts. (*Degrade* belongs to the engine and the services, not to the ledger.) A refusal's identity is
``(codespace, code)``: permanent, documented, the same in the receipt, over ABCI and in gRPC.
"""

from enum import Enum
from typing import Final


class Category(Enum):
    """What a caller can do about an error; each maps to one gRPC status (services/convert.py)."""

    INVALID = "wrong in any state: correct the request"
    UNAUTHENTICATED = "no valid signature or certificate"
    PERMISSION_DENIED = "the role, scope or number of officers does not suffice"
    NOT_FOUND = "no such thing"
    ALREADY_EXISTS = "taken"
    PRECONDITION = "try again, with a new request id, after the state has changed"
    CONFLICT = "lost a race: try again with a new request id"
    OUT_OF_RANGE = "outside the time or the heights there are"
    OVERLOADED = "a bound is reached: back off"
    UNAVAILABLE = "not serving now: back off"
    UNKNOWN_OUTCOME = "not decided in time: send the same bytes again or ask"
    UNIMPLEMENTED = "not active on this chain"
    CORRUPTED = "stored data is damaged: an operator must act"
    INTERNAL = "a bug"


class ErrorCode:
    """One permanent refusal. Declared as a class attribute of a codespace; it learns its name and its
    codespace there.
    """

    __slots__ = ("category", "code", "codespace", "name", "sentence")

    def __init__(self, code: int, category: Category, sentence: str) -> None:
        """code: unique in its codespace, 1 to 65,535. sentence: for people; says what to do where that is not
        plain.
        """
        self.code = code
        self.category = category
        self.sentence = sentence
        self.name = ""
        self.codespace = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name
        self.codespace = str(getattr(owner, "codespace", "") or getattr(owner, "name", ""))

    def __repr__(self) -> str:
        return f"{self.codespace}/{self.code} {self.name}"


class Rejected(Exception):
    """A deterministic no. ``details`` are words for the caller's eyes; they are no part of the receipt."""

    def __init__(self, error: ErrorCode, **details: str | int) -> None:
        super().__init__(error, details)
        self.error = error
        self.details = details

    def __str__(self) -> str:
        told = ", ".join(f"{name} {value}" for name, value in self.details.items())
        return f"{self.error}: {self.error.sentence}" + (f" ({told})" if told else "")


class InvariantViolated(Exception):
    """Something that always holds does not. The node stops; it must never be caught."""


class ReleaseTooOld(InvariantViolated):
    """The chain goes on under rules that this release does not have. The node stops before the height from
    which they hold; nothing is lost, and a newer release goes on from here.
    """


class StoreFailed(Exception):
    """Base of what a Store raises when the disk fails it. It passes through the ledger untouched: degrade or
    stop is not ours to say. ``final``: the store takes no more writes until it is opened anew. ``absent``:
    nothing is wrong; what was asked for is older than what is kept.
    """

    final: bool = False
    absent: bool = False


class LedgerError:
    """Refusals of the ledger itself: what is wrong with a transaction before, or apart from, what its
    operations do.
    """

    codespace: Final = "ledger"

    MALFORMED = ErrorCode(
        1, Category.INVALID, "The bytes are not the canonical encoding of a signed transaction."
    )
    TOO_LARGE = ErrorCode(2, Category.INVALID, "The transaction is larger than a transaction may be.")
    WRONG_CHAIN = ErrorCode(3, Category.INVALID, "The transaction was signed for another chain.")
    EXPIRED = ErrorCode(
        4,
        Category.OUT_OF_RANGE,
        "The transaction is dead by its own time: sign it anew with a new request id.",
    )
    NOT_YET_ALIVE = ErrorCode(
        5, Category.OUT_OF_RANGE, "The request id lies in the future: check the clock that made it."
    )
    REQUEST_ID_SPENT = ErrorCode(
        6, Category.ALREADY_EXISTS, "The request id was spent by another transaction."
    )
    DUPLICATE = ErrorCode(
        7, Category.ALREADY_EXISTS, "The transaction was decided already: its receipt stands."
    )
    UNKNOWN_MEMBER = ErrorCode(8, Category.UNAUTHENTICATED, "No such member.")
    MEMBER_SUSPENDED = ErrorCode(9, Category.PERMISSION_DENIED, "The member is suspended.")
    UNKNOWN_KEY = ErrorCode(10, Category.UNAUTHENTICATED, "The member has no such key.")
    KEY_NOT_ACTIVE = ErrorCode(11, Category.UNAUTHENTICATED, "The key is not yet active, retired or revoked.")
    KEY_OUT_OF_SCOPE = ErrorCode(12, Category.PERMISSION_DENIED, "The key may not sign for this method.")
    BAD_SIGNATURE = ErrorCode(13, Category.UNAUTHENTICATED, "A signature does not verify.")
    POLICY_NOT_MET = ErrorCode(
        14, Category.PERMISSION_DENIED, "The member's signing policy asks for more officers."
    )
    UNKNOWN_METHOD = ErrorCode(
        15, Category.UNIMPLEMENTED, "No such contract or method is active on this chain."
    )
    BAD_ARGUMENTS = ErrorCode(
        16, Category.INVALID, "The arguments do not have the method's types and bounds."
    )
    BAD_TEXT = ErrorCode(17, Category.INVALID, "A text holds a control character.")
    TOO_MUCH_WORK = ErrorCode(
        18, Category.INVALID, "The transaction is more work than a whole block may hold: split it."
    )
    CONTRACT_FAULT = ErrorCode(
        19, Category.INTERNAL, "The contract failed; nothing was changed and operators were alarmed."
    )
    TOO_MANY_EVENTS = ErrorCode(
        20, Category.INVALID, "The transaction emits more events than a receipt may hold: split it."
    )
    BLOCK_FULL = ErrorCode(
        21, Category.OVERLOADED, "The block had no room left for this transaction: send the same bytes again."
    )
    NODE_INACTIVE = ErrorCode(
        22,
        Category.PERMISSION_DENIED,
        "The node that signed the bundle is retired, or its member is suspended.",
    )
    NODE_DISTRUSTED = ErrorCode(
        23,
        Category.PERMISSION_DENIED,
        "The node that signed the bundle handed on a false signature before: send the same bytes to another.",
    )
