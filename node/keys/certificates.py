"""Certificates: an authority of the consortium's own, what it issues, and how a certificate names a member.

A certificate says who calls by URIs among its subject's alternative names, one for each role, all of one
member, so that any PKI can issue it:

    vostro://MEMBER/role/ROLE        for example vostro://PA/role/submitter

An authority is a directory: ``authority.pem`` (its certificate and what stands above it), ``authority.json``
(its P-256 key, an ordinary encrypted key file), ``issued.jsonl`` (a line for each certificate), ``crl.pem``
(its revocation list, from the first day on), and ``bundle.pem`` (what nodes are to trust). The root signs
issuing authorities (path length 1) and stays offline; an issuing authority signs leaves (path length 0).
Profiles are those of RFC 5280: basic constraints and key usage are critical, leaves name their use, nothing
is good for longer than what signed it.

What always holds: a leaf says what the authority decides, never what the request asks for, but for its key; a
number is 127 bits of chance; a file is written whole or not at all.
"""

import datetime as dt
import json
import secrets
from collections.abc import Iterable, Sequence
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from node.keys.files import read_file, write_file
from node.keys.keystore import (
    COST_DEFAULT,
    KeyFileMalformed,
    KeystoreError,
    load_signer,
    read_metadata,
    save_signer,
)
from node.keys.signer import P256Signer, generate

CERTIFICATE: Final = "authority.pem"
KEY: Final = "authority.json"
REGISTER: Final = "issued.jsonl"
CRL: Final = "crl.pem"
BUNDLE: Final = "bundle.pem"
SCHEME: Final = "vostro://"
MEMBER_CHARACTERS_MAX: Final = 16
ROOT_DAYS: Final = 3_650
ISSUING_DAYS: Final = 1_095
LEAF_DAYS: Final = 90
LEAF_DAYS_MAX: Final = 398
CRL_DAYS: Final = 45
BACKDATED: Final = dt.timedelta(minutes=5)
"""Clocks differ: a certificate is good a little before it was made."""
PEM_BYTES_MAX: Final = 4 * 1024 * 1024


class CertificateError(KeystoreError):
    """A certificate, request or authority cannot be used; the text says why."""

    code = "CERTIFICATE"


class Role(StrEnum):
    """What a certificate's holder may do at a door; node/services/access.py says what each opens."""

    READER = "reader"
    SUBMITTER = "submitter"
    MAKER = "maker"
    CHECKER = "checker"
    OPERATOR = "operator"
    AUDITOR = "auditor"
    REGULATOR = "regulator"


class Kind(StrEnum):
    """Whom a leaf is for."""

    SERVER = "server"
    PERSON = "person"
    APPLICATION = "application"


class Named(NamedTuple):
    """The member and the roles that a certificate names."""

    member: str
    roles: frozenset[Role]


class Holder(NamedTuple):
    """What an authority writes into a leaf. hosts: names and addresses of a server; member and roles: of a
    person or an application.
    """

    kind: Kind
    name: str
    hosts: Sequence[str] = ()
    member: str = ""
    roles: Sequence[Role] = ()


REASONS: Final = {
    reason.value: reason
    for reason in (
        x509.ReasonFlags.key_compromise,
        x509.ReasonFlags.superseded,
        x509.ReasonFlags.cessation_of_operation,
        x509.ReasonFlags.affiliation_changed,
        x509.ReasonFlags.ca_compromise,
    )
}
"""Why a certificate is revoked, as RFC 5280 names it."""


# --- what a certificate names -----------------------------------------------------------------------------


def named_by(certificate: x509.Certificate) -> Named | None:
    """The member and roles of a certificate's URIs; None where it has none of ours.

    Raises CertificateError where they contradict one another or name no role that there is.
    """
    uris = [uri for uri in _uris(certificate) if uri.startswith(SCHEME)]
    found = [_parsed_uri(uri) for uri in uris]
    if not found:
        return None
    if len({member for member, _ in found}) > 1:
        raise CertificateError("the certificate names more than one member")
    return Named(found[0][0], frozenset(role for _, role in found))


