"""The trading day's clearing: instructions, queues, limits, two netting cycles, and what the ledger says of
each instruction afterwards.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from contracts.calendars import DAY_MINUTES, DAY_MS, MINUTE_MS, Calendar
from contracts.instructions import Limit, Order, Priority
from contracts.queues import TAKE_MAX
from node.client import Refused, netting, operation
from node.client.clearing import CycleAt, CycleLine, proposal
from node.client.netting import Participant, Solution
from node.demo.consortium import ASSET, CENTRAL, ISSUING, DemoFailed
from node.demo.day import Sums
from node.demo.desk import OPERATOR_ACCOUNT, Desk, events, main, reserve
from node.ledger.types import Operation

CALLS: Final = 130
"""So many parts of the day are a transaction each."""
LIQUIDITY_SHARE: Final = 10
"""Every bank begins with so small a part of what its orders add up to: one tenth."""
LIMIT_SHARES: Final = (3, 4)
"""PA will pay its last bank no more than three quarters of what it owes it."""
MORNING_MINUTES: Final = 480
"""The asset's day is at eight in the morning when the play begins, so that no midnight comes."""
AHEAD_MAX_MINUTES: Final = 840
URGENT_PURPOSES: Final[Mapping[str, Priority]] = {"UVER": "high", "LEASING": "high"}
NOTHING_PAYABLE: Final = "queues/12 NOTHING_PAYABLE"


@dataclass(frozen=True, slots=True)
class Payment:
    """What one bank pays another, as ordered. amount: in hellers."""

    reference: str
    debtor: str
    creditor: str
    amount: int
    purpose: str


@dataclass(frozen=True, slots=True)
class Netted:
    """A cycle as settled: its report, its lines, and the seconds that the solver took in all attempts."""

    cycle: CycleAt
    lines: tuple[CycleLine, ...]
    solver_seconds: float


# --- before the day -----------------------------------------------------------------------------------------


def open_clearing(desk: Desk) -> None:
    """CNB opens the clearing of CZK, and every bank joins it over an account of its own."""
    minute = desk.client.status().time_ms % DAY_MS // MINUTE_MS
    ahead = (MORNING_MINUTES - minute) % DAY_MINUTES
    zone = (ahead, 0) if ahead <= AHEAD_MAX_MINUTES else (0, DAY_MINUTES - ahead)
    calendar = Calendar(*zone, 0, DAY_MINUTES, (), ())
    desk.act(
        CENTRAL,
        operation("assets", "open_accounts", (OPERATOR_ACCOUNT,)),
        operation("calendars", "set_calendar", ASSET, calendar),
        operation("participants", "set_clearing", ASSET, OPERATOR_ACCOUNT),
    )
    for bank in desk.banks:
        accounts = operation("assets", "open_accounts", (main(bank), reserve(bank)))
        desk.act(bank, accounts, operation("participants", "join", ASSET, main(bank)))


def lend(desk: Desk, amounts: Mapping[str, int], reference: str) -> int:
    """CNB issues to banks; the sum in hellers."""
    calls = [
        operation("assets", "issue", ASSET, main(bank), amount, reference)
        for bank, amount in amounts.items()
        if amount
    ]
    if calls:
        desk.act(CENTRAL, *calls)
    return sum(amounts.values())


