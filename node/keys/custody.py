"""Custody: the words and the life-cycle of a request that a bank's people make to their own node.

A maker asks for operations; distinct checkers approve them, each by the hash of the content; once the policy
(custody_policy.py) is met, the node makes the transaction's body, signs it with the member's keys, and sends
it. Everything here is a function: nothing is stored, signed or sent.

State       waiting --sign--> signed --outcome--> applied | refused | dead
            waiting --reject--> rejected;  waiting --cancel--> cancelled;  waiting --expire--> expired
Invariants  C1 a request's content never changes, and its hash names it and nothing else.
            C2 an approval counts for the content whose hash it named, until its time, and no longer than the
               certificate that it was given with, and those above that, stand unrevoked.
            C3 a person has at most one say in a request, and the maker none; one name is one person.
            C4 a request is signed once; the bytes that were signed first are the only ones that are sent.
"""

import hashlib
from collections.abc import Callable, Collection, Sequence
from typing import Annotated, Final, Literal, NamedTuple, Protocol

from msgspec import Meta
from msgspec.structs import replace

from node.keys.custody_policy import Facts, Person, person_key
from node.ledger import codec
from node.ledger.errors import Category, ErrorCode, Rejected
from node.ledger.types import (
    OPERATIONS_MAX,
    Code,
    Hash,
    Height,
    Integer,
    MemberId,
    Operation,
    Record,
    RequestId,
    TimeMs,
)

ID_BYTES: Final = 16
NAME_CHARACTERS_MAX: Final = 64
PATH_MAX: Final = 16
TEXT_CHARACTERS_MAX: Final = 140
LIFE_MS_MAX: Final = 86_400_000
SIGNED_BYTES_MAX: Final = 160 * 1024
CONTENT: Final = b"vostro/custody/content/1\0"
MAKER: Final = "maker"
CHECKER: Final = "checker"
NODE: Final = "the node itself"
"""Who makes the requests that anchor the audit log; no certificate's name, for nobody else may use it."""

Name = Annotated[str, Meta(min_length=1, max_length=NAME_CHARACTERS_MAX)]
Fingerprint = Annotated[str, Meta(max_length=64)]
Text = Annotated[str, Meta(max_length=TEXT_CHARACTERS_MAX)]
Status = Literal["waiting", "signed", "applied", "refused", "dead", "rejected", "cancelled", "expired"]

TRANSITIONS: Final[dict[str, tuple[str, ...]]] = {
    "waiting": ("signed", "rejected", "cancelled", "expired"),
    "signed": ("applied", "refused", "dead"),
    "applied": (),
    "refused": (),
    "dead": (),
    "rejected": (),
    "cancelled": (),
    "expired": (),
}
COUNTED: Final = ("signed", "applied")
"""What a policy's sums hold: money that moved, or may have."""


class CustodyError:
    """Refusals of the custody service; they never stand in a receipt."""

    codespace: Final = "custody"

    CUSTODY_OFF = ErrorCode(
        1, Category.UNIMPLEMENTED, "This node keeps no custody: it needs mutual TLS, a policy and keys."
    )
    NOT_IDENTIFIED = ErrorCode(
        2,
        Category.UNAUTHENTICATED,
        "Custody takes a client's certificate that names a person: use mutual TLS.",
    )
    NOT_OWN_MEMBER = ErrorCode(
        3,
        Category.PERMISSION_DENIED,
        "A node signs for its own member, and for its own member's people only.",
    )
    NOT_MAKER = ErrorCode(4, Category.PERMISSION_DENIED, "Only a maker may do this.")
    NOT_CHECKER = ErrorCode(5, Category.PERMISSION_DENIED, "Only a checker may do this.")
    REQUEST_UNKNOWN = ErrorCode(6, Category.NOT_FOUND, "There is no such request.")
    ID_TAKEN = ErrorCode(7, Category.ALREADY_EXISTS, "The id names another request: make a new one.")
    NOT_WAITING = ErrorCode(8, Category.PRECONDITION, "The request waits for nobody any more.")
    OTHER_CONTENT = ErrorCode(
        9, Category.PRECONDITION, "The hash is not that of the request's content: read it again."
    )
    OWN_REQUEST = ErrorCode(10, Category.PERMISSION_DENIED, "Nobody decides about what they asked for.")
    APPROVED_ALREADY = ErrorCode(11, Category.ALREADY_EXISTS, "This person has approved the request already.")
    NOT_APPROVER = ErrorCode(
        12, Category.PERMISSION_DENIED, "No rule that binds the request waits for this person."
    )
    NOT_COVERED = ErrorCode(13, Category.PERMISSION_DENIED, "No rule of the policy covers this now.")
    KEYS_INSUFFICIENT = ErrorCode(
        14, Category.PRECONDITION, "The member's signing policy on the ledger asks for more holders than the "
        "node has keys of."
    )  # fmt: skip
    TOO_MANY_WAITING = ErrorCode(15, Category.OVERLOADED, "As many requests wait as may: decide some first.")
    NOT_OWN_REQUEST = ErrorCode(16, Category.PERMISSION_DENIED, "Only who asked for it may cancel a request.")
    DEAD = ErrorCode(17, Category.OUT_OF_RANGE, "The request has expired: make a new one.")
    TOO_MANY_OF_MAKER = ErrorCode(
        18,
        Category.OVERLOADED,
        "As many requests of one maker wait as may: let some be decided, or cancel them.",
    )


