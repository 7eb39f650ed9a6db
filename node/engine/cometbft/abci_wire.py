"""Frames of the ABCI socket, and the one converter between protobuf and the words of abci.py.

A frame is a message behind its length as a varint. What always holds: a frame beyond the bound or a message
that is none raises ``Malformed`` and is never answered as if it had been understood.
"""

from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import Final, TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp

from node.engine.cometbft import abci
from node.pb.cometbft.abci.v2 import abci_pb2 as pb

E = TypeVar("E", bound=IntEnum)

NS: Final = 1_000_000_000
VARINT_BYTES_MAX: Final = 5


class Malformed(Exception):
    """The other side of the socket does not speak ABCI 2.0."""


class Frames:
    """Cuts what arrives into messages."""

    def __init__(self, bytes_max: int) -> None:
        """bytes_max: the longest message that is taken."""
        self._bytes_max = bytes_max
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take what arrived; every message that is complete now, in order. Raises Malformed."""
        self._buffer += data
        start = 0
        try:
            while (head := self._head(start)) is not None:
                first, length = head
                if first + length > len(self._buffer):
                    return
                start = first + length
                yield bytes(self._buffer[first:start])
        finally:
            del self._buffer[:start]

    def _head(self, start: int) -> tuple[int, int] | None:
        """(where the message at ``start`` begins, its length); None until the length is complete."""
        length = 0
        for count, byte in enumerate(self._buffer[start : start + VARINT_BYTES_MAX]):
            length |= (byte & 0x7F) << (7 * count)
            if length > self._bytes_max:
                raise Malformed(f"a message of {length} bytes or more; {self._bytes_max} at most")
            if byte < 0x80:  # noqa: PLR2004 - the last byte of a varint has its top bit clear
                return start + count + 1, length
        if len(self._buffer) - start >= VARINT_BYTES_MAX:
            raise Malformed("a message's length does not end")
        return None


def frame(message: bytes) -> bytes:
    """A message behind its length."""
    length, head = len(message), bytearray()
    while length > 0x7F:  # noqa: PLR2004 - seven bits a byte
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    return bytes(head) + message


def decode_request(message: bytes) -> tuple[str, pb.Request]:
    """(which request, the request). Raises Malformed."""
    try:
        request = pb.Request.FromString(message)
    except DecodeError as error:
        raise Malformed(f"not an ABCI request: {error}") from error
    kind = request.WhichOneof("value")
    if kind is None:
        raise Malformed("a request of a kind that this node does not know")
    return kind, request


def encode_exception(error: str) -> bytes:
    """The answer after which CometBFT ends."""
    return pb.Response(exception=pb.ExceptionResponse(error=error)).SerializeToString()


async def answer(application: abci.Application, kind: str, request: pb.Request) -> pb.Response:
    """Ask the application what one request asks, and put its answer in the wire's form."""
    match kind:
        case "check_tx":
            return await _check_tx(application, request.check_tx)
        case "flush":
            return pb.Response(flush=pb.FlushResponse())
        case "prepare_proposal":
            chosen = await application.prepare_proposal(_proposal(request.prepare_proposal))
            return pb.Response(prepare_proposal=pb.PrepareProposalResponse(txs=chosen))
        case "process_proposal":
            process = request.process_proposal
            accepted = await application.process_proposal(_block(process, process.proposed_last_commit))
            status = pb.PROPOSAL_STATUS_ACCEPT if accepted else pb.PROPOSAL_STATUS_REJECT
            return pb.Response(process_proposal=pb.ProcessProposalResponse(status=status))
        case "finalize_block":
            decided = request.finalize_block
            finalized = await application.finalize_block(_block(decided, decided.decided_last_commit))
            return pb.Response(finalize_block=_finalized(finalized))
        case "commit":
            return pb.Response(commit=pb.CommitResponse(retain_height=await application.commit()))
        case "info":
            return pb.Response(info=await _info(application, request.info))
        case "init_chain":
            return pb.Response(init_chain=await _init_chain(application, request.init_chain))
        case "query":
            return pb.Response(query=await _query(application, request.query))
        case "echo":
            return pb.Response(echo=pb.EchoResponse(message=request.echo.message))
        case "extend_vote":
            return pb.Response(extend_vote=pb.ExtendVoteResponse())
        case "verify_vote_extension":
            empty = not request.verify_vote_extension.vote_extension
            verdict = pb.VERIFY_STATUS_ACCEPT if empty else pb.VERIFY_STATUS_REJECT
            return pb.Response(verify_vote_extension=pb.VerifyVoteExtensionResponse(status=verdict))
    return await _answer_snapshots(application, kind, request)


