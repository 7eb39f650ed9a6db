"""How the chain itself stands, read from its state: who certifies headers, which nodes may sign bundles,
which contracts and which protocol hold at a height.

Without contracts that keep these things they are what genesis says, for ever. What always holds: a standing
is a function of genesis and of the state after one block, so that all nodes have the same.
"""

from bisect import bisect_left
from collections.abc import Mapping
from operator import itemgetter
from typing import Final, NamedTuple

from node.ledger import hashing
from node.ledger.contract import Authorities, Contract, Span, Upgrades
from node.ledger.errors import ReleaseTooOld
from node.ledger.genesis import authority_root
from node.ledger.types import Authority, Genesis, NodeKey, PowerChange, Write


class Keepers(NamedTuple):
    """The contracts of one set that keep the chain's own affairs, if it has them."""

    authorities: Authorities | None
    upgrades: Upgrades | None
    prefixes: tuple[bytes, ...]

    def wrote(self, writes: tuple[Write, ...]) -> bool:
        """Whether a block changed anything that a standing is made of; its writes ascend by key."""
        for prefix in self.prefixes:
            at = bisect_left(writes, prefix, key=itemgetter(0))
            if at < len(writes) and writes[at][0].startswith(prefix):
                return True
        return False


NO_KEEPERS: Final = Keepers(None, None, ())


class Standing(NamedTuple):
    """After one block. authority: ascending by algorithm and key; its root is in the block's header. spans:
    in the order of scheduled work. protocols: (height, number), ascending.
    """

    authority: tuple[Authority, ...]
    authority_root: bytes
    nodes: Mapping[bytes, NodeKey]
    spans: tuple[Span, ...]
    protocols: tuple[tuple[int, int], ...]

    def acting(self, height: int) -> dict[str, int]:
        """The versions of the contracts that act at a height, in the order of scheduled work."""
        return {
            span.contract: span.version
            for span in self.spans
            if span.from_height <= height and (not span.until_height or height < span.until_height)
        }

    def protocol(self, height: int) -> int:
        """The number of the rules that hold at a height."""
        return [number for since, number in self.protocols if since <= height][-1]


def keepers_of(genesis: Genesis, contracts: Mapping[str, Contract]) -> Keepers:
    """The keepers among the contracts that genesis names."""
    named = [contracts[activation.contract] for activation in genesis.contracts]
    authorities = next((each for each in named if isinstance(each, Authorities)), None)
    upgrades = next((each for each in named if isinstance(each, Upgrades)), None)
    kept = [each for each in named if each is authorities or each is upgrades]
    return Keepers(authorities, upgrades, tuple([f"{each.name}\0".encode() for each in kept]))


def standing_of(genesis: Genesis, suite: hashing.Suite, keepers: Keepers) -> Standing:
    """How the chain stands by the state that the keepers are bound to."""
    authority = keepers.authorities.authority() if keepers.authorities else genesis.authority
    authority = tuple(sorted(authority, key=lambda entry: (entry.algorithm, entry.public_key)))
    nodes = keepers.authorities.node_keys() if keepers.authorities else nodes_of(genesis, suite)
    spans = keepers.upgrades.spans() if keepers.upgrades else ()
    return Standing(
        authority,
        authority_root(suite, authority),
        nodes,
        _in_order(genesis, spans),
        ((0, genesis.protocol), *(keepers.upgrades.protocols() if keepers.upgrades else ())),
    )


def nodes_of(genesis: Genesis, suite: hashing.Suite) -> dict[bytes, NodeKey]:
    """The node keys that genesis names, by key id."""
    return {
        hashing.key_id(suite, node.algorithm, node.public_key): NodeKey(node.algorithm, node.public_key)
        for node in genesis.nodes
    }


def _in_order(genesis: Genesis, spans: tuple[Span, ...]) -> tuple[Span, ...]:
    """Contracts in genesis's order, then those that came later by their names."""
    named = [activation.contract for activation in genesis.contracts]
    kept = list(dict.fromkeys(span.contract for span in spans))
    ordered = [
        Span(entry.contract, 1, entry.height, 0) for entry in genesis.contracts if entry.contract not in kept
    ]
    ordered += spans
    later = sorted([name for name in kept if name not in named])
    rank = {name: at for at, name in enumerate([*named, *later])}
    return tuple(sorted(ordered, key=lambda span: (rank[span.contract], span.from_height)))


def changes(before: tuple[Authority, ...], after: tuple[Authority, ...]) -> tuple[PowerChange, ...]:
    """What turns one authority into another: one entry a key, ascending by algorithm and key; power 0 where
    it is gone.
    """
    old = {(entry.algorithm, entry.public_key): entry.power for entry in before}
    new = {(entry.algorithm, entry.public_key): entry.power for entry in after}
    keys = sorted({**old, **new})
    return tuple([PowerChange(*key, new.get(key, 0)) for key in keys if new.get(key, 0) != old.get(key, 0)])


def check_release(
    standing: Standing,
    height: int,
    protocols: tuple[int, ...],
    versions: Mapping[tuple[str, int], object],
) -> None:
    """Raises ReleaseTooOld where this release cannot run a block at ``height``."""
    number = standing.protocol(height)
    if number not in protocols:
        raise ReleaseTooOld(
            f"the chain has protocol {number} at height {height} and this release has protocol "
            f"{', '.join(map(str, protocols))}: install a release that has it; nothing is lost"
        )
    missing = [entry for entry in standing.acting(height).items() if entry not in versions]
    if missing:
        name, version = missing[0]
        raise ReleaseTooOld(
            f"contract {name} version {version} acts at height {height} and this release does not have it: "
            "install a release that has it; nothing is lost"
        )
