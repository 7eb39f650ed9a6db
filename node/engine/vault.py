"""The vault's keeper: takes in, hands out and destroys the sealed documents of this node's member, as the
ledger says, and looks after what lies on the disk.

The bytes of a document come first and its transaction after them, so that what the ledger names is there.
Bytes that no document came to name are removed a day later; bytes that a document names and that are missing
or damaged are an alarm. What always holds: bytes go to the owner and to members that the ledger grants them
now, which is asked again for every portion; bytes that do not have the document's hash end the call with an
error; only the bytes of a closed document are destroyed, and never while one that is kept has the same.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, NamedTuple, Protocol

import structlog

from node.engine.errors import Degraded, NodeError
from node.keys.sealing import sealed_bytes
from node.ledger import codec, hashing
from node.ledger.errors import Rejected
from node.ledger.hashing import HASH_BYTES
from node.ledger.ledger import Ledger
from node.storage.errors import StorageError
from node.storage.vault import Condition, VaultFiles

CONTRACT: Final = "vault"
INCOMING_MAX: Final = 8
"""Documents that come in at once."""
PORTION_SECONDS: Final = 60.0
"""Within which the next portion of a document comes in."""
PAGE: Final = 1_000
"""Documents looked at between two turns of the event loop."""
LOOK_SECONDS: Final = 60.0
EXAMINE_SECONDS: Final = 86_400.0
"""How often the bytes of each document are read through."""
ORPHAN_SECONDS: Final = 86_400.0
"""How long bytes lie that no document names, by their age and since this process has known it."""
BEHIND_MS_MAX: Final = 600_000
"""A node whose head is older does not know what the ledger names, and removes nothing."""
LAST: Final = b"\xff" * HASH_BYTES
"""The last id that there can be."""
NAMED_MAX: Final = 100
"""Documents named among what is missing or damaged."""

log = structlog.get_logger("vostro.vault")


class Peer(Protocol):
    """Another member's node."""

    def fetch(self, document: bytes) -> AsyncIterator[bytes]:
        """A document's sealed bytes, in portions. Raises Degraded."""

    async def close(self) -> None:
        """End the connection."""


class Stored(NamedTuple):
    """A document that was taken in."""

    sealed: bytes
    size_bytes: int


@dataclass(slots=True)
class Holdings:
    """What the last look found. orphans: files that no document names. disk_bytes: of all files. missing,
    damaged: ids of documents.
    """

    documents: int = 0
    size_bytes: int = 0
    orphans: int = 0
    disk_bytes: int = 0
    missing: dict[bytes, None] = field(default_factory=dict)
    damaged: dict[bytes, None] = field(default_factory=dict)


