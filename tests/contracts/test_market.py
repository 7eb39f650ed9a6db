"""Registration, servicing, trading and settlement: what whole histories come to."""

from datetime import date, timedelta
from typing import Any

import pytest

from contracts.assets import Assets
from contracts.registration import Registration
from contracts.settlement import Settlement
from contracts.terms import Holders, Terms, accrued, civil_date, days_between
from node.ledger import codec
from tests.checker import check_ledger
from tests.contracts.market import (
    DAY_MS,
    DUE_MS,
    EXPIRES_MS,
    OPEN,
    PA,
    RECORD_MS,
    SECURED,
    TERMS,
    Market,
    announced,
    dealt,
    made,
    offered,
    passes,
    take,
)
from tests.kit import ADMINISTRATOR, NO_TERMS, START_MS, is_refused, op


@pytest.fixture
def market() -> Market:
    return Market()


def _query(world: Market, contract: str, name: str, *arguments: Any) -> Any:
    return world.ledger.query(contract, name, codec.encode(arguments))


def test_a_redemption_pays_the_holders_takes_the_units_back_and_lets_the_bond_retire(market: Market) -> None:
    market.apply("CNB", op("assets", "issue", "CZK", "CNB/main", 10_000, ""))
    due_ms = TERMS.matures_ms
    market.apply("CNB", op("servicing", "announce", "BOND", "redemption", "CZK", 100, 1, due_ms))
    market.block(time_ms=due_ms)
    market.apply("LAW", op("servicing", "fix", "BOND", 1, ("PA/main",)))
    assert market.record("servicing", "action", "BOND", 1).status == "fixing"
    market.apply("KB", op("servicing", "fix", "BOND", 1, ("KB/main",)))
    pay = [
        op("servicing", "pay", "BOND", 1, "CNB/main", "CNB/main", (f"{bank}/main",)) for bank in ("PA", "KB")
    ]
    market.apply("CNB", pay[0])
    action = market.record("servicing", "action", "BOND", 1)
    assert (action.owed, action.paid, action.claims, action.status) == (10_000, 6_000, 1, "fixed")
    assert is_refused(
        market.send("CNB", op("assets", "redeem", "BOND", "CNB/main", 60, "")), Assets.BOOKS_CLOSED
    )
    market.apply("CNB", pay[1])
    market.apply(
        "CNB", op("assets", "redeem", "BOND", "CNB/main", 100, ""), op("registration", "retire", "BOND")
    )
    assert [market.balance(f"{bank}/main")[0] for bank in ("PA", "KB", "CNB")] == [7_000, 4_500, 400]
    assert market.record("assets", "asset", "BOND").status == "retired"
    check_ledger(market.blocks(), market.genesis)


def test_a_regulator_lifts_the_order_of_a_member_that_was_removed_and_nobody_else(market: Market) -> None:
    market.apply("LAW", op("registration", "impose", "BOND", "A-1", "KB", NO_TERMS))
    lift = op("registration", "lift", "BOND", "A-1")
    assert is_refused(market.send("LAW", lift), Registration.NOT_LIFTER)
    market.apply(ADMINISTRATOR, op("members", "remove", "KB", "gone"))
    assert is_refused(market.send("REG", lift), Registration.NOT_LIFTER)
    market.apply("LAW", lift)
    assert market.record("assets", "asset", "BOND").status == "active"


def test_a_coupon_for_thousands_of_holders_is_paid_in_pieces_and_what_is_unpaid_is_told(
    market: Market,
) -> None:
    """2,400 accounts: fixed and paid 1,000 at a time, the last piece first, a part of them left unpaid."""
    names = [f"KB/h{number:04}" for number in range(2_400)]
    for at in range(0, 2_400, 1_000):
        market.apply("KB", op("assets", "open_accounts", tuple(names[at : at + 1_000])))
    market.apply("CNB", op("registration", "supplement", "BOND", 10_000, NO_TERMS))
    approved = op("registration", "approve", "BOND", NO_TERMS, "")
    market.apply("REG", op("registration", "take_up", "BOND"), approved)
    for at in range(0, 2_400, 100):
        market.apply("CNB", *[op("assets", "issue", "BOND", name, 3, "") for name in names[at : at + 100]])
    market.apply("CNB", op("assets", "issue", "CZK", "CNB/main", 20_000, ""))
    announced(market)
    market.block(time_ms=RECORD_MS)
    pieces = [tuple(names[at : at + 1_000]) for at in range(0, 2_400, 1_000)]
    for piece in [*pieces, ("PA/main", "KB/main")]:
        market.apply("CNB", op("servicing", "fix", "BOND", 1, piece))
    assert market.record("servicing", "action", "BOND", 1).status == "fixed"
    for piece in (pieces[2], pieces[0]):
        market.apply("CNB", op("servicing", "pay", "BOND", 1, "CNB/main", "CNB/main", piece))
    action = market.record("servicing", "action", "BOND", 1)
    assert (action.owed, action.paid, action.claims) == (2_400 * 7 + 250, 1_400 * 7, 1_002)
    unpaid, after = [], ""
    while page := _query(market, "servicing", "list_claims", "BOND", 1, after):
        unpaid += [named.account for named in page if named.claim.status == "unpaid"]
        after = page[-1].account
    assert unpaid == sorted([*pieces[1], "PA/main", "KB/main"])
    check_ledger(market.blocks(), market.genesis)


