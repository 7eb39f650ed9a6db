"""A remote signer in a process of its own that may kill itself between the record's sync and the reply.

    signer_child.py SOCKET RECORD CHAIN SEED DIARY KILL_AT

KILL_AT: the step (1 to 3) after whose next record it dies; 0: never. The diary gets a line for everything
that was signed, so that the test can look for two signatures of one position.
"""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from node.engine.cometbft.guard import Again, Position
from node.engine.cometbft.signer import RemoteSigner, serve
from node.keys.signer import Ed25519Signer

GRACE = 3  # positions that are signed before the kill


class Mortal(RemoteSigner):
    """Writes a diary, and dies once."""

    diary: Path
    kill_at = 0
    kept = 0

    def _sign_once(self, position: Position, sign_bytes: bytes) -> Again:
        before = self.guard.last
        given = super()._sign_once(position, sign_bytes)
        with self.diary.open("a") as diary:
            diary.write(json.dumps([*position, given.sign_bytes.hex(), given.signature.hex()]) + "\n")
        if self.guard.last != before:
            self.kept += 1
            if self.kept > GRACE and position.step == self.kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
        return given


def told(alarm: str) -> None:
    """An alarm, at once: the process may be killed."""
    print(alarm, flush=True)


def main(socket: str, record: str, chain: str, seed: str, diary: str, kill_at: str) -> None:
    """Serve until killed."""
    remote = Mortal(Ed25519Signer(bytes.fromhex(seed)), chain, Path(record), told)
    remote.diary, remote.kill_at = Path(diary), int(kill_at)
    asyncio.run(serve(remote, Path(socket)))


if __name__ == "__main__":
    main(*sys.argv[1:])
