"""Real nodes for the end-to-end tests: made by ``vostro init``, run by ``vostro run``, dead with the test,
and the command itself.
"""

import ctypes
import gc
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any

from typer.testing import CliRunner

import node
from node.cli.main import app
from node.config import OTHER_PASSPHRASE_FILE, PASSPHRASE_FILE
from node.demo.child import NodeProcess, free_port
from node.keys.keystore import COST_MIN, save_signer
from node.keys.signer import generate

COMMAND_SECONDS = 100
END_SECONDS = 120.0
STREAMS = ("in", "out", "err")
CODE = "code"
ROOT = Path(__file__).resolve().parents[1]
_LOCK = Lock()
PASSPHRASE = b"only for a test"


@dataclass(frozen=True)
class Answer:
    """What a run of the command came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """stdout, which must be one JSON document."""
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        """What ``-o json`` says on stderr, in its last line."""
        told: dict[str, Any] = json.loads(self.err.strip().splitlines()[-1])["error"]
        return told


def clean_environment(passphrase: Path | None = None, other: Path | None = None) -> dict[str, str]:
    """This process's environment without settings of the command, but with the files of its passphrases."""
    files = {PASSPHRASE_FILE: passphrase, OTHER_PASSPHRASE_FILE: other}
    ours = {name: value for name, value in os.environ.items() if not name.startswith("VOSTRO_")}
    return ours | {name: str(file) for name, file in files.items() if file}


def vostro(
    *arguments: str | Path,
    folder: Path | None = None,
    stdin: str = "",
    passphrase: Path | None = None,
    other: Path | None = None,
) -> Answer:
    """Run the command to its end, in a process of its own, in ``clean_environment``.

    The process is forked from one that has imported whatever a command may import and done nothing else: that
    takes longer than most commands do. It dies with this process.
    """
    environment = clean_environment(passphrase, other)
    with TemporaryDirectory() as place:
        for stream, content in zip(STREAMS, (stdin, "", ""), strict=True):
            Path(place, stream).write_text(content, encoding="utf-8")
        words = [str(word) for word in arguments]
        _wait(_fork(words, str(folder or Path.cwd()), environment, place), words)
        code = Path(place, CODE)
        out, err = (Path(place, stream).read_text(encoding="utf-8") for stream in STREAMS[1:])
        return Answer(int(code.read_text()) if code.exists() else -signal.SIGKILL, out, err)


@cache
def _forks() -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", "from tests.processes import serve; serve()"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def _fork(*wanted: object) -> int:
    """The process that runs a command."""
    with _LOCK:
        forks = _forks()
        assert forks.stdin
        assert forks.stdout
        print(json.dumps(wanted), file=forks.stdin, flush=True)
        return int(forks.stdout.readline())


def _wait(pid: int, words: list[str]) -> None:
    """Until a process that is not this one's child has ended. Raises TimeoutExpired."""
    with suppress(ProcessLookupError):
        handle = os.pidfd_open(pid)
        try:
            if not select.select([handle], [], [], COMMAND_SECONDS)[0]:
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                raise subprocess.TimeoutExpired(words, COMMAND_SECONDS)
        finally:
            os.close(handle)


def serve() -> None:
    """Fork for each line of stdin, until it ends: with whoever started this."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # ended children are gone
    for module in walk_packages(node.__path__, "node."):
        import_module(module.name)
    gc.freeze()  # a child that ends does not look through all this for garbage
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _command(*json.loads(line))
        print(child, flush=True)


def _command(words: list[str], folder: str, environment: dict[str, str], place: str) -> None:
    """As ``python -m node.cli`` would. Never returns."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, stream in enumerate(STREAMS):
        descriptor = os.open(Path(place, stream), os.O_RDWR)
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin = os.fdopen(0, encoding="utf-8")
    sys.argv = ["vostro", *words]
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    code: object = 1
    try:
        app(prog_name="vostro")
    except SystemExit as ended:
        code = ended.code
        raise
    finally:
        Path(place, CODE).write_text(str(code or 0), encoding="ascii")


END_NETWORKS = """
import sys
from pathlib import Path
from node.network.local import read_network
from node.network.processes import stop

print(flush=True)
sys.stdin.read()  # to the end of whoever holds the other end, whatever ends that
for records in Path(sys.argv[1]).glob("**/run"):
    network = read_network(records.parent)
    while set(stop(network, network.banks, seconds=5.0).values()) != {"did not run"}:
        continue  # until nothing is left that a command started before it died, too
"""


@contextmanager
def networks_ended(folder: Path) -> Iterator[None]:
    """Whatever nodes are detached below the folder, they end with the block, and with this process even
    where that is killed.
    """
    with subprocess.Popen(
        [sys.executable, "-c", END_NETWORKS, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as ender:
        assert ender.stdin
        assert ender.stdout
        ender.stdout.read(1)
        try:
            yield
        finally:
            ender.stdin.close()
            assert ender.wait(END_SECONDS) == 0, "nodes were left behind"


@dataclass
class RunningNode:
    """A node's directory and its process."""

    folder: Path
    process: NodeProcess

    @property
    def config(self) -> Path:
        return self.folder / "node" / "node.toml"

    @property
    def passphrase(self) -> Path:
        return self.folder / "passphrase"

    def vostro(self, *arguments: str | Path, passphrase: Path | None = None) -> Answer:
        """Run the command against this node, in this process: an interpreter a command would take a minute
        a file.
        """
        words = [str(word) for word in ("--config", self.config, *arguments)]
        done = CliRunner().invoke(app, words, env={PASSPHRASE_FILE: str(passphrase or self.passphrase)})
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return Answer(done.exit_code, done.stdout, done.stderr)

    def json(self, *arguments: str | Path) -> Any:
        """Run a command that must succeed; its JSON."""
        answer = self.vostro("-o", "json", *arguments)
        assert answer.code == 0, answer.err
        return answer.json

    def new_key(self, name: str) -> Path:
        """Make a key file."""
        return write_key(self.folder / f"{name}.json")


def write_passphrase(path: Path) -> Path:
    """A passphrase file that only its owner reads."""
    path.touch(mode=0o600)
    path.write_bytes(PASSPHRASE + b"\n")
    return path


def write_key(path: Path) -> Path:
    """A key file that is cheap to open: hundreds of commands do."""
    save_signer(path, generate("ed25519"), PASSPHRASE, cost=COST_MIN)
    return path


@contextmanager
def running_node(folder: Path, *, settings: str = "") -> Iterator[RunningNode]:
    """A fresh node of a fresh chain with three administrators, two of whom sign together. settings: further
    lines of node.toml.
    """
    passphrase = write_passphrase(folder / "passphrase")
    administrators: list[str] = []
    for number in range(1, 4):
        key = write_key(folder / f"administrator-{number}.json")
        administrators += ["--administrator-key", f"administrator-{number}={key}"]
    listen = f"127.0.0.1:{free_port()}"
    made = vostro(
        "init", folder / "node", "--listen", listen, "--threshold", "2", "--shards", "2", *administrators,
        passphrase=passphrase,
    )  # fmt: skip
    assert made.code == 0, made.err
    with (folder / "node" / "node.toml").open("a", encoding="utf-8") as configuration:
        configuration.write(settings)
    process = NodeProcess(folder / "node" / "node.toml", listen, folder / "node.log")
    process.start()
    process.wait_ready()
    try:
        yield RunningNode(folder, process)
    finally:
        process.stop()
