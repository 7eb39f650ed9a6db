"""The supervisor starts only the right CometBFT, brings it back, ends it, and never leaves it behind."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import structlog

from node.engine.cometbft import supervisor as module
from node.engine.cometbft.home import VERSION, Home
from node.engine.cometbft.process_log import ProcessLog
from node.engine.cometbft.rpc import RpcClient
from node.engine.cometbft.supervisor import (
    CometFailed,
    ExternalComet,
    Restarts,
    Supervisor,
    wait_ready,
)
from tests.comet_kit import until

QUICK = Restarts(first_s=0.05, longest_s=0.1)


def write_double(folder: Path, start: str, version: str = VERSION) -> Path:
    """A program that stands in for CometBFT: ``start`` is what its start does, in sh."""
    path = folder / "cometbft"
    path.write_text(f'#!/bin/sh\nif [ "$1" = version ]; then echo {version}; exit 0; fi\n{start}\n')
    path.chmod(0o755)
    return path


def make(folder: Path, start: str, **options: object) -> tuple[Supervisor, list[str]]:
    alarms: list[str] = []
    binary = write_double(folder, start)
    made = Supervisor(
        binary, Home(folder), folder / "log", alarm=alarms.append, restarts=QUICK, **options  # type: ignore[arg-type]
    )  # fmt: skip
    return made, alarms


@pytest.mark.asyncio
async def test_a_missing_binary_and_another_release_are_refused_with_the_way_out(tmp_path: Path) -> None:
    missing = Supervisor(tmp_path / "none", Home(tmp_path), tmp_path / "log", alarm=print)
    with pytest.raises(CometFailed, match="vostro engine install"):
        await missing.start()
    old = Supervisor(write_double(tmp_path, "", "0.38.1"), Home(tmp_path), tmp_path / "log", alarm=print)
    with pytest.raises(CometFailed, match=r"0\.38\.1; this node runs .* `vostro engine install`"):
        await old.start()


@pytest.mark.asyncio
async def test_one_that_ends_is_started_again_with_an_alarm_that_says_why(tmp_path: Path) -> None:
    made, alarms = make(tmp_path, """echo '{"level":"error","_msg":"wrong","err":"Block.AppHash"}'; exit 3""")
    await made.start()
    await until(lambda: made.restart_count >= 3, "three restarts")
    await made.stop()
    assert alarms[0] == "CometBFT ended (exit code 3): wrong Block.AppHash; starting it in 0.05 s"
    assert "in 0.1 s" in alarms[1]
    assert "in 0.1 s" in alarms[2], "the pause grows no further"
    assert not made.is_running
    assert (tmp_path / "log").read_text().count("Block.AppHash") >= 3


@pytest.mark.asyncio
async def test_one_that_ends_at_every_start_is_given_up_with_what_to_do(tmp_path: Path) -> None:
    words = """echo '{"level":"error","_msg":"cannot open","err":"manifest corrupted"}'; exit 1"""
    made, alarms = make(tmp_path, words, sockets=[tmp_path / "rpc"])
    await made.start()
    with pytest.raises(
        CometFailed, match=r"manifest corrupted; it is not started again.*priv_validator_state"
    ):
        await wait_ready(RpcClient(tmp_path / "rpc"), made)
    assert len(alarms) == module.QUICK_ENDS_MAX
    assert alarms[-1] == made.given_up
    assert str(tmp_path / "data") in made.given_up
    assert made.restart_count == module.QUICK_ENDS_MAX - 1
    assert not made.is_running
    await made.stop()


@pytest.mark.parametrize(
    "start", ['touch "$0.rpc"; exit 1', "kill -9 $$", "sleep 0.1; exit 1"], ids=["answered", "killed", "late"]
)
@pytest.mark.asyncio
async def test_one_that_answered_or_was_killed_or_ran_for_a_while_is_started_again_for_ever(
    start: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "sleep" in start:
        monkeypatch.setattr(module, "QUICK_SECONDS", 0.1)
    made, _ = make(tmp_path, start, sockets=[tmp_path / "cometbft.rpc"])
    await made.start()
    await until(lambda: made.restart_count > module.QUICK_ENDS_MAX, "more restarts than are given up after")
    assert not made.given_up
    await made.stop()


@pytest.mark.asyncio
async def test_stopping_is_asked_for_first_and_then_enforced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, alarms = make(tmp_path, "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.01; done")
    await kind.start()
    await until(lambda: "up" in (tmp_path / "log").read_text(), "started")
    await kind.stop()
    assert (tmp_path / "log").read_text() == "up\nbye\n"

    monkeypatch.setattr(module, "STOP_SECONDS", 0.2)
    deaf, _ = make(tmp_path, "trap '' TERM; echo up; while :; do sleep 0.01; done")
    await deaf.start()
    await until(lambda: (tmp_path / "log").read_text().count("up") == 2, "started")
    pid = deaf.pid
    assert pid is not None
    await deaf.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert alarms == [], "a stop that was asked for is no alarm"


@pytest.mark.asyncio
async def test_one_that_lost_its_application_and_hangs_is_killed_and_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "END_SECONDS", 0.1)
    made, alarms = make(tmp_path, "trap '' TERM; while :; do sleep 0.01; done")
    await made.start()
    pid = made.pid
    assert pid is not None
    made.expect_end(pid + 1)  # somebody else's
    made.expect_end(pid)
    made.expect_end(pid)
    await until(lambda: made.restart_count == 1 and made.is_running, "started again")
    assert len(alarms) == 1
    assert "SIGKILL" in alarms[0]
    assert not made._expected, "the new one is left alone"
    monkeypatch.setattr(module, "STOP_SECONDS", 0.1)
    await made.stop()


@pytest.mark.asyncio
async def test_sockets_that_a_crash_left_are_removed_before_each_start(tmp_path: Path) -> None:
    left = tmp_path / "rpc.sock"
    left.touch()
    made, _ = make(tmp_path, f"[ ! -e {left} ] && echo clean; touch {left}; exit 0", sockets=[left])
    await made.start()
    await until(lambda: made.restart_count >= 2, "restarts")
    await made.stop()
    assert (tmp_path / "log").read_text().split().count("clean") >= 2


def test_the_child_dies_with_its_parent(tmp_path: Path) -> None:
    binary = write_double(
        tmp_path, "echo $$ > pid; while :; do sleep 0.01; done".replace("pid", str(tmp_path / "pid"))
    )
    program = f"""
