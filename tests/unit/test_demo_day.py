"""The demonstration's verdict: a ledger that differs from the file in anything is told apart."""

from typing import Any

import pytest
from msgspec.structs import replace

from contracts.transfers import Sent
from node.cli.output import Format, Output
from node.demo.consortium import DemoFailed, credit_account, debit_account
from node.demo.day import Day, Sums, reconcile
from node.demo.orders import Order, generated_day
from node.demo.stage import Stage

ORDERS = generated_day(5)[:40]


def transfer(order: Order) -> Sent:
    """The transfer that an order asks for."""
    accounts = (debit_account(order), credit_account(order))
    return Sent(*accounts, "CZK", order.amount, order.order_id, b"", order.purpose)


def test_a_ledger_that_agrees_gives_the_sums_of_the_file() -> None:
    table = reconcile(ORDERS, [transfer(order) for order in reversed(ORDERS)])
    assert sum(sums.amount for sums in table.values()) == sum(order.amount for order in ORDERS)
    for (bank, purpose), sums in table.items():
        own = [order for order in ORDERS if (order.bank_to, order.purpose) == (bank, purpose)]
        assert (sums.orders, sums.amount) == (len(own), sum(order.amount for order in own))


@pytest.mark.parametrize(
    "change",
    [
        {"amount": ORDERS[3].amount + 1},
        {"source": "PA/0"},
        {"destination": "AB/0"},
        {"asset": "EUR"},
        {"purpose": "OTHER"},
        {"end_to_end_id": "0"},
    ],
)
def test_one_order_paid_otherwise_fails_loudly(change: dict[str, Any]) -> None:
    sent = [transfer(order) for order in ORDERS]
    sent[3] = replace(sent[3], **change)
    with pytest.raises(DemoFailed):
        reconcile(ORDERS, sent)


def test_an_order_missing_paid_twice_or_never_ordered_fails_loudly() -> None:
    sent = [transfer(order) for order in ORDERS]
    for wrong in (sent[:-1], [*sent, sent[0]], [*sent, replace(sent[0], end_to_end_id="0")]):
        with pytest.raises(DemoFailed):
            reconcile(ORDERS, wrong)


@pytest.mark.parametrize("width", [80, 160])
def test_the_table_shows_every_total_whole_at_any_width(
    width: int, capsys: pytest.CaptureFixture[str]
) -> None:
    output = Output(Format.TABLE)
    output.console.width = width
    table = {(order.bank_to, order.purpose): Sums(1_234, 1_396_541_700) for order in ORDERS}
    Stage(output).table(table)
    told = capsys.readouterr().out
    assert told.count("13,965,417.00") >= len(table)
    assert Stage.amount(1_396_541_700 * len(table)) in told
    assert "…" not in told
    assert max(map(len, told.splitlines())) <= width


def test_percentiles_are_of_the_orders_that_the_kill_did_not_touch() -> None:
    day = Day(100, undisturbed=[n / 1_000 for n in range(1, 101)])
    assert (day.latency_ms(50), day.latency_ms(99)) == (51, 100)
    assert Day(1).latency_ms(99) == 0
