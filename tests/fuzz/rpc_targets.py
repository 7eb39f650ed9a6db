"""Requests of every RPC, as bytes off the line, through everything that surrounds a call.

The server is the real one but for its sockets: where gRPC would register handlers, they are kept, and called
with raw bytes. A call ends with answers that can be sent or with a status that carries our ErrorInfo; a
status for a fault inside, which a client can do nothing about, is a finding.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import cache
from typing import Any, Final, NamedTuple, NoReturn
from unittest import mock

import grpc
import msgspec
from google.rpc import error_details_pb2, status_pb2

from node.engine.errors import NodeError
from node.ledger.errors import InvariantViolated
from node.pb.vostro.contract.v1 import contract_pb2
from node.pb.vostro.fund.v1 import fund_pb2
from node.pb.vostro.ledger.v1 import ledger_pb2
from node.pb.vostro.transaction.v1 import transaction_pb2
from node.services.interceptors import STATUS_DETAILS, Registrar
from node.services.server import RPCS, Parts, build_server
from node.storage.index import Index
from tests.fuzz.ledger_targets import transactions
from tests.fuzz.storage_targets import folder
from tests.fuzz.target import Target
from tests.kit import Consortium
from tests.services_kit import DirectEngine, backup, config_of, movements_of, no_file

CALL_SECONDS_MAX: Final = 0.02
"""A stream that goes on for ever is ended by its client."""
ANSWERS_MAX: Final = 50

_pack: Final = msgspec.msgpack.Encoder().encode


class Ended(Exception):
    """Where gRPC's abort raises."""


class Context:
    """One call, as far as the services look at it."""

    def __init__(self) -> None:
        self.status: status_pb2.Status | None = None
        self.written: list[Any] = []

    async def abort(self, code: grpc.StatusCode, details: str = "", metadata: Any = ()) -> NoReturn:
        """The end of a call."""
        assert code is not grpc.StatusCode.INTERNAL or metadata, details
        if metadata:  # the health service, a library's, has no details of ours
            self.status = status_pb2.Status.FromString(dict(metadata)[STATUS_DETAILS])
        raise grpc.aio.AbortError

    async def write(self, message: Any) -> None:
        """An answer of a stream."""
        self.written.append(message)

    def time_remaining(self) -> float:
        """The client's patience."""
        return CALL_SECONDS_MAX

    def auth_context(self) -> dict[str, Any]:
        """No TLS: the node's own operator, on loopback."""
        return {}

    def peer(self) -> str:
        """On loopback."""
        return "ipv4:127.0.0.1:1"

    def invocation_metadata(self) -> tuple[Any, ...]:
        """None."""
        return ()

    def done(self) -> bool:
        """Not yet."""
        return False

    def cancelled(self) -> bool:
        """Not yet."""
        return False

    def add_done_callback(self, callback: Any) -> None:
        """Nobody is told."""


class Registered:
    """Where gRPC's server stands: handlers by method."""

    def __init__(self) -> None:
        self.handlers: dict[str, Any] = {}

    def add_generic_rpc_handlers(self, handlers: tuple[Registrar]) -> None:
        """Keep what the registrar has; methods that nobody has are another test's affair."""
        self.handlers = handlers[0].handlers

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Any]) -> None:
        """The registrar has these, too."""

    def add_insecure_port(self, address: str) -> int:
        """No socket."""
        return 1


class Served(NamedTuple):
    """A consortium behind its handlers. faults: broken invariants that the node was told of."""

    loop: asyncio.AbstractEventLoop
    handlers: dict[str, Any]
    faults: list[InvariantViolated]


@cache
def served() -> Served:
    """One for all inputs."""
    loop, server, faults = asyncio.new_event_loop(), Registered(), list[InvariantViolated]()
    bank = Consortium()
    index = Index(folder() / "index", movements_of(bank), blocks=0)
    index.advance(bank.store, blocks_max=1_000)
    parts = Parts(DirectEngine(bank), bank.ledger, bank.store, index, no_file, backup, "1.2.3")

    async def build() -> None:
        with mock.patch("grpc.aio.server", return_value=server):
            build_server(config_of(folder()), parts, stop=faults.append)

    loop.run_until_complete(build())
    missing = set(RPCS) - set(server.handlers)
    assert not missing, missing
    return Served(loop, server.handlers, faults)


