"""Queues and clearing: what whole histories come to, the published gridlocks of Project Ubin among them."""

from typing import Any

import pytest

import contracts.clearing as clearing_module
from contracts.calendars import (
    DAY_MS,
    Calendar,
    Schedule,
    day_of,
    is_business_day,
    next_business_day,
    time_of,
)
from contracts.clearing import CYCLE_MAX_MS, Clearing
from contracts.cycles import Sums, Walk, flows
from contracts.instructions import EVERYBODY, LANES, Cap, Limit
from node.client.netting import ALL, Bound, Claim, Participant, solve
from node.ledger import codec
from node.ledger.types import Receipt
from tests.checker import check_ledger
from tests.contracts.queue_world import (
    CALENDAR,
    TODAY,
    ClearedConsortium,
    available,
    cycle_of,
    instruct,
    netted,
    order,
    problem,
    propose,
    resolved,
    standing,
)
from tests.contracts.ubin import SCENARIOS, Scenario
from tests.kit import ADMINISTRATOR, is_refused, op, told


@pytest.fixture
def world() -> ClearedConsortium:
    return ClearedConsortium()


def _states(world: ClearedConsortium, member: str, last: int) -> list[str]:
    return [standing(world, member, number).state for number in range(1, last + 1)]


def _give(world: ClearedConsortium, member: str, *orders: Any) -> None:
    world.apply(member, instruct(*orders))


def _money(world: ClearedConsortium) -> list[int]:
    return [available(world, f"{bank}/main") for bank in ("PA", "KB", "CNB")]


def test_an_instruction_settles_at_once_when_nothing_as_urgent_waits_and_the_money_is_there(
    world: ClearedConsortium,
) -> None:
    _give(world, "PA", order("KB", 100), order("KB", 5_000), order("KB", 1), order("CNB", 2, "urgent"))
    assert _states(world, "PA", 4) == ["settled", "queued", "queued", "settled"]
    assert _money(world) == [698, 600, 402]


def test_a_participants_queue_advances_in_order_once_the_money_comes(world: ClearedConsortium) -> None:
    _give(world, "PA", order("KB", 900), order("KB", 50), order("KB", 60), order("KB", 2_000, "high"))
    world.apply("PA", op("queues", "prefer", "CZK", 4, "normal"))
    world.apply("CNB", op("transfers", "send", "CNB/main", "PA/main", "CZK", 160, "", b"", ""))
    world.apply("CNB", op("queues", "advance", "CZK", "PA", 100))
    assert _states(world, "PA", 4) == ["settled", "settled", "queued", "queued"]
    assert _money(world)[0] == 10


def test_held_moved_preferred_and_cancelled_instructions_change_the_order(world: ClearedConsortium) -> None:
    _give(world, "PA", *[order("KB", 1_000 + number) for number in range(6)])
    world.apply("PA", op("queues", "reorder", "CZK", 5, 2), op("queues", "reorder", "CZK", 1, 4))
    world.apply("PA", op("queues", "hold", "CZK", 3), op("queues", "cancel", "CZK", 6))
    world.apply("PA", op("queues", "release", "CZK", 3), op("queues", "prefer", "CZK", 2, "urgent"))
    reader: Any = world.ledger.readers["participants"]
    lanes = world.record("participants", "queue", "PA", "CZK").lanes
    rows = [
        [
            entry.number
            for _, entry in reader.entries("PA", "CZK", lane, 0, lanes[lane].tail)
            if not entry.mark
        ]
        for lane in range(3)
    ]
    assert rows == [[2], [], [5, 1, 4, 3]]
    assert [standing(world, "PA", number).state for number in range(1, 7)] == ["queued"] * 5 + ["cancelled"]
    queue = world.record("participants", "queue", "PA", "CZK")
    assert (queue.amount, queue.aside) == (5_010, 0)


