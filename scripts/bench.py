"""Measures what docs/performance.md tells: `python3 scripts/bench.py CASE...`, or `all`.

Real gRPC to a real node in another process, one Ed25519 signature a transaction (one of SM2 in `sm2-batch`),
every reply after its durable commit. Each case warms up, runs its load REPEATS times and tells the median,
then runs once more at half of that load. `--json` prints one object a line.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import environment

if __name__ == "__main__":
    environment.enter()

import argparse
import asyncio
import json
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

import uvloop

import bench_clearing
import bench_consortium
import bench_doors
import bench_hsm
import bench_statements
import bench_trading
from bench_load import (
    BANK,
    BenchNode,
    Load,
    Measured,
    Send,
    batched,
    calibration,
    closed,
    op,
    paced,
    populate,
    sign_sends,
)
from node.ledger.hashing import GUOMI, INTERNATIONAL
from node.pb.vostro.fund.v1 import fund_pb2, fund_pb2_grpc
from node.pb.vostro.transaction.v1 import transaction_pb2 as pb
from node.storage.reshard import reshard

HOME: Final = environment.ROOT / ".bench"
REPEATS: Final = 3
SECONDS: Final = 6.0
SMALL: Final = 10_000
LARGE: Final = 1_000_000
MOVEMENTS_PAGE: Final = 100
BALANCES_A_CALL: Final = 100
SHARDS_ACCOUNTS: Final = 100_000

Row = dict[str, Any]


class Bench:
    """Runs cases and tells rows."""

    def __init__(self, *, as_json: bool, seconds: float, repeats: int) -> None:
        self.home = HOME
        self.as_json = as_json
        self.seconds = seconds
        self.repeats = repeats
        self._headed = False

    def say(self, text: str) -> None:
        """Progress, for people."""
        print(text, file=sys.stderr, flush=True)

    def tell(self, case: str, value: float, unit: str, p50: float, p99: float, **settings: Any) -> None:
        """One row of the table. value: per second unless the unit says otherwise; p50, p99: milliseconds."""
        row: Row = {
            "case": case,
            "value": round(value, 1),
            "unit": unit,
            "p50_ms": round(p50, 1),
            "p99_ms": round(p99, 1),
        }
        row |= {"seconds": self.seconds, "repeats": self.repeats, "settings": settings}
        if self.as_json:
            print(json.dumps(row), flush=True)
            return
        if not self._headed:
            print(f"{'case':34} {'value':>12} {'unit':14} {'p50 ms':>9} {'p99 ms':>9}  settings", flush=True)
            self._headed = True
        told = ", ".join(f"{name} {value}" for name, value in settings.items())
        print(f"{case:34} {value:12,.1f} {unit:14} {p50:9.1f} {p99:9.1f}  {told}", flush=True)

    def node(
        self, name: str, accounts: int, *, suite: str = INTERNATIONAL.name, **settings: Any
    ) -> BenchNode:
        """A started node with funded accounts; a large set-up is kept between runs."""
        node = BenchNode(HOME / name, settings, suite)
        if not node.is_made:
            self.say(f"setting up {accounts:,} accounts in {node.directory.relative_to(environment.ROOT)}")
            began = time.perf_counter()
            node.make()
            node.start()
            uvloop.run(populate(node, accounts, self.say))
            self.say(f"set up in {time.perf_counter() - began:.1f} s")
            return node
        node.start()
        return node

    def load(
        self, node: BenchNode, requests: list[Any], send: Callable[[Load], Send], concurrency: int
    ) -> Measured:
        """Warm up on a tenth of the requests, run the rest in REPEATS parts, give the run of median rate."""
        warmed = 0

        async def run() -> list[Measured]:
            nonlocal warmed
            async with Load(node.target) as load:
                warm = max(len(requests) // 10, 1)
                warmed = (await closed(send(load), requests[:warm], concurrency, self.seconds)).applied
                share = (len(requests) - warm) // self.repeats
                parts = [requests[warm + n * share : warm + (n + 1) * share] for n in range(self.repeats)]
                return [await closed(send(load), part, concurrency, self.seconds) for part in parts]

        runs = sorted(uvloop.run(run()), key=lambda measured: measured.rate)
        median = runs[len(runs) // 2]
        median.total = sum(measured.applied for measured in runs) + warmed
        return median

    def half(
        self, node: BenchNode, requests: list[Any], send: Callable[[Load], Send], calls_a_second: float
    ) -> Measured:
        """Offer half of the load that was carried."""

        async def run() -> Measured:
            async with Load(node.target) as load:
                return await paced(send(load), requests, calls_a_second / 2, self.seconds)

        return uvloop.run(run())


def both(
    bench: Bench,
    node: BenchNode,
    case: str,
    unit: str,
    requests: list[Any],
    *,
    single: bool,
    units: int,
    clients: int,
) -> Measured:
    """A case at full and at half load. units: units of value in one applied transaction."""
    send = (lambda load: load.single) if single else (lambda load: load.batch)
    cut = len(requests) * 4 // 5
    disk, spent = node.disk_bytes(), node.figures()
    full = bench.load(node, requests[:cut], send, clients)
    sent = max(full.total * units, 1)
    grown = node.disk_bytes() - disk
    took = {name: (value - spent[name]) / sent * 1e6 for name, value in node.figures().items()}
    calls = len(full.latencies) / full.seconds
    bench.tell(
        case,
        full.rate * units,
        unit,
        full.percentile(0.5),
        full.percentile(0.99),
        clients=clients,
        refused=full.refused,
        disk_bytes_each=round(grown / sent),
        resident_mib=round(node.resident_mib()),
        decide_us_each=round(took["decide"], 1),
        sync_us_each=round(took["sync"], 1),
    )
    rest = bench.half(node, requests[cut:], send, calls)
    bench.tell(
        f"{case} at half load",
        rest.rate * units,
        unit,
        rest.percentile(0.5),
        rest.percentile(0.99),
        refused=rest.refused,
    )
    return full


def embedded_batch(bench: Bench) -> None:
    """Batches of 100 single transfers, 10,000 accounts."""
    node = bench.node("small", SMALL)
    raws = sign_sends(node, int(22_000 * bench.seconds * bench.repeats / 2), accounts=SMALL)
    both(bench, node, "embedded-batch", "tx/s", batched(raws, 100), single=False, units=1, clients=24)
    node.stop()


def sm2_batch(bench: Bench) -> None:
    """As embedded-batch, on a chain of the suite guomi: every transaction signed with SM2."""
    node = bench.node("small-guomi", SMALL, suite=GUOMI.name)
    raws = sign_sends(node, int(6_000 * bench.seconds * bench.repeats), accounts=SMALL)
    both(bench, node, "sm2-batch", "tx/s", batched(raws, 100), single=False, units=1, clients=24)
    node.stop()


def embedded_unary(bench: Bench) -> None:
    """Single transfers: 64 clients at once, then one alone."""
    node = bench.node("small", SMALL)
    raws = sign_sends(node, int(5_000 * bench.seconds * bench.repeats), accounts=SMALL)
    requests = [pb.SubmitRequest(signed_transaction=raw) for raw in raws]
    both(
        bench, node, "embedded-unary, 64 clients", "tx/s", requests[:-2_000], single=True, units=1, clients=64
    )
    alone = bench.load(node, requests[-2_000:], lambda load: load.single, 1)
    bench.tell(
        "embedded-unary, one client", alone.rate, "tx/s", alone.percentile(0.5), alone.percentile(0.99)
    )
    node.stop()


def embedded_ops(bench: Bench) -> None:
    """100 operations under one signature."""
    node = bench.node("small", SMALL)
    raws = sign_sends(node, int(900 * bench.seconds * bench.repeats), accounts=SMALL, operations=100)
    both(bench, node, "embedded-ops", "operations/s", batched(raws, 4), single=False, units=100, clients=12)
    node.stop()


def embedded_many(bench: Bench) -> None:
    """send_many of 1,000 legs."""
    node = bench.node("small", SMALL)
    raws = []
    for number in range(int(150 * bench.seconds * bench.repeats)):
        legs = [(f"PA/{(number * 997 + leg) % SMALL}", 1, f"L{leg}") for leg in range(1_000)]
        raws.append(
            node.transaction(
                BANK, "PA", op("transfers", "send_many", "PA/treasury", "CZK", 1_000, legs, b"", "")
            )
        )
    both(bench, node, "embedded-many", "legs/s", batched(raws, 1), single=False, units=1_000, clients=12)
    node.stop()


def embedded_overload(bench: Bench) -> None:
    """Twice the capacity offered: what is still carried, and how reads fare meanwhile."""
    node = bench.node("small", SMALL)
    raws = sign_sends(node, int(22_000 * bench.seconds * 3), accounts=SMALL)
    requests = batched(raws, 100)
    cut = len(requests) * 2 // 5
    peak = bench.load(node, requests[:cut], lambda load: load.batch, 24)

    async def overload() -> tuple[Measured, Measured]:
        async with Load(node.target) as load:
            offered = paced(load.batch, requests[cut:], 2 * len(peak.latencies) / peak.seconds, bench.seconds)
            written, read = await asyncio.gather(offered, balances(node, bench.seconds, 4))
            return written, read

    over, read = uvloop.run(overload())
    bench.tell("embedded-overload: peak", peak.rate, "tx/s", peak.percentile(0.5), peak.percentile(0.99))
    bench.tell(
        "embedded-overload: offered twice", over.rate, "tx/s", over.percentile(0.5), over.percentile(0.99),
        goodput_percent=round(100 * over.rate / peak.rate), refused=over.refused,
    )  # fmt: skip
    bench.tell(
        "embedded-overload: reads beside", read.rate, "reads/s", read.percentile(0.5), read.percentile(0.99)
    )
    node.stop()


async def balances(node: BenchNode, seconds: float, clients: int, accounts: int = SMALL) -> Measured:
    """Balance reads, one after the other in each of ``clients``."""
    async with Load(node.target) as load:
        stubs = [fund_pb2_grpc.FundServiceStub(channel) for channel in load.channels]

        async def read(number: int, at: int) -> tuple[int, int]:
            request = fund_pb2.GetBalanceRequest(account=f"PA/{number * 7919 % accounts}", asset="CZK")
            await stubs[at % len(stubs)].GetBalance(request, timeout=30)
            return 1, 0

        return await closed(read, range(10_000_000), clients, seconds)


async def many_balances(node: BenchNode, seconds: float, clients: int, accounts: int) -> Measured:
    """As ``balances``, BALANCES_A_CALL with each call."""
    async with Load(node.target) as load:
        stubs = [fund_pb2_grpc.FundServiceStub(channel) for channel in load.channels]

        async def read(number: int, at: int) -> tuple[int, int]:
            numbers = range(number * BALANCES_A_CALL, (number + 1) * BALANCES_A_CALL)
            keys = [fund_pb2.BalanceKey(account=f"PA/{n * 7919 % accounts}", asset="CZK") for n in numbers]
            request = fund_pb2.GetBalancesRequest(keys=keys)
            answer = await stubs[at % len(stubs)].GetBalances(request, timeout=30)
            told = sum(entry.HasField("balance") for entry in answer.entries)
            return told, len(keys) - told

        return await closed(read, range(10_000_000), clients, seconds)


def state_growth(bench: Bench) -> None:
    """A million accounts drawn uniformly with a cache of 100,000 records, against ten thousand."""
    rates = {}
    for name, accounts in (("small", SMALL), ("large", LARGE)):
        node = bench.node(name, accounts, cache_records=100_000)
        raws = sign_sends(node, int(20_000 * bench.seconds * bench.repeats / 2), accounts=accounts)
        full = both(
            bench,
            node,
            f"state-growth, {accounts:,} accounts",
            "tx/s",
            batched(raws, 100),
            single=False,
            units=1,
            clients=24,
        )
        rates[name] = full.rate
        node.stop()
    bench.tell("state-growth", 100 * rates["large"] / rates["small"], "percent", 0, 0)


def reads(bench: Bench) -> None:
    """Balance reads beside half the write load, a page of a million movements, opening after SIGKILL."""
    node = bench.node("large", LARGE)
    raws = sign_sends(node, int(12_000 * bench.seconds * 3), accounts=LARGE)
    requests = batched(raws, 100)
    share = len(requests) // 3
    peak = bench.load(node, requests[:share], lambda load: load.batch, 24)

    async def beside(part: list[Any], reading: Coroutine[Any, Any, Measured]) -> tuple[Measured, Measured]:
        async with Load(node.target) as load:
            writes = paced(load.batch, part, len(peak.latencies) / peak.seconds / 2, bench.seconds)
            return await asyncio.gather(writes, reading)

    for case, part, reading, callers in (
        ("balances", requests[share : 2 * share], balances, 16),
        (f"balances, {BALANCES_A_CALL} a call,", requests[2 * share :], many_balances, 2),
    ):
        written, read = uvloop.run(beside(part, reading(node, bench.seconds, callers, LARGE)))
        bench.tell(
            f"reads: {case} beside half load",
            read.rate,
            "reads/s",
            read.percentile(0.5),
            read.percentile(0.99),
            callers=callers,
            writes=round(written.rate),
        )
    page = uvloop.run(pages(node))
    bench.tell(
        "reads: page of 1,000,000 movements",
        page.rate,
        "pages/s",
        page.percentile(0.5),
        page.percentile(0.99),
        rows=MOVEMENTS_PAGE,
    )
    node.kill()
    seconds = node.start()
    bench.tell("reads: open after SIGKILL", seconds, "seconds", 0, 0, accounts=LARGE)
    node.stop()


async def pages(node: BenchNode) -> Measured:
    """Pages of the busiest account's movements, each from where the one before ended; waits until the index
    has them.
    """
    async with Load(node.target) as load:
        stub = fund_pb2_grpc.FundServiceStub(load.channels[0])
        token = ""

        async def page(_number: int, _at: int) -> tuple[int, int]:
            nonlocal token
            request = fund_pb2.ListMovementsRequest(
                account="PA/treasury", page_size=MOVEMENTS_PAGE, page_token=token
            )
            answer = await stub.ListMovements(request, timeout=30)
            token = answer.next_page_token
            return 1, 0

        return await closed(page, range(500), 1, 10)


def shards(bench: Bench) -> None:
    """The same load over 1, 8, 64 and 256 shards: throughput, syncing, opening; then re-sharding."""
    for count in (1, 8, 64, 256):
        node = bench.node(f"shards-{count}", SHARDS_ACCOUNTS, shards=count)
        raws = sign_sends(node, int(16_000 * bench.seconds), accounts=SHARDS_ACCOUNTS)
        before = node.figures()
        full = bench.load(node, batched(raws, 100), lambda load: load.batch, 24)
        sync = (node.figures()["sync"] - before["sync"]) / max(full.total, 1) * 1e6
        node.kill()
        opening = node.start()
        node.stop()
        bench.tell(
            f"shards, {count}",
            full.rate,
            "tx/s",
            full.percentile(0.5),
            full.percentile(0.99),
            sync_us_each=round(sync, 1),
            open_after_sigkill_s=round(opening, 2),
        )
    for count in (64, 8):
        began = time.perf_counter()
        rows = reshard(HOME / "shards-8" / "data", INTERNATIONAL, count)
        bench.tell(
            f"shards, re-sharded to {count}", rows / (time.perf_counter() - began), "rows/s", 0, 0, rows=rows
        )


def hsm(bench: Bench) -> None:
    """Transactions signed through one SoftHSM token with four sessions, by one thread and by four."""
    with bench_hsm.one_token():
        for algorithm in ("ed25519", "p256"):
            signer = bench_hsm.token_signer(algorithm)
            for threads in (4, 1):
                done = bench_hsm.run(signer, threads, bench.seconds, bench.repeats)
                told = {"sessions": bench_hsm.SESSIONS, "threads": threads}
                bench.tell(f"hsm, {algorithm}", done.rate, "signed/s", done.p50, done.p99, **told)


CASES: Final[dict[str, Callable[[Bench], None]]] = {
    "embedded-batch": embedded_batch,
    "sm2-batch": sm2_batch,
    "embedded-unary": embedded_unary,
    "embedded-ops": embedded_ops,
    "embedded-many": embedded_many,
    "embedded-overload": embedded_overload,
    "state-growth": state_growth,
    "reads": reads,
    "shards": shards,
    "mtls": lambda bench: bench_doors.mtls(bench, HOME, SMALL),
    "idle-streams": lambda bench: bench_doors.idle_streams(bench, HOME, SMALL),
    **bench_consortium.CASES,
    **bench_trading.CASES,
    **bench_statements.CASES,
    **bench_clearing.CASES,
    "hsm": hsm,
}


def main() -> None:
    """Run the cases named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "cases", nargs="+", choices=[*CASES, "all"], metavar="CASE", help=", ".join([*CASES, "all"])
    )
    parser.add_argument("--json", action="store_true", help="one object a line")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each run")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    options = parser.parse_args()
    bench = Bench(as_json=options.json, seconds=options.seconds, repeats=options.repeats)
    HOME.mkdir(exist_ok=True)
    figures = calibration()
    bench.say("calibration: " + ", ".join(f"{name} {value}" for name, value in figures.items()))
    for name in CASES if "all" in options.cases else options.cases:
        CASES[name](bench)


if __name__ == "__main__":
    main()
