"""The unix socket on which CometBFT calls this node: its four connections, many frames a read, answers in the
order of the requests and joined into one write.

What always holds. Calls on one connection are made one after the other. Between two checks for the mempool
every other connection has its turn, so mempool work never starves consensus. A new CometBFT is served only
after the last call of the one before it has come back, so calls of two of them never mix. An exception from
the application is never an answer: CometBFT is told that the application has failed, which ends it, every
connection is closed, and ``failed`` learns of the exception, so that the node halts.
"""

import asyncio
import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from node.engine.cometbft.abci import Application
from node.engine.cometbft.abci_wire import (
    Frames,
    Malformed,
    answer,
    decode_request,
    encode_exception,
    frame,
    height_of,
)

FRAME_BYTES_MAX: Final = 80 * 1024 * 1024
"""Above what the largest block that a genesis allows takes; a chunk of a snapshot is far smaller."""
CONNECTIONS_MAX: Final = 16
READ_BYTES: Final = 1024 * 1024
JOIN_SECONDS: Final = 0.005
"""No answer waits longer than this for those behind it."""
STOP_SECONDS: Final = 10.0
SOCKET_PATH_BYTES_MAX: Final = 107
"""What the operating system takes as the name of a unix socket."""

_CREDENTIALS: Final = struct.Struct("3i")
log = structlog.get_logger()


class SocketRefused(Exception):
    """The socket cannot be opened there; the text says why."""


class Call(NamedTuple):
    """One request as it is taken up. run: which CometBFT asks, counted from 1; connection: on which of its
    connections, counted from 1 over all; height: the one it names, or 0.
    """

    run: int
    connection: int
    name: str
    height: int


class _Run:
    """One CometBFT process. ``open`` counts its connections that have spoken; ``idle`` is set while there is
    none.
    """

    def __init__(self, number: int, pid: int) -> None:
        self.number = number
        self.pid = pid
        self.open = 0
        self.idle = asyncio.Event()
        self.idle.set()

    def enter(self) -> None:
        self.open += 1
        self.idle.clear()

    def leave(self) -> None:
        self.open -= 1
        if not self.open:
            self.idle.set()


