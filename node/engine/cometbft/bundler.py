"""Makes bundles of what this node's clients handed in, and sees each through consensus.

An entry waits here until its transaction is decided, or dead by the head's time; a bundle is handed to
CometBFT again until a block has it: after CometBFT was restarted, when it was full, or just after a while
(bytes that it knows already cost nothing). What always holds: every entry is given back exactly once; only
bytes that are canonical and whose signatures are true are bundled; nothing here survives the node's own
restart, whose clients send the same bytes again.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from node.engine.cometbft.bundles import Bundles
from node.engine.cometbft.rpc import Broadcast, BroadcastKind, RpcError
from node.engine.door import Entry
from node.ledger.bundles import Judged, signed_bundle
from node.ledger.errors import ErrorCode, LedgerError
from node.ledger.ledger import Discarded, Ledger
from node.ledger.transactions import Candidate
from node.ledger.types import BUNDLE_BYTES_MAX, BUNDLE_ITEMS_MAX, BundleBody, Receipt

ITEMS_WANTED: Final = 100
"""Transactions that make a bundle worth sending while others are under way."""
LINGER_SECONDS: Final = 0.02
"""How long fewer wait for more; not at all while nothing is under way."""
UNDER_WAY_MAX: Final = 64
"""Bundles at CometBFT that no block has taken; more entries wait here."""
WORK_SHARE: Final = 4
"""A bundle weighs at most this part of a block, so that several nodes' find room in one."""
ENVELOPE_BYTES: Final = 256
ITEM_OVERHEAD_BYTES: Final = 5
AGAIN_SECONDS: Final = 5.0
"""After so long without a block a bundle is handed in again."""
RETRY_SECONDS: Final = 0.25
SWEEP_SECONDS: Final = 0.25

_ERRORS: Final = {
    (error.codespace, error.code): error
    for error in vars(LedgerError).values()
    if isinstance(error, ErrorCode)
}

log = structlog.get_logger("vostro.engine")


class NodeSigner(Protocol):
    """The key that signs this node's bundles."""

    @property
    def key_id(self) -> bytes:
        """16 bytes."""

    def sign(self, message: bytes) -> bytes:
        """64 bytes."""


class Broadcaster(Protocol):
    """What is asked of CometBFT (rpc.py)."""

    async def broadcast_sync(self, tx: bytes, *, seconds: float | None = None) -> Broadcast:
        """Hand bytes to the mempool."""


@dataclass(slots=True, eq=False)
class _Bundle:
    """One bundle under way. due: when it is handed in again; sending: a call is in progress."""

    raw: bytes
    entries: list[Entry]
    open: int
    due: float = 0.0
    sending: bool = False


