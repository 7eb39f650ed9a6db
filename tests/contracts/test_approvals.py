"""Approvals: officers of one member sign one after the other, and what that must never let through."""

from typing import Any, Final

import pytest

from contracts.approvals import Approvals
from contracts.assets import Assets
from contracts.institutions import Rule
from node.ledger import codec
from node.ledger.errors import LedgerError
from node.ledger.types import Operation, Receipt
from tests.checker import check_ledger
from tests.contracts.refusals_approvals import HASH, PAYMENT, UNTIL_MS, draft
from tests.contracts.refusals_governance import content_hash
from tests.kit import (
    START_MS,
    Consortium,
    discarded,
    is_discarded,
    is_refused,
    new_key,
    officer,
    op,
    pay,
    told,
)

TEAM: Final = ("PA-officer", "second", "third")
LARGE: Final = (pay("PA/main", "KB/main", 500),)


@pytest.fixture
def world() -> Consortium:
    """PA has three officers and pays 100 and more with two, 1,000 and more with three."""
    made = Consortium()
    made.apply("PA", *(op("members", "register_key", new_key(name)) for name in TEAM[1:]))
    made.apply("PA", op("members", "register_key", new_key("second's other", holder="second")))
    policy(made, Rule("*", "*", "CZK", 100, 2), Rule("*", "*", "CZK", 1_000, 3), by=("PA-officer",))
    return made


def policy(world: Consortium, *rules: Rule, by: tuple[str, ...] = TEAM) -> None:
    world.apply("PA", op("members", "set_policy", rules), officers=by)


def propose(world: Consortium, *operations: Operation, by: str = "PA-officer") -> int:
    receipt = world.apply("PA", draft(operations), officers=(by,))
    return int(told(receipt)[0][1][1])


def sign(world: Consortium, method: str, number: int, operations: Any, by: str) -> Receipt:
    call = op("approvals", method, number, content_hash(*operations))
    return world.send("PA", call, officers=(by,))


def shown(world: Consortium, number: int) -> Any:
    return world.ledger.query("approvals", "get_draft", codec.encode(("PA", number)))


def test_two_officers_sign_days_apart_what_one_transaction_could_not_wait_for(world: Consortium) -> None:
    assert is_discarded(discarded(world, world.make("PA", *LARGE)), LedgerError.POLICY_NOT_MET)
    number = propose(world, *LARGE)
    assert is_refused(sign(world, "execute", number, LARGE, "PA-officer"), Approvals.NOT_APPROVED)
    two_days = world.time_ms + world.genesis.limits.lifetime_ms * 4
    call = op("approvals", "approve", number, content_hash(*LARGE))
    world.apply("PA", call, officers=("second",), time_ms=two_days, created_ms=two_days)
    found = shown(world, number)
    assert (found.officers, found.required) == (2, 2)
    assert [row.holder for row in found.approvals] == sorted(
        ["PA-officer", "second"], key=lambda name: officer(name).key_id
    )
    receipt = sign(world, "execute", number, LARGE, "third")
    assert [name for name, _ in told(receipt)] == ["transfers.Sent", "approvals.Executed"]
    assert world.balance("KB/main") == (1_000, 0)
    found = shown(world, number)
    assert (found.draft.status, found.operations, found.approvals) == ("executed", (), ())
    assert world.rows("approvals", "approval") == world.rows("approvals", "content") == {}
    assert world.record("approvals", "counter", "PA").open == 0
    check_ledger(world.blocks(), world.genesis)


