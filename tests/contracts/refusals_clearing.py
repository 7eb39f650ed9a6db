"""The refusals of ``calendars``, ``participants``, ``queues`` and ``clearing`` (cases.py says how to read a
table).
"""

from typing import Any, Final

from contracts.assets import Assets
from contracts.calendars import Calendar, Calendars
from contracts.clearing import Clearing
from contracts.instructions import QUEUED_MAX, SEATS_MAX, Limit
from contracts.members import Members
from contracts.participants import Participants
from contracts.queues import AHEAD_MAX, Queues
from tests.contracts.cases import Case, Flaw, Situation
from tests.contracts.queue_world import CALENDAR, TODAY, instruct, open_clearing, order, propose
from tests.contracts.refusals_trading import does, suspended
from tests.kit import ADMINISTRATOR, Consortium, admission, op

BIG: Final = 1_000
"""More than any bank of the consortium has."""


def after(*steps: Situation) -> Situation:
    """Cleared, and then so."""

    def situation(world: Consortium) -> None:
        open_clearing(world)
        for step in steps:
            step(world)

    return situation


def given_orders(member: str, *orders: Any) -> Situation:
    return lambda world: world.apply(member, instruct(*orders))


def _crowd_joins(world: Consortium) -> None:
    crowd = [f"B{number}" for number in range(SEATS_MAX - 3)]
    for start in range(0, len(crowd), 64):
        operations = [admission(member, ("participant",), (member,)) for member in crowd[start : start + 64]]
        world.apply(ADMINISTRATOR, *operations)
    for member in (*crowd, "GONE"):
        world.officers[member] = world.officers.get(member, (member,))
    world.block(*(world.make(member, *_joining(member), officers=(member,)) for member in crowd))
    assert len(world.record("participants", "roster", "CZK").seats) == SEATS_MAX


def _joining(member: str) -> tuple[Any, ...]:
    account = f"{member}/main"
    return op("assets", "open_accounts", (account,)), op("participants", "join", "CZK", account)


def _second_account(world: Consortium) -> None:
    world.apply("CNB", op("assets", "open_accounts", ("CNB/second",)))


QUEUED: Final = given_orders("PA", order("KB", BIG), order("CNB", 7), order("KB", 900, "high"))
"""PA's 1 and 2 wait in the normal lane, 3 in the high one."""
ANSWERED: Final = given_orders("KB", order("PA", 1_500))
SEAL: Final = does("CNB", "clearing", "seal", "CZK")
SEALED: Final = after(QUEUED, ANSWERED, SEAL)
LATER: Final = given_orders("PA", order("KB", 11, value_day=TODAY + 2))
"""PA's next one waits for its day."""
PROPOSED: Final = does("KB", "clearing", "propose", "CZK", 1, (2, 1, 0))
"""PA's 3 and 1 and KB's 1: PA pays 400 net, and its second stays."""
FUNDED: Final = does("KB", "transfers", "send", "KB/main", "PA/main", "CZK", 200, "", b"", "")
"""PA can then pay its third instruction."""
DRAINED: Final = does("PA", "transfers", "send", "PA/main", "KB/main", "CZK", 795, "", b"", "")
"""PA can then not pay its net position."""


def aside(method: str, **arguments: Any) -> Case:
    """A call on what waits in a lane, and not on what stands aside."""
    case = {"asset": "CZK", "number": 1} | arguments
    flaw = Flaw(Queues.NOT_QUEUED, number=4)
    return Case("queues", method, "PA", case, (flaw,), given=after(QUEUED, LATER), label=" in a lane")


CALENDARS: Final = (
    Case(
        "calendars",
        "set_calendar",
        "CNB",
        {"asset": "CZK", "calendar": CALENDAR},
        (
            Flaw(Assets.ASSET_UNKNOWN, asset="NONE"),
            Flaw(Calendars.NOT_KEEPER, by="PA"),
            Flaw(Calendars.HOURS_UNFIT, calendar=Calendar(0, 0, 600, 600, (), ())),
            Flaw(Calendars.HOURS_UNFIT, calendar=Calendar(60, 60, 0, 600, (), ())),
            Flaw(Calendars.DAYS_UNFIT, calendar=Calendar(0, 0, 0, 600, (0, 1, 2, 3, 4, 5, 6), ())),
            Flaw(Calendars.DAYS_UNFIT, calendar=Calendar(0, 0, 0, 600, (), (5, 5))),
        ),
    ),
)

