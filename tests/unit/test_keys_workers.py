"""Worker processes: the same answers as inline, and nothing lost or called invalid when a worker dies."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from node.keys import workers as module
from node.keys.signer import generate
from node.keys.verify import verify_many
from node.keys.workers import FRAME_CHECKS_MAX, VerifyWorkers, WorkersClosed
from node.ledger.ports import Check

SUITE = "international"
ROOT = Path(__file__).parents[2]
DEADLINE_S = 30.0


def mixed_checks(count: int) -> list[Check]:
    """Good and bad ones of both algorithms, malformed ones among them, and messages of many lengths."""
    signers = [generate("ed25519"), generate("p256")]
    checks = []
    for number in range(count):
        signer = signers[number % 7 == 0]
        message = b"%d" % number * (number % 50)
        check = Check(signer.algorithm, signer.public_key, message, signer.sign(message))
        spoilt = [
            check,
            check._replace(message=message + b"!"),
            check._replace(signature=b""),
            check,
            check._replace(public_key=check.public_key[1:]),
            check._replace(algorithm="unknown"),
        ]
        checks.append(spoilt[number % 6])
    return checks


CHECKS = mixed_checks(1_200)
EXPECTED = [answer == 1 for answer in verify_many(SUITE, CHECKS)]


@asynccontextmanager
async def running(count: int) -> AsyncIterator[VerifyWorkers]:
    pool = VerifyWorkers(SUITE, count)
    await pool.start()
    try:
        yield pool
    finally:
        await pool.close()


async def until(condition: Callable[[], bool]) -> None:
    """Give the loop turns until something holds; the deadline is the test's failure."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110 - the end of a foreign process sets no event
            await asyncio.sleep(0.001)


def restarted(pool: VerifyWorkers, times: int) -> bool:
    return pool.restarts == times


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that is dead and not yet waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.asyncio
async def test_workers_answer_as_an_inline_verifier_does() -> None:
    assert 300 < sum(EXPECTED) < 900
    async with running(2) as pool:
        assert await pool.verify(CHECKS) == EXPECTED
        assert await pool.verify([]) == []
        sizes = [1, 2, FRAME_CHECKS_MAX - 1, FRAME_CHECKS_MAX, FRAME_CHECKS_MAX + 1, 300]
        for size in sizes:
            assert await pool.verify(CHECKS[:size]) == EXPECTED[:size]


@pytest.mark.asyncio
async def test_many_requests_at_once_each_get_their_own_answers() -> None:
    ranges = [(at, at + 1 + at % 37) for at in range(0, 1_150, 3)]
    async with running(2) as pool:
        answers = await asyncio.gather(*(pool.verify(CHECKS[low:high]) for low, high in ranges))
    assert answers == [EXPECTED[low:high] for low, high in ranges]


def up_to_the_first_false(answers: list[bool]) -> list[bool]:
    return answers[: answers.index(False) + 1] if False in answers else answers


@pytest.mark.asyncio
async def test_a_request_can_end_at_its_first_false_answer_beside_others_that_do_not() -> None:
    true = [check for check, answer in zip(CHECKS, EXPECTED, strict=True) if answer][:300]
    bad = CHECKS[1]
    assert not EXPECTED[1]
    requests = [
        [bad, *true],
        [*true[:5], bad, *true],
        [*true[:FRAME_CHECKS_MAX], bad, *true, bad],
        [*true, bad],
        true,
        [bad],
    ]
    expected = [up_to_the_first_false([check is not bad for check in asked]) for asked in requests]
    async with running(2) as pool:
        ended = [pool.verify(asked, until_false=True) for asked in requests]
        whole = [pool.verify(asked) for asked in requests]
        assert await asyncio.gather(*ended) == expected
        assert await asyncio.gather(*whole) == [[c is not bad for c in asked] for asked in requests]
        for pid in pool.pids:  # and where this process answers for workers that died
            os.kill(pid, signal.SIGSTOP)
        ended = [pool.verify(asked, until_false=True) for asked in requests]
        await asyncio.sleep(0)
        for pid in pool.pids:
            os.kill(pid, signal.SIGKILL)
        assert await asyncio.gather(*ended) == expected


