"""Custody on a real node behind mutual TLS: people are who their certificates say, a node that is killed pays
once, and its audit log verifies against the anchors on its ledger.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives.hashes import SHA256

from node.cli.directory import write_secret
from node.client.custody import Custody
from node.client.errors import Declined
from node.keys.audit import LOG
from node.keys.certificates import Role
from node.keys.files import write_file
from node.keys.keystore import COST_MIN, save_signer
from tests.certificates_kit import Pair, Pki, save, secure_channel
from tests.consortium_kit import until
from tests.fault.node_kit import SECONDS, NodeFolder, Stubs
from tests.kit import officer, pay
from tests.processes import vostro

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(200)]

POLICY = """
version = 1
member = "PA"
time_zone = "Europe/Prague"
[[rule]]
name = "small"
methods = ["transfers.send"]
asset = "CZK"
amount_below = 1_000
approve = [{ count = 1, of = ["role:checker"] }]
[[rule]]
name = "large"
methods = ["transfers.send"]
asset = "CZK"
amount_from = 1_000
approve = [{ count = 2, of = ["bob", "carol"] }]
"""


@dataclass
class Guarded:
    """A live node of PA with custody, and the authority of its people."""

    node: NodeFolder
    pki: Pki

    def __post_init__(self) -> None:
        self.people = {
            "mary": self.pki.leaf("PA", Role.MAKER, name="mary"),
            "bob": self.pki.leaf("PA", Role.CHECKER, name="bob"),
            "bob's other": self.pki.leaf("PA", Role.MAKER, Role.CHECKER, name="Bob"),
            "carol": self.pki.leaf("PA", Role.CHECKER, name="carol"),
            "reader": self.pki.leaf("PA", Role.READER, name="rita"),
            "auditor": self.pki.leaf("PA", Role.AUDITOR, name="anna"),
            "foreign": self.pki.leaf("KB", Role.MAKER, Role.CHECKER, name="carol"),
        }

    @asynccontextmanager
    async def as_(self, who: str) -> AsyncIterator[Custody]:
        async with self.channel(self.people[who]) as channel:
            yield Custody(channel, self.node.target, SECONDS)

    @asynccontextmanager
    async def channel(self, pair: Pair) -> AsyncIterator[grpc.aio.Channel]:
        async with secure_channel(self.node.target, pair, self.pki.bundle) as channel:
            yield channel

    async def balance(self) -> int:
        async with self.channel(self.people["reader"]) as channel:
            return await Stubs(channel).balance("PA/0")

    def command(self, who: str, *arguments: str | Path) -> Any:
        """The command line with a person's certificate."""
        folder, pair = self.node.path, self.people[who]
        write_file(folder / f"{who}.pem", pair.certificate, replace=True)
        write_file(folder / f"{who}.key", pair.key, private=True, replace=True)
        return vostro(
            "--config", self.node.config, "--tls-ca", folder / "ca.pem", "--tls-certificate",
            folder / f"{who}.pem", "--tls-key", folder / f"{who}.key", "-o", "json", *arguments
        )  # fmt: skip


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("custody")
    pki = Pki(folder / "pki")
    node = NodeFolder(folder / "node").make()
    (node.path / "policy.toml").write_text(POLICY)
    save_signer(node.path / "pa.json", officer("PA-officer"), b"canary-5e0f", cost=COST_MIN)
    write_secret(node.path / "custody.passphrase", b"canary-5e0f")
    node.configure(
        **save(node.path, pki.server(), pki.bundle, pki.crls),
        member="PA",
        custody_policy="policy.toml",
        custody_keys=["pa.json"],
        custody_passphrase_file="custody.passphrase",  # noqa: S106  # a file
        custody_anchor_hours=1,
    )
    with node.running():
        yield Guarded(node, pki)
        node.process.check_alive()
        assert "Traceback" not in node.log()
        assert "canary" not in node.log() + (node.path / "custody" / LOG).read_text()


async def is_shut_out(desk: Custody, request: bytes) -> bool:
    try:
        await desk.show(request)
    except Declined:
        return True
    return False


async def denied(work: Any) -> str:
    with pytest.raises(Declined) as told:
        await work
    return str(told.value)


