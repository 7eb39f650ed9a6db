"""The form in which a document is kept: encrypted in pieces, so that it is never whole in memory.

    sealed   = "vostro/vault/1" || 0x00 || cipher (1 byte) || pieces
    piece i  = AEAD under the document's key of the content's i-th 65,536 bytes (the last: 1 to as many), with
               its tag of 16 bytes behind it; nonce i (11 bytes, big-endian) || 1 for the last, else 0;
               associated data: the 16 bytes before the pieces
    cipher   1: AES-256-GCM, of chains of the suite international; 2: SM4-GCM (RFC 8998), of guomi
    secret   = key (32 bytes; with SM4 16) || blind (32 bytes), both chance, wrapped for each reader
    id       = H("vostro/vault/document/1" || 0x00 || blind || content)
    name     = H("vostro/vault/sealed/1" || 0x00 || sealed), under which the bytes lie and are checked

This is the STREAM construction (Hoang, Reyhanitabar, Rogaway and Vizar, CRYPTO 2015): pieces cannot be left
out, put in another order, cut off or added. A key is used for one document only. GCM does not commit to its
key, so that by itself one file could show two readers two contents; the id, which every reader recomputes,
does not let it. And for want of the blind nobody can find a content by guessing at its id.
"""

import secrets
from collections.abc import Iterable, Iterator
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from node.keys.sm4 import Sm4Gcm
from node.ledger import hashing
from node.ledger.hashing import GUOMI, HASH_BYTES, Suite

PIECE_BYTES: Final = 65_536
TAG_BYTES: Final = 16
BLIND_BYTES: Final = HASH_BYTES
MAGIC: Final = b"vostro/vault/1\0"
HEADER_BYTES: Final = len(MAGIC) + 1
_SEALED_BYTES: Final = PIECE_BYTES + TAG_BYTES
_KEY_BYTES: Final = {1: 32, 2: 16}


class SealRefused(Exception):
    """Bytes are not the document that they are said to be; the text says in what."""


def sealed_bytes(size_bytes: int) -> int:
    """How large a document of so many bytes is when it is sealed."""
    return HEADER_BYTES + size_bytes + TAG_BYTES * -(-size_bytes // PIECE_BYTES)


class Sealer:
    """Seals one document under a key of its own. ``pieces`` first; then the rest is known."""

    def __init__(self, suite: Suite) -> None:
        self._suite = suite
        cipher = _cipher_of(suite)
        self._key = secrets.token_bytes(_KEY_BYTES[cipher])
        self._blind = secrets.token_bytes(BLIND_BYTES)
        self._header = MAGIC + bytes([cipher])
        self.size_bytes = 0
        self.document = b""
        self.sealed = b""

    @property
    def secret(self) -> bytes:
        """What a reader needs: wrap it, and keep it nowhere else."""
        return self._key + self._blind

    def pieces(self, content: Iterable[bytes]) -> Iterator[bytes]:
        """The sealed bytes, piece by piece. Raises SealRefused where there is no content."""
        document = hashing.streamed(self._suite, hashing.DOCUMENT + self._blind)
        sealed = hashing.streamed(self._suite, hashing.SEALED + self._header)
        aead = _aead(self._header[-1], self._key)
        yield self._header
        for number, (piece, last) in enumerate(_parted(content, PIECE_BYTES)):
            document.update(piece)
            self.size_bytes += len(piece)
            made = aead.encrypt(_nonce(number, last=last), piece, self._header)
            sealed.update(made)
            yield made
        if not self.size_bytes:
            raise SealRefused("the document is empty")
        self.document, self.sealed = document.digest(), sealed.digest()


def opened(suite: Suite, secret: bytes, document: bytes, source: Iterable[bytes]) -> Iterator[bytes]:
    """A document's content, piece by piece, each authentic. What was yielded is the document ``document``
    only once the iterator has come to its end.

    secret: unwrapped. source: the sealed bytes, in any portions. Raises SealRefused.
    """
    cipher = _cipher_of(suite)
    if len(secret) != _KEY_BYTES[cipher] + BLIND_BYTES:
        raise SealRefused("the document's key is not of the length of the chain's suite")
    key, blind = secret[:-BLIND_BYTES], secret[-BLIND_BYTES:]
    found, rest = _header(source)
    header = MAGIC + bytes([cipher])
    if found != header:
        raise SealRefused("these are not a sealed document's bytes, or it is of another suite")
    told, aead = hashing.streamed(suite, hashing.DOCUMENT + blind), _aead(cipher, key)
    number = -1
    for number, (sealed, last) in enumerate(_parted(rest, _SEALED_BYTES)):
        try:
            piece = aead.decrypt(_nonce(number, last=last), sealed, header)
        except InvalidTag:
            raise SealRefused(f"piece {number + 1} of the document is damaged or of another key") from None
        if not piece:
            raise SealRefused("a piece of the document is empty")
        told.update(piece)
        yield piece
    if number < 0 or told.digest() != document:
        raise SealRefused("the content is not that of the document's id")


def document_of(suite: Suite, secret: bytes, content: Iterable[bytes]) -> bytes:
    """The id of a content under a document's key."""
    told = hashing.streamed(suite, hashing.DOCUMENT + secret[-BLIND_BYTES:])
    for portion in content:
        told.update(portion)
    return told.digest()


def _cipher_of(suite: Suite) -> int:
    return 2 if suite is GUOMI else 1


def _aead(cipher: int, key: bytes) -> AESGCM | Sm4Gcm:
    return Sm4Gcm(key) if _KEY_BYTES[cipher] != _KEY_BYTES[1] else AESGCM(key)


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])


def _header(source: Iterable[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """The first bytes, and all that come behind them."""
    portions = iter(source)
    start = b""
    while len(start) < HEADER_BYTES and (portion := next(portions, None)) is not None:
        start += portion

    def rest() -> Iterator[bytes]:
        yield start[HEADER_BYTES:]
        yield from portions

    return start[:HEADER_BYTES], rest()


def _parted(source: Iterable[bytes], size: int) -> Iterator[tuple[bytes, bool]]:
    """Bytes in parts of one size, and whether a part is the last, which may be shorter and is not empty."""
    held = bytearray()
    for portion in source:
        held += portion
        while len(held) > size:  # never the last: one byte more is here
            yield bytes(held[:size]), False
            del held[:size]
    if held:
        yield bytes(held), True