import asyncio
from pathlib import Path
from node.engine.cometbft.home import Home
from node.engine.cometbft.supervisor import Supervisor
async def main():
    log = Path({str(tmp_path / "log")!r})
    await Supervisor(Path({str(binary)!r}), Home(Path(".")), log, alarm=print).start()
    await asyncio.sleep(60)
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", program]) as parent:
        deadline = time.monotonic() + 30
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        child = int((tmp_path / "pid").read_text())
        parent.send_signal(signal.SIGKILL)
    while is_alive(child):
        assert time.monotonic() < deadline, "the child lives on"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.asyncio
async def test_waiting_for_one_that_does_not_answer_ends_with_what_is_known(tmp_path: Path) -> None:
    client = RpcClient(tmp_path / "rpc.sock")
    comet = ExternalComet()
    await comet.start()
    with pytest.raises(CometFailed, match="not answering"):
        await wait_ready(client, comet, seconds=0.1)
    await comet.stop()


def test_the_log_is_bounded_and_only_errors_are_told_again(tmp_path: Path) -> None:
    path = tmp_path / "log"
    output = ProcessLog(path, bytes_max=1_000)
    with structlog.testing.capture_logs() as told:
        write = output.open()
        line = b'{"level":"info","_msg":"%d"}\n'
        for number in range(100):
            os.write(write, line % number)
        os.write(write, b'{"level":"error","_msg":"bad","module":"p2p","err":"EOF"}\n{"level":"error",half\n')
        os.write(write, b"panic: no\n" * 30 + b"no end of line")
        os.close(write)
        output.join(20)
    assert path.stat().st_size <= 1_000
    assert (tmp_path / "log.1").stat().st_size <= 1_000
    assert told[0] == {
        "event": "CometBFT",
        "said": "bad",
        "comet_module": "p2p",
        "comet_err": "EOF",
        "log_level": "error",
    }
    assert len(told) == 1 + 1 + 10, "a stack is told in part"
    assert output.tail().endswith("no end of line")
    assert "half" in output.last_error


@pytest.mark.asyncio
async def test_a_loop_that_is_busy_does_not_hold_the_child_up_at_its_pipe(tmp_path: Path) -> None:
    lines = 4_000  # more than a pipe holds
    made, _ = make(
        tmp_path, f"i=0; while [ $i -lt {lines} ]; do echo $i-{'x' * 60}; i=$((i+1)); done; sleep 60"
    )
    await made.start()
    deadline = time.monotonic() + 30
    path = tmp_path / "log"
    while path.read_bytes().count(b"\n") < lines:
        assert time.monotonic() < deadline
        time.sleep(0.01)  # noqa: ASYNC251 - the loop is held up on purpose
    await made.stop()
    assert asyncio.get_running_loop().is_running()
