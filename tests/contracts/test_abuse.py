"""What members might do to others or to all with calls that are each in order: sums that grow, states that
nobody gets out of, rules that are passed by.
"""

from contracts.approvals import Approvals
from contracts.calendars import DAY_MS, MINUTE_MS
from contracts.institutions import Rule
from contracts.instructions import QUEUED_MAX, Limit
from contracts.servicing import Servicing
from contracts.settlement import Settlement
from contracts.terms import Terms
from contracts.vault import HOLDS_MAX, Vault
from node.ledger import codec
from node.ledger.errors import LedgerError
from node.ledger.types import INTEGER_MAX
from tests.contracts.market import (
    BUY_IN_MS,
    CLOSES_MS,
    DOCUMENT,
    DUE_MS,
    RECORD_MS,
    Market,
    all_made,
    apply_for,
    dealt,
    offer,
    opened,
    passes,
    take,
)
from tests.contracts.queue_world import ClearedConsortium, instruct, order
from tests.contracts.refusals_vault import TERMS_SHEET, stored
from tests.kit import Consortium, discarded, fields_of, is_discarded, is_refused, new_key, op

PRICE = 10**18


def test_what_counts_against_a_limit_never_grows_beyond_what_can_be_stored() -> None:
    """Two banks without money set off the most that a queue holds, again and again, for a day."""
    world = ClearedConsortium()
    world.apply("PA", op("participants", "set_limits", "CZK", (Limit("KB", 0),)))
    rounds = 0
    for _ in range(520):
        first = world.make("KB", instruct(order("PA", QUEUED_MAX)))
        second = world.make(
            "PA", instruct(order("KB", QUEUED_MAX)), op("queues", "offset", "CZK", "KB", 1, 1)
        )
        world.block(first, second, time_ms=world.time_ms + 1)
        (cap,) = world.record("participants", "caps", "PA", "CZK").caps
        assert codec.encode(cap)
        assert max(cap.paid, cap.received) <= INTEGER_MAX
        rounds += 1
    print(f"{rounds} offsets of {QUEUED_MAX:,} minor units, {cap.paid:,} counted")
    assert cap.paid == cap.received == INTEGER_MAX


def test_a_cycle_of_deals_worth_more_than_can_be_counted_settles_all_the_same() -> None:
    """Deals that net to nothing between two members, and an honest one in the same cycle."""
    world = Market()
    cycle = opened(world, 3, by="LAW")

    def deals(maker: str, taker: str) -> list[bytes]:
        offered = world.apply(
            maker, *[offer(maker, "sell", lot=1, lots=1, least=1, price=PRICE) for _ in range(10)]
        )
        ids = [fields_of(event)[1] for event in offered.events if event.event == "Offered"]
        return all_made(world.apply(taker, *[take(maker, each, 1, PRICE, taker) for each in ids]), "Agreed")

    entered = [*deals("PA", "KB"), *deals("KB", "PA"), dealt(world)]
    for side in ("PA", "KB"):
        world.apply(side, *[op("cycles", "enter", cycle, deal) for deal in entered])
    passes(world, CLOSES_MS)
    receipt = world.apply(
        "LAW", op("cycles", "settle", cycle), time_ms=world.time_ms + 1, created_ms=CLOSES_MS
    )
    (told,) = [fields_of(event) for event in receipt.events if event.event == "CycleSums"]
    assert told[-2] == INTEGER_MAX
    assert {world.record("settlement", "deal", deal).status for deal in entered} == {"settled"}


def test_a_holder_that_cannot_be_paid_does_not_keep_an_asset_closed_for_ever() -> None:
    world = Consortium()
    world.admit("REG", "registrar")
    world.apply("CNB", apply_for("BOND", terms=Terms("CZK", 1, 0, "ACT/360", 0, 0)))
    world.apply(
        "REG",
        op("registration", "take_up", "BOND"),
        op("registration", "approve", "BOND", DOCUMENT, ""),
    )
    world.apply("CNB", op("assets", "issue", "BOND", "PA/main", 60, ""))
    world.apply("CNB", op("assets", "issue", "BOND", "KB/main", 40, ""))
    world.apply("PA", op("settlement", "secure", dealt(world, lots=2, price=1)))
    world.apply("CNB", op("servicing", "announce", "BOND", "redemption", "CZK", 1, 1, RECORD_MS))
    world.block(time_ms=RECORD_MS)
    world.apply("CNB", op("servicing", "fix", "BOND", 1, ("PA/main", "KB/main")), created_ms=RECORD_MS)
    pay = [
        op("servicing", "pay", "BOND", 1, "CNB/main", "CNB/main", (who,)) for who in ("KB/main", "PA/main")
    ]
    world.apply("CNB", pay[0], created_ms=RECORD_MS)
    assert world.send("CNB", pay[1], created_ms=RECORD_MS).code
    world.apply("CNB", op("servicing", "cancel", "BOND", 1), created_ms=RECORD_MS)
    world.apply("CNB", op("assets", "redeem", "BOND", "CNB/main", 40, ""), created_ms=RECORD_MS)
    assert world.balance("PA/main", "BOND") == (60, 10)
    assert is_refused(
        world.send("CNB", op("servicing", "cancel", "BOND", 1), created_ms=RECORD_MS),
        Servicing.NOT_IN_THIS_STATE,
    )


