"""The same client for programs without asyncio: each call runs on an event loop in a thread of the client's
own.

    with BlockingClient.connect("127.0.0.1:7600") as client:
        receipt = client.submit(client.sign("PA", [operation(...)], [key]).raw)

Calls may come from any thread. An iterator that is not read to its end is closed by ``close()`` on it, or
with the client.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import uvloop

from node.client.clearing import ClearingReads, Instruction
from node.client.client import SECONDS_DEFAULT, Client, Signed
from node.client.connection import Tls
from node.client.custody import Custody
from node.client.errors import Declined
from node.client.market import Market
from node.client.outcome import Outcome
from node.client.reads import (
    BalanceAt,
    BlockContent,
    Cursor,
    EventAt,
    Head,
    Movement,
    NodeStatus,
    TransactionRecord,
)
from node.client.signing import Signer
from node.client.submission import BATCH_MAX, WINDOW_DEFAULT
from node.client.vault import Vault
from node.ledger.hashing import Suite
from node.ledger.types import Genesis, Operation, Receipt

T = TypeVar("T")


class _Loop:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self._loop = uvloop.new_event_loop()
        self._stopped = False
        self._thread = threading.Thread(target=self._loop.run_forever, name="vostro-client", daemon=True)
        self._thread.start()

    def run(self, task: Coroutine[Any, Any, T]) -> T:
        """Run to its end; an interrupt of the caller cancels it."""
        future = asyncio.run_coroutine_threadsafe(task, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def iterate(self, source: AsyncIterator[T]) -> Iterator[T]:
        """Walk an asynchronous iterator."""
        try:
            while True:
                try:
                    yield self.run(_next(source))
                except StopAsyncIteration:
                    return
        finally:
            if not self._stopped:
                self.run(_close(source))

    def stop(self) -> None:
        """End the thread, and with it every iterator that was not read to its end."""
        self.run(self._loop.shutdown_asyncgens())
        self._stopped = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _next(source: AsyncIterator[T]) -> T:
    return await anext(source)


async def _close(source: object) -> None:
    close = getattr(source, "aclose", None)
    if close is not None:
        await close()


class BlockingClient:
    """A connection to one node; see Client for what each call does and raises."""

    def __init__(self, loop: _Loop, client: Client) -> None:
        """See ``connect``."""
        self._loop = loop
        self._client = client

    @classmethod
    def connect(
        cls, target: str, *, tls: Tls | None = None, chain_id: bytes = b"", seconds: float = SECONDS_DEFAULT
    ) -> Self:
        """As Client.connect."""
        loop = _Loop()
        try:
            return cls(loop, loop.run(Client.connect(target, tls=tls, chain_id=chain_id, seconds=seconds)))
        except BaseException:
            loop.stop()
            raise

    def close(self) -> None:
        """End the connection and the thread."""
        self._loop.run(self._client.close())
        self._loop.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def target(self) -> str:
        """``host:port``."""
        return self._client.target

    @property
    def genesis(self) -> Genesis:
        """The chain's genesis."""
        return self._client.genesis

    @property
    def suite(self) -> Suite:
        """The chain's cryptography."""
        return self._client.suite

    @property
    def chain_id(self) -> bytes:
        """The chain's identity, 32 bytes."""
        return self._client.chain_id

    @property
    def resent(self) -> int:
        """As Client.resent."""
        return self._client.resent

    def sign(
        self,
        member: str,
        operations: Sequence[Operation],
        signers: Sequence[Signer],
        *,
        request_id: bytes | None = None,
        valid_until_ms: int = 0,
    ) -> Signed:
        """As Client.sign."""
        return self._client.sign(
            member, operations, signers, request_id=request_id, valid_until_ms=valid_until_ms
        )

    def submit(self, raw: bytes, *, seconds: float | None = None) -> Receipt:
        """As Client.submit."""
        return self._loop.run(self._client.submit(raw, seconds=seconds))

    def submit_many(self, items: Sequence[bytes], *, seconds: float | None = None) -> list[Outcome]:
        """As Client.submit_many."""
        return self._loop.run(self._client.submit_many(items, seconds=seconds))

    def submit_stream(
        self,
        items: Iterable[bytes],
        *,
        window: int = WINDOW_DEFAULT,
        batch: int = BATCH_MAX,
        seconds: float | None = None,
    ) -> Iterator[tuple[int, Outcome]]:
        """As Client.submit_stream; ``items`` is read in the client's own thread."""
        return self._loop.iterate(
            self._client.submit_stream(items, window=window, batch=batch, seconds=seconds)
        )

    def get_transaction(self, tx_id: bytes) -> TransactionRecord | None:
        """As Client.get_transaction."""
        return self._loop.run(self._client.get_transaction(tx_id))

    def wait(self, tx_id: bytes, *, seconds: float | None = None) -> Receipt:
        """As Client.wait."""
        return self._loop.run(self._client.wait(tx_id, seconds=seconds))

    def transactions(
        self, *, member: str = "", account: str = "", from_ms: int = 0, to_ms: int = 0, reverse: bool = False
    ) -> Iterator[TransactionRecord]:
        """As Client.transactions."""
        found = self._client.transactions(
            member=member, account=account, from_ms=from_ms, to_ms=to_ms, reverse=reverse
        )
        return self._loop.iterate(found)

    def movements(
        self, account: str, *, from_ms: int = 0, to_ms: int = 0, reverse: bool = False, page: int = 1_000
    ) -> Iterator[Movement]:
        """As Client.movements."""
        return self._loop.iterate(
            self._client.movements(account, from_ms=from_ms, to_ms=to_ms, reverse=reverse, page=page)
        )

    def query(self, contract: str, name: str, *arguments: Any) -> Any:
        """As Client.query."""
        return self._loop.run(self._client.query(contract, name, *arguments))

    def balance(self, account: str, asset: str) -> BalanceAt:
        """As Client.balance."""
        return self._loop.run(self._client.balance(account, asset))

    def balances(self, keys: Iterable[tuple[str, str]]) -> list[BalanceAt | Declined]:
        """As Client.balances."""
        return self._loop.run(self._client.balances(keys))

    def positions(self, member: str) -> dict[str, tuple[int, int]]:
        """As Client.positions."""
        return self._loop.run(self._client.positions(member))

    def books(
        self, account: str, asset: str, servicer: str, begins_ms: int, ends_ms: int
    ) -> tuple[int, bytes, str, int]:
        """As Client.books."""
        return self._loop.run(self._client.books(account, asset, servicer, begins_ms, ends_ms))

    def custody(self, work: Callable[[Custody], Coroutine[Any, Any, T]]) -> T:
        """A call of Client.custody, for example ``lambda custody: custody.show(request_id)``."""
        return self._loop.run(work(self._client.custody))

    def vault(self, work: Callable[[Vault], Coroutine[Any, Any, T]]) -> T:
        """A call of Client.vault, for example ``lambda vault: vault.examine(document)``."""
        return self._loop.run(work(self._client.vault))

    def fetch_document(self, document: bytes) -> Iterator[bytes]:
        """As Vault.fetch."""
        return self._loop.iterate(self._client.vault.fetch(document))

    def market(self, work: Callable[[Market], Coroutine[Any, Any, T]]) -> T:
        """A call of Client.market, for example ``lambda market: market.deals("PA")``."""
        return self._loop.run(work(self._client.market))

    def clearing(self, work: Callable[[ClearingReads], Coroutine[Any, Any, T]]) -> T:
        """A call of Client.clearing, for example ``lambda clearing: clearing.queue("PA", "CZK")``."""
        return self._loop.run(work(self._client.clearing))

    def instructions(self, member: str, asset: str) -> Iterator[Instruction]:
        """As Client.clearing.instructions."""
        return self._loop.iterate(self._client.clearing.instructions(member, asset))

    def status(self) -> NodeStatus:
        """As Client.status."""
        return self._loop.run(self._client.status())

    def headers(self, first: int = 0, limit: int = 100) -> list[Head]:
        """As Client.headers."""
        return self._loop.run(self._client.headers(first, limit))

    def block(self, height: int) -> BlockContent:
        """As Client.block."""
        return self._loop.run(self._client.block(height))

    def follow_blocks(self, first: int = 0) -> Iterator[Head]:
        """As Client.follow_blocks."""
        return self._loop.iterate(self._client.follow_blocks(first))

    def events(
        self, start: Cursor | None = None, *, contract: str = "", event: str = "", account: str = ""
    ) -> Iterator[EventAt]:
        """As Client.events."""
        return self._loop.iterate(self._client.events(start, contract=contract, event=event, account=account))

    def receipt_file(self, tx_id: bytes) -> bytes:
        """As Client.receipt_file."""
        return self._loop.run(self._client.receipt_file(tx_id))

    def backup(self) -> Iterator[bytes]:
        """As Client.backup."""
        return self._loop.iterate(self._client.backup())
