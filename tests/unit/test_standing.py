"""The chain's own affairs, read from its state: authority, nodes, evidence, contracts and protocols."""

from collections.abc import Callable
from typing import Any

import pytest

from contracts import assemble
from node.keys.verify import VERIFIERS
from node.ledger import codec
from node.ledger.bundles import Judged, bundle_message
from node.ledger.contract import Context, Contract, Fact, method, table
from node.ledger.errors import LedgerError, Rejected, ReleaseTooOld
from node.ledger.genesis import authority_root
from node.ledger.hashing import INTERNATIONAL, validator_address
from node.ledger.ledger import Finalized, Ledger
from node.ledger.standing import changes
from node.ledger.types import (
    Authority,
    Block,
    Bundle,
    Count,
    Evidence,
    Header,
    MemberId,
    Name,
    PowerChange,
    Receipt,
    Record,
)
from tests.checker import check_ledger
from tests.contracts.refusals_validators import moved, settle, validator
from tests.kit import (
    ADMINISTRATOR,
    Consortium,
    World,
    is_discarded,
    is_refused,
    make_genesis,
    officer,
    op,
    pay,
    told,
)

_header: Callable[[bytes], Header] = codec.decoder(Header)
_receipt: Callable[[bytes], Receipt] = codec.decoder(Receipt)


def run(world: World, *items: bytes, evidence: tuple[Evidence, ...] = ()) -> Finalized:
    """Run and commit a block with evidence."""
    finalized = world.ledger.finalize_block(Block(world.height + 1, world.time_ms + 1_000, items, evidence))
    world.height += 1
    world.commit(finalized)
    return finalized


def administrators(world: World, *operations: Any) -> bytes:
    return world.make(ADMINISTRATOR, *operations)


# --- authority ----------------------------------------------------------------------------------------------


def test_the_authority_of_genesis_stays_until_it_is_changed() -> None:
    world = Consortium()
    root = authority_root(INTERNATIONAL, world.genesis.authority)
    assert world.ledger.standing.authority == world.genesis.authority
    assert {_header(record.header).authority_root for record in world.blocks()} == {root}


def test_a_block_tells_how_the_authority_it_wants_differs_and_its_header_commits_to_it() -> None:
    world = Consortium()
    moved(5)(world)
    before = world.ledger.standing.authority
    swap = administrators(
        world,
        op("validators", "add", validator("v9", power=9), ""),
        op("validators", "remove", officer("v3").key_id, ""),
        op("validators", "reweigh", officer("v1").key_id, 11, ""),
    )
    finalized = run(world, swap)
    (receipt,) = finalized.outcomes
    assert isinstance(receipt, Receipt)
    assert receipt.code == 0
    expected = [("v9", 9), ("v3", 0), ("v1", 11)]
    assert finalized.updates == tuple(
        sorted(PowerChange("ed25519", officer(name).public_key, power) for name, power in expected)
    )
    after = world.ledger.standing.authority
    assert changes(before, after) == finalized.updates
    assert finalized.record
    assert _header(finalized.record.header).authority_root == authority_root(INTERNATIONAL, after)
    assert run(world, world.make("PA", pay("PA/main", "KB/main", 1))).updates == ()
    check_ledger(world.blocks(), world.genesis)


def test_a_refused_change_and_an_abandoned_block_leave_the_authority_alone() -> None:
    world = Consortium()
    moved(4)(world)
    before = world.ledger.standing
    remove = op("validators", "remove", officer("v0").key_id, "")
    assert run(world, administrators(world, remove)).updates == ()
    override = op("validators", "remove", officer("v0").key_id, "override")
    finalized = world.finalize(administrators(world, override))
    assert len(finalized.updates) == 1
    assert world.ledger.standing == before
    assert world.finalize(world.make("PA", pay("PA/main", "KB/main", 1))).updates == ()


def test_a_ledger_opened_again_stands_as_before() -> None:
    world = Consortium()
    moved(5)(world)
    again = Ledger(world.genesis, assemble, world.store, VERIFIERS[world.genesis.suite]())
    assert again.standing == world.ledger.standing
    assert len(again.standing.authority) == 5


def test_changes_turn_one_authority_into_another_with_one_entry_a_key() -> None:
    def entry(name: str, power: int) -> Authority:
        return Authority("ed25519", officer(name).public_key, power)

    before = (entry("a", 1), entry("b", 2), entry("c", 3))
    after = (entry("b", 2), entry("c", 4), entry("d", 5))
    found = {change.public_key: change.power for change in changes(before, after)}
    assert found == {officer("a").public_key: 0, officer("c").public_key: 4, officer("d").public_key: 5}
    assert changes(after, after) == ()


