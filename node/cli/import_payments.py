"""Payments of a checked file become transfers: each under a request id that stands in the journal before it
is sent.

A run that was cut is completed by the next one with the same request ids; what the ledger refused is tried
again under new ones; what was applied is never sent again, whatever a repaired file says of it.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import islice
from typing import Final
from uuid import UUID

from node.adapters.accounts import Accounts
from node.adapters.journal import APPLIED, Item, Journal
from node.adapters.money import decimals_of
from node.adapters.reading import Plan, records_of
from node.adapters.records import Money, Original, PaymentInstruction, References, Return, Status
from node.cli.output import usage
from node.cli.session import Session
from node.client import BlockingClient, Outcome
from node.client.signing import new_request_id, operation
from node.ledger.errors import LedgerError
from node.ledger.types import AMOUNT_MAX

BATCH: Final = 1_000
KEY_DIGITS: Final = 32
ID_MAX: Final = 35
SETTLED: Final = "ACSC"
REJECTED: Final = "RJCT"
PENDING: Final = "PDNG"
PARTLY: Final = "PART"
REASONS: Final = {
    "ACCOUNT_UNKNOWN": "AC01",
    "DEBTOR_NOT_MAPPED": "AC02",
    "CREDITOR_NOT_MAPPED": "AC03",
    "ACCOUNT_CLOSED": "AC04",
    "ACCOUNT_FROZEN": "AC06",
    "NOT_OWNER": "AG01",
    "ASSET_UNKNOWN": "AM03",
    "ASSET_FROZEN": "AG01",
    "INSUFFICIENT_BALANCE": "AM04",
    "PAID_BEFORE": "AM05",
    "RETURN_EXCEEDS": "AM09",
    "TOO_MUCH": "AM02",
    "NOT_YET_DUE": "DT01",
    "ORIGINAL_UNKNOWN": "NOOR",
    "POLICY_NOT_MET": "AG01",
    "KEY_OUT_OF_SCOPE": "AG01",
}
"""Our code's name -> the external status reason code (ISO 20022); any other is told as narrative."""
NARRATIVE: Final = "NARR"
SENTENCES: Final = {
    "DEBTOR_NOT_MAPPED": "No account of the ledger is mapped to the debtor's.",
    "CREDITOR_NOT_MAPPED": "No account of the ledger is mapped to the creditor's.",
    "NOT_YET_DUE": "The requested day has not come: feed the file again then.",
    "PAID_BEFORE": "A payment with these references and other content was settled from this message before.",
    "UNDECIDED": "An earlier attempt, with other accounts or amount, is undecided: feed that file first.",
    "ORIGINAL_UNKNOWN": "No settled payment of this journal has these references.",
    "RETURN_EXCEEDS": "More is returned than was paid.",
    "TOO_MUCH": "The amount is more than a transfer may carry.",
    "REFERENCE": "A reference or purpose does not fit into a transfer.",
}


@dataclass(frozen=True, slots=True)
class Order:
    """What one record of the file asks for, in the ledger's words."""

    key: str
    line: int
    references: References
    source: str
    destination: str
    asset: str
    amount: Money
    purpose: str
    requested: date | None
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """What became of one payment. status: ACSC, RJCT or PDNG; code empty where it was settled."""

    line: int
    references: References
    source: str
    destination: str
    amount: Money
    status: str
    code: str = ""
    sentence: str = ""
    tx_id: str = ""
    before: bool = False


@dataclass(slots=True)
class Result:
    """What became of a file."""

    told: list[Told] = field(default_factory=list)

    def count(self, status: str) -> int:
        """How many payments have this status."""
        return sum(one.status == status for one in self.told)

    @property
    def before(self) -> int:
        """How many had been settled by an earlier run."""
        return sum(one.before for one in self.told)

    @property
    def group(self) -> str:
        """The status of the message."""
        settled, total = self.count(SETTLED), len(self.told)
        if settled == total:
            return SETTLED
        if self.count(REJECTED) == total:
            return REJECTED
        return PARTLY if settled or self.count(REJECTED) else PENDING


def pay(
    session: Session, client: BlockingClient, plan: Plan, journal: Journal, accounts: Accounts, today: date
) -> Result:
    """Send every payment or return of a plan. Raises what the client raises; the journal says how far it
    came.
    """
    _check_assets(session, client, plan, accounts)
    result = Result()
    orders = _orders(plan, journal, accounts)
    while batch := list(islice(orders, BATCH)):
        _pay_batch(session, client, plan, journal, batch, today, result)
    return result


