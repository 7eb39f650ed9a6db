# ruff: noqa: ARG001, ARG005 - a bug has the signature of what it replaces
"""Bugs planted in queues and cycles, each seen by the checker alone, under the invariant that it breaks: the
history below asks nothing itself. The checker runs with the bug still planted, so that no replay tells.
"""

from collections.abc import Callable
from typing import Any, Final

import pytest
from msgspec.structs import replace

from contracts.clearing import Clearing
from contracts.instructions import CANCELLED, LIVE, MOVED, PAID, Limit, Passed
from contracts.participants import Found, Participants
from contracts.queues import Queues
from node.ledger.contract import Context
from tests.checker import Checked, Violated, check_ledger
from tests.contracts.queue_world import ClearedConsortium, instruct, order, propose
from tests.kit import op
from tests.sim.canary import Plant, body

BUGS: Final[dict[str, tuple[str, Plant]]] = {}
NORMAL: Final = 2


def breaks(invariant: str) -> Callable[[Plant], Plant]:
    """Register a bug that breaks an invariant."""

    def register(plant: Plant) -> Plant:
        BUGS[plant.__name__.replace("_", " ")] = invariant, plant
        return plant

    return register


def history() -> ClearedConsortium:
    """Gross payments, held and cancelled instructions, limits, and a cycle that settles what is urgent."""
    world = ClearedConsortium()
    world.apply("PA", op("participants", "set_limits", "CZK", (Limit("CNB", 5), Limit("", 3_000))))
    world.apply("PA", instruct(order("CNB", 6, "high"), order("KB", 1_000, "urgent"), order("KB", 150)))
    world.apply("KB", instruct(order("PA", 900, "urgent"), order("CNB", 100)))
    for change in ("hold", "release"):
        world.send("PA", op("queues", change, "CZK", 3))  # refused where a bug has paid it
    world.apply("KB", instruct(order("PA", 1)))
    world.send("KB", op("queues", "cancel", "CZK", 3))
    world.apply("CNB", instruct(order("PA", 10)))
    world.apply("CNB", op("clearing", "seal", "CZK"))
    propose(world, (1, 1, 0))
    world.apply("CNB", op("clearing", "settle", "CZK", 1))
    return world


def checked(world: ClearedConsortium) -> Checked:
    return check_ledger(world.blocks(), world.genesis)


def test_without_a_bug_the_checker_finds_nothing() -> None:
    found = checked(history())
    assert (found.cycles, found.instructions) == (1, 7)


@breaks("Q1")
def a_held_instruction_comes_back_as_another(patch: pytest.MonkeyPatch) -> None:
    original = Participants.park

    def park(self: Participants, member: str, asset: str, parked: Any) -> None:
        entry = replace(parked.entry, amount=parked.entry.amount + 1)
        original(self, member, asset, replace(parked, entry=entry))

    patch.setattr(Participants, "park", park)


@breaks("Q1")
def a_held_instruction_stays_in_its_lane(patch: pytest.MonkeyPatch) -> None:
    original = Participants.take_out

    def take_out(self: Participants, member: str, asset: str, found: Found, mark: int) -> None:
        if mark != MOVED:
            original(self, member, asset, found, mark)

    patch.setattr(Participants, "take_out", take_out)


@breaks("Q2")
def a_cancelled_instruction_still_counts_as_waiting(patch: pytest.MonkeyPatch) -> None:
    original = Participants.take_out

    def take_out(self: Participants, member: str, asset: str, found: Found, mark: int) -> None:
        original(self, member, asset, found, mark)
        if mark == CANCELLED:
            queue = self.require_queue(member, asset)
            self.queue.put(replace(queue, amount=queue.amount + found.entry.amount), member, asset)

    patch.setattr(Participants, "take_out", take_out)


@breaks("Q3")
def an_instruction_overtakes_those_before_it(patch: pytest.MonkeyPatch) -> None:
    def enter(self: Queues, ctx: Context, member: str, asset: str, lane: int, entry: Any) -> None:
        paid = self._pay(ctx, member, asset, entry)
        self.participants.append(member, asset, lane, replace(entry, mark=PAID) if paid else entry)

    patch.setattr(Queues, "_enter", enter)


