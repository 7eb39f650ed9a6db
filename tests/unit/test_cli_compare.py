"""The first header that differs is found among any two histories, as looking at every header finds it."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from node.cli.compare import OTHERS, ROOTS, first_difference
from node.client import Head

ZERO = bytes(32)
GENESIS = Head(0, 0, b"genesis", ZERO, ZERO, 0, ZERO, ZERO, ZERO, ZERO, 1, b"", b"")


class Chain:
    """A node's headers; how often it was asked."""

    def __init__(self, heads: Sequence[Head]) -> None:
        self.heads, self.asked = list(heads), 0
        self.height = self.heads[-1].height

    def headers(self, first: int, limit: int) -> list[Head]:
        self.asked += 1
        return [head for head in self.heads if head.height >= first][:limit]


def grown(heads: Sequence[Head], count: int, chance: random.Random, name: str) -> list[Head]:
    """So many headers more, with gaps; each app hash follows from the one before and from ``name``."""
    made = list(heads)
    for _ in range(count):
        last = made[-1]
        height = last.height + chance.choice((1, 1, 1, 2, 5))
        app_hash = f"{name}/{height}/{hash(last.app_hash)}".encode()
        made.append(replace(GENESIS, height=height, app_hash=app_hash, previous_app_hash=last.app_hash))
    return made


def by_looking(mine: Sequence[Head], theirs: Sequence[Head]) -> int | None:
    """The first height up to the lower head at which one has a header that the other has not."""
    last = min(mine[-1].height, theirs[-1].height)
    ours, others = ({head.height: head.app_hash for head in heads} for heads in (mine, theirs))
    heights = sorted({*ours, *others})
    return next((at for at in heights if at <= last and ours.get(at) != others.get(at)), None)


def test_bisection_finds_what_looking_at_every_header_finds() -> None:
    seed = random.SystemRandom().randrange(10**6)
    chance = random.Random(seed)
    differed = 0
    for case in range(400):
        common = grown([GENESIS], chance.randrange(0, 60), chance, "common")
        mine = grown(common, chance.randrange(0, 40), chance, "mine")
        theirs = grown(common, chance.randrange(0, 40), chance, chance.choice(("mine", "theirs")))
        one, other = Chain(mine), Chain(theirs)
        found, looked = first_difference(one, other), by_looking(mine, theirs)
        assert (found.height if found else None) == looked, (seed, case)
        assert one.asked < 15
        differed += looked is not None
    assert 50 < differed < 400
    print(f"seed {seed}: 400 pairs of histories tried, {differed} differed")


def test_each_root_that_differs_is_named_and_a_missing_header_is_none() -> None:
    for field, told in {**ROOTS, **OTHERS}.items():
        value: Any = b"other" if isinstance(getattr(GENESIS, field), bytes) else 99
        fields: dict[str, Any] = {"app_hash": b"other", field: value}
        changed = replace(GENESIS, **fields)
        found = first_difference(Chain([GENESIS]), Chain([changed]))
        assert found
        assert (found.height, found.roots) == (0, (told,))
    first = replace(GENESIS, height=3, app_hash=b"3")
    later = replace(GENESIS, height=5, app_hash=b"5")
    found = first_difference(
        Chain([GENESIS, first, later]), Chain([GENESIS, replace(later, app_hash=b"5 alone")])
    )
    assert found
    assert (found.height, found.mine, found.theirs, found.roots) == (3, first, None, ())