PARTICIPANTS: Final = (
    Case(
        "participants",
        "set_clearing",
        "CNB",
        {"asset": "CZK", "account": "CNB/second"},
        (
            Flaw(Assets.ASSET_UNKNOWN, asset="NONE"),
            Flaw(Participants.NOT_OPERATOR, by="PA"),
            Flaw(Calendars.CALENDAR_UNKNOWN, asset="EUR"),
            Flaw(Assets.ACCOUNT_UNKNOWN, account="CNB/none"),
            Flaw(Assets.NOT_OWNER, account="PA/main"),
            Flaw(Assets.ACCOUNT_FROZEN, given=does("CNB", "assets", "freeze_account", "CNB/second")),
        ),
        given=after(_second_account),
    ),
    Case(
        "participants",
        "set_clearing",
        "CNB",
        {"asset": "CZK", "account": "CNB/second"},
        (Flaw(Participants.OWN_ACCOUNT, account="CNB/main"),),
        given=after(_second_account),
        label=" over another account",
    ),
    Case(
        "participants",
        "join",
        "PA",
        {"asset": "CZK", "account": "PA/empty"},
        (
            Flaw(Participants.NOT_CLEARED, asset="EUR"),
            Flaw(Assets.ACCOUNT_UNKNOWN, account="PA/none"),
            Flaw(Assets.NOT_OWNER, account="KB/main"),
            Flaw(Assets.ACCOUNT_FROZEN, account="PA/frozen"),
            Flaw(Assets.ACCOUNT_CLOSED, account="PA/closed"),
            Flaw(Participants.FROZEN, given=lambda world: (QUEUED(world), SEAL(world))),
        ),
        given=after(),
    ),
    Case(
        "participants",
        "join",
        "CNB",
        {"asset": "CZK", "account": "CNB/second"},
        (Flaw(Participants.OWN_ACCOUNT, account="CNB/clearing"),),
        given=after(_second_account),
        label=" of the operator",
    ),
    Case(
        "participants",
        "join",
        "LATE",
        {"asset": "CZK", "account": "LATE/main"},
        (Flaw(Participants.SEATS_TAKEN, given=_crowd_joins),),
        given=after(
            lambda world: world.admit("LATE"), does("LATE", "assets", "open_accounts", ("LATE/main",))
        ),
        label=" the last seat",
    ),
    Case(
        "participants",
        "set_limits",
        "PA",
        {"asset": "CZK", "limits": (Limit("KB", 100), Limit("", 200))},
        (
            Flaw(Participants.NOT_CLEARED, asset="EUR"),
            Flaw(Participants.NOT_SEATED, by=ADMINISTRATOR),
            Flaw(Participants.FROZEN, given=lambda world: (QUEUED(world), SEAL(world))),
            Flaw(Participants.NOT_SEATED, limits=(Limit("GONE", 1),)),
            Flaw(Participants.LIMITS_UNFIT, limits=(Limit("PA", 1),)),
            Flaw(Participants.LIMITS_UNFIT, limits=(Limit("KB", 1), Limit("KB", 2))),
        ),
        given=after(),
    ),
)

ORDERS: Final = (order("KB", 30), order("CNB", 12, "urgent"))
OF_ONES_OWN: Final = (
    Flaw(Participants.NOT_CLEARED, asset="EUR"),
    Flaw(Participants.NOT_SEATED, by=ADMINISTRATOR),
    Flaw(Participants.INSTRUCTION_UNKNOWN, number=40),
    Flaw(Participants.INSTRUCTION_UNKNOWN, by="KB"),
    Flaw(Participants.FROZEN, given=SEAL),
)
CANCELLED: Final = Flaw(Queues.INSTRUCTION_ENDED, given=does("PA", "queues", "cancel", "CZK", 1))
"""Of PA's first instruction."""

