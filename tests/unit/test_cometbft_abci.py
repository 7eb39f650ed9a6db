"""Frames, converters and the ABCI socket: what arrives is cut, understood, answered in order, and a failure
is never an answer.
"""

import asyncio
import os
import random
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from node.engine.cometbft import abci
from node.engine.cometbft.abci_server import AbciServer, Call, SocketRefused
from node.engine.cometbft.abci_wire import Frames, Malformed, answer, decode_request, frame
from node.pb.cometbft.abci.v2 import abci_pb2 as pb
from tests.comet_kit import until
from tests.engine.comet_counter import CountingApplication

SECONDS = 20.0
KEY = bytes(range(32))


class Recorder(CountingApplication):
    """Answers with values that a test can find again; ``gate`` holds check_tx up."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[object] = []
        self.gate: asyncio.Event | None = None
        self.failing = ""

    async def check_tx(self, tx: bytes, *, recheck: bool) -> abci.CheckTxAnswer:
        self.seen.append((tx, recheck))
        if self.gate:
            await self.gate.wait()
        if self.failing == "check_tx":
            raise ConnectionResetError("the application's own")
        return abci.CheckTxAnswer(gas_wanted=len(tx), log=tx.decode())

    async def finalize_block(self, block: abci.DecidedBlock) -> abci.FinalizeAnswer:
        self.seen.append(block)
        return abci.FinalizeAnswer(
            b"hash",
            (abci.TxResult(gas_used=3),),
            (abci.ValidatorPower(KEY, 0),),
            abci.ConsensusParams(1, 2, 3, 4_000_000_005, 6, 7),
        )

    async def prepare_proposal(self, proposal: abci.Proposal) -> Sequence[bytes]:
        self.seen.append(proposal)
        return proposal.txs[::-1]

    async def list_snapshots(self) -> Sequence[abci.Snapshot]:
        return [abci.Snapshot(9, 1, 3, b"h", b"m")]

    async def offer_snapshot(self, snapshot: abci.Snapshot, app_hash: bytes) -> abci.OfferResult:
        self.seen.append((snapshot, app_hash))
        return abci.OfferResult.REJECT_SENDER

    async def load_snapshot_chunk(self, height: int, format_: int, chunk: int) -> bytes:
        return b"%d/%d/%d" % (height, format_, chunk)

    async def apply_snapshot_chunk(self, index: int, chunk: bytes, sender: str) -> abci.ApplyAnswer:
        self.seen.append((index, chunk, sender))
        return abci.ApplyAnswer(abci.ApplyResult.RETRY, (index,), (sender,))


def check_tx(tx: bytes) -> bytes:
    return frame(pb.Request(check_tx=pb.CheckTxRequest(tx=tx)).SerializeToString())


FLUSH = frame(pb.Request(flush=pb.FlushRequest()).SerializeToString())
INFO = frame(pb.Request(info=pb.InfoRequest(version="0.39.4", abci_version="2.0.0")).SerializeToString())


async def ask(application: abci.Application, request: pb.Request) -> pb.Response:
    kind, decoded = decode_request(request.SerializeToString())
    return await answer(application, kind, decoded)


# --- frames ---------------------------------------------------------------------------------------------


def test_messages_cut_anywhere_arrive_whole_and_in_order() -> None:
    chance = random.Random(7)
    cases = 0
    for _ in range(200):
        messages = [chance.randbytes(chance.choice((0, 1, 127, 128, 300, 20_000))) for _ in range(6)]
        stream = b"".join(map(frame, messages))
        frames, got = Frames(20_000), []
        while stream:
            size = chance.choice((1, 2, 3, 50, 5_000, 60_000))
            got += list(frames.feed(stream[:size]))
            stream = stream[size:]
        assert got == messages
        cases += 1
    print(f"{cases} streams cut at random")


def test_a_message_beyond_the_bound_is_refused_before_it_arrives() -> None:
    assert list(Frames(300).feed(frame(bytes(300)))) == [bytes(300)]
    with pytest.raises(Malformed, match="300 at most"):
        list(Frames(300).feed(frame(bytes(301))[:2]))
    with pytest.raises(Malformed, match="does not end"):
        list(Frames(2**40).feed(b"\x80" * 5))


@pytest.mark.parametrize(
    "message",
    [b"\xff\xff", pb.Request().SerializeToString(), b"\xaa\x01\x00"],
    ids=["noise", "empty", "kind 21"],
)
def test_what_is_no_request_is_refused(message: bytes) -> None:
    with pytest.raises(Malformed):
        decode_request(message)


# --- converters -----------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_decided_block_is_told_whole_and_answered_whole() -> None:
    application = Recorder()
    validator = pb.Validator(address=b"a" * 20, power=5)
    request = pb.FinalizeBlockRequest(
        txs=[b"x", b""],
        decided_last_commit=pb.CommitInfo(
            round=2, votes=[pb.VoteInfo(validator=validator, block_id_flag=pb.BLOCK_ID_FLAG_NIL)]
        ),
        misbehavior=[
            pb.Misbehavior(
                type=pb.MISBEHAVIOR_TYPE_DUPLICATE_VOTE,
                validator=validator,
                height=3,
                time=Timestamp(seconds=1, nanos=2),
                total_voting_power=40,
            )
        ],
        hash=b"b" * 32,
        height=4,
        time=Timestamp(seconds=1_700_000_000, nanos=123_999_999),
        proposer_address=b"p" * 20,
    )
    said = (await ask(application, pb.Request(finalize_block=request))).finalize_block
    (block,) = application.seen
    assert isinstance(block, abci.DecidedBlock)
    assert (block.height, block.txs, block.hash) == (4, (b"x", b""), b"b" * 32)
    assert (block.time_ns, block.time_ms) == (1_700_000_000_123_999_999, 1_700_000_000_123)
    assert block.last_commit == abci.LastCommit(2, (abci.Vote(b"a" * 20, 5, abci.BlockVote.NIL),))
    kind = abci.MisbehaviorKind.DUPLICATE_VOTE
    assert block.misbehavior == (abci.Misbehavior(kind, b"a" * 20, 5, 3, 1_000_000_002, 40),)
    assert (said.app_hash, said.tx_results[0].gas_used) == (b"hash", 3)
    assert (said.validator_updates[0].pub_key.ed25519, said.validator_updates[0].power) == (KEY, 0)
    params = said.consensus_param_updates
    assert (params.block.max_bytes, params.block.max_gas, params.version.app) == (1, 2, 7)
    assert (params.evidence.max_age_duration.seconds, params.evidence.max_age_duration.nanos) == (4, 5)
    assert params.validator.pub_key_types == ["ed25519"]


@pytest.mark.asyncio
async def test_proposals_and_snapshots_go_there_and_back() -> None:
    application = Recorder()
    proposal = pb.PrepareProposalRequest(txs=[b"1", b"2"], max_tx_bytes=99, height=7)
    said = await ask(application, pb.Request(prepare_proposal=proposal))
    assert list(said.prepare_proposal.txs) == [b"2", b"1"]
    process = pb.ProcessProposalRequest(txs=[b"bad"], height=7)
    assert (await ask(application, pb.Request(process_proposal=process))).process_proposal.status == 2
    process.txs[0] = b"good"
    assert (await ask(application, pb.Request(process_proposal=process))).process_proposal.status == 1
    listed = (await ask(application, pb.Request(list_snapshots=pb.ListSnapshotsRequest()))).list_snapshots
    offer = pb.OfferSnapshotRequest(snapshot=listed.snapshots[0], app_hash=b"app")
    offered = await ask(application, pb.Request(offer_snapshot=offer))
    assert offered.offer_snapshot.result == pb.OFFER_RESULT_REJECT_SENDER
    load = pb.LoadSnapshotChunkRequest(height=9, format=1, chunk=2)
    loaded = await ask(application, pb.Request(load_snapshot_chunk=load))
    assert loaded.load_snapshot_chunk.chunk == b"9/1/2"
    apply = pb.ApplySnapshotChunkRequest(index=2, chunk=b"c", sender="s")
    applied = (await ask(application, pb.Request(apply_snapshot_chunk=apply))).apply_snapshot_chunk
    assert (applied.result, list(applied.refetch_chunks), list(applied.reject_senders)) == (3, [2], ["s"])
    assert application.seen[1:] == [(abci.Snapshot(9, 1, 3, b"h", b"m"), b"app"), (2, b"c", "s")]


@pytest.mark.asyncio
async def test_vote_extensions_are_empty_and_any_other_is_rejected() -> None:
    application = Recorder()
    said = await ask(application, pb.Request(extend_vote=pb.ExtendVoteRequest(height=1)))
    assert said.extend_vote.vote_extension == b""
    for extension, status in ((b"", pb.VERIFY_STATUS_ACCEPT), (b"x", pb.VERIFY_STATUS_REJECT)):
        request = pb.VerifyVoteExtensionRequest(vote_extension=extension)
        said = await ask(application, pb.Request(verify_vote_extension=request))
        assert said.verify_vote_extension.status == status


@pytest.mark.asyncio
async def test_a_validator_with_a_key_of_another_kind_is_refused() -> None:
    request = pb.InitChainRequest(validators=[pb.ValidatorUpdate(power=1)])
    with pytest.raises(Malformed, match="Ed25519"):
        await ask(Recorder(), pb.Request(init_chain=request))


# --- the socket -----------------------------------------------------------------------------------------


class Bench:
    """A server, and what it told."""

    def __init__(self, application: Recorder, path: Path, bytes_max: int = 100_000) -> None:
        self.application = application
        self.path = path
        self.failures: list[BaseException] = []
        self.trace: list[Call] = []
        self.closed: list[int] = []
        self.lines: list[Line] = []
        self.server = AbciServer(
            application,
            path,
            failed=self.failures.append,
            closed=self.closed.append,
            trace=self.trace.append,
            frame_bytes_max=bytes_max,
        )

    async def connect(self) -> "Line":
        self.lines.append(Line(*await asyncio.open_unix_connection(str(self.path))))
        return self.lines[-1]


class Line:
    """One connection, as CometBFT has it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.frames = Frames(1_000_000)
        self.waiting: list[pb.Response] = []
        self.reads = 0

    async def next(self) -> pb.Response | None:
        """The next answer; None once the line is closed."""
        while not self.waiting:
            data = await asyncio.wait_for(self.reader.read(1_000_000), SECONDS)
            if not data:
                return None
            self.reads += 1
            self.waiting = [pb.Response.FromString(message) for message in self.frames.feed(data)]
        return self.waiting.pop(0)

    async def ask(self, request: bytes) -> pb.Response:
        self.writer.write(request)
        said = await self.next()
        assert said is not None
        return said


