"""PKCS#8: keys that OpenSSL or a bank's own tools made, and keys for them (RFC 5958; RFC 8410 for Ed25519).

What leaves is encrypted (PBES2 with scrypt's or PBKDF2's work by ``cryptography``'s choice) and never plain;
what comes in may be plain, because that is what `openssl genpkey` writes.
"""

from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    derive_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_der_private_key,
    load_pem_private_key,
)

from node.keys.keystore import KeystoreError, PassphraseRefused
from node.keys.signer import Ed25519Signer, P256Signer, SoftwareSigner

PKCS8_BYTES_MAX: Final = 16 * 1024
_PEM: Final = b"-----BEGIN "


class ForeignKeyRefused(KeystoreError):
    """The bytes are no private key that this program can sign with, or cannot be written as one."""

    code = "FOREIGN_KEY_REFUSED"


def read_pkcs8(data: bytes, password: bytes | None) -> SoftwareSigner:
    """The signer of a private key in PEM or DER. password: None where the key is not encrypted.

    Raises: ForeignKeyRefused, PassphraseRefused.
    """
    if len(data) > PKCS8_BYTES_MAX:
        raise ForeignKeyRefused("larger than a private key can be: give one key's PEM or DER file")
    load = load_pem_private_key if data.lstrip().startswith(_PEM) else load_der_private_key
    try:
        key = load(data, password or None)
    except TypeError:  # a password without need, or none where there is need; both are told apart by it
        wanted = "is encrypted: its passphrase is needed" if not password else "is not encrypted: give none"
        raise PassphraseRefused(f"the key {wanted}") from None
    except UnsupportedAlgorithm:
        raise ForeignKeyRefused("a key of a kind or encryption that is not known here") from None
    except ValueError:
        reason = "the passphrase does not open it, or it is damaged" if password else "it is no private key"
        error = PassphraseRefused if password else ForeignKeyRefused
        raise error(f"the key cannot be read: {reason}") from None
    if isinstance(key, Ed25519PrivateKey):
        return Ed25519Signer(key.private_bytes_raw())
    if isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1):
        return P256Signer(key.private_numbers().private_value.to_bytes(32, "big"))
    raise ForeignKeyRefused("keys are ed25519, or p256 (prime256v1); this one is of another kind")


def write_pkcs8(signer: SoftwareSigner, password: bytes) -> bytes:
    """The signer's key as an encrypted PEM. Raises: ForeignKeyRefused, PassphraseRefused."""
    if not password:
        raise PassphraseRefused("a key leaves encrypted only: give a passphrase")
    secret = signer.secret()
    key: Ed25519PrivateKey | EllipticCurvePrivateKey
    match signer.algorithm:
        case Ed25519Signer.algorithm:
            key = Ed25519PrivateKey.from_private_bytes(secret)
        case P256Signer.algorithm:
            key = derive_private_key(int.from_bytes(secret, "big"), SECP256R1())
        case other:
            raise ForeignKeyRefused(f"a key of {other} is not written as PKCS#8")
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password))


def is_encrypted(data: bytes) -> bool:
    """Whether a passphrase has to be asked for before the key is read."""
    try:
        read_pkcs8(data, None)
    except PassphraseRefused:
        return True
    except KeystoreError:
        return False
    return False
