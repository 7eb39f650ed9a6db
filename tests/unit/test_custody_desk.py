"""The custody desk: from a request to a payment, every way around the policy that we know of, and that what
was answered is never lost.
"""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from node.engine.custody import Desk
from node.engine.engine import Outcome
from node.engine.errors import NodeError
from node.keys import custody_books
from node.keys.audit import verify
from node.keys.custody import CustodyError, KnownCaller, Request
from node.keys.custody_queue import QueueDamaged
from node.keys.pkcs11 import TokenUnavailable
from node.keys.signer import Ed25519Signer, SignerUnavailable
from node.ledger.errors import LedgerError
from node.ledger.transactions import parse
from node.ledger.types import Operation
from tests.custody_kit import (
    BOB,
    CAROL,
    DAVE,
    MARY,
    ROOT,
    Bank,
    caller,
    refused,
    settled,
)
from tests.kit import Consortium, new_key, officer, op, pay

pytestmark = pytest.mark.asyncio
MINUTE = 60_000


def kinds(bank: Bank) -> list[str]:
    return [json.loads(line)["kind"] for line in bank.log().splitlines()]


async def test_a_request_is_approved_signed_and_applied_and_every_step_is_on_record(tmp_path: Path) -> None:
    bank = Bank(tmp_path / "custody")
    async with bank.open() as desk:
        asked = await bank.ask(desk, reference="invoice 7")
        assert (asked.status, bank.engine.submitted) == ("waiting", [])
        bank.pass_time(30)
        made = await desk.approve(BOB, asked.id, asked.content_hash)
        assert made.status == "signed"
        done = await settled(desk, asked)
    assert (done.status, bank.paid, bank.engine.submitted) == ("applied", 50, [made.signed])
    candidate = parse(made.signed, bank.world.ledger.chain)
    assert candidate.created_ms == bank.now_ms  # of the last approval, not of the request
    assert candidate.tx_id == done.tx_id
    assert kinds(bank) == ["opened", "request", "approval", "signature", "submission", "outcome"]
    assert verify(bank.folder, ROOT.public_key).problems == ()


async def test_what_needs_no_approval_is_signed_at_once_and_a_refusal_of_the_ledger_is_told(
    tmp_path: Path,
) -> None:
    bank = Bank(tmp_path / "custody")
    async with bank.open() as desk:
        opened = await settled(desk, await bank.ask(desk, op("assets", "open_accounts", ("PA/new",))))
        again = await settled(desk, await bank.ask(desk, op("assets", "open_accounts", ("PA/new",))))
    assert (opened.status, again.status) == ("applied", "refused")
    assert (again.outcome.codespace, again.outcome.code > 0) == ("assets", True)


async def test_a_no_a_withdrawal_and_time_end_a_request(tmp_path: Path) -> None:
    bank = Bank(tmp_path / "custody")
    async with bank.open() as desk:
        first, second, third = [await bank.ask(desk) for _ in range(3)]
        assert (await desk.reject(CAROL, first.id, first.content_hash, "wrong month")).status == "rejected"
        assert (await desk.cancel(MARY, second.id)).status == "cancelled"
        bank.now_ms += 600 * MINUTE
        await desk.look()
        assert desk.get(MARY, third.id).status == "expired"
        for each in (first, second, third):
            await refused(desk.approve(BOB, each.id, each.content_hash), CustodyError.NOT_WAITING)
    assert bank.engine.submitted == []
    assert "wrong month" not in bank.log()


async def test_the_same_request_again_is_the_one_that_there_is(tmp_path: Path) -> None:
    bank, name = Bank(tmp_path / "custody"), bytes(15) + b"\7"
    async with bank.open() as desk:
        first = await bank.ask(desk, request_id=name)
        bank.now_ms += MINUTE
        assert await bank.ask(desk, request_id=name) == first
        other = bank.ask(desk, pay("PA/main", "KB/main", 51), request_id=name)
        assert await refused(other, CustodyError.ID_TAKEN)
    assert kinds(bank).count("request") == 1


