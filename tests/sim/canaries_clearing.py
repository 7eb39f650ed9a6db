# ruff: noqa: ARG001, ARG005 - a bug has the signature of what it replaces
"""Planted bugs in queues and clearing (canaries.py says what they are for)."""

from typing import Any

import pytest
from msgspec.structs import replace

from contracts.clearing import Clearing
from contracts.instructions import PAID
from contracts.participants import Participants
from contracts.queues import Queues
from node.ledger.contract import Context
from tests.sim.canary import body, canary


@canary
def an_instruction_passes_those_before_it(patch: pytest.MonkeyPatch) -> None:
    def enter(self: Queues, ctx: Context, member: str, asset: str, lane: int, entry: Any) -> None:
        if self._pay(ctx, member, asset, entry):
            entry = replace(entry, mark=PAID)
        self.participants.append(member, asset, lane, entry)

    patch.setattr(Queues, "_enter", enter)


@canary
def limits_forbid_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Participants, "fits", lambda self, caps, pays, receives: True)


@canary
def limits_are_not_counted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Participants, "count", lambda self, member, asset, day, pays, receives: None)


@canary
def a_cycle_debits_and_credits_nobody(patch: pytest.MonkeyPatch) -> None:
    original = Clearing._pass_net

    def pass_net(self: Clearing, ctx: Context, asset: str, number: int, through: str, sums: Any) -> None:
        original(self, ctx, asset, number, through, sums._replace(receives=(0,) * len(sums.receives)))

    patch.setattr(Clearing, "_pass_net", pass_net)


@canary
def a_cycle_does_not_look_at_balances(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Clearing, "_failing", lambda self, ctx, asset, sums: [])


@canary
def a_cycle_leaves_the_queue_as_it_was(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        Clearing, "_go_forward", lambda self, asset, number, proposal, sums: [0] * len(proposal.cuts)
    )


@canary
def a_frozen_instruction_can_be_changed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Participants, "is_frozen", lambda self, asset, queue, found: False)


@canary
def anybody_operates_the_clearing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Participants, "check_operator", lambda self, ctx, asset: None)


@canary
def an_offset_takes_what_is_for_others(patch: pytest.MonkeyPatch) -> None:
    def take(self: Queues, ctx: Context, member: str, asset: str, count: int, seat: int) -> int:
        front = self.participants.skip(member, asset, ctx.time_ms, 100)
        if front is None:
            return 0
        self.participants.take_out(member, asset, front, PAID)
        return int(front.entry.amount)

    patch.setattr(Queues, "_take_first", take)


@canary
def the_last_proposal_wins(patch: pytest.MonkeyPatch) -> None:
    original = Clearing.methods["check"].function

    def check(self: Clearing, ctx: Context, asset: str, cycle: int, proposer: str) -> None:
        original(self, ctx, asset, cycle, proposer)
        found = self.cycle.get(asset, cycle)
        if found is not None:
            self.cycle.put(
                replace(found, best="CNB" if self.proposal.get(asset, "CNB") else proposer), asset, cycle
            )

    body(patch, Clearing, "check", check)


@canary
def who_was_taken_out_may_pay(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Clearing, "_take_out", lambda self, ctx, asset, number, cycle, failing: None)


@canary
def a_paid_instruction_keeps_its_place(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Participants, "take_out", lambda self, member, asset, found, mark: None)
