"""The documents say what is so: their commands run on a real node, their links lead somewhere, their tables
are the program's.

A block tagged ``console run`` is executed, all such blocks of one document in order by one shell in an empty
directory: ``$ `` begins a command, ``> `` continues it, any other line must occur in the output. A block
tagged ``python file=NAME`` is a file in that directory. A block tagged ``console`` alone is only read by
people.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, NamedTuple, cast

import msgspec
import pytest
from prometheus_client import generate_latest

from node.cli.output import Exit
from node.config import NodeConfig
from node.demo.child import free_port, spawn
from node.engine.counters import Counters
from node.engine.embedded import EmbeddedEngine
from node.engine.engine import EngineStatus
from node.engine.errors import NodeError
from node.engine.vault import Keeper
from node.keys.certificates import Role
from node.ledger.errors import ErrorCode
from node.metrics import NodeMetrics
from node.network.local import free_ports
from node.services.access import ACCESS
from node.services.server import RPCS
from node.services.status import CODES
from node.storage.errors import StorageCode
from tests import tidy
from tests.processes import networks_ended

ROOT: Final = Path(__file__).resolve().parent.parent.parent
RUN_SECONDS: Final = 400.0
EXECUTED: Final = ("README.md", "docs/operations.md", "docs/api.md", "docs/clearing.md")
MARKETING: Final = ("seamless", "blazing", "cutting-edge", "world-class", "revolutionary", "best-in-class")

_FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_EXAMPLE_PORT = re.compile(r"127\.0\.0\.1:77\d\d\b")
_NAMED_FILE = re.compile(r"`((?:node|contracts|tests|scripts|docs|proto)/[\w./-]+\.\w+)`")


class Block(NamedTuple):
    """A fenced block: what its tag says, and its text."""

    tag: str
    text: str


def documents() -> list[str]:
    """Names of all documents."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    return sorted(str(path.relative_to(ROOT)) for path in found)


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a document, in order."""
    return [Block(tag.strip(), body) for tag, body in _FENCE.findall(text)]


def prose(text: str) -> str:
    """A document without its fenced blocks."""
    return _FENCE.sub("", text)


def first_cells(text: str, heading: str) -> dict[str, list[str]]:
    """The first table whose head begins with ``heading``: first cell without backticks -> the others."""
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith(f"| {heading} |"):
            break
    next(lines, None)
    rows: dict[str, list[str]] = {}
    for line in lines:
        if not line.startswith("|"):
            break
        first, *others = [cell.strip() for cell in line.strip("|").split(" |")]
        rows[first.strip("`")] = [other.strip() for other in others]
    return rows


# --- links and words ------------------------------------------------------------------------------------


def anchors(text: str) -> set[str]:
    """The names under which a document's headings are linked."""
    headings = re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def dead_links(name: str, text: str) -> Iterator[str]:
    """What a document points at and is not there."""
    here = (ROOT / name).parent
    for target in _LINK.findall(prose(text)):
        if target.startswith(("http:", "https:")):
            continue
        path, _, anchor = target.partition("#")
        aim = (here / path).resolve() if path else ROOT / name
        if not aim.exists():
            yield f"{name}: {target} does not exist"
        elif anchor and anchor not in anchors(aim.read_text(encoding="utf-8") if path else text):
            yield f"{name}: {target} names no heading"
    yield from (
        f"{name}: {file} does not exist"
        for file in _NAMED_FILE.findall(prose(text))
        if not (ROOT / file).exists()
    )


def unfit_words(text: str) -> list[str]:
    """What no document may say."""
    lowered = text.lower()
    return [
        *tidy.unfinished(text),
        *tidy.machine_bound(text),
        *[word for word in MARKETING if word in lowered],
    ]


def test_every_link_of_every_document_leads_somewhere() -> None:
    assert [said for name in documents() for said in dead_links(name, read(name))] == []
    planted = "# One\n[a](nowhere.md) [b](#two) [c](LICENSE) [d](#one) `node/nowhere.py`\n"
    assert len(list(dead_links("README.md", planted))) == 3


def test_no_document_is_unfinished_boastful_or_bound_to_a_machine() -> None:
    assert {name: said for name in documents() if (said := unfit_words(read(name)))} == {}
    assert unfit_words(f"a {MARKETING[0]} ledger")


def test_every_decision_is_listed() -> None:
    files = {path.name for path in (ROOT / "docs" / "adr").glob("0*.md")}
    listed = set(_LINK.findall(read("docs/adr/README.md")))
    assert listed == files


# --- tables ---------------------------------------------------------------------------------------------


def told_default(value: object) -> str:
    """A default as the table of the configuration spells it."""
    if value is msgspec.NODEFAULT:
        return "required"
    if value is None:
        return "none"
    return "empty" if value == "" else f"`{str(value).lower()}`"


