"""What a node takes of its machine over a long run: samples from /proc and its directory, a table by phase,
and slopes by least squares.

A phase is the time between two starts of the node. Memory is looked at within phases, behind the warm-up of
the caches; all else over the whole run.
"""

import os
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from node.storage import layout
from tests.consortium_kit import children_of

MIB: Final = 1 << 20
HOUR: Final = 3_600.0
WARM_SHARE: Final = 3
"""A phase's caches are warm behind one part in so many of it."""
PARTS: Final = (layout.LOG, layout.STATE, layout.SPENT, layout.INDEX)


@dataclass(frozen=True)
class Sample:
    """One look. seconds: since the run began. own: resident memory that is nobody's file, of the node and its
    workers; resident: with the pages of mapped files, which are the system's to take back. spent_descriptors:
    those of the spent ids, a database a minute that lives as long as its ids; descriptors: all others. disk:
    bytes by part. Latencies are of the single transfers since the sample before, in ms.
    """

    seconds: float
    phase: int
    transactions: int
    own: float
    resident: float
    descriptors: int
    spent_descriptors: int
    threads: int
    disk: dict[str, int]
    p50: float
    p99: float


COUNTED: Final[dict[str, Callable[[Sample], float]]] = {
    "descriptors": lambda sample: sample.descriptors,
    "descriptors of spent ids": lambda sample: sample.spent_descriptors,
    "threads": lambda sample: sample.threads,
}
LATENCIES: Final[dict[str, Callable[[Sample], float]]] = {
    "p50, ms": lambda sample: sample.p50,
    "p99, ms": lambda sample: sample.p99,
}


def look(
    pid: int, data: Path, *, seconds: float, phase: int, transactions: int, latencies: Sequence[float]
) -> Sample:
    """Sample a running node. latencies: seconds of one call each."""
    pids = list(_family(pid))
    targets = [target for each in pids for target in _descriptors(each)]
    spent = sum(f"/{layout.SPENT}/" in target for target in targets)
    cuts = statistics.quantiles(latencies, n=100, method="inclusive") if len(latencies) > 1 else [0.0] * 99
    return Sample(
        seconds=seconds,
        phase=phase,
        transactions=transactions,
        own=sum(_memory(each, "RssAnon") for each in pids),
        resident=sum(_memory(each, "VmRSS") for each in pids),
        descriptors=len(targets) - spent,
        spent_descriptors=spent,
        threads=sum(sum(1 for _ in Path(f"/proc/{each}/task").iterdir()) for each in pids),
        disk={part: _bytes_below(data / part) for part in PARTS},
        p50=cuts[49] * 1_000,
        p99=cuts[98] * 1_000,
    )


def _family(pid: int) -> Iterator[int]:
    yield pid
    for child in children_of(pid):
        yield from _family(child)


def _descriptors(pid: int) -> Iterator[str]:
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since
            yield str(descriptor.readlink())


def _memory(pid: int, name: str) -> float:
    """A line of /proc/PID/status (proc(5)), in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) / 1_024 for line in lines if line.startswith(f"{name}:")), 0.0)


def _bytes_below(folder: Path) -> int:
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):  # LevelDB has merged it away
                total += Path(path, name).stat().st_size
    return total


def slope(samples: Sequence[Sample], of: Callable[[Sample], float]) -> float:
    """By how much it grows in an hour, by least squares; 0 of less than two samples."""
    if len(samples) < 2:
        return 0.0
    times = [sample.seconds for sample in samples]
    return statistics.linear_regression(times, [of(sample) for sample in samples]).slope * HOUR


def growth(phase: Sequence[Sample]) -> float:
    """Bytes of its own memory that a transaction added in the second half of a phase, by least squares."""
    half = phase[len(phase) // 2 :]
    done = [sample.transactions for sample in half]
    return statistics.linear_regression(done, [sample.own for sample in half]).slope * MIB


def phases(samples: Sequence[Sample]) -> list[list[Sample]]:
    """The samples of each phase."""
    numbers = sorted({sample.phase for sample in samples})
    return [[sample for sample in samples if sample.phase == number] for number in numbers]


def warm(phase: Sequence[Sample]) -> Sequence[Sample]:
    """A phase behind the warm-up of its caches."""
    return phase[len(phase) // WARM_SHARE :]


def thirds(samples: Sequence[Sample], of: Callable[[Sample], float]) -> tuple[float, float]:
    """Medians of the first and the last third of the run."""
    third = max(len(samples) // 3, 1)
    first, last = samples[:third], samples[-third:]
    return statistics.median(map(of, first)), statistics.median(map(of, last))


def table(samples: Sequence[Sample], began: Sequence[str]) -> str:
    """A line a phase, and the slopes. began: how each phase began."""
    heads = ("tx/s", "own MiB", "MiB/h", "resident", "files", "spent", "threads", *PARTS, "p50 ms", "p99 ms")
    lines = [f"{'phase':<12}{'minutes':>8}" + "".join(f"{head:>12}" for head in heads)]
    for number, phase in enumerate(phases(samples)):
        first, last = phase[0], phase[-1]
        seconds = max(last.seconds - first.seconds, 1e-9)
        cells = (
            f"{(last.transactions - first.transactions) / seconds:.0f}",
            f"{warm(phase)[0].own:.1f}-{last.own:.1f}",
            f"{slope(warm(phase), lambda s: s.own):+.0f}",
            f"{last.resident:.1f}",
            *(f"{_median(phase, of):.0f}" for of in COUNTED.values()),
            *(f"{last.disk[part] / MIB:.1f}" for part in PARTS),
            *(f"{_median(phase, of):.1f}" for of in LATENCIES.values()),
        )
        lines.append(
            f"{f'{number} {began[number]}':<12}{seconds / 60:>8.2f}" + "".join(f"{c:>12}" for c in cells)
        )
    return "\n".join((*lines, *_slopes(samples)))


def _slopes(samples: Sequence[Sample]) -> Iterator[str]:
    """Over the whole run, an hour; of the disk a transaction as well."""
    done = max(samples[-1].transactions - samples[0].transactions, 1)
    for name, of in {**COUNTED, **LATENCIES}.items():
        yield f"{name}: {slope(samples, of):+.1f} an hour"
    for part in PARTS:
        grown = slope(samples, lambda s: s.disk[part] / MIB)  # noqa: B023 - called here
        each = (samples[-1].disk[part] - samples[0].disk[part]) / done
        yield f"{part}: {grown:+.1f} MiB an hour, {each:.0f} bytes a transaction"
    grown = growth(phases(samples)[-1])
    yield f"own memory: {grown:.0f} bytes a transaction in the second half of the last phase"


def _median(samples: Sequence[Sample], of: Callable[[Sample], float]) -> float:
    return statistics.median(map(of, samples))
