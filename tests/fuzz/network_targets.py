"""Decoders of what other banks and nodes send: entries to a network, snapshots, certificates and lists."""

from dataclasses import replace as plan_with
from functools import cache
from typing import Any, Final

from cryptography import x509
from msgspec.structs import replace

from node.config import ConfigError
from node.engine.errors import Degraded
from node.keys.certificates import Role
from node.keys.keystore import KeystoreError
from node.keys.pem import crl_number, load_certificates, load_crls, load_request
from node.ledger.hashing import INTERNATIONAL, SNAPSHOT_CHUNK
from node.ledger.snapshot import (
    Forged,
    Plan,
    WrongChunk,
    manifest_header,
    open_chunk,
    read_manifest,
)
from node.network.entry import format_entry, parse_entry
from node.network.errors import NetworkRefused
from node.services.identity import Trust, load_mapping
from tests.certificates_kit import Pki
from tests.fuzz.edge_targets import written
from tests.fuzz.storage_targets import folder
from tests.fuzz.target import Target
from tests.kit import LIMITS
from tests.unit.test_network_entry import Bank
from tests.unit.test_snapshot import app_hash, made


def entries() -> list[bytes]:
    """Entries of banks with every kind of key."""
    return [format_entry(Bank(letter).sign()) for letter in ("a", "b")]


def run_entry(data: bytes) -> None:
    """An entry is refused, or every signature in it is good and it reads back."""
    try:
        signed = parse_entry(data, "entry")
    except NetworkRefused:
        return
    assert parse_entry(format_entry(signed), "entry") == signed


def manifests() -> list[bytes]:
    """The manifest of a snapshot."""
    return [made()[1][0]]


def run_manifest(data: bytes) -> None:
    """A manifest is forged, or the one that belongs to the trusted app hash."""
    assert isinstance(manifest_header(data), bytes)
    try:
        plan = read_manifest(INTERNATIONAL, app_hash(), LIMITS.lifetime_ms, data)
    except Forged:
        return
    assert plan.header.height > 0
    assert plan.chunks == plan.snapshot.chunks


@cache
def _plan() -> Plan:
    return read_manifest(INTERNATIONAL, app_hash(), LIMITS.lifetime_ms, made()[1][0])


def chunks() -> list[bytes]:
    """The chunks of a snapshot."""
    return list(made()[1][1:])


def run_chunk(data: bytes) -> None:
    """In every place of a plan that names its hash a chunk is forged or the one that was made."""
    plan, digest = _plan(), INTERNATIONAL.digest(SNAPSHOT_CHUNK + data)
    windows = len(plan.manifest.window)
    for index in range(1, plan.chunks):
        entries_: list[Any] = list(plan.manifest.window if index <= windows else plan.manifest.state)
        at = index - 1 if index <= windows else index - 1 - windows
        entries_[at] = replace(entries_[at], hash=digest)
        named = {"window" if index <= windows else "state": tuple(entries_)}
        try:
            open_chunk(plan_with(plan, manifest=replace(plan.manifest, **named)), index, data)
        except (Forged, WrongChunk):
            continue
        assert data in chunks()


@cache
def pki() -> Pki:
    """Two authorities of one process."""
    return Pki(folder() / "pki")


@cache
def _trust() -> Trust:
    authorities = x509.load_pem_x509_certificates(pki().bundle)
    return Trust(authorities, member="PA")


@cache
def _leaf() -> bytes:
    return pki().leaf("PA", Role.READER).certificate


def certificates() -> list[bytes]:
    """A client's certificate, a node's, an authority's, revocation lists."""
    return [_leaf(), pki().server().certificate, pki().bundle, pki().crls]


def run_certificate(data: bytes) -> None:
    """A certificate is nobody's unless an authority signed it; a file of them is read or refused."""
    for shown, chain in ((data, ()), (_leaf(), (data,))):
        try:
            identity = _trust().identify(shown, chain)
        except Degraded:
            continue
        assert identity.member in {"PA", ""}
    path = written(data)
    for load in (load_certificates, load_crls, load_request):
        try:
            found = load(path)
        except KeystoreError:
            continue
        assert found
    _trust()._verdicts.clear()


def run_crl(data: bytes) -> None:
    """A list that is read has a number and is taken only where an authority signed it."""
    try:
        lists = load_crls(written(data))
    except KeystoreError:
        return
    assert all(crl_number(one) >= 0 for one in lists)
    try:
        Trust(_trust().authorities, lists)
    except ConfigError:
        return


IDENTITIES: Final = b"""[[identity]]
subject = "CN=app,O=Bank"
member = "PA"
roles = ["reader", "submitter"]

[[authority]]
sha256 = "%b"
members = ["PA", "KB"]
""" % (b"ab" * 32)


def run_identities(data: bytes) -> None:
    """A file of mappings is read or refused."""
    try:
        found = load_mapping(written(data))
    except ConfigError:
        return
    assert all(bool(row.subject) != bool(row.sha256) for row in found.identity)


TARGETS: Final = (
    Target("network-entry", "json", entries, run_entry),
    Target("snapshot-manifest", "msgpack", manifests, run_manifest),
    Target("snapshot-chunk", "msgpack", chunks, run_chunk),
    Target("certificate", "bytes", certificates, run_certificate, 16_384),
    Target("revocation-list", "bytes", lambda: [pki().crls], run_crl, 16_384),
    Target("identities", "bytes", lambda: [IDENTITIES], run_identities, 4_096),
)
