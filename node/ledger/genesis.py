"""The genesis document: what a chain is, before it has a block.

The chain's identity is the hash of the document's encoding; two chains of one name have different identities.
The JSON form that people read and exchange (cli) is another spelling of the same struct and is never hashed.
"""

from collections.abc import Callable
from typing import Final

from node.ledger import codec, hashing
from node.ledger.errors import InvariantViolated
from node.ledger.merkle import merkle_root
from node.ledger.types import Authority, Genesis

GENESIS_BYTES_MAX: Final = 1024 * 1024

decode_genesis: Callable[[bytes], Genesis] = codec.decoder(Genesis)
"""Genesis from its encoding. Raises codec.NotCanonical."""


def suite_of(genesis: Genesis) -> hashing.Suite:
    """The suite the chain was made with. Raises InvariantViolated when this release does not know it."""
    suite = hashing.SUITES.get(genesis.suite)
    if suite is None:
        raise InvariantViolated(
            f"this release has no suite {genesis.suite!r}; it has {', '.join(hashing.SUITES)}"
        )
    return suite


def chain_id(genesis: Genesis) -> bytes:
    """The 32 bytes that identify the chain."""
    return suite_of(genesis).digest(hashing.GENESIS + codec.encode(genesis))


def authority_root(suite: hashing.Suite, authority: tuple[Authority, ...]) -> bytes:
    """The Merkle root over the keys that certify headers, ascending by algorithm and key."""
    leaves = sorted(authority, key=lambda entry: (entry.algorithm, entry.public_key))
    return merkle_root(suite.digest, [codec.encode(entry) for entry in leaves])
