"""A seeded day of business: transactions, good, poor and broken, that any number of ledgers can run.

Run as a program it prints an app hash a line, to compare processes that hash strings differently:
``python -m tests.sim.workload SEED``.
"""

import random
import sys
from collections.abc import Callable
from typing import Final, NamedTuple

from node.ledger import codec
from node.ledger.types import Block, Genesis, Limits, Operation, Receipt
from tests.kit import LIMITS, World, fields_of, make_genesis, new_key, officer, op, pay, register

BANKS: Final = ("AB", "KB", "PA", "UB")
ACCOUNTS: Final = tuple(f"{bank}/{number}" for bank in BANKS for number in range(4))
BLOCKS: Final = 60
ITEMS_MAX: Final = 12


class Day(NamedTuple):
    """What was ordered, and what one ledger made of it."""

    genesis: Genesis
    blocks: list[Block]
    app_hashes: list[bytes]
    world: World


def make_day(seed: int, limits: Limits = LIMITS) -> Day:
    """The day of a seed."""
    return _Maker(seed, limits).run()


class _Maker:
    """Makes a day by running it, because who holds what decides what is tried next."""

    def __init__(self, seed: int, limits: Limits) -> None:
        self.chance = random.Random(seed)
        self.world = World(make_genesis(limits=limits))
        self.holds: list[tuple[str, bytes]] = []
        self.sent: list[bytes] = []
        self.blocks: list[Block] = []
        self.app_hashes: list[bytes] = []

    def run(self) -> Day:
        self._open()
        for _ in range(BLOCKS):
            later = self.chance.choice((1, 500, 1_000, 30_000))
            self._block([self._item() for _ in range(self.chance.randrange(ITEMS_MAX))], later)
        return Day(self.world.genesis, self.blocks, self.app_hashes, self.world)

    def _block(self, items: list[bytes], later_ms: int = 1_000) -> None:
        world = self.world
        height, time_ms = world.height + 1, world.time_ms + later_ms
        self.blocks.append(Block(height, time_ms, tuple(items)))
        for outcome in world.block(*items, time_ms=time_ms):
            if isinstance(outcome, Receipt):
                reserved = [fields_of(event)[:2] for event in outcome.events if event.event == "Reserved"]
                self.holds.extend((account, hold) for account, hold in reserved)
        self.app_hashes.append(world.ledger.info().app_hash)
        self.sent = [*self.sent, *items][-20:]

    def _open(self) -> None:
        world = self.world
        for member, roles in (("CNB", ("issuer",)), *((bank, ("participant",)) for bank in BANKS)):
            world.officers[member] = (f"{member}-1", f"{member}-2")
            keys = tuple(new_key(name) for name in world.officers[member])
            self._block([world.make("ADMIN", op("members", "admit", member, member, "", roles, keys))])
        self._block([world.make("CNB", register("CZK", cap=10**9), register("EUR", cap=10**9))])
        opening = {bank: tuple(name for name in ACCOUNTS if name.startswith(bank)) for bank in BANKS}
        self._block(
            [world.make(bank, op("assets", "open_accounts", names)) for bank, names in opening.items()]
        )
        money = [
            op("assets", "issue", asset, name, 10_000, "") for asset in ("CZK", "EUR") for name in ACCOUNTS
        ]
        self._block([world.make("CNB", *money)])

    def _item(self) -> bytes:
        chance, dice = self.chance, self.chance.random()
        if dice < 0.06:
            return chance.randbytes(chance.randrange(200))
        if dice < 0.12 and self.sent:
            return chance.choice(self.sent)
        if dice < 0.18 and self.sent:
            raw = chance.choice(self.sent)
            at = chance.randrange(len(raw)) if raw else 0
            return raw[:at] + bytes([chance.randrange(256)]) + raw[at + 1 :]
        bank = chance.choice(BANKS)
        signers = chance.choice(
            (*[self.world.officers[bank]] * 4, self.world.officers[bank][:1], ("stranger",))
        )
        operations = [self._operation(bank) for _ in range(chance.choice((1, 1, 1, 2, 4)))]
        return self.world.make(bank, *operations, officers=signers)

    def _operation(self, bank: str) -> Operation:
        make: Callable[[str], Operation] = self.chance.choice(
            (
                self._pay,
                self._pay,
                self._pay,
                self._many,
                self._reserve,
                self._end,
                self._account,
                self._list,
                self._key,
            )
        )
        return make(bank)

    def _own(self, bank: str) -> str:
        return f"{bank}/{self.chance.randrange(4)}"

    def _pay(self, bank: str) -> Operation:
        asset = self.chance.choice(("CZK", "CZK", "EUR", "USD"))
        return pay(self._own(bank), self.chance.choice(ACCOUNTS), self.chance.randrange(1, 9_000), asset)

    def _many(self, bank: str) -> Operation:
        legs = tuple((self.chance.choice(ACCOUNTS), self.chance.randrange(1, 300), "e") for _ in range(6))
        total = sum(amount for _, amount, _ in legs)
        return op("transfers", "send_many", self._own(bank), "CZK", total, legs, b"", "SALA")

    def _reserve(self, bank: str) -> Operation:
        expires_ms = self.world.time_ms + self.chance.choice((2_000, 20_000, 100_000))
        to, amount = self.chance.choice(ACCOUNTS), self.chance.randrange(1, 3_000)
        return op("transfers", "reserve", self._own(bank), to, "CZK", amount, expires_ms, "")

    def _end(self, bank: str) -> Operation:
        source, hold = self.chance.choice(self.holds) if self.holds else (self._own(bank), bytes(32))
        if self.chance.random() < 0.5:
            return op("transfers", "void", source, hold)
        return op("transfers", "post", source, hold, self.chance.randrange(1, 3_000))

    def _account(self, bank: str) -> Operation:
        method = self.chance.choice(("freeze_account", *["release_account"] * 4, "close_account"))
        return op("assets", method, self._own(bank))

    def _list(self, bank: str) -> Operation:
        party = bytes([self.chance.randrange(3)]) * 32
        expires_ms = self.world.time_ms + self.chance.choice((5_000, 10**8))
        return self.chance.choice(
            (
                op("blacklist", "list_party", party, "fraud", bytes(32), expires_ms),
                op("blacklist", "retract", party),
                op("blacklist", "appeal", party, self.chance.choice(BANKS), bytes(32)),
                op("blacklist", "look_up", party, "lending"),
            )
        )

    def _key(self, bank: str) -> Operation:
        name = f"{bank}-{self.chance.randrange(3, 9)}"
        if self.chance.random() < 0.3:
            return op("members", "revoke_key", officer(name).key_id)
        if self.chance.random() < 0.3:
            officers = self.chance.choice((1, 2))
            return op("members", "set_policy", (("transfers", "*", "CZK", 2_000, officers),))
        return op("members", "register_key", new_key(name, scopes=("transfers",)))


def main() -> None:
    day = make_day(int(sys.argv[1]))
    for app_hash in day.app_hashes:
        print(app_hash.hex())
    print(codec.encode(list(day.world.blocks()[-1].receipts)).hex())


if __name__ == "__main__":
    main()
