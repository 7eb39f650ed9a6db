"""A document's life by the command alone, on both suites: kept, granted, read, held, and destroyed."""

from pathlib import Path
from typing import Final

import pytest

from node.demo.child import NodeProcess, free_port
from node.keys.keystore import COST_MIN, save_signer
from node.keys.signer import generate
from tests.e2e.test_encryption_keys import openssl_pair
from tests.kit import spoilt
from tests.processes import PASSPHRASE, RunningNode, vostro, write_passphrase

WORD: Final = b"terms and conditions of the certificate of deposit\n"
SIGNING: Final = {"international": "ed25519", "guomi": "sm2"}


def key_file(folder: Path, name: str, algorithm: str) -> Path:
    save_signer(folder / f"{name}.json", generate(algorithm), PASSPHRASE, cost=COST_MIN)
    return folder / f"{name}.json"


def encryption_pair(folder: Path, name: str, suite: str) -> tuple[Path, Path]:
    """(private, what is registered)."""
    if suite == "international":
        return openssl_pair(folder, name)
    path = key_file(folder, name, "sm2")
    return path, path


def started(folder: Path, suite: str) -> tuple[RunningNode, Path]:
    """A node, and its administrator's key."""
    passphrase = write_passphrase(folder / "passphrase")
    listen = f"127.0.0.1:{free_port()}"
    chair = key_file(folder, "chair", SIGNING[suite])
    made = vostro(
        "init", folder / "node", "--suite", suite, "--listen", listen,
        "--shards", "2", "--administrator-key", f"chair={chair}", "--threshold", "1",
        passphrase=passphrase,
    )  # fmt: skip
    assert made.code == 0, made.err
    process = NodeProcess(folder / "node" / "node.toml", listen, folder / "node.log")
    process.start()
    process.wait_ready()
    return RunningNode(folder, process), chair


def nowhere(folder: Path, word: bytes) -> int:
    """How many files of the node do not hold the word; all must."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert not [path for path in files if word in path.read_bytes()]
    return len(files)


def admitted(
    node: RunningNode, chair: Path, keys: Path, suite: str
) -> tuple[dict[str, list[str | Path]], dict[str, Path]]:
    """AB and CD with encryption keys, and LAW: the words with which each acts, and their private keys."""
    words: dict[str, list[str | Path]] = {}
    privates: dict[str, Path] = {}
    for member, role in (("AB", "participant"), ("CD", "participant"), ("LAW", "regulator")):
        key = key_file(keys, member, SIGNING[suite])
        admit = ("members", "admit", member, f"Bank {member}", "--role", role)
        node.json("--member", "ADMIN", "--key", chair, *admit, "--member-key", f"officer={key}")
        words[member] = ["--member", member, "--key", key]
        privates[member], public = encryption_pair(keys, f"{member}-reads", suite)
        if member != "LAW":
            node.json(*words[member], "members", "encryption-key", "register", public)
    return words, privates


@pytest.mark.timeout(240)
@pytest.mark.parametrize("suite", ["international", "guomi"])
@pytest.mark.evidence(
    "VLT5", asset="documents", threat="a content at rest in clear", mitigation="sealed before it leaves"
)
def test_a_document_is_kept_granted_read_held_and_destroyed(tmp_path: Path, suite: str) -> None:
    document, keys = tmp_path / "terms.txt", tmp_path / "keys"
    document.write_bytes(WORD * 4_000)
    keys.mkdir()
    node, chair = started(tmp_path, suite)
    try:
        words, privates = admitted(node, chair, keys, suite)
        ab, cd, law = words["AB"], words["CD"], words["LAW"]
        named = node.json(*ab, "vault", "put", document, "--type", "text/plain")["document"]

        assert node.vostro(*cd, "vault", "get", named, tmp_path / "no", "--private-key", privates["CD"]).code
        node.json(*ab, "vault", "grant", named, "CD", "--private-key", privates["AB"])
        got = tmp_path / "got.txt"
        node.json(*cd, "vault", "get", named, got, "--private-key", privates["CD"])
        assert got.read_bytes() == document.read_bytes()
        wrong = node.vostro(*cd, "vault", "get", named, tmp_path / "no", "--private-key", privates["AB"])
        assert (wrong.code, (tmp_path / "no").exists()) == (2, False)
        key: list[str | Path] = ["--private-key", privates["CD"]]
        for more in (key[:0], key, [*key, "--file", got]):
            assert node.json(*cd, "vault", "verify", named, *more)["owner"] == "AB"
        other = node.vostro(
            *cd, "vault", "verify", named, "--private-key", privates["CD"], "--file", privates["CD"]
        )
        assert other.code == 4
        listed = node.json(*cd, "vault", "list")
        assert [row["document"] for row in listed] == [named]

        node.json(*law, "vault", "hold", named, "C-7/2026")
        held = node.vostro("-o", "json", *ab, "vault", "delete", named)
        assert held.error["code"] == "vault/8 HELD"
        node.json(*law, "vault", "lift", named, "C-7/2026")
        shown = node.json(*ab, "vault", "show", named)
        assert (shown["readers"], shown["holds"]) == (["AB", "CD"], ["LAW C-7/2026: lifted"])
        node.json(*ab, "vault", "revoke", named, "CD")
        assert node.vostro(*cd, "vault", "get", named, tmp_path / "no", "--private-key", privates["CD"]).code

        (kept,) = [path for path in (tmp_path / "node" / "vault").rglob("*") if path.is_file()]
        whole = kept.read_bytes()
        assert "vault" in node.vostro("-o", "json", "doctor").out
        kept.write_bytes(spoilt(whole))
        assert node.vostro(*ab, "vault", "verify", named).code != 0
        kept.write_bytes(whole)
        print(f"{suite}: {nowhere(tmp_path / 'node', WORD)} files of the node, none with the content")

        receipt = node.json(*ab, "vault", "delete", named)
        assert [event["event"] for event in receipt["events"]] == ["Destroyed"]
        assert not kept.exists()
        assert node.json(*ab, "vault", "show", named)["status"] == "destroyed"
        node.json("receipt", "export", receipt["tx_id"], tmp_path / "receipt.json")
    finally:
        node.process.stop()
    assert WORD not in (tmp_path / "node.log").read_bytes()
