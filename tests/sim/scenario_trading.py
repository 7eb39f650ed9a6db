"""The day's part of trading: an offer, an answer, deals, both legs or none, and a coupon (scenario.py)."""

from typing import TYPE_CHECKING, Any, Final

from contracts.deals import Conditions
from tests.contracts.market import KB, PA, made, offer, open_market, take
from tests.kit import op
from tests.sim.scenario_cycles import cycle, exchange

if TYPE_CHECKING:
    from tests.sim.scenario import Day

OK: Final = ("", 0)
MINUTE_MS: Final = 60_000


def trade(day: "Day") -> None:
    """PA sells bonds to KB, in every way."""
    open_market(day.world)
    _offers(day)
    _deals(day)
    _holds(day)
    cycle(day)
    exchange(day)
    _coupon(day)


def _both(day: "Day") -> list[tuple[int, int]]:
    """Bonds of PA and KB, money of PA and KB, each posted and held."""
    w = day.world
    return [w.balance(f"{bank}/main", asset) for asset in ("BOND", "CZK") for bank in ("PA", "KB")]


def _terms(day: "Day", **changed: Any) -> dict[str, Any]:
    """Open for ten minutes, due a minute later."""
    ends = day.world.time_ms + 10 * MINUTE_MS
    conditions = Conditions(0, ends + MINUTE_MS, ends + MINUTE_MS, changed.pop("secured", 0), 1)
    return {"expires_ms": ends, "conditions": conditions} | changed


def _offers(day: "Day") -> None:
    w = day.world
    (receipt,) = day.expect("an offer", [w.make("PA", offer("PA", **_terms(day, audience=("KB",))))], [OK])
    found = made(receipt, "Offered")
    items = [
        w.make("CNB", take("PA", found, 2, 40, "CNB")),
        w.make("PA", take("PA", found, 2, 40, "PA")),
        w.make("KB", take("PA", found, 2, 39)),
        w.make("KB", take("PA", found, 4, 80)),
        w.make("KB", take("PA", found, 4, 80)),
        w.make("KB", take("PA", found, 2, 40)),
        w.make("KB", take("PA", found, 2, 40)),
    ]
    codes = [("trading", code) for code in (9, 8, 15)]
    receipts = day.expect("takes", items, [*codes, OK, ("trading", 13), OK, ("trading", 10)])
    w.holds["first"], w.holds["second"] = (("", made(receipts[at], "Agreed")) for at in (3, 5))
    (receipt,) = day.expect("more", [w.make("PA", offer("PA", **_terms(day)))], [OK])
    root = made(receipt, "Offered")
    answer = op("trading", "answer", "PA", root, 6, 18, KB, _terms(day)["expires_ms"] - MINUTE_MS)
    (receipt,) = day.expect("an answer", [w.make("KB", answer)], [OK])
    counter = made(receipt, "Offered")
    items = [
        w.make("CNB", take("PA", root, 2, 40, "CNB")),
        w.make("PA", op("trading", "take", "KB", counter, 6, "CZK", 108, PA)),
        w.make("PA", op("trading", "take", "KB", counter, 4, "CZK", 72, PA)),
        w.make("CNB", take("PA", root, 2, 40, "CNB")),
        w.make("KB", op("trading", "cancel", counter)),
    ]
    day.expect("crossing", items, [OK, ("trading", 13), OK, ("trading", 10), OK])


def _deals(day: "Day") -> None:
    w = day.world
    first, second = w.holds["first"][1], w.holds["second"][1]
    before = _both(day)
    settle = op("settlement", "settle", first)
    items = [
        w.make("CNB", settle),
        w.make("KB", op("settlement", "settle_partly", first, 1)),
        w.make("KB", settle),
        w.make("PA", settle),
    ]
    day.expect("settled", items, [("settlement", 2), OK, OK, ("settlement", 3)])
    changes = [(after[0] - was[0], after[1] - was[1]) for after, was in zip(_both(day), before, strict=True)]
    day.same("four balances", changes, [(-20, 0), (20, 0), (80, 0), (-80, 0)])
    away = w.make("KB", op("transfers", "send", "KB/main", "KB/empty", "CZK", before[3][0] - 80, "", b"", ""))
    failed = w.make("PA", op("settlement", "settle", second))
    back = w.make("KB", op("transfers", "send", "KB/empty", "KB/main", "CZK", before[3][0] - 80, "", b"", ""))
    before = _both(day)
    day.expect("no money, no bonds", [away, failed, back], [OK, ("assets", 14), OK])
    day.same("neither leg", _both(day), before)
    link = op("settlement", "link", (second, _new_deal(day)))
    (receipt,) = day.expect("a set", [w.make("PA", link)], [OK])
    linked = made(receipt, "Linked")
    alone, together = op("settlement", "settle", second), op("settlement", "settle_set", linked)
    items = [w.make("KB", together), w.make("KB", op("settlement", "join", linked)), w.make("KB", alone)]
    items += [w.make("KB", together), w.make("KB", together)]
    day.expect("all or none", items, [("settlement", 14), OK, ("settlement", 5), OK, ("settlement", 14)])


