"""Anchors: numbered, never changed, and never of an earlier state behind a later one."""

from typing import Any

from contracts.anchors import PAGE_MAX, Anchor, Series
from node.ledger import codec
from tests.kit import STEP_MS, Consortium, op, told

LOG = "custody-audit"


def ask(world: Consortium, member: str, purpose: str, after: int) -> Any:
    return world.ledger.query("anchors", "list_anchors", codec.encode((member, purpose, after)))


def test_anchors_are_numbered_by_member_and_purpose_and_kept_with_their_time() -> None:
    world = Consortium()
    first, second = bytes([1]) * 32, bytes([2]) * 32
    receipt = world.apply("PA", op("anchors", "anchor", LOG, 7, first))
    assert told(receipt) == [("anchors.Anchored", ["PA", LOG, 1, 7, first])]
    world.apply("PA", op("anchors", "anchor", LOG, 9, second), op("anchors", "anchor", "other", 1, first))
    world.apply("KB", op("anchors", "anchor", LOG, 1, first))
    rows = ask(world, "PA", LOG, 0)
    assert [(row.number, row.anchor.position, row.anchor.hash) for row in rows] == [
        (1, 7, first),
        (2, 9, second),
    ]
    assert rows[1].anchor == Anchor(9, second, world.height - 1, world.time_ms - STEP_MS)
    assert [row.number for row in ask(world, "PA", LOG, 1)] == [2]
    assert world.record("anchors", "series", "KB", LOG) == Series(1, 1)
    assert ask(world, "CNB", LOG, 0) == ()


def test_a_page_of_anchors_ends_and_goes_on() -> None:
    world = Consortium()
    for start in (1, 101):
        world.apply("PA", *(op("anchors", "anchor", LOG, at, bytes(32)) for at in range(start, start + 100)))
    world.apply("PA", op("anchors", "anchor", LOG, 201, bytes(32)))
    pages = [ask(world, "PA", LOG, after) for after in (0, 100, 200, 201)]
    assert [len(page) for page in pages] == [PAGE_MAX, PAGE_MAX, 1, 0]
