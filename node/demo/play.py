"""The demonstration from curtain to curtain; what it shows is checked, and what does not agree ends it
loudly.

Everything goes through the code of a real node and of a real client: ``vostro run`` in a process of its
own, gRPC over loopback, encrypted key files, one signature an order, and at the end a receipt and the whole
chain verified without the node.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

import uvloop

from node.cli.replay import Replayed
from node.client import Client
from node.demo import consortium as setting
from node.demo.child import NodeProcess
from node.demo.consortium import Consortium, DemoFailed, found
from node.demo.day import (
    Day,
    Sums,
    WrongOrder,
    check_positions,
    read_back,
    reconcile,
    send_orders,
    send_wrong_orders,
    sign_orders,
)
from node.demo.orders import Order
from node.demo.performance import Performance
from node.receipts import Verified, verify_receipt_file

MEMBERS_USUAL: Final = 15
ALGORITHMS_TOLD: Final = {"ed25519": "Ed25519", "sm2": "SM2"}
"""How people write the usual algorithm of a suite."""


class PaymentDay(Performance):
    """One performance: what each act leaves for the next."""

    def run(self) -> None:
        """All acts, in order."""
        uvloop.run(self._run())

    async def _run(self) -> None:
        orders, stage = self.orders, self.stage
        stage.open(self.source, len(orders), sum(order.amount for order in orders))
        started = time.monotonic()
        with stage.step(
            "Fifteen banks make their keys" if _is_usual(orders) else "The banks make their keys"
        ) as step:
            banks = list(dict.fromkeys(sorted(order.bank_to for order in orders)))
            cast = found(
                self.place,
                [bank for bank in banks if bank not in {setting.ISSUING, setting.CENTRAL}],
                self.listen,
                self.suite,
            )
            step.told = (
                f"{len(cast.signers)} members, 3 administrators, one sequencer; every key file encrypted"
            )
        node = NodeProcess(cast.node.config, self.listen, self.place / "node.log")
        with stage.step("A node starts") as step:
            node.start()
            node.wait_ready()
            chain = f"{self.suite.name} chain {cast.node.chain_id.hex()[:16]}"
            step.told = f"process {node.pid} on {self.listen}, {chain}"
        try:
            figures = await self._day(cast, node, time.monotonic() - started)
        finally:
            node.stop()
        self._afterwards(cast, figures)

    async def _day(self, cast: Consortium, node: NodeProcess, so_far: float) -> dict[str, Any]:
        """What needs the running node."""
        stage, orders = self.stage, self.orders
        started = time.monotonic()
        async with await self.connect(cast) as client:
            debited, credited = await self._set_up(client, cast)
            with stage.step("PA signs every order") as step:
                signed = sign_orders(client, cast, orders)
                told = ALGORITHMS_TOLD[self.suite.algorithms[0]]
                step.told = f"{len(signed):,} transactions, one {told} signature each"
            first = (await client.status()).height + 1
            set_up = so_far + time.monotonic() - started
            with stage.progress("The payment day", len(signed)) as bar:
                day = await send_orders(client, node, signed, bar)
            with stage.step("The ledger is read back and compared with the file") as step:
                sent = await read_back(client, first, day)
                table = reconcile(orders, sent)
                total = await check_positions(client, orders)
                step.told = f"{len(sent):,} transfers in blocks, each as ordered; balances and supply agree"
            with stage.step("Orders that must fail") as step:
                wrong = await send_wrong_orders(client, cast, orders, signed)
                await check_positions(client, orders)
                step.told = f"{len(wrong)} tried, each got its code, no balance moved"
            with stage.step("A receipt is exported") as step:
                receipt = await client.receipt_file(day.tx_ids[0])
                (self.place / "receipt.json").write_bytes(receipt)
                step.told = f"{len(receipt):,} bytes of JSON"
            head = await client.status()
        return {
            "day": day,
            "debited": debited,
            "credited": credited,
            "table": table,
            "total": total,
            "wrong": wrong,
            "app_hash": head.app_hash,
            "set_up": set_up,
            "suite": self.suite.name,
        }

    async def _set_up(self, client: Client, cast: Consortium) -> tuple[int, int]:
        """Members, accounts, money; how many accounts are debited and credited."""
        stage, orders = self.stage, self.orders
        with stage.step("The administrators admit the members") as step:
            count = await setting.admit(client, cast, setting.ROLES)
            step.told = (
                f"{count} members in one transaction of {setting.THRESHOLD} officers; CNB registers CZK"
            )
        with stage.step("Every bank opens its own accounts") as step:
            debited, credited = await setting.open_accounts(client, cast, orders)
            step.told = f"{debited:,} debited at PA, {credited:,} credited at the receiving banks"
        with stage.step("CNB issues what the orders need") as step:
            issued = await setting.fund(client, cast, orders)
            step.told = f"CZK {stage.amount(issued)} into {debited:,} accounts"
        return debited, credited

    def _afterwards(self, cast: Consortium, figures: dict[str, Any]) -> None:
        """What needs no node: it has been stopped."""
        day: Day = figures["day"]
        table: dict[tuple[str, str], Sums] = figures["table"]
        wrong: list[WrongOrder] = figures["wrong"]
        stage = self.stage
        trust = (cast.node.path / "genesis.json").read_bytes()
        with stage.step("The receipt is verified without the node") as step:
            proven: Verified = verify_receipt_file((self.place / "receipt.json").read_bytes(), trust)
            step.told = (
                f"transaction {proven.tx_id[:16]} at height {proven.height}, with trust in genesis alone"
            )
        replayed = self.recompute(cast, figures["app_hash"])
        _check_totals(self.orders, table, figures["total"])
        stage.table(table)
        stage.wrong(wrong)
        stage.figures(day, figures["set_up"], replayed)
        stage.close(_document(self.source, day, table, wrong, replayed, figures, asdict(proven)))


def _is_usual(orders: Sequence[Order]) -> bool:
    return len({order.bank_to for order in orders} | {setting.ISSUING, setting.CENTRAL}) == MEMBERS_USUAL


def _check_totals(orders: Sequence[Order], table: dict[tuple[str, str], Sums], total: int) -> None:
    """The sums that are shown are those of the file. Raises: DemoFailed."""
    ordered = sum(order.amount for order in orders)
    shown = sum(sums.amount for sums in table.values())
    count = sum(sums.orders for sums in table.values())
    if not (ordered == shown == total and count == len(orders)):
        raise DemoFailed(
            f"ordered {ordered} hellers in {len(orders)} orders, paid {shown} in {count}, in accounts {total}"
        )


def _document(
    source: str,
    day: Day,
    table: dict[tuple[str, str], Sums],
    wrong: Sequence[WrongOrder],
    replayed: Replayed,
    figures: dict[str, Any],
    receipt: dict[str, Any],
) -> dict[str, Any]:
    """The result for programs; amounts in hellers."""
    return {
        "source": source,
        "suite": figures["suite"],
        "orders": day.orders,
        "debited_accounts": figures["debited"],
        "credited_accounts": figures["credited"],
        "total_hellers": figures["total"],
        "by_bank_and_purpose": [
            {"bank": bank, "purpose": purpose, "orders": sums.orders, "hellers": sums.amount}
            for (bank, purpose), sums in sorted(table.items())
        ],
        "refused": [asdict(entry) for entry in wrong],
        "set_up_seconds": round(figures["set_up"], 2),
        "day_seconds": round(day.seconds, 2),
        "outage_seconds": round(day.outage, 2),
        "orders_per_second": round(day.orders / day.seconds),
        "orders_per_second_without_outage": round(day.orders / max(day.seconds - day.outage, 0.001)),
        "p50_ms": round(day.latency_ms(50), 1),
        "p99_ms": round(day.latency_ms(99), 1),
        "acknowledged_before_kill": day.acknowledged_before,
        "resent": len(day.sent_again),
        "decided_before_kill_told_after": day.found_decided,
        "blocks": replayed.blocks,
        "transactions": replayed.transactions,
        "app_hash": replayed.app_hash,
        "receipt": receipt,
    }
