"""ClearingService and the SDK's reads of it; and the books of a day, which add up or are not written."""

import csv
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

import node.services.clearing_service as service_module
from contracts.clearing import Clearing
from contracts.instructions import Limit
from contracts.participants import Participants
from node.cli import day_end
from node.cli.output import Failure
from node.client import Movement, netting
from node.client.clearing import ClearingReads, proposal
from node.pb.vostro.clearing.v1 import clearing_pb2 as pb
from node.pb.vostro.clearing.v1.clearing_pb2_grpc import ClearingServiceStub
from tests.contracts.queue_world import TODAY, instruct, open_clearing, order, problem
from tests.kit import op
from tests.services_kit import Face, is_code, refused, serving

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def face(tmp_path: Path) -> AsyncIterator[Face]:
    async with serving(tmp_path) as served:
        world = served.world
        open_clearing(world)
        world.apply("PA", op("participants", "set_limits", "CZK", (Limit("KB", 90), Limit("", 2_000))))
        world.apply("PA", instruct(order("CNB", 7), order("KB", 1_000), order("CNB", 3, value_day=TODAY + 2)))
        world.apply("KB", instruct(*[order("PA", 960 + at, reference=f"R{at}") for at in range(150)]))
        world.apply("CNB", op("clearing", "seal", "CZK"))
        yield served


def reads(face: Face) -> ClearingReads:
    return ClearingReads(face.channel, "here", 10.0)


async def test_a_queue_is_told_with_its_limits_and_every_instruction_with_its_state(face: Face) -> None:
    queue = await reads(face).queue("PA", "CZK")
    assert (queue.seat, queue.account, queue.available) == (0, "PA/main", 793)
    assert (queue.queued, queue.aside, queue.lanes["normal"], queue.frozen) == (1_000, 3, 1, True)
    assert [(each.counterparty, each.most, each.paid) for each in queue.limits] == [
        ("KB", 90, 0),
        ("", 2_000, 7),
    ]
    found = [each async for each in reads(face).instructions("PA", "CZK")]
    assert [(each.number, each.state) for each in found] == [(3, "waiting"), (2, "frozen"), (1, "settled")]
    assert await reads(face).instruction("PA", "CZK", 2) == found[1]
    many = [each async for each in reads(face).instructions("KB", "CZK")]
    assert [each.number for each in many] == list(range(150, 0, -1))
    assert many[0].reference == "R149"


async def test_the_problem_that_is_read_is_the_one_that_the_state_poses(
    face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_module, "CLAIMS_MAX", 64)
    cycle = await reads(face).cycle("CZK")
    assert (cycle.cycle, cycle.status, cycle.frozen_count, cycle.seats) == (
        1,
        "sealed",
        151,
        ("PA", "KB", "CNB"),
    )
    asked = await reads(face).problem("CZK", cycle)
    expected = problem(face.world)
    assert [list(each.claims) for each in asked] == [list(each.claims) for each in expected]
    assert [each._replace(claims=()) for each in asked] == [
        each._replace(claims=(), bounds=tuple(bound._replace(seat=bound.seat) for bound in each.bounds))
        for each in expected
    ]


async def test_a_cycle_that_is_settled_is_told_with_its_totals_and_lines(face: Face) -> None:
    cycle = await reads(face).cycle("CZK")
    solution = netting.solve(await reads(face).problem("CZK", cycle))
    for calls in proposal("CZK", 1, "KB", solution):
        face.world.apply("KB", *calls)
    face.world.apply("CNB", op("clearing", "settle", "CZK", 1))
    settled = await reads(face).cycle("CZK")
    assert (settled.status, settled.count, settled.gross, settled.net) == ("settled", 2, 1_960, 40)
    line = await reads(face).line("PA", "CZK", 1)
    assert (line.before, line.pays, line.receives, line.after, line.count) == (793, 1_000, 960, 753, 1)