# --- ways around ------------------------------------------------------------------------------------------


async def bypass_split(bank: Bank, desk: Desk) -> int:
    """Amounts that would need two people, in parts that would need one each, one after the other."""
    tried = 0
    for _ in range(8):
        asked = await bank.ask(desk, pay("PA/main", "KB/main", 33))
        made = await desk.approve(BOB, asked.id, asked.content_hash)
        if made.status == "signed":
            await settled(desk, made)
        else:
            assert await refused(
                desk.approve(BOB, asked.id, asked.content_hash), CustodyError.APPROVED_ALREADY
            )
        tried += 1
        bank.now_ms += 1_000
    assert bank.paid == 3 * 33  # below 100
    return tried


async def bypass_split_at_once(bank: Bank, desk: Desk) -> int:
    """The same, asked for and approved at the same time."""
    asked = [await bank.ask(desk, pay("PA/main", "KB/main", 60)) for _ in range(8)]
    made = await asyncio.gather(*(desk.approve(BOB, each.id, each.content_hash) for each in asked))
    for each in made:
        if each.status == "signed":
            await settled(desk, each)
    assert sum(each.status == "signed" for each in made) == 1
    assert bank.paid == 60
    return len(asked)


async def bypass_changed_body(bank: Bank, desk: Desk) -> int:
    """Another content under an approved id, and the approval of one content for another."""
    asked, bigger = await bank.ask(desk, pay("PA/main", "KB/main", 150)), pay("PA/main", "KB/main", 999)
    await desk.approve(BOB, asked.id, asked.content_hash)
    variants: list[dict[str, Any]] = [
        {"operations": (bigger,)},
        {"operations": (*asked.content.operations, bigger)},
        {"operations": (pay("PA/main", "CNB/main", 150),)},
        {"reference": "other"},
        {"life_ms": 1},
    ]
    for change in variants:
        given = {"operations": asked.content.operations, "request_id": asked.id, **change}
        assert await refused(desk.request(MARY, **given), CustodyError.ID_TAKEN)
    for position in range(0, 256, 4):
        flipped = bytearray(asked.content_hash)
        flipped[position // 8] ^= 1 << position % 8
        assert await refused(desk.approve(CAROL, asked.id, bytes(flipped)), CustodyError.OTHER_CONTENT)
    assert desk.get(MARY, asked.id).status == "waiting"
    return len(variants) + 64


async def bypass_own(bank: Bank, desk: Desk) -> int:
    """The maker approves, under every certificate and spelling that is one person."""
    asker = KnownCaller("Bob", "PA", ("maker", "checker"))
    asked = await desk.request(asker, [pay("PA/main", "KB/main", 50)], request_id=bank.new_id())
    names = ("Bob", "bob", " BOB ", "b\uff4fb", "Bob\u00a0")
    for name in names:
        assert await refused(
            desk.approve(caller(name, "checker"), asked.id, asked.content_hash), CustodyError.OWN_REQUEST
        )
    return len(names)


async def bypass_expired_approval(bank: Bank, desk: Desk) -> int:
    """An approval that is too old counts for nothing when the second one comes."""
    asked = await bank.ask(desk, pay("PA/main", "KB/main", 150))
    await desk.approve(BOB, asked.id, asked.content_hash)
    bank.now_ms += 60 * MINUTE
    made = await desk.approve(CAROL, asked.id, asked.content_hash)
    assert made.status == "waiting"
    bank.now_ms += 540 * MINUTE
    assert await refused(desk.approve(DAVE, asked.id, asked.content_hash), CustodyError.DEAD)
    return 2


async def bypass_replay(bank: Bank, desk: Desk) -> int:
    """An approval again: of the same request, for a like one, after it was paid, and of one taken back."""
    first, second = [await bank.ask(desk, pay("PA/main", "KB/main", 150)) for _ in range(2)]
    assert first.content_hash != second.content_hash
    await desk.approve(BOB, first.id, first.content_hash)
    assert await refused(desk.approve(BOB, first.id, first.content_hash), CustodyError.APPROVED_ALREADY)
    assert await refused(desk.approve(BOB, second.id, first.content_hash), CustodyError.OTHER_CONTENT)
    paid = await settled(desk, await desk.approve(CAROL, first.id, first.content_hash))
    assert await refused(desk.approve(DAVE, paid.id, paid.content_hash), CustodyError.NOT_WAITING)
    await desk.cancel(MARY, second.id)
    third = await bank.ask(desk, pay("PA/main", "KB/main", 150))
    assert await refused(desk.approve(BOB, third.id, second.content_hash), CustodyError.OTHER_CONTENT)
    return 4


async def bypass_one_person_twice(bank: Bank, desk: Desk) -> int:
    """Two certificates of one name are one person, on two requests of the same maker, too."""
    asked = await bank.ask(desk, pay("PA/main", "KB/main", 150))
    await desk.approve(BOB, asked.id, asked.content_hash)
    names = ("bob", "Bob", "BOB", " bob", "bob ", "\uff42\uff4f\uff42")
    for name in names:
        again = desk.approve(caller(name, "checker", "auditor"), asked.id, asked.content_hash)
        assert await refused(again, CustodyError.APPROVED_ALREADY)
    return len(names)


async def bypass_strangers(bank: Bank, desk: Desk) -> int:
    """Whoever has no role, no name, another member, or no place in a rule; and makers who are none."""
    asked = await bank.ask(desk)
    nobody = [
        (caller("bob", "maker", "operator"), CustodyError.NOT_CHECKER),
        (caller("bob", "checker", member="KB"), CustodyError.NOT_OWN_MEMBER),
        (caller("bob", "checker", member=""), CustodyError.NOT_IDENTIFIED),
        (caller("", "checker"), CustodyError.NOT_IDENTIFIED),
        (caller("The node itself", "checker"), CustodyError.NOT_IDENTIFIED),
        (caller("x" * 65, "checker"), CustodyError.NOT_IDENTIFIED),
        (caller("eve", "checker"), CustodyError.NOT_APPROVER),
    ]
    for who, error in nobody:
        assert await refused(desk.approve(who, asked.id, asked.content_hash), error)
    checker = desk.request(BOB, asked.content.operations, request_id=bank.new_id())
    assert await refused(checker, CustodyError.NOT_MAKER)
    other_maker = caller("max", "maker")
    assert await refused(desk.cancel(other_maker, asked.id), CustodyError.NOT_OWN_REQUEST)
    assert await refused(desk.approve(BOB, bytes(16), asked.content_hash), CustodyError.REQUEST_UNKNOWN)
    return len(nobody) + 3


async def test_one_maker_may_not_take_all_places_of_what_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(custody_books, "WAITING_MAX", 30)
    bank = Bank(tmp_path / "custody")
    async with bank.open() as desk:
        mine = [await bank.ask(desk) for _ in range(3)]
        assert await refused(bank.ask(desk), CustodyError.TOO_MANY_OF_MAKER)
        same, other = [pay("PA/main", "KB/main", 1)], caller("max", "maker")
        spelled = desk.request(caller(" MARY", "maker"), same, request_id=bank.new_id())
        assert await refused(spelled, CustodyError.TOO_MANY_OF_MAKER)
        assert (await desk.request(other, same, request_id=bank.new_id())).status == "waiting"
        await desk.cancel(MARY, mine[0].id)
        assert (await bank.ask(desk)).status == "waiting"
        monkeypatch.setattr(custody_books, "WAITING_MAX", 4)
        assert await refused(bank.ask(desk), CustodyError.TOO_MANY_WAITING)


async def bypass_uncovered(bank: Bank, desk: Desk) -> int:
    """Methods and assets that no rule names, beside ones that are covered."""
    fine, later = pay("PA/main", "KB/main", 1), bank.now_ms + 10**6
    tries: list[tuple[Operation, ...]] = [
        (op("members", "set_policy", ()),),
        (op("members", "revoke_key", officer("PA-officer").key_id),),
        (pay("PA/main", "KB/main", 1, "EUR"),),
        (fine, pay("PA/main", "KB/main", 1, "EUR")),
        (op("transfers", "send_many", "PA/main", "CZK", 1, (("KB/main", 1, ""),), b"", ""),),
        (op("transfers", "reserve", "PA/main", "KB/main", "CZK", 1, later, ""),),
        (op("anchors", "anchor", "custody-audit", 10**9, bytes(32)),),
    ]
    for operations in tries:
        assert await refused(bank.ask(desk, *operations), CustodyError.NOT_COVERED)
    return len(tries)


BYPASSES = {
    "split amounts": bypass_split,
    "split amounts at once": bypass_split_at_once,
    "changed body after approval": bypass_changed_body,
    "approver is the maker": bypass_own,
    "expired approval": bypass_expired_approval,
    "approval replayed": bypass_replay,
    "one person under two certificates": bypass_one_person_twice,
    "strangers": bypass_strangers,
    "not covered": bypass_uncovered,
}


@pytest.mark.parametrize("name", BYPASSES)
@pytest.mark.evidence(
    "CUS1",
    asset="balances",
    threat="the policy is passed by",
    mitigation="all fitting rules bind; sums over a rolling window",
)
async def test_the_policy_cannot_be_passed_by(name: str, tmp_path: Path) -> None:
    bank = Bank(tmp_path / "custody")
    async with bank.open() as desk:
        tried = await BYPASSES[name](bank, desk)
    print(f"{name}: {tried} tried, none passed")
    assert tried
    assert verify(bank.folder, ROOT.public_key).problems == ()


# --- the ledger's own policy, and what may go wrong ---------------------------------------------------------


async def test_the_ledgers_policy_binds_the_node_too_and_is_met_by_keys_of_distinct_holders(
    tmp_path: Path,
) -> None:
    world = Consortium()
    world.admit("TWO", officers=("TWO-1", "TWO-2"))
    world.apply("TWO", op("members", "set_policy", (("*", "*", "", 0, 2),)), officers=("TWO-1", "TWO-2"))
    policy = 'version = 1\nmember = "TWO"\ntime_zone = "UTC"\n'
    policy += '[[rule]]\nname = "all"\nmethods = ["*"]\napprove = []\n'
    maker, accounts = caller("mary", "maker", member="TWO"), [op("assets", "open_accounts", ("TWO/a",))]
    one = Bank(tmp_path / "one", world, policy, ("TWO-1",))
    async with one.open() as desk:
        short = desk.request(maker, accounts, request_id=bytes(16))
        assert await refused(short, CustodyError.KEYS_INSUFFICIENT)
    two = Bank(tmp_path / "two", world, policy, ("TWO-1", "TWO-2"))
    async with two.open() as desk:
        made = await desk.request(maker, accounts, request_id=bytes(16))
        assert (await desk.wait(maker, made.id, 20)).status == "applied"


async def test_a_key_that_was_revoked_or_may_not_sign_for_this_does_not_spoil_what_others_sign(
    tmp_path: Path,
) -> None:
    world = Consortium()
    for name, scopes in (("PA-anchors", ("anchors",)), ("PA-old", ("*",)), ("PA-pay", ("transfers.send",))):
        world.apply("PA", op("members", "register_key", new_key(name, scopes=scopes)))
    world.apply("PA", op("members", "revoke_key", officer("PA-old").key_id))
    bank = Bank(tmp_path / "some", world, keys=("PA-anchors", "PA-old", "PA-pay", "PA-unknown"))
    async with bank.open() as desk:
        asked = await bank.ask(desk)
        done = await settled(desk, await desk.approve(BOB, asked.id, asked.content_hash))
        accounts = bank.ask(desk, op("assets", "open_accounts", ("PA/new",)))
        assert await refused(accounts, CustodyError.KEYS_INSUFFICIENT)
        signed = parse(done.signed, world.ledger.chain).signed
    assert done.status == "applied"
    assert [each.key_id for each in signed.signatures] == [officer("PA-pay").key_id]


async def test_a_token_that_is_away_delays_what_is_approved_and_loses_nothing(tmp_path: Path) -> None:
    bank = Bank(tmp_path / "custody")
    async with bank.open() as desk:
        asked = await bank.ask(desk)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Ed25519Signer, "sign", _away(Ed25519Signer.sign, officer("PA-officer").key_id))
            made = await desk.approve(BOB, asked.id, asked.content_hash)
            await desk.look()
            assert desk.get(MARY, asked.id).status == made.status == "waiting"
        await desk.look()
        assert (await settled(desk, asked)).status == "applied"
    assert bank.paid == 50


