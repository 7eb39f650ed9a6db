"""Settlement cycles: delivery versus payment over a cycle of deals, models 2 and 3.

Any member opens a cycle for deals against one asset, until a time. A deal enters once both its sides have
said so; from then on it settles with the cycle or, if it is taken out, by itself again. When the cycle's time
has come, whoever is in it settles it with one operation, in which all assets and all cash pass or none (BIS,
Delivery versus payment in securities settlement systems, 1992): under model 2 the assets gross, deal by deal,
each set aside at its seller's from the entry on, and the cash net; under model 3 both net, so that a member
need hold neither what it sells on nor what it is paid for elsewhere in the cycle. A member that has not what
it gives in net is taken out with all its deals, whoever lacks most cash first, and the rest is reckoned
again; so is a deal of which an asset, an account or a member is not in order. What remains settles, always.

Delivery under model 2 is final with the cycle, not in its course: nobody holds for hours what may have to be
given back. Deals that are to be final at once settle by model 1 (settlement.py).

State       cycle / cycle -> Cycle
            wish / deal -> Wish
            entry / cycle, deal -> Entry
Life        open --settle, from its time on--> settled
Invariants  C1 units of a cycle pass in ``_pass_all`` through ``Assets.move``; for every account and asset
            they add up to the legs of the deals that the cycle settled.
            C2 a deal in an open cycle settles with it or not at all; one that is taken out is as it was.
            C3 under model 2 the asset of every deal in an open cycle is held at its seller's.
            C4 who is taken out follows from the balances, the deals and their order by id alone.
Privacy     that there is a cycle, and how many deals it settled, is public; a deal in it is its sides'. What
            it came to is told to those who read everything, and with all of its deals, in the receipt, to
            the member that settles it: enter a cycle whose opener and sides may see that.
"""

from collections.abc import Callable
from itertools import islice
from typing import Annotated, Final, Literal, NamedTuple

from msgspec import Meta
from msgspec.structs import replace

from contracts.assets import PAGE_MAX, Assets
from contracts.deals import Deal, Leg, NamedDeal, Switch, Weighed, legs_of
from contracts.positions import Position
from contracts.settlement import Settlement
from node.ledger.contract import (
    Category,
    Context,
    Contract,
    Fact,
    Movement,
    Rejected,
    error,
    method,
    query,
    table,
)
from node.ledger.types import (
    INTEGER_MAX,
    AccountId,
    Amount,
    AssetId,
    Code,
    Count,
    Hash,
    Integer,
    MemberId,
    Name,
    Record,
    TimeMs,
)

DEALS_MAX: Final = 100
"""Deals of a cycle: what one operation settles."""
DURATION_MAX_MS: Final = 7 * 86_400_000
GROSS_ASSETS: Final = 2
"""The model under which assets pass deal by deal."""
UNPAID: Final = ("assets", 14)
"""Why a member that cannot give its net is taken out: INSUFFICIENT_BALANCE."""

Place = tuple[str, str]
"""An account and an asset."""
Model = Literal[2, 3]
CycleStatus = Literal["open", "settled"]

TRANSITIONS: Final[dict[CycleStatus, tuple[CycleStatus, ...]]] = {"open": ("settled",), "settled": ()}


class Cycle(Record, frozen=True):
    """Deals against one asset that settle together. closes_ms: block time from which on. deals: how many are
    in it; once settled, how many it settled.
    """

    opener: MemberId
    model: Model
    against: AssetId
    closes_ms: TimeMs
    deals: Count
    status: CycleStatus


class Wish(Record, frozen=True):
    """In which cycle one side of a deal wants to settle it."""

    cycle: Hash
    member: MemberId


class Entry(Record, frozen=True):
    """A deal in a cycle. held: whether its asset was set aside for the cycle."""

    held: Switch


class CycleOpened(Fact, frozen=True):
    """Deals may enter a cycle."""

    cycle: Hash
    opener: MemberId
    model: Model
    against: AssetId
    closes_ms: TimeMs


class EntryAsked(Fact, frozen=True):
    """``member`` wants to settle a deal in a cycle; it is for the other side to agree. Or no longer wants to,
    with a cycle of zeros.
    """

    cycle: Hash
    deal: Hash
    seller: MemberId
    buyer: MemberId
    member: MemberId


class Entered(Fact, frozen=True):
    """A deal settles with a cycle."""

    cycle: Hash
    deal: Hash
    seller: MemberId
    buyer: MemberId


class TakenOut(Fact, frozen=True):
    """A deal did not settle with its cycle. member: who could not give its net, empty: nobody; codespace and
    code: why.
    """

    cycle: Hash
    deal: Hash
    seller: MemberId
    buyer: MemberId
    member: Annotated[str, Meta(max_length=16)]
    codespace: Name
    code: Code


