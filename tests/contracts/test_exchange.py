"""The guided exchange of an interbank transfer: what whole histories come to."""

from typing import Any

import pytest

from contracts.assets import Assets
from contracts.scenarios.asset_transfer import AssetTransfer
from contracts.trading import Trading
from node.ledger import codec
from node.ledger.errors import Rejected
from tests.checker import check_ledger
from tests.contracts.market import (
    DOCUMENT,
    EXPIRES_MS,
    KB,
    PA,
    Market,
    apply_for,
    passes,
    take,
)
from tests.contracts.refusals_exchange import STATEMENT, opened_exchange
from tests.kit import NO_TERMS, is_refused, op, told


@pytest.fixture
def market() -> Market:
    return Market()


def _exchange(world: Market, member: str, exchange: bytes) -> Any:
    return world.ledger.query("exchange", "get_exchange", codec.encode((member, exchange)))


def test_a_bond_goes_from_the_register_to_both_sides_statements(market: Market) -> None:
    market.apply("CNB", apply_for("NOTE", isin="", terms_hash=NO_TERMS, cap=50))
    market.apply("REG", op("registration", "take_up", "NOTE"))
    market.apply("REG", op("registration", "approve", "NOTE", NO_TERMS, ""))
    market.apply("CNB", op("assets", "issue", "NOTE", "PA/main", 50, ""))
    exchange = opened_exchange(market, asset="NOTE", units=50, amount=450)
    assert market.balance("PA/main", "NOTE") == (50, 50)
    receipt = market.apply("KB", op("exchange", "accept", exchange, "CZK", 450, KB))
    assert [name for name, _ in told(receipt)] == [
        "trading.OfferEnded",
        "settlement.Agreed",
        "trading.OfferTaken",
        "settlement.Settled",
        "exchange.ExchangeMoved",
    ]
    assert (market.balance("KB/main", "NOTE"), market.balance("KB/main")) == ((50, 0), (50, 0))
    deal = _exchange(market, "PA", exchange).deal
    assert market.record("settlement", "deal", deal).status == "settled"
    market.apply("PA", op("exchange", "confirm", exchange, STATEMENT))
    assert _exchange(market, "KB", exchange).status == "settled"
    market.apply("KB", op("exchange", "confirm", exchange, DOCUMENT))
    found = _exchange(market, "KB", exchange)
    assert (found.seller_statement, found.buyer_statement, found.status) == (STATEMENT, DOCUMENT, "confirmed")
    check_ledger(market.blocks(), market.genesis)


def test_what_cannot_be_settled_is_not_accepted_and_both_legs_stay(market: Market) -> None:
    exchange = opened_exchange(market, amount=501)
    before = market.state()
    refused = market.send("KB", op("exchange", "accept", exchange, "CZK", 501, KB))
    assert is_refused(refused, Assets.INSUFFICIENT_BALANCE)
    assert market.state() == before
    assert _exchange(market, "KB", exchange).status == "offered"


def test_an_asset_is_exchanged_for_an_asset(market: Market) -> None:
    market.apply("CNB", op("assets", "release_asset", "EUR"))
    market.apply("PA", op("transfers", "send", "PA/main", "KB/main", "EUR", 100, "", b"", ""))
    exchange = opened_exchange(market, against="EUR", amount=70)
    market.apply("KB", op("exchange", "accept", exchange, "EUR", 70, KB))
    assert (market.balance("KB/main", "BOND")[0], market.balance("KB/main", "EUR")[0]) == (60, 30)


def test_an_exchange_that_nobody_accepts_is_over_at_its_time_and_its_units_are_free(market: Market) -> None:
    exchange = opened_exchange(market)
    passes(market, EXPIRES_MS)
    assert _exchange(market, "PA", exchange).status == "expired"
    assert market.balance("PA/main", "BOND") == (60, 0)
    for member, step in (("KB", "decline"), ("PA", "withdraw")):
        late = market.send(member, op("exchange", step, exchange, ""))
        assert is_refused(late, AssetTransfer.NOT_IN_THIS_STATE)


@pytest.mark.parametrize(("member", "step"), [("KB", "decline"), ("PA", "withdraw")])
def test_an_exchange_that_a_side_ends_frees_what_was_set_aside(
    market: Market, member: str, step: str
) -> None:
    exchange = opened_exchange(market)
    market.apply(member, op("exchange", step, exchange, "no"))
    assert market.balance("PA/main", "BOND") == (60, 0)
    refused = market.send("KB", op("exchange", "accept", exchange, "CZK", 400, KB))
    assert is_refused(refused, AssetTransfer.NOT_IN_THIS_STATE)


def test_after_a_dispute_both_sides_confirm_anew(market: Market) -> None:
    exchange = opened_exchange(market)
    market.apply("KB", op("exchange", "accept", exchange, "CZK", 400, KB))
    market.apply("PA", op("exchange", "confirm", exchange, STATEMENT))
    market.apply("KB", op("exchange", "dispute", exchange, "two units short"))
    assert _exchange(market, "PA", exchange).seller_statement == b""
    for member in ("PA", "KB"):
        market.apply(member, op("exchange", "confirm", exchange, STATEMENT))
    assert _exchange(market, "PA", exchange).status == "confirmed"
    refused = market.send("KB", op("exchange", "dispute", exchange, "late"))
    assert is_refused(refused, AssetTransfer.NOT_IN_THIS_STATE)


def test_an_exchange_is_shown_to_its_sides_alone(market: Market) -> None:
    exchange = opened_exchange(market)
    for member, sees in (("PA", True), ("KB", True), ("CNB", False)):
        listed = market.ledger.query("exchange", "list_exchanges", codec.encode((member, b"")))
        assert [named.id for named in listed] == [exchange] * sees
    with pytest.raises(Rejected, match="EXCHANGE_UNKNOWN"):
        _exchange(market, "CNB", exchange)
    taken = op("trading", "take", "PA", exchange, 1, "CZK", 400, PA)
    assert market.send("CNB", taken).codespace == "trading", "the offer behind it is the buyer's alone"


def test_an_exchange_is_what_its_offer_is_whatever_its_sides_try_beside_it(market: Market) -> None:
    exchange = opened_exchange(market)
    for member, call in (
        ("KB", take("PA", exchange, 1, 400)),
        ("KB", op("trading", "answer", "PA", exchange, 1, 390, KB, EXPIRES_MS)),
        ("PA", op("trading", "cancel", exchange)),
    ):
        assert is_refused(market.send(member, call), Trading.LED)
        assert (_exchange(market, "PA", exchange).status, market.balance("PA/main", "BOND")) == (
            "offered",
            (60, 20),
        )
    market.apply("KB", op("exchange", "accept", exchange, "CZK", 400, KB))
    deal = _exchange(market, "PA", exchange).deal
    assert market.record("settlement", "deal", deal).status == "settled"
    assert len(market.rows("settlement", "deal")) == 1
