"""The one set of records that every format is read into and written from.

Amounts are integers of the currency's minor units (ISO 4217 says how many decimals), dates are ISO 8601
calendar dates (``date``), times are texts as they stood in the file. Texts that a file does not say are
empty. What a reader did not understand is kept in ``unmapped``: ordered pairs (path, text), never dropped.
"""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

Unmapped = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Party:
    """Somebody in a payment: a customer, or a bank where only ``bic`` is said.

    account: an IBAN, or the bank's own number (``MEMBER/local`` on our side). agent: BIC of the bank that
    keeps it.
    """

    name: str = ""
    account: str = ""
    bic: str = ""
    lei: str = ""
    agent: str = ""


@dataclass(frozen=True, slots=True)
class Money:
    """An amount. minor may be negative in a balance only."""

    minor: int
    currency: str


@dataclass(frozen=True, slots=True)
class References:
    """How the parties and the banks between them name one payment. uetr: a UUID as text, lower case."""

    end_to_end_id: str = ""
    instruction_id: str = ""
    transaction_id: str = ""
    uetr: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """A file's envelope: one a message. count and total (text as written) are 0 and empty where the format
    has none.
    """

    family: str
    version: str
    message_id: str
    created: str = ""
    sender: str = ""
    receiver: str = ""
    count: int = 0
    total: str = ""
    line: int = 0
    unmapped: Unmapped = ()


class Kind(StrEnum):
    """Who pays."""

    CUSTOMER = "customer"
    INSTITUTION = "institution"


@dataclass(frozen=True, slots=True)
class PaymentInstruction:
    """Pay so much from the debtor to the creditor. requested: the day from which on it is to be settled."""

    message_id: str
    references: References
    amount: Money
    debtor: Party
    creditor: Party
    kind: Kind = Kind.CUSTOMER
    payment_information_id: str = ""
    requested: date | None = None
    purpose: str = ""
    priority: str = ""
    remittance: tuple[str, ...] = ()
    line: int = 0
    unmapped: Unmapped = ()


@dataclass(frozen=True, slots=True)
class Original:
    """What an answer speaks of."""

    message_id: str = ""
    message_name: str = ""
    references: References = References()


@dataclass(frozen=True, slots=True)
class Return:
    """Money of a settled payment goes back (pacs.004). reason: an ISO 20022 external code, or the bank's
    own word.
    """

    message_id: str
    return_id: str
    original: Original
    amount: Money
    original_amount: Money | None = None
    requested: date | None = None
    reason: str = ""
    information: tuple[str, ...] = ()
    line: int = 0
    unmapped: Unmapped = ()


@dataclass(frozen=True, slots=True)
class Status:
    """What became of a payment, or with empty references of a whole message (pacs.002)."""

    message_id: str
    status_id: str
    original: Original
    status: str
    reason: str = ""
    information: tuple[str, ...] = ()
    line: int = 0
    unmapped: Unmapped = ()


@dataclass(frozen=True, slots=True)
class Recall:
    """A request to cancel a payment, settled or not (camt.056)."""

    message_id: str
    cancellation_id: str
    original: Original
    assigner: str = ""
    assignee: str = ""
    case_id: str = ""
    amount: Money | None = None
    settled: date | None = None
    reason: str = ""
    information: tuple[str, ...] = ()
    line: int = 0
    unmapped: Unmapped = ()


@dataclass(frozen=True, slots=True)
class RecallAnswer:
    """The answer to a recall (camt.029). status: ``ACCR`` accepted, ``RJCR`` rejected, ``PDCR`` pending."""

    message_id: str
    status_id: str
    original: Original
    status: str
    assigner: str = ""
    assignee: str = ""
    case_id: str = ""
    reason: str = ""
    information: tuple[str, ...] = ()
    line: int = 0
    unmapped: Unmapped = ()


class StatementKind(StrEnum):
    """What a bank tells its customer about an account."""

    STATEMENT = "statement"
    REPORT = "report"
    NOTIFICATION = "notification"


@dataclass(frozen=True, slots=True)
class Balance:
    """What an account had. code: ``OPBD`` opening, ``CLBD`` closing, ``ITBD`` interim, ``CLAV`` available
    ...
    """

    code: str
    amount: Money
    day: date


@dataclass(frozen=True, slots=True)
class Statement:
    """An account over a period, without its entries. entry_count and the sums are what was read, or will be
    written.
    """

    message_id: str
    statement_id: str
    kind: StatementKind
    account: str
    currency: str
    sequence: str = ""
    created: str = ""
    begins: str = ""
    ends: str = ""
    owner: str = ""
    servicer: str = ""
    balances: tuple[Balance, ...] = ()
    entry_count: int = 0
    credit_count: int = 0
    debit_count: int = 0
    credits: int = 0
    debits: int = 0
    line: int = 0
    unmapped: Unmapped = ()

    @property
    def opening(self) -> Balance | None:
        """What the account had before the first entry. A statement in pages may begin with an interim
        balance.
        """
        return self._first("OPBD", "PRCD") or (self._interim[0] if self._pages else None)

    @property
    def closing(self) -> Balance | None:
        """What it had after the last."""
        return self._first("CLBD") or (self._interim[-1] if self._interim and self.opening else None)

    def _first(self, *codes: str) -> Balance | None:
        return next((balance for code in codes for balance in self.balances if balance.code == code), None)

    @property
    def _interim(self) -> list[Balance]:
        return [balance for balance in self.balances if balance.code == "ITBD"]

    @property
    def _pages(self) -> bool:
        """Whether the first interim balance stands for an opening one."""
        return len(self._interim) + (self._first("CLBD") is not None) > 1


@dataclass(frozen=True, slots=True)
class EntryDetail:
    """One payment inside an entry."""

    references: References = References()
    amount: Money | None = None
    counterparty: Party = Party()
    purpose: str = ""
    remittance: tuple[str, ...] = ()
    unmapped: Unmapped = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """A movement on a statement. amount: positive a credit, negative a debit, in minor units.

    statement: place of its statement in the file, from 0. reference: the servicer's own. status: ``BOOK``,
    ``PDNG``, ``INFO``, ``FUTR``. code: the bank transaction code. reversal: it takes an earlier entry back.
    """

    statement: int
    amount: Money
    booked: date | None
    valued: date | None = None
    reference: str = ""
    entry_reference: str = ""
    status: str = "BOOK"
    code: str = ""
    reversal: bool = False
    information: str = ""
    details: tuple[EntryDetail, ...] = ()
    line: int = 0
    unmapped: Unmapped = ()

    @property
    def detail(self) -> EntryDetail:
        """The one payment behind it; an empty one where there are none or several."""
        return self.details[0] if len(self.details) == 1 else EntryDetail()


@dataclass(frozen=True, slots=True)
class Settlement:
    """A delivery of securities instructed (sese.023) or confirmed (sese.025): the mapped subset.

    quantity: units of the security times 10 to the power ``decimals``. delivers, against_payment: as
    instructed.
    """

    transaction_id: str
    confirmed: bool
    delivers: bool
    against_payment: bool
    isin: str
    quantity: int
    decimals: int = 0
    amount: Money | None = None
    counterparty_id: str = ""
    traded: date | None = None
    settles: date | None = None
    safekeeping_account: str = ""
    delivering: str = ""
    receiving: str = ""
    linked: tuple[str, ...] = ()
    line: int = 0
    unmapped: Unmapped = ()


Record = (
    Message | PaymentInstruction | Return | Status | Recall | RecallAnswer | Statement | Entry | Settlement
)
"""Everything that a reader yields. A Statement comes after its entries, a Message before what it carries."""
