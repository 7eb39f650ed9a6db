"""The custody desk: the only signer inside a node. It takes requests, hears approvals, and where the policy
is met makes the transaction, signs it, keeps the signed bytes, and only then sends them to the engine.

Decisions are made one after the other, each on the books (node/keys/custody_books.py) before it is answered,
by a thread of the desk's own. What always holds: whatever is sent was stored first, and after a restart the
same bytes are sent again until the ledger has decided them, so that a crash between signing and sending pays
neither never nor twice; the body is made when the last approval is in, so that its time of creation is true;
whoever is refused is on the record too.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial, wraps
from typing import Any, Final, ParamSpec, TypeVar

import structlog
from msgspec.structs import replace

from node.client.signing import new_request_id, sign, transaction, transaction_id
from node.engine import weighing
from node.engine.engine import Engine
from node.engine.errors import Degraded, NodeError
from node.keys import custody
from node.keys.custody import Caller, Content, CustodyError, Outcome, Request
from node.keys.custody_books import Books, BooksShut, BookSums
from node.keys.custody_policy import Facts, Person, Policy, Ruling
from node.keys.keystore import KeystoreError
from node.keys.signer import Signer, SignerUnavailable
from node.ledger import codec
from node.ledger.errors import Rejected
from node.ledger.ledger import Ledger
from node.ledger.transactions import required_officers
from node.ledger.types import Operation

T = TypeVar("T")
P = ParamSpec("P")

MINUTE_MS: Final = 60_000
LOOK_SECONDS: Final = 1.0
"""How often it is looked for what has expired or may be tried again."""
FORGET_MS: Final = 3_600_000
ANCHOR_CONTRACT: Final = "anchors"
ANCHOR_METHOD: Final = "anchor"
ANCHOR_PURPOSE: Final = "custody-audit"

log = structlog.get_logger("vostro.custody")


def now_ms() -> int:
    """The machine's clock."""
    return time.time_ns() // 1_000_000