def opening_liquidity(payments: Sequence[Payment]) -> dict[str, int]:
    """What each bank begins with, in whole crowns."""
    owed: dict[str, int] = {}
    for payment in payments:
        owed[payment.debtor] = owed.get(payment.debtor, 0) + payment.amount
    return {bank: amount // (100 * LIQUIDITY_SHARE) * 100 for bank, amount in owed.items()}


def limit_last_bank(desk: Desk, payments: Sequence[Payment]) -> tuple[str, int]:
    """PA limits what it pays its last bank: which, and to how much."""
    last = desk.banks[-1]
    owed = sum(each.amount for each in payments if (each.debtor, each.creditor) == (ISSUING, last))
    most = owed * LIMIT_SHARES[0] // LIMIT_SHARES[1]
    desk.act(ISSUING, operation("participants", "set_limits", ASSET, (Limit(last, most),)))
    return last, most


# --- the day ------------------------------------------------------------------------------------------------


def instruct(desk: Desk, payments: Sequence[Payment], done: Callable[[int], None]) -> Sums:
    """Every bank instructs what it has to pay; what settled at once, gross."""
    day = desk.client.clearing(lambda reads: reads.business_day(ASSET)).business_day
    at_once, told, size = Sums(), 0, part_of(payments)
    for bank in desk.banks:
        own = [_order(each, day) for each in payments if each.debtor == bank]
        for start in range(0, len(own), size):
            part = tuple(own[start : start + size])
            call = operation("queues", "instruct", ASSET, sum(order.amount for order in part), part)
            for paid in events(desk.act(bank, call), "Paid"):
                at_once.add(int(paid["amount"]))
            told += len(part)
            done(told)
    return at_once


def part_of(payments: Sequence[Payment]) -> int:
    """How many payments of the day one transaction takes."""
    return min(max(len(payments) // CALLS, 1), TAKE_MAX)


def _order(payment: Payment, day: int) -> Order:
    priority = URGENT_PURPOSES.get(payment.purpose, "normal")
    return Order(payment.creditor, payment.amount, priority, day, 0, 0, payment.reference)


def advance(desk: Desk, payments: Sequence[Payment]) -> Sums:
    """Every bank pays the front of its queue with what has come in; what that settled."""
    paid = Sums()
    for bank in desk.banks:
        try:
            receipt = desk.act(bank, operation("queues", "advance", ASSET, bank, part_of(payments)))
        except Refused as refused:
            if refused.code != NOTHING_PAYABLE:
                raise
        else:
            for each in events(receipt, "Paid"):
                paid.add(int(each["amount"]))
    return paid


def queued(desk: Desk) -> int:
    """What waits in all queues, in hellers."""
    return sum(desk.queue(bank).queued for bank in desk.banks)


# --- cycles -------------------------------------------------------------------------------------------------


class Netting:
    """One netting cycle, from its seal to its settlement."""

    def __init__(self, desk: Desk) -> None:
        """Seals it."""
        self._desk = desk
        self.solver_seconds = 0.0
        desk.act(CENTRAL, operation("clearing", "seal", ASSET))
        self.cycle = self._read(0)

    def _read(self, number: int) -> CycleAt:
        return self._desk.client.clearing(lambda reads: reads.cycle(ASSET, number))

    def problem(self) -> list[Participant]:
        """All queues that it froze."""
        cycle = self.cycle
        return self._desk.client.clearing(lambda reads: reads.problem(ASSET, cycle))

    def shortfalls(self) -> dict[str, int]:
        """What each bank lacks to pay all that waits."""
        problem = self.problem()
        cuts = [each.places for each in problem]
        net = net_debits(problem, cuts)
        return {
            bank: max(0, net[seat] - problem[seat].available) for seat, bank in enumerate(self.cycle.seats)
        }

    def propose(self, clock: Callable[[], float]) -> tuple[list[Participant], Solution]:
        """Solve it off the ledger, propose the solution and have the contract check it."""
        problem = self.problem()
        began = clock()
        solution = netting.solve(problem)
        self.solver_seconds += clock() - began
        for calls in proposal(ASSET, self.cycle.cycle, CENTRAL, solution):
            self._desk.act(CENTRAL, *calls)
        return problem, solution

    def settle(self) -> bool:
        """Settle it, or have it take out who cannot pay; whether it is settled."""
        self._desk.act(CENTRAL, operation("clearing", "settle", ASSET, self.cycle.cycle))
        self.cycle = self._read(self.cycle.cycle)
        return self.cycle.status == "settled"

    def report(self) -> Netted:
        """Of the settled cycle."""
        number = self.cycle.cycle
        lines = tuple(self._desk.line(bank, number) for bank in self.cycle.seats)
        return Netted(self.cycle, lines, self.solver_seconds)


def net_debits(problem: Sequence[Participant], cuts: Sequence[int]) -> list[int]:
    """What each seat would pay more than it receives; negative: less."""
    net = [0] * len(problem)
    for seat, (each, cut) in enumerate(zip(problem, cuts, strict=True)):
        for claim in each.claims:
            if claim.place < cut:
                net[seat] += claim.amount
                net[claim.creditor] -= claim.amount
    return net


def most_indebted(seats: Sequence[str], problem: Sequence[Participant], solution: Solution) -> str:
    """The bank on a seat, other than PA, that a solution has pay most in net; empty: none pays."""
    net = net_debits(problem, solution.cuts)
    found = max(range(1, len(net)), key=lambda seat: net[seat])
    return seats[found] if net[found] > 0 else ""


def withdraw(bank: str, amount: int) -> Operation:
    """A bank moves its money out of the clearing's reach."""
    return operation("transfers", "send", main(bank), reserve(bank), ASSET, amount, "withdrawn", b"", "")


def bring_back(bank: str, amount: int) -> Operation:
    """And back."""
    return operation("transfers", "send", reserve(bank), main(bank), ASSET, amount, "back", b"", "")


# --- afterwards ---------------------------------------------------------------------------------------------


def settled(desk: Desk, payments: Sequence[Payment]) -> dict[tuple[str, str], Sums]:
    """Compare each order with its instruction on the ledger; the sums of PA's by (receiving bank, purpose).
    Raises: DemoFailed on any difference.
    """
    ordered = {(each.debtor, each.reference): each for each in payments}
    table: dict[tuple[str, str], Sums] = {}
    for bank in desk.banks:
        for found in desk.client.instructions(bank, ASSET):
            order = ordered.pop((bank, found.reference), None)
            if order is None:
                raise DemoFailed(f"the ledger holds an instruction that nobody ordered: {found}")
            if (found.creditor, found.amount, found.state) != (order.creditor, order.amount, "settled"):
                raise DemoFailed(f"order {order.reference} was settled otherwise than ordered: {found}")
            if bank == ISSUING:
                table.setdefault((order.creditor, order.purpose), Sums()).add(found.amount)
    if ordered:
        raise DemoFailed(f"{len(ordered):,} orders are missing from the ledger")
    return table


def check_balances(desk: Desk, payments: Sequence[Payment], given: Sequence[Mapping[str, int]]) -> int:
    """Every bank has what it was given and what it received, less what it paid; the sum over all. Raises:
    DemoFailed.
    """
    expected = dict(_net(payments, given))
    for bank in desk.banks:
        found = desk.client.positions(bank).get(ASSET, (0, 0))
        if found != (expected.get(bank, 0), 0):
            raise DemoFailed(f"{bank} has {found[0]} hellers; its payments leave {expected.get(bank, 0)}")
    through = desk.client.positions(CENTRAL).get(ASSET, (0, 0))
    if through != (0, 0):
        raise DemoFailed(f"{through[0]} hellers stayed in the account through which net positions pass")
    return sum(expected.values())


def _net(payments: Sequence[Payment], given: Sequence[Mapping[str, int]]) -> Iterator[tuple[str, int]]:
    net: dict[str, int] = {}
    for amounts in given:
        for bank, amount in amounts.items():
            net[bank] = net.get(bank, 0) + amount
    for each in payments:
        net[each.debtor] = net.get(each.debtor, 0) - each.amount
        net[each.creditor] = net.get(each.creditor, 0) + each.amount
    yield from net.items()
