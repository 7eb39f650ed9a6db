"""The part of the day in which members vote, validators change and one signs twice: every outcome known."""

from typing import Any, Protocol

from node.ledger import codec
from node.ledger.errors import Rejected
from node.ledger.hashing import validator_address
from node.ledger.types import Block, Evidence, Operation
from tests.contracts.refusals_governance import content_hash
from tests.contracts.refusals_validators import validator
from tests.kit import ADMINISTRATOR, Consortium, officer, op

VOTERS = ("PA", "KB", "CNB")
OK = ("", 0)


class Day(Protocol):
    """scenario.Day."""

    world: Consortium

    def expect(self, what: str, items: Any, codes: Any, time_ms: int = 0) -> Any:
        """Run a block; each item's outcome is known."""

    def same(self, what: str, found: object, expected: object) -> None:
        """Compare."""


def govern(day: Day) -> None:
    """All of it."""
    _vote(day)
    _validators(day)
    _evidence(day)
    _take_over(day)


def ballot(day: Day, member: str, choice: str, number: int, *operations: Operation) -> bytes:
    return day.world.make(member, op("governance", choice, number, content_hash(*operations)))


def propose(day: Day, member: str, *operations: Operation) -> bytes:
    return day.world.make(member, op("governance", "propose", operations, ""))


def status(day: Day, number: int) -> str:
    return str(getattr(day.world.record("governance", "proposal", number), "status", "none"))


def _vote(day: Day) -> None:
    w = day.world
    roles = [
        op("members", "change", name, "Bank", "", ("participant", "voter")) for name in (*VOTERS, "GONE")
    ]
    day.expect("voters", [w.make(ADMINISTRATOR, *roles, op("members", "resume", "GONE"))], [OK])
    out = op("members", "suspend", "GONE", "again")
    items = [propose(day, "PA", out), ballot(day, "PA", "approve", 1, out), ballot(day, "KB", "approve", 1)]
    day.expect("a proposal", items, [OK, ("governance", 8), ("governance", 5)])
    day.expect("a veto of two fifths", [ballot(day, m, "reject", 1, out) for m in ("KB", "CNB")], [OK, OK])
    day.same("rejected", status(day, 1), "rejected")
    day.expect("proposed by GONE", [propose(day, "GONE", op("members", "suspend", "KB", "x"))], [OK])
    items = [propose(day, "PA", out), *(ballot(day, m, "approve", 3, out) for m in ("KB", "CNB"))]
    day.expect("three of four", items, [OK, OK, OK])
    day.same("executed", status(day, 3), "executed")
    suspend = op("members", "suspend", "KB", "x")
    day.expect("a ballot beside one that no longer counts", [ballot(day, "PA", "approve", 2, suspend)], [OK])
    day.same("one of three", status(day, 2), "open")
    due_ms = getattr(w.record("governance", "proposal", 2), "due_ms", w.time_ms + 1)
    day.expect("dead by time", [], [], time_ms=due_ms)
    day.same("expired", status(day, 2), "expired")
    _fail(day)


def _fail(day: Day) -> None:
    """Two proposals for the same: the second fails and leaves no trace, though half of it could be done."""
    w = day.world
    both = (op("members", "change", "GONE", "Twice", "", ("observer",)), op("members", "resume", "GONE"))
    items = [propose(day, m, *both) for m in ("PA", "KB")]
    items += [ballot(day, "CNB", "approve", number, *both) for number in (4, 5)]
    again = op("members", "change", "GONE", "Once", "", ("participant",))
    day.expect("the same twice", [*items[:3], w.make(ADMINISTRATOR, again), items[3]], [OK] * 5)
    day.same("the second failed", (status(day, 4), status(day, 5)), ("executed", "failed"))
    day.same("without a trace", getattr(w.record("members", "institution", "GONE"), "full_name", ""), "Once")
    day.expect("away again", [w.make(ADMINISTRATOR, op("members", "suspend", "GONE", "x"))], [OK])


