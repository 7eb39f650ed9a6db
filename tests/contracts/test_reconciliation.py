"""Reconciliation: the life of a case, runs made twice, signing policy, escalation, days that both attest."""

from typing import Any

import pytest

from contracts.cases import LEVELS_MAX, Case, Note
from contracts.institutions import Rule
from contracts.scenarios.main_account import Books
from node.ledger import codec
from node.ledger.errors import LedgerError
from tests.contracts.refusals_reconciliation import (
    BEGINS_MS,
    BOOKS,
    DOCUMENT,
    ENDS_MS,
    OTHER,
    OTHER_BOOKS,
    PATIENCE_MS,
    SUBJECT,
    attest,
    match,
    new_case,
    open_cases,
)
from tests.kit import START_MS, STEP_MS, Consortium, is_discarded, new_key, op, told

PERIOD = ("PA/main", "CZK", "KB", BEGINS_MS, ENDS_MS)


@pytest.fixture
def world() -> Consortium:
    return Consortium()


def ask(world: Consortium, contract: str, query: str, *arguments: Any) -> Any:
    return world.ledger.query(contract, query, codec.encode(arguments))


def case_of(world: Consortium, subject: bytes = SUBJECT) -> Case:
    found: Case = ask(world, "reconciliation", "get_case", "PA", subject)
    return found


def test_a_run_that_is_made_again_opens_nothing_twice(world: Consortium) -> None:
    first = world.apply("PA", open_cases(new_case(), new_case(OTHER, kind="date")))
    assert told(first)[-1] == ("reconciliation.CasesReviewed", ["PA", 2, 0])
    before = world.rows("reconciliation", "case")
    again = world.apply("PA", open_cases(new_case(b"\x29" * 32), new_case(amount=9)))
    assert told(again)[-1] == ("reconciliation.CasesReviewed", ["PA", 1, 1])
    assert {key: row for key, row in world.rows("reconciliation", "case").items() if key in before} == before
    world.apply("PA", match(SUBJECT))
    ended = case_of(world)
    assert (ended.status, ended.explained, ended.escalates_ms) == ("matched", DOCUMENT, 0)
    third = world.apply("PA", open_cases())
    assert told(third) == [("reconciliation.CasesReviewed", ["PA", 0, 1])]
    assert case_of(world) == ended


def test_the_same_subject_of_two_members_is_two_cases(world: Consortium) -> None:
    world.apply("PA", open_cases())
    world.apply("KB", open_cases(new_case(account="KB/main", counterparty="PA")))
    assert [key[0] for key in world.rows("reconciliation", "case")] == ["KB", "PA"]
    against = ask(world, "reconciliation", "list_against", "KB", "", b"")
    assert [(row.member, row.subject) for row in against] == [("PA", SUBJECT)]
    assert ask(world, "reconciliation", "list_against", "KB", "PA", SUBJECT) == ()
    assert [row.subject for row in ask(world, "reconciliation", "list_cases", "KB", b"")] == [SUBJECT]
    assert ask(world, "reconciliation", "list_cases", "KB", SUBJECT) == ()


def test_a_case_is_noted_disputed_examined_and_forced(world: Consortium) -> None:
    world.apply("PA", open_cases())
    for member in ("PA", "KB"):
        world.apply(member, op("reconciliation", "add_note", "PA", SUBJECT, DOCUMENT))
    world.apply("PA", op("reconciliation", "assign", SUBJECT, "desk-7"))
    world.apply("PA", op("reconciliation", "mark_unmatched", SUBJECT, DOCUMENT))
    disputed = world.apply("KB", op("reconciliation", "dispute", "PA", SUBJECT, OTHER))
    assert told(disputed) == [("reconciliation.CaseChanged", ["PA", "KB", SUBJECT, "disputed", "KB", OTHER])]
    world.apply("PA", op("reconciliation", "mark_unmatched", SUBJECT, DOCUMENT))
    world.apply("PA", op("reconciliation", "force_match", SUBJECT, "CZK", 250, DOCUMENT))
    found = case_of(world)
    assert (found.status, found.desk, found.notes, found.level) == ("forced", "desk-7", 2, 0)
    notes = ask(world, "reconciliation", "list_notes", "PA", SUBJECT, 0)
    assert [(row.number, row.note.member) for row in notes] == [(1, "PA"), (2, "KB")]
    assert notes[0].note == Note("PA", DOCUMENT, notes[0].note.time_ms)
    assert ask(world, "reconciliation", "list_notes", "PA", SUBJECT, 1) == notes[1:]
    assert world.rows("reconciliation", "due") == {}


