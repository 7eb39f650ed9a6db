"""The access matrix: who may call which RPC, one row each. What has no row is refused.

A row names the roles that open the RPC, what is checked of a request, and how an answer is narrowed to what
its reader may see (reading.py). Whoever comes without TLS on loopback is the node's own operator, if the
configuration lets it be, and passes every row.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from node.engine.errors import Degraded, NodeError
from node.json_form import JsonRefused, parse_document
from node.keys.certificates import Role
from node.ledger.types import TRANSACTION_BYTES_MAX, Event
from node.services.identity import Identity
from node.services.reading import Reading

Ask = Callable[[Reading, Identity, Any], None]
"""Looks at a request. Raises Degraded NOT_PERMITTED."""
Show = Callable[[Reading, Identity, Any], Any]
"""Looks at an answer: the answer, narrowed where it must be; None: nothing of it. Raises Degraded
NOT_PERMITTED.
"""
Weigh = Callable[[Any], int]
"""How much a request is in its quota: transactions, or calls."""

ANY_ROLE: Final = frozenset(Role)
READERS: Final = frozenset({Role.READER, Role.AUDITOR, Role.REGULATOR})
CONCERNED: Final = ANY_ROLE - {Role.OPERATOR}
BLOCK_READERS: Final = READERS | {Role.OPERATOR}
SUBMITTERS: Final = frozenset({Role.SUBMITTER})
PREPARERS: Final = frozenset({Role.SUBMITTER, Role.MAKER})
MAKERS: Final = frozenset({Role.MAKER})
TRADERS: Final = READERS | MAKERS
CHECKERS: Final = frozenset({Role.CHECKER})
CUSTODIANS: Final = frozenset({Role.MAKER, Role.CHECKER, Role.AUDITOR, Role.OPERATOR})
OPERATORS: Final = frozenset({Role.OPERATOR})
BALANCES_A_CALL: Final = 10
"""So many balances of one request count as a call: read from the disk they cost about as much as one."""
ANYBODY: Final = None
"""No role and no certificate: health alone."""


class Access(NamedTuple):
    """A row. roles: any of which opens the RPC; None: it takes none. reads: what it shows, in words. weigh:
    the transactions that a request brings. counts: the calls for which it counts, where that is not one.
    waits: whether a call may last, so that it ends when its certificate does.
    """

    roles: frozenset[Role] | None
    reads: str
    ask: Ask | None = None
    show: Show | None = None
    weigh: Weigh | None = None
    counts: Weigh | None = None
    waits: bool = False

    def check_role(self, identity: Identity) -> None:
        """Raises Degraded NOT_PERMITTED where none of the caller's roles opens the RPC."""
        if self.roles is not None and self.roles.isdisjoint(identity.roles):
            raise Degraded(
                NodeError.NOT_PERMITTED,
                reason=f"this takes the role {' or '.join(sorted(self.roles))}",
                member=identity.member,
            )


# --- what is looked at ------------------------------------------------------------------------------------


def _account(reading: Reading, identity: Identity, request: Any) -> None:
    reading.check_account(identity, request.account)


def _member(reading: Reading, identity: Identity, request: Any) -> None:
    reading.check_member(identity, request.member)


def _issuer(reading: Reading, identity: Identity, request: Any) -> None:
    reading.check_issuer(identity, request.asset)


def _whole(reading: Reading, identity: Identity, _: Any) -> None:
    reading.check_all(identity)


def _hold(reading: Reading, identity: Identity, request: Any) -> None:
    reading.check_hold(identity, request.account, request.hold)


def _case(reading: Reading, identity: Identity, request: Any) -> None:
    named = {"member": request.member, "subject": request.subject.hex()}
    reading.check_query(identity, "reconciliation", "get_case", named)


def _serviced(reading: Reading, identity: Identity, request: Any) -> None:
    named = {"account": request.account, "servicer": request.servicer}
    reading.check_query(identity, "main_account", "list_days", named)


def _of(reading: Reading, identity: Identity, request: Any) -> None:
    if request.WhichOneof("of") == "account":
        reading.check_account(identity, request.account)
    else:
        reading.check_member(identity, request.member)


