"""Keys for signing on the client's side: in encrypted key files (node/keys/keystore.py says how they are
protected) or in a hardware security module (node/keys/pkcs11.py).
"""

from pathlib import Path

from node.keys.loader import load_signer
from node.keys.signer import Signer


def load_key(path: Path | str, passphrase: bytes | Path) -> Signer:
    """The signer in a key file, or in a token where ``path`` is a ``pkcs11:`` URI. passphrase: of the file,
    or the token's PIN: itself, or the path of a file with mode 0600 that holds it.

    Raises: keystore.KeystoreError, whose text says what to put right.
    """
    return load_signer(path, passphrase)
