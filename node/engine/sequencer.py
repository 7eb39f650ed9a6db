"""The sequencer's hand: it certifies headers, and never two different ones of one height.

The last-signed record lies outside the data directory, so that a restored copy of the ledger cannot bring an
old one back. It is written, synced, after a block is durable and before anybody is told of it: a certificate
that left this process is on record. A crash in between leaves a certificate that nobody saw.
"""

import hashlib
import os
from pathlib import Path
from typing import Final, Protocol

import msgspec

from node.ledger.hashing import SIGN_HEADER
from node.ledger.types import Height, Record

SLOT_BYTES: Final = 512
CHECK_DIGITS: Final = 16


class Signer(Protocol):
    """A private key, wherever it is kept."""

    @property
    def public_key(self) -> bytes:
        """32 bytes."""

    def sign(self, message: bytes) -> bytes:
        """64 bytes."""


class LastSigned(Record, frozen=True):
    """What the sequencer signed last, in hexadecimal digits."""

    chain: str
    height: Height
    app_hash: str


class SequencerRefused(Exception):
    """The sequencer must not sign here; the text says what an operator does about it."""


class Sequencer:
    """Signs app hashes of one chain with one key, in ascending order of heights."""

    def __init__(self, signer: Signer, chain_id: bytes, record: Path) -> None:
        """record: the last-signed record's path. Raises SequencerRefused when it is missing, damaged or
        another chain's.
        """
        self._signer = signer
        self._chain_id = chain_id
        self._path = record
        self._file = _opened(record)
        self._turn = 0
        try:
            self.last = self._load()
        except SequencerRefused:
            self.close()
            raise

    @staticmethod
    def create_record(path: Path, chain_id: bytes, height: int = 0, app_hash: bytes = b"") -> None:
        """Write the record of a sequencer that signed nothing above ``height``. Raises FileExistsError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(file, _sealed(LastSigned(chain_id.hex(), height, app_hash.hex())))
            os.fsync(file)
        finally:
            os.close(file)

    def check_head(self, height: int, app_hash: bytes) -> None:
        """May this sequencer go on above a ledger that ends here? Raises SequencerRefused."""
        certified = self.last.height
        if certified > height:
            raise SequencerRefused(
                f"the ledger ends at height {height}, but this sequencer certified height {certified} "
                f"({self._path}). An older copy must not be continued: others hold later certificates. "
                "Restore the newest log."
            )
        if certified == height and self.last.app_hash and self.last.app_hash != app_hash.hex():
            raise SequencerRefused(
                f"at height {height} the ledger has app hash {app_hash.hex()}, but this sequencer certified "
                f"{self.last.app_hash}. This is another history: restore the log that belongs to the record."
            )

    def certify(self, height: int, app_hash: bytes) -> bytes:
        """The certificate of a header: 64 bytes over ``SIGN_HEADER || chain || app hash``. Raises
        SequencerRefused.
        """
        if height <= self.last.height:
            raise SequencerRefused(
                f"height {height} is not above {self.last.height}, which this sequencer has certified"
            )
        return self._signer.sign(SIGN_HEADER + self._chain_id + app_hash)

    def certify_genesis(self, app_hash: bytes) -> bytes:
        """The certificate of block 0, whose content follows from the genesis document alone."""
        return self._signer.sign(SIGN_HEADER + self._chain_id + app_hash)

    def record(self, height: int, app_hash: bytes) -> None:
        """Put on record, synced, what is about to be told; the two slots are written in turn."""
        self.last = LastSigned(self._chain_id.hex(), height, app_hash.hex())
        self._turn ^= 1
        os.pwrite(self._file, _sealed(self.last), self._turn * SLOT_BYTES)

    def close(self) -> None:
        """Close the record."""
        os.close(self._file)

    def _load(self) -> LastSigned:
        """The newer of the two slots that is intact: a write that a crash tore leaves the one before it."""
        slots = [(_unsealed(os.pread(self._file, SLOT_BYTES, turn * SLOT_BYTES)), turn) for turn in (0, 1)]
        known = [(last, turn) for last, turn in slots if last is not None]
        if not known:
            raise SequencerRefused(f"{self._path} is damaged: bring back an intact copy")
        last, self._turn = max(known, key=lambda slot: slot[0].height)
        if last.chain != self._chain_id.hex():
            raise SequencerRefused(f"{self._path} is the record of another chain")
        return last


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_DSYNC)
    except FileNotFoundError as error:
        raise SequencerRefused(
            f"{path} is missing: without the record of what this sequencer certified it must not sign. "
            "Bring the record back, or, if the old node is lost for good, say where it ended with "
            "`vostro backup adopt`."
        ) from error
    except OSError as error:
        raise SequencerRefused(f"{path} cannot be opened: {error.strerror}") from error


def _sealed(last: LastSigned) -> bytes:
    content = msgspec.json.encode(last)
    return (hashlib.sha256(content).hexdigest()[:CHECK_DIGITS].encode() + content).ljust(SLOT_BYTES)


def _unsealed(slot: bytes) -> LastSigned | None:
    check, content = slot[:CHECK_DIGITS], slot[CHECK_DIGITS:].rstrip()
    if hashlib.sha256(content).hexdigest()[:CHECK_DIGITS].encode() != check:
        return None
    try:
        return msgspec.json.decode(content, type=LastSigned)
    except ValueError:  # whole, and not of this release
        return None
