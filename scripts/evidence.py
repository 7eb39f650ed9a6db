"""Prints the claims of SECURITY.md with the tests that hold them: `python3 scripts/evidence.py`.

A claim is a row of a table in SECURITY.md that begins with an id (TX3); a test carries the id in its marker
``evidence(claim, asset, threat, mitigation)``. `--run` runs those tests and adds how they ended and what
they printed of the cases they tried; `--report FILE` reads that off JUnit files of runs before (pytest with
`--junitxml=FILE -o junit_logging=system-out`). `-k ID` chooses claims. The exit code is 1 where a claim has
no test, a test names no claim, or a test failed.
"""

import argparse
import ast
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple
from xml.etree import ElementTree as ET

import environment

TESTS: Final = environment.ROOT / "tests"
DOCUMENT: Final = environment.ROOT / "SECURITY.md"
MARKER: Final = "evidence"
_ROW: Final = re.compile(r"^\| ([A-Z]{2,4}[0-9]{1,2}) \| (.+) \|$", re.MULTILINE)
_COUNTS: Final = re.compile(r"^[^\n]*\b[0-9][0-9,]*\b[^\n]*$", re.MULTILINE)
_LINKED: Final = re.compile(r"\]\((tests/[^)#]+)\)")


class Claim(NamedTuple):
    """A row of SECURITY.md. files: the test files that it links to."""

    id: str
    text: str
    files: tuple[str, ...]


class Mark(NamedTuple):
    """A test that holds a claim. file: relative to the project."""

    claim: str
    asset: str
    threat: str
    mitigation: str
    file: str
    test: str


class Ended(NamedTuple):
    """How the cases of one test ended, and what they printed."""

    passed: int
    failed: int
    skipped: int
    printed: tuple[str, ...]


def claims_in(document: str) -> list[Claim]:
    """The claims of a document, in its order. Raises ValueError where an id stands twice."""
    found = [
        Claim(row[1], re.split(r" \| (?=\[test_)", row[2])[0], tuple(_LINKED.findall(row[2])))
        for row in _ROW.finditer(document)
    ]
    twice = [claim.id for claim in found if [other.id for other in found].count(claim.id) > 1]
    if twice:
        raise ValueError(f"{twice[0]} stands twice")
    return found


