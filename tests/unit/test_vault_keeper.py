"""The vault behind two members' doors on live ports: who gets a document, who does not, and what is found on
the disk.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from contracts.vault import ReaderKey, Vault
from node.app import open_vault
from node.cli import doctor
from node.cli.doctor import Verdict
from node.client.errors import ClientError, Declined
from node.client.vault import Vault as VaultClient
from node.client.vault import VaultHoldings
from node.engine import vault as vault_module
from node.engine.errors import Degraded, NodeError
from node.engine.vault import EXAMINE_SECONDS, ORPHAN_SECONDS, Keeper
from node.engine.vault_door import VaultDoor
from node.keys import sealing
from node.keys.certificates import Role
from node.keys.sealing import Sealer
from node.keys.wrapping import WrapRefused, X25519Opener, context_of, wrap
from node.ledger import hashing
from node.ledger.errors import ErrorCode
from node.ledger.hashing import INTERNATIONAL
from node.metrics import _vault as metrics_of
from node.pb.vostro.vault.v1 import vault_pb2 as pb
from node.pb.vostro.vault.v1.vault_pb2_grpc import VaultServiceStub
from node.services.server import Parts, build_server
from node.storage.vault import INCOMING, Kept, VaultFiles
from tests.certificates_kit import Pki, save, secure_channel
from tests.contracts.refusals_encryption import encryption_key, registered
from tests.kit import Consortium, op
from tests.services_kit import DirectEngine, backup, config_of, no_file

pytestmark = pytest.mark.asyncio

CONTENT: Final = random.Random(3).randbytes(300_000)
KEYS: Final = {name: X25519PrivateKey.generate() for name in ("PA", "KB", "CNB")}


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@dataclass
class Bank:
    """A member's node: its keeper behind its door."""

    member: str
    keeper: Keeper
    files: VaultFiles
    port: int
    alarms: list[str]
    now: list[float]


@dataclass
class Town:
    """PA's node and KB's over one ledger, and whoever calls them."""

    world: Consortium
    pki: Pki
    folder: Path
    banks: dict[str, Bank] = field(default_factory=dict)
    channels: list[grpc.aio.Channel] = field(default_factory=list)

    def caller(self, member: str, at: str, *roles: Role) -> VaultClient:
        """A client of ``member`` at the door of ``at``."""
        pair = self.pki.leaf(member, *(roles or (Role.READER, Role.SUBMITTER)))
        channel = secure_channel(f"127.0.0.1:{self.banks[at].port}", pair, self.pki.bundle)
        self.channels.append(channel)
        return VaultClient(channel, at, 10.0)

    async def stored(self, *readers: str, content: bytes = CONTENT) -> Sealer:
        """A document that PA's node keeps."""
        sealer = Sealer(INTERNATIONAL)
        sealed, size = await self.caller("PA", "PA").store(sealer.pieces([content]))
        assert (sealed, size) == (sealer.sealed, sealing.sealed_bytes(len(content)))
        keys = tuple(self.key(sealer, reader) for reader in ("PA", *readers))
        record = (sealer.document, sealed, len(content), "text/plain", 0, keys)
        self.world.apply("PA", op("vault", "store", *record))
        return sealer

    def key(self, sealer: Sealer, reader: str) -> ReaderKey:
        public = KEYS[reader].public_key().public_bytes_raw()
        context = context_of(self.world.chain_id, sealer.document, reader)
        return ReaderKey(reader, encryption_key(public), wrap("x25519", public, sealer.secret, context))

    async def opened(self, sealer: Sealer, reader: str, at: str) -> bytes:
        """What a reader makes of a document: only from the ledger, the door and its private key."""
        sealed = await fetched(self.caller(reader, at, Role.READER), sealer.document)
        grant = self.world.record("vault", "access", sealer.document, reader)
        context = context_of(self.world.chain_id, sealer.document, reader)
        secret = X25519Opener(KEYS[reader]).unwrap(grant.wrapped, context)
        return b"".join(sealing.opened(INTERNATIONAL, secret, sealer.document, [sealed]))

    def file(self, sealer: Sealer) -> Path:
        name = sealer.sealed.hex()
        return self.folder / "PA" / "vault" / name[:2] / name


async def fetched(client: VaultClient, document: bytes) -> bytes:
    return b"".join([portion async for portion in client.fetch(document)])


