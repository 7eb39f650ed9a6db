# ruff: noqa: ARG001, ARG005 - a bug has the signature of what it replaces
"""Planted bugs in what moves money (canaries.py says what they are for)."""

from collections.abc import Callable, Iterable
from dataclasses import replace as with_fields
from typing import Any

import pytest
from msgspec.structs import replace

import contracts.assets as assets_module
import contracts.transfers as transfers_module
from contracts.assets import Assets
from contracts.positions import Issued, Position, Redeemed
from contracts.scenarios.blacklist import Blacklist
from contracts.transfers import Transfers
from node.ledger.contract import Context, Rejected
from node.ledger.proofs import SuiteProofs
from tests.sim.canary import body, canary

# --- money --------------------------------------------------------------------------------------------------


def _spread(debit: int, credit: int, *, look_at_held: bool = True) -> Callable[..., None]:
    def spread(self: Assets, source: str, asset: str, total: int, shares: Iterable[tuple[str, int]]) -> None:
        before = self.position(source, asset)
        if before.posted - (before.held if look_at_held else 0) < total:
            raise Rejected(self.INSUFFICIENT_BALANCE)
        self.balance.put(Position(before.posted - total * debit, before.held), source, asset)
        for account, amount in shares:
            after = self.position(account, asset)
            self.balance.put(Position(after.posted + amount * credit, after.held), account, asset)

    return spread


@canary
def a_move_does_not_debit(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Assets, "spread", _spread(0, 1))


@canary
def a_move_credits_twice(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Assets, "spread", _spread(1, 2))


@canary
def a_move_does_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Assets, "spread", _spread(0, 0))


@canary
def a_move_spends_what_is_held(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Assets, "spread", _spread(1, 1, look_at_held=False))


@canary
def a_move_credits_the_debtor(patch: pytest.MonkeyPatch) -> None:
    original = Assets.move
    patch.setattr(
        Assets, "move", lambda self, source, to, asset, amount: original(self, to, source, asset, amount)
    )


@canary
def a_spread_forgets_its_last_credit(patch: pytest.MonkeyPatch) -> None:
    original = Assets.spread
    patch.setattr(
        Assets,
        "spread",
        lambda self, source, asset, total, shares: original(
            self, source, asset, total, shares[:-1] if len(shares) > 1 else shares
        ),
    )


@canary
def a_hold_is_not_taken(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Assets, "hold", lambda self, account, asset, amount: None)


@canary
def a_hold_is_not_released(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Assets, "release", lambda self, account, asset, amount: None)


@canary
def the_cap_is_not_checked(patch: pytest.MonkeyPatch) -> None:
    def issue(self: Assets, ctx: Context, asset: str, account: str, amount: int, reference: str) -> None:
        registered = self._require_issuer(ctx, asset)
        self.asset.put(replace(registered, issued=registered.issued + amount), asset)
        position = self.position(account, asset)
        self.balance.put(Position(position.posted + amount, position.held), account, asset)
        ctx.emit(Issued(asset, account, amount, reference))

    body(patch, Assets, "issue", issue)


@canary
def an_issue_does_not_count(patch: pytest.MonkeyPatch) -> None:
    def issue(self: Assets, ctx: Context, asset: str, account: str, amount: int, reference: str) -> None:
        self._require_issuer(ctx, asset)
        position = self.position(account, asset)
        self.balance.put(Position(position.posted + amount, position.held), account, asset)
        ctx.emit(Issued(asset, account, amount, reference))

    body(patch, Assets, "issue", issue)


@canary
def a_redemption_leaves_the_units(patch: pytest.MonkeyPatch) -> None:
    def redeem(self: Assets, ctx: Context, asset: str, account: str, amount: int, reference: str) -> None:
        registered = self._require_issuer(ctx, asset)
        self.asset.put(replace(registered, redeemed=registered.redeemed + amount), asset)
        ctx.emit(Redeemed(asset, account, amount, reference))

    body(patch, Assets, "redeem", redeem)


@canary
def anybody_debits_any_account(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Assets, "check_debit", lambda self, ctx, account: self.check_credit(account))


@canary
def frozen_accounts_are_used(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Assets, "check_usable", lambda self, account: None)


@canary
def frozen_assets_are_moved(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Assets, "check_active", lambda self, asset: None)


@canary
def an_account_is_closed_over_its_balance(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(assets_module, "any", lambda values: False, raising=False)


@canary
def the_legs_need_not_add_up(patch: pytest.MonkeyPatch) -> None:
    original = Transfers.methods["send_many"].function

    def send_many(
        self: Transfers, ctx: Context, source: str, asset: str, total: int, legs: Any, *rest: Any
    ) -> None:
        original(self, ctx, source, asset, sum(leg.amount for leg in legs), legs, *rest)

    body(patch, Transfers, "send_many", send_many)


@canary
def a_post_pays_the_whole_hold(patch: pytest.MonkeyPatch) -> None:
    original = Transfers.methods["post"].function

    def post(self: Transfers, ctx: Context, source: str, hold: bytes, amount: int) -> None:
        found = self.hold.get(source, hold)
        original(self, ctx, source, hold, found.amount if found and amount <= found.amount else amount)

    body(patch, Transfers, "post", post)


@canary
def a_hold_ends_twice(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        Transfers, "_require_pending", lambda self, ctx, account, hold: self._require_hold(account, hold)
    )
    every = ("posted", "voided", "expired")
    patch.setattr(transfers_module, "TRANSITIONS", dict.fromkeys(("pending", *every), every))


@canary
def anybody_voids_a_hold(patch: pytest.MonkeyPatch) -> None:
    original = Transfers.methods["void"].function

    def void(self: Transfers, ctx: Context, source: str, hold: bytes) -> None:
        original(
            self, with_fields(ctx, member=source.split("/", maxsplit=1)[0], names=ctx.names), source, hold
        )

    body(patch, Transfers, "void", void)


@canary
def every_hold_has_one_id(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SuiteProofs, "unique_id", lambda self, tx_id, operation: b"\1" * 32)


def _shifted(original: Callable[..., None], by_ms: int) -> Callable[..., None]:
    def on_block(self: Any, ctx: Context) -> None:
        ctx.time_ms += by_ms
        original(self, ctx)
        ctx.time_ms -= by_ms

    return on_block


@canary
def a_hold_expires_a_millisecond_late(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Transfers, "on_block", _shifted(Transfers.on_block, -1))


@canary
def a_hold_expires_a_millisecond_early(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Transfers, "on_block", _shifted(Transfers.on_block, 1))


@canary
def a_listing_never_expires(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Blacklist, "on_block", lambda self, ctx: None)


@canary
def a_listing_leaves_its_place_in_the_queue(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Blacklist, "_remove", lambda self, party, member: self.listing.delete(party, member))