def marks_in(source: str, file: str) -> Iterator[Mark]:
    """The markers of a test file, without running it. Raises ValueError for one that is not complete."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == f"pytest.mark.{MARKER}":
                    yield _mark(decorator, file, node.name)


def _mark(call: ast.Call, file: str, test: str) -> Mark:
    words = {keyword.arg or "": ast.literal_eval(keyword.value) for keyword in call.keywords}
    if len(call.args) != 1 or set(words) != {"asset", "threat", "mitigation"}:
        raise ValueError(f"{file}: {test}: a marker is {MARKER}(claim, asset=, threat=, mitigation=)")
    return Mark(ast.literal_eval(call.args[0]), **words, file=file, test=test)


def all_marks() -> list[Mark]:
    """The markers of the project, by file."""
    files = sorted(TESTS.rglob("test_*.py"))
    return [
        mark
        for path in files
        for mark in marks_in(path.read_text(encoding="utf-8"), str(path.relative_to(environment.ROOT)))
    ]


def discrepancies(claims: Sequence[Claim], marks: Sequence[Mark]) -> list[str]:
    """What does not fit between the document and the tests, a sentence each."""
    known = {claim.id: claim for claim in claims}
    holding = {(mark.claim, mark.file) for mark in marks}
    told = [f"{claim.id}: no test holds it" for claim in claims if not any(claim.id == c for c, _ in holding)]
    told += [f"{file}: {claim} is no claim" for claim, file in sorted(holding) if claim not in known]
    told += [
        f"{claim.id}: {file} is not named in its row"
        for claim in claims
        for held, file in sorted(holding)
        if held == claim.id and file not in claim.files
    ]
    told += [
        f"{claim.id}: no test of {file} holds it"
        for claim in claims
        for file in claim.files
        if (claim.id, file) not in holding
    ]
    return told


def read_report(report: Path) -> dict[tuple[str, str], Ended]:
    """(file, test) -> how it ended, off a JUnit file of pytest."""
    ended: dict[tuple[str, str], Ended] = {}
    for case in ET.parse(report).getroot().iter("testcase"):  # noqa: S314 - pytest's own file
        place = case.get("classname", "").replace(".", "/") + ".py", case.get("name", "").partition("[")[0]
        before = ended.get(place, Ended(0, 0, 0, ()))
        tags = {child.tag for child in case}
        failed = bool(tags & {"failure", "error"})
        skipped = "skipped" in tags
        said = "\n".join(child.text or "" for child in case if child.tag == "system-out")
        printed = tuple(line.strip() for line in _COUNTS.findall(said) if not line.startswith("---"))
        ended[place] = Ended(
            before.passed + (not failed and not skipped),
            before.failed + failed,
            before.skipped + skipped,
            (*before.printed, *printed),
        )
    return ended


def table(
    claims: Iterable[Claim], marks: Sequence[Mark], ended: Mapping[tuple[str, str], Ended]
) -> list[str]:
    """The lines to print: a claim, then its tests by threat and mitigation, then what they counted."""
    lines: list[str] = []
    for claim in claims:
        lines += ["", f"{claim.id}  {claim.text}"]
        held = [mark for mark in marks if mark.claim == claim.id]
        for asset, threat, mitigation in dict.fromkeys((m.asset, m.threat, m.mitigation) for m in held):
            lines.append(f"      {asset}: {threat} -> {mitigation}")
            for mark in held:
                if (mark.asset, mark.threat, mark.mitigation) == (asset, threat, mitigation):
                    lines += _told(mark, ended)
    return lines


def _told(mark: Mark, ended: Mapping[tuple[str, str], Ended]) -> list[str]:
    run = ended.get((mark.file, mark.test))
    cases = f"  {run.passed} passed, {run.failed} failed, {run.skipped} skipped" if run else ""
    lines = [f"        {mark.file}::{mark.test}{cases}"]
    return lines + [f"          | {line}" for line in (run.printed[-3:] if run else ())]


def run_tests(marks: Sequence[Mark]) -> dict[tuple[str, str], Ended]:
    """Run the marked tests, one file after the other as scripts/test.py would."""
    names = sorted({f"{mark.file}::{mark.test}" for mark in marks})
    with tempfile.TemporaryDirectory(prefix="vostro-evidence-") as scratch:
        report = Path(scratch) / "report.xml"
        subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-q", f"--junitxml={report}"),
                *("-o", "junit_logging=system-out", *names),
            ],
            cwd=environment.ROOT,
            check=False,
        )
        return read_report(report) if report.exists() else {}


def main(arguments: Sequence[str]) -> int:
    """Print the table. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--run", action="store_true", help="run the tests and add how they ended")
    parser.add_argument("--report", action="append", default=[], metavar="FILE", help="JUnit file of a run")
    parser.add_argument(
        "-k", dest="chosen", action="append", default=[], metavar="ID", help="only this claim"
    )
    options = parser.parse_args(arguments)
    claims, marks = claims_in(DOCUMENT.read_text(encoding="utf-8")), all_marks()
    wrong = discrepancies(claims, marks)
    if options.chosen:
        claims = [claim for claim in claims if claim.id in options.chosen]
        marks = [mark for mark in marks if mark.claim in options.chosen]
        if not claims:
            parser.error(f"no claim is called {', '.join(options.chosen)}")
    ended: dict[tuple[str, str], Ended] = {}
    for report in options.report:
        ended |= read_report(Path(report))
    if options.run:
        ended |= run_tests(marks)
    print("\n".join(table(claims, marks, ended)))
    tests = {(mark.file, mark.test) for mark in marks}
    failed = [place for place in tests if place in ended and ended[place].failed]
    cases = sum(run.passed + run.failed for place, run in ended.items() if place in tests)
    print(f"\n{len(claims)} claims, {len(tests)} tests, {cases} cases run, {len(failed)} tests failed")
    for sentence in wrong:
        print(f"WRONG: {sentence}")
    return int(bool(wrong or failed))


if __name__ == "__main__":
    environment.enter()
    sys.exit(main(sys.argv[1:]))
