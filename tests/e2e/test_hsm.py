"""A node whose every key is in a token: it decides, is killed, goes on; and CometBFT with such a key."""

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.demo.child import NodeProcess, free_port
from node.keys.loader import read_public
from node.keys.pkcs11 import start_library
from tests import hsm_kit
from tests.hsm_kit import MODULE, Hsm
from tests.lone_validator import Chain
from tests.processes import clean_environment, vostro, write_key, write_passphrase

pytestmark = pytest.mark.needs("softhsm2-util")


@pytest.fixture(scope="module")
def hsm() -> Iterator[Hsm]:
    """A token with keys of a sequencer, an administrator and a validator, made by the command."""
    with tempfile.TemporaryDirectory(prefix="vostro-hsm-") as folder:
        hsm_kit.prepare(Path(folder))
        made = hsm_kit.new_token(Path(folder), "bank")
        for label, algorithm in (("sequencer", "p256"), ("officer", "ed25519"), ("validator", "ed25519")):
            done = vostro(
                "-o", "json", "keys", "hsm", "new", made.uri(label, pin_source=True), "--algorithm", algorithm
            )
            assert done.code == 0, done.err
            assert done.json["algorithm"] == algorithm
        start_library(MODULE)
        yield made


def test_the_command_lists_and_checks_keys_and_never_exports_one(hsm: Hsm) -> None:
    listed = vostro("-o", "json", "keys", "hsm", "list", hsm.uri())
    assert [row["label"] for row in listed.json] == ["officer", "sequencer", "validator"]
    for label in ("officer", "sequencer"):
        checked = vostro("-o", "json", "keys", "hsm", "check", hsm.uri(label, pin_source=True))
        assert (checked.json["signs"], checked.json["may_leave"]) == (True, False)
    shown = vostro("-o", "json", "keys", "show", hsm.uri("officer"))
    assert shown.json["public_key"] == read_public(hsm.uri("officer")).public_key.hex()
    refused = vostro("keys", "export", hsm.uri("officer"), hsm.folder / "stolen.pem")
    assert refused.code == 5
    assert not (hsm.folder / "stolen.pem").exists()
    taken = vostro("keys", "hsm", "new", hsm.uri("officer", pin_source=True))
    assert taken.code == 5
    wrong = hsm.folder / "wrong-pin"
    wrong.touch(mode=0o600)
    wrong.write_text("00000000\n")
    uri = f"{hsm.uri('officer')}&pin-source=file:{wrong}"
    denied = vostro("keys", "hsm", "check", uri)
    assert denied.code == 5
    assert "00000000" not in denied.err + denied.out


@pytest.mark.evidence(
    "KEY6", asset="signing keys", threat="keys on disk", mitigation="everything signs through PKCS#11"
)
def test_a_node_and_its_administrator_run_wholly_from_a_token(hsm: Hsm, tmp_path: Path) -> None:
    listen, config = f"127.0.0.1:{free_port()}", tmp_path / "node" / "node.toml"
    made = vostro(
        "init", tmp_path / "node", "--listen", listen, "--shards", "2",
        "--administrator-key", f"officer={hsm.uri('officer')}",
        "--sequencer-key", hsm.uri("sequencer"), other=hsm.pin_file,
    )  # fmt: skip
    assert made.code == 0, made.err
    assert [path.name for path in (tmp_path / "node").rglob("*") if "sequencer" in path.name] == []
    process = NodeProcess(config, listen, tmp_path / "node.log")
    officer = ("--member", "ADMIN", "--key", hsm.uri("officer", pin_source=True))
    try:
        for member in ("PA", "AB", "CD"):
            process.start()
            process.wait_ready()
            key = write_key(tmp_path / f"{member}.json")
            admit = ("members", "admit", member, f"Bank {member}", "--member-key", f"officer={key}")
            done = vostro("--config", config, *officer, *admit)
            assert done.code == 0, done.err
            process.kill()
        process.start()
        process.wait_ready()
        checked = vostro("--config", config, "doctor")
        assert checked.code == 0, checked.out
        listed = vostro("-o", "json", "--config", config, "members", "list")
        assert {"PA", "AB", "CD"} <= {row["member"] for row in listed.json}
    finally:
        process.stop()
    verified = vostro("--config", config, "verify")
    assert verified.code == 0, verified.err


