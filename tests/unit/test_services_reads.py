"""Reads: what the services say of the published state, in which height, in which pages."""

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from contracts import assemble
from contracts.assets import Assets
from contracts.members import Members
from contracts.transfers import Transfers
from node.engine.errors import Degraded, NodeError
from node.genesis_file import parse_genesis
from node.keys.verify import InternationalVerifier
from node.ledger import codec, hashing
from node.ledger.errors import LedgerError
from node.ledger.hashing import INTERNATIONAL
from node.ledger.ledger import Ledger
from node.ledger.state_tree import Proof, check_proof
from node.ledger.types import Receipt
from node.pb.vostro.account.v1 import account_pb2
from node.pb.vostro.contract.v1 import contract_pb2
from node.pb.vostro.fund.v1 import fund_pb2
from node.pb.vostro.ledger.v1 import ledger_pb2
from node.pb.vostro.product.v1 import product_pb2
from node.pb.vostro.transaction.v1 import transaction_pb2
from node.services.paging import Pages
from node.services.published import Published
from node.storage.memory import MemoryStore
from tests.kit import make_genesis, op, pay, spoilt
from tests.services_kit import Face, is_code, refused, serving

pytestmark = pytest.mark.asyncio

UNREADABLE = "é no token"


@pytest_asyncio.fixture
async def face(tmp_path: Path) -> AsyncIterator[Face]:
    async with serving(tmp_path) as served:
        yield served


async def test_an_account_is_answered_with_the_height_and_time_of_the_last_block(face: Face) -> None:
    answer = await face.client.accounts.GetAccount(account_pb2.GetAccountRequest(account="PA/frozen"))
    assert (answer.account.id, answer.account.member, answer.account.status) == ("PA/frozen", "PA", "frozen")
    assert (answer.height, answer.time_ms) == (face.world.height, face.world.time_ms)
    face.world.apply("PA", pay("PA/main", "KB/main", 1))
    answer = await face.client.accounts.GetAccount(account_pb2.GetAccountRequest(account="PA/frozen"))
    assert (answer.height, answer.time_ms) == (face.world.height, face.world.time_ms)


async def test_what_is_not_there_is_told_with_the_contracts_own_code(face: Face) -> None:
    no_account = await refused(
        face.client.accounts.GetAccount(account_pb2.GetAccountRequest(account="PA/no"))
    )
    assert is_code(no_account, Assets.ACCOUNT_UNKNOWN)
    assert no_account.info.metadata["account"] == "PA/no"
    no_asset = await refused(face.client.products.GetAsset(product_pb2.GetAssetRequest(asset="NONE")))
    assert is_code(no_asset, Assets.ASSET_UNKNOWN)
    no_hold = fund_pb2.GetHoldRequest(account="PA/main", hold=bytes(32))
    assert is_code(await refused(face.client.funds.GetHold(no_hold)), Transfers.HOLD_UNKNOWN)


async def test_a_field_outside_its_bounds_is_refused_before_anything_is_read(face: Face) -> None:
    for account in ("", "x" * 53, "PA/main\0"):
        answer = await refused(
            face.client.accounts.GetAccount(account_pb2.GetAccountRequest(account=account))
        )
        assert answer.info.reason in ("BAD_ARGUMENTS", "BAD_TEXT"), account


async def test_pages_of_accounts_cover_all_of_them_once_and_end(face: Face) -> None:
    seen, token, pages = [], "", 0
    while True:
        request = account_pb2.ListAccountsRequest(member="PA", page_size=3, page_token=token)
        answer = await face.client.accounts.ListAccounts(request)
        seen += [account.id for account in answer.accounts]
        token, pages = answer.next_page_token, pages + 1
        if not token:
            break
    assert seen == ["PA/closed", "PA/empty", "PA/frozen", "PA/main"]
    assert pages == 2


