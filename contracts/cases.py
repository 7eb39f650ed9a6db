"""The words of reconciliation: breaks as cases, and the facts that tell of them (reconciliation.py). Nothing
here acts.
"""

from typing import Annotated, Final, Literal

from msgspec import Meta

from contracts.deals import OptionalMember
from node.ledger.contract import Fact
from node.ledger.types import AccountId, AssetId, Balance, Count, DurationMs, Hash, MemberId, Record, TimeMs

CASES_MAX: Final = 100
"""Cases that one operation opens or ends."""
LEVELS_MAX: Final = 3
"""How often a case is escalated."""
NOTES_MAX: Final = 100
"""Notes on one case."""

Kind = Literal[
    "missing-on-ledger",
    "missing-in-statement",
    "amount",
    "direction",
    "date",
    "reference",
    "duplicate-in-statement",
    "duplicate-on-ledger",
    "sum",
    "ambiguous",
    "balance",
    "attestation",
]
Direction = Literal["credit", "debit", "none"]
CaseStatus = Literal["open", "unmatched", "disputed", "matched", "forced"]
Desk = Annotated[str, Meta(min_length=1, max_length=32, pattern=r"\A[A-Za-z0-9][A-Za-z0-9._-]*\Z")]
OptionalDesk = Annotated[str, Meta(max_length=32)]
Level = Annotated[int, Meta(ge=0, le=LEVELS_MAX)]
Subjects = Annotated[tuple[Hash, ...], Meta(min_length=1, max_length=CASES_MAX)]


class NewCase(Record, frozen=True):
    """A break to be opened as a case.

    subject: hash of what it is about, so that the same break is the same case for ever (docs/formats.md,
    "Cases"). direction, amount: what it is about in minor units, or by how much two sides differ.
    counterparty: the member that may dispute it, empty: none. evidence: hash of the statement or of a
    document in the vault; zero: none. patience_ms: how long until it is escalated, and again; 0: never.
    """

    subject: Hash
    kind: Kind
    account: AccountId
    asset: AssetId
    direction: Direction
    amount: Balance
    counterparty: OptionalMember
    evidence: Hash
    patience_ms: DurationMs


class Case(Record, frozen=True):
    """A break and what became of it. desk: who works on it at the member; empty: nobody yet. escalates_ms: 0
    where it will not be. notes: how many there are. explained: what ended it; zero while it is not ended.
    """

    kind: Kind
    account: AccountId
    asset: AssetId
    direction: Direction
    amount: Balance
    counterparty: OptionalMember
    evidence: Hash
    patience_ms: DurationMs
    opened_ms: TimeMs
    status: CaseStatus
    desk: OptionalDesk
    level: Level
    escalates_ms: TimeMs
    notes: Count
    explained: Hash
    changed_ms: TimeMs


class Note(Record, frozen=True):
    """What a member has to say of a case: the hash of a document in the vault."""

    member: MemberId
    document: Hash
    time_ms: TimeMs


class CaseOpened(Fact, frozen=True):
    """A break became a case."""

    member: MemberId
    counterparty: OptionalMember
    subject: Hash
    kind: Kind
    account: AccountId
    asset: AssetId
    direction: Direction
    amount: Balance


class CasesReviewed(Fact, frozen=True):
    """A run of matching was brought to the ledger: so many cases are new, so many were known."""

    member: MemberId
    opened: Count
    known: Count


class CaseChanged(Fact, frozen=True):
    """A case has another status; by: the member that gave it."""

    member: MemberId
    counterparty: OptionalMember
    subject: Hash
    status: CaseStatus
    by: MemberId
    explained: Hash


class CaseAssigned(Fact, frozen=True):
    """A case is on somebody's desk."""

    member: MemberId
    subject: Hash
    desk: OptionalDesk


class CaseNoted(Fact, frozen=True):
    """A note was put on a case."""

    member: MemberId
    counterparty: OptionalMember
    subject: Hash
    number: Count
    by: MemberId
    document: Hash


class CaseEscalated(Fact, frozen=True):
    """A case stayed open longer than its member bears."""

    member: MemberId
    counterparty: OptionalMember
    subject: Hash
    level: Level


class NamedCase(Record, frozen=True):
    """A case, whose it is and its subject."""

    member: MemberId
    subject: Hash
    case: Case


class NamedNote(Record, frozen=True):
    """A note and its number."""

    number: Count
    note: Note