async def test_a_missing_token_holds_up_its_own_requests_only(tmp_path: Path) -> None:
    world = Consortium()
    for name, scope in (("PA-token", "transfers"), ("PA-file", "assets"), ("PA-log", "anchors")):
        world.apply("PA", op("members", "register_key", new_key(name, scopes=(scope,))))
    bank = Bank(tmp_path / "custody", world, keys=("PA-token", "PA-file", "PA-log"), anchor_hours=1)
    async with bank.open() as desk:
        payments = [await bank.ask(desk, pay("PA/main", "KB/main", 20)) for _ in range(2)]
        with pytest.MonkeyPatch.context() as patch:
            token = officer("PA-token").key_id
            patch.setattr(Ed25519Signer, "sign", _away(Ed25519Signer.sign, token, TokenUnavailable))
            for each in payments:
                assert (await desk.approve(BOB, each.id, each.content_hash)).status == "waiting"
            await desk.look()
            assert "anchor" in kinds(bank)
            assert not desk.books.is_shut
            accounts = await bank.ask(desk, op("assets", "open_accounts", ("PA/new",)))
            assert (await settled(desk, accounts)).status == "applied"
            assert [desk.get(MARY, each.id).status for each in payments] == ["waiting", "waiting"]
        await desk.look()
        assert [(await settled(desk, each)).status for each in payments] == ["applied", "applied"]
    assert verify(bank.folder, ROOT.public_key).problems == ()


