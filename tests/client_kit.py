"""A node that misbehaves as it is told, on a real port: what the client's tests cut, delay and refuse with.

It decides a transaction once, by its bytes, and counts how often each was sent; what it answers is scripted.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc

from node.client.outcome import transaction_id_of
from node.engine.errors import NodeError
from node.ledger import codec
from node.ledger.errors import ErrorCode
from node.ledger.genesis import chain_id
from node.ledger.hashing import INTERNATIONAL
from node.ledger.types import Event, Receipt
from node.pb.vostro.ledger.v1 import ledger_pb2
from node.pb.vostro.ledger.v1.ledger_pb2_grpc import (
    LedgerServiceServicer,
    add_LedgerServiceServicer_to_server,
)
from node.pb.vostro.transaction.v1 import transaction_pb2 as pb
from node.pb.vostro.transaction.v1.transaction_pb2_grpc import (
    TransactionServiceServicer,
    add_TransactionServiceServicer_to_server,
)
from node.services.convert import CATEGORIES
from tests.kit import make_genesis

GENESIS = make_genesis()


@dataclass
class FakeNode(TransactionServiceServicer, LedgerServiceServicer):
    """decided: raw bytes -> receipt. sent: how often each came. refusals: raw bytes -> answers to give
    before deciding, in order. cuts: after how many answers each stream in turn is cut, before the answer is
    told. events_cut: the same for events.
    """

    decided: dict[bytes, Receipt] = field(default_factory=dict)
    sent: Counter[bytes] = field(default_factory=Counter)
    refusals: dict[bytes, list[tuple[ErrorCode, bool]]] = field(default_factory=dict)
    codes: dict[bytes, tuple[str, int]] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)
    event_cuts: list[int] = field(default_factory=list)
    event_starts: list[int] = field(default_factory=list)
    reads_to_fail: int = 0
    port: int = 0

    # The generated base class names its methods in capitals.

    async def SubmitBatch(self, request: Any, context: Any) -> Any:  # noqa: N802
        return pb.SubmitBatchResponse(outcomes=[self.answer(raw) for raw in request.signed_transactions])

    async def SubmitStream(self, requests: Any, context: Any) -> Any:  # noqa: N802
        left = self.cuts.pop(0) if self.cuts else None
        async for request in requests:
            outcomes = [self.answer(raw) for raw in request.signed_transactions]
            if left == 0:  # decided, and not told
                await context.abort(grpc.StatusCode.UNAVAILABLE, "cut")
            yield pb.SubmitStreamResponse(correlation=request.correlation, outcomes=outcomes)
            left = None if left is None else left - 1

    async def GetTransaction(self, request: Any, context: Any) -> Any:  # noqa: N802
        for receipt in self.decided.values():
            if receipt.tx_id == request.tx_id:
                transaction = pb.Transaction(receipt=pb.Receipt(encoded=codec.encode(receipt)))
                return pb.GetTransactionResponse(transaction=transaction)
        await context.abort(grpc.StatusCode.NOT_FOUND, "none")
        return None

    async def GetGenesis(self, request: Any, context: Any) -> Any:  # noqa: N802
        if self.reads_to_fail:
            self.reads_to_fail -= 1
            await context.abort(grpc.StatusCode.UNAVAILABLE, "starting")
        encoded = codec.encode(GENESIS)
        return ledger_pb2.GetGenesisResponse(encoded=encoded, chain_id=chain_id(GENESIS))

    async def StreamEvents(self, request: Any, context: Any) -> Any:  # noqa: N802
        start = getattr(request, "from").height
        self.event_starts.append(start)
        left = self.event_cuts.pop(0) if self.event_cuts else 1_000
        for height in range(start, 20):
            if left == 0:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "cut")
            event = pb.Event(contract="a", event="B", fields=height.to_bytes(2, "big"))
            at, following = ledger_pb2.Cursor(height=height), ledger_pb2.Cursor(height=height + 1)
            yield ledger_pb2.StreamEventsResponse(event=event, tx_id=bytes(32), at=at, next=following)
            left -= 1
        await asyncio.Event().wait()

    async def StreamBackup(self, request: Any, context: Any) -> Any:  # noqa: N802
        yield ledger_pb2.StreamBackupResponse(chunk=b"half of it")

    def answer(self, raw: bytes) -> Any:
        """Decide once; the same bytes again get the first outcome."""
        self.sent[raw] += 1
        if self.refusals.get(raw):
            error, decided = self.refusals[raw].pop(0)
            return pb.Outcome(
                error=pb.Error(
                    codespace=error.codespace,
                    code=error.code,
                    category=CATEGORIES[error.category],
                    decided=decided,
                )
            )
        if raw not in self.decided:
            codespace, code = self.codes.get(raw, ("", 0))
            tx_id = transaction_id_of(raw, INTERNATIONAL)
            events = () if code else (Event("a", "B", b""),)
            self.decided[raw] = Receipt(
                1, tx_id, len(self.decided) + 1, 0, codespace, code, 1 if code else 0, events
            )
        return pb.Outcome(receipt=pb.Receipt(encoded=codec.encode(self.decided[raw])))


OVERLOADED = (NodeError.OVERLOADED, False)


@asynccontextmanager
async def fake_node(node: FakeNode) -> AsyncIterator[str]:
    """Serve it; gives host:port."""
    server = grpc.aio.server()
    add_TransactionServiceServicer_to_server(node, server)
    add_LedgerServiceServicer_to_server(node, server)
    node.port = server.add_insecure_port(f"127.0.0.1:{node.port}")
    await server.start()
    try:
        yield f"127.0.0.1:{node.port}"
    finally:
        await server.stop(0)
