"""A seeded year of governance: founders propose, vote, change their mind, move power, and sign twice.

Whoever is in force is followed beside the ledger, as consensus would: ``Year.in_force[height]`` is the set
that votes on that height. Run as a program it prints app hashes: ``python -m tests.sim.governing SEED``.
"""

import random
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from msgspec.structs import replace

from node.ledger.hashing import validator_address
from node.ledger.types import (
    AdministratorKey,
    Authority,
    Block,
    Evidence,
    Founder,
    Genesis,
    Node,
    Operation,
    Receipt,
    Requirement,
)
from tests.contracts.refusals_governance import content_hash
from tests.contracts.refusals_validators import validator
from tests.kit import RULES, World, make_genesis, new_key, officer, op, refusal

FOUNDERS: Final = ("AB", "CD", "EF", "GH")
LATECOMERS: Final = ("IJ", "KL")
BLOCKS: Final = 150
VALIDATORS: Final = tuple(f"w{at}" for at in range(8))

Powers = dict[bytes, int]


def founders_genesis() -> Genesis:
    """Four founders, each with a validator and a node; decisions about members wait ten seconds."""
    return replace(
        make_genesis(),
        administrator="",
        threshold=0,
        administrators=(),
        founders=tuple(
            Founder(
                name, f"Bank {name}", "", ("participant", "voter"),
                (AdministratorKey("ed25519", officer(name).public_key, name),),
            )
            for name in FOUNDERS
        ),
        authority=tuple(Authority("ed25519", officer(name).public_key, 10) for name in VALIDATORS[:4]),
        nodes=tuple(
            Node(member, "ed25519", officer(f"{name}-node").public_key, officer(name).public_key)
            for member, name in zip(FOUNDERS, VALIDATORS, strict=False)
        ),
        governance=replace(RULES, members=Requirement(2, 3, 10_000), lifetime_ms=60_000),
    )  # fmt: skip


@dataclass
class Year:
    """What was ordered and what came of it."""

    world: World
    blocks: list[Block] = field(default_factory=list)
    app_hashes: list[bytes] = field(default_factory=list)
    in_force: dict[int, Powers] = field(default_factory=dict)
    outcomes: Counter[tuple[str, int]] = field(default_factory=Counter)


def make_year(seed: int) -> Year:
    """The year of a seed."""
    return _Maker(seed).run()


def decides(alive: Powers, powers: Powers) -> bool:
    """Whether validators of one set carry another alone: more than two thirds of its power."""
    return 3 * sum(power for key, power in powers.items() if key in alive) > 2 * sum(powers.values())


class _Maker:
    """Makes a year by running it."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.world = World(founders_genesis())
        self.world.officers = {name: (name,) for name in (*FOUNDERS, *LATECOMERS)}
        self.year = Year(self.world)
        self.contents: list[tuple[Operation, ...]] = []
        self.proposed: dict[bytes, tuple[Operation, ...]] = {}
        powers = self._wanted()
        self.year.in_force |= {1: powers, 2: powers}

    def run(self) -> Year:
        for _ in range(BLOCKS):
            self._block([self._item() for _ in range(self.chance.randrange(1, 6))])
        return self.year

    def _wanted(self) -> Powers:
        return {key.public_key: key.power for key in self.world.ledger.standing.authority}

    def _block(self, items: list[bytes]) -> None:
        world, year = self.world, self.year
        later = self.chance.choice((1, 1_000, 5_000, 30_000))
        evidence = tuple([self._evidence()] if self.chance.random() < 0.04 else [])
        block = Block(world.height + 1, world.time_ms + later, tuple(items), evidence)
        finalized = world.ledger.finalize_block(block)
        world.height += 1
        world.commit(finalized)
        powers = dict(year.in_force[block.height + 1])
        for change in finalized.updates:
            assert powers.get(change.public_key, 0) != change.power, "consensus panics at what is no change"
            powers[change.public_key] = change.power
        year.in_force[block.height + 2] = {key: power for key, power in powers.items() if power}
        year.blocks.append(block)
        year.app_hashes.append(finalized.app_hash)
        for item, outcome in zip(items, finalized.outcomes, strict=True):
            year.outcomes[refusal(outcome)] += 1
            opened = isinstance(outcome, Receipt) and any(e.event == "Opened" for e in outcome.events)
            if opened:
                self.contents.append(self.proposed[item])

    def _evidence(self) -> Evidence:
        address = validator_address(officer(self.chance.choice(VALIDATORS)).public_key)
        return Evidence("duplicate-vote", address, self.chance.randrange(1, 5), 1, 10, 40)

    def _item(self) -> bytes:
        member = self.chance.choice((*FOUNDERS, *FOUNDERS, *FOUNDERS, *LATECOMERS))
        rows = self.world.rows("governance", "proposal")
        under_way = [number for (number,), row in rows.items() if row.status in ("open", "waiting")]
        if rows and self.chance.random() < (0.85 if under_way else 0.1):
            number = self.chance.choice(under_way or [*[number for (number,) in rows]])
            if self.chance.random() < 0.03:
                return self.world.make(member, op("governance", "withdraw", number))
            choice = self.chance.choice(("approve",) * 7 + ("reject",))
            hash_ = content_hash(*self.contents[number - 1])
            return self.world.make(member, op("governance", choice, number, hash_))
        content = tuple(self._operation() for _ in range(self.chance.choice((1, 1, 1, 2))))
        if under_way and self.chance.random() < 0.4:
            content = self.contents[self.chance.choice(under_way) - 1]  # of two that are the same, one fails
        item = self.world.make(member, op("governance", "propose", content, ""))
        self.proposed[item] = content
        return item

    def _operation(self) -> Operation:
        chance = self.chance
        key = officer(chance.choice(VALIDATORS)).key_id
        override = chance.choice(("", "", "override"))
        member = chance.choice((*FOUNDERS, *LATECOMERS))
        kinds: list[Any] = [
            lambda: op("members", "admit", member, member, "", ("voter",), (new_key(member),)),
            lambda: op("members", "suspend", member, "x"),
            lambda: op("members", "resume", member),
            lambda: op("members", "resume", member),
            lambda: op("validators", "add", self._new(), override),
            lambda: op("validators", "add", self._new(), override),
            lambda: op("validators", "remove", key, override),
            lambda: op("validators", "reweigh", key, chance.randrange(1, 20), override),
            lambda: op("validators", "reweigh", key, chance.randrange(8, 14), override),
            lambda: op("validators", "retire_node", officer(f"{chance.choice(VALIDATORS)}-node").key_id),
            lambda: op("governance", "set_rules", self._rules()),
        ]
        operation: Operation = chance.choice(kinds)()
        return operation

    def _new(self) -> Any:
        name, member = self.chance.choice(VALIDATORS), self.chance.choice(FOUNDERS)
        return validator(name, member, self.chance.randrange(1, 20))

    def _rules(self) -> Any:
        part = self.chance.choice(((2, 3), (3, 4), (51, 100), (1, 2)))
        waiting = self.chance.choice((0, 10_000))
        return replace(self.world.genesis.governance, members=Requirement(*part, waiting))


def main() -> None:
    year = make_year(int(sys.argv[1]))
    for app_hash in year.app_hashes:
        print(app_hash.hex())


if __name__ == "__main__":
    main()