def test_two_banks_offset_their_first_instructions_and_the_difference_moves(world: ClearedConsortium) -> None:
    _give(world, "PA", order("KB", 5_000), order("KB", 100), order("CNB", 900))
    _give(world, "KB", order("PA", 4_800), order("PA", 9_000))
    world.apply("PA", op("queues", "offset", "CZK", "KB", 2, 1))
    assert _money(world) == [500, 800, 400]
    assert _states(world, "PA", 3) + _states(world, "KB", 2) == ["settled"] * 2 + [
        "queued",
        "settled",
        "queued",
    ]
    world.apply("PA", op("queues", "cancel", "CZK", 3))
    _give(world, "PA", order("KB", 9_000))
    world.apply("KB", op("queues", "offset", "CZK", "PA", 1, 1))
    assert _money(world) == [500, 800, 400]
    check_ledger(world.blocks(), world.genesis)


def test_what_comes_before_its_time_waits_aside_and_enters_when_it_has_come(world: ClearedConsortium) -> None:
    minutes = world.time_ms // 60_000 % 1_440
    _give(world, "PA", order("KB", 10, earliest=minutes + 30), order("KB", 20, latest=minutes + 10))
    _give(world, "PA", order("KB", 3_000, latest=minutes + 20), order("KB", 7, value_day=TODAY + 2))
    assert _states(world, "PA", 4) == ["waiting", "settled", "queued", "waiting"]
    world.block(time_ms=world.time_ms + 31 * 60_000)
    assert _states(world, "PA", 4) == ["queued", "settled", "lapsed", "waiting"]
    world.apply("PA", op("queues", "advance", "CZK", "PA", 1))
    assert _states(world, "PA", 4) == ["settled", "settled", "lapsed", "waiting"]
    assert _money(world) == [770, 530, 400]
    world.block(time_ms=(TODAY + 2) * 86_400_000)
    assert _states(world, "PA", 4)[3] == "settled"


