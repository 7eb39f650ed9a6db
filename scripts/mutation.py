"""Prints the mutation score of node/ledger and contracts: how many small faults their tests notice.

`python3 scripts/mutation.py [--count N] [--seed S] [FILE...]`. Own code: mutmut 3 leaves decorated functions
alone, which a contract's methods all are, and cosmic-ray writes its faults into the working tree and draws
no sample. Each mutant (mutants.py finds them) is made in a copy of the tree and judged there by the tests
that import it; the printed seed draws the same ones again.
"""

import argparse
import ast
import contextlib
import functools
import itertools
import os
import queue
import random
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Final

import environment
from mutants import Finder, Mutant

ROOT: Final = environment.ROOT
FOLDERS: Final = {  # the tests that judge a package, those that kill most first
    "contracts": ("contracts", "unit"),
    "node/ledger": ("unit", "vectors", "property", "contracts"),
}
LONG_COUNT: Final = 40  # a minute each is expected on two cores, and was not measured
COPIES: Final = 2  # mutants judged at once, each by one process
SLOWER: Final = 6.0  # a mutant's tests may take so many times those of the unmutated code
TEST_SECONDS: Final = 60  # one test of a mutant that hangs
LEFT_OUT: Final = (".git", ".venv", ".*_cache", ".hypothesis", "__pycache__", ".bench", ".demo")
KILLED, TIMED_OUT, SURVIVED, STOPPED = "killed", "timed out", "survived", "stopped"
PYTEST_FINE: Final = (0, 5)  # all passed; nothing selected


def draw(paths: Sequence[str], count: int, chance: random.Random) -> list[Mutant]:
    """Mutants of these files, a file's share being its share of the statements."""
    sources = {path: (ROOT / path).read_bytes() for path in paths}
    statements = [
        sum(isinstance(node, ast.stmt) for node in ast.walk(ast.parse(s))) for s in sources.values()
    ]
    drawn: list[Mutant] = []
    found = {path: Finder(path, source).find() for path, source in sources.items()}
    step, mark, passed = sum(statements) / count, chance.random(), 0.0
    for mutants, weight in zip(found.values(), statements, strict=True):
        passed += weight / step
        share = 0
        while mark < passed:
            mark, share = mark + 1, share + 1
        drawn.extend(chance.sample(mutants, min(share, len(mutants))))
    chance.shuffle(drawn)
    return drawn


@functools.cache
def imports_of(path: Path) -> frozenset[Path]:
    """The project's files that one file names, in an import or as a text."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        match node:
            case ast.Import(names=aliases):
                names.update(alias.name for alias in aliases)
            case ast.ImportFrom(module=str(module), names=aliases):
                names.update({module, *(f"{module}.{alias.name}" for alias in aliases)})
            case ast.Constant(value=str(text)) if re.fullmatch(r"[a-z_]+(\.[a-z_]+)*", text):
                names.add(text)
    stems = {"/".join(name.split(".")[:n]) for name in names for n in range(1, name.count(".") + 2)}
    files = {ROOT / f"{stem}{end}" for stem in stems for end in (".py", "/__init__.py")}
    return frozenset(file for file in files if file.is_file())


@functools.cache
def judges(folder: str, path: str) -> tuple[str, ...]:
    """The files of a folder of tests that import, by whatever way, the file at path."""
    chosen: list[str] = []
    for test in sorted((ROOT / "tests" / folder).glob("test_*.py")):
        seen, ahead = {test}, [test]
        while ahead:
            new = imports_of(ahead.pop()) - seen
            seen |= new
            ahead.extend(new)
        if ROOT / path in seen:
            chosen.append(str(test.relative_to(ROOT)))
    return tuple(chosen)


def stages(path: str) -> list[tuple[str, tuple[str, ...]]]:
    """The runs that judge a mutant of one file, each as (expression of -k, files).

    The likeliest to kill come first.
    """
    package = package_of(path)
    if package == "contracts":  # the tables of refusals bear the contracts' names
        words = " or ".join(sorted({Path(path).stem, *Path(path).stem.strip("_").split("_")}))
        first, *others = FOLDERS[package]
        runs = [(words, judges(first, path)), (f"not ({words})", judges(first, path))]
        runs.extend(("", judges(folder, path)) for folder in others)
    else:
        every = [judges(folder, path) for folder in FOLDERS[package]]
        near = {test for tests in every for test in tests if ROOT / path in imports_of(ROOT / test)}
        runs = [("", tuple(sorted(near)))]
        runs.extend(("", tuple(test for test in tests if test not in near)) for tests in every)
    return [run for run in runs if run[1]]


def package_of(path: str) -> str:
    """Which of the two judged packages a file is of. Raises SystemExit for any other file."""
    for package in FOLDERS:
        if path.startswith(f"{package}/") and (ROOT / path).is_file():
            return package
    sys.exit(f"{path} is no file of {' or '.join(FOLDERS)}")


class Bench:
    """Copies of the tree in a temporary folder, each of which judges one mutant at a time."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._seed = seed
        self._second = itertools.count(1_000_000_000)  # of a file's writing: Python compiles it anew for each
        self._stop = threading.Event()
        self._limit = float("inf")
        self._free: queue.SimpleQueue[Path] = queue.SimpleQueue()
        for number in range(COPIES):
            tree = folder / f"tree{number}"
            shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(*LEFT_OUT))
            self._free.put(tree)

    def stop(self) -> None:
        """End the tests that run; what they judge is not counted."""
        self._stop.set()

    def prove(self, paths: Sequence[str], pool: ThreadPoolExecutor) -> str:
        """Empty, or why no score can be had: the copies' tests must pass, and see what breaks at import.

        The time that they take is what a mutant's limit is reckoned from.
        """
        folders = dict.fromkeys(folder for path in paths for folder in FOLDERS[package_of(path)])
        runs = [tuple(sorted({test for path in paths for test in judges(f, path)})) for f in folders]
        started = time.monotonic()
        for verdict, output in pool.map(lambda tests: self._run_anywhere("", tests), filter(None, runs)):
            if verdict != SURVIVED:
                return f"{output}\nthe unmutated code does not pass its tests"
        self._limit = SLOWER * (time.monotonic() - started)
        for path in {package_of(path): path for path in paths}.values():
            size = (ROOT / path).stat().st_size
            if self.judge(Mutant(path, 0, size, size, "", "\nraise ImportError\n")) != KILLED:
                return f"a fault at the import of {path} goes unseen: the copy's tests run other code"
        return ""

    def judge(self, mutant: Mutant) -> str:
        """One of the verdicts; STOPPED if stop was called meanwhile."""
        tree = self._free.get()
        file = tree / mutant.path
        source = file.read_bytes()
        try:
            self._write(file, mutant.apply(source))
            for expression, tests in stages(mutant.path):
                verdict, _ = self._run(tree, expression, tests)
                if verdict != SURVIVED:
                    return verdict
            return SURVIVED
        finally:
            self._write(file, source)
            self._free.put(tree)

    def _write(self, file: Path, text: bytes) -> None:
        file.write_bytes(text)
        second = next(self._second)
        os.utime(file, (second, second))

    def _run_anywhere(self, expression: str, tests: Sequence[str]) -> tuple[str, str]:
        tree = self._free.get()
        try:
            return self._run(tree, expression, tests)
        finally:
            self._free.put(tree)

    def _run(self, tree: Path, expression: str, tests: Sequence[str]) -> tuple[str, str]:
        """The verdict of one pytest, and the end of what it printed."""
        command = [
            *(sys.executable, "-m", "pytest", "-q", "-x", "--tb=short", "-p", "no:cacheprovider"),
            *(f"--timeout={TEST_SECONDS}", f"--hypothesis-seed={self._seed}", "-k", expression, *tests),
        ]
        variables = {**os.environ, "PYTHONPATH": f"{tree}{os.pathsep}{tree / 'scripts'}"}
        deadline = time.monotonic() + self._limit
        with tempfile.TemporaryFile("w+", errors="replace") as output:
            with subprocess.Popen(
                command,
                cwd=tree,
                env=variables,
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            ) as child:
                while child.poll() is None and time.monotonic() < deadline and not self._stop.is_set():
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        child.wait(0.2)
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                code = child.wait()
            output.seek(0)
            text = output.read()
        if self._stop.is_set():
            return STOPPED, text
        if code == -signal.SIGKILL or "Timeout (>" in text:
            return TIMED_OUT, text[-2000:]
        return (SURVIVED if code in PYTEST_FINE else KILLED), text[-2000:]


