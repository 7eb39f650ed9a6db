"""Keys for signing on the client's side: read from encrypted key files (node/keys/keystore.py says how they
are protected).
"""

from pathlib import Path

from node.keys import keystore
from node.keys.signer import Signer


def load_key(path: Path | str, passphrase: bytes | Path) -> Signer:
    """The signer in a key file. passphrase: itself, or the path of a file with mode 0600 that holds it.

    Raises: keystore.KeystoreError, whose text says what to put right.
    """
    secret = keystore.read_passphrase(passphrase) if isinstance(passphrase, Path) else passphrase
    return keystore.load_signer(Path(path), secret)
