"""What custody weighs: a deal by both its legs, a draft by all that it would run, and nothing that it cannot
look up; and with which certificate each decision was made.
"""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from contracts.approvals import Approvals
from contracts.settlement import Settlement
from node.engine import weighing
from node.engine.custody import Desk
from node.keys.audit import verify
from node.keys.custody import CustodyError, KnownCaller, content_hash
from node.keys.custody_policy import Facts
from node.ledger.errors import LedgerError, Rejected
from node.ledger.types import Operation
from tests.contracts.market import Market, dealt, offer, offered, take
from tests.contracts.refusals_approvals import draft
from tests.contracts.refusals_governance import content_hash as drafted_hash
from tests.custody_kit import BOB, CAROL, MARY, ROOT, Bank, refused, settled
from tests.kit import fields_of, op, pay

pytestmark = pytest.mark.asyncio

POLICY = """
version = 1
member = "PA"
time_zone = "UTC"
[[rule]]
name = "small"
methods = ["transfers.send", "trading.*", "settlement.*"]
asset = "CZK"
amount_below = 100
approve = []
[[rule]]
name = "large"
methods = ["transfers.send", "trading.*", "settlement.*"]
asset = "CZK"
amount_from = 100
approve = [{ count = 2, of = ["bob", "carol", "dave"] }]
[[rule]]
name = "few bonds"
methods = ["trading.*", "settlement.*"]
asset = "BOND"
amount_below = 20
approve = []
[[rule]]
name = "bonds"
methods = ["trading.*", "settlement.*"]
asset = "BOND"
amount_from = 20
approve = [{ count = 1, of = ["bob", "carol", "dave"] }]
[[rule]]
name = "drafts"
methods = ["approvals.*"]
approve = []
"""


@pytest.mark.evidence(
    "CUS6",
    asset="balances",
    threat="a payment is asked for as a deal or a draft",
    mitigation="weights that are looked up in the ledger",
)
async def test_a_deal_and_a_draft_are_weighed_like_a_payment(tmp_path: Path) -> None:
    world = Market()
    wanted = offered(world, "KB", "buy", price=25)
    deal, large = dealt(world, lots=4, price=25), pay("PA/main", "KB/main", 150)
    world.apply("PA", draft((large,)))
    approval = op("approvals", "approve", 1, drafted_hash(large))
    run = op("approvals", "execute", 1, drafted_hash(large))
    cases: list[tuple[Operation, list[str], int]] = [
        (offer("PA", lots=3, price=25), ["small", "few bonds"], 0),
        (offer("PA", lots=4, price=25), ["large", "bonds"], 2),
        (offer("PA", lots=4, price=1), ["small", "bonds"], 1),  # sold too cheaply
        (take("KB", wanted, 4, 100, taker="PA"), ["large", "bonds"], 2),
        (op("settlement", "settle", deal), ["large", "bonds"], 2),
        (op("settlement", "secure", deal), ["large", "bonds"], 2),
        (draft((large,)), ["large", "drafts"], 2),
        (draft((pay("PA/main", "KB/main", 60),) * 2), ["large", "drafts"], 2),
        (draft((offer("PA", lots=4, price=25),)), ["large", "bonds", "drafts"], 2),
        (approval, ["large", "drafts"], 2),
        (run, ["large", "drafts"], 2),
    ]
    bank = Bank(tmp_path / "custody", world, POLICY)
    async with bank.open() as desk:
        for operation, rules, missing in cases:
            ruling = desk.explain(MARY, [operation])
            assert [each.rule for each in ruling.bindings] == rules, operation
            assert (ruling.missing, ruling.uncovered) == (missing, ())
    print(f"payments in another dress: {len(cases)} weighed")


