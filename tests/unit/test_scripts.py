"""The scripts do what their docstrings say: environment, tests and generated code."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import environment
import gen_proto
import test as runner

ROOT = environment.ROOT

MESSAGE = """syntax = "proto3";
package vostro.planted.v1;
import "google/protobuf/timestamp.proto";
import "vostro/shared/v1/money.proto";
message Planted { google.protobuf.Timestamp at = 1; vostro.shared.v1.Money money = 2; }
message GetPlantedRequest {}
service PlantedService { rpc GetPlanted(GetPlantedRequest) returns (Planted); }
"""
MONEY = 'syntax = "proto3";\npackage vostro.shared.v1;\nmessage Money { int64 minor = 1; }\n'


@pytest.fixture
def proto(tmp_path: Path) -> Path:
    """A folder of two proto files, one importing the other."""
    folder = tmp_path / "proto"
    for name, text in (("planted/v1/planted", MESSAGE), ("shared/v1/money", MONEY)):
        path = folder / "vostro" / f"{name}.proto"
        path.parent.mkdir(parents=True)
        path.write_text(text, encoding="utf-8")
    return folder


def generate(proto: Path, output: Path, *more: str) -> int:
    return gen_proto.main(["--proto", str(proto), "--output", str(output), *more])


def test_generated_code_lives_under_node_pb_and_leaves_google_alone(proto: Path) -> None:
    texts = gen_proto.generate(proto)
    message = texts["vostro/planted/v1/planted_pb2.py"]
    stub = texts["vostro/planted/v1/planted_pb2.pyi"]
    service = texts["vostro/planted/v1/planted_pb2_grpc.py"]

    assert "from node.pb.vostro.shared.v1 import money_pb2" in message
    assert "from google.protobuf import timestamp_pb2" in message
    assert "'node.pb.vostro.planted.v1.planted_pb2'" in message
    assert "from node.pb.vostro.shared.v1 import money_pb2" in stub
    assert "from node.pb.vostro.planted.v1 import planted_pb2" in service
    assert not [name for name, text in texts.items() if "\nfrom vostro" in text or "\nimport vostro" in text]
    assert {"__init__.py", "vostro/__init__.py", "vostro/planted/v1/__init__.py"} <= texts.keys()


def test_generated_code_can_be_imported_and_used(proto: Path, tmp_path: Path) -> None:
    assert generate(proto, tmp_path / "node" / "pb") == 0
    (tmp_path / "node" / "__init__.py").touch()
    program = (
        "from node.pb.vostro.planted.v1 import planted_pb2 as p, planted_pb2_grpc as g\n"
        "m = p.Planted(); m.money.minor = 7; m.at.seconds = 1\n"
        "assert p.Planted.FromString(m.SerializeToString()).money.minor == 7\n"
        "print(type(m.money).__module__, g.PlantedServiceServicer.__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["node.pb.vostro.shared.v1.money_pb2", "PlantedServiceServicer"], (
        done.stderr
    )


def test_check_names_what_differs_is_missing_or_is_left_over(
    proto: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "pb"
    changed, missing, extra = (
        "vostro/shared/v1/money_pb2.py",
        "vostro/planted/v1/planted_pb2.pyi",
        "old_pb2.py",
    )
    assert generate(proto, output) == 0
    assert generate(proto, output, "--check") == 0
    (output / changed).write_text("changed", encoding="utf-8")
    (output / missing).unlink()
    (output / extra).touch()
    capsys.readouterr()

    assert generate(proto, output, "--check") == 1
    named = capsys.readouterr().out
    assert [name for name in (changed, missing, extra) if name not in named] == []
    assert len(named.splitlines()) == 3
    assert generate(proto, output) == 0
    assert generate(proto, output, "--check") == 0
    assert not (output / extra).exists()


def test_the_generated_code_in_the_project_is_what_proto_generates() -> None:
    assert gen_proto.main(["--check"]) == 0


def test_sources_that_protoc_refuses_fail(proto: Path, tmp_path: Path) -> None:
    (proto / "vostro" / "planted" / "v1" / "planted.proto").write_text("nonsense", encoding="utf-8")
    assert generate(proto, tmp_path / "pb") == 1
    assert not (tmp_path / "pb").exists()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the two files that an environment is made from."""
    (tmp_path / environment.LOCK).write_text("lock", encoding="ascii")
    (tmp_path / "pyproject.toml").write_text("project", encoding="ascii")
    return tmp_path


