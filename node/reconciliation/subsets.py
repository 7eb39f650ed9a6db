"""Which of some amounts add up to one: a bounded search that says whether its answer is the only one."""

from collections.abc import Sequence
from typing import Final

FOUND_MAX: Final = 2
"""One answer, or more than one: nobody needs to know how many."""


class TooManySteps(ArithmeticError):
    """The search was given up."""


def subsets(
    amounts: Sequence[int], target: int, within: int, parts: int, steps: int
) -> list[tuple[int, ...]]:
    """Up to two sets of 2 to ``parts`` places of ``amounts`` whose sum is ``target`` give or take ``within``.

    All amounts have the target's sign. Sets of equal amounts count as different, for they are different
    payments. Raises TooManySteps.
    """
    size = [abs(amount) for amount in amounts]
    aim = abs(target)
    order = sorted(range(len(size)), key=lambda place: (-size[place], place))
    below = [0] * (len(order) + 1)
    for at in range(len(order) - 1, -1, -1):
        below[at] = below[at + 1] + size[order[at]]
    found: list[tuple[int, ...]] = []
    left = steps

    def search(at: int, sum_: int, chosen: tuple[int, ...]) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise TooManySteps
        if len(chosen) > 1 and abs(aim - sum_) <= within:
            found.append(tuple(sorted(chosen)))
        if len(chosen) == parts:
            return
        for next_ in range(at, len(order)):
            if len(found) == FOUND_MAX or sum_ + below[next_] < aim - within:
                return
            amount = size[order[next_]]
            if sum_ + amount <= aim + within:
                search(next_ + 1, sum_ + amount, (*chosen, order[next_]))

    search(0, 0, ())
    return found[:FOUND_MAX]