def test_every_setting_is_documented_with_its_default() -> None:
    rows = first_cells(read("docs/operations.md"), "field")
    known = {field.name: told_default(field.default) for field in msgspec.structs.fields(NodeConfig)}
    assert {name: cells[0] for name, cells in rows.items()} == known


def samples() -> set[str]:
    """The metric names on a node's page."""
    status = EngineStatus(
        "embedded", serving=True, height=1, time_ms=1, app_hash=b"", pending=0, pending_max=1, alarms=()
    )
    engine = SimpleNamespace(status=lambda: status, counters=Counters())
    metrics = NodeMetrics(
        cast("EmbeddedEngine", engine),
        free_bytes=lambda: 1,
        index=cast("Any", SimpleNamespace(height=1)),
        restarts=lambda: 0,
    )
    metrics.observe("method", "OK", 0.1)
    metrics.doors = cast(
        "Any", SimpleNamespace(refusals={"NOT_PERMITTED": 1}, ends=lambda: {"node certificate": 1.0})
    )
    metrics.vault = Keeper(
        cast("Any", None), cast("Any", None), "", {}, cast("Any", None), document_bytes_max=1
    )
    page = generate_latest(metrics.registry).decode()
    found = {
        line.partition("{")[0].partition(" ")[0] for line in page.splitlines() if not line.startswith("#")
    }
    return {name for name in found if not name.endswith("_created")}


def test_every_metric_is_documented_and_alert_rules_use_no_other() -> None:
    text, known = read("docs/operations.md"), samples()
    histogram = {name for name in known if re.search(r"_(bucket|sum|count)$", name)}
    families = (known - histogram) | {re.sub(r"_(bucket|sum|count)$", "", name) for name in histogram}
    assert set(first_cells(text, "metric")) == families
    rules = next(block.text for block in blocks(text) if block.tag == "yaml")
    used = set(re.findall(r"\bvostro_\w+", rules))
    assert used
    assert used <= known


def test_every_rpc_is_documented() -> None:
    known = {re.sub(r"^/(vostro\.\w+\.v1\.)?", "", method) for method in RPCS}
    assert set(first_cells(read("docs/api.md"), "RPC")) == known


def test_every_row_of_the_access_matrix_is_documented() -> None:
    told = first_cells(read("docs/api.md"), "call")
    known = {}
    for method, row in ACCESS.items():
        roles = ", ".join(f"`{role}`" for role in sorted(row.roles or ()))
        opened = "anybody" if row.roles is None else "any role" if row.roles == frozenset(Role) else roles
        known[re.sub(r"^/(vostro\.\w+\.v1\.)?", "", method)] = [opened, row.reads]
    assert told == known


def codes_of(space: type) -> dict[str, str]:
    """Number -> name of a codespace's codes."""
    return {str(code.code): code.name for code in vars(space).values() if isinstance(code, ErrorCode)}


def test_every_code_of_storage_and_of_the_node_is_documented() -> None:
    rows = [line for line in read("docs/operations.md").splitlines() if re.match(r"\| \d+ \| `", line)]
    told = {cells[1].strip(): cells[2].strip(" `") for cells in (row.split("|") for row in rows)}
    storage = {number: name for number, name in told.items() if name in codes_of(StorageCode).values()}
    assert storage == codes_of(StorageCode)
    node = {
        code.removeprefix("node/"): cells[0].strip("`")
        for code, cells in first_cells(read("docs/api.md"), "code").items()
    }
    assert node == codes_of(NodeError)


def test_every_log_event_is_documented() -> None:
    call = re.compile(r'\b_?log\.(?:debug|info|warning|error|exception)\(\s*"([^"]+)"')
    events = {event for path in (ROOT / "node").rglob("*.py") for event in call.findall(path.read_text())}
    assert len(events) > 5, "the search has lost its subject"
    rows = first_cells(read("docs/operations.md"), "event")
    told = [name.strip("` ").partition(" ...")[0] for row in rows for name in row.split("`, `")]
    assert [event for event in sorted(events) if not event.startswith(tuple(told))] == []
    assert [name for name in told if not any(event.startswith(name) for event in events)] == []


def test_every_exit_code_is_documented() -> None:
    table = first_cells(read("docs/operations.md").partition("## Exit codes")[2], "code")
    assert {number: cells[0].strip("`") for number, cells in table.items()} == {
        str(int(code)): code.name for code in Exit
    }


@pytest.mark.parametrize("name", ["ARCHITECTURE.md", "docs/api.md"])
def test_every_category_is_documented_with_its_status(name: str) -> None:
    rows = first_cells(read(name), "category")
    assert {row: cells[0].strip("`") for row, cells in rows.items()} == {
        category.name: code.name for category, code in CODES.items()
    }


# --- commands -------------------------------------------------------------------------------------------


class Script(NamedTuple):
    """The commands of a document, and the lines that their output must hold."""

    commands: str
    expected: list[str]


