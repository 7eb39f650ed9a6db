"""Garbage of the node's process, collected by the clock and not by how much is made.

Almost everything that a block makes is gone when its last reference is, before any collection: looking
through it after every block costs a twentieth of the process, and looking through all that lives costs a
pause. What always holds: what is in a cycle (a refusal with its frames, an ended call) is found within
LOOK_SECONDS, or within ALL_SECONDS if it outlived one look.
"""

import asyncio
import gc
from typing import Final

LOOK_SECONDS: Final = 0.5
ALL_SECONDS: Final = 60.0
AGAIN_ROUNDS: Final = 30
"""Full collections after which what was set aside is looked through as well."""


async def collect_garbage() -> None:
    """Until cancelled. What outlives a full collection is set aside, or a million records and a thousand idle
    streams would be looked through each time.
    """
    gc.disable()
    gc.freeze()
    looks, rounds = round(ALL_SECONDS / LOOK_SECONDS), 0
    while True:
        for _ in range(looks):
            await asyncio.sleep(LOOK_SECONDS)
            gc.collect(0)
        rounds += 1
        if rounds % AGAIN_ROUNDS == 0:
            gc.unfreeze()
        gc.collect()
        gc.freeze()
