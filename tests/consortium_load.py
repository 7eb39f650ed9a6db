"""Clients of a consortium of real nodes that keep account of every acknowledgement, and the judgement over
its nodes afterwards.

    load = await Load.prepare(banks)
    async with load.going():
        ...                                 # whatever is done to the nodes
    print(await check_banks(banks, load))

A payment that was signed is handed in, the same bytes always, at one bank's node after the other until one
acknowledges it: behind ``going`` none is open. ``check_banks`` holds every node to I1 to I7, I9 and I10
(tests/checker.py) by its log, which it streams while it runs.
"""

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Self

from node.client import Client, ClientError, Refused
from node.client.client import Signed
from node.genesis_file import load_genesis
from node.ledger import codec
from node.ledger.types import BlockRecord, Receipt
from node.receipts import verify_receipt_file
from node.storage.backup import MAGIC, BackupBlock
from tests.checker import Checked, check_ledger
from tests.consortium_kit import Bank, Consortium, until

SOURCE: Final = "BANK-A/1"
DESTINATION: Final = "BANK-D/1"
FUNDS: Final = 10**12
CLIENTS: Final = 4
PATIENCE_SECONDS: Final = 1.0
"""After so long without an acknowledgement the same bytes go to another node."""
DECIDED_SECONDS: Final = 60.0
"""Within so long what is open is decided, once the nodes are left alone."""
LIVELY_SECONDS: Final = 20.0
"""I10: so soon after healing every node decides what it is handed, and all are level."""
FRAME_HEAD: Final = 8

_block: Callable[[bytes], BackupBlock] = codec.decoder(BackupBlock)
_receipt: Callable[[bytes], Receipt] = codec.decoder(Receipt)


@dataclass(frozen=True, slots=True)
class Told:
    """An acknowledgement. seconds: from the first sending on."""

    signed: Signed
    receipt: Receipt
    seconds: float


@dataclass
class Load:
    """Payments of bank-a to bank-d, of 1 each, by a few clients at once. resent: the same bytes to another
    node. clients_of: the banks whose nodes are asked.
    """

    banks: Consortium
    chance: random.Random
    asked: list[Bank]
    told: list[Told] = field(default_factory=list)
    resent: int = 0
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    @classmethod
    async def prepare(cls, banks: Consortium, seed: int = 0) -> Self:
        """Accounts, money, and a connection to every node."""
        await banks.fund({SOURCE: FUNDS, DESTINATION: 0})
        await asyncio.gather(*[bank.client() for bank in banks])
        return cls(banks, random.Random(seed), list(banks))

    async def sign(self) -> Signed:
        """A new payment."""
        first = self.banks.banks[0]
        return await first.sign(first.payment(SOURCE, DESTINATION, 1, f"n{next(self.numbers)}"))

    async def pay(self, at: Bank, *, seconds: float) -> Receipt:
        """One payment at this node alone."""
        return await self._acknowledged(await self.sign(), lambda: at, seconds, seconds)

    @asynccontextmanager
    async def going(self, clients: int = CLIENTS) -> AsyncIterator[Self]:
        """Clients pay inside the block; behind it all that was signed is acknowledged."""
        ended = asyncio.Event()

        async def client() -> None:
            while not ended.is_set():
                await self._acknowledged(
                    await self.sign(),
                    lambda: self.chance.choice(self.asked),
                    PATIENCE_SECONDS,
                    None,
                )

        running = asyncio.gather(*[client() for _ in range(clients)])
        try:
            yield self
            ended.set()
            await asyncio.wait_for(running, DECIDED_SECONDS)
        finally:
            running.cancel()
            await asyncio.wait([running])

    async def more(self, count: int, *, seconds: float = DECIDED_SECONDS) -> float:
        """Until so many more are acknowledged; the seconds that took."""
        wanted, began = len(self.told) + count, time.monotonic()
        while len(self.told) < wanted:
            assert time.monotonic() - began < seconds, f"{wanted - len(self.told)} of {count} still missing"
            await asyncio.sleep(0.01)
        return time.monotonic() - began

    async def _acknowledged(
        self, signed: Signed, place: Callable[[], Bank], patience: float, seconds: float | None
    ) -> Receipt:
        """Hand in until it is decided; applied, it must be. seconds: None: for ever."""
        began, last = time.monotonic(), ""
        while seconds is None or time.monotonic() - began < seconds:
            try:
                receipt = await (await place().client()).submit(signed.raw, seconds=patience)
            except Refused as refused:
                raise AssertionError(f"a payment was refused: {refused}") from refused
            except ClientError as error:
                self.resent, last = self.resent + 1, str(error)
            else:
                self.told.append(Told(signed, receipt, time.monotonic() - began))
                return receipt
        raise AssertionError(f"not acknowledged in {seconds} s: {last}")


