"""Canaries: passphrases and private keys are looked for in everything that commands and a live node say,
through the failure paths that we know of, and in what a node leaves behind when it dies.
"""

import base64
import json
import os
import re
import signal
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from typer.testing import CliRunner

from node.cli.main import app
from node.config import PASSPHRASE_FILE
from node.keys.certificates import Role
from node.keys.keystore import COST_MIN, save_signer
from node.keys.signer import generate
from node.services.server import RPCS
from tests.certificates_kit import Pki, save
from tests.fault.node_kit import NodeFolder, connected
from tests.fault.test_live_door import called
from tests.kit import officer
from tests.processes import Answer, vostro

pytestmark = pytest.mark.timeout(300)

PASSPHRASE: Final = b"canary-Passphrase-7d1e"
OTHER: Final = b"canary-Other-93ab"


class Canaries:
    """Secrets, in the spellings in which they could be told; what was looked through is counted."""

    def __init__(self) -> None:
        self.spellings: dict[bytes, str] = {}
        self.looked = 0

    def add(self, name: str, secret: bytes) -> None:
        """A secret to look for."""
        pieces = (secret, secret.hex().encode(), secret.hex().upper().encode(), base64.b64encode(secret))
        self.spellings |= dict.fromkeys(
            (*pieces, repr(secret)[2:-1].encode(), str(list(secret)).encode()), name
        )

    def add_key(self, name: str, pem: bytes) -> None:
        """A PEM key: its scalar, and the lines of its body."""
        key = load_pem_private_key(pem, None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        scalar = key.private_numbers().private_value
        self.add(name, scalar.to_bytes(32, "big"))
        self.spellings[str(scalar).encode()] = name
        self.spellings |= dict.fromkeys(pem.splitlines()[1:-1], name)

    def check(self, where: str, data: bytes | str) -> None:
        """Nothing of any secret is in there."""
        data = data.encode() if isinstance(data, str) else data
        self.looked += 1
        assert [name for spelling, name in self.spellings.items() if spelling in data] == [], where


@pytest.fixture
def canaries() -> Canaries:
    made = Canaries()
    made.add("passphrase", PASSPHRASE)
    made.add("other passphrase", OTHER)
    return made


def secret_file(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


def changed(path: Path, to: Path, **fields: Any) -> Path:
    """A key file with other fields."""
    document = json.loads(path.read_bytes())
    for name, value in fields.items():
        part, _, field = name.partition("__")
        if field:
            document[part][field] = value
        else:
            document[part] = value
    return secret_file(to, json.dumps(document).encode())


def key_files(folder: Path, canaries: Canaries) -> Iterator[tuple[str, Path, Path]]:
    """(what is wrong, key file, passphrase file)."""
    signer = generate("ed25519")
    canaries.add("signing key", signer.secret())
    good = folder / "good.json"
    save_signer(good, signer, PASSPHRASE, cost=COST_MIN)
    right, wrong = secret_file(folder / "right", PASSPHRASE), secret_file(folder / "wrong", OTHER)
    document = json.loads(good.read_bytes())
    flipped = f"{int(document['ciphertext'][:2], 16) ^ 1:02x}" + document["ciphertext"][2:]
    yield "wrong passphrase", good, wrong
    yield "passphrase for all to read", good, secret_file(folder / "exposed", PASSPHRASE, 0o644)
    yield "empty passphrase", good, secret_file(folder / "empty", b"")
    yield "long passphrase", good, secret_file(folder / "long", PASSPHRASE * 100)
    yield "no passphrase file", good, folder / "none"
    yield "passphrase file is a directory", good, folder
    yield "no key file", folder / "none.json", right
    yield "key file is a directory", folder, right
    yield "flipped ciphertext", changed(good, folder / "flipped.json", ciphertext=flipped), right
    yield "other key's name", changed(good, folder / "named.json", public_key="00" * 32), right
    yield "absurd cost", changed(good, folder / "absurd.json", kdf__n=2**30), right
    yield "cheap cost", changed(good, folder / "cheap.json", kdf__n=2), right
    yield "unknown algorithm", changed(good, folder / "odd.json", algorithm="rot13"), right
    yield "secret in clear", changed(good, folder / "clear.json", ciphertext=signer.secret().hex()), right
    yield "secret as a field", changed(good, folder / "field.json", secret=signer.secret().hex()), right
    yield "passphrase as the label", changed(good, folder / "label.json", label=[PASSPHRASE.decode()]), right
    yield "truncated", secret_file(folder / "cut.json", good.read_bytes()[:200]), right
    yield "the secret instead of a file", secret_file(folder / "raw.json", signer.secret()), right
    yield "the passphrase instead of a file", secret_file(folder / "pass.json", PASSPHRASE), right


def in_process(*words: str | Path, passphrase: Path | None = None) -> Answer:
    """Run a command here: an interpreter a command would take minutes."""
    named = str(passphrase) if passphrase else None
    done = CliRunner().invoke(app, [str(word) for word in words], env={PASSPHRASE_FILE: named})
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return Answer(done.exit_code, done.stdout, done.stderr)


@pytest.mark.evidence(
    "KEY11", asset="secrets", threat="an error that quotes a secret", mitigation="texts name places only"
)
def test_no_command_tells_a_secret_when_a_key_file_or_passphrase_is_wrong(
    tmp_path: Path, canaries: Canaries
) -> None:
    node = NodeFolder(tmp_path / "node").make()
    tried = 0
    for wrong, key, passphrase in key_files(tmp_path, canaries):
        node.configure(sequencer_key=str(key), sequencer_passphrase_file=str(passphrase))
        ran = vostro("--config", node.config, "run", folder=tmp_path)
        words = ("--node", "127.0.0.1:1", "--member", "PA", "--key", key, "--seconds", "0.1")
        signed = in_process(*words, "accounts", "open", "PA/1", passphrase=passphrase)
        checked = in_process("--config", node.config, "--seconds", "0.1", "doctor")
        for command, told in (("run", ran), ("accounts", signed), ("doctor", checked)):
            tried += 1
            assert told.code != 0, (wrong, command)
            canaries.check(f"{wrong}: {command}", told.out + told.err)
            assert "Traceback" not in told.err, (wrong, told.err)
    print(f"canaries, key files and passphrases: {tried} failing commands, {canaries.looked} outputs clean")


@pytest.mark.evidence(
    "KEY11", asset="secrets", threat="an error that quotes a secret", mitigation="texts name places only"
)
def test_no_command_tells_a_secret_that_stands_in_the_wrong_place(tmp_path: Path, canaries: Canaries) -> None:
    node = NodeFolder(tmp_path / "node").make()
    right, secret = secret_file(tmp_path / "right", OTHER), PASSPHRASE.decode()
    canaries.add_key("TLS key", (pki := Pki(tmp_path / "pki")).server().key)
    pair = pki.leaf("PA", Role.OPERATOR)
    canaries.add_key("operator key", pair.key)
    key, pem = secret_file(tmp_path / "k.pem", pair.key), secret_file(tmp_path / "c.pem", pair.certificate)
    text = node.config.read_text()
    lines = (
        f'passphrase = "{secret}"', f'shards = "{secret}"', f'index = "{secret}"', f"{secret}",
        f'log_level = "{secret}"', f'local_access = "{secret}"', f'quota_calls = "{secret}"',
    )  # fmt: skip
    tried = 0
    for line in lines:
        body = "\n".join(each for each in text.splitlines() if each.split(" ")[0] != line.split(" ")[0])
        node.config.write_text(f"{body}\n{line}\n")
        told = vostro("--config", node.config, "run", folder=tmp_path)
        tried += 1
        assert told.code != 0
        canaries.check(line.split("=")[0], told.out + told.err)
    node.config.write_text(text)
    root = ("ca", "root", tmp_path / "r")
    commands: tuple[tuple[str | Path, ...], ...] = (
        root,
        root,
        ("ca", "issuing", tmp_path / "i", "--root", tmp_path / "r"),
        ("ca", "issue", tmp_path / "pki" / "issuing", key, tmp_path / "o", "--kind", "server", "--host", "x"),
        ("ca", "revoke", tmp_path / "pki" / "issuing", key),
        ("ca", "crl", tmp_path / "pki" / "issuing"),
        ("ca", "show", key),
        ("keys", "show", key),
        ("keys", "list", tmp_path),
        ("status", "--tls-ca", key, "--tls-certificate", key, "--tls-key", pem, "--seconds", "0.5"),
        ("status", "--tls-ca", pem, "--tls-certificate", pem, "--tls-key", right, "--seconds", "0.5"),
        ("receipt", "verify", key, "--trust", key),
    )
    for words in commands:
        named = tmp_path / "none" if words[:2] == ("ca", "issuing") else right
        told = in_process(*words, passphrase=named)
        tried += 1
        canaries.check(str(words), told.out + told.err)
    print(f"canaries, secrets in the wrong place: {tried} commands, {canaries.looked} outputs clean")


def children_of(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def tls_node(folder: Path, canaries: Canaries) -> tuple[NodeFolder, Pki]:
    """A node whose every secret is a canary, with all its logs on."""
    pki = Pki(folder / "pki")
    node = NodeFolder(folder / "node").make()
    pair, operator = pki.server(), pki.leaf("PA", Role.OPERATOR)
    canaries.add_key("TLS key", pair.key)
    canaries.add_key("operator key", operator.key)
    secret_file(node.path / "operator.key", operator.key)
    (node.path / "operator.pem").write_bytes(operator.certificate)
    sequencer = node.path / "sequencer.json"
    canaries.add("sequencer key", officer("sequencer").secret())
    sequencer.unlink()
    save_signer(sequencer, officer("sequencer"), PASSPHRASE, cost=COST_MIN)
    secret_file(node.path / "passphrase", PASSPHRASE)
    files = save(node.path, pair, pki.bundle, pki.crls)
    node.configure(
        **files, log_level="debug", verify_workers=2,
        operator_certificate="operator.pem", operator_key="operator.key",
    )  # fmt: skip
    return node, pki


@pytest.mark.evidence(
    "KEY11",
    asset="secrets",
    threat="a live node that tells a secret",
    mitigation="secrets stay in few variables",
)
def test_a_live_node_tells_no_secret_in_logs_process_lists_or_its_support_bundle(
    tmp_path: Path, canaries: Canaries
) -> None:
    node, pki = tls_node(tmp_path, canaries)
    key = node.path / "node.key"
    right = key.read_bytes()
    with node.running():
        for content, mode in (
            (pki.server().key, 0o600), (PASSPHRASE, 0o600), (right[:100], 0o600), (right, 0o644),
            (right + right, 0o600), (right, 0o600),
        ):  # fmt: skip
            secret_file(key, content, mode)
            told = vostro("--config", node.config, "doctor", "--seconds", "5", folder=tmp_path)
            canaries.check("doctor", told.out + told.err)
        bundle = tmp_path / "bundle.zip"
        told = vostro(
            "--config", node.config, "support-bundle", bundle, "--log", node.path / "log", folder=tmp_path
        )
        assert told.code == 0, told.err
        canaries.check("support-bundle's words", told.out + told.err)
        with zipfile.ZipFile(bundle) as parts:
            for name in parts.namelist():
                canaries.check(f"bundle {name}", parts.read(name))
        pids = [node.process.pid, *children_of(node.process.pid)]
        assert len(pids) > 2, "the workers are looked at, too"
        for pid in pids:
            canaries.check(f"command line of {pid}", Path(f"/proc/{pid}/cmdline").read_bytes())
            if os.geteuid() == 0 or os.access(f"/proc/{pid}/environ", os.R_OK):
                canaries.check(f"environment of {pid}", Path(f"/proc/{pid}/environ").read_bytes())
            limits = Path(f"/proc/{pid}/limits").read_text()
            assert re.search(r"Max core file size\s+0\s+0", limits), limits
        log = node.log()
        assert '"call"' in log
        assert "cannot be used" in log
        canaries.check("log", log)
        os.kill(node.process.pid, signal.SIGSEGV)
        node.end()
    left = [path for path in (Path.cwd(), node.path, tmp_path) for path in path.glob("core*")]
    assert [path for path in left if path.is_file()] == []
    canaries.check("log of the death", node.log())
    print(f"canaries, live node: {len(pids)} processes, {canaries.looked} places looked through, all clean")


@pytest.mark.parametrize(
    ("place", "mode", "said"),
    [
        ("data", 0o755, "chmod 700"),
        ("data", 0o770, "chmod 700"),
        ("sequencer.json", 0o644, "chmod 600"),
        ("sequencer.json", 0o660, "chmod 600"),
        ("passphrase", 0o640, "chmod 600"),
        ("last-signed", 0o604, "chmod 600"),
    ],
)
@pytest.mark.evidence(
    "KEY12",
    asset="secrets",
    threat="others can use a node's files",
    mitigation="modes and owners are checked",
)
def test_a_node_refuses_files_that_others_can_use_and_says_what_to_do(
    place: str, mode: int, said: str, tmp_path: Path
) -> None:
    node = NodeFolder(tmp_path / "node").make()
    (node.path / place).chmod(mode)
    told = vostro("--config", node.config, "run", folder=tmp_path)
    assert told.code == 5, told.err
    assert said in " ".join(told.err.split())
    assert place in told.err


@pytest.mark.evidence(
    "KEY12",
    asset="secrets",
    threat="others can use a node's files",
    mitigation="modes and owners are checked",
)
def test_a_node_refuses_files_of_somebody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only root can give files away; so it is the node that takes itself for another user."""
    node = NodeFolder(tmp_path / "node").make()
    owner = node.data.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    told = in_process("--config", node.config, "run")
    assert told.code == 5
    assert f"belongs to user {owner}, but user {owner + 1} runs this" in " ".join(told.err.split())


@pytest.mark.asyncio
@pytest.mark.evidence(
    "KEY11", asset="secrets", threat="an error that quotes a secret", mitigation="texts name places only"
)
async def test_a_call_that_fails_inside_tells_no_secret(tmp_path: Path, canaries: Canaries) -> None:
    """Every RPC with bytes that hold a canary: neither answer nor log repeats what is not a name."""
    node = NodeFolder(tmp_path / "node", {"log_level": "debug"}).make()
    with node.running():
        async with connected(node) as stubs:
            for method in RPCS:
                for data in (PASSPHRASE, b"\x0a" + bytes([len(PASSPHRASE)]) + PASSPHRASE):
                    await called(stubs, method, data)
                    canaries.looked += 1
        canaries.check("log", node.log())
    print(
        f"canaries, calls: {canaries.looked} calls and the log of them clean; python {sys.version_info[:2]}"
    )
