"""Mutual TLS on a live port: who is let in, who is not, and certificates that are renewed while the node
runs.
"""

import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from node.config import ConfigError
from node.keys.certificates import Role
from node.keys.files import write_file
from node.pb.vostro.ledger.v1 import ledger_pb2
from node.pb.vostro.ledger.v1.ledger_pb2_grpc import LedgerServiceStub
from node.services.server import Parts, build_server
from node.services.tls import CertificateFiles
from tests.certificates_kit import Pair, Pki
from tests.kit import Consortium
from tests.services_kit import WORD_SECONDS, DirectEngine, backup, config_of, no_file

pytestmark = pytest.mark.asyncio


@pytest.fixture(scope="module")
def consortium(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("consortium"))


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("strangers"), "strangers")


def save(folder: Path, pair: Pair, authority: bytes) -> dict[str, Path]:
    """The node's three files, as configuration."""
    files = {"tls_certificate": pair.certificate, "tls_key": pair.key, "tls_ca": authority}
    for name, content in files.items():
        write_file(folder / name, content, private=name == "tls_key", replace=True)
    return {name: folder / name for name in files}


@asynccontextmanager
async def node(folder: Path, pair: Pair, authority: bytes) -> AsyncIterator[int]:
    """A node behind mutual TLS; its port."""
    world = Consortium()
    parts = Parts(DirectEngine(world), world.ledger, world.store, None, no_file, backup, "1")
    options = save(folder, pair, authority)
    face = build_server(config_of(folder, **options), parts)
    await face.start()
    try:
        yield face.port
    finally:
        await face.stop(0)


async def is_let_in(port: int, pair: Pair | None, *, trust: bytes, tls: bool = True) -> bool:
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
async def test_only_a_client_with_a_certificate_of_the_consortium_is_let_in(
    tmp_path: Path, consortium: Pki, strangers: Pki
) -> None:
    bank, late = consortium.leaf("PA", Role.READER), dt.timedelta(hours=-1)
    async with node(tmp_path, consortium.server(), consortium.bundle) as port:
        trust = consortium.bundle
        assert await is_let_in(port, bank, trust=trust)
        assert not await is_let_in(port, None, trust=trust)
        assert not await is_let_in(port, strangers.leaf("PA", Role.READER), trust=trust)
        assert not await is_let_in(
            port, consortium.forged("PA", Role.READER, begins=2 * late, ends=late), trust=trust
        )
        assert not await is_let_in(port, bank, trust=strangers.bundle)
        assert not await is_let_in(port, None, trust=trust, tls=False)


@pytest.mark.evidence(
    "ACT7", asset="the port", threat="a client of another authority", mitigation="mutual TLS"
)
async def test_a_renewed_certificate_is_in_force_for_new_connections_and_a_bad_one_never(
    tmp_path: Path, consortium: Pki, strangers: Pki
) -> None:
    async with node(tmp_path, strangers.server(), consortium.bundle) as port:
        bank, trust = consortium.leaf("PA", Role.READER), consortium.bundle
        assert not await is_let_in(port, bank, trust=trust)
        save(tmp_path, consortium.server(), trust)
        assert await is_let_in(port, bank, trust=trust)
        key = tmp_path / "tls_key"
        right = key.read_bytes()
        key.write_bytes(consortium.server().key)
        assert await is_let_in(port, bank, trust=trust), "a key of another certificate was put in force"
        key.write_bytes(right)
        key.chmod(0o640)
        assert await is_let_in(port, bank, trust=trust), "a key that others can read was put in force"
        (tmp_path / "tls_ca").unlink()
        assert await is_let_in(port, bank, trust=trust), "a file that is missing was put in force"


@pytest.mark.evidence(
    "ACT9", asset="the port", threat="reading and altering on the way", mitigation="mutual TLS"
)
async def test_files_that_cannot_be_used_are_told_by_name_at_the_start(
    tmp_path: Path, consortium: Pki
) -> None:
    good = consortium.server()
    for name, content in (
        ("tls_certificate", b"no pem"),
        ("tls_key", b"no pem"),
        ("tls_ca", b"no pem"),
        ("tls_key", consortium.server().key),
        ("tls_key", None),
    ):
        files = save(tmp_path, good, consortium.bundle)
        if content is None:
            files[name].unlink()
        else:
            files[name].write_bytes(content)
        with pytest.raises(ConfigError, match=name):
            CertificateFiles(*files.values())
    files = save(tmp_path, good, consortium.bundle)
    files["tls_key"].chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        CertificateFiles(*files.values())
