# ruff: noqa: ARG001 - a bug has the signature of what it replaces
"""Planted bugs in encryption keys (canaries.py says how)."""

import pytest

import contracts.encryption as encryption_module
import contracts.members as members_module
import node.ledger.proofs as proofs_module
from contracts.encryption import Encryption
from tests.sim.canary import canary


@canary
def an_encryption_key_that_everybody_knows_is_taken(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(proofs_module, "SMALL_ORDER", ())


@canary
def one_officer_puts_an_encryption_key_in_place(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(members_module, "KEY_AFFAIRS", ("members",))


@canary
def a_revoked_encryption_key_has_not_ended(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(encryption_module, "replace", lambda record, **_: record)


@canary
def any_member_revokes_an_encryption_key(patch: pytest.MonkeyPatch) -> None:
    def require(self: Encryption, ctx: object, key_id: bytes) -> object:
        return next(row for parts, row in self.key.scan() if parts[1] == key_id)

    patch.setattr(Encryption, "_require_current", require)
