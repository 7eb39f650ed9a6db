"""A real node as a child process: ``vostro run``, which dies with its parent, whatever becomes of that.

The demonstration and the end-to-end tests start nodes here and nowhere else, so that no run leaves one
behind.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from node.network.local import free_ports

READY_SECONDS: Final = 60.0
STOP_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.02
LOG_TAIL_BYTES: Final = 4_000

_LAUNCH: Final = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG: it survives the exec below
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)  # the parent died before the line above
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Run in the child, not between fork and exec of this process, which has threads."""


class ChildFailed(Exception):
    """The node ended or did not become ready; the text holds the end of its log."""


def free_port() -> int:
    """A port on loopback that was free a moment ago, and that no outgoing connection takes meanwhile."""
    return free_ports(1)[0]


class NodeProcess:
    """``vostro run`` of one configuration; start it again after a stop or a kill.

    The child dies with the thread that started it: start it from one that lives as long as the node shall.
    """

    def __init__(self, config: Path, listen: str, log: Path) -> None:
        """listen: what the configuration says, host:port. log: the file that takes the node's stderr;
        appended to.
        """
        self.config = config
        self.listen = listen
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the node; it is not ready yet."""
        command = [sys.executable, "-P", "-m", "node.cli", "--config", str(self.config), "run"]
        with self.log.open("ab") as log:
            self._process = spawn(command, log.fileno())

    def wait_ready(self, seconds: float = READY_SECONDS) -> None:
        """Return once the node's port takes connections. Raises: ChildFailed."""
        host, _, port = self.listen.rpartition(":")
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.check_alive()
            try:
                socket.create_connection((host, int(port)), timeout=1.0).close()
            except OSError:
                time.sleep(POLL_SECONDS)
            else:
                return
        raise ChildFailed(f"the node was not ready after {seconds:.0f} s\n{self.log_tail()}")

    def check_alive(self) -> None:
        """Raises ChildFailed where the node has ended."""
        if self._process is None or self._process.poll() is not None:
            raise ChildFailed(f"the node has ended\n{self.log_tail()}")

    @property
    def pid(self) -> int:
        """Of the running process."""
        if self._process is None:
            raise ChildFailed("the node was not started")
        return self._process.pid

    def kill(self) -> None:
        """SIGKILL: the node learns nothing of it."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM, and wait until it has decided what it accepted; its exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        if self._process is None:
            return 0
        process, self._process = self._process, None
        process.send_signal(number)
        try:
            return process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def log_tail(self) -> str:
        """The end of what the node wrote."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as file:
            file.seek(max(self.log.stat().st_size - LOG_TAIL_BYTES, 0))
            return file.read().decode(errors="replace")


def spawn(command: Sequence[str], output: int) -> "subprocess.Popen[bytes]":
    """Start a program that dies with this thread, with stdout and stderr to a file descriptor, in a process
    group of its own.
    """
    launch = [sys.executable, "-c", _LAUNCH, str(os.getpid()), *command]
    return subprocess.Popen(  # noqa: S603 - our own command
        launch, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
    )
