"""The trading day's bilateral offsets: two banks whose queues begin with payments to one another settle these
against each other, and only the difference moves.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, combinations, takewhile
from typing import Final

from contracts.queues import TAKE_MAX
from node.client import Refused, operation
from node.client.clearing import Instruction
from node.demo.consortium import ASSET
from node.demo.desk import Desk

ROUNDS_MAX: Final = 20
PRIORITIES: Final = ("urgent", "high", "normal")
NO_OFFSET: Final = frozenset({"queues/14 LIMIT_EXCEEDED", "assets/14 INSUFFICIENT_BALANCE"})


@dataclass(frozen=True, slots=True)
class Offset:
    """What two banks set off: so many instructions worth ``gross`` in all, for ``moved`` of money."""

    one: str
    other: str
    count: int
    gross: int
    moved: int


def set_off_fronts(desk: Desk) -> list[Offset]:
    """Set off the fronts of any two queues for one another, as long as there are two."""
    queues = {bank: _queued(desk, bank) for bank in desk.banks}
    done: list[Offset] = []
    refused: dict[tuple[str, str], None] = {}
    while len(done) < ROUNDS_MAX:
        pairs = [pair for pair in _mutual(queues) if pair not in refused]
        if not pairs:
            break
        one, other = pairs[0]
        fronts = _front(queues[one], other), _front(queues[other], one)
        counts = _nearest(*fronts)
        try:
            desk.act(one, operation("queues", "offset", ASSET, other, *counts))
        except Refused as error:
            if error.code not in NO_OFFSET:
                raise
            refused[one, other] = None
            continue
        sums = [
            sum(each.amount for each in front[:count]) for front, count in zip(fronts, counts, strict=True)
        ]
        done.append(Offset(one, other, sum(counts), sum(sums), abs(sums[0] - sums[1])))
        for bank, count in zip((one, other), counts, strict=True):
            del queues[bank][:count]
    return done


def _queued(desk: Desk, bank: str) -> list[Instruction]:
    """What waits in a bank's queue, the front first."""
    waits = [each for each in desk.client.instructions(bank, ASSET) if each.state == "queued"]
    return sorted(waits, key=lambda each: (PRIORITIES.index(each.priority), each.number))


def _front(queue: Sequence[Instruction], creditor: str) -> list[Instruction]:
    """The first instructions, as long as they are for one bank."""
    return list(takewhile(lambda each: each.creditor == creditor, queue[:TAKE_MAX]))


def _mutual(queues: dict[str, list[Instruction]]) -> Iterator[tuple[str, str]]:
    """Banks whose queues begin with payments to one another."""
    for one, other in combinations(queues, 2):
        if _front(queues[one], other) and _front(queues[other], one):
            yield one, other


def _nearest(ours: Sequence[Instruction], theirs: Sequence[Instruction]) -> tuple[int, int]:
    """How many of either front come nearest to one another; of equals, the most."""
    sums = [list(accumulate(each.amount for each in front)) for front in (ours, theirs)]
    choices = [
        (abs(left - right), -(place + at), place + 1, at + 1)
        for place, left in enumerate(sums[0])
        for at, right in enumerate(sums[1])
    ]
    return min(choices)[2:]
