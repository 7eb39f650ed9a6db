"""Blacklist: the life of a listing, and a record of every look-up."""

from typing import Any

import pytest

from contracts.scenarios.blacklist import DURATION_MAX_MS, Listing, Lookups
from node.ledger import codec
from tests.kit import STEP_MS, Consortium, op, told

PARTY, EVIDENCE, STATEMENT, ANSWER = (bytes([number]) * 32 for number in (1, 2, 3, 4))


@pytest.fixture
def world() -> Consortium:
    return Consortium()


def listing(expires_ms: int) -> Any:
    return op("blacklist", "list_party", PARTY, "sanction", EVIDENCE, expires_ms)


def ask(world: Consortium, query: str, *arguments: Any) -> Any:
    return world.ledger.query("blacklist", query, codec.encode(arguments))


def test_a_party_is_listed_appealed_upheld_and_retracted(world: Consortium) -> None:
    expires_ms = world.time_ms + STEP_MS + DURATION_MAX_MS  # the latest there is
    receipt = world.apply("KB", listing(expires_ms))
    listed_ms = world.time_ms
    assert told(receipt) == [("blacklist.Listed", [PARTY, "KB", "sanction", expires_ms])]
    receipt = world.apply("PA", op("blacklist", "appeal", PARTY, "KB", STATEMENT))
    assert told(receipt) == [("blacklist.Appealed", [PARTY, "KB", "PA", STATEMENT])]
    appealed = Listing("sanction", EVIDENCE, listed_ms, expires_ms, "appealed", "PA", STATEMENT)
    assert world.record("blacklist", "listing", PARTY, "KB") == appealed
    receipt = world.apply("KB", op("blacklist", "uphold", PARTY, ANSWER))
    assert told(receipt) == [("blacklist.Upheld", [PARTY, "KB", ANSWER])]
    upheld = Listing("sanction", EVIDENCE, listed_ms, expires_ms, "upheld", "PA", ANSWER)
    assert [(row.member, row.listing) for row in ask(world, "list_listings", PARTY)] == [("KB", upheld)]
    receipt = world.apply("KB", op("blacklist", "retract", PARTY))
    assert told(receipt) == [("blacklist.Retracted", [PARTY, "KB"])]
    assert (world.rows("blacklist", "listing"), world.rows("blacklist", "due")) == ({}, {})


def test_every_look_up_is_counted_and_told_how_many_list_the_party(world: Consortium) -> None:
    for member in ("KB", "PA"):
        world.apply(member, listing(world.time_ms + 100_000))
    look_up = op("blacklist", "look_up", PARTY, "lending")
    receipt = world.apply("CNB", look_up, look_up)
    assert told(receipt) == [("blacklist.LookedUp", [PARTY, "CNB", "lending", 2])] * 2
    world.apply("KB", look_up)
    rows = {row.member: row.lookups for row in ask(world, "list_lookups", PARTY, "")}
    assert rows == {"CNB": Lookups(2, world.time_ms - STEP_MS), "KB": Lookups(1, world.time_ms)}
    assert [row.member for row in ask(world, "list_lookups", PARTY, "CNB")] == ["KB"]


def test_a_listing_is_not_seen_from_its_time_on_even_where_it_was_not_cleaned_up(
    world: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    expires_ms = world.time_ms + 10_000
    world.apply("KB", listing(expires_ms))
    monkeypatch.setattr("contracts.scenarios.blacklist.EXPIRY_MAX", 0)
    look_up = op("blacklist", "look_up", PARTY, "payment")
    counts = [
        told(world.apply("PA", look_up, time_ms=expires_ms + after))[0][1][-1] for after in (-1, 0)
    ]  # fmt: skip
    assert counts == [1, 0]
    assert len(world.rows("blacklist", "listing")) == 1
    assert ask(world, "list_listings", PARTY) == ()
    world.apply("KB", listing(expires_ms + 50_000))  # in the place of the old one
    assert [key[1] for key in world.rows("blacklist", "due")] == [expires_ms + 50_000]


def test_two_parties_that_share_all_but_their_last_byte_are_two(world: Consortium) -> None:
    other = PARTY[:-1] + b"\2"
    world.apply("KB", listing(world.time_ms + 100_000))
    receipt = world.apply("PA", op("blacklist", "look_up", other, "onboarding"))
    assert told(receipt) == [("blacklist.LookedUp", [other, "PA", "onboarding", 0])]
