"""ClearingService: queues, cycles and their reports, as the published state has them."""

from typing import Any

from contracts.calendars import Schedule, calendar_at, day_of, next_business_day
from contracts.cycles import Absence, Cycle, Totals
from contracts.instructions import EVERYBODY, LIVE, PAGE, PRIORITIES, Cap, Seated, Standing
from node.ledger.errors import Rejected
from node.pb.vostro.clearing.v1 import clearing_pb2 as pb
from node.pb.vostro.clearing.v1 import clearing_pb2_grpc
from node.services.paging import page_size
from node.services.ports import Call
from node.services.published import QUERY_PAGE_MAX, Published

CLAIMS_MAX = 64 * PAGE
"""Places of a queue that one answer walks."""


class ClearingService(clearing_pb2_grpc.ClearingServiceServicer):
    """See proto/vostro/clearing/v1."""

    def __init__(self, published: Published) -> None:
        self._published = published

    async def GetCalendar(self, request: pb.GetCalendarRequest, call: Call) -> pb.GetCalendarResponse:
        """An asset's calendar. Raises Rejected CALENDAR_UNKNOWN."""
        schedule: Schedule = self._published.ask("calendars", "get_schedule", request.asset)
        time_ms = self._published.stand().time_ms
        found = calendar_at(schedule, time_ms)
        return pb.GetCalendarResponse(
            ahead=found.ahead,
            behind=found.behind,
            opens=found.opens,
            cut_off=found.cut_off,
            weekend=found.weekend,
            holidays=found.holidays,
            today=day_of(found, time_ms),
            business_day=next_business_day(schedule, time_ms),
        )

    async def GetQueue(self, request: pb.GetQueueRequest, call: Call) -> pb.GetQueueResponse:
        """A participant's queue. Raises Rejected NOT_CLEARED, NOT_SEATED."""
        scheme = self._published.ask("participants", "get_scheme", request.asset)
        queue = self._published.ask("participants", "get_queue", request.member, request.asset)
        height, time_ms = self._published.stand()
        return pb.GetQueueResponse(
            seat=queue.seat,
            account=queue.account,
            available=self._available(queue.account, request.asset),
            queued=queue.amount,
            aside=queue.aside,
            lanes=[
                pb.Lane(priority=priority, count=lane.live)
                for priority, lane in zip(PRIORITIES, queue.lanes, strict=True)
            ],
            limits=self._limits(request.member, request.asset),
            frozen=bool(scheme.sealed),
            height=height,
            time_ms=time_ms,
        )

    async def GetInstruction(
        self, request: pb.GetInstructionRequest, call: Call
    ) -> pb.GetInstructionResponse:
        """An instruction. Raises Rejected NOT_SEATED, INSTRUCTION_UNKNOWN."""
        height, time_ms = self._published.stand()
        found = self._instruction(request.member, request.asset, request.number)
        return pb.GetInstructionResponse(instruction=found, height=height, time_ms=time_ms)

    async def ListInstructions(
        self, request: pb.ListInstructionsRequest, call: Call
    ) -> pb.ListInstructionsResponse:
        """A participant's instructions, newest first. Raises Rejected NOT_SEATED."""
        queue = self._published.ask("participants", "get_queue", request.member, request.asset)
        last = min(request.below - 1, queue.numbers) if request.below else queue.numbers
        first = max(last - page_size(request.page_size, QUERY_PAGE_MAX), 0)
        found = [
            self._instruction(request.member, request.asset, number) for number in range(last, first, -1)
        ]
        height, time_ms = self._published.stand()
        return pb.ListInstructionsResponse(
            instructions=found, next_below=first + 1 if first else 0, height=height, time_ms=time_ms
        )

    async def GetCycle(self, request: pb.GetCycleRequest, call: Call) -> pb.GetCycleResponse:
        """A cycle. Raises Rejected NOT_CLEARED, CYCLE_UNKNOWN."""
        scheme = self._published.ask("participants", "get_scheme", request.asset)
        number = request.cycle or scheme.cycle
        cycle: Cycle = self._published.ask("clearing", "get_cycle", request.asset, number)
        seats = self._seats(request.asset)
        if cycle.status == "sealed":  # who joined since takes no part in it
            seats = seats[: len(self._published.ask("clearing", "get_tails", request.asset, number).tails)]
        height, time_ms = self._published.stand()
        answer = pb.GetCycleResponse(
            cycle=number,
            status=cycle.status,
            sealed_ms=cycle.sealed_ms,
            frozen_count=cycle.count,
            frozen_gross=cycle.gross,
            attempt=cycle.attempt,
            best=cycle.best,
            excluded=[_exclusion(out, seats) for out in cycle.outs],
            seats=[seated.member for seated in seats],
            height=height,
            time_ms=time_ms,
        )
        if cycle.status == "settled":
            totals: Totals = self._published.ask("clearing", "get_totals", request.asset, number)
            answer.count, answer.gross, answer.net = totals.count, totals.gross, totals.net
            answer.settled_ms = totals.settled_ms
        return answer

    async def GetLine(self, request: pb.GetLineRequest, call: Call) -> pb.GetLineResponse:
        """A participant's line in a report. Raises Rejected NOT_SEATED, CYCLE_UNKNOWN."""
        line = self._published.ask("clearing", "get_line", request.member, request.asset, request.cycle)
        return pb.GetLineResponse(
            member=line.member,
            before=line.before,
            after=line.after,
            pays=line.pays,
            receives=line.receives,
            count=line.count,
            left=line.left,
        )

    async def GetClaims(self, request: pb.GetClaimsRequest, call: Call) -> pb.GetClaimsResponse:
        """What a solver needs of a seat. Raises Rejected CYCLE_UNKNOWN, NOT_SEALED, NOT_SEATED."""
        asset = request.asset
        cycle: Cycle = self._published.ask("clearing", "get_cycle", asset, request.cycle)
        tails = self._published.ask("clearing", "get_tails", asset, request.cycle).tails
        seats = self._seats(asset)
        member = seats[request.seat].member if request.seat < len(tails) else ""
        queue = self._published.ask("participants", "get_queue", member or "-", asset)
        outs = {out.seat: out.reason for out in cycle.outs}
        answer = pb.GetClaimsResponse(
            available=self._available(queue.account, asset),
            out=request.seat in outs,
            limits=self._limits(member, asset),
        )
        base, left = 0, CLAIMS_MAX
        for lane, priority in enumerate(PRIORITIES):
            head, tail = queue.lanes[lane].head, tails[request.seat][lane]
            place = head + max(request.place - base, 0)
            while place < tail and left > 0:
                rows = self._published.ask("participants", "list_entries", member, asset, priority, place)
                for row in rows[: tail - place]:
                    entry = row.entry
                    barred = outs.get(entry.creditor) == "barred"
                    if entry.mark == LIVE and cycle.sealed_ms < entry.until_ms and not barred:
                        answer.places.append(base + row.place - head)
                        answer.creditors.append(entry.creditor)
                        answer.amounts.append(entry.amount)
                left -= len(rows)
                place += len(rows)
            if place < tail and not answer.next_place:
                answer.next_place = base + place - head
            base += tail - head
        answer.length = base
        return answer

    # --- parts ----------------------------------------------------------------------------------------------

    def _seats(self, asset: str) -> tuple[Seated, ...]:
        seats: tuple[Seated, ...] = self._published.ask("participants", "get_roster", asset).seats
        return seats

    def _available(self, account: str, asset: str) -> int:
        position = self._published.ask("assets", "get_balance", account, asset)
        return int(position.posted - position.held)

    def _instruction(self, member: str, asset: str, number: int) -> pb.Instruction:
        found: Standing = self._published.ask("clearing", "get_instruction", member, asset, number)
        return pb.Instruction(
            member=found.member,
            number=found.number,
            creditor=found.creditor,
            amount=found.amount,
            priority=found.priority,
            value_day=found.value_day,
            until_ms=found.until_ms,
            reference=found.reference,
            state=found.state,
            cycle=found.cycle,
        )

    def _limits(self, member: str, asset: str) -> list[pb.Limit]:
        caps = self._published.ask("participants", "get_limits", member, asset)
        try:
            calendar: Any = self._published.ask("calendars", "get_calendar", asset)
        except Rejected:
            return []
        fresh = caps.day == day_of(calendar, self._published.stand().time_ms)
        seats = self._seats(asset)
        return [_limit(cap, seats, used=fresh) for cap in caps.caps]


def _limit(cap: Cap, seats: tuple[Seated, ...], *, used: bool) -> pb.Limit:
    counterparty = "" if cap.seat == EVERYBODY else seats[cap.seat].member
    paid, received = (cap.paid, cap.received) if used else (0, 0)
    return pb.Limit(counterparty=counterparty, most=cap.most, paid=paid, received=received)


def _exclusion(out: Absence, seats: tuple[Seated, ...]) -> pb.Exclusion:
    return pb.Exclusion(member=seats[out.seat].member, reason=out.reason)
