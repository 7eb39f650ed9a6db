"""When this node's app hash is not the others': how it is noticed, what is told, and that the node stops.

The app hash of height H stands in CometBFT's header of H + 1. A CometBFT whose application came to another
one does not sign that header; once more than two thirds have voted for it, it cannot go on, or catch up, and
writes why to its log. A proposal with another app hash that was not voted for is only its proposer's claim.
What always holds: the node stops by what more than two thirds signed, never by a proposal; what it stopped by
is on record in CometBFT's home, and the same ledger does not start there again.

Texts are those of CometBFT 0.39 (state/validation.go, consensus/state.go, blocksync/reactor.go).
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from node.engine.record import RecordFile, RecordMissing
from node.ledger import codec
from node.ledger.errors import InvariantViolated
from node.ledger.types import BlockRecord, Header, Height, Record

RECORD: Final = "vostro-disagreement"
RECORD_BYTES: Final = 512
STEP_COMMIT: Final = 8
"""More than two thirds precommitted the round's proposal (consensus/types/round_state.go)."""

_REFUSED: Final = r"wrong Block\.Header\.AppHash\.\s+Expected ([0-9A-F]*), got ([0-9A-F]*)"
_VOTED: Final = r"(?:precommit step; \+2/3 prevoted for|\+2/3 committed) an invalid block: "
_ERRORS: Final = {
    "CONSENSUS FAILURE!!!": (re.compile(_VOTED + _REFUSED), True),
    "Error in validation": (re.compile(_REFUSED), True),
    "prevote step: consensus deems this block invalid; prevoting nil": (re.compile(_REFUSED), False),
}
"""Message -> (what its error says, whether CometBFT has seen more than two thirds vote for the header)."""
_PANIC: Final = re.compile("panic: " + _VOTED + _REFUSED + ".*")

_decode_header = codec.trusted_decoder(Header)


class Disagreement(InvariantViolated):
    """This node's app hash is not the one that more than two thirds of the validators signed."""


class Complaint(NamedTuple):
    """CometBFT refused a header for its app hash. is_decided: more than two thirds voted for it."""

    ours: bytes
    theirs: bytes
    is_decided: bool


class Disagreed(Record, frozen=True):
    """What a node stopped by: the height that was run, and both app hashes in hexadecimal digits."""

    height: Height
    ours: str
    theirs: str


class _Line(msgspec.Struct):
    message: str = msgspec.field(name="_msg")
    err: str = ""


class Headers(Protocol):
    """The durable headers of a store."""

    def headers(self, first: int, limit: int) -> Sequence[BlockRecord]:
        """At most ``limit`` from height ``first`` on."""


def read_complaint(line: str) -> Complaint | None:
    """What a line of CometBFT's log says of app hashes; None: nothing. Lines hold words of peers too, so
    only whole known ones count.
    """
    if panic := _PANIC.fullmatch(line):
        return Complaint(bytes.fromhex(panic[1]), bytes.fromhex(panic[2]), is_decided=True)
    try:
        said = msgspec.json.decode(line, type=_Line)
    except (msgspec.MsgspecError, ValueError):
        return None
    pattern, is_decided = _ERRORS.get(said.message, (_PANIC, False))
    found = pattern.fullmatch(said.err)
    return Complaint(bytes.fromhex(found[1]), bytes.fromhex(found[2]), is_decided) if found else None


def read_round(said: Mapping[str, Any], height: int, ours: bytes) -> Complaint | None:
    """What CometBFT's round after ``height`` (rpc.consensus_state) shows of app hashes; None: nothing, or it
    cannot be read. Decided is a proposal that is being committed, or one that most peers are past.
    """
    with suppress(AttributeError, KeyError, TypeError, ValueError):
        state = said["round_state"]
        header = state["proposal_block"]["header"]
        theirs = bytes.fromhex(header["app_hash"])
        if int(state["height"]) != height + 1 or int(header["height"]) != height + 1 or theirs == ours:
            return None
        peers = [int(peer["peer_state"]["round_state"]["height"]) for peer in said["peers"]]
        past = len([at for at in peers if at > height + 1])
        return Complaint(ours, theirs, int(state["step"]) == STEP_COMMIT or 2 * past > len(peers))
    return None


def report(height: int, complaint: Complaint, blocks: Headers) -> str:
    """One line for operators: the first height that differs, both app hashes, and the roots of this node's
    header there.
    """
    found = [record for record in blocks.headers(height, 1) if record.height == height]
    if found:
        header: Header = _decode_header(found[0].header)
        roots = (
            f"this node's header there has state root {header.state_root.hex()}, receipts root "
            f"{header.receipts_root.hex()}, transactions root {header.transactions_root.hex()}, "
            f"authority root {header.authority_root.hex()}, history root {header.history_root.hex()}"
        )
    else:
        roots = "this node has no header there: its block was quiet"
    return (
        f"the first height that differs is {height}: this node comes to app hash {complaint.ours.hex()}, "
        f"more than two thirds of the validators to {complaint.theirs.hex()}; {roots}. `vostro blocks "
        "compare HOST:PORT --offline` names the root that differs; docs/operations.md has the way back"
    )


def keep(home: Path, height: int, complaint: Complaint) -> None:
    """Put on record what the node stops by, unless that is there already."""
    with suppress(FileExistsError):
        what = Disagreed(height, complaint.ours.hex(), complaint.theirs.hex())
        RecordFile.create(home / RECORD, what, RECORD_BYTES)


def check_agreed(home: Path, app_hash: bytes, blocks: Headers) -> None:
    """Raises Disagreement where this ledger still ends with what it stopped by here. The record goes once the
    ledger is another one.
    """
    try:
        record = RecordFile(home / RECORD, Disagreed, RECORD_BYTES, lambda value: value.height)
    except RecordMissing:
        return
    last = record.last
    record.close()
    if last.ours == app_hash.hex():
        complaint = Complaint(app_hash, bytes.fromhex(last.theirs), is_decided=True)
        raise Disagreement(report(last.height, complaint, blocks))
    (home / RECORD).unlink()
