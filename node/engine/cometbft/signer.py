"""The remote signer: CometBFT asks over a unix socket, this signs with whatever holds the validator's key.

CometBFT listens on its ``priv_validator_laddr`` and the signer dials; on a unix socket the protocol is plain
length-prefixed protobuf, one request at a time. What always holds: a signature is on the synced record before
it leaves; a refusal is told to CometBFT, which goes on without that vote, and to the operator as an alarm.

It also remembers the precommits it gave, so that a commit of the chain with a vote of our key that was not
given here is noticed (``is_ours_unsigned``): the same identity runs elsewhere.
"""

import asyncio
import os
import socket
import struct
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

from google.protobuf.message import DecodeError

from node.engine.cometbft.guard import (
    ROUND_MAX,
    Again,
    Guard,
    Position,
    SigningRefused,
    Step,
    delimited,
    extension_sign_bytes,
    is_nil,
    judge,
    parse_canonical,
    proposal_position,
    proposal_sign_bytes,
    read_varint,
    vote_position,
    vote_sign_bytes,
)
from node.engine.sequencer import Signer
from node.keys.signer import SignerUnavailable
from node.ledger.hashing import validator_address
from node.pb.cometbft.privval.v1 import privval_pb2 as wire

REQUEST_BYTES_MAX: Final = 10 * 1024
"""As CometBFT reads them itself (privval/signer_endpoint.go)."""
ED25519_BYTES: Final = 32
PRECOMMITS_MAX: Final = 1_000
REDIAL_SECONDS: Final = 0.1
REDIAL_SECONDS_MAX: Final = 1.0
QUIET_SECONDS: Final = 60.0
"""CometBFT pings every 3.3 s; a socket silent for so long leads nowhere."""
REFUSED: Final = 1
"""The code of every refusal; CometBFT reads the text only."""
_CREDENTIALS: Final = struct.Struct("3i")  # pid, uid, gid: SO_PEERCRED


class OwnVotes(NamedTuple):
    """What a validator knows of its own precommits.

    known_above: above this height, every precommit of ours that exists is in ``precommits``. precommits:
    (height, round) -> signature.
    """

    address: bytes
    known_above: int
    precommits: Mapping[tuple[int, int], bytes]


class SeenVote(NamedTuple):
    """A validator's vote in a commit, for the block or for nil. signature: None where only the flag of the
    vote is known, as in ABCI.
    """

    address: bytes
    height: int
    round: int
    signature: bytes | None = None


def is_ours_unsigned(seen: SeenVote, own: OwnVotes) -> bool:
    """Whether the chain shows a vote of our key that was not given here: the same identity runs elsewhere, or
    its record was replaced. Heights that we know nothing of prove nothing.
    """
    if seen.address != own.address:
        return False
    given = own.precommits.get((seen.height, seen.round))
    if given is None:
        return seen.height > own.known_above
    return seen.signature is not None and seen.signature != given


