# ruff: noqa: ARG001, ARG005 - a bug has the signature of what it replaces
"""Planted bugs in governance, the pre-flight and the chain's own affairs (canaries.py says how)."""

from typing import Any

import pytest

import contracts.governance as governance_module
import contracts.powers as powers_module
import contracts.validators as validators_module
import node.ledger.ledger as ledger_module
from contracts.governance import Governance
from contracts.members import Members
from contracts.proposals import Tally
from contracts.validators import Validators
from node.ledger.running import Runner
from node.ledger.standing import Keepers
from tests.sim.canary import canary


@canary
def ballots_of_former_voters_count(patch: pytest.MonkeyPatch) -> None:
    def tally(self: Governance, number: int) -> Tally:
        choices = [row.choice for _, row in self.ballot.scan(number)]
        return Tally(choices.count("approve"), choices.count("reject"), len(self.members.voters()))

    patch.setattr(Governance, "_tally", tally)


@canary
def half_of_the_votes_is_enough(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(governance_module, "meets", lambda tally, asked: 2 * tally.approvals >= tally.voters)


@canary
def a_veto_is_overlooked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(governance_module, "is_vetoed", lambda tally, rules: False)


@canary
def a_ballot_for_other_content_counts(patch: pytest.MonkeyPatch) -> None:
    original = Governance._require_ballot

    def require(self: Governance, ctx: Any, number: int, content_hash: bytes, choice: Any) -> Any:
        proposal = self._require_proposal(number)
        return original(self, ctx, number, proposal.content_hash, choice)

    patch.setattr(Governance, "_require_ballot", require)


@canary
def proposals_never_expire(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(governance_module, "EXPIRY_MAX", 0)


@canary
def a_failed_decision_leaves_its_first_half(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Runner, "_undo", lambda self, ctx, mark, told: None)


@canary
def the_preflight_forgets_what_is_not_yet_in_force(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(validators_module, "IN_FORCE_HEIGHTS", 0)


@canary
def changes_come_into_force_a_block_early(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(validators_module, "IN_FORCE_HEIGHTS", 1)


@canary
def half_of_the_power_may_move(patch: pytest.MonkeyPatch) -> None:
    original = powers_module.moved
    patch.setattr(
        validators_module, "moved", lambda before, wanted: tuple(p * 2 // 3 for p in original(before, wanted))
    )


@canary
def three_validators_are_enough(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(validators_module, "VALIDATORS_MIN", 3)


@canary
def a_double_signer_keeps_its_power(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Validators, "on_evidence", lambda self, ctx, evidence: None)


@canary
def administrators_keep_their_power(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Members, "by_members", lambda self: False)


@canary
def a_suspended_members_node_hands_in_bundles(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Validators, "is_node_active", lambda self, key_id: True)


@canary
def consensus_is_not_told_of_changes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ledger_module, "changes", lambda before, after: ())


@canary
def the_authority_is_read_once(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Keepers, "wrote", lambda self, writes: False)


@canary
def the_authority_keeps_who_has_no_power(patch: pytest.MonkeyPatch) -> None:
    original = Validators._set_power

    def set_power(self: Validators, ctx: Any, key_id: bytes, power: int, override: Any) -> None:
        original(self, ctx, key_id, power or 1, override)

    patch.setattr(Validators, "_set_power", set_power)
