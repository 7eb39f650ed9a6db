"""CometBFT as a child process: started, watched, started again when it ends, stopped; or one that somebody
else runs.

What always holds: the child dies with this process, whatever becomes of it; only the release of CometBFT that
the node is made for is started; restarts are spaced, ever wider up to a bound, and each unexpected end is an
alarm that says what CometBFT said last. One that ends itself at every start, before it answers, is given up,
with a sentence that says what to do: nothing but an operator helps where its databases are damaged. A
CometBFT that lost its application ends: itself, or, since it can hang in that (its consensus waits for an
answer that nobody gives), by our hand.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import structlog

from node.engine.cometbft.home import VERSION, Home
from node.engine.cometbft.process_log import ProcessLog
from node.engine.cometbft.rpc import RpcClient, RpcError, Status

STOP_SECONDS: Final = 10.0
VERSION_SECONDS: Final = 20.0
POLL_SECONDS: Final = 0.05
READY_SECONDS: Final = 60.0
LOG_JOIN_SECONDS: Final = 1.0
END_SECONDS: Final = 3.0
"""What a CometBFT that lost its application gets to end itself."""
QUICK_SECONDS: Final = 2.5
"""It ends within so long where its files are damaged; where it waits in vain for a signer, later."""
QUICK_ENDS_MAX: Final = 5

LAUNCH: Final = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG: it survives the exec below
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)  # the parent died before the line above
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Run in the child, not between fork and exec of this process, which has threads."""

log = structlog.get_logger()


class CometFailed(Exception):
    """CometBFT cannot be run or does not get ready; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Restarts:
    """How long to wait before CometBFT is started again: ``first_s``, doubled each time up to ``longest_s``;
    from the beginning once it has run for ``steady_s``.
    """

    first_s: float = 0.2
    longest_s: float = 10.0
    steady_s: float = 30.0


class Comet(Protocol):
    """A CometBFT, whoever runs it."""

    async def start(self) -> None:
        """Set it going. Raises CometFailed."""

    async def stop(self) -> None:
        """End it."""

    def expect_end(self, pid: int) -> None:
        """A process has lost a connection to the application."""

    @property
    def is_running(self) -> bool:
        """Whether there is a process now, as far as is known."""

    @property
    def given_up(self) -> str:
        """Why it is not started again, and what to do; empty as long as it is."""


class ExternalComet:
    """A CometBFT that another supervisor (systemd) runs: this node only waits for it."""

    async def start(self) -> None:
        """Nothing: it connects when it is there."""

    async def stop(self) -> None:
        """Nothing: it ends itself when the node's socket goes away, and its supervisor starts it again."""

    def expect_end(self, pid: int) -> None:
        """Nothing: its supervisor must end it."""

    @property
    def is_running(self) -> bool:
        """Not known to be otherwise."""
        return True

    @property
    def given_up(self) -> str:
        """Never, by us."""
        return ""


