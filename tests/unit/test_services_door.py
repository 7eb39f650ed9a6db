"""The door of the gRPC face: malformed bytes on every RPC, every category's status, the table of RPCs,
reflection and health.
"""

import asyncio
import importlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from structlog.testing import capture_logs

from node.config import ConfigError
from node.engine.engine import Outcome
from node.engine.errors import NodeError
from node.ledger.errors import Category, ErrorCode, InvariantViolated, Rejected
from node.pb.vostro.account.v1 import account_pb2
from node.pb.vostro.ledger.v1 import ledger_pb2
from node.pb.vostro.transaction.v1 import transaction_pb2
from node.services.interceptors import QUEUED_APART
from node.services.server import OPTIONS, RPCS, SERVICES, Parts, build_server
from node.services.status import CODES, code_of, status_of, told
from node.storage.errors import StorageCode, StorageError
from tests.kit import pay
from tests.services_kit import (
    WORD_SECONDS,
    Face,
    backup,
    config_of,
    is_code,
    no_file,
    read_refusal,
    refused,
    serving,
)

pytestmark = pytest.mark.asyncio

GARBAGE = (b"\xff", b"\x0a\xff\xff\xff\xff\x0f", b"\x0b" * 40, b"\x08")
"""A lone tag, a length beyond the end, groups that never end, a field without its value."""


@pytest_asyncio.fixture
async def face(tmp_path: Path) -> AsyncIterator[Face]:
    async with serving(tmp_path) as served:
        yield served


def described() -> dict[str, Any]:
    """Every RPC that the generated code of proto/ describes."""
    found = {}
    areas = (Path(__file__).parents[2] / "proto" / "vostro").iterdir()
    for area in sorted(path.name for path in areas):
        module = importlib.import_module(f"node.pb.vostro.{area}.v1.{area}_pb2")
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                found[f"/{service.full_name}/{method.name}"] = method
    return found


async def test_the_table_of_rpcs_is_what_proto_describes_and_what_has_handlers(face: Face) -> None:
    assert set(described()) == {method for method in RPCS if method.startswith("/vostro.")}
    unimplemented = []
    for method, descriptor in described().items():
        if not descriptor.client_streaming and not descriptor.server_streaming:
            call = face.channel.unary_unary(method)
            code = grpc.StatusCode.OK
            try:
                await call(b"", timeout=0.5)
            except grpc.aio.AioRpcError as error:
                code = error.code()
            if code is grpc.StatusCode.UNIMPLEMENTED:
                unimplemented.append(method)
    absent = [m for m in unimplemented if m.startswith(("/vostro.custody.v1.", "/vostro.vault.v1."))]
    assert len(absent) >= 9, "this node has no custody and no vault"
    assert [method for method in unimplemented if method not in absent] == [
        "/vostro.consensus.v1.ConsensusService/Ask",
        "/vostro.consensus.v1.ConsensusService/ListHandovers",
        "/vostro.contract.v1.ContractService/GetSchema",
        "/vostro.contract.v1.ContractService/Query",
    ], "no such contract; no CometBFT beside this node"


@pytest.mark.parametrize("method", RPCS)
@pytest.mark.evidence(
    "PRT1", asset="the port", threat="malformed requests", mitigation="decoded behind limits"
)
async def test_malformed_bytes_get_our_coded_answer_on_every_rpc(face: Face, method: str) -> None:
    for data in GARBAGE:
        answer = await refused(face.channel.stream_stream(method)(_once(data), timeout=WORD_SECONDS))
        assert answer.code is grpc.StatusCode.INVALID_ARGUMENT, data
        assert is_code(answer, NodeError.BAD_REQUEST), data
    assert await observed(face, len(GARBAGE)) == [(method, "INVALID_ARGUMENT")] * len(GARBAGE)


async def observed(face: Face, count: int) -> list[tuple[str, str]]:
    """Method and code of the calls so far, once there are so many: a call is observed after its answer."""
    async with asyncio.timeout(WORD_SECONDS):
        while len(face.calls) < count:  # noqa: ASYNC110 - the observer tells nobody
            await asyncio.sleep(0.001)
    return [(name, code) for name, code, _ in face.calls]