def _check_assets(session: Session, client: BlockingClient, plan: Plan, accounts: Accounts) -> None:
    """An amount means the same in the file and on the ledger. Raises Failure."""
    for currency in plan.currencies:
        asset = accounts.asset_of(currency)
        decimals = session.decimals(client, asset)
        if decimals != decimals_of(currency):
            raise usage(f"{asset} has {decimals} decimals on this ledger, {currency} {decimals_of(currency)}")


# --- orders -------------------------------------------------------------------------------------


def _orders(plan: Plan, journal: Journal, accounts: Accounts) -> Iterator[Order]:
    seen: dict[str, int] = {}
    for record in records_of(plan):
        if isinstance(record, PaymentInstruction):
            yield _payment(record, plan, accounts, seen)
        elif isinstance(record, Return):
            yield _returned(record, plan, journal, accounts, seen)


def _key(plan: Plan, seen: dict[str, int], message_id: str, references: References, *content: object) -> str:
    """Names a payment within its message: by its references, or where it has none by its content; the same
    again is counted.
    """
    own = (references.end_to_end_id, references.instruction_id, references.transaction_id, references.uetr)
    parts = [plan.name, message_id, *own, *(() if any(own) else map(str, content))]
    name = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:KEY_DIGITS]
    seen[name] = seen.get(name, 0) + 1
    return f"{name}-{seen[name]}"


def _payment(one: PaymentInstruction, plan: Plan, accounts: Accounts, seen: dict[str, int]) -> Order:
    source = accounts.account_of(one.debtor, one.kind)
    destination = accounts.account_of(one.creditor, one.kind)
    refusal = "" if source else "DEBTOR_NOT_MAPPED"
    refusal = refusal or ("" if destination else "CREDITOR_NOT_MAPPED")
    refusal = refusal or ("TOO_MUCH" if one.amount.minor > AMOUNT_MAX else "")
    own = one.references
    refusal = refusal or ("REFERENCE" if max(len(own.end_to_end_id), len(one.purpose)) > ID_MAX else "")
    key = _key(plan, seen, one.message_id, own, one.debtor, one.creditor, one.amount)
    asset = accounts.asset_of(one.amount.currency)
    return Order(
        key, one.line, own, source, destination, asset, one.amount, one.purpose, one.requested, refusal
    )


def _returned(one: Return, plan: Plan, journal: Journal, accounts: Accounts, seen: dict[str, int]) -> Order:
    own = one.original.references
    asset = accounts.asset_of(one.amount.currency)
    found = journal.find(one.original.message_id, own)
    refusal = ""
    if found is None or found.asset != asset:
        refusal = "ORIGINAL_UNKNOWN"
    elif one.amount.minor > found.minor:
        refusal = "RETURN_EXCEEDS"
    key = _key(plan, seen, one.message_id, References(transaction_id=one.return_id) if one.return_id else own)
    source, destination = (found.destination, found.source) if found else ("", "")
    purpose = f"RETURN {one.reason}".strip()[:ID_MAX]
    references = References(own.end_to_end_id, own.instruction_id, own.transaction_id, own.uetr)
    return Order(
        key, one.line, references, source, destination, asset, one.amount, purpose, one.requested, refusal
    )


# --- sending ------------------------------------------------------------------------------------


def _pay_batch(
    session: Session,
    client: BlockingClient,
    plan: Plan,
    journal: Journal,
    batch: Sequence[Order],
    today: date,
    result: Result,
) -> None:
    sending: list[tuple[Order, Item]] = []
    for order in batch:
        known = journal.item(order.key)
        told = _told_before(order, known, today)
        if told is not None:
            result.told.append(told)
            continue
        again = known is not None and not known.outcome and known.request
        request = known.request if again and known else new_request_id().hex()
        sending.append((order, _item(order, plan, request)))
    journal.announce([item for order, item in sending if _is_new(journal.item(order.key), item)])
    raws = [_sign(session, client, order, item) for order, item in sending]
    for (order, item), outcome in zip(
        sending, client.submit_many(raws, seconds=session.seconds) if raws else [], strict=True
    ):
        result.told.append(_decided(client, journal, order, item, outcome))


