"""Wrong certificates against a live node behind mutual TLS: each gets its outcome, whoever has a right one is
served all the while, and blocks go on.
"""

import asyncio
import datetime as dt
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from node.keys.certificates import Role
from node.keys.files import write_file
from node.pb.vostro.fund.v1 import fund_pb2
from node.pb.vostro.ledger.v1 import ledger_pb2
from tests.certificates_kit import Pair, Pki, by_hand, save, secure_channel
from tests.fault.node_kit import SECONDS, NodeFolder, Stubs, transfers
from tests.services_kit import read_refusal

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(200)]

HANDSHAKE: Final = "refused by the handshake"
END_SECONDS: Final = 5.0
"""A stream of a certificate that is no longer accepted has ended by then; the node looks once a second."""
READS: Final = (Role.READER, Role.SUBMITTER)


@dataclass
class Guarded:
    """A live node behind mutual TLS, and its consortium's authority."""

    node: NodeFolder
    pki: Pki

    def put(self, authorities: bytes | None = None, crls: bytes | None = None) -> None:
        """Give the running node other files."""
        for name, content in (("ca.pem", authorities), ("crl.pem", crls)):
            if content is not None:
                write_file(self.node.path / name, content, replace=True)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    pki = Pki(folder / "pki")
    node = NodeFolder(folder / "node").make()
    node.configure(**save(node.path, pki.server(), pki.bundle, pki.crls))
    with node.running():
        yield Guarded(node, pki)
        node.process.check_alive()
        assert "Traceback" not in node.log()


@asynccontextmanager
async def connected(guarded: Guarded, pair: Pair | None, *, trust: bytes = b"") -> AsyncIterator[Stubs]:
    async with secure_channel(guarded.node.target, pair, trust or guarded.pki.bundle) as channel:
        yield Stubs(channel)


async def outcome(guarded: Guarded, pair: Pair | None, *, trust: bytes = b"") -> str:
    """What becomes of a balance read with this certificate: OK, the code's name, or the handshake's no."""
    async with connected(guarded, pair, trust=trust) as stubs:
        return await read_on(stubs)


async def read_on(stubs: Stubs) -> str:
    try:
        await stubs.funds.GetBalance(fund_pb2.GetBalanceRequest(account="PA/0", asset="CZK"), timeout=SECONDS)
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.UNAVAILABLE:
            return HANDSHAKE
        refusal = read_refusal(error)
        return f"{refusal.info.reason}: {refusal.info.metadata['reason']}"
    return "OK"


async def ended(call: Any) -> tuple[str, float]:
    """How a stream ends, and after how many seconds."""
    began = time.monotonic()
    try:
        async with asyncio.timeout(SECONDS):
            async for _ in call:
                pass
    except grpc.aio.AioRpcError as error:
        return read_refusal(error).info.metadata["reason"], time.monotonic() - began
    raise AssertionError("the stream ended without a reason")


async def until(guarded: Guarded, pair: Pair, expected: str) -> str:
    """The outcome once the node has looked at its files, within the time that it has for that."""
    deadline = time.monotonic() + END_SECONDS
    found = await outcome(guarded, pair)
    while found != expected and time.monotonic() < deadline:
        found = await outcome(guarded, pair)
    return found