class RemoteSigner:
    """One validator of one chain: answers requests, one at a time, from any one thread."""

    def __init__(self, signer: Signer, chain: str, record: Path, alarm: Callable[[str], None]) -> None:
        """chain: CometBFT's chain id. record: made by ``Guard.create``. alarm: told every refusal, from the
        thread that answers.

        Raises GuardRefused, and ValueError for a key that is not Ed25519.
        """
        if len(signer.public_key) != ED25519_BYTES:
            raise ValueError("a validator's key is Ed25519: CometBFT knows no other that is used here")
        self._signer, self._chain, self.alarm = signer, chain, alarm
        self.guard = Guard(record, chain, signer.public_key)
        self.forbidden = ""
        """Why nothing new may be signed now; empty: it may. Set from any thread (identity.py)."""
        self._precommits: dict[tuple[int, int], bytes] = {}
        self._known_above = self.guard.last.height
        self._remember(self.guard.last.position, bytes.fromhex(self.guard.last.signature))

    @property
    def own_votes(self) -> OwnVotes:
        """What ``is_ours_unsigned`` compares the chain with; from any thread."""
        known_above = self._known_above
        return OwnVotes(validator_address(self._signer.public_key), known_above, dict(self._precommits))

    def answer(self, request: wire.Message) -> wire.Message:
        """The response to a request. Raises SigningRefused for what is no request: the connection ends."""
        match request.WhichOneof("sum"):
            case "ping_request":
                return wire.Message(ping_response=wire.PingResponse())
            case "pub_key_request":
                return self._answer_key(request.pub_key_request)
            case "sign_vote_request":
                return self._answer_vote(request.sign_vote_request)
            case "sign_proposal_request":
                return self._answer_proposal(request.sign_proposal_request)
            case other:
                raise SigningRefused(f"{other or 'nothing known'} is no request to a signer")

    def sign_vote(self, vote: wire.Vote) -> wire.Vote:
        """The vote with its signature; its time is the earlier one where it was signed before. Raises
        SigningRefused.
        """
        position, sign_bytes = vote_position(vote), vote_sign_bytes(self._chain, vote)
        signed = wire.Vote()
        signed.CopyFrom(vote)
        signed.extension_signature = b""
        extends = position.step is Step.PRECOMMIT and not is_nil(vote.block_id)
        if vote.extension and not extends:
            raise SigningRefused("only a precommit for a block carries an extension")
        given = self._sign_once(position, sign_bytes)
        signed.signature = given.signature
        signed.timestamp.CopyFrom(parse_canonical(position.step, given.sign_bytes).timestamp)
        if extends:
            signed.extension_signature = self._sign(extension_sign_bytes(self._chain, vote))
        return signed

    def sign_proposal(self, proposal: wire.Proposal) -> wire.Proposal:
        """The proposal with its signature, as ``sign_vote``. Raises SigningRefused."""
        position = proposal_position(proposal)
        given = self._sign_once(position, proposal_sign_bytes(self._chain, proposal))
        signed = wire.Proposal()
        signed.CopyFrom(proposal)
        signed.signature = given.signature
        signed.timestamp.CopyFrom(parse_canonical(position.step, given.sign_bytes).timestamp)
        return signed

    def close(self) -> None:
        """Let the record go."""
        self.guard.close()

    def _sign_once(self, position: Position, sign_bytes: bytes) -> Again:
        """Sign what is new and keep it; give again what was signed. Raises SigningRefused."""
        before = judge(self.guard.last, position, sign_bytes)
        if before is not None:
            return before
        if self.forbidden:
            raise SigningRefused(self.forbidden)
        signature = self._sign(sign_bytes)
        self.guard.keep(position, sign_bytes, signature)
        self._remember(position, signature)
        return Again(sign_bytes, signature)

    def _sign(self, message: bytes) -> bytes:
        try:
            return self._signer.sign(message)
        except SignerUnavailable as error:
            raise SigningRefused(f"the key cannot sign now: {error}") from error

    def _remember(self, position: Position, signature: bytes) -> None:
        if position.step is not Step.PRECOMMIT or position.round == ROUND_MAX:
            return
        self._precommits[position.height, position.round] = signature
        if len(self._precommits) > PRECOMMITS_MAX:
            oldest = next(iter(self._precommits))
            self._known_above = max(self._known_above, oldest[0])
            del self._precommits[oldest]

    def _answer_key(self, asked: wire.PubKeyRequest) -> wire.Message:
        try:
            self._check_chain(asked.chain_id)
        except SigningRefused as refused:
            return wire.Message(pub_key_response=wire.PubKeyResponse(error=self._told(refused)))
        key = wire.PublicKey(ed25519=self._signer.public_key)
        return wire.Message(pub_key_response=wire.PubKeyResponse(pub_key=key))

    def _answer_vote(self, asked: wire.SignVoteRequest) -> wire.Message:
        try:
            self._check_chain(asked.chain_id)
            response = wire.SignedVoteResponse(vote=self.sign_vote(asked.vote))
        except SigningRefused as refused:
            response = wire.SignedVoteResponse(vote=wire.Vote(), error=self._told(refused))
        return wire.Message(signed_vote_response=response)

    def _answer_proposal(self, asked: wire.SignProposalRequest) -> wire.Message:
        try:
            self._check_chain(asked.chain_id)
            response = wire.SignedProposalResponse(proposal=self.sign_proposal(asked.proposal))
        except SigningRefused as refused:
            response = wire.SignedProposalResponse(proposal=wire.Proposal(), error=self._told(refused))
        return wire.Message(signed_proposal_response=response)

    def _check_chain(self, chain: str) -> None:
        if chain != self._chain:
            raise SigningRefused(f"this validator signs for {self._chain} only, not for {chain[:64]!r}")

    def _told(self, refused: SigningRefused) -> wire.RemoteSignerError:
        if str(refused) != self.forbidden:  # who forbade it has said so
            self.alarm(f"the validator refused to sign: {refused}")
        return wire.RemoteSignerError(code=REFUSED, description=str(refused))


