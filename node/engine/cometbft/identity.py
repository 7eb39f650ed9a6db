"""One identity, one place: a validator's own votes, held against what the chain shows.

The record of what a validator signed (guard.py) guards against signing twice only where it is the newest
there is. What always holds: a signer begins to sign only after the newest commits that this node has were
looked through for votes of its key that its record does not know; and a vote of its key that it did not give,
in any block that is decided later, ends its signing here. So a standby that takes over with an old record, or
while the other site still votes, says so instead of voting.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from node.engine.cometbft.abci import BlockVote, DecidedBlock
from node.engine.cometbft.rpc import Commit, RpcClient, RpcError
from node.engine.cometbft.signer import RemoteSigner, SeenVote, is_ours_unsigned

LOOK_BACK_MAX: Final = 1_000
"""Commits that are looked through at the start."""
POLL_SECONDS: Final = 0.05
UNKNOWN_YET: Final = "nothing is signed before the record was held against the chain"


def hold_back(remote: RemoteSigner) -> None:
    """Let nothing be signed until ``hold_against_chain`` is through."""
    remote.forbidden = UNKNOWN_YET


async def hold_against_chain(remote: RemoteSigner, rpc: RpcClient, alarm: Callable[[str], None]) -> None:
    """Let the validator sign unless the commits that CometBFT has here show a vote that its record does not
    know.
    """
    while True:
        try:
            top = (await rpc.status()).height
            break
        except RpcError:  # it is starting
            await asyncio.sleep(POLL_SECONDS)
    above = max(remote.own_votes.known_above, top - LOOK_BACK_MAX)
    for height in range(top, above, -1):
        try:
            said = (await _commit(rpc, height)).signed_header["commit"]
        except RpcError:  # pruned, or it came by a snapshot
            break
        for entry in said["signatures"]:
            seen = SeenVote(bytes.fromhex(entry["validator_address"]), height, int(said["round"]))
            if is_ours_unsigned(seen, remote.own_votes):
                _forbid(remote, alarm, height)
                return
    if remote.forbidden == UNKNOWN_YET:
        remote.forbidden = ""


def look_for_ourselves(remote: RemoteSigner, alarm: Callable[[str], None], block: DecidedBlock) -> None:
    """End signing where a decided block shows a vote of our validator's key that was not given here."""
    own = remote.own_votes
    for vote in block.last_commit.votes:
        seen = SeenVote(vote.address, block.height - 1, block.last_commit.round)
        if vote.vote in (BlockVote.COMMIT, BlockVote.NIL) and is_ours_unsigned(seen, own):
            _forbid(remote, alarm, seen.height)


async def _commit(rpc: RpcClient, height: int) -> Commit:
    """A commit, however long CometBFT takes to answer: silence shows nothing. Raises RpcError where it
    answers that it has none.
    """
    while True:
        try:
            return await rpc.commit(height)
        except RpcError as error:
            if error.answered:
                raise
            await asyncio.sleep(POLL_SECONDS)


def _forbid(remote: RemoteSigner, alarm: Callable[[str], None], height: int) -> None:
    known = remote.guard.last.height
    text = (
        f"height {height} has a vote of this validator's key that was not given here, and its record ends at "
        f"height {known}: the record is an old copy, or the same identity runs twice. Nothing more is signed "
        "here. Stop the other, then bring its record here, or make one above the chain's height with `vostro "
        "validator record`, and start again"
    )
    if remote.forbidden != text:
        remote.forbidden = text
        alarm(text)
