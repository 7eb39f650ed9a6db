"""Four banks' real nodes behind proxies, with clients, for tests that harm them."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.consortium_kit import SMALL, Bank, Consortium, consortium
from tests.consortium_load import Load
from tests.links import Links


@dataclass
class Faulty:
    """A consortium that runs, its lines, and its clients."""

    banks: Consortium
    links: Links
    load: Load
    chance: random.Random

    def one(self) -> Bank:
        """Any bank."""
        return self.chance.choice(self.banks.banks)

    async def heal(self) -> None:
        """Every line is sound, every process runs, and every node takes transactions."""
        self.links.heal()
        for bank in self.banks:
            bank.resume()
            if not bank.is_running:
                bank.start()
        await asyncio.gather(*[bank.wait_serving() for bank in self.banks])

    def tell(self) -> None:
        """Print the ends of all logs."""
        for bank in self.banks:
            print(f"--- {bank.name}", bank.log_tail(), sep="\n")


@asynccontextmanager
async def faulty() -> AsyncIterator[Faulty]:
    """Founded, started and funded."""
    seed = random.SystemRandom().randrange(10**6)
    print("seed", seed)
    links = Links(seed)
    made = consortium(4, settings={**SMALL, "index": True}, adjust=links.adjust, start=False)
    async with made as banks, links:
        await banks.start()
        yield Faulty(banks, links, await Load.prepare(banks, seed), random.Random(seed))
