"""Blocks: quiet ones, their time, scheduled work, the work bound, contracts that fail, repeated runs."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from msgspec.structs import replace as changed

import contracts.transfers as transfers_module
from contracts import assemble
from node.ledger import codec
from node.ledger.contract import Category, Context, Contract, Fact, Rejected, error, method, table
from node.ledger.errors import InvariantViolated, LedgerError, StoreFailed
from node.ledger.hashing import ZERO_HASH
from node.ledger.ledger import Discarded
from node.ledger.transactions import parse
from node.ledger.types import EVENTS_MAX, Block, Count, Header, MemberId, Name, Receipt, Record
from node.storage.memory import MemoryStore
from tests.checker import check_ledger
from tests.kit import (
    LIMITS,
    START_MS,
    STEP_MS,
    Consortium,
    World,
    is_discarded,
    is_refused,
    make_genesis,
    op,
    pay,
    refusal,
    told,
)


@pytest.fixture
def world() -> Consortium:
    return Consortium()


def header(world: World) -> Header:
    decoded: Header = codec.decoder(Header)(world.blocks()[-1].header)
    return decoded


# --- quiet blocks and time ----------------------------------------------------------------------------------


def test_a_block_in_which_nothing_was_decided_has_no_header_and_leaves_the_app_hash(
    world: Consortium,
) -> None:
    before, count = world.ledger.info(), len(world.blocks())
    for items in ((), (b"junk",), (world.make("PA", pay("PA/main", "KB/main", 1), officers=("stranger",)),)):
        finalized = world.finalize(*items)
        assert finalized.record is None
        assert finalized.app_hash == before.app_hash
        world.height += 1
        world.commit(finalized)
    assert world.ledger.info() == before
    assert len(world.blocks()) == count == world.store.header_count
    world.apply("PA", pay("PA/main", "KB/main", 1))
    assert header(world).height == before.height + 4
    assert header(world).previous_app_hash == before.app_hash
    check_ledger(world.blocks(), world.genesis)


@pytest.mark.parametrize("offset", [-(10**9), -1, 0, 1, 2, 5_000])
def test_block_time_is_the_engines_unless_that_would_not_increase(offset: int, world: Consortium) -> None:
    before = world.time_ms
    raw = world.make("PA", pay("PA/main", "KB/main", 1))
    world.block(raw, time_ms=before + offset)
    assert world.time_ms == header(world).time_ms == max(before + offset, before + 1)


def test_quiet_blocks_do_not_move_the_time_that_the_next_header_must_pass(world: Consortium) -> None:
    before = world.time_ms
    world.block(time_ms=before + 50_000)
    assert world.time_ms == before
    world.apply("PA", pay("PA/main", "KB/main", 1), time_ms=before + 10)
    assert world.time_ms == before + 10


def test_heights_may_skip_but_never_repeat(world: Consortium) -> None:
    ledger, raw = world.ledger, world.make("PA", pay("PA/main", "KB/main", 1))
    for height in (world.height, world.height - 1, 0):
        with pytest.raises(InvariantViolated, match="after block"):
            ledger.finalize_block(Block(height, world.time_ms + 1, (raw,)))
    world.height += 1_000
    world.block(raw)
    assert header(world).height == world.height
    check_ledger(world.blocks(), world.genesis)


# --- scheduled work -----------------------------------------------------------------------------------------


def due(world: Consortium) -> int:
    return START_MS + world.HOLD_MS


def test_what_falls_due_stands_in_a_system_receipt_as_leaf_0(world: Consortium) -> None:
    raw = world.make("PA", pay("PA/main", "KB/main", 1), created_ms=due(world))
    world.block(time_ms=due(world) - 1)
    assert world.balance("PA/main") == (1_000, 200)
    (outcome,) = world.block(raw, time_ms=due(world))
    assert isinstance(outcome, Receipt)
    assert (outcome.code, outcome.index) == (0, 1)
    record = world.blocks()[-1]
    system: Receipt = codec.decoder(Receipt)(record.receipts[0])
    assert (system.tx_id, system.index, system.code, record.bodies[0]) == (ZERO_HASH, 0, 0, b"")
    pending = {name: hold for name, hold in world.holds.items() if name != "voided"}
    assert {(event, *fields) for event, fields in told(system)} == {
        ("transfers.Expired", *hold) for hold in pending.values()
    }
    assert len(system.events) == 5
    assert (world.balance("PA/main"), world.balance("PA/frozen")) == ((999, 0), (100, 0))
    assert {world.record("transfers", "hold", *hold).status for hold in pending.values()} == {"expired"}
    assert record.spent == ((*record.spent[0][:3], 1),)
    check_ledger(world.blocks(), world.genesis)


def test_scheduled_work_alone_makes_a_header(world: Consortium) -> None:
    count = len(world.blocks())
    world.block(time_ms=due(world) + 77)
    assert len(world.blocks()) == count + 1
    assert (header(world).transaction_count, header(world).time_ms) == (1, due(world) + 77)
    assert world.blocks()[-1].spent == ()
    world.block(time_ms=due(world) + 99)
    assert len(world.blocks()) == count + 1


def test_a_block_expires_at_most_so_many_holds_oldest_first_and_the_next_goes_on(
    world: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserve = op("transfers", "reserve", "PA/main", "KB/main", "CZK", 1, due(world) - 10, "older")
    world.apply("PA", *[reserve] * 3)
    monkeypatch.setattr(transfers_module, "EXPIRY_MAX", 2)
    ended = []
    for block in range(5):
        world.block(time_ms=due(world) + block)
        ended.append(sum(hold.status == "expired" for hold in world.rows("transfers", "hold").values()))
        if block == 0:
            older = [
                hold for hold in world.rows("transfers", "hold").values() if hold.end_to_end_id == "older"
            ]
            assert sorted(hold.status for hold in older) == ["expired", "expired", "pending"]
    assert ended == [2, 4, 6, 8, 8]
    check_ledger(world.blocks(), world.genesis)


def test_listings_and_holds_fall_due_in_the_order_of_the_contracts(world: Consortium) -> None:
    world.apply("PA", op("blacklist", "list_party", bytes(32), "fraud", bytes(32), due(world)))
    world.block(time_ms=due(world))
    system: Receipt = codec.decoder(Receipt)(world.blocks()[-1].receipts[0])
    assert [event for event, _ in told(system)] == ["transfers.Expired"] * 5 + ["blacklist.ListingExpired"]
    assert world.rows("blacklist", "listing") == {}


# --- the work bound -----------------------------------------------------------------------------------------


def test_what_does_not_fit_the_blocks_work_is_discarded_and_goes_into_the_next() -> None:
    world = Consortium(make_genesis(limits=changed(LIMITS, block_work_max=100_000)))

    def batch(count: int) -> bytes:
        legs = (("KB/main", 1, "x" * 35),) * count
        return world.make("PA", op("transfers", "send_many", "PA/main", "CZK", count, legs, b"", ""))

    before = world.state()
    large = [
        world.make(
            "PA",
            *[op("transfers", "send_many", "PA/main", "CZK", 1, (("KB/main", 1, "x" * 35),) * 800, b"", "")],
        )
        for _ in range(3)
    ]
    last, small = batch(800), batch(1)
    outcomes = world.block(*large, last, small)
    fits = [isinstance(outcome, Receipt) for outcome in outcomes]
    assert fits == [True, True, False, False, True], "what is small enough still fits behind what is not"
    assert all(is_discarded(outcomes[at], LedgerError.BLOCK_FULL) for at in (2, 3))
    assert world.state() != before
    again = world.block(large[2], last)
    assert [isinstance(outcome, Receipt) for outcome in again] == [True, True]
    check_ledger(world.blocks(), world.genesis)


# --- contracts that fail ------------------------------------------------------------------------------------


class Crash(Exception):
    """Something a contract did not expect."""


class DiskFailed(StoreFailed):
    """A store's failure."""


