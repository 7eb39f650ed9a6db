"""The day's part of clearing: queues in order, an offset, limits, and netting cycles (scenario.py)."""

from typing import TYPE_CHECKING, Any, Final

from contracts.instructions import Limit
from node.client.netting import solve
from tests.contracts.queue_world import available, instruct, open_clearing, order, problem, standing
from tests.kit import fields_of, op

if TYPE_CHECKING:
    from tests.sim.scenario import Day

OK: Final = ("", 0)
BANKS: Final = ("PA", "KB", "CNB")
DAY_MS: Final = 86_400_000


def clear(day: "Day") -> None:
    """PA with 300 and KB with 100 pay one another far more than that."""
    w = day.world
    open_clearing(w)
    _leave(day, "PA", 300)
    _leave(day, "KB", 100)
    _queue(day)
    _cycles(day)
    _offset(day)
    _limits(day)
    _sweep(day)


def _order(day: "Day", creditor: str, amount: int, priority: str = "normal") -> Any:
    return order(creditor, amount, priority, value_day=day.world.time_ms // DAY_MS)


def _leave(day: "Day", bank: str, amount: int) -> None:
    """All but so much goes to another account."""
    w = day.world
    rest = available(w, f"{bank}/main") - amount
    away = op("transfers", "send", f"{bank}/main", f"{bank}/empty", "CZK", rest, "", b"", "")
    day.expect("set aside", [w.make(bank, away)], [OK])


def _money(day: "Day") -> list[int]:
    return [available(day.world, f"{bank}/main") for bank in BANKS[:2]]


def _queue(day: "Day") -> None:
    w = day.world
    three = instruct(_order(day, "KB", 400), _order(day, "CNB", 5), _order(day, "KB", 3, "urgent"))
    wrong = op("queues", "instruct", "CZK", 1, (_order(day, "KB", 2),))
    items = [
        w.make("PA", three),
        w.make("PA", wrong),
        w.make("KB", op("queues", "hold", "CZK", 1)),
        w.make("PA", op("queues", "advance", "CZK", "PA", 9)),
    ]
    day.expect("a queue", items, [OK, ("queues", 1), ("participants", 8), ("queues", 12)])
    day.same("the urgent one is paid, the others wait", _money(day), [297, 103])
    turn = [op("queues", "hold", "CZK", 1), op("queues", "release", "CZK", 1)]
    items = [w.make("PA", *turn), w.make("PA", op("queues", "advance", "CZK", "PA", 9))]
    day.expect("turned", items, [OK, OK])
    day.same("the small one went first then", _money(day), [292, 103])
    day.same("states", [standing(w, "PA", at).state for at in (1, 2, 3)], ["queued", "settled", "settled"])


def _cycles(day: "Day") -> None:
    w = day.world
    back = instruct(_order(day, "PA", 120), _order(day, "CNB", 9_000))
    seal = op("clearing", "seal", "CZK")
    items = [w.make("KB", back), w.make("PA", seal), w.make("CNB", seal), w.make("CNB", seal)]
    day.expect("sealed", items, [OK, ("participants", 1), OK, ("clearing", 1)])
    cuts = solve(problem(w)).cuts
    items = [
        w.make("PA", op("queues", "cancel", "CZK", 1)),
        w.make("PA", op("clearing", "propose", "CZK", 1, (1, 9, 0))),
        w.make("PA", op("clearing", "propose", "CZK", 1, (cuts[0], 0, 0))),
        w.make("PA", op("clearing", "check", "CZK", 1, "PA")),
        w.make("CNB", op("clearing", "settle", "CZK", 1)),
    ]
    refused = [("participants", 5), ("clearing", 4), OK, ("clearing", 8), ("clearing", 10)]
    day.expect("frozen", items, refused)
    check = [op("clearing", "propose", "CZK", 1, cuts), op("clearing", "check", "CZK", 1, "KB")]
    away = op("transfers", "send", "PA/main", "PA/empty", "CZK", 100, "", b"", "")
    settle = op("clearing", "settle", "CZK", 1)
    day.expect("two proposals", [w.make("KB", *check), w.make("CNB", *less_of(1))], [OK, OK])
    day.expect("not the operator", [w.make("PA", settle), w.make("PA", away)], [("participants", 1), OK])
    items = [w.make("CNB", settle), w.make("CNB", settle)]
    receipts = day.expect("taken out", items, [OK, ("clearing", 10)])
    told = [fields_of(event)[3:] for event in receipts[0].events if event.event == "Left"]
    day.same("who is taken out, and why", told, [["PA", "short"]])
    day.same("and nothing moved", _money(day), [192, 103])
    again = op("transfers", "send", "PA/empty", "PA/main", "CZK", 100, "", b"", "")
    items = [w.make("CNB", op("clearing", "abandon", "CZK", 1), seal), w.make("PA", again)]
    day.expect("a second cycle", items, [OK, OK])
    cuts = solve(problem(w)).cuts
    check = [op("clearing", "propose", "CZK", 2, cuts), op("clearing", "check", "CZK", 2, "KB")]
    settle = op("clearing", "settle", "CZK", 2)
    day.expect("checked", [w.make("CNB", *less_of(2)), w.make("KB", *check)], [OK, OK])
    day.expect("settled", [w.make("CNB", settle), w.make("CNB", settle)], [OK, ("clearing", 3)])
    day.same("one net position a bank", _money(day), [12, 383])
    states = [standing(w, bank, at).state for bank, at in (("PA", 1), ("KB", 1), ("KB", 2))]
    day.same("read through the cycle", states, ["settled", "settled", "queued"])
    day.same("nothing is left in between", available(w, "CNB/clearing"), 0)


def less_of(cycle: int) -> list[Any]:
    """A proposal under which nothing settles."""
    nothing = op("clearing", "propose", "CZK", cycle, (0, 0, 0))
    return [nothing, op("clearing", "check", "CZK", cycle, "CNB")]


def _offset(day: "Day") -> None:
    w = day.world
    give = w.make("PA", instruct(_order(day, "KB", 460)))
    back = w.make("KB", op("queues", "cancel", "CZK", 2), instruct(_order(day, "PA", 450)))
    offset = op("queues", "offset", "CZK", "PA", 1, 1)
    other = instruct(_order(day, "CNB", 500))
    items = [
        give,
        back,
        w.make("KB", offset),
        w.make("PA", other),
        w.make("KB", instruct(_order(day, "PA", 450))),
    ]
    items += [w.make("KB", offset), w.make("PA", op("queues", "cancel", "CZK", 5))]
    day.expect("an offset", items, [OK, OK, OK, OK, OK, ("queues", 13), OK])
    day.same("the difference moved", _money(day), [2, 393])


def _limits(day: "Day") -> None:
    w = day.world
    limit = op("participants", "set_limits", "CZK", (Limit("PA", 4), Limit("", 7)))
    five = instruct(
        _order(day, "PA", 5, "urgent"), _order(day, "CNB", 2, "urgent"), _order(day, "PA", 3, "urgent")
    )
    items = [
        w.make("KB", limit),
        w.make("KB", five),
        w.make("KB", op("queues", "cancel", "CZK", 5), op("queues", "advance", "CZK", "KB", 9)),
    ]
    day.expect("limits", items, [OK, OK, OK])
    day.same("5 exceeds the limit to one, 2 and 3 do not", _money(day), [5, 388])
    more = instruct(_order(day, "CNB", 3, "urgent"))
    day.expect("and all together", [w.make("KB", more)], [OK])
    day.same("3 more would exceed the limit to all", _money(day), [5, 388])


def _sweep(day: "Day") -> None:
    """What was set aside comes back."""
    w = day.world
    for bank in BANKS[:2]:
        back = op(
            "transfers",
            "send",
            f"{bank}/empty",
            f"{bank}/main",
            "CZK",
            w.balance(f"{bank}/empty")[0],
            "",
            b"",
            "",
        )
        day.expect("back", [w.make(bank, back)], [OK])
