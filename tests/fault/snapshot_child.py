"""A process that makes, takes in or prunes, to be killed at any write. Run as a program:

snapshot_child.py make PATH            make a snapshot of the directory's last block
snapshot_child.py install PATH FROM    take in the newest snapshot of the closed directory FROM
snapshot_child.py prune PATH HEIGHT    drop all blocks below HEIGHT
"""

import sys
from pathlib import Path
from typing import Final

from node.ledger.hashing import HEADER, INTERNATIONAL
from node.storage import layout
from node.storage.sharded import ShardedStore
from node.storage.snapshots import SnapshotFolder
from tests.kit import LIMITS, make_genesis
from tests.snapshot_kit import BUDGET, Bank, bank_over, carry, on_disk

SHARDS: Final = 2


def install(path: Path, source: Path) -> Bank:
    """Take in the newest snapshot of a closed directory; the ledger above it."""
    folder = SnapshotFolder(source / layout.SNAPSHOTS, INTERNATIONAL, LIMITS.lifetime_ms)
    snapshot = folder.listed()[0]
    chunks = [folder.chunk(snapshot.height, at) for at in range(snapshot.chunks)]
    genesis = make_genesis()
    if (path / layout.VERSION).exists():
        bank = bank_over(genesis, ShardedStore.open(path, INTERNATIONAL, budget=BUDGET))
    else:
        bank = on_disk(genesis, path, SHARDS)
    if bank.store.height == 0:
        carry(snapshot, chunks, INTERNATIONAL.digest(HEADER + snapshot.metadata), bank)
    return bank


def main() -> None:
    """Do what the command line says."""
    what, path = sys.argv[1], Path(sys.argv[2])
    if what == "install":
        install(path, Path(sys.argv[3])).store.close()
    else:
        with ShardedStore.open(path, INTERNATIONAL, budget=BUDGET) as store:
            if what == "make":
                store.make_snapshot(share=1)
            else:
                store.prune(int(sys.argv[3]))
    print("done", flush=True)


if __name__ == "__main__":
    main()