def _away(
    sign: Callable[..., bytes], key_id: bytes, error: type[SignerUnavailable] = SignerUnavailable
) -> Callable[..., bytes]:
    def signed(signer: Ed25519Signer, message: bytes) -> bytes:
        if signer.key_id == key_id:
            raise error("put the token back")
        return sign(signer, message)

    return signed


async def test_the_same_bytes_are_sent_until_they_are_decided_and_dead_is_told(tmp_path: Path) -> None:
    bank = Bank(tmp_path / "custody")
    bank.engine.canned = [Outcome(error=NodeError.OVERLOADED)]
    async with bank.open() as desk:
        asked = await bank.ask(desk)
        made = await desk.approve(BOB, asked.id, asked.content_hash)
        await wait_for(lambda: len(bank.engine.submitted) > 1)
        bank.engine.canned = [Outcome(error=LedgerError.EXPIRED, decided=True)]
        assert (await settled(desk, asked)).status == "dead"
        bank.engine.canned = []
        again = await bank.ask(desk)  # nothing was spent
        assert (
            await settled(desk, await desk.approve(BOB, again.id, again.content_hash))
        ).status == "applied"
    assert set(bank.engine.submitted[:3]) == {made.signed}
    assert bank.paid == 50


async def test_a_caller_who_goes_away_takes_no_approval_with_him(tmp_path: Path) -> None:
    bank = Bank(tmp_path / "custody")
    async with bank.open() as desk:
        asked = await bank.ask(desk, pay("PA/main", "KB/main", 150))
        for who in (BOB, CAROL):
            call = asyncio.create_task(desk.approve(who, asked.id, asked.content_hash))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            call.cancel()
        assert (await settled(desk, asked)).status == "applied"
    assert kinds(bank).count("approval") == 2


