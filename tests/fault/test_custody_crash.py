"""Crashes of the custody desk at every write and every sync: no approval that was answered is lost, nothing
is paid twice, and the log verifies. The files are real; what survives is the ledger and them.
"""

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from node.engine.custody import Desk
from node.engine.engine import Outcome
from node.engine.errors import Degraded, NodeError
from node.keys import audit
from node.keys.audit import AuditDamaged, verify
from node.keys.custody import CustodyError
from node.keys.custody_queue import QueueDamaged
from tests.custody_kit import BOB, CAROL, MARY, ROOT, WAIT_SECONDS, Bank, Crash, abandon, try_until_done
from tests.kit import pay

pytestmark = pytest.mark.asyncio
ID = bytes(15) + b"\1"
STEPS_MAX = 400
LIMIT_SECONDS = 30


class Fuse:
    """Counts what is written and synced, and burns at one of them: before it, half-way, or behind it."""

    def __init__(self, at: int, how: str) -> None:
        self.at, self.how, self.count, self.burnt = at, how, 0, False

    def step(self, work: Callable[..., Any], *arguments: Any) -> Any:
        if self.burnt:
            raise Crash
        self.count += 1
        if self.count != self.at:
            return work(*arguments)
        self.burnt = True
        if self.how == "half" and work is WRITE:
            work(arguments[0], arguments[1][: len(arguments[1]) // 2])
        elif self.how == "behind":
            work(*arguments)
        raise Crash


WRITE, SYNC, REPLACE = os.write, os.fsync, Path.replace


@contextmanager
def burning(fuse: Fuse, patch: pytest.MonkeyPatch) -> Iterator[None]:
    with patch.context() as patched:
        patched.setattr(os, "write", lambda *given: fuse.step(WRITE, *given))
        patched.setattr(os, "fsync", lambda *given: fuse.step(SYNC, *given))
        patched.setattr(Path, "replace", lambda *given: fuse.step(REPLACE, *given))
        yield


async def live(bank: Bank, fuse: Fuse, answered: dict[str, None]) -> bool:
    """A client's whole business, from wherever it stands; False where the process ended before."""
    desk: Desk | None = None
    try:
        desk = bank.desk()
        await desk.start()
        operations = [pay("PA/main", "KB/main", 150)]
        await try_until_done(lambda: desk.request(MARY, operations, request_id=ID))
        known = desk.get(MARY, ID)
        assert {each.by for each in known.approvals} >= set(answered), "an approval that was answered is lost"
        for who in (BOB, CAROL):
            done = (CustodyError.APPROVED_ALREADY, CustodyError.NOT_WAITING)
            await try_until_done(partial(desk.approve, who, ID, known.content_hash), *done)
            answered[who.name] = None
        waiting = asyncio.create_task(desk.wait(MARY, ID, WAIT_SECONDS))
        burnt = asyncio.create_task(_until_burnt(fuse))
        await asyncio.wait([waiting, burnt], return_when=asyncio.FIRST_COMPLETED)
        for task in (waiting, burnt):
            task.cancel()
        if fuse.burnt:
            raise Crash
        assert desk.get(MARY, ID).status == "applied"
        await desk.stop()
    except (Crash, Degraded):
        if desk:
            await abandon(desk)
        return False
    return True


async def _until_burnt(fuse: Fuse) -> None:
    while not fuse.burnt:  # noqa: ASYNC110  # what burns it is a thread's write
        await asyncio.sleep(0.01)


async def crash_at(bank: Bank, at: int, how: str, patch: pytest.MonkeyPatch) -> bool:
    """Whether there was a step number ``at`` to crash at."""
    fuse, answered = Fuse(at, how), dict[str, None]()
    with burning(fuse, patch):
        finished = await live(bank, fuse, answered)
    if not finished:
        assert await live(bank, Fuse(0, how), answered), "after the crash"
    assert bank.paid == 150, bank.paid
    assert verify(bank.folder, ROOT.public_key).problems == ()
    return fuse.burnt


@pytest.mark.parametrize("how", ["before", "half", "behind"])
@pytest.mark.evidence(
    "CUS2",
    asset="balances",
    threat="a crash pays twice or loses an approval",
    mitigation="a synced line before every effect",
)
async def test_a_crash_at_any_write_loses_no_approval_and_pays_once(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = 0
    while await crash_at(Bank(tmp_path / f"{at}"), at + 1, how, monkeypatch):
        at += 1
        assert at < STEPS_MAX
    print(f"{at} crashes {how} a write or sync: each paid once, no answered approval lost")
    assert at > 30


async def test_a_crash_while_what_a_crash_left_is_mended_is_mended_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = 0
    for first in range(1, 60, 6):
        for second in range(1, 9, 2):
            bank, answered = Bank(tmp_path / f"{first}-{second}"), dict[str, None]()
            for at in (first, second):
                fuse = Fuse(at, "half")
                with burning(fuse, monkeypatch):
                    await live(bank, fuse, answered)
            assert await live(bank, Fuse(0, "half"), answered)
            assert bank.paid == 150
            assert verify(bank.folder, ROOT.public_key).problems == ()
            tried += 1
    print(f"{tried} pairs of crashes, each paid once")


async def test_a_crash_between_signing_and_the_answer_sends_the_same_bytes_again(tmp_path: Path) -> None:
    """The engine decides, the process ends before it hears so; and the engine never hears of it at all."""
    for name, canned in (("decided", []), ("unheard", [Outcome(error=NodeError.STARTING)])):
        bank = Bank(tmp_path / name)
        bank.engine.canned = canned
        desk = bank.desk()
        await desk.start()
        asked = await bank.ask(desk)
        settle = Desk._settle
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Desk, "_settle", lambda *_: asyncio.Event().wait())
            made = await desk.approve(BOB, asked.id, asked.content_hash)
            async with asyncio.timeout(LIMIT_SECONDS):
                while not bank.engine.submitted:  # noqa: ASYNC110  # a canned engine has no event
                    await asyncio.sleep(0.01)
            await abandon(desk)
        assert Desk._settle is settle
        bank.engine.canned = []
        async with bank.open() as again:
            assert (await again.wait(MARY, asked.id, WAIT_SECONDS)).status == "applied"
        assert set(bank.engine.submitted) == {made.signed}
        assert bank.paid == 50


async def test_a_full_disk_stops_custody_and_a_restart_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = Bank(tmp_path / "custody")
    async with bank.open() as desk:
        asked = await bank.ask(desk)
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", lambda *_: 3)
            with pytest.raises(Degraded) as told:
                await desk.approve(BOB, asked.id, asked.content_hash)
        assert told.value.error is NodeError.STOPPED
        with pytest.raises(Degraded):
            await desk.approve(BOB, asked.id, asked.content_hash)
    async with bank.open() as desk:
        await desk.approve(BOB, asked.id, asked.content_hash)
        assert (await desk.wait(MARY, asked.id, WAIT_SECONDS)).status == "applied"
    assert bank.paid == 50


@pytest.mark.evidence(
    "CUS3",
    asset="custody's queue",
    threat="an old file is put back",
    mitigation="sequences of the log in every file",
)
async def test_books_that_do_not_agree_are_never_opened_by_half(tmp_path: Path) -> None:
    """A log or a queue that was put back to any earlier moment, beside the other as it is now."""
    bank = Bank(tmp_path / "custody")
    moments: list[tuple[bytes, bytes]] = []
    path = bank.folder / "queue" / ID.hex()

    def look() -> None:
        moments.append(((bank.folder / audit.LOG).read_bytes(), path.read_bytes()))

    async with bank.open() as desk:
        asked = await desk.request(MARY, [pay("PA/main", "KB/main", 150)], request_id=ID)
        look()
        await desk.approve(BOB, ID, asked.content_hash)
        look()
        await desk.approve(CAROL, ID, asked.content_hash)
        await desk.wait(MARY, ID, WAIT_SECONDS)
        look()
    now_log, now_file = moments[-1]
    tried = 0
    for log, file in moments[:-1]:
        for content, queue in ((log, now_file), (now_log, file), (log, file)):
            (bank.folder / audit.LOG).write_bytes(content)
            path.write_bytes(queue)
            with pytest.raises((AuditDamaged, QueueDamaged)):
                bank.books()
            tried += 1
    (bank.folder / audit.LOG).write_bytes(now_log)
    path.write_bytes(now_file)
    bank.books().close()
    print(f"{tried} restored files, none was believed; signed bytes were sent once: {bank.paid}")
    assert len(bank.engine.submitted) == 1