class SettledInCycle(Fact, frozen=True):
    """A deal's open units were settled with a cycle."""

    cycle: Hash
    deal: Hash
    seller: MemberId
    buyer: MemberId
    units: Amount
    amount: Amount


class Passed(Fact, frozen=True):
    """Units passed in a cycle: a deal's asset, or what one account gave and another received in net."""

    cycle: Hash
    asset: AssetId
    amount: Amount
    source: AccountId
    destination: AccountId

    def movements(self) -> tuple[Movement, ...]:
        """A debit and a credit."""
        return (
            Movement(self.source, self.asset, -self.amount, self.destination, ""),
            Movement(self.destination, self.asset, self.amount, self.source, ""),
        )


class CycleSums(Fact, frozen=True):
    """What a cycle came to. gross: cash of the deals that it settled, at most 2^63 - 1; net: what passed of
    it. Of a cycle of few this is what they dealt for, so it is not for all.
    """

    cycle: Hash
    gross: Integer
    net: Integer


class CycleSettled(Fact, frozen=True):
    """A cycle is over: so many deals were settled in it, and so many taken out."""

    cycle: Hash
    model: Model
    against: AssetId
    settled: Count
    taken_out: Count


class NamedCycle(Record, frozen=True):
    """A cycle with its id."""

    id: Hash
    cycle: Cycle


class Lack(NamedTuple):
    """What a member has not of what it must give in net. kind: 0 of the cash, 1 of an asset. less: below
    zero.
    """

    kind: int
    less: int
    member: str


class Sums:
    """What deals come to: of every place ``net``, what it receives less what it gives, as far as the model
    nets it, and ``has``, what it can give, what is held for these deals included.
    """

    def __init__(self, model: Model, position: Callable[[str, str], Position]) -> None:
        self.net: dict[Place, int] = {}
        self._has: dict[Place, int] = {}
        self._model = model
        self._position = position

    def count(self, deal: Deal, sign: int) -> None:
        """Add a deal, or with -1 take it away."""
        net, has = self.net, self._has
        asset, cash = legs_of(deal, deal.left)
        for leg in (cash,) if self._model == GROSS_ASSETS else (asset, cash):
            source, destination = (leg.source, leg.asset), (leg.destination, leg.asset)
            net[source] = net.get(source, 0) - sign * leg.amount
            net[destination] = net.get(destination, 0) + sign * leg.amount
            if source not in has:
                position = self._position(*source)
                has[source] = position.posted - position.held
            if deal.seller_held if leg is asset else deal.buyer_held:
                has[source] += sign * leg.amount

    def greatest_lack(self, cash: str) -> Lack | None:
        """Who lacks most of the cash; else who lacks most of any asset; the first by id of equals."""
        has = self._has
        lacks = [
            Lack(0 if place[1] == cash else 1, has[place] + change, place[0].partition("/")[0])
            for place, change in self.net.items()
            if change < 0 and has[place] + change < 0
        ]
        return min(lacks, default=None)