def test_a_payment_is_weighed_with_what_the_same_transaction_fixes() -> None:
    world = Market()
    world.apply("CNB", op("members", "register_key", new_key("CNB-two")))
    world.apply("CNB", op("members", "set_policy", (Rule("*", "*", "CZK", 2, 2),)))
    both = (*world.officers["CNB"], "CNB-two")
    world.apply("CNB", op("servicing", "announce", "BOND", "coupon", "CZK", 2, 1, RECORD_MS), officers=both)
    world.block(time_ms=RECORD_MS)
    calls = (
        op("servicing", "fix", "BOND", 1, ("PA/main", "KB/main")),
        op("servicing", "pay", "BOND", 1, "CNB/main", "CNB/main", ("PA/main", "KB/main")),
    )
    alone = world.make("CNB", *calls, created_ms=RECORD_MS)
    assert is_discarded(discarded(world, alone), LedgerError.POLICY_NOT_MET)
    drafted = world.send(
        "CNB", op("approvals", "propose", calls, RECORD_MS + 10_000, ""), created_ms=RECORD_MS
    )
    assert drafted.code == 0
    number, content = fields_of(drafted.events[0])[1:3]
    assert is_refused(
        world.send("CNB", op("approvals", "execute", number, content), created_ms=RECORD_MS),
        Approvals.NOT_APPROVED,
    )


def test_a_buyer_does_not_end_a_deal_whose_seller_has_set_aside_what_it_delivers() -> None:
    world = Market()
    earlier = dealt(world, price=20)
    world.apply("KB", op("settlement", "settle", earlier))
    deal = dealt(world, price=1)
    world.apply("PA", op("settlement", "secure", deal))
    world.block(time_ms=DUE_MS)
    ended = world.send(
        "KB", op("settlement", "buy_in", deal, earlier), time_ms=BUY_IN_MS, created_ms=BUY_IN_MS
    )
    assert is_refused(ended, Settlement.REPLACEMENT_UNFIT)


def test_payments_made_at_once_leave_nothing_to_walk_before_an_instruction_that_waits() -> None:
    world = ClearedConsortium()
    for _ in range(3):
        world.apply("PA", instruct(*[order("KB", 1) for _ in range(400)]))
        world.apply("KB", op("transfers", "send", "KB/main", "PA/main", "CZK", 400, "", b"", ""))
    world.apply("PA", instruct(order("KB", 900)))
    world.apply("KB", instruct(order("PA", 900)))
    lane = world.record("participants", "queue", "PA", "CZK").lanes[2]
    assert lane.tail - lane.head == lane.live == 1
    world.apply("KB", op("queues", "offset", "CZK", "PA", 1, 1))
    assert world.record("participants", "queue", "PA", "CZK").lanes[2].live == 0


def test_an_owner_does_not_use_up_the_legal_holds_that_a_regulator_may_need() -> None:
    world = Consortium()
    stored(world)
    imposed = 0
    for number in range(HOLDS_MAX):
        hold = op("vault", "impose_hold", TERMS_SHEET, f"X-{number}")
        lift = op("vault", "lift_hold", TERMS_SHEET, f"X-{number}")
        receipt = world.send("PA", hold, lift)
        imposed += receipt.code == 0
    assert imposed == HOLDS_MAX // 2
    assert is_refused(world.send("PA", op("vault", "impose_hold", TERMS_SHEET, "X")), Vault.TOO_MANY_HOLDS)
    world.apply("LAW", op("vault", "impose_hold", TERMS_SHEET, "C-1"))


def test_a_held_instruction_whose_time_is_over_can_be_taken_back() -> None:
    world = ClearedConsortium()
    latest = world.time_ms % DAY_MS // MINUTE_MS + 2
    until = world.time_ms // DAY_MS * DAY_MS + latest * MINUTE_MS
    world.apply("PA", instruct(order("KB", 10**9, latest=latest)))
    number = world.record("participants", "queue", "PA", "CZK").numbers
    world.apply("PA", op("queues", "hold", "CZK", number))
    world.apply("PA", op("queues", "cancel", "CZK", number), time_ms=until + 1, created_ms=until)
    assert world.record("participants", "queue", "PA", "CZK").aside == 0
