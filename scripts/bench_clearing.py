"""The benchmark's case of clearing: 100,000 queued instructions among 100 banks, netted in one cycle.

The set-up, before the clock starts: the banks join with empty accounts, so that every instruction waits; then
each gets a tenth of what it is to pay. Measured: reading all queues over gRPC, solving them here, the whole
check on the ledger from the proposal until its last piece is applied and durable, and the settlement. The
work of blocks is counted from their transactions by the ledger's own rule.
"""

import random
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import uvloop

from bench_load import BANK, BenchNode, op
from contracts import assemble
from contracts.calendars import Calendar
from node.client import Client
from node.client.clearing import CycleAt, proposal
from node.client.netting import Solution, solve
from node.genesis_file import load_genesis
from node.keys.signer import Ed25519Signer, SoftwareSigner
from node.ledger.hashing import INTERNATIONAL
from node.ledger.transactions import Chain, parse
from node.ledger.types import Operation, Receipt

if TYPE_CHECKING:
    from bench import Bench

BANKS: Final = 100
INSTRUCTIONS: Final = 100_000
ORDERS: Final = 1_000
ASSET: Final = "CZK"
OPERATIONS: Final = 100
SIGNERS: Final[list[SoftwareSigner]] = [
    Ed25519Signer(bytes([9, number]) + bytes(30)) for number in range(BANKS)
]
NAMES: Final = [f"B{number}" for number in range(BANKS)]


def queue(bench: "Bench") -> None:
    """One cycle over everything that waits."""
    node = bench.node("queue", 2)
    bench.say(f"queueing {INSTRUCTIONS:,} instructions of {BANKS} banks")
    uvloop.run(_run(bench, node))
    node.stop()


class Day:
    """A client, and who signs."""

    def __init__(self, node: BenchNode, client: Client) -> None:
        self.node, self.client = node, client
        self.chain = _chain(node)
        self.works: dict[int, int] = {}

    async def must(self, member: str, signer: SoftwareSigner, *operations: Operation) -> Receipt:
        """Apply one transaction, and count its work. Raises what the client raises."""
        return (await self.all([(member, signer, operations)]))[0]

    async def all(self, calls: Sequence[tuple[str, SoftwareSigner, Sequence[Operation]]]) -> list[Receipt]:
        """Apply transactions that may share blocks."""
        raws = [self.node.transaction(signer, member, *operations) for member, signer, operations in calls]
        receipts: list[Receipt] = []
        for outcome, raw in zip(await self.client.submit_many(raws, seconds=120), raws, strict=True):
            receipt = outcome.receipt
            if receipt is None or receipt.code:
                raise RuntimeError(f"set-up was refused: {outcome}")
            receipts.append(receipt)
            self.works[receipt.height] = self.works.get(receipt.height, 0) + parse(raw, self.chain).work
        return receipts


async def _run(bench: "Bench", node: BenchNode) -> None:
    async with await Client.connect(node.target, seconds=120) as client:
        day = Day(node, client)
        await _join(day)
        await _instruct(day)
        most = max(day.works.values())
        day.works.clear()
        await day.must("PA", BANK, op("clearing", "seal", ASSET))
        cycle = await client.clearing.cycle(ASSET)
        began = time.perf_counter()
        problem = await client.clearing.problem(ASSET, cycle)
        read = time.perf_counter() - began
        began = time.perf_counter()
        solution = solve(problem)
        solved = time.perf_counter() - began
        began = time.perf_counter()
        await _check(day, cycle, solution)
        checked = time.perf_counter() - began
        began = time.perf_counter()
        await day.must("PA", BANK, op("clearing", "settle", ASSET, cycle.cycle))
        settled = time.perf_counter() - began
        report = await client.clearing.cycle(ASSET)
    bound = load_genesis(node.directory / "genesis.json").limits.block_work_max
    settings: dict[str, Any] = {
        "frozen": report.frozen_count,
        "settled": report.count,
        "gross": report.gross,
        "net": report.net,
        "net_of_gross": f"{report.net / max(report.gross, 1):.2%}",
    }
    bench.tell("queue: solver", 1_000 * solved, "ms", 0, 0, read_seconds=round(read, 2), **settings)
    works = {"block_work_most": max(day.works.values()), "block_work_max": bound, "queueing_most": most}
    bench.tell(
        "queue: whole check", 1_000 * checked, "ms", 0, 0, pieces=-(-sum(solution.cuts) // 5_000), **works
    )
    bench.tell("queue: settlement", 1_000 * settled, "ms", 0, 0, resident_mib=round(node.resident_mib()))


def _chain(node: BenchNode) -> Chain:
    """What a transaction's work is counted with."""
    methods = {(c.name, m.name): m for c in assemble() for m in c.methods.values()}
    return Chain(node.chain, INTERNATIONAL, load_genesis(node.directory / "genesis.json").limits, methods)


async def _join(day: Day) -> None:
    """Banks, an account each, the calendar, and their seats; twice would be refused, so only once."""
    if (day.node.directory / "joined").exists():
        return
    keys = [(signer.algorithm, signer.public_key, "bench", ("*",)) for signer in SIGNERS]
    roles = ("participant",)
    admissions = [
        op("members", "admit", name, f"Bench {name}", "", roles, (key,))
        for name, key in zip(NAMES, keys, strict=True)
    ]
    await day.must("ADMIN", day.node.cast.administrator, *admissions)
    calendar = Calendar(0, 0, 0, 1_440, (), ())
    await day.must(
        "PA",
        BANK,
        op("calendars", "set_calendar", ASSET, calendar),
        op("assets", "open_accounts", ("PA/clearing",)),
        op("participants", "set_clearing", ASSET, "PA/clearing"),
    )
    joins = [
        (
            name,
            signer,
            [
                op("assets", "open_accounts", (f"{name}/1",)),
                op("participants", "join", ASSET, f"{name}/1"),
            ],
        )
        for name, signer in zip(NAMES, SIGNERS, strict=True)
    ]
    await day.all(joins)
    (day.node.directory / "joined").touch()


async def _instruct(day: Day) -> None:
    """A thousand instructions a bank, none of which can be paid; then a tenth of them in money."""
    chance = random.Random(7)  # noqa: S311 - a workload
    today = (await day.client.clearing.business_day(ASSET)).business_day
    calls = []
    worth = []
    for at, (name, signer) in enumerate(zip(NAMES, SIGNERS, strict=True)):
        others = [other for other in NAMES if other != name]
        orders = [
            (chance.choice(others), chance.randrange(1, 100_000), "normal", today, 0, 0, f"E{at}-{number}")
            for number in range(ORDERS)
        ]
        worth.append(sum(order[1] for order in orders))
        calls.append((name, signer, [op("queues", "instruct", ASSET, worth[-1], tuple(orders))]))
    for start in range(0, BANKS, 10):
        await day.all(calls[start : start + 10])
    issues = [
        op("assets", "issue", ASSET, f"{name}/1", amount // 10, "")
        for name, amount in zip(NAMES, worth, strict=True)
    ]
    await day.must("PA", BANK, *issues[:OPERATIONS])


async def _check(day: Day, cycle: CycleAt, solution: Solution) -> None:
    for calls in proposal(ASSET, cycle.cycle, "PA", solution):
        await day.must("PA", BANK, *calls)


CASES: Final = {"queue": queue}
