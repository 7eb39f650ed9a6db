"""Governance: what proposals come to, who is counted, and what is decided about validators."""

from typing import Any

import pytest
from msgspec.structs import replace

from contracts.governance import Governance
from contracts.institutions import Rule
from contracts.members import Members
from contracts.proposals import RECOVERY_WAITING_MIN_MS, least, unsound
from node.ledger import codec
from node.ledger.errors import LedgerError
from node.ledger.types import AdministratorKey, Founder, Operation, Receipt, Requirement
from tests.checker import check_ledger
from tests.contracts.refusals_governance import RESUME, content_hash
from tests.contracts.refusals_validators import moved, settle, validator
from tests.kit import (
    ADMINISTRATOR,
    RULES,
    Consortium,
    World,
    is_discarded,
    is_refused,
    make_genesis,
    new_key,
    officer,
    op,
    pay,
    told,
)

VOTERS = ("CNB", "KB", "PA", "RB")
WAITING_MS = 60_000


def founded(**rules: Any) -> World:
    """Four founders that vote, no administrators."""
    founders = tuple(
        Founder(name, f"Bank {name}", "", ("issuer", "participant", "voter"), (_key(f"{name}-officer"),))
        for name in VOTERS
    )
    genesis = replace(
        make_genesis(),
        administrator="",
        threshold=0,
        administrators=(),
        nodes=(),
        founders=founders,
        governance=replace(RULES, **rules),
    )
    world = World(genesis)
    world.officers = {name: (f"{name}-officer",) for name in VOTERS}
    return world


def _key(name: str) -> Any:
    return AdministratorKey("ed25519", officer(name).public_key, name)


@pytest.fixture
def world() -> World:
    return founded()


def propose(world: World, *operations: Any, by: str = "PA") -> int:
    receipt = world.apply(by, op("governance", "propose", operations, ""))
    return int(told(receipt)[0][1][0])


def vote(world: World, number: int, choice: str, *members: str, operations: Any) -> Receipt:
    hash_ = content_hash(*operations)
    for member in members:
        receipt = world.apply(member, op("governance", choice, number, hash_))
    return receipt


def decide(world: World, *operations: Any, by: tuple[str, ...] = ("PA", "KB", "RB")) -> Receipt:
    """Propose and approve until it is carried out; the last receipt."""
    number = propose(world, *operations, by=by[0])
    receipt = vote(world, number, "approve", *by[1:], operations=operations)
    assert status(world, number) == "executed", status(world, number)
    return receipt


def status(world: World, number: int) -> str:
    return str(world.record("governance", "proposal", number).status)


ADMIT = op("members", "admit", "NEW", "New Bank", "", ("participant",), (new_key("NEW-officer"),))


def test_founders_admit_a_member_with_three_of_four_votes(world: World) -> None:
    number = propose(world, ADMIT)
    vote(world, number, "approve", "KB", operations=(ADMIT,))
    assert status(world, number) == "open"
    assert world.record("members", "institution", "NEW") is None
    receipt = vote(world, number, "approve", "RB", operations=(ADMIT,))
    assert [name for name, _ in told(receipt)] == [
        "governance.BallotCast",
        "members.Admitted",
        "members.KeyRegistered",
        "governance.Executed",
    ]
    assert world.record("members", "institution", "NEW").status == "active"
    world.officers["NEW"] = ("NEW-officer",)
    world.apply("NEW", op("assets", "open_accounts", ("NEW/main",)))
    assert is_refused(world.send("NEW", op("governance", "propose", (ADMIT,), "")), Governance.NOT_VOTER)
    check_ledger(world.blocks(), world.genesis)


@pytest.mark.evidence(
    "ACT5", asset="membership", threat="a minority decides", mitigation="ballots of those that vote now"
)
def test_two_rejections_of_four_end_a_proposal(world: World) -> None:
    number = propose(world, ADMIT)
    receipt = vote(world, number, "reject", "KB", "RB", operations=(ADMIT,))
    assert told(receipt)[-1] == ("governance.Ended", [number, "rejected"])
    late = world.send("CNB", op("governance", "approve", number, content_hash(ADMIT)))
    assert is_refused(late, Governance.PROPOSAL_ENDED)
    assert world.rows("governance", "due") == world.rows("governance", "opened") == {}


