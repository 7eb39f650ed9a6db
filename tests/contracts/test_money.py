"""Assets and transfers: exact state and events of what is applied, and what their queries answer."""

from typing import Any

import pytest

from contracts.positions import Account, Asset, Position
from contracts.transfers import DURATION_MAX_MS, Hold, Leg
from node.ledger import codec
from node.ledger.contract import Rejected
from node.ledger.hashing import INTERNATIONAL
from node.ledger.types import Receipt
from tests.checker import check_ledger
from tests.kit import NO_TERMS, START_MS, STEP_MS, Consortium, op, pay, refusal, register, told

UETR = bytes(range(16))


@pytest.fixture
def world() -> Consortium:
    return Consortium()


def ask(world: Consortium, contract: str, query: str, *arguments: Any) -> Any:
    return world.ledger.query(contract, query, codec.encode(arguments))


def test_an_asset_is_registered_issued_and_redeemed(world: Consortium) -> None:
    terms = b"\7" * 32
    receipt = world.apply("CNB", op("assets", "register", "B-1.X", "bond", 4, 900, terms))
    assert told(receipt) == [("assets.AssetRegistered", ["B-1.X", "CNB", "bond", 4, 900, terms])]
    receipt = world.apply("CNB", op("assets", "issue", "B-1.X", "PA/main", 900, "first"))
    assert told(receipt) == [("assets.Issued", ["B-1.X", "PA/main", 900, "first"])]
    world.apply("PA", pay("PA/main", "CNB/main", 300, asset="B-1.X"))
    receipt = world.apply("CNB", op("assets", "redeem", "B-1.X", "CNB/main", 250, "back"))
    assert told(receipt) == [("assets.Redeemed", ["B-1.X", "CNB/main", 250, "back"])]
    world.apply(
        "CNB", op("assets", "issue", "B-1.X", "PA/main", 250, "")
    )  # what was redeemed may be issued again
    assert world.record("assets", "asset", "B-1.X") == Asset(
        "CNB", "bond", 4, 900, terms, "active", 1_150, 250
    )
    assert (world.balance("PA/main", "B-1.X"), world.balance("CNB/main", "B-1.X")) == ((850, 0), (50, 0))
    assert check_ledger(world.blocks(), world.genesis).movements >= 10


def test_a_frozen_asset_is_released(world: Consortium) -> None:
    receipt = world.apply("CNB", op("assets", "release_asset", "EUR"), op("assets", "freeze_asset", "CZK"))
    assert told(receipt) == [
        ("assets.AssetStatusChanged", ["EUR", "active"]),
        ("assets.AssetStatusChanged", ["CZK", "frozen"]),
    ]
    world.apply("PA", pay("PA/main", "KB/main", 290, asset="EUR"))
    assert world.balance("KB/main", "EUR") == (290, 0)


def test_an_account_lives_from_open_to_closed(world: Consortium) -> None:
    names = ("PA/a", "PA/b.c_d-e", "PA/" + "x" * 34)
    receipt = world.apply("PA", op("assets", "open_accounts", names))
    assert told(receipt) == [("assets.AccountsOpened", [list(names)])]
    assert world.record("assets", "account", "PA/a") == Account("PA", "open", world.time_ms)
    for method, status in (
        ("freeze_account", "frozen"),
        ("release_account", "open"),
        ("close_account", "closed"),
    ):
        receipt = world.apply("PA", op("assets", method, "PA/a"))
        assert told(receipt) == [("assets.AccountStatusChanged", ["PA/a", status])]
        assert world.record("assets", "account", "PA/a").status == status


def test_an_account_that_was_emptied_can_be_closed(world: Consortium) -> None:
    world.apply("KB", pay("KB/main", "PA/main", 500), op("assets", "close_account", "KB/main"))
    assert world.record("assets", "account", "KB/main").status == "closed"
    assert world.record("assets", "balance", "KB/main", "CZK") == Position(0, 0)


