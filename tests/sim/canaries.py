# ruff: noqa: ARG001, ARG005 - a bug has the signature of what it replaces
"""Planted bugs, each a plausible mistake that something must notice; test_canaries.py says who does.

A canary that nothing notices means that a test is missing. A builtin is shadowed among a module's own names
where the mistake is a ``min`` for a ``max`` or a forgotten ``all``.
"""

import builtins
from collections.abc import Callable, Iterator
from dataclasses import replace as with_fields
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

import contracts.members as members_module
import node.ledger.contract as contract_module
import node.ledger.ledger as ledger_module
import node.ledger.running as running_module
import node.ledger.transactions as transactions_module
from contracts.members import Members
from node.ledger.codec import NotCanonical
from node.ledger.contract import Method, Rejected
from node.ledger.errors import LedgerError
from node.ledger.hashing import ZERO_HASH
from node.ledger.ledger import Ledger
from node.ledger.merkle import History
from node.ledger.running import Runner
from node.ledger.state import Delta
from node.ledger.types import Header, Receipt, SignedTransaction
from tests.sim.canary import canary

# --- who may ------------------------------------------------------------------------------------------------


@canary
def a_signature_is_not_checked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ledger_module, "all", lambda answers: True, raising=False)


@canary
def one_good_signature_is_enough(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(transactions_module, "_required_officers", lambda *_: 1, raising=False)
    patch.setattr(transactions_module, "required_officers", lambda *_: 1, raising=False)


@canary
def the_mildest_rule_decides(patch: pytest.MonkeyPatch) -> None:
    for module in (members_module, transactions_module):
        patch.setattr(module, "max", builtins.min, raising=False)


@canary
def only_the_first_operation_is_weighed(patch: pytest.MonkeyPatch) -> None:
    original = transactions_module.authorise

    def authorise(candidate: Any, *rest: Any) -> Any:
        return original(with_fields(candidate, calls=candidate.calls[:1]), *rest)

    patch.setattr(ledger_module, "authorise", authorise)


@canary
def a_revoked_key_goes_on_signing(patch: pytest.MonkeyPatch) -> None:
    def is_active(key: Any, height: int) -> bool:
        return key.active_from <= height and (not key.retires_at or height < key.retires_at)

    patch.setattr(members_module, "_is_active", is_active)


@canary
def a_key_retires_a_block_late(patch: pytest.MonkeyPatch) -> None:
    def is_active(key: Any, height: int) -> bool:
        return (
            key.active_from <= height
            and not key.revoked_at
            and (not key.retires_at or height <= key.retires_at)
        )

    patch.setattr(members_module, "_is_active", is_active)


@canary
def scopes_are_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(transactions_module, "_check_scopes", lambda *_: None)


@canary
def a_suspended_member_signs(patch: pytest.MonkeyPatch) -> None:
    original = Members.require_signatory

    def require_signatory(self: Members, member: str, key_id: bytes, height: int) -> Any:
        try:
            return original(self, member, key_id, height)
        except Rejected as refused:
            key = self.key.get(member, key_id)
            if refused.error is not LedgerError.MEMBER_SUSPENDED or key is None:
                raise
            return key

    patch.setattr(Members, "require_signatory", require_signatory)


@canary
def everybody_is_an_administrator(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Members, "check_governs", lambda self, ctx: None)


# --- once, and in time --------------------------------------------------------------------------------------


@canary
def a_duplicate_in_the_same_block_is_not_seen(patch: pytest.MonkeyPatch) -> None:
    def spender(self: Ledger, run: Any, candidate: Any) -> Any:
        return self._store.spent(candidate.transaction.member, candidate.transaction.request_id)

    patch.setattr(Ledger, "_spender", spender)


@canary
def a_duplicate_in_a_later_block_is_not_seen(patch: pytest.MonkeyPatch) -> None:
    def spender(self: Ledger, run: Any, candidate: Any) -> Any:
        return run.seen.get((candidate.transaction.member, candidate.transaction.request_id))

    patch.setattr(Ledger, "_spender", spender)


@canary
def a_transaction_never_dies(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ledger_module, "check_alive", lambda *_: None)


@canary
def a_transaction_lives_a_millisecond_longer(patch: pytest.MonkeyPatch) -> None:
    original = transactions_module.check_alive
    patch.setattr(ledger_module, "check_alive", lambda c, time_ms, limits: original(c, time_ms - 1, limits))


@canary
def block_time_may_go_back(patch: pytest.MonkeyPatch) -> None:
    def engines(first: int, second: int) -> int:
        return first if first > 10**9 else builtins.max(first, second)

    patch.setattr(ledger_module, "max", engines, raising=False)


@canary
def the_work_of_a_block_is_not_summed(patch: pytest.MonkeyPatch) -> None:
    class Forgetful(running_module.Pass):
        work = property(lambda self: 0, lambda self, value: None)

    patch.setattr(ledger_module, "Pass", Forgetful)


@canary
def other_spellings_are_accepted(patch: pytest.MonkeyPatch) -> None:
    read = msgspec.msgpack.Decoder(SignedTransaction).decode

    def lenient(data: bytes) -> SignedTransaction:
        try:
            return read(data)
        except ValueError as error:
            raise NotCanonical(str(error)) from error

    patch.setattr(transactions_module, "_decode_signed", lenient)


@canary
def signatures_need_no_order(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(transactions_module, "any", lambda values: False, raising=False)


@canary
def control_characters_are_admitted(patch: pytest.MonkeyPatch) -> None:
    original = contract_module.Method.decode

    def decode(self: Method, data: bytes) -> Any:
        try:
            return original(self, data)
        except Rejected as refused:
            if refused.error is not LedgerError.BAD_TEXT:
                raise
            return self._decode(data)

    patch.setattr(contract_module.Method, "decode", decode)


# --- the state ----------------------------------------------------------------------------------------------


@canary
def a_rollback_forgets_one_key(patch: pytest.MonkeyPatch) -> None:
    original = Delta.rollback

    def rollback(self: Delta, mark: int = 0) -> None:
        original(self, min(mark + 1, len(self._journal)) if mark else 0)

    patch.setattr(Delta, "rollback", rollback)


@canary
def a_rollback_does_nothing(patch: pytest.MonkeyPatch) -> None:
    original = Delta.rollback
    patch.setattr(Delta, "rollback", lambda self, mark=0: None if mark else original(self))


@canary
def a_scan_ignores_the_block_in_progress(patch: pytest.MonkeyPatch) -> None:
    original = Delta.scan

    def scan(self: Delta, prefix: bytes, start: bytes, decode: Any, *, reverse: bool) -> Iterator[Any]:
        if prefix.startswith(b"members"):  # or genesis itself would fail
            yield from original(self, prefix, start, decode, reverse=reverse)
            return
        for key, data in self._reader.scan(prefix, start, reverse=reverse):
            yield key, decode(data)

    patch.setattr(Delta, "scan", scan)


@canary
def deleted_records_stay(patch: pytest.MonkeyPatch) -> None:
    original = Delta.writes
    patch.setattr(
        Delta, "writes", lambda self: tuple(write for write in original(self) if write[1] is not None)
    )


@canary
def the_write_set_is_not_ordered(patch: pytest.MonkeyPatch) -> None:
    original = Delta.writes
    patch.setattr(Delta, "writes", lambda self: original(self)[::-1])


@canary
def one_write_is_lost(patch: pytest.MonkeyPatch) -> None:
    original = Delta.writes

    def writes(self: Delta) -> Any:
        result = original(self)
        return result[:-1] if len(result) > 3 else result

    patch.setattr(Delta, "writes", writes)


# --- commitments --------------------------------------------------------------------------------------------


@canary
def receipts_have_the_wrong_index(patch: pytest.MonkeyPatch) -> None:
    original = Runner.execute

    def execute(self: Runner, *arguments: Any) -> Any:
        receipt = original(self, *arguments)
        return replace(receipt, index=receipt.index + 1)

    patch.setattr(Runner, "execute", execute)


def _header(**changes: Any) -> Callable[..., Header]:
    return lambda *fields: replace(Header(*fields), **changes)


@canary
def the_header_lacks_the_state_root(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ledger_module, "Header", _header(state_root=ZERO_HASH))


@canary
def the_header_lacks_the_receipts_root(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ledger_module, "Header", _header(receipts_root=ZERO_HASH))


@canary
def the_header_lacks_the_block_before(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ledger_module, "Header", _header(previous_app_hash=ZERO_HASH))


@canary
def the_header_lacks_the_authority(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ledger_module, "Header", _header(authority_root=ZERO_HASH))


@canary
def the_history_does_not_grow(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(History, "root", lambda self: self.digest(b""))


@canary
def scheduled_work_has_no_receipt(patch: pytest.MonkeyPatch) -> None:
    original = Runner.run_scheduled

    def run_scheduled(self: Runner, run: Any, block: Any, time_ms: int) -> None:
        original(self, run, block, time_ms)
        for each in (run.leaves, run.bodies, run.receipts):
            each.clear()

    patch.setattr(Runner, "run_scheduled", run_scheduled)


@canary
def quiet_blocks_have_headers(patch: pytest.MonkeyPatch) -> None:
    original = Ledger._seal

    def seal(self: Ledger, height: int, time_ms: int, run: Any, outcomes: Any) -> Any:
        if not run.leaves and height:
            run.leaves.append(running_module.SYSTEM_LEAF)
            run.bodies.append(b"")
            run.receipts.append(Receipt(1, ZERO_HASH, height, 0, "", 0, 0, ()))
        return original(self, height, time_ms, run, outcomes)

    patch.setattr(Ledger, "_seal", seal)


@canary
def a_refused_transaction_does_not_spend_its_id(patch: pytest.MonkeyPatch) -> None:
    original = Ledger._decide

    def decide(self: Ledger, run: Any, candidate: Any, height: int, time_ms: int) -> Any:
        outcome = original(self, run, candidate, height, time_ms)
        if getattr(outcome, "code", 0):
            run.seen.pop((candidate.transaction.member, candidate.transaction.request_id), None)
        return outcome

    patch.setattr(Ledger, "_decide", decide)
