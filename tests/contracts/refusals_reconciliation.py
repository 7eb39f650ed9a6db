"""The refusals of ``reconciliation`` and ``main_account`` (cases.py says how to read a table)."""

from typing import Any, Final

from contracts.assets import Assets
from contracts.cases import NOTES_MAX, NewCase
from contracts.reconciliation import Reconciliation
from contracts.scenarios.main_account import DAY_MS_MAX, Books, MainAccount
from node.ledger.errors import LedgerError
from node.ledger.types import Operation
from tests.contracts.cases import Case, Flaw
from tests.kit import NO_TERMS, START_MS, STEP_MS, Consortium, op

SUBJECT: Final = b"\x21" * 32
OTHER: Final = b"\x22" * 32
DOCUMENT: Final = b"\x23" * 32
PATIENCE_MS: Final = 600_000
BEGINS_MS: Final = START_MS - 1_000
ENDS_MS: Final = START_MS
BOOKS: Final = Books(2, b"\x31" * 32, "credit", 1_000)
OTHER_BOOKS: Final = Books(2, b"\x32" * 32, "credit", 990)
PERIOD: Final[dict[str, Any]] = {
    "account": "PA/main",
    "asset": "CZK",
    "servicer": "KB",
    "begins_ms": BEGINS_MS,
    "ends_ms": ENDS_MS,
    "books": BOOKS,
}


def new_case(subject: bytes = SUBJECT, **changed: Any) -> NewCase:
    """A credit of 2.50 that PA's statement has and the ledger has not."""
    told: dict[str, Any] = {
        "kind": "missing-on-ledger",
        "account": "PA/main",
        "asset": "CZK",
        "direction": "credit",
        "amount": 250,
        "counterparty": "KB",
        "evidence": NO_TERMS,
        "patience_ms": PATIENCE_MS,
    }
    return NewCase(subject, *(told | changed).values())


def open_cases(*cases: NewCase) -> Operation:
    return op("reconciliation", "open_cases", cases or (new_case(),))


def match(*subjects: bytes) -> Operation:
    return op("reconciliation", "match_cases", subjects or (SUBJECT,), DOCUMENT)


def attest(books: Books = BOOKS, **changed: Any) -> Operation:
    return op("main_account", "attest", *(PERIOD | {"books": books} | changed).values())


def opened(world: Consortium) -> None:
    """PA has two cases against KB."""
    world.apply("PA", open_cases(new_case(), new_case(OTHER, kind="balance", amount=0, direction="none")))


def _matched(world: Consortium) -> None:
    world.apply("PA", match())


def _forced(world: Consortium) -> None:
    world.apply("PA", op("reconciliation", "force_match", SUBJECT, "CZK", 250, DOCUMENT))


def _many_notes(world: Consortium) -> None:
    note = op("reconciliation", "add_note", "PA", SUBJECT, DOCUMENT)
    world.apply("PA", *[note] * NOTES_MAX)


def _kb_attested(world: Consortium) -> None:
    world.apply("KB", attest(OTHER_BOOKS))


def _agreed(world: Consortium) -> None:
    world.apply("PA", attest(OTHER_BOOKS))


_ENDED: Final = (
    Flaw(Reconciliation.CASE_UNKNOWN, subject=DOCUMENT),
    Flaw(Reconciliation.CASE_UNKNOWN, by="KB"),
    Flaw(Reconciliation.NOT_OPEN_TO_THIS, given=_matched),
    Flaw(Reconciliation.NOT_OPEN_TO_THIS, given=_forced),
)

