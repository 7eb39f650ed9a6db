"""Mutual TLS from three files, read again when they change, so that a certificate is renewed without stopping
the node.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import structlog
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from node.config import ConfigError

_log = structlog.get_logger("vostro.tls")

Stamp = tuple[tuple[int, int], ...]


class CertificateFiles:
    """The node's certificate chain, its key, and the authorities whose clients it lets in (PEM). New
    connections get the newest files.
    """

    def __init__(self, certificate: Path, key: Path, authorities: Path) -> None:
        """Raises ConfigError where the files cannot be used."""
        self._paths = (certificate, key, authorities)
        self._stamp, self._configuration = self._read()

    def credentials(self) -> grpc.ServerCredentials:
        """Credentials that require a client's certificate, and follow the files."""
        return grpc.dynamic_ssl_server_credentials(
            self._configuration, self._newer, require_client_authentication=True
        )

    def _newer(self) -> Any:
        """The files' content where it has changed and can be used; None otherwise. Called by gRPC for each
        connection.
        """
        try:
            if self._stamps() == self._stamp:
                return None
            self._stamp, self._configuration = self._read()
        except (ConfigError, OSError) as error:
            _log.error(
                "the TLS files changed and cannot be used; the ones before stay in force", reason=str(error)
            )
            return None
        _log.info("the TLS files changed and are in force for new connections")
        return self._configuration

    def _stamps(self) -> Stamp:
        return tuple((stat.st_mtime_ns, stat.st_size) for stat in (path.stat() for path in self._paths))

    def _read(self) -> tuple[Stamp, Any]:
        try:
            stamp = self._stamps()
            certificate, key, authorities = (path.read_bytes() for path in self._paths)
        except OSError as error:
            raise ConfigError(f"{error.filename}: {error.strerror}") from error
        _check_pair(self._paths, certificate, key, authorities)
        return stamp, grpc.ssl_server_certificate_configuration(
            [(key, certificate)], root_certificates=authorities
        )


def _check_pair(paths: tuple[Path, ...], certificate: bytes, key: bytes, authorities: bytes) -> None:
    """Raises ConfigError where a file is no PEM of its kind, or the key is not the certificate's."""
    named = _parsed(paths[0], partial(x509.load_pem_x509_certificates, certificate))[0].public_key()
    held = _parsed(paths[1], partial(load_pem_private_key, key, None)).public_key()
    _parsed(paths[2], partial(x509.load_pem_x509_certificates, authorities))
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if named.public_bytes(*form) != held.public_bytes(*form):
        raise ConfigError(f"{paths[1]} is not the key of the certificate in {paths[0]}")


def _parsed(path: Path, parse: Callable[[], Any]) -> Any:
    try:
        return parse()
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{path}: not the PEM file that belongs here: {error}") from error
