"""The server: every RPC in one table, the limits of the door, and how the servicers are put together."""

import resource
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_reflection.v1alpha.reflection_pb2_grpc import add_ServerReflectionServicer_to_server

from node.config import LOOPBACK, ConfigError, NodeConfig, host_of
from node.engine.custody import Desk
from node.engine.engine import Engine
from node.engine.vault import Keeper
from node.ledger.errors import InvariantViolated
from node.ledger.ledger import Ledger
from node.pb.vostro.account.v1.account_pb2_grpc import add_AccountServiceServicer_to_server
from node.pb.vostro.clearing.v1.clearing_pb2_grpc import add_ClearingServiceServicer_to_server
from node.pb.vostro.consensus.v1.consensus_pb2_grpc import add_ConsensusServiceServicer_to_server
from node.pb.vostro.contract.v1.contract_pb2_grpc import add_ContractServiceServicer_to_server
from node.pb.vostro.custody.v1.custody_pb2_grpc import add_CustodyServiceServicer_to_server
from node.pb.vostro.fund.v1.fund_pb2_grpc import add_FundServiceServicer_to_server
from node.pb.vostro.ledger.v1.ledger_pb2_grpc import add_LedgerServiceServicer_to_server
from node.pb.vostro.product.v1.product_pb2_grpc import add_ProductServiceServicer_to_server
from node.pb.vostro.reconciliation.v1.reconciliation_pb2_grpc import (
    add_ReconciliationServiceServicer_to_server,
)
from node.pb.vostro.trading.v1.trading_pb2_grpc import add_TradingServiceServicer_to_server
from node.pb.vostro.transaction.v1.transaction_pb2_grpc import add_TransactionServiceServicer_to_server
from node.pb.vostro.vault.v1.vault_pb2_grpc import add_VaultServiceServicer_to_server
from node.services.account_service import AccountService
from node.services.clearing_service import ClearingService
from node.services.consensus_service import AskConsensus, ConsensusService, ListHandovers
from node.services.contract_service import ContractService
from node.services.convert import Converter
from node.services.custody_service import Callers, CustodyService, identified
from node.services.doors import Doors
from node.services.fund_service import FundService
from node.services.history import History
from node.services.identity import LOCAL_OPERATOR, NOBODY
from node.services.interceptors import REQUEST_BYTES_MAX, Observer, Registrar
from node.services.ledger_service import LedgerService
from node.services.ports import Backup, Blocks, Index, ReceiptFile
from node.services.product_service import ProductService
from node.services.published import Published
from node.services.quotas import CALLS_MAX, Quotas
from node.services.reading import Reading
from node.services.reconciliation_service import ReconciliationService
from node.services.tls import CertificateFiles
from node.services.trading_service import TradingService
from node.services.transaction_service import TransactionService
from node.services.vault_service import CHUNK_BYTES_MAX, VaultService

MIB: Final = 1024 * 1024
BATCH_BYTES_MAX: Final = 8 * MIB
RESPONSE_BYTES_MAX: Final = 16 * MIB
"""The receipts of a full batch are larger than the batch; clients raise their own limit to this."""

OPTIONS: Final = (
    ("grpc.max_receive_message_length", BATCH_BYTES_MAX),
    ("grpc.max_send_message_length", RESPONSE_BYTES_MAX),
    ("grpc.max_metadata_size", 16 * 1024),
    ("grpc.max_concurrent_streams", 1_024),
    ("grpc.server_handshake_timeout_ms", 2_000),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.max_connection_idle_ms", 15 * 60_000),
    ("grpc.max_connection_age_ms", 60 * 60_000),
    ("grpc.max_connection_age_grace_ms", 60_000),
    ("grpc.so_reuseport", 0),
)


class Rpc(NamedTuple):
    """One RPC. changes: whether it brings changes; everything else only reads. request_bytes_max: of one
    message.
    """

    changes: bool = False
    request_bytes_max: int = REQUEST_BYTES_MAX


_READS: Final = Rpc()

