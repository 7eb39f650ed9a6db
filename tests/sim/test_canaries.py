"""Every planted bug is noticed: by the scenario's known outcomes, by the checker of invariants, or by both.

The checker runs with the bug still planted, as it would in a release that has it, so a replay cannot be what notices.
"""

import pytest

from tests.checker import Violated, check_ledger
from tests.sim.canaries import CANARIES
from tests.sim.scenario import Day, play, with_faulty

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


def test_without_a_bug_nobody_says_anything() -> None:
    day = play()
    assert day.surprises == []
    checked = check_ledger(day.world.blocks(), day.world.genesis, assemble=with_faulty)
    assert checked.applied > 40
    assert checked.refused > 15
    assert checked.system == 3


@pytest.mark.parametrize("name", CANARIES)
def test_a_planted_bug_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    day, error = None, None
    CANARIES[name](monkeypatch)
    try:
        day = play()
    except Exception as unexpected:
        error = unexpected
    caught = (scenario_says(day, error), checker_says(day))
    CAUGHT[name] = caught
    print(f"{name:46} scenario: {caught[0][:90] or '-'}   checker: {caught[1][:90] or '-'}")
    assert any(caught), f"nothing noticed that {name}"


def test_the_table_of_who_noticed_what() -> None:
    if len(CAUGHT) < len(CANARIES):
        pytest.skip("the table is printed where all canaries ran in this process")
    print()
    for name, (scenario, checker) in CAUGHT.items():
        print(f"{name:46} {'scenario' if scenario else '-':9} {checker.split(' ')[0] if checker else '-'}")
    assert len(CAUGHT) >= 20
    assert sum(bool(checker) for _, checker in CAUGHT.values()) >= 20, (
        "the checker must notice some by itself"
    )
