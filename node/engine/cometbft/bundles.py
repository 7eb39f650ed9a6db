"""The bundles that this node has met and no block has decided yet: each is judged once and its clients'
signatures are verified once, from the moment it is let in or proposed, whoever asks for it later.

CheckTx, PrepareProposal, ProcessProposal and FinalizeBlock all come here with bytes. What always holds: a
bundle that is here passes the one predicate of consensus (ledger.judge); what its signatures came to, up to
the first false one, is with the verifier when ``verified`` returns. A node of whose bundles a signature was
false is shunned for a while: the mempool refuses it unread, and what blocks carry of it is verified little by
little, so that a block full of false signatures costs one verification. Honest nodes verify before they
bundle. What its bundles in a block come to is the ledger's to say, the same on every node.
"""

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

from node.engine.counters import Counters
from node.engine.ports import Workers
from node.keys.verify import CachedVerifier
from node.keys.workers import WorkersClosed
from node.ledger.bundles import Judged
from node.ledger.errors import LedgerError, Rejected
from node.ledger.ledger import Ledger
from node.ledger.ports import Check

NODE_AT: Final = slice(4, 20)
"""Where a bundle's encoding has its node's key id: behind an array of five, version 1, and a head of 16 bytes
(docs/formats.md, "Bundle").
"""
KEPT_BYTES_MAX: Final = 128 * 1024 * 1024
SHUNNED_SECONDS: Final = 30.0
"""How long the mempool takes nothing new of a node that handed on a false signature; twice as long each time
that it does so again."""
SHUNNED_SECONDS_MAX: Final = 3_600.0
FORGOTTEN_SECONDS: Final = 3_600.0
"""A node that handed on nothing false for so long, after it was taken up again, begins anew."""
VERIFY_SECONDS_MAX: Final = 5.0
"""How long a block waits for the workers; what they have not answered then is verified in line."""


@dataclass(slots=True, eq=False)
class Met:
    """A bundle that passes the predicate. is_begun: its signatures were given out to verify. is_false: one of
    them is. verifying: the answers under way, if any are.
    """

    judged: Judged
    is_begun: bool = False
    is_false: bool = False
    verifying: "asyncio.Future[list[bool]] | None" = None


@dataclass(slots=True)
class _Shun:
    """Until when a node is shunned, by the loop's clock, and for how long it was."""

    until: float
    seconds: float