@pytest.mark.evidence(
    "KEY6", asset="signing keys", threat="keys on disk", mitigation="everything signs through PKCS#11"
)
def test_a_validator_whose_key_is_in_a_token_keeps_a_chain_going(hsm: Hsm, tmp_path: Path) -> None:
    public = read_public(hsm.uri("validator"))
    with tempfile.TemporaryDirectory(prefix="vostro-val-") as folder:
        chain, record = Chain(Path(folder), public.public_key), tmp_path / "last-vote"
        signer = ("--signer-key", hsm.uri("validator"), "--record", record, "--chain", chain.chain)
        assert vostro("validator", "record", *signer).code == 0
        assert vostro("validator", "record", *signer).code == 5
        words: list[str | Path] = [
            *(sys.executable, "-m", "node.cli", "validator", "run"),
            *signer,
            *("--socket", chain.privval),
        ]
        named = clean_environment(hsm.pin_file)
        with (tmp_path / "signer.log").open("wb") as log:
            child = subprocess.Popen(words, stdout=log, stderr=log, env=named)
        try:
            deadline = time.monotonic() + 60
            while "Signing for" not in (tmp_path / "signer.log").read_text():  # CometBFT waits 3 s for it
                assert child.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            chain.start()
            chain.wait_height(10)
            child.send_signal(signal.SIGKILL)
            child.wait(timeout=20)
            with (tmp_path / "signer.log").open("ab") as log:
                child = subprocess.Popen(words, stdout=log, stderr=log, env=named)
            chain.wait_height(chain.height() + 10)
            twice = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, env=named)
            assert twice.returncode == 5
            assert "runs twice" in twice.stderr
            reached = chain.height()
            signatures = chain.call("commit", height=str(reached))["signed_header"]["commit"]["signatures"]
            assert len(signatures) == 1
        finally:
            child.kill()
            child.wait(timeout=20)
            chain.stop()
    print(f"a chain of height {reached} signed by a token")


@pytest.mark.evidence(
    "KEY3", asset="signing keys", threat="a backup that does not restore", mitigation="a drill"
)
def test_a_key_is_taken_over_backed_up_drilled_restored_and_given_another_passphrase(tmp_path: Path) -> None:
    """The ceremony of docs/operations.md with files only, through the command."""
    secret = write_passphrase(tmp_path / "passphrase")
    other = tmp_path / "other"
    other.touch(mode=0o600)
    other.write_text("another one\n")
    pem = subprocess.run(
        ["openssl", "genpkey", "-algorithm", "ed25519"], capture_output=True, check=True, timeout=20
    )
    (tmp_path / "foreign.pem").write_bytes(pem.stdout)

    def done(*words: str, passphrase: Path = secret, new: Path | None = None) -> dict[str, object]:
        answer = vostro("-o", "json", *words, folder=tmp_path, passphrase=passphrase, other=new)
        assert answer.code == 0, answer.err
        result: dict[str, object] = answer.json
        return result

    key = done("keys", "import", "foreign.pem", "key.json", "--label", "issuing")
    backup = done("keys", "backup", "key.json", "--into", "shares", "--shares", "3", "--threshold", "2")
    files = backup["shares"]
    assert isinstance(files, list)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in files] == [0o600] * 3
    before = sorted(path.name for path in tmp_path.rglob("*"))
    drilled = vostro("-o", "json", "keys", "drill", *files, "--key", "key.json", folder=tmp_path)
    assert drilled.json["restores"] is True
    assert drilled.json["public_key"] == key["public_key"]
    assert sorted(path.name for path in tmp_path.rglob("*")) == before, "a drill writes nothing"
    assert vostro("keys", "drill", files[0], folder=tmp_path).code == 5
    restored = done("keys", "restore", "--to", "again.json", files[2], files[0], passphrase=other)
    assert (restored["public_key"], restored["label"]) == (key["public_key"], "issuing")
    done("keys", "passphrase", "key.json", new=other)
    assert done("keys", "label", "key.json", "retired", passphrase=other)["label"] == "retired"
    assert vostro("keys", "label", "key.json", "x", folder=tmp_path, passphrase=secret).code == 5
    done("keys", "export", "key.json", "out.pem", passphrase=other, new=secret)
    assert "ENCRYPTED" in (tmp_path / "out.pem").read_text()