def stamp(root: Path) -> None:
    (root / ".venv").mkdir()
    (root / ".venv" / environment.STAMP).write_text(environment.wanted_stamp(root), encoding="ascii")


def test_an_environment_with_the_right_stamp_is_left_alone(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stamp(project)
    monkeypatch.setattr(environment, "install", pytest.fail)
    assert environment.prepare(project) is False


@pytest.mark.parametrize("name", [environment.LOCK, "pyproject.toml"])
def test_a_changed_lock_or_project_file_makes_the_environment_stale(project: Path, name: str) -> None:
    stamp(project)
    assert environment.is_current(project)
    (project / name).write_text("other", encoding="ascii")
    assert not environment.is_current(project)


@pytest.mark.parametrize("at", ["Creating .venv", "Installing requirements.lock", "Installing vostro"])
def test_an_interrupted_set_up_starts_again_from_nothing_and_stamps_last(
    project: Path, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    left_over = project / ".venv" / "half-installed"

    def step(title: str, command: list[str], _root: Path) -> None:
        assert command
        assert not (project / ".venv" / environment.STAMP).exists()
        assert title != "Creating .venv" or not left_over.exists()
        steps.append(title)
        left_over.touch()
        if title == at and steps.count(at) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(environment, "run_step", step)
    with pytest.raises(KeyboardInterrupt):
        environment.prepare(project)
    assert not environment.is_current(project)

    steps_before = len(steps)
    assert environment.prepare(project) is True
    assert environment.is_current(project)
    assert steps[steps_before:] == ["Creating .venv", "Installing requirements.lock", "Installing vostro"]


def test_a_step_that_fails_shows_its_output(project: Path) -> None:
    command = [sys.executable, "-c", "print('the reason'); raise SystemExit(3)"]
    with pytest.raises(environment.SetupFailed, match="the reason"):
        environment.run_step("Planted", command, project)


@pytest.mark.parametrize(
    "script", ["environment.py", "test.py", "demo.py", "check.py", "gen_proto.py", "lock.py"]
)
def test_an_old_python_is_told_which_one_is_needed(script: str) -> None:
    """Run the script as if the interpreter were 3.8."""
    program = (
        "import runpy, sys; sys.version_info = (3, 8, 0, 'final', 0); sys.version = '3.8.0 (planted)'\n"
        "sys.path.insert(0, 'scripts'); runpy.run_path(sys.argv[1], run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, f"scripts/{script}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "needs Python 3.11 or newer; this is 3.8.0" in done.stderr
    assert "Traceback" not in done.stderr


REPORT = """<testsuites><testsuite>
<testcase name="a"/><testcase name="b"><failure/></testcase><testcase name="c"><error/></testcase>
<testcase name="d"><skipped/></testcase><testcase name="e"><system-out/></testcase>
</testsuite></testsuites>"""


def test_failures_and_errors_of_collection_both_count_as_failed(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(REPORT, encoding="utf-8")
    assert runner.read_report(report, 1) == (2, 2, 1)


def test_a_run_that_died_is_a_failure(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    assert runner.read_report(report, -9) == (0, 1, 0)
    report.write_text(
        '<testsuites><testsuite><testcase name="a"/></testsuite></testsuites>', encoding="utf-8"
    )
    assert runner.read_report(report, 3) == (1, 1, 0)
    assert runner.read_report(report, 0) == (1, 0, 0)


@pytest.mark.parametrize(
    ("counts", "minutes", "stopped", "code"),
    [
        ((3, 0, 1), 1.0, False, 0),
        ((3, 1, 0), 1.0, False, 1),
        ((0, 0, 0), 1.0, False, 1),
        ((0, 0, 5), 1.0, False, 1),
        ((3, 0, 0), 46.0, False, 1),
        ((3, 0, 0), 1.0, True, 1),
    ],
)
def test_the_last_line_is_the_totals_and_the_exit_code_agrees(
    counts: tuple[int, int, int], minutes: float, stopped: bool, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes = [
        runner.Outcome("unit", "logic", minutes, *counts),
        runner.Outcome("sim", "order", 0.1, 0, 0, 0),
    ]
    assert runner.conclude(outcomes, stopped=stopped, bounded=True) == code
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"{counts[0]} passed, {counts[1]} failed, {counts[2]} skipped"


def test_a_long_run_may_take_its_time() -> None:
    assert (
        runner.conclude([runner.Outcome("fault", "fault", 90.0, 1, 0, 0)], stopped=False, bounded=False) == 0
    )


def test_the_mutation_score_stands_before_the_totals(capsys: pytest.CaptureFixture[str]) -> None:
    outcomes = [runner.Outcome("unit", "logic", 1.0, 1, 0, 0)]
    assert runner.conclude(outcomes, stopped=False, bounded=False, score="mutation score: 90%\n") == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "mutation score: 90%",
        "1 passed, 0 failed, 0 skipped",
    ]


def test_folders_are_run_in_the_fixed_order_whatever_order_they_are_named_in() -> None:
    options = runner.parse(["tests/vectors/", "unit", "-k", "x"])
    assert [folder.name for folder in runner.choose(options.folders)] == ["unit", "vectors"]


def test_an_unknown_folder_is_refused() -> None:
    with pytest.raises(SystemExit):
        runner.parse(["nowhere"])


def test_a_missing_program_is_explained_to_who_is_not_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SystemExit, match=r"sudo apt-get install .* strace\n.*--without strace"):
        runner.provide_packages({"strace"})
    runner.provide_packages(set())


def test_the_engine_is_installed_only_when_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[list[str]] = []
    monkeypatch.setattr(environment, "run_step", lambda _title, command, _root: steps.append(command))
    monkeypatch.delenv("VOSTRO_COMETBFT", raising=False)
    runner.provide_engine()
    assert steps == []

    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    runner.provide_engine()
    assert [step[1:] for step in steps] == [["-m", "node.cli", "engine", "install"]]

    monkeypatch.setenv("VOSTRO_COMETBFT", str(tmp_path / "none"))
    with pytest.raises(SystemExit, match="vostro engine install"):
        runner.provide_engine()


def test_a_signal_ends_the_whole_group_of_the_child(tmp_path: Path) -> None:
    """The child starts a grandchild that ignores SIGINT; both go when the runner must stop."""
    program = f"""
import signal, sys
sys.path.insert(0, {str(ROOT / "scripts")!r})
import test
signal.signal(signal.SIGTERM, test._raise_stopped)
grandchild = "import os, signal, sys, time; signal.signal(signal.SIGINT, signal.SIG_IGN); " \\
    "open(sys.argv[1], 'w').write(str(os.getpid()) + chr(10)); signal.pause()"
child = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', sys.argv[2], sys.argv[1]]).wait()"
try:
    test.run_child([sys.executable, "-c", child, {str(tmp_path / "pid")!r}, grandchild])
except test.Stopped:
    sys.exit(7)
"""
    with subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 60
        written = tmp_path / "pid"
        while not (written.exists() and written.read_text().endswith("\n")):
            assert time.monotonic() < deadline, "the grandchild did not start"
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.05)
        pid = int(written.read_text())
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 7
    deadline = time.monotonic() + 30
    while is_running(pid):
        assert time.monotonic() < deadline, "the grandchild lives on"
        os.sched_yield()


def is_running(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except FileNotFoundError:
        return False


def test_a_test_that_needs_what_the_run_is_without_is_skipped_and_counted(tmp_path: Path) -> None:
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path / "conftest.py")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    needs(name)\n    long\n", encoding="ascii")
    (tmp_path / "test_planted.py").write_text(
        "import pytest\n"
        "@pytest.mark.needs('strace')\ndef test_a(): assert False\n"
        "@pytest.mark.long\ndef test_b(): assert False\n"
        "def test_c(long_run): assert long_run is False\n",
        encoding="ascii",
    )
    report = tmp_path / "report.xml"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        f"--junitxml={report}",
        "--without=strace",
        str(tmp_path),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert runner.read_report(report, done.returncode) == (1, 0, 1), done.stdout
    assert "--hypothesis-seed=" in done.stdout