class Bundler:
    """Entries in, outcomes out. Belongs to one event loop."""

    def __init__(
        self,
        ledger: Ledger,
        bundles: Bundles,
        signer: NodeSigner,
        rpc: Broadcaster,
        *,
        sequence: int,
        refused: Callable[[Sequence[Entry], ErrorCode], None],
    ) -> None:
        """sequence: higher than any that this key used before, such as the clock. refused: told of entries
        whose bundle CometBFT's own check_tx refused.
        """
        self._ledger = ledger
        self._bundles = bundles
        self._signer = signer
        self._rpc = rpc
        self._sequence = sequence
        self._refused = refused
        self._queue: deque[Entry] = deque()
        self._waiting: dict[bytes, list[tuple[Entry, _Bundle]]] = {}
        self._under_way: dict[bytes, _Bundle] = {}
        self._work = asyncio.Event()
        self._calls: set[asyncio.Task[None]] = set()

    @property
    def under_way(self) -> int:
        """Bundles that no block has taken yet."""
        return len(self._under_way)

    def put(self, entries: Sequence[Entry]) -> None:
        """Take entries; each is given back by ``settle``, ``sweep``, ``refused`` or ``give_up``."""
        self._queue.extend(entries)
        self._work.set()

    def settle(self, candidate: Candidate, outcome: Receipt | Discarded) -> list[Entry]:
        """The entries that a decided item answers. A receipt answers every copy of its transaction; a
        discarded item only the same bytes, for a copy with other signatures says nothing of ours, and neither
        does one that another node's bundle took with it.
        """
        waiting = self._waiting.get(candidate.tx_id)
        if waiting is None:
            return []
        if isinstance(outcome, Discarded) and outcome.node not in (b"", self._signer.key_id):
            return []
        if isinstance(outcome, Receipt):
            answered = waiting
            del self._waiting[candidate.tx_id]
        else:
            same = candidate.signed_hash
            answered = [pair for pair in waiting if pair[0].candidate.signed_hash == same]
            self._keep(candidate.tx_id, [pair for pair in waiting if pair not in answered])
        return self._given_back(answered)

    def sweep(self, time_ms: int, lifetime_ms: int) -> list[Entry]:
        """The entries that are dead by the head's time: no later block can decide them."""
        dead: list[tuple[Entry, _Bundle]] = []
        for tx_id, waiting in list(self._waiting.items()):
            candidate = waiting[0][0].candidate
            deadline = candidate.created_ms + lifetime_ms
            if until := candidate.transaction.valid_until_ms:
                deadline = min(deadline, until)
            if time_ms > deadline:
                dead += waiting
                del self._waiting[tx_id]
        return self._given_back(dead)

    def give_up(self) -> list[Entry]:
        """All entries: the engine halts."""
        entries = [entry for waiting in self._waiting.values() for entry, _ in waiting]
        entries += self._queue
        self._queue.clear()
        self._waiting.clear()
        self._under_way.clear()
        return entries

    def hand_in_again(self) -> None:
        """CometBFT was started anew: its mempool is empty."""
        for bundle in self._under_way.values():
            bundle.due = 0.0
        self._work.set()

    async def run(self) -> None:
        """Bundle and hand in, until cancelled."""
        clock = asyncio.get_running_loop().time
        while True:
            try:
                async with asyncio.timeout(SWEEP_SECONDS):
                    await self._work.wait()
            except TimeoutError:
                pass
            self._work.clear()
            if self._queue and self._under_way and len(self._queue) < ITEMS_WANTED:
                await asyncio.sleep(LINGER_SECONDS)
            while self._queue and len(self._under_way) < UNDER_WAY_MAX:
                bundle = self._make()
                self._under_way[bundle.raw] = bundle
            now = clock()
            for bundle in list(self._under_way.values()):
                if bundle.due <= now and not bundle.sending:
                    bundle.sending = True
                    call = asyncio.create_task(self._send(bundle))
                    self._calls.add(call)
                    call.add_done_callback(self._calls.discard)

    def _make(self) -> _Bundle:
        """One bundle of what waits, within a bundle's bounds."""
        room = BUNDLE_BYTES_MAX - ENVELOPE_BYTES
        work = self._ledger.genesis.limits.block_work_max // WORK_SHARE
        entries: list[Entry] = []
        while self._queue and len(entries) < BUNDLE_ITEMS_MAX:
            candidate = self._queue[0].candidate
            room -= len(candidate.raw) + ITEM_OVERHEAD_BYTES
            work -= candidate.work
            if entries and (room < 0 or work < 0):
                break
            entries.append(self._queue.popleft())
        self._sequence += 1
        items = tuple([entry.candidate.raw for entry in entries])
        body = BundleBody(1, self._signer.key_id, self._sequence, items)
        raw = signed_bundle(self._ledger.chain, body, self._signer.sign)
        bundle = _Bundle(raw, entries, len(entries))
        for entry in entries:
            self._waiting.setdefault(entry.candidate.tx_id, []).append((entry, bundle))
        candidates = tuple([entry.candidate for entry in entries])
        if not any(candidate.edition for candidate in candidates):  # read as the predicate reads
            work = sum([candidate.work for candidate in candidates])
            self._bundles.add(Judged(raw, self._signer.key_id, candidates, work))
        return bundle

    async def _send(self, bundle: _Bundle) -> None:
        clock = asyncio.get_running_loop().time
        try:
            said = await self._rpc.broadcast_sync(bundle.raw)
        except RpcError as error:
            log.warning("a bundle is not handed in yet", reason=str(error))
            bundle.due = clock() + RETRY_SECONDS
        else:
            if said.kind in (BroadcastKind.ACCEPTED, BroadcastKind.PENDING):
                bundle.due = clock() + AGAIN_SECONDS
            elif said.kind is BroadcastKind.REFUSED:
                self._drop(bundle, said)
            else:
                bundle.due = clock() + RETRY_SECONDS
        finally:
            bundle.sending = False

    def _drop(self, bundle: _Bundle, said: Broadcast) -> None:
        """Our own check_tx refused it: nobody else would take it."""
        log.error("a bundle of this node is refused", code=said.code, reason=said.log)
        self._under_way.pop(bundle.raw, None)
        pairs: list[tuple[Entry, _Bundle]] = []
        for entry in bundle.entries:
            waiting = self._waiting.get(entry.candidate.tx_id, [])
            mine = [pair for pair in waiting if pair[0] is entry]
            self._keep(entry.candidate.tx_id, [pair for pair in waiting if pair[0] is not entry])
            pairs += mine
        error = _ERRORS.get((LedgerError.codespace, said.code), LedgerError.NODE_INACTIVE)
        self._refused([entry for entry, _ in pairs], error)

    def _keep(self, tx_id: bytes, waiting: list[tuple[Entry, _Bundle]]) -> None:
        if waiting:
            self._waiting[tx_id] = waiting
        else:
            self._waiting.pop(tx_id, None)

    def _given_back(self, pairs: Sequence[tuple[Entry, _Bundle]]) -> list[Entry]:
        """Entries whose outcome is known; a bundle all of whose entries are is handed in no more."""
        for _, bundle in pairs:
            bundle.open -= 1
            if not bundle.open:
                self._under_way.pop(bundle.raw, None)
        return [entry for entry, _ in pairs]
