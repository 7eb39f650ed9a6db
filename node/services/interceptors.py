"""What surrounds every call: decoding, the answer to every exception, the access log and the measure of time.

What always holds: protobuf is decoded here, out of raw bytes, so that what is malformed gets our coded answer
instead of Python's text; every exception ends as a status with our ErrorInfo; and only an invariant that
broke reaches further, to whoever can stop the node. Calls are wrapped once, when a service is registered, for
the same price as not at all.
"""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from typing import Any, Final, Self

import grpc
import structlog
from google.protobuf.message import DecodeError
from google.rpc import status_pb2

from node.engine.errors import Degraded, NodeError
from node.ledger.errors import InvariantViolated
from node.services.access import Access, row_of
from node.services.doors import Caller, Doors, Lasting
from node.services.identity import CALLER
from node.services.status import NotApplied, code_of, internal_status, status_of

REQUEST_BYTES_MAX: Final = 4 * 1024 * 1024
STATUS_DETAILS: Final = "grpc-status-details-bin"
QUEUED_APART: Final = frozenset(
    f"/vostro.transaction.v1.TransactionService/{name}" for name in ("Submit", "SubmitBatch")
)
"""Methods that many call at once, and whose calls must not stand before others."""

Observer = Callable[[str, str, float], None]
"""Told of every call when it ends: method, gRPC status name, seconds."""
Stop = Callable[[InvariantViolated], None]
"""Told when a call met an invariant that does not hold."""

_log = structlog.get_logger("vostro.rpc")