class Caller(Protocol):
    """Who calls, as a client's certificate says. roles: names of roles."""

    @property
    def name(self) -> str:
        """The person or application."""

    @property
    def member(self) -> str:
        """Whose they are."""

    @property
    def roles(self) -> Collection[str]:
        """What they may do."""

    @property
    def certificate(self) -> str:
        """SHA-256 of the certificate, in hex."""

    @property
    def path(self) -> tuple[str, ...]:
        """How revocation lists name it and the authorities above it."""


class KnownCaller(NamedTuple):
    """A caller whose certificate was read."""

    name: str
    member: str
    roles: Collection[str]
    certificate: str = ""
    path: tuple[str, ...] = ()


class Approval(Record, frozen=True):
    """A checker's yes to a content. certificate: SHA-256 of the one that it was given with, in hex; path: how
    revocation lists name it and the authorities above it.
    """

    by: Name
    roles: Annotated[tuple[Name, ...], Meta(max_length=16)]
    content_hash: Hash
    time_ms: TimeMs
    certificate: Fingerprint
    path: Annotated[tuple[Fingerprint, ...], Meta(max_length=PATH_MAX)]

    @property
    def person(self) -> Person:
        """Who gave it."""
        return Person(self.by, frozenset(self.roles), self.certificate, self.path)


class Content(Record, frozen=True):
    """What approvals bind: everything that decides what will be signed, for whom, until when."""

    version: Literal[1]
    chain: Hash
    id: RequestId
    member: MemberId
    maker: Name
    roles: Annotated[tuple[Name, ...], Meta(max_length=16)]
    operations: Annotated[tuple[Operation, ...], Meta(min_length=1, max_length=OPERATIONS_MAX)]
    reference: Text
    life_ms: Annotated[int, Meta(ge=0, le=LIFE_MS_MAX)]
    created_ms: TimeMs
    expires_ms: TimeMs


class Outcome(Record, frozen=True):
    """What the ledger said. codespace and code: of a refusal; height: where it was decided."""

    codespace: Annotated[str, Meta(max_length=32)]
    code: Code
    height: Height


class Request(Record, frozen=True):
    """A request and all that became of it. sequence: of the audit line that made it what it is. facts: what
    the policy weighs. tx_id and signed: empty until it is signed.
    """

    content: Content
    facts: tuple[Facts, ...]
    status: Status
    sequence: Integer
    approvals: Annotated[tuple[Approval, ...], Meta(max_length=256)]
    closed_by: Annotated[str, Meta(max_length=NAME_CHARACTERS_MAX)]
    reason: Text
    tx_id: Annotated[bytes, Meta(max_length=32)]
    signed: Annotated[bytes, Meta(max_length=SIGNED_BYTES_MAX)]
    signed_ms: TimeMs
    closed_ms: TimeMs
    outcome: Outcome

    @property
    def id(self) -> bytes:
        """16 bytes that name it."""
        return self.content.id

    @property
    def content_hash(self) -> bytes:
        """What an approval names."""
        return content_hash(self.content)

    @property
    def maker(self) -> Person:
        """Who asked."""
        return Person(self.content.maker, frozenset(self.content.roles))

    @property
    def is_own(self) -> bool:
        """Whether the node itself made it, to anchor its audit log."""
        return self.content.maker == NODE

    @property
    def is_open(self) -> bool:
        """Whether something is still to become of it."""
        return bool(TRANSITIONS[self.status])


def content_hash(content: Content) -> bytes:
    """SHA-256 of the content's encoding behind its tag (formats.md, "Custody")."""
    return hashlib.sha256(CONTENT + codec.encode(content)).digest()


def check_caller(caller: Caller, member: str, role: str = "") -> Person:
    """The person, if it is one of the member's own with the role. Raises Rejected NOT_IDENTIFIED,
    NOT_OWN_MEMBER, NOT_MAKER, NOT_CHECKER.
    """
    name = person_key(caller.name)
    if not name or not caller.member or len(caller.name) > NAME_CHARACTERS_MAX or name == NODE:
        raise Rejected(CustodyError.NOT_IDENTIFIED)
    if caller.member != member:
        raise Rejected(CustodyError.NOT_OWN_MEMBER, member=caller.member)
    roles = frozenset(str(each) for each in caller.roles)
    if role and role not in roles:
        raise Rejected(CustodyError.NOT_MAKER if role == MAKER else CustodyError.NOT_CHECKER)
    return Person(caller.name, roles, caller.certificate, caller.path)


def opened(content: Content, facts: Sequence[Facts]) -> Request:
    """A new request."""
    return Request(content, tuple(facts), "waiting", 0, (), "", "", b"", b"", 0, 0, Outcome("", 0, 0))