@asynccontextmanager
async def serving(bytes_max: int = 100_000) -> AsyncIterator[Bench]:
    with tempfile.TemporaryDirectory(prefix="va-") as folder:
        bench = Bench(Recorder(), Path(folder) / "abci.sock", bytes_max)
        await bench.server.start()
        try:
            yield bench
        finally:
            for line in bench.lines:
                line.writer.close()
            await bench.server.stop()
            assert not bench.path.exists()


@pytest.mark.asyncio
async def test_many_frames_in_one_read_are_answered_in_order_and_in_few_writes() -> None:
    async with serving() as bench:
        line = await bench.connect()
        line.writer.write(b"".join(check_tx(b"%d" % number) for number in range(500)) + FLUSH)
        said = [await line.next() for _ in range(501)]
        assert [each.check_tx.log for each in said[:-1] if each] == [str(number) for number in range(500)]
        assert said[-1] is not None
        assert said[-1].WhichOneof("value") == "flush"
        assert line.reads < 50, "answers are joined"
        assert [call.name for call in bench.trace] == ["check_tx"] * 500 + ["flush"]


@pytest.mark.asyncio
async def test_mempool_work_that_hangs_or_floods_does_not_hold_up_consensus() -> None:
    async with serving() as bench:
        mempool, consensus = await bench.connect(), await bench.connect()
        bench.application.gate = asyncio.Event()
        mempool.writer.write(check_tx(b"slow") * 1_000)
        commit = frame(pb.Request(process_proposal=pb.ProcessProposalRequest(height=1)).SerializeToString())
        assert (await consensus.ask(commit)).process_proposal.status == pb.PROPOSAL_STATUS_ACCEPT
        bench.application.gate.set()
        said = await mempool.next()
        assert said is not None
        before = len(bench.application.seen)
        assert (await consensus.ask(commit)).process_proposal.status == pb.PROPOSAL_STATUS_ACCEPT
        assert before < 1_000, "consensus was answered while the flood was worked on"


