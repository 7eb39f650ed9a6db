"""SM4-GCM (GB/T 32907; RFC 8998, section 3.2) in the form that ``cryptography`` gives AES-GCM, so that a key
file is read and written alike under both.
"""

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

KEY_BYTES: Final = 16
TAG_BYTES: Final = 16


class Sm4Gcm:
    """One key, to encrypt and to decrypt with."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        """key: 16 bytes. Raises: ValueError for another length."""
        self._key = algorithms.SM4(key)

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes) -> bytes:
        """The ciphertext with its tag of 16 bytes behind it. nonce: 12 bytes, never twice under one key."""
        encryptor = Cipher(self._key, modes.GCM(nonce)).encryptor()
        encryptor.authenticate_additional_data(associated_data)
        return encryptor.update(data) + encryptor.finalize() + encryptor.tag

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes) -> bytes:
        """What was encrypted. Raises: InvalidTag where key, nonce, bytes or associated data are others."""
        if len(data) < TAG_BYTES:
            raise InvalidTag
        decryptor = Cipher(self._key, modes.GCM(nonce, data[-TAG_BYTES:])).decryptor()
        decryptor.authenticate_additional_data(associated_data)
        return decryptor.update(data[:-TAG_BYTES]) + decryptor.finalize()