@pytest.mark.evidence(
    "PRT4", asset="the port", threat="wrong certificates", mitigation="checked by TLS and by the node"
)
async def test_ten_kinds_of_wrong_certificate_are_refused_and_a_right_one_is_served_throughout(
    guarded: Guarded, tmp_path: Path
) -> None:
    pki = guarded.pki
    good, leaving, streaming = (
        pki.leaf("PA", *READS, name=name) for name in ("good", "leaving", "streaming")
    )
    old = Pki(tmp_path / "old", name="old")
    impostor = Pki(tmp_path / "impostor")  # an authority of the same names with other keys
    rotated = old.leaf("PA", *READS)
    guarded.put(authorities=pki.bundle + old.bundle)
    assert await until(guarded, rotated, "OK") == "OK"
    hour = dt.timedelta(hours=1)
    strangers = Pki(tmp_path / "strangers", name="strangers")
    found = {
        "none": await outcome(guarded, None),
        "expired": await outcome(guarded, pki.forged("PA", *READS, begins=-2 * hour, ends=-hour)),
        "future": await outcome(guarded, pki.forged("PA", *READS, begins=hour, ends=2 * hour)),
        "wrong authority": await outcome(guarded, strangers.leaf("PA", *READS)),
        "wrong use": await outcome(guarded, pki.forged("PA", *READS, use=ExtendedKeyUsageOID.SERVER_AUTH)),
        "wrong name": await outcome(guarded, pki.leaf("KB", *READS)),
        "other key with the same name": await outcome(guarded, impostor.leaf("PA", *READS, name="good")),
    }
    async with connected(guarded, streaming) as stubs, connected(guarded, rotated) as rotating:
        assert await read_on(rotating) == "OK"
        calls = [
            stubs.chain.StreamEvents(ledger_pb2.StreamEventsRequest(contract="nothing")) for _ in range(3)
        ]
        ends = [asyncio.create_task(ended(call)) for call in calls]
        assert await read_on(stubs) == "OK"
        pki.revoke(leaving)
        pki.revoke(streaming)
        guarded.put(authorities=pki.bundle, crls=pki.crls)
        found["revoked"] = await until(guarded, leaving, "UNIDENTIFIED: the certificate is revoked")
        told = [await end for end in ends]
        found["revoked mid-stream"] = f"stream: {told[0][0]}"
        found["revoked, call on the open connection"] = await read_on(stubs)
        found["rotated away, call on the open connection"] = await read_on(rotating)
    found["rotated away"] = await outcome(guarded, rotated)
    assert await outcome(guarded, good) == "OK"
    slowest = max(seconds for _, seconds in told)
    print(
        f"wrong certificates: {len(found)} tried, {len(found)} refused; streams ended within {slowest:.2f} s"
    )
    print("\n".join(f"  {kind}: {said}" for kind, said in found.items()))
    assert found == {
        "none": HANDSHAKE,
        "expired": HANDSHAKE,
        "future": HANDSHAKE,
        "wrong authority": HANDSHAKE,
        "wrong use": HANDSHAKE,
        "wrong name": "NOT_PERMITTED: the certificate does not permit reading what belongs to another member",
        "other key with the same name": HANDSHAKE,
        "revoked": "UNIDENTIFIED: the certificate is revoked",
        "revoked mid-stream": "stream: the certificate is revoked",
        "revoked, call on the open connection": "UNIDENTIFIED: the certificate is revoked",
        "rotated away, call on the open connection": (
            "UNIDENTIFIED: the certificate is of no authority that this node trusts now"
        ),
        "rotated away": HANDSHAKE,
    }
    assert slowest < END_SECONDS


@pytest.mark.evidence(
    "ACT15",
    asset="the port",
    threat="a certificate that ended",
    mitigation="checked on each call and while streams run",
)
async def test_a_certificate_that_ends_ends_its_stream_and_stops_nobody_elses_blocks(
    guarded: Guarded,
) -> None:
    pki = guarded.pki
    short = pki.forged("PA", *READS, ends=dt.timedelta(seconds=4))
    async with connected(guarded, short) as stubs, connected(guarded, pki.leaf("PA", *READS)) as others:
        call = stubs.chain.StreamEvents(ledger_pb2.StreamEventsRequest(contract="nothing"))
        assert await read_on(stubs) == "OK"
        before = (await others.status()).height
        reason, seconds = await ended(call)
        assert reason == "the certificate is not good at this time"
        assert (await read_on(stubs)).startswith("UNIDENTIFIED")
        for raw in transfers(5, 77):
            assert (await others.submit(raw)).code == 0
        after = (await others.status()).height
    print(
        f"expired peer: its stream ended after {seconds:.1f} s; others went from height {before} to {after}"
    )
    assert after > before
    assert await outcome(guarded, short) == HANDSHAKE


