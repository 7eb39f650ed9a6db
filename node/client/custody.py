"""Custody from the client's side: what a maker or a checker of a bank asks of the bank's own node.

Needs mutual TLS; the certificate says who acts. Every call may be repeated: a request is known by the id that
its maker chose, an approval by its giver.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import grpc

from node.client.connection import ask
from node.client.describe import CONTRACTS, arguments_json
from node.ledger.types import Operation
from node.pb.vostro.contract.v1 import contract_pb2
from node.pb.vostro.custody.v1 import custody_pb2 as pb
from node.pb.vostro.custody.v1.custody_pb2_grpc import CustodyServiceStub

PAGE: Final = 100
WAIT_SECONDS_MAX: Final = 55.0


@dataclass(frozen=True, slots=True)
class CustodyRule:
    """A rule that binds. total: what it weighed, minor units; asks: (how many, out of whom, missing)."""

    rule: str
    total: int
    asks: tuple[tuple[int, tuple[str, ...], int], ...]


@dataclass(frozen=True, slots=True)
class CustodyRuling:
    """What the policy says. uncovered: numbers of operations that no rule covers; missing: approvals."""

    rules: tuple[CustodyRule, ...]
    uncovered: tuple[int, ...]
    missing: int
    may_approve: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CustodyApproval:
    """Who approved, when, and with which certificate: its SHA-256, in hex."""

    by: str
    time_ms: int
    certificate: str


@dataclass(frozen=True, slots=True)
class CustodyRequest:
    """A request as it stands. operations: (``contract.method``, arguments as JSON)."""

    id: bytes
    member: str
    maker: str
    content_hash: bytes
    operations: tuple[tuple[str, str], ...]
    reference: str
    status: str
    created_ms: int
    expires_ms: int
    approvals: tuple[CustodyApproval, ...]
    closed_by: str
    reason: str
    tx_id: bytes
    signed_ms: int
    codespace: str
    code: int
    height: int
    ruling: CustodyRuling | None


class Custody:
    """The custody service of one node. Every call raises Declined, Unreachable."""

    def __init__(self, channel: grpc.aio.Channel, target: str, seconds: float) -> None:
        """See Client."""
        stub: Any = channel
        self._stub = CustodyServiceStub(stub)
        self._target = target
        self._seconds = seconds

    async def request(
        self, request_id: bytes, operations: Sequence[Operation], *, reference: str = "", life_ms: int = 0
    ) -> CustodyRequest:
        """Ask for operations to be signed. request_id: 16 bytes, new for each request."""
        asked = pb.RequestSigningRequest(
            id=request_id,
            operations=[_message(operation) for operation in operations],
            reference=reference,
            life_ms=life_ms,
        )
        answer = await ask(self._stub.RequestSigning, asked, target=self._target, seconds=self._seconds)
        return _request(answer.request, answer.ruling)

    async def approve(self, request_id: bytes, content_hash: bytes) -> CustodyRequest:
        """Approve the content that was read."""
        asked = pb.ApproveRequest(id=request_id, content_hash=content_hash)
        answer = await ask(self._stub.Approve, asked, target=self._target, seconds=self._seconds)
        return _request(answer.request, answer.ruling)

    async def reject(self, request_id: bytes, content_hash: bytes, reason: str = "") -> CustodyRequest:
        """Reject the content that was read."""
        asked = pb.RejectRequest(id=request_id, content_hash=content_hash, reason=reason)
        answer = await ask(self._stub.Reject, asked, target=self._target, seconds=self._seconds)
        return _request(answer.request)

    async def cancel(self, request_id: bytes) -> CustodyRequest:
        """Take one's own request back."""
        asked = pb.CancelRequest(id=request_id)
        answer = await ask(self._stub.Cancel, asked, target=self._target, seconds=self._seconds)
        return _request(answer.request)

    async def show(self, request_id: bytes, *, wait_seconds: float = 0) -> CustodyRequest:
        """One request; once its outcome is known, or after ``wait_seconds``, at most 55."""
        wait_ms = int(min(wait_seconds, WAIT_SECONDS_MAX) * 1_000)
        asked = pb.GetRequestRequest(id=request_id, wait_ms=wait_ms)
        seconds = max(self._seconds, wait_seconds + 5)
        answer = await ask(self._stub.GetRequest, asked, target=self._target, seconds=seconds)
        return _request(answer.request, answer.ruling if answer.HasField("ruling") else None)

    async def list(self, *, open_only: bool = False) -> list[CustodyRequest]:
        """All requests that the node keeps, oldest first."""
        found: list[CustodyRequest] = []
        while True:
            after = found[-1].id if found else b""
            asked = pb.ListRequestsRequest(open_only=open_only, after=after, page_size=PAGE)
            answer = await ask(self._stub.ListRequests, asked, target=self._target, seconds=self._seconds)
            found += [_request(message) for message in answer.requests]
            if len(answer.requests) < PAGE:
                return found

    async def explain(
        self, request_id: bytes = b"", operations: Sequence[Operation] = (), maker: str = ""
    ) -> CustodyRuling:
        """What the policy says of a request, or would say of operations."""
        messages = [_message(operation) for operation in operations]
        asked = pb.ExplainPolicyRequest(id=request_id, operations=messages, maker=maker)
        answer = await ask(self._stub.ExplainPolicy, asked, target=self._target, seconds=self._seconds)
        return _ruling(answer.ruling)


def _message(operation: Operation) -> contract_pb2.Operation:
    method = CONTRACTS[operation.contract].methods[operation.method]
    arguments = arguments_json(method, method.decode(operation.arguments))
    return contract_pb2.Operation(
        contract=operation.contract, method=operation.method, arguments_json=arguments
    )


def _request(message: pb.Request, ruling: pb.Ruling | None = None) -> CustodyRequest:
    return CustodyRequest(
        message.id,
        message.member,
        message.maker,
        message.content_hash,
        tuple((f"{each.contract}.{each.method}", each.arguments_json) for each in message.operations),
        message.reference,
        pb.Status.Name(message.status).removeprefix("STATUS_").lower(),
        message.created_ms,
        message.expires_ms,
        tuple(CustodyApproval(each.by, each.time_ms, each.certificate) for each in message.approvals),
        message.closed_by,
        message.reason,
        message.tx_id,
        message.signed_ms,
        message.codespace,
        message.code,
        message.height,
        None if ruling is None else _ruling(ruling),
    )


def _ruling(message: pb.Ruling) -> CustodyRuling:
    rules = tuple(
        CustodyRule(
            each.rule, each.total, tuple((line.count, tuple(line.of), line.missing) for line in each.slots)
        )
        for each in message.bindings
    )
    return CustodyRuling(rules, tuple(message.uncovered), message.missing, tuple(message.may_approve))
