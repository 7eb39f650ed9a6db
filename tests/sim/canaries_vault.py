# ruff: noqa: ARG001, ARG005 - a bug has the signature of what it replaces
"""Planted bugs in the vault (canaries.py says what they are for)."""

from typing import Any

import pytest
from msgspec.structs import replace

import contracts.vault as vault_module
from contracts.vault import Document, ReaderKey, Vault
from node.ledger.contract import Context
from tests.sim.canary import body, canary


@canary
def anybody_grants_and_revokes_a_document(patch: pytest.MonkeyPatch) -> None:
    def require(self: Vault, ctx: Context, document: bytes, status: vault_module.Status) -> Document:
        found = self.require_document(document)
        self._check_status(found, status)
        return found

    patch.setattr(Vault, "_require_own", require)


@canary
def a_retention_is_shortened(patch: pytest.MonkeyPatch) -> None:
    def extend(self: Vault, ctx: Context, document: bytes, retain_until_ms: int) -> None:
        found = self._require_own(ctx, document, "kept")
        self._check_retention(ctx, retain_until_ms)
        self.document.put(replace(found, retain_until_ms=retain_until_ms), document)
        ctx.emit(vault_module.RetentionExtended(document, ctx.member, retain_until_ms))

    body(patch, Vault, "extend", extend)


@canary
def a_retained_document_is_deleted(patch: pytest.MonkeyPatch) -> None:
    def delete(self: Vault, ctx: Context, document: bytes) -> None:
        found = self._require_own(ctx, document, "kept")
        self._move_on(ctx, document, found, "deleting")
        ctx.emit(vault_module.DeletionBegun(document, ctx.member))

    body(patch, Vault, "delete", delete)


@canary
def a_legal_hold_does_not_hold(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(vault_module, "LegalHold", lambda at, status: _Hold(at, "lifted"))


@canary
def bytes_are_destroyed_before_the_document_is_closed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Vault, "_check_status", lambda self, found, status: None)
    every = tuple(vault_module.TRANSITIONS)
    patch.setattr(vault_module, "TRANSITIONS", dict.fromkeys(every, every))


@canary
def a_document_is_granted_under_any_key(patch: pytest.MonkeyPatch) -> None:
    def grant(self: Vault, ctx: Context, document: bytes, key: ReaderKey) -> None:
        self.access.put(vault_module.Grant(key.key_id, key.wrapped, ctx.time_ms), document, key.reader)
        self.readable.put(vault_module.Shelved(1), key.reader, document)
        ctx.emit(vault_module.Granted(document, ctx.member, key.reader, key.key_id))

    patch.setattr(Vault, "_grant", grant)


@canary
def a_reader_that_was_revoked_reads_on(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Vault, "_take_away", lambda self, document, reader: self.access.delete(document, reader))


@canary
def two_documents_share_their_bytes(patch: pytest.MonkeyPatch) -> None:
    original = Vault.methods["store"].function

    def store(self: Vault, ctx: Context, document: bytes, sealed: bytes, *rest: Any) -> None:
        self.lying.delete(ctx.member, sealed)
        original(self, ctx, document, sealed, *rest)

    body(patch, Vault, "store", store)


_Hold = vault_module.LegalHold
