"""The benchmark's case of statements: a camt.053 written, read back and matched, with known differences in
it.

No node: what is measured is the files and the matching. It runs in a process of its own, whose greatest
memory is told.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from node.adapters.iso_write_statements import write_camt
from node.adapters.reading import Source, check_file
from node.adapters.records import Entry, Record
from node.reconciliation.items import StatementItems, ledger_items, period_of
from node.reconciliation.planting import found_in, plant
from node.reconciliation.report import reconcile
from node.reconciliation.rules import load_rules
from tests.reconciliation_kit import OPENING, movements, stated

if TYPE_CHECKING:
    from bench import Bench

ROOT: Final = Path(__file__).resolve().parent.parent
ENTRIES: Final = 100_000
NOISE: Final = 100
"""One entry of so many is spoilt."""
SECONDS_MAX: Final = 600


def statements(bench: "Bench") -> None:
    """100,000 entries, 1% of them spoilt."""
    done = subprocess.run(
        [sys.executable, __file__, str(ENTRIES)],
        stdout=subprocess.PIPE,
        text=True,
        timeout=SECONDS_MAX,
        check=True,
        cwd=ROOT,
    )
    told: dict[str, Any] = json.loads(done.stdout)
    for part in ("written", "read", "matched"):
        bench.say(f"statements: {part} in {told.pop(part)} s")
    bench.tell("statements", told.pop("seconds"), "seconds", 0, 0, **told)


def run(count: int) -> dict[str, Any]:
    """Write, read and match; what it took and what was found."""
    moved = movements(count)
    spoilt = plant(*stated(moved), count // NOISE + 1)
    rules = load_rules()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "statement.xml"
        began = time.perf_counter()
        with path.open("wb") as file:
            write_camt(file, spoilt.statement, spoilt.entries)
        wrote = time.perf_counter()
        taken = StatementItems(rules.reference)

        def keep(record: Record) -> None:
            if isinstance(record, Entry):
                taken.add(record)

        statement = check_file(Source(path), keep=keep).statements[0]
        read = time.perf_counter()
        theirs = ledger_items(moved, rules.reference, *period_of(statement))
        result = reconcile(statement, taken.items, theirs, rules, OPENING)
        matched = time.perf_counter()
        found, _ = found_in(spoilt, result)
        hits = sum(1 for each in found if each.found)
        return {
            "seconds": round(matched - began, 1),
            "written": round(wrote - began, 1),
            "read": round(read - wrote, 1),
            "matched": round(matched - read, 1),
            "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            "megabytes": round(path.stat().st_size / 1e6),
            "planted": len(found),
            "found_percent": round(100 * hits / len(found), 1),
            "precision_percent": round(100 * hits / len(result.breaks), 1),
        }


CASES: Final = {"statements": statements}

if __name__ == "__main__":
    print(json.dumps(run(int(sys.argv[1]))))