INSTRUCTIONS: Final = (
    Case(
        "queues",
        "instruct",
        "PA",
        {"asset": "CZK", "total": 42, "orders": ORDERS},
        (
            Flaw(Participants.NOT_CLEARED, asset="EUR"),
            Flaw(Participants.NOT_SEATED, by=ADMINISTRATOR),
            Flaw(Queues.TOTAL_DIFFERS, total=43),
            Flaw(Assets.ASSET_FROZEN, given=does("CNB", "assets", "freeze_asset", "CZK")),
            Flaw(Assets.ACCOUNT_FROZEN, given=does("PA", "assets", "freeze_account", "PA/main")),
            Flaw(Participants.NOT_SEATED, orders=(order("GONE", 42),)),
            Flaw(Queues.OWN_ORDER, orders=(order("PA", 42),)),
            Flaw(Queues.NO_BUSINESS_DAY, orders=(order("KB", 42, value_day=TODAY + 1),)),
            Flaw(Queues.NO_BUSINESS_DAY, orders=(order("KB", 42, value_day=TODAY + 4),)),
            Flaw(Queues.TOO_FAR_AHEAD, orders=(order("KB", 42, value_day=TODAY + AHEAD_MAX + 1),)),
            Flaw(Queues.WINDOW_UNFIT, orders=(order("KB", 42, earliest=700, latest=700),)),
            Flaw(Queues.WINDOW_UNFIT, orders=(order("KB", 42, latest=1),)),
            Flaw(Queues.WINDOW_UNFIT, orders=(order("KB", 42, value_day=TODAY - 1),)),
            Flaw(Queues.QUEUE_FULL, given=given_orders("PA", order("KB", QUEUED_MAX - 41))),
        ),
        given=after(),
    ),
    Case(
        "queues",
        "hold",
        "PA",
        {"asset": "CZK", "number": 1},
        (*OF_ONES_OWN, CANCELLED),
        given=after(QUEUED),
    ),
    Case(
        "queues",
        "release",
        "PA",
        {"asset": "CZK", "number": 1},
        (
            Flaw(Participants.NOT_CLEARED, asset="EUR"),
            Flaw(Participants.NOT_SEATED, by=ADMINISTRATOR),
            Flaw(Participants.INSTRUCTION_UNKNOWN, number=40),
            CANCELLED,
        ),
        given=after(QUEUED, does("PA", "queues", "hold", "CZK", 1)),
    ),
    Case(
        "queues",
        "release",
        "PA",
        {"asset": "CZK", "number": 1},
        (Flaw(Queues.NOT_ASIDE, number=2), Flaw(Queues.BEFORE_VALUE_DAY, number=4)),
        given=after(QUEUED, LATER, does("PA", "queues", "hold", "CZK", 1)),
        label=" what is held",
    ),
    Case(
        "queues",
        "prefer",
        "PA",
        {"asset": "CZK", "number": 1, "priority": "urgent"},
        (*OF_ONES_OWN, CANCELLED),
        given=after(QUEUED),
    ),
    Case(
        "queues",
        "reorder",
        "PA",
        {"asset": "CZK", "number": 2, "before": 1},
        (
            *OF_ONES_OWN,
            Flaw(Queues.INSTRUCTION_ENDED, given=does("PA", "queues", "cancel", "CZK", 2)),
            Flaw(Participants.INSTRUCTION_UNKNOWN, before=40),
            Flaw(Queues.PLACE_UNFIT, before=3),
            Flaw(Queues.PLACE_UNFIT, before=2),
        ),
        given=after(QUEUED),
    ),
    aside("hold"),
    aside("prefer", priority="urgent"),
    aside("reorder", number=2, before=1),
    Case(
        "queues",
        "reorder",
        "PA",
        {"asset": "CZK", "number": 2, "before": 1},
        (Flaw(Queues.NOT_QUEUED, before=4),),
        given=after(QUEUED, LATER),
        label=" before another",
    ),
    Case(
        "queues",
        "cancel",
        "PA",
        {"asset": "CZK", "number": 1},
        (*OF_ONES_OWN, CANCELLED),
        given=after(QUEUED),
    ),
    Case(
        "queues",
        "cancel",
        "PA",
        {"asset": "CZK", "number": 1},
        (Flaw(Participants.INSTRUCTION_UNKNOWN, number=2), CANCELLED),
        given=after(LATER),
        label=" before its time",
    ),
    Case(
        "queues",
        "advance",
        "PA",
        {"asset": "CZK", "member": "PA", "most": 5},
        (
            Flaw(Participants.NOT_CLEARED, asset="EUR"),
            Flaw(Participants.NOT_SEATED, member="GONE"),
            Flaw(Participants.NOT_OPERATOR, by=ADMINISTRATOR),
            Flaw(Participants.FROZEN, given=SEAL),
            Flaw(Queues.NOTHING_PAYABLE, given=does("CNB", "assets", "freeze_asset", "CZK")),
            Flaw(Queues.NOTHING_PAYABLE, given=suspended("KB")),
            Flaw(Queues.NOTHING_PAYABLE, given=does("KB", "assets", "freeze_account", "KB/main")),
            Flaw(
                Queues.NOTHING_PAYABLE,
                given=does("PA", "participants", "set_limits", "CZK", (Limit("KB", 8),)),
            ),
        ),
        given=after(QUEUED, FUNDED),
    ),
    Case(
        "queues",
        "offset",
        "KB",
        {"asset": "CZK", "member": "PA", "own": 1, "others": 2},
        (
            Flaw(Participants.NOT_CLEARED, asset="EUR"),
            Flaw(Participants.NOT_SEATED, by=ADMINISTRATOR),
            Flaw(Participants.NOT_SEATED, member="GONE"),
            Flaw(Participants.FROZEN, given=SEAL),
            Flaw(Assets.ASSET_FROZEN, given=does("CNB", "assets", "freeze_asset", "CZK")),
            Flaw(Members.MEMBER_INACTIVE, given=suspended("PA")),
            Flaw(Assets.ACCOUNT_FROZEN, given=does("KB", "assets", "freeze_account", "KB/main")),
            Flaw(Queues.NOT_BETWEEN, own=2),
            Flaw(Queues.NOT_BETWEEN, others=3),
            Flaw(
                Queues.LIMIT_EXCEEDED,
                given=does("PA", "participants", "set_limits", "CZK", (Limit("", 8),)),
            ),
            Flaw(Assets.INSUFFICIENT_BALANCE, given=does("PA", "participants", "join", "CZK", "PA/empty")),
        ),
        given=after(QUEUED, ANSWERED),
    ),
)

