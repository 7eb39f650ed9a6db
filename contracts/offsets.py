"""Offsets: two members set off what they owe one another, and no cash passes.

A liability (a placement, a loan, a deposit) is an asset: the debtor is its issuer, the creditor its holder.
Where each of two members is the other's debtor, one proposes an offset: so many units of its claim against so
many of its debt. The other agrees; in that operation each claim goes back to its debtor and ceases to be,
both or neither. What the units are worth, with the interest accrued on them, is for the two to agree: their
signatures stand under the amounts. More than two members net their liabilities in a settlement cycle
(settlement_cycles.py), like any other asset.

State       offset / proposer, offset -> Offset
Life        proposed --agree--> settled    proposed --withdraw--> withdrawn
            proposed --block time--> expired
Invariants  L1 units cease to be at their own debtor, with the creditor's and the debtor's signatures.
            L2 both claims of an offset are reduced in the same operation, or neither.
Privacy     an offset is shown to its two sides.
"""

from itertools import islice
from typing import Annotated, Final, Literal

from msgspec import Meta
from msgspec.structs import replace

from contracts.assets import PAGE_MAX, Assets
from contracts.deals import Weighed
from contracts.members import Members
from contracts.positions import Asset, AssetClass
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
from node.ledger.types import AccountId, Amount, AssetId, Hash, MemberId, Record, TimeMs

LIABILITIES: Final[tuple[AssetClass, ...]] = ("placement", "loan", "deposit")
DURATION_MAX_MS: Final = 30 * 86_400_000

OffsetStatus = Literal["proposed", "settled", "withdrawn", "expired"]

TRANSITIONS: Final[dict[OffsetStatus, tuple[OffsetStatus, ...]]] = {
    "proposed": ("settled", "withdrawn", "expired"),
    "settled": (),
    "withdrawn": (),
    "expired": (),
}


class Offset(Record, frozen=True):
    """``claim_units`` of what ``other`` owes the proposer against ``debt_units`` of what the proposer owes
    it. account: the proposer's, which holds the claim and takes the debt back.
    """

    other: MemberId
    claim: AssetId
    claim_units: Amount
    debt: AssetId
    debt_units: Amount
    account: AccountId
    expires_ms: TimeMs
    status: OffsetStatus


class OffsetProposed(Fact, frozen=True):
    """A member proposes to set off."""

    proposer: MemberId
    other: MemberId
    offset: Hash
    claim: AssetId
    claim_units: Amount
    debt: AssetId
    debt_units: Amount
    expires_ms: TimeMs


class OffsetWithdrawn(Fact, frozen=True):
    """A proposal was taken back."""

    proposer: MemberId
    other: MemberId
    offset: Hash


class SetOff(Fact, frozen=True):
    """Claims went back to their debtors, who redeem them at once."""

    offset: Hash
    proposer: MemberId
    other: MemberId
    proposer_account: AccountId
    other_account: AccountId
    claim: AssetId
    claim_units: Amount
    debt: AssetId
    debt_units: Amount

    def movements(self) -> tuple[Movement, ...]:
        """A debit and a credit each way."""
        one, two = self.proposer_account, self.other_account
        return (
            Movement(one, self.claim, -self.claim_units, two, ""),
            Movement(two, self.claim, self.claim_units, one, ""),
            Movement(two, self.debt, -self.debt_units, one, ""),
            Movement(one, self.debt, self.debt_units, two, ""),
        )


class NamedOffset(Record, frozen=True):
    """An offset with its proposer and id."""

    proposer: MemberId
    id: Hash
    offset: Offset


