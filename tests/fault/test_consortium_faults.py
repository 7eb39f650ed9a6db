"""Four banks' real nodes whose lines and processes fail: whatever is done to them, nothing acknowledged is
lost, nothing is decided twice, all ledgers stay the same, and soon after healing every node decides again.
"""

import asyncio
import os
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from node.network.bank import COMET
from tests.consortium_kit import SECONDS, Bank, Consortium, until
from tests.consortium_load import check_banks
from tests.fault.faulty_kit import Faulty, faulty

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(400)]

STILL_SECONDS = 3.0
PAUSE_SECONDS = 10.0
RANDOM_SECONDS = 30.0
RANDOM_SECONDS_LONG = 300.0
RANDOM_FAULTS_MIN = 6
RETRIES = 100
SLOW_SECONDS = 0.15
LOSS = 0.3
CALM = 0.7
"""How often a fault is followed by a moment without one, until payments are decided again."""
SOME = 20
FEW = 10


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running() -> AsyncIterator[Faulty]:
    """One consortium for this file."""
    async with faulty() as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def made(running: Faulty, request: pytest.FixtureRequest) -> AsyncIterator[Faulty]:
    """It, sound again behind each test; where the test failed, the ends of its logs are printed."""
    failed = request.session.testsfailed
    yield running
    if request.session.testsfailed > failed:
        running.tell()
    await running.heal()


async def heights(banks: Consortium) -> list[int]:
    """The last height that each bank's CometBFT knows."""
    return [(await bank.rpc.status()).height for bank in banks]


async def standing(banks: Consortium) -> list[int]:
    """The heights, once none has moved for a while."""
    seen, since = await heights(banks), time.monotonic()

    async def still() -> bool:
        nonlocal seen, since
        now = await heights(banks)
        if now != seen:
            seen, since = now, time.monotonic()
        return time.monotonic() - since > STILL_SECONDS

    await until(still, "nothing is decided")
    return seen


# --- lines ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["held", pytest.param("cut", marks=pytest.mark.long)])
async def test_three_banks_go_on_without_the_one_that_is_parted_and_it_catches_up(
    made: Faulty, way: str
) -> None:
    lone = made.one()
    others = made.links.others(lone.name)
    async with made.load.going():
        (made.links.cut if way == "cut" else made.links.part)([lone.name], others)
        await made.load.more(FEW)
        before = (await lone.rpc.status()).height
        await made.load.more(SOME)
        rest = [(await bank.rpc.status()).height for bank in made.banks if bank is not lone]
        assert (await lone.rpc.status()).height == before, "alone it decides nothing"
        assert min(rest) > before
        made.links.heal()
        await lone.wait_decided(max(rest))
    print(f"3/1, {way}, {lone.name}: 1 tried, 1 held:", await check_banks(made.banks, made.load))


@pytest.mark.evidence(
    "BFT1",
    asset="the ledger",
    threat="nodes and lines that fail",
    mitigation="two thirds of the validators decide",
)
async def test_two_halves_decide_nothing_say_so_and_go_on_where_they_stood(made: Faulty) -> None:
    one = [bank.name for bank in made.chance.sample(made.banks.banks, 2)]
    async with made.load.going():
        made.links.part(one, made.links.others(*one))
        stood = await standing(made.banks)
        told = len(made.load.told)

        async def closed() -> bool:
            found = [await bank.status() for bank in made.banks]
            said = ["no block was decided for" in " ".join(status.alarms) for status in found]
            return all(said) and not any(status.serving for status in found)

        await until(closed, "all doors are closed, and say why")
        assert await heights(made.banks) == stood
        assert len(made.load.told) == told, "nothing was acknowledged"
        made.links.heal()
        took = await made.load.more(1)
    print(
        f"2/2, {one}: 1 tried, 1 held; first acknowledgement {took:.1f} s after healing:",
        await check_banks(made.banks, made.load),
    )


async def test_one_way_partitions_stop_nobody_else(made: Faulty) -> None:
    lone = made.one()
    others = made.links.others(lone.name)
    for what, ends in (("is not heard", ([lone.name], others)), ("hears nothing", (others, [lone.name]))):
        async with made.load.going():
            made.links.hold(*ends)
            took = await made.load.more(SOME)
            made.links.heal()
        print(f"{lone.name} {what}: {SOME} acknowledgements in {took:.1f} s")
    print("one-way: 2 tried, 2 held:", await check_banks(made.banks, made.load))


