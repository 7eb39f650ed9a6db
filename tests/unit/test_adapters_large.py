"""Large files: read as a stream, within stated memory. Figures are printed; seconds are the processor's."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

WRITE = """
import json, resource, sys, time
from node.adapters.iso_write_statements import write_camt
from node.adapters.reading import Source, check_file, statement_entries
from pathlib import Path
from tests.adapters_kit import entry, statement
path, count = Path(sys.argv[1]), int(sys.argv[2])
def amounts():
    return ((number % 97 + 1) * (1 if number % 3 else -1) for number in range(count))
import array
began = time.process_time()
told = statement(array.array("q", amounts()))
with path.open("wb") as file:
    write_camt(file, told, (entry(number, minor) for number, minor in enumerate(amounts())))
wrote = time.process_time()
plan = check_file(Source(path))
checked = time.process_time()
total = sum(entry.amount.minor for _, entry in statement_entries(plan))
done = time.process_time()
opening, closing = plan.statements[0].opening, plan.statements[0].closing
print(json.dumps({
    "bytes": path.stat().st_size, "entries": plan.counts["Entry"], "write": round(wrote - began, 1),
    "check": round(checked - wrote, 1), "read": round(done - checked, 1),
    "adds_up": opening.amount.minor + total == closing.amount.minor,
    "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
}))
"""


def measured(path: Path, count: int, seconds: float) -> dict[str, float]:
    """Written, checked and read in a process of its own, whose greatest memory is told."""
    done = subprocess.run(
        [sys.executable, "-c", WRITE, str(path), str(count)],
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, float] = json.loads(done.stdout)
    print(told)
    return told


@pytest.mark.evidence(
    "BNK2",
    asset="the importer's machine",
    threat="a file that is made to hurt",
    mitigation="bounds, and no entities",
)
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    small, large = (measured(tmp_path / f"{count}.xml", count, 60) for count in (200, 4_000))
    assert large["bytes"] > 3_000_000
    assert large["mib"] - small["mib"] < 24
    assert small["adds_up"]
    assert large["adds_up"]


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_statement_of_200_mb_is_imported_within_500_mib(tmp_path: Path) -> None:
    told = measured(tmp_path / "large.xml", 260_000, 800)
    assert told["bytes"] > 200_000_000
    assert told["mib"] < 500
    assert told["adds_up"]
