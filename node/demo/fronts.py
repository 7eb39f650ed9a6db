"""The trading day's bilateral offsets: two banks whose queues begin with payments to one another settle these
against each other, and only the difference moves.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from contracts.queues import TAKE_MAX
from node.client import Refused, operation
from node.client.clearing import Instruction
from node.demo.cleared import NOTHING_PAYABLE
from node.demo.consortium import ASSET
from node.demo.day import Sums
from node.demo.desk import Desk, events

OFFSETS_MAX: Final = 20
BEFORE_MAX: Final = 3
"""A bank pays no more than so many payments to others to come to those that can be set off."""
PRIORITIES: Final = ("urgent", "high", "normal")
CANNOT: Final = frozenset({NOTHING_PAYABLE, "queues/14 LIMIT_EXCEEDED", "assets/14 INSUFFICIENT_BALANCE"})


@dataclass(frozen=True, slots=True)
class Offset:
    """What two banks set off: so many instructions worth ``gross`` in all, for ``moved`` of money."""

    one: str
    other: str
    count: int
    gross: int
    moved: int


def set_off_fronts(desk: Desk) -> tuple[list[Offset], Sums]:
    """Set off the fronts of two queues for one another, as often as there are two. A bank that stands in the
    way of its own payments to the other pays the few before them first: what that settled, gross.
    """
    queues = {bank: _queued(desk, bank) for bank in desk.banks}
    done: list[Offset] = []
    paid, idle = Sums(), 0
    banks = itertools.cycle(desk.banks)
    while len(done) < OFFSETS_MAX and idle < len(queues):
        one = next(banks)
        idle += 1
        if not queues[one]:
            continue
        other = queues[one][0].creditor
        before = _before(queues[other], one)
        if before is None or (before and not _pay_first(desk, other, queues[other], before, paid)):
            continue
        found = _set_off(desk, queues, one, other)
        if found:
            done.append(found)
            idle = 0
    return done, paid


def _before(queue: Sequence[Instruction], creditor: str) -> int | None:
    """How many stand before the first one for a bank; None: too many."""
    near = enumerate(queue[: BEFORE_MAX + 1])
    return next((place for place, each in near if each.creditor == creditor), None)


def _pay_first(desk: Desk, bank: str, queue: list[Instruction], count: int, paid: Sums) -> bool:
    """Have a bank pay its first instructions; whether it could pay so many."""
    try:
        receipt = desk.act(bank, operation("queues", "advance", ASSET, bank, count))
    except Refused as error:
        if error.code not in CANNOT:
            raise
        return False
    amounts = [int(each["amount"]) for each in events(receipt, "Paid")]
    for amount in amounts:
        paid.add(amount)
    del queue[: len(amounts)]
    return len(amounts) == count


def _set_off(desk: Desk, queues: dict[str, list[Instruction]], one: str, other: str) -> Offset | None:
    """Set off two fronts; None where they cannot be: a limit, or too little money for the difference."""
    fronts = _front(queues[one], other), _front(queues[other], one)
    counts = _nearest(*fronts)
    try:
        desk.act(one, operation("queues", "offset", ASSET, other, *counts))
    except Refused as error:
        if error.code not in CANNOT:
            raise
        return None
    sums = [sum(each.amount for each in front[:count]) for front, count in zip(fronts, counts, strict=True)]
    for bank, count in zip((one, other), counts, strict=True):
        del queues[bank][:count]
    return Offset(one, other, sum(counts), sum(sums), abs(sums[0] - sums[1]))


def _queued(desk: Desk, bank: str) -> list[Instruction]:
    """What waits in a bank's queue, the front first."""
    waits = [each for each in desk.client.instructions(bank, ASSET) if each.state == "queued"]
    return sorted(waits, key=lambda each: (PRIORITIES.index(each.priority), each.number))


def _front(queue: Sequence[Instruction], creditor: str) -> list[Instruction]:
    """The first instructions, as long as they are for one bank."""
    return list(itertools.takewhile(lambda each: each.creditor == creditor, queue[:TAKE_MAX]))


def _nearest(ours: Sequence[Instruction], theirs: Sequence[Instruction]) -> tuple[int, int]:
    """How many of either front come nearest to one another; of equals, the most."""
    sums = [list(itertools.accumulate(each.amount for each in front)) for front in (ours, theirs)]
    choices = [
        (abs(left - right), -(place + at), place + 1, at + 1)
        for place, left in enumerate(sums[0])
        for at, right in enumerate(sums[1])
    ]
    return min(choices)[2:]
