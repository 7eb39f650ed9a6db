"""The refusals of ``governance`` (cases.py says how to read a table)."""

from typing import Final

from msgspec.structs import replace

from contracts.governance import OPEN_MAX, Governance
from contracts.members import Members
from contracts.proposals import RECOVERY_WAITING_MIN_MS
from node.keys.verify import VERIFIERS
from node.ledger.errors import LedgerError
from node.ledger.hashing import INTERNATIONAL
from node.ledger.proofs import SuiteProofs
from node.ledger.types import Operation, Requirement
from tests.contracts.cases import Case, Flaw, taken_over, voters
from tests.kit import ADMINISTRATOR, RULES, Consortium, new_key, op, pay

RESUME: Final = (op("members", "resume", "GONE"),)
RECOVER: Final = (op("members", "recover", "KB", new_key("fresh")),)
LATER: Final = 1_000
PROOFS: Final = SuiteProofs(INTERNATIONAL, VERIFIERS[INTERNATIONAL.name]())


def content_hash(*operations: Operation) -> bytes:
    """What a ballot names."""
    return PROOFS.content_hash(operations)


def proposed(world: Consortium) -> None:
    """PA has proposed to resume GONE; one of two approvals that it takes."""
    voters(world)
    world.apply("PA", op("governance", "propose", RESUME, "paid"))


def _withdrawn(world: Consortium) -> None:
    world.apply("PA", op("governance", "withdraw", 1))


def _many_proposals(world: Consortium) -> None:
    for _ in range(OPEN_MAX):
        world.apply("PA", op("governance", "propose", RESUME, ""))


def _no_voters(world: Consortium) -> None:
    for member in ("PA", "KB", "CNB"):
        roles = ("issuer" if member == "CNB" else "participant",)
        world.apply(ADMINISTRATOR, op("members", "change", member, "Bank", "", roles))


def _alone(world: Consortium) -> None:
    """PA is the only voter that is left."""
    taken_over(world)
    for number, member in ((1, "KB"), (2, "CNB")):
        operations = (op("members", "suspend", member, "test"),)
        world.apply("PA", op("governance", "propose", operations, ""))
        world.apply("CNB", op("governance", "approve", number, content_hash(*operations)))
    assert world.rows("members", "voter").keys() == {("voters", "PA")}


def _freeze_later(world: Consortium) -> None:
    world.apply(ADMINISTRATOR, op("governance", "freeze", "blacklist", 900))


_GOVERNED: Final = (
    Flaw(Members.NOT_ADMINISTRATOR, by="PA"),
    Flaw(Members.GOVERNED_BY_MEMBERS, given=taken_over),
)