class SettlementCycles(Contract):
    """See the module's docstring."""

    name = "cycles"
    facts = (CycleOpened, EntryAsked, Entered, TakenOut, SettledInCycle, Passed, CycleSums, CycleSettled)

    CYCLE_UNKNOWN = error(1, Category.NOT_FOUND, "No such cycle.")
    CLOSES_OUT_OF_RANGE = error(
        2, Category.INVALID, "A cycle closes later than block time and within seven days."
    )
    CYCLE_CLOSED = error(3, Category.PRECONDITION, "The cycle takes no more deals.")
    OTHER_CASH = error(4, Category.PRECONDITION, "The cycle settles deals against another asset.")
    WISHED_ALREADY = error(
        5, Category.PRECONDITION, "The member has asked for this already: it is for the other side."
    )
    NO_WISH = error(6, Category.PRECONDITION, "The member has asked for no cycle for this deal.")
    CYCLE_FULL = error(7, Category.OVERLOADED, "A cycle has room for 100 deals.")
    CYCLE_OPEN = error(8, Category.PRECONDITION, "The cycle settles from its time on.")
    CYCLE_SETTLED = error(9, Category.PRECONDITION, "The cycle is settled.")
    NOT_IN_CYCLE = error(
        10, Category.PERMISSION_DENIED, "Only its opener and the sides of its deals settle a cycle."
    )

    cycle = table(Cycle, cycle=Hash)
    wish = table(Wish, deal=Hash)
    entry = table(Entry, cycle=Hash, deal=Hash)

    def __init__(self, assets: Assets, settlement: Settlement) -> None:
        self.assets = assets
        self.settlement = settlement

    @method
    def open(self, ctx: Context, model: Model, against: AssetId, closes_ms: TimeMs) -> None:
        """Open a cycle for deals against an asset. Its id is in the receipt."""
        self.assets.check_active(self.assets.require_asset(against))
        if not ctx.time_ms < closes_ms <= ctx.time_ms + DURATION_MAX_MS:
            raise Rejected(self.CLOSES_OUT_OF_RANGE, block_time_ms=ctx.time_ms)
        cycle_id = ctx.proofs.unique_id(ctx.tx_id, ctx.operation)
        self.cycle.put(Cycle(ctx.member, model, against, closes_ms, 0, "open"), cycle_id)
        ctx.emit(CycleOpened(cycle_id, ctx.member, model, against, closes_ms))

    def _weight_of_entry(self, cycle: bytes, deal: bytes) -> tuple[Weighed, ...]:
        """Both legs of what is open of the deal."""
        return self.settlement.weight_of_deal(deal)

    @method(weight=_weight_of_entry, flat=60)
    def enter(self, ctx: Context, cycle: Hash, deal: Hash) -> None:
        """Ask that a deal settle with a cycle, or agree: with the second side it enters."""
        found = self._require(cycle)
        agreed = self.settlement.require_open(ctx, deal)
        if agreed.linked:
            raise Rejected(self.settlement.DEAL_LINKED)
        if found.status != "open" or ctx.time_ms >= found.closes_ms:
            raise Rejected(self.CYCLE_CLOSED)
        if agreed.against != found.against:
            raise Rejected(self.OTHER_CASH)
        wish = self.wish.get(deal)
        if wish == Wish(cycle, ctx.member):
            raise Rejected(self.WISHED_ALREADY)
        if wish is None or wish.cycle != cycle:
            self.wish.put(Wish(cycle, ctx.member), deal)
            ctx.emit(EntryAsked(cycle, deal, agreed.seller, agreed.buyer, ctx.member))
            return
        if found.deals >= DEALS_MAX:
            raise Rejected(self.CYCLE_FULL)
        self.wish.delete(deal)
        held: Switch = 1 if found.model == GROSS_ASSETS and not agreed.seller_held else 0
        self.settlement.tie(deal, agreed, cycle, hold_asset=bool(held))
        self.entry.put(Entry(held), cycle, deal)
        self.cycle.put(replace(found, deals=found.deals + 1), cycle)
        ctx.emit(Entered(cycle, deal, agreed.seller, agreed.buyer))

    @method
    def leave(self, ctx: Context, deal: Hash) -> None:
        """Take back what the signing member asked for; a deal that has entered stays."""
        agreed = self.settlement.require_open(ctx, deal)
        wish = self.wish.get(deal)
        if wish is None or wish.member != ctx.member:
            raise Rejected(self.NO_WISH)
        self.wish.delete(deal)
        ctx.emit(EntryAsked(bytes(32), deal, agreed.seller, agreed.buyer, ctx.member))

    @method(flat=12_000)
    def settle(self, ctx: Context, cycle: Hash) -> None:
        """Settle a cycle whose time has come: all that can be settled, at one instant."""
        found = self._require(cycle)
        if not TRANSITIONS[found.status]:
            raise Rejected(self.CYCLE_SETTLED)
        if ctx.time_ms < found.closes_ms:
            raise Rejected(self.CYCLE_OPEN, closes_ms=found.closes_ms)
        entries = [(deal, entry) for (_, deal), entry in self.entry.scan(cycle)]
        deals = {deal: self.settlement.require_deal(deal) for deal, _ in entries}
        sides = [member for deal in deals.values() for member in (deal.seller, deal.buyer)]
        if ctx.member != found.opener and ctx.member not in sides:
            raise Rejected(self.NOT_IN_CYCLE)
        kept = self._in_order(ctx, cycle, deals)
        kept = self._covered(ctx, cycle, found, kept)
        for deal_id, entry in entries:
            self.entry.delete(cycle, deal_id)
            if deal_id not in kept:
                self.settlement.untie(deal_id, deals[deal_id], free_asset=bool(entry.held))
        net = self._pass_all(ctx, cycle, found, kept)
        self.cycle.put(replace(found, deals=len(kept), status="settled"), cycle)
        gross = min(sum([deal.left * deal.price for deal in kept.values()]), INTEGER_MAX)
        counts = (len(kept), len(deals) - len(kept))
        ctx.emit(CycleSums(cycle, gross, net))
        ctx.emit(CycleSettled(cycle, found.model, found.against, *counts))

    # --- queries --------------------------------------------------------------------------------------------

    @query
    def get_cycle(self, ctx: Context, cycle: Hash) -> Cycle:
        """A cycle, open or settled."""
        return self._require(cycle)

    @query
    def list_cycles(
        self, ctx: Context, after: Annotated[bytes, Meta(max_length=32)]
    ) -> tuple[NamedCycle, ...]:
        """Up to 100 cycles, open and settled, ascending by id, from behind ``after`` on."""
        page = self.cycle.scan(start=(after.ljust(32, b"\0"),))
        return tuple(islice((NamedCycle(at, cycle) for (at,), cycle in page if at != after), PAGE_MAX))

    @query
    def list_deals(self, ctx: Context, member: MemberId, cycle: Hash) -> tuple[NamedDeal, ...]:
        """A member's deals in an open cycle, at most 100, ascending by id."""
        self._require(cycle)
        deals = (
            NamedDeal(deal, self.settlement.require_deal(deal)) for (_, deal), _ in self.entry.scan(cycle)
        )
        return tuple([named for named in deals if member in (named.deal.seller, named.deal.buyer)])

    @query
    def get_wish(self, ctx: Context, member: MemberId, deal: Hash) -> Wish:
        """In which cycle a side of a member's deal wants to settle it. Raises NO_WISH."""
        wish = self.wish.get(deal)
        found = self.settlement.require_deal(deal)
        if wish is None or member not in (found.seller, found.buyer):
            raise Rejected(self.NO_WISH)
        return wish

    # --- guards and reckoning -------------------------------------------------------------------------------

    def _require(self, cycle: bytes) -> Cycle:
        found = self.cycle.get(cycle)
        if found is None:
            raise Rejected(self.CYCLE_UNKNOWN)
        return found

    def _in_order(self, ctx: Context, cycle: bytes, deals: dict[bytes, Deal]) -> dict[bytes, Deal]:
        """The deals of which members, assets and accounts are in order; the others are taken out."""
        kept: dict[bytes, Deal] = {}
        for deal_id, deal in deals.items():
            try:
                self.settlement.check_ready(ctx, deal)
            except Rejected as rejected:
                why = (rejected.error.codespace, rejected.error.code)
                ctx.emit(TakenOut(cycle, deal_id, deal.seller, deal.buyer, "", *why))
            else:
                kept[deal_id] = deal
        return kept

    def _covered(
        self, ctx: Context, cycle: bytes, found: Cycle, deals: dict[bytes, Deal]
    ) -> dict[bytes, Deal]:
        """The deals that remain when nobody is left that lacks what it gives in net."""
        kept = dict(deals)
        sums = Sums(found.model, self.assets.position)
        for deal in kept.values():
            sums.count(deal, 1)
        while lack := sums.greatest_lack(found.against):
            out = [deal_id for deal_id, deal in kept.items() if lack.member in (deal.seller, deal.buyer)]
            for deal_id in out:
                deal = kept.pop(deal_id)
                sums.count(deal, -1)
                ctx.emit(TakenOut(cycle, deal_id, deal.seller, deal.buyer, lack.member, *UNPAID))
        return kept

    # --- effects --------------------------------------------------------------------------------------------

    def _pass_all(self, ctx: Context, cycle: bytes, found: Cycle, deals: dict[bytes, Deal]) -> int:
        """Everything that passes; the cash of it in all."""
        sums = Sums(found.model, self.assets.position)
        legs: list[Leg] = []
        for deal_id, deal in deals.items():
            self.settlement.finish(deal_id, deal)
            sums.count(deal, 1)
            asset, cash = legs_of(deal, deal.left)
            if found.model == GROSS_ASSETS:
                legs.append(asset)
            ctx.emit(SettledInCycle(cycle, deal_id, deal.seller, deal.buyer, asset.amount, cash.amount))
        legs += _transfers(sums.net)
        for leg in legs:
            self.assets.move(*leg)
            ctx.emit(Passed(cycle, leg.asset, leg.amount, leg.source, leg.destination))
        return sum([leg.amount for leg in legs if leg.asset == found.against])


def _transfers(net: dict[Place, int]) -> list[Leg]:
    """Transfers by which every account gives or receives its net: of each asset, givers and receivers
    ascending by account, each giver to the next receiver that still has to receive.
    """
    legs: list[Leg] = []
    receivers: dict[str, list[tuple[str, int]]] = {}
    for (account, asset), change in sorted(net.items(), reverse=True):
        if change > 0:
            receivers.setdefault(asset, []).append((account, change))
    for (account, asset), change in sorted(net.items()):
        gives = -change
        while gives > 0:
            destination, wants = receivers[asset].pop()
            amount = min(gives, wants)
            legs.append(Leg(account, destination, asset, amount))
            gives -= amount
            if wants > amount:
                receivers[asset].append((destination, wants - amount))
    return legs
