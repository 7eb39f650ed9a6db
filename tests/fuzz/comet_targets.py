"""Decoders of what CometBFT says: its answers of the RPC, the frames of its ABCI connections, its log."""

import asyncio
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import h11
import msgspec
from google.protobuf.timestamp_pb2 import Timestamp

from node.engine.cometbft.abci_wire import Frames, Malformed, answer, decode_request, frame, height_of
from node.engine.cometbft.answers import AnswerRefused, read_signed_header
from node.engine.cometbft.inherited import decode_link as decode_handover
from node.engine.cometbft.light import CommitRefused, check_signed_header, decode_signed_header
from node.engine.cometbft.process_log import ProcessLog
from node.engine.cometbft.rpc import RpcClient, RpcError, _Connection
from node.keys.verify import VERIFIERS
from node.ledger import codec
from node.pb.cometbft.abci.v2 import abci_pb2 as pb
from tests.fuzz.ledger_targets import VECTORS
from tests.fuzz.target import Target
from tests.unit.test_cometbft_abci import Recorder

FRAME_BYTES_MAX: Final = 4_096


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


@cache
def recorded() -> tuple[dict[str, Any], ...]:
    """Commits and validator sets as a real CometBFT answered them."""
    runs = json.loads((VECTORS / "cometbft.json").read_bytes())["runs"]
    return tuple(height for run in runs for height in run["heights"])


def commits() -> list[bytes]:
    """A commit with its validators, the two answers in one document."""
    return [
        json.dumps({"commit": each["commit"], "validators": each["validators"]}).encode()
        for each in recorded()
    ]


def run_commit(data: bytes) -> None:
    """What is read has an encoding, and is certified by its own set or refused."""
    try:
        document = msgspec.json.decode(data)
        commit, validators = document["commit"], document["validators"]
    except (ValueError, KeyError, TypeError):
        return
    try:
        signed = read_signed_header(commit, validators)
    except AnswerRefused:
        return
    encoded = codec.encode(signed)
    assert decode_signed_header(encoded) == signed
    assert decode_handover(b"v" + encoded) == signed
    try:
        check_signed_header(signed, VERIFIERS["international"]())
    except CommitRefused:
        return


STATUS: Final = {
    "node_info": {"id": "ab", "moniker": "m", "network": "vostro-1", "version": "0.39.4"},
    "sync_info": {
        "latest_block_height": "7",
        "latest_app_hash": "AB",
        "latest_block_hash": "CD",
        "latest_block_time": "2026-01-01T00:00:00Z",
        "earliest_block_height": "1",
        "catching_up": False,
    },
    "validator_info": {
        "address": "AB",
        "pub_key": {"type": "tendermint/PubKeyEd25519", "value": "AAAA"},
        "voting_power": "10",
    },
}


def results() -> list[bytes]:
    """One answer of every method that is asked for."""
    first = recorded()[0]
    told: list[dict[str, Any]] = [
        STATUS,
        {"peers": [{"node_info": STATUS["node_info"], "remote_ip": "127.0.0.1", "is_outbound": True}]},
        {"signed_header": first["commit"], "canonical": True},
        {"block_height": "1", "validators": first["validators"], "total": "1", "count": "1"},
        {"code": 0, "data": "", "log": "", "hash": ""},
        {"genesis": {"chain_id": "x"}},
        {"total": "1", "total_bytes": "2"},
        {"header": first["commit"]["header"]},
    ]
    answers = [{"jsonrpc": "2.0", "id": 1, "result": each} for each in told]
    failure = {"code": -32603, "message": "Internal error", "data": "tx already exists in cache"}
    return [json.dumps(each).encode() for each in (*answers, {"jsonrpc": "2.0", "id": 1, "error": failure})]


class Told(RpcClient):
    """A client that is answered with the input, whatever it asks."""

    def __init__(self, said: bytes) -> None:
        super().__init__(Path("/nowhere"))
        self.said = said

    async def _post(self, body: bytes) -> bytes:
        return self.said


async def _ask_everything(client: Told) -> None:
    for call in (
        client.status,
        client.net_info,
        client.commit,
        client.validators,
        client.header,
        client.genesis,
        client.waiting,
        client.consensus_state,
    ):
        try:
            await call()
        except RpcError:
            continue
    for broadcast in (client.broadcast_sync, client.broadcast_async):
        try:
            await broadcast(b"tx")
        except RpcError:
            continue


def run_rpc(data: bytes) -> None:
    """Every method of the client reads the answer or raises its one error."""
    _loop().run_until_complete(_ask_everything(Told(data)))