RPCS: Final = {
    "/vostro.transaction.v1.TransactionService/Submit": Rpc(changes=True),
    "/vostro.transaction.v1.TransactionService/SubmitBatch": Rpc(
        changes=True, request_bytes_max=BATCH_BYTES_MAX
    ),
    "/vostro.transaction.v1.TransactionService/SubmitStream": Rpc(
        changes=True, request_bytes_max=BATCH_BYTES_MAX
    ),
    "/vostro.transaction.v1.TransactionService/GetTransaction": _READS,
    "/vostro.transaction.v1.TransactionService/WaitTransaction": _READS,
    "/vostro.transaction.v1.TransactionService/ListTransactions": _READS,
    "/vostro.account.v1.AccountService/GetAccount": _READS,
    "/vostro.account.v1.AccountService/ListAccounts": _READS,
    "/vostro.product.v1.ProductService/GetAsset": _READS,
    "/vostro.product.v1.ProductService/ListAssets": _READS,
    "/vostro.product.v1.ProductService/GetEntry": _READS,
    "/vostro.product.v1.ProductService/GetApplication": _READS,
    "/vostro.product.v1.ProductService/ListApplications": _READS,
    "/vostro.product.v1.ProductService/ListOrders": _READS,
    "/vostro.product.v1.ProductService/ListActions": _READS,
    "/vostro.product.v1.ProductService/ListClaims": _READS,
    "/vostro.product.v1.ProductService/GetClaim": _READS,
    "/vostro.product.v1.ProductService/GetAccrued": _READS,
    "/vostro.trading.v1.TradingService/GetOffer": _READS,
    "/vostro.trading.v1.TradingService/ListOffers": _READS,
    "/vostro.trading.v1.TradingService/ListOpenOffers": _READS,
    "/vostro.trading.v1.TradingService/GetDeal": _READS,
    "/vostro.trading.v1.TradingService/ListDeals": _READS,
    "/vostro.trading.v1.TradingService/GetLinkedSet": _READS,
    "/vostro.trading.v1.TradingService/GetCycle": _READS,
    "/vostro.trading.v1.TradingService/ListCycles": _READS,
    "/vostro.trading.v1.TradingService/PrepareStep": _READS,
    "/vostro.fund.v1.FundService/GetBalance": _READS,
    "/vostro.fund.v1.FundService/GetBalances": _READS,
    "/vostro.fund.v1.FundService/ListBalances": _READS,
    "/vostro.fund.v1.FundService/GetHold": _READS,
    "/vostro.fund.v1.FundService/ListHolds": _READS,
    "/vostro.fund.v1.FundService/ListMovements": _READS,
    "/vostro.fund.v1.FundService/ListPositions": _READS,
    "/vostro.reconciliation.v1.ReconciliationService/GetCase": _READS,
    "/vostro.reconciliation.v1.ReconciliationService/ListCases": _READS,
    "/vostro.reconciliation.v1.ReconciliationService/ListCasesAgainst": _READS,
    "/vostro.reconciliation.v1.ReconciliationService/ListNotes": _READS,
    "/vostro.reconciliation.v1.ReconciliationService/ListAttestedDays": _READS,
    "/vostro.reconciliation.v1.ReconciliationService/PrepareAttestation": _READS,
    "/vostro.clearing.v1.ClearingService/GetCalendar": _READS,
    "/vostro.clearing.v1.ClearingService/GetQueue": _READS,
    "/vostro.clearing.v1.ClearingService/GetInstruction": _READS,
    "/vostro.clearing.v1.ClearingService/ListInstructions": _READS,
    "/vostro.clearing.v1.ClearingService/GetCycle": _READS,
    "/vostro.clearing.v1.ClearingService/GetLine": _READS,
    "/vostro.clearing.v1.ClearingService/GetClaims": _READS,
    "/vostro.ledger.v1.LedgerService/GetStatus": _READS,
    "/vostro.ledger.v1.LedgerService/GetGenesis": _READS,
    "/vostro.ledger.v1.LedgerService/GetBlock": _READS,
    "/vostro.ledger.v1.LedgerService/ListHeaders": _READS,
    "/vostro.ledger.v1.LedgerService/StreamBlocks": _READS,
    "/vostro.ledger.v1.LedgerService/StreamEvents": _READS,
    "/vostro.ledger.v1.LedgerService/GetProof": _READS,
    "/vostro.ledger.v1.LedgerService/GetReceiptFile": _READS,
    "/vostro.ledger.v1.LedgerService/StreamBackup": _READS,
    "/vostro.contract.v1.ContractService/ListContracts": _READS,
    "/vostro.contract.v1.ContractService/GetSchema": _READS,
    "/vostro.contract.v1.ContractService/PrepareTransaction": _READS,
    "/vostro.contract.v1.ContractService/Query": _READS,
    "/vostro.custody.v1.CustodyService/RequestSigning": Rpc(changes=True),
    "/vostro.custody.v1.CustodyService/Approve": Rpc(changes=True),
    "/vostro.custody.v1.CustodyService/Reject": Rpc(changes=True),
    "/vostro.custody.v1.CustodyService/Cancel": Rpc(changes=True),
    "/vostro.custody.v1.CustodyService/GetRequest": _READS,
    "/vostro.custody.v1.CustodyService/ListRequests": _READS,
    "/vostro.custody.v1.CustodyService/ExplainPolicy": _READS,
    "/vostro.consensus.v1.ConsensusService/Ask": _READS,
    "/vostro.consensus.v1.ConsensusService/ListHandovers": _READS,
    "/vostro.vault.v1.VaultService/Store": Rpc(changes=True, request_bytes_max=CHUNK_BYTES_MAX + 16),
    "/vostro.vault.v1.VaultService/Fetch": _READS,
    "/vostro.vault.v1.VaultService/Destroy": Rpc(changes=True),
    "/vostro.vault.v1.VaultService/Examine": _READS,
    "/vostro.vault.v1.VaultService/GetHoldings": _READS,
    "/grpc.health.v1.Health/Check": _READS,
    "/grpc.health.v1.Health/Watch": _READS,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": _READS,
}
"""Every RPC that a node answers. A method that is not in here has no handler, and a test says so."""