def test_a_legal_order_outlives_the_issuers_own_freeze_and_each_lifts_its_own(market: Market) -> None:
    def status() -> str:
        return str(market.record("assets", "asset", "BOND").status)

    market.apply("CNB", op("assets", "freeze_asset", "BOND"))
    for reference in ("A-1", "A-2"):
        market.apply("REG", op("registration", "impose", "BOND", reference, "LAW", NO_TERMS))
    assert is_refused(market.send("CNB", op("assets", "release_asset", "BOND")), Assets.ASSET_ORDERED)
    market.apply("LAW", op("registration", "lift", "BOND", "A-1"))
    assert status() == "ordered"
    market.apply("LAW", op("registration", "lift", "BOND", "A-2"))
    assert status() == "frozen"
    market.apply("CNB", op("assets", "release_asset", "BOND"))
    assert (status(), market.rows("assets", "stop")) == ("active", {})


def test_a_record_date_under_an_order_leaves_the_order(market: Market) -> None:
    announced(market)
    market.apply("REG", op("registration", "impose", "BOND", "A-1", "LAW", NO_TERMS))
    market.block(time_ms=RECORD_MS)
    market.apply("CNB", op("servicing", "fix", "BOND", 1, ("PA/main", "KB/main")))
    assert market.record("assets", "asset", "BOND").status == "ordered"


def test_a_request_is_quoted_and_the_better_quote_becomes_the_deal(market: Market) -> None:
    terms = ("sell", "BOND", 5, 4, 1, "CZK", PA, ("KB", "CNB"), EXPIRES_MS, OPEN)
    asked = made(market.apply("PA", op("trading", "request", *terms)), "Offered")
    quotes = {}
    for bank, price in (("KB", 21), ("CNB", 24)):
        accounts = (f"{bank}/main", f"{bank}/main")
        answer = op("trading", "answer", "PA", asked, 4, price, accounts, EXPIRES_MS)
        quotes[bank] = made(market.apply(bank, answer), "Offered")
    receipt = market.apply("PA", op("trading", "take", "CNB", quotes["CNB"], 4, "CZK", 96, PA))
    deal = market.record("settlement", "deal", made(receipt, "Agreed"))
    assert (deal.seller, deal.buyer, deal.lots, deal.price) == ("PA", "CNB", 4, 24)
    assert market.record("trading", "offer", "PA", asked).status == "filled"
    late = market.send("PA", op("trading", "take", "KB", quotes["KB"], 4, "CZK", 84, PA))
    assert late.codespace == "trading"


def test_a_linked_set_passes_bonds_through_a_bank_that_has_none(market: Market) -> None:
    market.apply("CNB", op("assets", "open_accounts", ("CNB/other",)))
    first = offered(market, "PA", lots=4, least=1)
    one = made(market.apply("CNB", take("PA", first, 4, 80, "CNB")), "Agreed")
    second = offered(market, "CNB", lots=4, least=1, price=30)
    two = made(market.apply("KB", take("CNB", second, 4, 120)), "Agreed")
    linked = made(market.apply("CNB", op("settlement", "link", (two, one))), "Linked")
    for bank in ("PA", "KB"):
        market.apply(bank, op("settlement", "join", linked))
    market.apply("KB", op("settlement", "settle_set", linked))
    assert [market.balance(f"{bank}/main", "BOND")[0] for bank in ("PA", "KB", "CNB")] == [40, 60, 0]
    assert [market.balance(f"{bank}/main")[0] for bank in ("PA", "KB", "CNB")] == [1_080, 380, 440]
    check_ledger(market.blocks(), market.genesis)


def test_an_asset_is_exchanged_against_an_asset(market: Market) -> None:
    market.apply("CNB", op("assets", "release_asset", "EUR"))
    found = offered(market, "KB", against="EUR", lots=2, least=1, price=7)
    receipt = market.apply("PA", op("trading", "take", "KB", found, 2, "EUR", 14, PA))
    market.apply("PA", op("settlement", "settle", made(receipt, "Agreed")))
    assert (market.balance("PA/main", "BOND")[0], market.balance("KB/main", "EUR")[0]) == (70, 14)


def test_a_deal_fails_at_its_time_and_settles_late_in_parts(market: Market) -> None:
    deal = dealt(market, conditions=SECURED)
    market.block(time_ms=DUE_MS)
    assert market.record("settlement", "deal", deal).status == "failing"
    assert market.balance("PA/main", "BOND") == (60, 20)
    market.apply("KB", op("settlement", "settle_partly", deal, 3))
    assert (market.balance("PA/main", "BOND"), market.balance("KB/main")) == ((45, 5), (440, 20))
    market.apply("PA", op("settlement", "settle", deal))
    assert (market.balance("PA/main", "BOND"), market.balance("KB/main")) == ((40, 0), (420, 0))
    assert is_refused(market.send("PA", op("settlement", "settle", deal)), Settlement.DEAL_ENDED)
    check_ledger(market.blocks(), market.genesis)