async def test_with_30_percent_loss_and_with_a_slow_validator_payments_are_decided(made: Faulty) -> None:
    slow = made.one().name
    faults: dict[str, Callable[[], None]] = {
        "sound": made.links.heal,
        f"{LOSS:.0%} loss on all lines": lambda: made.links.lose(LOSS),
        f"{slow} {SLOW_SECONDS} s late": lambda: made.links.slow(slow, SLOW_SECONDS),
    }
    for name, fault in faults.items():
        first = len(made.load.told)
        async with made.load.going(clients=8):
            fault()
            took = await made.load.more(FEW)
            late = sum(way.late for way in made.links.ways.values())
            made.links.heal()
        seconds = [told.seconds for told in made.load.told[first:]]
        print(
            f"{name}: {FEW} acknowledgements in {took:.1f} s, p50 "
            f"{statistics.median(seconds):.2f} s, the slowest {max(seconds):.1f} s; {late} pieces lost"
        )
    assert late > 0
    print("loss, slow: 2 tried, 2 held:", await check_banks(made.banks, made.load))


# --- processes ------------------------------------------------------------------------------------------


async def killed(bank: Bank, made: Faulty) -> None:
    """The node and its CometBFT, kill -9; a part of CometBFT's write-ahead log may be lost with it."""
    await bank.kill()
    log = bank.local.folder / COMET / "data" / "cs.wal" / "wal"
    size = log.stat().st_size
    os.truncate(log, made.chance.choice([size, made.chance.randrange(size + 1)]))
    await made.load.more(3)
    await made.banks.start([bank])


async def comet_killed(bank: Bank, made: Faulty) -> None:
    """CometBFT alone, kill -9."""
    was = await bank.kill_comet()
    await made.load.more(3)
    await bank.wait_comet(other_than=was)
    await bank.wait_decided(max(await heights_of_others(bank, made)))
    await bank.wait_serving()


async def restarted(bank: Bank, made: Faulty) -> None:
    """SIGTERM, and a new start."""
    assert await bank.stop() == 0
    await made.load.more(3)
    await made.banks.start([bank])


async def heights_of_others(bank: Bank, made: Faulty) -> list[int]:
    """Where the others' CometBFT stand."""
    return [(await other.rpc.status()).height for other in made.banks if other is not bank]


@pytest.mark.evidence(
    "BFT1",
    asset="the ledger",
    threat="nodes and lines that fail",
    mitigation="two thirds of the validators decide",
)
async def test_each_validator_is_killed_and_its_cometbft_alone_and_is_restarted(
    made: Faulty, long_run: bool
) -> None:
    """Each is killed; of one, or of all with --long, CometBFT is killed alone and the node restarted, too."""
    tried: Counter[str] = Counter()
    chosen = made.banks.banks if long_run else [made.one()]
    for bank in made.banks:
        async with made.load.going():
            for fault in (killed, *([comet_killed, restarted] if bank in chosen else [])):
                await fault(bank, made)
                tried[fault.__name__] += 1
        held = await check_banks(made.banks, made.load)
    assert tried["killed"] == len(made.banks.banks)
    assert tried["comet_killed"] == tried["restarted"] == len(chosen)
    print(f"kill -9 and restart: {tried.total()} tried, all held: {dict(tried)}:", held)


async def test_a_validator_whose_process_stands_still_for_ten_seconds_goes_on(
    made: Faulty, long_run: bool
) -> None:
    cases = [(bank, whole) for bank in made.banks for whole in (True, False)]
    tried = cases if long_run else [made.chance.choice(cases)]
    for bank, whole in tried:
        async with made.load.going():
            if whole:
                bank.pause()
            else:
                await bank.pause_comet()
            began = time.monotonic()
            while time.monotonic() - began < PAUSE_SECONDS:
                await made.load.more(3)
            bank.resume()
        held = await check_banks(made.banks, made.load)
    told = ", ".join(f"{bank.name}'s {'node' if whole else 'CometBFT'}" for bank, whole in tried)
    print(f"SIGSTOP for {PAUSE_SECONDS:.0f} s, {told}: {len(tried)} tried, {len(tried)} held:", held)


# --- clients --------------------------------------------------------------------------------------------


