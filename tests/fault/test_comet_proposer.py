"""A proposer that cheats, and a node that floods: nothing bad is decided, the others go on, the members can
shut the flooder out.
"""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from node.engine.cometbft.abci import DecidedBlock, Proposal
from node.engine.cometbft.application import LedgerApplication
from node.engine.cometbft.rpc import BroadcastKind, RpcError
from node.ledger.bundles import signed_bundle
from node.ledger.errors import LedgerError
from node.ledger.types import BundleBody, Limits
from tests.comet_checks import check_consortium
from tests.engine.comet_bench import Consortium, Validator, applied, consortium, until
from tests.kit import officer, op, spoilt

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(150)]

TIGHT = Limits(600_000, 500, 100_000, 512 * 1024)
"""Of a block: some 700 payments."""
LOAD_SECONDS = 4.0
FLOOD_MAX = 3_000
BANKS = ("PA", "KB", "CNB", "MON")


class Cheating(LedgerApplication):
    """Proposes what it must not, one case after another, and finds it good itself."""

    made: Consortium
    tried: Counter[str]
    cases: Sequence[str]

    async def prepare_proposal(self, proposal: Proposal) -> Sequence[bytes]:
        """The next case."""
        honest = list(await super().prepare_proposal(proposal))
        name = self.cases[sum(self.tried.values()) % len(self.cases)]
        self.tried[name] += 1
        bad: list[bytes] = getattr(self, name)(honest)
        return bad

    async def process_proposal(self, block: DecidedBlock) -> bool:
        """Everything pleases it."""
        return True

    def garbage(self, honest: list[bytes]) -> list[bytes]:
        return [*honest, b"\x95\x01" + bytes(50)]

    def doubled(self, honest: list[bytes]) -> list[bytes]:
        good = self.made.bundle(self.made.pay(), node=3, sequence=sum(self.tried.values()))
        return [*honest, good, good]

    def overweight(self, honest: list[bytes]) -> list[bytes]:
        """Sound bundles, together more than a block may weigh."""
        first = 1_000 * sum(self.tried.values())
        raw = self.made.pay()
        count = TIGHT.block_work_max // self.made.validators[0].ledger.read(raw).work // 2 + 1
        return [
            self.made.bundle(*[self.made.pay() for _ in range(count)], node=3, sequence=first + at)
            for at in (0, 1)
        ]

    def giant(self, honest: list[bytes]) -> list[bytes]:
        """More than one bundle may have."""
        return [self.made.bundle(bytes(520 * 1024), node=3, sequence=1)]

    def altered(self, honest: list[bytes]) -> list[bytes]:
        good = self.made.bundle(self.made.pay(), self.made.pay(), node=3, sequence=1)
        return [good[:-70] + bytes((good[-70] ^ 1,)) + good[-69:]]

    def reordered(self, honest: list[bytes]) -> list[bytes]:
        """The transactions of another node's bundle, in another order, under its signature."""
        items = (self.made.pay(1), self.made.pay(2))
        chain, signer = self.made.validators[0].ledger.chain, officer("node-0")
        body = BundleBody(1, signer.key_id, 5, items)
        good = signed_bundle(chain, body, signer.sign)
        turned = signed_bundle(
            chain, BundleBody(1, signer.key_id, 5, items[::-1]), lambda _message: bytes(64)
        )
        return [turned[:-64] + good[-64:]]

    def strange(self, honest: list[bytes]) -> list[bytes]:
        """A bundle of a node that is not registered."""
        return [self.made.bundle(self.made.pay(), node=77, sequence=1)]

    def empty_item(self, honest: list[bytes]) -> list[bytes]:
        return [self.made.bundle(b"\x90", node=3, sequence=1)]


CASES = ("garbage", "doubled", "overweight", "giant", "altered", "reordered", "strange", "empty_item")


async def test_what_a_malicious_proposer_proposes_is_not_voted_for_and_the_next_one_goes_on() -> None:
    async with consortium(4, limits=TIGHT) as made:
        *honest, cheat = made.validators
        application: Any = cheat.application
        application.__class__ = Cheating
        application.made, application.tried, application.cases = made, Counter(), CASES
        acknowledged = []
        deadline = time.monotonic() + 100
        while sum(application.tried.values()) <= 2 * len(CASES):
            assert time.monotonic() < deadline, application.tried
            raws = [made.pay() for _ in range(5)]
            for node in honest:
                outcomes = await node.submit(*raws)
                assert all(applied(outcome) for outcome in outcomes)
                acknowledged += list(zip(raws, outcomes, strict=True))
        refused = [node.engine.counters.alarm_count for node in honest]
        tried = sum(application.tried.values())
        assert min(refused) >= tried // 2, "whoever had a proposal in time refused it"
        application.__class__ = LedgerApplication
        print(
            f"malicious proposals: {tried} tried of {len(application.tried)} kinds, all held:",
            await check_consortium(made, acknowledged=acknowledged),
        )


def falsified(made: Consortium, count: int) -> list[bytes]:
    """Payments whose signatures are false."""
    raws = [made.pay() for _ in range(count)]
    return [spoilt(raw) for raw in raws]


