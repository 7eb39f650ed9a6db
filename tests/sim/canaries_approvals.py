# ruff: noqa: ARG001, ARG005 - a bug has the signature of what it replaces
"""Planted bugs in approvals and in what a policy weighs (canaries.py says what they are for)."""

from typing import Any

import pytest
from msgspec import structs

import contracts.approvals as approvals_module
import contracts.institutions as institutions_module
import contracts.trading as trading_module
import node.ledger.running as running_module
from contracts.approvals import Approvals
from node.ledger.contract import Context
from tests.sim.canary import canary


@canary
def an_approval_holds_for_any_content(patch: pytest.MonkeyPatch) -> None:
    original = Approvals._require_open

    def require(self: Approvals, ctx: Context, number: int, _: bytes) -> Any:
        found = self.draft.get(ctx.member, number)
        return original(self, ctx, number, found.content_hash if found else bytes(32))

    patch.setattr(Approvals, "_require_open", require)


@canary
def keys_are_counted_and_not_officers(patch: pytest.MonkeyPatch) -> None:
    original = Approvals._holder

    def holder(self: Approvals, ctx: Context, member: str, key_id: bytes, operations: Any) -> str:
        return key_id.hex() if original(self, ctx, member, key_id, operations) else ""

    patch.setattr(Approvals, "_holder", holder)


@canary
def approvals_of_ended_keys_count(patch: pytest.MonkeyPatch) -> None:
    def holder(self: Approvals, ctx: Context, member: str, key_id: bytes, operations: Any) -> str:
        key = self.members.key.get(member, key_id)
        return key.holder if key else ""

    patch.setattr(Approvals, "_holder", holder)


@canary
def a_draft_runs_twice(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Approvals, "_close", lambda *_: None)


@canary
def a_drafts_first_operation_alone_is_weighed(patch: pytest.MonkeyPatch) -> None:
    original = Approvals._weigh
    patch.setattr(Approvals, "_weigh", lambda self, ctx, operations: original(self, ctx, operations[:1]))


@canary
def a_draft_lives_for_ever(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(approvals_module, "EXPIRY_MAX", 0)
    original = Approvals._require_open

    def require(self: Approvals, ctx: Any, number: int, content_hash: bytes) -> Any:
        class Early:
            member, time_ms = ctx.member, 0

        return original(self, Early(), number, content_hash)  # type: ignore[arg-type]

    patch.setattr(Approvals, "_require_open", require)


@canary
def a_draft_runs_as_a_decision_of_the_members(patch: pytest.MonkeyPatch) -> None:
    original = running_module.Runner._perform
    patch.setattr(
        running_module.Runner,
        "_perform",
        lambda self, run, ctx, operations, **options: original(self, run, ctx, operations),
    )


@canary
def what_a_draft_makes_has_no_name_of_its_own(patch: pytest.MonkeyPatch) -> None:
    original: Any = structs.replace

    class Stuck(Context):
        def __setattr__(self, name: str, value: Any) -> None:
            if name != "tx_id":
                super().__setattr__(name, value)

    def replace(record: Any, **fields: Any) -> Any:
        made = original(record, **fields)
        if not isinstance(made, Context):
            return made
        return Stuck(*[getattr(made, field) for field in made.__struct_fields__])

    patch.setattr(running_module, "replace", replace)


@canary
def whoever_approves_needs_all_the_others(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(institutions_module, "APPROVALS", "")


@canary
def an_offer_weighs_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(trading_module, "both_legs", lambda *_: ())