def test_a_member_changes_its_mind_and_is_counted_once(world: World) -> None:
    number = propose(world, ADMIT)
    vote(world, number, "reject", "KB", operations=(ADMIT,))
    vote(world, number, "approve", "KB", operations=(ADMIT,))
    assert status(world, number) == "open"
    vote(world, number, "approve", "CNB", operations=(ADMIT,))
    assert status(world, number) == "executed"


def test_a_proposal_expires_by_block_time_whether_or_not_it_was_cleaned_up(world: World) -> None:
    number = propose(world, ADMIT)
    due_ms = world.record("governance", "proposal", number).due_ms
    assert world.block(time_ms=due_ms - 1) == ()
    assert status(world, number) == "open"
    world.block(time_ms=due_ms)
    assert status(world, number) == "expired"
    assert world.rows("governance", "due") == {}
    check_ledger(world.blocks(), world.genesis)


def test_what_waits_is_carried_out_in_its_time_without_anybody_asking() -> None:
    world = founded(members=Requirement(2, 3, WAITING_MS))
    number = propose(world, ADMIT)
    receipt = vote(world, number, "approve", "KB", "RB", operations=(ADMIT,))
    name, (_, due_ms) = told(receipt)[-1]
    assert (name, status(world, number)) == ("governance.Adopted", "waiting")
    assert due_ms == world.time_ms + WAITING_MS
    world.block(time_ms=due_ms - 1)
    assert world.record("members", "institution", "NEW") is None
    world.block(time_ms=due_ms)
    assert status(world, number) == "executed"
    assert world.record("members", "institution", "NEW").status == "active"
    check_ledger(world.blocks(), world.genesis)


def test_a_veto_ends_what_waits() -> None:
    world = founded(members=Requirement(2, 3, WAITING_MS))
    number = propose(world, ADMIT)
    vote(world, number, "approve", "KB", "RB", operations=(ADMIT,))
    vote(world, number, "reject", "CNB", operations=(ADMIT,))
    assert status(world, number) == "waiting"
    vote(world, number, "reject", "RB", operations=(ADMIT,))
    assert status(world, number) == "rejected"
    world.block(time_ms=world.time_ms + 2 * WAITING_MS)
    assert world.record("members", "institution", "NEW") is None


def test_what_waits_is_dropped_where_too_few_still_want_it() -> None:
    world = founded(members=Requirement(3, 4, WAITING_MS))
    number = propose(world, ADMIT)
    vote(world, number, "approve", "KB", "RB", operations=(ADMIT,))
    vote(world, number, "reject", "RB", operations=(ADMIT,))
    assert status(world, number) == "waiting"
    world.block(time_ms=world.time_ms + WAITING_MS)
    assert status(world, number) == "rejected"


@pytest.mark.evidence(
    "ACT5", asset="membership", threat="a minority decides", mitigation="ballots of those that vote now"
)
def test_ballots_of_members_that_no_longer_vote_do_not_count(world: World) -> None:
    number = propose(world, ADMIT, by="CNB")
    suspend = op("members", "suspend", "CNB", "audit")
    decide(world, suspend)
    vote(world, number, "approve", "PA", operations=(ADMIT,))
    assert status(world, number) == "open"
    found = world.ledger.query("governance", "get_proposal", codec.encode((number,)))
    assert [(row.member, row.counts) for row in found.ballots] == [("CNB", 0), ("PA", 1)]
    assert (found.voters, found.required, found.veto) == (3, 2, 2)
    vote(world, number, "approve", "KB", operations=(ADMIT,))
    assert status(world, number) == "executed"


