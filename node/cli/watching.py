"""A watched folder: what is laid into DIR/in is imported, one file after the other, in the order of names.

in/          files to import; write under another name (.part, .tmp or a leading dot), rename when whole
processing/  the one that is being imported; after a crash it is taken up again first
done/        imported, each with NAME.report.json and its answer: of payments NAME.pacs.002.xml, of
             recalls, where the desk says how to answer them, NAME.camt.029.xml
refused/     refused, each with NAME.reason.txt; and those with payments that were not settled: repair
             and lay in again
"""

import os
import time
from pathlib import Path
from typing import Final

from node.adapters.refusals import FileRefused
from node.cli.importing import (
    Desk,
    Report,
    carry_out,
    check,
    told_plan,
    told_problems,
    write_answer,
    write_report,
)
from node.cli.output import told_json

FOLDERS: Final = ("in", "processing", "done", "refused")
PAUSE_SECONDS: Final = 1.0
UNFINISHED: Final = (".part", ".tmp", ".filepart")
NAMES_MAX: Final = 10_000
"""Files with the same name in done/ or refused/."""


def watch_folder(desk: Desk, folder: Path, *, rounds: int | None, pause: float = PAUSE_SECONDS) -> int:
    """Import what comes, ``rounds`` times or until stopped; returns how many files. Raises what the client
    raises: then the file at hand stays in processing/ for the next run.
    """
    for name in FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    count = 0
    for path in sorted((folder / "processing").iterdir()):
        count += _import(desk, folder, path)
    done = 0
    while rounds is None or done < rounds:
        names = [path for path in sorted((folder / "in").iterdir()) if _is_whole(path)]
        for path in names:
            at = folder / "processing" / path.name
            path.rename(at)
            count += _import(desk, folder, at)
        done += 1
        if not names and (rounds is None or done < rounds):
            time.sleep(pause)
    return count


def _is_whole(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".") and path.suffix not in UNFINISHED


def _import(desk: Desk, folder: Path, path: Path) -> int:
    output = desk.session.output
    try:
        report = carry_out(desk, check(desk, path))
    except FileRefused as refused:
        target = _free(folder / "refused", path.name)
        _write(target.with_name(target.name + ".reason.txt"), told_problems(refused.problems) + "\n")
        path.rename(target)
        output.say(f"{path.name}: refused: {refused.problems[0]}")
        return 1
    target = _free(folder / ("done" if report.complete else "refused"), path.name)
    _tell(desk, report, target)
    path.rename(target)
    output.say(f"{path.name}: {'done' if report.complete else 'not all settled'}")
    return 1


def _tell(desk: Desk, report: Report, target: Path) -> None:
    result = report.result
    told = told_plan(report.plan)
    if result is not None:
        told |= {"status": result.group, "payments": len(result.told), "settled_before": result.before}
        write_answer(desk, report, target.with_name(target.name + ".pacs.002.xml"))
        if not report.complete:
            write_report(target.with_name(target.name + ".reason.csv"), result)
            sentence = (
                "Not all payments were settled; NAME.reason.csv says which and why. Lay the file in again.\n"
            )
            _write(target.with_name(target.name + ".reason.txt"), sentence.replace("NAME", target.name))
    elif report.answers:
        told |= {"answers": list(report.answers)}
        if desk.recall and report.plan.counts.get("Recall"):
            write_answer(desk, report, target.with_name(target.name + ".camt.029.xml"))
    _write(target.with_name(target.name + ".report.json"), told_json(told) + "\n")


def _free(folder: Path, name: str) -> Path:
    """A path in a folder that nothing has: the same name again gets a number."""
    for number in range(1, NAMES_MAX):
        path = folder / (name if number == 1 else f"{name}.{number}")
        if not path.exists():
            return path
    raise OSError(f"{folder} holds {NAMES_MAX:,} files named {name}")


def _write(path: Path, text: str) -> None:
    """A small file, whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
