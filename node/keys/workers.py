"""Verification in other processes, so that signatures cost the node's own process almost nothing.

A worker is a spawned process at the end of a socket pair. Down go frames: four bytes of length, then the
MessagePack of a list of groups, each with its checks and whether a false one ends it. Up comes one byte a
check, 1, 0 or UNSEEN, in the order of the checks; no frame is needed, since the parent knows what it asked.

What always holds: an answer is a verifier's answer. What a dead worker did not answer is verified in this
process, and the worker is started again; a signature is never called invalid because a process died. A worker
ends when its socket does, hence with its parent, however the parent ends.

Measured on two cores (81-byte messages, two workers), microseconds of CPU in this process a check, and for
comparison the same load through ``concurrent.futures.ProcessPoolExecutor``: requests of 1,000 checks 1.4
(4.1), of 100 2.4 (10), of 10 7 (42), of 1 45 (353); some 30,000 checks a second, which is what two cores can
verify.
"""

import asyncio
import logging
import multiprocessing
import os
import signal
import socket
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.context import SpawnProcess
from typing import Final, cast

import msgspec

from node.keys.verify import UNSEEN, VERIFIERS, verify_many
from node.ledger.ports import Check

NICENESS: Final = 5
FRAME_CHECKS_MAX: Final = 128
"""Checks in one frame: about 6 ms of work, so that a large request is shared between the workers."""
FRAMES_AT_WORKER_MAX: Final = 2
"""Frames under way to one worker: one at work and one behind it, so that it never waits for this process."""
SECOND_FRAME_MIN: Final = 64
"""Checks that make a second frame worth sending; fewer wait and travel together when the first is back."""
RESTART_DELAY_S: Final = 1.0
"""Pause before a worker is started again that died before its first answer, or could not be started."""
CLOSE_TIMEOUT_S: Final = 5.0
HEADER_BYTES: Final = 4

_log = logging.getLogger(__name__)
_SPAWN: Final = multiprocessing.get_context("spawn")
_encode: Final = msgspec.msgpack.Encoder().encode


class WorkersClosed(Exception):
    """The pool was closed before it answered; nothing is known about the signatures."""


@dataclass(slots=True, eq=False)
class _Group:
    """Checks of one request that travel together, and the future of their answers. until_false: none behind
    the first false one is looked at, or answered.
    """

    checks: Sequence[Check]
    until_false: bool
    answers: asyncio.Future[list[bool]]

    def answer(self, said: bytes) -> None:
        """What ``verify_many`` said of the checks."""
        self.answers.set_result([answer == 1 for answer in said if answer != UNSEEN])