def test_a_decision_that_is_refused_when_its_time_comes_has_failed_and_says_why(world: World) -> None:
    first, second = propose(world, ADMIT), propose(world, ADMIT, by="CNB")
    vote(world, first, "approve", "KB", "RB", operations=(ADMIT,))
    receipt = vote(world, second, "approve", "KB", "RB", operations=(ADMIT,))
    assert told(receipt)[-1] == ("governance.Failed", [second, "members", Members.MEMBER_EXISTS.code])
    proposal = world.record("governance", "proposal", second)
    assert (proposal.status, proposal.codespace, proposal.code) == ("failed", "members", 3)
    assert world.record("governance", "ballot", second, "RB").choice == "approve"
    check_ledger(world.blocks(), world.genesis)


def test_of_a_decision_all_operations_are_applied_or_none(world: World) -> None:
    again = op("members", "suspend", "CNB", "audit")
    refused = world.send("PA", op("governance", "propose", (ADMIT, again, again), ""))
    assert is_refused(refused, Members.STATUS_UNCHANGED)
    assert world.rows("governance", "proposal") == {}
    decide(world, ADMIT, again)
    assert world.record("members", "institution", "CNB").status == "suspended"
    assert world.record("members", "institution", "NEW").status == "active"


@pytest.mark.evidence(
    "ACT5", asset="membership", threat="a minority decides", mitigation="ballots of those that vote now"
)
def test_no_signature_makes_a_decision(world: World) -> None:
    for member in VOTERS:
        assert is_refused(world.send(member, ADMIT), Members.NOT_ADMINISTRATOR)


@pytest.mark.evidence(
    "KEY9",
    asset="signing keys",
    threat="all keys of a member are lost",
    mitigation="recovery with a time to object",
)
def test_a_member_that_lost_its_keys_is_recovered_after_a_time_in_which_others_can_object() -> None:
    world = founded(recovery=Requirement(2, 3, RECOVERY_WAITING_MIN_MS))
    recover = lost(world, "CNB")
    vetoed, number = (propose(world, recover) for _ in range(2))
    for each in (vetoed, number):
        vote(world, each, "approve", "KB", "RB", operations=(recover,))
    due_ms = world.record("governance", "proposal", number).due_ms
    assert due_ms == world.time_ms + RECOVERY_WAITING_MIN_MS
    vote(world, vetoed, "reject", "KB", "RB", operations=(recover,))
    world.block(time_ms=due_ms - 1)
    assert (status(world, vetoed), status(world, number)) == ("rejected", "waiting")
    world.block(time_ms=due_ms)
    assert status(world, number) == "executed"
    world.apply("CNB", op("assets", "open_accounts", ("CNB/main",)), officers=("CNB-again",))


@pytest.mark.evidence(
    "KEY9",
    asset="signing keys",
    threat="administrators take a member over",
    mitigation="recovery with a time to object",
)
def test_what_administrators_recover_waits_and_one_member_that_objects_ends_it() -> None:
    world = Consortium()
    recover = lost(world, "PA")
    at_once = world.send(ADMINISTRATOR, recover)
    assert is_refused(at_once, Members.RECOVERY_WAITS)
    number = propose(world, recover, by=ADMINISTRATOR)
    found = world.ledger.query("governance", "get_proposal", codec.encode((number,)))
    assert (found.proposal.status, found.required, found.veto) == ("waiting", 0, 1)
    due_ms = found.proposal.due_ms
    assert due_ms == world.time_ms + RULES.recovery.waiting_ms
    world.block(time_ms=due_ms - 60_000)
    assert status(world, number) == "waiting"
    receipt = vote(world, number, "reject", "KB", operations=(recover,))
    assert told(receipt)[-1] == ("governance.Ended", [number, "rejected"])
    world.block(time_ms=due_ms)
    assert len(keys_of(world, "PA")) == 1
    again = propose(world, recover, by=ADMINISTRATOR)
    due_ms = world.record("governance", "proposal", again).due_ms
    world.block(time_ms=due_ms - 1)
    assert (status(world, again), len(keys_of(world, "PA"))) == ("waiting", 1)
    world.block(time_ms=due_ms)
    assert status(world, again) == "executed"
    assert len(keys_of(world, "PA")) == 2
    world.apply("PA", pay("PA/main", "KB/main", 1), officers=("PA-again",))


