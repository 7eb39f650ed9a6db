"""Privilege probes on a live node behind mutual TLS: every RPC by every role, for its own member and another;
and floods by one member while another is served.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from node.client.signing import new_request_id
from node.engine.errors import NodeError
from node.keys.certificates import Role
from node.ledger.types import Receipt
from node.pb.vostro.contract.v1 import contract_pb2
from node.pb.vostro.fund.v1 import fund_pb2
from node.pb.vostro.ledger.v1 import ledger_pb2
from node.pb.vostro.transaction.v1 import transaction_pb2 as pb
from node.services.access import ACCESS
from node.services.reading import QUERIES, declared
from tests.certificates_kit import Pki, save, secure_channel
from tests.fault.access_requests import OF_A_MEMBER, WIDE, requests, service_of
from tests.fault.node_kit import SECONDS, WORLD, NodeFolder, Stubs, transfers
from tests.kit import ADMINISTRATOR, admission, op, pay

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(240)]

NODE_MEMBER: Final = "PA"
CALLS: Final = 60
LET_IN: Final = ("OK", "listening", "not found")
DENIED: Final = (NodeError.NOT_PERMITTED.name, NodeError.UNIDENTIFIED.name)


@dataclass
class Guarded:
    """A live node of PA behind mutual TLS. payments: transactions between the members, by who concerns."""

    node: NodeFolder
    pki: Pki
    payments: dict[str, bytes]

    @asynccontextmanager
    async def stubs(self, member: str, *roles: Role) -> AsyncIterator[Stubs]:
        """Calls with a new certificate."""
        channel = secure_channel(self.node.target, self.pki.leaf(member, *roles), self.pki.bundle)
        async with channel:
            yield Stubs(channel)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("matrix")
    pki = Pki(folder / "pki")
    node = NodeFolder(folder / "node").make()
    node.configure(
        **save(node.path, pki.server(), pki.bundle, pki.crls), member=NODE_MEMBER, quota_calls=100_000
    )
    with node.running():
        made = Guarded(node, pki, {})
        asyncio.run(_furnish(made))
        yield made
        node.process.check_alive()
        assert "Traceback" not in node.log()


async def _furnish(guarded: Guarded) -> None:
    """A regulator, and a payment of each kind."""
    admit = admission("REG", ("regulator",), ("REG-officer",))
    legs = (("KB/1", 1, ""), ("CNB/1", 1, ""))
    open_cnb = op("assets", "open_accounts", ("CNB/1",))
    async with guarded.stubs("PA", Role.SUBMITTER) as stubs:

        async def send(member: str, *operations: Any) -> bytes:
            receipt = await stubs.submit(WORLD.make(member, *operations, use_id=new_request_id()))
            assert isinstance(receipt, Receipt)
            assert receipt.code == 0, receipt
            return receipt.tx_id

        await send(ADMINISTRATOR, admit)
        await send("CNB", open_cnb)
        guarded.payments["PA to KB"] = await send("PA", pay("PA/0", "KB/0", 1))
        guarded.payments["KB to CNB"] = await send("KB", pay("KB/0", "CNB/1", 1))
        many = op("transfers", "send_many", "PA/0", "CZK", 2, legs, b"", "")
        guarded.payments["PA to many"] = await send("PA", many)


# --- probes -----------------------------------------------------------------------------------------------


CLIENT_FAILED: Final = "INTERNAL Internal error from Core"
"""What gRPC's Python client makes of a stream that ended while its own first message was on the way."""


async def probe(stubs: Stubs, method: str, data: bytes) -> str:
    """The reason of the refusal, or that the call was let in."""
    found = CLIENT_FAILED
    for _ in range(20):
        if found == CLIENT_FAILED:
            found = await probe_once(stubs, method, data)
    return found


async def probe_once(stubs: Stubs, method: str, data: bytes) -> str:
    """As ``probe``, or CLIENT_FAILED."""
    call: Any = stubs.channel.unary_stream(method)
    if method.endswith(("SubmitStream", "ReflectionInfo", "VaultService/Store")):
        call = stubs.channel.stream_stream(method)
        data = iter([data])  # type: ignore[assignment]
    answers = call(data, timeout=20)
    try:
        async for _ in answers:
            answers.cancel()
            return "OK"
    except grpc.aio.AioRpcError as error:
        for key, value in error.trailing_metadata() or ():
            if key == "grpc-status-details-bin" and isinstance(value, bytes):
                info = error_details_pb2.ErrorInfo()
                status_pb2.Status.FromString(value).details[0].Unpack(info)
                return str(info.reason)
        return f"{error.code().name} {error.details()}"
    return "OK"