# --- nodes --------------------------------------------------------------------------------------------------


def bundle(world: World, sequence: int, *items: bytes, node: str = "v0-node") -> Judged:
    """Judged as every node judges a bundle. Raises Rejected."""
    unsigned = Bundle(1, officer(node).key_id, sequence, items, bytes(64))
    signature = officer(node).sign(bundle_message(world.ledger.chain, unsigned))
    return world.ledger.judge(codec.encode(Bundle(1, officer(node).key_id, sequence, items, signature)))


def test_a_node_is_suspended_with_a_thousand_bundles_pending_and_the_chain_goes_on() -> None:
    world = Consortium()
    moved(4)(world)
    pending = [
        (raw, bundle(world, number, raw))
        for number in range(1_000)
        for raw in (world.make("PA", pay("PA/main", "KB/main", 1)),)
    ]
    assert world.ledger.check_tx(pending[0][1]) > 0
    run(world, administrators(world, op("members", "suspend", "PA", "flood")))
    with pytest.raises(Rejected) as refused:
        world.ledger.check_tx(pending[0][1])
    assert refused.value.error is LedgerError.NODE_INACTIVE
    bundles = [judged for _, judged in pending]
    proposal = world.ledger.prepare_proposal(bundles, 4 * 1024 * 1024)
    assert proposal == [judged.raw for judged in bundles]
    assert world.ledger.process_proposal(bundles)
    finalized = run(world, *(item for item, _ in pending), world.make("KB", pay("KB/main", "CNB/main", 1)))
    dead = [outcome for outcome in finalized.outcomes if is_discarded(outcome, LedgerError.MEMBER_SUSPENDED)]
    assert len(dead) == 1_000
    assert isinstance(finalized.outcomes[-1], Receipt)
    print(f"bundles pending: {len(bundles)}, ordered: {len(proposal)}, items discarded: {len(dead)}")
    run(world, administrators(world, op("members", "resume", "PA")))
    fresh = bundle(world, 9_999, world.make("PA", pay("PA/main", "KB/main", 1)))
    assert world.ledger.check_tx(fresh) > 0


def test_a_retired_node_hands_in_nothing_new_and_what_it_handed_in_passes_the_predicate() -> None:
    world = Consortium()
    moved(4)(world)
    raw = world.make("PA", pay("PA/main", "KB/main", 1))
    judged = bundle(world, 1, raw)
    run(world, administrators(world, op("validators", "retire_node", officer("v0-node").key_id)))
    with pytest.raises(Rejected) as refused:
        world.ledger.check_tx(judged)
    assert refused.value.error is LedgerError.NODE_INACTIVE
    assert world.ledger.process_proposal([world.ledger.judge(judged.raw)])
    with pytest.raises(Rejected) as unknown:
        bundle(world, 1, raw, node="stranger")
    assert unknown.value.error is LedgerError.UNKNOWN_KEY


# --- evidence -----------------------------------------------------------------------------------------------


def double_vote(name: str, height: int = 7) -> Evidence:
    address = validator_address(officer(name).public_key)
    return Evidence("duplicate-vote", address, height, 1_700_000_000_000, 10, 50)


def system_events(finalized: Finalized) -> list[str]:
    assert finalized.record
    return [name for name, _ in told(_receipt(finalized.record.receipts[0]))]


def test_a_double_signer_loses_its_power_at_once_where_four_others_remain() -> None:
    world = Consortium()
    moved(5)(world)
    finalized = run(world, evidence=(double_vote("v2"),))
    assert system_events(finalized) == ["validators.Misbehaved", "validators.PowerSet"]
    assert finalized.updates == (PowerChange("ed25519", officer("v2").public_key, 0),)
    assert len(finalized.alarms) == 1
    assert "duplicate-vote" in finalized.alarms[0]
    address = validator_address(officer("v2").public_key)
    offence = world.record("validators", "offence", address, "duplicate-vote", 7)
    assert (offence.taken, offence.recorded_height) == (1, world.height)
    check_ledger(world.blocks(), world.genesis)


def test_of_two_double_signers_of_five_only_the_first_loses_its_power() -> None:
    world = Consortium()
    moved(5)(world)
    finalized = run(world, evidence=(double_vote("v2"), double_vote("v3")))
    assert system_events(finalized) == [
        "validators.Misbehaved",
        "validators.PowerSet",
        "validators.Misbehaved",
        "validators.PowerKept",
    ]
    assert [change.power for change in finalized.updates] == [0]
    check_ledger(world.blocks(), world.genesis)


