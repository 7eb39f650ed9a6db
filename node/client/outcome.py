"""What becomes of a submitted transaction, as the caller sees it, and how it follows from the wire."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from node.client.errors import Declined, Refused
from node.ledger import codec, hashing
from node.ledger.errors import Category
from node.ledger.types import Receipt, SignedTransaction
from node.pb.vostro.transaction.v1 import transaction_pb2 as pb

decode_receipt: Final[Callable[[bytes], Receipt]] = codec.decoder(Receipt)
"""A Receipt from its encoding. Raises codec.NotCanonical."""

_decode_signed: Final[Callable[[bytes], SignedTransaction]] = codec.decoder(SignedTransaction)

TRY_AGAIN: Final = (Category.OVERLOADED, Category.UNAVAILABLE, Category.UNKNOWN_OUTCOME)
"""After these the same bytes may fare better."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer to one transaction.

    receipt: the decision, applied or refused, where there is one. refusal: why it was not applied, ready to
    be raised. decided: whether that is final for these bytes; where it is not and ``refusal`` is no
    Declined, the outcome is unknown. seconds: from first sending it to this answer. attempts: how often it
    was sent. reason: why the outcome is unknown, where it is.
    """

    tx_id: bytes
    receipt: Receipt | None = None
    refusal: Refused | None = None
    decided: bool = False
    seconds: float = 0.0
    attempts: int = 1
    reason: str = ""

    @property
    def applied(self) -> bool:
        """Whether it is in the ledger and did what it says."""
        return self.receipt is not None and self.receipt.code == 0

    @property
    def word(self) -> str:
        """``applied``, ``refused`` (for good), ``declined`` (not taken) or ``unknown``."""
        if self.decided:
            return "applied" if self.applied else "refused"
        return "declined" if isinstance(self.refusal, Declined) else "unknown"


def transaction_id_of(raw: bytes, suite: hashing.Suite) -> bytes:
    """The id of a signed transaction; empty where the bytes are none."""
    try:
        signed: SignedTransaction = _decode_signed(raw)
    except codec.NotCanonical:
        return b""
    return suite.digest(hashing.TX + signed.transaction)


def receipt_outcome(encoded: bytes, seconds: float = 0.0, attempts: int = 1) -> Outcome:
    """The outcome that a receipt's encoding states. Raises codec.NotCanonical."""
    receipt: Receipt = decode_receipt(encoded)
    refusal = (
        Refused(receipt.codespace, receipt.code, receipt=receipt, tx_id=receipt.tx_id)
        if receipt.code
        else None
    )
    return Outcome(receipt.tx_id, receipt, refusal, decided=True, seconds=seconds, attempts=attempts)


def outcome_from(message: pb.Outcome, tx_id: bytes, seconds: float, attempts: int) -> Outcome | None:
    """The outcome that the node tells; None where the same bytes should be sent again."""
    if message.HasField("receipt"):
        return receipt_outcome(message.receipt.encoded, seconds, attempts)
    error = message.error
    details = dict(error.details)
    if error.spent_by:
        details.setdefault("spent_by", error.spent_by.hex())
    if error.decided:
        refused = Refused(error.codespace, error.code, tx_id=tx_id, details=details)
        return Outcome(tx_id, None, refused, decided=True, seconds=seconds, attempts=attempts)
    if category_of(error.category) in TRY_AGAIN:
        return None
    declined = Declined(error.codespace, error.code, tx_id=tx_id, details=details)
    return Outcome(tx_id, None, declined, decided=False, seconds=seconds, attempts=attempts)


def category_of(number: int) -> Category | None:
    """The category behind a number of the wire; None for one that this client does not know."""
    name = pb.Category.Name(number).removeprefix("CATEGORY_") if number in pb.Category.values() else ""
    return Category.__members__.get(name)