def _validators(day: Day) -> None:
    w = day.world
    five = tuple(validator(f"v{at}", VOTERS[at % 3]) for at in range(5))
    day.expect("moved", [w.make(ADMINISTRATOR, op("validators", "move", five, ""))], [OK])
    add = op("validators", "add", validator("v5"), "")
    day.expect("too soon", [w.make(ADMINISTRATOR, add)], [("validators", 10)])
    day.expect("in force", [w.make(ADMINISTRATOR, add)], [OK])
    remove = [op("validators", "remove", officer(f"v{at}").key_id, "") for at in range(6)]
    day.expect("one leaves", [w.make(ADMINISTRATOR, remove[0])], [OK])
    lighter = op("validators", "reweigh", officer("v2").key_id, 9, "")
    items = [w.make(ADMINISTRATOR, each) for each in (remove[1], lighter)]
    day.expect("a third, and not more, before the first has left", items, [OK, ("validators", 11)])
    items = [w.make(ADMINISTRATOR, each) for each in (remove[0], lighter)]
    day.expect("once it has left", items, [("validators", 4), OK])
    day.expect("too few", [w.make(ADMINISTRATOR, remove[2])], [("validators", 12)])
    day.same("four remain", len(w.ledger.standing.authority), 4)


def _evidence(day: Day) -> None:
    w = day.world
    told = Evidence("duplicate-vote", validator_address(officer("v4").public_key), 1, 1, 10, 40)
    finalized = w.ledger.finalize_block(Block(w.height + 1, w.time_ms + 1_000, (), (told,)))
    w.height += 1
    w.commit(finalized)
    day.same("kept, with an alarm", (finalized.updates, len(finalized.alarms)), ((), 1))
    back = op("validators", "reweigh", officer("v0").key_id, 10, "")
    finalized = w.finalize(w.make(ADMINISTRATOR, back))
    day.same("told to consensus", [change.power for change in finalized.updates], [10])
    day.expect("a fifth again", [w.make(ADMINISTRATOR, back)], [OK])
    again = Evidence("duplicate-vote", told.address, 2, 1, 10, 50)
    finalized = w.ledger.finalize_block(Block(w.height + 1, w.time_ms + 1_000, (), (again,)))
    w.height += 1
    w.commit(finalized)
    day.same("taken", [change.power for change in finalized.updates], [0])


def _take_over(day: Day) -> None:
    w = day.world
    take = op("governance", "take_over")
    items = [propose(day, "PA", take), *(ballot(day, m, "approve", 6, take) for m in ("KB", "CNB"))]
    day.expect("taken over", items, [OK, OK, OK])
    closed = w.make(ADMINISTRATOR, op("members", "change", "PA", "Mine", "", ("observer",)))
    day.expect("administrators are out", [closed], [("members", 14)])
    day.same("a suspended member's node", _door(day), 22)
    day.expect("rules are the members'", [w.make("PA", op("governance", "take_over"))], [("members", 1)])


def _door(day: Day) -> int:
    """The code with which a bundle of GONE's node is refused at the door; 0: it is not."""
    from node.ledger.bundles import bundle_message
    from node.ledger.types import Bundle

    w = day.world
    away = op("members", "suspend", "CNB", "x")
    items = [propose(day, "PA", away), ballot(day, "KB", "approve", 7, away)]
    day.expect("suspended", items, [OK, OK])
    item = w.make("KB", op("assets", "freeze_account", "KB/main"))
    node = officer("v2-node")
    unsigned = Bundle(1, node.key_id, 1, (item,), bytes(64))
    signature = node.sign(bundle_message(w.ledger.chain, unsigned))
    try:
        w.ledger.check_tx(w.ledger.judge(codec.encode(Bundle(1, node.key_id, 1, (item,), signature))))
    except Rejected as rejected:
        return rejected.error.code
    return 0
