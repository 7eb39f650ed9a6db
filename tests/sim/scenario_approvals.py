"""The day's part of approvals: officers of one bank sign one after the other (scenario.py)."""

from typing import TYPE_CHECKING, Final

from contracts.deals import Accounts, Conditions
from contracts.institutions import Rule
from tests.contracts.market import offer
from tests.contracts.refusals_approvals import draft
from tests.contracts.refusals_governance import content_hash
from tests.kit import new_key, officer, op, pay

if TYPE_CHECKING:
    from node.ledger.types import Operation
    from tests.sim.scenario import Day

OK: Final = ("", 0)
NOT_APPROVED: Final = ("approvals", 11)
OFFICERS: Final = ("team-1", "team-2", "team-3")
MINUTE_MS: Final = 60_000


def approve(day: "Day") -> None:
    """All of it."""
    w = day.world
    w.admit("TEAM", officers=OFFICERS)
    w.apply("TEAM", op("members", "register_key", new_key("team-1-again", holder="team-1")))
    w.apply("TEAM", op("assets", "open_accounts", ("TEAM/main",)))
    w.apply("PA", pay("PA/main", "TEAM/main", 50))
    rules = (Rule("*", "*", "CZK", 20, 2), Rule("*", "execute", "", 0, 2))
    w.apply("TEAM", op("members", "set_policy", rules))
    _two_officers(day)
    _ended_keys_and_new_rules(day)
    _in_time(day)
    _names(day)
    _weights(day)
    w.apply("TEAM", pay("TEAM/main", "PA/main", w.balance("TEAM/main")[0]), officers=OFFICERS[:2])


def _call(day: "Day", method: str, number: int, by: str, *operations: "Operation") -> bytes:
    """One officer's approval, withdrawal or execution of a draft with these operations."""
    return day.world.make("TEAM", op("approvals", method, number, content_hash(*operations)), officers=(by,))


def _draft(day: "Day", number: int, *operations: "Operation", minutes: int = 60) -> None:
    """The first officer drafts them."""
    until_ms = day.world.time_ms + minutes * MINUTE_MS
    made = day.world.make("TEAM", draft(operations, until_ms), officers=OFFICERS[:1])
    day.expect(f"draft {number}", [made], [OK])
    day.same("its number", day.world.record("approvals", "counter", "TEAM").last, number)


def _two_officers(day: "Day") -> None:
    split = (pay("TEAM/main", "PA/main", 10),) * 2
    _draft(day, 1, *split)
    items = [
        _call(day, "execute", 1, "team-1", *split),
        _call(day, "approve", 1, "team-1-again", *split),
        _call(day, "execute", 1, "team-1", *split),
        _call(day, "approve", 1, "team-2", *split[:1]),
        _call(day, "approve", 1, "team-1", *split),
        _call(day, "approve", 1, "team-2", *split),
        _call(day, "execute", 1, "team-1", *split),
        _call(day, "execute", 1, "team-1", *split),
    ]
    one = ("approvals", 6)
    day.expect(
        "two officers",
        items,
        [NOT_APPROVED, OK, NOT_APPROVED, one, ("approvals", 9), OK, OK, ("approvals", 7)],
    )
    day.same("paid once", day.world.balance("TEAM/main"), (30, 0))
    day.same("nothing is kept of it", day.world.rows("approvals", "approval"), {})


def _ended_keys_and_new_rules(day: "Day") -> None:
    w, whole, small = day.world, pay("TEAM/main", "PA/main", 20), pay("TEAM/main", "PA/main", 5)
    _draft(day, 2, whole)
    _draft(day, 3, small)
    revoke = op("members", "revoke_key", officer("team-3").key_id)
    stricter = op("members", "set_policy", (Rule("*", "*", "CZK", 5, 2),))
    items = [
        _call(day, "approve", 2, "team-3", whole),
        w.make("TEAM", revoke, officers=OFFICERS[:2]),
        _call(day, "execute", 2, "team-1", whole),
        w.make("TEAM", stricter, officers=OFFICERS[:2]),
        _call(day, "execute", 3, "team-1", small),
        _call(day, "withdraw", 3, "team-1", small),
        _call(day, "approve", 3, "team-2", small),
        _call(day, "approve", 2, "team-2", whole),
        _call(day, "execute", 2, "team-2", whole),
    ]
    codes = [OK, OK, NOT_APPROVED, OK, NOT_APPROVED, OK, ("approvals", 7), OK, OK]
    day.expect("ended keys and new rules", items, codes)


def _in_time(day: "Day") -> None:
    whole = pay("TEAM/main", "PA/main", 6)
    _draft(day, 4, whole, minutes=1)
    day.expect("approved", [_call(day, "approve", 4, "team-2", whole)], [OK])
    due_ms = day.world.record("approvals", "draft", "TEAM", 4).expires_ms
    day.expect("too late", [_call(day, "execute", 4, "team-2", whole)], [("approvals", 7)], time_ms=due_ms)
    day.same("none is open", day.world.record("approvals", "counter", "TEAM").open, 0)


def _names(day: "Day") -> None:
    """What a draft makes, and what the same transaction makes beside it, are two."""
    w = day.world
    reserve = op("transfers", "reserve", "TEAM/main", "PA/main", "CZK", 1, w.time_ms + MINUTE_MS, "")
    _draft(day, 5, reserve, reserve)
    run = op("approvals", "execute", 5, content_hash(reserve, reserve))
    both = w.make("TEAM", run, reserve, officers=("team-2",))
    day.expect("holds", [both], [OK])
    day.same("three are held", w.balance("TEAM/main"), (10, 3))
    holds = [parts for parts, row in w.rows("transfers", "hold").items() if parts[0] == "TEAM/main"]
    day.same("each has a name", len(holds), 3)
    day.expect("they fall due", [], [], time_ms=w.time_ms + MINUTE_MS)


def _weights(day: "Day") -> None:
    w = day.world
    ends = w.time_ms + MINUTE_MS
    terms = {"expires_ms": ends, "conditions": Conditions(0, ends + 1, ends + 1, 0, 1)}
    own = Accounts("TEAM/main", "TEAM/main")
    buying = offer("PA", "buy", accounts=own, lots=1, least=1, price=5, **terms)
    items = [w.make("TEAM", buying, officers=OFFICERS[:1]), w.make("TEAM", buying, officers=OFFICERS[:2])]
    day.expect("an offer is weighed", items, [("ledger", 14), OK])
    day.expect("it ends", [], [], time_ms=ends)