async def is_refused(call: Any, error: ErrorCode) -> bool:
    try:
        await call
    except Declined as declined:
        return (declined.codespace, declined.number) == (error.codespace, error.code)
    return False


@asynccontextmanager
async def town(folder: Path, pki: Pki, *, reserve_bytes: int = 0) -> AsyncIterator[Town]:
    """Both nodes, served; KB's fetches from PA's over mutual TLS."""
    world = Consortium()
    for member, key in KEYS.items():
        world.apply(member, registered(key.public_key().public_bytes_raw()))
    made = Town(world, pki, folder)
    faces: list[Any] = []
    doors: list[VaultDoor] = []
    try:
        for member in ("PA", "KB"):
            place = folder / member
            place.mkdir()
            tls = {
                name: place / file for name, file in save(place, pki.server(), pki.bundle, pki.crls).items()
            }
            peers = {}
            if member == "KB":
                shown = pki.leaf("KB", Role.READER, name="node")
                credentials = grpc.ssl_channel_credentials(pki.bundle, shown.key, shown.certificate)
                doors.append(VaultDoor(f"127.0.0.1:{made.banks['PA'].port}", credentials))
                peers = {"PA": doors[-1]}
            alarms: list[str] = []
            now = [world.time_ms / 1_000]
            files = VaultFiles(place / "vault", INTERNATIONAL, reserve_bytes=reserve_bytes)
            keeper = Keeper(
                world.ledger,
                files,
                member,
                peers,
                alarms.append,
                document_bytes_max=1 << 20,
                clock=lambda now=now: now[0],  # type: ignore[misc]
            )
            engine = DirectEngine(world)
            parts = Parts(engine, world.ledger, world.store, None, no_file, backup, "1", vault=keeper)
            face = build_server(config_of(place, member=member, **tls), parts)
            await face.start()
            faces.append(face)
            made.banks[member] = Bank(member, keeper, files, face.port, alarms, now)
        yield made
    finally:
        for channel in made.channels:
            await channel.close()
        for door in doors:
            await door.close()
        for face in faces:
            await face.stop(0)


@pytest.mark.evidence(
    "VLT4", asset="documents", threat="a member reads what it was not granted", mitigation="access list"
)
async def test_a_document_goes_to_its_readers_at_either_node_and_to_nobody_else(
    tmp_path: Path, pki: Pki
) -> None:
    async with town(tmp_path, pki) as t:
        sealer = await t.stored("KB")
        assert await t.opened(sealer, "PA", "PA") == CONTENT
        assert await t.opened(sealer, "KB", "PA") == CONTENT, "a reader at the owner's door"
        assert await t.opened(sealer, "KB", "KB") == CONTENT, "a reader at its own node's door"
        unreadable = NodeError.DOCUMENT_NOT_READABLE
        for at in ("PA", "KB"):
            assert await is_refused(fetched(t.caller("CNB", at), sealer.document), unreadable)
        stranger = t.caller("CNB", "KB")
        t.world.apply("PA", op("vault", "grant", sealer.document, t.key(sealer, "CNB")))
        assert await fetched(stranger, sealer.document), "granted, and KB's node may fetch it"
        t.world.apply("PA", op("vault", "revoke", sealer.document, "KB"))
        for at in ("PA", "KB"):
            assert await is_refused(fetched(t.caller("KB", at), sealer.document), unreadable)
        assert await is_refused(fetched(stranger, sealer.document), unreadable), (
            "KB's node is refused by PA's"
        )
        assert await is_refused(fetched(t.caller("KB", "KB"), bytes(32)), Vault.DOCUMENT_UNKNOWN)
        assert t.banks["PA"].keeper.counts["refused"] >= 3


async def test_wrapped_keys_that_were_exchanged_open_nothing(tmp_path: Path, pki: Pki) -> None:
    async with town(tmp_path, pki) as t:
        first, second = await t.stored("KB"), await t.stored("KB", content=b"another")
        keys = {at: t.world.record("vault", "access", at.document, "KB") for at in (first, second)}
        opener = X25519Opener(KEYS["KB"])
        for document, key in ((first, keys[second]), (second, keys[first])):
            with pytest.raises(WrapRefused):
                opener.unwrap(key.wrapped, context_of(t.world.chain_id, document.document, "KB"))
        with pytest.raises(WrapRefused):
            X25519Opener(KEYS["CNB"]).unwrap(
                keys[first].wrapped, context_of(t.world.chain_id, first.document, "KB")
            )


