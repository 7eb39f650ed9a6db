"""The words of governance: proposals, ballots, activations, and the facts that tell of them (governance.py).

A proposal's content is operations: calls of the methods in ``KINDS``, with their closed argument types, which
run as a decision of the members once enough of them have approved. So what may be decided, how it reads, and
what it refuses stand beside what it changes. Nothing here acts.
"""

from typing import Annotated, Final, Literal

from msgspec import Meta

from node.ledger.contract import Fact
from node.ledger.types import (
    Code,
    Count,
    GovernanceRules,
    Hash,
    Height,
    MemberId,
    Name,
    Operation,
    Record,
    Requirement,
    TimeMs,
)

OPERATIONS_MAX: Final = 16
RECOVERY_WAITING_MIN_MS: Final = 86_400_000
"""For how long the others can object, at the least, before a member gets a key that it did not register."""
BALLOTS_MAX: Final = 1_024

KINDS: Final = {
    ("members", "admit"): "members",
    ("members", "change"): "members",
    ("members", "suspend"): "members",
    ("members", "resume"): "members",
    ("members", "remove"): "members",
    ("members", "recover"): "recovery",
    ("validators", "add"): "validators",
    ("validators", "reweigh"): "validators",
    ("validators", "remove"): "validators",
    ("validators", "move"): "validators",
    ("validators", "register_node"): "validators",
    ("validators", "retire_node"): "validators",
    ("governance", "activate"): "upgrades",
    ("governance", "freeze"): "upgrades",
    ("governance", "schedule_protocol"): "upgrades",
    ("governance", "set_rules"): "rules",
    ("governance", "take_over"): "rules",
}
"""What members may decide, and under which requirement of the rules."""

Number = Annotated[int, Meta(ge=1, le=2**32 - 1)]
Reason = Annotated[str, Meta(max_length=140)]
Content = Annotated[tuple[Operation, ...], Meta(min_length=1, max_length=OPERATIONS_MAX)]
Choice = Literal["approve", "reject"]
Status = Literal["open", "waiting", "executed", "failed", "rejected", "expired", "withdrawn"]
Version = Annotated[int, Meta(ge=1, le=2**16 - 1)]

TRANSITIONS: Final = {
    "open": ("waiting", "executed", "failed", "rejected", "expired", "withdrawn"),
    "waiting": ("executed", "failed", "rejected", "withdrawn"),
    "executed": (),
    "failed": (),
    "rejected": (),
    "expired": (),
    "withdrawn": (),
}


class Proposal(Record, frozen=True):
    """What a member proposes. due_ms: when an open proposal expires, when a waiting one is executed.
    codespace and code: why one failed.
    """

    proposer: MemberId
    content_hash: Hash
    reason: Reason
    status: Status
    opened_ms: TimeMs
    due_ms: TimeMs
    codespace: Annotated[str, Meta(max_length=32)]
    code: Code


class Proposed(Record, frozen=True):
    """A proposal's content: operations, applied together or not at all."""

    operations: Content


class Ballot(Record, frozen=True):
    """How a member voted."""

    choice: Choice


class Counter(Record, frozen=True):
    """The number of the last proposal."""

    last: Count


class Place(Record, frozen=True):
    """A place in a queue or on a list."""

    version: Literal[1]


class Activated(Record, frozen=True):
    """From which height on, and below which, a version of a contract acts; ``until_height`` 0: no end."""

    from_height: Height
    until_height: Height


class Protocol(Record, frozen=True):
    """The number of the rules that hold from a height on."""

    number: Count


class Opened(Fact, frozen=True):
    """A member proposes; a ballot names number and hash."""

    number: Number
    proposer: MemberId
    content_hash: Hash
    due_ms: TimeMs
    reason: Reason


class BallotCast(Fact, frozen=True):
    """A member voted, or changed its mind."""

    number: Number
    member: MemberId
    choice: Choice


