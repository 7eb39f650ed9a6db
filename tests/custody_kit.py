"""A custody desk over a consortium in memory and real files: how it is opened, crashed and opened again."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from node.engine.custody import Desk
from node.engine.engine import Outcome
from node.engine.errors import Degraded
from node.keys.audit import LOG
from node.keys.custody import KnownCaller, Request
from node.keys.custody_books import Books
from node.keys.custody_policy import parse_policy
from node.keys.signer import Ed25519Signer
from node.ledger import codec
from node.ledger.errors import ErrorCode, LedgerError, Rejected
from node.ledger.transactions import parse
from node.ledger.types import Operation, Receipt
from tests.kit import Consortium, officer, op, pay
from tests.services_kit import DirectEngine

ROOT = Ed25519Signer(bytes(range(32)))
WAIT_SECONDS = 20.0
POLICY = """
version = 1
member = "PA"
time_zone = "UTC"
request_minutes = 600
approval_minutes = 60
[groups]
desk = ["bob", "carol", "dave"]
[[rule]]
name = "small"
methods = ["transfers.send"]
asset = "CZK"
amount_below = 100
approve = [{ count = 1, of = ["@desk"] }]
[[rule]]
name = "large"
methods = ["transfers.send"]
asset = "CZK"
amount_from = 100
approve = [{ count = 2, of = ["@desk"] }]
[[rule]]
name = "accounts"
methods = ["assets.open_accounts"]
approve = []
"""


class Crash(Exception):
    """The process ended here."""


def caller(name: str, *roles: str, member: str = "PA") -> KnownCaller:
    return KnownCaller(name, member, roles)


MARY = caller("mary", "maker")
BOB, CAROL, DAVE = (caller(name, "checker") for name in ("bob", "carol", "dave"))


class TellingEngine(DirectEngine):
    """Tells the first outcome of bytes that come again, as engines do."""

    async def decide(self, items: Sequence[bytes]) -> list[Outcome]:
        return [
            self._first(item, each) for item, each in zip(items, await super().decide(items), strict=True)
        ]

    def _first(self, item: bytes, outcome: Outcome) -> Outcome:
        if outcome.error is not LedgerError.DUPLICATE:
            return outcome
        place = self.find(parse(item, self.world.ledger.chain).tx_id)
        assert place
        receipt = self.world.store.receipt(*place)
        assert receipt
        return Outcome(codec.decoder(Receipt)(receipt), decided=True)


@dataclass
class Bank:
    """PA's node: its files, its ledger, which outlives a crash, and its clock."""

    folder: Path
    world: Consortium = field(default_factory=Consortium)
    policy: str = POLICY
    keys: tuple[str, ...] = ("PA-officer",)
    anchor_hours: int = 0

    def __post_init__(self) -> None:
        self.engine = TellingEngine(self.world)
        self.now_ms = self.world.time_ms
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self.numbers = 0

    def books(self) -> Books:
        return Books(self.folder, ROOT, self.world.chain_id, self.now_ms)

    def desk(self) -> Desk:
        """Open the books; the desk is not started."""
        return Desk(
            parse_policy(self.policy.encode()),
            self.books(),
            self.world.ledger,
            self.engine,
            [officer(name) for name in self.keys],
            anchor_hours=self.anchor_hours,
            clock_ms=lambda: self.now_ms,
        )

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Desk]:
        desk = self.desk()
        await desk.start()
        try:
            yield desk
        finally:
            await desk.stop()

    def new_id(self) -> bytes:
        self.numbers += 1
        return self.numbers.to_bytes(16, "big")

    async def ask(self, desk: Desk, *operations: Operation, **options: Any) -> Request:
        """Mary asks; to pay 50 unless told."""
        options = {"request_id": self.new_id(), **options}
        return await desk.request(MARY, operations or [pay("PA/main", "KB/main", 50)], **options)

    def pass_time(self, minutes: int) -> None:
        """Both clocks, the node's and the ledger's."""
        self.now_ms += minutes * 60_000
        look_up = op("blacklist", "look_up", bytes(32), "lending")
        self.world.apply("KB", look_up, time_ms=self.now_ms, created_ms=self.now_ms)

    @property
    def paid(self) -> int:
        """What KB has received from PA since the beginning."""
        return self.world.balance("KB/main")[0] - 500

    def log(self) -> str:
        return (self.folder / LOG).read_text()


async def settled(desk: Desk, request: Request) -> Request:
    """A request once the ledger has answered."""
    found = await desk.wait(MARY, request.id, WAIT_SECONDS)
    assert not found.is_open, found.status
    return found


async def refused(work: Awaitable[Any], error: ErrorCode) -> bool:
    """Whether a call is refused with this code; anything else fails the test."""
    with pytest.raises(Rejected) as told:
        await work
    assert told.value.error is error, told.value
    return True


async def abandon(desk: Desk) -> None:
    """What is left of a process that ended: nothing of it acts any more."""
    desk.books.is_shut = True
    for task in [*desk._sending.values(), desk._watch]:
        if task:
            task.cancel()
            await asyncio.wait([task])
    desk._disk.shutdown()
    desk.books.close()


async def try_until_done(step: Callable[[], Awaitable[Any]], *done: ErrorCode) -> None:
    """A step of a client that tries again after a crash: some refusals say that it was done."""
    try:
        await step()
    except Rejected as refusal:
        if refusal.error not in done:
            raise
    except Degraded as error:
        raise Crash from error