def opens(role: Role, reader: str, method: str, owner: str) -> bool:
    """What the matrix and the reading rules say, told once more and independently of them."""
    row, name = ACCESS[method].roles, method.rpartition("/")[2]
    if row is None:
        return True
    if role is Role.OPERATOR and reader != NODE_MEMBER:
        return False
    if role in (Role.MAKER, Role.CHECKER) and reader != NODE_MEMBER:
        return False
    if name in ("Store", "GetHoldings") and reader != NODE_MEMBER:
        return False
    if role not in row:
        return False
    if name == "GetClaims" and reader != "REG":
        return False  # of all members
    if {name, service_of(method)}.isdisjoint(OF_A_MEMBER) or (
        reader == "REG" and role in (Role.REGULATOR, Role.AUDITOR)
    ):
        return True
    if name in ("GetTransaction", "WaitTransaction", "GetReceiptFile"):
        return reader == owner
    if name == "Query" and role is Role.SUBMITTER:
        return False
    if name == "ListClaims":
        return reader == "CNB"  # the issuer of CZK, whoever holds it
    return reader == owner


@pytest.mark.evidence(
    "ACT7",
    asset="confidentiality",
    threat="a client calls what is not its own",
    mitigation="an access matrix",
)
@pytest.mark.evidence(
    "ACT17",
    asset="confidentiality",
    threat="a regulator that changes something",
    mitigation="an access matrix",
)
@pytest.mark.evidence(
    "PRT5", asset="the port", threat="a role that opens too much", mitigation="an access matrix"
)
async def test_every_rpc_by_every_role_is_let_in_or_refused_as_the_matrix_says(guarded: Guarded) -> None:
    wrong: list[str] = []
    counts: Counter[str] = Counter()
    readers = [*[("PA", role) for role in Role], *[("KB", role) for role in Role],
               ("REG", Role.REGULATOR), ("REG", Role.AUDITOR), ("REG", Role.READER)]  # fmt: skip
    for reader, role in readers:
        async with guarded.stubs(reader, role) as stubs:
            for owner in ("PA", "KB"):
                tx_id = guarded.payments["KB to CNB" if owner == "KB" else "PA to KB"]
                for method, data in requests(owner, tx_id).items():
                    found = await probe(stubs, method, data)
                    let_in = found not in DENIED
                    counts["let in" if let_in else "refused"] += 1
                    if method.endswith(("GetTransaction", "WaitTransaction", "GetReceiptFile")):
                        expected = opens_transaction(role, reader, method, owner)
                    else:
                        expected = opens(role, reader, method, owner)
                    empty = "/vostro.custody.v1." in method and found == "BAD_REQUEST"  # let in, asks nothing
                    unfit = found.startswith(("INTERNAL", "BAD_REQUEST", "UNAVAILABLE")) and not empty
                    if let_in != expected or unfit:
                        wrong.append(f"{reader} {role} {method} of {owner}: {found}, expected {expected}")
            for method, request in WIDE.items():
                found = await probe(stubs, method, request.SerializeToString())
                wide = (reader == "REG" and role in (Role.REGULATOR, Role.AUDITOR)) or (
                    reader == NODE_MEMBER and role is Role.OPERATOR
                )
                counts["let in" if found not in DENIED else "refused"] += 1
                if (found not in DENIED) != wide:
                    wrong.append(f"{reader} {role} {method} with contents: {found}")
    print(
        f"privilege probes: {len(ACCESS)} RPCs by {len(readers)} identities, {counts.total()} tried: "
        f"{counts['let in']} let in, {counts['refused']} refused, all as the matrix says"
    )
    assert wrong == []
    assert counts["refused"] > counts["let in"] / 4