class Offsets(Contract):
    """See the module's docstring."""

    name = "offsets"
    facts = (OffsetProposed, OffsetWithdrawn, SetOff)

    NO_LIABILITY = error(1, Category.PRECONDITION, "Only placements, loans and deposits are set off.")
    NOT_THE_DEBTOR = error(
        2, Category.PRECONDITION, "The claim is what the other member owes, the debt what the proposer owes."
    )
    EXPIRY_OUT_OF_RANGE = error(
        3, Category.INVALID, "A proposal expires later than block time and within 30 days."
    )
    OFFSET_UNKNOWN = error(4, Category.NOT_FOUND, "No such offset of these members.")
    NOT_ITS_OTHER = error(5, Category.PERMISSION_DENIED, "The offset is proposed to another member.")
    OFFSET_ENDED = error(6, Category.PRECONDITION, "The offset is settled, withdrawn or expired.")
    TERMS_CHANGED = error(7, Category.PRECONDITION, "The units are not those that are signed.")

    offset = table(Offset, proposer=MemberId, offset=Hash)

    def __init__(self, members: Members, assets: Assets) -> None:
        self.members = members
        self.assets = assets

    def _weight_of_proposal(
        self, other: str, claim: str, claim_units: int, *_: object
    ) -> tuple[Weighed, ...]:
        """The claim that the proposer gives up."""
        return ((claim, claim_units),)

    def _weight_of_agreement(
        self, proposer: str, offset: bytes, claim_units: int, debt_units: int, account: str
    ) -> tuple[Weighed, ...]:
        """The claim that the signing member gives up."""
        return ((self._require(proposer, offset).debt, debt_units),)

    @method(weight=_weight_of_proposal)
    def propose(
        self,
        ctx: Context,
        other: MemberId,
        claim: AssetId,
        claim_units: Amount,
        debt: AssetId,
        debt_units: Amount,
        account: AccountId,
        expires_ms: TimeMs,
    ) -> None:
        """Propose to set off what a member owes the signing one against what this owes it."""
        owed, owing = self._require_liability(claim), self._require_liability(debt)
        if (owed.issuer, owing.issuer) != (other, ctx.member) or other == ctx.member:
            raise Rejected(self.NOT_THE_DEBTOR)
        if not ctx.time_ms < expires_ms <= ctx.time_ms + DURATION_MAX_MS:
            raise Rejected(self.EXPIRY_OUT_OF_RANGE, block_time_ms=ctx.time_ms)
        self.assets.check_debit(ctx, account)
        offset_id = ctx.proofs.unique_id(ctx.tx_id, ctx.operation)
        units = (claim, claim_units, debt, debt_units)
        self.offset.put(Offset(other, *units, account, expires_ms, "proposed"), ctx.member, offset_id)
        ctx.emit(OffsetProposed(ctx.member, other, offset_id, *units, expires_ms))

    @method(weight=_weight_of_agreement, flat=80)
    def agree(
        self,
        ctx: Context,
        proposer: MemberId,
        offset: Hash,
        claim_units: Amount,
        debt_units: Amount,
        account: AccountId,
    ) -> None:
        """Agree to a proposal of another member's: both claims are reduced now. account: the signing
        member's, which holds its claim and takes its debt back.
        """
        found = self._require(proposer, offset)
        if found.other != ctx.member:
            raise Rejected(self.NOT_ITS_OTHER)
        self._check_proposed(ctx, found)
        if (claim_units, debt_units) != (found.claim_units, found.debt_units):
            raise Rejected(self.TERMS_CHANGED)
        self.members.check_active(proposer)
        for liability in (found.claim, found.debt):
            self.assets.check_active(self.assets.require_asset(liability))
        self.assets.check_debit(ctx, account)
        self.assets.check_credit(found.account)
        self.offset.put(replace(found, status="settled"), proposer, offset)
        self.assets.move(found.account, account, found.claim, claim_units)
        self.assets.move(account, found.account, found.debt, debt_units)
        accounts = (found.account, account)
        units = (found.claim, claim_units, found.debt, debt_units)
        ctx.emit(SetOff(offset, proposer, ctx.member, *accounts, *units))
        self.assets.destroy(ctx, found.claim, account, claim_units, "")
        self.assets.destroy(ctx, found.debt, found.account, debt_units, "")

    @method
    def withdraw(self, ctx: Context, offset: Hash) -> None:
        """Take a proposal back."""
        found = self._require(ctx.member, offset)
        self._check_proposed(ctx, found)
        self.offset.put(replace(found, status="withdrawn"), ctx.member, offset)
        ctx.emit(OffsetWithdrawn(ctx.member, found.other, offset))

    @query
    def get_offset(self, ctx: Context, member: MemberId, proposer: MemberId, offset: Hash) -> Offset:
        """An offset of which a member is a side."""
        found = self._require(proposer, offset)
        if member not in (proposer, found.other):
            raise Rejected(self.OFFSET_UNKNOWN)
        if found.status == "proposed" and ctx.time_ms >= found.expires_ms:
            return replace(found, status="expired")
        return found

    @query
    def list_offsets(
        self, ctx: Context, member: MemberId, after: Annotated[bytes, Meta(max_length=32)]
    ) -> tuple[NamedOffset, ...]:
        """Up to 100 offsets that a member proposed, ascending by id, from behind ``after`` on."""
        page = self.offset.scan(member, start=(member, after.ljust(32, b"\0")))
        ids = islice((offset for (_, offset), _ in page if offset != after), PAGE_MAX)
        return tuple([NamedOffset(member, each, self.get_offset(ctx, member, member, each)) for each in ids])

    def _require(self, proposer: str, offset: bytes) -> Offset:
        found = self.offset.get(proposer, offset)
        if found is None:
            raise Rejected(self.OFFSET_UNKNOWN)
        return found

    def _check_proposed(self, ctx: Context, found: Offset) -> None:
        if found.status != "proposed" or ctx.time_ms >= found.expires_ms:
            raise Rejected(self.OFFSET_ENDED, status=found.status)

    def _require_liability(self, asset: str) -> Asset:
        registered = self.assets.require_asset(asset)
        if registered.asset_class not in LIABILITIES:
            raise Rejected(self.NO_LIABILITY, asset=asset)
        self.assets.check_active(registered)
        return registered
