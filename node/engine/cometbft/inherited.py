"""Hand-overs as bytes, and which of them may be believed that another node hands out.

A node that began from a snapshot did not see earlier validator sets go. It asks a peer for their hand-overs
and believes them as a receipt's reader does: the first is signed by the authority of genesis, each later one
by the set that the one before names. What always holds: pure functions; nothing is kept that did not pass.
"""

from collections.abc import Callable, Sequence
from typing import Final

from node.engine.cometbft import light
from node.engine.cometbft.light import CommitRefused, SequencerHeader, SignedHeader
from node.keys.verify import VERIFIERS
from node.ledger import codec
from node.ledger.genesis import authority_root, chain_id, suite_of
from node.ledger.hashing import HEADER, SIGN_HEADER
from node.ledger.ports import Check, Verifier
from node.ledger.types import Genesis, Header

_VALIDATORS: Final = b"v"
_SEQUENCER: Final = b"s"

Link = SequencerHeader | SignedHeader

_decode_header: Final[Callable[[bytes], Header]] = codec.decoder(Header)
_decode_sequencer_header: Final[Callable[[bytes], SequencerHeader]] = codec.decoder(SequencerHeader)


def encode_link(link: Link) -> bytes:
    """A hand-over as it is kept and handed out: a byte for its kind, then its encoding."""
    return (_VALIDATORS if isinstance(link, SignedHeader) else _SEQUENCER) + codec.encode(link)


def decode_link(content: bytes) -> Link | None:
    """A hand-over; None where another release wrote it."""
    try:
        if content[:1] == _VALIDATORS:
            return light.decode_signed_header(content[1:])
        return _decode_sequencer_header(content[1:]) if content[:1] == _SEQUENCER else None
    except codec.NotCanonical:
        return None


def inherited(
    contents: Sequence[tuple[int, bytes]], genesis: Genesis, initial_height: int, verifier: Verifier
) -> list[Link]:
    """The hand-overs among what a peer handed out, all of them proved from genesis on. verifier: of
    validators' signatures. Raises CommitRefused.
    """
    links: list[Link] = []
    for height, content in sorted(contents):
        link = decode_link(content)
        if link is None or link.height != height:
            raise CommitRefused(f"what was handed out for height {height} is no hand-over of that height")
        if isinstance(link, SignedHeader):
            if link.header.chain_id != light.comet_chain_id(chain_id(genesis)):
                raise CommitRefused(f"the hand-over at height {height} is another chain's")
            light.check_signed_header(link, verifier)
        else:
            _check_sequencer(link, genesis)
        links.append(link)
    check_succession(links, genesis, initial_height)
    return links


def check_succession(links: Sequence[Link], genesis: Genesis, initial_height: int) -> None:
    """Whether links, whose signatures were verified, lead from genesis's authority to the last one without a
    gap. Raises CommitRefused.
    """
    suite = suite_of(genesis)
    root, following = authority_root(suite, genesis.authority), b""
    for place, link in enumerate(links):
        if isinstance(link, SequencerHeader):
            if place or link.height >= initial_height:
                raise CommitRefused(f"a sequencer's hand-over at height {link.height} is out of order")
            root = _decode_header(link.header).authority_root
            continue
        if place == 0 and initial_height > 1:
            raise CommitRefused("the sequencer's hand-over is missing")
        named = following or root
        found = link.header.validators_hash
        if not following:
            found = authority_root(suite, light.authority_of(link.validators))
        if found != named:
            before = links[place - 1].height if place else "genesis"
            raise CommitRefused(f"a hand-over between {before} and {link.height} is missing")
        following = link.header.next_validators_hash


def _check_sequencer(link: SequencerHeader, genesis: Genesis) -> None:
    """Raises CommitRefused where it is not signed by the sequencer that genesis names."""
    suite, chain = suite_of(genesis), chain_id(genesis)
    key = max(genesis.authority, key=lambda entry: entry.power)
    try:
        header = _decode_header(link.header)
    except codec.NotCanonical as error:
        raise CommitRefused("the sequencer's hand-over holds no header") from error
    named = (header.chain, header.height, link.algorithm, link.public_key)
    if named != (chain, link.height, key.algorithm, key.public_key):
        raise CommitRefused("the sequencer's hand-over is another chain's, height's or key's")
    message = SIGN_HEADER + chain + suite.digest(HEADER + link.header)
    check = Check(link.algorithm, link.public_key, message, link.signature)
    if not all(VERIFIERS[genesis.suite]().verify([check])):
        raise CommitRefused("the sequencer's hand-over is not signed by the sequencer")
