"""CustodyService: the desk's face (node/engine/custody.py). Who calls is what the doors read from the
client's certificate; without one nobody is let near.
"""

from collections.abc import Callable
from typing import Any, Final

from node.engine.custody import Desk
from node.engine.errors import Degraded, NodeError
from node.keys.custody import (
    ID_BYTES,
    LIFE_MS_MAX,
    TEXT_CHARACTERS_MAX,
    Caller,
    CustodyError,
    Request,
)
from node.keys.custody_policy import Ruling
from node.ledger.errors import Rejected
from node.ledger.hashing import HASH_BYTES
from node.ledger.types import OPERATIONS_MAX, Operation
from node.pb.vostro.contract.v1 import contract_pb2
from node.pb.vostro.custody.v1 import custody_pb2 as pb
from node.pb.vostro.custody.v1 import custody_pb2_grpc
from node.services.contract_service import read_operation, require_method
from node.services.convert import json_text
from node.services.identity import CALLER
from node.services.paging import page_size
from node.services.ports import Call

WAIT_MS_MAX: Final = 55_000

Callers = Callable[[Any], Caller]
"""Who makes a call."""


def identified(_call: Any) -> Caller:
    """Whom the doors let in; a caller without a certificate is of no member, and so nobody here."""
    return CALLER.get()


class CustodyService(custody_pb2_grpc.CustodyServiceServicer):
    """See proto/vostro/custody/v1."""

    def __init__(self, desk: Desk | None, callers: Callers = identified) -> None:
        """desk: None where the node keeps no custody; then everything is refused with CUSTODY_OFF."""
        self._found = desk
        self._callers = callers

    @property
    def _desk(self) -> Desk:
        if self._found is None:
            raise Rejected(CustodyError.CUSTODY_OFF)
        return self._found

    async def RequestSigning(
        self, request: pb.RequestSigningRequest, call: Call
    ) -> pb.RequestSigningResponse:
        """A maker asks. Raises Rejected, as the desk does; Degraded BAD_REQUEST."""
        desk = self._desk
        made = await desk.request(
            self._callers(call),
            self._operations(request.operations),
            request_id=_checked_id(request.id),
            reference=_checked_text(request.reference),
            life_ms=_checked_life(request.life_ms),
        )
        return pb.RequestSigningResponse(request=self._told(made), ruling=_ruling(desk.ruling(made)))

    async def Approve(self, request: pb.ApproveRequest, call: Call) -> pb.ApproveResponse:
        """A checker approves. Raises Rejected, as the desk does; Degraded BAD_REQUEST."""
        desk, named = self._desk, _checked_hash(request.content_hash)
        made = await desk.approve(self._callers(call), _checked_id(request.id), named)
        return pb.ApproveResponse(request=self._told(made), ruling=_ruling(desk.ruling(made)))

    async def Reject(self, request: pb.RejectRequest, call: Call) -> pb.RejectResponse:
        """A checker rejects. Raises Rejected, as the desk does; Degraded BAD_REQUEST."""
        desk, reason = self._desk, _checked_text(request.reason)
        named = _checked_hash(request.content_hash)
        made = await desk.reject(self._callers(call), _checked_id(request.id), named, reason)
        return pb.RejectResponse(request=self._told(made))

    async def Cancel(self, request: pb.CancelRequest, call: Call) -> pb.CancelResponse:
        """A maker takes back. Raises Rejected, as the desk does; Degraded BAD_REQUEST."""
        made = await self._desk.cancel(self._callers(call), _checked_id(request.id))
        return pb.CancelResponse(request=self._told(made))

    async def GetRequest(self, request: pb.GetRequestRequest, call: Call) -> pb.GetRequestResponse:
        """One request. Raises Rejected NOT_IDENTIFIED, NOT_OWN_MEMBER, REQUEST_UNKNOWN; Degraded
        BAD_REQUEST.
        """
        desk, seconds = self._desk, min(request.wait_ms, WAIT_MS_MAX) / 1_000
        found = await desk.wait(self._callers(call), _checked_id(request.id), seconds)
        ruling = _ruling(desk.ruling(found)) if found.status == "waiting" else None
        return pb.GetRequestResponse(request=self._told(found), ruling=ruling)

    async def ListRequests(self, request: pb.ListRequestsRequest, call: Call) -> pb.ListRequestsResponse:
        """A page. Raises Rejected NOT_IDENTIFIED, NOT_OWN_MEMBER, REQUEST_UNKNOWN."""
        listed = self._desk.all(self._callers(call))
        if request.after:
            place = [at for at, each in enumerate(listed, 1) if each.id == request.after]
            if not place:
                raise Rejected(CustodyError.REQUEST_UNKNOWN)
            listed = listed[place[0] :]
        shown = [each for each in listed if each.is_open or not request.open_only]
        return pb.ListRequestsResponse(requests=map(self._told, shown[: page_size(request.page_size)]))

    async def ExplainPolicy(self, request: pb.ExplainPolicyRequest, call: Call) -> pb.ExplainPolicyResponse:
        """A dry run. Raises Rejected NOT_IDENTIFIED, NOT_OWN_MEMBER, REQUEST_UNKNOWN; Degraded
        BAD_REQUEST.
        """
        desk, caller = self._desk, self._callers(call)
        if request.id:
            ruling = desk.ruling(desk.get(caller, _checked_id(request.id)))
        else:
            ruling = desk.explain(caller, self._operations(request.operations), request.maker)
        return pb.ExplainPolicyResponse(ruling=_ruling(ruling), policy=bytes.fromhex(desk.policy.sha256))

    def _operations(self, asked: Any) -> list[Operation]:
        if not 1 <= len(asked) <= OPERATIONS_MAX:
            raise Degraded(NodeError.BAD_REQUEST, reason=f"a request has 1 to {OPERATIONS_MAX} operations")
        return [read_operation(self._desk.ledger, operation) for operation in asked]

    def _told(self, request: Request) -> pb.Request:
        content, outcome = request.content, request.outcome
        return pb.Request(
            id=request.id,
            member=content.member,
            maker=content.maker,
            content_hash=request.content_hash,
            operations=[self._operation(operation) for operation in content.operations],
            reference=content.reference,
            status=getattr(pb.Status, f"STATUS_{request.status.upper()}"),
            created_ms=content.created_ms,
            expires_ms=content.expires_ms,
            approvals=[
                pb.Approval(by=each.by, time_ms=each.time_ms, certificate=each.certificate)
                for each in request.approvals
            ],
            closed_by=request.closed_by,
            reason=request.reason,
            tx_id=request.tx_id,
            signed_ms=request.signed_ms,
            codespace=outcome.codespace,
            code=outcome.code,
            height=outcome.height,
            life_ms=content.life_ms,
        )

    def _operation(self, operation: Operation) -> contract_pb2.Operation:
        method = require_method(self._desk.ledger, operation.contract, operation.method)
        named = dict(zip(method.arguments, method.decode(operation.arguments), strict=True))
        return contract_pb2.Operation(
            contract=operation.contract, method=operation.method, arguments_json=json_text(named)
        )


