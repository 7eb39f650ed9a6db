"""A validator that misbehaves, for fault tests only: its key signs what the guard would refuse.

Nothing in node/ can be configured to do this; it is a subclass in the tests, and its record is read but never
obeyed.
"""

import time
from collections.abc import Callable
from pathlib import Path

from node.engine.cometbft.guard import (
    Again,
    Position,
    SigningRefused,
    Step,
    is_nil,
    vote_sign_bytes,
)
from node.engine.cometbft.signer import RemoteSigner
from node.engine.sequencer import Signer
from node.pb.cometbft.privval.v1 import privval_pb2 as wire


class ByzantineSigner(RemoteSigner):
    """equivocate: for each precommit for a block, a second one for another block is signed and kept in
    ``equivocations``, as evidence has it; and whatever is asked twice is signed twice. skew_seconds: added to
    the time of every vote. silent_from: the height from which nothing is signed.
    """

    def __init__(
        self,
        signer: Signer,
        chain: str,
        record: Path,
        alarm: Callable[[str], None],
        *,
        equivocate: bool = False,
        skew_seconds: int = 0,
        silent_from: int | None = None,
    ) -> None:
        super().__init__(signer, chain, record, alarm)
        self.equivocate, self.skew_seconds, self.silent_from = equivocate, skew_seconds, silent_from
        self.equivocations: list[tuple[wire.Vote, wire.Vote]] = []
        self.signed = 0

    def sign_vote(self, vote: wire.Vote) -> wire.Vote:
        """As a bad validator would."""
        if self.skew_seconds:
            skewed = wire.Vote()
            skewed.CopyFrom(vote)
            skewed.timestamp.seconds = int(time.time()) + self.skew_seconds
            vote = skewed
        signed = super().sign_vote(vote)
        if self.equivocate and vote.type == wire.SIGNED_MSG_TYPE_PRECOMMIT and not is_nil(vote.block_id):
            self.equivocations.append((signed, self.conflicting(signed)))
        return signed

    def conflicting(self, vote: wire.Vote) -> wire.Vote:
        """A vote of the same position for a block that nobody proposed, with a good signature."""
        other = wire.Vote()
        other.CopyFrom(vote)
        other.block_id.hash = bytes(byte ^ 0xFF for byte in vote.block_id.hash)
        other.signature = self._signer.sign(vote_sign_bytes(self._chain, other))
        return other

    def _sign_once(self, position: Position, sign_bytes: bytes) -> Again:
        if self.silent_from is not None and position.height >= self.silent_from:
            raise SigningRefused("silent on purpose")
        self.signed += 1
        if not self.equivocate:
            return super()._sign_once(position, sign_bytes)
        signature = self._signer.sign(sign_bytes)
        if position.step is Step.PRECOMMIT:
            self._remember(position, signature)
        return Again(sign_bytes, signature)
