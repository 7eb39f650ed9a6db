"""Which of CometBFT's words mean that the others came to another app hash, and which only look like it."""

import json
from pathlib import Path
from typing import Any

import pytest

from node.engine.cometbft.disagreement import (
    RECORD,
    Complaint,
    Disagreement,
    check_agreed,
    keep,
    read_complaint,
    read_round,
    report,
)
from node.storage.memory import MemoryStore

OURS, THEIRS = bytes([0xAB] * 32), bytes([0xCD] * 32)
WRONG = f"wrong Block.Header.AppHash.  Expected {OURS.hex().upper()}, got {THEIRS.hex().upper()}"
PREVOTED = "precommit step; +2/3 prevoted for an invalid block: "
COMMITTED = "+2/3 committed an invalid block: "
REFUSED = "prevote step: consensus deems this block invalid; prevoting nil"


def line(message: str, err: str, **more: str) -> str:
    return json.dumps({"level": "error", "_msg": message, "err": err, **more})


@pytest.mark.parametrize(
    ("said", "is_decided"),
    [
        (line("CONSENSUS FAILURE!!!", PREVOTED + WRONG, stack="..."), True),
        (line("CONSENSUS FAILURE!!!", COMMITTED + WRONG), True),
        (line("Error in validation", WRONG, height="7"), True),
        (f"panic: {COMMITTED}{WRONG} [recovered]", True),
        (line(REFUSED, WRONG, round="0"), False),
    ],
)
def test_a_refused_app_hash_is_read_with_whether_it_was_voted_for(said: str, is_decided: bool) -> None:
    assert read_complaint(said) == Complaint(OURS, THEIRS, is_decided)


@pytest.mark.parametrize(
    "said",
    [
        "",
        "panic: runtime error",
        "{",
        "[]",
        "7",
        line("CONSENSUS FAILURE!!!", "runtime error: index out of range"),
        line("CONSENSUS FAILURE!!!", WRONG),
        line("Error in validation", "wrong signature"),
        line("Error in validation", f"peer {WRONG}"),
        line("Error dialing peer", f"CONSENSUS FAILURE!!! {PREVOTED}{WRONG}"),
        line("Stopping peer for error", WRONG, peer="CONSENSUS FAILURE!!!"),
        line(f"CONSENSUS FAILURE!!! {PREVOTED}{WRONG}", ""),
        json.dumps({"_msg": "Error in validation", "err": [WRONG]}),
        f"said {PREVOTED}{WRONG}",
    ],
)
def test_words_that_a_peer_could_have_put_into_the_log_stop_nobody(said: str) -> None:
    assert read_complaint(said) is None


def a_round(step: int, peers: tuple[int, ...], app_hash: bytes = THEIRS, height: int = 8) -> dict[str, Any]:
    """What CometBFT tells of its round at height 8."""
    return {
        "round_state": {
            "height": "8",
            "step": step,
            "proposal_block": {"header": {"height": str(height), "app_hash": app_hash.hex().upper()}},
        },
        "peers": [{"peer_state": {"round_state": {"height": str(at)}}} for at in peers],
    }


def test_a_round_tells_of_another_app_hash_once_the_proposal_is_committed_or_most_peers_are_past() -> None:
    decided, disputed = (
        Complaint(OURS, THEIRS, is_decided=True),
        Complaint(OURS, THEIRS, is_decided=False),
    )
    assert read_round(a_round(8, (8, 8, 8)), 7, OURS) == decided
    assert read_round(a_round(6, (9, 10, 8)), 7, OURS) == decided
    assert read_round(a_round(6, (9, 8, 8)), 7, OURS) == disputed, "one peer's claim is not enough"
    assert read_round(a_round(4, ()), 7, OURS) == disputed
    for nothing in (
        a_round(8, (9, 9, 9), OURS),
        a_round(8, (9, 9, 9), height=9),
        {},
        {"round_state": {"height": "8", "step": 8, "proposal_block": None}, "peers": []},
    ):
        assert read_round(nothing, 7, OURS) is None
    assert read_round(a_round(8, (9, 9, 9)), 6, OURS) is None, "a round of another height"


def test_the_same_ledger_is_refused_until_it_is_another_one(tmp_path: Path) -> None:
    store = MemoryStore()
    check_agreed(tmp_path, OURS, store)
    complaint = Complaint(OURS, THEIRS, is_decided=True)
    keep(tmp_path, 7, complaint)
    keep(tmp_path, 9, Complaint(THEIRS, OURS, is_decided=True))
    for _ in range(2):
        with pytest.raises(Disagreement, match="the first height that differs is 7") as refused:
            check_agreed(tmp_path, OURS, store)
    assert str(refused.value) == report(7, complaint, store)
    assert "its block was quiet" in str(refused.value)
    check_agreed(tmp_path, THEIRS, store)
    assert not (tmp_path / RECORD).exists()
    check_agreed(tmp_path, OURS, store)
