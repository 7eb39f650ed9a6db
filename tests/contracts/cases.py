"""Every refusal of every method, in the public order of precedence, as tables.

A case is a call that is applied in a ``Consortium``. Each flaw changes it in one respect (an argument, the
signing member, or the world before it) and has one refusal. Flaws stand in the order of precedence: where two
of them that do not exclude one another are combined, the earlier one's refusal wins. test_refusals.py runs
all singles and all pairs.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from contracts.members import KEYS_MAX, VOTERS_MAX
from contracts.scenarios.blacklist import LISTINGS_MAX
from node.ledger.errors import ErrorCode
from tests.kit import ADMINISTRATOR, NO_TERMS, START_MS, Consortium, admission, new_key, officer, op

Situation = Callable[[Consortium], object]
PARTY: Final = b"\x07" * 32
DAY_MS: Final = 86_400_000
LATER_MS: Final = START_MS + 2 * Consortium.HOLD_MS
UNKNOWN_HOLD: Final = b"\x55" * 32


class Flaw:
    """One thing that is wrong. arguments: changed; by: who signs; given: done to the world before.

    late: after every hold's and listing's time, with the clean-up switched off. It has a bound a block, so a
    method must test expiry itself. directly: a call that takes a decision is made without one.
    """

    def __init__(
        self,
        error: ErrorCode,
        *,
        by: str = "",
        given: Situation | None = None,
        late: bool = False,
        directly: bool = False,
        **arguments: Any,
    ) -> None:
        self.error, self.by, self.given, self.late, self.arguments = error, by, given, late, arguments
        self.directly = directly
        self.touches = {
            *arguments,
            *(["by"] if by else []),
            *(["given"] if given else []),
            *(["late"] if late else []),
            *(["directly"] if directly else []),
        }


class Case(NamedTuple):
    """A call that is applied, and what can be wrong with it. proposed: it is made by proposing it."""

    contract: str
    method: str
    by: str
    arguments: dict[str, Any]
    flaws: tuple[Flaw, ...] = ()
    given: Situation | None = None
    label: str = ""
    proposed: bool = False

    @property
    def id(self) -> str:
        return f"{self.contract}.{self.method}{self.label}"


def is_late(flaws: tuple[Flaw, ...]) -> bool:
    return any(flaw.late for flaw in flaws)


def key(name: str) -> bytes:
    return officer(name).key_id


def hold(name: str) -> Callable[[Consortium], bytes]:
    """The id of one of the consortium's holds, known only once there is one."""
    return lambda world: world.holds[name][1]


def _many_keys(world: Consortium) -> None:
    names = [f"PA-{number}" for number in range(KEYS_MAX - 1)]
    world.apply("PA", *(op("members", "register_key", new_key(name)) for name in names))


def _lose_every_key(world: Consortium) -> None:
    world.admit("LOST")
    world.apply("LOST", op("members", "revoke_key", key("LOST-officer")))


def _retire_now(world: Consortium) -> None:
    world.apply("PA", op("members", "register_key", new_key("PA-second")))
    world.apply("PA", op("members", "retire_key", key("PA-second"), world.height + 100))


def _second_key(world: Consortium) -> None:
    world.apply("PA", op("members", "register_key", new_key("PA-second")))


def _revoke_second(world: Consortium) -> None:
    _second_key(world)
    world.apply("PA", op("members", "revoke_key", key("PA-second")))


def voters(world: Consortium) -> None:
    """PA, KB and CNB vote."""
    for member in ("PA", "KB", "CNB"):
        role = "issuer" if member == "CNB" else "participant"
        world.apply(ADMINISTRATOR, op("members", "change", member, f"Bank {member}", "", (role, "voter")))


def taken_over(world: Consortium) -> None:
    """PA, KB and CNB vote and govern."""
    voters(world)
    world.apply(ADMINISTRATOR, op("governance", "take_over"))


def _removed(world: Consortium) -> None:
    world.apply(ADMINISTRATOR, op("members", "remove", "KB", "merged"))


def _many_voters(world: Consortium) -> None:
    crowd = [f"V{number}" for number in range(VOTERS_MAX)]
    for start in range(0, VOTERS_MAX, 64):
        names = crowd[start : start + 64]
        world.apply(ADMINISTRATOR, *(admission(name, ("voter",), (name,)) for name in names))


def _listed(world: Consortium) -> None:
    world.apply("KB", list_party())


def _listed_for_an_hour(world: Consortium) -> None:
    world.apply("KB", list_party(START_MS + Consortium.HOLD_MS))


def _appealed(world: Consortium) -> None:
    world.apply("PA", op("blacklist", "appeal", PARTY, "KB", NO_TERMS))


def _listed_and_appealed(world: Consortium) -> None:
    _listed_for_an_hour(world)
    _appealed(world)


def _crowd_lists(world: Consortium) -> None:
    crowd = [f"M{number}" for number in range(LISTINGS_MAX)]
    for start in range(0, LISTINGS_MAX, 64):
        operations = [admission(member, ("participant",), (member,)) for member in crowd[start : start + 64]]
        world.apply(ADMINISTRATOR, *operations)
    world.block(*(world.make(member, list_party(), officers=(member,)) for member in crowd))
    assert len(world.rows("blacklist", "listing")) == LISTINGS_MAX


def list_party(expires_ms: int = START_MS + DAY_MS) -> Any:
    return op("blacklist", "list_party", PARTY, "fraud", NO_TERMS, expires_ms)
