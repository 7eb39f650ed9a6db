"""Blacklist sharing: members warn one another about parties they will not serve.

A member lists a party under a reason until a time, and retracts the listing when the reason is gone. Any
member may lodge an appeal against another's listing on behalf of the party; only the lister can answer it, by
retracting or by upholding. A look-up that is made as a transaction states its purpose and leaves a record, so
that a regulator can see who asked about whom and why.

State       listing / party, member -> Listing
            lookups / party, member -> Lookups
            due / queue, time, party, member -> Due
Life        listed --appeal--> appealed --uphold--> upheld;  each --retract--> gone, each --block time--> gone
Invariants  B1 a member lists a party at most once at a time.
            B2 only the lister retracts and upholds.
            B3 from its expiry time on a listing is not seen, whether or not it has been cleaned up.
            B4 every look-up that was applied is counted.
Privacy     a party is a 32-byte token that members derive from its identity with a shared secret; names never
            reach the ledger. Who listed a token, why, and who asked is public to all members.
"""

from itertools import islice
from typing import Annotated, Final, Literal

from msgspec import Meta
from msgspec.structs import replace

from node.ledger.contract import Category, Context, Contract, Fact, Rejected, error, method, query, table
from node.ledger.types import Count, Hash, MemberId, Name, Record, TimeMs

EXPIRY_MAX: Final = 500
DURATION_MAX_MS: Final = 10 * 366 * 86_400_000
LISTINGS_MAX: Final = 256
"""Members that may list one party; bounds a look-up."""
QUEUE: Final = "expiry"

Reason = Literal["fraud", "default", "identity-theft", "sanction", "money-laundering", "other"]
Purpose = Literal["onboarding", "lending", "payment", "periodic-review", "investigation"]
Status = Literal["listed", "appealed", "upheld"]

TRANSITIONS: Final = {"listed": ("appealed",), "appealed": ("upheld",), "upheld": ()}


class Listing(Record, frozen=True):
    """One member's warning about one party. Hashes are of documents that the members keep themselves; zero:
    none.
    """

    reason: Reason
    evidence_hash: Hash
    listed_ms: TimeMs
    expires_ms: TimeMs
    status: Status
    appellant: Annotated[str, Meta(max_length=16)]
    statement_hash: Hash


class Lookups(Record, frozen=True):
    """How often a member asked about a party, and when last."""

    count: Count
    last_ms: TimeMs


class Due(Record, frozen=True):
    """A place in the queue of listings that will expire."""

    version: Literal[1]


class Listed(Fact, frozen=True):
    """A party was listed."""

    party: Hash
    member: MemberId
    reason: Reason
    expires_ms: TimeMs


class Retracted(Fact, frozen=True):
    """A listing was taken back."""

    party: Hash
    member: MemberId


class ListingExpired(Fact, frozen=True):
    """A listing's time was over."""

    party: Hash
    member: MemberId


class Appealed(Fact, frozen=True):
    """A member appealed against another's listing."""

    party: Hash
    member: MemberId
    appellant: MemberId
    statement_hash: Hash


class Upheld(Fact, frozen=True):
    """The lister answered an appeal and keeps its listing."""

    party: Hash
    member: MemberId
    statement_hash: Hash


class LookedUp(Fact, frozen=True):
    """A member asked about a party, and how many members list it."""

    party: Hash
    member: MemberId
    purpose: Purpose
    listings: Count


class NamedListing(Record, frozen=True):
    """A listing and who made it."""

    member: MemberId
    listing: Listing


class NamedLookups(Record, frozen=True):
    """Look-ups and who made them."""

    member: MemberId
    lookups: Lookups