def height_of(kind: str, request: pb.Request) -> int:
    """The height that a request speaks of; 0 where it names none."""
    match kind:
        case "prepare_proposal":
            return request.prepare_proposal.height
        case "process_proposal":
            return request.process_proposal.height
        case "finalize_block":
            return request.finalize_block.height
        case "offer_snapshot":
            return request.offer_snapshot.snapshot.height
        case "init_chain":
            return request.init_chain.initial_height
    return 0


async def _check_tx(application: abci.Application, request: pb.CheckTxRequest) -> pb.Response:
    again = request.type == pb.CHECK_TX_TYPE_RECHECK
    said = await application.check_tx(request.tx, recheck=again)
    return pb.Response(
        check_tx=pb.CheckTxResponse(
            code=said.code, gas_wanted=said.gas_wanted, log=said.log, codespace=said.codespace
        )
    )


async def _info(application: abci.Application, request: pb.InfoRequest) -> pb.InfoResponse:
    asked = abci.InfoRequest(
        request.version, request.block_version, request.p2p_version, request.abci_version
    )
    said = await application.info(asked)
    return pb.InfoResponse(
        data=said.data,
        version=said.version,
        app_version=said.app_version,
        last_block_height=said.height,
        last_block_app_hash=said.app_hash,
    )


async def _init_chain(application: abci.Application, request: pb.InitChainRequest) -> pb.InitChainResponse:
    params = _from_params(request.consensus_params) if request.HasField("consensus_params") else None
    validators = tuple([_from_power(each) for each in request.validators])
    said = await application.init_chain(
        abci.InitChainRequest(
            _time_ns(request.time),
            request.chain_id,
            request.initial_height,
            validators,
            params,
            request.app_state_bytes,
        )
    )
    return pb.InitChainResponse(validators=_to_powers(said.validators), app_hash=said.app_hash)


async def _query(application: abci.Application, request: pb.QueryRequest) -> pb.QueryResponse:
    said = await application.query(
        abci.QueryRequest(request.path, request.data, request.height, request.prove)
    )
    return pb.QueryResponse(
        code=said.code,
        key=said.key,
        value=said.value,
        height=said.height,
        log=said.log,
        codespace=said.codespace,
    )


async def _answer_snapshots(application: abci.Application, kind: str, request: pb.Request) -> pb.Response:
    """What the snapshot connection asks. Raises Malformed for a request that has no answer here."""
    match kind:
        case "list_snapshots":
            known = [_to_snapshot(each) for each in await application.list_snapshots()]
            return pb.Response(list_snapshots=pb.ListSnapshotsResponse(snapshots=known))
        case "offer_snapshot":
            offered = request.offer_snapshot
            result = await application.offer_snapshot(_from_snapshot(offered.snapshot), offered.app_hash)
            return pb.Response(offer_snapshot=pb.OfferSnapshotResponse(result=f"OFFER_RESULT_{result.name}"))
        case "load_snapshot_chunk":
            wanted = request.load_snapshot_chunk
            chunk = await application.load_snapshot_chunk(wanted.height, wanted.format, wanted.chunk)
            return pb.Response(load_snapshot_chunk=pb.LoadSnapshotChunkResponse(chunk=chunk))
        case "apply_snapshot_chunk":
            given = request.apply_snapshot_chunk
            said = await application.apply_snapshot_chunk(given.index, given.chunk, given.sender)
            applied = pb.ApplySnapshotChunkResponse(
                result=f"APPLY_RESULT_{said.result.name}",
                refetch_chunks=said.refetch,
                reject_senders=said.reject_senders,
            )
            return pb.Response(apply_snapshot_chunk=applied)
    raise Malformed(f"a request of kind {kind}, which has no answer")


def _proposal(request: pb.PrepareProposalRequest) -> abci.Proposal:
    return abci.Proposal(
        height=request.height,
        time_ns=_time_ns(request.time),
        txs=tuple(request.txs),
        bytes_max=request.max_tx_bytes,
        misbehavior=_misbehavior(request.misbehavior),
        proposer=request.proposer_address,
        next_validators_hash=request.next_validators_hash,
    )


