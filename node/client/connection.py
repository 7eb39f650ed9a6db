"""A channel to one node, and what gRPC's answers mean: the only file of the client that reads statuses and
error details.

A read is repeated until its deadline while the node is away or busy; a change never passes through here
(submission.py).
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from node.client.errors import ClientError, Declined, Refused, Unreachable
from node.client.retry import Backoff

Q = TypeVar("Q")
R = TypeVar("R")

MESSAGE_BYTES_MAX: Final = 16 * 1024 * 1024
ATTEMPT_SECONDS_MAX: Final = 30.0
_DETAILS: Final = "grpc-status-details-bin"
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
)
_BUSY: Final = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,  # the node is stopping
)


@dataclass(frozen=True, slots=True)
class Tls:
    """The three PEM files of mutual TLS: whom to trust, and who we are."""

    ca: Path
    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Answer:
    """What a failed call said. error: ours, where it carried our ErrorInfo; retry: whether trying again may
    help; wait: as it asked.
    """

    error: ClientError
    retry: bool
    wait: float


def open_channel(target: str, tls: Tls | None) -> grpc.aio.Channel:
    """A channel; it connects when it is used. Raises OSError where a TLS file cannot be read."""
    if tls is None:
        return grpc.aio.insecure_channel(target, options=_OPTIONS)
    ca, key, certificate = (path.read_bytes() for path in (tls.ca, tls.key, tls.certificate))
    return grpc.aio.secure_channel(
        target, grpc.ssl_channel_credentials(ca, key, certificate), options=_OPTIONS
    )


def answer_of(failure: grpc.aio.AioRpcError, target: str) -> Answer:
    """What a failed call means."""
    wait, info = 0.0, None
    with suppress(DecodeError):  # a detail that is none says nothing
        for detail in _details(failure):
            if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
                told = error_details_pb2.ErrorInfo()
                detail.Unpack(told)
                info = told
            elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
                asked = error_details_pb2.RetryInfo()
                detail.Unpack(asked)
                wait = max(asked.retry_delay.seconds + asked.retry_delay.nanos / 1e9, 0.0)
    retry = failure.code() in _BUSY
    if info is None:
        return Answer(
            Unreachable(f"{target} does not answer: {failure.code().name}, {failure.details()}"), retry, wait
        )
    metadata = dict(info.metadata)
    number, decided = metadata.pop("code", "0"), metadata.pop("decided", "") == "true"
    kind = Refused if decided else Declined
    codespace = metadata.pop("codespace", "") or info.domain
    refusal = kind(codespace, int(number) if number.isdigit() else 0, details=metadata)
    return Answer(
        Unreachable(f"{target}: {refusal}") if retry and not decided else refusal, retry and not decided, wait
    )


async def ask(
    stub: Callable[..., Awaitable[R]],
    request: Q,
    *,
    target: str,
    seconds: float,
) -> R:
    """Call a read until it answers. Raises Declined (unknown thing, bad argument), Unreachable (no answer
    before the deadline).
    """
    backoff = Backoff(seconds)
    while True:
        try:
            return await stub(request, timeout=max(min(backoff.remaining, ATTEMPT_SECONDS_MAX), 0.001))
        except grpc.aio.AioRpcError as failure:
            answer = answer_of(failure, target)
            if not answer.retry or not await backoff.wait(answer.wait):
                raise answer.error from failure


def _details(failure: grpc.aio.AioRpcError) -> list[status_pb2.Status]:
    for name, value in failure.trailing_metadata() or ():
        if name == _DETAILS and isinstance(value, bytes):
            try:
                return list(status_pb2.Status.FromString(value).details)
            except DecodeError:
                return []
    return []