class Noted(Fact, frozen=True):
    """Something was noted."""

    text: Name


class Note(Record, frozen=True):
    """How often."""

    count: Count


FAILURES: dict[str, Callable[[], Exception | KeyboardInterrupt]] = {
    "crash": lambda: Crash("boom"),
    "key": lambda: KeyError("k"),
    "zero": ZeroDivisionError,
    "value": lambda: ValueError("v"),
    "invariant": lambda: InvariantViolated("no"),
    "store": lambda: DiskFailed("disk"),
    "recursion": RecursionError,
    "memory": MemoryError,
    "interrupt": KeyboardInterrupt,
}


class Probe(Contract):
    """Does what a test asks for."""

    name = "probe"
    facts = (Noted,)
    NO = error(1, Category.PRECONDITION, "No.")
    note = table(Note, member=MemberId)
    fail_on_block = ""

    def on_block(self, ctx: Context) -> None:
        """Note, then fail as told."""
        if self.fail_on_block:
            self.note.put(Note(99), "block")
            ctx.emit(Noted("block"))
            if self.fail_on_block == "refuse":
                raise Rejected(self.NO)
            failure = FAILURES[self.fail_on_block]()
            raise failure

    @method
    def fail(self, ctx: Context, how: Name) -> None:
        """Note, tell, fail."""
        self.note.put(Note(1), ctx.member)
        ctx.emit(Noted("before"))
        failure = FAILURES[how]()
        raise failure

    @method
    def tell(self, ctx: Context, times: Count) -> None:
        """Tell so often."""
        self.note.put(Note(times), ctx.member)
        for _ in range(times):
            ctx.emit(Noted("x"))