def test_what_has_lapsed_at_the_head_keeps_no_new_instruction_waiting(world: ClearedConsortium) -> None:
    _give(world, "PA", order("KB", 3_000, latest=world.time_ms // 60_000 % 1_440 + 20))
    assert _states(world, "PA", 1) == ["queued"]
    later = world.time_ms + 21 * 60_000
    world.apply("PA", instruct(order("KB", 10)), time_ms=later, created_ms=later)
    assert _states(world, "PA", 2) == ["lapsed", "settled"]


def test_a_cycle_settles_what_no_bank_could_pay_alone_and_its_report_adds_up(
    world: ClearedConsortium,
) -> None:
    _give(world, "PA", order("KB", 6_600), order("CNB", 2_000))
    _give(world, "KB", order("CNB", 6_000), order("PA", 1_000))
    _give(world, "CNB", order("PA", 7_500), order("PA", 9_999))
    solution, receipt = netted(world)
    assert (solution.cuts, solution.gross, solution.net) == ((2, 2, 1), 23_100, 500)
    totals = world.record("clearing", "totals", "CZK", 1)
    lines = world.record("clearing", "lines", "CZK", 1).lines
    assert (totals.count, totals.gross, totals.net) == (5, 23_100, 500)
    assert [line.after for line in lines] == _money(world)
    assert sum(line.before for line in lines) == sum(line.after for line in lines)
    assert sum(line.pays for line in lines) == sum(line.receives for line in lines) == totals.gross
    assert sum(line.count for line in lines) == totals.count
    assert sum(max(0, line.before - line.after) for line in lines) == totals.net
    assert [name for name, _ in told(receipt)].count("clearing.NetPassed") == 3
    check_ledger(world.blocks(), world.genesis)


def test_who_cannot_pay_at_settlement_is_taken_out_and_the_cycle_is_solved_again(
    world: ClearedConsortium,
) -> None:
    _give(world, "PA", order("KB", 1_200))
    _give(world, "KB", order("CNB", 900), order("PA", 300))
    _give(world, "CNB", order("PA", 850))
    world.apply("CNB", op("clearing", "seal", "CZK"))
    propose(world, solve(problem(world)).cuts)
    world.apply("PA", op("transfers", "send", "PA/main", "KB/main", "CZK", 780, "", b"", ""))
    receipt = world.apply("CNB", op("clearing", "settle", "CZK", 1))
    assert told(receipt) == [("clearing.Left", ["CZK", 1, 1, "PA", "short"])]
    solution, _ = resolved(world, "PA")
    assert solution.cuts[0] == 0
    totals = world.record("clearing", "totals", "CZK", 1)
    assert ([(out.member, out.reason) for out in totals.excluded], totals.attempts) == ([("PA", "short")], 2)
    assert [_states(world, "PA", 1), _states(world, "CNB", 1)] == [["queued"], ["settled"]]


def test_nothing_is_paid_to_a_bank_that_may_not_settle_and_what_was_for_it_is_refused(
    world: ClearedConsortium,
) -> None:
    _give(world, "PA", order("KB", 1_200), order("CNB", 900))
    _give(world, "CNB", order("PA", 1_000))
    world.apply(ADMINISTRATOR, op("members", "suspend", "KB", "late"))
    solution, _ = netted(world, "PA")
    assert solution.cuts == (2, 0, 1)
    assert _states(world, "PA", 2) == ["refused", "settled"]
    assert standing(world, "PA", 1).cycle == 1
    assert world.record("participants", "queue", "PA", "CZK").amount == 0


def test_a_sealed_cycle_freezes_what_it_holds_and_nothing_that_comes_later(world: ClearedConsortium) -> None:
    _give(world, "PA", order("KB", 1_200))
    world.apply("CNB", op("clearing", "seal", "CZK"))
    _give(world, "PA", order("KB", 30), order("CNB", 5, "urgent"))
    assert _states(world, "PA", 3) == ["frozen", "queued", "settled"]
    world.apply("PA", op("queues", "cancel", "CZK", 2))
    solution, _ = resolved(world)
    assert (solution.cuts, _states(world, "PA", 3)) == ((0, 0, 0), ["queued", "cancelled", "settled"])
    world.apply("PA", op("queues", "cancel", "CZK", 1))


def test_the_proposal_that_passes_most_is_the_one_that_is_settled(world: ClearedConsortium) -> None:
    _give(world, "PA", order("KB", 1_000), order("KB", 50))
    _give(world, "KB", order("PA", 1_000))
    world.apply("CNB", op("clearing", "seal", "CZK"))
    propose(world, (1, 1, 0), "PA")
    propose(world, (2, 1, 0), "KB")
    propose(world, (0, 0, 0), "CNB")
    world.apply("CNB", op("clearing", "settle", "CZK", 1))
    assert world.record("clearing", "totals", "CZK", 1).proposer == "KB"
    assert _states(world, "PA", 2) == ["settled", "settled"]


def test_a_cycle_in_many_pieces_comes_to_the_same(
    world: ClearedConsortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clearing_module, "CHECK_MAX", 7)
    _give(world, "PA", order("KB", 10_000), *[order("KB", 10 + at) for at in range(150)])
    _give(world, "KB", order("PA", 9_000), *[order("CNB", 15 + at) for at in range(70)])
    _give(world, "CNB", *[order("PA", 20 + at) for at in range(130)])
    before = _money(world)
    solution, _ = netted(world)
    lines = world.record("clearing", "lines", "CZK", 1).lines
    assert [line.before for line in lines] == before
    assert sum(line.pays for line in lines) == solution.gross
    assert [line.after for line in lines] == _money(world)
    pieces = [name for block in world.blocks() for name in _checked(block)]
    assert len(pieces) == -(-sum(solution.cuts) // 7)


def _checked(block: Any) -> list[str]:
    receipts: list[Receipt] = [codec.decoder(Receipt)(raw) for raw in block.receipts]
    return [event.event for receipt in receipts for event in receipt.events if event.event == "Checked"]


def test_a_stale_cycle_is_abandoned_by_anybody_and_its_queue_is_as_before(world: ClearedConsortium) -> None:
    _give(world, "PA", order("KB", 1_200))
    before = world.record("participants", "queue", "PA", "CZK")
    world.apply("CNB", op("clearing", "seal", "CZK"))
    propose(world, (0, 0, 0))
    late = world.time_ms + CYCLE_MAX_MS + 60_000
    settle = world.send("CNB", op("clearing", "settle", "CZK", 1), time_ms=late, created_ms=late)
    assert is_refused(settle, Clearing.TOO_LATE)
    world.apply("PA", op("clearing", "abandon", "CZK", 1))
    assert world.record("participants", "queue", "PA", "CZK") == before
    assert _states(world, "PA", 1) == ["queued"]


def test_limits_count_a_days_payments_in_queues_offsets_and_cycles(world: ClearedConsortium) -> None:
    world.apply("PA", op("participants", "set_limits", "CZK", (Limit("KB", 100), Limit("", 150))))
    _give(world, "PA", order("KB", 60), order("KB", 50), order("CNB", 5))
    assert _states(world, "PA", 3) == ["settled", "queued", "queued"]
    _give(world, "KB", order("PA", 15))
    world.apply("PA", op("queues", "advance", "CZK", "PA", 10))
    assert _states(world, "PA", 3) == ["settled"] * 3
    _give(world, "PA", order("KB", 500), order("CNB", 45))
    _give(world, "KB", order("PA", 900))
    solution, _ = netted(world)
    assert solution.cuts == (2, 1, 0)
    caps = world.record("participants", "caps", "PA", "CZK").caps
    assert [(cap.paid - cap.received, cap.most) for cap in caps] == [(-305, 100), (-255, 150)]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_a_published_gridlock_is_resolved_as_published(scenario: Scenario) -> None:
    queues: list[list[Claim]] = [[] for _ in scenario.balances]
    for debtor, creditor, amount in scenario.obligations:
        queues[debtor].append(Claim(len(queues[debtor]), creditor, amount))
    banks = [
        Participant(money, queue, len(queue)) for money, queue in zip(scenario.balances, queues, strict=True)
    ]
    cuts = solve(banks).cuts
    closing = list(scenario.balances)
    for debtor, queue in enumerate(queues):
        for claim in queue[: cuts[debtor]]:
            closing[debtor] -= claim.amount
            closing[claim.creditor] += claim.amount
    assert tuple(closing) == scenario.closing


def test_the_published_gridlocks_are_twenty_four() -> None:
    print(f"gridlocks of Project Ubin phase 2: {len(SCENARIOS)}")
    assert len(SCENARIOS) == len({scenario.name for scenario in SCENARIOS}) == 24


def test_a_calendar_knows_its_days_and_their_times() -> None:
    prague = Calendar(60, 0, 7 * 60, 18 * 60, (5, 6), (20_000,))
    chicago = Calendar(0, 360, 9 * 60, 17 * 60, (5, 6), ())
    assert day_of(prague, 20_000 * 86_400_000 - 1) == 20_000
    assert day_of(chicago, 20_000 * 86_400_000) == 19_999
    assert time_of(prague, 20_000, 0) == 20_000 * 86_400_000 - 3_600_000
    assert time_of(chicago, 20_000, 0) == 20_000 * 86_400_000 + 6 * 3_600_000
    assert is_business_day(chicago, 20_000)  # a Friday
    noon = 20_000 * DAY_MS + DAY_MS // 2
    assert next_business_day(Schedule(prague, prague, 20_001, 0), noon) == 20_003
    whole_week = Calendar(60, 0, 7 * 60, 18 * 60, (), (20_000,))
    assert next_business_day(Schedule(prague, whole_week, 20_001, time_of(prague, 20_001, 0)), noon) == 20_001


def _limits(world: ClearedConsortium, member: str) -> Any:
    return world.ledger.query("participants", "get_limits", codec.encode((member, "CZK"))).caps


def _limited(world: ClearedConsortium) -> None:
    """Of its limit of 300 to KB, PA has used 250."""
    world.apply("PA", op("participants", "set_limits", "CZK", (Limit("KB", 300),)))
    _give(world, "PA", order("KB", 250))
    assert _states(world, "PA", 1) == ["settled"]


@pytest.mark.parametrize(
    "zone", [(840, 0), (120, 0), (0, 840), (0, 0)], ids=["far east", "east", "far west", "same zone"]
)
def test_a_calendar_set_in_the_course_of_a_day_gives_no_fresh_limit(
    world: ClearedConsortium, zone: tuple[int, int]
) -> None:
    _limited(world)
    assert day_of(Calendar(840, 0, 0, 1_440, (), ()), world.time_ms) == TODAY + 1  # it would be another day
    for last, calendar in enumerate((Calendar(*zone, 0, 1_440, (), ()), CALENDAR), 2):
        world.apply("CNB", op("calendars", "set_calendar", "CZK", calendar))
        _give(world, "PA", order("KB", 60))
        assert standing(world, "PA", last).state == "queued"
        assert [cap.paid for cap in _limits(world, "PA")] == [250]


def test_a_calendar_that_follows_holds_from_the_next_local_day_on(world: ClearedConsortium) -> None:
    _limited(world)
    follows = Calendar(120, 0, 60, 600, (), ())
    receipt = world.apply("CNB", op("calendars", "set_calendar", "CZK", follows))
    midnight_ms = time_of(CALENDAR, TODAY + 1, 0)
    ((_, (_, _, from_ms)),) = told(receipt)
    assert from_ms == midnight_ms
    _give(world, "PA", order("CNB", 1), order("CNB", 2, value_day=TODAY + 1))
    today, tomorrow = (standing(world, "PA", number).until_ms for number in (2, 3))
    assert (today, tomorrow) == (midnight_ms, time_of(follows, TODAY + 1, 600))  # a holiday before
    assert world.ledger.query("calendars", "get_calendar", codec.encode(("CZK",))) == CALENDAR
    at_eight = time_of(follows, TODAY + 1, 8 * 60)
    order_ = order("KB", 60, value_day=TODAY + 1)
    world.apply("PA", instruct(order_), created_ms=at_eight, time_ms=at_eight)
    assert standing(world, "PA", 4).state == "settled"
    assert [cap.paid for cap in _limits(world, "PA")] == [60]
    assert world.ledger.query("calendars", "get_calendar", codec.encode(("CZK",))) == follows


def test_the_solver_bounds_what_is_paid_to_one_and_to_all() -> None:
    banks = [
        Participant(100, (Claim(0, 1, 40), Claim(1, 2, 40)), 2, (Bound(1, 40), Bound(ALL, 79))),
        Participant(0, (), 0),
        Participant(0, (Claim(0, 0, 1),), 1),
    ]
    assert solve(banks).cuts == (2, 0, 1)
    tight = [banks[0]._replace(bounds=(Bound(1, 39),)), *banks[1:]]
    assert solve(tight).cuts == (0, 0, 0)


def test_cycles_are_numbered_and_only_one_is_sealed(world: ClearedConsortium) -> None:
    _give(world, "PA", order("KB", 1_200))
    for number in (1, 2):
        netted(world)
        assert cycle_of(world) == number
        assert world.record("participants", "scheme", "CZK").sealed == 0
        assert world.record("participants", "tails", "CZK") is None


def test_a_limit_on_a_seat_that_came_after_the_sealing_asks_nothing_of_the_cycle() -> None:
    walks = tuple(Walk(1, 1, 0, pays, 1, (0,) * LANES, 0) for pays in ((0, 70), (20, 0)))
    caps = tuple(Cap(seat, 100, 0, 0) for seat in (0, 1, 2, EVERYBODY))
    assert flows(Sums(walks, (70, 20), (20, 70)), 0, caps) == (
        {0: 0, 1: 70, EVERYBODY: 70},
        {0: 0, 1: 20, EVERYBODY: 20},
    )
