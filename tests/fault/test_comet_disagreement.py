"""One node whose ledger comes to another app hash: it stops by itself and says where and by what, the others
go on, and it does not start again over the same ledger.
"""

import asyncio
import secrets
from typing import Any

import pytest

from contracts import assemble
from node.cli.compare import Difference, KeptHeaders, first_difference
from node.engine.cometbft.disagreement import RECORD, Disagreement
from tests.comet_checks import check_consortium
from tests.engine.comet_bench import Consortium, Validator, applied, consortium, until

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(120)]

UNLUCKY = 13


def whimsical() -> tuple[Any, ...]:
    """The contracts, one of which moves more at times than it was asked to: by chance, as a forgotten use of
    the clock or of chance would.
    """
    contracts = assemble()
    assets: Any = next(contract for contract in contracts if contract.name == "assets")
    move = assets.move

    def moved(source: str, destination: str, asset: str, amount: int) -> None:
        more = 1 + secrets.randbelow(5) if amount == UNLUCKY else 0
        move(source, destination, asset, amount + more)

    assets.move = moved
    return contracts


def plant(validator: Validator) -> None:
    if validator.place == 3:
        validator.contracts = whimsical


async def disagree(made: Consortium) -> int:
    """Pay what the planted contract stumbles over; the height at which it does."""
    *honest, odd = made.validators
    (outcome,) = await honest[0].submit(made.pay(UNLUCKY))
    assert applied(outcome)
    assert outcome.receipt
    await until(odd.engine.halted.is_set, "the odd node halts")
    return outcome.receipt.height


@pytest.mark.parametrize("heard", [True, False], ids=["by its log", "by its round"])
async def test_a_node_with_another_app_hash_halts_with_a_report_and_the_others_go_on(
    heard: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not heard:  # as where another supervisor has the log
        monkeypatch.setattr("node.engine.cometbft.engine.read_complaint", lambda _line: None)
    async with consortium(4, adjust=plant) as made:
        *honest, odd = made.validators
        height = await disagree(made)
        told = odd.engine.status().alarms[-1]
        head = odd.ledger.info()
        theirs = next(record for record in honest[0].store.blocks() if record.height == height)
        assert f"the first height that differs is {height}" in told, told
        assert head.height == height
        assert f"this node comes to app hash {head.app_hash.hex()}" in told
        assert f"to {theirs.app_hash.hex()};" in told
        assert f"state root {head.state_root.hex()}" in told
        assert len(odd.engine.status().alarms[-1]) < 2_000
        calls = [each.submit(*[made.pay() for _ in range(20)]) for each in honest]
        assert all(applied(outcome) for answer in await asyncio.gather(*calls) for outcome in answer)
        print("disagreement: 1 tried, 1 held:", await check_consortium(made, honest=honest))

        differs = first_difference(KeptHeaders(odd.store), KeptHeaders(honest[0].store))
        assert isinstance(differs, Difference)
        assert differs.height == height
        assert differs.roots == ("state root",), "the receipts say what was asked for"

        await odd.stop()
        with pytest.raises(Disagreement, match=f"first height that differs is {height}"):
            await odd.start()
        assert not odd.comet.is_running
        await odd.engine.stop()
        odd.store.close()
        await rebuilt(odd)
        await until(lambda: odd.ledger.info().height >= height, "it catches up")
        await odd.serving()
        assert not (odd.folder / "comet" / RECORD).exists()
        print("rebuilt: 1 tried, 1 held:", await check_consortium(made))


async def rebuilt(validator: Validator) -> None:
    """A sound release over an empty data directory; CometBFT begins again, with its last vote kept."""
    validator.contracts = assemble
    validator.lose_data()
    validator.lose_blocks()
    await validator.start()