@pytest.mark.evidence(
    "CUS3",
    asset="custody's queue",
    threat="an old file is put back",
    mitigation="sequences of the log in every file",
)
async def test_files_that_were_put_back_removed_or_changed_keep_the_books_shut(tmp_path: Path) -> None:
    bank = Bank(tmp_path / "custody")
    async with bank.open() as desk:
        asked = await bank.ask(desk, pay("PA/main", "KB/main", 150))
        path = bank.folder / "queue" / asked.id.hex()
        old = path.read_bytes()
        await desk.approve(BOB, asked.id, asked.content_hash)
    new = path.read_bytes()
    tried = 0
    for content in [new[:-1], new + b"\0", b"", *(_flipped(new, at) for at in range(0, len(new), 7))]:
        path.write_bytes(content)
        with pytest.raises(QueueDamaged):
            bank.books()
        tried += 1
    path.write_bytes(old)  # as a crash leaves it, where it is completed
    books = bank.books()
    assert [each.by for each in books.requests[asked.id].approvals] == ["bob"]
    books.note("opened", bank.now_ms)
    books.close()
    path.write_bytes(old)  # as none does
    with pytest.raises(QueueDamaged):
        bank.books()
    path.unlink()
    with pytest.raises(QueueDamaged):
        bank.books()
    other = bank.folder / "queue" / bytes(16).hex()
    other.write_bytes(new)  # under another name
    with pytest.raises(QueueDamaged):
        bank.books()
    other.rename(path)
    bank.books().close()
    print(f"{tried + 3} wrong files, none was believed")
    assert b"KB/main" not in new


