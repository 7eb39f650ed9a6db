"""Assets and accounts: what is owned, where it is kept, and the one function that moves it.

An issuer registers an asset and issues units of it into accounts; a holder returns units to the issuer's own
account, where the issuer redeems them. An account is ``MEMBER/local``, belongs to that member, and has one
balance an asset: *posted* is what it owns, *held* the part of it that reservations have set aside.

State       asset / asset -> Asset
            account / account -> Account
            balance / account, asset -> Position
            stop / asset, reason -> Stop
Invariants  A1 for every asset, issued - redeemed = the sum of posted over all accounts.
            A2 0 <= held <= posted.
            A3 issued - redeemed never exceeds the cap.
            A4 only an account's own member debits it.
            A5 a closed account holds nothing and is never reopened.
            A6 an asset's status is active if and only if there is no reason against it; the gravest decides.
            A7 balances change in ``spread``, ``issue``, ``destroy``, ``hold`` and ``release`` below and
            nowhere else; units pass from one account to others in ``spread`` alone, of which ``move`` is the
            case of one.
Privacy     who runs a node sees all accounts and amounts in clear. A query shows a member its own.
"""

from collections.abc import Iterable
from itertools import islice, takewhile
from typing import Annotated, Final, Literal

from msgspec import Meta
from msgspec.structs import replace

from contracts.members import Members
from contracts.positions import (
    ACCOUNTS_MAX,
    NOTHING,
    Account,
    AccountsOpened,
    AccountStatusChanged,
    Asset,
    AssetClass,
    AssetRegistered,
    AssetStatusChanged,
    Decimals,
    Issued,
    NamedAccount,
    NamedAsset,
    NamedPosition,
    NewAccountId,
    NewAssetId,
    Position,
    Redeemed,
    Reference,
    Status,
    Stop,
    StopReason,
)
from node.ledger.contract import (
    Category,
    Context,
    Contract,
    Rejected,
    error,
    method,
    query,
    table,
)
from node.ledger.errors import ErrorCode
from node.ledger.types import INTEGER_MAX, AccountId, Amount, AssetId, Hash, MemberId

ISSUER: Final = "issuer"
GRAVEST_FIRST: Final[tuple[Literal["ordered", "record-date", "frozen"], ...]] = (
    "ordered",
    "record-date",
    "frozen",
)
PAGE_MAX: Final = 100
POSITIONS_MAX: Final = 1_000


