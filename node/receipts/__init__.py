"""Receipt files: what a bank hands to an auditor, made by a node and verified without one (docs/formats.md,
"Receipt file").

``document`` says what the files hold, ``build`` makes them from a node's store, ``verify`` judges them by
their bytes alone.
"""

from node.receipts.build import build_receipt_file, make_checkpoint
from node.receipts.document import ReceiptProblem, ReceiptRefused
from node.receipts.verify import STEPS, Verified, verify_receipt_file

__all__ = [
    "STEPS",
    "ReceiptProblem",
    "ReceiptRefused",
    "Verified",
    "build_receipt_file",
    "make_checkpoint",
    "verify_receipt_file",
]