def uri_of(member: str, role: Role) -> str:
    """How a certificate says a role of a member. Raises CertificateError."""
    if not _is_member(member):
        raise CertificateError(f"{member!r} is no member id")
    return f"{SCHEME}{member}/role/{role.value}"


def _parsed_uri(uri: str) -> tuple[str, Role]:
    member, _, role = uri.removeprefix(SCHEME).partition("/role/")
    if not _is_member(member) or role not in Role._value2member_map_:
        raise CertificateError("the certificate names no member or a role that there is not")
    return member, Role(role)


def _is_member(text: str) -> bool:
    allowed = set("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")
    return 0 < len(text) <= MEMBER_CHARACTERS_MAX and set(text) <= allowed and text[0] != "-"


def _uris(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return list(names.value.get_values_for_type(x509.UniformResourceIdentifier))


# --- an authority -----------------------------------------------------------------------------------------


class Authority:
    """An authority with its key: it issues and revokes. ``create_root``, ``create_issuing`` and ``open`` make
    one.
    """

    def __init__(self, directory: Path, key: ec.EllipticCurvePrivateKey) -> None:
        """See ``open``."""
        self.directory = directory
        self.chain = load_certificates(directory / CERTIFICATE)
        self.certificate = self.chain[0]
        self._key = key
        if self.certificate.public_key() != key.public_key():
            raise CertificateError(f"{directory}: the key is not that of the authority's certificate")

    @classmethod
    def open(cls, directory: Path, passphrase: bytes) -> "Authority":
        """An authority's directory. Raises KeystoreError."""
        return cls(directory, _private(directory / KEY, passphrase))

    @classmethod
    def create_root(
        cls, directory: Path, name: str, passphrase: bytes, *, days: int = ROOT_DAYS, cost: int = COST_DEFAULT
    ) -> "Authority":
        """Make a root in a new directory. Raises KeystoreError."""
        key = _new_key(directory, passphrase, cost)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        built = _authority(subject, subject, key.public_key(), key.public_key(), _span(days), path_length=1)
        write_file(directory / CERTIFICATE, _pem([built.sign(key, hashes.SHA256())]))
        root = cls(directory, key)
        root._found()
        return root

    def create_issuing(
        self,
        directory: Path,
        name: str,
        passphrase: bytes,
        *,
        days: int = ISSUING_DAYS,
        cost: int = COST_DEFAULT,
    ) -> "Authority":
        """Make an authority below this one in a new directory; only a root can. Raises KeystoreError."""
        if not _constraints(self.certificate).path_length:
            raise CertificateError(f"{self.directory}: only a root makes issuing authorities")
        key = _new_key(directory, passphrase, cost)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        span = self._within(_span(days))
        built = _authority(
            subject, self.certificate.subject, key.public_key(), self._key.public_key(), span, path_length=0
        )
        made = built.sign(self._key, hashes.SHA256())
        self._enter(made, "authority", name)
        write_file(directory / CERTIFICATE, _pem([made, *self.chain]))
        issuing = Authority(directory, key)
        issuing._found()
        return issuing

    def issue(
        self, request: x509.CertificateSigningRequest, holder: Holder, *, days: int = LEAF_DAYS
    ) -> bytes:
        """A leaf for the request's key, with the chain above it but for the root, in PEM.

        Raises CertificateError where the request does not prove its key, or the holder is none.
        """
        if not 1 <= days <= LEAF_DAYS_MAX:
            raise CertificateError(f"a leaf is good for 1 to {LEAF_DAYS_MAX} days")
        key = request.public_key()
        if not request.is_signature_valid or not isinstance(key, ec.EllipticCurvePublicKey):
            raise CertificateError("the request is not signed by its own key of an elliptic curve")
        if _constraints(self.certificate).path_length:
            raise CertificateError(f"{self.directory}: a root signs authorities only")
        made = self._leaf(key, holder, self._within(_span(days))).sign(self._key, hashes.SHA256())
        self._enter(made, holder.kind.value, holder.name)
        return _pem([made, *[above for above in self.chain if above.subject != above.issuer]])

    def revoke(self, certificate: x509.Certificate, reason: str) -> None:
        """Put a certificate that this authority issued on its list, and write the list.

        Raises CertificateError where it issued no such certificate or there is no such reason.
        """
        if reason not in REASONS:
            raise CertificateError(f"a reason is one of {', '.join(REASONS)}")
        try:
            certificate.verify_directly_issued_by(self.certificate)
        except (ValueError, TypeError, InvalidSignature) as error:
            raise CertificateError("this authority did not issue the certificate") from error
        if any(row.serial_number == certificate.serial_number for row in self._revoked()):
            raise CertificateError("the certificate is revoked already")
        entry = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number)
        entry = entry.revocation_date(dt.datetime.now(dt.UTC))
        entry = entry.add_extension(x509.CRLReason(REASONS[reason]), critical=False)
        self._write_crl([*self._revoked(), entry.build()], CRL_DAYS)

    def renew_crl(self, *, days: int = CRL_DAYS) -> None:
        """Write the revocation list again, good for so many days."""
        self._write_crl(self._revoked(), days)

    # --- inside -------------------------------------------------------------------------------------------

    def _leaf(
        self, key: ec.EllipticCurvePublicKey, holder: Holder, span: tuple[dt.datetime, dt.datetime]
    ) -> x509.CertificateBuilder:
        server = holder.kind is Kind.SERVER
        if server != bool(holder.hosts) or server == bool(holder.member and holder.roles):
            raise CertificateError("a server has hosts; a person and an application have a member and roles")
        names: list[x509.GeneralName] = [_host(host) for host in holder.hosts]
        names += [
            x509.UniformResourceIdentifier(uri_of(holder.member, role)) for role in sorted(set(holder.roles))
        ]
        subject = [x509.NameAttribute(NameOID.COMMON_NAME, holder.name)]
        if holder.member:
            subject.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, holder.member))
        use = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
        return (
            _builder(x509.Name(subject), self.certificate.subject, key, self._key.public_key(), span)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([use]), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
        )

    def _within(self, span: tuple[dt.datetime, dt.datetime]) -> tuple[dt.datetime, dt.datetime]:
        return max(span[0], self.certificate.not_valid_before_utc), min(
            span[1], self.certificate.not_valid_after_utc
        )

    def _found(self) -> None:
        """What a new authority has besides its certificate: an empty list, and what nodes are to trust."""
        self._write_crl([], CRL_DAYS)
        write_file(self.directory / BUNDLE, _pem(self.chain))

    def _revoked(self) -> list[x509.RevokedCertificate]:
        path = self.directory / CRL
        return list(load_crls(path)[0]) if path.exists() else []

    def _write_crl(self, rows: Iterable[x509.RevokedCertificate], days: int) -> None:
        path, now = self.directory / CRL, dt.datetime.now(dt.UTC)
        number = crl_number(load_crls(path)[0]) + 1 if path.exists() else 1
        built = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(now)
            .next_update(now + dt.timedelta(days=days))
            .add_extension(x509.CRLNumber(number), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
        )
        for row in rows:
            built = built.add_revoked_certificate(row)
        crl = built.sign(self._key, hashes.SHA256())
        write_file(path, crl.public_bytes(Encoding.PEM), replace=True)

    def _enter(self, made: x509.Certificate, kind: str, name: str) -> None:
        """A line in the register; kept before the certificate is handed out."""
        named = named_by(made)
        row = {
            "serial": f"{made.serial_number:x}",
            "kind": kind,
            "name": name,
            "member": named.member if named else "",
            "roles": sorted(named.roles) if named else [],
            "until": made.not_valid_after_utc.isoformat(),
            "sha256": made.fingerprint(hashes.SHA256()).hex(),
        }
        path = self.directory / REGISTER
        before = path.read_bytes() if path.exists() else b""
        write_file(path, before + json.dumps(row).encode() + b"\n", replace=True)