def opens_transaction(role: Role, reader: str, method: str, owner: str) -> bool:
    """The transaction of owner KB is between KB and CNB; that of PA is between PA and KB."""
    if role not in (ACCESS[method].roles or ()):
        return False
    if role in (Role.MAKER, Role.CHECKER) and reader != NODE_MEMBER:
        return False
    if reader == "REG":
        return role in (Role.REGULATOR, Role.AUDITOR)
    return reader == "KB" or owner == "PA"


@pytest.mark.evidence(
    "RD1", asset="confidentiality", threat="reading what is another's", mitigation="reading rules"
)
async def test_a_payment_to_many_is_shown_whole_to_the_debtor_and_as_a_bare_fact_to_a_creditor(
    guarded: Guarded,
) -> None:
    many = guarded.payments["PA to many"]

    async def seen(member: str, role: Role) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        async with guarded.stubs(member, role) as stubs:
            call = stubs.chain.StreamEvents(ledger_pb2.StreamEventsRequest(contract="transfers"), timeout=4)
            with suppress(grpc.aio.AioRpcError):  # the deadline: a stream has no end
                async for message in call:
                    if message.HasField("event"):
                        found[message.tx_id] = message.event.fields
        return found

    debtor, creditor, third, regulator = await asyncio.gather(
        seen("PA", Role.READER),
        seen("CNB", Role.READER),
        seen("GONE", Role.READER),
        seen("REG", Role.REGULATOR),
    )
    assert debtor[many]
    assert creditor[many] == b""
    assert regulator[many] == debtor[many]
    assert third == {}
    assert guarded.payments["PA to KB"] not in creditor
    assert creditor[guarded.payments["KB to CNB"]] == regulator[guarded.payments["KB to CNB"]]
    async with guarded.stubs("CNB", Role.READER) as stubs:
        movements = await stubs.funds.ListMovements(fund_pb2.ListMovementsRequest(account="CNB/1"))
        assert many in {movement.tx_id for movement in movements.movements}
        request = pb.GetTransactionRequest(tx_id=many).SerializeToString()
        method = "/vostro.transaction.v1.TransactionService/GetTransaction"
        assert await probe(stubs, method, request) == NodeError.NOT_PERMITTED.name


@pytest.mark.evidence(
    "RD1", asset="confidentiality", threat="reading what is another's", mitigation="reading rules"
)
async def test_every_query_is_read_as_its_scope_says(guarded: Guarded) -> None:
    """Every query of every contract, of another member: shared ones answer, others refuse."""
    arguments = {
        "member": '"KB"', "account": '"KB/0"', "asset": '"CZK"', "after": '""', "party": f'"{"07" * 32}"',
        "hold": f'"{"07" * 32}"',
    }  # fmt: skip
    counts: Counter[str] = Counter()
    nothing = '""'
    async with guarded.stubs("PA", Role.READER) as stubs, guarded.stubs("PA", Role.SUBMITTER) as submitter:
        for contract in WORLD.ledger.readers.values():
            for name, query in contract.queries.items():
                values = {**arguments}
                if name == "list_holds":
                    values["after"] = '""'
                document = ", ".join(f'"{each}": {values.get(each, nothing)}' for each in query.arguments)
                request = contract_pb2.QueryRequest(
                    contract=contract.name, query=name, arguments_json="{" + document + "}"
                )
                method = "/vostro.contract.v1.ContractService/Query"
                shared = declared(QUERIES, contract.name, name) == "shared"
                for caller in (stubs, submitter):
                    found = await probe(caller, method, request.SerializeToString())
                    counts[found] += 1
                    assert (found not in DENIED) == shared, (contract.name, name, found)
        twice = '{"account": "PA/0", "account": "KB/0", "asset": "CZK"}'
        request = contract_pb2.QueryRequest(contract="assets", query="get_balance", arguments_json=twice)
        assert await probe(stubs, method, request.SerializeToString()) != "OK"
    print(f"queries of another member's: {counts.total()} tried, {dict(counts)}")
    assert counts[NodeError.NOT_PERMITTED.name] >= 10


