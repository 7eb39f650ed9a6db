"""Random queues against a second opinion, and the solver against every selection there is.

The reference keeps queues as plain lists and money in dictionaries. After each call the ledger must agree
with it: who has what, what waits in which order, how far limits are used. After each cycle the balances are
those that its instructions, paid one by one, would have made (netting equals gross). The checker of
invariants must find nothing in the blocks.
"""

from itertools import product
from random import Random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from contracts.instructions import PRIORITIES, Limit
from node.client.netting import ALL, Bound, Claim, Participant, solve
from tests.checker import check_ledger
from tests.contracts.queue_world import (
    BANKS,
    ClearedConsortium,
    available,
    cycle_of,
    instruct,
    order,
    problem,
    propose,
)
from tests.kit import op

COUNTS = {"applied": 0, "refused": 0, "paid gross": 0, "netted": 0, "offset": 0, "taken out": 0}
COUNTS |= {"instructions reckoned": 0, "cycles reckoned": 0}
CASES = 600
CASES_LONG = 20_000

CALLS = 40
WEIGHTS = {
    "instruct": 12,
    "hold": 2,
    "release": 3,
    "cancel": 1,
    "prefer": 2,
    "reorder": 3,
    "advance": 2,
    "offset": 4,
    "limit": 2,
    "cycle": 4,
}


def history(seed: int) -> list[tuple[Any, ...]]:
    """A day of calls: mostly instructions larger than what a bank has."""
    chance = Random(seed)

    def number() -> int:
        return chance.randint(1, 9)

    def arguments(name: str, who: str) -> tuple[Any, ...]:
        lane, other = chance.randrange(3), chance.choice(BANKS)
        most = chance.choice((chance.randint(1, 200), chance.randint(300, 1_500)))
        orders = [
            (
                chance.choice([bank for bank in BANKS if bank != who or chance.random() < 0.03]),
                most + at,
                lane,
            )
            for at in range(chance.randint(1, 3))
        ]
        return {
            "instruct": (orders,),
            "hold": (number(),),
            "release": (number(),),
            "cancel": (number(),),
            "prefer": (number(), lane),
            "reorder": (number(), number()),
            "advance": (),
            "offset": (other, chance.randint(1, 2), chance.randint(1, 2)),
            "limit": (chance.choice(("", other)), chance.randint(0, 1_200)),
            "cycle": (chance.random() < 0.5,),
        }[name]

    calls: list[tuple[Any, ...]] = []
    for name in chance.choices(list(WEIGHTS), list(WEIGHTS.values()), k=CALLS):
        who = chance.choice(BANKS)
        if name == "offset" and chance.random() < 0.8:  # else hardly one would be possible
            other = chance.choice([bank for bank in BANKS if bank != who])
            calls += [("instruct", who, [(other, 1_900, 0)]), ("instruct", other, [(who, 1_850, 0)])]
            calls.append((name, who, other, 1, 1))
            continue
        calls.append((name, who, *arguments(name, who)))
    return calls


class Books:
    """The reference. A row is [number, creditor, amount]."""

    def __init__(self) -> None:
        self.money = {"PA": 800, "KB": 500, "CNB": 400}
        self.lanes: dict[str, list[list[list[Any]]]] = {name: [[], [], []] for name in BANKS}
        self.held: dict[str, dict[int, tuple[int, list[Any]]]] = {name: {} for name in BANKS}
        self.given = dict.fromkeys(BANKS, 0)
        self.caps: dict[str, dict[str, list[int]]] = {name: {} for name in BANKS}

    def fits(self, who: str, to: str, amount: int) -> bool:
        caps = [cap for other, cap in self.caps[who].items() if other in ("", to)]
        return amount <= 0 or all(used + amount <= most for most, used in caps)

    def flow(self, who: str, to: str, amount: int) -> None:
        self.money[who] -= amount
        self.money[to] += amount
        for mine, other, sign in ((who, to, 1), (to, who, -1)):
            for name in ("", other):
                if name in self.caps[mine]:
                    self.caps[mine][name][1] += sign * amount

    def pay(self, who: str, row: list[Any]) -> bool:
        _, to, amount = row
        if self.money[who] < amount or not self.fits(who, to, amount):
            return False
        self.flow(who, to, amount)
        COUNTS["paid gross"] += 1
        return True

    def enter(self, who: str, lane: int, row: list[Any]) -> None:
        if any(self.lanes[who][: lane + 1]) or not self.pay(who, row):
            self.lanes[who][lane].append(row)

    def find(self, who: str, number: int) -> tuple[int, int] | None:
        for at, rows in enumerate(self.lanes[who]):
            for place, row in enumerate(rows):
                if row[0] == number:
                    return at, place
        return None

    def first(self, who: str) -> list[Any] | None:
        return next((row for rows in self.lanes[who] for row in rows), None)

    def drop(self, who: str) -> None:
        next(rows for rows in self.lanes[who] if rows).pop(0)