async def test_more_accounts_than_a_contract_lists_at_once_are_all_reached(face: Face) -> None:
    face.world.apply("KB", op("assets", "open_accounts", tuple(f"KB/x{n:03}" for n in range(150))))
    first = await face.client.accounts.ListAccounts(
        account_pb2.ListAccountsRequest(member="KB", page_size=999)
    )
    assert len(first.accounts) == 100
    request = account_pb2.ListAccountsRequest(member="KB", page_token=first.next_page_token)
    second = await face.client.accounts.ListAccounts(request)
    ids = [account.id for page in (first, second) for account in page.accounts]
    assert len(ids) == len(set(ids)) == 154
    assert not second.next_page_token


async def test_a_page_token_is_good_for_its_own_list_only(face: Face) -> None:
    accounts = face.client.accounts.ListAccounts
    token = (await accounts(account_pb2.ListAccountsRequest(member="PA", page_size=1))).next_page_token
    sound = base64.urlsafe_b64decode(token)
    altered = base64.urlsafe_b64encode(spoilt(sound)).decode()
    calls = [
        accounts(account_pb2.ListAccountsRequest(member="KB", page_token=token)),
        accounts(account_pb2.ListAccountsRequest(member="PA", page_token=altered)),
        accounts(account_pb2.ListAccountsRequest(member="PA", page_token=token[:-4])),
        accounts(account_pb2.ListAccountsRequest(member="PA", page_token=UNREADABLE)),
        accounts(account_pb2.ListAccountsRequest(member="PA", page_token="A" * 4_000)),
        face.client.products.ListAssets(product_pb2.ListAssetsRequest(page_token=token)),
        face.client.funds.ListBalances(fund_pb2.ListBalancesRequest(account="PA/main", page_token=token)),
        face.client.funds.ListHolds(fund_pb2.ListHoldsRequest(account="PA/main", page_token=token)),
        face.client.funds.ListMovements(fund_pb2.ListMovementsRequest(account="PA/main", page_token=token)),
        face.client.funds.ListPositions(fund_pb2.ListPositionsRequest(member="KB", page_token=token)),
        face.client.chain.ListHeaders(ledger_pb2.ListHeadersRequest(page_token=token)),
        face.client.chain.GetBlock(ledger_pb2.GetBlockRequest(height=1, page_token=token)),
        face.client.transactions.ListTransactions(
            transaction_pb2.ListTransactionsRequest(member="PA", page_token=token)
        ),
    ]
    for call in calls:
        assert is_code(await refused(call), NodeError.BAD_PAGE_TOKEN)


async def test_a_well_made_token_with_an_impossible_position_is_refused(face: Face) -> None:
    pages = Pages(face.world.chain_id)
    bound = ("movements", "KB/main", 0, 0, False)
    movements = pages.token(b"short", *bound)
    request = fund_pb2.ListMovementsRequest(account="KB/main", page_token=movements)
    assert is_code(await refused(face.client.funds.ListMovements(request)), NodeError.BAD_PAGE_TOKEN)
    for position in (-1, 2**62):
        token = pages.token(position, "block", 1)
        block = ledger_pb2.GetBlockRequest(height=1, include_leaves=True, page_token=token)
        assert is_code(await refused(face.client.chain.GetBlock(block)), NodeError.BAD_PAGE_TOKEN)
    headers = ledger_pb2.ListHeadersRequest(page_token=pages.token(-1, "headers", 0))
    assert is_code(await refused(face.client.chain.ListHeaders(headers)), NodeError.BLOCK_UNKNOWN)


async def test_balances_holds_and_assets_say_what_the_state_says(face: Face) -> None:
    balance = await face.client.funds.GetBalance(fund_pb2.GetBalanceRequest(account="PA/main", asset="CZK"))
    posted, held = face.world.balance("PA/main")
    assert (balance.balance.posted, balance.balance.held, balance.balance.available) == (
        posted,
        held,
        posted - held,
    )
    balances = await face.client.funds.ListBalances(fund_pb2.ListBalancesRequest(account="PA/main"))
    assert [balance.asset for balance in balances.balances] == ["CZK", "EUR"]
    asset = (await face.client.products.GetAsset(product_pb2.GetAssetRequest(asset="EUR"))).asset
    assert (asset.issuer, asset.status, asset.decimals, asset.issued) == ("CNB", "frozen", 2, 300)
    holds = (await face.client.funds.ListHolds(fund_pb2.ListHoldsRequest(account="PA/main"))).holds
    assert {hold.status for hold in holds} == {"pending", "voided"}
    account, hold_id = face.world.holds["pending"]
    one = (await face.client.funds.GetHold(fund_pb2.GetHoldRequest(account=account, hold=hold_id))).hold
    assert one in list(holds)


