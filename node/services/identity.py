"""Who calls: a client's certificate becomes a member with roles, or a refusal that says why.

TLS has checked that the client holds the certificate's key and that the certificate chains to an authority
when the connection began. Here it is checked again for each call, against the authorities, revocation lists
and mappings that are in force now: a connection outlives the day on which its certificate was revoked.

What always holds: a verdict is remembered by the certificate's bytes and forgotten when anything that it
rests on changes; time is looked at each call; an authority that is given members speaks for those alone.
"""

import datetime as dt
import hashlib
import time
import tomllib
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from node.config import ConfigError
from node.engine.errors import Degraded, NodeError
from node.keys.certificates import Role, named_by
from node.keys.pem import UNREADABLE, CertificateError, crl_number

PATH_MAX: Final = 8
VERDICTS_MAX: Final = 20_000
IDENTITIES_BYTES_MAX: Final = 4 * 1024 * 1024
OWN_NODE_ONLY: Final = frozenset({Role.OPERATOR, Role.MAKER, Role.CHECKER})
"""Roles that count only on the node of the holder's own member."""
EVERY_MEMBER: Final = "*"


class Identity(NamedTuple):
    """Who calls. whole: may read and do everything, as the node's own machine may without TLS. name: for
    logs. certificate: SHA-256 of the certificate that says so, in hex; empty where there is none. path: how
    revocation lists name it and the authorities above it (``listed_as``).
    """

    member: str
    roles: frozenset[Role]
    name: str
    whole: bool = False
    certificate: str = ""
    path: tuple[str, ...] = ()


LOCAL_OPERATOR: Final = Identity("", frozenset(Role), "local operator", whole=True)
"""A caller on loopback without TLS: whoever has an account on the node's machine."""
NOBODY: Final = Identity("", frozenset(), "nobody")
"""A caller on loopback without TLS where the configuration gives it nothing."""


CALLER: ContextVar[Identity] = ContextVar("caller", default=NOBODY)
"""Who makes the call that is answered in this task."""


