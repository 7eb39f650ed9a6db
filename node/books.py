"""What two banks' books of one account have in common, whatever systems keep them: amounts and references.

The digest is over that alone, so that a core banking system that has never seen this ledger's transaction ids
comes to the same 32 bytes from its own books (docs/formats.md, "Attestations").
"""

import re
from collections.abc import Callable, Iterable
from typing import Final

from node.ledger import hashing

_PLAIN: Final = re.compile("[^A-Z0-9]+")


def plain_reference(text: str) -> str:
    """A reference without what banks change on its way: capitals and digits of ASCII alone."""
    return _PLAIN.sub("", text.upper())


def books_digest(digest: Callable[[bytes], bytes], movements: Iterable[tuple[int, str]]) -> bytes:
    """32 bytes over (signed minor units, reference) of every movement, in whatever order they come.

    digest: the hash of the chain's suite.
    """
    lines = sorted(f"{minor}\t{plain_reference(reference)}\n" for minor, reference in movements)
    return digest(hashing.MOVEMENTS + "".join(lines).encode())
