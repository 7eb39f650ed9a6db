"""Everything that must hold before a change is offered: `python3 scripts/check.py`; `--fast` without tests.

Format, lint, types, import rules, generated code, the rules of proto/ and that it breaks no client, then the
tests. One line a step with its seconds; a step's output is shown only when it fails, and all steps run.
"""

import argparse
import io
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import environment

MAINLINE: Final = ("main", "origin/main")  # the first that exists is what proto/ must not break


def main(arguments: Sequence[str]) -> int:
    """Run every step. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="without the tests")
    options = parser.parse_args(arguments)
    tools = Path(sys.executable).parent
    python = sys.executable
    with tempfile.TemporaryDirectory(prefix="vostro-check-") as scratch:
        steps = [
            ("format", [str(tools / "ruff"), "format", "--check", "."]),
            ("lint", [str(tools / "ruff"), "check", "."]),
            ("types", [python, "-m", "mypy"]),
            ("import rules", [str(tools / "lint-imports"), "--no-cache", "--no-logo"]),
            ("generated code", [python, "scripts/gen_proto.py", "--check"]),
            ("generated formats", [python, "scripts/gen_formats.py", "--check"]),
            *proto_steps(tools / "buf", Path(scratch)),
        ]
        failed = [title for title, command in steps if not run_step(title, command)]
    if (
        not options.fast
        and subprocess.run([python, "scripts/test.py"], cwd=environment.ROOT, check=False).returncode
    ):
        failed.append("tests")
    print(f"FAILED: {', '.join(failed)}" if failed else "All checks hold.", flush=True)
    return int(bool(failed))


def proto_steps(buf: Path, scratch: Path) -> list[tuple[str, list[str]]]:
    """Buf lint, and buf breaking against the committed proto/ of the main line where there is one."""
    if not (environment.ROOT / "proto" / "buf.yaml").exists():
        return []
    steps = [("proto lint", [str(buf), "lint", "proto"])]
    committed = committed_proto()
    if committed:
        with tarfile.open(fileobj=io.BytesIO(committed)) as archive:
            archive.extractall(scratch, filter="data")
        steps.append(("proto breaking", [str(buf), "breaking", "proto", "--against", str(scratch / "proto")]))
    return steps


def committed_proto() -> bytes:
    """A tar of proto/ as the main line has it; empty if it has none yet."""
    for branch in MAINLINE:
        known = git("rev-parse", "--verify", "--quiet", f"{branch}^{{commit}}")
        if known.returncode == 0:
            has_sources = b".proto" in git("ls-tree", "-r", "--name-only", branch, "proto").stdout
            return git("archive", "--format=tar", branch, "proto").stdout if has_sources else b""
    return b""


def git(*arguments: str) -> "subprocess.CompletedProcess[bytes]":
    """Run git in the project."""
    return subprocess.run(["git", *arguments], cwd=environment.ROOT, capture_output=True, check=False)


def run_step(title: str, command: Sequence[str]) -> bool:
    """Run one step; print its line, and its output if it failed. Returns whether it held."""
    started = time.monotonic()
    done = subprocess.run(
        command,
        cwd=environment.ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    held = done.returncode == 0
    print(f"{title:<16}{'ok' if held else 'FAILED':<8}{time.monotonic() - started:6.1f} s", flush=True)
    if not held:
        print(done.stdout, flush=True)
    return held


if __name__ == "__main__":
    environment.enter()
    sys.exit(main(sys.argv[1:]))
