"""The payment day: every order sent over gRPC, the node killed in mid-stream, and what the ledger says of
it afterwards.

What is compared with the file is read back from the blocks, not remembered by the sender.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from contracts.transfers import Sent
from node.client import Client, Outcome, Refused, operation
from node.client.outcome import decode_receipt
from node.client.signing import new_request_id
from node.demo.child import NodeProcess
from node.demo.consortium import (
    ASSET,
    CENTRAL,
    ISSUING,
    Consortium,
    DemoFailed,
    credit_account,
    debit_account,
    payment,
)
from node.demo.orders import Order
from node.ledger import codec
from node.ledger.types import AMOUNT_MAX, Operation

BATCH_MAX: Final = 100
BATCHES_MIN: Final = 40
"""A short day goes in smaller batches, so that the kill finds some in flight."""
WINDOW: Final = 12
PATIENCE_SECONDS: Final = 60.0

_read_sent: Final[Callable[[bytes], Sent]] = codec.decoder(Sent)


class Bar(Protocol):
    """Where the progress of the day is shown."""

    @property
    def done(self) -> Callable[[int], None]:
        """Takes how many orders have their receipt."""

    @property
    def say(self) -> Callable[[str], None]:
        """Takes a remark."""


@dataclass(slots=True)
class Day:
    """What was measured while the orders went through. Times in seconds; latencies of single orders, from
    sending to receipt.
    """

    orders: int
    seconds: float = 0.0
    outage: float = 0.0
    acknowledged_before: int = 0
    sent_again: set[bytes] = field(default_factory=set)
    found_decided: int = 0
    killed_ms: int = 0
    undisturbed: list[float] = field(default_factory=list)
    tx_ids: list[bytes] = field(default_factory=list)

    def latency_ms(self, percent: int) -> float:
        """A percentile of the orders that the kill did not touch."""
        ordered = sorted(self.undisturbed) or [0.0]
        return ordered[min(len(ordered) * percent // 100, len(ordered) - 1)] * 1_000


@dataclass(slots=True)
class Sums:
    """Orders and hellers."""

    orders: int = 0
    amount: int = 0

    def add(self, amount: int) -> None:
        """One more order."""
        self.orders += 1
        self.amount += amount


@dataclass(frozen=True, slots=True)
class WrongOrder:
    """An order that must fail: what is wrong with it, the code that it must get, and what it got."""

    what: str
    expected: str
    got: str
    sentence: str


def sign_orders(client: Client, consortium: Consortium, orders: Sequence[Order]) -> list[bytes]:
    """Every order, signed by PA, one signature each."""
    signer = consortium.signers[ISSUING]
    return [client.sign(ISSUING, [payment(order)], [signer]).raw for order in orders]


async def send_orders(client: Client, node: NodeProcess, signed: Sequence[bytes], bar: Bar) -> Day:
    """Send all; when half are acknowledged, SIGKILL the node and start it again. Raises: DemoFailed."""
    day = Day(len(signed), tx_ids=[b""] * len(signed))
    started = time.monotonic()
    killed = 0.0
    done = 0
    batch = max(min(len(signed) // BATCHES_MIN, BATCH_MAX), 1)
    async for index, outcome in client.submit_stream(
        signed, window=WINDOW, batch=batch, seconds=PATIENCE_SECONDS
    ):
        if not outcome.applied or outcome.receipt is None:
            raise DemoFailed(
                f"order {index + 1}: {outcome.word}: {outcome.refusal or outcome.reason}\n{node.log_tail()}"
            )
        done += 1
        day.tx_ids[index] = outcome.tx_id
        if killed and not day.outage and outcome.attempts > 1:
            day.outage = time.monotonic() - killed
        if outcome.attempts == 1:
            day.undisturbed.append(outcome.seconds)
        else:
            day.sent_again.add(outcome.tx_id)
        if not killed and 2 * done >= len(signed):
            day.acknowledged_before = done
            day.killed_ms = time.time_ns() // 1_000_000
            killed = time.monotonic()
            node.kill()
            bar.say(f"SIGKILL after {done:,} receipts; the node starts again, the client sends on")
            node.start()
        bar.done(done)
    day.seconds = time.monotonic() - started
    return day


async def read_back(client: Client, first: int, day: Day) -> list[Sent]:
    """Every transfer that the blocks from height ``first`` on hold, in order; counts what was decided
    before the kill and told after.
    """
    sent: list[Sent] = []
    for head in await client.headers(first, 1_000_000):
        block = await client.block(head.height)
        for encoded in block.receipts:
            receipt = decode_receipt(encoded)
            day.found_decided += receipt.tx_id in day.sent_again and head.time_ms <= day.killed_ms
            sent += [_read_sent(event.fields) for event in receipt.events if event.event == Sent.__name__]
    return sent


def reconcile(orders: Sequence[Order], sent: Sequence[Sent]) -> dict[tuple[str, str], Sums]:
    """Compare each order with its transfer, and give the sums by (receiving bank, purpose). Raises:
    DemoFailed on any difference.
    """
    found = {transfer.end_to_end_id: transfer for transfer in sent}
    if len(found) != len(sent):
        raise DemoFailed("an order was paid twice")
    table: dict[tuple[str, str], Sums] = {}
    for order in orders:
        transfer = found.pop(order.order_id, None)
        if transfer is None:
            raise DemoFailed(f"order {order.order_id} is missing from the ledger")
        told = (transfer.source, transfer.destination, transfer.asset, transfer.amount, transfer.purpose)
        if told != (debit_account(order), credit_account(order), ASSET, order.amount, order.purpose):
            raise DemoFailed(f"order {order.order_id} was paid otherwise than ordered: {told}")
        table.setdefault((order.bank_to, order.purpose), Sums()).add(transfer.amount)
    if found:
        raise DemoFailed(f"the ledger holds transfers that nobody ordered: {', '.join(list(found)[:5])}")
    return table


async def check_positions(client: Client, orders: Sequence[Order]) -> int:
    """Every bank has what was sent to it and PA's customers have nothing left; the sum over all. Raises:
    DemoFailed.
    """
    expected: dict[str, int] = {ISSUING: 0}
    for order in orders:
        expected[order.bank_to] = expected.get(order.bank_to, 0) + order.amount
    total = 0
    for bank, amount in expected.items():
        posted, held = (await client.positions(bank)).get(ASSET, (0, 0))
        if (posted, held) != (amount, 0):
            raise DemoFailed(
                f"{bank} has {posted} hellers, {held} of them held; its orders add up to {amount}"
            )
        total += posted
    supply = await client.query("assets", "get_asset", ASSET)
    if supply.issued - supply.redeemed != total:
        raise DemoFailed(f"{supply.issued - supply.redeemed} hellers were issued and {total} are in accounts")
    return total


# --- orders that must fail --------------------------------------------------------------------------------


async def send_wrong_orders(
    client: Client, consortium: Consortium, orders: Sequence[Order], signed: Sequence[bytes]
) -> list[WrongOrder]:
    """A handful of deliberately wrong orders, each with the code it must get. Raises: DemoFailed where one
    gets another answer.
    """
    first, last = orders[0], orders[-1]
    debit, credit = debit_account(first), credit_account(first)
    central, issuing = consortium.signers[CENTRAL], consortium.signers[ISSUING]
    receiver = first.bank_to
    request_id = new_request_id()

    def send(source: str, destination: str, amount: int) -> Operation:
        return operation("transfers", "send", source, destination, ASSET, amount, "wrong", b"", "")

    def by_pa(call: Operation) -> bytes:
        return client.sign(ISSUING, [call], [issuing]).raw

    over = operation("assets", "issue", ASSET, debit, AMOUNT_MAX, "too much")
    spent = client.sign(ISSUING, [send(debit, credit, 2)], [issuing], request_id=request_id).raw
    await client.submit_many([spent])
    cases = [
        ("An order again when the account is empty", "assets/14 INSUFFICIENT_BALANCE", by_pa(payment(first))),
        (
            "To an account that nobody opened",
            "assets/9 ACCOUNT_UNKNOWN",
            by_pa(send(debit, f"{receiver}/NOBODY", 100)),
        ),
        ("From another bank's account", "assets/10 NOT_OWNER", by_pa(send(credit, debit, 100))),
        ("From an account to itself", "transfers/1 SAME_ACCOUNT", by_pa(send(debit, debit, 100))),
        ("An amount of zero", "ledger/16 BAD_ARGUMENTS", by_pa(send(debit, credit, 0))),
        ("More money than may exist", "assets/6 CAP_EXCEEDED", client.sign(CENTRAL, [over], [central]).raw),
        (
            "Signed with another bank's key",
            "ledger/10 UNKNOWN_KEY",
            client.sign(ISSUING, [payment(last)], [central]).raw,
        ),
        (
            "A request id with other content",
            "ledger/6 REQUEST_ID_SPENT",
            _respent(client, consortium, send(debit, credit, 1), request_id),
        ),
        ("One bit of a signature changed", "ledger/13 BAD_SIGNATURE", _damaged(by_pa(payment(last)))),
    ]
    results: list[WrongOrder] = []
    outcomes = await client.submit_many([raw for _, _, raw in cases])
    for (what, expected, _), outcome in zip(cases, outcomes, strict=True):
        refusal: Refused | None = outcome.refusal
        got = refusal.code if refusal else outcome.word
        if outcome.applied or got != expected:
            raise DemoFailed(f"{what}: expected {expected}, got {got}")
        results.append(WrongOrder(what, expected, got, refusal.sentence if refusal else ""))
    results.append(await _same_again(client, signed[0]))
    return results


def _damaged(raw: bytes) -> bytes:
    """The last byte belongs to the signature."""
    return raw[:-1] + bytes([raw[-1] ^ 1])


def _respent(client: Client, consortium: Consortium, call: Operation, request_id: bytes) -> bytes:
    return client.sign(ISSUING, [call], [consortium.signers[ISSUING]], request_id=request_id).raw


async def _same_again(client: Client, raw: bytes) -> WrongOrder:
    """The same bytes again are no second payment: they get the first receipt."""
    outcome: Outcome = (await client.submit_many([raw]))[0]
    if outcome.receipt is None or not outcome.applied:
        raise DemoFailed(f"the first order again: {outcome.word}: {outcome.refusal or outcome.reason}")
    told = f"first receipt, height {outcome.receipt.height}"
    return WrongOrder(
        "The first order's bytes once more", told, told, "Nothing moved: it was decided already."
    )
