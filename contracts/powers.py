"""The words and the arithmetic of validators: whose power weighs how much, and what a set can bear
(validators.py). Nothing here acts.
"""

from collections.abc import Iterable
from typing import Annotated, Final, Literal, NamedTuple

from msgspec import Meta

from node.ledger.contract import Fact
from node.ledger.types import (
    POWER_MAX,
    Address,
    Algorithm,
    Count,
    Height,
    Integer,
    KeyId,
    MemberId,
    Name,
    PublicKey,
    Record,
    TimeMs,
)

VALIDATORS_MAX: Final = 128
"""Validators ever named: what each change scans."""
VALIDATORS_MIN: Final = 4
"""With fewer no validator may fail without stopping the chain."""

OptionalMember = Annotated[str, Meta(max_length=16)]
Label = Annotated[str, Meta(max_length=64)]
Power = Annotated[int, Meta(ge=1, le=POWER_MAX)]
PowerOrNone = Annotated[int, Meta(ge=0, le=POWER_MAX)]
Override = Literal["", "override"]
Kind = Literal["duplicate-vote", "light-client-attack"]


class Validator(Record, frozen=True):
    """A key that votes on blocks with ``power``; 0: no longer. member: whose it is, empty for a key of
    genesis that is no member's. node: the key id with which its node signs bundles, zero where it has none.
    label: its address, or what its member calls it.
    """

    algorithm: Algorithm
    public_key: PublicKey
    power: PowerOrNone
    member: OptionalMember
    node: KeyId
    label: Label


class Named(Record, frozen=True):
    """The validator whose address in consensus this is."""

    key_id: KeyId


class NodeEntry(Record, frozen=True):
    """A node's key for bundles, known for ever. ``retired_height`` 0: not retired."""

    member: MemberId
    algorithm: Algorithm
    public_key: PublicKey
    label: Label
    registered_height: Height
    retired_height: Height


class Shift(Record, frozen=True):
    """What power a validator had before the block at this height changed it."""

    power: PowerOrNone


class Offence(Record, frozen=True):
    """A validator's misbehaviour at a height, as the engine proved it. taken: whether it lost its power."""

    key_id: Annotated[bytes, Meta(max_length=16)]
    time_ms: TimeMs
    power: Integer
    total_power: Integer
    recorded_height: Height
    taken: Annotated[int, Meta(ge=0, le=1)]


class NewNode(Record, frozen=True):
    """A node's key for bundles, to be registered."""

    algorithm: Algorithm
    public_key: PublicKey


class NewValidator(Record, frozen=True):
    """A validator to be added, with the key of its node."""

    member: MemberId
    algorithm: Algorithm
    public_key: PublicKey
    power: Power
    label: Label
    node: NewNode


class PowerSet(Fact, frozen=True):
    """A validator has this power from two heights later on; 0: none."""

    key_id: KeyId
    member: OptionalMember
    power: PowerOrNone


class AuthorityMoved(Fact, frozen=True):
    """Another engine certifies from now on, with this many validators."""

    validators: Count
    power: Integer


class NodeRegistered(Fact, frozen=True):
    """A node may hand in bundles."""

    member: MemberId
    key_id: KeyId
    label: Label


class NodeRetired(Fact, frozen=True):
    """A node hands in no new bundles."""

    member: MemberId
    key_id: KeyId


class Misbehaved(Fact, frozen=True):
    """A validator misbehaved, and the engine proved it. member: empty where the validator is unknown here."""

    kind: Kind
    address: Address
    member: OptionalMember
    height: Height
    time_ms: TimeMs
    power: Integer
    total_power: Integer


class PowerKept(Fact, frozen=True):
    """Alarm: a validator that misbehaved keeps its power, since too few others remain; the members decide."""

    key_id: KeyId
    member: OptionalMember
    others: Count


class NamedValidator(Record, frozen=True):
    """A validator with its id, and whether its member may act."""

    key_id: KeyId
    validator: Validator
    active: Annotated[int, Meta(ge=0, le=1)]


class NamedNode(Record, frozen=True):
    """A node with its id, and whether it may hand in bundles."""

    key_id: KeyId
    node: NodeEntry
    active: Annotated[int, Meta(ge=0, le=1)]


class NamedOffence(Record, frozen=True):
    """An offence with what names it."""

    address: Address
    kind: Name
    height: Height
    offence: Offence


class Margin(Record, frozen=True):
    """How much the set wanted can bear. may_fail: how many validators, the strongest first, may fail at once
    and the rest still decide.
    """

    validators: Count
    power: Integer
    may_fail: Count


class Change(Record, frozen=True):
    """A validator's power, as a change would set it; 0 removes it. The key may be a new one."""

    key_id: KeyId
    power: PowerOrNone


class Judgement(Record, frozen=True):
    """What the pre-flight says of changes made together. refusal: the name of the refusal, empty where there
    is none. entering, leaving: power that comes and goes against the set in force.
    """

    refusal: Annotated[str, Meta(max_length=32)]
    sentence: Annotated[str, Meta(max_length=200)]
    entering: Integer
    leaving: Integer
    margin: Margin


class Weights(NamedTuple):
    """Powers by key id: of the set in force and then of each decided since and not yet in force, and of the
    set that is wanted.
    """

    earlier: tuple[dict[bytes, int], ...]
    wanted: dict[bytes, int]


def may_fail(powers: Iterable[int]) -> int:
    """How many of the strongest may fail while the rest still has more than two thirds of the power."""
    descending = sorted(powers, reverse=True)
    total = left = sum(descending)
    for count, power in enumerate(descending):
        left -= power
        if left * 3 <= total * 2:
            return count
    return 0


def carries(before: dict[bytes, int], wanted: dict[bytes, int]) -> bool:
    """Whether the validators of one set alone have more than two thirds of another's power; never of none."""
    strangers = sum([power for key, power in wanted.items() if key not in before])
    return strangers * 3 < sum(wanted.values())


def moved(before: dict[bytes, int], wanted: dict[bytes, int]) -> tuple[int, int]:
    """(power that enters, power that leaves) from one set to another."""
    stays = sum([min(power, before.get(key, 0)) for key, power in wanted.items()])
    return sum(wanted.values()) - stays, sum(before.values()) - stays


def positive(powers: dict[bytes, int]) -> dict[bytes, int]:
    """Without those that have none."""
    return {key: power for key, power in powers.items() if power}


def margin_of(powers: dict[bytes, int]) -> Margin:
    """What a set can bear."""
    return Margin(len(powers), sum(powers.values()), may_fail(powers.values()))
