"""Half an hour of mixed load and restarts: nothing acknowledged is lost, and nothing that a node takes of its
machine grows without bound. A few seconds of the same run in every run of the tests, so that the long one
works when it is wanted; those hold no time and no slope.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from node.engine.telling import RECENT_MAX
from node.ledger import codec
from node.ledger.hashing import INTERNATIONAL
from node.ledger.types import Receipt
from node.storage.sharded import Budget, ShardedStore
from node.storage.spent import (
    BUCKET_CACHE_BYTES,
    BUCKET_WRITE_BUFFER_BYTES,
    FILTER_BYTES,
    MARGIN_MS,
    MINUTE_MS,
)
from tests.checker import Checked, check_ledger
from tests.fault.node_kit import BLOCKS, SECONDS, SETTINGS, WORLD, NodeFolder, connected
from tests.fault.soak_figures import MIB, PARTS, Sample, growth, look, phases, table, thirds, warm
from tests.fault.soak_load import Mix, digests
from tests.kit import LIMITS

CACHE_RECORDS: Final = 5_000
RECORD_BYTES: Final = 2_048
"""What a record in the cache may take, with its key."""
BUCKETS: Final = (LIMITS.lifetime_ms + MARGIN_MS) // MINUTE_MS + 2
"""Spent ids are kept by the minute, as long as they may be asked for; one more is open, one is closing."""
BUCKET_BYTES: Final = BUCKET_CACHE_BYTES + BUCKET_WRITE_BUFFER_BYTES + FILTER_BYTES
BUCKET_DESCRIPTORS: Final = 6
PLACE_BYTES: Final = 320
"""What a receipt's place takes in memory until 200,000 later ones have come."""
BUDGET: Final = Budget()
INDEX_MIB: Final = 32 + 2 * 16
"""The index's cache and write buffers."""
MEMORY_MIB: Final = (
    SETTINGS["leaf_cache_mb"]
    + SETTINGS["leveldb_mb"] * (1 + 2 / 4)
    + (BUDGET.log_cache_bytes + 2 * BUDGET.log_write_buffer_bytes) / MIB
    + INDEX_MIB
    + (RECENT_MAX * PLACE_BYTES + CACHE_RECORDS * RECORD_BYTES + BUCKETS * BUCKET_BYTES) / MIB
)
"""Beyond what it has when it serves, a node may fill its caches, which are bounded by its configuration, the
write buffers of its databases (one full, one being written), the places of its latest receipts, and the
buckets of a lifetime's spent ids. Whatever goes beyond that is a leak.
"""
GROWTH_BYTES: Final = 1_000
"""What a transaction may add when all but the places of receipts has filled up: with buffers that rise and
fall, 500 were seen over 88,000 transactions.
"""
MORE_DESCRIPTORS: Final = 12
MORE_THREADS: Final = 4
LATENCY_TIMES: Final = 3.0
LATENCY_MS: Final = 20.0
"""The last third's median is within so many times the first's, or so little that it is no matter."""

_decode_receipt: Final[Callable[[bytes], Receipt]] = codec.decoder(Receipt)


class Plan(NamedTuple):
    """A run: the seconds of its phases, between two starts each, and between two samples. steady: long enough
    for figures to mean something; the last phase is the longest, so that what fills up has filled up.
    """

    phases: tuple[float, ...]
    sample_seconds: float
    steady: bool


