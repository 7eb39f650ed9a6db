"""The drill of the cold standby: a validator's site is lost, and its identity goes on at another site without
signing anything twice; with a record that is missing or old it does not.
"""

import shutil
from pathlib import Path
from typing import Any

import pytest

from node.engine.cometbft.guard import Guard, GuardRefused, Position
from node.engine.cometbft.home import Keys, public_key
from node.engine.cometbft.light import comet_chain_id
from tests.engine.comet_bench import Consortium, Validator, applied, consortium, until
from tests.engine.test_comet_engine import check_exactly_once
from tests.fault.test_comet_sync import level_with

pytestmark = pytest.mark.asyncio

LOST = 3
"""The place of the validator whose site is lost."""


def adopt(made: Consortium, validator: Validator, path: Path, height: int) -> None:
    """Make the record of a validator that signs nothing at a height or below."""
    Guard.create(path, comet_chain_id(made.chain), public_key(validator.keys.validator or b""), height)


def watch(validator: Validator, signed: list[Position]) -> None:
    """Note where it signs from now on."""
    assert validator.remote
    guard: Any = validator.remote.guard
    keep = guard.keep

    def kept(position: Position, sign_bytes: bytes, signature: bytes) -> None:
        keep(position, sign_bytes, signature)
        signed.append(position)

    guard.keep = kept


async def with_record(made: Consortium, signed: list[Position]) -> Validator:
    """The validator that will be lost, voting through a signer of ours."""
    primary = made.validators[LOST]
    await primary.stop()
    primary.record = primary.folder / "last-vote"
    adopt(made, primary, primary.record, primary.engine.comet_height + 1)
    await primary.start()
    watch(primary, signed)
    await pay(made, 3)
    await until(lambda: len(signed) > 4, "it votes again")
    return primary


async def following(made: Consortium) -> Validator:
    """The standby at another site, which follows as an observer: no validator's key is there."""
    standby = made.add_observer()
    await standby.start()
    await level_with(made, standby)
    return standby


async def pay(made: Consortium, count: int) -> None:
    """Payments one after the other."""
    for _ in range(count):
        (outcome,) = await made.validators[0].submit(made.pay())
        assert applied(outcome)


async def take_over(standby: Validator, primary: Validator) -> None:
    """Stop following and start as the validator, with the record that is at the standby's site."""
    await standby.stop()
    standby.keys = Keys(standby.keys.node, primary.keys.validator)
    standby.record = standby.folder / "last-vote"
    await standby.start()


async def test_the_standby_goes_on_where_the_lost_site_stopped_and_signs_nothing_twice() -> None:
    async with consortium(4) as made:
        signed: list[Position] = []
        primary, standby = await with_record(made, signed), await following(made)
        await primary.crash()
        before = len(signed)
        await pay(made, 3)
        assert primary.record
        shutil.move(primary.record, standby.folder / "last-vote")
        await take_over(standby, primary)
        watch(standby, signed)
        await until(lambda: len(signed) > before + 4, "the standby votes")
        await made.validators[1].stop()  # now nothing is decided without it
        await pay(made, 3)
        assert signed == sorted(set(signed)), "a position was signed twice"
        for each in (made.validators[0], made.validators[2], standby):
            assert not [text for text in each.engine.status().alarms if "runs twice" in text]
        check_exactly_once(standby)
        with pytest.raises(GuardRefused, match="is missing"):
            await primary.start()
        primary.store.close()
        print(f"signed by the lost site: {before}, by the standby: {len(signed) - before}, twice: 0")
        made.validators.remove(primary)


async def test_without_the_record_the_standby_does_not_start_as_the_validator() -> None:
    async with consortium(4) as made:
        primary, standby = await with_record(made, []), await following(made)
        await primary.crash()
        with pytest.raises(GuardRefused, match="without the record of what this validator signed"):
            await take_over(standby, primary)
        standby.store.close()
        await pay(made, 1)
        height = made.validators[0].engine.comet_height
        adopt(made, primary, standby.folder / "last-vote", height + 2)
        signed: list[Position] = []
        await standby.start()
        watch(standby, signed)
        await until(lambda: len(signed) > 2, "it votes above the height that was declared")
        assert min(signed).height > height + 2
        made.validators.remove(primary)


async def test_with_an_old_copy_of_the_record_the_standby_follows_and_signs_nothing() -> None:
    async with consortium(4) as made:
        signed: list[Position] = []
        primary, standby = await with_record(made, signed), await following(made)
        assert primary.record
        shutil.copy(primary.record, standby.folder / "last-vote")
        old = len(signed)
        await pay(made, 5)
        await until(lambda: len(signed) > old + 4, "the site votes on before it is lost")
        await primary.crash()
        await level_with(made, standby)
        before = len(signed)
        await take_over(standby, primary)
        watch(standby, signed)
        await until(lambda: told(standby), "it says so")
        await pay(made, 3)
        await level_with(made, standby)
        assert len(signed) == before
        made.validators.remove(primary)


async def test_a_standby_that_is_started_while_the_site_still_votes_stops_signing() -> None:
    async with consortium(4) as made:
        primary, standby = await with_record(made, []), await following(made)
        adopt(made, primary, standby.folder / "last-vote", 1)
        await take_over(standby, primary)
        await until(lambda: told(standby), "it says so")
        assert standby.remote
        last = standby.remote.guard.last
        await pay(made, 3)
        await level_with(made, standby)
        assert standby.remote.guard.last == last
        assert primary.engine.status().serving


def told(validator: Validator) -> bool:
    """Whether it says that its record is old or that its identity runs twice."""
    return any("the record is an old copy, or the same" in text for text in validator.engine.status().alarms)