def _block(
    request: pb.ProcessProposalRequest | pb.FinalizeBlockRequest, commit: pb.CommitInfo
) -> abci.DecidedBlock:
    votes = [
        abci.Vote(vote.validator.address, vote.validator.power, _known(abci.BlockVote, vote.block_id_flag))
        for vote in commit.votes
    ]
    return abci.DecidedBlock(
        height=request.height,
        time_ns=_time_ns(request.time),
        txs=tuple(request.txs),
        hash=request.hash,
        misbehavior=_misbehavior(request.misbehavior),
        proposer=request.proposer_address,
        next_validators_hash=request.next_validators_hash,
        last_commit=abci.LastCommit(commit.round, tuple(votes)),
    )


def _finalized(said: abci.FinalizeAnswer) -> pb.FinalizeBlockResponse:
    results = [
        pb.ExecTxResult(code=each.code, data=each.data, gas_wanted=each.gas_wanted, gas_used=each.gas_used)
        for each in said.results
    ]
    return pb.FinalizeBlockResponse(
        tx_results=results,
        validator_updates=_to_powers(said.updates),
        consensus_param_updates=_to_params(said.params) if said.params else None,
        app_hash=said.app_hash,
    )


def _known(kinds: type[E], number: int) -> E:
    """The word behind a number of the wire. Raises Malformed."""
    try:
        return kinds(number)
    except ValueError as error:
        raise Malformed(f"{number} is no {kinds.__name__}") from error


def _misbehavior(seen: Sequence[pb.Misbehavior]) -> tuple[abci.Misbehavior, ...]:
    told = [
        abci.Misbehavior(
            _known(abci.MisbehaviorKind, each.type),
            each.validator.address,
            each.validator.power,
            each.height,
            _time_ns(each.time),
            each.total_voting_power,
        )
        for each in seen
    ]
    return tuple(told)


def _from_power(update: pb.ValidatorUpdate) -> abci.ValidatorPower:
    if update.pub_key.WhichOneof("sum") != "ed25519":
        raise Malformed("a validator whose key is not Ed25519")
    return abci.ValidatorPower(update.pub_key.ed25519, update.power)


def _to_powers(validators: Sequence[abci.ValidatorPower]) -> list[pb.ValidatorUpdate]:
    return [
        pb.ValidatorUpdate(pub_key=pb.PublicKey(ed25519=each.public_key), power=each.power)
        for each in validators
    ]


def _from_params(params: pb.ConsensusParams) -> abci.ConsensusParams:
    age = params.evidence.max_age_duration
    return abci.ConsensusParams(
        block_bytes_max=params.block.max_bytes,
        block_gas_max=params.block.max_gas,
        evidence_age_blocks=params.evidence.max_age_num_blocks,
        evidence_age_ns=age.seconds * NS + age.nanos,
        evidence_bytes_max=params.evidence.max_bytes,
        app_version=params.version.app,
    )


def _to_params(params: abci.ConsensusParams) -> pb.ConsensusParams:
    seconds, nanos = divmod(params.evidence_age_ns, NS)
    return pb.ConsensusParams(
        block=pb.BlockParams(max_bytes=params.block_bytes_max, max_gas=params.block_gas_max),
        evidence=pb.EvidenceParams(
            max_age_num_blocks=params.evidence_age_blocks,
            max_age_duration=Duration(seconds=seconds, nanos=nanos),
            max_bytes=params.evidence_bytes_max,
        ),
        validator=pb.ValidatorParams(pub_key_types=["ed25519"]),
        version=pb.VersionParams(app=params.app_version),
    )


def _from_snapshot(snapshot: pb.Snapshot) -> abci.Snapshot:
    return abci.Snapshot(snapshot.height, snapshot.format, snapshot.chunks, snapshot.hash, snapshot.metadata)


def _to_snapshot(snapshot: abci.Snapshot) -> pb.Snapshot:
    return pb.Snapshot(
        height=snapshot.height,
        format=snapshot.format,
        chunks=snapshot.chunks,
        hash=snapshot.hash,
        metadata=snapshot.metadata,
    )


def _time_ns(time: Timestamp) -> int:
    return time.seconds * NS + time.nanos
