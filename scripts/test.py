"""Runs the tests, folder by folder: `python3 scripts/test.py` in a fresh clone is enough.

Makes the project's environment first, and the CometBFT that the tests run. The last line of the output is
`N passed, N failed, N skipped` over all folders, alone on its line; the exit code is 0 only if something ran,
nothing failed, no folder died and the whole stayed inside its 45 minutes. What cannot be collected counts as
failed; what --without leaves out counts as skipped.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Final, NamedTuple, NoReturn
from xml.etree import ElementTree as ET

import environment

TESTS: Final = environment.ROOT / "tests"
TOTAL_MINUTES_MAX: Final = 45.0
PYTEST_FINE: Final = (0, 5)  # all passed; nothing selected
STOP_SECONDS: Final = 15.0  # what pytest gets to end its children before it is killed


LONG_HELP: Final = (
    "many more cases, and half an hour of mixed load; without FOLDER and -k also the mutation\n"
    "score of node/ledger and contracts (scripts/mutation.py)"
)


class Folder(NamedTuple):
    """One place of tests. group: the name under which its minutes are budgeted. spread: what two processes
    share out, tests (``load``) or files (``loadfile``); empty: one process runs them all.
    """

    name: str
    group: str
    spread: str


FOLDERS: Final = (
    Folder("test_tidy.py", "logic", "load"),
    Folder("unit", "logic", "load"),
    Folder("contracts", "logic", "load"),
    Folder("property", "logic", "loadfile"),
    Folder("vectors", "logic", "load"),
    Folder("sim", "order", ""),
    Folder("engine", "order", ""),
    Folder("e2e", "e2e", ""),
    Folder("fault", "fault", ""),
    Folder("fuzz", "fuzz", ""),
)
BUDGET_MINUTES: Final = {"logic": 5.0, "order": 5.0, "e2e": 6.0, "fault": 14.0, "fuzz": 4.0}

# What tests need of the operating system: the name in @pytest.mark.needs(name), which is also the program
# looked for, and the Debian package that brings it. The one list of them.
NEEDS: Final = {"mount": "mount", "softhsm2-util": "softhsm2", "strace": "strace"}


class Outcome(NamedTuple):
    """What one folder's run came to."""

    name: str
    group: str
    minutes: float
    passed: int
    failed: int
    skipped: int


class Stopped(Exception):
    """SIGINT or SIGTERM arrived."""


def main(arguments: Sequence[str]) -> int:
    """Run what is asked for. Returns the exit code."""
    options = parse(arguments)
    folders = choose(options.folders)
    provide_packages(set(NEEDS) - set(options.without))
    provide_engine()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _raise_stopped)
    outcomes: list[Outcome] = []
    stopped = False
    score = ""
    try:
        outcomes.extend(run_folder(folder, options) for folder in folders)
        if options.long and not options.folders and not options.expression:
            outcome, score = run_mutation()
            outcomes.append(outcome)
    except Stopped:
        stopped = True
    return conclude(outcomes, stopped=stopped, bounded=not options.long, score=score)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line; an unknown folder or need ends the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folders", nargs="*", metavar="FOLDER", help="a folder of tests/; default: all")
    parser.add_argument("--long", action="store_true", help=LONG_HELP)
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        choices=sorted(NEEDS),
        metavar="NAME",
        help=f"leave out the tests that need NAME ({', '.join(sorted(NEEDS))})",
    )
    parser.add_argument("-k", dest="expression", default="", metavar="EXPR", help="as pytest -k")
    options = parser.parse_args(arguments)
    names = {Path(folder).name for folder in options.folders}
    unknown = names - {folder.name for folder in FOLDERS if (TESTS / folder.name).exists()}
    if unknown:
        parser.error(f"no such folder of tests: {', '.join(sorted(unknown))}")
    options.folders = names
    return options


def choose(names: set[str]) -> list[Folder]:
    """The folders to run, in their fixed order: the named ones, or all that exist."""
    return [f for f in FOLDERS if (f.name in names if names else (TESTS / f.name).exists())]