class Supervisor:
    """Runs CometBFT over one home. The ABCI socket must be open before ``start``, and stay so until ``stop``
    is through. Use it from the main thread's event loop: a child dies with the thread that started it.
    """

    def __init__(
        self,
        binary: Path,
        home: Home,
        log_file: Path,
        *,
        alarm: Callable[[str], None],
        sockets: Sequence[Path] = (),
        restarts: Restarts = Restarts(),
        arguments: Sequence[str] = (),
        said: Callable[[str], None] | None = None,
    ) -> None:
        """alarm: learns of every unexpected end, on the event loop. sockets: those that CometBFT opens, first
        the one on which it answers; what a crash left of them is removed before each start. arguments:
        further ones of ``cometbft start``.
        said: given the errors that CometBFT writes, on the event loop.
        """
        self._binary = binary
        self._data = home.validator_state.parent
        self._command = [str(binary), "start", "--home", str(home.root), *arguments]
        self._log_file = log_file
        self._alarm = alarm
        self._sockets = tuple(sockets)
        self._restarts = restarts
        self._said = said
        self._process: asyncio.subprocess.Process | None = None
        self._output: ProcessLog | None = None
        self._watch: asyncio.Task[None] | None = None
        self._expected: set[int] = set()
        self.restart_count = 0
        self.given_up = ""
        """Why it is not started again, and what to do; empty as long as it is."""

    @property
    def is_running(self) -> bool:
        """Whether there is a process now."""
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int | None:
        """The process, while there is one."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self) -> None:
        """Check the binary and start it. Raises CometFailed."""
        found = await version_of(self._binary)
        if found != VERSION:
            raise CometFailed(
                f"{self._binary} is CometBFT {found}; this node runs {VERSION}: `vostro engine install`"
            )
        await self._spawn()
        self._watch = asyncio.create_task(self._keep_running())

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL if that is not enough within ``STOP_SECONDS``."""
        if self._watch:
            self._watch.cancel()
            await asyncio.wait([self._watch])
            self._watch = None
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            if self._output:
                self._output.hush()
            with suppress(ProcessLookupError):
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), STOP_SECONDS)
            except TimeoutError:
                log.warning("CometBFT did not stop and is killed", seconds=STOP_SECONDS)
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        await self._end_output()

    def expect_end(self, pid: int) -> None:
        """A process has lost a connection to the application: let it end, or end it. For
        ``AbciServer(closed=...)``.
        """
        if pid == self.pid and pid not in self._expected:
            self._expected.add(pid)
            asyncio.get_running_loop().call_later(END_SECONDS, self._enforce_end, pid)

    def _enforce_end(self, pid: int) -> None:
        self._expected.discard(pid)
        if pid == self.pid and self._process:
            log.warning("CometBFT lost its application, did not end and is killed", pid=pid)
            self._process.kill()

    async def _keep_running(self) -> None:
        """Wait for the end, say why, start again; give up where that is in vain."""
        pause, quick_ends = self._restarts.first_s, 0
        while self._process is not None:
            began = time.monotonic()
            code = await self._process.wait()
            await self._end_output()
            ran = time.monotonic() - began
            if ran >= self._restarts.steady_s:
                pause = self._restarts.first_s
            quick_ends = quick_ends + 1 if code > 0 and ran < QUICK_SECONDS and not self._answered() else 0
            if quick_ends == QUICK_ENDS_MAX:
                self._give_up(code)
                return
            self._alarm(f"CometBFT ended ({_told(code)}){self._last_words()}; starting it in {pause:g} s")
            await asyncio.sleep(pause)
            pause = min(2 * pause, self._restarts.longest_s)
            self.restart_count += 1
            try:
                await self._spawn()
            except CometFailed as failure:
                self._alarm(str(failure))
                return

    def _answered(self) -> bool:
        """Whether the process that ended had come so far that it answers: its socket was there."""
        return any(path.exists() for path in self._sockets[:1])

    def _give_up(self, code: int) -> None:
        """Every start was in vain. That the validator's state is kept keeps it from signing twice."""
        self.given_up = (
            f"CometBFT ended {QUICK_ENDS_MAX} times at once, before it answered ({_told(code)})"
            f"{self._last_words()}; it is not started again. Where its databases are damaged, move data_dir "
            f"and {self._data} aside, put priv_validator_state.json back into {self._data}, start the node: "
            "it gets the blocks from its peers"
        )
        self._alarm(self.given_up)

    async def _spawn(self) -> None:
        """Start the process. Raises CometFailed."""
        output = ProcessLog(self._log_file, error=self._hear(asyncio.get_running_loop()))
        pipe = -1
        try:
            for path in self._sockets:
                path.unlink(missing_ok=True)
            pipe = output.open()
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", "-c", LAUNCH, str(os.getpid()), *self._command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=pipe,
                stderr=pipe,
                start_new_session=True,  # Ctrl-C reaches this process, which stops the child in its turn
            )
        except OSError as error:
            raise CometFailed(f"{self._binary} cannot be started: {error.strerror}") from error
        finally:
            if pipe >= 0:
                os.close(pipe)
        self._output = output
        log.info("CometBFT started", pid=self._process.pid)

    def _hear(self, loop: asyncio.AbstractEventLoop) -> Callable[[str], None]:
        """From the thread that reads to the event loop."""

        def hear(line: str) -> None:
            if self._said:
                with suppress(RuntimeError):  # the loop is closed: nobody listens any more
                    loop.call_soon_threadsafe(self._said, line)

        return hear

    async def _end_output(self) -> None:
        if self._output:
            await asyncio.to_thread(self._output.join, LOG_JOIN_SECONDS)

    def _last_words(self) -> str:
        said = self._output.last_error if self._output else ""
        return f": {said[:300]}" if said else ""


async def version_of(binary: Path) -> str:
    """What ``cometbft version`` says. Raises CometFailed."""
    try:
        process = await asyncio.create_subprocess_exec(
            *(str(binary), "version"), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
    except OSError as error:
        raise CometFailed(
            f"CometBFT cannot be run: {binary}: {error.strerror}. Install it with `vostro engine install`."
        ) from error
    try:
        said, _ = await asyncio.wait_for(process.communicate(), VERSION_SECONDS)
    except TimeoutError as error:
        process.kill()
        await process.wait()
        raise CometFailed(f"{binary} does not say its version within {VERSION_SECONDS:.0f} s") from error
    return said.decode(errors="replace").strip()


async def wait_ready(
    rpc: RpcClient, comet: Comet, *, seconds: float = READY_SECONDS, height: int = 0
) -> Status:
    """CometBFT's status once it answers and its last block is at ``height`` or above. CometBFT answers after
    the handshake, so the application is level then. Raises CometFailed.
    """
    deadline = time.monotonic() + seconds
    while True:
        said: Status | None = None
        with suppress(RpcError):
            said = await rpc.status(seconds=max(0.1, deadline - time.monotonic()))
            if said.height >= height:
                return said
        if comet.given_up:
            raise CometFailed(comet.given_up)
        if time.monotonic() > deadline:
            where = f"at height {said.height} of {height}" if said else "not answering"
            running = "runs" if comet.is_running else "does not run"
            raise CometFailed(f"after {seconds:.0f} s CometBFT {running} and is {where}")
        await asyncio.sleep(POLL_SECONDS)


def _told(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
