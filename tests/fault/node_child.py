"""The process in which damaged directories of a node are opened, for it may die of one.

Reads lines, each the path of a configuration; answers each with a line of JSON: {"answer": a digest of all
that the node says, "told": its alarms} or {"refused": the sentence}. The digest covers the app hash, the
whole state, every receipt and the index.
"""

import asyncio
import hashlib
import json
import sys
from pathlib import Path

from node.app import Node, running
from node.config import ConfigError, load_config
from node.engine.sequencer import SequencerRefused
from node.genesis_file import GenesisRefused
from node.keys.keystore import KeystoreError
from node.ledger.errors import InvariantViolated, StoreFailed
from node.logs import configure_logs

REFUSALS = (
    ConfigError,
    GenesisRefused,
    InvariantViolated,
    KeystoreError,
    OSError,
    SequencerRefused,
    StoreFailed,
)


async def digest(node: Node) -> str:
    """All that the node would ever answer from its directory."""
    store, index = node.opened.store, node.index
    found = hashlib.sha256(node.opened.ledger.info().app_hash)
    for key, value in store.scan(b""):
        found.update(key + value)
    for block in store.blocks():
        for part in (block.header, *block.leaves, *block.bodies, *block.receipts):
            found.update(part)
    assert index
    while index.position < store.durable_count:  # noqa: ASYNC110 - an index tells nobody
        await asyncio.sleep(0.005)
    for account in ("PA/0", "KB/1", "KB/2"):
        for row in index.movements(account):
            found.update(repr(row).encode())
    return found.hexdigest()


async def opened(config: Path) -> dict[str, object]:
    """What becomes of a node that starts here; damage met while reading is mended by the next start."""
    told: list[str] = []
    reason = ""
    for _ in range(4):
        try:
            async with asyncio.timeout(20), running(load_config(config, environment={})) as node:
                answer = await digest(node)
                return {"answer": answer, "told": told + list(node.engine.status().alarms)}
        except REFUSALS as error:
            reason = f"{type(error).__name__}: {error}"
            if not any(name in reason for name in ("SHARD_DAMAGED", "SPENT_DAMAGED", "INDEX_DAMAGED")):
                break
            told.append(reason)
        except TimeoutError:
            reason = "the index never caught up"
    return {"refused": reason}


if __name__ == "__main__":
    configure_logs("error")
    for line in sys.stdin:
        sys.stdout.write(json.dumps(asyncio.run(opened(Path(line.strip())))) + "\n")
        sys.stdout.flush()
