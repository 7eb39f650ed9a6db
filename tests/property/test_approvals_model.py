"""Random approvals against a second opinion: what a member's officers draft, approve, withdraw and execute
while keys come to their end, policies change and time passes.

The reference keeps drafts and approvals in dictionaries and says of every call whether it is applied; the
ledger must agree, call after call, and the checker of invariants must find nothing in the blocks.
"""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.institutions import Rule
from tests.checker import check_ledger
from tests.contracts.refusals_approvals import draft
from tests.contracts.refusals_governance import content_hash
from tests.kit import Consortium, new_key, officer, op, pay

KEYS = {"ann": "ann", "ann again": "ann", "ben": "ben", "cat": "cat", "scoped": "dan"}
MINUTE_MS = 60_000
pytestmark = pytest.mark.xdist_group("counted")
"""What the last test counts must have happened in its own process."""

COUNTS = {"applied": 0, "refused": 0, "executed": 0}

key = st.sampled_from(sorted(KEYS))
number = st.integers(1, 3)
call = st.one_of(
    st.tuples(st.just("propose"), key, st.lists(st.integers(1, 40), min_size=1, max_size=3)),
    st.tuples(st.just("approve"), key, number),
    st.tuples(st.just("approve"), key, number),
    st.tuples(st.just("withdraw"), key, number),
    st.tuples(st.just("execute"), key, number),
    st.tuples(st.just("execute"), key, number),
    st.tuples(st.just("execute"), key, number),
    st.tuples(st.just("propose"), key, st.lists(st.integers(1, 40), min_size=1, max_size=3)),
    st.tuples(st.just("revoke"), key, st.just(0)),
    st.tuples(st.just("policy"), st.just("ann"), st.tuples(st.integers(10, 90), st.integers(1, 3))),
    st.tuples(st.just("wait"), st.just("ann"), st.integers(1, 20)),
)


class Office:
    """The reference."""

    def __init__(self) -> None:
        self.alive = dict.fromkeys(KEYS, True)
        self.rule = (1, 1)
        self.drafts: list[dict[str, Any]] = []
        self.money = 800

    def propose(self, by: str, amounts: list[int], until_ms: int) -> bool:
        self.drafts.append({"amounts": amounts, "by": {by}, "until": until_ms, "open": True})
        return True

    def open(self, number: int, now: int) -> Any:
        found = self.drafts[number - 1] if number <= len(self.drafts) else None
        return found if found and found["open"] and now < found["until"] else None

    def approve(self, by: str, number: int, now: int) -> bool:
        found = self.open(number, now)
        if not found or by in found["by"]:
            return False
        found["by"].add(by)
        return True

    def withdraw(self, by: str, number: int, now: int) -> bool:
        found = self.open(number, now)
        if not found or (by not in found["by"] and self.counted(found)):
            return False
        found["by"].discard(by)
        found["open"] = bool(self.counted(found))
        return True

    def counted(self, found: Any) -> set[str]:
        return {KEYS[name] for name in found["by"] if self.alive[name] and name != "scoped"}

    def execute(self, number: int, now: int) -> bool:
        found = self.open(number, now)
        if not found:
            return False
        total = sum(found["amounts"])
        if len(self.counted(found)) < (self.rule[1] if total >= self.rule[0] else 1) or total > self.money:
            return False
        self.money -= total
        found["open"] = False
        COUNTS["executed"] += 1
        return True


class Twin:
    """The ledger and the reference side by side."""

    def __init__(self) -> None:
        self.world, self.office = Consortium(), Office()
        scopes = {"scoped": ("approvals", "transfers.void")}
        keys = [new_key(name, holder, scopes.get(name, ("*",))) for name, holder in KEYS.items()]
        self.world.apply("PA", *(op("members", "register_key", each) for each in keys))

    def play(self, step: Any) -> None:
        what, by, rest = step
        world, office, now = self.world, self.office, self.world.time_ms + 1_000
        if what == "wait":
            world.block(time_ms=world.time_ms + rest * MINUTE_MS)
            world.apply("KB", pay("KB/main", "KB/empty", 1))  # a header, so that time passes in the world
        elif what == "revoke":
            if by not in ("ann", "ben", "cat") and office.alive[by]:
                office.alive[by] = False
                world.apply("PA", op("members", "revoke_key", officer(by).key_id), officers=TEAM)
        elif what == "policy":
            office.rule = rest
            world.apply("PA", op("members", "set_policy", (Rule("*", "*", "CZK", *rest),)), officers=TEAM)
        elif office.alive[by]:
            self._compare(what, by, rest, now)

    def _compare(self, what: str, by: str, rest: Any, now: int) -> None:
        world, office = self.world, self.office
        if what == "propose":
            until_ms = now + 15 * MINUTE_MS
            applied = office.propose(by, rest, until_ms)
            call = draft(payments(rest), until_ms)
        else:
            arguments = (by, rest, now) if what != "execute" else (rest, now)
            known = rest <= len(office.drafts)
            hash_ = content_hash(*payments(office.drafts[rest - 1]["amounts"])) if known else bytes(32)
            applied = getattr(office, what)(*arguments)
            call = op("approvals", what, rest, hash_)
        receipt = world.send("PA", call, officers=(by,), time_ms=now)
        assert (receipt.code == 0) == applied, (what, by, rest, receipt)
        COUNTS["applied" if applied else "refused"] += 1
        assert world.balance("PA/main")[0] == 200 + office.money


TEAM = ("ann", "ben", "cat")


def payments(amounts: list[int]) -> tuple[Any, ...]:
    return tuple([pay("PA/main", "KB/main", amount) for amount in amounts])


@settings(max_examples=40, deadline=None)
@given(st.lists(call, min_size=15, max_size=40))
@pytest.mark.evidence(
    "APP2",
    asset="balances",
    threat="too few officers",
    mitigation="distinct holders of keys that may sign now",
)
@pytest.mark.evidence(
    "APP3", asset="balances", threat="amounts are split", mitigation="what a draft runs is weighed together"
)
def test_random_approvals_agree_with_the_reference(steps: Any) -> None:
    twin = Twin()
    for step in steps:
        twin.play(step)
    counter = twin.world.record("approvals", "counter", "PA")
    still = [row for row in twin.world.rows("approvals", "draft").values() if row.status == "open"]
    assert (counter.open if counter else 0) == len(still) == len(twin.world.rows("approvals", "due"))
    check_ledger(twin.world.blocks(), twin.world.genesis)


def test_the_random_approvals_were_worth_their_time() -> None:
    print(f"random approvals: {COUNTS}")
    assert min(COUNTS.values()) > 0
