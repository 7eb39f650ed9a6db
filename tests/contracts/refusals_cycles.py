"""The refusals of ``cycles`` (cases.py says how to read a table)."""

from typing import Any, Final

from contracts.assets import Assets
from contracts.settlement import Settlement
from contracts.settlement_cycles import DEALS_MAX, DURATION_MAX_MS, SettlementCycles
from tests.contracts.cases import Case, Flaw, hold
from tests.contracts.market import CLOSES_MS, all_made, dealt, offered, open_market, opened, passes, take
from tests.contracts.refusals_trading import UNKNOWN, _all_bonds_away, _link, does
from tests.kit import START_MS, STEP_MS, Consortium, op

THE_CYCLE: Final = hold("cycle")
THE_DEAL: Final = hold("deal")


def _open(model: int) -> Any:
    """A market with a deal, and a cycle that the seller wants to settle it in."""

    def situation(world: Consortium) -> None:
        open_market(world)
        world.holds["deal"] = ("", dealt(world))
        world.holds["cycle"] = ("", opened(world, model))
        world.apply("PA", op("cycles", "enter", THE_CYCLE(world), THE_DEAL(world)))

    return situation


def _in_cycle(world: Consortium) -> None:
    """The deal is in the cycle, whose time has come."""
    _open(2)(world)
    world.apply("KB", op("cycles", "enter", THE_CYCLE(world), THE_DEAL(world)))
    passes(world, CLOSES_MS)


def _full(world: Consortium) -> bytes:
    """A cycle with a hundred deals, in which the seller wants to settle one more."""
    cycle = opened(world, 3, closes_ms=world.time_ms + DURATION_MAX_MS)
    found = offered(world, lots=DEALS_MAX, least=1, lot=1, price=1)
    deals = all_made(world.apply("KB", *[take("PA", found, 1, 1)] * DEALS_MAX), "Agreed")
    for bank in ("PA", "KB"):
        world.apply(bank, *[op("cycles", "enter", cycle, deal) for deal in deals])
    world.send("PA", op("cycles", "enter", cycle, THE_DEAL(world)))
    return cycle


def _closed(world: Consortium) -> bytes:
    """A cycle whose time has come."""
    cycle = opened(world, 3, closes_ms=world.time_ms + 2 * STEP_MS)
    world.block(time_ms=world.time_ms + STEP_MS)
    return cycle


def _settled(world: Consortium) -> bytes:
    world.apply("PA", op("cycles", "settle", THE_CYCLE(world)))
    return THE_CYCLE(world)


CYCLES: Final = (
    Case(
        "cycles",
        "open",
        "PA",
        {"model": 2, "against": "CZK", "closes_ms": CLOSES_MS},
        (
            Flaw(Assets.ASSET_UNKNOWN, against="NONE"),
            Flaw(Assets.ASSET_FROZEN, against="EUR"),
            Flaw(SettlementCycles.CLOSES_OUT_OF_RANGE, closes_ms=START_MS),
            Flaw(SettlementCycles.CLOSES_OUT_OF_RANGE, closes_ms=START_MS + 2 * DURATION_MAX_MS),
        ),
        given=open_market,
    ),
    Case(
        "cycles",
        "enter",
        "KB",
        {"cycle": THE_CYCLE, "deal": THE_DEAL},
        (
            Flaw(SettlementCycles.CYCLE_UNKNOWN, cycle=UNKNOWN),
            Flaw(Settlement.DEAL_UNKNOWN, deal=UNKNOWN),
            Flaw(Settlement.NOT_A_PARTY, by="CNB"),
            Flaw(Settlement.DEAL_ENDED, given=does("KB", "settlement", "settle", THE_DEAL)),
            Flaw(Settlement.DEAL_LINKED, given=lambda world: _link(world, THE_DEAL(world))),
            Flaw(SettlementCycles.CYCLE_CLOSED, cycle=_closed),
            Flaw(SettlementCycles.OTHER_CASH, cycle=lambda world: opened(world, 2, "BOND")),
            Flaw(SettlementCycles.WISHED_ALREADY, by="PA"),
            Flaw(SettlementCycles.CYCLE_FULL, cycle=_full),
            Flaw(Assets.INSUFFICIENT_BALANCE, given=lambda world: world.apply("PA", _all_bonds_away())),
        ),
        given=_open(2),
    ),
    Case(
        "cycles",
        "leave",
        "PA",
        {"deal": THE_DEAL},
        (
            Flaw(Settlement.DEAL_UNKNOWN, deal=UNKNOWN),
            Flaw(Settlement.NOT_A_PARTY, by="CNB"),
            Flaw(Settlement.DEAL_ENDED, given=does("KB", "settlement", "settle", THE_DEAL)),
            Flaw(SettlementCycles.NO_WISH, given=does("PA", "cycles", "leave", THE_DEAL)),
            Flaw(SettlementCycles.NO_WISH, by="KB"),
        ),
        given=_open(3),
    ),
    Case(
        "cycles",
        "settle",
        "KB",
        {"cycle": THE_CYCLE},
        (
            Flaw(SettlementCycles.CYCLE_UNKNOWN, cycle=UNKNOWN),
            Flaw(SettlementCycles.CYCLE_SETTLED, cycle=_settled),
            Flaw(
                SettlementCycles.CYCLE_OPEN,
                cycle=lambda world: opened(world, 3, closes_ms=world.time_ms + DURATION_MAX_MS),
            ),
            Flaw(SettlementCycles.NOT_IN_CYCLE, by="REG"),
        ),
        given=_in_cycle,
    ),
)