@pytest.mark.asyncio
async def test_an_exception_is_told_as_one_closes_every_line_and_reaches_the_node() -> None:
    async with serving() as bench:
        other, line = await bench.connect(), await bench.connect()
        assert (await other.ask(INFO)).info.data == "counter"
        line.writer.write(check_tx(b"fine"))
        first = await line.next()
        assert first is not None
        bench.application.failing = "check_tx"
        line.writer.write(FLUSH + check_tx(b"no"))
        assert [each.WhichOneof("value") for each in (await line.next(), await line.next()) if each] == [
            "flush",
            "exception",
        ]
        assert await line.next() is None
        assert await other.next() is None
        assert [type(error) for error in bench.failures] == [ConnectionResetError]
        await until(lambda: bench.closed == [os.getpid()] * 2, "both lines told")


@pytest.mark.asyncio
async def test_what_is_no_abci_closes_its_line_and_nothing_else() -> None:
    async with serving(bytes_max=1_000) as bench:
        other, line = await bench.connect(), await bench.connect()
        said = await line.ask(FLUSH + frame(bytes(1_001)))
        assert said.WhichOneof("value") == "flush"
        refused = await line.next()
        assert refused is not None
        assert "1000 at most" in refused.exception.error
        assert await line.next() is None
        assert (await other.ask(INFO)).info.data == "counter"
        assert bench.failures == []


