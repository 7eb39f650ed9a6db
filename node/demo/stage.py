"""How the demonstration looks: steps that tick as they end, a progress bar, the tables. With ``-o json``
one document and no show.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from rich.console import Group
from rich.padding import Padding
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from node.cli.output import Output, Row, table_of
from node.cli.replay import Replayed
from node.client.amounts import format_amount
from node.demo.day import Day, Sums, WrongOrder
from node.demo.orders import DECIMALS

LAST_WORD: Final = "Every order, every heller and every hash agrees."
UNTOLD: Final = "(none)"
"""How an empty purpose is shown."""
TABLE_TITLE: Final = "Paid, as read from the ledger: CZK and orders by receiving bank and purpose"
MATRIX_WIDTH_A_PURPOSE: Final = 17
MATRIX_WIDTH_BESIDE: Final = 8
NOT_PRIVATE: Final = "Not private yet: every member's node holds all accounts and amounts in clear."


class Step:
    """A step of the play. told: what came of it, set before it ends."""

    told = ""


class Bar(NamedTuple):
    """What moves a bar: ``done`` takes how many are; ``say`` a remark above it."""

    done: Callable[[int], None]
    say: Callable[[str], None]


class Stage:
    """Where the play is shown: stdout for people; for programs only ``close`` writes there."""

    def __init__(self, output: Output) -> None:
        self.output = output
        self._console = output.errors if output.is_json else output.console

    @staticmethod
    def amount(hellers: int) -> str:
        """An amount for people."""
        return format_amount(hellers, DECIMALS, group=",")

    def open(self, source: str, orders: int, total: int, title: str = "Vostro: a payment day") -> None:
        """The curtain."""
        lines = Group(
            Text(f"{orders:,} payment orders, CZK {self.amount(total)}, {source}"),
            Text(NOT_PRIVATE, style="dim"),
        )
        self._console.print(Panel(lines, title=title, title_align="left", border_style="cyan"))

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """A step, shown when it ends, with its seconds."""
        step = Step()
        started = time.monotonic()
        yield step
        self._tick(title, step.told, time.monotonic() - started)

    @contextmanager
    def progress(self, title: str, total: int) -> Iterator[Bar]:
        """A bar for a long step."""
        bar = Progress(
            TextColumn("  {task.description}"),
            BarColumn(bar_width=40),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
        )
        with bar:
            task = bar.add_task(title, total=total)
            yield Bar(lambda done: bar.update(task, completed=done), self.alarm)

    def alarm(self, text: str) -> None:
        """Something happened to the node."""
        self._console.print(Text("  ✗ ", style="bold red").append(text, style="default"))

    def note(self, text: str) -> None:
        """A remark."""
        self._console.print(Text(f"  {text}", style="dim"))

    def table(self, sums: Mapping[tuple[str, str], Sums]) -> None:
        """Orders and totals by receiving bank and purpose: a matrix where there is room, else a list."""
        purposes = sorted({purpose for _, purpose in sums}, key=lambda purpose: (purpose == "", purpose))
        banks = sorted({bank for bank, _ in sums})
        wide = self._console.width >= MATRIX_WIDTH_A_PURPOSE * (len(purposes) + 1) + MATRIX_WIDTH_BESIDE
        shown = self._matrix(sums, banks, purposes) if wide else self._list(sums, banks, purposes)
        self._console.print(shown)

    def _matrix(
        self, sums: Mapping[tuple[str, str], Sums], banks: Sequence[str], purposes: Sequence[str]
    ) -> Table:
        """A row a bank, a column a purpose; in a cell the total over the number of orders."""
        table = Table(title=TABLE_TITLE, title_justify="left", show_footer=True)
        table.add_column("Bank", footer="All")
        for purpose in purposes:
            total = _total(entry for (_, told), entry in sums.items() if told == purpose)
            table.add_column(purpose or UNTOLD, justify="right", footer=self._cell(total))
        table.add_column("Total", justify="right", style="bold", footer=self._cell(_total(sums.values())))
        for bank in banks:
            row = [sums.get((bank, purpose), Sums()) for purpose in purposes]
            table.add_row(bank, *[self._cell(entry) for entry in [*row, _total(row)]])
        return table

    def _list(
        self, sums: Mapping[tuple[str, str], Sums], banks: Sequence[str], purposes: Sequence[str]
    ) -> Table:
        """A row for each bank and purpose, and one a bank."""
        grand = _total(sums.values())
        table = Table(title=TABLE_TITLE, title_justify="left", show_footer=True)
        table.add_column("Bank", footer="All")
        table.add_column("Purpose")
        table.add_column("Orders", justify="right", footer=f"{grand.orders:,}")
        table.add_column("Total", justify="right", footer=self.amount(grand.amount))
        for bank in banks:
            table.add_section()
            for purpose in purposes:
                entry = sums.get((bank, purpose), Sums())
                table.add_row(bank, purpose or UNTOLD, f"{entry.orders:,}", self.amount(entry.amount))
            own = _total(sums[bank, purpose] for purpose in purposes if (bank, purpose) in sums)
            table.add_row(bank, "", f"{own.orders:,}", self.amount(own.amount), style="bold")
        return table

    def _cell(self, entry: Sums) -> Text:
        cell = Text(self.amount(entry.amount))
        return cell.append(f"\n{entry.orders:,}", style="dim not bold")

    def wrong(self, orders: Sequence[WrongOrder]) -> None:
        """What was refused, and why."""
        table = Table(title="Refused, as it must be", title_justify="left")
        for heading in ("What was tried", "Answer", "In words"):
            table.add_column(heading, overflow="fold")
        for order in orders:
            table.add_row(order.what, order.got, order.sentence)
        self._console.print(table)

    def figures(self, day: Day, set_up: float, replayed: Replayed) -> None:
        """What was measured."""
        table = Table(title="Figures", title_justify="left", show_header=False)
        table.add_column(style="bold")
        table.add_column(overflow="fold")
        alive = max(day.seconds - day.outage, 0.001)
        table.add_row(
            "Orders",
            f"{day.orders:,} in {day.seconds:.1f} s, {day.orders / alive:,.0f} a second while the node lived",
        )
        latency = f"p50 {day.latency_ms(50):.0f} ms, p99 {day.latency_ms(99):.0f} ms"
        table.add_row("Latency", f"{latency}, from sending to a durable receipt")
        table.add_row(
            "SIGKILL", f"after {day.acknowledged_before:,} receipts; the next one {day.outage:.1f} s later"
        )
        again = (
            f"{len(day.sent_again):,} with the same bytes, {day.found_decided:,} of which had been decided"
        )
        table.add_row("Sent again", f"{again}: none was paid twice")
        table.add_row(
            "Chain",
            f"{replayed.blocks:,} blocks to height {replayed.height:,}, app hash {replayed.app_hash.hex()}",
        )
        table.add_row("Set-up", f"{set_up:.1f} s")
        self._console.print(table)

    def rows(
        self, title: str, columns: Mapping[str, str], rows: Sequence[Row], numbers: Sequence[str] = ()
    ) -> None:
        """A table, as ``Output.rows`` takes it, with the show."""
        self._console.print(table_of(title, columns, rows, numbers=numbers))

    def close(self, document: Mapping[str, Any], last: str = LAST_WORD) -> None:
        """The last word; for programs the only one."""
        if self.output.is_json:
            self.output.json(document)
        else:
            self._console.print(Text(last, style="bold green"))

    def _tick(self, title: str, told: str, seconds: float) -> None:
        head = Text("  ✓ ", style="green").append(title, style="bold default")
        tail = Text(told).append(f"  {seconds:.1f} s", style="dim")
        if head.cell_len + tail.cell_len + 2 <= self._console.width:
            self._console.print(head.append("  ").append(tail))
        else:
            self._console.print(head)
            self._console.print(Padding(tail, (0, 0, 0, 4)))


def _total(entries: Iterable[Sums]) -> Sums:
    listed = list(entries)
    return Sums(sum(entry.orders for entry in listed), sum(entry.amount for entry in listed))