async def test_the_same_bytes_at_all_four_nodes_at_once_are_decided_once(made: Faulty) -> None:
    before = await made.banks.banks[0].balance("BANK-D/1")
    signed = [await made.load.sign() for _ in range(RETRIES)]
    clients = [await bank.client() for bank in made.banks]
    calls = [client.submit(each.raw) for each in signed for client in clients for _ in range(2)]
    receipts = await asyncio.gather(*calls)
    assert len({(receipt.height, receipt.index) for receipt in receipts}) == RETRIES
    held = await check_banks(made.banks, made.load)
    assert [await bank.balance("BANK-D/1") for bank in made.banks] == [before + RETRIES + len(clients)] * 4
    print(f"retries: {len(calls)} submissions of {RETRIES} payments tried, {RETRIES} held:", held)


# --- chance ---------------------------------------------------------------------------------------------


class Mischief:
    """One fault after the other; some begin before the nodes have recovered from the last."""

    def __init__(self, made: Faulty) -> None:
        self.made, self.chance, self.links = made, made.chance, made.links
        self.done: Counter[str] = Counter()
        self.kinds = (
            *(self.kill, self.kill, self.kill_comet, self.restart, self.pause, self.pause_comet),
            *(self.part, self.part, self.cut, self.halve, self.deafen, self.slow, self.lose),
        )

    async def step(self) -> None:
        """One fault, for a while."""
        kind = self.chance.choice(self.kinds)
        self.done[kind.__name__] += 1
        bank = self.made.one()
        await kind(bank, self.links.others(bank.name))
        if self.chance.random() < CALM:
            await self.made.load.more(FEW)

    async def a_while(self) -> None:
        await asyncio.sleep(self.chance.uniform(0.2, 3.0))

    async def kill(self, bank: Bank, others: list[str]) -> None:
        await bank.kill()
        await self.a_while()
        bank.start()

    async def kill_comet(self, bank: Bank, others: list[str]) -> None:
        await bank.kill_comet()

    async def restart(self, bank: Bank, others: list[str]) -> None:
        await bank.stop(seconds=SECONDS)  # it may be starting only now
        bank.start()

    async def pause(self, bank: Bank, others: list[str]) -> None:
        bank.pause()
        await self.a_while()
        bank.resume()

    async def pause_comet(self, bank: Bank, others: list[str]) -> None:
        await bank.pause_comet()
        await self.a_while()
        bank.resume()

    async def part(self, bank: Bank, others: list[str]) -> None:
        self.links.part([bank.name], others)
        await self.a_while()
        self.links.heal()

    async def cut(self, bank: Bank, others: list[str]) -> None:
        self.links.cut([bank.name], others)
        await self.a_while()
        self.links.heal()

    async def halve(self, bank: Bank, others: list[str]) -> None:
        other = self.chance.choice(others)
        self.links.part([bank.name, other], self.links.others(bank.name, other))
        await self.a_while()
        self.links.heal()

    async def deafen(self, bank: Bank, others: list[str]) -> None:
        pair = [others, [bank.name]]
        self.chance.shuffle(pair)
        self.links.hold(*pair)
        await self.a_while()
        self.links.heal()

    async def slow(self, bank: Bank, others: list[str]) -> None:
        self.links.slow(bank.name, self.chance.uniform(0.05, 0.5))
        await self.a_while()
        self.links.heal()

    async def lose(self, bank: Bank, others: list[str]) -> None:
        self.links.lose(LOSS)
        await self.a_while()
        self.links.heal()


@pytest.mark.evidence(
    "BFT1",
    asset="the ledger",
    threat="nodes and lines that fail",
    mitigation="two thirds of the validators decide",
)
@pytest.mark.timeout(1_000)
async def test_under_faults_at_random_nothing_that_was_acknowledged_is_lost(
    made: Faulty, long_run: bool
) -> None:
    mischief = Mischief(made)
    deadline = time.monotonic() + (RANDOM_SECONDS_LONG if long_run else RANDOM_SECONDS)
    first = len(made.load.told)
    async with made.load.going():
        while time.monotonic() < deadline or mischief.done.total() < RANDOM_FAULTS_MIN:
            await mischief.step()
        began = time.monotonic()
        await made.heal()
        healed = time.monotonic() - began
    tried = mischief.done.total()
    acknowledged = made.load.told[first:]
    longest = max(told.seconds for told in acknowledged)
    assert tried >= RANDOM_FAULTS_MIN
    print(f"random faults: {tried} tried, all held: {dict(mischief.done)}")
    print(
        f"{len(acknowledged)} acknowledged, the slowest in {longest:.1f} s; the same bytes again at another "
        f"node {made.load.resent} times; all nodes serve {healed:.1f} s after the last fault:",
        await check_banks(made.banks, made.load),
    )
