"""CustodyService over gRPC, with the callers that doors would plug in: every call, every refusal of a request
that is malformed, and nobody without a certificate. The command line's policy and audit beside it.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from node.client.custody import Custody
from node.client.errors import Declined
from node.engine.custody import ANCHOR_PURPOSE, Desk
from node.engine.errors import NodeError
from node.keys import audit
from node.keys.custody import Caller, CustodyError
from node.keys.custody_queue import ROOT as ROOT_FILE
from node.keys.custody_queue import load_root
from node.keys.keystore import COST_MIN, PassphraseRefused
from node.ledger import codec
from node.ledger.errors import ErrorCode, LedgerError
from node.pb.vostro.custody.v1 import custody_pb2 as pb
from node.pb.vostro.custody.v1.custody_pb2_grpc import CustodyServiceStub
from tests.custody_kit import BOB, CAROL, MARY, ROOT, WAIT_SECONDS, Bank, caller
from tests.kit import op, pay
from tests.services_kit import is_code, refused, serving

pytestmark = pytest.mark.asyncio


class Doors:
    """Stands for what reads a client's certificate: whoever is at the door."""

    def __init__(self) -> None:
        self.at: Caller = MARY

    def __call__(self, call: Any) -> Caller:
        return self.at


@asynccontextmanager
async def served(bank: Bank, folder: Path) -> AsyncIterator[tuple[Custody, Doors, Desk, grpc.aio.Channel]]:
    doors = Doors()
    async with bank.open() as desk:
        parts: dict[str, Any] = {
            "engine": bank.engine,
            "ledger": bank.world.ledger,
            "blocks": bank.world.store,
        }
        async with serving(folder, **parts, custody=desk, callers=doors) as face:
            yield Custody(face.channel, "node", WAIT_SECONDS), doors, desk, face.channel


async def test_a_payment_goes_from_its_maker_over_two_checkers_to_the_ledger(tmp_path: Path) -> None:
    bank = Bank(tmp_path / "custody")
    async with served(bank, tmp_path) as (custody, doors, _, _):
        name = bytes(15) + b"\5"
        made = await custody.request(
            name, [pay("PA/main", "KB/main", 150)], reference="invoice 7", life_ms=60_000
        )
        assert (made.status, made.maker, made.reference) == ("waiting", "mary", "invoice 7")
        assert made.operations[0][0] == "transfers.send"
        assert json.loads(made.operations[0][1])["amount"] == 150
        assert made.ruling
        assert (made.ruling.missing, made.ruling.may_approve) == (2, ("bob", "carol", "dave"))
        doors.at = BOB
        first = await custody.approve(name, made.content_hash)
        assert first.ruling
        assert (first.status, first.ruling.missing, first.ruling.rules[0].total) == ("waiting", 1, 150)
        assert (await custody.explain(name)) == first.ruling
        doors.at = CAROL
        assert (await custody.approve(name, made.content_hash)).status == "signed"
        done = await custody.show(name, wait_seconds=WAIT_SECONDS)
        assert (done.status, [each.by for each in done.approvals]) == ("applied", ["bob", "carol"])
        assert [each.id for each in await custody.list()] == [name]
        assert await custody.list(open_only=True) == []
        doors.at = MARY
        other = await custody.request(bytes(16), [pay("PA/main", "KB/main", 1)])
        assert (await custody.cancel(bytes(16))).status == "cancelled"
        third = await custody.request(bytes(15) + b"\6", [pay("PA/main", "KB/main", 1)])
        doors.at = BOB
        rejected = await custody.reject(third.id, third.content_hash, "no")
        assert (rejected.status, rejected.closed_by, rejected.reason) == ("rejected", "bob", "no")
        what_if = await custody.explain(operations=[pay("PA/main", "KB/main", 1)], maker="mary")
        assert [rule.rule for rule in what_if.rules] == ["large"]  # 150 were paid today
        assert other.content_hash != third.content_hash
    assert bank.paid == 150


async def test_many_requests_are_listed_page_by_page(tmp_path: Path) -> None:
    bank = Bank(tmp_path / "custody")
    async with served(bank, tmp_path) as (custody, _, _, _):
        names = [number.to_bytes(16, "big") for number in range(120)]
        for name in names:
            await custody.request(name, [pay("PA/main", "KB/main", 1)])
        assert [each.id for each in await custody.list(open_only=True)] == names


NOBODIES: list[tuple[Caller, ErrorCode]] = [
    (caller("", member=""), CustodyError.NOT_IDENTIFIED),
    (caller("local operator", "maker", "checker", member=""), CustodyError.NOT_IDENTIFIED),
    (caller("kate", "maker", "checker", member="KB"), CustodyError.NOT_OWN_MEMBER),
]


async def test_nobody_without_a_certificate_of_the_member_is_told_or_does_anything(tmp_path: Path) -> None:
    bank = Bank(tmp_path / "custody")
    async with served(bank, tmp_path) as (custody, doors, _, channel):
        made = await custody.request(bytes(16), [pay("PA/main", "KB/main", 1)])
        stub: Any = CustodyServiceStub(channel)  # type: ignore[no-untyped-call, unused-ignore]
        tried = 0
        for who, error in NOBODIES:
            doors.at = who
            calls = (
                stub.Approve(pb.ApproveRequest(id=made.id, content_hash=made.content_hash)),
                stub.Reject(pb.RejectRequest(id=made.id, content_hash=made.content_hash)),
                stub.Cancel(pb.CancelRequest(id=made.id)),
                stub.GetRequest(pb.GetRequestRequest(id=made.id)),
                stub.ListRequests(pb.ListRequestsRequest()),
                stub.ExplainPolicy(pb.ExplainPolicyRequest(id=made.id)),
            )
            for call in calls:
                assert is_code(await refused(call), error)
                tried += 1
        print(f"{tried} calls of nobodies refused")