async def serve(remote: RemoteSigner, path: Path, *, peer_uid: int | None = None) -> None:
    """Dial CometBFT's unix socket and answer it, again and again, until cancelled.

    A listener of another user is not answered: it would be a stranger who asks for signatures. peer_uid:
    CometBFT's user; default: this process's own.
    """
    wait = REDIAL_SECONDS
    with ThreadPoolExecutor(1, thread_name_prefix="privval") as thread:
        while True:
            try:
                await _converse(remote, path, os.geteuid() if peer_uid is None else peer_uid, thread)
                wait = REDIAL_SECONDS
            except SigningRefused as refused:
                remote.alarm(str(refused))
            except (OSError, EOFError, TimeoutError):
                pass  # CometBFT is not there yet, or has gone: its supervisor says so
            await asyncio.sleep(wait)
            wait = min(2 * wait, REDIAL_SECONDS_MAX)


async def _converse(remote: RemoteSigner, path: Path, peer_uid: int, thread: ThreadPoolExecutor) -> None:
    """One connection until it ends. Returns if anything was answered; else raises OSError, EOFError or
    TimeoutError. Raises SigningRefused for a listener or a request that must not be answered.
    """
    reader, writer = await asyncio.open_unix_connection(path, limit=REQUEST_BYTES_MAX)
    loop, answered = asyncio.get_running_loop(), 0
    try:
        _check_peer(writer, peer_uid)
        while True:
            request = await asyncio.wait_for(_read(reader), QUIET_SECONDS)
            response = await loop.run_in_executor(thread, remote.answer, request)
            writer.write(delimited(response.SerializeToString()))
            await writer.drain()
            answered += 1
    except (OSError, EOFError, TimeoutError):
        if not answered:
            raise
    finally:
        writer.close()


def _check_peer(writer: asyncio.StreamWriter, peer_uid: int) -> None:
    connection: socket.socket = writer.get_extra_info("socket")
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(credentials)
    if uid != peer_uid:
        raise SigningRefused(f"the listener that asks for signatures is of user {uid}, not {peer_uid}")


async def _read(reader: asyncio.StreamReader) -> wire.Message:
    """The next request. Raises EOFError; SigningRefused for what is no message."""
    prefix = b""
    try:
        while True:
            prefix += await reader.readexactly(1)
            length, at = read_varint(prefix)
            if at:
                break
        if length > REQUEST_BYTES_MAX:
            raise SigningRefused(f"a request of {length} bytes is too long")
        return wire.Message.FromString(await reader.readexactly(length))
    except (ValueError, DecodeError) as error:
        raise SigningRefused("what came is no message of the protocol") from error
