"""Every planted bug is noticed: by the scenario's known outcomes, by the checker of invariants, or by both.

The checker runs with the bug still planted, as in a release that has it, so a replay cannot be what notices.
"""

import pytest

from node.ledger.errors import InvariantViolated, Rejected
from tests.checker import Violated, check_ledger
from tests.sim import (
    canaries,
    canaries_approvals,
    canaries_clearing,
    canaries_cycles,
    canaries_encryption,
    canaries_governance,
    canaries_money,
    canaries_reconciliation,
    canaries_trading,
    canaries_vault,
)
from tests.sim.canary import CANARIES
from tests.sim.scenario import Day, play, with_faulty

WRONG = (AssertionError, LookupError, TypeError, ValueError, InvariantViolated, Rejected)
"""What a bug may lead to; a day that ends so was noticed."""

CAUGHT: dict[str, tuple[str, str]] = {}


def scenario_says(day: Day | None, error: Exception | None) -> str:
    if error is not None:
        return f"{type(error).__name__}: {error}"
    return day.surprises[0] if day and day.surprises else ""


def checker_says(day: Day | None) -> str:
    if day is None:
        return ""
    try:
        check_ledger(day.world.blocks(), day.world.genesis, assemble=with_faulty)
    except Violated as violated:
        return str(violated)
    except ValueError as error:  # what is stored does not decode
        return repr(error)
    return ""


PLANTED = (
    canaries,
    canaries_approvals,
    canaries_clearing,
    canaries_cycles,
    canaries_encryption,
    canaries_governance,
    canaries_money,
    canaries_reconciliation,
    canaries_trading,
    canaries_vault,
)


def test_without_a_bug_nobody_says_anything() -> None:
    day = play()
    assert day.surprises == []
    checked = check_ledger(day.world.blocks(), day.world.genesis, assemble=with_faulty)
    assert checked.applied > 40
    assert checked.refused > 15
    assert checked.system == 13


def who_notices(name: str) -> tuple[str, str]:
    """What the scenario and the checker say while a bug is planted; remembered."""
    if name not in CAUGHT:
        day, error = None, None
        with pytest.MonkeyPatch.context() as patch:
            CANARIES[name](patch)
            try:
                day = play()
            except WRONG as unexpected:
                error = unexpected
            CAUGHT[name] = scenario_says(day, error), checker_says(day)
    return CAUGHT[name]


@pytest.mark.parametrize("name", CANARIES)
def test_a_planted_bug_is_noticed(name: str) -> None:
    assert any(who_notices(name)), f"nothing noticed that {name}"


def test_the_table_of_who_noticed_what() -> None:
    assert len(CANARIES) >= 20
    for name in CANARIES:
        scenario, checker = who_notices(name)
        print(f"{name:44} {'scenario' if scenario else '-':9} {checker.split(' ')[0] if checker else '-'}")
    by_checker = [name for name, (_, checker) in CAUGHT.items() if checker]
    assert len(by_checker) >= 20, "the checker must notice many by itself"
    assert len(CAUGHT) == len(CANARIES)
