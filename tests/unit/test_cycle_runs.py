"""A netting cycle goes to its end though banks move money while it is solved, checked and settled."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio

from node.cli.cycle_runs import CycleRun
from node.cli.output import Failure
from node.client import BlockingClient, Refused
from node.client.clearing import CycleAt
from node.ledger.types import Operation
from tests.contracts.queue_world import instruct, open_clearing, order
from tests.kit import World, pay
from tests.services_kit import Face, serving

pytestmark = pytest.mark.asyncio

Move = Callable[[World, str], None]
Run = Callable[..., Awaitable[tuple[CycleAt, list[str]]]]


def away(bank: str, amounts: Sequence[int], before: str, *, back: bool = False) -> Move:
    """Each time before a step is signed, a bank moves an amount to another account of its own. back: and has
    it back once that is refused.
    """
    left = list(amounts)
    gone: list[int] = []

    def move(world: World, step: str) -> None:
        if step == before and left:
            gone.append(left.pop(0))
            world.apply(bank, pay(f"{bank}/main", f"{bank}/empty", gone[-1]))
        elif step == "refused" and back:
            world.apply(bank, pay(f"{bank}/empty", f"{bank}/main", gone.pop()))

    return move


def ran(face: Face, move: Move, attempts: int) -> tuple[CycleAt, list[str]]:
    """What a run comes to, and its notes; the moves come in between."""

    def submit(_: Any, operations: Sequence[Operation]) -> None:
        move(face.world, operations[0].method)
        receipt = face.world.send("CNB", *operations)
        if receipt.code:
            move(face.world, "refused")
            raise Refused(receipt.codespace, receipt.code, receipt=receipt)

    session: Any = SimpleNamespace(
        member="CNB",
        submit=submit,
        told_amount=lambda _client, _asset, minor: str(minor),
        output=SimpleNamespace(say=lambda _: None),
    )
    with BlockingClient.connect(f"127.0.0.1:{face.port}") as client:
        cycle = CycleRun(session, client, "CZK", attempts=attempts)
        number = cycle.run()
        return client.clearing(lambda reads: reads.cycle("CZK", number)), cycle.notes


@pytest_asyncio.fixture
async def run(tmp_path: Path) -> AsyncIterator[Run]:
    """PA has 800 and owes KB 850 and 150; KB 500, owes CNB 510 and PA 500; CNB 400, owes KB 450."""
    async with serving(tmp_path) as face:
        open_clearing(face.world)
        face.world.apply("PA", instruct(order("KB", 850), order("KB", 150)))
        face.world.apply("KB", instruct(order("CNB", 510), order("PA", 500)))
        face.world.apply("CNB", instruct(order("KB", 450)))
        yield lambda move, attempts=20: asyncio.to_thread(ran, face, move, attempts)


async def test_where_nobody_moves_money_everything_settles(run: Run) -> None:
    cycle, notes = await run(away("PA", (300,), "propose"))
    assert (cycle.status, cycle.count, cycle.gross, cycle.excluded, notes) == ("settled", 5, 2_460, (), [])


async def test_a_bank_with_less_when_the_solution_is_checked_is_solved_for_again(run: Run) -> None:
    cycle, notes = await run(away("PA", (400,), "propose"))
    assert (cycle.status, cycle.count, cycle.gross, cycle.excluded) == ("settled", 4, 2_310, ())
    assert len(notes) == 1
    assert notes[0].startswith("PA had less")
    assert notes[0].endswith("with what it has now")


async def test_a_bank_that_moves_money_twice_pays_nothing_and_holds_up_nobody(run: Run) -> None:
    cycle, notes = await run(away("PA", (400, 100, 50), "propose"))
    assert (cycle.status, cycle.count, cycle.gross) == ("settled", 2, 960)
    assert [note.rpartition(", ")[2] for note in notes] == ["with what it has now", "it pays nothing"]


async def test_a_bank_that_cannot_pay_at_settlement_is_taken_out_and_named(run: Run) -> None:
    cycle, notes = await run(away("PA", (400,), "settle"))
    assert (cycle.status, cycle.count, cycle.gross) == ("settled", 2, 960)
    assert cycle.excluded == (("PA", "short"),)
    assert notes == ["PA is taken out (short): the cycle is solved again without it"]


async def test_a_cycle_that_nobody_lets_end_is_given_up_in_the_open(run: Run) -> None:
    with pytest.raises(Failure, match=r"after 3 solutions.*still sealed.*abandon CZK"):
        await run(away("PA", (400,) * 9, "propose", back=True), 3)
