"""Certificates, requests and revocation lists out of PEM files, read whole or refused.

The library decodes most parts only when they are looked at, and raises what it likes then. What always holds:
what is given from here has every part looked at that is looked at later, and a file that has not is refused
with one kind of error.
"""

from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from node.keys.files import read_file
from node.keys.keystore import KeystoreError

PEM_BYTES_MAX: Final = 4 * 1024 * 1024
UNREADABLE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What the library raises for something that is none, or that it does not know."""

_CRL_END: Final = b"-----END X509 CRL-----"


class CertificateError(KeystoreError):
    """A certificate, request or authority cannot be used; the text says why."""

    code = "CERTIFICATE"


def load_request(path: Path) -> x509.CertificateSigningRequest:
    """A request's file. Raises KeystoreError."""
    try:
        request = x509.load_pem_x509_csr(read_file(path, PEM_BYTES_MAX))
        _read_whole(request)
    except UNREADABLE as error:
        raise CertificateError(f"{path}: not a certificate request in PEM") from error
    return request


def load_certificates(path: Path) -> list[x509.Certificate]:
    """All certificates of a PEM file. Raises KeystoreError."""
    try:
        found = x509.load_pem_x509_certificates(read_file(path, PEM_BYTES_MAX))
        for certificate in found:
            _read_whole(certificate)
    except UNREADABLE as error:
        raise CertificateError(f"{path}: no certificate in PEM") from error
    return found


def load_crls(path: Path) -> list[x509.CertificateRevocationList]:
    """All revocation lists of a PEM file. Raises KeystoreError."""
    parts = read_file(path, PEM_BYTES_MAX).split(_CRL_END)[:-1]
    try:
        found = [x509.load_pem_x509_crl(part.strip() + b"\n" + _CRL_END + b"\n") for part in parts]
        for crl in found:
            _read_whole(crl)
    except UNREADABLE as error:
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


def _read_whole(
    found: x509.Certificate | x509.CertificateSigningRequest | x509.CertificateRevocationList,
) -> None:
    """Look at every part that is looked at later: the library decodes them only then. Raises UNREADABLE."""
    parts: list[object] = [found.extensions]
    match found:
        case x509.Certificate():
            parts += [found.subject, found.issuer, found.not_valid_before_utc, found.not_valid_after_utc]
        case x509.CertificateSigningRequest():
            parts.append(found.subject)
        case x509.CertificateRevocationList():
            parts += [found.issuer, found.next_update_utc, crl_number(found)]
            parts += [row.serial_number for row in found]
