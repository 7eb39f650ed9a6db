"""One way to a signer, wherever its key is: a key file, or a key in a token named by a ``pkcs11:`` URI.

Whoever takes a reference takes either; a node's configuration and every ``--key`` do.
"""

from collections.abc import Callable
from pathlib import Path

from node.keys import keystore, pkcs11
from node.keys.keystore import KeyMetadata
from node.keys.signer import Signer
from node.keys.token_uri import is_token_uri, parse_uri
from node.ledger.hashing import INTERNATIONAL, key_id

Passphrase = bytes | Path | Callable[[], bytes]
"""The passphrase of a key file or PIN of a token: itself, a file of mode 0600 that holds it, or who asks."""


def load_signer(
    reference: Path | str, passphrase: Passphrase, *, sessions: int = pkcs11.SESSIONS_DEFAULT
) -> Signer:
    """The signer that a reference names. A token's own ``pin-source`` goes before the passphrase. sessions:
    of a token.

    Raises: keystore.KeystoreError, whose text says what to put right.
    """
    if not is_token_uri(reference):
        return keystore.load_signer(Path(reference), _read(passphrase))
    uri = parse_uri(str(reference))
    return pkcs11.TokenSigner(uri, _read(uri.pin_source or passphrase), sessions=sessions)


def read_public(reference: Path | str) -> KeyMetadata:
    """The public half of what a reference names; needs neither passphrase nor PIN. Raises: KeystoreError."""
    if not is_token_uri(reference):
        return keystore.read_metadata(Path(reference))
    key = pkcs11.read_public(parse_uri(str(reference)))
    name = key_id(INTERNATIONAL, key.algorithm, key.public_key)
    return KeyMetadata(Path(reference), key.algorithm, key.public_key, name, key.label, "")


def _read(passphrase: Passphrase) -> bytes:
    if isinstance(passphrase, Path):
        return keystore.read_passphrase(passphrase)
    return passphrase if isinstance(passphrase, bytes) else passphrase()