async def test_a_client_is_not_deceived_about_the_node(guarded: Guarded, tmp_path: Path) -> None:
    pair = guarded.pki.leaf("PA", *READS)
    assert await outcome(guarded, pair, trust=Pki(tmp_path / "other").bundle) == HANDSHAKE
    renamed = guarded.node.target.replace("127.0.0.1", "127.0.0.2")
    async with secure_channel(renamed, pair, guarded.pki.bundle) as channel:
        assert await read_on(Stubs(channel)) == HANDSHAKE


async def test_an_authority_of_the_same_name_signs_no_revocation_list(
    guarded: Guarded, tmp_path: Path
) -> None:
    pair = guarded.pki.leaf("PA", *READS)
    impostor = Pki(tmp_path / "impostor")
    guarded.put(crls=impostor.crls)
    assert await outcome(guarded, pair) == "OK"
    deadline = time.monotonic() + END_SECONDS
    while "no authority in tls_ca signed" not in guarded.node.log() and time.monotonic() < deadline:
        assert await outcome(guarded, pair) == "OK"
    assert "no authority in tls_ca signed" in guarded.node.log()
    guarded.put(crls=guarded.pki.crls)


@pytest.mark.evidence(
    "ACT15",
    asset="the port",
    threat="a certificate that ended",
    mitigation="checked on each call and while streams run",
)
async def test_a_list_that_goes_back_behind_the_one_in_force_is_refused(guarded: Guarded) -> None:
    pki = guarded.pki
    older, pair = pki.crls, pki.leaf("PA", *READS)
    pki.revoke(pair)
    guarded.put(crls=pki.crls)
    assert await until(guarded, pair, "UNIDENTIFIED: the certificate is revoked") != "OK"
    guarded.put(crls=older)
    deadline = time.monotonic() + END_SECONDS
    while "is older than the one in force" not in guarded.node.log() and time.monotonic() < deadline:
        assert await outcome(guarded, pair) != "OK"
    assert "is older than the one in force" in guarded.node.log()
    assert await outcome(guarded, pair) != "OK"
    guarded.put(crls=pki.crls)


@pytest.mark.evidence(
    "ACT16",
    asset="confidentiality",
    threat="an authority names others' members",
    mitigation="a table of whom each may name",
)
async def test_a_member_that_no_authority_may_name_is_refused(guarded: Guarded) -> None:
    pki = guarded.pki
    leaf = pki.leaf("PA", *READS)
    below = by_hand(  # a leaf that signs: it is no authority
        leaf.leaf.subject, _key(leaf), ["vostro://PA/role/reader"], chain=[leaf.leaf, *pki.issuing.chain[:1]]
    )
    assert await outcome(guarded, below) == HANDSHAKE
    two = by_hand(
        pki.issuing.certificate.subject, pki.issuing._key,
        ["vostro://PA/role/reader", "vostro://KB/role/reader"], chain=pki.issuing.chain[:1],
    )  # fmt: skip
    assert "more than one member" in await outcome(guarded, two)
    nameless = by_hand(pki.issuing.certificate.subject, pki.issuing._key, [], chain=pki.issuing.chain[:1])
    assert "names no member" in await outcome(guarded, nameless)
    unused = pki.forged("PA", *READS, use=None)
    assert "does not name its use" in await outcome(guarded, unused)
    for uri in ("vostro://PA/role/king", "vostro://pa/role/reader", "vostro://PA", "vostro:///role/reader"):
        odd = by_hand(pki.issuing.certificate.subject, pki.issuing._key, [uri], chain=pki.issuing.chain[:1])
        assert (await outcome(guarded, odd)).startswith("UNIDENTIFIED"), uri


def _key(pair: Pair) -> Any:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    return load_pem_private_key(pair.key, None)
