"""The solver: how far each participant's queue can settle when all are netted. The ledger does not trust it.

Each queue settles from its front, so a solution is one number a participant. With everything else fixed, a
participant can settle less without harm to itself, and what others settle only helps it: so solutions can be
joined, there is one greatest, and it is found by beginning with everything and taking the last instruction of
a participant back as long as it cannot pay, in whatever order (Bech and Soramaki, Gridlock resolution in
interbank payment systems, Bank of Finland 2001: the sequence constraint). The same holds under limits between
two and limits against all. Nothing else settles more, neither in number nor in amount. The time is linear in
the number of instructions.

Integers alone; no disk, no network: from the same queues every solver makes the same proposal.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

ALL: Final = -1
"""Stands where a seat stands: all others together."""


class Claim(NamedTuple):
    """An instruction that would settle. place: counted from its queue's front, from 0."""

    place: int
    creditor: int
    amount: int


class Bound(NamedTuple):
    """How much more may be paid to a seat, or to ALL, than comes from there; it may be below 0 already."""

    seat: int
    room: int


class Participant(NamedTuple):
    """available: minor units it can spend. claims: its instructions, in their order. places: how long its
    queue is, with what does not settle any more. out: it pays nothing.
    """

    available: int
    claims: Sequence[Claim]
    places: int
    bounds: Sequence[Bound] = ()
    out: bool = False


class Solution(NamedTuple):
    """cuts: places from the front that settle, a participant each. settled: how many instructions those are.
    net: the sum of net debits.
    """

    cuts: tuple[int, ...]
    settled: int
    gross: int
    net: int


def solve(participants: Sequence[Participant]) -> Solution:
    """The greatest solution there is: every other that respects all orders, balances and limits settles a
    part of this one.
    """
    kept = [0 if each.out else len(each.claims) for each in participants]
    pays = [0] * len(participants)
    receives = [0] * len(participants)
    bounded = [{bound.seat: bound.room for bound in each.bounds} for each in participants]
    between: dict[tuple[int, int], int] = {}
    for seat, each in enumerate(participants):
        for claim in each.claims[: kept[seat]]:
            pays[seat] += claim.amount
            receives[claim.creditor] += claim.amount
            if claim.creditor in bounded[seat] or seat in bounded[claim.creditor]:
                pair = (seat, claim.creditor)
                between[pair] = between.get(pair, 0) + claim.amount

    def fails(seat: int) -> bool:
        """Whether a participant cannot pay, or may not, as things stand."""
        net = pays[seat] - receives[seat]
        if net > participants[seat].available:
            return True
        for other, room in bounded[seat].items():
            more = net if other == ALL else between.get((seat, other), 0) - between.get((other, seat), 0)
            if more > max(room, 0):
                return True
        return False

    open_seats = list(range(len(participants)))
    while open_seats:
        seat = open_seats.pop()
        while kept[seat] and fails(seat):
            kept[seat] -= 1
            claim = participants[seat].claims[kept[seat]]
            pays[seat] -= claim.amount
            receives[claim.creditor] -= claim.amount
            if (seat, claim.creditor) in between:
                between[seat, claim.creditor] -= claim.amount
            open_seats.append(claim.creditor)
    return _solution(participants, kept, pays, receives)


def _solution(
    participants: Sequence[Participant], kept: Sequence[int], pays: Sequence[int], receives: Sequence[int]
) -> Solution:
    cuts = [
        0 if each.out else each.places if kept[at] == len(each.claims) else each.claims[kept[at]].place
        for at, each in enumerate(participants)
    ]
    net = sum([max(0, out - back) for out, back in zip(pays, receives, strict=True)])
    return Solution(tuple(cuts), sum(kept), sum(pays), net)
