"""Canaries in what fails: passphrases, private keys, words of shares and PINs are looked for in the text and
the traceback of every refusal that concerns keys, and in all that a live node shows: log, metrics, answers,
command lines, environments, and its death.
"""

import asyncio
import base64
import json
import os
import signal
import traceback
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
from typer.testing import CliRunner

from node.cli.main import app
from node.config import PASSPHRASE_FILE
from node.demo.child import free_port
from node.engine.record import RecordUnusable
from node.engine.sequencer import Sequencer, SequencerRefused
from node.keys.keystore import COST_MIN, KeystoreError, load_signer, read_passphrase, save_signer
from node.keys.pkcs8 import read_pkcs8, write_pkcs8
from node.keys.shares import load_share, needed, restore, save_share, split
from node.keys.signer import Ed25519Signer, generate
from node.keys.token_uri import parse_uri
from tests import hsm_kit
from tests.fault.node_kit import Load, NodeFolder, connected, transfers
from tests.kit import officer

pytestmark = pytest.mark.timeout(300)

PASSPHRASE: Final = b"canary-Passphrase-4f2a"
OTHER: Final = b"canary-Other-b8d1"
FIELDS: Final = (
    "version",
    "algorithm",
    "public_key",
    "key_id",
    "label",
    "created",
    "kdf",
    "cipher",
    "ciphertext",
)


class Canaries:
    """Secrets in the spellings in which they could be told, and how many places were looked through."""

    def __init__(self, *secrets: bytes) -> None:
        self.spellings = [spelling for secret in secrets for spelling in spelled(secret)]
        self.looked = 0

    def check(self, where: str, *places: bytes | str) -> None:
        """None of them is in there."""
        for place in places:
            data = place.encode() if isinstance(place, str) else place
            self.looked += 1
            assert [spelling for spelling in self.spellings if spelling in data] == [], where

    def check_refusal(self, where: str, call: Callable[[], object], *refusals: type[Exception]) -> None:
        """The call is refused, and neither the refusal nor its traceback tells a secret."""
        with pytest.raises(refusals) as refused:
            call()
        error = refused.value
        told = "".join(traceback.format_exception(error))
        self.check(where, str(error), repr(error), told, repr(getattr(error, "details", "")))


def spelled(secret: bytes) -> tuple[bytes, ...]:
    """As it is, in hexadecimal, in base64, as Python shows bytes and their numbers."""
    return (
        secret,
        secret.hex().encode(),
        secret.hex().upper().encode(),
        base64.b64encode(secret),
        repr(secret)[2:-1].encode(),
        str(list(secret)).encode(),
    )