def _whole(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """A decision that goes on to its end when whoever asked for it goes away, so that the next one begins
    with what it left.
    """

    @wraps(method)
    async def run(*args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.shield(asyncio.create_task(method(*args, **kwargs)))

    return run


@dataclass(slots=True)
class Desk:
    """The desk of one node. Every method is called on the event loop's thread."""

    policy: Policy
    books: Books
    ledger: Ledger
    engine: Engine
    signers: Sequence[Signer]
    anchor_hours: int = 24
    clock_ms: Callable[[], int] = now_ms
    revokes: Callable[[Sequence[str]], bool] = lambda _: False
    """Whether one of these is on a revocation list: what the doors know (node/services/identity.py)."""
    _sums: BookSums = field(init=False)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _disk: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "custody"))
    _moved: asyncio.Event = field(default_factory=asyncio.Event)
    _sending: dict[bytes, asyncio.Task[None]] = field(default_factory=dict)
    _ready: dict[bytes, None] = field(default_factory=dict)
    _told: dict[bytes, bool] = field(default_factory=dict)
    _watch: asyncio.Task[None] | None = None
    _anchored_ms: int = 0
    _forgot_ms: int = 0

    # --- life -----------------------------------------------------------------------------------------------

    def __post_init__(self) -> None:
        self._sums = self.books.sums(self.policy, self.clock_ms())

    async def start(self) -> None:
        """Go on where the node stopped: put the policy on record, send what is signed, sign what is
        approved.
        """
        keys = [signer.key_id.hex() for signer in self.signers]
        chain = self.ledger.chain.chain_id.hex()
        note = partial(self.books.note, "opened", self.clock_ms())
        await self._on_disk(
            partial(note, member=self.policy.member, chain=chain, keys=keys, policy=self.policy.sha256)
        )
        self._anchored_ms = max(
            [each.signed_ms for each in self.books.requests.values() if each.is_own], default=0
        )
        for request in self.books.unsettled():
            self._send(request)
        self._ready.update(dict.fromkeys(request.id for request in self.books.waiting()))
        self._watch = asyncio.create_task(self._look_on(), name="custody")

    async def stop(self) -> None:
        """Take nothing new. What is signed and not decided is sent again by the next start."""
        for task in [*self._sending.values(), *([self._watch] if self._watch else [])]:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        async with self._turn:
            self._disk.shutdown()
        self.books.close()

    # --- what people do -------------------------------------------------------------------------------------

    @_whole
    async def request(
        self,
        caller: Caller,
        operations: Sequence[Operation],
        *,
        request_id: bytes,
        reference: str = "",
        life_ms: int = 0,
    ) -> Request:
        """A maker asks. The same request again is the one that there is. Raises Rejected NOT_IDENTIFIED,
        NOT_OWN_MEMBER, NOT_MAKER, ID_TAKEN, TOO_MANY_WAITING, TOO_MANY_OF_MAKER, NOT_COVERED,
        KEYS_INSUFFICIENT, and what is wrong with the operations in any state.
        """
        async with self._turn:
            person = self._person(caller, custody.MAKER)
            now = self.clock_ms()
            content = self._content(person, request_id, operations, reference, life_ms, now)
            if known := self.books.requests.get(request_id):
                return custody.same(known, content)
            made = custody.opened(content, self._facts(operations))
            try:
                self._check_new(made, now)
            except Rejected as refused:
                await self._refuse(refused, person, "request", request_id, now)
            made = await self._record(
                "request",
                now,
                made,
                **_by(person),
                content_hash=made.content_hash.hex(),
                operations=[weighing.told(facts) for facts in made.facts],
            )
            return await self._advance(made)

    @_whole
    async def approve(self, caller: Caller, request_id: bytes, content_hash: bytes) -> Request:
        """A checker says yes to a content. Raises Rejected, as custody.approved does, and NOT_IDENTIFIED,
        NOT_OWN_MEMBER, NOT_CHECKER, REQUEST_UNKNOWN, NOT_COVERED, NOT_APPROVER.
        """
        async with self._turn:
            person, request, now = *self._decision(caller, request_id, custody.CHECKER), self.clock_ms()
            try:
                made = custody.approved(request, person, content_hash, now, self._counting(request, now))
                self._check_helps(request, made, now)
            except Rejected as refused:
                await self._refuse(refused, person, "approval", request_id, now)
            made = await self._record(
                "approval",
                now,
                made,
                **_by(person),
                path=list(person.path),
                roles=sorted(person.roles),
                content_hash=content_hash.hex(),
            )
            return await self._advance(made)

    @_whole
    async def reject(self, caller: Caller, request_id: bytes, content_hash: bytes, reason: str) -> Request:
        """A checker says no, which ends the request. Raises Rejected, as ``approve``."""
        async with self._turn:
            person, request, now = *self._decision(caller, request_id, custody.CHECKER), self.clock_ms()
            try:
                made = custody.rejected(request, person, content_hash, reason, now)
            except Rejected as refused:
                await self._refuse(refused, person, "rejection", request_id, now)
            told = {**_by(person), "content_hash": content_hash.hex()}
            return await self._record("rejection", now, made, **told)

    @_whole
    async def cancel(self, caller: Caller, request_id: bytes) -> Request:
        """A maker takes back what waits. Raises Rejected NOT_IDENTIFIED, NOT_OWN_MEMBER, NOT_MAKER,
        REQUEST_UNKNOWN, NOT_WAITING, DEAD, NOT_OWN_REQUEST.
        """
        async with self._turn:
            person, request, now = *self._decision(caller, request_id, custody.MAKER), self.clock_ms()
            try:
                made = custody.cancelled(request, person, now)
            except Rejected as refused:
                await self._refuse(refused, person, "cancellation", request_id, now)
            return await self._record("cancellation", now, made, **_by(person))

    def get(self, caller: Caller, request_id: bytes) -> Request:
        """A request of the caller's own member. Raises Rejected NOT_IDENTIFIED, NOT_OWN_MEMBER,
        REQUEST_UNKNOWN.
        """
        self._person(caller)
        if found := self.books.requests.get(request_id):
            return found
        raise Rejected(CustodyError.REQUEST_UNKNOWN)

    def all(self, caller: Caller, *, open_only: bool = False) -> list[Request]:
        """Requests in the order in which they were made. Raises Rejected NOT_IDENTIFIED, NOT_OWN_MEMBER."""
        self._person(caller)
        listed = [each for each in self.books.requests.values() if each.is_open or not open_only]
        return sorted(listed, key=lambda each: (each.content.created_ms, each.id))

    async def wait(self, caller: Caller, request_id: bytes, seconds: float) -> Request:
        """A request once nothing is to become of it, or after so long. Raises what ``get`` raises."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.get(caller, request_id).is_open:
                    await self._moved.wait()
        return self.get(caller, request_id)

    def ruling(self, request: Request) -> Ruling:
        """What the policy says of a request now; where it cannot be weighed any more, as it was weighed."""
        with suppress(Rejected):
            request = self._weighed(request)
        return self._judge(request, self.clock_ms())

    def explain(self, caller: Caller, operations: Sequence[Operation], maker: str = "") -> Ruling:
        """What the policy would say if the caller, or ``maker``, asked for these operations now; nothing is
        kept. Raises Rejected NOT_IDENTIFIED, NOT_OWN_MEMBER.
        """
        person, now = self._person(caller), self.clock_ms()
        asker = Person(maker, frozenset({custody.MAKER})) if maker else person
        return self.policy.judge(self._facts(operations), asker, (), now, self._sums)

    # --- what is checked ------------------------------------------------------------------------------------

    def _person(self, caller: Caller, role: str = "") -> Person:
        return custody.check_caller(caller, self.policy.member, role)

    def _decision(self, caller: Caller, request_id: bytes, role: str) -> tuple[Person, Request]:
        person = self._person(caller, role)
        return person, self.get(caller, request_id)

    def _content(
        self,
        person: Person,
        request_id: bytes,
        operations: Sequence[Operation],
        reference: str,
        life: int,
        now: int,
    ) -> Content:
        expires_ms = now + self.policy.document.request_minutes * MINUTE_MS
        roles, chain = tuple(sorted(person.roles)), self.ledger.chain.chain_id
        member, asked = self.policy.member, tuple(operations)
        return Content(
            1, chain, request_id, member, person.name, roles, asked, reference, life, now, expires_ms
        )

    def _facts(self, operations: Sequence[Operation]) -> list[Facts]:
        return weighing.facts(operations, self.policy.member, self.ledger)

    def _check_new(self, request: Request, now: int) -> None:
        self.books.check_room(request.maker)
        if uncovered := self._judge(request, now).uncovered:
            raise Rejected(CustodyError.NOT_COVERED, operation=uncovered[0])
        self._signing(request.content.operations)

    def _signing(self, operations: Sequence[Operation]) -> list[Signer]:
        """The keys that may sign for these operations now. Raises Rejected KEYS_INSUFFICIENT where the
        member's signing policy on the ledger asks for more holders.
        """
        door, member, height = self.ledger.door, self.policy.member, self.ledger.view.reader.height
        usable: dict[Signer, str] = {}
        for signer in self.signers:
            with suppress(Rejected):  # retired, revoked, or not registered
                key = door.signatories.require_signatory(member, signer.key_id, height)
                if all(custody.may_sign(key.scopes, operation) for operation in operations):
                    usable[signer] = key.holder
        holders = len(set(usable.values()))
        required = required_officers(weighing.candidate_of(operations, member, self.ledger.chain), door)
        if holders < required:
            raise Rejected(CustodyError.KEYS_INSUFFICIENT, holders=holders, required=required)
        return list(usable)

    def _weighed(self, request: Request) -> Request:
        """A request that waits, as it weighs now. Raises Rejected."""
        if request.status != "waiting":
            return request
        return replace(request, facts=tuple(self._facts(request.content.operations)))

    def _judge(self, request: Request, now: int) -> Ruling:
        people = self._counting(request, now)
        return self.policy.judge(request.facts, request.maker, people, now, self._sums)

    def _counting(self, request: Request, now: int) -> list[Person]:
        minutes = self.policy.document.approval_minutes
        return custody.counting(request, now, minutes * MINUTE_MS, self.revokes)

    def _check_helps(self, before: Request, after: Request, now: int) -> None:
        """Raises Rejected NOT_COVERED, NOT_APPROVER, and where it cannot be weighed any more."""
        weighed = self._weighed(before)
        without = self._judge(weighed, now)
        ruling = self._judge(replace(after, facts=weighed.facts), now)
        if ruling.uncovered:
            raise Rejected(CustodyError.NOT_COVERED, operation=ruling.uncovered[0])
        if ruling.places >= without.places:
            if without.met:
                self._ready[before.id] = None
            raise Rejected(CustodyError.NOT_APPROVER)

    # --- what follows ---------------------------------------------------------------------------------------

    async def _advance(self, request: Request) -> Request:
        """Sign and send what the policy lets pass now."""
        now = self.clock_ms()
        if request.status != "waiting" or custody.is_over(request, now):
            return request
        self._ready[request.id] = None
        try:
            weighed = self._weighed(request)
            ruling = self._judge(weighed, now)
            if not request.is_own and not ruling.met:
                self._ready.pop(request.id)
                return request
            signers = self._signing(request.content.operations)
            raw, tx_id = await self._on_disk(partial(self._sign, request.content, signers, now))
        except (Rejected, SignerUnavailable) as reason:
            if not self._told.get(request.id):
                self._told[request.id] = True
                log.warning(
                    "a request is approved and cannot be signed", request=request.id.hex(), why=str(reason)
                )
            return request
        made = await self._record(
            "signature",
            now,
            custody.signed(weighed, raw, tx_id, now),
            content_hash=request.content_hash.hex(),
            tx_id=tx_id.hex(),
            keys=[signer.key_id.hex() for signer in signers],
            operations=[weighing.told(facts) for facts in weighed.facts],
            rules=[each.rule for each in ruling.bindings],
            totals=[each.total for each in ruling.bindings],
            approvers=[_by(each) for each in self._counting(request, now)],
        )
        self._ready.pop(request.id, None)
        self._told.pop(request.id, None)
        self._send(made)
        return made

    def _sign(self, content: Content, signers: Sequence[Signer], now: int) -> tuple[bytes, bytes]:
        """(signed bytes, transaction id): a body that is made now."""
        chain = self.ledger.chain
        valid_until = now + content.life_ms if content.life_ms else 0
        body = transaction(
            chain.chain_id,
            content.member,
            content.operations,
            request_id=new_request_id(now),
            valid_until_ms=valid_until,
        )
        return sign(chain.suite, chain.chain_id, body, signers), transaction_id(chain.suite, body)

    def _send(self, request: Request) -> None:
        task = asyncio.create_task(self._send_until_decided(request), name=f"custody {request.id.hex()}")
        self._sending[request.id] = task
        task.add_done_callback(lambda _: self._sending.pop(request.id, None))

    async def _send_until_decided(self, request: Request) -> None:
        """The same bytes, until the ledger has decided them or never will."""
        await self._submit(request)
        while True:
            (answer,) = await self.engine.submit([request.signed])
            if receipt := answer.receipt:
                status: custody.Status = "refused" if receipt.code else "applied"
                outcome = Outcome(receipt.codespace, receipt.code, receipt.height)
                break
            if answer.decided and answer.error:
                status, outcome = "dead", Outcome(answer.error.codespace, answer.error.code, answer.height)
                break
            await asyncio.sleep(LOOK_SECONDS)
        await self._settle(request, status, outcome)

    @_whole
    async def _submit(self, request: Request) -> None:
        async with self._turn:
            known = self.books.requests[request.id]
            await self._record("submission", self.clock_ms(), known, tx_id=request.tx_id.hex())

    @_whole
    async def _settle(self, request: Request, status: custody.Status, outcome: Outcome) -> None:
        async with self._turn:
            now = self.clock_ms()
            await self._record(
                "outcome",
                now,
                custody.decided(self.books.requests[request.id], status, outcome, now),
                tx_id=request.tx_id.hex(),
                status=status,
                codespace=outcome.codespace,
                code=outcome.code,
                height=outcome.height,
            )

    # --- once a second --------------------------------------------------------------------------------------

    async def _look_on(self) -> None:
        while not self.books.is_shut:
            with suppress(Degraded):  # told where it was raised
                await self.look()
            await asyncio.sleep(LOOK_SECONDS)

    @_whole
    async def look(self) -> None:
        """End what has expired, try again what could not be signed, anchor what is due."""
        async with self._turn:
            now = self.clock_ms()
            for request in self.books.waiting():
                if custody.is_over(request, now):
                    self._ready.pop(request.id, None)
                    self._told.pop(request.id, None)
                    await self._record("expiry", now, custody.expired(request, now))
            for request_id in list(self._ready):
                self._ready.pop(request_id)
                await self._advance(self.books.requests[request_id])
            if now - self._forgot_ms >= FORGET_MS:
                self._forgot_ms = now
                await self._on_disk(partial(self.books.forget_old, now))
                self._sums = self.books.sums(self.policy, now)
            if self.anchor_hours and now - self._anchored_ms >= self.anchor_hours * 60 * MINUTE_MS:
                await self.anchor(now)

    async def anchor(self, now: int) -> Request | None:
        """Put the hash of the log's last line on the ledger; None where the chain has no contract for it."""
        if ANCHOR_CONTRACT not in self.ledger.contracts():
            return None
        self._anchored_ms = now
        sequence, digest = self.books.audit.head
        arguments = codec.encode((ANCHOR_PURPOSE, sequence, bytes.fromhex(digest)))
        operations = (Operation(ANCHOR_CONTRACT, ANCHOR_METHOD, arguments),)
        node = Person(custody.NODE, frozenset())
        content = self._content(node, new_request_id(now), operations, "", 0, now)
        made = custody.opened(content, self._facts(operations))
        made = await self._record("anchor", now, made, head=sequence, head_hash=digest)
        return await self._advance(made)

    # --- the books ------------------------------------------------------------------------------------------

    async def _record(self, kind: str, now: int, request: Request, **fields: Any) -> Request:
        made = await self._on_disk(partial(self.books.record, kind, now, request, **fields))
        self._sums.note(made)
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()
        return made

    async def _refuse(
        self, refused: Rejected, person: Person, what: str, request_id: bytes, now: int
    ) -> None:
        """Put a refusal on record. Raises it."""
        fields = {**_by(person), "what": what, "about": request_id.hex(), "code": refused.error.name}
        await self._on_disk(partial(self.books.note, "refusal", now, **fields))
        raise refused

    async def _on_disk(self, work: Callable[[], T]) -> T:
        """Run on the desk's thread. Raises Degraded STOPPED where the books are shut, or now shut, and
        SignerUnavailable, which a missing token raises as a KeystoreError too.
        """
        try:
            return await asyncio.get_running_loop().run_in_executor(self._disk, work)
        except SignerUnavailable:
            raise
        except (OSError, KeystoreError, BooksShut) as error:
            log.error("custody has stopped", reason=str(error))  # noqa: TRY400  # told, not a bug
            raise Degraded(NodeError.STOPPED) from error


def _by(person: Person) -> dict[str, str]:
    """Who it was, and with which certificate."""
    return {"by": person.name, "certificate": person.certificate}