def _flipped(data: bytes, at: int) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1 << at % 8
    return bytes(changed)


async def test_what_ended_long_ago_is_forgotten_and_the_log_goes_on(tmp_path: Path) -> None:
    bank = Bank(tmp_path / "custody")
    async with bank.open() as desk:
        asked: Request = await bank.ask(desk)
        await desk.cancel(MARY, asked.id)
        bank.now_ms += 31 * 24 * 60 * MINUTE
        await desk.look()
        assert await refused(_get(desk, asked.id), CustodyError.REQUEST_UNKNOWN)
    async with bank.open() as desk:
        assert desk.all(MARY) == []
    assert kinds(bank)[-2:] == ["forgotten", "opened"]


async def test_however_many_are_forgotten_at_once_the_log_can_be_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(custody_books, "FORGOTTEN_MAX", 3)
    bank = Bank(tmp_path / "custody")
    async with bank.open() as desk:
        for _ in range(7):
            await desk.cancel(MARY, (await bank.ask(desk)).id)
        bank.now_ms += 31 * 24 * 60 * MINUTE
        await desk.look()
        assert desk.all(MARY) == []
    bank.books().close()
    lines = [json.loads(line) for line in bank.log().splitlines()]
    parts = [len(line["requests"]) for line in lines if line["kind"] == "forgotten"]
    assert parts == [3, 3, 1]
    assert verify(bank.folder, ROOT.public_key).problems == ()


async def wait_for(ready: Callable[[], bool]) -> None:
    """Until something is so; the tests' own deadline bounds it."""
    async with asyncio.timeout(20):
        while not ready():  # noqa: ASYNC110  # what is waited for has no event
            await asyncio.sleep(0.02)


async def _get(desk: Desk, request_id: bytes) -> Request:
    return desk.get(MARY, request_id)
