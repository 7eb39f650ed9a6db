"""Receipts that a store may no longer keep."""

from node.engine.ports import DurableStore
from node.ledger.errors import StoreFailed


def kept_receipt(store: DurableStore, height: int, index: int) -> bytes | None:
    """A receipt; None also where the store keeps none so old. Raises StoreFailed where the disk fails."""
    try:
        return store.receipt(height, index)
    except StoreFailed as error:
        if not error.absent:
            raise
        return None
