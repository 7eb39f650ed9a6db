"""The day's part of settlement cycles: gross and net, who is taken out, all or none; and an exchange of two
banks (scenario.py).
"""

from typing import TYPE_CHECKING, Any, Final

from tests.contracts.market import KB, PA, made, offer, take
from tests.kit import op

if TYPE_CHECKING:
    from tests.sim.scenario import Day

OK: Final = ("", 0)
MINUTE_MS: Final = 60_000
BANKS: Final = ("PA", "KB", "CNB")


def cycle(day: "Day") -> None:
    """Four deals in two cycles; one of them cannot be paid."""
    w = day.world
    closes_ms = w.time_ms + MINUTE_MS
    opens = [w.make("PA", op("cycles", "open", model, "CZK", closes_ms)) for model in (2, 3)]
    gross, net = (made(receipt, "CycleOpened") for receipt in day.expect("cycles", opens, [OK, OK]))
    poor = w.balance("CNB/main")[0] + 100
    plain = _agreed(day, "PA", "KB", 20)
    passed_on = (_agreed(day, "PA", "CNB", 20), _agreed(day, "CNB", "KB", 30))
    unpaid = _agreed(day, "KB", "CNB", poor)
    before = _balances(day)
    held = before["PA", "BOND"][1]
    items = [
        w.make("KB", op("cycles", "enter", gross, plain)),
        w.make("KB", op("cycles", "enter", gross, plain)),
        w.make("CNB", op("cycles", "enter", gross, plain)),
        w.make("PA", op("cycles", "enter", gross, plain)),
        w.make("PA", op("settlement", "settle", plain)),
    ]
    day.expect("both sides enter", items, [OK, ("cycles", 5), ("settlement", 2), OK, ("settlement", 5)])
    day.same("a gross leg is held", w.balance("PA/main", "BOND")[1], held + 5)
    for into, deal in ((gross, unpaid), (net, passed_on[0]), (net, passed_on[1])):
        sides = w.record("settlement", "deal", deal)
        items = [w.make(side, op("cycles", "enter", into, deal)) for side in (sides.seller, sides.buyer)]
        day.expect("and others", items, [OK, OK])
    day.same("both gross legs are held", w.balance("KB/main", "BOND")[1], before["KB", "BOND"][1] + 5)
    day.expect("too early", [w.make("PA", op("cycles", "settle", net))], [("cycles", 8)])
    away = op("transfers", "send", "CNB/main", "PA/main", "CZK", 1, "", b"", "")
    day.expect("its time", [w.make("CNB", away)], [OK], time_ms=closes_ms)
    settle = {each: op("cycles", "settle", each) for each in (gross, net)}
    items = [w.make("REG", settle[net]), w.make("KB", settle[net]), w.make("CNB", settle[net])]
    day.expect("all that can", items, [("cycles", 10), OK, ("cycles", 9)])
    day.expect("and gross", [w.make("PA", settle[gross])], [OK])
    statuses = [w.record("settlement", "deal", deal).status for deal in (plain, *passed_on, unpaid)]
    day.same("who cannot pay is out", statuses, ["settled", "settled", "settled", "agreed"])
    after = _balances(day)
    changes = {place: after[place][0] - posted for place, (posted, _) in before.items()}
    expected: dict[Any, int] = dict.fromkeys(changes, 0)
    expected |= {("PA", "BOND"): -10, ("KB", "BOND"): 10}
    expected |= {("PA", "CZK"): 20 + 21, ("KB", "CZK"): -20 - 30, ("CNB", "CZK"): 10 - 1}
    day.same("both legs, in net", changes, expected)
    day.same(
        "nothing is held for it", [held for _, held in after.values()], [held for _, held in before.values()]
    )


def exchange(day: "Day") -> None:
    """PA offers KB five bonds; accepting settles; both confirm with their statements."""
    w = day.world
    ends = w.time_ms + 10 * MINUTE_MS
    opens = op("exchange", "open", "KB", "BOND", 5, "CZK", 20, PA, ends, "swap")
    (receipt,) = day.expect("an exchange", [w.make("PA", opens)], [OK])
    found = made(receipt, "Offered")
    before = _balances(day)
    accept = op("exchange", "accept", found, "CZK", 20, KB)
    items = [
        w.make("CNB", op("exchange", "accept", found, "CZK", 20, KB)),
        w.make("PA", accept),
        w.make("KB", op("exchange", "confirm", found, bytes(32))),
        w.make("KB", accept),
        w.make("KB", accept),
    ]
    codes = [("exchange", 2), ("exchange", 4), ("exchange", 5), OK, ("exchange", 5)]
    day.expect("accepted once", items, codes)
    after = _balances(day)
    changes = [after[place][0] - before[place][0] for place in before if place[0] != "CNB"]
    day.same("both legs at once", changes, [-5, 5, 20, -20])
    confirm = op("exchange", "confirm", found, b"\x07" * 32)
    items = [w.make(bank, confirm) for bank in ("CNB", "PA", "PA", "KB")]
    day.expect("both confirm", items, [("exchange", 2), OK, ("exchange", 6), OK])
    day.same("closed", w.record("exchange", "exchange", found).status, "confirmed")


def _balances(day: "Day") -> dict[tuple[str, str], tuple[int, int]]:
    return {
        (bank, asset): day.world.balance(f"{bank}/main", asset) for asset in ("BOND", "CZK") for bank in BANKS
    }


def _agreed(day: "Day", seller: str, buyer: str, price: int) -> bytes:
    """One lot of five bonds; the deal's id."""
    w = day.world
    ends = w.time_ms + 10 * MINUTE_MS
    terms: dict[str, Any] = {"expires_ms": ends, "conditions": (0, ends + MINUTE_MS, ends + MINUTE_MS, 0, 1)}
    making = offer(seller, lots=1, least=1, price=price, **terms)
    (receipt,) = day.expect("an offer", [w.make(seller, making)], [OK])
    taking = take(seller, made(receipt, "Offered"), 1, price, buyer)
    (receipt,) = day.expect("taken", [w.make(buyer, taking)], [OK])
    return made(receipt, "Agreed")
