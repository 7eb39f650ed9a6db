"""Mutual TLS from files that are read again when they change: a certificate is renewed, an authority
replaced, a revocation list published without stopping the node.

What always holds: the files are put in force together or not at all; those that do not fit together, that
others can read, or that go back behind a list in force are refused with a line in the log, and the ones
before stay.
"""

import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from node.config import ConfigError, NodeConfig
from node.keys.files import check_private
from node.keys.keystore import KeystoreError
from node.keys.pem import UNREADABLE, load_crls
from node.services.identity import Ending, Trust, endings, load_mapping

_log = structlog.get_logger("vostro.tls")

Stamp = tuple[tuple[int, int, int], ...]


class _InForce(NamedTuple):
    """What the files said when they were read last."""

    stamp: Stamp
    configuration: Any
    trust: Trust
    endings: list[Ending]


class CertificateFiles:
    """The node's certificate chain and key, the authorities whose clients it lets in, what they revoked, and
    whose certificates are whose. New connections get the newest files, and calls are judged by them.
    """

    def __init__(
        self,
        certificate: Path,
        key: Path,
        authorities: Path,
        *,
        crl: Path | None = None,
        identities: Path | None = None,
        member: str = "",
    ) -> None:
        """member: who runs the node. Raises ConfigError where the files cannot be used."""
        self._certificate, self._key, self._authorities = certificate, key, authorities
        self._crl, self._identities = crl, identities
        self._member = member
        self._turn = threading.Lock()
        self._refused: Stamp | None = None
        self._complaint = ""
        self._now = self._read()
        self._given = self._now.configuration

    @classmethod
    def of(cls, config: NodeConfig) -> "CertificateFiles | None":
        """The files that a configuration names; None without TLS. Raises ConfigError."""
        if not (config.tls_certificate and config.tls_key and config.tls_ca):
            return None
        return cls(
            config.tls_certificate,
            config.tls_key,
            config.tls_ca,
            crl=config.tls_crl,
            identities=config.tls_identities,
            member=config.member,
        )

    @property
    def trust(self) -> Trust:
        """Who is let in now."""
        return self._now.trust

    def revokes(self, path: Sequence[str]) -> bool:
        """Whether one of the certificates of an identity's ``path`` is revoked now."""
        return self._now.trust.revokes(path)

    def endings(self) -> list[Ending]:
        """What of it ends, and when."""
        return self._now.endings

    def credentials(self) -> grpc.ServerCredentials:
        """Credentials that require a client's certificate, and follow the files."""
        return grpc.dynamic_ssl_server_credentials(
            self._now.configuration, self._newer, require_client_authentication=True
        )

    def refresh(self) -> None:
        """Put the files in force where they have changed and can be used. Any thread."""
        with self._turn:
            try:
                stamp = self._stamps()
                if stamp in (self._now.stamp, self._refused):
                    return
                self._refused = stamp
                found = self._read()
                found.trust.check_follows(self._now.trust)
            except (ConfigError, OSError) as error:
                if str(error) != self._complaint:
                    self._complaint = str(error)
                    _log.error(
                        "the TLS files changed and cannot be used; the ones before stay in force",
                        reason=self._complaint,
                    )
                return
            self._now, self._complaint = found, ""
        _log.info("the TLS files changed and are in force")

    def _newer(self) -> Any:
        """What new connections are to use from now on; None: what they used before. Called by gRPC for each,
        from threads of its own, which makes everything for TLS anew of whatever it is given.
        """
        self.refresh()
        with self._turn:
            if self._given is self._now.configuration:
                return None
            self._given = self._now.configuration
            return self._given

    def _paths(self) -> Sequence[Path]:
        optional = [path for path in (self._crl, self._identities) if path]
        return [self._certificate, self._key, self._authorities, *optional]

    def _stamps(self) -> Stamp:
        stats = (path.stat() for path in self._paths())
        return tuple((stat.st_mtime_ns, stat.st_size, stat.st_mode) for stat in stats)

    def _read(self) -> _InForce:
        try:
            stamp = self._stamps()
            certificate, key, authorities = (
                path.read_bytes() for path in (self._certificate, self._key, self._authorities)
            )
            check_private(self._key)
            crls = load_crls(self._crl) if self._crl else []
        except OSError as error:
            raise ConfigError(f"{error.filename}: {error.strerror}") from error
        except KeystoreError as error:
            raise ConfigError(str(error)) from error
        chain = self._check_pair(certificate, key)
        trusted = _parsed(self._authorities, partial(x509.load_pem_x509_certificates, authorities))
        mapping = load_mapping(self._identities) if self._identities else None
        trust = Trust(trusted, crls, mapping, member=self._member)
        configuration = grpc.ssl_server_certificate_configuration(
            [(key, certificate)], root_certificates=authorities
        )
        return _InForce(stamp, configuration, trust, endings(chain, trust))

    def _check_pair(self, certificate: bytes, key: bytes) -> list[x509.Certificate]:
        """The node's chain. Raises ConfigError where a file is no PEM of its kind, or the key is not the
        certificate's.
        """
        chain: list[x509.Certificate] = _parsed(
            self._certificate, partial(x509.load_pem_x509_certificates, certificate)
        )
        held = _parsed(self._key, partial(load_pem_private_key, key, None)).public_key()
        form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if chain[0].public_key().public_bytes(*form) != held.public_bytes(*form):
            raise ConfigError(f"{self._key} is not the key of the certificate in {self._certificate}")
        return chain


def _parsed(path: Path, parse: Callable[[], Any]) -> Any:
    try:
        return parse()
    except UNREADABLE as error:
        raise ConfigError(f"{path}: not the PEM file that belongs here: {error}") from error
