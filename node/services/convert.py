"""The only place where the ledger's words become protobuf, and the reverse. No rule lives here, and nothing
here is ever hashed or signed.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from contracts.positions import NamedAccount, NamedAsset, Position
from contracts.transfers import Hold
from node.engine.engine import Outcome
from node.json_form import to_json
from node.ledger import codec
from node.ledger.errors import Category, ErrorCode, LedgerError
from node.ledger.ledger import Ledger
from node.ledger.types import BlockRecord, Event, Header, Leaf, Receipt, SignedTransaction, Transaction
from node.pb.vostro.account.v1 import account_pb2
from node.pb.vostro.fund.v1 import fund_pb2
from node.pb.vostro.ledger.v1 import ledger_pb2
from node.pb.vostro.product.v1 import product_pb2
from node.pb.vostro.transaction.v1 import transaction_pb2
from node.services.status import told
from node.storage.index import MovementRow

decode_receipt: Final = codec.trusted_decoder(Receipt)
decode_header: Final = codec.trusted_decoder(Header)
decode_leaf: Final = codec.trusted_decoder(Leaf)
_decode_signed: Final = codec.trusted_decoder(SignedTransaction)
_decode_transaction: Final = codec.trusted_decoder(Transaction)

CATEGORIES: Final[dict[Category, Any]] = {
    category: getattr(transaction_pb2.Category, f"CATEGORY_{category.name}") for category in Category
}


class ReceiptName(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What a list needs of a stored receipt; its events are passed over without being read."""

    version: int
    tx_id: bytes


receipt_name: Final = codec.trusted_decoder(ReceiptName)


class Converter:
    """Turns what the ledger says into messages. It knows the chain's refusals and facts by name."""

    def __init__(self, ledger: Ledger) -> None:
        contracts = ledger.readers.values()
        known = [code for code in vars(LedgerError).values() if isinstance(code, ErrorCode)]
        known += [code for contract in contracts for code in contract.errors]
        self._refusals = {(code.codespace, code.code): code for code in known}
        facts = [(contract.name, fact) for contract in contracts for fact in contract.facts]
        self._facts = {(name, fact.__name__): codec.trusted_decoder(fact) for name, fact in facts}

    def refusal(self, receipt: Receipt) -> ErrorCode:
        """What a refused receipt's code means; a code of another release is a precondition without a name."""
        known = self._refusals.get((receipt.codespace, receipt.code))
        if known is None:
            known = ErrorCode(receipt.code, Category.PRECONDITION, "This release does not know the code.")
            known.codespace = receipt.codespace
        return known

    def fill_receipt(
        self, message: transaction_pb2.Receipt, receipt: Receipt, encoded: bytes | None = None
    ) -> None:
        """Write a receipt into a message. encoded: its bytes where they are at hand; empty: none."""
        message.encoded = codec.encode(receipt) if encoded is None else encoded
        message.tx_id = receipt.tx_id
        message.height = receipt.height
        message.index = receipt.index
        if receipt.code:
            refusal = self.refusal(receipt)
            message.codespace = receipt.codespace
            message.code = receipt.code
            message.name = refusal.name
            message.sentence = refusal.sentence
            message.failed_operation = receipt.failed_operation

    def fill_outcome(self, message: transaction_pb2.Outcome, outcome: Outcome, spent: Receipt | None) -> None:
        """Write an outcome into a message. spent: the receipt of the transaction that spent the request id,
        where that is the reason.
        """
        if outcome.receipt is not None:
            self.fill_receipt(message.receipt, outcome.receipt)
        elif outcome.error is not None:
            fill_error(message.error, outcome.error, outcome)
            if spent is not None:
                self.fill_receipt(message.error.spent_receipt, spent)

    def event(self, event: Event) -> transaction_pb2.Event:
        """An event with its fields by name; without them where this release does not know it."""
        decode = self._facts.get((event.contract, event.event))
        fields = json_text(decode(event.fields)) if decode else ""
        return transaction_pb2.Event(
            contract=event.contract, event=event.event, fields=event.fields, fields_json=fields
        )

    def fill_transaction(
        self,
        message: transaction_pb2.Transaction,
        receipt: bytes,
        body: bytes | None,
        leaf: bytes | None,
        time_ms: int,
    ) -> None:
        """Write a decided transaction. body: the signed bytes where they are kept; leaf: says who signed
        where they are not.
        """
        decided = decode_receipt(receipt)
        self.fill_receipt(message.receipt, decided, receipt)
        message.time_ms = time_ms
        if body and any(decided.tx_id):  # the body of a system receipt is evidence
            message.signed_transaction = body
            signed = _decode_transaction(_decode_signed(body).transaction)
            message.member, message.request_id = signed.member, signed.request_id
        elif leaf:
            named = decode_leaf(leaf)
            message.member, message.request_id = named.member, named.request_id
        message.events.extend([self.event(event) for event in decided.events])

    def summary(self, receipt: bytes, leaf: Leaf, time_ms: int) -> transaction_pb2.Transaction:
        """A decided transaction as lists show it: without signed bytes, events and the receipt's encoding."""
        message = transaction_pb2.Transaction(time_ms=time_ms, member=leaf.member, request_id=leaf.request_id)
        self.fill_receipt(message.receipt, decode_receipt(receipt), b"")
        return message


