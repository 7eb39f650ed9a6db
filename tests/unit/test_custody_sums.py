"""Running sums of custody: the same as counting everything again, at the price of what has changed."""

import random
from pathlib import Path

import pytest

from node.keys import custody_policy
from node.keys.custody_policy import Facts, Person, Rule, Spent, Sums, parse_policy
from node.keys.custody_sums import Entry, RunningSum
from tests.custody_kit import BOB, POLICY, Bank, settled
from tests.kit import pay as transfer

MAKER = Person("mary", frozenset({"maker"}))
NOON = 1_768_000_000_000
SECOND, HOUR = 1_000, 3_600_000


def pay(amount: int) -> Facts:
    return Facts("transfers", "send", "CZK", amount, "PA/main", ("KB/main",))


def test_a_running_sum_is_what_counting_everything_again_gives() -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    asked = 0
    for _ in range(60):
        running, entries, now = RunningSum(), list[Entry](), 10_000
        for _ in range(chance.randrange(200)):
            now = max(0, now + chance.choice((0, 1, 7, 500, 3_000, -1, -40, -2_500)))
            match chance.randrange(4):
                case 0 | 1:
                    entries.append(running.add(now - chance.choice((0, 0, 0, 900)), chance.randrange(50)))
                case 2 if entries:
                    running.strike(chance.choice(entries))
                case _:
                    since = now - chance.choice((0, 100, 1_000))
                    expected = sum(entry.amount for entry in entries if entry.time_ms > since)
                    assert running.after(since) == expected, seed
                    asked += 1
    print(f"running sums: {asked} asked for, each as counted anew")
    assert asked > 500


def test_what_was_signed_before_is_not_looked_at_again_for_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[Facts] = []
    fits = custody_policy._fits

    def watched(rule: Rule, facts: Facts) -> bool:
        looked.append(facts)
        return fits(rule, facts)

    policy, costs = parse_policy(POLICY.encode()), []
    for signed in (10, 5_000):
        sums = Sums(policy.document.rule, [Spent(NOON - at * SECOND, pay(1)) for at in range(signed)])
        policy.judge([pay(1)], MAKER, (), NOON, sums)
        with monkeypatch.context() as patch:
            patch.setattr(custody_policy, "_fits", watched)
            looked.clear()
            (binding,) = policy.judge([pay(1)], MAKER, (), NOON + 1, sums).bindings
            costs.append(len(looked))
        assert binding.total == signed + 1
    assert costs == [3, 3]


@pytest.mark.asyncio
async def test_sums_are_the_same_after_a_restart_and_leave_out_what_was_refused(tmp_path: Path) -> None:
    bank = Bank(tmp_path / "custody")
    small, large = parse_policy(POLICY.encode()).document.rule[:2]
    async with bank.open() as desk:
        for amount in (40, 30):
            asked = await bank.ask(desk, transfer("PA/main", "KB/main", amount))
            made = await desk.approve(BOB, asked.id, asked.content_hash)
            assert (await settled(desk, made)).status == "applied"
        asked = await bank.ask(desk, transfer("PA/main", "KB/none", 20))
        made = await desk.approve(BOB, asked.id, asked.content_hash)
        assert (await settled(desk, made)).status == "refused"
        before = [desk._sums.before(rule, bank.now_ms) for rule in (small, large)]
    async with bank.open() as desk:
        assert [desk._sums.before(rule, bank.now_ms) for rule in (small, large)] == before == [70, 70]
        bank.now_ms += 25 * HOUR
        assert desk._sums.before(small, bank.now_ms) == 0