async def test_a_revocation_ends_a_fetch_that_is_under_way(tmp_path: Path, pki: Pki) -> None:
    async with town(tmp_path, pki) as t:
        sealer = await t.stored("KB", content=CONTENT * 3)
        portions = t.banks["PA"].keeper.fetch(sealer.document, "KB")
        assert await anext(portions)
        t.world.apply("PA", op("vault", "revoke", sealer.document, "KB"))
        with pytest.raises(Degraded) as refused:
            await anext(portions)
        assert refused.value.error is NodeError.DOCUMENT_NOT_READABLE


async def test_only_the_owner_puts_and_destroys_and_nobody_what_is_not_closed(
    tmp_path: Path, pki: Pki
) -> None:
    async with town(tmp_path, pki) as t:
        sealer = await t.stored("KB")
        for client in (t.caller("KB", "PA"), t.caller("PA", "PA", Role.READER)):
            assert await is_refused(client.store([b"x"]), NodeError.NOT_PERMITTED)
            assert await is_refused(client.destroy(sealer.document), NodeError.NOT_PERMITTED)
        assert await is_refused(t.caller("KB", "PA").examine(sealer.document), NodeError.NOT_PERMITTED)
        assert await is_refused(t.caller("KB", "PA").holdings(), NodeError.NOT_PERMITTED)
        owner = t.caller("PA", "PA")
        assert await owner.examine(sealer.document) == "whole"
        assert await is_refused(owner.destroy(sealer.document), Vault.NOT_IN_THIS_STATE)
        t.world.apply("PA", op("vault", "delete", sealer.document))
        assert await is_refused(fetched(owner, sealer.document), Vault.NOT_IN_THIS_STATE)
        assert await is_refused(
            fetched(t.caller("KB", "KB"), sealer.document), NodeError.DOCUMENT_NOT_READABLE
        )
        assert await owner.destroy(sealer.document)
        assert not await owner.destroy(sealer.document), "again, and nothing was there"
        t.world.apply("PA", op("vault", "confirm_destroyed", sealer.document))
        assert not t.file(sealer).exists()


@pytest.mark.parametrize("again", ["PA", "KB"])
async def test_bytes_of_a_document_that_is_kept_are_not_destroyed_for_another(
    tmp_path: Path, pki: Pki, again: str
) -> None:
    """The same bytes: closed first and then kept by one member, or, on a node of no member's, closed by
    another that had registered their hash.
    """
    async with town(tmp_path, pki) as t:
        keeper, sealer, second = t.banks["PA"].keeper, await t.stored(), b"\2" * 32
        if again == "KB":
            keeper.member = ""
        record = (second, sealer.sealed, len(CONTENT), "text/plain", 0, ())
        closed, owner = (sealer.document, "PA") if again == "PA" else (second, "KB")
        if again == "KB":
            t.world.apply("KB", op("vault", "store", *record))
        t.world.apply(owner, op("vault", "delete", closed))
        t.world.apply(owner, op("vault", "confirm_destroyed", closed))
        if again == "PA":
            t.world.apply("PA", op("vault", "store", *record))
        assert await is_refused(t.caller(owner, "PA").destroy(closed), Vault.BYTES_TAKEN)
        assert t.file(sealer).exists()
        assert await keeper.examine(second if again == "PA" else sealer.document) == "whole"


async def test_a_node_of_no_member_that_others_reach_keeps_no_vault(tmp_path: Path, pki: Pki) -> None:
    tls = {name: tmp_path / file for name, file in save(tmp_path, pki.server(), pki.bundle, pki.crls).items()}
    node: Any = None  # not looked at
    assert open_vault(config_of(tmp_path, **tls), node) is None
    assert not (tmp_path / "vault").exists()