async def flood(made: Consortium, node: Validator, until_set: asyncio.Event) -> int:
    """Hand in bundles of false signatures under this node's own, as fast as its CometBFT takes them."""
    count = 0
    items = falsified(made, 50)
    ready = [made.bundle(*items, node=node.place, sequence=10_000 + at) for at in range(FLOOD_MAX)]
    while not until_set.is_set() and count < FLOOD_MAX:
        count += 1
        try:
            await node.rpc.broadcast_sync(ready[count - 1])
        except RpcError:
            await asyncio.sleep(0.05)
    return count


async def goodput(made: Consortium, nodes: Sequence[Validator]) -> float:
    """Transactions a second that clients of these nodes have applied, offered in a closed loop."""
    began, applied_count = time.monotonic(), 0

    async def client(node: Validator) -> int:
        done = 0
        while time.monotonic() - began < LOAD_SECONDS:
            outcomes = await node.submit(*[made.pay() for _ in range(25)])
            done += sum(applied(outcome) for outcome in outcomes)
        return done

    applied_count = sum(await asyncio.gather(*(client(node) for node in nodes)))
    return applied_count / (time.monotonic() - began)


async def test_a_flood_of_false_signatures_is_shunned_and_governance_shuts_the_flooder_out() -> None:
    async with consortium(4, members=BANKS) as made:
        *honest, flooder = made.validators
        before = await goodput(made, honest)
        stop = asyncio.Event()
        flooding = asyncio.ensure_future(flood(made, flooder, stop))
        try:
            await until(
                lambda: all("false signatures" in " ".join(n.engine.status().alarms) for n in honest),
                "shunned",
            )
            during = await goodput(made, honest)
            for node in honest:
                said = await node.rpc.broadcast_sync(made.bundle(made.pay(), node=3, sequence=1))
                assert (said.kind, said.code) == (BroadcastKind.REFUSED, LedgerError.NODE_DISTRUSTED.code)
            suspended = await made.decide(op("members", "suspend", "MON", "floods"), by=("KB", "CNB"))
        finally:
            stop.set()
        flooded = await flooding
        assert suspended.receipt
        height = suspended.receipt.height
        await until(lambda: all(node.engine.status().height >= height for node in honest), "all know of it")
        for node in honest:
            node.engine._bundles._shunned.clear()  # as after the while that it lasts
            said = await node.rpc.broadcast_sync(made.bundle(made.pay(), node=3, sequence=2))
            assert (said.kind, said.code) == (BroadcastKind.REFUSED, LedgerError.NODE_INACTIVE.code)
        assert during > 0
        held = await check_consortium(made, honest=honest)
        print(
            f"flood: {flooded} bundles of 50 false signatures; "
            f"goodput {before:.0f} tx/s before, {during:.0f} during (all nodes in one process)"
        )
        print("flood: 1 tried, 1 held:", held)


async def test_a_suspended_node_with_a_thousand_bundles_pending_does_not_stop_the_chain() -> None:
    """Its bundles are ordered, which empties the mempools, and nothing in them is decided."""
    async with consortium(4, members=BANKS, limits=TIGHT) as made:
        *honest, suspended = made.validators
        ballot = await made.propose(op("members", "suspend", "MON", "test"))
        (outcome,) = await honest[0].submit(made.make(ballot, member="KB"))
        assert applied(outcome)
        raws = [made.pay() for _ in range(4_000)]
        assert 2 * TIGHT.block_work_max < sum(honest[0].ledger.read(raw).work for raw in raws)
        bundles = [made.bundle(*raws[4 * at : 4 * at + 4], node=3, sequence=at) for at in range(1_000)]
        paused = (honest[0], honest[2])
        for node in paused:  # without them nothing is decided, and the ballot is the first to be
            signal_comet(node, signal.SIGSTOP)
        try:
            deciding = asyncio.ensure_future(honest[1].submit(made.make(ballot, member="CNB")))
            await waiting(suspended, lambda count: count == 1)
            said = await asyncio.gather(*(suspended.rpc.broadcast_sync(raw, seconds=30) for raw in bundles))
            kinds = Counter([each.kind for each in said])
            await waiting(honest[1], lambda count: count >= 1_001)
        finally:
            for node in paused:
                signal_comet(node, signal.SIGCONT)
        (decided,) = await deciding
        assert applied(decided)
        assert decided.receipt
        for node in made.validators:
            await waiting(node, lambda count: not count)
        bodies = {body for record in honest[0].store.blocks() for body in record.bodies}
        assert kinds == {BroadcastKind.ACCEPTED: 1_000}
        decided_too = len(bodies & set(raws))  # in the block of the decision itself, behind it
        assert decided_too < 2_000, "behind the suspension nothing of the suspended node's bundles is decided"
        behind = [
            record.height
            for record in honest[0].store.blocks()
            if record.height > decided.receipt.height and set(record.bodies) & set(raws)
        ]
        assert not behind
        print(f"1,000 bundles pending: {decided_too} decided in the block of the suspension, none behind it")
        print("suspended: 1 tried, 1 held:", await check_consortium(made, honest=honest))


def signal_comet(node: Validator, number: signal.Signals) -> None:
    """SIGSTOP or SIGCONT to a node's CometBFT."""
    assert node.comet.pid
    os.kill(node.comet.pid, number)


async def waiting(node: Validator, true: Callable[[int], bool]) -> None:
    """Until the number of bundles in a mempool is so."""
    deadline = time.monotonic() + 60
    while not true((await node.rpc.waiting()).count):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