@pytest.mark.evidence(
    "CUS6",
    asset="balances",
    threat="a payment is asked for as a deal or a draft",
    mitigation="weights that are looked up in the ledger",
)
async def test_what_cannot_be_looked_up_or_is_covered_by_no_rule_is_not_signed(tmp_path: Path) -> None:
    world = Market()
    policy = op("members", "set_policy", ())
    number = number_in(world.apply("PA", draft((policy,))))
    tries: list[tuple[Operation, Any]] = [
        (op("settlement", "settle", bytes(32)), Settlement.DEAL_UNKNOWN),
        (op("settlement", "settle_set", bytes(32)), Settlement.SET_UNKNOWN),
        (op("approvals", "approve", 9, bytes(32)), Approvals.DRAFT_UNKNOWN),
        (op("approvals", "execute", 9, bytes(32)), Approvals.DRAFT_UNKNOWN),
        (draft((policy,)), CustodyError.NOT_COVERED),
        (draft((pay("PA/main", "KB/main", 1), policy)), CustodyError.NOT_COVERED),
        (op("approvals", "approve", number, drafted_hash(policy)), CustodyError.NOT_COVERED),
        (op("approvals", "execute", number, drafted_hash(policy)), CustodyError.NOT_COVERED),
        (draft((Operation("transfers", "steal", b"\x90"),)), LedgerError.UNKNOWN_METHOD),
    ]
    bank = Bank(tmp_path / "custody", world, POLICY)
    async with bank.open() as desk:
        for operation, error in tries:
            assert await refused(bank.ask(desk, operation), error)
    assert bank.engine.submitted == []
    print(f"requests that hide what they do: {len(tries)} tried, none passed")


async def test_what_an_audit_line_cannot_tell_of_is_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    world = Market()
    run = (pay("PA/main", "KB/main", 1),) * 100
    number = number_in(world.apply("PA", draft(run)))
    approval = op("approvals", "approve", number, drafted_hash(*run))
    bank = Bank(tmp_path / "custody", world, POLICY)
    async with bank.open() as desk:
        before = bank.log()
        assert await refused(bank.ask(desk, *[approval] * 40), LedgerError.TOO_LARGE)
        assert (bank.log(), desk.all(MARY)) == (before, [])
        assert (await bank.ask(desk, *[approval] * 20)).status == "waiting"
    async with bank.open() as desk:
        assert len(desk.all(MARY)) == 1


async def test_a_request_is_weighed_again_before_it_is_signed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank, weigh = Bank(tmp_path / "custody"), weighing.facts
    async with bank.open() as desk:
        asked = await bank.ask(desk, pay("PA/main", "KB/main", 60))
        assert desk.ruling(asked).missing == 1

        def twice(*given: Any) -> list[Facts]:
            return [replace(each, amount=2 * each.amount) for each in weigh(*given)]

        monkeypatch.setattr(weighing, "facts", twice)
        assert desk.ruling(asked).missing == 2
        assert (await desk.approve(BOB, asked.id, asked.content_hash)).status == "waiting"
        assert bank.engine.submitted == []
        signed = await desk.approve(CAROL, asked.id, asked.content_hash)
        assert (await settled(desk, signed)).status == "applied"
        large = desk.policy.document.rule[1]
        assert desk._sums.before(large, bank.now_ms) == 120
    assert bank.paid == 60
    (line,) = [line for line in map(json.loads, bank.log().splitlines()) if line["kind"] == "signature"]
    assert [each["amount"] for each in line["operations"]] == [120]
    assert (line["rules"], line["totals"]) == (["large"], [120])
    assert line["approvers"] == [{"by": name, "certificate": ""} for name in ("bob", "carol")]


async def test_what_cannot_be_weighed_any_more_is_not_signed_and_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank, weigh = Bank(tmp_path / "custody"), weighing.facts
    async with bank.open() as desk:
        asked, ready = [await bank.ask(desk, pay("PA/main", "KB/main", 20)) for _ in range(2)]
        monkeypatch.setattr(weighing, "facts", _unknown(weigh, 1))
        assert (await desk.approve(BOB, ready.id, ready.content_hash)).status == "waiting"
        monkeypatch.setattr(weighing, "facts", _unknown(weigh, 0))
        late = desk.approve(BOB, asked.id, asked.content_hash)
        assert await refused(late, Settlement.DEAL_UNKNOWN)
        await desk.look()
        assert [desk.get(MARY, each.id).status for each in (asked, ready)] == ["waiting"] * 2
        assert [len(desk.get(MARY, each.id).approvals) for each in (asked, ready)] == [0, 1]
        assert bank.engine.submitted == []
        monkeypatch.setattr(weighing, "facts", weigh)
        await desk.look()
        assert (await settled(desk, ready)).status == "applied"
        assert desk.get(MARY, asked.id).status == "waiting"


async def test_a_deal_that_was_settled_in_part_asks_for_what_is_left_of_it(tmp_path: Path) -> None:
    world = Market()
    deal = dealt(world, lots=4, price=25)
    bank = Bank(tmp_path / "custody", world, POLICY)
    async with bank.open() as desk:
        asked = await bank.ask(desk, op("settlement", "settle", deal))
        assert (asked.status, desk.ruling(asked).missing) == ("waiting", 2)
        world.apply("KB", op("settlement", "settle_partly", deal, 3))
        assert desk.ruling(asked).missing == 0
        assert await refused(desk.approve(BOB, asked.id, asked.content_hash), CustodyError.NOT_APPROVER)
        await desk.look()  # nobody is waited for any more
        assert (await settled(desk, asked)).status == "applied"


