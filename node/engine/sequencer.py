"""The sequencer's hand: it certifies headers, and never two different ones of one height.

The last-signed record lies outside the data directory, so that a restored copy of the ledger cannot bring an
old one back. It is written, synced, after a block is durable and before anybody is told of it: a certificate
that left this process is on record. A crash in between leaves a certificate that nobody saw.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from node.engine.record import RecordFile, RecordInUse, RecordMissing, RecordUnusable
from node.ledger.hashing import SIGN_HEADER
from node.ledger.types import Authority, Height, Record

SLOT_BYTES: Final = 512


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

    def __init__(self, signer: Signer, chain_id: bytes, record: Path, *, exclusive: bool = True) -> None:
        """record: the last-signed record's path. exclusive: hold it against other processes; false for who
        only looks. Raises SequencerRefused when it is missing, damaged, held or another chain's.
        """
        self._signer = signer
        self._chain_id = chain_id
        self._path = record
        self._record = _opened(record, exclusive=exclusive)
        if self.last.chain != chain_id.hex():
            self.close()
            raise SequencerRefused(f"{record} is the record of another chain")

    @staticmethod
    def create_record(path: Path, chain_id: bytes, height: int = 0, app_hash: bytes = b"") -> None:
        """Write the record of a sequencer that signed nothing above ``height``. Raises FileExistsError."""
        RecordFile.create(path, LastSigned(chain_id.hex(), height, app_hash.hex()), SLOT_BYTES)

    @property
    def last(self) -> LastSigned:
        """What was signed last."""
        return self._record.last

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

    def check_authority(self, authority: Sequence[Authority]) -> None:
        """May this key still certify alone? Raises SequencerRefused once the chain was handed over."""
        own = sum([entry.power for entry in authority if entry.public_key == self._signer.public_key])
        if own * 3 <= 2 * sum([entry.power for entry in authority]):
            raise SequencerRefused(
                "this sequencer no longer certifies alone: the chain was handed over to other validators. Go "
                "on with the engine that was decided; nothing is lost."
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
        self._record.write(LastSigned(self._chain_id.hex(), height, app_hash.hex()))

    def close(self) -> None:
        """Close the record."""
        self._record.close()


def _opened(path: Path, *, exclusive: bool) -> RecordFile[LastSigned]:
    try:
        return RecordFile(path, LastSigned, SLOT_BYTES, lambda last: last.height, exclusive=exclusive)
    except RecordMissing as error:
        raise SequencerRefused(
            f"{path} is missing: without the record of what this sequencer certified it must not sign. "
            "Bring the record back, or, if the old node is lost for good, say where it ended with "
            "`vostro backup adopt`."
        ) from error
    except RecordInUse as error:
        raise SequencerRefused(
            f"{path} is held by another process: this sequencer runs twice on this machine. Stop one."
        ) from error
    except RecordUnusable as error:
        raise SequencerRefused(str(error)) from error