@pytest.mark.asyncio
async def test_a_new_cometbft_is_served_after_the_last_call_of_the_one_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    processes = iter([101, 202])
    monkeypatch.setattr("node.engine.cometbft.abci_server._peer", lambda _writer: next(processes))
    async with serving() as bench:
        bench.application.gate = asyncio.Event()
        old = await bench.connect()
        old.writer.write(check_tx(b"in progress"))
        await until(lambda: bool(bench.application.seen), "the first call")
        old.writer.close()
        new = await bench.connect()
        new.writer.write(INFO)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(new.reader.read(1)), 0.2)
        assert [call.name for call in bench.trace] == ["check_tx"]
        bench.application.gate.set()
        await until(lambda: len(bench.trace) == 2, "the second call")
        assert [(call.run, call.name) for call in bench.trace] == [(1, "check_tx"), (2, "info")]


@pytest.mark.asyncio
async def test_a_socket_left_by_a_crash_is_replaced_and_a_long_path_is_refused(tmp_path: Path) -> None:
    async with serving() as bench:
        again = AbciServer(bench.application, bench.path, failed=bench.failures.append)
        await again.start()
        assert (bench.path.stat().st_mode & 0o777) == 0o600
        await again.stop()
    failures: list[BaseException] = []
    long = AbciServer(Recorder(), tmp_path / ("x" * 120), failed=failures.append)
    with pytest.raises(SocketRefused, match="too long"):
        await long.start()
