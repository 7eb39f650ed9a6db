"""The doors: what every call passes before a service sees it, and what ends a call that lasts.

Identify the caller, look at the access matrix, count its quota; then decode, check what the request reads,
and narrow the answer. Once a second whatever the doors rest on is looked at again: a file that changed is put
in force, calls that last are ended where their certificate no longer opens them, and what will end soon is
announced.
"""

import asyncio
import datetime as dt
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import structlog

from node.engine.errors import Degraded, NodeError
from node.services.access import Access
from node.services.identity import NOBODY, Ending, Identity, announced
from node.services.quotas import Quota, Quotas
from node.services.reading import Reading
from node.services.tls import CertificateFiles

LOOK_SECONDS: Final = 1.0
"""How often it is looked: within two of these a call that lasts ends with its certificate."""
_CERTIFICATE: Final = "x509_pem_cert"
_CHAIN: Final = "x509_pem_cert_chain"

_log = structlog.get_logger("vostro.doors")


class Lasting:
    """A call that lasts: the task that answers it, and why it was ended, if it was."""

    __slots__ = ("chain", "ended", "pem", "row", "task")

    def __init__(self, row: Access, pem: bytes, chain: tuple[bytes, ...]) -> None:
        self.row = row
        self.pem = pem
        self.chain = chain
        self.ended: Degraded | None = None
        self.task = asyncio.current_task()

    def end(self, reason: Degraded) -> None:
        """End the call with a status."""
        if self.task and self.ended is None:
            self.ended = reason
            self.task.cancel()

    def take_end(self) -> Degraded | None:
        """Why the call was ended, for the task that was cancelled; None where the client ended it."""
        if self.ended and self.task:
            self.task.uncancel()
        return self.ended


class Caller:
    """Who makes one call, and what it showed for it. quota: in which it is counted as under way."""

    __slots__ = ("chain", "identity", "pem", "quota")

    def __init__(self, identity: Identity, pem: bytes = b"", chain: tuple[bytes, ...] = ()) -> None:
        self.identity = identity
        self.pem = pem
        self.chain = chain
        self.quota: Quota | None = None