@dataclass(slots=True)
class Keeper:
    """The keeper of one node. Called on the event loop's thread; disks are read and written by others.

    member: whose documents lie here; empty: everybody's. peers: member -> its node. document_bytes_max: of
    one document. bytes_max: of all files, with those that come in.
    """

    ledger: Ledger
    files: VaultFiles
    member: str
    peers: Mapping[str, Peer]
    alarm: Callable[[str], None]
    document_bytes_max: int
    bytes_max: int = 2**63
    clock: Callable[[], float] = time.time
    holdings: Holdings = field(default_factory=Holdings)
    counts: dict[str, int] = field(
        default_factory=lambda: {
            "stored": 0,
            "fetched": 0,
            "refused": 0,
            "full": 0,
            "destroyed": 0,
            "removed": 0,
        }
    )
    _coming: int = 0
    _coming_bytes: int = 0
    _looked: bool = False
    _examined: dict[bytes, float] = field(default_factory=dict)
    _orphaned: dict[bytes, float] = field(default_factory=dict)
    _watch: asyncio.Task[None] | None = None
    _reader: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "vault"))

    # --- life -----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to look after the disk."""
        self._watch = asyncio.create_task(self._look_on(), name="vault")
        self._watch.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Look no more."""
        if self._watch:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        self._reader.shutdown(wait=False, cancel_futures=True)
        for peer in self.peers.values():
            await peer.close()

    # --- what members do ------------------------------------------------------------------------------------

    async def store(self, portions: AsyncIterator[bytes]) -> Stored:
        """Take sealed bytes in. Raises Degraded OVERLOADED, BAD_REQUEST; StorageError."""
        if self._coming >= INCOMING_MAX:
            raise Degraded(NodeError.OVERLOADED, reason=f"{INCOMING_MAX} documents come in already")
        self._coming += 1
        try:
            return await self._store(portions)
        finally:
            self._coming -= 1

    async def _store(self, portions: AsyncIterator[bytes]) -> Stored:
        if not self._looked:
            self.holdings.disk_bytes = await asyncio.to_thread(self.files.size_bytes)
            self._looked = True
        incoming = await asyncio.to_thread(self.files.incoming)
        most, counted = sealed_bytes(self.document_bytes_max), 0
        try:
            while (portion := await _next_portion(portions)) is not None:
                if incoming.size_bytes + len(portion) > most:
                    raise Degraded(NodeError.BAD_REQUEST, reason="the document is too large", most=most)
                self._check_room(len(portion))
                counted += len(portion)
                self._coming_bytes += len(portion)
                await asyncio.to_thread(self._write, incoming.write, portion)
            if not incoming.size_bytes:
                raise Degraded(NodeError.BAD_REQUEST, reason="the document is empty")
            sealed = await asyncio.to_thread(incoming.keep)
            self.holdings.disk_bytes += counted  # of bytes that lay here already twice, until the next look
        finally:
            self._coming_bytes -= counted
            await asyncio.to_thread(incoming.drop)
        self.counts["stored"] += 1
        log.info("document taken in", sealed=sealed.hex(), bytes=incoming.size_bytes)
        return Stored(sealed, incoming.size_bytes)

    def _check_room(self, size_bytes: int) -> None:
        """Raises Degraded VAULT_FULL."""
        lying = self.holdings.disk_bytes + self._coming_bytes
        if lying + size_bytes > self.bytes_max:
            self.counts["full"] += 1
            raise Degraded(NodeError.VAULT_FULL, bytes=lying, most=self.bytes_max)

    def _write(self, write: Callable[[bytes], None], portion: bytes) -> None:
        self.files.check_space(len(portion))
        write(portion)

    async def fetch(self, document: bytes, reader: str, *, whole: bool = False) -> AsyncIterator[bytes]:
        """A document's sealed bytes, in portions, from here or from its owner's node. whole: the reader needs
        no grant.

        Raises Rejected; Degraded DOCUMENT_NOT_READABLE, DOCUMENT_ELSEWHERE, CORRUPTED; StorageError.
        """
        found = self._readable(document, reader, whole=whole)
        told, size = hashing.streamed(self.ledger.suite, hashing.SEALED), 0
        async for portion in self._portions(document, found):
            told.update(portion)
            size += len(portion)
            if size > sealed_bytes(found.size_bytes):
                raise Degraded(NodeError.CORRUPTED, reason="more bytes than the document has")
            self._readable(document, reader, whole=whole)
            yield portion
        if told.digest() != found.sealed:
            if self._keeps(found.owner):
                self._tell({document: None}, {})
            raise Degraded(NodeError.CORRUPTED, reason="the bytes are not those of the document")
        self.counts["fetched"] += 1

    async def _portions(self, document: bytes, found: Any) -> AsyncIterator[bytes]:
        if not self._keeps(found.owner):
            peer = self.peers.get(found.owner)
            if peer is None:
                raise Degraded(NodeError.DOCUMENT_ELSEWHERE, owner=found.owner)
            async for portion in peer.fetch(document):
                yield portion
            return
        portions = self.files.read(found.sealed)
        try:
            while portion := await asyncio.to_thread(next, portions, b""):
                yield portion
        except FileNotFoundError as error:
            self._tell({}, {document: None})
            raise Degraded(NodeError.CORRUPTED, reason="the bytes of the document are missing") from error

    async def destroy(self, document: bytes) -> bool:
        """Destroy the bytes of a closed document; whether there were any. Never those of a document that is
        kept, whosoever it is. Raises Rejected; Degraded DOCUMENT_ELSEWHERE; StorageError.
        """
        found = self._require(document)
        if not self._keeps(found.owner):
            raise Degraded(NodeError.DOCUMENT_ELSEWHERE, owner=found.owner)
        if found.status == "kept":
            raise Rejected(self._contract.NOT_IN_THIS_STATE, status=found.status)
        if other := self._kept_with(found.sealed):
            raise Rejected(self._contract.BYTES_TAKEN, document=other.hex())
        freed = await asyncio.to_thread(self.files.size_of, found.sealed) or 0
        was_there = await asyncio.to_thread(self.files.destroy, found.sealed)
        self.holdings.disk_bytes -= min(freed, self.holdings.disk_bytes)
        self.counts["destroyed"] += was_there
        log.info("document destroyed", document=document.hex(), there=was_there)
        return was_there

    async def examine(self, document: bytes) -> Condition:
        """Read a document's bytes through. Raises Rejected; Degraded DOCUMENT_ELSEWHERE; StorageError."""
        found = self._require(document)
        if not self._keeps(found.owner):
            raise Degraded(NodeError.DOCUMENT_ELSEWHERE, owner=found.owner)
        return await self._read_through(found.sealed)

    async def _read_through(self, sealed: bytes) -> Condition:
        """One at a time, so that threads and cores are left for others."""
        return await asyncio.get_running_loop().run_in_executor(self._reader, self.files.examine, sealed)

    # --- what is asked of the ledger ------------------------------------------------------------------------

    @property
    def _contract(self) -> Any:
        return self.ledger.readers[CONTRACT]

    def owner_of(self, document: bytes) -> str:
        """Who owns a document. Raises Rejected."""
        return str(self._require(document).owner)

    def _require(self, document: bytes) -> Any:
        return self.ledger.query(CONTRACT, "get_document", codec.encode((document,)))

    def _readable(self, document: bytes, reader: str, *, whole: bool) -> Any:
        """The document, if the reader may read it now."""
        found = self._require(document)
        if not whole and reader != found.owner and self._contract.access.get(document, reader) is None:
            self.counts["refused"] += 1
            raise Degraded(NodeError.DOCUMENT_NOT_READABLE, member=reader)
        if found.status != "kept":
            raise Rejected(self._contract.NOT_IN_THIS_STATE, status=found.status)
        return found

    def _kept_with(self, sealed: bytes) -> bytes | None:
        """A document that is kept, is to lie here, and has these bytes."""
        members = self._contract.members.institution.scan() if not self.member else ()
        for owner in [self.member] if self.member else [parts[0] for parts, _ in members]:
            lying = self._contract.lying.get(owner, sealed)
            if lying and self._require(lying.document).status == "kept":
                return bytes(lying.document)
        return None

    def _keeps(self, owner: str) -> bool:
        return self.member in ("", owner)

    # --- once in a while ------------------------------------------------------------------------------------

    async def _look_on(self) -> None:
        while True:
            try:
                await self.look()
            except StorageError:
                log.exception("the vault cannot be looked through")
            await asyncio.sleep(LOOK_SECONDS)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """The node goes on; what lies on the disk is not held against the ledger any more."""
        if not task.cancelled() and (error := task.exception()):
            self.alarm(f"the vault is looked after no more: {type(error).__name__}: {error}")

    async def look(self) -> None:
        """Compare the disk with the ledger: count, examine what is due, remove what nobody names."""
        now, found = self.clock(), Holdings()
        named: dict[bytes, None] = {}
        async for document, row in self._documents():
            named[row.sealed] = None
            found.documents += 1
            found.size_bytes += row.size_bytes
            condition = await self._condition(row, now)
            if condition is Condition.MISSING:
                found.missing[document] = None
            elif condition is Condition.DAMAGED:
                found.damaged[document] = None
        await self._remove_orphans(named, found, now)
        self._tell(found.damaged, found.missing)
        self.holdings, self._looked = found, True

    async def _documents(self) -> AsyncIterator[tuple[bytes, Any]]:
        """Id and record of every document that is to lie here."""
        after = bytes(32)
        while True:
            page = list(islice(self._contract.document.scan(start=(after,)), PAGE))
            for (document,), row in page:
                if row.status == "kept" and self._keeps(row.owner):
                    yield document, row
            if len(page) < PAGE or page[-1][0][0] == LAST:
                return
            after = _next(page[-1][0][0])
            await asyncio.sleep(0)

    async def _condition(self, row: Any, now: float) -> Condition:
        size = await asyncio.to_thread(self.files.size_of, row.sealed)
        if size is None:
            return Condition.MISSING
        if size != sealed_bytes(row.size_bytes):
            return Condition.DAMAGED
        if now - self._examined.get(row.sealed, 0.0) < EXAMINE_SECONDS:
            return Condition.WHOLE
        condition = await self._read_through(row.sealed)
        if condition is Condition.WHOLE:
            self._examined[row.sealed] = now
        return condition

    async def _remove_orphans(self, named: Mapping[bytes, None], found: Holdings, now: float) -> None:
        fresh = now * 1_000 - self.ledger.info().time_ms < BEHIND_MS_MAX
        lying = await asyncio.to_thread(lambda: list(self.files.all()))
        orphans = [kept for kept in lying if kept.sealed not in named]
        found.orphans = len(orphans)
        found.disk_bytes = sum(kept.size_bytes for kept in lying)
        self._orphaned = {kept.sealed: self._orphaned.get(kept.sealed, now) for kept in orphans}
        for kept in orphans if fresh else []:
            old = now - max(kept.changed, self._orphaned[kept.sealed]) >= ORPHAN_SECONDS
            if old and not self._kept_with(kept.sealed):  # asked again: a document may have come meanwhile
                await asyncio.to_thread(self.files.destroy, kept.sealed)
                self.counts["removed"] += 1
                log.info("bytes that no document names are removed", sealed=kept.sealed.hex())

    def _tell(self, damaged: Mapping[bytes, None], missing: Mapping[bytes, None]) -> None:
        """Raise an alarm for each document whose bytes were not known to be lost."""
        known = self.holdings
        for word, news, before in (
            ("damaged", damaged, known.damaged),
            ("missing", missing, known.missing),
        ):
            for document in islice((each for each in news if each not in before), NAMED_MAX):
                self.alarm(f"the bytes of the vault's document {document.hex()} are {word}: restore a copy")
        known.damaged.update(damaged)
        known.missing.update(missing)


async def _next_portion(portions: AsyncIterator[bytes]) -> bytes | None:
    """None at the end. Raises Degraded BAD_REQUEST where one is empty, or does not come."""
    try:
        async with asyncio.timeout(PORTION_SECONDS):
            portion = await anext(portions, None)
    except TimeoutError as error:
        reason = f"the next portion did not come within {PORTION_SECONDS:.0f} s"
        raise Degraded(NodeError.BAD_REQUEST, reason=reason) from error
    if portion == b"":
        raise Degraded(NodeError.BAD_REQUEST, reason="a portion is empty")
    return portion


def _next(document: bytes) -> bytes:
    """The id behind an id that is not the last."""
    return (int.from_bytes(document, "big") + 1).to_bytes(len(document), "big")
