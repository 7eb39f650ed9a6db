"""The durable blocks of a store, as everybody reads them: the block log's face.

Heights at which no block is give None; heights whose blocks are no longer kept raise StorageError PRUNED.
"""

from collections.abc import Iterator

from node.ledger.types import BlockRecord
from node.storage.log import BlockLog, LogReader


class DurableBlocks:
    """What a store on disk offers of its log."""

    log: BlockLog

    @property
    def first_position(self) -> int:
        """Number of the first block that is whole; above 0 where the log does not reach genesis."""
        return self.log.first_position

    def genesis(self) -> bytes | None:
        """The genesis document's bytes."""
        return self.log.genesis() or None

    def set_genesis(self, document: bytes) -> None:
        """Keep the genesis document's bytes, before the first block is staged."""
        self.log.set_genesis(document)

    def headers(self, first: int, limit: int) -> list[BlockRecord]:
        """At most ``limit`` durable blocks from height ``first`` on, each without leaves, bodies, receipts
        and writes.
        """
        return self.log.headers(first, limit)

    def block(self, height: int) -> BlockRecord | None:
        """The whole durable block at ``height``, or None; its bodies are empty where they were dropped."""
        return self.log.block(height)

    def blocks(self, first: int = 0, last: int | None = None) -> Iterator[BlockRecord]:
        """Whole durable blocks from height ``first`` to ``last``, both inclusive."""
        return self.log.blocks(first, last)

    def leaves(self, height: int) -> tuple[bytes, ...] | None:
        """All leaves of the durable block at ``height``."""
        return self.log.leaves(height)

    def receipts(self, height: int) -> tuple[bytes, ...] | None:
        """All receipts of the durable block at ``height``."""
        return self.log.receipts(height)

    def receipt(self, height: int, index: int) -> bytes | None:
        """One receipt of a durable block."""
        return self.log.receipt(height, index)

    def body(self, height: int, index: int) -> bytes | None:
        """One signed transaction of a durable block; None also where bodies were dropped."""
        return self.log.body(height, index)

    def height_at(self, position: int) -> int | None:
        """The height of durable block number ``position``, counted from 0."""
        return self.log.height_at(position)

    def position_of(self, height: int) -> int | None:
        """The number of the durable block at ``height``; None where no block has it."""
        header = self.log.stored_header(height)
        return None if header is None else header.position

    def drop_bodies(self, height: int) -> None:
        """Delete the bodies of one durable block. Called by the thread that calls ``sync``."""
        self.log.drop_bodies(height)

    def log_snapshot(self) -> LogReader:
        """The durable blocks as they are now, for a reader that takes its time."""
        return self.log.snapshot()