@pytest.mark.evidence(
    "RD1", asset="confidentiality", threat="reading what is another's", mitigation="reading rules"
)
async def test_of_many_balances_each_is_told_or_refused_as_if_it_were_read_alone(guarded: Guarded) -> None:
    accounts = ("PA/0", "KB/0", "PA/none", "KB/none", "", "CNB/1", "PA/1")
    tried = 0
    for member, role in (("PA", Role.READER), ("KB", Role.AUDITOR), ("REG", Role.REGULATOR)):
        async with guarded.stubs(member, role) as stubs:
            alone = []
            for account in accounts:
                request = fund_pb2.GetBalanceRequest(account=account, asset="CZK").SerializeToString()
                alone.append(await probe(stubs, "/vostro.fund.v1.FundService/GetBalance", request))
            keys = [fund_pb2.BalanceKey(account=account, asset="CZK") for account in accounts]
            answer = await stubs.funds.GetBalances(fund_pb2.GetBalancesRequest(keys=keys), timeout=SECONDS)
        together = [entry.error.name or "OK" for entry in answer.entries]
        assert together == alone, member
        assert {"OK", "ACCOUNT_UNKNOWN"} <= set(together)
        assert ("NOT_PERMITTED" in together) == (member != "REG")
        tried += len(together)
    async with guarded.stubs("PA", Role.SUBMITTER) as stubs:
        data = fund_pb2.GetBalancesRequest(keys=keys).SerializeToString()
        found = await probe(stubs, "/vostro.fund.v1.FundService/GetBalances", data)
    assert found == NodeError.NOT_PERMITTED.name
    print(f"many balances: {tried} entries by 3 members, each as GetBalance answers")


async def test_many_balances_are_of_one_block_while_money_moves_between_them(guarded: Guarded) -> None:
    keys = [fund_pb2.BalanceKey(account=account, asset="CZK") for account in ("PA/0", "KB/0")]
    sums: list[int] = []
    heights: list[int] = []
    async with guarded.stubs("PA", Role.SUBMITTER) as payer, guarded.stubs("REG", Role.REGULATOR) as reader:

        async def move() -> None:
            for _ in range(40):
                raw = WORLD.make("PA", pay("PA/0", "KB/0", 1), use_id=new_request_id())
                await payer.submit(raw)

        moving = asyncio.create_task(move())
        while not moving.done():
            request = fund_pb2.GetBalancesRequest(keys=keys * 500)
            answer = await reader.funds.GetBalances(request, timeout=SECONDS)
            posted = [entry.balance.posted for entry in answer.entries]
            assert posted == posted[:2] * 500
            sums.append(sum(posted[:2]))
            heights.append(answer.height)
        await moving
    print(f"one block: {len(sums)} answers of 1,000 balances each, at {len(set(heights))} heights")
    assert len(set(sums)) == 1
    assert len(set(heights)) > 5
    assert heights == sorted(heights)


# --- quotas -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("narrow")
    pki = Pki(folder / "pki")
    node = NodeFolder(folder / "node").make()
    node.configure(
        **save(node.path, pki.server(), pki.bundle, pki.crls),
        quota_calls=CALLS, quota_transactions=50, quota_streams=4,
    )  # fmt: skip
    with node.running():
        yield Guarded(node, pki, {})


@pytest.mark.evidence(
    "PRT6", asset="availability", threat="a member that floods", mitigation="quotas by member"
)
async def test_a_member_that_floods_is_told_when_to_come_back_and_others_are_served(narrow: Guarded) -> None:
    async with (
        narrow.stubs("PA", Role.READER) as first,
        narrow.stubs("PA", Role.READER) as second,
        narrow.stubs("KB", Role.READER) as other,
    ):
        codes: Counter[str] = Counter()
        pauses: list[float] = []

        async def read(stubs: Stubs, account: str) -> None:
            try:
                await stubs.balance(account)
                codes["OK"] += 1
            except grpc.aio.AioRpcError as error:
                codes[error.code().name] += 1
                pauses.append(_pause(error))

        await asyncio.gather(*(read(stubs, "PA/0") for _ in range(200) for stubs in (first, second)))
        began = time.monotonic()
        for _ in range(20):
            await other.balance("KB/0")
        took = time.monotonic() - began
        print(f"flood: {codes.total()} calls by one member with two certificates, {dict(codes)}; "
              f"another member's 20 reads took {took:.3f} s")  # fmt: skip
        assert codes["RESOURCE_EXHAUSTED"] > 100
        assert codes["OK"] >= CALLS
        assert min(pauses) > 0
        await asyncio.sleep(min(pauses))
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and not codes["again"]:
            try:
                await first.balance("PA/0")
                codes["again"] += 1
            except grpc.aio.AioRpcError as error:
                await asyncio.sleep(_pause(error))
        assert codes["again"] == 1


