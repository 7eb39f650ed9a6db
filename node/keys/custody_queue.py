"""The custody queue at rest: one encrypted file a request, in a folder of the node that only its user enters.

    custody.key          a key file (keystore.py) under the custody passphrase: an Ed25519 secret, the root
    audit.jsonl, .head   audit.py; the root signs the head
    queue/<id>           "vostro/custody/1" 0x00, a nonce of 12 bytes, AES-256-GCM of the request's encoding

The file key is HKDF-SHA256 (RFC 5869) of the root's 32 bytes, without salt, with the info
``vostro/custody/queue/1`` 0x00 and the chain's identity; the associated data is the tag and the request's id.
So a change of passphrase encrypts one file anew, and a request's file is good under its own name on its own
chain alone. That an old file was put back is seen by the audit log, whose lines number what became of a
request.
"""

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from node.keys.custody import ID_BYTES, Request
from node.keys.files import check_private, read_file, write_file
from node.keys.keystore import COST_DEFAULT, load_signer, save_signer
from node.keys.signer import Ed25519Signer, Signer
from node.ledger import codec

ROOT: Final = "custody.key"
QUEUE: Final = "queue"
TAG: Final = b"vostro/custody/1\0"
INFO: Final = b"vostro/custody/queue/1\0"
NONCE_BYTES: Final = 12
KEY_BYTES: Final = 32
FILE_BYTES_MAX: Final = 1024 * 1024

_decode: Final[Callable[[bytes], Request]] = codec.decoder(Request)


class QueueDamaged(Exception):
    """A file of the queue cannot be opened, or is not the newest; the text says which."""


class Queue:
    """The files of one queue. One process, one thread at a time."""

    def __init__(self, folder: Path, root: Signer, chain_id: bytes) -> None:
        """root: what ``load_root`` gave."""
        self._folder = folder / QUEUE
        self._folder.mkdir(mode=0o700, exist_ok=True)
        check_private(self._folder)
        secret: Any = root
        derived = HKDF(SHA256(), KEY_BYTES, salt=None, info=INFO + chain_id).derive(secret.secret())
        self._cipher = AESGCM(derived)

    def load(self) -> dict[bytes, Request]:
        """Every request, by id. Raises QueueDamaged, KeystoreError."""
        names = sorted(path.name for path in self._folder.iterdir() if not path.name.startswith("."))
        return {request.id: request for request in map(self._read, names)}

    def put(self, request: Request) -> None:
        """Write a request, durable when this returns. Raises KeystoreError."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, codec.encode(request), TAG + request.id)
        write_file(self._folder / request.id.hex(), TAG + nonce + sealed, private=True, replace=True)

    def remove(self, request_id: bytes) -> None:
        """Forget a request. Raises OSError."""
        (self._folder / request_id.hex()).unlink(missing_ok=True)

    def _read(self, name: str) -> Request:
        path = self._folder / name
        data = read_file(path, FILE_BYTES_MAX)
        start = len(TAG) + NONCE_BYTES
        try:
            named = bytes.fromhex(name)
            if len(named) != ID_BYTES or not data.startswith(TAG):
                raise ValueError
            request = _decode(self._cipher.decrypt(data[len(TAG) : start], data[start:], TAG + named))
        except (ValueError, InvalidTag):
            raise QueueDamaged(f"{path}: no request of this node, or it was changed: restore it") from None
        return request


def load_root(folder: Path, passphrase: bytes, *, cost: int = COST_DEFAULT) -> Signer:
    """The custody key of a folder, which is made, with the key, where there is none. Raises KeystoreError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_private(folder)
    path = folder / ROOT
    if not path.exists():
        made = Ed25519Signer(Ed25519Signer.new_secret())
        save_signer(path, made, passphrase, label="custody queue and audit log", cost=cost)
    return load_signer(path, passphrase)