async def test_what_is_too_large_or_empty_or_too_much_at_once_or_on_a_full_disk_is_not_taken(
    tmp_path: Path, pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with town(tmp_path, pki) as t:
        owner = t.caller("PA", "PA")
        assert await is_refused(owner.store([bytes(1 << 19)] * 3), NodeError.BAD_REQUEST)
        assert await is_refused(owner.store([]), NodeError.BAD_REQUEST)
        incoming = tmp_path / "PA" / "vault" / INCOMING
        assert list(incoming.iterdir()) == []
        monkeypatch.setattr(vault_module, "INCOMING_MAX", 0)
        with pytest.raises(ClientError):
            await owner.store([b"x"])
        monkeypatch.undo()
        monkeypatch.setattr(t.banks["PA"].files, "_reserve_bytes", 1 << 62)
        with pytest.raises(ClientError, match=NodeError.DISK_LOW.sentence[:20]):
            await owner.store([b"x"])
        assert list(incoming.iterdir()) == []


@pytest.mark.evidence(
    "VLT1", asset="documents", threat="bytes are changed or lost", mitigation="checked at every fetch"
)
async def test_damaged_and_missing_bytes_are_told_to_the_reader_and_to_the_operator(
    tmp_path: Path, pki: Pki
) -> None:
    async with town(tmp_path, pki) as t:
        sealer = await t.stored("KB")
        bank, path = t.banks["PA"], t.file(sealer)
        await bank.keeper.look()
        assert (bank.keeper.holdings.documents, bank.alarms) == (1, [])
        whole = path.read_bytes()
        chance, tried = random.Random(5), 0
        for at in chance.sample(range(len(whole)), 12):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            for node in ("PA", "KB"):
                assert await is_refused(fetched(t.caller("KB", node), sealer.document), NodeError.CORRUPTED)
                tried += 1
        print(f"{tried} fetches of flipped bytes, every one ended with an error")
        assert len(bank.alarms) == 1, "an alarm each time a document is lost, not each time it is asked for"
        assert await t.caller("PA", "PA").examine(sealer.document) == "damaged"
        bank.now[0] += EXAMINE_SECONDS
        await bank.keeper.look()
        assert list(bank.keeper.holdings.damaged) == [sealer.document]
        path.unlink()
        await bank.keeper.look()
        assert list(bank.keeper.holdings.missing) == [sealer.document]
        assert await is_refused(fetched(t.caller("KB", "KB"), sealer.document), NodeError.CORRUPTED)
        held = await t.caller("PA", "PA", Role.OPERATOR).holdings()
        assert (held.documents, held.missing, held.damaged) == (1, (sealer.document,), ())
        assert [alarm.split(" are ")[1] for alarm in bank.alarms] == [
            "damaged: restore a copy",
            "missing: restore a copy",
        ]
        path.write_bytes(whole)
        await bank.keeper.look()
        assert not bank.keeper.holdings.missing
        assert await t.opened(sealer, "KB", "KB") == CONTENT


async def test_bytes_that_no_document_names_go_after_a_day_and_never_while_the_node_is_behind(
    tmp_path: Path, pki: Pki
) -> None:
    async with town(tmp_path, pki) as t:
        sealer = await t.stored()
        bank = t.banks["PA"]
        orphan, _ = await t.caller("PA", "PA").store([b"an orphan"])
        begun = max(kept.changed for kept in bank.files.all())
        bank.now[0] = begun
        await bank.keeper.look()
        assert bank.keeper.holdings.orphans == 1
        bank.now[0] = begun + ORPHAN_SECONDS + 1
        await bank.keeper.look()
        assert bank.files.size_of(orphan), "the head is a day old: the ledger may name it by now"
        t.world.block(time_ms=int(bank.now[0] * 1_000))
        await bank.keeper.look()
        assert bank.files.size_of(orphan) is None
        assert bank.files.size_of(sealer.sealed)
        assert bank.keeper.counts["removed"] == 1


async def test_bytes_that_a_document_came_to_name_meanwhile_are_not_removed(
    tmp_path: Path, pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with town(tmp_path, pki) as t:
        bank = t.banks["PA"]
        sealed, size = await t.caller("PA", "PA").store([b"an orphan" * 9])
        bank.now[0] = max(kept.changed for kept in bank.files.all())
        await bank.keeper.look()
        bank.now[0] += ORPHAN_SECONDS + 1
        t.world.block(time_ms=int(bank.now[0] * 1_000))
        lying = list(bank.files.all())

        def all_(_: VaultFiles) -> list[Kept]:
            t.world.apply("PA", op("vault", "store", bytes(31) + b"1", sealed, size, "text/plain", 0, ()))
            return lying

        monkeypatch.setattr(VaultFiles, "all", all_)
        await bank.keeper.look()
        assert bank.files.size_of(sealed) == size


async def test_the_metrics_page_tells_what_the_vault_holds(tmp_path: Path, pki: Pki) -> None:
    async with town(tmp_path, pki) as t:
        sealer = await t.stored()
        keeper = t.banks["PA"].keeper
        t.file(sealer).unlink()
        await keeper.look()
        families = {family.name: family for family in metrics_of(keeper)}
        told = {
            sample.labels["condition"]: sample.value for sample in families["vostro_vault_documents"].samples
        }
        assert told == {"missing": 1, "damaged": 0, "whole": 0}
        done = {s.labels["what"]: s.value for s in families["vostro_vault_done"].samples if "total" in s.name}
        assert done["stored"] == 1


def searched(folder: Path, hidden: list[bytes]) -> int:
    """How many files were searched for secrets; none may be found."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    for path in files:
        data = path.read_bytes()
        assert not any(secret in data or secret.hex().encode() in data for secret in hidden), path
    return len(files)


@pytest.mark.evidence(
    "VLT5", asset="documents", threat="a content at rest in clear", mitigation="sealed before it leaves"
)
async def test_neither_content_nor_key_is_anywhere_at_a_node(tmp_path: Path, pki: Pki) -> None:
    word = b"the ultimate beneficial owner is"
    async with town(tmp_path, pki) as t:
        sealer = await t.stored("KB", content=word * 5_000)
        assert await t.opened(sealer, "KB", "KB") == word * 5_000
        private = KEYS["KB"].private_bytes_raw()
        hidden = [word, sealer.secret[:32], sealer.secret[32:], private]
        files = searched(tmp_path, hidden)
        state = b"".join(key + value for key, value in t.world.state().items())
        assert not any(secret in state for secret in hidden)
        assert hashing.DOCUMENT not in state
        print(f"{files} files and the state searched for {len(hidden)} secrets: none found")


async def test_the_stub_takes_what_the_documentation_says(tmp_path: Path, pki: Pki) -> None:
    async with town(tmp_path, pki) as t:
        client = t.caller("PA", "PA")
        stub: VaultServiceStub = client._stub
        for request in (b"", bytes(31), bytes(33)):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await asyncio.wait_for(stub.Destroy(pb.DestroyRequest(document=request)), 10)
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_vault_takes_in_no_more_than_it_may_and_says_so(tmp_path: Path, pki: Pki) -> None:
    async with town(tmp_path, pki) as t:
        bank = t.banks["PA"]
        sealer = await t.stored(content=CONTENT[:1_000])
        size = sealing.sealed_bytes(1_000)
        bank.keeper.bytes_max = 3 * size - 1
        held = await t.caller("PA", "PA", Role.OPERATOR).holdings()
        assert (held.disk_bytes, held.bytes_max) == (size, 3 * size - 1)
        await t.stored(content=CONTENT[1_000:2_000])
        refused = [t.stored(content=CONTENT[:1_000]) for _ in range(3)]
        assert [await is_refused(each, NodeError.VAULT_FULL) for each in refused] == [True] * 3
        assert not list((tmp_path / "PA" / "vault" / INCOMING).iterdir())
        assert bank.keeper.counts["full"] == 3
        t.world.apply("PA", op("vault", "delete", sealer.document))
        await t.caller("PA", "PA").destroy(sealer.document)
        await t.stored(content=CONTENT[2_000:3_000])
        await bank.keeper.look()
        assert bank.keeper.holdings.disk_bytes == bank.files.size_bytes() == 2 * size
        figures = {m.name: m.samples[0].value for m in metrics_of(bank.keeper)}
        assert figures["vostro_vault_limit_bytes"] == 3 * size - 1
        assert figures["vostro_vault_disk_bytes"] == 2 * size


async def test_doctor_warns_of_a_vault_that_is_nearly_full() -> None:
    def findings(disk_bytes: int) -> list[tuple[str, Verdict]]:
        held = VaultHoldings(1, 5, 0, (), (), disk_bytes, 100)
        client: Any = SimpleNamespace(vault=lambda _: held)
        return [(found.check, found.verdict) for found in doctor._vault(client)]

    assert findings(79) == [("vault", Verdict.OK)]
    assert findings(80) == [("vault room", Verdict.WARNING), ("vault", Verdict.OK)]