class Twin:
    """The ledger and the reference side by side."""

    def __init__(self) -> None:
        self.world, self.books = ClearedConsortium(), Books()
        self.world.apply("CNB", op("assets", "open_accounts", ("CNB/empty",)))

    def run(self, method: str, who: str, *rest: Any) -> None:
        used = {
            (name, other): cap[1] for name, caps in self.books.caps.items() for other, cap in caps.items()
        }
        getattr(self, f"_{method}")(who, *rest)
        for name in BANKS:
            assert available(self.world, f"{name}/main") == self.books.money[name], (method, who, rest)
            assert self._lanes(name) == self.books.lanes[name], (method, who, rest)
            caps = self.books.caps[name].items()
            assert self._caps(name) == {other: tuple(cap) for other, cap in caps}, (method, who, rest)
            for other, (most, now) in caps:
                assert now <= max(most, used.get((name, other), 0)), "a limit was exceeded"

    def _lanes(self, name: str) -> list[list[list[Any]]]:
        reader: Any = self.world.ledger.readers["participants"]
        queue = self.world.record("participants", "queue", name, "CZK")
        found = [
            [
                [entry.number, BANKS[entry.creditor], entry.amount]
                for _, entry in reader.entries(name, "CZK", at, row.head, row.tail)
                if entry.mark == 0
            ]
            for at, row in enumerate(queue.lanes)
        ]
        assert [len(rows) for rows in found] == [row.live for row in queue.lanes]
        assert sum(row[2] for rows in found for row in rows) == queue.amount
        assert queue.aside == sum(row[2] for _, row in self.books.held[name].values())
        return found

    def _caps(self, name: str) -> dict[str, tuple[int, int]]:
        found = self.world.record("participants", "caps", name, "CZK")
        names = (*BANKS, *[""] * 300)
        return {names[cap.seat]: (cap.most, cap.paid - cap.received) for cap in found.caps} if found else {}

    def _send(self, who: str, expected: bool | None, contract: str, method: str, *arguments: Any) -> bool:
        outcome = self.world.send(who, op(contract, method, "CZK", *arguments))
        told = outcome.code == 0
        assert expected in (None, told), (who, method, arguments, outcome.codespace, outcome.code)
        COUNTS["applied" if told else "refused"] += 1
        return told

    def _instruct(self, who: str, given: list[tuple[str, int, int]]) -> None:
        asked = [order(to, amount, PRIORITIES[at]) for to, amount, at in given]
        own = any(to == who for to, _, _ in given)
        outcome = self.world.send(who, instruct(*asked))
        assert (outcome.code == 0) == (not own)
        for to, amount, at in [] if own else given:
            self.books.given[who] += 1
            self.books.enter(who, at, [self.books.given[who], to, amount])

    def _hold(self, who: str, number: int) -> None:
        at = self.books.find(who, number)
        if self._send(who, at is not None, "queues", "hold", number) and at:
            self.books.held[who][number] = at[0], self.books.lanes[who][at[0]].pop(at[1])

    def _release(self, who: str, number: int) -> None:
        if self._send(who, number in self.books.held[who], "queues", "release", number):
            self.books.enter(who, *self.books.held[who].pop(number))

    def _cancel(self, who: str, number: int) -> None:
        at = self.books.find(who, number)
        known = at is not None or number in self.books.held[who]
        if self._send(who, known, "queues", "cancel", number):
            if at:
                self.books.lanes[who][at[0]].pop(at[1])
            self.books.held[who].pop(number, None)

    def _prefer(self, who: str, number: int, lane: int) -> None:
        at = self.books.find(who, number)
        if self._send(who, at is not None, "queues", "prefer", number, PRIORITIES[lane]) and at:
            self.books.enter(who, lane, self.books.lanes[who][at[0]].pop(at[1]))

    def _reorder(self, who: str, number: int, before: int) -> None:
        at, other = self.books.find(who, number), self.books.find(who, before)
        expected = at is not None and other is not None and at[0] == other[0] and number != before
        if self._send(who, expected, "queues", "reorder", number, before) and at and other:
            rows = self.books.lanes[who][at[0]]
            row = rows.pop(at[1])
            rows.insert(next(place for place, each in enumerate(rows) if each[0] == before), row)

    def _advance(self, who: str) -> None:
        paid = 0
        while (row := self.books.first(who)) and self.books.pay(who, row):
            self.books.drop(who)
            paid += 1
        # With nothing to pay it is applied where it passes over what was done, which the reference forgets.
        self._send(who, True if paid else None, "queues", "advance", who, 100)

    def _offset(self, who: str, other: str, own: int, others: int) -> None:
        rows = [[row for lane in self.books.lanes[name] for row in lane] for name in (who, other)]
        first, second = rows[0][:own], rows[1][:others]
        between = len(first) == own and len(second) == others and who != other
        between = between and all(row[1] == other for row in first) and all(row[1] == who for row in second)
        net = sum(row[2] for row in first) - sum(row[2] for row in second)
        payer, payee = (who, other) if net >= 0 else (other, who)
        expected = between and self.books.money[payer] >= abs(net) and self.books.fits(payer, payee, abs(net))
        if self._send(who, expected, "queues", "offset", other, own, others):
            COUNTS["offset"] += 1
            for name, taken in ((who, first), (other, second)):
                for row in taken:
                    self.books.flow(name, row[1], row[2])
                    self.books.drop(name)

    def _limit(self, who: str, other: str, most: int) -> None:
        kept = {name: cap for name, cap in self.books.caps[who].items() if name != other}
        asked = [Limit(name, cap[0]) for name, cap in kept.items()] + [Limit(other, most)]
        if self._send(who, other != who, "participants", "set_limits", tuple(asked)):
            used = self.books.caps[who].get(other, [0, 0])[1]
            self.books.caps[who] = kept | {other: [most, used]}

    def _cycle(self, proposer: str, drained: bool) -> None:
        waits = any(rows for name in BANKS for rows in self.books.lanes[name])
        if not self._send("CNB", waits, "clearing", "seal"):
            return
        self._send(proposer, not waits, "queues", "offset", BANKS[BANKS.index(proposer) - 1], 1, 1)
        while True:
            solution = solve(problem(self.world))
            propose(self.world, solution.cuts, proposer)
            money = available(self.world, f"{proposer}/main") if drained else 0
            if money:
                self._shift(proposer, "main", "empty", money)
            self._send("CNB", waits, "clearing", "settle", cycle_of(self.world))
            if money:
                self._shift(proposer, "empty", "main", money)
            cycle = self.world.record("clearing", "cycle", "CZK", cycle_of(self.world))
            if cycle.status == "settled":
                break
            COUNTS["taken out"] += 1
            drained = False
        self._pay_one_by_one(cycle_of(self.world), solution.settled)

    def _shift(self, who: str, source: str, target: str, amount: int) -> None:
        accounts = (f"{who}/{source}", f"{who}/{target}")
        self.world.apply(who, op("transfers", "send", *accounts, "CZK", amount, "", b"", ""))

    def _pay_one_by_one(self, number: int, settled: int) -> None:
        """What the cycle passed, read from the ledger, is paid gross in the reference."""
        totals = self.world.record("clearing", "totals", "CZK", number)
        lines = self.world.record("clearing", "lines", "CZK", number).lines
        assert (totals.count, sum(line.count for line in lines)) == (settled, settled)
        for name, line in zip(BANKS, lines, strict=True):
            gross = 0
            for _ in range(line.count):
                row = self.books.first(name)
                assert row is not None
                self.books.flow(name, row[1], row[2])
                self.books.drop(name)
                gross += row[2]
                COUNTS["netted"] += 1
            assert gross == line.pays


