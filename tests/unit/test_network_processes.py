"""The processes of a local network: only what was started is ended."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from node.config import child_environment
from node.keys.keystore import COST_MIN
from node.network.errors import Code, NetworkRefused
from node.network.local import LocalNetwork, free_ports, make_network, read_network
from node.network.processes import ProcessRecord, pid_of, record_of, stop, was_started
from node.network.watch import Standing, Watch

STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(300)"
SECONDS = 60.0
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def network(tmp_path: Path) -> LocalNetwork:
    return make_network(
        tmp_path / "n", ["bank-a", "bank-b"], name="Test", time_ms=time.time_ns() // 1_000_000,
        validators=2, cost=COST_MIN,
    )  # fmt: skip


@contextmanager
def running(code: str = STUBBORN) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that says that it is up; one that does not end when it is told to, by default."""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        yield process
    finally:
        process.kill()
        process.wait(SECONDS)
        assert process.stdout is not None
        process.stdout.close()


def started(pid: int) -> int:
    """Ticks from the machine's start to the process's."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def write(network: LocalNetwork, record: ProcessRecord) -> None:
    path = record_of(network, network.banks[0])
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(msgspec.json.encode(record))


def test_a_process_that_only_has_the_number_is_left_alone(network: LocalNetwork) -> None:
    bank = network.banks[0]
    with running() as process:
        true = ProcessRecord(process.pid, started(process.pid), boot(), detached=True)
        strangers = [
            msgspec.structs.replace(true, started=true.started + 1),
            msgspec.structs.replace(true, boot="another start of the machine"),
            msgspec.structs.replace(true, pid=os.getpid()),
        ]
        for record in strangers:
            write(network, record)
            assert pid_of(network, bank) is None
            assert was_started(network, bank)
            assert stop(network, [bank]) == {"bank-a": "did not run"}
            assert process.poll() is None
        write(network, true)
        assert pid_of(network, bank) == process.pid
    print(f"{len(strangers)} records of other processes ended nothing")


def test_a_network_that_a_test_detached_ends_with_the_test_even_where_that_is_killed(
    network: LocalNetwork,
) -> None:
    code = f"""
import sys, pathlib
from tests.processes import networks_ended
with networks_ended(pathlib.Path({str(network.folder.parent)!r})):
    print("up", flush=True)
    sys.stdin.read()
"""
    with running("import time; print('up', flush=True); time.sleep(300)") as process:
        write(network, ProcessRecord(process.pid, started(process.pid), boot(), detached=True))
        test = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
        )
        with test:
            assert test.stdout is not None
            assert test.stdout.readline() == b"up\n"
            assert process.poll() is None
            test.kill()
        assert process.wait(SECONDS) == -signal.SIGTERM


def test_a_process_that_does_not_end_is_killed_when_its_time_is_up(network: LocalNetwork) -> None:
    with running() as process:
        write(network, ProcessRecord(process.pid, started(process.pid), boot(), detached=True))
        assert stop(network, network.banks, seconds=0.3) == {"bank-a": "killed", "bank-b": "did not run"}
        assert process.wait(SECONDS) == -signal.SIGKILL
        assert pid_of(network, network.banks[0]) is None
        assert not was_started(network, network.banks[0])


def test_a_record_that_cannot_be_read_names_no_process(network: LocalNetwork) -> None:
    path = record_of(network, network.banks[0])
    path.parent.mkdir()
    for data in (b"", b"{}", b'{"pid": "1"}', b"\xff"):
        path.write_bytes(data)
        assert pid_of(network, network.banks[0]) is None


@pytest.mark.asyncio
async def test_nodes_that_do_not_run_are_told_as_such(network: LocalNetwork) -> None:
    write(network, ProcessRecord(2**22 + 1, 1, boot(), detached=True))
    async with Watch(network) as watch:
        found = await watch.look()
    assert found == [Standing("bank-a", None, "ended"), Standing("bank-b", None, "stopped")]


def test_a_node_that_is_started_here_has_no_settings_of_ours() -> None:
    given = {"VOSTRO_LISTEN": "127.0.0.1:1", "VOSTRO_CONFIG": "x", "VOSTRO_COMETBFT": "/c", "PATH": "/bin"}
    assert child_environment(given) == {"VOSTRO_COMETBFT": "/c", "PATH": "/bin"}


def test_a_network_is_made_in_an_empty_place_only(network: LocalNetwork, tmp_path: Path) -> None:
    assert read_network(network.folder) == network
    assert [bank.name for bank in network.banks] == ["bank-a", "bank-b"]
    cases: list[tuple[Path, list[str], int]] = [
        (network.folder, ["bank-a"], 1),
        (tmp_path / "x", [], 1),
        (tmp_path / "x", ["bank-a", "bank-a"], 1),
        (tmp_path / "x", ["Bank-A"], 1),
        (tmp_path / "x", ["../a"], 1),
        (tmp_path / "x", ["run"], 1),
        (tmp_path / "x", ["bank-a"], 2),
        (tmp_path / "x", ["bank-a"], 0),
        (tmp_path / "x", ["a-name-that-is-too-long-for-a-member"], 1),
        (tmp_path / "x", ["-a"], 1),
    ]
    for folder, names, validators in cases:
        with pytest.raises(NetworkRefused):
            make_network(folder, names, name="Test", time_ms=1, validators=validators, cost=COST_MIN)
        assert not (tmp_path / "x").exists(), names
    with pytest.raises(NetworkRefused) as refused:
        network.bank("bank-z")
    assert refused.value.code is Code.DIRECTORY
    print(f"{len(cases)} networks refused, nothing written")


def test_free_ports_are_different_ones() -> None:
    ports = free_ports(50)
    assert len(set(ports)) == 50