@pytest.mark.evidence(
    "APP1", asset="balances", threat="an approval is used again", mitigation="a draft runs once"
)
def test_no_approval_serves_twice(world: Consortium) -> None:
    """Replays: of the execution, of an approval for another draft with the same content, of signed bytes."""
    number = propose(world, *LARGE)
    approval = world.make(
        "PA", op("approvals", "approve", number, content_hash(*LARGE)), officers=("second",)
    )
    world.block(approval)
    assert sign(world, "execute", number, LARGE, "second").code == 0
    tried = [
        is_refused(sign(world, "execute", number, LARGE, "second"), Approvals.DRAFT_ENDED),
        is_refused(sign(world, "approve", number, LARGE, "third"), Approvals.DRAFT_ENDED),
    ]
    again = propose(world, *LARGE)
    (replayed,) = world.block(approval)
    tried.append(getattr(replayed, "error", None) is LedgerError.DUPLICATE)
    tried.append(is_refused(sign(world, "execute", again, LARGE, "second"), Approvals.NOT_APPROVED))
    tried.append(is_refused(sign(world, "execute", again + 1, LARGE, "second"), Approvals.DRAFT_UNKNOWN))
    print(f"replays of approvals: {len(tried)} tried, {sum(tried)} refused")
    assert all(tried)
    assert world.balance("KB/main") == (1_000, 0)


@pytest.mark.evidence(
    "APP1", asset="balances", threat="a body changes after approval", mitigation="approval by content hash"
)
def test_an_approval_holds_for_exactly_these_operations(world: Consortium) -> None:
    number = propose(world, *LARGE)
    others = [
        (pay("PA/main", "KB/main", 501),),
        (pay("PA/main", "CNB/main", 500),),
        (*LARGE, *LARGE),
        (pay("PA/main", "KB/main", 500, reference="x"),),
        (),
    ]
    for method in ("approve", "execute", "withdraw"):
        for other in others:
            refused = sign(world, method, number, other, "second")
            assert is_refused(refused, Approvals.CONTENT_DIFFERS)
    print(f"changed bodies: {3 * len(others)} tried, all refused")
    assert shown(world, number).officers == 1


@pytest.mark.evidence(
    "APP2",
    asset="balances",
    threat="one officer approves twice",
    mitigation="distinct holders of keys that may sign now",
)
def test_two_keys_of_one_holder_are_one_officer(world: Consortium) -> None:
    number = propose(world, *LARGE, by="second")
    assert sign(world, "approve", number, LARGE, "second's other").code == 0
    assert len(shown(world, number).approvals) == 2
    assert is_refused(sign(world, "execute", number, LARGE, "second"), Approvals.NOT_APPROVED)
    assert is_refused(sign(world, "approve", number, LARGE, "second"), Approvals.APPROVED_ALREADY)
    assert sign(world, "approve", number, LARGE, "third").code == 0
    assert sign(world, "execute", number, LARGE, "second").code == 0


def test_keys_that_sign_together_approve_together(world: Consortium) -> None:
    call = op("approvals", "propose", LARGE, UNTIL_MS, "")
    receipt = world.apply("PA", call, officers=("second", "third"))
    assert [name for name, _ in told(receipt)] == [
        "approvals.Proposed", "approvals.Approved", "approvals.Approved",
    ]  # fmt: skip
    assert sign(world, "execute", 1, LARGE, "PA-officer").code == 0


@pytest.mark.parametrize("how", ["revoke", "retire"])
@pytest.mark.evidence(
    "APP2",
    asset="balances",
    threat="a key that has ended approves",
    mitigation="distinct holders of keys that may sign now",
)
def test_the_approval_of_a_key_that_has_ended_has_lapsed(world: Consortium, how: str) -> None:
    number = propose(world, *LARGE)
    assert sign(world, "approve", number, LARGE, "third").code == 0
    key_id = officer("third").key_id
    call = op("members", "revoke_key", key_id)
    if how == "retire":
        call = op("members", "retire_key", key_id, world.height + 2)
    world.apply("PA", call, officers=TEAM)
    assert is_refused(sign(world, "execute", number, LARGE, "second"), Approvals.NOT_APPROVED)
    found = shown(world, number)
    assert (found.officers, sorted(row.holder for row in found.approvals)) == (1, ["", "PA-officer"])
    assert sign(world, "approve", number, LARGE, "second").code == 0
    assert sign(world, "execute", number, LARGE, "second").code == 0


def test_the_policy_at_the_time_of_execution_decides(world: Consortium) -> None:
    number = propose(world, *LARGE)
    assert sign(world, "approve", number, LARGE, "second").code == 0
    policy(world, Rule("transfers", "send", "CZK", 0, 3))
    assert is_refused(sign(world, "execute", number, LARGE, "second"), Approvals.NOT_APPROVED)
    policy(world, Rule("transfers", "send", "CZK", 600, 2))
    single = propose(world, *LARGE)
    assert sign(world, "execute", single, LARGE, "PA-officer").code == 0
    assert sign(world, "execute", number, LARGE, "second").code != 0  # PA has 300 left


