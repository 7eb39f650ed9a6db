"""Certificates for tests: an authority as ``vostro ca`` makes it, its leaves, and wrong ones made by hand."""

import datetime as dt
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from node.keys.certificates import BUNDLE, CRL, Authority, Holder, Kind, Role, uri_of
from node.keys.files import write_file
from node.keys.keystore import COST_MIN
from tests.processes import PASSPHRASE

HOSTS = ("localhost", "127.0.0.1")
CLIENTS = ExtendedKeyUsageOID.CLIENT_AUTH


@dataclass(frozen=True)
class Pair:
    """A certificate with its chain, and its key, in PEM."""

    certificate: bytes
    key: bytes

    @property
    def leaf(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.certificate)


@dataclass
class Pki:
    """A root and an issuing authority below it, in a folder."""

    folder: Path
    name: str = "consortium"
    root: Authority = field(init=False)
    issuing: Authority = field(init=False)

    def __post_init__(self) -> None:
        self.root = Authority.create_root(
            self.folder / "root", f"{self.name} root", PASSPHRASE, cost=COST_MIN
        )
        self.issuing = self.root.create_issuing(
            self.folder / "issuing", f"{self.name} issuing", PASSPHRASE, cost=COST_MIN
        )

    @property
    def bundle(self) -> bytes:
        """What nodes and clients trust."""
        return (self.folder / "issuing" / BUNDLE).read_bytes()

    @property
    def crls(self) -> bytes:
        """Both authorities' lists."""
        return b"".join((self.folder / part / CRL).read_bytes() for part in ("root", "issuing"))

    def server(self, *hosts: str) -> Pair:
        """A node's leaf."""
        return self._issued(Holder(Kind.SERVER, "node", hosts or HOSTS))

    def leaf(self, member: str, *roles: Role, name: str = "app") -> Pair:
        """A client's leaf."""
        return self._issued(Holder(Kind.APPLICATION, name, (), member, roles))

    def revoke(self, pair: Pair, reason: str = "keyCompromise") -> None:
        """On the issuing authority's list from now on."""
        self.issuing.revoke(pair.leaf, reason)

    def forged(self, member: str, *roles: Role, **options: Any) -> Pair:
        """A leaf signed by the issuing authority's key that ``vostro ca`` would not make; see ``by_hand``."""
        return by_hand(
            self.issuing.certificate.subject,
            self.issuing._key,
            [uri_of(member, role) for role in roles],
            chain=self.issuing.chain[:1],
            **options,
        )

    def _issued(self, holder: Holder) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        request = (
            x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
        )
        return Pair(self.issuing.issue(request, holder), _pem(key))


def by_hand(
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    uris: list[str],
    *,
    begins: dt.timedelta = dt.timedelta(minutes=-5),
    ends: dt.timedelta = dt.timedelta(days=30),
    use: x509.ObjectIdentifier | None = CLIENTS,
    name: str = "app",
    is_authority: bool = False,
    chain: list[x509.Certificate] | None = None,
) -> Pair:
    """A certificate with whatever a test wants wrong in it."""
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(1 + secrets.randbits(100))
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    )
    if uris:
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris])
        built = built.add_extension(names, critical=False)
    if use:
        built = built.add_extension(x509.ExtendedKeyUsage([use]), critical=False)
    made = [built.sign(issuer_key, hashes.SHA256()), *(chain or [])]
    return Pair(b"".join(certificate.public_bytes(Encoding.PEM) for certificate in made), _pem(key))


def save(folder: Path, node: Pair, authorities: bytes, crls: bytes) -> dict[str, str]:
    """The node's TLS files, as its configuration names them."""
    write_file(folder / "node.pem", node.certificate, replace=True)
    write_file(folder / "node.key", node.key, private=True, replace=True)
    write_file(folder / "ca.pem", authorities, replace=True)
    write_file(folder / "crl.pem", crls, replace=True)
    return {"tls_certificate": "node.pem", "tls_key": "node.key", "tls_ca": "ca.pem", "tls_crl": "crl.pem"}


def secure_channel(target: str, pair: Pair | None, trust: bytes) -> grpc.aio.Channel:
    """A connection of its own."""
    key, certificate = (pair.key, pair.certificate) if pair else (None, None)
    credentials = grpc.ssl_channel_credentials(trust, key, certificate)
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", 32 << 20)]
    return grpc.aio.secure_channel(target, credentials, options)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
