"""A CometBFT takes its place only whole and only as the right release; a second time nothing is done."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from node.cli.main import app
from node.config import cometbft_binary, load_config
from node.engine.cometbft import install as module
from node.engine.cometbft.home import VERSION
from node.engine.cometbft.install import InstallFailed, find_binary, install, install_file, places
from tests.comet_kit import binary


def write_double(path: Path, said: str) -> str:
    """A program that says a version; its hash."""
    path.write_text(f"#!/bin/sh\necho {said}\n")
    path.chmod(0o755)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_file_with_its_hash_is_installed_and_then_found_there(tmp_path: Path) -> None:
    digest = write_double(tmp_path / "given", VERSION)
    done = install_file(tmp_path / "given", digest.upper(), tmp_path / "place")
    assert (done.fresh, done.sha256, done.version) == (True, digest, VERSION)
    told: list[str] = []
    again = install(tmp_path / "place", told.append)
    assert (again.fresh, again.path, told) == (False, done.path, [])
    assert [path.name for path in (tmp_path / "place").iterdir()] == ["vostro-cometbft"]


def test_a_file_with_another_hash_or_release_leaves_what_is_there(tmp_path: Path) -> None:
    good = write_double(tmp_path / "good", VERSION)
    install_file(tmp_path / "good", good, tmp_path / "place")
    other = write_double(tmp_path / "other", "0.38.0")
    with pytest.raises(InstallFailed, match=f"has the SHA-256 {other}, not {good}"):
        install_file(tmp_path / "other", good, tmp_path / "place")
    with pytest.raises(InstallFailed, match=r"it says '0\.38\.0'"):
        install_file(tmp_path / "other", other, tmp_path / "place")
    with pytest.raises(InstallFailed, match="No such file"):
        install_file(tmp_path / "none", other, tmp_path / "place")
    assert module.sha256_of(tmp_path / "place" / module.NAME) == good


def test_a_missing_binary_is_a_sentence_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(InstallFailed, match="vostro engine install"):
        find_binary(tmp_path / "none")
    assert binary().is_file()
    assert module.version_of(binary()) == VERSION
    assert module.version_of(tmp_path) == ""


def test_the_binary_is_found_in_the_users_own_place_when_it_is_not_beside_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = binary()
    monkeypatch.setattr("sys.prefix", str(tmp_path / "prefix"))
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    beside, own = places()
    assert module.default_folder() == own.parent, "there is no prefix to write to"
    install_file(real, module.sha256_of(real), own.parent)
    assert find_binary() == own
    shutil.copytree(own.parent, beside.parent)
    assert find_binary() == beside


def test_source_with_another_checksum_is_not_built(tmp_path: Path) -> None:
    go = tmp_path / "go"
    go.write_text('#!/bin/sh\necho \'{"Sum": "h1:other"}\'\n')
    go.chmod(0o755)
    with pytest.raises(InstallFailed, match="h1:other"):
        module._check_source(go, lambda _: None)
    go.write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(InstallFailed, match="--from FILE --sha256 HASH"):
        module._check_source(go, lambda _: None)


@pytest.mark.parametrize(
    ("said", "taken"), [("go1.24.9", False), ("go1.25.0", True), ("go2.0", True), ("", False)]
)
def test_a_go_that_is_too_old_is_not_used(
    said: str, taken: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_double(tmp_path / "go", said)
    monkeypatch.setattr(module, "GO_PLACES", ())
    monkeypatch.setattr(shutil, "which", lambda _name: str(tmp_path / "go"))
    assert (module._find_go(lambda _: None) == tmp_path / "go") is taken


def test_a_step_that_fails_is_told_with_its_last_lines() -> None:
    told: list[str] = []
    with pytest.raises(InstallFailed, match="line 99"):
        module._run(["sh", "-c", 'for i in $(seq 99); do echo "line $i"; done; exit 2'], {}, told.append)
    assert len(told) == 99


def run(*words: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["-o", "json", *words])
    return done.exit_code, done.stdout, done.stderr


def test_the_command_installs_from_a_file_and_tells_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = write_double(tmp_path / "given", VERSION)
    words = ["engine", "install", "--from", str(tmp_path / "given"), "--to", str(tmp_path / "place")]
    code, out, _ = run(*words, "--sha256", digest)
    assert (code, json.loads(out)["sha256"]) == (0, digest)
    assert run(*words)[0] == 2, "a file without a hash is misuse"
    assert run(*words, "--sha256", "00")[0] == 5

    monkeypatch.setenv("VOSTRO_COMETBFT", str(tmp_path / "place" / module.NAME))
    code, out, _ = run("engine", "version")
    assert (code, json.loads(out)["found"], json.loads(out)["wanted"]) == (0, VERSION, VERSION)
    write_double(tmp_path / "old", "0.38.0")
    monkeypatch.setenv("VOSTRO_COMETBFT", str(tmp_path / "old"))
    assert run("engine", "version")[0] == 5
    monkeypatch.setenv("VOSTRO_COMETBFT", str(tmp_path / "none"))
    assert "vostro engine install" in run("engine", "version")[2]


def test_the_configuration_may_name_the_binary(tmp_path: Path) -> None:
    settings = tmp_path / "node.toml"
    names = ("data_dir", "genesis", "sequencer_key", "sequencer_passphrase_file", "last_signed")
    settings.write_text("".join(f'{name} = "{name}"\n' for name in names) + 'cometbft = "bin/comet"\n')
    assert load_config(settings, environment={}).cometbft == tmp_path / "bin" / "comet"
    named = load_config(settings, environment={"VOSTRO_COMETBFT": "/opt/comet"})
    assert named.cometbft == Path("/opt/comet")
    assert cometbft_binary({"VOSTRO_COMETBFT": "/opt/comet"}) == Path("/opt/comet")
    assert cometbft_binary({}) is None
