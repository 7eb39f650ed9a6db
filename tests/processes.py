"""Real nodes for the end-to-end tests: made by ``vostro init``, run by ``vostro run``, dead with the test,
and the command itself.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from node.cli.main import app
from node.demo.child import NodeProcess, free_port
from node.engine.cometbft.supervisor import LAUNCH
from node.keys.keystore import COST_MIN, save_signer
from node.keys.signer import generate

COMMAND_SECONDS = 100
END_SECONDS = 120.0
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


def vostro(*arguments: str | Path, folder: Path | None = None, stdin: str = "") -> Answer:
    """Run the command to its end, or to this thread's, with an empty environment of its own settings."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VOSTRO_")}
    command = [sys.executable, "-m", "node.cli", *map(str, arguments)]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", LAUNCH, str(os.getpid()), *command],
        input=stdin,
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    return Answer(done.returncode, done.stdout, done.stderr)


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

    def vostro(self, *arguments: str | Path) -> Answer:
        """Run the command against this node, in this process: an interpreter a command would take a minute
        a file.
        """
        words = ["--config", self.config, "--passphrase-file", self.passphrase, *arguments]
        done = CliRunner().invoke(app, [str(word) for word in words])
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
        "init", folder / "node", "--passphrase-file", passphrase, "--listen", listen, "--threshold", "2",
        "--shards", "2", *administrators
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