async def test_a_node_without_custody_or_doors_says_so(tmp_path: Path) -> None:
    bank = Bank(tmp_path / "custody")
    async with serving(tmp_path) as face:
        stub: Any = CustodyServiceStub(face.channel)  # type: ignore[no-untyped-call, unused-ignore]
        assert is_code(await refused(stub.ListRequests(pb.ListRequestsRequest())), CustodyError.CUSTODY_OFF)
    (tmp_path / "b").mkdir()
    async with bank.open() as desk, serving(tmp_path / "b", custody=desk) as face:
        stub = CustodyServiceStub(face.channel)  # type: ignore[no-untyped-call, unused-ignore]
        assert is_code(
            await refused(stub.ListRequests(pb.ListRequestsRequest())), CustodyError.NOT_IDENTIFIED
        )


async def test_what_is_malformed_is_refused_before_anybody_looks_at_it(tmp_path: Path) -> None:
    bank = Bank(tmp_path / "custody")
    async with served(bank, tmp_path) as (custody, _, _, channel):
        fine = [pay("PA/main", "KB/main", 1)]
        stub: Any = CustodyServiceStub(channel)  # type: ignore[no-untyped-call, unused-ignore]
        tries: list[tuple[Any, ErrorCode]] = [
            (custody.request(bytes(15), fine), NodeError.BAD_REQUEST),
            (custody.request(bytes(16), []), NodeError.BAD_REQUEST),
            (custody.request(bytes(16), fine * 101), NodeError.BAD_REQUEST),
            (custody.request(bytes(16), fine, reference="x" * 141), NodeError.BAD_REQUEST),
            (custody.request(bytes(16), fine, reference="a\nb"), NodeError.BAD_REQUEST),
            (custody.request(bytes(16), fine, life_ms=2**40), NodeError.BAD_REQUEST),
            (custody.approve(bytes(16), bytes(31)), NodeError.BAD_REQUEST),
            (custody.show(bytes(16)), CustodyError.REQUEST_UNKNOWN),
        ]
        for call, error in tries:
            with pytest.raises(Declined) as told:
                await call
            assert told.value.code == f"{error.codespace}/{error.code}" or error.name in str(told.value)
        unknown = pb.RequestSigningRequest(id=bytes(16))
        unknown.operations.add(contract="transfers", method="steal", arguments_json="{}")
        assert is_code(await refused(stub.RequestSigning(unknown)), LedgerError.UNKNOWN_METHOD)
    assert bank.engine.submitted == []


@pytest.mark.evidence(
    "CUS4", asset="the audit log", threat="a line is changed", mitigation="hash chain, signed head, anchors"
)
async def test_the_logs_hash_is_anchored_daily_and_compared(tmp_path: Path) -> None:
    bank = Bank(tmp_path / "custody", anchor_hours=24)
    async with bank.open() as desk:
        await desk.look()
        for _ in range(2):
            for request in desk.books.requests.values():
                assert (await desk.wait(MARY, request.id, WAIT_SECONDS)).status == "applied"
            bank.pass_time(24 * 60)
            await desk.look()
        for request in desk.books.requests.values():
            await desk.wait(MARY, request.id, WAIT_SECONDS)
    rows = bank.world.ledger.query("anchors", "list_anchors", codec.encode(("PA", ANCHOR_PURPOSE, 0)))
    anchors = [audit.Anchor(each.number, each.anchor.hash, each.anchor.time_ms) for each in rows]
    report = audit.verify(bank.folder, ROOT.public_key, anchors)
    assert (len(anchors), report.problems, report.anchored) == (3, (), rows[-1].anchor.position)
    lines = (bank.folder / audit.LOG).read_bytes().splitlines(keepends=True)
    (bank.folder / audit.LOG).write_bytes(b"".join(lines[:2]))
    (bank.folder / audit.HEAD).unlink()
    told = audit.verify(bank.folder, ROOT.public_key, anchors).problems
    assert [problem.line for problem in told if "anchor" in problem.text]


@pytest.mark.evidence(
    "CUS5", asset="secrets", threat="they stand in the log", mitigation="no free text in a line"
)
async def test_no_secret_reaches_the_log_an_error_or_a_text(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Canaries: the passphrase, the custody key's secret, the member's key, and the words of people."""
    passphrase, words = b"canary-passphrase-9c1f", "canary-reference-77aa"
    folder = tmp_path / "custody"
    root: Any = load_root(folder, passphrase, cost=COST_MIN)
    canaries = [passphrase.decode(), root.secret().hex(), words, "canary-reason-11bb"]
    with pytest.raises(PassphraseRefused) as told:
        load_root(folder, b"canary-wrong-44cc")
    bank = Bank(folder)
    async with bank.open() as desk:
        texts = [str(told.value), repr(desk.signers), repr(root)]
        asked = await bank.ask(desk, reference=words)
        await desk.reject(BOB, asked.id, asked.content_hash, "canary-reason-11bb")
        for work in (
            desk.approve(BOB, asked.id, asked.content_hash),
            bank.ask(desk, op("members", "set_policy", ()), reference=words),
        ):
            with pytest.raises(Exception, match="custody") as failure:
                await work
            texts.append(str(failure.value))
    files = [path for path in folder.rglob("*") if path.is_file()]
    contents = [path.read_bytes().decode("latin-1") for path in files]
    out = capfd.readouterr()
    found = [each for each in canaries if any(each in text for text in [*texts, *contents, out.out, out.err])]
    print(f"{len(canaries)} canaries looked for in {len(files)} files and {len(texts) + 2} texts")
    assert (folder / ROOT_FILE).exists()
    assert found == []
