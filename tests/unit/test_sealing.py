"""Sealed documents: what is put in comes out, and nothing else does."""

import random
import tracemalloc
from collections.abc import Iterator
from typing import Final

import pytest

from node.keys import sealing
from node.keys.sealing import (
    HEADER_BYTES,
    PIECE_BYTES,
    TAG_BYTES,
    Sealer,
    SealRefused,
    document_of,
    opened,
    sealed_bytes,
)
from node.ledger import hashing
from node.ledger.hashing import GUOMI, INTERNATIONAL, Suite

SUITES: Final = pytest.mark.parametrize("suite", [INTERNATIONAL, GUOMI], ids=lambda suite: suite.name)
SIZES: Final = (1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES, 3 * PIECE_BYTES + 5)
LARGE_BYTES: Final = 32 * 1024 * 1024


def portions(data: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


def made(suite: Suite, data: bytes) -> tuple[Sealer, bytes]:
    sealer = Sealer(suite)
    return sealer, b"".join(sealer.pieces(portions(data, 10_000)))


def read(suite: Suite, sealer: Sealer, sealed: bytes, size: int = 50_000) -> bytes:
    return b"".join(opened(suite, sealer.secret, sealer.document, portions(sealed, size)))


def is_refused(suite: Suite, sealer: Sealer, sealed: bytes) -> bool:
    try:
        read(suite, sealer, sealed)
    except SealRefused:
        return True
    return False


@SUITES
def test_a_document_comes_back_whatever_its_size_and_however_it_is_portioned(suite: Suite) -> None:
    chance = random.Random(7)
    for size in SIZES:
        data = chance.randbytes(size)
        sealer, sealed = made(suite, data)
        assert (sealer.size_bytes, len(sealed)) == (size, sealed_bytes(size))
        assert sealer.sealed == suite.digest(hashing.SEALED + sealed)
        blind = sealer.secret[-32:]
        assert sealer.document == suite.digest(hashing.DOCUMENT + blind + data)
        assert sealer.document == document_of(suite, sealer.secret, portions(data, 999))
        for portion in (len(sealed), PIECE_BYTES, 7_777):
            assert read(suite, sealer, sealed, portion) == data
        assert data[:64] not in sealed or size == 1
    with pytest.raises(SealRefused):
        made(suite, b"")


@SUITES
@pytest.mark.evidence(
    "VLT1", asset="documents", threat="bytes are changed", mitigation="authenticated pieces and hashes"
)
def test_every_flipped_byte_and_every_piece_out_of_its_place_is_refused(suite: Suite) -> None:
    chance = random.Random(8)
    data = chance.randbytes(2 * PIECE_BYTES + 100)
    sealer, sealed = made(suite, data)
    piece = PIECE_BYTES + TAG_BYTES
    head, parts = sealed[:HEADER_BYTES], [*portions(sealed[HEADER_BYTES:], piece)]
    wrong = {
        "a piece is left out": head + parts[0] + parts[2],
        "the last piece is cut off": head + parts[0] + parts[1],
        "pieces are exchanged": head + parts[1] + parts[0] + parts[2],
        "a piece stands twice": head + parts[0] + parts[0] + parts[1] + parts[2],
        "the last piece stands twice": sealed + parts[2],
        "a byte more": sealed + b"\0",
        "a byte less": sealed[:-1],
        "nothing but the head": head,
        "half a head": head[:7],
        "nothing": b"",
    }
    for number, at in enumerate((*range(HEADER_BYTES + 40), *chance.sample(range(len(sealed)), 160))):
        wrong[f"byte {at} is flipped ({number})"] = sealed[:at] + bytes([sealed[at] ^ 4]) + sealed[at + 1 :]
    for what, bad in wrong.items():
        assert is_refused(suite, sealer, bad), what
    print(f"{suite.name}: {len(wrong)} changed documents, every one refused")


def test_another_key_another_document_and_another_suite_are_refused() -> None:
    sealer, sealed = made(INTERNATIONAL, b"the terms")
    other, _ = made(INTERNATIONAL, b"the terms")
    guomi, chinese = made(GUOMI, b"the terms")
    assert other.document != sealer.document, "an id hides its content"
    for suite, secret, document, source in (
        (INTERNATIONAL, other.secret, sealer.document, sealed),
        (INTERNATIONAL, sealer.secret, other.document, sealed),
        (INTERNATIONAL, sealer.secret[:32] + other.secret[32:], sealer.document, sealed),
        (INTERNATIONAL, sealer.secret, sealer.document, chinese),
        (GUOMI, guomi.secret, guomi.document, sealed),
        (GUOMI, sealer.secret, guomi.document, chinese),
    ):
        with pytest.raises(SealRefused):
            list(opened(suite, secret, document, [source]))


def test_a_document_of_many_megabytes_is_never_whole_in_memory() -> None:
    block = random.Random(9).randbytes(1 << 20)
    sealer = Sealer(INTERNATIONAL)
    content = (block for _ in range(LARGE_BYTES >> 20))
    tracemalloc.start()
    try:
        size = sum(map(len, opened_later(sealer, content)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size == LARGE_BYTES
    assert peak < 4 << 20, f"{peak:,} bytes at the most"
    print(f"{LARGE_BYTES:,} bytes sealed and opened with {peak:,} bytes of memory at the most")


def opened_later(sealer: Sealer, content: Iterator[bytes]) -> Iterator[bytes]:
    """Sealed and opened at once: the id is looked up when it is known."""
    aead = sealing._aead(1, sealer.secret[:32])
    source = sealer.pieces(content)
    header = next(source)
    for number, piece in enumerate(source):
        last = len(piece) < PIECE_BYTES + TAG_BYTES or sealer.size_bytes == LARGE_BYTES
        yield aead.decrypt(sealing._nonce(number, last=last), piece, header)