def _is_new(known: Item | None, item: Item) -> bool:
    return known is None or known.request != item.request


def _item(order: Order, plan: Plan, request: str) -> Item:
    return Item(
        order.key,
        plan.name,
        plan.message_id,
        order.references,
        order.source,
        order.destination,
        order.asset,
        order.amount.minor,
        request,
    )


def _told_before(order: Order, known: Item | None, today: date) -> Told | None:
    """What needs no sending: settled before, or refused here."""
    same = known is not None and (known.source, known.destination, known.asset, known.minor) == (
        order.source,
        order.destination,
        order.asset,
        order.amount.minor,
    )
    if known is not None and known.outcome == APPLIED:
        return (
            _tell(order, SETTLED, tx_id=known.tx_id, before=True) if same else _refuse(order, "PAID_BEFORE")
        )
    if known is not None and not known.outcome and not same:
        return _refuse(order, "UNDECIDED")
    if order.refusal:
        return _refuse(order, order.refusal)
    if order.requested and order.requested > today:
        return _refuse(order, "NOT_YET_DUE")
    return None


def _refuse(order: Order, code: str) -> Told:
    return _tell(order, REJECTED, code, SENTENCES[code])


def _tell(
    order: Order, status: str, code: str = "", sentence: str = "", *, tx_id: str = "", before: bool = False
) -> Told:
    return Told(
        order.line,
        order.references,
        order.source,
        order.destination,
        order.amount,
        status,
        code,
        sentence,
        tx_id,
        before,
    )


def _sign(session: Session, client: BlockingClient, order: Order, item: Item) -> bytes:
    uetr = UUID(order.references.uetr).bytes if order.references.uetr else b""
    end_to_end_id = order.references.end_to_end_id or order.references.instruction_id
    call = operation(
        "transfers",
        "send",
        order.source,
        order.destination,
        order.asset,
        order.amount.minor,
        end_to_end_id[:ID_MAX],
        uetr,
        order.purpose,
    )
    return client.sign(session.member, [call], session.signers, request_id=bytes.fromhex(item.request)).raw


def _decided(client: BlockingClient, journal: Journal, order: Order, item: Item, outcome: Outcome) -> Told:
    refusal, tx_id = outcome.refusal, outcome.tx_id.hex()
    if outcome.decided and outcome.applied:
        journal.decide(item.key, APPLIED, "", tx_id)
        return _tell(order, SETTLED, tx_id=tx_id)
    if not outcome.decided or refusal is None:
        code, sentence = (refusal.code, refusal.sentence) if refusal else ("", outcome.reason)
        return _tell(order, PENDING, code, sentence, tx_id=tx_id)
    spent_by = refusal.details.get("spent_by", "")
    if refusal.number == LedgerError.REQUEST_ID_SPENT.code and refusal.codespace == LedgerError.codespace:
        earlier = client.get_transaction(bytes.fromhex(spent_by)) if spent_by else None
        if earlier is None:
            return _tell(order, PENDING, refusal.code, refusal.sentence, tx_id=tx_id)
        if earlier.code == 0:
            journal.decide(item.key, APPLIED, "", spent_by)
            return _tell(order, SETTLED, tx_id=spent_by, before=True)
    journal.decide(item.key, "refused", refusal.code, tx_id)
    return _tell(order, REJECTED, refusal.code, refusal.sentence, tx_id=tx_id)


# --- telling ------------------------------------------------------------------------------------


def reason_of(code: str) -> str:
    """The external status reason code of a refusal; empty for none."""
    return REASONS.get(code.rpartition(" ")[2], NARRATIVE) if code else ""


def statuses(plan: Plan, told: Iterable[Told], group: str) -> list[Status]:
    """A file's status report: of each message, then of each payment."""
    found = [
        Status("", "", Original(message.message_id, message.version), group) for message in plan.messages[:1]
    ]
    for number, one in enumerate(told, 1):
        information = tuple(text for text in (one.code, one.sentence) if text)
        references = one.references
        if references == References():
            references = References(end_to_end_id="NOTPROVIDED")
        original = Original(plan.message_id, plan.version, references)
        status_id = one.tx_id[:KEY_DIGITS] or str(number)
        found.append(Status("", status_id, original, one.status, reason_of(one.code), information))
    return found
