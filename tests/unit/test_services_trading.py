"""TradingService and the register's part of ProductService: who sees which offers, deals and claims, what a
prepared step says, and that the SDK gives back the contracts' own records.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from contracts.servicing import Servicing
from contracts.settlement import Settlement
from contracts.terms import Accrued, Claim
from contracts.trading import Trading
from node.client import BlockingClient, Client
from node.engine.errors import Degraded, NodeError
from node.keys.certificates import Role
from node.ledger import codec
from node.ledger.errors import LedgerError
from node.ledger.types import Event, Transaction
from node.pb.vostro.trading.v1 import trading_pb2 as pb
from node.services.access import ACCESS
from node.services.identity import Identity
from node.services.reading import Reading
from tests.contracts.market import (
    DAY_MS,
    DOCUMENT,
    EXPIRES_MS,
    LEI,
    SECURED,
    TERMS,
    Market,
    announced,
    apply_for,
    cycled,
    dealt,
    made,
    offer,
    offered,
    open_market,
    opened,
    take,
)
from tests.contracts.refusals_trading import UNKNOWN
from tests.contracts.test_cycles import sold
from tests.kit import NO_TERMS, START_MS, fields_of, is_refused, op
from tests.services_kit import DirectEngine, Face, is_code, refused, serving

RECORD_MS = START_MS + 60_000


@pytest_asyncio.fixture
async def face(tmp_path: Path) -> AsyncIterator[Face]:
    async with serving(tmp_path) as served:
        open_market(served.world)
        yield served


@pytest_asyncio.fixture
async def client(face: Face) -> AsyncIterator[Client]:
    async with await Client.connect(f"127.0.0.1:{face.port}") as connected:
        yield connected


def reader(member: str, *roles: Role) -> Identity:
    return Identity(member, frozenset(roles or (Role.READER,)), "")


# --- who sees which offers ----------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_an_offer_is_shown_to_its_maker_and_to_whom_it_is_made(face: Face, client: Client) -> None:
    to_kb, to_all = offered(face.world, audience=("KB",)), offered(face.world, lots=2)
    for member, sees in (("PA", {to_kb, to_all}), ("KB", {to_kb, to_all}), ("CNB", {to_all})):
        found = await client.market.open_offers(member, "BOND")
        assert {named.id for named in found} == sees, member
    request = pb.GetOfferRequest(member="CNB", maker="PA", offer=to_kb)
    hidden = await refused(face.client.trading.GetOffer(request))
    unknown = await refused(
        face.client.trading.GetOffer(pb.GetOfferRequest(member="CNB", maker="PA", offer=UNKNOWN))
    )
    assert is_code(hidden, Trading.OFFER_UNKNOWN)
    assert (hidden.code, hidden.message, dict(hidden.info.metadata)) == (
        unknown.code,
        unknown.message,
        dict(unknown.info.metadata),
    ), "the answer must not tell an offer to others from none"
    assert await client.market.offer("KB", "PA", to_kb) == face.world.record("trading", "offer", "PA", to_kb)
    assert [named.id for named in await client.market.offers("PA")] == sorted((to_kb, to_all))
    assert await client.market.offers("KB") == []


@pytest.mark.asyncio
async def test_open_offers_are_paged_past_those_that_a_member_may_not_see(face: Face, client: Client) -> None:
    for _ in range(3):
        hidden = [offer("PA", lots=1, least=1, audience=("KB",))] * 50
        face.world.apply("PA", *hidden, *[offer("PA", lots=1, least=1)] * 50)
    seen = {member: await client.market.open_offers(member, "BOND") for member in ("KB", "CNB")}
    assert [len(found) for found in seen.values()] == [300, 150]
    assert [named.id for named in seen["KB"]] == sorted(named.id for named in seen["KB"])
    assert all(not named.offer.audience for named in seen["CNB"])


@pytest.mark.asyncio
async def test_a_deal_and_a_set_are_shown_to_their_parties_only(face: Face, client: Client) -> None:
    deal, other = dealt(face.world, conditions=SECURED), dealt(face.world, 1)
    linked = made(face.world.apply("PA", op("settlement", "link", (deal, other))), "Linked")
    assert await client.market.deal("KB", deal) == face.world.record("settlement", "deal", deal)
    assert [named.id for named in await client.market.deals("PA")] == sorted((deal, other))
    assert await client.market.deals("CNB") == []
    assert (await client.market.linked_set("PA", linked)).missing == ("KB",)
    get = face.client.trading
    assert is_code(
        await refused(get.GetDeal(pb.GetDealRequest(member="CNB", deal=deal))), Settlement.DEAL_UNKNOWN
    )
    no_set = pb.GetLinkedSetRequest(member="CNB", set_id=linked)
    assert is_code(await refused(get.GetLinkedSet(no_set)), Settlement.SET_UNKNOWN)


@pytest.mark.asyncio
async def test_a_cycle_is_public_and_a_deal_in_it_its_parties_own(face: Face, client: Client) -> None:
    cycle, deal = opened(face.world, 2), sold(face.world, "PA", "KB", 2, 20)
    cycled(face.world, cycle, deal)
    for member, deals in (("PA", [deal]), ("KB", [deal]), ("CNB", [])):
        found, own = await client.market.cycle(member, cycle)
        assert (found.model, found.deals, found.status) == (2, 1, "open")
        assert [named.id for named in own] == deals
    assert [named.id for named in await client.market.cycles()] == [cycle]


@pytest.mark.evidence(
    "RD1", asset="confidentiality", threat="reading what is another's", mitigation="reading rules"
)
def test_events_of_offers_and_deals_reach_whom_they_concern_and_nobody_else() -> None:
    world = Market()
    reading = Reading(world.ledger, world.store, DirectEngine(world))
    crowd = ("KB", "CNB", "REG")
    receipts = {
        "to all": world.apply("PA", offer("PA")),
        "to three": world.apply("PA", offer("PA", audience=crowd)),
    }
    found = offered(world, lots=4, least=1, audience=("KB",))
    receipts["taken"] = world.apply("KB", take("PA", found, 4, 80))
    deal = made(receipts["taken"], "Agreed")
    receipts["asked"] = world.apply("PA", op("settlement", "cancel", deal, ""))
    told: dict[tuple[str, str], set[str]] = {}
    for name, receipt in receipts.items():
        for event in receipt.events:
            for member in ("PA", *crowd, "LAW"):
                shown = reading.shown(reader(member), reading.parties(event), "")
                assert shown.at_all == shown.whole
                if shown.whole:
                    told.setdefault((name, event.event), set()).add(member)
    everybody = {"PA", *crowd, "LAW"}
    assert told == {
        ("to all", "Offered"): everybody,
        ("to three", "Offered"): everybody - {"LAW"},
        ("taken", "OfferTaken"): {"PA", "KB"},
        ("taken", "OfferEnded"): {"PA", "KB"},
        ("taken", "Agreed"): {"PA", "KB"},
        ("asked", "CancelAsked"): {"PA", "KB"},
    }


def test_a_member_whose_name_is_an_assets_sees_no_more_of_its_deals() -> None:
    world = Market()
    world.admit("BOND")
    reading = Reading(world.ledger, world.store, DirectEngine(world))
    found = offered(world, audience=("KB",))
    receipt = world.apply("KB", take("PA", found, 6, 120))
    events: tuple[Event, ...] = receipt.events
    assert events
    assert not any(reading.shown(reader("BOND"), reading.parties(event), "").at_all for event in events)


@pytest.mark.evidence(
    "RD1", asset="confidentiality", threat="reading what is another's", mitigation="reading rules"
)
def test_rows_of_trading_ask_for_the_members_own_certificate() -> None:
    world = Market()
    world.admit("LAWYER", "regulator")
    reading = Reading(world.ledger, world.store, DirectEngine(world))
    requests: dict[str, Any] = {
        "GetOffer": pb.GetOfferRequest(member="PA"),
        "ListOffers": pb.ListOffersRequest(member="PA"),
        "ListOpenOffers": pb.ListOpenOffersRequest(member="PA"),
        "GetDeal": pb.GetDealRequest(member="PA"),
        "ListDeals": pb.ListDealsRequest(member="PA"),
        "GetLinkedSet": pb.GetLinkedSetRequest(member="PA"),
        "GetCycle": pb.GetCycleRequest(member="PA"),
        "PrepareStep": pb.PrepareStepRequest(member="PA"),
    }
    tried = 0
    for name, request in requests.items():
        row = ACCESS[f"/vostro.trading.v1.TradingService/{name}"]
        assert row.ask is not None
        for identity, allowed in (
            (reader("PA"), True),
            (reader("PA", Role.MAKER), True),
            (reader("KB"), False),
            (reader("LAWYER", Role.REGULATOR), True),
            (reader("KB", Role.REGULATOR), False),
        ):
            tried += 1
            with nullcontext() if allowed else pytest.raises(Degraded, match="NOT_PERMITTED"):
                row.ask(reading, identity, request)
    print(f"trading: {tried} probes of {len(requests)} RPCs")
    assert tried == 40


# --- preparing ----------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_deal_is_made_and_settled_from_prepared_bodies(face: Face) -> None:
    world, stub = face.world, face.client.trading

    async def step(member: str, **chosen: Any) -> Any:
        chosen["request_id"] = world.new_request_id()
        answer = await stub.PrepareStep(pb.PrepareStepRequest(member=member, **chosen))
        assert answer.required_officers == 1
        signed = world.sign(answer.transaction, *world.officers[member])
        (outcome,) = world.block(signed)
        assert getattr(outcome, "code", -1) == 0, outcome
        return outcome, answer.amount

    accounts = {bank: pb.Accounts(asset=f"{bank}/main") for bank in ("PA", "KB")}
    conditions = pb.Conditions(due_ms=EXPIRES_MS + 1, buy_in_ms=EXPIRES_MS + 1, partial=True)
    terms: dict[str, Any] = {"asset": "BOND", "lot": 5, "lots": 4, "against": "CZK", "expires_ms": EXPIRES_MS}
    asked = pb.Offer(side="sell", accounts=accounts["PA"], conditions=conditions, **terms)
    request, _ = await step("PA", make_offer=pb.MakeOffer(offer=asked))
    root = made(request, "Offered")
    quote = pb.Answer(maker="PA", offer=root, lots=4, price=21, accounts=accounts["KB"])
    answered, _ = await step("KB", answer=quote)
    taking = pb.Take(maker="KB", offer=made(answered, "Offered"), lots=3, accounts=accounts["PA"])
    taken, amount = await step("PA", take=taking)
    assert amount == 63
    deal = made(taken, "Agreed")
    await step("KB", settle=pb.Settle(deal=deal, lots=1))
    await step("PA", settle=pb.Settle(deal=deal))
    assert (world.balance("KB/main", "BOND")[0], world.balance("KB/main")[0]) == (55, 437)
    await step("PA", cancel_offer=root)
    assert world.record("trading", "offer", "PA", root).status == "cancelled"


@pytest.mark.asyncio
async def test_a_step_that_cannot_be_is_refused_before_anybody_signs(face: Face) -> None:
    stub = face.client.trading
    nothing = await refused(stub.PrepareStep(pb.PrepareStepRequest(member="PA")))
    assert is_code(nothing, NodeError.BAD_REQUEST)
    unseen = pb.Take(maker="PA", offer=offered(face.world, audience=("KB",)), lots=1)
    refusal = await refused(stub.PrepareStep(pb.PrepareStepRequest(member="CNB", take=unseen)))
    assert is_code(refusal, Trading.OFFER_UNKNOWN)
    sideways = pb.MakeOffer(offer=pb.Offer(side="both"))
    refusal = await refused(stub.PrepareStep(pb.PrepareStepRequest(member="PA", make_offer=sideways)))
    assert is_code(refusal, LedgerError.BAD_ARGUMENTS)
    settle = pb.Settle(deal=UNKNOWN)
    fixed = pb.PrepareStepRequest(member="PA", settle=settle, request_id=b"\x01\x02", valid_until_ms=5)
    assert is_code(await refused(stub.PrepareStep(fixed)), NodeError.BAD_REQUEST)
    answer = await stub.PrepareStep(pb.PrepareStepRequest(member="PA", settle=settle, valid_until_ms=5))
    body: Transaction = codec.decoder(Transaction)(answer.transaction)
    assert (body.member, body.valid_until_ms, body.operations[0].method) == ("PA", 5, "settle")


# --- the register -------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_the_register_is_read_as_the_contracts_keep_it(face: Face, client: Client) -> None:
    world, market = face.world, client.market
    assert await market.entry("BOND") == world.record("registration", "entry", "BOND")
    assert await market.application("BOND") == world.record("registration", "application", "BOND")
    world.apply("CNB", apply_for("NEXT", isin="", lei=LEI, terms_hash=NO_TERMS))
    assert [(row.asset, row.application.status) for row in await market.applications()] == [
        ("NEXT", "submitted")
    ]
    world.apply("REG", op("registration", "impose", "BOND", "A-1", "LAW", DOCUMENT))
    (order,) = await market.orders("BOND")
    assert (order.reference, order.order) == ("A-1", world.record("registration", "order", "BOND", "A-1"))
    assert (await market.entry("BOND")).terms == TERMS


@pytest.mark.asyncio
async def test_what_an_issuer_owes_is_public_and_who_is_owed_is_not(face: Face, client: Client) -> None:
    world, market = face.world, client.market
    announced(world, record_ms=RECORD_MS)
    world.block(time_ms=RECORD_MS)
    world.apply("CNB", op("servicing", "fix", "BOND", 1, ("PA/main", "KB/main")))
    world.apply("CNB", op("servicing", "pay", "BOND", 1, "CNB/main", "CNB/main", ("PA/main",)))
    (action,) = await market.actions("BOND")
    assert (action.action.owed, action.action.paid, action.action.claims) == (250, 150, 1)
    claims = await market.claims("BOND", 1)
    assert [(row.account, row.claim.amount, row.claim.status) for row in claims] == [
        ("KB/main", 100, "unpaid"),
        ("PA/main", 150, "paid"),
    ]
    assert await market.claim("KB/main", "BOND", 1) == Claim(40, 100, "unpaid")
    reading = Reading(world.ledger, world.store, DirectEngine(world))
    for member, allowed in (("CNB", True), ("PA", False)):
        if allowed:
            reading.check_issuer(reader(member), "BOND")
        else:
            with pytest.raises(Degraded):
                reading.check_issuer(reader(member), "BOND")


@pytest.mark.asyncio
async def test_what_a_single_holder_has_is_told_to_nobody_piece_by_piece(face: Face, client: Client) -> None:
    world, market = face.world, client.market
    announced(world, record_ms=RECORD_MS)
    world.block(time_ms=RECORD_MS)
    named = op("servicing", "fix", "BOND", 1, ("PA/main",))
    assert is_refused(world.send("KB", named), Servicing.NOT_ITS_HOLDERS)
    receipts = [world.apply("PA", named)]
    (halfway,) = await market.actions("BOND")
    assert (halfway.action.fixed, halfway.action.owed, halfway.action.claims) == (0, 0, 0)
    receipts.append(world.apply("CNB", op("servicing", "fix", "BOND", 1, ("KB/main",))))
    (whole,) = await market.actions("BOND")
    assert (whole.action.fixed, whole.action.owed, whole.action.claims) == (100, 250, 2)
    reading = Reading(world.ledger, world.store, DirectEngine(world))
    for receipt in receipts:
        (event,) = [told for told in receipt.events if told.event == "HoldersFixed"]
        assert 60 not in fields_of(event)
        assert 40 not in fields_of(event)
        told = reading.parties(event)
        assert told.members == {"CNB"}
        assert not told.shared
        with pytest.raises(Degraded):
            reading.check_transaction(reader("REG"), "PA", receipt.events)
    with pytest.raises(Degraded):
        reading.check_query(reader("PA"), "servicing", "get_found", {"asset": "BOND", "number": 1})


@pytest.mark.asyncio
async def test_interest_is_told_until_any_time(client: Client) -> None:
    found = await client.market.accrued("PA/main", "BOND", START_MS + 36 * DAY_MS)
    assert found == Accrued("CZK", 30, 36)
    assert (await client.market.accrued("PA/main", "BOND")).days == 0


@pytest.mark.asyncio
async def test_programs_without_asyncio_read_the_market_too(face: Face) -> None:
    found = offered(face.world)

    def read() -> list[Any]:
        with BlockingClient.connect(f"127.0.0.1:{face.port}") as client:
            return client.market(lambda market: market.open_offers("KB", "BOND"))

    assert [named.id for named in await asyncio.to_thread(read)] == [found]
