"""The lines between the nodes of a consortium, each through a proxy in this process, so that a test can hold
them up, cut them, slow them down or make them lossy, each direction by itself.

    links = Links()
    async with consortium(4, adjust=links.adjust, start=False) as banks, links:
        await banks.start()
        links.hold(["bank-d"], ["bank-a", "bank-b", "bank-c"])

Every connection between two CometBFT processes runs through here: each bank's peers are ports of ours. It
needs no privilege. What is sent on a line that is held waits, both ends stay connected, and it arrives, in
order, once the line is healed: so TCP shows a network that drops every packet for a while. A cut line resets
its connections and refuses new ones, as a firewall does. Loss is told as TCP shows it, too: no packet is
dropped, but with that probability a piece, and all behind it, waits for a retransmission (RETRANSMIT_SECONDS,
doubled each time that it is lost again).
"""

import asyncio
import random
import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from node.network.local import LocalNetwork

HOST: Final = "127.0.0.1"
PIECE_BYTES: Final = 65_536
PIECES_MAX: Final = 64
"""What a line takes up before its sender feels that it stands still."""
RETRANSMIT_SECONDS: Final = 0.2
"""Linux's least retransmission time-out (TCP_RTO_MIN)."""
RETRANSMIT_SECONDS_MAX: Final = 3.2


@dataclass
class Way:
    """From one bank to another. delay: of each piece; loss: the probability that a piece is lost once."""

    delay_seconds: float = 0.0
    loss: float = 0.0
    is_cut: bool = False
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    carried_bytes: int = 0
    late: int = 0

    def heal(self) -> None:
        """As at first."""
        self.delay_seconds, self.loss, self.is_cut = 0.0, 0.0, False
        self.opened.set()

    def wait_seconds(self, chance: random.Random) -> float:
        """How long the next piece is under way."""
        seconds, again = self.delay_seconds, RETRANSMIT_SECONDS
        while chance.random() < self.loss and again <= RETRANSMIT_SECONDS_MAX:
            seconds += again
            again *= 2
            self.late += 1
        return seconds


class Links:
    """All lines of a consortium."""

    def __init__(self, seed: int = 0) -> None:
        self._chance = random.Random(seed)
        self.names: list[str] = []
        self.ways: dict[tuple[str, str], Way] = {}
        self._doors: dict[tuple[str, str], tuple[socket.socket, str]] = {}
        self._servers: list[asyncio.Server] = []
        self._lines: dict[asyncio.Task[None], tuple[str, str]] = {}

    # --- faults ---------------------------------------------------------------------------------------------

    def hold(self, senders: Iterable[str], receivers: Iterable[str]) -> None:
        """Nothing of these senders reaches these receivers; what those answer still arrives."""
        for way in self._ways(senders, receivers):
            way.opened.clear()

    def part(self, one: Iterable[str], other: Iterable[str]) -> None:
        """Hold both directions."""
        one, other = list(one), list(other)
        self.hold(one, other)
        self.hold(other, one)

    def cut(self, one: Iterable[str], other: Iterable[str]) -> None:
        """Reset the connections between these, and refuse new ones."""
        one, other = set(one), set(other)
        for way in [*self._ways(one, other), *self._ways(other, one)]:
            way.is_cut = True
        for line, (dialler, listener) in self._lines.items():
            if (dialler in one and listener in other) or (dialler in other and listener in one):
                line.cancel()

    def slow(self, name: str, seconds: float) -> None:
        """All that a bank sends and hears is so late."""
        for pair, way in self.ways.items():
            if name in pair:
                way.delay_seconds = seconds

    def lose(self, share: float) -> None:
        """Of all lines this share of the pieces."""
        for way in self.ways.values():
            way.loss = share

    def heal(self) -> None:
        """All lines are sound again."""
        for way in self.ways.values():
            way.heal()

    def others(self, *names: str) -> list[str]:
        """All banks but these."""
        return [name for name in self.names if name not in names]

    def _ways(self, senders: Iterable[str], receivers: Iterable[str]) -> list[Way]:
        receivers = list(receivers)
        return [self.ways[sender, receiver] for sender in senders for receiver in receivers]

    # --- life -----------------------------------------------------------------------------------------------

    def adjust(self, network: LocalNetwork) -> None:
        """Send every bank's connections to its peers through here. For ``consortium(adjust=...)``."""
        self.names = [bank.name for bank in network.banks]
        for dialler in network.banks:
            text = dialler.config.read_text()
            for listener in network.banks:
                if listener is not dialler:
                    door = socket.create_server((HOST, 0))
                    self._doors[dialler.name, listener.name] = door, listener.address
                    self.ways[dialler.name, listener.name] = Way()
                    text = text.replace(f"@{listener.address}", f"@{HOST}:{door.getsockname()[1]}")
            dialler.config.write_text(text)
        self.heal()

    async def __aenter__(self) -> Self:
        for pair, (door, _) in self._doors.items():

            async def accept(
                reader: asyncio.StreamReader,
                writer: asyncio.StreamWriter,
                pair: tuple[str, str] = pair,
            ) -> None:
                await self._accept(pair, reader, writer)

            self._servers.append(await asyncio.start_server(accept, sock=door))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._servers:
            server.close()
        for line in self._lines:
            line.cancel()
        await asyncio.gather(*self._lines, return_exceptions=True)

    async def _accept(
        self, pair: tuple[str, str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """A bank dials another."""
        line = asyncio.ensure_future(self._line(pair, reader, writer))
        self._lines[line] = pair
        try:
            await asyncio.wait([line])
        finally:
            del self._lines[line]
            writer.transport.abort()

    async def _line(
        self, pair: tuple[str, str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        there, back = self.ways[pair], self.ways[pair[::-1]]
        if there.is_cut or back.is_cut:
            return
        await there.opened.wait()
        await back.opened.wait()
        host, _, port = self._doors[pair][1].rpartition(":")
        try:
            far_reader, far_writer = await asyncio.open_connection(host, int(port))
        except OSError:
            return
        try:
            await asyncio.gather(
                self._carry(there, reader, far_writer), self._carry(back, far_reader, writer)
            )
        finally:
            far_writer.transport.abort()

    async def _carry(self, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One direction of a connection, until its sender has closed it and the receiver was told."""
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(PIECES_MAX)
        clock = asyncio.get_running_loop().time

        async def take() -> None:
            piece = b"-"
            while piece:
                try:
                    piece = await reader.read(PIECE_BYTES)
                except ConnectionError:
                    piece = b""
                await pieces.put((clock() + way.wait_seconds(self._chance), piece))

        async def give() -> None:
            while True:
                due, piece = await pieces.get()
                await asyncio.sleep(due - clock())
                await way.opened.wait()
                if not piece:
                    writer.close()
                    return
                way.carried_bytes += len(piece)
                with suppress(ConnectionError):  # the receiver is gone; its own end tells the sender
                    writer.write(piece)
                    await writer.drain()

        await asyncio.gather(take(), give())
