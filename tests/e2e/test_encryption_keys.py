"""The command for encryption keys, from OpenSSL's key to a message that only its member can read."""

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.processes import RunningNode, running_node

pytestmark = pytest.mark.timeout(300)


def openssl_pair(folder: Path, name: str) -> tuple[Path, Path]:
    """(private, public) PEM files as OpenSSL makes them."""
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    subprocess.run(["openssl", "genpkey", "-algorithm", "X25519", "-out", private], check=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)
    return private, public


def admitted(node: RunningNode) -> list[str]:
    """A member, and the words with which it acts."""
    key = node.new_key("ab")
    chairs = [node.folder / f"administrator-{number}.json" for number in (1, 2)]
    words: list[str | Path] = ["--member", "ADMIN", "--key", chairs[0], "--key", chairs[1]]
    node.json(*words, "members", "admit", "AB", "Bank AB", "--member-key", f"officer={key}")
    return ["--member", "AB", "--key", str(key)]


def test_a_member_registers_replaces_and_revokes_its_encryption_key_by_the_command(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    private, public = openssl_pair(tmp_path / "keys", "first")
    _, other = openssl_pair(tmp_path / "keys", "second")
    with running_node(tmp_path) as node:
        bank = admitted(node)
        node.json(*bank, "members", "encryption-key", "register", public)
        shown = node.json("members", "encryption-key", "show", "AB")
        mine = load_pem_private_key(private.read_bytes(), None)
        assert isinstance(mine, X25519PrivateKey)
        theirs = X25519PublicKey.from_public_bytes(bytes.fromhex(shown["public_key"]))
        sender = X25519PrivateKey.generate()
        assert sender.exchange(theirs) == mine.exchange(sender.public_key()), "both sides have one secret"

        refused = node.vostro("-o", "json", *bank, "members", "encryption-key", "register", other)
        assert "encryption/1" in refused.err
        node.json(*bank, "members", "encryption-key", "replace", shown["key_id"], other)
        newer = node.json("members", "encryption-key", "show", "AB")["key_id"]
        node.json(*bank, "members", "encryption-key", "revoke", newer)
        gone = node.vostro("-o", "json", "members", "encryption-key", "show", "AB")
        assert "encryption/2" in gone.err
        listed = node.json("members", "encryption-key", "list", "AB")
        assert [entry["ended"] for entry in listed] == ["replaced", "revoked"]

        secret = private.read_text().splitlines()[1]
        for wrong, said in ((private, "a private key does not belong here"), (tmp_path / "none", "No such")):
            told = node.vostro(*bank, "members", "encryption-key", "register", wrong)
            assert told.code == 2
            assert said in " ".join(told.err.split())
            assert secret not in told.err + told.out
