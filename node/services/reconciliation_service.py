"""ReconciliationService: cases and attested periods from the published state, a period's books from the
index.
"""

import asyncio
import time
from typing import Final

import msgspec

from contracts.cases import NamedCase, NamedNote
from contracts.scenarios.main_account import DAY_MS_MAX, Attestation, NamedDay
from node.books import books_digest
from node.engine.engine import Engine
from node.engine.errors import Degraded, NodeError
from node.ledger.hashing import Suite
from node.ledger.types import INTEGER_MAX
from node.pb.vostro.contract.v1 import contract_pb2
from node.pb.vostro.reconciliation.v1 import reconciliation_pb2 as pb
from node.pb.vostro.reconciliation.v1 import reconciliation_pb2_grpc
from node.services.history import History
from node.services.paging import page_size
from node.services.ports import Call, Index
from node.services.published import QUERY_PAGE_MAX, Published
from node.storage.index import PAGE_MAX

MOVEMENTS_MAX: Final = 1_000_000
"""Movements that one attestation reads: those of the period, and those since."""

INDEX_SECONDS: Final = 5.0
INDEX_PAUSE: Final = 0.02


class ReconciliationService(reconciliation_pb2_grpc.ReconciliationServiceServicer):
    """See proto/vostro/reconciliation/v1."""

    def __init__(self, engine: Engine, published: Published, history: History, suite: Suite) -> None:
        self._engine = engine
        self._published = published
        self._history = history
        self._suite = suite

    async def GetCase(self, request: pb.GetCaseRequest, call: Call) -> pb.GetCaseResponse:
        """A case. Raises Rejected CASE_UNKNOWN."""
        found = self._published.ask("reconciliation", "get_case", request.member, request.subject)
        height, time_ms = self._published.stand()
        case = _case(NamedCase(request.member, request.subject, found))
        return pb.GetCaseResponse(case=case, height=height, time_ms=time_ms)

    async def ListCases(self, request: pb.ListCasesRequest, call: Call) -> pb.ListCasesResponse:
        """A member's cases."""
        rows, token = self._published.page(
            ("reconciliation", "list_cases"),
            (request.member,),
            b"",
            lambda row: bytes(row.subject),
            request.page_size,
            request.page_token,
        )
        height, time_ms = self._published.stand()
        cases = [_case(row) for row in rows]
        return pb.ListCasesResponse(cases=cases, next_page_token=token, height=height, time_ms=time_ms)

    async def ListCasesAgainst(
        self, request: pb.ListCasesAgainstRequest, call: Call
    ) -> pb.ListCasesAgainstResponse:
        """The cases in which a member is the counterparty."""
        name = ("reconciliation", "list_against", request.member)
        opener, _, subject = self._published.pages.cursor(request.page_token, "", *name).partition(" ")
        rows = self._published.ask(*name[:2], request.member, opener, bytes.fromhex(subject))
        shown = rows[: page_size(request.page_size, QUERY_PAGE_MAX)]
        more = len(rows) > len(shown) or len(rows) == QUERY_PAGE_MAX
        behind = f"{shown[-1].member} {shown[-1].subject.hex()}" if more else ""
        height, time_ms = self._published.stand()
        return pb.ListCasesAgainstResponse(
            cases=[_case(row) for row in shown],
            next_page_token=self._published.pages.token(behind, *name),
            height=height,
            time_ms=time_ms,
        )

    async def ListNotes(self, request: pb.ListNotesRequest, call: Call) -> pb.ListNotesResponse:
        """A case's notes."""
        rows = self._published.ask("reconciliation", "list_notes", request.member, request.subject, 0)
        height, time_ms = self._published.stand()
        return pb.ListNotesResponse(notes=[_note(row) for row in rows], height=height, time_ms=time_ms)

    async def ListAttestedDays(
        self, request: pb.ListAttestedDaysRequest, call: Call
    ) -> pb.ListAttestedDaysResponse:
        """An account's attested periods."""
        rows = self._published.ask(
            "main_account",
            "list_days",
            request.account,
            request.asset,
            request.servicer,
            _in_range(request.after_ms),
        )
        height, time_ms = self._published.stand()
        return pb.ListAttestedDaysResponse(days=[_day(row) for row in rows], height=height, time_ms=time_ms)

    async def PrepareAttestation(
        self, request: pb.PrepareAttestationRequest, call: Call
    ) -> pb.PrepareAttestationResponse:
        """A period's books. Raises Rejected ACCOUNT_UNKNOWN, Degraded BAD_REQUEST, SYNCING,
        METHOD_UNKNOWN.
        """
        begins_ms, ends_ms = request.begins_ms, request.ends_ms
        position = self._published.ask("assets", "get_balance", request.account, request.asset)
        height, time_ms = self._published.stand()
        over_ms = self._engine.status().time_ms  # of the last block, if only a heartbeat: none is earlier
        if not begins_ms < ends_ms <= min(begins_ms + DAY_MS_MAX, over_ms):
            raise Degraded(
                NodeError.BAD_REQUEST, reason="a period ends later than it begins, within a day, and is over"
            )
        index = self._history.index
        await self._await_index(height)
        books = await asyncio.to_thread(self._books, index, request, position.posted, time_ms)
        arguments = {
            "account": request.account,
            "asset": request.asset,
            "servicer": request.servicer,
            "begins_ms": begins_ms,
            "ends_ms": ends_ms,
            "books": {
                "count": books.count,
                "digest": books.digest.hex(),
                "side": books.side,
                "closing": books.closing,
            },
        }
        operation = contract_pb2.Operation(
            contract="main_account",
            method="attest",
            arguments_json=msgspec.json.encode(arguments).decode(),
        )
        return pb.PrepareAttestationResponse(books=books, operation=operation, height=height, time_ms=time_ms)

    async def _await_index(self, height: int) -> None:
        """Until the index speaks of a height. Raises Degraded SYNCING."""
        deadline = time.monotonic() + INDEX_SECONDS
        while (self._history.height() or 0) < height:
            if time.monotonic() > deadline:
                raise Degraded(NodeError.SYNCING, reason="the index is behind the head")
            await asyncio.sleep(INDEX_PAUSE)

    def _books(
        self, index: Index, request: pb.PrepareAttestationRequest, posted: int, now_ms: int
    ) -> pb.Books:
        """The movements of a period, and the balance at its end: what there is now, less what came since."""
        account, asset = request.account, request.asset
        lines: list[tuple[int, str]] = []
        after, since = b"", 0
        for _ in range(0, MOVEMENTS_MAX, PAGE_MAX):
            page = index.movements(
                account,
                after=after,
                since_ms=request.begins_ms,
                before_ms=now_ms + 1,
                limit=PAGE_MAX,
                reverse=False,
            )
            for row in page:
                if row.movement.asset != asset:
                    continue
                if row.time_ms < request.ends_ms:
                    lines.append((row.movement.amount, row.movement.reference))
                else:
                    since += row.movement.amount
            if len(page) < PAGE_MAX:
                digest = books_digest(self._suite.digest, lines)
                return pb.Books(count=len(lines), digest=digest, side="credit", closing=posted - since)
            after = page[-1].cursor
        raise Degraded(
            NodeError.BAD_REQUEST, reason=f"the account moved more than {MOVEMENTS_MAX:,} times since"
        )