def script_of(found: list[Block]) -> Script:
    """What the runnable blocks say, put together; ports of examples (127.0.0.1:77xx) are free ones."""
    commands: list[str] = []
    expected: list[str] = []
    for block in found:
        for line in block.text.splitlines() if block.tag == "console run" else ():
            if line.startswith(("$ ", "> ")):
                commands.append(line[2:])
            elif line.strip():
                expected.append(line)
    text = "\n".join(commands) + "\n"
    written = sorted(set(_EXAMPLE_PORT.findall(text)))
    for old, new in zip(written, free_ports(len(written)), strict=True) if written else ():
        text = text.replace(old, f"127.0.0.1:{new}")
    return Script(text, expected)


def prepare(found: list[Block], folder: Path) -> dict[str, str]:
    """The files that blocks name, the command under test in ``bin``, and the environment of the shell."""
    port = free_port()
    for block in found:
        if block.tag.startswith("python file="):
            source = block.text.replace("127.0.0.1:7600", f"127.0.0.1:{port}")
            (folder / block.tag.partition("=")[2]).write_text(source, encoding="utf-8")
    tools = folder / "bin"
    tools.mkdir()
    python = Path(sys.executable)
    wrapper = tools / "vostro"  # a node in the background dies with the shell, whatever becomes of that
    wrapper.write_text(
        f'#!/bin/sh\n[ "$1" != init ] || set -- "$@" --listen 127.0.0.1:{port}\n'
        f'exec setpriv --pdeathsig KILL "{python}" -m node.cli "$@"\n',
        encoding="utf-8",
    )
    wrapper.chmod(0o755)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("VOSTRO_")}
    path = os.pathsep.join((str(tools), str(python.parent), clean.get("PATH", "")))
    return {
        **clean,
        "PATH": path,
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "160",
    }


def run(script: Script, folder: Path, environment: dict[str, str]) -> tuple[int, str]:
    """Run a document's commands in a shell that stops at the first that fails; exit code and output."""
    (folder / "commands.sh").write_text("set -euo pipefail\nset -x\n" + script.commands, encoding="utf-8")
    output = folder / "output"
    command = [
        "/usr/bin/env",
        "-i",
        *(f"{name}={value}" for name, value in environment.items()),
        "/bin/bash",
        "commands.sh",
    ]
    with output.open("wb") as file:
        process = spawn(["/bin/sh", "-c", 'cd "$0" && exec "$@"', str(folder), *command], file.fileno())
    try:
        code = process.wait(RUN_SECONDS)
    except subprocess.TimeoutExpired:
        code = -1
    finally:
        with suppress(ProcessLookupError):
            os.killpg(
                process.pid, signal.SIGKILL
            )  # what the shell left in the background; the group is its own
        process.wait()
    return code, output.read_text(encoding="utf-8", errors="replace")


def missing(script: Script, output: str) -> list[str]:
    """Expected lines that the output lacks; blanks count once, and the shell's trace counts for nothing."""
    shown = "\n".join(" ".join(line.split()) for line in output.splitlines() if not line.startswith("+"))
    return [line for line in script.expected if " ".join(line.split()) not in shown]


@pytest.mark.timeout(480)
@pytest.mark.parametrize("name", EXECUTED)
def test_the_commands_of_a_document_do_what_it_says(name: str, tmp_path: Path) -> None:
    assert shutil.which("setpriv"), "setpriv belongs to util-linux"
    found = blocks(read(name))
    script = script_of(found)
    with networks_ended(tmp_path):  # detached nodes have groups of their own
        code, output = run(script, tmp_path, prepare(found, tmp_path))
    assert code == 0, output
    assert missing(script, output) == [], output
    lines = len(script.commands.splitlines())
    print(f"{name}: {lines} lines of commands, {len(script.expected)} lines of output held")


def test_a_document_whose_command_fails_or_says_otherwise_is_caught(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    failing = script_of(blocks("```console run\n$ vostro status --config nowhere.toml\n```\n"))
    code, output = run(failing, tmp_path / "one", prepare([], tmp_path / "one"))
    assert code == int(Exit.LOCAL), output
    (tmp_path / "two").mkdir()
    lying = script_of(blocks("```console run\n$ echo one\ntwo\n```\n"))
    code, output = run(lying, tmp_path / "two", prepare([], tmp_path / "two"))
    assert code == 0, output
    assert missing(lying, output) == ["two"]


def test_every_runnable_block_is_in_a_document_that_is_run() -> None:
    runnable = {
        name for name in documents() if any(block.tag == "console run" for block in blocks(read(name)))
    }
    assert runnable == set(EXECUTED)
    tags = {block.tag.partition("=")[0] for name in EXECUTED for block in blocks(read(name))}
    assert tags <= {"console", "console run", "python", "python file", "text", "yaml", "ini", "toml"}
