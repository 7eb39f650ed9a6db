"""The checker of ABCI's call order takes what the specification allows and refuses what it forbids."""

import pytest

from node.engine.cometbft.abci_server import Call
from tests.engine.abci_order import LETTERS, check_order

NAMES = {letter: name for name, letter in LETTERS.items()} | {"T": "check_tx", "Q": "query"}
CONNECTIONS = {"T": 2, "Q": 1, "I": 1, "O": 3, "A": 3}


def calls(story: str) -> list[Call]:
    """``1:I G1 P1 F1 C`` is run 1 with info, init_chain at 1, prepare and finalize of height 1, commit."""
    told: list[Call] = []
    run = 1
    for word in story.split():
        if ":" in word:
            run = int(word[0])
            continue
        connection = 10 * run + CONNECTIONS.get(word[0], 4)
        told.append(Call(run, connection, NAMES[word[0]], int(word[1:] or 0)))
    return told


ALLOWED = [
    ("", 0, 0),
    ("I", 0, 0),
    ("I G1", 0, 0),
    ("I G1 P1 R1 F1 C", 0, 1),
    ("I G1 P1 R1 F1", 0, 0),
    ("I G1 R1 R1 P1 R1 F1 C R2 F2 C", 0, 2),
    ("I G1 F1 C F2 C F3 C P4 R4", 0, 3),
    ("I P8 R8 F8 C", 7, 8),
    ("I G1 T Q T F1 C I T I P2 F2 C", 0, 2),
    ("O5 A A I R6 F6 C", 0, 6),
    ("O5 O6 A O7 A A I F8 C", 0, 8),
    ("I G1 F1 C 2: I F2 C 3: I 4: I F3 C", 0, 3),
    ("I G1 F1 2: I G1 F1 C", 0, 1),
    ("I G100 F100 C", 0, 100),
]
FORBIDDEN = [
    ("P1", 0),
    ("G1 I F1 C", 0),
    ("F1 C", 0),
    ("I G1 G1 F1 C", 0),
    ("I G1 C", 0),
    ("I G1 F1 F1 C", 0),
    ("I G1 F1 C C", 0),
    ("I G1 F1 R2 C", 0),
    ("I G1 F1 C F3 C", 0),
    ("I G1 F1 C R1", 0),
    ("I G1 P2 F1 C", 0),
    ("I G1 F1 C G1", 0),
    ("I G1 F1 C", 4),
    ("I F4 C", 4),
    ("A O5 I", 0),
    ("O5 I F6 C", 0),
    ("O5 A F6 C", 0),
    ("I O5 A I F6 C", 0),
    ("I G1 F1 C 2: I F1 C", 0),
]


@pytest.mark.parametrize(("story", "before", "after"), ALLOWED)
def test_a_story_of_the_grammar_is_taken(story: str, before: int, after: int) -> None:
    assert check_order(calls(story), committed=before) == after


@pytest.mark.parametrize(("story", "before"), FORBIDDEN)
def test_a_story_outside_the_grammar_is_refused(story: str, before: int) -> None:
    with pytest.raises(AssertionError, match="run "):
        check_order(calls(story), committed=before)


def test_consensus_on_two_connections_is_refused() -> None:
    told = calls("I G1 F1 C")
    told[-1] = told[-1]._replace(connection=99)
    with pytest.raises(AssertionError, match="connections"):
        check_order(told)
