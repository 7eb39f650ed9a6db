"""The refusals of ``validators`` (cases.py says how to read a table)."""

from collections.abc import Callable
from typing import Final

from contracts.members import Members
from contracts.powers import VALIDATORS_MAX, NewNode, NewValidator
from contracts.validators import NODES_MAX, Validators
from tests.contracts.cases import Case, Flaw, key, taken_over
from tests.kit import ADMINISTRATOR, Consortium, officer, op, pay

BAD_KEY: Final = bytes(32)
BANKS: Final = ("PA", "KB", "CNB")


def node(name: str) -> NewNode:
    """A node's key, from its name."""
    return NewNode("ed25519", officer(name).public_key)


def validator(name: str, member: str = "PA", power: int = 10) -> NewValidator:
    """A validator with a node of its own."""
    return NewValidator(member, "ed25519", officer(name).public_key, power, name, node(f"{name}-node"))


def moved(count: int, power: int = 10) -> Callable[[Consortium], None]:
    """The chain has so many validators of equal power, in force."""

    def given(world: Consortium) -> None:
        chosen = tuple(validator(f"v{at}", BANKS[at % 3], power) for at in range(count))
        world.apply(ADMINISTRATOR, op("validators", "move", chosen, "" if count > 3 else "override"))
        settle(world)

    return given


def settle(world: Consortium) -> None:
    """Let what was changed come into force."""
    for _ in range(2):
        world.apply("PA", pay("PA/main", "KB/main", 1))


def _suspend(world: Consortium) -> None:
    world.apply(ADMINISTRATOR, op("members", "suspend", "PA", "test"))


def _removed(world: Consortium) -> None:
    world.apply(ADMINISTRATOR, op("validators", "remove", key("v0"), "override"))


def _retired(world: Consortium) -> None:
    world.apply(ADMINISTRATOR, op("validators", "retire_node", key("v0-node")))


def _remove_first(world: Consortium) -> None:
    """With v1 gone a block before, v0 would be the second fifth that leaves before the first has left."""
    world.apply(ADMINISTRATOR, op("validators", "remove", key("v1"), ""))


def _third_removed(world: Consortium) -> None:
    """Of powers 10, 10, 30 and 40 the third goes, and is still in force when the next block is made."""
    chosen = tuple(validator(f"v{at}", BANKS[at % 3], power) for at, power in enumerate((10, 10, 30, 40)))
    world.apply(ADMINISTRATOR, op("validators", "move", chosen, "override"))
    settle(world)
    world.apply(ADMINISTRATOR, op("validators", "remove", key("v2"), "override"))


def _crowd(world: Consortium) -> None:
    known = len(world.rows("validators", "validator"))
    chosen = tuple(validator(f"c{at}", "KB") for at in range(VALIDATORS_MAX - known))
    world.apply(ADMINISTRATOR, op("validators", "move", chosen, ""))
    settle(world)


def _many_nodes(world: Consortium) -> None:
    names = [f"n{at}" for at in range(NODES_MAX - len(world.rows("validators", "node")))]
    for start in range(0, len(names), 100):
        wanted = names[start : start + 100]
        world.apply(
            ADMINISTRATOR, *(op("validators", "register_node", "KB", node(name), "") for name in wanted)
        )


_GOVERNED: Final = (
    Flaw(Members.NOT_ADMINISTRATOR, by="KB"),
    Flaw(Members.GOVERNED_BY_MEMBERS, given=taken_over),
)
_NEW: Final = validator("new")
_STRANGE_NODE: Final = NewValidator("PA", "ed25519", _NEW.public_key, 10, "", node("node"))
_RETIRED_NODE: Final = NewValidator("PA", "ed25519", _NEW.public_key, 10, "", node("v0-node"))
_FOUR: Final = tuple(validator(f"w{at}", BANKS[at % 3]) for at in range(4))
P256_KEY: Final = NewValidator("PA", "p256", officer("new").public_key, 10, "", node("new-node"))


def _new(**changes: object) -> NewValidator:
    fields = {name: getattr(_NEW, name) for name in _NEW.__struct_fields__}
    return NewValidator(**(fields | changes))


_NEW_FLAWS: Final = (
    (Members.MEMBER_UNKNOWN, _new(member="NOBODY")),
    (Members.MEMBER_INACTIVE, _new(member="GONE")),
    (Validators.KEY_INVALID, _new(public_key=BAD_KEY)),
    (Validators.KEY_INVALID, _new(node=NewNode("ed25519", BAD_KEY))),
    (Validators.KEY_INVALID, P256_KEY),
    (Validators.VALIDATOR_EXISTS, _new(public_key=officer("v1").public_key)),
    (Validators.NODE_EXISTS, _STRANGE_NODE),
)

