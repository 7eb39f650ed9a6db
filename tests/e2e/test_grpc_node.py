"""A whole node in this process, on disk, behind its gRPC face: what one bank does on its first day."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from node.app import parts_of, running
from node.cli.directory import make_directory
from node.client import signing
from node.config import load_config
from node.genesis_file import format_genesis
from node.ledger import codec
from node.ledger.hashing import INTERNATIONAL
from node.ledger.types import AdministratorKey, Genesis, Operation, Receipt
from node.pb.vostro.contract.v1 import contract_pb2
from node.pb.vostro.fund.v1 import fund_pb2
from node.pb.vostro.ledger.v1 import ledger_pb2
from node.pb.vostro.transaction.v1 import transaction_pb2
from node.receipts.verify import verify_receipt_file
from node.services.server import build_server
from node.storage.backup import verify_backup
from tests.kit import admission, officer, op, pay, register
from tests.services_kit import WORD_SECONDS, Client

pytestmark = pytest.mark.asyncio

KEY_FILE_COST = 1 << 14
ADMINISTRATOR = "chair"
BANK = "bank"


@dataclass
class Running:
    """A node that serves."""

    client: Client
    genesis: Genesis
    chain_id: bytes

    def sign(self, member: str, key: str, *operations: Operation) -> bytes:
        body = signing.transaction(self.chain_id, member, operations)
        return signing.sign(INTERNATIONAL, self.chain_id, body, [officer(key)])

    async def submit(self, member: str, key: str, *operations: Operation) -> Receipt:
        """An applied transaction's receipt."""
        request = transaction_pb2.SubmitRequest(signed_transaction=self.sign(member, key, *operations))
        answer = await self.client.transactions.Submit(request, timeout=WORD_SECONDS)
        receipt: Receipt = codec.decoder(Receipt)(answer.receipt.encoded)
        return receipt

    async def set_up(self) -> None:
        """One bank that issues CZK to itself."""
        await self.submit("ADMIN", ADMINISTRATOR, admission("PA", ("issuer",), (BANK,)))
        await self.submit("PA", BANK, register("CZK"), op("assets", "open_accounts", ("PA/a", "PA/b")))
        await self.submit("PA", BANK, op("assets", "issue", "CZK", "PA/a", 1_000, ""))

    async def balance(self, account: str) -> int:
        request = fund_pb2.GetBalanceRequest(account=account, asset="CZK")
        return int((await self.client.funds.GetBalance(request)).balance.posted)


@asynccontextmanager
async def node(folder: Path) -> AsyncIterator[Running]:
    """The node in a folder, made first if there is none."""
    if not (folder / "genesis.json").exists():
        administrators = [AdministratorKey("ed25519", officer(ADMINISTRATOR).public_key, ADMINISTRATOR)]
        settings: dict[str, str | int] = {"listen": "127.0.0.1:0", "shards": 2, "verify_workers": 0}
        make_directory(
            folder,
            name="test",
            administrators=administrators,
            threshold=1,
            settings=settings,
            cost=KEY_FILE_COST,
        )
    config = load_config(folder / "node.toml", environment={})
    async with running(config) as made:
        face = build_server(config, parts_of(made))
        await face.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{face.port}") as channel:
                ledger = made.opened.ledger
                yield Running(Client(channel), ledger.genesis, ledger.chain.chain_id)
        finally:
            await face.stop(0)


async def test_money_moves_and_every_read_tells_of_it(tmp_path: Path) -> None:
    async with node(tmp_path) as served:
        await served.set_up()
        receipt = await served.submit("PA", BANK, pay("PA/a", "PA/b", 250, reference="first"))
        assert (await served.balance("PA/a"), await served.balance("PA/b")) == (750, 250)
        waited = await served.client.transactions.WaitTransaction(
            transaction_pb2.WaitTransactionRequest(tx_id=receipt.tx_id), timeout=WORD_SECONDS
        )
        assert json.loads(waited.transaction.events[0].fields_json)["amount"] == 250
        request = fund_pb2.ListMovementsRequest(account="PA/b")
        page = fund_pb2.ListMovementsResponse()
        async with asyncio.timeout(WORD_SECONDS):
            while page.index_height < receipt.height:  # the index is written behind the head
                page = await served.client.funds.ListMovements(request)
        assert [(m.amount, m.reference, m.tx_id) for m in page.movements] == [(250, "first", receipt.tx_id)]
        query = contract_pb2.QueryRequest(
            contract="members", query="get_member", arguments_json='{"member":"PA"}'
        )
        assert json.loads((await served.client.contracts.Query(query)).result_json)["member"] == "PA"


