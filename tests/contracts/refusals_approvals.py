"""The refusals of ``approvals`` (cases.py says how to read a table)."""

from typing import Any, Final

from contracts.approvals import DURATION_MAX_MS, OPEN_MAX, Approvals
from contracts.assets import Assets
from contracts.institutions import Rule
from contracts.members import KEYS_MAX
from node.ledger.errors import LedgerError
from node.ledger.types import SIGNATURES_MAX, Operation
from tests.contracts.cases import LATER_MS, Case, Flaw
from tests.contracts.refusals_governance import content_hash
from tests.kit import START_MS, Consortium, new_key, officer, op, pay

PAYMENT: Final = (pay("PA/main", "KB/main", 5),)
HASH: Final = content_hash(*PAYMENT)
UNTIL_MS: Final = START_MS + Consortium.HOLD_MS
LEGS: Final = (("KB/main", 1, "x" * 35),) * 1_000


def draft(operations: Any = PAYMENT, until_ms: int = UNTIL_MS, reason: str = "invoice 7") -> Operation:
    """The operation that drafts others."""
    return op("approvals", "propose", operations, until_ms, reason)


def team(world: Consortium) -> None:
    """PA has a second officer, and pays CZK with two from 5 on."""
    world.apply("PA", op("members", "register_key", new_key("second")))
    world.apply("PA", op("members", "set_policy", (Rule("*", "*", "CZK", 5, 2),)))


def drafted(world: Consortium) -> None:
    """PA's first officer has drafted a payment for which it takes two."""
    team(world)
    world.apply("PA", draft())
    world.officers["PA"] = ("second",)


def approved(world: Consortium) -> None:
    """Both have approved it."""
    drafted(world)
    world.apply("PA", op("approvals", "approve", 1, HASH))


def _many(world: Consortium) -> None:
    for _ in range(OPEN_MAX):
        world.apply("PA", draft())


def _withdrawn(world: Consortium) -> None:
    world.apply("PA", op("approvals", "withdraw", 1, HASH), officers=("PA-officer",))


def _all_withdrawn(world: Consortium) -> None:
    world.apply("PA", op("approvals", "withdraw", 1, HASH), officers=("PA-officer", "second"))


def _spent(world: Consortium) -> None:
    world.apply("PA", pay("PA/main", "KB/main", 797), officers=("PA-officer", "second"))


def _crowded(world: Consortium) -> None:
    """As many keys as may have approved; one of them is revoked, and a new one comes."""
    both, crowd = ("PA-officer", "second"), [f"PA-{number}" for number in range(KEYS_MAX - 2)]
    world.apply("PA", *(op("members", "register_key", new_key(name)) for name in crowd), officers=both)
    for start in range(0, len(crowd), SIGNATURES_MAX):
        names = crowd[start : start + SIGNATURES_MAX]
        world.apply("PA", op("approvals", "approve", 1, HASH), officers=names)
    world.apply("PA", op("approvals", "approve", 1, HASH))
    world.apply("PA", op("members", "revoke_key", officer(crowd[0]).key_id), officers=both)
    world.apply("PA", op("members", "register_key", new_key("late")), officers=both)
    world.officers["PA"] = ("late",)


_OPEN: Final = (
    Flaw(Approvals.DRAFT_UNKNOWN, by="KB"),
    Flaw(Approvals.DRAFT_UNKNOWN, number=2),
    Flaw(Approvals.CONTENT_DIFFERS, content_hash=content_hash(pay("PA/main", "KB/main", 6))),
)

APPROVALS: Final = (
    Case(
        "approvals",
        "propose",
        "PA",
        {"operations": PAYMENT, "expires_ms": UNTIL_MS, "reason": ""},
        (
            Flaw(Approvals.NOT_DRAFTED, operations=(*PAYMENT, draft())),
            Flaw(LedgerError.UNKNOWN_METHOD, operations=(Operation("assets", "steal", b"\x90"),)),
            Flaw(LedgerError.BAD_ARGUMENTS, operations=(Operation("transfers", "send", b"\x90"),)),
            Flaw(LedgerError.BAD_TEXT, operations=(pay("PA/main", "KB/main", 5, reference="a\nb"),)),
            Flaw(
                Approvals.TOO_LARGE,
                operations=(op("transfers", "send_many", "PA/main", "CZK", 1_000, LEGS, b"", ""),),
            ),
            Flaw(Approvals.EXPIRY_OUT_OF_RANGE, expires_ms=START_MS),
            Flaw(Approvals.EXPIRY_OUT_OF_RANGE, expires_ms=LATER_MS + DURATION_MAX_MS),
            Flaw(Approvals.TOO_MANY_DRAFTS, given=_many),
        ),
    ),
    Case(
        "approvals",
        "approve",
        "PA",
        {"number": 1, "content_hash": HASH},
        (
            *_OPEN,
            Flaw(Approvals.DRAFT_ENDED, given=_withdrawn),
            Flaw(Approvals.DRAFT_EXPIRED, late=True),
            Flaw(
                Approvals.APPROVED_ALREADY,
                given=lambda w: w.apply("PA", op("approvals", "approve", 1, HASH)),
            ),
            Flaw(Approvals.TOO_MANY_APPROVALS, given=_crowded),
        ),
        given=drafted,
    ),
    Case(
        "approvals",
        "withdraw",
        "PA",
        {"number": 1, "content_hash": HASH},
        (
            *_OPEN,
            Flaw(Approvals.DRAFT_ENDED, given=_all_withdrawn),
            Flaw(Approvals.DRAFT_EXPIRED, late=True),
            Flaw(
                Approvals.NO_APPROVAL,
                given=lambda w: w.apply("PA", op("approvals", "withdraw", 1, HASH)),
            ),
        ),
        given=approved,
    ),
    Case(
        "approvals",
        "execute",
        "PA",
        {"number": 1, "content_hash": HASH},
        (
            *_OPEN,
            Flaw(Approvals.DRAFT_ENDED, given=_all_withdrawn),
            Flaw(Approvals.DRAFT_EXPIRED, late=True),
            Flaw(Approvals.NOT_APPROVED, given=_withdrawn),
            Flaw(Assets.INSUFFICIENT_BALANCE, given=_spent),
        ),
        given=approved,
    ),
)
