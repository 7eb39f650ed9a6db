"""A bank's node key in bad hands: hands bundles of false signatures to its CometBFT, as fast as that takes
them, until it is ended. For test_consortium_liars.py, from whose process it takes nothing.

    python -P flood_child.py CHAIN KEY PASSPHRASE_FILE RPC_SOCKET < ITEMS > COUNTS

Reads the items to falsify, one in hexadecimal digits a line; behind SIGTERM it writes how many bundles it
made and how many of them were refused.
"""

import asyncio
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from node.client import load_key
from node.engine.cometbft.rpc import BroadcastKind, RpcClient, RpcError
from node.genesis_file import LIMITS_DEFAULT
from node.keys.signer import Signer
from node.ledger.bundles import signed_bundle
from node.ledger.hashing import INTERNATIONAL
from node.ledger.transactions import Chain
from node.ledger.types import BundleBody

UNDER_WAY: Final = 4
PAUSE_SECONDS: Final = 0.05
"""Behind an answer that was no acceptance."""


class Flood:
    """Bundles in which no signature is true, and none was ever seen."""

    def __init__(self, chain: bytes, signer: Signer, rpc: RpcClient, items: list[bytes]) -> None:
        self.chain = Chain(chain, INTERNATIONAL, LIMITS_DEFAULT, {})
        self.signer = signer
        self.rpc = rpc
        self.items = items
        self.made = self.refused = 0

    def bundle(self) -> bytes:
        """The next one."""
        self.made += 1
        mark = self.made.to_bytes(8, "big")
        items = tuple([item[:-40] + mark + item[-32:] for item in self.items])
        body = BundleBody(1, self.signer.key_id, time.time_ns(), items)
        return signed_bundle(self.chain, body, self.signer.sign)

    async def pour(self) -> None:
        """One bundle after the other."""
        while True:
            try:
                said = await self.rpc.broadcast_sync(self.bundle())
            except RpcError:
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            if said.kind is not BroadcastKind.ACCEPTED:
                self.refused += 1
                await asyncio.sleep(PAUSE_SECONDS)


async def run(chain: str, key: str, passphrase: str, socket: str) -> None:
    """Flood until SIGTERM."""
    items = [bytes.fromhex(line) for line in sys.stdin.read().split()]
    rpc = RpcClient(Path(socket))
    flood = Flood(bytes.fromhex(chain), load_key(Path(key), Path(passphrase)), rpc, items)
    pouring = asyncio.gather(*[flood.pour() for _ in range(UNDER_WAY)])
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, pouring.cancel)
    with suppress(asyncio.CancelledError):
        await pouring
    await rpc.close()
    print(flood.made, flood.refused)


if __name__ == "__main__":
    asyncio.run(run(*sys.argv[1:]))