def test_a_member_with_too_few_keys_left_objects_to_its_own_recovery() -> None:
    world = Consortium()
    world.apply("PA", *(op("members", "register_key", new_key(f"PA-{number}")) for number in (2, 3)))
    world.apply("PA", op("members", "set_policy", (Rule("transfers", "send", "", 0, 3),)))
    team = ("PA-officer", "PA-2", "PA-3")
    world.apply("PA", op("members", "revoke_key", officer("PA-3").key_id), officers=team)
    recover = op("members", "recover", "PA", new_key("PA-again"))
    number = propose(world, recover, by=ADMINISTRATOR)
    vote(world, number, "reject", "PA", operations=(recover,))
    assert status(world, number) == "rejected"


def test_what_administrators_recover_ends_with_their_government() -> None:
    world = Consortium()
    recover = lost(world, "PA")
    number = propose(world, recover, by=ADMINISTRATOR)
    world.apply(ADMINISTRATOR, op("members", "change", "KB", "Bank", "", ("participant", "voter")))
    world.apply(ADMINISTRATOR, op("governance", "take_over"))
    world.block(time_ms=world.record("governance", "proposal", number).due_ms)
    assert status(world, number) == "rejected"
    assert len(keys_of(world, "PA")) == 1


def lost(world: World, member: str) -> Operation:
    """A member revokes its only key; the operation that would give it another."""
    world.apply(member, op("members", "revoke_key", officer(f"{member}-officer").key_id))
    return op("members", "recover", member, new_key(f"{member}-again"))


def keys_of(world: World, member: str) -> list[Any]:
    return [parts for parts in world.rows("members", "key") if parts[0] == member]


def test_members_change_their_own_rules(world: World) -> None:
    rules = replace(RULES, members=Requirement(1, 1, 0))
    decide(world, op("governance", "set_rules", rules))
    number = propose(world, ADMIT)
    vote(world, number, "approve", "KB", "RB", operations=(ADMIT,))
    assert status(world, number) == "open"
    vote(world, number, "approve", "CNB", operations=(ADMIT,))
    assert status(world, number) == "executed"


def test_the_strictest_requirement_decides_about_a_mixed_proposal() -> None:
    world = founded(rules=Requirement(1, 1, 0))
    mixed = (ADMIT, op("governance", "set_rules", RULES))
    number = propose(world, *mixed)
    vote(world, number, "approve", "KB", "RB", operations=mixed)
    assert status(world, number) == "open"
    vote(world, number, "approve", "CNB", operations=mixed)
    assert status(world, number) == "executed"


def test_administrators_hand_over_and_their_methods_are_closed() -> None:
    world = Consortium()
    for member in ("PA", "KB", "CNB"):
        change = op("members", "change", member, "Bank", "", ("participant", "voter"))
        world.apply(ADMINISTRATOR, change)
    number = propose(world, *RESUME)
    vote(world, number, "approve", "KB", operations=RESUME)
    assert status(world, number) == "executed"
    take_over = (op("governance", "take_over"),)
    number = propose(world, *take_over)
    receipt = vote(world, number, "approve", "KB", "CNB", operations=take_over)
    assert told(receipt)[-2:] == [("members.TakenOver", [3]), ("governance.Executed", [number])]
    closed = world.send(ADMINISTRATOR, op("members", "suspend", "GONE", "x"))
    assert is_refused(closed, Members.GOVERNED_BY_MEMBERS)
    leave = op("members", "remove", ADMINISTRATOR, "done")
    number = propose(world, leave)
    vote(world, number, "approve", "KB", operations=(leave,))
    (dead,) = world.block(world.make(ADMINISTRATOR, op("members", "resume", "GONE")))
    assert is_discarded(dead, LedgerError.MEMBER_SUSPENDED)
    order = world.ledger.query("governance", "get_order", b"\x90")
    assert (order.by, order.voters) == ("members", ("CNB", "KB", "PA"))


