# ruff: noqa: ARG005 - a bug has the signature of what it replaces
"""Planted bugs in reconciliation and main accounts (canaries.py says what they are for)."""

from typing import Any

import pytest
from msgspec.structs import replace

import contracts.reconciliation as reconciliation_module
from contracts.deals import Place
from contracts.reconciliation import Reconciliation
from contracts.scenarios.main_account import MainAccount
from node.ledger.contract import Context
from tests.sim.canary import body, canary


@canary
def a_run_made_again_opens_its_cases_again(patch: pytest.MonkeyPatch) -> None:
    original = Reconciliation.open_case

    def open_case(self: Reconciliation, ctx: Context, member: str, new: Any) -> bool:
        self.case.delete(member, new.subject)
        return original(self, ctx, member, new)

    patch.setattr(Reconciliation, "open_case", open_case)


@canary
def an_ended_case_changes(patch: pytest.MonkeyPatch) -> None:
    every = tuple(reconciliation_module.TRANSITIONS)
    patch.setattr(reconciliation_module, "TRANSITIONS", dict.fromkeys(every, every))


@canary
def anybody_disputes_a_case(patch: pytest.MonkeyPatch) -> None:
    def dispute(self: Reconciliation, ctx: Context, member: str, subject: bytes, document: bytes) -> None:
        self._change(ctx, member, subject, "disputed", document)

    body(patch, Reconciliation, "dispute", dispute)


@canary
def less_is_signed_than_is_forced(patch: pytest.MonkeyPatch) -> None:
    def force(self: Reconciliation, ctx: Context, subject: bytes, *rest: Any) -> None:
        self._change(ctx, ctx.member, subject, "forced", rest[-1])

    body(patch, Reconciliation, "force_match", force)


@canary
def an_ended_case_is_escalated(patch: pytest.MonkeyPatch) -> None:
    original = Reconciliation._change

    def change(self: Reconciliation, ctx: Context, member: str, subject: bytes, *rest: Any) -> None:
        before = self._require_case(member, subject)
        original(self, ctx, member, subject, *rest)
        if before.escalates_ms:
            self.due.put(Place(1), "escalation", before.escalates_ms, member, subject)
            after = self._require_case(member, subject)
            self.case.put(replace(after, escalates_ms=before.escalates_ms), member, subject)

    patch.setattr(Reconciliation, "_change", change)


@canary
def books_that_differ_agree(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(MainAccount, "_compared", lambda self, ctx, owner, key, day: replace(day, status="agreed"))


@canary
def a_stranger_attests(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        MainAccount,
        "_check_attest",
        lambda self, ctx, account, asset, servicer, begins_ms, ends_ms: account.partition("/")[0],
    )


@canary
def an_agreed_day_is_changed(patch: pytest.MonkeyPatch) -> None:
    original = MainAccount._compared

    def compared(self: MainAccount, ctx: Context, owner: str, key: Any, day: Any) -> Any:
        found = original(self, ctx, owner, key, day)
        return replace(found, status="differs") if found.status == "agreed" else found

    patch.setattr(MainAccount, "_compared", compared)