@pytest.mark.parametrize(
    "name", ["PA/", "PA/-a", "PA/a b", "PA/ä", "PA//a", "PA/a\n", "pa/a", "PA/" + "x" * 35]
)
def test_an_account_id_has_a_closed_alphabet(name: str, world: Consortium) -> None:
    receipt = world.send("PA", op("assets", "open_accounts", (name,)))
    assert (receipt.codespace, receipt.code) == ("ledger", 16)


def test_a_payment_moves_money_and_tells_both_sides(world: Consortium) -> None:
    send = op("transfers", "send", "PA/main", "KB/main", "CZK", 800, "e2e", UETR, "SALA")
    receipt = world.apply("PA", send)
    assert told(receipt) == [("transfers.Sent", ["PA/main", "KB/main", "CZK", 800, "e2e", UETR, "SALA"])]
    assert (world.balance("PA/main"), world.balance("KB/main")) == ((200, 200), (1_300, 0))


def test_a_batch_pays_every_leg_the_same_account_twice_if_told(world: Consortium) -> None:
    legs = (Leg("KB/main", 10, "a"), Leg("CNB/main", 20, "b"), Leg("KB/main", 30, "c"))
    receipt = world.apply("PA", op("transfers", "send_many", "PA/main", "CZK", 60, legs, b"", "TAXS"))
    plain = [["KB/main", 10, "a"], ["CNB/main", 20, "b"], ["KB/main", 30, "c"]]
    assert told(receipt) == [("transfers.SentMany", ["PA/main", "CZK", 60, plain, b"", "TAXS"])]
    assert [world.balance(name) for name in ("PA/main", "KB/main", "CNB/main")] == [
        (940, 200),
        (540, 0),
        (420, 0),
    ]


def reserve(world: Consortium, amount: int, expires_ms: int) -> tuple[Receipt, bytes]:
    receipt = world.apply(
        "PA",
        pay("PA/main", "KB/main", 1),
        op("transfers", "reserve", "PA/main", "KB/main", "CZK", amount, expires_ms, "r"),
    )
    return receipt, INTERNATIONAL.digest(b"vostro/unique-id/1\0" + receipt.tx_id + b"\0\2")


def test_a_hold_is_named_by_its_transaction_and_operation(world: Consortium) -> None:
    expires_ms = world.time_ms + STEP_MS + DURATION_MAX_MS  # the latest there is
    receipt, hold = reserve(world, 300, expires_ms)
    assert told(receipt)[1] == (
        "transfers.Reserved", ["PA/main", hold, "KB/main", "CZK", 300, expires_ms, "r"]
    )  # fmt: skip
    assert world.record("transfers", "hold", "PA/main", hold) == Hold(
        "KB/main", "CZK", 300, expires_ms, "r", "pending", 0
    )
    assert world.record("transfers", "due", "expiry", expires_ms, "PA/main", hold) is not None
    assert world.balance("PA/main") == (999, 500)


@pytest.mark.parametrize("part", [1, 299, 300])
def test_a_hold_is_posted_in_whole_or_in_part_and_the_rest_is_released(part: int, world: Consortium) -> None:
    expires_ms = world.time_ms + 60_000
    _, hold = reserve(world, 300, expires_ms)
    receipt = world.apply("PA", op("transfers", "post", "PA/main", hold, part))
    assert told(receipt) == [("transfers.Posted", ["PA/main", hold, "KB/main", "CZK", part, "r"])]
    assert (world.balance("PA/main"), world.balance("KB/main")) == ((999 - part, 200), (501 + part, 0))
    assert world.record("transfers", "hold", "PA/main", hold) == Hold(
        "KB/main", "CZK", 300, expires_ms, "r", "posted", part
    )
    assert world.record("transfers", "due", "expiry", expires_ms, "PA/main", hold) is None


@pytest.mark.parametrize("member", ["PA", "KB"])
def test_a_hold_is_voided_by_the_bank_of_either_side(member: str, world: Consortium) -> None:
    source, hold = world.holds["pending"]
    receipt = world.apply(member, op("transfers", "void", source, hold))
    assert told(receipt) == [("transfers.Voided", [source, hold])]
    assert world.balance("PA/main") == (1_000, 150)
    found = world.record("transfers", "hold", source, hold)
    assert (found.status, found.posted) == ("voided", 0)