def test_the_signing_policy_weighs_what_is_forced(world: Consortium) -> None:
    world.apply("PA", op("members", "register_key", new_key("second")))
    world.apply("PA", open_cases(new_case(), new_case(OTHER, amount=100)))
    world.apply("PA", op("members", "set_policy", (Rule("reconciliation", "force_match", "CZK", 200, 2),)))
    large, small = (
        op("reconciliation", "force_match", subject, "CZK", amount, DOCUMENT)
        for subject, amount in ((SUBJECT, 250), (OTHER, 100))
    )
    (outcome,) = world.block(world.make("PA", large))
    assert is_discarded(outcome, LedgerError.POLICY_NOT_MET)
    split = op("reconciliation", "force_match", SUBJECT, "CZK", 199, DOCUMENT)
    refused = world.send("PA", split)
    assert (refused.codespace, refused.code) == ("reconciliation", 7)
    world.apply("PA", small)
    world.apply("PA", large, officers=("PA-officer", "second"))
    assert {row.status for row in world.rows("reconciliation", "case").values()} == {"forced"}


def test_what_stays_open_is_escalated_by_block_time_and_only_so_often(world: Consortium) -> None:
    world.apply("PA", open_cases(new_case(), new_case(OTHER, patience_ms=0)))
    due_ms = world.time_ms + PATIENCE_MS
    world.block(time_ms=due_ms - 1)
    assert case_of(world).level == 0
    for level in range(1, LEVELS_MAX + 1):
        world.block(time_ms=due_ms)
        found = case_of(world)
        assert (found.level, found.escalates_ms) == (level, due_ms + PATIENCE_MS if level < LEVELS_MAX else 0)
        due_ms += PATIENCE_MS
    world.block(time_ms=due_ms + PATIENCE_MS)
    assert (case_of(world).level, case_of(world, OTHER).level) == (LEVELS_MAX, 0)
    assert world.rows("reconciliation", "due") == {}
    world.apply("PA", match(SUBJECT, OTHER))
    assert case_of(world).status == "matched"


def test_a_block_escalates_so_many_and_the_next_the_rest(
    world: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.apply("PA", open_cases(*[new_case(bytes([number]) * 32) for number in range(1, 6)]))
    monkeypatch.setattr("contracts.reconciliation.EXPIRY_MAX", 3)
    world.block(time_ms=world.time_ms + PATIENCE_MS)
    assert sum(row.level for row in world.rows("reconciliation", "case").values()) == 3
    world.block()
    assert sum(row.level for row in world.rows("reconciliation", "case").values()) == 5


def test_two_banks_that_attest_the_same_leave_a_doubly_signed_proof(world: Consortium) -> None:
    first = world.apply("KB", attest())
    assert told(first)[0][1][-1] == "attested"
    second = world.apply("PA", attest())
    assert told(second) == [("main_account.Attested", [*PERIOD, "PA", list_of(BOOKS), "agreed"])]
    day = ask(world, "main_account", "get_day", *PERIOD)
    assert (day.status, day.owner[0].tx_id, day.servicer[0].tx_id) == (
        "agreed",
        second.tx_id,
        first.tx_id,
    )
    assert day.owner[0].books == day.servicer[0].books == BOOKS
    assert world.rows("reconciliation", "case") == {}
    assert [row.begins_ms for row in ask(world, "main_account", "list_days", *PERIOD[:3], 0)] == [BEGINS_MS]
    assert ask(world, "main_account", "list_days", *PERIOD[:3], BEGINS_MS) == ()


def list_of(books: Books) -> list[Any]:
    return [books.count, books.digest, books.side, books.closing]


def test_a_difference_opens_a_case_in_the_same_block_and_a_correction_ends_it(world: Consortium) -> None:
    world.apply("KB", attest(OTHER_BOOKS))
    receipt = world.apply("PA", attest())
    names = [name for name, _ in told(receipt)]
    assert names == ["reconciliation.CaseOpened", "main_account.Attested"]
    opened = told(receipt)[0][1]
    assert opened[:2] + opened[3:] == ["PA", "KB", "attestation", "PA/main", "CZK", "credit", 10]
    subject = opened[2]
    world.apply("KB", op("reconciliation", "dispute", "PA", subject, DOCUMENT))
    other = Books(3, b"\x33" * 32, "debit", 5)
    world.apply("KB", attest(other))
    assert len(world.rows("reconciliation", "case")) == 1
    corrected = world.apply("KB", attest())
    assert [name for name, _ in told(corrected)] == ["reconciliation.CaseChanged", "main_account.Attested"]
    found: Case = ask(world, "reconciliation", "get_case", "PA", subject)
    assert (found.status, found.explained, found.opened_ms) == (
        "matched",
        BOOKS.digest,
        world.time_ms - 3 * STEP_MS,
    )
    assert ask(world, "main_account", "get_day", *PERIOD).status == "agreed"


def test_an_attestation_is_corrected_before_the_other_side_attests(world: Consortium) -> None:
    world.apply("PA", attest(OTHER_BOOKS))
    world.apply("PA", attest())
    receipt = world.apply("KB", attest())
    assert told(receipt)[0][1][-1] == "agreed"
    assert world.rows("reconciliation", "case") == {}
    assert START_MS == ENDS_MS