@pytest.mark.asyncio
async def test_a_killed_worker_loses_nothing_and_is_started_again() -> None:
    async with running(2) as pool:
        assert await pool.verify(CHECKS[:10]) == EXPECTED[:10]
        for round_ in range(3):
            before = set(pool.pids)
            asked = [asyncio.ensure_future(pool.verify(CHECKS)) for _ in range(3)]
            await asyncio.sleep(0)  # the frames are sent
            victim = pool.pids[round_ % 2]
            os.kill(victim, signal.SIGKILL)
            assert await asyncio.gather(*asked) == [EXPECTED] * 3
            await until(partial(restarted, pool, round_ + 1))
            assert len(pool.pids) == 2
            assert len(before & set(pool.pids)) == 1
            assert await pool.verify(CHECKS[:300]) == EXPECTED[:300]
            await asyncio.gather(*(pool.verify(CHECKS[:64]) for _ in range(8)))  # each has answered once


@pytest.mark.asyncio
async def test_with_every_worker_dead_requests_are_verified_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RESTART_DELAY_S", DEADLINE_S)
    async with running(2) as pool:
        for pid in pool.pids:  # dead before their first answer: they are not started again at once
            os.kill(pid, signal.SIGKILL)
        assert await pool.verify(CHECKS) == EXPECTED
        await until(lambda: pool.pids == [])
        assert await pool.verify(CHECKS) == EXPECTED
        assert pool.restarts == 0


@pytest.mark.asyncio
async def test_a_stopped_worker_that_is_killed_gives_its_checks_back() -> None:
    async with running(1) as pool:
        assert await pool.verify(CHECKS[:1]) == EXPECTED[:1]
        (pid,) = pool.pids
        os.kill(pid, signal.SIGSTOP)
        asked = [asyncio.ensure_future(pool.verify(CHECKS[:200])) for _ in range(4)]
        for _ in range(10):
            await asyncio.sleep(0)
        assert not any(future.done() for future in asked)
        os.kill(pid, signal.SIGKILL)
        assert await asyncio.gather(*asked) == [EXPECTED[:200]] * 4


@pytest.mark.asyncio
async def test_a_caller_that_gives_up_disturbs_no_other() -> None:
    async with running(1) as pool:
        gone = [asyncio.ensure_future(pool.verify(CHECKS)) for _ in range(2)]
        stays = asyncio.ensure_future(pool.verify(CHECKS))
        await asyncio.sleep(0)
        for future in gone:
            future.cancel()
        assert await stays == EXPECTED
        assert all(future.cancelled() for future in gone)


@pytest.mark.asyncio
async def test_closing_answers_whoever_waits_and_ends_the_processes() -> None:
    async with running(2) as pool:
        pids = pool.pids
        asked = [asyncio.ensure_future(pool.verify(CHECKS)) for _ in range(3)]
        await asyncio.sleep(0)
        await pool.close()
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        assert all(isinstance(outcome, WorkersClosed) for outcome in outcomes)
        with pytest.raises(WorkersClosed):
            await pool.verify(CHECKS)
        assert [pid for pid in pids if is_alive(pid)] == []


@pytest.mark.asyncio
async def test_workers_are_nice_and_ignore_the_interrupt_of_the_terminal() -> None:
    async with running(1) as pool:
        await pool.verify(CHECKS[:1])
        (pid,) = pool.pids
        assert os.getpriority(os.PRIO_PROCESS, pid) >= min(
            19, os.getpriority(os.PRIO_PROCESS, 0) + module.NICENESS
        )
        os.kill(pid, signal.SIGINT)
        assert await pool.verify(CHECKS) == EXPECTED
        assert pool.pids == [pid]


PARENT = """
import asyncio, sys
from node.keys.workers import VerifyWorkers

async def main():
    pool = VerifyWorkers("international", 2)
    await pool.start()
    await pool.verify([])
    print(*pool.pids, flush=True)
    await asyncio.Event().wait()

if __name__ == "__main__":
    asyncio.run(main())
"""


@pytest.mark.asyncio
async def test_workers_die_with_their_parent_however_it_dies(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    parent = await asyncio.create_subprocess_exec(
        sys.executable, script, stdout=asyncio.subprocess.PIPE, env=environment
    )
    assert parent.stdout is not None
    pids = [int(pid) for pid in (await parent.stdout.readline()).split()]
    assert len(pids) == 2
    assert all(is_alive(pid) for pid in pids)
    parent.kill()
    await parent.wait()
    await until(lambda: not any(is_alive(pid) for pid in pids))


def test_a_pool_without_workers_or_of_an_unknown_suite_is_refused() -> None:
    for suite, count in ((SUITE, 0), ("unknown", 1)):
        with pytest.raises(ValueError, match="at least one worker"):
            VerifyWorkers(suite, count)