def probed() -> tuple[Contract, ...]:
    return *assemble(), Probe()


@pytest.fixture
def probe() -> Consortium:
    names = ("probe", "members", "assets", "transfers", "blacklist")
    return Consortium(make_genesis(contracts=tuple((name, 0) for name in names)), contracts=probed)


def contract_of(world: World) -> Any:
    return world.ledger._runner.contracts["probe"]


@pytest.mark.parametrize("how", ["crash", "key", "zero", "value"])
@pytest.mark.evidence(
    "TX5", asset="availability", threat="a fault in a contract", mitigation="rolled back and alarmed"
)
def test_a_contract_that_raises_is_a_refusal_and_an_alarm_and_the_chain_goes_on(
    how: str, probe: Consortium
) -> None:
    raw = probe.make(
        "PA", pay("PA/main", "KB/main", 5), op("probe", "fail", how), pay("PA/main", "KB/main", 6)
    )
    fine = probe.make("PA", pay("PA/main", "KB/main", 7))
    finalized = probe.finalize(raw, fine)
    fault, good = finalized.outcomes
    assert is_refused(fault, LedgerError.CONTRACT_FAULT)
    assert isinstance(fault, Receipt)
    assert (fault.failed_operation, fault.events) == (2, ())
    assert isinstance(good, Receipt)
    assert good.code == 0
    (alarm,) = finalized.alarms
    assert "contract fault in probe" in alarm
    assert fault.tx_id.hex() in alarm
    assert type(FAILURES[how]()).__name__ in alarm
    probe.height += 1
    probe.commit(finalized)
    assert probe.balance("KB/main") == (507, 0)
    assert probe.rows("probe", "note") == {}
    check_ledger(probe.blocks(), probe.genesis, assemble=probed)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("invariant", InvariantViolated),
        ("store", DiskFailed),
        ("recursion", RecursionError),
        ("memory", MemoryError),
        ("interrupt", KeyboardInterrupt),
    ],
)
def test_what_says_that_the_node_is_not_sound_passes_through(
    how: str, expected: type[BaseException], probe: Consortium
) -> None:
    fine = probe.make("PA", pay("PA/main", "KB/main", 7))
    with pytest.raises(expected):
        probe.finalize(fine, probe.make("PA", op("probe", "fail", how)))
    contract_of(probe).fail_on_block = how
    with pytest.raises(expected):
        probe.finalize(fine)
    contract_of(probe).fail_on_block = ""
    (outcome,) = probe.block(fine)
    assert isinstance(outcome, Receipt)
    assert outcome.code == 0
    assert probe.balance("KB/main") == (507, 0)
    check_ledger(probe.blocks(), probe.genesis, assemble=probed)


def test_a_run_that_failed_cannot_be_committed(probe: Consortium) -> None:
    probe.finalize(probe.make("PA", pay("PA/main", "KB/main", 7)))
    with pytest.raises(DiskFailed):
        probe.finalize(probe.make("PA", pay("PA/main", "KB/main", 8), op("probe", "fail", "store")))
    with pytest.raises(InvariantViolated, match="nothing is finalized"):
        probe.ledger.commit()


@pytest.mark.parametrize("how", ["crash", "refuse"])
def test_scheduled_work_that_fails_is_undone_and_the_other_contracts_do_theirs(
    how: str, probe: Consortium
) -> None:
    contract_of(probe).fail_on_block = how
    finalized = probe.finalize(time_ms=START_MS + probe.HOLD_MS)
    assert len(finalized.alarms) == 1
    probe.height += 1
    probe.commit(finalized)
    system: Receipt = codec.decoder(Receipt)(probe.blocks()[-1].receipts[0])
    assert [event for event, _ in told(system)] == ["transfers.Expired"] * 5
    assert probe.rows("probe", "note") == {}
    quiet = probe.finalize(time_ms=START_MS + probe.HOLD_MS + STEP_MS)
    assert quiet.record is None


