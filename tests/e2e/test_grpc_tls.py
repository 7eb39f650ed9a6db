"""Mutual TLS on a live port: who is let in, who is not, and certificates that are renewed while the node
runs.
"""

import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from node.config import ConfigError
from node.pb.vostro.ledger.v1 import ledger_pb2
from node.pb.vostro.ledger.v1.ledger_pb2_grpc import LedgerServiceStub
from node.services.server import Parts, build_server
from node.services.tls import CertificateFiles
from tests.kit import Consortium
from tests.services_kit import WORD_SECONDS, DirectEngine, backup, config_of, no_file

pytestmark = pytest.mark.asyncio


@dataclass
class Pair:
    """A certificate and its key, in PEM."""

    certificate: bytes
    key: bytes


class Authority:
    """Issues certificates."""

    def __init__(self, name: str) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        built = self._builder(self.name, self.key).add_extension(constraints, critical=True)
        self.certificate = built.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def issue(self, name: str, *, days: int = 1) -> Pair:
        """A pair for a name, good on loopback, until so many days from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        hosts = x509.SubjectAlternativeName(
            [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
        )
        built = self._builder(subject, key, days=days).add_extension(hosts, critical=False)
        pem = built.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM)
        return Pair(pem, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, days: int = 1
    ) -> x509.CertificateBuilder:
        end = dt.datetime.now(dt.UTC) + dt.timedelta(days=days)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(end - dt.timedelta(days=3))
            .not_valid_after(end)
        )


CONSORTIUM, STRANGERS = Authority("consortium"), Authority("strangers")


def save(folder: Path, pair: Pair, authority: bytes) -> dict[str, Path]:
    """The node's three files, as configuration."""
    files = {"tls_certificate": pair.certificate, "tls_key": pair.key, "tls_ca": authority}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return {name: folder / name for name in files}


@asynccontextmanager
async def node(folder: Path, pair: Pair) -> AsyncIterator[int]:
    """A node behind mutual TLS; its port."""
    world = Consortium()
    parts = Parts(DirectEngine(world), world.ledger, world.store, None, no_file, backup, "1")
    options = save(folder, pair, CONSORTIUM.certificate)
    face = build_server(config_of(folder, **options), parts)
    await face.start()
    try:
        yield face.port
    finally:
        await face.stop(0)


async def is_let_in(
    port: int, pair: Pair | None, *, trust: bytes = CONSORTIUM.certificate, tls: bool = True
) -> bool:
    """Whether a client with this certificate gets an answer."""
    key, certificate = (pair.key, pair.certificate) if pair else (None, None)
    credentials = grpc.ssl_channel_credentials(trust, key, certificate)
    target, options = f"127.0.0.1:{port}", [("grpc.use_local_subchannel_pool", 1)]
    opened = (
        grpc.aio.secure_channel(target, credentials, options) if tls else grpc.aio.insecure_channel(target)
    )
    async with opened as channel:
        stub = LedgerServiceStub(channel)
        try:
            await stub.GetStatus(ledger_pb2.GetStatusRequest(), timeout=WORD_SECONDS)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            return False
        return True


@pytest.mark.evidence("ACT8", asset="the port", threat="a stranger connects", mitigation="mutual TLS")
async def test_only_a_client_with_a_certificate_of_the_consortium_is_let_in(tmp_path: Path) -> None:
    async with node(tmp_path, CONSORTIUM.issue("node")) as port:
        assert await is_let_in(port, CONSORTIUM.issue("bank"))
        assert not await is_let_in(port, None)
        assert not await is_let_in(port, STRANGERS.issue("bank"))
        assert not await is_let_in(port, CONSORTIUM.issue("late", days=-1))
        assert not await is_let_in(port, CONSORTIUM.issue("bank"), trust=STRANGERS.certificate)
        assert not await is_let_in(port, None, tls=False)


@pytest.mark.evidence(
    "ACT7", asset="the port", threat="a client of another authority", mitigation="mutual TLS"
)
async def test_a_renewed_certificate_is_in_force_for_new_connections_and_a_bad_one_never(
    tmp_path: Path,
) -> None:
    async with node(tmp_path, STRANGERS.issue("node")) as port:
        bank = CONSORTIUM.issue("bank")
        assert not await is_let_in(port, bank)
        save(tmp_path, CONSORTIUM.issue("node"), CONSORTIUM.certificate)
        assert await is_let_in(port, bank)
        (tmp_path / "tls_key").write_bytes(CONSORTIUM.issue("other").key)
        assert await is_let_in(port, bank), "a key of another certificate was put in force"
        (tmp_path / "tls_ca").unlink()
        assert await is_let_in(port, bank), "a file that is missing was put in force"


@pytest.mark.evidence(
    "ACT9", asset="the port", threat="reading and altering on the way", mitigation="mutual TLS"
)
async def test_files_that_cannot_be_used_are_told_by_name_at_the_start(tmp_path: Path) -> None:
    good = CONSORTIUM.issue("node")
    for name, content in (
        ("tls_certificate", b"no pem"),
        ("tls_key", b"no pem"),
        ("tls_ca", b"no pem"),
        ("tls_key", CONSORTIUM.issue("other").key),
        ("tls_key", None),
    ):
        files = save(tmp_path, good, CONSORTIUM.certificate)
        if content is None:
            files[name].unlink()
        else:
            files[name].write_bytes(content)
        with pytest.raises(ConfigError, match=name):
            CertificateFiles(*files.values())