@pytest.mark.evidence(
    "APP3", asset="balances", threat="amounts are split", mitigation="what a draft runs is weighed together"
)
def test_splitting_inside_a_draft_gains_nothing(world: Consortium) -> None:
    tried = 0
    for parts in (2, 4, 5, 10, 25):
        split = (pay("PA/main", "KB/main", 100 // parts),) * parts
        number = propose(world, *split)
        assert is_refused(sign(world, "execute", number, split, "PA-officer"), Approvals.NOT_APPROVED)
        tried += 1
    below = (pay("PA/main", "KB/main", 99),)
    assert sign(world, "execute", propose(world, *below), below, "PA-officer").code == 0
    print(f"split amounts: {tried} tried, all refused")


@pytest.mark.evidence(
    "APP3", asset="signing keys", threat="one officer drafts new keys", mitigation="the strictest rule"
)
def test_keys_and_policy_are_drafted_only_with_the_strictest_rule(world: Consortium) -> None:
    loose = (op("members", "set_policy", ()),)
    number = propose(world, *loose)
    assert sign(world, "approve", number, loose, "second").code == 0
    assert is_refused(sign(world, "execute", number, loose, "second"), Approvals.NOT_APPROVED)
    assert sign(world, "approve", number, loose, "third").code == 0
    assert sign(world, "execute", number, loose, "second").code == 0
    assert world.record("members", "policy", "PA").rules == ()


def test_a_key_counts_for_what_it_may_sign_alone(world: Consortium) -> None:
    scoped = new_key("scoped", scopes=("approvals", "transfers.void"))
    world.apply("PA", op("members", "register_key", scoped), officers=TEAM)
    number = propose(world, *LARGE)
    assert sign(world, "approve", number, LARGE, "scoped").code == 0
    assert is_refused(sign(world, "execute", number, LARGE, "scoped"), Approvals.NOT_APPROVED)
    assert shown(world, number).officers == 1


@pytest.mark.evidence(
    "APP4", asset="balances", threat="an approval outlives its time", mitigation="expiry by block time"
)
def test_a_draft_ends_by_block_time(world: Consortium) -> None:
    number = propose(world, *LARGE)
    assert sign(world, "approve", number, LARGE, "second").code == 0
    call = op("approvals", "execute", number, content_hash(*LARGE))
    late = world.make("PA", call, officers=("second",), created_ms=UNTIL_MS)
    (outcome,) = world.block(late, time_ms=UNTIL_MS)
    assert is_refused(outcome, Approvals.DRAFT_ENDED)
    assert shown(world, number).draft.status == "expired"
    assert world.rows("approvals", "due") == world.rows("approvals", "approval") == {}
    system: Receipt = codec.decoder(Receipt)(world.blocks()[-1].receipts[0])
    assert ("approvals.Ended", ["PA", number, "expired"]) in told(system)


def test_what_is_refused_when_it_runs_leaves_the_draft_open_and_nothing_done(world: Consortium) -> None:
    both = (pay("PA/main", "KB/main", 100), pay("PA/main", "KB/main", 800))
    number = propose(world, *both)
    assert sign(world, "approve", number, both, "second").code == 0
    refused = sign(world, "execute", number, both, "second")
    assert is_refused(refused, Assets.INSUFFICIENT_BALANCE)
    assert world.balance("PA/main") == (1_000, 200)
    world.apply("CNB", op("assets", "issue", "CZK", "PA/main", 100, ""))
    assert sign(world, "execute", number, both, "second").code == 0
    assert world.balance("PA/main") == (200, 200)


def test_a_draft_without_approvals_is_withdrawn(world: Consortium) -> None:
    number = propose(world, *LARGE)
    assert sign(world, "approve", number, LARGE, "second").code == 0
    assert told(sign(world, "withdraw", number, LARGE, "PA-officer"))[-1][0] == "approvals.Withdrawn"
    assert shown(world, number).draft.status == "open"
    assert is_refused(sign(world, "withdraw", number, LARGE, "third"), Approvals.NO_APPROVAL)
    receipt = sign(world, "withdraw", number, LARGE, "second")
    assert told(receipt)[-1] == ("approvals.Ended", ["PA", number, "withdrawn"])
    assert world.record("approvals", "counter", "PA").open == 0


def test_others_clear_what_an_officer_drafted_whose_key_was_revoked(world: Consortium) -> None:
    number = propose(world, *LARGE, by="third")
    assert is_refused(sign(world, "withdraw", number, LARGE, "second"), Approvals.NO_APPROVAL)
    world.apply("PA", op("members", "revoke_key", officer("third").key_id), officers=TEAM)
    receipt = sign(world, "withdraw", number, LARGE, "second")
    assert told(receipt) == [("approvals.Ended", ["PA", number, "withdrawn"])]
    assert world.record("approvals", "counter", "PA").open == 0


def test_a_rule_that_names_approvals_binds_them(world: Consortium) -> None:
    policy(world, Rule("approvals", "execute", "", 0, 2), Rule("*", "*", "CZK", 100, 2))
    number = propose(world, *LARGE)
    assert sign(world, "approve", number, LARGE, "second").code == 0
    call = op("approvals", "execute", number, content_hash(*LARGE))
    alone = world.make("PA", call, officers=("third",))
    assert is_discarded(discarded(world, alone), LedgerError.POLICY_NOT_MET)
    world.apply("PA", call, officers=("third", "second"))


def test_no_other_member_touches_a_draft(world: Consortium) -> None:
    number = propose(world, *PAYMENT)
    for method in ("approve", "withdraw", "execute"):
        refused = world.send("KB", op("approvals", method, number, HASH))
        assert is_refused(refused, Approvals.DRAFT_UNKNOWN)
    assert sign(world, "execute", number, PAYMENT, "third").code == 0


def test_what_a_draft_makes_has_names_of_its_own(world: Consortium) -> None:
    """A hold made by a draft, and one made by the same transaction beside it, are two."""
    reserve = op("transfers", "reserve", "PA/main", "KB/main", "CZK", 1, START_MS + 3_600_000, "")
    number = propose(world, reserve, reserve)
    before = len(world.rows("transfers", "hold"))
    call = op("approvals", "execute", number, content_hash(reserve, reserve))
    world.apply("PA", call, reserve, reserve, officers=("second",))
    assert len(world.rows("transfers", "hold")) == before + 4
    assert world.balance("PA/main") == (1_000, 204)


def test_a_member_votes_by_a_draft(world: Consortium) -> None:
    """What is drafted may itself carry out a decision of the members."""
    for name in ("PA", "KB"):
        change = op("members", "change", name, f"Bank {name}", "", ("participant", "voter"))
        world.apply("ADMIN", change)
    resume = (op("members", "resume", "GONE"),)
    world.apply("KB", op("governance", "propose", resume, "paid"))
    vote = (op("governance", "approve", 1, content_hash(*resume)),)
    number = propose(world, *vote)
    receipt = sign(world, "execute", number, vote, "second")
    assert [name for name, _ in told(receipt)] == [
        "governance.BallotCast", "members.Resumed", "governance.Executed", "approvals.Executed",
    ]  # fmt: skip
    assert world.record("members", "institution", "GONE").status == "active"
    check_ledger(world.blocks(), world.genesis)


def test_drafts_are_listed_newest_first(world: Consortium) -> None:
    numbers = [propose(world, *LARGE) for _ in range(3)]
    listed = world.ledger.query("approvals", "list_drafts", codec.encode(("PA", 0)))
    assert [row.number for row in listed] == numbers[::-1] == [3, 2, 1]
    older = world.ledger.query("approvals", "list_drafts", codec.encode(("PA", 3)))
    assert [(row.number, row.officers, row.required) for row in older] == [(2, 1, 2), (1, 1, 2)]
    assert world.ledger.query("approvals", "list_drafts", codec.encode(("KB", 0))) == ()