class AbciServer:
    """Serves one application to one CometBFT at a time."""

    def __init__(
        self,
        application: Application,
        path: Path,
        *,
        failed: Callable[[BaseException], None],
        closed: Callable[[int], None] | None = None,
        trace: Callable[[Call], None] | None = None,
        frame_bytes_max: int = FRAME_BYTES_MAX,
    ) -> None:
        """path: the socket's. failed: learns, on the event loop, of an exception that the application let
        out. closed: learns which process has lost a connection, and with it cannot go on. trace: learns of
        every call before it is made. frame_bytes_max: the longest request taken.
        """
        self._application = application
        self._path = path
        self._failed = failed
        self._closed = closed
        self._trace = trace
        self._frame_bytes_max = frame_bytes_max
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._runs: list[_Run] = []
        self._run_count = 0
        self._connection_count = 0
        self._current: _Run | None = None

    @property
    def run_count(self) -> int:
        """How many CometBFT processes have come so far."""
        return self._run_count

    async def start(self) -> None:
        """Listen. A socket file that a crash left is replaced. Raises SocketRefused."""
        if len(os.fsencode(self._path)) > SOCKET_PATH_BYTES_MAX:
            raise SocketRefused(
                f"{self._path} is too long for a unix socket: {SOCKET_PATH_BYTES_MAX} bytes at most"
            )
        try:
            self._path.unlink(missing_ok=True)
            self._server = await asyncio.start_unix_server(self._accept, str(self._path), limit=READ_BYTES)
            self._path.chmod(0o600)
        except OSError as error:
            raise SocketRefused(f"{self._path}: {error.strerror}") from error

    async def stop(self) -> None:
        """Close the socket; calls in progress come back first, for a bounded time. Stop CometBFT before."""
        if self._server:
            self._server.close()
        self._abort()
        tasks = set(self._connections)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=STOP_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.wait(tasks)
        self._path.unlink(missing_ok=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Begin to serve a connection."""
        if len(self._connections) >= CONNECTIONS_MAX:
            log.error("ABCI connection refused: too many are open", connections=len(self._connections))
            writer.transport.abort()
            return
        self._connection_count += 1
        run = self._run_of(_peer(writer))
        task = asyncio.create_task(self._serve(run, self._connection_count, reader, writer))
        self._connections[task] = writer
        task.add_done_callback(self._ended)

    def _run_of(self, pid: int) -> _Run:
        """The run that a process's new connection belongs to."""
        latest = self._runs[-1] if self._runs else None
        if latest is None or latest.pid != pid:
            self._run_count += 1
            latest = _Run(self._run_count, pid)
            self._runs = [*(run for run in self._runs if run.open), latest]
        return latest

    async def _serve(
        self, run: _Run, connection: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Answer one connection until it ends. Raises whatever the application raises."""
        frames = Frames(self._frame_bytes_max)
        entered = False
        try:
            while data := await _read(reader):
                if not entered:
                    entered = await self._admit(run)
                    if not entered:
                        return
                await self._answer_all(run, connection, frames.feed(data), writer)
        except Malformed as error:
            log.exception("ABCI request refused, connection closed", connection=connection)
            writer.write(frame(encode_exception(str(error))))
        finally:
            writer.close()
            if entered:
                run.leave()
                if self._closed:
                    self._closed(run.pid)

    async def _admit(self, run: _Run) -> bool:
        """Wait until no other CometBFT has a call in progress; whether this one is still the newest."""
        if self._current is None or run.number > self._current.number:
            self._current = run
        while busy := [other for other in self._runs if other is not run and other.open]:
            log.info("ABCI connections wait for an earlier CometBFT's to end", pid=busy[0].pid)
            await busy[0].idle.wait()
        if run is not self._current:
            return False
        run.enter()
        return True

    async def _answer_all(
        self, run: _Run, connection: int, messages: Iterator[bytes], writer: asyncio.StreamWriter
    ) -> None:
        """Answer what one read brought. Raises Malformed and whatever the application raises."""
        clock = asyncio.get_running_loop().time
        answers = bytearray()
        written = clock()
        try:
            for message in messages:
                kind, request = decode_request(message)
                if self._trace:
                    self._trace(Call(run.number, connection, kind, height_of(kind, request)))
                response = await answer(self._application, kind, request)
                answers += frame(response.SerializeToString())
                if kind == "check_tx":
                    await asyncio.sleep(0)  # consensus goes first
                if clock() - written > JOIN_SECONDS:
                    writer.write(answers)
                    answers = bytearray()
                    written = clock()
        except Malformed:
            writer.write(answers)
            raise
        except Exception as error:
            failure = encode_exception(f"the application has failed: {type(error).__name__}")
            writer.write(answers + frame(failure))
            raise
        writer.write(answers)
        with suppress(ConnectionError):  # the next read says that the other side has gone
            await writer.drain()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A connection has ended; if by an exception, so do all, and the node learns of it."""
        del self._connections[task]
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            log.error("the ABCI application has failed", exc_info=error)
            self._abort()
            self._failed(error)

    def _abort(self) -> None:
        for writer in self._connections.values():
            writer.transport.abort()


async def _read(reader: asyncio.StreamReader) -> bytes:
    """What has arrived; nothing once the other side has gone, whose successor is told everything again."""
    try:
        return await reader.read(READ_BYTES)
    except ConnectionError:
        return b""


def _peer(writer: asyncio.StreamWriter) -> int:
    """The process at the other end."""
    said = writer.get_extra_info("socket").getsockopt(
        socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size
    )
    pid: int = _CREDENTIALS.unpack(said)[0]
    return pid