def test_a_double_signer_keeps_its_power_where_newcomers_would_have_a_third_without_it() -> None:
    world = Consortium()
    moved(5)(world)
    run(world, administrators(world, op("validators", "add", validator("new", power=24), "")))
    assert system_events(run(world, evidence=(double_vote("v2"),))) == [
        "validators.Misbehaved",
        "validators.PowerKept",
    ]
    settle(world)
    assert "validators.PowerSet" in system_events(run(world, evidence=(double_vote("v2", 8),)))
    check_ledger(world.blocks(), world.genesis)


def test_evidence_told_twice_or_of_nobody_known_is_recorded_once_and_takes_nothing() -> None:
    world = Consortium()
    moved(4)(world)
    first = run(world, evidence=(double_vote("v2"), double_vote("v2"), double_vote("stranger")))
    assert system_events(first) == ["validators.Misbehaved", "validators.PowerKept", "validators.Misbehaved"]
    assert first.updates == ()
    assert first.record
    kept: tuple[Evidence, ...] = codec.decoder(tuple[Evidence, ...])(first.record.bodies[0])
    assert kept == (double_vote("v2"), double_vote("stranger"))
    quiet = run(world, evidence=(double_vote("v2"),))
    assert quiet.record is None
    check_ledger(world.blocks(), world.genesis)


def test_a_chain_without_the_contract_passes_over_evidence() -> None:
    names = ("members", "assets", "transfers", "blacklist")
    world = Consortium(make_genesis(contracts=tuple((name, 0) for name in names)))
    finalized = run(world, evidence=(double_vote("v2"),))
    assert (finalized.record, finalized.alarms) == (None, ())
    assert world.ledger.standing.authority == world.genesis.authority
    assert list(world.ledger.standing.nodes) == [officer("node").key_id]


# --- contracts and protocols in force -----------------------------------------------------------------------


class Seen(Record, frozen=True):
    """What was seen last."""

    protocol: Count


class Looked(Fact, frozen=True):
    """It ran, by these rules."""

    version: Count
    protocol: Count


class Later(Contract):
    """A contract that genesis does not name."""

    name = "later"
    facts = (Looked,)
    seen = table(Seen, member=MemberId)

    def on_block(self, ctx: Context) -> None:
        """Leave a trace, once."""
        if self.seen.get("system") is None:
            self.seen.put(Seen(ctx.protocol), "system")

    @method(flat=7)
    def look(self, ctx: Context, note: Name) -> None:
        """See by which rules it runs."""
        self.seen.put(Seen(ctx.protocol), ctx.member)
        ctx.emit(Looked(self.version, ctx.protocol))


class Looked2(Fact, frozen=True):
    """The second version ran."""

    note: Name


class Later2(Contract):
    """Its second version, with another method beside."""

    name = "later"
    version = 2
    facts = (Looked2,)
    seen = table(Seen, member=MemberId)

    @method(flat=9)
    def look(self, ctx: Context, note: Name) -> None:
        """See."""
        self.seen.put(Seen(ctx.protocol), ctx.member)
        ctx.emit(Looked2(note))

    @method
    def look_again(self, ctx: Context) -> None:
        """See again."""
        ctx.emit(Looked2("again"))


def newer() -> tuple[Contract, ...]:
    return *assemble(), Later(), Later2()


def look(world: World) -> bytes:
    return world.make("PA", op("later", "look", "x"))


def governs(world: World, name: str, *arguments: Any) -> None:
    world.apply(ADMINISTRATOR, op("governance", name, *arguments))


def test_a_contract_acts_from_its_height_on_and_what_was_read_before_is_read_again() -> None:
    world = Consortium(contracts=newer)
    start = world.height + 4
    governs(world, "activate", "later", 1, start)
    assert is_refused(world.send("PA", op("later", "look", "x")), LedgerError.UNKNOWN_METHOD)
    early = world.ledger.read(look(world))
    assert early.failure
    while world.height < start - 1:
        world.apply("PA", pay("PA/main", "KB/main", 1))
    finalized = world.ledger.finalize_block(Block(start, world.time_ms + 1_000, (early,)))
    (receipt,) = finalized.outcomes
    assert isinstance(receipt, Receipt)
    assert (receipt.code, told(receipt)) == (0, [("later.Looked", [1, 1])])
    assert finalized.record
    assert len(finalized.record.receipts) == 2, "its scheduled work ran, too"
    assert world.ledger.read(early.raw).work == early.work + 7
    world.height += 1
    world.commit(finalized)
    check_ledger(world.blocks(), world.genesis, assemble=newer)


