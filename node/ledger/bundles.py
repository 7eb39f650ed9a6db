"""Bundles: many client transactions carried as one through consensus, signed by the node that accepted them.

One predicate, ``check_bundle``, serves CheckTx, PrepareProposal and ProcessProposal. It is a function of the
bundle's bytes, of constants of genesis and of the node keys ever registered: no balance, clock or expiry, so
that every honest node judges a bundle alike. What is inside is applied, refused or discarded, each
item on its own, when the block is finalized.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from node.ledger import codec, hashing
from node.ledger.errors import LedgerError, Rejected
from node.ledger.ports import Check, Verifier
from node.ledger.transactions import Chain, parse
from node.ledger.types import BUNDLE_BYTES_MAX, Bundle, BundleBody, NodeKey

_decode_bundle: Callable[[bytes], Bundle] = codec.decoder(Bundle)


class Judged(NamedTuple):
    """A bundle that passes the predicate: which node signed it, its items and what they weigh."""

    node: bytes
    items: tuple[bytes, ...]
    work: int


def bundle_message(chain: Chain, bundle: Bundle) -> bytes:
    """What the accepting node's signature covers: ``SIGN_BUNDLE || chain || H(bundle without signature)``."""
    body = BundleBody(bundle.version, bundle.node, bundle.sequence, bundle.items)
    return hashing.SIGN_BUNDLE + chain.chain_id + chain.suite.digest(hashing.BUNDLE + codec.encode(body))


def check_bundle(raw: bytes, chain: Chain, nodes: Mapping[bytes, NodeKey], verifier: Verifier) -> Judged:
    """The one predicate. nodes: every node key ever registered, by key id.

    Raises Rejected TOO_LARGE, MALFORMED, UNKNOWN_KEY, TOO_MUCH_WORK, BAD_SIGNATURE, or what ``parse`` raises
    for an item.
    """
    if len(raw) > BUNDLE_BYTES_MAX:
        raise Rejected(LedgerError.TOO_LARGE, bytes=len(raw), most=BUNDLE_BYTES_MAX)
    try:
        bundle = _decode_bundle(raw)
    except codec.NotCanonical as reason:
        raise Rejected(LedgerError.MALFORMED, reason=str(reason)) from reason
    key = nodes.get(bundle.node)
    if key is None:
        raise Rejected(LedgerError.UNKNOWN_KEY, key_id=bundle.node.hex())
    work = sum([parse(item, chain).work for item in bundle.items])
    if work > chain.limits.block_work_max:
        raise Rejected(LedgerError.TOO_MUCH_WORK, work=work, most=chain.limits.block_work_max)
    if not verifier.verify(
        [Check(key.algorithm, key.public_key, bundle_message(chain, bundle), bundle.signature)]
    )[0]:
        raise Rejected(LedgerError.BAD_SIGNATURE)
    return Judged(bundle.node, bundle.items, work)


def prepare(bundles: Sequence[tuple[bytes, Judged]], bytes_max: int, chain: Chain) -> list[bytes]:
    """The bundles of a proposal: in the order given, until bytes or work run out; none is split, rebuilt or
    passed over.
    """
    chosen: list[bytes] = []
    work, size = chain.limits.block_work_max, min(bytes_max, chain.limits.block_bytes_max)
    for raw, judged in bundles:
        work -= judged.work
        size -= len(raw)
        if work < 0 or size < 0:
            break
        chosen.append(raw)
    return chosen


def is_acceptable(bundles: Sequence[tuple[bytes, Judged]], chain: Chain) -> bool:
    """Whether a proposal keeps the sums and carries no bundle twice; each of its bundles has passed the
    predicate.
    """
    raws = [raw for raw, _ in bundles]
    return (
        len(dict.fromkeys(raws)) == len(raws)
        and sum([len(raw) for raw in raws]) <= chain.limits.block_bytes_max
        and sum([judged.work for _, judged in bundles]) <= chain.limits.block_work_max
    )
