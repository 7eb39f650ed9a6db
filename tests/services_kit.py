"""A whole gRPC face over a consortium in memory: an engine that decides at once, or as it is told, and stubs
to call it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import grpc
from google.rpc import error_details_pb2, status_pb2

from node.config import NodeConfig
from node.engine.engine import EngineStatus, Outcome
from node.ledger import codec
from node.ledger.errors import ErrorCode
from node.ledger.types import Receipt
from node.pb.vostro.account.v1.account_pb2_grpc import AccountServiceStub
from node.pb.vostro.contract.v1.contract_pb2_grpc import ContractServiceStub
from node.pb.vostro.fund.v1.fund_pb2_grpc import FundServiceStub
from node.pb.vostro.ledger.v1.ledger_pb2_grpc import LedgerServiceStub
from node.pb.vostro.product.v1.product_pb2_grpc import ProductServiceStub
from node.pb.vostro.reconciliation.v1.reconciliation_pb2_grpc import ReconciliationServiceStub
from node.pb.vostro.trading.v1.trading_pb2_grpc import TradingServiceStub
from node.pb.vostro.transaction.v1.transaction_pb2_grpc import TransactionServiceStub
from node.services.interceptors import STATUS_DETAILS
from node.services.server import Parts, build_server
from node.storage.index import Index, Movement
from tests.kit import Consortium

T = TypeVar("T")

WORD_SECONDS = 10.0
"""How long a test waits for an answer that should be immediate."""


@dataclass
class DirectEngine:
    """Implements engine.Engine: a block for each call. canned: outcomes to give instead; gate: what submit
    waits for first; arrived: set when a call waits there.
    """

    world: Consortium
    canned: list[Outcome] = field(default_factory=list)
    failure: Exception | None = None
    gate: asyncio.Event | None = None
    submitted: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.moved = asyncio.Event()
        self.arrived = asyncio.Event()
        self.deciding: set[asyncio.Future[list[Outcome]]] = set()

    async def start(self) -> None:
        """Nothing runs."""

    async def stop(self) -> None:
        """Nothing ran."""

    def submit(self, items: Sequence[bytes]) -> "asyncio.Future[list[Outcome]]":
        """As engines do: whoever gives up the answer leaves the deciding alone."""
        deciding = asyncio.ensure_future(self.decide(items))
        self.deciding.add(deciding)
        deciding.add_done_callback(self.deciding.discard)
        return asyncio.shield(deciding)

    async def decide(self, items: Sequence[bytes]) -> list[Outcome]:
        if self.gate:
            self.arrived.set()
            await self.gate.wait()
        self.submitted += items
        if self.failure:
            raise self.failure
        if self.canned:
            return self.canned
        outcomes = []
        for outcome in self.world.block(*items):
            if isinstance(outcome, Receipt):
                outcomes.append(Outcome(outcome, decided=True, height=outcome.height))
            else:
                outcomes.append(
                    Outcome(error=outcome.error, details=outcome.details, height=self.world.height)
                )
        self.tell()
        return outcomes

    def tell(self) -> None:
        """Wake whoever waits for heights."""
        moved, self.moved = self.moved, asyncio.Event()
        moved.set()

    def status(self) -> EngineStatus:
        info, serving = self.world.ledger.info(), True
        return EngineStatus("direct", serving, info.height, info.time_ms, info.app_hash, 3, 7, ("an alarm",))

    def find(self, tx_id: bytes) -> tuple[int, int] | None:
        for block in self.world.store.blocks():
            for index, leaf in enumerate(block.leaves):
                if tx_id in leaf:
                    return block.height, index
        return None

    async def heights(self, after: int) -> AsyncIterator[int]:
        while True:
            moved = self.moved
            for header in self.world.store.headers(after + 1, 100):
                after = header.height
                yield after
            if after >= self.world.ledger.info().height:
                await moved.wait()

    async def between_blocks(self, read: Callable[[], T]) -> T:
        return read()


@dataclass
class Client:
    """Stubs of every service over one channel."""

    channel: grpc.aio.Channel

    def __post_init__(self) -> None:
        channel: Any = self.channel
        self.transactions = TransactionServiceStub(channel)
        self.accounts = AccountServiceStub(channel)
        self.products = ProductServiceStub(channel)
        self.funds = FundServiceStub(channel)
        self.trading = TradingServiceStub(channel)
        self.reconciliation = ReconciliationServiceStub(channel)
        self.chain = LedgerServiceStub(channel)
        self.contracts = ContractServiceStub(channel)


@dataclass
class Face:
    """What a test of the services works with. calls: what the observer was told."""

    world: Consortium
    engine: DirectEngine
    index: Index
    client: Client
    port: int
    calls: list[tuple[str, str, float]]
    channel: Any
    halts: list[Exception]


def config_of(folder: Path, **options: Any) -> NodeConfig:
    """A configuration that listens on any free port of loopback."""
    files = {name: folder / name for name in ("data_dir", "genesis", "sequencer_key", "last_signed")}
    defaults: dict[str, Any] = {"listen": "127.0.0.1:0", "sequencer_passphrase_file": folder / "passphrase"}
    return NodeConfig(**{**files, **defaults, **options})


def movements_of(world: Consortium) -> Callable[[Any], list[Movement]]:
    """What app.py plugs into an index."""
    facts = {(c.name, f.__name__): f for c in world.ledger.readers.values() for f in c.facts}

    def movements(event: Any) -> list[Movement]:
        fact: Any = codec.decoder(facts[event.contract, event.event])(event.fields)
        return [Movement(m.account, m.asset, m.amount, event.event, *m[3:]) for m in fact.movements()]

    return movements


def no_file(height: int, index: int) -> dict[str, Any]:
    """What stands for a receipt file."""
    return {"height": height, "index": index}


def backup(write: Callable[[bytes], None]) -> dict[str, Any]:
    """Three mebibytes and a summary."""
    for number in range(3):
        write(bytes([number]) * (1 << 20))
    return {"height": 7, "app_hash": b"\x01\xff"}


@asynccontextmanager
async def serving(
    folder: Path, make_engine: type[DirectEngine] = DirectEngine, *, log_level: str = "info", **replaced: Any
) -> AsyncIterator[Face]:
    """A served consortium; ``replaced`` replaces Parts."""
    world = Consortium()
    engine = make_engine(world)
    index = Index(folder / "index", movements_of(world), blocks=0)
    index.advance(world.store, blocks_max=1_000)
    calls: list[tuple[str, str, float]] = []
    halts: list[Exception] = []
    parts = {
        "engine": engine,
        "ledger": world.ledger,
        "blocks": world.store,
        "index": index,
        "receipt_file": no_file,
        "backup": backup,
        "version": "1.2.3",
    }
    face = build_server(
        config_of(folder, log_level=log_level),
        Parts(**{**parts, **replaced}),
        lambda *call: calls.append(call),
        halts.append,
    )
    await face.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{face.port}") as channel:
            yield Face(world, engine, index, Client(channel), face.port, calls, channel, halts)
    finally:
        await face.stop(0)
        index.close()


@dataclass
class Refusal:
    """A failed call, read."""

    code: grpc.StatusCode
    message: str
    info: error_details_pb2.ErrorInfo
    retry_ms: int | None
    details: list[Any]


async def refused(call: Any) -> Refusal:
    """Await a call that must fail with our ErrorInfo."""
    try:
        if hasattr(call, "__aiter__") and not hasattr(call, "__await__"):
            async for _ in call:
                pass
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return read_refusal(error)
    raise AssertionError("the call was answered")


def read_refusal(error: grpc.aio.AioRpcError) -> Refusal:
    """The parts of a status."""
    metadata = dict(error.trailing_metadata() or ())
    assert STATUS_DETAILS in metadata, f"no details: {error.code()} {error.details()}"
    status = status_pb2.Status.FromString(bytes(metadata[STATUS_DETAILS]))
    info, retry, rest = error_details_pb2.ErrorInfo(), None, []
    for detail in status.details:
        pause = error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            continue
        if detail.Unpack(pause):
            retry = pause.retry_delay.ToMilliseconds()
        else:
            rest.append(detail)
    assert info.domain == "vostro"
    return Refusal(error.code(), error.details() or "", info, retry, rest)


def is_code(refusal: Refusal, error: ErrorCode, *, decided: bool = False) -> bool:
    """Whether a refusal carries this code, and says so of being decided."""
    said = refusal.info.metadata
    return (
        refusal.info.reason == error.name
        and said["codespace"] == error.codespace
        and said["code"] == str(error.code)
        and said["decided"] == ("true" if decided else "false")
        and refusal.message == error.sentence
    )
