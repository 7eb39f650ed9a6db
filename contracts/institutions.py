"""The words of members: institutions, keys, policies, and the facts that tell of them (members.py).

Kept apart from the contract so that each fits a head; nothing here changes state.
"""

from typing import Annotated, Final, Literal

from msgspec import Meta

from node.ledger.contract import Charge, Fact
from node.ledger.types import Algorithm, Count, Height, KeyId, MemberId, Name, PublicKey, Record

ADMINISTRATOR: Final = "administrator"
VOTER: Final = "voter"
REGISTRAR: Final = "registrar"
REGULATOR: Final = "regulator"
FOUNDER_ROLES: Final = ("issuer", "participant", "observer", "regulator", VOTER, REGISTRAR)
ROLES: Final = (ADMINISTRATOR, *FOUNDER_ROLES)
KEYS_EVER_MAX: Final = 1_024
"""Keys of a member, ended ones included: what the methods scan that are charged for it."""
RULES_MAX: Final = 64
KEY_AFFAIRS: Final = ("members", "encryption")
"""Contracts in which a member changes its keys: that takes as many officers as its strictest rule."""
APPROVALS: Final = "approvals"
"""The contract in which officers of one member sign one after the other: a rule binds it by its name alone,
for else whoever approves would need all the others to approve with."""

FullName = Annotated[str, Meta(min_length=1, max_length=140)]
Bic = Annotated[str, Meta(max_length=11, pattern=r"\A([A-Z0-9]{8}([A-Z0-9]{3})?)?\Z")]
NewMemberId = Annotated[str, Meta(min_length=1, max_length=16, pattern=r"\A[A-Z0-9][A-Z0-9-]*\Z")]
Role = Literal["administrator", "issuer", "participant", "observer", "regulator", "voter", "registrar"]
Roles = Annotated[tuple[Role, ...], Meta(min_length=1, max_length=len(ROLES))]
Status = Literal["active", "suspended", "removed"]
Scope = Annotated[str, Meta(min_length=1, max_length=65, pattern=r"\A(\*|[a-z_]+(\.[a-z_]+)?)\Z")]
Scopes = Annotated[tuple[Scope, ...], Meta(min_length=1, max_length=32)]
Holder = Annotated[str, Meta(min_length=1, max_length=32)]
Officers = Annotated[int, Meta(ge=1, le=16)]
Reason = Annotated[str, Meta(min_length=1, max_length=64)]


class Institution(Record, frozen=True):
    """A member as the others know it."""

    full_name: FullName
    bic: Bic
    roles: Roles
    status: Status
    admitted_height: Height


class Key(Record, frozen=True):
    """A key and its life, in heights of blocks. ``retires_at`` and ``revoked_at`` 0: not."""

    algorithm: Algorithm
    public_key: PublicKey
    holder: Holder
    scopes: Scopes
    active_from: Height
    retires_at: Height
    revoked_at: Height


class NewKey(Record, frozen=True):
    """A key to be registered."""

    algorithm: Algorithm
    public_key: PublicKey
    holder: Holder
    scopes: Scopes


class Owner(Record, frozen=True):
    """Whose key an id names."""

    member: MemberId


class Rule(Record, frozen=True):
    """Who must sign: for ``contract`` and ``method`` (``*`` any) and ``asset`` (empty any), from this amount
    on (0: without one, too).
    """

    contract: Name
    method: Name
    asset: Annotated[str, Meta(max_length=16)]
    from_amount: Annotated[int, Meta(ge=0, le=10**18)]
    officers: Officers


class Policy(Record, frozen=True):
    """A member's signing policy; the strictest rule that fits decides, one officer where none does."""

    rules: Annotated[tuple[Rule, ...], Meta(max_length=RULES_MAX)]


class Voter(Record, frozen=True):
    """A place on the roll of members that vote."""

    version: Literal[1]


class Government(Record, frozen=True):
    """Who admits, changes and removes members, and decides what they have in common: the administrators until
    the members take over, or the members by proposals. ``since_height``: from which block on.
    """

    by: Literal["administrators", "members"]
    since_height: Height


class Admitted(Fact, frozen=True):
    """A member joined."""

    member: MemberId
    full_name: FullName
    roles: Roles


class Changed(Fact, frozen=True):
    """A member's name, BIC or roles changed."""

    member: MemberId
    full_name: FullName
    roles: Roles


class Suspended(Fact, frozen=True):
    """A member may not sign until it is resumed."""

    member: MemberId
    reason: Reason


class Resumed(Fact, frozen=True):
    """A suspended member may sign again."""

    member: MemberId


class Removed(Fact, frozen=True):
    """A member left for good."""

    member: MemberId
    reason: Reason


class TakenOver(Fact, frozen=True):
    """The members govern from now on; administrators' methods are closed."""

    voters: Count


class KeyRegistered(Fact, frozen=True):
    """A member has one more key."""

    member: MemberId
    key_id: KeyId
    holder: Holder


class KeyRetired(Fact, frozen=True):
    """A key signs no more from this height on."""

    member: MemberId
    key_id: KeyId
    retires_at: Height


class KeyRevoked(Fact, frozen=True):
    """A key signs no more from the next transaction on."""

    member: MemberId
    key_id: KeyId


class PolicySet(Fact, frozen=True):
    """A member's signing policy was replaced."""

    member: MemberId
    rules: Annotated[tuple[Rule, ...], Meta(max_length=RULES_MAX)]


class MemberKey(Record, frozen=True):
    """A key with its id and its state at the height that was asked."""

    key_id: KeyId
    key: Key
    active: Annotated[int, Meta(ge=0, le=1)]


class Member(Record, frozen=True):
    """A member as a whole."""

    member: MemberId
    institution: Institution
    keys: Annotated[tuple[MemberKey, ...], Meta(max_length=KEYS_EVER_MAX)]
    rules: Annotated[tuple[Rule, ...], Meta(max_length=RULES_MAX)]


def fits(rule: Rule, charge: Charge) -> bool:
    """Whether a rule weighs a call. One for any contract is not for approvals (approvals.py): it binds what
    they run.
    """
    return (
        (rule.contract == charge.contract or (rule.contract == "*" and charge.contract != APPROVALS))
        and rule.method in ("*", charge.method)
        and rule.asset in ("", charge.asset)
    )