def _ruling(ruling: Ruling) -> pb.Ruling:
    return pb.Ruling(
        bindings=[
            pb.Binding(
                rule=each.rule,
                total=each.total,
                slots=[
                    pb.Slots(count=slots.asked, of=slots.of, missing=slots.missing) for slots in each.slots
                ],
            )
            for each in ruling.bindings
        ],
        uncovered=ruling.uncovered,
        missing=ruling.missing,
        may_approve=ruling.may_approve,
    )


def _checked_id(given: bytes) -> bytes:
    if len(given) != ID_BYTES:
        raise Degraded(NodeError.BAD_REQUEST, reason=f"a request's id is {ID_BYTES} bytes")
    return given


def _checked_hash(given: bytes) -> bytes:
    if len(given) != HASH_BYTES:
        raise Degraded(NodeError.BAD_REQUEST, reason=f"a content's hash is {HASH_BYTES} bytes")
    return given


def _checked_text(given: str) -> str:
    if len(given) > TEXT_CHARACTERS_MAX or not (given.isprintable()):
        raise Degraded(
            NodeError.BAD_REQUEST, reason=f"words are at most {TEXT_CHARACTERS_MAX} printable characters"
        )
    return given


def _checked_life(given: int) -> int:
    if given > LIFE_MS_MAX:
        raise Degraded(NodeError.BAD_REQUEST, reason=f"life_ms is at most {LIFE_MS_MAX}")
    return given