def _unknown(weigh: Callable[..., list[Facts]], times: int) -> Callable[..., list[Facts]]:
    """Weighs so many times, and then does not find what the operations are about."""
    left = [None] * times

    def facts(*given: Any) -> list[Facts]:
        if not left:
            raise Rejected(Settlement.DEAL_UNKNOWN)
        left.pop()
        return weigh(*given)

    return facts


def number_in(receipt: Any) -> int:
    """Of the draft that a transaction made."""
    (number,) = [fields_of(event)[1] for event in receipt.events if event.event == "Proposed"]
    return int(number)


@pytest.mark.evidence(
    "CUS8",
    asset="balances",
    threat="an approval outlives the trust in whoever gave it",
    mitigation="revocation lists are looked at before it is signed",
)
async def test_an_approval_whose_certificate_was_revoked_since_counts_for_nothing(tmp_path: Path) -> None:
    bank, revoked = Bank(tmp_path / "custody"), list[str]()
    bob, renewed = (BOB._replace(path=(name, "issuing")) for name in ("bob's", "bob's next"))

    @asynccontextmanager
    async def opened() -> AsyncIterator[Desk]:
        async with bank.open() as desk:
            desk.revokes = lambda path: any(each in revoked for each in path)
            yield desk

    async with opened() as desk:
        asked = await bank.ask(desk, pay("PA/main", "KB/main", 150))
        await desk.approve(bob, asked.id, asked.content_hash)
        revoked.append("bob's")
        made = await desk.approve(CAROL, asked.id, asked.content_hash)
        assert (made.status, desk.ruling(made).missing) == ("waiting", 1)
    async with opened() as desk:
        await desk.look()
        assert desk.get(MARY, asked.id).status == "waiting"
        made = await desk.approve(renewed, asked.id, asked.content_hash)
        assert made.status == "signed"
        assert (await settled(desk, made)).status == "applied"
        other = await bank.ask(desk, pay("PA/main", "KB/main", 150))
        await desk.approve(renewed, other.id, other.content_hash)
        revoked.append("issuing")
        assert (await desk.approve(CAROL, other.id, other.content_hash)).status == "waiting"
    assert bank.paid == 150
    (signature,) = [line for line in map(json.loads, bank.log().splitlines()) if line["kind"] == "signature"]
    assert [each["by"] for each in signature["approvers"]] == ["carol", "bob"]


@pytest.mark.evidence(
    "CUS7",
    asset="the audit log",
    threat="nobody knows with which certificate it was approved",
    mitigation="its SHA-256 in every decision",
)
async def test_every_decision_names_the_certificate_that_it_was_made_with(tmp_path: Path) -> None:
    bank, printed = Bank(tmp_path / "custody"), {"mary": "aa" * 32, "bob": "bb" * 32, "carol": "cc" * 32}
    mary, bob, carol = (
        KnownCaller(who.name, who.member, who.roles, printed[who.name]) for who in (MARY, BOB, CAROL)
    )
    large = pay("PA/main", "KB/main", 150)
    async with bank.open() as desk:
        first = await desk.request(mary, [large], request_id=bytes(16))
        await desk.approve(bob, first.id, first.content_hash)
        assert await refused(desk.approve(bob, first.id, first.content_hash), CustodyError.APPROVED_ALREADY)
        second = await desk.request(mary, [large], request_id=bytes(15) + b"\1")
        await desk.reject(carol, second.id, second.content_hash, "")
        third = await desk.request(mary, [large], request_id=bytes(15) + b"\2")
        await desk.cancel(mary, third.id)
        assert content_hash(first.content) == first.content_hash  # a renewed certificate is no other request
    async with bank.open() as desk:
        (approval,) = desk.get(mary, first.id).approvals
    assert approval.certificate == printed["bob"]
    told = [line for line in map(json.loads, bank.log().splitlines()) if "by" in line]
    assert [(line["kind"], line["certificate"]) for line in told] == [
        (kind, printed[who])
        for kind, who in (
            ("request", "mary"),
            ("approval", "bob"),
            ("refusal", "bob"),
            ("request", "mary"),
            ("rejection", "carol"),
            ("request", "mary"),
            ("cancellation", "mary"),
        )
    ]
    assert verify(bank.folder, ROOT.public_key).problems == ()