class Bundles:
    """Judged bundles by their bytes. Belongs to one event loop."""

    def __init__(
        self,
        ledger: Ledger,
        verifier: CachedVerifier,
        workers: Workers | None,
        *,
        own: bytes,
        alarm: Callable[[str], None],
        counters: Counters,
    ) -> None:
        """own: the key id of this node, which verifies before it bundles. workers: None leaves all verifying
        to the block.
        """
        self._ledger = ledger
        self._verifier = verifier
        self._workers = workers
        self._own = own
        self._alarm = alarm
        self._counters = counters
        self._met: dict[bytes, Met] = {}
        self._bytes = 0
        self._shunned: dict[bytes, _Shun] = {}  # of registered nodes alone, which are few

    def meet(self, raw: bytes) -> Met:
        """The bundle, judged now if it was not before. Raises Rejected (ledger.judge)."""
        name = hashlib.sha256(raw).digest()
        met = self._met.get(name)
        if met is None:
            met = self._keep(name, Met(self._ledger.judge(raw)))
        return met

    def admit(self, raw: bytes) -> int:
        """Let a bundle into the mempool and begin to verify it; its work. What is refused costs little and is
        not kept. Raises Rejected (ledger.judge, ledger.check_tx, check_shunned).
        """
        self._check_shunned(raw[NODE_AT])  # its claim: who is not that node gains nothing by it
        name = hashlib.sha256(raw).digest()
        met = self._met.get(name) or Met(self._ledger.judge(raw))
        work = self._ledger.check_tx(met.judged)
        if name not in self._met:
            self._keep(name, met)
        self.begin(met)
        return work

    def begin(self, met: Met) -> None:
        """Have a bundle's signatures verified, unless they are already."""
        if not met.is_begun and met.judged.node != self._own:
            met.is_begun = True
            self._verify(met)

    def begin_all(self, bundles: Sequence[Met]) -> None:
        """Have what a proposal carries verified while the others vote, but for the bundles of nodes that are
        silenced, which the block discards unseen, or shunned, of which it may see few.
        """
        for met in bundles:
            if not self._is_shunned(met.judged.node) and self._is_heard(met.judged):
                self.begin(met)

    def add(self, judged: Judged) -> None:
        """Take a bundle of this node's own making; its signatures are verified already."""
        self._keep(hashlib.sha256(judged.raw).digest(), Met(judged, is_begun=True))

    async def verified(self, bundles: Iterable[Met]) -> None:
        """Once the workers have answered for these bundles, or said enough: behind a false signature the
        block sees no more of the same node. What they leave open the block verifies.
        """
        trusted: list[Met] = []
        suspect: dict[bytes, list[Met]] = {}
        for met in bundles:
            node = met.judged.node
            (suspect.setdefault(node, []) if self._is_shunned(node) else trusted).append(met)
        for met in trusted:
            self.begin(met)
        with suppress(TimeoutError):
            async with asyncio.timeout(VERIFY_SECONDS_MAX):
                for each in suspect.values():
                    await self._verify_in_turn(each)
                for met in trusted:
                    await _answered(met)

    def forget(self, raws: Sequence[bytes]) -> None:
        """A block has decided these bundles."""
        for raw in raws:
            met = self._met.pop(hashlib.sha256(raw).digest(), None)
            if met:
                self._bytes -= len(raw)

    def _is_heard(self, judged: Judged) -> bool:
        try:
            self._ledger.check_tx(judged)
        except Rejected:
            return False
        return True

    def _check_shunned(self, node: bytes) -> None:
        """Raises Rejected NODE_DISTRUSTED for a node of which a signature was false lately."""
        if self._is_shunned(node):
            raise Rejected(LedgerError.NODE_DISTRUSTED, key_id=node.hex())

    def _is_shunned(self, node: bytes) -> bool:
        shun = self._shunned.get(node)
        return shun is not None and asyncio.get_running_loop().time() < shun.until

    def _shun(self, met: Met) -> None:
        """A signature in a bundle is false."""
        met.is_false = True
        self._counters.false_bundles += 1
        node, now = met.judged.node, asyncio.get_running_loop().time()
        shun = self._shunned.get(node)
        if shun is None or now > shun.until + FORGOTTEN_SECONDS:
            shun = self._shunned[node] = _Shun(now, SHUNNED_SECONDS)
        elif now >= shun.until:
            shun.seconds = min(2 * shun.seconds, SHUNNED_SECONDS_MAX)
        if now >= shun.until:
            self._alarm(
                f"node {node.hex()} handed on false signatures: the mempool takes nothing of it for "
                f"{shun.seconds:.0f} s; governance can suspend it"
            )
        shun.until = now + shun.seconds

    def _keep(self, name: bytes, met: Met) -> Met:
        self._met[name] = met
        self._bytes += len(met.judged.raw)
        while self._bytes > KEPT_BYTES_MAX and len(self._met) > 1:
            oldest = next(iter(self._met))
            self._bytes -= len(self._met.pop(oldest).judged.raw)
        return met

    async def _verify_in_turn(self, bundles: Sequence[Met]) -> None:
        """First one, then twice as many each time, up to where a signature is false."""
        begun, count = 0, 1
        while begun < len(bundles):
            some = bundles[begun : begun + count]
            for met in some:
                self.begin(met)
            for met in some:
                await _answered(met)
            if any(met.is_false for met in some):
                return
            begun, count = begun + count, 2 * count

    def _verify(self, met: Met) -> None:
        """Ask the workers for the signatures of what could be decided now, up to one that is false."""
        if self._workers is None:
            return
        asked: list[Check] = []
        for check in self._checks(met.judged):
            known = self._verifier.known(check)
            if known is None:
                asked.append(check)
            elif not known:
                self._shun(met)
                break
        if asked:
            met.verifying = self._workers.verify(asked, until_false=True)
            met.verifying.add_done_callback(partial(self._take, met, asked))

    def _checks(self, judged: Judged) -> Iterator[Check]:
        for candidate in judged.candidates:
            try:
                yield from self._ledger.check_at_door(candidate, 0)
            except Rejected:  # the block will say so, by its own state
                continue

    def _take(self, met: Met, asked: Sequence[Check], verdicts: "asyncio.Future[list[bool]]") -> None:
        if verdicts.cancelled() or isinstance(verdicts.exception(), WorkersClosed):
            return
        answers = verdicts.result()
        self._verifier.remember(asked[: len(answers)], answers)
        if not all(answers):
            self._shun(met)


async def _answered(met: Met) -> None:
    """Once nothing of a bundle is with the workers."""
    if met.verifying and not met.verifying.done():
        await asyncio.wait([met.verifying])
