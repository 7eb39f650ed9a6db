"""The processes of a local network: ``vostro run`` of each bank, started, found again, ended.

What always holds: only a process that was started here is ended: its number and its time of start are on
record, and a number that now belongs to another process counts for nothing. A node that was started to die
with its parent does so, whatever becomes of the parent; one that was detached lives until it is ended. A
node's CometBFT dies with the node.
"""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from node.config import child_environment
from node.engine.cometbft.supervisor import LAUNCH
from node.network.errors import Code, NetworkRefused
from node.network.local import LocalBank, LocalNetwork

RUN: Final = "run"
STOP_SECONDS: Final = 45.0
"""A node drains what it accepted and stops its CometBFT, each within its own bounds."""
KILL_SECONDS: Final = 10.0
LOG_TAIL_BYTES: Final = 4_000


class ProcessRecord(msgspec.Struct, frozen=True):
    """Which process runs a bank's node. started: clock ticks from the machine's start to the process's; boot:
    which start of the machine.
    """

    pid: int
    started: int
    boot: str
    detached: bool


def start(network: LocalNetwork, bank: LocalBank, *, detached: bool) -> "subprocess.Popen[bytes]":
    """Start a bank's node; it is not ready yet. Without ``detached`` it dies with this thread. Raises
    NetworkRefused where it runs already.
    """
    if (pid := pid_of(network, bank)) is not None:
        raise NetworkRefused(Code.PROCESS, f"{bank.name} runs already, as process {pid}")
    command = [sys.executable, "-P", "-m", "node.cli", "--config", str(bank.config), "run"]
    if not detached:
        command = [sys.executable, "-I", "-S", "-c", LAUNCH, str(os.getpid()), *command]
    with bank.log.open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 - our own command
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=child_environment(),
        )
    record = ProcessRecord(process.pid, _started(process.pid), _boot(), detached)
    path = record_of(network, bank)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(msgspec.json.encode(record))
    return process


def pid_of(network: LocalNetwork, bank: LocalBank) -> int | None:
    """The process that runs a bank's node, if it was started here and is there still."""
    record = _record(network, bank)
    return record.pid if record and _is_there(record) else None


def was_started(network: LocalNetwork, bank: LocalBank) -> bool:
    """Whether a bank's node was started and not ended from here: if it is gone, it ended by itself."""
    return _record(network, bank) is not None


def stop(
    network: LocalNetwork, banks: Sequence[LocalBank], *, seconds: float = STOP_SECONDS
) -> dict[str, str]:
    """End banks' nodes all at once: SIGTERM, after ``seconds`` SIGKILL. Bank -> what became of it."""
    told: dict[str, str] = {}
    waiting: dict[int, LocalBank] = {}
    try:
        for bank in banks:
            handle = _open(_record(network, bank))
            if handle is None:
                told[bank.name] = "did not run"
                record_of(network, bank).unlink(missing_ok=True)
                continue
            waiting[handle] = bank
            _send(handle, signal.SIGTERM)
        for number, limit, word in ((0, seconds, "stopped"), (signal.SIGKILL, KILL_SECONDS, "killed")):
            for handle in waiting if number else ():
                _send(handle, number)
            for handle in _wait(list(waiting), limit):
                bank = waiting.pop(handle)
                os.close(handle)
                told[bank.name] = word
                record_of(network, bank).unlink(missing_ok=True)
    finally:
        for handle in waiting:
            os.close(handle)
    told.update({bank.name: "cannot be ended" for bank in waiting.values()})
    return told


def record_of(network: LocalNetwork, bank: LocalBank) -> Path:
    """Where a bank's process is on record."""
    return network.folder / RUN / f"{bank.name}.json"


def log_tail(bank: LocalBank, size: int = LOG_TAIL_BYTES) -> str:
    """The end of what a bank's node wrote."""
    if not bank.log.exists():
        return ""
    with bank.log.open("rb") as file:
        file.seek(max(bank.log.stat().st_size - size, 0))
        return file.read().decode(errors="replace")


@contextmanager
def ended_with(network: LocalNetwork, banks: Sequence[LocalBank]) -> Iterator[None]:
    """Whatever happens inside, these banks' nodes have ended behind it."""
    try:
        yield
    finally:
        stop(network, banks)


def _record(network: LocalNetwork, bank: LocalBank) -> ProcessRecord | None:
    try:
        return msgspec.json.decode(record_of(network, bank).read_bytes(), type=ProcessRecord)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None


def _is_there(record: ProcessRecord) -> bool:
    handle = _open(record)
    if handle is None:
        return False
    os.close(handle)
    return True


def _open(record: ProcessRecord | None) -> int | None:
    """A handle on exactly the process of the record, by which it can be ended and nobody else; None where it
    is gone.
    """
    if record is None or record.boot != _boot():
        return None
    try:
        handle = os.pidfd_open(record.pid)
    except ProcessLookupError:
        return None
    if _started(record.pid) != record.started or _wait([handle], 0):
        os.close(handle)
        return None
    return handle


def _send(handle: int, number: int) -> None:
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(handle, signal.Signals(number))


def _wait(handles: Sequence[int], seconds: float) -> list[int]:
    """Those of the processes that have ended, all of them or when the time is up."""
    poll = select.poll()
    for handle in handles:
        poll.register(handle, select.POLLIN)
    deadline = time.monotonic() + seconds
    ended: list[int] = []
    while len(ended) < len(handles):
        left = max(0.0, deadline - time.monotonic())
        ready = [handle for handle, _ in poll.poll(left * 1_000)]
        if not ready:
            break
        for handle in ready:
            poll.unregister(handle)
        ended += ready
    return ended


def _started(pid: int) -> int:
    """Field 22 of /proc/PID/stat (proc(5)), counted behind the name, which may hold anything; 0 where there
    is no such process.
    """
    try:
        told = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    return int(told.rpartition(")")[2].split()[19])


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