RECONCILIATION: Final = (
    Case(
        "reconciliation",
        "open_cases",
        "PA",
        {"cases": (new_case(), new_case(OTHER))},
        (
            Flaw(Reconciliation.SUBJECT_TWICE, cases=(new_case(), new_case())),
            Flaw(Assets.ASSET_UNKNOWN, cases=(new_case(asset="NONE"),)),
            Flaw(Assets.ACCOUNT_UNKNOWN, cases=(new_case(account="PA/none"),)),
            Flaw(Assets.NOT_OWNER, by="CNB"),
            Flaw(Reconciliation.COUNTERPARTY_UNKNOWN, cases=(new_case(counterparty="NONE"),)),
        ),
    ),
    Case(
        "reconciliation",
        "open_cases",
        "PA",
        {"cases": (new_case(), new_case(OTHER))},
        (
            Flaw(LedgerError.BAD_ARGUMENTS, cases=(new_case(kind="strange"),)),
            Flaw(LedgerError.BAD_ARGUMENTS, cases=()),
            Flaw(Reconciliation.OWN_COUNTERPARTY, cases=(new_case(counterparty="PA"),)),
            Flaw(Assets.NOT_OWNER, cases=(new_case(), new_case(OTHER, account="KB/main"))),
        ),
        label=" of which one is wrong",
    ),
    Case(
        "reconciliation",
        "match_cases",
        "PA",
        {"subjects": (SUBJECT, OTHER), "explained": DOCUMENT},
        (
            Flaw(Reconciliation.SUBJECT_TWICE, subjects=(SUBJECT, SUBJECT)),
            Flaw(Reconciliation.CASE_UNKNOWN, subjects=(DOCUMENT, SUBJECT)),
            Flaw(Reconciliation.CASE_UNKNOWN, by="KB"),
            Flaw(Reconciliation.NOT_OPEN_TO_THIS, given=_matched),
            Flaw(Reconciliation.NOT_OPEN_TO_THIS, given=_forced),
        ),
        given=opened,
    ),
    Case(
        "reconciliation",
        "mark_unmatched",
        "PA",
        {"subject": SUBJECT, "explained": DOCUMENT},
        (
            *_ENDED,
            Flaw(
                Reconciliation.NOT_OPEN_TO_THIS,
                given=lambda w: w.apply("PA", op("reconciliation", "mark_unmatched", SUBJECT, DOCUMENT)),
            ),
        ),
        given=opened,
    ),
    Case(
        "reconciliation",
        "force_match",
        "PA",
        {"subject": SUBJECT, "asset": "CZK", "amount": 250, "explained": DOCUMENT},
        (
            Flaw(Reconciliation.CASE_UNKNOWN, by="KB"),
            Flaw(Reconciliation.CASE_UNKNOWN, subject=DOCUMENT),
            Flaw(Reconciliation.AMOUNT_DIFFERS, amount=249),
            Flaw(Reconciliation.AMOUNT_DIFFERS, asset="EUR"),
            Flaw(Reconciliation.NOT_OPEN_TO_THIS, given=_matched),
            Flaw(Reconciliation.NOT_OPEN_TO_THIS, given=_forced),
        ),
        given=opened,
    ),
    Case(
        "reconciliation",
        "assign",
        "PA",
        {"subject": SUBJECT, "desk": "payments-2"},
        (Flaw(LedgerError.BAD_ARGUMENTS, desk="Mrs. X"), *_ENDED),
        given=opened,
    ),
    Case(
        "reconciliation",
        "dispute",
        "KB",
        {"member": "PA", "subject": SUBJECT, "document": DOCUMENT},
        (
            Flaw(Reconciliation.CASE_UNKNOWN, member="KB"),
            Flaw(Reconciliation.CASE_UNKNOWN, subject=DOCUMENT),
            Flaw(Reconciliation.NOT_CONCERNED, by="PA"),
            Flaw(Reconciliation.NOT_CONCERNED, by="CNB"),
            Flaw(Reconciliation.NOT_OPEN_TO_THIS, given=_forced),
            Flaw(
                Reconciliation.NOT_OPEN_TO_THIS,
                given=lambda w: w.apply("KB", op("reconciliation", "dispute", "PA", SUBJECT, DOCUMENT)),
            ),
        ),
        given=opened,
    ),
    Case(
        "reconciliation",
        "add_note",
        "KB",
        {"member": "PA", "subject": SUBJECT, "document": DOCUMENT},
        (
            Flaw(Reconciliation.CASE_UNKNOWN, member="KB"),
            Flaw(Reconciliation.NOT_CONCERNED, by="CNB"),
            Flaw(Reconciliation.TOO_MANY_NOTES, given=_many_notes),
        ),
        given=opened,
    ),
)

MAIN_ACCOUNT: Final = (
    Case(
        "main_account",
        "attest",
        "PA",
        PERIOD,
        (
            Flaw(MainAccount.PERIOD_UNFIT, begins_ms=ENDS_MS + 3_600_000),
            Flaw(MainAccount.PERIOD_UNFIT, begins_ms=ENDS_MS - DAY_MS_MAX - 1),
            Flaw(Assets.ACCOUNT_UNKNOWN, account="PA/none"),
            Flaw(Assets.ASSET_UNKNOWN, asset="NONE"),
            Flaw(MainAccount.OWNER_SERVICES, servicer="PA"),
            Flaw(MainAccount.SERVICER_UNKNOWN, servicer="NONE"),
            Flaw(MainAccount.NOT_A_PARTY, by="CNB"),
            Flaw(MainAccount.NOT_OVER, ends_ms=lambda world: world.time_ms + STEP_MS + 1),
            Flaw(MainAccount.AGREED_ALREADY, given=_agreed),
            Flaw(MainAccount.ATTESTED_ALREADY, given=lambda world: world.apply("PA", attest())),
        ),
        given=_kb_attested,
    ),
    Case(
        "main_account",
        "attest",
        "KB",
        PERIOD,
        (
            Flaw(MainAccount.NOT_A_PARTY, account="CNB/main", servicer="PA"),
            Flaw(MainAccount.ATTESTED_ALREADY, books=OTHER_BOOKS),
        ),
        given=_kb_attested,
        label=" by the servicer",
    ),
)
