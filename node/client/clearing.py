"""Clearing from the client's side: queues and cycles to read, and what the solver needs.

``problem`` reads all queues of a sealed cycle, which takes a reader of everything; ``netting.solve`` makes a
proposal of it. Amounts are minor units, times ms since 1970.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

import grpc

from contracts.clearing import CHECK_MAX
from node.client.connection import ask
from node.client.netting import ALL, Bound, Claim, Participant, Solution
from node.client.signing import operation
from node.ledger.types import Operation
from node.pb.vostro.clearing.v1 import clearing_pb2 as pb
from node.pb.vostro.clearing.v1.clearing_pb2_grpc import ClearingServiceStub

CALLS_MAX: Final = 10
"""Operations of a transaction, so that each is a small part of what a block may hold."""


@dataclass(frozen=True, slots=True)
class BusinessDay:
    """An asset's local day now, the business day from it on, and when settlement opens and is cut off, in
    minutes of the local day, which is ``zone`` minutes ahead of UTC.
    """

    today: int
    business_day: int
    opens: int
    cut_off: int
    zone: int


@dataclass(frozen=True, slots=True)
class LimitUse:
    """A limit and how far the day has used it. counterparty empty: all others together."""

    counterparty: str
    most: int
    paid: int
    received: int


@dataclass(frozen=True, slots=True)
class QueueAt:
    """A participant's queue. lanes: priority -> instructions that wait."""

    seat: int
    account: str
    available: int
    queued: int
    aside: int
    lanes: dict[str, int]
    limits: tuple[LimitUse, ...]
    frozen: bool


@dataclass(frozen=True, slots=True)
class Instruction:
    """An instruction and what became of it. cycle 0: none had to do with it."""

    member: str
    number: int
    creditor: str
    amount: int
    priority: str
    value_day: int
    until_ms: int
    reference: str
    state: str
    cycle: int


@dataclass(frozen=True, slots=True)
class CycleAt:
    """A cycle. count, gross, net, settled_ms: 0 unless it is settled. excluded: (member, reason)."""

    cycle: int
    status: str
    sealed_ms: int
    frozen_count: int
    frozen_gross: int
    attempt: int
    best: str
    excluded: tuple[tuple[str, str], ...]
    count: int
    gross: int
    net: int
    settled_ms: int
    seats: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CycleLine:
    """A participant's line in a cycle's report."""

    member: str
    before: int
    after: int
    pays: int
    receives: int
    count: int
    left: int


class ClearingReads:
    """The clearing service of one node. Every call raises Declined, Unreachable."""

    def __init__(self, channel: grpc.aio.Channel, target: str, seconds: float) -> None:
        """See Client."""
        stub: Any = channel
        self._stub = ClearingServiceStub(stub)
        self._target = target
        self._seconds = seconds

    async def business_day(self, asset: str) -> BusinessDay:
        """Which day it is for an asset."""
        told = await self._ask(self._stub.GetCalendar, pb.GetCalendarRequest(asset=asset))
        return BusinessDay(told.today, told.business_day, told.opens, told.cut_off, told.ahead - told.behind)

    async def queue(self, member: str, asset: str) -> QueueAt:
        """A participant's queue."""
        told = await self._ask(self._stub.GetQueue, pb.GetQueueRequest(member=member, asset=asset))
        return QueueAt(
            told.seat,
            told.account,
            told.available,
            told.queued,
            told.aside,
            {lane.priority: lane.count for lane in told.lanes},
            tuple(LimitUse(each.counterparty, each.most, each.paid, each.received) for each in told.limits),
            told.frozen,
        )

    async def instruction(self, member: str, asset: str, number: int) -> Instruction:
        """One instruction."""
        asked = pb.GetInstructionRequest(member=member, asset=asset, number=number)
        return _instruction((await self._ask(self._stub.GetInstruction, asked)).instruction)

    async def instructions(self, member: str, asset: str) -> AsyncIterator[Instruction]:
        """A participant's instructions, newest first."""
        below = 0
        while True:
            asked = pb.ListInstructionsRequest(member=member, asset=asset, below=below)
            told = await self._ask(self._stub.ListInstructions, asked)
            for message in told.instructions:
                yield _instruction(message)
            below = told.next_below
            if not below:
                return

    async def cycle(self, asset: str, number: int = 0) -> CycleAt:
        """A cycle; 0: the last one."""
        told = await self._ask(self._stub.GetCycle, pb.GetCycleRequest(asset=asset, cycle=number))
        return CycleAt(
            told.cycle,
            told.status,
            told.sealed_ms,
            told.frozen_count,
            told.frozen_gross,
            told.attempt,
            told.best,
            tuple((out.member, out.reason) for out in told.excluded),
            told.count,
            told.gross,
            told.net,
            told.settled_ms,
            tuple(told.seats),
        )

    async def line(self, member: str, asset: str, number: int) -> CycleLine:
        """A participant's line in a settled cycle's report."""
        told = await self._ask(
            self._stub.GetLine, pb.GetLineRequest(member=member, asset=asset, cycle=number)
        )
        return CycleLine(
            told.member, told.before, told.after, told.pays, told.receives, told.count, told.left
        )

    async def problem(self, asset: str, cycle: CycleAt) -> list[Participant]:
        """All queues of a sealed cycle, as the solver wants them."""
        seats = {member: seat for seat, member in enumerate(cycle.seats)}
        found: list[Participant] = []
        for seat in range(len(cycle.seats)):
            claims: list[Claim] = []
            place = 0
            while True:
                asked = pb.GetClaimsRequest(asset=asset, cycle=cycle.cycle, seat=seat, place=place)
                told = await self._ask(self._stub.GetClaims, asked)
                claims += map(Claim, told.places, told.creditors, told.amounts)
                place = told.next_place
                if not place:
                    break
            bounds = tuple(
                Bound(seats.get(each.counterparty, ALL), each.most + each.received - each.paid)
                for each in told.limits
            )
            found.append(Participant(told.available, claims, told.length, bounds, told.out))
        return found

    async def _ask(self, call: Any, asked: Any) -> Any:
        return await ask(call, asked, target=self._target, seconds=self._seconds)


def proposal(asset: str, cycle: int, proposer: str, solution: Solution) -> list[list[Operation]]:
    """What to sign so that a solution is proposed and checked to its end: operations, a transaction each,
    in this order.
    """
    pieces = -(-sum(solution.cuts) // CHECK_MAX) or 1
    calls = [operation("clearing", "propose", asset, cycle, solution.cuts)]
    calls += [operation("clearing", "check", asset, cycle, proposer)] * pieces
    return [calls[at : at + CALLS_MAX] for at in range(0, len(calls), CALLS_MAX)]


def _instruction(told: pb.Instruction) -> Instruction:
    return Instruction(
        told.member,
        told.number,
        told.creditor,
        told.amount,
        told.priority,
        told.value_day,
        told.until_ms,
        told.reference,
        told.state,
        told.cycle,
    )