VALIDATORS: Final = (
    Case(
        "validators",
        "add",
        ADMINISTRATOR,
        {"validator": _NEW, "override": ""},
        (
            *_GOVERNED,
            *(Flaw(error, validator=new) for error, new in _NEW_FLAWS),
            Flaw(Validators.NODE_RETIRED, validator=_RETIRED_NODE, given=_retired),
            Flaw(Validators.TOO_MANY_VALIDATORS, given=_crowd),
            Flaw(Validators.QUORUM_LOST, validator=validator("new", power=30), override="override"),
        ),
        given=moved(6),
    ),
    Case(
        "validators",
        "add",
        ADMINISTRATOR,
        {"validator": _NEW, "override": ""},
        (Flaw(Validators.TOO_MANY_NODES, given=_many_nodes),),
        given=moved(6),
        label=" among many nodes",
    ),
    Case(
        "validators",
        "reweigh",
        ADMINISTRATOR,
        {"key_id": key("v0"), "power": 12, "override": ""},
        (
            *_GOVERNED,
            Flaw(Validators.VALIDATOR_UNKNOWN, key_id=key("new")),
            Flaw(Validators.POWER_UNCHANGED, power=10),
            Flaw(Members.MEMBER_INACTIVE, given=_suspend),
            Flaw(Validators.TOO_MUCH_POWER, power=40),
            Flaw(Validators.NO_MARGIN, power=16),
        ),
        given=moved(4),
    ),
    Case(
        "validators",
        "reweigh",
        ADMINISTRATOR,
        {"key_id": key("sequencer"), "power": 10, "override": ""},
        (Flaw(Validators.QUORUM_LOST, power=20),),
        given=moved(4),
        label=" a former one",
    ),
    Case(
        "validators",
        "reweigh",
        ADMINISTRATOR,
        {"key_id": key("v2"), "power": 20, "override": "override"},
        (Flaw(Validators.QUORUM_LOST, power=30),),
        given=_third_removed,
        label=" one that is still in force",
    ),
    Case(
        "validators",
        "remove",
        ADMINISTRATOR,
        {"key_id": key("v0"), "override": ""},
        (
            *_GOVERNED,
            Flaw(Validators.VALIDATOR_UNKNOWN, key_id=key("new")),
            Flaw(Validators.POWER_UNCHANGED, key_id=key("sequencer")),
            Flaw(Validators.TOO_MUCH_POWER, given=_remove_first),
        ),
        given=moved(5),
    ),
    Case(
        "validators",
        "remove",
        ADMINISTRATOR,
        {"key_id": key("v0"), "override": "override"},
        (Flaw(Validators.TOO_FEW_VALIDATORS, override=""),),
        given=moved(4),
        label=" one of four",
    ),
    Case(
        "validators",
        "move",
        ADMINISTRATOR,
        {"validators": _FOUR, "override": ""},
        (
            *_GOVERNED,
            *(Flaw(error, validators=(*_FOUR, new)) for error, new in _NEW_FLAWS),
            Flaw(Validators.NODE_RETIRED, validators=(*_FOUR, _RETIRED_NODE), given=_retired),
            Flaw(Validators.TOO_MANY_VALIDATORS, given=_crowd),
            Flaw(Validators.VALIDATOR_EXISTS, validators=(*_FOUR, _FOUR[0])),
            Flaw(Validators.TOO_FEW_VALIDATORS, validators=_FOUR[:3]),
            Flaw(Validators.NO_MARGIN, validators=(*_FOUR, validator("new", power=30))),
        ),
        given=moved(6),
    ),
    Case(
        "validators",
        "register_node",
        ADMINISTRATOR,
        {"member": "PA", "node": node("new-node"), "label": "pa-2"},
        (
            *_GOVERNED,
            Flaw(Members.MEMBER_UNKNOWN, member="NOBODY"),
            Flaw(Members.MEMBER_INACTIVE, member="GONE"),
            Flaw(Validators.KEY_INVALID, node=NewNode("ed25519", BAD_KEY)),
            Flaw(Validators.NODE_EXISTS, node=node("node")),
            Flaw(Validators.TOO_MANY_NODES, given=_many_nodes),
        ),
    ),
    Case(
        "validators",
        "retire_node",
        ADMINISTRATOR,
        {"key_id": key("v0-node")},
        (
            *_GOVERNED,
            Flaw(Validators.NODE_UNKNOWN, key_id=key("v0")),
            Flaw(Validators.NODE_RETIRED, given=_retired),
        ),
        given=moved(4),
    ),
)