CLEARING: Final = (
    Case(
        "clearing",
        "seal",
        "CNB",
        {"asset": "CZK"},
        (
            Flaw(Participants.NOT_CLEARED, asset="EUR"),
            Flaw(Participants.NOT_OPERATOR, by="PA"),
            Flaw(Clearing.SEALED_ALREADY, given=SEAL),
            Flaw(
                Clearing.NOTHING_QUEUED,
                given=lambda world: [
                    world.apply("PA", op("queues", "cancel", "CZK", number)) for number in (1, 2, 3)
                ],
            ),
        ),
        given=after(QUEUED),
    ),
    Case(
        "clearing",
        "propose",
        "KB",
        {"asset": "CZK", "cycle": 1, "cuts": (2, 1, 0)},
        (
            Flaw(Clearing.CYCLE_UNKNOWN, cycle=2),
            Flaw(Clearing.CYCLE_UNKNOWN, asset="EUR"),
            Flaw(Clearing.NOT_SEALED, given=does("CNB", "clearing", "abandon", "CZK", 1)),
            Flaw(Clearing.BEST_STANDS, given=lambda world: propose(world, (2, 1, 0))),
            Flaw(Clearing.CUTS_UNFIT, cuts=(2, 1)),
            Flaw(Clearing.CUTS_UNFIT, cuts=(4, 1, 0)),
            Flaw(Clearing.CUTS_UNFIT, cuts=(0, 0, 1)),
        ),
        given=SEALED,
    ),
    Case(
        "clearing",
        "propose",
        "KB",
        {"asset": "CZK", "cycle": 1, "cuts": (0, 1, 0)},
        (Flaw(Clearing.CUTS_UNFIT, cuts=(1, 1, 0)),),
        given=after(QUEUED, ANSWERED, suspended("PA"), SEAL),
        label=" without one taken out",
    ),
    Case(
        "clearing",
        "check",
        "PA",
        {"asset": "CZK", "cycle": 1, "proposer": "KB"},
        (
            Flaw(Clearing.CYCLE_UNKNOWN, cycle=2),
            Flaw(Clearing.NOT_SEALED, given=does("CNB", "clearing", "abandon", "CZK", 1)),
            Flaw(Clearing.PROPOSAL_UNKNOWN, proposer="PA"),
            Flaw(Clearing.CHECKED_ALREADY, given=does("PA", "clearing", "check", "CZK", 1, "KB")),
            Flaw(
                Clearing.BEYOND_LIQUIDITY,
                given=does("KB", "clearing", "propose", "CZK", 1, (0, 1, 0)),
            ),
            Flaw(
                Clearing.BEYOND_LIQUIDITY,
                given=DRAINED,
            ),
        ),
        given=after(QUEUED, ANSWERED, SEAL, PROPOSED),
    ),
    Case(
        "clearing",
        "check",
        "PA",
        {"asset": "CZK", "cycle": 1, "proposer": "KB"},
        (
            Flaw(
                Clearing.BEYOND_LIMIT,
                given=does("KB", "clearing", "propose", "CZK", 1, (2, 1, 0)),
            ),
        ),
        given=after(
            does("PA", "participants", "set_limits", "CZK", (Limit("KB", 5),)),
            QUEUED,
            ANSWERED,
            SEAL,
            does("KB", "clearing", "propose", "CZK", 1, (0, 0, 0)),
        ),
        label=" within limits",
    ),
    Case(
        "clearing",
        "settle",
        "CNB",
        {"asset": "CZK", "cycle": 1},
        (
            Flaw(Participants.NOT_CLEARED, asset="EUR"),
            Flaw(Participants.NOT_OPERATOR, by="PA"),
            Flaw(Clearing.CYCLE_UNKNOWN, cycle=2),
            Flaw(Clearing.NOT_SEALED, given=does("CNB", "clearing", "abandon", "CZK", 1)),
            Flaw(Clearing.TOO_LATE, late=True),
            Flaw(Assets.ASSET_FROZEN, given=does("CNB", "assets", "freeze_asset", "CZK")),
            Flaw(Assets.ACCOUNT_FROZEN, given=does("CNB", "assets", "freeze_account", "CNB/clearing")),
        ),
        given=after(QUEUED, ANSWERED, SEAL, lambda world: propose(world, (2, 1, 0))),
    ),
    Case(
        "clearing",
        "settle",
        "CNB",
        {"asset": "CZK", "cycle": 1},
        (),
        given=after(
            QUEUED,
            ANSWERED,
            SEAL,
            lambda world: propose(world, (2, 1, 0)),
            does("KB", "assets", "freeze_account", "KB/main"),
        ),
        label=" by taking out",
    ),
    Case(
        "clearing",
        "settle",
        "CNB",
        {"asset": "CZK", "cycle": 1},
        (Flaw(Clearing.NOTHING_CHECKED, given=does("CNB", "clearing", "settle", "CZK", 1)),),
        given=after(
            QUEUED,
            ANSWERED,
            SEAL,
            lambda world: propose(world, (2, 1, 0)),
            DRAINED,
        ),
        label=" a second time",
    ),
    Case(
        "clearing",
        "abandon",
        "CNB",
        {"asset": "CZK", "cycle": 1},
        (
            Flaw(Clearing.CYCLE_UNKNOWN, cycle=2),
            Flaw(Clearing.NOT_SEALED, given=does("CNB", "clearing", "abandon", "CZK", 1)),
            Flaw(Clearing.NOT_YET, by="PA"),
        ),
        given=SEALED,
    ),
)