async def test_what_was_answered_is_there_after_the_node_was_stopped_and_started(tmp_path: Path) -> None:
    async with node(tmp_path) as served:
        await served.set_up()
        raw = served.sign("PA", BANK, pay("PA/a", "PA/b", 1))
        request = transaction_pb2.SubmitRequest(signed_transaction=raw)
        first = await served.client.transactions.Submit(request, timeout=WORD_SECONDS)
        head = await served.client.chain.GetStatus(ledger_pb2.GetStatusRequest())
    async with node(tmp_path) as served:
        again = await served.client.transactions.Submit(request, timeout=WORD_SECONDS)
        assert again.receipt == first.receipt
        assert await served.balance("PA/b") == 1
        found = await served.client.chain.GetBlock(ledger_pb2.GetBlockRequest(height=first.receipt.height))
        assert found.header.height <= head.height


async def test_a_receipt_file_of_the_node_verifies_against_its_genesis(tmp_path: Path) -> None:
    async with node(tmp_path) as served:
        await served.set_up()
        receipt = await served.submit("PA", BANK, pay("PA/a", "PA/b", 1))
        request = ledger_pb2.GetReceiptFileRequest(tx_id=receipt.tx_id)
        answer = await served.client.chain.GetReceiptFile(request, timeout=WORD_SECONDS)
        verified = verify_receipt_file(answer.file, format_genesis(served.genesis))
        assert verified.tx_id == receipt.tx_id.hex()


async def test_a_streamed_backup_is_whole_and_says_what_it_holds(tmp_path: Path) -> None:
    async with node(tmp_path) as served:
        await served.set_up()
        call = served.client.chain.StreamBackup(ledger_pb2.StreamBackupRequest(), timeout=WORD_SECONDS)
        parts = [part async for part in call]
        told = json.loads(parts[-1].summary_json)
        summary = verify_backup(io.BytesIO(b"".join(part.chunk for part in parts)), INTERNATIONAL)
        assert (summary.blocks, summary.head_app_hash.hex()) == (told["blocks"], told["head_app_hash"])


async def test_streams_follow_blocks_and_events_as_they_are_decided(tmp_path: Path) -> None:
    async with node(tmp_path) as served:
        await served.set_up()
        head = await served.client.chain.GetStatus(ledger_pb2.GetStatusRequest())
        blocks = served.client.chain.StreamBlocks(ledger_pb2.StreamBlocksRequest(from_height=head.height + 1))
        events = served.client.chain.StreamEvents(
            ledger_pb2.StreamEventsRequest(account="PA/b", event="Sent")
        )
        receipt = await served.submit("PA", BANK, pay("PA/a", "PA/b", 3))
        block = await asyncio.wait_for(blocks.read(), WORD_SECONDS)
        assert (block.header.height, block.last) == (receipt.height, True)
        event = await asyncio.wait_for(events.read(), WORD_SECONDS)
        assert (event.tx_id, event.at.height) == (receipt.tx_id, receipt.height)
        blocks.cancel()
        events.cancel()


async def test_a_proof_is_answered_between_blocks_while_the_node_decides(tmp_path: Path) -> None:
    async with node(tmp_path) as served:
        await served.set_up()
        key = ledger_pb2.TableKey(contract="assets", table="balance", parts_json='["PA/b","CZK"]')
        request = ledger_pb2.GetProofRequest(table_key=key)
        items = [served.sign("PA", BANK, pay("PA/a", "PA/b", 1)) for _ in range(40)]
        batches = [
            served.client.transactions.SubmitBatch(
                transaction_pb2.SubmitBatchRequest(signed_transactions=items[at : at + 4]),
                timeout=WORD_SECONDS,
            )
            for at in range(0, 40, 4)
        ]
        proofs = [await served.client.chain.GetProof(request, timeout=WORD_SECONDS) for _ in range(10)]
        outcomes = [outcome for batch in batches for outcome in (await batch).outcomes]
        assert {outcome.receipt.code for outcome in outcomes} == {0}
        assert [proof.height for proof in proofs] == sorted(proof.height for proof in proofs)
        assert await served.balance("PA/b") == 40