class Doors:
    """The doors of one server."""

    def __init__(
        self, files: CertificateFiles | None, local: Identity, quotas: Quotas, reading: Reading
    ) -> None:
        """files: None without TLS; then every caller is ``local``."""
        self.files = files
        self.reading = reading
        self.refusals: Counter[str] = Counter()
        self._local = Caller(local)
        self._quotas = quotas
        self._lasting: set[Lasting] = set()
        self._announced: dict[str, int] = {}
        self._watch: asyncio.Task[None] | None = None

    # --- one call -------------------------------------------------------------------------------------------

    def enter(self, row: Access, call: Any) -> Caller:
        """Who calls, if the row lets it; ``leave`` follows. Raises Degraded UNIDENTIFIED, NOT_PERMITTED,
        QUOTA_USED_UP, OVERLOADED.
        """
        try:
            caller = self._local if self.files is None else self._caller(self.files, row, call)
            if not caller.identity.whole:
                row.check_role(caller.identity)
                if caller.identity.member and row.roles is not None:
                    quota = self._quotas.of(caller.identity.member)
                    quota.begin()
                    caller.quota = quota
        except Degraded as refusal:
            self.refusals[refusal.error.name] += 1
            raise
        return caller

    def leave(self, caller: Caller) -> None:
        """A call that was let in is over. May be told twice."""
        if caller.quota:
            caller.quota.end()
            caller.quota = None

    def _caller(self, files: CertificateFiles, row: Access, call: Any) -> Caller:
        shown = call.auth_context()
        pem = shown.get(_CERTIFICATE, (b"",))[0]
        chain = tuple(shown.get(_CHAIN, ()))
        try:
            if not pem:
                raise Degraded(NodeError.UNIDENTIFIED, reason="no certificate was shown")
            return Caller(files.trust.identify(pem, chain), pem, chain)
        except Degraded:
            if row.roles is None:  # answered to anybody, but if it lasts, ended when next looked at
                return Caller(NOBODY, pem, chain)
            raise

    def asked(self, row: Access, caller: Caller, request: Any) -> None:
        """A request, decoded. Raises Degraded NOT_PERMITTED, QUOTA_USED_UP."""
        if caller.identity.whole:
            return
        try:
            if row.ask:
                row.ask(self.reading, caller.identity, request)
            if row.weigh:
                self._quotas.of(caller.identity.member).transactions(row.weigh(request))
            if row.counts and caller.quota:
                caller.quota.owe(row.counts(request) - 1)
        except Degraded as refusal:
            self.refusals[refusal.error.name] += 1
            raise

    async def paced(self, row: Access, caller: Caller, request: Any) -> None:
        """As ``asked``, of one request of many in a call: it waits for its quota, and so is not read on."""
        if caller.identity.whole or row.weigh is None:
            return
        quota = self._quotas.of(caller.identity.member)
        wait = quota.transactions_wait(row.weigh(request))
        while wait:
            await asyncio.sleep(wait)
            wait = quota.transactions_wait(row.weigh(request))

    def shown(self, row: Access, caller: Caller, response: Any) -> Any:
        """An answer, narrowed to what its reader may see. Raises Degraded NOT_PERMITTED."""
        if row.show is None or caller.identity.whole:
            return response
        try:
            return row.show(self.reading, caller.identity, response)
        except Degraded as refusal:
            self.refusals[refusal.error.name] += 1
            raise

    @contextmanager
    def lasting(self, row: Access, caller: Caller) -> Iterator[Lasting]:
        """A call that lasts, for as long as it does: it is counted as a stream from then on. Those of
        nobodies share a quota. Raises Degraded QUOTA_USED_UP.
        """
        self.leave(caller)
        quota = None if caller.identity.whole else self._quotas.of(caller.identity.member)
        if quota:
            try:
                quota.open_stream()
            except Degraded as refusal:
                self.refusals[refusal.error.name] += 1
                raise
        lasting = Lasting(row, caller.pem, caller.chain)
        if caller.pem:
            self._lasting.add(lasting)
        try:
            yield lasting
        finally:
            self._lasting.discard(lasting)
            if quota:
                quota.close_stream()

    # --- once a second --------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to look. Called in the event loop."""
        if self.files:
            self._watch = asyncio.create_task(self._look_on(self.files))

    async def stop(self) -> None:
        """Look no more."""
        if self._watch:
            self._watch.cancel()
            with suppress(asyncio.CancelledError):
                await self._watch

    async def _look_on(self, files: CertificateFiles) -> None:
        while True:
            self.look(files, dt.datetime.now(dt.UTC))
            await asyncio.sleep(LOOK_SECONDS)

    def look(self, files: CertificateFiles, now: dt.datetime) -> None:
        """Put changed files in force, end what they no longer open, announce what will end."""
        files.refresh()
        for lasting in list(self._lasting):
            try:
                lasting.row.check_role(files.trust.identify(lasting.pem, lasting.chain))
            except Degraded as reason:
                self.refusals[reason.error.name] += 1
                lasting.end(reason)
        for ending in files.endings():
            self._announce(ending, now)

    def ends(self) -> dict[str, float]:
        """What of the doors ends, and when, in seconds since 1970."""
        found = self.files.endings() if self.files else []
        return {ending.what: ending.until.timestamp() for ending in found}

    def _announce(self, ending: Ending, now: dt.datetime) -> None:
        due = announced(ending, now)
        if due is None:
            self._announced.pop(ending.what, None)
        elif self._announced.get(ending.what) != due:
            self._announced[ending.what] = due
            fields = {"what": ending.what, "until": ending.until.isoformat()}
            if due:
                _log.warning("a certificate ends soon", days=due, **fields)
            else:
                _log.error("a certificate has ended", **fields)
