"""Bundles: many client transactions carried as one through consensus, signed by the node that accepted them.

One predicate, ``check_bundle``, serves CheckTx, PrepareProposal and ProcessProposal. It is a function of the
bundle's bytes, of constants of genesis and of the node keys ever registered: no balance, clock or expiry, so
that every honest node judges a bundle alike. What is inside is applied, refused or discarded, each
item on its own, when the block is finalized.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from node.ledger import codec, hashing
from node.ledger.errors import LedgerError, Rejected
from node.ledger.ports import Check, Verifier
from node.ledger.transactions import Candidate, Chain, parse
from node.ledger.types import (
    BLOCK_BUNDLES_MAX,
    BUNDLE_BYTES_MAX,
    SIGNATURE_BYTES,
    Bundle,
    BundleBody,
    NodeKey,
)

_decode_bundle: Callable[[bytes], Bundle] = codec.decoder(Bundle)


PROPOSED_BYTES: Final = 8
"""What the engine's encoding of a block adds to a bundle, at most."""


class Judged(NamedTuple):
    """A bundle that passes the predicate: which node signed it, its transactions and what they weigh."""

    raw: bytes
    node: bytes
    candidates: tuple[Candidate, ...]
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
    candidates = tuple([parse(item, chain) for item in bundle.items])
    work = sum([candidate.work for candidate in candidates])
    if work > chain.limits.block_work_max:
        raise Rejected(LedgerError.TOO_MUCH_WORK, work=work, most=chain.limits.block_work_max)
    if not verifier.verify(
        [Check(key.algorithm, key.public_key, bundle_message(chain, bundle), bundle.signature)]
    )[0]:
        raise Rejected(LedgerError.BAD_SIGNATURE)
    return Judged(raw, bundle.node, candidates, work)


def signed_bundle(chain: Chain, body: BundleBody, sign: Callable[[bytes], bytes]) -> bytes:
    """The bytes of a bundle. sign: with the key that ``body.node`` names."""
    unsigned = Bundle(body.version, body.node, body.sequence, body.items, bytes(SIGNATURE_BYTES))
    signature = sign(bundle_message(chain, unsigned))
    return codec.encode(Bundle(body.version, body.node, body.sequence, body.items, signature))


def prepare(bundles: Sequence[Judged], bytes_max: int, chain: Chain) -> list[bytes]:
    """The bundles of a proposal: in the order given, until bytes, work or number run out; none is split,
    rebuilt or passed over. bytes_max: what the engine grants, encoded.
    """
    chosen: list[bytes] = []
    work, size = chain.limits.block_work_max, min(bytes_max, chain.limits.block_bytes_max)
    for judged in bundles[:BLOCK_BUNDLES_MAX]:
        work -= judged.work
        size -= len(judged.raw) + PROPOSED_BYTES
        if work < 0 or size < 0:
            break
        chosen.append(judged.raw)
    return chosen


def is_acceptable(bundles: Sequence[Judged], chain: Chain) -> bool:
    """Whether a proposal keeps the sums and carries no bundle twice; each of its bundles has passed the
    predicate.
    """
    raws = [judged.raw for judged in bundles]
    return (
        len(dict.fromkeys(raws)) == len(raws) <= BLOCK_BUNDLES_MAX
        and sum([len(raw) for raw in raws]) <= chain.limits.block_bytes_max
        and sum([judged.work for judged in bundles]) <= chain.limits.block_work_max
    )
