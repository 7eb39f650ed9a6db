"""The certificates of a node under CometBFT: the newest signed header that carries our app hash, and every
hand-over from one validator set to the next.

CometBFT knows commits for as long as it keeps blocks; receipts need the hand-overs for ever. So each is
fetched when it becomes due, judged, and put on the shelf (storage/handovers.py). Which are due is read off
our own log, never off what CometBFT says: a header of height H that names another authority than the one
before has its hand-over in CometBFT's header of H + 1. What always holds: ``newest`` is one immutable value
in which every signature was verified and every set is the one that our headers name, so that a receipt file
made from it verifies; what is missing is alarmed, and nothing newer is told until it is there.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from node.engine.cometbft import light
from node.engine.cometbft.answers import AnswerRefused, read_signed_header
from node.engine.cometbft.inherited import Link, check_succession, decode_link, encode_link, inherited
from node.engine.cometbft.light import Certified, CommitRefused, SequencerHeader, SignedHeader
from node.ledger import codec
from node.ledger.genesis import authority_root, chain_id, suite_of
from node.ledger.ports import Verifier
from node.ledger.types import BlockRecord, Genesis, Header

SCAN_MAX: Final = 1_000
"""Headers of ours that are read at once."""
MARK_EVERY: Final = 10_000
"""Headers between two marks of how far the log was searched."""
RETRY_SECONDS: Final = 1.0
PACE_SECONDS: Final = 0.5
"""Between two certificates: receipts do not need one of every height, and each costs CometBFT two answers."""

Elder = Callable[[], Awaitable[Sequence[tuple[int, bytes]]]]
"""Asks another node for the hand-overs that it keeps: (height, content) of each, unread."""


class CommitAnswer(Protocol):
    """What CometBFT's RPC says of a height."""

    @property
    def signed_header(self) -> Mapping[str, Any]:
        """``signed_header`` of /commit."""


class Rpc(Protocol):
    """What is asked of CometBFT (rpc.py)."""

    async def commit(self, height: int) -> CommitAnswer:
        """The commit of a height."""

    async def validators(self, height: int) -> Sequence[Mapping[str, Any]]:
        """The whole set that signs a height."""


class Blocks(Protocol):
    """The durable blocks of a store."""

    @property
    def durable_count(self) -> int:
        """How many blocks there are."""

    @property
    def first_position(self) -> int:
        """Number of the first that is whole; above 0 where the log does not reach back to genesis."""

    def headers(self, first: int, limit: int) -> Sequence[BlockRecord]:
        """At most ``limit`` blocks from height ``first`` on."""

    def height_at(self, position: int) -> int | None:
        """The height of block number ``position``."""


class Shelf(Protocol):
    """Where hand-overs are kept."""

    mark: tuple[int, int]
    """Up to which height the log was searched, and how many hand-overs were kept then."""

    def load(self) -> Sequence[tuple[int, bytes]]:
        """(height, content) of all, ascending."""

    def save(self, height: int, content: bytes) -> None:
        """Keep one, durably."""