METHODS: Final = tuple(RPCS)


def requests() -> list[bytes]:
    """A call of every RPC: [its number, its requests...], empty ones and full ones."""
    first, *_ = transactions()
    full: dict[str, list[Any]] = {
        "TransactionService/Submit": [transaction_pb2.SubmitRequest(signed_transaction=first)],
        "TransactionService/SubmitBatch": [
            transaction_pb2.SubmitBatchRequest(signed_transactions=transactions())
        ],
        "TransactionService/SubmitStream": [
            transaction_pb2.SubmitStreamRequest(correlation=1, signed_transactions=transactions()[:2]),
            transaction_pb2.SubmitStreamRequest(correlation=2, signed_transactions=[first[:-1]]),
        ],
        "TransactionService/GetTransaction": [transaction_pb2.GetTransactionRequest(tx_id=bytes(32))],
        "FundService/GetBalances": [
            fund_pb2.GetBalancesRequest(
                keys=[fund_pb2.BalanceKey(account=name, asset="CZK") for name in ("PA/main", "PA/no", "\0")]
            )
        ],
        "ContractService/Query": [
            contract_pb2.QueryRequest(
                contract="members", query="get_member", arguments_json='{"member":"PA"}'
            )
        ],
        "LedgerService/GetBlock": [
            ledger_pb2.GetBlockRequest(height=3, include_leaves=True, include_receipts=True)
        ],
        "LedgerService/GetProof": [ledger_pb2.GetProofRequest(key=b"members\0key\0")],
        "LedgerService/StreamEvents": [ledger_pb2.StreamEventsRequest(account="PA/main")],
    }
    calls = [[number, b""] for number in range(len(METHODS))]
    for number, method in enumerate(METHODS):
        name = method.rpartition(".")[2].partition("v1.")[2] or method.rpartition(".")[2]
        calls += [[number, *(each.SerializeToString() for each in full.get(name, []))]]
    return [_pack(call) for call in calls]


def run_rpc(data: bytes) -> None:
    """A call of the RPC with that number."""
    try:
        call = msgspec.msgpack.decode(data)
    except ValueError:
        return
    match call:
        case [int(number), *messages] if messages and all(isinstance(each, bytes) for each in messages):
            one = served()
            one.loop.run_until_complete(_call(one, METHODS[number % len(METHODS)], messages))
            assert not one.faults, one.faults


async def _call(one: Served, method: str, messages: Sequence[bytes]) -> None:
    handler, context = one.handlers[method], Context()
    try:
        async with asyncio.timeout(CALL_SECONDS_MAX):
            for answer in await _answers(handler, messages, context):
                handler.response_serializer(answer)
    except (grpc.aio.AbortError, TimeoutError):
        pass
    if context.status is not None:
        _check(method, context.status)


async def _answers(handler: Any, messages: Sequence[bytes], context: Context) -> list[Any]:
    given: Any = _stream(messages) if handler.request_streaming else messages[0]
    function = handler.unary_unary or handler.unary_stream or handler.stream_stream
    said = function(given, context)
    if not hasattr(said, "__aiter__"):
        answer = await said
        return context.written if handler.response_streaming else [answer]
    taken: list[Any] = []
    async for each in said:
        taken.append(each)
        if len(taken) >= ANSWERS_MAX:
            break
    await said.aclose()
    return taken


async def _stream(messages: Sequence[bytes]) -> AsyncIterator[bytes]:
    for message in messages:
        yield message


def _check(method: str, status: status_pb2.Status) -> None:
    """The status is a refusal of ours, told by its ErrorInfo, and no fault."""
    infos = [each for each in status.details if each.Is(error_details_pb2.ErrorInfo.DESCRIPTOR)]
    assert len(infos) == 1, (method, status)
    info = error_details_pb2.ErrorInfo()
    infos[0].Unpack(info)
    assert info.domain == "vostro"
    assert info.reason != NodeError.INTERNAL.name, (method, status)


TARGETS: Final = (Target("rpc", "msgpack", requests, run_rpc),)