class Mapped(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A certificate of a bank's own PKI, by its subject (RFC 4514) or its SHA-256, and whose it is."""

    member: str
    roles: tuple[Role, ...]
    subject: str = ""
    sha256: str = ""


class Speaker(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An authority by its SHA-256, and the members that it may name."""

    sha256: str
    members: tuple[str, ...]


class Identities(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file ``tls_identities``: own PKIs by configuration."""

    identity: tuple[Mapped, ...] = ()
    authority: tuple[Speaker, ...] = ()


def load_mapping(path: Path) -> Identities:
    """The file's content. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            data = file.read(IDENTITIES_BYTES_MAX).decode()
        found: Identities = msgspec.convert(tomllib.loads(data), Identities)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (ValueError, msgspec.ValidationError) as error:
        raise ConfigError(f"{path}: {error}") from error
    for row in found.identity:
        if bool(row.subject) == bool(row.sha256):
            raise ConfigError(f"{path}: an identity has a subject or a sha256, and not both")
    return found


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What was found of a certificate; error: why it is refused; until: when it ends, seconds since 1970."""

    identity: Identity = NOBODY
    error: str = ""
    begins: float = 0.0
    until: float = 0.0


class Trust:
    """Authorities, revocation lists and mappings of one moment. A changed file makes a new one."""

    def __init__(
        self,
        authorities: Sequence[x509.Certificate],
        crls: Sequence[x509.CertificateRevocationList] = (),
        mapping: Identities | None = None,
        *,
        member: str = "",
    ) -> None:
        """member: who runs this node. Raises ConfigError where a list is of no authority that is trusted."""
        self.authorities = tuple(authorities)
        self.crls = tuple(crls)
        self._member = member
        mapping = mapping or Identities()
        self._subjects = {row.subject: row for row in mapping.identity if row.subject}
        self._prints = {row.sha256.lower(): row for row in mapping.identity if row.sha256}
        self._speakers = {row.sha256.lower(): row.members for row in mapping.authority}
        self._revoked: dict[str, None] = {}
        roots = sum(authority.subject == authority.issuer for authority in authorities)
        if self._subjects and roots > 1 and not self._speakers:
            raise ConfigError(
                "a subject is mapped while several roots are trusted, each of which could issue it: say with "
                "[[authority]] in tls_identities which members each may name"
            )
        for crl in crls:
            if not any(_signed_list(crl, authority) for authority in authorities):
                raise ConfigError(
                    f"no authority in tls_ca signed the revocation list of {crl.issuer.rfc4514_string()}"
                )
            issuer = crl.issuer.public_bytes()
            self._revoked.update(dict.fromkeys(_listed(issuer, row.serial_number) for row in crl))
        self._verdicts: dict[bytes, _Verdict] = {}

    def check_follows(self, before: "Trust") -> None:
        """Raises ConfigError where a revocation list is older than the one in force."""
        known = {crl.issuer: crl_number(crl) for crl in before.crls}
        for crl in self.crls:
            if crl_number(crl) < known.get(crl.issuer, 0):
                raise ConfigError(
                    f"the revocation list of {crl.issuer.rfc4514_string()} is older than the one in force"
                )

    def revokes(self, path: Iterable[str]) -> bool:
        """Whether one of these is revoked, which an identity had as its ``path``."""
        return any(each in self._revoked for each in path)

    def identify(self, pem: bytes, chain: Iterable[bytes] = ()) -> Identity:
        """Whose certificate this is. chain: what the client sent beside it. Raises Degraded UNIDENTIFIED."""
        verdict = self._verdicts.get(pem)
        if verdict is None:
            verdict = self._judge(pem, chain)
            if len(self._verdicts) >= VERDICTS_MAX:
                self._verdicts.clear()
            self._verdicts[pem] = verdict
        if verdict.error:
            raise Degraded(NodeError.UNIDENTIFIED, reason=verdict.error)
        if not verdict.begins <= time.time() < verdict.until:
            raise Degraded(NodeError.UNIDENTIFIED, reason="the certificate is not good at this time")
        return verdict.identity

    def _judge(self, pem: bytes, chain: Iterable[bytes]) -> _Verdict:
        try:
            leaf = x509.load_pem_x509_certificate(pem)
            sent = [found for data in chain for found in x509.load_pem_x509_certificates(data)]
            path = self._path(leaf, sent)
            _check_use(leaf)
            identity = self._named(leaf, path)
        except CertificateError as error:
            return _Verdict(error=str(error))
        except UNREADABLE:
            return _Verdict(error="the certificate cannot be read")
        begins = max(certificate.not_valid_before_utc for certificate in path)
        until = min(certificate.not_valid_after_utc for certificate in path)
        return _Verdict(identity, begins=begins.timestamp(), until=until.timestamp())

    def _path(self, leaf: x509.Certificate, sent: Sequence[x509.Certificate]) -> list[x509.Certificate]:
        """From the leaf to the highest authority that is known, each signed by the next and not revoked.

        Raises CertificateError.
        """
        path = [leaf]
        while len(path) <= PATH_MAX:
            at = path[-1]
            above = self._above(at, sent, depth=len(path) - 1)
            if above is None:
                break
            if listed_as(at) in self._revoked:
                raise CertificateError(
                    "the certificate is revoked" if at is leaf else "the certificate's authority is revoked"
                )
            path.append(above)
            if above.subject == above.issuer:
                break
        if not any(certificate in self.authorities for certificate in path[1:]):
            raise CertificateError("the certificate is of no authority that this node trusts now")
        return path

    def _above(
        self, certificate: x509.Certificate, sent: Sequence[x509.Certificate], *, depth: int
    ) -> x509.Certificate | None:
        if certificate.subject == certificate.issuer and certificate in self.authorities:
            return None
        for above in (*self.authorities, *sent):
            if above.subject == certificate.issuer and _is_signed(certificate, above):
                _check_authority(above, depth)
                return above
        return None

    def _named(self, leaf: x509.Certificate, path: Sequence[x509.Certificate]) -> Identity:
        """Raises CertificateError."""
        mapped = self._prints.get(_sha256(leaf)) or self._subjects.get(leaf.subject.rfc4514_string())
        if mapped:
            member, roles = mapped.member, frozenset(mapped.roles)
        else:
            named = named_by(leaf)
            if named is None:
                raise CertificateError("the certificate names no member, and no configuration maps it to one")
            member, roles = named
        if self._speakers and not any(
            member in members or EVERY_MEMBER in members
            for members in (self._speakers.get(_sha256(above), ()) for above in path[1:])
        ):
            raise CertificateError("the certificate's authority does not speak for the member")
        if self._member and member != self._member:
            roles -= OWN_NODE_ONLY
        common = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        name = str(common[0].value) if common else ""
        listed = tuple(listed_as(each) for each in path)
        return Identity(member, roles, name, certificate=_sha256(leaf), path=listed)


def listed_as(certificate: x509.Certificate) -> str:
    """How a revocation list names it: SHA-256 of its issuer's name, in DER, and its serial number, in hex."""
    return _listed(certificate.issuer.public_bytes(), certificate.serial_number)


def _listed(issuer: bytes, serial: int) -> str:
    return hashlib.sha256(b"%d/" % serial + issuer).hexdigest()


def _sha256(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex()


def _is_signed(certificate: x509.Certificate, above: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(above)
    except (*UNREADABLE, InvalidSignature):
        return False
    return True


def _signed_list(crl: x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    try:
        key = authority.public_key()
        return crl.issuer == authority.subject and crl.is_signature_valid(key)  # type: ignore[arg-type]
    except UNREADABLE:
        return False


def _check_authority(above: x509.Certificate, depth: int) -> None:
    """An authority that may stand ``depth`` authorities above a leaf. Raises CertificateError."""
    try:
        constraints = above.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        raise CertificateError("the certificate is signed by one that is no authority") from None
    if not constraints.ca or (constraints.path_length is not None and constraints.path_length < depth):
        raise CertificateError("the certificate is signed by one that may not")
    try:
        usage = above.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return
    if not usage.key_cert_sign:
        raise CertificateError("the certificate is signed by one that may not")


def _check_use(leaf: x509.Certificate) -> None:
    """Raises CertificateError unless it is a client's certificate and says so."""
    try:
        uses = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        raise CertificateError("the certificate does not name its use: it must be for clients") from None
    if ExtendedKeyUsageOID.CLIENT_AUTH not in uses:
        raise CertificateError("the certificate is not for clients")


class Ending(NamedTuple):
    """Something of a node's doors that ends. life: how long it is good in all."""

    what: str
    until: dt.datetime
    life: dt.timedelta


def endings(certificates: Sequence[x509.Certificate], trust: Trust) -> list[Ending]:
    """What ends of a node's own certificate (the first), its authorities and its revocation lists."""
    found = [_ending("node certificate", certificates[0])]
    found += [_ending(f"authority {_name(authority.subject)}", authority) for authority in trust.authorities]
    for crl in trust.crls:
        if crl.next_update_utc:
            what = f"revocation list of {_name(crl.issuer)}"
            found.append(Ending(what, crl.next_update_utc, crl.next_update_utc - crl.last_update_utc))
    return found


def _ending(what: str, certificate: x509.Certificate) -> Ending:
    until = certificate.not_valid_after_utc
    return Ending(what, until, until - certificate.not_valid_before_utc)


def _name(name: x509.Name) -> str:
    common = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(common[0].value) if common else name.rfc4514_string()


DAYS_AHEAD: Final = (30, 14, 3)
"""How long before its end something is announced, unless it is good for less than twice as long."""


def announced(ending: Ending, now: dt.datetime) -> int | None:
    """The announcement that is due: 30, 14 or 3 days ahead, 0 once it has ended; None while there is time."""
    if now >= ending.until:
        return 0
    due = [
        days
        for days in DAYS_AHEAD
        if ending.until - now <= dt.timedelta(days=days) and 2 * dt.timedelta(days=days) <= ending.life
    ]
    return min(due) if due else None
