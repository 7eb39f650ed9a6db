"""Judging what validators certified: the signed header of CometBFT that carries our app hash, and the
hand-overs that lead from the trusted authority to the set that signed it.

Hand-overs and certificate are one chain of links. Each link is a header with the signatures of the authority
of its height, and names the authority that follows; so the first is that which is trusted, and each later one
was made an authority by more than two thirds of the one before. The steps stand in their public order
(``STEPS``), that of docs/formats.md; a step looks at all links before the next begins. A checkpoint pins the
set of a later link: the links before it must be sound, too, but nothing is believed because of them.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from node.engine.cometbft import light
from node.engine.cometbft.light import SignedHeader
from node.keys.verify import VERIFIERS
from node.ledger import codec, hashing
from node.ledger.genesis import authority_root
from node.ledger.ports import Check
from node.ledger.types import Authority, Header
from node.receipts.document import (
    Anchor,
    Handover,
    ReceiptProblem,
    ReceiptRefused,
    SequencerHandover,
    ValidatorsCertificate,
)


class Sequenced(NamedTuple):
    """A sequencer's hand-over, decoded."""

    handover: SequencerHandover
    header: Header
    app_hash: bytes

    @property
    def height(self) -> int:
        """Of the header."""
        return self.header.height


Link = Sequenced | SignedHeader


class Succession(NamedTuple):
    """Everything that says who certified, decoded and not yet believed.

    links: the hand-overs, then the certificate. certified: our header that the certificate is said to carry,
    with its app hash.
    """

    anchor: Anchor
    links: tuple[Link, ...]
    certificate: SignedHeader
    certified: Header
    certified_hash: bytes


_decode_header: Final[Callable[[bytes], Header]] = codec.decoder(Header)


def decode_succession(
    anchor: Anchor,
    handovers: tuple[Handover, ...],
    certificate: ValidatorsCertificate,
    certified: Header,
    certified_hash: bytes,
) -> Succession:
    """Raises codec.NotCanonical."""
    links = tuple([_link(anchor, handover) for handover in handovers])
    signed = light.decode_signed_header(certificate.signed_header)
    return Succession(anchor, (*links, signed), signed, certified, certified_hash)


def _link(anchor: Anchor, handover: Handover) -> Link:
    if isinstance(handover, ValidatorsCertificate):
        return light.decode_signed_header(handover.signed_header)
    app_hash = anchor.suite.digest(hashing.HEADER + handover.header)
    return Sequenced(handover, _decode_header(handover.header), app_hash)


def sequencer_of(authority: tuple[Authority, ...]) -> Authority:
    """The one key that has more than two thirds of the power: at most one can. Raises ReceiptRefused
    NO_SEQUENCER.
    """
    total = sum([entry.power for entry in authority])
    for entry in authority:
        if 3 * entry.power > 2 * total:
            return entry
    raise ReceiptRefused(ReceiptProblem.NO_SEQUENCER)


# --- the steps, in their public order -----------------------------------------------------


def _check_chain(succession: Succession) -> None:
    chain = succession.anchor.chain_id
    named = light.comet_chain_id(chain)
    for place, link in enumerate(succession.links):
        same = link.header.chain_id == named if isinstance(link, SignedHeader) else link.header.chain == chain
        _require(same, ReceiptProblem.OTHER_VALIDATORS_CHAIN, succession, place)


def _check_order(succession: Succession) -> None:
    """Heights ascend, a sequencer is the first or nowhere, what is certified lies below its certificate."""
    before = -1
    for place, link in enumerate(succession.links):
        ascending = link.height > before and (place == 0 or isinstance(link, SignedHeader))
        _require(ascending, ReceiptProblem.OUT_OF_ORDER, succession, place)
        before = link.height
    below = succession.certified.height < succession.certificate.height
    _require(below, ReceiptProblem.OUT_OF_ORDER, succession, len(succession.links) - 1)


def _check_sets(succession: Succession) -> None:
    for place, link in enumerate(succession.links):
        own = not isinstance(link, SignedHeader) or light.is_own_set(link)
        _require(own, ReceiptProblem.SET_DIFFERS, succession, place)


def _check_anchor(succession: Succession) -> None:
    """The trusted authority is that of the first link after it. A header's authority signs from two heights
    later on; where no link is as late, it must be the certificate's.
    """
    anchor, links = succession.anchor, succession.links
    later = [
        place
        for place, link in enumerate(links)
        if link.height > (anchor.height + 1 if isinstance(link, SignedHeader) else anchor.height)
    ]
    place = later[0] if later else len(links) - 1
    link = links[place]
    if isinstance(link, SignedHeader):
        trusted = tuple(sorted(anchor.authority, key=lambda entry: entry.public_key))
        same = light.authority_of(link.validators) == trusted
    else:
        sequencer, key = sequencer_of(anchor.authority), link.handover.key
        same = (key.algorithm, key.public_key) == (sequencer.algorithm, sequencer.public_key)
    _require(same, ReceiptProblem.AUTHORITY_DIFFERS, succession, place)


def _check_handed_over(succession: Succession) -> None:
    """Each link names the set of the next."""
    before: Link | None = None
    for place, link in enumerate(succession.links):
        if before is not None and isinstance(link, SignedHeader):
            if isinstance(before, SignedHeader):
                named, found = before.header.next_validators_hash, link.header.validators_hash
            else:
                named = before.header.authority_root
                found = authority_root(succession.anchor.suite, light.authority_of(link.validators))
            _require(named == found, ReceiptProblem.HANDOVER_MISSING, succession, place)
        before = link


def _check_votes(succession: Succession) -> None:
    for place, link in enumerate(succession.links):
        distinct = not isinstance(link, SignedHeader) or light.has_distinct_votes(link)
        _require(distinct, ReceiptProblem.VOTES_MALFORMED, succession, place)


def _check_power(succession: Succession) -> None:
    for place, link in enumerate(succession.links):
        enough = not isinstance(link, SignedHeader) or light.has_two_thirds(link)
        _require(enough, ReceiptProblem.TOO_LITTLE_POWER, succession, place)


def _check_carried(succession: Succession) -> None:
    if succession.certificate.header.app_hash != succession.certified_hash:
        raise ReceiptRefused(ReceiptProblem.NOT_CARRIED)


def _check_signatures(succession: Succession) -> None:
    anchor = succession.anchor
    own = VERIFIERS[anchor.suite.name]()
    validators = VERIFIERS[hashing.INTERNATIONAL.name]()  # CometBFT's keys are Ed25519 on every chain
    for place, link in enumerate(succession.links):
        if isinstance(link, SignedHeader):
            answers = validators.verify(light.checks_of(link))
        else:
            key, message = link.handover.key, hashing.SIGN_HEADER + anchor.chain_id + link.app_hash
            answers = own.verify([Check(key.algorithm, key.public_key, message, link.handover.signature)])
        _require(all(answers), ReceiptProblem.BAD_CERTIFICATE, succession, place)


STEPS: Final = (
    _check_chain,
    _check_order,
    _check_sets,
    _check_anchor,
    _check_handed_over,
    _check_votes,
    _check_power,
    _check_carried,
    _check_signatures,
)
"""What is checked of a certificate of kind ``cometbft`` and its hand-overs, in this order."""


def _require(good: bool, problem: ReceiptProblem, succession: Succession, place: int) -> None:
    """Raises ReceiptRefused, naming the link."""
    if good:
        return
    last = place == len(succession.links) - 1
    what = "the certificate" if last else f"hand-over {place + 1}"
    raise ReceiptRefused(problem, f"{what}, at height {succession.links[place].height}")
