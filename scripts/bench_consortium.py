"""The benchmark's cases of a consortium: four validators on one machine (bench_network.py)."""

import asyncio
import json
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import uvloop

import environment
from bench_load import Load, Measured, Send, batched, closed, op, paced, populate, sign_sends
from bench_network import BenchNetwork
from node.pb.vostro.ledger.v1 import ledger_pb2, ledger_pb2_grpc
from node.pb.vostro.transaction.v1 import transaction_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench import Bench

ACCOUNTS: Final = 10_000
WARM_SHARE: Final = 10
MISSED_SECONDS: Final = 60.0
MISSED_RATE: Final = 2_000
SYNC_ACCOUNTS: Final = 1_000_000
SNAPSHOT_BLOCKS: Final = 200
MIB: Final = 1024 * 1024


def network(bench: "Bench", name: str = "bft4") -> BenchNetwork:
    """Four fresh nodes that serve, with funded accounts."""
    made = BenchNetwork(bench.home / name)
    made.make()
    made.start()
    began = time.perf_counter()
    uvloop.run(populate(made.nodes[0], ACCOUNTS, bench.say))
    bench.say(f"four validators, {ACCOUNTS:,} accounts set up in {time.perf_counter() - began:.1f} s")
    return made


def loaded(
    bench: "Bench", made: BenchNetwork, requests: list[Any], clients: int, *, single: bool = False
) -> Measured:
    """The median of REPEATS closed-loop runs over all four nodes."""

    async def run() -> list[Measured]:
        async with Load(*made.targets) as load:
            send = load.single if single else load.batch
            warm = max(len(requests) // WARM_SHARE, 1)
            await closed(send, requests[:warm], clients, bench.seconds)
            share = (len(requests) - warm) // bench.repeats
            parts = [requests[warm + n * share : warm + (n + 1) * share] for n in range(bench.repeats)]
            return [await closed(send, part, clients, bench.seconds) for part in parts]

    runs = sorted(uvloop.run(run()), key=lambda measured: measured.rate)
    return runs[len(runs) // 2]


def offered(bench: "Bench", made: BenchNetwork, requests: list[Any], calls_a_second: float) -> Measured:
    """Calls at a rate over all four nodes."""

    async def run() -> Measured:
        async with Load(*made.targets) as load:
            return await paced(load.batch, requests, calls_a_second, bench.seconds)

    return uvloop.run(run())


def tell(bench: "Bench", case: str, measured: Measured, unit: str, units: int, **settings: Any) -> None:
    """One row."""
    bench.tell(
        case, measured.rate * units, unit, measured.percentile(0.5), measured.percentile(0.99), **settings
    )


def full_and_half(
    bench: "Bench", case: str, made: BenchNetwork, requests: list[Any], *, unit: str, units: int, clients: int
) -> Measured:
    """A case at full and at half load."""
    cut = len(requests) * 4 // 5
    full = loaded(bench, made, requests[:cut], clients)
    resident = round(sum(node.resident_mib() for node in made.nodes))
    tell(bench, case, full, unit, units, clients=clients, refused=full.refused, resident_mib=resident)
    half = offered(bench, made, requests[cut:], len(full.latencies) / full.seconds / 2)
    tell(bench, f"{case} at half load", half, unit, units, refused=half.refused)
    return full


def bft4_batch(bench: "Bench") -> None:
    """Batches of 100 single transfers at four nodes."""
    made = network(bench)
    raws = sign_sends(made.nodes[0], int(6_000 * bench.seconds * bench.repeats), accounts=ACCOUNTS)
    full_and_half(bench, "bft4-batch", made, batched(raws, 100), unit="tx/s", units=1, clients=16)
    made.stop()


def bft4_ops(bench: "Bench") -> None:
    """100 operations under one signature, at four nodes."""
    made = network(bench)
    raws = sign_sends(
        made.nodes[0], int(400 * bench.seconds * bench.repeats), accounts=ACCOUNTS, operations=100
    )
    full_and_half(bench, "bft4-ops", made, batched(raws, 4), unit="operations/s", units=100, clients=16)
    made.stop()


def bft4_many(bench: "Bench") -> None:
    """send_many of 1,000 legs, at four nodes."""
    made = network(bench)
    node = made.nodes[0]
    raws = []
    for number in range(int(70 * bench.seconds * bench.repeats)):
        legs = [(f"PA/{(number * 997 + leg) % ACCOUNTS}", 1, f"L{leg}") for leg in range(1_000)]
        call = op("transfers", "send_many", "PA/treasury", "CZK", 1_000, legs, b"", "")
        raws.append(node.transaction(made.cast.bank, "PA", call))
    full_and_half(bench, "bft4-many", made, batched(raws, 1), unit="legs/s", units=1_000, clients=16)
    made.stop()


def bft4_unary(bench: "Bench") -> None:
    """One caller alone on an idle network."""
    made = network(bench)
    raws = sign_sends(made.nodes[0], 200, accounts=ACCOUNTS)
    alone = loaded(bench, made, [pb.SubmitRequest(signed_transaction=raw) for raw in raws], 1, single=True)
    tell(bench, "bft4-unary, one client, idle network", alone, "tx/s", 1)
    made.stop()


def bft4_overload(bench: "Bench") -> None:
    """Twice the capacity offered."""
    made = network(bench)
    raws = sign_sends(made.nodes[0], int(8_000 * bench.seconds * (bench.repeats + 2)), accounts=ACCOUNTS)
    requests = batched(raws, 100)
    cut = len(requests) // 2
    peak = loaded(bench, made, requests[:cut], 16)
    tell(bench, "bft4-overload: peak", peak, "tx/s", 1)
    over = offered(bench, made, requests[cut:], 2 * len(peak.latencies) / peak.seconds)
    share = round(100 * over.rate / peak.rate)
    tell(bench, "bft4-overload: offered twice", over, "tx/s", 1, goodput_percent=share, refused=over.refused)
    made.stop()


def bft4_kill(bench: "Bench") -> None:
    """One of four killed under half load: nothing acknowledged is lost, and how long answers take."""
    made = network(bench)
    raws = sign_sends(made.nodes[0], int(6_000 * bench.seconds * 3), accounts=ACCOUNTS)
    requests = batched(raws, 100)
    cut = len(requests) // 2
    peak = loaded(bench, made, requests[:cut], 16)

    async def run() -> tuple[Measured, Measured]:
        async with Load(*made.targets[:3]) as load:
            rate = len(peak.latencies) / peak.seconds / 2
            half = cut + (len(requests) - cut) // 2
            before = await paced(load.batch, requests[cut:half], rate, bench.seconds)
            made.nodes[3].kill()
            after = await paced(load.batch, requests[half:], rate, bench.seconds)
            return before, after

    before, after = uvloop.run(run())
    tell(bench, "bft4-kill: before", before, "tx/s", 1, refused=before.refused)
    tell(bench, "bft4-kill: one of four killed", after, "tx/s", 1, refused=after.refused)
    made.stop()


def catch_up(bench: "Bench") -> None:
    """A node misses 60 s at 2,000 transfers a second and comes back, the load going on: until it is level."""
    made = network(bench)
    missed, rate = MISSED_SECONDS, MISSED_RATE
    raws = sign_sends(made.nodes[0], int(rate * (missed + 60)), accounts=ACCOUNTS)
    late = made.nodes[3]

    async def run() -> float:
        async with Load(*made.targets[:3]) as load:
            late.stop()
            load_on = asyncio.create_task(_paced_for(load.batch, batched(raws, 100), rate / 100, missed + 60))
            await asyncio.sleep(missed)
            began = time.perf_counter()
            late.launch()
            await late.ready()
            while not await _level(made):  # noqa: ASYNC110 - another process tells nobody
                await asyncio.sleep(0.1)
            took = time.perf_counter() - began
            load_on.cancel()
            await asyncio.gather(load_on, return_exceptions=True)
            return took

    bench.tell("catch-up", uvloop.run(run()), "seconds", 0, 0, missed_s=missed, offered_tx_s=rate)
    made.stop()


def state_sync(bench: "Bench") -> None:
    """A fifth node begins from a snapshot of SYNC_ACCOUNTS accounts: from its start until it is level. The
    set-up is kept between runs.
    """
    made = BenchNetwork(bench.home / "state-sync", {"snapshot_blocks": SNAPSHOT_BLOCKS})
    if (made.directory / "n0" / "made").exists():
        made.open()
        made.start()
    else:
        made.make()
        made.start()
        began = time.perf_counter()
        uvloop.run(populate(made.nodes[0], SYNC_ACCOUNTS, bench.say))
        bench.say(
            f"four validators, {SYNC_ACCOUNTS:,} accounts set up in {time.perf_counter() - began:.1f} s"
        )
    height, made_s = uvloop.run(_snapshot(made))
    bench.say(f"all four have a snapshot of height {height}, {made_s:.1f} s after it was due")
    told = subprocess.run(
        [environment.ROOT / ".venv" / "bin" / "vostro", "--node", made.targets[0], "trust", "-o", "json"],
        check=True, capture_output=True,
    )  # fmt: skip
    trust = json.loads(told.stdout)
    observer = made.add_observer(
        state_sync_peers=made.targets[:2], trust_height=trust["trust_height"], trust_hash=trust["trust_hash"]
    )

    async def run() -> float:
        began = time.perf_counter()
        observer.launch()
        await observer.ready()
        while await height_of(observer.target) < await height_of(made.targets[0]):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.1)
        return time.perf_counter() - began

    took = uvloop.run(run())
    size = sum(
        path.stat().st_size
        for path in (observer.directory / "data" / "snapshots").rglob("*")
        if path.is_file()
    )
    bench.tell(
        "state-sync", took, "seconds", 0, 0,
        accounts=SYNC_ACCOUNTS, snapshot_mib=round(size / MIB), made_in_s=round(made_s, 1),
        resident_mib=round(observer.resident_mib()),
    )  # fmt: skip
    observer.stop()
    made.stop()


async def _snapshot(made: BenchNetwork) -> tuple[int, float]:
    """Go on until a snapshot is due, and wait until all four nodes have it: (its height, seconds)."""
    sends = iter(sign_sends(made.nodes[0], 50 * SNAPSHOT_BLOCKS, accounts=min(ACCOUNTS, SYNC_ACCOUNTS)))
    folders = [node.directory / "data" / "snapshots" for node in made.nodes]
    before = max(map(_newest, folders))
    async with Load(*made.targets) as load:
        height = await height_of(made.targets[0])
        due = (height // SNAPSHOT_BLOCKS + 1) * SNAPSHOT_BLOCKS
        while await height_of(made.targets[0]) < due:
            await load.single(pb.SubmitRequest(signed_transaction=next(sends)), 0)
        began = time.perf_counter()
        while min(map(_newest, folders)) <= before:  # noqa: ASYNC110 - another process tells nobody
            await asyncio.sleep(0.1)
        return min(map(_newest, folders)), time.perf_counter() - began


def _newest(folder: Path) -> int:
    """The height of the newest complete snapshot; 0: none."""
    names = [entry.name for entry in folder.iterdir()] if folder.exists() else []
    return max([int(name) for name in names if name.isdigit()], default=0)


async def _paced_for(send: "Send", requests: list[Any], rate: float, seconds: float) -> Measured:
    return await paced(send, requests, rate, seconds)


async def _level(made: BenchNetwork, within: int = 2) -> bool:
    """Whether the last node is at most so many heights behind the first."""
    heights = [await height_of(made.targets[at]) for at in (3, 0)]
    return heights[1] - heights[0] <= within


async def height_of(target: str) -> int:
    """Where a node stands."""
    import grpc  # noqa: PLC0415 - only here

    async with grpc.aio.insecure_channel(target) as channel:
        stub = ledger_pb2_grpc.LedgerServiceStub(channel)
        status = await stub.GetStatus(ledger_pb2.GetStatusRequest(), timeout=10)
        return int(status.height)


CASES: "Final[dict[str, Callable[[Bench], None]]]" = {
    "bft4-batch": bft4_batch,
    "bft4-ops": bft4_ops,
    "bft4-many": bft4_many,
    "bft4-unary": bft4_unary,
    "bft4-overload": bft4_overload,
    "bft4-kill": bft4_kill,
    "catch-up": catch_up,
    "state-sync": state_sync,
}