class Adopted(Fact, frozen=True):
    """Enough members approve; it is executed at this time unless they veto it."""

    number: Number
    due_ms: TimeMs


class Executed(Fact, frozen=True):
    """A proposal was carried out."""

    number: Number


class Failed(Fact, frozen=True):
    """A proposal was adopted and could not be carried out: nothing was changed."""

    number: Number
    codespace: Name
    code: Code


class Ended(Fact, frozen=True):
    """A proposal was rejected, expired or was withdrawn."""

    number: Number
    status: Status


class RulesSet(Fact, frozen=True):
    """The rules of governance were replaced."""

    rules: GovernanceRules


class ActivationSet(Fact, frozen=True):
    """A version of a contract acts from a height on."""

    contract: Name
    version: Version
    height: Height


class FreezeSet(Fact, frozen=True):
    """A contract acts no more from a height on."""

    contract: Name
    height: Height


class ProtocolSet(Fact, frozen=True):
    """Rules of this number hold from a height on; a node whose release lacks them stops before it."""

    number: Count
    height: Height


class NamedBallot(Record, frozen=True):
    """A ballot with who cast it, and whether it counts: its member still votes."""

    member: MemberId
    choice: Choice
    counts: Annotated[int, Meta(ge=0, le=1)]


class NamedProposal(Record, frozen=True):
    """A proposal with its content and its ballots. required: how many of ``voters`` must approve; veto: how
    many reject to end it.
    """

    number: Number
    proposal: Proposal
    operations: Content
    ballots: Annotated[tuple[NamedBallot, ...], Meta(max_length=BALLOTS_MAX)]
    voters: Count
    required: Count
    veto: Count


class NamedActivation(Record, frozen=True):
    """A span of a contract's version."""

    contract: Name
    version: Version
    span: Activated


class NamedProtocol(Record, frozen=True):
    """Rules and the height from which they hold."""

    height: Height
    number: Count


class Order(Record, frozen=True):
    """Who governs, since when, by which rules, and who votes."""

    by: Literal["administrators", "members"]
    since_height: Height
    rules: GovernanceRules
    voters: Annotated[tuple[MemberId, ...], Meta(max_length=256)]


class Tally(Record, frozen=True):
    """Approvals and rejections of members that vote now, of so many voters."""

    approvals: Count
    rejections: Count
    voters: Count


def meets(tally: Tally, requirement: Requirement) -> bool:
    """Whether the approvals are at least the requirement's part of the voters."""
    return tally.approvals * requirement.denominator >= requirement.numerator * tally.voters


def is_vetoed(tally: Tally, rules: GovernanceRules) -> bool:
    """Whether the rejections are at least the veto's part of the voters."""
    return tally.rejections * rules.veto_denominator >= rules.veto_numerator * tally.voters


def least(numerator: int, denominator: int, voters: int) -> int:
    """The smallest number that is at least this part of the voters."""
    return -(-numerator * voters // denominator)


def unsound(rules: GovernanceRules) -> str:
    """Why rules would not do, in words; empty where they would. A requirement is more than half of the voters
    and at most all, so that no two opposite decisions are possible; a veto is at most half, so that those who
    did not approve can cast it; a recovery waits a day or longer.
    """
    named = {
        "members": rules.members,
        "validators": rules.validators,
        "upgrades": rules.upgrades,
        "rules": rules.rules,
        "recovery": rules.recovery,
    }
    for name, requirement in named.items():
        if not requirement.denominator < 2 * requirement.numerator <= 2 * requirement.denominator:
            return f"{name}: a requirement is more than half of the voters and at most all"
    if 2 * rules.veto_numerator > rules.veto_denominator:
        return "veto: a veto is at most half of the voters"
    if rules.recovery.waiting_ms < RECOVERY_WAITING_MIN_MS:
        return f"recovery: it waits {RECOVERY_WAITING_MIN_MS} ms or longer, so that others can object"
    return ""
