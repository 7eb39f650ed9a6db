"""A consortium whose CZK is cleared: CNB operates, PA, KB and CNB take part, the day is a business day."""

from typing import Any, Final

from contracts.calendars import DAY_MS, Calendar
from contracts.instructions import LANES, Order, Standing
from node.client.netting import ALL, Bound, Claim, Participant, Solution, solve
from node.ledger import codec
from node.ledger.types import Operation, Receipt
from tests.kit import START_MS, Consortium, World, op

TODAY: Final = START_MS // DAY_MS
CALENDAR: Final = Calendar(0, 0, 0, 1_440, (5, 6), (TODAY + 1,))
"""Open all day, closed on weekends; tomorrow is a holiday."""
BANKS: Final = ("PA", "KB", "CNB")


def order(creditor: str, amount: int, priority: Any = "normal", **changed: Any) -> Order:
    asked: dict[str, Any] = {"value_day": TODAY, "earliest": 0, "latest": 0, "reference": ""}
    return Order(creditor, amount, priority, *(asked | changed).values())


def instruct(*orders: Order, asset: str = "CZK") -> Operation:
    return op("queues", "instruct", asset, sum([each.amount for each in orders]), orders)


def open_clearing(world: World, banks: tuple[str, ...] = BANKS) -> None:
    """CNB sets the calendar and operates; every bank joins over MEMBER/main."""
    world.apply("CNB", op("calendars", "set_calendar", "CZK", CALENDAR))
    world.apply("CNB", op("assets", "open_accounts", ("CNB/clearing",)))
    world.apply("CNB", op("participants", "set_clearing", "CZK", "CNB/clearing"))
    for bank in banks:
        world.apply(bank, op("participants", "join", "CZK", f"{bank}/main"))


class ClearedConsortium(Consortium):
    """PA can spend 800 CZK, KB 500 and CNB 400; seats in this order."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        open_clearing(self)


def available(world: World, account: str) -> int:
    posted, held = world.balance(account)
    return posted - held


def standing(world: World, member: str, number: int) -> Standing:
    found: Standing = world.ledger.query("clearing", "get_instruction", codec.encode((member, "CZK", number)))
    return found


def problem(world: World, asset: str = "CZK") -> list[Participant]:
    """What a solver sees of the sealed cycle, read from the published state."""
    scheme = world.record("participants", "scheme", asset)
    cycle = world.record("clearing", "cycle", asset, scheme.cycle)
    sealed = world.record("participants", "tails", asset)
    if sealed is None:
        raise LookupError(f"no cycle of {asset} is sealed")
    tails = sealed.tails
    seats = world.record("participants", "roster", asset).seats
    day = world.time_ms // DAY_MS
    outs = {out.seat: out.reason for out in cycle.outs}
    reader: Any = world.ledger.readers["participants"]
    found = []
    for seat, seated in enumerate(seats[: len(tails)]):
        lanes = world.record("participants", "queue", seated.member, asset).lanes
        claims: list[Claim] = []
        base = 0
        for lane in range(LANES):
            head, tail = lanes[lane].head, tails[seat][lane]
            for place, entry in reader.entries(seated.member, asset, lane, head, tail):
                dead = entry.mark or entry.until_ms <= cycle.sealed_ms or outs.get(entry.creditor) == "barred"
                if not dead:
                    claims.append(Claim(base + place - head, entry.creditor, entry.amount))
            base += tail - head
        caps = reader.caps_of(seated.member, asset, day)
        bounds = [
            Bound(ALL if cap.seat >= 256 else cap.seat, cap.most + cap.received - cap.paid) for cap in caps
        ]
        found.append(Participant(available(world, seated.account), claims, base, bounds, seat in outs))
    return found


def netted(world: World, proposer: str = "KB", operator: str = "CNB") -> tuple[Solution, Receipt]:
    """Seal, solve, propose, check and settle a cycle; the solution and the settlement's receipt."""
    world.apply(operator, op("clearing", "seal", "CZK"))
    return resolved(world, proposer, operator)


def resolved(world: World, proposer: str = "KB", operator: str = "CNB") -> tuple[Solution, Receipt]:
    """As ``netted``, of a cycle that is sealed."""
    solution = solve(problem(world))
    propose(world, solution.cuts, proposer)
    return solution, world.apply(operator, op("clearing", "settle", "CZK", cycle_of(world)))


def cycle_of(world: World) -> int:
    """The last cycle's number."""
    return int(world.record("participants", "scheme", "CZK").cycle)


def propose(world: World, cuts: tuple[int, ...], proposer: str = "KB") -> None:
    cycle = cycle_of(world)
    world.apply(proposer, op("clearing", "propose", "CZK", cycle, cuts))
    while world.record("clearing", "proposal", "CZK", proposer).seat < len(cuts):
        world.apply(proposer, op("clearing", "check", "CZK", cycle, proposer))