GOVERNANCE: Final = (
    Case(
        "governance",
        "propose",
        "PA",
        {"operations": RESUME, "reason": "paid"},
        (
            Flaw(Governance.NOT_VOTER, by=ADMINISTRATOR),
            Flaw(Governance.NOT_VOTER, by=ADMINISTRATOR, operations=(*RECOVER, *RESUME)),
            Flaw(Governance.NOT_GOVERNED, operations=(*RESUME, pay("PA/main", "KB/main", 1))),
            Flaw(Governance.NOT_GOVERNED, operations=(op("governance", "propose", RESUME, ""),)),
            Flaw(Governance.TOO_MANY_PROPOSALS, given=_many_proposals),
            Flaw(Members.STATUS_UNCHANGED, operations=(*RESUME, *RESUME)),
            Flaw(LedgerError.BAD_ARGUMENTS, operations=(Operation("members", "resume", b"\x91\x00"),)),
        ),
        given=voters,
    ),
    Case(
        "governance",
        "propose",
        "PA",
        {"operations": RESUME, "reason": ""},
        (
            Flaw(Members.LAST_VOTER, operations=(op("members", "suspend", "PA", "alone"),)),
            Flaw(Members.GOVERNED_BY_MEMBERS, operations=(op("governance", "take_over"),)),
        ),
        given=_alone,
        label=" alone",
    ),
    Case(
        "governance",
        "approve",
        "KB",
        {"number": 1, "content_hash": content_hash(*RESUME)},
        (
            Flaw(Governance.NOT_VOTER, by=ADMINISTRATOR),
            Flaw(Governance.PROPOSAL_UNKNOWN, number=99),
            Flaw(Governance.CONTENT_DIFFERS, content_hash=bytes(32)),
            Flaw(Governance.PROPOSAL_ENDED, given=_withdrawn),
            Flaw(Governance.PROPOSAL_EXPIRED, late=True),
            Flaw(Governance.BALLOT_CAST, by="PA"),
        ),
        given=proposed,
    ),
    Case(
        "governance",
        "reject",
        "KB",
        {"number": 1, "content_hash": content_hash(*RESUME)},
        (
            Flaw(Governance.NOT_VOTER, by=ADMINISTRATOR),
            Flaw(Governance.PROPOSAL_UNKNOWN, number=99),
            Flaw(Governance.CONTENT_DIFFERS, content_hash=bytes(32)),
            Flaw(Governance.PROPOSAL_ENDED, given=_withdrawn),
            Flaw(Governance.PROPOSAL_EXPIRED, late=True),
        ),
        given=proposed,
    ),
    Case(
        "governance",
        "withdraw",
        "PA",
        {"number": 1},
        (
            Flaw(Governance.PROPOSAL_UNKNOWN, number=99),
            Flaw(Governance.NOT_PROPOSER, by="KB"),
            Flaw(Governance.PROPOSAL_ENDED, given=_withdrawn),
            Flaw(Governance.PROPOSAL_EXPIRED, late=True),
        ),
        given=proposed,
    ),
    Case(
        "governance",
        "set_rules",
        ADMINISTRATOR,
        {"rules": replace(RULES, members=Requirement(3, 5, 0))},
        (
            *_GOVERNED,
            Flaw(Governance.RULES_UNSOUND, rules=replace(RULES, recovery=Requirement(1, 2, 0))),
            Flaw(Governance.RULES_UNSOUND, rules=replace(RULES, upgrades=Requirement(4, 3, 0))),
            Flaw(Governance.RULES_UNSOUND, rules=replace(RULES, veto_numerator=3)),
            Flaw(
                Governance.RULES_UNSOUND,
                rules=replace(RULES, recovery=Requirement(2, 3, RECOVERY_WAITING_MIN_MS - 1)),
            ),
        ),
    ),
    Case(
        "governance",
        "take_over",
        ADMINISTRATOR,
        {},
        (*_GOVERNED, Flaw(Members.LAST_VOTER, given=_no_voters)),
        given=voters,
    ),
    Case(
        "governance",
        "activate",
        ADMINISTRATOR,
        {"contract": "blacklist", "version": 2, "height": LATER},
        (
            *_GOVERNED,
            Flaw(Governance.HEIGHT_PASSED, height=5),
            Flaw(Governance.CHANGE_PENDING, given=_freeze_later),
            Flaw(Governance.VERSION_ACTS, version=1),
        ),
    ),
    Case(
        "governance",
        "freeze",
        ADMINISTRATOR,
        {"contract": "blacklist", "height": LATER},
        (
            *_GOVERNED,
            Flaw(Governance.CONTRACT_FIXED, contract="governance"),
            Flaw(Governance.HEIGHT_PASSED, height=5),
            Flaw(Governance.CHANGE_PENDING, given=_freeze_later, contract="blacklist"),
            Flaw(Governance.NOT_ACTING, contract="lottery"),
        ),
    ),
    Case(
        "governance",
        "schedule_protocol",
        ADMINISTRATOR,
        {"number": 2, "height": LATER},
        (
            *_GOVERNED,
            Flaw(Governance.HEIGHT_PASSED, height=5),
            Flaw(Governance.PROTOCOL_ORDER, number=1),
            Flaw(
                Governance.PROTOCOL_ORDER,
                given=lambda world: world.apply(
                    ADMINISTRATOR, op("governance", "schedule_protocol", 2, LATER + 1)
                ),
            ),
        ),
    ),
)