def provide_packages(needs: set[str]) -> None:
    """Install the Debian packages of the given needs if their programs are missing, as root; else say how.

    Raises SystemExit if a program is missing and cannot be installed.
    """
    missing = sorted(name for name in needs if shutil.which(name) is None)
    if not missing:
        return
    packages = [NEEDS[name] for name in missing]
    command = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    without = " ".join(f"--without {name}" for name in missing)
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        sys.exit(
            f"Some tests need {' '.join(missing)}: sudo {' '.join(command)}\nor leave them out: {without}"
        )
    print(f"Installing {' '.join(packages)} for the fault tests", flush=True)
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for step in (["apt-get", "update"], command):
        done = subprocess.run(step, env=quiet, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(
            f"{done.stdout}{done.stderr}\n{' '.join(command)} failed; leave the tests out with: {without}"
        )


def provide_engine() -> None:
    """Install the CometBFT that the tests run, unless it is there: tests of the consortium are never skipped.

    Raises SystemExit if it cannot be had.
    """
    install = import_module(
        "node.engine.cometbft.install"
    )  # the environment has it, the first interpreter not
    named = import_module("node.config").cometbft_binary()
    try:
        if install.version_of(install.find_binary(named)) == install.VERSION:
            return
    except install.InstallFailed as missing:
        if named:
            sys.exit(str(missing))
    command = [sys.executable, "-m", "node.cli", "engine", "install"]
    try:
        environment.run_step(f"Installing CometBFT {install.VERSION}", command, environment.ROOT)
    except environment.SetupFailed as failure:
        sys.exit(str(failure))


def run_folder(folder: Folder, options: argparse.Namespace) -> Outcome:
    """Run one folder's tests in a pytest of its own. Raises Stopped, with that pytest ended."""
    print(f"\n== {folder.name}", flush=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="vostro-test-") as scratch:
        report = Path(scratch) / "report.xml"
        command = [
            *(sys.executable, "-m", "pytest", "-q", str(TESTS / folder.name), f"--junitxml={report}"),
            *(["-n", "2", f"--dist={folder.spread}"] if folder.spread else []),
            *(["-k", options.expression] if options.expression else []),
            *(["--long"] if options.long else []),
            *(f"--without={name}" for name in options.without),
        ]
        code = run_child(command)
        passed, failed, skipped = read_report(report, code)
    return Outcome(folder.name, folder.group, (time.monotonic() - started) / 60, passed, failed, skipped)


def run_mutation() -> tuple[Outcome, str]:
    """Judge mutants of the ledger and the contracts; with the outcome, the lines of the score.

    A low score fails nothing: 85% is a goal. That none could be had is one failure. Raises Stopped.
    """
    print("\n== mutation", flush=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="vostro-test-") as scratch:
        report = Path(scratch) / "score.txt"
        script = environment.ROOT / "scripts" / "mutation.py"
        code = run_child([sys.executable, str(script), f"--report={report}"])
        score = report.read_text(encoding="utf-8") if report.exists() else ""
    minutes = (time.monotonic() - started) / 60
    return Outcome("mutation", "mutation", minutes, 0, int(code != 0 or not score), 0), score


def run_child(command: Sequence[str]) -> int:
    """Run a command in a process group of its own; end the whole group if this process is told to stop."""
    with subprocess.Popen(command, cwd=environment.ROOT, start_new_session=True) as process:
        try:
            return process.wait()
        except Stopped:
            end_group(process)
            raise


def end_group(process: "subprocess.Popen[bytes]") -> None:
    """SIGINT, so that fixtures clean up; SIGKILL to whatever of the group is left after that."""
    os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        print(f"pytest did not stop within {STOP_SECONDS:.0f} s; killing it", file=sys.stderr)
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # all of them have gone, as they should
    process.wait()


def read_report(report: Path, code: int) -> tuple[int, int, int]:
    """Counts of (passed, failed, skipped) from pytest's JUnit file and exit code.

    A run that died without a report, or ended badly with nothing failed in it, is one failure.
    """
    if not report.exists():
        return 0, 1, 0
    passed = failed = skipped = 0
    for case in ET.parse(report).getroot().iter("testcase"):  # noqa: S314 - pytest's own file
        outcomes = {child.tag for child in case}
        if outcomes & {"failure", "error"}:
            failed += 1
        elif "skipped" in outcomes:
            skipped += 1
        else:
            passed += 1
    return passed, failed or int(code not in PYTEST_FINE), skipped


def conclude(outcomes: Sequence[Outcome], *, stopped: bool, bounded: bool, score: str = "") -> int:
    """Print minutes against budgets, the mutation score and, last, the totals. Returns the exit code."""
    print(f"\n{'folder':<14}{'minutes':>9}{'passed':>9}{'failed':>9}{'skipped':>9}")
    for outcome in outcomes:
        print(
            f"{outcome.name:<14}{outcome.minutes:>9.2f}{outcome.passed:>9}{outcome.failed:>9}{outcome.skipped:>9}"
        )
    minutes = sum(outcome.minutes for outcome in outcomes)
    for group, budget in BUDGET_MINUTES.items():
        names = [folder.name for folder in FOLDERS if folder.group == group]
        spent = sum(outcome.minutes for outcome in outcomes if outcome.group == group)
        late = "  OVER ITS BUDGET" if bounded and spent > budget else ""
        print(f"{spent:6.1f} of {budget:4.0f} minutes  {', '.join(names)}{late}")
    print(f"{minutes:6.1f} of {sum(BUDGET_MINUTES.values()):4.0f} minutes  in all")
    print(score, end="")
    passed = sum(outcome.passed for outcome in outcomes)
    failed = sum(outcome.failed for outcome in outcomes)
    skipped = sum(outcome.skipped for outcome in outcomes)
    too_long = bounded and minutes > TOTAL_MINUTES_MAX
    if too_long:
        print(f"FAILED: over {TOTAL_MINUTES_MAX:.0f} minutes in all")
    if stopped:
        print("FAILED: stopped by a signal; the counts are of the folders that ended")
    if not passed + failed:
        print("FAILED: no test ran")
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return int(failed > 0 or too_long or stopped or not passed)


def _raise_stopped(number: int, _frame: FrameType | None) -> NoReturn:
    raise Stopped(signal.Signals(number).name)


if __name__ == "__main__":
    environment.enter()
    sys.exit(main(sys.argv[1:]))
