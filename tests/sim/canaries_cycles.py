# ruff: noqa: ARG005 - a bug has the signature of what it replaces
"""Planted bugs in settlement cycles and exchanges (canaries.py says what they are for)."""

from typing import Any

import pytest
from msgspec.structs import replace

import contracts.settlement_cycles as cycles_module
from contracts.deals import Leg, legs_of
from contracts.scenarios.asset_transfer import AssetTransfer
from contracts.settlement import Settlement
from contracts.settlement_cycles import SettlementCycles, Sums, Wish
from node.ledger.contract import Context
from tests.sim.canary import body, canary


@canary
def a_cycle_passes_the_cash_alone(patch: pytest.MonkeyPatch) -> None:
    original = cycles_module._transfers

    def transfers(net: dict[tuple[str, str], int]) -> list[Leg]:
        return [leg for leg in original(net) if leg.asset == "CZK"]

    patch.setattr(cycles_module, "_transfers", transfers)


@canary
def who_cannot_pay_stays_in_the_cycle(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Sums, "greatest_lack", lambda self, cash: None)


@canary
def one_side_puts_a_deal_into_a_cycle(patch: pytest.MonkeyPatch) -> None:
    original = SettlementCycles.methods["enter"].function

    def enter(self: SettlementCycles, ctx: Context, cycle: bytes, deal: bytes) -> None:
        if self.wish.get(deal) is None:
            self.wish.put(Wish(cycle, "X"), deal)
        original(self, ctx, cycle, deal)

    body(patch, SettlementCycles, "enter", enter)


@canary
def a_gross_leg_is_not_set_aside(patch: pytest.MonkeyPatch) -> None:
    original = Settlement.tie
    patch.setattr(
        Settlement,
        "tie",
        lambda self, deal_id, deal, group, *, hold_asset: original(
            self, deal_id, deal, group, hold_asset=False
        ),
    )


@canary
def a_deal_in_a_cycle_settles_alone(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Settlement, "_require_ready", lambda self, ctx, deal_id: self.require_open(ctx, deal_id))


@canary
def what_is_taken_out_keeps_its_hold(patch: pytest.MonkeyPatch) -> None:
    original = Settlement.untie
    patch.setattr(
        Settlement,
        "untie",
        lambda self, deal_id, deal, *, free_asset: original(self, deal_id, deal, free_asset=False),
    )


@canary
def anybody_settles_a_cycle(patch: pytest.MonkeyPatch) -> None:
    original = SettlementCycles.methods["settle"].function

    def settle(self: SettlementCycles, ctx: Context, cycle: bytes) -> None:
        found = self.cycle.get(cycle)
        asked = ctx.member
        ctx.member = found.opener if found else asked
        original(self, ctx, cycle)
        ctx.member = asked

    body(patch, SettlementCycles, "settle", settle)


@canary
def a_deal_of_a_cycle_is_paid_its_price_for_one_lot(patch: pytest.MonkeyPatch) -> None:
    def legs(deal: Any, lots: int) -> tuple[Leg, Leg]:
        asset, cash = legs_of(deal, lots)
        return asset, cash._replace(amount=cash.amount - 1)

    patch.setattr(cycles_module, "legs_of", legs)


@canary
def an_exchange_is_accepted_and_not_settled(patch: pytest.MonkeyPatch) -> None:
    original = AssetTransfer.methods["accept"].function

    def accept(self: AssetTransfer, *arguments: Any) -> None:
        settlement = self.settlement
        self.settlement = Unsettled()  # type: ignore[assignment]
        try:
            original(self, *arguments)
        finally:
            self.settlement = settlement

    body(patch, AssetTransfer, "accept", accept)


@canary
def one_side_confirms_for_both(patch: pytest.MonkeyPatch) -> None:
    original = AssetTransfer.methods["confirm"].function

    def confirm(self: AssetTransfer, ctx: Context, exchange: bytes, statement: bytes) -> None:
        found = self.exchange.get(exchange)
        if found:
            self.exchange.put(replace(found, seller_statement=b"", buyer_statement=statement), exchange)
        original(self, ctx, exchange, statement)

    body(patch, AssetTransfer, "confirm", confirm)


class Unsettled:
    """A settlement that settles nothing."""

    def settle(self, ctx: Context, deal: bytes) -> None:
        """Nothing."""