def test_money_held_to_the_last_unit_can_be_posted(world: Consortium) -> None:
    receipt = world.apply(
        "KB", op("transfers", "reserve", "KB/main", "PA/main", "CZK", 500, world.time_ms + 60_000, "")
    )
    hold = codec.decoder(Any)(receipt.events[0].fields)[1]  # type: ignore[var-annotated]
    refused = world.send("KB", pay("KB/main", "PA/main", 1))
    assert (refused.codespace, refused.code) == ("assets", 14)
    world.apply("KB", op("transfers", "post", "KB/main", hold, 500))
    assert (world.balance("KB/main"), world.balance("PA/main")) == ((0, 0), (1_500, 200))


def test_queries_answer_in_pages_from_behind_the_last_one(world: Consortium) -> None:
    many = tuple(f"PA/n{number:03}" for number in range(120))
    world.apply("PA", op("assets", "open_accounts", many))
    world.apply("CNB", *(register(f"A{number:03}") for number in range(99)))
    first = [row.id for row in ask(world, "assets", "list_accounts", "PA", "")]
    rest = [row.id for row in ask(world, "assets", "list_accounts", "PA", first[-1])]
    assert len(first) == 100
    assert first + rest == ["PA/closed", "PA/empty", "PA/frozen", "PA/main", *many]
    assets = [row.id for row in ask(world, "assets", "list_assets", "")]
    assert (len(assets), assets[0]) == (100, "A000")
    assert [row.id for row in ask(world, "assets", "list_assets", assets[-1])] == ["EUR"]
    positions = ask(world, "assets", "list_balances", "PA/main", "")
    assert [(row.asset, row.position) for row in positions] == [
        ("CZK", Position(1_000, 200)),
        ("EUR", Position(300, 10)),
    ]
    assert [row.asset for row in ask(world, "assets", "list_balances", "PA/main", "CZK")] == ["EUR"]
    holds = ask(world, "transfers", "list_holds", "PA/main", b"")
    assert [row.id for row in holds] == sorted(
        hold for source, hold in world.holds.values() if source == "PA/main"
    )
    assert [row.id for row in ask(world, "transfers", "list_holds", "PA/main", holds[1].id)] == [
        row.id for row in holds[2:]
    ]


def test_queries_about_one_thing_answer_it_or_refuse(world: Consortium) -> None:
    assert ask(world, "assets", "get_asset", "CZK").issued == 2_000
    assert ask(world, "assets", "get_account", "KB/frozen").status == "frozen"
    assert ask(world, "assets", "get_balance", "PA/empty", "CZK") == Position(0, 0)
    assert ask(world, "transfers", "get_hold", *world.holds["voided"]).status == "voided"
    for contract, query, *arguments in (
        ("assets", "get_asset", "NONE"),
        ("assets", "get_account", "PA/none"),
        ("assets", "list_balances", "PA/none", ""),
        ("transfers", "get_hold", "PA/main", NO_TERMS),
        ("transfers", "list_holds", "PA/none", b""),
        ("members", "get_member", "NOBODY"),
    ):
        with pytest.raises(Rejected) as refused:
            ask(world, contract, query, *arguments)
        assert refused.value.error.category.name == "NOT_FOUND"
    assert world.time_ms < START_MS + world.HOLD_MS


def test_a_hold_can_be_posted_a_millisecond_before_its_time_and_not_at_it(
    world: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("contracts.transfers.EXPIRY_MAX", 0)
    expires_ms = world.time_ms + 60_000
    _, one = reserve(world, 3, expires_ms)
    _, other = reserve(world, 4, expires_ms)
    world.apply("PA", op("transfers", "post", "PA/main", one, 3), time_ms=expires_ms - 1)
    calls = (op("transfers", "post", "PA/main", other, 4), op("transfers", "void", "PA/main", other))
    outcomes = world.block(*(world.make("PA", call) for call in calls), time_ms=expires_ms)
    assert [refusal(outcome) for outcome in outcomes] == [("transfers", 7)] * 2