@pytest.mark.evidence(
    "CUS7",
    asset="the audit log",
    threat="nobody knows with which certificate it was approved",
    mitigation="its SHA-256 in every decision",
)
async def test_people_are_who_their_certificates_say(guarded: Guarded) -> None:
    before, name = await guarded.balance(), bytes(15) + b"\1"
    async with guarded.as_("mary") as mary, guarded.as_("bob") as bob, guarded.as_("carol") as carol:
        made = await mary.request(name, [pay("PA/0", "KB/0", 2_000)], reference="invoice 7")
        assert (made.status, made.maker, made.member) == ("waiting", "mary", "PA")
        tried = [
            ("NOT_PERMITTED", await denied(mary.approve(name, made.content_hash))),
            ("NOT_PERMITTED", await denied(bob.request(bytes(16), [pay("PA/0", "KB/0", 1)]))),
        ]
        async with guarded.as_("foreign") as foreign, guarded.as_("reader") as reader:
            tried += [("NOT_PERMITTED", await denied(foreign.approve(name, made.content_hash)))]
            tried += [("NOT_PERMITTED", await denied(reader.show(name)))]
        assert (await bob.approve(name, made.content_hash)).status == "waiting"
        async with guarded.as_("bob's other") as again:
            tried += [("APPROVED_ALREADY", await denied(again.approve(name, made.content_hash)))]
        assert [told for code, told in tried if code not in told] == []
        assert (await carol.approve(name, made.content_hash)).status == "signed"
        done = await mary.show(name, wait_seconds=20)
    assert (done.status, done.height > 0) == ("applied", True)
    assert {each.by: each.certificate for each in done.approvals} == {
        name: guarded.people[name].leaf.fingerprint(SHA256()).hex() for name in ("bob", "carol")
    }
    assert await guarded.balance() == before - 2_000
    print(f"{len(tried)} certificates without the right to it refused")


@pytest.mark.evidence(
    "CUS2",
    asset="balances",
    threat="a crash pays twice or loses an approval",
    mitigation="a synced line before every effect",
)
async def test_a_node_that_is_killed_after_the_last_approval_pays_once(guarded: Guarded) -> None:
    before, kills = await guarded.balance(), 4
    for number in range(kills):
        name = bytes(14) + bytes([2, number])
        async with guarded.as_("mary") as mary, guarded.as_("bob") as bob, guarded.as_("carol") as carol:
            made = await mary.request(name, [pay("PA/0", "KB/0", 1_000)])
            await bob.approve(name, made.content_hash)
            last = asyncio.create_task(carol.approve(name, made.content_hash))
            if number % 2:
                await last
            else:
                await asyncio.sleep(0.004 * number)
            guarded.node.process.kill()
            last.cancel()
        guarded.node.start()
        async with guarded.as_("mary") as mary, guarded.as_("carol") as carol:
            found = await mary.show(name)
            assert "bob" in [each.by for each in found.approvals]
            if found.status == "waiting" and "carol" not in [each.by for each in found.approvals]:
                await carol.approve(name, made.content_hash)
            assert (await mary.show(name, wait_seconds=20)).status == "applied"
    assert await guarded.balance() == before - 1_000 * kills
    print(f"{kills} kills around the last approval, each payment made once")


@pytest.mark.evidence(
    "CUS8",
    asset="balances",
    threat="an approval outlives the trust in whoever gave it",
    mitigation="revocation lists are looked at before it is signed",
)
async def test_an_approval_counts_no_more_once_its_certificate_is_revoked(guarded: Guarded) -> None:
    name = bytes(15) + b""
    async with guarded.as_("mary") as mary, guarded.as_("bob") as bob, guarded.as_("carol") as carol:
        made = await mary.request(name, [pay("PA/0", "KB/0", 2_000)])
        assert (await bob.approve(name, made.content_hash)).status == "waiting"
        guarded.pki.revoke(guarded.people["bob"])
        write_file(guarded.node.path / "crl.pem", guarded.pki.crls, replace=True)
        await until(lambda: is_shut_out(bob, name), "the revocation list is in force")
        assert (await carol.approve(name, made.content_hash)).status == "waiting"
        guarded.people["bob"] = guarded.pki.leaf("PA", Role.CHECKER, name="bob")
        async with guarded.as_("bob") as renewed:
            assert (await renewed.approve(name, made.content_hash)).status == "signed"
        assert (await mary.show(name, wait_seconds=20)).status == "applied"


async def test_the_command_asks_shows_and_verifies_the_log_against_the_ledger(guarded: Guarded) -> None:
    send = (
        'transfers.send={"source": "PA/0", "destination": "KB/0", "asset": "CZK", "amount": 5, '
        '"end_to_end_id": "", "uetr": "", "purpose": ""}'
    )
    asked = await asyncio.to_thread(guarded.command, "mary", "custody", "request", send)
    assert asked.code == 0, asked.err
    request = asked.json
    explained = await asyncio.to_thread(guarded.command, "bob", "policy", "explain", request["id"])
    assert (explained.code, explained.json["missing"]) == (0, 2)  # thousands were paid today
    for who in ("bob", "carol"):
        words = ("custody", "approve", request["id"], request["content_hash"])
        approved = await asyncio.to_thread(guarded.command, who, *words)
        assert approved.code == 0, approved.err
    shown = await asyncio.to_thread(guarded.command, "mary", "custody", "show", request["id"], "--wait", "20")
    assert shown.json["status"] == "applied"
    listed = await asyncio.to_thread(guarded.command, "auditor", "custody", "list", "--all")
    assert request["id"] in [row["id"] for row in listed.json]
    words = ("audit", "verify", "--against", guarded.node.target)
    verified = await asyncio.to_thread(guarded.command, "auditor", *words)
    assert verified.code == 0, verified.err
    assert verified.json["anchors"] >= 1
