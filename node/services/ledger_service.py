"""LedgerService: where the chain stands, its blocks and events, and proofs that need no trust in it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Final

import msgspec

from node.engine.engine import Engine
from node.engine.errors import Degraded, NodeError
from node.genesis_file import format_genesis
from node.json_form import JsonRefused, from_json, write_document
from node.ledger import codec
from node.ledger.errors import InvariantViolated
from node.ledger.ledger import PROTOCOL, Ledger
from node.ledger.state_tree import Proof, check_proof
from node.ledger.types import BlockRecord
from node.pb.vostro.ledger.v1 import ledger_pb2 as pb
from node.pb.vostro.ledger.v1 import ledger_pb2_grpc
from node.services import convert
from node.services.convert import Converter
from node.services.feed import Feed
from node.services.history import History
from node.services.identity import CALLER
from node.services.paging import page_size
from node.services.ports import Backup, Blocks, Call, ReceiptFile
from node.services.published import Published, checked_id
from node.services.reading import Reading
from node.services.streams import BackupStream, block_parts, part_end

HEADERS_PAGE_MAX: Final = 1_000
ITEMS_PAGE_MAX: Final = 1_000
KEY_BYTES_MAX: Final = 4_096
PARTS_JSON_MAX: Final = 16 * 1024


class LedgerService(ledger_pb2_grpc.LedgerServiceServicer):
    """See proto/vostro/ledger/v1."""

    def __init__(
        self,
        engine: Engine,
        ledger: Ledger,
        blocks: Blocks,
        published: Published,
        converter: Converter,
        history: History,
        reading: Reading,
        receipt_file: ReceiptFile,
        backup: Backup,
        version: str,
    ) -> None:
        self._engine = engine
        self._ledger = ledger
        self._blocks = blocks
        self._published = published
        self._feed = Feed(engine, blocks, converter, reading)
        self._history = history
        self._receipt_file = receipt_file
        self._backup = BackupStream(backup)
        self._version = version

    # --- the chain ------------------------------------------------------------------------------------------

    async def GetStatus(self, request: pb.GetStatusRequest, call: Call) -> pb.GetStatusResponse:
        """Where this node stands."""
        status = self._engine.status()
        return pb.GetStatusResponse(
            engine=status.engine,
            serving=status.serving,
            height=status.height,
            time_ms=status.time_ms,
            app_hash=status.app_hash,
            pending=status.pending,
            pending_max=status.pending_max,
            alarms=status.alarms,
            index_height=self._history.height(),
            disk_free_bytes=self._blocks.free_bytes(),
            protocol=PROTOCOL,
            chain_id=self._ledger.chain.chain_id,
            chain_name=self._ledger.genesis.name,
            version=self._version,
        )

    async def GetGenesis(self, request: pb.GetGenesisRequest, call: Call) -> pb.GetGenesisResponse:
        """The genesis document in both spellings."""
        genesis = self._ledger.genesis
        height, time_ms = self._published.stand()
        return pb.GetGenesisResponse(
            encoded=codec.encode(genesis),
            genesis_json=format_genesis(genesis).decode(),
            chain_id=self._ledger.chain.chain_id,
            height=height,
            time_ms=time_ms,
        )

    # --- blocks ---------------------------------------------------------------------------------------------

    async def GetBlock(self, request: pb.GetBlockRequest, call: Call) -> pb.GetBlockResponse:
        """A block, or a page of it. Raises Degraded BLOCK_UNKNOWN, BAD_PAGE_TOKEN."""
        start = self._published.pages.cursor(request.page_token, 0, "block", request.height)
        self._check_told(request.height)
        block = await asyncio.to_thread(self._block, request)
        count = (
            len(block.leaves)
            if request.include_leaves or request.include_receipts or request.include_bodies
            else 0
        )
        if not 0 <= start <= count:
            raise Degraded(NodeError.BAD_PAGE_TOKEN)
        end = part_end(
            block, request, start, min(count, start + page_size(request.page_size, ITEMS_PAGE_MAX))
        )
        height, time_ms = self._published.stand()
        return pb.GetBlockResponse(
            header=convert.header(block),
            first_index=start,
            leaves=block.leaves[start:end] if request.include_leaves else (),
            receipts=block.receipts[start:end] if request.include_receipts else (),
            bodies=block.bodies[start:end] if request.include_bodies else (),
            next_page_token=self._published.pages.token(end, "block", request.height) if end < count else "",
            height=height,
            time_ms=time_ms,
        )

    async def ListHeaders(self, request: pb.ListHeadersRequest, call: Call) -> pb.ListHeadersResponse:
        """Headers from a height on. Raises Degraded BAD_PAGE_TOKEN, BLOCK_UNKNOWN for a height that no block
        can have.
        """
        _check_height(request.from_height)
        first = self._published.pages.cursor(
            request.page_token, request.from_height, "headers", request.from_height
        )
        _check_height(first)
        size = page_size(request.page_size, HEADERS_PAGE_MAX)
        newest = self._published.stand().height
        listed = await asyncio.to_thread(self._blocks.headers, first, size + 1)
        found = [block for block in listed if block.height <= newest]
        token = (
            self._published.pages.token(found[size].height, "headers", request.from_height)
            if len(found) > size
            else ""
        )
        height, time_ms = self._published.stand()
        headers = [convert.header(block) for block in found[:size]]
        return pb.ListHeadersResponse(headers=headers, next_page_token=token, height=height, time_ms=time_ms)

    async def StreamBlocks(
        self, request: pb.StreamBlocksRequest, call: Call
    ) -> AsyncIterator[pb.StreamBlocksResponse]:
        """Blocks, each in one part or more, for as long as the client listens."""
        _check_height(request.from_height)
        wanted = request.include_leaves or request.include_receipts or request.include_bodies
        async for height in self._engine.heights(request.from_height - 1):
            block = (
                await asyncio.to_thread(self._blocks.block, height)
                if wanted
                else next(iter(self._blocks.headers(height, 1)), None)
            )
            if block is None:
                raise Degraded(NodeError.BLOCK_UNKNOWN, height=height)
            for part in block_parts(block, request):
                yield part

    async def StreamEvents(
        self, request: pb.StreamEventsRequest, call: Call
    ) -> AsyncIterator[pb.StreamEventsResponse]:
        """Events that fit, for as long as the client listens, and now and then how far it is."""
        start = getattr(request, "from")
        _check_height(start.height)
        async with aclosing(self._feed.events(CALLER.get(), request)) as messages:
            async for message in messages:
                yield message

    # --- proofs ---------------------------------------------------------------------------------------------

    async def GetProof(self, request: pb.GetProofRequest, call: Call) -> pb.GetProofResponse:
        """A record, or its absence, proved. Raises Degraded BAD_REQUEST."""
        key = request.key if request.WhichOneof("state_key") == "key" else self._table_key(request.table_key)
        if not 1 <= len(key) <= KEY_BYTES_MAX:
            raise Degraded(NodeError.BAD_REQUEST, reason=f"a state key has 1 to {KEY_BYTES_MAX} bytes")
        block, value, proof = await self._engine.between_blocks(lambda: self._prove(key))
        return pb.GetProofResponse(
            key=key,
            found=value is not None,
            value=value or b"",
            proof=codec.encode(proof),
            header=convert.header(block),
            height=block.height,
            time_ms=block.time_ms,
        )

    async def GetReceiptFile(
        self, request: pb.GetReceiptFileRequest, call: Call
    ) -> pb.GetReceiptFileResponse:
        """A receipt file. Raises Degraded RECEIPT_UNKNOWN, PROOF_PENDING, BAD_REQUEST."""
        place = self._engine.find(checked_id(request.tx_id))
        if place is None:
            raise Degraded(NodeError.RECEIPT_UNKNOWN)
        if place[0] > self._published.stand().height:
            raise Degraded(NodeError.PROOF_PENDING)
        document = await asyncio.to_thread(self._receipt_file, *place)
        height, time_ms = self._published.stand()
        return pb.GetReceiptFileResponse(file=write_document(dict(document)), height=height, time_ms=time_ms)

    async def StreamBackup(
        self, request: pb.StreamBackupRequest, call: Call
    ) -> AsyncIterator[pb.StreamBackupResponse]:
        """A backup. Raises Degraded OVERLOADED while another one is under way."""
        async with aclosing(self._backup.stream()) as parts:
            async for part in parts:
                if isinstance(part, bytes):
                    yield pb.StreamBackupResponse(chunk=part)
                else:
                    yield pb.StreamBackupResponse(summary_json=convert.json_text(part))

    def _check_told(self, height: int) -> None:
        """Raises Degraded BLOCK_UNKNOWN for a block that is in the log alone: the sequencer may not have its
        certificate on record yet.
        """
        if height > self._published.stand().height:
            raise Degraded(NodeError.BLOCK_UNKNOWN)

    def _block(self, request: pb.GetBlockRequest) -> BlockRecord:
        _check_height(request.height)
        wanted = request.include_leaves or request.include_receipts or request.include_bodies
        found = (
            self._blocks.block(request.height)
            if wanted
            else next(iter(self._blocks.headers(request.height, 1)), None)
        )
        if found is None or found.height != request.height:
            raise Degraded(NodeError.BLOCK_UNKNOWN)
        return found

    def _prove(self, key: bytes) -> tuple[BlockRecord, bytes | None, Proof]:
        """Between blocks: header, value and proof of one height."""
        proof = self._ledger.prove(key)
        value = self._ledger.stored(key)
        block = self._blocks.headers(self._ledger.info().height, 1)[0]
        if not check_proof(
            self._ledger.suite, convert.decode_header(block.header).state_root, key, value, proof
        ):
            raise InvariantViolated(f"the state tree does not prove key {key.hex()} at height {block.height}")
        return block, value, proof

    def _table_key(self, asked: pb.TableKey) -> bytes:
        contract = self._ledger.readers.get(asked.contract)
        table = contract.tables.get(asked.table) if contract else None
        if table is None:
            raise Degraded(NodeError.BAD_REQUEST, reason="there is no such contract or table")
        try:
            parts = _json_list(asked.parts_json)
            annotations = list(table.parts.values())
            if len(parts) != len(annotations):
                raise JsonRefused(f"parts_json: the table's key has the parts {', '.join(table.parts)}")
            return table.key(
                *[from_json(a, part, "parts_json") for a, part in zip(annotations, parts, strict=True)]
            )
        except JsonRefused as refused:
            raise Degraded(NodeError.BAD_REQUEST, reason=str(refused)) from refused


def _json_list(text: str) -> list[str | int]:
    if len(text) > PARTS_JSON_MAX:
        raise JsonRefused("parts_json: too long")
    try:
        return msgspec.json.decode(text, type=list[str | int])
    except ValueError as error:
        raise JsonRefused("parts_json: expected a list of texts and integers") from error


def _check_height(height: int) -> None:
    """Raises Degraded BLOCK_UNKNOWN for what no height can be."""
    if not 0 <= height < 2**63:
        raise Degraded(NodeError.BLOCK_UNKNOWN)
