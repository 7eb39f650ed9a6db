"""``vostro policy`` and ``vostro audit`` as people use them: exit codes, and what is told of which line."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from node.cli.main import app
from node.config import ConfigError, load_config
from node.keys.audit import LOG, AuditLog
from node.keys.custody_queue import load_root
from node.keys.keystore import COST_MIN
from tests.custody_kit import POLICY

SEND = (
    'transfers.send={"source": "PA/main", "destination": "KB/main", "asset": "CZK", "amount": 150, '
    '"end_to_end_id": "", "uetr": "", "purpose": ""}'
)


def run(*arguments: str | Path) -> tuple[int, Any, str]:
    done = CliRunner().invoke(app, ["-o", "json", *map(str, arguments)])
    return done.exit_code, json.loads(done.stdout) if done.stdout else None, done.stderr


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.toml"
    path.write_text(POLICY)
    return path


def test_a_policy_is_checked_and_what_it_never_signs_is_told(policy: Path) -> None:
    code, told, _ = run("policy", "check", policy)
    assert (code, told["rules"]) == (0, ["small", "large", "accounts"])
    assert "members.set_policy" in told["never_signed"]
    assert "transfers.send" not in told["never_signed"]
    policy.write_text(POLICY.replace("transfers.send", "transfers.sned"))
    code, _, stderr = run("policy", "check", policy)
    assert (code, "transfers.sned" in stderr) == (5, True)


def test_a_request_in_a_file_is_explained_without_a_node(policy: Path, tmp_path: Path) -> None:
    request = tmp_path / "request.json"
    given: dict[str, Any] = {"maker": "mary", "operations": [SEND], "approvals": ["bob"]}
    request.write_text(json.dumps(given))
    code, told, _ = run("policy", "explain", request, "--policy", policy)
    assert (code, told["missing"], told["may_approve"]) == (0, 1, ["carol", "dave"])
    assert (told["rules"], told["would_be_signed"]) == (["large: 2 of @desk (1 missing)"], False)
    request.write_text(json.dumps({**given, "approvals": ["bob", "carol", "Bob"]}))
    assert run("policy", "explain", request, "--policy", policy)[1]["would_be_signed"] is True
    wrongs: list[dict[str, Any]] = [{"operations": []}, {**given, "at": "noon"}, {**given, "colour": 1}]
    for wrong in wrongs:
        request.write_text(json.dumps(wrong))
        assert run("policy", "explain", request, "--policy", policy)[0] == 2


def test_a_log_is_verified_and_a_changed_line_is_told_with_its_number(tmp_path: Path) -> None:
    folder = tmp_path / "custody"
    log = AuditLog(folder, load_root(folder, b"passphrase", cost=COST_MIN))
    for number in range(5):
        log.append("approval", number, by="bob")
    log.close()
    code, told, _ = run("audit", "verify", folder)
    assert (code, told["lines"], told["problems"]) == (0, 5, [])
    data = (folder / LOG).read_bytes().split(b"\n")
    data[2] = data[2].replace(b"bob", b"eve")
    (folder / LOG).write_bytes(b"\n".join(data))
    code, told, stderr = run("audit", "verify", folder)
    assert (code, told) == (4, None)
    assert "line 3" in stderr


def test_custody_is_configured_whole_or_not_at_all(tmp_path: Path) -> None:
    base = 'data_dir = "d"\ngenesis = "g"\nlast_signed = "l"\n'
    base += 'sequencer_key = "k"\nsequencer_passphrase_file = "p"\n'
    tls = 'tls_certificate = "c"\ntls_key = "t"\ntls_ca = "a"\n'
    keys = 'custody_keys = ["one.json", "pkcs11:token=x"]\ncustody_passphrase_file = "s"\n'
    whole = f'{base}{tls}{keys}custody_policy = "policy.toml"\n'
    path = tmp_path / "node.toml"
    path.write_text(whole)
    config = load_config(path, environment={})
    assert config.custody_keys == (str(tmp_path / "one.json"), "pkcs11:token=x")
    assert config.custody_dir == tmp_path / "custody"
    by_environment = load_config(path, environment={"VOSTRO_CUSTODY_KEYS": "a.json:b.json"})
    assert by_environment.custody_keys == (str(tmp_path / "a.json"), str(tmp_path / "b.json"))
    for wrong, told in (
        (whole.replace(tls, ""), "mutual TLS"),
        (whole.replace(keys, ""), "custody_keys"),
        (whole.replace('custody_policy = "policy.toml"', ""), "custody_policy"),
        (whole + "custody_anchor_hours = -1\n", "custody_anchor_hours"),
        (whole + "custody_dirr = 1\n", "custody_dirr"),
    ):
        path.write_text(wrong)
        with pytest.raises(ConfigError, match=told):
            load_config(path, environment={})