SERVICES: Final = tuple(dict.fromkeys(method.split("/")[1] for method in RPCS))


@dataclass(frozen=True, slots=True)
class Parts:
    """What the services serve. index: None where the node keeps none. version: of the software. custody:
    None where the node signs for nobody; callers: who makes a call to it. vault: None where the node keeps no
    documents.
    """

    engine: Engine
    ledger: Ledger
    blocks: Blocks
    index: Index | None
    receipt_file: ReceiptFile
    backup: Backup
    version: str
    custody: Desk | None = None
    callers: Callers = identified
    consensus: AskConsensus | None = None
    handovers: ListHandovers | None = None
    vault: Keeper | None = None


@dataclass(frozen=True, slots=True)
class Face:
    """A node's gRPC server. port: where it listens once started."""

    server: grpc.aio.Server
    port: int
    health: health.aio.HealthServicer
    doors: Doors

    async def start(self) -> None:
        """Take calls, and say so to whoever checks the node's health."""
        for service in ("", *SERVICES):
            await self.health.set(service, health_pb2.HealthCheckResponse.SERVING)
        self.doors.start()
        await self.server.start()

    async def stop(self, grace: float) -> None:
        """Say that the node goes, let calls under way finish for ``grace`` seconds, end the rest."""
        await self.health.enter_graceful_shutdown()
        await self.server.stop(grace)
        await self.doors.stop()


def _unobserved(method: str, code: str, seconds: float) -> None:
    """Nobody measures."""


def _unstopped(error: InvariantViolated) -> None:
    """Nobody halts the node; the call's log line is all there is."""