class VerifyWorkers:
    """``count`` worker processes and the line of groups before them. Belongs to one event loop.

    The line itself is unbounded: whoever calls bounds what it has under way (the engine's queue). Small
    requests that wait together leave together, in one frame.
    """

    def __init__(self, suite_name: str, count: int) -> None:
        """suite_name: a key of VERIFIERS. count: processes, at least 1. Raises: ValueError for another."""
        if count < 1 or suite_name not in VERIFIERS:
            raise ValueError("at least one worker, of a suite that there is")
        self._suite_name = suite_name
        self._count = count
        self._workers: list[_Worker] = []
        self._waiting: deque[_Group] = deque()
        self._restarting: set[asyncio.Task[None]] = set()
        self._closed = False
        self._dispatching = False
        self.restarts = 0
        """Workers that died and were started again; every one of them deserves an alarm."""

    @property
    def pids(self) -> list[int]:
        """The process ids of the workers alive now."""
        return [worker.process.pid or 0 for worker in self._workers]

    async def start(self) -> None:
        """Start the processes; they import while the first groups already wait in their sockets.

        Raises: OSError where the system gives no process.
        """
        for _ in range(self._count):
            await self._start_worker()

    def verify(self, checks: Sequence[Check], *, until_false: bool = False) -> "asyncio.Future[list[bool]]":
        """Answer each check, in order; until_false: the first false answer is the last one given. The future
        raises WorkersClosed when the pool is closed before it has answered.
        """
        loop = asyncio.get_running_loop()
        groups = [
            _Group(checks[at : at + FRAME_CHECKS_MAX], until_false, loop.create_future())
            for at in range(0, len(checks), FRAME_CHECKS_MAX)
        ]
        if self._closed or not groups:
            answers: asyncio.Future[list[bool]] = loop.create_future()
            answers.set_exception(WorkersClosed()) if self._closed else answers.set_result([])
            return answers
        self._waiting.extend(groups)
        if not self._dispatching:  # once for all that this turn of the loop brings
            self._dispatching = True
            loop.call_soon(self._dispatch_soon)
        return groups[0].answers if len(groups) == 1 else _joined(groups)

    async def close(self) -> None:
        """End the workers. Whoever still waits for one gets WorkersClosed."""
        self._closed = True
        workers, self._workers = self._workers, []
        for group in [*self._waiting, *(group for worker in workers for group in worker.take_under_way())]:
            if not group.answers.done():
                group.answers.set_exception(WorkersClosed())
        self._waiting.clear()
        for task in self._restarting:
            task.cancel()
        await asyncio.gather(*self._restarting, return_exceptions=True)
        for worker in workers:
            worker.hang_up()
        await asyncio.gather(*(asyncio.to_thread(_reap, worker.process) for worker in workers))

    def lost(self, worker: "_Worker") -> None:
        """A worker's socket has ended: answer for it here and start another."""
        if worker not in self._workers:
            return
        self._workers.remove(worker)
        unanswered = worker.take_under_way()
        _log.warning("verify worker %s died with %d groups under way", worker.process.pid, len(unanswered))
        worker.process.kill()  # where it closed its socket and lives on
        self._verify_here(unanswered)
        task = asyncio.get_running_loop().create_task(self._restart(at_once=worker.has_answered))
        self._restarting.add(task)
        task.add_done_callback(self._restarting.discard)
        self.dispatch()

    def _dispatch_soon(self) -> None:
        self._dispatching = False
        self.dispatch()

    def dispatch(self) -> None:
        """Send what waits to whoever has the least under way; with no worker alive, verify here."""
        if not self._workers:
            self._verify_here(self._waiting)
            self._waiting.clear()
        while self._waiting:
            worker = min(self._workers, key=_frames_under_way)
            if worker.under_way and (
                len(worker.under_way) >= FRAMES_AT_WORKER_MAX or not self._fills_second_frame()
            ):
                return
            if frame := self._next_frame():
                worker.send(frame)

    def _fills_second_frame(self) -> bool:
        size = 0
        for group in self._waiting:
            size += len(group.checks)
            if size >= SECOND_FRAME_MIN:
                return True
        return False

    def _next_frame(self) -> list[_Group]:
        """As many of the waiting groups as fit a frame, at least one; none of those whose callers were
        cancelled.
        """
        frame: list[_Group] = []
        size = 0
        while self._waiting and (not frame or size + len(self._waiting[0].checks) <= FRAME_CHECKS_MAX):
            group = self._waiting.popleft()
            if not group.answers.done():
                frame.append(group)
                size += len(group.checks)
        return frame

    def _verify_here(self, groups: Iterable[_Group]) -> None:
        loop = asyncio.get_running_loop()
        for group in groups:
            if not group.answers.done():
                verify = partial(verify_many, self._suite_name, group.checks, until_false=group.until_false)
                in_thread = loop.run_in_executor(None, verify)
                in_thread.add_done_callback(partial(_hand_over, group))

    async def _start_worker(self) -> None:
        ours, theirs = socket.socketpair()
        process = _SPAWN.Process(
            target=_work, args=(theirs, self._suite_name), name="vostro-verify", daemon=True
        )
        try:
            process.start()
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        make = partial(_Worker, self, process)
        _, worker = await asyncio.get_running_loop().create_unix_connection(make, sock=ours)
        self._workers.append(worker)
        self.dispatch()

    async def _restart(self, *, at_once: bool) -> None:
        while True:
            if not at_once:
                await asyncio.sleep(RESTART_DELAY_S)
            try:
                await self._start_worker()
            except OSError as error:
                _log.warning("no new verify worker: %s", error)
                at_once = False
            else:
                self.restarts += 1
                return


