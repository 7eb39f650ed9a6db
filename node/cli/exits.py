"""What an exception means for the exit code. It knows the errors of every part of Vostro; main.py imports it
when something was raised.
"""

from typing import Final

from node.cli.output import Exit, Failure
from node.client import Declined, Refused, Unknown, Unreachable, WrongChain
from node.config import ConfigError
from node.genesis_file import GenesisRefused
from node.keys.audit import AuditDamaged
from node.keys.custody_policy import PolicyRefused
from node.keys.custody_queue import QueueDamaged
from node.keys.keystore import KeystoreError
from node.keys.unsound import UnsoundLibrary
from node.ledger.errors import InvariantViolated, StoreFailed

UNAVAILABLE: Final = (Unknown, Unreachable)
UNVERIFIED: Final = (InvariantViolated, AuditDamaged, QueueDamaged)
LOCAL: Final = (
    ConfigError,
    GenesisRefused,
    KeystoreError,
    PolicyRefused,
    StoreFailed,
    UnsoundLibrary,
    WrongChain,
    OSError,
)
TOLD: Final[tuple[type[Exception], ...]] = (Refused, *UNAVAILABLE, *UNVERIFIED, *LOCAL)
"""What ends a command with a sentence; anything else is a mistake of the program."""


def failure_of(error: Exception) -> Failure:
    """The failure that one of ``TOLD`` comes to."""
    if isinstance(error, Refused):
        return _refusal(error)
    if isinstance(error, UNAVAILABLE):
        fields = {"tx_id": error.tx_id} if isinstance(error, Unknown) else {}
        return Failure(Exit.UNAVAILABLE, str(error), **fields)
    return Failure(Exit.UNVERIFIED if isinstance(error, UNVERIFIED) else Exit.LOCAL, str(error))


def _refusal(refused: Refused) -> Failure:
    fields: dict[str, object] = {
        "code": refused.code,
        "decided": not isinstance(refused, Declined),
        "details": refused.details,
    }
    if refused.tx_id:
        fields["tx_id"] = refused.tx_id
    if refused.receipt is not None:
        fields["height"] = refused.receipt.height
    return Failure(Exit.REFUSED, str(refused), **fields)