# --- the holder's side ------------------------------------------------------------------------------------


def make_request(key_path: Path, request_path: Path, name: str) -> None:
    """Make a key, which never leaves this machine, and the request that an authority turns into a leaf.

    The key is PEM (PKCS#8) without a passphrase, mode 0600: TLS libraries read it when they start. Raises
    KeystoreError where a file is there already.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    write_file(key_path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), private=True)
    write_file(request_path, request.public_bytes(Encoding.PEM))


def load_request(path: Path) -> x509.CertificateSigningRequest:
    """A request's file. Raises KeystoreError."""
    try:
        return x509.load_pem_x509_csr(read_file(path, PEM_BYTES_MAX))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateError(f"{path}: not a certificate request in PEM") from error


def load_certificates(path: Path) -> list[x509.Certificate]:
    """All certificates of a PEM file. Raises KeystoreError."""
    try:
        return x509.load_pem_x509_certificates(read_file(path, PEM_BYTES_MAX))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateError(f"{path}: no certificate in PEM") from error


_CRL_END: Final = b"-----END X509 CRL-----"


def load_crls(path: Path) -> list[x509.CertificateRevocationList]:
    """All revocation lists of a PEM file. Raises KeystoreError."""
    parts = read_file(path, PEM_BYTES_MAX).split(_CRL_END)[:-1]
    try:
        found = [x509.load_pem_x509_crl(part.strip() + b"\n" + _CRL_END + b"\n") for part in parts]
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateError(f"{path}: not a revocation list in PEM") from error
    if not found:
        raise CertificateError(f"{path}: no revocation list in PEM")
    return found


