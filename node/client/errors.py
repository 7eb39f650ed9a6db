"""What can go wrong for a client, as few types as there are things to do about it.

    ClientError
      Refused       a decision: the ledger says no, for good, to these bytes; ``receipt`` proves it
        Declined    no decision, but the request will not fare better as it is: correct it
      Unknown       no decision before the deadline: send the same bytes again or ask for the receipt
      Unreachable   the node gave no answer before the deadline; a read can simply be repeated
      WrongChain    the node serves another chain than the one that was pinned

Sign anew only after ``Refused``, or when the head's time has passed the transaction's deadline without a
receipt.
"""

from collections.abc import Mapping
from typing import Final

from contracts import assemble
from node.engine.errors import NodeError
from node.keys.custody import CustodyError
from node.ledger.errors import ErrorCode, LedgerError
from node.ledger.types import Receipt


class ClientError(Exception):
    """Base of what the client raises."""


class Refused(ClientError):
    """The ledger decided: no. code: as ``codespace/code NAME``; sentence: for people; details: words of the
    node, for eyes only.
    """

    def __init__(
        self,
        codespace: str,
        code: int,
        *,
        receipt: Receipt | None = None,
        tx_id: bytes = b"",
        details: Mapping[str, str] | None = None,
    ) -> None:
        self.codespace = codespace
        self.number = code
        self.receipt = receipt
        self.tx_id = tx_id
        self.details = dict(details or {})
        known = KNOWN.get((codespace, code))
        self.name = known.name if known else ""
        self.sentence = (
            known.sentence if known else "This client does not know the code: is it older than the node?"
        )
        super().__init__(f"{self.code}: {self.sentence}" + _told(self.details))

    @property
    def code(self) -> str:
        """For example ``assets/14 INSUFFICIENT_BALANCE``."""
        return f"{self.codespace}/{self.number} {self.name}".rstrip()


class Declined(Refused):
    """The node would not take the request; nothing was decided, and the same request will not fare better."""


class Unknown(ClientError):
    """Not decided before the deadline. tx_id: ask for its receipt, or send the same bytes again."""

    def __init__(self, tx_id: bytes, reason: str) -> None:
        self.tx_id = tx_id
        self.reason = reason
        super().__init__(
            f"the outcome of transaction {tx_id.hex()} is unknown: {reason}. "
            "Send the same bytes again or ask for its receipt."
        )


class Unreachable(ClientError):
    """The node did not answer in time."""


class WrongChain(ClientError):
    """The node's chain is not the pinned one."""


def _told(details: Mapping[str, str]) -> str:
    return (
        " (" + ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in details.items()) + ")"
        if details
        else ""
    )


def _known() -> dict[tuple[str, int], ErrorCode]:
    codes = [
        *vars(LedgerError).values(),
        *vars(NodeError).values(),
        *vars(CustodyError).values(),
        *(code for contract in assemble() for code in contract.errors),
    ]
    return {(code.codespace, code.code): code for code in codes if isinstance(code, ErrorCode)}


KNOWN: Final = _known()
"""(codespace, code) -> the refusal, of all that this release can give."""
