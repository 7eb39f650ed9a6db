"""The bundles that this node has met and no block has decided yet: each is judged once and its clients'
signatures are verified once, from the moment it is let in or proposed, whoever asks for it later.

CheckTx, PrepareProposal, ProcessProposal and FinalizeBlock all come here with bytes. What always holds: a
bundle that is here passes the one predicate of consensus (ledger.judge); what its signatures came to is with
the verifier when ``verified`` returns. A node of whose bundles a signature was false is refused at the
mempool for a while: honest nodes verify before they bundle. In a block its bundles still count.
"""

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

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
"""How long the mempool takes nothing new of a node that handed on a false signature."""
VERIFY_SECONDS_MAX: Final = 5.0
"""How long a block waits for the workers; what they have not answered then is verified in line."""


@dataclass(slots=True, eq=False)
class Met:
    """A bundle that passes the predicate. is_begun: its signatures were given out to verify. verifying: the
    answers under way, if any are.
    """

    judged: Judged
    is_begun: bool = False
    verifying: "asyncio.Future[list[bool]] | None" = None


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
    ) -> None:
        """own: the key id of this node, which verifies before it bundles. workers: None leaves all verifying
        to the block.
        """
        self._ledger = ledger
        self._verifier = verifier
        self._workers = workers
        self._own = own
        self._alarm = alarm
        self._met: dict[bytes, Met] = {}
        self._bytes = 0
        self._shunned: dict[bytes, float] = {}

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

    def begin_all(self, raws: Sequence[bytes]) -> None:
        """Have what a proposal carries verified while the others vote, but for silenced nodes' bundles: the
        block discards those unseen.
        """
        for met in [self.meet(raw) for raw in raws]:
            if self._is_heard(met.judged):
                self.begin(met)

    def add(self, judged: Judged) -> None:
        """Take a bundle of this node's own making; its signatures are verified already."""
        self._keep(hashlib.sha256(judged.raw).digest(), Met(judged, is_begun=True))

    async def verified(self, bundles: Iterable[Met]) -> None:
        """Once the workers have answered for these bundles; what they leave open the block verifies."""
        bundles = list(bundles)
        for met in bundles:
            self.begin(met)
        waiting = [met.verifying for met in bundles if met.verifying and not met.verifying.done()]
        if waiting:
            await asyncio.wait(waiting, timeout=VERIFY_SECONDS_MAX)

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
        """Raises Rejected BAD_SIGNATURE for a node of which a signature was false lately."""
        until = self._shunned.get(node)
        if until is not None:
            if asyncio.get_running_loop().time() < until:
                raise Rejected(LedgerError.BAD_SIGNATURE, node=node.hex())
            del self._shunned[node]

    def _keep(self, name: bytes, met: Met) -> Met:
        self._met[name] = met
        self._bytes += len(met.judged.raw)
        while self._bytes > KEPT_BYTES_MAX and len(self._met) > 1:
            oldest = next(iter(self._met))
            self._bytes -= len(self._met.pop(oldest).judged.raw)
        return met

    def _verify(self, met: Met) -> None:
        """Ask the workers for the signatures of what could be decided now."""
        if self._workers is None:
            return
        asked: list[Check] = []
        for candidate in met.judged.candidates:
            try:
                asked.extend(self._ledger.check_at_door(candidate, 0))
            except Rejected:  # the block will say so, by its own state
                continue
        checks = self._verifier.unknown(asked)
        if checks:
            met.verifying = self._workers.verify(checks)
            met.verifying.add_done_callback(partial(self._answered, met.judged.node, checks))

    def _answered(self, node: bytes, checks: Sequence[Check], verdicts: "asyncio.Future[list[bool]]") -> None:
        if verdicts.cancelled() or isinstance(verdicts.exception(), WorkersClosed):
            return
        answers = verdicts.result()
        self._verifier.remember(checks, answers)
        if not all(answers):
            if node not in self._shunned:
                self._alarm(
                    f"node {node.hex()} handed on {answers.count(False)} false signatures in one bundle: the "
                    f"mempool takes nothing of it for {SHUNNED_SECONDS:.0f} s; governance can suspend it"
                )
            self._shunned[node] = asyncio.get_running_loop().time() + SHUNNED_SECONDS
