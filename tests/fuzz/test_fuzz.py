"""Every decoder that meets foreign bytes, fuzzed for a bounded time with coverage as the guide, each in a
process of its own, two at a time. What was found before is tried in test_findings.py.
"""

import re
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Final

import pytest

from tests.fuzz.harness import RSS_MB_MAX, SAID
from tests.fuzz.target import Target
from tests.fuzz.targets import PLANTED, TARGETS

pytestmark = [pytest.mark.timeout(3_600)]

ROOT: Final = Path(__file__).resolve().parent.parent.parent
SEED: Final = 20_261_126
SECONDS: Final = 8
SECONDS_LONG: Final = 300
EXECUTIONS_MIN: Final = 1_000
AT_A_TIME: Final = 2


@dataclass(frozen=True)
class Run:
    """How one fuzzer ended. features: of coverage, as libFuzzer counts them; found: the inputs it kept as
    findings.
    """

    code: int
    executions: int
    covered: int
    features: int
    rss_mb: int
    said: str
    found: tuple[bytes, ...]


class Bench:
    """A process whose modules are instrumented, which runs one fuzzer after the other."""

    def __init__(self, log: Path) -> None:
        """log: takes what it says, but for what its fuzzers say."""
        with log.open("wb") as said:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.fuzz.harness"],
                cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said,
            )  # fmt: skip

    def fuzz(self, target: Target, folder: Path, seconds: int, seed: int) -> Run:
        """Run one fuzzer to its end."""
        asking, answering = self._process.stdin, self._process.stdout
        assert asking
        assert answering
        print(target.name, folder, seconds, seed, file=asking, flush=True)
        code = int(answering.readline())
        said = (folder / SAID).read_text(errors="replace")
        coverage = re.findall(r"cov: (\d+) ft: (\d+)", said)
        covered, features = map(int, coverage[-1]) if coverage else (0, 0)
        found = [path for kind in ("crash", "timeout", "oom", "leak") for path in folder.glob(f"{kind}-*")]
        return Run(
            code,
            _stat("number_of_executed_units", said),
            covered,
            features,
            _stat("peak_rss_mb", said),
            said,
            tuple(path.read_bytes() for path in found),
        )

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def _stat(name: str, said: str) -> int:
    known = re.search(rf"stat::{name}: +(\d+)", said)
    return int(known[1]) if known else 0


def told(run: Run) -> str:
    """What a person needs to see of a finding."""
    at = run.said.find("=== Uncaught Python exception")
    traceback = run.said[at : at + 3_000] if at >= 0 else run.said[-3_000:]
    return f"exit code {run.code}; inputs {[data.hex() for data in run.found]}\n{traceback}"


@pytest.fixture(scope="module")
def seed(long_run: bool) -> int:
    """The same in every short run, so that what fails there is what was changed; a long one tries others."""
    return (secrets.randbelow(2**31) or 1) if long_run else SEED


@pytest.fixture(scope="module")
def benches(tmp_path_factory: pytest.TempPathFactory) -> Iterator["SimpleQueue[Bench]"]:
    """As many as there are cores in CI; whoever has taken one puts it back."""
    folder = tmp_path_factory.mktemp("benches")
    made = [Bench(folder / str(number)) for number in range(AT_A_TIME)]
    free: SimpleQueue[Bench] = SimpleQueue()
    for bench in made:
        free.put(bench)
    yield free
    for bench in made:
        bench.close()


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    long_run: bool,
    seed: int,
    benches: "SimpleQueue[Bench]",
) -> Iterator[dict[str, Future[Run]]]:
    """All fuzzers that were chosen, begun."""
    folder = tmp_path_factory.mktemp("fuzz")
    seconds = SECONDS_LONG if long_run else SECONDS
    selected = {item.name for item in request.session.items if item.path == request.path}
    fuzzed = test_a_decoder_lets_out_nothing_but_its_refusals.__name__
    chosen = [target for target in TARGETS if f"{fuzzed}[{target.name}]" in selected]

    def run(target: Target) -> Run:
        bench = benches.get()
        try:
            return bench.fuzz(target, folder / target.name, seconds, seed)
        finally:
            benches.put(bench)

    with ThreadPoolExecutor(AT_A_TIME) as pool:
        yield {target.name: pool.submit(run, target) for target in chosen}
        pool.shutdown(wait=True, cancel_futures=True)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
@pytest.mark.evidence(
    "BAD1", asset="availability", threat="malformed bytes", mitigation="every decoder has one kind of refusal"
)
def test_a_decoder_lets_out_nothing_but_its_refusals(
    target: Target, runs: dict[str, Future[Run]], seed: int
) -> None:
    run = runs[target.name].result()
    print(
        f"fuzz {target.name}: {run.executions:,} executions, {run.covered} edges, {run.features} features, "
        f"{run.rss_mb} MB, seed {seed}, {len(run.found)} findings"
    )
    assert (run.code, run.found) == (0, ()), told(run)
    assert run.executions >= EXECUTIONS_MIN, run.said[-2_000:]
    assert run.features > 1, "nothing is instrumented"
    assert run.rss_mb < RSS_MB_MAX


@pytest.mark.evidence(
    "BAD1", asset="availability", threat="malformed bytes", mitigation="every decoder has one kind of refusal"
)
def test_the_executions_are_counted(runs: dict[str, Future[Run]]) -> None:
    ended = [future.result() for future in runs.values()]
    executions = sum(run.executions for run in ended)
    print(
        f"fuzz: {executions:,} executions over {len(ended)} decoders, "
        f"{sum(run.features for run in ended):,} features, {sum(len(run.found) for run in ended)} findings"
    )
    assert executions >= EXECUTIONS_MIN * len(ended)


@pytest.mark.evidence(
    "BAD1", asset="availability", threat="malformed bytes", mitigation="every decoder has one kind of refusal"
)
def test_a_planted_fault_is_found_by_coverage_alone(tmp_path: Path, benches: "SimpleQueue[Bench]") -> None:
    """Four bytes, one after the other: chance alone would need four thousand million tries."""
    bench = benches.get()
    started = time.monotonic()
    run = bench.fuzz(PLANTED, tmp_path / "planted", 120, 1)
    benches.put(bench)
    print(f"planted fault: found after {run.executions:,} executions, {time.monotonic() - started:.0f} s")
    assert run.code != 0
    assert any(data.startswith(b"\xf7\x01\x99\x42") for data in run.found), told(run)
    assert "ZeroDivisionError" in run.said


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_every_seed_is_taken(target: Target) -> None:
    seeds = target.seeds()
    assert seeds
    for data in seeds:
        target.run(data)
        assert len(data) <= target.bytes_max