def _new_deal(day: "Day") -> bytes:
    w = day.world
    (receipt,) = day.expect("one", [w.make("PA", offer("PA", lots=1, least=1, **_terms(day)))], [OK])
    taking = take("PA", made(receipt, "Offered"), 1, 20)
    (receipt,) = day.expect("taken", [w.make("KB", taking)], [OK])
    return made(receipt, "Agreed")


def _holds(day: "Day") -> None:
    w = day.world
    before = _both(day)
    terms = _terms(day, secured=1, lots=2, least=1)
    (receipt,) = day.expect("a secured offer", [w.make("PA", offer("PA", **terms))], [OK])
    day.same("the maker's leg is held", _both(day)[0], (before[0][0], before[0][1] + 10))
    (receipt,) = day.expect("half", [w.make("KB", take("PA", made(receipt, "Offered"), 1, 20))], [OK])
    deal = made(receipt, "Agreed")
    held = [(b[0], b[1] + more) for b, more in zip(before, (10, 0, 0, 20), strict=True)]
    day.same("both legs of the deal are held", _both(day), held)
    day.expect("not yet over", [w.make("PA", op("settlement", "secure", deal))], [("settlement", 8)])
    day.expect("the offer is over", [], [], time_ms=terms["expires_ms"])
    day.same("the rest is free", _both(day)[0][1], before[0][1] + 5)
    cancel = op("settlement", "cancel", deal, "")
    items = [w.make(bank, cancel) for bank in ("PA", "PA", "KB", "KB")]
    codes = [OK, ("settlement", 9), OK, ("settlement", 3)]
    day.expect("both must cancel", items, codes)
    day.same("all is free", _both(day), before)


def _coupon(day: "Day") -> None:
    w = day.world
    record_ms = w.time_ms + MINUTE_MS
    announce = op("servicing", "announce", "BOND", "coupon", "CZK", 1, 2, record_ms)
    day.expect("a coupon", [w.make("CNB", announce)], [OK])
    day.expect("books close", [], [], time_ms=record_ms)
    move = op("transfers", "send", "PA/main", "KB/main", "BOND", 1, "", b"", "")
    fix = [op("servicing", "fix", "BOND", 1, (f"{bank}/main",)) for bank in ("PA", "KB")]
    pay = [
        op("servicing", "pay", "BOND", 1, "CNB/main", "CNB/main", (f"{bank}/main",)) for bank in ("PA", "KB")
    ]
    items = [
        w.make("PA", move),
        w.make("KB", fix[0]),
        w.make("PA", fix[0]),
        w.make("CNB", fix[0]),
        w.make("CNB", pay[0]),
    ]
    codes = [("assets", 17), ("servicing", 13), OK, ("servicing", 6), ("servicing", 2)]
    day.expect("who holds", items, codes)
    before = _both(day)
    items = [w.make("KB", fix[1]), w.make("CNB", pay[0]), w.make("CNB", pay[0]), w.make("CNB", pay[1])]
    day.expect("who is paid", items, [OK, OK, ("servicing", 9), OK])
    paid = [after[0] - was[0] for after, was in zip(_both(day), before, strict=True)]
    day.same("a half for each", paid, [0, 0, before[0][0] // 2, before[1][0] // 2])
    action = w.record("servicing", "action", "BOND", 1)
    day.same("nothing is unpaid", (action.status, action.owed - action.paid, action.claims), ("paid", 0, 0))
    day.expect("books open", [w.make("PA", move)], [OK])
