# ruff: noqa: ARG005 - a bug has the signature of what it replaces
"""Planted bugs in trading and settlement (canaries.py says what they are for)."""

from typing import Any

import pytest
from msgspec.structs import replace

import contracts.settlement as settlement_module
import contracts.trading as trading_module
from contracts.assets import Assets
from contracts.deals import TRANSITIONS, legs_of
from contracts.servicing import Servicing
from contracts.settlement import Settlement
from contracts.trading import Trading
from node.ledger.contract import Context
from tests.sim.canary import body, canary


@canary
def a_deal_settles_one_leg_only(patch: pytest.MonkeyPatch) -> None:
    def settle(self: Settlement, ctx: Context, deal_id: bytes, deal: Any, lots: int) -> None:
        legs = legs_of(deal, lots)
        self.assets.move(*legs[0])
        self._put_settled(ctx, deal_id, deal, lots, legs)

    patch.setattr(Settlement, "_settle_lots", settle)


@canary
def a_deal_settles_twice(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Settlement, "check_open", lambda self, deal: None)
    every = tuple(TRANSITIONS)
    patch.setattr(settlement_module, "TRANSITIONS", dict.fromkeys(every, every))
    original = Settlement._put_settled
    patch.setattr(
        Settlement,
        "_put_settled",
        lambda self, ctx, deal_id, deal, lots, legs: original(
            self, ctx, deal_id, replace(deal, left=deal.lots), lots, legs
        ),
    )


@canary
def anybody_settles_a_deal(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Settlement, "require_open", lambda self, ctx, deal_id: self.require_deal(deal_id))


@canary
def an_offer_is_filled_twice(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Trading, "_fill", lambda self, ctx, maker, offer_id, offer, lots: None)


@canary
def an_answer_leaves_what_it_answers(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Trading, "_require_root", lambda self, ctx, found, lots: None)


@canary
def others_than_the_audience_take_an_offer(patch: pytest.MonkeyPatch) -> None:
    original = Trading._require_offer
    patch.setattr(
        Trading,
        "_require_offer",
        lambda self, maker, offer_id: replace(original(self, maker, offer_id), audience=()),
    )


@canary
def an_ended_offer_keeps_its_hold(patch: pytest.MonkeyPatch) -> None:
    original = Trading._end

    def end(self: Trading, ctx: Context, maker: str, offer_id: bytes, offer: Any, status: Any) -> None:
        kept = [(*trading_module._delivers(offer, offer.left),)] if offer.conditions.secured else []
        original(self, ctx, maker, offer_id, offer, status)
        for account, asset, amount in kept:
            self.assets.hold(account, asset, amount)

    patch.setattr(Trading, "_end", end)


@canary
def one_side_cancels_a_deal(patch: pytest.MonkeyPatch) -> None:
    original = Settlement.methods["cancel"].function

    def cancel(self: Settlement, ctx: Context, deal: bytes, reason: str) -> None:
        found = self.require_deal(deal)
        self.deal.put(replace(found, cancels="X"), deal)
        original(self, ctx, deal, reason)

    body(patch, Settlement, "cancel", cancel)


@canary
def a_linked_set_settles_in_part(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Settlement, "_settle_legs", lambda self, legs: [self.assets.move(*leg) for leg in legs[:2]])


@canary
def a_set_binds_without_consent(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(settlement_module, "SET_TRANSITIONS", {"proposed": ("settled",), "linked": ("settled",)})
    original = Settlement._require_set
    patch.setattr(
        Settlement,
        "_require_set",
        lambda self, set_id: replace(original(self, set_id), status="linked", missing=("KB",)),
    )


@canary
def the_books_stay_open_at_the_record_date(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Assets, "stop_asset", lambda self, ctx, asset, reason, stop: None)


@canary
def a_coupon_is_paid_twice(patch: pytest.MonkeyPatch) -> None:
    original = Servicing._pay_one

    def pay(self: Servicing, asset: str, number: int, *rest: Any) -> Any:
        paid = original(self, asset, number, *rest)
        claim = self.claim.get(asset, number, rest[-1])
        if claim is not None:
            self.claim.put(replace(claim, status="unpaid"), asset, number, rest[-1])
        return paid

    patch.setattr(Servicing, "_pay_one", pay)