def test_both_sides_settle_at_the_same_moment_and_one_does(market: Market) -> None:
    deal = dealt(market)
    settle = op("settlement", "settle", deal)
    outcomes = market.block(market.make("PA", settle), market.make("KB", settle))
    assert sorted(getattr(outcome, "code", -1) for outcome in outcomes) == [0, 3]
    assert market.balance("KB/main", "BOND")[0] == 60


def test_interest_accrues_by_whole_days_and_ends_at_maturity(market: Market) -> None:
    assert [accrued(TERMS, 60, 0, START_MS + days * DAY_MS).amount for days in (0, 36, 360, 720)] == [
        0,
        30,
        300,
        300,
    ]
    told = _query(market, "servicing", "get_accrued", "PA/main", "BOND", START_MS + 36 * DAY_MS)
    assert (told.currency, told.amount, told.days) == ("CZK", 30, 36)
    assert accrued(Terms("", 0, 0, "ACT/365", 0, 0), 10**18, 0, 2**62).amount == 0


def test_a_coupon_of_interest_pays_what_accrued_since_the_last_one(market: Market) -> None:
    for number, days in ((1, 36), (2, 108)):
        record_ms = START_MS + days * DAY_MS
        told = _query(market, "servicing", "get_accrued", "PA/main", "BOND", record_ms)
        market.apply("CNB", op("servicing", "announce_interest", "BOND", record_ms))
        passes(market, record_ms)
        market.apply("CNB", op("servicing", "fix", "BOND", number, ("PA/main", "KB/main")))
        assert market.record("servicing", "claim", "BOND", number, "PA/main").amount == told.amount
        assert told.amount == {36: 30, 108: 60}[days]
    action = market.record("servicing", "action", "BOND", 2)
    assert (action.pays, action.per, action.owed) == (1, 1, 100)
    check_ledger(market.blocks(), market.genesis)


def test_a_cancelled_coupon_takes_nothing_from_the_next(market: Market) -> None:
    market.apply("CNB", op("servicing", "announce_interest", "BOND", START_MS + 36 * DAY_MS))
    market.apply("CNB", op("servicing", "cancel", "BOND", 1))
    told = _query(market, "servicing", "get_accrued", "PA/main", "BOND", START_MS + 72 * DAY_MS)
    assert (told.amount, told.days) == (60, 72)


def test_days_are_counted_as_the_conventions_say() -> None:
    """30E/360 by ISDA 2006, 4.16(g); the civil date against Python's own calendar, day by day."""

    def ms(year: int, month: int, day: int) -> int:
        return (date(year, month, day) - date(1970, 1, 1)).days * DAY_MS

    for start, end, thirty, actual in (
        ((2007, 1, 15), (2007, 1, 30), 15, 15),
        ((2007, 1, 15), (2007, 2, 15), 30, 31),
        ((2007, 1, 31), (2007, 2, 28), 28, 28),
        ((2007, 2, 28), (2007, 8, 31), 182, 184),
        ((2008, 2, 29), (2008, 3, 31), 31, 31),
        ((2007, 12, 31), (2008, 12, 31), 360, 366),
        ((2008, 1, 1), (2007, 1, 1), 0, 0),
    ):
        assert days_between("30E/360", ms(*start), ms(*end)) == thirty, (start, end)
        assert days_between("ACT/365", ms(*start), ms(*end) + 1) == actual, (start, end)
    first = date(1970, 1, 1)
    for number in range(0, 366 * 400, 3):
        day = first + timedelta(days=number)
        assert civil_date(number * DAY_MS + 5) == (day.year, day.month, day.day)


def test_the_holders_of_an_asset_are_found_in_pages(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _query(market, "servicing", "list_holders", "BOND", "") == Holders(("KB/main", "PA/main"), "")
    assert _query(market, "servicing", "list_holders", "BOND", "KB/main").accounts == ("PA/main",)
    monkeypatch.setattr("contracts.servicing.LOOKED_THROUGH_MAX", 2)
    found, after = [], ""
    for _ in range(20):
        page = _query(market, "servicing", "list_holders", "BOND", after)
        found += page.accounts
        after = page.next
        if not after:
            break
    assert (found, after) == (["KB/main", "PA/main"], "")


def test_an_accounts_side_may_be_split(market: Market) -> None:
    found = offered(market, lots=2, least=1)
    market.apply("KB", op("trading", "take", "PA", found, 1, "CZK", 20, ("KB/empty", "KB/main")))
    market.apply("CNB", take("PA", found, 1, 20, "CNB"))
    deals = market.rows("settlement", "deal").values()
    assert sorted(deal.buyer_accounts.asset for deal in deals) == ["CNB/main", "KB/empty"]
