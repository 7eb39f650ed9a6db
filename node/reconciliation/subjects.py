"""Breaks as the ledger's cases: the subject of each follows from what it is about (docs/formats.md, 19)."""

from collections.abc import Callable, Iterator

from node.ledger import codec, hashing
from node.reconciliation.breaks import Break, Kind
from node.reconciliation.items import Side
from node.reconciliation.report import Reconciled

CONTRACT = "reconciliation"

Digest = Callable[[bytes], bytes]


def subject_of(digest: Digest, account: str, asset: str, *parts: str) -> bytes:
    """32 bytes that stand for a break of an account. digest: the hash of the chain's suite."""
    return digest(hashing.SUBJECT + codec.encode((CONTRACT, account, asset, *parts)))


def subject_of_break(digest: Digest, account: str, asset: str, found: Break, statement_id: str) -> bytes:
    """The subject of a break; a balance is about its statement."""
    parts = found.parts if found.first else (*found.parts, statement_id)
    return subject_of(digest, account, asset, *parts)


def explained_by(digest: Digest, account: str, asset: str, result: Reconciled) -> Iterator[bytes]:
    """The subjects of the cases that a run explains: everything that it matched was missing on the other
    side, if it was missed before.
    """
    kinds = {Side.STATEMENT: Kind.MISSING_ON_LEDGER, Side.LEDGER: Kind.MISSING_IN_STATEMENT}
    for match in result.matches:
        for item in (*match.statement, *match.ledger):
            yield subject_of(digest, account, asset, kinds[item.side].value, item.identity)