def _in_range(time_ms: int) -> int:
    if time_ms >= INTEGER_MAX:
        raise Degraded(NodeError.BAD_REQUEST, reason="a time is out of range")
    return time_ms


def _case(named: NamedCase) -> pb.Case:
    case = named.case
    return pb.Case(
        member=named.member,
        subject=named.subject,
        kind=case.kind,
        account=case.account,
        asset=case.asset,
        direction=case.direction,
        amount=case.amount,
        counterparty=case.counterparty,
        evidence=case.evidence,
        opened_ms=case.opened_ms,
        status=case.status,
        desk=case.desk,
        level=case.level,
        escalates_ms=case.escalates_ms,
        notes=case.notes,
        explained=case.explained,
        changed_ms=case.changed_ms,
    )


def _note(named: NamedNote) -> pb.Note:
    note = named.note
    return pb.Note(number=named.number, member=note.member, document=note.document, time_ms=note.time_ms)


def _day(named: NamedDay) -> pb.AttestedDay:
    day = named.day
    return pb.AttestedDay(
        asset=named.asset,
        servicer=named.servicer,
        begins_ms=named.begins_ms,
        ends_ms=named.ends_ms,
        by_owner=_attestation(day.owner),
        by_servicer=_attestation(day.servicer),
        status=day.status,
        subject=day.subject,
    )


def _attestation(told: tuple[Attestation, ...]) -> pb.Attestation | None:
    if not told:
        return None
    books = told[0].books
    return pb.Attestation(
        books=pb.Books(count=books.count, digest=books.digest, side=books.side, closing=books.closing),
        tx_id=told[0].tx_id,
        time_ms=told[0].time_ms,
    )