@pytest.mark.evidence(
    "PRT6", asset="availability", threat="a member that floods", mitigation="quotas by member"
)
async def test_a_call_for_many_balances_counts_for_many_calls(narrow: Guarded) -> None:
    method = "/vostro.fund.v1.FundService/GetBalances"
    keys = [fund_pb2.BalanceKey(account="REG/0", asset="CZK")] * 1_000
    data = fund_pb2.GetBalancesRequest(keys=keys).SerializeToString()
    async with narrow.stubs("REG", Role.READER) as stubs:
        found = [await probe(stubs, method, data) for _ in range(3)]
    assert found == ["OK", "OK", NodeError.QUOTA_USED_UP.name], "100 calls each, and two seconds hold 120"


@pytest.mark.evidence(
    "PRT6", asset="availability", threat="a member that floods", mitigation="quotas by member"
)
async def test_transactions_are_counted_by_member_and_a_stream_of_them_is_slowed_down(
    narrow: Guarded,
) -> None:
    async with narrow.stubs("CNB", Role.SUBMITTER) as stubs:
        raws = transfers(260, 3)
        outcomes: Counter[str] = Counter()
        for at in range(0, 150, 50):
            method = "/vostro.transaction.v1.TransactionService/SubmitBatch"
            batch = pb.SubmitBatchRequest(signed_transactions=raws[at : at + 50])
            outcomes[await probe(stubs, method, batch.SerializeToString())] += 1
        assert outcomes == {"OK": 2, NodeError.QUOTA_USED_UP.name: 1}
        began = time.monotonic()

        async def stream() -> AsyncIterator[pb.SubmitStreamRequest]:
            for at in range(150, 250, 10):
                yield pb.SubmitStreamRequest(correlation=at, signed_transactions=raws[at : at + 10])

        answered = [answer async for answer in stubs.transactions.SubmitStream(stream(), timeout=SECONDS)]
        took = time.monotonic() - began
    print(f"100 transactions in a stream at 50 a second took {took:.2f} s")
    assert sum(len(answer.outcomes) for answer in answered) == 100
    assert took > 1.0


async def test_streams_at_once_are_bounded_for_a_member_and_freed_when_they_end(narrow: Guarded) -> None:
    async with AsyncExitStack() as stack:
        stubs = [await stack.enter_async_context(narrow.stubs("KB", Role.READER)) for _ in range(3)]
        request = ledger_pb2.StreamBlocksRequest()
        calls = [stubs[n % 3].chain.StreamBlocks(request) for n in range(4)]
        for call in calls:
            await call.read()
        method = "/vostro.ledger.v1.LedgerService/StreamBlocks"
        assert await probe(stubs[0], method, b"") == NodeError.QUOTA_USED_UP.name
        other = await stack.enter_async_context(narrow.stubs("PA", Role.OPERATOR))
        assert await probe(other, method, b"") == "OK"
        for call in calls:
            call.cancel()
        deadline = time.monotonic() + 5
        found = ""
        while found != "OK" and time.monotonic() < deadline:
            found = await probe(stubs[0], method, b"")
        assert found == "OK"


async def test_a_node_without_tls_can_be_told_to_give_loopback_nothing_but_health(tmp_path: Path) -> None:
    node = NodeFolder(tmp_path / "node").make()
    node.configure(local_access="none")
    with node.running():
        async with grpc.aio.insecure_channel(node.target) as channel:
            found = {method: await probe(Stubs(channel), method, b"") for method in ACCESS}
    open_ = {method for method, said in found.items() if said != NodeError.NOT_PERMITTED.name}
    print(f"without TLS and without local access: {len(found)} RPCs tried, {len(open_)} open")
    assert open_ == {method for method in ACCESS if method.startswith("/grpc.health.")}


def _pause(error: grpc.aio.AioRpcError) -> float:
    """Seconds in an error's RetryInfo."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            for detail in status_pb2.Status.FromString(value).details:
                retry = error_details_pb2.RetryInfo()
                if detail.Unpack(retry):
                    return float(retry.retry_delay.ToMilliseconds()) / 1_000
    return 0.0