class ValidatorCertificates:
    """Implements receipts.build.Certificates. ``notice`` and ``run`` on the event loop; ``newest`` from any
    thread.
    """

    def __init__(
        self,
        rpc: Rpc,
        blocks: Blocks,
        shelf: Shelf,
        verifier: Verifier,
        genesis: Genesis,
        *,
        initial_height: int = 1,
        alarm: Callable[[str], None],
        rpc_errors: tuple[type[Exception], ...] = (OSError,),
        elders: Sequence[Elder] = (),
    ) -> None:
        """initial_height: the first that CometBFT decided; blocks below it are a sequencer's. verifier: of
        Ed25519 by ZIP-215. rpc_errors: what ``rpc`` and ``elders`` raise where there is no answer, or no such
        height. elders: nodes to ask for hand-overs of which neither the log nor CometBFT here knows.
        """
        self._rpc = rpc
        self._blocks = blocks
        self._shelf = shelf
        self._verifier = verifier
        self._suite = suite_of(genesis)
        self._genesis = genesis
        self._chain = light.comet_chain_id(chain_id(genesis))
        self._initial_height = initial_height
        self._alarm = alarm
        self._elders = tuple(elders)
        self._failures: tuple[type[Exception], ...] = (*rpc_errors, AnswerRefused, CommitRefused)
        self._alarmed = ""
        self._links: dict[int, Link] = {}
        self._roots: list[tuple[int, bytes]] = []
        """(first height of CometBFT, root) of each authority that signs, from the first one known here."""
        self._due: list[int] = []
        self._searched = self._marked = -1
        self._height = 0
        self._noticed = asyncio.Event()
        self.newest: Certified | None = None
        """The newest certificate; None until there is one."""

    @property
    def settled(self) -> int:
        """The height below which the log was searched and is needed here no more. Any thread."""
        due = self._due[:1]
        return due[0] - 1 if due else max(self._searched, 0)

    def notice(self, height: int) -> None:
        """CometBFT has decided this height, and our block of it, if it has one, is durable."""
        self._height = max(self._height, height)
        self._noticed.set()

    async def run(self) -> None:
        """Follow what is noticed until cancelled. What goes wrong is alarmed once and tried again."""
        while True:
            await self._noticed.wait()
            self._noticed.clear()
            try:
                await self.advance(self._height)
                self._alarmed = ""
                await asyncio.sleep(PACE_SECONDS)
            except self._failures as error:
                if str(error) != self._alarmed:
                    self._alarmed = str(error)
                    self._alarm(f"no newer certificates for receipts: {error}")
                await asyncio.sleep(RETRY_SECONDS)
                self._noticed.set()

    async def advance(self, height: int) -> None:
        """Keep what became due up to ``height`` of CometBFT, then tell the certificate of that height.

        Raises AnswerRefused, CommitRefused, StorageError and what the RPC raises; then nothing newer is told.
        """
        if self._searched < 0:
            await asyncio.to_thread(self._open)
        await asyncio.to_thread(self._search)
        while self._due and self._due[0] <= height:
            if self._due[0] not in self._links:
                signed = await self._fetch(self._due[0])
                await asyncio.to_thread(self._keep, signed)
            del self._due[0]
        if not self._due and self._searched >= self._marked + MARK_EVERY:
            self._marked = self._searched
            await asyncio.to_thread(self._mark)
        if height < self._roots[0][0]:
            return  # the log says who signs from a later height on
        signed = await self._fetch(height)
        certified = await asyncio.to_thread(self._newest_below, height)
        if certified is None or signed.header.app_hash != certified.app_hash:
            raise CommitRefused(f"CometBFT's header of height {height} does not carry this node's app hash")
        try:
            before = self._before(signed)
        except CommitRefused as gap:
            await self._inherit(signed.height, gap)
            before = self._before(signed)
        self.newest = Certified(certified.height, signed, before)

    # --- our own log --------------------------------------------------------------------------------------

    def _open(self) -> None:
        """Take what is on the shelf, and the sequencer's hand-over where the chain began with one."""
        for height, content in self._shelf.load():
            link = decode_link(content)
            if link is not None:
                self._links[height] = link
        first = self._first()
        begin, signs_from = first.height, max(self._initial_height, first.height + 1)
        if first.height >= self._initial_height:
            signs_from = first.height + 2  # the log begins above genesis: what its first header names
        for link in self._sound(first):
            begin, signs_from = link.height - 1, link.height + 1
        marked, kept = self._shelf.mark
        if marked > begin and kept == len(self._links):
            begin, signs_from = marked, marked + 2
        named = self._newest_below(begin + 1)
        if named is None:
            raise CommitRefused(f"the log does not reach back to height {begin}")
        self._roots = [(signs_from, _root(named))]
        self._marked = self._searched = named.height

    def _first(self) -> BlockRecord:
        """The header of ours from which on the log tells who signs: the last before CometBFT began, or the
        one behind which the log begins. Raises CommitRefused.
        """
        base = self._blocks.first_position - 1
        height = self._blocks.height_at(base) if base >= 0 else None
        if height is not None and height >= self._initial_height:
            return self._blocks.headers(height, 1)[0]
        first = self._newest_below(self._initial_height)
        if first is None:
            raise CommitRefused(
                f"the log does not reach back to the start of CometBFT, {self._initial_height}"
            )
        if self._initial_height > 1 and first.height not in self._links:
            self._keep(_sequencer_header(first, self._genesis))
        return first

    def _sound(self, first: BlockRecord) -> list[SignedHeader]:
        """The hand-overs behind a header of ours up to the first gap, which a damaged file leaves: from there
        on the log is searched anew.
        """
        sound: list[SignedHeader] = []
        following = b""
        for height in sorted(self._links):
            link = self._links[height]
            if not isinstance(link, SignedHeader) or height <= first.height + 1:
                continue
            root = authority_root(self._suite, light.authority_of(link.validators))
            same = link.header.validators_hash == following if following else root == _root(first)
            if not same:
                break
            following = link.header.next_validators_hash
            sound.append(link)
        return sound

    def _mark(self) -> None:
        self._shelf.mark = (self._marked, len(self._links))

    def _search(self) -> None:
        """Find the headers that name another authority than the one before."""
        while found := self._blocks.headers(self._searched + 1, SCAN_MAX):
            for record in found:
                root = _root(record)
                if root != self._roots[-1][1]:
                    self._roots.append((record.height + 2, root))
                    self._due.append(record.height + 1)
            self._searched = found[-1].height

    def _newest_below(self, height: int) -> BlockRecord | None:
        """Our newest header below a height of CometBFT: the one whose app hash that height carries."""
        low, high = -1, self._blocks.durable_count - 1
        if high >= 0 and (self._blocks.height_at(high) or 0) < height:
            low = high
        while low < high:
            middle = (low + high + 1) // 2
            at = self._blocks.height_at(middle)
            if at is None or at < height:
                low = middle
            else:
                high = middle - 1
        at = self._blocks.height_at(low)
        found = [] if at is None else self._blocks.headers(at, 1)
        return found[0] if found else None

    # --- CometBFT's headers -------------------------------------------------------------------------------

    async def _fetch(self, height: int) -> SignedHeader:
        """The signed header of a height, certified by the set that our log names for it."""
        commit = await self._rpc.commit(height)
        validators = await self._rpc.validators(height)
        signed = read_signed_header(commit.signed_header, validators)
        if signed.height != height or signed.header.chain_id != self._chain:
            raise AnswerRefused(f"CometBFT answered for {signed.header.chain_id} at {signed.height}")
        light.check_signed_header(signed, self._verifier)
        named = [root for first, root in self._roots if first <= height][-1:]
        if named and named[0] != authority_root(self._suite, light.authority_of(signed.validators)):
            raise CommitRefused(f"height {height} is signed by another set than this node's ledger names")
        return signed

    def _keep(self, link: Link) -> None:
        self._shelf.save(link.height, encode_link(link))
        self._links[link.height] = link

    def _before(self, signed: SignedHeader) -> tuple[Link, ...]:
        """The hand-overs before a signed header. Raises CommitRefused where they do not lead from genesis to
        it.
        """
        links = tuple([self._links[height] for height in sorted(self._links) if height < signed.height])
        check_succession((*links, signed), self._genesis, self._initial_height)
        return links

    async def _inherit(self, below: int, gap: CommitRefused) -> None:
        """Take from another node what happened before this node's log begins. Raises CommitRefused."""
        reasons = [str(gap)]
        for elder in self._elders:
            try:
                contents = await elder()
                links = await asyncio.to_thread(
                    inherited, contents, self._genesis, self._initial_height, self._verifier
                )
            except self._failures as error:
                reasons.append(str(error))
                continue
            for link in links:
                if link.height < below and link.height not in self._links:
                    await asyncio.to_thread(self._keep, link)
            return
        raise CommitRefused("; ".join(reasons)) from gap


_decode_header: Final[Callable[[bytes], Header]] = codec.trusted_decoder(Header)


def _root(record: BlockRecord) -> bytes:
    return _decode_header(record.header).authority_root


def _sequencer_header(record: BlockRecord, genesis: Genesis) -> SequencerHeader:
    """The last header of a sequencer as a hand-over. Raises CommitRefused where it has no certificate."""
    if not record.certificate:
        raise CommitRefused(f"the sequencer's last header, at height {record.height}, has no certificate")
    key = max(genesis.authority, key=lambda entry: entry.power)
    return SequencerHeader(record.height, record.header, key.algorithm, key.public_key, record.certificate)