@dataclass
class Held:
    """What was looked at."""

    nodes: int
    checked: Checked
    acknowledged: int
    receipt_files: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.nodes} nodes, {self.checked.blocks} blocks, {self.checked.applied} transactions, "
            f"{self.acknowledged} acknowledgements, {self.receipt_files} receipt files; "
            f"lively and level in {self.seconds:.1f} s"
        )


async def check_banks(
    banks: Consortium, load: Load, among: Sequence[Bank] = (), *, seconds: float = LIVELY_SECONDS
) -> Held:
    """Hold these nodes (default: all) to the invariants. seconds: as LIVELY_SECONDS."""
    nodes = list(among) or banks.banks
    began = time.monotonic()
    receipts = await asyncio.gather(*[load.pay(bank, seconds=seconds) for bank in nodes])
    left = seconds - (time.monotonic() - began)
    await banks.wait_converged(max(receipt.height for receipt in receipts), nodes, seconds=left)
    took = time.monotonic() - began
    height = max(told.receipt.height for told in load.told)
    for bank in nodes:
        await until(partial(is_indexed, bank, height), f"{bank.name} finds receipts")
    logs = level([await log_of(bank) for bank in nodes], height)
    assert all(log == logs[0] for log in logs), "I5: the nodes' logs differ"
    checked = await asyncio.to_thread(check_ledger, logs[0], load_genesis(banks.genesis))
    check_acknowledged(logs[0], load.told)
    trust = banks.genesis.read_bytes()
    files = 0
    for bank in nodes:
        client = await bank.client()
        for told in (load.told[0], load.chance.choice(load.told), load.told[-1]):
            file = partial(certified_file, client, told.signed.tx_id)
            proven = verify_receipt_file(await until(file, f"{bank.name} proves a receipt"), trust)
            assert (proven.height, proven.applied) == (told.receipt.height, True), "I7"
            files += 1
    return Held(len(nodes), checked, len(load.told), files, took)


def level(logs: Sequence[list[BlockRecord]], height: int) -> list[list[BlockRecord]]:
    """The logs up to the height that all of them have: a chain that goes on (evidence makes a block too) may
    have grown between two of these backups. Raises AssertionError where one ends below ``height``.
    """
    ends = min(log[-1].height for log in logs)
    assert ends >= height, f"a log ends at {ends}, below {height}"
    return [[record for record in log if record.height <= ends] for log in logs]


async def is_indexed(bank: Bank, height: int) -> bool:
    """Whether a node finds every receipt up to a height by its transaction."""
    found = (await bank.status()).index_height
    return found is not None and found >= height


async def certified_file(client: Client, tx_id: bytes) -> bytes:
    """A receipt file; nothing while its block's certificate is not there, which comes with the next block."""
    with suppress(ClientError):
        return await client.receipt_file(tx_id)
    return b""


async def log_of(bank: Bank) -> list[BlockRecord]:
    """A running node's whole log, by its backup."""
    data = b"".join([piece async for piece in (await bank.client()).backup()])
    assert data.startswith(MAGIC)
    records, at = [], len(MAGIC)
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        frame = data[at + FRAME_HEAD :][:size]
        at += FRAME_HEAD + size
        if frame[:1] == b"b":
            records.append(_block(frame[1:]).record())
    return records


def check_acknowledged(log: Sequence[BlockRecord], told: Sequence[Told]) -> None:
    """I3, I4: what was acknowledged stands where its receipt says, and no signed bytes stand twice."""
    bodies = [body for record in log for body in record.bodies if body]
    assert len(bodies) == len(set(bodies)), "I3: a transaction is decided twice"
    blocks = {record.height: record for record in log}
    for each in told:
        record, index = blocks[each.receipt.height], each.receipt.index
        assert record.bodies[index] == each.signed.raw, "I4: another transaction stands there"
        assert _receipt(record.receipts[index]) == each.receipt, "I4: another receipt stands there"