def secret_file(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    path.chmod(0o600)
    return path


def broken_key_files(good: bytes, secret: bytes) -> Iterator[tuple[str, bytes]]:
    """A key file with a secret in the place of every field, or beside it, or around it."""
    document = json.loads(good)
    for field in FIELDS:
        for value in (secret.hex(), PASSPHRASE.decode(), [secret.hex()], {PASSPHRASE.decode(): secret.hex()}):
            yield f"in {field}", json.dumps({**document, field: value}).encode()
    for part, field in (("kdf", "salt"), ("kdf", "function"), ("cipher", "nonce"), ("kdf", "n")):
        yield (
            f"in {part}.{field}",
            json.dumps({**document, part: {**document[part], field: PASSPHRASE.decode()}}).encode(),
        )
    yield "as a field", json.dumps({**document, PASSPHRASE.decode(): 1}).encode()
    yield "raw", secret
    yield "alone", PASSPHRASE
    yield "as JSON", json.dumps(PASSPHRASE.decode()).encode()
    for cut in range(0, len(good), 41):
        yield f"cut at {cut}", good[:cut]


@pytest.mark.evidence(
    "KEY11", asset="secrets", threat="an error that quotes a secret", mitigation="texts name places only"
)
def test_no_refusal_about_a_key_tells_what_is_secret_of_it(tmp_path: Path) -> None:
    signer = generate("ed25519")
    shares = split(signer, 2, 3)
    words = [share.words for share in shares]
    canaries = Canaries(PASSPHRASE, OTHER, signer.secret(), *(each.encode() for each in words))
    good = tmp_path / "good.json"
    save_signer(good, signer, PASSPHRASE, cost=COST_MIN)
    for where, data in broken_key_files(good.read_bytes(), signer.secret()):
        path = secret_file(tmp_path / "broken.json", data)
        canaries.check_refusal(where, partial(load_signer, path, PASSPHRASE), KeystoreError)
    canaries.check_refusal("wrong passphrase", lambda: load_signer(good, OTHER), KeystoreError)
    for number in (0, 1_025):
        path = secret_file(tmp_path / "passphrase", (PASSPHRASE * 100)[:number])
        canaries.check_refusal("passphrase file", partial(read_passphrase, path), KeystoreError)
    check_foreign_keys(canaries, signer)
    check_shares(canaries, tmp_path, shares, words)
    for uri in (
        f"pkcs11:token=a;object=b;pin-value={OTHER.decode()}?module-path=/lib.so",
        f"pkcs11:token=a?module-path=/lib.so&pin-value={OTHER.decode()}",
        f"pkcs11:token=a?module-path=lib.so&pin-source={OTHER.decode()}",
    ):
        canaries.check_refusal("token URI", partial(parse_uri, uri), KeystoreError)
    record = secret_file(tmp_path / "last-signed", PASSPHRASE.ljust(1_024))
    canaries.check_refusal(
        "record", lambda: Sequencer(officer("x"), bytes(32), record), SequencerRefused, RecordUnusable
    )
    print(f"canaries in refusals: {canaries.looked} texts and tracebacks looked through, all clean")


def check_foreign_keys(canaries: Canaries, signer: Any) -> None:
    """Keys of other programs, damaged and under other passphrases."""
    pem = write_pkcs8(signer, PASSPHRASE)
    for cut in range(0, len(pem) - 40, 37):
        canaries.check_refusal("PKCS#8 cut", partial(read_pkcs8, pem[:cut], PASSPHRASE), KeystoreError)
    for data in (pem, PASSPHRASE, signer.secret(), pem.replace(b"A", b"B")):
        canaries.check_refusal("PKCS#8", partial(read_pkcs8, data, OTHER), KeystoreError)


def check_shares(canaries: Canaries, folder: Path, shares: Any, words: list[str]) -> None:
    """Shares too few, with a wrong word each, of another key, and files of them cut."""
    for at in range(0, len(words[0].split()), 3):
        changed = words[0].split()
        changed[at] = "academic" if changed[at] != "academic" else "acid"
        wrong = " ".join(changed)
        canaries.check_refusal(
            "wrong word", partial(restore, [wrong, words[1]], "ed25519", None), KeystoreError
        )
    canaries.check_refusal("one share", lambda: restore(words[:1], "ed25519", None), KeystoreError)
    canaries.check_refusal("other key", lambda: restore(words, "ed25519", bytes(32)), KeystoreError)
    canaries.check_refusal("no share", lambda: needed(words[0][:-1] + "zz"), KeystoreError)
    save_share(folder / "share", shares[0])
    data = (folder / "share").read_bytes()
    for cut in range(0, len(data) - 4, 29):
        path = secret_file(folder / "cut", data[:cut])
        canaries.check_refusal("share cut", partial(load_share, path), KeystoreError)
    canaries.check("a share's repr", repr(shares[0]))


@pytest.mark.needs("softhsm2-util")
@pytest.mark.evidence(
    "KEY11", asset="secrets", threat="a PIN in an error", mitigation="texts name places only"
)
def test_no_command_tells_the_pin_of_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOFTHSM2_CONF", "")
    hsm_kit.prepare(tmp_path / "hsm")
    hsm = hsm_kit.new_token(tmp_path / "hsm", "secrets")
    canaries = Canaries(hsm_kit.PIN, OTHER)
    wrong, right = secret_file(tmp_path / "wrong", OTHER), hsm.pin_file
    tried = 0
    for pin, uri in (
        (right, hsm.uri("sealed")),
        (right, hsm.uri("sealed")),
        (wrong, hsm.uri("sealed")),
        (wrong, hsm.uri("nothing")),
        (right, hsm.uri("sealed").replace("token=secrets", "token=none")),
        (
            right,
            f"pkcs11:token=secrets;object=sealed;pin-value={hsm_kit.PIN.decode()}?module-path={hsm_kit.MODULE}",
        ),
        (tmp_path / "none", hsm.uri("sealed")),
    ):
        for words in (
            ("keys", "hsm", "new", uri),
            ("keys", "hsm", "check", uri),
            ("keys", "hsm", "list", uri),
        ):
            typed = [word for word in words if hsm_kit.PIN.decode() not in word]
            done = CliRunner().invoke(app, words, env={PASSPHRASE_FILE: str(pin)})
            assert done.exception is None or isinstance(done.exception, SystemExit | KeystoreError), words
            canaries.check(str(typed), done.stdout, done.stderr, str(done.exception or ""))
            tried += 1
    print(f"canaries, tokens: {tried} commands, {canaries.looked} outputs clean")


async def used(node: NodeFolder) -> str:
    """Some work, and what the node says of itself then."""
    async with connected(node) as stubs:
        await Load(transfers(200, 3)).run(stubs)
        return str(await stubs.status())


def children_of(pid: int) -> list[int]:
    """The processes that a process started."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


@pytest.mark.evidence(
    "KEY11",
    asset="secrets",
    threat="a live node that tells a secret",
    mitigation="secrets stay in two variables",
)
def test_a_live_node_shows_no_secret_in_log_metrics_processes_or_death(tmp_path: Path) -> None:
    node = NodeFolder(tmp_path / "node").make()
    sequencer, secret = node.path / "sequencer.json", officer("sequencer").secret()
    save_signer(sequencer, officer("sequencer"), PASSPHRASE, cost=COST_MIN, overwrite=True)
    secret_file(node.path / "passphrase", PASSPHRASE)
    page = f"127.0.0.1:{free_port()}"
    node.configure(log_level="debug", verify_workers=2, metrics_listen=page)
    canaries = Canaries(PASSPHRASE, secret, Ed25519Signer(secret).secret())
    with node.running():
        canaries.check("status", asyncio.run(used(node)))
        with urllib.request.urlopen(f"http://{page}/metrics", timeout=20) as answer:
            metrics = answer.read()
        assert b"vostro_" in metrics
        canaries.check("metrics", metrics)
        pid = node.process._process.pid if node.process._process else 0
        pids = [pid, *children_of(pid)]
        assert len(pids) > 2, "the workers are looked at, too"
        for each in pids:
            canaries.check(f"command line of {each}", Path(f"/proc/{each}/cmdline").read_bytes())
            canaries.check(f"environment of {each}", Path(f"/proc/{each}/environ").read_bytes())
        os.kill(pid, signal.SIGABRT)
        node.end()
    canaries.check("log", node.log())
    left = [path for folder in (Path.cwd(), node.path) for path in folder.glob("core*") if path.is_file()]
    assert left == []
    print(f"canaries, live node: {len(pids)} processes, {canaries.looked} places looked through, all clean")