def test_as_many_events_as_a_receipt_may_hold_and_not_one_more(probe: Consortium) -> None:
    receipt = probe.apply("PA", op("probe", "tell", EVENTS_MAX - 1), op("probe", "tell", 1))
    assert len(receipt.events) == EVENTS_MAX
    before = probe.state()
    receipt = probe.send("PA", op("probe", "tell", EVENTS_MAX), op("probe", "tell", 1))
    assert is_refused(receipt, LedgerError.TOO_MANY_EVENTS)
    assert receipt.failed_operation == 2
    assert probe.state() == before


# --- repeated and abandoned runs ----------------------------------------------------------------------------


def test_a_run_repeated_or_abandoned_leaves_no_trace(world: Consortium) -> None:
    items = tuple(
        world.make("PA", operation)
        for operation in (
            pay("PA/main", "KB/main", 300),
            op("transfers", "void", *world.holds["pending"]),
            op("assets", "open_accounts", ("PA/new",)),
            pay("PA/main", "PA/new", 900),
            op("members", "set_policy", ()),
            op("blacklist", "list_party", bytes(32), "fraud", bytes(32), START_MS + 10**8),
        )
    )
    later = START_MS + world.HOLD_MS
    first = world.finalize(*items)
    for order in (items[::-1], items[:2], (), (b"junk", *items[3:])):
        world.finalize(*order)
        world.finalize(time_ms=later)
    assert world.finalize(*items) == first
    fresh = World(world.genesis, store=world.store)
    fresh.height = world.height
    assert fresh.finalize(*items) == first
    world.height += 1
    world.commit(first)
    check_ledger(world.blocks(), world.genesis)


def test_a_block_is_committed_once_and_only_after_it_ran(world: Consortium) -> None:
    with pytest.raises(InvariantViolated, match="nothing is finalized"):
        world.ledger.commit()
    world.apply("PA", pay("PA/main", "KB/main", 1))
    with pytest.raises(InvariantViolated, match="nothing is finalized"):
        world.ledger.commit()


def test_the_certificate_is_kept_beside_the_block(world: Consortium) -> None:
    world.finalize(world.make("PA", pay("PA/main", "KB/main", 1)))
    world.ledger.commit(b"signature")
    world.store.sync()
    assert world.store.block(world.height + 1) == replace(
        world.store.block(world.height + 1) or world.blocks()[-1], certificate=b"signature"
    )


def test_an_id_spent_in_a_staged_block_is_spent_before_it_is_durable(world: Consortium) -> None:
    raw = world.make("PA", pay("PA/main", "KB/main", 1))
    world.finalize(raw)
    world.ledger.commit()
    again = world.ledger.finalize_block(Block(world.height + 2, world.time_ms + 1, (raw,)))
    (outcome,) = again.outcomes
    assert is_discarded(outcome, LedgerError.DUPLICATE)
    assert isinstance(outcome, Discarded)
    assert outcome.spent is not None
    assert outcome.spent.height == world.height + 1


def test_readers_see_durable_blocks_only(world: Consortium) -> None:
    world.finalize(world.make("PA", pay("PA/main", "KB/main", 1)))
    world.ledger.commit()
    world.ledger.publish()
    assert world.balance("KB/main") == (500, 0)
    world.store.sync()
    assert world.balance("KB/main") == (500, 0)
    world.ledger.publish()
    assert world.balance("KB/main") == (501, 0)


def test_a_store_that_fails_to_stage_leaves_the_ledger_where_it_was(
    world: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = world.make("PA", pay("PA/main", "KB/main", 1))
    info = world.ledger.info()
    world.finalize(raw)

    def fail(*_: object) -> None:
        raise DiskFailed("disk")

    with monkeypatch.context() as patch:
        patch.setattr(MemoryStore, "stage", fail)
        with pytest.raises(DiskFailed):
            world.ledger.commit()
    assert world.ledger.info() == info
    assert [refusal(outcome) for outcome in world.block(raw)] == [("", 0)]
    assert world.balance("KB/main") == (501, 0)
    check_ledger(world.blocks(), world.genesis)


@pytest.mark.parametrize(("short", "fit"), [(0, 2), (1, 1)])
def test_a_block_may_be_full_to_the_last_unit_of_work(short: int, fit: int, world: Consortium) -> None:
    items = [world.make("PA", pay("PA/main", "KB/main", 1)) for _ in range(2)]
    work = sum(parse(raw, world.ledger.chain).work for raw in items)
    limits = changed(LIMITS, block_work_max=work - short)
    world.ledger.genesis = changed(world.genesis, limits=limits)
    assert sum(isinstance(outcome, Receipt) for outcome in world.block(*items)) == fit
