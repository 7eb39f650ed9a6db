"""A netting cycle seen through to its end, though balances move meanwhile.

Between reading the queues and checking a solution a participant can be paid, pay by itself, or move money
away. Then the check is refused, or the settlement takes out who cannot pay, and the cycle is solved again
with what is left. What always holds: a participant that has twice had less than when the cycle was solved
pays nothing in the next solution, so that nobody holds up the others, and after ``ATTEMPTS_MAX`` solutions
the command ends and says how it goes on.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from contracts.clearing import Clearing
from node.cli.output import Exit, Failure
from node.cli.session import Session
from node.client import BlockingClient, Refused, netting, operation
from node.client.clearing import CycleAt, proposal
from node.client.netting import Participant

ATTEMPTS_MAX: Final = 20
"""Solutions of one cycle that a command proposes."""
PATIENCE: Final = 2
"""How often a participant may have less than when the cycle was solved before it is left out."""
_UNFIT: Final = tuple(
    (code.codespace, code.code) for code in (Clearing.BEYOND_LIQUIDITY, Clearing.BEYOND_LIMIT)
)


@dataclass(slots=True)
class CycleRun:
    """One command's work on the sealed cycle of an asset. notes: what happened on the way, a sentence each.
    moved: how often a participant had less than when the cycle was solved. attempts: how many
    solutions may still be proposed. proposed: how many were.
    """

    session: Session
    client: BlockingClient
    asset: str
    notes: list[str] = field(default_factory=list)
    moved: dict[str, int] = field(default_factory=dict)
    attempts: int = ATTEMPTS_MAX
    proposed: int = 0

    def run(self) -> int:
        """Seal a cycle and see it through; its number. Raises Failure, and what the client raises."""
        self.session.submit(self.client, [operation("clearing", "seal", self.asset)])
        known: dict[str, str] = {}
        while True:
            number = self.solve_and_check()
            self.session.submit(self.client, [operation("clearing", "settle", self.asset, number)])
            cycle = self._cycle()
            for member, reason in cycle.excluded:
                if known.get(member) != reason:
                    self._note(f"{member} is taken out ({reason}): the cycle is solved again without it")
            known = dict(cycle.excluded)
            if cycle.status != "sealed":
                return number

    def solve_and_check(self) -> int:
        """Propose the greatest solution of the sealed cycle, and have it walked to its end; again, where
        somebody has less by then. The cycle's number. Raises Failure, and what the client raises.
        """
        while True:
            cycle = self._cycle()
            problem = self._problem(cycle)
            solution = self._solve(problem)
            try:
                for calls in proposal(self.asset, cycle.cycle, self.session.member, solution):
                    self.session.submit(self.client, calls)
            except Refused as refused:
                if (refused.codespace, refused.number) not in _UNFIT:
                    raise
                self._count_moved(cycle, problem)
            else:
                return cycle.cycle

    def _solve(self, problem: Sequence[Participant]) -> netting.Solution:
        if not self.attempts:
            raise Failure(
                Exit.REFUSED,
                f"after {self.proposed} solutions the cycle is not settled, as balances kept moving "
                f"({'; '.join(self.notes)}). It is still sealed: go on with `vostro clearing solve "
                f"{self.asset}` and `settle`, or free its instructions with `vostro clearing abandon "
                f"{self.asset}`",
                notes=self.notes,
            )
        self.attempts -= 1
        self.proposed += 1
        began = time.perf_counter()
        solution = netting.solve(problem)
        gross, net = (
            self.session.told_amount(self.client, self.asset, minor)
            for minor in (solution.gross, solution.net)
        )
        self.session.output.say(
            f"solved in {time.perf_counter() - began:.2f} s: {solution.settled:,} instructions settle, "
            f"gross {gross}, net {net}"
        )
        return solution

    def _count_moved(self, cycle: CycleAt, before: Sequence[Participant]) -> None:
        """Note who has less than when the cycle was solved."""
        now = self._problem(cycle)
        less = [
            member
            for member, then, today in zip(cycle.seats, before, now, strict=True)
            if today.available < then.available or _rooms(today) < _rooms(then)
        ]
        for member in less:
            self.moved[member] = self.moved.get(member, 0) + 1
            ending = "it pays nothing" if self.moved[member] >= PATIENCE else "with what it has now"
            self._note(
                f"{member} had less at the check than when the cycle was solved: solved again, {ending}"
            )
        if not less:
            self._note("the solution did not hold when it was checked: solved again")

    def _problem(self, cycle: CycleAt) -> list[Participant]:
        """The queues as they stand, with those left out that moved too often."""
        found = self.client.clearing(lambda reads: reads.problem(self.asset, cycle))
        return [
            each._replace(out=each.out or self.moved.get(member, 0) >= PATIENCE)
            for member, each in zip(cycle.seats, found, strict=True)
        ]

    def _cycle(self) -> CycleAt:
        return self.client.clearing(lambda reads: reads.cycle(self.asset))

    def _note(self, sentence: str) -> None:
        self.notes.append(sentence)
        self.session.output.say(sentence)


def _rooms(participant: Participant) -> int:
    """What its limits leave, all together."""
    return sum([bound.room for bound in participant.bounds])