@breaks("Q3")
def a_cycle_begins_with_what_is_least_urgent(patch: pytest.MonkeyPatch) -> None:
    def go_forward(self: Clearing, asset: str, number: int, proposal: Any, sums: Any) -> list[int]:
        tails, left = self.participants.require_tails(asset), []
        for seat, seated in enumerate(self.participants.seats(asset)):
            queue, cut = self.participants.require_queue(seated.member, asset), proposal.cuts[seat]
            for lane in (NORMAL, 1, 0):
                row = queue.lanes[lane]
                step = min(cut, tails[seat][lane] - row.head)
                cut -= step
                if not step:
                    continue
                spent = self.participants.entries(seated.member, asset, lane, row.head, row.head + step)
                gone = [entry.amount for _, entry in spent if entry.mark == LIVE]
                lanes = list(queue.lanes)
                lanes[lane] = replace(row, head=row.head + step, live=row.live - len(gone))
                queue = replace(queue, lanes=tuple(lanes), amount=queue.amount - sum(gone))
                self.participants.passed.put(Passed(number), seated.member, asset, lane, row.head + step)
            self.participants.queue.put(queue, seated.member, asset)
            left.append(queue.amount)
        return left

    patch.setattr(Clearing, "_go_forward", go_forward)


@breaks("Q4")
def a_proposal_cancels_what_is_frozen(patch: pytest.MonkeyPatch) -> None:
    original = Clearing.methods["propose"].function

    def propose_(self: Clearing, ctx: Context, asset: str, cycle: int, cuts: tuple[int, ...]) -> None:
        original(self, ctx, asset, cycle, cuts)
        row = self.participants.require_queue("KB", asset).lanes[NORMAL]
        for place, entry in self.participants.entries("KB", asset, NORMAL, row.head, row.tail):
            if entry.mark == LIVE:
                self.participants.take_out("KB", asset, Found(NORMAL, place, entry), CANCELLED)

    body(patch, Clearing, "propose", propose_)


@breaks("Q5")
def a_cycle_passes_a_unit_less_than_its_instructions(patch: pytest.MonkeyPatch) -> None:
    original = Clearing._pass_net

    def pass_net(self: Clearing, ctx: Context, asset: str, number: int, through: str, sums: Any) -> None:
        pays = [max(paid - 1, 0) if paid == 1_000 else paid for paid in sums.pays]
        receives = [max(back - 1, 0) if back == 1_000 else back for back in sums.receives]
        original(self, ctx, asset, number, through, sums._replace(pays=pays, receives=receives))

    patch.setattr(Clearing, "_pass_net", pass_net)


@breaks("Q5")
def a_cycle_reports_more_than_it_settled(patch: pytest.MonkeyPatch) -> None:
    original = Clearing._lines

    def lines(self: Clearing, asset: str, sums: Any) -> Any:
        return [
            replace(line, pays=line.pays + 1, after=line.after - 1) for line in original(self, asset, sums)
        ]

    patch.setattr(Clearing, "_lines", lines)


@breaks("Q6")
def a_limit_does_not_count_what_comes_back(patch: pytest.MonkeyPatch) -> None:
    original = Participants.count

    def count(self: Participants, member: str, asset: str, day: int, pays: Any, receives: Any) -> None:
        original(self, member, asset, day, pays, {})

    patch.setattr(Participants, "count", count)


@breaks("Q6")
def a_payment_beyond_a_limit_passes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Participants, "fits", lambda self, caps, pays, receives: True)


@pytest.mark.parametrize("bug", BUGS)
def test_the_checker_alone_notices_a_bug_of_the_queue(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    invariant, plant = BUGS[bug]
    plant(monkeypatch)
    world = history()
    with pytest.raises(Violated) as violated:
        checked(world)
    print(f"{bug}: {violated.value}")
    assert str(violated.value).startswith(invariant)
