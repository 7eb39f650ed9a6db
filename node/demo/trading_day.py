"""The trading day from curtain to curtain: fourteen banks' payments through queues, limits and netting, bonds
against money, every bank's statements reconciled, and ten planted differences found.

As in play.py everything goes through a real node in a process of its own and a real client, and what does not
agree ends it loudly.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import uvloop

from node.cli import reconciling
from node.cli.output import Row
from node.cli.reconciling import Done
from node.client import BlockingClient, operation
from node.client.clearing import CycleLine
from node.demo import cleared, delivered, fronts, stated, together
from node.demo import consortium as setting
from node.demo.child import NodeProcess
from node.demo.cleared import Netted, Netting, Payment
from node.demo.consortium import Consortium, DemoFailed, found
from node.demo.day import Sums
from node.demo.delivered import Failed, Traded
from node.demo.desk import Desk
from node.demo.orders import BadOrders, Order, returned_orders
from node.demo.performance import CONNECT_SECONDS, Performance
from node.demo.stage import Stage
from node.demo.stated import Stated
from node.demo.together import Together
from node.ledger.hashing import Suite
from node.reconciliation.planting import Found
from node.reconciliation.report import break_row

BANKS_MIN: Final = 4
ORDERS_MIN: Final = 200
"""With fewer there is no market, and nothing to plant differences in."""
TITLE: Final = "Vostro: a trading day"
LAST_WORD: Final = "Every order, every heller, every statement and every hash agrees."
HASH_SHOWN: Final = 16


@dataclass(slots=True)
class _Figures:
    """What each act leaves for the last."""

    liquidity: list[Row] = field(default_factory=list)
    given: list[dict[str, int]] = field(default_factory=list)
    cycles: list[Netted] = field(default_factory=list)
    withdrawn: tuple[str, int] = ("", 0)
    table: dict[tuple[str, str], Sums] = field(default_factory=dict)
    deals: list[Traded] = field(default_factory=list)
    together: list[Together] = field(default_factory=list)
    failed: Failed | None = None
    statements: list[Stated] = field(default_factory=list)
    spoilt: Done | None = None
    found: list[Found] = field(default_factory=list)
    app_hash: bytes = b""


class TradingDay(Performance):
    """One performance."""

    def __init__(
        self, stage: Stage, place: Path, orders: Sequence[Order], source: str, seed: int, suite: Suite
    ) -> None:
        """seed: of the orders that the receiving banks give in return. Raises BadOrders where there would be
        no market, or nothing to plant differences in.
        """
        banks = {order.bank_to for order in orders}
        if len(banks) < BANKS_MIN or len(orders) < ORDERS_MIN:
            raise BadOrders(f"a trading day takes {ORDERS_MIN} orders to {BANKS_MIN} banks, or more")
        if banks & {setting.ISSUING, setting.CENTRAL}:
            raise BadOrders(f"{setting.ISSUING} pays others, and nobody pays {setting.CENTRAL}")
        super().__init__(stage, place, orders, source, seed, suite)
        own = [
            Payment(each.order_id, setting.ISSUING, each.bank_to, each.amount, each.purpose)
            for each in orders
        ]
        back = [
            Payment(each.order_id, each.debtor, each.creditor, each.amount, each.purpose)
            for each in returned_orders(orders, setting.ISSUING, seed)
        ]
        self.payments = [*own, *back]
        self.figures = _Figures()
        self.began_ms = 0

    def run(self) -> None:
        """All acts, in order."""
        stage = self.stage
        started = time.monotonic()
        stage.open(self.source, len(self.orders), sum(order.amount for order in self.orders), TITLE)
        with stage.step("The banks make their keys, a node starts") as step:
            banks = sorted({order.bank_to for order in self.orders})
            cast = found(self.place, banks, self.listen, self.suite)
            node = NodeProcess(cast.node.config, self.listen, self.place / "node.log")
            node.start()
            node.wait_ready()
            step.told = f"{len(cast.signers)} members, process {node.pid} on {self.listen}"
        try:
            uvloop.run(self._admit(cast))
            with BlockingClient.connect(
                self.listen, chain_id=cast.node.chain_id, seconds=CONNECT_SECONDS
            ) as client:
                self.began_ms = client.status().time_ms
                self._day(Desk(client, cast))
                self.figures.app_hash = client.status().app_hash
        finally:
            node.stop()
        self._afterwards(cast, started)

    async def _admit(self, cast: Consortium) -> None:
        sellers = [setting.ISSUING, *sorted(set(cast.signers) - {setting.ISSUING, setting.CENTRAL})]
        roles = delivered.roles(sellers[: delivered.ISSUERS])
        with self.stage.step("The administrators admit the members") as step:
            async with await self.connect(cast) as client:
                count = await setting.admit(client, cast, roles)
            step.told = f"{count} members; CNB registers CZK"

    def _day(self, desk: Desk) -> None:
        """What needs the running node."""
        self._instruct(desk)
        self._first_cycle(desk)
        self._second_cycle(desk)
        self._compare(desk)
        self._trade(desk)
        self._state(desk)

    # --- clearing -------------------------------------------------------------------------------------------

    def _instruct(self, desk: Desk) -> None:
        stage, figures = self.stage, self.figures
        with stage.step("CNB opens the clearing of CZK, the banks join it") as step:
            cleared.open_clearing(desk)
            opening = cleared.opening_liquidity(self.payments)
            lent = cleared.lend(desk, opening, "opening")
            figures.given.append(opening)
            share = f"a {cleared.LIQUIDITY_SHARE}th of what their orders add up to"
            step.told = f"{len(desk.banks)} participants with CZK {stage.amount(lent)}, {share}"
        with stage.step("PA limits what it pays one of them") as step:
            last, most = cleared.limit_last_bank(desk, self.payments)
            step.told = f"{last}: CZK {stage.amount(most)} more than it receives from there"
        with stage.progress("Every bank instructs its payments", len(self.payments)) as bar:
            at_once = cleared.instruct(desk, self.payments, bar.done)
        self._settled("At once, gross", at_once.orders, at_once.amount, at_once.amount)
        with stage.step("Every bank pays the front of its queue") as step:
            paid = cleared.advance(desk, self.payments)
            waits = stage.amount(cleared.queued(desk))
            step.told = f"{at_once.orders:,} settled at once and {paid.orders:,} now; CZK {waits} wait"
        self._settled("From the queue, gross", paid.orders, paid.amount, paid.amount)
        with stage.step("Banks whose queues begin with one another's payments set them off") as step:
            offsets = fronts.set_off_fronts(desk)
            count, gross, moved = (
                sum(getattr(each, name) for each in offsets) for name in ("count", "gross", "moved")
            )
            pairs = f"{count} settled in {len(offsets)} offsets of two"
            step.told = f"{pairs}, CZK {stage.amount(moved)} moved for {stage.amount(gross)}"
        self._settled("Offsets of two banks, net", count, gross, moved)

    def _first_cycle(self, desk: Desk) -> None:
        stage = self.stage
        with stage.step("Cycle 1: sealed, solved off the ledger, checked by the contract") as step:
            cycle = Netting(desk)
            problem, solution = cycle.propose(time.perf_counter)
            frozen = f"{cycle.cycle.frozen_count:,} frozen"
            step.told = f"{frozen}; {solution.settled:,} can settle, in {cycle.solver_seconds:.2f} s"
        bank = cleared.most_indebted(cycle.cycle.seats, problem, solution)
        if bank:
            amount = desk.spendable(bank, setting.ASSET)
            desk.act(bank, cleared.withdraw(bank, amount))
            stage.alarm(f"{bank} moves CZK {stage.amount(amount)} away between check and settlement")
            self.figures.withdrawn = (bank, amount)
        with stage.step("Cycle 1 settles, one net position a bank") as step:
            self._settle(cycle)
            outs = ", ".join(f"{member} ({reason})" for member, reason in cycle.cycle.excluded) or "nobody"
            step.told = f"taken out: {outs}; {cycle.cycle.count:,} settled"

    def _second_cycle(self, desk: Desk) -> None:
        stage = self.stage
        bank, amount = self.figures.withdrawn
        with stage.step("The limit is lifted, CNB lends what is lacking") as step:
            if bank:
                desk.act(bank, cleared.bring_back(bank, amount))
            desk.act(setting.ISSUING, operation("participants", "set_limits", setting.ASSET, ()))
            cycle = Netting(desk)
            lacking = cycle.shortfalls()
            lent = cleared.lend(desk, lacking, "intraday")
            self.figures.given.append(lacking)
            short = sum(1 for each in lacking.values() if each)
            step.told = f"CZK {stage.amount(lent)} to {short} banks"
        with stage.step("Cycle 2 settles all that is left") as step:
            cycle.propose(time.perf_counter)
            self._settle(cycle)
            step.told = f"{cycle.cycle.count:,} settled, in {cycle.solver_seconds:.2f} s of solving"

    def _settle(self, cycle: Netting) -> None:
        """Settle a cycle, and solve it again as long as somebody is taken out."""
        while not cycle.settle():
            cycle.propose(time.perf_counter)
        netted = cycle.report()
        self.figures.cycles.append(netted)
        told = netted.cycle
        self._settled(f"Cycle {told.cycle}, net", told.count, told.gross, told.net)

    def _settled(self, how: str, count: int, gross: int, moved: int) -> None:
        self.figures.liquidity.append({"how": how, "count": count, "gross": gross, "moved": moved})

    def _compare(self, desk: Desk) -> None:
        stage, figures = self.stage, self.figures
        with stage.step("Every instruction is read back and compared with the orders") as step:
            if cleared.queued(desk):
                raise DemoFailed("something still waits")
            figures.table = cleared.settled(desk, self.payments)
            cleared.check_balances(desk, self.payments, figures.given)
            ordered = sum(order.amount for order in self.orders)
            paid = sum(sums.amount for sums in figures.table.values())
            count = sum(sums.orders for sums in figures.table.values())
            if (count, paid) != (len(self.orders), ordered):
                raise DemoFailed(f"ordered {ordered} hellers, settled {paid} in {count} orders")
            step.told = f"{len(self.payments):,}, each settled as ordered; balances agree to the heller"

    # --- the market and the books ---------------------------------------------------------------------------

    def _trade(self, desk: Desk) -> None:
        stage, figures = self.stage, self.figures
        issuers = desk.banks[: delivered.ISSUERS]
        with stage.step("Bonds come onto the register") as step:
            out = delivered.register_bonds(desk, issuers)
            step.told = f"{', '.join(map(delivered.bond_of, issuers))}: {out:,} issued, reviewed by CNB"
        with stage.step("They are sold, delivery versus payment") as step:
            figures.deals = delivered.trade(desk, issuers)
            bonds = sum(deal.lots for deal in figures.deals)
            paid = stage.amount(sum(deal.amount for deal in figures.deals))
            step.told = f"{len(figures.deals)} deals settled: {bonds:,} bonds against CZK {paid}"
        with stage.step("Deals that settle together, and what two banks owe one another") as step:
            figures.together = together.settle_together(desk, issuers, figures.deals)
            gross, moved = (
                stage.amount(sum(getattr(each, name) for each in figures.together))
                for name in ("cash_gross", "cash_moved")
            )
            step.told = f"{len(figures.together)} ways: CZK {moved} moved for {gross} owed"
        with stage.step("A deal whose buyer lacks the money") as step:
            figures.failed = delivered.fail(desk, issuers[0])
            step.told = f"{figures.failed.code}: neither leg moved"

    def _state(self, desk: Desk) -> None:
        stage, figures = self.stage, self.figures
        folder = self.place / "statements"
        with stage.step("Every bank's statement is written as camt.053 and MT940") as step:
            written = stated.write_statements(desk, folder, self.began_ms)
            size = sum(path.stat().st_size for _, _, path in written)
            step.told = f"{len(written)} files, {size:,} bytes"
        with stage.step("They are read back and matched with the ledger") as step:
            figures.statements = stated.reconcile_all(desk, written)
            entries = sum(each.done.result.entries for each in figures.statements)
            step.told = f"{entries:,} entries, no break"
        with stage.step("Ten differences are planted in PA's statement") as step:
            figures.spoilt, figures.found = stated.spoil(
                desk, figures.statements[0], folder / f"{setting.ISSUING}.spoilt.xml"
            )
            step.told = f"{len(figures.found)} found under their names, and no other"

    # --- telling --------------------------------------------------------------------------------------------

    def _afterwards(self, cast: Consortium, started: float) -> None:
        """What needs no node: it has been stopped."""
        stage, figures = self.stage, self.figures
        replayed = self.recompute(cast, figures.app_hash)
        stage.table(figures.table)
        self._tell_clearing()
        self._tell_market()
        self._tell_books()
        seconds = time.monotonic() - started
        stage.note(f"{seconds:.0f} s in all; app hash {replayed.app_hash.hex()}")
        stage.close(self._document(replayed.app_hash, seconds), LAST_WORD)

    def _tell_clearing(self) -> None:
        stage = self.stage
        rows = list(self.figures.liquidity)
        total: Row = {"how": "All"} | {
            name: sum(row[name] for row in rows) for name in ("count", "gross", "moved")
        }
        told = [
            {
                "how": row["how"],
                "count": f"{row['count']:,}",
                "gross": stage.amount(row["gross"]),
                "moved": stage.amount(row["moved"]),
                "saved": stage.amount(row["gross"] - row["moved"]),
            }
            for row in [*rows, total]
        ]
        columns = {"how": "Settled", "count": "Instructions", "gross": "Gross", "moved": "Money moved"}
        columns |= {"saved": "Saved"}
        stage.rows("Liquidity, gross against net (CZK)", columns, told, tuple(columns)[1:])
        for netted in self.figures.cycles:
            outs = ", ".join(f"{member} ({reason})" for member, reason in netted.cycle.excluded) or "nobody"
            title = f"Cycle {netted.cycle.cycle}: taken out: {outs}"
            columns = {"member": "Bank", "before": "Before", "pays": "Pays gross"}
            columns |= {"receives": "Receives gross", "net": "Net", "after": "After"}
            columns |= {"count": "Settled", "left": "Still waits"}
            stage.rows(title, columns, [self._line(line) for line in netted.lines], tuple(columns)[1:])

    def _tell_market(self) -> None:
        stage = self.stage
        rows: list[Row] = [
            {
                "seller": deal.seller,
                "buyer": deal.buyer,
                "bonds": f"{deal.lots:,} {deal.bond}",
                "price": stage.amount(deal.price),
                "amount": stage.amount(deal.amount),
                "outcome": f"settled, height {deal.height}",
            }
            for deal in self.figures.deals
        ]
        failed = self.figures.failed
        if failed:
            bonds = f"{failed.lots:,} {failed.bond}"
            row = {"seller": failed.seller, "buyer": failed.buyer, "bonds": bonds}
            rows.append(
                row
                | {"price": stage.amount(failed.price), "amount": stage.amount(failed.amount)}
                | {"outcome": failed.code}
            )
        columns = {"seller": "Seller", "buyer": "Buyer", "bonds": "Bonds", "price": "Price"}
        columns |= {"amount": "Money (CZK)", "outcome": "Outcome"}
        title = "Bonds, delivery versus payment, deal by deal (model 1)"
        stage.rows(title, columns, rows, ("bonds", "price", "amount"))
        columns = {"how": "Settled together", "deals": "Deals", "gross": "Owed (CZK)"}
        columns |= {"moved": "Money moved", "bonds": "Bonds sold", "bonds_moved": "Bonds moved"}
        columns |= {"story": "What happened"}
        told = list(together.rows_of(self.figures.together, stage.amount))
        stage.rows("Deals that settled together", columns, told, tuple(columns)[1:-1])

    def _tell_books(self) -> None:
        stage, figures = self.stage, self.figures
        rows = [
            {
                "file": each.path.name,
                "entries": f"{each.done.result.entries:,}",
                "matched": f"{len(each.done.result.matches):,}",
                "breaks": len(each.done.result.breaks),
                "closing": stage.amount(each.done.result.ledger_closing),
                "sha256": each.sha256[:HASH_SHOWN],
            }
            for each in figures.statements
        ]
        columns = {"file": "Statement", "entries": "Entries", "matched": "Matched", "breaks": "Breaks"}
        columns |= {"closing": "Closing (CZK)", "sha256": "SHA-256 begins"}
        numbers = ("entries", "matched", "breaks", "closing")
        stage.rows("Statements, matched with the ledger", columns, rows, numbers)
        columns = {"story": "What was planted", "kind": "Found as", "reference": "Reference"}
        columns |= {"difference": "Difference", "sentence": "In words"}
        rows = self._differences()
        stage.rows("PA's spoilt statement: ten planted, ten found", columns, rows, ("difference",))

    def _differences(self) -> list[dict[str, Any]]:
        """The planted differences with what was found."""
        return [
            {"story": each.planted.story}
            | break_row(each.found, lambda minor: reconciling.told(minor, setting.ASSET))
            for each in self.figures.found
            if each.found
        ]

    def _line(self, line: CycleLine) -> Row:
        amount = self.stage.amount
        net = line.receives - line.pays
        return {
            "member": line.member,
            "before": amount(line.before),
            "pays": amount(line.pays),
            "receives": amount(line.receives),
            "net": f"{'-' if net < 0 else ''}{amount(abs(net))}",
            "after": amount(line.after),
            "count": f"{line.count:,}",
            "left": amount(line.left),
        }

    def _document(self, app_hash: bytes, seconds: float) -> dict[str, Any]:
        """The result for programs; amounts in hellers."""
        figures = self.figures
        return {
            "source": self.source,
            "suite": self.suite.name,
            "orders": len(self.orders),
            "total_hellers": sum(sums.amount for sums in figures.table.values()),
            "instructions": len(self.payments),
            "instructed_hellers": sum(each.amount for each in self.payments),
            "by_bank_and_purpose": [
                {"bank": bank, "purpose": purpose, "orders": sums.orders, "hellers": sums.amount}
                for (bank, purpose), sums in sorted(figures.table.items())
            ],
            "liquidity": figures.liquidity,
            "cycles": [
                {
                    "cycle": netted.cycle.cycle,
                    "frozen": netted.cycle.frozen_count,
                    "settled": netted.cycle.count,
                    "gross": netted.cycle.gross,
                    "net": netted.cycle.net,
                    "attempts": netted.cycle.attempt,
                    "taken_out": [list(out) for out in netted.cycle.excluded],
                }
                for netted in figures.cycles
            ],
            "deals": [asdict(deal) | {"amount": deal.amount} for deal in figures.deals],
            "together": [asdict(each) for each in figures.together],
            "failed_deal": asdict(figures.failed) if figures.failed else None,
            "statements": [
                {"file": each.path.name, "sha256": each.sha256, **reconciling.summary(each.done)}
                for each in figures.statements
            ],
            "spoilt": reconciling.summary(figures.spoilt) if figures.spoilt else None,
            "differences": self._differences(),
            "app_hash": app_hash,
            "seconds": round(seconds, 1),
        }