def _content(reading: Reading, identity: Identity, request: Any) -> None:
    """Headers everybody; what is in a block of all members only who reads everything, and the operator."""
    if (
        request.include_leaves or request.include_receipts or request.include_bodies
    ) and Role.OPERATOR not in identity.roles:
        reading.check_all(identity)


def _key(reading: Reading, identity: Identity, request: Any) -> None:
    if request.WhichOneof("state_key") == "key":
        reading.check_key(identity, request.key)
        return
    named = request.table_key
    reading.check_table_key(identity, named.contract, named.table, named.parts_json)


def _receipt(reading: Reading, identity: Identity, request: Any) -> None:
    reading.check_receipt(identity, request.tx_id)


def _query(reading: Reading, identity: Identity, request: Any) -> None:
    try:
        arguments = parse_document((request.arguments_json or "{}").encode(), 4 * TRANSACTION_BYTES_MAX)
    except JsonRefused as refused:
        raise Degraded(NodeError.BAD_REQUEST, reason=str(refused)) from refused
    reading.check_query(identity, request.contract, request.query, arguments)


def _balances(request: Any) -> int:
    return -(-len(request.keys) // BALANCES_A_CALL)


def _transaction(reading: Reading, identity: Identity, response: Any) -> Any:
    told = response.transaction
    events = [Event(event.contract, event.event, event.fields) for event in told.events]
    reading.check_transaction(identity, told.member, events)
    return response


# --- the matrix -------------------------------------------------------------------------------------------

_SUBMIT: Final = Access(SUBMITTERS, "receipts of the transactions that it hands in", weigh=lambda _: 1)
_BATCH: Final = Access(SUBMITTERS, _SUBMIT.reads, weigh=lambda request: len(request.signed_transactions))
_OWN_ACCOUNTS: Final = "its own accounts"
_OWN_TRANSACTION: Final = (
    "transactions that it signed, and those that concern it and at most one other member"
)
_CHAIN: Final = "the chain"
_REQUESTS: Final = "requests to the node of its own member"
_SHARED: Final = "what is shared"
_OWN_VAULT: Final = "the vault of its own member's node"
_OFFERS: Final = "offers by it, to it or to all"
_DEALS: Final = "deals to which it is a party"
_CASES: Final = "its own cases, and those in which it is the counterparty"
_SERVICED: Final = "its own accounts, and those that it services"
_OWN_QUEUE: Final = "its own queue"

ACCESS: Final[Mapping[str, Access]] = {
    "/vostro.transaction.v1.TransactionService/Submit": _SUBMIT,
    "/vostro.transaction.v1.TransactionService/SubmitBatch": _BATCH,
    "/vostro.transaction.v1.TransactionService/SubmitStream": _BATCH,
    "/vostro.transaction.v1.TransactionService/GetTransaction": Access(
        CONCERNED, _OWN_TRANSACTION, show=_transaction
    ),
    "/vostro.transaction.v1.TransactionService/WaitTransaction": Access(
        CONCERNED, _OWN_TRANSACTION, show=_transaction, waits=True
    ),
    "/vostro.transaction.v1.TransactionService/ListTransactions": Access(READERS, _OWN_ACCOUNTS, ask=_of),
    "/vostro.account.v1.AccountService/GetAccount": Access(READERS, _OWN_ACCOUNTS, ask=_account),
    "/vostro.account.v1.AccountService/ListAccounts": Access(READERS, _OWN_ACCOUNTS, ask=_member),
    "/vostro.product.v1.ProductService/GetAsset": Access(ANY_ROLE, _SHARED),
    "/vostro.product.v1.ProductService/ListAssets": Access(ANY_ROLE, _SHARED),
    "/vostro.product.v1.ProductService/GetEntry": Access(ANY_ROLE, _SHARED),
    "/vostro.product.v1.ProductService/GetApplication": Access(ANY_ROLE, _SHARED),
    "/vostro.product.v1.ProductService/ListApplications": Access(ANY_ROLE, _SHARED),
    "/vostro.product.v1.ProductService/ListOrders": Access(ANY_ROLE, _SHARED),
    "/vostro.product.v1.ProductService/ListActions": Access(ANY_ROLE, _SHARED),
    "/vostro.product.v1.ProductService/ListClaims": Access(
        READERS, "claims from assets of which it is the issuer", ask=_issuer
    ),
    "/vostro.product.v1.ProductService/GetClaim": Access(READERS, _OWN_ACCOUNTS, ask=_account),
    "/vostro.product.v1.ProductService/GetAccrued": Access(READERS, _OWN_ACCOUNTS, ask=_account),
    "/vostro.trading.v1.TradingService/GetOffer": Access(TRADERS, _OFFERS, ask=_member),
    "/vostro.trading.v1.TradingService/ListOffers": Access(TRADERS, _OFFERS, ask=_member),
    "/vostro.trading.v1.TradingService/ListOpenOffers": Access(TRADERS, _OFFERS, ask=_member),
    "/vostro.trading.v1.TradingService/GetDeal": Access(TRADERS, _DEALS, ask=_member),
    "/vostro.trading.v1.TradingService/ListDeals": Access(TRADERS, _DEALS, ask=_member),
    "/vostro.trading.v1.TradingService/GetLinkedSet": Access(TRADERS, _DEALS, ask=_member),
    "/vostro.trading.v1.TradingService/GetCycle": Access(TRADERS, _DEALS, ask=_member),
    "/vostro.trading.v1.TradingService/ListCycles": Access(ANY_ROLE, _SHARED),
    "/vostro.trading.v1.TradingService/PrepareStep": Access(TRADERS, _OFFERS, ask=_member),
    "/vostro.fund.v1.FundService/GetBalance": Access(READERS, _OWN_ACCOUNTS, ask=_account),
    # its service looks at each account, and tells in its place what is not permitted
    "/vostro.fund.v1.FundService/GetBalances": Access(READERS, _OWN_ACCOUNTS, counts=_balances),
    "/vostro.fund.v1.FundService/ListBalances": Access(READERS, _OWN_ACCOUNTS, ask=_account),
    "/vostro.fund.v1.FundService/GetHold": Access(
        READERS, "holds in its own accounts, or to be paid to them", ask=_hold
    ),
    "/vostro.fund.v1.FundService/ListHolds": Access(READERS, _OWN_ACCOUNTS, ask=_account),
    "/vostro.fund.v1.FundService/ListMovements": Access(READERS, _OWN_ACCOUNTS, ask=_account),
    "/vostro.fund.v1.FundService/ListPositions": Access(READERS, _OWN_ACCOUNTS, ask=_member),
    "/vostro.reconciliation.v1.ReconciliationService/GetCase": Access(READERS, _CASES, ask=_case),
    "/vostro.reconciliation.v1.ReconciliationService/ListCases": Access(READERS, _CASES, ask=_member),
    "/vostro.reconciliation.v1.ReconciliationService/ListCasesAgainst": Access(READERS, _CASES, ask=_member),
    "/vostro.reconciliation.v1.ReconciliationService/ListNotes": Access(READERS, _CASES, ask=_case),
    "/vostro.reconciliation.v1.ReconciliationService/ListAttestedDays": Access(
        READERS, _SERVICED, ask=_serviced
    ),
    "/vostro.reconciliation.v1.ReconciliationService/PrepareAttestation": Access(
        READERS, _SERVICED, ask=_serviced
    ),
    "/vostro.clearing.v1.ClearingService/GetCalendar": Access(ANY_ROLE, _SHARED),
    "/vostro.clearing.v1.ClearingService/GetQueue": Access(READERS, _OWN_QUEUE, ask=_member),
    "/vostro.clearing.v1.ClearingService/GetInstruction": Access(READERS, _OWN_QUEUE, ask=_member),
    "/vostro.clearing.v1.ClearingService/ListInstructions": Access(READERS, _OWN_QUEUE, ask=_member),
    "/vostro.clearing.v1.ClearingService/GetCycle": Access(ANY_ROLE, _SHARED),
    "/vostro.clearing.v1.ClearingService/GetLine": Access(READERS, _OWN_QUEUE, ask=_member),
    "/vostro.clearing.v1.ClearingService/GetClaims": Access(
        READERS, "all queues, only who reads everything", ask=_whole
    ),
    "/vostro.ledger.v1.LedgerService/GetStatus": Access(ANY_ROLE, _CHAIN),
    "/vostro.ledger.v1.LedgerService/GetGenesis": Access(ANY_ROLE, _CHAIN),
    "/vostro.ledger.v1.LedgerService/GetBlock": Access(
        BLOCK_READERS, "headers; contents only who reads everything, and the operator", ask=_content
    ),
    "/vostro.ledger.v1.LedgerService/ListHeaders": Access(ANY_ROLE, _CHAIN),
    "/vostro.ledger.v1.LedgerService/StreamBlocks": Access(
        BLOCK_READERS, "headers; contents only who reads everything, and the operator", ask=_content
    ),
    "/vostro.ledger.v1.LedgerService/StreamEvents": Access(
        READERS, "shared events, and those that concern it"
    ),
    "/vostro.ledger.v1.LedgerService/GetProof": Access(
        READERS, "records that are shared or its own", ask=_key
    ),
    "/vostro.ledger.v1.LedgerService/GetReceiptFile": Access(CONCERNED, _OWN_TRANSACTION, ask=_receipt),
    "/vostro.ledger.v1.LedgerService/StreamBackup": Access(OPERATORS, "everything"),
    "/vostro.consensus.v1.ConsensusService/Ask": Access(ANY_ROLE, _CHAIN),
    "/vostro.consensus.v1.ConsensusService/ListHandovers": Access(ANY_ROLE, _CHAIN),
    "/vostro.contract.v1.ContractService/ListContracts": Access(ANY_ROLE, _SHARED),
    "/vostro.contract.v1.ContractService/GetSchema": Access(ANY_ROLE, _SHARED),
    "/vostro.contract.v1.ContractService/PrepareTransaction": Access(
        PREPARERS, "how many officers must sign"
    ),
    "/vostro.contract.v1.ContractService/Query": Access(
        CONCERNED, "what is shared; with a reading role its own accounts", ask=_query
    ),
    "/vostro.custody.v1.CustodyService/RequestSigning": Access(MAKERS, _REQUESTS),
    "/vostro.custody.v1.CustodyService/Approve": Access(CHECKERS, _REQUESTS),
    "/vostro.custody.v1.CustodyService/Reject": Access(CHECKERS, _REQUESTS),
    "/vostro.custody.v1.CustodyService/Cancel": Access(MAKERS, _REQUESTS),
    "/vostro.custody.v1.CustodyService/GetRequest": Access(CUSTODIANS, _REQUESTS, waits=True),
    "/vostro.custody.v1.CustodyService/ListRequests": Access(CUSTODIANS, _REQUESTS),
    "/vostro.custody.v1.CustodyService/ExplainPolicy": Access(CUSTODIANS, _REQUESTS),
    "/vostro.vault.v1.VaultService/Store": Access(SUBMITTERS, _OWN_VAULT),
    "/vostro.vault.v1.VaultService/Fetch": Access(CONCERNED, "documents that it owns, or is granted"),
    "/vostro.vault.v1.VaultService/Destroy": Access(SUBMITTERS, _OWN_VAULT),
    "/vostro.vault.v1.VaultService/Examine": Access(BLOCK_READERS, _OWN_VAULT),
    "/vostro.vault.v1.VaultService/GetHoldings": Access(BLOCK_READERS, _OWN_VAULT),
    "/grpc.health.v1.Health/Check": Access(ANYBODY, "health"),
    "/grpc.health.v1.Health/Watch": Access(ANYBODY, "health"),
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": Access(ANY_ROLE, "descriptors"),
}
"""Every RPC's row. A method without one is refused, and a test walks the descriptors to find it."""

CLOSED: Final = Access(frozenset(), "nothing")
"""The row of what has none."""


def row_of(method: str) -> Access:
    """A method's row; deny by default."""
    return ACCESS.get(method, CLOSED)