@settings(max_examples=20, deadline=None)
@example(2)
@example(5)
@example(11)
@given(st.integers(0, 2**32))
def test_queues_and_cycles_do_what_the_reference_does(seed: int) -> None:
    twin = Twin()
    for each in history(seed):
        twin.run(*each)
    checked = check_ledger(twin.world.blocks(), twin.world.genesis)
    COUNTS["instructions reckoned"] += checked.instructions
    COUNTS["cycles reckoned"] += checked.cycles


def test_the_calls_were_worth_something() -> None:
    """The three days that are named bring about this much by themselves."""
    print(COUNTS)
    assert COUNTS["applied"] >= 50
    assert COUNTS["refused"] >= 50
    assert COUNTS["netted"] >= 40
    assert COUNTS["paid gross"] >= 15
    assert COUNTS["offset"] >= 5
    assert COUNTS["taken out"] >= 3
    assert COUNTS["instructions reckoned"] >= 60
    assert COUNTS["cycles reckoned"] >= 6


def _random_case(chance: Random) -> list[Participant]:
    count = chance.randint(2, 4)
    found = []
    for seat in range(count):
        others = [other for other in range(count) if other != seat]
        claims = [
            Claim(at, chance.choice(others), chance.randint(1, 12)) for at in range(chance.randint(0, 4))
        ]
        bounds = [Bound(other, chance.randint(-2, 12)) for other in (*others, ALL) if chance.random() < 0.2]
        out = chance.random() < 0.1
        found.append(Participant(chance.randint(0, 9), claims, len(claims), tuple(bounds), out))
    return found


