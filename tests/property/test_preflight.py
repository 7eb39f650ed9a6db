"""The pre-flight of validators against brute force on small sets: no sequence of changes that it lets through
leaves the members without a quorum, whatever happens in the blocks before they come into force.
"""

from itertools import combinations, product
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from contracts.powers import VALIDATORS_MIN, Weights, may_fail, moved, positive
from contracts.validators import Validators, flaw

NAMES = [bytes([at]) * 16 for at in range(6)]
POWERS = st.integers(0, 5)


def decides(alive: set[bytes], powers: dict[bytes, int]) -> bool:
    """CometBFT's rule: more than two thirds of the power."""
    return 3 * sum(power for key, power in powers.items() if key in alive) > 2 * sum(powers.values())


def brute_may_fail(powers: dict[bytes, int]) -> int:
    """The largest number of validators of which any choice may fail."""
    keys = list(powers)
    for count in range(len(keys), 0, -1):
        if all(decides(set(keys) - set(failed), powers) for failed in combinations(keys, count)):
            return count
    return 0


def test_the_margin_is_that_of_every_choice_of_failures_on_all_small_sets() -> None:
    tried = 0
    for size in range(1, 6):
        for powers in product(range(1, 5), repeat=size):
            named = dict(zip(NAMES, powers, strict=False))
            assert may_fail(powers) == brute_may_fail(named), powers
            tried += 1
    print(f"sets tried: {tried}")
    assert tried == sum(4**size for size in range(1, 6))


@pytest.mark.evidence(
    "ACT14",
    asset="consensus",
    threat="a majority takes the quorum away",
    mitigation="a pre-flight of every change",
)
def test_every_change_between_small_sets_is_judged_as_brute_force_does() -> None:
    """What is let through keeps a quorum of those in force, moves at most a third, and bears one failure."""
    refused: dict[str, int] = {}
    tried = 0
    for before in product((0, 1, 3), repeat=5):
        for after in product((0, 1, 3), repeat=5):
            old = {key: power for key, power in zip(NAMES, before, strict=False) if power}
            new = {key: power for key, power in zip(NAMES, after, strict=False) if power}
            if not old:
                continue
            tried += 1
            found = flaw(Weights((old,), new), override=False)
            refused[found.name if found else "none"] = refused.get(found.name if found else "none", 0) + 1
            assert (found is Validators.QUORUM_LOST) == (not new or not decides(set(old), new))
            if found is None:
                assert brute_may_fail(new) >= 1
                assert len(new) >= VALIDATORS_MIN
                entering = sum(max(new.get(key, 0) - old.get(key, 0), 0) for key in NAMES)
                leaving = sum(max(old.get(key, 0) - new.get(key, 0), 0) for key in NAMES)
                assert moved(old, new) == (entering, leaving)
                assert 3 * entering <= sum(new.values())
                assert 3 * leaving <= sum(old.values())
    print(f"changes tried: {tried}, {refused}")
    assert set(refused) == {"none", "QUORUM_LOST", "TOO_MUCH_POWER", "TOO_FEW_VALIDATORS", "NO_MARGIN"}


@settings(deadline=None)
@given(
    first=st.lists(st.integers(1, 5), min_size=4, max_size=6),
    steps=st.lists(st.tuples(st.sampled_from(NAMES), POWERS, st.booleans(), st.booleans()), max_size=12),
)
@example([1, 1, 3, 4], [(NAMES[2], 0, True, True), (NAMES[2], 3, True, True), (NAMES[0], 1, True, True)])
@pytest.mark.evidence(
    "ACT14",
    asset="consensus",
    threat="a majority takes the quorum away",
    mitigation="a pre-flight of every change",
)
def test_no_walk_of_changes_over_heights_loses_the_quorum(first: list[int], steps: list[Any]) -> None:
    """The validators in force decide alone under every set that is let through and under every set that
    follows, however the changes are spread over blocks.
    """
    wanted = dict(zip(NAMES, first, strict=False))
    ended = [dict(wanted)] * 3  # the sets wanted at the end of the blocks so far
    for key, power, override, next_block in steps:
        earlier = (ended[-2], ended[-1])  # in force, and in force from the next height on
        changed = positive(wanted | {key: power})
        if changed != wanted and flaw(Weights(earlier, changed), override=override) is None:
            wanted = changed
            assert all(decides(set(before), wanted) for before in earlier)
            assert wanted
            if not override:
                assert brute_may_fail(wanted) >= 1
        if next_block:
            ended.append(dict(wanted))
    for old, new in zip(ended, ended[2:], strict=False):
        assert decides(set(old), new), "who is in force when a set is decided carries it alone"