def build_server(
    config: NodeConfig,
    parts: Parts,
    observe: Observer = _unobserved,
    stop: Callable[[InvariantViolated], None] = _unstopped,
) -> Face:
    """A server on ``config.listen``, bound and not started. Called in a running event loop.

    observe: told of every call when it ends (method, status name, seconds). stop: told when a call met a
    broken invariant. Raises ConfigError where the address or the TLS files cannot be used.
    """
    connections = ("grpc.max_allowed_incoming_connections", allow_connections(config.connections_max))
    server = grpc.aio.server(options=(*OPTIONS, connections), maximum_concurrent_rpcs=CALLS_MAX)
    limits = {method: rpc.request_bytes_max for method, rpc in RPCS.items()}
    files = CertificateFiles.of(config)
    reading = Reading(parts.ledger, parts.blocks, parts.engine)
    quotas = Quotas(config.quota_calls, config.quota_transactions, config.quota_streams)
    local = LOCAL_OPERATOR if config.local_access == "operator" else NOBODY
    doors = Doors(files, local, quotas, reading)
    if files and parts.custody:
        parts.custody.revokes = files.revokes
    registrar: Any = Registrar(limits, observe, stop, doors, access_log=config.log_level == "debug")
    register_services(registrar, parts, reading)
    checks = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, registrar)
    add_reflection: Any = add_ServerReflectionServicer_to_server  # generated without annotations
    add_reflection(reflection.aio.ReflectionServicer(SERVICES), registrar)
    registrar.serve(server)
    return Face(server, _bind(server, config, files), checks, doors)


def register_services(registrar: Any, parts: Parts, reading: Reading) -> None:
    """Give every servicer what it needs, and the registrar, which generated code takes for a server, every
    servicer.
    """
    engine, ledger, blocks = parts.engine, parts.ledger, parts.blocks
    published = Published(ledger, blocks)
    converter = Converter(ledger)
    history = History(parts.index, blocks, published.pages)
    transactions = TransactionService(engine, blocks, published, converter, history)
    chain = LedgerService(
        engine,
        ledger,
        blocks,
        published,
        converter,
        history,
        reading,
        parts.receipt_file,
        parts.backup,
        parts.version,
    )
    add_TransactionServiceServicer_to_server(transactions, registrar)
    add_AccountServiceServicer_to_server(AccountService(published), registrar)
    add_ProductServiceServicer_to_server(ProductService(published), registrar)
    add_TradingServiceServicer_to_server(TradingService(ledger, published), registrar)
    add_FundServiceServicer_to_server(FundService(published, blocks, history, reading), registrar)
    reconciliation = ReconciliationService(engine, published, history, ledger.suite)
    add_ReconciliationServiceServicer_to_server(reconciliation, registrar)
    add_ClearingServiceServicer_to_server(ClearingService(published), registrar)
    add_LedgerServiceServicer_to_server(chain, registrar)
    add_ContractServiceServicer_to_server(ContractService(ledger, published), registrar)
    add_CustodyServiceServicer_to_server(CustodyService(parts.custody, parts.callers), registrar)
    add_ConsensusServiceServicer_to_server(ConsensusService(parts.consensus, parts.handovers), registrar)
    add_VaultServiceServicer_to_server(VaultService(parts.vault), registrar)


def allow_connections(wanted: int) -> int:
    """How many connections the server may take: as many as wanted, but never more than half of the files
    that this process may open, which is raised for it as far as the system permits.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    raised = soft + wanted if hard == resource.RLIM_INFINITY else min(soft + wanted, hard)
    if soft != resource.RLIM_INFINITY and raised > soft and soft < 2 * wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
        soft = raised
    return wanted if soft == resource.RLIM_INFINITY else max(1, min(wanted, soft // 2))


def _bind(server: grpc.aio.Server, config: NodeConfig, files: CertificateFiles | None) -> int:
    """The port on which the server will listen."""
    try:
        if files:
            return server.add_secure_port(config.listen, files.credentials())
        if host_of(config.listen) not in LOOPBACK:
            raise ConfigError(f"{config.listen} is not loopback: that takes the three TLS files")
        return server.add_insecure_port(config.listen)
    except RuntimeError as error:
        raise ConfigError(
            f"the node cannot listen on {config.listen}: is the address this machine's, and free?"
        ) from error