def counting(
    request: Request, time_ms: int, lifetime_ms: int, revokes: Callable[[Sequence[str]], bool]
) -> list[Person]:
    """Whose approvals count now: of this content, not too old, and each person once. revokes: whether one of
    these is on a revocation list by now.
    """
    alive = [
        approval
        for approval in request.approvals
        if approval.content_hash == request.content_hash
        and time_ms - approval.time_ms < lifetime_ms
        and not revokes(approval.path)
    ]
    return list({approval.person.key: approval.person for approval in alive}.values())


def check_decidable(request: Request, person: Person, named_hash: bytes, time_ms: int) -> None:
    """Whether a person may say yes or no to this content. Raises Rejected NOT_WAITING, DEAD, OTHER_CONTENT,
    OWN_REQUEST.
    """
    _check_waiting(request, time_ms)
    if named_hash != request.content_hash:
        raise Rejected(CustodyError.OTHER_CONTENT)
    if person.key == request.maker.key:
        raise Rejected(CustodyError.OWN_REQUEST)


def approved(
    request: Request, person: Person, named_hash: bytes, time_ms: int, heard: Sequence[Person]
) -> Request:
    """With one more approval; one that counts no more is replaced. heard: whose count. Raises what
    ``check_decidable`` raises, and Rejected APPROVED_ALREADY.
    """
    check_decidable(request, person, named_hash, time_ms)
    if any(each.key == person.key for each in heard):
        raise Rejected(CustodyError.APPROVED_ALREADY)
    return with_approval(request, person, named_hash, time_ms)


def with_approval(request: Request, person: Person, named_hash: bytes, time_ms: int) -> Request:
    """With a person's approval in the place of an earlier one."""
    others = [each for each in request.approvals if each.person.key != person.key]
    roles = tuple(sorted(person.roles))
    approval = Approval(person.name, roles, named_hash, time_ms, person.certificate, person.path)
    return replace(request, approvals=(*others, approval))


def rejected(request: Request, person: Person, named_hash: bytes, reason: str, time_ms: int) -> Request:
    """Ended by a checker. Raises what ``check_decidable`` raises."""
    check_decidable(request, person, named_hash, time_ms)
    return _closed(request, "rejected", time_ms, by=person.name, reason=reason)


def cancelled(request: Request, person: Person, time_ms: int) -> Request:
    """Taken back by its maker. Raises Rejected NOT_WAITING, DEAD, NOT_OWN_REQUEST."""
    _check_waiting(request, time_ms)
    if person.key != request.maker.key:
        raise Rejected(CustodyError.NOT_OWN_REQUEST)
    return _closed(request, "cancelled", time_ms, by=person.name)


def expired(request: Request, time_ms: int) -> Request:
    """Ended by its time."""
    return _closed(request, "expired", time_ms)


def signed(request: Request, raw: bytes, tx_id: bytes, time_ms: int) -> Request:
    """With the bytes that will be sent, now and after every restart. Raises Rejected NOT_WAITING, DEAD."""
    _check_waiting(request, time_ms)
    return replace(_moved(request, "signed"), signed=raw, tx_id=tx_id, signed_ms=time_ms)


def decided(request: Request, status: Status, outcome: Outcome, time_ms: int) -> Request:
    """With the ledger's answer: ``applied``, ``refused``, or ``dead`` where it never will be decided."""
    return replace(_closed(request, status, time_ms), outcome=outcome)


def is_over(request: Request, time_ms: int) -> bool:
    """Whether its time to be approved is over."""
    return time_ms >= request.content.expires_ms


def same(known: Request, content: Content) -> Request:
    """The request that there is, if it is this one made again. Raises Rejected ID_TAKEN."""
    times = {"created_ms": known.content.created_ms, "expires_ms": known.content.expires_ms}
    if replace(content, **times) != known.content:
        raise Rejected(CustodyError.ID_TAKEN)
    return known


def may_sign(scopes: Sequence[str], operation: Operation) -> bool:
    """Whether a key of these scopes may sign for an operation, as the ledger judges it."""
    wide = ("*", operation.contract, f"{operation.contract}.{operation.method}")
    return any(scope in scopes for scope in wide)


def _check_waiting(request: Request, time_ms: int) -> None:
    if request.status != "waiting":
        raise Rejected(CustodyError.NOT_WAITING, status=request.status)
    if is_over(request, time_ms):
        raise Rejected(CustodyError.DEAD)


def _closed(request: Request, status: Status, time_ms: int, *, by: str = "", reason: str = "") -> Request:
    return replace(_moved(request, status), closed_by=by, reason=reason, closed_ms=time_ms)


def _moved(request: Request, status: Status) -> Request:
    """In the next status, which the table of transitions allows. Raises Rejected NOT_WAITING."""
    if status not in TRANSITIONS[request.status]:
        raise Rejected(CustodyError.NOT_WAITING, status=request.status)
    return replace(request, status=status)