def score(verdicts: Counter[tuple[str, str]]) -> str:
    """A line for each package and one for both, from the counts by (package, verdict)."""
    lines = []
    for name, packages in [*((p, {p}) for p in FOLDERS), ("both", set(FOLDERS))]:
        killed, timed, survived = (
            sum(verdicts[package, verdict] for package in packages)
            for verdict in (KILLED, TIMED_OUT, SURVIVED)
        )
        if tried := killed + timed + survived:
            counts = f"{tried} tried, {killed} killed, {timed} timed out, {survived} survived"
            lines.append(f"mutation score of {name}: {(killed + timed) / tried:.0%} ({counts})")
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    """Judge what is asked for. Returns 0 if it could be judged, whatever the score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--count", type=int, default=LONG_COUNT, help=f"mutants to judge; default {LONG_COUNT}"
    )
    parser.add_argument(
        "--seed", type=int, default=secrets.randbits(32), help="draws the mutants; default random"
    )
    parser.add_argument("--report", type=Path, help="a file to write the score to as well")
    parser.add_argument(
        "files", nargs="*", metavar="FILE", help="of these packages; default: all their files"
    )
    options = parser.parse_args(arguments)
    every = [
        file.relative_to(ROOT).as_posix() for name in FOLDERS for file in sorted((ROOT / name).rglob("*.py"))
    ]
    paths = [Path(file).resolve().relative_to(ROOT).as_posix() for file in options.files] or every
    mutants = draw(paths, options.count, random.Random(options.seed))  # noqa: S311 - a sample, no secret
    print(f"{len(mutants)} mutants, --count {options.count} --seed {options.seed}", flush=True)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    verdicts: Counter[tuple[str, str]] = Counter()
    with tempfile.TemporaryDirectory(prefix="vostro-mutation-") as folder, ThreadPoolExecutor(COPIES) as pool:
        bench = Bench(Path(folder), options.seed)
        try:
            if unfit := bench.prove(paths, pool):
                bench.stop()
                print(unfit)
                return 1
            waiting = {pool.submit(bench.judge, mutant): mutant for mutant in mutants}
            for done in as_completed(waiting):
                mutant, verdict = waiting[done], done.result()
                verdicts[package_of(mutant.path), verdict] += 1
                print(f"{verdict:<10}{mutant}", flush=True)
        except KeyboardInterrupt:
            bench.stop()
            pool.shutdown(cancel_futures=True)
    text = score(verdicts)
    print(text, flush=True)
    if options.report:
        options.report.write_text(f"{text}\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    environment.enter()
    sys.exit(main(sys.argv[1:]))