async def test_positions_sum_up_a_members_accounts_and_their_pages_add_up(face: Face) -> None:
    whole = await face.client.funds.ListPositions(fund_pb2.ListPositionsRequest(member="PA"))
    expected: dict[object, tuple[int, int]] = {}
    for (account, asset), position in face.world.rows("assets", "balance").items():
        if str(account).startswith("PA/"):
            before = expected.get(asset, (0, 0))
            expected[asset] = (before[0] + position.posted, before[1] + position.held)
    assert {p.asset: (p.posted, p.held) for p in whole.positions} == expected
    assert whole.account_count == 4
    sums: dict[object, int] = {}
    token = ""
    for _ in range(10):
        request = fund_pb2.ListPositionsRequest(member="PA", page_size=1, page_token=token)
        page = await face.client.funds.ListPositions(request)
        for p in page.positions:
            sums[p.asset] = sums.get(p.asset, 0) + p.posted
        token = page.next_page_token
        if not token:
            break
    assert sums == {asset: posted for asset, (posted, _) in expected.items()}


async def test_movements_come_by_time_in_pages_and_say_how_far_the_index_is(face: Face) -> None:
    receipts = [face.world.apply("PA", pay("PA/main", "KB/main", n, reference=f"r{n}")) for n in (1, 2, 3)]
    face.index.advance(face.world.store)
    seen, token = [], ""
    while True:
        request = fund_pb2.ListMovementsRequest(
            account="KB/main", reverse=True, page_size=2, page_token=token
        )
        page = await face.client.funds.ListMovements(request)
        seen += list(page.movements)
        token = page.next_page_token
        if not token:
            break
    assert [(m.amount, m.counterparty, m.reference) for m in seen[:3]] == [
        (3, "PA/main", "r3"),
        (2, "PA/main", "r2"),
        (1, "PA/main", "r1"),
    ]
    assert [m.tx_id for m in seen[:3]] == [receipt.tx_id for receipt in reversed(receipts)]
    assert page.index_height == page.height == face.world.height
    window = fund_pb2.ListMovementsRequest(account="KB/main", from_ms=seen[1].time_ms, to_ms=seen[1].time_ms)
    assert list((await face.client.funds.ListMovements(window)).movements) == [seen[1]]


async def test_transactions_are_listed_by_member_and_by_account_each_once(face: Face) -> None:
    many = op(
        "transfers", "send_many", "PA/main", "CZK", 3, (("KB/main", 1, ""), ("KB/main", 2, "")), b"", ""
    )
    receipt = face.world.apply("PA", many)
    face.index.advance(face.world.store)
    list_ = face.client.transactions.ListTransactions
    by_member = await list_(transaction_pb2.ListTransactionsRequest(member="PA", reverse=True, page_size=1))
    assert by_member.transactions[0].receipt.tx_id == receipt.tx_id
    assert by_member.transactions[0].member == "PA"
    assert by_member.next_page_token
    seen, token = [], ""
    while True:
        request = transaction_pb2.ListTransactionsRequest(
            account="KB/main", reverse=True, page_size=1, page_token=token
        )
        page = await list_(request)
        seen += [transaction.receipt.tx_id for transaction in page.transactions]
        token = page.next_page_token
        if not token:
            break
    assert seen[0] == receipt.tx_id
    assert len(seen) == len(set(seen))


async def test_a_node_without_an_index_says_that_it_has_none(tmp_path: Path) -> None:
    async with serving(tmp_path, index=None) as face:
        answer = await refused(
            face.client.funds.ListMovements(fund_pb2.ListMovementsRequest(account="KB/main"))
        )
        assert is_code(answer, NodeError.METHOD_UNKNOWN)
        assert not (await face.client.chain.GetStatus(ledger_pb2.GetStatusRequest())).HasField("index_height")