def crl_number(crl: x509.CertificateRevocationList) -> int:
    """Its place in the succession of its authority's lists; 0 where it has none."""
    try:
        return int(crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number)
    except x509.ExtensionNotFound:
        return 0


# --- building ---------------------------------------------------------------------------------------------


def _new_key(directory: Path, passphrase: bytes, cost: int) -> ec.EllipticCurvePrivateKey:
    if directory.exists() and any(directory.iterdir()):
        raise CertificateError(f"{directory} is not empty: name a directory that is new or empty")
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    signer = generate("p256")
    save_signer(directory / KEY, signer, passphrase, label="certificate authority", cost=cost)
    return _derived(signer.secret())


def _private(path: Path, passphrase: bytes) -> ec.EllipticCurvePrivateKey:
    if read_metadata(path).algorithm != P256Signer.algorithm:
        raise KeyFileMalformed(f"{path}: an authority's key is a p256 key")
    signer = load_signer(path, passphrase)
    if not isinstance(signer, P256Signer):
        raise KeyFileMalformed(f"{path}: an authority's key is a p256 key in a file")
    return _derived(signer.secret())


def _derived(scalar: bytes) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(scalar, "big"), ec.SECP256R1())


def _span(days: int) -> tuple[dt.datetime, dt.datetime]:
    now = dt.datetime.now(dt.UTC)
    return now - BACKDATED, now + dt.timedelta(days=days)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    issuer_key: ec.EllipticCurvePublicKey,
    span: tuple[dt.datetime, dt.datetime],
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(1 + secrets.randbits(127))
        .not_valid_before(span[0])
        .not_valid_after(span[1])
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    )


def _authority(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    issuer_key: ec.EllipticCurvePublicKey,
    span: tuple[dt.datetime, dt.datetime],
    *,
    path_length: int,
) -> x509.CertificateBuilder:
    return (
        _builder(subject, issuer, key, issuer_key, span)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _constraints(certificate: x509.Certificate) -> x509.BasicConstraints:
    return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(certificates: Iterable[x509.Certificate]) -> bytes:
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)
