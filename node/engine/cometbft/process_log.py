"""What CometBFT writes: kept in a file of bounded size, its errors told again as log lines of the node.

A thread reads, so that a busy event loop never holds CometBFT up at its pipe. What always holds: at most two
files of ``LOG_BYTES_MAX`` are kept; the last lines are at hand for whoever reports why CometBFT ended.
"""

import os
import threading
from collections import deque
from collections.abc import Callable
from io import BufferedWriter
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

LOG_BYTES_MAX: Final = 16 * 1024 * 1024
LINE_BYTES_MAX: Final = 64 * 1024
LAST_LINES: Final = 20
PLAIN_LINES_MAX: Final = 10
"""How many lines that are not JSON are told a run: a panic's stack is long and stands in the file."""
ERROR_MARK: Final = b'"level":"error"'

log = structlog.get_logger()


class ProcessLog:
    """The log of one run of CometBFT."""

    def __init__(
        self, path: Path, *, bytes_max: int = LOG_BYTES_MAX, error: Callable[[str], None] | None = None
    ) -> None:
        """path: the file, appended to; what is full moves to ``path.1``. error: given every line that is an
        error or no JSON, on the reading thread.
        """
        self._path = path
        self._error = error
        self._bytes_max = bytes_max
        self._last: deque[str] = deque(maxlen=LAST_LINES)
        self._plain = 0
        self._thread: threading.Thread | None = None
        self._quiet = False
        self.last_error = ""

    def open(self) -> int:
        """Begin to read; the file descriptor that the process writes to and the caller closes. Raises
        OSError.
        """
        read, write = os.pipe()
        file = self._path.open("ab")
        self._thread = threading.Thread(
            target=self._read, args=(read, file), name="cometbft-log", daemon=True
        )
        self._thread.start()
        return write

    def hush(self) -> None:
        """Tell no more errors: CometBFT is being stopped and complains of everything that closes."""
        self._quiet = True

    def join(self, seconds: float) -> None:
        """Wait until everything is written, for a bounded time."""
        if self._thread:
            self._thread.join(seconds)

    def tail(self) -> str:
        """The last lines."""
        return "\n".join(self._last)

    def _read(self, read: int, file: BufferedWriter) -> None:
        with os.fdopen(read, "rb") as pipe:
            while line := pipe.readline(LINE_BYTES_MAX):
                if file.tell() + len(line) > self._bytes_max:
                    file.close()
                    self._path.replace(self._path.with_name(self._path.name + ".1"))
                    file = self._path.open("ab")
                file.write(line)
                file.flush()
                self._tell(line)
        file.close()

    def _tell(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip("\n")
        self._last.append(text)
        if self._quiet:
            return
        is_error = ERROR_MARK in line if line.startswith(b"{") else bool(text.strip())
        if self._error and is_error:
            self._error(text)
        if line.startswith(b"{"):
            if ERROR_MARK in line:
                self._tell_error(line, text)
        elif self._plain < PLAIN_LINES_MAX and text.strip():
            self._plain += 1
            self.last_error = self.last_error or text
            log.error("CometBFT", said=text)

    def _tell_error(self, line: bytes, text: str) -> None:
        try:
            said: dict[str, Any] = msgspec.json.decode(line, type=dict[str, Any])
        except ValueError:  # msgspec's own errors and bad UTF-8 are ValueErrors
            said = {"_msg": text}
        message = str(said.pop("_msg", ""))
        fields = {f"comet_{name}": str(value) for name, value in said.items() if name not in {"level", "ts"}}
        self.last_error = " ".join([message, str(said.get("err", ""))]).strip()
        log.error("CometBFT", said=message, **fields)
