"""The process that the crash test of settlement kills: it puts the given blocks into a store, one by one.

settlement_child.py PATH RECORDS FROM     RECORDS is a file of blocks; a line on standard output for each that
is durable, beginning with block number FROM.
"""

import pickle
import sys
from pathlib import Path

from node.ledger.hashing import INTERNATIONAL
from node.storage.sharded import ShardedStore
from tests.fault.storage_child import BUDGET
from tests.storage_blocks import LIFETIME_MS


def main(path: str, records: str, start: str) -> None:
    """Do what the command line says."""
    store = ShardedStore.open(Path(path), INTERNATIONAL, budget=BUDGET, lifetime_ms=LIFETIME_MS)
    blocks = pickle.loads(Path(records).read_bytes())  # noqa: S301 - the test's own
    for number, record in enumerate(blocks[int(start) :], int(start)):
        store.stage(record)
        store.sync()
        store.flush()
        print(number, flush=True)
    store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
