"""A document fetched from its owner's node: two processes over copies of one ledger, mutual TLS between."""

import shutil
from pathlib import Path
from typing import Final

import pytest

from node.demo.child import NodeProcess, free_port
from node.keys.certificates import Role
from node.keys.files import write_file
from tests.certificates_kit import Pki, save
from tests.e2e.test_vault import admitted, started
from tests.kit import spoilt
from tests.processes import Answer, vostro, write_passphrase

CONTENT: Final = b"five per cent, actual over 360\n" * 5_000


class Bank:
    """A member's node over a copy of the ledger, and whoever calls it."""

    def __init__(self, folder: Path, member: str, pki: Pki, passphrase: Path, *settings: str) -> None:
        self.folder, self.pki, self.passphrase = folder, pki, passphrase
        self.listen = f"127.0.0.1:{free_port()}"
        files = save(folder, pki.server(), pki.bundle, pki.crls)
        kept = [
            line
            for line in (folder / "node.toml").read_text().splitlines()
            if not line.startswith(("listen", "member"))
        ]
        words = {"listen": self.listen, "member": member} | files
        lines = [f'{name} = "{value}"' for name, value in words.items()]
        (folder / "node.toml").write_text("\n".join([*lines, *settings, *kept]) + "\n")
        self.process = NodeProcess(folder / "node.toml", self.listen, folder.parent / f"{member}.log")
        self.process.start()
        self.process.wait_ready()

    def get(self, member: str, document: str, target: Path, private: Path, *words: str | Path) -> Answer:
        """A member fetches a document here with the command, with a certificate of its own."""
        shown = self.pki.leaf(member, Role.READER)
        files = {"tls-certificate": shown.certificate, "tls-key": shown.key, "tls-ca": self.pki.bundle}
        options: list[str | Path] = []
        for name, content in files.items():
            write_file(self.folder / f"client-{name}", content, private=True, replace=True)
            options += [f"--{name}", self.folder / f"client-{name}"]
        return vostro(
            "-o", "json", "--node", self.listen, *options, *words, "vault", "get", document, target,
            "--private-key", private, passphrase=self.passphrase,
        )  # fmt: skip

    def lying(self) -> list[Path]:
        """The files of its vault."""
        return [path for path in (self.folder / "vault").rglob("*") if path.is_file()]


@pytest.mark.timeout(240)
def test_a_document_comes_from_its_owners_node_whole_or_not_at_all(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    (tmp_path / "terms.txt").write_bytes(CONTENT)
    node, chair = started(tmp_path, "international")
    try:
        words, privates = admitted(node, chair, keys, "international")
        named = node.json(*words["AB"], "vault", "put", tmp_path / "terms.txt", "--reader", "CD")["document"]
    finally:
        node.process.stop()
    shutil.copytree(tmp_path / "node", tmp_path / "other")
    shutil.rmtree(tmp_path / "other" / "vault")
    pki, passphrase = Pki(tmp_path / "pki"), write_passphrase(tmp_path / "officers")
    banks: list[Bank] = []
    try:
        owner = Bank(tmp_path / "node", "AB", pki, passphrase)
        banks.append(owner)
        shown = pki.leaf("CD", Role.READER, name="node")
        for name, content in (("peer.pem", shown.certificate), ("peer.key", shown.key)):
            write_file(tmp_path / "other" / name, content, private=True)
        peers = (
            f'vault_peers = ["AB={owner.listen}"]',
            'vault_certificate = "peer.pem"',
            'vault_key = "peer.key"',
        )
        other = Bank(tmp_path / "other", "CD", pki, passphrase, *peers)
        banks.append(other)

        got = other.get("CD", named, tmp_path / "got.txt", privates["CD"], *words["CD"])
        assert (got.code, (tmp_path / "got.txt").read_bytes() if not got.code else got.err) == (0, CONTENT)
        assert other.lying() == [], "what passes through is not kept"

        for bank in banks:  # LAW regulates, and was granted nothing
            refused = bank.get("LAW", named, tmp_path / "no.txt", privates["LAW"], *words["LAW"])
            assert (refused.code, (tmp_path / "no.txt").exists()) == (1, False), refused.err

        (lies,) = owner.lying()
        whole = lies.read_bytes()
        lies.write_bytes(spoilt(whole))
        wrong = other.get("CD", named, tmp_path / "no.txt", privates["CD"], *words["CD"])
        assert wrong.code != 0
        assert ((tmp_path / "no.txt").exists(), other.lying()) == (False, [])
        lies.write_bytes(whole)

        owner.process.stop()
        away = other.get("CD", named, tmp_path / "no.txt", privates["CD"], *words["CD"])
        print([away.code, away.error["message"]])
        assert away.code == 3
        assert "owner does not answer" in away.error["message"]
        assert ((tmp_path / "no.txt").exists(), other.lying()) == (False, [])
    finally:
        for bank in banks:
            bank.process.stop()