async def test_what_is_not_there_is_refused_by_its_name(face: Face) -> None:
    channel: Any = face.channel
    stub = ClearingServiceStub(channel)
    asked: list[tuple[Any, Any]] = [
        (stub.GetQueue(pb.GetQueueRequest(member="GONE", asset="CZK")), Participants.NOT_SEATED),
        (stub.GetQueue(pb.GetQueueRequest(member="PA", asset="EUR")), Participants.NOT_CLEARED),
        (stub.GetCycle(pb.GetCycleRequest(asset="CZK", cycle=9)), Clearing.CYCLE_UNKNOWN),
        (stub.GetLine(pb.GetLineRequest(member="PA", asset="CZK", cycle=1)), Clearing.CYCLE_UNKNOWN),
        (stub.GetClaims(pb.GetClaimsRequest(asset="CZK", cycle=1, seat=9)), Participants.NOT_SEATED),
        (
            stub.GetInstruction(pb.GetInstructionRequest(member="PA", asset="CZK", number=9)),
            Participants.INSTRUCTION_UNKNOWN,
        ),
    ]
    for call, error in asked:
        assert is_code(await refused(call), error)


async def test_the_calendar_tells_the_business_day(face: Face) -> None:
    day = await reads(face).business_day("CZK")
    assert (day.today, day.business_day, day.opens, day.cut_off, day.zone) == (TODAY, TODAY, 0, 1_440, 0)


def _move(account: str, amount: int, counterparty: str, tx: int = 1) -> Movement:
    return Movement(bytes([tx]) * 32, 1, 0, 1_000, account, "CZK", amount, counterparty, "r")


def _row(account: str, opening: int, *moves: Movement) -> day_end.Row:
    debits = sum(-each.amount for each in moves if each.amount < 0)
    return day_end.Row(account, opening, debits, debits + sum(each.amount for each in moves), list(moves))


async def test_a_days_books_add_up_in_every_file(tmp_path: Path) -> None:
    rows = [
        _row("A/1", 100, _move("A/1", -30, "B/1"), _move("A/1", 50, "", 2)),
        _row("B/1", 0, _move("B/1", 30, "A/1"), _move("B/1", -10, "", 3)),
    ]
    books = day_end.balanced("CZK", rows)
    assert (books.debits, books.credits, books.circulation) == (90, 90, 140)
    files = day_end.write_books(books, tmp_path / "day", 2)
    assert [file.name for file in files] == ["trial-balance.csv", "general-ledger.csv", "A_1.csv", "B_1.csv"]
    trial, ledger, first, _ = ([*csv.reader(file.read_text().splitlines())] for file in files)
    assert trial[1:] == [
        ["A/1", "1.00", "0.30", "0.50", "1.20"],
        ["B/1", "0.00", "0.10", "0.30", "0.20"],
        ["(in circulation)", "-1.00", "0.50", "0.10", "-1.40"],
        ["total", "0.00", "0.90", "0.90", "0.00"],
    ]
    assert sorted(row[2:5] for row in ledger[1:]) == [
        ["(in circulation)", "A/1", "0.50"],
        ["A/1", "B/1", "0.30"],
        ["B/1", "(in circulation)", "0.10"],
    ]
    assert [row[-1] for row in first[1:]] == ["1.00", "0.70", "1.20"]


async def test_books_with_a_posting_in_one_account_only_are_refused() -> None:
    whole = [_row("A/1", 100, _move("A/1", -30, "B/1")), _row("B/1", 0, _move("B/1", 30, "A/1"))]
    assert day_end.balanced("CZK", whole).circulation == 100
    torn = [whole[0], _row("B/1", 0)]
    other = [whole[0], _row("B/1", 0, replace(_move("B/1", 30, "A/1"), amount=31))]
    for rows in (torn, other):
        with pytest.raises(Failure, match="in one account only"):
            day_end.balanced("CZK", rows)
