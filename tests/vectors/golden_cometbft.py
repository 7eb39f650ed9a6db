"""The chains behind the golden vectors that validators certify: fixed seeds and times, headers of CometBFT
made and signed here.

Set A signs from height 1, B from 6, C from 9 on; the block at height 9 is certified by C at height 10. And
the chain of golden.py, whose sequencer hands over to set A with a header at height 9.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

from msgspec.structs import replace

from node.engine.cometbft.light import (
    BlockId,
    Certified,
    CometHeader,
    SequencerHeader,
    SignedHeader,
    Validator,
    Vote,
    address,
    authority_of,
    block_id_bytes,
    comet_chain_id,
    validators_hash,
    vote_bytes,
)
from node.genesis_file import format_genesis
from node.json_form import write_document
from node.keys.signer import Ed25519Signer
from node.ledger import codec, hashing
from node.ledger.genesis import authority_root
from node.ledger.hashing import INTERNATIONAL
from node.ledger.types import Authority, Header
from node.receipts import make_checkpoint
from tests.vectors import golden
from tests.vectors.golden import BEGIN_MS, SEQUENCER, World

SIGNERS: Final = tuple([Ed25519Signer(bytes([40 + number]) * 32) for number in range(5)])
BY_KEY: Final = {signer.public_key: signer for signer in SIGNERS}
Powers = Mapping[int, int]
A: Final[Powers] = {0: 1, 1: 1, 2: 1, 3: 1}
B: Final[Powers] = {0: 1, 1: 1, 2: 1, 3: 1, 4: 1}
C: Final[Powers] = {1: 3, 2: 1, 3: 1, 4: 1}


def validators(powers: Powers) -> tuple[Validator, ...]:
    """The set with these powers by signer, in CometBFT's order."""
    entries = [Validator(SIGNERS[number].public_key, power) for number, power in powers.items()]
    return tuple(sorted(entries, key=lambda entry: (-entry.power, address(entry.public_key))))


def authority(powers: Powers) -> tuple[Authority, ...]:
    """The set as genesis and checkpoints name it."""
    return authority_of(validators(powers))


def header(
    chain: bytes, height: int, app_hash: bytes, powers: Powers, following: Powers | None = None
) -> CometHeader:
    """A header of CometBFT."""

    def filler(name: str) -> bytes:
        return hashing.INTERNATIONAL.digest(f"{name} {height}".encode())

    return CometHeader(
        block_protocol=11,
        app_protocol=1,
        chain_id=comet_chain_id(chain),
        height=height,
        seconds=BEGIN_MS // 1_000 + height,
        nanos=123_456_789 if height % 2 else 0,
        last_block=BlockId(filler("block"), 1, filler("parts")) if height > 1 else BlockId(b"", 0, b""),
        last_commit_hash=filler("commit"),
        data_hash=filler("data"),
        validators_hash=validators_hash(validators(powers)),
        next_validators_hash=validators_hash(validators(powers if following is None else following)),
        consensus_hash=filler("parameters"),
        app_hash=app_hash,
        last_results_hash=filler("results"),
        evidence_hash=INTERNATIONAL.digest(b""),
        proposer=address(SIGNERS[1].public_key),
    )


def signed(
    head: CometHeader, powers: Powers, voters: Sequence[int] | None = None, *, nil: Sequence[int] = ()
) -> SignedHeader:
    """The header with votes of these signers, by default of all but signer 2. nil: whose vote is for nil."""
    found = SignedHeader(1, head, 0, 1, INTERNATIONAL.digest(b"parts"), validators(powers), ())
    votes = []
    for place, validator in enumerate(found.validators):
        signer = BY_KEY[validator.public_key]
        number = SIGNERS.index(signer)
        if number in ([one for one in powers if one != 2] if voters is None else voters):
            time = (head.seconds + 1, 1_000_000 * number)
            block_id = b"" if number in nil else block_id_bytes(found)
            message = vote_bytes(head.chain_id, head.height, found.round, block_id, *time)
            votes.append(Vote(place, *time, signer.sign(message)))
    return replace(found, votes=tuple(votes))


class Consortium(World):
    """A chain that validators certify: implements build.Certificates."""

    def __init__(self, name: str = "consortium") -> None:
        super().__init__(name, validators=authority(A))

    @property
    def newest(self) -> Certified:
        """By C at height 10, over two hand-overs."""
        chain = self.chain_id
        head = self.store.headers(9, 1)[0]
        fifth, eighth = (self.store.headers(height, 1)[0].app_hash for height in (4, 7))
        return Certified(
            9,
            signed(header(chain, 10, head.app_hash, C), C),
            (signed(header(chain, 5, fifth, A, B), A), signed(header(chain, 8, eighth, B, C), B)),
        )


class Moved:
    """Certificates of the chain of golden.py after its sequencer has handed over."""

    @property
    def newest(self) -> Certified:
        """By A at height 11; the sequencer's header is the chain's ninth, with another authority root."""
        handover = sequencer_header(authority(A))
        app_hash = INTERNATIONAL.digest(hashing.HEADER + handover.header)
        return Certified(9, signed(header(golden.golden().chain_id, 11, app_hash, A), A), (handover,))


def sequencer_header(named: tuple[Authority, ...], height: int = 9) -> SequencerHeader:
    """The header of golden.py's chain at a height as it would be if it named another authority."""
    world = golden.golden()
    decoded: Header = codec.decoder(Header)(world.store.headers(height, 1)[0].header)
    encoded = codec.encode(replace(decoded, authority_root=authority_root(INTERNATIONAL, named)))
    message = hashing.SIGN_HEADER + world.chain_id + INTERNATIONAL.digest(hashing.HEADER + encoded)
    return SequencerHeader(height, encoded, "ed25519", SEQUENCER.public_key, SEQUENCER.sign(message))


@cache
def consortium() -> Consortium:
    """The one chain of these vectors."""
    world = Consortium()
    golden.populate(world)
    return world


def moved_file(height: int = 4, index: int = 6) -> dict[str, Any]:
    """A receipt file of golden.py's chain, certified after the move."""
    file = golden.golden().receipt_file(height, index, certificates=Moved())
    return {**file, "certified_header": Moved().newest.handovers[0].header.hex()}  # type: ignore[union-attr]


def checkpoint(height: int = 9, powers: Powers = C) -> dict[str, Any]:
    """A checkpoint of the consortium's chain that names this set as the one that signs after it.

    The ledger below these vectors never changes its authority, so the set is put in by hand.
    """
    world = consortium()
    made = make_checkpoint(world.genesis, world.store.headers(height, 1)[0].header)
    entries = [
        {"algorithm": one.algorithm, "public_key": one.public_key.hex(), "power": one.power}
        for one in authority(powers)
    ]
    return {**made, "authority": entries}


def files() -> dict[str, bytes]:
    """The whole documents, by file name."""
    world = consortium()
    return {
        "genesis_cometbft.json": format_genesis(world.genesis),
        "checkpoint_cometbft.json": write_document(checkpoint(7)),
        "receipt_cometbft.json": write_document(world.receipt_file(4, 6, certificates=world)),
        "receipt_moved.json": write_document(moved_file()),
    }
