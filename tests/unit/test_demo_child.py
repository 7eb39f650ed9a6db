"""Child processes: whatever becomes of the parent, no node outlives it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from node.demo.child import ChildFailed, NodeProcess, free_port

PARENT = """
import sys, os
from node.demo.child import spawn
child = spawn([sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"], 1)
print(child.pid, flush=True)
sys.stdin.read()
"""
DEADLINE_SECONDS = 30


def is_running(pid: int) -> bool:
    """A zombie is not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_a_child_dies_when_its_parent_is_killed() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    assert parent.stdin is not None
    told = [parent.stdout.readline().strip(), parent.stdout.readline().strip()]
    pid = int(next(line for line in told if line.isdecimal()))
    assert "up" in told
    assert is_running(pid)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait(DEADLINE_SECONDS)
    deadline = time.monotonic() + DEADLINE_SECONDS
    while is_running(pid) and time.monotonic() < deadline:
        pass
    assert not is_running(pid)
    parent.stdin.close()
    parent.stdout.close()


def test_a_node_that_ends_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    node = NodeProcess(tmp_path / "none.toml", f"127.0.0.1:{free_port()}", tmp_path / "log")
    with pytest.raises(ChildFailed):
        node.check_alive()
    node.start()
    with pytest.raises(ChildFailed, match=r"none\.toml"):
        node.wait_ready(DEADLINE_SECONDS)
    node.stop()
