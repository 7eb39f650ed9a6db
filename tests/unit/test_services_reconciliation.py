"""ReconciliationService: cases in pages, a period's books, and who may read what of another's."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from contracts.reconciliation import Reconciliation
from node.books import books_digest
from node.engine.errors import Degraded, NodeError
from node.keys.certificates import Role
from node.ledger.types import Event, Receipt
from node.pb.vostro.contract.v1 import contract_pb2
from node.pb.vostro.reconciliation.v1 import reconciliation_pb2 as pb
from node.services.identity import Identity
from node.services.reading import Reading
from tests.contracts.refusals_reconciliation import BOOKS, SUBJECT, attest, new_case, open_cases
from tests.kit import Consortium, op, pay
from tests.services_kit import DirectEngine, Face, is_code, refused, serving

pytestmark = pytest.mark.asyncio

STRANGE = "x"


@pytest_asyncio.fixture
async def face(tmp_path: Path) -> AsyncIterator[Face]:
    async with serving(tmp_path) as served:
        yield served


async def test_cases_are_read_one_by_one_and_in_pages_from_both_sides(face: Face) -> None:
    subjects = [bytes([number]) * 32 for number in range(1, 6)]
    face.world.apply("PA", open_cases(*[new_case(subject) for subject in subjects]))
    face.world.apply("PA", op("reconciliation", "add_note", "PA", subjects[0], SUBJECT))
    ask = face.client.reconciliation
    found = await ask.GetCase(pb.GetCaseRequest(member="PA", subject=subjects[0]))
    case = found.case
    assert (case.kind, case.direction, case.amount, case.status) == (
        "missing-on-ledger",
        "credit",
        250,
        "open",
    )
    assert (case.notes, case.opened_ms, found.height) == (1, face.world.time_ms - 1_000, face.world.height)
    notes = await ask.ListNotes(pb.ListNotesRequest(member="PA", subject=subjects[0]))
    assert [(note.number, note.member, note.document) for note in notes.notes] == [(1, "PA", SUBJECT)]
    own, against = [], []
    request, other = (
        pb.ListCasesRequest(member="PA", page_size=2),
        pb.ListCasesAgainstRequest(member="KB", page_size=2),
    )
    for _ in range(3):
        page = await ask.ListCases(request)
        own += [each.subject for each in page.cases]
        request.page_token = page.next_page_token
        facing = await ask.ListCasesAgainst(other)
        against += [(each.member, each.subject) for each in facing.cases]
        other.page_token = facing.next_page_token
    assert own == subjects
    assert against == [("PA", subject) for subject in subjects]
    assert (request.page_token, other.page_token) == ("", "")
    unknown = await refused(ask.GetCase(pb.GetCaseRequest(member="KB", subject=subjects[0])))
    assert is_code(unknown, Reconciliation.CASE_UNKNOWN)
    strange = await refused(ask.ListCasesAgainst(pb.ListCasesAgainstRequest(member="KB", page_token=STRANGE)))
    assert is_code(strange, NodeError.BAD_PAGE_TOKEN)


async def test_what_a_node_prepares_both_banks_attest_and_the_ledger_calls_it_agreed(face: Face) -> None:
    world = face.world
    begins_ms = world.time_ms + 1
    for amount, reference in ((30, "E2E-17/a"), (20, "")):
        world.apply("PA", pay("PA/main", "KB/main", amount, reference=reference))
    ends_ms = world.time_ms + 1
    world.apply("KB", pay("KB/main", "PA/main", 5))
    world.apply("KB", pay("KB/main", "PA/main", 7))
    face.index.advance(world.store, blocks_max=1_000)
    period: dict[str, Any] = {"account": "PA/main", "asset": "CZK", "servicer": "KB"}
    request = pb.PrepareAttestationRequest(**period, begins_ms=begins_ms, ends_ms=ends_ms)
    prepared = await face.client.reconciliation.PrepareAttestation(request)
    told = prepared.books
    lines = b"vostro/movements/1\0" + b"-20\t\n-30\tE2E17A\n"
    assert told.digest == hashlib.sha256(lines).digest()
    assert (told.count, told.side, told.closing) == (2, "credit", world.balance("PA/main")[0] - 12)
    for member, status in (("KB", "attested"), ("PA", "agreed")):
        asked = contract_pb2.PrepareTransactionRequest(
            member=member, operations=[prepared.operation], request_id=world.new_request_id()
        )
        body = (await face.client.contracts.PrepareTransaction(asked)).transaction
        (receipt,) = world.block(world.sign(body, *world.officers[member]))
        assert isinstance(receipt, Receipt)
        assert receipt.code == 0
        days = await face.client.reconciliation.ListAttestedDays(pb.ListAttestedDaysRequest(**period))
        assert [day.status for day in days.days] == [status]
    day = days.days[0]
    assert isinstance(receipt, Receipt)
    assert day.by_owner.tx_id == receipt.tx_id
    assert day.by_owner.books == day.by_servicer.books == told


@pytest.mark.parametrize(("begins", "ends"), [(0, 1), (5, 5), (10**15, 10**15 + 1), (0, 2**63)])
async def test_books_are_prepared_of_a_day_that_is_over(face: Face, begins: int, ends: int) -> None:
    request = pb.PrepareAttestationRequest(
        account="PA/main", asset="CZK", servicer="KB", begins_ms=begins, ends_ms=ends
    )
    call = face.client.reconciliation.PrepareAttestation(request)
    if (begins, ends) == (0, 1):
        assert (await call).books.count == 0
    else:
        assert is_code(await refused(call), NodeError.BAD_REQUEST)


async def test_an_index_that_lags_is_not_attested_from(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.services.reconciliation_service.INDEX_SECONDS", 0.05)
    face.world.apply("PA", pay("PA/main", "KB/main", 1))
    request = pb.PrepareAttestationRequest(account="PA/main", asset="CZK", servicer="KB", ends_ms=1)
    call = face.client.reconciliation.PrepareAttestation(request)
    assert is_code(await refused(call), NodeError.SYNCING)


@pytest.mark.evidence(
    "RD1", asset="confidentiality", threat="reading another's breaks", mitigation="reading rules"
)
async def test_a_case_is_its_members_and_its_counterpartys_and_nobody_elses() -> None:
    world = Consortium()
    receipt = world.apply("PA", open_cases())
    attested = world.apply("PA", attest(BOOKS))
    reading = Reading(world.ledger, world.store, DirectEngine(world))
    readers = {name: Identity(name, frozenset({Role.READER}), "") for name in ("PA", "KB", "CNB")}
    subject = {"subject": SUBJECT.hex()}
    account = {"account": "PA/main", "servicer": "KB"}
    asked = [
        ("reconciliation", "get_case", {"member": "PA", **subject}, {"PA", "KB"}),
        ("reconciliation", "list_notes", {"member": "PA", **subject}, {"PA", "KB"}),
        ("reconciliation", "list_cases", {"member": "PA"}, {"PA"}),
        ("reconciliation", "list_against", {"member": "KB"}, {"KB"}),
        ("reconciliation", "get_case", {"member": "PA", "subject": "00" * 32}, {"PA"}),
        ("main_account", "list_days", account, {"PA", "KB"}),
        ("main_account", "get_day", {"account": "PA/main", "servicer": "CNB"}, {"PA", "CNB"}),
    ]
    for contract, query, arguments, expected in asked:
        let_in = {name for name, who in readers.items() if _reads(reading, who, contract, query, arguments)}
        assert let_in == expected, (contract, query, let_in)
    for event in (*receipt.events, *attested.events):
        shown = {name for name in readers if _sees(reading, readers[name], event)}
        assert shown >= {"PA"}
        assert shown <= {"PA", "KB"}, event.event
    assert _sees(reading, readers["KB"], receipt.events[0])
    assert books_digest(world.ledger.suite.digest, [(1, "a"), (2, "b")]) == books_digest(
        world.ledger.suite.digest, [(2, "B"), (1, "A ")]
    )


def _reads(reading: Reading, who: Identity, contract: str, query: str, arguments: dict[str, str]) -> bool:
    try:
        reading.check_query(who, contract, query, arguments)
    except Degraded:
        return False
    return True


def _sees(reading: Reading, who: Identity, event: Event) -> bool:
    return reading.shown(who, reading.parties(event), "").at_all