def _is_feasible(banks: list[Participant], cuts: tuple[int, ...]) -> bool:
    flows: dict[tuple[int, int], int] = {}
    for seat, each in enumerate(banks):
        for claim in each.claims[: cuts[seat]]:
            flows[seat, claim.creditor] = flows.get((seat, claim.creditor), 0) + claim.amount
    for seat, each in enumerate(banks):
        net = {ALL: 0}
        for (payer, payee), amount in flows.items():
            if seat in (payer, payee):
                other, sign = (payee, 1) if payer == seat else (payer, -1)
                net[other] = net.get(other, 0) + sign * amount
                net[ALL] += sign * amount
        if net[ALL] > each.available or (each.out and cuts[seat]):
            return False
        if any(net.get(bound.seat, 0) > max(bound.room, 0) for bound in each.bounds):
            return False
    return True


def test_no_selection_settles_more_than_the_solvers(long_run: bool, pytestconfig: pytest.Config) -> None:
    seed = int(pytestconfig.getoption("--hypothesis-seed"))
    chance = Random(seed)
    cases = CASES_LONG if long_run else CASES
    tried = partial = 0
    for _ in range(cases):
        banks = _random_case(chance)
        best = solve(banks)
        assert _is_feasible(banks, best.cuts)
        for cuts in product(*[range(len(each.claims) + 1) for each in banks]):
            tried += 1
            if _is_feasible(banks, cuts):
                assert all(a <= b for a, b in zip(cuts, best.cuts, strict=True)), (banks, cuts, best)
        partial += 0 < sum(best.cuts) < sum(each.places for each in banks)
    print(f"solver against brute force: {cases} cases, {tried} selections, {partial} partly settled")
    assert partial > cases // 10