class _Worker(asyncio.Protocol):
    """This process's end of one worker: frames sent and not yet answered, oldest first."""

    def __init__(self, pool: VerifyWorkers, process: SpawnProcess) -> None:
        self.process = process
        self.under_way: deque[list[_Group]] = deque()
        self.has_answered = False
        self._pool = pool
        self._received = b""
        self._transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def send(self, frame: list[_Group]) -> None:
        body = _encode([(group.until_false, group.checks) for group in frame])
        self.under_way.append(frame)
        self._transport.write(len(body).to_bytes(HEADER_BYTES, "big") + body)

    def data_received(self, data: bytes) -> None:
        self.has_answered = True
        self._received += data
        while self.under_way and len(self._received) >= _size(self.under_way[0]):
            at = 0
            for group in self.under_way.popleft():
                end = at + len(group.checks)
                if not group.answers.done():
                    group.answer(self._received[at:end])
                at = end
            self._received = self._received[at:]
        self._pool.dispatch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._pool.lost(self)

    def take_under_way(self) -> list[_Group]:
        """The groups that were not answered; they are no longer this worker's."""
        groups = [group for frame in self.under_way for group in frame]
        self.under_way.clear()
        return groups

    def hang_up(self) -> None:
        self._transport.abort()


def _joined(groups: Sequence[_Group]) -> "asyncio.Future[list[bool]]":
    """The answers of several groups of one request as one."""
    whole: asyncio.Future[list[bool]] = asyncio.get_running_loop().create_future()
    parts = asyncio.gather(*(group.answers for group in groups))

    def hand_over(done: "asyncio.Future[list[list[bool]]]") -> None:
        if whole.done():
            return
        if error := done.exception():
            whole.set_exception(error)
        else:
            whole.set_result(_in_order(groups, done.result()))

    parts.add_done_callback(hand_over)
    return whole


def _in_order(groups: Sequence[_Group], parts: Sequence[list[bool]]) -> list[bool]:
    answers: list[bool] = []
    for group, part in zip(groups, parts, strict=True):
        answers += part
        if group.until_false and not all(part):
            break
    return answers


def _size(frame: list[_Group]) -> int:
    return sum(len(group.checks) for group in frame)


def _frames_under_way(worker: _Worker) -> int:
    return len(worker.under_way)


def _hand_over(group: _Group, decided: asyncio.Future[bytes]) -> None:
    """What came of verifying a group in a thread becomes what came of the group."""
    if group.answers.done():
        return
    if decided.cancelled():
        group.answers.cancel()
    elif (error := decided.exception()) is not None:
        group.answers.set_exception(error)
    else:
        group.answer(decided.result())


def _reap(process: SpawnProcess) -> None:
    process.join(CLOSE_TIMEOUT_S)
    if process.is_alive():
        process.kill()
        process.join()
    process.close()


def _work(requests: socket.socket, suite_name: str) -> None:
    """The life of a worker: read a frame, answer it, until the other end is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    os.nice(NICENESS)
    decode = msgspec.msgpack.Decoder(list[tuple[bool, list[Check]]]).decode
    with requests, requests.makefile("rb") as stream:
        try:
            while len(header := stream.read(HEADER_BYTES)) == HEADER_BYTES:
                body = stream.read(int.from_bytes(header, "big"))
                requests.sendall(
                    b"".join(
                        [
                            verify_many(suite_name, checks, until_false=until_false)
                            for until_false, checks in decode(body)
                        ]
                    )
                )
        except (ConnectionError, msgspec.DecodeError):  # a frame cut short has no reader any more either
            return
