"""TransactionService: every way in which a change is answered, and that no call's end ends the deciding."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import grpc
import pytest
import pytest_asyncio

from contracts.assets import Assets
from node.engine.engine import Outcome
from node.engine.errors import Degraded, NodeError
from node.ledger import codec
from node.ledger.errors import InvariantViolated, LedgerError
from node.ledger.types import Receipt
from node.pb.vostro.transaction.v1 import transaction_pb2 as pb
from node.services.transaction_service import BATCH_MAX
from tests.kit import Consortium, pay
from tests.services_kit import WORD_SECONDS, DirectEngine, Face, is_code, refused, serving

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def face(tmp_path: Path) -> AsyncIterator[Face]:
    async with serving(tmp_path) as served:
        yield served


def payment(world: Consortium, amount: int = 1) -> bytes:
    return world.make("PA", pay("PA/main", "KB/main", amount))


async def test_an_applied_transaction_is_answered_with_its_receipt(face: Face) -> None:
    answer = await face.client.transactions.Submit(pb.SubmitRequest(signed_transaction=payment(face.world)))
    receipt = answer.receipt
    encoded: Receipt = codec.decoder(Receipt)(receipt.encoded)
    assert (encoded.tx_id, encoded.height, encoded.index) == (receipt.tx_id, receipt.height, receipt.index)
    assert (receipt.code, receipt.codespace, receipt.name, len(encoded.events)) == (0, "", "", 1)


async def test_a_refused_transaction_ends_with_its_status_and_its_receipt(face: Face) -> None:
    raw = payment(face.world, 10**9)
    answer = await refused(face.client.transactions.Submit(pb.SubmitRequest(signed_transaction=raw)))
    assert answer.code is grpc.StatusCode.FAILED_PRECONDITION
    assert is_code(answer, Assets.INSUFFICIENT_BALANCE, decided=True)
    receipt = pb.Receipt()
    assert answer.details[0].Unpack(receipt)
    assert (receipt.name, receipt.failed_operation) == ("INSUFFICIENT_BALANCE", 1)
    encoded: Receipt = codec.decoder(Receipt)(receipt.encoded)
    assert encoded.code == Assets.INSUFFICIENT_BALANCE.code
    assert answer.info.metadata["height"] == str(receipt.height)
    assert answer.retry_ms is None


async def test_the_same_bytes_again_get_the_first_outcome_whatever_it_was(face: Face) -> None:
    good, bad = payment(face.world), payment(face.world, 10**9)
    submit = face.client.transactions.Submit
    first = await submit(pb.SubmitRequest(signed_transaction=good))
    assert await submit(pb.SubmitRequest(signed_transaction=good)) == first
    refusals = [await refused(submit(pb.SubmitRequest(signed_transaction=bad))) for _ in range(2)]
    assert refusals[0] == refusals[1]
    batch = await face.client.transactions.SubmitBatch(pb.SubmitBatchRequest(signed_transactions=[good, bad]))
    assert batch.outcomes[0].receipt == first.receipt
    assert batch.outcomes[1].receipt.name == "INSUFFICIENT_BALANCE"


async def test_other_content_under_a_spent_request_id_is_told_who_spent_it(face: Face) -> None:
    world = face.world
    identifier = world.new_request_id()
    first = world.apply("PA", pay("PA/main", "KB/main", 1), use_id=identifier)
    again = world.make("PA", pay("PA/main", "KB/main", 2), use_id=identifier)
    answer = await refused(face.client.transactions.Submit(pb.SubmitRequest(signed_transaction=again)))
    assert is_code(answer, LedgerError.REQUEST_ID_SPENT)
    assert answer.info.metadata["spent_by"] == first.tx_id.hex()
    error = pb.Error()
    assert answer.details[0].Unpack(error)
    assert (error.spent_by, error.spent_receipt.tx_id) == (first.tx_id, first.tx_id)
    batch = await face.client.transactions.SubmitBatch(pb.SubmitBatchRequest(signed_transactions=[again]))
    assert batch.outcomes[0].error.spent_receipt.encoded == codec.encode(first)


async def test_a_batch_answers_each_transaction_in_its_place(face: Face) -> None:
    world = face.world
    items = [
        payment(world),
        b"no transaction",
        payment(world, 10**9),
        world.sign(world.body("PA", pay("PA/main", "KB/main", 1)), "stranger"),
    ]
    answer = await face.client.transactions.SubmitBatch(pb.SubmitBatchRequest(signed_transactions=items))
    kinds = [outcome.WhichOneof("outcome") for outcome in answer.outcomes]
    assert kinds == ["receipt", "error", "receipt", "error"]
    assert answer.outcomes[0].receipt.code == 0
    malformed, refusal, unsigned = (answer.outcomes[n] for n in (1, 2, 3))
    assert (malformed.error.name, malformed.error.category) == ("MALFORMED", pb.Category.CATEGORY_INVALID)
    assert (refusal.receipt.codespace, refusal.receipt.name) == ("assets", "INSUFFICIENT_BALANCE")
    assert (unsigned.error.name, unsigned.error.decided) == ("UNKNOWN_KEY", False)
    assert unsigned.error.details["key_id"]


async def test_a_batch_has_one_to_a_thousand_transactions(face: Face) -> None:
    for count in (0, BATCH_MAX + 1):
        request = pb.SubmitBatchRequest(signed_transactions=[b"x"] * count)
        assert is_code(await refused(face.client.transactions.SubmitBatch(request)), NodeError.BAD_REQUEST)
    assert face.engine.submitted == []
    request = pb.SubmitBatchRequest(signed_transactions=[b"x"] * BATCH_MAX)
    assert len((await face.client.transactions.SubmitBatch(request)).outcomes) == BATCH_MAX


async def test_a_batch_larger_than_four_mebibytes_is_taken_and_its_single_is_not(face: Face) -> None:
    large = b"x" * (5 * 1024 * 1024)
    face.engine.canned = [Outcome(error=LedgerError.TOO_LARGE)]
    batch = pb.SubmitBatchRequest(signed_transactions=[large])
    assert (await face.client.transactions.SubmitBatch(batch)).outcomes[0].error.name == "TOO_LARGE"
    single = await refused(face.client.transactions.Submit(pb.SubmitRequest(signed_transaction=large)))
    assert is_code(single, NodeError.BAD_REQUEST)
    assert single.info.metadata["most"] == str(4 * 1024 * 1024)


async def test_a_deadline_ends_the_waiting_and_not_the_deciding(face: Face) -> None:
    face.engine.gate = asyncio.Event()
    raw = payment(face.world)
    before = face.world.balance("KB/main")[0]
    answer = await refused(
        face.client.transactions.Submit(pb.SubmitRequest(signed_transaction=raw), timeout=0.3)
    )
    assert answer.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert is_code(answer, NodeError.UNKNOWN_OUTCOME)
    face.engine.gate.set()
    applied = await face.client.transactions.Submit(
        pb.SubmitRequest(signed_transaction=raw), timeout=WORD_SECONDS
    )
    assert face.engine.submitted == [raw, raw]
    assert face.world.balance("KB/main")[0] == before + 1
    assert applied.receipt.code == 0


async def test_a_call_that_is_cut_leaves_its_transaction_to_be_decided(face: Face) -> None:
    face.engine.gate = asyncio.Event()
    call = face.client.transactions.Submit(pb.SubmitRequest(signed_transaction=payment(face.world)))
    waiting = asyncio.ensure_future(call)
    await asyncio.wait_for(face.engine.arrived.wait(), WORD_SECONDS)
    call.cancel()
    await asyncio.wait([waiting])
    face.engine.gate.set()
    await asyncio.wait_for(face.engine.moved.wait(), WORD_SECONDS)
    assert len(face.engine.submitted) == 1


async def test_what_the_engine_raises_is_told_and_a_bug_is_told_without_its_text(face: Face) -> None:
    submit = face.client.transactions.Submit
    request = pb.SubmitRequest(signed_transaction=b"x")
    face.engine.failure = Degraded(NodeError.STARTING)
    answer = await refused(submit(request))
    assert is_code(answer, NodeError.STARTING)
    assert answer.retry_ms == 1_000
    face.engine.failure = RuntimeError("secret path /etc/passwd")
    answer = await refused(submit(request))
    assert answer.code is grpc.StatusCode.INTERNAL
    assert is_code(answer, NodeError.INTERNAL)
    assert "secret" not in str(answer)


async def test_a_stream_answers_batches_as_they_are_decided_under_their_numbers(tmp_path: Path) -> None:
    async with serving(tmp_path, GatedEngine) as face:
        world, engine = face.world, face.engine
        assert isinstance(engine, GatedEngine)
        call = face.client.transactions.SubmitStream()
        for number in (5, 6, 7):
            await call.write(pb.SubmitStreamRequest(correlation=number, signed_transactions=[payment(world)]))
        await engine.wait_for(3)
        for which in (2, 0, 1):
            engine.open(which)
            answer = await asyncio.wait_for(call.read(), WORD_SECONDS)
            assert answer.correlation == 5 + which
            assert answer.outcomes[0].receipt.code == 0
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF


async def test_a_stream_that_is_cut_leaves_its_transactions_to_be_decided(face: Face) -> None:
    face.engine.gate = asyncio.Event()
    call = face.client.transactions.SubmitStream()
    await call.write(pb.SubmitStreamRequest(correlation=1, signed_transactions=[payment(face.world)]))
    await asyncio.wait_for(face.engine.arrived.wait(), WORD_SECONDS)
    call.cancel()
    async with asyncio.timeout(WORD_SECONDS):
        while "SubmitStream" not in str(face.calls):  # until the server has seen the end of the stream
            await face.client.transactions.GetTransaction(pb.GetTransactionRequest(tx_id=b"")).code()
    face.engine.gate.set()
    await asyncio.wait_for(face.engine.moved.wait(), WORD_SECONDS)
    assert len(face.engine.submitted) == 1


async def test_a_bad_request_ends_a_stream_after_the_answers_before_it(tmp_path: Path) -> None:
    async with serving(tmp_path, GatedEngine) as face:
        world, engine = face.world, face.engine
        assert isinstance(engine, GatedEngine)
        call = face.client.transactions.SubmitStream()
        await call.write(pb.SubmitStreamRequest(correlation=1, signed_transactions=[payment(world)]))
        await call.write(pb.SubmitStreamRequest(correlation=2))
        await engine.wait_for(1)
        engine.open(0)
        assert (await asyncio.wait_for(call.read(), WORD_SECONDS)).correlation == 1
        assert is_code(await refused(call.read()), NodeError.BAD_REQUEST)


async def test_of_several_that_end_a_stream_at_once_the_gravest_is_told_and_stops_the_node(
    tmp_path: Path,
) -> None:
    failures = [Degraded(NodeError.OVERLOADED), RuntimeError("a bug"), InvariantViolated("broken")]
    async with serving(tmp_path, GatedEngine) as face:
        world, engine = face.world, face.engine
        assert isinstance(engine, GatedEngine)
        engine.failures = list(failures)
        call = face.client.transactions.SubmitStream()
        for number in range(len(failures)):
            await call.write(pb.SubmitStreamRequest(correlation=number, signed_transactions=[payment(world)]))
        await engine.wait_for(len(failures))
        for which in range(len(failures)):
            engine.open(which)
        assert is_code(await refused(call.read()), NodeError.INTERNAL)
        assert face.halts == failures[-1:]


async def test_waiting_for_a_transaction_ends_when_it_is_decided(face: Face) -> None:
    raw = payment(face.world)
    tx_id = face.world.ledger.read(raw).tx_id
    wait = face.client.transactions.WaitTransaction
    waiting = asyncio.ensure_future(wait(pb.WaitTransactionRequest(tx_id=tx_id), timeout=WORD_SECONDS))
    face.world.apply("PA", pay("PA/main", "KB/main", 1))
    face.engine.tell()
    await face.client.transactions.Submit(pb.SubmitRequest(signed_transaction=raw))
    answer = await waiting
    assert (answer.transaction.receipt.tx_id, answer.transaction.signed_transaction) == (tx_id, raw)
    assert (await wait(pb.WaitTransactionRequest(tx_id=tx_id))).transaction == answer.transaction


async def test_waiting_ends_with_unknown_outcome_when_the_deadline_passes(face: Face) -> None:
    wait = face.client.transactions.WaitTransaction
    answer = await refused(wait(pb.WaitTransactionRequest(tx_id=b"\x01" * 32), timeout=0.2))
    assert is_code(answer, NodeError.UNKNOWN_OUTCOME)


class GatedEngine(DirectEngine):
    """Decides each call when it is told to."""

    def __init__(self, world: Consortium) -> None:
        super().__init__(world)
        self.gates: list[asyncio.Event] = []
        self.failures: list[Exception] = []
        self.crowd = asyncio.Condition()

    async def decide(self, items: Sequence[bytes]) -> list[Outcome]:
        gate = asyncio.Event()
        async with self.crowd:
            self.gates.append(gate)
            self.crowd.notify_all()
        await gate.wait()
        if self.failures:
            raise self.failures.pop(0)
        return await super().decide(items)

    def open(self, which: int) -> None:
        self.gates[which].set()

    async def wait_for(self, count: int) -> None:
        async with asyncio.timeout(WORD_SECONDS), self.crowd:
            await self.crowd.wait_for(lambda: len(self.gates) >= count)