async def test_a_text_that_is_not_utf8_is_malformed(face: Face) -> None:
    call = face.channel.unary_unary("/vostro.account.v1.AccountService/GetAccount")
    assert is_code(await refused(call(b"\x0a\x02\xc3\x28", timeout=WORD_SECONDS)), NodeError.BAD_REQUEST)


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def test_what_is_handed_in_queues_apart_from_everything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one queue with it no read came through beside an overload."""
    apart: set[str] = set()
    kind: Any = type(grpc.aio.server())
    original = kind.add_registered_method_handlers

    def noted(self: Any, service: str, handlers: Any) -> None:
        apart.update(f"/{service}/{name}" for name in handlers)
        original(self, service, handlers)

    monkeypatch.setattr(kind, "add_registered_method_handlers", noted)
    async with serving(tmp_path) as served:
        assert apart == QUEUED_APART
        assert apart < RPCS.keys()
        await served.client.chain.GetStatus(ledger_pb2.GetStatusRequest(), timeout=WORD_SECONDS)
        pending = served.client.transactions.Submit(transaction_pb2.SubmitRequest(), timeout=WORD_SECONDS)
        assert (await refused(pending)).code is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_method_that_does_not_exist_is_told_so_with_a_code(face: Face) -> None:
    for method in ("/vostro.fund.v1.FundService/Steal", "/no.Such/Thing"):
        answer = await refused(face.channel.unary_unary(method)(b"", timeout=WORD_SECONDS))
        assert is_code(answer, NodeError.METHOD_UNKNOWN), method


@pytest.mark.parametrize("category", Category)
async def test_every_category_has_its_status_and_its_advice(face: Face, category: Category) -> None:
    error = ErrorCode(77, category, f"Sentence of {category.name}.")
    error.codespace, error.name = "test", "NAME"
    face.engine.canned = [Outcome(error=error, details={"what": "x" * 500}, decided=True, height=9)]
    request = transaction_pb2.SubmitRequest(signed_transaction=b"x")
    answer = await refused(face.client.transactions.Submit(request))
    assert answer.code is CODES[category]
    assert is_code(answer, error, decided=True)
    assert answer.info.metadata["height"] == "9"
    assert len(answer.info.metadata["what"]) == 200
    assert (answer.retry_ms is not None) == (category in (Category.OVERLOADED, Category.UNAVAILABLE))
    batch = transaction_pb2.SubmitBatchRequest(signed_transactions=[b"x"])
    (outcome,) = (await face.client.transactions.SubmitBatch(batch)).outcomes
    assert outcome.error.category == transaction_pb2.Category.Value(f"CATEGORY_{category.name}")
    assert (outcome.error.decided, outcome.error.height, outcome.error.sentence) == (True, 9, error.sentence)


async def test_the_table_of_statuses_is_the_one_of_the_architecture() -> None:
    assert {category.name: code.name for category, code in CODES.items()} == {
        "INVALID": "INVALID_ARGUMENT",
        "UNAUTHENTICATED": "UNAUTHENTICATED",
        "PERMISSION_DENIED": "PERMISSION_DENIED",
        "NOT_FOUND": "NOT_FOUND",
        "ALREADY_EXISTS": "ALREADY_EXISTS",
        "PRECONDITION": "FAILED_PRECONDITION",
        "CONFLICT": "ABORTED",
        "OUT_OF_RANGE": "OUT_OF_RANGE",
        "OVERLOADED": "RESOURCE_EXHAUSTED",
        "UNAVAILABLE": "UNAVAILABLE",
        "UNKNOWN_OUTCOME": "DEADLINE_EXCEEDED",
        "UNIMPLEMENTED": "UNIMPLEMENTED",
        "CORRUPTED": "DATA_LOSS",
        "INTERNAL": "INTERNAL",
    }


@pytest.mark.evidence(
    "PRT1", asset="the port", threat="malformed requests", mitigation="decoded behind limits"
)
async def test_what_storage_says_reaches_a_client_without_its_paths() -> None:
    for error, expected in (
        (StorageCode.SHARD_DAMAGED, NodeError.CORRUPTED),
        (StorageCode.DISK_LOW, NodeError.DISK_LOW),
        (StorageCode.IO_FAILED, NodeError.STOPPED),
    ):
        status = status_of(StorageError(error, path="/var/lib/vostro", cause="bit"))
        assert status
        info = error_details_pb2.ErrorInfo()
        status.details[0].Unpack(info)
        assert (info.reason, code_of(status)) == (expected.name, CODES[expected.category])
        assert "/var" not in str(status)


async def test_an_invariant_that_broke_in_a_read_stops_the_node(
    face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(key: bytes) -> None:
        raise InvariantViolated(f"the tree is torn at {key!r}")

    monkeypatch.setattr(face.world.ledger, "prove", broken)
    answer = await refused(face.client.chain.GetProof(ledger_pb2.GetProofRequest(key=b"k")))
    assert is_code(answer, NodeError.INTERNAL)
    assert [str(halt) for halt in face.halts] == ["the tree is torn at b'k'"]


async def test_a_refusal_with_a_large_particular_still_fits_into_a_status() -> None:
    error = ErrorCode(1, Category.INVALID, "No.")
    assert told({"n": 5, "long": "y" * 10_000}) == {"n": "5", "long": "y" * 200}
    status = status_of(Rejected(error, long="y" * 100_000))
    assert status
    assert status.ByteSize() < 1_000


async def test_every_call_is_observed_once_with_its_status(face: Face) -> None:
    await face.client.accounts.GetAccount(account_pb2.GetAccountRequest(account="PA/main"))
    await refused(face.client.accounts.GetAccount(account_pb2.GetAccountRequest(account="PA/none")))
    method = "/vostro.account.v1.AccountService/GetAccount"
    assert await observed(face, 2) == [(method, "OK"), (method, "NOT_FOUND")]
    assert all(0 < seconds < WORD_SECONDS for *_, seconds in face.calls)


async def test_the_access_log_names_the_transaction_at_debug_level_only(tmp_path: Path) -> None:
    for level, lines in (("debug", 1), ("info", 0)):
        folder = tmp_path / level
        folder.mkdir()
        async with serving(folder, log_level=level) as face:
            raw = face.world.make("PA", pay("PA/main", "KB/main", 1))
            with capture_logs() as told_lines:
                request = transaction_pb2.SubmitRequest(signed_transaction=raw)
                receipt = (await face.client.transactions.Submit(request)).receipt
            assert len(told_lines) == lines
            for line in told_lines:
                assert (line["tx_id"], line["code"]) == (receipt.tx_id.hex(), "OK")
                assert line["method"].endswith("/Submit")


async def test_reflection_lists_every_service(face: Face) -> None:
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(face.channel)
    call = stub.ServerReflectionInfo(timeout=WORD_SECONDS)
    await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    answer = await call.read()
    assert {service.name for service in answer.list_services_response.service} == set(SERVICES)
    await call.write(
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="vostro.fund.v1.FundService")
    )
    described_file = await call.read()
    assert described_file.file_descriptor_response.file_descriptor_proto
    await call.done_writing()


async def test_health_says_serving_for_the_node_and_each_service(face: Face) -> None:
    stub: Any = health_pb2_grpc.HealthStub(face.channel)
    for service in ("", *SERVICES):
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING, service
    with pytest.raises(grpc.aio.AioRpcError) as unknown:
        await stub.Check(health_pb2.HealthCheckRequest(service="nothing"))
    assert unknown.value.code() is grpc.StatusCode.NOT_FOUND
    watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=WORD_SECONDS)
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
    watch.cancel()


async def test_without_tls_only_loopback_is_listened_on(tmp_path: Path, face: Face) -> None:
    parts = Parts(face.engine, face.world.ledger, face.world.store, None, no_file, backup, "1")
    for listen in ("0.0.0.0:0", "[::]:0", "bank.example:7600", "7600"):
        with pytest.raises(ConfigError, match="loopback"):
            build_server(config_of(tmp_path, listen=listen), parts)
    with pytest.raises(ConfigError, match="cannot listen"):
        build_server(config_of(tmp_path, listen=f"127.0.0.1:{face.port}"), parts)


async def test_the_door_states_every_limit_that_a_peer_could_lean_on() -> None:
    stated = {name for name, _ in OPTIONS}
    assert {
        "grpc.max_receive_message_length",
        "grpc.max_send_message_length",
        "grpc.max_metadata_size",
        "grpc.max_concurrent_streams",
        "grpc.server_handshake_timeout_ms",
        "grpc.keepalive_time_ms",
        "grpc.keepalive_timeout_ms",
        "grpc.max_connection_age_ms",
    } <= stated


async def test_a_cut_answer_is_not_mistaken_for_ours(face: Face) -> None:
    """What gRPC itself refuses carries no ErrorInfo: no decision, and the reader of refusals says so."""
    call = face.channel.unary_unary("/vostro.transaction.v1.TransactionService/SubmitBatch")
    with pytest.raises(grpc.aio.AioRpcError) as cut:
        await call(b"x" * (9 * 1024 * 1024), timeout=WORD_SECONDS)
    with pytest.raises(AssertionError, match="no details"):
        read_refusal(cut.value)
