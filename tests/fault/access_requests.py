"""What the privilege probes ask: a request of every RPC (test_access.py)."""

from typing import Any, Final

from node.pb.vostro.account.v1 import account_pb2
from node.pb.vostro.clearing.v1 import clearing_pb2
from node.pb.vostro.contract.v1 import contract_pb2
from node.pb.vostro.fund.v1 import fund_pb2
from node.pb.vostro.ledger.v1 import ledger_pb2
from node.pb.vostro.product.v1 import product_pb2
from node.pb.vostro.reconciliation.v1 import reconciliation_pb2
from node.pb.vostro.trading.v1 import trading_pb2
from node.pb.vostro.transaction.v1 import transaction_pb2 as pb
from node.pb.vostro.vault.v1 import vault_pb2
from node.services.access import ACCESS
from tests.fault.node_kit import transfers


def requests(member: str, tx_id: bytes) -> dict[str, Any]:
    """A request of every RPC for what belongs to a member, in bytes. tx_id: of a transaction of its own."""
    account = f"{member}/0" if member != "CNB" else "CNB/1"
    key = b"assets\0balance\0" + account.encode() + b"\0CZK\0"
    raw = transfers(1, 5)[0]
    query = contract_pb2.QueryRequest(
        contract="assets", query="get_balance", arguments_json=f'{{"account": "{account}", "asset": "CZK"}}'
    )
    operation = contract_pb2.Operation(
        contract="assets", method="freeze_account", arguments_json=f'{{"account": "{account}"}}'
    )
    prepare = contract_pb2.PrepareTransactionRequest(member=member, operations=[operation])
    hold = fund_pb2.GetHoldRequest(account=account, hold=bytes([7]) * 32)
    case: dict[str, Any] = {"member": member, "subject": bytes([7]) * 32}
    period: dict[str, Any] = {"account": account, "asset": "CZK", "servicer": "CNB"}
    known: dict[str, Any] = {
        "GetCase": reconciliation_pb2.GetCaseRequest(**case),
        "ListCases": reconciliation_pb2.ListCasesRequest(member=member),
        "ListCasesAgainst": reconciliation_pb2.ListCasesAgainstRequest(member=member),
        "ListNotes": reconciliation_pb2.ListNotesRequest(**case),
        "ListAttestedDays": reconciliation_pb2.ListAttestedDaysRequest(**period),
        "PrepareAttestation": reconciliation_pb2.PrepareAttestationRequest(**period, begins_ms=1, ends_ms=2),
        "Submit": pb.SubmitRequest(signed_transaction=raw),
        "SubmitBatch": pb.SubmitBatchRequest(signed_transactions=[raw]),
        "SubmitStream": pb.SubmitStreamRequest(signed_transactions=[raw]),
        "GetTransaction": pb.GetTransactionRequest(tx_id=tx_id),
        "WaitTransaction": pb.WaitTransactionRequest(tx_id=tx_id),
        "ListTransactions": pb.ListTransactionsRequest(member=member),
        "GetAccount": account_pb2.GetAccountRequest(account=account),
        "ListAccounts": account_pb2.ListAccountsRequest(member=member),
        "GetBalance": fund_pb2.GetBalanceRequest(account=account, asset="CZK"),
        "GetBalances": fund_pb2.GetBalancesRequest(keys=[fund_pb2.BalanceKey(account=account, asset="CZK")]),
        "ListBalances": fund_pb2.ListBalancesRequest(account=account),
        "GetHold": hold,
        "ListHolds": fund_pb2.ListHoldsRequest(account=account),
        "ListMovements": fund_pb2.ListMovementsRequest(account=account),
        "ListPositions": fund_pb2.ListPositionsRequest(member=member),
        "GetBlock": ledger_pb2.GetBlockRequest(height=1),
        "StreamBlocks": ledger_pb2.StreamBlocksRequest(),
        "GetProof": ledger_pb2.GetProofRequest(key=key),
        "GetReceiptFile": ledger_pb2.GetReceiptFileRequest(tx_id=tx_id),
        "PrepareTransaction": prepare,
        "Query": query,
        "Store": vault_pb2.StoreRequest(chunk=b"sealed"),
        "Fetch": vault_pb2.FetchRequest(document=bytes(32)),
        "Destroy": vault_pb2.DestroyRequest(document=bytes(32)),
        "Examine": vault_pb2.ExamineRequest(document=bytes(32)),
        "GetClaim": product_pb2.GetClaimRequest(account=account, asset="CZK", number=1),
        "GetAccrued": product_pb2.GetAccruedRequest(account=account, asset="CZK"),
        "ListClaims": product_pb2.ListClaimsRequest(asset="CZK", number=1),
        "GetOffer": trading_pb2.GetOfferRequest(member=member, maker=member, offer=bytes([7]) * 32),
        "ListOffers": trading_pb2.ListOffersRequest(member=member),
        "ListOpenOffers": trading_pb2.ListOpenOffersRequest(member=member, asset="CZK"),
        "GetDeal": trading_pb2.GetDealRequest(member=member, deal=bytes([7]) * 32),
        "ListDeals": trading_pb2.ListDealsRequest(member=member),
        "GetLinkedSet": trading_pb2.GetLinkedSetRequest(member=member, set_id=bytes([7]) * 32),
        "TradingService/GetCycle": trading_pb2.GetCycleRequest(member=member, cycle=bytes([7]) * 32),
        "GetCalendar": clearing_pb2.GetCalendarRequest(asset="CZK"),
        "GetQueue": clearing_pb2.GetQueueRequest(member=member, asset="CZK"),
        "GetInstruction": clearing_pb2.GetInstructionRequest(member=member, asset="CZK", number=1),
        "ListInstructions": clearing_pb2.ListInstructionsRequest(member=member, asset="CZK"),
        "ClearingService/GetCycle": clearing_pb2.GetCycleRequest(asset="CZK"),
        "GetLine": clearing_pb2.GetLineRequest(member=member, asset="CZK", cycle=1),
        "GetClaims": clearing_pb2.GetClaimsRequest(asset="CZK"),
        "PrepareStep": trading_pb2.PrepareStepRequest(
            member=member, settle=trading_pb2.Settle(deal=bytes([7]) * 32)
        ),
        "GetSchema": contract_pb2.GetSchemaRequest(contract="assets", method="issue"),
    }
    found = {
        method: known.get(method.rpartition("/")[2]) or known.get(service_of(method)) for method in ACCESS
    }
    return {method: request.SerializeToString() if request else b"" for method, request in found.items()}


def service_of(method: str) -> str:
    """``Service/Method``, where two services have a method of one name."""
    return method.rpartition(".")[2]


WIDE: Final = {
    "/vostro.ledger.v1.LedgerService/GetBlock": ledger_pb2.GetBlockRequest(height=1, include_bodies=True),
    "/vostro.ledger.v1.LedgerService/StreamBlocks": ledger_pb2.StreamBlocksRequest(include_leaves=True),
}
"""What shows all members' transactions."""
OF_A_MEMBER: Final = (
    "GetTransaction", "WaitTransaction", "ListTransactions", "GetAccount", "ListAccounts", "GetBalance",
    "ListBalances", "GetHold", "ListHolds", "ListMovements", "ListPositions", "GetProof", "GetReceiptFile",
    "Query", "GetClaim", "GetAccrued", "ListClaims", "GetOffer", "ListOffers", "ListOpenOffers", "GetDeal",
    "ListDeals", "GetLinkedSet", "TradingService/GetCycle", "PrepareStep", "GetCase", "ListCases",
    "ListCasesAgainst", "ListNotes", "ListAttestedDays", "PrepareAttestation", "GetQueue", "GetInstruction",
    "ListInstructions", "GetLine", "GetClaims",
)  # fmt: skip