class Blacklist(Contract):
    """See the module's docstring."""

    name = "blacklist"
    facts = (Listed, Retracted, ListingExpired, Appealed, Upheld, LookedUp)

    LISTED_ALREADY = error(
        1, Category.ALREADY_EXISTS, "The member lists this party already: retract that first."
    )
    EXPIRY_OUT_OF_RANGE = error(
        2, Category.INVALID, "A listing expires later than block time and within ten years."
    )
    TOO_MANY_LISTINGS = error(3, Category.OVERLOADED, "As many members list this party as may.")
    NOT_LISTED = error(4, Category.NOT_FOUND, "There is no such listing.")
    OWN_LISTING = error(
        5, Category.PERMISSION_DENIED, "A member does not appeal against its own listing: it retracts it."
    )
    NOT_OPEN_TO_THIS = error(
        6, Category.PRECONDITION, "A listing is appealed once, and upheld only after an appeal."
    )

    listing = table(Listing, party=Hash, member=MemberId)
    lookups = table(Lookups, party=Hash, member=MemberId)
    due = table(Due, queue=Name, time_ms=TimeMs, party=Hash, member=MemberId)

    def on_block(self, ctx: Context) -> None:
        """Remove the listings whose time is over, oldest first."""
        for (_, time_ms, party, member), _due in islice(self.due.scan(QUEUE), EXPIRY_MAX):
            if time_ms > ctx.time_ms:
                break
            self._remove(party, member)
            ctx.emit(ListingExpired(party, member))

    @method(flat=300)
    def list_party(
        self, ctx: Context, party: Hash, reason: Reason, evidence_hash: Hash, expires_ms: TimeMs
    ) -> None:
        """Warn the other members about a party."""
        if not ctx.time_ms < expires_ms <= ctx.time_ms + DURATION_MAX_MS:
            raise Rejected(self.EXPIRY_OUT_OF_RANGE, block_time_ms=ctx.time_ms)
        if known := self.listing.get(party, ctx.member):
            if ctx.time_ms < known.expires_ms:
                raise Rejected(self.LISTED_ALREADY)
            self._remove(party, ctx.member)
        if sum(1 for _ in islice(self.listing.scan(party), LISTINGS_MAX)) == LISTINGS_MAX:
            raise Rejected(self.TOO_MANY_LISTINGS)
        self.listing.put(
            Listing(reason, evidence_hash, ctx.time_ms, expires_ms, "listed", "", bytes(32)),
            party,
            ctx.member,
        )
        self.due.put(Due(1), QUEUE, expires_ms, party, ctx.member)
        ctx.emit(Listed(party, ctx.member, reason, expires_ms))

    @method
    def retract(self, ctx: Context, party: Hash) -> None:
        """Take the member's own listing back."""
        self._require_listing(ctx, party, ctx.member)
        self._remove(party, ctx.member)
        ctx.emit(Retracted(party, ctx.member))

    @method
    def appeal(self, ctx: Context, party: Hash, lister: MemberId, statement_hash: Hash) -> None:
        """Contest another member's listing on behalf of the party."""
        listing = self._require_listing(ctx, party, lister)
        if lister == ctx.member:
            raise Rejected(self.OWN_LISTING)
        self._advance(
            party, lister, replace(listing, appellant=ctx.member, statement_hash=statement_hash), "appealed"
        )
        ctx.emit(Appealed(party, lister, ctx.member, statement_hash))

    @method
    def uphold(self, ctx: Context, party: Hash, statement_hash: Hash) -> None:
        """Answer an appeal: the listing stays."""
        listing = self._require_listing(ctx, party, ctx.member)
        self._advance(party, ctx.member, replace(listing, statement_hash=statement_hash), "upheld")
        ctx.emit(Upheld(party, ctx.member, statement_hash))

    @method(flat=500)
    def look_up(self, ctx: Context, party: Hash, purpose: Purpose) -> None:
        """Ask about a party, on the record: the receipt says how many members list it."""
        before = self.lookups.get(party, ctx.member)
        self.lookups.put(Lookups(before.count + 1 if before else 1, ctx.time_ms), party, ctx.member)
        ctx.emit(LookedUp(party, ctx.member, purpose, len(self._listings(ctx, party))))

    @query
    def list_listings(self, ctx: Context, party: Hash) -> tuple[NamedListing, ...]:
        """Who lists a party now, and why."""
        return self._listings(ctx, party)

    @query
    def list_lookups(
        self, ctx: Context, party: Hash, after: Annotated[str, Meta(max_length=16)]
    ) -> tuple[NamedLookups, ...]:
        """Which members asked about a party, 100 at a time, ascending by member from behind ``after`` on."""
        page = self.lookups.scan(party, start=(party, after))
        return tuple(islice((NamedLookups(parts[1], row) for parts, row in page if parts[1] != after), 100))

    def _listings(self, ctx: Context, party: bytes) -> tuple[NamedListing, ...]:
        live = (
            (parts, listing)
            for parts, listing in self.listing.scan(party)
            if ctx.time_ms < listing.expires_ms
        )
        return tuple(islice((NamedListing(parts[1], listing) for parts, listing in live), LISTINGS_MAX))

    def _require_listing(self, ctx: Context, party: bytes, member: str) -> Listing:
        listing = self.listing.get(party, member)
        if listing is None or ctx.time_ms >= listing.expires_ms:
            raise Rejected(self.NOT_LISTED)
        return listing

    def _advance(self, party: bytes, member: str, listing: Listing, status: Status) -> None:
        if status not in TRANSITIONS[listing.status]:
            raise Rejected(self.NOT_OPEN_TO_THIS, status=listing.status)
        self.listing.put(replace(listing, status=status), party, member)

    def _remove(self, party: bytes, member: str) -> None:
        listing = self.listing.get(party, member)
        if listing is not None:
            self.listing.delete(party, member)
            self.due.delete(QUEUE, listing.expires_ms, party, member)
