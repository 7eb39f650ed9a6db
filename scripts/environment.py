"""The project's own environment: .venv in the project root, made from requirements.lock and nothing else.

demo.py, test.py and their siblings call enter() first; it needs only the standard library, so a fresh
clone is enough to start. What always holds: a stamp inside .venv names the lock and the pyproject.toml
that it was installed from, and is written last; a marker is written first, so an environment whose
making was interrupted is thrown away and made again.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - the one place that an old Python reaches
    sys.exit(
        f"Vostro needs Python 3.11 or newer; this is {sys.version.split()[0]}. Install a newer one (Debian "
        f"12 has it) and run this script with it, for example: python3.11 {sys.argv[0]}"
    )

import fcntl
import hashlib
import importlib.util
import os
import queue
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
LOCK: Final = "requirements.lock"
STAMP: Final = "vostro-stamp"
MARKER: Final = "vostro-installing"
ALIVE_SECONDS: Final = 10.0  # without a terminal, a line at least this often
ERASE: Final = "\r\x1b[2K"  # back to the start of the line, and clear it
PIP: Final = ("-m", "pip", "--disable-pip-version-check", "install", "--progress-bar", "off")


class SetupFailed(Exception):
    """The environment could not be made; the text says what to do."""


def enter(root: Path = ROOT) -> None:
    """Return inside the project's environment: make or update it, then run this script again with its Python.

    Raises SystemExit with a sentence for people when that is not possible.
    """
    try:
        prepare(root)
    except SetupFailed as failure:
        sys.exit(str(failure))
    except KeyboardInterrupt:
        sys.exit("\nInterrupted; the next run starts the set-up again.")
    if Path(sys.prefix).resolve() != (root / ".venv").resolve():
        python = str(python_of(root))
        sys.stdout.flush()
        os.execv(python, [python, *sys.argv])  # noqa: S606 - the very same script, in the environment


def prepare(root: Path = ROOT) -> bool:
    """Make root/.venv what the lock says; return whether anything had to be done.

    Raises SetupFailed. A second caller at the same time waits for the first.
    """
    if is_current(root):
        return False
    handle = os.open(root, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Another script is making the environment; waiting for it.", flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        if is_current(root):
            return False
        install(root)
    finally:
        os.close(handle)
    return True


def is_current(root: Path) -> bool:
    """Whether .venv was made completely, from the lock and the pyproject.toml that stand here now."""
    stamp = root / ".venv" / STAMP
    return stamp.is_file() and stamp.read_text(encoding="ascii") == wanted_stamp(root)


def wanted_stamp(root: Path) -> str:
    """The hash that a current environment carries. The path is in it: an environment cannot be moved."""
    sources = [(root / name).read_bytes() for name in (LOCK, "pyproject.toml")]
    return hashlib.sha256(b"\0".join([str(root).encode(), *sources])).hexdigest()


def python_of(root: Path) -> Path:
    """The environment's interpreter."""
    return root / ".venv" / "bin" / "python"


def install(root: Path) -> None:
    """Make or update the environment, showing each step with its seconds. Raises SetupFailed."""
    venv = root / ".venv"
    if (venv / MARKER).exists():
        print("The last set-up was interrupted; starting again.", flush=True)
        shutil.rmtree(venv)
    if not works(python_of(root)):
        if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
            raise SetupFailed(
                "This Python cannot make virtual environments. On Debian: apt-get install python3-venv"
            )
        shutil.rmtree(venv, ignore_errors=True)
        venv.mkdir()
        (venv / MARKER).touch()
        run_step("Creating .venv", [sys.executable, "-m", "venv", str(venv)], root)
    (venv / STAMP).unlink(missing_ok=True)
    (venv / MARKER).touch()
    python = str(python_of(root))
    # The lock names all packages wanted: of one whose files alone are read, not what it would run with.
    locked = [python, *PIP, "--require-hashes", "--no-deps", "-r", LOCK]
    run_step(f"Installing {LOCK}", locked, root)
    run_step("Installing vostro", [python, *PIP, "--no-deps", "--no-build-isolation", "-e", "."], root)
    (venv / MARKER).unlink()
    (venv / STAMP).write_text(wanted_stamp(root), encoding="ascii")


def works(python: Path) -> bool:
    """Whether this interpreter starts, is new enough and has pip."""
    probe = "import sys, pip; sys.exit(sys.version_info < (3, 11))"
    try:
        return subprocess.run([python, "-c", probe], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def run_step(title: str, command: list[str], root: Path) -> None:
    """Run one command behind a line that stays alive; its output is shown only if it fails.

    Raises SetupFailed.
    """
    started = time.monotonic()
    live = sys.stdout.isatty()
    output: list[str] = []
    if not live:
        print(f"{title} ...", flush=True)
    process = subprocess.Popen(
        command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    last_shown = started
    try:
        for line in _lines_and_silences(process):
            output.extend([line] if line else [])
            now = time.monotonic()
            latest = output[-1].strip()[:70] if output else ""
            if live:
                print(f"{ERASE}{title} ... {now - started:.0f} s  {latest}", end="", flush=True)
            elif now - last_shown >= ALIVE_SECONDS:
                last_shown = now
                print(f"    {now - started:.0f} s  {latest}", flush=True)
    except KeyboardInterrupt:
        process.terminate()
        raise
    finally:
        process.wait()
    print(f"{ERASE if live else ''}{title}: {time.monotonic() - started:.1f} s", flush=True)
    if process.returncode != 0:
        raise SetupFailed("".join(output[-30:]) + f"\n{title} failed: {' '.join(command)}")


def _lines_and_silences(process: "subprocess.Popen[str]") -> Iterator[str]:
    """The command's lines as they come, and an empty text for every half second without one."""
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    threading.Thread(target=_pump, args=(process, lines), daemon=True).start()
    while True:
        try:
            line = lines.get(timeout=0.5)
        except queue.Empty:
            yield ""
        else:
            if line is None:
                return
            yield line


def _pump(process: "subprocess.Popen[str]", lines: "queue.SimpleQueue[str | None]") -> None:
    """Hand the command's lines over, then None."""
    assert process.stdout is not None  # noqa: S101 - it was asked for
    with process.stdout as stream:
        for line in stream:
            lines.put(line)
    lines.put(None)