class Assets(Contract):
    """See the module's docstring."""

    name = "assets"
    facts = (AssetRegistered, AssetStatusChanged, AccountsOpened, AccountStatusChanged, Issued, Redeemed)

    NOT_ISSUER = error(
        1,
        Category.PERMISSION_DENIED,
        "Only a member with the role of issuer registers assets, and only its issuer manages one.",
    )
    ASSET_EXISTS = error(2, Category.ALREADY_EXISTS, "The asset id is taken.")
    ASSET_UNKNOWN = error(3, Category.NOT_FOUND, "No such asset.")
    ASSET_FROZEN = error(4, Category.PRECONDITION, "The asset is frozen by its issuer.")
    STATUS_UNCHANGED = error(5, Category.PRECONDITION, "It has that status already.")
    CAP_EXCEEDED = error(6, Category.PRECONDITION, "The issue would exceed the asset's cap.")
    NOT_OWN_MEMBER = error(
        7, Category.PERMISSION_DENIED, "An account is opened under its owner's own member id."
    )
    ACCOUNT_EXISTS = error(8, Category.ALREADY_EXISTS, "The account exists already.")
    ACCOUNT_UNKNOWN = error(9, Category.NOT_FOUND, "No such account.")
    NOT_OWNER = error(10, Category.PERMISSION_DENIED, "Only the member that owns the account may do this.")
    ACCOUNT_FROZEN = error(11, Category.PRECONDITION, "The account is frozen by its owner.")
    ACCOUNT_CLOSED = error(12, Category.PRECONDITION, "The account is closed.")
    BALANCE_REMAINS = error(13, Category.PRECONDITION, "The account still holds units: move them first.")
    INSUFFICIENT_BALANCE = error(
        14, Category.PRECONDITION, "The account's available balance (posted less held) is too small."
    )
    BALANCE_OVERFLOW = error(
        15, Category.PRECONDITION, "All issues together would exceed what can be counted."
    )

    ASSET_ORDERED = error(16, Category.PRECONDITION, "The asset is stopped by a legal order.")
    BOOKS_CLOSED = error(
        17, Category.PRECONDITION, "The asset does not move until its holders of the record date are fixed."
    )
    ASSET_RETIRED = error(18, Category.PRECONDITION, "The asset is retired.")
    REGISTRATION_REQUIRED = error(
        19, Category.PERMISSION_DENIED, "Here a registrar approves all assets but currencies: apply for it."
    )

    asset = table(Asset, asset=AssetId)
    account = table(Account, account=AccountId)
    balance = table(Position, account=AccountId, asset=AssetId)
    stop = table(Stop, asset=AssetId, reason=StopReason)

    def __init__(self, members: Members) -> None:
        self.members = members

    # --- assets ---------------------------------------------------------------------------------------------

    @method
    def register(
        self,
        ctx: Context,
        asset: NewAssetId,
        asset_class: AssetClass,
        decimals: Decimals,
        cap: Amount,
        terms_hash: Hash,
    ) -> None:
        """Register an asset of which the signing member is the issuer."""
        if not self.members.has_role(ctx.member, ISSUER):
            raise Rejected(self.NOT_ISSUER)
        if asset_class != "currency" and self.members.has_registrar():
            raise Rejected(self.REGISTRATION_REQUIRED)
        self.enter(ctx, asset, Asset(ctx.member, asset_class, decimals, cap, terms_hash, "active", 0, 0))

    @method(amount="amount", asset="asset")
    def issue(
        self, ctx: Context, asset: AssetId, account: AccountId, amount: Amount, reference: Reference
    ) -> None:
        """Create units in an account."""
        registered = self._require_issuer(ctx, asset)
        self.check_active(registered)
        if registered.issued - registered.redeemed + amount > registered.cap:
            raise Rejected(self.CAP_EXCEEDED, cap=registered.cap)
        if registered.issued + amount > INTEGER_MAX:
            raise Rejected(self.BALANCE_OVERFLOW)
        self.check_usable(self.require_account(account))
        self.asset.put(replace(registered, issued=registered.issued + amount), asset)
        position = self.position(account, asset)
        self.balance.put(Position(position.posted + amount, position.held), account, asset)
        ctx.emit(Issued(asset, account, amount, reference))

    @method(amount="amount", asset="asset")
    def redeem(
        self, ctx: Context, asset: AssetId, account: AccountId, amount: Amount, reference: Reference
    ) -> None:
        """Destroy units out of an account of the issuer's own."""
        registered = self._require_issuer(ctx, asset)
        self.check_active(registered)
        self.check_debit(ctx, account)
        self.destroy(ctx, asset, account, amount, reference)

    @method
    def freeze_asset(self, ctx: Context, asset: AssetId) -> None:
        """Stop all issues, movements and redemptions of an asset."""
        self._set_asset_status(ctx, asset, "frozen")

    @method
    def release_asset(self, ctx: Context, asset: AssetId) -> None:
        """Lift the freeze."""
        self._set_asset_status(ctx, asset, "active")

    # --- accounts -------------------------------------------------------------------------------------------

    @method(work=8)
    def open_accounts(
        self,
        ctx: Context,
        accounts: Annotated[tuple[NewAccountId, ...], Meta(min_length=1, max_length=ACCOUNTS_MAX)],
    ) -> None:
        """Open accounts of the signing member."""
        own = ctx.member + "/"
        opened = Account(ctx.member, "open", ctx.time_ms)
        for account in accounts:
            if not account.startswith(own):
                raise Rejected(self.NOT_OWN_MEMBER, account=account)
            if self.account.get(account):
                raise Rejected(self.ACCOUNT_EXISTS, account=account)
            self.account.put(opened, account)
        ctx.emit(AccountsOpened(accounts))

    @method(flat=1_500)
    def close_account(self, ctx: Context, account: AccountId) -> None:
        """Close an empty account for ever."""
        self._set_account_status(ctx, account, "closed")

    @method
    def freeze_account(self, ctx: Context, account: AccountId) -> None:
        """Stop debits and credits of an account."""
        self._set_account_status(ctx, account, "frozen")

    @method
    def release_account(self, ctx: Context, account: AccountId) -> None:
        """Lift the freeze."""
        self._set_account_status(ctx, account, "open")

    # --- what other contracts build on ----------------------------------------------------------------------

    def require_asset(self, asset: str) -> Asset:
        """The asset. Raises ASSET_UNKNOWN."""
        registered = self.asset.get(asset)
        if registered is None:
            raise Rejected(self.ASSET_UNKNOWN, asset=asset)
        return registered

    def check_active(self, asset: Asset) -> None:
        """Raises ASSET_FROZEN, ASSET_ORDERED, BOOKS_CLOSED, ASSET_RETIRED."""
        if asset.status != "active":
            raise Rejected(self._why_stopped(asset.status))

    def enter(self, ctx: Context, asset: str, registered: Asset) -> None:
        """Put an asset on the register. Raises ASSET_EXISTS."""
        if self.asset.get(asset):
            raise Rejected(self.ASSET_EXISTS, asset=asset)
        self.asset.put(registered, asset)
        terms = (registered.asset_class, registered.decimals, registered.cap, registered.terms_hash)
        ctx.emit(AssetRegistered(asset, registered.issuer, *terms))

    def stop_asset(self, ctx: Context, asset: str, reason: str, stop: Stop) -> None:
        """Let an asset move no more for a reason; other reasons stand beside it. It is not retired."""
        before = self.require_asset(asset).status
        if before == "frozen":
            self.stop.put(Stop("frozen"), asset, ISSUER)
        self.stop.put(stop, asset, reason)
        self._follow_stops(ctx, asset)

    def resume_asset(self, ctx: Context, asset: str, reason: str) -> None:
        """A reason has gone; the asset moves again if it was the last."""
        self.stop.delete(asset, reason)
        self._follow_stops(ctx, asset)

    def retire(self, ctx: Context, asset: str) -> None:
        """End an asset of which there are no units, for ever."""
        self._put_status(ctx, asset, "retired")

    def require_account(self, account: str) -> Account:
        """The account. Raises ACCOUNT_UNKNOWN."""
        found = self.account.get(account)
        if found is None:
            raise Rejected(self.ACCOUNT_UNKNOWN, account=account)
        return found

    def check_usable(self, account: Account) -> None:
        """Raises ACCOUNT_FROZEN, ACCOUNT_CLOSED."""
        if account.status != "open":
            raise Rejected(self.ACCOUNT_FROZEN if account.status == "frozen" else self.ACCOUNT_CLOSED)

    def check_debit(self, ctx: Context, account: str) -> None:
        """May the signing member debit this account? Raises ACCOUNT_UNKNOWN, NOT_OWNER, ACCOUNT_FROZEN,
        ACCOUNT_CLOSED.
        """
        source = self.require_account(account)
        if source.member != ctx.member:
            raise Rejected(self.NOT_OWNER, account=account)
        self.check_usable(source)

    def check_credit(self, account: str) -> None:
        """May this account be credited? Raises ACCOUNT_UNKNOWN, ACCOUNT_FROZEN, ACCOUNT_CLOSED."""
        self.check_usable(self.require_account(account))

    def position(self, account: str, asset: str) -> Position:
        """The balance, zero where there is none yet."""
        return self.balance.get(account, asset) or NOTHING

    def move(self, source: str, destination: str, asset: str, amount: int) -> None:
        """Units pass from one account to another. Raises INSUFFICIENT_BALANCE. Both accounts differ and were
        checked.
        """
        self.spread(source, asset, amount, ((destination, amount),))

    def spread(self, source: str, asset: str, total: int, shares: Iterable[tuple[str, int]]) -> None:
        """Units pass from one account to others. Raises INSUFFICIENT_BALANCE.

        The only place where units change their account. The source is none of the (account, amount) shares,
        which add up to ``total``; all accounts were checked.
        """
        balance = self.balance
        debit = balance.key(source, asset)
        before = balance.load(debit) or NOTHING
        if before.posted - before.held < total:
            raise Rejected(self.INSUFFICIENT_BALANCE)
        balance.save(debit, Position(before.posted - total, before.held))
        for account, amount in shares:
            credit = balance.key(account, asset)
            after = balance.load(credit) or NOTHING
            balance.save(credit, Position(after.posted + amount, after.held))

    def destroy(self, ctx: Context, asset: str, account: str, amount: int, reference: str) -> None:
        """Units cease to be, out of an account of their issuer's, which was checked. Raises
        INSUFFICIENT_BALANCE.
        """
        registered = self.require_asset(asset)
        position = self.position(account, asset)
        if position.posted - position.held < amount:
            raise Rejected(self.INSUFFICIENT_BALANCE)
        self.asset.put(replace(registered, redeemed=registered.redeemed + amount), asset)
        self.balance.put(Position(position.posted - amount, position.held), account, asset)
        ctx.emit(Redeemed(asset, account, amount, reference))

    def hold(self, account: str, asset: str, amount: int) -> None:
        """Set a part of the balance aside. Raises INSUFFICIENT_BALANCE."""
        position = self.position(account, asset)
        if position.posted - position.held < amount:
            raise Rejected(self.INSUFFICIENT_BALANCE)
        self.balance.put(Position(position.posted, position.held + amount), account, asset)

    def release(self, account: str, asset: str, amount: int) -> None:
        """Give back what was set aside."""
        position = self.position(account, asset)
        self.balance.put(Position(position.posted, position.held - amount), account, asset)

    # --- queries --------------------------------------------------------------------------------------------

    @query
    def get_asset(self, ctx: Context, asset: AssetId) -> Asset:
        """An asset and its supply."""
        return self.require_asset(asset)

    @query
    def list_assets(self, ctx: Context, after: Annotated[str, Meta(max_length=16)]) -> tuple[NamedAsset, ...]:
        """Up to 100 assets, ascending by id, from behind ``after`` on."""
        page = (
            NamedAsset(asset, record)
            for (asset,), record in self.asset.scan(start=(after,))
            if asset != after
        )
        return tuple(islice(page, PAGE_MAX))

    @query
    def get_account(self, ctx: Context, account: AccountId) -> Account:
        """An account's owner and status."""
        return self.require_account(account)

    @query
    def list_accounts(
        self, ctx: Context, member: MemberId, after: Annotated[str, Meta(max_length=52)]
    ) -> tuple[NamedAccount, ...]:
        """Up to 100 accounts of a member, ascending by id, from behind ``after`` on."""
        first, own = after or f"{member}/", f"{member}/"
        accounts = takewhile(lambda row: row[0][0].startswith(own), self.account.scan(start=(first,)))
        return tuple(
            islice(
                (NamedAccount(account, record) for (account,), record in accounts if account != after),
                PAGE_MAX,
            )
        )

    @query
    def get_balance(self, ctx: Context, account: AccountId, asset: AssetId) -> Position:
        """What an account has of an asset, in minor units."""
        self.require_account(account)
        return self.position(account, asset)

    @query
    def list_balances(
        self, ctx: Context, account: AccountId, after: Annotated[str, Meta(max_length=16)]
    ) -> tuple[NamedPosition, ...]:
        """Up to 100 balances of an account, ascending by asset, from behind ``after`` on."""
        self.require_account(account)
        page = self.balance.scan(account, start=(account, after))
        return tuple(
            islice(
                (NamedPosition(asset, position) for (_, asset), position in page if asset != after),
                PAGE_MAX,
            )
        )

    # --- effects --------------------------------------------------------------------------------------------

    def _require_issuer(self, ctx: Context, asset: str) -> Asset:
        registered = self.require_asset(asset)
        if registered.issuer != ctx.member:
            raise Rejected(self.NOT_ISSUER)
        return registered

    def _set_asset_status(self, ctx: Context, asset: str, status: Literal["active", "frozen"]) -> None:
        registered = self._require_issuer(ctx, asset)
        if registered.status == status:
            raise Rejected(self.STATUS_UNCHANGED)
        if registered.status not in ("active", "frozen"):
            raise Rejected(self._why_stopped(registered.status))
        self._put_status(ctx, asset, status)

    def _follow_stops(self, ctx: Context, asset: str) -> None:
        stops = [stop.status for _, stop in self.stop.scan(asset)]
        status: Status = next((grave for grave in GRAVEST_FIRST if grave in stops), "active")
        if stops == ["frozen"]:
            self.stop.delete(asset, ISSUER)  # the status says it
        self._put_status(ctx, asset, status)

    def _put_status(self, ctx: Context, asset: str, status: Status) -> None:
        registered = self.require_asset(asset)
        if registered.status not in (status, "retired"):  # which is for ever
            self.asset.put(replace(registered, status=status), asset)
            ctx.emit(AssetStatusChanged(asset, status))

    def _why_stopped(self, status: Status) -> ErrorCode:
        return {
            "frozen": self.ASSET_FROZEN,
            "ordered": self.ASSET_ORDERED,
            "record-date": self.BOOKS_CLOSED,
            "retired": self.ASSET_RETIRED,
        }[status]

    def _set_account_status(
        self, ctx: Context, account: str, status: Literal["open", "frozen", "closed"]
    ) -> None:
        found = self.require_account(account)
        if found.member != ctx.member:
            raise Rejected(self.NOT_OWNER, account=account)
        if found.status == "closed":
            raise Rejected(self.ACCOUNT_CLOSED)
        if found.status == status:
            raise Rejected(self.STATUS_UNCHANGED)
        if status == "closed" and self._holds_anything(account):
            raise Rejected(self.BALANCE_REMAINS)
        self.account.put(replace(found, status=status), account)
        ctx.emit(AccountStatusChanged(account, status))

    def _holds_anything(self, account: str) -> bool:
        """Whether units remain; with more assets than are looked through an account may hold some."""
        positions = [position for _, position in islice(self.balance.scan(account), POSITIONS_MAX)]
        return len(positions) == POSITIONS_MAX or any(position.posted for position in positions)