def test_a_version_takes_the_place_of_another_and_a_frozen_contract_is_silent() -> None:
    world = Consortium(contracts=newer)
    governs(world, "activate", "later", 1, world.height + 2)
    world.apply("PA", op("later", "look", "x"))
    governs(world, "activate", "later", 2, world.height + 3)
    assert told(world.apply("PA", op("later", "look", "x"))) == [("later.Looked", [1, 1])]
    receipt = world.apply("PA", op("later", "look", "x"), op("later", "look_again"))
    assert told(receipt) == [("later.Looked2", ["x"]), ("later.Looked2", ["again"])]
    governs(world, "freeze", "later", world.height + 2)
    assert is_refused(world.send("PA", op("later", "look", "x")), LedgerError.UNKNOWN_METHOD)
    assert world.record("governance", "activation", "register", "later", 2).until_height == world.height
    governs(world, "activate", "later", 1, world.height + 2)
    assert told(world.apply("PA", op("later", "look", "x"))) == [("later.Looked", [1, 1])]
    check_ledger(world.blocks(), world.genesis, assemble=newer)


def test_bundles_are_judged_alike_before_and_behind_an_activation() -> None:
    world = Consortium(contracts=newer)
    judged = bundle(world, 1, look(world), node="node")
    work = world.ledger.check_tx(judged)
    governs(world, "activate", "later", 1, world.height + 2)
    world.apply("PA", op("later", "look", "x"))
    assert world.ledger.check_tx(world.ledger.judge(judged.raw)) == work


def test_a_frozen_contract_of_genesis_expires_nothing_until_it_acts_again() -> None:
    world = Consortium()
    governs(world, "freeze", "transfers", world.height + 2)
    world.block(time_ms=world.time_ms + 2 * Consortium.HOLD_MS)
    refused = world.send("PA", pay("PA/main", "KB/main", 1))
    assert is_refused(refused, LedgerError.UNKNOWN_METHOD)
    assert world.balance("PA/main")[1] == 200
    governs(world, "activate", "transfers", 1, world.height + 2)
    world.block(time_ms=world.time_ms + 2 * Consortium.HOLD_MS)
    assert world.balance("PA/main")[1] == 0
    check_ledger(world.blocks(), world.genesis)


def test_a_release_without_the_scheduled_protocol_stops_before_its_height_and_opens_no_more() -> None:
    world = Consortium()
    last = world.height + 3
    governs(world, "schedule_protocol", 2, last + 1)
    while world.height < last:
        world.apply("PA", pay("PA/main", "KB/main", 1))
    before = world.ledger.info()
    with pytest.raises(ReleaseTooOld, match=f"protocol 2 at height {last + 1} and this release"):
        world.finalize(world.make("PA", pay("PA/main", "KB/main", 1)))
    assert world.ledger.info() == before
    with pytest.raises(ReleaseTooOld, match="install a release that has it; nothing is lost"):
        Ledger(world.genesis, assemble, world.store, VERIFIERS[world.genesis.suite]())
    newest = Ledger(world.genesis, newer, world.store, VERIFIERS[world.genesis.suite](), protocols=(1, 2))
    item = world.make("PA", pay("PA/main", "KB/main", 1))
    finalized = newest.finalize_block(Block(last + 1, world.time_ms + 1_000, (item,)))
    assert finalized.record
    assert _header(finalized.record.header).protocol == 2


def test_a_release_without_the_contract_that_is_due_stops_before_its_height() -> None:
    world = Consortium()
    governs(world, "activate", "leasing", 1, world.height + 2)
    with pytest.raises(ReleaseTooOld, match="contract leasing version 1 acts at height"):
        world.finalize()


def test_both_releases_agree_on_every_block_up_to_the_height_at_which_they_part() -> None:
    old, new = Consortium(), Consortium(contracts=newer)
    for world in (old, new):
        governs(world, "activate", "later", 2, world.height + 3)
        world.send("PA", op("later", "look", "x"), op("later", "look_again"))
    assert [record.app_hash for record in old.blocks()] == [record.app_hash for record in new.blocks()]
    with pytest.raises(ReleaseTooOld):
        old.finalize()
    assert new.finalize().record is None


def test_settling_is_two_blocks() -> None:
    world = Consortium()
    height = world.height
    settle(world)
    assert world.height == height + 2
