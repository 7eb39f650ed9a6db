"""The doctor looks at owner and mode of everything that only the node's user may use."""

import os
from pathlib import Path

import pytest

from node.cli.doctor import Verdict, _private_files
from node.config import NodeConfig
from tests.services_kit import config_of

FILES = (
    "sequencer.json", "sequencer.passphrase", "last-signed", "vault.key", "pa.json", "custody.passphrase",
    "custody/custody.key", "custody/audit.jsonl", "custody/audit.head", f"custody/queue/{bytes(16).hex()}",
)  # fmt: skip
FOLDERS = ("data", "vault", "custody", "custody/queue")


@pytest.fixture
def config(tmp_path: Path) -> NodeConfig:
    for folder in FOLDERS:
        (tmp_path / folder).mkdir(mode=0o700)
    for file in FILES:
        (tmp_path / file).write_bytes(b"x")
        (tmp_path / file).chmod(0o600)
    return config_of(
        tmp_path,
        data_dir=tmp_path / "data",
        sequencer_key=tmp_path / "sequencer.json",
        sequencer_passphrase_file=tmp_path / "sequencer.passphrase",
        last_signed=tmp_path / "last-signed",
        vault_key=tmp_path / "vault.key",
        custody_policy=tmp_path / "policy.toml",
        custody_keys=(str(tmp_path / "pa.json"), "pkcs11:token=bank"),
        custody_passphrase_file=tmp_path / "custody.passphrase",
        custody_dir=tmp_path / "custody",
    )


def wrong(config: NodeConfig) -> list[str]:
    return [finding.found for finding in _private_files(config) if finding.verdict is not Verdict.OK]


@pytest.mark.evidence(
    "KEY12",
    asset="signing keys",
    threat="others use the node's files",
    mitigation="owner and modes are checked",
)
def test_every_private_file_and_folder_that_others_can_use_is_told(
    config: NodeConfig, tmp_path: Path
) -> None:
    assert wrong(config) == []
    for name in (*FILES, *FOLDERS):
        path = tmp_path / name
        mode = path.stat().st_mode
        path.chmod(mode | 0o040)
        (told,) = wrong(config)
        path.chmod(mode)
        assert told.startswith(f"{path}: others than its owner can use it"), name
        assert "run chmod" in told
    print(f"doctor: {len(FILES) + len(FOLDERS)} files and folders, each told when others could use it")


def test_files_of_another_user_are_told(config: NodeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 12_345)
    told = wrong(config)
    assert len(told) == len(FILES) + len(FOLDERS)
    assert all("belongs to user" in each for each in told)


def test_a_file_that_is_missing_is_told_and_one_that_was_never_made_is_not(
    config: NodeConfig, tmp_path: Path
) -> None:
    (tmp_path / "vault.key").unlink()
    (tmp_path / "custody/audit.head").unlink()
    (told,) = wrong(config)
    assert "vault.key: no such file" in told