async def test_a_transaction_is_answered_with_its_bytes_its_events_and_its_receipt(face: Face) -> None:
    raw = face.world.make("PA", pay("PA/main", "KB/main", 5, reference="inv-1"))
    (receipt,) = face.world.block(raw)
    assert isinstance(receipt, Receipt)
    request = transaction_pb2.GetTransactionRequest(tx_id=receipt.tx_id)
    found = (await face.client.transactions.GetTransaction(request)).transaction
    assert found.signed_transaction == raw
    assert found.receipt.encoded == codec.encode(receipt)
    assert found.time_ms == face.world.time_ms
    assert found.member == "PA"
    fields = json.loads(found.events[0].fields_json)
    assert (fields["amount"], fields["end_to_end_id"], fields["uetr"]) == (5, "inv-1", "")
    face.world.store.drop_bodies(receipt.height)
    pruned = (await face.client.transactions.GetTransaction(request)).transaction
    assert (pruned.signed_transaction, pruned.member, pruned.request_id) == (b"", "PA", found.request_id)


async def test_a_transaction_id_that_is_none_is_a_bad_request_and_an_unknown_one_is_not_found(
    face: Face,
) -> None:
    get = face.client.transactions.GetTransaction
    for tx_id in (b"", bytes(32), b"\x01" * 31):
        assert is_code(
            await refused(get(transaction_pb2.GetTransactionRequest(tx_id=tx_id))), NodeError.BAD_REQUEST
        )
    unknown = transaction_pb2.GetTransactionRequest(tx_id=b"\x07" * 32)
    assert is_code(await refused(get(unknown)), NodeError.RECEIPT_UNKNOWN)
    file = ledger_pb2.GetReceiptFileRequest(tx_id=b"\x07" * 32)
    assert is_code(await refused(face.client.chain.GetReceiptFile(file)), NodeError.RECEIPT_UNKNOWN)


async def test_status_and_genesis_name_the_chain(face: Face) -> None:
    status = await face.client.chain.GetStatus(ledger_pb2.GetStatusRequest())
    assert (status.engine, status.serving, status.pending, status.pending_max) == ("direct", True, 3, 7)
    assert (status.chain_id, status.chain_name, status.version) == (face.world.chain_id, "test", "1.2.3")
    assert list(status.alarms) == ["an alarm"]
    genesis = await face.client.chain.GetGenesis(ledger_pb2.GetGenesisRequest())
    assert INTERNATIONAL.digest(hashing.GENESIS + genesis.encoded) == genesis.chain_id
    assert parse_genesis(genesis.genesis_json.encode()) == face.world.genesis


async def test_a_block_is_paged_and_its_pages_are_the_block(face: Face) -> None:
    face.world.block(*[face.world.make("PA", pay("PA/main", "KB/main", 1)) for _ in range(5)])
    block = face.world.store.block(face.world.height)
    assert block
    leaves: list[bytes] = []
    bodies: list[bytes] = []
    token = ""
    while True:
        request = ledger_pb2.GetBlockRequest(
            height=block.height, include_leaves=True, include_bodies=True, page_size=2, page_token=token
        )
        page = await face.client.chain.GetBlock(request)
        assert page.first_index == len(leaves)
        assert not page.receipts
        leaves += page.leaves
        bodies += page.bodies
        token = page.next_page_token
        if not token:
            break
    assert (tuple(leaves), tuple(bodies)) == (block.leaves, block.bodies)
    assert INTERNATIONAL.digest(hashing.HEADER + page.header.encoded) == page.header.app_hash
    for height in (face.world.height + 1, 2**63 - 1, 2**64 - 1):
        answer = await refused(face.client.chain.GetBlock(ledger_pb2.GetBlockRequest(height=height)))
        assert is_code(answer, NodeError.BLOCK_UNKNOWN), height


async def test_headers_come_in_pages_from_a_height_on(face: Face) -> None:
    heights, token = [], ""
    while True:
        request = ledger_pb2.ListHeadersRequest(from_height=3, page_size=4, page_token=token)
        page = await face.client.chain.ListHeaders(request)
        heights += [header.height for header in page.headers]
        token = page.next_page_token
        if not token:
            break
    assert heights == list(range(3, face.world.height + 1))


