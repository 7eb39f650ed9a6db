"""The order in which CometBFT may call its application, as the ABCI specification's "Expected behavior" has
it, checked on what a server recorded.

The grammar there has rounds that may each be empty, so within a height prepare and process may come in any
number; what it forbids is a block outside a height, a commit without a block, a start without its handshake.
Beyond it the heights are checked: each run goes on where the application stood.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Final

from node.engine.cometbft.abci_server import Call

LETTERS: Final = {
    "info": "I",
    "init_chain": "G",
    "offer_snapshot": "O",
    "apply_snapshot_chunk": "A",
    "prepare_proposal": "P",
    "process_proposal": "R",
    "extend_vote": "E",
    "verify_vote_extension": "V",
    "finalize_block": "F",
    "commit": "C",
}
"""Calls of the grammar. The others (check_tx, query, list and load snapshots, echo, flush) may come at any
time.
"""
START: Final = r"(?:IG?|(?:OA*)*OA+I)"
HEIGHTS: Final = r"(?:[VPRE]*FC)*[VPRE]*F?"
RUN: Final = re.compile(START + HEIGHTS)
UNFINISHED: Final = re.compile(r"I?|I?(?:OA*)*")
"""A run that ended before it had begun."""


def check_order(calls: Iterable[Call], *, committed: int = 0) -> int:
    """Check every run in what one application recorded; the height it has committed. committed: where it
    stood before. Raises AssertionError.
    """
    for run, of_run in groupby(calls, key=lambda call: call.run):
        committed = check_run(list(of_run), committed, f"run {run}")
    return committed


def check_run(calls: Sequence[Call], committed: int, name: str) -> int:
    """Check one run of CometBFT over an application that stands at a height; the height it then has
    committed. Raises AssertionError.
    """
    told = [call for call in calls if call.name in LETTERS]
    word = without_questions("".join(LETTERS[call.name] for call in told))
    assert RUN.fullmatch(word) or UNFINISHED.fullmatch(word), f"{name}: {word} is not in the grammar"
    check_connections(calls, name)
    return check_heights(told, committed, name)


def without_questions(word: str) -> str:
    """Info answers people too, at any time: only the first, and the one behind a snapshot, are part of a
    start.
    """
    first = re.match(r"(?:[OA]*I)?", word)
    start = first[0] if first else ""
    return start + word[len(start) :].replace("I", "")


def check_connections(calls: Sequence[Call], name: str) -> None:
    """Consensus, mempool and snapshots each have a connection of their own. Raises AssertionError."""
    consensus = {"init_chain", "prepare_proposal", "process_proposal", "finalize_block", "commit"}
    for kinds in (consensus, {"check_tx"}, {"info", "query"}):
        used = {call.connection for call in calls if call.name in kinds}
        assert len(used) <= 1, f"{name}: {sorted(kinds)} on connections {sorted(used)}"


def check_heights(calls: Sequence[Call], committed: int, name: str) -> int:
    """Blocks come height by height, proposals are for the next one. Raises AssertionError."""
    finalized = committed
    for call in calls:
        match call.name:
            case "init_chain":
                assert committed == 0, f"{name}: init_chain at height {committed}"
                committed = finalized = call.height - 1
            case "offer_snapshot":
                committed = finalized = call.height
            case "prepare_proposal" | "process_proposal":
                assert call.height == committed + 1, f"{name}: {call} above height {committed}"
            case "finalize_block":
                assert call.height == committed + 1, f"{name}: {call} above height {committed}"
                finalized = call.height
            case "commit":
                assert finalized == committed + 1, f"{name}: a commit of nothing at height {committed}"
                committed = finalized
    return committed