class Registrar(grpc.GenericRpcHandler):
    """Stands where generated code expects a server, wraps every handler that it is given, and has it for each
    call that comes.

    A server is given this one handler for all methods but those of QUEUED_APART. Of methods that are
    registered with a server gRPC keeps a queue and a task each, and goes through all tasks at every call: of
    seventy that would cost more than the call. Without any, reads would wait behind what is handed in.
    """

    def __init__(
        self, limits: Mapping[str, int], observe: Observer, stop: Stop, doors: Doors, *, access_log: bool
    ) -> None:
        """limits: full name of every method to answer -> bytes of a request message. doors: what a call
        passes first. access_log: a debug line a call.
        """
        self._limits = limits
        self._observe = observe
        self._stop = stop
        self._doors = doors
        self._access_log = access_log
        self._unknown: Any = grpc.stream_stream_rpc_method_handler(self._refuse)
        self.handlers: dict[str, Any] = {}
        """By the full names of their methods."""

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        """Generated code registers everything twice; the other way has the names."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Take those methods of a service that have a limit: a library's service declares more than it
        does.
        """
        self.handlers |= {
            method: self._wrapped(method, handler)
            for method, handler in ((f"/{service}/{name}", handler) for name, handler in handlers.items())
            if method in self._limits
        }

    def serve(self, server: grpc.aio.Server) -> None:
        """After the last service: have a server call what was taken."""
        apart: dict[str, dict[str, Any]] = {}
        for method in QUEUED_APART & self.handlers.keys():
            _, service, name = method.split("/")
            apart.setdefault(service, {})[name] = self.handlers[method]
        for service, handlers in sorted(apart.items()):
            server.add_registered_method_handlers(service, handlers)
        server.add_generic_rpc_handlers((self,))

    def service(self, handler_call_details: Any) -> Any:
        """The handler of a call; one that refuses it where nobody has its method."""
        return self.handlers.get(handler_call_details.method, self._unknown)

    def _wrapped(self, method: str, handler: Any) -> Any:
        decode = self._decoder(method, handler.request_deserializer)
        if handler.response_streaming:
            kind = (
                grpc.stream_stream_rpc_method_handler
                if handler.request_streaming
                else grpc.unary_stream_rpc_method_handler
            )
            function = handler.stream_stream or handler.unary_stream
            streams = self._streaming if inspect.isasyncgenfunction(function) else self._writing
            behaviour = streams(method, decode, function, requests=handler.request_streaming)
            return kind(behaviour, response_serializer=handler.response_serializer)
        behaviour = self._unary(method, decode, handler.unary_unary)
        return grpc.unary_unary_rpc_method_handler(behaviour, response_serializer=handler.response_serializer)

    def _decoder(self, method: str, parse: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
        most = self._limits.get(method, REQUEST_BYTES_MAX)

        def decode(data: bytes) -> Any:
            if len(data) > most:
                raise Degraded(
                    NodeError.BAD_REQUEST, reason="the request is too large", bytes=len(data), most=most
                )
            try:
                return parse(data)
            except DecodeError as error:
                raise Degraded(
                    NodeError.BAD_REQUEST, reason="the request is not a message of this method"
                ) from error

        return decode

    def _unary(self, method: str, decode: Callable[[bytes], Any], function: Any) -> Any:
        doors, row = self._doors, row_of(method)

        async def answer(data: bytes, context: Any) -> Any:
            async with _Watch(self, method, context) as watch:
                caller = watch.caller = doors.enter(row, context)
                CALLER.set(caller.identity)
                request = decode(data)
                doors.asked(row, caller, request)
                if row.waits:
                    with doors.lasting(row, caller) as watch.lasting:
                        response = await function(request, context)
                else:
                    response = await function(request, context)
                response = doors.shown(row, caller, response)
                watch.name(request, response)
                return response

        return answer

    def _streaming(
        self, method: str, decode: Callable[[bytes], Any], function: Any, *, requests: bool
    ) -> Any:
        doors, row = self._doors, row_of(method)

        async def answer(data: Any, context: Any) -> AsyncIterator[Any]:
            async with _Watch(self, method, context) as watch:
                caller = watch.caller = doors.enter(row, context)
                with doors.lasting(row, caller) as watch.lasting:
                    CALLER.set(caller.identity)
                    asked = self._asked(row, caller, decode, data, requests=requests)
                    async with aclosing(function(asked, context)) as responses:
                        async for response in responses:
                            yield response

        return answer

    def _writing(self, method: str, decode: Callable[[bytes], Any], function: Any, *, requests: bool) -> Any:
        doors, row = self._doors, row_of(method)

        async def answer(data: Any, context: Any) -> None:
            async with _Watch(self, method, context) as watch:
                caller = watch.caller = doors.enter(row, context)
                with doors.lasting(row, caller) as watch.lasting:
                    CALLER.set(caller.identity)
                    await function(self._asked(row, caller, decode, data, requests=requests), context)

        return answer

    def _asked(
        self, row: Access, caller: Caller, decode: Callable[[bytes], Any], data: Any, *, requests: bool
    ) -> Any:
        """The request of a stream, or its requests one after the other."""
        if requests:
            return self._each(row, caller, decode, data)
        request = decode(data)
        self._doors.asked(row, caller, request)
        return request

    async def _each(
        self, row: Access, caller: Caller, decode: Callable[[bytes], Any], data: AsyncIterator[bytes]
    ) -> AsyncIterator[Any]:
        async for item in data:
            request = decode(item)
            await self._doors.paced(row, caller, request)
            yield request

    async def _refuse(self, requests: Any, context: Any) -> None:
        async with _Watch(self, "unknown", context):
            raise Degraded(NodeError.METHOD_UNKNOWN)

    async def failed(self, watch: "_Watch", context: Any, error: BaseException) -> None:
        """End the call with the status of what went wrong. Not where that is done, nor where its client left:
        a call is cancelled by the doors, which say why, or by its client.
        """
        reason = error
        if isinstance(error, asyncio.CancelledError) and watch.lasting:
            reason = watch.lasting.take_end() or error
        if not isinstance(reason, Exception) or isinstance(reason, grpc.aio.AbortError):
            return
        status = status_of(reason)
        if status is None:
            status = internal_status()
            _log.error("a call failed", method=watch.method, exc_info=reason)
            if isinstance(reason, InvariantViolated):
                self._stop(reason)
        elif isinstance(reason, NotApplied):
            watch.name(reason.attachment)
        watch.code = code_of(status).name
        await _end(context, status)

    def ended(self, watch: "_Watch", seconds: float) -> None:
        """Tell the doors, and whoever watches, that a call is over."""
        if watch.caller:
            self._doors.leave(watch.caller)
        self._observe(watch.method, watch.code, seconds)
        if self._access_log:
            _log.debug(
                "call", method=watch.method, code=watch.code, ms=round(seconds * 1_000, 3), tx_id=watch.tx_id
            )

    @property
    def names_transactions(self) -> bool:
        """Whether anybody reads the transaction ids of calls."""
        return self._access_log


class _Watch:
    """One call: how long it takes and how it ends. Every exception inside ends as a status; what reaches
    further tells gRPC that the call is over.
    """

    __slots__ = ("_began", "_context", "_registrar", "caller", "code", "lasting", "method", "tx_id")

    def __init__(self, registrar: Registrar, method: str, context: Any) -> None:
        self._registrar = registrar
        self._context = context
        self._began = time.perf_counter()
        self.method = method
        self.code = ""
        self.tx_id = ""
        self.caller: Caller | None = None
        self.lasting: Lasting | None = None

    def name(self, *messages: Any) -> None:
        """Remember the transaction that a message names, for the access log."""
        if not self._registrar.names_transactions:
            return
        for message in messages:
            fields = message.DESCRIPTOR.fields_by_name
            named = message.receipt if "receipt" in fields else message
            self.tx_id = named.tx_id.hex() if "tx_id" in named.DESCRIPTOR.fields_by_name else self.tx_id

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _trace: object
    ) -> None:
        try:
            if error is not None:
                await self._registrar.failed(self, self._context, error)
        finally:
            if not self.code:
                self.code = (
                    "OK" if error is None else "ABORTED" if kind is grpc.aio.AbortError else "CANCELLED"
                )
            self._registrar.ended(self, time.perf_counter() - self._began)


async def _end(context: Any, status: status_pb2.Status) -> None:
    await context.abort(code_of(status), status.message, ((STATUS_DETAILS, status.SerializeToString()),))