async def test_a_proof_shows_a_record_and_the_absence_of_one(face: Face) -> None:
    prove = face.client.chain.GetProof
    for account, found in (("PA/main", True), ("PA/nobody", False)):
        key = ledger_pb2.TableKey(contract="assets", table="balance", parts_json=f'["{account}", "CZK"]')
        answer = await prove(ledger_pb2.GetProofRequest(table_key=key))
        assert answer.found is found
        root = answer.header.state_root
        proof: Proof = codec.decoder(Proof)(answer.proof)
        value = answer.value if found else None
        assert check_proof(INTERNATIONAL, root, answer.key, value, proof)
        assert answer == await prove(ledger_pb2.GetProofRequest(key=answer.key))


async def test_a_proof_is_of_the_last_block_also_where_readers_do_not_see_it_yet(
    face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(face.world.ledger, "publish", lambda: None)
    receipt = face.world.apply("PA", pay("PA/main", "KB/main", 1))
    key = ledger_pb2.TableKey(contract="assets", table="balance", parts_json='["PA/main", "CZK"]')
    answer = await face.client.chain.GetProof(ledger_pb2.GetProofRequest(table_key=key))
    assert answer.height == receipt.height
    proof: Proof = codec.decoder(Proof)(answer.proof)
    assert check_proof(INTERNATIONAL, answer.header.state_root, answer.key, answer.value, proof)


async def test_no_certificate_is_handed_out_of_a_block_that_was_not_told_yet(
    face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is in the log; the sequencer puts its certificate on record a moment later."""
    below = face.world.ledger.view.reader.height
    monkeypatch.setattr(face.world.ledger, "publish", lambda: None)
    receipt = face.world.apply("PA", pay("PA/main", "KB/main", 1))
    chain, height = face.client.chain, face.world.height
    assert face.world.store.headers(height, 1)
    blocks = chain.GetBlock(ledger_pb2.GetBlockRequest(height=height))
    assert is_code(await refused(blocks), NodeError.BLOCK_UNKNOWN)
    file = chain.GetReceiptFile(ledger_pb2.GetReceiptFileRequest(tx_id=receipt.tx_id))
    assert is_code(await refused(file), NodeError.PROOF_PENDING)
    listed = await chain.ListHeaders(ledger_pb2.ListHeadersRequest(from_height=below - 1))
    assert [header.height for header in listed.headers] == [below - 1, below]


async def test_a_chain_that_has_not_begun_here_answers_no_query() -> None:
    store = MemoryStore()
    published = Published(Ledger(make_genesis(), assemble, store, InternationalVerifier()), store)
    with pytest.raises(Degraded) as caught:
        published.ask("governance", "get_order")
    assert caught.value.error is NodeError.STARTING


async def test_a_key_that_no_table_has_is_a_bad_request(face: Face) -> None:
    for contract, table, parts in (
        ("assets", "nothing", "[]"),
        ("nobody", "balance", "[]"),
        ("assets", "balance", '["PA/main"]'),
        ("assets", "balance", '["PA/main", 7]'),
        ("assets", "balance", "{"),
        ("assets", "balance", "[" * 5_000),
        ("transfers", "hold", '["PA/main", "zz"]'),
    ):
        key = ledger_pb2.TableKey(contract=contract, table=table, parts_json=parts)
        answer = await refused(face.client.chain.GetProof(ledger_pb2.GetProofRequest(table_key=key)))
        assert is_code(answer, NodeError.BAD_REQUEST), (contract, table, parts)
    assert is_code(
        await refused(face.client.chain.GetProof(ledger_pb2.GetProofRequest())), NodeError.BAD_REQUEST
    )


async def test_every_contract_tells_its_methods_refusals_and_schemas(face: Face) -> None:
    contracts = (await face.client.contracts.ListContracts(contract_pb2.ListContractsRequest())).contracts
    assert [contract.name for contract in contracts] == [contract.name for contract in assemble()]
    assert [(r.code, r.name) for r in contracts[0].refusals] == [(e.code, e.name) for e in Members.errors]
    count = 0
    for contract in contracts:
        assert contract.sentence.endswith(".") or contract.sentence
        for method in [*contract.methods, *contract.queries]:
            request = contract_pb2.GetSchemaRequest(contract=contract.name, method=method.name)
            schema = json.loads((await face.client.contracts.GetSchema(request)).schema_json)
            assert list(schema["properties"]) == schema["required"] == list(method.arguments)
            assert method.sentence
            count += 1
    assert count > 30


async def test_a_schema_spells_records_as_objects_and_bytes_as_digits(face: Face) -> None:
    request = contract_pb2.GetSchemaRequest(contract="transfers", method="send_many")
    schema = json.loads((await face.client.contracts.GetSchema(request)).schema_json)
    assert schema["$defs"]["Leg"]["properties"]["amount"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 10**18,
    }
    assert schema["properties"]["uetr"]["maxLength"] == 32
    assert schema["properties"]["uetr"]["pattern"] == "^([0-9a-f]{2})*$"
    unknown = contract_pb2.GetSchemaRequest(contract="transfers", method="steal")
    assert is_code(await refused(face.client.contracts.GetSchema(unknown)), LedgerError.UNKNOWN_METHOD)


async def test_a_prepared_transaction_is_applied_once_its_officers_have_signed_it(face: Face) -> None:
    legs = [{"account": "KB/main", "amount": 7, "end_to_end_id": "e1"}]
    document = {
        "source": "PA/main",
        "asset": "CZK",
        "total": 7,
        "legs": legs,
        "uetr": "00" * 16,
        "purpose": "",
    }
    call = contract_pb2.Operation(
        contract="transfers", method="send_many", arguments_json=json.dumps(document)
    )
    request = contract_pb2.PrepareTransactionRequest(
        member="PA", operations=[call], request_id=face.world.new_request_id()
    )
    prepared = await face.client.contracts.PrepareTransaction(request)
    assert prepared.required_officers == 1
    assert prepared.message == hashing.SIGN_TX + face.world.chain_id + prepared.tx_id
    before = face.world.balance("KB/main")[0]
    (receipt,) = face.world.block(face.world.sign(prepared.transaction, *face.world.officers["PA"]))
    assert isinstance(receipt, Receipt)
    assert (receipt.code, receipt.tx_id) == (0, prepared.tx_id)
    assert face.world.balance("KB/main")[0] == before + 7


async def test_json_that_does_not_fit_a_method_is_refused_with_the_place(face: Face) -> None:
    prepare = face.client.contracts.PrepareTransaction
    good = {"source": "PA/main", "hold": "00" * 32}
    for document, place in (
        ("[]", "object"),
        ("{", "JSON"),
        (json.dumps({**good, "hold": "zz"}), "hold"),
        (json.dumps({**good, "hold": 1.5}), "1.5"),
        (json.dumps({"source": "PA/main"}), "hold is missing"),
        (json.dumps({**good, "more": 1}), "more"),
        (json.dumps({**good, "hold": "00"}), "hold"),
    ):
        call = contract_pb2.Operation(contract="transfers", method="void", arguments_json=document)
        answer = await refused(
            prepare(contract_pb2.PrepareTransactionRequest(member="PA", operations=[call]))
        )
        assert is_code(answer, NodeError.BAD_REQUEST), document
        assert place in answer.info.metadata["reason"], document


async def test_a_query_answers_json_and_only_queries_are_asked(face: Face) -> None:
    ask = face.client.contracts.Query
    request = contract_pb2.QueryRequest(
        contract="members", query="get_member", arguments_json='{"member": "PA"}'
    )
    answer = await ask(request)
    member = json.loads(answer.result_json)
    assert member["member"] == "PA"
    assert bytes.fromhex(member["keys"][0]["key"]["public_key"])
    assert answer.height == face.world.height
    method = contract_pb2.QueryRequest(contract="transfers", query="void", arguments_json="{}")
    assert is_code(await refused(ask(method)), LedgerError.UNKNOWN_METHOD)
    nobody = contract_pb2.QueryRequest(
        contract="members", query="get_member", arguments_json='{"member": "X"}'
    )
    assert is_code(await refused(ask(nobody)), Members.MEMBER_UNKNOWN)