SHORT: Final = Plan((3.0,) * 3, 0.3, steady=False)
LONG: Final = Plan((*(180.0,) * 5, 900.0), 5.0, steady=True)
LONG_MARKS: Final = (pytest.mark.long, pytest.mark.timeout(2 * sum(LONG.phases) + 1_800))


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "plan",
    [
        pytest.param(SHORT, id="seconds", marks=pytest.mark.timeout(200)),
        pytest.param(LONG, id="half an hour", marks=LONG_MARKS),
    ],
)
async def test_mixed_load_and_restarts_lose_nothing_and_leak_nothing(
    plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def tell(text: str) -> None:
        """Half an hour's figures are wanted even where they are good."""
        with capsys.disabled() if plan.steady else nullcontext():
            print(text, flush=True)

    folder = NodeFolder(tmp_path / "node", {"verify_workers": 1, "cache_records": CACHE_RECORDS}).make()
    began = ["start"]
    samples: list[Sample] = []
    async with connected(folder) as stubs:
        with folder.running():
            mix = Mix(folder, stubs, seed=len(plan.phases))
            started = time.monotonic()
            async with mix.going():
                for phase in range(len(plan.phases)):
                    if phase:
                        began.append(await restart(folder, gracefully=phase % 2 == 1))
                    samples += await watched(folder, mix, plan, phase, started)
                    tell(f"{phase + 1} of {len(plan.phases)} phases, {len(mix.acknowledged):,} acknowledged")
            assert folder.process.stop() == 0
    tell(table(samples, began))
    tell(", ".join(f"{name} {count:,}" for name, count in sorted(mix.counts.items())))
    result = check_chain(folder, mix)
    tell(f"{len(mix.acknowledged):,} acknowledged tried, as many held; {mix.events:,} events; {result}")
    assert "Traceback" not in folder.log()
    assert min(mix.counts[name] for name in KINDS) > 0, mix.counts
    (check_steady if plan.steady else check_bounds)(samples)


KINDS: Final = (
    "single",
    "batch",
    "send_many",
    "reserve, post",
    "reserve, void",
    "reserve, expire",
    "refused",
    "reads",
    "clients",
    "malformed",
    "garbage",
)


async def restart(folder: NodeFolder, *, gracefully: bool) -> str:
    """End the node in the middle of its load and start it; how."""
    if gracefully:
        assert await asyncio.to_thread(folder.process.stop) == 0
    else:
        await asyncio.to_thread(folder.process.kill)
    folder.process.start()  # on this thread: with it the node dies
    await asyncio.to_thread(folder.process.wait_ready, SECONDS)
    return "SIGTERM" if gracefully else "SIGKILL"


async def watched(folder: NodeFolder, mix: Mix, plan: Plan, phase: int, started: float) -> list[Sample]:
    """A phase's samples, one every so often."""
    samples: list[Sample] = []
    ends = time.monotonic() + plan.phases[phase]
    while time.monotonic() < ends:
        await asyncio.sleep(plan.sample_seconds)  # the pace of the samples is no wait for anything
        latencies, mix.latencies = mix.latencies, []
        samples.append(
            look(
                folder.process.pid,
                folder.data,
                seconds=time.monotonic() - started,
                phase=phase,
                transactions=len(mix.acknowledged),
                latencies=latencies,
            )
        )
    return samples


def check_chain(folder: NodeFolder, mix: Mix) -> Checked:
    """I1 to I7 and I9 on the directory; I4: every acknowledged receipt stands where it says; and the stream
    told every event once.
    """
    with ShardedStore.open(folder.data, INTERNATIONAL) as store:
        result = check_ledger(store.blocks(), WORLD.genesis)
        decided: dict[bytes, tuple[int, int, bytes]] = {}
        events = 0
        for block in store.blocks(BLOCKS[-1].height + 1):
            for index, digest in enumerate(digests(block.bodies)):
                decided[digest] = (block.height, index, digests(block.receipts[index : index + 1])[0])
            for index, encoded in enumerate(block.receipts):
                places = range(len(_decode_receipt(encoded).events))
                events += sum((block.height, index, number) < mix.resume for number in places)
    lost = [place for digest, place in mix.acknowledged.items() if decided.get(digest) != place]
    assert not lost, f"{len(lost)} of {len(mix.acknowledged)} acknowledged do not stand where they were told"
    assert events == mix.events
    return result


def check_bounds(samples: list[Sample]) -> None:
    """What a leak would break: descriptors and threads do not grow, memory stays within its budgets."""
    check_handles(samples)
    most = max(sample.spent_descriptors for sample in samples)
    assert most <= BUCKETS * BUCKET_DESCRIPTORS, f"{most} descriptors of spent ids"
    base = samples[0].own
    peak = max(sample.own for sample in samples)
    assert peak <= base + MEMORY_MIB, f"{base:.1f} MiB became {peak:.1f}, by {MEMORY_MIB:.1f} at most"


def check_handles(samples: Sequence[Sample]) -> None:
    """As many descriptors and threads at the end as at the beginning."""
    first, last = thirds(samples, lambda sample: sample.descriptors)
    assert last <= first + MORE_DESCRIPTORS, f"{first} descriptors became {last}"
    first, last = thirds(samples, lambda sample: sample.threads)
    assert last <= first + MORE_THREADS, f"{first} threads became {last}"


def check_steady(samples: list[Sample]) -> None:
    """The same; and what a restart would hide: within a phase nothing grows either; and a transfer takes as
    long at the end as at the beginning, generously.
    """
    check_bounds(samples)
    for phase in phases(samples):
        check_handles(warm(phase))
    grown = growth(phases(samples)[-1])
    assert grown <= GROWTH_BYTES, f"{grown:.0f} bytes a transaction when all is warm"
    first, last = thirds(samples, lambda sample: sample.p50)
    assert last <= max(first * LATENCY_TIMES, LATENCY_MS), f"{first:.1f} ms became {last:.1f}"


STEADY: Final = Sample(0.0, 0, 0, 90.0, 150.0, 60, 20, 15, dict.fromkeys(PARTS, 0), 5.0, 20.0)
MINUTES: Final = 30
MINUTES_OF_PHASE: Final = 10


@pytest.mark.parametrize(
    ("name", "each_minute", "back_at_start", "says"),
    [
        ("own", 20.0, False, r"MiB became 670\.0"),
        ("own", 12.0, True, "1049 bytes a transaction"),
        ("descriptors", 1, False, "descriptors became"),
        ("descriptors", 4, True, "descriptors became"),
        ("spent_descriptors", 4, False, "descriptors of spent ids"),
        ("threads", 1, False, "threads became"),
        ("threads", 2, True, "threads became"),
        ("p50", 1.0, False, "ms became"),
    ],
)
def test_what_grows_is_seen_over_the_run_and_within_its_phases(
    name: str, each_minute: float, back_at_start: bool, says: str
) -> None:
    flat, growing = [], []
    for minute in range(MINUTES):
        sample = replace(
            STEADY, seconds=minute * 60.0, phase=minute // MINUTES_OF_PHASE, transactions=minute * 12_000
        )
        grown = each_minute * (minute % MINUTES_OF_PHASE if back_at_start else minute)
        flat.append(sample)
        growing.append(replace(sample, **{name: getattr(sample, name) + grown}))
    check_steady(flat)
    with pytest.raises(AssertionError, match=says):
        check_steady(growing)