def test_a_suspended_member_loses_its_validator_in_the_same_vote() -> None:
    world = Consortium()
    moved(5)(world)
    for member in ("PA", "KB", "CNB"):
        world.apply(ADMINISTRATOR, op("members", "change", member, "Bank", "", ("participant", "voter")))
    out = (op("members", "suspend", "CNB", "audit"), op("validators", "remove", officer("v2").key_id, ""))
    number = propose(world, *out)
    vote(world, number, "approve", "KB", operations=out)
    assert status(world, number) == "executed"
    margin = world.ledger.query("validators", "margin", b"\x90")
    assert (margin.validators, margin.may_fail) == (4, 1)
    node = officer("v2-node").key_id
    nodes = {row.key_id: row.active for row in world.ledger.query("validators", "list_nodes", b"\x90")}
    assert (nodes[node], nodes[officer("v0-node").key_id]) == (0, 1)


def test_a_validator_is_replaced_in_one_vote() -> None:
    world = Consortium()
    moved(4)(world)
    swap = (
        op("validators", "add", validator("v9"), ""),
        op("validators", "remove", officer("v0").key_id, ""),
    )
    world.apply(ADMINISTRATOR, *swap)
    settle(world)
    powers = {row.key_id: row.validator.power for row in _listed(world)}
    assert powers[officer("v0").key_id] == 0
    assert powers[officer("v9").key_id] == 10


def _listed(world: World) -> Any:
    return world.ledger.query("validators", "list_validators", b"\x90")


@pytest.mark.parametrize(
    ("part", "voters", "expected"),
    [((2, 3), 4, 3), ((2, 3), 3, 2), ((3, 4), 4, 3), ((2, 5), 4, 2), ((1, 1), 7, 7), ((51, 100), 4, 3)],
)
def test_how_many_a_part_of_the_voters_is(part: tuple[int, int], voters: int, expected: int) -> None:
    assert least(*part, voters) == expected


def test_rules_that_would_let_halves_oppose_one_another_are_unsound() -> None:
    assert unsound(RULES) == ""
    for part in ((1, 2), (1, 3), (3, 2)):
        assert unsound(replace(RULES, validators=Requirement(*part, 0))).startswith("validators")
    for part in ((5, 4), (1, 1), (501, 1_000)):
        vetoed = replace(RULES, veto_numerator=part[0], veto_denominator=part[1])
        assert unsound(vetoed).startswith("veto")
    assert unsound(replace(RULES, veto_numerator=1, veto_denominator=2)) == ""


def test_rules_that_let_a_recovery_wait_for_less_than_a_day_are_unsound() -> None:
    for waiting_ms in (0, 1_000, RECOVERY_WAITING_MIN_MS - 1):
        at_once = replace(RULES, recovery=Requirement(2, 3, waiting_ms))
        assert unsound(at_once).startswith("recovery: it waits 86400000 ms or longer")
    assert unsound(replace(RULES, recovery=Requirement(2, 3, RECOVERY_WAITING_MIN_MS))) == ""


def test_proposals_are_listed_newest_first(world: World) -> None:
    numbers = [propose(world, ADMIT) for _ in range(3)]
    listed = world.ledger.query("governance", "list_proposals", codec.encode((0,)))
    assert [row.number for row in listed] == numbers[::-1] == [3, 2, 1]
    older = world.ledger.query("governance", "list_proposals", codec.encode((3,)))
    assert [row.number for row in older] == [2, 1]
    assert world.ledger.query("governance", "list_proposals", codec.encode((1,))) == ()


def test_accounts_of_a_member_that_left_are_still_credited() -> None:
    world = Consortium()
    world.apply(ADMINISTRATOR, op("members", "remove", "KB", "merged"))
    world.apply("PA", pay("PA/main", "KB/main", 5))
    assert world.balance("KB/main") == (505, 0)
    again = world.send(ADMINISTRATOR, op("members", "resume", "KB"))
    assert is_refused(again, Members.MEMBER_REMOVED)