def fill_error(message: transaction_pb2.Error, error: ErrorCode, outcome: Outcome) -> None:
    """Write why there is no receipt."""
    message.codespace = error.codespace
    message.code = error.code
    message.name = error.name
    message.category = CATEGORIES[error.category]
    message.sentence = error.sentence
    message.decided = outcome.decided
    message.height = outcome.height
    for name, value in told(outcome.details).items():
        message.details[name] = value
    message.spent_by = spent_by(outcome)


def spent_by(outcome: Outcome) -> bytes:
    """The transaction that spent the request id, where that is why there is no receipt; else empty."""
    if outcome.error is LedgerError.DUPLICATE or outcome.error is LedgerError.REQUEST_ID_SPENT:
        return bytes.fromhex(str(outcome.details.get("spent_by", "")))
    return b""


def json_text(value: Any) -> str:
    """The JSON spelling of a record, a tuple of records or named values (json_form.py), in one line."""
    plain = (
        {name: to_json(item) for name, item in value.items()}
        if isinstance(value, Mapping)
        else to_json(value)
    )
    return msgspec.json.encode(plain).decode()


def header(record: BlockRecord) -> ledger_pb2.Header:
    """A block's header, parsed and as it is."""
    fields = decode_header(record.header)
    return ledger_pb2.Header(
        encoded=record.header,
        height=record.height,
        time_ms=record.time_ms,
        app_hash=record.app_hash,
        previous_app_hash=fields.previous_app_hash,
        history_root=fields.history_root,
        transaction_count=fields.transaction_count,
        transactions_root=fields.transactions_root,
        receipts_root=fields.receipts_root,
        state_root=fields.state_root,
        authority_root=fields.authority_root,
        protocol=fields.protocol,
        certificate=record.certificate,
    )


def account(named: NamedAccount) -> account_pb2.Account:
    """An account with its id."""
    found = named.account
    return account_pb2.Account(
        id=named.id, member=found.member, status=found.status, opened_ms=found.opened_ms
    )


def asset(named: NamedAsset) -> product_pb2.Asset:
    """An asset with its id."""
    found = named.asset
    return product_pb2.Asset(
        id=named.id,
        issuer=found.issuer,
        asset_class=found.asset_class,
        decimals=found.decimals,
        cap=found.cap,
        terms_hash=found.terms_hash,
        status=found.status,
        issued=found.issued,
        redeemed=found.redeemed,
    )


def balance(name: str, position: Position) -> fund_pb2.Balance:
    """What an account has of the asset ``name``."""
    posted, held = position.posted, position.held
    return fund_pb2.Balance(asset=name, posted=posted, held=held, available=posted - held)


def hold(account_id: str, hold_id: bytes, found: Hold) -> fund_pb2.Hold:
    """A hold in an account."""
    return fund_pb2.Hold(
        id=hold_id,
        account=account_id,
        destination=found.destination,
        asset=found.asset,
        amount=found.amount,
        expires_ms=found.expires_ms,
        end_to_end_id=found.end_to_end_id,
        status=found.status,
        posted=found.posted,
    )


def movement(row: MovementRow, tx_id: bytes) -> fund_pb2.Movement:
    """A row of the index, with the transaction it stands for."""
    moved = row.movement
    return fund_pb2.Movement(
        tx_id=tx_id,
        height=row.height,
        index=row.index,
        time_ms=row.time_ms,
        account=moved.account,
        asset=moved.asset,
        amount=moved.amount,
        counterparty=moved.counterparty,
        reference=moved.reference,
    )
