"""Every decoder that meets foreign bytes, by name."""

from typing import Final

from tests.fuzz import (
    adapter_targets,
    comet_targets,
    edge_targets,
    keys_targets,
    ledger_targets,
    network_targets,
    planted,
    rpc_targets,
    storage_targets,
)
from tests.fuzz.target import Target

TARGETS: Final = (
    *ledger_targets.TARGETS,
    *rpc_targets.TARGETS,
    *comet_targets.TARGETS,
    *storage_targets.TARGETS,
    *edge_targets.TARGETS,
    *keys_targets.TARGETS,
    *network_targets.TARGETS,
    *adapter_targets.TARGETS,
)

PLANTED: Final = Target("planted", "bytes", lambda: [b"abcdefgh"], planted.run, 16)
"""None of the project's: to see that the fuzzer finds something."""


def target_named(name: str) -> Target:
    """The target of that name."""
    (found,) = [target for target in (*TARGETS, PLANTED) if target.name == name]
    return found