class Silent:
    """A transport that takes everything."""

    def write(self, data: bytes) -> None:
        """Take it."""

    async def drain(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Nothing is open."""

    def is_closing(self) -> bool:
        """It never is."""
        return False


async def _post(data: bytes) -> None:
    reader: Any = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    writer: Any = Silent()
    connection = _Connection(reader, writer)
    try:
        await connection.post(b"{}")
    except (ConnectionError, h11.ProtocolError):  # what the client translates
        return
    connection.renew()


def run_http(data: bytes) -> None:
    """An HTTP answer is read, or refused by what the client translates."""
    _loop().run_until_complete(_post(data))


def https() -> list[bytes]:
    """Answers of both framings."""
    body = results()[4]
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    return [
        head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body),
        head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body),
        b"HTTP/1.1 100 Continue\r\n\r\n" + head + b"Content-Length: 0\r\n\r\n",
    ]


def frames() -> list[bytes]:
    """One frame of every request, and all of them behind one another."""
    time = Timestamp(seconds=1_767_225_600)
    vote = pb.VoteInfo(
        validator=pb.Validator(address=bytes(20), power=1), block_id_flag="BLOCK_ID_FLAG_COMMIT"
    )
    seen = pb.Misbehavior(
        type="MISBEHAVIOR_TYPE_DUPLICATE_VOTE",
        validator=pb.Validator(address=bytes(20), power=1),
        height=3,
        time=time,
        total_voting_power=4,
    )
    commit = pb.CommitInfo(round=1, votes=[vote])
    key = pb.PublicKey(ed25519=bytes(32))
    requests = [
        pb.Request(echo=pb.EchoRequest(message="x")),
        pb.Request(flush=pb.FlushRequest()),
        pb.Request(info=pb.InfoRequest(version="0.39.4", abci_version="2.0.0")),
        pb.Request(check_tx=pb.CheckTxRequest(tx=b"abc", type="CHECK_TX_TYPE_RECHECK")),
        pb.Request(
            init_chain=pb.InitChainRequest(
                time=time,
                chain_id="x",
                initial_height=1,
                validators=[pb.ValidatorUpdate(pub_key=key, power=1)],
                consensus_params=pb.ConsensusParams(block=pb.BlockParams(max_bytes=1)),
            )
        ),
        pb.Request(query=pb.QueryRequest(path="/x", data=b"y", height=1)),
        pb.Request(prepare_proposal=pb.PrepareProposalRequest(txs=[b"a"], time=time, misbehavior=[seen])),
        pb.Request(
            process_proposal=pb.ProcessProposalRequest(txs=[b"a"], time=time, proposed_last_commit=commit)
        ),
        pb.Request(
            finalize_block=pb.FinalizeBlockRequest(
                txs=[b"a"], time=time, decided_last_commit=commit, misbehavior=[seen], height=3
            )
        ),
        pb.Request(commit=pb.CommitRequest()),
        pb.Request(offer_snapshot=pb.OfferSnapshotRequest(snapshot=pb.Snapshot(height=1), app_hash=b"x")),
        pb.Request(apply_snapshot_chunk=pb.ApplySnapshotChunkRequest(index=1, chunk=b"x", sender="y")),
        pb.Request(list_snapshots=pb.ListSnapshotsRequest()),
        pb.Request(load_snapshot_chunk=pb.LoadSnapshotChunkRequest(height=1, format=1, chunk=1)),
        pb.Request(extend_vote=pb.ExtendVoteRequest()),
        pb.Request(verify_vote_extension=pb.VerifyVoteExtensionRequest(vote_extension=b"x")),
    ]
    cut = [frame(each.SerializeToString()) for each in requests]
    return [*cut, b"".join(cut)]


class Taker(Recorder):
    """An application that takes what is of the right kind, whatever stands in it."""

    async def info(self, request: Any) -> Any:
        return await super().info(request) if request.abci_version == "2.0.0" else await super().info(INFO)

    async def finalize_block(self, block: Any) -> Any:
        self.seen.clear()
        return await super().finalize_block(block)


INFO: Final[Any] = type("Info", (), {"abci_version": "2.0.0"})()


async def _answer_all(messages: Sequence[bytes]) -> None:
    for message in messages:
        kind, request = decode_request(message)
        assert height_of(kind, request) is not None
        if kind in {"check_tx", "process_proposal", "commit"}:  # the counter's own affair begins there
            continue
        said = await answer(Taker(), kind, request)
        assert said.WhichOneof("value") == kind


def run_frames(data: bytes) -> None:
    """Cut anywhere, a stream has the same messages; each is answered in its kind or malformed."""
    whole = _cut(data, len(data) or 1)
    assert _cut(data, 3) == whole
    try:
        _loop().run_until_complete(_answer_all(whole[0]))
    except Malformed:
        return


def _cut(data: bytes, step: int) -> tuple[list[bytes], bool]:
    """(the messages, whether the stream was malformed)."""
    taken, cutter = list[bytes](), Frames(FRAME_BYTES_MAX)
    try:
        for start in range(0, len(data), step):
            taken.extend(cutter.feed(data[start : start + step]))
    except Malformed:
        return taken, True
    return taken, False


def log_lines() -> list[bytes]:
    """Lines as CometBFT writes them."""
    return [
        b'{"level":"error","ts":"2026-01-01","_msg":"dialing failed","err":"no route","peer":{"id":1}}\n',
        b"panic: goroutine 1 [running]:\n",
    ]


def run_log_line(data: bytes) -> None:
    """Whatever CometBFT writes is told again and never ends the thread that reads it."""
    log = ProcessLog(Path("/nowhere"))
    log._tell(data)
    assert len(log.tail()) <= 2 * len(data) + 1


TARGETS: Final = (
    Target("comet-commit", "json", commits, run_commit),
    Target("comet-rpc", "json", results, run_rpc),
    Target("comet-http", "bytes", https, run_http, 4_096),
    Target("abci", "bytes", frames, run_frames, 8_192),
    Target("comet-log", "json", log_lines, run_log_line, 4_096),
)
